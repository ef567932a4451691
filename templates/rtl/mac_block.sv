// SPDX-License-Identifier: Apache-2.0
// Block of the MAC array: 2 PAIRS output channels x DEPTH input channels x one pixel.
//
//   x[DEPTH] --> skew --+--> dsp_mac2 --> even[0], odd[0]
//   swap ------> skew --+--> dsp_mac2 --> even[1], odd[1]
//                       +--> ...          (one staircase for all pairs)
//   packed_sum, valid --> DEPTH + 2 cycles --> separation, out_valid
//
// Latency: cascade DEPTH + 3 (dsp_mac2). Initiation interval 1.
// Stall: nothing moves while `advance` is low, out_valid included; no value is lost. `reset` clears out_valid only.
// weight[p][i] and load[p][i] come i cycles after weight[p][0] (one skew.sv serves all blocks that share a tile); swap
// comes with the first x that meets the new operands, at the earliest one cycle after load[.][0].
//
// PAIRS      pairs of output channels
// DEPTH      input channels, at most 16
// PRIMITIVE  see dsp_mac2
`default_nettype none

module mac_block #(
    parameter int PAIRS = 8,
    parameter int DEPTH = 16,
`ifdef SYNTHESIS
    parameter bit PRIMITIVE = 1'b1
`else
    parameter bit PRIMITIVE = 1'b0
`endif
) (
    input  wire logic                              clk,
    input  wire logic                              reset,
    input  wire logic                              advance,
    input  wire logic [PAIRS-1:0][DEPTH-1:0]       load,
    input  wire logic [PAIRS-1:0][DEPTH-1:0][26:0] weight,
    input  wire logic                              in_valid,
    input  wire logic                              swap,
    input  wire logic                              packed_sum,
    input  wire logic [DEPTH-1:0][7:0]             x,
    output var  logic                              out_valid,
    output var  logic [PAIRS-1:0][19:0]            even,
    output var  logic [PAIRS-1:0][19:0]            odd
);

  logic [DEPTH-1:0][8:0] staircase_in;
  logic [DEPTH-1:0][8:0] staircase_out;
  logic [DEPTH-1:0][7:0] x_skewed;
  logic [DEPTH-1:0] swap_skewed;

  for (genvar i = 0; i < DEPTH; i++) begin : gen_stage
    assign staircase_in[i] = {swap, x[i]};
    assign {swap_skewed[i], x_skewed[i]} = staircase_out[i];
  end

  skew #(
      .LANES(DEPTH),
      .WIDTH(9)
  ) u_skew (
      .clk,
      .advance,
      .in (staircase_in),
      .out(staircase_out)
  );

  logic [DEPTH+1:0] packed_line;
  logic [DEPTH+2:0] valid_line;
  assign out_valid = valid_line[DEPTH+2];

  always_ff @(posedge clk) begin
    if (advance) packed_line <= {packed_line[DEPTH:0], packed_sum};
    if (reset) valid_line <= '0;
    else if (advance) valid_line <= {valid_line[DEPTH+1:0], in_valid};
  end

  for (genvar p = 0; p < PAIRS; p++) begin : gen_pair
    dsp_mac2 #(
        .DEPTH(DEPTH),
        .PRIMITIVE(PRIMITIVE)
    ) u_cascade (
        .clk,
        .advance,
        .load(load[p]),
        .swap(swap_skewed),
        .weight(weight[p]),
        .low('0),
        .x(x_skewed),
        .packed_sum(packed_line[DEPTH+1]),
        .even(even[p]),
        .odd(odd[p])
    );
  end

endmodule

`default_nettype wire
