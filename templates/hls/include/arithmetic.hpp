// SPDX-License-Identifier: Apache-2.0
// The integer arithmetic of hwgen/numerics.py: rounding is to nearest, ties to even, always.
#ifndef HWGEN_ARITHMETIC_HPP
#define HWGEN_ARITHMETIC_HPP

#include "types.hpp"

namespace hwgen {

typedef ap_uint<17> Multiplier;
typedef ap_uint<6> Shift;

constexpr int QUOTIENT_BITS = 9;
constexpr int QUOTIENT_LIMIT = (1 << QUOTIENT_BITS) - 1;

// value / 2^shift. Adding half a unit less one, plus the floor's last bit, carries exactly where rounding is upwards.
// Needs |value| + 2^(shift - 1) < 2^(BITS - 1).
template <int BITS>
ap_int<BITS> shift_round(ap_int<BITS> value, Shift shift) {
#pragma HLS INLINE
  const int by = shift.to_int();
  const ap_int<BITS> floor = value >> by;
  ap_int<BITS> half = 0;
  if (by > 0) {
    const ap_int<BITS> one = 1;
    half = (one << (by - 1)) - 1 + (floor & 1);
  }
  const ap_int<BITS> sum = value + half;
  return sum >> by;
}

template <int OUT, int IN>
ap_int<OUT> saturate(ap_int<IN> value) {
#pragma HLS INLINE
  const int limit = 1 << (OUT - 1);
  ap_int<OUT> code = value;
  if (value > limit - 1) {
    code = limit - 1;
  } else if (value < -limit) {
    code = -limit;
  }
  return code;
}

// The accumulator in output steps, before saturation: one 27 x 18 multiplier of a DSP48E2.
inline ap_int<48> scale(Accumulator acc, Multiplier multiplier, Shift shift, ap_int<16> zero) {
#pragma HLS INLINE
  const ap_int<27> operand = acc;
  const ap_int<18> factor = multiplier;
  const ap_int<48> product = operand * factor;
#pragma HLS BIND_OP variable = product op = mul impl = dsp
  return shift_round<48>(product, shift) + zero;
}

inline Code requantize(Accumulator acc, Multiplier multiplier, Shift shift, ap_int<16> zero) {
#pragma HLS INLINE
  return saturate<8, 48>(scale(acc, multiplier, shift, zero));
}

struct Add {
  ap_int<21> ma;  // 20 bits and a sign that is never used
  ap_int<21> mb;
  ap_int<32> constant;
  Shift shift;
  Code zero;
};

inline Code add_requantize(Code a, Code b, const Add& add) {
#pragma HLS INLINE
  // In LUTs: the DSPs of a full array leave no room for two multipliers in every lane.
  const ap_int<29> own = add.ma * a;
  const ap_int<29> other = add.mb * b;
#pragma HLS BIND_OP variable = own op = mul impl = fabric
#pragma HLS BIND_OP variable = other op = mul impl = fabric
  const ap_int<48> total = own + other + add.constant;
  const ap_int<48> rounded = shift_round<48>(total, add.shift) + add.zero;
  return saturate<8, 48>(rounded);
}

// numerator / denominator rounded, clipped to +-QUOTIENT_LIMIT; denominator > 0. Rounding half to even is symmetric, so
// magnitudes are divided: nine compare-and-subtract stages, one that finds quotients of 512 and more, one that rounds.
// Comparing remainder >> k with the denominator is the same as comparing the remainder with denominator << k.
inline ap_int<10> divide_round(ap_int<64> numerator, ap_uint<63> denominator) {
#pragma HLS INLINE
  const bool negative = numerator < 0;
  ap_uint<64> remainder = numerator;
  if (negative) {
    remainder = -numerator;
  }
  const ap_uint<64> top = remainder >> QUOTIENT_BITS;
  const bool huge = top >= denominator;
  ap_uint<QUOTIENT_BITS> quotient = 0;
  for (int k = QUOTIENT_BITS - 1; k >= 0; --k) {
#pragma HLS UNROLL
    const ap_uint<64> head = remainder >> k;
    if (!huge && head >= denominator) {
      const ap_uint<64> part = ap_uint<64>(denominator) << k;
      remainder -= part;
      quotient[k] = 1;
    }
  }
  const ap_uint<64> twice = remainder << 1;
  const bool up = twice > denominator || (twice == denominator && quotient[0]);
  ap_int<11> magnitude = quotient;
  if (up) {
    magnitude += 1;
  }
  if (huge || magnitude > QUOTIENT_LIMIT) {
    magnitude = QUOTIENT_LIMIT;
  }
  ap_int<10> result = magnitude;
  if (negative) {
    result = -magnitude;
  }
  return result;
}

// Floor of the square root, two bits of the value a stage.
template <int ROOT>
ap_uint<ROOT> integer_sqrt(ap_uint<2 * ROOT> value) {
  ap_uint<ROOT> root = 0;
  ap_uint<ROOT + 2> remainder = 0;
integer_sqrt_bits:
  for (int k = ROOT - 1; k >= 0; --k) {
#pragma HLS PIPELINE II = 1
    const ap_uint<2> digits = value.range(2 * k + 1, 2 * k);
    const ap_uint<ROOT + 4> next = (ap_uint<ROOT + 4>(remainder) << 2) | digits;
    const ap_uint<ROOT + 4> trial = (ap_uint<ROOT + 4>(root) << 2) | 1;
    root <<= 1;
    if (next >= trial) {
      remainder = next - trial;
      root[0] = 1;
    } else {
      remainder = next;
    }
  }
  return root;
}

// Signed lanes of a word, and back. Through 64-bit halves: shorter wires in the report and a faster simulation.
inline void unpack(Word word, Code lanes[LANES]) {
#pragma HLS INLINE
  const Chunk low = word.range(63, 0);
  const Chunk high = word.range(127, 64);
  for (int c = 0; c < LANES / 2; ++c) {
#pragma HLS UNROLL
    lanes[c] = low.range(8 * c + 7, 8 * c);
    lanes[c + LANES / 2] = high.range(8 * c + 7, 8 * c);
  }
}

inline Word pack(const Code lanes[LANES]) {
#pragma HLS INLINE
  Chunk low = 0;
  Chunk high = 0;
  for (int c = 0; c < LANES / 2; ++c) {
#pragma HLS UNROLL
    const ap_uint<8> a = lanes[c];
    const ap_uint<8> b = lanes[c + LANES / 2];
    low |= Chunk(a) << (8 * c);
    high |= Chunk(b) << (8 * c);
  }
  return (Word(high) << 64) | Word(low);
}

inline Word splat(Code code) {
#pragma HLS INLINE
  Code lanes[LANES];
  for (int c = 0; c < LANES; ++c) {
#pragma HLS UNROLL
    lanes[c] = code;
  }
  return pack(lanes);
}

}  // namespace hwgen

#endif
