# SPDX-License-Identifier: Apache-2.0
"""The cycle model: single instructions by hand, and whole Programs against a simulation that goes cycle by cycle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from hwgen.errors import InternalError
from hwgen.plan import Options, plan
from hwgen.plan.program import INSTRUCTION, Config, Flag, Opcode, Program, Queue, instruction, queues
from hwgen.plan.timing import ISSUE, SETTLE, START, Cycles, Timeline, cycles, play, simulate
from plan_boards import LARGE
from random_graphs import random_graph

MACHINE = Config(blocks=4, acc_groups=8, requantize_words=4, residual_words=2, head_dim=32)
CONV = {"y_rows": 1, "kernel_h": 1, "kernel_w": 1, "stride_h": 1, "stride_w": 1, "flags": int(Flag.PACKED)}
WINDOW = {"kernel_h": 3, "kernel_w": 3, "stride_h": 1, "stride_w": 1}


def cost(opcode: Opcode, **fields: int) -> Cycles:
    return cycles(instruction(opcode, **fields), MACHINE)


# --------------------------------------------------------------------------------------------------------------------
# Single instructions. What is added up is in the headers of templates/rtl/*_engine.sv, in their order.


def test_conv_of_one_run() -> None:
    """2 x 10 pixels are 6 pixel groups of 4, less than the 8 that the accumulators take."""
    shape = CONV | {"mode": 2, "y_groups": 1, "y_rows": 2, "y_cols": 10, "ci_groups": 3}
    found = cost(Opcode.CONV, **shape)
    assert found == Cycles(20 + 15, 3 * 6, 35 + (6 + 1) + 15)
    assert cost(Opcode.CONV, **shape | {"flags": 0}).main == 2 * 3 * 6, "weights that are not packed: twice"
    window = shape | WINDOW
    assert cost(Opcode.CONV, **window) == Cycles(35, 9 * 3 * 6, 35 + 7 + 15)
    few = shape | {"y_rows": 1, "y_cols": 5}
    assert cost(Opcode.CONV, **few) == Cycles(35, 3 * 4, 35 + (2 + 1) + 15), "at least 4 cycles a step"
    tall = shape | {"mode": 0, "y_groups": 4, "y_rows": 1, "y_cols": 5}
    assert cost(Opcode.CONV, **tall) == Cycles(35, 3 * 8, 35 + (5 * 4 + 1) + 15), "2 T for T = 4"


def test_conv_of_many_runs() -> None:
    """40 pixel groups are 5 runs of 8, and 3 tiles."""
    shape = CONV | {"mode": 2, "y_groups": 3, "y_cols": 160}
    # the array is slower
    found = cost(Opcode.CONV, **shape, ci_groups=10)
    assert found == Cycles(35, 3 * 5 * 80, 35 + 9 + 15)
    # two short runs take one of them and 37
    short = cost(Opcode.CONV, **shape, ci_groups=1)
    assert short == Cycles(35, 7 * (8 + 37) + 8, 35 + 9 + 15)
    # the epilogue is slower: residuals to 2 of 4 words a cycle, then 2 words of 16 pixels with mode 4
    added = cost(Opcode.CONV, **shape | {"flags": int(Flag.PACKED | Flag.ADD)}, ci_groups=1)
    assert added.alone >= 35 + 8 + 35 + 15 * (8 * 2 + 1) + 23
    wide = Config(blocks=16, acc_groups=8, requantize_words=4)
    record = instruction(Opcode.CONV, **CONV | {"mode": 4, "y_groups": 2, "y_cols": 16 * 16, "ci_groups": 2})
    assert cycles(record, wide).alone == 35 + 16 + 35 + 4 * (8 * 4 + 1) + 15


def test_conv_with_a_table() -> None:
    """The epilogue begins when the table is there, if the array is not slower."""
    shape = CONV | {"mode": 2, "y_groups": 1, "y_cols": 24}
    flags = int(Flag.PACKED | Flag.TABLE)
    table = cost(Opcode.CONV, **shape | {"flags": flags}, ci_groups=3)
    assert table.alone == 35 + (25 + 32 * 2) + 7 + 15
    wide = cost(Opcode.CONV, **shape | {"flags": flags | int(Flag.WIDE)}, ci_groups=3)
    assert wide.alone == 35 + (25 + 32 * 32) + 7 + 15
    slow, plain = (cost(Opcode.CONV, **shape | {"flags": f}, ci_groups=20) for f in (flags, int(Flag.PACKED)))
    assert slow == plain
    held = cost(Opcode.CONV, **shape | {"flags": flags | int(Flag.RETAIN)}, ci_groups=3)
    assert held == cost(Opcode.CONV, **shape, ci_groups=3)


@pytest.mark.parametrize(
    ("window", "stride", "cols", "row"),
    [
        ((3, 3), (1, 1), 12, 3),  # 3 cycles for 12 outputs
        ((3, 3), (1, 1), 13, 4),
        ((3, 3), (2, 2), 7, 2),  # 2 for 7
        ((3, 3), (2, 2), 8, 4),
        ((5, 5), (1, 1), 12, 9),  # 9 for 12
        ((5, 5), (2, 2), 12, 3 * 6),
        ((4, 4), (1, 1), 12, 3 * 3),
        ((5, 3), (1, 1), 12, 3 * 2),
        ((1, 1), (2, 1), 12, 3 * 2),
    ],
)
def test_depthwise(window: tuple[int, int], stride: tuple[int, int], cols: int, row: int) -> None:
    shape = {"kernel_h": window[0], "kernel_w": window[1], "stride_h": stride[0], "stride_w": stride[1]}
    shape |= {"y_cols": cols, "pad_top": 1}
    assert cost(Opcode.DEPTHWISE, **shape, y_groups=2, y_rows=20) == Cycles(35, 2 * 20 * row, 25)
    lower = cost(Opcode.DEPTHWISE, **shape, y_groups=2, y_rows=20, x_first=5)
    assert lower.main == 2 * 21 * row, "a tile below another reads the row of its overlap"


def test_depthwise_weights_and_tables() -> None:
    shape = WINDOW | {"y_groups": 3, "y_rows": 1, "y_cols": 4}
    assert cost(Opcode.DEPTHWISE, **shape).main == 3 * (9 + 1), "weights take taps + 1"
    table = cost(Opcode.DEPTHWISE, **shape, flags=int(Flag.TABLE))
    wide = cost(Opcode.DEPTHWISE, **shape, flags=int(Flag.TABLE | Flag.WIDE))
    assert 70 <= table.lead <= 110 and 1000 <= wide.lead <= 1100, "about 100 or 1,060 cycles"


def test_eltwise() -> None:
    shape = {"y_groups": 3, "y_rows": 2, "y_cols": 7}
    assert cost(Opcode.ELTWISE, **shape, flags=int(Flag.ADD)) == Cycles(12, 3 * 2 * 4, 19)
    assert cost(Opcode.ELTWISE, **shape, flags=int(Flag.TABLE)).alone == 12 + 3 * 2 * 4 + 19 + 75
    assert cost(Opcode.ELTWISE, **shape, flags=int(Flag.TABLE | Flag.RETAIN)) == cost(Opcode.ELTWISE, **shape)
    four = Config(residual_words=4)
    assert cycles(instruction(Opcode.ELTWISE, **shape), four).main == 3 * 2 * 2


@pytest.mark.parametrize(("bits", "digits"), [(20, 3), (24, 3), (25, 4), (32, 4)])
def test_attention(bits: int, digits: int) -> None:
    """D = 2; units of P = 35 pixels, which are read as 36."""
    config = replace(MACHINE, attention_bits=bits)
    shape = {"y_groups": 6, "y_rows": 5, "y_cols": 7}
    first, second = 2 * (36 + 15), digits * 2 * 35
    found = cycles(instruction(Opcode.ATTENTION, **shape), config)
    assert found.alone == 106 + 17 * digits * 2 + 6 * first + 5 * second + second
    found = cycles(instruction(Opcode.ATTENTION, **shape, flags=int(Flag.QUANTIZED)), config)
    more = 192 * 2 + 32 + digits
    assert found.alone == 419 + (192 + digits) * 2 + 6 * first + 5 * more + second, "preparing takes longer"


def test_input() -> None:
    """A cycle a pixel, 7 a command and a few a row."""
    shape = {"y_rows": 9, "y_cols": 20, "channels": 3, "block": 1}
    plain = cost(Opcode.LOAD_INPUT, **shape)
    assert 9 * 21 + 7 <= plain.main <= 9 * 24 + 7
    tables = cost(Opcode.LOAD_INPUT, **shape, flags=int(Flag.IMAGE))
    assert tables.main == plain.main and tables.lead - plain.lead == 64 * 3
    assert cost(Opcode.LOAD_INPUT, **shape, flags=int(Flag.IMAGE | Flag.RETAIN)) == plain


def test_head() -> None:
    pool = {"y_groups": 4, "y_group0": 5, "x_height": 7, "x_cols": 7}
    assert cost(Opcode.POOL, **pool).alone == 4 * 2 * 13 + 3 + 3 + 60, "13 windows of 4 pixels in 2 steps"
    large = instruction(Opcode.POOL, **pool | {"x_height": 21})
    for outputs in (8, 4, 2):
        steps = 16 // outputs
        assert cycles(large, Config(mlp_outputs=outputs)).alone == 4 * 37 * steps + 3 + 3 + 60, "147 pixels: 37 windows"
    linear = {"y_groups": 5, "ci_groups": 10}
    assert cost(Opcode.LINEAR, **linear).alone == 5 * 21 + 55, "20 rows of weights and one of parameters"
    narrow = [cycles(instruction(Opcode.LINEAR, **linear), Config(mlp_outputs=n)).alone for n in (4, 2)]
    assert narrow == [5 * 40 + 55, 5 * 80 + 55]
    assert cost(Opcode.LINEAR, **linear | {"ci_groups": 2}).alone == 5 * 17 + 55
    wide = cost(Opcode.LINEAR, **linear, flags=int(Flag.TABLE | Flag.WIDE))
    assert wide.alone == 5 * 21 + 55 + 32 * 32
    norm = [cost(Opcode.LAYER_NORM, y_groups=n).alone for n in (4, 10)]
    assert norm[1] - norm[0] == 19 * 6 and 140 <= norm[0] - 19 * 4 <= 190
    assert cost(Opcode.LAYER_NORM, y_groups=4, flags=int(Flag.TABLE)).alone == norm[0] + 64


def test_memory() -> None:
    assert cost(Opcode.LOAD_WEIGHTS, w_rows=100).main == 200, "128 bytes through four ports of 16"
    assert cost(Opcode.STORE, x_groups=3, x_height=4, x_cols=5).main == 3 * 4 * 5


def test_an_unknown_opcode_is_refused() -> None:
    record = instruction(Opcode.CONV)
    record["opcode"] = 99
    with pytest.raises(InternalError, match="opcode 99"):
        cycles(record, MACHINE)


# --------------------------------------------------------------------------------------------------------------------
# A simulation that looks at every cycle


class _Queue:
    """One queue in the simulation: three stages, all in order.

    A record waits, and comes to the engine ISSUE cycles after its waits are met; its main part begins when its lead is
    over and the one before has had its own; it counts when what it wrote has settled. One of a missing frame passes.
    """

    def __init__(self, queue: Queue, work: list[tuple[int, int, bool]]) -> None:
        self.queue = queue
        self.work = work
        """Group, record and whether its frame exists"""
        self.given = 0
        self.given_at = self.free_at = self.end = START
        self.engine: list[tuple[int, int]] = []
        """Given and not yet begun: record (-1: missing), time"""
        self.counted_at: list[int] = []
        """Of what has begun; 0: with the one before"""
        self.count = 0


def stepped(
    records: npt.NDArray[Any], found: Sequence[int], costs: Sequence[Cycles], slots: int, frames: int, limit: int
) -> list[int] | None:
    """Ends of the STOREs, looking at every cycle; None if not all are complete after ``limit`` cycles."""
    all_queues = []
    for queue in Queue:
        work = []
        for group in range(-(-frames // slots)):
            here = [f - group * slots for f in range(group * slots, min(frames, (group + 1) * slots))]
            for i, number in enumerate(found):
                if number == queue:
                    work.append((group, i, any(int(records["slots"][i]) >> slot & 1 for slot in here)))
        all_queues.append(_Queue(queue, work))
    waits, masks = records["waits"].tolist(), records["wait_mask"].tolist()
    sizes = [list(found).count(q) for q in Queue]
    stores: list[int] = []
    memory_at = START

    def met(group: int, i: int) -> bool:
        return all(
            all_queues[e].count >= group * sizes[e] + waits[i][e] for e in range(len(Queue)) if masks[i] >> e & 1
        )

    def give(q: _Queue, now: int) -> bool:
        group, i, exists = q.work[q.given]
        if exists:
            alone = q.queue not in (Queue.MLP, Queue.STORE) or q.count == q.given
            if q.given_at > now or not alone or not met(group, i):
                return False
            q.given_at = now + ISSUE
        q.engine.append((i, now + ISSUE) if exists else (-1, now))
        q.given += 1
        return True

    def begin(q: _Queue, now: int) -> bool:
        nonlocal memory_at
        i, at = q.engine[0]
        if i < 0:
            q.counted_at.append(0)
        elif max(at, q.free_at) > now:
            return False
        else:
            loader = q.queue in (Queue.WEIGHTS, Queue.HEAD)  # they share the memory: who comes first
            first = max(at + costs[i].lead, q.free_at, memory_at if loader else 0)
            late = max(0, q.end + costs[i].after - (first + costs[i].main + costs[i].tail))  # behind its turn
            q.free_at = first + costs[i].main + (late if costs[i].after else 0)
            memory_at = q.free_at if loader else memory_at
            q.end = first + costs[i].main + costs[i].tail + late
            q.counted_at.append(q.end + (2 if loader or q.queue == Queue.STORE else SETTLE))
            if records["opcode"][i] == Opcode.STORE:
                stores.append(q.end)
        q.engine.pop(0)
        return True

    for now in range(START, limit):
        moved = True
        while moved:
            moved = False
            for q in all_queues:
                while q.count < len(q.counted_at) and q.counted_at[q.count] <= now:
                    q.count += 1
                    moved = True
            for q in all_queues:
                while q.given < len(q.work) and give(q, now):
                    moved = True
            for q in all_queues:
                while q.engine and begin(q, now):
                    moved = True
        if all(q.count == len(q.work) for q in all_queues):
            return sorted(stores)
    return None


OPCODE_OF = {
    Queue.WEIGHTS: Opcode.LOAD_WEIGHTS,
    Queue.HEAD: Opcode.LOAD_WEIGHTS,
    Queue.INPUT: Opcode.LOAD_INPUT,
    Queue.ARRAY: Opcode.CONV,
    Queue.DEPTHWISE: Opcode.DEPTHWISE,
    Queue.ELTWISE: Opcode.ELTWISE,
    Queue.ATTENTION: Opcode.ATTENTION,
    Queue.MLP: Opcode.LINEAR,
    Queue.STORE: Opcode.STORE,
}


def random_program(seed: int, *, head: bool = True) -> tuple[npt.NDArray[Any], list[Cycles], int]:
    """Records with random waits for what comes before them, their cycles, and the slots. Each slot has its STORE."""
    rng = np.random.default_rng(seed)
    slots = int(rng.integers(1, 4))
    kinds = [q for q in Queue if q != Queue.STORE and (head or q != Queue.HEAD)]
    order = [Queue(q) for q in rng.choice(kinds, rng.integers(4, 16))]
    records = []
    users = []
    for q in order:
        load = q in (Queue.WEIGHTS, Queue.HEAD)
        users.append((1 << slots) - 1 if load else 1 << int(rng.integers(slots)))
    for slot in range(slots):
        order.append(Queue.STORE)
        users.append(1 << slot)
    counts = [order.count(q) for q in Queue]
    for number, (q, user) in enumerate(zip(order, users, strict=True)):
        waits = [0] * len(Queue)
        mask = 0
        for other in rng.permutation(len(Queue))[: rng.integers(0, 4)].tolist():
            before = order[:number].count(Queue(other))
            mask |= 1 << other
            waits[other] = int(rng.integers(-counts[other], before + 1))
        row = MACHINE.ring_rows if q == Queue.HEAD else 0
        records.append(instruction(OPCODE_OF[q], slots=user, waits=waits, wait_mask=mask, w_row=row, w_rows=1))
    long = int(rng.choice([10, 100, 400]))
    costs = [Cycles(*(int(v) for v in (rng.integers(40), rng.integers(1, long), rng.integers(40)))) for _ in order]
    return np.array(records, INSTRUCTION), costs, slots


@pytest.mark.parametrize("seeds", range(0, 60, 20))
def test_random_programs_agree_with_the_stepped_simulation(seeds: int) -> None:
    missing = 0
    for seed in range(seeds, seeds + 20):
        records, costs, slots = random_program(seed)
        found = queues(records, MACHINE)
        for frames in (1, 3, 5):
            expected = stepped(records, found.tolist(), costs, slots, frames, 40_000)
            result = play(records, found, costs, slots, frames)
            assert list(result.done) == expected, (seed, frames)
            assert len(result.done) == frames
            missing += frames % slots > 0
    assert missing > 5


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_planned_programs_agree_with_the_stepped_simulation(slots: int) -> None:
    program = planned(31, slots)
    costs = [cycles(r, program.config) for r in program.instructions]
    found = queues(program.instructions, program.config).tolist()
    frames = slots + 1
    expected = stepped(program.instructions, found, costs, slots, frames, 60_000)
    assert list(simulate(program, frames).done) == expected


def planned(seed: int, slots: int) -> Program:
    return plan(random_graph(seed), LARGE, options=Options(slots=slots)).program


# --------------------------------------------------------------------------------------------------------------------
# Waits


def chained(*steps: tuple[Queue, int, dict[Queue, int]]) -> npt.NDArray[Any]:
    """Records of queue, slots and waits."""
    return np.array(
        [
            instruction(
                OPCODE_OF[q],
                slots=slots,
                waits=[waits.get(e, 0) for e in Queue],
                wait_mask=sum(1 << e for e in waits),
                w_rows=1,
            )
            for q, slots, waits in steps
        ],
        INSTRUCTION,
    )


def played(records: npt.NDArray[Any], costs: Sequence[Cycles], slots: int = 1, frames: int = 1) -> Timeline:
    return play(records, queues(records, MACHINE), costs, slots, frames)


TEN = Cycles(5, 10, 3)


def test_who_waits_begins_when_the_other_is_settled() -> None:
    records = chained((Queue.ARRAY, 1, {}), (Queue.STORE, 1, {Queue.ARRAY: 1}))
    array = START + ISSUE + TEN.alone
    assert played(records, [TEN, TEN]).done == (array + SETTLE + ISSUE + TEN.alone,)
    records["wait_mask"] = 0
    assert played(records, [TEN, TEN]).done == (START + ISSUE + TEN.alone,)
    assert played(records, [TEN, TEN]).busy[Queue.STORE] == TEN.alone


def test_the_next_lead_overlaps() -> None:
    """Main parts follow each other; the one after is given to the engine early."""
    records = chained(*[(Queue.ARRAY, 1, {})] * 3, (Queue.STORE, 1, {Queue.ARRAY: 3}))
    begin = START + ISSUE + 5
    done = begin + 3 * 10 + 3
    assert played(records, [TEN] * 4).done == (done + SETTLE + ISSUE + TEN.alone,)
    assert played(records, [TEN] * 4).busy[Queue.ARRAY] == 5 + 3 * 10 + 3
    serial = chained(*[(Queue.MLP, 1, {})] * 3, (Queue.STORE, 1, {Queue.MLP: 3}))
    assert played(serial, [TEN] * 4).done == (START + 3 * (ISSUE + TEN.alone + SETTLE) + ISSUE + TEN.alone,)


def test_a_queue_gives_its_instructions_in_order() -> None:
    """The second one waits for nothing, but its long lead begins when the first one has been given."""
    records = chained(
        (Queue.ELTWISE, 1, {}),
        (Queue.ARRAY, 1, {Queue.ELTWISE: 1}),
        (Queue.ARRAY, 1, {}),
        (Queue.STORE, 1, {Queue.ARRAY: 2}),
    )
    costs = [Cycles(0, 2000, 0), Cycles(0, 10, 0), Cycles(1000, 10, 0), TEN]
    given = START + ISSUE + 2000 + SETTLE + ISSUE
    assert played(records, costs).done == (given + ISSUE + 1010 + SETTLE + ISSUE + TEN.alone,)


def test_short_instructions_complete_one_cycle_apart() -> None:
    """What was written settles in a delay line, not one instruction after the other."""
    records = chained(*[(Queue.ELTWISE, 1, {})] * 20, (Queue.STORE, 1, {Queue.ELTWISE: 20}))
    costs = [Cycles(0, 1, 19)] * 20 + [TEN]
    last_given = START + 20 * ISSUE
    assert played(records, costs).done == (last_given + 1 + 19 + SETTLE + ISSUE + TEN.alone,)


def test_loaders_share_the_memory() -> None:
    records = chained(
        (Queue.WEIGHTS, 1, {}), (Queue.WEIGHTS, 1, {}), (Queue.STORE, 1, {Queue.WEIGHTS: 1, Queue.HEAD: 1})
    )
    records["w_row"][1] = MACHINE.ring_rows  # of HEAD
    costs = [Cycles(10, 100, 3), Cycles(10, 50, 3), TEN]
    assert played(records, costs).done == (START + ISSUE + 10 + 150 + 3 + 2 + ISSUE + TEN.alone,)


@pytest.mark.parametrize(
    "waits",
    [{Queue.ARRAY: 1}, {Queue.ARRAY: 3}, {Queue.STORE: 1}, {Queue.ATTENTION: 1}],
    ids=lambda w: next(iter(w)).name,
)
def test_waits_that_never_hold(waits: dict[Queue, int]) -> None:
    """For itself, for more than there are, in a circle, for an engine without instructions."""
    records = chained((Queue.ARRAY, 1, waits), (Queue.ARRAY, 1, {}), (Queue.STORE, 1, {Queue.ARRAY: 1}))
    with pytest.raises(InternalError, match=r"instruction 0 waits for ever"):
        played(records, [TEN] * 3)
    assert stepped(records, queues(records, MACHINE).tolist(), [TEN] * 3, 1, 1, 1000) is None


def test_counts_of_the_group_before() -> None:
    """0: all of the queue's instructions of the group before; -1: all but the last."""
    for wait in (0, -1):
        records = chained((Queue.ARRAY, 1, {Queue.STORE: wait}), (Queue.STORE, 1, {Queue.ARRAY: 1}))
        done = played(records, [TEN, TEN], frames=3).done
        step = TEN.alone + SETTLE + ISSUE + TEN.alone
        assert done[0] == START + ISSUE + step
        if wait == 0:
            assert np.diff(done).tolist() == [step + 2 + ISSUE] * 2
        else:
            assert max(np.diff(done)) < step


def test_missing_frames_are_skipped() -> None:
    """What is for slot 1 takes no time and waits for nothing where the last group has one frame."""
    slow = Cycles(0, 5000, 0)
    records = chained(
        (Queue.ARRAY, 1, {}),
        (Queue.ARRAY, 2, {Queue.ATTENTION: 1}),
        (Queue.STORE, 2, {Queue.ARRAY: 2}),
        (Queue.ATTENTION, 2, {Queue.ELTWISE: 9}),
        (Queue.STORE, 1, {Queue.ARRAY: 2}),
    )
    costs = [TEN, slow, TEN, slow, TEN]
    alone = played(records, costs, 2, 1)
    assert alone.done == (START + ISSUE + TEN.alone + SETTLE + ISSUE + TEN.alone,)
    assert alone.busy[Queue.ATTENTION] == 0 and alone.busy[Queue.ARRAY] == TEN.alone
    with pytest.raises(InternalError, match=r"instruction [13] waits"):
        played(records, costs, 2, 2)
    records["wait_mask"][3] = 0
    assert len(played(records, costs, 2, 2).done) == 2 and len(played(records, costs, 2, 3).done) == 3


def test_epilogues_follow_each_other() -> None:
    """A CONV whose epilogue is longer than its products waits for the epilogue before it, its products with it."""
    found = cost(Opcode.CONV, **CONV | {"mode": 2, "y_groups": 1, "y_rows": 2, "y_cols": 10, "ci_groups": 3})
    assert found.after == 6 + 1 + 2
    conv = Cycles(35, 100, 40, 90)
    assert conv.ends(1000, 0) == (1100, 1140), "nothing before it"
    assert conv.ends(1000, 1040) == (1100, 1140), "before + 90 is earlier"
    assert conv.ends(1000, 1120) == (1170, 1210)
    assert Cycles(35, 100, 40).ends(1000, 1300) == (1100, 1300), "other engines only keep the order"


# --------------------------------------------------------------------------------------------------------------------
# Sanity


def test_interval() -> None:
    line = Timeline((100, 200, 300, 400, 500, 640), (0,) * len(Queue))
    assert line.interval() == 120.0 and line.interval(2) == 110.0


@pytest.mark.parametrize("slots", [1, 2, 3])
@pytest.mark.parametrize("seed", [30, 31, 36])
def test_frames_take_time(seed: int, slots: int) -> None:
    program = planned(seed, slots)
    found = queues(program.instructions, program.config)
    mains = np.bincount(found, [cycles(r, program.config).main for r in program.instructions], len(Queue))
    before = 0
    for frames in range(1, 10):
        line = simulate(program, frames)
        assert len(line.done) == frames and line.done[-1] >= before, "more frames never finish earlier"
        before = line.done[-1]
        if frames % slots == 0:
            assert before >= START + frames // slots * mains.max(), "an engine does one thing at a time"
            assert all(busy >= frames // slots * m for busy, m in zip(line.busy, mains.tolist(), strict=True))
            assert max(line.busy) <= before
    many = simulate(program, 12 * slots)
    assert many.interval(4 * slots) >= mains.max() / slots - 1
    assert many.interval(4 * slots) <= many.done[0], "frames overlap"


def test_slots_overlap() -> None:
    """A frame in each of two slots: less time a frame than one after the other."""
    one, two = (simulate(planned(31, slots), 16).interval() for slots in (1, 2))
    assert two < 0.75 * one


def test_a_longer_instruction_is_never_faster() -> None:
    for seed in range(25):
        records, costs, slots = random_program(seed, head=False)  # with two loaders the memory's order may change
        base = played(records, costs, slots, 5)
        for number, c in enumerate(costs):
            for longer in (
                Cycles(c.lead + 50, c.main, c.tail),
                Cycles(c.lead, c.main + 50, c.tail),
                Cycles(c.lead, c.main, c.tail + 50),
            ):
                changed = [*costs[:number], longer, *costs[number + 1 :]]
                line = played(records, changed, slots, 5)
                assert all(after >= before for after, before in zip(line.done, base.done, strict=True))


def test_an_added_wait_is_never_faster() -> None:
    for seed in range(25):
        records, costs, slots = random_program(seed, head=False)
        base = played(records, costs, slots, 5)
        for number in range(len(records)):
            free = records.copy()
            free["wait_mask"][number] = 0
            line = played(free, costs, slots, 5)
            assert all(after <= before for after, before in zip(line.done, base.done, strict=True))
