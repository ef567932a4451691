# SPDX-License-Identifier: Apache-2.0
"""``hwgen quantize --eval`` and ``--keep-float-accuracy-within``; labelled images."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from conftest import Ran
from hwgen.errors import UserError
from hwgen.quantize.evaluation import open_labelled
from hwgen.quantize.images import Preprocessing
from labelled import accuracy, classifier, labelled

Command = Callable[..., Ran]
RNG = np.random.default_rng
SAME = Preprocessing((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return classifier(tmp_path / "float.onnx")


@pytest.fixture
def calib(tmp_path: Path) -> Path:
    np.save(tmp_path / "calib.npy", RNG(5).normal(0, 1, (16, 3, 12, 12)).astype(np.float32))
    return tmp_path / "calib.npy"


@pytest.fixture
def data(tmp_path: Path, model: Path) -> Path:
    return labelled(tmp_path / "data.npz", model)


LOW = ("--weights", "4", "--activations", "6")


def test_layers_are_raised_until_the_accuracy_holds(
    hwgen: Command, tmp_path: Path, model: Path, calib: Path, data: Path
) -> None:
    reports = {}
    for name, options in (("low", LOW), ("high", ())):
        ran = hwgen(
            "quantize", model, "--calib", calib, "-o", tmp_path / f"{name}.onnx", "--eval", data, *options, "--json"
        )
        assert ran.code == 0, ran.err
        reports[name] = ran.json["accuracy"]
        assert reports[name]["raised"] == [] and reports[name]["allowed_loss_points"] is None
    low, high = reports["low"]["top1"], reports["high"]["top1"]
    assert low == accuracy(tmp_path / "low.onnx", data) and high == accuracy(tmp_path / "high.onnx", data)
    assert reports["low"]["float_top1"] == 1.0 and high - low > 0.03
    points = 100 * (1 - (low + high) / 2)
    out = tmp_path / "out.onnx"
    limit = ("--eval", data, "--keep-float-accuracy-within", points)
    ran = hwgen("quantize", model, "--calib", calib, "-o", out, *LOW, *limit, "--json")
    assert ran.code == 0, ran.err
    found = ran.json["accuracy"]
    assert found["top1"] == accuracy(out, data) >= 1 - points / 100 - 1e-9
    assert found["top1_before_raising"] == low and found["allowed_loss_points"] == points
    bits = {w["node"]: w["bits"] for w in ran.json["weights"]}
    named = {r["name"] for r in found["raised"] if r["kind"] == "weights"}
    assert found["raised"] and bits == {node: 8 if node in named else 4 for node in bits}
    tensors = {t["tensor"]: t["bits"] for t in ran.json["tensors"]}
    assert any(b == 6 for b in tensors.values()) or any(b == 4 for b in bits.values())
    assert all(tensors[r["name"]] == 8 for r in found["raised"] if r["kind"] == "activations")


def test_nothing_is_raised_where_it_holds(hwgen: Command, tmp_path: Path, model: Path, calib: Path, data: Path) -> None:
    plain = tmp_path / "plain.onnx"
    assert hwgen("quantize", model, "--calib", calib, "-o", plain, *LOW, "-q").code == 0
    out = tmp_path / "out.onnx"
    limit = ("--eval", data, "--keep-float-accuracy-within", "100")
    ran = hwgen("quantize", model, "--calib", calib, "-o", out, *LOW, *limit)
    assert ran.code == 0 and "top-1 on 200 images" in ran.out and "Raised" not in ran.out
    assert out.read_bytes() == plain.read_bytes()


@pytest.mark.parametrize("options", [(), LOW])
def test_accuracy_that_8_bits_do_not_reach(
    hwgen: Command, tmp_path: Path, model: Path, data: Path, options: tuple[str, ...]
) -> None:
    """Calibrated on images that are far too dark: every tensor saturates."""
    np.save(tmp_path / "dark.npy", 0.02 * RNG(5).normal(0, 1, (8, 3, 12, 12)).astype(np.float32))
    out = tmp_path / "result"
    out.mkdir()
    limit = ("--eval", data, "--keep-float-accuracy-within", "0.5")
    ran = hwgen("quantize", model, "--calib", tmp_path / "dark.npy", "-o", out / "out.onnx", *limit, *options)
    assert ran.code == 2 and not list(out.iterdir()), ran.err
    assert "8 bits everywhere" in ran.err and "the float model 100.00 %" in ran.err and "allowed are 0.5" in ran.err


@pytest.mark.parametrize(
    "options",
    [
        ("--keep-float-accuracy-within", "0.5"),
        ("--keep-float-accuracy-within", "-1"),
        ("--keep-float-accuracy-within", "nan", "--eval", "data.npz"),
        ("--eval", "data.npz", "--eval-images", "0"),
        ("--eval", "calib.npy"),
        ("--eval", "nowhere.npz"),
    ],
)
def test_options_that_do_not_fit(
    hwgen: Command,
    tmp_path: Path,
    model: Path,
    calib: Path,
    data: Path,
    options: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = hwgen("quantize", model, "--calib", calib, "-o", tmp_path / "out.onnx", *options)
    assert ran.code == 2 and not (tmp_path / "out.onnx").exists() and "Traceback" not in ran.err


# --- labelled images


def test_folder_of_classes(tmp_path: Path) -> None:
    for name, count, value in (("b", 2, 200), ("a", 1, 100), ("c", 3, 50)):
        (tmp_path / "p" / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (8, 8), (value, i, 0)).save(tmp_path / "p" / name / f"{i}.png")
    data = open_labelled(tmp_path / "p", (3, 8, 8), SAME)
    assert data.labels.tolist() == [0, 1, 1, 2, 2, 2]
    assert [round(float(x[0, 0, 0] * 255)) for x in data.images] == [100, 200, 200, 50, 50, 50]
    some = data.spread(3)
    assert some.labels.tolist() == [0, 1, 2] and [round(float(x[0, 0, 0] * 255)) for x in some.images] == [100, 200, 50]


def test_labels_that_are_none(tmp_path: Path) -> None:
    x = np.zeros((4, 3, 8, 8), np.float32)
    wrong = {
        "none": {"images": x},
        "short": {"images": x, "label": np.arange(3)},
        "real": {"images": x, "label": np.zeros(4)},
    }
    for name, arrays in wrong.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
        with pytest.raises(UserError, match="label"):
            open_labelled(tmp_path / f"{name}.npz", (3, 8, 8), Preprocessing())
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="subfolder"):
        open_labelled(tmp_path / "empty", (3, 8, 8), SAME)
    np.savez(tmp_path / "many.npz", images=x, label=np.array([0, 1, 2, 10]))
    data = open_labelled(tmp_path / "many.npz", (3, 8, 8), Preprocessing())
    data.check(11)
    with pytest.raises(UserError, match="classes 0 to 10"):
        data.check(10)


# --- preprocessing of timm


def config(path: Path, **fields: object) -> Path:
    known = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "input_size": [3, 12, 12]}
    path.write_text(json.dumps({"architecture": "efficientvit_b0", "pretrained_cfg": {**known, **fields}}))
    return path


def test_timm_config_is_the_same_as_its_options(hwgen: Command, tmp_path: Path, model: Path) -> None:
    (tmp_path / "images").mkdir()
    for i in range(6):
        pixels = RNG(i).integers(0, 256, (20, 24, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i}.png")
    made = {}
    cases = {
        "options": ("--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25", "--resize", "15"),
        "config": ("--timm-config", config(tmp_path / "a.json", crop_pct=0.8, interpolation="bilinear")),
        "bicubic": ("--timm-config", config(tmp_path / "b.json", crop_pct=0.8, interpolation="bicubic")),
        "uncropped": ("--timm-config", config(tmp_path / "c.json")),
        "explicit": (
            *("--timm-config", config(tmp_path / "d.json", mean=[9, 9, 9], std=[2, 2, 2], crop_pct=0.5)),
            *("--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25", "--resize", "15"),
        ),
    }
    for name, options in cases.items():
        out = tmp_path / f"{name}.onnx"
        ran = hwgen("quantize", model, "--calib", tmp_path / "images", "-o", out, "-q", *options)
        assert ran.code == 0, ran.err
        made[name] = out.read_bytes()
    assert made["config"] == made["options"] == made["explicit"]
    assert len({made["config"], made["bicubic"], made["uncropped"]}) == 3


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"mean": None}, "mean (pretrained_cfg): is missing"),
        ({"mean": ["x", 1, 1], "crop_pct": 1.5}, "crop_pct"),
        ({"interpolation": "random"}, "interpolation"),
        ({"crop_mode": "squash"}, "crop_mode"),
        ({"input_size": [3, 224, 224]}, "images of (3, 224, 224), the model takes (3, 12, 12)"),
        ({"mean": [0.5]}, "--mean has 1 values"),
        ({"std": [0.0, 1, 1]}, "--std"),
    ],
)
def test_timm_configs_that_are_wrong(
    hwgen: Command, tmp_path: Path, model: Path, calib: Path, fields: dict[str, object], said: str
) -> None:
    file = config(tmp_path / "c.json", **fields)
    ran = hwgen("quantize", model, "--calib", calib, "-o", tmp_path / "out.onnx", "--timm-config", file)
    assert ran.code == 2 and said in ran.err, ran.err
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize("text", ["no json", "[]", '{"pretrained_cfg": 3}', "{}", None])
def test_files_that_are_no_timm_config(
    hwgen: Command, tmp_path: Path, model: Path, calib: Path, text: str | None
) -> None:
    file = tmp_path / "c.json"
    if text is not None:
        file.write_text(text)
    ran = hwgen("quantize", model, "--calib", calib, "-o", tmp_path / "out.onnx", "--timm-config", file)
    assert ran.code == 2 and "c.json" in ran.err and "Traceback" not in ran.err


@pytest.mark.parametrize("spoils", [False, True], ids=["as good", "worse"])
def test_reconstruction_comes_last_and_only_if_it_holds(
    hwgen: Command,
    tmp_path: Path,
    model: Path,
    calib: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoils: bool,
) -> None:
    seen: list[list[int]] = []

    def learn(source: Any, placement: Any, sites: Any, grids: Any, layers: Any, *rest: Any) -> Any:
        seen.append([layer.bits for layer in layers.values()])
        if spoils:
            layers = {
                n: replace(v, quantized=replace(v.quantized, codes=v.quantized.codes * 0)) for n, v in layers.items()
            }
        return dict(grids), dict(layers), []

    found = {}
    for name, bits in (("low", LOW), ("high", ())):
        assert hwgen("quantize", model, "--calib", calib, "-o", tmp_path / f"{name}.onnx", *bits, "-q").code == 0
        found[name] = accuracy(tmp_path / f"{name}.onnx", data)
    points = 100 * (1 - (found["low"] + found["high"]) / 2)
    monkeypatch.setattr("hwgen.quantize._reconstruct", lambda: learn)
    out = tmp_path / "out.onnx"
    options = (*LOW, "--method", "reconstruct", "--eval", data, "--keep-float-accuracy-within", points, "--json")
    ran = hwgen("quantize", model, "--calib", calib, "-o", out, *options)
    assert ran.code == 0, ran.err
    assert len(seen) == 2 and set(seen[0]) == {4} and set(seen[1]) == {4, 8}
    assert ran.json["accuracy"]["top1"] == accuracy(out, data) >= 1 - points / 100 - 1e-9
    properties = {p.key: p.value for p in onnx.load(out).metadata_props}
    assert properties["hwgen.method"] == ("mse" if spoils else "reconstruct")
