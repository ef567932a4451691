// SPDX-License-Identifier: Apache-2.0
// From a pad or the vector memory to DDR: the network's output, and the rectangle that an instruction wrote where tracing
// is on.
#ifndef HWGEN_STORE_HPP
#define HWGEN_STORE_HPP

#include "memory.hpp"

namespace hwgen {

// x, all groups and rows, in the order [group][row][column]: the pixels of a whole tensor follow each other.
inline void run_store(const Instruction& ins, const Word pads[PADS][BANKS][PAD_ROWS], const Word vectors[VECTOR_ROWS],
                      Word* output, unsigned frame_word) {
#pragma HLS INLINE off
  const int pixels = index_product(ins.x_height, ins.x_cols);
  const int words = index_product(ins.x_groups, pixels);
  const unsigned first = frame_word + ins.ddr.to_uint();
  int base = ins.x_base;
  int pixel = 0;
store_words:
  for (int n = 0; n < words; ++n) {  // one loop over all groups: one burst
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 4096
#pragma HLS PIPELINE II = 1
    output[first + n] = read_word(pads, vectors, ins.x_pad, base, pixel);
    ++pixel;
    if (pixel == pixels) {
      pixel = 0;
      base += ins.x_plane;
    }
  }
}

// Copies what `ins` wrote to its place [group][row][column] in the trace buffer.
inline void run_trace(const Instruction& ins, const Word pads[PADS][BANKS][PAD_ROWS], const Word vectors[VECTOR_ROWS],
                      Word* trace, unsigned frame_word) {
#pragma HLS INLINE off
trace_groups:
  for (int g = 0; g < ins.y_groups.to_int(); ++g) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 64
    const int group = ins.y_group0.to_int() + g;
    const int base = ins.y_base.to_int() + index_product(group, ins.y_plane);
  trace_rows:
    for (int r = 0; r < ins.y_rows.to_int(); ++r) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 112
      const int pixel = index_product(ring_slot(ins.y_slot, r, ins.y_ring), ins.y_width);
      // Words of a whole tensor may exceed 16 bits in both factors, so the rows of the groups before come first.
      const ap_uint<28> line = index_product(group, ins.y_height) + ins.y_row0.to_int() + r;
      const ap_uint<44> offset = line * ins.y_width;
#pragma HLS BIND_OP variable = offset op = mul impl = dsp
      const unsigned word = frame_word + ins.trace.to_uint() + offset.to_uint();
    trace_pixels:
      for (int x = 0; x < ins.y_cols.to_int(); ++x) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 112
#pragma HLS PIPELINE II = 1
        trace[word + x] = read_word(pads, vectors, ins.y_pad, base, pixel + x);
      }
    }
  }
}

}  // namespace hwgen

#endif
