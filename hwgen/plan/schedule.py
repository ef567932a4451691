# SPDX-License-Identifier: Apache-2.0
"""Order of execution: segments of kernels, each run in row tiles, depth first.

A segment ``[start, end)`` of consecutive kernels runs in steps; each step makes ``rows`` more rows of its last kernel.
What that needs of the kernels before is propagated backwards (window, stride, padding), and each kernel makes the rows
that are missing. A tensor that lives inside the segment only keeps a ring of rows; its capacity is found by playing
the schedule. Tensors that another segment reads are kept whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hwgen.plan.kernel import Kernel


@dataclass(frozen=True)
class Segment:
    """Kernels ``start .. end - 1`` in steps of ``rows`` output rows of the last one."""

    start: int
    end: int
    rows: int


@dataclass(frozen=True)
class Step:
    """Kernel ``kernel`` makes rows ``row0 .. row0 + rows - 1``."""

    kernel: int
    row0: int
    rows: int


@dataclass(frozen=True)
class Tiling:
    """A played segment: its steps in order, and the ring (rows) of every tensor that it writes."""

    segment: Segment
    steps: tuple[Step, ...]
    rings: dict[str, int]


def last_readers(kernels: Sequence[Kernel], output: str) -> dict[str, int]:
    """Index of the last kernel that reads each tensor; the graph's output is read by the store, after all kernels."""
    last = {k.y: k.index for k in kernels}  # a tensor nobody reads dies with its writer
    for kernel in kernels:
        for name in (*kernel.xs, *([kernel.residual] if kernel.residual else [])):
            last[name] = kernel.index
    last[output] = len(kernels)
    return last


def play(kernels: Sequence[Kernel], segment: Segment, last: dict[str, int]) -> Tiling:
    """Run the segment's schedule on row counters; pure bookkeeping, O(steps x kernels)."""
    members = kernels[segment.start : segment.end]
    if len(members) == 1 and segment.rows >= members[0].height:
        only = members[0]
        return Tiling(segment, (Step(only.index, 0, only.height),), {only.y: only.height})
    readers: dict[str, list[tuple[Kernel, bool]]] = {k.y: [] for k in members}
    for k in members:
        for x in k.xs:
            if x in readers:
                readers[x].append((k, False))
        if k.residual in readers:
            readers[k.residual].append((k, True))
    done = {k.index: 0 for k in members}
    ring = {k.y: 1 for k in members}
    steps: list[Step] = []
    final = members[-1]
    count = -(-final.height // segment.rows)
    for number in range(count):
        need = _needs(members, readers, min((number + 1) * segment.rows, final.height), number, count)
        for k in members:
            row0, row1 = done[k.index], need[k.index]
            if row1 <= row0:
                continue
            steps.append(Step(k.index, row0, row1 - row0))
            oldest = row0
            for reader, residual in readers[k.y]:
                position = done[reader.index]
                if position < reader.height:
                    first = position if residual else reader.input_rows(position, position + 1)[0]
                    oldest = min(oldest, first)
            ring[k.y] = max(ring[k.y], row1 - oldest)
            done[k.index] = row1
    for k in members:
        if last[k.y] >= segment.end:
            ring[k.y] = k.height
        ring[k.y] = min(ring[k.y], k.height)
    return Tiling(segment, tuple(steps), ring)


def _needs(
    members: Sequence[Kernel],
    readers: dict[str, list[tuple[Kernel, bool]]],
    target: int,
    number: int,
    count: int,
) -> dict[int, int]:
    """Rows that each kernel must have made at the end of a step."""
    need: dict[int, int] = {}
    for k in reversed(members):
        if number == count - 1:
            need[k.index] = k.height  # what no window reads is made too: every tensor is complete in the end
        elif k is members[-1]:
            need[k.index] = target
        elif not readers[k.y]:
            need[k.index] = k.height * (number + 1) // count
        else:
            ends = [
                need[reader.index] if residual else reader.input_rows(0, need[reader.index])[1]
                for reader, residual in readers[k.y]
                if need[reader.index] > 0
            ]
            need[k.index] = max(ends, default=0)
    return need


def pieces(kernel: Kernel, step: Step, rings: dict[str, int], heights: dict[str, int]) -> list[tuple[int, int, bool]]:
    """``(row0, rows, flat)`` rectangles of a step: a pointwise kernel is cut where one of its operands wraps in its
    ring, so that each piece is one long row of pixels; others keep their rows."""
    if not kernel.pointwise:
        return [(step.row0, step.rows, False)]
    names = (kernel.xs[0], kernel.y, *([kernel.residual] if kernel.residual else []))
    limit = max(0xFFFF // kernel.width, 1)
    result = []
    row, end = step.row0, step.row0 + step.rows
    while row < end:
        size = min(end - row, limit)
        for name in names:
            ring = rings.get(name, heights[name])
            size = min(size, ring - row % ring)
        result.append((row, size, True))
        row += size
    return result
