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

}  // namespace hwgen

#endif
