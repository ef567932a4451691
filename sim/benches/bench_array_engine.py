# SPDX-License-Identifier: Apache-2.0
"""array_engine.sv against the Program reference: random Programs, extreme commands back to back, cycles."""

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
STEPS = 200
"""Most taps * input groups: sums of so many products of extreme values stay below LIMIT."""
ROUND = 37
"""Cycles from the last pixel group of a run until its half of the accumulators can be used again, where the epilogue
has at most EARLY chunks to do."""
EARLY = 24
PREPARE, FIRST, TAIL = 20, 60, 40
"""Cycles of a lone command: preparation; first rows and the way to the accumulators; epilogue."""


@dataclass(frozen=True)
class Shape:
    """A CONV of a row tile."""

    mode: int = 2
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int] = (0, 0)
    """Top, left."""
    rows: int = 4
    """Of y, in this tile."""
    columns: int = 8
    """Of y."""
    groups: int = 1
    """Of y."""
    inputs: int = 1
    """Input groups of an output group."""
    share: int = 0
    """Output groups that share their input groups; 0: all."""
    group0: int = 0
    row0: int = 0
    below: int = 0
    """Rows of the tile's last window that lie below the input; negative: rows of the input after that window."""
    right: int = 0
    """The same for columns."""
    packed: bool = True
    add: bool = False

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
    def steps(self) -> int:
        return self.kernel[0] * self.kernel[1] * self.inputs

    @property
    def x_groups(self) -> int:
        last = (self.group0 + self.groups - 1) // self.share if self.share else 0
        return (last + 1) * self.inputs

    def tile(self, blocks: int) -> int:
        """Channel groups of a tile."""
        return blocks >> self.mode

    def tiles(self, blocks: int) -> int:
        return -(-self.groups // self.tile(blocks))

    def blob_rows(self, blocks: int) -> int:
        return self.tiles(blocks) * self.tile(blocks) * (1 + 2 * self.steps)

    def runs(self, acc_groups: int) -> list[int]:
        """Pixel groups of the runs of a tile."""
        total = self.rows * -(-self.columns >> self.mode)
        return [min(acc_groups, total - n) for n in range(0, total, acc_groups)]

    def cycles(self, bench: Engine) -> tuple[int, int]:
        """Of the array and of the epilogue, as in the module's header."""
        c = bench.config
        tile, visits = self.tile(c.blocks), 1 if self.packed else 2
        runs = self.runs(c.acc_groups)
        chunk = c.residual_words if self.add else min(1 << self.mode, c.requantize_words, c.blocks)
        array = epilogue = 0
        for first in range(0, self.groups, tile):
            chunks = min(tile, self.groups - first) * ((1 << self.mode) // chunk)  # of a pixel group
            for n in runs:
                sums = self.steps * visits * max(n, 2 * tile, 4)
                held = sums + ROUND + max(0, n - EARLY * chunk // c.blocks) * chunks
                array += max(sums, -(-held // 2))
                epilogue += n * chunks + 1
        return array, epilogue


def blob(rng: np.random.Generator, shape: Shape, blocks: int, style: int) -> npt.NDArray[np.uint8]:
    """All tiles (rows, 128); style 0: random, 1 and 2: extreme values, which reach the largest sums."""
    tiles, tile = shape.tiles(blocks), shape.tile(blocks)
    low = -127 if shape.packed else -128
    weights = rng.integers(low, 128, (tiles, shape.steps * tile * 2 * ROW_BYTES))
    if style:
        weights[:] = low if style == 1 else rng.choice([low, 127], weights.shape)
    room = LIMIT - 1 - 128 * 128 * LANES * shape.steps
    init = rng.integers(-room, room + 1, (tiles, tile * LANES)) >> rng.integers(0, 26, (tiles, tile * LANES))
    if style:
        init = rng.choice([-room, room], init.shape)
    multiplier = rng.integers(1 << 16, 1 << 17, init.shape)
    shift = rng.integers(16, 48, init.shape) if style else rng.integers(20, 38, init.shape)
    word = (init & 0xFFFFFFFF) | multiplier << 32 | shift << 49 | rng.integers(0, 1 << 9, init.shape) << 55
    parts = word.view(np.uint8).reshape(tiles, -1), weights.astype(np.int8).view(np.uint8)
    return np.concatenate(parts, axis=1).reshape(-1, ROW_BYTES)


def record(
    bench: Engine, shape: Shape, w_row: int, flags: int = 0, style: int = 0, table: int = 0, most: int = 3
) -> Any:
    """An instruction with random places in the pads; its blob is put in the ring. ``most``: rows that a tensor has in
    its pad beside those of the tile."""
    rng, depth = bench.rng, bench.config.pad_depth

    def below(limit: int) -> int:
        return int(rng.integers(limit))

    first, last = shape.reads
    flat = shape.kernel == shape.stride == (1, 1) and shape.pads == (0, 0) and shape.row0 == 0 and below(2) == 0
    flat = flat and shape.below == shape.right == 0
    spare = 0 if flat else most
    x_ring = last - first + below(spare + 1)
    y_ring, r_ring = (shape.rows + below(spare + 1) for _ in range(2))
    y_width = shape.columns + (0 if flat else below(3))
    sizes = (x_ring, shape.width), (y_ring, y_width), (r_ring, y_width)
    x_plane, y_plane, r_plane = (plane_rows(*size) + below(2) for size in sizes)
    y_groups = shape.group0 + shape.groups
    need = max(shape.x_groups * x_plane, y_groups * y_plane, y_groups * r_plane)
    assert need <= depth, f"{shape} does not fit a pad"
    pads = rng.permutation(bench.config.pads)
    fields = {"mode": shape.mode, "t_row": table, "w_row": w_row}
    fields |= {"x_pad": pads[0], "x_base": below(depth - shape.x_groups * x_plane + 1), "x_plane": x_plane}
    fields |= {"x_groups": shape.x_groups, "x_cols": shape.width, "x_width": shape.width, "x_height": shape.height}
    fields |= {"x_ring": x_ring, "x_first": first, "x_slot": 0 if flat else below(x_ring), "x_zero": below(256) - 128}
    fields |= {"y_pad": pads[1], "y_base": below(depth - y_groups * y_plane + 1), "y_plane": y_plane, "y_ring": y_ring}
    fields |= {"y_groups": shape.groups, "y_group0": shape.group0, "y_cols": shape.columns, "y_width": y_width}
    fields |= {"y_rows": shape.rows, "y_row0": shape.row0, "y_slot": 0 if flat else below(y_ring)}
    fields |= {"y_height": shape.row0 + shape.rows, "ci_groups": shape.inputs, "og_per_group": shape.share}
    fields |= {"y_zero": below(5000) - 2500 if flags & Flag.WIDE else below(256) - 128}
    fields |= {"kernel_h": shape.kernel[0], "kernel_w": shape.kernel[1]}
    fields |= {"stride_h": shape.stride[0], "stride_w": shape.stride[1]}
    fields |= {"pad_top": shape.pads[0], "pad_left": shape.pads[1]}
    if shape.add:
        fields |= {"r_pad": pads[2], "r_base": below(depth - y_groups * r_plane + 1), "r_plane": r_plane}
        fields |= {"r_ring": r_ring}
        fields |= {"r_slot": 0 if flat else below(r_ring), "add_shift": 17 + below(7), "add_zero": below(256) - 128}
        ma, mb = 1 + below((1 << 20) - 1), 1 + below((1 << 20) - 1)
        fields |= {"add_ma": ma, "add_mb": mb, "add_constant": -(ma * (below(256) - 128) + mb * (below(256) - 128))}
    if flat:
        fields |= {"y_rows": 1, "y_cols": shape.rows * shape.columns, "x_cols": shape.rows * shape.columns}
    flags |= (Flag.PACKED if shape.packed else 0) | (Flag.ADD if shape.add else 0)
    rows = blob(rng, shape, bench.config.blocks, style)
    bench.ring[w_row : w_row + len(rows)] = rows
    return instruction(Opcode.CONV, flags=int(flags), **fields)


def random_shape(bench: Engine) -> Shape:
    """Any shape for which pads and ring have room."""
    rng, config = bench.rng, bench.config

    def below(limit: int) -> int:
        return int(rng.integers(limit))

    while True:
        mode = 2 + below(min(config.blocks.bit_length() - 3, 2) + 1)
        largest = (2, 2, 4, config.kernel_max)[below(4)]
        kernel = (1 + below(largest), 1 + below(largest))
        stride = 1 + below(4), 1 + below(min(4, 16 >> mode))
        pads = below(kernel[0]), below(kernel[1])
        if below(3) == 0:
            kernel, stride, pads = (1, 1), (1, 1), (0, 0)
        tile = config.blocks >> mode
        shape = Shape(mode, kernel, stride, pads, 1 + below(9), 1 + below((4, 20, 40)[below(3)]), 1 + below(4 * tile))
        edges = [(0, -1, -below(9), below(k))[below(4)] if k > 1 else 0 for k in kernel]
        shape = replace(shape, below=edges[0], right=edges[1], inputs=1 + below(4), row0=below(4), group0=below(3))
        if below(3) == 0:  # a tile reads one convolution group
            shape = replace(shape, share=tile * (1 + below(2)), group0=tile * below(3))
        shape = replace(shape, packed=below(4) > 0, add=below(3) == 0)
        last = (shape.row0 + shape.rows - 1) * stride[0] - pads[0], (shape.columns - 1) * stride[1] - pads[1]
        inside = last[0] < shape.height and last[1] < shape.width and shape.reads[0] < shape.reads[1]
        x_size = shape.x_groups * (1 + plane_rows(shape.reads[1] - shape.reads[0] + 3, shape.width))
        y_size = (shape.group0 + shape.groups) * (1 + plane_rows(shape.rows + 3, shape.columns + 2))
        fits = max(x_size, y_size) <= config.pad_depth and shape.steps <= STEPS
        if inside and fits and shape.blob_rows(config.blocks) <= config.ring_rows // 3:
            return shape


async def start(dut: Any) -> Engine:
    bench = Engine(dut, np.random.default_rng(SEED), limit=40_000)
    await bench.start()
    return bench


@cocotb.test()
async def programs(dut: Any) -> None:
    """Random Programs of one kernel, each instruction for every slot."""
    bench = await start(dut)
    for _ in range(TRANSACTIONS):
        bench.stall = float(bench.rng.choice([0.0, 0.3, 0.8]))
        bench.idle = float(bench.rng.choice([0.0, 0.5, 0.95]))
        await bench.run_case(case(Opcode.CONV, int(bench.rng.integers(1 << 30)), bench.config), [Opcode.CONV])


@cocotb.test()
async def commands(dut: Any) -> None:
    """Several commands without a pause: other shapes, tables kept and changed, extreme values."""
    bench = await start(dut)
    rng, config = bench.rng, bench.config
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
        for _ in range(int(rng.integers(1, 6))):
            if rng.random() < 0.7:
                shape = random_shape(bench)
            if w_row + shape.blob_rows(config.blocks) > config.ring_rows:
                break
            flags = int(rng.choice([0, 0, Flag.TABLE, Flag.TABLE | Flag.WIDE]))
            retain = bool(flags) and flags == held and rng.random() < 0.7
            if flags and not retain:
                table, held = int(rng.integers(TABLE_ROWS - 32)), flags
            new = record(bench, shape, w_row, flags, int(rng.choice([0, 0, 1, 2])), table)
            w_row += shape.blob_rows(config.blocks)
            slots = range(config.slots) if rng.random() < 0.5 else [int(rng.integers(config.slots))]
            for n, slot in enumerate(slots):
                batch.append(Command(new, slot, retain=retain or (n > 0 and bool(flags))))
        await bench.run(batch)


@cocotb.test()
async def epilogues(dut: Any) -> None:
    """Two commands at full speed with epilogues longer than their sums: a residual, then mostly none; tables."""
    bench = await start(dut)
    rng, config = bench.rng, bench.config
    mode = min(config.blocks.bit_length() - 1, 4)
    for _ in range(8):
        bench.ring[:TABLE_ROWS] = rng.integers(0, 256, (TABLE_ROWS, ROW_BYTES), np.uint8)
        batch, w_row = [], TABLE_ROWS
        for n in range(2):
            groups = int(rng.integers(1, 1 + 3 * config.acc_groups)) if n else 3 * config.acc_groups
            add = n == 0 or rng.random() < 0.2
            shape = Shape(mode, columns=groups << mode, rows=1, add=add)
            flags = int(rng.choice([0, Flag.TABLE, Flag.TABLE | Flag.WIDE]))
            new = record(bench, shape, w_row, flags, table=int(rng.integers(TABLE_ROWS - 32)), most=0)
            w_row += shape.blob_rows(config.blocks)
            batch.append(Command(new, n % config.slots))
        await bench.run(batch)


@cocotb.test()
async def cycles(dut: Any) -> None:
    """Commands of one shape take the cycles of the header: no cycle is lost between steps, runs and tiles."""
    bench = await start(dut)
    blocks, runs = bench.config.blocks, bench.config.acc_groups
    top = min(blocks.bit_length() - 1, 4)
    full = Shape(top, rows=1, columns=runs << top, inputs=8)
    shapes = [
        full,
        replace(full, groups=3),
        replace(full, columns=3 * runs << top, inputs=4),
        replace(full, inputs=2, packed=False),
        replace(full, inputs=1, groups=2),  # waits for the accumulators
        replace(full, inputs=2, add=True, groups=2),
        replace(full, mode=2, columns=runs << 2, groups=2 * blocks >> 2, inputs=8),
        replace(full, mode=2, columns=14, rows=3, kernel=(3, 3), pads=(1, 1), below=1, right=1, inputs=2),
    ]
    for shape in shapes:
        new = record(bench, shape, TABLE_ROWS, most=0)
        batch = [Command(new, slot % bench.config.slots) for slot in (0, 1, 0, 1)]
        await bench.run(batch)
        array, epilogue = shape.cycles(bench)
        each = (batch[3].done - batch[1].done) / 2
        dut._log.info("%s: %d cycles, then %.1f; array %d, epilogue %d", shape, batch[0].cycles, each, array, epilogue)
        lone = PREPARE + FIRST + array + TAIL + epilogue // len(shape.runs(runs)) // shape.tiles(blocks)
        assert each <= max(array + 2, epilogue + 4), f"{shape}: {each} cycles"
        assert batch[0].cycles <= max(lone, epilogue + FIRST + PREPARE + TAIL), f"{shape}: {batch[0].cycles} cycles"
