// SPDX-License-Identifier: Apache-2.0
// OUTPUTS sums of 16 products int8 x int8 a cycle, added up in 16 accumulators; finished sums lie in a small memory.
//
//   weights of a pair of outputs --> skew --> 4 x dsp_mac2 (4 inputs each) --> sums of 2 --> reg --> sum --> reg --+
//   x ------------------> reg -----> skew -------^                                                                 |
//                                                                                                                  |
//   read_sum <-- pair <-- memory of 4 groups x STEPS <-- if `last` -- + <------------------------------------------+
//                                                                     ^ v
//                                                                     STEPS accumulators in a circle, for each output
//
// A step is OUTPUTS channels; the STEPS = 16 / OUTPUTS steps of a group come one after the other, channel 0 first, with any
// idle cycles between them. `first` with all steps of a word starts a sum, `last` with all of them ends it (both at once:
// a sum of one word).
// A DSP multiplies two weights with one x, 4 of them are a cascade: any weight, -128 included (dsp_mac2, FIELD 18). What a
// low sum borrowed from the high one comes back through the carries of the four adders behind: no separation.
// Latency: skew and operands 2 + products 1 + cascade 4 + sums of two 1 + sum 1 + accumulator and memory 1 = 10 to
// read_sum. Initiation interval 1, no stall.
// `stored` is high in the cycle before the last pair of a group can be read. `clear` (no step in flight): group 0 again.
//
// OUTPUTS  2, 4 or 8; 8 OUTPUTS DSPs
`default_nettype none

module mlp_dot #(
    parameter int OUTPUTS = 8
) (
    input  wire logic                   clk,
    input  wire logic                   reset,
    input  wire logic                   clear,
    input  wire logic                   in_valid,
    input  wire logic                   first,
    input  wire logic                   last,
    input  wire logic [128*OUTPUTS-1:0] weights,       // signed: output, then input 0 to 15
    input  wire logic [127:0]           x,             // signed
    output var  logic                   stored,
    input  wire logic [4:0]             read_address,  // group % 4, pair of channels
    output var  logic [53:0]            read_sum       // of two channels, signed, modulo 2^27
);

  localparam int Pairs = OUTPUTS / 2;
  localparam int StepBits = $clog2(16 / OUTPUTS);
  localparam int Steps = 1 << StepBits;
  localparam int Latency = 9;  // to the sum of 16 products

  // Control, beside the data.
  logic [Latency-1:0] valid, first_q, last_q;
  logic [StepBits+1:0] write_address;  // group % 4, step
  logic enter, write;
  assign enter  = valid[Latency-1];
  assign write  = enter && last_q[Latency-1];
  assign stored = write && write_address[StepBits-1:0] == '1;

  always_ff @(posedge clk) begin
    first_q <= {first_q[Latency-2:0], first};
    last_q  <= {last_q[Latency-2:0], last};
    if (reset || clear) begin
      valid <= '0;
      write_address <= '0;
    end else begin
      valid <= {valid[Latency-2:0], in_valid};
      if (enter) begin
        write_address[StepBits-1:0] <= write_address[StepBits-1:0] + 1'b1;
        if (stored) write_address[StepBits+1:StepBits] <= write_address[StepBits+1:StepBits] + 2'd1;
      end
    end
  end

  // Operands: input 4 c + i goes to stage i of cascade c, i cycles late; weights one cycle before x.
  logic [127:0] x_q;
  logic [3:0][31:0] x_in, x_late;                  // stage, cascade
  logic [3:0][32*OUTPUTS-1:0] weight_in, weight_late;  // stage, output, cascade
  always_ff @(posedge clk) x_q <= x;

  for (genvar i = 0; i < 4; i++) begin : gen_input
    for (genvar c = 0; c < 4; c++) begin : gen_cascade
      assign x_in[i][8*c+:8] = x_q[32*c+8*i+:8];
      for (genvar o = 0; o < OUTPUTS; o++) begin : gen_output
        assign weight_in[i][32*o+8*c+:8] = weights[128*o+32*c+8*i+:8];
      end
    end
  end

  skew #(
      .LANES(4),
      .WIDTH(32)
  ) u_skew_x (
      .clk,
      .advance(1'b1),
      .in(x_in),
      .out(x_late)
  );
  skew #(
      .LANES(4),
      .WIDTH(32 * OUTPUTS)
  ) u_skew_weights (
      .clk,
      .advance(1'b1),
      .in(weight_in),
      .out(weight_late)
  );

  logic [54*Pairs-1:0] finished;

  for (genvar p = 0; p < Pairs; p++) begin : gen_pair
    logic [4*18-1:0] even, odd;  // of the four cascades; odd without the borrow

    for (genvar c = 0; c < 4; c++) begin : gen_cascade
      logic [3:0][26:0] high;
      logic [3:0][7:0] low, x_stage;
      logic [19:0] even_sum, odd_sum;
      for (genvar i = 0; i < 4; i++) begin : gen_stage
        assign high[i] = {weight_late[i][64*p+32+8*c+7], weight_late[i][64*p+32+8*c+:8], 18'b0};
        assign low[i] = weight_late[i][64*p+8*c+:8];
        assign x_stage[i] = x_late[i][8*c+:8];
      end
      dsp_mac2 #(
          .DEPTH(4),
          .FIELD(18),
          .PREADD(1'b1),
          .SEPARATE(1'b0)
      ) u_mac (
          .clk,
          .advance(1'b1),
          .load(4'hF),
          .swap(4'hF),
          .weight(high),
          .low,
          .x(x_stage),
          .packed_sum(1'b1),
          .even(even_sum),
          .odd(odd_sum)
      );
      assign even[18*c+:18] = even_sum[17:0];
      assign odd[18*c+:18]  = odd_sum[17:0];
      logic unused;
      assign unused = &{1'b0, even_sum[19:18], odd_sum[19:18]};
    end

    // {.., borrow} + {.., borrow} makes the borrow the carry into bit 0.
    logic [1:0] borrow_q;  // of cascades 1 and 3
    logic borrow_qq;
    logic [18:0] even_low, even_high;
    logic [19:0] odd_low, odd_high, even_q;
    logic [20:0] odd_q;
    always_ff @(posedge clk) begin
      borrow_q  <= {even[71], even[35]};
      borrow_qq <= borrow_q[1];
      even_low  <= {even[17], even[17:0]} + {even[35], even[35:18]};
      even_high <= {even[53], even[53:36]} + {even[71], even[71:54]};
      odd_low   <= {odd[17], odd[17:0], even[17]} + {odd[35], odd[35:18], even[17]};
      odd_high  <= {odd[53], odd[53:36], even[53]} + {odd[71], odd[71:54], even[53]};
      even_q    <= {even_low[18], even_low} + {even_high[18], even_high};
      odd_q     <= {odd_low[19], odd_low[19:1], borrow_q[0]} + {odd_high[19], odd_high[19:1], borrow_q[0]};
    end

    // The circle: the accumulator of this step's channel is the oldest.
    logic [27*Steps-1:0] even_circle, odd_circle;
    logic [26:0] even_old, odd_old, even_sum;
    logic [27:0] odd_sum;
    assign even_old = first_q[Latency-1] ? 27'd0 : even_circle[27*Steps-1-:27];
    assign odd_old  = first_q[Latency-1] ? 27'd0 : odd_circle[27*Steps-1-:27];
    assign even_sum = even_old + {{7{even_q[19]}}, even_q};
    assign odd_sum  = {odd_old, borrow_qq} + {{7{odd_q[20]}}, odd_q[20:1], borrow_qq};
    always_ff @(posedge clk) begin
      if (enter) begin
        even_circle <= {even_circle[27*Steps-28:0], even_sum};
        odd_circle  <= {odd_circle[27*Steps-28:0], odd_sum[27:1]};
      end
    end

    logic [53:0] memory[4*Steps];
    always_ff @(posedge clk) begin
      if (write) memory[write_address] <= {odd_sum[27:1], even_sum};
    end
    assign finished[54*p+:54] = memory[read_address[4-:StepBits+2]];

    logic unused_carry;
    assign unused_carry = &{1'b0, odd_low[0], odd_high[0], odd_q[0], odd_sum[0]};
  end

  if (Pairs == 1) begin : gen_one
    assign read_sum = finished;
  end else begin : gen_select
    assign read_sum = finished[54*read_address[2-StepBits:0]+:54];
  end

endmodule

`default_nettype wire
