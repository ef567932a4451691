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

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hwgen.errors import InternalError
from hwgen.plan.program import Queue
from hwgen.plan.timing import ISSUE, SETTLE, Cycles

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


@dataclass(frozen=True)
class Turn:
    """A step in the group's order: for which slots, and for loads the first ring row."""

    step: int
    slots: int
    row: int = -1


@dataclass
class _Rows:
    """Rows of a ring that are in use."""

    first: int
    count: int
    pending: int
    """readings still to come"""


@dataclass
class _Ring:
    """Rows are given out in a circle, so that what is loaded next overwrites what was read longest ago."""

    first: int
    end: int
    next: int = 0
    live: dict[int, _Rows] = field(default_factory=dict)

    def find(self, rows: int, beside: int = 0) -> int | None:
        """First of ``rows`` free rows in a piece that leave ``beside`` rows in a piece; None if there are none."""
        starts = [self.next, self.first, *(r.first + r.count for r in self.live.values())]
        for start in sorted(starts, key=lambda s: (s < self.next, s)):
            end = start + rows
            taken = any(start < r.first + r.count and r.first < end for r in self.live.values())
            if end <= self.end and not taken and max(self.end - end, start - self.first) >= beside:
                return start
        return None

    def take(self, key: int, start: int, rows: int, pending: int) -> None:
        self.live[key] = _Rows(start, rows, pending)
        self.next = start + rows


class _Group:
    """The list scheduler."""

    def __init__(
        self,
        steps: Sequence[Step],
        regions: Sequence[Region],
        slots: int,
        rings: tuple[_Ring, _Ring],
        delays: npt.NDArray[np.float64],
    ) -> None:
        self.steps, self.regions, self.slots = steps, regions, slots
        self.rings = rings
        self.delays = delays.tolist()
        self.readings = [0] * len(steps)
        for step in steps:
            for load in step.loads:
                self.readings[load] += 1
        self.region_readings = [0] * len(regions)
        for number, step in enumerate(steps):
            if step.region >= 0:
                self.region_readings[step.region] += self.readings[number]
        self.turns: list[Turn] = []
        self.row: dict[int, int] = {}  # of the loads that have been given out
        self.region_next: dict[int, int] = {}  # next row of a region
        self.position = [0] * slots
        self.chain = [0.0] * slots  # when the frame's pads are free
        self.engine = [0.0] * len(Queue)
        self.ended = [0.0] * len(Queue)
        self.memory = {Queue.WEIGHTS: 0.0, Queue.HEAD: 0.0}
        self.arrived: dict[int, float] = {}
        self.free_at = np.zeros(max(r.end for r in rings))

    def run(self) -> list[Turn]:
        count = len(self.steps)
        while min(self.position) < count:
            candidates = [
                (self._begin(s) + self.delays[s][self._next_run(s)], self.position[s], s)
                for s in range(self.slots)
                if self.position[s] < count
            ]
            for _, _, slot in sorted(candidates):
                if self._advance(slot):
                    break
            else:
                raise InternalError("the frames of a group block each other in the weight ring")
        return self.turns

    def _next_run(self, slot: int) -> int:
        at = self.position[slot]
        while self.steps[at].rows:
            at += 1
        return at

    def _begin(self, slot: int) -> float:
        """When the frame's next instruction could begin, weights aside."""
        step = self.steps[self._next_run(slot)]
        ready = self.chain[slot] if step.body else 0.0
        return max(ready + step.cycles.lead, self.engine[step.queue])

    def _advance(self, slot: int) -> bool:
        """Give out the loads that are missing before the frame's next run, and the run; False if a ring is full."""
        at = self._next_run(slot)
        for number in range(self.position[slot], at):
            if number not in self.row and not self._load(number):
                return False
            self.position[slot] = number + 1
        step = self.steps[at]
        begin = max([self._begin(slot), *(self.arrived[load] + step.cycles.lead for load in step.loads)])
        free, end = step.cycles.ends(begin, self.ended[step.queue])
        self.ended[step.queue] = end
        self.engine[step.queue] = free if step.queue not in (Queue.MLP, Queue.STORE) else end
        if step.body:
            self.chain[slot] = end + SETTLE + ISSUE
        self.turns.append(Turn(at, 1 << slot))
        for load in step.loads:
            self._read(load, free)
        self.position[slot] = at + 1
        return True

    def _ring(self, number: int) -> _Ring:
        return self.rings[self.steps[number].queue == Queue.HEAD]

    def _load(self, number: int) -> bool:
        step, ring = self.steps[number], self._ring(number)
        if step.region >= 0:
            region = self.regions[step.region]
            if step.region not in self.region_next:
                start = ring.find(region.rows, region.beside)
                if start is None:
                    return False
                ring.take(-1 - step.region, start, region.rows, self.region_readings[step.region] * self.slots)
                self.region_next[step.region] = start
            start = self.region_next[step.region]
            self.region_next[step.region] += step.rows
        else:
            found = ring.find(step.rows)
            if found is None:
                return False
            start = found
            ring.take(number, start, step.rows, self.readings[number] * self.slots)
        begin = max(self.memory[step.queue], float(self.free_at[start : start + step.rows].max()))
        self.memory[step.queue] = begin + step.cycles.main
        self.arrived[number] = self.memory[step.queue] + step.cycles.tail + ISSUE
        self.row[number] = start
        self.turns.append(Turn(number, (1 << self.slots) - 1, start))
        return True

    def _read(self, load: int, end: float) -> None:
        ring, region = self._ring(load), self.steps[load].region
        key = load if region < 0 else -1 - region
        rows = ring.live[key]
        self.free_at[rows.first : rows.first + rows.count] = end
        rows.pending -= 1
        if not rows.pending:
            del ring.live[key]


def interleave(
    steps: Sequence[Step], regions: Sequence[Region], slots: int, ring_rows: int, head_rows: int, runs: int = 1
) -> list[Turn]:
    """The order of a group of ``slots`` frames that all execute ``steps``: the best of ``runs`` runs of the scheduler.

    Raises InternalError if weights cannot pass through a ring; the planner's cut makes them fit for one frame.
    """

    def order() -> list[Turn]:
        rings = _Ring(0, ring_rows), _Ring(ring_rows, ring_rows + head_rows, ring_rows)
        return _Group(steps, regions, slots, rings, delays).run()

    numbers = np.random.default_rng(0)
    delays = kept = np.zeros((slots, len(steps)))
    best = order()
    fewest = _group_cycles(steps, best, slots, ring_rows + head_rows) if runs > 1 else 0.0
    for run in range(1, runs if slots > 1 else 1):
        delays = DELAY * numbers.random(kept.shape)
        if run > runs // 8:
            delays = np.where(numbers.random(kept.shape) < CHANGED, delays, kept)
        turns = order()
        cycles = _group_cycles(steps, turns, slots, ring_rows + head_rows)
        if cycles <= fewest:
            fewest, best, kept = cycles, turns, delays
    return best


def _group_cycles(steps: Sequence[Step], turns: Sequence[Turn], slots: int, rows: int) -> float:
    """Cycles from one group to the next with engines and loaders in this order, by the scheduler's model."""
    chain, engine, ended = [0.0] * slots, [0.0] * len(Queue), [0.0] * len(Queue)
    memory = {Queue.WEIGHTS: 0.0, Queue.HEAD: 0.0}
    free_at = np.zeros(rows)
    ends = []
    for _ in range(REPLAYED):
        arrived: dict[int, float] = {}
        places: dict[int, slice] = {}
        for turn in turns:
            step, c = steps[turn.step], steps[turn.step].cycles
            if step.rows:
                place = places[turn.step] = slice(turn.row, turn.row + step.rows)
                memory[step.queue] = max(memory[step.queue], float(free_at[place].max())) + c.main
                arrived[turn.step] = memory[step.queue] + c.tail + ISSUE
                continue
            slot = turn.slots.bit_length() - 1
            ready = max([chain[slot] if step.body else 0.0, *(arrived[load] for load in step.loads)])
            free, end = c.ends(max(ready + c.lead, engine[step.queue]), ended[step.queue])
            ended[step.queue] = end
            engine[step.queue] = free if step.queue not in (Queue.MLP, Queue.STORE) else end
            if step.body:
                chain[slot] = end + SETTLE + ISSUE
            for load in step.loads:
                free_at[places[load]] = free
        ends.append(max(engine))
    return (ends[-1] - ends[1]) / (REPLAYED - 2)
