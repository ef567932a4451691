// SPDX-License-Identifier: Apache-2.0
// The vector memories of all slots: tensors of one pixel, 16 channels a word. Read port 0 is the MLP engine's, port 1 the
// store engine's; each reads a copy of its own.
//
//   read --|request|--> memory --|latch|--|output|--> read_data
//   write --|write|--> both copies
//
// Latency: VECTOR_LATENCY = 3. One read a port and one write a cycle. A write is seen by reads that are requested a cycle
// later. `error_address` is high for a cycle for each request outside; such a write is not done.
`default_nettype none

module vector_memory
  import config_pkg::*;
(
    input  wire logic                      clk,
    input  wire logic                      reset,
    input  wire logic [1:0]                read_valid,
    input  wire logic [1:0][SLOT_BITS-1:0] read_slot,
    input  wire logic [1:0][15:0]          read_word,
    output var  word_t [1:0]               read_data,
    input  wire logic                      write_valid,
    input  wire logic [SLOT_BITS-1:0]      write_slot,
    input  wire logic [15:0]               write_word,
    input  wire word_t                     write_data,
    output var  logic                      error_address
);

  localparam int Depth = SLOTS * VECTOR_WORDS;
  localparam int AddressBits = $clog2(Depth);

  // A constant table: no multiplier.
  logic [(1<<SLOT_BITS)-1:0][AddressBits-1:0] start;
  for (genvar s = 0; s < (1 << SLOT_BITS); s++) begin : gen_start
    assign start[s] = s < SLOTS ? AddressBits'(s * VECTOR_WORDS) : '0;
  end

  function automatic logic outside(input logic [15:0] word);
    outside = {16'b0, word} >= VECTOR_WORDS;
  endfunction

  logic valid, exists;
  logic [AddressBits-1:0] address;
  word_t data;
  logic [2:0] bad;

  always_ff @(posedge clk) begin
    valid <= write_valid && !reset;
    exists <= !outside(write_word);
    address <= start[write_slot] + AddressBits'(write_word);
    data <= write_data;
    bad[2] <= write_valid && !reset && outside(write_word);
    error_address <= !reset && |bad;
  end

  for (genvar i = 0; i < 2; i++) begin : gen_port
    logic request;
    logic [AddressBits-1:0] place;
    always_ff @(posedge clk) begin
      request <= read_valid[i];
      place   <= start[read_slot[i]] + AddressBits'(read_word[i]);
      bad[i]  <= read_valid[i] && !reset && outside(read_word[i]);
    end

    block_ram #(
        .WIDTH(128),
        .DEPTH(Depth)
    ) u_copy (
        .clk,
        .write_enable(valid && exists),
        .write_address(address),
        .write_data(data),
        .read_enable(request),
        .read_address(place),
        .read_data(read_data[i])
    );
  end

endmodule

`default_nettype wire
