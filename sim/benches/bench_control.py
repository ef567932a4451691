# SPDX-License-Identifier: Apache-2.0
"""control.sv driven by cocotbext-axi's AXI4-Lite master, with a machine in Python that runs and ends when told."""

from __future__ import annotations

import json
import os
from itertools import cycle
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster
from stream import SEED, TRANSACTIONS, pack, reset

from hwgen.plan.program import Config, Queue

CONFIG = Config(**json.loads(os.environ["HWGEN_CONFIG"]))
POINTERS = ("program", "weights0", "weights1", "weights2", "weights3", "input", "output", "trace")
START, DONE, IDLE, READY, RESTART, INTERRUPT = 1, 2, 4, 8, 1 << 7, 1 << 9
CONTROL, GIE, IER, ISR, FRAMES, TRACE = 0x00, 0x04, 0x08, 0x0C, 0x70, 0x78
DATA = {0x10 + 12 * p + 4 * h for p in range(len(POINTERS)) for h in range(2)} | {FRAMES, TRACE}
"""Plain registers."""
COUNTERS = 0x110


class Machine:
    """What control starts: counts starts, checks that nobody starts it while it runs, ends when told."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.starts = 0
        self.running = False
        self.runs: list[dict[str, int]] = []
        """Pointers, frames and trace_enable of each run, at its start."""
        cocotb.start_soon(self.watch())

    def arguments(self) -> dict[str, int]:
        names = [f"{p}_address" for p in POINTERS] + ["frames", "trace_enable"]
        return {name: int(getattr(self.dut, name).value) for name in names}

    async def watch(self) -> None:
        while True:
            await FallingEdge(self.dut.clk)
            if self.dut.start.value == 1:
                assert not self.running, "started while it runs"
                self.running = True
                self.starts += 1
                self.runs.append(self.arguments())
                self.dut.idle.value = 0

    async def end(self) -> None:
        """The run ends: done for a cycle, then idle."""
        assert self.running
        assert self.arguments() == self.runs[-1], "an argument changed during the run"
        await FallingEdge(self.dut.clk)
        self.dut.done.value = 1
        await FallingEdge(self.dut.clk)
        self.dut.done.value = 0
        self.dut.idle.value = 1
        self.running = False


class Driver:
    """32-bit accesses."""

    def __init__(self, dut: Any, master: AxiLiteMaster) -> None:
        self.dut, self.master = dut, master

    async def write(self, address: int, value: int) -> None:
        answer = await self.master.write(address, value.to_bytes(4, "little"))
        assert answer.resp == 0, f"response {answer.resp} to a write of {address:#x}"

    async def write_bytes(self, address: int, values: bytes) -> None:
        answer = await self.master.write(address, values)
        assert answer.resp == 0

    async def read(self, address: int) -> int:
        answer = await self.master.read(address, 4)
        assert answer.resp == 0, f"response {answer.resp} to a read of {address:#x}"
        return int.from_bytes(answer.data, "little")

    async def check(self, address: int, value: int, what: str) -> None:
        got = await self.read(address)
        assert got == value, f"{what}: register {address:#x} is {got:#x}, not {value:#x}"


async def begin(dut: Any, pauses: bool = False) -> tuple[Driver, Machine, np.random.Generator]:
    rng = np.random.default_rng(SEED)
    dut.done.value = 0
    dut.idle.value = 1
    for name in ("error", "cycles", "frames_done", "queue_busy", "queue_waiting"):
        getattr(dut, name).value = 0
    master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi_control"), dut.clk, dut.reset)
    await reset(dut)
    await ClockCycles(dut.clk, 2)
    if pauses:
        interfaces = (master.write_if.aw_channel, master.write_if.w_channel, master.write_if.b_channel)
        for channel in (*interfaces, master.read_if.ar_channel, master.read_if.r_channel):
            # In any order: sometimes address first, sometimes data.
            channel.set_pause_generator(cycle((rng.random(97) < rng.choice([0.1, 0.5, 0.8])).tolist()))
    return Driver(dut, master), Machine(dut), rng


async def until(dut: Any, condition: Any, what: str) -> None:
    for _ in range(100):
        if condition():
            return
        await RisingEdge(dut.clk)
    raise AssertionError(what)


@cocotb.test()
async def registers(dut: Any) -> None:
    """Random writes with byte strobes and reads of all addresses, one at a time and many at once; all start as 0."""
    driver, machine, rng = await begin(dut, pauses=True)
    model = dict.fromkeys(range(0, 0x1000, 4), 0)
    for address in sorted(DATA):
        await driver.check(address, 0, "after reset")
    writable = sorted(DATA)
    unmapped = [0x18, 0x7C, 0x74, 0x80, 0x10C, 0x1FC, 0x300, 0x400, 0x410, 0x810, 0xFFC]
    for _ in range(TRANSACTIONS):
        kind = rng.random()
        address = int(rng.choice(writable if kind < 0.9 else [*unmapped, 0x100, 0x104, 0x108, 0x110, 0x154]))
        first = int(rng.integers(4))
        data = rng.bytes(int(rng.integers(1, 5 - first)))
        await driver.write_bytes(address + first, data)
        if address in DATA:
            word = bytearray(model[address].to_bytes(4, "little"))
            word[first : first + len(data)] = data
            model[address] = int.from_bytes(word, "little")
        other = address if rng.random() < 0.5 else int(rng.choice([*writable, *unmapped]))
        await driver.check(other, model[other], "after writes")
    jobs = [cocotb.start_soon(driver.write(a, a * 0x01030507 % (1 << 32))) for a in writable]
    for job in jobs:
        await job
    checks = [cocotb.start_soon(driver.check(a, a * 0x01030507 % (1 << 32), "written at once")) for a in writable]
    for check in checks:
        await check
    for address in unmapped:
        await driver.check(address, 0, "unmapped")
    assert machine.starts == 0, "started by a write that is none of start"


@cocotb.test()
async def counters(dut: Any) -> None:
    """Error, cycles, frames and the counters of each queue."""
    driver, _, rng = await begin(dut)
    for _ in range(max(TRANSACTIONS // 100, 1)):
        error, cycles, frames = (int(rng.integers(1 << b)) for b in (7, 32, 32))
        values = rng.integers(1 << 32, size=(len(Queue), 2))
        dut.error.value, dut.cycles.value, dut.frames_done.value = error, cycles, frames
        dut.queue_busy.value, dut.queue_waiting.value = pack(values[:, 0], 32), pack(values[:, 1], 32)
        await driver.check(0x100, error, "error")
        await driver.check(0x104, cycles, "cycles")
        await driver.check(0x108, frames, "frames done")
        for queue in Queue:
            for w in range(2):
                await driver.check(COUNTERS + 8 * queue + 4 * w, int(values[queue, w]), f"counter {w} of {queue.name}")


@cocotb.test()
async def runs(dut: Any) -> None:
    """start, done, idle, ready, auto_restart and the copies of the arguments."""
    driver, machine, rng = await begin(dut)
    await driver.check(CONTROL, IDLE, "after reset")
    for _ in range(3):
        arguments = {}
        for p, name in enumerate(POINTERS):
            arguments[f"{name}_address"] = value = int(rng.integers(1 << 63)) * 2 + int(rng.integers(2))
            await driver.write(0x10 + 12 * p, value % (1 << 32))
            await driver.write(0x14 + 12 * p, value >> 32)
        arguments["frames"] = int(rng.integers(1 << 32))
        arguments["trace_enable"] = int(rng.integers(2))
        await driver.write(FRAMES, arguments["frames"])
        await driver.write(TRACE, arguments["trace_enable"] << int(rng.integers(32)))
        starts = machine.starts
        await driver.write_bytes(CONTROL + 1, b"\xff")  # not the byte with start
        await ClockCycles(dut.clk, 5)
        assert machine.starts == starts, "started without start"
        await driver.write(CONTROL, START)
        await until(dut, lambda: machine.running, "no start")
        assert machine.runs[-1] == arguments, f"started with {machine.runs[-1]}"
        await driver.check(CONTROL, START, "running")
        await driver.write(0x10, 0x12345670)
        await driver.write(FRAMES, 1)
        await driver.write(TRACE, 1 - arguments["trace_enable"])
        await driver.write(CONTROL, START)  # ignored
        await driver.check(CONTROL, START, "start while it runs")
        await machine.end()
        await ClockCycles(dut.clk, 5)
        assert machine.starts == starts + 1, "a second run"
        await driver.check(CONTROL, DONE | IDLE | READY, "done")
        await driver.check(CONTROL, IDLE, "done after it was read")

    await driver.write(CONTROL, START | RESTART)
    starts = machine.starts
    for run in range(4):
        await until(dut, lambda n=starts + run: machine.running and machine.starts > n, "no restart")  # type: ignore[misc]
        if run == 2:
            await driver.write(FRAMES, 77)  # for the next run
        if run == 3:
            assert machine.runs[-1]["frames"] == 77
            await driver.check(CONTROL, START | DONE | READY | RESTART, "done of the runs before")
            await driver.write(CONTROL, 0)  # no more
        await machine.end()
    await ClockCycles(dut.clk, 10)
    assert machine.starts == starts + 4 and not machine.running
    await driver.check(CONTROL, DONE | IDLE | READY, "after the last of several runs")


@cocotb.test()
async def start_at_the_end(dut: Any) -> None:
    """start written around the cycle of done: one more run or none, never a lost or doubled done."""
    driver, machine, _ = await begin(dut)
    again = 0
    for delay in range(12):
        await driver.write(CONTROL, START)
        await until(dut, lambda: machine.running, "no start")
        starts = machine.starts
        write = cocotb.start_soon(driver.write(CONTROL, START))
        await ClockCycles(dut.clk, delay)
        await machine.end()
        await write
        await ClockCycles(dut.clk, 5)
        assert machine.starts - starts in (0, 1)
        again += machine.starts - starts
        if machine.running:
            await driver.check(CONTROL, START | DONE | READY, "the run before is done")
            await machine.end()
            await ClockCycles(dut.clk, 2)
        await driver.check(CONTROL, DONE | IDLE | READY, "done")
        await driver.check(CONTROL, IDLE, "done after it was read")
    assert 0 < again < 12, f"{again} of 12 starts came at or after the end"


@cocotb.test()
async def done_and_read(dut: Any) -> None:
    """A done in the cycle of a read of register 0 is not lost."""
    driver, machine, _ = await begin(dut)
    for delay in range(12):
        await driver.write(CONTROL, START)
        await until(dut, lambda: machine.running, "no start")
        read = cocotb.start_soon(driver.read(CONTROL))
        await ClockCycles(dut.clk, delay)
        await machine.end()
        early = await read
        late = await driver.read(CONTROL)
        assert bool(early & DONE) != bool(late & DONE), f"done read as {early:#x}, then {late:#x}"


@cocotb.test()
async def interrupts(dut: Any) -> None:
    """GIE, IER, ISR with toggle on write; the line is a level, and bit 9 of register 0."""
    driver, machine, rng = await begin(dut)

    async def run() -> None:
        await driver.write(CONTROL, START)
        await until(dut, lambda: machine.running, "no start")
        await machine.end()
        await ClockCycles(dut.clk, 2)

    for gie, ier in [(0, 3), (1, 0), (1, 1), (1, 2), (1, 3)] + [
        (int(rng.integers(2)), int(rng.integers(4))) for _ in range(5)
    ]:
        await driver.write(GIE, gie)
        await driver.write(IER, ier)
        await driver.check(GIE, gie, "GIE")
        await driver.check(IER, ier, "IER")
        assert dut.interrupt.value == 0
        await run()
        assert dut.interrupt.value == int(gie and ier != 0), f"interrupt with GIE {gie}, IER {ier}"
        await driver.check(ISR, ier, "ISR after a run")
        await driver.check(CONTROL, DONE | IDLE | READY | INTERRUPT * int(dut.interrupt.value), "with interrupt")
        assert dut.interrupt.value == int(gie and ier != 0), "the read changed the interrupt"
        for b in range(2):
            if ier >> b & 1:
                await driver.write(ISR, 1 << b)
        await driver.check(ISR, 0, "ISR after toggling")
        assert dut.interrupt.value == 0
        toggle = int(rng.integers(4))
        await driver.write(ISR, toggle)  # writing 1 to a bit that is 0 sets it
        await driver.check(ISR, toggle, "ISR toggled")
        assert dut.interrupt.value == int(gie and toggle != 0)
        await driver.write_bytes(ISR + 1, b"\xff\xff\xff")  # other bytes
        await driver.check(ISR, toggle, "ISR after a write of other bytes")
        await driver.write(ISR, toggle)
        await driver.check(ISR, 0, "ISR toggled again")


@cocotb.test()
async def strobes(dut: Any) -> None:
    """Bytes without a strobe do nothing whatever they hold; data before, with and after the address."""
    for name in ("done", "error", "cycles", "frames_done", "queue_busy", "queue_waiting"):
        getattr(dut, name).value = 0
    for name in ("AWVALID", "AWADDR", "WVALID", "WDATA", "WSTRB", "BREADY", "ARVALID", "ARADDR", "RREADY"):
        getattr(dut, f"s_axi_control_{name}").value = 0
    dut.idle.value = 1
    await reset(dut)
    machine = Machine(dut)
    rng = np.random.default_rng(SEED)

    async def send(valid: str, ready: str, values: dict[str, int], wait: int) -> None:
        for _ in range(wait):
            await FallingEdge(dut.clk)
        for name, value in values.items():
            getattr(dut, f"s_axi_control_{name}").value = value
        getattr(dut, f"s_axi_control_{valid}").value = 1
        for _ in range(100):
            taken = getattr(dut, f"s_axi_control_{ready}").value == 1  # registered: as at the rising edge
            await FallingEdge(dut.clk)
            if taken:
                break
        assert taken, f"no {ready}"
        getattr(dut, f"s_axi_control_{valid}").value = 0

    async def write(address: int, data: int, strobe: int) -> None:
        await FallingEdge(dut.clk)
        late = [int(n) for n in rng.permutation([0, int(rng.integers(5))])]
        one = cocotb.start_soon(send("AWVALID", "AWREADY", {"AWADDR": address}, late[0]))
        other = cocotb.start_soon(send("WVALID", "WREADY", {"WDATA": data, "WSTRB": strobe}, late[1]))
        await one
        await other
        await until(dut, lambda: dut.s_axi_control_BVALID.value == 1, "no response")
        await FallingEdge(dut.clk)
        assert dut.s_axi_control_BVALID.value == 1, "a response was withdrawn"
        dut.s_axi_control_BREADY.value = 1
        await FallingEdge(dut.clk)
        dut.s_axi_control_BREADY.value = 0
        assert dut.s_axi_control_BVALID.value == 0, "a second response"

    frames = 0
    for _ in range(30):
        value, strobe = int(rng.integers(1 << 32)), int(rng.integers(16))
        await write(CONTROL, 0xFFFFFFFF, strobe & 14)
        await write(GIE, 0xFFFFFFFF, strobe & 14)
        await write(IER, 0xFFFFFFFF, strobe & 14)
        await write(ISR, 0xFFFFFFFF, 14)
        await write(FRAMES, value, strobe)
        mask = sum(0xFF << 8 * b for b in range(4) if strobe >> b & 1)
        frames = frames & ~mask | value & mask
    await ClockCycles(dut.clk, 5)
    assert machine.starts == 0, "started by a byte without strobe"
    await write(ISR, 1, 1)
    assert dut.interrupt.value == 0, "enabled by a byte without strobe"
    await write(GIE, 1, 1)
    assert dut.interrupt.value == 1
    await write(CONTROL, START, 1)
    await until(dut, lambda: machine.running, "no start")
    assert machine.runs[-1]["frames"] == frames
