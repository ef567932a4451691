// SPDX-License-Identifier: Apache-2.0
// Order of the depthwise engine's computation: group --> segment --> output row --> chunk of four outputs --> pass.
//
//   loops --> memory addresses of the taps --> reg --> address, valid
//         --> output address ----------------> reg --> write
//
// One pass a cycle, as soon as the chunk of the lowest row is in depthwise_window and the group's weights are there. No
// cycle is lost between passes, chunks, rows, segments and groups; but a row takes two cycles at least.
// Chunk c of the i-th row that a segment reads is number i * chunks + c since the segment's base; taps point at these numbers,
// modulo 30, and rows outside the input at the zero points. Counts for comparison are modulo 256.
`default_nettype none

module depthwise_issue
  import config_pkg::*;
(
    input  wire logic                       clk,
    input  wire logic                       reset,
    input  wire logic                       restart,       // the next chunk is number 0; only while idle
    // Command
    input  wire logic                       command_valid,
    output var  logic                       command_ready,
    input  wire instruction_t               instruction,
    input  wire logic [SLOT_BITS-1:0]       slot,
    input  wire logic                       parity,
    input  wire logic                       paired,
    input  wire logic [1:0]                 last_pass,
    input  wire logic [15:0]                segments,
    input  wire logic [1:0][3:0]            segment_chunks, // of a segment; [1]: of the last one
    input  wire logic [5:0]                 segment_cols,
    input  wire logic [1:0][4:0][4:0]       offset,        // [last][tap row]: from the base to its first chunk, modulo 30
    input  wire logic [1:0][5:0]            above_a,       // [last]: chunks of rows above the input
    input  wire logic [1:0][5:0]            above_b,
    input  wire logic [1:0][2:0]            need,          // [1: second output row]: tap rows not below the input
    input  wire logic [1:0][4:0]            outside,       // [1: second output row][tap row]
    input  wire logic [2:0][2:0]            top,           // [output row]: tap rows above the input
    input  wire logic [17:0]                below,         // input rows from the third output row's first on, signed
    input  wire logic [15:0]                base,          // word row of the first group of y
    input  wire logic [17:0]                pixel,         // of the first row of y
    // depthwise_window
    input  wire logic [7:0]                 written_a,
    input  wire logic [7:0]                 written_b,
    output var  logic [7:0]                 tail_a,
    output var  logic [7:0]                 tail_b,
    output var  logic [2:0][2:0][5:0]       address,       // [row][column]
    // depthwise_weights
    input  wire logic                       weights_ready,
    output var  logic                       group_start,
    output var  logic                       group_end,
    output var  logic [1:0]                 pass,
    output var  logic [8:0]                 used,
    output var  logic                       stall_weights,
    // A pass, with `address`; the write is that of its outputs
    output var  logic                       valid,
    output var  logic                       first,         // pass of a chunk
    output var  logic                       last,
    output var  logic                       change,        // first pass of a group
    output var  logic                       done,          // last pass of a command
    output var  logic                       write,
    output var  logic [2:0]                 write_count,
    output var  logic [17:0]                write_pixel,
    output var  logic [15:0]                write_base,
    output var  logic [3:0]                 write_pad,
    output var  logic [SLOT_BITS-1:0]       write_slot,
    output var  logic [15:0]                zero_point,
    output var  logic                       wide,
    output var  logic                       enable         // table
);

  // a and b modulo 30
  function automatic logic [4:0] add(input logic [4:0] a, input logic [4:0] b);
    logic [5:0] sum;
    sum = {1'b0, a} + {1'b0, b};
    add = sum[4:0] + {3'b0, sum >= 6'd30, 1'b0};
  endfunction

  function automatic logic [7:0] multiply(input logic [2:0] rows, input logic [3:0] size);
    multiply = ({8{rows[0]}} & {4'b0, size}) + ({8{rows[1]}} & {3'b0, size, 1'b0}) + ({8{rows[2]}} & {2'b0, size, 2'b0});
  endfunction

  // Command.
  logic c_paired, c_double, c_strided, c_broad, c_five, c_parity;
  logic [1:0] c_last_pass, c_kernel_w;
  logic [2:0] c_kernel_h;
  logic [15:0] c_segments, c_rows, c_cols, c_plane, c_ring, c_slot, c_width;
  logic [1:0][3:0] c_chunks;
  logic [5:0] c_segment_cols;
  logic [1:0][4:0][4:0] c_offset;
  logic [1:0][5:0] c_above_a, c_above_b;
  logic [1:0][2:0] c_need;
  logic [1:0][4:0] c_outside;
  logic [2:0][2:0] c_top;
  logic [17:0] c_below, c_pixel;
  logic active, load, take;  // load: the cycle after take

  // Loops. What a pass ends is known before it may go on: `ends_` look ahead, `step` enables.
  logic running;  // active without load
  logic [15:0] groups_left, segments_left, rows_left, group_base;
  logic [3:0] chunks, chunks_left;
  logic first_of_group, aged;  // aged: a cycle of this row is over
  logic chunk_last, row_last, segment_last, segment_before_last, group_last, c_single, c_two;
  logic pass_last, ends_row, ends_segment, ends_group, loads_segment, last_next;
  logic fire, step;

  // Chunks.
  logic [4:0][4:0] tap;  // of each tap row, modulo 30
  logic [4:0] start;  // tap[1] at the start of the row
  logic [7:0] at_a, at_b, start_b;  // counts: tap row 0; with pairs tap row 1; at the start of the row
  logic [7:0] wanted;  // the lowest tap row that is not below the input
  logic [7:0] row_step;  // from `at_a` at the end of this row to `wanted` in the next
  logic [7:0] base_a, base_b;  // of the segment
  logic [4:0] end_a, end_b;  // base of the next one, modulo 30
  logic [7:0] end_count_a, end_count_b;
  logic [2:0] need_now, need_next, top_now, top_next, top_third;
  logic [4:0] outside_now, outside_next, outside_third;
  logic [17:0] below_third;
  logic [1:0][7:0] c_wanted;  // [last]: from the base

  assign command_ready = !active;
  assign take = command_valid && command_ready;

  // Distance of a row's lowest tap row from the first.
  function automatic logic [7:0] distance(input logic pairs, input logic [2:0] tap_rows, input logic [3:0] size);
    distance = pairs ? {8{tap_rows >= 3'd3}} & {4'b0, size} : multiply(tap_rows - 3'd1, size);
  endfunction

  // Are the lowest chunks there?
  logic [7:0] ahead_a, ahead_b;
  logic data_ready;
  assign ahead_a = written_a + ~wanted;  // less one: not negative if it is there
  assign ahead_b = written_b + ~at_b;
  assign data_ready = !ahead_a[7] && !(ahead_b[7] && c_paired && need_now >= 3'd2);

  assign pass_last = pass == c_last_pass;
  assign ends_row = pass_last && chunk_last;
  assign ends_segment = ends_row && row_last;
  assign ends_group = ends_segment && segment_last;
  assign loads_segment = load || ends_segment;
  assign last_next = load || segment_last ? c_single : segment_before_last;
  assign fire = running && data_ready && (!first_of_group || weights_ready) && (aged || !ends_row);
  assign step = load || fire;
  assign group_start = fire && first_of_group;
  assign group_end = fire && ends_group;
  assign stall_weights = running && data_ready && first_of_group && !weights_ready;

  always_ff @(posedge clk) begin
    if (take) begin
      c_paired <= paired;
      c_double <= instruction.stride_h == 8'd2;
      c_strided <= instruction.stride_h == 8'd2 && !paired;
      c_broad <= instruction.kernel_w[2];
      c_five <= instruction.kernel_w[2] && instruction.kernel_w[0];
      c_kernel_w <= instruction.kernel_w[1:0];
      c_kernel_h <= instruction.kernel_h[2:0];
      c_parity <= parity;
      c_last_pass <= last_pass;
      c_segments <= segments;
      c_single <= segments == 16'd1;
      c_two <= segments == 16'd2;
      c_wanted[0] <= distance(paired, need[0], segment_chunks[0]) - {2'b0, above_a[0]};
      c_wanted[1] <= distance(paired, need[0], segment_chunks[1]) - {2'b0, above_a[1]};
      c_rows <= instruction.y_rows;
      c_cols <= instruction.y_cols;
      c_plane <= instruction.y_plane;
      c_ring <= instruction.y_ring;
      c_slot <= instruction.y_slot;
      c_width <= instruction.y_width;
      c_chunks <= segment_chunks;
      c_segment_cols <= segment_cols;
      c_offset <= offset;
      c_above_a <= above_a;
      c_above_b <= above_b;
      c_need <= need;
      c_outside <= outside;
      c_top <= top;
      c_below <= below;
      c_pixel <= pixel;
      zero_point <= $unsigned(instruction.y_zero);
      wide <= instruction.flags[FLAG_WIDE];
      enable <= instruction.flags[FLAG_TABLE];
      write_pad <= instruction.y_pad[3:0];
      write_slot <= slot;
    end
  end

  always_ff @(posedge clk) begin
    load <= take;
    aged <= running && !(fire && ends_row);
    if (reset) begin
      active  <= 1'b0;
      running <= 1'b0;
    end else begin
      if (take) active <= 1'b1;
      else if (fire && ends_group && group_last) active <= 1'b0;
      if (load) running <= 1'b1;
      else if (fire && ends_group && group_last) running <= 1'b0;
    end
    if (take) begin
      groups_left <= instruction.y_groups;
      group_last <= instruction.y_groups == 16'd1;
      group_base <= base;
    end else if (group_end) begin
      groups_left <= groups_left - 16'd1;
      group_last <= groups_left == 16'd2;
      group_base <= group_base + c_plane;
    end
    if (step) begin
      first_of_group <= load || ends_group;
      pass <= load || pass_last ? 2'd0 : pass + 2'd1;
      if (loads_segment) begin
        segments_left <= load || segment_last ? c_segments : segments_left - 16'd1;
        segment_last <= last_next;
        segment_before_last <= load || segment_last ? c_two : segments_left == 16'd3;
        rows_left <= c_rows;
        row_last <= c_rows == 16'd1;
        chunks <= c_chunks[last_next];
        chunks_left <= c_chunks[last_next];
        chunk_last <= c_chunks[last_next] == 4'd1;
      end else if (ends_row) begin
        rows_left <= rows_left - 16'd1;
        row_last <= rows_left == 16'd2;
        chunks_left <= chunks;
        chunk_last <= chunks == 4'd1;
      end else if (pass_last) begin
        chunks_left <= chunks_left - 4'd1;
        chunk_last <= chunks_left == 4'd2;
      end
    end
  end

  // Rows outside the input, of the next output row.
  logic [2:0] below_small;
  assign below_small = below_third[17] ? 3'd0 : below_third[16:3] != '0 ? 3'd7 : below_third[2:0];
  for (genvar k = 0; k < 5; k++) begin : gen_outside
    localparam logic [2:0] Row = 3'(k);
    assign outside_third[k] = Row < top_third || below_small <= Row;
  end
  always_ff @(posedge clk) begin
    if (step && loads_segment) begin
      need_now <= c_need[0];
      need_next <= c_need[1];
      outside_now <= c_outside[0];
      outside_next <= c_outside[1];
      top_now <= c_top[0];
      top_next <= c_top[1];
      top_third <= c_top[2];
      below_third <= c_below;
    end else if (step && ends_row) begin
      need_now <= need_next;
      need_next <= below_small < c_kernel_h ? below_small : c_kernel_h;
      outside_now <= outside_next;
      outside_next <= outside_third;
      top_now <= top_next;
      top_next <= top_third;
      top_third <= top_third > {1'b0, c_double, !c_double} ? top_third - {1'b0, c_double, !c_double} : '0;
      below_third <= below_third - {16'b0, c_double, !c_double};
    end
  end

  // Chunk numbers.
  logic [4:0] lowest, end_tap_a, end_tap_b;
  logic [7:0] jump;  // of tap row 0 at the end of a row
  always_comb begin
    case (c_paired ? {1'b0, need_now >= 3'd3, 1'b0} : need_now - 3'd1)
      3'd0: lowest = tap[0];
      3'd1: lowest = tap[1];
      3'd2: lowest = tap[2];
      3'd3: lowest = tap[3];
      default: lowest = tap[4];
    endcase
  end
  assign end_tap_a = add(lowest, {1'b0, chunks_left});
  assign end_tap_b = add(tap[1], {1'b0, chunks_left});
  assign jump = 8'd1 + ({8{c_strided}} & {4'b0, chunks});

  for (genvar k = 0; k < 5; k++) begin : gen_tap
    logic [4:0] from, by;
    // One adder for three cases: a new segment, a row of stride 2, any other chunk.
    assign from = !loads_segment ? tap[k] : k == 1 && c_paired ? end_b : end_a;
    assign by = loads_segment ? c_offset[last_next][k] : ends_row ? jump[4:0] : 5'd1;
    always_ff @(posedge clk) begin
      if (step && (load || pass_last)) tap[k] <= add(from, by);
    end
  end

  always_ff @(posedge clk) begin
    row_step <= jump + distance(c_paired, need_next, chunks);
    if (reset || restart) begin
      {end_a, end_b} <= '0;
      {end_count_a, end_count_b} <= '0;
      {at_a, at_b, base_a, base_b} <= '0;
    end else begin
      if (running) begin
        end_a <= end_tap_a;
        end_count_a <= wanted + {4'b0, chunks_left};
        end_b <= need_now >= 3'd2 ? end_tap_b : start;
        end_count_b <= need_now >= 3'd2 ? at_b + {4'b0, chunks_left} : start_b;
      end
      if (step && loads_segment) begin
        at_a <= end_count_a - {2'b0, c_above_a[last_next]};
        at_b <= end_count_b - {2'b0, c_above_b[last_next]};
        base_a <= end_count_a;
        base_b <= end_count_b;
      end else if (step && pass_last) begin
        at_a <= at_a + (ends_row ? jump : 8'd1);
        at_b <= at_b + 8'd1;
      end
    end
    if (step && (load || pass_last)) begin
      wanted <= (loads_segment ? end_count_a : ends_row ? at_a : wanted) +
                (loads_segment ? c_wanted[last_next] : ends_row ? row_step : 8'd1);
    end
    if (step && loads_segment) begin
      start   <= add(end_b, c_offset[last_next][1]);
      start_b <= end_count_b - {2'b0, c_above_b[last_next]};
    end else if (step && ends_row) begin
      start   <= add(tap[1], 5'd1);
      start_b <= at_b + 8'd1;
    end
    tail_a <= top_now != '0 ? base_a : at_a;
    tail_b <= top_now > 3'd1 ? base_b : at_b;
  end

  // Tap rows of the multipliers in this pass (depthwise_weights); 7: none.
  logic [2:0][2:0][2:0] row;
  logic special;
  logic [2:0] even, odd;
  assign special = c_five && pass_last;
  assign even = {pass, 1'b0};
  assign odd = {pass, 1'b1};
  always_comb begin
    if (!c_broad) begin
      for (int k = 0; k < 3; k++) begin
        row[0][k] = pass[0] ? 3'd3 : 3'd0;
        row[1][k] = pass[0] ? 3'd4 : 3'd1;
        row[2][k] = pass[0] ? 3'd7 : 3'd2;
      end
    end else begin
      for (int k = 0; k < 3; k++) row[0][k] = even;
      row[1][0] = odd;
      row[1][1] = special ? {1'b0, c_last_pass} + 3'd1 : odd;
      row[1][2] = special ? {1'b0, c_last_pass} + 3'd2 : odd;
      row[2][0] = even;
      row[2][1] = odd;
      row[2][2] = {1'b0, pass};
    end
  end

  for (genvar i = 0; i < 3; i++) begin : gen_row
    for (genvar k = 0; k < 3; k++) begin : gen_column
      localparam logic [1:0] Column = 2'(k);
      logic exists, out;
      logic [4:0] chunk;
      always_comb begin
        case (row[i][k])
          3'd0: {out, chunk} = {outside_now[0], tap[0]};
          3'd1: {out, chunk} = {outside_now[1], tap[1]};
          3'd2: {out, chunk} = {outside_now[2], tap[2]};
          3'd3: {out, chunk} = {outside_now[3], tap[3]};
          default: {out, chunk} = {outside_now[4], tap[4]};
        endcase
      end
      assign exists = c_broad ? c_five || i < 2 || k < 2 : c_kernel_w > Column;
      assign used[3*i+k] = exists && row[i][k] < c_kernel_h;
      always_ff @(posedge clk) begin
        if (out) address[i][k] <= {5'b01111, c_parity};
        else address[i][k] <= {special && i == 1 && k > 0, chunk};
      end
    end
  end

  // Writes.
  logic [2:0] width;  // outputs of the chunk
  logic [15:0] col, segment_col, row_slot, slot_after;
  logic signed [17:0] cols_left, segment_left;
  logic [17:0] row_pixel;
  assign width = c_paired && chunks_left[0] ? 3'd3 : 3'd4;
  assign slot_after = row_slot + 16'd1;

  always_ff @(posedge clk) begin
    if (step && loads_segment) begin
      row_slot  <= c_slot;
      row_pixel <= c_pixel;
    end else if (step && ends_row) begin
      row_slot  <= slot_after == c_ring ? '0 : slot_after;
      row_pixel <= slot_after == c_ring ? '0 : row_pixel + {2'b0, c_width};
    end
    if (load || group_end) begin
      {col, segment_col} <= '0;
      cols_left <= $signed({2'b0, c_cols});
      segment_left <= $signed({2'b0, c_cols});
    end else if (fire && ends_segment) begin
      col <= segment_col + {10'b0, c_segment_cols};
      segment_col <= segment_col + {10'b0, c_segment_cols};
      cols_left <= segment_left - $signed({12'b0, c_segment_cols});
      segment_left <= segment_left - $signed({12'b0, c_segment_cols});
    end else if (fire && ends_row) begin
      col <= segment_col;
      cols_left <= segment_left;
    end else if (fire && pass_last) begin
      col <= col + {13'b0, width};
      cols_left <= cols_left - $signed({15'b0, width});
    end
  end

  always_ff @(posedge clk) begin
    valid <= fire && !reset;
    first <= pass == '0;
    last <= pass_last;
    change <= group_start;
    done <= group_end && group_last;
    write <= fire && pass_last && !cols_left[17] && cols_left != '0;
    write_count <= cols_left < $signed({15'b0, width}) ? cols_left[2:0] : width;
    write_pixel <= row_pixel + {2'b0, col};
    write_base <= group_base;
  end

  logic unused;
  assign unused = &{1'b0, instruction, ahead_a[6:0], ahead_b[6:0]};

endmodule

`default_nettype wire
