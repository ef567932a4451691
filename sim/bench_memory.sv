// SPDX-License-Identifier: Apache-2.0
// The memories around one engine in its bench: pads, a weight ring and the vector memories, with the ports of docs/machine.md
// for the engine and host_* ports for the bench (sim/benches/engine.py). An engine ties off what it does not have.
//
// While host_ring_stall is high, ring_ready is low. `error_address` stays high once a memory has raised it.
//
// HEAD    the ring is the MLP engine's own: HEAD_ROWS rows from RING_ROWS on
// GROUPS  of pads (pad_slot)
`default_nettype none

module bench_memory
  import config_pkg::*;
#(
    parameter bit HEAD = 1'b0,
    parameter int GROUPS = PADS
) (
    input wire logic clk,
    input wire logic reset,

    // Engine
    input  wire window_t                         window,
    input  wire logic    [SLOT_BITS-1:0]         window_slot,
    output var  word_t   [BANKS-1:0]             window_words,
    input  wire residual_t                       residual,
    input  wire logic    [SLOT_BITS-1:0]         residual_slot,
    output var  word_t   [RESIDUAL_WORDS-1:0]    residual_words,
    input  wire write_t                          write,
    input  wire logic    [SLOT_BITS-1:0]         write_slot,
    input  wire logic                            ring_valid,
    input  wire logic    [15:0]                  ring_row,
    output var  logic                            ring_ready,
    output var  logic                            ring_data_valid,
    output var  row_t                            ring_data,
    input  wire logic                            vector_read_valid,
    input  wire logic    [SLOT_BITS-1:0]         vector_read_slot,
    input  wire logic    [15:0]                  vector_read_word,
    output var  word_t                           vector_read_data,
    input  wire logic                            vector_write_valid,
    input  wire logic    [SLOT_BITS-1:0]         vector_write_slot,
    input  wire logic    [15:0]                  vector_write_word,
    input  wire word_t                           vector_write_data,

    // Bench
    input  wire write_t                      host_write,
    input  wire logic    [SLOT_BITS-1:0]     host_write_slot,
    input  wire window_t                     host_window,
    input  wire logic    [SLOT_BITS-1:0]     host_window_slot,
    output var  word_t   [BANKS-1:0]         host_window_words,
    input  wire logic                        host_ring_valid,
    input  wire logic    [15:0]              host_ring_row,
    input  wire row_t                        host_ring_data,
    input  wire logic                        host_ring_stall,
    input  wire logic                        host_vector_write_valid,
    input  wire logic    [SLOT_BITS-1:0]     host_vector_slot,  // of a read or a write
    input  wire logic    [15:0]              host_vector_word,
    input  wire word_t                       host_vector_write_data,
    input  wire logic                        host_vector_read_valid,
    output var  word_t                       host_vector_read_data,
    output var  logic                        host_engine_writes,  // the engine presents a write
    output var  logic                        error_address
);

  localparam int Rows = HEAD ? HEAD_ROWS : RING_ROWS;
  localparam int FirstRow = HEAD ? RING_ROWS : 0;

  logic pad_error, ring_error, vector_error;

  pads #(
      .READERS(2),
      .RESIDUALS(1),
      .WRITERS(2),
      .GROUPS(GROUPS)
  ) u_pads (
      .clk,
      .reset,
      .window({host_window, window}),
      .window_slot({host_window_slot, window_slot}),
      .window_words({host_window_words, window_words}),
      .residual,
      .residual_slot,
      .residual_words,
      .write({host_write, write}),
      .write_slot({host_write_slot, write_slot}),
      .error_address(pad_error)
  );

  // A stalled request must not reach the ring.
  logic ring_taken;
  assign ring_ready = ring_taken && !host_ring_stall;

  weight_ring #(
      .ROWS(Rows),
      .FIRST_ROW(FirstRow),
      .READERS(1)
  ) u_ring (
      .clk,
      .reset,
      .write_valid({4{host_ring_valid}}),
      .write_row({4{host_ring_row}}),
      .write_data(host_ring_data),
      .ring_valid(ring_valid && !host_ring_stall),
      .ring_row,
      .ring_ready(ring_taken),
      .ring_data_valid,
      .ring_data,
      .error_address(ring_error)
  );

  vector_memory u_vector (
      .clk,
      .reset,
      .read_valid({host_vector_read_valid, vector_read_valid}),
      .read_slot({host_vector_slot, vector_read_slot}),
      .read_word({host_vector_word, vector_read_word}),
      .read_data({host_vector_read_data, vector_read_data}),
      .write_valid(vector_write_valid || host_vector_write_valid),
      .write_slot(host_vector_write_valid ? host_vector_slot : vector_write_slot),
      .write_word(host_vector_write_valid ? host_vector_word : vector_write_word),
      .write_data(host_vector_write_valid ? host_vector_write_data : vector_write_data),
      .error_address(vector_error)
  );

  assign host_engine_writes = write.valid || vector_write_valid;

  always_ff @(posedge clk) error_address <= !reset && (error_address || pad_error || ring_error || vector_error);

endmodule

`default_nettype wire
