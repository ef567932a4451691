# SPDX-License-Identifier: Apache-2.0
"""The simulation of tasks and streams without Vitis: a C++ program with small networks, one of them in each run."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from hwgen.backends.hls.csim import OPTIMIZED, SANITIZED, STANDARD, WARNINGS, find_compiler
from hwgen.resources import folder

NETWORKS = r"""
#include <hls_stream.h>
#include <hls_streamofblocks.h>
#include <hls_task.h>

#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

unsigned long switches_seen_elsewhere();              // other.cpp
void add_one(hls::stream<int>&, hls::stream<int>&);   // other.cpp

namespace {

int argument = 0;
std::string history;  // what happened, in its order

#define CHECK(condition)                                             \
  do {                                                               \
    if (!(condition)) {                                              \
      std::printf("line %d: not true: %s\n", __LINE__, #condition);  \
      std::exit(9);                                                  \
    }                                                                \
  } while (false)

// --- tasks -----------------------------------------------------------------------------------------------------

// main -> add -> main, with the running total round a loop of two tasks
void add_total(hls::stream<int>& in, hls::stream<int>& back, hls::stream<int>& out) {
  static bool first = true;
  const int total = first ? 0 : back.read();
  first = false;
  history += 'a';
  out.write(in.read() + total);
}
void split_total(hls::stream<int>& in, hls::stream<int>& back, hls::stream<int>& out) {
  const int total = in.read();
  history += 's';
  back.write(total);
  out.write(total);
}

int running_total(int count) {
  hls_thread_local hls::stream<int> in("in");
  hls_thread_local hls::stream<int, 1> unused("unused");
  hls_thread_local hls::stream<int> sums("sums");
  hls_thread_local hls::stream<int, 2> back("back");
  hls_thread_local hls::stream<int> out("out");
  hls_thread_local hls::task add(add_total, in, back, sums);
  hls_thread_local hls::task split(split_total, sums, back, out);
  int total = 0;
  for (int i = 1; i <= count; ++i) {
    in.write(i);
    history += 'w';
    total = out.read();
    history += 'r';
  }
  return total;
}

// Scalars and pointers by value, arrays and streams by reference.
int squares[4];
void square(const int* values, int factor, int (&results)[4], hls::stream<int>& index, hls::stream<int>& done) {
  const int i = index.read();
  results[i] = values[i] * values[i] * factor;
  done.write(i);
}

typedef int Block[4][3];

int in_flight = 0;
int most_in_flight = 0;

void fill(hls::stream<int>& in, hls::stream_of_blocks<Block>& blocks) {
  hls::write_lock<Block> block(blocks);
  most_in_flight = ++in_flight > most_in_flight ? in_flight : most_in_flight;
  const int value = in.read();
  for (int i = 0; i < 4; ++i) {
    for (long j = 0; j < 3; ++j) {
      block[i][j] = value + i;
    }
  }
}
int corners(const Block& block) { return block[0][0] + block[3][2]; }
void use(hls::stream_of_blocks<Block>& blocks, hls::stream<int>& out) {
  int sum = 0;
  {
    hls::read_lock<Block> block(blocks);
    sum = corners(block);
    out.write(sum);  // keeps the block while nobody takes the sum
    CHECK(sum == block[0][0] + block[3][2]);
  }
  --in_flight;
}

// Forwards from two streams whatever is there; never waits.
int merge_calls = 0;
void merge(hls::stream<int>& a, hls::stream<int>& b, hls::stream<int>& out) {
  ++merge_calls;
  if (out.full()) {
    return;
  }
  if (!a.empty()) {
    out.write(a.read());
  } else if (!b.empty()) {
    out.write(b.read());
  }
}

void source(int first, int count, hls::stream<int>& start, hls::stream<int>& out) {
  start.read();
  for (int i = 0; i < count; ++i) {
    out.write(first + i);
  }
}

// As merge, with the operations that do not wait; keeps the value that it could not write.
void relay(hls::stream<int>& in, hls::stream<int>& out) {
  static bool held = false;
  static int value = 0;
  ++merge_calls;
  if (!held) {
    held = in.read_nb(value);
  }
  if (held && out.write_nb(value)) {
    held = false;
  }
}

// Takes pairs only; looks at the number of entries.
void pairs(hls::stream<int, 4>& in, hls::stream<int>& out) {
  ++merge_calls;
  if (in.size() >= 2) {
    const int first = in.read();
    out.write(first * 100 + in.read());
  }
}

void fifo_writer(hls::stream<int, 3>& out, hls::stream<int>& start) {
  start.read();
  for (int i = 0; i < 10; ++i) {
    out.write(i);
    most_in_flight = ++in_flight > most_in_flight ? in_flight : most_in_flight;
  }
}

void copy(hls::stream<int>& in, hls::stream<int>& out) { out.write(in.read()); }
void join(hls::stream<int>& a, hls::stream<int>& b, hls::stream<int>& out) { out.write(a.read() + b.read()); }
void leave_after_one(hls::stream<int>& in) {
  in.read();
  std::exit(4);
}
void keep(hls::stream<int>& in, hls::stream<int>& out) {
  std::vector<int> memory(1000, 1);  // lives while the task waits
  volatile char frame[1 << 20];      // a deep stack
  frame[0] = 1;
  const int value = in.read();
  out.write(value + memory[999] + frame[0]);
}
void overflow(hls::stream<int>& in, const int* two_values, hls::stream<int>& out) { out.write(two_values[in.read()]); }
void spin(hls::stream<int>& in, hls::stream<int>& out) {
  while (in.empty()) {
  }
  out.write(in.read());
}

// --- networks --------------------------------------------------------------------------------------------------

int feedback() {
  CHECK(running_total(100) == 5050);
  return hls::simulation_leftovers();
}

// The running total goes on.
int two_starts() {
  CHECK(running_total(3) == 6);
  CHECK(running_total(2) == 9);
  std::printf("%s\n", history.c_str());
  return hls::simulation_leftovers();
}

int arguments() {
  hls_thread_local hls::stream<int> index("index"), done("done");
  static const int values[4] = {1, 2, 3, 4};
  int factor = 10;
  hls_thread_local hls::task task;
  task(square, values, factor, squares, index, done);
  task(square, values, 99, squares, index, done);  // has started already
  factor = 99;
  for (int i = 0; i < 4; ++i) {
    index.write(i);
    CHECK(done.read() == i);
    CHECK(squares[i] == 10 * values[i] * values[i]);
  }
  return hls::simulation_leftovers();
}

int blocks() {
  hls_thread_local hls::stream<int> in("in"), out("out");
  hls_thread_local hls::stream_of_blocks<Block> ring("ring");
  hls_thread_local hls::task filler(fill, in, ring), user(use, ring, out);
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 4; ++i) {
      in.write(10 * i);
    }
    for (int i = 0; i < 4; ++i) {
      CHECK(out.read() == 20 * i + 3);
    }
  }
  CHECK(hls::simulation_leftovers() == 0);
  std::printf("most in flight %d\n", most_in_flight);
  CHECK(ring.capacity() == 2);
  return 0;
}

int polling() {
  hls_thread_local hls::stream<int> a("a"), b("b"), out("out"), start_a("start_a"), start_b("start_b");
  hls_thread_local hls::task merger(merge, a, b, out);
  hls_thread_local hls::task source_a(source, 0, 20, start_a, a), source_b(source, 1000, 20, start_b, b);
  start_a.write(1);
  start_b.write(1);
  int next_a = 0;
  int next_b = 1000;
  for (int i = 0; i < 40; ++i) {
    const int value = out.read();
    CHECK(value == (value < 1000 ? next_a : next_b));
    ++(value < 1000 ? next_a : next_b);
    history += value < 1000 ? 'a' : 'b';
  }
  CHECK(hls::simulation_leftovers() == 0);
  CHECK(merge_calls <= 200);  // 40 that move something; else only after a change
  std::printf("%s\n", history.c_str());
  return 0;
}

// One value at a time: if it comes while the merger is about to give up, nothing else will wake it.
int one_by_one() {
  hls_thread_local hls::stream<int> a("a"), b("b"), out("out");
  hls_thread_local hls::task merger(merge, a, b, out);
  for (int i = 0; i < 200; ++i) {
    (i % 3 == 0 ? b : a).write(i);
    CHECK(out.read() == i);
  }
  return hls::simulation_leftovers();
}

int non_blocking() {
  hls_thread_local hls::stream<int> a("a"), b("b"), c("c");
  hls_thread_local hls::task first(copy, a, b), second(relay, b, c);
  for (int i = 0; i < 5; ++i) {
    a.write(i);
  }
  for (int i = 0; i < 20; ++i) {
    CHECK(c.read() == i);
    a.write(i + 5);
  }
  for (int i = 20; i < 25; ++i) {
    CHECK(c.read() == i);
  }
  CHECK(merge_calls <= 150);
  return hls::simulation_leftovers();
}

int sizes() {
  hls_thread_local hls::stream<int, 4> in("in");
  hls_thread_local hls::stream<int> out("out"), tick("tick"), tock("tock");
  hls_thread_local hls::task task(pairs, in, out), other(copy, tick, tock);
  for (int i = 0; i < 20; i += 2) {
    in.write(i);
    tick.write(0);
    tock.read();  // lets the task see the one entry
    in.write(i + 1);
    CHECK(out.read() == i * 101 + 1);
  }
  CHECK(merge_calls <= 80);
  in.write(1);  // half a pair
  return hls::simulation_leftovers();
}

int bounded() {
  hls_thread_local hls::stream<int, 3> fifo("fifo");
  hls_thread_local hls::stream<int> start("start");
  hls_thread_local hls::task writer(fifo_writer, fifo, start);
  start.write(1);
  for (int i = 0; i < 10; ++i) {
    CHECK(fifo.read() == i);
    --in_flight;
    CHECK(fifo.size() <= 3);
  }
  std::printf("most in flight %d\n", most_in_flight);
  return hls::simulation_leftovers();
}

// No choice between two tasks: only an interruption changes the order.
void noted_copy(hls::stream<int>& in, hls::stream<int>& out) {
  out.write(in.read());
  history += 'c';
}
int interruptions() {
  hls_thread_local hls::stream<int> in("in"), out("out");
  hls_thread_local hls::task task(noted_copy, in, out);
  for (int i = 0; i < 20; i += 2) {
    in.write(i);
    history += 'w';
    in.write(i + 1);
    history += 'w';
    CHECK(out.read() == i);
    CHECK(out.read() == i + 1);
  }
  std::printf("%s\n", history.c_str());
  return hls::simulation_leftovers();
}

int arrays() {
  hls_thread_local hls::stream<int> links[9];
  hls_thread_local hls::task tasks[8];
  for (int t = 0; t < 8; ++t) {
    tasks[t](t % 2 == 0 ? copy : add_one, links[t], links[t + 1]);
  }
  for (int i = 0; i < 50; ++i) {
    links[0].write(i);
    CHECK(links[8].read() == i + 4);
  }
  CHECK(switches_seen_elsewhere() == hls::simulation_switches());
  CHECK(hls::simulation_switches() >= 50);
  return hls::simulation_leftovers();
}

// Streams and tasks that die with their scope. The address space has room for less than a hundred stacks.
int scopes() {
  const rlimit limit = {600u << 20, RLIM_INFINITY};
  CHECK(argument <= 100 || setrlimit(RLIMIT_AS, &limit) == 0);
  for (int i = 0; i < argument; ++i) {
    hls::stream<int> in("in"), out("out");
    hls::task first(keep, in, out);
    in.write(i);
    CHECK(out.read() == i + 2);
  }
  return hls::simulation_leftovers();
}

int spinning() {
  hls_thread_local hls::stream<int> in("in"), out("out");
  hls_thread_local hls::task task(spin, in, out);
  for (int i = 0; i < 5; ++i) {
    in.write(i);
    while (out.empty()) {
    }
    CHECK(out.read() == i);
  }
  return hls::simulation_leftovers();  // the task still spins
}

// --- networks that fail ----------------------------------------------------------------------------------------

int deadlock() {
  hls_thread_local hls::stream<int> in("in"), loop("loop");
  hls_thread_local hls::stream<int, 3> out("out");
  hls_thread_local hls::stream<int> plain("plain");
  hls_thread_local hls::task first(join, in, loop, plain);
  in.write(7);
  plain.read();
  (void)out.size();
  return 0;
}

int deadlock_full() {
  hls_thread_local hls::stream<int> in("in"), between("between"), out("out");
  hls_thread_local hls::task first(copy, in, between), second(copy, between, out);
  for (int i = 0; i < 100; ++i) {
    in.write(i);
  }
  return 0;
}

int spin_for_ever() {
  hls_thread_local hls::stream<int> in("in"), out("out");
  hls_thread_local hls::task task(copy, in, out);
  while (out.empty()) {
  }
  return 0;
}

int leftovers() {
  hls_thread_local hls::stream<int> in("in"), out("out");
  hls_thread_local hls::stream_of_blocks<Block> ring("ring");
  hls_thread_local hls::task filler(fill, in, ring);
  in.write(1);
  in.write(2);
  out.write(3);
  const int count = hls::simulation_leftovers();
  CHECK(count == hls::stream_failures());
  return count;
}

int leftover_in_scope() {
  {
    hls::stream<int> between("between");
    between.write(1);
    between.write(2);
  }
  return hls::stream_failures();
}

int single(int writes, int reads) {
  hls::stream<int> between("between");
  int value = -1;
  CHECK(!between.read_nb(value) && value == -1);
  for (int i = 0; i < writes; ++i) {
    between.write(i);
  }
  for (int i = 0; i < reads; ++i) {
    between.read(value);
    CHECK(value == i);
  }
  return 0;
}
int single_good() { return single(2, 2); }
int single_full() { return single(3, 0); }
int single_empty() { return single(1, 2); }

int second_writer() {
  hls_thread_local hls::stream<int> in("in"), shared("shared");
  hls_thread_local hls::task first(copy, in, shared);
  shared.write(1);
  in.write(2);
  shared.read();
  shared.read();
  return 0;
}

int second_reader() {
  hls_thread_local hls::stream<int> shared("shared"), a("a"), b("b");
  hls_thread_local hls::task first(copy, shared, a), second(copy, shared, b);
  shared.write(1);
  a.read();
  return 0;
}

int second_lock() {
  hls::stream_of_blocks<Block> ring("ring");
  hls::write_lock<Block> first(ring);
  hls::write_lock<Block> second(ring);
  return 0;
}

int exit_in_task() {
  std::vector<int> owned(1000, 1);  // only the stack of the main program knows it
  hls_thread_local hls::stream<int> in("in"), out("out");
  hls_thread_local hls::task waits(keep, in, out);
  hls_thread_local hls::stream<int> last("last");
  hls_thread_local hls::task leaves(leave_after_one, last);
  in.write(1);
  CHECK(out.read() == 3);
  last.write(1);
  out.read();
  return owned[0];
}

int memory_error() {
  hls_thread_local hls::stream<int> in("in"), out("out");
  const std::vector<int> values(2, 5);
  hls::task task(overflow, in, values.data(), out);
  in.write(argument);
  return out.read();
}

struct Network {
  const char* name;
  int (*run)();
};
#define NETWORK(name) {#name, name}
const Network networks[] = {
    NETWORK(feedback),      NETWORK(two_starts),        NETWORK(arguments),    NETWORK(blocks),
    NETWORK(polling),       NETWORK(non_blocking),      NETWORK(sizes),        NETWORK(bounded),
    NETWORK(arrays),        NETWORK(scopes),            NETWORK(spinning),     NETWORK(deadlock),
    NETWORK(deadlock_full), NETWORK(spin_for_ever),     NETWORK(leftovers),    NETWORK(leftover_in_scope),
    NETWORK(single_good),   NETWORK(single_full),       NETWORK(single_empty), NETWORK(second_writer),
    NETWORK(second_reader), NETWORK(second_lock),       NETWORK(exit_in_task), NETWORK(memory_error),
    NETWORK(one_by_one),    NETWORK(interruptions),
};

}  // namespace

int main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "";
  hls::simulation_seed(argc > 2 ? static_cast<unsigned>(std::atoi(argv[2])) : 0);
  argument = argc > 3 ? std::atoi(argv[3]) : 0;
  for (const Network& network : networks) {
    if (name == network.name) {
      return network.run();
    }
  }
  return 2;
}
"""

OTHER = r"""
#include <hls_stream.h>
#include <hls_task.h>
unsigned long switches_seen_elsewhere();
void add_one(hls::stream<int>&, hls::stream<int>&);
unsigned long switches_seen_elsewhere() { return hls::simulation_switches(); }
void add_one(hls::stream<int>& in, hls::stream<int>& out) { out.write(in.read() + 1); }
"""


class Networks:
    """The compiled program; ``run`` gives exit code, stdout and stderr of one network."""

    def __init__(self, binary: Path, sanitized: bool) -> None:
        self.binary, self.sanitized = binary, sanitized

    def run(self, name: str, seed: int = 0, argument: int = 0) -> tuple[int, str, str]:
        command = [str(self.binary), name, str(seed), str(argument)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module", params=["optimized", "sanitized"])
def networks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Networks:
    work = tmp_path_factory.mktemp("networks")
    files = [work / "networks.cpp", work / "other.cpp"]
    files[0].write_text(NETWORKS)
    files[1].write_text(OTHER)
    sanitized = request.param == "sanitized"
    flags = [STANDARD, *(SANITIZED if sanitized else OPTIMIZED), *WARNINGS]
    include = folder("templates") / "hls" / "sim"
    binary = work / "networks"
    subprocess.run([find_compiler(), *flags, f"-I{include}", *map(str, files), "-o", str(binary)], check=True)
    return Networks(binary, sanitized)


def lines(stderr: str) -> list[str]:
    """What the machine says, without the sanitizer's remark about swapcontext."""
    return [line for line in stderr.splitlines() if not re.match(r"==\d+==WARNING: ASan doesn't fully support", line)]


GOOD = (
    "arguments",
    "blocks",
    "polling",
    "one_by_one",
    "non_blocking",
    "bounded",
    "interruptions",
    "arrays",
    "spinning",
    "single_good",
)


@pytest.mark.parametrize("name", GOOD)
def test_network(networks: Networks, name: str) -> None:
    code, out, err = networks.run(name)
    assert (code, lines(err)) == (0, []), out


@pytest.mark.parametrize("name", GOOD)
def test_results_do_not_depend_on_the_order(networks: Networks, name: str) -> None:
    """A lost wake-up would be a deadlock for some of these seeds."""
    for seed in range(1, 10 if networks.sanitized or name == "spinning" else 60):
        code, out, err = networks.run(name, seed)
        assert (code, lines(err)) == (0, []), (seed, out)


def test_feedback(networks: Networks) -> None:
    """A running total in a loop of two tasks."""
    for seed in (0, 1, 2):
        code, _, err = networks.run("feedback", seed)
        assert (code, lines(err)) == (0, [])


def test_static_network_goes_on_at_the_next_start(networks: Networks) -> None:
    code, out, err = networks.run("two_starts")
    assert (code, lines(err)) == (0, [])
    assert out.strip().count("s") == out.strip().count("r") == 5


def test_a_seed_changes_the_interleaving_and_not_the_totals(networks: Networks) -> None:
    runs = {seed: networks.run("two_starts", seed) for seed in (0, *range(1, 9))}
    assert {code for code, _, _ in runs.values()} == {0}
    assert len({out for _, out, _ in runs.values()}) > 2
    assert networks.run("two_starts", 3)[:2] == runs[3][:2]


def test_a_seed_interrupts(networks: Networks) -> None:
    """A network of one task and the main program, in which nothing else could change the order."""
    orders = {networks.run("interruptions", seed)[1] for seed in range(6)}
    assert len(orders) > 2
    assert {"".join(sorted(order.strip())) for order in orders} == {"c" * 20 + "w" * 20}


def test_a_seed_shows_what_depends_on_timing(networks: Networks) -> None:
    """The order in which a polling task merges two streams does."""
    orders = {networks.run("polling", seed)[1] for seed in range(6)}
    assert len(orders) > 2
    assert {"".join(sorted(order.strip())) for order in orders} == {"a" * 20 + "b" * 20}
    assert networks.run("polling")[1] == networks.run("polling")[1]


def test_depth_is_the_limit(networks: Networks) -> None:
    """As many entries are on their way as the stream holds, and the one that its reader counts late."""
    most = {networks.run("bounded", seed)[1] for seed in range(8)}
    assert most <= {"most in flight 3\n", "most in flight 4\n"}


def test_blocks_are_filled_and_used_at_the_same_time(networks: Networks) -> None:
    assert networks.run("blocks")[1] == "most in flight 2\n"


def test_streams_of_a_scope(networks: Networks) -> None:
    """More stacks in turn than the address space has room for at once, and no leak."""
    count = 20 if networks.sanitized else 1000
    assert networks.run("scopes", argument=count)[0] == 0


def test_deadlock_report(networks: Networks) -> None:
    code, _, err = networks.run("deadlock")
    assert code == 5
    assert lines(err) == [
        "hwgen machine: deadlock: nothing can move, the hardware would hang",
        "  stream in: 0 of 2 entries",
        "  stream out: 0 of 3 entries",
        "  stream loop: 0 of 2 entries, task 1 waits: read of the empty stream",
        "  stream plain: 0 of 2 entries, the main program waits: read of the empty stream",
    ]


def test_deadlock_of_full_streams(networks: Networks) -> None:
    for seed in range(5):
        code, _, err = networks.run("deadlock_full", seed)
        assert code == 5
        assert lines(err) == [
            "hwgen machine: deadlock: nothing can move, the hardware would hang",
            "  stream in: 2 of 2 entries, the main program waits: write to the full stream",
            "  stream between: 2 of 2 entries, task 1 waits: write to the full stream",
            "  stream out: 2 of 2 entries, task 2 waits: write to the full stream",
        ]


def test_a_loop_that_polls_for_ever_is_found(networks: Networks) -> None:
    code, _, err = networks.run("spin_for_ever")
    assert code == 5
    assert "a loop polls for ever, the hardware would hang" in err


def test_leftovers_are_reported(networks: Networks) -> None:
    code, _, err = networks.run("leftovers")
    assert (code, lines(err)) == (
        2,
        [
            "hwgen machine: stream out still holds 1 of 2 entries after the run",
            "hwgen machine: stream ring still holds 2 of 2 entries after the run",
        ],
    )
    code, _, err = networks.run("leftover_in_scope")
    assert (code, lines(err)) == (1, ["hwgen machine: stream between still holds 2 of 2 entries at its end"])
    code, _, err = networks.run("sizes")
    assert (code, lines(err)) == (1, ["hwgen machine: stream in still holds 1 of 4 entries after the run"])


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("single_full", 5, "stream between: 2 of 2 entries, the main program waits: write to the full stream"),
        ("single_empty", 5, "stream between: 0 of 2 entries, the main program waits: read of the empty stream"),
        ("second_writer", 7, "stream shared has a second writer"),
        ("second_reader", 7, "stream shared has a second reader"),
        ("second_lock", 7, "stream ring has a second write_lock while one is held"),
        ("exit_in_task", 4, ""),
    ],
)
def test_stops(networks: Networks, name: str, code: int, message: str) -> None:
    found, _, err = networks.run(name)
    assert found == code
    assert message in err
    assert "Sanitizer" not in err


def test_the_sanitizer_sees_the_tasks(networks: Networks) -> None:
    """A read behind an array on the heap, on the stack of a task."""
    if not networks.sanitized:
        pytest.skip("needs the sanitizer")
    assert networks.run("memory_error", argument=1)[0] == 5
    code, _, err = networks.run("memory_error", argument=2)
    assert code not in (0, 5)
    assert "heap-buffer-overflow" in err
