// SPDX-License-Identifier: Apache-2.0
// The AXI port gmem_io: instruction fetch and input loader read, the store engine writes.
//
//   fetch --+                              store requests --+
//           +--> axi_read --> AR, R                         +--> axi_write --> AW, W, B
//   input --+                              store words -----+
//
// Read client: a request (address, 1 to 64 beats, may cross 4 KiB) is taken in a cycle with valid and ready; its beats
// come later, in the order of the client's requests, and are not held back: the client must have room for them. The fetch
// goes first. Beats and answers with SLVERR or DECERR count like any other. Write side: see axi_write.
//
// Latency: request to ARVALID 2, R to data 1.
//
// MAX_BURST    most beats of a burst, a power of two; 16 for AXI3
// OUTSTANDING  most bursts that wait for data, and for an answer, a power of two
// BEATS_BITS   bits of the number of beats of a write request
`default_nettype none

module io_port #(
    parameter int MAX_BURST = 64,
    parameter int OUTSTANDING = 8,
    parameter int BEATS_BITS = 20
) (
    input  wire logic                  clk,
    input  wire logic                  reset,
    // Read client 0
    input  wire logic                  fetch_read_valid,
    output var  logic                  fetch_read_ready,
    input  wire logic [63:0]           fetch_read_address,
    input  wire logic [7:0]            fetch_read_beats,
    output var  logic                  fetch_data_valid,
    output var  logic [127:0]          fetch_data,
    output var  logic                  fetch_data_last,
    output var  logic                  fetch_data_error,
    // Read client 1
    input  wire logic                  input_read_valid,
    output var  logic                  input_read_ready,
    input  wire logic [63:0]           input_read_address,
    input  wire logic [7:0]            input_read_beats,
    output var  logic                  input_data_valid,
    output var  logic [127:0]          input_data,
    output var  logic                  input_data_last,
    output var  logic                  input_data_error,
    // Store
    input  wire logic                  write_valid,
    output var  logic                  write_ready,
    input  wire logic [63:0]           write_address,
    input  wire logic [BEATS_BITS-1:0] write_beats,
    input  wire logic                  write_tag,
    input  wire logic                  write_final,
    input  wire logic                  word_valid,
    output var  logic                  word_ready,
    input  wire logic [127:0]          word,
    output var  logic                  finished,
    output var  logic                  finished_tag,
    output var  logic                  error_read,
    output var  logic                  error_write,
    output var  logic                  idle,                // nothing asked for, nothing outstanding

    output var  logic [63:0]  araddr,
    output var  logic [7:0]   arlen,
    output var  logic         arvalid,
    input  wire logic         arready,
    input  wire logic [127:0] rdata,
    input  wire logic [1:0]   rresp,
    input  wire logic         rlast,
    input  wire logic         rvalid,
    output var  logic         rready,
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

  logic [127:0] data;
  logic data_last, data_error, idle_read, idle_write;

  axi_read #(
      .CLIENTS(2),
      .BEATS_BITS(8),
      .MAX_BURST(MAX_BURST),
      .OUTSTANDING(OUTSTANDING)
  ) u_read (
      .clk,
      .reset,
      .request_valid({input_read_valid, fetch_read_valid}),
      .request_ready({input_read_ready, fetch_read_ready}),
      .request_address({input_read_address, fetch_read_address}),
      .request_beats({input_read_beats, fetch_read_beats}),
      .data_valid({input_data_valid, fetch_data_valid}),
      .data,
      .data_last,
      .data_error,
      .error_read,
      .idle(idle_read),
      .araddr,
      .arlen,
      .arvalid,
      .arready,
      .rdata,
      .rresp,
      .rlast,
      .rvalid,
      .rready
  );

  assign fetch_data = data;
  assign fetch_data_last = data_last;
  assign fetch_data_error = data_error;
  assign input_data = data;
  assign input_data_last = data_last;
  assign input_data_error = data_error;

  axi_write #(
      .BEATS_BITS(BEATS_BITS),
      .TAG_BITS(1),
      .MAX_BURST(MAX_BURST),
      .OUTSTANDING(OUTSTANDING)
  ) u_write (
      .clk,
      .reset,
      .request_valid(write_valid),
      .request_ready(write_ready),
      .request_address(write_address),
      .request_beats(write_beats),
      .request_tag(write_tag),
      .request_final(write_final),
      .word_valid,
      .word_ready,
      .word,
      .finished,
      .finished_tag,
      .error_write,
      .idle(idle_write),
      .awaddr,
      .awlen,
      .awvalid,
      .awready,
      .wdata,
      .wlast,
      .wvalid,
      .wready,
      .bresp,
      .bvalid,
      .bready
  );

  assign idle = idle_read && idle_write;

endmodule

`default_nettype wire
