// SPDX-License-Identifier: Apache-2.0
// The pads of one slot: one window read, one residual read and one write a cycle.
//
//   window ---|1|--> rows, step --|2|--+-> address of each --|3|--> memories --|5|--+-> group --|6|--> rotate --|7|--> rotate --> words
//   residual -|1|--> rows, step --|2|--+   group and bank                           |   or fill       by 0-3       by 0, 4, 8, 12
//                                                                                   +-> bank, each --|6|--> group --|7|--> residual_words
//                                                                                       group, class
//   write ----|1|--> rows, banks, rotate words --|2|--> address, enables --|3|--> memories
//
// |n| is the register n cycles after the request. Pixel p of a plane lies in bank p % 16, word row base + p / 16: of 16 pixels
// from p, banks below p % 16 take the next row (their `step`). Fill is one more input of the choice of the group, so it costs
// nothing where a LUT6 has one left (3 groups or fewer). The choice of the slot follows in `pads`.
//
// The pads form GROUPS groups, pad p in group p % GROUPS. A group is one memory of 16 banks, so it answers one request a
// cycle: the window and the residual of a cycle must lie in different groups. GROUPS = PADS: in different pads. Fewer groups
// save multiplexers: for each bit of a word, up to 3 groups need one LUT6.
//
// Residual: word k is pixel + k. The words of a class (pixel % RESIDUAL_WORDS) lie in 16 / RESIDUAL_WORDS banks; the class
// is chosen in `pads`, by `residual_first`.
//
// A write outside the pad is not done. `error` is high for a cycle for each request with a word outside (for a residual: the first
// word; the others need not exist).
`default_nettype none

module pad_slot
  import config_pkg::*;
#(
    parameter int GROUPS = PADS
) (
    input  wire logic                              clk,
    input  wire logic                              reset,
    input  wire window_t                           window,
    output var  word_t   [BANKS-1:0]               words,           // after register 7
    input  wire residual_t                         residual,
    output var  word_t   [RESIDUAL_WORDS-1:0]      residual_words,  // of register 7, by class
    output var  logic    [1:0]                     residual_first,  // of register 7: class of word 0
    input  wire write_t                            write,
    output var  logic                              error
);

  localparam int Members = (PADS + GROUPS - 1) / GROUPS;  // pads of a group
  localparam int Depth = Members * PAD_DEPTH;
  localparam int AddressBits = $clog2(Depth);
  localparam int GroupBits = GROUPS > 1 ? $clog2(GROUPS) : 1;
  localparam int ClassBanks = BANKS / RESIDUAL_WORDS;
  localparam int IndexBits = $clog2(ClassBanks);
  localparam int RowBits = 18;  // signed word rows

  typedef logic [AddressBits-1:0] address_t;
  typedef logic signed [RowBits-1:0] signed_row_t;

  // Of a pad: its group and where it starts in the group's memory.
  logic [15:0][GroupBits-1:0] pad_group;
  address_t [15:0] pad_start;
  for (genvar p = 0; p < 16; p++) begin : gen_pad
    assign pad_group[p] = GroupBits'(p % GROUPS);
    assign pad_start[p] = p < PADS ? AddressBits'(p / GROUPS * PAD_DEPTH) : '0;
  end

  function automatic logic outside(input signed_row_t row);
    outside = row < 0 || row >= RowBits'(PAD_DEPTH);
  endfunction

  // ------------------------------------------------------------------------------------------------------------------
  // Registers 1: requests

  window_t window_1;
  residual_t residual_1;
  write_t write_1;

  always_ff @(posedge clk) begin
    window_1   <= window;
    residual_1 <= residual;
    write_1    <= write;
    if (reset) begin
      window_1.valid   <= 1'b0;
      residual_1.valid <= 1'b0;
      write_1.valid    <= 1'b0;
    end
  end

  // ------------------------------------------------------------------------------------------------------------------
  // Registers 2: rows

  signed_row_t window_row, residual_row, write_row, window_row_2, residual_row_2, write_row_2;
  address_t window_low_2, window_high_2, residual_low_2, residual_high_2, write_low_2, write_high_2;
  logic [BANKS-1:0] window_step_2, residual_step_2, write_step_2, write_banks_2;
  logic [GROUPS-1:0] window_hit_2, residual_hit_2, write_hit_2;
  logic window_exists_2, window_pad_2, window_uses_low_2, window_uses_high_2;
  logic residual_exists_2, residual_pad_2;
  logic write_exists_2, write_pad_2, write_uses_high_2;
  word_t [WRITE_WORDS-1:0] write_words_1, write_words_2;

  assign window_row = {2'b0, window_1.base} + {{4{window_1.pixel[17]}}, window_1.pixel[17:4]};
  assign residual_row = {2'b0, residual_1.base} + {4'b0, residual_1.pixel[17:4]};
  assign write_row = {2'b0, write_1.base} + {4'b0, write_1.pixel[17:4]};

  // Last pixel of the window that exists, from the start of its first row.
  logic [5:0] window_first, window_last, write_last;
  assign window_first = {2'b0, window_1.pixel[3:0]} + {1'b0, window_1.low};
  assign window_last = {2'b0, window_1.pixel[3:0]} + {1'b0, window_1.high} - 6'd1;
  assign write_last = {2'b0, write_1.pixel[3:0]} + {2'b0, write_1.count} - 6'd1;

  always_ff @(posedge clk) begin
    window_row_2 <= window_row;
    residual_row_2 <= residual_row;
    write_row_2 <= write_row;
    window_low_2 <= AddressBits'(window_row) + pad_start[window_1.pad];
    window_high_2 <= AddressBits'(window_row) + pad_start[window_1.pad] + 1'b1;
    residual_low_2 <= AddressBits'(residual_row) + pad_start[residual_1.pad];
    residual_high_2 <= AddressBits'(residual_row) + pad_start[residual_1.pad] + 1'b1;
    write_low_2 <= AddressBits'(write_row) + pad_start[write_1.pad];
    write_high_2 <= AddressBits'(write_row) + pad_start[write_1.pad] + 1'b1;
    window_exists_2 <= window_1.valid && window_1.high > window_1.low && !reset;
    window_pad_2 <= {28'b0, window_1.pad} < PADS;
    window_uses_low_2 <= window_first < 6'd16;
    window_uses_high_2 <= window_last >= 6'd16;
    residual_exists_2 <= residual_1.valid && !reset;
    residual_pad_2 <= {28'b0, residual_1.pad} < PADS;
    write_exists_2 <= write_1.valid && !reset;
    write_pad_2 <= {28'b0, write_1.pad} < PADS;
    write_uses_high_2 <= write_last >= 6'd16;
  end

  for (genvar b = 0; b < BANKS; b++) begin : gen_step
    logic [3:0] from;  // of the write's first pixel
    assign from = 4'(b) - write_1.pixel[3:0];
    always_ff @(posedge clk) begin
      window_step_2[b] <= {1'b0, window_1.pixel[3:0]} > 5'(b);
      residual_step_2[b] <= {1'b0, residual_1.pixel[3:0]} > 5'(b);
      write_step_2[b] <= {1'b0, write_1.pixel[3:0]} > 5'(b);
      write_banks_2[b] <= from < write_1.count;
    end
  end

  for (genvar g = 0; g < GROUPS; g++) begin : gen_hit
    always_ff @(posedge clk) begin
      window_hit_2[g] <= window_1.valid && pad_group[window_1.pad] == GroupBits'(g);
      residual_hit_2[g] <= residual_1.valid && pad_group[residual_1.pad] == GroupBits'(g);
      write_hit_2[g] <= write_1.valid && {28'b0, write_1.pad} < PADS && pad_group[write_1.pad] == GroupBits'(g) && !reset;
    end
  end

  // Banks b with the same b % WRITE_WORDS share the word.
  assign write_words_1 = write_1.words;
  for (genvar c = 0; c < WRITE_WORDS; c++) begin : gen_write_word
    logic [$clog2(WRITE_WORDS)-1:0] index;
    assign index = $clog2(WRITE_WORDS)'(c) - write_1.pixel[$clog2(WRITE_WORDS)-1:0];
    always_ff @(posedge clk) write_words_2[c] <= write_words_1[index];
  end

  // ------------------------------------------------------------------------------------------------------------------
  // Registers 3: addresses; then the memories

  logic write_low_outside, write_high_outside;
  assign write_low_outside = outside(write_row_2);
  assign write_high_outside = outside(write_row_2 + 1'b1);

  word_t [WRITE_WORDS-1:0] write_words_3;
  address_t write_low_3;
  always_ff @(posedge clk) begin
    write_words_3 <= write_words_2;
    write_low_3   <= write_low_2;
  end

  word_t [GROUPS-1:0][BANKS-1:0] read_5;

  for (genvar b = 0; b < BANKS; b++) begin : gen_bank
    address_t write_address_3;
    if (b < WRITE_WORDS - 1) begin : gen_may_step
      always_ff @(posedge clk) write_address_3 <= write_step_2[b] ? write_high_2 : write_low_2;
    end else begin : gen_never_steps
      assign write_address_3 = write_low_3;
    end

    for (genvar g = 0; g < GROUPS; g++) begin : gen_group
      logic write_enable_3, read_enable_3;
      address_t read_address_3, residual_address;
      assign residual_address = b < RESIDUAL_WORDS - 1 && residual_step_2[b] ? residual_high_2 : residual_low_2;

      always_ff @(posedge clk) begin
        write_enable_3 <= write_hit_2[g] && write_banks_2[b] &&
            !(b < WRITE_WORDS - 1 && write_step_2[b] ? write_high_outside : write_low_outside);
        read_enable_3 <= window_hit_2[g] || residual_hit_2[g];
        if (residual_hit_2[g]) read_address_3 <= residual_address;
        else read_address_3 <= window_step_2[b] ? window_high_2 : window_low_2;
      end

      block_ram #(
          .WIDTH(128),
          .DEPTH(Depth)
      ) u_memory (
          .clk,
          .write_enable(write_enable_3),
          .write_address(write_address_3),
          .write_data(write_words_3[b%WRITE_WORDS]),
          .read_enable(read_enable_3),
          .read_address(read_address_3),
          .read_data(read_5[g][b])
      );
    end
  end

  // ------------------------------------------------------------------------------------------------------------------
  // What the stages behind the memories need of the window: register n is element n.

  typedef struct packed {
    logic [GroupBits-1:0] group;
    logic [3:0] pixel;
    logic [BANKS-1:0] mask;  // banks that are not read
    logic [7:0] fill;
  } window_later_t;

  logic [BANKS-1:0] mask_1;
  for (genvar b = 0; b < BANKS; b++) begin : gen_mask
    logic [3:0] k;  // the bank's word
    assign k = 4'(b) - window_1.pixel[3:0];
    assign mask_1[b] = !(window_1.low <= {1'b0, k} && {1'b0, k} < window_1.high);
  end

  localparam int ChoiceBits = $clog2(GROUPS + 1);
  window_later_t window_now, window_later_2, window_later_3, window_later_4;
  logic [3:0] pixel_5, pixel_6;
  (* max_fanout = 256 *) logic [1:0] rotate_fine_6, rotate_coarse_7;
  logic [BANKS-1:0][ChoiceBits-1:0] choice_5;  // group of each bank; GROUPS: fill
  (* max_fanout = 128 *) logic [7:0] fill_5;
  assign window_now.group = pad_group[window_1.pad];
  assign window_now.pixel = window_1.pixel[3:0];
  assign window_now.mask  = mask_1;
  assign window_now.fill  = window_1.fill;
  always_ff @(posedge clk) begin
    window_later_2 <= window_now;
    window_later_3 <= window_later_2;
    window_later_4 <= window_later_3;
    fill_5 <= window_later_4.fill;
    for (int b = 0; b < BANKS; b++) begin
      choice_5[b] <= window_later_4.mask[b] ? ChoiceBits'(GROUPS) : ChoiceBits'(window_later_4.group);
    end
    pixel_5 <= window_later_4.pixel;
    pixel_6 <= pixel_5;
    rotate_fine_6 <= pixel_5[1:0];
    rotate_coarse_7 <= pixel_6[3:2];
  end

  logic unused;
  assign unused = &{1'b0, pixel_6[1:0]};

  // ------------------------------------------------------------------------------------------------------------------
  // Window: group or fill, then rotation by the pixel's low and high bits

  word_t [BANKS-1:0] bank_6, rotated_7;

  for (genvar k = 0; k < BANKS; k++) begin : gen_word
    logic [(GROUPS+1)*128-1:0] of_groups;
    for (genvar g = 0; g < GROUPS; g++) begin : gen_of_group
      assign of_groups[128*g+:128] = read_5[g][k];
    end
    assign of_groups[128*GROUPS+:128] = {16{fill_5}};
    word_t bank, fine_word;
    word_mux #(
        .COUNT(GROUPS + 1)
    ) u_group (
        .words(of_groups),
        .index(choice_5[k]),
        .word (bank)
    );
    always_ff @(posedge clk) bank_6[k] <= bank;

    logic [4*128-1:0] fine, coarse;
    for (genvar i = 0; i < 4; i++) begin : gen_rotate
      assign fine[128*i+:128] = bank_6[(k+i)%BANKS];
      assign coarse[128*i+:128] = rotated_7[(k+4*i)%BANKS];
    end
    word_mux u_fine (
        .words(fine),
        .index(rotate_fine_6),
        .word (fine_word)
    );
    always_ff @(posedge clk) rotated_7[k] <= fine_word;
    word_mux u_coarse (
        .words(coarse),
        .index(rotate_coarse_7),
        .word (words[k])
    );
  end

  // ------------------------------------------------------------------------------------------------------------------
  // Residual: bank of each class and group, then the group

  logic [3:0] residual_pixel_2, residual_pixel_3, residual_pixel_4, residual_pixel_5, residual_pixel_6, residual_pixel_7;
  logic [GroupBits-1:0] residual_group_2, residual_group_3, residual_group_4, residual_group_5;
  (* max_fanout = 128 *) logic [GroupBits-1:0] residual_group_6;
  always_ff @(posedge clk) begin
    residual_pixel_2 <= residual_1.pixel[3:0];
    residual_pixel_3 <= residual_pixel_2;
    residual_pixel_4 <= residual_pixel_3;
    residual_pixel_5 <= residual_pixel_4;
    residual_pixel_6 <= residual_pixel_5;
    residual_pixel_7 <= residual_pixel_6;
    residual_group_2 <= pad_group[residual_1.pad];
    residual_group_3 <= residual_group_2;
    residual_group_4 <= residual_group_3;
    residual_group_5 <= residual_group_4;
    residual_group_6 <= residual_group_5;
  end
  assign residual_first = residual_pixel_7[1:0];

  logic unused_pixel;
  assign unused_pixel = &{1'b0, residual_pixel_7[3:2]};

  for (genvar c = 0; c < RESIDUAL_WORDS; c++) begin : gen_class
    (* max_fanout = 128 *) logic [IndexBits-1:0] index_5;
    logic [1:0] ahead;
    logic [3:0] pixel_of_class;  // the first of this class, not before the first pixel
    assign ahead = (2'(c) - residual_pixel_4[1:0]) & 2'(RESIDUAL_WORDS - 1);
    assign pixel_of_class = residual_pixel_4 + {2'b0, ahead};
    always_ff @(posedge clk) index_5 <= pixel_of_class[3-:IndexBits];
    logic unused_class;
    assign unused_class = &{1'b0, pixel_of_class};

    logic [GROUPS*128-1:0] group_6;
    for (genvar g = 0; g < GROUPS; g++) begin : gen_of_group
      logic [ClassBanks*128-1:0] banks;
      for (genvar i = 0; i < ClassBanks; i++) begin : gen_of_bank
        assign banks[128*i+:128] = read_5[g][i*RESIDUAL_WORDS+c];
      end
      word_t bank;
      word_mux #(
          .COUNT(ClassBanks)
      ) u_bank (
          .words(banks),
          .index(index_5),
          .word (bank)
      );
      always_ff @(posedge clk) group_6[128*g+:128] <= bank;
    end

    word_t group;
    word_mux #(
        .COUNT(GROUPS)
    ) u_group (
        .words(group_6),
        .index(residual_group_6),
        .word (group)
    );
    always_ff @(posedge clk) residual_words[c] <= group;
  end

  // ------------------------------------------------------------------------------------------------------------------
  // Errors

  logic window_error, residual_error, write_error;
  assign window_error = window_exists_2 && (!window_pad_2 || window_uses_low_2 && outside(window_row_2) ||
                                            window_uses_high_2 && outside(window_row_2 + 1'b1));
  assign residual_error = residual_exists_2 && (!residual_pad_2 || outside(residual_row_2));
  assign write_error = write_exists_2 && (!write_pad_2 || write_low_outside || write_uses_high_2 && write_high_outside);
  always_ff @(posedge clk) error <= !reset && (window_error || residual_error || write_error);

`ifndef SYNTHESIS
  logic was_reset;  // what comes before is undefined
  initial was_reset = 1'b0;
  always_ff @(posedge clk) begin
    if (reset) was_reset <= 1'b1;
    if (was_reset && !reset && window_exists_2 && |(window_hit_2 & residual_hit_2)) begin
      $fatal(1, "window and residual read one group of pads");
    end
  end
`endif

endmodule

`default_nettype wire
