// SPDX-License-Identifier: Apache-2.0
// Partial sums of one block: 16 channels x GROUPS pixel groups x 2 halves, in LUT memory.
//
//   address[h] --|reg|--> half h --|reg|--> old[h] --+--> value[h] (also read by the epilogue)
//                                                    +--> choose, or 0 --> + --|reg|--> write
//   even, odd -----------------------------------------------------------^
//
// Latency: address 1 + memory 1 to `value`; in that cycle the sums to add are there; sum 1 + write 1: a group's sum may be
// read again three cycles after it was read. Sums wrap at WIDTH bits.
// add_even and add_odd say which channels are updated; add_first starts them at 0. All add_* come with `address`.
//
// GROUPS  pixel groups of a half
// WIDTH   bits of a sum
`default_nettype none

module mac_accumulator #(
    parameter  int GROUPS = 32,
    parameter  int WIDTH  = 27,
    localparam int G = $clog2(GROUPS)
) (
    input  wire logic                              clk,
    input  wire logic [1:0][G-1:0]                 address,
    input  wire logic                              add_half,
    input  wire logic                              add_first,
    input  wire logic                              add_even,
    input  wire logic                              add_odd,
    input  wire logic [7:0][19:0]                  even,
    input  wire logic [7:0][19:0]                  odd,
    output var  logic [1:0][7:0][1:0][WIDTH-1:0]   value      // channel 2 c + 0 is [c][0]
);

  // Each block has its own copy of the controls.
  (* keep = "true" *)logic [1:0][G-1:0] address_1;
  (* keep = "true" *)logic half_1, first_1, even_1, odd_1;
  logic half_2, first_2, even_2, odd_2, half_3, even_3, odd_3;
  logic [G-1:0] index_2, index_3;

  always_ff @(posedge clk) begin
    address_1 <= address;
    {half_1, first_1, even_1, odd_1} <= {add_half, add_first, add_even, add_odd};
    {half_2, first_2, even_2, odd_2} <= {half_1, first_1, even_1, odd_1};
    {half_3, even_3, odd_3} <= {half_2, even_2, odd_2};
    index_2 <= address_1[half_1];
    index_3 <= index_2;
  end

  for (genvar p = 0; p < 2; p++) begin : gen_parity
    logic [8*WIDTH-1:0] sum;

    for (genvar h = 0; h < 2; h++) begin : gen_half
      (* ram_style = "distributed" *)logic [8*WIDTH-1:0] mem[GROUPS];
      logic write;
      assign write = (p == 0 ? even_3 : odd_3) && half_3 == (h == 1);
      logic [8*WIDTH-1:0] read;
      always_ff @(posedge clk) begin
        if (write) mem[index_3] <= sum;
        read <= mem[address_1[h]];
      end
      for (genvar c = 0; c < 8; c++) begin : gen_value
        assign value[h][c][p] = read[WIDTH*c+:WIDTH];
      end
    end

    for (genvar c = 0; c < 8; c++) begin : gen_channel
      logic [WIDTH-1:0] addend, old;
      logic [WIDTH:0] total;
      assign addend = {{(WIDTH - 20) {p == 0 ? even[c][19] : odd[c][19]}}, p == 0 ? even[c] : odd[c]};
      assign old = first_2 ? '0 : value[half_2][c][p];
      // addend + old as a difference: the carry chain takes `addend`, and the choice of `old` shares the LUT of the sum.
      assign total = {addend, 1'b0} - {~old, 1'b1};
      always_ff @(posedge clk) sum[WIDTH*c+:WIDTH] <= total[WIDTH:1];
      logic unused;
      assign unused = &{1'b0, total[0]};
    end
  end

endmodule

`default_nettype wire
