// SPDX-License-Identifier: Apache-2.0
// Linear attention, one head after another: KV = K^T V, then Q KV, the normalizer Q (K^T 1) and the division.
//
//   1. 64 MAC a cycle: a pixel's 16 K channels x 16 V channels in four cycles; the sums of K in an extra column
//   2. KV (28 bit) split into four digits of 7 bits, the top one signed; the column sums start the accumulators
//   3. one digit of 16 channels of a pixel a cycle: a dot product of int8 codes with digits per column, recombined by shifts; four
//      dividers finish the 16 quotients of a pixel while the digits of the next one pass
//
// Where every edge is quantized, KV, the numerator and the normalizer are codes; the digits then hold KV - zero point.
#ifndef HWGEN_ATTENTION_HPP
#define HWGEN_ATTENTION_HPP

#include "epilogue.hpp"

namespace hwgen {

constexpr int PLANES = 4;
constexpr int DIGIT_BITS = 7;
constexpr int KV_BITS = PLANES * DIGIT_BITS;
constexpr int HEAD_GROUPS_MAX = HEAD_DIM / LANES;
constexpr int EXTRA = HEAD_DIM;           // the column of ones
constexpr int KV_COLUMNS = HEAD_DIM + 4;  // columns are prepared four at a time
constexpr int PREPARED = 4;
constexpr int KV_PARTS = 4;  // cycles that a pixel takes
constexpr int KV_LANES = LANES / KV_PARTS;
constexpr int DIVIDERS = LANES / PLANES;

typedef ap_int<KV_BITS> Product;
typedef ap_int<DIGIT_BITS + 1> Digit;
typedef ap_int<41> Numerator;  // 32 channels x 255 x 2^27 < 2^40

// Scalars of the blob's first row.
struct AttentionScalars {
  int groups;  // channel groups of a head
  int q_offset;
  int k_offset;
  int v_offset;
  Code zero;
  ap_uint<31> divide_multiplier;
  Shift divide_shift;
  Code divide_zero;
  ap_uint<63> epsilon;
  Code ones;
  Code q_zero;
  Code k_zero;
  Code v_zero;
  Multiplier kv_multiplier;
  Shift kv_shift;
  Code kv_zero;
  Multiplier n_multiplier;
  Shift n_shift;
  Code n_zero;
  Code d_zero;
};

// The four tables of the quantized mode; two lanes share a copy.
struct AttentionTables {
  TableWord q[LANES / 2][SHORT_TABLE_WORDS];
  TableWord k[LANES / 2][SHORT_TABLE_WORDS];
  TableWord v[LANES / 2][SHORT_TABLE_WORDS];
  TableWord d[SHORT_TABLE_WORDS];
};

inline AttentionScalars read_scalars(const Chunk ring[WEIGHT_ROWS][ROW_CHUNKS], int row) {
#pragma HLS INLINE
  Chunk words[ROW_CHUNKS];
#pragma HLS ARRAY_PARTITION variable = words complete
  read_row(ring, row, words);
  AttentionScalars s;
  s.groups = row_word(words, 0);
  s.q_offset = row_word(words, 1);
  s.k_offset = row_word(words, 2);
  s.v_offset = row_word(words, 3);
  s.zero = row_word(words, 4);
  s.divide_multiplier = row_word(words, 5);
  s.divide_shift = row_word(words, 6);
  s.divide_zero = row_word(words, 7);
  s.epsilon = words[4];
  s.ones = row_word(words, 10);
  s.q_zero = row_word(words, 11);
  s.k_zero = row_word(words, 12);
  s.v_zero = row_word(words, 13);
  s.kv_multiplier = row_word(words, 14);
  s.kv_shift = row_word(words, 15);
  s.kv_zero = row_word(words, 16);
  s.n_multiplier = row_word(words, 17);
  s.n_shift = row_word(words, 18);
  s.n_zero = row_word(words, 19);
  s.d_zero = row_word(words, 20);
  return s;
}

inline void load_attention_tables(const Chunk ring[WEIGHT_ROWS][ROW_CHUNKS], int row, AttentionTables& tables) {
load_attention_words:
  for (int i = 0; i < 4 * SHORT_TABLE_WORDS; ++i) {
#pragma HLS PIPELINE II = 1
    Chunk chunks[ROW_CHUNKS];
#pragma HLS ARRAY_PARTITION variable = chunks complete
    read_row(ring, row + (i >> 5), chunks);
    const TableWord word = row_word(chunks, i & 31);
    const int table = i / SHORT_TABLE_WORDS;
    const int entry = i % SHORT_TABLE_WORDS;
    for (int copy = 0; copy < LANES / 2; ++copy) {
#pragma HLS UNROLL
      if (table == 0) {
        tables.q[copy][entry] = word;
      } else if (table == 1) {
        tables.k[copy][entry] = word;
      } else if (table == 2) {
        tables.v[copy][entry] = word;
      }
    }
    if (table == 3) {
      tables.d[entry] = word;
    }
  }
}

inline Code short_look_up(const TableWord table[SHORT_TABLE_WORDS], Code code) {
#pragma HLS INLINE
  const ap_uint<8> index = ap_int<9>(code + 128);
  const TableWord word = table[index >> 2];
  const ap_uint<2> byte = index;
  const Code entry = ap_uint<8>(word >> (8 * byte.to_int()));
  return entry;
}

// Sixteen consecutive pixels of a channel group, all rows of the tensor one after another; 0 beyond the last.
inline void read_pixels(const Instruction& ins, const Word pads[PADS][BANKS][PAD_ROWS], int group, int block,
                        int pixels, Word words[BANKS]) {
#pragma HLS INLINE
  const int row = ins.x_base.to_int() + index_product(group, ins.x_plane) + block;
  read_block(pads, ins.x_pad, row, minimum(BANKS, pixels - block * BANKS), words);
}

// KV of channel group dk of K and dv of V; with dv = 0 also the extra column. The sums rotate past the multipliers:
// after a pixel's cycles each is back in its place.
inline void accumulate_kv(const Instruction& ins, const Word pads[PADS][BANKS][PAD_ROWS], const AttentionScalars& s,
                          const AttentionTables& tables, bool quantized, int k_group, int v_group, int pixels, int dk,
                          int dv, ap_int<32> kv[HEAD_DIM][KV_COLUMNS]) {
  ap_int<32> tile[LANES][LANES];
  ap_int<32> extra[LANES];
  Word k_words[BANKS];
  Word v_words[BANKS];
  Word k_next[BANKS];
  Word v_next[BANKS];
  Word fetched[BANKS];
#pragma HLS ARRAY_PARTITION variable = fetched complete
#pragma HLS ARRAY_PARTITION variable = tile complete dim = 0
#pragma HLS ARRAY_PARTITION variable = extra complete
#pragma HLS ARRAY_PARTITION variable = k_words complete
#pragma HLS ARRAY_PARTITION variable = v_words complete
#pragma HLS ARRAY_PARTITION variable = k_next complete
#pragma HLS ARRAY_PARTITION variable = v_next complete
  for (int c = 0; c < LANES; ++c) {
#pragma HLS UNROLL
    extra[c] = 0;
    for (int e = 0; e < LANES; ++e) {
#pragma HLS UNROLL
      tile[c][e] = 0;
    }
  }
  read_pixels(ins, pads, k_group, 0, pixels, k_words);
  read_pixels(ins, pads, v_group, 0, pixels, v_words);
kv_pixels:
  for (int n = 0; n < pixels * KV_PARTS; ++n) {
#pragma HLS LOOP_TRIPCOUNT min = 4 max = 4096
#pragma HLS PIPELINE II = 1
    const int pixel = n / KV_PARTS;
    const int part = n % KV_PARTS;
    const int block = pixel / BANKS;
    const int phase = pixel % BANKS;
    Code k_codes[LANES];
    Code v_codes[LANES];
    ap_int<9> k[LANES];
    ap_int<9> v[LANES];
#pragma HLS ARRAY_PARTITION variable = k_codes complete
#pragma HLS ARRAY_PARTITION variable = v_codes complete
#pragma HLS ARRAY_PARTITION variable = k complete
#pragma HLS ARRAY_PARTITION variable = v complete
    // K and V of a pixel lie in one bank: 16 pixels of each are fetched in two cycles, a block ahead.
    if (phase == 0 && part < 2) {
      read_pixels(ins, pads, part == 0 ? k_group : v_group, block + 1, pixels, fetched);
    }
    for (int i = 0; i < BANKS; ++i) {
#pragma HLS UNROLL
      if (phase == 0 && part == 0) {
        k_next[i] = fetched[i];
      } else if (phase == 0 && part == 1) {
        v_next[i] = fetched[i];
      }
    }
    unpack(k_words[phase], k_codes);
    unpack(v_words[phase], v_codes);
    for (int c = 0; c < LANES; ++c) {
#pragma HLS UNROLL
      if (quantized) {
        k[c] = short_look_up(tables.k[c / 2], k_codes[c]) - s.k_zero;
        v[c] = short_look_up(tables.v[c / 2], v_codes[c]) - s.v_zero;
      } else {
        k[c] = k_codes[c] > s.zero ? ap_int<9>(k_codes[c] - s.zero) : ap_int<9>(0);
        v[c] = v_codes[c] - s.zero;
      }
    }
    for (int c = 0; c < LANES; ++c) {
#pragma HLS UNROLL
      if (part == 0) {
        extra[c] += k[c];
      }
      ap_int<32> sums[KV_LANES];
#pragma HLS ARRAY_PARTITION variable = sums complete
      for (int j = 0; j < KV_LANES; ++j) {
#pragma HLS UNROLL
        const ap_int<18> product = k[c] * v[part * KV_LANES + j];
#pragma HLS BIND_OP variable = product op = mul impl = fabric
        sums[j] = tile[c][j] + product;
      }
      for (int e = 0; e < LANES; ++e) {
#pragma HLS UNROLL
        tile[c][e] = e < LANES - KV_LANES ? tile[c][(e + KV_LANES) % LANES] : sums[e % KV_LANES];
      }
    }
    if (phase == BANKS - 1 && part == KV_PARTS - 1) {
      for (int i = 0; i < BANKS; ++i) {
#pragma HLS UNROLL
        k_words[i] = k_next[i];
        v_words[i] = v_next[i];
      }
    }
  }
  for (int c = 0; c < LANES; ++c) {
#pragma HLS UNROLL
    if (dv == 0) {
      kv[dk * LANES + c][EXTRA] = extra[c];
    }
    for (int e = 0; e < LANES; ++e) {
#pragma HLS UNROLL
      kv[dk * LANES + c][dv * LANES + e] = tile[c][e];
    }
  }
}

// Digits of KV, and the accumulators' start -zero * sum over c of KV[c].
inline void prepare_planes(const AttentionScalars& s, bool quantized, const ap_int<32> kv[HEAD_DIM][KV_COLUMNS],
                           Digit planes[HEAD_DIM][KV_COLUMNS][PLANES], Numerator start[KV_COLUMNS]) {
  const int dim = s.groups * LANES;
  const int parts = dim / PREPARED + 1;
  const Code zero = quantized ? s.q_zero : s.zero;
  for (int e = 0; e < KV_COLUMNS; ++e) {
#pragma HLS UNROLL
    start[e] = 0;
  }
  const ap_int<9> one = quantized ? ap_int<9>(s.ones - s.v_zero) : ap_int<9>(1);
  const int steps = index_product(dim, parts);
  int channel = 0;
  int part = 0;
prepare_parts:
  for (int n = 0; n < steps; ++n) {
#pragma HLS LOOP_TRIPCOUNT min = 80 max = 288
#pragma HLS PIPELINE II = 1
    ap_int<32> row[KV_COLUMNS];  // one multiplexer of channels for each column, then one of columns
#pragma HLS ARRAY_PARTITION variable = row complete
    for (int e = 0; e < KV_COLUMNS; ++e) {
#pragma HLS UNROLL
      row[e] = kv[channel][e];
    }
    const int column = part == parts - 1 ? EXTRA : part * PREPARED;
    const int used = part == parts - 1 ? 1 : PREPARED;
    for (int j = 0; j < PREPARED; ++j) {
#pragma HLS UNROLL
      if (j < used) {
        ap_int<32> sum = row[column + j];
        if (j == 0 && part == parts - 1) {
          const ap_int<32> weighted = sum * one;
#pragma HLS BIND_OP variable = weighted op = mul impl = fabric
          sum = weighted;
        }
        Product value = sum;
        if (quantized) {
          const ap_int<18> factor = s.kv_multiplier;
          const ap_int<50> scaled_sum = sum * factor;
#pragma HLS BIND_OP variable = scaled_sum op = mul impl = dsp
          const ap_int<64> rounded = shift_round<64>(scaled_sum, s.kv_shift) + s.kv_zero;
          value = saturate<8, 64>(rounded) - s.kv_zero;
        } else {
          HWGEN_CHECK(ap_int<32>(value) == sum, "ATTENTION: K^T V needs more than 28 bits");
        }
        for (int t = 0; t < PLANES - 1; ++t) {
#pragma HLS UNROLL
          const ap_uint<DIGIT_BITS> digit = value.range(DIGIT_BITS * t + DIGIT_BITS - 1, DIGIT_BITS * t);
          planes[channel][column + j][t] = digit;
        }
        const ap_int<DIGIT_BITS> top = value.range(KV_BITS - 1, KV_BITS - DIGIT_BITS);
        planes[channel][column + j][PLANES - 1] = top;
        const ap_int<36> offset = zero * value;
#pragma HLS BIND_OP variable = offset op = mul impl = fabric
        start[column + j] -= offset;
      }
    }
    ++part;
    if (part == parts) {
      part = 0;
      ++channel;
    }
  }
}

// Part of a column for one pixel: the sum over the channels c of group `dk` of x[c] * digit `plane` of KV[c]. The column is
// lane `e` of group dv, so that a multiplier chooses from few digits.
inline ap_int<20> dot_plane(const Code x[LANES], const Digit planes[HEAD_DIM][KV_COLUMNS][PLANES], int e, int dk,
                            int dv, int plane) {
#pragma HLS INLINE
  ap_int<20> dot = 0;
  for (int c = 0; c < LANES; ++c) {
#pragma HLS UNROLL
    Digit digit = 0;
    for (int k = 0; k < HEAD_GROUPS_MAX; ++k) {
#pragma HLS UNROLL
      for (int g = 0; g < HEAD_GROUPS_MAX; ++g) {
#pragma HLS UNROLL
        if (dk == k && dv == g) {
          digit = planes[k * LANES + c][e < LANES ? g * LANES + e : EXTRA][plane];
        }
      }
    }
    const ap_int<16> product = x[c] * digit;
#pragma HLS BIND_OP variable = product op = mul impl = fabric
    dot += product;
  }
  return dot;
}

// What the division of a pixel needs: the same for its channels.
struct Denominator {
  ap_uint<63> value;
  bool negative;  // its sign: the value is a magnitude
};

inline Denominator make_denominator(const AttentionScalars& s, const AttentionTables& tables, bool quantized,
                                    Numerator normalizer, Code normalizer_code) {
#pragma HLS INLINE
  Numerator below_line = normalizer;
  if (quantized) {
    below_line = short_look_up(tables.d, normalizer_code) - s.d_zero;
  }
  Denominator d;
  d.negative = below_line < 0;
  const Numerator magnitude = d.negative ? Numerator(-below_line) : below_line;
  const ap_int<32> factor = s.divide_multiplier;
  const ap_int<72> scaled_down = magnitude * factor;
#pragma HLS BIND_OP variable = scaled_down op = mul impl = dsp
  d.value = scaled_down + ap_int<72>(quantized ? ap_uint<63>(0) : s.epsilon);
  return d;
}

// One quotient. Exact sums: a denominator of 0 gives the zero point. Quantized: n is a code less its zero point, and n / 0
// is 127 for n > 0, else -128.
inline Code divide(const AttentionScalars& s, bool quantized, Numerator n, const Denominator& d) {
#pragma HLS INLINE
  const Numerator above = d.negative ? Numerator(-n) : n;
  const ap_int<64> numerator = ap_int<64>(above) << s.divide_shift.to_int();
  const ap_int<12> quotient = divide_round(numerator, d.value) + s.divide_zero;
  Code code = saturate<8, 12>(quotient);
  if (d.value == 0) {
    const Code limit = n > 0 ? 127 : -128;
    code = quantized ? limit : s.divide_zero;
  }
  return code;
}

inline Code requantize_numerator(const AttentionScalars& s, Numerator n) {
#pragma HLS INLINE
  return requantize(Accumulator(n), s.n_multiplier, s.n_shift, s.n_zero);
}

// Output group dv of one head, all pixels.
inline void multiply_q(const Instruction& ins, Word pads[PADS][BANKS][PAD_ROWS], const AttentionScalars& s,
                       const AttentionTables& tables, bool quantized, int q_group, int y_group, int pixels, int dv,
                       const Digit planes[HEAD_DIM][KV_COLUMNS][PLANES], const Numerator start[KV_COLUMNS]) {
  Word q_words[HEAD_GROUPS_MAX][BANKS];
  Word q_next[HEAD_GROUPS_MAX][BANKS];
  Word fetched[BANKS];
#pragma HLS ARRAY_PARTITION variable = fetched complete
#pragma HLS ARRAY_PARTITION variable = q_words complete dim = 0
#pragma HLS ARRAY_PARTITION variable = q_next complete dim = 0
  for (int g = 0; g < HEAD_GROUPS_MAX; ++g) {
    if (g < s.groups) {
      read_pixels(ins, pads, q_group + g, 0, pixels, q_words[g]);
    }
  }
  Numerator totals[LANES];
  Numerator done[LANES];  // of the pixel before, whose quotients are made now
  Numerator normalizer = 0;
  Numerator done_normalizer = 0;
  Denominator below;
  Code codes[LANES];
#pragma HLS ARRAY_PARTITION variable = totals complete
#pragma HLS ARRAY_PARTITION variable = done complete
#pragma HLS ARRAY_PARTITION variable = codes complete
  below.value = 0;
  below.negative = false;
  int pixel = 0;
  int dk = 0;
  int plane = 0;
  const int cycles = index_product(pixels + 1, s.groups == 2 ? 2 * PLANES : PLANES);
  const int y_base = ins.y_base.to_int() + index_product(y_group, ins.y_plane);
q_digits:
  for (int n = 0; n < cycles; ++n) {
#pragma HLS LOOP_TRIPCOUNT min = 8 max = 8200
#pragma HLS PIPELINE II = 1
// The planner proves that no instruction reads a word that it writes (hwgen/plan).
#pragma HLS DEPENDENCE variable = pads type = inter dependent = false
    const int block = pixel / BANKS;
    const int phase = pixel % BANKS;
    const bool first = plane == 0 && dk == 0;
    const bool last = plane == PLANES - 1 && dk == s.groups - 1;
    // The quotients of the pixel before: lanes 4 * plane .. 4 * plane + 3.
    if (first) {
      below = make_denominator(s, tables, quantized, done_normalizer, requantize_numerator(s, done_normalizer));
    }
    for (int j = 0; j < DIVIDERS; ++j) {
#pragma HLS UNROLL
      Numerator above = done[j];
      for (int t = 1; t < PLANES; ++t) {
#pragma HLS UNROLL
        if (plane == t) {
          above = done[t * DIVIDERS + j];
        }
      }
      if (quantized) {
        above = requantize_numerator(s, above) - s.n_zero;
      }
      const Code quotient = divide(s, quantized, above, below);
      for (int t = 0; t < PLANES; ++t) {
#pragma HLS UNROLL
        if (plane == t && dk == 0) {
          codes[t * DIVIDERS + j] = quotient;
        }
      }
    }
    if (plane == PLANES - 1 && dk == 0 && pixel > 0) {
      write_pixel(pads, ins.y_pad, y_base, pixel - 1, pack(codes));
    }
    Code x[LANES];
#pragma HLS ARRAY_PARTITION variable = x complete
    const bool fetches = first && phase < s.groups;
    if (fetches) {
      read_pixels(ins, pads, q_group + phase, block + 1, pixels, fetched);
    }
    for (int g = 0; g < HEAD_GROUPS_MAX; ++g) {
#pragma HLS UNROLL
      for (int i = 0; i < BANKS; ++i) {
#pragma HLS UNROLL
        if (fetches && phase == g) {
          q_next[g][i] = fetched[i];
        }
      }
    }
    Word q_word = q_words[0][phase];
    for (int g = 1; g < HEAD_GROUPS_MAX; ++g) {
#pragma HLS UNROLL
      if (dk == g) {
        q_word = q_words[g][phase];
      }
    }
    Code q_codes[LANES];
#pragma HLS ARRAY_PARTITION variable = q_codes complete
    unpack(q_word, q_codes);
    for (int c = 0; c < LANES; ++c) {
#pragma HLS UNROLL
      x[c] = q_codes[c] > s.zero ? q_codes[c] : s.zero;
      if (quantized) {
        x[c] = short_look_up(tables.q[c / 2], q_codes[c]);
      }
    }
    const Numerator below_line = first ? start[EXTRA] : normalizer;
    normalizer = below_line + (Numerator(dot_plane(x, planes, LANES, dk, dv, plane)) << (DIGIT_BITS * plane));
    for (int e = 0; e < LANES; ++e) {
#pragma HLS UNROLL
      Numerator initial = start[e];
      for (int g = 1; g < HEAD_GROUPS_MAX; ++g) {
#pragma HLS UNROLL
        if (dv == g) {
          initial = start[g * LANES + e];
        }
      }
      const Numerator old = first ? initial : totals[e];
      totals[e] = old + (Numerator(dot_plane(x, planes, e, dk, dv, plane)) << (DIGIT_BITS * plane));
    }
    if (last) {
      done_normalizer = normalizer;
      for (int e = 0; e < LANES; ++e) {
#pragma HLS UNROLL
        done[e] = totals[e];
      }
      if (phase == BANKS - 1) {
        for (int g = 0; g < HEAD_GROUPS_MAX; ++g) {
#pragma HLS UNROLL
          for (int i = 0; i < BANKS; ++i) {
#pragma HLS UNROLL
            q_words[g][i] = q_next[g][i];
          }
        }
      }
    }
    ++plane;
    if (plane == PLANES) {
      plane = 0;
      ++dk;
      if (dk == s.groups) {
        dk = 0;
        ++pixel;
      }
    }
  }
}

inline void run_attention(const Instruction& ins, Word pads[PADS][BANKS][PAD_ROWS],
                          const Chunk ring[WEIGHT_ROWS][ROW_CHUNKS]) {
#pragma HLS INLINE off
  AttentionTables tables;
#pragma HLS ARRAY_PARTITION variable = tables.q complete dim = 1
#pragma HLS ARRAY_PARTITION variable = tables.k complete dim = 1
#pragma HLS ARRAY_PARTITION variable = tables.v complete dim = 1
#pragma HLS BIND_STORAGE variable = tables.q type = ram_1wnr impl = lutram
#pragma HLS BIND_STORAGE variable = tables.k type = ram_1wnr impl = lutram
#pragma HLS BIND_STORAGE variable = tables.v type = ram_1wnr impl = lutram
#pragma HLS BIND_STORAGE variable = tables.d type = ram_1wnr impl = lutram
  ap_int<32> kv[HEAD_DIM][KV_COLUMNS];
  Digit planes[HEAD_DIM][KV_COLUMNS][PLANES];
  Numerator start[KV_COLUMNS];
#pragma HLS ARRAY_PARTITION variable = kv complete dim = 0
#pragma HLS ARRAY_PARTITION variable = planes complete dim = 0
#pragma HLS ARRAY_PARTITION variable = start complete
  const bool quantized = has(ins, FLAG_QUANTIZED);
  const AttentionScalars s = read_scalars(ring, ins.w_row);
  HWGEN_CHECK(s.groups >= 1 && s.groups <= HEAD_GROUPS_MAX, "ATTENTION has heads larger than the engine's");
  if (quantized) {
    load_attention_tables(ring, ins.w_row.to_int() + 1, tables);
  }
  const int pixels = index_product(ins.y_rows, ins.y_cols);
  const int x_groups = ins.x_groups;
  int y_group = ins.y_group0;
attention_heads:
  for (int x_group = 0; x_group < x_groups; x_group += 3 * s.groups) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 32
  attention_k:
    for (int dk = 0; dk < s.groups; ++dk) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 2
    attention_v:
      for (int dv = 0; dv < s.groups; ++dv) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 2
        accumulate_kv(ins, pads, s, tables, quantized, x_group + s.k_offset + dk, x_group + s.v_offset + dv, pixels, dk,
                      dv, kv);
      }
    }
    prepare_planes(s, quantized, kv, planes, start);
  attention_y:
    for (int dv = 0; dv < s.groups; ++dv) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 2
      multiply_q(ins, pads, s, tables, quantized, x_group + s.q_offset, y_group + dv, pixels, dv, planes, start);
    }
    y_group += s.groups;
  }
}

}  // namespace hwgen

#endif
