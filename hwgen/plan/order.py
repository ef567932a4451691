# SPDX-License-Identifier: Apache-2.0
"""The proof that waits are enough: whatever the engines' speed, no access to a memory overtakes one it depends on.

Some groups of frames run in the abstract: an instruction at the head of its queue is executed as soon as its waits
hold. If all are executed, nothing can block for ever. On the way each instruction gets what is known for certain when
it starts: for each queue the number of instructions that are complete (a vector clock). It knows what its waits name,
what those knew, and what the instruction before it in its queue knew. Every pair of accesses that must keep its order
is then compared with these clocks. The last group is played with every number of frames: what is for a missing frame
counts as complete in its turn and waits for nothing, so whoever waits for it learns less. Nothing here is shared with
hwgen.plan.waits, which made the waits.

What the engines promise (docs/machine.md): a queue starts and completes its instructions in order; the weight loader
and the MLP engine do one instruction after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hwgen.errors import InternalError
from hwgen.plan.program import Config, Queue

GROUPS = 3
"""A wait reaches back one group, so the third is like every later one."""
LOADERS = (Queue.WEIGHTS, Queue.HEAD)
SERIAL = (*LOADERS, Queue.MLP)
"""Queues whose instruction starts when the one before is complete."""
Span = tuple[int, int]


@dataclass
class Access:
    """What an instruction touches, as [first, end) of rows or words, and what it waits for."""

    queue: int
    where: str
    waits: tuple[int, ...]
    wait_mask: int
    slot: int = 0
    body: bool = False
    """Touches pads."""
    ring_reads: list[Span] = field(default_factory=list)
    ring_writes: list[Span] = field(default_factory=list)
    vector_reads: list[Span] = field(default_factory=list)
    vector_writes: list[Span] = field(default_factory=list)


def prove_order(accesses: Sequence[Access], config: Config) -> None:
    """Raises InternalError, naming the instruction, where a wait is missing or can never be met.

    ``accesses`` are those of one group in sequential order.
    """
    for missing in range(config.slots):
        _prove(accesses, config, GROUPS * config.slots - missing)


def _prove(accesses: Sequence[Access], config: Config, frames: int) -> None:
    run = _Run(accesses, config.slots, frames)
    clocks = run.clocks()
    ring = _Memory("ring rows", config.ring_rows + config.head_rows)
    vectors = [_Memory(f"vector words of slot {s}", config.vector_words) for s in range(config.slots)]
    body: list[tuple[int, int] | None] = [None] * config.slots
    for group in range(GROUPS):
        for index, access in enumerate(accesses):
            if not run.exists(group, access):
                continue
            count = run.position(group, index) + 1
            clock = clocks[access.queue][count - 1]
            if access.body:
                before, body[access.slot] = body[access.slot], (access.queue, count)
                if before is not None and clock[before[0]] < before[1]:
                    _fail(access, f"may touch the pads of slot {access.slot} while {Queue(before[0]).name} still does")
            for memory, reads, writes in (
                (ring, access.ring_reads, access.ring_writes),
                (vectors[access.slot], access.vector_reads, access.vector_writes),
            ):
                for span in reads:
                    memory.read(access, span, count, clock)
                for span in writes:
                    memory.write(access, span, count, clock)


def _fail(access: Access, reason: str) -> None:
    raise InternalError(f"{access.where}: waits: {reason}")


class _Memory:
    """Who last wrote and read each row, as (queue, count of that queue)."""

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.writer = np.zeros((len(Queue), size), np.int64)
        self.readers = np.zeros((len(Queue), size), np.int64)

    def read(self, access: Access, span: Span, count: int, clock: Sequence[int]) -> None:
        rows = slice(*span)
        self._require(access, self.writer[:, rows], clock, f"may read {self.name} {span} before they are written")
        self.readers[access.queue, rows] = count

    def write(self, access: Access, span: Span, count: int, clock: Sequence[int]) -> None:
        rows = slice(*span)
        self._require(access, self.readers[:, rows], clock, f"may overwrite {self.name} {span} that are still read")
        self._require(access, self.writer[:, rows], clock, f"may overtake another write of {self.name} {span}")
        self.readers[:, rows] = 0  # whoever writes next knows what this one knew
        self.writer[:, rows] = 0
        self.writer[access.queue, rows] = count

    @staticmethod
    def _require(access: Access, counts: npt.NDArray[np.int64], clock: Sequence[int], reason: str) -> None:
        for queue, count in enumerate(counts.max(axis=1).tolist()):
            if count > clock[queue]:
                _fail(access, f"{reason} ({Queue(queue).name})")


class _Run:
    """The abstract execution. A position numbers the instructions of a queue over the groups."""

    def __init__(self, accesses: Sequence[Access], slots: int, frames: int) -> None:
        self.accesses, self.slots, self.frames = accesses, slots, frames
        self.members: list[list[int]] = [[] for _ in Queue]
        self.numbers = []
        for index, access in enumerate(accesses):
            self.numbers.append(len(self.members[access.queue]))
            self.members[access.queue].append(index)

    def position(self, group: int, index: int) -> int:
        return group * len(self.members[self.accesses[index].queue]) + self.numbers[index]

    def exists(self, group: int, access: Access) -> bool:
        """Whether the frame of an instruction exists; of LOAD_WEIGHTS the first that it serves."""
        return group * self.slots + access.slot < self.frames

    def needs(self, queue: int, position: int) -> list[tuple[int, int]] | None:
        """``(queue, complete instructions)`` for which the one at a position waits; None if its frame is missing."""
        group, number = divmod(position, len(self.members[queue]))
        access = self.accesses[self.members[queue][number]]
        if not self.exists(group, access):
            return None
        found = []
        for other in range(len(Queue)):
            count = group * len(self.members[other]) + access.waits[other]
            if access.wait_mask >> other & 1 and count > 0:
                found.append((other, count))
        return found

    def clocks(self) -> list[list[list[int]]]:
        """For each queue and position what is known when the instruction starts. Raises InternalError if one never
        starts."""
        started: list[list[list[int]]] = [[] for _ in Queue]
        ended: list[list[list[int]]] = [[] for _ in Queue]
        totals = [GROUPS * len(m) for m in self.members]
        moved = True
        while moved:
            moved = False
            for queue, total in enumerate(totals):
                while len(started[queue]) < total:
                    position = len(started[queue])
                    needs = self.needs(queue, position)
                    if needs is None:
                        nothing = [0] * len(Queue)
                        started[queue].append(started[queue][-1] if position else nothing)
                        end = (ended[queue][-1] if position else nothing).copy()
                        end[queue] = position + 1
                        ended[queue].append(end)
                        moved = True
                        continue
                    if any(count > len(ended[other]) for other, count in needs):
                        break
                    known = [ended[other][count - 1] for other, count in needs]
                    if position:
                        known.append((ended if queue in SERIAL else started)[queue][-1])
                    start = [max(column) for column in zip(*known, strict=True)] if known else [0] * len(Queue)
                    end = start.copy()
                    if position and queue not in SERIAL:
                        end = [max(pair) for pair in zip(end, ended[queue][-1], strict=True)]
                    end[queue] = position + 1
                    started[queue].append(start)
                    ended[queue].append(end)
                    moved = True
        for queue, total in enumerate(totals):
            if len(started[queue]) < total:
                _fail(
                    self.accesses[self.members[queue][len(started[queue]) % len(self.members[queue])]],
                    "they never hold",
                )
        return started
