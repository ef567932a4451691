// SPDX-License-Identifier: Apache-2.0
// AXI4-Lite registers with the map and the behaviour of a Vitis HLS block (ap_ctrl_hs), and the machine's counters.
//
//   AW, W (any order) --> held --> write --> registers --> start --> copy for the run --> pointers, frames, trace_enable
//   AR --> held --> read 1: groups of registers --> read 2 --> R
//
// Cycles: write 2 (both held, write) and its response; read 3. One write and one read at a time.
//
// start        set by writing 1, cleared when the run is done unless auto_restart; so writing it while the machine runs
//              changes nothing, except in the very cycle of `done`: then another run follows
// done, ready  set when a run is done, cleared by reading register 0 (a `done` in the cycle of the read is kept)
// idle         no run and none asked for
// ISR          bit 0 done, bit 1 ready: set with a run's end if enabled in IER; toggled by writing 1
// interrupt    GIE and any bit of ISR, a level; also bit 9 of register 0
//
// Pointers, frames and trace_enable are copied when a run starts: they may be written for the next run at any time.
// Unknown addresses read as 0, and writing them does nothing; every response is OKAY.
`default_nettype none

module control
  import config_pkg::*;
#(
    parameter int ADDRESS_BITS = 12
) (
    input wire logic clk,
    input wire logic reset,

    input  wire logic                    s_axi_control_AWVALID,
    output var  logic                    s_axi_control_AWREADY,
    input  wire logic [ADDRESS_BITS-1:0] s_axi_control_AWADDR,
    input  wire logic                    s_axi_control_WVALID,
    output var  logic                    s_axi_control_WREADY,
    input  wire logic [31:0]             s_axi_control_WDATA,
    input  wire logic [3:0]              s_axi_control_WSTRB,
    output var  logic                    s_axi_control_BVALID,
    input  wire logic                    s_axi_control_BREADY,
    output var  logic [1:0]              s_axi_control_BRESP,
    input  wire logic                    s_axi_control_ARVALID,
    output var  logic                    s_axi_control_ARREADY,
    input  wire logic [ADDRESS_BITS-1:0] s_axi_control_ARADDR,
    output var  logic                    s_axi_control_RVALID,
    input  wire logic                    s_axi_control_RREADY,
    output var  logic [31:0]             s_axi_control_RDATA,
    output var  logic [1:0]              s_axi_control_RRESP,
    /* verilator lint_off SYMRSVDWORD */  // the name that Vitis HLS gives it
    output var  logic                    interrupt,
    /* verilator lint_on SYMRSVDWORD */

    // The run
    output var  logic        start,            // pulse; what follows holds from then until the next one
    output var  logic [63:0] program_address,
    output var  logic [63:0] weights0_address,
    output var  logic [63:0] weights1_address,
    output var  logic [63:0] weights2_address,
    output var  logic [63:0] weights3_address,
    output var  logic [63:0] input_address,
    output var  logic [63:0] output_address,
    output var  logic [63:0] trace_address,
    output var  logic [31:0] frames,
    output var  logic        trace_enable,
    input  wire logic        done,             // pulse
    input  wire logic        idle,

    input wire logic [6:0]              error,
    input wire logic [31:0]             cycles,
    input wire logic [31:0]             frames_done,
    input wire logic [QUEUES-1:0][31:0] queue_busy,
    input wire logic [QUEUES-1:0][31:0] queue_waiting
);

  localparam int Pointers = 8;
  localparam int Word = ADDRESS_BITS - 2;  // bits of a register number

  // Register numbers: address / 4
  localparam logic [Word-1:0] Control = Word'('h00 / 4);
  localparam logic [Word-1:0] Gie = Word'('h04 / 4);
  localparam logic [Word-1:0] Ier = Word'('h08 / 4);
  localparam logic [Word-1:0] Isr = Word'('h0c / 4);
  localparam int Pointer = 'h10 / 4;  // of three words each
  localparam logic [Word-1:0] Frames = Word'('h70 / 4);
  localparam logic [Word-1:0] Trace = Word'('h78 / 4);
  localparam logic [Word-1:0] Error = Word'('h100 / 4);
  localparam logic [Word-1:0] Cycles = Word'('h104 / 4);
  localparam logic [Word-1:0] FramesDone = Word'('h108 / 4);
  localparam int Counter = 'h110 / 4;  // busy, waiting of each queue

  // Write
  logic address_held, data_held, write;
  logic [Word-1:0] write_word;
  logic [31:0] write_data, write_mask;
  logic [3:0] write_strobe;
  assign s_axi_control_AWREADY = !address_held;
  assign s_axi_control_WREADY = !data_held;
  assign s_axi_control_BRESP = 2'b00;
  assign write = address_held && data_held && !s_axi_control_BVALID;
  assign write_mask = {{8{write_strobe[3]}}, {8{write_strobe[2]}}, {8{write_strobe[1]}}, {8{write_strobe[0]}}};

  always_ff @(posedge clk) begin
    if (s_axi_control_AWREADY) write_word <= s_axi_control_AWADDR[ADDRESS_BITS-1:2];
    if (s_axi_control_WREADY) {write_strobe, write_data} <= {s_axi_control_WSTRB, s_axi_control_WDATA};
    if (reset) begin
      address_held <= 1'b0;
      data_held <= 1'b0;
      s_axi_control_BVALID <= 1'b0;
    end else begin
      if (s_axi_control_AWVALID) address_held <= 1'b1;
      if (s_axi_control_WVALID) data_held <= 1'b1;
      if (write) begin
        address_held <= 1'b0;
        data_held <= 1'b0;
        s_axi_control_BVALID <= 1'b1;
      end else if (s_axi_control_BREADY) begin
        s_axi_control_BVALID <= 1'b0;
      end
    end
  end

  // Registers with bytes; pointers: the one that is read, the others 0
  logic [2*Pointers-1:0][31:0] pointers;
  logic [2*QUEUES-1:0][31:0] counters;
  logic [Word-1:0] read_word;
  logic [64*Pointers-1:0] pointer, run_pointer;
  logic [31:0] next_frames, next_trace;
  for (genvar p = 0; p < Pointers; p++) begin : gen_pointer
    for (genvar h = 0; h < 2; h++) begin : gen_half
      localparam logic [Word-1:0] Here = Word'(Pointer + 3 * p + h);
      logic here;
      assign here = write && write_word == Here;
      assign pointers[2*p+h] = read_word == Here ? pointer[32*(2*p+h)+:32] : '0;
      for (genvar b = 0; b < 4; b++) begin : gen_byte
        always_ff @(posedge clk) begin
          if (reset) pointer[32*(2*p+h)+8*b+:8] <= '0;
          else if (here && write_strobe[b]) pointer[32*(2*p+h)+8*b+:8] <= write_data[8*b+:8];
        end
      end
    end
  end
  for (genvar b = 0; b < 4; b++) begin : gen_byte
    always_ff @(posedge clk) begin
      if (reset) begin
        next_frames[8*b+:8] <= '0;
        next_trace[8*b+:8]  <= '0;
      end else if (write && write_strobe[b]) begin
        if (write_word == Frames) next_frames[8*b+:8] <= write_data[8*b+:8];
        if (write_word == Trace) next_trace[8*b+:8] <= write_data[8*b+:8];
      end
    end
  end

  // Handshake of the run
  logic ap_start, ap_done, ap_ready, auto_restart, gie, running, read_control;
  logic [1:0] ier, isr;
  logic begin_run;
  assign begin_run = ap_start && idle && !running;
  assign interrupt = gie && isr != '0;

  always_ff @(posedge clk) begin
    if (reset) begin
      {ap_start, ap_done, ap_ready, auto_restart, gie, running, start} <= '0;
      ier <= '0;
      isr <= '0;
    end else begin
      start <= begin_run;
      if (begin_run) running <= 1'b1;
      else if (done) running <= 1'b0;

      if (write && write_word == Control && write_mask[0] && write_data[0]) ap_start <= 1'b1;
      else if (done) ap_start <= auto_restart;
      if (write && write_word == Control && write_mask[0]) auto_restart <= write_data[7];
      if (write && write_word == Gie && write_mask[0]) gie <= write_data[0];
      if (write && write_word == Ier && write_mask[0]) ier <= write_data[1:0];

      for (int b = 0; b < 2; b++) begin
        if (done && ier[b]) isr[b] <= 1'b1;
        else if (write && write_word == Isr && write_mask[0]) isr[b] <= isr[b] ^ write_data[b];
      end

      if (done) {ap_done, ap_ready} <= 2'b11;
      else if (read_control) {ap_done, ap_ready} <= 2'b00;
    end
    if (begin_run) begin
      run_pointer <= pointer;
      frames <= next_frames;
      trace_enable <= next_trace != '0;
    end
  end

  assign program_address = run_pointer[0+:64];
  assign weights0_address = run_pointer[64+:64];
  assign weights1_address = run_pointer[128+:64];
  assign weights2_address = run_pointer[192+:64];
  assign weights3_address = run_pointer[256+:64];
  assign input_address = run_pointer[320+:64];
  assign output_address = run_pointer[384+:64];
  assign trace_address = run_pointer[448+:64];

  // Read: each group of registers gives its word or 0
  logic [1:0] read_step;  // a shift register behind ARVALID && ARREADY
  logic read_busy;
  logic [31:0] read_low, read_pointer, read_counter;
  logic [31:0] low;
  assign s_axi_control_ARREADY = !read_busy;
  assign s_axi_control_RRESP   = 2'b00;
  assign read_control = read_step[0] && read_word == Control;

  always_comb begin
    low = '0;
    if (read_word == Control) begin
      low = {22'b0, interrupt, 1'b0, auto_restart, 3'b0, ap_ready, !running && !ap_start, ap_done, ap_start};
    end
    if (read_word == Gie) low = 32'(gie);
    if (read_word == Ier) low = 32'(ier);
    if (read_word == Isr) low = 32'(isr);
    if (read_word == Error) low = 32'(error);
    if (read_word == Cycles) low = cycles;
    if (read_word == FramesDone) low = frames_done;
    if (read_word == Frames) low = next_frames;
    if (read_word == Trace) low = next_trace;
  end

  for (genvar q = 0; q < QUEUES; q++) begin : gen_counter
    localparam logic [Word-1:0] Busy = Word'(Counter + 2 * q);
    localparam logic [Word-1:0] Waiting = Busy + 1'b1;
    assign counters[2*q]   = read_word == Busy ? queue_busy[q] : '0;
    assign counters[2*q+1] = read_word == Waiting ? queue_waiting[q] : '0;
  end

  // Or of all words
  logic [31:0] any_pointer, any_counter;
  always_comb begin
    any_pointer = '0;
    any_counter = '0;
    for (int i = 0; i < 2 * Pointers; i++) any_pointer |= pointers[i];
    for (int i = 0; i < 2 * QUEUES; i++) any_counter |= counters[i];
  end

  always_ff @(posedge clk) begin
    if (s_axi_control_ARREADY) read_word <= s_axi_control_ARADDR[ADDRESS_BITS-1:2];
    read_low <= low;
    read_pointer <= any_pointer;
    read_counter <= any_counter;
    if (read_step[1]) s_axi_control_RDATA <= read_low | read_pointer | read_counter;
    if (reset) begin
      read_busy <= 1'b0;
      read_step <= '0;
      s_axi_control_RVALID <= 1'b0;
    end else begin
      read_step <= {read_step[0], s_axi_control_ARVALID && s_axi_control_ARREADY};
      if (s_axi_control_ARVALID) read_busy <= 1'b1;
      if (read_step[1]) begin
        s_axi_control_RVALID <= 1'b1;
      end else if (s_axi_control_RVALID && s_axi_control_RREADY) begin
        s_axi_control_RVALID <= 1'b0;
        read_busy <= 1'b0;
      end
    end
  end

  logic unused;
  assign unused = &{1'b0, write_mask[31:1], s_axi_control_AWADDR[1:0], s_axi_control_ARADDR[1:0]};

endmodule

`default_nettype wire
