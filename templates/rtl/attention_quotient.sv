// SPDX-License-Identifier: Apache-2.0
// From the column sums of Q times a digit of K^T V to words of y: numerators, normalizer, four or six dividers.
//
//   sums --> x 256 + --> totals --> a lane --> n -----------+------------------> delay --> << shift --> divide_round --+
//            |                                 +--> requantize - zero --^                                ^             |
//            +--> normalizer --+-----------------------------> d --> x multiplier + epsilon -------------+             |
//                              +--> requantize --> table --> |d| --^                             word <-- codes <------+
//
// A pixel is DIGITS or 2 DIGITS steps: for each digit, the upper first, one or two channel groups. Lane l divides columns
// DIGITS l + 1 to DIGITS l + DIGITS, one after the other; with three digits the last lane has column 16 alone. Column 0 is
// the normalizer. Time of lane l: LaneTime[l] cycles after lane 0.
// The denominator has partial products of 26 or fewer bits x 17 or 14 bits, two a cycle: of the lower bits in a DSP.
// A denominator of 0 gives the zero point; quantized 127 for n > 0, else -128. Quantized, a negative d changes the sign of
// the quotient. DSPs: one requantize for each lane and the normalizer, 1 denominator.
// Latency: 31 cycles from the last step of a pixel to its word, 30 with three digits; quantized 9 more. Initiation interval:
// a pixel in DIGITS cycles. No stall. `reset` clears what is on its way.
//
// ACC_BITS     of a sum; sums K^T V have as many
// DIVIDE_BITS  of the largest scaled numerator and of the largest denominator, at most 62
// DIGITS       of 8 bits of a sum K^T V: 3 or 4
// GROUPS       channel groups of the largest head: 1 or 2
`default_nettype none

module attention_quotient #(
    parameter int ACC_BITS    = 29,
    parameter int DIVIDE_BITS = 62,
    parameter int DIGITS      = 4,
    parameter int GROUPS      = 1
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
  localparam int N = ACC_BITS + 11 + GROUPS;  // |n| <= 16 GROUPS x 255 x 2^(ACC_BITS - 1)
  localparam int DenominatorBits = ACC_BITS + GROUPS > 25 ? ACC_BITS + GROUPS + 3 : 28;  // of d, 128 times smaller
  localparam int Lanes = (15 + DIGITS) / DIGITS;
  localparam int QuantizedDelay = 9;

  // Totals. Column j of lane l is final LaneTime[l] + 2 + j cycles after the last step of the pixel, for one cycle: the array
  // brings column group g g cycles late, and the rest is waited here.
  logic [7:0][3:0] steps;  // {step, first, shift, last}, by delay
  assign steps[0] = {step, step_first, step_shift, step_last};
  always_ff @(posedge clk) begin
    if (reset) steps[7:1] <= '0;
    else steps[7:1] <= steps[6:0];
  end

  logic [16:0][N-1:0] total;
  for (genvar e = 0; e < 17; e++) begin : gen_total
    localparam int Lane = (e - 1) / DIGITS;
    localparam int At = e == 0 ? 0 : (DIGITS * Lane + 4) / 4 + (e - 1) % DIGITS;
    localparam int Late = At - (e + 3) / 4;
    logic [Late:0][SumBits-1:0] line;
    logic [N-1:0] other;
    logic [N:0] next;
    assign line[0] = sums[e][SumBits-1:0];
    if (Late > 0) begin : gen_late
      always_ff @(posedge clk) line[Late:1] <= line[Late-1:0];
    end
    assign other = steps[At][2] ? '0 : GROUPS == 1 || steps[At][1] ? {total[e][N-9:0], 8'b0} : total[e];
    assign next = {{(N - SumBits) {line[Late][SumBits-1]}}, line[Late], 1'b0} - {~other, 1'b1};
    always_ff @(posedge clk) begin
      if (steps[At][3]) total[e] <= next[N:1];
    end
    logic unused;
    assign unused = &{1'b0, sums[e], next[0]};
  end

  // ended[n]: n + 1 cycles after the last step. `go` counts the same cycles, later by QuantizedDelay if quantized.
  logic [QuantizedDelay:0] ended;
  logic [30:0] go;
  always_ff @(posedge clk) begin
    if (reset) begin
      ended <= '0;
      go <= '0;
    end else begin
      ended <= {ended[QuantizedDelay-1:0], step && step_last};
      go <= {go[29:0], quantized ? ended[QuantizedDelay-1] : step && step_last};
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

  // Denominator: d from cycle 2 on; its products with the lower and the upper bits of the multiplier in cycles 6 and 7; kept
  // from cycle 8 on.
  logic [DenominatorBits-1:0] d;  // not negative
  logic d_negative;
  always_ff @(posedge clk) begin
    if (go[0]) begin
      d <= quantized ? DenominatorBits'(d_magnitude) : total[0][DenominatorBits-1:0];
      d_negative <= quantized && d_minus;
    end
  end

  localparam int Rest = DenominatorBits - 26;
  logic [25:0] low_d;
  logic [Rest-1:0] high_d;
  logic [16:0] part_m;
  logic [42:0] low_part, low_part_q;
  logic [Rest+16:0] high_part, high_part_q;
  logic [Rest+42:0] part;
  logic [61:0] sum_d;
  logic [DIVIDE_BITS-1:0] denominator;
  always_ff @(posedge clk) begin
    low_d <= d[25:0];
    high_d <= d[DenominatorBits-1:26];
    part_m <= go[1] ? divide_multiplier[16:0] : {3'b0, divide_multiplier[30:17]};
    low_part <= {17'b0, low_d} * {26'b0, part_m};
    high_part <= {17'b0, high_d} * {{Rest{1'b0}}, part_m};
    low_part_q <= low_part;
    high_part_q <= high_part;
    part <= {high_part_q + (Rest + 17)'(low_part_q[42:26]), low_part_q[25:0]};
    sum_d <= epsilon + 62'(part);
    if (go[6]) denominator <= DIVIDE_BITS'(sum_d + 62'({part, 17'b0}));
  end

  // Whether it is 0, two cycles later; both flags for lane 0 from cycle 22 on.
  localparam int AnyParts = (DIVIDE_BITS + 7) / 8;
  logic [AnyParts-1:0] any_part;
  logic by_zero;
  for (genvar i = 0; i < AnyParts; i++) begin : gen_any
    localparam int Top = 8 * i + 8 < DIVIDE_BITS ? 8 * i + 8 : DIVIDE_BITS;
    always_ff @(posedge clk) any_part[i] <= denominator[Top-1:8*i] != '0;
  end
  // d_negative is there from cycle 2 on.
  logic negative_10;
  always_ff @(posedge clk) by_zero <= any_part == '0;
  delay #(
      .WIDTH (1),
      .CYCLES(8)
  ) u_negative (
      .clk,
      .in (d_negative),
      .out(negative_10)
  );
  logic [3:0][1:0] flags;  // {by zero, negative}, by LaneTime
  delay #(
      .WIDTH (2),
      .CYCLES(12)
  ) u_flags (
      .clk,
      .in ({by_zero, negative_10}),
      .out(flags[0])
  );
  always_ff @(posedge clk) flags[3:1] <= flags[2:0];

  logic [3:0][DIVIDE_BITS-1:0] below;  // the denominator, by LaneTime
  assign below[0] = denominator;
  always_ff @(posedge clk) below[3:1] <= below[2:0];

  // Numerators, one a cycle and lane, from cycle 3 of the lane on.
  logic [Lanes-1:0][N-1:0] n;
  logic [Lanes-1:0][26:0] n_acc;
  logic [Lanes-1:0][11:0] n_code;
  logic [Lanes-1:0][16:0] n_multipliers;
  logic [Lanes-1:0][5:0] n_shifts;
  for (genvar l = 0; l < Lanes; l++) begin : gen_numerator
    localparam int LaneTime = DIGITS * l / 4;
    logic [1:0] column;
    logic [3:0][N-1:0] mine;
    for (genvar j = 0; j < 4; j++) begin : gen_mine
      localparam int Column = DIGITS * l + 1 + (j < DIGITS ? j : DIGITS - 1);
      assign mine[j] = total[Column<16?Column : 16];
    end
    always_ff @(posedge clk) begin
      column <= ended[LaneTime] ? 2'd0 : column + 2'd1;
      n[l] <= mine[column];
    end
    assign n_acc[l] = n[l][26:0];
    assign n_multipliers[l] = n_multiplier;
    assign n_shifts[l] = n_shift;
  end
  requantize #(
      .LANES(Lanes)
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

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    localparam int LaneTime = DIGITS * l / 4;
    logic [8:0] n_units, n_units_q;
    logic [N-1:0] above, above_2;
    logic positive, positive_q;
    logic [62:0] coarse, middle, fine;  // signed
    logic [3:0] fine_shift;
    // In cycles of the lane: the numerator in cycle 4; shifted in cycle 8; the quotient in cycle 22.
    always_ff @(posedge clk) begin
      n_units   <= {n_code[l][7], n_code[l][7:0]} - {n_zero[7], n_zero};
      n_units_q <= n_units;
      above     <= quantized ? $unsigned(N'($signed(n_units_q))) : n[l];
      positive  <= !n_units_q[8] && n_units_q != '0;
    end
    delay #(
        .WIDTH (N),
        .CYCLES(2)
    ) u_wait (
        .clk,
        .in (above),
        .out(above_2)
    );
    delay #(
        .WIDTH (1),
        .CYCLES(18)
    ) u_positive (
        .clk,
        .in (positive),
        .out(positive_q)
    );
    assign fine_shift = divide_shift[3:0];
    always_ff @(posedge clk) begin
      case (divide_shift[5:4])
        2'd0: coarse <= $unsigned(63'($signed(above_2)));
        2'd1: coarse <= {47'($signed(above_2)), 16'b0};
        2'd2: coarse <= {31'($signed(above_2)), 32'b0};
        default: coarse <= {15'($signed(above_2)), 48'b0};
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
        .NUMERATOR_BITS(DIVIDE_BITS + 1),
        .DENOMINATOR_BITS(DIVIDE_BITS)
    ) u_divide (
        .clk,
        .reset,
        .in_valid(1'b1),
        .in_ready(ready_q),
        .numerator(fine[DIVIDE_BITS:0]),
        .denominator(below[LaneTime]),
        .out_valid(valid_q),
        .out_ready(1'b1),
        .quotient
    );

    // Sign and zero point in cycle 23, the code in cycle 24.
    logic [11:0] sum;
    logic [10:0] sum_q;
    logic zero_q, above_q;
    logic [7:0] code;
    logic minus;
    assign minus = flags[LaneTime][0];
    assign sum = {{quotient[9], quotient} ^ {11{minus}}, minus} + {{3{divide_zero[7]}}, divide_zero, minus};
    always_ff @(posedge clk) begin
      sum_q   <= sum[11:1];
      zero_q  <= flags[LaneTime][1];
      above_q <= positive_q;
      if (zero_q) code <= quantized ? {!above_q, {7{above_q}}} : divide_zero;
      else if (sum_q[10:7] == '0 || sum_q[10:7] == '1) code <= sum_q[7:0];
      else code <= {sum_q[10], {7{!sum_q[10]}}};
    end

    // The codes of a lane, and then of all: a lane's part of the word stays for DIGITS cycles. With three digits the first
    // lanes wait a cycle.
    localparam int Wait = DIGITS == 3 && LaneTime == 0 ? 1 : 0;
    localparam int Columns = 16 - DIGITS * l < DIGITS ? 16 - DIGITS * l : DIGITS;
    logic [7:0] code_q;
    logic [DIGITS-2:0][7:0] earlier;
    logic [DIGITS-1:0][7:0] codes;
    delay #(
        .WIDTH (8),
        .CYCLES(Wait)
    ) u_code (
        .clk,
        .in (code),
        .out(code_q)
    );
    assign codes = {code_q, earlier};
    always_ff @(posedge clk) begin
      earlier <= codes[DIGITS-1:1];
      if (go[LaneTime+22+DIGITS+Wait]) word[8*DIGITS*l+:8*Columns] <= codes[Columns-1:0];
    end
    logic unused;
    assign unused = &{1'b0, n_code[l][11:8], sum[0], ready_q, valid_q, codes, fine};
  end

  assign word_valid = go[26+DIGITS];

  logic unused;
  assign unused = &{1'b0, norm_code[11:8], total[0], ended, go, ready_n, valid_n, ready_m, valid_m};

endmodule

`default_nettype wire
