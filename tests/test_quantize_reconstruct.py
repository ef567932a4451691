# SPDX-License-Identifier: Apache-2.0
"""``hwgen quantize --method reconstruct``: blocks, the network in PyTorch, what is learned. Skipped without torch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from conftest import Ran
from float_models import float_vit
from hwgen import frontend
from hwgen.errors import ModelError
from hwgen.quantize import calibration
from hwgen.quantize.blocks import LAYERS, blocks_of
from hwgen.quantize.float_model import read_float
from hwgen.quantize.images import Images
from hwgen.quantize.placement import place
from qdq_models import save

Command = Callable[..., Ran]
RNG = np.random.default_rng


def images(path: Path, count: int, seed: int = 5) -> Path:
    np.save(path, RNG(seed).normal(0, 1, (count, 3, 12, 12)).astype(np.float32))
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(float_vit(), tmp_path / "float.onnx")


@pytest.mark.parametrize("options", [{}, {"form": "act"}, {"variant": 3}], ids=str)
def test_blocks_cover_the_network_and_hang_together_by_one_edge(tmp_path: Path, options: dict[str, Any]) -> None:
    source = read_float(save(float_vit(**{"seed": 0, **options}), tmp_path / "float.onnx"))
    placement = place(source)
    names = {w.node.name for w in placement.weighted}
    blocks = blocks_of(source, placement.sites, names)
    assert [n for b in blocks for n in b.nodes] == list(source.nodes)
    assert [b.x for b in blocks] == [source.input, *(b.y for b in blocks[:-1])] and blocks[-1].y == source.output
    for block in blocks:
        made = {o for n in block.nodes for o in n.outputs} | {block.x} | set(source.constants)
        assert {i for n in block.nodes for i in n.inputs if i} <= made
        assert block.y in placement.sites
        ops = [n.op for n in block.nodes]
        assert sum(n.name in names for n in block.nodes) <= LAYERS or "Add" in ops or "Div" in ops
    assert len(blocks) >= 4 and sum("Div" in [n.op for n in b.nodes] for b in blocks) == 1  # the attention is whole


def test_without_pytorch_there_is_one_message(
    hwgen: Command, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    out = tmp_path / "out.onnx"
    ran = hwgen("quantize", model, "--calib", images(tmp_path / "c.npy", 4), "-o", out, "--method", "reconstruct")
    assert ran.code == 2 and "needs PyTorch" in ran.err and "hwgen[quant]" in ran.err
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(("option", "value"), [("--steps", "0"), ("--seed", "-1")])
def test_options_out_of_range(hwgen: Command, tmp_path: Path, model: Path, option: str, value: str) -> None:
    ran = hwgen("quantize", model, "--calib", images(tmp_path / "c.npy", 4), "-o", tmp_path / "o.onnx", option, value)
    assert ran.code == 2 and f"{option} {value} is not possible" in ran.err


def test_a_seed_draws_other_images(hwgen: Command, tmp_path: Path, model: Path) -> None:
    calib = images(tmp_path / "c.npy", 40)
    ranges = []
    for name, options in {"even": (), "one": ("--seed", 1), "again": ("--seed", 1), "two": ("--seed", 2)}.items():
        ran = hwgen(
            "quantize", model, "--calib", calib, "-o", tmp_path / f"{name}.onnx", "--images", 8, *options, "--json"
        )
        assert ran.json["calibration_images"] == 8
        ranges.append([t["observed"] for t in ran.json["tensors"]])
    assert ranges[1] == ranges[2] and ranges[0] != ranges[1] != ranges[3]


@pytest.mark.torch
class TestInPyTorch:
    @pytest.fixture(autouse=True)
    def torch(self) -> Any:
        return pytest.importorskip("torch", reason="torch is not installed (make test-torch)")

    @pytest.mark.parametrize(
        "options", [{}, {"form": "act"}, {"variant": 1}, {"variant": 2}, {"variant": 3}, {"variant": 4}], ids=str
    )
    def test_computes_what_onnxruntime_computes(self, torch: Any, tmp_path: Path, options: dict[str, Any]) -> None:
        from hwgen.quantize.torch_graph import TorchGraph

        source = read_float(save(float_vit(**{"seed": 1, **options}), tmp_path / "float.onnx"))
        x = RNG(0).normal(0, 1, (5, 3, 12, 12)).astype(np.float32)
        ours = TorchGraph(source).run(source.nodes, {source.input: torch.from_numpy(x)})
        theirs = calibration.edges_of(source, list(ours), Images(5, lambda i: x[i]), lambda i: None)
        for index, edges in enumerate(theirs):
            for name, value in edges.items():
                assert np.allclose(ours[name][index].numpy(), value[0], atol=1e-4 * max(1, abs(value).max())), name

    def test_other_operators(self, torch: Any, tmp_path: Path) -> None:
        """Those that the networks above lack, on one convolution with asymmetric pads."""
        from hwgen.quantize.torch_graph import TorchGraph

        chain: list[tuple[str, list[str], dict[str, Any]]] = [
            ("Clip", ["low", ""], {}),
            ("LeakyRelu", [], {"alpha": 0.2}),
            ("Sigmoid", [], {}),
            ("Tanh", [], {}),
            ("Sub", ["low"], {}),
            ("Max", ["low"], {}),
            ("HardSigmoid", [], {"alpha": 0.3}),
            ("Identity", [], {}),
            ("Split", [], {"axis": 1}),
            ("ReduceMean", [], {"axes": [2, 3], "keepdims": 0}),
            ("Unsqueeze", ["axes"], {}),
            ("Squeeze", ["axes"], {}),
        ]
        nodes = [helper.make_node("Conv", ["image", "w"], ["e0"], pads=[0, 1, 2, 1], strides=[2, 1])]
        for index, (op, extra, attributes) in enumerate(chain):
            outputs = [f"e{index + 1}", "rest"] if op == "Split" else [f"e{index + 1}"]
            nodes.append(helper.make_node(op, [f"e{index}", *extra], outputs, **attributes))
        arrays = {"w": RNG(0).normal(size=(6, 3, 3, 3)), "low": np.array(-0.4)}
        constants = [numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items()]
        constants.append(numpy_helper.from_array(np.array([1]), "axes"))
        info = helper.make_tensor_value_info
        graph = helper.make_graph(
            nodes,
            "net",
            [info("image", onnx.TensorProto.FLOAT, ["n", 3, 9, 9])],
            [info(f"e{len(chain)}", onnx.TensorProto.FLOAT, [None] * 2)],
            constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        source = read_float(save(model, tmp_path / "float.onnx"))
        x = RNG(1).normal(0, 1, (4, 3, 9, 9)).astype(np.float32)
        ours = TorchGraph(source).run(source.nodes, {source.input: torch.from_numpy(x)})[source.output].numpy()
        theirs = [y for (y,) in calibration.run(source.model, source.input, Images(4, lambda i: x[i]), lambda i: None)]
        assert ours.shape == (4, 3) and np.allclose(ours, np.concatenate(theirs), atol=1e-5)

    def test_a_network_that_moves_the_batch_is_refused(self, torch: Any, tmp_path: Path) -> None:
        from hwgen.quantize.torch_graph import TorchGraph

        info = helper.make_tensor_value_info
        graph = helper.make_graph(
            [helper.make_node("Transpose", ["image"], ["y"], name="turn", perm=[1, 0, 2, 3])],
            "net",
            [info("image", onnx.TensorProto.FLOAT, [1, 3, 4, 4])],
            [info("y", onnx.TensorProto.FLOAT, [None] * 4)],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        with pytest.raises(ModelError, match="turn") as caught:
            TorchGraph(read_float(save(model, tmp_path / "float.onnx")))
        assert "moves the batch dimension" in str(caught.value)

    def test_fake_quantization_and_its_gradients(self, torch: Any) -> None:
        from hwgen.quantize.ranges import Grid
        from hwgen.quantize.reconstruct import _Quantizer

        grid = Grid(0.5, -3, -32, 31)
        x = torch.tensor([-30.0, -1.3, 0.1, 0.6, 16.9, 17.4, 40.0], requires_grad=True)
        quantizer = _Quantizer(grid)
        y = quantizer(x)
        assert np.array_equal(y.detach().numpy(), grid.round_trip(x.detach().numpy()).astype(np.float32))
        y.sum().backward()
        assert x.grad.tolist() == [0, 1, 1, 1, 1, 0, 0]
        units = x.detach() / 0.5
        inside = x.grad.bool()
        rounding = (units.round() - units)[inside].sum() + 2 * (31 + 3) + (-32 + 3)
        assert np.isclose(
            quantizer.exponent.grad.item(), 0.5 * rounding.item(), atol=1e-5
        )  # d scale = scale d exponent
        x.grad = quantizer.exponent.grad = None
        keep = torch.tensor([True, False, True, False, False, True, False])
        y = quantizer(x, keep)
        assert y[0] == -30 and y[2] == x[2] and y[1] == -1.5
        y.sum().backward()
        assert x.grad.tolist() == [1, 1, 1, 1, 1, 1, 0]

    def test_the_error_falls_on_images_that_it_has_not_seen(self, hwgen: Command, tmp_path: Path, model: Path) -> None:
        calib, other = images(tmp_path / "c.npy", 96), images(tmp_path / "o.npy", 64, seed=6)
        source = read_float(model)
        x = np.load(other)
        unseen = Images(len(x), lambda i: x[i])
        exact = np.concatenate([y for (y,) in calibration.run(source.model, source.input, unseen, lambda i: None)])
        noise = {}
        for method in ("mse", "reconstruct"):
            out = tmp_path / f"{method}.onnx"
            options = ("--weights", 4, "--method", method, "--steps", 200, "--json")
            ran = hwgen("quantize", model, "--calib", calib, "-o", out, *options)
            assert ran.code == 0, ran.err
            assert ran.json["coverage"]["mapped"] == ran.json["coverage"]["nodes"]
            blocks = ran.json["blocks"]
            net = onnx.load(out)
            ours = np.concatenate([y for (y,) in calibration.run(net, source.input, unseen, lambda i: None)])
            noise[method] = float(((ours - exact) ** 2).mean())
            assert bool(blocks) == (method == "reconstruct")
        assert noise["reconstruct"] < 0.97 * noise["mse"], noise
        assert sum(b["kept"] for b in blocks) > len(blocks) // 2
        assert all(b["sqnr_after_db"] > b["sqnr_before_db"] for b in blocks if b["kept"])
        assert sum(b["layers"] for b in blocks) == len(ran.json["weights"])

    def test_codes_ranges_and_shared_grids_stay_what_the_machine_needs(
        self, hwgen: Command, tmp_path: Path, model: Path
    ) -> None:
        out = tmp_path / "out.onnx"
        options = ("--weights", 6, "--activations", 6, "--method", "reconstruct", "--steps", 20, "--json")
        report = hwgen("quantize", model, "--calib", images(tmp_path / "c.npy", 32), "-o", out, *options).json
        arrays = {i.name: numpy_helper.to_array(i) for i in onnx.load(out).graph.initializer}
        weights = [a for a in arrays.values() if a.dtype == np.int8 and a.ndim > 1]
        assert all(abs(w.astype(int)).max() <= 31 for w in weights)
        tensors = {t["tensor"]: t for t in report["tensors"]}
        for tensor in tensors.values():
            assert tensor["range"][0] <= 0 <= tensor["range"][1]
        (group,) = place(read_float(model)).groups
        assert len({tensors[edge]["scale"] for edge in group}) == 1 < len(group)
        frontend.load(out).require()

    def test_the_same_seed_gives_the_same_file(self, hwgen: Command, tmp_path: Path, model: Path) -> None:
        calib = images(tmp_path / "c.npy", 40)
        data = []
        for index, seed in enumerate((3, 3, 4)):
            out = tmp_path / f"out{index}.onnx"
            options = ("--weights", 4, "--images", 16, "--method", "reconstruct", "--steps", 5, "--seed", seed, "-q")
            assert hwgen("quantize", model, "--calib", calib, "-o", out, *options).code == 0
            data.append(out.read_bytes())
        assert data[0] == data[1] != data[2]
