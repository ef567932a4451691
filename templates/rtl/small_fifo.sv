// SPDX-License-Identifier: Apache-2.0
// A short queue in LUT memory; its oldest element stands at the output.
//
//   in --> mem[DEPTH] --> out
//
// Latency: 1 cycle from in to out. One element in and one out a cycle. The user watches `full`: an element that comes
// while it is high is lost. `reset` empties it.
//
// WIDTH  bits of an element
// DEPTH  elements, a power of two of at least 2
`default_nettype none

module small_fifo #(
    parameter int WIDTH = 8,
    parameter int DEPTH = 8
) (
    input  wire logic             clk,
    input  wire logic             reset,
    input  wire logic             in_valid,
    input  wire logic [WIDTH-1:0] in,
    output var  logic             full,
    output var  logic             out_valid,
    output var  logic [WIDTH-1:0] out,
    input  wire logic             out_take    // with out_valid only
);

  localparam int Bits = $clog2(DEPTH);

  logic [WIDTH-1:0] mem[DEPTH];
  logic [Bits-1:0] head, tail;
  logic [Bits:0] count;

  assign out  = mem[head];
  assign full = count[Bits];

  always_ff @(posedge clk) begin
    if (in_valid) mem[tail] <= in;
    if (reset) begin
      head <= '0;
      tail <= '0;
      count <= '0;
      out_valid <= 1'b0;
    end else begin
      if (in_valid) tail <= tail + 1'b1;
      if (out_take) head <= head + 1'b1;
      if (in_valid && !out_take) begin
        count <= count + 1'b1;
        out_valid <= 1'b1;
      end else if (out_take && !in_valid) begin
        count <= count - 1'b1;
        out_valid <= count != {{Bits{1'b0}}, 1'b1};
      end
    end
  end

endmodule

`default_nettype wire
