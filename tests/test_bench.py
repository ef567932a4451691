# SPDX-License-Identifier: Apache-2.0
"""bench/accuracy.py and bench/baselines.py: statistics, resuming, quantizers against values computed by hand."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from float_models import float_vit
from hwgen.errors import UserError
from hwgen.quantize import QuantizeOptions, calibration, quantize
from hwgen.quantize.images import Preprocessing
from qdq_models import save

BENCH = Path(__file__).resolve().parent.parent / "bench"
RNG = np.random.default_rng
HOW = Preprocessing((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


@pytest.fixture
def accuracy(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module("accuracy")


@pytest.fixture
def baselines(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("torch", reason="PyTorch is not installed (make torch)")
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module("baselines")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A float model and images for it."""
    save(float_vit(), tmp_path / "float.onnx")
    images = RNG(3).integers(0, 256, (60, 12, 12, 3), np.uint8)
    np.save(tmp_path / "calib.npy", images[:40])
    np.savez(tmp_path / "test.npz", images=images[40:], label=RNG(4).integers(0, 10, 20))
    return tmp_path


def arguments(files: Path, *more: str) -> list[str]:
    return [
        *("accuracy.py", "--quantize", str(files / "float.onnx"), "--calib", str(files / "calib.npy")),
        *("--data", str(files / "test.npz"), "--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25"),
        *("--calibration-images", "8", "--json", str(files / "out.json"), *more),
    ]


def test_mean_and_deviation_of_a_sample(accuracy: Any) -> None:
    assert accuracy.spread([1.0, 2.0, 6.0]) == (3.0, pytest.approx(7**0.5), 1.0, 6.0)  # (4 + 1 + 9) / 2
    assert accuracy.spread([5.0]) == (5.0, None, 5.0, 5.0)


def test_the_table(accuracy: Any) -> None:
    results = [{"recipe": "float", "seed": None, "measured_by": "ONNX Runtime", "top1": 0.7}]
    for seed, top1 in enumerate((0.66, 0.68, 0.7)):
        row = {"recipe": "mse-w8a8", "seed": seed, "measured_by": "ONNX Runtime", "top1": top1, "float_agreement": 0.9}
        results.append({**row, **({"hwgen_top1": 0.5, "hwgen_float_agreement": 0.25} if seed == 1 else {})})
    lines = accuracy.table([*results[1:], results[0]]).splitlines()
    assert lines[2] == "| float | ONNX Runtime |  | 70.00 |  |  |  |"
    assert lines[3] == "| mse-w8a8 | ONNX Runtime | 3 | 68.00 ± 2.00 | 66.00 to 70.00 | -2.00 | 90.0 % |"
    assert lines[4] == "| mse-w8a8 | hwgen's integer reference | 1 | 50.00 |  | -20.00 | 25.0 % |"
    assert len(lines) == 5


@pytest.mark.parametrize("recipe", ["mse", "mse-w8", "best-w8a8", "mse-w8ax", "nncf-w8a8", ""])
def test_a_recipe_that_does_not_exist(accuracy: Any, recipe: str) -> None:
    with pytest.raises(UserError, match="there is no recipe"):
        accuracy.parse(recipe)


def test_order_of_the_table(accuracy: Any) -> None:
    order = ["float", "minmax-w8a8", "mse-w8a8", "mse-w4a8", "minmax-w6a6", "ort-minmax", "nncf", "fqvit-w8a8"]
    results = [{"recipe": r, "seed": 0, "measured_by": "", "top1": 0.5, "float_agreement": 0.5} for r in order]
    assert [line.split(" | ")[0][2:] for line in accuracy.table(results[::-1]).splitlines()[2:]] == order


def test_recipes(accuracy: Any) -> None:
    assert accuracy.parse("mse-w4a8") == ("mse", 4, 8)
    assert accuracy.parse("ptq4vit-operands-w6a6") == ("ptq4vit-operands", 6, 6)
    assert accuracy.parse("ort-percentile") == ("ort-percentile", 8, 8)
    assert all(accuracy.parse(recipe) for recipe in accuracy.RECIPES)


def test_what_is_measured_already_is_not_measured_again(
    accuracy: Any, files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs: list[tuple[str, int]] = []
    run = accuracy.Bench.run

    def counted(self: Any, recipe: str, seed: int, reference: bool) -> Any:
        runs.append((recipe, seed))
        if len(runs) == 3:
            raise KeyboardInterrupt  # the user stops it
        return run(self, recipe, seed, reference)

    monkeypatch.setattr(accuracy.Bench, "run", counted)
    options = ("--recipes", "minmax-w8a8", "mse-w6a6", "--seeds", "0", "1", "--reference", "minmax-w8a8")
    monkeypatch.setattr(sys, "argv", arguments(files, *options))
    with pytest.raises(KeyboardInterrupt):
        accuracy.main()
    assert len(json.loads((files / "out.json").read_text())["results"]) == 3  # the float model and two recipes
    accuracy.main()
    assert runs == [("minmax-w8a8", 0), ("mse-w6a6", 0), ("minmax-w8a8", 1), ("minmax-w8a8", 1), ("mse-w6a6", 1)]
    results = json.loads((files / "out.json").read_text())["results"]
    assert [(r["recipe"], r["seed"]) for r in results[1:]] == [*runs[:2], *runs[3:]]
    for result in results[1:]:
        assert 0 <= result["top1"] <= 1 and 0.5 <= result["float_agreement"] <= 1
        assert ("hwgen_top1" in result) == (result["recipe"] == "minmax-w8a8")
    assert capsys.readouterr().out.count("hwgen's integer reference") == 1
    monkeypatch.setattr(sys, "argv", arguments(files, *options, "--images", "10"))
    with pytest.raises(SystemExit, match=r"other settings \(test_images, test_sha256\)"):
        accuracy.main()
    (files / "out.json").write_text("[1]")
    with pytest.raises(SystemExit, match="no results of this script"):
        accuracy.main()


def test_recipes_that_share_what_they_observe_give_the_same_models(
    accuracy: Any, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(name: str, method: str, bits: int, seed: int) -> bytes:
        paths = files / "float.onnx", files / "calib.npy", files / f"{name}.onnx"
        quantize(QuantizeOptions(*paths, method, bits, bits, HOW, 8, seed))
        return paths[2].read_bytes()

    recipes = [("minmax", 8), ("percentile", 8), ("minmax", 6), ("mse", 8), ("mse", 6)]
    alone = [make(f"{m}{b}", m, b, 1) for m, b in recipes]
    assert make("other", "minmax", 8, 2) != alone[0]
    calls: list[str] = []
    histograms = calibration.histograms
    monkeypatch.setattr(calibration, "histograms", lambda *a: (calls.append("h"), histograms(*a))[1])
    known: dict[str, Any] = {}
    with accuracy.remembered(known):
        assert [make(f"{m}{b}", m, b, 1) for m, b in recipes] == alone
    assert 0 < len(calls) < len(recipes)


def test_models_that_are_quantized_already(accuracy: Any, files: Path) -> None:
    quantize(QuantizeOptions(files / "float.onnx", files / "calib.npy", files / "q.onnx", "minmax", 8, 8, HOW, 8))
    result = accuracy.measure(files / "q.onnx", files / "test.npz", 20, HOW)
    assert result["images"] == 20 and result["nodes"] == result["nodes_mapped"]
    assert result["top1_agreement"] >= 0.8 and abs(result["hwgen_top1"] - result["onnxruntime_top1"]) <= 0.2


@pytest.mark.torch
def test_twin_uniform_by_hand(baselines: Any) -> None:
    import torch

    x = torch.tensor([-1.0, -0.13, 0.0, 0.3, 0.7, 5.0])
    by_sign = baselines.TwinUniform(0.125, 2, 4, True)  # negative: 0.125 down to -8 codes; positive: 0.5 up to 7 codes
    assert by_sign(x).tolist() == [-1.0, -0.125, 0.0, 0.5, 0.5, 3.5]
    by_size = baselines.TwinUniform(0.125, 2, 4, False)  # fine below 8 * 0.125 = 1
    assert by_size(torch.tensor([0.0, 0.06, 0.3, 0.95, 1.1, 9.0])).tolist() == [0.0, 0.0, 0.25, 0.875, 1.0, 3.5]
    chosen = baselines.twin_by_sign(-0.375, 0.5, 4)  # 0.375 / 8 = 0.047: 0.0625 covers it, 0.03125 does not
    assert (chosen.fine, chosen.shift) == (0.0625, 3)


@pytest.mark.torch
def test_logarithms_by_hand(baselines: Any) -> None:
    import torch

    x = torch.tensor([8.0, 6.0, 5.0, 1.0, 0.1, 0.0])
    assert baselines.Logarithmic(8.0, 2, 1)(x).tolist() == [8.0, 8.0, 4.0, 1.0, 1.0, 1.0]  # codes 0 to 3
    root = baselines.Logarithmic(8.0, 3, 2)(x).tolist()
    assert root == pytest.approx([8.0, 8 / 2**0.5, 8 / 2**0.5, 1.0, 8 / 2**3.5, 8 / 2**3.5])


@pytest.mark.torch
def test_factors_are_powers_of_two(baselines: Any) -> None:
    import torch

    x = torch.randn(16, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    x *= torch.tensor([8.0, 4.0, 1.0, 0.5, 2.5]).reshape(-1, 1, 1)
    grid = baselines.power_of_two_factors(x, 8)
    whole = baselines.affine(x.min(), x.max(), 8)
    factors = (whole.scale / grid.scale).reshape(-1)
    assert set(factors.tolist()) <= {1.0, 2.0, 4.0, 8.0} and len(set(factors.tolist())) >= 3
    assert factors[0] == 1 and factors[3] == 8
    assert ((grid(x) - x) ** 2).sum() < ((whole(x) - x) ** 2).sum() / 1.05


@pytest.mark.torch
def test_affine_and_symmetric(baselines: Any) -> None:
    import torch

    x = torch.tensor([-3.0, -1.0, 0.0, 0.4, 6.0, 20.0])
    grid = baselines.affine(-1.0, 14.0, 4)  # scale 1, zero point 1
    assert grid(x).tolist() == [-1.0, -1.0, 0.0, 0.0, 6.0, 14.0]
    assert baselines.affine(2.0, 15.0, 4)(torch.zeros(1)).item() == 0  # widened to zero
    assert baselines.symmetric(14.0, 4)(x).tolist() == [-4.0, 0.0, 0.0, 0.0, 6.0, 14.0]


@pytest.mark.torch
def test_factors_of_a_weights_inputs(baselines: Any) -> None:
    import torch
    from torch.nn import functional

    from hwgen.frontend.onnx_file import OnnxNode

    factors, x = torch.tensor([1.0, 2.0, 4.0, 8.0]), torch.randn(1, 4, 3, 3)
    for group, shape in ((1, (6, 4, 1, 1)), (2, (6, 2, 1, 1)), (4, (4, 1, 3, 3))):
        node = OnnxNode("n", "Conv", ("x", "w"), ("y",), {"group": group})
        weight = torch.randn(shape)
        moved = functional.conv2d(
            x / factors.reshape(-1, 1, 1), weight * baselines._of_inputs(weight, node, factors), groups=group
        )
        assert torch.allclose(moved, functional.conv2d(x, weight, groups=group), atol=1e-5)


@pytest.mark.torch
@pytest.mark.parametrize("operands", ["", "-operands"])
@pytest.mark.parametrize("method", ["every-edge", "easyquant", "ptq4vit", "fqvit", "repqvit"])
def test_schemes(baselines: Any, files: Path, method: str, operands: str) -> None:
    import torch

    images = np.stack([HOW.normalize(image) for image in np.load(files / "calib.npy")])
    x = torch.from_numpy(images)
    exact = baselines.Network(baselines.TorchGraph(baselines.read_float(files / "float.onnx")), {}, {}).logits(x)
    noise = []
    for bits in (8, 4):
        network = baselines.quantize(files / "float.onnx", images, method + operands, bits, bits)
        noise.append(float(((network.logits(x) - exact) ** 2).sum() / (exact**2).sum()))
        divided = {i for n in network.graph.source.nodes if n.op == "Div" for i in n.inputs}
        assert divided and divided <= set(network.edges) if operands == "" else divided.isdisjoint(network.edges)
        assert {n.op for n in network.graph.source.nodes if n.name in network.weights} >= {"Conv"}
        assert network.classes(images).shape == (40,)
    assert 0 < noise[0] < noise[1] and noise[0] < 0.3


def test_batches_give_what_single_images_give(accuracy: Any, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quantize(QuantizeOptions(files / "float.onnx", files / "calib.npy", files / "q.onnx", "minmax", 8, 8, HOW, 8))
    model = onnx.load(files / "q.onnx")
    images = np.stack([HOW.normalize(image) for image in np.load(files / "calib.npy")])
    one, eight = accuracy.session(model), accuracy.session(model, 8)
    logits = [one.run(None, {"image": image[None]})[0][0] for image in images[:8]]
    assert np.array_equal(eight.run(None, {"image": images[:8]})[0], logits)
    alone = accuracy.decide(model, images[:20])  # less than a batch
    sessions: list[int] = []
    session = accuracy.session
    monkeypatch.setattr(accuracy, "session", lambda m, batch=1: (sessions.append(batch), session(m, batch))[1])
    monkeypatch.setattr(accuracy, "BATCH", 8)
    assert np.array_equal(accuracy.decide(model, images[:20]), alone) and sessions == [1, 8]
    broken = accuracy._for_batches

    def mixing(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
        result = broken(model, batch)
        for tensor in result.graph.initializer:
            if tensor.name.endswith("_quantized"):
                array = onnx.numpy_helper.to_array(tensor)
                tensor.CopyFrom(onnx.numpy_helper.from_array(array // 2, tensor.name))
        return result

    monkeypatch.setattr(accuracy, "_for_batches", mixing)  # a batch that gives other values is not used
    assert np.array_equal(accuracy.decide(model, images[:20]), alone)


@pytest.mark.torch
def test_noise_of_each_kernel(baselines: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sqnr = importlib.import_module("sqnr")
    found = {}
    for bits in ("w8a8", "w6a6"):
        path = tmp_path / f"{bits}.json"
        options = ("--model", "tiny", "--size", "16", "--images", "4", "--frames", "1", "--bits", bits)
        monkeypatch.setattr(sys, "argv", ["sqnr.py", *options, "--json", str(path)])
        sqnr.main()
        found[bits] = json.loads(path.read_text())
    for method in ("minmax", "mse"):
        fine, coarse = found["w8a8"][method], found["w6a6"][method]
        assert fine["kernels"] == fine["compared"] == len(fine["sqnr_db"]) > 20
        first, *_, last = fine["sqnr_db"]
        assert first.startswith("/stem") and last == "logits"
        assert 25 < fine["sqnr_db"][first] < 60  # 8 bits of one convolution
        assert np.median([*coarse["sqnr_db"].values()]) < np.median([*fine["sqnr_db"].values()]) - 5


@pytest.mark.torch
def test_random_weights_are_lively(baselines: Any) -> None:
    import torch

    sqnr = importlib.import_module("sqnr")
    images = sqnr.random_images(8, 3, 32, 0)
    model, seen = sqnr.lively("tiny", images), []
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.register_forward_hook(lambda m, x, y: seen.append(float(y.std())))
    with torch.no_grad():
        model(images)
    assert len(seen) > 10 and min(seen) > 0.9 and max(seen) < 1.1
