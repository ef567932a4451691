// SPDX-License-Identifier: Apache-2.0
// The accelerator as an IP of Vivado's catalog: hwgen_top in plain Verilog with the names of its buses.
//
// The IP packager reads no SystemVerilog at the top of an IP. CONFIG_HASH does nothing in hardware: the block design sets
// it, Vivado writes it into the .hwh, and the runtime compares it with the Program. AxCACHE and AxPROT are those of
// Vitis HLS: modifiable and bufferable, unprivileged.
`default_nettype none

module hwgen_ip #(
    parameter [31:0] CONFIG_HASH = 32'h00000000,
    parameter integer MAX_BURST = 64
) (
    (* X_INTERFACE_INFO = "xilinx.com:signal:clock:1.0 ap_clk CLK" *)
    (* X_INTERFACE_PARAMETER = "ASSOCIATED_BUSIF s_axi_control:m_axi_gmem_io:m_axi_gmem_w0:m_axi_gmem_w1:m_axi_gmem_w2:m_axi_gmem_w3, ASSOCIATED_RESET ap_rst_n" *)
    input wire ap_clk,
    (* X_INTERFACE_INFO = "xilinx.com:signal:reset:1.0 ap_rst_n RST" *)
    (* X_INTERFACE_PARAMETER = "POLARITY ACTIVE_LOW" *)
    input wire ap_rst_n,
    (* X_INTERFACE_INFO = "xilinx.com:signal:interrupt:1.0 interrupt INTERRUPT" *)
    (* X_INTERFACE_PARAMETER = "SENSITIVITY LEVEL_HIGH" *)
    /* verilator lint_off SYMRSVDWORD */
    output wire interrupt,
    /* verilator lint_on SYMRSVDWORD */

    (* X_INTERFACE_PARAMETER = "PROTOCOL AXI4LITE, DATA_WIDTH 32, ADDR_WIDTH 12" *)
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi_control AWVALID" *)
    input wire s_axi_control_AWVALID,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi_control AWREADY" *)
    output wire s_axi_control_AWREADY,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi_control AWADDR" *)
    input wire [11:0] s_axi_control_AWADDR,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi_control WVALID" *)
    input wire s_axi_control_WVALID,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi_control WREADY" *)
    output wire s_axi_control_WREADY,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi_control WDATA" *)
    input wire [31:0] s_axi_control_WDATA,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi_control WSTRB" *)
    input wire [3:0] s_axi_control_WSTRB,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi_control BVALID" *)
    output wire s_axi_control_BVALID,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi_control BREADY" *)
    input wire s_axi_control_BREADY,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi_control BRESP" *)
    output wire [1:0] s_axi_control_BRESP,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi_control ARVALID" *)
    input wire s_axi_control_ARVALID,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi_control ARREADY" *)
    output wire s_axi_control_ARREADY,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi_control ARADDR" *)
    input wire [11:0] s_axi_control_ARADDR,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi_control RVALID" *)
    output wire s_axi_control_RVALID,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi_control RREADY" *)
    input wire s_axi_control_RREADY,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi_control RDATA" *)
    output wire [31:0] s_axi_control_RDATA,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 s_axi_control RRESP" *)
    output wire [1:0] s_axi_control_RRESP,

    (* X_INTERFACE_PARAMETER = "PROTOCOL AXI4, DATA_WIDTH 128, ADDR_WIDTH 64, READ_WRITE_MODE READ_WRITE" *)
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_io AWADDR" *)
    output wire [63:0] m_axi_gmem_io_AWADDR,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_io AWLEN" *)
    output wire [7:0] m_axi_gmem_io_AWLEN,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_io AWSIZE" *)
    output wire [2:0] m_axi_gmem_io_AWSIZE,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_io AWBURST" *)
    output wire [1:0] m_axi_gmem_io_AWBURST,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_io AWCACHE" *)
    output wire [3:0] m_axi_gmem_io_AWCACHE,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_io AWPROT" *)
    output wire [2:0] m_axi_gmem_io_AWPROT,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_io AWVALID" *)
    output wire m_axi_gmem_io_AWVALID,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_io AWREADY" *)
    input wire m_axi_gmem_io_AWREADY,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_io WDATA" *)
    output wire [127:0] m_axi_gmem_io_WDATA,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_io WSTRB" *)
    output wire [15:0] m_axi_gmem_io_WSTRB,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_io WLAST" *)
    output wire m_axi_gmem_io_WLAST,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_io WVALID" *)
    output wire m_axi_gmem_io_WVALID,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_io WREADY" *)
    input wire m_axi_gmem_io_WREADY,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_io BRESP" *)
    input wire [1:0] m_axi_gmem_io_BRESP,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_io BVALID" *)
    input wire m_axi_gmem_io_BVALID,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_io BREADY" *)
    output wire m_axi_gmem_io_BREADY,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_io ARADDR" *)
    output wire [63:0] m_axi_gmem_io_ARADDR,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_io ARLEN" *)
    output wire [7:0] m_axi_gmem_io_ARLEN,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_io ARSIZE" *)
    output wire [2:0] m_axi_gmem_io_ARSIZE,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_io ARBURST" *)
    output wire [1:0] m_axi_gmem_io_ARBURST,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_io ARCACHE" *)
    output wire [3:0] m_axi_gmem_io_ARCACHE,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_io ARPROT" *)
    output wire [2:0] m_axi_gmem_io_ARPROT,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_io ARVALID" *)
    output wire m_axi_gmem_io_ARVALID,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_io ARREADY" *)
    input wire m_axi_gmem_io_ARREADY,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_io RDATA" *)
    input wire [127:0] m_axi_gmem_io_RDATA,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_io RRESP" *)
    input wire [1:0] m_axi_gmem_io_RRESP,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_io RLAST" *)
    input wire m_axi_gmem_io_RLAST,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_io RVALID" *)
    input wire m_axi_gmem_io_RVALID,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_io RREADY" *)
    output wire m_axi_gmem_io_RREADY,

    (* X_INTERFACE_PARAMETER = "PROTOCOL AXI4, DATA_WIDTH 128, ADDR_WIDTH 64, READ_WRITE_MODE READ_ONLY" *)
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w0 ARADDR" *)
    output wire [63:0] m_axi_gmem_w0_ARADDR,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w0 ARLEN" *)
    output wire [7:0] m_axi_gmem_w0_ARLEN,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w0 ARSIZE" *)
    output wire [2:0] m_axi_gmem_w0_ARSIZE,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w0 ARBURST" *)
    output wire [1:0] m_axi_gmem_w0_ARBURST,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w0 ARCACHE" *)
    output wire [3:0] m_axi_gmem_w0_ARCACHE,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w0 ARPROT" *)
    output wire [2:0] m_axi_gmem_w0_ARPROT,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w0 ARVALID" *)
    output wire m_axi_gmem_w0_ARVALID,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w0 ARREADY" *)
    input wire m_axi_gmem_w0_ARREADY,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w0 RDATA" *)
    input wire [127:0] m_axi_gmem_w0_RDATA,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w0 RRESP" *)
    input wire [1:0] m_axi_gmem_w0_RRESP,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w0 RLAST" *)
    input wire m_axi_gmem_w0_RLAST,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w0 RVALID" *)
    input wire m_axi_gmem_w0_RVALID,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w0 RREADY" *)
    output wire m_axi_gmem_w0_RREADY,

    (* X_INTERFACE_PARAMETER = "PROTOCOL AXI4, DATA_WIDTH 128, ADDR_WIDTH 64, READ_WRITE_MODE READ_ONLY" *)
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w1 ARADDR" *)
    output wire [63:0] m_axi_gmem_w1_ARADDR,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w1 ARLEN" *)
    output wire [7:0] m_axi_gmem_w1_ARLEN,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w1 ARSIZE" *)
    output wire [2:0] m_axi_gmem_w1_ARSIZE,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w1 ARBURST" *)
    output wire [1:0] m_axi_gmem_w1_ARBURST,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w1 ARCACHE" *)
    output wire [3:0] m_axi_gmem_w1_ARCACHE,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w1 ARPROT" *)
    output wire [2:0] m_axi_gmem_w1_ARPROT,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w1 ARVALID" *)
    output wire m_axi_gmem_w1_ARVALID,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w1 ARREADY" *)
    input wire m_axi_gmem_w1_ARREADY,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w1 RDATA" *)
    input wire [127:0] m_axi_gmem_w1_RDATA,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w1 RRESP" *)
    input wire [1:0] m_axi_gmem_w1_RRESP,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w1 RLAST" *)
    input wire m_axi_gmem_w1_RLAST,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w1 RVALID" *)
    input wire m_axi_gmem_w1_RVALID,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w1 RREADY" *)
    output wire m_axi_gmem_w1_RREADY,

    (* X_INTERFACE_PARAMETER = "PROTOCOL AXI4, DATA_WIDTH 128, ADDR_WIDTH 64, READ_WRITE_MODE READ_ONLY" *)
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w2 ARADDR" *)
    output wire [63:0] m_axi_gmem_w2_ARADDR,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w2 ARLEN" *)
    output wire [7:0] m_axi_gmem_w2_ARLEN,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w2 ARSIZE" *)
    output wire [2:0] m_axi_gmem_w2_ARSIZE,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w2 ARBURST" *)
    output wire [1:0] m_axi_gmem_w2_ARBURST,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w2 ARCACHE" *)
    output wire [3:0] m_axi_gmem_w2_ARCACHE,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w2 ARPROT" *)
    output wire [2:0] m_axi_gmem_w2_ARPROT,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w2 ARVALID" *)
    output wire m_axi_gmem_w2_ARVALID,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w2 ARREADY" *)
    input wire m_axi_gmem_w2_ARREADY,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w2 RDATA" *)
    input wire [127:0] m_axi_gmem_w2_RDATA,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w2 RRESP" *)
    input wire [1:0] m_axi_gmem_w2_RRESP,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w2 RLAST" *)
    input wire m_axi_gmem_w2_RLAST,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w2 RVALID" *)
    input wire m_axi_gmem_w2_RVALID,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w2 RREADY" *)
    output wire m_axi_gmem_w2_RREADY,

    (* X_INTERFACE_PARAMETER = "PROTOCOL AXI4, DATA_WIDTH 128, ADDR_WIDTH 64, READ_WRITE_MODE READ_ONLY" *)
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w3 ARADDR" *)
    output wire [63:0] m_axi_gmem_w3_ARADDR,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w3 ARLEN" *)
    output wire [7:0] m_axi_gmem_w3_ARLEN,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w3 ARSIZE" *)
    output wire [2:0] m_axi_gmem_w3_ARSIZE,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w3 ARBURST" *)
    output wire [1:0] m_axi_gmem_w3_ARBURST,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w3 ARCACHE" *)
    output wire [3:0] m_axi_gmem_w3_ARCACHE,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w3 ARPROT" *)
    output wire [2:0] m_axi_gmem_w3_ARPROT,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w3 ARVALID" *)
    output wire m_axi_gmem_w3_ARVALID,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w3 ARREADY" *)
    input wire m_axi_gmem_w3_ARREADY,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w3 RDATA" *)
    input wire [127:0] m_axi_gmem_w3_RDATA,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w3 RRESP" *)
    input wire [1:0] m_axi_gmem_w3_RRESP,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w3 RLAST" *)
    input wire m_axi_gmem_w3_RLAST,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w3 RVALID" *)
    input wire m_axi_gmem_w3_RVALID,
    (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 m_axi_gmem_w3 RREADY" *)
    output wire m_axi_gmem_w3_RREADY
);

  assign m_axi_gmem_io_AWCACHE = 4'b0011;
  assign m_axi_gmem_io_AWPROT = 3'b000;
  assign m_axi_gmem_io_ARCACHE = 4'b0011;
  assign m_axi_gmem_io_ARPROT = 3'b000;
  assign m_axi_gmem_w0_ARCACHE = 4'b0011;
  assign m_axi_gmem_w0_ARPROT = 3'b000;
  assign m_axi_gmem_w1_ARCACHE = 4'b0011;
  assign m_axi_gmem_w1_ARPROT = 3'b000;
  assign m_axi_gmem_w2_ARCACHE = 4'b0011;
  assign m_axi_gmem_w2_ARPROT = 3'b000;
  assign m_axi_gmem_w3_ARCACHE = 4'b0011;
  assign m_axi_gmem_w3_ARPROT = 3'b000;

  hwgen_top #(
      .MAX_BURST(MAX_BURST)
  ) u_top (
      .ap_clk(ap_clk),
      .ap_rst_n(ap_rst_n),
      .interrupt(interrupt),
      .s_axi_control_AWVALID(s_axi_control_AWVALID),
      .s_axi_control_AWREADY(s_axi_control_AWREADY),
      .s_axi_control_AWADDR(s_axi_control_AWADDR),
      .s_axi_control_WVALID(s_axi_control_WVALID),
      .s_axi_control_WREADY(s_axi_control_WREADY),
      .s_axi_control_WDATA(s_axi_control_WDATA),
      .s_axi_control_WSTRB(s_axi_control_WSTRB),
      .s_axi_control_BVALID(s_axi_control_BVALID),
      .s_axi_control_BREADY(s_axi_control_BREADY),
      .s_axi_control_BRESP(s_axi_control_BRESP),
      .s_axi_control_ARVALID(s_axi_control_ARVALID),
      .s_axi_control_ARREADY(s_axi_control_ARREADY),
      .s_axi_control_ARADDR(s_axi_control_ARADDR),
      .s_axi_control_RVALID(s_axi_control_RVALID),
      .s_axi_control_RREADY(s_axi_control_RREADY),
      .s_axi_control_RDATA(s_axi_control_RDATA),
      .s_axi_control_RRESP(s_axi_control_RRESP),
      .m_axi_gmem_io_AWADDR(m_axi_gmem_io_AWADDR),
      .m_axi_gmem_io_AWLEN(m_axi_gmem_io_AWLEN),
      .m_axi_gmem_io_AWSIZE(m_axi_gmem_io_AWSIZE),
      .m_axi_gmem_io_AWBURST(m_axi_gmem_io_AWBURST),
      .m_axi_gmem_io_AWVALID(m_axi_gmem_io_AWVALID),
      .m_axi_gmem_io_AWREADY(m_axi_gmem_io_AWREADY),
      .m_axi_gmem_io_WDATA(m_axi_gmem_io_WDATA),
      .m_axi_gmem_io_WSTRB(m_axi_gmem_io_WSTRB),
      .m_axi_gmem_io_WLAST(m_axi_gmem_io_WLAST),
      .m_axi_gmem_io_WVALID(m_axi_gmem_io_WVALID),
      .m_axi_gmem_io_WREADY(m_axi_gmem_io_WREADY),
      .m_axi_gmem_io_BRESP(m_axi_gmem_io_BRESP),
      .m_axi_gmem_io_BVALID(m_axi_gmem_io_BVALID),
      .m_axi_gmem_io_BREADY(m_axi_gmem_io_BREADY),
      .m_axi_gmem_io_ARADDR(m_axi_gmem_io_ARADDR),
      .m_axi_gmem_io_ARLEN(m_axi_gmem_io_ARLEN),
      .m_axi_gmem_io_ARSIZE(m_axi_gmem_io_ARSIZE),
      .m_axi_gmem_io_ARBURST(m_axi_gmem_io_ARBURST),
      .m_axi_gmem_io_ARVALID(m_axi_gmem_io_ARVALID),
      .m_axi_gmem_io_ARREADY(m_axi_gmem_io_ARREADY),
      .m_axi_gmem_io_RDATA(m_axi_gmem_io_RDATA),
      .m_axi_gmem_io_RRESP(m_axi_gmem_io_RRESP),
      .m_axi_gmem_io_RLAST(m_axi_gmem_io_RLAST),
      .m_axi_gmem_io_RVALID(m_axi_gmem_io_RVALID),
      .m_axi_gmem_io_RREADY(m_axi_gmem_io_RREADY),
      .m_axi_gmem_w0_ARADDR(m_axi_gmem_w0_ARADDR),
      .m_axi_gmem_w0_ARLEN(m_axi_gmem_w0_ARLEN),
      .m_axi_gmem_w0_ARSIZE(m_axi_gmem_w0_ARSIZE),
      .m_axi_gmem_w0_ARBURST(m_axi_gmem_w0_ARBURST),
      .m_axi_gmem_w0_ARVALID(m_axi_gmem_w0_ARVALID),
      .m_axi_gmem_w0_ARREADY(m_axi_gmem_w0_ARREADY),
      .m_axi_gmem_w0_RDATA(m_axi_gmem_w0_RDATA),
      .m_axi_gmem_w0_RRESP(m_axi_gmem_w0_RRESP),
      .m_axi_gmem_w0_RLAST(m_axi_gmem_w0_RLAST),
      .m_axi_gmem_w0_RVALID(m_axi_gmem_w0_RVALID),
      .m_axi_gmem_w0_RREADY(m_axi_gmem_w0_RREADY),
      .m_axi_gmem_w1_ARADDR(m_axi_gmem_w1_ARADDR),
      .m_axi_gmem_w1_ARLEN(m_axi_gmem_w1_ARLEN),
      .m_axi_gmem_w1_ARSIZE(m_axi_gmem_w1_ARSIZE),
      .m_axi_gmem_w1_ARBURST(m_axi_gmem_w1_ARBURST),
      .m_axi_gmem_w1_ARVALID(m_axi_gmem_w1_ARVALID),
      .m_axi_gmem_w1_ARREADY(m_axi_gmem_w1_ARREADY),
      .m_axi_gmem_w1_RDATA(m_axi_gmem_w1_RDATA),
      .m_axi_gmem_w1_RRESP(m_axi_gmem_w1_RRESP),
      .m_axi_gmem_w1_RLAST(m_axi_gmem_w1_RLAST),
      .m_axi_gmem_w1_RVALID(m_axi_gmem_w1_RVALID),
      .m_axi_gmem_w1_RREADY(m_axi_gmem_w1_RREADY),
      .m_axi_gmem_w2_ARADDR(m_axi_gmem_w2_ARADDR),
      .m_axi_gmem_w2_ARLEN(m_axi_gmem_w2_ARLEN),
      .m_axi_gmem_w2_ARSIZE(m_axi_gmem_w2_ARSIZE),
      .m_axi_gmem_w2_ARBURST(m_axi_gmem_w2_ARBURST),
      .m_axi_gmem_w2_ARVALID(m_axi_gmem_w2_ARVALID),
      .m_axi_gmem_w2_ARREADY(m_axi_gmem_w2_ARREADY),
      .m_axi_gmem_w2_RDATA(m_axi_gmem_w2_RDATA),
      .m_axi_gmem_w2_RRESP(m_axi_gmem_w2_RRESP),
      .m_axi_gmem_w2_RLAST(m_axi_gmem_w2_RLAST),
      .m_axi_gmem_w2_RVALID(m_axi_gmem_w2_RVALID),
      .m_axi_gmem_w2_RREADY(m_axi_gmem_w2_RREADY),
      .m_axi_gmem_w3_ARADDR(m_axi_gmem_w3_ARADDR),
      .m_axi_gmem_w3_ARLEN(m_axi_gmem_w3_ARLEN),
      .m_axi_gmem_w3_ARSIZE(m_axi_gmem_w3_ARSIZE),
      .m_axi_gmem_w3_ARBURST(m_axi_gmem_w3_ARBURST),
      .m_axi_gmem_w3_ARVALID(m_axi_gmem_w3_ARVALID),
      .m_axi_gmem_w3_ARREADY(m_axi_gmem_w3_ARREADY),
      .m_axi_gmem_w3_RDATA(m_axi_gmem_w3_RDATA),
      .m_axi_gmem_w3_RRESP(m_axi_gmem_w3_RRESP),
      .m_axi_gmem_w3_RLAST(m_axi_gmem_w3_RLAST),
      .m_axi_gmem_w3_RVALID(m_axi_gmem_w3_RVALID),
      .m_axi_gmem_w3_RREADY(m_axi_gmem_w3_RREADY)
  );

endmodule

`default_nettype wire
