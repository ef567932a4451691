// SPDX-License-Identifier: Apache-2.0
// What the depthwise engine derives from an instruction before it starts: sizes, first addresses, rows outside the input.
//
//   instruction --> one multiplier: 4 products --> bases and pixels
//               --> rows, tap rows outside
//               --> segments, chunks --> offsets of the tap rows
//
// `ready` comes about 12 cycles after `start`, or one for each segment where there are more. The instruction stays.
// A segment has up to 8 chunks (kernels of up to 3 rows) or 5 of 4 outputs; of 3x3 kernels with stride 2 on both axes
// 4 pairs of chunks of 7 outputs.
`default_nettype none

module depthwise_setup
  import config_pkg::*;
(
    input  wire logic                 clk,
    input  wire logic                 reset,
    input  wire logic                 start,
    output var  logic                 ready,         // until the next start
    input  wire instruction_t         instruction,
    output var  logic                 paired,
    output var  logic                 triple,
    output var  logic [1:0]           last_pass,
    output var  logic [15:0]          x_base,
    output var  logic [17:0]          x_pixel,
    output var  logic [15:0]          y_base,
    output var  logic [17:0]          y_pixel,
    output var  logic [16:0]          rows,          // of the input
    output var  logic                 odd,
    output var  logic [15:0]          segments,
    output var  logic [1:0][3:0]      segment_chunks,
    output var  logic [5:0]           segment_cols,
    output var  logic [1:0][4:0][4:0] offset,
    output var  logic [1:0][5:0]      above_a,
    output var  logic [1:0][5:0]      above_b,
    output var  logic [1:0][2:0]      need,
    output var  logic [1:0][4:0]      outside,
    output var  logic [2:0][2:0]      top,
    output var  logic [17:0]          below
);

  logic double_h;
  logic [2:0] kernel_h, kernel_w;
  logic [1:0] stride;
  assign double_h = instruction.stride_h == 8'd2;
  assign kernel_h = instruction.kernel_h[2:0];
  assign kernel_w = instruction.kernel_w[2:0];
  assign stride = double_h ? 2'd2 : 2'd1;

  logic [3:0] step;
  logic busy, split, offsets;  // split: the segments are known
  logic [2:0] index;

  // Products: operands, product, sum.
  logic [15:0] a, b;
  logic [31:0] product, result;
  always_ff @(posedge clk) begin
    case (step[1:0])
      2'd0: {a, b} <= {instruction.x_slot, instruction.x_width};
      2'd1: {a, b} <= {instruction.y_group0, instruction.x_plane};
      2'd2: {a, b} <= {instruction.y_slot, instruction.y_width};
      default: {a, b} <= {instruction.y_group0, instruction.y_plane};
    endcase
    product <= a * b;
    result <= product;
    if (step == 4'd3) x_pixel <= result[17:0];
    if (step == 4'd4) x_base <= instruction.x_base + result[15:0];
    if (step == 4'd5) y_pixel <= result[17:0];
    if (step == 4'd6) y_base <= instruction.y_base + result[15:0];
  end

  // Rows. Each register settles some cycles after the instruction is there.
  logic signed [17:0] first, span, end_0, end_1, rows_end;
  logic [2:0] top_0;
  assign below = $unsigned(end_1) - {16'b0, stride};
  assign top_0 = top[0];
  always_ff @(posedge clk) begin
    paired <= double_h && instruction.stride_w == 8'd2 && kernel_h <= 3'd3 && kernel_w <= 3'd3;
    triple <= kernel_w[2];
    if (!kernel_w[2]) last_pass <= {1'b0, kernel_h > 3'd3};
    else if (kernel_w[0]) last_pass <= {kernel_h > 3'd3, kernel_h == 3'd2 || kernel_h == 3'd3};
    else last_pass <= {kernel_h == 3'd5, kernel_h == 3'd3 || kernel_h == 3'd4};

    first <= $signed(double_h ? {1'b0, instruction.y_row0, 1'b0} : {2'b0, instruction.y_row0}) -
             $signed({10'b0, instruction.pad_top});
    span <= $signed(double_h ? {1'b0, instruction.y_rows, 1'b0} : {2'b0, instruction.y_rows}) -
            $signed({16'b0, stride}) + $signed({15'b0, kernel_h});
    end_0 <= $signed({2'b0, instruction.x_height}) - first;
    end_1 <= end_0 - $signed({16'b0, stride});
    top[0] <= first[17] ? -first[2:0] : '0;
    top[1] <= top_0 > {1'b0, stride} ? top_0 - {1'b0, stride} : '0;
    top[2] <= top_0 > {stride, 1'b0} ? top_0 - {stride, 1'b0} : '0;
    rows_end <= span < end_0 ? span : end_0;
    rows <= rows_end[16:0] - {14'b0, top_0};
    odd <= top_0[0];
    need[0] <= end_0 < $signed({15'b0, kernel_h}) ? end_0[2:0] : kernel_h;
    need[1] <= end_1[17] ? '0 : end_1 < $signed({15'b0, kernel_h}) ? end_1[2:0] : kernel_h;
  end

  for (genvar k = 0; k < 5; k++) begin : gen_outside
    localparam logic [2:0] Row = 3'(k);
    always_ff @(posedge clk) begin
      outside[0][k] <= Row < top[0] || end_0 <= $signed({15'b0, Row});
      outside[1][k] <= Row < top[1] || end_1 <= $signed({15'b0, Row});
    end
  end

  // Segments: how often segment_cols goes into y_cols.
  logic [15:0] cols_left;
  logic [5:0] last_cols;
  logic [3:0] full_chunks;
  assign last_cols = cols_left[5:0];
  assign full_chunks = kernel_h > 3'd3 ? 4'd5 : 4'd8;
  always_ff @(posedge clk) begin
    segment_cols <= paired ? 6'd28 : kernel_h > 3'd3 ? 6'd20 : 6'd32;
    if (step < 4'd3) begin
      cols_left <= instruction.y_cols;
      segments <= 16'd1;
    end else if (cols_left > {10'b0, segment_cols}) begin
      cols_left <= cols_left - {10'b0, segment_cols};
      segments <= segments + 16'd1;
    end
    segment_chunks[0] <= full_chunks;
    if (!paired) segment_chunks[1] <= last_cols[5:2] + {3'b0, last_cols[1:0] != '0};
    else segment_chunks[1] <= last_cols > 6'd21 ? 4'd8 : last_cols > 6'd14 ? 4'd6 : last_cols > 6'd7 ? 4'd4 : 4'd2;
    split <= step >= 4'd3 && cols_left <= {10'b0, segment_cols};
  end

  // Offsets: (k - top) * chunks modulo 30; with pairs the rows of each parity for themselves.
  logic [2:0] top_a, top_b, size;
  logic signed [3:0] distance;
  logic up, offsets_q;  // a cycle later: distance >= 0
  always_comb begin
    if (!paired) distance = $signed({1'b0, index}) - $signed({1'b0, top_a});
    else distance = $signed({2'b0, index[2:1]}) - $signed({1'b0, index[0] ? top_b : top_a});
  end
  always_ff @(posedge clk) begin
    top_a <= paired ? {1'b0, top_0[2:1]} + {2'b0, top_0[0]} : top_0;
    top_b <= paired ? {1'b0, top_0[2:1]} : '0;
    up <= !distance[3];
    size <= distance[3] ? -distance[2:0] : distance[2:0];
    offsets_q <= offsets;
  end
  for (genvar s = 0; s < 2; s++) begin : gen_segment
    logic [5:0] value;
    assign value = multiply(size, segment_chunks[s]);
    always_ff @(posedge clk) begin
      if (offsets_q) offset[s][4] <= modulo(value, up);
      above_a[s] <= multiply(top_a, segment_chunks[s]);
      above_b[s] <= multiply(top_b, segment_chunks[s]);
    end
    for (genvar k = 0; k < 4; k++) begin : gen_tap
      always_ff @(posedge clk) begin
        if (offsets_q) offset[s][k] <= offset[s][k+1];
      end
    end
  end

  // by or -by, modulo 30; by is at most 32.
  function automatic logic [4:0] modulo(input logic [5:0] by, input logic positive);
    if (positive) modulo = by[4:0] + {3'b0, by >= 6'd30, 1'b0};
    else if (by == '0) modulo = '0;
    else modulo = -by[4:0] - (by > 6'd30 ? 5'd4 : 5'd2);
  endfunction

  function automatic logic [5:0] multiply(input logic [2:0] rows_by, input logic [3:0] size_by);
    multiply = ({6{rows_by[0]}} & {2'b0, size_by}) + ({6{rows_by[1]}} & {1'b0, size_by, 1'b0}) +
               ({6{rows_by[2]}} & {size_by, 2'b0});
  endfunction

  always_ff @(posedge clk) begin
    if (reset) begin
      busy <= 1'b0;
      ready <= 1'b0;
      offsets <= 1'b0;
      step <= '0;
      index <= '0;
    end else if (start) begin
      busy <= 1'b1;
      ready <= 1'b0;
      offsets <= 1'b0;
      step <= '0;
      index <= '0;
    end else if (busy) begin
      if (step != '1) step <= step + 4'd1;
      // `split` is of a cycle ago, and the chunks of another one.
      if (!offsets && !offsets_q && index == '0 && split && step >= 4'd6) offsets <= 1'b1;
      if (offsets) index <= index + 3'd1;
      if (offsets && index == 3'd4) offsets <= 1'b0;
      if (offsets_q && !offsets) begin
        busy  <= 1'b0;
        ready <= 1'b1;
      end
    end
  end

  logic unused;
  assign unused = &{1'b0, instruction, result[31:18], rows_end[17]};

endmodule

`default_nettype wire
