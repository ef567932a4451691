// SPDX-License-Identifier: Apache-2.0
// One of the attention engine's multipliers, with its sum.
//
//   x, w --> booth_multiply --> p --> + --> sum
//                                     ^
//        0, own sum, the sum above ---+
//
// Cycle 0: x, w; 1: clear (the sum starts at 0), chain (the sum above goes in, else the own one); 2: sum.
// Initiation interval 1; no stall, no reset.
//
// ACC_BITS  of the sum
`default_nettype none

module attention_cell #(
    parameter int ACC_BITS = 29
) (
    input  wire logic                clk,
    input  wire logic                clear,
    input  wire logic                chain,
    input  wire logic [8:0]          x,      // signed, |x| <= 255
    input  wire logic [7:0]          w,      // signed
    input  wire logic [ACC_BITS-1:0] above,
    output var  logic [ACC_BITS-1:0] sum     // signed
);

  /*verilator no_inline_module*/  // simulation: compiled once, not 272 times

  if (ACC_BITS < 20) begin : gen_check
    $error("attention_cell: a column of 16 products needs 20 bits");
  end

  logic [16:0] product;  // 16 bits are enough for |x| <= 255
  logic [15:0] p;
  logic [ACC_BITS-1:0] other;
  logic [ACC_BITS:0] next;

  booth_multiply #(
      .WIDTH(9)
  ) u_multiply (
      .x,
      .w,
      .product
  );

  // As a difference, so that the carry chain takes p and the choice of the other operand is part of the adder's LUT.
  assign other = clear ? '0 : chain ? above : sum;
  assign next  = {{(ACC_BITS - 16) {p[15]}}, p, 1'b0} - {~other, 1'b1};

  always_ff @(posedge clk) begin
    p <= product[15:0];
    sum <= next[ACC_BITS:1];
  end

  logic unused;
  assign unused = &{1'b0, product[16], next[0]};

endmodule

`default_nettype wire
