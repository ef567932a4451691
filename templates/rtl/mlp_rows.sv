// SPDX-License-Identifier: Apache-2.0
// Asks for the ring rows of a command of the MLP engine, in the order in which they are used, and keeps those that came.
//
//   t_row, w_row, counts --> ring_row --> ring --> small_fifo --> row
//
// Order: `table_rows` rows from t_row on; then, with `tiles` (LINEAR), for each of `groups` channel groups the `length` rows
// behind its parameters and then the parameters themselves, which are needed last; else `length` rows from w_row on.
// Rate: a row in (latency of the ring + 2) / SLOTS cycles, at most one a cycle.
//
// SLOTS  rows asked for and not taken yet, a power of two; 16 cost no more LUT memory than 2
`default_nettype none

module mlp_rows #(
    parameter int SLOTS = 16
) (
    input  wire logic          clk,
    input  wire logic          reset,
    input  wire logic          start,       // all of a command before is taken; the operands are there until the next one
    input  wire logic [15:0]   t_row,
    input  wire logic [5:0]    table_rows,
    input  wire logic [15:0]   w_row,
    input  wire logic          tiles,
    input  wire logic [15:0]   groups,
    input  wire logic [15:0]   length,
    output var  logic          ring_valid,
    output var  logic [15:0]   ring_row,
    input  wire logic          ring_ready,
    input  wire logic          ring_data_valid,
    input  wire logic [1023:0] ring_data,
    output var  logic          row_valid,
    output var  logic [1023:0] row,
    input  wire logic          row_taken
);

  localparam int CountBits = $clog2(SLOTS + 1);
  localparam logic [CountBits-1:0] Full = SLOTS[CountBits-1:0];

  typedef enum logic [2:0] {
    Idle,
    Table,
    First,  // one cycle: the addresses of the first group
    Rows,
    Parameters
  } state_t;

  // Requests.
  state_t state;
  logic [15:0] left, groups_left;
  logic [15:0] blob;  // the parameters of this group
  logic [CountBits-1:0] held;
  logic taken;
  assign ring_valid = (state == Table || state == Rows || state == Parameters) && held != Full;
  assign taken = ring_valid && ring_ready;

  always_ff @(posedge clk) begin
    if (taken) begin
      left <= left - 16'd1;
      ring_row <= ring_row + 16'd1;
    end
    case (state)
      Idle: begin
        left <= {10'b0, table_rows};
        ring_row <= t_row;
        if (start) state <= table_rows == '0 ? First : Table;
      end
      Table: if (taken && left == 16'd1) state <= First;
      First: begin
        left <= length;
        groups_left <= groups;
        blob <= w_row;
        ring_row <= tiles ? w_row + 16'd1 : w_row;
        state <= Rows;
      end
      Rows: begin
        if (taken && left == 16'd1) begin
          ring_row <= blob;
          blob <= ring_row + 16'd1;
          state <= tiles ? Parameters : Idle;
        end
      end
      default: begin
        if (taken) begin
          ring_row <= blob + 16'd1;
          left <= length;
          groups_left <= groups_left - 16'd1;
          state <= groups_left == 16'd1 ? Idle : Rows;
        end
      end
    endcase
    if (reset) state <= Idle;

    if (reset) held <= '0;
    else held <= held + CountBits'(taken) - CountBits'(row_taken);
  end

  logic full;
  small_fifo #(
      .WIDTH(1024),
      .DEPTH(SLOTS)
  ) u_rows (
      .clk,
      .reset,
      .in_valid(ring_data_valid),
      .in(ring_data),
      .full,
      .out_valid(row_valid),
      .out(row),
      .out_take(row_taken)
  );

  logic unused;
  assign unused = full;  // `held` keeps that from happening

endmodule

`default_nettype wire
