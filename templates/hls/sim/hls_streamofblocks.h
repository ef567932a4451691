// SPDX-License-Identifier: Apache-2.0
// hls::stream_of_blocks for simulation without Vitis: DEPTH arrays between one task that fills them and one that uses
// them. A task has a block to itself as long as its lock lives; the end of a write_lock hands the block to the reader, the
// end of a read_lock gives it back. Each side holds one lock at a time.
#ifndef HWGEN_SIM_HLS_STREAMOFBLOCKS_H
#define HWGEN_SIM_HLS_STREAMOFBLOCKS_H

#include <memory>
#include <type_traits>

#include "hls_simulation.h"

namespace hls {

template <typename T>
class write_lock;
template <typename T>
class read_lock;

namespace simulation {

// A stream of blocks of any depth.
template <typename T>
class Blocks : public Channel {
  static_assert(std::is_array<T>::value, "a block is an array");

 public:
  bool empty() const {
    poll_as_reader();
    return count() - held_by_reader_ == 0;
  }

  bool full() const {
    poll_as_writer();
    return count() + held_by_writer_ == capacity();
  }

 protected:
  Blocks(const char* name, int depth)
      : Channel(name, depth),
        blocks_(new Block[static_cast<size_t>(depth)]()),
        first_(0),
        end_(0),
        held_by_writer_(0),
        held_by_reader_(0) {}

 private:
  friend class write_lock<T>;
  friend class read_lock<T>;

  struct Block {
    T values;
  };

  T* lock_for_write() {
    if (held_by_writer_ != 0) {
      stop("has a second write_lock while one is held");
    }
    wait_for_room();
    held_by_writer_ = 1;
    return &blocks_[static_cast<size_t>(end_)].values;
  }

  void unlock_written() {
    held_by_writer_ = 0;
    end_ = end_ + 1 == capacity() ? 0 : end_ + 1;
    entered();
  }

  const T* lock_for_read() {
    if (held_by_reader_ != 0) {
      stop("has a second read_lock while one is held");
    }
    wait_for_entry();
    held_by_reader_ = 1;
    return &blocks_[static_cast<size_t>(first_)].values;
  }

  void unlock_read() {
    held_by_reader_ = 0;
    first_ = first_ + 1 == capacity() ? 0 : first_ + 1;
    left();
  }

  const std::unique_ptr<Block[]> blocks_;
  int first_;
  int end_;
  int held_by_writer_;  // blocks: 0 or 1
  int held_by_reader_;
};

}  // namespace simulation

template <typename T, int DEPTH = 2>
class stream_of_blocks : public simulation::Blocks<T> {
  static_assert(DEPTH >= 1, "a stream of blocks holds at least one block");

 public:
  explicit stream_of_blocks(const char* name = "unnamed") : simulation::Blocks<T>(name, DEPTH) {}
};

// Waits for a free block; its end hands the block to the reader.
template <typename T>
class write_lock {
 public:
  explicit write_lock(simulation::Blocks<T>& stream) : stream_(stream), block_(*stream.lock_for_write()) {}
  ~write_lock() { stream_.unlock_written(); }

  write_lock(const write_lock&) = delete;
  write_lock& operator=(const write_lock&) = delete;

  template <typename INDEX>
  typename std::remove_extent<T>::type& operator[](const INDEX& index) {
    return block_[index];
  }
  operator T&() { return block_; }

 private:
  simulation::Blocks<T>& stream_;
  T& block_;
};

// Waits for a block that was written; its end gives the block back to the writer.
template <typename T>
class read_lock {
 public:
  explicit read_lock(simulation::Blocks<T>& stream) : stream_(stream), block_(*stream.lock_for_read()) {}
  ~read_lock() { stream_.unlock_read(); }

  read_lock(const read_lock&) = delete;
  read_lock& operator=(const read_lock&) = delete;

  template <typename INDEX>
  const typename std::remove_extent<T>::type& operator[](const INDEX& index) const {
    return block_[index];
  }
  operator const T&() const { return block_; }

 private:
  simulation::Blocks<T>& stream_;
  const T& block_;
};

}  // namespace hls

#endif
