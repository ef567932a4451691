// SPDX-License-Identifier: Apache-2.0
// Pointwise kernels: residual add, table, or the add and then the table. ELTWISE_WORDS pixels a cycle: in
// EfficientViT all but a few of them are part of a convolution.
#ifndef HWGEN_ELTWISE_HPP
#define HWGEN_ELTWISE_HPP

#include "epilogue.hpp"

namespace hwgen {

constexpr int ELTWISE_WORDS = 1;

static_assert(ELTWISE_WORDS <= EPILOGUE_WORDS, "pointwise kernels use the epilogue's copies of the table");

inline void run_eltwise(const Instruction& ins, Word pads[PADS][BANKS][PAD_ROWS],
                        const Chunk ring[WEIGHT_ROWS][ROW_CHUNKS], TableWord tables[TABLE_COPIES][TABLE_WORDS]) {
#pragma HLS INLINE off
  const Epilogue epilogue = decode_epilogue(ins);
  const int columns = (ins.y_cols.to_int() + ELTWISE_WORDS - 1) / ELTWISE_WORDS;
  const int y_rows = ins.y_rows;
  const int y_groups = ins.y_groups;
  if (epilogue.table) {
    load_table(ring, tables, ins.t_row, false);
  }
  HWGEN_CHECK(y_groups * y_rows < 65536, "ELTWISE has more rows than its counter");
  const int cycles = index_product(index_product(y_groups, y_rows), columns);
  int group = 0;
  int row = 0;
  int column = 0;
eltwise_cycles:
  for (int n = 0; n < cycles; ++n) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 8192
#pragma HLS PIPELINE II = 1
// The planner proves that no instruction reads a word that it writes (hwgen/plan).
#pragma HLS DEPENDENCE variable = pads type = inter dependent = false
    const int plane = ins.y_group0.to_int() + group;
    const int y_column = column * ELTWISE_WORDS;
    const int count = minimum(ELTWISE_WORDS, ins.y_cols.to_int() - y_column);
    // Row y_row0 of x lies in x_slot when it is the first row the tile reads, which pointwise kernels' is.
    const int x_rows = ins.y_row0.to_int() + row - ins.x_first.to_int();
    Window x;
    x.pad = ins.x_pad;
    x.base = ins.x_base.to_int() + index_product(plane, ins.x_plane);
    x.pixel = index_product(ring_slot(ins.x_slot, x_rows, ins.x_ring), ins.x_width) + y_column;
    x.low = 0;
    x.high = count;
    Window r;
    r.pad = ins.r_pad;
    r.base = ins.r_base.to_int() + index_product(plane, ins.r_plane);
    r.pixel = index_product(ring_slot(ins.r_slot, row, ins.r_ring), ins.y_width) + y_column;
    r.low = 0;
    r.high = epilogue.add ? count : 0;
    Window y;
    y.pad = ins.y_pad;
    y.base = ins.y_base.to_int() + index_product(plane, ins.y_plane);
    y.pixel = index_product(ring_slot(ins.y_slot, row, ins.y_ring), ins.y_width) + y_column;
    y.low = 0;
    y.high = count;
    Word own[ELTWISE_WORDS];
    Word other[ELTWISE_WORDS];
    Word words[ELTWISE_WORDS];
#pragma HLS ARRAY_PARTITION variable = own complete
#pragma HLS ARRAY_PARTITION variable = other complete
#pragma HLS ARRAY_PARTITION variable = words complete
    read_windows<ELTWISE_WORDS>(pads, x, r, own, other);
    for (int e = 0; e < ELTWISE_WORDS; ++e) {
#pragma HLS UNROLL
      Code a[LANES];
      Code b[LANES];
#pragma HLS ARRAY_PARTITION variable = a complete
#pragma HLS ARRAY_PARTITION variable = b complete
      unpack(own[e], a);
      unpack(other[e], b);
      for (int c = 0; c < LANES; ++c) {
#pragma HLS UNROLL
        Code code = a[c];
        if (epilogue.add) {
          code = add_requantize(a[c], b[c], epilogue.residual);
        }
        if (epilogue.table) {
          code = look_up(tables[e * (LANES / 2) + c / 2], code, false);
        }
        a[c] = code;
      }
      words[e] = pack(a);
    }
    write_window<ELTWISE_WORDS>(pads, y, words);
    ++column;
    if (column == columns) {
      column = 0;
      ++row;
      if (row == y_rows) {
        row = 0;
        ++group;
      }
    }
  }
}

}  // namespace hwgen

#endif
