// SPDX-License-Identifier: Apache-2.0
// Splits a request (address, beats of 16 bytes) into AXI bursts. A burst ends at the next multiple of MAX_BURST beats, so
// none is longer than MAX_BURST and none crosses 4 KiB.
//
//   request --> {block, low, rest} --> burst {block, low} with (last ? rest : MAX_BURST-1) - low + 1 beats
//                 ^                       |
//                 +--- block + 1, low = 0 +
//
// block: address / (16 MAX_BURST); low: first beat in the block; rest: number of the last beat, counted from the first
// block's start: its upper bits count the blocks that follow.
//
// Latency: 1. A burst a cycle; one cycle without a burst between requests.
//
// MAX_BURST   beats, a power of two: 16 (AXI3) to 256
// BEATS_BITS  bits of request_beats, at least log2(MAX_BURST)
`default_nettype none

module axi_split #(
    parameter int MAX_BURST  = 64,
    parameter int BEATS_BITS = 8
) (
    input  wire logic                  clk,
    input  wire logic                  reset,
    input  wire logic                  request_valid,
    output var  logic                  request_ready,
    input  wire logic [63:0]           request_address,  // a multiple of 16
    input  wire logic [BEATS_BITS-1:0] request_beats,    // not 0
    output var  logic                  burst_valid,
    input  wire logic                  burst_take,       // with burst_valid only
    output var  logic [63:0]           burst_address,
    output var  logic [7:0]            burst_length,     // beats - 1
    output var  logic                  burst_last        // of its request
);

  localparam int Low = $clog2(MAX_BURST);

  logic [59-Low:0] block;
  logic [Low-1:0] low;
  logic [BEATS_BITS:0] rest;
  logic [Low-1:0] length;

  assign request_ready = !burst_valid;
  assign burst_address = {block, low, 4'b0};
  assign burst_last    = rest[BEATS_BITS:Low] == '0;
  assign length        = (burst_last ? rest[Low-1:0] : '1) - low;
  assign burst_length  = 8'(length);

  always_ff @(posedge clk) begin
    if (burst_valid) begin
      if (burst_take) begin
        block <= block + 1'b1;
        low <= '0;
        rest[BEATS_BITS:Low] <= rest[BEATS_BITS:Low] - 1'b1;
      end
    end else begin
      block <= request_address[63:4+Low];
      low <= request_address[3+Low:4];
      rest <= (BEATS_BITS + 1)'(request_beats) + (BEATS_BITS + 1)'(request_address[3+Low:4]) - 1'b1;
    end
    if (reset) burst_valid <= 1'b0;
    else if (burst_valid) burst_valid <= !(burst_take && burst_last);
    else burst_valid <= request_valid;
  end

  logic unused;
  assign unused = &{1'b0, request_address[3:0]};

endmodule

`default_nettype wire
