// SPDX-License-Identifier: Apache-2.0
// Fibers for the simulation without Vitis: each has a stack of its own, all run in one thread, and one runs until it
// hands over to another. Needs mmap and the ucontext functions of POSIX.
#ifndef HWGEN_SIM_HLS_FIBER_H
#define HWGEN_SIM_HLS_FIBER_H

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>

#if defined(__SANITIZE_ADDRESS__)
#define HWGEN_SIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HWGEN_SIM_ASAN 1
#endif
#endif
#ifdef HWGEN_SIM_ASAN
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#endif

// swapcontext asks the kernel for the signal mask at every switch, which takes longer than all the rest of it.
// The sanitizer knows swapcontext; AVX-512 has more registers than are listed below.
#if defined(__x86_64__) && !defined(__ILP32__) && !defined(__AVX512F__) && !defined(HWGEN_SIM_ASAN)
#define HWGEN_SIM_SWITCH_BY_HAND 1
#else
#include <ucontext.h>
#endif

namespace hls {
namespace simulation {

// Address space of a stack: as much as a main program has. Only pages that are touched take memory.
constexpr size_t STACK_BYTES = size_t(8) << 20;

// A stack, and where the code on it goes on. Without start() it stands for the stack of the main program.
class Context {
 public:
  constexpr Context() : mapping_(nullptr), bottom_(nullptr), size_(0), registers_() {}

  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // A new stack, on which the first switch_to calls entry. It must call arrive() first and never return.
  void start(void (*entry)()) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK;
    mapping_ = mmap(nullptr, page + STACK_BYTES, PROT_READ | PROT_WRITE, flags, -1, 0);
    // The lowest page is the guard: a stack that grows into it ends the program.
    if (mapping_ == MAP_FAILED || mprotect(mapping_, page, PROT_NONE) != 0) {
      std::perror("hwgen machine: no stack for a task");
      std::exit(2);
    }
    bottom_ = static_cast<char*>(mapping_) + page;
    size_ = STACK_BYTES;
#ifdef HWGEN_SIM_SWITCH_BY_HAND
    // For swap_stacks the address to go on at; then, aligned as after a call, the return address of entry: none.
    void** const top = reinterpret_cast<void**>(static_cast<char*>(bottom_) + size_) - 2;
    *top = reinterpret_cast<void*>(entry);
    registers_ = top;
#else
    getcontext(&registers_);
    registers_.uc_stack.ss_sp = bottom_;
    registers_.uc_stack.ss_size = size_;
    registers_.uc_link = nullptr;
    makecontext(&registers_, entry, 0);
#endif
#ifdef HWGEN_SIM_ASAN
    __lsan_register_root_region(bottom_, size_);  // what only the stack points to is not leaked
#endif
  }

  // Gives the stack back. Objects on it are not destroyed; with the sanitizer it stays, for they may own memory.
  void release() {
#ifndef HWGEN_SIM_ASAN
    munmap(mapping_, static_cast<size_t>(static_cast<char*>(bottom_) - static_cast<char*>(mapping_)) + size_);
#endif
  }

  // Leaves this context, which is the running one, for another; returns when something switches back.
  void switch_to(Context& other) {
#if defined(HWGEN_SIM_SWITCH_BY_HAND)
    swap_stacks(&registers_, &other.registers_);
#elif defined(HWGEN_SIM_ASAN)
    void* fake_stack = nullptr;
    previous() = this;
    __sanitizer_start_switch_fiber(&fake_stack, other.bottom_, other.size_);
    swapcontext(&registers_, &other.registers_);
    finish_switch(fake_stack);
#else
    swapcontext(&registers_, &other.registers_);
#endif
  }

  // The first thing on a new stack.
  static void arrive() {
#ifdef HWGEN_SIM_ASAN
    finish_switch(nullptr);
#endif
  }

 private:
#ifdef HWGEN_SIM_SWITCH_BY_HAND
  typedef void* Registers;  // the stack pointer: the other registers lie on the stack

  // Saves where to go on, and the two registers that a compiler does not let us list, below the red zone of the caller.
  __attribute__((noinline)) static void swap_stacks(void** left, void** next) {
    __asm__ volatile(
        "leaq -128(%%rsp), %%rsp\n\t"
        "pushq %%rbp\n\t"
        "pushq %%rbx\n\t"
        "leaq 1f(%%rip), %%rax\n\t"
        "pushq %%rax\n\t"
        "movq %%rsp, (%%rdi)\n\t"
        "movq (%%rsi), %%rsp\n\t"
        "popq %%rax\n\t"
        "jmpq *%%rax\n"
        "1:\n\t"
        "popq %%rbx\n\t"
        "popq %%rbp\n\t"
        "leaq 128(%%rsp), %%rsp"
        : "+D"(left), "+S"(next)
        :
        : "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0", "xmm1", "xmm2", "xmm3",
          "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "cc",
          "memory");
  }
#else
  typedef ucontext_t Registers;
#endif

#ifdef HWGEN_SIM_ASAN
  static Context*& previous() {
    static Context* context = nullptr;
    return context;
  }

  // Also learns where the stack of the main program lies, when it has been left for the first time.
  static void finish_switch(void* fake_stack) {
    const void* bottom = nullptr;
    size_t size = 0;
    __sanitizer_finish_switch_fiber(fake_stack, &bottom, &size);
    Context& left = *previous();
    if (left.bottom_ == nullptr) {
      left.bottom_ = const_cast<void*>(bottom);
      left.size_ = size;
      __lsan_register_root_region(left.bottom_, left.size_);
    }
  }
#endif

  void* mapping_;
  void* bottom_;  // lowest usable address
  size_t size_;
  Registers registers_;
};

}  // namespace simulation
}  // namespace hls

#endif
