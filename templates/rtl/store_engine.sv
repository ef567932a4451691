// SPDX-License-Identifier: Apache-2.0
// From pads and vector memory to DDR: STORE, and copies of what other instructions wrote to the trace buffer.
//
//   STORE --+                              +--> write requests ------------------------> axi_write
//           +--> products --> group, row --+
//   trace --+                              +--> window or vector reads --> FIFO --> words
//
// A job copies `groups` x `rows` x `cols` words. STORE: one row of all pixels of a group, one write request for everything,
// word offset + ddr onwards. Trace: the rectangle of y; a request for each row, at word offset + trace + (g * y_height +
// row) * y_width. A read asks for one pixel, because a port takes one word a cycle. Reads stop while the FIFO has no room.
//
// `done` and `trace_done` follow the last write response. A STORE outside the output gives error_bounds; it and whatever has no
// pixels is skipped. Trace goes first.
//
// Cost: 13 + groups * rows * (1 + cols) cycles, when the memory takes a word a cycle; the next job begins while the last
// words and the responses are on their way.
//
// BEATS_BITS  bits of the number of words of a write request
`default_nettype none

module store_engine
  import config_pkg::*;
#(
    parameter int BEATS_BITS = 20
) (
    input  wire logic                 clk,
    input  wire logic                 reset,
    input  wire logic                 command_valid,
    input  wire instruction_t         command,
    input  wire logic [SLOT_BITS-1:0] command_slot,
    input  wire logic [31:0]          command_offset,
    output var  logic                 command_ready,
    output var  logic                 done,
    input  wire logic                 trace_valid,
    input  wire instruction_t         trace_command,
    input  wire logic [SLOT_BITS-1:0] trace_slot,
    input  wire logic [31:0]          trace_offset,
    output var  logic                 trace_ready,
    output var  logic                 trace_done,
    input  wire logic [63:0]          output_base,     // bytes, multiples of 16; constant while the machine runs
    input  wire logic [63:0]          trace_base,
    input  wire logic [31:0]          output_words,    // of a frame
    output var  logic                 error_bounds,
    output var  logic                 idle,            // no job in work or waiting for responses

    output var  window_t              window,
    output var  logic [SLOT_BITS-1:0] window_slot,
    input  wire word_t [BANKS-1:0]    window_words,
    output var  logic                 vector_read_valid,
    output var  logic [SLOT_BITS-1:0] vector_read_slot,
    output var  logic [15:0]          vector_read_word,
    input  wire word_t                vector_read_data,

    // axi_write
    output var  logic                  write_valid,
    input  wire logic                  write_ready,
    output var  logic [63:0]           write_address,
    output var  logic [BEATS_BITS-1:0] write_beats,
    output var  logic                  write_tag,      // trace
    output var  logic                  write_final,
    output var  logic                  word_valid,
    input  wire logic                  word_ready,
    output var  logic [127:0]          word,
    input  wire logic                  finished,
    input  wire logic                  finished_tag
);

  typedef enum logic [2:0] {
    TAKE,
    SIZE,
    SKIP,
    ROW,
    READ
  } state_t;
  state_t state;

  logic tracing;
  logic [3:0] pad;
  logic [SLOT_BITS-1:0] slot;
  logic vector;
  logic [15:0] base, plane, groups, rows, width, height, ring_last, first_slot, group, row;
  logic [17:0] cols;
  logic [31:0] ddr, place;  // first word

  // ---- Products: operands enter at `step`, the product is there two steps later.

  logic [3:0] step;
  logic [25:0] a;
  logic [15:0] b;
  logic [41:0] product;
  logic [25:0] line;  // rows before the rectangle
  logic [25:0] area;  // pixels of a group
  logic [17:0] start;  // first pixel
  logic [41:0] total;
  logic [42:0] limit;
  logic outside, empty, huge;

  assign trace_ready   = state == TAKE;
  assign command_ready = state == TAKE && !trace_valid;
  assign outside = !tracing && (limit > 43'(output_words) || total[41:BEATS_BITS] != '0 || huge);

  logic write_take, word_take, issue, last_col, last_row, last_group;
  logic [15:0] ring_slot, rows_left, groups_left, group_base;
  logic [17:0] row_pixel, pixel, cols_left;
  logic [31:0] group_place, row_place;
  logic some;  // a request of this job has been made
  logic [5:0] reserved;  // words asked for or in the FIFO
  logic [4:0] flight;  // jobs that wait for their last response
  logic begin_job;

  assign write_take = state == ROW && !some && (write_ready || !write_valid);
  assign issue = state == READ && !reserved[5];

  always_ff @(posedge clk) begin
    if (state == TAKE) begin
      tracing <= trace_valid;
      pad <= trace_valid ? trace_command.y_pad[3:0] : command.x_pad[3:0];
      slot <= trace_valid ? trace_slot : command_slot;
      base <= trace_valid ? trace_command.y_base : command.x_base;
      plane <= trace_valid ? trace_command.y_plane : command.x_plane;
      groups <= trace_valid ? trace_command.y_groups : command.x_groups;
      rows <= trace_valid ? trace_command.y_rows : 16'd1;
      width <= trace_valid ? trace_command.y_width : command.x_cols;
      height <= trace_valid ? trace_command.y_height : command.x_height;
      cols <= {2'b0, trace_command.y_cols};
      ring_last <= trace_command.y_ring - 1'b1;
      first_slot <= trace_valid ? trace_command.y_slot : '0;
      group <= trace_valid ? trace_command.y_group0 : '0;
      row <= trace_valid ? trace_command.y_row0 : '0;
      place <= trace_valid ? trace_offset + trace_command.trace : command_offset + command.ddr;
      ddr <= command.ddr;
    end
    if (state == SIZE && step == 4'd0 && pad == VECTOR) plane <= 16'd1;
    if (state == SIZE && step == 4'd11) vector <= pad == VECTOR;  // the reads before have arrived

    case (step)
      4'd1: {a, b} <= {10'b0, group, plane};
      4'd2: {a, b} <= {10'b0, first_slot, width};
      4'd3: {a, b} <= {10'b0, group, height};
      4'd4: {a, b} <= {10'b0, height, width};
      4'd6: {a, b} <= {line, width};
      default: {a, b} <= {area, groups};
    endcase
    product <= 42'(a) * 42'(b);
    if (step == 4'd3) group_base <= base + product[15:0];
    if (step == 4'd4) start <= product[17:0];
    if (step == 4'd5) line <= product[25:0] + 26'(row);
    if (step == 4'd6) begin
      area  <= product[25:0];
      huge <= product[31:18] != '0;
      if (!tracing) cols <= product[17:0];
    end
    if (step == 4'd8) row_place <= place + product[31:0];
    if (step == 4'd9) total <= product;
    if (step == 4'd10) limit <= {1'b0, total} + 43'(ddr);
    empty <= groups == '0 || rows == '0 || cols == '0;

    if (state == SIZE) begin
      ring_slot <= first_slot;
      row_pixel <= start;
      rows_left <= rows;
      groups_left <= groups;
      group_place <= row_place;
    end
    if (state == ROW) begin
      pixel <= row_pixel;
      cols_left <= cols;
      last_col <= cols == 18'd1;
      // They change with the last word of a row only.
      last_row <= rows_left == 16'd1;
      last_group <= groups_left == 16'd1;
    end
    if (issue) begin
      pixel <= pixel + 1'b1;
      cols_left <= cols_left - 1'b1;
      last_col  <= cols_left == 18'd2;
      if (last_col && last_row) begin
        groups_left <= groups_left - 1'b1;
        group_base <= group_base + plane;
        group_place <= group_place + 32'(area);
        row_place <= group_place + 32'(area);
        rows_left <= rows;
        ring_slot <= first_slot;
        row_pixel <= start;
      end else if (last_col) begin
        rows_left <= rows_left - 1'b1;
        row_place <= row_place + 32'(width);
        if (ring_slot == ring_last) begin
          ring_slot <= '0;
          row_pixel <= '0;
        end else begin
          ring_slot <= ring_slot + 1'b1;
          row_pixel <= row_pixel + 18'(width);
        end
      end
    end

    if (write_take) begin
      write_address <= (tracing ? trace_base : output_base) + {28'b0, row_place, 4'b0};
      write_beats <= tracing ? BEATS_BITS'(cols) : total[BEATS_BITS-1:0];
      write_tag <= tracing;
      write_final <= !tracing || (groups_left == 16'd1 && rows_left == 16'd1);
    end

    if (reset) begin
      state <= TAKE;
      write_valid <= 1'b0;
      error_bounds <= 1'b0;
      done <= 1'b0;
      trace_done <= 1'b0;
      flight <= '0;
      begin_job <= 1'b0;
    end else begin
      error_bounds <= 1'b0;
      begin_job <= 1'b0;
      done <= finished && !finished_tag;
      trace_done <= finished && finished_tag;
      flight <= flight + 5'(begin_job) - 5'(finished);
      if (write_take) write_valid <= 1'b1;
      else if (write_ready) write_valid <= 1'b0;
      case (state)
        TAKE: begin
          step <= '0;
          some <= 1'b0;
          if (trace_valid || command_valid) state <= SIZE;
        end
        SIZE: begin
          step <= step + 1'b1;
          if (step == 4'd11) begin
            error_bounds <= outside && !empty;
            begin_job <= !(outside || empty);
            state <= outside || empty ? SKIP : ROW;
          end
        end
        ROW:
        if (write_take || some) begin
          some  <= !tracing;
          state <= READ;
        end
        READ: if (issue && last_col) state <= last_row && last_group ? TAKE : ROW;
        default:
        if (flight == '0 && !begin_job && !finished) begin
          done <= !tracing;
          trace_done <= tracing;
          state <= TAKE;
        end
      endcase
    end
  end

  // ---- Reads

  logic [READ_LATENCY-1:0] reading;
  logic arrived;
  word_t arrived_word;
  logic window_valid, vector_valid;
  logic [17:0] window_pixel;
  logic [15:0] window_base;

  always_ff @(posedge clk) begin
    window_valid <= issue && !vector && !reset;
    vector_valid <= issue && vector && !reset;
    window_pixel <= pixel;
    window_base  <= group_base;
    arrived_word <= vector ? vector_read_data : window_words[0];
    if (reset) begin
      reading  <= '0;
      arrived  <= 1'b0;
      reserved <= '0;
    end else begin
      reading  <= {reading[READ_LATENCY-2:0], window_valid || vector_valid};
      arrived  <= vector ? reading[VECTOR_LATENCY-1] : reading[READ_LATENCY-1];
      reserved <= reserved + 6'(issue) - 6'(word_take);
    end
  end

  always_comb begin
    window = '0;
    window.valid = window_valid;
    window.pad = pad;
    window.base = window_base;
    window.pixel = $signed(window_pixel);
    window.high = 5'd1;
  end
  assign window_slot = slot;
  assign vector_read_valid = vector_valid;
  assign vector_read_slot = slot;
  assign vector_read_word = window_base;

  logic fifo_full;
  small_fifo #(
      .WIDTH(128),
      .DEPTH(32)
  ) u_words (
      .clk,
      .reset,
      .in_valid(arrived),
      .in(arrived_word),
      .full(fifo_full),
      .out_valid(word_valid),
      .out(word),
      .out_take(word_take)
  );
  assign word_take = word_valid && word_ready;

  assign idle = state == TAKE && flight == '0 && !begin_job && !done && !trace_done;

  logic unused;
  assign unused = &{1'b0, command, trace_command, fifo_full, window_words};

endmodule

`default_nettype wire
