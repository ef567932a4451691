// SPDX-License-Identifier: Apache-2.0
// LOAD_WEIGHTS: copies rows of weights.bin to the weight ring and the head ring, a quarter of each row through each of
// four AXI ports.
//
//   WEIGHTS --+
//             +--> bounds --> base[j] + offset_j --> weight_port j <--> AXI j
//   HEAD -----+                                           |
//                                                         +--> write j
//
//   offset_j = 128 ddr + 32 j w_rows, 32 w_rows bytes
//
// Each port has its own queues and goes ahead of the others by up to DEPTH commands; a command is done when all four have
// written it. Bursts of WEIGHTS go before bursts of HEAD. Base addresses are multiples of 32 (lower bits are ignored). A
// command outside the weights or without rows copies nothing; it is done when those before it are, and holds up the
// commands of both queues until then.
//
// Cost: 2 w_rows cycles a command, when the memory delivers; 6 cycles between two commands. Write after R: 1 cycle.
//
// DEPTH            commands of a queue in flight, a power of two
// MAX_BURST        most beats of a burst, a power of two; 16 for AXI3
// OUTSTANDING      most bursts of a port that wait for data, a power of two
// LOW_OUTSTANDING  ... when HEAD asks for one more
`default_nettype none

module weight_loader
  import config_pkg::*;
#(
    parameter int DEPTH = 8,
    parameter int MAX_BURST = 64,
    parameter int OUTSTANDING = 8,
    parameter int LOW_OUTSTANDING = 4
) (
    input  wire logic               clk,
    input  wire logic               reset,
    input  wire logic [1:0]         command_valid,  // 0: queue WEIGHTS, 1: queue HEAD
    input  wire instruction_t [1:0] command,
    output var  logic [1:0]         command_ready,
    output var  logic [1:0]         done,
    input  wire logic [3:0][63:0]   base,           // bytes; constant while the machine runs
    input  wire logic [31:0]        weight_bytes,
    output var  logic               error_bounds,
    output var  logic               error_read,
    output var  logic               idle,           // no command in flight, nothing outstanding

    // A quarter of a ring row for each port; row RING_ROWS is row 0 of the head ring.
    output var  logic [3:0]         write_valid,
    output var  logic [3:0]         write_head,     // of queue HEAD
    output var  logic [3:0][15:0]   write_row,
    output var  logic [3:0][255:0]  write_data,

    output var  logic [3:0][63:0]   araddr,
    output var  logic [3:0][7:0]    arlen,
    output var  logic [3:0]         arvalid,
    input  wire logic [3:0]         arready,
    input  wire logic [3:0][127:0]  rdata,
    input  wire logic [3:0][1:0]    rresp,
    input  wire logic [3:0]         rlast,
    input  wire logic [3:0]         rvalid,
    output var  logic [3:0]         rready
);

  localparam int CountBits = $clog2(DEPTH) + 1;

  // ---- Commands to requests: take, compare, add for each port

  typedef enum logic [2:0] {
    TAKE,
    END,
    CHECK,
    PORT,
    SKIP
  } state_t;
  state_t state;

  logic queue;
  logic [1:0][CountBits-1:0] flight;  // commands given to the ports and not done
  logic [1:0] room;
  logic [15:0] rows, row;
  logic [38:0] offset;
  logic [32:0] last;  // row of weights.bin behind the command's
  logic [1:0] index;  // port

  instruction_t body, head;
  logic [1:0] take;
  assign body = command[0];
  assign head = command[1];
  assign room = {!flight[1][CountBits-1], !flight[0][CountBits-1]};
  assign command_ready[0] = state == TAKE && room[0];
  assign command_ready[1] = state == TAKE && room[1] && !(command_valid[0] && room[0]);
  assign take = command_valid & command_ready;

  logic request_valid, request_queue;
  logic [1:0] request_port;
  logic [58:0] request_line;  // address / 32
  logic [15:0] request_rows, request_row;
  logic [1:0] skip, start;

  always_ff @(posedge clk) begin
    error_bounds <= 1'b0;
    skip <= '0;
    start <= '0;
    request_valid <= state == PORT;
    request_queue <= queue;
    request_port <= index;
    request_line <= base[index][63:5] + 59'(offset[38:5]);
    request_rows <= rows;
    request_row <= row;
    case (state)
      TAKE: begin
        queue <= !take[0];
        offset <= {take[0] ? body.ddr : head.ddr, 7'b0};
        rows <= take[0] ? body.w_rows : head.w_rows;
        row <= take[0] ? body.w_row : head.w_row;
        index <= '0;
        if (take != '0) state <= END;
      end
      END: begin
        last  <= {1'b0, offset[38:7]} + 33'(rows);
        state <= CHECK;
      end
      CHECK: begin
        if (last > 33'(weight_bytes[31:7])) begin
          error_bounds <= 1'b1;
          state <= SKIP;
        end else if (rows == '0) begin
          state <= SKIP;
        end else begin
          start[queue] <= 1'b1;
          state <= PORT;
        end
      end
      PORT: begin
        offset <= offset + {18'b0, rows, 5'b0};
        index  <= index + 1'b1;
        if (index == 2'd3) state <= TAKE;
      end
      default: begin
        if (flight[queue] == '0) begin
          skip[queue] <= 1'b1;
          state <= TAKE;
        end
      end
    endcase
    if (reset) begin
      state <= TAKE;
      request_valid <= 1'b0;
      error_bounds <= 1'b0;
      skip <= '0;
      start <= '0;
    end
  end

  // ---- Ports

  logic [3:0][1:0] finished;  // port, queue: a command
  logic [3:0] error_port, idle_port;

  for (genvar j = 0; j < 4; j++) begin : gen_port
    logic here;
    assign here = request_valid && request_port == $unsigned(2'(j));
    weight_port #(
        .DEPTH(DEPTH),
        .MAX_BURST(MAX_BURST),
        .OUTSTANDING(OUTSTANDING),
        .LOW_OUTSTANDING(LOW_OUTSTANDING)
    ) u_port (
        .clk,
        .reset,
        .put({here && request_queue, here && !request_queue}),
        .put_line(request_line),
        .put_rows(request_rows),
        .put_row(request_row),
        .finished(finished[j]),
        .error_read(error_port[j]),
        .idle(idle_port[j]),
        .write_valid(write_valid[j]),
        .write_head(write_head[j]),
        .write_row(write_row[j]),
        .write_data(write_data[j]),
        .araddr(araddr[j]),
        .arlen(arlen[j]),
        .arvalid(arvalid[j]),
        .arready(arready[j]),
        .rdata(rdata[j]),
        .rresp(rresp[j]),
        .rlast(rlast[j]),
        .rvalid(rvalid[j]),
        .rready(rready[j])
    );
  end

  // ---- Done

  logic [1:0] all;
  logic [1:0][3:0] some;  // this port has finished a command that another one has not
  for (genvar n = 0; n < 8; n++) begin : gen_count
    localparam int Queue = n / 4;
    logic [CountBits-1:0] count;
    assign some[Queue][n%4] = count != '0;
    always_ff @(posedge clk) begin
      if (reset) count <= '0;
      else count <= count + CountBits'(finished[n%4][Queue]) - CountBits'(all[Queue]);
    end
  end
  for (genvar q = 0; q < 2; q++) begin : gen_done
    always_ff @(posedge clk) begin
      if (reset) begin
        flight[q] <= '0;
        all[q] <= 1'b0;
      end else begin
        flight[q] <= flight[q] + CountBits'(start[q]) - CountBits'(all[q]);
        all[q] <= some[q] == '1 && !all[q];
      end
    end
  end

  assign done = all | skip;
  assign error_read = error_port != '0;
  assign idle = state == TAKE && flight == '0 && idle_port == '1 && !request_valid && start == '0;

  logic unused;
  assign unused = &{1'b0, body, head, base, weight_bytes[6:0]};

endmodule

`default_nettype wire
