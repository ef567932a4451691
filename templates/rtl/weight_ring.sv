// SPDX-License-Identifier: Apache-2.0
// A weight ring: 4 banks of 256 bits, one for each weight port, and one read port that the readers share.
//
//   ring_valid, ring_row --> arbiter --|request|--> bank 0 to 3 --|latch|--|output|--|data|--> ring_data, ring_data_valid
//   write_*[j] --|write|--> bank j
//
// Latency: 4 cycles from the cycle in which a request is taken to its data. One request a cycle; data come in the order of
// the requests. A write is seen by requests that are taken a cycle later.
// Arbiter: reader 0 has priority, but yields to the others in one of four cycles in which they wait; the others take turns.
// ring_ready depends on ring_valid combinationally.
// `error_address` is high for a cycle for each read or write of a row outside; such a write is not done.
//
// ROWS, FIRST_ROW  rows FIRST_ROW to FIRST_ROW + ROWS - 1
// READERS          read clients
`default_nettype none

module weight_ring
  import config_pkg::*;
#(
    parameter int ROWS = RING_ROWS,
    parameter int FIRST_ROW = 0,
    parameter int READERS = 1
) (
    input  wire logic                     clk,
    input  wire logic                     reset,
    input  wire logic [3:0]               write_valid,
    input  wire logic [3:0][15:0]         write_row,
    input  wire logic [3:0][255:0]        write_data,
    input  wire logic [READERS-1:0]       ring_valid,
    input  wire logic [READERS-1:0][15:0] ring_row,
    output var  logic [READERS-1:0]       ring_ready,
    output var  logic [READERS-1:0]       ring_data_valid,
    output var  row_t                     ring_data,
    output var  logic                     error_address
);

  localparam int AddressBits = $clog2(ROWS);
  localparam int Others = READERS > 1 ? READERS - 1 : 1;

  // ------------------------------------------------------------------------------------------------------------------
  // Arbiter

  logic [READERS-1:0] grant;
  assign ring_ready = grant;

  if (READERS == 1) begin : gen_one
    assign grant = ring_valid;
  end else begin : gen_many
    // `behind`: the others from the last granted one on have had their turn.
    logic [Others-1:0] others, ahead, behind, chosen_ahead, chosen_all, chosen, above;
    logic [1:0] streak;  // cycles that reader 0 had while others waited
    logic yields;
    assign others = ring_valid[READERS-1:1];
    assign ahead = others & ~behind;
    assign chosen_ahead = ahead & (~ahead + 1'b1);  // lowest bit
    assign chosen_all = others & (~others + 1'b1);
    assign chosen = |ahead ? chosen_ahead : chosen_all;
    assign above = ~chosen + 1'b1;  // the chosen bit and all above it
    assign yields = !ring_valid[0] || (&streak && |others);
    assign grant = yields ? {chosen, 1'b0} : READERS'(1);

    always_ff @(posedge clk) begin
      if (reset) begin
        behind <= '0;
        streak <= '0;
      end else begin
        if (yields && |others) behind <= ~above | chosen;
        if (yields) streak <= '0;
        else if (|others) streak <= streak + 2'd1;
      end
    end
  end

  // ------------------------------------------------------------------------------------------------------------------
  // Reads

  function automatic logic outside(input logic [15:0] row);
    outside = {16'b0, row} >= ROWS;
  endfunction

  logic [15:0] granted_row, request_row;
  logic [READERS-1:0] request, latched, read, answered;
  always_comb begin
    granted_row = '0;
    for (int i = 0; i < READERS; i++) granted_row |= ring_row[i] & {16{grant[i]}};
  end

  always_ff @(posedge clk) begin
    request_row <= granted_row - 16'(FIRST_ROW);
    request <= reset ? '0 : grant;
    latched <= reset ? '0 : request;
    read <= reset ? '0 : latched;
    answered <= reset ? '0 : read;
  end
  assign ring_data_valid = answered;

  // ------------------------------------------------------------------------------------------------------------------
  // Banks

  logic [3:0][255:0] read_data;
  logic [3:0] write_outside;

  for (genvar j = 0; j < 4; j++) begin : gen_bank
    logic valid;
    logic [15:0] row;
    logic [255:0] data;
    assign write_outside[j] = valid && outside(row);
    always_ff @(posedge clk) begin
      valid <= write_valid[j] && !reset;
      row <= write_row[j] - 16'(FIRST_ROW);
      data <= write_data[j];
    end

    block_ram #(
        .WIDTH(256),
        .DEPTH(ROWS)
    ) u_memory (
        .clk,
        .write_enable(valid && !outside(row)),
        .write_address(row[AddressBits-1:0]),
        .write_data(data),
        .read_enable(|request),
        .read_address(request_row[AddressBits-1:0]),
        .read_data(read_data[j])
    );
  end

  always_ff @(posedge clk) begin
    ring_data <= read_data;
    error_address <= !reset && ((|request && outside(request_row)) || |write_outside);
  end

endmodule

`default_nettype wire
