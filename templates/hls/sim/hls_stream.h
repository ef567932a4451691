// SPDX-License-Identifier: Apache-2.0
// hls::stream for simulation without Vitis. A stream is a FIFO of DEPTH entries with a name; reading an empty one and
// writing to a full one stop the simulation, because the hardware would hang there. What is left in a stream when it
// dies is reported and makes the run fail. Vitis brings its own header, and this one is not used there.
#ifndef HWGEN_SIM_HLS_STREAM_H
#define HWGEN_SIM_HLS_STREAM_H

#include <cstdio>
#include <cstdlib>

namespace hls {

// Streams that died with entries left in them.
inline int& stream_failures() {
  static int failures = 0;
  return failures;
}

template <typename T, int DEPTH = 2>
class stream {
  static_assert(DEPTH >= 1, "a stream holds at least one entry");

 public:
  explicit stream(const char* name = "unnamed") : name_(name), first_(0), count_(0) {}

  stream(const stream&) = delete;
  stream& operator=(const stream&) = delete;

  ~stream() {
    if (count_ != 0) {
      std::fprintf(stderr, "hwgen machine: stream %s still holds %d of %d entries at its end\n", name_, count_, DEPTH);
      ++stream_failures();
    }
  }

  bool empty() const { return count_ == 0; }
  bool full() const { return count_ == DEPTH; }
  int size() const { return count_; }

  void write(const T& value) {
    if (full()) {
      stop("write to a full stream");
    }
    entries_[(first_ + count_) % DEPTH] = value;
    ++count_;
  }

  T read() {
    if (empty()) {
      stop("read of an empty stream");
    }
    const T value = entries_[first_];
    first_ = (first_ + 1) % DEPTH;
    --count_;
    return value;
  }

  void read(T& value) { value = read(); }

  bool write_nb(const T& value) {
    if (full()) {
      return false;
    }
    write(value);
    return true;
  }

  bool read_nb(T& value) {
    if (empty()) {
      return false;
    }
    value = read();
    return true;
  }

 private:
  void stop(const char* what) const {
    std::fprintf(stderr, "hwgen machine: %s: %s (depth %d): the hardware would hang\n", name_, what, DEPTH);
    std::exit(5);
  }

  const char* name_;
  int first_;
  int count_;
  T entries_[DEPTH];
};

}  // namespace hls

#endif
