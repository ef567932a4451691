// SPDX-License-Identifier: Apache-2.0
// Instructions as they lie in program.bin. A test compares every name, offset, width and sign with
// hwgen/plan/program.py, which is the definition. Only the dispatcher looks at waits, in the record itself.
#ifndef HWGEN_INSTRUCTION_HPP
#define HWGEN_INSTRUCTION_HPP

#include "types.hpp"

namespace hwgen {

constexpr unsigned MAGIC = 0x4E475748;
constexpr unsigned VERSION = 3;

constexpr int OP_LOAD_WEIGHTS = 1;
constexpr int OP_LOAD_INPUT = 2;
constexpr int OP_CONV = 3;
constexpr int OP_DEPTHWISE = 4;
constexpr int OP_ELTWISE = 5;
constexpr int OP_ATTENTION = 6;
constexpr int OP_POOL = 7;
constexpr int OP_LINEAR = 8;
constexpr int OP_LAYER_NORM = 9;
constexpr int OP_STORE = 10;

constexpr int QUEUE_WEIGHTS = 0;
constexpr int QUEUE_HEAD = 1;
constexpr int QUEUE_INPUT = 2;
constexpr int QUEUE_ARRAY = 3;
constexpr int QUEUE_DEPTHWISE = 4;
constexpr int QUEUE_ELTWISE = 5;
constexpr int QUEUE_ATTENTION = 6;
constexpr int QUEUE_MLP = 7;
constexpr int QUEUE_STORE = 8;

// Where fields lie that the dispatcher reads or changes in a record.
constexpr int BYTE_SLOTS = 61;
constexpr int BYTE_DDR = 76;
constexpr int BYTE_TRACE = 92;
constexpr int BYTE_WAITS = 104;
constexpr int BYTE_WAIT_MASK = 122;

constexpr int FLAG_PACKED = 1;
constexpr int FLAG_TABLE = 2;
constexpr int FLAG_WIDE = 4;
constexpr int FLAG_ADD = 8;
constexpr int FLAG_IMAGE = 16;
constexpr int FLAG_QUANTIZED = 32;
constexpr int FLAG_RETAIN = 64;

// Bits of a 1024-bit record that start at byte OFFSET.
template <int OFFSET, int BITS>
ap_uint<BITS> field(const Word record[RECORD_WORDS]) {
#pragma HLS INLINE
  static_assert(OFFSET % 16 * 8 + BITS <= 128, "a field of a record lies inside one 128-bit word");
  const Word word = record[OFFSET / 16];
  const ap_uint<BITS> bits = word.range(OFFSET % 16 * 8 + BITS - 1, OFFSET % 16 * 8);
  return bits;
}

struct Header {
  ap_uint<32> magic;
  ap_uint<32> version;
  ap_uint<32> instructions;
  ap_uint<32> weight_bytes;
  ap_uint<32> input_words;
  ap_uint<32> output_words;
  ap_uint<32> trace_words;
  ap_uint<32> config_hash;
  ap_uint<32> queue_counts[QUEUES];
};

struct Instruction {
  ap_uint<8> opcode;
  ap_uint<8> flags;
  ap_uint<16> kernel;
  ap_uint<8> x_pad;
  ap_uint<8> r_pad;
  ap_uint<8> y_pad;
  ap_uint<8> mode;
  ap_uint<16> x_base;
  ap_uint<16> x_plane;
  ap_uint<16> x_width;
  ap_uint<16> x_ring;
  ap_uint<16> x_groups;
  ap_uint<16> r_base;
  ap_uint<16> r_plane;
  ap_uint<16> r_ring;
  ap_uint<16> y_base;
  ap_uint<16> y_plane;
  ap_uint<16> y_width;
  ap_uint<16> y_ring;
  ap_uint<16> y_groups;
  ap_uint<16> y_group0;
  ap_uint<16> y_row0;
  ap_uint<16> y_rows;
  ap_uint<16> y_cols;
  ap_uint<16> x_cols;
  ap_uint<16> x_height;
  ap_uint<16> x_slot;
  ap_uint<16> x_first;
  ap_uint<16> y_slot;
  ap_uint<16> r_slot;
  ap_uint<8> kernel_h;
  ap_uint<8> kernel_w;
  ap_uint<8> stride_h;
  ap_uint<8> stride_w;
  ap_uint<8> pad_top;
  ap_uint<8> pad_left;
  ap_int<8> x_zero;
  ap_uint<8> slots;
  ap_uint<16> w_row;
  ap_uint<16> t_row;
  ap_uint<16> w_rows;
  ap_uint<16> ci_groups;
  ap_uint<16> og_per_group;
  ap_uint<8> add_shift;
  ap_int<8> add_zero;
  ap_uint<16> channels;
  ap_uint<32> ddr;
  ap_uint<32> add_ma;
  ap_uint<32> add_mb;
  ap_int<32> add_constant;
  ap_uint<32> trace;
  ap_uint<16> y_height;
  ap_uint<8> block;
  ap_int<16> y_zero;
};

inline Header decode_header(const Word record[RECORD_WORDS]) {
#pragma HLS INLINE
  Header header;
  header.magic = field<0, 32>(record);
  header.version = field<4, 32>(record);
  header.instructions = field<8, 32>(record);
  header.weight_bytes = field<12, 32>(record);
  header.input_words = field<16, 32>(record);
  header.output_words = field<20, 32>(record);
  header.trace_words = field<24, 32>(record);
  header.config_hash = field<28, 32>(record);
  header.queue_counts[0] = field<36, 32>(record);
  header.queue_counts[1] = field<40, 32>(record);
  header.queue_counts[2] = field<44, 32>(record);
  header.queue_counts[3] = field<48, 32>(record);
  header.queue_counts[4] = field<52, 32>(record);
  header.queue_counts[5] = field<56, 32>(record);
  header.queue_counts[6] = field<60, 32>(record);
  header.queue_counts[7] = field<64, 32>(record);
  header.queue_counts[8] = field<68, 32>(record);
  return header;
}

inline Instruction decode_instruction(const Word record[RECORD_WORDS]) {
#pragma HLS INLINE
  Instruction ins;
  ins.opcode = field<0, 8>(record);
  ins.flags = field<1, 8>(record);
  ins.kernel = field<2, 16>(record);
  ins.x_pad = field<4, 8>(record);
  ins.r_pad = field<5, 8>(record);
  ins.y_pad = field<6, 8>(record);
  ins.mode = field<7, 8>(record);
  ins.x_base = field<8, 16>(record);
  ins.x_plane = field<10, 16>(record);
  ins.x_width = field<12, 16>(record);
  ins.x_ring = field<14, 16>(record);
  ins.x_groups = field<16, 16>(record);
  ins.r_base = field<18, 16>(record);
  ins.r_plane = field<20, 16>(record);
  ins.r_ring = field<22, 16>(record);
  ins.y_base = field<24, 16>(record);
  ins.y_plane = field<26, 16>(record);
  ins.y_width = field<28, 16>(record);
  ins.y_ring = field<30, 16>(record);
  ins.y_groups = field<32, 16>(record);
  ins.y_group0 = field<34, 16>(record);
  ins.y_row0 = field<36, 16>(record);
  ins.y_rows = field<38, 16>(record);
  ins.y_cols = field<40, 16>(record);
  ins.x_cols = field<42, 16>(record);
  ins.x_height = field<44, 16>(record);
  ins.x_slot = field<46, 16>(record);
  ins.x_first = field<48, 16>(record);
  ins.y_slot = field<50, 16>(record);
  ins.r_slot = field<52, 16>(record);
  ins.kernel_h = field<54, 8>(record);
  ins.kernel_w = field<55, 8>(record);
  ins.stride_h = field<56, 8>(record);
  ins.stride_w = field<57, 8>(record);
  ins.pad_top = field<58, 8>(record);
  ins.pad_left = field<59, 8>(record);
  ins.x_zero = field<60, 8>(record);
  ins.slots = field<61, 8>(record);
  ins.w_row = field<62, 16>(record);
  ins.t_row = field<64, 16>(record);
  ins.w_rows = field<66, 16>(record);
  ins.ci_groups = field<68, 16>(record);
  ins.og_per_group = field<70, 16>(record);
  ins.add_shift = field<72, 8>(record);
  ins.add_zero = field<73, 8>(record);
  ins.channels = field<74, 16>(record);
  ins.ddr = field<76, 32>(record);
  ins.add_ma = field<80, 32>(record);
  ins.add_mb = field<84, 32>(record);
  ins.add_constant = field<88, 32>(record);
  ins.trace = field<92, 32>(record);
  ins.y_height = field<96, 16>(record);
  ins.block = field<98, 8>(record);
  ins.y_zero = field<100, 16>(record);
  return ins;
}

inline bool has(const Instruction& ins, int flag) {
#pragma HLS INLINE
  return (ins.flags.to_int() & flag) != 0;
}

}  // namespace hwgen

#endif
