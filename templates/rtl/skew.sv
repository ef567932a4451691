// SPDX-License-Identifier: Apache-2.0
// Staircase of delays in front of a systolic cascade: lane i comes out i cycles later than it went in.
//
//   in[0] ------------------------> out[0]
//   in[1] --> reg ----------------> out[1]
//   in[2] --> reg --> reg --------> out[2]        (shift registers: one LUT a bit, not one register a bit and cycle)
//
// Latency: i cycles with `advance` for lane i; lane 0 is a wire.
// Stall: nothing moves while `advance` is low. No reset: what was in flight before the first value is never used.
//
// LANES  number of lanes
// WIDTH  bits of a lane
`default_nettype none

module skew #(
    parameter int LANES = 16,
    parameter int WIDTH = 8
) (
    input  wire logic                        clk,
    input  wire logic                        advance,
    input  wire logic [LANES-1:0][WIDTH-1:0] in,
    output var  logic [LANES-1:0][WIDTH-1:0] out
);

  assign out[0] = in[0];

  for (genvar i = 1; i < LANES; i++) begin : gen_lane
    logic [i*WIDTH-1:0] line;  // the newest value lowest
    always_ff @(posedge clk) begin
      if (advance) line <= (i * WIDTH)'({line, in[i]});
    end
    assign out[i] = line[i*WIDTH-1:(i-1)*WIDTH];
  end

endmodule

`default_nettype wire
