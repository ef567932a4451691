# SPDX-License-Identifier: Apache-2.0
"""A DDR memory behind an AXI port: latency, several requests in work, random stalls, error responses.

The channels are cocotbext-axi's; what happens between them is here, because its own memory serves one burst at a time
and never fails. Each burst is checked: size, kind, length, 4 KiB, place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import Event, RisingEdge
from cocotb.utils import get_sim_time
from cocotbext.axi import AxiReadBus, AxiResp, AxiSlaveRead, AxiSlaveWrite, AxiWriteBus

BEAT = 16
CLOCK_NS = 5


def cycles() -> int:
    """Clock cycles since the start."""
    return round(get_sim_time("ns") / CLOCK_NS)


@dataclass
class Memory:
    """Bytes ``origin`` .. of the address space. A burst elsewhere fails the bench."""

    origin: int
    data: bytearray
    latency: int = 20
    """Cycles from a request to its first beat, and from the last beat written to the response."""
    jitter: int = 0
    """As many cycles more at random."""
    stall: float = 0.0
    """Chance that a channel pauses in a cycle."""
    max_burst: int = 64
    bad: set[int] = field(default_factory=set)
    """Addresses of beats that answer SLVERR or DECERR; a bad beat is read like any other and is not written."""
    bad_beats: int = 0
    """Read so far."""
    bad_bursts: int = 0
    """Written so far."""
    reads: list[tuple[int, int]] = field(default_factory=list)
    """Bursts (address, beats) in the order of their requests."""
    writes: list[tuple[int, int]] = field(default_factory=list)
    answered: int = 0
    """Beats written and answered."""
    waiting: int = 0
    """Bursts that were asked for and are not answered."""
    most_waiting: int = 0

    def place(self, address: int) -> int:
        place = address - self.origin
        assert 0 <= place <= len(self.data) - BEAT, f"AXI address {address:#x} outside the memory"
        return place

    def check(self, address: int, beats: int, size: int, burst: int) -> None:
        assert size == 4 and burst == 1 and address % BEAT == 0, f"burst {address:#x} size {size} kind {burst}"
        assert beats <= self.max_burst, f"burst of {beats} beats"
        assert address // 4096 == (address + BEAT * beats - 1) // 4096, f"burst {address:#x}, {beats}: crosses 4 KiB"
        self.place(address)
        self.place(address + BEAT * (beats - 1))

    def response(self, rng: np.random.Generator, address: int) -> AxiResp:
        return AxiResp(int(rng.integers(2, 4))) if address in self.bad else AxiResp.OKAY

    def began(self) -> None:
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)


def pauses(memory: Memory, rng: np.random.Generator) -> Iterator[bool]:
    while True:
        length = int(rng.integers(1, 12))
        pause = bool(rng.random() < memory.stall)
        for _ in range(length):
            yield pause


class Read(AxiSlaveRead):
    """The read channels of a memory."""

    def __init__(self, dut: Any, prefix: str, memory: Memory, rng: np.random.Generator) -> None:
        self.memory, self.rng = memory, rng
        self.requests: deque[tuple[int, int, int]] = deque()
        self.arrived = Event()
        super().__init__(AxiReadBus.from_prefix(dut, prefix), dut.clk)
        self.log.setLevel("WARNING")
        self.r_channel.queue_occupancy_limit = 1
        for channel in (self.ar_channel, self.r_channel):
            channel.log.setLevel("WARNING")
            channel.set_pause_generator(pauses(memory, rng))

    async def _process_read(self) -> None:
        cocotb.start_soon(self._accept())
        while True:
            while not self.requests:
                self.arrived.clear()
                await self.arrived.wait()
            when, address, beats = self.requests.popleft()
            while cycles() < when:
                await RisingEdge(self.clock)
            for n in range(beats):
                at = address + BEAT * n
                r = self.r_channel._transaction_obj()
                place = self.memory.place(at)
                r.rid, r.rlast, r.rresp = 0, n == beats - 1, self.memory.response(self.rng, at)
                r.rdata = int.from_bytes(self.memory.data[place : place + BEAT], "little")
                self.memory.bad_beats += at in self.memory.bad
                await self.r_channel.send(r)
            self.memory.waiting -= 1

    async def _accept(self) -> None:
        while True:
            ar = await self.ar_channel.recv()
            address, beats = int(ar.araddr), int(ar.arlen) + 1
            self.memory.check(address, beats, int(ar.arsize), int(ar.arburst))
            self.memory.reads.append((address, beats))
            self.memory.began()
            late = self.memory.latency + int(self.rng.integers(self.memory.jitter + 1))
            self.requests.append((cycles() + late, address, beats))
            self.arrived.set()


class Write(AxiSlaveWrite):
    """The write channels of a memory."""

    def __init__(self, dut: Any, prefix: str, memory: Memory, rng: np.random.Generator) -> None:
        self.memory, self.rng = memory, rng
        self.answers: deque[tuple[int, int, AxiResp]] = deque()
        self.arrived = Event()
        super().__init__(AxiWriteBus.from_prefix(dut, prefix), dut.clk)
        self.log.setLevel("WARNING")
        for channel in (self.aw_channel, self.w_channel, self.b_channel):
            channel.log.setLevel("WARNING")
            channel.set_pause_generator(pauses(memory, rng))

    async def _process_write(self) -> None:
        cocotb.start_soon(self._answer())
        while True:
            aw = await self.aw_channel.recv()
            address, beats = int(aw.awaddr), int(aw.awlen) + 1
            self.memory.check(address, beats, int(aw.awsize), int(aw.awburst))
            self.memory.writes.append((address, beats))
            self.memory.began()
            response = AxiResp.OKAY
            for n in range(beats):
                w = await self.w_channel.recv()
                assert int(w.wstrb) == (1 << BEAT) - 1 and int(w.wlast) == (n == beats - 1)
                at = address + BEAT * n
                if at in self.memory.bad:
                    response = self.memory.response(self.rng, at)
                else:
                    place = self.memory.place(at)
                    self.memory.data[place : place + BEAT] = int(w.wdata).to_bytes(BEAT, "little")
            late = self.memory.latency + int(self.rng.integers(self.memory.jitter + 1))
            self.answers.append((cycles() + late, beats, response))
            self.arrived.set()

    async def _answer(self) -> None:
        while True:
            while not self.answers:
                self.arrived.clear()
                await self.arrived.wait()
            when, beats, response = self.answers.popleft()
            while cycles() < when:
                await RisingEdge(self.clock)
            b = self.b_channel._transaction_obj()
            b.bid, b.bresp = 0, response
            self.memory.bad_bursts += response != AxiResp.OKAY
            self.memory.waiting -= 1
            self.memory.answered += beats
            await self.b_channel.send(b)


def quiet(dut: Any, prefix: str) -> None:
    """Before the reset: the memory offers nothing."""
    for name in ("arready", "rvalid", "awready", "wready", "bvalid"):
        if hasattr(dut, f"{prefix}_{name}"):
            getattr(dut, f"{prefix}_{name}").value = 0
