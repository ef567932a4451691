// SPDX-License-Identifier: Apache-2.0
// DEPTHWISE: 16 channels x 4 outputs x 9 taps in a cycle, and their epilogue.
//
//   pads --> depthwise_window --> 4 depthwise_mac --> + init or sum so far --> 4 requantize --> code_table --> pads
//     ^            ^                    ^                     ^
//   depthwise_reader  depthwise_issue   depthwise_weights <-- ring
//          depthwise_setup
//
// Cycles: a channel group of Ry x Wy outputs takes Ry * chunks * max(passes, s * reads), where
//   kernel            stride            chunks        passes            s         reads of a chunk
//   up to 3 x 3       2 x 2             2 ceil(Wy/7)  1                 1         1
//   h x up to 3       other             ceil(Wy/4)    ceil(h / 3)       stride_h  1
//   h x 4             any               ceil(Wy/4)    ceil(h / 2)       stride_h  3
//   h x 5             any               ceil(Wy/4)    ceil(5 h / 9)     stride_h  3
// So with stride 1: 3x3 3 cycles for 12 outputs, 5x5 9; with stride 2: 3x3 2 cycles for 7. A tile that does not end at the
// input's edge reads the rows of its overlap besides, in each segment (depthwise_setup) of up to 32 columns. At least
// taps + 1 cycles for a channel group. Between groups and segments there is no pause; the first words of the next are
// read, and the next weights fetched, meanwhile, also those of the next command: 5 cycles from one to the next, about 35
// before the first. A command that loads a table costs about 100 cycles (256 entries) or 1,060 more.
// From the read of the memories to the write: memories 1 + depthwise_mac 4 + accumulator 1 + requantize 7 + code_table 2 = 15.
`default_nettype none

module depthwise_engine
  import config_pkg::*;
(
    input  wire logic                        clk,
    input  wire logic                        reset,
    input  wire logic                        command_valid,
    input  wire instruction_t                command,
    input  wire logic [SLOT_BITS-1:0]        command_slot,
    input  wire logic                        command_retain,
    output var  logic                        command_ready,
    output var  logic                        done,
    output var  window_t                     window,
    output var  logic [SLOT_BITS-1:0]        window_slot,
    input  wire word_t [BANKS-1:0]           window_words,    // 0 to 14 are used
    output var  write_t                      write,
    output var  logic [SLOT_BITS-1:0]        write_slot,
    output var  logic                        ring_valid,
    output var  logic [15:0]                 ring_row,
    input  wire logic                        ring_ready,
    input  wire logic                        ring_data_valid,
    input  wire row_t                        ring_data,
    output var  logic                        stall_weights    // a pass waits for nothing but weights
);

  localparam int Pixels = 4;

  // A command is set up, then it starts: reader and weights first, issue when it is through with the one before. The next
  // is set up from then on.
  typedef enum logic [1:0] {
    IDLE,
    SETUP,
    STARTED
  } state_t;
  state_t state;
  instruction_t instruction, running;  // running: of reader and weights
  logic [SLOT_BITS-1:0] slot, running_slot;
  logic retain, running_retain, parity, running_parity, last_paired;
  logic setup_start, setup_ready, start, start_q, restart, issue_valid, issue_ready, reader_busy, weights_busy;

  logic paired, triple, odd;
  logic [1:0] last_pass;
  logic [15:0] x_base, y_base, segments;
  logic [16:0] rows;
  logic [17:0] x_pixel, y_pixel, below;
  logic [1:0][3:0] segment_chunks;
  logic [5:0] segment_cols;
  logic [1:0][4:0][4:0] offset;
  logic [1:0][5:0] above_a, above_b;
  logic [1:0][2:0] need;
  logic [1:0][4:0] outside;
  logic [2:0][2:0] top;

  logic running_triple, running_odd;
  logic [1:0] running_last_pass;
  logic [15:0] running_base, running_segments;
  logic [16:0] running_rows;
  logic [17:0] running_pixel;
  logic [1:0][3:0] running_chunks;
  logic [5:0] running_cols;

  // Pairs are counted in another way: what was counted before must be through.
  assign command_ready = state == IDLE;
  assign start = state == SETUP && setup_ready && !setup_start && !start_q && !reader_busy && !weights_busy &&
                 (paired == last_paired || issue_ready);
  assign issue_valid = state == STARTED;

  always_ff @(posedge clk) begin
    setup_start <= command_valid && command_ready;
    if (command_valid && command_ready) begin
      instruction <= command;
      slot <= command_slot;
      retain <= command_retain;
    end
    if (start) begin
      running <= instruction;
      running_slot <= slot;
      running_retain <= retain;
      running_parity <= parity;
      running_triple <= triple;
      running_odd <= odd;
      running_last_pass <= last_pass;
      running_base <= x_base;
      running_segments <= segments;
      running_rows <= rows;
      running_pixel <= x_pixel;
      running_chunks <= segment_chunks;
      running_cols <= segment_cols;
    end
    if (reset) begin
      state <= IDLE;
      parity <= 1'b0;
      last_paired <= 1'b0;
      start_q <= 1'b0;
      restart <= 1'b0;
    end else begin
      case (state)
        IDLE: if (command_valid) state <= SETUP;
        SETUP: if (start) state <= STARTED;
        default: if (issue_ready && !start_q) state <= IDLE;
      endcase
      start_q <= start;
      restart <= start && paired != last_paired;
      if (setup_start) parity <= !parity;
      if (start) last_paired <= paired;
    end
  end

  depthwise_setup u_setup (
      .clk,
      .reset,
      .start(setup_start),
      .ready(setup_ready),
      .instruction,
      .paired,
      .triple,
      .last_pass,
      .x_base,
      .x_pixel,
      .y_base,
      .y_pixel,
      .rows,
      .odd,
      .segments,
      .segment_chunks,
      .segment_cols,
      .offset,
      .above_a,
      .above_b,
      .need,
      .outside,
      .top,
      .below
  );

  // Words.
  logic [7:0] tail_a, tail_b, written_a, written_b;
  logic tag_valid, tag_a, tag_b, tag_zero, tag_parity, tag_strided, tag_paired, tag_triple;
  logic [1:0] tag_part;
  logic [2:0][2:0][5:0] address;
  logic [Pixels-1:0][8:0][LANES-1:0][7:0] x;

  depthwise_reader u_reader (
      .clk,
      .reset,
      .restart,
      .start(start_q),
      .busy(reader_busy),
      .instruction(running),
      .slot(running_slot),
      .parity(running_parity),
      .paired(last_paired),
      .triple(running_triple),
      .base(running_base),
      .pixel(running_pixel),
      .rows(running_rows),
      .odd(running_odd),
      .segments(running_segments),
      .chunks(running_chunks),
      .segment_cols(running_cols),
      .tail_a,
      .tail_b,
      .window,
      .window_slot,
      .tag_valid,
      .tag_a,
      .tag_b,
      .tag_zero,
      .tag_parity,
      .tag_strided,
      .tag_paired,
      .tag_triple,
      .tag_part
  );

  depthwise_window u_window (
      .clk,
      .reset,
      .restart,
      .words(window_words[14:0]),
      .tag_valid,
      .tag_a,
      .tag_b,
      .tag_zero,
      .tag_parity,
      .tag_strided,
      .tag_paired,
      .tag_triple,
      .tag_part,
      .written_a,
      .written_b,
      .address,
      .x
  );

  // Weights, parameters, table.
  logic load_valid, load_ready, weights_ready, group_start, group_end, drained;
  logic [4:0] load_row;
  row_t load_data;
  logic [1:0] pass;
  logic [8:0] used;
  logic [8:0][LANES-1:0][7:0] weight;
  logic [LANES-1:0][26:0] init;
  logic [LANES-1:0][16:0] multiplier;
  logic [LANES-1:0][5:0] shift;

  // A pass, cycle by cycle: element t is t cycles after its addresses.
  logic issued, issued_first, issued_last, issued_change, issued_done, issued_write;
  logic [14:1] valids, dones, writes;
  logic [3:1] changes;
  logic [4:1] firsts, lasts;

  depthwise_weights u_weights (
      .clk,
      .reset,
      .start(start_q),
      .busy(weights_busy),
      .instruction(running),
      .retain(running_retain),
      .last_pass(running_last_pass),
      .ring_valid,
      .ring_row,
      .ring_ready,
      .ring_data_valid,
      .ring_data,
      .drained,
      .load_valid,
      .load_row,
      .load_data,
      .load_ready,
      .ready(weights_ready),
      .group_start,
      .group_end,
      .pass,
      .used,
      .weight,
      .group_change(changes[3]),
      .init,
      .multiplier,
      .shift
  );

  logic [2:0] write_count;
  logic [17:0] write_pixel;
  logic [15:0] write_base, zero_point;
  logic [3:0] write_pad;
  logic [SLOT_BITS-1:0] slot_issued;
  logic wide, enable;

  depthwise_issue u_issue (
      .clk,
      .reset,
      .restart,
      .command_valid(issue_valid && !start_q),
      .command_ready(issue_ready),
      .instruction,
      .slot,
      .parity,
      .paired,
      .last_pass,
      .segments,
      .segment_chunks,
      .segment_cols,
      .offset,
      .above_a,
      .above_b,
      .need,
      .outside,
      .top,
      .below,
      .base(y_base),
      .pixel(y_pixel),
      .written_a,
      .written_b,
      .tail_a,
      .tail_b,
      .address,
      .weights_ready,
      .group_start,
      .group_end,
      .pass,
      .used,
      .stall_weights,
      .valid(issued),
      .first(issued_first),
      .last(issued_last),
      .change(issued_change),
      .done(issued_done),
      .write(issued_write),
      .write_count,
      .write_pixel,
      .write_base,
      .write_pad,
      .write_slot(slot_issued),
      .zero_point,
      .wide,
      .enable
  );

  always_ff @(posedge clk) begin
    changes <= {changes[2:1], issued_change};
    firsts <= {firsts[3:1], issued_first};
    lasts <= {lasts[3:1], issued_last};
    if (reset) begin
      valids <= '0;
      dones <= '0;
      writes <= '0;
    end else begin
      valids <= {valids[13:1], issued};
      dones <= {dones[13:1], issued_done};
      writes <= {writes[13:1], issued_write};
    end
  end
  assign drained = !issued && valids == '0;

  // What travels beside the values. The last register of a line is where they need it.
  localparam int PlaceBits = 3 + 18 + 16 + 4 + SLOT_BITS;
  logic [5*17-1:0] scales;  // wide, zero point
  logic [12*2-1:0] tables;  // wide, enable
  logic [14*PlaceBits-1:0] places;
  always_ff @(posedge clk) begin
    scales <= {scales[4*17-1:0], wide, zero_point};
    tables <= {tables[11*2-1:0], wide, enable};
    places <= {places[13*PlaceBits-1:0], slot_issued, write_pad, write_base, write_pixel, write_count};
  end

  // Sums.
  logic [Pixels-1:0] sum_valid, code_valid, ready_mac, ready_scale;
  logic [Pixels*LANES-1:0][11:0] code;
  logic [Pixels*LANES-1:0][7:0] y;
  logic acc_last;
  always_ff @(posedge clk) acc_last <= !reset && sum_valid[0] && lasts[4];

  for (genvar p = 0; p < Pixels; p++) begin : gen_pixel
    logic [LANES-1:0][19:0] sum;
    logic [LANES-1:0][26:0] acc;

    depthwise_mac #(
        .LANES(LANES),
        .TAPS (9)
    ) u_mac (
        .clk,
        .reset,
        .load('1),
        .weight,
        .in_valid(issued),
        .in_ready(ready_mac[p]),
        .x(x[p]),
        .out_valid(sum_valid[p]),
        .out_ready(1'b1),
        .sum
    );

    for (genvar c = 0; c < LANES; c++) begin : gen_acc
      // sum + so_far as a difference, whose second operand and its choice are one LUT a bit (booth_multiply).
      logic [26:0] so_far;
      logic [27:0] total;
      assign so_far = firsts[4] ? init[c] : acc[c];
      assign total  = {{7{sum[c][19]}}, sum[c], 1'b0} - {~so_far, 1'b1};
      always_ff @(posedge clk) begin
        if (sum_valid[p]) acc[c] <= total[27:1];
      end
      logic unused;
      assign unused = total[0];
    end

    requantize #(
        .LANES(LANES),
        .LOW  (SHIFT_LOW),
        .HIGH (SHIFT_HIGH)
    ) u_requantize (
        .clk,
        .reset,
        .in_valid(acc_last),
        .in_ready(ready_scale[p]),
        .acc,
        .multiplier,
        .shift,
        .zero_point(scales[4*17+:16]),
        .wide(scales[4*17+16]),
        .out_valid(code_valid[p]),
        .out_ready(1'b1),
        .code(code[LANES*p+:LANES])
    );
  end

  code_table #(
      .LANES(Pixels * LANES),
      .WIDE (WIDE_TABLES != 0)
  ) u_table (
      .clk,
      .load_valid,
      .load_row,
      .load_data,
      .load_ready,
      .wide(tables[11*2+1]),
      .enable(tables[11*2]),
      .code,
      .y
  );

  // Write.
  assign done = dones[14];
  always_comb begin
    write = '0;
    write.valid = writes[14];
    {write_slot, write.pad, write.base, write.pixel, write.count[2:0]} = places[13*PlaceBits+:PlaceBits];
    for (int p = 0; p < Pixels; p++) begin
      for (int c = 0; c < LANES; c++) write.words[p][8*c+:8] = y[LANES*p+c];
    end
  end

  logic unused;
  assign unused = &{1'b0, ready_mac, ready_scale, sum_valid, code_valid, window_words[15]};

endmodule

`default_nettype wire
