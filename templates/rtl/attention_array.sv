// SPDX-License-Identifier: Apache-2.0
// The attention engine's 16 x 17 multipliers, a systolic array: row c works c cycles after row 0, column group g g cycles
// after group 0 (attention_row).
//
//            data, by column
//                 |
//   address --> row 0  <-- x[0]
//        |reg     | sum
//             row 1  <-- reg <-- x[1]
//        |reg     |
//              ...
//             row 15 <-- reg x 15 <-- x[15]
//                 |
//               sums
//
// Outer products: a value of `data` for each column is written to all rows, and then read by each row in its time; the
// sums stay in the cells. `first` marks the operands of the first one. 16 cycles after the last one, `drain` makes the
// columns shift registers: row 15 comes out first, then 14, ...; nothing else may be multiplied in these 16 cycles (x is 0).
// Products with stored operands: from `drain` on the sums run down; a set of x comes out as one sum over the rows.
// Cycle 0: address, first, drain. Cycle 2: x. `data` and its address must be there in a cycle before the address of row 0.
// Sums of group 0: in cycle 19 the column sum that began in cycle 0; in cycle 3 row 15 for a drain in cycle 0.
// Initiation interval 1; no stall, no reset.
//
// ACC_BITS  of a sum
`default_nettype none

module attention_array #(
    parameter int ACC_BITS = 29
) (
    input  wire logic                      clk,
    input  wire logic [4:0]                address,
    input  wire logic                      first,
    input  wire logic                      drain,
    input  wire logic [15:0][8:0]          x,
    input  wire logic [15:0]               data_rows,     // rows that take `data`
    input  wire logic [4:0]                data_address,
    input  wire logic [16:0][7:0]          data,
    output var  logic [16:0][ACC_BITS-1:0] sums           // group g is g cycles late
);

  // Operation of each row. A drain begins in all rows at once.
  logic [15:0][4:0] address_q;
  logic [15:0] first_q, first_1;
  logic drain_0, drain_1;
  always_ff @(posedge clk) begin
    {address_q, first_q} <= {address_q[14:0], address, first_q[14:0], first};
    first_1 <= first_q;
    {drain_1, drain_0} <= {drain_0, drain};
  end

  logic [15:0][8:0] x_q;
  skew #(
      .LANES(16),
      .WIDTH(9)
  ) u_skew (
      .clk,
      .advance(1'b1),
      .in(x),
      .out(x_q)
  );

  // Writes: rows 4 r to 4 r + 3 of column group g take a value g + r cycles after the first.
  logic [7:0][4:0] write_address;
  logic [7:0][15:0] write_rows;
  always_ff @(posedge clk) begin
    write_address[0] <= data_address;
    write_address[7:1] <= write_address[6:0];
    write_rows[0] <= data_rows;
    write_rows[7:1] <= write_rows[6:0];
  end

  logic [3:0][16:0][7:0] data_q;  // by four rows
  for (genvar e = 0; e < 17; e++) begin : gen_column
    localparam int G = (e + 3) / 4;
    logic [G+3:0][7:0] line;
    always_ff @(posedge clk) begin
      line[0] <= data[e];
      line[G+3:1] <= line[G+2:0];
    end
    for (genvar r = 0; r < 4; r++) begin : gen_rows
      assign data_q[r][e] = line[G+r];
    end
  end

  logic [16:0][16:0][ACC_BITS-1:0] chain;
  assign chain[0] = '0;
  assign sums = chain[16];

  for (genvar c = 0; c < 16; c++) begin : gen_row
    localparam int R = c / 4;
    attention_row #(
        .ACC_BITS(ACC_BITS)
    ) u_row (
        .clk,
        .address(address_q[c]),
        .first(first_1[c]),
        .drain(drain_1),
        .x(x_q[c]),
        .data_write({write_rows[R+4][c], write_rows[R+3][c], write_rows[R+2][c], write_rows[R+1][c], write_rows[R][c]}),
        .data_address(write_address[R+4:R]),
        .data(data_q[R]),
        .above(chain[c]),
        .sum(chain[c+1])
    );
  end

  // Of each stage of write_rows only the rows that it serves are used.
  logic unused;
  assign unused = &{1'b0, write_rows};

endmodule

`default_nettype wire
