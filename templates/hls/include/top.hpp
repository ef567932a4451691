// SPDX-License-Identifier: Apache-2.0
// The accelerator's interface, for the testbench.
#ifndef HWGEN_TOP_HPP
#define HWGEN_TOP_HPP

#include "types.hpp"

// Pointers are to 16-byte words. weights0 to weights3 all point at weights.bin: four ports read it in parallel.
extern "C" void hwgen_top(const ap_uint<128>* program, const ap_uint<128>* weights0, const ap_uint<128>* weights1,
                          const ap_uint<128>* weights2, const ap_uint<128>* weights3, const ap_uint<128>* input,
                          ap_uint<128>* output, ap_uint<128>* trace, ap_uint<32> frames, ap_uint<32> trace_enable);

#endif
