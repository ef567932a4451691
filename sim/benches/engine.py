# SPDX-License-Identifier: Apache-2.0
"""An engine between ``sim/bench_memory.sv`` and the NumPy Program reference.

All memories start with random bytes, the same on both sides. Commands run on the engine and, one after the other, on
the reference; then every word of every pad and vector memory must be the same, so a stray write anywhere fails.

    bench = Engine(dut, rng)
    await bench.start()
    await bench.run([Command(record, slot=0), Command(record, slot=1, retain=True)])
    await bench.run_case(random_programs.case(Opcode.ELTWISE, seed, bench.config))

Pins change at the falling edge; everything is read shortly before the rising edge.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from cocotb.triggers import FallingEdge, ReadOnly
from stream import clock

from hwgen.backends.reference.program import EXECUTE, Machine, Tiles
from hwgen.backends.reference.program import _decode as decode
from hwgen.plan.program import INSTRUCTION, LANES, ROW_BYTES, Config, Flag, Opcode

sys.path.append(str(Path(__file__).resolve().parents[2] / "tests"))  # random_programs

CONFIG = Config(**json.loads(os.environ.get("HWGEN_CONFIG", "{}")))
"""The machine that the bench was compiled for."""

READ_LATENCY = 8
VECTOR_LATENCY = 3

WINDOW = (("valid", 1), ("pad", 4), ("base", 16), ("pixel", 18), ("low", 5), ("high", 5), ("fill", 8))
RESIDUAL = (("valid", 1), ("pad", 4), ("base", 16), ("pixel", 18))
WRITE = (("valid", 1), ("pad", 4), ("base", 16), ("pixel", 18), ("count", 4))
"""Fields of config_pkg's packed structs, the first one highest; a write has its words below."""

Codes = npt.NDArray[np.int8]


def struct(fields: Sequence[tuple[str, int]], **values: int) -> int:
    """A packed struct; fields that are not named are 0."""
    word = 0
    for name, bits in fields:
        word = word << bits | (int(values.pop(name, 0)) & ((1 << bits) - 1))
    assert not values, f"no such fields: {sorted(values)}"
    return word


def write_words() -> int:
    """Words of a ``write_t``: WRITE_WORDS of config_pkg."""
    return max(4, CONFIG.requantize_words)


def write_struct(words: Codes, **values: int) -> int:
    """A ``write_t`` of ``words`` (count, 16)."""
    data = np.zeros((write_words(), LANES), np.int8)
    data[: len(words)] = words
    head = struct(WRITE, count=len(words), **values)
    return head << 8 * data.size | int.from_bytes(data.tobytes(), "little")


def codes_of(handle: Any, words: int) -> Codes:
    """A port of ``words`` words as (words, 16) codes."""
    value = handle.value.to_unsigned()
    return np.frombuffer(value.to_bytes(words * LANES, "little"), np.int8).reshape(words, LANES)


def slot_of(record: Any) -> int:
    """The slot of an instruction; of LOAD_WEIGHTS one that uses the rows."""
    return int(record["slots"]).bit_length() - 1


@dataclass(eq=False)
class Command:
    """One instruction for the engine."""

    record: Any
    slot: int = 0
    """command_slot and command_retain; the record's own ``slots`` and RETAIN are not looked at."""
    retain: bool = False
    offset: int = 0
    """command_offset of the engines that have it."""
    alone: bool = False
    """Given only when all commands before are done."""
    taken: int = -1
    """Cycle in which the engine took it."""
    done: int = -1

    @property
    def cycles(self) -> int:
        return self.done - self.taken

    @property
    def window_pad(self) -> int:
        return int(self.record["x_pad"])

    @property
    def residual_pad(self) -> int:
        """-1: none."""
        return int(self.record["r_pad"]) if int(self.record["flags"]) & Flag.ADD else -1

    @property
    def reads(self) -> set[int]:
        """Pads that it reads."""
        return {self.window_pad, self.residual_pad} - {-1}

    def depends(self, other: Command) -> bool:
        """Whether it may read what ``other`` writes, or write what it reads, or both may read one pad through both
        ports at a time. Outputs in the same pad are in order. (In the machine commands of one slot never overlap.)"""
        if self.slot != other.slot:
            return False
        if self.window_pad == other.residual_pad or self.residual_pad == other.window_pad:
            return True
        return int(other.record["y_pad"]) in self.reads or int(self.record["y_pad"]) in other.reads


@dataclass
class Ignored:
    """Lanes that the machines need not agree on; nothing, unless a bench says so and why."""

    pads: npt.NDArray[np.bool_]
    vectors: npt.NDArray[np.bool_]


@dataclass
class Engine:
    """The engine under test, its memories, and the reference."""

    dut: Any
    rng: np.random.Generator
    head: bool = False
    """The ring of the top is the MLP engine's own (parameter HEAD of bench_memory)."""
    stall: float = 0.0
    """Share of cycles in which the ring takes no request; may be changed at any time."""
    idle: float = 0.0
    """Chance that a command waits one more cycle."""
    limit: int = 100_000
    """Cycles without a command taken or done after which the engine hangs."""
    overlap: bool = True
    """False: a command is given only when all before are done."""
    config: Config = CONFIG
    machines: list[Machine] = field(default_factory=list)
    ignored: list[Ignored] = field(default_factory=list)
    cycle: int = 0
    finished: list[Command] = field(default_factory=list)
    """Every command so far, with its cycles."""

    def __post_init__(self) -> None:
        c = self.config
        self.ring = self._random(c.ring_rows + c.head_rows, ROW_BYTES).view(np.uint8)
        decoded: dict[tuple[int, ...], Tiles] = {}
        for _ in range(c.slots):
            machine = Machine(
                config=c,
                pads=self._random(c.pads, c.pad_depth, LANES, LANES),
                vectors=self._random(c.vector_words, LANES),
                ring=self.ring,
                weights=b"",
                frame_input=np.zeros(0, np.uint8),
                frame_output=np.zeros((0, LANES), np.int8),
                frame_trace=None,
                decoded=decoded,
            )
            self.machines.append(machine)
            self.ignored.append(Ignored(np.zeros(machine.pads.shape, bool), np.zeros(machine.vectors.shape, bool)))
        # What the simulated memories hold; None: not yet written.
        self._pads: list[Codes | None] = [None] * c.slots
        self._vectors: list[Codes | None] = [None] * c.slots
        self._ring: npt.NDArray[np.uint8] | None = None

    def _random(self, *shape: int) -> Codes:
        return self.rng.integers(-128, 128, shape, np.int8)

    # ----------------------------------------------------------------------------------------------------------------
    # Pins

    def _pin(self, name: str, value: int) -> None:
        if hasattr(self.dut, name):
            getattr(self.dut, name).value = value

    async def tick(self) -> None:
        """To the middle of the next cycle: the pins set by now are seen by the rising edge that follows it."""
        self._pin("host_ring_stall", int(self.rng.random() < self.stall))
        await FallingEdge(self.dut.clk)
        self.cycle += 1

    async def start(self) -> None:
        """Clock, reset, and all memories filled."""
        for name in ("write", "window", "ring_valid", "vector_write_valid", "vector_read_valid", "ring_stall"):
            self._pin(f"host_{name}", 0)
        self._pin("command_valid", 0)
        clock(self.dut)
        self.dut.reset.value = 1
        for _ in range(12):
            await self.tick()
        self.dut.reset.value = 0
        await self.tick()
        await self.load()

    async def load(self) -> None:
        """Brings the simulated memories to the state of the reference's; needed after a change of ``machines`` or
        ``ring`` from outside. Writes only what differs."""
        step = write_words()
        for slot, machine in enumerate(self.machines):
            old = self._pads[slot]
            dirty = np.ones(machine.pads.shape[:3], bool) if old is None else (machine.pads != old).any(axis=3)
            parts = dirty.reshape(self.config.pads, self.config.pad_depth, LANES // step, step).any(axis=3)
            for pad, row, part in np.argwhere(parts).tolist():
                words = machine.pads[pad, row, part * step : (part + 1) * step]
                self.dut.host_write.value = write_struct(words, valid=1, pad=pad, base=row, pixel=part * step)
                self.dut.host_write_slot.value = slot
                await self.tick()
            self.dut.host_write.value = 0
            self._pads[slot] = machine.pads.copy()
            before = self._vectors[slot]
            changed = np.ones(len(machine.vectors), bool) if before is None else (machine.vectors != before).any(axis=1)
            for word in np.flatnonzero(changed).tolist():
                self.dut.host_vector_write_valid.value = 1
                self.dut.host_vector_slot.value = slot
                self.dut.host_vector_word.value = word
                self.dut.host_vector_write_data.value = int.from_bytes(machine.vectors[word].tobytes(), "little")
                await self.tick()
            self.dut.host_vector_write_valid.value = 0
            self._vectors[slot] = machine.vectors.copy()
        first, count = (self.config.ring_rows, self.config.head_rows) if self.head else (0, self.config.ring_rows)
        stale = np.ones(len(self.ring), bool) if self._ring is None else (self.ring != self._ring).any(axis=1)
        for row in np.flatnonzero(stale[first : first + count]).tolist():
            self.dut.host_ring_valid.value = 1
            self.dut.host_ring_row.value = first + row
            self.dut.host_ring_data.value = int.from_bytes(self.ring[first + row].tobytes(), "little")
            await self.tick()
        self.dut.host_ring_valid.value = 0
        self._ring = self.ring.copy()
        for machine in self.machines:
            machine.decoded.clear()
        for _ in range(6):  # until the last write has arrived
            await self.tick()

    async def read_pads(self, slot: int) -> Codes:
        """(pads, pad_depth, 16, 16), one word row a cycle."""
        rows = [(pad, row) for pad in range(self.config.pads) for row in range(self.config.pad_depth)]
        got = np.empty((self.config.pads, self.config.pad_depth, LANES, LANES), np.int8)
        self.dut.host_window_slot.value = slot
        for n in range(len(rows) + READ_LATENCY):
            if n < len(rows):
                pad, row = rows[n]
                self.dut.host_window.value = struct(WINDOW, valid=1, pad=pad, base=row, high=LANES)
            else:
                self.dut.host_window.value = 0
            await self.tick()
            if n >= READ_LATENCY - 1 and n - READ_LATENCY + 1 < len(rows):
                got[rows[n - READ_LATENCY + 1]] = codes_of(self.dut.host_window_words, LANES)
        return got

    async def read_vectors(self, slot: int) -> Codes:
        """(vector_words, 16)."""
        count = self.config.vector_words
        got = np.empty((count, LANES), np.int8)
        self.dut.host_vector_slot.value = slot
        for n in range(count + VECTOR_LATENCY):
            self.dut.host_vector_read_valid.value = int(n < count)
            self.dut.host_vector_word.value = n if n < count else 0
            await self.tick()
            if n >= VECTOR_LATENCY - 1 and n - VECTOR_LATENCY + 1 < count:
                got[n - VECTOR_LATENCY + 1] = codes_of(self.dut.host_vector_read_data, 1)[0]
        return got

    # ----------------------------------------------------------------------------------------------------------------
    # Commands

    async def run(self, commands: Sequence[Command], check: bool = True) -> None:
        """Gives ``commands`` to the engine in order and, with ``check``, compares all memories afterwards."""
        await self.load()
        for command in commands:
            self.reference(command)
        dut, waiting, running = self.dut, list(commands), list[Command]()
        offered = False
        quiet, settle = 0, 0  # cycles since something happened; since the last done
        while waiting or running:
            await FallingEdge(dut.clk)
            self.cycle += 1
            self._pin("host_ring_stall", int(self.rng.random() < self.stall))
            command = waiting[0] if waiting else None
            if command is not None and not offered:
                alone = command.alone or not self.overlap or any(command.depends(c) for c in running)
                ready = not alone or (not running and settle >= 4)  # pads have taken the last write
                offered = ready and self.rng.random() >= self.idle
            if offered and command is not None:
                dut.command.value = int.from_bytes(command.record.tobytes(), "little")
                dut.command_slot.value = command.slot
                self._pin("command_retain", int(command.retain))
                self._pin("command_offset", command.offset)
            else:  # what must not come through
                dut.command.value = int.from_bytes(self.rng.bytes(INSTRUCTION.itemsize), "little")
                dut.command_slot.value = int(self.rng.integers(self.config.slots))
                self._pin("command_retain", int(self.rng.integers(2)))
            dut.command_valid.value = int(offered)
            await ReadOnly()
            quiet, settle = quiet + 1, settle + 1
            if dut.done.value == 1:
                assert running, f"done without a command in cycle {self.cycle}"
                running[0].done = self.cycle
                self.finished.append(running.pop(0))
                quiet = settle = 0
            if offered and dut.command_ready.value == 1:
                command = waiting.pop(0)
                command.taken = self.cycle
                running.append(command)
                offered = False
                quiet = 0
            assert quiet < self.limit, f"hangs: {self.describe(running[0] if running else waiting[0])}"
        await FallingEdge(dut.clk)
        dut.command_valid.value = 0
        for _ in range(16):
            await ReadOnly()
            assert dut.host_engine_writes.value == 0, "writes after done"
            assert dut.done.value == 0, "done without a command"
            await FallingEdge(dut.clk)
            self.cycle += 1
        assert dut.error_address.value == 0, "address outside a memory"
        for command in commands:
            dut._log.info("%s: %d cycles", self.describe(command), command.cycles)
        if check:
            await self.compare(self.describe(commands[-1]) if commands else "nothing")

    def reference(self, command: Command) -> None:
        """The same command on the reference's memories."""
        machine, i = self.machines[command.slot], decode(command.record)
        machine.where, machine.opcode = self.describe(command), i.opcode
        EXECUTE[i.opcode](machine, i)

    async def compare(self, what: str = "") -> None:
        """All pads and vector memories against the reference's."""
        for slot, machine in enumerate(self.machines):
            got, ignored = await self.read_pads(slot), self.ignored[slot]
            self._difference(f"{what}: slot {slot}, (pad, word row, bank, lane)", got, machine.pads, ignored.pads)
            vectors = await self.read_vectors(slot)
            self._difference(f"{what}: slot {slot}, vector (word, lane)", vectors, machine.vectors, ignored.vectors)
            self._pads[slot], self._vectors[slot] = machine.pads.copy(), machine.vectors.copy()
        assert self.dut.error_address.value == 0, "address outside a memory"

    @staticmethod
    def _difference(what: str, got: Codes, expected: Codes, ignored: npt.NDArray[np.bool_]) -> None:
        """Fails at a difference; the expected array takes what was read where it may differ."""
        np.copyto(expected, got, where=ignored)
        wrong = np.argwhere(got != expected)
        if len(wrong):
            first = tuple(int(n) for n in wrong[0])
            words = len(np.unique(wrong[:, :-1], axis=0))
            raise AssertionError(
                f"{what}: {len(wrong)} codes in {words} words differ, first at {first}: {got[first]}, expected "
                f"{expected[first]}; in this word {got[first[:-1]].tolist()}, expected {expected[first[:-1]].tolist()}"
            )

    @staticmethod
    def describe(command: Command) -> str:
        i = command.record
        flags = "|".join(str(f.name) for f in Flag if int(i["flags"]) & f)
        return (
            f"{Opcode(int(i['opcode'])).name} slot {command.slot} flags {flags or 0} mode {i['mode']} "
            f"y {i['y_groups']}x{i['y_rows']}x{i['y_cols']} from group {i['y_group0']} row {i['y_row0']} "
            f"kernel {i['kernel_h']}x{i['kernel_w']} stride {i['stride_h']}x{i['stride_w']} pad {i['pad_top']},"
            f"{i['pad_left']} ci {i['ci_groups']}"
        )

    async def run_case(self, case: Any, opcodes: Sequence[Opcode]) -> list[Command]:
        """A Program of ``random_programs``: instructions of ``opcodes`` on the engine, as the dispatcher gives them,
        the others only on the reference. Returns the commands.

        Slot 0 has the case's frame, the others random bytes.
        """
        program = case.program
        for slot, machine in enumerate(self.machines):
            frame = np.frombuffer(case.inputs, np.uint8)
            machine.frame_input = frame if slot == 0 else self.rng.integers(0, 256, frame.shape, np.uint8)
            machine.frame_output = np.zeros((int(program.header["output_words"]), LANES), np.int8)
            machine.weights = program.weights
        commands: list[Command] = []
        batch: list[Command] = []
        for record in program.instructions:
            command = Command(record, slot_of(record), retain=bool(int(record["flags"]) & Flag.RETAIN))
            if int(record["opcode"]) in opcodes:
                batch.append(command)
                continue
            # What it overwrites: the pads of its slot, or ring rows.
            if batch and (command.slot in {c.slot for c in batch} or int(record["opcode"]) == Opcode.LOAD_WEIGHTS):
                await self.run(batch)
                commands += batch
                batch = []
            self.reference(command)
        if batch:
            await self.run(batch)
        return commands + batch
