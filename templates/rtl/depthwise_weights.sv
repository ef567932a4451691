// SPDX-License-Identifier: Apache-2.0
// Tables, parameters and weights of the depthwise engine, fetched ahead of their use.
//
//   ring --> queue of 31 rows --> table load
//                             --> parameters of the group after the next --> of the next --> init, multiplier, shift
//                             --> a tap a cycle --> 9 memories of 8 groups x 3 passes --> weight
//
// A channel group costs 1 cycle and a cycle for each tap, beside the computation. A table waits until nothing is under way
// behind the multipliers. Weights that a pass does not have are 0.
// Multiplier (row i, column k), pass q: kernels up to 3 wide: tap row 3 q + i, column k. Wider ones: column k < 3 has the tap
// rows 2 q and 2 q + 1 in rows 0 and 1; column 3 in (2, 0) and (2, 1); column 4 has tap row q in (2, 2), and in the last
// pass, P - 1, tap rows P and P + 1 in (1, 1) and (1, 2), which have nothing else to do then.
`default_nettype none

module depthwise_weights
  import config_pkg::*;
(
    input  wire logic                     clk,
    input  wire logic                     reset,
    // Command; the fields stay until busy is low
    input  wire logic                     start,
    output var  logic                     busy,
    input  wire instruction_t             instruction,
    input  wire logic                     retain,
    input  wire logic [1:0]               last_pass,
    // Ring
    output var  logic                     ring_valid,
    output var  logic [15:0]              ring_row,
    input  wire logic                     ring_ready,
    input  wire logic                     ring_data_valid,
    input  wire row_t                     ring_data,
    // Table
    input  wire logic                     drained,      // no code on its way
    output var  logic                     load_valid,
    output var  logic [4:0]               load_row,
    output var  row_t                     load_data,
    input  wire logic                     load_ready,
    // Groups: weights and parameters of the next are there; it starts; its weights are no longer needed
    output var  logic                     ready,
    input  wire logic                     group_start,
    input  wire logic                     group_end,
    // Weights of the pass, a cycle later
    input  wire logic [1:0]               pass,
    input  wire logic [8:0]               used,         // [3 row + column]
    output var  logic [8:0][LANES-1:0][7:0] weight,
    // Parameters: a cycle after group_change, or two
    input  wire logic                     group_change, // group_start, delayed
    output var  logic [LANES-1:0][26:0]   init,         // after one cycle
    output var  logic [LANES-1:0][16:0]   multiplier,   // after two
    output var  logic [LANES-1:0][5:0]    shift
);

  localparam int ParameterBits = 27 + 17 + 6;

  logic [4:0] taps;
  logic [2:0] tap_rows;
  logic [5:0] table_rows;
  assign taps = {2'b0, instruction.kernel_h[2:0]} * {2'b0, instruction.kernel_w[2:0]};
  assign tap_rows = {1'b0, taps[4:3]} + {2'b0, taps[2:0] != '0};
  assign table_rows = retain || !instruction.flags[FLAG_TABLE] ? '0 : instruction.flags[FLAG_WIDE] ? 6'd32 : 6'd2;

  // Requests: the table, then the blob.
  logic fetching, row_take;
  logic [5:0] fetch_table;
  logic [2:0] fetch_left;  // rows of the group
  logic [15:0] fetch_row, fetch_groups;
  logic [4:0] queued;  // rows that are asked for and not taken, at most 31
  logic row_valid, row_pop;
  assign row_take = fetching && queued != '1 && (!ring_valid || ring_ready);

  always_ff @(posedge clk) begin
    if (row_take) ring_row <= fetch_row;
    if (start) begin
      fetch_table <= table_rows;
      fetch_left <= tap_rows + 3'd1;
      fetch_groups <= instruction.y_groups;
      fetch_row <= table_rows != '0 ? instruction.t_row : instruction.w_row;
    end else if (row_take) begin
      fetch_row <= fetch_table == 6'd1 ? instruction.w_row : fetch_row + 16'd1;
      if (fetch_table != '0) begin
        fetch_table <= fetch_table - 6'd1;
      end else begin
        fetch_left <= fetch_left == 3'd1 ? tap_rows + 3'd1 : fetch_left - 3'd1;
        if (fetch_left == 3'd1) fetch_groups <= fetch_groups - 16'd1;
      end
    end
    if (reset) begin
      fetching <= 1'b0;
      ring_valid <= 1'b0;
      queued <= '0;
    end else begin
      if (start) fetching <= 1'b1;
      else if (row_take && fetch_table == '0 && fetch_left == 3'd1 && fetch_groups == 16'd1) fetching <= 1'b0;
      if (row_take) ring_valid <= 1'b1;
      else if (ring_ready) ring_valid <= 1'b0;
      queued <= queued + {4'b0, row_take} - {4'b0, row_pop};
    end
  end

  // Rows that came.
  (* ram_style = "distributed" *) row_t rows[32];
  logic [4:0] row_head, row_tail;
  row_t row;
  assign row = rows[row_head];
  assign row_valid = row_head != row_tail;
  always_ff @(posedge clk) begin
    if (ring_data_valid) rows[row_tail] <= ring_data;
    if (reset) begin
      row_head <= '0;
      row_tail <= '0;
    end else begin
      if (ring_data_valid) row_tail <= row_tail + 5'd1;
      if (row_pop) row_head <= row_head + 5'd1;
    end
  end

  // Unpacking.
  typedef enum logic [1:0] {
    IDLE,
    TABLE,
    PARAMETERS,
    TAPS
  } state_t;
  state_t state;
  logic [4:0] tap;
  logic [2:0] tap_y, tap_x;
  logic [15:0] groups_left;
  logic [2:0] set;  // that is filled
  logic [3:0] sets;  // that are filled and still needed
  logic filled;
  logic wait_valid, next_valid;  // parameters
  logic tap_step, tap_last;
  logic table_last;
  assign table_last = load_row == (instruction.flags[FLAG_WIDE] ? 5'd31 : 5'd1);
  assign load_valid = state == TABLE && row_valid && drained && sets == '0 && !filled;
  assign load_data  = row;
  assign tap_step   = state == TAPS && row_valid;
  assign tap_last   = tap == taps - 5'd1;

  logic parameters_take;
  assign parameters_take = state == PARAMETERS && row_valid && !wait_valid && sets < 4'd7;
  assign row_pop = (load_valid && load_ready) || parameters_take || (tap_step && (tap_last || tap[2:0] == 3'd7));
  assign busy = fetching || state != IDLE;

  always_ff @(posedge clk) begin
    if (reset) begin
      state <= IDLE;
    end else begin
      case (state)
        IDLE: if (start) state <= table_rows != '0 ? TABLE : PARAMETERS;
        TABLE: if (load_ready && load_valid && table_last) state <= PARAMETERS;
        PARAMETERS: if (parameters_take) state <= TAPS;
        default: if (tap_step && tap_last) state <= groups_left == 16'd1 ? IDLE : PARAMETERS;
      endcase
    end
    if (start) begin
      load_row <= '0;
      groups_left <= instruction.y_groups;
    end
    if (load_valid && load_ready) load_row <= load_row + 5'd1;
    if (state != TAPS) begin
      tap   <= '0;
      tap_y <= '0;
      tap_x <= '0;
    end else if (tap_step) begin
      tap <= tap + 5'd1;
      tap_x <= tap_x + 3'd1 == instruction.kernel_w[2:0] ? '0 : tap_x + 3'd1;
      if (tap_x + 3'd1 == instruction.kernel_w[2:0]) tap_y <= tap_y + 3'd1;
      if (tap_last) groups_left <= groups_left - 16'd1;
    end
  end

  // Place of a tap: one of nine memories, and the pass.
  logic [8:0] place, write;
  logic [1:0] place_pass;
  logic [4:0] write_address;
  word_t write_word;
  always_comb begin
    place = '0;
    place_pass = tap_y[2:1];
    if (!instruction.kernel_w[2]) begin
      place_pass = {1'b0, tap_y >= 3'd3};
      case (tap_y)
        3'd0, 3'd3: place[2:0] = 3'b1;
        3'd1, 3'd4: place[5:3] = 3'b1;
        default: place[8:6] = 3'b1;
      endcase
      place = place << tap_x[1:0];
    end else if (tap_x[2]) begin
      if (tap_y <= {1'b0, last_pass}) begin
        place[8] = 1'b1;
        place_pass = tap_y[1:0];
      end else begin
        place[4] = tap_y == {1'b0, last_pass} + 3'd1;
        place[5] = tap_y != {1'b0, last_pass} + 3'd1;
        place_pass = last_pass;
      end
    end else begin
      case (tap_x[1:0])
        2'd0: place = tap_y[0] ? 9'h008 : 9'h001;
        2'd1: place = tap_y[0] ? 9'h010 : 9'h002;
        2'd2: place = tap_y[0] ? 9'h020 : 9'h004;
        default: place = tap_y[0] ? 9'h080 : 9'h040;
      endcase
    end
  end

  always_ff @(posedge clk) begin
    write_word <= row[{tap[2:0], 7'b0}+:128];
    write_address <= {set, place_pass};
    write <= place & {9{tap_step}};
    if (reset) begin
      filled <= 1'b0;
      set <= '0;
      sets <= '0;
    end else begin
      filled <= tap_step && tap_last;
      if (tap_step && tap_last) set <= set + 3'd1;
      sets <= sets + {3'b0, filled} - {3'b0, group_end};
    end
  end

  logic [2:0] read_set;
  always_ff @(posedge clk) begin
    if (reset) read_set <= '0;
    else if (group_end) read_set <= read_set + 3'd1;
  end
  for (genvar t = 0; t < 9; t++) begin : gen_tap
    (* ram_style = "distributed" *) word_t words[32];
    word_t read;
    always_ff @(posedge clk) begin
      if (write[t]) words[write_address] <= write_word;
      if (!used[t]) read <= '0;
      else read <= words[{read_set, pass}];
    end
    for (genvar c = 0; c < LANES; c++) begin : gen_lane
      assign weight[t][c] = read[8*c+:8];
    end
  end

  // Parameters. A group's stay in `next` until it is under way.
  logic [LANES-1:0][ParameterBits-1:0] fresh, waiting, next;
  for (genvar c = 0; c < LANES; c++) begin : gen_fresh
    assign fresh[c] = {row[64*c+49+:6], row[64*c+32+:17], row[64*c+:27]};
  end
  logic change_q, started, move;
  assign move  = wait_valid && !next_valid;
  assign ready = sets != '0 && next_valid && !started;
  always_ff @(posedge clk) begin
    if (parameters_take) waiting <= fresh;
    if (move) next <= waiting;
    change_q <= group_change;
    if (reset) begin
      wait_valid <= 1'b0;
      next_valid <= 1'b0;
      started <= 1'b0;
    end else begin
      if (parameters_take) wait_valid <= 1'b1;
      else if (move) wait_valid <= 1'b0;
      if (move) next_valid <= 1'b1;
      else if (change_q) next_valid <= 1'b0;
      if (group_start) started <= 1'b1;
      else if (change_q) started <= 1'b0;
    end
  end
  for (genvar c = 0; c < LANES; c++) begin : gen_parameters
    always_ff @(posedge clk) begin
      if (group_change) init[c] <= next[c][26:0];
      if (change_q) {shift[c], multiplier[c]} <= next[c][49:27];
    end
  end

  logic unused;
  assign unused = &{1'b0, instruction, row};

endmodule

`default_nettype wire
