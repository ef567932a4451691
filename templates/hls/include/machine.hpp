// SPDX-License-Identifier: Apache-2.0
// The memories of the machine and the engine that each instruction calls.
#ifndef HWGEN_MACHINE_HPP
#define HWGEN_MACHINE_HPP

#include "attention.hpp"
#include "conv.hpp"
#include "depthwise.hpp"
#include "eltwise.hpp"
#include "loader.hpp"
#include "mlp.hpp"
#include "store.hpp"
#include "weights.hpp"

namespace hwgen {

// A header or an instruction: one burst of 128 bytes.
inline void read_record(const Word* program, unsigned index, Word record[RECORD_WORDS]) {
read_record_words:
  for (int i = 0; i < RECORD_WORDS; ++i) {
#pragma HLS PIPELINE II = 1
    record[i] = program[index * RECORD_WORDS + i];
  }
}

// First word of a frame in each buffer.
struct FrameWords {
  unsigned input;
  unsigned output;
  unsigned trace;
};

inline void next_frame(const Header& header, FrameWords& words) {
#pragma HLS INLINE
  words.input += header.input_words.to_uint();
  words.output += header.output_words.to_uint();
  words.trace += header.trace_words.to_uint();
}

// Slots whose frame exists, where the group has `frames` frames or more.
inline ap_uint<8> existing_slots(unsigned frames) {
#pragma HLS INLINE
  ap_uint<8> slots = 0;
  for (int s = 0; s < SLOTS; ++s) {
#pragma HLS UNROLL
    slots[s] = frames > static_cast<unsigned>(s);
  }
  return slots;
}

// Moves the operands to the memory of the instruction's slot, and `words` from the group's first frame to the slot's.
inline void enter_slot(const Header& header, Instruction& ins, FrameWords& words) {
#pragma HLS INLINE
  HWGEN_CHECK(ins.slots != 0 && ins.slots.to_int() >> SLOTS == 0,
              "an instruction is for no slot, or for one that does not exist");
  HWGEN_CHECK(ins.opcode == OP_LOAD_WEIGHTS || (ins.slots.to_int() & (ins.slots.to_int() - 1)) == 0,
              "an instruction of an engine is for more than one slot");
  int row = 0;
  int word = 0;
  for (int s = 1; s < SLOTS; ++s) {
#pragma HLS UNROLL
    if (ins.slots.to_int() >> s != 0) {  // slot s, or one behind it
      row += PAD_DEPTH;
      word += VECTOR_WORDS;
      next_frame(header, words);
    }
  }
#ifndef __SYNTHESIS__
  current_slot() = row / PAD_DEPTH;
#endif
  ins.x_base += ins.x_pad == VECTOR ? word : row;
  ins.r_base += row;
  ins.y_base += ins.y_pad == VECTOR ? word : row;
}

}  // namespace hwgen

#endif
