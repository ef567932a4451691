// SPDX-License-Identifier: Apache-2.0
// Serves the machine to another process (hwgen/backends/rtl/live.py): a line on standard input is a request, a line on
// standard output its answer. Numbers are decimal.
//
//   write ADDRESS VALUE     register, over AXI4-Lite           ok
//   read ADDRESS            register, over AXI4-Lite           the value
//   map BASE SIZE FILE      memory shared with that process    ok
//   unmap BASE              accesses there get DECERR          ok
//   reset                   ap_rst_n, as after configuration   ok
//   clock 0|1               0: stops clock and memory          ok
//
// Time passes while a register is read or written, and between requests from a start until the machine is seen idle. A
// stopped clock still makes the few cycles of a register access, in which the memory stands still.
// Standard output also gets a line "interrupt LEVEL" when that pin changes. Ends with the end of standard input.
#ifndef HWGEN_SERVER_HPP
#define HWGEN_SERVER_HPP

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <sstream>
#include <string>

class Requests {
 public:
  // Whether there is a request, or the end of the input.
  bool waiting() {
    if (buffer_.find('\n') != std::string::npos) return true;
    pollfd input = {0, POLLIN, 0};
    return ::poll(&input, 1, 0) > 0;
  }

  // The next request; false at the end of input.
  bool next(std::string* line) {
    size_t end = 0;
    while ((end = buffer_.find('\n')) == std::string::npos) {
      char block[4096];
      const ssize_t count = ::read(0, block, sizeof(block));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return false;
      buffer_.append(block, size_t(count));
    }
    *line = buffer_.substr(0, end);
    buffer_.erase(0, end + 1);
    return true;
  }

 private:
  std::string buffer_;
};

template <typename Machine, typename Fail>
int serve(Machine& machine, Fail fail) {
  constexpr uint32_t kControl = 0x00, kStart = 1, kIdle = 4;
  constexpr int kCyclesBetweenLooks = 200;
  Requests requests;
  std::string line;
  bool clocked = true, runs = false, interrupt = false;
  machine.reset();
  const auto notice = [&]() {
    if (machine.interrupt() == interrupt) return;
    interrupt = !interrupt;
    std::printf("interrupt %d\n", int(interrupt));
    std::fflush(stdout);
  };
  while (true) {
    if (runs && clocked && !requests.waiting()) {
      for (int i = 0; i < kCyclesBetweenLooks; ++i) machine.cycle();
      notice();
      continue;
    }
    if (!requests.next(&line)) return 0;
    std::istringstream words(line);
    std::string what, file;
    uint64_t first = 0, second = 0;
    words >> what;
    if (what == "write" && words >> first >> second) {
      machine.write_register(uint32_t(first), uint32_t(second));
      if (first == kControl && (second & kStart) != 0) runs = true;
      std::printf("ok\n");
    } else if (what == "read" && words >> first) {
      const uint32_t value = machine.read_register(uint32_t(first));
      if (first == kControl && (value & kIdle) != 0) runs = false;
      std::printf("%u\n", value);
    } else if (what == "map" && words >> first >> second && std::getline(words >> std::ws, file)) {
      const int handle = ::open(file.c_str(), O_RDWR);
      void* bytes = handle < 0 ? MAP_FAILED : ::mmap(nullptr, second, PROT_READ | PROT_WRITE, MAP_SHARED, handle, 0);
      if (handle >= 0) ::close(handle);
      if (bytes == MAP_FAILED) fail("cannot map " + file);
      machine.memory.buffers.emplace_back();
      machine.memory.buffers.back().base = first;
      machine.memory.buffers.back().shared = static_cast<uint8_t*>(bytes);
      machine.memory.buffers.back().shared_size = second;
      std::printf("ok\n");
    } else if (what == "unmap" && words >> first) {
      auto& buffers = machine.memory.buffers;
      for (size_t i = 0; i < buffers.size(); ++i) {
        if (buffers[i].base != first) continue;
        ::munmap(buffers[i].shared, buffers[i].shared_size);
        buffers.erase(buffers.begin() + long(i));
        break;
      }
      std::printf("ok\n");
    } else if (what == "reset") {
      machine.reset();
      runs = false;
      std::printf("ok\n");
    } else if (what == "clock" && words >> first) {
      clocked = first != 0;
      machine.halted = !clocked;
      std::printf("ok\n");
    } else {
      fail("no request: " + line);
    }
    std::fflush(stdout);
    notice();
  }
}

#endif
