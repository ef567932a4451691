// SPDX-License-Identifier: Apache-2.0
// hls::stream for simulation without Vitis. A stream is a FIFO of DEPTH entries with a name, between one fiber that
// writes it and one that reads it (hls_simulation.h): reading an empty one and writing to a full one wait for the other
// side. What is left in a stream when it dies is reported and makes the run fail. Vitis brings its own header, and this
// one is not used there.
#ifndef HWGEN_SIM_HLS_STREAM_H
#define HWGEN_SIM_HLS_STREAM_H

#include "hls_simulation.h"

namespace hls {

template <typename T, int DEPTH = 2>
class stream : public simulation::Channel {
  static_assert(DEPTH >= 1, "a stream holds at least one entry");

 public:
  explicit stream(const char* name = "unnamed") : Channel(name, DEPTH), first_(0), end_(0) {}

  bool empty() const {
    poll_as_reader();
    return count() == 0;
  }

  bool full() const {
    poll_as_writer();
    return count() == DEPTH;
  }

  int size() const {
    poll();
    return count();
  }

  void write(const T& value) {
    wait_for_room();
    put(value);
  }

  T read() {
    wait_for_entry();
    return get();
  }

  void read(T& value) { value = read(); }

  bool write_nb(const T& value) {
    poll_as_writer();
    if (count() == DEPTH) {
      return false;
    }
    put(value);
    return true;
  }

  bool read_nb(T& value) {
    poll_as_reader();
    if (count() == 0) {
      return false;
    }
    value = get();
    return true;
  }

 private:
  void put(const T& value) {
    entries_[end_] = value;
    end_ = end_ + 1 == DEPTH ? 0 : end_ + 1;
    entered();
  }

  T get() {
    const T value = entries_[first_];
    first_ = first_ + 1 == DEPTH ? 0 : first_ + 1;
    left();
    return value;
  }

  int first_;
  int end_;
  T entries_[DEPTH];
};

}  // namespace hls

#endif
