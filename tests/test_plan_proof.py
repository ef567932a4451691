# SPDX-License-Identifier: Apache-2.0
"""The proof accepts planned Programs and finds every way in which one is broken here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hwgen import ir
from hwgen.errors import InternalError
from hwgen.plan import Options, Segment, plan
from hwgen.plan.assemble import config_hash
from hwgen.plan.program import VECTOR, Flag, Opcode, Program, Queue
from hwgen.plan.proof import prove
from hwgen.plan.waits import synchronize
from plan_boards import LARGE
from random_graphs import Builder


def example() -> tuple[ir.Graph, Program]:
    """Every opcode, for a group; tiled with rings that wrap, weights in chunks and loaded again; then whole kernels."""
    builder = Builder(7, (3, 22, 18), 2, True)
    builder.conv(32, 2, pads=(1, 1, 0, 0), act=256)
    start = builder.x
    builder.mbconv(32, 4, 3, 1, 256)
    builder.eltwise(True, start)
    builder.mbconv(48, 2, 5, 2, 0)
    builder.attention(2, False)
    builder.pool()
    builder.linear(70, 256)
    builder.layer_norm(True)
    builder.linear(33)
    graph = builder.graph()
    tail = [Segment(i, i + 1, graph.tensors[op.y].shape[1]) for i, op in enumerate(graph.ops)]
    segments = (Segment(0, 9, 1), *tail[9:])
    limits = {name: 100 * count for name, count in LARGE.limits.items()}
    options = Options(blocks=4, slots=2, pads=3, pad_depth=256, ring_rows=160, segments=segments)
    return graph, plan(graph, replace(LARGE, limits=limits), options=options).program


GRAPH, PROGRAM = example()


def find(program: Program, opcode: Opcode, choose: Callable[[Any], bool] = lambda r: True, which: int = 0) -> int:
    """Index of an instruction."""
    records = program.instructions
    return [i for i, r in enumerate(records) if r["opcode"] == opcode and choose(r)][which]


def unsynchronized(records: Any) -> None:
    """Proves changed instructions, of the machine of ``PROGRAM``, with the waits that they have."""
    header = PROGRAM.header.copy()
    header["instructions"] = len(records)
    prove(replace(PROGRAM, instructions=records, header=header).linked(), GRAPH)


def check(records: Any = None, weights: bytes | None = None, **more: Any) -> None:
    """Proves a changed Program, whose waits and queues fit the change where it has known opcodes."""
    program = replace(PROGRAM, weights=PROGRAM.weights if weights is None else weights, **more)
    if records is not None:
        if set(records["opcode"].tolist()) <= {int(o) for o in Opcode}:
            program = replace(program, instructions=synchronize(records, program.config)).linked()
        else:
            program = replace(program, instructions=records)
    prove(program, GRAPH)


def test_accepts_the_plan() -> None:
    check()
    records = PROGRAM.instructions
    assert {int(r["opcode"]) for r in records} == {int(o) for o in Opcode}
    assert any(r["y_slot"] < r["y_row0"] for r in records)


CHANGES: list[tuple[Opcode, str, int, str]] = [
    (Opcode.CONV, "x_base", 1, "reads"),
    (Opcode.CONV, "x_pad", 1, "reads|share"),
    (Opcode.CONV, "x_slot", 1, "reads|slot|pixel"),
    (Opcode.CONV, "x_plane", 1, "reads"),
    (Opcode.CONV, "y_base", 1, "reads|writes"),
    (Opcode.CONV, "y_base", 250, "word row|reads"),
    (Opcode.CONV, "y_pad", 5, "pad"),
    (Opcode.CONV, "y_slot", 300, "slot"),
    (Opcode.CONV, "w_row", 1, "not|other|loaded"),
    (Opcode.CONV, "w_row", 159, "ring rows"),
    (Opcode.CONV, "t_row", 1, "not|table"),
    (Opcode.CONV, "mode", 1, "mode|not|weights"),
    (Opcode.CONV, "mode", 4, "mode"),
    (Opcode.CONV, "ci_groups", 1, "ci_groups"),
    (Opcode.CONV, "og_per_group", 1, "og_per_group"),
    (Opcode.CONV, "kernel", 1, "kernel|expected"),
    (Opcode.CONV, "x_zero", 1, "x_zero"),
    (Opcode.CONV, "y_zero", 1, "y_zero"),
    (Opcode.CONV, "flags", 16, "flags"),
    (Opcode.CONV, "trace", 1, "trace"),
    (Opcode.CONV, "y_row0", 1, "."),
    (Opcode.CONV, "y_rows", 1, "."),
    (Opcode.CONV, "y_cols", 1, "."),
    (Opcode.CONV, "x_first", 1, "x_first"),
    (Opcode.CONV, "y_group0", 1, "."),
    (Opcode.DEPTHWISE, "x_base", 1, "reads"),
    (Opcode.DEPTHWISE, "stride_w", 1, "stride_w"),
    (Opcode.DEPTHWISE, "pad_top", 1, "pad_top"),
    (Opcode.DEPTHWISE, "w_row", 2, "not|ring rows|other|loaded"),
    (Opcode.ELTWISE, "r_slot", 1, "reads|slot"),
    (Opcode.ELTWISE, "r_base", 1, "reads"),
    (Opcode.ELTWISE, "add_shift", 1, "add_shift"),
    (Opcode.ATTENTION, "y_group0", 2, "."),
    (Opcode.ATTENTION, "x_groups", 3, "x_groups"),
    (Opcode.ATTENTION, "w_row", 1, "not|other|loaded"),
    (Opcode.POOL, "x_height", 1, "x_height"),
    (Opcode.POOL, "w_row", 1, "not|other|loaded"),
    (Opcode.LINEAR, "y_group0", 1, "."),
    (Opcode.LINEAR, "x_base", 1, "reads"),
    (Opcode.LAYER_NORM, "channels", 1, "channels"),
    (Opcode.LAYER_NORM, "x_pad", 1, "pad"),
    (Opcode.LOAD_INPUT, "ddr", 1, "ddr"),
    (Opcode.LOAD_INPUT, "block", 1, "block"),
    (Opcode.LOAD_INPUT, "t_row", 1, "table"),
    (Opcode.LOAD_WEIGHTS, "ddr", 1, "."),
    (Opcode.LOAD_WEIGHTS, "w_row", 1, "."),
    (Opcode.LOAD_WEIGHTS, "w_row", 159, "ring rows"),
    (Opcode.LOAD_WEIGHTS, "ddr", 1 << 20, "weights.bin"),
    (Opcode.STORE, "x_base", 1, "reads"),
    (Opcode.STORE, "x_groups", 1, "x_groups"),
]


@pytest.mark.parametrize(("opcode", "field", "delta", "message"), CHANGES)
@pytest.mark.parametrize("which", [0, -1])
def test_finds_a_changed_field(opcode: Opcode, field: str, delta: int, message: str, which: int) -> None:
    records = PROGRAM.instructions.copy()
    has_table = field != "t_row" or opcode is Opcode.LOAD_INPUT
    several = field == "x_plane"  # the plane of a single group means nothing
    number = find(
        PROGRAM, opcode, lambda r: (has_table or bool(r["flags"] & 2)) and (not several or r["x_groups"] > 1), which
    )
    records[field][number] += delta
    with pytest.raises(InternalError, match=message):
        check(records)


def test_finds_every_missing_instruction() -> None:
    for number in range(len(PROGRAM.instructions)):
        records = np.delete(PROGRAM.instructions, number)
        header = PROGRAM.header.copy()
        header["instructions"] = len(records)
        with pytest.raises(InternalError):
            check(records, header=header)


def test_finds_swapped_neighbours_that_depend_on_each_other() -> None:
    """Swapping a producer with its consumer must fail; independent loads may change places."""
    found = 0
    for number in range(len(PROGRAM.instructions) - 1):
        first, second = PROGRAM.instructions[number], PROGRAM.instructions[number + 1]
        records = PROGRAM.instructions.copy()
        records[number], records[number + 1] = second, first
        if first["opcode"] == Opcode.LOAD_WEIGHTS and first["kernel"] == second["kernel"]:
            with pytest.raises(InternalError):
                check(records)
            found += 1
    assert found > 10


def test_finds_an_overwritten_row() -> None:
    """A ring that is one row too small: the address of every access agrees, but a row is lost."""
    records = PROGRAM.instructions.copy()
    kernel = next(k for k, op in enumerate(GRAPH.ops) if isinstance(op, ir.Conv) and op.depthwise)
    source = kernel - 1
    for r in records:
        if r["opcode"] in (Opcode.CONV, Opcode.ELTWISE) and r["kernel"] == source:
            r["y_ring"] -= 1
            r["y_slot"] = r["y_row0"] % r["y_ring"]
        if r["opcode"] == Opcode.DEPTHWISE and r["kernel"] == kernel:
            r["x_ring"] -= 1
            r["x_slot"] = r["x_first"] % r["x_ring"]
    with pytest.raises(InternalError, match=r"reads|slot|plane"):
        check(records)


def test_finds_a_shared_read_port() -> None:
    records = PROGRAM.instructions.copy()
    number = find(PROGRAM, Opcode.ELTWISE, lambda r: bool(r["flags"] & 8))
    r = records[number]
    r["x_pad"], r["x_base"], r["x_plane"] = r["r_pad"], r["r_base"], r["r_plane"]
    r["x_ring"], r["x_slot"] = r["r_ring"], r["r_slot"]
    with pytest.raises(InternalError):
        check(records)


def test_finds_a_write_onto_an_operand() -> None:
    """The last linear writes over its own input; nobody reads it later, so only this rule can tell."""
    records = PROGRAM.instructions.copy()
    last = records[find(PROGRAM, Opcode.LINEAR, lambda r: True, -1)]
    kernel, store = int(last["kernel"]), records[-1]
    for r in records:
        if r["opcode"] == Opcode.LINEAR and r["kernel"] == kernel:
            r["y_pad"], r["y_base"] = r["x_pad"], r["x_base"]
    store["x_pad"], store["x_base"] = last["x_pad"], last["x_base"]
    with pytest.raises(InternalError, match=r"still reads|reads t"):
        check(records)


@pytest.mark.parametrize("position", [0, 0.3, 0.6, 0.999])
def test_finds_a_flipped_weight(position: float) -> None:
    weights = bytearray(PROGRAM.weights)
    weights[int(position * len(weights))] ^= 0x10
    with pytest.raises(InternalError, match=r"weights\.bin holds other"):
        check(weights=bytes(weights))


@pytest.mark.parametrize(
    "name",
    ["magic", "version", "instructions", "weight_bytes", "input_words", "output_words", "trace_words", "config_hash"],
)
def test_finds_a_wrong_header(name: str) -> None:
    header = PROGRAM.header.copy()
    header[name] += 1
    with pytest.raises(InternalError, match=name):
        check(header=header)


def test_finds_a_wrong_order_of_queues() -> None:
    for queue in range(len(Queue)):
        header = PROGRAM.header.copy()
        header["queue_counts"][queue] += 1
        with pytest.raises(InternalError, match="queue_counts"):
            check(header=header)
    header = PROGRAM.header.copy()
    header["first_queue"] += 1
    with pytest.raises(InternalError, match="first_queue"):
        check(header=header)
    for number in (0, 40, -1):
        records = PROGRAM.instructions.copy()
        records["next_queue"][number] += 1
        with pytest.raises(InternalError, match="next_queue"):
            prove(replace(PROGRAM, instructions=records), GRAPH)


def test_finds_a_table_that_is_not_held() -> None:
    """RETAIN on the first table of a frame, on another table than the last one, and where there is none."""
    records = PROGRAM.instructions
    tables = [i for i, r in enumerate(records) if r["flags"] & (Flag.TABLE | Flag.IMAGE)]
    retained = [i for i in tables if records["flags"][i] & Flag.RETAIN]
    assert len(retained) > 10
    found = 0
    for number in {*tables, *(i for i, r in enumerate(records) if r["opcode"] == Opcode.ATTENTION)} - {*retained}:
        changed = records.copy()
        changed["flags"][number] |= int(Flag.RETAIN)
        with pytest.raises(InternalError, match="RETAIN"):
            prove(replace(PROGRAM, instructions=changed), GRAPH)
        found += 1
    assert found > 5


def test_finds_a_table_that_is_held_only_if_all_frames_exist() -> None:
    """Slot 1 leaves slot 0's next table in the engine. Without its frame the engine holds another one."""
    builder = Builder(3, (3, 24, 24))
    builder.conv(16, act=256)
    builder.conv(32, 3, act=256)
    builder.pool()
    builder.linear(10)
    graph = builder.graph()
    options = Options(slots=2, segments=(Segment(0, 3, 4), Segment(3, 4, 1), Segment(4, 5, 1)))
    program = plan(graph, LARGE, options=options).program
    records = program.instructions
    arrays = [n for n, r in enumerate(records) if r["opcode"] == Opcode.CONV]
    found = 0
    for other, last in ((a, b) for a in arrays for b in arrays if a < b):
        before = [n for n in arrays if n < last and records["slots"][n] == 1]
        if (records["slots"][other], records["slots"][last]) != (2, 1) or not before:
            continue
        kernels = [int(records["kernel"][n]) for n in (last, other, before[-1])]
        if kernels not in ([1, 1, 2], [2, 2, 1]):
            continue
        # slot 1 stands still until slot 0 has come to its next table
        ahead = [n for n in range(other, last) if records["slots"][n] != 2]
        behind = [n for n in range(other + 1, last) if records["slots"][n] == 2]
        order = [*range(other), *ahead, other, last, *behind, *range(last + 1, len(records))]
        number = order.index(last)
        changed = synchronize(records[order], program.config, program.weights)
        prove(replace(program, instructions=changed).linked(), graph)
        assert changed["flags"][number] & (Flag.TABLE | Flag.RETAIN) == Flag.TABLE
        changed["flags"][number] |= int(Flag.RETAIN)
        with pytest.raises(InternalError, match=f"instruction {number} .*RETAIN"):
            prove(replace(program, instructions=changed).linked(), graph)
        found += 1
    assert found > 3


@pytest.mark.parametrize("slots", [0, 3, 4, 6, 128])
@pytest.mark.parametrize("opcode", [o for o in Opcode if o is not Opcode.LOAD_WEIGHTS])
def test_finds_wrong_slots(opcode: Opcode, slots: int) -> None:
    """None, two, and slots that the machine does not have."""
    records = PROGRAM.instructions.copy()
    number = find(PROGRAM, opcode, which=-1)
    records["slots"][number] = slots
    with pytest.raises(InternalError, match=rf"instruction {number} .*slots {slots:#b}"):
        unsynchronized(records)


def test_finds_an_instruction_of_another_slot() -> None:
    """What slot 0 needs is done for slot 1 once more."""
    for opcode in Opcode:
        if opcode is not Opcode.LOAD_WEIGHTS:
            records = PROGRAM.instructions.copy()
            records["slots"][find(PROGRAM, opcode)] ^= 3
            with pytest.raises(InternalError, match=r"reads|twice|never written|follows the store"):
                unsynchronized(records)


@pytest.mark.parametrize("slots", [0, 4, 7])
def test_finds_a_load_for_wrong_slots(slots: int) -> None:
    records = PROGRAM.instructions.copy()
    number = find(PROGRAM, Opcode.LOAD_WEIGHTS, which=2)
    records["slots"][number] = slots
    with pytest.raises(InternalError, match=rf"instruction {number} .*slots {slots:#b}"):
        unsynchronized(records)


@pytest.mark.parametrize("slot", [0, 1])
def test_finds_a_load_that_is_not_for_its_reader(slot: int) -> None:
    """Without a frame in the other slot nobody would load the rows."""
    for number in [n for n, r in enumerate(PROGRAM.instructions) if r["opcode"] == Opcode.LOAD_WEIGHTS]:
        records = PROGRAM.instructions.copy()
        records["slots"][number] = 1 << slot
        with pytest.raises(InternalError, match=rf"were not loaded for slot {1 - slot}"):
            unsynchronized(records)


def test_accepts_a_load_for_each_slot() -> None:
    """Rows may be loaded again for another slot: one load after the other, each for its readers."""
    records = PROGRAM.instructions
    number = next(
        n
        for n in range(len(records) - 3)
        if [int(records["opcode"][n + i] == Opcode.LOAD_WEIGHTS) for i in range(4)] == [1, 0, 0, 1]
        and {int(s) for s in records["slots"][n + 1 : n + 3]} == {1, 2}
        and (records["w_row"][n + 1 : n + 3] == records["w_row"][n]).all()
        and (records["kernel"][n : n + 3] == records["kernel"][n]).all()
    )
    again = np.insert(records, number + 2, records[number])
    again["slots"][number], again["slots"][number + 2] = again["slots"][number + 1], again["slots"][number + 3]
    header = PROGRAM.header.copy()
    header["instructions"] = len(again)
    check(again, header=header)
    again["slots"][number + 2] ^= 3
    with pytest.raises(InternalError, match="were not loaded for slot"):
        check(again, header=header)


@pytest.mark.parametrize("slot", [0, 1])
def test_finds_a_missing_store(slot: int) -> None:
    number = find(PROGRAM, Opcode.STORE, lambda r: bool(r["slots"] == 1 << slot))
    with pytest.raises(InternalError, match=f"nothing stores the output of slot {slot}"):
        unsynchronized(np.delete(PROGRAM.instructions, number))


def test_finds_a_second_store() -> None:
    records = PROGRAM.instructions
    assert records["opcode"][-1] == Opcode.STORE
    with pytest.raises(InternalError, match="follows the store"):
        unsynchronized(np.append(records, records[-1:]))


def test_finds_shifts_that_the_machine_does_not_have() -> None:
    shifts = np.concatenate([op.requant.shift for op in GRAPH.ops if isinstance(op, ir.Conv)])
    adds = [op.add.shift for op in GRAPH.ops if isinstance(op, (ir.Conv, ir.Eltwise)) and op.add is not None]
    ranges = {"shift": (int(shifts.min()), int(shifts.max())), "add_shift": (min(adds), max(adds))}

    def machine(**fields: int) -> None:
        config = replace(PROGRAM.config, **fields)
        header = PROGRAM.header.copy()
        header["config_hash"] = config_hash(config)
        prove(replace(PROGRAM, config=config, header=header), GRAPH)

    for name, (low, high) in ranges.items():
        machine(**{f"{name}_low": low, f"{name}_high": high})
        for field, value in ((f"{name}_low", low + 1), (f"{name}_high", high - 1)):
            with pytest.raises(InternalError, match="shifts"):
                machine(**{field: value})
    machine(**{f"{n}_{end}": v for n, span in ranges.items() for end, v in zip(("low", "high"), span, strict=True)})


def test_finds_a_queue_without_an_engine() -> None:
    for queue in set(Queue) - {Queue.WEIGHTS, Queue.HEAD, Queue.STORE}:
        config = replace(PROGRAM.config, engines=0x1FF ^ 1 << queue)
        header = PROGRAM.header.copy()
        header["config_hash"] = config_hash(config)
        with pytest.raises(InternalError, match="no engine"):
            prove(replace(PROGRAM, config=config, header=header), GRAPH)


def test_finds_a_width_that_the_mlp_engine_cannot_have() -> None:
    config = replace(PROGRAM.config, mlp_outputs=16)
    header = PROGRAM.header.copy()
    header["config_hash"] = config_hash(config)
    with pytest.raises(InternalError, match="mlp_outputs is 16, expected 2, 4 or 8"):
        prove(replace(PROGRAM, config=config, header=header), GRAPH)


VECTOR_CHANGES: list[tuple[Opcode, dict[str, int], str]] = [
    (Opcode.STORE, {"x_base": 1}, "reads"),
    (Opcode.STORE, {"x_plane": 2}, "one pixel"),
    (Opcode.STORE, {"x_base": PROGRAM.config.vector_words}, "vector words"),
    (Opcode.LINEAR, {"y_base": PROGRAM.config.vector_words - 1}, "vector words|reads"),
    (Opcode.LINEAR, {"y_plane": 2}, "one pixel"),
    (Opcode.LINEAR, {"x_base": 9}, "reads"),
    (Opcode.POOL, {"x_pad": VECTOR}, "one pixel|slot"),
    (Opcode.CONV, {"y_pad": VECTOR}, "one pixel|slot"),
    (Opcode.LINEAR, {"w_row": 0}, "ring rows"),
    (Opcode.CONV, {"w_row": PROGRAM.config.ring_rows}, "ring rows"),
    (Opcode.LOAD_WEIGHTS, {"w_row": PROGRAM.config.ring_rows - 1}, "ring rows"),
]


@pytest.mark.parametrize(("opcode", "fields", "message"), VECTOR_CHANGES)
def test_finds_a_wrong_memory(opcode: Opcode, fields: dict[str, int], message: str) -> None:
    records = PROGRAM.instructions.copy()
    for name, value in fields.items():
        records[name][find(PROGRAM, opcode)] = value
    with pytest.raises(InternalError, match=message):
        check(records)


def test_finds_another_machine() -> None:
    """A Program planned for one array must not pass for another."""
    with pytest.raises(InternalError, match="config_hash"):
        check(config=replace(PROGRAM.config, blocks=8))


def test_finds_an_unknown_opcode_and_kernel() -> None:
    for field, value in (("opcode", 99), ("kernel", 999)):
        records = PROGRAM.instructions.copy()
        records[field][3] = value
        with pytest.raises(InternalError, match=field):
            check(records)


def test_finds_any_change_of_an_address_or_shape() -> None:
    """Every field that decides an address, a shape or an order, in every fifth instruction that has it."""
    fields = {
        Opcode.LOAD_WEIGHTS: ("w_row", "w_rows", "ddr", "kernel", "opcode"),
        Opcode.CONV: ("x_base", "x_width", "x_groups", "y_base", "y_width", "y_groups", "y_row0", "y_rows", "y_cols",
                      "x_cols", "x_height", "x_first", "kernel_h", "stride_h", "pad_top", "w_row", "trace"),
        Opcode.DEPTHWISE: ("x_base", "x_pad", "x_plane", "y_base", "y_plane", "y_pad", "y_row0", "y_rows", "x_slot"),
    }  # fmt: skip
    missed = []
    for number, record in list(enumerate(PROGRAM.instructions))[::5]:
        for field in fields.get(Opcode(int(record["opcode"])), ()):
            records = PROGRAM.instructions.copy()
            records[field][number] ^= 1
            try:
                check(records)
                missed.append((number, field))
            except InternalError:
                pass
    assert missed == []
