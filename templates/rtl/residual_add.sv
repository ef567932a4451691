// SPDX-License-Identifier: Apache-2.0
// LANES residual additions: saturate(round_half_even((ma a + mb b + constant) / 2^shift) + zero_point), without a DSP.
//
//   a, b ----+--> row 0 --> row 1 --> row 2 --> row 3 --|reg|--> rows 4 to 7 --|reg|--> + constant --> shift_round --> code
//   ma, mb --+--> ma + mb
//
// The two products are one: row i adds, at weight 2^i, one of 0, ma, mb, ma + mb, as bit i of a and of b says. That is
// one LUT6 and a carry bit for each bit of a row: half of two separate multipliers. Row 7 (the sign bits) subtracts.
// The multipliers are those of an instruction, so all lanes share ma + mb.
//
// Latency: operands 1 + rows 0 to 3 1 + rows 4 to 7 1 + constant 1 + shift_round 4 = 8. Initiation interval 1.
// Stall: in_ready is low while the output is valid and not taken; then the whole pipeline stands, and nothing is lost.
// in_ready depends on out_ready combinationally. `reset` clears the valid bits only. The constants travel with the codes.
//
// LANES      pairs of codes in a cycle
// M          bits of a multiplier (numerics.ADD_MULTIPLIER_BITS), at most 37
// LOW, HIGH  smallest and largest shift
`default_nettype none

module residual_add #(
    parameter int LANES = 16,
    parameter int M     = 20,
    parameter int LOW   = 0,
    parameter int HIGH  = 47
) (
    input  wire logic                  clk,
    input  wire logic                  reset,
    input  wire logic                  in_valid,
    output var  logic                  in_ready,
    input  wire logic [LANES-1:0][7:0] a,           // signed
    input  wire logic [LANES-1:0][7:0] b,           // signed
    input  wire logic [M-1:0]          ma,          // unsigned
    input  wire logic [M-1:0]          mb,          // unsigned
    input  wire logic [M+8:0]          constant,    // signed; -(ma za + mb zb) has M + 9 bits
    input  wire logic [5:0]            shift,       // LOW to HIGH
    input  wire logic [7:0]            zero_point,  // signed
    output var  logic                  out_valid,
    input  wire logic                  out_ready,
    output var  logic [LANES-1:0][7:0] code
);

  localparam int Latency = 8;
  localparam int Row = M + 3;  // |half the sum so far + ma + mb| < 2^(M + 2)

  logic advance;
  logic [Latency-1:0] valid;
  assign out_valid = valid[Latency-1];
  assign advance   = out_ready || !out_valid;
  assign in_ready  = advance;

  // Constants, beside the stages that use them.
  logic [1:0][M-1:0] ma_q, mb_q;
  logic [1:0][M:0] both_q;
  logic [2:0][M+8:0] constant_q;
  logic [3:0][5:0] shift_q;
  logic [3:0][7:0] zero_q;

  always_ff @(posedge clk) begin
    if (reset) valid <= '0;
    else if (advance) valid <= {valid[Latency-2:0], in_valid};
    if (advance) begin
      ma_q <= {ma_q[0], ma};
      mb_q <= {mb_q[0], mb};
      both_q <= {both_q[0], {1'b0, ma} + {1'b0, mb}};
      constant_q[0] <= constant;
      shift_q[0] <= shift;
      zero_q[0] <= zero_point;
      for (int i = 1; i < 4; i++) begin
        if (i < 3) constant_q[i] <= constant_q[i-1];
        shift_q[i] <= shift_q[i-1];
        zero_q[i]  <= zero_q[i-1];
      end
    end
  end

  logic [LANES-1:0][M+9:0] total_q;

  function automatic logic [Row-1:0] term(input logic own, input logic other, input logic [M-1:0] own_multiplier,
                                          input logic [M-1:0] other_multiplier, input logic [M:0] both);
    case ({own, other})
      2'b00: term = '0;
      2'b01: term = {3'b0, other_multiplier};
      2'b10: term = {3'b0, own_multiplier};
      default: term = {2'b0, both};
    endcase
  endfunction

  // earlier / 2 + row, written as a difference: the carry chain then takes `earlier`, and the choice of the row goes into the
  // same LUT as the addition (tools swap the operands of a sum). The lowest bit is only there to borrow.
  function automatic logic [Row-1:0] add_row(input logic [Row-1:0] earlier, input logic [Row-1:0] row);
    add_row = Row'(({earlier[Row-1], earlier[Row-1:1], 1'b0} - {~row, 1'b1}) >> 1);
  endfunction

  for (genvar l = 0; l < LANES; l++) begin : gen_lane
    logic [7:0] a_q, b_q;
    logic [3:0] a_high, b_high;
    // Sum of the rows up to i, in units of 2^i; its lowest bit is done.
    logic [Row-1:0] row_0, row_1, row_2, row_3, row_3_q, row_4, row_5, row_6, row_7;
    logic [2:0] done_q;
    logic [Row+6:0] rows_q;

    assign row_0 = term(a_q[0], b_q[0], ma_q[0], mb_q[0], both_q[0]);
    assign row_1 = add_row(row_0, term(a_q[1], b_q[1], ma_q[0], mb_q[0], both_q[0]));
    assign row_2 = add_row(row_1, term(a_q[2], b_q[2], ma_q[0], mb_q[0], both_q[0]));
    assign row_3 = add_row(row_2, term(a_q[3], b_q[3], ma_q[0], mb_q[0], both_q[0]));
    assign row_4 = add_row(row_3_q, term(a_high[0], b_high[0], ma_q[1], mb_q[1], both_q[1]));
    assign row_5 = add_row(row_4, term(a_high[1], b_high[1], ma_q[1], mb_q[1], both_q[1]));
    assign row_6 = add_row(row_5, term(a_high[2], b_high[2], ma_q[1], mb_q[1], both_q[1]));
    assign row_7 = {row_6[Row-1], row_6[Row-1:1]} - term(a_high[3], b_high[3], ma_q[1], mb_q[1], both_q[1]);

    always_ff @(posedge clk) begin
      if (advance) begin
        {a_q, b_q} <= {a[l], b[l]};
        {a_high, b_high} <= {a_q[7:4], b_q[7:4]};
        row_3_q <= row_3;
        done_q <= {row_2[0], row_1[0], row_0[0]};
        rows_q <= {row_7, row_6[0], row_5[0], row_4[0], row_3_q[0], done_q};
        total_q[l] <= rows_q + {constant_q[2][M+8], constant_q[2]};
      end
    end
  end

  logic [LANES-1:0][11:0] wide_code;
  logic [LANES-1:0][5:0] shift_lanes;
  for (genvar l = 0; l < LANES; l++) begin : gen_shift
    assign shift_lanes[l] = shift_q[3];
  end

  shift_round #(
      .LANES(LANES),
      .WIDTH(M + 10),
      .LOW  (LOW),
      .HIGH (HIGH)
  ) u_round (
      .clk,
      .advance,
      .value(total_q),
      .shift(shift_lanes),
      .zero_point({{8{zero_q[3][7]}}, zero_q[3]}),
      .wide(1'b0),
      .code(wide_code)
  );

  for (genvar l = 0; l < LANES; l++) begin : gen_code
    assign code[l] = wide_code[l][7:0];
    logic unused;
    assign unused = &{1'b0, wide_code[l][11:8]};
  end

endmodule

`default_nettype wire
