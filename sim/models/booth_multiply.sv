// SPDX-License-Identifier: Apache-2.0
// booth_multiply.sv as a plain product, for benches of modules with hundreds of them: compiled in a third of the time. That
// the real one is a product is what the bench depthwise_mac shows.
`default_nettype none

module booth_multiply #(
    parameter int WIDTH = 8
) (
    input  wire logic [WIDTH-1:0] x,       // signed
    input  wire logic [7:0]       w,       // signed
    output var  logic [WIDTH+7:0] product  // signed
);

  assign product = $unsigned({{8{x[WIDTH-1]}}, x} * {{WIDTH{w[7]}}, w});

endmodule

`default_nettype wire
