// SPDX-License-Identifier: Apache-2.0
// The accelerator: a network of tasks, each with its own state, joined by streams of bounded depth. Nothing is shared.
//
//   begin --> fetch --> dispatch --> engines --> activations, weight_ring, head_ring, store
//                          ^--------- tokens ---------+
//             dispatch --> end
//
// begin and end are the only processes that a start of the block starts; the tasks run for ever and wait for data. Queues
// run at the same time: an instruction starts when what it waits for is complete (docs/program-format.md).
#include "top.hpp"

#include <hls_task.h>

#include "attention.hpp"
#include "conv.hpp"
#include "depthwise.hpp"
#include "dispatch.hpp"
#include "eltwise.hpp"
#include "loader.hpp"
#include "mlp.hpp"
#include "store.hpp"
#include "weights.hpp"

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
#pragma HLS STABLE variable = program
#pragma HLS STABLE variable = weights0
#pragma HLS STABLE variable = weights1
#pragma HLS STABLE variable = weights2
#pragma HLS STABLE variable = weights3
#pragma HLS STABLE variable = input
#pragma HLS STABLE variable = output
#pragma HLS STABLE variable = trace
#pragma HLS DATAFLOW

  // Start and end, header, instructions.
  hls_thread_local hls::stream<hwgen::Start, hwgen::STARTS> starts("starts");
  hls_thread_local hls::stream<hwgen::Run, hwgen::STARTS> runs("runs");
  hls_thread_local hls::stream<hwgen::Token, hwgen::STARTS> finished("finished");
  hls_thread_local hls::stream<hwgen::IoRequest, hwgen::IO_REQUESTS> record_requests("record_requests");
  hls_thread_local hls::stream<Word, hwgen::IO_WORDS> record_words("record_words");
  hls_thread_local hls::stream<Word, hwgen::RECORDS> weights_records("weights_records");
  hls_thread_local hls::stream<Word, hwgen::RECORDS> head_records("head_records");
  hls_thread_local hls::stream<Word, hwgen::RECORDS> input_records("input_records");
  hls_thread_local hls::stream<Word, hwgen::RECORDS> array_records("array_records");
  hls_thread_local hls::stream<Word, hwgen::RECORDS> depthwise_records("depthwise_records");
  hls_thread_local hls::stream<Word, hwgen::RECORDS> eltwise_records("eltwise_records");
  hls_thread_local hls::stream<Word, hwgen::RECORDS> attention_records("attention_records");
  hls_thread_local hls::stream<Word, hwgen::RECORDS> mlp_records("mlp_records");
  hls_thread_local hls::stream<Word, hwgen::RECORDS> store_records("store_records");
  // Instructions to the engines and within them, and the tokens when they are complete.
  hls_thread_local hls::stream<Word, hwgen::COMMANDS> weights_commands("weights_commands");
  hls_thread_local hls::stream<Word, hwgen::COMMANDS> head_commands("head_commands");
  hls_thread_local hls::stream<Word, hwgen::COMMANDS> input_commands("input_commands");
  hls_thread_local hls::stream<Word, hwgen::COMMANDS> array_commands("array_commands");
  hls_thread_local hls::stream<Word, hwgen::COMMANDS> depthwise_commands("depthwise_commands");
  hls_thread_local hls::stream<Word, hwgen::COMMANDS> eltwise_commands("eltwise_commands");
  hls_thread_local hls::stream<Word, hwgen::COMMANDS> attention_commands("attention_commands");
  hls_thread_local hls::stream<Word, hwgen::COMMANDS> mlp_commands("mlp_commands");
  hls_thread_local hls::stream<Word, hwgen::COMMANDS> store_commands("store_commands");
  hls_thread_local hls::stream<hwgen::Token, hwgen::TOKENS> weights_done("weights_done");
  hls_thread_local hls::stream<hwgen::Token, hwgen::TOKENS> head_done("head_done");
  hls_thread_local hls::stream<hwgen::Token, hwgen::TOKENS> input_done("input_done");
  hls_thread_local hls::stream<hwgen::Token, hwgen::TOKENS> array_done("array_done");
  hls_thread_local hls::stream<hwgen::Token, hwgen::TOKENS> depthwise_done("depthwise_done");
  hls_thread_local hls::stream<hwgen::Token, hwgen::TOKENS> eltwise_done("eltwise_done");
  hls_thread_local hls::stream<hwgen::Token, hwgen::TOKENS> attention_done("attention_done");
  hls_thread_local hls::stream<hwgen::Token, hwgen::TOKENS> mlp_done("mlp_done");
  hls_thread_local hls::stream<hwgen::Token, hwgen::TOKENS> store_done("store_done");
  hls_thread_local hls::stream<Word, hwgen::COMMANDS> trace_commands("trace_commands");
  hls_thread_local hls::stream<hwgen::Token, hwgen::TOKENS> trace_done("trace_done");
  hls_thread_local hls::stream<Word, hwgen::COMMANDS> input_load_commands("input_load_commands");
  hls_thread_local hls::stream<Word, hwgen::COMMANDS> array_compute_commands("array_compute_commands");
  hls_thread_local hls::stream<Word, hwgen::COMMANDS> array_address_commands("array_address_commands");
  hls_thread_local hls::stream<Word, hwgen::COMMANDS> array_finish_commands("array_finish_commands");
  hls_thread_local hls::stream<Word, hwgen::COMMANDS> depthwise_compute_commands("depthwise_compute_commands");
  hls_thread_local hls::stream<Word, hwgen::COMMANDS> eltwise_compute_commands("eltwise_compute_commands");
  hls_thread_local hls::stream<Word, hwgen::COMMANDS> attention_compute_commands("attention_compute_commands");
  hls_thread_local hls::stream<Word, hwgen::COMMANDS> mlp_compute_commands("mlp_compute_commands");
  // Weights.
  hls_thread_local hls::stream<hwgen::BeatRequest, hwgen::CHUNKS> beat_requests0("beat_requests0");
  hls_thread_local hls::stream<hwgen::BeatRequest, hwgen::CHUNKS> beat_requests1("beat_requests1");
  hls_thread_local hls::stream<hwgen::BeatRequest, hwgen::CHUNKS> beat_requests2("beat_requests2");
  hls_thread_local hls::stream<hwgen::BeatRequest, hwgen::CHUNKS> beat_requests3("beat_requests3");
  hls_thread_local hls::stream<Word, hwgen::CHUNK_BEATS> beats0("beats0");
  hls_thread_local hls::stream<Word, hwgen::CHUNK_BEATS> beats1("beats1");
  hls_thread_local hls::stream<Word, hwgen::CHUNK_BEATS> beats2("beats2");
  hls_thread_local hls::stream<Word, hwgen::CHUNK_BEATS> beats3("beats3");
  hls_thread_local hls::stream<hwgen::RowChunk, hwgen::CHUNKS> row_chunks("row_chunks");
  hls_thread_local hls::stream<hwgen::RowWrite, hwgen::ROW_WRITES> weight_rows("weight_rows");
  hls_thread_local hls::stream<hwgen::RowWrite, hwgen::ROW_WRITES> head_rows("head_rows");
  hls_thread_local hls::stream<hwgen::RowRequest, hwgen::ROW_REQUESTS> array_row_requests("array_row_requests");
  hls_thread_local hls::stream<hwgen::Row, hwgen::ANSWERS> array_rows("array_rows");
  hls_thread_local hls::stream<hwgen::RowRequest, hwgen::ROW_REQUESTS> depthwise_row_requests("depthwise_row_requests");
  hls_thread_local hls::stream<hwgen::Row, hwgen::ANSWERS> depthwise_rows("depthwise_rows");
  hls_thread_local hls::stream<hwgen::RowRequest, hwgen::ROW_REQUESTS> eltwise_row_requests("eltwise_row_requests");
  hls_thread_local hls::stream<hwgen::Row, hwgen::ANSWERS> eltwise_rows("eltwise_rows");
  hls_thread_local hls::stream<hwgen::RowRequest, hwgen::ROW_REQUESTS> attention_row_requests("attention_row_requests");
  hls_thread_local hls::stream<hwgen::Row, hwgen::ANSWERS> attention_rows("attention_rows");
  hls_thread_local hls::stream<hwgen::RowRequest, hwgen::ROW_REQUESTS> input_row_requests("input_row_requests");
  hls_thread_local hls::stream<hwgen::Row, hwgen::ANSWERS> input_rows("input_rows");
  hls_thread_local hls::stream<hwgen::RowRequest, hwgen::ROW_REQUESTS> mlp_row_requests("mlp_row_requests");
  hls_thread_local hls::stream<hwgen::Row, hwgen::ANSWERS> mlp_rows("mlp_rows");
  // Activations.
  hls_thread_local hls::stream<hwgen::IoRequest, hwgen::IO_REQUESTS> image_requests("image_requests");
  hls_thread_local hls::stream<Word, hwgen::IO_WORDS> image_words("image_words");
  hls_thread_local hls::stream<hwgen::Window, hwgen::REQUESTS> array_reads("array_reads");
  hls_thread_local hls::stream<hwgen::Words<hwgen::BANKS>, hwgen::ANSWERS> array_words("array_words");
  hls_thread_local hls::stream<hwgen::Window, hwgen::REQUESTS> residual_reads("residual_reads");
  hls_thread_local hls::stream<hwgen::Words<1>, hwgen::ANSWERS> residual_words("residual_words");
  hls_thread_local hls::stream<hwgen::Window, hwgen::REQUESTS> depthwise_reads("depthwise_reads");
  hls_thread_local hls::stream<hwgen::Words<hwgen::BANKS>, hwgen::ANSWERS> depthwise_words("depthwise_words");
  hls_thread_local hls::stream<hwgen::Window, hwgen::REQUESTS> eltwise_reads("eltwise_reads");
  hls_thread_local hls::stream<hwgen::Words<1>, hwgen::ANSWERS> eltwise_words("eltwise_words");
  hls_thread_local hls::stream<hwgen::Window, hwgen::REQUESTS> addend_reads("addend_reads");
  hls_thread_local hls::stream<hwgen::Words<1>, hwgen::ANSWERS> addend_words("addend_words");
  hls_thread_local hls::stream<hwgen::Window, hwgen::REQUESTS> attention_reads("attention_reads");
  hls_thread_local hls::stream<hwgen::Words<hwgen::BANKS>, hwgen::ANSWERS> attention_words("attention_words");
  hls_thread_local hls::stream<hwgen::Window, hwgen::REQUESTS> mlp_reads("mlp_reads");
  hls_thread_local hls::stream<hwgen::Words<hwgen::POOL_PIXELS>, hwgen::ANSWERS> mlp_words("mlp_words");
  hls_thread_local hls::stream<hwgen::Window, hwgen::REQUESTS> store_reads("store_reads");
  hls_thread_local hls::stream<hwgen::Words<1>, hwgen::ANSWERS> store_words("store_words");
  hls_thread_local hls::stream<hwgen::Write<1>, hwgen::WRITES> input_writes("input_writes");
  hls_thread_local hls::stream<hwgen::Write<hwgen::EPILOGUE_WORDS>, hwgen::WRITES> array_writes("array_writes");
  hls_thread_local hls::stream<hwgen::Write<hwgen::DW_PIXELS>, hwgen::WRITES> depthwise_writes("depthwise_writes");
  hls_thread_local hls::stream<hwgen::Write<1>, hwgen::WRITES> eltwise_writes("eltwise_writes");
  hls_thread_local hls::stream<hwgen::Write<1>, hwgen::WRITES> attention_writes("attention_writes");
  hls_thread_local hls::stream<hwgen::Write<1>, hwgen::WRITES> mlp_writes("mlp_writes");
  // Inside the engines.
  hls_thread_local hls::stream<hwgen::Row, hwgen::PASSED_ROWS> array_passed("array_passed");
  hls_thread_local hls::stream_of_blocks<hwgen::AccumulatorBlock, hwgen::BLOCKS_OF_SUMS> array_sums("array_sums");
  hls_thread_local hls::stream<hwgen::Window, hwgen::TARGETS> array_targets("array_targets");
  hls_thread_local hls::stream<hwgen::Window, hwgen::ANSWERS> eltwise_targets("eltwise_targets");
  hls_thread_local hls::stream<hwgen::HeadLayout, hwgen::LAYOUTS> attention_layouts("attention_layouts");
  hls_thread_local hls::stream<hwgen::StoreBurst, hwgen::STORE_BURSTS> store_bursts("store_bursts");
#pragma HLS BIND_STORAGE variable = array_words type = fifo impl = lutram
#pragma HLS BIND_STORAGE variable = depthwise_words type = fifo impl = lutram
#pragma HLS BIND_STORAGE variable = attention_words type = fifo impl = lutram
#pragma HLS BIND_STORAGE variable = mlp_words type = fifo impl = lutram
#pragma HLS BIND_STORAGE variable = array_rows type = fifo impl = lutram
#pragma HLS BIND_STORAGE variable = depthwise_rows type = fifo impl = lutram
#pragma HLS BIND_STORAGE variable = eltwise_rows type = fifo impl = lutram
#pragma HLS BIND_STORAGE variable = attention_rows type = fifo impl = lutram
#pragma HLS BIND_STORAGE variable = input_rows type = fifo impl = lutram
#pragma HLS BIND_STORAGE variable = mlp_rows type = fifo impl = lutram
#pragma HLS BIND_STORAGE variable = array_passed type = fifo impl = lutram
#pragma HLS BIND_STORAGE variable = beats0 type = fifo impl = bram
#pragma HLS BIND_STORAGE variable = beats1 type = fifo impl = bram
#pragma HLS BIND_STORAGE variable = beats2 type = fifo impl = bram
#pragma HLS BIND_STORAGE variable = beats3 type = fifo impl = bram
// A cycle of the array adds to a word of every block and lane.
#pragma HLS ARRAY_PARTITION variable = array_sums complete dim = 2
#pragma HLS ARRAY_PARTITION variable = array_sums complete dim = 3
#pragma HLS BIND_STORAGE variable = array_sums type = ram_s2p impl = lutram

  hwgen::begin(frames, trace_enable, starts);
  hls_thread_local hls::task read_io(hwgen::read_io, program, input, record_requests, record_words, image_requests,
                                     image_words);
  hls_thread_local hls::task fetch(hwgen::fetch, starts, record_requests, record_words, runs, weights_records,
                                   head_records, input_records, array_records, depthwise_records, eltwise_records,
                                   attention_records, mlp_records, store_records);
  hls_thread_local hls::task dispatch(
      hwgen::dispatch, runs, weights_records, weights_commands, weights_done, head_records, head_commands, head_done,
      input_records, input_commands, input_done, array_records, array_commands, array_done, depthwise_records,
      depthwise_commands, depthwise_done, eltwise_records, eltwise_commands, eltwise_done, attention_records,
      attention_commands, attention_done, mlp_records, mlp_commands, mlp_done, store_records, store_commands,
      store_done, trace_commands, trace_done, finished);
  hls_thread_local hls::task load_chunks(hwgen::load_chunks, weights_commands, head_commands, beat_requests0,
                                         beat_requests1, beat_requests2, beat_requests3, row_chunks);
  hls_thread_local hls::task read_port0(hwgen::read_port<0>, weights0, beat_requests0, beats0);
  hls_thread_local hls::task read_port1(hwgen::read_port<1>, weights1, beat_requests1, beats1);
  hls_thread_local hls::task read_port2(hwgen::read_port<2>, weights2, beat_requests2, beats2);
  hls_thread_local hls::task read_port3(hwgen::read_port<3>, weights3, beat_requests3, beats3);
  hls_thread_local hls::task assemble_rows(hwgen::assemble_rows, row_chunks, beats0, beats1, beats2, beats3,
                                           weight_rows, head_rows);
  hls_thread_local hls::task weight_ring(hwgen::weight_ring, array_row_requests, array_rows, depthwise_row_requests,
                                         depthwise_rows, eltwise_row_requests, eltwise_rows, attention_row_requests,
                                         attention_rows, input_row_requests, input_rows, weight_rows, weights_done);
  hls_thread_local hls::task head_ring(hwgen::head_ring, mlp_row_requests, mlp_rows, head_rows, head_done);
  hls_thread_local hls::task activations(
      hwgen::activations, array_reads, array_words, residual_reads, residual_words, depthwise_reads, depthwise_words,
      eltwise_reads, eltwise_words, addend_reads, addend_words, attention_reads, attention_words, mlp_reads, mlp_words,
      store_reads, store_words, input_writes, array_writes, depthwise_writes, eltwise_writes, attention_writes,
      mlp_writes, input_done, array_done, depthwise_done, eltwise_done, attention_done, mlp_done);
  hls_thread_local hls::task input_issue(hwgen::input_issue, input_commands, input_load_commands, image_requests,
                                         input_row_requests);
  hls_thread_local hls::task input_load(hwgen::input_load, input_load_commands, image_words, input_rows, input_writes);
  hls_thread_local hls::task conv_issue(hwgen::conv_issue, array_commands, array_compute_commands,
                                        array_address_commands, array_reads, array_row_requests);
  hls_thread_local hls::task conv_compute(hwgen::conv_compute, array_compute_commands, array_finish_commands,
                                          array_words, array_rows, array_passed, array_sums);
  hls_thread_local hls::task conv_address(hwgen::conv_address, array_address_commands, array_targets, residual_reads);
  hls_thread_local hls::task conv_finish(hwgen::conv_finish, array_finish_commands, array_passed, array_sums,
                                         array_targets, residual_words, array_writes);
  hls_thread_local hls::task depthwise_issue(hwgen::depthwise_issue, depthwise_commands, depthwise_compute_commands,
                                             depthwise_reads, depthwise_row_requests);
  hls_thread_local hls::task depthwise_compute(hwgen::depthwise_compute, depthwise_compute_commands, depthwise_words,
                                               depthwise_rows, depthwise_writes);
  hls_thread_local hls::task eltwise_issue(hwgen::eltwise_issue, eltwise_commands, eltwise_compute_commands,
                                           eltwise_reads, addend_reads, eltwise_targets, eltwise_row_requests);
  hls_thread_local hls::task eltwise_compute(hwgen::eltwise_compute, eltwise_compute_commands, eltwise_words,
                                             addend_words, eltwise_targets, eltwise_rows, eltwise_writes);
  hls_thread_local hls::task attention_issue(hwgen::attention_issue, attention_commands, attention_compute_commands,
                                             attention_layouts, attention_reads, attention_row_requests);
  hls_thread_local hls::task attention_compute(hwgen::attention_compute, attention_compute_commands, attention_layouts,
                                               attention_words, attention_rows, attention_writes);
  hls_thread_local hls::task mlp_issue(hwgen::mlp_issue, mlp_commands, mlp_compute_commands, mlp_reads,
                                       mlp_row_requests);
  hls_thread_local hls::task mlp_compute(hwgen::mlp_compute, mlp_compute_commands, mlp_words, mlp_rows, mlp_writes);
  hls_thread_local hls::task store_issue(hwgen::store_issue, store_commands, trace_commands, store_reads, store_bursts);
  hls_thread_local hls::task store_write(hwgen::store_write, output, trace, store_bursts, store_words, store_done,
                                         trace_done);
  hwgen::end(finished);
}
