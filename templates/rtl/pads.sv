// SPDX-License-Identifier: Apache-2.0
// The pads of all slots, and the ports of the engines to them.
//
//   window[*], window_slot -----> OR of each slot's clients --> pad_slot --> slot --------|8|--> window_words[*]
//   residual[*], residual_slot -> OR of each slot's clients --> pad_slot --> slot, class -|8|--> residual_words[*]
//   write[*], write_slot -------> OR of each slot's clients --> pad_slot
//
// Latency: pad_slot 7 + choice of the slot 1 = READ_LATENCY. One request a cycle of each kind in each slot: at most one client
// may be active in a slot (docs/machine.md), which the simulation checks. A write is seen by reads that are requested a
// cycle later. `error_address` is high for a cycle for each request outside a pad, some cycles after it.
//
// READERS, RESIDUALS, WRITERS  clients of each kind
// GROUPS                       of pads; window and residual of a cycle must be in different groups (pad_slot)
// NEEDED                       words of the window that each reader uses, 5 bits a reader; the others are 0
// WRITTEN                      words that each writer may write, 4 bits a writer; the others are taken for 0
`default_nettype none

module pads
  import config_pkg::*;
#(
    parameter int READERS = 1,
    parameter int RESIDUALS = 1,
    parameter int WRITERS = 1,
    parameter int GROUPS = PADS,
    parameter logic [5*READERS-1:0] NEEDED = {READERS{5'd16}},
    parameter logic [4*WRITERS-1:0] WRITTEN = {WRITERS{4'(WRITE_WORDS)}}
) (
    input  wire logic                                            clk,
    input  wire logic                                            reset,
    input  wire window_t   [READERS-1:0]                         window,
    input  wire logic      [READERS-1:0][SLOT_BITS-1:0]          window_slot,
    output var  word_t     [READERS-1:0][BANKS-1:0]              window_words,
    input  wire residual_t [RESIDUALS-1:0]                       residual,
    input  wire logic      [RESIDUALS-1:0][SLOT_BITS-1:0]        residual_slot,
    output var  word_t     [RESIDUALS-1:0][RESIDUAL_WORDS-1:0]   residual_words,
    input  wire write_t    [WRITERS-1:0]                         write,
    input  wire logic      [WRITERS-1:0][SLOT_BITS-1:0]          write_slot,
    output var  logic                                            error_address
);

  localparam int ClassBits = RESIDUAL_WORDS > 1 ? $clog2(RESIDUAL_WORDS) : 1;

  word_t [SLOTS-1:0][BANKS-1:0] words;  // after register 7
  word_t [SLOTS-1:0][RESIDUAL_WORDS-1:0] classes;  // of register 7
  logic [SLOTS-1:0][1:0] first;
  logic [SLOTS-1:0] error;

  window_t [SLOTS-1:0][READERS-1:0] own_window;
  residual_t [SLOTS-1:0][RESIDUALS-1:0] own_residual;
  write_t [SLOTS-1:0][WRITERS-1:0] own_write;
  window_t [SLOTS-1:0] slot_window;
  residual_t [SLOTS-1:0] slot_residual;
  write_t [SLOTS-1:0] slot_write;

`ifndef SYNTHESIS
  logic was_reset;  // what comes before is undefined
  initial was_reset = 1'b0;
  always_ff @(posedge clk) if (reset) was_reset <= 1'b1;
`endif

  for (genvar s = 0; s < SLOTS; s++) begin : gen_slot
    logic [READERS-1:0] readers;
    logic [RESIDUALS-1:0] residual_readers;
    logic [WRITERS-1:0] writers;

    for (genvar i = 0; i < READERS; i++) begin : gen_window
      window_t request;
      assign request = window[i];
      assign readers[i] = request.valid && 32'(window_slot[i]) == s;
      assign own_window[s][i] = request & {$bits(request) {readers[i]}};
    end
    for (genvar i = 0; i < RESIDUALS; i++) begin : gen_residual
      residual_t request;
      assign request = residual[i];
      assign residual_readers[i] = request.valid && 32'(residual_slot[i]) == s;
      assign own_residual[s][i] = request & {$bits(request) {residual_readers[i]}};
    end
    for (genvar i = 0; i < WRITERS; i++) begin : gen_write
      write_t request, used;
      assign request = write[i];
      assign writers[i] = request.valid && 32'(write_slot[i]) == s;
      always_comb begin
        used = request;
        for (int k = 0; k < WRITE_WORDS; k++) if (k >= 32'(WRITTEN[4*i+:4])) used.words[k] = '0;
      end
      assign own_write[s][i] = used & {$bits(used) {writers[i]}};
    end

    always_comb begin
      slot_window[s] = '0;
      slot_residual[s] = '0;
      slot_write[s] = '0;
      for (int i = 0; i < READERS; i++) slot_window[s] |= own_window[s][i];
      for (int i = 0; i < RESIDUALS; i++) slot_residual[s] |= own_residual[s][i];
      for (int i = 0; i < WRITERS; i++) slot_write[s] |= own_write[s][i];
    end

    pad_slot #(
        .GROUPS(GROUPS)
    ) u_slot (
        .clk,
        .reset,
        .window(slot_window[s]),
        .words(words[s]),
        .residual(slot_residual[s]),
        .residual_words(classes[s]),
        .residual_first(first[s]),
        .write(slot_write[s]),
        .error(error[s])
    );

`ifndef SYNTHESIS
    always_ff @(posedge clk) begin
      if (was_reset && !reset && ($countones(readers) > 1 || $countones(residual_readers) > 1 || $countones(writers) > 1)) begin
        $fatal(1, "two clients use slot %0d in one cycle", s);
      end
    end
`endif
  end

  always_ff @(posedge clk) error_address <= !reset && |error;

  // The slot of each request travels beside it.
  word_t [READERS-1:0][BANKS-1:0][SLOTS-1:0] window_of_slots;
  word_t [RESIDUALS-1:0][RESIDUAL_WORDS-1:0][SLOTS-1:0] residual_of_slots;
  for (genvar i = 0; i < READERS; i++) begin : gen_reader
    logic [SLOT_BITS-1:0] slot_6;
    (* max_fanout = 256 *) logic [SLOT_BITS-1:0] slot_7;
    logic [SLOT_BITS-1:0] index_7;
    assign index_7 = SLOTS > 1 ? slot_7 : '0;
    delay #(
        .WIDTH (SLOT_BITS),
        .CYCLES(6)
    ) u_slot_delay (
        .clk,
        .in (window_slot[i]),
        .out(slot_6)
    );
    always_ff @(posedge clk) slot_7 <= slot_6;

    for (genvar k = 0; k < BANKS; k++) begin : gen_word
      if (k < 32'(NEEDED[5*i+:5])) begin : gen_needed
        for (genvar s = 0; s < SLOTS; s++) begin : gen_of_slot
          assign window_of_slots[i][k][s] = words[s][k];
        end
        always_ff @(posedge clk) window_words[i][k] <= window_of_slots[i][k][index_7];
      end else begin : gen_unneeded
        assign window_words[i][k] = '0;
        assign window_of_slots[i][k] = '0;
        logic unused;
        assign unused = &{1'b0, window_of_slots[i][k]};
      end
    end
  end

  for (genvar i = 0; i < RESIDUALS; i++) begin : gen_residual_reader
    logic [SLOT_BITS-1:0] slot_6;
    (* max_fanout = 128 *) logic [SLOT_BITS-1:0] slot_7;
    logic [SLOT_BITS-1:0] index_7;
    assign index_7 = SLOTS > 1 ? slot_7 : '0;
    delay #(
        .WIDTH (SLOT_BITS),
        .CYCLES(6)
    ) u_slot_delay (
        .clk,
        .in (residual_slot[i]),
        .out(slot_6)
    );
    always_ff @(posedge clk) slot_7 <= slot_6;

    for (genvar k = 0; k < RESIDUAL_WORDS; k++) begin : gen_word
      for (genvar s = 0; s < SLOTS; s++) begin : gen_of_slot
        if (RESIDUAL_WORDS > 1) begin : gen_class
          logic [ClassBits-1:0] index;
          assign index = first[s][ClassBits-1:0] + ClassBits'(k);
          assign residual_of_slots[i][k][s] = classes[s][index];
        end else begin : gen_only
          assign residual_of_slots[i][k][s] = classes[s][0];
        end
      end
      always_ff @(posedge clk) residual_words[i][k] <= residual_of_slots[i][k][index_7];
    end
  end

  logic unused_first;
  assign unused_first = &{1'b0, first};

endmodule

`default_nettype wire
