// SPDX-License-Identifier: Apache-2.0
// Signals of AXI ports that the tops of benches share; sim/benches/axi_memory.py answers them. `p` is the prefix.
`ifndef HWGEN_AXI_PORTS
`define HWGEN_AXI_PORTS

`define AXI_READ_PORTS(p) \
    output var  logic [63:0]  p``_araddr, \
    output var  logic [7:0]   p``_arlen, \
    output var  logic [2:0]   p``_arsize, \
    output var  logic [1:0]   p``_arburst, \
    output var  logic         p``_arid, \
    output var  logic         p``_arvalid, \
    input  wire logic         p``_arready, \
    input  wire logic         p``_rid, \
    input  wire logic [127:0] p``_rdata, \
    input  wire logic [1:0]   p``_rresp, \
    input  wire logic         p``_rlast, \
    input  wire logic         p``_rvalid, \
    output var  logic         p``_rready

`define AXI_WRITE_PORTS(p) \
    output var  logic [63:0]  p``_awaddr, \
    output var  logic [7:0]   p``_awlen, \
    output var  logic [2:0]   p``_awsize, \
    output var  logic [1:0]   p``_awburst, \
    output var  logic         p``_awid, \
    output var  logic         p``_awvalid, \
    input  wire logic         p``_awready, \
    output var  logic [127:0] p``_wdata, \
    output var  logic [15:0]  p``_wstrb, \
    output var  logic         p``_wlast, \
    output var  logic         p``_wvalid, \
    input  wire logic         p``_wready, \
    input  wire logic         p``_bid, \
    input  wire logic [1:0]   p``_bresp, \
    input  wire logic         p``_bvalid, \
    output var  logic         p``_bready

// What the machine's top adds; `unused_p` takes the identifiers of the answers.
`define AXI_READ_CONSTANTS(p) \
  assign p``_arsize = 3'd4; \
  assign p``_arburst = 2'b01; \
  assign p``_arid = 1'b0; \
  logic unused_``p``_rid; \
  assign unused_``p``_rid = p``_rid;

`define AXI_WRITE_CONSTANTS(p) \
  assign p``_awsize = 3'd4; \
  assign p``_awburst = 2'b01; \
  assign p``_awid = 1'b0; \
  assign p``_wstrb = '1; \
  logic unused_``p``_bid; \
  assign unused_``p``_bid = p``_bid;

// Connections of io_port
`define AXI_READ_CONNECTIONS(p) \
      .araddr(p``_araddr), \
      .arlen(p``_arlen), \
      .arvalid(p``_arvalid), \
      .arready(p``_arready), \
      .rdata(p``_rdata), \
      .rresp(p``_rresp), \
      .rlast(p``_rlast), \
      .rvalid(p``_rvalid), \
      .rready(p``_rready)

`define AXI_WRITE_CONNECTIONS(p) \
      .awaddr(p``_awaddr), \
      .awlen(p``_awlen), \
      .awvalid(p``_awvalid), \
      .awready(p``_awready), \
      .wdata(p``_wdata), \
      .wlast(p``_wlast), \
      .wvalid(p``_wvalid), \
      .wready(p``_wready), \
      .bresp(p``_bresp), \
      .bvalid(p``_bvalid), \
      .bready(p``_bready)

`endif
