// SPDX-License-Identifier: Apache-2.0
// Weights of a CONV from the ring to the operands of the MAC array, and the parameters of the epilogue.
//
//   order of rows --> request --> ring --> queue of DEPTH rows --|row|--+--> parameter row
//   row of a table ---------^        |                                  +--> skew --> pack --|operand|--> mac_array
//                                    +--> table row
//
// Order: each tile has T parameter rows (T = BLOCKS >> mode), then for each run of pixel groups its weights from the start,
// 2 T rows a step; unpacked, each step twice: even channels, odd channels.
// A row of weights leaves the queue when the shadow operands are free: in the cycle of a step's first pixel group or after
// it; it passes the swap of that step on its way, because row and pixel group have the same delay.
//
// Pack: eight output channels o, 16 inputs i of a row to four pairs (w[2j+1] << 19) + w[2j]; what w[2j] < 0 borrows is
// taken from the upper 8 bits. Unpacked: one of the two, sign-extended.
//
// Rate: a row a cycle. Latency from the queue to `operand` of input 0: row 1 + DELAY + pack 1; input i comes i cycles later.
// Ring rows are asked for ahead, as many as the queue has room for, also those of the next command.
//
// DEPTH  rows of the queue
// DELAY  of the skew, so that weights meet their pixels
`default_nettype none

module array_weights
  import config_pkg::*;
#(
    parameter int DEPTH = 32,
    parameter int DELAY = READ_LATENCY + 1
) (
    input  wire logic                       clk,
    input  wire logic                       reset,
    // Prepared command
    input  wire logic                       command_valid,
    input  wire instruction_t               fields,
    input  wire logic         [       17:0] total,
    input  wire logic         [       15:0] reads,
    output var  logic                       command_take,
    // Rows of a table
    input  wire logic                       table_valid,
    input  wire logic         [       15:0] table_row,
    output var  logic                       table_ready,
    output var  logic                       table_data_valid,
    // Ring
    output var  logic                       ring_valid,
    output var  logic         [       15:0] ring_row,
    input  wire logic                       ring_ready,
    input  wire logic                       ring_data_valid,
    input  wire row_t                       ring_data,
    // Steps
    output var  logic                       ready,              // the shadow operands are complete
    input  wire logic                       step_start,
    // Parameters
    output var  logic                       parameter_valid,
    output var  logic         [        4:0] parameter_address,  // one of 8 tiles, group of the tile
    output var  row_t                       parameter_data,
    // Operands of half a tile
    output var  logic                       operand_valid,
    output var  logic         [        4:0] operand_row,        // of the step; its group and half
    output var  logic         [        2:0] operand_mode,
    output var  logic         [3:0][15:0][15:0] operand             // of a pair: upper 8 bits, lower 8; 11 signs lie between
);

  localparam int Bits = $clog2(DEPTH);

  // --------------------------------------------------------------------------------------------------------- order
  logic active, parameters, is_packed, odd;
  logic [2:0] mode;
  logic [2:0] tile_buffer;
  logic [4:0] index;
  logic [15:0] row, step_row, tile_row, steps, steps_left, groups;
  logic [17:0] all, left;

  logic [4:0] tile;  // channel groups
  logic [4:0] index_last;
  logic last_of_rows, last_of_step, last_of_run, last_run, last_tile;
  logic take;
  assign tile = 5'(BLOCKS) >> mode;
  assign index_last = (parameters ? tile : {tile[3:0], 1'b0}) - 5'd1;
  assign last_of_rows = index == index_last;
  assign last_of_step = last_of_rows && !parameters && (is_packed || odd);
  assign last_of_run = last_of_step && steps_left == 16'd1;
  assign last_run = left <= 18'(ACC_GROUPS);
  assign last_tile = groups <= {11'b0, tile};
  assign command_take = command_valid && !active;

  always_ff @(posedge clk) begin
    if (command_take) begin
      active <= 1'b1;
      parameters <= 1'b1;
      is_packed <= fields.flags[FLAG_PACKED];
      odd <= 1'b0;
      mode <= fields.mode[2:0];
      index <= '0;
      row <= fields.w_row;
      steps <= reads;
      groups <= fields.y_groups;
      all <= total;
      left <= total;
    end else if (take) begin
      index <= last_of_rows ? '0 : index + 5'd1;
      if (index == '0) step_row <= row;
      // The same step once more, the next run of the tile, or the row that follows.
      if (last_of_rows && !parameters && !is_packed) begin
        odd <= !odd;
      end
      if (last_of_rows && !parameters && !is_packed && !odd) row <= step_row;
      else if (last_of_run && !last_run) row <= tile_row;
      else row <= row + 16'd1;
      if (parameters && last_of_rows) begin
        parameters <= 1'b0;
        tile_row   <= row + 16'd1;
      end
      if (parameters || last_of_run) steps_left <= steps;
      else if (last_of_step) steps_left <= steps_left - 16'd1;
      if (last_of_run) begin
        left <= last_run ? all : left - 18'(ACC_GROUPS);
        if (last_run) begin
          parameters <= 1'b1;
          tile_buffer <= tile_buffer + 3'd1;
          groups <= groups - {11'b0, tile};
          active <= !last_tile;
        end
      end
    end
    if (reset) begin
      active <= 1'b0;
      tile_buffer <= '0;
    end
  end

  // ------------------------------------------------------------------------------------------------------- request
  // `used` rows are asked for or in the queue.
  logic [Bits:0] used;
  logic pop, free;
  assign free = !ring_valid || ring_ready;
  assign table_ready = free;
  assign take = active && free && !table_valid && !used[Bits];

  // What each row that was asked for is: of a table or not, in the order of the answers.
  logic order[2*DEPTH];
  logic [Bits:0] order_in, order_out;
  logic is_table;
  assign is_table = order[order_out];
  assign table_data_valid = ring_data_valid && is_table;

  always_ff @(posedge clk) begin
    if (free) begin
      ring_valid <= table_valid || take;
      ring_row   <= table_valid ? table_row : row;
    end
    if (free && (table_valid || take)) begin
      order[order_in] <= table_valid;
      order_in <= order_in + 1'b1;
    end
    if (ring_data_valid) order_out <= order_out + 1'b1;
    used <= used + {{Bits{1'b0}}, take} - {{Bits{1'b0}}, pop};
    if (reset) begin
      ring_valid <= 1'b0;
      order_in <= '0;
      order_out <= '0;
      used <= '0;
    end
  end

  // --------------------------------------------------------------------------------------------------------- queue
  // A row's description is written when the row is asked for, the row when it comes.
  localparam int TagBits = 1 + 1 + 1 + 1 + 3 + 3 + 5;
  (* ram_style = "distributed" *) logic [TagBits-1:0] tags[DEPTH];
  (* ram_style = "distributed" *) row_t rows[DEPTH];
  logic [Bits-1:0] tag_in, row_in, head;
  logic [Bits:0] stored;
  logic waiting;  // stored != 0

  logic head_parameters, head_last, head_packed, head_odd;
  logic [2:0] head_mode;
  logic [2:0] head_buffer;
  logic [4:0] head_index;
  assign {head_parameters, head_last, head_packed, head_odd, head_mode, head_buffer, head_index} = tags[head];

  logic row_came;
  assign row_came = ring_data_valid && !is_table;
  assign pop = waiting && (head_parameters || !ready || step_start);

  row_t popped;
  logic popped_parameters, popped_weights, popped_packed, popped_odd;
  logic [2:0] popped_mode;
  logic [2:0] popped_buffer;
  logic [4:0] popped_index;

  always_ff @(posedge clk) begin
    if (take) begin
      tags[tag_in] <= {parameters, last_of_rows, is_packed, odd, mode, tile_buffer, index};
      tag_in <= tag_in + 1'b1;
    end
    if (row_came) begin
      rows[row_in] <= ring_data;
      row_in <= row_in + 1'b1;
    end
    if (pop) head <= head + 1'b1;
    stored  <= stored + {{Bits{1'b0}}, row_came} - {{Bits{1'b0}}, pop};
    waiting <= row_came || stored > {{Bits{1'b0}}, pop};
    if (pop && !head_parameters && head_last) ready <= 1'b1;
    else if (step_start) ready <= 1'b0;

    popped <= rows[head];
    popped_parameters <= pop && head_parameters;
    popped_weights <= pop && !head_parameters;
    popped_packed <= head_packed;
    popped_odd <= head_odd;
    popped_mode <= head_mode;
    popped_buffer <= head_buffer;
    popped_index <= head_index;
    if (reset) begin
      tag_in <= '0;
      row_in <= '0;
      head <= '0;
      stored <= '0;
      waiting <= 1'b0;
      ready <= 1'b0;
      popped_parameters <= 1'b0;
      popped_weights <= 1'b0;
    end
  end

  assign parameter_valid   = popped_parameters;
  assign parameter_address = {popped_buffer, popped_index[1:0]};
  assign parameter_data    = popped;

  // ------------------------------------------------------------------------------------------------- skew and pack
  // Lane i waits DELAY + i cycles; whether it is packed waits with it.
  logic lane_packed[16];
  logic lane_odd[16];
  logic late_valid;
  logic [4:0] late_row;
  logic [2:0] late_mode;

  delay #(
      .WIDTH(11),
      .CYCLES(DELAY)
  ) u_late (
      .clk,
      .in ({popped_weights, popped_packed, popped_odd, popped_mode, popped_index}),
      .out({late_valid, lane_packed[0], lane_odd[0], late_mode, late_row})
  );

  always_ff @(posedge clk) begin
    operand_valid <= late_valid;
    operand_row <= late_row;
    operand_mode <= late_mode;
  end

  for (genvar i = 0; i < 16; i++) begin : gen_lane
    if (i > 0) begin : gen_flags
      always_ff @(posedge clk) begin
        lane_packed[i] <= lane_packed[i-1];
        lane_odd[i] <= lane_odd[i-1];
      end
    end

    logic [63:0] weights, skewed;  // of 8 output channels
    for (genvar o = 0; o < 8; o++) begin : gen_output
      assign weights[8*o+:8] = popped[8*(16*o+i)+:8];
    end
    delay #(
        .WIDTH (64),
        .CYCLES(DELAY + i)
    ) u_skew (
        .clk,
        .in (weights),
        .out(skewed)
    );

    for (genvar j = 0; j < 4; j++) begin : gen_pair
      logic [7:0] w0, w1, low, high;
      assign w0   = skewed[16*j+:8];
      assign w1   = skewed[16*j+8+:8];
      assign low  = !lane_packed[i] && lane_odd[i] ? w1 : w0;
      assign high = lane_packed[i] ? w1 - {7'b0, w0[7]} : {8{low[7]}};
      always_ff @(posedge clk) operand[j][i] <= {high, low};
    end
  end

  logic unused;
  assign unused = &{1'b0, fields};

endmodule

`default_nettype wire
