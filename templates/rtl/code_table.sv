// SPDX-License-Identifier: Apache-2.0
// Table look-up of LANES codes in a cycle: y = table[code], or y = code where `enable` is low. Loaded from ring rows.
//
//   code --> address --> 4 entries of a table word --> one of them, or the code --> y
//   load_data --> 4 entries a cycle --^
//
// A table word is four entries, in block RAM: one RAMB36 with two ports for each two lanes, of 4,096 entries or, WIDE = 0, 256
// (LUT memory would be 40 LUTs a lane, and LUTs are scarcer).
// Latency: table word 1 + entry 1 = 2, always moving; `wide` and `enable` belong to the code beside them. Initiation
// interval 1.
// Load: load_valid, load_row and load_data stay until load_ready, which is high in the 32nd cycle; load_valid is low for a
// cycle before the first row. Codes from the second cycle after load_ready on see the row. While rows are loaded, codes
// with `enable` low still pass; the others read anything.
//
// LANES  codes in a cycle
// WIDE   1: tables of 4,096 entries are possible; 0: `wide` must be low
`default_nettype none

module code_table #(
    parameter int LANES = 16,
    parameter bit WIDE  = 1'b1
) (
    input  wire logic                   clk,
    input  wire logic                   load_valid,
    input  wire logic [4:0]             load_row,    // entries 128 load_row + 0 to 127
    input  wire logic [1023:0]          load_data,
    output var  logic                   load_ready,
    input  wire logic                   wide,        // entry i is the one of code i - 2048, else of code i - 128
    input  wire logic                   enable,
    input  wire logic [LANES-1:0][11:0] code,        // signed
    output var  logic [LANES-1:0][7:0]  y
);

  localparam int Depth = WIDE ? 10 : 6;  // address bits of a table word

  // Load.
  logic [4:0] load_index;
  logic load_q;
  logic [Depth-1:0] load_address;
  logic [31:0] load_word;
  logic [9:0] load_at;
  assign load_ready = load_index == '1;
  assign load_at = {load_row, load_index};
  always_ff @(posedge clk) begin
    load_index   <= load_valid ? load_index + 5'd1 : '0;
    load_q       <= load_valid;
    load_address <= load_at[Depth-1:0];
    load_word    <= load_data[{load_index, 5'b0}+:32];
  end

  logic enable_q;
  always_ff @(posedge clk) enable_q <= enable;

  // Entry of a lane's code: word address and place in the word.
  logic [LANES-1:0][Depth-1:0] at;
  logic [LANES-1:0][31:0] word;
  for (genvar l = 0; l < LANES; l++) begin : gen_lane
    logic [7:0] code_q;
    if (WIDE) begin : gen_wide
      assign at[l] = wide ? {~code[l][11], code[l][10:2]} : {4'b0, ~code[l][7], code[l][6:2]};
    end else begin : gen_narrow
      assign at[l] = {~code[l][7], code[l][6:2]};
      logic unused;
      assign unused = &{1'b0, code[l][11:8]};
    end
    logic [7:0] entry;
    assign entry = word[l][{code_q[1:0], 3'b0}+:8];
    always_ff @(posedge clk) begin
      code_q <= code[l][7:0];
      y[l]   <= enable_q ? entry : code_q;
    end
  end

  for (genvar l = 0; l < LANES; l += 2) begin : gen_pair
    (* ram_style = "block" *) logic [31:0] entries[1<<Depth];
    logic [Depth-1:0] address;
    assign address = load_q ? load_address : at[l];
    always_ff @(posedge clk) begin
      if (load_q) entries[address] <= load_word;
      else word[l] <= entries[address];
    end
    if (l + 1 < LANES) begin : gen_second
      always_ff @(posedge clk) word[l+1] <= entries[at[l+1]];
    end
  end

  if (!WIDE) begin : gen_rows
    logic unused;
    assign unused = &{1'b0, load_at[9:6], wide};
  end

endmodule

`default_nettype wire
