// SPDX-License-Identifier: Apache-2.0
// Records fetched ahead, of all queues, in block RAM; hands a record to the queue that wants one, beat by beat.
//
//   record_* (fetch) --> mem[16 queues][RECORDS][8 beats] --> load_data --> queue with load_valid, or trace
//                                    ^
//   wanted --> choose, in turn --> address: 8 cycles, beats 6, 7, 0 to 5
//
// Latency: `wanted` to the first beat 2 cycles, to the last one 9, when no other record is on its way; a record every 8
// cycles. `taken` answers `wanted` in the cycle in which it is chosen. A record stays in memory until the queue frees it
// (which fetch counts). Until then trace can have it `again`: the record of a queue that was taken last.
//
// `reset` empties all queues. RECORDS  room in each queue, 2 or 4 (the memory is 512 x 128 for 4)
`default_nettype none

module dispatcher_records
  import config_pkg::*;
#(
    parameter int RECORDS = 4
) (
    input wire logic clk,
    input wire logic reset,

    // Beats of records from dispatcher_fetch; a record comes whole
    input wire logic         record_valid,
    input wire logic [3:0]   record_queue,
    input wire logic [2:0]   record_beat,
    input wire logic [127:0] record_data,

    // Queues
    input  wire logic [QUEUES-1:0] wanted,     // stays until `taken`
    output var  logic [QUEUES-1:0] taken,
    output var  logic [QUEUES-1:0] load_valid,
    output var  logic [2:0]        load_beat,
    output var  logic [127:0]      load_data,

    // Trace
    input  wire logic [QUEUES-1:0] again,        // of one queue; stays until `again_taken`
    output var  logic              again_taken,
    output var  logic              again_valid   // load_* is for trace
);

  localparam int RecordBits = $clog2(RECORDS);

  // Pointers: what came whole, what was taken
  logic [QUEUES-1:0][RecordBits:0] came, gone;
  logic [QUEUES-1:0] some;
  logic [RecordBits-1:0] write_record;
  for (genvar q = 0; q < QUEUES; q++) begin : gen_pointer
    localparam logic [3:0] Queue = 4'(q);
    always_ff @(posedge clk) begin
      if (reset) begin
        came[q] <= '0;
        gone[q] <= '0;
        some[q] <= 1'b0;
      end else begin
        if (record_valid && record_beat == 3'd7 && record_queue == Queue) came[q] <= came[q] + 1'b1;
        if (taken[q]) gone[q] <= gone[q] + 1'b1;
        some[q] <= came[q] != gone[q];  // right again before the next choice
      end
    end
  end

  // Choose: those that wanted one at the last choice go first
  logic reading, free, tracing, pick;
  logic [2:0] beat;
  logic [QUEUES-1:0] want, left, from, first, chosen;
  logic any_left;
  assign want = wanted & some;
  assign from = any_left ? left : want;
  assign tracing = again != '0;
  assign chosen = tracing ? again : first;
  assign free = !reading || beat == 3'd5;
  assign pick = free && chosen != '0;
  assign taken = free && !tracing ? first : '0;
  assign again_taken = free && tracing;
  for (genvar q = 0; q < QUEUES; q++) begin : gen_first
    if (q == 0) begin : gen_lowest
      assign first[q] = from[q];
    end else begin : gen_other
      assign first[q] = from[q] && from[q-1:0] == '0;
    end
  end

  logic [3:0] queue;
  logic [RecordBits-1:0] record;
  for (genvar b = 0; b < 4; b++) begin : gen_code
    logic [QUEUES-1:0] ones;
    for (genvar q = 0; q < QUEUES; q++) begin : gen_queue
      assign ones[q] = chosen[q] && (q >> b) % 2 == 1;
    end
    assign queue[b] = ones != '0;
  end
  for (genvar b = 0; b < RecordBits; b++) begin : gen_record
    logic [QUEUES-1:0] ones;
    for (genvar q = 0; q < QUEUES; q++) begin : gen_queue
      assign ones[q] = chosen[q] && gone[q][b];
    end
    assign record[b] = ones != '0;
  end

  logic [QUEUES-1:0] target;  // 0: trace
  logic [RecordBits+3:0] place;
  always_ff @(posedge clk) begin
    if (pick) begin
      beat   <= 3'd6;
      place  <= {queue, tracing ? record - 1'b1 : record};
      target <= taken;
    end else begin
      beat <= beat + 3'd1;
    end
    if (reset) begin
      reading  <= 1'b0;
      left     <= '0;
      any_left <= 1'b0;
    end else begin
      if (free) reading <= pick;
      if (free && !tracing) begin
        left <= from & ~first;
        any_left <= (from & ~first) != '0;
      end
    end
  end

  // Memory
  (* ram_style = "block" *) logic [127:0] mem[16*RECORDS*8];
  always_comb begin
    write_record = '0;
    for (int q = 0; q < QUEUES; q++) begin
      if (record_queue == 4'(q)) write_record |= came[q][RecordBits-1:0];
    end
  end
  always_ff @(posedge clk) begin
    if (record_valid) mem[{record_queue, write_record, record_beat}] <= record_data;
    load_data <= mem[{place, beat}];
  end

  always_ff @(posedge clk) begin
    load_beat   <= beat;
    load_valid  <= reading && !reset ? target : '0;
    again_valid <= reading && !reset && target == '0;
  end

endmodule

`default_nettype wire
