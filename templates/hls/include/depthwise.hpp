// SPDX-License-Identifier: Apache-2.0
// Depthwise engine: 16 channels x 4 pixels, 9 taps of each a cycle. Windows up to 3x3 are one pass. Larger ones count as
// five columns wide, with weights of 0 where there is no tap: one to three passes. So a multiplier sees few places of
// the window: one of up to eight, not any of 60.
//
//   commands --> depthwise_issue --> requests of 16 pixels, of ring rows
//                    |
//                    +--> depthwise_compute: lines (8 rows) --5 rows x 12 pixels--> window --9 taps a pass--> acc -->
//                                            epilogue --> writes
//
// While output row r is computed from the lines, the rows that r + 1 needs in addition are filled in.
#ifndef HWGEN_DEPTHWISE_HPP
#define HWGEN_DEPTHWISE_HPP

#include "epilogue.hpp"

namespace hwgen {

constexpr int DW_TAPS = 9;  // multipliers of one output value
constexpr int DW_NARROW = 3;
constexpr int DW_KERNEL_MAX = 5;
constexpr int DW_STRIDE_MAX = 2;
constexpr int DW_LINES = 8;  // rows in the line buffers
constexpr int DW_QUADS = 4;  // memories of a line, each of 4 pixels: the 16 pixels of a pad access
constexpr int DW_WINDOW_QUADS = 3;
constexpr int DW_WINDOW = 4 * DW_WINDOW_QUADS;
// A line also holds the padding and the right end of the last window: 16 pixels more than config.hpp says.
constexpr int DW_LINE_DEPTH = (LINE_WORDS + 2 * BANKS - 1) / BANKS;
constexpr int DW_PASSES_MAX = (DW_KERNEL_MAX * DW_KERNEL_MAX + DW_TAPS - 1) / DW_TAPS;
constexpr int DW_TAPS_ALL = DW_PASSES_MAX * DW_TAPS;  // the last pass is filled up with taps of weight 0
constexpr int DW_LINE_DISTANCE = 4;                   // cycles from the last fill of a row to its first use

static_assert(DW_NARROW * DW_NARROW == DW_TAPS, "a narrow window is one pass");
static_assert(DW_LINES >= DW_KERNEL_MAX + DW_STRIDE_MAX, "the lines hold the window and the rows that are filled");
static_assert(DW_WINDOW >= (DW_PIXELS - 1) * DW_STRIDE_MAX + DW_KERNEL_MAX, "the window covers four output pixels");
static_assert(DW_PIXELS <= EPILOGUE_WORDS,
              "each of the four words that the engine finishes has its copies of the table");

typedef Words<4> Quad;  // four pixels of a line

// Loop bounds of an instruction.
struct DepthwiseShape {
  bool narrow;
  bool strided;
  int taps;
  int passes;
  int columns;  // groups of four outputs of a row
  int chunks;   // pad accesses to fill a row
};

inline DepthwiseShape depthwise_shape(const Instruction& ins) {
#pragma HLS INLINE
  DepthwiseShape shape;
  const int kernel_h = ins.kernel_h;
  const int kernel_w = ins.kernel_w;
  const int y_cols = ins.y_cols;
  HWGEN_CHECK(ins.opcode == OP_DEPTHWISE, "the Program holds an unknown opcode");
  HWGEN_CHECK(kernel_h >= 1 && kernel_h <= DW_KERNEL_MAX && kernel_w >= 1 && kernel_w <= DW_KERNEL_MAX,
              "DEPTHWISE has a window larger than the engine's");
  HWGEN_CHECK(ins.stride_h >= 1 && ins.stride_h <= DW_STRIDE_MAX && ins.stride_w >= 1 && ins.stride_w <= DW_STRIDE_MAX,
              "DEPTHWISE has a stride larger than the engine's");
  shape.narrow = kernel_h <= DW_NARROW && kernel_w <= DW_NARROW;
  shape.strided = ins.stride_w == 2;
  const ap_uint<3> rows = kernel_h;
  const ap_uint<3> columns = kernel_w;
  const ap_uint<6> taps = rows * columns;
#pragma HLS BIND_OP variable = taps op = mul impl = fabric
  shape.taps = taps;
  shape.passes = 1;
  if (!shape.narrow && kernel_h > 1) {
    shape.passes = kernel_h > 3 ? 3 : 2;  // of five taps a row
  }
  shape.columns = (y_cols + DW_PIXELS - 1) / DW_PIXELS;
  const int span = shape.strided ? 2 * y_cols - 1 : y_cols;
  shape.chunks = (span + kernel_w + BANKS - 2) / BANKS;
  HWGEN_CHECK(shape.chunks <= DW_LINE_DEPTH, "DEPTHWISE has a row longer than the line buffers");
  return shape;
}

// The padded rows of each group, from the first row of its first window on, and the ring rows of its weights.
inline void depthwise_issue(hls::stream<Word, COMMANDS>& commands, hls::stream<Word, COMMANDS>& to_compute,
                            hls::stream<Window, REQUESTS>& windows, hls::stream<RowRequest, ROW_REQUESTS>& rows) {
  const Instruction ins = pass_command(commands, to_compute);
  const DepthwiseShape shape = depthwise_shape(ins);
  const int slot = slot_of(ins);
  const int table = table_rows(ins);
  const int blob_rows = 1 + ((shape.taps + 7) >> 3);
  const int y_rows = ins.y_rows;
  const int y_row0 = ins.y_row0;
  const bool strided = ins.stride_h == 2;
  const int lines = (strided ? 2 * (y_rows - 1) : y_rows - 1) + ins.kernel_h.to_int();
  const int first_row = (strided ? 2 * y_row0 : y_row0) - ins.pad_top.to_int();
  if (table != 0) {
    rows.write(RowRequest{ins.t_row, ap_uint<16>(table)});
  }
  int blob = ins.w_row;
depthwise_issue_groups:
  for (int g = 0; g < ins.y_groups.to_int(); ++g) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 64
    rows.write(RowRequest{ap_uint<16>(blob), ap_uint<16>(blob_rows)});
    blob += blob_rows;
    const int base = ins.x_base.to_int() + index_product(ins.y_group0.to_int() + g, ins.x_plane);
    int x_row = first_row;
    int chunk = 0;
  depthwise_issue_rows:
    while (x_row < first_row + lines) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 2048
#pragma HLS PIPELINE II = 1
      windows.write(padded_window(ins, slot, base, x_row, chunk * BANKS - ins.pad_left.to_int(), BANKS));
      ++chunk;
      if (chunk == shape.chunks) {
        chunk = 0;
        ++x_row;
      }
    }
  }
}

// 16 pixels of padded row `row` (counted from the first row of the tile's first window), as four quads.
inline void fill_line(const Words<BANKS>& window, int row, int chunk, Quad line[DW_LINES][DW_QUADS][DW_LINE_DEPTH]) {
#pragma HLS INLINE
  for (int q = 0; q < DW_QUADS; ++q) {
#pragma HLS UNROLL
    Quad quad;
    for (int p = 0; p < DW_PIXELS; ++p) {
#pragma HLS UNROLL
      quad.words[p] = window.words[4 * q + p];
    }
    line[row & (DW_LINES - 1)][q][chunk] = quad;
  }
}

// What multiplier `t` of output pixel `p` sees in this pass.
inline Code tap_pixel(const Code window[DW_KERNEL_MAX][DW_WINDOW][LANES], int p, int t, int c, bool narrow,
                      bool strided, int pass) {
#pragma HLS INLINE
  const int row = t / DW_NARROW;
  const int column = t % DW_NARROW;
  Code code = strided ? window[row][2 * p + column][c] : window[row][p + column][c];
  for (int q = 0; q < DW_PASSES_MAX; ++q) {
#pragma HLS UNROLL
    const int tap = minimum(q * DW_TAPS + t, DW_KERNEL_MAX * DW_KERNEL_MAX - 1);
    const int wide_row = tap / DW_KERNEL_MAX;
    const int wide_column = tap % DW_KERNEL_MAX;
    if (!narrow && pass == q) {
      code = strided ? window[wide_row][2 * p + wide_column][c] : window[wide_row][p + wide_column][c];
    }
  }
  return code;
}

inline void depthwise_compute(hls::stream<Word, COMMANDS>& commands, hls::stream<Words<BANKS>, ANSWERS>& windows,
                              hls::stream<Row, ANSWERS>& rows, hls::stream<Write<DW_PIXELS>, WRITES>& writes) {
  static TableWord tables[DW_PIXELS * LANES / 2][TABLE_WORDS];
#pragma HLS ARRAY_PARTITION variable = tables complete dim = 1
#pragma HLS BIND_STORAGE variable = tables type = ram_t2p impl = bram
#pragma HLS RESET variable = tables off
  Quad line[DW_LINES][DW_QUADS][DW_LINE_DEPTH];
#pragma HLS ARRAY_PARTITION variable = line complete dim = 1
#pragma HLS ARRAY_PARTITION variable = line complete dim = 2
#pragma HLS BIND_STORAGE variable = line type = ram_s2p impl = lutram
  Code window[DW_KERNEL_MAX][DW_WINDOW][LANES];
#pragma HLS ARRAY_PARTITION variable = window complete dim = 0
  Code weights[DW_TAPS_ALL][LANES];
#pragma HLS ARRAY_PARTITION variable = weights complete dim = 0
  Accumulator acc[DW_PIXELS][LANES];
#pragma HLS ARRAY_PARTITION variable = acc complete dim = 0
  const Instruction ins = take_command(commands);
  const DepthwiseShape shape = depthwise_shape(ins);
  const Epilogue epilogue = decode_epilogue(ins);
  const int slot = slot_of(ins);
  const int kernel_h = ins.kernel_h;
  const int kernel_w = ins.kernel_w;
  const int stride_h = ins.stride_h;
  const bool narrow = shape.narrow;
  const bool strided = shape.strided;
  const int passes = shape.passes;
  const int columns = shape.columns;
  const int chunks = shape.chunks;
  const int y_cols = ins.y_cols;
  const int y_rows = ins.y_rows;
  load_table<DW_PIXELS * LANES / 2>(rows, table_rows(ins), tables);
depthwise_groups:
  for (int g = 0; g < ins.y_groups.to_int(); ++g) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 64
    Accumulator init[LANES];
    Multiplier multiplier[LANES];
    Shift shift[LANES];
#pragma HLS ARRAY_PARTITION variable = init complete
#pragma HLS ARRAY_PARTITION variable = multiplier complete
#pragma HLS ARRAY_PARTITION variable = shift complete
    const int group = ins.y_group0.to_int() + g;
    const bool last_group = g == ins.y_groups.to_int() - 1;
    unpack_parameters(rows.read(), init, multiplier, shift);
    for (int t = 0; t < DW_TAPS_ALL; ++t) {
#pragma HLS UNROLL
      for (int c = 0; c < LANES; ++c) {
#pragma HLS UNROLL
        weights[t][c] = 0;
      }
    }
    Row row;
#pragma HLS ARRAY_PARTITION variable = row.chunks complete
  depthwise_weights:
    for (int t = 0, at = 0, kx = 0; t < shape.taps; ++t) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 25
#pragma HLS PIPELINE II = 1
      if ((t & 7) == 0) {
        row = rows.read();
      }
      for (int c = 0; c < LANES; ++c) {
#pragma HLS UNROLL
        weights[at][c] = row_byte(row, (t & 7) * LANES + c);
      }
      ++at;
      ++kx;
      if (kx == kernel_w) {
        at += (narrow ? DW_NARROW : DW_KERNEL_MAX) - kernel_w;
        kx = 0;
      }
    }
  depthwise_first_rows:
    for (int line_row = 0, chunk = 0; line_row < kernel_h;) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 60
#pragma HLS PIPELINE II = 1
      fill_line(windows.read(), line_row, chunk, line);
      ++chunk;
      if (chunk == chunks) {
        chunk = 0;
        ++line_row;
      }
    }

    const int fills = stride_h == 2 ? 2 * chunks : chunks;
    const int period = maximum(columns, fills + DW_LINE_DISTANCE);
    int y_row = 0;
    int step = 0;
    int pass = 0;
    int fill_row = kernel_h;
    int fill_chunk = 0;
  depthwise_cycles:
    while (y_row < y_rows) {
#pragma HLS LOOP_TRIPCOUNT min = 5 max = 4096
#pragma HLS PIPELINE II = 1
// A line is used at the earliest DW_LINE_DISTANCE cycles after its last fill, and filled after its last use.
#pragma HLS DEPENDENCE variable = line type = inter direction = RAW distance = 4 dependent = true
      const bool computes = step < columns;
      if (pass == 0 && computes) {
        for (int k = 0; k < DW_KERNEL_MAX; ++k) {
#pragma HLS UNROLL
          const int at = ((stride_h == 2 ? 2 * y_row : y_row) + k) & (DW_LINES - 1);
          for (int q = 0; q < DW_WINDOW_QUADS; ++q) {
#pragma HLS UNROLL
            const int quad_index = (strided ? 2 * step : step) + q;
            const int depth = minimum(quad_index / DW_QUADS, DW_LINE_DEPTH - 1);
            const Quad quad = line[at][quad_index & (DW_QUADS - 1)][depth];
            for (int p = 0; p < 4; ++p) {
#pragma HLS UNROLL
              unpack(quad.words[p], window[k][4 * q + p]);
            }
          }
        }
      }
      if (pass == 0 && step < fills && y_row + 1 < y_rows) {
        fill_line(windows.read(), fill_row, fill_chunk, line);
        ++fill_chunk;
        if (fill_chunk == chunks) {
          fill_chunk = 0;
          ++fill_row;
        }
      }
      if (computes) {
        for (int p = 0; p < DW_PIXELS; ++p) {
#pragma HLS UNROLL
          for (int c = 0; c < LANES; ++c) {
#pragma HLS UNROLL
            ap_int<20> sum = 0;  // of nine products, so that the accumulator's loop is one addition
            for (int t = 0; t < DW_TAPS; ++t) {
#pragma HLS UNROLL
              const Code weight = weights[pass * DW_TAPS + t][c];
              const ap_int<16> product = weight * tap_pixel(window, p, t, c, narrow, strided, pass);
#pragma HLS BIND_OP variable = product op = mul impl = fabric
              sum += product;
            }
            const Accumulator old = pass == 0 ? init[c] : acc[p][c];
            acc[p][c] = old + sum;
          }
        }
        if (pass == passes - 1) {
          const int y_column = step * DW_PIXELS;
          Write<DW_PIXELS> write;
          write.window = y_window(ins, slot, group, y_row, y_column, minimum(DW_PIXELS, y_cols - y_column));
          write.last = last_group && y_row == y_rows - 1 && step == columns - 1;
          for (int p = 0; p < DW_PIXELS; ++p) {
#pragma HLS UNROLL
            write.data.words[p] = finish_word(epilogue, tables, p, acc[p], multiplier, shift);
          }
          writes.write(write);
        }
      }
      ++pass;
      if (pass == passes) {
        pass = 0;
        ++step;
        if (step == period) {
          step = 0;
          ++y_row;
        }
      }
    }
  }
}

}  // namespace hwgen

#endif
