// SPDX-License-Identifier: Apache-2.0
// From the column sums of Q times a digit of K^T V to words of y: numerators, normalizer, four dividers.
//
//   sums --> x 128 + --> totals --> 4 to 1 --> n -----------+------------------> delay --> << shift --> divide_round --+
//            |                                 +--> requantize - zero --^                                ^             |
//            +--> normalizer --+-----------------------------> d --> x multiplier + epsilon -------------+             |
//                              +--> requantize --> table --> |d| --^                             word <-- codes <------+
//
// A pixel is 4 or 8 steps: for each digit, the upper first, one or two channel groups. Lane l divides columns 4 l + 1 to
// 4 l + 4, one after the other; column 0 is the normalizer.
// The denominator has four partial products of 26 or 15 bits x 17 or 14 bits, one a cycle in one DSP.
// A denominator of 0 gives the zero point; quantized 127 for n > 0, else -128. Quantized, a negative d changes the sign of
// the quotient. 6 DSPs: 5 requantize, 1 denominator.
// Latency: 33 cycles from the last step of a pixel to its word, quantized 42. Initiation interval: a pixel in 4 cycles.
// No stall. `reset` clears what is on its way.
//
// ACC_BITS  of a sum
// GROUPS    channel groups of the largest head: 1 or 2
`default_nettype none

module attention_quotient #(
    parameter int ACC_BITS = 29,
    parameter int GROUPS   = 1
) (
    input  wire logic                      clk,
    input  wire logic                      reset,
    // Of the command
    input  wire logic                      quantized,
    input  wire logic [30:0]               divide_multiplier,
    input  wire logic [5:0]                divide_shift,
    input  wire logic [7:0]                divide_zero,       // signed
    input  wire logic [61:0]               epsilon,
    input  wire logic [16:0]               n_multiplier,
    input  wire logic [5:0]                n_shift,
    input  wire logic [7:0]                n_zero,            // signed
    input  wire logic [7:0]                d_zero,            // signed
    input  wire logic                      table_write,
    input  wire logic [5:0]                table_address,
    input  wire logic [31:0]               table_data,
    // Column sums
    input  wire logic                      step,              // sums[0] is one; group g g cycles later
    input  wire logic                      step_first,        // of a pixel
    input  wire logic                      step_shift,        // of a digit
    input  wire logic                      step_last,         // of a pixel
    input  wire logic [16:0][ACC_BITS-1:0] sums,
    output var  logic                      word_valid,
    output var  logic [127:0]              word
);

  localparam int SumBits = 20;  // 16 x 255 x 128 < 2^19
  localparam int N = 39 + GROUPS;  // |n| <= 16 GROUPS x 255 x 2^27 < 2^(38 + GROUPS)
  localparam int QuantizedDelay = 9;

  // Totals. Column 4 l + 1 + j is l + 1 + j cycles behind the normalizer: l + 1 by the array, j here.
  logic [7:0][3:0] steps;  // {step, first, shift, last}, by delay
  assign steps[0] = {step, step_first, step_shift, step_last};
  always_ff @(posedge clk) begin
    if (reset) steps[7:1] <= '0;
    else steps[7:1] <= steps[6:0];
  end

  logic [16:0][N-1:0] total;
  for (genvar e = 0; e < 17; e++) begin : gen_total
    localparam int Late = e == 0 ? 0 : (e - 1) % 4;
    localparam int At = e == 0 ? 0 : (e + 3) / 4 + Late;
    logic [Late:0][SumBits-1:0] line;
    logic [N-1:0] other;
    logic [N:0] next;
    assign line[0] = sums[e][SumBits-1:0];
    if (Late > 0) begin : gen_late
      always_ff @(posedge clk) line[Late:1] <= line[Late-1:0];
    end
    assign other = steps[At][2] ? '0 : GROUPS == 1 || steps[At][1] ? {total[e][N-8:0], 7'b0} : total[e];
    assign next = {{(N - SumBits) {line[Late][SumBits-1]}}, line[Late], 1'b0} - {~other, 1'b1};
    always_ff @(posedge clk) begin
      if (steps[At][3]) total[e] <= next[N:1];
    end
    logic unused;
    assign unused = &{1'b0, sums[e], next[0]};
  end

  // ended[n]: n + 1 cycles after the last step. `go` counts the same cycles, later by QuantizedDelay if quantized.
  logic [QuantizedDelay:0] ended;
  logic [32:0] go;
  always_ff @(posedge clk) begin
    if (reset) begin
      ended <= '0;
      go <= '0;
    end else begin
      ended <= {ended[QuantizedDelay-1:0], step && step_last};
      go <= {go[31:0], quantized ? ended[QuantizedDelay-1] : step && step_last};
    end
  end

  // Normalizer: exact in cycle 1; its code in cycle 8, looked up in cycle 9, less the zero point in 10, without sign in 11.
  logic ready_n, valid_n, ready_m, valid_m;
  logic [11:0] norm_code;
  logic [7:0] d_entry, d_code;
  logic [8:0] d_units;
  logic [8:0] d_magnitude;
  logic d_minus;
  requantize #(
      .LANES(1)
  ) u_normalizer (
      .clk,
      .reset,
      .in_valid(ended[0]),
      .in_ready(ready_n),
      .acc(total[0][26:0]),
      .multiplier(n_multiplier),
      .shift(n_shift),
      .zero_point({{8{n_zero[7]}}, n_zero}),
      .wide(1'b0),
      .out_valid(valid_n),
      .out_ready(1'b1),
      .code(norm_code)
  );
  attention_table #(
      .LANES(1)
  ) u_table (
      .clk,
      .write(table_write),
      .write_address(table_address),
      .write_data(table_data),
      .enable(1'b1),
      .code(norm_code[7:0]),
      .y(d_entry)
  );
  always_ff @(posedge clk) begin
    d_code <= d_entry;
    d_units <= {d_code[7], d_code} - {d_zero[7], d_zero};
  end
  assign d_minus = d_units[8];
  assign d_magnitude = d_minus ? -d_units : d_units;

  // Denominator: d from go[1] on, partial products in the DSP from cycle 3 on, their sum in cycle 9, kept from 10 on.
  logic [N-2:0] d;  // not negative
  logic d_negative;
  always_ff @(posedge clk) begin
    if (go[0]) begin
      d <= quantized ? (N - 1)'(d_magnitude) : total[0][N-2:0];
      d_negative <= quantized && d_minus;
    end
  end

  logic [25:0] part_d;
  logic [16:0] part_m;
  logic [42:0] part, part_q;
  logic [61:0] aligned, sum_d, next_d, denominator;
  always_ff @(posedge clk) begin
    part_d <= go[3] || go[4] ? 26'(d[N-2:26]) : d[25:0];
    part_m <= go[2] || go[4] ? {3'b0, divide_multiplier[30:17]} : divide_multiplier[16:0];
    part   <= {17'b0, part_d} * {26'b0, part_m};
    part_q <= part;
  end
  // In cycle 5: low x low.
  always_comb begin
    if (go[4]) aligned = {19'b0, part_q};
    else if (go[5]) aligned = {2'b0, part_q, 17'b0};
    else if (go[6]) aligned = {part_q[35:0], 26'b0};
    else aligned = {part_q[18:0], 43'b0};
    next_d = (go[4] ? epsilon : sum_d) + aligned;
  end
  always_ff @(posedge clk) begin
    sum_d <= next_d;
    if (go[8]) denominator <= sum_d;
  end

  // Whether it is 0, two cycles later; both flags for lane 0 from cycle 24 on.
  logic [7:0] any_part;
  logic by_zero;
  for (genvar i = 0; i < 8; i++) begin : gen_any
    localparam int Top = 8 * i + 8 < 62 ? 8 * i + 8 : 62;
    always_ff @(posedge clk) any_part[i] <= denominator[Top-1:8*i] != '0;
  end
  // d_negative is there from cycle 2 to 5.
  logic negative_12;
  always_ff @(posedge clk) by_zero <= any_part == '0;
  delay #(
      .WIDTH (1),
      .CYCLES(10)
  ) u_negative (
      .clk,
      .in (d_negative),
      .out(negative_12)
  );
  logic [3:0][1:0] flags;  // {by zero, negative} of a lane
  delay #(
      .WIDTH (2),
      .CYCLES(12)
  ) u_flags (
      .clk,
      .in ({by_zero, negative_12}),
      .out(flags[0])
  );
  always_ff @(posedge clk) flags[3:1] <= flags[2:0];

  logic [3:0][61:0] below;  // the denominator of a lane
  assign below[0] = denominator;
  always_ff @(posedge clk) below[3:1] <= below[2:0];

  // Numerators, one a cycle and lane, from cycle l + 3 on.
  logic [3:0][N-1:0] n;
  logic [3:0][26:0] n_acc;
  logic [3:0][11:0] n_code;
  logic [3:0][16:0] n_multipliers;
  logic [3:0][5:0] n_shifts;
  for (genvar l = 0; l < 4; l++) begin : gen_numerator
    logic [1:0] column;
    always_ff @(posedge clk) begin
      column <= ended[l] ? 2'd0 : column + 2'd1;
      n[l] <= total[{3'(l), column}+1];
    end
    assign n_acc[l] = n[l][26:0];
    assign n_multipliers[l] = n_multiplier;
    assign n_shifts[l] = n_shift;
  end
  requantize #(
      .LANES(4)
  ) u_numerators (
      .clk,
      .reset,
      .in_valid(1'b1),
      .in_ready(ready_m),
      .acc(n_acc),
      .multiplier(n_multipliers),
      .shift(n_shifts),
      .zero_point({{8{n_zero[7]}}, n_zero}),
      .wide(1'b0),
      .out_valid(valid_m),
      .out_ready(1'b1),
      .code(n_code)
  );

  for (genvar l = 0; l < 4; l++) begin : gen_lane
    logic [8:0] n_units, n_units_q;
    logic [N-1:0] above, above_4;
    logic positive, positive_q;
    logic [62:0] coarse, middle, fine;  // signed
    logic [3:0] fine_shift;
    // The numerator in cycle l + 4; shifted in cycle l + 10; the quotient in cycle l + 24.
    always_ff @(posedge clk) begin
      n_units   <= {n_code[l][7], n_code[l][7:0]} - {n_zero[7], n_zero};
      n_units_q <= n_units;
      above     <= quantized ? $unsigned(N'($signed(n_units_q))) : n[l];
      positive  <= !n_units_q[8] && n_units_q != '0;
    end
    delay #(
        .WIDTH (N),
        .CYCLES(4)
    ) u_wait (
        .clk,
        .in (above),
        .out(above_4)
    );
    delay #(
        .WIDTH (1),
        .CYCLES(20)
    ) u_positive (
        .clk,
        .in (positive),
        .out(positive_q)
    );
    assign fine_shift = divide_shift[3:0];
    always_ff @(posedge clk) begin
      case (divide_shift[5:4])
        2'd0: coarse <= $unsigned(63'($signed(above_4)));
        2'd1: coarse <= {47'($signed(above_4)), 16'b0};
        2'd2: coarse <= {31'($signed(above_4)), 32'b0};
        default: coarse <= {15'($signed(above_4)), 48'b0};
      endcase
      fine <= middle;
    end
    always_comb begin
      logic [62:0] fours;
      case (fine_shift[3:2])
        2'd0: fours = coarse;
        2'd1: fours = {coarse[58:0], 4'b0};
        2'd2: fours = {coarse[54:0], 8'b0};
        default: fours = {coarse[50:0], 12'b0};
      endcase
      case (fine_shift[1:0])
        2'd0: middle = fours;
        2'd1: middle = {fours[61:0], 1'b0};
        2'd2: middle = {fours[60:0], 2'b0};
        default: middle = {fours[59:0], 3'b0};
      endcase
    end

    logic [9:0] quotient;
    logic ready_q, valid_q;
    divide_round #(
        .NUMERATOR_BITS(63),
        .DENOMINATOR_BITS(62)
    ) u_divide (
        .clk,
        .reset,
        .in_valid(1'b1),
        .in_ready(ready_q),
        .numerator(fine),
        .denominator(below[l]),
        .out_valid(valid_q),
        .out_ready(1'b1),
        .quotient
    );

    // Sign and zero point in cycle l + 25, the code in cycle l + 26.
    logic [11:0] sum;
    logic [10:0] sum_q;
    logic zero_q, above_q;
    logic [7:0] code;
    logic minus;
    assign minus = flags[l][0];
    assign sum = {{quotient[9], quotient} ^ {11{minus}}, minus} + {{3{divide_zero[7]}}, divide_zero, minus};
    always_ff @(posedge clk) begin
      sum_q   <= sum[11:1];
      zero_q  <= flags[l][1];
      above_q <= positive_q;
      if (zero_q) code <= quantized ? {!above_q, {7{above_q}}} : divide_zero;
      else if (sum_q[10:7] == '0 || sum_q[10:7] == '1) code <= sum_q[7:0];
      else code <= {sum_q[10], {7{!sum_q[10]}}};
    end

    // Four codes of a lane; together in cycle l + 30.
    logic [23:0] codes;
    always_ff @(posedge clk) begin
      codes <= {code, codes[23:8]};
      if (go[l+28]) word[32*l+:32] <= {code, codes};
    end
    logic unused;
    assign unused = &{1'b0, n_code[l][11:8], sum[0], ready_q, valid_q};
  end

  assign word_valid = go[32];

  logic unused;
  assign unused = &{1'b0, norm_code[11:8], total[0], ended, ready_n, valid_n, ready_m, valid_m};

endmodule

`default_nettype wire
