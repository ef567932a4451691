// SPDX-License-Identifier: Apache-2.0
// From a pad or the vector memory to DDR: the network's output, and the rectangle that an instruction wrote where tracing
// is on.
//
//   commands, traces --> store_issue --> requests of words --> words --> store_write --> AXI; a token behind the last
//                             +---------------- bursts ------------------^
#ifndef HWGEN_STORE_HPP
#define HWGEN_STORE_HPP

#include "memory.hpp"

namespace hwgen {

// A burst of words to the output buffer or to the trace buffer; `last` of an instruction.
struct StoreBurst {
  ap_uint<32> first;
  ap_uint<24> count;
  bool trace;
  bool last;
};

constexpr int STORE_BURSTS = 4;  // rows of a rectangle: the next ones wait while one is written

// STORE: x, all groups and rows, in the order [group][row][column]: the pixels of a whole tensor follow each other.
inline void issue_store(const Instruction& ins, hls::stream<Window, REQUESTS>& reads,
                        hls::stream<StoreBurst, STORE_BURSTS>& bursts) {
  HWGEN_CHECK(ins.opcode == OP_STORE, "the Program holds an unknown opcode");
  const int slot = slot_of(ins);
  const int pixels = size_product(ins.x_cols, ins.x_height);
  const int words = size_product(pixels, ins.x_groups);
  bursts.write(StoreBurst{ins.ddr, ap_uint<24>(words), false, true});
  int base = ins.x_base;
  int pixel = 0;
store_words:
  for (int n = 0; n < words; ++n) {  // one loop over all groups: one burst
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 4096
#pragma HLS PIPELINE II = 1
    reads.write(window_at(slot, ins.x_pad, base, pixel, 0, 1, 0));
    ++pixel;
    if (pixel == pixels) {
      pixel = 0;
      base += ins.x_plane;
    }
  }
}

// Trace: what an instruction wrote, to its place [group][row][column] in the trace buffer.
inline void issue_trace(const Instruction& ins, hls::stream<Window, REQUESTS>& reads,
                        hls::stream<StoreBurst, STORE_BURSTS>& bursts) {
  const int slot = slot_of(ins);
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
      const bool last = g == ins.y_groups.to_int() - 1 && r == ins.y_rows.to_int() - 1;
      bursts.write(StoreBurst{ap_uint<32>(ins.trace + offset), ap_uint<24>(ins.y_cols), true, last});
    trace_pixels:
      for (int x = 0; x < ins.y_cols.to_int(); ++x) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 112
#pragma HLS PIPELINE II = 1
        reads.write(window_at(slot, ins.y_pad, base, pixel + x, 0, 1, 0));
      }
    }
  }
}

inline void store_issue(hls::stream<Word, COMMANDS>& commands, hls::stream<Word, COMMANDS>& traces,
                        hls::stream<Window, REQUESTS>& reads, hls::stream<StoreBurst, STORE_BURSTS>& bursts) {
  if (!commands.empty()) {
    issue_store(take_command(commands), reads, bursts);
  }
  if (!traces.empty()) {
    issue_trace(take_command(traces), reads, bursts);
  }
}

// A token goes with the next call: a call is over when the memory has answered its writes, and nothing else says so.
inline void store_write(Word* output, Word* trace, hls::stream<StoreBurst, STORE_BURSTS>& bursts,
                        hls::stream<Words<1>, ANSWERS>& words, hls::stream<Token, TOKENS>& stored,
                        hls::stream<Token, TOKENS>& traced) {
  static bool store_ends = false;
  static bool trace_ends = false;
  if (store_ends) {
    stored.write(1);
    store_ends = false;
  }
  if (trace_ends) {
    traced.write(1);
    trace_ends = false;
  }
  StoreBurst burst;
  if (!bursts.read_nb(burst)) {
    return;
  }
  if (burst.trace) {
  write_trace:
    for (int n = 0; n < burst.count.to_int(); ++n) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 112
#pragma HLS PIPELINE II = 1
      trace[burst.first.to_uint64() + n] = words.read().words[0];
    }
    trace_ends = burst.last;
  } else {
  write_output:
    for (int n = 0; n < burst.count.to_int(); ++n) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 4096
#pragma HLS PIPELINE II = 1
      output[burst.first.to_uint64() + n] = words.read().words[0];
    }
    store_ends = true;
  }
}

}  // namespace hwgen

#endif
