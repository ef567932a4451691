# SPDX-License-Identifier: Apache-2.0
"""input_loader.sv and ram_fifo.sv behind io_port: every pad word against the Program reference.

Frames of both slots lie behind each other in the input buffer, as in the machine; another reader disturbs the port.
"""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
from axi_memory import Memory, Read, quiet
from cocotb.triggers import FallingEdge
from engine import CONFIG, Command, Engine, slot_of
from stream import SEED, TRANSACTIONS

from hwgen.plan.layout import plane_rows
from hwgen.plan.program import LANES, ROW_BYTES, WORD_BYTES, Flag, Opcode, instruction
from random_programs import case

ROOM = 1 << 15
"""Words of the input buffer."""


class Loader(Engine):
    """The engine's bench, and the input buffer."""

    async def begin(self) -> None:
        dut = self.dut
        quiet(dut, "m")
        dut.fetch_read_valid.value = 0
        dut.command_offset.value = 0
        dut.input_words.value = 0
        await self.start()
        origin = int(self.rng.integers(1, 1 << 30)) << 33 | 4096 - WORD_BYTES * int(self.rng.integers(1, 9))
        self.ddr = Memory(origin, bytearray(self.rng.bytes(ROOM * WORD_BYTES)), max_burst=int(dut.MAX_BURST.value))
        dut.base.value = origin
        self.errors = 0
        self.limit = 20_000
        Read(dut, "m", self.ddr, self.rng)
        cocotb.start_soon(self._count())

    async def _count(self) -> None:
        while True:
            await FallingEdge(self.dut.clk)
            self.errors += int(self.dut.error_bounds.value)
            if int(self.dut.fetch_read_valid.value) == 0 or int(self.dut.fetch_read_ready.value):
                self.dut.fetch_read_valid.value = int(self.rng.random() < self.disturb)
                self.dut.fetch_read_address.value = self.ddr.origin + WORD_BYTES * int(self.rng.integers(ROOM - 8))
                self.dut.fetch_read_beats.value = int(self.rng.integers(1, 9))

    disturb = 0.0

    def behave(self, latency: int, jitter: int, stall: float, disturb: float = 0.0) -> None:
        self.ddr.latency, self.ddr.jitter, self.ddr.stall, self.disturb = latency, jitter, stall, disturb

    def frames(self, words: int) -> int:
        """New frames of ``words`` words for all slots, behind each other; the first word's number."""
        first = int(self.rng.integers(ROOM - len(self.machines) * words))
        place = first * WORD_BYTES
        size = len(self.machines) * words * WORD_BYTES
        self.ddr.data[place : place + size] = self.rng.bytes(size)
        for slot, machine in enumerate(self.machines):
            start = place + slot * words * WORD_BYTES
            machine.frame_input = np.frombuffer(bytes(self.ddr.data[start : start + words * WORD_BYTES]), np.uint8)
        self.dut.input_words.value = words
        return first


def image(
    loader: Loader, channels: int, block: int, rows: int, cols: int, spare: int, wide: int, whole: bool = False
) -> list[Any]:
    """LOAD_INPUT instructions for an image of ``rows * block`` rows: tiles in a ring of pixel rows, random gaps before
    and behind. ``wide`` image columns are left over at the right edge of each row. ``whole``: one tile."""
    rng = loader.rng
    x_width = cols * block + wide
    stride = -(-x_width * channels // WORD_BYTES)
    loader.gap = int(rng.integers(5))
    tile = rows if whole else int(rng.integers(1, rows + 1))
    ring = min(tile + spare, rows)
    plane = plane_rows(ring, cols) + int(rng.integers(2))
    group0 = int(rng.integers(min(3, CONFIG.pad_depth // plane)))
    base = int(rng.integers(CONFIG.pad_depth - plane * (group0 + 1) + 1))
    t_row = int(rng.integers(CONFIG.ring_rows - 2 * channels + 1))
    flags = int(Flag.IMAGE) if rng.random() < 0.6 else 0
    pad = int(rng.integers(CONFIG.pads))
    records = []
    row = 0
    while row < rows:
        count = min(tile, rows - row)
        records.append(
            instruction(
                Opcode.LOAD_INPUT,
                flags=flags | (int(Flag.RETAIN) if row else 0),
                channels=channels,
                block=block,
                x_width=x_width,
                ddr=loader.gap + row * block * stride,
                t_row=t_row,
                y_pad=pad,
                y_base=base,
                y_plane=plane,
                y_width=cols,
                y_ring=ring,
                y_slot=row % ring,
                y_row0=row,
                y_rows=count,
                y_cols=cols,
                y_groups=1,
                y_group0=group0,
            )
        )
        row += count
    loader.words = loader.gap + rows * block * stride + int(rng.integers(3))
    return records


def commands(loader: Loader, records: list[Any], retain: bool) -> list[Command]:
    """Each instruction for each slot, as the dispatcher gives them; without ``retain`` tables are loaded every time."""
    first = loader.frames(loader.words)
    return [
        Command(
            record, slot, retain and (slot > 0 or bool(int(record["flags"]) & Flag.RETAIN)), first + slot * loader.words
        )
        for record in records
        for slot in range(len(loader.machines))
    ]


def fresh_tables(loader: Loader) -> None:
    loader.ring[: CONFIG.ring_rows] = loader.rng.integers(0, 256, (CONFIG.ring_rows, ROW_BYTES), np.uint8)


@cocotb.test()
async def equals_reference(dut: Any) -> None:
    rng = np.random.default_rng(SEED)
    loader = Loader(dut, rng)
    await loader.begin()
    most = CONFIG.image_row_bytes
    for n in range(TRANSACTIONS):
        loader.stall = float(rng.choice([0.0, 0.3, 0.8]))
        loader.idle = float(rng.choice([0.0, 0.0, 0.5, 0.95]))
        loader.behave(*((60, 0, 0.0), (5, 0, 0.0, 0.2), (30, 40, 0.5), (1, 9, 0.8, 0.1))[int(rng.integers(4))])
        block = 1 + n % 2
        channels = int(rng.integers(1, LANES // block**2 + 1))
        rows, cols = int(rng.integers(1, 7)), int(rng.integers(1, min(30, most // (channels * block)) + 1))
        if n % 5 == 4:  # the longest rows
            cols = min(most // (channels * block), 80)
            rows = min(rows, 3)
        narrow = n % 7 == 3  # few bytes a pixel: the FIFOs run full
        if narrow:
            channels, rows, cols = 1, min(16, CONFIG.pad_depth // 7) // block, 112
        wide = int(rng.integers(0, 4)) if (cols * block + 4) * channels <= most else 0
        if n % 4 == 1:
            fresh_tables(loader)
        records = image(loader, channels, block, rows, cols, int(rng.integers(3)), wide, narrow)
        retain = bool(rng.random() < 0.8)
        await loader.run(commands(loader, records * (4 if narrow else 1), retain))
        assert int(dut.idle.value) == 1
    # The Programs that the other machines are tested with
    for seed in range(4):
        example = case(Opcode.LOAD_INPUT, 100 * SEED + seed, CONFIG)
        loader.behave(40, 20, 0.2)
        words = int(example.program.header["input_words"])
        first = loader.frames(words)
        place = first * WORD_BYTES
        loader.ddr.data[place : place + len(example.inputs)] = example.inputs
        loader.machines[0].frame_input = np.frombuffer(example.inputs, np.uint8)
        batch: list[Command] = []
        for machine in loader.machines:
            machine.weights = example.program.weights
        for record in example.program.instructions:
            slot, retain = slot_of(record), bool(int(record["flags"]) & Flag.RETAIN)
            if int(record["opcode"]) == Opcode.LOAD_INPUT:
                batch.append(Command(record, slot, retain, first + slot * words))
            elif int(record["opcode"]) == Opcode.LOAD_WEIGHTS:
                if batch:  # reads the rows that are there before
                    await loader.run(batch)
                    batch = []
                loader.reference(Command(record, slot))
        await loader.run(batch)
    assert loader.errors == 0


@cocotb.test()
async def is_fast(dut: Any) -> None:
    """A pixel a cycle and one cycle a row, behind 60 cycles of latency; the table of a slot is loaded once."""
    rng = np.random.default_rng(SEED + 1)
    loader = Loader(dut, rng)
    await loader.begin()
    loader.behave(60, 0, 0.0)
    cols = min(112, CONFIG.image_row_bytes // 6)
    for block, channels in ((2, 3), (1, min(16, CONFIG.image_row_bytes // cols))):
        records = image(loader, channels, block, 8, cols, 0, 0)
        batch = commands(loader, records, retain=True)
        await loader.run(batch)
        took = batch[-1].done - batch[0].taken
        words = sum(-(-cols * channels * block // 16) * block * int(c.record["y_rows"]) for c in batch)
        pixels = sum((cols + 1) * int(c.record["y_rows"]) for c in batch)
        bound = max(pixels, words * 1.1) + 16 * len(batch) + 64 * channels + 110
        dut._log.info("block %d: %d pixels, %d words: %d cycles, at most %d", block, pixels, words, took, bound)
        assert took <= bound, f"{took} cycles, at most {bound}"


@cocotb.test()
async def skips_what_is_outside(dut: Any) -> None:
    """Commands that read outside the frame, or cannot be: error_bounds, done, nothing written; the next is right."""
    rng = np.random.default_rng(SEED + 2)
    loader = Loader(dut, rng)
    await loader.begin()
    loader.behave(20, 10, 0.1)
    keep = loader.reference
    for _ in range(3):
        records = image(loader, 3, 2, 4, 9, 0, 1)
        first = loader.frames(loader.words)
        good = [Command(r, s, s > 0, first + s * loader.words) for r in records for s in range(len(loader.machines))]
        last = records[-1]
        stride = -(-int(last["x_width"]) * 3 // 16)
        over = loader.words - int(last["y_rows"]) * 2 * stride + 1
        wrong = []
        for change in (
            {"ddr": over},
            {"ddr": (1 << 32) - 1},
            {"channels": 5},
            {"channels": 0},
            {"channels": 259},
            {"channels": 4, "x_width": CONFIG.image_row_bytes // 4 + 1, "y_rows": 1, "ddr": 0},
        ):
            record = last.copy()
            for key, value in change.items():
                record[key] = value
            wrong.append(Command(record, int(rng.integers(len(loader.machines))), True, first))
        for change in ({"y_rows": 0}, {"y_cols": 0}):
            record = last.copy()
            for key, value in change.items():
                record[key] = value
            wrong.append(Command(record, 0, True, first))
        bad = set(map(id, wrong))
        loader.reference = lambda c, bad=bad: None if id(c) in bad else keep(c)  # type: ignore[method-assign]
        mixed = list(good)
        for command in wrong:
            mixed.insert(int(rng.integers(1, len(mixed) + 1)), command)
        errors = loader.errors
        await loader.run(mixed)
        assert loader.errors - errors == 6, f"{loader.errors - errors} errors of 6"
