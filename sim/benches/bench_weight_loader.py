# SPDX-License-Identifier: Apache-2.0
"""weight_loader.sv and weight_port.sv: every word written to the rings, in order, is its stripe of weights.bin."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import cocotb
import numpy as np
from axi_memory import Memory, Read, quiet
from cocotb.triggers import FallingEdge, ReadOnly
from engine import CONFIG
from stream import SEED, TRANSACTIONS, clock

from hwgen.plan.program import INSTRUCTION, ROW_BYTES, Opcode, instruction

PORTS = 4
PIECE = ROW_BYTES // PORTS


@dataclass
class Load:
    """A LOAD_WEIGHTS for queue 0 (WEIGHTS) or 1 (HEAD)."""

    queue: int
    ddr: int
    row: int
    rows: int
    wait: int = 0
    """Cycles before it is offered."""
    fails: bool = False
    given: int = 0
    done: int = 0

    @property
    def record(self) -> bytes:
        return bytes(instruction(Opcode.LOAD_WEIGHTS, ddr=self.ddr, w_row=self.row, w_rows=self.rows).tobytes())


@dataclass
class Loader:
    """Gives commands and checks writes, errors and done cycle by cycle."""

    dut: Any
    rng: np.random.Generator
    weights: bytes
    memories: list[Memory] = field(default_factory=list)
    expected: list[list[deque[tuple[int, int]]]] = field(default_factory=list)
    """[port][queue]: (row, data) of the writes to come."""
    running: list[deque[tuple[Load, list[int]]]] = field(default_factory=list)
    """[queue]: commands, and how many writes each port owes until the command is done."""
    cycle: int = 0
    errors: int = 0
    error_reads: int = 0

    async def start(self, max_burst: int) -> None:
        dut = self.dut
        dut.command_valid.value = 0
        for j in range(PORTS):
            quiet(dut, f"m{j}")
            # Near the end of a 4 KiB page, in another part of the address space for each port.
            origin = (
                (int(self.rng.integers(1, 1 << 20)) << 40 | int(self.rng.integers(1 << 24)) << 12) + 4096 - 32 * (j + 1)
            )
            self.memories.append(Memory(origin, bytearray(self.weights), max_burst=max_burst))
        self.expected = [[deque() for _ in range(2)] for _ in range(PORTS)]
        self.running = [deque(), deque()]
        dut.base.value = sum(m.origin << 64 * j for j, m in enumerate(self.memories))
        dut.weight_bytes.value = len(self.weights)
        clock(dut)
        dut.reset.value = 1
        for _ in range(4):
            await FallingEdge(dut.clk)
        for j, memory in enumerate(self.memories):
            Read(dut, f"m{j}", memory, self.rng)
        dut.reset.value = 0
        await FallingEdge(dut.clk)

    def behave(self, latency: int, jitter: int, stall: float, bad: float = 0.0) -> None:
        """All memories from now on; ``bad`` is the share of beats that fail."""
        for memory in self.memories:
            memory.latency, memory.jitter, memory.stall = latency, jitter, stall
            beats = np.flatnonzero(self.rng.random(len(memory.data) // 16) < bad)
            memory.bad = {memory.origin + 16 * int(n) for n in beats}

    def expect(self, load: Load) -> list[int]:
        """Adds the writes of a command; how many of them each port has before it is done."""
        start = load.ddr * ROW_BYTES
        load.fails = start + load.rows * ROW_BYTES > len(self.weights)
        if not load.fails:
            for j in range(PORTS):
                for i in range(load.rows):
                    place = start + j * load.rows * PIECE + i * PIECE
                    data = int.from_bytes(self.weights[place : place + PIECE], "little")
                    self.expected[j][load.queue].append(((load.row + i) & 0xFFFF, data))
        return [0 if load.fails else load.rows] * PORTS

    def check(self) -> None:
        dut = self.dut
        valid = int(dut.write_valid.value)
        if valid:
            heads, rows, data = int(dut.write_head.value), int(dut.write_row.value), int(dut.write_data.value)
            for j in range(PORTS):
                if not valid >> j & 1:
                    continue
                queue = heads >> j & 1
                got = (rows >> 16 * j) & 0xFFFF, (data >> 256 * j) & ((1 << 256) - 1)
                assert self.expected[j][queue], f"port {j} writes row {got[0]} of queue {queue}, which nobody asked for"
                want = self.expected[j][queue].popleft()
                assert got == want, (
                    f"port {j} queue {queue}: row {got[0]}, expected {want[0]}, data {got[1] == want[1]}"
                )
                next(owed for _, owed in self.running[queue] if owed[j])[j] -= 1
        done = int(dut.done.value)
        for queue in range(2):
            if done >> queue & 1:
                assert self.running[queue], f"done of queue {queue} without a command"
                load, owed = self.running[queue].popleft()
                assert owed == [0] * PORTS, f"done of {load} before its writes {owed}"
                load.done = self.cycle
        self.errors += int(dut.error_bounds.value)
        self.error_reads += int(dut.error_read.value)
        outstanding = any(m.waiting for m in self.memories) or any(self.running)
        assert not (outstanding and int(dut.idle.value)), "idle with something to do"

    async def run(self, loads: list[Load], pause: float = 0.0) -> None:
        """All commands, each queue in order, the queues side by side."""
        dut = self.dut
        todo = [deque(load for load in loads if load.queue == q) for q in range(2)]
        offered = [False, False]
        quiet_cycles, begin = 0, self.cycle
        while any(todo) or any(self.running):
            words = []
            for q in range(2):
                late = bool(todo[q]) and self.cycle - begin >= todo[q][0].wait
                offered[q] = offered[q] or (late and self.rng.random() >= pause)
                words.append(todo[q][0].record if offered[q] else self.rng.bytes(INSTRUCTION.itemsize))
            dut.command.value = int.from_bytes(words[0] + words[1], "little")
            dut.command_valid.value = offered[0] | offered[1] << 1
            await ReadOnly()  # what the rising edge will see
            self.cycle += 1
            self.check()
            quiet_cycles += 1
            ready = int(dut.command_ready.value)
            assert ready != 3 or not all(offered), "both queues are taken at once"
            for q in range(2):
                if offered[q] and ready >> q & 1:
                    load = todo[q].popleft()
                    load.given = self.cycle
                    self.running[q].append((load, self.expect(load)))
                    offered[q] = False
                    quiet_cycles = 0
            if int(dut.done.value) or int(dut.write_valid.value):
                quiet_cycles = 0
            assert quiet_cycles < 5000, f"hangs: {[list(r)[:1] for r in self.running]}"
            await FallingEdge(dut.clk)
        dut.command_valid.value = 0
        for _ in range(30):
            await ReadOnly()
            self.cycle += 1
            self.check()
            await FallingEdge(dut.clk)
        assert int(dut.idle.value) == 1, "not idle"
        assert not any(e for port in self.expected for e in port)


def random_load(rng: np.random.Generator, total: int, longest: int, queue: int) -> Load:
    rows = int(rng.integers(1, longest + 1)) if rng.random() < 0.7 else int(rng.integers(1, 5))
    style = rng.random()
    ddr = int(rng.integers(total - rows + 1))
    if style < 0.05:
        rows = 0
    elif style < 0.1:
        ddr = int(rng.choice([total - rows + 1, total, (1 << 32) - 1, (1 << 32) - rows]))
    elif style < 0.2:
        ddr = total - rows
    first = CONFIG.ring_rows if queue else 0
    return Load(queue, ddr, first + int(rng.integers(200)), rows)


async def begin(dut: Any, total: int) -> Loader:
    rng = np.random.default_rng(SEED)
    loader = Loader(dut, rng, rng.bytes(total * ROW_BYTES))
    await loader.start(int(dut.MAX_BURST.value))
    return loader


@cocotb.test()
async def copies_stripes(dut: Any) -> None:
    """Random commands in both queues, with every mixture of latency, stalls, pauses and errors."""
    total = 900
    loader = await begin(dut, total)
    rng = loader.rng
    for n in range(TRANSACTIONS):
        bad = 0.02 if n % 3 == 2 else 0.0
        loader.behave(*((5, 0, 0.0), (60, 0, 0.0), (30, 60, 0.4), (1, 8, 0.8))[n % 4], bad)
        longest = (6, 40, 300)[n % 3]
        loads = [random_load(rng, total, longest, int(rng.random() < 0.4)) for _ in range((40, 14, 5)[n % 3])]
        errors, reads = loader.errors, loader.error_reads
        before = sum(m.bad_beats for m in loader.memories)
        await loader.run(loads, pause=float(rng.choice([0.0, 0.5, 0.98])))
        assert loader.errors - errors == sum(load.fails for load in loads), "error_bounds"
        beats = sum(m.bad_beats for m in loader.memories) - before
        pulses = loader.error_reads - reads
        assert -(-beats // PORTS) <= pulses <= beats, f"{pulses} pulses of error_read for {beats} bad beats"
    for memory in loader.memories:
        assert memory.most_waiting > 2, "one burst at a time"


@cocotb.test()
async def is_fast_and_body_goes_first(dut: Any) -> None:
    """Four ports at full speed behind 60 cycles of latency; a WEIGHTS command overtakes a long HEAD command."""
    total = 1300
    loader = await begin(dut, total)
    loader.behave(60, 0, 0.0)
    await loader.run([Load(0, 0, 0, 400), Load(0, 400, 0, 400)])
    first = loader.cycle
    loads = [Load(0, 7 * n, 5, 20) for n in range(30)]
    await loader.run(loads)
    small = loads[-1].done - loads[0].given
    # 2 cycles a row; bursts of few beats are limited by what may be outstanding
    bursts = -(-64 // int(dut.MAX_BURST.value))
    assert first < 1600 * 1.1 + 120, f"800 rows take {first} cycles"
    assert small < 30 * max(40 + 10, 60 * 2 * (1 + bursts) / 8) + 150, f"30 commands of 20 rows take {small} cycles"
    dut._log.info("800 rows: %d cycles; 30 x 20 rows: %d cycles", first, small)
    head, body = Load(1, 0, CONFIG.ring_rows, total), Load(0, 5, 0, 64, wait=500)
    await loader.run([head, body])
    took = body.done - body.given
    dut._log.info("64 rows beside a long HEAD command: %d cycles; HEAD %d", took, head.done - head.given)
    assert took < 64 * 2 + 60 + 4 * 64 + 80, f"WEIGHTS waits {took} cycles for HEAD"
    assert body.done < head.done
