// SPDX-License-Identifier: Apache-2.0
// Pads and vector memory of all slots. One process owns them; engines reach them by requests and answers only.
//
//   read requests of 6 engines --> one of each slot --> 16 banks --> rotation --> words of that engine
//   residual requests of 2     --> one of each slot --> 16 banks --> one word  --> word of that engine
//   write requests of 6        --> one of each slot --> 16 banks; behind the last of an instruction a token
//
// A pad is read and written through *windows* of up to 16 consecutive pixels: each lies in another bank, so a window costs
// one access of every bank and a rotation by the first pixel's bank. The Program lets one engine at a time use the pads
// of a slot, so a slot needs one port of each kind and nobody waits for another engine. Requests of one cycle that
// meet in a slot would be a fault of the Program.
#ifndef HWGEN_MEMORY_HPP
#define HWGEN_MEMORY_HPP

#include <hls_stream.h>

#include "arithmetic.hpp"
#include "instruction.hpp"

namespace hwgen {

// Up to 16 pixels: word row of pixel 0 of the plane, first pixel (may be negative beside a padded edge), and the positions
// low .. high - 1 that exist; the others deliver `fill` and are never addressed.
struct Window {
  ap_uint<4> pad;
  ap_uint<3> slot;
  ap_uint<17> base;
  ap_int<22> pixel;
  ap_uint<5> low;
  ap_uint<5> high;
  Code fill;
};

template <int COUNT>
struct Words {
  Word words[COUNT];
};

// The words of a window from position 0 on; `last` with the last request of an instruction.
template <int COUNT>
struct Write {
  Window window;
  bool last;
  Words<COUNT> data;
};

// A ring row: sixteen 64-bit pieces.
struct Row {
  Chunk chunks[ROW_CHUNKS];
};

// `count` ring rows from `row` on, which the engine's stream of rows then gets.
struct RowRequest {
  ap_uint<16> row;
  ap_uint<16> count;
};

typedef ap_uint<1> Token;

// Depths. A stream of 32 entries or fewer costs one LUT a bit, whatever its depth, so the wide ones have what hides the
// latency of the memories: IN_FLIGHT answers under way, and as many that the engine has not taken yet.
constexpr int IN_FLIGHT = 8;                // pipeline stages from a request to its answer, at most
constexpr int ANSWERS = 2 * IN_FLIGHT;      // a process that owns a memory must never wait for an engine: it takes
                                            // a request only where this leaves room for all that is under way
constexpr int REQUESTS = 4;                 // an address generator is that far ahead of the memory
constexpr int WRITES = 4;                   // the memory takes one a cycle; this covers its arbitration
constexpr int COMMANDS = 2 * RECORD_WORDS;  // an instruction in work and one behind it
constexpr int TOKENS = 4;                   // instructions of a queue under way, at most (dispatch.hpp)

inline int minimum(int a, int b) {
#pragma HLS INLINE
  return a < b ? a : b;
}

inline int maximum(int a, int b) {
#pragma HLS INLINE
  return a > b ? a : b;
}

// Product of two sizes or positions of 16 bits, such as pixels of some rows. One DSP, or about 300 LUTs, of which the
// machine has fewer to spare.
// What a position outside the tensor gives does not matter, it is never addressed.
inline int index_product(int a, int b) {
#pragma HLS INLINE
  const ap_uint<16> first = a;
  const ap_uint<16> second = b;
  const ap_uint<32> index = first * second;
#pragma HLS BIND_OP variable = index op = mul impl = dsp
  return index.to_int();
}

// Product of two sizes, a bit of b a cycle: for what is needed once in an instruction.
inline int size_product(int a, int b) {
#pragma HLS INLINE off
  ap_uint<32> product = 0;
  ap_uint<32> term = a;
  ap_uint<16> bits = b;
size_product_bits:
  while (bits != 0) {
#pragma HLS LOOP_TRIPCOUNT min = 0 max = 16 avg = 8
#pragma HLS PIPELINE II = 1
    if (bits[0]) {
      product += term;
    }
    term <<= 1;
    bits >>= 1;
  }
  return product.to_int();
}

// Ring slot of the row `rows` behind the one that lies in `slot`. At most one wrap (docs/program-format.md).
inline int ring_slot(int slot, int rows, int ring) {
#pragma HLS INLINE
  const int next = slot + rows;
  return next >= ring ? next - ring : next;
}

// Slot of the only frame that an instruction of an engine is for.
inline int slot_of(const Instruction& ins) {
#pragma HLS INLINE
  int slot = 0;
  for (int s = 1; s < SLOTS; ++s) {
#pragma HLS UNROLL
    if (ins.slots[s]) {
      slot = s;
    }
  }
  return slot;
}

// Positions low .. high - 1 from `pixel` on, of a plane whose pixel 0 lies in word row `base`.
inline Window window_at(int slot, int pad, int base, int pixel, int low, int high, Code fill) {
#pragma HLS INLINE
  Window window;
  window.pad = pad;
  window.slot = slot;
  window.base = base;
  window.pixel = pixel;
  window.low = low;
  window.high = high;
  window.fill = fill;
  HWGEN_CHECK(pad >= 0 && (pad < PADS || pad == VECTOR), "an instruction names a pad that does not exist");
  HWGEN_CHECK(high <= low || (window.base == base && window.pixel == pixel),
              "an instruction addresses a word outside its pad");
  return window;
}

// The window of input pixels from a place that may lie outside the tensor: `span` of them, those outside deliver x_zero.
inline Window padded_window(const Instruction& ins, int slot, int base, int x_row, int x_column, int span) {
#pragma HLS INLINE
  const bool inside = x_row >= 0 && x_row < ins.x_height.to_int();
  const int ring = ring_slot(ins.x_slot, x_row - ins.x_first.to_int(), ins.x_ring);
  const int low = maximum(0, minimum(-x_column, BANKS));
  const int high = inside ? maximum(0, minimum(span, ins.x_cols.to_int() - x_column)) : 0;
  return window_at(slot, ins.x_pad, base, index_product(ring, ins.x_width) + x_column, low, high, ins.x_zero);
}

// `count` pixels of y from a row and column of the tile on.
inline Window y_window(const Instruction& ins, int slot, int group, int row, int column, int count) {
#pragma HLS INLINE
  const int base = ins.y_base.to_int() + index_product(group, ins.y_plane);
  const int ring = ring_slot(ins.y_slot, row, ins.y_ring);
  return window_at(slot, ins.y_pad, base, index_product(ring, ins.y_width) + column, 0, count, 0);
}

// The same of the residual, which is as wide as y.
inline Window r_window(const Instruction& ins, int slot, int group, int row, int column, int count) {
#pragma HLS INLINE
  const int base = ins.r_base.to_int() + index_product(group, ins.r_plane);
  const int ring = ring_slot(ins.r_slot, row, ins.r_ring);
  return window_at(slot, ins.r_pad, base, index_product(ring, ins.y_width) + column, 0, count, 0);
}

// An instruction passes from process to process as it lies in memory.
inline Instruction take_command(hls::stream<Word, COMMANDS>& commands) {
  Word record[RECORD_WORDS];
#pragma HLS ARRAY_PARTITION variable = record complete
take_command_words:
  for (int i = 0; i < RECORD_WORDS; ++i) {
#pragma HLS PIPELINE II = 1
    record[i] = commands.read();
  }
  return decode_instruction(record);
}

inline Instruction pass_command(hls::stream<Word, COMMANDS>& commands, hls::stream<Word, COMMANDS>& next) {
  Word record[RECORD_WORDS];
#pragma HLS ARRAY_PARTITION variable = record complete
pass_command_words:
  for (int i = 0; i < RECORD_WORDS; ++i) {
#pragma HLS PIPELINE II = 1
    record[i] = commands.read();
    next.write(record[i]);
  }
  return decode_instruction(record);
}

// Word row of the window's pixel that lies in `bank`, and whether that pixel exists.
inline int bank_row(const Window& window, int bank, bool& exists) {
#pragma HLS INLINE
  const int position = (bank - window.pixel.to_int()) & (BANKS - 1);
  exists = position >= window.low.to_int() && position < window.high.to_int();
  const int row = window.base.to_int() + ((window.pixel.to_int() + position) >> 4);
  HWGEN_CHECK(!exists || (row >= 0 && row < PAD_DEPTH), "an instruction addresses a word outside its pad");
  return exists ? row : 0;
}

// words[k] = bank word of the window's pixel k: a barrel rotation by the first pixel's bank, four stages of two-to-one.
inline void rotate(Word banks[BANKS], int by) {
#pragma HLS INLINE
  for (int stage = 0; stage < 4; ++stage) {
#pragma HLS UNROLL
    if (((by >> stage) & 1) != 0) {
      Word moved[BANKS];
#pragma HLS ARRAY_PARTITION variable = moved complete
      for (int k = 0; k < BANKS; ++k) {
#pragma HLS UNROLL
        moved[k] = banks[(k + (1 << stage)) & (BANKS - 1)];
      }
      for (int k = 0; k < BANKS; ++k) {
#pragma HLS UNROLL
        banks[k] = moved[k];
      }
    }
  }
}

// Takes the next request of an engine, if there is one and its answer has room.
template <int COUNT>
bool take_read(hls::stream<Window, REQUESTS>& requests, hls::stream<Words<COUNT>, ANSWERS>& answers, Window& request) {
#pragma HLS INLINE
  return static_cast<int>(answers.size()) <= ANSWERS - IN_FLIGHT && requests.read_nb(request);
}

// The request that concerns a slot, of several engines.
inline void choose_read(bool taken, const Window& request, int slot, bool& reads, Window& window) {
#pragma HLS INLINE
  if (taken && request.slot == slot && request.pad != VECTOR) {
    HWGEN_CHECK(!reads, "two engines use the pads of one slot at the same time");
    reads = true;
    window = request;
  }
}

// The first COUNT of what the request's slot has found.
template <int COUNT, int FOUND>
void answer(bool taken, const Window& request, const Words<FOUND> found[SLOTS],
            hls::stream<Words<COUNT>, ANSWERS>& answers) {
#pragma HLS INLINE
  if (taken) {
    Words<COUNT> reply;
    for (int k = 0; k < COUNT; ++k) {
#pragma HLS UNROLL
      reply.words[k] = found[0].words[k];
      for (int s = 1; s < SLOTS; ++s) {
#pragma HLS UNROLL
        if (request.slot == s) {
          reply.words[k] = found[s].words[k];
        }
      }
    }
    answers.write(reply);
  }
}

// Word of the vector memory that a request with pad VECTOR names.
inline int vector_row(const Window& window) {
#pragma HLS INLINE
  const int word = window.base;
  HWGEN_CHECK(word < VECTOR_WORDS, "an instruction addresses a word outside the vector memory");
  return window.slot.to_int() * VECTOR_WORDS + word;
}

// What the readers of a slot get in a cycle: every pad sees one address. Indexing the pads by both numbers would look like
// two reads of one pad to the scheduler.
inline void read_slot(const Word pads[PADS][BANKS][PAD_DEPTH], bool reads, const Window& window, bool adds,
                      const Window& residual, Words<BANKS>& words, Word& addend) {
#pragma HLS INLINE
  HWGEN_CHECK(!reads || !adds || window.pad != residual.pad || window.high <= window.low,
              "an instruction reads two operands from one pad");
  Word banks[BANKS];
#pragma HLS ARRAY_PARTITION variable = banks complete
  const int residual_bank = residual.pixel.to_int() & (BANKS - 1);
  addend = 0;
  for (int bank = 0; bank < BANKS; ++bank) {
#pragma HLS UNROLL
    bool exists = false;
    bool added = false;
    const int row = reads ? bank_row(window, bank, exists) : 0;
    const int residual_row = adds && bank == residual_bank ? bank_row(residual, bank, added) : 0;
    banks[bank] = splat(window.fill);
    for (int pad = 0; pad < PADS; ++pad) {
#pragma HLS UNROLL
      const bool is_window = exists && window.pad == pad;
      const bool is_residual = added && residual.pad == pad;
      if (is_window || is_residual) {
        const Word word = pads[pad][bank][is_window ? row : residual_row];
        if (is_window) {
          banks[bank] = word;
        } else {
          addend = word;
        }
      }
    }
  }
  rotate(banks, window.pixel.to_int() & (BANKS - 1));
  for (int k = 0; k < BANKS; ++k) {
#pragma HLS UNROLL
    words.words[k] = banks[k];
  }
}

inline void write_slot(Word pads[PADS][BANKS][PAD_DEPTH], const Window& window, const Word words[BANKS]) {
#pragma HLS INLINE
  for (int bank = 0; bank < BANKS; ++bank) {
#pragma HLS UNROLL
    bool exists = false;
    const int row = bank_row(window, bank, exists);
    for (int pad = 0; pad < PADS; ++pad) {
#pragma HLS UNROLL
      if (exists && window.pad == pad) {
        pads[pad][bank][row] = words[bank];
      }
    }
  }
}

// A write of an engine: the word of each bank, and a token behind the last of an instruction.
struct Writer {
  bool taken;
  bool last;
  Window window;
  Word words[BANKS];
};

template <int COUNT>
void take_write(hls::stream<Write<COUNT>, WRITES>& writes, hls::stream<Token, TOKENS>& done, Writer& writer) {
#pragma HLS INLINE
  static_assert((COUNT & (COUNT - 1)) == 0, "a write has a power of two of words");
  Write<COUNT> request;
  writer.taken = writes.read_nb(request);
  if (writer.taken) {
    writer.window = request.window;
    for (int bank = 0; bank < BANKS; ++bank) {
#pragma HLS UNROLL
      writer.words[bank] = request.data.words[(bank - request.window.pixel.to_int()) & (COUNT - 1)];
    }
    if (request.last) {
      done.write(1);  // Room: a queue has at most TOKENS instructions under way.
    }
  }
}

// The write that concerns a slot, of several engines.
inline void choose_write(const Writer& writer, int slot, Writer& chosen) {
#pragma HLS INLINE
  if (writer.taken && writer.window.slot == slot && writer.window.pad != VECTOR) {
    HWGEN_CHECK(!chosen.taken, "two engines use the pads of one slot at the same time");
    chosen = writer;
  }
}

// One cycle of the memory.
inline void activations(hls::stream<Window, REQUESTS>& array_reads, hls::stream<Words<BANKS>, ANSWERS>& array_windows,
                        hls::stream<Window, REQUESTS>& residual_reads, hls::stream<Words<1>, ANSWERS>& residual_words,
                        hls::stream<Window, REQUESTS>& depthwise_reads,
                        hls::stream<Words<BANKS>, ANSWERS>& depthwise_windows,
                        hls::stream<Window, REQUESTS>& eltwise_reads, hls::stream<Words<1>, ANSWERS>& eltwise_words,
                        hls::stream<Window, REQUESTS>& addend_reads, hls::stream<Words<1>, ANSWERS>& addend_words,
                        hls::stream<Window, REQUESTS>& attention_reads,
                        hls::stream<Words<BANKS>, ANSWERS>& attention_windows, hls::stream<Window, REQUESTS>& mlp_reads,
                        hls::stream<Words<POOL_PIXELS>, ANSWERS>& mlp_words, hls::stream<Window, REQUESTS>& store_reads,
                        hls::stream<Words<1>, ANSWERS>& store_words, hls::stream<Write<1>, WRITES>& input_writes,
                        hls::stream<Write<EPILOGUE_WORDS>, WRITES>& array_writes,
                        hls::stream<Write<DW_PIXELS>, WRITES>& depthwise_writes,
                        hls::stream<Write<1>, WRITES>& eltwise_writes, hls::stream<Write<1>, WRITES>& attention_writes,
                        hls::stream<Write<1>, WRITES>& mlp_writes, hls::stream<Token, TOKENS>& input_done,
                        hls::stream<Token, TOKENS>& array_done, hls::stream<Token, TOKENS>& depthwise_done,
                        hls::stream<Token, TOKENS>& eltwise_done, hls::stream<Token, TOKENS>& attention_done,
                        hls::stream<Token, TOKENS>& mlp_done) {
#pragma HLS PIPELINE II = 1
#pragma HLS LATENCY max = 7
  // Not cleared at reset: a Program writes every word before it reads it.
  static Word pads[SLOTS][PADS][BANKS][PAD_DEPTH];
#pragma HLS ARRAY_PARTITION variable = pads complete dim = 1
#pragma HLS ARRAY_PARTITION variable = pads complete dim = 2
#pragma HLS ARRAY_PARTITION variable = pads complete dim = 3
#pragma HLS BIND_STORAGE variable = pads type = ram_s2p impl = bram
#pragma HLS RESET variable = pads off
// The planner proves that no instruction reads a word that it writes; the next one starts behind the token (hwgen/plan).
#pragma HLS DEPENDENCE variable = pads type = inter dependent = false
  static Word vectors[2][VECTOR_ROWS];  // a copy for each reader
#pragma HLS ARRAY_PARTITION variable = vectors complete dim = 1
#pragma HLS BIND_STORAGE variable = vectors type = ram_s2p impl = bram
#pragma HLS RESET variable = vectors off
#pragma HLS DEPENDENCE variable = vectors type = inter dependent = false

  Window array_x = {};
  Window array_r = {};
  Window depthwise_x = {};
  Window eltwise_x = {};
  Window eltwise_r = {};
  Window attention_x = {};
  Window mlp_x = {};
  Window store_x = {};
  const bool take_array = take_read(array_reads, array_windows, array_x);
  const bool take_residual = take_read(residual_reads, residual_words, array_r);
  const bool take_depthwise = take_read(depthwise_reads, depthwise_windows, depthwise_x);
  const bool take_eltwise = take_read(eltwise_reads, eltwise_words, eltwise_x);
  const bool take_addend = take_read(addend_reads, addend_words, eltwise_r);
  const bool take_attention = take_read(attention_reads, attention_windows, attention_x);
  const bool take_mlp = take_read(mlp_reads, mlp_words, mlp_x);
  const bool take_store = take_read(store_reads, store_words, store_x);
  Writer input_y;
  Writer array_y;
  Writer depthwise_y;
  Writer eltwise_y;
  Writer attention_y;
  Writer mlp_y;
  take_write(input_writes, input_done, input_y);
  take_write(array_writes, array_done, array_y);
  take_write(depthwise_writes, depthwise_done, depthwise_y);
  take_write(eltwise_writes, eltwise_done, eltwise_y);
  take_write(attention_writes, attention_done, attention_y);
  take_write(mlp_writes, mlp_done, mlp_y);

  Words<BANKS> windows[SLOTS];
  Words<1> addends[SLOTS];
#pragma HLS ARRAY_PARTITION variable = windows complete dim = 0
#pragma HLS ARRAY_PARTITION variable = addends complete dim = 0
activation_slots:
  for (int s = 0; s < SLOTS; ++s) {
#pragma HLS UNROLL
    bool reads = false;
    bool adds = false;
    Window window = {};
    Window residual = {};
    choose_read(take_array, array_x, s, reads, window);
    choose_read(take_depthwise, depthwise_x, s, reads, window);
    choose_read(take_eltwise, eltwise_x, s, reads, window);
    choose_read(take_attention, attention_x, s, reads, window);
    choose_read(take_mlp, mlp_x, s, reads, window);
    choose_read(take_store, store_x, s, reads, window);
    choose_read(take_residual, array_r, s, adds, residual);
    choose_read(take_addend, eltwise_r, s, adds, residual);
    if (reads || adds) {
      read_slot(pads[s], reads, window, adds, residual, windows[s], addends[s].words[0]);
    }
    Writer writer;
    writer.taken = false;
    choose_write(input_y, s, writer);
    choose_write(array_y, s, writer);
    choose_write(depthwise_y, s, writer);
    choose_write(eltwise_y, s, writer);
    choose_write(attention_y, s, writer);
    choose_write(mlp_y, s, writer);
    if (writer.taken) {
      write_slot(pads[s], writer.window, writer.words);
    }
  }
  answer<BANKS>(take_array, array_x, windows, array_windows);
  answer<1>(take_residual, array_r, addends, residual_words);
  answer<BANKS>(take_depthwise, depthwise_x, windows, depthwise_windows);
  answer<1>(take_eltwise, eltwise_x, windows, eltwise_words);
  answer<1>(take_addend, eltwise_r, addends, addend_words);
  answer<BANKS>(take_attention, attention_x, windows, attention_windows);

  // The vector memory, or a pad, for the MLP engine and the store.
  if (take_mlp && mlp_x.pad == VECTOR) {
    Words<POOL_PIXELS> reply = {};
    reply.words[0] = vectors[0][vector_row(mlp_x)];
    mlp_words.write(reply);
  } else {
    answer<POOL_PIXELS>(take_mlp, mlp_x, windows, mlp_words);
  }
  if (take_store && store_x.pad == VECTOR) {
    Words<1> reply;
    reply.words[0] = vectors[1][vector_row(store_x)];
    store_words.write(reply);
  } else {
    answer<1>(take_store, store_x, windows, store_words);
  }
  if (mlp_y.taken && mlp_y.window.pad == VECTOR) {
    const int row = vector_row(mlp_y.window);
    const Word word = mlp_y.words[0];
    for (int copy = 0; copy < 2; ++copy) {
#pragma HLS UNROLL
      vectors[copy][row] = word;
    }
  }
}

}  // namespace hwgen

#endif
