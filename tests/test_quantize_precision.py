# SPDX-License-Identifier: Apache-2.0
"""``hwgen quantize --precision``: bits of single layers and tensors, the file that gives them, and its errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from conftest import Ran
from float_models import float_vit
from hwgen.errors import UserError
from hwgen.quantize import calibrate, weights
from hwgen.quantize.float_model import read_float
from hwgen.quantize.images import Images
from hwgen.quantize.placement import place
from hwgen.quantize.precision import Precision, as_file, parts_of, resolve, uniform, with_bits
from labelled import run_plainly
from qdq_models import save

Command = Callable[..., Ran]
RNG = np.random.default_rng


def silent(*_: object) -> None:
    pass


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(float_vit(), tmp_path / "float.onnx")


@pytest.fixture
def calib(tmp_path: Path) -> Path:
    np.save(tmp_path / "calib.npy", RNG(5).normal(0, 1, (12, 3, 12, 12)).astype(np.float32))
    return tmp_path / "calib.npy"


def write(path: Path, **content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def quantized(hwgen: Command, model: Path, calib: Path, out: Path, *options: object) -> dict[str, Any]:
    ran = hwgen("quantize", model, "--calib", calib, "-o", out, "--json", *options)
    assert ran.code == 0, ran.err
    return ran.json


def codes(path: Path, tensor: str) -> np.ndarray:
    """(outputs, ...) int8"""
    graph = onnx.load(path).graph
    array = next(numpy_helper.to_array(i) for i in graph.initializer if i.name == f"{tensor}_quantized")
    node = next(n for n in graph.node if f"{tensor}_quantized" in n.input)
    axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    return np.moveaxis(array, axis, 0)


def test_each_layer_and_tensor_has_the_bits_of_the_file(
    hwgen: Command, tmp_path: Path, model: Path, calib: Path
) -> None:
    source = read_float(model)
    placement = place(source)
    first, second, rows, *others = placement.weighted
    tensors = [p for p in parts_of(source, placement) if p.kind == "activations"]
    outputs = source.constants[rows.weight].shape[rows.axis]
    by_row = [4 if i % 3 == 0 else 8 if i % 3 == 1 else 6 for i in range(outputs)]
    file = write(
        tmp_path / "p.json",
        weights={first.node.name: 4, second.node.name: 8, rows.node.name: by_row},
        activations={tensors[0].members[0]: 6, **dict.fromkeys(tensors[1].members, 6)},
    )
    out = tmp_path / "out.onnx"
    report = quantized(hwgen, model, calib, out, "--precision", file, "--weights", "6")
    found = {w["node"]: w["bits"] for w in report["weights"]}
    assert found.pop(first.node.name) == 4 and found.pop(second.node.name) == 8
    assert found.pop(rows.node.name) == by_row and set(found.values()) == {6}
    tensor = {w["node"]: w["tensor"] for w in report["weights"]}
    largest = {node: np.abs(codes(out, name).astype(int)).max() for node, name in tensor.items()}
    assert largest[first.node.name] <= 7 and 31 < largest[second.node.name] <= 127
    assert all(largest[w.node.name] <= 31 for w in others)
    narrow = np.abs(codes(out, tensor[rows.node.name]).reshape(outputs, -1).astype(int)).max(axis=1)
    assert (narrow <= [2 ** (b - 1) - 1 for b in by_row]).all() and narrow[1::3].max() > 31 and narrow[2::3].max() > 7
    named = {tensors[0].members[0], *tensors[1].members}
    assert {t["tensor"]: t["bits"] for t in report["tensors"]} == {
        t["tensor"]: 6 if t["tensor"] in named else 8 for t in report["tensors"]
    }
    assert report["precision"] == "p.json"
    properties = {p.key: p.value for p in onnx.load(out).metadata_props}
    assert properties["hwgen.weights"] == report["bits"]["weights"] == f"4 (1), 6 ({len(others)}), 8 (1), several (1)"
    assert properties["hwgen.activations"].startswith("6 (")


def test_mixed_precision_is_mapped_and_exact(hwgen: Command, tmp_path: Path, model: Path, calib: Path) -> None:
    source = read_float(model)
    parts = parts_of(source, place(source))
    file = write(
        tmp_path / "p.json",
        weights={p.name: 4 for p in parts[::2] if p.kind == "weights"},
        activations={m: 6 for p in parts[::3] if p.kind == "activations" for m in p.members},
    )
    quantized(hwgen, model, calib, tmp_path / "out.onnx", "--precision", file)
    built = hwgen("build", tmp_path / "out.onnx", "--board", "zcu102", "-o", tmp_path / "build", "-q")
    assert built.code == 0, built.err
    assert hwgen("sim", tmp_path / "build", "--json").json["exact"]


def test_file_of_a_precision_gives_that_precision(tmp_path: Path, model: Path) -> None:
    source = read_float(model)
    placement = place(source)
    base = uniform(source, placement, 8, 8)
    parts = parts_of(source, placement)
    assert {p.kind for p in parts} == {"weights", "activations"}
    assert any(len(p.members) > 1 for p in parts if p.kind == "activations")
    for chosen in ([], parts, parts[::2], parts[1::2]):
        wanted = with_bits(base, chosen, {"weights": 4, "activations": 6})
        file = write(tmp_path / "p.json", **as_file(wanted, source, placement))
        assert resolve(file, source, placement, uniform(source, placement, 6, 6)) == wanted


def test_quantizer_before_an_activation_follows_the_tensor_behind(tmp_path: Path, model: Path) -> None:
    source = read_float(model)
    placement = place(source)
    base = uniform(source, placement, 8, 8)
    activation = placement.activations[0]
    file = write(tmp_path / "p.json", activations={activation.after: 6})
    assert resolve(file, source, placement, base).activations[activation.before] == 6
    file = write(tmp_path / "p.json", activations={activation.after: 6, activation.before: 8})
    assert resolve(file, source, placement, base).activations[activation.before] == 8


def test_a_precision_made_from_kept_layers_is_the_one_made_alone(model: Path) -> None:
    """Whatever was made before: the same bytes."""
    source = read_float(model)
    placement = place(source)
    x = RNG(5).normal(0, 1, (8, 3, 12, 12)).astype(np.float32)
    images = Images(len(x), lambda i: x[i])
    base = uniform(source, placement, 8, 8)
    parts = parts_of(source, placement)
    mixed = with_bits(base, parts[::2], {"weights": 4, "activations": 6})

    def bytes_of(*order: Precision) -> bytes:
        calibrated = calibrate(source, placement, images, "mse", 8, silent)
        made = [calibrated.quantized(p, silent) for p in order]
        return bytes(made[-1].model.SerializeToString(deterministic=True))

    low = with_bits(base, parts, {"weights": 4, "activations": 6})
    assert bytes_of(mixed) == bytes_of(base, low, mixed) != bytes_of(base)


def test_rows_of_one_width_are_that_width() -> None:
    rng = RNG(3)
    weight, second = rng.normal(size=(6, 8)), np.eye(8)[None] + 0.1
    for bits in (8, 6, 4):
        scale = weights.mse_scale(weight, bits).astype(np.float32)
        rows = (bits,) * 6
        assert np.array_equal(weights.mse_scale(weight, rows).astype(np.float32), scale)
        for whole, each in (
            (weights.round_weights(weight, scale, bits), weights.round_weights(weight, scale, rows)),
            (weights.compensate(weight, scale, bits, second), weights.compensate(weight, scale, rows, second)),
        ):
            assert np.array_equal(whole.codes, each.codes)
            assert np.abs(whole.codes).max() == weights.limits(bits, 1)[0]


def test_sessions_give_what_the_operators_give(hwgen: Command, tmp_path: Path, model: Path, calib: Path) -> None:
    """The figures in reports are of the quantized network, not of an optimizer's idea of it."""
    from hwgen.quantize import calibration

    out = tmp_path / "out.onnx"
    quantized(hwgen, model, calib, out, "--weights", "4", "--activations", "6")
    x = np.load(calib)
    found = calibration.run(onnx.load(out), "image", Images(len(x), lambda i: x[i]), silent)
    ours, plain = np.concatenate([y for (y,) in found]), run_plainly(out, x)
    float_output = run_plainly(model, x)
    assert np.abs(ours - plain).max() < 0.05 * np.abs(float_output - plain).max()


# --- files that are wrong: one message with everything, exit code 2, nothing written


def refused(hwgen: Command, tmp_path: Path, model: Path, calib: Path, file: Path) -> str:
    out = tmp_path / "result"
    out.mkdir()
    ran = hwgen("quantize", model, "--calib", calib, "-o", out / "out.onnx", "--precision", file)
    assert ran.code == 2 and not list(out.iterdir()) and "Traceback" not in ran.err
    return ran.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no json", ["no precision file"]),
        ("[1, 2]", ["p.json is not right"]),
        ('{"weights": {"a": 4, "a": 8}}', ["names a twice"]),
        (
            '{"weight": {}, "weights": {"a": 5, "b": true}, "activations": {"c": 4}}',
            ["weight:", "a: is 5", "b: is true"],
        ),
        ('{"weights": {"a": []}, "activations": {"c": "6"}}', ["weights.a", 'activations.c: is "6"']),
    ],
)
def test_files_that_are_no_precision(
    hwgen: Command, tmp_path: Path, model: Path, calib: Path, text: str, said: list[str]
) -> None:
    (tmp_path / "p.json").write_text(text)
    message = refused(hwgen, tmp_path, model, calib, tmp_path / "p.json")
    assert all(part in message for part in said), message


def test_missing_file(hwgen: Command, tmp_path: Path, model: Path, calib: Path) -> None:
    assert "No such file" in refused(hwgen, tmp_path, model, calib, tmp_path / "none.json")


def test_all_that_does_not_fit_the_model_is_named(hwgen: Command, tmp_path: Path, model: Path, calib: Path) -> None:
    source = read_float(model)
    placement = place(source)
    group = placement.groups[0]
    file = write(
        tmp_path / "p.json",
        weights={"nowhere": 4, placement.weighted[0].node.name: [4, 8]},
        activations={"nothing": 6, source.input: 6, placement.output: 6, group[0]: 6},
    )
    message = refused(hwgen, tmp_path, model, calib, file)
    assert "nowhere (weights): the model has no" in message and "nothing (activations): the model has no" in message
    assert f"{source.input} (activations)" in message and f"{placement.output} (activations)" in message
    assert "has 2 bit widths" in message
    assert f"share one grid, but have different bits: {group[0]} 6, {group[1]} 8" in message


def test_inputs_are_not_written_over(hwgen: Command, tmp_path: Path, model: Path, calib: Path) -> None:
    """The report of out.onnx is out.json."""
    file = write(tmp_path / "out.json", mean=[0.5] * 3, std=[0.5] * 3)
    for option in ("--precision", "--timm-config"):
        ran = hwgen("quantize", model, "--calib", calib, "-o", tmp_path / "out.onnx", option, file)
        assert ran.code == 2 and "is an input, too" in ran.err
    assert json.loads(file.read_text())["std"] == [0.5] * 3 and not (tmp_path / "out.onnx").exists()


def test_group_that_agrees_is_taken(tmp_path: Path, model: Path) -> None:
    source = read_float(model)
    placement = place(source)
    base = uniform(source, placement, 8, 8)
    file = write(tmp_path / "p.json", activations=dict.fromkeys(placement.groups[0], 6))
    assert {resolve(file, source, placement, base).activations[e] for e in placement.groups[0]} == {6}
    with pytest.raises(UserError, match="share one grid"):
        resolve(write(tmp_path / "p.json", activations={placement.groups[0][1]: 6}), source, placement, base)
