// SPDX-License-Identifier: Apache-2.0
// The MAC array: BLOCKS blocks of 16 output channels x 16 input channels x 1 pixel, two weights in a multiplier.
//
//   commands --> conv_issue --> requests of windows, of ring rows
//                    |
//                    +--> conv_compute --accumulators--> conv_finish --> writes
//                    |      ring row --> shadow operands --> active operands --+
//                    |                                                         +--> 16-deep cascades --> split --> acc
//                    |      window of TP pixels -------------------------------+
//                    +--> conv_address --> targets, requests of residuals
//
// Two blocks of accumulators: one run of pixel groups is computed while the one before is finished.
// Weight-stationary: one 16 x 16 tile per sub-tile stays in the operands while up to ACC_GROUPS pixel groups of TP
// pixels pass; meanwhile the next tile is loaded. Block b computes sub-tile b / TP of pixel b % TP.
#ifndef HWGEN_CONV_HPP
#define HWGEN_CONV_HPP

#include <hls_streamofblocks.h>

#include "epilogue.hpp"

namespace hwgen {

// A pair of weights (w1 << 19) + w0 is one 27-bit operand; the sum of its 16 products lies in the 48-bit accumulator of
// a DSP cascade. The simulation uses native integers of at least that width: the operand is wrapped to 27 bits when it
// is made, a product has at most 27 + 8 bits and 16 of them at most 39, so no bit differs from ap_int.
#ifdef __SYNTHESIS__
typedef ap_int<27> Operand;
typedef ap_int<8> Activation;
typedef ap_int<35> PairProduct;
typedef ap_int<48> Cascade;
#else
typedef int Operand;
typedef signed char Activation;
typedef long long PairProduct;
typedef long long Cascade;
#endif

inline PairProduct multiply_pair(Operand operand, Activation x) {
#pragma HLS INLINE
#ifdef __SYNTHESIS__
  return operand * x;
#else
  return static_cast<PairProduct>(operand) * x;
#endif
}

// Cycles between two updates of one accumulator; the array idles where a step is shorter.
constexpr int ACC_DISTANCE = 4;
constexpr int TILE_ROWS = 2;  // ring rows of a 16 x 16 tile
// Words that a cycle of the epilogue finishes where a residual is added: its two multipliers a lane are in LUTs.
constexpr int ADD_WORDS = 1;
static_assert(ADD_WORDS == 1, "a residual is one word of the memory's answer");

constexpr int LOG2_BLOCKS = BLOCKS >= 64   ? 6
                            : BLOCKS >= 32 ? 5
                            : BLOCKS >= 16 ? 4
                            : BLOCKS >= 8  ? 3
                            : BLOCKS >= 4  ? 2
                                           : BLOCKS - 1;

// Half a sub-tile: eight output channels, four pairs. Unpacked: only the even or only the odd channel of each pair.
inline void pack_row(const Chunk chunks[ROW_CHUNKS], bool packed, int visit, Operand pairs[WEIGHT_PAIRS / 2][LANES]) {
#pragma HLS INLINE
  for (int j = 0; j < WEIGHT_PAIRS / 2; ++j) {
#pragma HLS UNROLL
    for (int i = 0; i < LANES; ++i) {
#pragma HLS UNROLL
      const Code w0 = chunks[4 * j + i / 8].range(8 * (i % 8) + 7, 8 * (i % 8));
      const Code w1 = chunks[4 * j + 2 + i / 8].range(8 * (i % 8) + 7, 8 * (i % 8));
      const ap_int<27> both = (ap_int<27>(w1) << FIELD_BITS) + w0;
      const ap_int<27> one = visit == 0 ? w0 : w1;
      const ap_int<27> operand = packed ? both : one;
      pairs[j][i] = operand;
    }
  }
}

// One cycle of the array for one pixel group.
inline void multiply_accumulate(const Operand operands[BLOCKS][WEIGHT_PAIRS][LANES], const Code x[BANKS][LANES],
                                int mode, bool first, bool packed, int visit, Accumulator acc[BLOCKS][LANES]) {
#pragma HLS INLINE
// A chain of additions is what the cascade of a DSP column computes; a balanced tree would need adders outside.
#pragma HLS EXPRESSION_BALANCE off
  for (int b = 0; b < BLOCKS; ++b) {
#pragma HLS UNROLL
    const int pixel = b & ((1 << mode) - 1);
    Activation own[LANES];
#pragma HLS ARRAY_PARTITION variable = own complete
    for (int i = 0; i < LANES; ++i) {
#pragma HLS UNROLL
      own[i] = x[pixel][i];
    }
    for (int j = 0; j < WEIGHT_PAIRS; ++j) {
#pragma HLS UNROLL
      Cascade cascade = 0;
      for (int i = 0; i < LANES; ++i) {
#pragma HLS UNROLL
        const PairProduct product = multiply_pair(operands[b][j][i], own[i]);
#pragma HLS BIND_OP variable = product op = mul impl = dsp
        cascade += product;
      }
      // One separation for 16 products: |sum of w0 * x| <= 16 * 127 * 128 < 2^18 fits the low field; what it borrowed
      // from the high field comes back as its sign bit. One weight alone may be -128 and has the whole sum.
      const ap_int<48> sum = cascade;
      const ap_int<FIELD_BITS> low = sum.range(FIELD_BITS - 1, 0);
      const ap_int<FIELD_BITS + 1> high = (sum >> FIELD_BITS) + ap_int<2>(low < 0 ? 1 : 0);
      const ap_int<FIELD_BITS + 1> whole = sum;
      const ap_int<FIELD_BITS + 1> even = packed ? ap_int<FIELD_BITS + 1>(low) : whole;
      const ap_int<FIELD_BITS + 1> odd = packed ? high : whole;
      if (packed || visit == 0) {
        const Accumulator old = first ? Accumulator(0) : acc[b][2 * j];
        acc[b][2 * j] = old + even;
      }
      if (packed || visit == 1) {
        const Accumulator old = first ? Accumulator(0) : acc[b][2 * j + 1];
        acc[b][2 * j + 1] = old + odd;
      }
    }
  }
}

// Operand of the four pairs of one ring row, broadcast to the blocks of its sub-tile.
inline void load_operands(const Row& row, int sub_row, int mode, bool packed, int visit,
                          Operand operands[BLOCKS][WEIGHT_PAIRS][LANES]) {
#pragma HLS INLINE
  Operand pairs[WEIGHT_PAIRS / 2][LANES];
#pragma HLS ARRAY_PARTITION variable = pairs complete dim = 0
  pack_row(row.chunks, packed, visit, pairs);
  const bool upper = (sub_row & 1) != 0;
  for (int b = 0; b < BLOCKS; ++b) {
#pragma HLS UNROLL
    if ((b >> mode) == (sub_row >> 1)) {
      for (int j = 0; j < WEIGHT_PAIRS / 2; ++j) {
#pragma HLS UNROLL
        for (int i = 0; i < LANES; ++i) {
#pragma HLS UNROLL
          if (upper) {
            operands[b][WEIGHT_PAIRS / 2 + j][i] = pairs[j][i];
          } else {
            operands[b][j][i] = pairs[j][i];
          }
        }
      }
    }
  }
}

inline void copy_operands(const Operand from[BLOCKS][WEIGHT_PAIRS][LANES], Operand to[BLOCKS][WEIGHT_PAIRS][LANES]) {
#pragma HLS INLINE
  for (int b = 0; b < BLOCKS; ++b) {
#pragma HLS UNROLL
    for (int j = 0; j < WEIGHT_PAIRS; ++j) {
#pragma HLS UNROLL
      for (int i = 0; i < LANES; ++i) {
#pragma HLS UNROLL
        to[b][j][i] = from[b][j][i];
      }
    }
  }
}

typedef Accumulator AccumulatorBlock[ACC_GROUPS][BLOCKS][LANES];
constexpr int BLOCKS_OF_SUMS = 2;  // one is filled while the other is finished
constexpr int TARGETS = 4;         // addresses of the epilogue are that far ahead of it
constexpr int PASSED_ROWS = 32;  // tables and parameters that pass to the epilogue: one 4,096-entry table, or those of
                                 // two tiles, so that the array does not wait for the end of a tile before

// What an instruction's loops have in common.
struct ConvShape {
  int mode;
  int sub_tiles;  // channel groups of a tile
  int tiles;
  int columns;   // pixel groups of a row
  int total;     // pixel groups of the instruction
  int visits;    // of a weight tile: two where weights are not packed
  int sub_rows;  // ring rows of a step
};

inline ConvShape conv_shape(const Instruction& ins) {
#pragma HLS INLINE
  ConvShape shape;
  const int mode = ins.mode;
  HWGEN_CHECK(ins.opcode == OP_CONV, "the Program holds an unknown opcode");
  HWGEN_CHECK(mode <= 4 && (1 << mode) <= BLOCKS, "CONV has a mode with more pixels than the array");
  HWGEN_CHECK(ins.stride_w <= 4, "CONV has a stride larger than the array's");
  HWGEN_CHECK(ins.stride_w.to_int() << mode <= BANKS, "CONV reads one bank twice in a cycle");
  HWGEN_CHECK(ins.kernel_h <= KERNEL_MAX && ins.kernel_w <= KERNEL_MAX, "CONV has a window larger than the array's");
  HWGEN_CHECK(ins.kernel_h * ins.kernel_w * ins.ci_groups < 32768, "CONV has more steps than its counter");
  shape.mode = mode;
  shape.sub_tiles = BLOCKS >> mode;
  HWGEN_CHECK(ins.og_per_group == 0 || ins.og_per_group % shape.sub_tiles == 0 || shape.sub_tiles == 1,
              "CONV has a tile whose channel groups read different inputs");
  shape.tiles = (ins.y_groups.to_int() + shape.sub_tiles - 1) >> (LOG2_BLOCKS - mode);
  shape.columns = (ins.y_cols.to_int() + (1 << mode) - 1) >> mode;
  shape.total = size_product(shape.columns, ins.y_rows);
  shape.visits = has(ins, FLAG_PACKED) ? 1 : 2;
  shape.sub_rows = shape.sub_tiles * TILE_ROWS;
  return shape;
}

// A step of a sum: a visit of the weights of one tap and input group. `more` until the last step is over.
struct Step {
  int visit;
  int ci;
  int kx;
  int ky;
  bool more;
};

inline bool is_last(const Instruction& ins, const ConvShape& shape, const Step& step) {
#pragma HLS INLINE
  return step.visit == shape.visits - 1 && step.ci == ins.ci_groups.to_int() - 1 &&
         step.kx == ins.kernel_w.to_int() - 1 && step.ky == ins.kernel_h.to_int() - 1;
}

inline void next_step(const Instruction& ins, const ConvShape& shape, Step& step) {
#pragma HLS INLINE
  step.more = !is_last(ins, shape, step);
  ++step.visit;
  if (step.visit == shape.visits) {
    step.visit = 0;
    ++step.ci;
    if (step.ci == ins.ci_groups) {
      step.ci = 0;
      ++step.kx;
      if (step.kx == ins.kernel_w) {
        step.kx = 0;
        ++step.ky;
      }
    }
  }
}

// A place in the pixel groups of an instruction, row by row.
struct GroupPlace {
  int row;
  int column;
};

inline void next_group(int columns, GroupPlace& place) {
#pragma HLS INLINE
  ++place.column;
  if (place.column == columns) {
    place.column = 0;
    ++place.row;
  }
}

// The window of input pixels of one pixel group under kernel tap (ky, kx).
inline Window conv_window(const Instruction& ins, int slot, int group, const GroupPlace& place, int ky, int kx) {
#pragma HLS INLINE
  const int pixels = 1 << ins.mode.to_int();
  const int stride_w = ins.stride_w;
  const int first = place.column << ins.mode.to_int();
  const int x_row = index_product(ins.y_row0.to_int() + place.row, ins.stride_h) - ins.pad_top.to_int() + ky;
  const int x_column = index_product(first, stride_w) - ins.pad_left.to_int() + kx;
  // Only the outputs that exist count: the last group of a row may be cut off.
  const int outputs = minimum(pixels, ins.y_cols.to_int() - first);
  const int span = index_product(outputs - 1, stride_w) + 1;
  const int base = ins.x_base.to_int() + index_product(group, ins.x_plane);
  return padded_window(ins, slot, base, x_row, x_column, span);
}

// Windows and ring rows in the order in which conv_compute takes them.
inline void conv_issue(hls::stream<Word, COMMANDS>& commands, hls::stream<Word, COMMANDS>& to_compute,
                       hls::stream<Word, COMMANDS>& to_address, hls::stream<Window, REQUESTS>& windows,
                       hls::stream<RowRequest, ROW_REQUESTS>& rows) {
  Word record[RECORD_WORDS];
#pragma HLS ARRAY_PARTITION variable = record complete
conv_issue_command:
  for (int i = 0; i < RECORD_WORDS; ++i) {
#pragma HLS PIPELINE II = 1
    record[i] = commands.read();
    to_compute.write(record[i]);
    to_address.write(record[i]);
  }
  const Instruction ins = decode_instruction(record);
  const ConvShape shape = conv_shape(ins);
  const int slot = slot_of(ins);
  const int table = table_rows(ins);
  if (table != 0) {
    rows.write(RowRequest{ins.t_row, ap_uint<16>(table)});
  }
  int blob = ins.w_row;
conv_issue_tiles:
  for (int tile = 0; tile < shape.tiles; ++tile) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 64
    rows.write(RowRequest{ap_uint<16>(blob), ap_uint<16>(shape.sub_tiles)});
    blob += shape.sub_tiles;
    int first_group = 0;
    if (ins.og_per_group != 0) {
      const ap_uint<16> og = ins.y_group0.to_int() + (tile << (LOG2_BLOCKS - shape.mode));
      const ap_uint<16> share = og / ins.og_per_group;
      first_group = index_product(share, ins.ci_groups);
    }
    GroupPlace start = {0, 0};
    int next_row = blob;  // ring row of the next step's weights
  conv_issue_runs:
    for (int done = 0; done < shape.total; done += ACC_GROUPS) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 100
      const int count = minimum(ACC_GROUPS, shape.total - done);
      GroupPlace place = start;
      Step step = {0, 0, 0, 0, true};
      int i = 0;
      rows.write(RowRequest{ap_uint<16>(blob), ap_uint<16>(shape.sub_rows)});
      next_row = shape.visits == 1 ? blob + shape.sub_rows : blob;
    conv_issue_windows:
      while (step.more) {
#pragma HLS LOOP_TRIPCOUNT min = 4 max = 32768
#pragma HLS PIPELINE II = 1
        if (i == 0 && !is_last(ins, shape, step)) {  // the array loads them during this step
          rows.write(RowRequest{ap_uint<16>(next_row), ap_uint<16>(shape.sub_rows)});
        }
        windows.write(conv_window(ins, slot, first_group + step.ci, place, step.ky, step.kx));
        next_group(shape.columns, place);
        ++i;
        if (i == count) {
          i = 0;
          if (is_last(ins, shape, step)) {
            start = place;
          }
          place = start;
          next_step(ins, shape, step);
          if (step.visit == shape.visits - 1) {
            next_row += shape.sub_rows;
          }
        }
      }
    }
    blob = shape.visits == 1 ? next_row - shape.sub_rows : next_row;  // behind the last step's
  }
}

// Pixel p of a group in its window: one of four words, not one of sixteen.
inline Word strided(const Word words[BANKS], int p, int stride) {
#pragma HLS INLINE
  Word word = words[p];
  if (stride == 2) {
    word = words[(2 * p) & (BANKS - 1)];
  } else if (stride == 3) {
    word = words[(3 * p) & (BANKS - 1)];
  } else if (stride == 4) {
    word = words[(4 * p) & (BANKS - 1)];
  }
  return word;
}

// All taps and input groups of one output tile for one run of `count` pixel groups.
inline void accumulate(const Instruction& ins, const ConvShape& shape, int count,
                       hls::stream<Words<BANKS>, ANSWERS>& windows, hls::stream<Row, ANSWERS>& rows,
                       AccumulatorBlock& acc) {
#pragma HLS INLINE off
  Operand active[BLOCKS][WEIGHT_PAIRS][LANES];
  Operand shadow[BLOCKS][WEIGHT_PAIRS][LANES];
#pragma HLS ARRAY_PARTITION variable = active complete dim = 0
#pragma HLS ARRAY_PARTITION variable = shadow complete dim = 0
  const int mode = shape.mode;
  const int stride_w = ins.stride_w;
  const bool packed = shape.visits == 1;
  const int period = maximum(maximum(count, shape.sub_rows), ACC_DISTANCE);

accumulate_first_operands:
  for (int i = 0; i < shape.sub_rows; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 2 max = 32
#pragma HLS PIPELINE II = 1
    load_operands(rows.read(), i, mode, packed, 0, shadow);
  }
  copy_operands(shadow, active);

  int i = 0;  // cycle of the step
  Step step = {0, 0, 0, 0, true};
  bool first = true;
accumulate_cycles:
  while (step.more) {
#pragma HLS LOOP_TRIPCOUNT min = 4 max = 32768
#pragma HLS PIPELINE II = 1
// An accumulator is updated once a step, and a step has at least ACC_DISTANCE cycles.
#pragma HLS DEPENDENCE variable = acc type = inter direction = RAW distance = 4 dependent = true
    if (i < count) {
      const Words<BANKS> window = windows.read();
      Code x[BANKS][LANES];
#pragma HLS ARRAY_PARTITION variable = x complete dim = 0
      for (int p = 0; p < BANKS && p < BLOCKS; ++p) {
#pragma HLS UNROLL
        if (p < (1 << mode)) {
          unpack(strided(window.words, p, stride_w), x[p]);
        }
      }
      multiply_accumulate(active, x, mode, first, packed, step.visit, acc[i]);
    }
    if (i < shape.sub_rows && !is_last(ins, shape, step)) {
      load_operands(rows.read(), i, mode, packed, packed ? 0 : 1 - step.visit, shadow);
    }
    ++i;
    if (i == period) {
      i = 0;
      copy_operands(shadow, active);
      next_step(ins, shape, step);
      first = first && step.visit != 0;
    }
  }
}

// The array. Tables and parameters come with the other ring rows and pass to the epilogue.
inline void conv_compute(hls::stream<Word, COMMANDS>& commands, hls::stream<Word, COMMANDS>& to_finish,
                         hls::stream<Words<BANKS>, ANSWERS>& windows, hls::stream<Row, ANSWERS>& rows,
                         hls::stream<Row, PASSED_ROWS>& passed,
                         hls::stream_of_blocks<AccumulatorBlock, BLOCKS_OF_SUMS>& sums) {
  const Instruction ins = pass_command(commands, to_finish);
  const ConvShape shape = conv_shape(ins);
  const int table = table_rows(ins);
conv_pass_table:
  for (int i = 0; i < table; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 0 max = 32
#pragma HLS PIPELINE II = 1
    passed.write(rows.read());
  }
conv_tiles:
  for (int tile = 0; tile < shape.tiles; ++tile) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 64
  conv_parameters:
    for (int sub = 0; sub < shape.sub_tiles; ++sub) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 16
#pragma HLS PIPELINE II = 1
      passed.write(rows.read());
    }
  conv_runs:
    for (int done = 0; done < shape.total; done += ACC_GROUPS) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 100
      hls::write_lock<AccumulatorBlock> acc(sums);
      accumulate(ins, shape, minimum(ACC_GROUPS, shape.total - done), windows, rows, acc);
    }
  }
}

// A place in the order of the epilogue: EPILOGUE_WORDS consecutive pixels of one channel group, ADD_WORDS with a residual.
struct FinishPlace {
  int sub;    // channel group of the tile
  int part;   // first pixel of the pixel group
  int group;  // pixel group of the run
};

inline int finish_chunk(const ConvShape& shape, bool add) {
#pragma HLS INLINE
  return minimum(1 << shape.mode, add ? ADD_WORDS : EPILOGUE_WORDS);
}

// True where the next pixel group begins.
inline bool next_finish(const ConvShape& shape, int chunk, FinishPlace& place) {
#pragma HLS INLINE
  bool ends = false;
  place.part += chunk;
  if (place.part >= 1 << shape.mode) {
    place.part = 0;
    ++place.sub;
    if (place.sub == shape.sub_tiles) {
      place.sub = 0;
      ++place.group;
      ends = true;
    }
  }
  return ends;
}

// Where each cycle of the epilogue writes, and what it adds.
inline void conv_address(hls::stream<Word, COMMANDS>& commands, hls::stream<Window, TARGETS>& targets,
                         hls::stream<Window, REQUESTS>& residuals) {
  const Instruction ins = take_command(commands);
  const ConvShape shape = conv_shape(ins);
  const int slot = slot_of(ins);
  const bool add = has(ins, FLAG_ADD);
  const int chunk = finish_chunk(shape, add);
conv_address_tiles:
  for (int tile = 0; tile < shape.tiles; ++tile) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 64
    GroupPlace group = {0, 0};
    FinishPlace place = {0, 0, 0};
  conv_address_cycles:
    while (place.group < shape.total) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 51200
#pragma HLS PIPELINE II = 1
      const int og = (tile << (LOG2_BLOCKS - shape.mode)) + place.sub;
      const int y_column = (group.column << shape.mode) + place.part;
      const int exist = og < ins.y_groups.to_int() ? maximum(0, minimum(chunk, ins.y_cols.to_int() - y_column)) : 0;
      const int plane = ins.y_group0.to_int() + og;
      targets.write(y_window(ins, slot, plane, group.row, y_column, exist));
      if (add) {
        residuals.write(r_window(ins, slot, plane, group.row, y_column, exist));
      }
      if (next_finish(shape, chunk, place)) {
        next_group(shape.columns, group);
      }
    }
  }
}

inline void conv_finish(hls::stream<Word, COMMANDS>& commands, hls::stream<Row, PASSED_ROWS>& passed,
                        hls::stream_of_blocks<AccumulatorBlock, BLOCKS_OF_SUMS>& sums,
                        hls::stream<Window, TARGETS>& targets, hls::stream<Words<1>, ANSWERS>& residuals,
                        hls::stream<Write<EPILOGUE_WORDS>, WRITES>& writes) {
  static TableWord tables[TABLE_COPIES][TABLE_WORDS];
#pragma HLS ARRAY_PARTITION variable = tables complete dim = 1
#pragma HLS BIND_STORAGE variable = tables type = ram_t2p impl = bram
#pragma HLS RESET variable = tables off
  Accumulator init[BLOCKS][LANES];
  Multiplier multiplier[BLOCKS][LANES];
  Shift shift[BLOCKS][LANES];
#pragma HLS ARRAY_PARTITION variable = init complete dim = 0
#pragma HLS ARRAY_PARTITION variable = multiplier complete dim = 0
#pragma HLS ARRAY_PARTITION variable = shift complete dim = 0
  const Instruction ins = take_command(commands);
  const ConvShape shape = conv_shape(ins);
  const Epilogue epilogue = decode_epilogue(ins);
  const int chunk = finish_chunk(shape, epilogue.add);
  load_table<TABLE_COPIES>(passed, table_rows(ins), tables);
conv_finish_tiles:
  for (int tile = 0; tile < shape.tiles; ++tile) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 64
  conv_finish_parameters:
    for (int sub = 0; sub < shape.sub_tiles; ++sub) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 16
#pragma HLS PIPELINE II = 1
      unpack_parameters(passed.read(), init[sub], multiplier[sub], shift[sub]);
    }
  conv_finish_runs:
    for (int done = 0; done < shape.total; done += ACC_GROUPS) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 100
      hls::read_lock<AccumulatorBlock> acc(sums);
      const int count = minimum(ACC_GROUPS, shape.total - done);
      const bool last_run = tile == shape.tiles - 1 && done + ACC_GROUPS >= shape.total;
      FinishPlace place = {0, 0, 0};
    finish_cycles:
      while (place.group < count) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 512
#pragma HLS PIPELINE II = 1
        Write<EPILOGUE_WORDS> write;
        write.window = targets.read();
        const FinishPlace now = place;
        write.last = next_finish(shape, chunk, place) && last_run && place.group == count;
        const int exist = write.window.high;
        Words<1> residual = {};
        if (epilogue.add) {
          residual = residuals.read();
        }
        for (int e = 0; e < EPILOGUE_WORDS; ++e) {
#pragma HLS UNROLL
          write.data.words[e] = 0;
          if (e < exist) {
            Accumulator total[LANES];  // the initial value comes last: fewer lanes need it than the array has
#pragma HLS ARRAY_PARTITION variable = total complete
            for (int c = 0; c < LANES; ++c) {
#pragma HLS UNROLL
              total[c] = acc[now.group][(now.sub << shape.mode) + now.part + e][c] + init[now.sub][c];
            }
            write.data.words[e] = finish_word(epilogue, tables, e, total, multiplier[now.sub], shift[now.sub]);
          }
        }
        if (epilogue.add && exist != 0) {
          write.data.words[0] = add_word(epilogue.residual, write.data.words[0], residual.words[0]);
        }
        if (exist != 0 || write.last) {
          writes.write(write);
        }
      }
    }
  }
}

}  // namespace hwgen

#endif
