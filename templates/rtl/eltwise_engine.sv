// SPDX-License-Identifier: Apache-2.0
// ELTWISE: residual add, table, both or neither, on RESIDUAL_WORDS pixels a cycle.
//
//   command --> starts (1 DSP) --> 3 tile_walkers --|request|--> pads --|8|--> residual_add --|8|--> code_table --|2|--> write
//                                                                                   ring --> 2 rows --^
//
// Without ADD the adder passes x: multipliers 1 and 0, shift 0.
//
// Cycles of a command, from taken to done: 12 + groups * rows * ceil(columns / RESIDUAL_WORDS) + 19, and with a new table 75
// more (the ring answers at once). The next command is taken when the last request of this one is out: 19 cycles earlier.
//
// A new table waits until the codes of the command before have left. done comes with the last write.
`default_nettype none

module eltwise_engine
  import config_pkg::*;
(
    input  wire logic                            clk,
    input  wire logic                            reset,
    input  wire logic                            command_valid,
    input  wire instruction_t                    command,
    input  wire logic      [SLOT_BITS-1:0]       command_slot,
    input  wire logic                            command_retain,
    output var  logic                            command_ready,
    output var  logic                            done,
    output var  window_t                         window,
    output var  logic      [SLOT_BITS-1:0]       window_slot,
    input  wire word_t     [BANKS-1:0]           window_words,
    output var  residual_t                       residual,
    output var  logic      [SLOT_BITS-1:0]       residual_slot,
    input  wire word_t     [RESIDUAL_WORDS-1:0]  residual_words,
    output var  write_t                          write,
    output var  logic      [SLOT_BITS-1:0]       write_slot,
    output var  logic                            ring_valid,
    output var  logic      [15:0]                ring_row,
    input  wire logic                            ring_ready,
    input  wire logic                            ring_data_valid,
    input  wire row_t                            ring_data
);

  localparam int Words = RESIDUAL_WORDS;
  localparam int AddLatency = 8;
  localparam int TableLatency = 2;
  localparam int Latency = READ_LATENCY + AddLatency + TableLatency;  // from a request to its write

  // ------------------------------------------------------------------------------------------------------------------
  // Command: cycles 0 to 5 multiply, 3 to 8 take the products, then the walkers start.

  localparam logic [3:0] Load = 4'd9;
  localparam logic [3:0] Prepare = 4'd10;
  localparam logic [3:0] Ready = 4'd11;

  instruction_t ins;
  logic [SLOT_BITS-1:0] slot;
  logic busy, running, table_done;
  logic [3:0] count;  // cycles since the command was taken, up to Ready
  logic [15:0] factor_a, factor_b;
  logic [31:0] product_m, product;
  logic [15:0] x_start, r_start, y_start;
  logic [17:0] x_pixel_start, r_pixel_start, y_pixel_start;

  assign command_ready = !busy;

  always_ff @(posedge clk) begin
    if (command_valid && command_ready) begin
      ins  <= command;
      slot <= command_slot;
    end
    case (count)
      4'd0: {factor_a, factor_b} <= {ins.y_group0, ins.x_plane};
      4'd1: {factor_a, factor_b} <= {ins.y_group0, ins.r_plane};
      4'd2: {factor_a, factor_b} <= {ins.y_group0, ins.y_plane};
      4'd3: {factor_a, factor_b} <= {ins.x_slot, ins.x_width};
      4'd4: {factor_a, factor_b} <= {ins.r_slot, ins.y_width};
      default: {factor_a, factor_b} <= {ins.y_slot, ins.y_width};
    endcase
    product_m <= factor_a * factor_b;
    product   <= product_m;
    case (count)
      4'd3: x_start <= ins.x_base + product[15:0];
      4'd4: r_start <= ins.r_base + product[15:0];
      4'd5: y_start <= ins.y_base + product[15:0];
      4'd6: x_pixel_start <= product[17:0];
      4'd7: r_pixel_start <= product[17:0];
      4'd8: y_pixel_start <= product[17:0];
      default: ;
    endcase
  end

  // ------------------------------------------------------------------------------------------------------------------
  // Walk

  logic [15:0] x_base, r_base, y_base, columns_left, rows_left, groups_left;
  logic [17:0] x_pixel, r_pixel, y_pixel;
  logic row_end, group_end, last;

  assign row_end = columns_left <= 16'(Words);
  assign group_end = row_end && rows_left == 16'd1;
  assign last = group_end && groups_left == 16'd1;

  always_ff @(posedge clk) begin
    if (reset) begin
      busy <= 1'b0;
      running <= 1'b0;
      count <= '0;
    end else if (!busy) begin
      busy  <= command_valid;
      count <= '0;
    end else if (!running) begin
      if (count != Ready) count <= count + 4'd1;
      running <= count == Ready && table_done;
    end else if (last) begin
      busy <= 1'b0;
      running <= 1'b0;
    end
  end

  always_ff @(posedge clk) begin
    if (!running) begin
      columns_left <= ins.y_cols;
      rows_left <= ins.y_rows;
      groups_left <= ins.y_groups;
    end else begin
      columns_left <= row_end ? ins.y_cols : columns_left - 16'(Words);
      if (row_end) rows_left <= group_end ? ins.y_rows : rows_left - 16'd1;
      if (group_end) groups_left <= groups_left - 16'd1;
    end
  end

  tile_walker #(
      .STEP(Words)
  ) u_walk_x (
      .clk,
      .load(count == Load),
      .base_start(x_start),
      .pixel_start(x_pixel_start),
      .slot(ins.x_slot),
      .ring(ins.x_ring),
      .width(ins.x_width),
      .plane(ins.x_plane),
      .prepare(count == Prepare),
      .step(running),
      .row_end,
      .group_end,
      .base(x_base),
      .pixel(x_pixel)
  );

  tile_walker #(
      .STEP(Words)
  ) u_walk_r (
      .clk,
      .load(count == Load),
      .base_start(r_start),
      .pixel_start(r_pixel_start),
      .slot(ins.r_slot),
      .ring(ins.r_ring),
      .width(ins.y_width),
      .plane(ins.r_plane),
      .prepare(count == Prepare),
      .step(running),
      .row_end,
      .group_end,
      .base(r_base),
      .pixel(r_pixel)
  );

  tile_walker #(
      .STEP(Words)
  ) u_walk_y (
      .clk,
      .load(count == Load),
      .base_start(y_start),
      .pixel_start(y_pixel_start),
      .slot(ins.y_slot),
      .ring(ins.y_ring),
      .width(ins.y_width),
      .plane(ins.y_plane),
      .prepare(count == Prepare),
      .step(running),
      .row_end,
      .group_end,
      .base(y_base),
      .pixel(y_pixel)
  );

  // ------------------------------------------------------------------------------------------------------------------
  // Requests, and what travels to the write

  typedef struct packed {
    logic [3:0] pad;
    logic [15:0] base;
    logic [17:0] pixel;
    logic [3:0] count;
    logic [SLOT_BITS-1:0] slot;
    logic last;
  } target_t;

  logic valid, look_up;
  logic [3:0] pixels;  // of this cycle
  target_t target, written;
  assign pixels = row_end ? columns_left[3:0] : 4'(Words);

  always_ff @(posedge clk) begin
    valid <= running && !reset;
    window.pad <= ins.x_pad[3:0];
    window.base <= x_base;
    window.pixel <= x_pixel;
    window.high <= {1'b0, pixels};
    residual.valid <= running && ins.flags[FLAG_ADD] && !reset;
    residual.pad <= ins.r_pad[3:0];
    residual.base <= r_base;
    residual.pixel <= r_pixel;
    target.pad <= ins.y_pad[3:0];
    target.base <= y_base;
    target.pixel <= y_pixel;
    target.count <= pixels;
    target.slot <= slot;
    target.last <= last;
    look_up <= ins.flags[FLAG_TABLE];
  end
  assign window.valid = valid;
  assign window.low = '0;
  assign window.fill = '0;
  assign window_slot = target.slot;
  assign residual_slot = target.slot;

  logic [Latency:1] valids;  // element n: n cycles after the request
  always_ff @(posedge clk) valids <= reset ? '0 : {valids[Latency-1:1], valid};

  delay #(
      .WIDTH ($bits(target)),
      .CYCLES(Latency)
  ) u_target (
      .clk,
      .in (target),
      .out(written)
  );

  logic look_up_there;
  delay #(
      .WIDTH (1),
      .CYCLES(READ_LATENCY + AddLatency)
  ) u_look_up (
      .clk,
      .in (look_up),
      .out(look_up_there)
  );

  // ------------------------------------------------------------------------------------------------------------------
  // Arithmetic. The first words of a command come at least Ready cycles after its predecessor's last request: the
  // constants may change when it starts to run.

  logic [19:0] ma, mb;
  logic [28:0] constant;
  logic [5:0] shift;
  logic [7:0] zero;
  always_ff @(posedge clk) begin
    if (count == Ready && !running) begin
      ma <= ins.flags[FLAG_ADD] ? ins.add_ma[19:0] : 20'd1;
      mb <= ins.flags[FLAG_ADD] ? ins.add_mb[19:0] : '0;
      constant <= ins.flags[FLAG_ADD] ? ins.add_constant[28:0] : '0;
      shift <= ins.flags[FLAG_ADD] ? ins.add_shift[5:0] : '0;
      zero <= ins.flags[FLAG_ADD] ? ins.add_zero : '0;
    end
  end

  logic [Words*16-1:0][7:0] code;
  logic [Words*16-1:0][11:0] table_code;
  logic [Words*16-1:0][7:0] y;
  logic add_ready, add_valid;

  residual_add #(
      .LANES(16 * Words),
      .LOW  (ADD_SHIFT_LOW),
      .HIGH (ADD_SHIFT_HIGH)
  ) u_add (
      .clk,
      .reset,
      .in_valid(valids[READ_LATENCY]),
      .in_ready(add_ready),
      .a(window_words[Words-1:0]),
      .b(residual_words),
      .ma,
      .mb,
      .constant,
      .shift,
      .zero_point(zero),
      .out_valid(add_valid),
      .out_ready(1'b1),
      .code
  );

  for (genvar l = 0; l < 16 * Words; l++) begin : gen_lane
    assign table_code[l] = {{4{code[l][7]}}, code[l]};
  end

  // ------------------------------------------------------------------------------------------------------------------
  // Table: two rows, one after the other

  typedef enum logic [1:0] {
    TABLE_IDLE,
    TABLE_ASK,
    TABLE_WAIT,
    TABLE_LOAD
  } table_state_t;

  table_state_t table_state;
  logic table_row, load_ready;
  row_t row;

  assign ring_valid = table_state == TABLE_ASK;
  assign ring_row = ins.t_row + {15'b0, table_row};

  always_ff @(posedge clk) begin
    if (ring_data_valid) row <= ring_data;
    if (reset) begin
      table_state <= TABLE_IDLE;
      table_done  <= 1'b0;
    end else begin
      case (table_state)
        TABLE_IDLE: begin
          table_row <= 1'b0;
          if (command_valid && command_ready) begin
            table_done <= !command.flags[FLAG_TABLE] || command_retain;
          end else if (busy && !table_done && !valid && valids == '0) begin
            table_state <= TABLE_ASK;
          end
        end
        TABLE_ASK: if (ring_ready) table_state <= TABLE_WAIT;
        TABLE_WAIT: if (ring_data_valid) table_state <= TABLE_LOAD;
        default:
        if (load_ready) begin
          table_row   <= 1'b1;
          table_state <= table_row ? TABLE_IDLE : TABLE_ASK;
          table_done  <= table_row;
        end
      endcase
    end
  end

  code_table #(
      .LANES(16 * Words),
      .WIDE (1'b0)
  ) u_table (
      .clk,
      .load_valid(table_state == TABLE_LOAD),
      .load_row({4'b0, table_row}),
      .load_data(row),
      .load_ready,
      .wide(1'b0),
      .enable(look_up_there),
      .code(table_code),
      .y
  );

  // ------------------------------------------------------------------------------------------------------------------
  // Write

  word_t [WRITE_WORDS-1:0] words;
  for (genvar k = 0; k < WRITE_WORDS; k++) begin : gen_word
    if (k < Words) begin : gen_own
      assign words[k] = y[16*k+15:16*k];
    end else begin : gen_none
      assign words[k] = '0;
    end
  end

  assign write.valid = valids[Latency];
  assign write.pad   = written.pad;
  assign write.base  = written.base;
  assign write.pixel = written.pixel;
  assign write.count = written.count;
  assign write.words = words;
  assign write_slot  = written.slot;
  assign done = valids[Latency] && written.last;

  logic unused;
  assign unused = &{1'b0, ins, window_words, add_ready, add_valid, product[31:18]};

endmodule

`default_nettype wire
