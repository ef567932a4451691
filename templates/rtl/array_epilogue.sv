// SPDX-License-Identifier: Apache-2.0
// Epilogue of a CONV: accumulators of a run to codes in a pad.
//
//   walk --|0|--> read mac_array --|3|--> + init --> requantize --|10|--> code_table --|12|--> align --|13|--+--> write
//     |    +--> parameters of the group --^                                      residual --> residual_add --|21|--> write
//     +--> addresses --|2|--> residual request --|5|
//
// |n|: registers n cycles after the walk's. A cycle handles a *chunk*: consecutive pixels of one channel group, at most EW =
// min(REQUANTIZE_WORDS, BLOCKS); RESIDUAL_WORDS with a residual. The order is pixel group, channel group, pixels.
//
// Cycles: a run of n pixel groups: n * existing channel groups of the tile * ceil(TP / chunk) + 1. A command: 1 + its table (unless it
// is retained: 32 for each of 2 or 32 rows, and 10), behind the last lookup of the command before.
// A command without a residual waits 16 cycles behind one with a residual.
// Latency from the walk to the write: 14, with a residual 22. No stall.
//
// Half of the accumulators is freed EARLY chunks before it is read: its new sums come more than EARLY + 4 cycles later.
`default_nettype none

module array_epilogue
  import config_pkg::*;
#(
    parameter int EW = REQUANTIZE_WORDS < BLOCKS ? REQUANTIZE_WORDS : BLOCKS,
    localparam int G = $clog2(ACC_GROUPS),
    localparam int Parts = BLOCKS / EW,
    localparam int PartBits = Parts > 1 ? $clog2(Parts) : 1
) (
    input  wire logic                         clk,
    input  wire logic                         reset,
    // Commands and their runs, in order
    input  wire logic                         command_valid,
    input  wire instruction_t                 fields,
    input  wire logic         [SLOT_BITS-1:0] slot,
    input  wire logic                         retain,
    input  wire logic         [         15:0] columns,
    input  wire logic         [         15:0] y_base,
    input  wire logic         [         17:0] y_pixel,
    input  wire logic         [         15:0] r_base,
    input  wire logic         [         17:0] r_pixel,
    output var  logic                         command_ready,
    input  wire logic                         run_valid,
    input  wire logic         [          G:0] run_count,
    input  wire logic                         run_tile_last,
    input  wire logic                         run_command_last,
    input  wire logic                         run_done,           // a run's sums can be read
    output var  logic                         half_free,
    // Parameters
    input  wire logic                         parameter_valid,
    input  wire logic         [          4:0] parameter_address,
    input  wire row_t                         parameter_data,
    // Table rows
    output var  logic                         table_valid,
    output var  logic         [         15:0] table_row,
    input  wire logic                         table_ready,
    input  wire logic                         table_data_valid,
    input  wire row_t                         table_data,
    // Accumulators
    output var  logic                         read_half,
    output var  logic         [        G-1:0] read_index,
    output var  logic         [ PartBits-1:0] read_part,
    input  wire logic [EW-1:0][15:0][26:0]    read,
    // Pads
    output var  residual_t                    residual,
    output var  logic         [SLOT_BITS-1:0] residual_slot,
    input  wire word_t   [RESIDUAL_WORDS-1:0] residual_words,
    output var  write_t                       write,
    output var  logic         [SLOT_BITS-1:0] write_slot,
    output var  logic                         done
);

  localparam int LogBlocks = $clog2(BLOCKS);
  localparam int LogEW = $clog2(EW);
  localparam int LogR = $clog2(RESIDUAL_WORDS);
  localparam int Commands = 8;  // that have begun and are not done
  localparam int CommandBits = $clog2(Commands);
  localparam int Early = 24;

  if (REQUANTIZE_WORDS > WRITE_WORDS || RESIDUAL_WORDS > EW || EW < 4 || RESIDUAL_WORDS > 4) begin : gen_check
    $error("array_epilogue: 4 or 8 epilogue words and at most 4 residual words");
  end

  // ------------------------------------------------------------------------------------------------------ commands
  typedef struct packed {
    logic [SLOT_BITS-1:0] slot;
    logic load;  // its table
    logic [15:0] t_row;
    logic enable;  // the table
    logic wide;
    logic add;
    logic [15:0] zero;
    logic [2:0] mode;
    logic [3:0] y_pad;
    logic [15:0] y_base;
    logic [15:0] y_plane;
    logic [15:0] y_width;
    logic [15:0] y_ring;
    logic [15:0] y_slot;
    logic [17:0] y_pixel;
    logic [3:0] r_pad;
    logic [15:0] r_base;
    logic [15:0] r_plane;
    logic [15:0] r_ring;
    logic [15:0] r_slot;
    logic [17:0] r_pixel;
    logic [15:0] groups;
    logic [15:0] cols;
    logic [15:0] columns;
  } command_t;

  typedef struct packed {
    logic [19:0] ma;
    logic [19:0] mb;
    logic [28:0] constant;
    logic [5:0] shift;
    logic [7:0] zero;
  } add_t;

  command_t in, c;
  add_t add_in, add;
  (* ram_style = "distributed" *) logic [$bits(in)-1:0] commands[Commands];
  (* ram_style = "distributed" *) logic [$bits(add_in)-1:0] adds[Commands];
  logic [CommandBits-1:0] tail, head, add_head;
  logic [CommandBits:0] begun;
  logic waiting;  // head != tail
  assign c = commands[head];
  assign add = adds[add_head];
  assign command_ready = !begun[CommandBits];
  assign waiting = head != tail;

  assign in.slot = slot;
  assign in.load = fields.flags[FLAG_TABLE] && !retain;
  assign in.t_row = fields.t_row;
  assign in.enable = fields.flags[FLAG_TABLE];
  assign in.wide = fields.flags[FLAG_WIDE];
  assign in.add = fields.flags[FLAG_ADD];
  assign in.zero = fields.y_zero;
  assign in.mode = fields.mode[2:0];
  assign in.y_pad = fields.y_pad[3:0];
  assign in.y_base = y_base;
  assign in.y_plane = fields.y_plane;
  assign in.y_width = fields.y_width;
  assign in.y_ring = fields.y_ring;
  assign in.y_slot = fields.y_slot;
  assign in.y_pixel = y_pixel;
  assign in.r_pad = fields.r_pad[3:0];
  assign in.r_base = r_base;
  assign in.r_plane = fields.r_plane;
  assign in.r_ring = fields.r_ring;
  assign in.r_slot = fields.r_slot;
  assign in.r_pixel = r_pixel;
  assign in.groups = fields.y_groups;
  assign in.cols = fields.y_cols;
  assign in.columns = columns;
  assign add_in.ma = fields.add_ma[19:0];
  assign add_in.mb = fields.add_mb[19:0];
  assign add_in.constant = fields.add_constant[28:0];
  assign add_in.shift = fields.add_shift[5:0];
  assign add_in.zero = fields.add_zero;

  // ---------------------------------------------------------------------------------------------------------- runs
  logic run_there, run_take, run_full;
  logic [G:0] next_count;
  logic next_tile_last, next_command_last;
  logic [2:0] complete;  // runs
  small_fifo #(
      .WIDTH(G + 3),
      .DEPTH(4)
  ) u_runs (
      .clk,
      .reset,
      .in_valid(run_valid),
      .in({run_count, run_tile_last, run_command_last}),
      .full(run_full),
      .out_valid(run_there),
      .out({next_count, next_tile_last, next_command_last}),
      .out_take(run_take)
  );

  // ---------------------------------------------------------------------------------------------------------- walk
  typedef enum logic [1:0] {
    IDLE,
    TABLE,
    RUN
  } state_t;

  state_t state;
  logic active;  // a run is read
  logic half, freed, tile_last, command_last;
  logic [2:0] tile_buffer;
  logic [G-1:0] index;
  logic [G:0] left;  // pixel groups
  logic [LogBlocks-1:0] block;
  logic [1:0] sub;
  logic [15:0] x, x_left, columns_left;
  logic [15:0] y_rows, r_rows;  // to the end of the ring
  logic [17:0] y_row, r_row;  // first pixel
  logic [15:0] y_word, r_word, y_tile, r_tile;  // word row of the channel group, of the first one of the tile
  logic [15:0] groups_left;
  logic [3:0] drain;  // cycles until the last chunk has left the lookup
  // Rows of a table: asked for (one at a time), fetched, loading, loaded.
  logic [5:0] t_asked;
  logic [4:0] t_loading;
  logic t_open, t_fetched, load_valid, load_ready, t_move, t_last;
  row_t t_row, load_data;

  logic [4:0] pixels, tile_groups;  // of a pixel group; channel groups of a tile
  logic [3:0] pixels_less, chunk, part;
  logic [3:0] block_next;
  logic [1:0] sub_last;
  logic part_end, group_end, run_end, tile_end;
  logic was_add;
  logic [4:0] early;  // pixel groups
  assign block_next = 4'(block) + chunk;
  assign part = 4'(block) & pixels_less;
  assign part_end = (block_next & pixels_less) == '0;
  assign group_end = part_end && sub == sub_last;
  assign run_end = group_end && left == (G + 1)'(1);
  assign tile_end = run_end && tile_last;
  assign run_take = state == RUN && !active && complete != '0;

  always_ff @(posedge clk) begin
    half_free <= 1'b0;
    drain <= active ? 4'd15 : drain != '0 ? drain - 4'd1 : drain;
    complete <= complete + {2'b0, run_done} - {2'b0, run_take};
    // t_row waits while load_data is written into the table.
    if (table_data_valid) t_row <= table_data;
    if (t_move) load_data <= t_row;
    t_open <= (t_open || (table_valid && table_ready)) && !table_data_valid;
    t_fetched <= table_data_valid || (t_fetched && !t_move);
    load_valid <= t_move || (load_valid && !load_ready);
    if (table_valid && table_ready) t_asked <= t_asked + 6'd1;
    if (load_ready && load_valid) t_loading <= t_loading + 5'd1;

    // Settled two cycles after a change, when the next run begins.
    sub_last <= groups_left > {11'b0, tile_groups} ? 2'(tile_groups - 5'd1) : 2'(groups_left[1:0] - 2'd1);

    case (state)
      IDLE: begin
        pixels <= 5'd1 << c.mode;
        pixels_less <= 4'((5'd1 << c.mode) - 5'd1);
        tile_groups <= 5'(BLOCKS) >> c.mode;
        // Chunks of a pixel group: BLOCKS / chunk, where all channel groups of the tile exist.
        chunk <= 4'(EW);
        early <= 5'(Early >> (LogBlocks - LogEW));
        if (c.add) begin
          chunk <= 4'(RESIDUAL_WORDS);
          early <= 5'(Early >> (LogBlocks - LogR));
        end else if (EW > 4 && c.mode == 3'd2) begin
          chunk <= 4'd4;
          early <= 5'(Early >> (LogBlocks - 2));
        end
        x <= '0;
        x_left <= c.cols;
        columns_left <= c.columns;
        y_rows <= c.y_ring - c.y_slot;
        r_rows <= c.r_ring - c.r_slot;
        y_row <= c.y_pixel;
        r_row <= c.r_pixel;
        y_word <= c.y_base;
        r_word <= c.r_base;
        y_tile <= c.y_base;
        r_tile <= c.r_base;
        groups_left <= c.groups;
        block <= '0;
        sub <= '0;
        t_asked <= '0;
        t_loading <= '0;
        // Behind a residual, and before a table is replaced, the pipeline runs empty.
        if (waiting && drain == '0) state <= c.load ? TABLE : RUN;
        else if (waiting && !c.load && (c.add || !was_add)) state <= RUN;
      end
      TABLE: if (load_valid && load_ready && t_last) state <= RUN;
      default: ;
    endcase

    if (run_take) begin
      active <= 1'b1;
      freed <= 1'b0;
      index <= '0;
      left <= next_count;
      tile_last <= next_tile_last;
      command_last <= next_command_last;
    end
    if (active) begin
      if (!freed && left <= (G + 1)'(early)) begin
        freed <= 1'b1;
        half_free <= 1'b1;
      end
      block <= group_end ? '0 : block_next[LogBlocks-1:0];
      if (group_end) begin
        sub <= '0;
        y_word <= y_tile;
        r_word <= r_tile;
        index <= index + 1'b1;
        left <= left - 1'b1;
        columns_left <= columns_left - 16'd1;
        x <= x + {11'b0, pixels};
        x_left <= x_left - {11'b0, pixels};
        if (columns_left == 16'd1) begin
          columns_left <= c.columns;
          x <= '0;
          x_left <= c.cols;
          // A wrapped slot starts at pixel 0.
          y_rows <= y_rows == 16'd1 ? c.y_ring : y_rows - 16'd1;
          r_rows <= r_rows == 16'd1 ? c.r_ring : r_rows - 16'd1;
          y_row <= y_rows == 16'd1 ? '0 : y_row + {2'b0, c.y_width};
          r_row <= r_rows == 16'd1 ? '0 : r_row + {2'b0, c.y_width};
        end
      end else if (part_end) begin
        sub <= sub + 2'd1;
        y_word <= y_word + c.y_plane;
        r_word <= r_word + c.r_plane;
      end
      if (run_end) begin
        active <= 1'b0;
        half   <= !half;
      end
      if (tile_end) begin
        tile_buffer <= tile_buffer + 3'd1;
        groups_left <= groups_left - {11'b0, tile_groups};
        columns_left <= c.columns;
        x <= '0;
        x_left <= c.cols;
        y_rows <= c.y_ring - c.y_slot;
        r_rows <= c.r_ring - c.r_slot;
        y_row <= c.y_pixel;
        r_row <= c.r_pixel;
        y_word <= y_word + c.y_plane;
        r_word <= r_word + c.r_plane;
        y_tile <= y_word + c.y_plane;
        r_tile <= r_word + c.r_plane;
        if (command_last) begin
          state <= IDLE;
          head  <= head + 1'b1;
        end
      end
    end

    if (command_valid) begin
      commands[tail] <= in;
      adds[tail] <= add_in;
      tail <= tail + 1'b1;
    end
    begun <= begun + {{CommandBits{1'b0}}, command_valid} - {{CommandBits{1'b0}}, done};
    if (reset) begin
      state <= IDLE;
      active <= 1'b0;
      half <= 1'b0;
      tile_buffer <= '0;
      half_free <= 1'b0;
      drain <= '0;
      complete <= '0;
      head <= '0;
      tail <= '0;
      begun <= '0;
      t_open <= 1'b0;
      t_fetched <= 1'b0;
      load_valid <= 1'b0;
    end
  end

  always_ff @(posedge clk) if (active) was_add <= c.add;

  assign table_valid = state == TABLE && t_asked != (c.wide ? 6'd32 : 6'd2) && !t_open && !t_fetched;
  assign table_row = c.t_row + {10'b0, t_asked};
  assign t_move = t_fetched && !load_valid;
  assign t_last = t_loading == (c.wide ? 5'd31 : 5'd1);

  // -------------------------------------------------------------------------------------------------------- stage 0
  typedef struct packed {
    logic add;
    logic last;  // of the command
    logic [SLOT_BITS-1:0] slot;
    logic [3:0] pad;
    logic [15:0] base;
    logic [17:0] pixel;
    logic [3:0] count;
    logic [LogEW-1:0] offset;  // of the first word among those that were read
  } target_t;

  logic valid_0, add_0, last_0, wide_0, enable_0, half_0;
  logic [SLOT_BITS-1:0] slot_0;
  logic [3:0] y_pad_0, r_pad_0, chunk_0;
  logic [15:0] y_base_0, r_base_0, x_0, x_left_0, zero_0;
  logic [17:0] y_row_0, r_row_0;
  logic [G-1:0] index_0;
  logic [LogBlocks-1:0] block_0;
  logic [4:0] parameter_0;

  always_ff @(posedge clk) begin
    valid_0 <= active && !reset;
    add_0 <= c.add;
    last_0 <= tile_end && command_last;
    wide_0 <= c.wide;
    enable_0 <= c.enable;
    zero_0 <= c.zero;
    half_0 <= half;
    slot_0 <= c.slot;
    y_pad_0 <= c.y_pad;
    r_pad_0 <= c.r_pad;
    chunk_0 <= chunk;
    y_base_0 <= y_word;
    r_base_0 <= r_word;
    y_row_0 <= y_row;
    r_row_0 <= r_row;
    x_0 <= x | {12'b0, part};
    x_left_0 <= x_left - {12'b0, part};
    index_0 <= index;
    block_0 <= block;
    parameter_0 <= {tile_buffer, sub};
  end

  assign read_half  = half_0;
  assign read_index = index_0;
  if (Parts > 1) begin : gen_part
    assign read_part = block_0[LogBlocks-1:LogEW];
  end else begin : gen_whole
    assign read_part = '0;
  end

  // ------------------------------------------------------------------------------------------------------ addresses
  target_t target_1, target_13, target_21;
  residual_t residual_1;
  logic [SLOT_BITS-1:0] residual_slot_1;
  logic [3:0] exist;
  assign exist = x_left_0[15] ? 4'd0 : x_left_0[14:0] < {11'b0, chunk_0} ? x_left_0[3:0] : chunk_0;

  logic [21:0] valid;  // by stage
  assign valid[0] = valid_0;
  always_ff @(posedge clk) valid[21:1] <= reset ? '0 : valid[20:0];

  always_ff @(posedge clk) begin
    target_1.add <= add_0;
    target_1.last <= last_0;
    target_1.slot <= slot_0;
    target_1.pad <= y_pad_0;
    target_1.base <= y_base_0;
    target_1.pixel <= y_row_0 + {2'b0, x_0};
    target_1.count <= exist;
    target_1.offset <= block_0[LogEW-1:0];
    residual_1.valid <= add_0 && exist != '0;
    residual_1.pad <= r_pad_0;
    residual_1.base <= r_base_0;
    residual_1.pixel <= r_row_0 + {2'b0, x_0};
    residual_slot_1 <= slot_0;
  end

  residual_t residual_5;
  delay #(
      .WIDTH ($bits(residual_1) + SLOT_BITS),
      .CYCLES(13 - READ_LATENCY - 1)
  ) u_residual (
      .clk,
      .in ({residual_1, residual_slot_1}),
      .out({residual_5, residual_slot})
  );
  always_comb begin
    residual = residual_5;
    residual.valid = residual_5.valid && valid[13-READ_LATENCY];
  end

  delay #(
      .WIDTH ($bits(target_1)),
      .CYCLES(12)
  ) u_target (
      .clk,
      .in (target_1),
      .out(target_13)
  );
  delay #(
      .WIDTH ($bits(target_1)),
      .CYCLES(8)
  ) u_target_add (
      .clk,
      .in (target_13),
      .out(target_21)
  );

  // ----------------------------------------------------------------------------------------------------- parameters
  localparam int ParameterBits = 27 + 17 + 6;
  (* ram_style = "distributed" *) logic [16*ParameterBits-1:0] parameters[32];
  logic [15:0][ParameterBits-1:0] parameter_in, parameter_3;
  logic [15:0] unused_parameter;
  logic [4:0] parameter_2;
  for (genvar l = 0; l < 16; l++) begin : gen_parameter
    assign parameter_in[l] = {parameter_data[64*l+32+:23], parameter_data[64*l+:27]};
    assign unused_parameter[l] = &{1'b0, parameter_data[64*l+55+:9], parameter_data[64*l+27+:5]};
  end
  delay #(
      .WIDTH (5),
      .CYCLES(2)
  ) u_parameter (
      .clk,
      .in (parameter_0),
      .out(parameter_2)
  );
  always_ff @(posedge clk) begin
    if (parameter_valid) parameters[parameter_address] <= parameter_in;
    parameter_3 <= parameters[parameter_2];
  end

  // ----------------------------------------------------------------------------------------------- stages 3 to 13
  logic [15:0] zero_3;
  logic wide_3, enable_10, wide_10;
  delay #(
      .WIDTH (17),
      .CYCLES(3)
  ) u_zero (
      .clk,
      .in ({zero_0, wide_0}),
      .out({zero_3, wide_3})
  );
  delay #(
      .WIDTH (2),
      .CYCLES(10)
  ) u_table_flags (
      .clk,
      .in ({enable_0, wide_0}),
      .out({enable_10, wide_10})
  );

  logic [EW-1:0][15:0][26:0] acc;
  logic [EW-1:0][15:0][16:0] multiplier;
  logic [EW-1:0][15:0][5:0] shift;
  for (genvar e = 0; e < EW; e++) begin : gen_word
    for (genvar l = 0; l < 16; l++) begin : gen_lane
      // The register behind is the operand register of the multiplier, so this can be its pre-adder.
      assign acc[e][l] = read[e][l] + parameter_3[l][26:0];
      assign multiplier[e][l] = parameter_3[l][43:27];
      assign shift[e][l] = parameter_3[l][49:44];
    end
  end

  logic [16*EW-1:0][11:0] code;
  logic [EW-1:0][127:0] y;
  logic unused_ready, unused_valid;
  requantize #(
      .LANES(16 * EW),
      .LOW  (SHIFT_LOW),
      .HIGH (SHIFT_HIGH)
  ) u_requantize (
      .clk,
      .reset,
      .in_valid(1'b0),
      .in_ready(unused_ready),
      .acc,
      .multiplier,
      .shift,
      .zero_point(zero_3),
      .wide(wide_3),
      .out_valid(unused_valid),
      .out_ready(1'b1),
      .code
  );

  code_table #(
      .LANES(16 * EW),
      .WIDE (WIDE_TABLES != 0)
  ) u_table (
      .clk,
      .load_valid,
      .load_row(t_loading),
      .load_data,
      .load_ready,
      .wide(wide_10),
      .enable(enable_10),
      .code,
      .y
  );

  logic [LogEW-1:0] offset_12;
  delay #(
      .WIDTH (LogEW),
      .CYCLES(11)
  ) u_offset (
      .clk,
      .in (target_1.offset),
      .out(offset_12)
  );

  // The words of a chunk shorter than EW move to the front.
  word_t [EW-1:0] aligned;
  for (genvar e = 0; e < EW; e++) begin : gen_align
    always_ff @(posedge clk) aligned[e] <= y[offset_12|LogEW'(e)];
  end

  // ----------------------------------------------------------------------------------------------- residual, write
  word_t [RESIDUAL_WORDS-1:0] sum;
  logic unused_add_ready, unused_add_valid;
  residual_add #(
      .LANES(16 * RESIDUAL_WORDS),
      .LOW  (ADD_SHIFT_LOW),
      .HIGH (ADD_SHIFT_HIGH)
  ) u_add (
      .clk,
      .reset,
      .in_valid(1'b0),
      .in_ready(unused_add_ready),
      .a(aligned[RESIDUAL_WORDS-1:0]),
      .b(residual_words),
      .ma(add.ma),
      .mb(add.mb),
      .constant(add.constant),
      .shift(add.shift),
      .zero_point(add.zero),
      .out_valid(unused_add_valid),
      .out_ready(1'b1),
      .code(sum)
  );

  logic plain_13, add_21;
  target_t target;
  assign plain_13 = valid[13] && !target_13.add;
  assign add_21 = valid[21] && target_21.add;
  assign target = add_21 ? target_21 : target_13;

  always_ff @(posedge clk) begin
    if (valid[13] && target_13.last) add_head <= add_head + 1'b1;
    write.valid <= (plain_13 || add_21) && target.count != '0;
    write.pad <= target.pad;
    write.base <= target.base;
    write.pixel <= target.pixel;
    write.count <= target.count;
    write_slot <= target.slot;
    done <= (plain_13 || add_21) && target.last;
    if (reset) begin
      add_head <= '0;
      write.valid <= 1'b0;
      done <= 1'b0;
    end
  end

  for (genvar e = 0; e < WRITE_WORDS; e++) begin : gen_write
    if (e < RESIDUAL_WORDS) begin : gen_either
      always_ff @(posedge clk) write.words[e] <= add_21 ? sum[e] : aligned[e];
    end else if (e < EW) begin : gen_plain
      always_ff @(posedge clk) write.words[e] <= aligned[e];
    end else begin : gen_none
      assign write.words[e] = '0;
    end
  end

  logic unused;
  assign unused = &{1'b0, fields, run_there, run_full, unused_ready, unused_valid, unused_add_ready, unused_add_valid,
                    unused_parameter, target.add, target.offset, residual_1.valid};

endmodule

`default_nettype wire
