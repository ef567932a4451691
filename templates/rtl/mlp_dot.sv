// SPDX-License-Identifier: Apache-2.0
// Two sums of 16 products int8 x int8 a cycle, added up in 16 accumulators; finished sums lie in a small memory.
//
//   a, b (registers of the caller) --> booth_multiply x 32 --> reg --> sums of 4 --> reg --> sum of 4 --> reg --+
//                                                                                                             |
//   read_sum <-- memory of 4 groups x 8 pairs <-- if `last` -- + <---------------------------------------------+
//                                                              ^ v
//                                                              8 pairs in a circle (shift registers)
//
// A step is one pair of channels; steps come in eights, pair 0 first, with any idle cycles between them. `first` with all
// eight steps starts a sum, `last` with all eight ends it (both at once: a sum of one step).
// Latency: products 1 + sums of four 1 + sum 1 + accumulator and memory 1 = 4 to read_sum. Initiation interval 1, no stall.
// `stored` is high in the cycle before pair 7 of a group can be read. `clear` (no step in flight) starts at group 0 again.
`default_nettype none

module mlp_dot (
    input  wire logic                 clk,
    input  wire logic                 reset,
    input  wire logic                 clear,
    input  wire logic                 in_valid,
    input  wire logic                 first,
    input  wire logic                 last,
    input  wire logic [255:0]         a,             // signed: channel 0 or 1, then input 0 to 15
    input  wire logic [255:0]         b,             // signed
    output var  logic                 stored,
    input  wire logic [4:0]           read_address,  // group % 4, pair
    output var  logic [53:0]          read_sum       // of two channels, signed, modulo 2^27
);

  // Control, beside the data.
  logic [2:0] valid, first_q, last_q;
  logic [4:0] write_address;  // group % 4, pair
  logic write;
  assign write  = valid[2] && last_q[2];
  assign stored = write && write_address[2:0] == 3'd7;

  always_ff @(posedge clk) begin
    first_q <= {first_q[1:0], first};
    last_q  <= {last_q[1:0], last};
    if (reset || clear) begin
      valid <= '0;
      write_address <= '0;
    end else begin
      valid <= {valid[1:0], in_valid};
      if (valid[2]) begin
        write_address[2:0] <= write_address[2:0] + 3'd1;
        if (stored) write_address[4:3] <= write_address[4:3] + 2'd1;
      end
    end
  end

  for (genvar o = 0; o < 2; o++) begin : gen_channel
    logic [16*16-1:0] product, product_q;
    logic [4*18-1:0] part, part_q;
    logic [19:0] sum_q;

    for (genvar i = 0; i < 16; i++) begin : gen_product
      booth_multiply #(
          .WIDTH(8)
      ) u_multiply (
          .x(a[128*o+8*i+:8]),
          .w(b[128*o+8*i+:8]),
          .product(product[16*i+:16])
      );
    end

    for (genvar g = 0; g < 4; g++) begin : gen_part
      logic [63:0] four;
      logic [16:0] low, high;
      assign four = product_q[64*g+:64];
      assign low  = {four[15], four[15:0]} + {four[31], four[31:16]};
      assign high = {four[47], four[47:32]} + {four[63], four[63:48]};
      assign part[18*g+:18] = {low[16], low} + {high[16], high};
    end

    logic [18:0] low_half, high_half;
    assign low_half  = {part_q[17], part_q[17:0]} + {part_q[35], part_q[35:18]};
    assign high_half = {part_q[53], part_q[53:36]} + {part_q[71], part_q[71:54]};

    always_ff @(posedge clk) begin
      product_q <= product;
      part_q <= part;
      sum_q <= {low_half[18], low_half} + {high_half[18], high_half};
    end

    // The circle: the accumulator of this step's pair is the oldest of the eight.
    logic [8*27-1:0] circle;
    logic [26:0] accumulator;
    assign accumulator = (first_q[2] ? 27'd0 : circle[8*27-1:7*27]) + {{7{sum_q[19]}}, sum_q};
    always_ff @(posedge clk) begin
      if (valid[2]) circle <= {circle[7*27-1:0], accumulator};
    end

    logic [26:0] memory[32];
    always_ff @(posedge clk) begin
      if (write) memory[write_address] <= accumulator;
    end
    assign read_sum[27*o+:27] = memory[read_address];
  end

endmodule

`default_nettype wire
