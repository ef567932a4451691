// SPDX-License-Identifier: Apache-2.0
// The MAC array: BLOCKS blocks of 16 output channels x 16 input channels x 1 pixel, two weights in a multiplier.
//
//   ring row --> shadow operands --> active operands --+
//                                                      +--> 16-deep cascades --> split --> acc[pixel group][block][16]
//   pads --> window of TP pixels ----------------------+
//
// Weight-stationary: one 16 x 16 tile per sub-tile stays in the operands while up to ACC_GROUPS pixel groups of TP
// pixels pass; meanwhile the next tile is loaded. Block b computes sub-tile b / TP of pixel b % TP.
#ifndef HWGEN_CONV_HPP
#define HWGEN_CONV_HPP

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
static_assert(ADD_WORDS <= EPILOGUE_WORDS, "residuals are added to words that the epilogue finished");

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
                                const Accumulator init[BLOCKS][LANES], int mode, bool first, bool packed, int visit,
                                Accumulator acc[BLOCKS][LANES]) {
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
        const Accumulator old = first ? init[b >> mode][2 * j] : acc[b][2 * j];
        acc[b][2 * j] = old + even;
      }
      if (packed || visit == 1) {
        const Accumulator old = first ? init[b >> mode][2 * j + 1] : acc[b][2 * j + 1];
        acc[b][2 * j + 1] = old + odd;
      }
    }
  }
}

// Operand of the four pairs of one ring row, broadcast to the blocks of its sub-tile.
inline void load_operands(const Chunk ring[WEIGHT_ROWS][ROW_CHUNKS], int row, int sub_row, int mode, bool packed,
                          int visit, Operand operands[BLOCKS][WEIGHT_PAIRS][LANES]) {
#pragma HLS INLINE
  Chunk chunks[ROW_CHUNKS];
  Operand pairs[WEIGHT_PAIRS / 2][LANES];
#pragma HLS ARRAY_PARTITION variable = chunks complete
#pragma HLS ARRAY_PARTITION variable = pairs complete dim = 0
  read_row(ring, row + sub_row, chunks);
  pack_row(chunks, packed, visit, pairs);
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

// A run of pixel groups: `count` groups from group `column` of output row `row` of the tile.
struct GroupRun {
  int row;
  int column;
  int columns;  // pixel groups of a row
  int count;
};

// The window of input pixels of one pixel group under kernel tap (ky, kx).
inline Window conv_window(const Instruction& ins, int group, int row, int column, int ky, int kx) {
#pragma HLS INLINE
  const int pixels = 1 << ins.mode.to_int();
  const int stride_w = ins.stride_w;
  const int first = column << ins.mode.to_int();
  const int x_row = index_product(ins.y_row0.to_int() + row, ins.stride_h) - ins.pad_top.to_int() + ky;
  const int x_column = index_product(first, stride_w) - ins.pad_left.to_int() + kx;
  const bool inside = x_row >= 0 && x_row < ins.x_height.to_int();
  const int slot = ring_slot(ins.x_slot, x_row - ins.x_first.to_int(), ins.x_ring);
  // Only the outputs that exist count: the last group of a row may be cut off.
  const int outputs = minimum(pixels, ins.y_cols.to_int() - first);
  const int span = index_product(outputs - 1, stride_w) + 1;
  Window window;
  window.pad = ins.x_pad;
  window.base = ins.x_base.to_int() + index_product(group, ins.x_plane);
  window.pixel = index_product(slot, ins.x_width) + x_column;
  window.low = maximum(0, -x_column);
  window.high = inside ? minimum(span, ins.x_cols.to_int() - x_column) : 0;
  return window;
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

// All taps and input groups of one output tile for one run of pixel groups.
inline void accumulate(const Instruction& ins, const Word pads[PADS][BANKS][PAD_ROWS],
                       const Chunk ring[WEIGHT_ROWS][ROW_CHUNKS], const Accumulator init[BLOCKS][LANES], int weight_row,
                       int first_group, const GroupRun& run, Accumulator acc[ACC_GROUPS][BLOCKS][LANES]) {
  Operand active[BLOCKS][WEIGHT_PAIRS][LANES];
  Operand shadow[BLOCKS][WEIGHT_PAIRS][LANES];
#pragma HLS ARRAY_PARTITION variable = active complete dim = 0
#pragma HLS ARRAY_PARTITION variable = shadow complete dim = 0
  const int mode = ins.mode;
  const bool packed = has(ins, FLAG_PACKED);
  const int visits = packed ? 1 : 2;
  const int sub_rows = (BLOCKS >> mode) * TILE_ROWS;
  const int stride_w = ins.stride_w;
  const int kernel_h = ins.kernel_h;
  const int kernel_w = ins.kernel_w;
  const int ci_groups = ins.ci_groups;
  const int reads = index_product(index_product(kernel_h, kernel_w), ci_groups);
  const int steps = packed ? reads : 2 * reads;
  const int period = maximum(maximum(run.count, sub_rows), ACC_DISTANCE);
  const int cycles = index_product(steps, period);
  const Word fill = splat(ins.x_zero);

accumulate_first_operands:
  for (int i = 0; i < sub_rows; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 2 max = 32
#pragma HLS PIPELINE II = 1
    load_operands(ring, weight_row, i, mode, packed, 0, shadow);
  }
  copy_operands(shadow, active);

  int i = 0;  // cycle of the step
  int ky = 0;
  int kx = 0;
  int ci = 0;
  int visit = 0;
  int row = run.row;
  int column = run.column;
  bool first = true;
  int next_row = visits == 1 ? weight_row + sub_rows : weight_row;  // ring row of the next step's weights
  int step = 0;
accumulate_cycles:
  for (int n = 0; n < cycles; ++n) {
#pragma HLS LOOP_TRIPCOUNT min = 4 max = 32768
#pragma HLS PIPELINE II = 1
// An accumulator is updated once a step, and a step has at least ACC_DISTANCE cycles.
#pragma HLS DEPENDENCE variable = acc type = inter direction = RAW distance = 4 dependent = true
    const bool last_step = step == steps - 1;
    if (i < run.count) {
      Word words[BANKS];
      Code x[BANKS][LANES];
#pragma HLS ARRAY_PARTITION variable = words complete
#pragma HLS ARRAY_PARTITION variable = x complete dim = 0
      read_window<BANKS>(pads, conv_window(ins, first_group + ci, row, column, ky, kx), fill, words);
      for (int p = 0; p < BANKS && p < BLOCKS; ++p) {
#pragma HLS UNROLL
        if (p < (1 << mode)) {
          unpack(strided(words, p, stride_w), x[p]);
        }
      }
      multiply_accumulate(active, x, init, mode, first, packed, visit, acc[i]);
      ++column;
      if (column == run.columns) {
        column = 0;
        ++row;
      }
    }
    if (i < sub_rows && !last_step) {
      load_operands(ring, next_row, i, mode, packed, visits == 1 ? 0 : 1 - visit, shadow);
    }
    ++i;
    if (i == period) {
      i = 0;
      row = run.row;
      column = run.column;
      copy_operands(shadow, active);
      ++step;
      ++visit;
      if (visit == visits) {
        visit = 0;
        first = false;
        ++ci;
        if (ci == ci_groups) {
          ci = 0;
          ++kx;
          if (kx == kernel_w) {
            kx = 0;
            ++ky;
          }
        }
      }
      if (visit == visits - 1) {
        next_row += sub_rows;
      }
    }
  }
}

// Epilogue of a run: reads the residual, writes y. EPILOGUE_WORDS a cycle, ADD_WORDS with a residual: consecutive pixels
// of one channel group.
inline void finish_run(const Instruction& ins, Word pads[PADS][BANKS][PAD_ROWS],
                       const TableWord tables[TABLE_COPIES][TABLE_WORDS], const Multiplier multiplier[BLOCKS][LANES],
                       const Shift shift[BLOCKS][LANES], int tile, const GroupRun& run,
                       const Accumulator acc[ACC_GROUPS][BLOCKS][LANES]) {
  const Epilogue epilogue = decode_epilogue(ins);
  const int mode = ins.mode;
  const int pixels = 1 << mode;
  const int sub_tiles = BLOCKS >> mode;
  const int chunk = minimum(pixels, epilogue.add ? ADD_WORDS : EPILOGUE_WORDS);
  const int parts = maximum(epilogue.add ? pixels / ADD_WORDS : pixels / EPILOGUE_WORDS, 1);
  const int cycles = index_product(run.count, parts << (LOG2_BLOCKS - mode));
  int row = run.row;
  int column = run.column;
  int group = 0;
  int sub = 0;
  int part = 0;
finish_cycles:
  for (int n = 0; n < cycles; ++n) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 512
#pragma HLS PIPELINE II = 1
// The planner proves that no instruction reads a word that it writes (hwgen/plan).
#pragma HLS DEPENDENCE variable = pads type = inter dependent = false
    const int og = (tile << (LOG2_BLOCKS - mode)) + sub;
    const int y_column = (column << mode) + part;
    const int exist = og < ins.y_groups.to_int() ? minimum(chunk, ins.y_cols.to_int() - y_column) : 0;
    const int plane = ins.y_group0.to_int() + og;
    Window target;
    target.pad = ins.y_pad;
    target.base = ins.y_base.to_int() + index_product(plane, ins.y_plane);
    target.pixel = index_product(ring_slot(ins.y_slot, row, ins.y_ring), ins.y_width) + y_column;
    target.low = 0;
    target.high = exist;
    Word residual[ADD_WORDS];
    Word words[EPILOGUE_WORDS];
#pragma HLS ARRAY_PARTITION variable = residual complete
#pragma HLS ARRAY_PARTITION variable = words complete
    if (epilogue.add) {
      Window source;
      source.pad = ins.r_pad;
      source.base = ins.r_base.to_int() + index_product(plane, ins.r_plane);
      source.pixel = index_product(ring_slot(ins.r_slot, row, ins.r_ring), ins.y_width) + y_column;
      source.low = 0;
      source.high = exist;
      read_window<ADD_WORDS>(pads, source, 0, residual);
    }
    for (int e = 0; e < EPILOGUE_WORDS; ++e) {
#pragma HLS UNROLL
      if (e < exist) {
        words[e] = finish_word(epilogue, tables, e, acc[group][(sub << mode) + part + e], multiplier[sub], shift[sub]);
      }
    }
    if (epilogue.add) {
      for (int e = 0; e < ADD_WORDS; ++e) {
#pragma HLS UNROLL
        if (e < exist) {
          words[e] = add_word(epilogue.residual, words[e], residual[e]);
        }
      }
    }
    write_window<EPILOGUE_WORDS>(pads, target, words);
    part += chunk;
    if (part >= pixels) {
      part = 0;
      ++sub;
      if (sub == sub_tiles) {
        sub = 0;
        ++group;
        ++column;
        if (column == run.columns) {
          column = 0;
          ++row;
        }
      }
    }
  }
}

inline void run_conv(const Instruction& ins, Word pads[PADS][BANKS][PAD_ROWS],
                     const Chunk ring[WEIGHT_ROWS][ROW_CHUNKS], TableWord tables[TABLE_COPIES][TABLE_WORDS]) {
#pragma HLS INLINE off
  Accumulator acc[ACC_GROUPS][BLOCKS][LANES];
#pragma HLS ARRAY_PARTITION variable = acc complete dim = 2
#pragma HLS ARRAY_PARTITION variable = acc complete dim = 3
#pragma HLS BIND_STORAGE variable = acc type = ram_s2p impl = lutram
  Accumulator init[BLOCKS][LANES];
  Multiplier multiplier[BLOCKS][LANES];
  Shift shift[BLOCKS][LANES];
#pragma HLS ARRAY_PARTITION variable = init complete dim = 0
#pragma HLS ARRAY_PARTITION variable = multiplier complete dim = 0
#pragma HLS ARRAY_PARTITION variable = shift complete dim = 0
  const int mode = ins.mode;
  HWGEN_CHECK(mode <= 4 && (1 << mode) <= BLOCKS, "CONV has a mode with more pixels than the array");
  HWGEN_CHECK(ins.stride_w <= 4, "CONV has a stride larger than the array's");
  HWGEN_CHECK(ins.stride_w.to_int() << mode <= BANKS, "CONV reads one bank twice in a cycle");
  HWGEN_CHECK(ins.kernel_h <= KERNEL_MAX && ins.kernel_w <= KERNEL_MAX, "CONV has a window larger than the array's");
  const int sub_tiles = BLOCKS >> mode;
  HWGEN_CHECK(ins.og_per_group == 0 || ins.og_per_group % sub_tiles == 0 || sub_tiles == 1,
              "CONV has a tile whose channel groups read different inputs");
  const int y_groups = ins.y_groups;
  const int tiles = (y_groups + sub_tiles - 1) >> (LOG2_BLOCKS - mode);
  const int columns = (ins.y_cols.to_int() + (1 << mode) - 1) >> mode;
  HWGEN_CHECK(ins.kernel_h * ins.kernel_w * ins.ci_groups < 32768, "CONV has more steps than its counter");
  const int total = index_product(ins.y_rows, columns);
  const int reads = index_product(index_product(ins.kernel_h, ins.kernel_w), ins.ci_groups);
  const int weight_rows = (reads << (LOG2_BLOCKS - mode)) * TILE_ROWS;
  if (has(ins, FLAG_TABLE)) {
    load_table(ring, tables, ins.t_row, has(ins, FLAG_WIDE));
  }
  int blob = ins.w_row;
conv_tiles:
  for (int tile = 0; tile < tiles; ++tile) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 64
  conv_parameters:
    for (int sub = 0; sub < sub_tiles; ++sub) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 16
#pragma HLS PIPELINE II = 1
      read_parameters(ring, blob + sub, init[sub], multiplier[sub], shift[sub]);
    }
    int first_group = 0;
    if (ins.og_per_group != 0) {
      const ap_uint<16> og = ins.y_group0.to_int() + (tile << (LOG2_BLOCKS - mode));
      const ap_uint<16> share = og / ins.og_per_group;
      first_group = index_product(share, ins.ci_groups);
    }
    GroupRun run;
    run.row = 0;
    run.column = 0;
    run.columns = columns;
  conv_runs:
    for (int done = 0; done < total; done += ACC_GROUPS) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 100
      run.count = minimum(ACC_GROUPS, total - done);
      accumulate(ins, pads, ring, init, blob + sub_tiles, first_group, run, acc);
      finish_run(ins, pads, tables, multiplier, shift, tile, run, acc);
      run.column += run.count;
    conv_next_run:
      while (run.column >= columns) {
#pragma HLS LOOP_TRIPCOUNT min = 0 max = 32
        run.column -= columns;
        ++run.row;
      }
    }
    blob += sub_tiles + weight_rows;
  }
}

}  // namespace hwgen

#endif
