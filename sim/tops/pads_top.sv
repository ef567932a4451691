// SPDX-License-Identifier: Apache-2.0
// pads with two clients of each kind, for sim/benches/bench_pads.py. Reader 1 uses three words only.
`default_nettype none

module pads_top
  import config_pkg::*;
#(
    parameter int GROUPS = PADS
) (
    input  wire logic                                   clk,
    input  wire logic                                   reset,
    input  wire window_t   [1:0]                        window,
    input  wire logic      [1:0][SLOT_BITS-1:0]         window_slot,
    output var  word_t     [1:0][BANKS-1:0]             window_words,
    input  wire residual_t [1:0]                        residual,
    input  wire logic      [1:0][SLOT_BITS-1:0]         residual_slot,
    output var  word_t     [1:0][RESIDUAL_WORDS-1:0]    residual_words,
    input  wire write_t    [1:0]                        write,
    input  wire logic      [1:0][SLOT_BITS-1:0]         write_slot,
    output var  logic                                   error_address
);

  pads #(
      .READERS(2),
      .RESIDUALS(2),
      .WRITERS(2),
      .GROUPS(GROUPS),
      .NEEDED({5'd3, 5'd16})
  ) u_pads (
      .*
  );

endmodule

`default_nettype wire
