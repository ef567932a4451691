// SPDX-License-Identifier: Apache-2.0
// LANES channels of one pixel: the sum of TAPS products int8 x int8, all in fabric, one sum a lane and cycle.
//
//   x[TAPS] --> reg --> booth_multiply x TAPS --> reg --> 3 sums of up to 3 --> reg --> sum of 3 --> reg --> sum
//   weight --> reg (on load) --^
//
// Latency: operands 1 + products 1 + sums of three 1 + sum 1 = 4. Initiation interval 1.
// Stall: in_ready is low while the output is valid and not taken; then the whole pipeline stands, and nothing is lost.
// in_ready depends on out_ready combinationally. `reset` clears the valid bits only.
// load[t], with in_ready high: weight[t] is the weight of tap t from this cycle's x on; those that entered before keep theirs.
//
// LANES  channels
// TAPS   products of a sum, at most 9
`default_nettype none

module depthwise_mac #(
    parameter int LANES = 16,
    parameter int TAPS  = 9
) (
    input  wire logic                            clk,
    input  wire logic                            reset,
    input  wire logic [TAPS-1:0]                 load,
    input  wire logic [TAPS-1:0][LANES-1:0][7:0] weight,     // signed
    input  wire logic                            in_valid,
    output var  logic                            in_ready,
    input  wire logic [TAPS-1:0][LANES-1:0][7:0] x,          // signed
    output var  logic                            out_valid,
    input  wire logic                            out_ready,
    output var  logic [LANES-1:0][19:0]          sum         // signed, |sum| <= 9 * 2^14
);

  if (TAPS < 1 || TAPS > 9) begin : gen_check
    $error("depthwise_mac: 1 to 9 taps in a pass");
  end

  localparam int Latency = 4;

  logic advance;
  logic [Latency-1:0] valid;
  assign out_valid = valid[Latency-1];
  assign advance   = out_ready || !out_valid;
  assign in_ready  = advance;

  logic [TAPS-1:0][LANES-1:0][7:0] w_q, x_q;
  logic [8:0][LANES-1:0][15:0] product, product_q;  // taps that do not exist are 0
  logic [2:0][LANES-1:0][17:0] part_q;

  always_ff @(posedge clk) begin
    if (reset) valid <= '0;
    else if (advance) valid <= {valid[Latency-2:0], in_valid};
    if (advance) begin
      x_q <= x;
      for (int t = 0; t < TAPS; t++) begin
        if (load[t]) w_q[t] <= weight[t];
      end
      product_q <= product;
    end
  end

  for (genvar t = 0; t < 9; t++) begin : gen_tap
    if (t < TAPS) begin : gen_product
      for (genvar l = 0; l < LANES; l++) begin : gen_lane
        booth_multiply #(
            .WIDTH(8)
        ) u_multiply (
            .x(x_q[t][l]),
            .w(w_q[t][l]),
            .product(product[t][l])
        );
      end
    end else begin : gen_zero
      assign product[t] = '0;
    end
  end

  for (genvar l = 0; l < LANES; l++) begin : gen_sum
    for (genvar g = 0; g < 3; g++) begin : gen_part
      logic [16:0] pair;
      assign pair = sign_extend(product_q[3*g][l]) + sign_extend(product_q[3*g+1][l]);
      always_ff @(posedge clk) begin
        if (advance) part_q[g][l] <= {pair[16], pair} + {product_q[3*g+2][l][15], sign_extend(product_q[3*g+2][l])};
      end
    end

    logic [18:0] parts;
    assign parts = {part_q[0][l][17], part_q[0][l]} + {part_q[1][l][17], part_q[1][l]};
    always_ff @(posedge clk) begin
      if (advance) sum[l] <= {parts[18], parts} + {{2{part_q[2][l][17]}}, part_q[2][l]};
    end
  end

  function automatic logic [16:0] sign_extend(input logic [15:0] value);
    sign_extend = {value[15], value};
  endfunction

endmodule

`default_nettype wire
