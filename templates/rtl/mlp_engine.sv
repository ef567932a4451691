// SPDX-License-Identifier: Apache-2.0
// The head: global average pool, fully connected layers, layer norm. One command after the other.
//
//   window, vector memory --> words --|LINEAR, LAYER_NORM: fifo|--> x ----+
//                              4 pixels x MLP_OUTPUTS channels (POOL) --+ +--> mlp_dot --> mlp_finish --> code_table --> y
//   ring --> mlp_rows --> weights: MLP_OUTPUTS x 16 of a row -----------+--> operands        ^   ^
//                    +--> parameters of this and the next group ----------------------------+   |
//   sums of LAYER_NORM --> products, norm_reciprocal --> factor, offset -------------------------+
//
// mlp_dot multiplies 16 inputs of MLP_OUTPUTS outputs a cycle, a step; a channel group has S = 16 / MLP_OUTPUTS steps.
//   LINEAR      operands: the outputs' weights; x: the word of 16 inputs. A row of the ring serves S / 2 steps.
//   POOL        operands: 4 pixels of so many channels; x: 1. Each window is asked for S times. Wider windows would cost 1,500
//               LUTs of multiplexers in the pads, for one command a frame.
//   LAYER_NORM  operands: 16 channels, and 1; x: the same, for the sums of x^2 and x, S times. Then the variance
//               N sum(x^2) - sum(x)^2 + epsilon (the zero point cancels), and once more all words, one lane a cycle.
// mlp_finish takes one lane a cycle, beside the next group's steps.
//
// Cycles, without ring stalls:
//   LINEAR      y_groups * max(S ci_groups + R, 17) + 55, and 32 for each row of a new table. R = 1 for 8 outputs, where
//               the row of parameters takes the place of one of weights; else 0.
//   POOL        y_groups * max(S ceil(pixels / 4), 17) + bits of y_group0 and x_cols + 60
//   LAYER_NORM  (S + 17) y_groups + about 160
// One multiplication at a time by shifting and adding serves addresses and the constants of LAYER_NORM: no DSP.
// `done` comes with the last word. In the vector memory x_plane and y_plane are 1 (a tensor of one pixel).
`default_nettype none

module mlp_engine
  import config_pkg::*;
(
    input wire logic clk,
    input wire logic reset,

    input  wire logic                         command_valid,
    input  wire instruction_t                 command,
    input  wire logic         [SLOT_BITS-1:0] command_slot,
    input  wire logic                         command_retain,
    output var  logic                         command_ready,
    output var  logic                         done,

    output var  window_t                 window,
    output var  logic    [SLOT_BITS-1:0] window_slot,
    input  wire word_t   [BANKS-1:0]     window_words,
    output var  write_t                  write,
    output var  logic    [SLOT_BITS-1:0] write_slot,

    output var  logic                  vector_read_valid,
    output var  logic  [SLOT_BITS-1:0] vector_read_slot,
    output var  logic  [15:0]          vector_read_word,
    input  wire word_t                 vector_read_data,
    output var  logic                  vector_write_valid,
    output var  logic  [SLOT_BITS-1:0] vector_write_slot,
    output var  logic  [15:0]          vector_write_word,
    output var  word_t                 vector_write_data,

    output var  logic        ring_valid,
    output var  logic [15:0] ring_row,
    input  wire logic        ring_ready,
    input  wire logic        ring_data_valid,
    input  wire row_t        ring_data
);

  localparam int FifoBits = 4;  // 16 words of x asked for ahead
  localparam int RowSlots = 16;  // rows of the ring asked for ahead
  localparam int StepBits = $clog2(16 / MLP_OUTPUTS);
  localparam int Steps = 1 << StepBits;  // of a group
  localparam int RowSteps = Steps / 2;  // ... that a row of the ring serves
  localparam logic [StepBits-1:0] LastStep = '1;

  if (MLP_OUTPUTS != 2 && MLP_OUTPUTS != 4 && MLP_OUTPUTS != 8) begin : gen_check
    $error("mlp_engine: MLP_OUTPUTS is 2, 4 or 8");
  end

  // ------------------------------------------------------------------------------------------------------------------
  // Command

  instruction_t ins;
  logic [SLOT_BITS-1:0] slot;
  logic busy, start, load_table;
  logic pool, linear, norm, x_vector, y_vector;
  assign command_ready = !busy;

  always_ff @(posedge clk) begin
    start <= command_valid && !busy && !reset;
    if (reset || done) busy <= 1'b0;
    else if (command_valid) busy <= 1'b1;
    if (!busy) begin
      ins <= command;
      slot <= command_slot;
      pool <= command.opcode == OP_POOL;
      linear <= command.opcode == OP_LINEAR;
      norm <= command.opcode == OP_LAYER_NORM;
      x_vector <= command.x_pad[3:0] == VECTOR;
      y_vector <= command.y_pad[3:0] == VECTOR;
      load_table <= command.flags[FLAG_TABLE] && !command_retain;
    end
  end

  logic table_on, wide;
  assign table_on = ins.flags[FLAG_TABLE];
  assign wide = ins.flags[FLAG_WIDE];

  // ------------------------------------------------------------------------------------------------------------------
  // Rows of the ring: table, weights, parameters

  logic [5:0] table_rows;
  logic [15:0] weight_rows;  // of a channel group
  logic [15:0] rows_length;
  assign table_rows = !load_table ? 6'd0 : wide ? 6'd32 : 6'd2;
  assign weight_rows = {ins.ci_groups[14:0], 1'b0};
  assign rows_length = linear ? weight_rows : pool ? 16'd1 : ins.y_groups + 16'd1;

  logic row_valid, row_taken;
  row_t row;

  mlp_rows #(
      .SLOTS(RowSlots)
  ) u_rows (
      .clk,
      .reset,
      .start,
      .t_row(ins.t_row),
      .table_rows,
      .w_row(ins.w_row),
      .tiles(linear),
      .groups(ins.y_groups),
      .length(rows_length),
      .ring_valid,
      .ring_row,
      .ring_ready,
      .ring_data_valid,
      .ring_data,
      .row_valid,
      .row,
      .row_taken
  );

  typedef enum logic [1:0] {
    TableRow,
    WeightRow,
    ParameterRow
  } kind_t;

  kind_t kind;  // of the row that comes next
  logic [15:0] kind_left;
  logic [4:0] table_row;
  logic table_ready;

  row_t weights, parameters, next_parameters;
  logic weights_valid, weights_done, parameters_valid, parameters_done, next_valid, next_moves;
  logic take_table, take_weights, take_parameters;
  assign take_table = row_valid && kind == TableRow && table_ready;
  assign take_weights = row_valid && kind == WeightRow && (!weights_valid || weights_done);
  assign take_parameters = row_valid && kind == ParameterRow && (!next_valid || next_moves);
  assign next_moves = next_valid && (!parameters_valid || parameters_done);
  assign row_taken = take_table || take_weights || take_parameters;

  // The first parameter row of POOL and LAYER_NORM holds scalars.
  logic head;
  logic [5:0] fixed_shift;
  logic [15:0] zero_point;

  always_ff @(posedge clk) begin
    if (start) begin
      kind <= load_table ? TableRow : linear ? WeightRow : ParameterRow;
      kind_left <= load_table ? {10'b0, table_rows} : weight_rows;
      table_row <= '0;
      head <= !linear;
      zero_point <= $unsigned(ins.y_zero);
    end else if (row_taken) begin
      kind_left <= kind_left - 16'd1;
      table_row <= table_row + 5'd1;
      if (kind == ParameterRow || kind_left == 16'd1) begin
        kind <= linear && kind != WeightRow ? WeightRow : ParameterRow;
        kind_left <= weight_rows;
      end
    end

    if (take_weights) weights <= row;
    if (take_parameters) next_parameters <= row;
    if (next_moves) parameters <= next_parameters;
    if (take_parameters && head) begin
      head <= 1'b0;
      fixed_shift <= row[69:64];
      if (norm) zero_point <= row[111:96];
    end
    if (reset || start) begin
      weights_valid <= 1'b0;
      parameters_valid <= 1'b0;
      next_valid <= 1'b0;
    end else begin
      weights_valid <= take_weights || (weights_valid && !weights_done);
      parameters_valid <= next_moves || (parameters_valid && !parameters_done);
      next_valid <= take_parameters || (next_valid && !next_moves);
    end
  end

  // ------------------------------------------------------------------------------------------------------------------
  // Products of a command, one after the other: total <= total +- multiplicand * multiplier, a bit of the multiplier a cycle

  typedef enum logic [3:0] {
    Off,
    PoolRow,     // x_base + y_group0 * x_plane
    PoolPixels,  // x_height * x_cols
    OutputRow,   // y_base + y_group0 * y_plane; long before the first word is written
    Sums,        // LAYER_NORM waits for its sums,
    Squares,     // epsilon + N sum(x^2)
    Variance,    // ... - sum(x)^2
    Root,        // waits for the reciprocal R of the root
    Factor,      // N R
    Offset,      // -R sum(x)
    Ready
  } product_t;

  product_t product, to;
  logic enter;    // this is the last cycle in a state
  logic loading;  // ... the first
  logic [63:0] total;
  logic [45:0] multiplicand;
  logic [19:0] multiplier;
  logic subtract;
  logic multiplied;  // the multiplier is 0; at the earliest in the third cycle

  logic [53:0] sum;
  logic [19:0] sum_x, sum_magnitude;
  logic sum_negative;
  assign sum_x = sum[46:27];
  assign sum_negative = sum_x[19];
  assign sum_magnitude = sum_negative ? -sum_x : sum_x;  // at most 2^19

  logic [2:0] complete;  // groups in mlp_dot's memory
  logic reciprocal_valid, reciprocal_idle, root_start;
  logic [24:0] reciprocal;
  logic [5:0] reciprocal_shift;

  always_comb begin
    to = Off;
    enter = multiplied;
    case (product)
      Off: begin
        to = pool ? PoolRow : OutputRow;
        enter = start;
      end
      PoolRow: to = PoolPixels;
      PoolPixels: to = OutputRow;
      OutputRow: to = norm ? Sums : Off;
      Sums: begin
        to = Squares;
        enter = complete != '0 && parameters_valid;
      end
      Squares: to = Variance;
      Variance: to = Root;
      Root: begin
        to = Factor;
        enter = reciprocal_valid;
      end
      Factor: to = Offset;
      Offset: to = Ready;
      default: enter = 1'b0;
    endcase
  end

  // Results. The offset stays in `total`.
  logic [17:0] pixels;
  logic [15:0] y_row;
  logic [37:0] factor;
  logic [4:0] norm_shift;
  logic pool_start;
  logic out_valid;

  always_ff @(posedge clk) begin
    if (multiplier[0]) total <= subtract ? total - {18'b0, multiplicand} : total + {18'b0, multiplicand};
    multiplicand <= multiplicand << 1;
    multiplier <= multiplier >> 1;
    multiplied <= !enter && !loading && multiplier[19:1] == '0;
    if (loading) begin
      case (product)
        PoolRow: begin
          total <= {48'b0, ins.x_base};
          multiplicand <= {30'b0, ins.x_plane};
          multiplier <= {4'b0, ins.y_group0};
        end
        PoolPixels: begin
          total <= '0;
          multiplicand <= {30'b0, ins.x_height};
          multiplier <= {4'b0, ins.x_cols};
        end
        OutputRow: begin
          total <= {48'b0, ins.y_base};
          multiplicand <= {30'b0, ins.y_plane};
          multiplier <= {4'b0, ins.y_group0};
        end
        Squares: begin
          total <= parameters[191:128];
          multiplicand <= {19'b0, sum[26:0]};
          multiplier <= {4'b0, ins.channels};
        end
        Variance: begin
          multiplicand <= {26'b0, sum_magnitude};
          multiplier <= sum_magnitude;
        end
        Factor: begin
          total <= '0;
          multiplicand <= {21'b0, reciprocal};
          multiplier <= {4'b0, ins.channels};
        end
        Offset: begin
          total <= '0;
          multiplicand <= {21'b0, reciprocal};
          multiplier <= sum_magnitude;
        end
        default: multiplier <= '0;
      endcase
      subtract <= product == Variance || (product == Offset && !sum_negative);
    end
    if (enter) begin
      if (product == PoolPixels) pixels <= total[17:0];
      if (product == Factor) factor <= total[37:0];
      if (product == Root) norm_shift <= 5'(reciprocal_shift - 6'd24);  // 6 + s = shift - 18
    end

    if (product == OutputRow) y_row <= total[15:0];
    else if (out_valid) y_row <= y_row + ins.y_plane;

    pool_start <= enter && product == PoolPixels;
    root_start <= enter && to == Root;
    loading <= enter;
    if (reset || done) product <= Off;
    else if (enter) product <= to;
  end

  norm_reciprocal #(
      .VARIANCE_BITS(64)
  ) u_reciprocal (
      .clk,
      .reset,
      .in_valid(root_start),
      .in_ready(reciprocal_idle),
      .variance(total),
      .out_valid(reciprocal_valid),
      .out_ready(loading && product == Offset),
      .reciprocal,
      .shift(reciprocal_shift)
  );

  // ------------------------------------------------------------------------------------------------------------------
  // Requests of x: LINEAR for each group all words, LAYER_NORM all words twice, POOL for each group each window in each step

  localparam int Window = 4;  // pixels of POOL
  logic asking, issue, group_first, group_last, window_last;
  logic [15:0] ask_groups;
  logic [17:0] ask_left;  // words, or pixels
  logic [17:0] ask_pixel;
  logic [15:0] ask_row;
  logic [StepBits-1:0] ask_step;
  logic [2:0] used;  // groups begun and not finished: mlp_dot keeps four
  logic sum_taken;
  logic [FifoBits:0] fifo_held;
  logic fifo_pop;

  assign group_last = pool ? ask_left <= 18'(Window) : ask_left == 18'd1;
  assign window_last = !pool || ask_step == LastStep;
  assign issue = asking && !(group_first && ask_step == '0 && used[2]) && !fifo_held[FifoBits];

  logic [15:0] words;  // of a group
  assign words = linear ? ins.ci_groups : ins.y_groups;

  always_ff @(posedge clk) begin
    if (reset) begin
      asking <= 1'b0;
    end else if (start || pool_start) begin
      asking <= !pool || pool_start;
    end else if (issue && group_last && window_last && ask_groups == 16'd1) begin
      asking <= 1'b0;
    end

    if (start || pool_start) begin
      ask_groups <= norm ? 16'd2 : ins.y_groups;
      ask_left <= pool ? pixels : {2'b0, words};
      ask_pixel <= pool ? '0 : {2'b0, ins.x_slot};
      ask_step <= '0;
      group_first <= 1'b1;
    end else if (issue) begin
      if (pool) ask_step <= ask_step + 1'b1;
      if (window_last) begin
        group_first <= group_last;
        ask_left <= !group_last ? ask_left - (pool ? 18'(Window) : 18'd1) : pool ? pixels : {2'b0, words};
        if (pool) ask_pixel <= group_last ? '0 : ask_pixel + 18'(Window);
        if (group_last) ask_groups <= ask_groups - 16'd1;
      end
    end

    // PoolRow leaves the first row of POOL.
    if (product == PoolRow) ask_row <= total[15:0];
    else if (start) ask_row <= ins.x_base;
    else if (issue && group_last && !pool) ask_row <= ins.x_base;
    else if (issue && window_last && (!pool || group_last)) ask_row <= ask_row + ins.x_plane;

    if (reset || start) begin
      used <= '0;
      fifo_held <= '0;
    end else begin
      used <= used + 3'(issue && group_first && ask_step == '0) - 3'(sum_taken);
      fifo_held <= fifo_held + (FifoBits + 1)'(issue && !pool) - (FifoBits + 1)'(fifo_pop);
    end

    window.valid <= issue && !x_vector && !reset;
    window.pad <= ins.x_pad[3:0];
    window.base <= ask_row;
    window.pixel <= $signed(ask_pixel);
    window.low <= '0;
    window.high <= !pool ? 5'd1 : group_last ? ask_left[4:0] : 5'(Window);
    vector_read_valid <= issue && x_vector && !reset;
    vector_read_word <= ask_row;
  end
  assign window.fill = '0;
  assign window_slot = slot;
  assign vector_read_slot = slot;

  // What belongs to a request comes back with its words. Bit 0 stands beside the request.
  logic [READ_LATENCY:0] tag_valid, tag_first, tag_last;
  logic [StepBits*(READ_LATENCY+1)-1:0] tag_step;
  logic back_valid, back_first, back_last;
  logic [StepBits-1:0] back_step;  // of POOL
  always_ff @(posedge clk) begin
    tag_valid <= reset ? '0 : {tag_valid[READ_LATENCY-1:0], issue};
    tag_first <= {tag_first[READ_LATENCY-1:0], group_first};
    tag_last  <= {tag_last[READ_LATENCY-1:0], group_last};
    tag_step  <= {tag_step[StepBits*READ_LATENCY-1:0], ask_step};
  end
  assign back_valid = x_vector ? tag_valid[VECTOR_LATENCY] : tag_valid[READ_LATENCY];
  assign back_first = x_vector ? tag_first[VECTOR_LATENCY] : tag_first[READ_LATENCY];
  assign back_last  = x_vector ? tag_last[VECTOR_LATENCY] : tag_last[READ_LATENCY];
  assign back_step  = tag_step[StepBits*READ_LATENCY+:StepBits];

  // ------------------------------------------------------------------------------------------------------------------
  // Words of x: LINEAR, LAYER_NORM

  logic [129:0] fifo[1<<FifoBits];
  logic [FifoBits-1:0] fifo_write, fifo_read;
  logic [FifoBits:0] fifo_count;
  logic fifo_push, x_valid, x_first, x_last;
  word_t x;
  assign fifo_push = back_valid && !pool;
  assign x_valid = fifo_count != '0;
  assign {x_first, x_last, x} = fifo[fifo_read];

  always_ff @(posedge clk) begin
    if (fifo_push) fifo[fifo_write] <= {back_first, back_last, x_vector ? vector_read_data : window_words[0]};
    if (reset) begin
      fifo_write <= '0;
      fifo_read  <= '0;
      fifo_count <= '0;
    end else begin
      if (fifo_push) fifo_write <= fifo_write + 1'b1;
      if (fifo_pop) fifo_read <= fifo_read + 1'b1;
      fifo_count <= fifo_count + (FifoBits + 1)'(fifo_push) - (FifoBits + 1)'(fifo_pop);
    end
  end

  // ------------------------------------------------------------------------------------------------------------------
  // Steps

  logic step, step_last;  // of LINEAR and LAYER_NORM
  logic second;           // LAYER_NORM: the sums are done, words go to the lanes
  logic lanes_done;       // lane 15
  logic [StepBits-1:0] step_number;
  logic row_last;  // of the steps of a row
  assign step = x_valid && !second && (norm || weights_valid);
  assign step_last = step && step_number == LastStep;
  assign weights_done = step && row_last;
  assign fifo_pop = step_last || (norm && lanes_done);

  // Lanes of the last word beyond N count nothing.
  logic [15:0] mask, counts;
  logic [4:0] lanes_of_last;
  assign lanes_of_last = {ins.channels[3:0] == '0, ins.channels[3:0]};
  for (genvar i = 0; i < 16; i++) begin : gen_mask
    localparam logic [4:0] Lane = i[4:0];
    always_ff @(posedge clk) counts[i] <= lanes_of_last > Lane;
    assign mask[i] = !x_last || counts[i];  // of LAYER_NORM
  end

  // Operands, two to a DSP: LINEAR the weights of two outputs, POOL two channels of a pixel, LAYER_NORM x and 1 for the sums
  // of x^2 and x, which only the first pair of outputs has to add up.
  logic [128*MLP_OUTPUTS-1:0] step_weights, operands;
  word_t dot_x;
  logic dot_valid, dot_first, dot_last, dot_stored;

  if (RowSteps == 1) begin : gen_whole_row
    assign row_last = 1'b1;
    assign step_weights = weights;
  end else begin : gen_part_of_row
    localparam int PartBits = StepBits - 1;
    assign row_last = step_number[PartBits-1:0] == '1;
    assign step_weights = weights[{step_number[PartBits-1:0], {(10 - PartBits) {1'b0}}}+:128*MLP_OUTPUTS];
  end

  always_ff @(posedge clk) begin
    if (reset || start) begin
      step_number <= '0;
      second <= 1'b0;
      dot_valid <= 1'b0;
    end else begin
      if (step) step_number <= step_number + 1'b1;
      if (step_last && norm && x_last) second <= 1'b1;
      dot_valid <= step || (pool && back_valid);
    end
    dot_first <= pool ? back_first : x_first;
    dot_last  <= pool ? back_last : x_last;
    dot_x <= pool ? {16{8'd1}} : x;
  end

  for (genvar o = 0; o < MLP_OUTPUTS; o++) begin : gen_output
    localparam logic [3:0] Output = o[3:0];
    for (genvar i = 0; i < 16; i++) begin : gen_operand
      logic [7:0] own, pixel;
      if (i < Window) begin : gen_pixel
        assign pixel = window_words[i][{back_step, Output[3-StepBits:0], 3'b0}+:8];
      end else begin : gen_no_pixel
        assign pixel = '0;
      end
      if (o == 0) begin : gen_square
        assign own = norm ? x[8*i+:8] & {8{mask[i]}} : step_weights[8*i+:8];
      end else if (o == 1) begin : gen_one
        assign own = norm ? {7'b0, mask[i]} : step_weights[128+8*i+:8];
      end else begin : gen_weight
        assign own = step_weights[128*o+8*i+:8];
      end
      always_ff @(posedge clk) begin
        operands[128*o+8*i+:8] <= pool ? pixel : own;
      end
    end
  end

  logic [4:0] sum_address;
  mlp_dot #(
      .OUTPUTS(MLP_OUTPUTS)
  ) u_dot (
      .clk,
      .reset,
      .clear(start),
      .in_valid(dot_valid),
      .first(dot_first),
      .last(dot_last),
      .weights(operands),
      .x(dot_x),
      .stored(dot_stored),
      .read_address(sum_address),
      .read_sum(sum)
  );

  // ------------------------------------------------------------------------------------------------------------------
  // Lanes

  logic lane_valid;
  logic [3:0] lane;
  logic [1:0] lane_group;
  // LAYER_NORM's scalars have been read when epsilon is.
  assign parameters_done = (lanes_done && !pool) || (loading && product == Squares);

  always_ff @(posedge clk) begin
    if (reset || start) begin
      lane_valid <= 1'b0;
      lanes_done <= 1'b0;
      lane <= '0;
      lane_group <= '0;
      complete <= '0;
    end else begin
      if (lane_valid) lane_valid <= !lanes_done;
      else lane_valid <= parameters_valid && (norm ? product == Ready && x_valid : complete != '0);
      lanes_done <= lane_valid && lane == 4'd14;
      if (lane_valid) lane <= lane + 4'd1;
      if (lanes_done && !norm) lane_group <= lane_group + 2'd1;
      complete <= complete + 3'(dot_stored) - 3'(lanes_done && !norm);
    end
  end

  logic code_valid, code_last;
  logic [11:0] code;
  logic finish_sum_taken;
  assign sum_taken = finish_sum_taken && !norm;

  mlp_finish u_finish (
      .clk,
      .reset,
      .norm,
      .fixed(pool),
      .factor,
      .minus_offset(total[45:0]),
      .norm_shift,
      .fixed_shift,
      .zero_point,
      .wide,
      .in_valid(lane_valid),
      .lane,
      .group(lane_group),
      .row(parameters),
      .x,
      .sum_address,
      .sum,
      .sum_taken(finish_sum_taken),
      .out_valid(code_valid),
      .out_last(code_last),
      .code
  );

  logic [7:0] y;
  code_table #(
      .LANES(1),
      .WIDE(WIDE_TABLES != 0)
  ) u_table (
      .clk,
      .load_valid(row_valid && kind == TableRow),
      .load_row(table_row),
      .load_data(row),
      .load_ready(table_ready),
      .wide,
      .enable(table_on),
      .code,
      .y
  );

  // ------------------------------------------------------------------------------------------------------------------
  // Words of y

  logic [1:0] y_valid, y_last;  // beside the table
  logic [15:0] y_left;
  logic y_final;
  word_t y_word;

  always_ff @(posedge clk) begin
    y_last <= {y_last[0], code_last};
    if (y_valid[1]) y_word <= {y, y_word[127:8]};
    if (reset) begin
      y_valid   <= '0;
      out_valid <= 1'b0;
    end else begin
      y_valid   <= {y_valid[0], code_valid};
      out_valid <= y_valid[1] && y_last[1];
    end
    y_final <= y_left == 16'd1;  // words are 16 cycles apart
    if (start) y_left <= ins.y_groups;
    else if (out_valid) y_left <= y_left - 16'd1;
  end
  assign done = out_valid && y_final;

  assign write.valid = out_valid && !y_vector;
  assign write.pad = ins.y_pad[3:0];
  assign write.base = y_row;
  assign write.pixel = {2'b0, ins.y_slot};
  assign write.count = 4'd1;
  assign write.words[0] = y_word;
  for (genvar i = 1; i < WRITE_WORDS; i++) begin : gen_word
    assign write.words[i] = '0;
  end
  assign write_slot = slot;
  assign vector_write_valid = out_valid && y_vector;
  assign vector_write_slot = slot;
  assign vector_write_word = y_row;
  assign vector_write_data = y_word;

  logic unused;
  assign unused = &{1'b0, ins, window_words, sum[53:47], reciprocal_idle};

endmodule

`default_nettype wire
