// SPDX-License-Identifier: Apache-2.0
// One lane a cycle from a sum (POOL, LINEAR) or from an input code (LAYER_NORM) to a code of 8 or 12 bits.
//
//   row, lane --> 16:1 --> init | multiplier | shift -------------+----------+--------------+
//                 or gamma | beta                                 |          |              |
//   x, lane --> 16:1 --> x * factor - offset --> >> s, round --> A + D --> * B --> + C --> shift_round --> code
//                        (t * R: DSP, upper part in fabric)           ^        (DSP)
//   sum_address --> sum ----------------------------------------------+
//
// POOL, LINEAR: (init + sum) * multiplier, shifted. LAYER_NORM: x_hat * gamma + beta, with x_hat = t * R >> (6 + s),
// t * R = x * factor - offset for factor = N R and offset = R sum(x): the input's zero point cancels in t = N u - sum(u).
// gamma and beta of lanes beyond N are 0, so their code is the zero point.
//
// Latency to sum_address: 6; the sum must be there in that cycle. Latency to code: lane 1 + x_hat 6 + product and sum 3 +
// shift_round 4 = 14. Initiation interval 1, no stall. `reset` clears the valid bits only.
// Static while lanes are in flight: norm, fixed, factor, minus_offset, norm_shift, fixed_shift, zero_point, wide.
`default_nettype none

module mlp_finish (
    input  wire logic               clk,
    input  wire logic               reset,
    input  wire logic               norm,          // LAYER_NORM
    input  wire logic               fixed,         // POOL: every lane has the parameters of lane 0 and fixed_shift
    input  wire logic [37:0]        factor,        // unsigned, at most 2^36
    input  wire logic [45:0]        minus_offset,  // signed
    input  wire logic [4:0]         norm_shift,    // s
    input  wire logic [5:0]         fixed_shift,   // 0 to 62, POOL and LAYER_NORM
    input  wire logic [15:0]        zero_point,    // signed
    input  wire logic               wide,
    input  wire logic               in_valid,
    input  wire logic [3:0]         lane,
    input  wire logic [1:0]         group,         // % 4, of the sum
    input  wire logic [1023:0]      row,           // as in the weight ring
    input  wire logic [127:0]       x,
    output var  logic [4:0]         sum_address,   // group % 4, pair
    input  wire logic [53:0]        sum,           // of two lanes
    output var  logic               sum_taken,     // the last lane of a group reads its sum
    output var  logic               out_valid,
    output var  logic               out_last,      // lane 15
    output var  logic [11:0]        code
);

  localparam int Latency = 14;

  logic [Latency-1:0] valid, last;
  logic [6*6-1:0] where;  // group, lane; the newest lowest
  always_ff @(posedge clk) begin
    last  <= {last[Latency-2:0], lane == 4'd15};
    where <= {where[5*6-1:0], group, lane};
    if (reset) valid <= '0;
    else valid <= {valid[Latency-2:0], in_valid};
  end
  assign out_valid   = valid[Latency-1];
  assign out_last    = last[Latency-1];
  assign sum_address = where[6*6-1:5*6+1];
  assign sum_taken   = valid[5] && last[5];

  // 1: the lane's parameters and code.
  logic [63:0] parameters_1;
  logic [7:0] x_1;
  always_ff @(posedge clk) begin
    parameters_1 <= row[{fixed ? 4'd0 : lane, 6'b0}+:64];
    x_1 <= x[{lane, 3'b0}+:8];
  end

  // ... kept until 6 and 9.
  logic [5*64-1:0] parameters_line;
  logic [63:0] parameters_6;
  logic [2*46-1:0] beta_line;
  logic [4*6-1:0] shift_line;
  logic [45:0] beta_8;
  logic [5:0] shift_10;
  always_ff @(posedge clk) begin
    parameters_line <= {parameters_line[4*64-1:0], parameters_1};
    beta_line <= {beta_line[45:0], parameters_6[63:18]};
    shift_line <= {shift_line[3*6-1:0], parameters_6[54:49]};
  end
  assign parameters_6 = parameters_line[5*64-1:4*64];
  assign beta_8 = beta_line[2*46-1:46];
  assign shift_10 = shift_line[4*6-1:3*6];

  // 2 to 4: t * R. The factor's lower 26 bits fit a DSP's operand.
  logic [19:0] upper, upper_2, upper_3;
  logic [34:0] lower_2;
  logic [47:0] lower_3;
  logic [45:0] product_4;

  booth_multiply #(
      .WIDTH(12)
  ) u_upper (
      .x(factor[37:26]),
      .w(x_1),
      .product(upper)
  );

  always_ff @(posedge clk) begin
    upper_2 <= upper;
    upper_3 <= upper_2;
    lower_2 <= $unsigned($signed({9'b0, factor[25:0]}) * $signed({{27{x_1[7]}}, x_1}));
    lower_3 <= {{13{lower_2[34]}}, lower_2} + {{2{minus_offset[45]}}, minus_offset};
    product_4 <= {lower_3[45:26] + upper_3, lower_3[25:0]};
  end

  // 5, 6: shift right by 5 + s; bit 0 is the guard bit. x_hat has 25 bits: |x_hat| < 2^24.
  logic [32:0] coarse, coarse_5;
  logic coarse_sticky, sticky_5, fine_sticky, sticky_6;
  logic [25:0] fine, fine_6;
  always_comb begin
    case (norm_shift[4:3])
      2'd0: coarse = product_4[37:5];
      2'd1: coarse = product_4[45:13];
      2'd2: coarse = {{8{product_4[45]}}, product_4[45:21]};
      default: coarse = {{16{product_4[45]}}, product_4[45:29]};
    endcase
    case (norm_shift[2:0])
      3'd0: fine = coarse_5[25:0];
      3'd1: fine = coarse_5[26:1];
      3'd2: fine = coarse_5[27:2];
      3'd3: fine = coarse_5[28:3];
      3'd4: fine = coarse_5[29:4];
      3'd5: fine = coarse_5[30:5];
      3'd6: fine = coarse_5[31:6];
      default: fine = coarse_5[32:7];
    endcase
  end
  assign coarse_sticky = product_4[4:0] != '0 || (norm_shift[4:3] != 2'd0 && product_4[12:5] != '0) ||
                         (norm_shift[4] && product_4[20:13] != '0) || (norm_shift[4:3] == 2'd3 && product_4[28:21] != '0);
  logic [6:0] lost;  // bits that the fine shift drops
  for (genvar i = 0; i < 7; i++) begin : gen_lost
    localparam logic [2:0] Bit = i[2:0];
    assign lost[i] = coarse_5[i] && norm_shift[2:0] > Bit;
  end
  assign fine_sticky = lost != '0;

  always_ff @(posedge clk) begin
    coarse_5 <= coarse;
    sticky_5 <= coarse_sticky;
    fine_6   <= fine;
    sticky_6 <= sticky_5 || fine_sticky;
  end

  // 7: operands of the second product. x_hat is rounded by the adder that also lets init pass.
  logic up;
  logic [27:0] rounded;
  logic [26:0] a_7, d_7, ad_8;
  logic [17:0] b_7, b_8;
  logic [44:0] product_9;
  logic [45:0] c_9;
  logic [47:0] value_10;
  logic far;
  assign up = norm && fine_6[0] && (sticky_6 || fine_6[1]);
  assign rounded = {norm ? {{2{fine_6[25]}}, fine_6[25:1]} : parameters_6[26:0], up} + {27'b0, up};
  assign far = norm && fixed_shift[5:4] == 2'd3;  // |value| < 2^47, so a shift above 47 leaves nothing

  always_ff @(posedge clk) begin
    a_7 <= rounded[27:1];
    d_7 <= norm ? 27'd0 : where[5*6] ? sum[53:27] : sum[26:0];
    b_7 <= norm ? parameters_6[17:0] : {1'b0, parameters_6[48:32]};
    ad_8 <= a_7 + d_7;
    b_8 <= b_7;
    product_9 <= $unsigned($signed({{18{ad_8[26]}}, ad_8}) * $signed({{27{b_8[17]}}, b_8}));
    c_9 <= norm ? beta_8 : 46'd0;
    value_10 <= far ? 48'd0 : {{3{product_9[44]}}, product_9} + {{2{c_9[45]}}, c_9};
  end

  shift_round #(
      .LANES(1),
      .WIDTH(48)
  ) u_round (
      .clk,
      .advance(1'b1),
      .value(value_10),
      .shift(norm || fixed ? fixed_shift : shift_10),
      .zero_point(zero_point),
      .wide(wide),
      .code
  );

  logic unused;
  assign unused = &{1'b0, rounded[0], lower_3[47:46]};

endmodule

`default_nettype wire
