// SPDX-License-Identifier: Apache-2.0
// One command queue of the dispatcher: holds the next record, waits, gives it to its engine.
//
//   load_* --> stage --> command --> engine
//                | waits    | to the list of commands in flight    | done
//                v          v                                      v
//   counts --> compare    list: executed or skipped --> in order --> delay WRITE_SETTLE --> finish (counted in dispatcher)
//                                                                          +--> trace copy <--> copied
//
// Latency: counts to command_valid: compare 1 + issue 1 = 2. The next record loads and waits while the engine has not yet
// taken the command: then from one command taken to the next one offered 2 cycles. Otherwise, from one command offered to
// the next: 11 (dispatcher_records 9 + want 1 + issue 1). done to the new count: WRITE_SETTLE for engines that write pads
// or the vector memory, else 2.
//
// A record that is marked bad by fetch (it came with an AXI error), or none of whose frames exist, is counted without being
// executed and waits for nothing. A record with an unknown opcode or impossible `slots` waits, and is then counted without
// being executed. Both pass through the list of commands in flight, so that counts stay in order.
//
// When tracing, a record stays until it is counted, behind its copy.
//
// `reset` empties the queue. QUEUE  number of the queue; WRITE_SETTLE  2 or more
`default_nettype none

module dispatcher_queue
  import config_pkg::*;
#(
    parameter int QUEUE = 0,
    parameter int WRITE_SETTLE = 8
) (
    input wire logic clk,
    input wire logic reset,
    input wire logic trace_enable,

    // Record as dispatcher_fetch leaves it; beats 6, 7, 0 to 5
    output var  logic         wanted,      // until `taken`
    input  wire logic         taken,
    input  wire logic         load_valid,
    input  wire logic [2:0]   load_beat,
    input  wire logic [127:0] load_data,
    output var  logic         freed,       // the record is of no use any more

    // Completed instructions
    input  wire logic [QUEUES-1:0][15:0] counts,
    output var  logic                    finish,    // count one
    output var  logic                    executed,  // it was executed; not when tracing, but in STORE
    output var  logic                    finished,  // everything given out and counted

    // Engine
    output var  logic                 command_valid,
    input  wire logic                 command_ready,
    output var  instruction_t         command,
    output var  logic [SLOT_BITS-1:0] command_slot,    // 0 for LOAD_WEIGHTS
    output var  logic                 command_retain,
    output var  logic [31:0]          command_offset,  // INPUT, STORE: word of the frame in its buffer; else 0
    input  wire logic [31:0]          frame_words,     // INPUT, STORE: words of a frame
    input  wire logic                 done,

    // Trace: `copied` answers `copy`
    output var  logic copy,
    input  wire logic copied,

    output var logic unknown,  // pulse: opcode or slots
    output var logic busy,     // a command is with the engine
    output var logic waiting   // a record is here and must wait
);

  localparam bit PerSlot = QUEUE != QUEUE_WEIGHTS && QUEUE != QUEUE_HEAD;
  localparam bit Traced = PerSlot && QUEUE != QUEUE_STORE;
  localparam bit Framed = QUEUE == QUEUE_INPUT || QUEUE == QUEUE_STORE;
  localparam int Settle = Traced ? WRITE_SETTLE : 2;
  localparam int Flights = 16;  // commands in flight
  localparam logic [7:0] Opcode =
      QUEUE == QUEUE_INPUT ? OP_LOAD_INPUT :
      QUEUE == QUEUE_ARRAY ? OP_CONV :
      QUEUE == QUEUE_DEPTHWISE ? OP_DEPTHWISE :
      QUEUE == QUEUE_ELTWISE ? OP_ELTWISE :
      QUEUE == QUEUE_ATTENTION ? OP_ATTENTION :
      QUEUE == QUEUE_MLP ? OP_POOL :
      QUEUE == QUEUE_STORE ? OP_STORE : OP_LOAD_WEIGHTS;

  logic push;  // the record is given out or skipped
  logic advance;  // ... and no longer needed

  // Stage. Its last beat comes when the comparison with the counts is long done.
  logic [1023:0] stage;
  logic stage_valid, load_end;
  assign load_end = load_valid && load_beat == 3'd5;
  for (genvar b = 0; b < 8; b++) begin : gen_stage
    localparam logic [2:0] Beat = 3'(b);
    always_ff @(posedge clk) begin
      if (load_valid && load_beat == Beat) stage[128*b+:128] <= load_data;
    end
  end

  always_ff @(posedge clk) begin
    if (reset) begin
      stage_valid <= 1'b0;
      wanted <= 1'b1;
      freed <= 1'b0;
    end else begin
      stage_valid <= load_end || (stage_valid && !advance);
      wanted <= advance || (wanted && !taken);
      freed <= advance;
    end
  end

  // Fields that fetch prepared: bits of wait_mask from 9 on; next_queue and spare are for trace.
  instruction_t record;
  logic [3:0] present;
  logic last, last_record, bad;
  assign record = stage;
  assign {present, bad, last_record, last} = record.wait_mask[15:9];

  // Slots
  logic [SLOTS-1:0] slots;
  logic possible, exists;
  assign slots = record.slots[SLOTS-1:0];
  if (PerSlot) begin : gen_one
    assign possible = record.slots[7:SLOTS] == '0 && slots != '0 && (slots & (slots - 1'b1)) == '0;
  end else begin : gen_some
    assign possible = record.slots[7:SLOTS] == '0 && slots != '0;
  end
  assign exists = (slots & present[SLOTS-1:0]) != '0;

  function automatic logic [SLOT_BITS-1:0] index(input logic [SLOTS-1:0] one_hot);
    index = '0;
    for (int s = 1; s < SLOTS; s++) if (one_hot[s]) index |= SLOT_BITS'(s);
  endfunction

  // Waits
  logic [QUEUES-1:0] met;
  for (genvar e = 0; e < QUEUES; e++) begin : gen_wait
    logic [15:0] count, needed;
    logic ahead;  // count - needed is not negative, modulo 2^16
    assign count  = counts[e];
    assign needed = record.waits[16*e+:16];
    assign ahead  = (count[14:0] >= needed[14:0]) == (count[15] == needed[15]);
    always_ff @(posedge clk) met[e] <= ahead || !record.wait_mask[e];
  end

  // Issue
  typedef enum logic [1:0] {
    Issue,
    Run,  // only in trace mode: until the command has settled
    Copy
  } phase_t;

  phase_t phase;
  logic all_met, known, drop, free, full, push_skip, push_command;
  assign all_met = met == '1;
  always_ff @(posedge clk) begin
    known <= ENGINES[QUEUE] && possible && (record.opcode == Opcode ||
        (QUEUE == QUEUE_MLP && (record.opcode == OP_LINEAR || record.opcode == OP_LAYER_NORM)));
    drop <= bad || (possible && !exists);
  end
  assign free = stage_valid && phase == Issue && !full;
  assign push_skip = free && (drop || (all_met && !known));
  assign push_command = free && !drop && all_met && known && !command_valid;
  assign push = push_skip || push_command;
  assign unknown = push_skip && !drop;

  // Command: follows the stage until it is offered.
  instruction_t held;
  always_ff @(posedge clk) begin
    if (reset) command_valid <= 1'b0;
    else command_valid <= command_valid ? !command_ready : push_command;
    if (!command_valid) held <= record;
  end
  always_comb begin
    command = held;
    command.waits = '0;
    command.wait_mask = '0;
    command.next_queue = '0;
    command.spare = '0;
  end
  assign command_slot   = PerSlot ? index(held.slots[SLOTS-1:0]) : '0;
  assign command_retain = held.flags[FLAG_RETAIN];

  // In flight, in order: 1 for what was skipped. `dones` came and are not yet taken from the list.
  logic flight[Flights];
  logic [4:0] flight_write, flight_read, dones, running;
  logic flying, pop, front_skip;
  assign front_skip = flight[flight_read[3:0]];
  assign flying = flight_write != flight_read;
  assign full = flight_write[3:0] == flight_read[3:0] && flight_write[4] != flight_read[4];
  assign pop = flying && (front_skip || dones != '0);

  always_ff @(posedge clk) begin
    if (push) flight[flight_write[3:0]] <= push_skip;
  end

  logic accept;
  assign accept = command_valid && command_ready;
  always_ff @(posedge clk) begin
    if (reset) begin
      flight_write <= '0;
      flight_read <= '0;
      dones <= '0;
      running <= '0;
    end else begin
      if (push) flight_write <= flight_write + 5'd1;
      if (pop) flight_read <= flight_read + 5'd1;
      if (done && !(pop && !front_skip)) dones <= dones + 5'd1;
      if (!done && pop && !front_skip) dones <= dones - 5'd1;
      if (accept && !done) running <= running + 5'd1;
      if (!accept && done) running <= running - 5'd1;
    end
  end

  // Settle: done 1 + delay line
  localparam int Delay = Settle - 2;
  logic settled, settled_skip, settling;
  if (Delay == 0) begin : gen_direct
    assign {settled, settled_skip, settling} = {pop, front_skip, 1'b0};
  end else begin : gen_delay
    logic [Delay-1:0] valid, skip;
    assign settled = valid[Delay-1];
    assign settled_skip = skip[Delay-1];
    assign settling = valid != '0;
    always_ff @(posedge clk) begin
      if (reset) valid <= '0;
      else valid <= Delay'({valid, pop});
      skip <= Delay'({skip, front_skip});
    end
  end

  // Count; when tracing, after the copy, and only then go on
  assign copy = Traced && phase == Copy;
  assign finish = (settled && (!trace_enable || !Traced || settled_skip)) || (copy && copied);
  assign executed = settled && !settled_skip;
  assign advance = trace_enable ? finish : push;

  logic all_issued;
  always_ff @(posedge clk) begin
    if (reset) begin
      phase <= Issue;
      all_issued <= 1'b0;
      finished <= 1'b0;
    end else begin
      if (advance) begin
        phase <= Issue;
        if (last_record) all_issued <= 1'b1;
      end else if (trace_enable) begin
        if (push) phase <= Run;
        if (phase == Run && settled) phase <= Copy;
      end
      finished <= all_issued && !flying && !settling;
    end
  end

  // Offset of each slot's frame: those of a group are added up while its first record loads.
  if (Framed) begin : gen_offset
    logic fresh;
    logic [31:0] next_offset;
    logic [SLOTS-1:0][31:0] offset;
    localparam logic [2:0] Slots = 3'(SLOTS);
    always_ff @(posedge clk) begin
      if (reset) begin
        fresh <= 1'b1;
        next_offset <= '0;
      end else begin
        fresh <= (advance && last) || (fresh && !load_end);
        if (fresh && load_valid && load_beat < Slots) next_offset <= next_offset + frame_words;
      end
      if (!command_valid) command_offset <= offset[index(slots)];
    end
    for (genvar s = 0; s < SLOTS; s++) begin : gen_slot
      localparam logic [2:0] Beat = 3'(s);
      always_ff @(posedge clk) begin
        if (fresh && load_valid && load_beat == Beat) offset[s] <= next_offset;
      end
    end
  end else begin : gen_no_offset
    logic unused;
    assign command_offset = '0;
    assign unused = &{1'b0, frame_words, last};
  end

  always_ff @(posedge clk) begin
    busy <= !reset && running != '0;
    waiting <= !reset && free && !command_valid && !drop && !all_met;
  end

  logic unused_bits;
  assign unused_bits = &{1'b0, present, held, record};

endmodule

`default_nettype wire
