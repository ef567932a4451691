// SPDX-License-Identifier: Apache-2.0
// A long queue in block RAM; its oldest element stands at the output.
//
//   in --> mem[DEPTH] --> read register --> output register --> out
//
// Latency: 3 cycles from in to out. One element in and one out a cycle. The user counts what is in it: an element that
// comes when DEPTH are in memory overwrites one. `reset` empties it.
//
// WIDTH  bits of an element
// DEPTH  elements, a power of two
`default_nettype none

module ram_fifo #(
    parameter int WIDTH = 128,
    parameter int DEPTH = 512
) (
    input  wire logic             clk,
    input  wire logic             reset,
    input  wire logic             in_valid,
    input  wire logic [WIDTH-1:0] in,
    output var  logic             out_valid,
    output var  logic [WIDTH-1:0] out,
    input  wire logic             out_take    // with out_valid only
);

  localparam int Bits = $clog2(DEPTH);

  (* ram_style = "block" *) logic [WIDTH-1:0] mem[DEPTH];
  logic [Bits:0] head, tail;
  logic [WIDTH-1:0] read;
  logic some, read_valid, advance_read, advance_out;

  assign some = head != tail;
  assign advance_out = !out_valid || out_take;
  assign advance_read = !read_valid || advance_out;

  always_ff @(posedge clk) begin
    if (in_valid) mem[tail[Bits-1:0]] <= in;
  end
  always_ff @(posedge clk) begin
    if (advance_read) read <= mem[head[Bits-1:0]];
    if (advance_out) out <= read;
    if (reset) begin
      head <= '0;
      tail <= '0;
      read_valid <= 1'b0;
      out_valid <= 1'b0;
    end else begin
      if (in_valid) tail <= tail + 1'b1;
      if (advance_read && some) head <= head + 1'b1;
      if (advance_read) read_valid <= some;
      if (advance_out) out_valid <= read_valid;
    end
  end

endmodule

`default_nettype wire
