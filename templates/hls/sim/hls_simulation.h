// SPDX-License-Identifier: Apache-2.0
// The simulation of a network of tasks and bounded channels without Vitis.
//
//   main program (fiber 0) --channel--> task --channel--> task --+
//                         <--channel-----------------------------+
//
// Each task is a fiber; the main program, which calls the top function, is one too. A fiber runs until it waits for a
// channel; then the next one that can run has its turn, in a fixed order, so that a run always goes the same way. A
// channel has one fiber that writes it and one that reads it, the first that do. A change of the channel wakes them.
//
//   BLOCKED  a read of an empty channel or a write to a full one waits for this channel
//   PARKED   the body of a task returned and had found nothing to do: any channel that it uses wakes it
//
// If nothing can run while the main program waits, the hardware would hang: exit code 5, with the state of all channels.
// Exit code 7: a channel with two writers or two readers, or a block that is locked twice.
#ifndef HWGEN_SIM_HLS_SIMULATION_H
#define HWGEN_SIM_HLS_SIMULATION_H

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <initializer_list>
#include <utility>

#include "hls_fiber.h"

namespace hls {
namespace simulation {

class Channel;

struct Fiber {
  enum State { READY, BLOCKED, PARKED, SETTLING, RETIRED };

  constexpr Fiber()
      : context(),
        body(nullptr),
        number(0),
        state(READY),
        moved(false),
        changed(false),
        channel(nullptr),
        next(nullptr) {}

  Context context;
  const std::function<void()>* body;  // one call of the task; none for the main program
  int number;                         // of the task, from 1; 0: the main program
  State state;                        // READY: runs or waits for its turn
  bool moved;                         // a stream operation of this call of the body succeeded
  bool changed;                       // a channel changed during this call of the body
  const Channel* channel;             // what it waits for if it is BLOCKED
  Fiber* next;                        // in the queue of those that can run, or of those that are retired
};

class Scheduler {
 public:
  constexpr Scheduler()
      : main_(),
        current_(&main_),
        queue_(nullptr),
        queue_end_(nullptr),
        retired_(nullptr),
        channels_(nullptr),
        channels_end_(nullptr),
        tasks_(0),
        failures_(0),
        random_(0),
        polls_(0),
        operations_(0),
        switches_(0),
        stopped_(false) {}

  Fiber* current() const { return current_; }
  int& failures() { return failures_; }
  bool stopped() const { return stopped_; }
  unsigned long switches() const { return switches_; }
  void seed(unsigned value) { random_ = value; }
  void progress() { current_->moved = true; }

  // A new fiber that calls the body for ever.
  Fiber* start(std::function<void()> body) {
    Fiber* fiber = new Fiber();
    fiber->body = new std::function<void()>(std::move(body));
    fiber->number = ++tasks_;
    fiber->context.start(&Scheduler::run_body);
    append(fiber);
    return fiber;
  }

  void retire(Fiber* fiber);

  // The current fiber waits for a channel, or for all of those that it uses. Ends the program if nothing can run.
  void wait(Fiber::State state, const Channel* channel = nullptr) {
    current_->state = state;
    current_->channel = channel;
    Fiber* next = take();
    if (next == nullptr) {
      if (main_.state != Fiber::SETTLING) {
        report_deadlock("nothing can move");
      }
      next = &main_;
    }
    run(next);
  }

  void wake(Fiber* fiber, const Channel* channel) {
    if (fiber != nullptr) {
      fiber->changed = true;
      if (fiber->state == Fiber::PARKED || (fiber->state == Fiber::BLOCKED && fiber->channel == channel)) {
        append(fiber);
      }
    }
  }

  // After each operation that moved an entry.
  void after_operation() {
    current_->moved = true;
    polls_ = 0;
    if (++operations_ % OPERATIONS_PER_TURN == 0 || random_preemption()) {
      yield();
    }
  }

  // Before each look at a channel that does not wait.
  void before_poll() {
    if (++polls_ % POLLS_PER_TURN == 0 || random_preemption()) {
      if (polls_ < POLLS_FOR_EVER) {
        yield();
      } else if (main_.state == Fiber::SETTLING) {
        append(current_);
        run(&main_);
      } else {
        report_deadlock("a loop polls for ever");
      }
    }
  }

  // Runs the tasks until none can run, or all that do poll for ever.
  void settle() {
    polls_ = 0;
    while (queue_ != nullptr && polls_ < POLLS_FOR_EVER) {
      wait(Fiber::SETTLING);
    }
    polls_ = 0;
  }

  void add(Channel* channel);
  void remove(Channel* channel);
  int report_leftovers();

  __attribute__((noreturn, format(printf, 3, 4))) void stop(int code, const char* format, ...) {
    std::va_list values;
    va_start(values, format);
    std::fputs("hwgen machine: ", stderr);
    std::vfprintf(stderr, format, values);
    std::fputc('\n', stderr);
    va_end(values);
    stopped_ = true;
    std::exit(code);
  }

 private:
  // So that a loop which never has to wait does not keep the others from running.
  static constexpr unsigned long OPERATIONS_PER_TURN = 4096;
  static constexpr unsigned long POLLS_PER_TURN = 64;
  // As many polls in a row with no operation of any fiber between them can only be a loop that waits for nothing.
  static constexpr unsigned long POLLS_FOR_EVER = 10000000;

  static void run_body();

  __attribute__((noreturn)) void report_deadlock(const char* what);

  void append(Fiber* fiber) {
    fiber->state = Fiber::READY;
    fiber->next = nullptr;
    (queue_ == nullptr ? queue_ : queue_end_->next) = fiber;
    queue_end_ = fiber;
  }

  void remove(Fiber* fiber) {
    Fiber* before = nullptr;
    for (Fiber* f = queue_; f != nullptr; before = f, f = f->next) {
      if (f == fiber) {
        (before == nullptr ? queue_ : before->next) = f->next;
        if (queue_end_ == f) {
          queue_end_ = before;
        }
        return;
      }
    }
  }

  // The fiber whose turn it is: the first of the queue, or with a seed any of it. Null if there is none.
  Fiber* take() {
    Fiber* fiber = queue_;
    if (fiber != nullptr && random_ != 0) {
      unsigned count = 0;
      for (const Fiber* f = queue_; f != nullptr; f = f->next) {
        ++count;
      }
      for (unsigned steps = random() % count; steps > 0; --steps) {
        fiber = fiber->next;
      }
    }
    if (fiber != nullptr) {
      remove(fiber);
    }
    return fiber;
  }

  void run(Fiber* next) {
    next->state = Fiber::READY;
    if (next != current_) {
      Fiber* const left = current_;
      current_ = next;
      ++switches_;
      left->context.switch_to(next->context);
    }
  }

  void yield() {
    if (queue_ != nullptr) {
      append(current_);
      run(take());
    }
  }

  bool random_preemption() { return random_ != 0 && random() % 4 == 0; }

  unsigned random() {  // xorshift32
    random_ ^= random_ << 13;
    random_ ^= random_ >> 17;
    random_ ^= random_ << 5;
    return random_;
  }

  Fiber main_;
  Fiber* current_;
  Fiber* queue_;
  Fiber* queue_end_;
  Fiber* retired_;
  Channel* channels_;
  Channel* channels_end_;
  int tasks_;
  int failures_;
  unsigned random_;
  unsigned long polls_;  // since the last operation
  unsigned long operations_;
  unsigned long switches_;
  bool stopped_;
};

// One scheduler for all translation units, there before any constructor runs and after all destructors.
template <typename T>
struct Shared {
  static Scheduler scheduler;
};
template <typename T>
Scheduler Shared<T>::scheduler;

inline Scheduler& scheduler() { return Shared<void>::scheduler; }

// What a stream of values and a stream of blocks have in common: depth, entries, and who waits for them.
class Channel {
 public:
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  int capacity() const { return depth_; }

 protected:
  Channel(const char* name, int depth)
      : name_(name),
        depth_(depth),
        count_(0),
        reported_(false),
        writer_(nullptr),
        reader_(nullptr),
        observers_{nullptr, nullptr},
        previous_(nullptr),
        next_(nullptr) {
    scheduler().add(this);
  }

  ~Channel() {
    if (!scheduler().stopped()) {
      report_leftovers("at its end");
    }
    scheduler().remove(this);
  }

  int count() const { return count_; }

  void poll_as_writer() const {
    become_writer();
    scheduler().before_poll();
  }

  void poll_as_reader() const {
    become_reader();
    scheduler().before_poll();
  }

  // The number of entries alone does not tell which side asks.
  void poll() const {
    Fiber* const fiber = scheduler().current();
    if (fiber != writer_ && fiber != reader_ && fiber != observers_[0] && fiber != observers_[1]) {
      Fiber*& observer = observers_[observers_[0] == nullptr ? 0 : 1];
      if (observer != nullptr) {
        stop("has a third task that asks for its size");
      }
      observer = fiber;
    }
    scheduler().before_poll();
  }

  void wait_for_room() const {
    become_writer();
    while (count_ == depth_) {
      scheduler().wait(Fiber::BLOCKED, this);
    }
  }

  void wait_for_entry() const {
    become_reader();
    while (count_ == 0) {
      scheduler().wait(Fiber::BLOCKED, this);
    }
  }

  void entered() {
    ++count_;
    changed(reader_);
  }

  void left() {
    --count_;
    changed(writer_);
  }

  __attribute__((noreturn)) void stop(const char* what) const { scheduler().stop(7, "stream %s %s", name_, what); }

 private:
  friend class Scheduler;

  void become_writer() const {
    Fiber* const fiber = scheduler().current();
    if (writer_ != fiber) {
      if (writer_ != nullptr) {
        stop("has a second writer");
      }
      writer_ = fiber;
    }
  }

  void become_reader() const {
    Fiber* const fiber = scheduler().current();
    if (reader_ != fiber) {
      if (reader_ != nullptr) {
        stop("has a second reader");
      }
      reader_ = fiber;
    }
  }

  void changed(Fiber* other_side) {
    scheduler().wake(other_side, this);
    scheduler().wake(observers_[0], this);
    scheduler().wake(observers_[1], this);
    scheduler().after_operation();
  }

  void forget(const Fiber* fiber) {
    for (Fiber** f : {&writer_, &reader_, &observers_[0], &observers_[1]}) {
      *f = *f == fiber ? nullptr : *f;
    }
  }

  bool blocks(const Fiber* fiber) const {
    return fiber != nullptr && fiber->state == Fiber::BLOCKED && fiber->channel == this;
  }
  bool blocks_writer() const { return count_ == depth_ && blocks(writer_); }
  bool blocks_reader() const { return count_ == 0 && blocks(reader_); }

  void report_leftovers(const char* when) {
    if (count_ != 0 && !reported_) {
      std::fprintf(stderr, "hwgen machine: stream %s still holds %d of %d entries %s\n", name_, count_, depth_, when);
      reported_ = true;
      ++scheduler().failures();
    }
  }

  const char* name_;
  int depth_;
  int count_;
  bool reported_;
  mutable Fiber* writer_;
  mutable Fiber* reader_;
  mutable Fiber* observers_[2];
  Channel* previous_;  // of all channels, in the order of their construction
  Channel* next_;
};

inline void Scheduler::add(Channel* channel) {
  channel->previous_ = channels_end_;
  (channels_end_ == nullptr ? channels_ : channels_end_->next_) = channel;
  channels_end_ = channel;
}

inline void Scheduler::remove(Channel* channel) {
  (channel->previous_ == nullptr ? channels_ : channel->previous_->next_) = channel->next_;
  (channel->next_ == nullptr ? channels_end_ : channel->next_->previous_) = channel->previous_;
}

inline int Scheduler::report_leftovers() {
  for (Channel* channel = channels_; channel != nullptr; channel = channel->next_) {
    channel->report_leftovers("after the run");
  }
  return failures_;
}

inline void Scheduler::retire(Fiber* fiber) {
  remove(fiber);
  for (Channel* channel = channels_; channel != nullptr; channel = channel->next_) {
    channel->forget(fiber);
  }
  fiber->state = Fiber::RETIRED;
  fiber->next = retired_;
  retired_ = fiber;
  if (fiber != current_) {  // a task that calls exit destroys itself
    fiber->context.release();
  }
}

inline void Scheduler::run_body() {
  Context::arrive();
  Fiber* const self = scheduler().current();
  for (;;) {
    self->moved = false;
    self->changed = false;
    (*self->body)();
    if (!self->moved && !self->changed) {
      scheduler().wait(Fiber::PARKED);
    }
  }
}

// Those that a fiber waits for come last, where a reader looks first.
inline void Scheduler::report_deadlock(const char* what) {
  std::fflush(stdout);
  std::fprintf(stderr, "hwgen machine: deadlock: %s, the hardware would hang\n", what);
  for (int waited_for = 0; waited_for < 2; ++waited_for) {
    for (const Channel* c = channels_; c != nullptr; c = c->next_) {
      const bool writes = c->blocks_writer();
      const bool reads = c->blocks_reader();
      if ((writes || reads) == (waited_for == 1)) {
        std::fprintf(stderr, "  stream %s: %d of %d entries", c->name_, c->count_, c->depth_);
        if (writes || reads) {
          const int number = (writes ? c->writer_ : c->reader_)->number;
          std::fprintf(stderr, number == 0 ? ", the main program" : ", task %d", number);
          std::fputs(writes ? " waits: write to the full stream" : " waits: read of the empty stream", stderr);
        }
        std::fputc('\n', stderr);
      }
    }
  }
  stopped_ = true;
  std::exit(5);
}

}  // namespace simulation

// Streams that were found with entries left in them, when they died or by simulation_leftovers.
inline int& stream_failures() { return simulation::scheduler().failures(); }

// For the test bench, when the top function has returned: lets the tasks run until none can, reports every stream that
// still holds entries and returns stream_failures(). Does not return if the tasks keep each other busy for ever.
inline int simulation_leftovers() {
  simulation::scheduler().settle();
  return simulation::scheduler().report_leftovers();
}

// With a seed other than 0 the next fiber is chosen at random, and fibers are interrupted at random between stream
// operations: what a network computes must not depend on it.
// For a task whose state moved on without a stream operation: it is called again instead of parked.
inline void simulation_progress() { simulation::scheduler().progress(); }

inline void simulation_seed(unsigned seed) { simulation::scheduler().seed(seed); }

// Changes from one fiber to another since the program started.
inline unsigned long simulation_switches() { return simulation::scheduler().switches(); }

}  // namespace hls

#endif
