# SPDX-License-Identifier: Apache-2.0
"""The emitted machine, compiled and run: random one-kernel Programs, equal to the Program reference in every word of
output and trace, on machines of one, two and three slots, under the sanitizers and with a second compiler."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from hwgen.backends.hls import emit
from hwgen.backends.hls.csim import CsimResult, compile_csim, run_csim
from hwgen.backends.reference.program import execute
from hwgen.errors import InternalError, UserError
from hwgen.plan.program import INSTRUCTION_BYTES, VECTOR, Config, Flag, Opcode, Program, Queue
from random_programs import OPCODES, SMALL, Case, case, largest_attention

LARGE = Config(head_dim=32, pad_depth=512, epilogue_words=8, slots=3)
"""The default array; the wide epilogue, heads of 32, three slots."""
SINGLE = replace(SMALL, slots=1, pad_depth=200, vector_words=50)
"""Groups of one frame; sizes that are no powers of two."""


@dataclass(frozen=True)
class Machines:
    """Emitted projects in a folder that all test processes share, so that each is compiled once."""

    folder: Path

    def build(self, config: Config, *, sanitize: bool = False) -> Path:
        """The project of ``config``, its simulation compiled."""
        compiler = Path(os.environ.get("CXX", "g++")).name
        directory = self.folder / f"machine-{hash(config) & 0xFFFFFFFF:08x}-{compiler}-{int(sanitize)}"
        with (self.folder / f"{directory.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not directory.exists():
                first = case(Opcode.POOL, 0, config)
                emit(first.program, directory, part="xczu9eg-ffvb1156-2-e", clock_mhz=200.0, name="test")
            compile_csim(directory, sanitize=sanitize)
        return directory

    def run(
        self,
        config: Config,
        subject: Case,
        frames: int = 1,
        *,
        sanitize: bool = False,
        trace: bool = True,
        order: int = 0,
    ) -> CsimResult:
        """The case's frame first, then random ones."""
        program = subject.program
        return run_csim(
            self.build(config, sanitize=sanitize),
            program.to_bytes(),
            program.weights,
            subject.among(0, frames),
            frames,
            trace=trace,
            sanitize=sanitize,
            order=order,
        )


@pytest.fixture(scope="session")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Machines:
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "hls"
    shared.mkdir(exist_ok=True)
    return Machines(shared)


def check(machines: Machines, config: Config, opcode: Opcode, seeds: range, *, sanitize: bool = False) -> None:
    for seed in seeds:
        subject, frames = case(opcode, seed, config), 1 + seed % (config.slots + 2)
        expected = execute(subject.program, subject.among(0, frames), frames)
        result = machines.run(config, subject, frames, sanitize=sanitize)
        where = f"seed {seed}, {frames} frames: {subject.name}"
        assert result.output == expected.output, where
        assert result.trace == expected.trace, where


@pytest.mark.parametrize("opcode", OPCODES, ids=lambda o: o.name)
def test_small_machine_equals_the_reference(machines: Machines, opcode: Opcode) -> None:
    check(machines, SMALL, opcode, range(60 if opcode in (Opcode.CONV, Opcode.DEPTHWISE) else 25))


@pytest.mark.parametrize("opcode", OPCODES, ids=lambda o: o.name)
def test_large_machine_equals_the_reference(machines: Machines, opcode: Opcode) -> None:
    check(machines, LARGE, opcode, range(100, 130 if opcode in (Opcode.CONV, Opcode.ATTENTION) else 110))


def test_largest_sums_of_attention(machines: Machines) -> None:
    """Numerators above 2^39."""
    subject = largest_attention(LARGE)
    expected = execute(subject.program, subject.inputs, 1)
    assert machines.run(LARGE, subject).trace == expected.trace
    y = np.frombuffer(expected.trace, np.int8)[16 * subject.trace :][: subject.expected.size]
    assert set(y.tolist()) == {255 // 3 - 128}


@pytest.mark.parametrize("opcode", OPCODES, ids=lambda o: o.name)
def test_one_slot_equals_the_reference(machines: Machines, opcode: Opcode) -> None:
    check(machines, SINGLE, opcode, range(400, 406))


@pytest.mark.parametrize("opcode", OPCODES, ids=lambda o: o.name)
def test_no_sanitizer_complains(machines: Machines, opcode: Opcode) -> None:
    check(machines, SMALL, opcode, range(200, 206), sanitize=True)


@pytest.mark.skipif(shutil.which("clang++") is None, reason="clang++ is not installed")
def test_clang_agrees(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "clang++")
    for opcode in OPCODES:
        check(machines, SMALL, opcode, range(300, 304))


def test_unpacked_and_packed_both_occur() -> None:
    records = [i for seed in range(60) for i in case(Opcode.CONV, seed).program.instructions]
    assert {int(i["flags"]) & int(Flag.PACKED) for i in records if i["opcode"] == Opcode.CONV} == {0, 1}


def test_frames_follow_each_other(machines: Machines) -> None:
    """In the last group one of two frames is missing."""
    first = case(Opcode.DEPTHWISE, 3)
    inputs, program = first.among(0, 3), first.program
    expected = execute(program, inputs, 3)
    lines: list[tuple[str, int, int]] = []
    result = run_csim(
        machines.build(SMALL), program.to_bytes(), program.weights, inputs, 3, trace=True,
        progress=lambda *line: lines.append(line),
    )  # fmt: skip
    assert (result.output, result.trace) == (expected.output, expected.trace)
    assert [*dict.fromkeys(name for name, _, total in lines if total)] == [
        "simulating frames 1 to 2 of 3",
        "simulating frame 3 of 3",
    ]
    done = [count for _, count, total in lines if total]
    assert done == sorted(done) and lines[-1][2] == 2 * len(program.instructions) == done[-1]


def test_without_trace(machines: Machines) -> None:
    subject = case(Opcode.CONV, 1)
    result = machines.run(SMALL, subject, trace=False)
    assert result.trace == b""
    assert result.output == execute(subject.program, subject.inputs, 1).output


def _flip(subject: Case, rng: np.random.Generator) -> Case:
    weights = np.frombuffer(subject.program.weights, np.uint8).copy()
    weights[rng.integers(len(weights))] ^= 1 << int(rng.integers(8))
    return replace(subject, program=replace(subject.program, weights=weights.tobytes()))


@pytest.mark.parametrize("opcode", [Opcode.CONV, Opcode.DEPTHWISE, Opcode.LINEAR], ids=lambda o: o.name)
def test_a_flipped_weight_bit_is_seen(machines: Machines, opcode: Opcode) -> None:
    """With one bit of weights.bin flipped, chosen so that the reference changes, the machine's trace is another one."""
    rng, seen = np.random.default_rng(11), 0
    for seed in range(8):
        subject = case(opcode, seed)
        expected = execute(subject.program, subject.inputs, 1)
        for _ in range(40):
            broken = _flip(subject, rng)
            try:
                different = execute(broken.program, subject.inputs, 1).trace != expected.trace
            except InternalError:  # the flip made a weight -128, or an accumulator too large
                continue
            if different:
                assert machines.run(SMALL, broken).trace != expected.trace
                seen += 1
                break
    assert seen >= 4


def _first(subject: Case, kind: Opcode, slot: int = 0) -> int:
    """Number of the first instruction of an opcode for the frame in ``slot``."""
    records = subject.program.instructions
    return int(np.flatnonzero((records["opcode"] == kind) & (records["slots"] >> slot & 1 == 1))[0])


def _with_fields(subject: Case, kind: Opcode, fields: dict[str, int], slot: int = 0) -> Case:
    records = subject.program.instructions.copy()
    index = _first(subject, kind, slot)
    for name, value in fields.items():
        records[name][index] = value
    return replace(subject, program=replace(subject.program, instructions=records))


@pytest.mark.parametrize(
    ("opcode", "fields", "message"),
    [
        (Opcode.CONV, {"x_base": 60000}, "outside its pad"),
        (Opcode.CONV, {"y_base": 60000}, "outside its pad"),
        (Opcode.CONV, {"x_base": SMALL.pad_depth}, "outside its pad"),  # the other slot's
        (Opcode.CONV, {"y_base": SMALL.pad_depth}, "outside its pad"),
        (Opcode.CONV, {"y_base": 65536 - SMALL.pad_depth}, "outside its pad"),  # wraps to the other slot's
        (Opcode.CONV, {"x_pad": 77}, "pad that does not exist"),
        (Opcode.CONV, {"mode": 3}, "more pixels than the array"),
        (Opcode.CONV, {"w_row": 1279}, "outside the weight ring"),
        (Opcode.LOAD_WEIGHTS, {"w_row": 1280}, "outside the weight ring"),
        (Opcode.LINEAR, {"x_base": 60000}, "outside the vector memory"),
        (Opcode.LINEAR, {"y_base": 60000}, "outside the vector memory"),
        (Opcode.STORE, {"x_base": 60000}, "outside the vector memory"),
        (Opcode.STORE, {"x_base": SMALL.vector_words}, "outside the vector memory"),  # the other slot's
        (Opcode.STORE, {"x_base": 65536 - SMALL.vector_words}, "outside the vector memory"),
    ],
)
@pytest.mark.parametrize("slot", [0, 1])
def test_wrong_addresses_stop_the_machine(
    machines: Machines, opcode: Opcode, fields: dict[str, int], message: str, slot: int
) -> None:
    subject = case(Opcode.CONV, 6)
    if "vector" in message:
        subject = next(c for c in (case(Opcode.LINEAR, s) for s in range(99)) if _only_vectors(c))
    machines.run(SMALL, subject, 2)
    with pytest.raises(InternalError, match=message):
        machines.run(SMALL, _with_fields(subject, opcode, fields, slot), 2)


def test_what_no_frame_needs_is_not_executed(machines: Machines) -> None:
    """Wrong instructions of slot 1 matter only where there are two frames; so does a LOAD_WEIGHTS that only it uses."""
    subject = next(c for c in (case(Opcode.CONV, s) for s in range(99)) if _loads_apart(c))
    for opcode, fields in ((Opcode.CONV, {"y_base": 60000}), (Opcode.LOAD_WEIGHTS, {"w_row": SMALL.ring_rows - 1})):
        broken = _with_fields(subject, opcode, fields, 1)
        found, expected = machines.run(SMALL, broken), machines.run(SMALL, subject)
        assert (found.output, found.trace) == (expected.output, expected.trace)
        with pytest.raises(InternalError, match="outside"):
            machines.run(SMALL, broken, 2)


def _loads_apart(subject: Case) -> bool:
    return int(subject.program.instructions["slots"][_first(subject, Opcode.LOAD_WEIGHTS, 1)]) == 2


@pytest.mark.parametrize(
    ("opcode", "slots", "message"),
    [
        (Opcode.CONV, 0, "for no slot"),
        (Opcode.LOAD_WEIGHTS, 0, "for no slot"),
        (Opcode.LOAD_WEIGHTS, 5, "one that does not exist"),
        (Opcode.CONV, 128, "one that does not exist"),
        (Opcode.STORE, 3, "more than one slot"),
    ],
)
def test_wrong_slots_stop_the_machine(machines: Machines, opcode: Opcode, slots: int, message: str) -> None:
    with pytest.raises(InternalError, match=message):
        machines.run(SMALL, _with_fields(case(Opcode.CONV, 6), opcode, {"slots": slots}))


def _only_vectors(subject: Case) -> bool:
    records = subject.program.instructions
    pads = records["x_pad"][records["opcode"] == Opcode.LINEAR]
    return bool((pads == VECTOR).all()) and int(records["x_pad"][-1]) == VECTOR


def test_an_unknown_opcode_stops_the_machine(machines: Machines) -> None:
    subject = case(Opcode.CONV, 6)
    program = subject.program
    data = bytearray(program.to_bytes())
    number = int(program.positions()[_first(subject, Opcode.CONV)])
    data[(number + 1) * INSTRUCTION_BYTES] = 99
    with pytest.raises(InternalError, match="unknown opcode"):
        run_csim(machines.build(SMALL), bytes(data), program.weights, subject.inputs, 1, trace=True)


def test_a_wait_that_never_holds_is_reported_as_a_deadlock(machines: Machines) -> None:
    """The first CONV waits for a CONV: nothing moves, and the state of every stream is reported."""
    subject = case(Opcode.CONV, 6)
    broken = _with_fields(subject, Opcode.CONV, {})
    records = broken.program.instructions
    records["wait_mask"][_first(broken, Opcode.CONV)] |= 1 << Queue.ARRAY
    records["waits"][_first(broken, Opcode.CONV), Queue.ARRAY] = 100  # there are not so many
    with pytest.raises(InternalError, match="would hang") as info:
        machines.run(SMALL, broken)
    top = (machines.build(SMALL) / "hls" / "src" / "top.cpp").read_text()
    names = re.findall(r'hls::stream\w*<.*> (\w+)\("\1"\);', top)
    assert len(names) > 90
    missing = [name for name in names if f"stream {name}: " not in str(info.value)]
    assert missing == []
    assert re.search(r"stream finished: 0 of 1 entries, the main program waits", str(info.value))
    assert re.search(r"stream array_commands: 0 of 16 entries, task \d+ waits: read", str(info.value))


@pytest.mark.parametrize("opcode", OPCODES, ids=lambda o: o.name)
def test_results_do_not_depend_on_timing(machines: Machines, opcode: Opcode) -> None:
    """Tasks that run in a random order and are interrupted at random give the same words."""
    subject, frames = case(opcode, 7), SMALL.slots + 1
    expected = execute(subject.program, subject.among(0, frames), frames)
    for order in range(1, 9):
        result = machines.run(SMALL, subject, frames, order=order)
        assert (result.output, result.trace) == (expected.output, expected.trace), f"order {order}"


@pytest.mark.parametrize("opcode", [Opcode.CONV, Opcode.ATTENTION, Opcode.LINEAR], ids=lambda o: o.name)
@pytest.mark.parametrize("frames", [1, SMALL.slots + 1])
def test_the_machine_can_be_started_again(machines: Machines, opcode: Opcode, frames: int) -> None:
    """Tasks run for ever: what one start leaves in them must not change the next one."""
    program, inputs = (subject := case(opcode, 9)).program, subject.among(0, frames)
    expected = execute(program, inputs, frames)
    build, binary = machines.build(SMALL), program.to_bytes()
    for order in range(6):
        result = run_csim(build, binary, program.weights, inputs, frames, trace=True, order=order, starts=3)
        assert (result.output, result.trace) == (expected.output, expected.trace)


def test_a_missing_wait_shows_in_some_order(machines: Machines) -> None:
    """Without its waits an engine reads what is not there yet: some order finds that."""
    subject = case(Opcode.CONV, 6)
    expected = execute(subject.program, subject.inputs, 1)
    broken = _with_fields(subject, Opcode.CONV, {"wait_mask": 0})
    found = False
    for order in range(8):
        try:
            result = machines.run(SMALL, broken, order=order)
        except InternalError as error:
            found = found or "at the same time" in str(error)
        else:
            found = found or result.trace != expected.trace
    assert found


def test_a_foreign_program_is_refused(machines: Machines) -> None:
    subject = case(Opcode.POOL, 0)
    header = subject.program.header.copy()
    header["config_hash"] += 1
    foreign = replace(subject, program=replace(subject.program, header=header))
    with pytest.raises(InternalError, match="refused the Program"):
        machines.run(SMALL, foreign)


def test_truncated_files_are_refused(machines: Machines) -> None:
    subject = case(Opcode.POOL, 0)
    build, program = machines.build(SMALL), subject.program
    short = program.to_bytes()[:-INSTRUCTION_BYTES]
    with pytest.raises(InternalError, match="wrong length"):
        run_csim(build, short, program.weights, subject.inputs, 1, trace=True)
    with pytest.raises(InternalError, match="too few frames"):
        run_csim(build, program.to_bytes(), program.weights, subject.inputs, 2, trace=True)


def test_the_binary_is_cached(machines: Machines) -> None:
    build = machines.build(SMALL)
    assert machines.run(SMALL, case(Opcode.POOL, 0)).compile_seconds == 0.0
    assert [p.name for p in (build / "sim-cache").iterdir() if p.is_dir()] == []
    before = compile_csim(build)[0]
    assert before.parent == build / "sim-cache"


def test_sources_that_do_not_compile_are_a_bug(tmp_path: Path) -> None:
    program: Program = case(Opcode.POOL, 0, replace(SMALL, blocks=3)).program
    emit(program, tmp_path, part="part", clock_mhz=100.0, name="three")
    with pytest.raises(InternalError, match="power of two of blocks"):
        compile_csim(tmp_path)
    assert list((tmp_path / "sim-cache").iterdir()) == []


def test_a_folder_without_a_build_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="hwgen build"):
        compile_csim(tmp_path)


def test_leftovers_fail_the_run(tmp_path: Path) -> None:
    """A port that brings the first beat of a burst twice leaves one in its stream: exit code 6."""
    subject = case(Opcode.POOL, 0)
    emit(subject.program, tmp_path, part="part", clock_mhz=100.0, name="leftovers")
    header = tmp_path / "hls" / "include" / "weights.hpp"
    text, write = header.read_text(), "beats.write(weights[request.first.to_uint64() + i]);"
    assert text.count(write) == 1
    header.write_text(text.replace(write, f"{write} if (i == 0) {write}"))
    with pytest.raises(InternalError, match=r"left entries in a stream: [^.]*beats0 still holds 1") as info:
        run_csim(tmp_path, subject.program.to_bytes(), subject.program.weights, subject.inputs, 1, trace=True)
    assert all(f"beats{port} still holds 1" in str(info.value) for port in range(4))
