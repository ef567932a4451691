// SPDX-License-Identifier: Apache-2.0
// Pointwise kernels: residual add, table, or the add and then the table. One pixel a cycle: in EfficientViT all but a few
// of them are part of a convolution.
//
//   commands --> eltwise_issue --> requests of x and r --> words --> eltwise_compute --> writes
//                      +--------------- targets ------------------------^
#ifndef HWGEN_ELTWISE_HPP
#define HWGEN_ELTWISE_HPP

#include "epilogue.hpp"

namespace hwgen {

constexpr int ELTWISE_WORDS = 1;
static_assert(ELTWISE_WORDS == 1, "an operand is one word of the memory's answer");

// Addresses of x, r and y, a pixel a cycle.
inline void eltwise_issue(hls::stream<Word, COMMANDS>& commands, hls::stream<Word, COMMANDS>& to_compute,
                          hls::stream<Window, REQUESTS>& reads, hls::stream<Window, REQUESTS>& addends,
                          hls::stream<Window, ANSWERS>& targets, hls::stream<RowRequest, ROW_REQUESTS>& rows) {
  const Instruction ins = pass_command(commands, to_compute);
  const int slot = slot_of(ins);
  const bool add = has(ins, FLAG_ADD);
  const int y_rows = ins.y_rows;
  const int y_groups = ins.y_groups;
  const int y_cols = ins.y_cols;
  const int table = table_rows(ins);
  HWGEN_CHECK(ins.opcode == OP_ELTWISE, "the Program holds an unknown opcode");
  HWGEN_CHECK(y_groups * y_rows < 65536, "ELTWISE has more rows than its counter");
  if (table != 0) {
    rows.write(RowRequest{ins.t_row, ap_uint<16>(table)});
  }
  const int pixels = size_product(size_product(y_cols, y_rows), y_groups);
  int group = 0;
  int row = 0;
  int column = 0;
eltwise_addresses:
  for (int n = 0; n < pixels; ++n) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 8192
#pragma HLS PIPELINE II = 1
    const int plane = ins.y_group0.to_int() + group;
    // Row y_row0 of x lies in x_slot when it is the first row the tile reads, which pointwise kernels' is.
    const int x_ring = ring_slot(ins.x_slot, ins.y_row0.to_int() + row - ins.x_first.to_int(), ins.x_ring);
    const int x_base = ins.x_base.to_int() + index_product(plane, ins.x_plane);
    reads.write(window_at(slot, ins.x_pad, x_base, index_product(x_ring, ins.x_width) + column, 0, 1, 0));
    if (add) {
      addends.write(r_window(ins, slot, plane, row, column, 1));
    }
    targets.write(y_window(ins, slot, plane, row, column, 1));
    ++column;
    if (column == y_cols) {
      column = 0;
      ++row;
      if (row == y_rows) {
        row = 0;
        ++group;
      }
    }
  }
}

inline void eltwise_compute(hls::stream<Word, COMMANDS>& commands, hls::stream<Words<1>, ANSWERS>& words,
                            hls::stream<Words<1>, ANSWERS>& addends, hls::stream<Window, ANSWERS>& targets,
                            hls::stream<Row, ANSWERS>& rows, hls::stream<Write<1>, WRITES>& writes) {
  static TableWord tables[LANES / 2][TABLE_WORDS];
#pragma HLS ARRAY_PARTITION variable = tables complete dim = 1
#pragma HLS BIND_STORAGE variable = tables type = ram_t2p impl = bram
#pragma HLS RESET variable = tables off
  const Instruction ins = take_command(commands);
  const Epilogue epilogue = decode_epilogue(ins);
  load_table<LANES / 2>(rows, table_rows(ins), tables);
  const int pixels = size_product(size_product(ins.y_cols, ins.y_rows), ins.y_groups);
eltwise_cycles:
  for (int n = 0; n < pixels; ++n) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 8192
#pragma HLS PIPELINE II = 1
    const Words<1> own = words.read();
    Words<1> other = {};
    if (epilogue.add) {
      other = addends.read();
    }
    Code a[LANES];
    Code b[LANES];
#pragma HLS ARRAY_PARTITION variable = a complete
#pragma HLS ARRAY_PARTITION variable = b complete
    unpack(own.words[0], a);
    unpack(other.words[0], b);
    for (int c = 0; c < LANES; ++c) {
#pragma HLS UNROLL
      Code code = a[c];
      if (epilogue.add) {
        code = add_requantize(a[c], b[c], epilogue.residual);
      }
      if (epilogue.table) {
        code = look_up(tables[c / 2], code, false);
      }
      a[c] = code;
    }
    Write<1> write;
    write.window = targets.read();
    write.last = n == pixels - 1;
    write.data.words[0] = pack(a);
    writes.write(write);
  }
}

}  // namespace hwgen

#endif
