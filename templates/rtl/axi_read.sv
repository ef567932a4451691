// SPDX-License-Identifier: Apache-2.0
// AXI4 read master, 128 bit, for several clients. Client 0 goes before client 1 and so on, at every burst.
//
//   request 0 --> axi_split --+                       +--> FIFO {client, last} --+
//   request 1 --> axi_split --+--> first valid one ---+--> AR ~~ memory ~~ R ----+--> register --> data
//
// Beats come in the order of a client's requests. Nothing holds them back: a client must have room for what it asked
// for. A beat with SLVERR or DECERR counts like any other; `error_read` is high for a cycle. AXI signals that are constant
// (ARSIZE 4, ARBURST INCR, ARID 0) are left to the top.
//
// Latency: request to ARVALID 2, R to data 1. One burst a cycle, one beat a cycle.
//
// CLIENTS          number of clients
// BEATS_BITS       bits of a request's number of beats
// MAX_BURST        most beats of a burst, a power of two; 16 for AXI3
// OUTSTANDING      most bursts that wait for data, a power of two
// LOW_OUTSTANDING  as many of them when a client other than 0 asks for one more; keeps the way short for client 0
`default_nettype none

module axi_read #(
    parameter int CLIENTS = 2,
    parameter int BEATS_BITS = 8,
    parameter int MAX_BURST = 64,
    parameter int OUTSTANDING = 8,
    parameter int LOW_OUTSTANDING = OUTSTANDING
) (
    input  wire logic                               clk,
    input  wire logic                               reset,
    input  wire logic [CLIENTS-1:0]                 request_valid,
    output var  logic [CLIENTS-1:0]                 request_ready,
    input  wire logic [CLIENTS-1:0][63:0]           request_address,  // multiples of 16
    input  wire logic [CLIENTS-1:0][BEATS_BITS-1:0] request_beats,    // not 0
    output var  logic [CLIENTS-1:0]                 data_valid,       // at most one
    output var  logic [127:0]                       data,
    output var  logic                               data_last,        // of its request
    output var  logic                               data_error,
    output var  logic                               error_read,
    output var  logic                               idle,             // nothing asked for, nothing outstanding

    output var  logic [63:0]  araddr,
    output var  logic [7:0]   arlen,
    output var  logic         arvalid,
    input  wire logic         arready,
    input  wire logic [127:0] rdata,
    input  wire logic [1:0]   rresp,
    input  wire logic         rlast,
    input  wire logic         rvalid,
    output var  logic         rready
);

  localparam int ClientBits = CLIENTS > 1 ? $clog2(CLIENTS) : 1;
  localparam int CountBits = $clog2(OUTSTANDING) + 1;
  localparam logic [CountBits-1:0] Low = $unsigned(CountBits'(LOW_OUTSTANDING));

  logic [CLIENTS-1:0] burst_valid, burst_last, burst_take;
  logic [CLIENTS-1:0][63:0] burst_address;
  logic [CLIENTS-1:0][7:0] burst_length;

  for (genvar c = 0; c < CLIENTS; c++) begin : gen_client
    axi_split #(
        .MAX_BURST (MAX_BURST),
        .BEATS_BITS(BEATS_BITS)
    ) u_split (
        .clk,
        .reset,
        .request_valid(request_valid[c]),
        .request_ready(request_ready[c]),
        .request_address(request_address[c]),
        .request_beats(request_beats[c]),
        .burst_valid(burst_valid[c]),
        .burst_take(burst_take[c]),
        .burst_address(burst_address[c]),
        .burst_length(burst_length[c]),
        .burst_last(burst_last[c])
    );
  end

  // The first client that has a burst
  logic [ClientBits-1:0] client;
  always_comb begin
    client = '0;
    for (int c = CLIENTS - 1; c >= 0; c--) if (burst_valid[c]) client = $unsigned(ClientBits'(c));
  end

  logic [CountBits-1:0] count;  // bursts that wait for data
  logic room, take, finish;
  assign room = client == '0 ? !count[CountBits-1] : count < Low;
  assign take = burst_valid != '0 && room && (arready || !arvalid);

  for (genvar c = 0; c < CLIENTS; c++) begin : gen_take
    assign burst_take[c] = take && client == $unsigned(ClientBits'(c));
  end

  logic head_valid, head_last;
  logic [ClientBits-1:0] head_client;
  logic unused;
  small_fifo #(
      .WIDTH(ClientBits + 1),
      .DEPTH(OUTSTANDING)
  ) u_order (
      .clk,
      .reset,
      .in_valid(take),
      .in({client, burst_last[client]}),
      .full(unused),
      .out_valid(head_valid),
      .out({head_client, head_last}),
      .out_take(finish)
  );

  assign rready = 1'b1;
  assign finish = rvalid && rlast && head_valid;
  assign error_read = data_error;
  assign idle = !head_valid && burst_valid == '0 && data_valid == '0;

  always_ff @(posedge clk) begin
    if (take) begin
      araddr <= burst_address[client];
      arlen  <= burst_length[client];
    end
    data <= rdata;
    data_last <= rlast && head_last;
    if (reset) begin
      arvalid <= 1'b0;
      count <= '0;
      data_valid <= '0;
      data_error <= 1'b0;
    end else begin
      if (take) arvalid <= 1'b1;
      else if (arready) arvalid <= 1'b0;
      if (take && !finish) count <= count + 1'b1;
      else if (finish && !take) count <= count - 1'b1;
      for (int c = 0; c < CLIENTS; c++) data_valid[c] <= rvalid && head_valid && head_client == $unsigned(ClientBits'(c));
      data_error <= rvalid && rresp[1];
    end
  end

  logic unused_response;
  assign unused_response = &{1'b0, rresp[0]};

endmodule

`default_nettype wire
