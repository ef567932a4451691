// SPDX-License-Identifier: Apache-2.0
// BLOCKS blocks of 16 output channels x 16 input channels x 1 pixel, and their sums.
//
//   words --> every stride-th --|reg|--> pixel of each block --|reg|--> mac_block x BLOCKS --> mac_accumulator x BLOCKS
//   operand, to the blocks of its sub-tile --|reg|--> shadow operands --^        half, group --> value --> choose --|reg|--> read
//
// Block b computes pixel b % TP of sub-tile b / TP, TP = 1 << mode (at least 4). group_* come READ_LATENCY cycles before the
// words, `operand` one cycle before the pixels of its lane reach the blocks' inputs.
//
// Latency from words to sums: pixels 2 + mac_block 19 + mac_accumulator: sum 1, write 1. From read_index to `read`: address 1 +
// memory 1 + choice 1 = 3; `read` is READ_WORDS consecutive blocks, from block READ_WORDS * read_part on.
// Initiation interval 1. `run_done` comes when the last sum of a run can be read.
//
// READ_WORDS  blocks that the epilogue reads in a cycle
`default_nettype none

module mac_array
  import config_pkg::*;
#(
    parameter int READ_WORDS = REQUANTIZE_WORDS < BLOCKS ? REQUANTIZE_WORDS : BLOCKS,
    localparam int G = $clog2(ACC_GROUPS),
    localparam int Parts = BLOCKS / READ_WORDS,
    localparam int PartBits = Parts > 1 ? $clog2(Parts) : 1
) (
    input  wire logic                                clk,
    input  wire logic                                reset,
    // Operands of half a tile
    input  wire logic                                operand_valid,
    input  wire logic  [             4:0]            operand_row,
    input  wire logic  [             2:0]            operand_mode,
    input  wire logic  [3:0][15:0][15:0]             operand,  // upper and lower 8 bits of a pair
    // Pixel groups
    input  wire logic                                group_valid,
    input  wire logic                                group_swap,
    input  wire logic                                group_first,
    input  wire logic                                group_half,
    input  wire logic  [           G-1:0]            group_index,
    input  wire logic                                group_even,
    input  wire logic                                group_odd,
    input  wire logic                                group_packed,
    input  wire logic                                group_last,
    input  wire logic  [             2:0]            group_mode,
    input  wire logic  [             2:0]            group_stride,
    input  wire word_t [       BANKS-1:0]            words,
    output var  logic                                run_done,
    // Epilogue
    input  wire logic                                read_half,
    input  wire logic  [           G-1:0]            read_index,
    input  wire logic  [    PartBits-1:0]            read_part,
    output var  logic  [READ_WORDS-1:0][15:0][26:0]  read
);

  // Cycles after group_*: words, pixels at the blocks, sums of the blocks, controls of the accumulators one before their
  // register, last sum readable.
  localparam int Words = READ_LATENCY;
  localparam int Pixels = Words + 2;
  localparam int Sums = Pixels + 19;
  localparam int Address = Sums - 2;
  localparam int Done = Sums + 2;

  // -------------------------------------------------------------------------------------------------------- pixels
  logic [2:0] mode, stride, mode_q;
  delay #(
      .WIDTH (6),
      .CYCLES(Words)
  ) u_shape (
      .clk,
      .in ({group_mode, group_stride}),
      .out({mode, stride})
  );
  always_ff @(posedge clk) mode_q <= mode;

  // Strides above 1 need mode * stride <= 16 pixels: few words have more than one source.
  localparam int Used = BLOCKS < BANKS ? BLOCKS : BANKS;
  word_t [Used-1:0] strided;
  for (genvar p = 0; p < Used; p++) begin : gen_stride
    word_t chosen;
    always_comb begin
      chosen = words[p];
      if (p < 8 && stride == 3'd2) chosen = words[(2*p)%BANKS];
      if (p < 4 && stride == 3'd3) chosen = words[(3*p)%BANKS];
      if (p < 4 && stride == 3'd4) chosen = words[(4*p)%BANKS];
    end
    always_ff @(posedge clk) strided[p] <= chosen;
  end

  word_t [BLOCKS-1:0] x;
  for (genvar b = 0; b < BLOCKS; b++) begin : gen_pixel
    word_t chosen;
    always_comb begin
      chosen = strided[b%4];
      if (b >= 4 && mode_q == 3'd3) chosen = strided[b%8];
      if (b >= 4 && mode_q == 3'd4) chosen = strided[b];
    end
    always_ff @(posedge clk) x[b] <= chosen;
  end

  if (BLOCKS < BANKS) begin : gen_unused_words
    logic unused;
    assign unused = &{1'b0, words};
  end

  // ------------------------------------------------------------------------------------------------------ controls
  logic swap, is_packed;
  logic add_first, add_half, add_even, add_odd;
  logic [G-1:0] add_index;
  delay #(
      .WIDTH (2),
      .CYCLES(Pixels)
  ) u_block_controls (
      .clk,
      .in ({group_swap && group_valid, group_packed}),
      .out({swap, is_packed})
  );
  delay #(
      .WIDTH (G + 4),
      .CYCLES(Address)
  ) u_sum_controls (
      .clk,
      .in ({group_first, group_half, group_even, group_odd, group_index}),
      .out({add_first, add_half, add_even, add_odd, add_index})
  );

  logic [Done:1] valid_line;
  logic [Done:1] last_line;
  assign run_done = last_line[Done];
  always_ff @(posedge clk) begin
    valid_line <= {valid_line[Done-1:1], group_valid};
    last_line  <= {last_line[Done-1:1], group_valid && group_last};
    if (reset) begin
      valid_line <= '0;
      last_line  <= '0;
    end
  end

  logic adding;
  logic [1:0][G-1:0] address;
  assign adding = valid_line[Address];
  assign address[0] = adding && !add_half ? add_index : read_index;
  assign address[1] = adding && add_half ? add_index : read_index;

  logic unused_line;
  assign unused_line = &{1'b0, valid_line[Done:Address+1]};

  // ------------------------------------------------------------------------------------------------------ operands
  // One copy of the operands for four blocks; a sub-tile has 4, 8 or 16 blocks.
  localparam int Quads = BLOCKS / 4;
  logic [1:0][BLOCKS-1:0][16*27-1:0] value;

  for (genvar q = 0; q < Quads; q++) begin : gen_quad
    // Plain vectors: Yosys' own front end takes no index of packed arrays inside generate blocks.
    (* keep = "true" *)logic [64*16-1:0] operand_q;
    logic [64*27-1:0] pairs;
    for (genvar j = 0; j < 4; j++) begin : gen_pair
      for (genvar i = 0; i < 16; i++) begin : gen_lane
        localparam int N = 16 * j + i;
        assign pairs[27*N+:27] = {operand_q[16*N+8+:8], {11{operand_q[16*N+7]}}, operand_q[16*N+:8]};
      end
    end
    logic [1:0] hit;  // lower or upper half of the output channels
    logic [31:0] load;  // by half and lane
    logic [3:0] group;
    assign group = 4'(5'(4 * q) >> operand_mode);
    for (genvar h = 0; h < 2; h++) begin : gen_half
      assign hit[h] = operand_valid && operand_row[4:1] == group && operand_row[0] == (h == 1);
      always_ff @(posedge clk) load[16*h+:16] <= {load[16*h+:15], hit[h]};
    end
    always_ff @(posedge clk) operand_q <= operand;

    for (genvar i = 0; i < 4; i++) begin : gen_block
      localparam int B = 4 * q + i;
      logic [8*20-1:0] even, odd;
      logic [2*16*27-1:0] sums;
      logic unused_valid;

      mac_block u_block (
          .clk,
          .reset,
          .advance(1'b1),
          .load({{4{load[31:16]}}, {4{load[15:0]}}}),
          .weight({2{pairs}}),
          .in_valid(1'b0),
          .swap,
          .packed_sum(is_packed),
          .x(x[B]),
          .out_valid(unused_valid),
          .even,
          .odd
      );

      mac_accumulator #(
          .GROUPS(ACC_GROUPS)
      ) u_accumulator (
          .clk,
          .address,
          .add_half,
          .add_first,
          .add_even(add_even && adding),
          .add_odd(add_odd && adding),
          .even,
          .odd,
          .value(sums)
      );

      assign value[0][B] = sums[16*27-1:0];
      assign value[1][B] = sums[2*16*27-1:16*27];
    end
  end

  // ---------------------------------------------------------------------------------------------------------- read
  logic [PartBits:0] choice_1;
  always_ff @(posedge clk) choice_1 <= {read_half, read_part};

  for (genvar e = 0; e < READ_WORDS; e++) begin : gen_read
    logic [2*Parts*16*27-1:0] candidates;
    logic [16*27-1:0] chosen;
    (* keep = "true" *)logic [PartBits:0] choice;  // a copy for each word
    for (genvar s = 0; s < Parts; s++) begin : gen_candidate
      assign candidates[16*27*s+:16*27] = value[0][s*READ_WORDS+e];
      assign candidates[16*27*(Parts+s)+:16*27] = value[1][s*READ_WORDS+e];
    end
    always_ff @(posedge clk) choice <= choice_1;
    word_mux #(
        .WIDTH(16 * 27),
        .COUNT(2 * Parts)
    ) u_choose (
        .words(candidates),
        .index(choice[PartBits-:$clog2(2*Parts)]),
        .word(chosen)
    );
    always_ff @(posedge clk) read[e] <= chosen;
    if (Parts == 1) begin : gen_halves
      logic unused;
      assign unused = &{1'b0, choice};
    end
  end

endmodule

`default_nettype wire
