// SPDX-License-Identifier: Apache-2.0
// saturate(shift_round(value, shift) + zero_point): the rounding behind every multiplier of the machine (LANES wide).
//
//   {value, 0} --> >> 0, 16, 32 --> >> 0, 4, 8, 12 --> >> 0 to 3 --> q | guard --> q + zero_point + up --> saturate
//                  | lost bits: sticky; upper bits unlike the sign: over                 |
//                  +--------------------------------------------------- up = guard && (sticky || q odd)
//
// Rounds to nearest, ties to even. Only 17 bits of q are kept: a larger q saturates for every 16-bit zero point.
// Latency: coarse shift 1 + fine shift 1 + addition 1 + saturation 1 = 4. Initiation interval 1.
// Stall: nothing moves while `advance` is low. No reset (validity is the caller's).
//
// LANES      values side by side; they share zero_point and wide
// WIDTH      bits of a value (signed), at most 48
// LOW, HIGH  smallest and largest shift: a range of 8 or 16 saves a quarter or half of the multiplexers
`default_nettype none

module shift_round #(
    parameter int LANES = 16,
    parameter int WIDTH = 44,
    parameter int LOW   = 0,
    parameter int HIGH  = 47
) (
    input  wire logic                        clk,
    input  wire logic                        advance,
    input  wire logic [LANES-1:0][WIDTH-1:0] value,
    input  wire logic [LANES-1:0][5:0]       shift,       // LOW to HIGH
    input  wire logic [15:0]                 zero_point,  // signed
    input  wire logic                        wide,        // saturate to 12 bits instead of 8
    output var  logic [LANES-1:0][11:0]      code         // an int8 is sign-extended
);

  if (WIDTH < 17 || WIDTH > 48) begin : gen_check
    $error("shift_round: a value has 17 to 48 bits");
  end
  if (LOW < 0 || HIGH < LOW || HIGH > 47) begin : gen_check_shift
    $error("shift_round: shifts are 0 to 47");
  end

  localparam int ShiftBits = HIGH > LOW ? $clog2(HIGH - LOW + 1) : 1;

  localparam int Fine = 18 + 15;  // bits that the fine shifts can still bring into the 17 bits of q and the guard bit
  localparam int Middle = 18 + 3;

  // What travels with the values.
  logic [15:0] zero_1, zero_2;
  logic wide_1, wide_2, wide_3;
  always_ff @(posedge clk) begin
    if (advance) begin
      {wide_1, zero_1} <= {wide, zero_point};
      {wide_2, zero_2} <= {wide_1, zero_1};
      wide_3 <= wide_2;
    end
  end

  for (genvar l = 0; l < LANES; l++) begin : gen_lane
    // Every value is shifted by LOW. Sign-extended to 65 bits, so that one formula serves every WIDTH. Then the coarse shift.
    logic [64+LOW:0] whole;
    logic [64:0] extended;
    logic low_sticky;
    logic [Fine-1:0] coarse, coarse_q;
    logic sign;
    logic coarse_over, over_1;
    logic coarse_sticky, sticky_1;
    logic sign_1, sign_2, sign_3;
    logic [3:0] shift_1;
    logic [5:0] by, above;
    assign above = shift[l] - 6'(LOW);
    assign by = 6'(above[ShiftBits-1:0]);
    assign sign = value[l][WIDTH-1];
    assign whole = {{(64 + LOW - WIDTH) {sign}}, value[l], 1'b0};
    assign extended = whole[64+LOW:LOW];
    if (LOW > 0) begin : gen_low
      assign low_sticky = whole[LOW-1:0] != '0;
    end else begin : gen_no_low
      assign low_sticky = 1'b0;
    end
    always_comb begin
      case (by[5:4])
        2'd0: coarse = extended[Fine-1:0];
        2'd1: coarse = extended[Fine+15:16];
        default: coarse = extended[Fine+31:32];
      endcase
    end
    assign coarse_over = by[5:4] == 2'd0 && extended[48:Fine] != {(49 - Fine) {sign}};
    assign coarse_sticky = low_sticky || (by[5:4] != 2'd0 && extended[15:0] != '0) ||
                           (by[5] && extended[31:16] != '0);

    // Fine shifts, first by fours, then by ones.
    logic [Middle-1:0] middle;
    logic [17:0] fine, fine_q;
    logic middle_over, middle_sticky, fine_over, fine_sticky, over_2, sticky_2;
    always_comb begin
      case (shift_1[3:2])
        2'd0: middle = coarse_q[Middle-1:0];
        2'd1: middle = coarse_q[Middle+3:4];
        2'd2: middle = coarse_q[Middle+7:8];
        default: middle = coarse_q[Middle+11:12];
      endcase
      case (shift_1[1:0])
        2'd0: fine = middle[17:0];
        2'd1: fine = middle[18:1];
        2'd2: fine = middle[19:2];
        default: fine = middle[20:3];
      endcase
    end
    assign middle_over = (shift_1[3:2] == 2'd0 && coarse_q[24:21] != {4{sign_1}}) ||
                         (!shift_1[3] && coarse_q[28:25] != {4{sign_1}}) ||
                         (shift_1[3:2] != 2'd3 && coarse_q[32:29] != {4{sign_1}});
    assign middle_sticky = (shift_1[3:2] != 2'd0 && coarse_q[3:0] != '0) || (shift_1[3] && coarse_q[7:4] != '0) ||
                           (shift_1[3:2] == 2'd3 && coarse_q[11:8] != '0);
    assign fine_over = (shift_1[1:0] == 2'd0 && middle[18] != sign_1) || (!shift_1[1] && middle[19] != sign_1) ||
                       (shift_1[1:0] != 2'd3 && middle[20] != sign_1) || fine[17] != sign_1;
    assign fine_sticky = (shift_1[1:0] != 2'd0 && middle[0]) || (shift_1[1] && middle[1]) ||
                         (shift_1[1:0] == 2'd3 && middle[2]);

    // q + zero_point + up; {.., up} + {.., up} makes `up` the carry of the adder's bit 0.
    logic up;
    logic [18:0] sum;
    logic [17:0] sum_q;
    logic over_3;
    assign up  = fine_q[0] && (sticky_2 || fine_q[1]);
    assign sum = {fine_q[17], fine_q[17:1], up} + {{2{zero_2[15]}}, zero_2, up};

    // Saturation.
    logic negative, outside;
    assign negative = over_3 ? sign_3 : sum_q[17];
    assign outside  = over_3 || sum_q[17:11] != {7{sum_q[17]}} || (!wide_3 && sum_q[10:7] != {4{sum_q[17]}});

    always_ff @(posedge clk) begin
      if (advance) begin
        coarse_q <= coarse;
        over_1 <= coarse_over;
        sticky_1 <= coarse_sticky;
        sign_1 <= sign;
        shift_1 <= by[3:0];
        fine_q <= fine;
        over_2 <= over_1 || middle_over || fine_over;
        sticky_2 <= sticky_1 || middle_sticky || fine_sticky;
        sign_2 <= sign_1;
        sum_q <= sum[18:1];
        over_3 <= over_2;
        sign_3 <= sign_2;
        code[l] <= outside ? {negative, {4{wide_3 ^ negative}}, {7{!negative}}} : sum_q[11:0];
      end
    end

    logic unused;
    assign unused = &{1'b0, sum[0], extended[64], above};
  end

endmodule

`default_nettype wire
