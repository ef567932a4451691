// SPDX-License-Identifier: Apache-2.0
// mac_block.sv as loops over plain integers, for benches of arrays with hundreds of its multipliers: compiled in a fraction of
// the time. That the real one computes this is what the bench mac_block shows.
`default_nettype none

module mac_block #(
    parameter int PAIRS = 8,
    parameter int DEPTH = 16,
    parameter bit PRIMITIVE = 1'b0
) (
    input  wire logic                              clk,
    input  wire logic                              reset,
    input  wire logic                              advance,
    input  wire logic [PAIRS-1:0][DEPTH-1:0]       load,
    input  wire logic [PAIRS-1:0][DEPTH-1:0][26:0] weight,
    input  wire logic                              in_valid,
    input  wire logic                              swap,
    input  wire logic                              packed_sum,
    input  wire logic [DEPTH-1:0][7:0]             x,
    output var  logic                              out_valid,
    output var  logic [PAIRS-1:0][19:0]            even,
    output var  logic [PAIRS-1:0][19:0]            odd
);

  if (PRIMITIVE) begin : gen_check
    $error("mac_block: this model has no DSP48E2");
  end

  // Lane i of pair p at p * DEPTH + i. Column d of a lane: what it takes d cycles later.
  int shadow[PAIRS*DEPTH], active[PAIRS*DEPTH];
  longint product[PAIRS*DEPTH], sum[PAIRS*DEPTH];
  int late[DEPTH*DEPTH];
  int b[DEPTH];
  logic [DEPTH-1:0] swaps;
  logic [DEPTH+1:0] packed_line;
  logic [DEPTH+2:0] valid_line;
  assign out_valid = valid_line[DEPTH+2];

  function automatic logic [27*PAIRS*DEPTH-1:0] flat(input logic [PAIRS-1:0][DEPTH-1:0][26:0] values);
    flat = values;
  endfunction

  logic [27*PAIRS*DEPTH-1:0] weights;
  logic [PAIRS*DEPTH-1:0] loads;
  logic [8*DEPTH-1:0] xs;
  assign weights = flat(weight);
  assign loads = load;
  assign xs = x;

  always @(posedge clk) begin
    if (reset) valid_line <= '0;
    else if (advance) valid_line <= {valid_line[DEPTH+1:0], in_valid};
    if (advance) begin
      // From the last stage to the first, each with what the one before it had.
      for (int p = 0; p < PAIRS; p++) begin
        longint last;
        last = sum[p*DEPTH+DEPTH-1];
        if (packed_line[DEPTH+1]) begin
          even[p] <= 20'(int'($signed(last[18:0])));
          odd[p]  <= 20'((last >>> 19) + longint'(last[18]));
        end else begin
          even[p] <= last[19:0];
          odd[p]  <= last[19:0];
        end
        for (int i = DEPTH - 1; i >= 0; i--) begin
          sum[p*DEPTH+i] = (i == 0 ? 64'sd0 : sum[p*DEPTH+(i==0?0 : i-1)]) + product[p*DEPTH+i];
        end
      end
      for (int n = 0; n < PAIRS * DEPTH; n++) begin
        product[n] = longint'(active[n]) * longint'(b[n%DEPTH]);
        if (swap_of(n % DEPTH)) active[n] = shadow[n];
        if (loads[n]) shadow[n] = int'($signed(weights[27*n+:27]));
      end
      for (int i = 0; i < DEPTH; i++) begin
        b[i] = i == 0 ? int'($signed(xs[7:0])) : late[i*DEPTH+(i==0?0 : i-1)];
        for (int d = DEPTH - 1; d > 0; d--) late[i*DEPTH+d] = late[i*DEPTH+d-1];
        late[i*DEPTH] = int'($signed(xs[8*i+:8]));
      end
      swaps <= DEPTH'({swaps, swap});
      packed_line <= {packed_line[DEPTH:0], packed_sum};
    end
  end

  function automatic logic swap_of(input int lane);
    swap_of = lane == 0 ? swap : swaps[lane-1];
  endfunction

endmodule

`default_nettype wire
