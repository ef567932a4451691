# SPDX-License-Identifier: Apache-2.0
"""The parts of ``hwgen quantize``: ranges, weights, moments, the choice of placement, images."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from onnx import helper, numpy_helper
from PIL import Image

from float_models import float_vit, one_conv
from hwgen.errors import UserError
from hwgen.frontend.onnx_file import OnnxGraph, OnnxNode
from hwgen.quantize import calibration, choose, weights
from hwgen.quantize.equalize import TOLERANCE, equalize
from hwgen.quantize.float_model import read_float
from hwgen.quantize.images import Images, Preprocessing, open_images
from hwgen.quantize.moments import patches
from hwgen.quantize.placement import Activation, place
from hwgen.quantize.ranges import BINS, METHODS, Grid, Histogram, grid_of
from qdq_models import save

RNG = np.random.default_rng
SAME = Preprocessing((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def histogram(values: np.ndarray) -> Histogram:
    low, high = float(values.min()), float(values.max())
    return Histogram(low, high, calibration.count(values.astype(np.float32), low, high).astype(np.float64))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ends", [(3.0, 5.0), (-5.0, -3.0), (-1.0, 4.0), (0.0, 0.0), (0.0, 6.0)])
@pytest.mark.parametrize("bits", [8, 6])
def test_zero_is_a_code(method: str, ends: tuple[float, float], bits: int) -> None:
    grid = METHODS[method](histogram(np.linspace(*ends, 1000)), bits)
    assert grid.low <= grid.zero_point <= grid.high and grid.high - grid.low == 2**bits - 1
    assert grid.round_trip(0.0) == 0.0 and grid.scale > 0


def test_outliers_separate_the_methods() -> None:
    values = np.append(RNG(0).normal(size=200_000), [80.0, -90.0])
    h = histogram(values)
    scales = {name: method(h, 6).scale for name, method in METHODS.items()}
    assert scales["minmax"] > 5 * scales["percentile"] and scales["minmax"] > 1.5 * scales["mse"]
    noise = {name: ((values - m(h, 6).round_trip(values)) ** 2).sum() for name, m in METHODS.items()}
    assert noise["mse"] == min(noise.values()) and noise["minmax"] > 1.5 * noise["mse"]


def test_noise_of_a_histogram_is_that_of_the_values() -> None:
    values = RNG(1).normal(size=100_000)
    grid = grid_of(-3, 3, 8)
    exact = ((values - grid.round_trip(values)) ** 2).sum()
    assert histogram(values).noise(grid) == pytest.approx(exact, rel=0.02)
    assert histogram(values).counts.sum() == len(values) and len(histogram(values).counts) == BINS


def test_activation_is_fused_unless_a_quantizer_between_costs_less() -> None:
    activation = Activation("x", "y", place_nodes(), "conv")
    values = RNG(2).normal(size=50_000) * 3

    def swish(x: np.ndarray) -> np.ndarray:
        return x * np.clip(np.asarray(x) / 6 + 0.5, 0, 1)

    h = histogram(values)
    choice = choose.choose(activation, swish, h, METHODS["mse"](h, 8), grid_of(-0.375, 8, 8))
    assert not choice.between and choice.sqnr_fused_db > choice.sqnr_between_db
    # values that lie on the grid in front, and a function that 12 bits cannot follow
    grid = Grid(0.0625, 0, -128, 127)
    exact = Histogram(grid.range[0], grid.range[1] + grid.scale, np.zeros(BINS))
    exact.counts[(np.arange(BINS) * 256 / BINS) % 1 == 0] = 1
    offset = exact.centers[0] - grid.range[0]

    def steep(x: np.ndarray) -> np.ndarray:
        return np.sin(np.asarray(x) * 500)

    choice = choose.choose(activation, steep, Histogram(exact.low - offset, exact.high - offset, exact.counts), grid,
                           grid_of(-1, 1, 8))  # fmt: skip
    assert choice.between and choice.sqnr_between_db > choice.sqnr_fused_db


def place_nodes() -> tuple:
    return (OnnxNode("act", "HardSwish", ("x",), ("y",), {}),)


def test_compensation_lowers_the_error_of_the_output() -> None:
    rng = RNG(3)
    x = rng.normal(size=(2, 24, 24)) @ rng.normal(size=(2, 24, 500))
    second = x @ x.transpose(0, 2, 1) / 500
    weight = rng.normal(size=(8, 24))
    scale = weights.mse_scale(weight, 4).astype(np.float32)
    nearest, better = weights.round_weights(weight, scale, 4), weights.compensate(weight, scale, 4, second)

    def error(q: weights.QuantizedWeight) -> float:
        return float((((weight - q.real()).reshape(2, 4, 24) @ x) ** 2).sum())

    assert error(better) < 0.75 * error(nearest)
    assert np.abs(better.codes).max() <= 7
    # without correlation there is nothing to make up with
    alone = weights.compensate(weight, scale, 4, np.stack([np.diag(rng.uniform(1, 2, 24))] * 2))
    assert np.array_equal(alone.codes, nearest.codes)


def test_scale_search_is_never_worse_than_the_largest_weight() -> None:
    weight = RNG(4).standard_t(3, size=(6, 40))
    for bits in (8, 6, 4):
        plain, best = weights.absmax_scale(weight, bits), weights.mse_scale(weight, bits)
        errors = [((weight - weights.round_weights(weight, s.astype(np.float32), bits).real()) ** 2).sum(axis=1)
                  for s in (plain, best)]  # fmt: skip
        assert (errors[1] <= errors[0] * (1 + 1e-6)).all()


def test_bias_restores_the_mean() -> None:
    rng = RNG(5)
    weight, x = rng.normal(size=(6, 10)), rng.uniform(0, 3, size=(1, 10, 400))
    coded = grid_of(0, 3, 6).round_trip(x)
    q = weights.round_weights(weight, weights.absmax_scale(weight, 4).astype(np.float32), 4)
    bias = weights.corrected_bias(weight, q, np.ones(6), x.mean(axis=2), coded.mean(axis=2))
    exact, ours = (weight @ x[0]).mean(axis=1) + 1, (q.real() @ coded[0]).mean(axis=1)
    assert np.allclose(ours + bias, exact) and not np.allclose(ours + 1, exact, atol=1e-3)


def test_usable_scale_bounds_the_bias() -> None:
    scale = weights.usable_scale(np.array([0.0, 0.1]), np.array([5.0, 5.0]), 0.01)
    assert scale[1] == np.float32(0.1) and 5.0 / (0.01 * scale[0]) <= weights.BIAS_LIMIT * 1.001


def test_patches_times_weights_is_the_convolution(tmp_path: Path) -> None:
    """For every convolution and product of the network: stride, padding, depthwise, grouped."""
    source = read_float(save(float_vit(), tmp_path / "m.onnx"))
    placement = place(source)
    edges = list(dict.fromkeys([*(w.x for w in placement.weighted), *(w.node.outputs[0] for w in placement.weighted)]))
    image = RNG(6).normal(size=(3, 12, 12)).astype(np.float32)
    (values,) = calibration.edges_of(source, edges, Images(1, lambda i: image), lambda i: None)
    for entry in placement.weighted:
        weight = source.constants[entry.weight]
        weight = weight if entry.axis == 0 else weight.T
        rows = patches(source, entry, values[entry.x])
        bias = 0 if entry.bias is None else source.constants[entry.bias].reshape(-1, 1)
        ours = (weight.reshape(len(rows), -1, rows.shape[1]) @ rows).reshape(len(weight), -1) + bias
        exact = values[entry.node.outputs[0]].reshape(len(weight), -1)
        assert np.allclose(ours, exact, rtol=1e-3, atol=1e-3 * np.abs(exact).max()), entry.node.name


# --- images


def pictures(folder: Path, count: int = 3, size: tuple[int, int] = (20, 10)) -> Path:
    folder.mkdir()
    for i in range(count):
        pixels = RNG(i).integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


def test_folder_is_resized_and_normalized(tmp_path: Path) -> None:
    how = Preprocessing((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    found = open_images(pictures(tmp_path / "p"), (3, 8, 8), how)
    assert found.count == 3
    picture = Image.open(tmp_path / "p" / "1.png").resize((8, 8), Image.Resampling.BILINEAR)
    exact = (np.asarray(picture, np.float32) / 255 - np.array(how.mean)) / np.array(how.std)
    assert np.allclose(found.image(1), exact.transpose(2, 0, 1), atol=1e-6)


def test_resize_keeps_the_shape_and_takes_the_middle(tmp_path: Path) -> None:
    found = open_images(pictures(tmp_path / "p"), (3, 8, 8), Preprocessing(SAME.mean, SAME.std, resize=10))
    picture = np.asarray(Image.open(tmp_path / "p" / "0.png"), np.float32) / 255
    assert np.allclose(found.image(0), picture[1:9, 6:14].transpose(2, 0, 1))


def test_arrays_and_jpeg(tmp_path: Path) -> None:
    pixels = RNG(7).integers(0, 256, (5, 8, 8, 3), np.uint8)
    np.save(tmp_path / "a.npy", pixels)
    np.savez(tmp_path / "b.npz", images=pixels)
    files = []
    for p in pixels:
        buffer = io.BytesIO()
        Image.fromarray(p).save(buffer, "JPEG", quality=95)
        files.append(buffer.getvalue())
    offset = np.cumsum([0, *map(len, files)])
    np.savez(tmp_path / "c.npz", jpeg=np.frombuffer(b"".join(files), np.uint8), offset=offset, label=np.arange(5))
    a, b, c = (open_images(tmp_path / n, (3, 8, 8), SAME) for n in ("a.npy", "b.npz", "c.npz"))
    assert a.count == b.count == c.count == 5
    assert np.array_equal(a.image(4), b.image(4)) and np.allclose(a.image(4) * 255, pixels[4].transpose(2, 0, 1))
    assert np.array_equal(c.image(2), open_images(tmp_path / "c.npz", (3, 8, 8), SAME).image(2))
    assert [round(float(x.sum()), 3) for x in a.first(2)] == [round(float(a.image(i).sum()), 3) for i in (0, 2)]


@pytest.mark.parametrize("name", ["broken.npz", "broken.npy", "two.npz", "int.npy", "offset.npz"])
def test_files_that_hold_no_images(tmp_path: Path, name: str) -> None:
    for broken in ("broken.npz", "broken.npy"):
        (tmp_path / broken).write_bytes(b"no array")
    np.savez(tmp_path / "two.npz", a=np.zeros(3), b=np.zeros(3))
    np.save(tmp_path / "int.npy", np.zeros((2, 3, 8, 8), np.int64))
    np.savez(tmp_path / "offset.npz", jpeg=np.zeros(10, np.uint8), offset=np.array([0, 20]))
    with pytest.raises(UserError):
        open_images(tmp_path / name, (3, 8, 8), SAME)


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "p")
    (folder / "1.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"1\.png"):
        list(open_images(folder, (3, 8, 8), SAME))


def test_function_of_runs_the_nodes_between(tmp_path: Path) -> None:
    after = [
        helper.make_node("HardSigmoid", ["y"], ["g"], name="gate", alpha=1 / 6, beta=0.5),
        helper.make_node("Mul", ["g", "y"], ["z"], name="mul"),
    ]
    source = read_float(save(one_conv(np.ones((4, 3, 1, 1)), after=after, out="z"), tmp_path / "m.onnx"))
    (activation,) = place(source).activations
    assert (activation.before, activation.after) == ("y", "z")
    function = calibration.function_of(source, activation.nodes, "y", "z")
    assert np.allclose(function(np.array([-4.0, 0, 3, 6])), [0, 0, 3, 6])


def test_concatenated_tensors_get_one_range_and_the_function_stays(tmp_path: Path) -> None:
    source = read_float(save(float_vit(), tmp_path / "m.onnx"))
    placement = place(source)
    rng = RNG(8)
    some = [rng.normal(size=(3, 12, 12)).astype(np.float32) for _ in range(4)]
    given = Images(4, lambda i: some[i])
    changed, scalings = equalize(source, placement, given, "mse", 8, lambda *a: None)
    (scaling,) = scalings
    group = placement.groups[0]
    assert scaling.edge in group and abs(np.log(scaling.factor)) > 0.1

    def widths(model: OnnxGraph) -> list[float]:
        ends = calibration.extremes(model, list(group), given, lambda *a: None)
        found = calibration.histograms(model, ends, given, lambda *a: None)
        return [METHODS["mse"](h, 8).scale for h in found.values()]

    assert max(widths(source)) / min(widths(source)) > 1.1
    assert max(widths(changed)) / min(widths(changed)) < 1.05
    outputs = [list(calibration.run(m.model, m.input, given, lambda i: None)) for m in (source, changed)]
    for (a,), (b,) in zip(*outputs, strict=True):
        assert np.allclose(a, b, atol=TOLERANCE * np.abs(a).max())


def test_a_scaling_that_changes_the_function_is_dropped(tmp_path: Path) -> None:
    """With an epsilon as large as the normalizers the factor does not cancel."""
    model = float_vit()
    source = read_float(save(model, tmp_path / "m.onnx"))
    image = RNG(9).normal(size=(3, 12, 12)).astype(np.float32)
    given = Images(1, lambda i: image)
    assert equalize(source, place(source), given, "mse", 8, lambda *a: None)[1]
    divisor = next(n for n in source.nodes if n.op == "Div").inputs[1]
    (values,) = calibration.edges_of(source, [divisor], given, lambda i: None)
    for i, tensor in enumerate(model.graph.initializer):
        if not tensor.dims and abs(numpy_helper.to_array(tensor) - 1e-5) < 1e-9:
            large = np.float32(values[divisor].mean())
            model.graph.initializer[i].CopyFrom(numpy_helper.from_array(np.array(large), tensor.name))
    source = read_float(save(model, tmp_path / "large.onnx"))
    changed, scalings = equalize(source, place(source), given, "mse", 8, lambda *a: None)
    assert changed is source and not scalings
