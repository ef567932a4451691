# SPDX-License-Identifier: Apache-2.0
"""``hwgen build``: contents, determinism, atomicity, hwgen.toml, and a clear message for every wrong input."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from conftest import ROOT, Ran
from hwgen import artifact, pipeline
from hwgen.errors import UserError
from hwgen.resources import folder
from qdq_models import Model, save, small_vit

Hwgen = Callable[..., Ran]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder``."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def refused(ran: Ran, *words: str) -> None:
    """One clear message on standard error, exit code 2, no traceback."""
    assert ran.code == 2, ran
    assert ran.out == ""
    assert "Traceback" not in ran.err and "bug" not in ran.err
    for word in words:
        assert word in ran.err, ran.err


def test_contract(hwgen: Hwgen, tiny_model: Path, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "build"
    ran = hwgen("build", tiny_model, "--board", "zcu102", "-o", target, "--batch", 2, "--clock", 150, "--json")
    assert ran.code == 0, ran.err
    report = ran.json
    assert report == json.loads((target / "report.json").read_text())
    assert {"dsp", "bram36", "lut", "ff"} <= set(report["resources"])
    for name, use in report["resources"].items():
        assert 0 < use["used"] <= use["available"] and use["limit"] <= use["available"] and use["source"] == "estimated"
        assert (use["rtl"] is None) == (name == "ff") and (use["rtl"] or 0) <= use["limit"]
    assert [n for n, use in report["resources"].items() if use["at_least"]] == ["lut", "ff"]
    performance = report["performance"]
    assert performance["clock_mhz"] == 150 and performance["batch"] == 2 and performance["source"] == "estimated"
    assert {"latency_cycles", "interval_cycles", "frames_per_second"} <= set(performance)
    assert report["tiles"] and report["kernels"]["linear_attention"] == 1
    manifest = json.loads((target / "manifest.json").read_text())
    sources = {node for kernel in manifest["kernels"] for node in kernel["nodes"]}
    nodes = [n.name for n in onnx.load(str(tiny_model)).graph.node]
    assert sources == set(nodes[:-1]), "every node but the output's DequantizeLinear belongs to a kernel"
    assert manifest["format"] == "hwgen build" and manifest["board"]["name"] == "zcu102"
    assert {p.name for p in target.iterdir()} == set(artifact.CONTENT) - {"sim-cache"}
    assert [p.name for p in target.parent.iterdir()] == ["build"]
    assert oct(target.stat().st_mode & 0o777) == oct(0o777 & ~current_umask())


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_same_input_same_bytes(hwgen: Hwgen, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "a" / "x", tmp_path / "second"
    assert hwgen("build", tiny_model, "--board", "zcu102", "-o", first).code == 0
    (tmp_path / "elsewhere").mkdir()
    copy = shutil.copy(tiny_model, tmp_path / "elsewhere" / tiny_model.name)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert hwgen("build", Path(copy).name, "--board", "zcu102", "-o", second, "-q").code == 0
    assert contents(first) == contents(second)
    assert not any(str(tmp_path).encode() in data for data in contents(first).values())


def test_external_data_is_embedded(hwgen: Hwgen, tiny_model: Path, tmp_path: Path) -> None:
    model = onnx.load(str(tiny_model))
    path = tmp_path / "tiny.onnx"
    onnx.save_model(model, str(path), save_as_external_data=True, location="weights.data", size_threshold=64)
    assert hwgen("build", path, "--board", "zcu102", "-o", tmp_path / "b").code == 0
    (tmp_path / "weights.data").unlink()
    assert hwgen("sim", tmp_path / "b").code == 0


# --------------------------------------------------------------------------------------------------------------------
# The output folder


def test_replaces_an_earlier_build(hwgen: Hwgen, tiny_model: Path, tiny_build: Path) -> None:
    (tiny_build / "sim-cache").mkdir()
    (tiny_build / "program.bin").write_bytes(b"stale")
    assert hwgen("build", tiny_model, "--board", "zcu102", "-o", tiny_build).code == 0
    assert len((tiny_build / "program.bin").read_bytes()) > 128
    assert not (tiny_build / "sim-cache").exists()
    assert [p.name for p in tiny_build.parent.iterdir()] == [tiny_build.name]


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
def test_failure_leaves_no_trace(
    hwgen: Hwgen, tiny_model: Path, tiny_build: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    before = contents(tiny_build)

    def fail(program: object, directory: Path, **options: object) -> None:
        (directory / "hls").mkdir()
        (directory / "hls" / "half").write_text("half")
        raise error

    monkeypatch.setattr(pipeline.hls, "emit", fail)
    expected = {RuntimeError: 70, KeyboardInterrupt: 130, OSError: 2}[type(error)]
    for target in (tiny_build, tiny_build.parent / "new" / "nested"):
        ran = hwgen("build", tiny_model, "--board", "zcu102", "-o", target)
        assert ran.code == expected, ran.err
        assert "Traceback" not in ran.err
    assert contents(tiny_build) == before
    assert [p.name for p in tiny_build.parent.iterdir()] == [tiny_build.name]


def test_earlier_build_comes_back_if_the_rename_fails(tiny_build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(tiny_build)
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if target == tiny_build and self.name.count(".old") == 0:
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(UserError, match="Input/output error"), artifact.replacing(tiny_build) as folder:
        (folder / "manifest.json").write_text("{}")
    assert contents(tiny_build) == before
    assert [p.name for p in tiny_build.parent.iterdir()] == [tiny_build.name]


def test_folder_with_other_things(hwgen: Hwgen, tiny_model: Path, tiny_build: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work")
    (mine / "manifest.json").write_text('{"format": "another tool"}')
    (tiny_build / "notes.txt").write_text("mine too")
    (tmp_path / "file").write_text("not a folder")
    before = contents(tmp_path)
    for target, word in ((mine, "thesis.tex"), (tiny_build, "notes.txt"), (tmp_path / "file", "is a file")):
        refused(hwgen("build", tiny_model, "--board", "zcu102", "-o", target), word, "-o")
    refused(hwgen("build", tiny_model, "--board", "zcu102", "-o", tmp_path / "file" / "below"), "file is not a folder")
    assert contents(tmp_path) == before


def test_empty_folder_is_taken(hwgen: Hwgen, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert hwgen("build", tiny_model, "--board", "zcu102", "-o", tmp_path / "empty").code == 0


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A folder that this process, made an ordinary user if it is root, may read but not write."""
    base = Path(tempfile.mkdtemp())
    folder = base / "locked"
    folder.mkdir()
    base.chmod(0o755)
    folder.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)
        shutil.rmtree(base)


def test_read_only_folder(read_only: Path) -> None:
    with pytest.raises(UserError, match="read-only"):
        artifact.check_target(read_only / "deep" / "build")
    with pytest.raises(UserError, match="Permission denied"):
        artifact._make_temporary(read_only / "build")
    assert list(read_only.iterdir()) == []


# --------------------------------------------------------------------------------------------------------------------
# Options and hwgen.toml


def test_options_from_hwgen_toml(
    hwgen: Hwgen, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [f'model = "{tiny_model}"', 'board = "zcu102"', 'output = "out"', "clock = 100", "batch = 3"]
    lines += ["mean = [0.5, 0.5, 0.5]", "std = [0.2, 0.2, 0.2]"]
    (tmp_path / "hwgen.toml").write_text("\n".join(lines))
    assert hwgen("build", "--clock", 120).code == 0
    options = json.loads((tmp_path / "out" / "manifest.json").read_text())["options"]
    assert options == {"batch": 3, "clock_mhz": 120, "mean": [0.5] * 3, "std": [0.2] * 3, "target_fps": None}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("bord = 'zcu102'", ["bord", "not a known field"]),
        ("batch = 0\nclock = 'fast'", ["batch", "clock"]),
        ("mean = [0.5]", ["mean and std belong together"]),
        ("mean = [0.5]\nstd = [0.0]", ["std.0"]),
        ("mean = [0.5]\nstd = [0.1, 0.1]", ["mean has 1 values, std has 2"]),
        ("board = [", ["not valid TOML"]),
    ],
)
def test_wrong_hwgen_toml(
    hwgen: Hwgen, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hwgen.toml").write_text(content)
    refused(hwgen("build", tiny_model, "--board", "zcu102", "-o", "out"), "hwgen.toml", *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("board", ["kv260", "pynq-z2"])
def test_boards_that_are_too_small_say_so(board: str, hwgen: Hwgen, tiny_model: Path, tmp_path: Path) -> None:
    """As boards/<name>/README.md reports it."""
    ran = hwgen("build", tiny_model, "--board", board, "-o", tmp_path / "b")
    refused(ran, "does not fit the board", "the smallest machine needs", "LUT", "BRAM36")
    assert ("DSP48E1" in ran.err) == (board == "pynq-z2")
    assert not (tmp_path / "b").exists()


def test_a_part_without_dsp48e2_is_refused(hwgen: Hwgen, tiny_model: Path, tmp_path: Path) -> None:
    text = (folder("boards") / "zcu102" / "board.toml").read_text(encoding="utf-8")
    (tmp_path / "board.toml").write_text(text.replace('dsp = "DSP48E2"', 'dsp = "DSP48E1"'), encoding="utf-8")
    ran = hwgen("build", tiny_model, "--board", tmp_path, "-o", tmp_path / "b")
    refused(ran, "No machine can be built for this board", "DSP48E1 multipliers", "Use a board with")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--board", "zcu201"], ["zcu201", "Use one of: kv260, pynq-z2, zcu102"]),
        ([], ["board is not given", "hwgen boards"]),
        (["--board", "zcu102", "--mean", "a,b"], ["--mean", "0.485,0.456,0.406"]),
        (["--board", "zcu102", "--mean", "0.5"], ["belong together"]),
        (["--board", "zcu102", "--mean", "0.5", "--std", "0.5"], ["mean", "3"]),
        (["--board", "zcu102", "--mean", "nan,0,0", "--std", "1,1,1"], ["mean.0"]),
        (["--board", "zcu102", "--std=1,0,1", "--mean", "0,0,0"], ["std.1"]),
        (["--board", "zcu102", "--batch", "0"], ["batch"]),
        (["--board", "zcu102", "--clock", "-5"], ["clock"]),
        (["--board", "zcu102", "--target-fps", "0"], ["target_fps"]),
        (["--board", "zcu102", "--target-fps", "1e9"], ["does not reach the target", "Give a lower --target-fps"]),
        (["--board", "zcu102", "--frobnicate"], ["--frobnicate"]),
    ],
)
def test_wrong_options(hwgen: Hwgen, tiny_model: Path, tmp_path: Path, options: list[str], words: list[str]) -> None:
    refused(hwgen("build", tiny_model, "-o", tmp_path / "out", *options), *words)
    assert list(tmp_path.iterdir()) == []


# --------------------------------------------------------------------------------------------------------------------
# Models


def write_opset_9(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 9


def write_unknown_op(model: onnx.ModelProto) -> None:
    node = next(n for n in model.graph.node if n.op_type == "GlobalAveragePool")
    node.op_type = "GlobalLpPool"


def write_dynamic_height(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"


def write_bad_scale(value: float) -> Callable[[onnx.ModelProto], None]:
    def write(model: onnx.ModelProto) -> None:
        node = next(n for n in model.graph.node if n.op_type == "QuantizeLinear")
        scale = next(i for i in model.graph.initializer if i.name == node.input[1])
        scale.CopyFrom(numpy_helper.from_array(np.float32(value), scale.name))

    return write


def write_weight_zero_point(model: onnx.ModelProto) -> None:
    conv = next(n for n in model.graph.node if n.op_type == "Conv")
    weight = next(n for n in model.graph.node if n.output[0] == conv.input[1])
    zero = next(i for i in model.graph.initializer if i.name == weight.input[2])
    zero.CopyFrom(numpy_helper.from_array(np.full_like(numpy_helper.to_array(zero), 3), zero.name))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (write_opset_9, ["opset", "9"]),
        (write_unknown_op, ["GlobalLpPool"]),
        (write_dynamic_height, ["height"]),
        (write_bad_scale(0.0), ["scale"]),
        (write_bad_scale(float("nan")), ["scale"]),
        (write_weight_zero_point, ["zero point"]),
    ],
)
@pytest.mark.parametrize("command", ["build", "inspect"])
def test_wrong_models(
    hwgen: Hwgen, tmp_path: Path, change: Callable[[onnx.ModelProto], None], words: list[str], command: str
) -> None:
    model = small_vit(1)
    change(model)
    path = save(model, tmp_path / "wrong.onnx")
    options = ["--board", "zcu102", "-o", tmp_path / "out"] if command == "build" else ["-q"]
    ran = hwgen(command, path, *options)
    assert ran.code == 2 and "Traceback" not in ran.err
    if command == "build":
        refused(ran, *words)
    assert [p.name for p in tmp_path.iterdir()] == ["wrong.onnx"]


@pytest.mark.parametrize("damage", ["truncated", "text", "empty", "absent", "folder"])
@pytest.mark.parametrize("command", ["build", "inspect"])
def test_files_that_are_no_models(hwgen: Hwgen, tiny_model: Path, tmp_path: Path, damage: str, command: str) -> None:
    path = tmp_path / "model.onnx"
    if damage == "truncated":
        path.write_bytes(tiny_model.read_bytes()[:3000])
    elif damage == "text":
        path.write_text("this is not a protobuf")
    elif damage == "empty":
        path.touch()
    elif damage == "folder":
        path.mkdir()
    options = ["--board", "zcu102", "-o", tmp_path / "out"] if command == "build" else []
    refused(hwgen(command, path, *options), "model.onnx")
    assert not (tmp_path / "out").exists()


def test_layer_that_does_not_fit(hwgen: Hwgen, tmp_path: Path) -> None:
    m = Model(np.random.default_rng(0))
    x = m.quantize("image", 0.02, 3)
    x = m.quantize(m.conv(x, 3, 4000, 3, 2))
    x = m.quantize(m.node("Flatten", m.quantize(m.node("GlobalAveragePool", x)), axis=1))
    path = save(m.finish(x, (1, 3, 224, 224)), tmp_path / "wide.onnx")
    ran = hwgen("build", path, "--board", "zcu102", "-o", tmp_path / "out")
    refused(ran, "Conv")
    assert not (tmp_path / "out").exists()


def test_float_model_and_coverage(hwgen: Hwgen, tmp_path: Path, tiny_model: Path) -> None:
    ran = hwgen("inspect", tiny_model, "--json")
    assert ran.code == 0
    report = ran.json
    assert set(report) == {"nodes", "mapped", "unsupported", "kernels", "macs", "parameters"}
    assert report["nodes"] == report["mapped"] == len(onnx.load(str(tiny_model)).graph.node)
    assert set(report["kernels"]) == {"conv", "linear_attention", "mlp"} and report["unsupported"] == []
    model = small_vit(2)
    write_unknown_op(model)
    ran = hwgen("inspect", save(model, tmp_path / "unknown.onnx"), "--json")
    assert ran.code == 2 and ran.json["mapped"] < ran.json["nodes"]
    problem = ran.json["unsupported"][0]
    assert problem["op"] == "GlobalLpPool" and problem["reason"] and problem["hint"] and problem["name"]
    table = hwgen("inspect", tmp_path / "unknown.onnx")
    assert table.code == 2 and "GlobalLpPool" in table.out
    assert "Conv" in hwgen("inspect", tiny_model, "-v").out


def test_example_is_mapped(hwgen: Hwgen) -> None:
    for path in sorted((ROOT / "examples" / "fashion").glob("*.onnx")):
        ran = hwgen("inspect", path, "--json")
        assert ran.code == 0 and ran.json["kernels"]["linear_attention"] > 0


def test_synthesis_without_vitis_is_a_message(
    hwgen: Hwgen, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ran = hwgen("build", tiny_model, "--board", "zcu102", "-o", tmp_path / "b", "--synth", "--json")
    assert ran.code == 0
    assert ran.json["synthesis"]["ran"] is False and "Vitis" in ran.json["synthesis"]["message"]
    assert json.loads((tmp_path / "b" / "report.json").read_text()) == ran.json
    assert not (tmp_path / "b" / "report.json.new").exists()
    text = hwgen("build", tiny_model, "--board", "zcu102", "-o", tmp_path / "b", "--synth", "-v")
    assert "synthesis:" in text.out and "Plan" in text.out


def test_json_keeps_standard_output_clean(hwgen: Hwgen, tiny_model: Path, tmp_path: Path) -> None:
    for arguments in (
        ["build", tiny_model, "--board", "none", "-o", tmp_path / "o"],
        ["sim", tmp_path],
        ["inspect", tmp_path],
    ):
        refused(hwgen(*arguments, "--json"), "hwgen:")
