// SPDX-License-Identifier: Apache-2.0
// Sends finished instructions to the trace input of the store engine, one after the other, lowest queue first.
//
//   copy --> choose --> record of that queue again --> fields of y, frame --> frame * trace_words, one bit a cycle
//                         --> trace_valid --> trace_done --> copied
//
// Latency, copy to trace_valid: choose 1 + record 10 (more while others load) + frame 1 + bits of the frame number (0 to
// 32). trace_command holds only what says where y lies: y_*, trace; every other field is 0.
`default_nettype none

module dispatcher_trace
  import config_pkg::*;
(
    input wire logic clk,
    input wire logic reset,

    input wire logic [31:0] frames,
    input wire logic [31:0] trace_words, // of a frame

    // Queues: `copy` stays until `copied`
    input  wire logic [QUEUES-1:0] copy,
    output var  logic [QUEUES-1:0] copied,

    // The record, from dispatcher_records
    output var  logic [QUEUES-1:0] again,  // until `again_taken`
    input  wire logic              again_taken,
    input  wire logic              again_valid,
    input  wire logic [2:0]        load_beat,
    input  wire logic [127:0]      load_data,

    // Store engine
    output var  logic                 trace_valid,
    input  wire logic                 trace_ready,
    output var  instruction_t         trace_command,
    output var  logic [SLOT_BITS-1:0] trace_slot,
    output var  logic [31:0]          trace_offset,
    input  wire logic                 trace_done
);

  typedef enum logic [2:0] {
    Choose,
    Ask,
    Load,
    Frame,
    Multiply,
    Offer,
    Wait
  } state_t;

  state_t state;
  logic [QUEUES-1:0] first, chosen;
  for (genvar q = 0; q < QUEUES; q++) begin : gen_first
    if (q == 0) begin : gen_lowest
      assign first[q] = copy[q];
    end else begin : gen_other
      assign first[q] = copy[q] && copy[q-1:0] == '0;
    end
  end

  // The record; next_queue and spare hold the frames left when its group began.
  instruction_t record;
  logic [1023:0] beats;
  logic [31:0] left;
  assign record = beats;
  assign left = {record.spare, record.next_queue};
  for (genvar b = 0; b < 8; b++) begin : gen_beat
    localparam logic [2:0] Beat = 3'(b);
    always_ff @(posedge clk) begin
      if (again_valid && load_beat == Beat) beats[128*b+:128] <= load_data;
    end
  end

  instruction_t fields;
  always_comb begin
    trace_slot = '0;
    for (int s = 1; s < SLOTS; s++) if (record.slots[s]) trace_slot |= SLOT_BITS'(s);
    fields = '0;
    fields.y_pad = record.y_pad;
    fields.y_base = record.y_base;
    fields.y_plane = record.y_plane;
    fields.y_width = record.y_width;
    fields.y_ring = record.y_ring;
    fields.y_groups = record.y_groups;
    fields.y_group0 = record.y_group0;
    fields.y_row0 = record.y_row0;
    fields.y_rows = record.y_rows;
    fields.y_cols = record.y_cols;
    fields.y_slot = record.y_slot;
    fields.y_height = record.y_height;
    fields.trace = record.trace;
  end

  logic [31:0] frame, term;
  assign trace_command = fields;
  assign again = state == Ask ? chosen : '0;
  assign trace_valid = state == Offer;
  assign copied = state == Wait && trace_done ? chosen : '0;

  always_ff @(posedge clk) begin
    case (state)
      Choose: begin
        chosen <= first;
        if (copy != '0) state <= Ask;
      end
      Ask: if (again_taken) state <= Load;
      Load: if (again_valid && load_beat == 3'd5) state <= Frame;
      Frame: begin
        trace_offset <= '0;
        frame <= frames - left + 32'(trace_slot);
        term <= trace_words;
        state <= Multiply;
      end
      Multiply: begin
        frame <= frame >> 1;
        term  <= term << 1;
        if (frame[0]) trace_offset <= trace_offset + term;
        if (frame == '0) state <= Offer;
      end
      Offer: if (trace_ready) state <= Wait;
      default: if (trace_done) state <= Choose;
    endcase
    if (reset) state <= Choose;
  end

  // Only the fields above are used.
  logic unused;
  assign unused = &{1'b0, record};

endmodule

`default_nettype wire
