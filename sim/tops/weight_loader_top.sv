// SPDX-License-Identifier: Apache-2.0
// weight_loader with the signals of four whole AXI ports, for sim/benches/bench_weight_loader.py.
`include "axi_ports.svh"
`default_nettype none

module weight_loader_top
  import config_pkg::*;
#(
    parameter int MAX_BURST = 64,
    parameter int OUTSTANDING = 8,
    parameter int LOW_OUTSTANDING = 4
) (
    input  wire logic               clk,
    input  wire logic               reset,
    input  wire logic [1:0]         command_valid,
    input  wire instruction_t [1:0] command,
    output var  logic [1:0]         command_ready,
    output var  logic [1:0]         done,
    input  wire logic [3:0][63:0]   base,
    input  wire logic [31:0]        weight_bytes,
    output var  logic               error_bounds,
    output var  logic               error_read,
    output var  logic               idle,
    output var  logic [3:0]         write_valid,
    output var  logic [3:0]         write_head,
    output var  logic [3:0][15:0]   write_row,
    output var  logic [3:0][255:0]  write_data,
    `AXI_READ_PORTS(m0),
    `AXI_READ_PORTS(m1),
    `AXI_READ_PORTS(m2),
    `AXI_READ_PORTS(m3)
);

  `AXI_READ_CONSTANTS(m0)
  `AXI_READ_CONSTANTS(m1)
  `AXI_READ_CONSTANTS(m2)
  `AXI_READ_CONSTANTS(m3)

  weight_loader #(
      .MAX_BURST(MAX_BURST),
      .OUTSTANDING(OUTSTANDING),
      .LOW_OUTSTANDING(LOW_OUTSTANDING)
  ) u_loader (
      .clk,
      .reset,
      .command_valid,
      .command,
      .command_ready,
      .done,
      .base,
      .weight_bytes,
      .error_bounds,
      .error_read,
      .idle,
      .write_valid,
      .write_head,
      .write_row,
      .write_data,
      .araddr({m3_araddr, m2_araddr, m1_araddr, m0_araddr}),
      .arlen({m3_arlen, m2_arlen, m1_arlen, m0_arlen}),
      .arvalid({m3_arvalid, m2_arvalid, m1_arvalid, m0_arvalid}),
      .arready({m3_arready, m2_arready, m1_arready, m0_arready}),
      .rdata({m3_rdata, m2_rdata, m1_rdata, m0_rdata}),
      .rresp({m3_rresp, m2_rresp, m1_rresp, m0_rresp}),
      .rlast({m3_rlast, m2_rlast, m1_rlast, m0_rlast}),
      .rvalid({m3_rvalid, m2_rvalid, m1_rvalid, m0_rvalid}),
      .rready({m3_rready, m2_rready, m1_rready, m0_rready})
  );

endmodule

`default_nettype wire
