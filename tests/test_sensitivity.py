# SPDX-License-Identifier: Apache-2.0
"""``hwgen sensitivity``: what it measures is what ``hwgen quantize`` makes; the choice keeps its target; errors."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from rich.progress import Progress, TimeRemainingColumn

from conftest import Ran
from hwgen import cli
from hwgen.quantize import sensitivity as module
from hwgen.quantize.float_model import read_float
from hwgen.quantize.placement import place
from hwgen.quantize.precision import Part, parts_of
from hwgen.quantize.search import MISSES, Impact, by_sensitivity, for_size, lower, raised
from labelled import accuracy, classifier, labelled

Command = Callable[..., Ran]
RNG = np.random.default_rng


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return classifier(tmp_path / "float.onnx")


@pytest.fixture
def calib(tmp_path: Path) -> Path:
    np.save(tmp_path / "calib.npy", RNG(5).normal(0, 1, (16, 3, 12, 12)).astype(np.float32))
    return tmp_path / "calib.npy"


@pytest.fixture
def data(tmp_path: Path, model: Path) -> Path:
    return labelled(tmp_path / "data.npz", model, 100)


def measured(hwgen: Command, model: Path, calib: Path, data: Path, *options: object) -> dict[str, Any]:
    ran = hwgen("sensitivity", model, "--calib", calib, "--eval", data, "--json", *options)
    assert ran.code == 0, ran.err
    return ran.json


def test_figures_are_those_of_the_quantized_models(
    hwgen: Command, tmp_path: Path, model: Path, calib: Path, data: Path
) -> None:
    both = ("--weights", "4", "--activations", "6")
    report = measured(hwgen, model, calib, data, *both, "-o", tmp_path / "s.json")
    assert report == json.loads((tmp_path / "s.json").read_text()) and report["choice"] is None
    source = read_float(model)
    parts = parts_of(source, place(source))
    assert {(i["kind"], i["name"]) for i in report["layers"]} == {(p.kind, p.name) for p in parts}
    noise = [i["added_noise"] for i in report["layers"]]
    assert noise == sorted(noise, reverse=True) and noise[0] > 0
    weights = [i for i in report["layers"] if i["kind"] == "weights"]
    tensors = [i for i in report["layers"] if i["kind"] == "activations"]
    assert sum(i["bits_saved"] for i in weights) == 4 * sum(
        source.constants[w.weight].size for w in place(source).weighted
    )
    for entry in (weights[0], weights[-1], tensors[0], tensors[-1]):
        file = tmp_path / "p.json"
        file.write_text(json.dumps({entry["kind"]: dict.fromkeys(entry["members"], entry["bits"])}))
        out = tmp_path / "out.onnx"
        ran = hwgen("quantize", model, "--calib", calib, "-o", out, "--precision", file, "--json")
        assert ran.code == 0, ran.err
        assert entry["top1"] == accuracy(out, data)
        assert entry["sqnr_db"] == pytest.approx(ran.json["output"]["sqnr_db"], abs=1e-6)
    for key, options in (("all_8", ()), ("all_lower", both)):
        ran = hwgen("quantize", model, "--calib", calib, "-o", out, *options, "-q")
        assert ran.code == 0
        assert report[key]["top1"] == pytest.approx(
            accuracy(out, data), abs=0.03
        )  # ranges are made equal at other bits
    assert report["all_8"]["size"] == 1.0 and report["all_lower"]["size"] == 0.5
    assert report["all_8"]["sqnr_db"] > report["all_lower"]["sqnr_db"]


def test_choice_keeps_the_accuracy_and_quantize_repeats_it(
    hwgen: Command, tmp_path: Path, model: Path, calib: Path, data: Path
) -> None:
    lowest = measured(hwgen, model, calib, data, "--weights", "4", "--activations", "6")
    points = (lowest["all_8"]["loss_points"] + lowest["all_lower"]["loss_points"]) / 2
    assert lowest["all_8"]["loss_points"] + 1 < points
    file = tmp_path / "p.json"
    options = ("--weights", "4", "--activations", "6", "--target-accuracy-loss", points, "--precision-out", file)
    choice = measured(hwgen, model, calib, data, *options)["choice"]
    assert choice["loss_points"] <= points and 0 < len(choice["lowered"]) < len(lowest["layers"])
    out = tmp_path / "out.onnx"
    ran = hwgen("quantize", model, "--calib", calib, "-o", out, "--precision", file, "--eval", data, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["accuracy"]["top1"] == choice["top1"] == accuracy(out, data)
    assert ran.json["bits"] == choice["bits"]
    named = {i["name"] for i in choice["lowered"] if i["kind"] == "weights"}
    assert {w["node"] for w in ran.json["weights"] if w["bits"] == 4} == named


def test_choice_of_a_size(hwgen: Command, tmp_path: Path, model: Path, calib: Path, data: Path) -> None:
    file = tmp_path / "p.json"
    choice = measured(hwgen, model, calib, data, "--target-size", "0.7", "--precision-out", file)["choice"]
    content = json.loads(file.read_text())
    source = read_float(model)
    sizes = {w.node.name: source.constants[w.weight].size for w in place(source).weighted}
    share = sum(content["weights"][n] * size for n, size in sizes.items()) / sum(8 * s for s in sizes.values())
    assert share == pytest.approx(choice["size"]) and 0.5 < share <= 0.7
    # nothing is lowered that need not be
    least = min(4 * sizes[i["name"]] for i in choice["lowered"]) / sum(8 * s for s in sizes.values())
    assert share + least > 0.7
    assert set(content["activations"].values()) == {8}


def test_what_a_person_reads(hwgen: Command, model: Path, calib: Path, data: Path) -> None:
    ran = hwgen("sensitivity", model, "--calib", calib, "--eval", data, "--target-size", "0.6", "-v")
    assert ran.code == 0, ran.err
    source = read_float(model)
    assert all(w.node.name in ran.out for w in place(source).weighted)
    assert "chosen" in ran.out and "combinations measured" in ran.out


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_plot(hwgen: Command, tmp_path: Path, model: Path, calib: Path, data: Path, ending: str) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / f"plot.{ending}"
    report = measured(hwgen, model, calib, data, "--plot", path)
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG" if ending == "png" else b"<?xml")
    if ending == "svg":
        text = content.decode()
        assert all(f"<!-- {i['name']} -->" in text for i in report["layers"])
        again = measured(hwgen, model, calib, data, "--plot", path)
        assert again == report and path.read_bytes() == content


# --- what is the user's to mend


def test_plot_without_matplotlib(
    hwgen: Command, tmp_path: Path, model: Path, calib: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    ran = hwgen("sensitivity", model, "--calib", calib, "--eval", data, "--plot", tmp_path / "plot.svg")
    assert ran.code == 2 and "pip install 'hwgen[plot]'" in ran.err and not (tmp_path / "plot.svg").exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--weights", "8"),
        ("--activations", "4"),
        ("--method", "magic"),
        ("--images", "0"),
        ("--eval-images", "0"),
        ("--target-size", "0.3"),
        ("--target-size", "1"),
        ("--target-size", "nan"),
        ("--target-size", "0.8", "--activations", "6"),
        ("--target-accuracy-loss", "-1"),
        ("--target-accuracy-loss", "1", "--target-size", "0.8"),
        ("--precision-out", "p.json"),
        ("--plot", "plot.txt"),
        ("-o", "no/folder/s.json"),
        ("-o", "same.json", "--precision-out", "same.json", "--target-size", "0.8"),
        ("-o", "float.onnx"),
    ],
)
def test_wrong_options(
    hwgen: Command,
    tmp_path: Path,
    model: Path,
    calib: Path,
    data: Path,
    options: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    ran = hwgen("sensitivity", model, "--calib", calib, "--eval", data, *options)
    assert ran.code == 2 and "Traceback" not in ran.err and ran.err.count("hwgen:") == 1
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_accuracy_that_8_bits_do_not_reach(hwgen: Command, tmp_path: Path, model: Path, data: Path) -> None:
    np.save(tmp_path / "dark.npy", 0.02 * RNG(5).normal(0, 1, (8, 3, 12, 12)).astype(np.float32))
    files = ("-o", tmp_path / "s.json", "--target-accuracy-loss", "0.5", "--precision-out", tmp_path / "p.json")
    ran = hwgen("sensitivity", model, "--calib", tmp_path / "dark.npy", "--eval", data, *files)
    assert ran.code == 2 and "8 bits everywhere" in ran.err and "allowed are 0.5" in ran.err
    assert not (tmp_path / "s.json").exists() and not (tmp_path / "p.json").exists()


def test_interrupted(
    hwgen: Command, tmp_path: Path, model: Path, calib: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the second file is written: neither is there, an earlier one is as it was."""
    folder = tmp_path / "result"
    folder.mkdir()
    (folder / "s.json").write_text("earlier")
    write = module.write_json

    def stop(path: Path, value: Any) -> None:
        if path.name == "p.json":
            assert list(folder.glob(".hwgen-*/s.json"))
            raise KeyboardInterrupt
        write(path, value)

    monkeypatch.setattr(module, "write_json", stop)
    files = ("-o", folder / "s.json", "--target-size", "0.8", "--precision-out", folder / "p.json")
    assert hwgen("sensitivity", model, "--calib", calib, "--eval", data, *files).code == 130
    assert [p.name for p in folder.iterdir()] == ["s.json"] and (folder / "s.json").read_text() == "earlier"


# --- the search


def parts(count: int) -> list[Part]:
    return [Part("weights", str(i), (str(i),), 10 * (i + 1)) for i in range(count)]


def test_order_is_by_noise_for_each_bit_saved() -> None:
    a, b, c, d = parts(4)
    impacts = [Impact(a, 1.0, 10), Impact(b, 1.0, 100), Impact(c, 0.0, 5), Impact(d, 0.0, 50)]
    assert by_sensitivity(impacts) == [d, c, b, a]


@pytest.mark.parametrize("limit", [0, 1, 7, 30, 99, 1000])
def test_lowering_stops_where_the_target_breaks(limit: int) -> None:
    every = parts(12)
    asked: list[int] = []

    def holds(chosen: list[Part]) -> bool:
        asked.append(len(chosen))
        return sum(int(p.name) + 1 for p in chosen) <= limit

    chosen = lower(every, holds, lambda done: None)
    assert sum(int(p.name) + 1 for p in chosen) <= limit
    left = [p for p in every if p not in chosen]
    assert all(sum(int(q.name) + 1 for q in [*chosen, p]) > limit for p in left[:MISSES])
    assert len(asked) <= len(every) + 8 and (limit < 1000 or asked == [12])


def test_a_part_that_breaks_the_target_does_not_end_the_search() -> None:
    every = parts(8)
    assert lower(every, lambda chosen: every[2] not in chosen, lambda done: None) == [p for p in every if p != every[2]]
    assert lower(every, lambda chosen: not set(every[:MISSES]) & set(chosen), lambda done: None) == []


@pytest.mark.parametrize("needed", [1, 2, 5, 8])
def test_raising_takes_the_fewest(needed: int) -> None:
    every = parts(8)
    assert raised(every, lambda chosen: len(chosen) >= needed, lambda done: None) == every[:needed]


def test_size_is_reached_without_more_than_needed() -> None:
    a, b, c, d = parts(4)
    saved = {a: 10, b: 5, c: 100, d: 1}
    assert for_size([a, b, c, d], saved, 12) == [a, b]
    assert for_size([a, b, c, d], saved, 100) == [c]
    assert for_size([a, b, c, d], saved, 106) == [a, c]


# --- progress


def test_progress_shows_the_time_left_of_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(cli, "errors", lambda: Console(file=shown, force_terminal=True, width=100))
    now = [100.0]
    bars: list[Any] = []

    def with_clock(*columns: Any, **options: Any) -> Progress:
        bars.append(Progress(*columns, **options, get_time=lambda: now[0], auto_refresh=False))
        return bars[-1]

    monkeypatch.setattr(cli, "Progress", with_clock)
    with cli.showing_progress(True) as progress:
        for what, seconds in (("slow", 10.0), ("fast", 1.0)):
            for done in range(5):
                progress(what, done, 100)
                now[0] += seconds
            (task,) = bars[0].tasks
            assert task.description == what and task.time_remaining == pytest.approx((100 - 4) * seconds, rel=0.3)
        assert task.elapsed == pytest.approx(55)
        assert any(isinstance(c, TimeRemainingColumn) for c in bars[0].columns)
