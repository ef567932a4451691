// SPDX-License-Identifier: Apache-2.0
// One of COUNT words: combinational. 4 words: one LUT6 a bit.
//
// Its hierarchy is kept, because Yosys shares halves of neighbouring choices of a rotation, and then needs two LUTs a bit.
//
// WIDTH  bits of a word
// COUNT  words
`default_nettype none

(* keep_hierarchy = "yes" *)
module word_mux #(
    parameter int WIDTH = 128,
    parameter int COUNT = 4,
    localparam int IndexBits = COUNT > 1 ? $clog2(COUNT) : 1
) (
    input  wire logic [COUNT-1:0][WIDTH-1:0] words,
    input  wire logic [IndexBits-1:0]        index,
    output var  logic [WIDTH-1:0]            word
);

  if (COUNT > 1) begin : gen_choose
    assign word = words[index];
  end else begin : gen_single
    assign word = words[0];
    logic unused;
    assign unused = &{1'b0, index};
  end

endmodule

`default_nettype wire
