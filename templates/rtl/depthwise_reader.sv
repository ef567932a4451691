// SPDX-License-Identifier: Apache-2.0
// Window requests of the depthwise engine: for each channel group, for each column segment, row after row, chunk after chunk.
//
//   group --> segment --> row --> chunk --> request --> tag --|READ_LATENCY|--> depthwise_window
//
// A chunk is what four outputs of a row read: one request, or three (from column 0, 2 and 3) of a kernel wider than 3. With
// `paired` a request serves two chunks (seven outputs, stride 2); the requests of two rows alternate. Rows outside the
// input are not read: the first request of a command is one word row of zero points, which stands for all of them.
// One request a cycle while there is room in depthwise_window. A command costs 3 cycles before its first request.
`default_nettype none

module depthwise_reader
  import config_pkg::*;
(
    input  wire logic                  clk,
    input  wire logic                  reset,
    input  wire logic                  restart,      // empties the count of chunks
    // Command; the fields stay until busy is low
    input  wire logic                  start,
    output var  logic                  busy,
    input  wire instruction_t          instruction,
    input  wire logic [SLOT_BITS-1:0]  slot,
    input  wire logic                  parity,
    input  wire logic                  paired,
    input  wire logic                  triple,       // three requests a chunk
    input  wire logic [15:0]           base,         // word row of the first group
    input  wire logic [17:0]           pixel,        // of the first row
    input  wire logic [16:0]           rows,         // that are read, at least 1
    input  wire logic                  odd,          // the first of them meets tap 1, 3 or 5 of the first output row
    input  wire logic [15:0]           segments,
    input  wire logic [1:0][3:0]       chunks,       // of a segment; [1]: of the last one
    input  wire logic [5:0]            segment_cols, // outputs of a segment
    // Chunks that are no longer needed, counted modulo 256
    input  wire logic [7:0]            tail_a,
    input  wire logic [7:0]            tail_b,
    // Requests, and what they are when the words come
    output var  window_t               window,
    output var  logic [SLOT_BITS-1:0]  window_slot,
    output var  logic                  tag_valid,
    output var  logic                  tag_a,        // for the memories of tap rows 0, 2, 3
    output var  logic                  tag_b,        // ... of tap row 1
    output var  logic                  tag_zero,     // zero points
    output var  logic                  tag_parity,
    output var  logic                  tag_strided,
    output var  logic                  tag_paired,
    output var  logic                  tag_triple,
    output var  logic [1:0]            tag_part      // of three
);

  localparam logic [7:0] Room = 8'd30;  // chunks in depthwise_window

  // Where a row starts: ring slot and pixel.
  logic [17:0] row_0;  // the first row's pixel, the next two rows of the command
  logic [33:0] row_1, row_2;
  logic [33:0] next_row;  // the row after those that are read now
  logic [33:0] after;
  logic [15:0] slot_after;
  logic [17:0] pixel_0, pixel_1;
  assign slot_after = next_row[33:18] + 16'd1;
  assign after = slot_after == instruction.x_ring ? '0 : {slot_after, next_row[17:0] + {2'b0, instruction.x_width}};

  logic [1:0] prepare;  // cycles until the first request
  logic catch_up;  // next_row is one row behind
  logic [15:0] group_base, groups_left, segments_left;
  logic signed [17:0] col, left, first_col, first_left;  // column of the request, columns from there on; of the segment's
  logic [16:0] rows_left;
  logic [3:0] chunks_left;
  logic [1:0] part;
  logic second;  // row of a pair
  logic [7:0] issued_a, issued_b;

  logic strided;
  assign strided = instruction.stride_w == 8'd2;

  // Loop ends.
  logic [7:0] used_a, used_b;
  logic room, go, skip, last_part, last_chunk, last_row, last_segment, last_group, row_end, segment_end, group_end;
  assign used_a = issued_a - tail_a;
  assign used_b = issued_b - tail_b;
  // A tail may be ahead of the requests: rows between two windows of height 1 are not waited for.
  assign room = (used_a[7] || used_a < Room - 8'd1) && (!paired || used_b[7] || used_b < Room - 8'd1);
  assign go = busy && prepare == '0 && (room || part != '0);
  assign skip = second && rows_left == 17'd1;  // there is no second row
  assign last_part = paired ? second : (!triple || part == 2'd2);
  assign last_chunk = chunks_left == (paired ? 4'd2 : 4'd1);
  assign last_row = rows_left <= (paired ? 17'd2 : 17'd1);
  assign last_segment = segments_left == 16'd1;
  assign last_group = groups_left == 16'd1;
  assign row_end = go && last_part && last_chunk;
  assign segment_end = row_end && last_row;
  assign group_end = segment_end && last_segment;

  // Steps of the column.
  logic [4:0] step;
  logic [6:0] segment_step;
  logic signed [17:0] edge_col, edge_left;
  always_comb begin
    if (paired) step = second ? 5'd14 : 5'd0;
    else if (triple && part == 2'd0) step = 5'd2;
    else if (triple && part == 2'd1) step = 5'd1;
    else step = (strided ? 5'd8 : 5'd4) - (triple ? 5'd3 : 5'd0);
  end
  assign segment_step = strided ? {segment_cols, 1'b0} : {1'b0, segment_cols};
  assign edge_col = -$signed({10'b0, instruction.pad_left});
  assign edge_left = $signed({2'b0, instruction.x_cols} + {10'b0, instruction.pad_left});

  always_ff @(posedge clk) begin
    catch_up <= 1'b0;
    if (catch_up) next_row <= after;
    if (prepare == 2'd3) begin
      row_0 <= next_row[17:0];
      next_row <= after;
    end
    if (prepare == 2'd2) begin
      row_1 <= next_row;
      next_row <= after;
    end
    if (prepare == 2'd1) begin
      row_2 <= next_row;
      pixel_0 <= row_0;
      pixel_1 <= row_1[17:0];
      next_row <= paired ? next_row : row_1;
    end
    if (start) begin
      next_row <= {instruction.x_slot, pixel};
      group_base <= base;
      groups_left <= instruction.y_groups;
      segments_left <= segments;
      first_col <= edge_col;
      first_left <= edge_left;
      col <= edge_col;
      left <= edge_left;
      rows_left <= rows;
      chunks_left <= segments == 16'd1 ? chunks[1] : chunks[0];
      part <= '0;
      second <= 1'b0;
    end else if (go) begin
      col <= col + $signed({13'b0, step});
      left <= left - $signed({13'b0, step});
      if (paired) second <= !second;
      else if (triple) part <= last_part ? 2'd0 : part + 2'd1;
      if (last_part) chunks_left <= chunks_left - (paired ? 4'd2 : 4'd1);
      if (row_end) begin
        col <= first_col;
        left <= first_left;
        chunks_left <= last_segment ? chunks[1] : chunks[0];
        rows_left <= rows_left - (paired ? 17'd2 : 17'd1);
        pixel_0 <= next_row[17:0];
        pixel_1 <= after[17:0];
        next_row <= after;
        catch_up <= paired;
      end
      if (segment_end) begin
        first_col <= first_col + $signed({11'b0, segment_step});
        first_left <= first_left - $signed({11'b0, segment_step});
        col <= first_col + $signed({11'b0, segment_step});
        left <= first_left - $signed({11'b0, segment_step});
        segments_left <= segments_left - 16'd1;
        chunks_left <= segments_left == 16'd2 ? chunks[1] : chunks[0];
        rows_left <= rows;
        pixel_0 <= row_0;
        pixel_1 <= row_1[17:0];
        next_row <= paired ? row_2 : row_1;
        catch_up <= 1'b0;
      end
      if (group_end) begin
        first_col <= edge_col;
        first_left <= edge_left;
        col <= edge_col;
        left <= edge_left;
        segments_left <= segments;
        chunks_left <= segments == 16'd1 ? chunks[1] : chunks[0];
        group_base <= group_base + instruction.x_plane;
        groups_left <= groups_left - 16'd1;
      end
    end
  end

  always_ff @(posedge clk) begin
    if (reset) begin
      busy <= 1'b0;
      prepare <= '0;
    end else begin
      if (start) busy <= 1'b1;
      else if (group_end && last_group) busy <= 1'b0;
      if (start) prepare <= 2'd3;
      else if (prepare != '0) prepare <= prepare - 2'd1;
    end
    if (reset || restart) begin
      issued_a <= '0;
      issued_b <= '0;
    end else if (go && !skip) begin
      if (paired) begin
        if (second == odd) issued_a <= issued_a + 8'd2;
        else issued_b <= issued_b + 8'd2;
      end else if (last_part) begin
        issued_a <= issued_a + 8'd1;
      end
    end
  end

  // Request.
  logic zero;
  logic [4:0] low, high;
  assign zero = prepare == 2'd1;
  assign low  = col[17] ? -col[4:0] : '0;
  assign high = left[17] ? '0 : left[16:4] != '0 ? 5'd16 : left[4:0];

  // Beside the request, and then as late as its words.
  localparam int TagBits = 9;
  logic [TagBits-1:0] tag;
  logic [READ_LATENCY*TagBits-1:0] tags;
  logic [READ_LATENCY-1:0] tags_valid;

  always_ff @(posedge clk) begin
    window.pad   <= instruction.x_pad[3:0];
    window.base  <= group_base;
    window.pixel <= $signed(second ? pixel_1 : pixel_0) + col;
    window.low   <= zero ? 5'd0 : low;
    window.high  <= zero ? 5'd0 : high;
    window.fill  <= $unsigned(instruction.x_zero);
    window_slot  <= slot;
    tag[0]       <= zero || !paired || second == odd;
    tag[1]       <= zero || !paired || second != odd;
    tag[2]       <= zero;
    tag[3]       <= parity;
    tag[4]       <= strided;
    tag[5]       <= paired && !zero;
    tag[6]       <= triple && !zero;
    tag[8:7]     <= part;
    tags         <= {tags[(READ_LATENCY-1)*TagBits-1:0], tag};
    if (reset) begin
      window.valid <= 1'b0;
      tags_valid   <= '0;
    end else begin
      window.valid <= zero || (go && !skip);
      tags_valid   <= {tags_valid[READ_LATENCY-2:0], window.valid};
    end
  end
  assign tag_valid = tags_valid[READ_LATENCY-1];
  assign {tag_part, tag_triple, tag_paired, tag_strided, tag_parity, tag_zero, tag_b, tag_a} =
      tags[(READ_LATENCY-1)*TagBits+:TagBits];

  logic unused;
  assign unused = &{1'b0, instruction};

endmodule

`default_nettype wire
