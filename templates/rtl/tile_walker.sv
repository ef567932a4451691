// SPDX-License-Identifier: Apache-2.0
// Walks over a rectangle of a tensor in a pad: columns, then rows (in their ring slots), then channel groups.
//
//   base_start, pixel_start --> base, pixel --> +STEP | start of the next row | start of the next group
//
// `load` takes the start, and one cycle later `prepare` finds where the next row begins; then each `step` moves on: to the
// next group if group_end is high, else to the next row if row_end is high, else STEP columns. The row after the ring's last
// slot begins at pixel 0. All sums wrap. The inputs stay from `load` to the last step.
//
// STEP  columns of a step
`default_nettype none

module tile_walker #(
    parameter int STEP = 1
) (
    input  wire logic        clk,
    input  wire logic        load,
    input  wire logic [15:0] base_start,   // word row of the first group's plane
    input  wire logic [17:0] pixel_start,  // of the first row
    input  wire logic [15:0] slot,         // of the first row
    input  wire logic [15:0] ring,
    input  wire logic [15:0] width,
    input  wire logic [15:0] plane,
    input  wire logic        prepare,
    input  wire logic        step,
    input  wire logic        row_end,
    input  wire logic        group_end,
    output var  logic [15:0] base,
    output var  logic [17:0] pixel
);

  // The row after the current one: its first pixel and its slot. Element 1 is that of the first row.
  logic [17:0] first_pixel, next_pixel, second_pixel, after_pixel;
  logic [15:0] next_slot, second_slot, after_slot, last_slot;
  logic wrap;

  assign wrap = (prepare ? slot : next_slot) == last_slot;
  assign after_pixel = wrap ? '0 : (prepare ? pixel : next_pixel) + {2'b0, width};
  assign after_slot = wrap ? '0 : (prepare ? slot : next_slot) + 16'd1;

  always_ff @(posedge clk) begin
    last_slot <= ring - 16'd1;
    if (load) begin
      base <= base_start;
      pixel <= pixel_start;
      first_pixel <= pixel_start;
    end else if (prepare) begin
      {next_pixel, next_slot} <= {after_pixel, after_slot};
      {second_pixel, second_slot} <= {after_pixel, after_slot};
    end else if (step) begin
      if (group_end) begin
        base <= base + plane;
        pixel <= first_pixel;
        {next_pixel, next_slot} <= {second_pixel, second_slot};
      end else if (row_end) begin
        pixel <= next_pixel;
        {next_pixel, next_slot} <= {after_pixel, after_slot};
      end else begin
        pixel <= pixel + 18'(STEP);
      end
    end
  end

endmodule

`default_nettype wire
