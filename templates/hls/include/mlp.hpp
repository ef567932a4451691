// SPDX-License-Identifier: Apache-2.0
// The head: global average pool, fully connected layers at 32 weights a cycle, layer norm (hwgen/kernels/mlp.py).
//
//   commands --> mlp_issue --> requests of words of x, of rows of the head's ring
//                    +--> mlp_compute --> writes
#ifndef HWGEN_MLP_HPP
#define HWGEN_MLP_HPP

#include "epilogue.hpp"

namespace hwgen {

constexpr int LINEAR_ROWS = 2;  // output channels that a cycle works on: 2 x 16 weights = 32 bytes
constexpr int LINEAR_CYCLES = LANES / LINEAR_ROWS;
constexpr int NORM_FRACTION = 18;
constexpr int ROOT_BITS = 26;
constexpr int RECIPROCAL_SHIFT = 49;
constexpr int RECIPROCAL_BITS = 25;

// The only pixel of a (C, 1, 1) tensor, channel group g, in a pad or in the vector memory. In a pad, slots count rows,
// and the tensor has one pixel a row.
inline Window vector_window(const Instruction& ins, int slot, int group) {
#pragma HLS INLINE
  const int base = ins.x_base.to_int() + index_product(group, ins.x_plane);
  return window_at(slot, ins.x_pad, base, ins.x_slot, 0, 1, 0);
}

inline void write_vector(const Instruction& ins, int slot, int group, bool last, Word word,
                         hls::stream<Write<1>, WRITES>& writes) {
#pragma HLS INLINE
  const int base = ins.y_base.to_int() + index_product(group, ins.y_plane);
  Write<1> write;
  write.window = window_at(slot, ins.y_pad, base, ins.y_slot, 0, 1, 0);
  write.last = last;
  write.data.words[0] = word;
  writes.write(write);
}

// The words of x and the ring rows in the order in which mlp_compute takes them.
inline void mlp_issue(hls::stream<Word, COMMANDS>& commands, hls::stream<Word, COMMANDS>& to_compute,
                      hls::stream<Window, REQUESTS>& reads, hls::stream<RowRequest, ROW_REQUESTS>& rows) {
  const Instruction ins = pass_command(commands, to_compute);
  const int slot = slot_of(ins);
  const int y_groups = ins.y_groups;
  const int table = table_rows(ins);
  if (ins.opcode == OP_POOL) {
    rows.write(RowRequest{ins.w_row, 1});
    const int pixels = size_product(ins.x_cols, ins.x_height);
  pool_issue_groups:
    for (int g = 0; g < y_groups; ++g) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 256
      const int base = ins.x_base.to_int() + index_product(ins.y_group0.to_int() + g, ins.x_plane);
    pool_issue_pixels:
      for (int pixel = 0; pixel < pixels; pixel += POOL_PIXELS) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 256
#pragma HLS PIPELINE II = 1
        reads.write(window_at(slot, ins.x_pad, base, pixel, 0, minimum(POOL_PIXELS, pixels - pixel), 0));
      }
    }
  } else if (ins.opcode == OP_LINEAR) {
    if (table != 0) {
      rows.write(RowRequest{ins.t_row, ap_uint<16>(table)});
    }
    const int ci_groups = ins.ci_groups;
    int blob = ins.w_row;
  linear_issue_groups:
    for (int g = 0; g < y_groups; ++g) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 256
      rows.write(RowRequest{ap_uint<16>(blob), ap_uint<16>(1 + 2 * ci_groups)});
      blob += 1 + 2 * ci_groups;
    linear_issue_words:
      for (int ci = 0; ci < ci_groups; ++ci) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 256
#pragma HLS PIPELINE II = 1
        reads.write(vector_window(ins, slot, ci));
      }
    }
  } else {
    HWGEN_CHECK(ins.opcode == OP_LAYER_NORM, "the Program holds an unknown opcode");
    rows.write(RowRequest{ins.w_row, 1});
    if (table != 0) {
      rows.write(RowRequest{ins.t_row, ap_uint<16>(table)});
    }
    const int groups = (ins.channels.to_int() + LANES - 1) / LANES;
    rows.write(RowRequest{ap_uint<16>(ins.w_row + 1), ap_uint<16>(groups)});
  norm_issue_passes:
    for (int pass = 0; pass < 2; ++pass) {
    norm_issue_words:
      for (int g = 0; g < groups; ++g) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 256
#pragma HLS PIPELINE II = 1
        reads.write(vector_window(ins, slot, g));
      }
    }
  }
}

inline void compute_pool(const Instruction& ins, hls::stream<Words<POOL_PIXELS>, ANSWERS>& words,
                         hls::stream<Row, ANSWERS>& rows, hls::stream<Write<1>, WRITES>& writes) {
#pragma HLS INLINE off
  const Row row = rows.read();
  const Accumulator init = row_word(row, 0);
  const Multiplier multiplier = row_word(row, 1);
  const Shift shift = row_word(row, 2);
  const int slot = slot_of(ins);
  const int y_groups = ins.y_groups;
  const int pixels = size_product(ins.x_cols, ins.x_height);
pool_groups:
  for (int g = 0; g < y_groups; ++g) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 256
    const int group = ins.y_group0.to_int() + g;
    Accumulator acc[LANES];
#pragma HLS ARRAY_PARTITION variable = acc complete
    for (int c = 0; c < LANES; ++c) {
#pragma HLS UNROLL
      acc[c] = init;
    }
  pool_pixels:
    for (int pixel = 0; pixel < pixels; pixel += POOL_PIXELS) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 256
#pragma HLS PIPELINE II = 1
      const Words<POOL_PIXELS> found = words.read();  // 0 beyond the last
      for (int p = 0; p < POOL_PIXELS; ++p) {
#pragma HLS UNROLL
        Code x[LANES];
#pragma HLS ARRAY_PARTITION variable = x complete
        unpack(found.words[p], x);
        for (int c = 0; c < LANES; ++c) {
#pragma HLS UNROLL
          acc[c] += x[c];
        }
      }
    }
    Code codes[LANES];
#pragma HLS ARRAY_PARTITION variable = codes complete
  pool_requantize:
    for (int c = 0; c < LANES; ++c) {
#pragma HLS PIPELINE II = 1
      codes[c] = requantize(acc[c], multiplier, shift, ins.y_zero);
    }
    write_vector(ins, slot, group, g == y_groups - 1, pack(codes), writes);
  }
}

inline void compute_linear(const Instruction& ins, hls::stream<Words<POOL_PIXELS>, ANSWERS>& words,
                           hls::stream<Row, ANSWERS>& rows, TableWord tables[1][TABLE_WORDS],
                           hls::stream<Write<1>, WRITES>& writes) {
#pragma HLS INLINE off
  const Epilogue epilogue = decode_epilogue(ins);
  const int slot = slot_of(ins);
  const int y_groups = ins.y_groups;
  const int ci_groups = ins.ci_groups;
  load_table<1>(rows, table_rows(ins), tables);
linear_groups:
  for (int g = 0; g < y_groups; ++g) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 256
    const int group = ins.y_group0.to_int() + g;
    Accumulator init[LANES];
    Multiplier multiplier[LANES];
    Shift shift[LANES];
    Accumulator acc[LANES];
#pragma HLS ARRAY_PARTITION variable = init complete
#pragma HLS ARRAY_PARTITION variable = multiplier complete
#pragma HLS ARRAY_PARTITION variable = shift complete
#pragma HLS ARRAY_PARTITION variable = acc complete
    unpack_parameters(rows.read(), init, multiplier, shift);
    for (int c = 0; c < LANES; ++c) {
#pragma HLS UNROLL
      acc[c] = init[c];
    }
    Code x[LANES];
    Row row;
#pragma HLS ARRAY_PARTITION variable = row.chunks complete
#pragma HLS ARRAY_PARTITION variable = x complete
  linear_weights:
    for (int n = 0; n < ci_groups * LINEAR_CYCLES; ++n) {
#pragma HLS LOOP_TRIPCOUNT min = 8 max = 2048
#pragma HLS PIPELINE II = 1
// The same two accumulators come again after LINEAR_CYCLES cycles.
#pragma HLS DEPENDENCE variable = acc type = inter direction = RAW distance = 8 dependent = true
      const int pair = n % LINEAR_CYCLES;
      if (pair == 0) {
        unpack(words.read().words[0], x);
      }
      if (n % (LINEAR_CYCLES / 2) == 0) {
        row = rows.read();
      }
      for (int o = 0; o < LINEAR_ROWS; ++o) {
#pragma HLS UNROLL
        const int first = (pair * LINEAR_ROWS + o) % (LANES / 2) * LANES;
        Accumulator sum = 0;
        for (int i = 0; i < LANES; ++i) {
#pragma HLS UNROLL
          const ap_int<16> product = row_byte(row, first + i) * x[i];
#pragma HLS BIND_OP variable = product op = mul impl = fabric
          sum += product;
        }
        acc[pair * LINEAR_ROWS + o] += sum;
      }
    }
    Code codes[LANES];
#pragma HLS ARRAY_PARTITION variable = codes complete
  linear_finish:
    for (int c = 0; c < LANES; ++c) {  // one requantizer: the weights take far longer
#pragma HLS PIPELINE II = 1
      codes[c] = finish_lane(epilogue, tables[0], acc[c], multiplier[c], shift[c]);
    }
    write_vector(ins, slot, group, g == y_groups - 1, pack(codes), writes);
  }
}

// reciprocal / 2^shift ~ 1 / sqrt(variance): the variance is scaled by a power of four so that its root has 26 bits.
inline void norm_reciprocal(ap_uint<64> variance, ap_uint<RECIPROCAL_BITS>& reciprocal, int& shift) {
  int bits = 0;
  for (int i = 0; i < 64; ++i) {
#pragma HLS UNROLL
    if (variance[i]) {
      bits = i + 1;
    }
  }
  HWGEN_CHECK(bits > 0, "LAYER_NORM has a variance of zero");
  const int half = (2 * ROOT_BITS - bits) >> 1;
  ap_uint<64> scaled = variance;
  if (half >= 0) {
    scaled <<= 2 * half;
  } else {
    scaled >>= -2 * half;
  }
  const ap_uint<ROOT_BITS> root = integer_sqrt<ROOT_BITS>(ap_uint<2 * ROOT_BITS>(scaled));
  // 2^49 / root, one quotient bit a cycle; root >= 2^25, so the quotient has at most 25 bits.
  ap_uint<RECIPROCAL_SHIFT + 1> remainder = 1;
  remainder <<= RECIPROCAL_SHIFT;
  ap_uint<RECIPROCAL_BITS> quotient = 0;
norm_reciprocal_bits:
  for (int k = RECIPROCAL_BITS - 1; k >= 0; --k) {
#pragma HLS PIPELINE II = 1
    const ap_uint<RECIPROCAL_SHIFT + 2> part = ap_uint<RECIPROCAL_SHIFT + 2>(root) << k;
    if (remainder >= part) {
      remainder -= part;
      quotient[k] = 1;
    }
  }
  reciprocal = quotient;
  shift = RECIPROCAL_SHIFT - half;
}

inline void compute_layer_norm(const Instruction& ins, hls::stream<Words<POOL_PIXELS>, ANSWERS>& words,
                               hls::stream<Row, ANSWERS>& rows, TableWord tables[1][TABLE_WORDS],
                               hls::stream<Write<1>, WRITES>& writes) {
#pragma HLS INLINE off
  const Row head = rows.read();
  const int count = ins.channels;
  const Code x_zero = row_word(head, 1);
  const Shift shift = row_word(head, 2);
  const Code y_zero = row_word(head, 3);
  const ap_uint<64> epsilon = head.chunks[2];
  const bool table = has(ins, FLAG_TABLE);
  const int slot = slot_of(ins);
  const int groups = (count + LANES - 1) / LANES;
  HWGEN_CHECK(count >= 1 && count <= MLP_CHANNELS, "LAYER_NORM has a vector longer than the engine's");
  load_table<1>(rows, table_rows(ins), tables);

  // |u| <= 255: sums of 4,096 values fit 21 bits, of squares 28 bits.
  ap_int<22> total = 0;
  ap_uint<29> squares = 0;
  Code x[LANES];
#pragma HLS ARRAY_PARTITION variable = x complete
norm_sums:
  for (int n = 0; n < groups * LANES; ++n) {  // one lane a cycle: a frame has few of these vectors
#pragma HLS LOOP_TRIPCOUNT min = 16 max = 4096
#pragma HLS PIPELINE II = 1
    if (n % LANES == 0) {
      unpack(words.read().words[0], x);
    }
    if (n < count) {
      const ap_int<9> u = x[n % LANES] - x_zero;
      const ap_int<18> square = u * u;
#pragma HLS BIND_OP variable = square op = mul impl = fabric
      total += u;
      squares += ap_uint<18>(square);
    }
  }
  const ap_int<14> n_channels = count;
  const ap_int<30> total_squares = squares;
  const ap_int<48> above = n_channels * total_squares;
  const ap_int<48> below = total * total;
#pragma HLS BIND_OP variable = above op = mul impl = fabric
#pragma HLS BIND_OP variable = below op = mul impl = fabric
  const ap_int<64> spread = above - below;
  const ap_uint<64> variance = ap_uint<64>(spread) + epsilon;
  ap_uint<RECIPROCAL_BITS> reciprocal = 0;
  int scale_shift = 0;
  norm_reciprocal(variance, reciprocal, scale_shift);
  const Shift fraction_shift = scale_shift - NORM_FRACTION;

  Code codes[LANES];
  Row row;
#pragma HLS ARRAY_PARTITION variable = row.chunks complete
#pragma HLS ARRAY_PARTITION variable = codes complete
norm_lanes:
  for (int n = 0; n < groups * LANES; ++n) {  // one lane a cycle: its products are wide
#pragma HLS LOOP_TRIPCOUNT min = 16 max = 4096
#pragma HLS PIPELINE II = 1
    const int g = n / LANES;
    const int c = n % LANES;
    if (c == 0) {
      unpack(words.read().words[0], x);
      row = rows.read();
    }
    const ap_int<18> gamma = row.chunks[c].range(17, 0);
    const ap_int<46> beta = row.chunks[c].range(63, 18);
    const ap_int<9> u = x[c] - x_zero;
    const ap_int<23> part = n_channels * u;
#pragma HLS BIND_OP variable = part op = mul impl = fabric
    const ap_int<24> centred = part - total;
    const ap_int<RECIPROCAL_BITS + 1> factor = reciprocal;
    const ap_int<50> product = centred * factor;
#pragma HLS BIND_OP variable = product op = mul impl = dsp
    // |x_hat| <= sqrt(N) <= 64
    const ap_int<26> x_hat = shift_round<64>(product, fraction_shift);
    const ap_int<44> weighted = x_hat * gamma;
#pragma HLS BIND_OP variable = weighted op = mul impl = dsp
    const ap_int<64> value = ap_int<64>(weighted) + beta;
    const ap_int<64> rounded = shift_round<64>(value, shift) + y_zero;
    Code code = saturate<8, 64>(rounded);
    if (table) {
      code = look_up(tables[0], code, false);
    }
    codes[c] = code;
    if (c == LANES - 1) {
      write_vector(ins, slot, g, g == groups - 1, pack(codes), writes);
    }
  }
}

inline void mlp_compute(hls::stream<Word, COMMANDS>& commands, hls::stream<Words<POOL_PIXELS>, ANSWERS>& words,
                        hls::stream<Row, ANSWERS>& rows, hls::stream<Write<1>, WRITES>& writes) {
  static TableWord tables[1][TABLE_WORDS];
#pragma HLS BIND_STORAGE variable = tables type = ram_t2p impl = bram
#pragma HLS RESET variable = tables off
  const Instruction ins = take_command(commands);
  if (ins.opcode == OP_POOL) {
    compute_pool(ins, words, rows, writes);
  } else if (ins.opcode == OP_LINEAR) {
    compute_linear(ins, words, rows, tables, writes);
  } else {
    compute_layer_norm(ins, words, rows, tables, writes);
  }
}

}  // namespace hwgen

#endif
