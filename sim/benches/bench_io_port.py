# SPDX-License-Identifier: Apache-2.0
"""io_port.sv, axi_read.sv, axi_write.sv, axi_split.sv: two readers and a writer at once, against a copy of the memory.

Each reader has a piece of the memory that the writer leaves alone.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import cocotb
import numpy as np
from axi_memory import Memory, Read, Write, cycles, quiet
from cocotb.triggers import FallingEdge, ReadOnly
from stream import SEED, TRANSACTIONS, clock

BEAT = 16
WORDS = 4096
"""Of the part that is read, and of the part that is written."""


@dataclass
class Client:
    """A read client: its requests, and the beats that must come."""

    name: str
    requests: deque[tuple[int, int]] = field(default_factory=deque)
    beats: deque[tuple[int, bool, bool, int]] = field(default_factory=deque)
    """(data, last, error, cycle of the request)"""
    offered: bool = False
    latency: int = 0
    """The longest time from a request to its first beat."""


@dataclass
class Job:
    """A write request and its words."""

    address: int
    words: list[int]
    tag: int
    final: bool


@dataclass
class Port:
    """The module, its memory, and what is under way."""

    dut: Any
    rng: np.random.Generator
    memory: Memory
    clients: tuple[Client, Client] = field(default_factory=lambda: (Client("fetch"), Client("input")))
    jobs: deque[Job] = field(default_factory=deque)
    words: deque[int] = field(default_factory=deque)
    answers: deque[tuple[int, int]] = field(default_factory=deque)
    """Tags of final requests, and the words up to their end, counted from the start."""
    error_reads: int = 0
    error_writes: int = 0
    asked: int = 0
    """Words of all jobs."""

    async def start(self) -> None:
        dut = self.dut
        for name in ("fetch_read", "input_read", "write", "word"):
            getattr(dut, f"{name}_valid").value = 0
        quiet(dut, "m")
        clock(dut)
        dut.reset.value = 1
        for _ in range(4):
            await FallingEdge(dut.clk)
        Read(dut, "m", self.memory, self.rng)
        Write(dut, "m", self.memory, self.rng)
        dut.reset.value = 0
        await FallingEdge(dut.clk)

    def behave(self, latency: int, jitter: int, stall: float, bad: float) -> None:
        self.memory.latency, self.memory.jitter, self.memory.stall = latency, jitter, stall
        beats = np.flatnonzero(self.rng.random(2 * WORDS) < bad)
        self.memory.bad = {self.memory.origin + BEAT * int(n) for n in beats}

    def add(self, job: Job) -> None:
        self.jobs.append(job)
        self.words += job.words
        self.asked += len(job.words)
        if job.final:
            self.answers.append((job.tag, self.asked))

    def busy(self) -> bool:
        """Whether something was not asked for or answered. Writes that are not ``final`` show only in ``idle``."""
        waiting = any(c.requests or c.beats for c in self.clients) or self.jobs or self.words or self.answers
        return bool(waiting) or not int(self.dut.idle.value)

    async def run(self, pause: float) -> None:
        """Until every request has been answered."""
        dut, rng = self.dut, self.rng
        write_offered = word_offered = False
        quiet_cycles = 0
        while self.busy():
            for client in self.clients:
                client.offered = client.offered or (bool(client.requests) and rng.random() >= pause)
                address, beats = client.requests[0] if client.offered else (int(rng.integers(1 << 60)) * 16, 7)
                getattr(dut, f"{client.name}_read_valid").value = int(client.offered)
                getattr(dut, f"{client.name}_read_address").value = address
                getattr(dut, f"{client.name}_read_beats").value = beats
            write_offered = write_offered or (bool(self.jobs) and rng.random() >= pause)
            dut.write_valid.value = int(write_offered)
            job = (
                self.jobs[0] if write_offered else Job(int(rng.integers(1 << 60)) * 16, [0], int(rng.integers(2)), True)
            )
            dut.write_address.value, dut.write_beats.value = job.address, len(job.words)
            dut.write_tag.value, dut.write_final.value = job.tag, int(job.final)
            word_offered = word_offered or (bool(self.words) and rng.random() >= pause)
            dut.word_valid.value = int(word_offered)
            dut.word.value = self.words[0] if word_offered else int.from_bytes(rng.bytes(16), "little")
            await ReadOnly()
            quiet_cycles += 1
            self.errors()
            assert not (int(dut.idle.value) and self.memory.waiting), "idle with bursts outstanding"
            for client in self.clients:
                if int(getattr(dut, f"{client.name}_data_valid").value):
                    self.beat(client)
                    quiet_cycles = 0
                if client.offered and int(getattr(dut, f"{client.name}_read_ready").value):
                    self.take(client)
                    quiet_cycles = 0
            if int(dut.finished.value):
                assert self.answers, "finished without a request"
                tag, count = self.answers.popleft()
                assert int(dut.finished_tag.value) == tag, "tag"
                assert self.memory.answered >= count, "finished before the memory has answered"
                quiet_cycles = 0
            if write_offered and int(dut.write_ready.value):
                self.jobs.popleft()
                write_offered = False
            if word_offered and int(dut.word_ready.value):
                self.words.popleft()
                word_offered = False
                quiet_cycles = 0
            assert quiet_cycles < 3000, "hangs"
            await FallingEdge(dut.clk)
        for name in ("fetch_read", "input_read", "write", "word"):
            getattr(dut, f"{name}_valid").value = 0
        for _ in range(60 + self.memory.latency + self.memory.jitter):  # nothing may follow
            await ReadOnly()
            self.errors()
            assert not any(int(getattr(dut, f"{c.name}_data_valid").value) for c in self.clients), "a beat too many"
            assert not int(dut.finished.value), "finished once more"
            await FallingEdge(dut.clk)
        assert int(dut.idle.value) == 1 and self.memory.waiting == 0, "not idle"

    def errors(self) -> None:
        self.error_reads += int(self.dut.error_read.value)
        self.error_writes += int(self.dut.error_write.value)

    def take(self, client: Client) -> None:
        address, beats = client.requests.popleft()
        client.offered = False
        for n in range(beats):
            at = address + BEAT * n
            place = self.memory.place(at)
            data = int.from_bytes(self.memory.data[place : place + BEAT], "little")
            client.beats.append((data, n == beats - 1, at in self.memory.bad, cycles() if n == 0 else -1))

    def beat(self, client: Client) -> None:
        dut = self.dut
        assert client.beats, f"{client.name}: a beat that nobody asked for"
        data, last, error, asked = client.beats.popleft()
        assert int(getattr(dut, f"{client.name}_data").value) == data, f"{client.name}: data"
        assert int(getattr(dut, f"{client.name}_data_last").value) == last, f"{client.name}: last"
        assert int(getattr(dut, f"{client.name}_data_error").value) == error, f"{client.name}: error"
        if asked >= 0:
            client.latency = max(client.latency, cycles() - asked)


def memory(rng: np.random.Generator, max_burst: int) -> Memory:
    origin = int(rng.integers(1, 1 << 30)) << 33 | 4096 - 48
    return Memory(origin, bytearray(rng.bytes(2 * WORDS * BEAT)), max_burst=max_burst)


async def begin(dut: Any) -> Port:
    rng = np.random.default_rng(SEED)
    port = Port(dut, rng, memory(rng, int(dut.MAX_BURST.value)))
    await port.start()
    return port


@cocotb.test()
async def equals_memory(dut: Any) -> None:
    port = await begin(dut)
    rng, origin, m = port.rng, port.memory.origin, port.memory
    for n in range(TRANSACTIONS):
        port.behave(*((1, 0, 0.0), (60, 0, 0.0), (30, 40, 0.5), (2, 9, 0.8))[n % 4], 0.02 if n % 3 == 2 else 0.0)
        for client in port.clients:
            for _ in range(int(rng.integers(1, 25))):
                beats = int(rng.choice([1, 2, 63, 64, int(rng.integers(1, 65))]))
                at = int(rng.integers(WORDS - beats + 1))
                if rng.random() < 0.3:  # up to, or across, a 4 KiB edge
                    edge = 3 + 256 * int(rng.integers(1, WORDS // 256))
                    at = min(max(edge - int(rng.integers(beats + 2)), 0), WORDS - beats)
                client.requests.append((origin + BEAT * at, beats))
        expected = bytearray(m.data)
        free = np.array_split(np.arange(WORDS, 2 * WORDS), int(rng.integers(2, 12)))
        bad_bursts, bad_beats, errors = m.bad_bursts, m.bad_beats, (port.error_reads, port.error_writes)
        for piece in rng.permutation(len(free)).tolist():
            length = int(rng.integers(1, 400 if rng.random() < 0.2 else 70))
            length = min(length, len(free[piece]))
            place = (int(free[piece][0]) + int(rng.integers(len(free[piece]) - length + 1))) * BEAT
            words = [int.from_bytes(rng.bytes(BEAT), "little") for _ in range(length)]
            job = Job(origin + place, words, int(rng.integers(2)), bool(rng.random() < 0.6))
            port.add(job)
            for i, word in enumerate(words):
                if origin + place + BEAT * i not in m.bad:
                    expected[place + BEAT * i : place + BEAT * (i + 1)] = word.to_bytes(BEAT, "little")
        await port.run(float(rng.choice([0.0, 0.3, 0.7])))
        assert m.data == expected, "the memory differs"
        assert port.error_reads - errors[0] == m.bad_beats - bad_beats, "error_read"
        assert port.error_writes - errors[1] == m.bad_bursts - bad_bursts, "error_write"
    assert m.most_waiting > 4, "one burst at a time"
    assert max(beats for _, beats in m.reads + m.writes) == m.max_burst
    assert m.bad_beats > 0 and m.bad_bursts > 0


@cocotb.test()
async def is_fast(dut: Any) -> None:
    """A beat a cycle in both directions behind 60 cycles of latency; the fetch goes first."""
    port = await begin(dut)
    origin = port.memory.origin
    port.behave(60, 0, 0.0, 0.0)
    start = cycles()
    for n in range(24):
        port.clients[1].requests.append((origin + 48 + 1024 * n, 64))
    words = list(range(1536))
    port.add(Job(origin + BEAT * WORDS, words, 1, True))
    await port.run(0.0)
    took = cycles() - start
    dut._log.info("1,536 beats read and written: %d cycles", took)
    # Single-burst answers of the bench's memory cost a cycle or two each.
    assert took < 1536 * 1.15 + 60 + 150, f"{took} cycles"
    for n in range(40):
        port.clients[1].requests.append((origin + 48 + 1024 * n, 64))
    for n in range(20):
        port.clients[0].requests.append((origin + 128 * n, 8))
    await port.run(0.5)
    outstanding = int(dut.OUTSTANDING.value) * int(dut.MAX_BURST.value)
    dut._log.info("fetch of 8 beats beside a busy input: %d cycles", port.clients[0].latency)
    assert port.clients[0].latency < 60 + outstanding * 1.2 + 40
