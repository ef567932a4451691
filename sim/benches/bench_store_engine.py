# SPDX-License-Identifier: Apache-2.0
"""store_engine.sv behind io_port: every word of the output and trace buffers, at the end of each job and of all.

STORE is compared with the Program reference, a trace with the words that its rectangle holds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import cocotb
import numpy as np
from axi_memory import Memory, Write, quiet
from cocotb.triggers import FallingEdge, ReadOnly
from engine import CONFIG, Engine, decode
from stream import SEED, TRANSACTIONS

from hwgen.backends.reference.program import EXECUTE
from hwgen.plan.layout import plane_rows
from hwgen.plan.program import INSTRUCTION, LANES, VECTOR, WORD_BYTES, Opcode, instruction

OUTPUT_WORDS = 1 << 12
TRACE_WORDS = 1 << 13
MARGIN = 64
"""Words before, between and behind the buffers."""


@dataclass(eq=False)
class Job:
    """A STORE or a trace, and the words (number in the memory, 16 bytes) that it must write."""

    trace: bool
    record: Any
    slot: int
    offset: int
    words: dict[int, bytes] = field(default_factory=dict)
    fails: bool = False
    taken: int = 0
    done: int = 0


@dataclass
class Store(Engine):
    """The engine's bench, and the memory behind it."""

    errors: int = 0
    error_writes: int = 0

    async def begin(self) -> None:
        dut = self.dut
        quiet(dut, "m")
        dut.trace_valid.value = 0
        await self.start()
        words = 3 * MARGIN + OUTPUT_WORDS + TRACE_WORDS
        origin = int(self.rng.integers(1, 1 << 30)) << 33 | 4096 - WORD_BYTES * int(self.rng.integers(1, 9))
        data = bytearray(self.rng.bytes(words * WORD_BYTES))
        self.ddr = Memory(origin, data, max_burst=int(dut.MAX_BURST.value))
        self.expected = bytearray(data)
        self.output, self.trace = MARGIN, 2 * MARGIN + OUTPUT_WORDS
        dut.output_base.value = origin + WORD_BYTES * self.output
        dut.trace_base.value = origin + WORD_BYTES * self.trace
        Write(dut, "m", self.ddr, self.rng)

    def behave(self, latency: int, jitter: int, stall: float, bad: float = 0.0) -> None:
        self.ddr.latency, self.ddr.jitter, self.ddr.stall = latency, jitter, stall
        beats = np.flatnonzero(self.rng.random(len(self.ddr.data) // WORD_BYTES) < bad)
        self.ddr.bad = {self.ddr.origin + WORD_BYTES * int(n) for n in beats}

    def store(self, record: Any, slot: int, offset: int, limit: int) -> Job:
        """A STORE of the frame whose output begins at word ``offset`` and has ``limit`` words."""
        job = Job(False, record, slot, offset)
        i, machine = decode(record), self.machines[slot]
        total = i.x_groups * i.x_height * i.x_cols
        job.fails = i.ddr + total > limit and total > 0
        if not job.fails and total:
            machine.frame_output = np.zeros((limit, LANES), np.int8)
            machine.where, machine.opcode = "STORE", i.opcode
            EXECUTE[i.opcode](machine, i)
            for n in range(i.ddr, i.ddr + total):
                job.words[self.output + offset + n] = machine.frame_output[n].tobytes()
        return job

    def copy(self, record: Any, slot: int, offset: int) -> Job:
        """A trace of the frame whose trace begins at word ``offset``."""
        job = Job(True, record, slot, offset)
        i, machine = decode(record), self.machines[slot]
        for g in range(i.y_group0, i.y_group0 + i.y_groups):
            for r in range(i.y_rows):
                for x in range(i.y_cols):
                    if i.y_pad == VECTOR:
                        word = machine.vectors[i.y_base + g]
                    else:
                        pixel = (i.y_slot + r) % i.y_ring * i.y_width + x
                        word = machine.pads[i.y_pad, i.y_base + g * i.y_plane + pixel // 16, pixel % 16]
                    place = (g * i.y_height + i.y_row0 + r) * i.y_width + x
                    job.words[self.trace + offset + i.trace + place] = word.tobytes()
        return job

    async def execute(self, jobs: list[Job], limit: int, pause: float) -> None:
        """Both inputs side by side, each in order."""
        dut, rng = self.dut, self.rng
        await self.load()
        dut.output_words.value = limit
        todo = [deque(j for j in jobs if j.trace == bool(n)) for n in range(2)]
        running: list[deque[Job]] = [deque(), deque()]
        offered = [False, False]
        still = 0
        names = ("command", "trace")
        while any(todo) or any(running):
            for n, name in enumerate(names):
                offered[n] = offered[n] or (bool(todo[n]) and rng.random() >= pause)
                job = todo[n][0] if offered[n] else None
                data = job.record.tobytes() if job else rng.bytes(INSTRUCTION.itemsize)
                getattr(dut, "trace_command" if n else "command").value = int.from_bytes(data, "little")
                getattr(dut, f"{name}_slot").value = job.slot if job else int(rng.integers(CONFIG.slots))
                getattr(dut, f"{name}_offset").value = job.offset if job else int(rng.integers(1 << 32))
                getattr(dut, f"{name}_valid").value = int(offered[n])
            await ReadOnly()
            self.cycle += 1
            still += 1
            self.errors += int(dut.error_bounds.value)
            self.error_writes += int(dut.error_write.value)
            assert not (int(dut.idle.value) and any(running)), "idle with jobs in work"
            for n, pin in enumerate((dut.done, dut.trace_done)):
                if int(pin.value):
                    assert running[n], f"done of {names[n]} without a job"
                    job = running[n].popleft()
                    job.done = self.cycle
                    self.settle(job)
                    still = 0
            for n, pin in enumerate((dut.command_ready, dut.trace_ready)):
                if offered[n] and int(pin.value):
                    todo[n][0].taken = self.cycle
                    running[n].append(todo[n].popleft())
                    offered[n] = False
                    still = 0
            assert still < 30_000, "hangs"
            await FallingEdge(dut.clk)
        for name in names:
            getattr(dut, f"{name}_valid").value = 0
        for _ in range(40):
            await ReadOnly()
            self.cycle += 1
            assert not (int(dut.done.value) or int(dut.trace_done.value)), "done without a job"
            await FallingEdge(dut.clk)
        assert int(dut.idle.value) == 1 and int(dut.port_idle.value) == 1, "not idle"
        assert int(dut.error_address.value) == 0, "address outside a memory"
        assert self.ddr.data == self.expected, "a word outside the jobs differs"

    def settle(self, job: Job) -> None:
        """A job is done: its words are in the memory."""
        for number, word in job.words.items():
            at = self.ddr.origin + WORD_BYTES * number
            if at in self.ddr.bad:
                continue
            place = WORD_BYTES * number
            got = bytes(self.ddr.data[place : place + WORD_BYTES])
            assert got == word, f"{decode(job.record)}: word {number} of {min(job.words)}..: {got.hex()}, {word.hex()}"
            self.expected[place : place + WORD_BYTES] = word


def random_store(s: Store, offset: int, limit: int) -> Job:
    rng = s.rng
    if rng.random() < 0.3:
        groups = int(rng.integers(1, min(30, CONFIG.vector_words)))
        place = {"x_pad": VECTOR, "x_base": int(rng.integers(CONFIG.vector_words - groups + 1)), "x_plane": 1}
        height = width = 1
    else:
        height, width = (int(rng.integers(1, 10)) for _ in range(2))
        plane = plane_rows(height, width) + int(rng.integers(2))
        groups = int(rng.integers(1, min(6, CONFIG.pad_depth // plane) + 1))
        base = int(rng.integers(CONFIG.pad_depth - plane * groups + 1))
        place = {"x_pad": int(rng.integers(CONFIG.pads)), "x_base": base, "x_plane": plane}
    total = groups * height * width
    ddr = (int(rng.integers(limit - total + 1)), 0, limit - total)[int(rng.integers(3))]
    if rng.random() < 0.1:
        ddr = int(rng.choice([limit - total + 1, limit, (1 << 32) - 1, (1 << 32) - total]))
    fields = {"x_groups": groups, "x_height": height, "x_width": width, "x_cols": width, "x_ring": height, "ddr": ddr}
    if rng.random() < 0.08:
        fields["x_groups" if rng.random() < 0.5 else "x_height"] = 0
    return s.store(instruction(Opcode.STORE, **place, **fields), int(rng.integers(CONFIG.slots)), offset, limit)


def random_trace(s: Store, room: int) -> Job:
    """A rectangle of a tensor whose trace lies in ``room`` words from a random offset on."""
    rng = s.rng
    vector = rng.random() < 0.25
    flat = not vector and rng.random() < 0.3
    height, width = (1, 1) if vector else (int(rng.integers(1, 10)), int(rng.integers(1, 20)))
    ring = height if flat else int(rng.integers(1, height + 1))
    plane = plane_rows(ring, width) + int(rng.integers(2))
    most = min(5, CONFIG.pad_depth // plane) if not vector else 8
    groups = int(rng.integers(1, most + 1))
    group0 = int(rng.integers(groups))
    count = int(rng.integers(1, groups - group0 + 1))
    if vector:
        place = {"y_pad": VECTOR, "y_base": int(rng.integers(CONFIG.vector_words - groups + 1)), "y_plane": 77}
    else:
        base = int(rng.integers(CONFIG.pad_depth - plane * groups + 1))
        place = {"y_pad": int(rng.integers(CONFIG.pads)), "y_base": base, "y_plane": plane}
    rows = int(rng.integers(1, ring + 1))
    row0 = int(rng.integers(height - rows + 1))
    slot = row0 % ring
    fields = {"y_row0": row0, "y_rows": rows, "y_cols": width, "y_slot": slot, "y_width": width, "y_height": height}
    if flat:
        fields |= {"y_rows": 1, "y_cols": rows * width}
    total = groups * height * width
    trace = int(rng.integers(room - total + 1))
    offset = int(rng.integers(room - total - trace + 1))
    fields |= {"y_ring": ring, "y_group0": group0, "y_groups": count, "trace": trace}
    if rng.random() < 0.08:
        fields[("y_rows", "y_groups", "y_cols")[int(rng.integers(3))]] = 0
    return s.copy(instruction(Opcode.CONV, **place, **fields), int(rng.integers(CONFIG.slots)), offset)


def disjoint(jobs: list[Job], trace: bool) -> list[Job]:
    """Jobs whose words do not overlap, so that each can be checked when it is done."""
    kept: list[Job] = []
    used: set[int] = set()
    for job in jobs:
        if not used & job.words.keys():
            used |= job.words.keys()
            kept.append(job)
    return kept


@cocotb.test()
async def equals_reference(dut: Any) -> None:
    rng = np.random.default_rng(SEED)
    s = Store(dut, rng)
    await s.begin()
    for n in range(TRANSACTIONS):
        s.behave(*((5, 0, 0.0), (60, 0, 0.0), (30, 40, 0.5), (1, 9, 0.8))[n % 4], 0.01 if n % 3 == 2 else 0.0)
        for machine in s.machines:
            machine.pads[...] = np.roll(machine.pads, int(rng.integers(1, 1 << 16)) if n % 5 == 4 else 0)
        limit = int(rng.integers(600, 1500))
        frames = rng.permutation(OUTPUT_WORDS // limit).tolist()
        stores = [random_store(s, limit * int(rng.choice(frames)), limit) for _ in range(int(rng.integers(1, 8)))]
        traces = [random_trace(s, TRACE_WORDS) for _ in range(int(rng.integers(0, 7)))]
        jobs = disjoint(stores + traces, False)
        errors, writes, bad = s.errors, s.error_writes, s.ddr.bad_bursts
        await s.execute(jobs, limit, float(rng.choice([0.0, 0.5, 0.98])))
        assert s.errors - errors == sum(job.fails for job in jobs), "error_bounds"
        assert s.error_writes - writes == s.ddr.bad_bursts - bad, "error_write"
    await s.compare("pads")
    assert s.ddr.bad_bursts > 0


@cocotb.test()
async def is_fast(dut: Any) -> None:
    """A word a cycle; jobs follow each other while responses are on their way."""
    rng = np.random.default_rng(SEED + 1)
    s = Store(dut, rng)
    await s.begin()
    s.behave(60, 0, 0.0)
    fields = {"x_pad": 1, "x_plane": 13, "x_groups": 5, "x_height": 14, "x_width": 14, "x_cols": 14, "x_ring": 14}
    record = instruction(Opcode.STORE, **fields)
    jobs = [s.store(record, n % CONFIG.slots, 1000 * n, 1000) for n in range(3)]
    await s.execute(jobs, 1000, 0.0)
    took = jobs[-1].done - jobs[0].taken
    dut._log.info("3 x 980 words: %d cycles", took)
    assert took < 3 * (13 + 5 * (1 + 196)) * 1.04 + 60 + 40, f"{took} cycles"
    vectors = {"x_pad": VECTOR, "x_plane": 1, "x_groups": 60, "x_height": 1, "x_width": 1, "x_cols": 1, "x_ring": 1}
    job = s.store(instruction(Opcode.STORE, **vectors), 0, 0, 1000)
    await s.execute([job], 1000, 0.0)
    dut._log.info("60 words of the vector memory: %d cycles", job.done - job.taken)
    assert job.done - job.taken < 13 + 120 + 60 + 30
    assert len(s.ddr.writes) <= 3 * (980 // s.ddr.max_burst + 2) + 60 // s.ddr.max_burst + 2, "short bursts"
