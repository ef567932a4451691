// SPDX-License-Identifier: Apache-2.0
// Types and sizes that every engine shares. config.hpp (generated) holds what depends on the model and the board.
#ifndef HWGEN_TYPES_HPP
#define HWGEN_TYPES_HPP

#include <ap_int.h>

#include "config.hpp"

#ifdef __SYNTHESIS__
#define HWGEN_CHECK(condition, message)
#else
#include <cstdio>
#include <cstdlib>
// Simulation only: a Program that would read or write outside a memory stops with a message instead of wrapping.
#define HWGEN_CHECK(condition, message)                       \
  do {                                                        \
    if (!(condition)) {                                       \
      std::fprintf(stderr, "hwgen machine: %s\n", (message)); \
      std::exit(4);                                           \
    }                                                         \
  } while (false)
#endif

namespace hwgen {

constexpr int LANES = 16;                           // channels in a pad word
constexpr int BANKS = 16;                           // pixel p of a plane lies in bank p % 16
constexpr int VECTOR = 15;                          // pad number of the vector memory
constexpr int QUEUES = 9;                           // program.bin holds the instructions queue by queue
constexpr int WEIGHT_PORTS = 4;                     // AXI ports of the weight loader
constexpr int ROW_CHUNKS = 16;                      // 64-bit pieces of a 1024-bit ring row
constexpr int RECORD_WORDS = 8;                     // 128-bit words of a header or an instruction
constexpr int WIDE_TABLE_WORDS = 1024;              // a 4,096-entry table, four entries a word
constexpr int SHORT_TABLE_WORDS = 64;               // a 256-entry table
constexpr int WEIGHT_ROWS = RING_ROWS + HEAD_ROWS;  // rows of both weight rings; the head's have the numbers behind
constexpr int VECTOR_ROWS = SLOTS * VECTOR_WORDS;   // words of the vector memory; slot s begins at s * VECTOR_WORDS
constexpr int TABLE_WORDS = WIDE_TABLES != 0 ? WIDE_TABLE_WORDS : SHORT_TABLE_WORDS;  // what an engine holds
constexpr int WEIGHT_PAIRS = LANES / 2;
constexpr int DW_PIXELS = 4;    // pixels that the depthwise engine finishes in a cycle
constexpr int POOL_PIXELS = 4;  // pixels that the pool adds in a cycle
constexpr int FIELD_BITS = 19;  // distance of the two weights that share a multiplier

// Each copy of the table serves two lanes of the words that the epilogue (requantize, table) finishes in a cycle.
constexpr int TABLE_COPIES = EPILOGUE_WORDS * LANES / 2;

static_assert(BLOCKS >= 1 && (BLOCKS & (BLOCKS - 1)) == 0, "the array needs a power of two of blocks");
static_assert(BLOCKS <= 64, "more than 64 array blocks do not fit the tile counters");
static_assert(EPILOGUE_WORDS == 4 || EPILOGUE_WORDS == 8, "the epilogue finishes 4 or 8 words in a cycle");
static_assert(ACC_GROUPS >= 1 && ACC_GROUPS <= 1024, "the array keeps between 1 and 1024 pixel groups of partial sums");
static_assert(PADS >= 1 && PADS < VECTOR, "pads are numbered below the vector memory");
static_assert(SLOTS >= 1 && SLOTS <= 8, "an instruction has a bit for each of up to 8 slots");
static_assert(PAD_DEPTH >= 1 && PAD_DEPTH <= 65536, "a word row of a pad is addressed with 16 bits");
static_assert(RING_ROWS >= 2 && HEAD_ROWS >= 2 && WEIGHT_ROWS <= 65536, "a ring row is addressed with 16 bits");
static_assert(VECTOR_WORDS >= 1 && VECTOR_ROWS <= 65536, "a word of the vector memory is addressed with 16 bits");
static_assert(LINE_WORDS >= 4 && LINE_WORDS % 4 == 0, "a line of the depthwise engine is a multiple of 4 pixels");
static_assert(KERNEL_MAX >= 1 && KERNEL_MAX <= 255, "a window side is stored in 8 bits");
static_assert(MLP_CHANNELS % LANES == 0 && MLP_CHANNELS <= 4096, "vectors have at most 4096 channels, in words of 16");
static_assert(HEAD_DIM == 16 || HEAD_DIM == 32, "the attention engine takes heads of 16 or 32 channels");
static_assert(IMAGE_ROW_BYTES % 16 == 0, "an image row is a whole number of 16-byte words");

typedef ap_uint<128> Word;       // 16 int8 channels of one pixel; one beat of an AXI port
typedef ap_uint<64> Chunk;       // an eighth of a pair of words: one of the 16 pieces of a ring row
typedef ap_int<8> Code;          // an activation
typedef ap_int<32> Accumulator;  // |acc| < 2^26 is proven at compile time
typedef ap_uint<32> TableWord;   // four entries of a table

}  // namespace hwgen

#endif
