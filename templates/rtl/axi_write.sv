// SPDX-License-Identifier: Apache-2.0
// AXI4 write master, 128 bit: requests, and a stream of words that fills them one after the other.
//
//   request --> axi_split --+--> AW
//                           +--> FIFO {length} --> counts beats --> WLAST
//   words ------------------------------------> register ---------> W
//                           +--> FIFO {tag, final} -----------+
//                                                     B ------+--> finished, finished_tag
//
// `finished` is high for a cycle when the memory has answered the last burst of a request with `request_final`; answers
// come in the order of the requests. SLVERR and DECERR give `error_write` for a cycle and change nothing else. AXI signals
// that are constant (AWSIZE 4, AWBURST INCR, AWID 0, WSTRB all ones) are left to the top.
//
// Latency: request to AWVALID 2, word to WVALID 1, B to finished 1. One burst a cycle, one beat a cycle.
//
// BEATS_BITS   bits of a request's number of beats
// TAG_BITS     bits of a tag
// MAX_BURST    most beats of a burst, a power of two; 16 for AXI3
// OUTSTANDING  most bursts that wait for an answer, a power of two
`default_nettype none

module axi_write #(
    parameter int BEATS_BITS = 8,
    parameter int TAG_BITS = 1,
    parameter int MAX_BURST = 64,
    parameter int OUTSTANDING = 8
) (
    input  wire logic                  clk,
    input  wire logic                  reset,
    input  wire logic                  request_valid,
    output var  logic                  request_ready,
    input  wire logic [63:0]           request_address,  // a multiple of 16
    input  wire logic [BEATS_BITS-1:0] request_beats,    // not 0
    input  wire logic [TAG_BITS-1:0]   request_tag,
    input  wire logic                  request_final,
    input  wire logic                  word_valid,
    output var  logic                  word_ready,
    input  wire logic [127:0]          word,
    output var  logic                  finished,
    output var  logic [TAG_BITS-1:0]   finished_tag,
    output var  logic                  error_write,
    output var  logic                  idle,             // nothing asked for, nothing outstanding

    output var  logic [63:0]  awaddr,
    output var  logic [7:0]   awlen,
    output var  logic         awvalid,
    input  wire logic         awready,
    output var  logic [127:0] wdata,
    output var  logic         wlast,
    output var  logic         wvalid,
    input  wire logic         wready,
    input  wire logic [1:0]   bresp,
    input  wire logic         bvalid,
    output var  logic         bready
);

  logic burst_valid, burst_last, take;
  logic [63:0] burst_address;
  logic [7:0] burst_length;

  axi_split #(
      .MAX_BURST (MAX_BURST),
      .BEATS_BITS(BEATS_BITS)
  ) u_split (
      .clk,
      .reset,
      .request_valid,
      .request_ready,
      .request_address,
      .request_beats,
      .burst_valid,
      .burst_take(take),
      .burst_address,
      .burst_length,
      .burst_last
  );

  logic [TAG_BITS-1:0] tag;
  logic last;  // this request is final
  always_ff @(posedge clk) begin
    if (request_ready) {tag, last} <= {request_tag, request_final};
  end

  logic lengths_full, length_valid, length_take;
  logic [7:0] length;
  small_fifo #(
      .WIDTH(8),
      .DEPTH(OUTSTANDING)
  ) u_lengths (
      .clk,
      .reset,
      .in_valid(take),
      .in(burst_length),
      .full(lengths_full),
      .out_valid(length_valid),
      .out(length),
      .out_take(length_take)
  );

  logic answers_full, answer_valid, answer_final;
  logic [TAG_BITS-1:0] answer_tag;
  small_fifo #(
      .WIDTH(TAG_BITS + 1),
      .DEPTH(OUTSTANDING)
  ) u_answers (
      .clk,
      .reset,
      .in_valid(take),
      .in({tag, last && burst_last}),
      .full(answers_full),
      .out_valid(answer_valid),
      .out({answer_tag, answer_final}),
      .out_take(bvalid && answer_valid)
  );

  assign take = burst_valid && !lengths_full && !answers_full && (awready || !awvalid);

  // W
  logic [7:0] beat;  // of the burst
  logic word_take, word_last;
  assign word_ready  = length_valid && (wready || !wvalid);
  assign word_take   = word_valid && word_ready;
  assign word_last   = beat == length;
  assign length_take = word_take && word_last;
  assign bready = 1'b1;
  assign idle = !answer_valid && !burst_valid && !finished;

  always_ff @(posedge clk) begin
    if (take) begin
      awaddr <= burst_address;
      awlen  <= burst_length;
    end
    if (word_take) begin
      wdata <= word;
      wlast <= word_last;
    end
    finished_tag <= answer_tag;
    if (reset) begin
      awvalid <= 1'b0;
      wvalid <= 1'b0;
      beat <= '0;
      finished <= 1'b0;
      error_write <= 1'b0;
    end else begin
      if (take) awvalid <= 1'b1;
      else if (awready) awvalid <= 1'b0;
      if (word_take) wvalid <= 1'b1;
      else if (wready) wvalid <= 1'b0;
      if (word_take) beat <= word_last ? '0 : beat + 1'b1;
      finished <= bvalid && answer_valid && answer_final;
      error_write <= bvalid && bresp[1];
    end
  end

  logic unused;
  assign unused = &{1'b0, bresp[0]};

endmodule

`default_nettype wire
