// SPDX-License-Identifier: Apache-2.0
// Linear attention (docs/program-format.md, ATTENTION): K^T V of each head, then Q (K^T V) and the division.
//
//   window --> V --> table ---------------> by column --+                                  +--> attention_prepare --+
//          |                                            v                                  |                        |
//          +-> K --> table --> - zero --> relu --> attention_array, 16 x 17 multipliers --sums                      |
//          +-> Q --> table -----^  by row               ^                                  +--> attention_quotient  |
//                                                       +---- digits of K^T V ------------------------|-------------+
//                                                                                                     +--> write
//
// A unit is one channel group of y: a head has D = head_dim / 16 of them. Its first phase sums D tiles of 16 x 17 outer
// products, a pixel a cycle (2 pixels of V and of K are read in turn); the tiles then leave the array, are prepared and
// stored back as N digits of 8 bits. Its second phase takes a pixel in N D cycles. The order of phases is 1 of unit 0, 1 of
// unit 1, 2 of unit 0, 1 of unit 2, 2 of unit 1, ..., so that the digits of a unit are prepared while the one before is in its
// second phase. The operand memories hold the digits of two units, and a ring of 16 pixels of V in the first phase.
//
// Cycles for U units of P pixels, where the ring does not stall; N = 3 for sums of up to 24 bits, else 4:
//   106 + 17 N D + U D (P + P mod 2 + 15) + (U - 1) max(N D P, 16 N D + 28) + N D P
// quantized 419 + (192 + N) D (tables; preparation of unit 0) instead of 106 + 17 N D, and 192 D + 32 + N instead of
// 16 N D + 28. A few cycles less where digits are never waited for.
// 12 DSPs with 4 digits: 5 attention_prepare, 6 attention_quotient, 1 for products of sizes; with 3: 3, 8 and 1.
//
// GROUPS    channel groups of the largest head: 1 or 2
// ACC_BITS  of the sums K^T V, with the sign
`default_nettype none

module attention_engine
  import config_pkg::*;
#(
    parameter int GROUPS   = HEAD_DIM / 16,
    parameter int ACC_BITS = ATTENTION_BITS  // sum_bits in hwgen/kernels/linear_attention.py
) (
    input  wire logic                           clk,
    input  wire logic                           reset,
    input  wire logic                           command_valid,
    input  wire instruction_t                   command,
    input  wire logic         [SLOT_BITS-1:0]   command_slot,
    output var  logic                           command_ready,
    output var  logic                           done,
    output var  window_t                        window,
    output var  logic         [SLOT_BITS-1:0]   window_slot,
    input  wire word_t        [BANKS-1:0]       window_words,
    output var  write_t                         write,
    output var  logic         [SLOT_BITS-1:0]   write_slot,
    output var  logic                           ring_valid,
    output var  logic         [15:0]            ring_row,
    input  wire logic                           ring_ready,
    input  wire logic                           ring_data_valid,
    input  wire row_t                           ring_data
);

  if (GROUPS != 1 && GROUPS != 2) begin : gen_check
    $error("attention_engine: heads have 16 or 32 channels");
  end

  if (ACC_BITS < 20 || ACC_BITS > 32) begin : gen_check_bits
    $error("attention_engine: sums have 20 to 32 bits");
  end

  localparam int Digits = ACC_BITS > 24 ? 4 : 3;
  // Cycles from the slot of an operation: `address` of the array; one less for column data.
  localparam int AtArray = READ_LATENCY + 4;
  localparam int AtSums = AtArray + 19;

  // ---------------------------------------------------------------------------------------------------------------
  // Command: record, row of scalars, products of sizes, tables

  typedef enum logic [2:0] {
    IDLE,
    ASK,      // for a ring row
    AWAIT,
    SCALARS,  // products that need them
    UNPACK,   // a row of a table
    RUN
  } state_t;
  state_t state;

  logic [15:0] x_base, x_plane, y_base, y_plane, w_row, y_groups;
  logic [15:0] y_group0, y_rows, y_cols;
  logic [3:0] x_pad, y_pad;
  logic [SLOT_BITS-1:0] slot;
  logic flag_quantized, quantized;
  row_t row;
  logic [3:0] rows_read;  // of the blob
  logic [4:0] unpacked;
  logic products_done;
  logic ended;

  assign quantized = ATTENTION_QUANTIZED != 0 && flag_quantized;
  assign command_ready = state == IDLE;
  assign ring_valid = state == ASK;
  assign ring_row = w_row;
  always_ff @(posedge clk) begin
    if (reset) state <= IDLE;
    else begin
      case (state)
        IDLE: if (command_valid) state <= ASK;
        ASK: if (ring_ready) state <= AWAIT;
        AWAIT: if (ring_data_valid) state <= rows_read == '0 ? SCALARS : UNPACK;
        SCALARS: if (products_done) state <= quantized ? ASK : RUN;
        UNPACK: if (unpacked == '1) state <= rows_read == 4'd9 ? RUN : ASK;
        default: if (ended) state <= IDLE;
      endcase
    end
    if (state == IDLE) begin
      x_base <= command.x_base;
      x_plane <= command.x_plane;
      x_pad <= command.x_pad[3:0];
      y_base <= command.y_base;
      y_plane <= command.y_plane;
      y_pad <= command.y_pad[3:0];
      y_groups <= command.y_groups;
      y_group0 <= command.y_group0;
      y_rows <= command.y_rows;
      y_cols <= command.y_cols;
      w_row <= command.w_row;
      flag_quantized <= command.flags[FLAG_QUANTIZED];
      slot <= command_slot;
      rows_read <= '0;
    end
    if (state == ASK && ring_ready) w_row <= w_row + 16'd1;
    if (ring_data_valid) begin
      row <= ring_data;
      rows_read <= rows_read + 4'd1;
    end
    unpacked <= state == UNPACK ? unpacked + 5'd1 : '0;
  end

  // Scalars: words of the first row, kept while tables follow.
  logic pair;
  logic [2:0] q_offset, k_offset, v_offset;
  logic [7:0] zero, divide_zero, q_zero, k_zero, v_zero, kv_zero, n_zero, d_zero;
  logic [8:0] ones;
  logic [30:0] divide_multiplier;
  logic [5:0] divide_shift, kv_shift, n_shift;
  logic [61:0] epsilon;
  logic [16:0] kv_multiplier, n_multiplier;
  always_ff @(posedge clk) begin
    if (state == SCALARS) begin
      pair <= GROUPS == 2 && row[1];
      q_offset <= row[32+:3];
      k_offset <= row[64+:3];
      v_offset <= row[96+:3];
      zero <= row[128+:8];
      divide_multiplier <= row[160+:31];
      divide_shift <= row[192+:6];
      divide_zero <= row[224+:8];
      epsilon <= row[256+:62];
      ones <= {row[327], row[320+:8]} - {row[423], row[416+:8]};
      q_zero <= quantized ? row[352+:8] : row[128+:8];
      k_zero <= quantized ? row[384+:8] : row[128+:8];
      v_zero <= quantized ? row[416+:8] : row[128+:8];
      kv_multiplier <= row[448+:17];
      kv_shift <= row[480+:6];
      kv_zero <= row[512+:8];
      n_multiplier <= row[544+:17];
      n_shift <= row[576+:6];
      n_zero <= row[608+:8];
      d_zero <= row[640+:8];
    end
  end
  logic unused_zero;
  assign unused_zero = &{1'b0, zero};

  // Products: P, the first y group, the offsets of Q, K, V. One multiplier: operands, product, result.
  logic [3:0] product_step;
  logic [15:0] product_a, product_b;
  logic [31:0] product;
  logic [17:0] pixels;
  logic [15:0] y_first, q_first, k_first, v_first;
  assign products_done = product_step == 4'd8;
  always_ff @(posedge clk) begin
    product_step <= state == SCALARS ? product_step + 4'd1 : '0;
    case (product_step)
      4'd0: {product_a, product_b} <= {y_rows, y_cols};
      4'd1: {product_a, product_b} <= {y_group0, y_plane};
      4'd2: {product_a, product_b} <= {13'b0, q_offset, x_plane};
      4'd3: {product_a, product_b} <= {13'b0, k_offset, x_plane};
      default: {product_a, product_b} <= {13'b0, v_offset, x_plane};
    endcase
    product <= {16'b0, product_a} * {16'b0, product_b};
    case (product_step)
      4'd2: pixels <= product[17:0];
      4'd3: y_first <= y_base + product[15:0];
      4'd4: q_first <= x_base + product[15:0];
      4'd5: k_first <= x_base + product[15:0];
      4'd6: v_first <= x_base + product[15:0];
      default: ;
    endcase
  end
  logic unused_product;
  assign unused_product = &{1'b0, product[31:18]};

  // Tables: four entries a cycle; rows 1 and 2 are Q's, then K's, V's, D's.
  logic [3:0] table_write;
  logic [5:0] table_address;
  logic [31:0] table_data;
  for (genvar t = 0; t < 4; t++) begin : gen_table
    always_ff @(posedge clk) table_write[t] <= state == UNPACK && rows_read[3:1] == $unsigned(3'(t + 1));
  end
  always_ff @(posedge clk) begin
    table_address <= {rows_read[0], unpacked};
    table_data <= row[{unpacked, 5'b0}+:32];
  end

  // ---------------------------------------------------------------------------------------------------------------
  // Sequence of phases

  typedef enum logic [1:0] {
    CHOOSE,
    FIRST,
    SECOND
  } phase_t;
  phase_t phase;

  logic running;
  assign running = state == RUN;

  logic [15:0] to_begin, to_end;  // units whose first, second phase has not begun
  logic [1:0] begun, prepared;  // units between the two, and those of them whose digits are there
  logic [3:0] wait_first, wait_second;  // cycles before a phase may begin
  logic may_first, may_second, begin_first, begin_second;
  logic tile, column;  // first phase: channel group of K, of V
  logic [17:0] pixel, left;  // left: pixels from this one on
  logic fresh;  // pixel 0
  logic [2:0] part;  // second phase: cycle of the pixel
  logic first_bank, second_bank;
  logic first_last, second_last, part_last, part_half;
  logic finished;
  logic few;

  assign may_first = to_begin != '0 && begun == prepared && !begun[1];
  assign may_second = prepared != '0 && (begun[1] || to_begin == '0) && to_end != '0;
  assign begin_first = phase == CHOOSE && (may_first || tile) && wait_first == '0;
  assign begin_second = phase == CHOOSE && may_second && !tile && wait_second == '0;
  assign few = left[17:1] == '0;  // one or none
  assign first_last = phase == FIRST && pixel[0] && few;
  assign part_last = part == (pair ? 3'(2 * Digits - 1) : 3'(Digits - 1));
  assign part_half = part == 3'(Digits);
  assign second_last = phase == SECOND && part_last && few;

  // Channel groups: a tile of the first phase moves K and V by a few planes, a unit of the second phase Q.
  logic [15:0] triple, k_base, v_base, q_base, k_step, v_step, q_step;
  logic q_column;
  always_comb begin
    if (!pair) {k_step, v_step} = {triple, triple};
    else if (!tile) {k_step, v_step} = {x_plane, 16'd0};
    else if (!column) {k_step, v_step} = {-x_plane, x_plane};
    else {k_step, v_step} = {2{triple + {x_plane[14:0], 1'b0}}};
    if (!pair) q_step = triple;
    else if (!q_column) q_step = '0;
    else q_step = {triple[14:0], 1'b0};
  end

  always_ff @(posedge clk) begin
    triple <= x_plane + {x_plane[14:0], 1'b0};
    if (!running) begin
      phase <= CHOOSE;
      {to_begin, to_end} <= {y_groups, y_groups};
      {begun, prepared} <= '0;
      {wait_first, wait_second} <= '0;
      {tile, column, q_column} <= '0;
      {first_bank, second_bank} <= '0;
      {k_base, v_base, q_base} <= {k_first, v_first, q_first};
    end else begin
      if (begin_first) phase <= FIRST;
      else if (begin_second) phase <= SECOND;
      else if (first_last || second_last) phase <= CHOOSE;

      if (begin_first && !tile) to_begin <= to_begin - 16'd1;
      if (begin_second) to_end <= to_end - 16'd1;
      begun <= begun + 2'(begin_first && !tile) - 2'(second_last);
      prepared <= prepared + 2'(finished) - 2'(second_last);

      // Sums of a tile leave 16 cycles after its last operation; second phases operate Digits D - 1 cycles after they read.
      if (first_last) wait_first <= 4'd14;
      else if (second_last) wait_first <= pair ? 4'(2 * Digits - 2) : 4'(Digits - 2);
      else if (wait_first != '0) wait_first <= wait_first - 4'd1;
      if (first_last) wait_second <= pair ? 4'(15 - 2 * Digits) : 4'(15 - Digits);
      else if (wait_second != '0) wait_second <= wait_second - 4'd1;

      if (first_last) begin
        tile   <= pair && !tile;
        column <= column ^ (pair && tile);
        k_base <= k_base + k_step;
        v_base <= v_base + v_step;
      end
      if (second_last) begin
        q_column <= pair && !q_column;
        q_base <= q_base + q_step;
        second_bank <= !second_bank;
      end
      if (finished) first_bank <= !first_bank;
    end

    if (phase == CHOOSE) begin
      pixel <= '0;
      left <= pixels;
      fresh <= 1'b1;
      part <= '0;
    end else if (phase == FIRST || part_last) begin
      pixel <= pixel + 18'd1;
      if (left != '0) left <= left - 18'd1;
      fresh <= 1'b0;
      part <= '0;
    end else begin
      part <= part + 3'd1;
    end
  end

  // Requests and what is known about their words. Second phase: upper digit first; channel groups of a digit in turn.
  typedef struct packed {
    logic valid;         // an operation
    logic second;        // of the second phase
    logic [4:0] address; // of its stored operands
    logic first;         // pixel 0, or the first operation of a pixel
    logic shift;         // the first operation of a digit
    logic last;          // of a pixel
  } operation_t;
  operation_t first_operation, second_operation, operation;
  logic read_v, read_k, read_q, read_group, tile_end;
  logic [1:0] tile_info;  // {group of K, last of the unit}
  logic [3:0] ring_place;  // of a pixel of V

  logic [1:0] plane;
  logic group, group_first, q_read;
  assign plane = 2'(Digits - 1) - (pair ? part[2:1] : part[1:0]);
  assign group = pair && part[0];
  assign group_first = !group;
  assign q_read = phase == SECOND && (part == '0 || part_half);
  always_ff @(posedge clk) begin
    window.valid <= !reset && (phase == FIRST || q_read);
    window.pad <= x_pad;
    window.pixel <= $signed(phase == FIRST ? {pixel[17:1], 1'b0} : pixel);
    window.low <= '0;
    window.high <= 5'd1;
    if (phase == FIRST && (pixel[0] ? left != '0 : !few)) window.high <= 5'd2;
    window.fill <= '0;
    if (phase == FIRST) window.base <= pixel[0] ? k_base : v_base;
    else window.base <= q_base + (part_half ? x_plane : 16'd0);
    window_slot <= slot;

    read_v <= phase == FIRST && !pixel[0];
    read_k <= phase == FIRST && pixel[0];
    read_q <= q_read;
    read_group <= part_half;
    ring_place <= reset ? '0 : ring_place + 4'd1;
    first_operation <= '{
        valid: phase == FIRST && left != '0,
        second: 1'b0,
        address: {1'b1, ring_place},
        first: fresh,
        shift: 1'b0,
        last: 1'b0
    };
    second_operation <= '{
        valid: phase == SECOND,
        second: 1'b1,
        address: GROUPS == 1 ? {2'b0, second_bank, plane} : {1'b0, second_bank, group, plane},
        first: part == '0,
        shift: group_first,
        last: part_last
    };
    tile_end <= first_last;
    tile_info <= {tile, tile || !pair};
  end

  // The second phase operates Digits D - 1 cycles after its request.
  operation_t [Digits*GROUPS-1:0] second_line;
  assign second_line[0] = second_operation;
  for (genvar i = 1; i < Digits * GROUPS; i++) begin : gen_second
    always_ff @(posedge clk) second_line[i] <= reset ? '0 : second_line[i-1];
  end
  operation_t second_now;
  assign second_now = GROUPS == 2 && !pair ? second_line[Digits-1] : second_line[Digits*GROUPS-1];
  assign operation = second_now.valid ? second_now : first_operation;

  // Operations on their way: valid_line[n] n + 1 cycles after the request of the first phase, as the others below.
  logic [AtSums-1:0] valid_line;
  logic [AtArray+18:0] tile_line;
  logic [13:0] q_line;
  logic v_now, k_now, q_group_now, q_complete;
  operation_t operation_11, operation_12;
  logic [3:0] step_info;
  logic [1:0] drain_info;
  always_ff @(posedge clk) begin
    valid_line <= reset ? '0 : {valid_line[AtSums-2:0], operation.valid};
    tile_line <= reset ? '0 : {tile_line[AtArray+17:0], tile_end};
    q_line <= reset ? '0 : {q_line[12:0], read_q};
    operation_12 <= operation_11;
  end
  delay #(
      .WIDTH ($bits(operation_t)),
      .CYCLES(AtArray - 1)
  ) u_operation (
      .clk,
      .in (operation),
      .out(operation_11)
  );
  delay #(
      .WIDTH (4),
      .CYCLES(AtSums - AtArray)
  ) u_step (
      .clk,
      .in ({operation_12.second, operation_12.first, operation_12.shift, operation_12.last}),
      .out(step_info)
  );
  delay #(
      .WIDTH (3),
      .CYCLES(READ_LATENCY + 1)
  ) u_read (
      .clk,
      .in ({read_v, read_k, read_group}),
      .out({v_now, k_now, q_group_now})
  );
  delay #(
      .WIDTH (1),
      .CYCLES(READ_LATENCY + Digits + 2)
  ) u_complete (
      .clk,
      .in (read_group || !pair),
      .out(q_complete)
  );
  delay #(
      .WIDTH (2),
      .CYCLES(AtArray + 19)
  ) u_tile (
      .clk,
      .in (tile_info),
      .out(drain_info)
  );

  // ---------------------------------------------------------------------------------------------------------------
  // Operands. Cycle READ_LATENCY + 1 of a request: its first two words.

  typedef logic [15:0][7:0] codes_t;
  word_t word_0, word_1, word_2;
  codes_t v_code, v_entry, v, k_code, k_entry, k;
  always_ff @(posedge clk) begin
    word_0 <= window_words[0];
    word_1 <= window_words[1];
    word_2 <= word_1;
    v_code <= codes_t'(v_now ? word_0 : word_2);
    k_code <= codes_t'(k_now ? word_0 : word_2);
    v <= v_entry;
    k <= k_entry;
  end
  logic unused_words;
  assign unused_words = &{1'b0, window_words};

  attention_table #(
      .LANES(16)
  ) u_v_table (
      .clk,
      .write(table_write[2]),
      .write_address(table_address),
      .write_data(table_data),
      .enable(quantized),
      .code(v_code),
      .y(v_entry)
  );
  attention_table #(
      .LANES(16)
  ) u_k_table (
      .clk,
      .write(table_write[1]),
      .write_address(table_address),
      .write_data(table_data),
      .enable(quantized),
      .code(k_code),
      .y(k_entry)
  );

  // Q: four channels a cycle, with three digits six; the 16 or 32 of a pixel are handed on together.
  localparam int QLanes = (15 + Digits) / Digits;
  codes_t q_word;
  logic [QLanes-1:0][7:0] q_code, q_entry;
  logic [1:0] q_part;
  logic q_group;
  codes_t [GROUPS-1:0] q_stage, q;
  for (genvar c = 0; c < QLanes; c++) begin : gen_q_code
    logic [3:0][7:0] mine;
    for (genvar i = 0; i < 4; i++) begin : gen_mine
      localparam int Channel = QLanes * (i < Digits ? i : Digits - 1) + c;
      assign mine[i] = q_word[Channel<16?Channel : Channel-QLanes];
    end
    assign q_code[c] = mine[q_part];
  end
  always_ff @(posedge clk) begin
    if (q_line[READ_LATENCY]) begin
      q_word  <= codes_t'(word_0);
      q_group <= q_group_now;
      q_part  <= '0;
    end else begin
      q_part <= q_part + 2'd1;
    end
    if (q_line[READ_LATENCY+Digits+1] && q_complete) q <= q_stage;
  end
  attention_table #(
      .LANES(QLanes)
  ) u_q_table (
      .clk,
      .write(table_write[0]),
      .write_address(table_address),
      .write_data(table_data),
      .enable(quantized),
      .code(q_code),
      .y(q_entry)
  );
  for (genvar g = 0; g < GROUPS; g++) begin : gen_q_group
    for (genvar i = 0; i < Digits; i++) begin : gen_q_part
      localparam int Channels = 16 - QLanes * i < QLanes ? 16 - QLanes * i : QLanes;
      always_ff @(posedge clk) begin
        if (q_line[READ_LATENCY+1+i] && (GROUPS == 1 || q_group == $unsigned(1'(g))))
          q_stage[g][QLanes*i+:Channels] <= q_entry[Channels-1:0];
      end
    end
  end

  // Less the zero point; exact sums have relu.
  codes_t q_chosen;
  logic [7:0] row_zero;
  logic [15:0][8:0] units, x;
  assign q_chosen = GROUPS == 2 && operation_12.address[2] ? q[GROUPS-1] : q[0];
  assign row_zero = operation_12.second ? q_zero : k_zero;
  for (genvar c = 0; c < 16; c++) begin : gen_row
    logic [7:0] chosen;
    assign chosen = operation_12.second ? q_chosen[c] : k[c];
    always_ff @(posedge clk) begin
      units[c] <= {chosen[7], chosen} - {row_zero[7], row_zero};
      x[c] <= units[c] & {9{valid_line[AtArray] && (quantized || !units[c][8])}};
    end
  end

  // ---------------------------------------------------------------------------------------------------------------
  // Multipliers, and what is behind them

  logic [16:0][ACC_BITS-1:0] sums;
  logic digits_valid, digits_tile;
  logic [1:0] digits_plane;
  logic [15:0] digits_row, data_rows;
  typedef logic [16:0][7:0] columns_t;
  columns_t digits, data;
  logic [4:0] data_address;
  always_comb begin
    data = columns_t'({v, 8'd1});
    data_rows = {16{valid_line[AtArray-2] && !operation_11.second}};
    data_address = operation_11.address;
    if (digits_valid) begin
      data = digits;
      data_rows = digits_row;
      data_address = GROUPS == 1 ? {2'b0, first_bank, digits_plane} : {1'b0, first_bank, digits_tile, digits_plane};
    end
  end

  attention_array #(
      .ACC_BITS(ACC_BITS)
  ) u_array (
      .clk,
      .address(operation_12.address),
      .first(valid_line[AtArray-1] && !operation_12.second && operation_12.first),
      .drain(tile_line[AtArray+15]),
      .x,
      .data_rows,
      .data_address,
      .data,
      .sums
  );

  attention_prepare #(
      .ACC_BITS(ACC_BITS),
      .DIGITS  (Digits),
      .GROUPS  (GROUPS)
  ) u_prepare (
      .clk,
      .reset,
      .quantized,
      .pair,
      .v_zero,
      .ones,
      .kv_multiplier,
      .kv_shift,
      .kv_zero,
      .drain(tile_line[AtArray+18]),
      .drain_tile(drain_info[1]),
      .drain_last(drain_info[0]),
      .sums,
      .digits_valid,
      .digits_row,
      .digits_tile,
      .digits_plane,
      .digits,
      .finished
  );

  logic word_valid;
  word_t word;
  attention_quotient #(
      .ACC_BITS(ACC_BITS),
      .DIVIDE_BITS(ATTENTION_DIVIDE_BITS),
      .DIGITS  (Digits),
      .GROUPS  (GROUPS)
  ) u_quotient (
      .clk,
      .reset,
      .quantized,
      .divide_multiplier,
      .divide_shift,
      .divide_zero,
      .epsilon,
      .n_multiplier,
      .n_shift,
      .n_zero,
      .d_zero,
      .table_write(table_write[3]),
      .table_address,
      .table_data,
      .step(valid_line[AtSums-1] && step_info[3]),
      .step_first(step_info[2]),
      .step_shift(step_info[1]),
      .step_last(step_info[0]),
      .sums,
      .word_valid,
      .word
  );

  // Words of y, unit after unit.
  logic [15:0] y_now, y_left;
  logic [17:0] y_pixel, pixels_left;
  logic y_end;
  assign y_end = pixels_left == 18'd1;
  assign ended = word_valid && y_end && y_left == 16'd1;
  always_ff @(posedge clk) begin
    if (!running) begin
      {y_now, y_left} <= {y_first, y_groups};
      y_pixel <= '0;
      pixels_left <= pixels;
    end else if (word_valid) begin
      y_pixel <= y_end ? '0 : y_pixel + 18'd1;
      pixels_left <= y_end ? pixels : pixels_left - 18'd1;
      if (y_end) begin
        y_now  <= y_now + y_plane;
        y_left <= y_left - 16'd1;
      end
    end
    done <= ended && !reset;
  end
  always_comb begin
    write = '0;
    write.valid = word_valid;
    write.pad = y_pad;
    write.base = y_now;
    write.pixel = y_pixel;
    write.count = 4'd1;
    write.words[0] = word;
  end
  assign write_slot = slot;

  logic unused;
  assign unused = &{1'b0, command, flag_quantized, ring_place, operation_11, operation_12};

endmodule

`default_nettype wire
