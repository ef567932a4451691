// SPDX-License-Identifier: Apache-2.0
// Weight loader: four AXI ports in parallel, each into its own stream, one process that writes the ring.
//
//   weights0 --read_port<0>--> stream --+
//   weights1 --read_port<1>--> stream --+--> write_ring --> ring
//   weights2 --read_port<2>--> stream --+
//   weights3 --read_port<3>--> stream --+
#ifndef HWGEN_WEIGHTS_HPP
#define HWGEN_WEIGHTS_HPP

#include <hls_stream.h>

#include "memory.hpp"

namespace hwgen {

constexpr int CHUNK_ROWS = 128;                       // ring rows of one pass through the region
constexpr int PORT_BEATS = 2;                         // 16-byte beats that a port brings for a ring row
constexpr int CHUNK_BEATS = CHUNK_ROWS * PORT_BEATS;  // depth of a stream: a whole burst, so that the simulation,
                                                      // which runs one process after the other, never blocks
static_assert(CHUNK_BEATS <= 256, "a burst has at most 256 beats");

// PORT makes each reader a function of its own: two calls of one function are not allowed in a DATAFLOW region.
template <int PORT>
void read_port(const Word* weights, hls::stream<Word, CHUNK_BEATS>& beats, unsigned first, int rows) {
read_port_beats:
  for (int i = 0; i < rows * PORT_BEATS; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 2 max = 256
#pragma HLS PIPELINE II = 1
    beats.write(weights[first + i]);
  }
}

inline void write_ring(hls::stream<Word, CHUNK_BEATS>& beats0, hls::stream<Word, CHUNK_BEATS>& beats1,
                       hls::stream<Word, CHUNK_BEATS>& beats2, hls::stream<Word, CHUNK_BEATS>& beats3,
                       Chunk ring[WEIGHT_ROWS][ROW_CHUNKS], int row, int rows) {
  Word first[WEIGHT_PORTS];
#pragma HLS ARRAY_PARTITION variable = first complete
write_ring_rows:
  for (int i = 0; i < rows * PORT_BEATS; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 2 max = 256
#pragma HLS PIPELINE II = 1
    Word beat[WEIGHT_PORTS];
#pragma HLS ARRAY_PARTITION variable = beat complete
    beat[0] = beats0.read();
    beat[1] = beats1.read();
    beat[2] = beats2.read();
    beat[3] = beats3.read();
    if ((i & 1) == 0) {
      for (int port = 0; port < WEIGHT_PORTS; ++port) {
#pragma HLS UNROLL
        first[port] = beat[port];
      }
    } else {
      const int target = row + (i >> 1);
      HWGEN_CHECK(target < WEIGHT_ROWS, "LOAD_WEIGHTS writes outside the weight ring");
      for (int port = 0; port < WEIGHT_PORTS; ++port) {
#pragma HLS UNROLL
        ring[target][4 * port] = first[port].range(63, 0);
        ring[target][4 * port + 1] = first[port].range(127, 64);
        ring[target][4 * port + 2] = beat[port].range(63, 0);
        ring[target][4 * port + 3] = beat[port].range(127, 64);
      }
    }
  }
}

// Beat j * stripe of the blob is where port j starts.
inline void load_chunk(const Word* weights0, const Word* weights1, const Word* weights2, const Word* weights3,
                       Chunk ring[WEIGHT_ROWS][ROW_CHUNKS], unsigned beat0, unsigned beat1, unsigned beat2,
                       unsigned beat3, int row, int rows) {
#pragma HLS DATAFLOW
  hls::stream<Word, CHUNK_BEATS> beats0("weights0");
  hls::stream<Word, CHUNK_BEATS> beats1("weights1");
  hls::stream<Word, CHUNK_BEATS> beats2("weights2");
  hls::stream<Word, CHUNK_BEATS> beats3("weights3");
#pragma HLS BIND_STORAGE variable = beats0 type = fifo impl = bram
#pragma HLS BIND_STORAGE variable = beats1 type = fifo impl = bram
#pragma HLS BIND_STORAGE variable = beats2 type = fifo impl = bram
#pragma HLS BIND_STORAGE variable = beats3 type = fifo impl = bram
  read_port<0>(weights0, beats0, beat0, rows);
  read_port<1>(weights1, beats1, beat1, rows);
  read_port<2>(weights2, beats2, beat2, rows);
  read_port<3>(weights3, beats3, beat3, rows);
  write_ring(beats0, beats1, beats2, beats3, ring, row, rows);
}

inline void run_load_weights(const Instruction& ins, const Word* weights0, const Word* weights1, const Word* weights2,
                             const Word* weights3, Chunk ring[WEIGHT_ROWS][ROW_CHUNKS]) {
#pragma HLS INLINE off
  const int rows = ins.w_rows;
  const unsigned stripe = rows * PORT_BEATS;
  const unsigned start = ins.ddr.to_uint() * (WEIGHT_PORTS * PORT_BEATS);
load_weights_chunks:
  for (int done = 0; done < rows; done += CHUNK_ROWS) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 32
    const unsigned beat = start + done * PORT_BEATS;
    load_chunk(weights0, weights1, weights2, weights3, ring, beat, beat + stripe, beat + 2 * stripe, beat + 3 * stripe,
               ins.w_row.to_int() + done, minimum(rows - done, CHUNK_ROWS));
  }
}

}  // namespace hwgen

#endif
