# SPDX-License-Identifier: Apache-2.0
"""dispatcher.sv with engines, trace copier and memory in Python, on random Programs with a legal sequential order.

Every command is checked when it is offered: the next one of its queue, the right slot, offset and retain, its record
bit for bit, and nothing that it waits for still at work. The model follows docs/machine.md, not the module.
"""

from __future__ import annotations

import json
import os
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import cocotb
import numpy as np
import numpy.typing as npt
from cocotb.triggers import FallingEdge, ReadOnly
from stream import SEED, TRANSACTIONS, clock

from hwgen.plan.assemble import config_hash
from hwgen.plan.program import HEADER, INSTRUCTION, MAGIC, VERSION, Config, Flag, Opcode, Queue

CONFIG = Config(**json.loads(os.environ["HWGEN_CONFIG"]))
SLOTS = CONFIG.slots
SLOT_BITS = max((SLOTS - 1).bit_length(), 1)
QUEUES = len(Queue)
SINGLE = (Queue.WEIGHTS, Queue.HEAD)
"""Queues whose instructions may be for several slots."""
TRACED = tuple(q for q in Queue if q not in (*SINGLE, Queue.STORE))
"""Queues that write tensors."""
SETTLE = {q: 8 if q in TRACED else 2 for q in Queue}
"""Cycles from a done pulse to the count, docs/machine.md and the header of dispatcher_queue.sv."""
FLIGHTS = 16
WATCHDOG = 1 << 11
NEVER = 1 << 60
OPCODES = {
    Queue.WEIGHTS: [Opcode.LOAD_WEIGHTS],
    Queue.HEAD: [Opcode.LOAD_WEIGHTS],
    Queue.INPUT: [Opcode.LOAD_INPUT],
    Queue.ARRAY: [Opcode.CONV],
    Queue.DEPTHWISE: [Opcode.DEPTHWISE],
    Queue.ELTWISE: [Opcode.ELTWISE],
    Queue.ATTENTION: [Opcode.ATTENTION],
    Queue.MLP: [Opcode.POOL, Opcode.LINEAR, Opcode.LAYER_NORM],
    Queue.STORE: [Opcode.STORE],
}
SYNC = ("waits", "wait_mask", "next_queue", "spare")
"""Fields that an engine gets as 0."""
TRACE_FIELDS = (
    "y_pad",
    "y_base",
    "y_plane",
    "y_width",
    "y_ring",
    "y_groups",
    "y_group0",
    "y_row0",
    "y_rows",
    "y_cols",
    "y_slot",
    "y_height",
    "trace",
)

Records = npt.NDArray[Any]


def bits(record: Any) -> int:
    """A record as the module sees it."""
    return int.from_bytes(record.tobytes(), "little")


@dataclass
class Program:
    """program.bin of random instructions; ``queues[q]`` are the records of queue q."""

    header: Any
    queues: list[Records]

    def to_bytes(self) -> bytes:
        return bytes(self.header.tobytes()) + b"".join(bytes(q.tobytes()) for q in self.queues)

    def known(self, queue: int, index: int) -> bool:
        record = self.queues[queue][index]
        return int(record["opcode"]) in OPCODES[Queue(queue)] and possible(queue, int(record["slots"]))


def possible(queue: int, slots: int) -> bool:
    """Whether an instruction of ``queue`` may have this field ``slots``."""
    return 0 < slots < 1 << SLOTS and (Queue(queue) in SINGLE or slots.bit_count() == 1)


def random_program(
    rng: np.random.Generator, length: int, used: list[int] | None = None, unknown: float = 0.0, chain: bool = False
) -> Program:
    """``length`` instructions in a random sequential order; each waits for some before it, in its group or the last.

    All bytes that do not matter are random. ``chain``: each waits for the one before it, and for nothing else.
    """
    used = used or list(range(QUEUES))
    order = [int(q) for q in rng.choice(used, length)]
    counts = [order.count(q) for q in range(QUEUES)]
    index = [order[:position].count(q) for position, q in enumerate(order)]
    queues = [np.frombuffer(rng.bytes(128 * counts[q]), INSTRUCTION).copy() for q in range(QUEUES)]
    density = float(rng.choice([0.0, 1.0, 2.0, 4.0]))
    for position, queue in enumerate(order):
        record = queues[queue][index[position]]
        record["opcode"] = rng.choice(OPCODES[Queue(queue)])
        right, wrong = [[s for s in range(256) if possible(queue, s) == which] for which in (True, False)]
        record["slots"] = rng.choice(right)
        if rng.random() < unknown and rng.random() < 0.5:
            record["opcode"] = rng.choice([o for o in (0, *range(1, 14), 255) if o not in OPCODES[Queue(queue)]])
        elif rng.random() < unknown:
            near = [s for s in wrong if s <= 1 << SLOTS]
            record["slots"] = rng.choice(near if rng.random() < 0.7 else wrong)
        record["flags"] = int(Flag.RETAIN) * int(rng.random() < 0.5) | int(rng.integers(256)) & ~int(Flag.RETAIN) & 0xFF
        waits: dict[int, int] = {}
        if chain:
            if position:
                waits[order[position - 1]] = index[position - 1] + 1
            else:
                waits[order[-1]] = 0
        else:
            for _ in range(rng.poisson(density)):
                other = position - 1 - int(rng.geometric(0.3)) if rng.random() < 0.7 else int(rng.integers(length))
                other %= length
                count = index[other] + 1 - (0 if other < position else counts[order[other]])
                waits[order[other]] = max(waits.get(order[other], -NEVER), count)
        for e, count in waits.items():
            record["waits"][e] = count
        record["wait_mask"] = sum(1 << e for e in waits) | int(rng.integers(1 << 7)) << QUEUES
    header = np.zeros((), HEADER)
    header["magic"], header["version"], header["config_hash"] = MAGIC, VERSION, config_hash(CONFIG)
    header["instructions"] = length
    header["queue_counts"] = counts
    for name in ("weight_bytes", "input_words", "output_words", "trace_words"):
        header[name] = int(rng.integers(1 << 32)) >> int(rng.integers(32))
    return Program(header[()], queues)


@dataclass
class Entry:
    """One instruction in one group."""

    queue: int
    index: int
    slot: int
    frame: int
    record: Any
    needs: list[tuple[int, int]]
    """(queue, count since the start)"""
    executed: bool
    skipped_at_once: bool
    """None of its frames exists, or its record did not arrive: waits for nothing."""
    complete: int = NEVER
    """Cycle from which it counts."""


@dataclass
class Style:
    """How fast the surroundings are."""

    duration: tuple[int, int] = (1, 30)
    capacity: tuple[int, int] = (1, 4)
    ready: float = 0.7
    read_delay: tuple[int, int] = (1, 40)
    read_gap: float = 0.2
    read_ready: float = 0.7


STYLES = (
    Style(),
    Style((1, 3), (1, 8), 1.0, (1, 4), 0.0, 1.0),
    Style((1, 200), (1, 40), 0.9, (1, 10), 0.1, 0.9),
    Style((1, 10), (1, 2), 0.3, (20, 200), 0.6, 0.3),
)


@dataclass
class Flight:
    """A command in an engine."""

    entry: Entry
    end: int


@dataclass
class Bench:
    """The module's surroundings; ``step`` is one clock cycle."""

    dut: Any
    rng: np.random.Generator
    style: Style = field(default_factory=Style)
    cycle: int = 0
    running: bool = False
    pins: dict[str, int] = field(default_factory=dict)
    starting: bool = False
    restart: bool = False
    """Pulse start while it runs."""
    halted: int = 0
    aborted: int = 0
    dead_engines: bool = False
    dead_memory: bool = False
    axi_idle: bool = True

    async def reset(self) -> None:
        clock(self.dut)
        self.pins = {}
        zero = (
            "start frames trace_enable program_address read_ready data_valid data data_error command_ready "
            "command_done trace_ready trace_done error_memory error_bounds error_read error_write axi_idle"
        )
        for name in zero.split():
            self.set(name, 0)
        self.set("reset", 1)
        for _ in range(3):
            await FallingEdge(self.dut.clk)
        self.set("reset", 0)
        self.prepare(random_program(self.rng, 9), 1, False)

    def set(self, name: str, value: int) -> None:
        if self.pins.get(name) != value:
            self.pins[name] = value
            getattr(self.dut, name).value = value

    def get(self, name: str) -> int:
        return int(getattr(self.dut, name).value)

    def prepare(
        self,
        program: Program,
        frames: int,
        trace: bool,
        bad_beats: frozenset[int] = frozenset(),
        address: int | None = None,
    ) -> None:
        """What the next run executes. ``bad_beats``: beats of program.bin that come with an AXI error."""
        rng = self.rng
        self.program, self.frames, self.trace, self.bad_beats = program, frames, trace, bad_beats
        self.memory = program.to_bytes()
        self.base = 16 * int(rng.integers(1 << 40))
        groups = -(-frames // SLOTS)
        self.lost = {b // 8 - 1 for b in bad_beats}
        first = np.concatenate([[0], np.cumsum([len(q) for q in program.queues])])
        self.entries: list[list[Entry]] = [[] for _ in range(QUEUES)]
        for queue, records in enumerate(program.queues):
            for group in range(groups):
                for index, record in enumerate(records):
                    needs = [
                        (e, group * len(program.queues[e]) + int(record["waits"][e]))
                        for e in range(QUEUES)
                        if int(record["wait_mask"]) >> e & 1
                    ]
                    lost = int(first[queue]) + index in self.lost
                    slots = int(record["slots"])
                    exists = slots & ((1 << max(frames - group * SLOTS, 0)) - 1) != 0
                    at_once = lost or (possible(queue, slots) and not exists)
                    executed = not at_once and program.known(queue, index)
                    slot = 0 if Queue(queue) in SINGLE else max(slots.bit_length() - 1, 0)
                    self.entries[queue].append(
                        Entry(queue, index, slot, group * SLOTS + slot, record, needs, executed, at_once)
                    )
        self.counted = [0] * QUEUES
        self.issue = [iter([x for x in q if x.executed]) for q in self.entries]
        self.offered: list[Entry | None] = [None] * QUEUES
        self.flights: list[deque[Flight]] = [deque() for _ in range(QUEUES)]
        self.capacity = [int(rng.integers(*self.style.capacity, endpoint=True)) for _ in range(QUEUES)]
        self.copies: dict[int, tuple[Entry, int]] = {}
        self.copying: tuple[int, int] | None = None
        self.requests: deque[tuple[int, int, int]] = deque()
        self.requested = 0
        self.issued = 0
        self.busy = [0] * QUEUES
        self.taken: dict[int, int] = {}
        """Cycle in which the last command of a queue was taken, for the latency."""

    # Counts

    def count(self) -> None:
        """Brings ``counted`` to this cycle. What is not executed counts when it may start and all before it count."""
        changed = True
        while changed:
            changed = False
            for queue, entries in enumerate(self.entries):
                while self.counted[queue] < len(entries):
                    entry = entries[self.counted[queue]]
                    free = not entry.executed and (entry.skipped_at_once or self.met(entry))
                    if not free and entry.complete > self.cycle:
                        break
                    self.counted[queue] += 1
                    changed = True

    def met(self, entry: Entry) -> bool:
        return all(self.counted[e] >= count for e, count in entry.needs)

    # One cycle

    def drive_reads(self) -> None:
        rng, style = self.rng, self.style
        self.set("read_ready", int(rng.random() < style.read_ready and not self.dead_memory))
        valid = bool(self.requests) and self.requests[0][2] <= self.cycle and rng.random() >= style.read_gap
        self.set("data_valid", int(valid))
        if valid:
            beat, left, ready = self.requests.popleft()
            if left > 1:
                self.requests.appendleft((beat + 1, left - 1, ready))
            bad = beat in self.bad_beats
            data = self.memory[16 * beat : 16 * beat + 16]
            self.set("data", int.from_bytes(bytes(rng.bytes(16)) if bad else data, "little"))
            self.set("data_error", int(bad))
        elif rng.random() < 0.2:
            self.set("data", int.from_bytes(rng.bytes(16), "little"))
            self.set("data_error", int(rng.integers(2)))

    def drive_engines(self) -> None:
        done, ready = 0, 0
        for queue, flights in enumerate(self.flights):
            self.busy[queue] += bool(flights)
            if flights and flights[0].end <= self.cycle and not self.dead_engines:
                entry = flights.popleft().entry
                done |= 1 << queue
                if self.trace and Queue(queue) in TRACED:
                    self.copies[queue] = entry, self.cycle + SETTLE[Queue(queue)]
                else:
                    entry.complete = self.cycle + SETTLE[Queue(queue)]
            if len(flights) < self.capacity[queue] and self.rng.random() < self.style.ready:
                ready |= 1 << queue
        self.set("command_done", done)
        self.set("command_ready", ready)
        self.set("trace_ready", int(self.copying is None and self.rng.random() < 0.5))
        copied = self.copying is not None and self.copying[1] <= self.cycle
        if self.copying is not None and copied:
            entry, _ = self.copies.pop(self.copying[0])
            entry.complete = self.cycle + 1
            self.copying = None
        self.set("trace_done", int(copied))

    def check_reads(self) -> None:
        if self.get("read_valid") and self.pins["read_ready"]:
            address, beats = self.get("read_address"), self.get("read_beats")
            offset = (address - self.base) % (1 << 64)
            assert self.running, f"a read of byte {offset} while nothing runs"
            assert beats == 8 and offset % 128 == 0 and offset < len(self.memory), f"{beats} beats from byte {offset}"
            delay = int(self.rng.integers(*self.style.read_delay, endpoint=True))
            self.requests.append((offset // 16, beats, self.cycle + delay))
            self.requested += 1

    def check_commands(self) -> None:
        valid = self.get("command_valid")
        assert self.running or not valid, "a command while nothing runs"
        if not valid:
            assert not any(self.offered), "a command was withdrawn"
            return
        slots, retains = self.get("command_slot"), self.get("command_retain")
        for queue in range(QUEUES):
            entry = self.offered[queue]
            if not valid >> queue & 1:
                assert entry is None, f"a command of {Queue(queue).name} was withdrawn"
                continue
            if entry is None:
                entry = next(self.issue[queue], None)
                assert entry is not None, f"one command too many for {Queue(queue).name}"
                self.offered[queue] = entry
                self.check_entry(entry)
            name = f"{Queue(queue).name} instruction {entry.index} of frame {entry.frame}"
            slot = slots >> SLOT_BITS * queue & ((1 << SLOT_BITS) - 1)
            assert slot == entry.slot, f"{name} in slot {slot}"
            if self.pins["command_ready"] >> queue & 1:
                expected = entry.record.copy()
                for field_name in SYNC:
                    expected[field_name] = 0
                record = self.get("command") >> 1024 * queue & ((1 << 1024) - 1)
                assert record == bits(expected), f"{name}: another record"
                retain = bool(entry.record["flags"] & Flag.RETAIN)
                assert retains >> queue & 1 == retain, f"{name}: retain"
                header = self.program.header
                if queue == Queue.INPUT:
                    self.check_offset("input_offset", entry.frame, int(header["input_words"]), name)
                if queue == Queue.STORE:
                    self.check_offset("store_offset", entry.frame, int(header["output_words"]), name)
                flights = self.flights[queue]
                assert len(flights) < FLIGHTS, f"{name}: too many in flight"
                end = max([self.cycle + 1, *(f.end for f in flights)])
                flights.append(Flight(entry, end + int(self.rng.integers(*self.style.duration, endpoint=True)) - 1))
                self.issued += 1
                self.taken[queue] = self.cycle
                self.offered[queue] = None

    def check_entry(self, entry: Entry) -> None:
        """A command is offered for the first time: may it be?"""
        name = f"{Queue(entry.queue).name} instruction {entry.index} of frame {entry.frame}"
        self.count()
        for e, count in entry.needs:
            now = self.counted[e]
            assert now >= count, f"{name} started after {now} instead of {count} of {Queue(e).name}"
        if self.trace:
            assert not self.flights[entry.queue], f"{name} overtakes the trace"
            assert entry.queue not in self.copies, f"{name} overtakes the copy"

    def check_offset(self, pin: str, frame: int, words: int, name: str) -> None:
        offset = self.get(pin)
        assert offset == frame * words % (1 << 32), f"{name}: {pin} {offset}, words {words}"

    def check_trace(self) -> None:
        if not self.get("trace_valid"):
            return
        assert self.trace, "a copy although tracing is off"
        if not self.pins["trace_ready"]:
            return
        record = np.frombuffer(self.get("trace_command").to_bytes(128, "little"), INSTRUCTION)[0]
        slot, offset = self.get("trace_slot"), self.get("trace_offset")
        for queue, (entry, settled) in self.copies.items():
            expected = np.zeros((), INSTRUCTION)
            for name in TRACE_FIELDS:
                expected[name] = entry.record[name]
            if record == expected[()] and slot == entry.slot:
                words = int(self.program.header["trace_words"])
                assert offset == entry.frame * words % (1 << 32), f"trace offset {offset}, frame {entry.frame}"
                assert settled <= self.cycle, "a copy before the engine's writes have settled"
                self.copying = queue, self.cycle + 1 + int(self.rng.integers(*self.style.duration, endpoint=True))
                return
        raise AssertionError("a copy of something that did not finish")

    async def step(self) -> None:
        await FallingEdge(self.dut.clk)
        self.set("start", int(self.starting or (self.restart and self.running and self.rng.random() < 0.1)))
        self.drive_reads()
        self.drive_engines()
        self.set("axi_idle", int(self.axi_idle))
        await ReadOnly()
        if self.get("halt"):
            assert not self.get("command_valid") or self.halted < 3, "a command after the stop"
            assert not self.get("read_valid") or self.halted < 3, "a read after the stop"
            self.halted += 1
            self.offered = [None] * QUEUES
            assert not self.get("abort_engines") or self.axi_idle or self.halted > WATCHDOG, (
                "abort during AXI transfers"
            )
            self.aborted += self.get("abort_engines")
        else:
            self.check_reads()
            self.check_commands()
            self.check_trace()
        self.running = self.running or self.starting
        self.starting = False
        self.cycle += 1

    # A run

    async def run(self, limit: int) -> int:
        """Start to done; the cycles it took."""
        assert self.get("idle") == 1
        await FallingEdge(self.dut.clk)
        for name in ("data_valid", "command_done", "trace_done", "command_ready", "trace_ready", "read_ready"):
            self.set(name, 0)
        self.set("frames", self.frames)
        self.set("trace_enable", int(self.trace))
        self.set("program_address", self.base)
        self.starting, self.halted, self.aborted = True, 0, 0
        begin = self.cycle
        await self.step()
        while not self.get("done"):
            await self.step()
            assert self.cycle - begin < limit, f"hangs after {self.issued} commands"
            assert not self.get("idle"), "idle without done"
        self.running = False
        end = self.cycle
        for _ in range(3):
            await self.step()
            assert self.get("idle") and not self.get("done")
        return end - begin

    def expect_all(self) -> None:
        """Everything was fetched once a group, executed and finished."""
        for queue, remaining in enumerate(self.issue):
            left = list(remaining)
            assert not left, f"{len(left)} instructions of {Queue(queue).name} were not executed"
        assert not any(self.flights) and not self.copies and not self.requests, "done before the engines"
        groups = -(-self.frames // SLOTS)
        assert self.requested == 1 + groups * sum(len(q) for q in self.program.queues), "records fetched"

    def expect_counters(self) -> None:
        """busy, frames and the error bits of a run without faults."""
        busy = self.get("queue_busy")
        for queue in range(QUEUES):
            count = busy >> 32 * queue & 0xFFFFFFFF
            slack = len(self.entries[queue])
            assert abs(count - self.busy[queue]) <= slack, f"{Queue(queue).name} busy {count}, not {self.busy[queue]}"
        assert self.get("frames_done") == sum(x.executed for x in self.entries[Queue.STORE]), "frames_done"


async def begin(dut: Any) -> tuple[Bench, np.random.Generator]:
    rng = np.random.default_rng(SEED)
    bench = Bench(dut, rng)
    await bench.reset()
    return bench, rng


async def good_run(bench: Bench, trace: bool | None = None) -> None:
    """A run without faults; what came before must not show."""
    rng = bench.rng
    bench.style = STYLES[1]
    trace = bool(rng.integers(2)) if trace is None else trace
    bench.prepare(random_program(rng, 30), int(rng.integers(1, 6)), trace)
    await bench.run(60000)
    bench.expect_all()
    bench.expect_counters()
    assert bench.get("error") == 0, "the error of an earlier run"


@cocotb.test()
async def random_programs(dut: Any) -> None:
    """Any Program, speed, number of frames; tracing; unknown opcodes; start while it runs."""
    bench, rng = await begin(dut)
    budget = 20 * TRANSACTIONS  # commands
    while budget > 0:
        bench.style = STYLES[int(rng.integers(len(STYLES)))]
        bench.restart = bool(rng.random() < 0.3)
        used = [int(q) for q in rng.permutation(QUEUES)[: int(rng.integers(1, QUEUES + 1))]]
        unknown = float(rng.choice([0.0, 0.0, 0.1]))
        program = random_program(rng, int(rng.integers(1, 60)), used, unknown)
        bench.prepare(program, int(rng.integers(1, 3 * SLOTS + 2)), bool(rng.random() < 0.4))
        cycles = await bench.run(200000)
        bench.expect_all()
        bench.expect_counters()
        skips = any(not e.executed and not e.skipped_at_once for q in bench.entries for e in q)
        assert bench.get("error") == 2 * skips, f"error bits {bench.get('error'):07b}, unknown opcode: {skips}"
        assert 0 <= cycles - bench.get("cycles") <= 3, f"{bench.get('cycles')} cycles counted, {cycles} in fact"
        header = program.header
        for name in ("weight_bytes", "input_words", "output_words"):
            assert bench.get(name) == int(header[name]), name
        budget -= bench.issued + 20


@cocotb.test()
async def latency(dut: Any) -> None:
    """Cycles from done to a command that waits for it, and from one command of a queue to the next."""
    bench, rng = await begin(dut)
    bench.style = Style((6, 6), (1, 1), 1.0, (1, 1), 0.0, 1.0)
    program = random_program(rng, 40, [int(q) for q in Queue if q not in SINGLE], chain=True)
    bench.prepare(program, SLOTS, False)
    gaps: list[int] = []
    offers: list[int] = []
    original = bench.check_entry

    def check_entry(entry: Entry) -> None:
        original(entry)
        gaps.extend(bench.cycle - bench.entries[e][n - 1].complete for e, n in entry.needs if n > 0)
        offers.append(bench.cycle - bench.taken.get(entry.queue, bench.cycle))

    bench.check_entry = check_entry  # type: ignore[method-assign]
    await bench.run(5000)
    bench.expect_all()
    # The same queue twice in a row may wait for its record instead.
    assert min(gaps) == 2 and sorted(gaps)[len(gaps) // 2] == 2, f"cycles from the count to the command: {sorted(gaps)}"

    # An engine that takes a command at once: the record must load. One that is busy: it has long been there.
    for duration, capacity, cycles in ((1, 4, 11), (40, 1, 2)):
        bench.style = Style((duration, duration), (capacity, capacity), 1.0, (1, 1), 0.0, 1.0)
        program = random_program(rng, 30, [int(Queue.ARRAY)])
        program.queues[Queue.ARRAY]["wait_mask"] = 0
        bench.prepare(program, SLOTS, False)
        offers.clear()
        await bench.run(5000)
        bench.expect_all()
        assert sorted(offers)[len(offers) // 2] == cycles, f"cycles from command to command: {offers}"

    bench.check_entry = original  # type: ignore[method-assign]
    bench.style = Style((100, 200), (40, 40), 1.0, (1, 1), 0.0, 1.0)
    program = random_program(rng, 60, [int(Queue.DEPTHWISE)])
    program.queues[Queue.DEPTHWISE]["wait_mask"] = 0
    bench.prepare(program, SLOTS, False)
    await bench.run(50000)  # never more in flight than the list has room for
    bench.expect_all()


@cocotb.test()
async def slow_engines(dut: Any) -> None:
    """Commands stay offered while the next record, mostly of another slot or group, is loaded."""
    bench, rng = await begin(dut)
    bench.style = Style((20, 40), (1, 1), 1.0, (1, 4), 0.0, 1.0)
    program = random_program(rng, 16, [int(Queue.INPUT), int(Queue.STORE)])
    for records in program.queues:
        records["wait_mask"] = 0
    bench.prepare(program, 3 * SLOTS + 1, False)
    await bench.run(20000)
    bench.expect_all()
    bench.expect_counters()


@cocotb.test()
async def bad_headers(dut: Any) -> None:
    """Nothing runs, nothing else is read, the right bit is set, and the next run is right."""
    bench, rng = await begin(dut)
    faults: list[tuple[int, str, int]] = [
        (0, "magic", 1 << int(rng.integers(32))),
        (0, "version", 1 << int(rng.integers(32))),
        (0, "config_hash", 1 << int(rng.integers(32))),
        (3, "instructions", 1),
        (3, "instructions", 1 << 31),
        (3, "queue_counts", 1 << 15),
        (3, "queue_counts", 1 << 20),
        (4, "", 0),
    ]
    for bit, name, change in faults:
        bench.style = STYLES[int(rng.integers(len(STYLES)))]
        program = random_program(rng, 20)
        header = program.header.copy()
        if name == "queue_counts":
            header[name][int(rng.integers(QUEUES))] += change
            header["instructions"] += change
        elif name:
            header[name] ^= change
        bad = frozenset([int(rng.integers(8))]) if not name else frozenset()
        bench.prepare(Program(header, [q[:0] for q in program.queues]), 3, False, bad)
        bench.program = program
        await bench.run(3000)
        assert bench.get("error") == 1 << bit, f"error bits {bench.get('error'):07b} after a fault in {name or 'AXI'}"
        assert bench.requested == 1 and bench.issued == 0, "it ran in spite of its header"
    await good_run(bench)


@cocotb.test()
async def no_frames(dut: Any) -> None:
    bench, _ = await begin(dut)
    bench.prepare(random_program(bench.rng, 5), 0, False)
    await bench.run(10)
    assert bench.requested == 0 and bench.get("error") == 0
    bench.prepare(Program(random_program(bench.rng, 0).header, [np.zeros(0, INSTRUCTION)] * QUEUES), 3, False)
    await bench.run(500)
    assert bench.get("error") == 0 and bench.issued == 0
    await good_run(bench)


@cocotb.test()
async def bad_records(dut: Any) -> None:
    """Records that come with an AXI error are skipped, the others run; then a run without faults."""
    bench, rng = await begin(dut)
    for trace in (False, True, False):
        bench.style = STYLES[int(rng.integers(len(STYLES)))]
        program = random_program(rng, 40)
        beats = frozenset(int(b) for b in 8 + rng.integers(0, 40 * 8, 6))
        bench.prepare(program, int(rng.integers(1, 6)), trace, beats)
        await bench.run(60000)
        bench.expect_all()
        assert bench.get("error") == 1 << 4, f"error bits {bench.get('error'):07b}"
    await good_run(bench)


@cocotb.test()
async def watchdog(dut: Any) -> None:
    """Engines that never finish; a memory that never answers; AXI that is idle later, or never. All end in done."""
    bench, rng = await begin(dut)
    for engines, memory, idle_after in ((1, 0, 0), (1, 0, 300), (1, 0, NEVER), (0, 1, 0)):
        bench.style = STYLES[1]
        bench.dead_engines, bench.dead_memory = bool(engines), bool(memory)
        bench.prepare(random_program(rng, 40), 3, bool(rng.integers(2)))
        bench.axi_idle = idle_after == 0

        async def release(after: int = idle_after) -> None:
            while bench.halted < min(after, WATCHDOG):
                await FallingEdge(dut.clk)
            bench.axi_idle = after != NEVER

        task = cocotb.start_soon(release())
        await bench.run(4 * WATCHDOG + 2000)
        task.cancel()
        assert bench.get("error") == 1 << 6, f"error bits {bench.get('error'):07b}"
        assert bench.aborted == 1 and bench.halted >= min(idle_after, WATCHDOG), "not stopped as it should be"
        bench.dead_engines = bench.dead_memory = False
        bench.axi_idle = True
        await good_run(bench)
    # Slow, but not dead
    bench.style = Style((WATCHDOG - 200, WATCHDOG - 100), (1, 2), 1.0, (1, 4), 0.0, 1.0)
    bench.prepare(random_program(rng, 6), 1, True)
    await bench.run(40 * WATCHDOG)
    bench.expect_all()
    assert bench.get("error") == 0, f"error bits {bench.get('error'):07b}"


@cocotb.test()
async def error_pulses(dut: Any) -> None:
    """Each pulse of an engine stays as its bit until the next start."""
    bench, rng = await begin(dut)
    names = {2: "error_memory", 3: "error_bounds", 4: "error_read", 5: "error_write"}
    for bit, name in names.items():
        bench.style = STYLES[0]
        bench.prepare(random_program(rng, 30), 2, False)

        async def pulse(pin: str = name) -> None:
            for _ in range(150):
                await FallingEdge(dut.clk)
            bench.set(pin, 1)
            await FallingEdge(dut.clk)
            bench.set(pin, 0)

        task = cocotb.start_soon(pulse())
        await bench.run(60000)
        await task
        bench.expect_all()
        assert bench.get("error") == 1 << bit, f"error bits {bench.get('error'):07b} after {name}"
    await good_run(bench)
