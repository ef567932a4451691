# SPDX-License-Identifier: Apache-2.0
"""The order in which a group's frames take turns, and where weights lie in the rings.

All frames execute the same steps in the same order; a step loads weights or runs. A list scheduler gives turns: of the
frames' next steps the one that can begin first by the cycle model (hwgen.plan.timing), the frame behind where two can.
So an engine works for one frame while another one's instruction is in another engine. What begins first is not always
best, so the scheduler runs several times, with delays that only it sees: at first any, then those of the best run so
far with a few others. The order whose groups follow each other fastest is taken. The delays are random numbers from a
fixed seed, so that the same input gives the same order. Weights are loaded once for all
frames: rows stay until the last frame has read them, and a frame that would need rows of a full ring waits for the
others. The frame that is furthest behind never waits, because what it needs was either loaded already or comes next.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hwgen.errors import InternalError
from hwgen.plan.program import Queue
from hwgen.plan.timing import ISSUE, SETTLE, WHOLE, Cycles

DELAY = 300
"""Largest delay, in cycles; the first run has none."""
CHANGED = 0.03
"""Share of the delays that change from the best run so far to the next one."""
REPLAYED = 4
"""Groups that are played to rate an order; the first two fill the machine."""


@dataclass(frozen=True)
class Step:
    """An instruction of one frame, before it has a slot and ring rows."""

    queue: Queue
    cycles: Cycles
    body: bool
    """Touches pads."""
    rows: int = 0
    """Ring rows to load; 0: it runs."""
    loads: tuple[int, ...] = ()
    """Steps whose rows it reads."""
    region: int = -1
    """Rows that are loaded together and stay together (tiled segments): its number in ``regions``."""


@dataclass(frozen=True)
class Region:
    """Rows that a tiled segment keeps, and the most rows that it loads in a piece besides."""

    rows: int
    beside: int


class Turn(NamedTuple):
    """A step in the group's order: for which slots, and for loads the first ring row."""

    step: int
    slots: int
    row: int = -1


@dataclass
class _Rows:
    """Rows of a ring that are in use."""

    first: int
    end: int
    pending: int
    """readings still to come"""


@dataclass
class _Ring:
    """Rows are given out in a circle, so that what is loaded next overwrites what was read longest ago."""

    first: int
    end: int
    next: int = 0
    live: dict[int, _Rows] = field(default_factory=dict)
    failed: set[tuple[int, int]] = field(default_factory=set)
    """What was not found since ``live`` changed: frames that wait ask again and again"""

    def find(self, rows: int, beside: int = 0) -> int | None:
        """First of ``rows`` free rows in a piece that leave ``beside`` rows in a piece; None if there are none."""
        if (rows, beside) in self.failed:
            return None
        if self._free(self.next, rows, beside):
            return self.next
        starts = {self.first, *(r.end for r in self.live.values())}
        around = sorted(s for s in starts if s >= self.next) + sorted(s for s in starts if s < self.next)
        for start in around:
            if self._free(start, rows, beside):
                return start
        self.failed.add((rows, beside))
        return None

    def _free(self, start: int, rows: int, beside: int) -> bool:
        end = start + rows
        if end > self.end or max(self.end - end, start - self.first) < beside:
            return False
        return not any(start < r.end and r.first < end for r in self.live.values())

    def take(self, key: int, start: int, rows: int, pending: int) -> None:
        self.live[key] = _Rows(start, start + rows, pending)
        self.next = start + rows
        self.failed.clear()

    def read(self, key: int) -> None:
        """One of the readings is through; behind the last one the rows are free."""
        rows = self.live[key]
        rows.pending -= 1
        if not rows.pending:
            del self.live[key]
            self.failed.clear()


class _Owners:
    """Who had the rows of the rings last: spans ``(first, end, owner)`` in order."""

    def __init__(self) -> None:
        self.spans: list[tuple[int, int, int]] = []

    def take(self, first: int, rows: int, owner: int) -> list[int]:
        """Give rows to an owner; returns those who had some of them."""
        end = first + rows
        low = bisect_right(self.spans, first, key=itemgetter(1))
        high = bisect_left(self.spans, end, low, key=itemgetter(0))
        before = self.spans[low:high]
        now = [(first, end, owner)]
        if before and before[0][0] < first:
            now.insert(0, (before[0][0], first, before[0][2]))
        if before and before[-1][1] > end:
            now.append((end, before[-1][1], before[-1][2]))
        self.spans[low:high] = now
        return [owner for _, _, owner in before]


class _Machine:
    """The scheduler's model of the machine: when pads, engines and loaders are free, and when weights have arrived."""

    def __init__(self, steps: Sequence[Step], slots: int) -> None:
        self.steps = steps
        self.pads = [0.0] * slots
        self.engine = [0.0] * len(Queue)
        self.ended = [0.0] * len(Queue)
        self.loader = [0.0] * len(Queue)
        self.arrived = [0.0] * len(steps)

    def begin(self, step: Step, slot: int) -> float:
        """When a step of a frame could begin, weights aside."""
        begin = self.pads[slot] + step.cycles.lead if step.body else float(step.cycles.lead)
        engine = self.engine[step.queue]
        return engine if engine > begin else begin

    def run(self, step: Step, slot: int) -> float:
        """A step runs: when it has read its weights."""
        begin, queue, cycles = self.begin(step, slot), step.queue, step.cycles
        for load in step.loads:
            arrived = self.arrived[load] + cycles.lead
            begin = arrived if arrived > begin else begin
        free, end = cycles.ends(begin, self.ended[queue])
        self.ended[queue] = end
        self.engine[queue] = end if queue in WHOLE else free
        if step.body:
            self.pads[slot] = end + SETTLE + ISSUE
        return free

    def load(self, number: int, free: float) -> None:
        """A step loads its rows; ``free``: when the last reader of what they hold is through."""
        step = self.steps[number]
        queue, cycles = step.queue, step.cycles
        loader = self.loader[queue]
        self.loader[queue] = end = (free if free > loader else loader) + cycles.main
        self.arrived[number] = end + cycles.tail + ISSUE


class _Frame:
    """The steps that all frames execute, and what follows from them for every order.

    Rows of a ring have an owner: a load, by its step, or a region, by ``len(steps)`` and its number.
    """

    def __init__(self, steps: Sequence[Step], regions: Sequence[Region]) -> None:
        self.steps, self.regions = steps, regions
        self.next_run = list(range(len(steps)))  # from a step the first that runs
        for at in reversed(range(len(steps) - 1)):
            if steps[at].rows:
                self.next_run[at] = self.next_run[at + 1]
        self.owner = [number if s.region < 0 else len(steps) + s.region for number, s in enumerate(steps)]
        self.readings = [0] * (len(steps) + len(regions))
        for step in steps:
            for load in step.loads:
                self.readings[self.owner[load]] += 1


class _Group:
    """The list scheduler."""

    def __init__(self, frame: _Frame, slots: int, rings: tuple[_Ring, _Ring], delays: npt.NDArray[np.float64]) -> None:
        self.frame, self.steps, self.slots, self.rings = frame, frame.steps, slots, rings
        self.delays = delays.tolist()
        self.turns: list[Turn] = []
        self.machine = _Machine(frame.steps, slots)
        self.owners = _Owners()
        self.freed = [0.0] * len(frame.readings)  # when an owner's rows were read last
        self.loaded = [False] * len(frame.steps)
        self.next_row: dict[int, int] = {}  # of a region whose first rows are loaded
        self.position = [0] * slots

    def run(self) -> list[Turn]:
        waiting = list(range(self.slots))
        while waiting:
            for _, _, slot in sorted([self._head(slot) for slot in waiting]):
                if self._advance(slot):
                    if self.position[slot] == len(self.steps):
                        waiting.remove(slot)
                    break
            else:
                raise InternalError("the frames of a group block each other in the weight ring")
        return self.turns

    def _head(self, slot: int) -> tuple[float, int, int]:
        """A frame's next run, for comparison: when it could begin, its position, its slot."""
        position = self.position[slot]
        run = self.frame.next_run[position]
        return self.machine.begin(self.steps[run], slot) + self.delays[slot][run], position, slot

    def _advance(self, slot: int) -> bool:
        """Give out the loads that are missing before the frame's next run, and the run; False if a ring is full."""
        run = self.frame.next_run[self.position[slot]]
        for number in range(self.position[slot], run):
            if not self.loaded[number] and not self._load(number):
                return False
            self.position[slot] = number + 1
        step = self.steps[run]
        free = self.machine.run(step, slot)
        self.turns.append(Turn(run, 1 << slot))
        for load in step.loads:
            self._read(load, free)
        self.position[slot] = run + 1
        return True

    def _ring(self, step: Step) -> _Ring:
        return self.rings[step.queue == Queue.HEAD]

    def _load(self, number: int) -> bool:
        step, owner = self.steps[number], self.frame.owner[number]
        row = self.next_row.get(owner)
        if row is None:
            region = Region(step.rows, 0) if step.region < 0 else self.frame.regions[step.region]
            ring = self._ring(step)
            row = ring.find(region.rows, region.beside)
            if row is None:
                return False
            ring.take(owner, row, region.rows, self.frame.readings[owner] * self.slots)
        self.next_row[owner] = row + step.rows
        before = self.owners.take(row, step.rows, owner)
        self.machine.load(number, max([self.freed[b] for b in before], default=0.0))
        self.loaded[number] = True
        self.turns.append(Turn(number, (1 << self.slots) - 1, row))
        return True

    def _read(self, load: int, free: float) -> None:
        owner = self.frame.owner[load]
        self.freed[owner] = free
        self._ring(self.steps[load]).read(owner)


def interleave(
    steps: Sequence[Step], regions: Sequence[Region], slots: int, ring_rows: int, head_rows: int, runs: int = 1
) -> list[Turn]:
    """The order of a group of ``slots`` frames that all execute ``steps``: the best of ``runs`` runs of the scheduler.

    Raises InternalError if weights cannot pass through a ring; the planner's cut makes them fit for one frame.
    """
    frame = _Frame(steps, regions)

    def order() -> list[Turn]:
        rings = _Ring(0, ring_rows), _Ring(ring_rows, ring_rows + head_rows, ring_rows)
        return _Group(frame, slots, rings, delays).run()

    numbers = np.random.default_rng(0)
    delays = kept = np.zeros((slots, len(steps)))
    best = order()
    fewest = _group_cycles(steps, best, slots) if runs > 1 else 0.0
    for run in range(1, runs if slots > 1 else 1):
        delays = DELAY * numbers.random(kept.shape)
        if run > runs // 8:
            delays = np.where(numbers.random(kept.shape) < CHANGED, delays, kept)
        turns = order()
        cycles = _group_cycles(steps, turns, slots)
        if cycles <= fewest:
            fewest, best, kept = cycles, turns, delays
    return best


def _group_cycles(steps: Sequence[Step], turns: Sequence[Turn], slots: int) -> float:
    """Cycles from one group to the next with engines and loaders in this order, by the scheduler's model."""
    machine, freed, ends = _Machine(steps, slots), [0.0] * len(steps), []
    overwritten = _overwritten(steps, turns)
    played = [(t.step, steps[t.step], t.slots.bit_length() - 1, overwritten.get(t.step)) for t in turns]
    for _ in range(REPLAYED):
        for number, step, slot, before in played:
            if before is None:
                free = machine.run(step, slot)
                for load in step.loads:
                    freed[load] = free
            else:
                machine.load(number, max([freed[load] for load in before]))
        ends.append(max(machine.engine))
    return (ends[-1] - ends[1]) / (REPLAYED - 2)


def _overwritten(steps: Sequence[Step], turns: Sequence[Turn]) -> dict[int, list[int]]:
    """For each load those whose rows it takes, in a group that follows another one. In a first group some of them come
    later, which no reader has been through."""
    owners = _Owners()
    loads = [(turn.step, turn.row, steps[turn.step].rows) for turn in turns if turn.row >= 0]
    for step, row, rows in loads:
        owners.take(row, rows, step)
    return {step: owners.take(row, rows, step) for step, row, rows in loads}
