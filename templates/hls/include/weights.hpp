// SPDX-License-Identifier: Apache-2.0
// Weight loader: LOAD_WEIGHTS of both rings in turn, a chunk of rows at a time; four AXI ports in parallel.
//
//   commands --> load_chunks --> read_port<0..3> --> beats --> assemble_rows --> rows of the weight ring, of the head's
//                          \----------- chunk, ring row ------^
#ifndef HWGEN_WEIGHTS_HPP
#define HWGEN_WEIGHTS_HPP

#include "ring.hpp"

namespace hwgen {

constexpr int CHUNK_ROWS = 128;                       // ring rows of one burst of each port
constexpr int PORT_BEATS = 2;                         // 16-byte beats that a port brings for a ring row
constexpr int CHUNK_BEATS = CHUNK_ROWS * PORT_BEATS;  // depth of a port's beats: a whole burst, so that it never stalls
constexpr int CHUNKS = 4;                             // bursts that wait behind the one in work
static_assert(CHUNK_BEATS <= 256, "a burst has at most 256 beats");

// A burst of a port: `beats` words from `first` on.
struct BeatRequest {
  ap_uint<32> first;
  ap_uint<16> beats;
};

// `rows` rows from ring row `row` on; `last` where they end a LOAD_WEIGHTS.
struct RowChunk {
  ap_uint<16> row;
  ap_uint<16> rows;
  bool last;
};

// What is left of a LOAD_WEIGHTS.
struct Load {
  ap_uint<16> rows;
  ap_uint<16> row;
  ap_uint<32> beat;    // of the first port
  ap_uint<32> stripe;  // beats from one port's to the next one's
};

inline void take_load(hls::stream<Word, COMMANDS>& commands, Load& load) {
#pragma HLS INLINE
  if (load.rows == 0 && !commands.empty()) {
    const Instruction ins = take_command(commands);
    HWGEN_CHECK(ins.opcode == OP_LOAD_WEIGHTS, "the Program holds an unknown opcode");
    load.rows = ins.w_rows;
    load.row = ins.w_row;
    load.beat = ins.ddr * (WEIGHT_PORTS * PORT_BEATS);
    load.stripe = ins.w_rows * PORT_BEATS;
  }
}

// The next chunk of a load; beat j * stripe of the blob is where port j starts.
inline void send_chunk(Load& load, hls::stream<BeatRequest, CHUNKS>& port0, hls::stream<BeatRequest, CHUNKS>& port1,
                       hls::stream<BeatRequest, CHUNKS>& port2, hls::stream<BeatRequest, CHUNKS>& port3,
                       hls::stream<RowChunk, CHUNKS>& chunks) {
#pragma HLS INLINE
  if (load.rows != 0) {
    const int rows = minimum(load.rows, CHUNK_ROWS);
    RowChunk chunk;
    chunk.row = load.row;
    chunk.rows = rows;
    chunk.last = load.rows == rows;
    chunks.write(chunk);
    BeatRequest request;
    request.beats = rows * PORT_BEATS;
    request.first = load.beat;
    port0.write(request);
    request.first += load.stripe;
    port1.write(request);
    request.first += load.stripe;
    port2.write(request);
    request.first += load.stripe;
    port3.write(request);
    load.row += rows;
    load.beat += rows * PORT_BEATS;
    load.rows -= rows;
  }
}

// A chunk of each ring in turn, so that a long load of the head does not hold up the body.
inline void load_chunks(hls::stream<Word, COMMANDS>& weights_commands, hls::stream<Word, COMMANDS>& head_commands,
                        hls::stream<BeatRequest, CHUNKS>& port0, hls::stream<BeatRequest, CHUNKS>& port1,
                        hls::stream<BeatRequest, CHUNKS>& port2, hls::stream<BeatRequest, CHUNKS>& port3,
                        hls::stream<RowChunk, CHUNKS>& chunks) {
  static Load weights = {0, 0, 0, 0};
  static Load head = {0, 0, 0, 0};
  take_load(weights_commands, weights);
  send_chunk(weights, port0, port1, port2, port3, chunks);
  take_load(head_commands, head);
  send_chunk(head, port0, port1, port2, port3, chunks);
}

// PORT makes each reader a function of its own.
template <int PORT>
void read_port(const Word* weights, hls::stream<BeatRequest, CHUNKS>& requests, hls::stream<Word, CHUNK_BEATS>& beats) {
  const BeatRequest request = requests.read();
read_port_beats:
  for (int i = 0; i < request.beats.to_int(); ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 2 max = 256
#pragma HLS PIPELINE II = 1
    beats.write(weights[request.first.to_uint64() + i]);
  }
}

inline void assemble_rows(hls::stream<RowChunk, CHUNKS>& chunks, hls::stream<Word, CHUNK_BEATS>& beats0,
                          hls::stream<Word, CHUNK_BEATS>& beats1, hls::stream<Word, CHUNK_BEATS>& beats2,
                          hls::stream<Word, CHUNK_BEATS>& beats3, hls::stream<RowWrite, ROW_WRITES>& weights,
                          hls::stream<RowWrite, ROW_WRITES>& head) {
  const RowChunk chunk = chunks.read();
  const int beats = chunk.rows.to_int() * PORT_BEATS;
  Word first[WEIGHT_PORTS];
#pragma HLS ARRAY_PARTITION variable = first complete
assemble_beats:
  for (int i = 0; i < beats; ++i) {
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
      RowWrite write;
      write.row = chunk.row + (i >> 1);
      write.last = chunk.last && i == beats - 1;
      HWGEN_CHECK(chunk.row.to_int() + (i >> 1) < WEIGHT_ROWS, "LOAD_WEIGHTS writes outside the weight ring");
      for (int port = 0; port < WEIGHT_PORTS; ++port) {
#pragma HLS UNROLL
        write.data.chunks[4 * port] = first[port].range(63, 0);
        write.data.chunks[4 * port + 1] = first[port].range(127, 64);
        write.data.chunks[4 * port + 2] = beat[port].range(63, 0);
        write.data.chunks[4 * port + 3] = beat[port].range(127, 64);
      }
      if (chunk.row < RING_ROWS) {
        weights.write(write);
      } else {
        head.write(write);
      }
    }
  }
}

}  // namespace hwgen

#endif
