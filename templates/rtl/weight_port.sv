// SPDX-License-Identifier: Apache-2.0
// One of the weight loader's AXI ports: brings a quarter of each ring row, 32 bytes.
//
//   request 0 --+--> FIFO {address, rows} --+
//               +--> FIFO {row} ------------|-----------------------+
//   request 1 --+--> FIFO {address, rows} --+--> axi_read --beats---+--> {row, 2 beats} --> write
//               +--> FIFO {row} --------------------------------- --+
//
// Queue 0 goes before queue 1 at every burst. Addresses are multiples of 32, so bursts have an even number of beats and the
// halves of a row follow each other.
//
// Cost: 2 cycles a row, when the memory delivers. Latency: request to ARVALID 3, R to write 1.
//
// DEPTH            requests of a queue, from put to finished; the user sees to it that there are no more
// MAX_BURST        most beats of a burst, a power of two; 16 for AXI3
// OUTSTANDING      most bursts that wait for data, a power of two
// LOW_OUTSTANDING  ... when queue 1 asks for one more
`default_nettype none

module weight_port #(
    parameter int DEPTH = 8,
    parameter int MAX_BURST = 64,
    parameter int OUTSTANDING = 8,
    parameter int LOW_OUTSTANDING = 4
) (
    input  wire logic         clk,
    input  wire logic         reset,
    input  wire logic [1:0]   put,         // a request for queue 0 or 1
    input  wire logic [58:0]  put_line,    // address / 32
    input  wire logic [15:0]  put_rows,    // not 0
    input  wire logic [15:0]  put_row,     // the first one in the ring
    output var  logic [1:0]   finished,    // the last row of a request is being written
    output var  logic         error_read,
    output var  logic         idle,
    output var  logic         write_valid,
    output var  logic         write_head,  // of queue 1
    output var  logic [15:0]  write_row,
    output var  logic [255:0] write_data,

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

  logic [1:0] read_valid, read_ready, data_valid, fresh, full_requests, full_rows, valid_rows;
  logic [1:0][58:0] line;
  logic [1:0][15:0] rows, first_row, row;
  logic [1:0][63:0] read_address;
  logic [1:0][16:0] read_beats;
  logic [127:0] data, half;
  logic data_last, data_error, second;

  for (genvar q = 0; q < 2; q++) begin : gen_queue
    small_fifo #(
        .WIDTH(75),
        .DEPTH(DEPTH)
    ) u_requests (
        .clk,
        .reset,
        .in_valid(put[q]),
        .in({put_line, put_rows}),
        .full(full_requests[q]),
        .out_valid(read_valid[q]),
        .out({line[q], rows[q]}),
        .out_take(read_valid[q] && read_ready[q])
    );
    small_fifo #(
        .WIDTH(16),
        .DEPTH(DEPTH)
    ) u_rows (
        .clk,
        .reset,
        .in_valid(put[q]),
        .in(put_row),
        .full(full_rows[q]),
        .out_valid(valid_rows[q]),
        .out(first_row[q]),
        .out_take(data_valid[q] && !second && fresh[q])
    );
    // `fresh`: the next row is the first of a request.
    always_ff @(posedge clk) begin
      if (data_valid[q] && !second) row[q] <= fresh[q] ? first_row[q] : row[q] + 1'b1;
      if (reset) fresh[q] <= 1'b1;
      else if (data_valid[q]) fresh[q] <= data_last;
    end
    assign finished[q] = data_valid[q] && data_last;
    assign read_address[q] = {line[q], 5'b0};
    assign read_beats[q] = {rows[q], 1'b0};
  end

  axi_read #(
      .CLIENTS(2),
      .BEATS_BITS(17),
      .MAX_BURST(MAX_BURST),
      .OUTSTANDING(OUTSTANDING),
      .LOW_OUTSTANDING(LOW_OUTSTANDING)
  ) u_read (
      .clk,
      .reset,
      .request_valid(read_valid),
      .request_ready(read_ready),
      .request_address(read_address),
      .request_beats(read_beats),
      .data_valid,
      .data,
      .data_last,
      .data_error,
      .error_read,
      .idle,
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

  always_ff @(posedge clk) begin
    if (data_valid != '0) half <= data;
    if (reset) second <= 1'b0;
    else if (data_valid != '0) second <= !second;
  end
  assign write_valid = data_valid != '0 && second;
  assign write_head  = data_valid[1];
  assign write_row   = data_valid[1] ? row[1] : row[0];
  assign write_data  = {data, half};

  logic unused;
  assign unused = &{1'b0, data_error, full_requests, full_rows, valid_rows};

endmodule

`default_nettype wire
