// SPDX-License-Identifier: Apache-2.0
// From the sums of the attention engine's array to the operands of its second product: K^T V in digits of 8 bits.
//
//   sums --> buffer, GROUPS x 16 rows of 17 --> row --> - v_zero * sum of k --> value --+--> digit --> digits
//                                     sum of k |            |                           |
//                                              +--> x factor+        2 x requantize <---+--> codes
//
// The array multiplied by the code of V, not by V less its zero point. Column 0 is the sum of k: it is multiplied by
// ones - v_zero where every edge is quantized, else by 1.
// Quantized, a value is requantized, and the code less its zero point goes on. The digits are signed, -128 to 127: with 128
// added to each digit but the upper one they are the bytes of the value, with bit 7 inverted again.
// `drain`: row 15 of a tile is at sums[0] (group g comes g cycles later), then 14, .... After the last tile of a unit
// (drain_last) the rows are prepared in the same order, tile 0 first: DIGITS cycles a row, quantized 12. The digits of a row
// are written to all columns at once, digit 0 first. `finished` is high in the cycle in which the last digits are there.
// Cycles from `drain` of the last tile to `finished`: 6 + 16 DIGITS tiles + 4, quantized 6 + 192 tiles + 8 + DIGITS.
//
// ACC_BITS  of a sum; a value that is not quantized has as many
// DIGITS    3 or 4
// GROUPS    channel groups of the largest head: 1 or 2
`default_nettype none

module attention_prepare #(
    parameter int ACC_BITS = 29,
    parameter int DIGITS   = 4,
    parameter int GROUPS   = 1
) (
    input  wire logic                      clk,
    input  wire logic                      reset,
    // Of the command
    input  wire logic                      quantized,
    input  wire logic                      pair,           // heads of two channel groups
    input  wire logic [7:0]                v_zero,         // signed
    input  wire logic [8:0]                ones,           // signed: code of the ones less v_zero
    input  wire logic [16:0]               kv_multiplier,
    input  wire logic [5:0]                kv_shift,
    input  wire logic [7:0]                kv_zero,        // signed
    // Tiles
    input  wire logic                      drain,
    input  wire logic                      drain_tile,
    input  wire logic                      drain_last,
    input  wire logic [16:0][ACC_BITS-1:0] sums,
    // Digits
    output var  logic                      digits_valid,
    output var  logic [15:0]               digits_row,     // one hot
    output var  logic                      digits_tile,
    output var  logic [1:0]                digits_plane,
    output var  logic [16:0][7:0]          digits,
    output var  logic                      finished
);

  localparam int KsumBits = ACC_BITS - 7;  // |sum of v code times k| <= 128 * sum of k
  localparam int ValueBits = ACC_BITS + 1;  // |v - v_zero| <= 255
  localparam int ProductBits = KsumBits + 9;
  localparam int Depth = 16 * GROUPS;
  localparam int Index = $clog2(Depth);
  localparam int DigitBits = 8 * DIGITS;
  localparam int LowerBits = DigitBits - 8;
  localparam logic [LowerBits-1:0] Middle = {(DIGITS - 1) {8'h80}};
  localparam logic [1:0] LastPlane = 2'(DIGITS - 1);
  localparam int ScaledBits = ValueBits + 17 < 48 ? ValueBits + 17 : 48;  // shift_round takes no more

  // Buffer: address {tile, place of the row}; places count as the rows come, row 15 is place 0.
  logic filling;
  logic [4:0] fill_index;
  always_ff @(posedge clk) begin
    if (reset) filling <= 1'b0;
    else if (drain) filling <= 1'b1;
    else if (fill_index[3:0] == '1) filling <= 1'b0;
    fill_index <= drain ? {drain_tile, 4'd0} + 5'd1 : fill_index + 5'd1;
  end

  logic [4:0] write;  // by column group
  logic [4:0][4:0] write_index;
  assign write[0] = drain || filling;
  assign write_index[0] = drain ? {drain_tile, 4'd0} : fill_index;
  always_ff @(posedge clk) begin
    write[4:1] <= write[3:0];
    write_index[4:1] <= write_index[3:0];
  end

  // Rows, from 6 cycles after the last tile's drain: the last column group is written by then, and stays ahead.
  logic [5:0] start;
  logic active, take, tile;
  logic [3:0] phase, place;
  logic [4:0] read_index;
  logic [3:0] last_phase;
  assign last_phase = quantized ? 4'd11 : 4'(DIGITS - 1);
  assign take = active && phase == '0;
  assign read_index = {tile, place};
  always_ff @(posedge clk) begin
    if (reset) begin
      start  <= '0;
      active <= 1'b0;
    end else begin
      start <= {start[4:0], drain && drain_last};
      if (start[5]) active <= 1'b1;
      else if (phase == last_phase && place == '1 && (tile || !pair)) active <= 1'b0;
    end
    if (!active) begin
      {phase, tile, place} <= '0;
    end else if (phase == last_phase) begin
      phase <= '0;
      {tile, place} <= {tile, place} + 5'd1;
    end else begin
      phase <= phase + 4'd1;
    end
  end

  logic [16:0][ACC_BITS-1:0] row;
  for (genvar e = 0; e < 17; e++) begin : gen_buffer
    localparam int G = (e + 3) / 4;
    (* ram_style = "distributed" *) logic [ACC_BITS-1:0] buffer[Depth];
    always_ff @(posedge clk) begin
      if (write[G]) buffer[write_index[G][Index-1:0]] <= sums[e];
      if (take) row[e] <= buffer[read_index[Index-1:0]];
    end
  end

  // took[n]: n + 1 cycles after `take`.
  logic [18:0] took;
  always_ff @(posedge clk) took <= reset ? '0 : {took[17:0], take};

  // Cycle 1: the sum of k is multiplied by v_zero, then by `ones`; the products are there in cycles 3 and 4.
  logic [KsumBits-1:0] ksum;
  logic [8:0] factor;
  logic [ProductBits-1:0] product, p;
  assign ksum = row[0][KsumBits-1:0];
  always_ff @(posedge clk) begin
    factor <= take ? {v_zero[7], v_zero} : ones;
    product <= $unsigned($signed({{9{ksum[KsumBits-1]}}, ksum}) * $signed({{KsumBits{factor[8]}}, factor}));
    p <= quantized ? product : product - ProductBits'(Middle);
  end

  // Cycle 3: the values, which stay for the cycles of a row from cycle 4 on; ready for digits, if those are next.
  // Quantized: column 0 a cycle later.
  logic [16:0][ValueBits-1:0] value;
  always_ff @(posedge clk) begin
    if (quantized) begin
      if (took[3]) value[0] <= $unsigned(ValueBits'($signed(p)));
    end else begin
      if (took[2]) value[0] <= ValueBits'(ksum) + ValueBits'(Middle);
    end
  end
  for (genvar e = 1; e < 17; e++) begin : gen_value
    always_ff @(posedge clk) begin
      if (took[2]) value[e] <= $unsigned(ValueBits'($signed(row[e])) - ValueBits'($signed(p)));
    end
  end

  // Quantized: columns 1 to 8 and 9 to 16 from cycle 4 on, column 0 as the ninth; 1 or 2 DSPs a lane.
  logic [3:0] select, put;
  logic [7:0][ValueBits-1:0] low_columns, high_columns;
  logic [1:0][7:0] code;
  assign low_columns  = value[8:1];
  assign high_columns = value[16:9];
  always_ff @(posedge clk) begin
    select <= took[2] ? '0 : select + 4'd1;
    put <= took[9] ? '0 : put + 4'd1;
  end
  for (genvar l = 0; l < 2; l++) begin : gen_lane
    logic [ValueBits-1:0] chosen, operand;
    logic [ValueBits+16:0] scaled;
    logic [11:0] rounded;
    if (l == 0) begin : gen_low
      assign chosen = select[3] ? value[0] : low_columns[select[2:0]];
    end else begin : gen_high
      assign chosen = high_columns[select[2:0]];
    end
    always_ff @(posedge clk) operand <= chosen;
    if (ValueBits <= 27) begin : gen_single
      logic [ValueBits+16:0] product_q;
      always_ff @(posedge clk) begin
        product_q <= $unsigned($signed({{17{operand[ValueBits-1]}}, operand}) *
                               $signed({{ValueBits{1'b0}}, kv_multiplier}));
        scaled <= product_q;
      end
    end else begin : gen_double
      logic [33:0] product_low;
      logic [ValueBits-1:0] product_high;  // of the upper ValueBits - 17 bits and 17 bits
      always_ff @(posedge clk) begin
        product_low <= {17'd0, operand[16:0]} * {17'd0, kv_multiplier};
        product_high <= $unsigned($signed({{17{operand[ValueBits-1]}}, operand[ValueBits-1:17]}) *
                                  $signed({{(ValueBits - 17) {1'b0}}, kv_multiplier}));
        scaled <= {product_high + ValueBits'(product_low[33:17]), product_low[16:0]};
      end
    end
    shift_round #(
        .LANES(1),
        .WIDTH(ScaledBits)
    ) u_round (
        .clk,
        .advance(1'b1),
        .value(scaled[ScaledBits-1:0]),
        .shift(kv_shift),
        .zero_point({{8{kv_zero[7]}}, kv_zero}),
        .wide(1'b0),
        .code(rounded)
    );
    assign code[l] = rounded[7:0];
    logic unused;
    assign unused = &{1'b0, rounded[11:8], scaled};
  end

  // Cycle 11 + n: the codes of columns 1 + n and 9 + n, less the zero point; 128 more, for digits.
  logic [1:0][9:0] units;
  logic [16:0][9:0] unit;
  for (genvar l = 0; l < 2; l++) begin : gen_unit
    assign units[l] = {{2{code[l][7]}}, code[l]} - {2'b11, !kv_zero[7], kv_zero[6:0]};
  end
  always_ff @(posedge clk) begin
    if (put == 4'd8) unit[0] <= units[0];
  end
  for (genvar e = 0; e < 16; e++) begin : gen_put
    always_ff @(posedge clk) begin
      if (put == $unsigned(4'(e % 8))) unit[e+1] <= units[e/8];
    end
  end

  // Digits of a row: from cycle 4 on, quantized from cycle 20 on.
  logic [4:0] digits_index;
  logic digits_end;
  assign digits_end = digits_index[3:0] == '1 && (digits_index[4] || !pair);
  assign digits_tile = digits_index[4];
  assign finished = digits_valid && digits_plane == LastPlane && digits_end;
  always_ff @(posedge clk) begin
    if (reset) digits_valid <= 1'b0;
    else if (quantized ? took[18] : took[2]) digits_valid <= 1'b1;
    else if (digits_plane == LastPlane) digits_valid <= 1'b0;
    digits_plane <= digits_valid && digits_plane != LastPlane ? digits_plane + 2'd1 : 2'd0;
    if (start[5]) begin
      digits_index <= '0;
      digits_row   <= 16'h8000;
    end else if (digits_valid && digits_plane == LastPlane) begin
      digits_index <= digits_index + 5'd1;
      digits_row   <= {digits_row[0], digits_row[15:1]};
    end
  end

  for (genvar e = 0; e < 17; e++) begin : gen_digit
    logic [DigitBits-1:0] exact;
    logic [3:0][7:0] planes;  // with three digits, plane 3 is never used
    logic [7:0] code_digit;
    assign exact  = $unsigned(DigitBits'($signed(value[e]))) ^ {8'h00, Middle};
    assign planes = {exact[DigitBits-1-:8], exact[23:0]};
    always_comb begin
      case (digits_plane)
        2'd0: code_digit = {!unit[e][7], unit[e][6:0]};
        2'd1: code_digit = {{6{unit[e][9]}}, unit[e][9:8]};
        default: code_digit = '0;
      endcase
      digits[e] = quantized ? code_digit : planes[digits_plane];
    end
  end

  logic unused;
  assign unused = &{1'b0, write_index, fill_index, read_index, row, value, p};

endmodule

`default_nettype wire
