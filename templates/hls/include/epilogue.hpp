// SPDX-License-Identifier: Apache-2.0
// What follows an accumulator: requantize, table, residual add. Shared by all engines.
#ifndef HWGEN_EPILOGUE_HPP
#define HWGEN_EPILOGUE_HPP

#include "memory.hpp"

namespace hwgen {

// Initial accumulator, multiplier and shift of 16 channels.
inline void read_parameters(const Chunk ring[WEIGHT_ROWS][ROW_CHUNKS], int row, Accumulator init[LANES],
                            Multiplier multiplier[LANES], Shift shift[LANES]) {
#pragma HLS INLINE
  Chunk chunks[ROW_CHUNKS];
#pragma HLS ARRAY_PARTITION variable = chunks complete
  read_row(ring, row, chunks);
  for (int c = 0; c < LANES; ++c) {
#pragma HLS UNROLL
    init[c] = chunks[c].range(31, 0);
    multiplier[c] = chunks[c].range(48, 32);
    shift[c] = chunks[c].range(54, 49);
  }
}

// Copies a table from the ring to every copy of the table memory: 64 cycles, or 1,024 for 4,096 entries.
inline void load_table(const Chunk ring[WEIGHT_ROWS][ROW_CHUNKS], TableWord tables[TABLE_COPIES][TABLE_WORDS], int row,
                       bool wide) {
  const int words = wide ? TABLE_WORDS : SHORT_TABLE_WORDS;
load_table_words:
  for (int i = 0; i < words; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 64 max = 1024 avg = 64
#pragma HLS PIPELINE II = 1
    Chunk chunks[ROW_CHUNKS];
#pragma HLS ARRAY_PARTITION variable = chunks complete
    read_row(ring, row + (i >> 5), chunks);
    const TableWord word = row_word(chunks, i & 31);
    for (int copy = 0; copy < TABLE_COPIES; ++copy) {
#pragma HLS UNROLL
      tables[copy][i] = word;
    }
  }
}

// The instruction's epilogue in registers.
struct Epilogue {
  bool table;
  bool wide;
  bool add;
  ap_int<16> zero;
  Add residual;
};

inline Epilogue decode_epilogue(const Instruction& ins) {
#pragma HLS INLINE
  Epilogue epilogue;
  epilogue.table = has(ins, FLAG_TABLE);
  epilogue.wide = has(ins, FLAG_WIDE);
  epilogue.add = has(ins, FLAG_ADD);
  epilogue.zero = ins.y_zero;
  epilogue.residual.ma = ins.add_ma;
  epilogue.residual.mb = ins.add_mb;
  epilogue.residual.constant = ins.add_constant;
  epilogue.residual.shift = ins.add_shift;
  epilogue.residual.zero = ins.add_zero;
  return epilogue;
}

// Entry of a table for a signed code; lane pairs share the two ports of a copy.
inline Code look_up(const TableWord table[TABLE_WORDS], ap_int<12> code, bool wide) {
#pragma HLS INLINE
  const ap_uint<12> index = wide ? ap_int<13>(code + 2048) : ap_int<13>(code + 128);
  const TableWord word = table[index >> 2];
  const ap_uint<2> byte = index;
  const Code entry = ap_uint<8>(word >> (8 * byte.to_int()));
  return entry;
}

// One accumulator to one code, before the residual add.
inline Code finish_lane(const Epilogue& epilogue, const TableWord table[TABLE_WORDS], Accumulator acc,
                        Multiplier multiplier, Shift shift) {
#pragma HLS INLINE
  const ap_int<48> value = scale(acc, multiplier, shift, epilogue.zero);
  const ap_int<12> middle = epilogue.wide ? saturate<12, 48>(value) : ap_int<12>(saturate<8, 48>(value));
  Code code = middle;
  if (epilogue.table) {
    code = look_up(table, middle, epilogue.wide);
  }
  return code;
}

// One word before the residual add, `slot` = which of the EPILOGUE_WORDS words of this cycle it is.
inline Word finish_word(const Epilogue& epilogue, const TableWord tables[TABLE_COPIES][TABLE_WORDS], int slot,
                        const Accumulator acc[LANES], const Multiplier multiplier[LANES], const Shift shift[LANES]) {
#pragma HLS INLINE
  Code codes[LANES];
#pragma HLS ARRAY_PARTITION variable = codes complete
  for (int c = 0; c < LANES; ++c) {
#pragma HLS UNROLL
    codes[c] = finish_lane(epilogue, tables[slot * (LANES / 2) + c / 2], acc[c], multiplier[c], shift[c]);
  }
  return pack(codes);
}

// One word and the residual's.
inline Word add_word(const Add& add, Word own, Word residual) {
#pragma HLS INLINE
  Code a[LANES];
  Code b[LANES];
#pragma HLS ARRAY_PARTITION variable = a complete
#pragma HLS ARRAY_PARTITION variable = b complete
  unpack(own, a);
  unpack(residual, b);
  for (int c = 0; c < LANES; ++c) {
#pragma HLS UNROLL
    a[c] = add_requantize(a[c], b[c], add);
  }
  return pack(a);
}

}  // namespace hwgen

#endif
