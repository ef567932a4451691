// SPDX-License-Identifier: Apache-2.0
// Reads program.bin: the header once, then each queue's records, group after group, ahead of the queues.
//
//   header: request --> 8 beats --> check --> one pass over the queues: first record, count, base of the waits
//   records: queue with room, in turn --> position (LUT RAM) --> address --> request
//            beat --> + base of the waits (beats 6, 7) --> record_* (to dispatcher_records)
//
// Requests of 8 beats, one every 7 cycles (a record takes 8), up to 16 outstanding. Beats pass in 2 cycles.
//
// The record that leaves differs from program.bin in its last 24 bytes: waits have group * queue_counts added (mod 2^16);
// wait_mask has in bit 9 last of its queue, 10 last of the run, 11 came with an AXI error (executing it makes no sense),
// 15:12 frame exists, for slots 3 to 0; next_queue and spare hold the frames left when the group began.
//
// `start` is accepted in any state; all data of earlier requests must have come. `reset` returns to idle.
// RECORDS  room in each queue
`default_nettype none

module dispatcher_fetch
  import config_pkg::*;
#(
    parameter int RECORDS = 4
) (
    input wire logic clk,
    input wire logic reset,

    input wire logic        start,
    input wire logic [63:0] program_address,  // stable while it runs; a multiple of 16
    input wire logic [31:0] frames,           // not 0

    // Header
    output var logic              header_valid,   // pulse: the following are known
    output var logic              header_failed,  // AXI error
    output var logic              header_wrong,   // magic, version or configuration
    output var logic              header_counts,  // queue_counts are no sum of `instructions`, or too too_large
    output var logic [31:0]       weight_bytes,
    output var logic [31:0]       input_words,
    output var logic [31:0]       output_words,
    output var logic [31:0]       trace_words,
    output var logic [QUEUES-1:0] empty,

    // Read client
    output var  logic         read_valid,
    input  wire logic         read_ready,
    output var  logic [63:0]  read_address,
    output var  logic [7:0]   read_beats,
    input  wire logic         data_valid,
    input  wire logic [127:0] data,
    input  wire logic         data_error,

    // Records
    output var  logic              record_valid,
    output var  logic [3:0]        record_queue,
    output var  logic [2:0]        record_beat,
    output var  logic [127:0]      record_data,
    input  wire logic [QUEUES-1:0] record_freed,  // room for one more

    output var logic failed,   // pulse: a record came with an AXI error
    output var logic progress  // pulse: a record came
);

  if (SLOTS > 4) begin : gen_check
    $error("dispatcher_fetch: at most 4 slots");
  end

  localparam int CreditBits = $clog2(RECORDS) + 1;
  localparam int Outstanding = 16;
  localparam int IndexBits = 20;  // of a record in program.bin
  localparam logic [31:0] SlotCount = SLOTS;
  localparam logic [3:0] LastQueue = 4'(QUEUES - 1);
  localparam int FirstCount = 9;  // header word of queue_counts[0]

  typedef enum logic [3:0] {
    Idle,
    AskHeader,
    Header,
    Sweep,
    Check,
    Pick,
    Encode,
    Look,
    Step,
    Address,
    Request
  } state_t;

  state_t state;
  logic [2:0] beat;
  logic [3:0] queue;  // of the sweep, of the request
  logic [31:0] word[4];
  for (genvar w = 0; w < 4; w++) begin : gen_word
    assign word[w] = data[32*w+:32];
  end

  // Header
  logic header_beat;
  logic [QUEUES-1:0][15:0] count;  // turns once during the sweep
  logic [QUEUES-1:0] too_large;
  logic [31:0] instructions;
  logic [IndexBits-1:0] sum;  // record after the queues so far; the header is record 0
  logic counts_wrong;
  assign header_beat  = state == Header && data_valid;
  assign counts_wrong = too_large != '0 || instructions != 32'(sum) - 32'd1;

  for (genvar q = 0; q < QUEUES; q++) begin : gen_count
    localparam logic [2:0] Beat = 3'((FirstCount + q) / 4);
    always_ff @(posedge clk) begin
      if (header_beat && beat == Beat) begin
        count[q] <= word[(FirstCount+q)%4][15:0];
        too_large[q] <= word[(FirstCount+q)%4][31:15] != '0;
      end else if (state == Sweep) begin
        count[q] <= count[(q+1)%QUEUES];
      end
    end
  end

  always_ff @(posedge clk) begin
    if (start) begin
      header_failed <= 1'b0;
      header_wrong  <= 1'b0;
    end else if (header_beat) begin
      if (data_error) header_failed <= 1'b1;
      if (beat == 3'd0) begin
        if (word[0] != MAGIC || word[1] != VERSION) header_wrong <= 1'b1;
        instructions <= word[2];
        weight_bytes <= word[3];
      end
      if (beat == 3'd1) begin
        input_words  <= word[0];
        output_words <= word[1];
        trace_words  <= word[2];
        if (word[3] != CONFIG_HASH) header_wrong <= 1'b1;
      end
    end
  end

  // Which queue next: those after the last one first
  logic [QUEUES-1:0] room, fetched, later, later_next, want, wanted_later, from, chosen;
  logic [QUEUES-1:0] take;  // takes a place in the queue
  logic [QUEUES-1:0] queue_hot;
  logic [3:0] queue_code;
  assign want = room & ~fetched;
  assign wanted_later = want & later;
  assign from = wanted_later != '0 ? wanted_later : want;
  for (genvar q = 0; q < QUEUES; q++) begin : gen_room
    logic [CreditBits-1:0] credit;
    logic none_before;
    if (q == 0) begin : gen_first
      assign none_before = 1'b1;
    end else begin : gen_next
      assign none_before = from[q-1:0] == '0;
    end
    assign chosen[q] = from[q] && none_before;
    if (q == 0) begin : gen_not_later
      assign later_next[q] = 1'b0;
    end else begin : gen_later
      assign later_next[q] = queue_hot[q-1:0] != '0;
    end
    assign room[q] = credit != '0;
    assign take[q] = state == Encode && queue_hot[q];
    always_ff @(posedge clk) begin
      if (start) credit <= CreditBits'(RECORDS);
      else if (take[q] && !record_freed[q]) credit <= credit - 1'b1;
      else if (!take[q] && record_freed[q]) credit <= credit + 1'b1;
    end
  end

  for (genvar b = 0; b < 4; b++) begin : gen_code
    logic [QUEUES-1:0] ones;
    for (genvar q = 0; q < QUEUES; q++) begin : gen_queue
      assign ones[q] = queue_hot[q] && (q >> b) % 2 == 1;
    end
    assign queue_code[b] = ones != '0;
  end

  // Where each queue is
  logic [IndexBits-1:0] first_of[16];  // first record
  logic [15:0] final_of[16];  // count - 1
  logic [15:0] position_of[16];
  logic [31:0] left_of[16];  // frames left when the group of the next request begins
  logic [IndexBits-1:0] first, index;
  logic [15:0] final_position, position;
  logic [31:0] left;
  logic last, last_group;
  logic [3:0] present;
  assign last = position == final_position;
  assign last_group = left <= SlotCount;
  for (genvar s = 0; s < 4; s++) begin : gen_present
    localparam logic [31:0] Slot = s;
    assign present[s] = left > Slot;
  end

  always_ff @(posedge clk) begin
    if (state == Sweep) begin
      first_of[queue] <= sum;
      final_of[queue] <= count[0] - 16'd1;
    end
    if (state == Sweep || state == Step) begin
      position_of[queue] <= state == Sweep || last ? '0 : position + 16'd1;
      left_of[queue]     <= state == Sweep ? frames : last ? left - SlotCount : left;
    end
    first          <= first_of[queue];
    final_position <= final_of[queue];
    position       <= position_of[queue];
    left           <= left_of[queue];
  end

  // What was asked for, in order
  localparam int NoteBits = 4 + 2 + 4 + 32;
  logic [NoteBits-1:0] note[Outstanding];
  logic [4:0] note_write, note_read;
  logic records_run, record_came;
  assign record_came = records_run && data_valid && beat == 3'd7;

  always_ff @(posedge clk) begin
    if (state == Step) note[note_write[3:0]] <= {queue, last && last_group, last, present, left};
    if (start) begin
      note_write <= '0;
      note_read  <= '0;
    end else begin
      if (state == Step) note_write <= note_write + 5'd1;
      if (record_came) note_read <= note_read + 5'd1;
    end
  end

  logic note_full;
  assign note_full = note_write[3:0] == note_read[3:0] && note_write[4] != note_read[4];
  assign read_valid = state == AskHeader || state == Request;
  assign read_beats = 8'd8;
  assign records_run = state >= Pick;

  always_ff @(posedge clk) begin
    header_valid <= 1'b0;
    if (data_valid) beat <= beat + 3'd1;
    case (state)
      AskHeader: begin
        if (read_ready) state <= Header;
      end
      Header: begin
        queue <= '0;
        sum   <= IndexBits'(1);
        if (data_valid && beat == 3'd7) state <= Sweep;
      end
      Sweep: begin
        sum   <= sum + IndexBits'(count[0]);
        queue <= queue + 4'd1;
        empty <= {count[0] == '0, empty[QUEUES-1:1]};
        if (queue == LastQueue) state <= Check;
      end
      Check: begin
        header_valid <= 1'b1;
        header_counts <= counts_wrong;
        fetched <= empty;
        state <= header_failed || header_wrong || counts_wrong ? Idle : Pick;
      end
      Pick: begin
        queue_hot <= chosen;
        if (want != '0 && !note_full) state <= Encode;
      end
      Encode: begin
        queue <= queue_code;
        later <= later_next;
        state <= Look;
      end
      Look: state <= Step;
      Step: begin
        index <= first + IndexBits'(position);
        if (last && last_group) fetched <= fetched | queue_hot;
        state <= Address;
      end
      Address: begin
        read_address <= program_address + 64'({index, 7'b0});
        state <= Request;
      end
      Request: begin
        if (read_ready) state <= Pick;
      end
      default: state <= Idle;
    endcase
    if (start) begin
      state <= AskHeader;
      beat <= '0;
      empty <= '0;
      later <= '0;
      read_address <= program_address;
    end
    if (reset) begin
      state <= Idle;
      header_valid <= 1'b0;
    end
  end

  // Records: register, then the base of the waits
  logic came_valid, came_error, came_last, came_end;
  logic [2:0] came_beat;
  logic [127:0] came_data;
  logic [3:0] came_queue, came_present;
  logic [31:0] came_left;
  logic [16*QUEUES-1:0] base_of[16];
  logic [16*QUEUES-1:0] base, next_base;
  logic base_step;
  assign base = base_of[came_queue];
  assign base_step = came_valid && came_beat == 3'd7 && came_last;
  for (genvar e = 0; e < QUEUES; e++) begin : gen_base
    assign next_base[16*e+:16] = base[16*e+:16] + count[e];
  end

  always_ff @(posedge clk) begin
    if (state == Sweep) base_of[queue] <= '0;
    else if (base_step) base_of[came_queue] <= next_base;
  end

  always_ff @(posedge clk) begin
    came_valid <= !reset && records_run && data_valid;
    came_beat  <= beat;
    came_data  <= data;
    {came_queue, came_end, came_last, came_present, came_left} <= note[note_read[3:0]];
    if (data_valid) came_error <= data_error || (came_error && beat != 3'd0);
  end

  logic [127:0] changed;
  always_comb begin
    changed = came_data;
    if (came_beat == 3'd6) begin
      for (int e = 0; e < 4; e++) changed[64+16*e+:16] = came_data[64+16*e+:16] + base[16*e+:16];
    end
    if (came_beat == 3'd7) begin
      for (int e = 4; e < QUEUES; e++) changed[16*(e-4)+:16] = came_data[16*(e-4)+:16] + base[16*e+:16];
      changed[127:89] = {came_left, came_present, came_error, came_end, came_last};
    end
  end

  always_ff @(posedge clk) begin
    record_valid <= !reset && came_valid;
    record_queue <= came_queue;
    record_beat <= came_beat;
    record_data <= changed;
    progress <= !reset && came_valid && came_beat == 3'd7;
    failed <= !reset && came_valid && came_beat == 3'd7 && came_error;
  end

endmodule

`default_nettype wire
