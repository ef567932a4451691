# SPDX-License-Identifier: Apache-2.0
"""Waits: the proof accepts those of the planner and finds each that is missing or too low; a simulation of engines of
random speed agrees with it. Also the order of program.bin, and the two rings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from hwgen import ir
from hwgen.errors import FitError, InternalError
from hwgen.plan import Options, Segment, plan
from hwgen.plan.kernel import describe, vectors
from hwgen.plan.layout import stripe
from hwgen.plan.order import SERIAL, Access, prove_order
from hwgen.plan.program import (
    INSTRUCTION,
    INSTRUCTION_BYTES,
    ROW_BYTES,
    VECTOR,
    Flag,
    Opcode,
    Program,
    Queue,
    instruction,
    program_from_bytes,
    queue_of,
    queues,
)
from hwgen.plan.proof import _Proof
from hwgen.plan.waits import COUNT_MAX, synchronize
from plan_boards import LARGE, differences
from random_graphs import Builder, efficientvit, random_graph, random_image
from random_programs import OPCODES, SMALL, case

BITS = range(len(Queue))


def planned(seed: int = 5, **options: int) -> tuple[ir.Graph, Program]:
    graph = random_graph(seed)
    return graph, plan(graph, LARGE, options=Options(**options)).program  # type: ignore[arg-type]


def accesses(graph: ir.Graph, program: Program) -> list[Access]:
    proof = _Proof(program, graph)
    proof.run()
    return proof.accesses


GRAPH, PROGRAM = planned(5, blocks=4, ring_rows=256)
ACCESSES = accesses(GRAPH, PROGRAM)


# --------------------------------------------------------------------------------------------------------------------
# Engines of random speed


def collides(steps: Sequence[Access], slots: int, seed: int, frames: int | None = None) -> str | None:
    """Runs engines of random speed; the first conflict of two accesses in time, or None. Reads of docs/machine.md:
    waits, one count for each queue; what is for missing frames counts in its turn and waits for nothing.

    ``frames``: three whole groups if not given."""
    frames = 3 * slots if frames is None else frames
    rng = np.random.default_rng(seed)
    speed = rng.choice([1, 5, 50], len(Queue))
    counts = [sum(a.queue == q for a in steps) for q in BITS]
    done: list[list[float]] = [[] for _ in BITS]
    started: list[float] = [0.0] * len(Queue)
    ended: list[float] = [0.0] * len(Queue)
    times = []
    for group in range(-(-frames // slots)):  # waits reach back in this order only, so one pass is enough
        for a in steps:
            if group * slots + a.slot >= frames:  # of a load the first slot that it serves
                done[a.queue].append(ended[a.queue])
                continue
            start = (ended if a.queue in SERIAL else started)[a.queue]
            for q in BITS:
                count = group * counts[q] + a.waits[q]
                if a.wait_mask >> q & 1 and count > 0:
                    start = max(start, done[q][count - 1])
            start += float(rng.random())
            end = max(ended[a.queue], start + float(rng.random()) * float(speed[a.queue]))
            started[a.queue], ended[a.queue] = start, end
            done[a.queue].append(end)
            times.append((start, end, a))
    return _conflict(times)


def _conflict(times: Sequence[tuple[float, float, Access]]) -> str | None:
    """The first pair of accesses to the same rows, one of them a write, that is not in the order of the list."""
    touched: dict[tuple[object, ...], list[tuple[float, float, bool]]] = {}
    for start, end, a in times:
        places: list[tuple[tuple[object, ...], bool]] = [(("pads", a.slot), True)] if a.body else []
        places += [(("ring", row), False) for span in a.ring_reads for row in range(*span)]
        places += [(("ring", row), True) for span in a.ring_writes for row in range(*span)]
        places += [(("vector", a.slot, word), False) for span in a.vector_reads for word in range(*span)]
        places += [(("vector", a.slot, word), True) for span in a.vector_writes for word in range(*span)]
        for place, write in places:
            before = touched.setdefault(place, [])
            serial = place[0] == "ring" and write  # a loader writes in order
            for _, other_end, other_write in before:
                if (write or other_write) and other_end > start and not (serial and other_write):
                    return f"{place} of {a.where}"
            if write:
                before.clear()
            before.append((start, end, write))
    return None


def test_random_speeds_never_collide() -> None:
    assert any(a.wait_mask for a in ACCESSES)
    for seed in range(15):
        assert collides(ACCESSES, 2, seed, frames=3 + seed % 4) is None


def test_the_simulation_sees_missing_waits() -> None:
    """Without any waits nearly every run collides."""
    free = [replace(a, wait_mask=0) for a in ACCESSES]
    assert all(collides(free, 2, seed) is not None for seed in range(3))


def weakened(steps: list[Access]) -> list[tuple[str, list[Access]]]:
    """Every wait removed, and lowered by one."""
    found = []
    for number, access in enumerate(steps):
        for q in BITS:
            if access.wait_mask >> q & 1:
                lower = list(access.waits)
                lower[q] -= 1
                changes = {"removed": {"wait_mask": access.wait_mask ^ 1 << q}, "lowered": {"waits": tuple(lower)}}
                for what, change in changes.items():
                    name = f"{what} {Queue(access.queue).name}<-{Queue(q).name}"
                    changed = replace(access, **change)  # type: ignore[arg-type]
                    found.append((name, [*steps[:number], changed, *steps[number + 1 :]]))
    return found


def test_a_missing_wait_is_found() -> None:
    """Most waits are needed. One that the proof does not miss follows from others: no run collides without it."""
    config = PROGRAM.config
    prove_order(ACCESSES, config)
    needed: dict[str, int] = {}
    spare = []
    for name, steps in weakened(ACCESSES):
        try:
            prove_order(steps, config)
            spare.append((name, steps))
        except InternalError as error:
            assert "waits: may" in str(error)
            needed[name] = needed.get(name, 0) + 1
    total = sum(needed.values())
    assert total > len(spare), "a wait for the frame of one slot often implies that for another's"
    kinds = {name.split()[1] for name in needed}
    wanted = ("ARRAY<-WEIGHTS", "MLP<-HEAD", "WEIGHTS<-ARRAY", "HEAD<-MLP", "STORE<-MLP", "MLP<-STORE", "INPUT<-MLP")
    assert kinds >= {*wanted, "ARRAY<-DEPTHWISE", "ARRAY<-ARRAY"}, kinds
    for name, steps in spare:
        for seed in range(4):
            assert collides(steps, config.slots, seed, frames=5 + seed % 2) is None, name


def example(*steps: tuple[Queue, int, dict[Queue, int]]) -> list[Access]:
    """Queue, slot and waits of each instruction."""
    return [
        Access(int(queue), f"instruction {n}", tuple(waits.get(q, 0) for q in Queue), sum(1 << q for q in waits), slot)
        for n, (queue, slot, waits) in enumerate(steps)
    ]


def test_a_wait_for_a_frame_that_may_be_missing_is_not_enough() -> None:
    """The load knows of slot 0's reader only through slot 1's elementwise instruction, which waits for it."""
    array, eltwise, weights = Queue.ARRAY, Queue.ELTWISE, Queue.WEIGHTS
    config = replace(SMALL, slots=2)
    for more in ({}, {array: 1}):
        steps = example(
            (weights, 0, {eltwise: 0, array: 0}),
            (array, 0, {weights: 1}),
            (eltwise, 1, {array: 1}),
            (weights, 0, {eltwise: 1} | more),
        )
        steps[1].ring_reads.append((0, 4))
        for load in (steps[0], steps[3]):
            load.ring_writes.append((0, 4))
        runs = [collides(steps, 2, seed, frames=5) for seed in range(20)]
        if more:
            prove_order(steps, config)
            assert not any(runs)
        else:
            with pytest.raises(InternalError, match="instruction 3: waits: may overwrite ring rows"):
                prove_order(steps, config)
            assert any(runs) and not any(collides(steps, 2, seed, frames=6) for seed in range(20))


def test_waits_that_never_hold_are_found() -> None:
    config = PROGRAM.config
    late = len([a for a in ACCESSES if a.queue == Queue.STORE]) + 1
    for number, q, count in ((0, Queue.STORE, 1), (len(ACCESSES) - 1, Queue.STORE, late), (3, Queue.ARRAY, 3000)):
        access = ACCESSES[number]
        waits = [*access.waits]
        waits[q] = count
        steps = list(ACCESSES)
        steps[number] = replace(access, waits=tuple(waits), wait_mask=access.wait_mask | 1 << q)
        with pytest.raises(InternalError, match="they never hold"):
            prove_order(steps, config)


def test_a_changed_wait_of_a_program_is_found() -> None:
    """Through the proof of a build: the fields of the instructions."""
    from hwgen.plan.proof import prove

    prove(PROGRAM, GRAPH)
    for opcode, queue in ((Opcode.CONV, Queue.WEIGHTS), (Opcode.LINEAR, Queue.HEAD), (Opcode.STORE, Queue.MLP)):
        records = PROGRAM.instructions.copy()
        number = next(i for i, r in enumerate(records) if r["opcode"] == opcode and r["wait_mask"] >> int(queue) & 1)
        records["wait_mask"][number] ^= 1 << int(queue)
        with pytest.raises(InternalError, match=f"instruction {number} .*waits"):
            prove(replace(PROGRAM, instructions=records), GRAPH)


@pytest.mark.parametrize("slots", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_random_graphs_are_ordered(seed: int, slots: int) -> None:
    """The proof ran in plan(); the simulation agrees."""
    graph, program = planned(seed + 30, slots=slots)
    assert program.config.slots == slots
    steps = accesses(graph, program)
    for frames in range(2 * slots + 1, 3 * slots + 1):
        for speed in range(4):
            assert collides(steps, slots, speed, frames) is None


def test_one_kernel_programs_have_waits() -> None:
    for opcode in OPCODES:
        for seed in range(5):
            records = case(opcode, seed).program.instructions
            again = synchronize(records, SMALL, case(opcode, seed).program.weights)
            assert np.array_equal(again, records)
            reads = records[records["opcode"] == int(opcode)]
            loads = [r for r in reads if r["wait_mask"] & 3]
            assert loads or opcode in (Opcode.ELTWISE, Opcode.LOAD_INPUT)


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_pads_of_a_slot_serve_one_engine_at_a_time(slots: int) -> None:
    """Body instructions of a slot form a chain, from frame to frame too."""
    graph, program = (GRAPH, PROGRAM) if slots == PROGRAM.config.slots else planned(5, ring_rows=256, slots=slots)
    steps = accesses(graph, program)
    counts = [sum(a.queue == q for a in steps) for q in BITS]
    for slot in range(slots):
        body = [i for i, a in enumerate(steps) if a.body and a.slot == slot]
        assert len(body) > 15
        for number, i in enumerate(body):
            queue = steps[body[number - 1]].queue
            expected = sum(a.queue == queue for a in steps[: body[number - 1] + 1])
            expected -= counts[queue] if number == 0 else 0
            assert steps[i].wait_mask >> queue & 1 and steps[i].waits[queue] == expected


@pytest.mark.parametrize("slots", [0, 3, 8, 128])
def test_an_instruction_without_a_slot_is_refused(slots: int) -> None:
    records = PROGRAM.instructions.copy()
    records["slots"][records["opcode"] == int(Opcode.POOL)] = slots
    with pytest.raises(InternalError, match=f"slots {slots:#b}"):
        synchronize(records, PROGRAM.config)


def test_a_queue_that_is_too_long_is_refused() -> None:
    record = PROGRAM.instructions[PROGRAM.instructions["opcode"] == int(Opcode.CONV)][:1]
    synchronize(np.repeat(record, COUNT_MAX), PROGRAM.config)
    with pytest.raises(InternalError, match="8001 instructions in queue ARRAY"):
        synchronize(np.repeat(record, COUNT_MAX + 1), PROGRAM.config)


def test_retained_tables_of_one_kernel() -> None:
    """Chunks and row tiles of one kernel share its table: who has one before it, in its slot or an earlier one, keeps
    it. The first instruction of a group does not."""
    seen, lone = 0, 0
    for seed in range(20):
        program = case(Opcode.CONV, seed).program
        slots: list[int] = []
        for record in program.instructions:
            if record["opcode"] != Opcode.CONV or not record["flags"] & Flag.TABLE:
                continue
            retained = bool(record["flags"] & Flag.RETAIN)
            assert retained == any(before <= record["slots"] for before in slots)
            slots.append(int(record["slots"]))
            seen += retained
            lone += len(slots) > 1 and not retained
    assert seen > 5 and lone, "slot 0 behind slot 1: frames of slot 1 may be missing"


def holding(program: Program, frames: int) -> set[int]:
    """Instructions whose queue's last instruction with a table, among the frames that exist, had the same."""
    config = program.config
    ring: dict[int, bytes] = {}
    held: dict[int, bytes] = {}
    found = set()
    for number, (i, queue) in enumerate(
        zip(program.instructions, queues(program.instructions, config).tolist(), strict=True)
    ):
        if i["opcode"] == Opcode.LOAD_WEIGHTS:
            rows, first = int(i["w_rows"]), int(i["ddr"]) * 128
            for row in range(rows):
                stripes = (first + port * rows * 32 + row * 32 for port in range(4))
                ring[int(i["w_row"]) + row] = b"".join(program.weights[at : at + 32] for at in stripes)
        elif i["flags"] & (Flag.TABLE | Flag.IMAGE) and int(i["slots"]) < 1 << frames:
            size = 2 * int(i["channels"]) if i["flags"] & Flag.IMAGE else 32 if i["flags"] & Flag.WIDE else 2
            table = b"".join(ring[int(i["t_row"]) + row] for row in range(size))
            if held.get(queue) == table:
                found.add(number)
            held[queue] = table
    return found


def alternating(slots: int) -> Program:
    """Row tiles of three convolutions with tables of their own take turns."""
    builder = Builder(3, (3, 24, 24))
    builder.conv(16, act=256)
    builder.conv(32, 3, act=256)
    builder.depthwise(3, act=256)
    builder.conv(32, act=256)
    builder.pool()
    builder.linear(10)
    graph = builder.graph()
    rest = [Segment(i, i + 1, graph.tensors[op.y].shape[1]) for i, op in enumerate(graph.ops)][5:]
    return plan(graph, LARGE, options=Options(slots=slots, segments=(Segment(0, 5, 4), *rest))).program


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_retained_tables_of_a_group(slots: int) -> None:
    """RETAIN exactly where the engine holds the table however many frames the group has."""
    risky = 0
    for program in (alternating(slots), planned(5, slots=slots)[1], planned(36, slots=slots)[1]):
        every = [holding(program, frames) for frames in range(1, slots + 1)]
        records = program.instructions
        for number in np.flatnonzero(records["flags"] & (Flag.TABLE | Flag.IMAGE)).tolist():
            first = int(records["slots"][number]).bit_length() - 1  # with fewer frames it is not executed
            expected = all(number in found for found in every[first:])
            assert bool(records["flags"][number] & Flag.RETAIN) == expected
            risky += any(number in found for found in every[first:]) and not expected
    assert bool(risky) == (slots == 3), "tables that only some numbers of frames leave in the engine"


def test_retained_tables_of_any_order() -> None:
    """Three slots take turns on two engines with three tables, two of which are equal."""
    rng = np.random.default_rng(0)
    tables = rng.integers(0, 256, (3, 2, ROW_BYTES), np.uint8)
    tables[2] = tables[0]
    weights = b"".join(stripe(table) for table in tables)
    loads = [instruction(Opcode.LOAD_WEIGHTS, slots=7, w_row=10 * n, w_rows=2, ddr=2 * n) for n in range(3)]
    kinds = {"all": 0, "some": 0, "whole group only": 0}
    for _ in range(20):
        runs = [
            instruction(Opcode(opcode), slots=1 << slot, flags=int(Flag.TABLE), t_row=10 * table)
            for opcode, slot, table in zip(
                rng.choice([Opcode.ELTWISE, Opcode.DEPTHWISE], 16),
                rng.integers(3, size=16),
                rng.integers(3, size=16),
                strict=True,
            )
        ]
        config = replace(SMALL, slots=3)
        records = synchronize(np.array([*loads, *runs], INSTRUCTION), config, weights)
        program = replace(PROGRAM, config=config, instructions=records, weights=weights)
        every = [holding(program, frames) for frames in (1, 2, 3)]
        for number in range(3, len(records)):
            held = [number in found for found in every[int(records["slots"][number]).bit_length() - 1 :]]
            assert bool(records["flags"][number] & Flag.RETAIN) == all(held)
            kinds["all"] += all(held)
            kinds["some"] += any(held) and not held[-1]
            kinds["whole group only"] += held[-1] and not all(held)
    assert min(kinds.values()) > 5, kinds


# --------------------------------------------------------------------------------------------------------------------
# program.bin


def test_program_bin_is_sorted_by_queue() -> None:
    data = PROGRAM.to_bytes()
    stored = np.frombuffer(data[INSTRUCTION_BYTES:], PROGRAM.instructions.dtype)
    found = queues(stored, PROGRAM.config)
    assert (np.diff(found) >= 0).all()
    assert PROGRAM.header["queue_counts"].tolist() == np.bincount(found, minlength=9).tolist()
    for q in BITS:
        mine = PROGRAM.instructions[queues(PROGRAM.instructions, PROGRAM.config) == q]
        assert np.array_equal(stored[found == q], mine), "each queue keeps its order"
    again = program_from_bytes(data, PROGRAM.weights, PROGRAM.config)
    assert np.array_equal(again.instructions, PROGRAM.instructions)
    assert again.to_bytes() == data
    places = PROGRAM.positions()
    assert np.array_equal(stored[places], PROGRAM.instructions)


def test_queue_of_loads() -> None:
    for record in PROGRAM.instructions:
        queue = queue_of(record, PROGRAM.config)
        if record["opcode"] == Opcode.LOAD_WEIGHTS:
            head = record["w_row"] >= PROGRAM.config.ring_rows
            assert queue is (Queue.HEAD if head else Queue.WEIGHTS)
            family = GRAPH.ops[int(record["kernel"])]
            assert head == isinstance(family, (ir.Pool, ir.Linear, ir.LayerNorm))


@pytest.mark.parametrize("what", ["count", "order", "first", "next", "opcode", "short", "version"])
def test_a_program_out_of_order_is_refused(what: str) -> None:
    data = bytearray(PROGRAM.to_bytes())
    header = np.frombuffer(bytes(data[:INSTRUCTION_BYTES]), PROGRAM.header.dtype).copy()
    body = np.frombuffer(bytes(data[INSTRUCTION_BYTES:]), PROGRAM.instructions.dtype).copy()
    if what == "count":
        header["queue_counts"][0][0] += 1
    elif what == "order":
        body = body[::-1]
    elif what == "first":
        header["first_queue"] = 99
    elif what == "next":
        body["next_queue"][:] = int(Queue.STORE)
    elif what == "opcode":
        body["opcode"][3] = 77
    elif what == "short":
        body = body[:-1]
    else:
        header["version"] = 1
    with pytest.raises(InternalError):
        program_from_bytes(header.tobytes() + body.tobytes(), PROGRAM.weights, PROGRAM.config)


# --------------------------------------------------------------------------------------------------------------------
# vector memory and rings


def test_head_tensors_live_in_the_vector_memory() -> None:
    builder = Builder(2, (3, 16, 16))
    builder.conv(32)
    pooled = builder.pool()
    builder.linear(70, 256)
    builder.layer_norm(True)
    builder.linear(33)
    graph = builder.graph()
    kernels = describe(graph)
    assert vectors(kernels) == {k.y for k in kernels if k.head}
    program = plan(graph, LARGE).program
    inside = program.instructions[program.instructions["y_pad"] == VECTOR]
    assert {int(o) for o in inside["opcode"]} == {Opcode.POOL, Opcode.LINEAR, Opcode.LAYER_NORM}
    assert (inside["y_plane"] == 1).all() and pooled in vectors(kernels)
    assert program.instructions[-1]["x_pad"] == VECTOR
    assert differences(graph, plan(graph, LARGE), [random_image(graph, 1)]) == []


def test_a_vector_that_another_engine_reads_lives_in_a_pad() -> None:
    """Pool, fully connected, then an elementwise kernel: its input and its output are in pads."""
    builder = Builder(2, (3, 16, 16))
    builder.conv(32)
    builder.pool()
    linear = builder.linear(40)
    after = builder.eltwise(True)
    builder.linear(20)
    graph = builder.graph()
    inside = vectors(describe(graph))
    assert linear not in inside and after not in inside and len(inside) == 2
    planned = plan(graph, LARGE)
    pads = {int(r["y_pad"]) for r in planned.program.instructions if r["opcode"] == Opcode.LINEAR}
    assert VECTOR in pads and len(pads) == 2
    assert differences(graph, planned, [random_image(graph, s) for s in range(2)]) == []
    steps = accesses(graph, planned.program)
    for seed in range(4):
        assert collides(steps, 2, seed) is None


def head(channels: int) -> ir.Graph:
    builder = Builder(2, (3, 16, 16))
    builder.conv(32)
    builder.pool()
    builder.linear(channels)
    builder.linear(10)
    return builder.graph()


def test_sizes_of_the_head_follow_from_the_model() -> None:
    small, large = plan(head(64), LARGE).program.config, plan(head(4000), LARGE).program.config
    assert (small.vector_words, small.head_rows) == (64, 512)
    assert large.vector_words == 256 and large.head_rows == 1024, "250 words; two blobs of 501 rows"
    assert small.wide_tables == 0


def test_a_head_that_does_not_fit_is_refused() -> None:
    with pytest.raises(FitError, match="vector memory"):
        plan(head(2000), LARGE, options=Options(vector_words=64))
    with pytest.raises(FitError, match="MLP engine's ring"):
        plan(head(2000), LARGE, options=Options(head_rows=128))


@pytest.mark.parametrize("rows", [64, 200])
def test_chunks_of_the_head(rows: int) -> None:
    """Fully connected layers pass through a ring that is smaller than their weights."""
    graph = head(300)
    planned = plan(graph, LARGE, options=Options(head_rows=rows))
    config = planned.program.config
    loads = [r for r in planned.program.instructions if queue_of(r, config) is Queue.HEAD]
    assert all(int(r["w_rows"]) <= max(rows // 2, 39) for r in loads) and len(loads) >= 3
    assert differences(graph, planned, [random_image(graph, 1)]) == []


def test_loads_run_ahead() -> None:
    """Each load of B1's network waits for an instruction at least one layer back, not for the last one."""
    program = plan(efficientvit(64, (16, 32, 64, 128), (1, 2, 2, 2), (256, 272, 50)), LARGE).program
    records = program.instructions
    found = queues(records, program.config)
    ahead = []
    for number, record in enumerate(records):
        if found[number] == Queue.WEIGHTS:
            previous = [i for i in range(number) if found[i] not in (Queue.WEIGHTS, Queue.HEAD)]
            if previous:
                q = int(found[previous[-1]])
                index = int((found[: previous[-1] + 1] == q).sum())
                waits = bool(record["wait_mask"] >> q & 1) and int(record["waits"][q]) >= index
                ahead.append(not waits)
    assert sum(ahead) > 0.9 * len(ahead)


def test_the_board_holds_all_slots() -> None:
    """What is planned also fits as SystemVerilog, which has the pads of every slot."""
    from hwgen.plan import cost

    graph = efficientvit(64, (16, 32, 64, 128), (1, 2, 2, 2), (256, 272, 50))
    config = plan(graph, LARGE).program.config
    assert config.slots == 3 and cost.rtl_bram36(config) <= LARGE.limits["bram36"]
    one = cost.rtl_bram36(replace(config, slots=1))
    pads = config.pads * 16 * 2 * -(-config.pad_depth // 512)
    assert cost.rtl_bram36(config) - one == 2 * pads, "all slots' vectors fit one BRAM"
    least = cost.rtl_bram36(replace(config, slots=2, pads=2, pad_depth=512, ring_rows=512))
    tight = replace(LARGE, limits=LARGE.limits | {"bram36": least - 1})
    assert plan(graph, tight, options=Options(blocks=16)).program.config.slots == 1
