// SPDX-License-Identifier: Apache-2.0
// Depthwise engine: 16 channels x 4 pixels, 9 taps of each a cycle. Windows up to 3x3 are one pass. Larger ones count as
// five columns wide, with weights of 0 where there is no tap: one to three passes. So a multiplier sees few places of
// the window: one of up to eight, not any of 60.
//
//   pads --16 pixels--> lines (8 rows) --5 rows x 12 pixels--> window --9 taps a pass--> acc --> epilogue --> pads
//
// While output row r is computed from the lines, the rows that r + 1 needs in addition are filled in.
#ifndef HWGEN_DEPTHWISE_HPP
#define HWGEN_DEPTHWISE_HPP

#include "epilogue.hpp"

namespace hwgen {

constexpr int DW_PIXELS = 4;
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

typedef ap_uint<512> Quad;  // four pixel words

// 16 pixels of padded row `row` (counted from the first row of the tile's first window), as four quads.
inline void fill_line(const Instruction& ins, const Word pads[PADS][BANKS][PAD_ROWS], int group, int row, int chunk,
                      Word fill, Quad line[DW_LINES][DW_QUADS][DW_LINE_DEPTH]) {
#pragma HLS INLINE
  const int x_row = index_product(ins.y_row0, ins.stride_h) - ins.pad_top.to_int() + row;
  const int x_column = chunk * BANKS - ins.pad_left.to_int();
  const bool inside = x_row >= 0 && x_row < ins.x_height.to_int();
  Window window;
  window.pad = ins.x_pad;
  window.base = ins.x_base.to_int() + index_product(group, ins.x_plane);
  const int slot = ring_slot(ins.x_slot, x_row - ins.x_first.to_int(), ins.x_ring);
  window.pixel = index_product(slot, ins.x_width) + x_column;
  window.low = maximum(0, -x_column);
  window.high = inside ? minimum(BANKS, ins.x_cols.to_int() - x_column) : 0;
  Word words[BANKS];
#pragma HLS ARRAY_PARTITION variable = words complete
  read_window<BANKS>(pads, window, fill, words);
  HWGEN_CHECK(chunk < DW_LINE_DEPTH, "DEPTHWISE has a row longer than the line buffers");
  for (int q = 0; q < DW_QUADS; ++q) {
#pragma HLS UNROLL
    const Quad quad = (words[4 * q + 3], words[4 * q + 2], words[4 * q + 1], words[4 * q]);
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

inline void run_depthwise(const Instruction& ins, Word pads[PADS][BANKS][PAD_ROWS],
                          const Chunk ring[WEIGHT_ROWS][ROW_CHUNKS], TableWord tables[TABLE_COPIES][TABLE_WORDS]) {
#pragma HLS INLINE off
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
  const Epilogue epilogue = decode_epilogue(ins);
  const int kernel_h = ins.kernel_h;
  const int kernel_w = ins.kernel_w;
  const int stride_h = ins.stride_h;
  const int stride_w = ins.stride_w;
  const int taps = index_product(kernel_h, kernel_w);
  const int tap_rows = (taps + 7) >> 3;
  const bool narrow = kernel_h <= DW_NARROW && kernel_w <= DW_NARROW;
  const bool strided = stride_w == 2;
  const int y_cols = ins.y_cols;
  const int y_rows = ins.y_rows;
  HWGEN_CHECK(kernel_h >= 1 && kernel_h <= DW_KERNEL_MAX && kernel_w >= 1 && kernel_w <= DW_KERNEL_MAX,
              "DEPTHWISE has a window larger than the engine's");
  HWGEN_CHECK(stride_h >= 1 && stride_h <= DW_STRIDE_MAX && stride_w >= 1 && stride_w <= DW_STRIDE_MAX,
              "DEPTHWISE has a stride larger than the engine's");
  int passes = 1;
  if (!narrow && kernel_h > 1) {
    passes = kernel_h > 3 ? 3 : 2;  // of five taps a row
  }
  const int columns = (y_cols + DW_PIXELS - 1) / DW_PIXELS;  // groups of four outputs
  const int span = strided ? 2 * y_cols - 1 : y_cols;
  const int chunks = (span + kernel_w + BANKS - 2) / BANKS;  // pad accesses to fill a row
  const Word fill = splat(ins.x_zero);

  if (epilogue.table) {
    load_table(ring, tables, ins.t_row, epilogue.wide);
  }
  int blob = ins.w_row;
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
    read_parameters(ring, blob, init, multiplier, shift);
    for (int t = 0; t < DW_TAPS_ALL; ++t) {
#pragma HLS UNROLL
      for (int c = 0; c < LANES; ++c) {
#pragma HLS UNROLL
        weights[t][c] = 0;
      }
    }
  depthwise_weights:
    for (int t = 0, at = 0, kx = 0; t < taps; ++t) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 25
#pragma HLS PIPELINE II = 1
      Chunk row[ROW_CHUNKS];
#pragma HLS ARRAY_PARTITION variable = row complete
      read_row(ring, blob + 1 + (t >> 3), row);
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
    blob += 1 + tap_rows;

    const int first_fills = index_product(kernel_h, chunks);
  depthwise_first_rows:
    for (int n = 0, row = 0, chunk = 0; n < first_fills; ++n) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 60
#pragma HLS PIPELINE II = 1
      fill_line(ins, pads, group, row, chunk, fill, line);
      ++chunk;
      if (chunk == chunks) {
        chunk = 0;
        ++row;
      }
    }

    const int fills = stride_h == 2 ? 2 * chunks : chunks;
    const int period = maximum(columns, fills + DW_LINE_DISTANCE);
    const int row_cycles = passes == 3 ? 3 * period : (passes == 2 ? 2 * period : period);
    const int cycles = index_product(y_rows, row_cycles);
    int y_row = 0;
    int step = 0;
    int pass = 0;
    int fill_row = kernel_h;
    int fill_chunk = 0;
  depthwise_cycles:
    for (int n = 0; n < cycles; ++n) {
#pragma HLS LOOP_TRIPCOUNT min = 5 max = 4096
#pragma HLS PIPELINE II = 1
// The planner proves that no instruction reads a word that it writes (hwgen/plan).
#pragma HLS DEPENDENCE variable = pads type = inter dependent = false
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
              const Word word = quad.range(128 * p + 127, 128 * p);
              unpack(word, window[k][4 * q + p]);
            }
          }
        }
      }
      if (pass == 0 && step < fills && y_row + 1 < y_rows) {
        fill_line(ins, pads, group, fill_row, fill_chunk, fill, line);
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
          Window target;
          target.pad = ins.y_pad;
          target.base = ins.y_base.to_int() + index_product(group, ins.y_plane);
          target.pixel = index_product(ring_slot(ins.y_slot, y_row, ins.y_ring), ins.y_width) + y_column;
          target.low = 0;
          target.high = minimum(DW_PIXELS, y_cols - y_column);
          Word words[DW_PIXELS];
#pragma HLS ARRAY_PARTITION variable = words complete
          for (int p = 0; p < DW_PIXELS; ++p) {
#pragma HLS UNROLL
            words[p] = finish_word(epilogue, tables, p, acc[p], multiplier, shift);
          }
          write_window<DW_PIXELS>(pads, target, words);
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
