// SPDX-License-Identifier: Apache-2.0
// The reads of the port gmem_io: of the Program for the fetch, of frames for the input loader, one burst after the other.
#ifndef HWGEN_IO_HPP
#define HWGEN_IO_HPP

#include "memory.hpp"

namespace hwgen {

// `count` words from word `first` of the Program or of the input buffer on.
struct IoRequest {
  ap_uint<32> first;
  ap_uint<16> count;
};

constexpr int IO_REQUESTS = 2;  // the next burst waits while one is read
constexpr int IO_WORDS = 32;    // the memory's latency in words is hidden by the burst, these cover its client's pace

inline void read_io(const Word* program, const Word* input, hls::stream<IoRequest, IO_REQUESTS>& record_requests,
                    hls::stream<Word, IO_WORDS>& record_words, hls::stream<IoRequest, IO_REQUESTS>& image_requests,
                    hls::stream<Word, IO_WORDS>& image_words) {
  if (!record_requests.empty()) {
    const IoRequest request = record_requests.read();
  read_io_records:
    for (int i = 0; i < request.count.to_int(); ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 8 max = 8
#pragma HLS PIPELINE II = 1
      record_words.write(program[request.first.to_uint64() + i]);
    }
  }
  if (!image_requests.empty()) {
    const IoRequest request = image_requests.read();
  read_io_image:
    for (int i = 0; i < request.count.to_int(); ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 256
#pragma HLS PIPELINE II = 1
      image_words.write(input[request.first.to_uint64() + i]);
    }
  }
}

}  // namespace hwgen

#endif
