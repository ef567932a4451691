// SPDX-License-Identifier: Apache-2.0
// One row of the attention engine's 16 x 17 multipliers: 17 cells (attention_cell) that share an operand x.
//
//   address --> operand memory --> w       address --> operand memory, 32 x 32 --> w
//      |                           |          ^                                    |
//      +---------------------------|--> reg --+--------------------------------> reg --> ...
//                                  v                                               v
//   x --------------------------> cell 0 ------------------------------> reg --> cells 1 to 4 --> reg --> cells 5 to 8 ...
//
// Groups of columns, 0: column 0; g: columns 4 g - 3 to 4 g. Group g does everything g cycles after group 0, so that no
// operand drives more than four cells.
// Time of group 0: address in cycle 0, x in 1, `first` in 1, p in 2, sum in 3. `first`: the sum starts at 0. Otherwise it
// goes on from the own sum, and from `drain` until the next `first` from the sum above; `drain` comes in cycle 1, too.
// Initiation interval 1; no stall, no reset: `first` ends what was there before.
//
// ACC_BITS  of a sum
`default_nettype none

module attention_row #(
    parameter int ACC_BITS = 29
) (
    input  wire logic                      clk,
    input  wire logic [4:0]                address,
    input  wire logic                      first,
    input  wire logic                      drain,
    input  wire logic [8:0]                x,           // signed, |x| <= 255
    input  wire logic [4:0]                data_write,  // write port of the operand memories, by group
    input  wire logic [4:0][4:0]           data_address,
    input  wire logic [16:0][7:0]          data,        // signed
    input  wire logic [16:0][ACC_BITS-1:0] above,
    output var  logic [16:0][ACC_BITS-1:0] sum          // signed; group g is g cycles late
);

  /*verilator no_inline_module*/  // simulation: compiled once, not sixteen times

  // By group.
  logic [4:0][4:0] address_q;
  logic [4:0][8:0] x_q;
  logic [4:0] clear, chain;
  assign address_q[0] = address;
  assign x_q[0] = x;
  always_ff @(posedge clk) begin
    clear[0] <= first;
    chain[0] <= !first && (drain || chain[0]);
  end
  for (genvar g = 1; g < 5; g++) begin : gen_group
    always_ff @(posedge clk) begin
      address_q[g] <= address_q[g-1];
      x_q[g] <= x_q[g-1];
      clear[g] <= clear[g-1];
      chain[g] <= chain[g-1];
    end
  end

  // One memory for the cells of a group: four bytes fill the RAM's primitives better than one.
  logic [16:0][7:0] w;
  for (genvar g = 0; g < 5; g++) begin : gen_memory
    localparam int Low = g == 0 ? 0 : 4 * g - 3;
    localparam int Bits = 8 * (4 * g - Low + 1);
    (* ram_style = "distributed" *) logic [Bits-1:0] memory[32];
    logic [Bits-1:0] word, word_q;
    for (genvar e = Low; e <= 4 * g; e++) begin : gen_byte
      assign word[8*(e-Low)+:8] = data[e];
      assign w[e] = word_q[8*(e-Low)+:8];
    end
    always_ff @(posedge clk) begin
      if (data_write[g]) memory[data_address[g]] <= word;
      word_q <= memory[address_q[g]];
    end
  end

  for (genvar e = 0; e < 17; e++) begin : gen_cell
    localparam int G = (e + 3) / 4;
    attention_cell #(
        .ACC_BITS(ACC_BITS)
    ) u_cell (
        .clk,
        .clear(clear[G]),
        .chain(chain[G]),
        .x(x_q[G]),
        .w(w[e]),
        .above(above[e]),
        .sum(sum[e])
    );
  end

endmodule

`default_nettype wire
