# SPDX-License-Identifier: Apache-2.0
"""The model zoo: networks, checkpoints in both dialects, ONNX export."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from conftest import Ran
from efficientvit_names import TIMM_MILLIONS, published
from hwgen import frontend
from hwgen.errors import UserError

torch = pytest.importorskip("torch", reason="PyTorch is not installed (make test-torch)")
onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
from hwgen import zoo  # noqa: E402
from hwgen.zoo import checkpoint  # noqa: E402
from hwgen.zoo.efficientvit import LinearAttention  # noqa: E402

pytestmark = pytest.mark.torch
torch.set_num_threads(1)

Command = Callable[..., Ran]
State = dict[str, Any]


def random_state(name: str, dialect: str, classes: int = 10, seed: int = 0) -> State:
    """What a checkpoint of that model would hold; the same values in both dialects."""
    random, state = np.random.default_rng(seed), {}
    for timm, mit, shape in published(name, classes):
        key = timm if dialect == "timm" else mit
        if not shape:
            state[key] = torch.tensor(7)
            continue
        last = timm.rpartition(".")[2]
        if last == "running_var" or (last == "weight" and len(shape) == 1):
            value = random.uniform(0.5, 1.5, shape)
        else:
            value = random.normal(0, 1 / math.sqrt(max(1, math.prod(shape[1:]))), shape)
        state[key] = torch.from_numpy(value.astype(np.float32))
    return state


def lively(name: str, classes: int = 10, channels: int = 3, seed: int = 0) -> Any:
    """A model with random batch norms, in eval mode."""
    torch.manual_seed(seed)
    model = zoo.build(name, classes, channels)
    for key, value in model.state_dict().items():
        if key.endswith(("running_var", "norm.weight")):
            value.uniform_(0.5, 1.5)
        elif key.endswith(("running_mean", "norm.bias")):
            value.normal_(0, 0.1)
    return model.eval()


def run_onnx(path: Path, image: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"image": image})[0])


def run_torch(model: Any, image: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return np.asarray(model(torch.from_numpy(image)))


def random_images(count: int, size: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(4).normal(0, 1, (count, channels, size, size)).astype(np.float32)


# Networks


@pytest.mark.parametrize("name", TIMM_MILLIONS)
def test_the_published_sizes(name: str) -> None:
    with torch.device("meta"):
        model = zoo.build(name)
    assert {k: tuple(v.shape) for k, v in model.state_dict().items()} == {t: s for t, _, s in published(name)}
    assert round(model.parameter_count() / 1e6, 2) == TIMM_MILLIONS[name]


def test_names_and_options() -> None:
    assert zoo.build("efficientvit_b0", 7, 1)(torch.zeros(2, 1, 40, 40)).shape == (2, 7)
    for size in (28, 32):
        assert zoo.build("tiny", 10)(torch.zeros(2, 3, size, size)).shape == (2, 10)
    with pytest.raises(UserError, match=r"no model b9\. It has: tiny, b0"):
        zoo.build("b9")
    with pytest.raises(UserError, match="0 classes"):
        zoo.build("tiny", 0)


def test_impossible_architectures() -> None:
    with pytest.raises(ValueError, match="no multiple of 16"):
        zoo.Architecture((8, 1), (zoo.Stage(24, 1, True),), 16, (8, 8), 32)
    with pytest.raises(ValueError, match="at least 1"):
        zoo.Architecture((8, 1), (zoo.Stage(16, 0),), 16, (8, 8), 32)


def test_attention_is_what_its_formula_says() -> None:
    """Against sums over pairs of pixels, head by head."""
    torch.manual_seed(0)
    attention = LinearAttention(32, 16).eval()
    x = torch.randn(1, 32, 3, 2)
    found: dict[str, Any] = {}
    attention.proj.register_forward_pre_hook(lambda module, inputs: found.update(heads=inputs[0]))
    with torch.no_grad():
        attention(x)
        qkv = attention.qkv(x)
        scales = torch.cat([qkv, attention.aggreg[0](qkv)], 1).reshape(4, 3, 16, 6).double()
    for head, (q, k, v) in enumerate(scales):
        similarity = q.relu().T @ k.relu()
        expected = (similarity @ v.T / (similarity.sum(1, keepdim=True) + 1e-5)).T
        np.testing.assert_allclose(found["heads"][0, 16 * head : 16 * head + 16].reshape(16, 6), expected, atol=1e-5)


# Checkpoints


@pytest.mark.parametrize("dialect", ["timm", "mit"])
@pytest.mark.parametrize("name", ["b0", "b1", "b2"])
def test_both_dialects(name: str, dialect: str, tmp_path: Path) -> None:
    state = random_state(name, dialect)
    path = tmp_path / "weights.pt"
    torch.save({"state_dict": state} if dialect == "mit" else state, path)
    model = zoo.build(name, 10)
    assert zoo.load_checkpoint(model, path) == dialect
    own = model.state_dict()
    for timm, mit, _ in published(name, 10):
        assert torch.equal(own[timm], state[timm if dialect == "timm" else mit]), timm
    epsilon = {m.epsilon for m in model.modules() if isinstance(m, LinearAttention)}
    assert epsilon == {1e-5 if dialect == "timm" else 1e-15}


def test_safetensors(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch", reason="safetensors is not installed (make test-torch)")
    state = {k: v for k, v in random_state("b0", "timm").items() if not k.endswith("num_batches_tracked")}
    safetensors.save_file(state, tmp_path / "model.safetensors")
    model = zoo.build("b0", 10)
    assert zoo.load_checkpoint(model, tmp_path / "model.safetensors") == "timm"
    assert all(torch.equal(model.state_dict()[k], v) for k, v in state.items())
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 64)
    with pytest.raises(UserError, match="no safetensors file"):
        zoo.load_checkpoint(model, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="cannot read"):
        zoo.load_checkpoint(model, tmp_path / "missing.safetensors")


def test_half_precision_and_a_prefix(tmp_path: Path) -> None:
    state = {f"module.{k}": v.half() if v.ndim else v for k, v in random_state("b0", "timm").items()}
    torch.save({"epoch": 3, "model": state}, tmp_path / "w.pth")
    model = zoo.build("b0", 10)
    zoo.load_checkpoint(model, tmp_path / "w.pth")
    weight = model.state_dict()["stem.in_conv.conv.weight"]
    assert weight.dtype == torch.float32 and torch.equal(weight, state["module.stem.in_conv.conv.weight"].float())


def test_every_problem_at_once(tmp_path: Path) -> None:
    state = random_state("b0", "timm", classes=12)
    del state["head.classifier.0.weight"]
    state["head.extra.weight"] = torch.zeros(3)
    torch.save(state, tmp_path / "w.pth")
    model = zoo.build("b0", 10)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(UserError) as raised:
        zoo.load_checkpoint(model, tmp_path / "w.pth")
    text = str(raised.value)
    assert "head.classifier.0.weight: missing in the file" in text
    assert "head.extra.weight: not in the model" in text
    assert "head.classifier.4.weight: of another shape: 12 x 1280 in the file, 10 x 1280 in the model" in text
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_another_model_is_named(tmp_path: Path) -> None:
    torch.save({"state_dict": random_state("b1", "mit")}, tmp_path / "w.pt")
    with pytest.raises(UserError, match="It holds b1 with 10 classes and 3 input channels") as raised:
        zoo.load_checkpoint(zoo.build("b0", 10), tmp_path / "w.pt")
    assert len(raised.value.problems) <= 3 * (checkpoint.SHOWN + 1)
    assert any("more tensors" in p.name for p in raised.value.problems)


def test_weights_to_train_from(tmp_path: Path) -> None:
    """For other classes the last layer is new; MIT's epsilon, by which gradients are divided, is not taken over."""
    state = random_state("b0", "mit")
    torch.save({"state_dict": state}, tmp_path / "w.pt")
    model = zoo.build("b0", 5)
    last = model.head.classifier[4].weight.clone()
    checkpoint.read_checkpoint(tmp_path / "w.pt").load_into(model, to_train=True)
    assert torch.equal(model.head.classifier[4].weight, last)
    assert torch.equal(model.head.classifier[0].weight, state["head.op_list.2.linear.weight"])
    assert {m.epsilon for m in model.modules() if isinstance(m, LinearAttention)} == {1e-5}
    with pytest.raises(UserError, match="It holds b0 with 10 classes"):
        checkpoint.read_checkpoint(tmp_path / "w.pt").load_into(model)


class Harmful:
    """What a pickle may do: call anything while it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_a_checkpoint_never_executes_code(tmp_path: Path) -> None:
    state: State = {**random_state("b0", "timm"), "stem.in_conv.conv.weight": Harmful(tmp_path / "executed")}
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(UserError, match="no checkpoint of tensors"):
        zoo.load_checkpoint(zoo.build("b0", 10), tmp_path / "w.pth")
    assert not (tmp_path / "executed").exists()
    torch.load(tmp_path / "w.pth", weights_only=False)  # the file does what it is meant to
    assert (tmp_path / "executed").exists()


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    model, path = zoo.build("b0", 10), tmp_path / "w.pth"
    with pytest.raises(UserError, match="cannot read"):
        zoo.load_checkpoint(model, path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match="no checkpoint of tensors"):
        zoo.load_checkpoint(model, path)
    for content, text in (
        ([1], "holds a list"),
        ({"stem.in_conv.conv.weight": "text"}, "more than tensors"),
        ({"conv1.weight": torch.zeros(1)}, "no EfficientViT-B classifier: .* but conv1.weight"),
        ({}, "but nothing"),
    ):
        torch.save(content, path)
        with pytest.raises(UserError, match=text):
            zoo.load_checkpoint(model, path)


def folded_state(proto: onnx.ModelProto) -> State:
    """The state dict of an exported EfficientViT: folded weights, and batch norms that only add the bias."""
    arrays = {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()) for i in proto.graph.initializer}
    state: State = {k: v for k, v in arrays.items() if k.startswith(("stages.", "head."))}
    for node in proto.graph.node:
        if len(node.input) < 2 or not node.input[1].startswith("onnx::"):
            continue
        # /stages/stages.0/blocks/blocks.0/main/depth_conv/conv/Conv: each list says its name twice
        parts = node.name.strip("/").split("/")[:-1]
        module = ".".join(p for i, p in enumerate(parts) if i + 1 == len(parts) or not parts[i + 1].startswith(f"{p}."))
        weight = arrays[node.input[1]]
        if node.op_type == "MatMul":
            state[f"{module}.weight"] = weight.T
            continue
        norm = module.removesuffix(".conv") + ".norm"
        bias, one = arrays[node.input[2]], torch.ones(len(weight))
        state |= {f"{module}.weight": weight, f"{norm}.weight": one, f"{norm}.bias": bias}
        state |= {f"{norm}.running_mean": 0 * one, f"{norm}.running_var": one - 1e-5}
    return state


def test_weights_of_a_trained_timm_model(shared_model: Callable[[str], Path], tmp_path: Path) -> None:
    """timm's own B0, exported: what its initializers are called fits, and the logits are the same."""
    path = shared_model("efficientvit_b0_cifar10_64_fp32.onnx")
    proto = onnx.load(path)
    torch.save(folded_state(proto), tmp_path / "w.pth")
    model = zoo.build("b0", 10)
    assert zoo.load_checkpoint(model, tmp_path / "w.pth") == "timm"
    names = {t: s for t, _, s in published("b0", 10)}
    kept = {i.name: tuple(i.dims) for i in proto.graph.initializer if i.name.startswith(("stages.", "head."))}
    assert len(kept) == 40 and kept.items() <= names.items()
    for image in random_images(8, 64):
        ours = run_torch(model.eval(), image[None])
        theirs = run_onnx(path, image[None])
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


# Export


@pytest.mark.parametrize(("name", "size", "channels"), [("tiny", 32, 3), ("tiny", 28, 1), ("b0", 64, 3)])
def test_export(name: str, size: int, channels: int, tmp_path: Path) -> None:
    model = lively(name, channels=channels).train()
    zoo.export_onnx(model, tmp_path / "m.onnx", size)
    assert model.training and [p.name for p in tmp_path.iterdir()] == ["m.onnx"]
    proto = onnx.load(tmp_path / "m.onnx")
    assert [(o.domain, o.version) for o in proto.opset_import] == [("", 17)]
    assert not {"BatchNormalization", "Dropout"} & {n.op_type for n in proto.graph.node}
    assert "/stages/stages.0/blocks/blocks.0/main/depth_conv/conv/Conv" in {n.name for n in proto.graph.node}
    weights = {i.name for i in proto.graph.initializer}
    assert "stages.0.blocks.0.main.depth_conv.conv.weight" in weights
    assert not any(name.startswith("onnx::") for name in weights)
    for image in random_images(3, size, channels):
        np.testing.assert_allclose(
            run_onnx(tmp_path / "m.onnx", image[None]), run_torch(model.eval(), image[None]), atol=2e-5
        )


def test_export_writes_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, path = zoo.build("tiny", 10), tmp_path / "m.onnx"
    path.write_text("earlier")

    def broken(*arguments: Any, **options: Any) -> None:
        Path(arguments[2]).write_text("half")
        raise RuntimeError("no space")

    with monkeypatch.context() as patch:
        patch.setattr(torch.onnx, "export", broken)
        with pytest.raises(RuntimeError):
            zoo.export_onnx(model, path)
    assert path.read_text() == "earlier" and [p.name for p in tmp_path.iterdir()] == ["m.onnx"]
    for target, size, text in (
        (path, 4, "images of 4 pixels"),
        (tmp_path / "no" / "m.onnx", 32, "does not exist"),
        (tmp_path, 32, "it is a folder"),
    ):
        with pytest.raises(UserError, match=text):
            zoo.export_onnx(model, target, size)


def quantized(hwgen: Command, model: Any, folder: Path, size: int, images: int, *more: str) -> Path:
    """Exported and quantized; fails unless every node is mapped."""
    zoo.export_onnx(model, folder / "float.onnx", size)
    np.save(folder / "x.npy", random_images(images, size, model.channels))
    ran = hwgen(
        "quantize", folder / "float.onnx", "--calib", folder / "x.npy", "-o", folder / "q.onnx", "--json", *more
    )
    assert ran.code == 0, ran.err
    assert ran.json["coverage"]["mapped"] == ran.json["coverage"]["nodes"] > 100
    return folder / "q.onnx"


@pytest.mark.parametrize("epsilon", [1e-5, 1e-15])
def test_an_exported_model_maps_whole(hwgen: Command, tmp_path: Path, epsilon: float) -> None:
    model = lively("tiny")
    for module in model.modules():
        if isinstance(module, LinearAttention):
            module.epsilon = epsilon
    path = quantized(hwgen, model, tmp_path, 32, 4)
    kernels = frontend.load(path).coverage().kernels
    assert kernels["linear_attention"] == 2 and hwgen("inspect", path, "-q").code == 0
    image = np.load(tmp_path / "x.npy")[:1]
    exact = run_torch(model, image)
    assert np.abs(run_onnx(path, image) - exact).max() < 0.2 * np.abs(exact).max()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["b1", "b2", "b3"])
def test_the_large_models_map_whole(hwgen: Command, tmp_path: Path, name: str) -> None:
    quantized(hwgen, lively(name, classes=1000), tmp_path, 224, 1, "--method", "minmax")


# Command line


def test_export_command(hwgen: Command, tmp_path: Path) -> None:
    torch.save(random_state("b0", "timm", classes=7), tmp_path / "w.pth")
    ran = hwgen(
        "zoo", "export", "b0", "--checkpoint", tmp_path / "w.pth", "--size", 32, "-o", tmp_path / "m.onnx", "--json"
    )
    assert ran.code == 0, ran.err
    assert ran.json == {
        "model": "b0",
        "output": str(tmp_path / "m.onnx"),
        "weights": "timm",
        "parameters": zoo.build("b0", 7).parameter_count(),
        "classes": 7,
        "channels": 3,
        "image_size": 32,
        "mean": None,
        "std": None,
    }
    model = zoo.build("b0", 7).eval()
    zoo.load_checkpoint(model, tmp_path / "w.pth")
    image = random_images(1, 32)
    np.testing.assert_allclose(run_onnx(tmp_path / "m.onnx", image), run_torch(model, image), rtol=1e-3, atol=1e-3)
    ran = hwgen("zoo", "export", "tiny", "--classes", 10, "-o", tmp_path / "t.onnx")
    assert ran.code == 0 and "random weights" in ran.out and "logits (1, 10)" in ran.out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["b7", "-o", "m.onnx"], "the zoo has no model b7"),
        (["tiny", "-o", "m.txt"], "not the name of an .onnx file"),
        (["tiny", "-o", "m.onnx", "--checkpoint", "none.pt"], "cannot read none.pt"),
        (["tiny", "-o", "m.onnx", "--size", "5"], "images of 5 pixels"),
    ],
)
def test_wrong_exports(
    hwgen: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = hwgen("zoo", "export", *arguments)
    assert ran.code == 2 and text in ran.err and "Traceback" not in ran.err
    assert not list(tmp_path.iterdir())
