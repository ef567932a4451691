// SPDX-License-Identifier: Apache-2.0
// Fetches the instructions of all queues, starts each when what it waits for is complete, and counts what is complete.
//
//   begin --> fetch --records of 9 queues--> dispatch --commands--> engines --writes--> memories
//               |                             ^   |                                        |
//               +-- header -------------------+   +--> end                                 |
//                                             +------------- tokens <---------------------+
//
// With the trace on, an instruction counts as complete when the store has copied its rectangle to the trace buffer.
#ifndef HWGEN_DISPATCH_HPP
#define HWGEN_DISPATCH_HPP

#include "io.hpp"

namespace hwgen {

#ifndef __SYNTHESIS__
// Defined by the testbench; called when an instruction is complete.
void report_complete(unsigned frames, unsigned instructions);
#endif

struct Start {
  ap_uint<32> frames;
  bool trace;
};

// What the dispatcher needs of a start: nothing else if the Program is not for this machine.
struct Run {
  bool valid;
  Start start;
  ap_uint<32> input_words;
  ap_uint<32> output_words;
  ap_uint<32> trace_words;
  ap_uint<16> counts[QUEUES];
};

constexpr int STARTS = 1;                  // one start at a time
constexpr int RECORDS = 2 * RECORD_WORDS;  // the next instruction of a queue, and one that is being read

inline void begin(ap_uint<32> frames, ap_uint<32> trace_enable, hls::stream<Start, STARTS>& starts) {
  Start start;
  start.frames = frames;
  start.trace = trace_enable != 0;
  starts.write(start);
}

inline void end(hls::stream<Token, STARTS>& finished) { finished.read(); }

// A queue of program.bin: it is read once for each group of frames.
struct Source {
  ap_uint<32> first;  // record
  ap_uint<32> next;
  ap_uint<32> behind;
  ap_uint<32> frames;  // left, with those of this group; 0 for a queue without instructions
};

inline bool wants_record(const Source& source, unsigned size) {
#pragma HLS INLINE
  return source.frames != 0 && size + RECORD_WORDS <= RECORDS;
}

inline ap_uint<32> without_group(ap_uint<32> frames) {
#pragma HLS INLINE
  return frames > SLOTS ? ap_uint<32>(frames - SLOTS) : ap_uint<32>(0);
}

// Each call reads the header, or one record for a queue that has room.
inline void fetch(hls::stream<Start, STARTS>& starts, hls::stream<IoRequest, IO_REQUESTS>& requests,
                  hls::stream<Word, IO_WORDS>& words, hls::stream<Run, STARTS>& runs,
                  hls::stream<Word, RECORDS>& weights, hls::stream<Word, RECORDS>& head,
                  hls::stream<Word, RECORDS>& input, hls::stream<Word, RECORDS>& array,
                  hls::stream<Word, RECORDS>& depthwise, hls::stream<Word, RECORDS>& eltwise,
                  hls::stream<Word, RECORDS>& attention, hls::stream<Word, RECORDS>& mlp,
                  hls::stream<Word, RECORDS>& store) {
  static Source sources[QUEUES];
#pragma HLS ARRAY_PARTITION variable = sources complete
  static ap_uint<4> turn = 0;
  bool idle = true;
  for (int q = 0; q < QUEUES; ++q) {
#pragma HLS UNROLL
    idle = idle && sources[q].frames == 0;
  }
  Start start;
  if (idle && starts.read_nb(start)) {
    Word record[RECORD_WORDS];
#pragma HLS ARRAY_PARTITION variable = record complete
    requests.write(IoRequest{0, RECORD_WORDS});
  fetch_header:
    for (int i = 0; i < RECORD_WORDS; ++i) {
#pragma HLS PIPELINE II = 1
      record[i] = words.read();
    }
    const Header header = decode_header(record);
    Run run;
    run.valid = header.magic == MAGIC && header.version == VERSION && header.config_hash == CONFIG_HASH;
    run.start = start;
    run.input_words = header.input_words;
    run.output_words = header.output_words;
    run.trace_words = header.trace_words;
    ap_uint<32> first = 1;
  fetch_queues:
    for (int q = 0; q < QUEUES; ++q) {
#pragma HLS UNROLL
      run.counts[q] = header.queue_counts[q];
      sources[q].first = first;
      sources[q].next = first;
      first += header.queue_counts[q];
      sources[q].behind = first;
      sources[q].frames = run.valid && run.counts[q] != 0 ? start.frames : ap_uint<32>(0);
    }
    runs.write(run);
  }
  bool wants[QUEUES];
#pragma HLS ARRAY_PARTITION variable = wants complete
  wants[0] = wants_record(sources[0], weights.size());
  wants[1] = wants_record(sources[1], head.size());
  wants[2] = wants_record(sources[2], input.size());
  wants[3] = wants_record(sources[3], array.size());
  wants[4] = wants_record(sources[4], depthwise.size());
  wants[5] = wants_record(sources[5], eltwise.size());
  wants[6] = wants_record(sources[6], attention.size());
  wants[7] = wants_record(sources[7], mlp.size());
  wants[8] = wants_record(sources[8], store.size());
  int chosen = QUEUES;
fetch_choose:
  for (int i = 0; i < QUEUES; ++i) {  // from the queue behind the last one on
#pragma HLS UNROLL
    const int q = turn.to_int() + i >= QUEUES ? turn.to_int() + i - QUEUES : turn.to_int() + i;
    if (chosen == QUEUES && wants[q]) {
      chosen = q;
    }
  }
  if (chosen != QUEUES) {
    Source& source = sources[chosen];
    requests.write(IoRequest{ap_uint<32>(source.next * RECORD_WORDS), RECORD_WORDS});
  fetch_record:
    for (int i = 0; i < RECORD_WORDS; ++i) {
#pragma HLS PIPELINE II = 1
      const Word word = words.read();
      switch (chosen) {
        case 0:
          weights.write(word);
          break;
        case 1:
          head.write(word);
          break;
        case 2:
          input.write(word);
          break;
        case 3:
          array.write(word);
          break;
        case 4:
          depthwise.write(word);
          break;
        case 5:
          eltwise.write(word);
          break;
        case 6:
          attention.write(word);
          break;
        case 7:
          mlp.write(word);
          break;
        default:
          store.write(word);
          break;
      }
    }
    ++source.next;
    if (source.next == source.behind) {
      source.next = source.first;
      source.frames = without_group(source.frames);
    }
    turn = chosen == QUEUES - 1 ? 0 : chosen + 1;
  }
}

// A queue in the dispatcher.
struct Queue {
  ap_uint<4> filled;  // words of the next instruction that have come
  ap_uint<4> sent;    // words of it that the engine has
  bool sends;
  ap_uint<3> flying;   // instructions under way
  ap_uint<2> oldest;   // which of the places for them is the first one's
  ap_uint<16> number;  // of the next instruction in its group
  ap_uint<32> frames;  // left, with those of its group
  ap_uint<32> input;   // first word of the group's first frame in each buffer
  ap_uint<32> output;
  ap_uint<32> trace;
};
static_assert(TOKENS == 4, "`oldest` wraps by itself");

// What all queues share.
struct Dispatcher {
  bool runs;
  Run run;
  ap_uint<16> complete[QUEUES];  // instructions since the start, modulo 2^16: a queue has at most 8,000 in a group
  ap_uint<4> tracing;            // the queue whose instruction is being copied; QUEUES: none
  ap_uint<4> trace_sent;         // words of it that the store has
};

inline ap_int<16> wait_of(const Word record[RECORD_WORDS], int queue) {
#pragma HLS INLINE
  const int byte = BYTE_WAITS + 2 * queue;
  const Word word = record[byte / 16];
  const ap_uint<16> wait = word >> (byte % 16 * 8);
  return ap_int<16>(wait);
}

inline void advance(const Run& run, Queue& queue, ap_uint<16> before[QUEUES], int count) {
#pragma HLS INLINE
  queue.filled = 0;
  queue.sent = 0;
  queue.sends = false;
  ++queue.number;
  if (queue.number == count) {
    queue.number = 0;
    queue.frames = without_group(queue.frames);
    for (int e = 0; e < QUEUES; ++e) {
#pragma HLS UNROLL
      before[e] += run.counts[e];
    }
    for (int s = 0; s < SLOTS; ++s) {
#pragma HLS UNROLL
      queue.input += run.input_words;
      queue.output += run.output_words;
      queue.trace += run.trace_words;
    }
  }
}

inline void count_complete(Dispatcher& machine, int number) {
#pragma HLS INLINE
  ++machine.complete[number];
#ifdef HWGEN_SIM_HLS_STREAM_H
  hls::simulation_progress();  // other queues may go on
#endif
#ifndef __SYNTHESIS__
  unsigned total = 0;
  for (int q = 0; q < QUEUES; ++q) {
    total += machine.run.counts[q].to_uint();
  }
  report_complete(machine.run.start.frames.to_uint(), total);
#endif
}

// One cycle of a queue. record: its next instruction; issued: those under way; before: instructions of each queue in the
// groups before this queue's.
template <int NUMBER>
void step_queue(Dispatcher& machine, const ap_uint<16> complete[QUEUES], Queue& queue, Word record[RECORD_WORDS],
                Word issued[TOKENS * RECORD_WORDS], ap_uint<16> before[QUEUES], hls::stream<Word, RECORDS>& records,
                hls::stream<Word, COMMANDS>& commands, hls::stream<Token, TOKENS>& done,
                hls::stream<Word, COMMANDS>& traces, hls::stream<Token, TOKENS>& traced) {
#pragma HLS INLINE
  // The MLP engine and the store take the next instruction when the one before is complete.
  constexpr int MOST = NUMBER == QUEUE_MLP || NUMBER == QUEUE_STORE ? 1 : TOKENS;
  constexpr bool WRITES_TENSOR = NUMBER >= QUEUE_INPUT && NUMBER <= QUEUE_MLP;
  bool completes = false;
  Token token;
  if (WRITES_TENSOR && machine.tracing == NUMBER) {  // to the store; it counts when it is copied
    const ap_uint<5> place = (queue.oldest, ap_uint<3>(machine.trace_sent));
    if (machine.trace_sent < RECORD_WORDS && !traces.full()) {
      traces.write(issued[place]);
      ++machine.trace_sent;
    }
    if (traced.read_nb(token)) {
      machine.tracing = QUEUES;
      completes = true;
    }
  } else if (!(WRITES_TENSOR && machine.run.start.trace)) {
    completes = done.read_nb(token);
  } else if (machine.tracing == QUEUES && done.read_nb(token)) {
    machine.tracing = NUMBER;
    machine.trace_sent = 0;
  }
  if (completes) {
    ++queue.oldest;
    --queue.flying;
    count_complete(machine, NUMBER);
  }
  if (queue.filled == RECORD_WORDS && !queue.sends) {
    const int slots = field<BYTE_SLOTS, 8>(record);
    HWGEN_CHECK(slots != 0 && slots >> SLOTS == 0, "an instruction is for no slot, or for one that does not exist");
    HWGEN_CHECK(NUMBER < QUEUE_INPUT || (slots & (slots - 1)) == 0,
                "an instruction of an engine is for more than one slot");
    bool exists = false;
    for (int s = 0; s < SLOTS; ++s) {
#pragma HLS UNROLL
      exists = exists || ((slots >> s & 1) != 0 && queue.frames > s);
    }
    const ap_uint<16> mask = field<BYTE_WAIT_MASK, 16>(record);
    bool ready = true;
    for (int e = 0; e < QUEUES; ++e) {
#pragma HLS UNROLL
      const ap_int<16> ahead = complete[e] - before[e] - wait_of(record, e);
      ready = ready && (!mask[e] || ahead >= 0);
    }
    if (!exists) {
      if (queue.flying == 0) {  // it is complete in its turn
        count_complete(machine, NUMBER);
        advance(machine.run, queue, before, machine.run.counts[NUMBER]);
      }
    } else {
      queue.sends = ready && queue.flying < MOST;
    }
  }
  if (queue.sends && !commands.full()) {
    const int slots = field<BYTE_SLOTS, 8>(record);
    ap_uint<32> input = queue.input;
    ap_uint<32> output = queue.output;
    ap_uint<32> trace = queue.trace;
    for (int s = 1; s < SLOTS; ++s) {
#pragma HLS UNROLL
      if (slots >> s != 0) {  // slot s, or one behind it
        input += machine.run.input_words;
        output += machine.run.output_words;
        trace += machine.run.trace_words;
      }
    }
    Word word = record[queue.sent];
    if (queue.sent == BYTE_DDR / 16) {  // offsets in a frame become words of the buffer
      const ap_uint<32> base = NUMBER == QUEUE_INPUT ? input : (NUMBER == QUEUE_STORE ? output : ap_uint<32>(0));
      word.range(BYTE_DDR % 16 * 8 + 31, BYTE_DDR % 16 * 8) = field<BYTE_DDR, 32>(record) + base;
    } else if (queue.sent == BYTE_TRACE / 16) {
      word.range(BYTE_TRACE % 16 * 8 + 31, BYTE_TRACE % 16 * 8) = field<BYTE_TRACE, 32>(record) + trace;
    }
    commands.write(word);
    if (WRITES_TENSOR) {
      const ap_uint<2> flown = queue.oldest + queue.flying;
      const ap_uint<5> place = (flown, ap_uint<3>(queue.sent));
      issued[place] = word;
    }
    ++queue.sent;
    if (queue.sent == RECORD_WORDS) {
      ++queue.flying;
      advance(machine.run, queue, before, machine.run.counts[NUMBER]);
    }
  }
  // Last, so that a word is looked at in the next cycle. Before the run has come its words wait: it clears the queues.
  if (machine.runs && queue.frames != 0 && queue.filled < RECORD_WORDS && !records.empty()) {
    record[queue.filled] = records.read();
    ++queue.filled;
  }
}

// One cycle of the dispatcher: all queues at once.
inline void dispatch(hls::stream<Run, STARTS>& runs, hls::stream<Word, RECORDS>& weights_records,
                     hls::stream<Word, COMMANDS>& weights_commands, hls::stream<Token, TOKENS>& weights_done,
                     hls::stream<Word, RECORDS>& head_records, hls::stream<Word, COMMANDS>& head_commands,
                     hls::stream<Token, TOKENS>& head_done, hls::stream<Word, RECORDS>& input_records,
                     hls::stream<Word, COMMANDS>& input_commands, hls::stream<Token, TOKENS>& input_done,
                     hls::stream<Word, RECORDS>& array_records, hls::stream<Word, COMMANDS>& array_commands,
                     hls::stream<Token, TOKENS>& array_done, hls::stream<Word, RECORDS>& depthwise_records,
                     hls::stream<Word, COMMANDS>& depthwise_commands, hls::stream<Token, TOKENS>& depthwise_done,
                     hls::stream<Word, RECORDS>& eltwise_records, hls::stream<Word, COMMANDS>& eltwise_commands,
                     hls::stream<Token, TOKENS>& eltwise_done, hls::stream<Word, RECORDS>& attention_records,
                     hls::stream<Word, COMMANDS>& attention_commands, hls::stream<Token, TOKENS>& attention_done,
                     hls::stream<Word, RECORDS>& mlp_records, hls::stream<Word, COMMANDS>& mlp_commands,
                     hls::stream<Token, TOKENS>& mlp_done, hls::stream<Word, RECORDS>& store_records,
                     hls::stream<Word, COMMANDS>& store_commands, hls::stream<Token, TOKENS>& store_done,
                     hls::stream<Word, COMMANDS>& traces, hls::stream<Token, TOKENS>& traced,
                     hls::stream<Token, STARTS>& finished) {
#pragma HLS PIPELINE II = 1
  static Dispatcher machine;  // all 0: nothing runs
  static Queue queues[QUEUES];
  static Word next[QUEUES][RECORD_WORDS];
  static Word issued[QUEUES][TOKENS * RECORD_WORDS];
  static ap_uint<16> before[QUEUES][QUEUES];
#pragma HLS ARRAY_PARTITION variable = machine.complete complete
#pragma HLS ARRAY_PARTITION variable = machine.run.counts complete
#pragma HLS ARRAY_PARTITION variable = queues complete
#pragma HLS ARRAY_PARTITION variable = next complete dim = 0
#pragma HLS ARRAY_PARTITION variable = issued complete dim = 1
#pragma HLS ARRAY_PARTITION variable = before complete dim = 0
#pragma HLS BIND_STORAGE variable = issued type = ram_s2p impl = lutram
#pragma HLS RESET variable = issued off
  if (!machine.runs && !runs.empty()) {
    machine.run = runs.read();
    machine.runs = true;
    machine.tracing = QUEUES;
    for (int q = 0; q < QUEUES; ++q) {
#pragma HLS UNROLL
      machine.complete[q] = 0;
      queues[q].filled = 0;
      queues[q].sent = 0;
      queues[q].sends = false;
      queues[q].flying = 0;
      queues[q].oldest = 0;
      queues[q].number = 0;
      queues[q].frames = machine.run.valid && machine.run.counts[q] != 0 ? machine.run.start.frames : ap_uint<32>(0);
      queues[q].input = 0;
      queues[q].output = 0;
      queues[q].trace = 0;
      for (int e = 0; e < QUEUES; ++e) {
#pragma HLS UNROLL
        before[q][e] = 0;
      }
    }
  }
  ap_uint<16> complete[QUEUES];  // before this cycle, so that no queue waits for the logic of another
#pragma HLS ARRAY_PARTITION variable = complete complete
  bool idle = true;
  for (int q = 0; q < QUEUES; ++q) {
#pragma HLS UNROLL
    complete[q] = machine.complete[q];
    idle = idle && queues[q].frames == 0 && queues[q].flying == 0;
  }
  if (machine.runs && idle) {
    machine.runs = false;
    finished.write(1);  // Room: there is one start at a time, and its end reads this.
  }
  step_queue<0>(machine, complete, queues[0], next[0], issued[0], before[0], weights_records, weights_commands,
                weights_done, traces, traced);
  step_queue<1>(machine, complete, queues[1], next[1], issued[1], before[1], head_records, head_commands, head_done,
                traces, traced);
  step_queue<2>(machine, complete, queues[2], next[2], issued[2], before[2], input_records, input_commands, input_done,
                traces, traced);
  step_queue<3>(machine, complete, queues[3], next[3], issued[3], before[3], array_records, array_commands, array_done,
                traces, traced);
  step_queue<4>(machine, complete, queues[4], next[4], issued[4], before[4], depthwise_records, depthwise_commands,
                depthwise_done, traces, traced);
  step_queue<5>(machine, complete, queues[5], next[5], issued[5], before[5], eltwise_records, eltwise_commands,
                eltwise_done, traces, traced);
  step_queue<6>(machine, complete, queues[6], next[6], issued[6], before[6], attention_records, attention_commands,
                attention_done, traces, traced);
  step_queue<7>(machine, complete, queues[7], next[7], issued[7], before[7], mlp_records, mlp_commands, mlp_done,
                traces, traced);
  step_queue<8>(machine, complete, queues[8], next[8], issued[8], before[8], store_records, store_commands, store_done,
                traces, traced);
}

}  // namespace hwgen

#endif
