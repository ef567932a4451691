// SPDX-License-Identifier: Apache-2.0
// Pads, vector memory and weight rings. A pad is read and written through *windows* of up to 16 consecutive pixels: each
// lies in another bank, so a window costs one access of every bank and a rotation by the first pixel's bank.
// The slots' memories are one behind the other in deeper ones: the addresses of an instruction say which slot it is for.
#ifndef HWGEN_MEMORY_HPP
#define HWGEN_MEMORY_HPP

#include "arithmetic.hpp"
#include "instruction.hpp"

namespace hwgen {

#ifndef __SYNTHESIS__
// Simulation only: the slot that the instruction is for, and whether a word lies in its part of a memory, which has
// `words` for each slot.
inline int& current_slot() {
  static int slot = 0;
  return slot;
}

inline bool in_slot(int word, int words) { return word >= 0 && word / words == current_slot(); }
#endif

// Where a window lies: word row of pixel 0 of the plane, first pixel (may be negative beside a padded edge), and the
// positions low .. high - 1 that exist; the others deliver `fill` and are never addressed.
struct Window {
  int pad;
  int base;
  int pixel;
  int low;
  int high;
};

inline int minimum(int a, int b) {
#pragma HLS INLINE
  return a < b ? a : b;
}

inline int maximum(int a, int b) {
#pragma HLS INLINE
  return a > b ? a : b;
}

// Product of two sizes or positions of 16 bits, such as pixels of some rows. One DSP, or about 300 LUTs, of which the
// machine has fewer to spare.
// What a position outside the tensor gives does not matter, it is never addressed.
inline int index_product(int a, int b) {
#pragma HLS INLINE
  const ap_uint<16> first = a;
  const ap_uint<16> second = b;
  const ap_uint<32> index = first * second;
#pragma HLS BIND_OP variable = index op = mul impl = dsp
  return index.to_int();
}

// Ring slot of the row `rows` behind the one that lies in `slot`. At most one wrap (docs/program-format.md).
inline int ring_slot(int slot, int rows, int ring) {
#pragma HLS INLINE
  const int next = slot + rows;
  return next >= ring ? next - ring : next;
}

// Word row of the window's pixel that lies in `bank`, and whether that pixel exists.
inline int bank_row(const Window& window, int bank, bool& exists) {
#pragma HLS INLINE
  const int position = (bank - window.pixel) & (BANKS - 1);
  exists = position >= window.low && position < window.high;
  const int row = window.base + ((window.pixel + position) >> 4);
  HWGEN_CHECK(!exists || in_slot(row, PAD_DEPTH), "an instruction addresses a word outside its pad");
  return exists ? row : 0;
}

inline void check_pad(int pad) {
#pragma HLS INLINE
  (void)pad;
  HWGEN_CHECK(pad >= 0 && pad < PADS, "an instruction names a pad that does not exist");
}

// words[k] = bank word of the window's pixel k: a barrel rotation by the first pixel's bank, four stages of two-to-one.
template <int COUNT>
void rotate(Word banks[BANKS], int by, Word words[COUNT]) {
#pragma HLS INLINE
  for (int stage = 0; stage < 4; ++stage) {
#pragma HLS UNROLL
    if (((by >> stage) & 1) != 0) {
      Word moved[BANKS];
#pragma HLS ARRAY_PARTITION variable = moved complete
      for (int k = 0; k < BANKS; ++k) {
#pragma HLS UNROLL
        moved[k] = banks[(k + (1 << stage)) & (BANKS - 1)];
      }
      for (int k = 0; k < BANKS; ++k) {
#pragma HLS UNROLL
        banks[k] = moved[k];
      }
    }
  }
  for (int k = 0; k < COUNT; ++k) {
#pragma HLS UNROLL
    words[k] = banks[k];
  }
}

// The first COUNT pixels of a window.
template <int COUNT>
void read_window(const Word pads[PADS][BANKS][PAD_ROWS], const Window& window, Word fill, Word words[COUNT]) {
#pragma HLS INLINE
  check_pad(window.pad);
  Word banks[BANKS];
#pragma HLS ARRAY_PARTITION variable = banks complete
  for (int bank = 0; bank < BANKS; ++bank) {
#pragma HLS UNROLL
    bool exists = false;
    const int row = bank_row(window, bank, exists);
    banks[bank] = fill;
    if (exists) {
      banks[bank] = pads[window.pad][bank][row];
    }
  }
  rotate<COUNT>(banks, window.pixel & (BANKS - 1), words);
}

// Two windows of different pads in one cycle: every pad sees one address, chosen by its number. Indexing the pads twice
// would look like two reads of the same pad to the scheduler. b may be empty; its pad does not matter then.
template <int COUNT>
void read_windows(const Word pads[PADS][BANKS][PAD_ROWS], const Window& a, const Window& b, Word words_a[COUNT],
                  Word words_b[COUNT]) {
#pragma HLS INLINE
  check_pad(a.pad);
  check_pad(b.pad);
  HWGEN_CHECK(a.pad != b.pad || b.high <= b.low, "an instruction reads two operands from one pad");
  Word banks_a[BANKS];
  Word banks_b[BANKS];
#pragma HLS ARRAY_PARTITION variable = banks_a complete
#pragma HLS ARRAY_PARTITION variable = banks_b complete
  for (int bank = 0; bank < BANKS; ++bank) {
#pragma HLS UNROLL
    bool exists_a = false;
    bool exists_b = false;
    const int row_a = bank_row(a, bank, exists_a);
    const int row_b = bank_row(b, bank, exists_b);
    banks_a[bank] = 0;
    banks_b[bank] = 0;
    for (int pad = 0; pad < PADS; ++pad) {
#pragma HLS UNROLL
      const bool is_a = pad == a.pad && exists_a;
      const bool is_b = pad == b.pad && exists_b;
      if (is_a || is_b) {
        const Word word = pads[pad][bank][is_a ? row_a : row_b];
        if (is_a) {
          banks_a[bank] = word;
        } else {
          banks_b[bank] = word;
        }
      }
    }
  }
  rotate<COUNT>(banks_a, a.pixel & (BANKS - 1), words_a);
  rotate<COUNT>(banks_b, b.pixel & (BANKS - 1), words_b);
}

// Up to COUNT words, window.high of them; COUNT is a power of two.
template <int COUNT>
void write_window(Word pads[PADS][BANKS][PAD_ROWS], const Window& window, const Word words[COUNT]) {
#pragma HLS INLINE
  static_assert((COUNT & (COUNT - 1)) == 0, "a write has a power of two of words");
  check_pad(window.pad);
  for (int bank = 0; bank < BANKS; ++bank) {
#pragma HLS UNROLL
    bool exists = false;
    const int row = bank_row(window, bank, exists);
    if (exists) {
      pads[window.pad][bank][row] = words[(bank - window.pixel) & (COUNT - 1)];
    }
  }
}

// Sixteen pixels from a multiple of 16: the same word row of every bank, no rotation. Pixels from `count` on are 0.
inline void read_block(const Word pads[PADS][BANKS][PAD_ROWS], int pad, int row, int count, Word words[BANKS]) {
#pragma HLS INLINE
  check_pad(pad);
  HWGEN_CHECK(count <= 0 || in_slot(row, PAD_DEPTH), "an instruction addresses a word outside its pad");
  for (int bank = 0; bank < BANKS; ++bank) {
#pragma HLS UNROLL
    words[bank] = 0;
    if (bank < count) {
      words[bank] = pads[pad][bank][row];
    }
  }
}

// One pixel: a multiplexer of banks instead of a rotation.
inline Word read_pixel(const Word pads[PADS][BANKS][PAD_ROWS], int pad, int base, int pixel) {
#pragma HLS INLINE
  check_pad(pad);
  const int row = base + (pixel >> 4);
  HWGEN_CHECK(in_slot(row, PAD_DEPTH), "an instruction addresses a word outside its pad");
  return pads[pad][pixel & (BANKS - 1)][row];
}

inline void write_pixel(Word pads[PADS][BANKS][PAD_ROWS], int pad, int base, int pixel, Word word) {
#pragma HLS INLINE
  check_pad(pad);
  const int row = base + (pixel >> 4);
  HWGEN_CHECK(in_slot(row, PAD_DEPTH), "an instruction addresses a word outside its pad");
  pads[pad][pixel & (BANKS - 1)][row] = word;
}

// A word of an operand that may lie in the vector memory, where `base` is the word of the only pixel.
inline Word read_word(const Word pads[PADS][BANKS][PAD_ROWS], const Word vectors[VECTOR_ROWS], int pad, int base,
                      int pixel) {
#pragma HLS INLINE
  Word word = 0;
  if (pad == VECTOR) {
    HWGEN_CHECK(in_slot(base, VECTOR_WORDS), "an instruction addresses a word outside the vector memory");
    word = vectors[base];
  } else {
    word = read_pixel(pads, pad, base, pixel);
  }
  return word;
}

inline void write_word(Word pads[PADS][BANKS][PAD_ROWS], Word vectors[VECTOR_ROWS], int pad, int base, int pixel,
                       Word word) {
#pragma HLS INLINE
  if (pad == VECTOR) {
    HWGEN_CHECK(in_slot(base, VECTOR_WORDS), "an instruction addresses a word outside the vector memory");
    vectors[base] = word;
  } else {
    write_pixel(pads, pad, base, pixel, word);
  }
}

// One ring row. The ring is stored as rows of sixteen 64-bit pieces that are reshaped to one 1024-bit word.
inline void read_row(const Chunk ring[WEIGHT_ROWS][ROW_CHUNKS], int row, Chunk chunks[ROW_CHUNKS]) {
#pragma HLS INLINE
  HWGEN_CHECK(row >= 0 && row < WEIGHT_ROWS, "an instruction reads a row outside the weight ring");
  for (int i = 0; i < ROW_CHUNKS; ++i) {
#pragma HLS UNROLL
    chunks[i] = ring[row][i];
  }
}

inline Code row_byte(const Chunk chunks[ROW_CHUNKS], int byte) {
#pragma HLS INLINE
  const Chunk chunk = chunks[byte >> 3];
  const Code code = ap_uint<8>(chunk >> (8 * (byte & 7)));
  return code;
}

inline ap_uint<32> row_word(const Chunk chunks[ROW_CHUNKS], int word) {
#pragma HLS INLINE
  const Chunk chunk = chunks[word >> 1];
  const ap_uint<32> value = chunk >> (32 * (word & 1));
  return value;
}

}  // namespace hwgen

#endif
