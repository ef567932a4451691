// SPDX-License-Identifier: Apache-2.0
// The weight ring and the head's ring, each owned by one process that takes a row of the loader and gives a row to one
// engine in each cycle.
//
//   requests of rows --> one row of one engine a cycle, the array first --> rows of that engine
//   rows of the loader --> ring; behind the last of a LOAD_WEIGHTS a token
#ifndef HWGEN_RING_HPP
#define HWGEN_RING_HPP

#include "memory.hpp"

namespace hwgen {

// A row of LOAD_WEIGHTS; `last` with the last one.
struct RowWrite {
  ap_uint<16> row;
  bool last;
  Row data;
};

constexpr int ROW_REQUESTS = 16;  // bursts of rows: an address generator may be some steps of one pixel group ahead
constexpr int ROW_WRITES = 2;     // the ring takes a row in every cycle, and one comes in two

inline Code row_byte(const Row& row, int byte) {
#pragma HLS INLINE
  const Chunk chunk = row.chunks[byte >> 3];
  const Code code = ap_uint<8>(chunk >> (8 * (byte & 7)));
  return code;
}

inline ap_uint<32> row_word(const Row& row, int word) {
#pragma HLS INLINE
  const Chunk chunk = row.chunks[word >> 1];
  const ap_uint<32> value = chunk >> (32 * (word & 1));
  return value;
}

// What an engine still gets of its burst.
struct Burst {
  ap_uint<16> row;
  ap_uint<16> left;
};

// The next burst of an engine, and whether a row of it can be read now.
inline bool next_row(hls::stream<RowRequest, ROW_REQUESTS>& requests, hls::stream<Row, ANSWERS>& rows, Burst& burst) {
#pragma HLS INLINE
  RowRequest request;
  if (burst.left == 0 && requests.read_nb(request)) {
    burst.row = request.row;
    burst.left = request.count;
  }
  return burst.left != 0 && static_cast<int>(rows.size()) <= ANSWERS - IN_FLIGHT;
}

inline void give_row(bool given, const Row& row, hls::stream<Row, ANSWERS>& rows, Burst& burst) {
#pragma HLS INLINE
  if (given) {
    rows.write(row);
    ++burst.row;
    --burst.left;
  }
}

template <int ROWS>
void write_row(hls::stream<RowWrite, ROW_WRITES>& writes, hls::stream<Token, TOKENS>& done, int first,
               Chunk ring[ROWS][ROW_CHUNKS]) {
#pragma HLS INLINE
  RowWrite write;
  if (writes.read_nb(write)) {
    const int row = write.row.to_int() - first;
    HWGEN_CHECK(row >= 0 && row < ROWS, "LOAD_WEIGHTS writes outside the weight ring");
    for (int i = 0; i < ROW_CHUNKS; ++i) {
#pragma HLS UNROLL
      ring[row][i] = write.data.chunks[i];
    }
    if (write.last) {
      done.write(1);  // Room: a queue has at most TOKENS instructions under way.
    }
  }
}

template <int ROWS>
Row read_row(const Chunk ring[ROWS][ROW_CHUNKS], int row) {
#pragma HLS INLINE
  HWGEN_CHECK(row >= 0 && row < ROWS, "an instruction reads a row outside the weight ring");
  Row data;
  for (int i = 0; i < ROW_CHUNKS; ++i) {
#pragma HLS UNROLL
    data.chunks[i] = ring[row][i];
  }
  return data;
}

// One cycle of the weight ring.
inline void weight_ring(hls::stream<RowRequest, ROW_REQUESTS>& array_requests, hls::stream<Row, ANSWERS>& array_rows,
                        hls::stream<RowRequest, ROW_REQUESTS>& depthwise_requests,
                        hls::stream<Row, ANSWERS>& depthwise_rows,
                        hls::stream<RowRequest, ROW_REQUESTS>& eltwise_requests,
                        hls::stream<Row, ANSWERS>& eltwise_rows,
                        hls::stream<RowRequest, ROW_REQUESTS>& attention_requests,
                        hls::stream<Row, ANSWERS>& attention_rows,
                        hls::stream<RowRequest, ROW_REQUESTS>& input_requests, hls::stream<Row, ANSWERS>& input_rows,
                        hls::stream<RowWrite, ROW_WRITES>& writes, hls::stream<Token, TOKENS>& done) {
#pragma HLS PIPELINE II = 1
#pragma HLS LATENCY max = 7
  static Chunk ring[RING_ROWS][ROW_CHUNKS];  // a row is one 1024-bit word
#pragma HLS ARRAY_RESHAPE variable = ring complete dim = 2
#pragma HLS BIND_STORAGE variable = ring type = ram_s2p impl = bram
#pragma HLS RESET variable = ring off
// A reader waits for the token of the load, and a load for the readers of what it overwrites (hwgen/plan/waits.py).
#pragma HLS DEPENDENCE variable = ring type = inter dependent = false
  static Burst array = {0, 0};
  static Burst depthwise = {0, 0};
  static Burst eltwise = {0, 0};
  static Burst attention = {0, 0};
  static Burst input = {0, 0};
  static ap_uint<2> turns = 0;  // the array has at most three rows of four where another engine waits

  const bool array_wants = next_row(array_requests, array_rows, array);
  const bool depthwise_wants = next_row(depthwise_requests, depthwise_rows, depthwise);
  const bool eltwise_wants = next_row(eltwise_requests, eltwise_rows, eltwise);
  const bool attention_wants = next_row(attention_requests, attention_rows, attention);
  const bool input_wants = next_row(input_requests, input_rows, input);
  const bool others = depthwise_wants || eltwise_wants || attention_wants || input_wants;
  const bool array_gets = array_wants && (turns != 3 || !others);
  const bool depthwise_gets = !array_gets && depthwise_wants;
  const bool eltwise_gets = !array_gets && !depthwise_wants && eltwise_wants;
  const bool attention_gets = !array_gets && !depthwise_wants && !eltwise_wants && attention_wants;
  const bool input_gets = !array_gets && !depthwise_wants && !eltwise_wants && !attention_wants && input_wants;
  if (array_wants || others) {
    int row = input.row;
    if (array_gets) {
      row = array.row;
    } else if (depthwise_gets) {
      row = depthwise.row;
    } else if (eltwise_gets) {
      row = eltwise.row;
    } else if (attention_gets) {
      row = attention.row;
    }
    const Row data = read_row<RING_ROWS>(ring, row);
    give_row(array_gets, data, array_rows, array);
    give_row(depthwise_gets, data, depthwise_rows, depthwise);
    give_row(eltwise_gets, data, eltwise_rows, eltwise);
    give_row(attention_gets, data, attention_rows, attention);
    give_row(input_gets, data, input_rows, input);
  }
  turns = array_gets ? ap_uint<2>(turns + 1) : ap_uint<2>(0);
  write_row<RING_ROWS>(writes, done, 0, ring);
}

// One cycle of the head's ring, whose rows have the numbers behind those of the weight ring.
inline void head_ring(hls::stream<RowRequest, ROW_REQUESTS>& mlp_requests, hls::stream<Row, ANSWERS>& mlp_rows,
                      hls::stream<RowWrite, ROW_WRITES>& writes, hls::stream<Token, TOKENS>& done) {
#pragma HLS PIPELINE II = 1
#pragma HLS LATENCY max = 7
  static Chunk rows[HEAD_ROWS][ROW_CHUNKS];
#pragma HLS ARRAY_RESHAPE variable = rows complete dim = 2
#pragma HLS BIND_STORAGE variable = rows type = ram_s2p impl = bram
#pragma HLS RESET variable = rows off
#pragma HLS DEPENDENCE variable = rows type = inter dependent = false
  static Burst mlp = {0, 0};
  const bool gets = next_row(mlp_requests, mlp_rows, mlp);
  if (gets) {
    give_row(true, read_row<HEAD_ROWS>(rows, mlp.row.to_int() - RING_ROWS), mlp_rows, mlp);
  }
  write_row<HEAD_ROWS>(writes, done, RING_ROWS, rows);
}

}  // namespace hwgen

#endif
