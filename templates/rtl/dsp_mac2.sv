// SPDX-License-Identifier: Apache-2.0
// Cascade of DEPTH multiply-adds, two int8 weights on each DSP48E2, and one separation of the two sums at its end.
//
//   weight[i] --> A1 (shadow) --> A2 (active) --\
//                                                x --> M --> + --> P --> PCOUT to stage i + 1
//   x[i] -----------------------> B ------------/           ^
//                                                 PCIN of stage i - 1
//   P[DEPTH-1] --> separate: low FIELD bits | rest + borrow --> even, odd
//
// PREADD:  weight[i] --> A (shadow) --\
//                                      + --> AD (active)
//          low[i] -----> D (shadow) --/
//
// FIELD 19: weight = (w1 << 19) + w0 with |w0|, |w1| <= 127: |sum w0 x| <= 16 * 127 * 128 < 2^18 stays in the low 19 bits,
// and what a negative low sum borrowed from the high field comes back as its sign bit. A channel with a weight of -128
// breaks the bound (27 bits do not hold it beside a negative w0): its weights come one to a stage, sign-extended, with
// `packed_sum` low, and both outputs are the whole sum.
// FIELD 18: weight = (w1 << 18) + w0 fits 27 bits for every w0, w1, and with at most 7 stages |sum w0 x| <= 7 * 2^14 < 2^17
// stays in the low 18 bits: no channel needs `packed_sum` low.
//
// Timing, in cycles with `advance`: stage i takes weight[i], load[i], swap[i] and x[i] i cycles after stage 0 (skew.sv).
//   swap[i] with x[i]: this x is the first that meets the operand loaded last. load[i] in the same cycle fills the shadow
//   for the next swap.
// Latency from x[0]: B 1 + M 1 + P of stage 0 1 + cascade DEPTH - 1 + separation 1 = DEPTH + 3.
//   packed_sum is sampled with the last of these edges, DEPTH + 2 cycles after its x[0].
//   Without SEPARATE, DEPTH + 2: even and odd are the fields of P, and who adds up odd adds the borrow, even[19], too.
// Initiation interval 1. Stall: nothing moves while `advance` is low. No reset: undefined until first used.
//
// DEPTH      stages, at most 16, or 7 with FIELD 18 (the bounds above)
// FIELD      bits of the low sum, 19 or 18
// PREADD     1: the DSP adds low[i], signed, to weight[i] as both are loaded; 0: low is ignored
// SEPARATE   0: no separation, packed_sum is ignored
// PRIMITIVE  1: DSP48E2 instances, 0: the same registers behaviourally. Nothing else in the machine names a vendor cell.
`default_nettype none

module dsp_mac2 #(
    parameter int DEPTH = 16,
    parameter int FIELD = 19,
    parameter bit PREADD = 1'b0,
    parameter bit SEPARATE = 1'b1,
`ifdef SYNTHESIS
    parameter bit PRIMITIVE = 1'b1
`else
    parameter bit PRIMITIVE = 1'b0
`endif
) (
    input  wire logic                   clk,
    input  wire logic                   advance,
    input  wire logic [DEPTH-1:0]       load,
    input  wire logic [DEPTH-1:0]       swap,
    input  wire logic [DEPTH-1:0][26:0] weight,
    input  wire logic [DEPTH-1:0][7:0]  low,
    input  wire logic [DEPTH-1:0][7:0]  x,
    input  wire logic                   packed_sum,
    output var  logic [19:0]            even,
    output var  logic [19:0]            odd
);

  if (DEPTH < 1 || !(FIELD == 19 && DEPTH <= 16 || FIELD == 18 && DEPTH <= 7)) begin : gen_check
    $error("dsp_mac2: 1 to 16 stages with FIELD 19, 1 to 7 with FIELD 18; with more the low sum leaves its field");
  end

  logic [FIELD+19-1:0] sum;  // all that the separation looks at

  if (PRIMITIVE) begin : gen_dsp
    logic [48*DEPTH+47:0] cascade;  // PCOUT of stage i at 48 (i + 1)
    assign cascade[47:0] = '0;

    for (genvar i = 0; i < DEPTH; i++) begin : gen_stage
      logic [47:0] p;
      logic [65:0] idle;  // outputs that nobody needs

      DSP48E2 #(
          .AMULTSEL(PREADD ? "AD" : "A"),
          .A_INPUT("DIRECT"),
          .BMULTSEL("B"),
          .B_INPUT("DIRECT"),
          .PREADDINSEL("A"),
          .USE_MULT("MULTIPLY"),
          .USE_SIMD("ONE48"),
          .USE_PATTERN_DETECT("NO_PATDET"),
          .AREG(PREADD ? 1 : 2),
          .ACASCREG(PREADD ? 1 : 2),
          .BREG(1),
          .BCASCREG(1),
          .CREG(0),
          .DREG(PREADD ? 1 : 0),
          .ADREG(PREADD ? 1 : 0),
          .MREG(1),
          .PREG(1),
          .ALUMODEREG(0),
          .CARRYINREG(0),
          .CARRYINSELREG(0),
          .INMODEREG(0),
          .OPMODEREG(0)
      ) u_dsp (
          .CLK(clk),
          .A({{3{weight[i][26]}}, weight[i]}),
          .B({{10{x[i][7]}}, x[i]}),
          .C(48'b0),
          .D(PREADD ? {{19{low[i][7]}}, low[i]} : 27'b0),
          .ACIN(30'b0),
          .BCIN(18'b0),
          .PCIN(cascade[48*i+:48]),
          .CARRYCASCIN(1'b0),
          .CARRYIN(1'b0),
          .MULTSIGNIN(1'b0),
          .ALUMODE(4'b0000),  // Z + W + X + Y
          .CARRYINSEL(3'b000),
          .INMODE(PREADD ? 5'b00100 : 5'b00000),  // (A2 + D) or A2, times B2
          .OPMODE(i == 0 ? 9'b00_000_01_01 : 9'b00_001_01_01),  // X, Y: the product; Z: 0 or PCIN
          .CEA1(!PREADD && advance && load[i]),
          .CEA2(advance && (PREADD ? load[i] : swap[i])),
          .CEB1(1'b0),
          .CEB2(advance),
          .CEM(advance),
          .CEP(advance),
          .CEAD(PREADD && advance && swap[i]),
          .CEALUMODE(1'b0),
          .CEC(1'b0),
          .CECARRYIN(1'b0),
          .CECTRL(1'b0),
          .CED(PREADD && advance && load[i]),
          .CEINMODE(1'b0),
          .RSTA(1'b0),
          .RSTALLCARRYIN(1'b0),
          .RSTALUMODE(1'b0),
          .RSTB(1'b0),
          .RSTC(1'b0),
          .RSTCTRL(1'b0),
          .RSTD(1'b0),
          .RSTINMODE(1'b0),
          .RSTM(1'b0),
          .RSTP(1'b0),
          .P(p),
          .PCOUT(cascade[48*(i+1)+:48]),
          .ACOUT(idle[29:0]),
          .BCOUT(idle[47:30]),
          .CARRYCASCOUT(idle[48]),
          .CARRYOUT(idle[52:49]),
          .MULTSIGNOUT(idle[53]),
          .OVERFLOW(idle[54]),
          .PATTERNBDETECT(idle[55]),
          .PATTERNDETECT(idle[56]),
          .UNDERFLOW(idle[57]),
          .XOROUT(idle[65:58])
      );

      if (i == DEPTH - 1) begin : gen_last
        assign sum = p[FIELD+18:0];
        logic unused;
        assign unused = &{1'b0, idle, p[47:FIELD+19], cascade[48*DEPTH+:48]};
      end else begin : gen_inner
        logic unused;
        assign unused = &{1'b0, idle, p};
      end
    end
  end else begin : gen_behavioural
    // One block for all stages, from the last register to the first, so that each reads what the one before it held. This
    // simulates several times faster than a process for each register.
    logic [26:0] shadow[DEPTH], active[DEPTH];
    logic [7:0] b[DEPTH];
    logic [34:0] product[DEPTH];
    logic [47:0] p[DEPTH];
    /* verilator lint_off BLKSEQ */
    always @(posedge clk) begin
      if (advance) begin
        /* verilator unroll_disable */
        for (int i = DEPTH - 1; i >= 0; i--) begin
          p[i] = (i == 0 ? 48'b0 : p[i==0?0 : i-1]) + {{13{product[i][34]}}, product[i]};
        end
        /* verilator unroll_disable */
        for (int i = 0; i < DEPTH; i++) begin
          product[i] = $unsigned($signed({{8{active[i][26]}}, active[i]}) * $signed({{27{b[i][7]}}, b[i]}));
        end
        /* verilator unroll_disable */
        for (int i = 0; i < DEPTH; i++) b[i] = x[i];
        if (swap != '0) begin
          /* verilator unroll_disable */
          for (int i = 0; i < DEPTH; i++) if (swap[i]) active[i] = shadow[i];
        end
        if (load != '0) begin
          /* verilator unroll_disable */
          for (int i = 0; i < DEPTH; i++) if (load[i]) begin
            shadow[i] = PREADD ? weight[i] + {{19{low[i][7]}}, low[i]} : weight[i];
          end
        end
        sum <= p[DEPTH-1][FIELD+18:0];
      end
    end
    /* verilator lint_on BLKSEQ */
  end

  if (SEPARATE) begin : gen_separate
    // An adder of one bit in the carry input; {.., borrow} + {.., borrow} makes it the carry of bit 0.
    logic borrow;
    logic [19:0] rest;
    logic [20:0] odd_sum;
    assign borrow  = packed_sum && sum[FIELD-1];
    assign rest    = packed_sum ? {sum[FIELD+18], sum[FIELD+18:FIELD]} : sum[19:0];
    assign odd_sum = {20'b0, borrow} + {rest, borrow};

    always_ff @(posedge clk) begin
      if (advance) begin
        even <= packed_sum ? {{20 - FIELD{sum[FIELD-1]}}, sum[FIELD-1:0]} : sum[19:0];
        odd  <= odd_sum[20:1];
      end
    end

    logic unused_carry;
    assign unused_carry = &{1'b0, odd_sum[0]};
  end else begin : gen_fields
    assign even = {{20 - FIELD{sum[FIELD-1]}}, sum[FIELD-1:0]};
    assign odd  = {sum[FIELD+18], sum[FIELD+18:FIELD]};
    logic unused_mode;
    assign unused_mode = packed_sum;
  end

  if (!PREADD) begin : gen_packed
    logic unused_low;
    assign unused_low = ^low;
  end

endmodule

`default_nettype wire
