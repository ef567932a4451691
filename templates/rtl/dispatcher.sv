// SPDX-License-Identifier: Apache-2.0
// Runs a Program: reads header and instructions, and gives each instruction to its engine when what it waits for is done.
//
//   start --> dispatcher_fetch --> dispatcher_records --> QUEUES x dispatcher_queue --> command --> engines
//                                                |            ^      |    ^                            |
//                                                |            |      |    +------------- done ---------+
//                                                |            |      +--> finish --> counts[queue] --+
//                                                |            +--------------------------------------+
//                                                +--> dispatcher_trace --> trace input of the store engine
//
// Latency: start to the first command about 60 cycles plus two reads; done to the command of another queue that waits for
// it: WRITE_SETTLE (engines that write pads or the vector memory, else 2) + 2. Commands of one queue: dispatcher_queue.sv.
//
// `start` counts only while `idle`; program_address, frames and trace_enable must then stay until `done`, a pulse. `error`
// (docs/machine.md) keeps its bits until the next start. After 2^WATCHDOG_BITS cycles in which nothing was fetched and
// nothing done, `halt` goes up: from the third cycle on no more commands and requests. When `axi_idle` is high (looked at
// after 16 cycles), or after 2^WATCHDOG_BITS cycles more, `abort_engines` is high for one cycle, to reset engines and read
// clients; then come `halt` low and `done`.
//
// frames_done counts STOREs that are executed and done: a frame has one. queue_busy: cycles with a command in the engine.
// queue_waiting: cycles with a record whose waits are not met, and no command offered. All counters start with a run.
//
// WRITE_SETTLE  cycles from `done` until what was written can be read; WATCHDOG_BITS  see above; RECORDS  fetched ahead, 2 or 4
`default_nettype none

module dispatcher
  import config_pkg::*;
#(
    parameter int WRITE_SETTLE = 8,
    parameter int WATCHDOG_BITS = 20,
    parameter int RECORDS = 4
) (
    input wire logic clk,
    input wire logic reset,

    // Control
    input  wire logic                    start,
    input  wire logic [63:0]             program_address,
    input  wire logic [31:0]             frames,
    input  wire logic                    trace_enable,
    output var  logic                    done,
    output var  logic                    idle,
    output var  logic [6:0]              error,
    output var  logic [31:0]             cycles,
    output var  logic [31:0]             frames_done,
    output var  logic [QUEUES-1:0][31:0] queue_busy,
    output var  logic [QUEUES-1:0][31:0] queue_waiting,

    // Header
    output var logic [31:0] weight_bytes,
    output var logic [31:0] input_words,
    output var logic [31:0] output_words,

    // Read client
    output var  logic         read_valid,
    input  wire logic         read_ready,
    output var  logic [63:0]  read_address,
    output var  logic [7:0]   read_beats,
    input  wire logic         data_valid,
    input  wire logic [127:0] data,
    input  wire logic         data_error,

    // Engines
    output var  logic         [QUEUES-1:0]                command_valid,
    input  wire logic         [QUEUES-1:0]                command_ready,
    output var  instruction_t [QUEUES-1:0]                command,
    output var  logic         [QUEUES-1:0][SLOT_BITS-1:0] command_slot,
    output var  logic         [QUEUES-1:0]                command_retain,
    output var  logic         [31:0]                      input_offset,   // command_offset of INPUT
    output var  logic         [31:0]                      store_offset,   // ... of STORE
    input  wire logic         [QUEUES-1:0]                command_done,   // a pulse for each command, in order

    // Trace input of the store engine
    output var  logic                 trace_valid,
    input  wire logic                 trace_ready,
    output var  instruction_t         trace_command,
    output var  logic [SLOT_BITS-1:0] trace_slot,
    output var  logic [31:0]          trace_offset,
    input  wire logic                 trace_done,

    // Error pulses, bits 2 to 5
    input wire logic error_memory,
    input wire logic error_bounds,
    input wire logic error_read,
    input wire logic error_write,

    // Stop
    output var  logic halt,
    output var  logic abort_engines,
    input  wire logic axi_idle
);

  typedef enum logic [2:0] {
    Idle,
    Header,
    Run,
    Halt,
    Abort,
    Finish
  } state_t;

  state_t state;
  logic accept, hold;  // hold: queues empty and quiet
  logic header_valid, header_failed, header_wrong, header_counts, fetch_failed, fetch_progress;
  logic [31:0] trace_words;
  logic [QUEUES-1:0] empty, finish, executed, finished, unknown, busy, waiting, copy, copied;
  logic all_finished, progress, late;
  logic [WATCHDOG_BITS:0] quiet;

  assign accept = state == Idle && start;
  assign idle = state == Idle;
  assign halt = state == Halt || state == Abort;
  assign abort_engines = state == Abort;
  assign done = state == Finish;

  always_ff @(posedge clk) begin
    hold <= reset || !(state == Header || state == Run);
    all_finished <= (finished | empty) == '1;
    case (state)
      Idle: if (start) state <= frames == '0 ? Finish : Header;
      Header: begin
        if (header_valid) state <= header_failed || header_wrong || header_counts ? Finish : Run;
        else if (late) state <= Halt;
      end
      Run: begin
        if (all_finished) state <= Finish;
        else if (late) state <= Halt;
      end
      Halt: if ((axi_idle && quiet[WATCHDOG_BITS-1:4] != '0) || late) state <= Abort;
      Abort: state <= Finish;
      default: state <= Idle;
    endcase
    if (reset) state <= Idle;
  end

  // Watchdog
  assign late = quiet[WATCHDOG_BITS];
  always_ff @(posedge clk) begin
    progress <= command_done != '0 || fetch_progress || trace_done;
    if (state == Idle || late || (progress && state != Halt)) quiet <= '0;
    else quiet <= quiet + 1'b1;
  end

  // Errors
  logic failed;  // of the header
  assign failed = state == Header && header_valid;
  always_ff @(posedge clk) begin
    if (reset || accept) begin
      error <= '0;
    end else begin
      if (failed && header_wrong && !header_failed) error[0] <= 1'b1;
      if (unknown != '0) error[1] <= 1'b1;
      if (error_memory) error[2] <= 1'b1;
      if (error_bounds || (failed && header_counts && !header_failed && !header_wrong)) error[3] <= 1'b1;
      if (error_read || fetch_failed || (failed && header_failed)) error[4] <= 1'b1;
      if (error_write) error[5] <= 1'b1;
      if (late && (state == Header || state == Run)) error[6] <= 1'b1;
    end
  end

  // Counters
  always_ff @(posedge clk) begin
    if (reset || accept) begin
      cycles <= '0;
      frames_done <= '0;
    end else begin
      if (state != Idle) cycles <= cycles + 32'd1;
      if (executed[QUEUE_STORE]) frames_done <= frames_done + 32'd1;
    end
  end
  for (genvar q = 0; q < QUEUES; q++) begin : gen_counter
    always_ff @(posedge clk) begin
      if (reset || accept) begin
        queue_busy[q] <= '0;
        queue_waiting[q] <= '0;
      end else begin
        if (busy[q]) queue_busy[q] <= queue_busy[q] + 32'd1;
        if (waiting[q]) queue_waiting[q] <= queue_waiting[q] + 32'd1;
      end
    end
  end

  // Fetch
  logic record_valid;
  logic [QUEUES-1:0] record_freed;
  logic [3:0] record_queue;
  logic [2:0] record_beat;
  logic [127:0] record_data;
  dispatcher_fetch #(
      .RECORDS(RECORDS)
  ) u_fetch (
      .clk,
      .reset(reset || halt),
      .start(accept && frames != '0),
      .program_address,
      .frames,
      .header_valid,
      .header_failed,
      .header_wrong,
      .header_counts,
      .weight_bytes,
      .input_words,
      .output_words,
      .trace_words,
      .empty,
      .read_valid,
      .read_ready,
      .read_address,
      .read_beats,
      .data_valid,
      .data,
      .data_error,
      .record_valid,
      .record_queue,
      .record_beat,
      .record_data,
      .record_freed,
      .failed(fetch_failed),
      .progress(fetch_progress)
  );

  logic [QUEUES-1:0] wanted, taken, load_valid, again;
  logic again_taken, again_valid;
  logic [2:0] load_beat;
  logic [127:0] load_data;
  dispatcher_records #(
      .RECORDS(RECORDS)
  ) u_records (
      .clk,
      .reset(hold),
      .record_valid,
      .record_queue,
      .record_beat,
      .record_data,
      .wanted,
      .taken,
      .load_valid,
      .load_beat,
      .load_data,
      .again,
      .again_taken,
      .again_valid
  );

  // Queues
  logic [QUEUES-1:0][15:0] counts;
  logic [QUEUES-1:0][31:0] command_offset;
  logic [1024*QUEUES-1:0] commands;
  assign {command} = commands;
  assign input_offset = command_offset[QUEUE_INPUT];
  assign store_offset = command_offset[QUEUE_STORE];

  for (genvar q = 0; q < QUEUES; q++) begin : gen_queue
    always_ff @(posedge clk) begin
      if (hold) counts[q] <= '0;
      else if (finish[q]) counts[q] <= counts[q] + 16'd1;
    end

    dispatcher_queue #(
        .QUEUE(q),
        .WRITE_SETTLE(WRITE_SETTLE)
    ) u_queue (
        .clk,
        .reset(hold),
        .trace_enable,
        .wanted(wanted[q]),
        .taken(taken[q]),
        .load_valid(load_valid[q]),
        .load_beat,
        .load_data,
        .freed(record_freed[q]),
        .counts,
        .finish(finish[q]),
        .executed(executed[q]),
        .finished(finished[q]),
        .command_valid(command_valid[q]),
        .command_ready(command_ready[q]),
        .command(commands[1024*q+:1024]),
        .command_slot(command_slot[q]),
        .command_retain(command_retain[q]),
        .command_offset(command_offset[q]),
        .frame_words(q == QUEUE_INPUT ? input_words : output_words),
        .done(command_done[q]),
        .copy(copy[q]),
        .copied(copied[q]),
        .unknown(unknown[q]),
        .busy(busy[q]),
        .waiting(waiting[q])
    );
  end

  dispatcher_trace u_trace (
      .clk,
      .reset(hold),
      .frames,
      .trace_words,
      .copy,
      .copied,
      .again,
      .again_taken,
      .again_valid,
      .load_beat,
      .load_data,
      .trace_valid,
      .trace_ready,
      .trace_command,
      .trace_slot,
      .trace_offset,
      .trace_done
  );

  logic unused;
  assign unused = &{1'b0, executed, command_offset};

endmodule

`default_nettype wire
