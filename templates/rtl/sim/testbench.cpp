// SPDX-License-Identifier: Apache-2.0
// Drives the Verilated accelerator as a processor would: registers over AXI4-Lite, buffers in a memory behind its five
// AXI ports. The memory has a latency, a bandwidth that all ports share, and random stalls; it counts bytes, checks the
// protocol, and notes when each frame's result is complete.
//
//   testbench --program F --weights F --input F --out DIR --run SPEC [--run SPEC ...] [options]
//   testbench --serve [--latency CYCLES] [--bandwidth BYTES] [--stall PERCENT] [--seed S]     (server.hpp)
//
//   SPEC   frames=N[,trace=0|1][,program=F][,weights=F][,slverr_read=K][,slverr_write=K][,restart=CYCLE][,reset=CYCLE]
//          Runs follow one another without a reset. slverr_*: the K-th burst from the start of the run is answered with
//          SLVERR. restart: ap_start is written again in that cycle. reset: at the first moment from that cycle on in which
//          no burst is open, ap_rst_n goes low, and the run ends.
//   --latency CYCLES      from an accepted address to its first beat or response (default 60)
//   --bandwidth BYTES     a cycle, all ports together, reads and writes (default 64)
//   --stall PERCENT       of the cycles in which a channel waits at random (default 0)
//   --seed S, --max-cycles N, --progress, --waves FILE
//   --timeline FILE       of the last run: a line "cycle queue kernel slot issue|done" for each command
//   --expect DIR          compare run 0 with output.bin, trace.bin and tensors.txt in DIR
//
// Writes DIR/output.K.bin and DIR/trace.K.bin for run K and DIR/result.json. Exit code: 0 good, 1 differs from --expect,
// 2 usage or file, 3 AXI protocol violated, 4 no done within the cycles allowed.
#include <verilated.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "Vhwgen_top.h"
#include "Vhwgen_top___024root.h"
#include "server.hpp"
#if VM_TRACE
#include <verilated_vcd_c.h>
#endif

namespace {

constexpr int kBeatBytes = 16;
constexpr int kPorts = 5;  // io, w0 .. w3
constexpr uint64_t kPage = 4096;

[[noreturn]] void fail(int code, const std::string& message) {
  std::fprintf(stderr, "testbench: %s\n", message.c_str());
  std::exit(code);
}

std::vector<uint8_t> read_file(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (file == nullptr) fail(2, "cannot read " + path);
  std::vector<uint8_t> bytes;
  uint8_t block[65536];
  size_t count = 0;
  while ((count = std::fread(block, 1, sizeof(block), file)) > 0) bytes.insert(bytes.end(), block, block + count);
  std::fclose(file);
  return bytes;
}

void write_file(const std::string& path, const uint8_t* data, size_t size) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  bool good = file != nullptr && std::fwrite(data, 1, size, file) == size;
  if (file != nullptr && std::fclose(file) != 0) good = false;
  if (!good) fail(2, "cannot write " + path);
}

struct Run {
  uint32_t frames = 1;
  bool trace = false;
  std::string program;
  std::string weights;
  int64_t slverr_read = -1;
  int64_t slverr_write = -1;
  int64_t restart = -1;
  int64_t reset = -1;
};

struct RunResult {
  bool done = false;
  bool was_reset = false;
  uint64_t cycles = 0;
  uint32_t error = 0;
  uint64_t read_bytes[kPorts] = {};
  uint64_t write_bytes = 0;
  std::vector<uint64_t> result_cycles;
  std::vector<uint32_t> busy;
  std::vector<uint32_t> waiting;
  uint64_t stalls[3] = {};  // array: weights, epilogue; depthwise: weights
  double seconds = 0;
};

// A buffer at an address of its own, 4 KiB aligned, with a gap behind it so that an overrun is seen. Its bytes are its
// own, or memory of somebody else.
struct Buffer {
  uint64_t base = 0;
  std::vector<uint8_t> bytes;
  uint8_t* shared = nullptr;
  size_t shared_size = 0;
  bool writable = true;

  uint8_t* data() { return shared != nullptr ? shared : bytes.data(); }
  size_t size() const { return shared != nullptr ? shared_size : bytes.size(); }
};

class Memory {
 public:
  enum Kind { kProgram, kWeights, kInput, kOutput, kTrace, kBuffers };

  std::vector<Buffer> buffers;

  // The buffers of a run, at addresses above 4 GiB: all address bits matter.
  void place() {
    uint64_t at = 0x840000000ull;
    for (Buffer& buffer : buffers) {
      buffer.base = at;
      at += (buffer.size() / kPage + 18) * kPage;
    }
    for (const Kind kind : {kProgram, kWeights, kInput}) buffers[kind].writable = false;
  }

  // The buffer that holds a beat at an address, nullptr outside every buffer.
  Buffer* find(uint64_t address) {
    for (Buffer& buffer : buffers) {
      if (address >= buffer.base && address + kBeatBytes <= buffer.base + buffer.size()) return &buffer;
    }
    return nullptr;
  }
};

struct Burst {
  uint64_t address = 0;
  uint32_t beats = 0;
  uint32_t done = 0;
  uint64_t ready_at = 0;
  bool error = false;
};

// Signals of one port, read after the model settled.
struct ReadSignals {
  bool ar_valid, r_ready;
  uint64_t ar_address;
  uint32_t ar_len, ar_size, ar_burst;
};

class ReadPort {
 public:
  std::deque<Burst> bursts;
  bool ar_ready = false;
  bool r_valid = false;
  bool open() const { return !bursts.empty(); }
};

class WritePort {
 public:
  std::deque<Burst> addresses;      // accepted, data not complete
  std::deque<Burst> responses;      // data complete, response to come
  bool aw_ready = false, w_ready = false, b_valid = false;
  bool open() const { return !addresses.empty() || !responses.empty(); }
};

#define READ_PORTS(DO) DO(0, io) DO(1, w0) DO(2, w1) DO(3, w2) DO(4, w3)

struct Options {
  std::string program, weights, input, out, waves, expect, timeline;
  std::vector<Run> runs;
  uint64_t latency = 60;
  uint64_t bandwidth = 64;
  uint32_t stall = 0;
  uint32_t seed = 1;
  uint64_t max_cycles = 0;
  bool progress = false;
  bool serve = false;
};

class Bench {
 public:
  Bench(const Options& options, VerilatedContext* context)
      : options_(options), context_(context), top_(new Vhwgen_top(context)), random_(options.seed) {
#if VM_TRACE
    if (!options.waves.empty()) {
      context->traceEverOn(true);
      waves_.reset(new VerilatedVcdC);
      top_->trace(waves_.get(), 99);
      waves_->open(options.waves.c_str());
    }
#endif
    top_->ap_clk = 0;
    top_->ap_rst_n = 0;
    top_->s_axi_control_AWVALID = 0;  // inputs start random, too
    top_->s_axi_control_WVALID = 0;
    top_->s_axi_control_ARVALID = 0;
    top_->s_axi_control_BREADY = 0;
    top_->s_axi_control_RREADY = 0;
  }

  ~Bench() {
#if VM_TRACE
    if (waves_) waves_->close();
#endif
    top_->final();
  }

  Memory memory;
  bool halted = false;  // the memory takes no request and gives no answer

  void reset() {
    top_->ap_rst_n = 0;
    for (ReadPort& port : read_) port = ReadPort();
    write_ = WritePort();
    for (int i = 0; i < 16; ++i) cycle();
    top_->ap_rst_n = 1;
    for (int i = 0; i < 4; ++i) cycle();
  }

  RunResult run(const Run& run, uint32_t output_words, uint64_t max_cycles);

  uint64_t now() const { return cycle_; }

  void cycle();
  void write_register(uint32_t address, uint32_t value);
  uint32_t read_register(uint32_t address);
  // Verilator renames a port that is a word of some compilers
  bool interrupt() const { return top_->__SYM__interrupt != 0; }

  std::FILE* timeline = nullptr;

 private:
  void note_commands();
  bool stalls() { return halted || (options_.stall != 0 && random_() % 100 < options_.stall); }
  bool pay() {
    if (credit_ < kBeatBytes) return false;
    credit_ -= kBeatBytes;
    return true;
  }
  void offer_reads();
  void take_reads();
  void check_burst(const char* what, int port, uint64_t address, uint32_t len, uint32_t size, uint32_t burst);

  const Options& options_;
  VerilatedContext* context_;
  std::unique_ptr<Vhwgen_top> top_;
#if VM_TRACE
  std::unique_ptr<VerilatedVcdC> waves_;
#endif
  std::mt19937 random_;
  uint64_t cycle_ = 0;
  int64_t credit_ = 0;
  int first_port_ = 0;
  ReadPort read_[kPorts];
  WritePort write_;
  // the run in progress
  const Run* active_ = nullptr;
  RunResult* result_ = nullptr;
  uint64_t started_ = 0;
  int64_t read_bursts_ = 0, write_bursts_ = 0;
  uint32_t output_words_ = 0;
  std::vector<uint32_t> written_;
  uint32_t finished_frames_ = 0;  // of the runs before
};

void Bench::check_burst(const char* what, int port, uint64_t address, uint32_t len, uint32_t size, uint32_t burst) {
  char text[200];
  std::snprintf(text, sizeof(text), "%s on port %d in cycle %llu: address %llx, %u beats, size %u, burst %u", what, port,
                static_cast<unsigned long long>(cycle_), static_cast<unsigned long long>(address), len + 1, size, burst);
  if (burst != 1 || size != 4 || address % kBeatBytes != 0) fail(3, std::string("not an aligned 16-byte INCR burst: ") + text);
  if (address / kPage != (address + uint64_t(len) * kBeatBytes) / kPage) fail(3, std::string("crosses 4 KiB: ") + text);
}

// Which ports show a beat in this cycle. A beat that was shown and not taken stays (AXI forbids to withdraw it).
void Bench::offer_reads() {
  for (int i = 0; i < kPorts; ++i) {
    const int p = (first_port_ + i) % kPorts;
    ReadPort& port = read_[p];
    port.ar_ready = port.bursts.size() < 32 && !stalls();
    if (!port.r_valid && !port.bursts.empty() && cycle_ >= port.bursts.front().ready_at && !stalls()) port.r_valid = pay();
  }
  first_port_ = (first_port_ + 1) % kPorts;
}

void Bench::cycle() {
  credit_ += static_cast<int64_t>(options_.bandwidth);
  const int64_t most = static_cast<int64_t>(options_.bandwidth) + kBeatBytes * kPorts;
  if (credit_ > most) credit_ = most;

  offer_reads();
  write_.aw_ready = write_.addresses.size() < 8 && !stalls();
  write_.w_ready = !write_.addresses.empty() && credit_ >= kBeatBytes && !stalls();
  if (!write_.b_valid)
    write_.b_valid = !write_.responses.empty() && cycle_ >= write_.responses.front().ready_at && !stalls();

  const auto drive = [&](int p, auto& ar_ready, auto& r_valid, auto& r_last, auto& r_resp, auto& r_data) {
    ReadPort& port = read_[p];
    ar_ready = port.ar_ready;
    r_valid = port.r_valid;
    if (port.r_valid) {
      const Burst& burst = port.bursts.front();
      const uint64_t address = burst.address + uint64_t(burst.done) * kBeatBytes;
      Buffer* buffer = memory.find(address);
      const uint8_t* bytes = buffer == nullptr ? nullptr : buffer->data() + (address - buffer->base);
      r_last = burst.done + 1 == burst.beats;
      r_resp = burst.error ? 2 : bytes == nullptr ? 3 : 0;
      for (int w = 0; w < 4; ++w) {
        uint32_t word = 0xdeadbeef;
        if (bytes != nullptr) std::memcpy(&word, bytes + 4 * w, 4);
        r_data[w] = word;
      }
    } else {
      r_last = random_() & 1;
      r_resp = 0;
      for (int w = 0; w < 4; ++w) r_data[w] = random_();
    }
  };
#define DRIVE(P, NAME)                                                                                       \
  drive(P, top_->m_axi_gmem_##NAME##_ARREADY, top_->m_axi_gmem_##NAME##_RVALID, top_->m_axi_gmem_##NAME##_RLAST, \
        top_->m_axi_gmem_##NAME##_RRESP, top_->m_axi_gmem_##NAME##_RDATA);
  READ_PORTS(DRIVE)
#undef DRIVE
  top_->m_axi_gmem_io_AWREADY = write_.aw_ready;
  top_->m_axi_gmem_io_WREADY = write_.w_ready;
  top_->m_axi_gmem_io_BVALID = write_.b_valid;
  top_->m_axi_gmem_io_BRESP = write_.b_valid && write_.responses.front().error ? 2 : 0;

  top_->eval();

  const auto take = [&](int p, bool ar_valid, uint64_t address, uint32_t len, uint32_t size, uint32_t burst, bool r_ready) {
    ReadPort& port = read_[p];
    if (port.r_valid && r_ready) {
      if (result_ != nullptr) result_->read_bytes[p] += kBeatBytes;
      Burst& front = port.bursts.front();
      if (++front.done == front.beats) port.bursts.pop_front();
      port.r_valid = false;
    }
    if (ar_valid && port.ar_ready) {
      check_burst("read", p, address, len, size, burst);
      Burst next;
      next.address = address;
      next.beats = len + 1;
      next.ready_at = cycle_ + options_.latency;
      next.error = active_ != nullptr && read_bursts_ == active_->slverr_read;
      ++read_bursts_;
      port.bursts.push_back(next);
    }
  };
  const bool running = top_->ap_rst_n != 0;
  if (running) {
#define TAKE(P, NAME)                                                                                                 \
  take(P, top_->m_axi_gmem_##NAME##_ARVALID, top_->m_axi_gmem_##NAME##_ARADDR, top_->m_axi_gmem_##NAME##_ARLEN,       \
       top_->m_axi_gmem_##NAME##_ARSIZE, top_->m_axi_gmem_##NAME##_ARBURST, top_->m_axi_gmem_##NAME##_RREADY);
    READ_PORTS(TAKE)
#undef TAKE
    if (write_.b_valid && top_->m_axi_gmem_io_BREADY) {
      write_.responses.pop_front();
      write_.b_valid = false;
    }
    if (write_.w_ready && top_->m_axi_gmem_io_WVALID) {
      credit_ -= kBeatBytes;
      Burst& front = write_.addresses.front();
      const uint64_t address = front.address + uint64_t(front.done) * kBeatBytes;
      Buffer* buffer = memory.find(address);
      if (buffer == nullptr || !buffer->writable) {
        front.error = true;  // as an interconnect would answer
      } else {
        uint8_t* bytes = buffer->data() + (address - buffer->base);
        for (int b = 0; b < kBeatBytes; ++b) {
          if (top_->m_axi_gmem_io_WSTRB >> b & 1) bytes[b] = uint8_t(top_->m_axi_gmem_io_WDATA[b / 4] >> (8 * (b % 4)));
        }
        if (result_ != nullptr && output_words_ != 0 && buffer == &memory.buffers[Memory::kOutput]) {
          const size_t frame = (address - buffer->base) / kBeatBytes / output_words_;
          if (frame < written_.size() && ++written_[frame] == output_words_) result_->result_cycles[frame] = cycle_ - started_;
        }
      }
      if (result_ != nullptr) result_->write_bytes += kBeatBytes;
      ++front.done;
      const bool last = front.done == front.beats;
      if (last != (top_->m_axi_gmem_io_WLAST != 0)) fail(3, "WLAST is not with the last beat of a write burst");
      if (last) {
        Burst response = front;
        write_.addresses.pop_front();
        response.ready_at = cycle_ + options_.latency;
        write_.responses.push_back(response);
      }
    }
    if (write_.aw_ready && top_->m_axi_gmem_io_AWVALID) {
      check_burst("write", 0, top_->m_axi_gmem_io_AWADDR, top_->m_axi_gmem_io_AWLEN, top_->m_axi_gmem_io_AWSIZE,
                  top_->m_axi_gmem_io_AWBURST);
      Burst next;
      next.address = top_->m_axi_gmem_io_AWADDR;
      next.beats = top_->m_axi_gmem_io_AWLEN + 1;
      next.error = active_ != nullptr && write_bursts_ == active_->slverr_write;
      ++write_bursts_;
      write_.addresses.push_back(next);
    }
  }

#ifndef HWGEN_PORTS_ONLY
  if (timeline != nullptr) note_commands();
  if (result_ != nullptr) {
    for (int i = 0; i < 3; ++i) result_->stalls[i] += top_->rootp->hwgen_top__DOT__engine_stall >> i & 1;
  }
#endif
#if VM_TRACE
  if (waves_) waves_->dump(context_->time());
#endif
  context_->timeInc(2500);
  top_->ap_clk = 1;
  top_->eval();
#if VM_TRACE
  if (waves_) waves_->dump(context_->time());
#endif
  context_->timeInc(2500);
  top_->ap_clk = 0;
  ++cycle_;
}

#ifndef HWGEN_PORTS_ONLY
void Bench::note_commands() {
  const auto* root = top_->rootp;
  const uint32_t issued = root->hwgen_top__DOT__command_valid & root->hwgen_top__DOT__command_ready;
  const uint32_t done = root->hwgen_top__DOT__command_done;
  const unsigned long long at = cycle_ - started_;
  for (unsigned q = 0; (issued | done) >> q != 0; ++q) {
    if (done >> q & 1) std::fprintf(timeline, "%llu %u - - done\n", at, q);
    if (issued >> q & 1) {
      const uint32_t tag = root->hwgen_top__DOT__command_tag[q];
      std::fprintf(timeline, "%llu %u %u %u issue\n", at, q, tag & 0xffff, tag >> 16);
    }
  }
}
#endif

void Bench::write_register(uint32_t address, uint32_t value) {
  top_->s_axi_control_AWADDR = address;
  top_->s_axi_control_AWVALID = 1;
  top_->s_axi_control_WDATA = value;
  top_->s_axi_control_WSTRB = 15;
  top_->s_axi_control_WVALID = 1;
  top_->s_axi_control_BREADY = 1;
  bool address_taken = false, data_taken = false, answered = false;
  for (int i = 0; i < 1000 && !answered; ++i) {
    top_->eval();
    const bool aw = top_->s_axi_control_AWVALID && top_->s_axi_control_AWREADY;
    const bool w = top_->s_axi_control_WVALID && top_->s_axi_control_WREADY;
    answered = top_->s_axi_control_BVALID;
    cycle();
    address_taken |= aw;
    data_taken |= w;
    if (address_taken) top_->s_axi_control_AWVALID = 0;
    if (data_taken) top_->s_axi_control_WVALID = 0;
  }
  top_->s_axi_control_BREADY = 0;
  if (!answered) fail(3, "a register write is never answered");
}

uint32_t Bench::read_register(uint32_t address) {
  top_->s_axi_control_ARADDR = address;
  top_->s_axi_control_ARVALID = 1;
  top_->s_axi_control_RREADY = 1;
  for (int i = 0; i < 1000; ++i) {
    top_->eval();
    const bool taken = top_->s_axi_control_ARVALID && top_->s_axi_control_ARREADY;
    const bool answered = top_->s_axi_control_RVALID;
    const uint32_t value = top_->s_axi_control_RDATA;
    cycle();
    if (taken) top_->s_axi_control_ARVALID = 0;
    if (answered) {
      top_->s_axi_control_RREADY = 0;
      return value;
    }
  }
  fail(3, "a register read is never answered");
}

double seconds() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return double(time.tv_sec) + 1e-9 * double(time.tv_nsec);
}

RunResult Bench::run(const Run& run, uint32_t output_words, uint64_t max_cycles) {
  RunResult result;
  const double start_time = seconds();
  result.result_cycles.assign(run.frames, 0);
  written_.assign(run.frames, 0);
  output_words_ = output_words;
  read_bursts_ = write_bursts_ = 0;
  const uint32_t pointers[8] = {0x10, 0x1c, 0x28, 0x34, 0x40, 0x4c, 0x58, 0x64};
  const Memory::Kind kinds[8] = {Memory::kProgram, Memory::kWeights, Memory::kWeights, Memory::kWeights,
                                 Memory::kWeights, Memory::kInput,   Memory::kOutput,  Memory::kTrace};
  for (int i = 0; i < 8; ++i) {
    const uint64_t base = memory.buffers[kinds[i]].base;
    write_register(pointers[i], uint32_t(base));
    write_register(pointers[i] + 4, uint32_t(base >> 32));
  }
  write_register(0x70, run.frames);
  write_register(0x78, run.trace ? 1 : 0);
  write_register(0x04, 1);  // global interrupt enable
  write_register(0x08, 1);  // on done
  active_ = &run;
  result_ = &result;
  started_ = cycle_;
  write_register(0x00, 1);
  bool restarted = false;
  uint64_t next_progress = 0;
  while (cycle_ - started_ < max_cycles) {
    cycle();
    const uint64_t elapsed = cycle_ - started_;
    if (interrupt()) {
      result.done = true;
      break;
    }
    if (run.restart >= 0 && !restarted && elapsed >= uint64_t(run.restart)) {
      write_register(0x00, 1);
      restarted = true;
    }
    if (run.reset >= 0 && elapsed >= uint64_t(run.reset)) {
      bool open = write_.open();
      for (const ReadPort& port : read_) open = open || port.open();
      const bool asks = top_->m_axi_gmem_io_ARVALID || top_->m_axi_gmem_io_AWVALID || top_->m_axi_gmem_io_WVALID ||
                        top_->m_axi_gmem_w0_ARVALID || top_->m_axi_gmem_w1_ARVALID || top_->m_axi_gmem_w2_ARVALID ||
                        top_->m_axi_gmem_w3_ARVALID;
      if (!open && !asks) {
        result.was_reset = true;
        break;
      }
    }
    if (options_.progress && elapsed >= next_progress) {
      uint32_t frames = finished_frames_;
      for (uint64_t at : result.result_cycles) frames += at != 0;
      std::printf("progress %llu %u\n", static_cast<unsigned long long>(cycle_), frames);
      std::fflush(stdout);
      next_progress = elapsed + 5000;
    }
  }
  result.cycles = cycle_ - started_;
  finished_frames_ += run.frames;
  active_ = nullptr;
  result_ = nullptr;
  if (result.was_reset) {
    reset();
  } else if (result.done) {
    write_register(0x0c, 1);  // toggles the interrupt's status bit off
    read_register(0x00);      // clears done
#ifndef HWGEN_PORTS_ONLY
    result.error = read_register(0x100);
    for (uint32_t q = 0; q < 9; ++q) {
      result.busy.push_back(read_register(0x110 + 8 * q));
      result.waiting.push_back(read_register(0x114 + 8 * q));
    }
#endif
    // A start that was written while the machine ran may start it once more: let that run end, too.
    if (restarted) {
      for (uint64_t i = 0; i < 64; ++i) cycle();
      for (uint64_t i = 0; i < max_cycles && (read_register(0x00) & 4) == 0; ++i) cycle();
      write_register(0x0c, read_register(0x0c));
      read_register(0x00);
    }
  }
  result.seconds = seconds() - start_time;
  return result;
}

Run parse_run(const std::string& text) {
  Run run;
  size_t at = 0;
  while (at < text.size()) {
    size_t end = text.find(',', at);
    if (end == std::string::npos) end = text.size();
    const std::string part = text.substr(at, end - at);
    const size_t equals = part.find('=');
    if (equals == std::string::npos) fail(2, "--run " + text + ": " + part + " has no value");
    const std::string key = part.substr(0, equals), value = part.substr(equals + 1);
    const int64_t number = std::strtoll(value.c_str(), nullptr, 10);
    if (key == "frames") run.frames = uint32_t(number);
    else if (key == "trace") run.trace = number != 0;
    else if (key == "program") run.program = value;
    else if (key == "weights") run.weights = value;
    else if (key == "slverr_read") run.slverr_read = number;
    else if (key == "slverr_write") run.slverr_write = number;
    else if (key == "restart") run.restart = number;
    else if (key == "reset") run.reset = number;
    else fail(2, "--run " + text + ": there is no " + key);
    at = end + 1;
  }
  return run;
}

uint32_t header_word(const std::vector<uint8_t>& program, size_t index) {
  uint32_t word = 0;
  std::memcpy(&word, program.data() + 4 * index, 4);
  return word;
}

// First difference of run 0 to the expected buffers, lanes beyond the channels of a tensor aside.
bool differs(const std::string& directory, const std::vector<uint8_t>& output, const std::vector<uint8_t>& trace) {
  const std::vector<uint8_t> want_output = read_file(directory + "/output.bin");
  const std::vector<uint8_t> want_trace = read_file(directory + "/trace.bin");
  std::FILE* list = std::fopen((directory + "/tensors.txt").c_str(), "r");
  if (list == nullptr) fail(2, "cannot read " + directory + "/tensors.txt");
  char buffer[8];
  unsigned long offset = 0, channels = 0, pixels = 0;
  size_t tensors = 0, wrong = 0;
  while (std::fscanf(list, "%7s %lu %lu %lu", buffer, &offset, &channels, &pixels) == 4) {
    const bool is_trace = std::strcmp(buffer, "trace") == 0;
    const std::vector<uint8_t>& want = is_trace ? want_trace : want_output;
    const std::vector<uint8_t>& got = is_trace ? trace : output;
    ++tensors;
    bool equal = true;
    for (size_t c = 0; c < channels && equal; ++c) {
      for (size_t p = 0; p < pixels && equal; ++p) {
        const size_t at = (offset + c / 16 * pixels + p) * 16 + c % 16;
        equal = at < want.size() && at < got.size() && want[at] == got[at];
        if (!equal) std::printf("%s tensor at word %lu differs: channel %zu, pixel %zu\n", buffer, offset, c, p);
      }
    }
    wrong += !equal;
  }
  std::fclose(list);
  std::printf("%zu tensors compared, %zu differ\n", tensors, wrong);
  return wrong != 0 || tensors == 0;
}

void write_result(const std::string& path, const std::vector<RunResult>& results, uint64_t cycles) {
  std::FILE* file = std::fopen(path.c_str(), "w");
  if (file == nullptr) fail(2, "cannot write " + path);
  const auto list = [&](const char* name, const auto& values) {
    std::fprintf(file, ", \"%s\": [", name);
    const char* comma = "";
    for (const auto value : values) {
      std::fprintf(file, "%s%llu", comma, static_cast<unsigned long long>(value));
      comma = ", ";
    }
    std::fprintf(file, "]");
  };
  std::fprintf(file, "{\"cycles\": %llu, \"runs\": [", static_cast<unsigned long long>(cycles));
  const char* comma = "";
  for (const RunResult& r : results) {
    std::fprintf(file, "%s\n{\"done\": %s, \"reset\": %s, \"cycles\": %llu, \"error\": %u, \"seconds\": %.3f", comma,
                 r.done ? "true" : "false", r.was_reset ? "true" : "false", static_cast<unsigned long long>(r.cycles),
                 r.error, r.seconds);
    std::fprintf(file, ", \"write_bytes\": %llu", static_cast<unsigned long long>(r.write_bytes));
    list("read_bytes", r.read_bytes);
    list("result_cycles", r.result_cycles);
    list("busy", r.busy);
    list("waiting", r.waiting);
    list("stalls", r.stalls);
    std::fprintf(file, "}");
    comma = ",";
  }
  std::fprintf(file, "\n]}\n");
  std::fclose(file);
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name[0] == '+') continue;  // Verilator's own
    if (name == "--progress" || name == "--serve") {
      (name == "--serve" ? options.serve : options.progress) = true;
      continue;
    }
    if (i + 1 >= argc) fail(2, name + " needs a value");
    const std::string value = argv[++i];
    const uint64_t number = std::strtoull(value.c_str(), nullptr, 10);
    if (name == "--program") options.program = value;
    else if (name == "--weights") options.weights = value;
    else if (name == "--input") options.input = value;
    else if (name == "--out") options.out = value;
    else if (name == "--run") options.runs.push_back(parse_run(value));
    else if (name == "--latency") options.latency = number;
    else if (name == "--bandwidth") options.bandwidth = number;
    else if (name == "--stall") options.stall = uint32_t(number);
    else if (name == "--seed") options.seed = uint32_t(number);
    else if (name == "--max-cycles") options.max_cycles = number;
    else if (name == "--waves") options.waves = value;
    else if (name == "--expect") options.expect = value;
    else if (name == "--timeline") options.timeline = value;
    else fail(2, "there is no option " + name);
  }
  if (options.serve) return options;
  if (options.program.empty() || options.weights.empty() || options.input.empty() || options.out.empty() || options.runs.empty())
    fail(2, "--program, --weights, --input, --out and --run are needed");
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  VerilatedContext context;
  context.commandArgs(argc, argv);
  context.randReset(2);  // registers and memories start random
  context.randSeed(static_cast<int>(options.seed));

  std::vector<RunResult> results;
  bool wrong = false;
  uint64_t cycles = 0;
  int code = 0;
  {
    Bench bench(options, &context);
    if (options.serve) return serve(bench, [](const std::string& message) { fail(2, message); });
    const std::vector<uint8_t> program = read_file(options.program);
    const std::vector<uint8_t> weights = read_file(options.weights);
    if (program.size() < 128) fail(2, "no header in " + options.program);
    const uint32_t input_words = header_word(program, 4), output_words = header_word(program, 5);
    const uint32_t trace_words = header_word(program, 6);
    size_t frames = 0;
    bool traces = false;
    for (const Run& run : options.runs) {
      if (run.frames > frames) frames = run.frames;
      traces = traces || run.trace;
    }
    Memory& memory = bench.memory;
    memory.buffers.resize(Memory::kBuffers);
    memory.buffers[Memory::kInput].bytes = read_file(options.input);
    if (memory.buffers[Memory::kInput].bytes.size() < size_t(input_words) * 16 * frames) fail(2, "too few frames in " + options.input);
    memory.buffers[Memory::kOutput].bytes.resize(size_t(output_words) * 16 * frames);
    memory.buffers[Memory::kTrace].bytes.resize(traces ? size_t(trace_words) * 16 * frames : 16);
    memory.buffers[Memory::kProgram].bytes = program;
    memory.buffers[Memory::kWeights].bytes = weights;
    if (memory.buffers[Memory::kWeights].bytes.empty()) memory.buffers[Memory::kWeights].bytes.resize(16);
    memory.place();
    bench.reset();
    for (size_t k = 0; k < options.runs.size() && code == 0; ++k) {
      const Run& run = options.runs[k];
      memory.buffers[Memory::kProgram].bytes = run.program.empty() ? program : read_file(run.program);
      if (!run.weights.empty()) memory.buffers[Memory::kWeights].bytes = read_file(run.weights);
      else if (!weights.empty()) memory.buffers[Memory::kWeights].bytes = weights;
      std::vector<uint8_t>& output = memory.buffers[Memory::kOutput].bytes;
      std::vector<uint8_t>& trace = memory.buffers[Memory::kTrace].bytes;
      std::fill(output.begin(), output.end(), 0);
      std::fill(trace.begin(), trace.end(), 0);
      const uint64_t limit = options.max_cycles != 0 ? options.max_cycles : 20000000ull * (run.frames + 1);
      if (k + 1 == options.runs.size() && !options.timeline.empty()) {
        bench.timeline = std::fopen(options.timeline.c_str(), "w");
        if (bench.timeline == nullptr) fail(2, "cannot write " + options.timeline);
      }
      results.push_back(bench.run(run, output_words, limit));
      if (bench.timeline != nullptr) std::fclose(bench.timeline);
      bench.timeline = nullptr;
      const std::string number = std::to_string(k);
      write_file(options.out + "/output." + number + ".bin", output.data(), size_t(output_words) * 16 * run.frames);
      write_file(options.out + "/trace." + number + ".bin", trace.data(), run.trace ? size_t(trace_words) * 16 * run.frames : 0);
      if (!results.back().done && !results.back().was_reset) code = 4;
      if (k == 0 && !options.expect.empty()) wrong = differs(options.expect, output, trace);
    }
    cycles = bench.now();
  }
  write_result(options.out + "/result.json", results, cycles);
  if (code == 4) std::fprintf(stderr, "testbench: no done within the cycles allowed\n");
  return code != 0 ? code : wrong ? 1 : 0;
}
