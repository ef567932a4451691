// SPDX-License-Identifier: Apache-2.0
// Both forms of dsp_mac2 on the same pins, for a bench that compares every output bit of every cycle.
`default_nettype none

module dsp_mac2_lockstep #(
    parameter int DEPTH = 16,
    parameter int FIELD = 19,
    parameter bit PREADD = 1'b0,
    parameter bit SEPARATE = 1'b1
) (
    input  wire logic                   clk,
    input  wire logic                   reset,
    input  wire logic                   advance,
    input  wire logic [DEPTH-1:0]       load,
    input  wire logic [DEPTH-1:0]       swap,
    input  wire logic [DEPTH-1:0][26:0] weight,
    input  wire logic [DEPTH-1:0][7:0]  low,
    input  wire logic [DEPTH-1:0][7:0]  x,
    input  wire logic                   packed_sum,
    output var  logic [1:0][39:0]       outputs  // behavioural, primitive: {odd, even}
);

  for (genvar i = 0; i < 2; i++) begin : gen_form
    dsp_mac2 #(
        .DEPTH(DEPTH),
        .FIELD(FIELD),
        .PREADD(PREADD),
        .SEPARATE(SEPARATE),
        .PRIMITIVE(i == 1)
    ) u_mac (
        .clk,
        .advance,
        .load,
        .swap,
        .weight,
        .low,
        .x,
        .packed_sum,
        .even(outputs[i][19:0]),
        .odd(outputs[i][39:20])
    );
  end

  logic unused;
  assign unused = &{1'b0, reset};

endmodule

`default_nettype wire
