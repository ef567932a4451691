// SPDX-License-Identifier: Apache-2.0
// Signed WIDTH x 8 multiplier in fabric: four radix-4 Booth rows, each one LUT6 and one carry bit for each bit.
//
//   0 --> + digit 0 of w --> >> 2 --> + digit 1 --> >> 2 --> + digit 2 --> >> 2 --> + digit 3 --> product
//           |                          |
//           one of -2x, -x, 0, x, 2x: the select, its inversion and the addition are one LUT6
//
// Combinational: four LUTs and four carry chains deep; registers are the caller's.
//
// WIDTH  bits of x
`default_nettype none

module booth_multiply #(
    parameter int WIDTH = 8
) (
    input  wire logic [WIDTH-1:0] x,       // signed
    input  wire logic [7:0]       w,       // signed
    output var  logic [WIDTH+7:0] product  // signed
);

  localparam int Row = WIDTH + 2;  // |a quarter of the sum so far + 2x| < 2^(WIDTH + 1)

  logic [3:0][Row-1:0] sum;  // after row k, in units of 4^k

  for (genvar k = 0; k < 4; k++) begin : gen_row
    logic high, middle, low;
    logic one, two;
    logic [Row-1:0] term, previous;
    logic [Row:0] next;
    assign high = w[2*k+1];
    assign middle = w[2*k];
    if (k == 0) begin : gen_first
      assign low = 1'b0;
      assign previous = '0;
    end else begin : gen_next
      assign low = w[2*k-1];
      assign previous = {{2{sum[k-1][Row-1]}}, sum[k-1][Row-1:2]};
      assign product[2*k-1:2*k-2] = sum[k-1][1:0];
    end
    assign one  = middle ^ low;
    assign two  = (high ^ middle) && !one;
    assign term = (({{2{x[WIDTH-1]}}, x} & {Row{one}}) | ({x[WIDTH-1], x, 1'b0} & {Row{two}})) ^ {Row{high}};
    // previous + term + high. As a difference, whose lowest bit borrows unless a negation wants its +1, so that the carry
    // chain takes `previous` and the rest of the row is one LUT: tools swap the operands of a sum.
    assign next = {previous, high} - {~term, 1'b1};
    assign sum[k] = next[Row:1];
    logic unused;
    assign unused = &{1'b0, next[0]};
  end

  assign product[WIDTH+7:6] = sum[3];

endmodule

`default_nettype wire
