// SPDX-License-Identifier: Apache-2.0
// Image rows into a pad: space to depth, and a table for each channel (normalize and quantize uint8 bytes).
#ifndef HWGEN_LOADER_HPP
#define HWGEN_LOADER_HPP

#include "memory.hpp"

namespace hwgen {

constexpr int IMAGE_WORDS = IMAGE_ROW_BYTES / 16;
constexpr int BLOCK_MAX = 2;
constexpr int BYTE_TABLE_CHUNKS = 32;  // 256 entries, eight a chunk

// A table of the channel of each lane: the bytes of a pixel's block follow each other channel by channel.
inline void load_byte_tables(const Chunk ring[WEIGHT_ROWS][ROW_CHUNKS], int row, int channels,
                             Chunk tables[LANES][BYTE_TABLE_CHUNKS]) {
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
  load_byte_chunks:
    for (int i = 0; i < BYTE_TABLE_CHUNKS; ++i) {
#pragma HLS PIPELINE II = 1
      Chunk chunks[ROW_CHUNKS];
#pragma HLS ARRAY_PARTITION variable = chunks complete
      read_row(ring, row + 2 * c + i / ROW_CHUNKS, chunks);
      for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
        if (lane_channel[lane] == c) {
          tables[lane][i] = chunks[i % ROW_CHUNKS];
        }
      }
    }
  }
}

inline void run_load_input(const Instruction& ins, const Word* input, unsigned frame_word,
                           Word pads[PADS][BANKS][PAD_ROWS], const Chunk ring[WEIGHT_ROWS][ROW_CHUNKS]) {
#pragma HLS INLINE off
  // One word more than a row: a pixel may begin in the last word.
  Word lines[BLOCK_MAX][IMAGE_WORDS + 1];
#pragma HLS ARRAY_PARTITION variable = lines complete dim = 1
#pragma HLS BIND_STORAGE variable = lines type = ram_t2p impl = bram
  Chunk tables[LANES][BYTE_TABLE_CHUNKS];
#pragma HLS ARRAY_PARTITION variable = tables complete dim = 1
#pragma HLS BIND_STORAGE variable = tables type = ram_s2p impl = lutram
  const int channels = ins.channels;
  const int block = ins.block;
  const int run = block == 2 ? 2 * channels : channels;  // bytes of one image row in a pixel's block
  const int used = block == 2 ? 2 * run : run;
  const int row_words = (index_product(ins.x_width, channels) + 15) / 16;
  const bool image = has(ins, FLAG_IMAGE);
  HWGEN_CHECK(block >= 1 && block <= BLOCK_MAX && channels >= 1 && used <= LANES,
              "LOAD_INPUT has more channels than a word");
  HWGEN_CHECK(row_words <= IMAGE_WORDS, "LOAD_INPUT has an image row longer than its buffer");
  if (image) {
    load_byte_tables(ring, ins.t_row, channels, tables);
  }
  const int base = ins.y_base.to_int() + index_product(ins.y_group0, ins.y_plane);
  unsigned word = frame_word + ins.ddr.to_uint();
load_input_rows:
  for (int y_row = 0; y_row < ins.y_rows.to_int(); ++y_row) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 112
  load_input_words:
    for (int n = 0, dy = 0, i = 0; n < (block == 2 ? 2 * row_words : row_words); ++n) {  // one burst
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 128
#pragma HLS PIPELINE II = 1
      lines[dy][i] = input[word + n];
      ++i;
      if (i == row_words) {
        i = 0;
        ++dy;
      }
    }
    word += block == 2 ? 2 * row_words : row_words;
    const int y_start = index_product(ring_slot(ins.y_slot, y_row, ins.y_ring), ins.y_width);
    int byte = 0;
  load_input_pixels:
    for (int x = 0; x < ins.y_cols.to_int(); ++x) {
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
        if (image) {
          const ap_uint<8> entry = code;
          const Chunk chunk = tables[lane][entry >> 3];
          const ap_uint<3> at = entry;
          code = ap_uint<8>(chunk >> (8 * at.to_int()));
        }
        lanes[lane] = lane < used ? code : Code(0);
      }
      write_pixel(pads, ins.y_pad, base, y_start + x, pack(lanes));
      byte += run;
    }
  }
}

}  // namespace hwgen

#endif
