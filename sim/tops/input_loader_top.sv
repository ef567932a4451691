// SPDX-License-Identifier: Apache-2.0
// input_loader, io_port and memories, for sim/benches/bench_input_loader.py. The other reader of the port is the bench's.
`include "axi_ports.svh"
`include "bench_ports.svh"
`default_nettype none

module input_loader_top
  import config_pkg::*;
#(
    parameter int MAX_BURST = 64,
    parameter int DEPTH = 512
) (
    `BENCH_PORTS,
    input  wire logic [31:0] command_offset,
    input  wire logic [63:0] base,
    input  wire logic [31:0] input_words,
    output var  logic        error_bounds,
    output var  logic        error_read,
    output var  logic        idle,
    output var  logic        port_idle,
    input  wire logic        fetch_read_valid,
    output var  logic        fetch_read_ready,
    input  wire logic [63:0] fetch_read_address,
    input  wire logic [7:0]  fetch_read_beats,
    output var  logic        fetch_data_valid,
    `AXI_READ_PORTS(m)
);

  `BENCH_SIGNALS
  `BENCH_NO_WINDOW
  `BENCH_NO_RESIDUAL
  `BENCH_NO_VECTOR_READ
  `BENCH_NO_VECTOR_WRITE
  `AXI_READ_CONSTANTS(m)

  logic read_valid, read_ready, data_valid, data_last, data_error;
  logic [63:0] read_address;
  logic [7:0] read_beats;
  logic [127:0] data, fetch_data, wdata;
  logic fetch_data_last, fetch_data_error, write_ready, word_ready, finished, finished_tag, error_write;
  logic [63:0] awaddr;
  logic [7:0] awlen;
  logic awvalid, wlast, wvalid, bready;

  input_loader #(
      .DEPTH(DEPTH)
  ) u_engine (
      .*
  );
  bench_memory u_memory (.*);

  io_port #(
      .MAX_BURST(MAX_BURST)
  ) u_port (
      .clk,
      .reset,
      .input_read_valid(read_valid),
      .input_read_ready(read_ready),
      .input_read_address(read_address),
      .input_read_beats(read_beats),
      .input_data_valid(data_valid),
      .input_data(data),
      .input_data_last(data_last),
      .input_data_error(data_error),
      .write_valid(1'b0),
      .write_address('0),
      .write_beats('0),
      .write_tag(1'b0),
      .write_final(1'b0),
      .word_valid(1'b0),
      .word('0),
      .idle(port_idle),
      .awready(1'b0),
      .wready(1'b0),
      .bresp(2'b0),
      .bvalid(1'b0),
      .*,
      `AXI_READ_CONNECTIONS(m)
  );

  logic unused;
  assign unused = &{
    1'b0, window_words, residual_words, vector_read_data, data_error, fetch_data, fetch_data_last, fetch_data_error,
    write_ready, word_ready, finished, finished_tag, error_write, awaddr, awlen, awvalid, wdata, wlast, wvalid, bready
  };

endmodule

`default_nettype wire
