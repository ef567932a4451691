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
from hwgen.plan import Options, plan
from hwgen.plan.assemble import _Circle
from hwgen.plan.kernel import describe, vectors
from hwgen.plan.order import LOADERS, SERIAL, Access, prove_order
from hwgen.plan.program import (
    INSTRUCTION_BYTES,
    VECTOR,
    Flag,
    Opcode,
    Program,
    Queue,
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


def collides(steps: Sequence[Access], slots: int, seed: int, groups: int = 3) -> str | None:
    """Runs engines of random speed; the first conflict of two accesses in time, or None. Reads of docs/machine.md:
    waits, one count for each queue and slot, one for loaders, which wait for every slot."""
    rng = np.random.default_rng(seed)
    speed = rng.choice([1, 5, 50], len(Queue))
    counts = [sum(a.queue == q for a in steps) for q in BITS]
    done: dict[tuple[int, int], list[float]] = {(q, s): [] for q in BITS for s in range(slots)}
    order = [(g, i, s) for g in range(groups) for i in range(len(steps)) for s in range(slots)]
    order = [(g, i, s) for g, i, s in order if s == 0 or steps[i].queue not in LOADERS]
    started: list[float] = [0.0] * len(Queue)
    ended: list[float] = [0.0] * len(Queue)
    times = []
    for g, i, s in order:  # waits reach back in this order only, so one pass is enough
        a = steps[i]
        slot_range = range(slots) if a.queue in LOADERS else (s,)
        start = (ended if a.queue in SERIAL else started)[a.queue]
        for q in BITS:
            if a.wait_mask >> q & 1:
                for slot in slot_range:
                    count = g * counts[q] + a.waits[q]
                    if count > 0:
                        start = max(start, done[q, 0 if q in LOADERS else slot][count - 1])
        start += float(rng.random())
        end = max(ended[a.queue], start + float(rng.random()) * float(speed[a.queue]))
        started[a.queue], ended[a.queue] = start, end
        done[a.queue, s].append(end)
        times.append((start, end, a, s))
    return _conflict(times)


def _conflict(times: Sequence[tuple[float, float, Access, int]]) -> str | None:
    """The first pair of accesses to the same rows, one of them a write, that is not in the order of the list."""
    touched: dict[tuple[object, ...], list[tuple[float, float, bool]]] = {}
    for start, end, a, slot in times:
        places = [(("pads", slot), True)] if a.body else []
        places += [(("ring", row), False) for span in a.ring_reads for row in range(*span, 1)]
        places += [(("ring", row), True) for span in a.ring_writes for row in range(*span, 1)]
        places += [(("vector", slot, word), False) for span in a.vector_reads for word in range(*span)]
        places += [(("vector", slot, word), True) for span in a.vector_writes for word in range(*span)]
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
        assert collides(ACCESSES, 2, seed) is None


def test_the_simulation_sees_missing_waits() -> None:
    """Without any waits nearly every run collides."""
    free = [replace(a, wait_mask=0) for a in ACCESSES]
    assert all(collides(free, 2, seed) is not None for seed in range(3))


def weakened() -> list[tuple[str, list[Access]]]:
    """Every wait of the example removed, and lowered by one."""
    found = []
    for number, access in enumerate(ACCESSES):
        for q in BITS:
            if access.wait_mask >> q & 1:
                lower = list(access.waits)
                lower[q] -= 1
                changes = {"removed": {"wait_mask": access.wait_mask ^ 1 << q}, "lowered": {"waits": tuple(lower)}}
                for what, change in changes.items():
                    name = f"{what} {Queue(access.queue).name}<-{Queue(q).name}"
                    changed = replace(access, **change)  # type: ignore[arg-type]
                    found.append((name, [*ACCESSES[:number], changed, *ACCESSES[number + 1 :]]))
    return found


def test_a_missing_wait_is_found() -> None:
    """Most waits are needed. One that the proof does not miss follows from others: no run collides without it."""
    config = PROGRAM.config
    prove_order(ACCESSES, config)
    needed: dict[str, int] = {}
    spare = []
    for name, steps in weakened():
        try:
            prove_order(steps, config)
            spare.append((name, steps))
        except InternalError as error:
            assert "waits: may" in str(error)
            needed[name] = needed.get(name, 0) + 1
    total = sum(needed.values())
    assert total > 2 * len(spare)
    kinds = {name.split()[1] for name in needed}
    wanted = ("ARRAY<-WEIGHTS", "MLP<-HEAD", "WEIGHTS<-ARRAY", "HEAD<-MLP", "STORE<-MLP", "MLP<-STORE", "INPUT<-MLP")
    assert kinds >= {*wanted, "ARRAY<-DEPTHWISE", "ARRAY<-ARRAY"}, kinds
    for name, steps in spare:
        for seed in range(4):
            assert collides(steps, config.slots, seed) is None, name


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


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_random_graphs_are_ordered(seed: int, slots: int) -> None:
    """The proof ran in plan(); the simulation agrees."""
    graph, program = planned(seed + 30, slots=slots)
    assert program.config.slots == slots
    steps = accesses(graph, program)
    for speed in range(4):
        assert collides(steps, slots, speed) is None


def test_one_kernel_programs_have_waits() -> None:
    for opcode in OPCODES:
        for seed in range(5):
            records = case(opcode, seed).program.instructions
            again = synchronize(records, SMALL, case(opcode, seed).program.weights)
            assert np.array_equal(again, records)
            reads = records[records["opcode"] == int(opcode)]
            loads = [r for r in reads if r["wait_mask"] & 3]
            assert loads or opcode in (Opcode.ELTWISE, Opcode.LOAD_INPUT)


def test_first_instructions_wait_for_the_last_frame() -> None:
    """Body instructions form a chain, from frame to frame too."""
    body = [i for i, a in enumerate(ACCESSES) if a.body]
    counts = [sum(a.queue == q for a in ACCESSES) for q in BITS]
    for number, i in enumerate(body):
        before = ACCESSES[body[number - 1]]
        index = sum(a.queue == before.queue for a in ACCESSES[: body[number - 1] + 1])
        expected = index - (counts[before.queue] if number == 0 else 0)
        access = ACCESSES[i]
        assert access.wait_mask >> before.queue & 1 and access.waits[before.queue] == expected


def test_a_queue_that_is_too_long_is_refused() -> None:
    record = PROGRAM.instructions[PROGRAM.instructions["opcode"] == int(Opcode.CONV)][:1]
    synchronize(np.repeat(record, COUNT_MAX), PROGRAM.config)
    with pytest.raises(InternalError, match="8001 instructions in queue ARRAY"):
        synchronize(np.repeat(record, COUNT_MAX + 1), PROGRAM.config)


def test_retained_tables() -> None:
    """Chunks and row tiles of one kernel share its table; the first instruction of a frame and a new table do not."""
    seen = 0
    for seed in range(20):
        program = case(Opcode.CONV, seed).program
        records = [r for r in program.instructions if r["opcode"] == Opcode.CONV]
        for number, record in enumerate(records):
            retained = bool(record["flags"] & Flag.RETAIN)
            assert retained == bool(number and record["flags"] & Flag.TABLE)
            seen += retained
    assert seen > 5


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


def test_circle() -> None:
    ring = _Circle(100, 200)
    assert [ring.take(n) for n in (40, 40, 30, 50, 50)] == [100, 140, 100, 130, 100]
    assert ring.keep(20, 30) == 150, "behind what was taken last"
    assert [ring.take(n) for n in (30, 30, 30)] == [170, 100, 170]
    assert ring.keep(60, 40) == 100, "no room in a piece for 40 rows if it began at 140"
    assert [ring.take(40) for _ in range(3)] == [160, 160, 160]
    with pytest.raises(InternalError):
        ring.take(41)
    assert ring.keep(0, 40) == 100 and ring.take(50) == 100


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
    assert config.slots == 2 and cost.rtl_bram36(config) <= LARGE.limits["bram36"]
    one = cost.rtl_bram36(replace(config, slots=1))
    pads = config.pads * 16 * 2 * -(-config.pad_depth // 512)
    assert cost.rtl_bram36(config) - one == pads, "both slots' vectors fit one BRAM"
    least = cost.rtl_bram36(replace(config, slots=2, pads=2, pad_depth=512, ring_rows=512))
    tight = replace(LARGE, limits=LARGE.limits | {"bram36": least - 1})
    assert plan(graph, tight, options=Options(blocks=16)).program.config.slots == 1
