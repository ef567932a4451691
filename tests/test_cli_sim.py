# SPDX-License-Identifier: Apache-2.0
"""``hwgen sim``: exact on an intact build, exit code 1 on any flipped bit, clear messages for wrong input."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from conftest import MEAN, STD, Ran
from hwgen import fault, simulation
from hwgen.artifact import read_build
from hwgen.errors import InternalError, UserError
from hwgen.ir import Conv, Linear

Hwgen = Callable[..., Ran]
CONTRACT = {"level", "frames", "compared", "mismatches", "exact", "wall_seconds"}
SHAPE = (3, 12, 12)


def test_exact(hwgen: Hwgen, tiny_build: Path) -> None:
    ran = hwgen("sim", tiny_build, "--frames", 3, "--json")
    assert ran.code == 0 and set(ran.json) >= CONTRACT
    kernels = json.loads((tiny_build / "manifest.json").read_text())["kernels"]
    report = ran.json
    assert report["frames"] == 3 and report["exact"] and report["mismatches"] == 0
    assert report["compared"] == 3 * (len(kernels) + 1)  # and the output buffer
    assert "exact" in hwgen("sim", tiny_build).out
    assert hwgen("sim", tiny_build, "-q").out == ""


def test_image_build_is_exact(hwgen: Hwgen, tiny_image_build: Path) -> None:
    assert hwgen("sim", tiny_image_build, "--frames", 2, "--seed", 5).code == 0


@pytest.mark.parametrize("kind", fault.KINDS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_injected_fault_is_found(hwgen: Hwgen, tiny_build: Path, kind: str, seed: int) -> None:
    ran = hwgen("sim", tiny_build, "--inject-fault", kind, "--seed", seed, "--json")
    assert ran.code == 1
    report = ran.json
    assert not report["exact"] and report["mismatches"] > 0
    assert report["fault"]["kind"] == kind and report["fault"]["file"] == (
        "program.bin" if kind == "program" else "weights.bin"
    )
    assert report["first_mismatches"][0]["kernel"] == report["fault"]["kernel"]
    text = hwgen("sim", tiny_build, "--inject-fault", kind, "--seed", seed)
    assert text.code == 1 and "fault: bit" in text.out and "expected" in text.out


def test_fault_without_value_means_weights(hwgen: Hwgen, tiny_build: Path) -> None:
    ran = hwgen("sim", tiny_build, "--inject-fault", "--json")
    assert ran.code == 1 and ran.json["fault"]["kind"] == "weights"


def test_a_bit_flipped_on_disk_is_found(hwgen: Hwgen, tiny_build: Path) -> None:
    injected = hwgen("sim", tiny_build, "--inject-fault", "--json").json
    where = injected["fault"]
    data = bytearray((tiny_build / where["file"]).read_bytes())
    data[where["byte"]] ^= 1 << where["bit"]
    (tiny_build / where["file"]).write_bytes(bytes(data))
    ran = hwgen("sim", tiny_build, "--json")
    assert ran.code == 1
    assert ran.json["first_mismatches"] == injected["first_mismatches"]


def test_compare_names_first_difference() -> None:
    want = {"a": np.zeros((2, 2, 3), np.int8), "b": np.ones((1, 1, 1), np.int8)}
    got = {"a": want["a"].copy(), "b": want["b"].copy()}
    assert simulation.compare([("ka", "a"), ("kb", "b")], 4, want, got) == []
    got["a"][1, 0, 2] = 7
    got["a"][1, 1, 0] = -7
    (found,) = simulation.compare([("ka", "a"), ("kb", "b")], 4, want, got)
    assert found == simulation.Mismatch("ka", "a", 4, (1, 0, 2), 0, 7, 2, 12)


def test_fault_search_passes_over_refusals_and_gives_up(tiny_build: Path) -> None:
    program = read_build(tiny_build).program
    calls: list[int] = []

    def refuse_twice(candidate: object) -> str | None:
        calls.append(1)
        if len(calls) < 3:
            raise InternalError("impossible instruction")
        return "kernel"

    _, chosen = fault.inject(program, "program", 0, refuse_twice)
    assert len(calls) == 3 and chosen.kernel == "kernel"
    with pytest.raises(UserError, match="another --seed"):
        fault.inject(program, "weights", 0, lambda candidate: None)
    with pytest.raises(UserError, match="weights, program, table"):
        fault.inject(program, "ram", 0, lambda candidate: None)


def test_rows_are_what_the_decoder_says(tiny_build: Path) -> None:
    """Weights and tables of the kernel graph lie in the rows that are called so; the striping hits every byte once."""
    build = read_build(tiny_build)
    loads, kinds = fault.classify_rows(build.program)
    positions = np.array([[fault.byte_of(build.program, *load, column) for column in range(128)] for load in loads])
    assert sorted(positions.ravel()) == list(range(len(build.program.weights)))
    data = np.frombuffer(build.program.weights, np.uint8)[positions].view(np.int8)
    _, graph = simulation._graphs(build)
    weights = [op.weight for op in graph.ops if isinstance(op, (Conv, Linear))]
    total = sum(int(np.abs(w.astype(np.int64)).sum()) for w in weights)
    assert int(np.abs(data[kinds == "weights"].astype(np.int64)).sum()) == total  # padding is zero
    tables = [op.table for op in graph.ops if getattr(op, "table", None) is not None]
    assert int((kinds == "table").sum()) * 128 == sum(t.size for t in tables)
    assert (kinds == "parameters").any()


# --------------------------------------------------------------------------------------------------------------------
# Input and output files


def test_input_and_output(hwgen: Hwgen, tiny_build: Path, tiny_model: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(0, 1, (5, *SHAPE)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    ran = hwgen("sim", tiny_build, "--input", tmp_path / "x.npy", "--output", tmp_path / "y.npy", "--json")
    assert ran.code == 0 and ran.json["frames"] == 5
    y = np.load(tmp_path / "y.npy")
    assert y.shape == (5, 10) and y.dtype == np.float32
    session = onnxruntime.InferenceSession(str(tiny_model), providers=["CPUExecutionProvider"])
    theirs = np.concatenate([session.run(None, {"image": frame[None]})[0] for frame in x])
    assert np.abs(y - theirs).max() <= 0.05 * 6 + 1e-6  # a few steps of the output over the whole network
    assert (y != y[0]).any()
    two = hwgen(
        "sim", tiny_build, "--input", tmp_path / "x.npy", "--frames", 2, "--output", tmp_path / "z.npy", "--json"
    )
    assert two.json["frames"] == 2 and np.array_equal(np.load(tmp_path / "z.npy"), y[:2])


def test_images_survive_normalization(tiny_image_build: Path, tmp_path: Path) -> None:
    build = read_build(tiny_image_build)
    _, graph = simulation._graphs(build)
    images = np.random.default_rng(1).integers(0, 256, (2, *SHAPE)).astype(np.uint8)
    mean, std = (np.float32(v).reshape(-1, 1, 1) for v in (MEAN, STD))
    floats = (images.astype(np.float32) / np.float32(255) - mean) / std
    assert np.array_equal(simulation.encode(build, graph, floats).images, images)


def test_seed_decides(hwgen: Hwgen, tiny_build: Path, tmp_path: Path) -> None:
    results = []
    for number, seed in enumerate((7, 7, 8)):
        assert hwgen("sim", tiny_build, "--seed", seed, "--output", tmp_path / f"{number}.npy").code == 0
        results.append(np.load(tmp_path / f"{number}.npy"))
    assert np.array_equal(results[0], results[1]) and not np.array_equal(results[0], results[2])


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((1, 12, 12, 3), np.float32), "takes (N, 3, 12, 12)"),
        (np.zeros(SHAPE, np.float32), "takes (N, 3, 12, 12)"),
        (np.zeros((0, *SHAPE), np.float32), "takes (N, 3, 12, 12)"),
        (np.full((1, *SHAPE), np.nan, np.float32), "NaN"),
        (np.zeros((1, *SHAPE), np.complex64), "not numbers"),
        (np.array([{"a": 1}], object), "NumPy array file"),
    ],
)
def test_wrong_input_files(hwgen: Hwgen, tiny_build: Path, tmp_path: Path, array: np.ndarray, words: str) -> None:
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    ran = hwgen("sim", tiny_build, "--input", tmp_path / "x.npy")
    assert ran.code == 2 and words in ran.err and "Traceback" not in ran.err


def test_other_user_errors(hwgen: Hwgen, tiny_build: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((2, *SHAPE), np.float32))
    (tmp_path / "text.npy").write_text("no array")
    other = tmp_path / "other"
    other.mkdir()
    cases = [
        ([other], "not a build folder"),
        ([tmp_path / "absent"], "not a build folder"),
        ([tiny_build, "--level", "gates"], "Use one of: reference, csim, rtl, onnxruntime"),
        ([tiny_build, "--frames", "0"], "--frames"),
        ([tiny_build, "--input", tmp_path / "absent.npy"], "No such file"),
        ([tiny_build, "--input", tmp_path / "text.npy"], "as a NumPy array file"),
        ([tiny_build, "--input", tmp_path / "x.npy", "--frames", 3], "holds 2 frames"),
        ([tiny_build, "--output", tmp_path / "absent" / "y.npy"], "folder does not exist"),
        ([tiny_build, "--level", "onnxruntime", "--inject-fault"], "Use reference, csim or rtl"),
        ([tiny_build, "--inject-fault=ram"], "weights, program, table"),
    ]
    for arguments, words in cases:
        ran = hwgen("sim", *arguments)
        assert ran.code == 2 and words in " ".join(ran.err.split()) and "Traceback" not in ran.err, (arguments, ran)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("program.bin", b"", "damaged"),
        ("program.bin", b"\0" * 256, "damaged"),
        ("model.onnx", b"\0", "model.onnx"),
        ("manifest.json", b'{"format": "hwgen build", "format_version": 99}', "format version 99"),
        ("manifest.json", b'{"format": "hwgen build", "format_version": 1}', "damaged"),
    ],
)
def test_damaged_builds(hwgen: Hwgen, tiny_build: Path, file: str, content: bytes, words: str) -> None:
    (tiny_build / file).write_bytes(content)
    ran = hwgen("sim", tiny_build)
    assert ran.code == 2 and words in ran.err and "Traceback" not in ran.err


def test_a_machine_that_refuses_an_intact_build_is_a_bug(
    hwgen: Hwgen, tiny_build: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise InternalError("pad address")

    monkeypatch.setattr(simulation.machine, "execute", refuse)
    assert hwgen("sim", tiny_build).code == 70
    manifest = json.loads((tiny_build / "manifest.json").read_text())
    manifest["program"]["sha256"] = "0"
    (tiny_build / "manifest.json").write_text(json.dumps(manifest))
    ran = hwgen("sim", tiny_build)
    assert ran.code == 2 and "altered after the build" in ran.err


# --------------------------------------------------------------------------------------------------------------------
# The other levels


def test_onnxruntime(hwgen: Hwgen, tiny_build: Path) -> None:
    ran = hwgen("sim", tiny_build, "--level", "onnxruntime", "--frames", 2, "--json")
    assert ran.code == 0 and set(ran.json) >= CONTRACT | {"equal_share", "max_step", "top1_agreement", "ops"}
    assert len(ran.json["ops"]) == ran.json["compared"] > 5
    assert all({"name", "equal_share", "max_step", "kept"} <= set(op) for op in ran.json["ops"])
    assert "promised" in hwgen("sim", tiny_build, "--level", "onnxruntime", "-v").out


def test_broken_promise_is_exit_code_1(hwgen: Hwgen, tiny_build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hwgen.backends.reference import ort

    compare = ort.compare

    def worse(*arguments: object, **options: object) -> ort.Comparison:
        result = compare(*arguments, **options)  # type: ignore[arg-type]
        name, tally = next(iter(result.ops.items()))
        result.ops[name] = dataclasses.replace(tally, max_step=2)
        return result

    monkeypatch.setattr(ort, "compare", worse)
    ran = hwgen("sim", tiny_build, "--level", "onnxruntime")
    assert ran.code == 1 and "Broken promises" in ran.out


def test_csim(hwgen: Hwgen, tiny_image_build: Path) -> None:
    """One compilation: exact, and not exact with a flipped bit of each kind."""
    ran = hwgen("sim", tiny_image_build, "--level", "csim", "--frames", 2, "--json")
    assert ran.code == 0 and ran.json["exact"] and ran.json["compile_seconds"] > 0, ran.err
    for kind in fault.KINDS:
        ran = hwgen("sim", tiny_image_build, "--level", "csim", "--inject-fault", kind, "--json")
        assert ran.code == 1 and ran.json["fault"]["kind"] == kind and ran.json["compile_seconds"] == 0


def test_interval_of_whole_groups() -> None:
    """Three frames end together, 300 cycles after the three before; a last group that is not full takes less."""
    times = [1000 + 300 * (frame // 3) + frame % 3 for frame in range(18)]
    assert simulation.steady_interval(times, 3) == 100
    assert simulation.steady_interval([*times[:15], 2350], 3) == 100
    assert simulation.steady_interval(times[:11], 3) is None
    even = [100 * frame for frame in range(16)]
    assert simulation.steady_interval(even, 1) == simulation.steady_interval(even, 2) == 100
