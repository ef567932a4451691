// SPDX-License-Identifier: Apache-2.0
// One command queue of the dispatcher: holds fetched records, waits, gives the record to its engine once for each slot.
//
//   beats --> FIFO (LUT RAM) --> head --> compare with counts --> command_valid --> engine
//                                 |                                                   | done
//                                 +--> trace copy <-- delay WRITE_SETTLE <-- slots of the commands in flight
//                                          +--> finish (counted in dispatcher)
//
// Latency: counts to command_valid: compare 1 + and 1 = 2; slot to slot: 3; from the last command of a record to the next
// record's: FIFO 8 + valid 1 = 9 (the sync fields are loaded first, so the compare is hidden). done to the new count:
// WRITE_SETTLE for engines that write pads or the vector memory, else 2.
//
// A record that is marked bad by fetch (it came with an AXI error), or whose frame does not exist, is counted without
// being executed and waits for nothing. A record with an unknown opcode waits, and is then counted without being executed.
// Both pass through the list of commands in flight, so that counts stay in order.
//
// `reset` empties the queue. QUEUE  number of the queue; WRITE_SETTLE  2 or more; RECORDS  of the FIFO, 2 to 4, power of two
`default_nettype none

module dispatcher_queue
  import config_pkg::*;
#(
    parameter int QUEUE = 0,
    parameter int WRITE_SETTLE = 8,
    parameter int RECORDS = 4
) (
    input wire logic clk,
    input wire logic reset,
    input wire logic trace_enable,

    // Beats of records, in order, as fetch hands them over (see dispatcher_fetch)
    input  wire logic         record_valid,
    input  wire logic [2:0]   record_beat,
    input  wire logic [127:0] record_data,
    output var  logic         record_freed,  // room for one more

    // Completed instructions
    input  wire logic [QUEUES-1:0][SLOTS-1:0][15:0] counts,
    output var  logic                               finish,        // count one
    output var  logic [SLOT_BITS-1:0]               finish_slot,
    output var  logic                               finish_frame,  // it was the last of its frame, which exists
    output var  logic                               finished,      // everything given out and counted

    // Engine
    output var  logic                 command_valid,
    input  wire logic                 command_ready,
    output var  instruction_t         command,
    output var  logic [SLOT_BITS-1:0] command_slot,
    output var  logic                 command_retain,
    output var  logic [31:0]          command_offset,  // INPUT, STORE: word of the frame in its buffer; else 0
    input  wire logic [31:0]          frame_words,     // INPUT, STORE: words of a frame
    input  wire logic                 done,

    // Trace: `copied` answers `copy`
    output var  logic        copy,
    input  wire logic        copied,
    output var  logic [31:0] frames_left,  // when the group began

    output var logic unknown,  // pulse: opcode
    output var logic busy,     // a command is with the engine
    output var logic waiting   // a record is here and must wait
);

  localparam bit PerSlot = QUEUE != QUEUE_WEIGHTS && QUEUE != QUEUE_HEAD;
  localparam bit Traced = PerSlot && QUEUE != QUEUE_STORE;
  localparam bit Framed = QUEUE == QUEUE_INPUT || QUEUE == QUEUE_STORE;
  localparam int Settle = Traced ? WRITE_SETTLE : 2;
  localparam int RecordBits = $clog2(RECORDS);
  localparam int Flights = 16;  // commands in flight
  localparam logic [SLOT_BITS-1:0] LastSlot = PerSlot ? SLOT_BITS'(SLOTS - 1) : '0;
  localparam logic [7:0] Opcode =
      QUEUE == QUEUE_INPUT ? OP_LOAD_INPUT :
      QUEUE == QUEUE_ARRAY ? OP_CONV :
      QUEUE == QUEUE_DEPTHWISE ? OP_DEPTHWISE :
      QUEUE == QUEUE_ELTWISE ? OP_ELTWISE :
      QUEUE == QUEUE_ATTENTION ? OP_ATTENTION :
      QUEUE == QUEUE_MLP ? OP_POOL :
      QUEUE == QUEUE_STORE ? OP_STORE : OP_LOAD_WEIGHTS;

  logic advance;  // the head's instruction is given out for this slot
  logic release_head;  // ... and for all slots
  logic [SLOT_BITS-1:0] slot;

  // FIFO of records. The head is loaded from beat 6 on, where the sync fields begin.
  logic [127:0] records[RECORDS*8];
  logic [RecordBits-1:0] write_record, read_record;
  logic [RecordBits:0] level;
  logic loading, arrived;
  logic [2:0] beat;
  logic [127:0] beat_data;
  assign arrived = record_valid && record_beat == 3'd7;
  assign beat_data = records[{read_record, beat}];

  always_ff @(posedge clk) begin
    if (record_valid) records[{write_record, record_beat}] <= record_data;
  end

  // Head
  logic [1023:0] head;
  logic head_valid, sync_valid;
  for (genvar b = 0; b < 8; b++) begin : gen_head
    localparam logic [2:0] Beat = 3'(b);
    always_ff @(posedge clk) begin
      if (loading && beat == Beat) head[128*b+:128] <= beat_data;
    end
  end

  always_ff @(posedge clk) begin
    if (reset) begin
      write_record <= '0;
      read_record  <= '0;
      level        <= '0;
      loading      <= 1'b0;
      head_valid   <= 1'b0;
      sync_valid   <= 1'b0;
      beat         <= 3'd6;
      record_freed <= 1'b0;
    end else begin
      record_freed <= 1'b0;
      if (arrived) write_record <= write_record + 1'b1;
      if (arrived && !record_freed) level <= level + 1'b1;
      if (!arrived && record_freed) level <= level - 1'b1;
      if (release_head) begin
        head_valid <= 1'b0;
        sync_valid <= 1'b0;
      end
      if (loading) begin
        beat <= beat + 3'd1;
        if (beat == 3'd7) sync_valid <= 1'b1;
        if (beat == 3'd5) begin
          loading      <= 1'b0;
          head_valid   <= 1'b1;
          read_record  <= read_record + 1'b1;
          record_freed <= 1'b1;
        end
      end else if ((!head_valid || release_head) && level != '0 && !record_freed) begin
        loading <= 1'b1;
        beat    <= 3'd6;
      end
    end
  end

  // Fields that fetch prepared: bits of wait_mask from 9 on, and in place of next_queue and spare the frames left.
  instruction_t instruction;
  logic [3:0] present;
  logic last, last_record, bad;
  assign instruction = head;
  assign {present, bad, last_record, last} = instruction.wait_mask[15:9];
  logic [SLOTS-1:0] slots_present;
  logic unused_present;
  assign slots_present = present[SLOTS-1:0];
  assign unused_present = &{1'b0, present};
  assign frames_left = {instruction.spare, instruction.next_queue};

  always_comb begin
    command = instruction;
    command.waits = '0;
    command.wait_mask = '0;
    command.next_queue = '0;
    command.spare = '0;
  end
  assign command_slot   = slot;
  assign command_retain = instruction.flags[FLAG_RETAIN] || slot != '0;

  // Waits
  logic [QUEUES-1:0] met;
  for (genvar e = 0; e < QUEUES; e++) begin : gen_wait
    logic ahead;
    if (PerSlot) begin : gen_slot
      logic [15:0] distance;
      logic unused;
      assign distance = counts[e][slot] - instruction.waits[16*e+:16];
      assign ahead = !distance[15];
      assign unused = &{1'b0, distance[14:0]};
    end else begin : gen_all
      logic [SLOTS-1:0] short_of;
      for (genvar s = 0; s < SLOTS; s++) begin : gen_slot
        logic [15:0] distance;
        logic unused;
        assign distance = counts[e][s] - instruction.waits[16*e+:16];
        assign short_of[s] = distance[15];
        assign unused = &{1'b0, distance[14:0]};
      end
      assign ahead = short_of == '0;
    end
    always_ff @(posedge clk) begin
      met[e] <= !reset && sync_valid && !advance && (ahead || !instruction.wait_mask[e]);
    end
  end

  // Issue
  typedef enum logic [1:0] {
    Issue,
    Run,  // only in trace mode: until the command has settled
    Copy
  } phase_t;

  phase_t phase;
  logic all_met, known, drop, free, full, push, push_skip;
  logic [4:0] flying;  // given out, not counted
  assign all_met = met == '1;
  assign known = ENGINES[QUEUE] && (instruction.opcode == Opcode ||
      (QUEUE == QUEUE_MLP && (instruction.opcode == OP_LINEAR || instruction.opcode == OP_LAYER_NORM)));
  assign drop = bad || !slots_present[slot];
  assign full = flying[4];
  assign free = head_valid && phase == Issue && !full && !command_valid;
  assign push_skip = free && (drop || (all_met && !known));
  assign push = push_skip || (command_valid && command_ready);
  assign unknown = push_skip && !drop;

  always_ff @(posedge clk) begin
    if (reset) command_valid <= 1'b0;
    else if (command_valid) command_valid <= !command_ready;
    else command_valid <= free && all_met && known && !drop;
  end

  // Commands in flight, in order
  logic [SLOT_BITS+1:0] flight[Flights];
  logic [4:0] flight_write, flight_read, dones;
  logic pop, front_skip, front_last;
  logic [SLOT_BITS-1:0] front_slot;
  assign {front_skip, front_last, front_slot} = flight[flight_read[3:0]];
  assign pop = flight_write != flight_read && (front_skip || dones != '0);

  always_ff @(posedge clk) begin
    if (push) flight[flight_write[3:0]] <= {push_skip, last, slot};
  end

  always_ff @(posedge clk) begin
    if (reset) begin
      flight_write <= '0;
      flight_read <= '0;
      dones <= '0;
      flying <= '0;
    end else begin
      if (push) flight_write <= flight_write + 5'd1;
      if (pop) flight_read <= flight_read + 5'd1;
      if (done && !(pop && !front_skip)) dones <= dones + 5'd1;
      if (!done && pop && !front_skip) dones <= dones - 5'd1;
      if (push && !finish) flying <= flying + 5'd1;
      if (!push && finish) flying <= flying - 5'd1;
    end
  end

  // Settle: done 1 + delay line
  localparam int Delay = Settle - 2;
  localparam int Entry = SLOT_BITS + 2;
  logic settled, settled_skip, settled_last;
  logic [SLOT_BITS-1:0] settled_slot;
  if (Delay == 0) begin : gen_direct
    assign {settled, settled_skip, settled_last, settled_slot} = {pop, front_skip, front_last, front_slot};
  end else begin : gen_delay
    logic [Delay-1:0] valid;
    logic [Delay*Entry-1:0] line;
    assign settled = valid[Delay-1];
    assign {settled_skip, settled_last, settled_slot} = line[(Delay-1)*Entry+:Entry];
    always_ff @(posedge clk) begin
      if (reset) valid <= '0;
      else valid <= Delay'({valid, pop});
      line <= (Delay * Entry)'({line, front_skip, front_last, front_slot});
    end
  end

  // Count; when tracing, after the copy, and only then go on
  logic plain;
  assign plain = settled && (!trace_enable || !Traced || settled_skip);
  assign copy = phase == Copy;
  assign finish = plain || (copy && copied);
  assign finish_slot = trace_enable ? slot : settled_slot;
  assign finish_frame = settled && settled_last && !settled_skip;
  assign advance = trace_enable ? finish : push;
  assign release_head = advance && slot == LastSlot;

  logic all_issued;
  always_ff @(posedge clk) begin
    if (reset) begin
      phase <= Issue;
      slot <= '0;
      all_issued <= 1'b0;
      finished <= 1'b0;
    end else begin
      if (advance) begin
        phase <= Issue;
        slot  <= slot == LastSlot ? '0 : slot + 1'b1;
        if (slot == LastSlot && last_record) all_issued <= 1'b1;
      end else if (trace_enable) begin
        if (push) phase <= Run;
        if (phase == Run && settled) phase <= Copy;
      end
      finished <= all_issued && flying == '0;
    end
  end

  // Offset of the frame: goes on with every slot, back to the group's first frame with every instruction but the last.
  if (Framed) begin : gen_offset
    logic [31:0] group_offset, next_offset;
    assign next_offset = command_offset + frame_words;
    always_ff @(posedge clk) begin
      if (reset) begin
        group_offset   <= '0;
        command_offset <= '0;
      end else if (advance) begin
        if (slot == LastSlot && last) group_offset <= next_offset;
        command_offset <= slot == LastSlot && !last ? group_offset : next_offset;
      end
    end
  end else begin : gen_no_offset
    logic unused;
    assign command_offset = '0;
    assign unused = &{1'b0, frame_words};
  end

  always_ff @(posedge clk) begin
    busy <= !reset && flight_write != flight_read;
    waiting <= !reset && free && !drop && !all_met;
  end

endmodule

`default_nettype wire
