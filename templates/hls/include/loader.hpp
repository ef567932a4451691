// SPDX-License-Identifier: Apache-2.0
// Image rows into a pad: space to depth, and a table for each channel (normalize and quantize uint8 bytes).
//
//   commands --> input_issue --> requests of image rows, of ring rows
//                     +--> input_load: lines of two image rows --> tables --> writes
#ifndef HWGEN_LOADER_HPP
#define HWGEN_LOADER_HPP

#include "epilogue.hpp"
#include "io.hpp"

namespace hwgen {

constexpr int IMAGE_WORDS = IMAGE_ROW_BYTES / 16;
constexpr int BLOCK_MAX = 2;
constexpr int BYTE_TABLE_CHUNKS = 32;  // 256 entries, eight a chunk

// A table of the channel of each lane: the bytes of a pixel's block follow each other channel by channel.
inline void load_byte_tables(hls::stream<Row, ANSWERS>& rows, int channels, Chunk tables[LANES][BYTE_TABLE_CHUNKS]) {
  int lane_channel[LANES];
#pragma HLS ARRAY_PARTITION variable = lane_channel complete
  int channel = 0;
load_byte_lanes:
  for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS PIPELINE II = 1
    lane_channel[lane] = channel;
    ++channel;
    if (channel == channels) {
      channel = 0;
    }
  }
load_byte_channels:
  for (int c = 0; c < channels; ++c) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 16
    Row row;
#pragma HLS ARRAY_PARTITION variable = row.chunks complete
  load_byte_chunks:
    for (int i = 0; i < BYTE_TABLE_CHUNKS; ++i) {
#pragma HLS PIPELINE II = 1
      if (i % ROW_CHUNKS == 0) {
        row = rows.read();
      }
      for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
        if (lane_channel[lane] == c) {
          tables[lane][i] = row.chunks[i % ROW_CHUNKS];
        }
      }
    }
  }
}

// Words of one row of pixels: `block` image rows.
inline int image_words(const Instruction& ins) {
#pragma HLS INLINE
  const int row_words = (size_product(ins.x_width, ins.channels) + 15) / 16;
  HWGEN_CHECK(row_words <= IMAGE_WORDS, "LOAD_INPUT has an image row longer than its buffer");
  return row_words;
}

// One burst for each row of pixels; the next one is read while a row is written.
inline void input_issue(hls::stream<Word, COMMANDS>& commands, hls::stream<Word, COMMANDS>& to_load,
                        hls::stream<IoRequest, IO_REQUESTS>& images, hls::stream<RowRequest, ROW_REQUESTS>& rows) {
  const Instruction ins = pass_command(commands, to_load);
  HWGEN_CHECK(ins.opcode == OP_LOAD_INPUT, "the Program holds an unknown opcode");
  const int row_words = image_words(ins);
  const int words = ins.block == 2 ? 2 * row_words : row_words;
  if (has(ins, FLAG_IMAGE) && !has(ins, FLAG_RETAIN)) {
    rows.write(RowRequest{ins.t_row, ap_uint<16>(2 * ins.channels)});
  }
  ap_uint<32> word = ins.ddr;
input_issue_rows:
  for (int y_row = 0; y_row < ins.y_rows.to_int(); ++y_row) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 112
    images.write(IoRequest{word, ap_uint<16>(words)});
    word += words;
  }
}

inline void input_load(hls::stream<Word, COMMANDS>& commands, hls::stream<Word, IO_WORDS>& image,
                       hls::stream<Row, ANSWERS>& rows, hls::stream<Write<1>, WRITES>& writes) {
  // One word more than a row: a pixel may begin in the last word.
  Word lines[BLOCK_MAX][IMAGE_WORDS + 1];
#pragma HLS ARRAY_PARTITION variable = lines complete dim = 1
#pragma HLS BIND_STORAGE variable = lines type = ram_t2p impl = bram
  static Chunk tables[LANES][BYTE_TABLE_CHUNKS];
#pragma HLS ARRAY_PARTITION variable = tables complete dim = 1
#pragma HLS BIND_STORAGE variable = tables type = ram_s2p impl = lutram
#pragma HLS RESET variable = tables off
  const Instruction ins = take_command(commands);
  const int channels = ins.channels;
  const int block = ins.block;
  const int run = block == 2 ? 2 * channels : channels;  // bytes of one image row in a pixel's block
  const int used = block == 2 ? 2 * run : run;
  const int row_words = image_words(ins);
  const int slot = slot_of(ins);
  const int y_rows = ins.y_rows;
  const int y_cols = ins.y_cols;
  const bool mapped = has(ins, FLAG_IMAGE);
  HWGEN_CHECK(block >= 1 && block <= BLOCK_MAX && channels >= 1 && used <= LANES,
              "LOAD_INPUT has more channels than a word");
  if (mapped && !has(ins, FLAG_RETAIN)) {
    load_byte_tables(rows, channels, tables);
  }
load_input_rows:
  for (int y_row = 0; y_row < y_rows; ++y_row) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 112
  load_input_words:
    for (int n = 0, dy = 0, i = 0; n < (block == 2 ? 2 * row_words : row_words); ++n) {  // one burst
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 128
#pragma HLS PIPELINE II = 1
      lines[dy][i] = image.read();
      ++i;
      if (i == row_words) {
        i = 0;
        ++dy;
      }
    }
    int byte = 0;
  load_input_pixels:
    for (int x = 0; x < y_cols; ++x) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 112
#pragma HLS PIPELINE II = 1
      Code bytes[BLOCK_MAX][LANES];
      Code lanes[LANES];
#pragma HLS ARRAY_PARTITION variable = bytes complete dim = 0
#pragma HLS ARRAY_PARTITION variable = lanes complete
      for (int dy = 0; dy < BLOCK_MAX; ++dy) {
#pragma HLS UNROLL
        if (dy < block) {
          const int first = byte / 16;
          const ap_uint<256> both = (lines[dy][first + 1], lines[dy][first]);
          const Word aligned = both >> (8 * (byte % 16));
          unpack(aligned, bytes[dy]);
        }
      }
      for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
        const bool lower = lane >= run;
        const int index = lower ? lane - run : lane;
        Code code = bytes[lower ? 1 : 0][index & (LANES - 1)];
        if (mapped) {
          const ap_uint<8> entry = code;
          const Chunk chunk = tables[lane][entry >> 3];
          const ap_uint<3> at = entry;
          code = ap_uint<8>(chunk >> (8 * at.to_int()));
        }
        lanes[lane] = lane < used ? code : Code(0);
      }
      Write<1> write;
      write.window = y_window(ins, slot, ins.y_group0, y_row, x, 1);
      write.last = y_row == y_rows - 1 && x == y_cols - 1;
      write.data.words[0] = pack(lanes);
      writes.write(write);
      byte += run;
    }
  }
}

}  // namespace hwgen

#endif
