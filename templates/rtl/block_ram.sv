// SPDX-License-Identifier: Apache-2.0
// Block memory with one write port, one read port and an output register.
//
//   read_address --|latch (while read_enable)|--|output register|--> read_data
//
// Latency: a word comes 2 cycles after its address. A write is seen by addresses that come a cycle later; what a read of the
// same word in the same cycle gives is undefined. No reset: the contents are arbitrary at the start.
//
// WIDTH, DEPTH  words of WIDTH bits
`default_nettype none

module block_ram #(
    parameter int WIDTH = 128,
    parameter int DEPTH = 1024,
    localparam int AddressBits = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
    input  wire logic                   clk,
    input  wire logic                   write_enable,
    input  wire logic [AddressBits-1:0] write_address,
    input  wire logic [WIDTH-1:0]       write_data,
    input  wire logic                   read_enable,
    input  wire logic [AddressBits-1:0] read_address,
    output var  logic [WIDTH-1:0]       read_data
);

  (* ram_style = "block" *) logic [WIDTH-1:0] mem[DEPTH];
  logic [WIDTH-1:0] latch;

  always_ff @(posedge clk) begin
    if (write_enable) mem[write_address] <= write_data;
    if (read_enable) latch <= mem[read_address];
    read_data <= latch;
  end

endmodule

`default_nettype wire
