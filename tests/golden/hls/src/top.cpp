// SPDX-License-Identifier: Apache-2.0
// The accelerator. For each group of SLOTS frames it runs the Program in its sequential order: each instruction names its
// slot and the queue of the next one. The engines share the pads and the weight rings, so they are called one after the
// other.
#include "top.hpp"

#include "machine.hpp"

using hwgen::Word;

extern "C" void hwgen_top(const ap_uint<128>* program, const ap_uint<128>* weights0, const ap_uint<128>* weights1,
                          const ap_uint<128>* weights2, const ap_uint<128>* weights3, const ap_uint<128>* input,
                          ap_uint<128>* output, ap_uint<128>* trace, ap_uint<32> frames, ap_uint<32> trace_enable) {
  // clang-format off
#pragma HLS INTERFACE mode = m_axi port = program bundle = gmem_io offset = slave max_read_burst_length = 64 max_write_burst_length = 64 depth = 65536
#pragma HLS INTERFACE mode = m_axi port = weights0 bundle = gmem_w0 offset = slave max_read_burst_length = 256 depth = 2097152
#pragma HLS INTERFACE mode = m_axi port = weights1 bundle = gmem_w1 offset = slave max_read_burst_length = 256 depth = 2097152
#pragma HLS INTERFACE mode = m_axi port = weights2 bundle = gmem_w2 offset = slave max_read_burst_length = 256 depth = 2097152
#pragma HLS INTERFACE mode = m_axi port = weights3 bundle = gmem_w3 offset = slave max_read_burst_length = 256 depth = 2097152
#pragma HLS INTERFACE mode = m_axi port = input bundle = gmem_io offset = slave max_read_burst_length = 64 max_write_burst_length = 64 depth = 65536
#pragma HLS INTERFACE mode = m_axi port = output bundle = gmem_io offset = slave max_read_burst_length = 64 max_write_burst_length = 64 depth = 65536
#pragma HLS INTERFACE mode = m_axi port = trace bundle = gmem_io offset = slave max_read_burst_length = 64 max_write_burst_length = 64 depth = 2097152
// clang-format on
#pragma HLS INTERFACE mode = s_axilite port = program bundle = control
#pragma HLS INTERFACE mode = s_axilite port = weights0 bundle = control
#pragma HLS INTERFACE mode = s_axilite port = weights1 bundle = control
#pragma HLS INTERFACE mode = s_axilite port = weights2 bundle = control
#pragma HLS INTERFACE mode = s_axilite port = weights3 bundle = control
#pragma HLS INTERFACE mode = s_axilite port = input bundle = control
#pragma HLS INTERFACE mode = s_axilite port = output bundle = control
#pragma HLS INTERFACE mode = s_axilite port = trace bundle = control
#pragma HLS INTERFACE mode = s_axilite port = frames bundle = control
#pragma HLS INTERFACE mode = s_axilite port = trace_enable bundle = control
#pragma HLS INTERFACE mode = s_axilite port = return bundle = control

  // Not cleared at reset: a Program writes every word before it reads it.
  static Word pads[hwgen::PADS][hwgen::BANKS][hwgen::PAD_ROWS];
#pragma HLS ARRAY_PARTITION variable = pads complete dim = 1
#pragma HLS ARRAY_PARTITION variable = pads complete dim = 2
#pragma HLS BIND_STORAGE variable = pads type = ram_s2p impl = bram
#pragma HLS RESET variable = pads off
  static Word vectors[hwgen::VECTOR_ROWS];
#pragma HLS BIND_STORAGE variable = vectors type = ram_s2p impl = bram
#pragma HLS RESET variable = vectors off
  // A ring row is one 1024-bit word.
  static hwgen::Chunk ring[hwgen::WEIGHT_ROWS][hwgen::ROW_CHUNKS];
#pragma HLS ARRAY_RESHAPE variable = ring complete dim = 2
#pragma HLS BIND_STORAGE variable = ring type = ram_s2p impl = bram
#pragma HLS RESET variable = ring off
  static hwgen::TableWord tables[hwgen::TABLE_COPIES][hwgen::TABLE_WORDS];
#pragma HLS ARRAY_PARTITION variable = tables complete dim = 1
#pragma HLS BIND_STORAGE variable = tables type = ram_t2p impl = bram
#pragma HLS RESET variable = tables off

  Word record[hwgen::RECORD_WORDS];
#pragma HLS ARRAY_PARTITION variable = record complete
  hwgen::read_record(program, 0, record);
  const hwgen::Header header = hwgen::decode_header(record);
  if (header.magic != hwgen::MAGIC || header.version != hwgen::VERSION || header.config_hash != hwgen::CONFIG_HASH) {
    return;  // not a Program for this machine: touch nothing
  }

  hwgen::FrameWords group_words = {0, 0, 0};  // of the first frame of the group
groups_loop:
  for (unsigned frame = 0; frame < frames.to_uint(); frame += hwgen::SLOTS) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 64
    const ap_uint<8> existing = hwgen::existing_slots(frames.to_uint() - frame);
    unsigned next[hwgen::QUEUES];  // record of each queue's next instruction
#pragma HLS ARRAY_PARTITION variable = next complete
    unsigned first = 1;
  queues_loop:
    for (int q = 0; q < hwgen::QUEUES; ++q) {
#pragma HLS UNROLL
      next[q] = first;
      first += header.queue_counts[q].to_uint();
    }
    unsigned queue = header.first_queue.to_uint();
  instructions_loop:
    for (unsigned index = 0; index < header.instructions.to_uint(); ++index) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 1000
#ifndef __SYNTHESIS__
      hwgen::report_progress(frame, frames.to_uint(), index, header.instructions.to_uint());
#endif
      HWGEN_CHECK(queue < hwgen::QUEUES && next[queue] <= header.instructions.to_uint(),
                  "the Program names a queue without a next instruction");
      hwgen::read_record(program, next[queue], record);
      ++next[queue];
      hwgen::Instruction ins = hwgen::decode_instruction(record);
      hwgen::FrameWords words = group_words;
      hwgen::enter_slot(header, ins, words);
      queue = ins.next_queue.to_uint();
      if ((ins.slots & existing) == 0) {
        continue;  // its frame is one that the last group does not have
      }
      switch (ins.opcode.to_int()) {
        case hwgen::OP_LOAD_WEIGHTS:
          hwgen::run_load_weights(ins, weights0, weights1, weights2, weights3, ring);
          break;
        case hwgen::OP_LOAD_INPUT:
          hwgen::run_load_input(ins, input, words.input, pads, ring);
          break;
        case hwgen::OP_CONV:
          hwgen::run_conv(ins, pads, ring, tables);
          break;
        case hwgen::OP_DEPTHWISE:
          hwgen::run_depthwise(ins, pads, ring, tables);
          break;
        case hwgen::OP_ELTWISE:
          hwgen::run_eltwise(ins, pads, ring, tables);
          break;
        case hwgen::OP_ATTENTION:
          hwgen::run_attention(ins, pads, ring);
          break;
        case hwgen::OP_POOL:
          hwgen::run_pool(ins, pads, vectors, ring);
          break;
        case hwgen::OP_LINEAR:
          hwgen::run_linear(ins, pads, vectors, ring, tables);
          break;
        case hwgen::OP_LAYER_NORM:
          hwgen::run_layer_norm(ins, pads, vectors, ring, tables);
          break;
        case hwgen::OP_STORE:
          hwgen::run_store(ins, pads, vectors, output, words.output);
          break;
        default:
          HWGEN_CHECK(false, "the Program holds an unknown opcode");
          break;
      }
      const bool writes_tensor = ins.opcode != hwgen::OP_LOAD_WEIGHTS && ins.opcode != hwgen::OP_STORE;
      if (trace_enable != 0 && writes_tensor) {
        hwgen::run_trace(ins, pads, vectors, trace, words.trace);
      }
    }
    for (int s = 0; s < hwgen::SLOTS; ++s) {
#pragma HLS UNROLL
      hwgen::next_frame(header, group_words);
    }
  }
}
