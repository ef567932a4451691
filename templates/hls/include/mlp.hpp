// SPDX-License-Identifier: Apache-2.0
// The head: global average pool, fully connected layers at 32 weights a cycle, layer norm (hwgen/kernels/mlp.py).
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
inline Word read_vector(const Instruction& ins, const Word pads[PADS][BANKS][PAD_ROWS], const Word vectors[VECTOR_ROWS],
                        int group) {
#pragma HLS INLINE
  const int base = ins.x_base.to_int() + index_product(group, ins.x_plane);
  return read_word(pads, vectors, ins.x_pad, base, ins.x_slot);
}

inline void write_vector(const Instruction& ins, Word pads[PADS][BANKS][PAD_ROWS], Word vectors[VECTOR_ROWS], int group,
                         Word word) {
#pragma HLS INLINE
  const int base = ins.y_base.to_int() + index_product(group, ins.y_plane);
  write_word(pads, vectors, ins.y_pad, base, ins.y_slot, word);
}

inline void run_pool(const Instruction& ins, Word pads[PADS][BANKS][PAD_ROWS], Word vectors[VECTOR_ROWS],
                     const Chunk ring[WEIGHT_ROWS][ROW_CHUNKS]) {
#pragma HLS INLINE off
  Chunk row[ROW_CHUNKS];
#pragma HLS ARRAY_PARTITION variable = row complete
  read_row(ring, ins.w_row, row);
  const Accumulator init = row_word(row, 0);
  const Multiplier multiplier = row_word(row, 1);
  const Shift shift = row_word(row, 2);
  const int pixels = index_product(ins.x_height, ins.x_cols);
  const int reads = (pixels + BANKS - 1) / BANKS;
pool_groups:
  for (int g = 0; g < ins.y_groups.to_int(); ++g) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 256
    const int group = ins.y_group0.to_int() + g;
    Accumulator acc[LANES];
#pragma HLS ARRAY_PARTITION variable = acc complete
    for (int c = 0; c < LANES; ++c) {
#pragma HLS UNROLL
      acc[c] = init;
    }
  pool_pixels:
    for (int n = 0; n < reads; ++n) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 64
#pragma HLS PIPELINE II = 1
      Word words[BANKS];
#pragma HLS ARRAY_PARTITION variable = words complete
      const int row = ins.x_base.to_int() + index_product(group, ins.x_plane) + n;
      read_block(pads, ins.x_pad, row, minimum(BANKS, pixels - n * BANKS), words);
      for (int p = 0; p < BANKS; ++p) {
#pragma HLS UNROLL
        Code x[LANES];
#pragma HLS ARRAY_PARTITION variable = x complete
        unpack(words[p], x);
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
    write_vector(ins, pads, vectors, group, pack(codes));
  }
}

inline void run_linear(const Instruction& ins, Word pads[PADS][BANKS][PAD_ROWS], Word vectors[VECTOR_ROWS],
                       const Chunk ring[WEIGHT_ROWS][ROW_CHUNKS], TableWord tables[TABLE_COPIES][TABLE_WORDS]) {
#pragma HLS INLINE off
  const Epilogue epilogue = decode_epilogue(ins);
  const int ci_groups = ins.ci_groups;
  if (epilogue.table) {
    load_table(ring, tables, ins.t_row, epilogue.wide);
  }
  int blob = ins.w_row;
linear_groups:
  for (int g = 0; g < ins.y_groups.to_int(); ++g) {
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
    read_parameters(ring, blob, init, multiplier, shift);
    for (int c = 0; c < LANES; ++c) {
#pragma HLS UNROLL
      acc[c] = init[c];
    }
  linear_weights:
    for (int n = 0; n < ci_groups * LINEAR_CYCLES; ++n) {
#pragma HLS LOOP_TRIPCOUNT min = 8 max = 2048
#pragma HLS PIPELINE II = 1
// The same two accumulators come again after LINEAR_CYCLES cycles.
#pragma HLS DEPENDENCE variable = acc type = inter direction = RAW distance = 8 dependent = true
      const int ci = n / LINEAR_CYCLES;
      const int pair = n % LINEAR_CYCLES;
      Code x[LANES];
      Chunk row[ROW_CHUNKS];
#pragma HLS ARRAY_PARTITION variable = x complete
#pragma HLS ARRAY_PARTITION variable = row complete
      unpack(read_vector(ins, pads, vectors, ci), x);
      read_row(ring, blob + 1 + n / (LINEAR_CYCLES / 2), row);
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
    write_vector(ins, pads, vectors, group, pack(codes));
    blob += 1 + 2 * ci_groups;
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

inline void run_layer_norm(const Instruction& ins, Word pads[PADS][BANKS][PAD_ROWS], Word vectors[VECTOR_ROWS],
                           const Chunk ring[WEIGHT_ROWS][ROW_CHUNKS], TableWord tables[TABLE_COPIES][TABLE_WORDS]) {
#pragma HLS INLINE off
  Chunk head[ROW_CHUNKS];
#pragma HLS ARRAY_PARTITION variable = head complete
  read_row(ring, ins.w_row, head);
  const int count = row_word(head, 0);
  const Code x_zero = row_word(head, 1);
  const Shift shift = row_word(head, 2);
  const Code y_zero = row_word(head, 3);
  const ap_uint<64> epsilon = head[2];
  const bool table = has(ins, FLAG_TABLE);
  const int groups = (count + LANES - 1) / LANES;
  HWGEN_CHECK(count >= 1 && count <= MLP_CHANNELS, "LAYER_NORM has a vector longer than the engine's");
  if (table) {
    load_table(ring, tables, ins.t_row, false);
  }

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
      unpack(read_vector(ins, pads, vectors, n / LANES), x);
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
  Chunk row[ROW_CHUNKS];
#pragma HLS ARRAY_PARTITION variable = codes complete
#pragma HLS ARRAY_PARTITION variable = row complete
norm_lanes:
  for (int n = 0; n < groups * LANES; ++n) {  // one lane a cycle: its products are wide
#pragma HLS LOOP_TRIPCOUNT min = 16 max = 4096
#pragma HLS PIPELINE II = 1
// The planner proves that no instruction reads a word that it writes (hwgen/plan).
#pragma HLS DEPENDENCE variable = pads type = inter dependent = false
#pragma HLS DEPENDENCE variable = vectors type = inter dependent = false
    const int g = n / LANES;
    const int c = n % LANES;
    if (c == 0) {
      unpack(read_vector(ins, pads, vectors, g), x);
      read_row(ring, ins.w_row.to_int() + 1 + g, row);
    }
    const ap_int<18> gamma = row[c].range(17, 0);
    const ap_int<46> beta = row[c].range(63, 18);
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
      write_vector(ins, pads, vectors, g, pack(codes));
    }
  }
}

}  // namespace hwgen

#endif
