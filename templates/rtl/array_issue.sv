// SPDX-License-Identifier: Apache-2.0
// Walks over the tiles, runs, steps and pixel groups of a CONV and reads the input.
//
//   prepared command --|reg|--> tile --> run --> step (tap, input group, visit) --> pixel group
//                                                   |                                   |
//                                       tap row, column, word row        row, column, slot, pixel
//                                                   +---------------- + ----------------+
//                                                                     |--|sums|--> --|window|--> pads
//
// A run is up to ACC_GROUPS pixel groups of 1 << mode pixels, over rows and columns. A step issues one pixel group a cycle and
// starts when its weights are in the shadow operands; the first step of a run waits for a free half of the accumulators.
//
// Cycles: for each tile, run and step max(pixel groups, 2 T, 4), T = BLOCKS >> mode; 1 between commands. Nothing else while
// weights and accumulators are ready in time.
// Latency from a pixel group to its window: sums 1 + window 1 = 2. Initiation interval 1. No stall inside a step.
`default_nettype none

module array_issue
  import config_pkg::*;
#(
    localparam int G = $clog2(ACC_GROUPS)  // bits of a pixel group's number
) (
    input  wire logic                         clk,
    input  wire logic                         reset,
    // Prepared command
    input  wire logic                         command_valid,
    output var  logic                         command_take,
    input  wire instruction_t                 fields,
    input  wire logic         [SLOT_BITS-1:0] slot,
    input  wire logic         [         15:0] columns,
    input  wire logic         [         17:0] total,
    input  wire logic         [         17:0] row0,
    input  wire logic         [         17:0] slot0,
    input  wire logic         [         17:0] pixel0,
    input  wire logic         [         17:0] down,
    input  wire logic         [         17:0] ring_pixels,
    input  wire logic         [         15:0] share,
    input  wire logic         [         15:0] base,
    input  wire logic         [         15:0] rest,
    // Steps
    input  wire logic                         weights_ready,
    output var  logic                         step_start,
    // Window, and what belongs to its pixel group
    output var  window_t                      window,
    output var  logic         [SLOT_BITS-1:0] window_slot,
    output var  logic                         group_valid,
    output var  logic                         group_swap,     // the first of a step
    output var  logic                         group_first,    // sums start at 0
    output var  logic                         group_half,     // of the accumulators
    output var  logic         [        G-1:0] group_index,
    output var  logic                         group_even,     // even channels take part
    output var  logic                         group_odd,
    output var  logic                         group_packed,
    output var  logic                         group_last,     // of a run
    output var  logic         [          2:0] group_mode,
    output var  logic         [          2:0] group_stride,
    // Epilogue: a run begins; half of the accumulators is free again
    output var  logic                         run_valid,
    output var  logic         [          G:0] run_count,
    output var  logic                         run_tile_last,
    output var  logic                         run_command_last,
    input  wire logic                         half_free,
    // Events
    output var  logic                         stall_weights,
    output var  logic                         stall_epilogue
);

  localparam int Distance = 4;  // least cycles between two updates of an accumulator
  localparam int C = G + 1;  // bits of a count of pixel groups

  if (BLOCKS < 4 || BLOCKS > 16 || ACC_GROUPS < Distance || (ACC_GROUPS & (ACC_GROUPS - 1)) != 0) begin : gen_check
    $error("array_issue: 4, 8 or 16 blocks, and a power of two of at least 4 pixel groups");
  end

  // ------------------------------------------------------------------------------------------------------- command
  logic active, is_packed;
  logic [SLOT_BITS-1:0] c_slot;
  logic [2:0] c_mode, c_stride;
  logic [3:0] c_pad;
  logic [7:0] c_fill, c_kernel_w, c_pad_left, c_rows_down;
  logic [15:0] c_plane, c_width, c_inputs, c_columns, c_share, c_per_group;
  logic [17:0] c_total, c_down, c_down_wrapped, c_ring_pixels, c_ring, c_height, c_limit;
  logic [17:0] c_row0, c_slot0, c_pixel0, c_rows_wrapped;
  logic [4:0] c_step, c_span, c_span_last, c_tile;  // input columns of a group: to the next, read, read in the last

  assign command_take = command_valid && !active;

  logic [4:0] pixels;
  logic [3:0] pixels_less, outputs_less;  // less 1: of a group, of the last group of a row
  assign pixels = 5'd1 << fields.mode[2:0];
  assign pixels_less = 4'(pixels - 5'd1);
  assign outputs_less = 4'(fields.y_cols - 16'd1) & pixels_less;

  always_ff @(posedge clk) begin
    if (command_take) begin
      is_packed <= fields.flags[FLAG_PACKED];
      c_slot <= slot;
      c_mode <= fields.mode[2:0];
      c_stride <= fields.stride_w[2:0];
      c_pad <= fields.x_pad[3:0];
      c_fill <= fields.x_zero;
      c_kernel_w <= fields.kernel_w;
      c_pad_left <= fields.pad_left;
      c_rows_down <= fields.stride_h;
      c_plane <= fields.x_plane;
      c_width <= fields.x_width;
      c_inputs <= fields.ci_groups;
      c_columns <= columns;
      c_share <= share;
      c_per_group <= fields.og_per_group;
      c_total <= total;
      c_down <= down;
      c_down_wrapped <= down - ring_pixels;
      c_ring_pixels <= ring_pixels;
      c_ring <= {2'b0, fields.x_ring};
      c_height <= {2'b0, fields.x_height};
      c_limit <= {2'b0, fields.x_cols} + {10'b0, fields.pad_left};
      c_row0 <= row0;
      c_slot0 <= slot0;
      c_pixel0 <= pixel0;
      c_rows_wrapped <= {10'b0, fields.stride_h} - {2'b0, fields.x_ring};
      c_step <= 5'(fields.stride_w[2:0]) << fields.mode[2:0];
      c_span <= 5'(pixels_less * fields.stride_w[2:0]) + 5'd1;
      c_span_last <= 5'(outputs_less * fields.stride_w[2:0]) + 5'd1;
      c_tile <= 5'(BLOCKS) >> fields.mode[2:0];
    end
  end

  // -------------------------------------------------------------------------------------------------- state of loops
  logic [15:0] t_groups, t_base, t_rest;  // tile: output groups left, first input group, place in its convolution group
  logic [17:0] r_left;  // run: pixel groups left in the tile
  logic [C-1:0] r_count, r_period;
  logic r_half;
  logic [15:0] s_inputs_left, s_base;  // step
  logic [7:0] s_kx_left, s_ky_left;
  logic [7:0] c_kernel_h;
  logic s_odd, s_first;
  logic [17:0] s_x, s_limit;  // column of the tap; input columns from it on
  logic [17:0] s_y, s_y_ring, s_y_height;  // row of the tap, less the ring's rows, less the input's rows
  logic [17:0] s_pixels, s_pixels_ring;  // of s_y rows, less the ring's
  logic at_start, issue, step_end;
  logic [G-1:0] g_index;
  logic [C-1:0] g_left, g_cycles;  // pixel groups and cycles left in the step
  logic [15:0] w_columns, b_columns;  // walk, and its begin in this run: pixel groups left in the row
  logic [17:0] w_x, b_x, w_row, b_row, w_slot, b_slot, w_pixel, b_pixel;
  logic [1:0] busy;  // halves of the accumulators

  // Flags and next values follow from registers that change at the end of a step only; two steps of 4 or more cycles give
  // them the three cycles that the longest chain takes (r_left, n_left, n_count).
  logic l_input, l_kx, l_ky, l_step, l_run, l_tile;
  logic [17:0] n_left;
  logic [C-1:0] n_count;
  logic [15:0] n_rest, n_base, n_rest_wrapped;
  logic l_share;

  function automatic logic [C-1:0] run_of(input logic [17:0] groups);
    run_of = groups >= 18'(ACC_GROUPS) ? C'(ACC_GROUPS) : C'(groups);
  endfunction

  function automatic logic [C-1:0] period_of(input logic [C-1:0] groups);
    period_of = groups < C'(Distance) ? C'(Distance) : groups;
  endfunction

  always_ff @(posedge clk) begin
    l_input <= s_inputs_left == 16'd1;
    l_kx <= s_kx_left == 8'd1;
    l_ky <= s_ky_left == 8'd1;
    l_step <= l_input && l_kx && l_ky && (is_packed || s_odd);
    l_run <= r_left <= 18'(ACC_GROUPS);
    l_tile <= t_groups <= {11'b0, c_tile};
    n_left <= r_left <= 18'(ACC_GROUPS) ? c_total : r_left - 18'(ACC_GROUPS);
    n_count <= run_of(n_left);
    // Tiles lie inside a convolution group, or are one channel group.
    n_rest <= t_rest + {11'b0, c_tile};
    n_rest_wrapped <= n_rest - c_per_group;
    l_share <= c_per_group != '0 && n_rest >= c_per_group;
    n_base <= l_share ? t_base + c_share : t_base;
  end

  logic run_start, half_ok, may_start;
  assign run_start = s_first && !s_odd;
  assign half_ok = !run_start || !busy[1];
  assign may_start = weights_ready && half_ok;
  assign issue = active && (at_start ? may_start : g_left != '0);
  assign step_start = active && at_start && may_start;
  assign step_end = active && !at_start && g_cycles == C'(1);
  assign stall_weights = active && at_start && !weights_ready && half_ok;
  assign stall_epilogue = active && at_start && !half_ok;
  assign run_valid = step_start && run_start;
  assign run_count = r_count;
  logic l_run_now, l_tile_now;
  assign run_tile_last = l_run_now;
  assign run_command_last = l_run_now && l_tile_now;

  // The first step of a command may start before the flags have settled.
  assign l_run_now  = r_left <= 18'(ACC_GROUPS);
  assign l_tile_now = t_groups <= {11'b0, c_tile};

  always_ff @(posedge clk) begin
    if (command_take) begin
      active <= 1'b1;
      at_start <= 1'b1;
      c_kernel_h <= fields.kernel_h;
      t_groups <= fields.y_groups;
      t_base <= base;
      t_rest <= rest;
      r_left <= total;
      r_count <= run_of(total);
      r_period <= period_of(run_of(total));
      g_index <= '0;
      g_left <= run_of(total);
      g_cycles <= period_of(run_of(total));
      s_inputs_left <= fields.ci_groups;
      s_kx_left <= fields.kernel_w;
      s_ky_left <= fields.kernel_h;
      s_odd <= 1'b0;
      s_first <= 1'b1;
      s_base <= base;
      s_x <= -{10'b0, fields.pad_left};
      s_limit <= {2'b0, fields.x_cols} + {10'b0, fields.pad_left};
      s_y <= '0;
      s_y_ring <= -{2'b0, fields.x_ring};
      s_y_height <= -{2'b0, fields.x_height};
      s_pixels <= '0;
      s_pixels_ring <= -ring_pixels;
    end else begin
      if (issue) begin
        g_index <= g_index + 1'b1;
        g_left  <= g_left - 1'b1;
      end
      if (step_start) at_start <= 1'b0;
      if (step_start || !at_start) g_cycles <= g_cycles - 1'b1;
      if (step_end) begin
        at_start <= 1'b1;
        g_index <= '0;
        g_left <= l_step ? n_count : r_count;
        g_cycles <= l_step ? period_of(n_count) : r_period;
        s_odd <= !is_packed && !s_odd;
        if (is_packed || s_odd) begin
          s_first <= l_step;
          s_inputs_left <= l_input ? c_inputs : s_inputs_left - 16'd1;
          if (!l_input) s_base <= s_base + c_plane;
          else s_base <= l_step && l_run ? n_base : t_base;
          if (l_input) begin
            s_kx_left <= l_kx ? c_kernel_w : s_kx_left - 8'd1;
            s_x <= l_kx ? -{10'b0, c_pad_left} : s_x + 18'd1;
            s_limit <= l_kx ? c_limit : s_limit - 18'd1;
            if (l_kx) begin
              s_ky_left <= l_ky ? c_kernel_h : s_ky_left - 8'd1;
              s_y <= l_ky ? '0 : s_y + 18'd1;
              s_y_ring <= l_ky ? -c_ring : s_y_ring + 18'd1;
              s_y_height <= l_ky ? -c_height : s_y_height + 18'd1;
              s_pixels <= l_ky ? '0 : s_pixels + {2'b0, c_width};
              s_pixels_ring <= l_ky ? -c_ring_pixels : s_pixels_ring + {2'b0, c_width};
            end
          end
        end
        if (l_step) begin
          r_half <= !r_half;
          r_left <= n_left;
          r_count <= n_count;
          r_period <= period_of(n_count);
          if (l_run) begin
            t_groups <= t_groups - {11'b0, c_tile};
            t_base <= n_base;
            t_rest <= l_share ? n_rest_wrapped : n_rest;
            if (l_tile) active <= 1'b0;
          end
        end
      end
    end
    busy <= busy + {1'b0, run_valid} - {1'b0, half_free};
    if (reset) begin
      active <= 1'b0;
      r_half <= 1'b0;
      busy   <= '0;
    end
  end

  // ---------------------------------------------------------------------------------------------------------- walk
  logic row_end, wrap;
  logic [17:0] slot_down, slot_wrapped;
  assign row_end = w_columns == 16'd1;
  assign slot_down = w_slot + {10'b0, c_rows_down};
  assign slot_wrapped = w_slot + c_rows_wrapped;
  assign wrap = !slot_wrapped[17];

  always_ff @(posedge clk) begin
    if (command_take || (step_end && l_step && l_run)) begin
      w_columns <= command_take ? columns : c_columns;
      w_x <= '0;
      w_row <= command_take ? row0 : c_row0;
      w_slot <= command_take ? slot0 : c_slot0;
      w_pixel <= command_take ? pixel0 : c_pixel0;
    end else if (step_end && !l_step) begin
      w_columns <= b_columns;
      w_x <= b_x;
      w_row <= b_row;
      w_slot <= b_slot;
      w_pixel <= b_pixel;
    end else if (issue) begin
      w_columns <= row_end ? c_columns : w_columns - 16'd1;
      w_x <= row_end ? '0 : w_x + {13'b0, c_step};
      if (row_end) begin
        w_row   <= w_row + {10'b0, c_rows_down};
        w_slot  <= wrap ? slot_wrapped : slot_down;
        w_pixel <= w_pixel + (wrap ? c_down_wrapped : c_down);
      end
    end
    if (run_valid) begin
      b_columns <= w_columns;
      b_x <= w_x;
      b_row <= w_row;
      b_slot <= w_slot;
      b_pixel <= w_pixel;
    end
  end

  // -------------------------------------------------------------------------------------------------------- window
  // Stage 1: sums, of which some are needed for their sign only.
  logic valid_1, above_1, below_1, wrap_1, swap_1, first_1, half_1, even_1, odd_1, packed_1, last_1;
  logic [17:0] x_1, left_1, pixel_1, pixel_wrapped_1, row_sum, height_sum, ring_sum;
  logic [15:0] base_1;
  logic [4:0] span_1;
  logic [3:0] pad_1;
  logic [7:0] fill_1;
  logic [SLOT_BITS-1:0] slot_1;
  logic [G-1:0] index_1;
  logic [2:0] mode_1, stride_1;
  assign row_sum = w_row + s_y;
  assign height_sum = w_row + s_y_height;
  assign ring_sum = w_slot + s_y_ring;

  // Stage 2: the part of the window that exists.
  logic [4:0] low, high;
  always_comb begin
    low = x_1[17] ? 5'(-x_1[4:0]) : '0;
    if (above_1 || below_1 || left_1[17]) high = '0;
    else if (left_1[16:5] != '0 || left_1[4:0] >= span_1) high = span_1;
    else high = left_1[4:0];
  end

  always_ff @(posedge clk) begin
    valid_1 <= issue;
    x_1 <= w_x + s_x;
    left_1 <= s_limit - w_x;
    above_1 <= row_sum[17];
    below_1 <= !height_sum[17];
    wrap_1 <= !ring_sum[17];
    pixel_1 <= w_pixel + s_pixels;
    pixel_wrapped_1 <= w_pixel + s_pixels_ring;
    base_1 <= s_base;
    span_1 <= row_end ? c_span_last : c_span;
    pad_1 <= c_pad;
    fill_1 <= c_fill;
    slot_1 <= c_slot;
    swap_1 <= step_start;
    first_1 <= s_first;
    half_1 <= r_half;
    index_1 <= g_index;
    even_1 <= is_packed || !s_odd;
    odd_1 <= is_packed || s_odd;
    packed_1 <= is_packed;
    last_1 <= g_left == C'(1);
    mode_1 <= c_mode;
    stride_1 <= c_stride;

    window.valid <= valid_1;
    window.pad <= pad_1;
    window.base <= base_1;
    window.pixel <= (wrap_1 ? pixel_wrapped_1 : pixel_1) + x_1;
    window.low <= low;
    window.high <= high;
    window.fill <= fill_1;
    window_slot <= slot_1;
    group_valid <= valid_1;
    group_swap <= swap_1;
    group_first <= first_1;
    group_half <= half_1;
    group_index <= index_1;
    group_even <= even_1;
    group_odd <= odd_1;
    group_packed <= packed_1;
    group_last <= last_1 && l_input && l_kx && l_ky && odd_1;  // the flags are a cycle old, as stage 1
    group_mode <= mode_1;
    group_stride <= stride_1;
    if (reset) begin
      valid_1 <= 1'b0;
      window.valid <= 1'b0;
      group_valid <= 1'b0;
    end
  end

  logic unused;
  assign unused = &{1'b0, fields, row_sum[16:0], height_sum[16:0], ring_sum[16:0]};

endmodule

`default_nettype wire
