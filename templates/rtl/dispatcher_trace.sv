// SPDX-License-Identifier: Apache-2.0
// Sends finished instructions to the trace input of the store engine, one after the other, lowest queue first.
//
//   copy --> choose --> fields of y, frame --> frame * trace_words, one bit a cycle --> trace_valid --> trace_done --> copied
//
// Latency, copy to trace_valid: choose 1 + fields 1 + bits of the frame number (0 to 32). trace_command holds only what
// says where y lies: y_*, trace; every other field is 0.
`default_nettype none

module dispatcher_trace
  import config_pkg::*;
(
    input wire logic clk,
    input wire logic reset,

    input wire logic [31:0] frames,
    input wire logic [31:0] trace_words, // of a frame

    // Queues: `copy` stays until `copied`
    input  wire logic [QUEUES-1:0]                copy,
    output var  logic [QUEUES-1:0]                copied,
    input  wire logic [1024*QUEUES-1:0]           command,
    input  wire logic [QUEUES-1:0][SLOT_BITS-1:0] slot,
    input  wire logic [QUEUES-1:0][31:0]          frames_left,

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
    Fields,
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

  // And-or of the chosen queue's fields
  instruction_t record;
  instruction_t fields;
  logic [1023:0] picked;
  logic [SLOT_BITS-1:0] picked_slot;
  logic [31:0] left;
  assign record = picked;
  always_comb begin
    picked = '0;
    picked_slot = '0;
    left = '0;
    for (int q = 0; q < QUEUES; q++) begin
      if (chosen[q]) begin
        picked |= command[1024*q+:1024];
        picked_slot |= slot[q];
        left |= frames_left[q];
      end
    end
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
  assign trace_valid = state == Offer;
  assign copied = state == Wait && trace_done ? chosen : '0;

  always_ff @(posedge clk) begin
    case (state)
      Choose: begin
        chosen <= first;
        if (copy != '0) state <= Fields;
      end
      Fields: begin
        trace_command <= fields;
        trace_slot <= picked_slot;
        trace_offset <= '0;
        frame <= frames - left + 32'(picked_slot);
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
