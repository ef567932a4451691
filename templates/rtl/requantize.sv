// SPDX-License-Identifier: Apache-2.0
// LANES accumulators to codes: saturate(round_half_even(acc * multiplier / 2^shift) + zero_point), one DSP a lane.
//
//   acc, multiplier --> A, B --> M --> P --> shift_round --> code
//   shift, zero_point, wide ---------------> (same delay)
//
// Latency: operands 1 + product 1 + output register 1 (all three inside the DSP) + shift_round 4 = 7.
// Initiation interval 1. Stall: in_ready is low while the output is valid and not taken; then the whole pipeline stands,
// and nothing is lost. in_ready depends on out_ready combinationally. `reset` clears the valid bits only.
//
// LANES      accumulators in a cycle; they share zero_point and wide
// LOW, HIGH  smallest and largest shift
`default_nettype none

module requantize #(
    parameter int LANES = 16,
    parameter int LOW   = 0,
    parameter int HIGH  = 47
) (
    input  wire logic                   clk,
    input  wire logic                   reset,
    input  wire logic                   in_valid,
    output var  logic                   in_ready,
    input  wire logic [LANES-1:0][26:0] acc,         // signed, |acc| < 2^26
    input  wire logic [LANES-1:0][16:0] multiplier,  // unsigned
    input  wire logic [LANES-1:0][5:0]  shift,       // LOW to HIGH
    input  wire logic [15:0]            zero_point,  // signed
    input  wire logic                   wide,        // 12-bit codes instead of 8
    output var  logic                   out_valid,
    input  wire logic                   out_ready,
    output var  logic [LANES-1:0][11:0] code         // an int8 is sign-extended
);

  localparam int Latency = 7;

  logic advance;
  logic [Latency-1:0] valid;
  assign out_valid = valid[Latency-1];
  assign advance   = out_ready || !out_valid;
  assign in_ready  = advance;

  // |acc * multiplier| < 2^43: 44 bits.
  logic [LANES-1:0][26:0] a;
  logic [LANES-1:0][16:0] b;
  logic [LANES-1:0][43:0] product, p;
  logic [LANES-1:0][5:0] shift_0, shift_1, shift_2;
  logic [15:0] zero_0, zero_1, zero_2;
  logic wide_0, wide_1, wide_2;

  always_ff @(posedge clk) begin
    if (reset) valid <= '0;
    else if (advance) valid <= {valid[Latency-2:0], in_valid};
    if (advance) begin
      for (int l = 0; l < LANES; l++) begin
        a[l] <= acc[l];
        b[l] <= multiplier[l];
        product[l] <= $unsigned($signed({{17{a[l][26]}}, a[l]}) * $signed({27'b0, b[l]}));
        p[l] <= product[l];
      end
      {wide_0, zero_0, shift_0} <= {wide, zero_point, shift};
      {wide_1, zero_1, shift_1} <= {wide_0, zero_0, shift_0};
      {wide_2, zero_2, shift_2} <= {wide_1, zero_1, shift_1};
    end
  end

  shift_round #(
      .LANES(LANES),
      .WIDTH(44),
      .LOW  (LOW),
      .HIGH (HIGH)
  ) u_round (
      .clk,
      .advance,
      .value(p),
      .shift(shift_2),
      .zero_point(zero_2),
      .wide(wide_2),
      .code
  );

endmodule

`default_nettype wire
