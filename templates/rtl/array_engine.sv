// SPDX-License-Identifier: Apache-2.0
// CONV: BLOCKS blocks of 16 x 16 weights x 1 pixel, one pixel group a cycle, and their epilogue.
//
//   command --> array_prepare --+--> array_issue ---- window, pixel groups -----> mac_array -- sums --> array_epilogue --> write
//                               +--> array_weights -- operands -------------------^                          ^   ^--- residual
//                                     ^-- ring rows   +-- parameters, rows of tables ------------------------+
//
// A command is prepared and its weights are fetched while the one before is issued; epilogues follow a run later. They
// finish in order; up to 8 may have begun.
//
// Cycles: T = BLOCKS >> mode channel groups of a tile, TP = 1 << mode pixels of a pixel group, runs of n <= ACC_GROUPS
// pixel groups, steps = taps * input groups, twice that where weights are not packed; chunk = min(TP, REQUANTIZE_WORDS), with
// a residual RESIDUAL_WORDS. The larger of
//   array     sum over tiles and runs of steps * max(n, 2 T, 4)
//   epilogue  sum over tiles and runs of n * existing groups of the tile * TP / chunk + 1
// A run waits until half of the accumulators is free, which is when the epilogue of the run before the last has 24 chunks left:
// two runs take one of them, 37 and what the epilogue of one takes beyond 24 chunks.
// Commands in succession: 1 more for the array, 2 for the epilogue; there a table that is not retained takes 32 cycles a row
// and about 25, while the array goes on for up to two runs. A lone command adds about 85: 20 preparation, 15 first rows, 35
// to the accumulators, 15 or 23 epilogue.
// DSP: 128 a block, 16 a word of the epilogue, 1 for addresses.
`default_nettype none

module array_engine
  import config_pkg::*;
(
    input  wire logic                             clk,
    input  wire logic                             reset,
    input  wire logic                             command_valid,
    input  wire instruction_t                     command,
    input  wire logic         [SLOT_BITS-1:0]     command_slot,
    input  wire logic                             command_retain,
    output var  logic                             command_ready,
    output var  logic                             done,
    output var  window_t                          window,
    output var  logic         [SLOT_BITS-1:0]     window_slot,
    input  wire word_t        [BANKS-1:0]         window_words,
    output var  residual_t                        residual,
    output var  logic         [SLOT_BITS-1:0]     residual_slot,
    input  wire word_t        [RESIDUAL_WORDS-1:0] residual_words,
    output var  write_t                           write,
    output var  logic         [SLOT_BITS-1:0]     write_slot,
    output var  logic                             ring_valid,
    output var  logic         [15:0]              ring_row,
    input  wire logic                             ring_ready,
    input  wire logic                             ring_data_valid,
    input  wire row_t                             ring_data,
    // Events, a cycle each: a step could start, but its weights are not there; no half of the accumulators is free
    output var  logic                             stall_weights,
    output var  logic                             stall_epilogue
);

  localparam int G = $clog2(ACC_GROUPS);
  localparam int ReadWords = REQUANTIZE_WORDS < BLOCKS ? REQUANTIZE_WORDS : BLOCKS;
  localparam int PartBits = BLOCKS > ReadWords ? $clog2(BLOCKS / ReadWords) : 1;

  logic weights_valid, weights_take, issue_valid, issue_take, epilogue_ready;
  instruction_t fields;
  logic [SLOT_BITS-1:0] slot;
  logic retain;
  logic [15:0] columns, reads, share, base, rest, y_base, r_base;
  logic [17:0] total, row0, slot0, pixel0, down, ring_pixels, y_pixel, r_pixel;

  array_prepare u_prepare (
      .clk,
      .reset,
      .command_valid,
      .command,
      .command_slot,
      .command_retain,
      .command_ready,
      .weights_valid,
      .weights_take,
      .issue_valid,
      .issue_take,
      .fields,
      .slot,
      .retain,
      .columns,
      .total,
      .reads,
      .row0,
      .slot0,
      .pixel0,
      .down,
      .ring_pixels,
      .share,
      .base,
      .rest,
      .y_base,
      .y_pixel,
      .r_base,
      .r_pixel
  );

  logic table_valid, table_ready, table_data_valid;
  logic [15:0] table_row;
  logic weights_ready, step_start;
  logic parameter_valid;
  logic [4:0] parameter_address;
  row_t parameter_data;
  logic operand_valid;
  logic [4:0] operand_row;
  logic [2:0] operand_mode;
  logic [3:0][15:0][15:0] operand;

  array_weights u_weights (
      .clk,
      .reset,
      .command_valid(weights_valid),
      .fields,
      .total,
      .reads,
      .command_take(weights_take),
      .table_valid,
      .table_row,
      .table_ready,
      .table_data_valid,
      .ring_valid,
      .ring_row,
      .ring_ready,
      .ring_data_valid,
      .ring_data,
      .ready(weights_ready),
      .step_start,
      .parameter_valid,
      .parameter_address,
      .parameter_data,
      .operand_valid,
      .operand_row,
      .operand_mode,
      .operand
  );

  logic group_valid, group_swap, group_first, group_half, group_even, group_odd, group_packed, group_last;
  logic [G-1:0] group_index;
  logic [2:0] group_mode, group_stride;
  logic run_valid, run_tile_last, run_command_last, half_free, run_done;
  logic [G:0] run_count;

  array_issue u_issue (
      .clk,
      .reset,
      .command_valid(issue_valid && epilogue_ready),
      .command_take(issue_take),
      .fields,
      .slot,
      .columns,
      .total,
      .row0,
      .slot0,
      .pixel0,
      .down,
      .ring_pixels,
      .share,
      .base,
      .rest,
      .weights_ready,
      .step_start,
      .window,
      .window_slot,
      .group_valid,
      .group_swap,
      .group_first,
      .group_half,
      .group_index,
      .group_even,
      .group_odd,
      .group_packed,
      .group_last,
      .group_mode,
      .group_stride,
      .run_valid,
      .run_count,
      .run_tile_last,
      .run_command_last,
      .half_free,
      .stall_weights,
      .stall_epilogue
  );

  logic read_half;
  logic [G-1:0] read_index;
  logic [PartBits-1:0] read_part;
  logic [ReadWords-1:0][15:0][26:0] read;

  mac_array u_array (
      .clk,
      .reset,
      .operand_valid,
      .operand_row,
      .operand_mode,
      .operand,
      .group_valid,
      .group_swap,
      .group_first,
      .group_half,
      .group_index,
      .group_even,
      .group_odd,
      .group_packed,
      .group_last,
      .group_mode,
      .group_stride,
      .words(window_words),
      .run_done,
      .read_half,
      .read_index,
      .read_part,
      .read
  );

  array_epilogue u_epilogue (
      .clk,
      .reset,
      .command_valid(issue_take),
      .fields,
      .slot,
      .retain,
      .columns,
      .y_base,
      .y_pixel,
      .r_base,
      .r_pixel,
      .command_ready(epilogue_ready),
      .run_valid,
      .run_count,
      .run_tile_last,
      .run_command_last,
      .run_done,
      .half_free,
      .parameter_valid,
      .parameter_address,
      .parameter_data,
      .table_valid,
      .table_row,
      .table_ready,
      .table_data_valid,
      .table_data(ring_data),
      .read_half,
      .read_index,
      .read_part,
      .read,
      .residual,
      .residual_slot,
      .residual_words,
      .write,
      .write_slot,
      .done
  );

endmodule

`default_nettype wire
