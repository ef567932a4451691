// SPDX-License-Identifier: Apache-2.0
// io_port with the signals of a whole AXI port, for sim/benches/bench_io_port.py.
`include "axi_ports.svh"
`default_nettype none

module io_port_top #(
    parameter int MAX_BURST = 64,
    parameter int OUTSTANDING = 8,
    parameter int BEATS_BITS = 20
) (
    input  wire logic                  clk,
    input  wire logic                  reset,
    input  wire logic                  fetch_read_valid,
    output var  logic                  fetch_read_ready,
    input  wire logic [63:0]           fetch_read_address,
    input  wire logic [7:0]            fetch_read_beats,
    output var  logic                  fetch_data_valid,
    output var  logic [127:0]          fetch_data,
    output var  logic                  fetch_data_last,
    output var  logic                  fetch_data_error,
    input  wire logic                  input_read_valid,
    output var  logic                  input_read_ready,
    input  wire logic [63:0]           input_read_address,
    input  wire logic [7:0]            input_read_beats,
    output var  logic                  input_data_valid,
    output var  logic [127:0]          input_data,
    output var  logic                  input_data_last,
    output var  logic                  input_data_error,
    input  wire logic                  write_valid,
    output var  logic                  write_ready,
    input  wire logic [63:0]           write_address,
    input  wire logic [BEATS_BITS-1:0] write_beats,
    input  wire logic                  write_tag,
    input  wire logic                  write_final,
    input  wire logic                  word_valid,
    output var  logic                  word_ready,
    input  wire logic [127:0]          word,
    output var  logic                  finished,
    output var  logic                  finished_tag,
    output var  logic                  error_read,
    output var  logic                  error_write,
    output var  logic                  idle,
    `AXI_READ_PORTS(m),
    `AXI_WRITE_PORTS(m)
);

  `AXI_READ_CONSTANTS(m)
  `AXI_WRITE_CONSTANTS(m)

  io_port #(
      .MAX_BURST(MAX_BURST),
      .OUTSTANDING(OUTSTANDING),
      .BEATS_BITS(BEATS_BITS)
  ) u_port (
      .*,
      `AXI_READ_CONNECTIONS(m),
      `AXI_WRITE_CONNECTIONS(m)
  );

endmodule

`default_nettype wire
