// SPDX-License-Identifier: Apache-2.0
// store_engine, io_port and memories, for sim/benches/bench_store_engine.py.
`include "axi_ports.svh"
`include "bench_ports.svh"
`default_nettype none

module store_engine_top
  import config_pkg::*;
#(
    parameter int MAX_BURST = 64
) (
    `BENCH_PORTS,
    input  wire logic [31:0]          command_offset,
    input  wire logic                 trace_valid,
    input  wire instruction_t         trace_command,
    input  wire logic [SLOT_BITS-1:0] trace_slot,
    input  wire logic [31:0]          trace_offset,
    output var  logic                 trace_ready,
    output var  logic                 trace_done,
    input  wire logic [63:0]          output_base,
    input  wire logic [63:0]          trace_base,
    input  wire logic [31:0]          output_words,
    output var  logic                 error_bounds,
    output var  logic                 error_write,
    output var  logic                 idle,
    output var  logic                 port_idle,
    `AXI_WRITE_PORTS(m)
);

  `BENCH_SIGNALS
  `BENCH_NO_RESIDUAL
  `BENCH_NO_WRITE
  `BENCH_NO_RING
  `BENCH_NO_VECTOR_WRITE
  `AXI_WRITE_CONSTANTS(m)

  logic write_valid, write_ready, write_tag, write_final, word_valid, word_ready, finished, finished_tag;
  logic [63:0] write_address, araddr;
  logic [19:0] write_beats;
  logic [127:0] word, fetch_data, input_data;
  logic fetch_read_ready, fetch_data_valid, fetch_data_last, fetch_data_error;
  logic input_read_ready, input_data_valid, input_data_last, input_data_error;
  logic [7:0] arlen;
  logic error_read, arvalid, rready;

  store_engine u_engine (.*);
  bench_memory u_memory (.*);

  io_port #(
      .MAX_BURST(MAX_BURST)
  ) u_port (
      .fetch_read_valid(1'b0),
      .fetch_read_address('0),
      .fetch_read_beats('0),
      .input_read_valid(1'b0),
      .input_read_address('0),
      .input_read_beats('0),
      .idle(port_idle),
      .arready(1'b0),
      .rdata('0),
      .rresp(2'b0),
      .rlast(1'b0),
      .rvalid(1'b0),
      .*,
      `AXI_WRITE_CONNECTIONS(m)
  );

  logic unused;
  assign unused = &{
    1'b0, command_retain, residual_words, ring_ready, ring_data_valid, ring_data, araddr, fetch_data, input_data, arlen,
    fetch_read_ready, fetch_data_valid, fetch_data_last, fetch_data_error, input_read_ready, input_data_valid,
    input_data_last, input_data_error, error_read, arvalid, rready
  };

endmodule

`default_nettype wire
