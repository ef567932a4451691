// SPDX-License-Identifier: Apache-2.0
// C simulation: puts program, weights and input frames into buffers as they lie in the board's memory, starts the
// accelerator once, writes back what it wrote.
//
// ORDER other than 0 lets tasks run in a random order, so that a result that depends on timing shows.
//
//   testbench PROGRAM WEIGHTS INPUT OUTPUT TRACE FRAMES [TRACE_ENABLE [PROGRESS [ORDER]]]
//
// Exit code: 0 good, 2 usage or file, 3 not a Program for this machine, 4 an address outside a memory, 5 a stream that
// would hang, 6 entries left in a stream, 7 a stream with two writers or readers.
#include <hls_stream.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "dispatch.hpp"
#include "top.hpp"

namespace {

typedef std::vector<ap_uint<128> > Buffer;

bool progress = false;

void fail(const char* what, const char* path) {
  std::fprintf(stderr, "testbench: %s %s\n", what, path);
  std::exit(2);
}

// A file as words, the last one filled up with zeros; never empty, so that there is an address.
Buffer read_file(const char* path) {
  std::FILE* file = std::fopen(path, "rb");
  if (file == nullptr) {
    fail("cannot read", path);
  }
  Buffer words;
  unsigned char bytes[16];
  size_t count = 0;
  do {
    std::memset(bytes, 0, sizeof(bytes));
    count = std::fread(bytes, 1, sizeof(bytes), file);
    if (count > 0 || words.empty()) {
      unsigned long long low = 0;
      unsigned long long high = 0;
      for (int i = 7; i >= 0; --i) {
        low = low << 8 | bytes[i];
        high = high << 8 | bytes[i + 8];
      }
      words.push_back((ap_uint<128>(high) << 64) | ap_uint<128>(low));
    }
  } while (count == sizeof(bytes));
  std::fclose(file);
  return words;
}

void write_file(const char* path, const Buffer& words, size_t count) {
  std::FILE* file = std::fopen(path, "wb");
  bool good = file != nullptr;
  for (size_t w = 0; good && w < count; ++w) {
    const ap_uint<64> half[2] = {ap_uint<64>(words[w].range(63, 0)), ap_uint<64>(words[w].range(127, 64))};
    unsigned char bytes[16];
    for (int i = 0; i < 16; ++i) {
      bytes[i] = static_cast<unsigned char>(half[i / 8].to_uint64() >> (8 * (i % 8)));
    }
    good = std::fwrite(bytes, 1, sizeof(bytes), file) == sizeof(bytes);
  }
  if (file != nullptr && std::fclose(file) != 0) {
    good = false;
  }
  if (!good) {
    fail("cannot write", path);
  }
}

}  // namespace

void hwgen::report_complete(unsigned frames, unsigned instructions) {
  static unsigned long long done = 0;
  ++done;
  if (progress && (done % 16 == 0 || done % instructions == 0)) {
    const unsigned groups = (frames + hwgen::SLOTS - 1) / hwgen::SLOTS;
    const unsigned first = static_cast<unsigned>((done - 1) / instructions) * hwgen::SLOTS;
    const unsigned last = frames - first < hwgen::SLOTS ? frames : first + hwgen::SLOTS;
    std::printf("frames %u-%u/%u instruction %llu/%u\n", first + 1, last, frames, done, groups * instructions);
    std::fflush(stdout);
  }
}

int main(int argc, char** argv) {
  if (argc < 7) {
    std::fprintf(stderr,
                 "usage: testbench PROGRAM WEIGHTS INPUT OUTPUT TRACE FRAMES [TRACE_ENABLE [PROGRESS [ORDER]]]\n");
    return 2;
  }
  const unsigned frames = static_cast<unsigned>(std::strtoul(argv[6], nullptr, 10));
  const bool trace_enable = argc > 7 && std::strcmp(argv[7], "0") != 0;
  progress = argc > 8 && std::strcmp(argv[8], "0") != 0;
#ifdef HWGEN_SIM_HLS_STREAM_H
  hls::simulation_seed(argc > 9 ? static_cast<unsigned>(std::strtoul(argv[9], nullptr, 10)) : 0);
#endif

  const Buffer program = read_file(argv[1]);
  const Buffer weights = read_file(argv[2]);
  const Buffer input = read_file(argv[3]);
  if (program.size() < hwgen::RECORD_WORDS) {
    fail("no header in", argv[1]);
  }
  const hwgen::Header header = hwgen::decode_header(program.data());
  const bool known = header.magic == hwgen::MAGIC && header.version == hwgen::VERSION;
  if (!known || header.config_hash != hwgen::CONFIG_HASH) {
    std::fprintf(stderr, "testbench: %s is not a Program for this machine\n", argv[1]);
    return 3;
  }
  const size_t instructions = header.instructions.to_uint();
  if (program.size() != (instructions + 1) * hwgen::RECORD_WORDS) {
    fail("wrong length of", argv[1]);
  }
  if (input.size() < static_cast<size_t>(header.input_words.to_uint()) * frames) {
    fail("too few frames in", argv[3]);
  }
  const size_t output_words = static_cast<size_t>(header.output_words.to_uint()) * frames;
  const size_t trace_words = trace_enable ? static_cast<size_t>(header.trace_words.to_uint()) * frames : 0;
  Buffer output(output_words + 1, 0);
  Buffer trace(trace_words + 1, 0);

  hwgen_top(program.data(), weights.data(), weights.data(), weights.data(), weights.data(), input.data(), output.data(),
            trace.data(), frames, trace_enable ? 1 : 0);

  write_file(argv[4], output, output_words);
  write_file(argv[5], trace, trace_words);
#ifdef HWGEN_SIM_HLS_STREAM_H  // the header of Vitis reports leftovers itself
  return hls::simulation_leftovers() == 0 ? 0 : 6;
#else
  return 0;
#endif
}
