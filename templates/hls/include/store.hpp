// SPDX-License-Identifier: Apache-2.0
// From a pad to DDR: the network's output, and the rectangle that an instruction wrote where tracing is on.
#ifndef HWGEN_STORE_HPP
#define HWGEN_STORE_HPP

#include "memory.hpp"

namespace hwgen {

// x, all groups and rows, in the order [group][row][column]: the pixels of a whole tensor follow each other.
inline void run_store(const Instruction& ins, const Word pads[PADS][BANKS][PAD_DEPTH], Word* output,
                      unsigned frame_word) {
#pragma HLS INLINE off
  const int pixels = ins.x_height.to_int() * ins.x_cols.to_int();
  unsigned word = frame_word + ins.ddr.to_uint();
store_groups:
  for (int g = 0; g < ins.x_groups.to_int(); ++g) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 64
    const int base = ins.x_base.to_int() + g * ins.x_plane.to_int();
  store_pixels:
    for (int p = 0; p < pixels; ++p) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 64
#pragma HLS PIPELINE II = 1
      output[word + p] = read_pixel(pads, ins.x_pad, base, p);
    }
    word += pixels;
  }
}

// Copies what `ins` wrote to its place [group][row][column] in the trace buffer.
inline void run_trace(const Instruction& ins, const Word pads[PADS][BANKS][PAD_DEPTH], Word* trace,
                      unsigned frame_word) {
#pragma HLS INLINE off
trace_groups:
  for (int g = 0; g < ins.y_groups.to_int(); ++g) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 64
    const int group = ins.y_group0.to_int() + g;
    const int base = ins.y_base.to_int() + group * ins.y_plane.to_int();
  trace_rows:
    for (int r = 0; r < ins.y_rows.to_int(); ++r) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 112
      const int pixel = ring_slot(ins.y_slot, r, ins.y_ring) * ins.y_width.to_int();
      const unsigned line = group * ins.y_height.to_int() + ins.y_row0.to_int() + r;
      const unsigned word = frame_word + ins.trace.to_uint() + line * ins.y_width.to_int();
    trace_pixels:
      for (int x = 0; x < ins.y_cols.to_int(); ++x) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 112
#pragma HLS PIPELINE II = 1
        trace[word + x] = read_pixel(pads, ins.y_pad, base, pixel + x);
      }
    }
  }
}

}  // namespace hwgen

#endif
