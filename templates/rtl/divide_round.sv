// SPDX-License-Identifier: Apache-2.0
// Rounding division: round_half_even(numerator / denominator), clipped to +-(2^QUOTIENT_BITS - 1). Pipelined, no DSP.
//
//   numerator --> |n| --> r = (n >> Q) - d --> r = 2 r + n[Q-1] -+ d --> ... --> r = 2 r + n[0] -+ d --> r = 2 r -+ d --+
//                         r >= 0: too large    bit Q - 1                         bit 0                   guard bit     |
//                                                      sign, saturate <-- quotient + up <-- up = guard && (r or odd) <-+
//
// Q = QUOTIENT_BITS. A step adds d where the rest is negative and subtracts it elsewhere (non-restoring): one LUT a bit,
// where comparing and choosing would take two. The rest needs no correction at the end: it is looked at only behind a
// guard bit of 1, and there it is not negative.
//
// Latency: magnitude 1 + first subtraction 1 + QUOTIENT_BITS + guard 1 + rounding 1 + sign 1 = QUOTIENT_BITS + 5.
// Initiation interval 1. Stall: in_ready is low while the output is valid and not taken; then the whole pipeline stands,
// and nothing is lost. in_ready depends on out_ready combinationally. `reset` clears the valid bits only.
// A denominator of 0 gives the limit with the numerator's sign; callers decide what n / 0 means.
//
// NUMERATOR_BITS    signed
// DENOMINATOR_BITS  unsigned
// QUOTIENT_BITS     of the magnitude
`default_nettype none

module divide_round #(
    parameter int NUMERATOR_BITS = 60,
    parameter int DENOMINATOR_BITS = 52,
    parameter int QUOTIENT_BITS = 9
) (
    input  wire logic                        clk,
    input  wire logic                        reset,
    input  wire logic                        in_valid,
    output var  logic                        in_ready,
    input  wire logic [NUMERATOR_BITS-1:0]   numerator,
    input  wire logic [DENOMINATOR_BITS-1:0] denominator,
    output var  logic                        out_valid,
    input  wire logic                        out_ready,
    output var  logic [QUOTIENT_BITS:0]      quotient      // signed
);

  localparam int N = NUMERATOR_BITS;
  localparam int D = DENOMINATOR_BITS;
  localparam int Q = QUOTIENT_BITS;
  localparam int Latency = Q + 5;

  if (N <= Q || N - Q > D) begin : gen_check
    $error("divide_round: a numerator has more than QUOTIENT_BITS and at most QUOTIENT_BITS + DENOMINATOR_BITS bits");
  end

  logic advance;
  logic [Latency-1:0] valid;
  assign out_valid = valid[Latency-1];
  assign advance   = out_ready || !out_valid;
  assign in_ready  = advance;

  always_ff @(posedge clk) begin
    if (reset) valid <= '0;
    else if (advance) valid <= {valid[Latency-2:0], in_valid};
  end

  // Magnitude.
  logic [N-1:0] magnitude;
  logic [D-1:0] divisor;
  logic minus;
  always_ff @(posedge clk) begin
    if (advance) begin
      magnitude <= numerator[N-1] ? -numerator : numerator;
      minus <= numerator[N-1];
      divisor <= denominator;
    end
  end

  // Step s = 0 is the first subtraction, 1 to Q the bits of the quotient, Q + 1 the guard bit. -d <= rest < d.
  logic [Q+1:0][D:0] rest;
  logic [Q+1:0][D-1:0] by;
  logic [Q+1:0][Q-1:0] tail;  // bits of n not used yet, left-aligned
  logic [Q+1:0][Q-1:0] bits;  // bits of the quotient, without those of the rest's sign
  logic [Q+1:0] negative;
  logic [Q+1:0] beyond;

  logic [D:0] first;
  assign first = {{(D + 1 - (N - Q)) {1'b0}}, magnitude[N-1:Q]} - {1'b0, divisor};

  always_ff @(posedge clk) begin
    if (advance) begin
      rest[0] <= first;
      by[0] <= divisor;
      tail[0] <= magnitude[Q-1:0];
      bits[0] <= '0;
      negative[0] <= minus;
      beyond[0] <= !first[D];
    end
  end

  for (genvar s = 1; s <= Q + 1; s++) begin : gen_step
    logic subtract;
    logic [D+1:0] next;
    assign subtract = !rest[s-1][D];
    // 2 r + n[.] + (d ^ subtract) + subtract. As a difference, whose lowest bit borrows unless it subtracts, so that the
    // carry chain takes the rest, and the rest of the step is one LUT: tools swap the operands of a sum.
    assign next = {rest[s-1][D-1:0], tail[s-1][Q-1], subtract} - {~({1'b0, by[s-1]} ^ {(D + 1) {subtract}}), 1'b1};
    always_ff @(posedge clk) begin
      if (advance) begin
        rest[s] <= next[D+1:1];
        by[s] <= by[s-1];
        tail[s] <= {tail[s-1][Q-2:0], 1'b0};
        bits[s] <= s == 1 ? '0 : {bits[s-1][Q-2:0], !rest[s-1][D]};
        negative[s] <= negative[s-1];
        beyond[s] <= beyond[s-1];
      end
    end
    logic unused;
    assign unused = &{1'b0, next[0]};
  end

  // Rounding, then the sign: -(q + up) = ~q + (1 - up).
  logic up, clip, sign;
  logic [Q-1:0] whole;
  logic [Q+1:0] signed_sum;
  logic guard;
  assign guard = !rest[Q+1][D];
  assign signed_sum = {sign, whole ^ {Q{sign}}, up ^ sign} + {{(Q + 1) {1'b0}}, up ^ sign};
  always_ff @(posedge clk) begin
    if (advance) begin
      up <= guard && (rest[Q+1][D-1:0] != '0 || bits[Q+1][0]);
      // A quotient of all ones is at the limit already and cannot be rounded up.
      clip <= beyond[Q+1] || bits[Q+1] == '1;
      sign <= negative[Q+1];
      whole <= bits[Q+1];
      quotient <= clip ? {sign, {(Q - 1) {!sign}}, 1'b1} : signed_sum[Q+1:1];
    end
  end

  logic unused_last;
  assign unused_last = &{1'b0, by[Q+1], tail[Q+1], signed_sum[0]};

endmodule

`default_nettype wire
