// SPDX-License-Identifier: Apache-2.0
// The accelerator: control registers, dispatcher, engines, memories and AXI ports (docs/machine.md).
//
//   s_axi_control --> control --> dispatcher --> commands --> engines --> pads, vector memory --> store_engine --> io_port
//                                    ^                         ^                                                  |
//   m_axi_gmem_io <--> io_port ------+---> input_loader        |                                       m_axi_gmem_io
//   m_axi_gmem_w0..3 ----> weight_loader ----> weight ring, head ring
//
// Ports and register map are those of the HLS machine. One clock. Reset: ap_rst_n low, synchronous; AXI bursts must have
// ended. Memories are not reset.
`default_nettype none

module hwgen_top
  import config_pkg::*;
#(
    parameter int MAX_BURST = 64,  // beats; 16 for AXI3
    parameter int WATCHDOG_BITS = 20  // cycles without progress, a power of two
) (
    input  wire logic         ap_clk,
    input  wire logic         ap_rst_n,
    /* verilator lint_off SYMRSVDWORD */  // the name that Vitis HLS gives it
    output var  logic         interrupt,
    /* verilator lint_on SYMRSVDWORD */

    input  wire logic         s_axi_control_AWVALID,
    output var  logic         s_axi_control_AWREADY,
    input  wire logic [11:0]  s_axi_control_AWADDR,
    input  wire logic         s_axi_control_WVALID,
    output var  logic         s_axi_control_WREADY,
    input  wire logic [31:0]  s_axi_control_WDATA,
    input  wire logic [3:0]   s_axi_control_WSTRB,
    output var  logic         s_axi_control_BVALID,
    input  wire logic         s_axi_control_BREADY,
    output var  logic [1:0]   s_axi_control_BRESP,
    input  wire logic         s_axi_control_ARVALID,
    output var  logic         s_axi_control_ARREADY,
    input  wire logic [11:0]  s_axi_control_ARADDR,
    output var  logic         s_axi_control_RVALID,
    input  wire logic         s_axi_control_RREADY,
    output var  logic [31:0]  s_axi_control_RDATA,
    output var  logic [1:0]   s_axi_control_RRESP,

    output var  logic [63:0]  m_axi_gmem_io_AWADDR,
    output var  logic [7:0]   m_axi_gmem_io_AWLEN,
    output var  logic [2:0]   m_axi_gmem_io_AWSIZE,
    output var  logic [1:0]   m_axi_gmem_io_AWBURST,
    output var  logic         m_axi_gmem_io_AWVALID,
    input  wire logic         m_axi_gmem_io_AWREADY,
    output var  logic [127:0] m_axi_gmem_io_WDATA,
    output var  logic [15:0]  m_axi_gmem_io_WSTRB,
    output var  logic         m_axi_gmem_io_WLAST,
    output var  logic         m_axi_gmem_io_WVALID,
    input  wire logic         m_axi_gmem_io_WREADY,
    input  wire logic [1:0]   m_axi_gmem_io_BRESP,
    input  wire logic         m_axi_gmem_io_BVALID,
    output var  logic         m_axi_gmem_io_BREADY,
    output var  logic [63:0]  m_axi_gmem_io_ARADDR,
    output var  logic [7:0]   m_axi_gmem_io_ARLEN,
    output var  logic [2:0]   m_axi_gmem_io_ARSIZE,
    output var  logic [1:0]   m_axi_gmem_io_ARBURST,
    output var  logic         m_axi_gmem_io_ARVALID,
    input  wire logic         m_axi_gmem_io_ARREADY,
    input  wire logic [127:0] m_axi_gmem_io_RDATA,
    input  wire logic [1:0]   m_axi_gmem_io_RRESP,
    input  wire logic         m_axi_gmem_io_RLAST,
    input  wire logic         m_axi_gmem_io_RVALID,
    output var  logic         m_axi_gmem_io_RREADY,

    output var  logic [63:0]  m_axi_gmem_w0_ARADDR,
    output var  logic [7:0]   m_axi_gmem_w0_ARLEN,
    output var  logic [2:0]   m_axi_gmem_w0_ARSIZE,
    output var  logic [1:0]   m_axi_gmem_w0_ARBURST,
    output var  logic         m_axi_gmem_w0_ARVALID,
    input  wire logic         m_axi_gmem_w0_ARREADY,
    input  wire logic [127:0] m_axi_gmem_w0_RDATA,
    input  wire logic [1:0]   m_axi_gmem_w0_RRESP,
    input  wire logic         m_axi_gmem_w0_RLAST,
    input  wire logic         m_axi_gmem_w0_RVALID,
    output var  logic         m_axi_gmem_w0_RREADY,

    output var  logic [63:0]  m_axi_gmem_w1_ARADDR,
    output var  logic [7:0]   m_axi_gmem_w1_ARLEN,
    output var  logic [2:0]   m_axi_gmem_w1_ARSIZE,
    output var  logic [1:0]   m_axi_gmem_w1_ARBURST,
    output var  logic         m_axi_gmem_w1_ARVALID,
    input  wire logic         m_axi_gmem_w1_ARREADY,
    input  wire logic [127:0] m_axi_gmem_w1_RDATA,
    input  wire logic [1:0]   m_axi_gmem_w1_RRESP,
    input  wire logic         m_axi_gmem_w1_RLAST,
    input  wire logic         m_axi_gmem_w1_RVALID,
    output var  logic         m_axi_gmem_w1_RREADY,

    output var  logic [63:0]  m_axi_gmem_w2_ARADDR,
    output var  logic [7:0]   m_axi_gmem_w2_ARLEN,
    output var  logic [2:0]   m_axi_gmem_w2_ARSIZE,
    output var  logic [1:0]   m_axi_gmem_w2_ARBURST,
    output var  logic         m_axi_gmem_w2_ARVALID,
    input  wire logic         m_axi_gmem_w2_ARREADY,
    input  wire logic [127:0] m_axi_gmem_w2_RDATA,
    input  wire logic [1:0]   m_axi_gmem_w2_RRESP,
    input  wire logic         m_axi_gmem_w2_RLAST,
    input  wire logic         m_axi_gmem_w2_RVALID,
    output var  logic         m_axi_gmem_w2_RREADY,

    output var  logic [63:0]  m_axi_gmem_w3_ARADDR,
    output var  logic [7:0]   m_axi_gmem_w3_ARLEN,
    output var  logic [2:0]   m_axi_gmem_w3_ARSIZE,
    output var  logic [1:0]   m_axi_gmem_w3_ARBURST,
    output var  logic         m_axi_gmem_w3_ARVALID,
    input  wire logic         m_axi_gmem_w3_ARREADY,
    input  wire logic [127:0] m_axi_gmem_w3_RDATA,
    input  wire logic [1:0]   m_axi_gmem_w3_RRESP,
    input  wire logic         m_axi_gmem_w3_RLAST,
    input  wire logic         m_axi_gmem_w3_RVALID,
    output var  logic         m_axi_gmem_w3_RREADY
);

  // Clients of the pads and of the weight ring
  localparam int Readers = 6;
  localparam int Writers = 6;
  localparam int RingReaders = 5;
  localparam int Array = 0;
  localparam int Depthwise = 1;
  localparam int Eltwise = 2;
  localparam int Attention = 3;
  localparam int Mlp = 4;
  localparam int Store = 5;  // reads
  localparam int Loader = 5;  // writes
  localparam int LoaderRing = 4;
  // Words of a window that each reader uses, from Store down to Array; words that each writer writes.
  localparam logic [5*Readers-1:0] Needed = {5'd1, 5'd4, 5'd2, 5'(RESIDUAL_WORDS), 5'd15, 5'd16};

  localparam logic [4*Writers-1:0] Written = {4'd1, 4'd1, 4'd1, 4'(RESIDUAL_WORDS), 4'd4, 4'(REQUANTIZE_WORDS)};

  logic reset;  // of everything
  logic engine_reset;  // also when the dispatcher gives up
  logic abort_engines;
  logic [1:0] reset_line;
  initial begin  // in reset from configuration on
    reset_line = '1;
    reset = 1'b1;
    engine_reset = 1'b1;
  end
  always_ff @(posedge ap_clk) begin
    reset_line   <= {reset_line[0], !ap_rst_n};
    reset        <= reset_line[1];
    engine_reset <= reset_line[1] || abort_engines;
  end

  // Control
  logic start, done, idle, trace_enable;
  logic [63:0] program_address, input_address, output_address, trace_address;
  logic [3:0][63:0] weights_address;
  logic [31:0] frames, cycles, frames_done;
  logic [6:0] error;
  logic [QUEUES-1:0][31:0] queue_busy, queue_waiting;

  control #(
      .ADDRESS_BITS(12)
  ) u_control (
      .clk(ap_clk),
      .reset,
      .s_axi_control_AWVALID,
      .s_axi_control_AWREADY,
      .s_axi_control_AWADDR,
      .s_axi_control_WVALID,
      .s_axi_control_WREADY,
      .s_axi_control_WDATA,
      .s_axi_control_WSTRB,
      .s_axi_control_BVALID,
      .s_axi_control_BREADY,
      .s_axi_control_BRESP,
      .s_axi_control_ARVALID,
      .s_axi_control_ARREADY,
      .s_axi_control_ARADDR,
      .s_axi_control_RVALID,
      .s_axi_control_RREADY,
      .s_axi_control_RDATA,
      .s_axi_control_RRESP,
      .interrupt,
      .start,
      .program_address,
      .weights0_address(weights_address[0]),
      .weights1_address(weights_address[1]),
      .weights2_address(weights_address[2]),
      .weights3_address(weights_address[3]),
      .input_address,
      .output_address,
      .trace_address,
      .frames,
      .trace_enable,
      .done,
      .idle,
      .error,
      .cycles,
      .frames_done,
      .queue_busy,
      .queue_waiting
  );

  // Dispatcher. The testbench notes the public signals to draw a timeline.
  logic [QUEUES-1:0] command_valid  /* verilator public_flat_rd */;
  logic [QUEUES-1:0] command_ready  /* verilator public_flat_rd */;
  logic [QUEUES-1:0] command_done  /* verilator public_flat_rd */;
  logic [QUEUES-1:0][31:0] command_tag  /* verilator public_flat_rd */;  // slot, kernel
  logic [2:0] engine_stall  /* verilator public_flat_rd */;  // array: weights, epilogue; depthwise: weights
  instruction_t [QUEUES-1:0] command;
  logic [QUEUES-1:0][SLOT_BITS-1:0] command_slot;
  logic [QUEUES-1:0] command_retain;
  logic [31:0] input_offset, store_offset, weight_bytes, input_words, output_words;
  logic fetch_valid, fetch_ready, fetch_data_valid, fetch_data_last, fetch_data_error;
  logic [63:0] fetch_address;
  logic [7:0] fetch_beats;
  logic [127:0] fetch_data;
  logic trace_valid, trace_ready, trace_done;
  instruction_t trace_command;
  logic [SLOT_BITS-1:0] trace_slot;
  logic [31:0] trace_offset;
  logic error_pads, error_ring, error_head, error_vector, halt, axi_idle;
  logic [2:0] error_bounds;
  logic error_weight_read, error_io_read, error_io_write;
  logic weight_idle, input_idle, io_idle;

  for (genvar q = 0; q < QUEUES; q++) begin : gen_tag
    instruction_t record;
    assign record = command[q];
    assign command_tag[q] = {16'(command_slot[q]), record.kernel};
    logic unused;
    assign unused = &{1'b0, record};
  end

  assign axi_idle = weight_idle && io_idle;

  dispatcher #(
      .WATCHDOG_BITS(WATCHDOG_BITS)
  ) u_dispatcher (
      .clk(ap_clk),
      .reset,
      .start,
      .program_address,
      .frames,
      .trace_enable,
      .done,
      .idle,
      .error,
      .cycles,
      .frames_done,
      .queue_busy,
      .queue_waiting,
      .weight_bytes,
      .input_words,
      .output_words,
      .read_valid(fetch_valid),
      .read_ready(fetch_ready),
      .read_address(fetch_address),
      .read_beats(fetch_beats),
      .data_valid(fetch_data_valid),
      .data(fetch_data),
      .data_error(fetch_data_error),
      .command_valid,
      .command_ready,
      .command,
      .command_slot,
      .command_retain,
      .input_offset,
      .store_offset,
      .command_done,
      .trace_valid,
      .trace_ready,
      .trace_command,
      .trace_slot,
      .trace_offset,
      .trace_done,
      .error_memory(error_pads || error_ring || error_head || error_vector),
      .error_bounds(|error_bounds),
      .error_read(error_weight_read || error_io_read),
      .error_write(error_io_write),
      .halt,
      .abort_engines,
      .axi_idle
  );

  // Memories
  window_t [Readers-1:0] window;
  logic [Readers-1:0][SLOT_BITS-1:0] window_slot;
  word_t [Readers-1:0][BANKS-1:0] window_words;
  residual_t [1:0] residual;  // array, eltwise
  logic [1:0][SLOT_BITS-1:0] residual_slot;
  word_t [1:0][RESIDUAL_WORDS-1:0] residual_words;
  write_t [Writers-1:0] write;
  logic [Writers-1:0][SLOT_BITS-1:0] write_slot;

  pads #(
      .READERS(Readers),
      .RESIDUALS(2),
      .WRITERS(Writers),
      .NEEDED(Needed),
      .WRITTEN(Written)
  ) u_pads (
      .clk(ap_clk),
      .reset,
      .window,
      .window_slot,
      .window_words,
      .residual,
      .residual_slot,
      .residual_words,
      .write,
      .write_slot,
      .error_address(error_pads)
  );

  logic [3:0] load_valid, load_head;
  logic [3:0][15:0] load_row;
  logic [3:0][255:0] load_data;
  logic [RingReaders-1:0] ring_valid, ring_ready, ring_data_valid;
  logic [RingReaders-1:0][15:0] ring_row;
  row_t ring_data;

  weight_ring #(
      .ROWS(RING_ROWS),
      .FIRST_ROW(0),
      .READERS(RingReaders)
  ) u_ring (
      .clk(ap_clk),
      .reset,
      .write_valid(load_valid & ~load_head),
      .write_row(load_row),
      .write_data(load_data),
      .ring_valid,
      .ring_row,
      .ring_ready,
      .ring_data_valid,
      .ring_data,
      .error_address(error_ring)
  );

  logic head_valid, head_ready, head_data_valid;
  logic [15:0] head_row;
  row_t head_data;

  weight_ring #(
      .ROWS(HEAD_ROWS),
      .FIRST_ROW(RING_ROWS),
      .READERS(1)
  ) u_head_ring (
      .clk(ap_clk),
      .reset,
      .write_valid(load_valid & load_head),
      .write_row(load_row),
      .write_data(load_data),
      .ring_valid(head_valid),
      .ring_row(head_row),
      .ring_ready(head_ready),
      .ring_data_valid(head_data_valid),
      .ring_data(head_data),
      .error_address(error_head)
  );

  logic [1:0] vector_read_valid;  // MLP, store
  logic [1:0][SLOT_BITS-1:0] vector_read_slot;
  logic [1:0][15:0] vector_read_word;
  word_t [1:0] vector_read_data;
  logic vector_write_valid;
  logic [SLOT_BITS-1:0] vector_write_slot;
  logic [15:0] vector_write_word;
  word_t vector_write_data;

  vector_memory u_vector_memory (
      .clk(ap_clk),
      .reset,
      .read_valid(vector_read_valid),
      .read_slot(vector_read_slot),
      .read_word(vector_read_word),
      .read_data(vector_read_data),
      .write_valid(vector_write_valid),
      .write_slot(vector_write_slot),
      .write_word(vector_write_word),
      .write_data(vector_write_data),
      .error_address(error_vector)
  );

  // Loaders and store
  logic [3:0] w_arvalid, w_arready, w_rvalid, w_rready, w_rlast;
  logic [3:0][63:0] w_araddr;
  logic [3:0][7:0] w_arlen;
  logic [3:0][127:0] w_rdata;
  logic [3:0][1:0] w_rresp;

  weight_loader #(
      .MAX_BURST(MAX_BURST)
  ) u_weight_loader (
      .clk(ap_clk),
      .reset(engine_reset),
      .command_valid(command_valid[QUEUE_HEAD:QUEUE_WEIGHTS]),
      .command(command[QUEUE_HEAD:QUEUE_WEIGHTS]),
      .command_ready(command_ready[QUEUE_HEAD:QUEUE_WEIGHTS]),
      .done(command_done[QUEUE_HEAD:QUEUE_WEIGHTS]),
      .base(weights_address),
      .weight_bytes,
      .error_bounds(error_bounds[0]),
      .error_read(error_weight_read),
      .idle(weight_idle),
      .write_valid(load_valid),
      .write_head(load_head),
      .write_row(load_row),
      .write_data(load_data),
      .araddr(w_araddr),
      .arlen(w_arlen),
      .arvalid(w_arvalid),
      .arready(w_arready),
      .rdata(w_rdata),
      .rresp(w_rresp),
      .rlast(w_rlast),
      .rvalid(w_rvalid),
      .rready(w_rready)
  );

  assign m_axi_gmem_w0_ARADDR = w_araddr[0];
  assign m_axi_gmem_w0_ARLEN = w_arlen[0];
  assign m_axi_gmem_w0_ARSIZE = 3'd4;
  assign m_axi_gmem_w0_ARBURST = 2'b01;
  assign m_axi_gmem_w0_ARVALID = w_arvalid[0];
  assign w_arready[0] = m_axi_gmem_w0_ARREADY;
  assign w_rdata[0] = m_axi_gmem_w0_RDATA;
  assign w_rresp[0] = m_axi_gmem_w0_RRESP;
  assign w_rlast[0] = m_axi_gmem_w0_RLAST;
  assign w_rvalid[0] = m_axi_gmem_w0_RVALID;
  assign m_axi_gmem_w0_RREADY = w_rready[0];

  assign m_axi_gmem_w1_ARADDR = w_araddr[1];
  assign m_axi_gmem_w1_ARLEN = w_arlen[1];
  assign m_axi_gmem_w1_ARSIZE = 3'd4;
  assign m_axi_gmem_w1_ARBURST = 2'b01;
  assign m_axi_gmem_w1_ARVALID = w_arvalid[1];
  assign w_arready[1] = m_axi_gmem_w1_ARREADY;
  assign w_rdata[1] = m_axi_gmem_w1_RDATA;
  assign w_rresp[1] = m_axi_gmem_w1_RRESP;
  assign w_rlast[1] = m_axi_gmem_w1_RLAST;
  assign w_rvalid[1] = m_axi_gmem_w1_RVALID;
  assign m_axi_gmem_w1_RREADY = w_rready[1];

  assign m_axi_gmem_w2_ARADDR = w_araddr[2];
  assign m_axi_gmem_w2_ARLEN = w_arlen[2];
  assign m_axi_gmem_w2_ARSIZE = 3'd4;
  assign m_axi_gmem_w2_ARBURST = 2'b01;
  assign m_axi_gmem_w2_ARVALID = w_arvalid[2];
  assign w_arready[2] = m_axi_gmem_w2_ARREADY;
  assign w_rdata[2] = m_axi_gmem_w2_RDATA;
  assign w_rresp[2] = m_axi_gmem_w2_RRESP;
  assign w_rlast[2] = m_axi_gmem_w2_RLAST;
  assign w_rvalid[2] = m_axi_gmem_w2_RVALID;
  assign m_axi_gmem_w2_RREADY = w_rready[2];

  assign m_axi_gmem_w3_ARADDR = w_araddr[3];
  assign m_axi_gmem_w3_ARLEN = w_arlen[3];
  assign m_axi_gmem_w3_ARSIZE = 3'd4;
  assign m_axi_gmem_w3_ARBURST = 2'b01;
  assign m_axi_gmem_w3_ARVALID = w_arvalid[3];
  assign w_arready[3] = m_axi_gmem_w3_ARREADY;
  assign w_rdata[3] = m_axi_gmem_w3_RDATA;
  assign w_rresp[3] = m_axi_gmem_w3_RRESP;
  assign w_rlast[3] = m_axi_gmem_w3_RLAST;
  assign w_rvalid[3] = m_axi_gmem_w3_RVALID;
  assign m_axi_gmem_w3_RREADY = w_rready[3];

  logic input_read_valid, input_read_ready, input_data_valid, input_data_last, input_data_error;
  logic [63:0] input_read_address;
  logic [7:0] input_read_beats;
  logic [127:0] input_data;

  input_loader u_input_loader (
      .clk(ap_clk),
      .reset(engine_reset),
      .command_valid(command_valid[QUEUE_INPUT]),
      .command(command[QUEUE_INPUT]),
      .command_slot(command_slot[QUEUE_INPUT]),
      .command_offset(input_offset),
      .command_retain(command_retain[QUEUE_INPUT]),
      .command_ready(command_ready[QUEUE_INPUT]),
      .done(command_done[QUEUE_INPUT]),
      .base(input_address),
      .input_words,
      .error_bounds(error_bounds[1]),
      .idle(input_idle),
      .read_valid(input_read_valid),
      .read_ready(input_read_ready),
      .read_address(input_read_address),
      .read_beats(input_read_beats),
      .data_valid(input_data_valid),
      .data(input_data),
      .data_last(input_data_last),
      .ring_valid(ring_valid[LoaderRing]),
      .ring_row(ring_row[LoaderRing]),
      .ring_ready(ring_ready[LoaderRing]),
      .ring_data_valid(ring_data_valid[LoaderRing]),
      .ring_data,
      .write(write[Loader]),
      .write_slot(write_slot[Loader])
  );

  logic store_write_valid, store_write_ready, store_tag, store_final, store_word_valid, store_word_ready;
  logic [63:0] store_address;
  logic [19:0] store_beats;
  logic [127:0] store_word;
  logic store_finished, store_finished_tag, store_idle;

  store_engine u_store_engine (
      .clk(ap_clk),
      .reset(engine_reset),
      .command_valid(command_valid[QUEUE_STORE]),
      .command(command[QUEUE_STORE]),
      .command_slot(command_slot[QUEUE_STORE]),
      .command_offset(store_offset),
      .command_ready(command_ready[QUEUE_STORE]),
      .done(command_done[QUEUE_STORE]),
      .trace_valid,
      .trace_command,
      .trace_slot,
      .trace_offset,
      .trace_ready,
      .trace_done,
      .output_base(output_address),
      .trace_base(trace_address),
      .output_words,
      .error_bounds(error_bounds[2]),
      .idle(store_idle),
      .window(window[Store]),
      .window_slot(window_slot[Store]),
      .window_words(window_words[Store]),
      .vector_read_valid(vector_read_valid[1]),
      .vector_read_slot(vector_read_slot[1]),
      .vector_read_word(vector_read_word[1]),
      .vector_read_data(vector_read_data[1]),
      .write_valid(store_write_valid),
      .write_ready(store_write_ready),
      .write_address(store_address),
      .write_beats(store_beats),
      .write_tag(store_tag),
      .write_final(store_final),
      .word_valid(store_word_valid),
      .word_ready(store_word_ready),
      .word(store_word),
      .finished(store_finished),
      .finished_tag(store_finished_tag)
  );

  io_port #(
      .MAX_BURST(MAX_BURST)
  ) u_io_port (
      .clk(ap_clk),
      .reset(engine_reset),
      .fetch_read_valid(fetch_valid),
      .fetch_read_ready(fetch_ready),
      .fetch_read_address(fetch_address),
      .fetch_read_beats(fetch_beats),
      .fetch_data_valid,
      .fetch_data,
      .fetch_data_last,
      .fetch_data_error,
      .input_read_valid,
      .input_read_ready,
      .input_read_address,
      .input_read_beats,
      .input_data_valid,
      .input_data,
      .input_data_last,
      .input_data_error,
      .write_valid(store_write_valid),
      .write_ready(store_write_ready),
      .write_address(store_address),
      .write_beats(store_beats),
      .write_tag(store_tag),
      .write_final(store_final),
      .word_valid(store_word_valid),
      .word_ready(store_word_ready),
      .word(store_word),
      .finished(store_finished),
      .finished_tag(store_finished_tag),
      .error_read(error_io_read),
      .error_write(error_io_write),
      .idle(io_idle),
      .araddr(m_axi_gmem_io_ARADDR),
      .arlen(m_axi_gmem_io_ARLEN),
      .arvalid(m_axi_gmem_io_ARVALID),
      .arready(m_axi_gmem_io_ARREADY),
      .rdata(m_axi_gmem_io_RDATA),
      .rresp(m_axi_gmem_io_RRESP),
      .rlast(m_axi_gmem_io_RLAST),
      .rvalid(m_axi_gmem_io_RVALID),
      .rready(m_axi_gmem_io_RREADY),
      .awaddr(m_axi_gmem_io_AWADDR),
      .awlen(m_axi_gmem_io_AWLEN),
      .awvalid(m_axi_gmem_io_AWVALID),
      .awready(m_axi_gmem_io_AWREADY),
      .wdata(m_axi_gmem_io_WDATA),
      .wlast(m_axi_gmem_io_WLAST),
      .wvalid(m_axi_gmem_io_WVALID),
      .wready(m_axi_gmem_io_WREADY),
      .bresp(m_axi_gmem_io_BRESP),
      .bvalid(m_axi_gmem_io_BVALID),
      .bready(m_axi_gmem_io_BREADY)
  );

  assign m_axi_gmem_io_ARSIZE = 3'd4;
  assign m_axi_gmem_io_ARBURST = 2'b01;
  assign m_axi_gmem_io_AWSIZE = 3'd4;
  assign m_axi_gmem_io_AWBURST = 2'b01;
  assign m_axi_gmem_io_WSTRB = '1;

  array_engine u_array_engine (
      .clk(ap_clk),
      .reset(engine_reset),
      .command_valid(command_valid[QUEUE_ARRAY]),
      .command(command[QUEUE_ARRAY]),
      .command_slot(command_slot[QUEUE_ARRAY]),
      .command_retain(command_retain[QUEUE_ARRAY]),
      .command_ready(command_ready[QUEUE_ARRAY]),
      .done(command_done[QUEUE_ARRAY]),
      .stall_weights(engine_stall[0]),
      .stall_epilogue(engine_stall[1]),
      .window(window[Array]),
      .window_slot(window_slot[Array]),
      .window_words(window_words[Array]),
      .residual(residual[0]),
      .residual_slot(residual_slot[0]),
      .residual_words(residual_words[0]),
      .write(write[Array]),
      .write_slot(write_slot[Array]),
      .ring_valid(ring_valid[Array]),
      .ring_row(ring_row[Array]),
      .ring_ready(ring_ready[Array]),
      .ring_data_valid(ring_data_valid[Array]),
      .ring_data
  );

  if (ENGINES[QUEUE_DEPTHWISE]) begin : gen_depthwise
    depthwise_engine u_depthwise_engine (
        .clk(ap_clk),
        .reset(engine_reset),
        .command_valid(command_valid[QUEUE_DEPTHWISE]),
        .command(command[QUEUE_DEPTHWISE]),
        .command_slot(command_slot[QUEUE_DEPTHWISE]),
        .command_retain(command_retain[QUEUE_DEPTHWISE]),
        .command_ready(command_ready[QUEUE_DEPTHWISE]),
        .done(command_done[QUEUE_DEPTHWISE]),
        .stall_weights(engine_stall[2]),
        .window(window[Depthwise]),
        .window_slot(window_slot[Depthwise]),
        .window_words(window_words[Depthwise]),
        .write(write[Depthwise]),
        .write_slot(write_slot[Depthwise]),
        .ring_valid(ring_valid[Depthwise]),
        .ring_row(ring_row[Depthwise]),
        .ring_ready(ring_ready[Depthwise]),
        .ring_data_valid(ring_data_valid[Depthwise]),
        .ring_data
    );
  end else begin : gen_no_depthwise
    assign command_ready[QUEUE_DEPTHWISE] = '0;
    assign command_done[QUEUE_DEPTHWISE] = '0;
    assign window[Depthwise] = '0;
    assign window_slot[Depthwise] = '0;
    assign write[Depthwise] = '0;
    assign write_slot[Depthwise] = '0;
    assign ring_valid[Depthwise] = '0;
    assign ring_row[Depthwise] = '0;
    assign engine_stall[2] = '0;
    logic unused;
    assign unused = &{
      1'b0, command_valid[QUEUE_DEPTHWISE], command[QUEUE_DEPTHWISE], command_slot[QUEUE_DEPTHWISE], window_words[Depthwise], ring_ready[Depthwise], ring_data_valid[Depthwise]
    };
  end

  if (ENGINES[QUEUE_ELTWISE]) begin : gen_eltwise
    eltwise_engine u_eltwise_engine (
        .clk(ap_clk),
        .reset(engine_reset),
        .command_valid(command_valid[QUEUE_ELTWISE]),
        .command(command[QUEUE_ELTWISE]),
        .command_slot(command_slot[QUEUE_ELTWISE]),
        .command_retain(command_retain[QUEUE_ELTWISE]),
        .command_ready(command_ready[QUEUE_ELTWISE]),
        .done(command_done[QUEUE_ELTWISE]),
        .window(window[Eltwise]),
        .window_slot(window_slot[Eltwise]),
        .window_words(window_words[Eltwise]),
        .residual(residual[1]),
        .residual_slot(residual_slot[1]),
        .residual_words(residual_words[1]),
        .write(write[Eltwise]),
        .write_slot(write_slot[Eltwise]),
        .ring_valid(ring_valid[Eltwise]),
        .ring_row(ring_row[Eltwise]),
        .ring_ready(ring_ready[Eltwise]),
        .ring_data_valid(ring_data_valid[Eltwise]),
        .ring_data
    );
  end else begin : gen_no_eltwise
    assign command_ready[QUEUE_ELTWISE] = '0;
    assign command_done[QUEUE_ELTWISE] = '0;
    assign window[Eltwise] = '0;
    assign window_slot[Eltwise] = '0;
    assign write[Eltwise] = '0;
    assign write_slot[Eltwise] = '0;
    assign ring_valid[Eltwise] = '0;
    assign ring_row[Eltwise] = '0;
    assign residual[1] = '0;
    assign residual_slot[1] = '0;
    logic unused;
    assign unused = &{
      1'b0, command_valid[QUEUE_ELTWISE], command[QUEUE_ELTWISE], command_slot[QUEUE_ELTWISE], window_words[Eltwise], ring_ready[Eltwise], ring_data_valid[Eltwise], residual_words[1]
    };
  end

  if (ENGINES[QUEUE_ATTENTION]) begin : gen_attention
    attention_engine u_attention_engine (
        .clk(ap_clk),
        .reset(engine_reset),
        .command_valid(command_valid[QUEUE_ATTENTION]),
        .command(command[QUEUE_ATTENTION]),
        .command_slot(command_slot[QUEUE_ATTENTION]),
        .command_ready(command_ready[QUEUE_ATTENTION]),
        .done(command_done[QUEUE_ATTENTION]),
        .window(window[Attention]),
        .window_slot(window_slot[Attention]),
        .window_words(window_words[Attention]),
        .write(write[Attention]),
        .write_slot(write_slot[Attention]),
        .ring_valid(ring_valid[Attention]),
        .ring_row(ring_row[Attention]),
        .ring_ready(ring_ready[Attention]),
        .ring_data_valid(ring_data_valid[Attention]),
        .ring_data
    );
  end else begin : gen_no_attention
    assign command_ready[QUEUE_ATTENTION] = '0;
    assign command_done[QUEUE_ATTENTION] = '0;
    assign window[Attention] = '0;
    assign window_slot[Attention] = '0;
    assign write[Attention] = '0;
    assign write_slot[Attention] = '0;
    assign ring_valid[Attention] = '0;
    assign ring_row[Attention] = '0;
    logic unused;
    assign unused = &{
      1'b0, command_valid[QUEUE_ATTENTION], command[QUEUE_ATTENTION], command_slot[QUEUE_ATTENTION], window_words[Attention], ring_ready[Attention], ring_data_valid[Attention]
    };
  end

  if (ENGINES[QUEUE_MLP]) begin : gen_mlp
    mlp_engine u_mlp_engine (
        .clk(ap_clk),
        .reset(engine_reset),
        .command_valid(command_valid[QUEUE_MLP]),
        .command(command[QUEUE_MLP]),
        .command_slot(command_slot[QUEUE_MLP]),
        .command_retain(command_retain[QUEUE_MLP]),
        .command_ready(command_ready[QUEUE_MLP]),
        .done(command_done[QUEUE_MLP]),
        .window(window[Mlp]),
        .window_slot(window_slot[Mlp]),
        .window_words(window_words[Mlp]),
        .write(write[Mlp]),
        .write_slot(write_slot[Mlp]),
        .vector_read_valid(vector_read_valid[0]),
        .vector_read_slot(vector_read_slot[0]),
        .vector_read_word(vector_read_word[0]),
        .vector_read_data(vector_read_data[0]),
        .vector_write_valid,
        .vector_write_slot,
        .vector_write_word,
        .vector_write_data,
        .ring_valid(head_valid),
        .ring_row(head_row),
        .ring_ready(head_ready),
        .ring_data_valid(head_data_valid),
        .ring_data(head_data)
    );
  end else begin : gen_no_mlp
    assign command_ready[QUEUE_MLP] = '0;
    assign command_done[QUEUE_MLP] = '0;
    assign window[Mlp] = '0;
    assign window_slot[Mlp] = '0;
    assign write[Mlp] = '0;
    assign write_slot[Mlp] = '0;
    assign vector_read_valid[0] = '0;
    assign vector_read_slot[0] = '0;
    assign vector_read_word[0] = '0;
    assign vector_write_valid = '0;
    assign vector_write_slot = '0;
    assign vector_write_word = '0;
    assign vector_write_data = '0;
    assign head_valid = '0;
    assign head_row = '0;
    logic unused;
    assign unused = &{
      1'b0, command_valid[QUEUE_MLP], command[QUEUE_MLP], command_slot[QUEUE_MLP], window_words[Mlp], vector_read_data[0], head_ready, head_data_valid, head_data
    };
  end

  logic unused;
  assign unused = &{1'b0, command_retain, halt, fetch_data_last, input_data_error, input_idle, store_idle, engine_stall};

endmodule

`default_nettype wire
