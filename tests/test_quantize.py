# SPDX-License-Identifier: Apache-2.0
"""``hwgen quantize``: what it writes maps whole, runs in ONNX Runtime, keeps its promises of codes; errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from conftest import Ran
from float_models import float_vit, one_conv
from hwgen import frontend, passes, pipeline
from hwgen import numerics as nx
from hwgen.backends.reference import direct
from hwgen.ir import Eltwise
from hwgen.quantize.float_model import read_float
from hwgen.quantize.placement import place
from qdq_models import save, small_vit

Command = Callable[..., Ran]
RNG = np.random.default_rng


def images(path: Path, count: int = 12, shape: tuple[int, ...] = (3, 12, 12)) -> Path:
    np.save(path, RNG(5).normal(0, 1, (count, *shape)).astype(np.float32))
    return path


def run(model: Path, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: image[None]})[0] for image in x])


@pytest.fixture
def calib(tmp_path: Path) -> Path:
    return images(tmp_path / "calib.npy")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(float_vit(), tmp_path / "float.onnx")


def constants(path: Path) -> dict[str, np.ndarray]:
    return {i.name: numpy_helper.to_array(i) for i in onnx.load(path).graph.initializer}


@pytest.mark.parametrize(
    "options",
    [{}, {"form": "act"}, {"variant": 1}, {"variant": 4}, {"seed": 1, "variant": 3}, {"side": 9}],
    ids=str,
)
def test_every_node_is_mapped_and_the_output_follows_the_float_model(
    hwgen: Command, tmp_path: Path, calib: Path, options: dict[str, Any]
) -> None:
    side = options.get("side", 12)
    source = save(float_vit(**{"seed": 0, **options}), tmp_path / "float.onnx")
    data = images(tmp_path / "data.npy", shape=(3, side, side))
    ran = hwgen("quantize", source, "--calib", data, "-o", tmp_path / "out.onnx", "--json")
    assert ran.code == 0, ran.err
    report = ran.json
    assert report == json.loads((tmp_path / "out.json").read_text())
    assert report["coverage"]["mapped"] == report["coverage"]["nodes"] > 0
    assert hwgen("inspect", tmp_path / "out.onnx", "-q").code == 0
    x = np.load(data)
    exact, ours = run(source, x), run(tmp_path / "out.onnx", x)
    noise = 10 * np.log10((exact**2).sum() / ((exact - ours) ** 2).sum())
    assert noise > 15 and abs(noise - report["output"]["sqnr_db"]) < 1


def test_built_and_executed_exactly(hwgen: Command, tmp_path: Path, model: Path, calib: Path) -> None:
    for bits in (("8", "8"), ("4", "6")):
        out = tmp_path / f"out{bits[0]}.onnx"
        options = ("--weights", bits[0], "--activations", bits[1], "-q")
        assert hwgen("quantize", model, "--calib", calib, "-o", out, *options).code == 0
        folder = tmp_path / f"build{bits[0]}"
        built = hwgen("build", out, "--board", "zcu102", "-o", folder, "-q")
        assert built.code == 0, built.err
        assert hwgen("sim", folder, "--json").json["exact"]


@pytest.mark.parametrize("method", ["minmax", "percentile", "mse"])
def test_ranges_include_zero_and_weights_are_symmetric(
    hwgen: Command, tmp_path: Path, model: Path, calib: Path, method: str
) -> None:
    out = tmp_path / "out.onnx"
    report = hwgen("quantize", model, "--calib", calib, "-o", out, "--method", method, "--json").json
    for tensor in report["tensors"]:
        assert tensor["range"][0] <= 0 <= tensor["range"][1] and -128 <= tensor["zero_point"] <= 127
        assert method != "minmax" or tensor["range"][1] >= tensor["observed"][1] - tensor["scale"]
    weights = [a for a in constants(out).values() if a.dtype == np.int8 and a.ndim > 1]
    assert len(weights) == len(report["weights"]) > 5
    assert min(w.min() for w in weights) == -127 or method == "mse"
    assert all(w.min() >= -127 for w in weights)


def test_narrow_codes_stay_narrow(hwgen: Command, tmp_path: Path, model: Path, calib: Path) -> None:
    """Also on images far outside the calibration's: the machine clamps, so 6 bits can be packed later."""
    out = tmp_path / "out.onnx"
    ran = hwgen(
        "quantize",
        model,
        "--calib",
        calib,
        "-o",
        out,
        "--weights",
        "4",
        "--activations",
        "6",
        "--method",
        "minmax",
        "-q",
    )
    assert ran.code == 0, ran.err
    weights = [a for a in constants(out).values() if a.dtype == np.int8 and a.ndim > 1]
    assert all(w.min() >= -7 and w.max() <= 7 for w in weights) and any(abs(w).max() == 7 for w in weights)
    properties = {p.key: p.value for p in onnx.load(out).metadata_props}
    assert properties["hwgen.weights"] == "4" and properties["hwgen.activations"] == "6"
    graph = passes.run(frontend.load(out).require())
    quant = graph.input_quant
    wide = np.zeros(0)
    for image in 20 * np.load(calib):
        values = direct.run(graph, nx.quantize(image, quant.scale, quant.zero_point))
        readers = {x for op in graph.ops for x in (getattr(op, "x", None),) if x}
        for name, codes in values.items():
            if name in (graph.output, graph.input.y) or name not in readers:
                continue
            # in front of its clamp the attention's and the pool's result has 8 bits
            if not any(isinstance(op, Eltwise) and op.table is not None for op in graph.consumers(name)):
                assert codes.min() >= -32 and codes.max() <= 31, name
            wide = np.append(wide, codes.max())
    assert (wide == 31).any()


def test_attention_is_left_unquantized_inside(model: Path) -> None:
    source = read_float(model)
    placement = place(source)
    kinds = [s.kind for s in placement.sites.values()]
    assert kinds.count("attention") == 1 and kinds.count("layernorm") == 1 and kinds.count("pool") == 1
    assert len(placement.groups) == 1 and len(placement.groups[0]) == 2
    inside = {o for n in source.nodes if n.op in ("Slice", "Pad", "MatMul", "Div") for o in n.outputs}
    linear = {w.node.outputs[0] for w in placement.weighted}
    assert not (inside - linear) & set(placement.sites)


def test_relu_needs_no_quantizer_in_front(tmp_path: Path) -> None:
    source = one_conv(
        RNG(0).normal(size=(4, 3, 3, 3)), after=[helper.make_node("Relu", ["y"], ["z"], name="relu")], out="z"
    )
    placement = place(read_float(save(source, tmp_path / "m.onnx")))
    assert set(placement.sites) == {"image", "z"} and not placement.activations


def test_batch_norm_is_folded(hwgen: Command, tmp_path: Path) -> None:
    rng = RNG(1)
    vectors = {n: rng.uniform(0.5, 2, 4).astype(np.float32) for n in ("scale", "shift", "mean", "variance")}
    node = helper.make_node("BatchNormalization", ["y", *vectors], ["z"], name="norm")
    path = save(one_conv(rng.normal(size=(4, 3, 3, 3)), after=[node], constants=vectors, out="z"), tmp_path / "m.onnx")
    source = read_float(path)
    assert [n.op for n in source.nodes] == ["Conv"]
    data = images(tmp_path / "x.npy", shape=(3, 8, 8))
    assert hwgen("quantize", path, "--calib", data, "-o", tmp_path / "out.onnx", "-q").code == 0
    x = np.load(data)
    exact = run(path, x)
    assert np.abs(exact - run(tmp_path / "out.onnx", x)).max() < 0.05 * np.abs(exact).max()


def test_channel_without_weights(hwgen: Command, tmp_path: Path) -> None:
    """A dead channel has no scale of its own; its bias must not overflow."""
    weight = RNG(2).normal(size=(4, 3, 1, 1))
    weight[2] = 0
    after = [helper.make_node("Add", ["y", "b"], ["z"], name="add")]
    bias = {"b": np.array([0.1, 0.2, 3.0, -1], np.float32).reshape(1, 4, 1, 1)}
    path = save(one_conv(weight, after=after, constants=bias, out="z"), tmp_path / "m.onnx")
    data = images(tmp_path / "x.npy", shape=(3, 8, 8))
    ran = hwgen("quantize", path, "--calib", data, "-o", tmp_path / "out.onnx", "-q")
    assert ran.code == 0, ran.err
    assert abs(run(tmp_path / "out.onnx", np.load(data))[:, 2] - 3.0).max() < 0.05


def test_same_input_same_bytes(hwgen: Command, tmp_path: Path, model: Path, calib: Path) -> None:
    for name in ("a", "b"):
        assert hwgen("quantize", model, "--calib", calib, "-o", tmp_path / f"{name}.onnx", "-q").code == 0
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


# --- what is the user's to mend: one message, exit code 2, nothing written


def refused(hwgen: Command, tmp_path: Path, model: Path, calib: Path, *options: object) -> str:
    out = tmp_path / "result"
    out.mkdir()
    ran = hwgen("quantize", model, "--calib", calib, "-o", out / "out.onnx", *options)
    assert ran.code == 2, ran.err
    assert not list(out.iterdir()) and "Traceback" not in ran.err
    return ran.err


def test_no_images(hwgen: Command, tmp_path: Path, model: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no images" in refused(hwgen, tmp_path, model, empty)


def test_empty_array(hwgen: Command, tmp_path: Path, model: Path) -> None:
    np.save(tmp_path / "none.npy", np.zeros((0, 3, 12, 12), np.float32))
    assert "no images" in refused(hwgen, tmp_path, model, tmp_path / "none.npy")


def test_missing_images(hwgen: Command, tmp_path: Path, model: Path) -> None:
    assert "does not exist" in refused(hwgen, tmp_path, model, tmp_path / "nowhere")


def test_wrong_shape(hwgen: Command, tmp_path: Path, model: Path) -> None:
    wrong = images(tmp_path / "wrong.npy", shape=(3, 13, 12))
    assert "the model needs (N, 3, 12, 12)" in refused(hwgen, tmp_path, model, wrong)


def test_bytes_without_normalization(hwgen: Command, tmp_path: Path, model: Path) -> None:
    np.save(tmp_path / "bytes.npy", np.zeros((4, 12, 12, 3), np.uint8))
    assert "--mean" in refused(hwgen, tmp_path, model, tmp_path / "bytes.npy")


def test_images_with_nan(hwgen: Command, tmp_path: Path, model: Path) -> None:
    bad = np.zeros((4, 3, 12, 12), np.float32)
    bad[2, 1, 3, 3] = np.nan
    np.save(tmp_path / "bad.npy", bad)
    assert "not finite" in refused(hwgen, tmp_path, model, tmp_path / "bad.npy")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(hwgen: Command, tmp_path: Path, calib: Path, value: float) -> None:
    weight = np.ones((4, 3, 3, 3))
    weight[1, 2, 0, 0] = value
    message = refused(hwgen, tmp_path, save(one_conv(weight), tmp_path / "m.onnx"), calib)
    assert "conv (Conv): its w has 1 values that are NaN or infinite" in message


def test_quantized_already(hwgen: Command, tmp_path: Path, calib: Path) -> None:
    message = refused(hwgen, tmp_path, save(small_vit(0), tmp_path / "q.onnx"), calib)
    assert "quantized already" in message


def test_unknown_operators_are_all_named(hwgen: Command, tmp_path: Path, calib: Path) -> None:
    after = [
        helper.make_node("Softmax", ["y"], ["a"], name="soft"),
        helper.make_node("MaxPool", ["a"], ["b"], name="pool", kernel_shape=[2, 2]),
    ]
    source = save(one_conv(np.ones((4, 3, 3, 3)), after=after, out="b"), tmp_path / "m.onnx")
    message = refused(hwgen, tmp_path, source, calib)
    assert "soft (Softmax)" in message and "pool (MaxPool)" in message


def test_product_of_activations_that_is_no_attention(hwgen: Command, tmp_path: Path) -> None:
    source = one_conv(
        np.ones((4, 3, 1, 1)), after=[helper.make_node("MatMul", ["y", "y"], ["z"], name="square")], out="z"
    )
    data = images(tmp_path / "x.npy", shape=(3, 8, 8))
    assert "square" in refused(hwgen, tmp_path, save(source, tmp_path / "m.onnx"), data)


def test_not_an_onnx_file(hwgen: Command, tmp_path: Path, calib: Path) -> None:
    for name, content in (("text.onnx", b"this is no model"), ("empty.onnx", b"")):
        (tmp_path / name).write_bytes(content)
        ran = hwgen("quantize", tmp_path / name, "--calib", calib, "-o", tmp_path / "out.onnx")
        assert ran.code == 2 and "ONNX" in ran.err
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--method", "magic"),
        ("--weights", "5"),
        ("--activations", "4"),
        ("--images", "0"),
        ("--mean", "0.5,0.5,0.5"),
        ("--mean", "0.5", "--std", "0.5"),
        ("--mean", "a,b,c", "--std", "1,1,1"),
        ("--resize", "4"),
    ],
)
def test_wrong_options(hwgen: Command, tmp_path: Path, model: Path, calib: Path, options: tuple[str, ...]) -> None:
    refused(hwgen, tmp_path, model, calib, *options)


def test_output_that_cannot_be(hwgen: Command, tmp_path: Path, model: Path, calib: Path) -> None:
    before = model.read_bytes()
    for target in (model, tmp_path / "no" / "folder" / "out.onnx", tmp_path / "out.txt"):
        assert hwgen("quantize", model, "--calib", calib, "-o", target).code == 2
    assert model.read_bytes() == before


def test_interrupted(hwgen: Command, tmp_path: Path, model: Path, calib: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C at the last step leaves an earlier result as it was, and nothing else."""
    folder = tmp_path / "result"
    folder.mkdir()
    (folder / "out.onnx").write_bytes(b"earlier")

    def stop(path: Path) -> Any:
        assert list(folder.glob(".hwgen-*/out.onnx"))
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "cover", stop)
    assert hwgen("quantize", model, "--calib", calib, "-o", folder / "out.onnx").code == 130
    assert [p.name for p in folder.iterdir()] == ["out.onnx"]
    assert (folder / "out.onnx").read_bytes() == b"earlier"


def test_a_result_that_is_not_mapped_is_not_written(hwgen: Command, tmp_path: Path) -> None:
    """The check with the frontend can fail: a product of activations with a division that is no attention."""
    after = [
        helper.make_node("MatMul", ["y", "y"], ["p"], name="p"),
        helper.make_node("MatMul", ["p", "y"], ["q"], name="q"),
        helper.make_node("Div", ["p", "q"], ["z"], name="div"),
    ]
    source = save(one_conv(np.ones((4, 3, 1, 1)), after=after, out="z"), tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", RNG(0).uniform(1, 2, (4, 3, 8, 8)).astype(np.float32))
    message = refused(hwgen, tmp_path, source, tmp_path / "x.npy")
    assert "cannot be mapped whole" in message and "QuantizeLinear" in message


@pytest.mark.parametrize("node", ["MatMul", "Gemm"])
def test_products_of_several_rows(hwgen: Command, tmp_path: Path, node: str) -> None:
    after = [
        helper.make_node("Reshape", ["y", "shape"], ["r"], name="reshape"),
        helper.make_node(node, ["r", "m"], ["p"], name="product"),
        helper.make_node("Reshape", ["p", "back"], ["z"], name="again"),
    ]
    constant = {
        "shape": np.array([64, 4], np.int64),
        "m": np.ones((4, 5), np.float32),
        "back": np.array([1, 5, 8, 8], np.int64),
    }
    source = save(one_conv(np.ones((4, 3, 1, 1)), after=after, constants=constant, out="z"), tmp_path / "m.onnx")
    data = images(tmp_path / "x.npy", shape=(3, 8, 8))
    assert "product" in refused(hwgen, tmp_path, source, data)


def test_an_activation_that_is_read_before_and_behind(hwgen: Command, tmp_path: Path) -> None:
    """The convolution's own result is a residual, so it is quantized, and the activation is a table of its codes."""
    after = [
        helper.make_node("HardSwish", ["y"], ["a"], name="act"),
        helper.make_node("Conv", ["a", "w2"], ["b"], name="conv2"),
        helper.make_node("Add", ["b", "y"], ["z"], name="add"),
    ]
    constant = {"w2": RNG(3).normal(size=(4, 4, 1, 1)).astype(np.float32)}
    path = save(
        one_conv(RNG(4).normal(size=(4, 3, 3, 3)), after=after, constants=constant, out="z"), tmp_path / "m.onnx"
    )
    placement = place(read_float(path))
    assert placement.sites["y"].kind == "conv" and not placement.activations
    data = images(tmp_path / "x.npy", shape=(3, 8, 8))
    ran = hwgen("quantize", path, "--calib", data, "-o", tmp_path / "out.onnx", "-q")
    assert ran.code == 0, ran.err
    x = np.load(data)
    exact = run(path, x)
    assert np.abs(exact - run(tmp_path / "out.onnx", x)).max() < 0.05 * np.abs(exact).max()
