// SPDX-License-Identifier: Apache-2.0
// Linear attention, one head after another: KV = K^T V, then Q KV, the normalizer Q (K^T 1) and the division.
//
//   commands --> attention_issue --> requests of 16 pixels, of ring rows
//                    |    ^ channel groups of Q, K and V in a head (they are in the blob's first row)
//                    +--> attention_compute --> writes
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
constexpr int ATTENTION_TABLE_ROWS = 8;  // of the quantized mode

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

inline AttentionScalars read_scalars(const Row& words) {
#pragma HLS INLINE
  AttentionScalars s;
  s.groups = row_word(words, 0);
  s.q_offset = row_word(words, 1);
  s.k_offset = row_word(words, 2);
  s.v_offset = row_word(words, 3);
  s.zero = row_word(words, 4);
  s.divide_multiplier = row_word(words, 5);
  s.divide_shift = row_word(words, 6);
  s.divide_zero = row_word(words, 7);
  s.epsilon = words.chunks[4];
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

inline void load_attention_tables(hls::stream<Row, ANSWERS>& rows, AttentionTables& tables) {
  Row row;
#pragma HLS ARRAY_PARTITION variable = row.chunks complete
load_attention_words:
  for (int i = 0; i < 4 * SHORT_TABLE_WORDS; ++i) {
#pragma HLS PIPELINE II = 1
    if (i % 32 == 0) {
      row = rows.read();
    }
    const TableWord word = row_word(row, i % 32);
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

// Where Q, K and V lie in a head, in channel groups; `groups` = head_dim / 16.
struct HeadLayout {
  ap_uint<16> groups;
  ap_uint<16> q;
  ap_uint<16> k;
  ap_uint<16> v;
};

constexpr int LAYOUTS = 1;  // one an instruction

// Sixteen consecutive pixels of a channel group, all rows of the tensor one after another; 0 beyond the last.
inline Window pixels_window(const Instruction& ins, int slot, int group, int block, int pixels) {
#pragma HLS INLINE
  const int base = ins.x_base.to_int() + index_product(group, ins.x_plane);
  return window_at(slot, ins.x_pad, base, block * BANKS, 0, minimum(BANKS, pixels - block * BANKS), 0);
}

// The blocks of pixels in the order in which attention_compute takes them: those of K and V in turn, then those of Q.
inline void attention_issue(hls::stream<Word, COMMANDS>& commands, hls::stream<Word, COMMANDS>& to_compute,
                            hls::stream<HeadLayout, LAYOUTS>& layouts, hls::stream<Window, REQUESTS>& windows,
                            hls::stream<RowRequest, ROW_REQUESTS>& rows) {
  const Instruction ins = pass_command(commands, to_compute);
  HWGEN_CHECK(ins.opcode == OP_ATTENTION, "the Program holds an unknown opcode");
  rows.write(RowRequest{ins.w_row, ap_uint<16>(has(ins, FLAG_QUANTIZED) ? 1 + ATTENTION_TABLE_ROWS : 1)});
  const HeadLayout layout = layouts.read();
  const int slot = slot_of(ins);
  const int groups = layout.groups;
  const int pixels = size_product(ins.y_cols, ins.y_rows);
  const int blocks = (pixels + BANKS - 1) / BANKS;
  const int x_groups = ins.x_groups;
attention_issue_heads:
  for (int x_group = 0; x_group < x_groups; x_group += 3 * groups) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 32
  attention_issue_k:
    for (int dk = 0; dk < groups; ++dk) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 2
    attention_issue_v:
      for (int dv = 0; dv < groups; ++dv) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 2
      attention_issue_kv:
        for (int n = 0; n < 2 * blocks; ++n) {
#pragma HLS LOOP_TRIPCOUNT min = 2 max = 98
#pragma HLS PIPELINE II = 1
          const int group = x_group + (n % 2 == 0 ? layout.k.to_int() + dk : layout.v.to_int() + dv);
          windows.write(pixels_window(ins, slot, group, n / 2, pixels));
        }
      }
    }
  attention_issue_y:
    for (int dv = 0; dv < groups; ++dv) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 2
    attention_issue_q:
      for (int g = 0, block = 0; block < blocks;) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 98
#pragma HLS PIPELINE II = 1
        windows.write(pixels_window(ins, slot, x_group + layout.q.to_int() + g, block, pixels));
        ++g;
        if (g == groups) {
          g = 0;
          ++block;
        }
      }
    }
  }
}

// KV of channel group dk of K and dv of V; with dv = 0 also the extra column. The sums rotate past the multipliers:
// after a pixel's cycles each is back in its place.
inline void accumulate_kv(hls::stream<Words<BANKS>, ANSWERS>& windows, const AttentionScalars& s,
                          const AttentionTables& tables, bool quantized, int pixels, int dk, int dv,
                          ap_int<32> kv[HEAD_DIM][KV_COLUMNS]) {
  ap_int<32> tile[LANES][LANES];
  ap_int<32> extra[LANES];
  Words<BANKS> k_next;
  Words<BANKS> v_next;
#pragma HLS ARRAY_PARTITION variable = tile complete dim = 0
#pragma HLS ARRAY_PARTITION variable = extra complete
  for (int c = 0; c < LANES; ++c) {
#pragma HLS UNROLL
    extra[c] = 0;
    for (int e = 0; e < LANES; ++e) {
#pragma HLS UNROLL
      tile[c][e] = 0;
    }
  }
  const int blocks = (pixels + BANKS - 1) / BANKS;
  Words<BANKS> k_words = windows.read();
  Words<BANKS> v_words = windows.read();
#pragma HLS ARRAY_PARTITION variable = k_words.words complete
#pragma HLS ARRAY_PARTITION variable = v_words.words complete
#pragma HLS ARRAY_PARTITION variable = k_next.words complete
#pragma HLS ARRAY_PARTITION variable = v_next.words complete
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
    // The next 16 pixels of K and of V come a block ahead.
    if (phase == 0 && part < 2 && block + 1 < blocks) {
      const Words<BANKS> fetched = windows.read();
      if (part == 0) {
        k_next = fetched;
      } else {
        v_next = fetched;
      }
    }
    unpack(k_words.words[phase], k_codes);
    unpack(v_words.words[phase], v_codes);
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
      k_words = k_next;
      v_words = v_next;
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
  const int steps = size_product(dim, parts);
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
inline void multiply_q(const Instruction& ins, int slot, hls::stream<Words<BANKS>, ANSWERS>& windows,
                       const AttentionScalars& s, const AttentionTables& tables, bool quantized, int y_group,
                       bool last_group, int pixels, int dv, const Digit planes[HEAD_DIM][KV_COLUMNS][PLANES],
                       const Numerator start[KV_COLUMNS], hls::stream<Write<1>, WRITES>& writes) {
  const int blocks = (pixels + BANKS - 1) / BANKS;
  Words<BANKS> q_words[HEAD_GROUPS_MAX];
  Words<BANKS> q_next[HEAD_GROUPS_MAX];
#pragma HLS ARRAY_PARTITION variable = q_words complete
#pragma HLS ARRAY_PARTITION variable = q_next complete
#pragma HLS ARRAY_PARTITION variable = q_words.words complete
#pragma HLS ARRAY_PARTITION variable = q_next.words complete
  for (int g = 0; g < HEAD_GROUPS_MAX; ++g) {
    if (g < s.groups) {
      q_words[g] = windows.read();
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
  const int cycles = s.groups == 2 ? 2 * PLANES * (pixels + 1) : PLANES * (pixels + 1);
  const int y_base = ins.y_base.to_int() + index_product(y_group, ins.y_plane);
q_digits:
  for (int n = 0; n < cycles; ++n) {
#pragma HLS LOOP_TRIPCOUNT min = 8 max = 8200
#pragma HLS PIPELINE II = 1
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
      Write<1> write;
      write.window = window_at(slot, ins.y_pad, y_base, pixel - 1, 0, 1, 0);
      write.last = last_group && pixel == pixels;
      write.data.words[0] = pack(codes);
      writes.write(write);
    }
    Code x[LANES];
#pragma HLS ARRAY_PARTITION variable = x complete
    if (first && phase < s.groups && block + 1 < blocks) {
      const Words<BANKS> fetched = windows.read();
      for (int g = 0; g < HEAD_GROUPS_MAX; ++g) {
#pragma HLS UNROLL
        if (phase == g) {
          q_next[g] = fetched;
        }
      }
    }
    Word q_word = q_words[0].words[phase];
    for (int g = 1; g < HEAD_GROUPS_MAX; ++g) {
#pragma HLS UNROLL
      if (dk == g) {
        q_word = q_words[g].words[phase];
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
          q_words[g] = q_next[g];
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

inline void attention_compute(hls::stream<Word, COMMANDS>& commands, hls::stream<HeadLayout, LAYOUTS>& layouts,
                              hls::stream<Words<BANKS>, ANSWERS>& windows, hls::stream<Row, ANSWERS>& rows,
                              hls::stream<Write<1>, WRITES>& writes) {
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
  const Instruction ins = take_command(commands);
  const bool quantized = has(ins, FLAG_QUANTIZED);
  const AttentionScalars s = read_scalars(rows.read());
  HWGEN_CHECK(s.groups >= 1 && s.groups <= HEAD_GROUPS_MAX, "ATTENTION has heads larger than the engine's");
  HeadLayout layout;
  layout.groups = s.groups;
  layout.q = s.q_offset;
  layout.k = s.k_offset;
  layout.v = s.v_offset;
  layouts.write(layout);
  if (quantized) {
    load_attention_tables(rows, tables);
  }
  const int slot = slot_of(ins);
  const int pixels = size_product(ins.y_cols, ins.y_rows);
  const int x_groups = ins.x_groups;
  int y_group = ins.y_group0;
attention_heads:
  for (int x_group = 0; x_group < x_groups; x_group += 3 * s.groups) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 32
    const bool last_head = x_group + 3 * s.groups >= x_groups;
  attention_k:
    for (int dk = 0; dk < s.groups; ++dk) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 2
    attention_v:
      for (int dv = 0; dv < s.groups; ++dv) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 2
        accumulate_kv(windows, s, tables, quantized, pixels, dk, dv, kv);
      }
    }
    prepare_planes(s, quantized, kv, planes, start);
  attention_y:
    for (int dv = 0; dv < s.groups; ++dv) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 2
      multiply_q(ins, slot, windows, s, tables, quantized, y_group + dv, last_head && dv == s.groups - 1, pixels, dv,
                 planes, start, writes);
    }
    y_group += s.groups;
  }
}

}  // namespace hwgen

#endif
