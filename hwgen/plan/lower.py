# SPDX-License-Identifier: Apache-2.0
"""From a played segment to actions (one for each instruction), with array modes, weight chunks and cycles.

The search compares many more segments than it takes: it drafts them, and lowers those that it takes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hwgen import ir
from hwgen.plan import cost
from hwgen.plan.kernel import Kernel
from hwgen.plan.program import BANKS, LANES, Config
from hwgen.plan.schedule import Tiling, pieces


@dataclass(frozen=True)
class Chunk:
    """Output groups ``group0 .. group0 + groups`` and their blob: ``rows`` ring rows, the table at ``table``."""

    group0: int
    groups: int
    rows: int
    table: int


@dataclass(frozen=True)
class Weights:
    """How a kernel's constants are cut. ``mode``: log2 of the array's pixels (CONV), else 0."""

    mode: int
    chunks: tuple[Chunk, ...]

    @property
    def rows(self) -> int:
        return sum(c.rows for c in self.chunks)


@dataclass(frozen=True)
class Action:
    """One instruction to be: ``load`` (weights of a chunk) or ``run`` (a chunk's groups, a rectangle of rows)."""

    load: bool
    kernel: int
    chunk: int
    cycles: int
    row0: int = 0
    rows: int = 0
    flat: bool = False
    part: int = 0
    """ATTENTION: which of its inputs."""
    resident: bool = False
    """The chunk stays in the ring until the segment ends."""


Rectangle = tuple[int, int, bool]
"""First row, rows, and whether they are one long row of pixels."""
Shapes = tuple[tuple[int, bool, int], ...]
"""Rows of a kernel's rectangles, whether they are one long row of pixels, and how many of them there are."""


@dataclass(frozen=True)
class Rectangles:
    """The rectangles of a played segment. They are the same on all machines."""

    tiling: Tiling
    steps: tuple[tuple[int, Sequence[Rectangle]], ...]
    """Kernel and rectangles of each step"""
    shapes: dict[int, Shapes]
    visits: dict[int, int]
    """Steps of each kernel"""


@dataclass(frozen=True)
class Work:
    """A kernel's work in a segment on a machine."""

    weights: Weights
    runs: int
    """Cycles of all of its instructions, loads aside"""
    loads: int
    """Cycles to load its constants once"""


@dataclass(frozen=True)
class Draft:
    """What the search compares of a segment on a machine."""

    rectangles: Rectangles
    weights: dict[int, Weights]
    resident: frozenset[int]
    """Kernels whose constants stay in the ring while the segment steps."""
    cycles: int


@dataclass(frozen=True)
class Lowered:
    """A segment ready for assembly."""

    tiling: Tiling
    weights: dict[int, Weights]
    actions: tuple[Action, ...]
    cycles: int
    resident_rows: int


def modes(kernel: Kernel, blocks: int) -> list[int]:
    """Array modes that run this convolution: TP = 1 << mode pixels by T = blocks / TP output groups.

    ``stride_w * TP`` words lie in different banks only up to 16; the T groups of a tile share their input groups.
    """
    result = []
    for mode in range((min(4, blocks)).bit_length() - 1, 5):
        pixels = 1 << mode
        tile = blocks // pixels
        if tile < 1 or kernel.stride[1] * pixels > BANKS:
            continue
        if kernel.og_per_group and tile > 1 and kernel.og_per_group % tile:
            continue
        result.append(mode)
    return result


def tile_rows(kernel: Kernel, tile: int) -> int:
    """Ring rows of the smallest separable part of a kernel's constants, without its table."""
    if kernel.kind == "conv":
        return tile + kernel.taps * kernel.ci_groups * tile * 2
    if kernel.kind == "depthwise":
        return 1 + -(-kernel.taps // 8)
    if kernel.kind == "linear":
        return 1 + kernel.ci_groups * 2
    if kernel.kind == "layer_norm":
        return 1 + kernel.groups
    if kernel.kind == "pool":
        return 1
    if isinstance(kernel.op, ir.Attention):
        return 9 if kernel.op.quantized is not None else 1
    return 0


def cut(kernel: Kernel, tile: int, mode: int, ring_rows: int) -> Weights | None:
    """Chunks of at most half the ring (or one output tile, if that is larger), so that the next one can be loaded while
    the last one is in use; None if a tile exceeds the ring."""
    part = tile_rows(kernel, tile)
    if kernel.kind not in ("conv", "depthwise", "linear"):
        rows = part + kernel.table
        return Weights(mode, (Chunk(0, kernel.groups, rows, part),)) if rows <= ring_rows else None
    if part + kernel.table > ring_rows:
        return None
    tiles = -(-kernel.groups // tile)
    each = max(1, (ring_rows // 2 - kernel.table) // part)
    if tiles * part + kernel.table <= ring_rows // 2:
        each = tiles
    count = -(-tiles // each)
    each = -(-tiles // count)  # even chunks
    chunks = []
    for first in range(0, tiles, each):
        here = min(each, tiles - first)
        groups = min(here * tile, kernel.groups - first * tile)
        chunks.append(Chunk(first * tile, groups, here * part + kernel.table, here * part))
    return Weights(mode, tuple(chunks))


def run_cycles(kernel: Kernel, config: Config, mode: int, groups: int, rows: int, flat: bool) -> int:
    """Cycles of one instruction that writes ``rows`` rows of ``groups`` channel groups."""
    width, table = kernel.width, kernel.table
    if kernel.kind == "conv":
        reads = kernel.taps * kernel.ci_groups
        shape = (1, rows * width) if flat else (rows, width)
        add = kernel.residual is not None
        machine = config.blocks, config.epilogue_words, config.acc_groups
        return cost.conv_cycles(*machine, mode, kernel.packed, reads, groups, *shape, table, add)
    if kernel.kind == "depthwise":
        return cost.depthwise_cycles(groups, rows, width, kernel.window, kernel.stride, table)
    if kernel.kind == "eltwise":
        shape = (1, rows * width) if flat else (rows, width)
        return cost.eltwise_cycles(groups, *shape, table)
    if isinstance(kernel.op, ir.Input):
        channels, _, image_width = kernel.op.image
        words = -(-image_width * channels // 16)
        return cost.input_cycles(rows, kernel.op.block, words, width, channels if table else 0)
    if isinstance(kernel.op, ir.Attention):
        dims = kernel.op.head_dim // LANES
        quantized = kernel.op.quantized is not None
        return cost.attention_cycles(groups // dims, dims, kernel.height * width, quantized)
    if kernel.kind == "pool":
        return cost.pool_cycles(groups, kernel.x_shape[1] * kernel.x_shape[2])
    if kernel.kind == "linear":
        return cost.linear_cycles(groups, kernel.ci_groups, table)
    return cost.layer_norm_cycles(groups, table)


def _all_runs(kernel: Kernel, shapes: Shapes, config: Config, weights: Weights) -> int:
    """Cycles of all of a kernel's instructions in a segment, loads aside."""
    return sum(
        count * parts * run_cycles(kernel, config, weights.mode, groups, rows, flat)
        for parts, groups in (_parts(kernel, chunk) for chunk in weights.chunks)
        for rows, flat, count in shapes
    )


def _all_loads(weights: Weights, ddr_rate: float) -> int:
    """Cycles to load a kernel's constants once."""
    return sum(cost.load_cycles(c.rows, ddr_rate) for c in weights.chunks if c.rows)


def _parts(kernel: Kernel, chunk: Chunk) -> tuple[int, int]:
    """Instructions for a rectangle of a chunk, and output groups of each: an attention has one for each input. These
    may differ in heads; the share of each only matters for the estimate."""
    parts = max(len(kernel.xs), 1) if kernel.kind == "attention" else 1
    return parts, -(-chunk.groups // parts)


def choose_weights(kernel: Kernel, shapes: Shapes, config: Config, ddr_rate: float) -> Weights | None:
    """The mode with the fewest cycles for these rectangles (the smaller TP where equal), and its chunks."""
    if kernel.kind != "conv":
        return cut(kernel, 1, 0, config.head_rows if kernel.head else config.ring_rows)
    best: tuple[int, Weights] | None = None
    for mode in modes(kernel, config.blocks):
        weights = cut(kernel, config.blocks >> mode, mode, config.ring_rows)
        if weights is None:
            continue
        cycles = _all_runs(kernel, shapes, config, weights) + _all_loads(weights, ddr_rate)
        if best is None or cycles < best[0]:
            best = cycles, weights
    return None if best is None else best[1]


def cut_rows(kernels: Sequence[Kernel], tiling: Tiling, heights: dict[str, int]) -> Rectangles:
    """The rectangles of a segment's steps."""
    steps = tuple((s.kernel, pieces(kernels[s.kernel], s, tiling.rings, heights)) for s in tiling.steps)
    counts: dict[int, Counter[tuple[int, bool]]] = {
        index: Counter() for index in range(tiling.segment.start, tiling.segment.end)
    }
    for index, step in steps:
        counts[index].update((rows, flat) for _, rows, flat in step)
    shapes = {index: tuple((*shape, n) for shape, n in sorted(found.items())) for index, found in counts.items()}
    return Rectangles(tiling, steps, shapes, Counter(index for index, _ in steps))


def work(kernel: Kernel, shapes: Shapes, config: Config, ddr_rate: float) -> Work | None:
    """Weights and cycles of a kernel in a segment; None where its constants cannot pass through the ring."""
    wide = replace(config, epilogue_words=config.requantize_words)  # modes for the epilogue of the SystemVerilog
    weights = choose_weights(kernel, shapes, wide, ddr_rate)
    if weights is None:
        return None
    return Work(weights, _all_runs(kernel, shapes, config, weights), _all_loads(weights, ddr_rate))


def draft(rectangles: Rectangles, works: dict[int, Work], ring_rows: int) -> Draft:
    """A segment whose kernels do this work."""
    weights = {index: work.weights for index, work in works.items()}
    single = len(rectangles.steps) == len(works)  # each kernel runs once: nothing to keep
    resident = frozenset() if single else _residents(weights, ring_rows)
    cycles = sum(w.runs + w.loads * (1 if i in resident else rectangles.visits[i]) for i, w in works.items())
    return Draft(rectangles, weights, resident, cycles)


def lower(kernels: Sequence[Kernel], drafted: Draft, config: Config, ddr_rate: float) -> Lowered:
    """Actions of a segment."""
    weights, resident = drafted.weights, drafted.resident
    actions: list[Action] = []
    for index in sorted(resident):
        actions += [_load(index, i, c, ddr_rate, True) for i, c in enumerate(weights[index].chunks) if c.rows]
    for index, step in drafted.rectangles.steps:
        actions += _runs(kernels[index], step, weights[index], config, ddr_rate, index in resident)
    rows = sum(weights[i].rows for i in resident)
    return Lowered(drafted.rectangles.tiling, weights, tuple(actions), drafted.cycles, rows)


def _residents(weights: dict[int, Weights], ring_rows: int) -> frozenset[int]:
    """Kernels whose constants stay in the ring while a segment steps: all, or the smallest, leaving room for the
    largest chunk of the others, which are loaded again in each step."""
    chosen: set[int] = set()
    used = 0
    order = sorted(weights, key=lambda i: (weights[i].rows, i))
    for position, index in enumerate(order):
        rest = max((c.rows for i in order[position + 1 :] for c in weights[i].chunks), default=0)
        if used + weights[index].rows + rest > ring_rows:
            break
        chosen.add(index)
        used += weights[index].rows
    return frozenset(chosen)


def _load(kernel: int, number: int, chunk: Chunk, ddr_rate: float, resident: bool) -> Action:
    return Action(True, kernel, number, cost.load_cycles(chunk.rows, ddr_rate), resident=resident)


def _runs(
    kernel: Kernel,
    rectangles: Sequence[Rectangle],
    weights: Weights,
    config: Config,
    ddr_rate: float,
    resident: bool,
) -> list[Action]:
    actions = []
    for number, chunk in enumerate(weights.chunks):
        if chunk.rows and not resident:
            actions.append(_load(kernel.index, number, chunk, ddr_rate, False))
        parts, groups = _parts(kernel, chunk)
        for row0, rows, flat in rectangles:
            cycles = run_cycles(kernel, config, weights.mode, groups, rows, flat)
            actions += [Action(False, kernel.index, number, cycles, row0, rows, flat, part) for part in range(parts)]
    return actions
