// SPDX-License-Identifier: Apache-2.0
// Text that the tops of engine benches (sim/tops) share; see bench_memory.sv.
`ifndef HWGEN_BENCH_PORTS
`define HWGEN_BENCH_PORTS

// Ports of a top: clock, commands, and the host_* ports that sim/benches/engine.py drives.
`define BENCH_PORTS \
    input  wire logic                         clk, \
    input  wire logic                         reset, \
    input  wire logic                         command_valid, \
    input  wire instruction_t                 command, \
    input  wire logic [SLOT_BITS-1:0]         command_slot, \
    input  wire logic                         command_retain, \
    output var  logic                         command_ready, \
    output var  logic                         done, \
    input  wire write_t                       host_write, \
    input  wire logic [SLOT_BITS-1:0]         host_write_slot, \
    input  wire window_t                      host_window, \
    input  wire logic [SLOT_BITS-1:0]         host_window_slot, \
    output var  word_t [BANKS-1:0]            host_window_words, \
    input  wire logic                         host_ring_valid, \
    input  wire logic [15:0]                  host_ring_row, \
    input  wire row_t                         host_ring_data, \
    input  wire logic                         host_ring_stall, \
    input  wire logic                         host_vector_write_valid, \
    input  wire logic [SLOT_BITS-1:0]         host_vector_slot, \
    input  wire logic [15:0]                  host_vector_word, \
    input  wire word_t                        host_vector_write_data, \
    input  wire logic                         host_vector_read_valid, \
    output var  word_t                        host_vector_read_data, \
    output var  logic                         host_engine_writes, \
    output var  logic                         error_address

// Signals between engine and memories; with them both are instantiated with .*
`define BENCH_SIGNALS \
  window_t window; \
  logic [SLOT_BITS-1:0] window_slot, residual_slot, write_slot, vector_read_slot, vector_write_slot; \
  word_t [BANKS-1:0] window_words; \
  residual_t residual; \
  word_t [RESIDUAL_WORDS-1:0] residual_words; \
  write_t write; \
  logic ring_valid, ring_ready, ring_data_valid, vector_read_valid, vector_write_valid; \
  logic [15:0] ring_row, vector_read_word, vector_write_word; \
  row_t ring_data; \
  word_t vector_read_data, vector_write_data;

// For an engine without such a port.
`define BENCH_NO_WINDOW \
  assign window = '0; \
  assign window_slot = '0; \
  logic unused_window; \
  assign unused_window = &{1'b0, window_words};
`define BENCH_NO_RESIDUAL \
  assign residual = '0; \
  assign residual_slot = '0; \
  logic unused_residual; \
  assign unused_residual = &{1'b0, residual_words};
`define BENCH_NO_WRITE \
  assign write = '0; \
  assign write_slot = '0;
`define BENCH_NO_RING \
  assign ring_valid = 1'b0; \
  assign ring_row = '0; \
  logic unused_ring; \
  assign unused_ring = &{1'b0, ring_ready, ring_data_valid, ring_data};
`define BENCH_NO_VECTOR_READ \
  assign vector_read_valid = 1'b0; \
  assign vector_read_slot = '0; \
  assign vector_read_word = '0; \
  logic unused_vector_read; \
  assign unused_vector_read = &{1'b0, vector_read_data};
`define BENCH_NO_VECTOR_WRITE \
  assign vector_write_valid = 1'b0; \
  assign vector_write_slot = '0; \
  assign vector_write_word = '0; \
  assign vector_write_data = '0;

`endif
