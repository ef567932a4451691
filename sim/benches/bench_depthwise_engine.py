# SPDX-License-Identifier: Apache-2.0
"""depthwise_engine.sv against the Program reference: random Programs, extreme commands back to back, cycles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cocotb
import numpy as np
from engine import Command, Engine
from stream import SEED, TRANSACTIONS

from hwgen.plan.layout import plane_rows
from hwgen.plan.program import LANES, ROW_BYTES, Flag, Opcode, instruction
from random_programs import case

LIMIT = 1 << 26
"""Accumulators are smaller."""


@dataclass(frozen=True)
class Shape:
    """A DEPTHWISE of whole tensors or of a row tile."""

    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int] = (1, 1)
    """Top, left."""
    columns: int = 14
    """Of y."""
    rows: int = 14
    """Of the tile."""
    groups: int = 1
    row0: int = 0
    below: int = 0
    """Rows of the window that lie below the input, at the tile's end; negative: input rows after it."""
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
        """Input rows that the tile reads."""
        start = self.row0 * self.stride[0] - self.pads[0]
        return max(start, 0), min(start + (self.rows - 1) * self.stride[0] + self.kernel[0], self.height)

    @property
    def cycles(self) -> int:
        """Cycles of the passes and reads of all groups, as in the module's header."""
        (kh, kw), (sh, sw) = self.kernel, self.stride
        count = self.reads[1] - self.reads[0]
        if (sh, sw) == (2, 2) and kh <= 3 and kw <= 3:
            chunks = 2 * -(-self.columns // 7)
            return self.groups * chunks * max(self.rows, -(-count // 2))
        chunks = -(-self.columns // 4)
        passes = -(-kh // 3) if kw <= 3 else -(-kh // 2) if kw == 4 else -(-5 * kh // 9)
        return self.groups * chunks * max(self.rows * passes, count * (1 if kw <= 3 else 3))


def weights(rng: np.random.Generator, shape: Shape, style: int) -> np.ndarray[Any, Any]:
    """Blob of all groups (rows, 128); style 0: random, 1: all -128, 2: 127 and -128, with accumulators at their limit."""
    taps = shape.kernel[0] * shape.kernel[1]
    blob = rng.integers(0, 256, (shape.groups, 1 + -(-taps // 8), ROW_BYTES), np.uint8)  # unused taps are random
    tap = rng.integers(-128, 128, (shape.groups, taps, LANES))
    if style:
        tap = np.full(tap.shape, -128) if style == 1 else rng.choice([-128, 127], tap.shape)
    blob[:, 1:].reshape(shape.groups, -1)[:, : taps * LANES] = (
        tap.astype(np.int8).view(np.uint8).reshape(shape.groups, -1)
    )
    room = LIMIT - 1 - 128 * taps * 128
    init = rng.integers(-room, room + 1, (shape.groups, LANES)) >> rng.integers(0, 26, (shape.groups, LANES))
    if style:
        init = rng.choice([-room, room], init.shape)
    multiplier = rng.integers(1 << 16, 1 << 17, init.shape)
    shift = rng.integers(16, 48, init.shape) if style else rng.integers(20, 34, init.shape)
    spare = rng.integers(0, 1 << 9, init.shape)
    word = (init & 0xFFFFFFFF) | multiplier << 32 | shift << 49 | spare << 55
    blob[:, 0] = word.astype(np.int64).view(np.uint8).reshape(shape.groups, ROW_BYTES)
    return blob.reshape(-1, ROW_BYTES)


def record(bench: Engine, shape: Shape, flags: int, style: int = 0, table: int = 0) -> Any:
    """An instruction with random places in the memories; its blob is put in the ring, from a row behind ``table``."""
    rng, config = bench.rng, bench.config
    below = lambda limit: int(rng.integers(limit))  # noqa: E731
    first, last = shape.reads
    fields: dict[str, int] = {"flags": flags, "t_row": table, "y_zero": below(256) - 128}
    if flags & Flag.WIDE:
        fields["y_zero"] = below(5000) - 2500
    pads = rng.permutation(config.pads)
    ring = last - first + below(3)
    x_group0 = below(3)
    plane = plane_rows(ring, shape.width) + below(2)
    room = config.pad_depth - (x_group0 + shape.groups) * plane
    assert room >= 0, shape
    fields |= {"x_pad": int(pads[0]), "x_base": below(room + 1), "x_plane": plane, "x_width": shape.width}
    fields |= {"x_ring": ring, "x_groups": x_group0 + shape.groups, "x_cols": shape.width, "x_height": shape.height}
    fields |= {"x_first": first, "x_slot": below(ring), "x_zero": below(256) - 128}
    ring = shape.rows + below(3)
    width = shape.columns + below(3)
    plane = plane_rows(ring, width) + below(2)
    room = config.pad_depth - (x_group0 + shape.groups) * plane
    assert room >= 0, shape
    fields |= {"y_pad": int(pads[1]), "y_base": below(room + 1), "y_plane": plane, "y_width": width}
    fields |= {"y_ring": ring, "y_slot": below(ring), "y_row0": shape.row0, "y_rows": shape.rows}
    fields |= {
        "y_cols": shape.columns,
        "y_groups": shape.groups,
        "y_group0": x_group0,
        "y_height": shape.row0 + shape.rows,
    }
    fields |= {
        "kernel_h": shape.kernel[0],
        "kernel_w": shape.kernel[1],
        "pad_top": shape.pads[0],
        "pad_left": shape.pads[1],
    }
    fields |= {"stride_h": shape.stride[0], "stride_w": shape.stride[1]}
    blob = weights(rng, shape, style)
    fields["w_row"] = 64 + below(config.ring_rows - 64 - len(blob) + 1)
    bench.ring[fields["w_row"] :][: len(blob)] = blob
    return instruction(Opcode.DEPTHWISE, **fields)


def random_shape(bench: Engine) -> Shape:
    """Any shape for which the pads have room."""
    rng = bench.rng
    below = lambda limit: int(rng.integers(limit))  # noqa: E731
    while True:
        kernel = (1 + below(5), 1 + below(5)) if below(2) else (3, 3)
        stride = (1 + below(2), 1 + below(2))
        pads = (below(kernel[0]), below(kernel[1]))
        columns = 1 + below((4, 12, 34, 90)[below(4)])
        shape = Shape(kernel, stride, pads, columns, 1 + below(9), 1 + below(3), below(4))
        edge = [(0, -1, -below(9), below(k))[below(4)] for k in kernel]
        shape = replace(shape, below=edge[0], right=edge[1])
        size = max(
            plane_rows(shape.reads[1] - shape.reads[0] + 2, shape.width), plane_rows(shape.rows + 2, columns + 2)
        )
        last = (shape.row0 + shape.rows - 1) * stride[0] - pads[0]
        inside = last < shape.height and (columns - 1) * stride[1] - pads[1] < shape.width
        if (3 + shape.groups) * (size + 1) < bench.config.pad_depth and inside:
            return shape


async def start(dut: Any) -> Engine:
    rng = np.random.default_rng(SEED)
    bench = Engine(dut, rng, limit=4000)
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
        bench.ring[:64] = rng.integers(0, 256, (64, ROW_BYTES), np.uint8)
        if rng.random() < 0.2:
            for machine in bench.machines:
                machine.pads[:] = rng.choice([-128, 127], machine.pads.shape) if rng.random() < 0.5 else -128
        batch: list[Command] = []
        held = 0  # flags of the table that the engine holds
        table = 0
        shape = random_shape(bench)
        used: list[tuple[int, int]] = []
        for _ in range(int(rng.integers(1, 5))):
            if rng.random() < 0.7:
                shape = random_shape(bench)
            flags = int(rng.choice([0, Flag.TABLE, Flag.TABLE, Flag.TABLE | Flag.WIDE]))
            retain = bool(flags) and flags == held and rng.random() < 0.7
            if flags and not retain:
                table, held = int(rng.integers(64 - 32)), flags
            new = record(bench, shape, flags, int(rng.choice([0, 0, 1, 2])), table)
            first = int(new["w_row"])
            span = first, first + shape.groups * (1 + -(-shape.kernel[0] * shape.kernel[1] // 8))
            if any(a < span[1] and span[0] < b for a, b in used):  # it lies on the weights of one before
                await bench.run(batch)
                batch, used = [], []
            used.append(span)
            slots = range(bench.config.slots) if rng.random() < 0.5 else [int(rng.integers(bench.config.slots))]
            for n, slot in enumerate(slots):
                batch.append(Command(new, slot, retain=retain or (n > 0 and bool(flags))))
        await bench.run(batch)


@cocotb.test()
async def cycles(dut: Any) -> None:
    """Commands of one shape take the cycles of the header, and a constant."""
    bench = await start(dut)
    shapes = [
        Shape(columns=28, rows=14, groups=2, below=1, right=1),
        Shape(columns=14, rows=14, groups=4, below=1, right=1),
        Shape(columns=7, rows=7, groups=6, below=1, right=1),
        Shape(stride=(2, 2), columns=14, rows=14, groups=2),
        Shape(stride=(2, 2), columns=7, rows=7, groups=6),
        Shape((5, 5), pads=(2, 2), groups=3, below=2, right=2),
        Shape((5, 5), pads=(2, 2), columns=7, rows=7, groups=4, below=2, right=2),
        Shape((5, 5), (2, 2), pads=(2, 2), columns=7, rows=7, groups=2, below=1, right=1),
        Shape((1, 1), pads=(0, 0), columns=28, rows=10),
        Shape(columns=112, rows=4, groups=1, right=1),
    ]
    for shape in shapes:
        new = record(bench, shape, 0)
        batch = [Command(new, slot) for slot in (0, 1)]
        await bench.run(batch)
        each = batch[1].done - batch[0].done
        expected = shape.cycles
        dut._log.info("%s: %d cycles, then %d; passes and reads %d", shape, batch[0].cycles, each, expected)
        assert batch[0].cycles <= expected + 80 and each <= expected + 30, f"{shape}: {expected} cycles expected"
