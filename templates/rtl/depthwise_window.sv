// SPDX-License-Identifier: Apache-2.0
// What the 36 multipliers of a channel see: a small memory in front of each, from which a read picks row, chunk and pass.
//
//   words --> 3 columns x 4 outputs --> reg --> memory of each tap row, column and output --> x
//      |--> reg (second chunk) --^
//
// Multiplier (tap row i, column k) of output p holds pixel `stride p + k` of every chunk: 30 chunks, from row to row one after
// the other, and zero points at 30 (or 31, by the parity of the command). Kernels wider than 3 write each chunk in three
// parts: columns 0 to 2 in rows 0 and 1; then column 3 or 4 where row 2 has them, and column 4 in the upper half of (1, 1)
// and (1, 2). A pair of chunks comes as one window of 16 words; the second is written a cycle later. Row 1 has its own
// write address, so that its chunks and those of rows 0 and 2 can come from different rows of the input.
//
// From the words to `written`: 1 cycle; a chunk that is counted there may be read. x belongs to the addresses of the same
// cycle.
`default_nettype none

module depthwise_window
  import config_pkg::*;
(
    input  wire logic                                clk,
    input  wire logic                                reset,
    input  wire logic                                restart,
    // depthwise_reader
    input  wire word_t [14:0]                        words,
    input  wire logic                                tag_valid,
    input  wire logic                                tag_a,
    input  wire logic                                tag_b,
    input  wire logic                                tag_zero,
    input  wire logic                                tag_parity,
    input  wire logic                                tag_strided,
    input  wire logic                                tag_paired,
    input  wire logic                                tag_triple,
    input  wire logic  [1:0]                         tag_part,
    // Chunks so far, modulo 256: rows 0 and 2, row 1
    output var  logic  [7:0]                         written_a,
    output var  logic  [7:0]                         written_b,
    // Multipliers
    input  wire logic  [2:0][2:0][5:0]               address,    // [row][column]; bit 5 is used by (1, 1) and (1, 2)
    output var  logic  [3:0][8:0][LANES-1:0][7:0]    x           // [output][3 row + column]
);

  localparam logic [4:0] Last = 5'd29;

  // Events: a chunk for rows 0 and 2, for row 1; the second of a pair.
  logic second_a, second_b, chunk_a, chunk_b, complete;
  logic [4:0] next_a, next_b;
  assign chunk_a  = (tag_valid && tag_a && !tag_zero) || second_a;
  assign chunk_b  = (tag_valid && tag_b && !tag_zero) || second_b;
  assign complete = !tag_triple || tag_part == 2'd2;

  always_ff @(posedge clk) begin
    if (reset) {second_a, second_b} <= '0;
    else {second_a, second_b} <= {2{tag_valid && tag_paired}} & {tag_a, tag_b};
    if (reset || restart) begin
      next_a <= '0;
      next_b <= '0;
      written_a <= '0;
      written_b <= '0;
    end else begin
      if (chunk_a && (complete || second_a)) begin
        next_a <= next_a == Last ? '0 : next_a + 5'd1;
        written_a <= written_a + 8'd1;
      end
      if (chunk_b && (complete || second_b)) begin
        next_b <= next_b == Last ? '0 : next_b + 5'd1;
        written_b <= written_b + 8'd1;
      end
    end
  end

  // Write side.
  word_t [14:8] held;
  word_t [2:0][3:0] bus_a, bus_b;  // [column][output]
  logic [4:0] address_a, address_b;
  logic upper, base_part, part_1, part_2;
  logic [2:0][2:0] write, write_q;
  assign base_part = !tag_triple || tag_part == 2'd0;
  assign part_1 = !tag_triple || tag_part == 2'd1;
  assign part_2 = !tag_triple || tag_part == 2'd2;
  always_comb begin
    write[0] = {3{base_part}};
    write[1] = {base_part || part_1, base_part || part_2, base_part};
    write[2] = {part_1, part_1, part_2};
  end

  always_ff @(posedge clk) begin
    held <= words[14:8];
    address_a <= tag_zero && tag_valid ? {4'b1111, tag_parity} : next_a;
    address_b <= tag_zero && tag_valid ? {4'b1111, tag_parity} : next_b;
    upper <= tag_triple && tag_part != 2'd0;
    write_q[0] <= write[0] & {3{chunk_a || (tag_valid && tag_zero)}};
    write_q[1] <= write[1] & {3{chunk_b || (tag_valid && tag_zero)}};
    write_q[2] <= write[2] & {3{chunk_a || (tag_valid && tag_zero)}};
  end

  for (genvar k = 0; k < 3; k++) begin : gen_column
    for (genvar p = 0; p < 4; p++) begin : gen_output
      if (p < 3) begin : gen_pair
        always_ff @(posedge clk) begin
          bus_a[k][p] <= second_a ? held[8+2*p+k] : tag_strided ? words[2*p+k] : words[p+k];
          bus_b[k][p] <= second_b ? held[8+2*p+k] : tag_strided ? words[2*p+k] : words[p+k];
        end
      end else begin : gen_single  // the second chunk of a pair has three outputs
        always_ff @(posedge clk) begin
          bus_a[k][p] <= tag_strided ? words[2*p+k] : words[p+k];
          bus_b[k][p] <= tag_strided ? words[2*p+k] : words[p+k];
        end
      end

      for (genvar i = 0; i < 3; i++) begin : gen_row
        word_t in, out;
        logic [4:0] at;
        assign in = i == 1 ? bus_b[k][p] : bus_a[k][p];
        assign at = i == 1 ? address_b : address_a;
        if (i == 1 && k > 0) begin : gen_deep
          (* ram_style = "distributed" *) word_t entries[64];
          always_ff @(posedge clk) begin
            if (write_q[i][k]) entries[{upper, at}] <= in;
          end
          assign out = entries[address[i][k]];
        end else begin : gen_shallow
          (* ram_style = "distributed" *) word_t entries[32];
          always_ff @(posedge clk) begin
            if (write_q[i][k]) entries[at] <= in;
          end
          assign out = entries[address[i][k][4:0]];
        end
        for (genvar c = 0; c < LANES; c++) begin : gen_lane
          assign x[p][3*i+k][c] = out[8*c+:8];
        end
      end
    end
  end

  logic unused;
  assign unused = &{1'b0, address[0][0][5], address[0][1][5], address[0][2][5], address[1][0][5], address[2][0][5],
                    address[2][1][5], address[2][2][5]};

endmodule

`default_nettype wire
