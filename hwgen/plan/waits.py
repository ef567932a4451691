# SPDX-License-Identifier: Apache-2.0
"""What each instruction waits for, so that queues may run at the same time (docs/program-format.md: Waits).

The sequential order of a group is played twice on the memories, with the number of the instruction that last read and
wrote each part of them; the second group gives the waits. Counts are relative to the group's start, so what an
instruction of the first group must have done comes out as zero or less.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.errors import InternalError
from hwgen.plan.layout import TAP_ROWS, convolution_row_count, unstripe
from hwgen.plan.program import INSTRUCTION, LANES, ROW_BYTES, VECTOR, Config, Flag, Opcode, Queue, queues

COUNT_MAX = 8000
"""Instructions of a queue: counts of two groups fit 16 bits."""

MLP = (Opcode.POOL, Opcode.LINEAR, Opcode.LAYER_NORM)
Interval = tuple[int, int]
"""First row or word, and how many."""


def synchronize(instructions: npt.NDArray[Any], config: Config, weights: bytes = b"") -> npt.NDArray[Any]:
    """The instructions (sequential order) with ``waits``, ``wait_mask``, ``next_queue`` and the flag RETAIN.

    Tables are compared by content, so RETAIN needs ``weights``. Raises InternalError for more than 8,000 instructions
    in a queue.
    """
    records: npt.NDArray[Any] = instructions.copy()
    found = queues(records, config)
    records["next_queue"] = np.roll(found, -1)
    counts = np.bincount(found, minlength=len(Queue))
    if counts.max(initial=0) > COUNT_MAX:
        raise InternalError(f"{counts.max()} instructions in queue {Queue(int(counts.argmax())).name}")
    decoded = [dict(zip(INSTRUCTION.names or (), r.tolist(), strict=True)) for r in records]
    play = _Play(config, counts)
    for _ in range(2):
        waits = [play.step(i, queue) for i, queue in zip(decoded, found.tolist(), strict=True)]
    group = counts.tolist()
    relative = [own.get(q, done) - done for own in waits for q, done in enumerate(group)]
    records["waits"] = np.reshape(relative, (-1, len(Queue)))
    records["wait_mask"] = [sum(1 << q for q in own) for own in waits]
    if weights:
        retain = np.array([int(Flag.RETAIN) * r for r in _retained(decoded, found, config, weights)], np.uint8)
        records["flags"] = (records["flags"] & (0xFF - Flag.RETAIN)) | retain
    return records


class _Play:
    """The memories, holding counts of completed instructions instead of data. Count 0: never."""

    def __init__(self, config: Config, counts: npt.NDArray[np.int64]) -> None:
        self.config = config
        self.done = [0] * len(counts)
        rows = config.ring_rows + config.head_rows
        self.loaded = np.zeros(rows, np.int64)
        self.ring_readers = np.zeros((len(counts), rows), np.int64)
        self.vector_written = np.zeros((config.slots, config.vector_words), np.int64)
        self.vector_stored = np.zeros((config.slots, config.vector_words), np.int64)
        self.body: list[tuple[int, int] | None] = [None] * config.slots
        """Queue and count of the last instruction that touches the pads of each slot."""

    def step(self, i: dict[str, Any], queue: int) -> dict[int, int]:
        """Execute an instruction: the counts it must wait for, by queue."""
        self.done[queue] += 1
        here = self.done[queue]
        waits: dict[int, int] = {}

        def wait(other: int, count: int) -> None:
            if count > 0:
                waits[other] = max(waits.get(other, 0), count)

        if i["opcode"] == Opcode.LOAD_WEIGHTS:
            rows = slice(i["w_row"], i["w_row"] + i["w_rows"])
            for other, count in enumerate(self.ring_readers[:, rows].max(axis=1, initial=0).tolist()):
                wait(other, count)
            self.ring_readers[:, rows] = 0  # later loads of this queue come after this one
            self.loaded[rows] = here
            return waits
        slot = slot_of(i, self.config)
        if touches_pads(i):
            before = self.body[slot]
            if before is not None:
                wait(*before)
            self.body[slot] = queue, here
        for first, size in ring_reads(i, self.config):
            rows = slice(first, first + size)
            loader = Queue.HEAD if first >= self.config.ring_rows else Queue.WEIGHTS
            wait(int(loader), int(self.loaded[rows].max(initial=0)))
            self.ring_readers[queue, rows] = here
        written, stored = self.vector_written[slot], self.vector_stored[slot]
        for first, size in vector_reads(i):
            if i["opcode"] == Opcode.STORE:
                wait(int(Queue.MLP), int(written[first : first + size].max(initial=0)))
                stored[first : first + size] = here
        for first, size in vector_writes(i):
            wait(int(Queue.STORE), int(stored[first : first + size].max(initial=0)))
            written[first : first + size] = here
        return waits


def slot_of(i: dict[str, Any], config: Config) -> int:
    """The slot of an instruction's frame. Raises InternalError unless it names exactly one that exists."""
    slot = int(i["slots"]).bit_length() - 1
    if slot < 0 or slot >= config.slots or i["slots"] != 1 << slot:
        raise InternalError(f"an instruction of kernel {i['kernel']} names slots {i['slots']:#b}")
    return slot


def touches_pads(i: dict[str, Any]) -> bool:
    """Whether an instruction reads or writes a pad: in a slot, these run one after the other."""
    if i["opcode"] == Opcode.LOAD_WEIGHTS:
        return False
    if i["opcode"] == Opcode.STORE:
        return bool(i["x_pad"] != VECTOR)
    return not (i["opcode"] in MLP and i["x_pad"] == i["y_pad"] == VECTOR)


def ring_reads(i: dict[str, Any], config: Config) -> Iterator[Interval]:
    """Ring rows that an instruction reads: its table, and its blob without the table."""
    opcode, taps = i["opcode"], i["kernel_h"] * i["kernel_w"]
    if i["flags"] & Flag.IMAGE:
        yield i["t_row"], 2 * i["channels"]
    elif i["flags"] & Flag.TABLE:
        yield i["t_row"], (4096 if i["flags"] & Flag.WIDE else 256) // ROW_BYTES
    if opcode == Opcode.CONV:
        tile = config.blocks >> i["mode"]
        if not tile:
            raise InternalError(f"mode {i['mode']} on {config.blocks} blocks")
        yield i["w_row"], -(-i["y_groups"] // tile) * convolution_row_count(taps, i["ci_groups"], tile)
    elif opcode == Opcode.DEPTHWISE:
        yield i["w_row"], i["y_groups"] * (1 + -(-taps // TAP_ROWS))
    elif opcode == Opcode.LINEAR:
        yield i["w_row"], i["y_groups"] * convolution_row_count(1, i["ci_groups"], 1)
    elif opcode == Opcode.LAYER_NORM:
        yield i["w_row"], 1 + -(-i["channels"] // LANES)
    elif opcode == Opcode.POOL:
        yield i["w_row"], 1
    elif opcode == Opcode.ATTENTION:
        yield i["w_row"], 9 if i["flags"] & Flag.QUANTIZED else 1


def vector_reads(i: dict[str, Any]) -> Iterator[Interval]:
    """Words of the vector memory that an instruction reads."""
    if i["opcode"] in (Opcode.LINEAR, Opcode.LAYER_NORM, Opcode.STORE) and i["x_pad"] == VECTOR:
        yield i["x_base"], i["x_groups"]


def vector_writes(i: dict[str, Any]) -> Iterator[Interval]:
    """Words of the vector memory that an instruction writes."""
    if i["opcode"] in MLP and i["y_pad"] == VECTOR:
        yield i["y_base"] + i["y_group0"], i["y_groups"]


def _retained(
    decoded: list[dict[str, Any]], found: npt.NDArray[np.int64], config: Config, weights: bytes
) -> Iterator[bool]:
    """For each instruction whether the engine of its queue holds its table, whichever frames exist.

    The frames that exist are those of the first slots. So an engine holds what the last instruction with a table left
    among those of the first n slots, for every n that includes the instruction's own.
    """
    ring = np.zeros((config.ring_rows + config.head_rows, ROW_BYTES), np.uint8)
    held: dict[tuple[int, int], bytes] = {}
    for i, queue in zip(decoded, found.tolist(), strict=True):
        same = False
        if i["opcode"] == Opcode.LOAD_WEIGHTS:
            start = i["ddr"] * ROW_BYTES
            blob = unstripe(weights[start : start + i["w_rows"] * ROW_BYTES], i["w_rows"])
            ring[i["w_row"] : i["w_row"] + i["w_rows"]] = blob
        elif i["flags"] & (Flag.TABLE | Flag.IMAGE):
            first, size = next(ring_reads(i, config))
            table = ring[first : first + size].tobytes()
            having = [(queue, last) for last in range(slot_of(i, config), config.slots)]
            same = all(held.get(key) == table for key in having)
            held.update(dict.fromkeys(having, table))
        yield same
