# SPDX-License-Identifier: Apache-2.0
"""depthwise_engine.sv against the Program reference: random Programs, extreme commands back to back, cycles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cocotb
import numpy as np
import numpy.typing as npt
from engine import Command, Engine
from stream import SEED, TRANSACTIONS

from hwgen.plan.layout import plane_rows
from hwgen.plan.program import LANES, ROW_BYTES, Flag, Opcode, instruction
from random_programs import case

LIMIT = 1 << 26
"""Accumulators are smaller."""
TABLE_ROWS = 64
"""Ring rows from 0 on that hold tables; blobs lie behind them."""


@dataclass(frozen=True)
class Shape:
    """A DEPTHWISE of a row tile."""

    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int] = (1, 1)
    """Top, left."""
    columns: int = 14
    """Of y."""
    rows: int = 14
    """Of y, in this tile."""
    groups: int = 1
    row0: int = 0
    below: int = 0
    """Rows of the tile's last window that lie below the input; negative: rows of the input after that window."""
    right: int = 0
    """The same for columns."""

    @property
    def height(self) -> int:
        """Input rows."""
        return max(1, (self.row0 + self.rows - 1) * self.stride[0] - self.pads[0] + self.kernel[0] - self.below)

    @property
    def width(self) -> int:
        return max(1, (self.columns - 1) * self.stride[1] - self.pads[1] + self.kernel[1] - self.right)

    @property
    def reads(self) -> tuple[int, int]:
        """First and last input row that the tile reads, the last excluded."""
        first = self.row0 * self.stride[0] - self.pads[0]
        return max(first, 0), min(first + (self.rows - 1) * self.stride[0] + self.kernel[0], self.height)

    @property
    def blob_rows(self) -> int:
        return self.groups * (1 + -(-self.kernel[0] * self.kernel[1] // 8))

    @property
    def cycles(self) -> int:
        """Passes or reads of all groups, as in the module's header."""
        (kh, kw), (sh, sw) = self.kernel, self.stride
        count = self.reads[1] - self.reads[0]
        if (sh, sw) == (2, 2) and kh <= 3 and kw <= 3:
            return self.groups * 2 * -(-self.columns // 7) * max(self.rows, -(-count // 2))
        chunks = -(-self.columns // 4)
        passes = -(-kh // 3) if kw <= 3 else -(-kh // 2) if kw == 4 else -(-5 * kh // 9)
        return self.groups * chunks * max(self.rows * passes, count * (1 if kw <= 3 else 3))


def weights(rng: np.random.Generator, shape: Shape, style: int) -> npt.NDArray[np.uint8]:
    """Blob of all groups (rows, 128); style 0: random, 1: all -128, 2: 127 and -128; 1 and 2 reach the largest sums."""
    taps, groups = shape.kernel[0] * shape.kernel[1], shape.groups
    tap = rng.integers(-128, 128, (groups, -(-taps // 8) * 8, LANES))  # the ones that do not exist, too
    if style:
        tap[:, :taps] = -128 if style == 1 else rng.choice([-128, 127], (groups, taps, LANES))
    room = LIMIT - 1 - 128 * taps * 128
    init = rng.integers(-room, room + 1, (groups, LANES)) >> rng.integers(0, 26, (groups, LANES))
    if style:
        init = rng.choice([-room, room], init.shape)
    multiplier = rng.integers(1 << 16, 1 << 17, init.shape)
    shift = rng.integers(16, 48, init.shape) if style else rng.integers(20, 34, init.shape)
    unused = rng.integers(0, 1 << 9, init.shape)
    word = (init & 0xFFFFFFFF) | multiplier << 32 | shift << 49 | unused << 55
    parts = word.view(np.uint8).reshape(groups, ROW_BYTES), tap.astype(np.int8).view(np.uint8).reshape(groups, -1)
    return np.concatenate(parts, axis=1).reshape(-1, ROW_BYTES)


def record(bench: Engine, shape: Shape, w_row: int, flags: int = 0, style: int = 0, table: int = 0) -> Any:
    """An instruction with random places in the pads; its blob is put in the ring."""
    rng, depth = bench.rng, bench.config.pad_depth

    def below(limit: int) -> int:
        return int(rng.integers(limit))

    first, last = shape.reads
    x_ring, y_ring = last - first + below(3), shape.rows + below(3)
    y_width = shape.columns + below(3)
    x_plane, y_plane = plane_rows(x_ring, shape.width) + below(2), plane_rows(y_ring, y_width) + below(2)
    most = depth // max(x_plane, y_plane)
    assert shape.groups <= most, f"{shape} does not fit a pad"
    group0 = below(min(3, most - shape.groups + 1))
    groups = group0 + shape.groups
    pads = rng.permutation(bench.config.pads)
    fields = {"flags": flags, "t_row": table, "w_row": w_row}
    fields |= {"x_pad": pads[0], "x_base": below(depth - groups * x_plane + 1), "x_plane": x_plane, "x_ring": x_ring}
    fields |= {"x_groups": groups, "x_cols": shape.width, "x_width": shape.width, "x_height": shape.height}
    fields |= {"x_first": first, "x_slot": below(x_ring), "x_zero": below(256) - 128}
    fields |= {"y_pad": pads[1], "y_base": below(depth - groups * y_plane + 1), "y_plane": y_plane, "y_ring": y_ring}
    fields |= {"y_groups": shape.groups, "y_group0": group0, "y_cols": shape.columns, "y_width": y_width}
    fields |= {"y_rows": shape.rows, "y_row0": shape.row0, "y_slot": below(y_ring), "y_height": shape.row0 + shape.rows}
    fields |= {"y_zero": below(5000) - 2500 if flags & Flag.WIDE else below(256) - 128}
    fields |= {"kernel_h": shape.kernel[0], "kernel_w": shape.kernel[1]}
    fields |= {"stride_h": shape.stride[0], "stride_w": shape.stride[1]}
    fields |= {"pad_top": shape.pads[0], "pad_left": shape.pads[1]}
    blob = weights(rng, shape, style)
    bench.ring[w_row : w_row + len(blob)] = blob
    return instruction(Opcode.DEPTHWISE, **fields)


def random_shape(bench: Engine) -> Shape:
    """Any shape for which the pads have room."""
    rng = bench.rng

    def below(limit: int) -> int:
        return int(rng.integers(limit))

    while True:
        kernel = (1 + below(5), 1 + below(5)) if below(2) else (3, 3)
        stride, pads = (1 + below(2), 1 + below(2)), (below(kernel[0]), below(kernel[1]))
        columns = 1 + below((4, 12, 34, 90)[below(4)])
        shape = Shape(kernel, stride, pads, columns, 1 + below(9), 1 + below(3), below(4))
        edges = [(0, -1, -below(9), below(k))[below(4)] for k in kernel]
        shape = replace(shape, below=edges[0], right=edges[1])
        last = (shape.row0 + shape.rows - 1) * stride[0] - pads[0], (columns - 1) * stride[1] - pads[1]
        inside = last[0] < shape.height and last[1] < shape.width and shape.reads[0] < shape.reads[1]
        size = plane_rows(shape.reads[1] - shape.reads[0] + 2, shape.width)
        size = max(size, plane_rows(shape.rows + 2, columns + 2)) + 1
        if inside and shape.groups * size <= bench.config.pad_depth:
            return shape


async def start(dut: Any) -> Engine:
    bench = Engine(dut, np.random.default_rng(SEED), limit=4000)
    await bench.start()
    return bench


@cocotb.test()
async def programs(dut: Any) -> None:
    """Random Programs of one kernel, each instruction for every slot."""
    bench = await start(dut)
    for _ in range(TRANSACTIONS):
        bench.stall = float(bench.rng.choice([0.0, 0.3, 0.8]))
        bench.idle = float(bench.rng.choice([0.0, 0.5, 0.95]))
        await bench.run_case(case(Opcode.DEPTHWISE, int(bench.rng.integers(1 << 30)), bench.config), [Opcode.DEPTHWISE])


@cocotb.test()
async def commands(dut: Any) -> None:
    """Several commands without a pause: other shapes, tables kept and changed, extreme values."""
    bench = await start(dut)
    rng = bench.rng
    for _ in range(TRANSACTIONS):
        bench.stall = float(rng.choice([0.0, 0.0, 0.3, 0.8]))
        bench.idle = float(rng.choice([0.0, 0.0, 0.5]))
        bench.ring[:TABLE_ROWS] = rng.integers(0, 256, (TABLE_ROWS, ROW_BYTES), np.uint8)
        if rng.random() < 0.2:
            for machine in bench.machines:
                machine.pads[:] = rng.choice([-128, 127], machine.pads.shape) if rng.random() < 0.5 else -128
        batch: list[Command] = []
        held, table = 0, 0  # flags and ring row of the table that the engine holds
        shape = random_shape(bench)
        w_row = TABLE_ROWS + int(rng.integers(100))
        for _ in range(int(rng.integers(1, 5))):
            if rng.random() < 0.7:
                shape = random_shape(bench)
            if w_row + shape.blob_rows > bench.config.ring_rows:
                break
            flags = int(rng.choice([0, Flag.TABLE, Flag.TABLE, Flag.TABLE | Flag.WIDE]))
            retain = bool(flags) and flags == held and rng.random() < 0.7
            if flags and not retain:
                table, held = int(rng.integers(TABLE_ROWS - 32)), flags
            new = record(bench, shape, w_row, flags, int(rng.choice([0, 0, 1, 2])), table)
            w_row += shape.blob_rows
            slots = range(bench.config.slots) if rng.random() < 0.5 else [int(rng.integers(bench.config.slots))]
            for n, slot in enumerate(slots):
                batch.append(Command(new, slot, retain=retain or (n > 0 and bool(flags))))
        await bench.run(batch)


@cocotb.test()
async def cycles(dut: Any) -> None:
    """Commands of one shape take the cycles of the header and a few more."""
    bench = await start(dut)
    same, five = Shape(below=1, right=1), Shape((5, 5), pads=(2, 2), below=2, right=2)
    shapes = [
        replace(same, columns=28, groups=2),
        replace(same, groups=4),
        replace(same, rows=7, columns=7, groups=6),
        replace(same, rows=7, columns=7, groups=6, stride=(2, 2), below=0, right=0),
        replace(same, groups=2, rows=7, stride=(2, 2), below=0, right=0),
        replace(same, rows=10, columns=28, stride=(2, 2), below=0, right=0),
        replace(five, groups=3),
        replace(five, rows=7, columns=7, groups=4),
        replace(five, rows=7, columns=7, groups=2, stride=(2, 2), below=1, right=1),
        replace(same, rows=10, columns=28, kernel=(1, 1), pads=(0, 0), below=0, right=0),
        replace(same, columns=112, rows=4, row0=3, below=0),
    ]
    for shape in shapes:
        new = record(bench, shape, TABLE_ROWS)
        batch = [Command(new, slot) for slot in (0, 1)]
        await bench.run(batch)
        each = batch[1].done - batch[0].done
        dut._log.info("%s: %d cycles, then %d; passes or reads %d", shape, batch[0].cycles, each, shape.cycles)
        assert batch[0].cycles <= shape.cycles + 80 and each <= shape.cycles + 16, f"{shape}: {each} cycles"
