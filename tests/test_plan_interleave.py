# SPDX-License-Identifier: Apache-2.0
"""The interleaver: whatever the steps, a group's order keeps each frame's order and no ring row is lost too early."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from hwgen.errors import InternalError
from hwgen.plan.interleave import Region, Step, Turn, _group_cycles, _Owners, _Ring, interleave
from hwgen.plan.program import Queue
from hwgen.plan.timing import ISSUE, SETTLE, Cycles

LOADERS = (Queue.WEIGHTS, Queue.HEAD)
ENGINES = (Queue.ARRAY, Queue.DEPTHWISE, Queue.ELTWISE, Queue.ATTENTION)


@dataclass(frozen=True)
class Work:
    """What a group executes, and the rings."""

    steps: tuple[Step, ...]
    regions: tuple[Region, ...]
    slots: int
    ring_rows: int
    head_rows: int

    def turns(self, slots: int | None = None, runs: int = 1) -> list[Turn]:
        return interleave(self.steps, self.regions, slots or self.slots, self.ring_rows, self.head_rows, runs)

    def group_cycles(self, turns: Sequence[Turn]) -> float:
        return _group_cycles(self.steps, turns, self.slots)

    def fits(self) -> bool:
        """One frame alone: whatever is in use at a time has room in a piece."""
        rooms = {Queue.WEIGHTS: self.ring_rows, Queue.HEAD: self.head_rows}
        pieces = all(s.rows <= rooms[s.queue] for s in self.steps if s.rows)
        return pieces and all(r.rows + r.beside <= self.ring_rows for r in self.regions)


def work(seed: int) -> Work:
    """Steps as the planner makes them: a load is followed by all of its readers, or belongs to a region: loaded where
    the region begins, read until it ends. Some do not fit the rings."""
    rng = np.random.default_rng(seed)
    ring_rows, head_rows = int(rng.integers(8, 100)), int(rng.integers(8, 40))
    steps: list[Step] = []
    regions: list[Region] = []

    def cycles(most: int) -> Cycles:
        return Cycles(int(rng.integers(40)), int(rng.integers(1, most)), int(rng.integers(30)))

    def load(queue: Queue, rows: int, region: int = -1) -> int:
        steps.append(Step(queue, Cycles(70, 2 * rows, 3), False, rows, region=region))
        return len(steps) - 1

    def run(queue: Queue, *loads: int) -> None:
        body = queue not in (Queue.MLP, Queue.STORE) or bool(rng.integers(2))
        steps.append(Step(queue, cycles(int(rng.choice([20, 500]))), body, loads=loads))

    run(Queue.INPUT)
    for _ in range(rng.integers(1, 5)):
        if rng.random() < 0.4:
            rows = [int(n) for n in rng.integers(1, max(ring_rows // 6, 2), rng.integers(1, 4))]
            streamed = int(rng.integers(0, ring_rows // 2))
            regions.append(Region(sum(rows), streamed))
            kept = [load(Queue.WEIGHTS, n, len(regions) - 1) for n in rows]
            for _ in range(rng.integers(1, 4)):
                for each in kept:
                    run(Queue(rng.choice(ENGINES)), each)
                if streamed:
                    run(Queue.ARRAY, load(Queue.WEIGHTS, int(rng.integers(1, streamed + 1))))
        else:
            queue = Queue(rng.choice(ENGINES))
            for _ in range(rng.integers(1, 4)):
                one = load(Queue.WEIGHTS, int(rng.integers(1, ring_rows * 3 // 4 + 1)))
                for _ in range(rng.integers(1, 4)):
                    run(queue, one)
        if rng.random() < 0.5:
            run(Queue.ELTWISE)
    for _ in range(rng.integers(0, 3)):
        run(Queue.MLP, load(Queue.HEAD, int(rng.integers(1, head_rows + 1))))
    run(Queue.STORE)
    if rng.random() < 0.15:
        ring_rows = ring_rows * 2 // 3
    return Work(tuple(steps), tuple(regions), int(rng.integers(1, 5)), ring_rows, head_rows)


# --------------------------------------------------------------------------------------------------------------------
# Properties; each names the turn that breaks it, or returns None


def frames_in_order(w: Work, turns: Sequence[Turn]) -> str | None:
    """Every slot runs every step once, in order, and nothing else."""
    runs = [n for n, s in enumerate(w.steps) if not s.rows]
    for slot in range(w.slots):
        own = [t.step for t in turns if not w.steps[t.step].rows and t.slots >> slot & 1]
        if own != runs:
            return f"slot {slot} runs {own}"
    strange = [t for t in turns if not w.steps[t.step].rows and t.slots not in [1 << s for s in range(w.slots)]]
    return f"{strange[0]} is for several slots or none" if strange else None


def loads_are_shared(w: Work, turns: Sequence[Turn]) -> str | None:
    """Every load comes once a group, for all slots; loads of a queue in order."""
    for queue in LOADERS:
        own = [t for t in turns if w.steps[t.step].rows and w.steps[t.step].queue == queue]
        if [t.step for t in own] != [n for n, s in enumerate(w.steps) if s.rows and s.queue == queue]:
            return f"{queue.name} loads {[t.step for t in own]}"
        for turn in own:
            if turn.slots != (1 << w.slots) - 1:
                return f"{turn} is not for all slots"
    return None


def readers_follow(w: Work, turns: Sequence[Turn]) -> str | None:
    """Whoever reads a load comes behind it."""
    loaded: set[int] = set()
    for turn in turns:
        if w.steps[turn.step].rows:
            loaded.add(turn.step)
        elif not loaded >= {*w.steps[turn.step].loads}:
            return f"{turn} comes before its load"
    return None


def rows_stay(w: Work, turns: Sequence[Turn]) -> str | None:
    """A row holds what was loaded until its last reader, of any slot, has had its turn; loads stay in their ring."""
    rows: dict[int, int] = {}
    for number, turn in enumerate(turns):
        step = w.steps[turn.step]
        if step.rows:
            first, end = (w.ring_rows, w.ring_rows + w.head_rows) if step.queue == Queue.HEAD else (0, w.ring_rows)
            if turn.row < first or turn.row + step.rows > end:
                return f"{turn} leaves its ring {first}..{end}"
            rows.update(dict.fromkeys(range(turn.row, turn.row + step.rows), number))
        else:
            for load in step.loads:
                at = next(n for n, t in enumerate(turns) if t.step == load)
                place = range(turns[at].row, turns[at].row + w.steps[load].rows)
                if any(rows.get(row) != at for row in place):
                    return f"{turn} finds other rows than those of {turns[at]}"
    return None


def regions_are_whole(w: Work, turns: Sequence[Turn]) -> str | None:
    """Loads of a region lie behind each other, and nothing else there from its first load to its last reader."""
    for number, region in enumerate(w.regions):
        members = [n for n, s in enumerate(w.steps) if s.region == number]
        own = [t for t in turns if t.step in members]
        at = own[0].row
        for turn in own:
            if turn.row != at:
                return f"{turn} does not begin at {at}"
            at += w.steps[turn.step].rows
        if at > own[0].row + region.rows:
            return f"region {number} takes {at - own[0].row} rows of {region.rows}"
        last = max(n for n, t in enumerate(turns) if {*members} & {*w.steps[t.step].loads})
        for turn in turns[turns.index(own[0]) : last]:
            step = w.steps[turn.step]
            low, high = own[0].row, own[0].row + region.rows
            if step.rows and step.region != number and turn.row < high and turn.row + step.rows > low:
                return f"{turn} lies in region {number}, {low}..{high}"
    return None


Property = Callable[[Work, Sequence[Turn]], str | None]
PROPERTIES: tuple[Property, ...] = (frames_in_order, loads_are_shared, readers_follow, rows_stay, regions_are_whole)


@pytest.mark.parametrize("seeds", range(0, 300, 50))
def test_random_steps(seeds: int) -> None:
    seen = {"fits": 0, "not": 0, "regions": 0, "frames change places": 0}
    for seed in range(seeds, seeds + 50):
        w = work(seed)
        if not w.fits():
            seen["not"] += 1
            for slots in {1, w.slots}:
                with pytest.raises(InternalError, match="block each other"):
                    w.turns(slots)
            continue
        for turns in (w.turns(runs=5), w.turns()):
            for holds in PROPERTIES:
                assert holds(w, turns) is None, (seed, holds.__name__)
        seen["fits"] += 1
        seen["regions"] += bool(w.regions)
        runs = [t.slots for t in turns if not w.steps[t.step].rows]
        seen["frames change places"] += len(set(runs)) > 1 and runs != sorted(runs)
    assert min(seen.values()) > 0, seen


def test_one_slot_keeps_the_sequential_order() -> None:
    for seed in range(50):
        w = work(seed)
        if w.fits():
            turns = w.turns(1)
            assert [t.step for t in turns] == list(range(len(w.steps))) and {t.slots for t in turns} == {1}


def test_equal_calls_give_equal_orders() -> None:
    w = next(w for w in map(work, range(50)) if w.fits() and w.slots > 2)
    assert w.turns() == w.turns() and w.turns(runs=5) == w.turns(runs=5)


def test_more_runs_find_no_slower_order() -> None:
    better = 0
    for w in map(work, range(40)):
        if w.fits():
            one, many = (w.group_cycles(w.turns(runs=runs)) for runs in (1, 8))
            assert many <= one
            better += many < one
    assert better > 2


def test_group_cycles() -> None:
    """By hand: what an engine does for a group, or what a frame takes alone, is the least."""
    for second, expected in ((100, 100 + 100 + 2 * (SETTLE + ISSUE)), (300, 2 * 300)):
        steps = chain(Queue.ARRAY) + chain(Queue.DEPTHWISE, cycles=second)
        turns = interleave(steps, (), 2, 8, 8)
        assert _group_cycles(steps, turns, 2) == expected
    load, reader = Step(Queue.WEIGHTS, Cycles(0, 500, 7), False, 4), Step(Queue.ARRAY, Cycles(0, 10, 0), True, 0, (0,))
    turns = interleave((load, reader), (), 1, 8, 8)
    assert _group_cycles((load, reader), turns, 1) == 500 + 7 + ISSUE + 10, "four rows that are free again"


def test_owners_of_rows() -> None:
    """Against an array with the owner of each row."""
    rng, owners, rows, shared = np.random.default_rng(3), _Owners(), np.full(60, -1), 0
    for number in range(500):
        first = int(rng.integers(60))
        size = int(rng.integers(1, 61 - first))
        before = owners.take(first, size, number)
        assert set(before) == {*rows[first : first + size].tolist()} - {-1}
        rows[first : first + size] = number
        shared += len(before) > 1
    assert shared > 100


# --------------------------------------------------------------------------------------------------------------------
# Each property's checker finds a broken order

EXAMPLE = next(
    w for w in map(work, range(300)) if w.slots == 3 and w.fits() and w.regions and any(r.beside for r in w.regions)
)


def find(turns: Sequence[Turn], choose: Callable[[Step], bool]) -> int:
    return next(n for n, t in enumerate(turns) if choose(EXAMPLE.steps[t.step]))


def swapped(turns: list[Turn]) -> list[Turn]:
    """Two runs of slot 1."""
    a, b = [n for n, t in enumerate(turns) if t.slots == 2][:2]
    turns[a], turns[b] = turns[b], turns[a]
    return turns


def dropped(turns: list[Turn]) -> list[Turn]:
    del turns[[n for n, t in enumerate(turns) if t.slots == 4][-1]]
    return turns


def repeated(turns: list[Turn]) -> list[Turn]:
    return [*turns, turns[-1]]


def widened(turns: list[Turn]) -> list[Turn]:
    """A run for two slots in one turn."""
    at = find(turns, lambda s: not s.rows)
    turns[at] = turns[at]._replace(slots=3)
    return turns


def loaded_for_one(turns: list[Turn]) -> list[Turn]:
    at = find(turns, lambda s: s.rows > 0)
    turns[at] = turns[at]._replace(slots=1)
    return turns


def loaded_twice(turns: list[Turn]) -> list[Turn]:
    at = find(turns, lambda s: s.rows > 0)
    return [*turns[: at + 1], *turns[at:]]


def loaded_late(turns: list[Turn]) -> list[Turn]:
    """A load behind the first instruction that reads it."""
    at = find(turns, lambda s: s.rows > 0)
    reader = find(turns, lambda s: turns[at].step in s.loads)
    turns.insert(reader, turns.pop(at))
    return turns


def loaded_early(turns: list[Turn]) -> list[Turn]:
    """A load onto rows that are still read, before their last reader."""
    for late, turn in enumerate(turns):
        step = EXAMPLE.steps[turn.step]
        for load in step.loads:
            at = find(turns, lambda s, load=load: s is EXAMPLE.steps[load])  # type: ignore[misc]
            for over in range(late + 1, len(turns)):
                size = EXAMPLE.steps[turns[over].step].rows
                if size and turns[over].row < turns[at].row + EXAMPLE.steps[load].rows and turns[over].row >= 0:
                    last = max(n for n, t in enumerate(turns) if load in EXAMPLE.steps[t.step].loads)
                    if last < over and turns[over].row + size > turns[at].row:
                        turns.insert(last, turns.pop(over))
                        return turns
    raise AssertionError


def outside(turns: list[Turn]) -> list[Turn]:
    at = find(turns, lambda s: s.rows > 0)
    turns[at] = turns[at]._replace(row=EXAMPLE.ring_rows - EXAMPLE.steps[turns[at].step].rows + 1)
    return turns


def torn(turns: list[Turn]) -> list[Turn]:
    """A load of a region one row on."""
    at = [n for n, t in enumerate(turns) if EXAMPLE.steps[t.step].region >= 0][-1]
    turns[at] = turns[at]._replace(row=turns[at].row + 1)
    return turns


def invaded(turns: list[Turn]) -> list[Turn]:
    """A streamed load on a row of the region."""
    number = next(n for n, r in enumerate(EXAMPLE.regions) if r.beside)
    begin = find(turns, lambda s: s.region == number)
    members = {t.step for t in turns if EXAMPLE.steps[t.step].region == number}
    end = max(n for n, t in enumerate(turns) if members & {*EXAMPLE.steps[t.step].loads})
    at = next(n for n in range(begin, end) if (s := EXAMPLE.steps[turns[n].step]).rows and s.region < 0)
    turns[at] = turns[at]._replace(row=turns[begin].row)
    return turns


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        (swapped, frames_in_order),
        (dropped, frames_in_order),
        (repeated, frames_in_order),
        (widened, frames_in_order),
        (loaded_for_one, loads_are_shared),
        (loaded_twice, loads_are_shared),
        (loaded_late, readers_follow),
        (loaded_early, rows_stay),
        (outside, rows_stay),
        (invaded, rows_stay),
        (invaded, regions_are_whole),
        (torn, regions_are_whole),
    ],
)
def test_a_broken_order_is_found(change: Callable[[list[Turn]], list[Turn]], broken: Property) -> None:
    turns = EXAMPLE.turns()
    assert broken(EXAMPLE, turns) is None
    assert broken(EXAMPLE, change(turns)) is not None


# --------------------------------------------------------------------------------------------------------------------
# What the order is for


def chain(*queues: Queue, cycles: int = 100) -> tuple[Step, ...]:
    return tuple(Step(q, Cycles(0, cycles, 0), True) for q in queues)


def test_frames_use_different_engines_at_a_time() -> None:
    """Two engines in turn: while one works for slot 0, the other one works for slot 1."""
    steps = chain(Queue.ARRAY, Queue.DEPTHWISE, Queue.ARRAY, Queue.DEPTHWISE)
    turns = interleave(steps, (), 2, 64, 0)
    assert [(t.step, t.slots) for t in turns] == [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2)]


def test_who_can_begin_first_is_first() -> None:
    """Slot 0's second step is long; slot 1 cannot use its engine, but two others meanwhile."""
    steps = (
        *chain(Queue.ARRAY, cycles=10),
        *chain(Queue.ATTENTION, cycles=1000),
        *chain(Queue.DEPTHWISE, Queue.ELTWISE, cycles=10),
    )
    turns = interleave(steps, (), 2, 64, 0)
    assert [(t.step, t.slots) for t in turns] == [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (3, 1), (2, 2), (3, 2)]


def reader(load: int) -> Step:
    return Step(Queue.ARRAY, Cycles(0, 10, 0), True, loads=(load,))


def loading(rows: int) -> Step:
    return Step(Queue.WEIGHTS, Cycles(70, 2 * rows, 3), False, rows)


def test_a_full_ring_holds_the_first_frame_back() -> None:
    """Both loads do not fit: slot 0 waits until slot 1 has read the first one."""
    steps = (loading(40), reader(0), loading(40), reader(2))
    assert interleave(steps, (), 2, 64, 0) == [
        Turn(0, 3, 0), Turn(1, 1), Turn(1, 2), Turn(2, 3, 0), Turn(3, 1), Turn(3, 2)
    ]  # fmt: skip
    rows = [t.row for t in interleave(steps, (), 2, 80, 0) if t.row >= 0]
    assert rows == [0, 40]


def test_rows_of_a_single_load_must_fit() -> None:
    assert len(interleave((loading(64), reader(0)), (), 4, 64, 0)) == 5
    with pytest.raises(InternalError, match="block each other"):
        interleave((loading(65), reader(0)), (), 1, 64, 0)


def test_a_region_needs_room_beside() -> None:
    steps = (replace(loading(40), region=0), reader(0), loading(24), reader(2), reader(0))
    for slots in (1, 3):
        turns = interleave(steps, (Region(40, 24),), slots, 64, 0)
        assert [t.row for t in turns if t.row >= 0] == [0, 40]
        with pytest.raises(InternalError, match="block each other"):
            interleave(steps, (Region(40, 24),), slots, 63, 0)


@pytest.mark.parametrize("slots", [1, 3])
def test_a_region_leaves_room_in_a_piece(slots: int) -> None:
    """Behind the first load it would leave 20 rows before and 14 behind it: it begins at row 0."""
    steps = (loading(20), reader(0), replace(loading(30), region=0), reader(2), loading(30), reader(4), reader(2))
    turns = interleave(steps, (Region(30, 30),), slots, 64, 0)
    assert [t.row for t in turns if t.row >= 0] == [0, 0, 30]


def test_ring_rows_go_round() -> None:
    """What is loaded next lies behind what was loaded last, where that leaves room in a piece."""
    ring = _Ring(100, 200, 100)
    rows = []
    for key, size in enumerate((40, 40, 30, 50, 50)):
        while (start := ring.find(size)) is None:
            ring.read(min(ring.live))  # the oldest
        ring.take(key, start, size, 1)
        rows.append(start)
    assert rows == [100, 140, 100, 130, 100]
    ring = _Ring(100, 200, 150)
    assert ring.find(20, 30) == 150 and ring.find(20, 50) == 150, "50 rows before it"
    assert ring.find(20, 80) == 100, "no room in a piece for 80 rows if it began at 150"
    assert ring.find(60, 41) is None and ring.find(101) is None
    ring.take(9, 130, 20, 1)
    assert ring.find(31) == 150 and ring.find(30) == 150 and ring.find(51) is None
    ring.next = 190
    assert ring.find(30) == 100 and ring.find(50) == 150
