// SPDX-License-Identifier: Apache-2.0
// LOAD_INPUT: image rows to a pad; space to depth, and a table for each channel.
//
//   command --> products --> read requests, a row after the other ~~ memory ~~ data
//                  |                                                    |
//                  v         +-- rows of dy = 0 --> ram_fifo --> byte shift --+
//               job  ------->|                                                +--> lanes --> tables --> pixel
//                            +-- rows of dy = 1 --> ram_fifo --> byte shift --+
//
// The left side goes ahead: it asks for the rows of a command, and of the next one, as long as the FIFOs have room. A row is
// fetched only as far as its pixels need it. Each FIFO holds at least two image rows of IMAGE_ROW_BYTES.
//
// Tables are 64 x 4 codes a lane. To fill them, each ring row is asked for 32 times; every answer brings 4 codes.
//
// Cost: 1 cycle a pixel, 1 a row, 7 a command; that is rows * (cols + 1) + 7, if the words are there: the port brings one a
// cycle. Tables, if loaded: 64 cycles a channel and the ring's latency. A command alone takes 14 cycles to ARVALID and 11 from
// R to its first write; done follows the last write by 1.
//
// A command outside the frame, with an image row longer than IMAGE_ROW_BYTES or with more than 16 lanes gives error_bounds and
// is skipped; one without pixels is skipped.
//
// DEPTH  words of a FIFO, a power of two
`default_nettype none

module input_loader
  import config_pkg::*;
#(
    parameter int DEPTH = IMAGE_ROW_BYTES <= 4096 ? 512 : 1 << $clog2(IMAGE_ROW_BYTES / 8)
) (
    input  wire logic                 clk,
    input  wire logic                 reset,
    input  wire logic                 command_valid,
    input  wire instruction_t         command,
    input  wire logic [SLOT_BITS-1:0] command_slot,
    input  wire logic [31:0]          command_offset,
    input  wire logic                 command_retain,
    output var  logic                 command_ready,
    output var  logic                 done,
    input  wire logic [63:0]          base,            // bytes, a multiple of 16; constant while the machine runs
    input  wire logic [31:0]          input_words,     // of a frame
    output var  logic                 error_bounds,
    output var  logic                 idle,            // no command in work, nothing outstanding

    output var  logic         read_valid,
    input  wire logic         read_ready,
    output var  logic [63:0]  read_address,
    output var  logic [7:0]   read_beats,
    input  wire logic         data_valid,
    input  wire logic [127:0] data,
    input  wire logic         data_last,

    output var  logic        ring_valid,
    output var  logic [15:0] ring_row,
    input  wire logic        ring_ready,
    input  wire logic        ring_data_valid,
    input  wire row_t        ring_data,

    output var  write_t               write,
    output var  logic [SLOT_BITS-1:0] write_slot
);

  localparam int RowWords = IMAGE_ROW_BYTES / 16;
  localparam int Bits = $clog2(DEPTH);
  localparam int Chunk = 64;  // most beats of a request
  // As much may be in a FIFO when a request is made.
  localparam logic [Bits:0] Room = $unsigned((Bits + 1)'(DEPTH - Chunk));
  localparam logic [Bits-1:0] Most = $unsigned(Bits'(Chunk));
  localparam logic [17:0] Longest = $unsigned(18'(RowWords));

  // ---- Command: products, then the job for the pixels, then the requests

  typedef enum logic [1:0] {
    TAKE,
    SIZE,
    GIVE,
    READ
  } state_t;
  state_t state;

  // What the pixels need to know
  typedef struct packed {
    logic skip;
    logic two;  // block 2
    logic image;
    logic retain;
    logic [4:0] channels;
    logic [4:0] run;  // bytes of an image row in a pixel
    logic [3:0] pad;
    logic [SLOT_BITS-1:0] slot;
    logic [15:0] base;
    logic [17:0] start;  // pixel of the first row
    logic [15:0] ring_slot;
    logic [15:0] ring_last;
    logic [15:0] width;
    logic [15:0] cols;
    logic [15:0] rows;
    logic [15:0] t_row;
  } job_t;
  job_t next, job;  // `job` waits for the pixels before it
  logic job_valid, job_take;

  logic [3:0] step;
  logic [15:0] x_width, group, plane;
  logic [31:0] first, ddr;
  logic bad, long, empty, outside;
  logic [15:0] a, b;
  logic [31:0] product;  // of the operands that entered two steps before
  logic [17:0] row_words, need_words;  // of an image row; of those, what the pixels need
  logic [32:0] size;  // words of the command's image rows
  logic [33:0] limit;

  logic [59:0] line;  // address / 16 of the next request
  logic [Bits-1:0] row_rest, need_rest, advance;
  logic [15:0] rows_left;
  logic lower, last_chunk, issue;
  logic [6:0] beats;
  logic [1:0][Bits:0] reserved;  // words of a FIFO that are asked for or in it
  logic [1:0] room;  // a cycle late, but there is no request in the cycle after a request
  logic [1:0] take;
  logic tags_full, tag_valid, tag;

  assign command_ready = state == TAKE;
  assign outside = limit > 34'(input_words);

  always_ff @(posedge clk) begin
    if (state == TAKE) begin
      x_width <= command.x_width;
      group <= command.y_group0;
      plane <= command.y_plane;
      ddr <= command.ddr;
      first <= command_offset + command.ddr;
      bad <= command.channels == '0 || command.channels > (command.block == 8'd2 ? 16'd4 : 16'd16);
      next.two <= command.block == 8'd2;
      next.image <= command.flags[FLAG_IMAGE];
      next.retain <= command_retain;
      next.channels <= command.channels[4:0];
      next.run <= command.block == 8'd2 ? {command.channels[3:0], 1'b0} : command.channels[4:0];
      next.pad <= command.y_pad[3:0];
      next.slot <= command_slot;
      next.base <= command.y_base;
      next.ring_slot <= command.y_slot;
      next.ring_last <= command.y_ring - 1'b1;
      next.width <= command.y_width;
      next.cols <= command.y_cols;
      next.rows <= command.y_rows;
      next.t_row <= command.t_row;
    end

    case (step)
      4'd0: {a, b} <= {x_width, 11'b0, next.channels};
      4'd1: {a, b} <= {next.cols, 11'b0, next.run};
      4'd2: {a, b} <= {group, plane};
      4'd3: {a, b} <= {next.ring_slot, next.width};
      default: {a, b} <= {next.rows, row_words[15:0]};
    endcase
    product <= 32'(a) * 32'(b);
    if (step == 4'd2) row_words <= 18'((product[21:0] + 22'd15) >> 4);
    if (step == 4'd3) need_words <= 18'((product[21:0] + 22'd15) >> 4);
    if (step == 4'd4) next.base <= next.base + product[15:0];
    if (step == 4'd5) next.start <= product[17:0];
    if (step == 4'd6) size <= next.two ? {product, 1'b0} : {1'b0, product};
    if (step == 4'd7) limit <= {1'b0, size} + 34'(ddr);
    if (step == 4'd8) next.skip <= bad || long || empty || outside;
    long  <= row_words > Longest || need_words > Longest;
    empty <= next.rows == '0 || next.cols == '0;

    if (state == SIZE) line <= base[63:4] + 60'(first);
    else if (issue) line <= line + 60'(advance);
    if (state == GIVE) begin
      row_rest <= row_words[Bits-1:0];
      need_rest <= need_words[Bits-1:0];
      rows_left <= next.rows;
      lower <= 1'b0;
    end else if (issue) begin
      row_rest  <= last_chunk ? row_words[Bits-1:0] : row_rest - Most;
      need_rest <= last_chunk ? need_words[Bits-1:0] : need_rest - Most;
      if (last_chunk) begin
        lower <= next.two && !lower;
        if (lower || !next.two) rows_left <= rows_left - 1'b1;
      end
    end
    if (issue) begin
      read_address <= {line, 4'b0};
      read_beats   <= {1'b0, beats};
    end
    if (state == GIVE && !job_valid) job <= next;

    if (reset) begin
      state <= TAKE;
      read_valid <= 1'b0;
      job_valid <= 1'b0;
      error_bounds <= 1'b0;
    end else begin
      error_bounds <= 1'b0;
      if (issue) read_valid <= 1'b1;
      else if (read_ready) read_valid <= 1'b0;
      if (state == GIVE && !job_valid) job_valid <= 1'b1;
      else if (job_take) job_valid <= 1'b0;
      case (state)
        TAKE: begin
          step <= '0;
          if (command_valid) state <= SIZE;
        end
        SIZE: begin
          step <= step + 1'b1;
          if (step == 4'd8) begin
            state <= GIVE;
            error_bounds <= bad || long || (outside && !empty);
          end
        end
        GIVE: if (!job_valid) state <= next.skip ? TAKE : READ;
        default: if (issue && last_chunk && (lower || !next.two) && rows_left == 16'd1) state <= TAKE;
      endcase
    end
  end

  assign last_chunk = need_rest <= Most;
  assign beats = last_chunk ? need_rest[6:0] : 7'(Chunk);
  assign advance = last_chunk ? row_rest : Most;
  assign issue = state == READ && !read_valid && !tags_full && (lower ? room[1] : room[0]);

  // ---- Words into the FIFO of their image row

  small_fifo #(
      .WIDTH(1),
      .DEPTH(16)
  ) u_tags (
      .clk,
      .reset,
      .in_valid(issue),
      .in(lower),
      .full(tags_full),
      .out_valid(tag_valid),
      .out(tag),
      .out_take(data_valid && data_last && tag_valid)
  );

  logic [1:0] word_valid;
  logic [1:0][127:0] word;
  for (genvar d = 0; d < 2; d++) begin : gen_rows
    ram_fifo #(
        .WIDTH(128),
        .DEPTH(DEPTH)
    ) u_words (
        .clk,
        .reset,
        .in_valid(data_valid && tag == (d != 0)),
        .in(data),
        .out_valid(word_valid[d]),
        .out(word[d]),
        .out_take(take[d])
    );
    always_ff @(posedge clk) begin
      room[d] <= reserved[d] <= Room;
      if (reset) reserved[d] <= '0;
      else
        reserved[d] <= reserved[d] + (issue && lower == (d != 0) ? {{(Bits - 6) {1'b0}}, beats} : '0) -
            {{Bits{1'b0}}, take[d]};
    end
  end

  // ---- Jobs

  typedef enum logic [1:0] {
    WAIT,
    TABLES,
    RUN,
    DRAIN
  } phase_t;
  phase_t phase;
  job_t now;
  logic [15:0] cols_left;
  logic [17:0] row_start, pixel;
  logic last_col, one_col, last_row, emit;
  logic [5:1] valid;  // of the pipeline's stages
  logic tables_loaded, next_row;

  assign job_take = phase == WAIT && job_valid;

  always_ff @(posedge clk) begin
    if (job_take) begin
      now <= job;
      cols_left <= job.cols;
      last_col <= job.cols == 16'd1;
      row_start <= job.start;
      pixel <= job.start;
    end else if (emit) begin
      cols_left <= cols_left - 1'b1;
      last_col <= cols_left == 16'd2;
      pixel <= pixel + 1'b1;
      if (last_col) begin
        cols_left <= now.cols;
        last_col  <= one_col;
        now.rows  <= now.rows - 1'b1;
        // `row_start` has become the next row's.
        pixel <= row_start;
      end
    end
    one_col  <= now.cols == 16'd1;
    last_row <= now.rows == 16'd1;
    // In the first cycle of a row: where the next one begins
    if (next_row) begin
      if (now.ring_slot == now.ring_last) begin
        now.ring_slot <= '0;
        row_start <= '0;
      end else begin
        now.ring_slot <= now.ring_slot + 1'b1;
        row_start <= row_start + 18'(now.width);
      end
    end
    if (reset) begin
      phase <= WAIT;
      done <= 1'b0;
      next_row <= 1'b0;
    end else begin
      done <= 1'b0;
      next_row <= (job_take && !job.skip) || (emit && last_col);
      case (phase)
        WAIT:
        if (job_valid) begin
          if (job.skip) done <= 1'b1;
          else phase <= job.image && !job.retain ? TABLES : RUN;
        end
        TABLES: if (tables_loaded) phase <= RUN;
        RUN: if (emit && last_col && last_row) phase <= DRAIN;
        default:
        if (valid[4:1] == '0) begin
          phase <= WAIT;
          done  <= 1'b1;
        end
      endcase
    end
  end

  // ---- Pixels: `current` and the words at the FIFOs' outputs are a window of 32 bytes of each image row.

  logic current_valid, more, load, fits;
  logic [1:0][127:0] current;
  logic [3:0] offset;  // of the pixel in `current`
  logic [5:0] sum;  // offset + run
  assign more = word_valid[0] && (word_valid[1] || !now.two);
  assign fits = sum < 6'd16 || (sum == 6'd16 && last_col);  // nothing of the next word is needed, now or next
  assign load = phase == RUN && !current_valid && more;
  assign emit = phase == RUN && current_valid && (fits || more);
  assign take[0] = load || (emit && !fits);
  assign take[1] = take[0] && now.two;

  always_ff @(posedge clk) begin
    if (take[0]) current <= word;
    if (reset || phase != RUN) begin
      current_valid <= 1'b0;
      offset <= '0;
    end else begin
      if (load) begin  // offset is 0
        current_valid <= 1'b1;
        sum <= 6'(now.run);
      end else if (emit && last_col) current_valid <= 1'b0;
      if (emit) begin
        offset <= last_col ? '0 : sum[3:0];
        sum <= {2'b0, sum[3:0]} + 6'(now.run);
      end
    end
  end

  // Stages 1 and 2: shift the window by `offset` bytes, 4 at a time and then singly.
  logic [1:0][255:0] window;
  logic [18:0][7:0] upper_1;
  logic [10:0][7:0] lower_1;
  logic [15:0][7:0] upper_2;
  logic [7:0][7:0] lower_2;
  logic [1:0] low_1;
  assign window[0] = {word[0], current[0]};
  assign window[1] = {word[1], current[1]};
  always_ff @(posedge clk) begin
    low_1 <= offset[1:0];
    case (offset[3:2])
      2'd0: {upper_1, lower_1} <= {window[0][151:0], window[1][87:0]};
      2'd1: {upper_1, lower_1} <= {window[0][183:32], window[1][119:32]};
      2'd2: {upper_1, lower_1} <= {window[0][215:64], window[1][151:64]};
      default: {upper_1, lower_1} <= {window[0][247:96], window[1][183:96]};
    endcase
    case (low_1)
      2'd0: {upper_2, lower_2} <= {upper_1[15:0], lower_1[7:0]};
      2'd1: {upper_2, lower_2} <= {upper_1[16:1], lower_1[8:1]};
      2'd2: {upper_2, lower_2} <= {upper_1[17:2], lower_1[9:2]};
      default: {upper_2, lower_2} <= {upper_1[18:3], lower_1[10:3]};
    endcase
  end

  // ---- Tables: the answers to the ring requests are counted; each brings 4 codes of a channel.

  logic [10:0] asked, answered;
  logic [31:0] slice;
  logic [5:0] slice_word;
  logic [3:0] slice_channel;
  logic slice_valid;
  assign ring_valid = phase == TABLES && asked[10:6] != now.channels;
  assign tables_loaded = answered[10:6] == now.channels;
  always_ff @(posedge clk) begin
    slice_valid <= ring_data_valid && phase == TABLES;
    slice <= ring_data[{answered[4:0], 5'b0}+:32];
    slice_word <= answered[5:0];
    slice_channel <= answered[9:6];
    if (phase == WAIT) begin
      ring_row <= job.t_row;
      asked <= '0;
      answered <= '0;
    end else begin
      if (ring_valid && ring_ready) begin
        asked <= asked + 1'b1;
        if (asked[4:0] == '1) ring_row <= ring_row + 1'b1;
      end
      if (ring_data_valid) answered <= answered + 1'b1;
    end
  end

  // Stages 3 to 5: the bytes of the lower image row behind those of the upper one; table; nothing in the lanes behind.
  logic [4:1] run_is;  // bit r: block 2 and `run` is 2 r
  logic [5:0] used;  // lanes
  always_ff @(posedge clk) begin
    used <= now.two ? {now.run, 1'b0} : {1'b0, now.run};
    for (int r = 1; r <= 4; r++) run_is[r] <= now.two && now.run[4:1] == $unsigned(4'(r));
  end

  logic [15:0][7:0] code_5;
  for (genvar l = 0; l < 16; l++) begin : gen_lane
    localparam logic [3:0] Lane = $unsigned(4'(l));
    logic [7:0] byte_3, byte_4;
    logic [3:0] channel;
    logic [31:0] codes_4;
    logic used_lane;
    logic [31:0] mem[64];

    // l - 2 r is a byte of the lower row
    logic [7:0] moved;
    logic is_moved;
    always_comb begin
      moved = '0;
      for (int r = 1; r <= 4; r++) if (2 * r <= l && l < 4 * r && run_is[r]) moved = moved | lower_2[(l-2*r)&7];
    end
    always_comb begin
      is_moved = 1'b0;
      for (int r = 1; r <= 4; r++) if (2 * r <= l && l < 4 * r && run_is[r]) is_moved = 1'b1;
    end

    always_ff @(posedge clk) begin
      byte_3 <= is_moved ? moved : upper_2[l];
      byte_4 <= byte_3;
      codes_4 <= mem[byte_3[7:2]];
      if (slice_valid && slice_channel == channel) mem[slice_word] <= slice;
      case ({
        now.two, now.channels[2:0]
      })
        4'b1_001: channel <= '0;
        4'b1_010: channel <= $unsigned(4'(l % 2));
        4'b1_011: channel <= $unsigned(4'(l % 3));
        4'b1_100: channel <= $unsigned(4'(l % 4));
        default:  channel <= Lane;
      endcase
      used_lane <= used > {2'b0, Lane};
      if (!used_lane) code_5[l] <= '0;
      else if (!now.image) code_5[l] <= byte_4;
      else
        case (byte_4[1:0])
          2'd0: code_5[l] <= codes_4[7:0];
          2'd1: code_5[l] <= codes_4[15:8];
          2'd2: code_5[l] <= codes_4[23:16];
          default: code_5[l] <= codes_4[31:24];
        endcase
    end
  end

  logic [17:0] pixel_1, pixel_2, pixel_3, pixel_4, pixel_5;
  logic [3:0] pad_5;
  logic [15:0] base_5;
  always_ff @(posedge clk) begin
    if (reset) valid <= '0;
    else valid <= {valid[4:1], emit};
    pixel_1 <= pixel;
    pixel_2 <= pixel_1;
    pixel_3 <= pixel_2;
    pixel_4 <= pixel_3;
    pixel_5 <= pixel_4;
    pad_5 <= now.pad;
    base_5 <= now.base;
    write_slot <= now.slot;
  end

  always_comb begin
    write = '0;
    write.valid = valid[5];
    write.pad = pad_5;
    write.base = base_5;
    write.pixel = pixel_5;
    write.count = 4'd1;
    write.words[0] = {code_5};
  end

  assign idle = state == TAKE && !job_valid && phase == WAIT && !tag_valid && !read_valid && !done;

  logic unused;
  assign unused = &{1'b0, command, base[3:0], now};

endmodule

`default_nettype wire
