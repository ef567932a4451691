// SPDX-License-Identifier: Apache-2.0
// Tables of 256 codes in distributed RAM, one copy a lane: y = table[code], or the code where `enable` is low.
//
//   code --> word of four entries --> one of them, or the code --> y
//
// Latency 0 (registers are the caller's): two LUT levels behind the RAM. While a word is written, y is arbitrary.
//
// LANES  codes in a cycle
`default_nettype none

module attention_table #(
    parameter int LANES = 16
) (
    input  wire logic                  clk,
    input  wire logic                  write,
    input  wire logic [5:0]            write_address,
    input  wire logic [31:0]           write_data,     // entries 4 write_address - 128 and on
    input  wire logic                  enable,
    input  wire logic [LANES-1:0][7:0] code,           // signed
    output var  logic [LANES-1:0][7:0] y
);

  for (genvar l = 0; l < LANES; l++) begin : gen_lane
    (* ram_style = "distributed" *) logic [31:0] entries[64];
    logic [5:0] address;
    logic [31:0] word;
    // One address for both, so that the RAM needs one port.
    assign address = write ? write_address : {~code[l][7], code[l][6:2]};
    always_ff @(posedge clk) begin
      if (write) entries[address] <= write_data;
    end
    assign word = entries[address];
    assign y[l] = enable ? word[{code[l][1:0], 3'b0}+:8] : code[l];
  end

endmodule

`default_nettype wire
