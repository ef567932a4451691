# SPDX-License-Identifier: Apache-2.0
"""Cycles of the machine in SystemVerilog: of each instruction, and of a whole Program with its queues and waits.

The formulas are those in the headers of templates/rtl/*_engine.sv; docs/performance.md compares the result with the RTL
simulation. An instruction has three parts: ``lead`` until the part of its engine that is busy longest can begin,
``main`` in that part, ``tail`` until it is complete. The next one's lead overlaps main and tail of the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from hwgen.errors import InternalError
from hwgen.plan.program import INSTRUCTION, LANES, ROW_BYTES, Config, Flag, Opcode, Program, Queue, queues

Found = TypeVar("Found")

MEMORY_LATENCY = 60
"""Cycles from an address to the first data."""
MEMORY_BYTES = 64
"""Bytes a cycle over all ports."""
SETTLE = 8
"""Cycles from ``done`` until what was written can be read (dispatcher: WRITE_SETTLE); 2 for WEIGHTS, HEAD and STORE."""
ISSUE = 3
"""From a met wait to the command in the engine."""
WHOLE = frozenset((Queue.MLP, Queue.STORE))
"""Queues whose instruction begins when the one before is complete, not only its main part."""
EARLY = 30
"""Cycles before the end of its epilogue in which a half of the array's accumulators is free again."""
START = 120
"""From the start of the machine to the first command: header and first records are read."""


Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Cycles:
    """Of one instruction."""

    lead: int
    main: int
    tail: int
    after: int = field(default=0, compare=False)
    """CONV: cycles of its epilogue, which begins when that of the instruction before is through."""

    @property
    def alone(self) -> int:
        return self.lead + self.main + self.tail

    def ends(self, begin: Number, before: Number) -> tuple[Number, Number]:
        """Where the main part begins at ``begin`` and the instruction before it in its engine ends at ``before``: when
        main part and instruction end. A main part that is ahead of its epilogue waits: sums have two halves."""
        end, epilogue = begin + self.main + self.tail, before + self.after
        end = epilogue if epilogue > end else end
        return end - self.tail if self.after else begin + self.main, end


def cycles(record: Any, config: Config) -> Cycles:
    """What one instruction takes where memory and ring answer at once. Raises InternalError for an unknown opcode."""
    return by_opcode(_CYCLES, record, config)


def by_opcode(
    formulas: Mapping[Opcode, Callable[[SimpleNamespace, Config], Found]], record: Any, config: Config
) -> Found:
    """What the formula of an instruction's opcode gives. Raises InternalError for an unknown opcode."""
    i = SimpleNamespace(**dict(zip(INSTRUCTION.names or (), record.tolist(), strict=True)))
    find = formulas.get(i.opcode)
    if find is None:
        raise InternalError(f"opcode {i.opcode}")
    return find(i, config)


def table_rows(i: SimpleNamespace) -> int:
    """Rows of a table that must be loaded."""
    if i.flags & Flag.RETAIN or not i.flags & Flag.TABLE:
        return 0
    return (4096 if i.flags & Flag.WIDE else 256) // ROW_BYTES


def _conv(i: SimpleNamespace, config: Config) -> Cycles:
    tile, pixels = config.blocks >> i.mode, 1 << i.mode
    steps = i.kernel_h * i.kernel_w * i.ci_groups * (1 if i.flags & Flag.PACKED else 2)
    add = bool(i.flags & Flag.ADD)
    chunk = config.residual_words if add else min(pixels, config.requantize_words)
    chunks = -(-pixels // chunk)
    whole, rest = divmod(i.y_rows * -(-i.y_cols // pixels), config.acc_groups)
    runs = [config.acc_groups] * whole + [rest] * (rest > 0)
    array = after = 0  # ends of the array's and the epilogue's part, and what the epilogue itself takes
    epilogue = 25 + 32 * table_rows(i) if table_rows(i) else 0
    halves = [0, 0]  # when a half of the accumulators is free
    turn = 0
    for first in range(0, i.y_groups, tile):
        groups = min(tile, i.y_groups - first)
        for n in runs:
            array = max(array, halves[turn]) + steps * max(n, 2 * tile, 4)
            epilogue = max(epilogue, array + 35) + n * groups * chunks + 1
            after += n * groups * chunks + 1
            halves[turn] = max(array + 37, epilogue - EARLY)  # new sums come later than old ones are read
            turn ^= 1
    after += 25 + 32 * table_rows(i) if table_rows(i) else 2
    return Cycles(35, array, epilogue - array + (23 if add else 15), after)


def _depthwise(i: SimpleNamespace, config: Config) -> Cycles:
    h, w = i.kernel_h, i.kernel_w
    if w <= 3 and h <= 3 and i.stride_w == 2:
        chunks, passes, stride, reads = 2 * -(-i.y_cols // 7), 1, 1, 1
    elif w <= 3:
        chunks, passes, stride, reads = -(-i.y_cols // 4), -(-h // 3), i.stride_h, 1
    else:
        chunks, passes, stride, reads = -(-i.y_cols // 4), -(-h // 2) if w == 4 else -(-5 * h // 9), i.stride_h, 3
    rows = i.y_rows + (i.pad_top if i.x_first else 0)  # a tile below another reads the rows above it first
    group = rows * chunks * max(passes, stride * reads)
    table = {0: 0, 2: 52, 32: 1012}[table_rows(i)]
    return Cycles(35 + table, i.y_groups * max(group, h * w + 1), 25)


def _eltwise(i: SimpleNamespace, config: Config) -> Cycles:
    words = i.y_groups * i.y_rows * -(-i.y_cols // config.residual_words)
    return Cycles(12 + (75 if table_rows(i) else 0), words, 19)


def _attention(i: SimpleNamespace, config: Config) -> Cycles:
    depth, p, units = config.head_dim // LANES, i.y_rows * i.y_cols, i.y_groups
    digits = config.attention_digits
    start, tile, more = (419, 192, 32 + digits) if i.flags & Flag.QUANTIZED else (106, 16 * digits, 28)
    first, second = depth * (p + p % 2 + 15), digits * depth * p
    main = units * first + (units - 1) * max(second, tile * depth + more) + second
    return Cycles(start + (tile + digits) * depth, main, 0)


def _input(i: SimpleNamespace, config: Config) -> Cycles:
    table = 64 * i.channels if i.flags & Flag.IMAGE and not i.flags & Flag.RETAIN else 0
    return Cycles(25 + MEMORY_LATENCY + table, i.y_rows * (i.y_cols + 4) + 7, 5)


def _pool(i: SimpleNamespace, config: Config) -> Cycles:
    steps = LANES // config.mlp_outputs * -(-i.x_height * i.x_cols // 4)
    return Cycles(0, i.y_groups * max(steps, 17) + 60 + i.y_group0.bit_length() + i.x_cols.bit_length(), 0)


def _linear(i: SimpleNamespace, config: Config) -> Cycles:
    steps = LANES // config.mlp_outputs * i.ci_groups + (config.mlp_outputs == 8)
    return Cycles(0, i.y_groups * max(steps, 17) + 55 + 32 * table_rows(i), 0)


def _layer_norm(i: SimpleNamespace, config: Config) -> Cycles:
    return Cycles(0, (LANES // config.mlp_outputs + 17) * i.y_groups + 160 + 32 * table_rows(i), 0)


def _store(i: SimpleNamespace, config: Config) -> Cycles:
    return Cycles(20, i.x_groups * i.x_height * i.x_cols, MEMORY_LATENCY + 60)


def _load(i: SimpleNamespace, config: Config) -> Cycles:
    return Cycles(MEMORY_LATENCY + 10, 2 * i.w_rows, 3)


_CYCLES = {
    Opcode.CONV: _conv,
    Opcode.DEPTHWISE: _depthwise,
    Opcode.ELTWISE: _eltwise,
    Opcode.ATTENTION: _attention,
    Opcode.LOAD_INPUT: _input,
    Opcode.POOL: _pool,
    Opcode.LINEAR: _linear,
    Opcode.LAYER_NORM: _layer_norm,
    Opcode.STORE: _store,
    Opcode.LOAD_WEIGHTS: _load,
}


@dataclass(frozen=True)
class Timeline:
    """When each frame's result was complete, and the busy cycles of each queue."""

    done: tuple[int, ...]
    busy: tuple[int, ...]

    def interval(self, skip: int = 4) -> float:
        """Cycles a frame behind the first ``skip``. Frames of a group end together, so that only whole groups give the
        steady state: ``skip`` and the number of frames must be multiples of the slots."""
        return (self.done[-1] - self.done[skip - 1]) / (len(self.done) - skip)


def simulate(program: Program, frames: int, cycles: Callable[[Any, Config], Cycles] = cycles) -> Timeline:
    """Play ``frames`` frames on the queues, each instruction with the ``cycles`` of a machine. Raises InternalError if
    the waits can never be met."""
    found = queues(program.instructions, program.config)
    costs = [cycles(record, program.config) for record in program.instructions]
    return play(program.instructions, found, costs, program.config.slots, frames)


def play(
    records: npt.NDArray[Any], found: npt.NDArray[np.int64], costs: Sequence[Cycles], slots: int, frames: int
) -> Timeline:
    """As :func:`simulate`, with the cycles of each instruction given."""
    members = [np.flatnonzero(found == q).tolist() for q in range(len(Queue))]
    waits, masks, users = records["waits"].tolist(), records["wait_mask"].tolist(), records["slots"].tolist()
    needs = [[(e, w[e]) for e in range(len(Queue)) if m >> e & 1] for w, m in zip(waits, masks, strict=True)]
    stores = set(np.flatnonzero(records["opcode"] == Opcode.STORE).tolist())
    groups = -(-frames // slots)
    present = [(1 << min(slots, frames - group * slots)) - 1 for group in range(groups)]  # slots with a frame
    totals = [groups * len(m) for m in members]
    complete: list[list[int]] = [[] for _ in Queue]  # when each instruction's effect can be seen
    issued = [START] * len(Queue)
    main_end, ended = [START] * len(Queue), [START] * len(Queue)
    busy = [0] * len(Queue)
    done: list[int] = []
    memory = START
    heads: list[tuple[int, int, int]] = []  # heap: when its main part may begin, queue, when its engine may have it
    blocked: dict[tuple[int, int], list[int]] = {}  # queues that wait for so many complete instructions of another

    def offer(q: int) -> None:
        """The next instruction of a queue joins the heads; while it is not known when it can, it is blocked."""
        position = len(complete[q])
        if position == totals[q]:
            return
        group, number = divmod(position, len(members[q]))
        index = members[q][number]
        last = complete[q][-1] if complete[q] else START
        if users[index] & present[group]:
            at = last if q in WHOLE else issued[q]
            for e, wait in needs[index]:
                count = group * len(members[e]) + wait
                if count > len(complete[e]):
                    blocked.setdefault((e, count), []).append(q)
                    return
                if count > 0:
                    at = max(at, complete[e][count - 1])
            at += ISSUE
        else:
            at = last  # its frames do not exist
        heappush(heads, (max(at, main_end[q]), q, at))

    for q in range(len(Queue)):
        offer(q)
    while heads:
        _, q, at = heappop(heads)
        group, number = divmod(len(complete[q]), len(members[q]))
        index = members[q][number]
        if users[index] & present[group]:
            c = costs[index]
            issued[q] = at
            begin = max(at + c.lead, main_end[q])
            if q in (Queue.WEIGHTS, Queue.HEAD):
                begin = max(begin, memory)
                memory = begin + c.main
            main_end[q], end = c.ends(begin, ended[q])
            busy[q] += end - max(at, ended[q])
            ended[q] = end
            complete[q].append(end + (SETTLE if Queue.INPUT <= q <= Queue.MLP else 2))
            if index in stores:
                done.append(end)
        else:
            complete[q].append(at)
        for other in (q, *blocked.pop((q, len(complete[q])), ())):
            offer(other)
    for q, own in enumerate(members):
        if len(complete[q]) < totals[q]:
            raise InternalError(f"instruction {own[len(complete[q]) % len(own)]} waits for ever")
    return Timeline(tuple(sorted(done)), tuple(busy))
