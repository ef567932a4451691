// SPDX-License-Identifier: Apache-2.0
// A value CYCLES cycles later: a shift register, one LUT a bit up to 17 to 33 cycles.
//
//   in --> reg x CYCLES --> out
//
// Latency: CYCLES. No reset: what comes out in the first cycles is arbitrary. Valid bits need registers with a reset.
//
// WIDTH   bits
// CYCLES  0: a wire
`default_nettype none

module delay #(
    parameter int WIDTH  = 8,
    parameter int CYCLES = 1
) (
    input  wire logic             clk,
    input  wire logic [WIDTH-1:0] in,
    output var  logic [WIDTH-1:0] out
);

  if (CYCLES == 0) begin : gen_wire
    assign out = in;
    logic unused;
    assign unused = &{1'b0, clk};
  end else begin : gen_line
    logic [CYCLES*WIDTH-1:0] line;  // the newest value lowest
    always_ff @(posedge clk) line <= (CYCLES * WIDTH)'({line, in});
    assign out = line[CYCLES*WIDTH-1:(CYCLES-1)*WIDTH];
  end

endmodule

`default_nettype wire
