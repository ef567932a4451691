// SPDX-License-Identifier: Apache-2.0
// What follows an accumulator: requantize, table, residual add. Shared by all engines.
#ifndef HWGEN_EPILOGUE_HPP
#define HWGEN_EPILOGUE_HPP

#include "ring.hpp"

namespace hwgen {

// Initial accumulator, multiplier and shift of 16 channels.
inline void unpack_parameters(const Row& row, Accumulator init[LANES], Multiplier multiplier[LANES],
                              Shift shift[LANES]) {
#pragma HLS INLINE
  for (int c = 0; c < LANES; ++c) {
#pragma HLS UNROLL
    init[c] = row.chunks[c].range(31, 0);
    multiplier[c] = row.chunks[c].range(48, 32);
    shift[c] = row.chunks[c].range(54, 49);
  }
}

// Whether the engine must load the table of an instruction, and how many ring rows it has.
inline int table_rows(const Instruction& ins) {
#pragma HLS INLINE
  int rows = 0;
  if (has(ins, FLAG_TABLE) && !has(ins, FLAG_RETAIN)) {
    HWGEN_CHECK(!has(ins, FLAG_WIDE) || WIDE_TABLES != 0, "an instruction has a table larger than the engines hold");
    rows = has(ins, FLAG_WIDE) ? WIDE_TABLE_WORDS / 32 : SHORT_TABLE_WORDS / 32;
  }
  return rows;
}

// Copies the rows of a table to every copy of an engine's table memory: 32 cycles a row.
template <int COPIES, int DEPTH>
void load_table(hls::stream<Row, DEPTH>& rows, int count, TableWord tables[COPIES][TABLE_WORDS]) {
  Row row;
#pragma HLS ARRAY_PARTITION variable = row.chunks complete
load_table_words:
  for (int i = 0; i < 32 * count; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 64 max = 1024 avg = 64
#pragma HLS PIPELINE II = 1
    if (i % 32 == 0) {
      row = rows.read();
    }
    const TableWord word = row_word(row, i % 32);
    for (int copy = 0; copy < COPIES; ++copy) {
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
inline Word finish_word(const Epilogue& epilogue, const TableWord tables[][TABLE_WORDS], int slot,
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
