# SPDX-License-Identifier: Apache-2.0
"""The Program reference: random kernels against naive arithmetic, and what it must refuse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hwgen.backends.reference.program import execute
from hwgen.errors import InternalError
from hwgen.plan import layout
from hwgen.plan.program import VECTOR, Config, Opcode, Program, program_from_bytes
from random_programs import OPCODES, SMALL, Case, case

CASES = 40
SLOTS = [replace(SMALL, slots=n) for n in (1, 2, 3)]


def cut(data: bytes, place: int, frames: int) -> bytes:
    """A frame's part of a buffer."""
    size = len(data) // frames
    return data[place * size : (place + 1) * size]


def traced(run: Case, trace: bytes) -> Any:
    """The kernel's own output in the trace buffer."""
    channels, height, width = run.expected.shape
    words = layout.channel_groups(channels) * height * width
    return layout.unpack_output(trace[run.trace * 16 : (run.trace + words) * 16], (channels, height, width))


def compare(run: Case, place: int, frames: int) -> None:
    """The case's frame is number ``place`` of ``frames``."""
    result = execute(run.program, run.among(place, frames), frames)
    output, trace = (cut(data, place, frames) for data in result)
    found = layout.unpack_output(output, run.expected.shape)  # type: ignore[arg-type]
    assert np.array_equal(found, run.expected), run.name
    assert np.array_equal(traced(run, trace), run.expected), run.name


@pytest.mark.parametrize("config", [*SLOTS, Config(head_dim=32)], ids=["one", "two", "three", "default"])
@pytest.mark.parametrize("opcode", OPCODES, ids=lambda o: o.name)
def test_random_kernels(opcode: Opcode, config: Config) -> None:
    """Each slot of a group, the first group and later ones, full or not."""
    for seed in range(CASES):
        frames = 1 + seed % (config.slots + 2)
        compare(case(opcode, seed, config), seed % frames, frames)


def test_random_kernels_cover_what_is_hard() -> None:
    """The generator really makes ring wraps, row tiles, chunks, flattened tiles and every flag."""
    seen: set[str] = set()
    for opcode in (Opcode.CONV, Opcode.DEPTHWISE, Opcode.ELTWISE):
        for seed in range(CASES):
            records = case(opcode, seed, SMALL).program.instructions
            records = records[records["opcode"] == int(opcode)]
            wraps = (records["y_slot"] + records["y_rows"] > records["y_ring"]) & (records["y_rows"] > 1)
            seen |= {f"{opcode.name} wraps"} if wraps.any() else set()
            seen |= {f"{opcode.name} tiles"} if len(np.unique(records["y_row0"])) > 1 else set()
            seen |= {f"{opcode.name} chunks"} if len(np.unique(records["y_group0"])) > 1 else set()
            seen |= {f"{opcode.name} flat"} if (records["y_cols"] > records["y_width"]).any() else set()
            seen |= {f"{opcode.name} {1 << b}" for b in range(8) if (records["flags"] >> b & 1).any()}
            seen |= {"grouped"} if records["og_per_group"].any() else set()
    names = {f"{o} {f}" for o in ("CONV", "DEPTHWISE", "ELTWISE") for f in ("wraps", "tiles", "chunks")}
    flags = {f"CONV {f}" for f in (1, 2, 4, 8)} | {f"DEPTHWISE {f}" for f in (2, 4)} | {"ELTWISE 2", "ELTWISE 8"}
    assert seen >= names | flags | {"CONV flat", "ELTWISE flat", "grouped"}


def test_random_heads_use_both_memories() -> None:
    seen = set()
    for opcode in (Opcode.POOL, Opcode.LINEAR, Opcode.LAYER_NORM):
        for seed in range(CASES):
            records = case(opcode, seed, SMALL).program.instructions
            for r in records[records["opcode"] == int(opcode)]:
                seen.add((opcode, bool(r["x_pad"] == VECTOR), bool(r["y_pad"] == VECTOR)))
    pools = {(Opcode.POOL, False, y) for y in (False, True)}
    rest = {(o, x, y) for o in (Opcode.LINEAR, Opcode.LAYER_NORM) for x in (False, True) for y in (False, True)}
    assert seen == pools | rest


def test_random_convolutions_are_what_the_planner_makes() -> None:
    """Tiles of one input group, and blobs that pass through the ring, for arrays of any size."""
    for blocks in (4, 8, 16, 32):
        config = replace(SMALL, blocks=blocks, pad_depth=512)
        for seed in range(60):
            for i in case(Opcode.CONV, seed, config).program.instructions:
                tile, share = blocks >> int(i["mode"]), int(i["og_per_group"])
                if i["opcode"] == Opcode.CONV:
                    assert share % tile == 0 and int(i["stride_w"]) << int(i["mode"]) <= 16 and i["mode"] >= 2


@pytest.mark.parametrize("config", SLOTS, ids=lambda c: f"{c.slots} slots")
def test_frames_are_independent_and_trace_can_be_off(config: Config) -> None:
    run = case(Opcode.CONV, 3, config)
    for frames in (1, 2, 4, 5, 6):
        data = run.among(0, frames)
        single = [execute(run.program, cut(data, f, frames), 1) for f in range(frames)]
        assert len({s.output for s in single}) == frames
        steps: list[tuple[int, int]] = []
        all_frames = np.frombuffer(data, np.uint8)
        whole = execute(run.program, all_frames, frames, progress=lambda *s: steps.append(s))  # noqa: B023
        assert whole.output == b"".join(s.output for s in single)
        assert whole.trace == b"".join(s.trace for s in single)
        total = -(-frames // config.slots) * len(run.program.instructions)
        assert steps == [(n + 1, total) for n in range(total)]
        quiet = execute(run.program, data, frames, trace=False)
        assert quiet.output == whole.output and quiet.trace == b""


def test_random_groups_mix_frames_and_share_weights() -> None:
    """Of three slots: weights for one, two and all of them, slots in any order, and instructions of several between two
    loads."""
    config, shared, orders, mixed = replace(SMALL, slots=3), set(), set(), 0
    for seed in range(CASES):
        records = case(Opcode.CONV, seed, config).program.instructions
        loads = records["opcode"] == int(Opcode.LOAD_WEIGHTS)
        shared |= set(records["slots"][loads].tolist())
        bodies = [part[1:] for part in np.split(records["slots"], np.flatnonzero(loads))]
        mixed += any(np.count_nonzero(np.diff(body)) > 2 for body in bodies)
        orders.add(tuple(dict.fromkeys(records["slots"][~loads].tolist())))
        for slot in range(3):  # each frame has all instructions of its kernel, in their order
            own = records["kernel"][records["slots"] >> slot & 1 == 1]
            assert np.array_equal(own, np.arange(len(own))) and len(own) == records["kernel"].max() + 1
    assert shared == {1, 2, 3, 4, 5, 6, 7}
    assert len(orders) == 6 and mixed > CASES // 4


def test_a_program_read_back_from_bytes_computes_the_same() -> None:
    run = case(Opcode.LINEAR, 1, SMALL)
    again = program_from_bytes(run.program.to_bytes(), run.program.weights, SMALL)
    assert execute(again, run.inputs, 1) == execute(run.program, run.inputs, 1)


def first(run: Case, opcode: Opcode, slot: int = 0) -> int:
    """Number of the first instruction of an opcode for the frame in ``slot``."""
    records = run.program.instructions
    return int(np.flatnonzero((records["opcode"] == int(opcode)) & (records["slots"] >> slot & 1 == 1))[0])


def changed(run: Case, opcode: Opcode, fields: dict[str, int], slot: int = 0) -> Program:
    """The case's Program with fields of the first instruction of an opcode and slot replaced."""
    records = run.program.instructions.copy()
    for name, value in fields.items():
        records[name][first(run, opcode, slot)] = value
    return replace(run.program, instructions=records)


def flipped(run: Case, opcode: Opcode, lane: int) -> Program:
    """The Program with bit 6 of one weight flipped: of output channel ``lane``, first input channel and tap."""
    i = run.program.instructions[first(run, opcode)]
    loads = run.program.instructions[: first(run, opcode)]
    loads = loads[(loads["opcode"] == int(Opcode.LOAD_WEIGHTS)) & (loads["slots"] & 1 == 1)]
    load = loads[loads["w_row"] == i["w_row"]][-1]
    start, size = int(load["ddr"]) * 128, int(load["w_rows"]) * 128
    rows = layout.unstripe(run.program.weights[start : start + size], size // 128)
    tile = SMALL.blocks >> int(i["mode"]) if opcode == Opcode.CONV else 1  # parameter rows in front of the weights
    byte = lane if opcode == Opcode.DEPTHWISE else lane * 16
    rows[tile + byte // 128, byte % 128] ^= 64
    weights = run.program.weights[:start] + layout.stripe(rows) + run.program.weights[start + size :]
    return replace(run.program, weights=weights)


def notices(run: Case, program: Program) -> bool:
    """Whether a changed Program gives another tensor, or is refused (accumulator range, -128 among PACKED weights)."""
    try:
        result = execute(program, run.inputs, 1)
    except InternalError:
        return True
    return not np.array_equal(traced(run, result.trace), run.expected)


@pytest.mark.parametrize("opcode", [Opcode.CONV, Opcode.DEPTHWISE, Opcode.LINEAR], ids=lambda o: o.name)
def test_a_flipped_weight_bit_is_seen(opcode: Opcode) -> None:
    """In nearly every case; a saturated channel may hide it, therefore several channels, one bit at a time."""
    runs = [case(opcode, seed, SMALL) for seed in range(12)]
    seen = [any(notices(r, flipped(r, opcode, c)) for c in range(min(16, len(r.expected)))) for r in runs]
    assert sum(seen) >= 10


def test_memory_that_nobody_wrote_is_random() -> None:
    """Without its LOAD_INPUT or LOAD_WEIGHTS a kernel computes something else."""
    run = case(Opcode.LINEAR, 2, SMALL)
    for opcode in (Opcode.LOAD_INPUT, Opcode.LOAD_WEIGHTS):
        keep = np.delete(run.program.instructions, first(run, opcode))
        header = run.program.header.copy()
        header["instructions"] = len(keep)
        assert notices(run, replace(run.program, header=header, instructions=keep))


VECTOR_Y = {"y_pad": VECTOR, "y_plane": 1, "y_ring": 1, "y_width": 1, "y_slot": 0}
OUTSIDE: dict[str, tuple[Opcode, Opcode, dict[str, int], str]] = {
    "x beyond the pad": (Opcode.CONV, Opcode.CONV, {"x_base": SMALL.pad_depth}, "operand x: word row"),
    "y beyond the pad": (Opcode.CONV, Opcode.CONV, {"y_base": SMALL.pad_depth}, "operand y: word row"),
    "no such pad": (Opcode.CONV, Opcode.CONV, {"y_pad": SMALL.pads}, "is in pad 3 of 3"),
    "plane too small": (Opcode.CONV, Opcode.CONV, {"x_plane": 0}, "operand x: pixel"),
    "row not in the ring": (Opcode.CONV, Opcode.CONV, {"x_slot": 500}, "operand x: rows"),
    "input group": (Opcode.CONV, Opcode.CONV, {"ci_groups": 9}, "ring rows|channel group"),
    "weights beyond the ring": (Opcode.CONV, Opcode.CONV, {"w_row": SMALL.ring_rows - 1}, "ring rows"),
    "impossible mode": (Opcode.CONV, Opcode.CONV, {"mode": 7}, "mode 7"),
    "load beyond the ring": (Opcode.CONV, Opcode.LOAD_WEIGHTS, {"w_row": SMALL.ring_rows - 1}, "ring rows"),
    "load beyond the weights": (Opcode.CONV, Opcode.LOAD_WEIGHTS, {"ddr": 1 << 20}, "bytes of weights"),
    "input beyond the frame": (Opcode.CONV, Opcode.LOAD_INPUT, {"ddr": 1 << 20}, "of a frame of"),
    "input too wide": (Opcode.CONV, Opcode.LOAD_INPUT, {"x_width": 0}, "pixels wide"),
    "output beyond the frame": (Opcode.CONV, Opcode.STORE, {"ddr": 1 << 20}, "of an output of"),
    "trace beyond the frame": (Opcode.CONV, Opcode.CONV, {"trace": 1 << 20}, "trace word"),
    "empty rectangle": (Opcode.CONV, Opcode.CONV, {"y_rows": 0}, "empty rectangle"),
    "depthwise weights": (Opcode.DEPTHWISE, Opcode.DEPTHWISE, {"w_row": SMALL.ring_rows - 1}, "ring rows"),
    "eltwise rows": (Opcode.ELTWISE, Opcode.ELTWISE, {"x_height": 0}, "reads beyond"),
    "head size": (Opcode.ATTENTION, Opcode.ATTENTION, {"x_groups": 1}, "heads of"),
    "norm size": (Opcode.LAYER_NORM, Opcode.LAYER_NORM, {"channels": 1}, "groups|the blob has"),
    "pool groups": (Opcode.POOL, Opcode.POOL, {"y_group0": 99}, "channel group"),
    "linear pixels": (Opcode.LINEAR, Opcode.LINEAR, {"y_cols": 2}, "1 x 2 pixels"),
    "vector memory": (Opcode.LINEAR, Opcode.LINEAR, VECTOR_Y | {"y_base": SMALL.vector_words}, "of a vector memory of"),
    "vector of two rows": (Opcode.LINEAR, Opcode.LINEAR, VECTOR_Y | {"y_plane": 2}, "not one pixel"),
    "vector of CONV": (Opcode.CONV, Opcode.CONV, {"y_pad": VECTOR}, "does not reach"),
    "vector for POOL": (Opcode.POOL, Opcode.POOL, {"x_pad": VECTOR}, "does not reach"),
    "head in the other ring": (Opcode.LINEAR, Opcode.LINEAR, {"w_row": 0}, "another engine"),
    "body in the head ring": (Opcode.CONV, Opcode.CONV, {"w_row": SMALL.ring_rows}, "another engine"),
    "load beyond the head ring": (
        Opcode.LINEAR,
        Opcode.LOAD_WEIGHTS,
        {"w_row": SMALL.ring_rows + SMALL.head_rows},
        "ends at row 1280",
    ),
    "unknown opcode": (Opcode.CONV, Opcode.CONV, {"opcode": 99}, "unknown opcode"),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_what_a_machine_cannot_do_raises(name: str) -> None:
    kind, opcode, fields, message = OUTSIDE[name]
    run = case(kind, 3, SMALL)
    execute(run.program, run.inputs, 1)
    index = first(run, opcode)
    with pytest.raises(InternalError, match=message) as caught:
        execute(changed(run, opcode, fields), run.inputs, 1)
    assert f"frame 0, instruction {index} (" in str(caught.value)


@pytest.mark.parametrize("name", [name for name in OUTSIDE if name != "unknown opcode"])
def test_what_no_frame_needs_is_not_executed(name: str) -> None:
    """A mistake for the frame in slot 2 matters only where there are three frames."""
    kind, opcode, fields, message = OUTSIDE[name]
    run = next(c for c in (case(kind, s, replace(SMALL, slots=3)) for s in range(3, 99)) if apart(c, opcode))
    data, program = run.among(0, 3), changed(run, opcode, fields, 2)
    two = len(run.inputs) * 2
    assert execute(program, data[:two], 2) == execute(run.program, data[:two], 2)
    with pytest.raises(InternalError, match=message) as caught:
        execute(program, data, 3)
    assert "frame 2, instruction" in str(caught.value)


def apart(run: Case, opcode: Opcode) -> bool:
    """Whether the first instruction of the opcode for the last slot is for no other slot."""
    return int(run.program.instructions["slots"][first(run, opcode, 2)]) == 4


@pytest.mark.parametrize(
    ("opcode", "slots", "message"),
    [
        (Opcode.CONV, 0, "no slot"),
        (Opcode.LOAD_WEIGHTS, 0, "no slot"),
        (Opcode.CONV, 3, r"for slots \[0, 1\]"),
        (Opcode.STORE, 6, r"for slots \[1, 2\]"),
        (Opcode.CONV, 8, "slot 3 of 3"),
        (Opcode.LOAD_WEIGHTS, 9, "slot 3 of 3"),
        (Opcode.LOAD_WEIGHTS, 128, "slot 7 of 3"),
    ],
)
def test_wrong_slots_raise(opcode: Opcode, slots: int, message: str) -> None:
    """Also where the frame that is named does not exist."""
    run = case(Opcode.CONV, 3, replace(SMALL, slots=3))
    index = first(run, opcode)
    for frames in (1, 3):
        with pytest.raises(InternalError, match=rf", instruction {index} \({opcode.name}, .*{message}"):
            execute(changed(run, opcode, {"slots": slots}), run.among(0, frames), frames)


@pytest.mark.parametrize("word", [1, 2, 3])
@pytest.mark.parametrize("value", [-1, 3, 1 << 30])
def test_attention_offsets_outside_the_head_raise(word: int, value: int) -> None:
    run = case(Opcode.ATTENTION, 3, SMALL)
    load = run.program.instructions[first(run, Opcode.LOAD_WEIGHTS)]
    rows, start = int(load["w_rows"]), int(load["ddr"]) * 128
    blob = layout.unstripe(run.program.weights[start : start + rows * 128], rows).copy()
    words = blob[0].view("<i4")
    assert words[0] == 1 and sorted(words[1:4]) == [0, 1, 2], "a head of 16 channels"
    words[word] = value
    weights = run.program.weights[:start] + layout.stripe(blob) + run.program.weights[start + rows * 128 :]
    with pytest.raises(InternalError, match="Q, K and V at groups"):
        execute(replace(run.program, weights=weights), run.inputs, 1)


def test_a_packed_weight_of_minus_128_raises() -> None:
    run = next(
        c
        for c in (case(Opcode.CONV, s, SMALL) for s in range(99))
        if not first_flags(c) & 1 and b"\x80" in c.program.weights
    )
    records = run.program.instructions.copy()
    records["flags"] |= (records["opcode"] == int(Opcode.CONV)).astype(np.uint8)
    with pytest.raises(InternalError, match="PACKED"):
        execute(replace(run.program, instructions=records), run.inputs, 1)


def first_flags(run: Case) -> int:
    return int(run.program.instructions["flags"][first(run, Opcode.CONV)])


def test_wrong_buffers_raise() -> None:
    run = case(Opcode.POOL, 0, SMALL)
    with pytest.raises(InternalError, match="bytes of input"):
        execute(run.program, run.inputs[:-1], 1)
    with pytest.raises(InternalError, match="bytes of input"):
        execute(run.program, run.inputs, 2)
    with pytest.raises(InternalError, match="bytes of weights"):
        execute(replace(run.program, weights=b""), run.inputs, 1)
    with pytest.raises(InternalError, match="instructions"):
        execute(replace(run.program, instructions=run.program.instructions[:-1]), run.inputs, 1)
