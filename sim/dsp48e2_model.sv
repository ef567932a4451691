// SPDX-License-Identifier: Apache-2.0
// Simulation model of the part of a DSP48E2 (AMD UG579) that templates/rtl/dsp_mac2.sv uses, and of no more.
//
//   A --> A1 --> A2 --+-----------\
//                      + --> AD ---x --> M --> X + Y --\
//   D ----------> D --/           /                     ALU --> P, PCOUT
//   B --> (B1) --> B2 -----------/                     /
//   PCIN ------------------------------------> Z -----/
//
// Registers follow the attributes AREG, BREG (0 to 2), DREG, ADREG, MREG and PREG (0 or 1). The multiplier takes A with
// AMULTSEL "A" and INMODE 00000, or A + D with AMULTSEL "AD" and INMODE 00100. Only ALUMODE 0000 (Z + X + Y), X and Y = the
// product (OPMODE[3:0] = 0101), Z = 0 or PCIN, no carry, no reset. Everything else stops the simulation, so that a wrong
// attribute or mode in the design cannot pass unnoticed.
`default_nettype none

// verilator lint_off DECLFILENAME
// verilator lint_off UNUSEDPARAM
// verilator lint_off UNUSEDSIGNAL
module DSP48E2 #(
    parameter AMULTSEL = "A",
    parameter A_INPUT = "DIRECT",
    parameter BMULTSEL = "B",
    parameter B_INPUT = "DIRECT",
    parameter PREADDINSEL = "A",
    parameter USE_MULT = "MULTIPLY",
    parameter USE_SIMD = "ONE48",
    parameter USE_PATTERN_DETECT = "NO_PATDET",
    parameter int AREG = 1,
    parameter int ACASCREG = 1,
    parameter int BREG = 1,
    parameter int BCASCREG = 1,
    parameter int CREG = 1,
    parameter int DREG = 1,
    parameter int ADREG = 1,
    parameter int MREG = 1,
    parameter int PREG = 1,
    parameter int ALUMODEREG = 1,
    parameter int CARRYINREG = 1,
    parameter int CARRYINSELREG = 1,
    parameter int INMODEREG = 1,
    parameter int OPMODEREG = 1
) (
    input  wire logic        CLK,
    input  wire logic [29:0] A,
    input  wire logic [17:0] B,
    input  wire logic [47:0] C,
    input  wire logic [26:0] D,
    input  wire logic [29:0] ACIN,
    input  wire logic [17:0] BCIN,
    input  wire logic [47:0] PCIN,
    input  wire logic        CARRYCASCIN,
    input  wire logic        CARRYIN,
    input  wire logic        MULTSIGNIN,
    input  wire logic [ 3:0] ALUMODE,
    input  wire logic [ 2:0] CARRYINSEL,
    input  wire logic [ 4:0] INMODE,
    input  wire logic [ 8:0] OPMODE,
    input  wire logic        CEA1,
    input  wire logic        CEA2,
    input  wire logic        CEB1,
    input  wire logic        CEB2,
    input  wire logic        CEM,
    input  wire logic        CEP,
    input  wire logic        CEAD,
    input  wire logic        CEALUMODE,
    input  wire logic        CEC,
    input  wire logic        CECARRYIN,
    input  wire logic        CECTRL,
    input  wire logic        CED,
    input  wire logic        CEINMODE,
    input  wire logic        RSTA,
    input  wire logic        RSTALLCARRYIN,
    input  wire logic        RSTALUMODE,
    input  wire logic        RSTB,
    input  wire logic        RSTC,
    input  wire logic        RSTCTRL,
    input  wire logic        RSTD,
    input  wire logic        RSTINMODE,
    input  wire logic        RSTM,
    input  wire logic        RSTP,
    output var  logic [47:0] P,
    output var  logic [47:0] PCOUT,
    output var  logic [29:0] ACOUT,
    output var  logic [17:0] BCOUT,
    output var  logic        CARRYCASCOUT,
    output var  logic [ 3:0] CARRYOUT,
    output var  logic        MULTSIGNOUT,
    output var  logic        OVERFLOW,
    output var  logic        PATTERNBDETECT,
    output var  logic        PATTERNDETECT,
    output var  logic        UNDERFLOW,
    output var  logic [ 7:0] XOROUT
);

  if ((AMULTSEL != "A" && AMULTSEL != "AD") || PREADDINSEL != "A" || A_INPUT != "DIRECT" || BMULTSEL != "B" || B_INPUT != "DIRECT" || USE_MULT != "MULTIPLY" ||
      USE_SIMD != "ONE48" || USE_PATTERN_DETECT != "NO_PATDET" || ALUMODEREG != 0 || CARRYINREG != 0 ||
      CARRYINSELREG != 0 || INMODEREG != 0 || OPMODEREG != 0) begin : gen_attribute
    $error("DSP48E2 model: an attribute that it does not know");
  end

  always_ff @(posedge CLK) begin
    if (ALUMODE != 4'b0000 || CARRYINSEL != 3'b000 || INMODE != (AMULTSEL == "AD" ? 5'b00100 : 5'b00000) || OPMODE[3:0] != 4'b0101 ||
        OPMODE[8:7] != 2'b00 || !(OPMODE[6:4] inside {3'b000, 3'b001}) || CARRYIN || RSTA || RSTB || RSTM || RSTP) begin
      $fatal(1, "DSP48E2 model: a mode that it does not know");
    end
  end

  // With two registers CEx1 and CEx2 enable the first and the second; a single one listens to CEx2.
  logic [29:0] a1, a2, a;
  logic [17:0] b1, b2, b;
  always_ff @(posedge CLK) begin
    if (CEA1) a1 <= A;
    if (CEA2) a2 <= AREG == 2 ? a1 : A;
    if (CEB1) b1 <= B;
    if (CEB2) b2 <= BREG == 2 ? b1 : B;
  end
  assign a = AREG == 0 ? A : a2;
  assign b = BREG == 0 ? B : b2;

  // The pre-adder has 27 bits: it does not see A[29:27], nor does the multiplier of 27 x 18, signed.
  logic [26:0] d_register, ad_register, d, ad, factor;
  always_ff @(posedge CLK) begin
    if (CED) d_register <= D;
    if (CEAD) ad_register <= a[26:0] + d;
  end
  assign d = DREG == 0 ? D : d_register;
  assign ad = ADREG == 0 ? a[26:0] + d : ad_register;
  assign factor = AMULTSEL == "AD" ? ad : a[26:0];

  logic [44:0] product, m_register, m;
  assign product = $unsigned($signed({{18{factor[26]}}, factor}) * $signed({{27{b[17]}}, b}));
  always_ff @(posedge CLK) if (CEM) m_register <= product;
  assign m = MREG == 0 ? product : m_register;

  logic [47:0] z, sum, p_register;
  assign z   = OPMODE[6:4] == 3'b001 ? PCIN : 48'd0;
  assign sum = z + {{3{m[44]}}, m};
  always_ff @(posedge CLK) if (CEP) p_register <= sum;
  assign P = PREG == 0 ? sum : p_register;

  assign PCOUT = P;
  assign ACOUT = a;
  assign BCOUT = b;
  assign {CARRYCASCOUT, CARRYOUT, MULTSIGNOUT, OVERFLOW, PATTERNBDETECT, PATTERNDETECT, UNDERFLOW, XOROUT} = '0;

endmodule

`default_nettype wire
