// SPDX-License-Identifier: Apache-2.0
// Takes a CONV and computes the products of its fields, with one multiplier.
//
//   command --> reg --> 12 products, one a cycle: factors --|reg|--> * --|reg|--> --|reg|--> results
//                  +--> y_group0 / og_per_group by subtraction --> first input group of the first tile
//
// Latency: 17 cycles + y_group0 / og_per_group for a grouped convolution. The results stay until the weights' and the issuing side
// have both taken them; then the next command comes in.
`default_nettype none

module array_prepare
  import config_pkg::*;
(
    input  wire logic                         clk,
    input  wire logic                         reset,
    input  wire logic                         command_valid,
    input  wire instruction_t                 command,
    input  wire logic         [SLOT_BITS-1:0] command_slot,
    input  wire logic                         command_retain,
    output var  logic                         command_ready,
    output var  logic                         weights_valid,
    input  wire logic                         weights_take,   // with weights_valid
    output var  logic                         issue_valid,
    input  wire logic                         issue_take,     // with issue_valid
    output var  instruction_t                 fields,
    output var  logic         [SLOT_BITS-1:0] slot,
    output var  logic                         retain,
    output var  logic         [         15:0] columns,        // pixel groups of a row
    output var  logic         [         17:0] total,          // pixel groups of the rectangle
    output var  logic         [         15:0] reads,          // taps * input groups
    output var  logic         [         17:0] row0,           // input row of the first output row's first tap, signed
    output var  logic         [         17:0] slot0,          // its ring slot, signed
    output var  logic         [         17:0] pixel0,         // first pixel of that slot
    output var  logic         [         17:0] down,           // pixels from an output row's input row to the next one's
    output var  logic         [         17:0] ring_pixels,    // of the input
    output var  logic         [         15:0] share,          // word rows of the input groups of one convolution group
    output var  logic         [         15:0] base,           // word row of the first input group
    output var  logic         [         15:0] rest,           // output groups before the first of its convolution group
    output var  logic         [         15:0] y_base,         // word row of the first output group
    output var  logic         [         17:0] y_pixel,        // first pixel of the first output row
    output var  logic         [         15:0] r_base,
    output var  logic         [         17:0] r_pixel
);

  typedef enum logic [1:0] {
    EMPTY,
    MULTIPLY,
    DIVIDE,
    READY
  } state_t;

  state_t state;
  instruction_t p;
  logic weights_taken, issue_taken;
  logic [3:0] step;
  logic [15:0] taps;
  logic [17:0] start_row, first;
  logic [4:0] pixels;  // of a group

  assign fields = p;
  assign command_ready = state == EMPTY;
  assign weights_valid = state == READY && !weights_taken;
  assign issue_valid = state == READY && !issue_taken;
  assign pixels = 5'd1 << p.mode[2:0];

  logic [17:0] factor_a;
  logic [15:0] factor_b;
  logic [33:0] product, product_q;

  always_ff @(posedge clk) begin
    case (step)
      4'd0: {factor_a, factor_b} <= {10'b0, p.kernel_h, 8'b0, p.kernel_w};
      4'd1: {factor_a, factor_b} <= {2'b0, p.y_row0, 8'b0, p.stride_h};
      4'd2: {factor_a, factor_b} <= {2'b0, p.y_rows, columns};
      4'd3: {factor_a, factor_b} <= {10'b0, p.stride_h, p.x_width};
      4'd4: {factor_a, factor_b} <= {2'b0, taps, p.ci_groups};
      4'd5: {factor_a, factor_b} <= {2'b0, p.x_ring, p.x_width};
      4'd6: {factor_a, factor_b} <= {2'b0, p.ci_groups, p.x_plane};
      4'd7: {factor_a, factor_b} <= {slot0, p.x_width};  // modulo 2^18, as pixels are
      4'd8: {factor_a, factor_b} <= {2'b0, p.y_slot, p.y_width};
      4'd9: {factor_a, factor_b} <= {2'b0, p.y_group0, p.y_plane};
      4'd10: {factor_a, factor_b} <= {2'b0, p.r_slot, p.y_width};
      default: {factor_a, factor_b} <= {2'b0, p.y_group0, p.r_plane};
    endcase
    product   <= {16'b0, factor_a} * {18'b0, factor_b};
    product_q <= product;
  end

  always_ff @(posedge clk) begin
    // Sums of a few fields, complete before anyone uses them.
    columns <= 16'(({1'b0, p.y_cols} + {12'b0, pixels} - 17'd1) >> p.mode[2:0]);
    first <= {2'b0, p.x_slot} - {2'b0, p.x_first};
    row0 <= start_row - {10'b0, p.pad_top};
    slot0 <= row0 + first;

    case (state)
      EMPTY: begin
        step <= '0;
        if (command_valid) begin
          p <= command;
          slot <= command_slot;
          retain <= command_retain;
          state <= MULTIPLY;
        end
      end
      MULTIPLY: begin
        step <= step + 4'd1;
        case (step)  // the product of three steps before
          4'd3: taps <= product_q[15:0];
          4'd4: start_row <= product_q[17:0];
          4'd5: total <= product_q[17:0];
          4'd6: down <= product_q[17:0];
          4'd7: reads <= product_q[15:0];
          4'd8: ring_pixels <= product_q[17:0];
          4'd9: share <= product_q[15:0];
          4'd10: pixel0 <= product_q[17:0];
          4'd11: y_pixel <= product_q[17:0];
          4'd12: y_base <= p.y_base + product_q[15:0];
          4'd13: r_pixel <= product_q[17:0];
          4'd14: r_base <= p.r_base + product_q[15:0];
          default: ;
        endcase
        base <= p.x_base;
        rest <= p.y_group0;
        if (step == 4'd15) state <= DIVIDE;
      end
      DIVIDE: begin
        if (p.og_per_group == '0 || rest < p.og_per_group) begin
          state <= READY;
        end else begin
          rest <= rest - p.og_per_group;
          base <= base + share;
        end
      end
      default: begin
        weights_taken <= weights_taken || weights_take;
        issue_taken   <= issue_taken || issue_take;
        if ((weights_taken || weights_take) && (issue_taken || issue_take)) begin
          state <= EMPTY;
          weights_taken <= 1'b0;
          issue_taken <= 1'b0;
        end
      end
    endcase
    if (reset) begin
      state <= EMPTY;
      weights_taken <= 1'b0;
      issue_taken <= 1'b0;
    end
  end

  logic unused;
  assign unused = &{1'b0, product_q[33:18]};

endmodule

`default_nettype wire
