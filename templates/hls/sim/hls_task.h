// SPDX-License-Identifier: Apache-2.0
// hls::task for simulation without Vitis: a function that is called for ever, in a fiber of its own (hls_simulation.h),
// from the first time that the main program waits for a stream. Streams and arrays are kept by reference, and so is
// whatever else cannot be copied; pointers and scalars are kept by value.
#ifndef HWGEN_SIM_HLS_TASK_H
#define HWGEN_SIM_HLS_TASK_H

#include <cstddef>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "hls_simulation.h"

// Tasks and their streams live from one start of the accelerator to the next.
#define hls_thread_local static

namespace hls {

class task {
 public:
  task() : fiber_(nullptr) {}

  template <typename FUNCTION, typename... ARGUMENTS>
  explicit task(FUNCTION&& function, ARGUMENTS&&... arguments) : fiber_(nullptr) {
    (*this)(std::forward<FUNCTION>(function), std::forward<ARGUMENTS>(arguments)...);
  }

  task(const task&) = delete;
  task& operator=(const task&) = delete;

  ~task() {
    if (fiber_ != nullptr) {
      simulation::scheduler().retire(fiber_);
    }
  }

  // Starts the task. It then runs for ever: the same call at the next start of the accelerator changes nothing.
  template <typename FUNCTION, typename... ARGUMENTS>
  void operator()(FUNCTION&& function, ARGUMENTS&&... arguments) {
    if (fiber_ == nullptr) {
      typedef Body<typename std::decay<FUNCTION>::type, typename Kept<ARGUMENTS>::type...> TaskBody;
      fiber_ = simulation::scheduler().start(TaskBody(std::forward<FUNCTION>(function), arguments...));
    }
  }

 private:
  // How an argument is kept: by value if it can be copied.
  template <typename ARGUMENT>
  struct Kept {
    typedef typename std::remove_reference<ARGUMENT>::type Type;
    static constexpr bool COPIED = std::is_copy_constructible<Type>::value;
    static_assert(COPIED || std::is_lvalue_reference<ARGUMENT>::value, "a stream must outlive the task");
    typedef typename std::conditional<COPIED, typename std::decay<ARGUMENT>::type, Type&>::type type;
  };

  template <typename FUNCTION, typename... KEPT>
  class Body {
   public:
    template <typename... ARGUMENTS>
    explicit Body(FUNCTION function, ARGUMENTS&... arguments) : function_(function), arguments_(arguments...) {}

    void operator()() { call(std::index_sequence_for<KEPT...>()); }

   private:
    template <std::size_t... INDEX>
    void call(std::index_sequence<INDEX...>) {
      function_(std::get<INDEX>(arguments_)...);
    }

    FUNCTION function_;
    std::tuple<KEPT...> arguments_;
  };

  simulation::Fiber* fiber_;
};

}  // namespace hls

#endif
