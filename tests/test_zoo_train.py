# SPDX-License-Identifier: Apache-2.0
"""Training of the zoo's models: data, augmentation, resuming bit for bit, distillation, the command."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import Ran
from hwgen.errors import UserError

torch = pytest.importorskip("torch", reason="PyTorch is not installed (make test-torch)")
onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
from hwgen import zoo  # noqa: E402
from hwgen.zoo import data, training  # noqa: E402
from hwgen.zoo.training import TrainOptions, augment, distillation_loss  # noqa: E402

pytestmark = pytest.mark.torch
torch.set_num_threads(1)

Command = Callable[..., Ran]
SHAPE = (3, 16, 16)
CLASSES = 4


def bright_images(count: int = 64, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise (N, 16, 16, 3), brighter with the number of the class, and the labels."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    images = random.integers(0, 60, (count, 16, 16, 3)) + 60 * labels[:, None, None, None]
    return images.astype(np.uint8), labels


@pytest.fixture
def bright(tmp_path: Path) -> Path:
    images, labels = bright_images()
    np.savez(tmp_path / "bright.npz", images=images, labels=labels)
    return tmp_path / "bright.npz"


def options(path: Path, run: Path, **more: Any) -> TrainOptions:
    given = {"test": path, "epochs": 3, "batch": 16, "image_size": 16, "threads": 1, **more}
    return TrainOptions("tiny", path, run, **given)


def interrupting(after: int) -> Callable[[str, int, int], None]:
    """A Progress that presses Ctrl-C the ``after``-th time that it is called."""
    calls = iter(range(after))

    def progress(what: str, done: int, total: int) -> None:
        if next(calls, None) is None:
            raise KeyboardInterrupt

    return progress


def content(run: Path) -> dict[str, Any]:
    """state.pt and model.pt without the seconds that epochs took."""
    state = torch.load(run / "state.pt", weights_only=True)
    for line in state["history"]:
        del line["seconds"]
    return {"state": state, "model": torch.load(run / "model.pt", weights_only=True)}


def same(a: Any, b: Any) -> bool:
    """Equal bit for bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(torch.equal(a, b)) if isinstance(a, torch.Tensor) else bool(a == b)


# Data


def test_images_of_folders(tmp_path: Path) -> None:
    images, labels = bright_images(8)
    for image, label in zip(images, labels, strict=True):
        folder = tmp_path / "data" / f"class{label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{len(list(folder.iterdir()))}.png")
    found = data.load(tmp_path / "data", SHAPE)
    assert found.names == ("class0", "class1", "class2", "class3") and found.classes == 4
    assert found.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert np.array_equal(found.images[2:4], images[[1, 5]])
    assert data.load(tmp_path / "data", SHAPE, 4).labels.tolist() == [0, 1, 2, 3]
    assert data.load(tmp_path / "data", (1, 8, 8)).images.shape == (8, 8, 8, 1)
    (tmp_path / "data" / "empty").mkdir()
    with pytest.raises(UserError, match="holds no images"):
        data.load(tmp_path / "data", SHAPE)


def test_images_as_jpeg(tmp_path: Path) -> None:
    images, labels = bright_images(5)
    parts = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=95)
        parts.append(file.getvalue())
    arrays: dict[str, Any] = {
        "jpeg": np.frombuffer(b"".join(parts), np.uint8),
        "offset": np.cumsum([0, *map(len, parts)]),
        "label": labels,
        "classes": np.array(["a", "b", "c", "d"]),
    }
    np.savez(tmp_path / "d.npz", **arrays)
    found = data.load(tmp_path / "d.npz", SHAPE)
    assert found.names == ("a", "b", "c", "d") and found.labels.tolist() == labels.tolist()
    expected = np.stack([np.asarray(Image.open(io.BytesIO(p))) for p in parts])
    assert np.array_equal(found.images, expected)
    assert len(data.load(tmp_path / "d.npz", SHAPE, 3)) == 3
    np.savez(tmp_path / "d.npz", **{**arrays, "label": labels[:-1]})
    with pytest.raises(UserError, match="5 images and 4 labels"):
        data.load(tmp_path / "d.npz", SHAPE)


def test_statistics(bright: Path) -> None:
    found = data.load(bright, SHAPE)
    mean, std = found.statistics()
    pixels = found.images.reshape(-1, 3) / 255
    np.testing.assert_allclose(mean, pixels.mean(0), atol=1e-4)
    np.testing.assert_allclose(std, pixels.std(0), atol=1e-4)


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"images": np.zeros((2, 16, 16, 3), np.uint8)}, "has no labels"),
        ({"images": np.zeros((2, 16, 16, 3), np.uint8), "labels": np.array([0.0, 1.0])}, "has no labels"),
        ({"images": np.zeros((2, 16, 16, 3), np.uint8), "labels": np.array([0, -1])}, "label below 0"),
        ({"images": np.zeros((2, 16, 16, 3), np.uint8), "labels": np.array([0, 1, 1])}, "2 images and 3 labels"),
        ({"images": np.zeros((2, 8, 16, 3), np.uint8), "labels": np.array([0, 1])}, "Give --size or --channels"),
        ({"images": np.zeros((2, 16, 16, 3)), "labels": np.array([0, 1])}, "the model needs uint8"),
        ({"pixels": np.zeros(3), "labels": np.array([0, 1])}, "holds pixels, labels"),
        (
            {"images": np.zeros((2, 16, 16, 3), np.uint8), "labels": np.array([0, 5]), "classes": np.array(["a", "b"])},
            "names only 2 classes",
        ),
    ],
)
def test_wrong_arrays(tmp_path: Path, arrays: dict[str, np.ndarray], text: str) -> None:
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(UserError, match=text):
        data.load(tmp_path / "d.npz", SHAPE)


def test_wrong_paths(tmp_path: Path) -> None:
    for name, text in (("none.npz", "does not exist"), ("x.txt", "neither a folder"), (".", "no subfolders")):
        (tmp_path / "x.txt").write_text("x")
        with pytest.raises(UserError, match=text):
            data.load(tmp_path / name, SHAPE)
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(UserError, match="cannot read"):
        data.load(tmp_path / "bad.npz", SHAPE)


# Parts


def test_augmentation() -> None:
    images = torch.arange(2 * 6 * 5 * 3, dtype=torch.uint8).reshape(2, 6, 5, 3)
    random = torch.Generator().manual_seed(0)
    assert torch.equal(augment(images, 0, False, random), images)
    mirrored = [torch.equal(augment(images, 0, True, random)[0], images[0].flip(1)) for _ in range(64)]
    assert 16 < sum(mirrored) < 48
    for _ in range(32):
        moved = augment(images, 2, False, random)
        padded = np.pad(images[1].numpy(), ((2, 2), (2, 2), (0, 0)), "edge")
        assert any(np.array_equal(moved[1], padded[y : y + 6, x : x + 5]) for y in range(5) for x in range(5))


def test_distillation_loss() -> None:
    """By hand, and zero for equal logits."""
    student, teacher = torch.randn(5, 7, dtype=torch.float64), torch.randn(5, 7, dtype=torch.float64)
    p, q = (np.exp(x / 3) / np.exp(x / 3).sum(1, keepdims=True) for x in (teacher.numpy(), student.numpy()))
    expected = 9 * (p * np.log(p / q)).sum(1).mean()
    assert math.isclose(float(distillation_loss(student, teacher, 3.0)), expected, rel_tol=1e-12)
    assert abs(float(distillation_loss(student, student + 2.0, 3.0))) < 1e-12


# Runs


@pytest.mark.parametrize("more", [{"ema": 0.9}, {"optimizer": "sgd", "flip": False}], ids=["adamw", "sgd"])
def test_a_resumed_run_has_the_same_bits(bright: Path, tmp_path: Path, more: dict[str, Any]) -> None:
    whole = zoo.train(options(bright, tmp_path / "whole", **more))
    # 5 calls an epoch: 4 steps and the test
    with pytest.raises(KeyboardInterrupt, match="--resume"):
        zoo.train(options(bright, tmp_path / "parts", **more), interrupting(7))
    assert len((tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()) == 1
    torch.rand(3)  # random numbers of others do not matter
    with pytest.raises(KeyboardInterrupt):
        zoo.train(options(bright, tmp_path / "parts", resume=True, **more), interrupting(8))
    resumed = zoo.train(options(bright, tmp_path / "parts", resume=True, **more))
    assert same(content(tmp_path / "whole"), content(tmp_path / "parts"))
    assert len(whole["epochs"]) == len(resumed["epochs"]) == 3
    # Another seed gives other bits, so the comparison can fail.
    zoo.train(options(bright, tmp_path / "other", **more, seed=1))
    assert not same(content(tmp_path / "whole"), content(tmp_path / "other"))
    # A finished run has nothing left to do.
    assert zoo.train(options(bright, tmp_path / "parts", resume=True, **more)) == resumed
    assert sorted(p.name for p in (tmp_path / "parts").iterdir()) == [
        "metrics.jsonl",
        "model.pt",
        "settings.json",
        "state.pt",
    ]


def test_it_learns(bright: Path, tmp_path: Path) -> None:
    report = zoo.train(options(bright, tmp_path / "run", epochs=30, flip=False, crop=0))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines == report["epochs"] and [line["epoch"] for line in lines] == list(range(1, 31))
    assert report["test_accuracy"] > 0.9 and lines[-1]["loss"] < lines[0]["loss"]
    rates = [line["learning_rate"] for line in lines]
    assert rates[2:] == sorted(rates[2:], reverse=True) and rates[-1] < 0.05 * max(rates)
    model = zoo.build("tiny", CLASSES)
    assert zoo.load_checkpoint(model, tmp_path / "run" / "model.pt") == "timm"
    images, labels = bright_images()
    mean, std = (np.array(report[k], np.float32) for k in ("mean", "std"))
    x = torch.from_numpy((images.astype(np.float32) / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.no_grad():
        accuracy = float((model.eval()(x).argmax(1).numpy() == labels).mean())
    assert accuracy == report["test_accuracy"]


def test_the_teacher_teaches(bright: Path, tmp_path: Path) -> None:
    """With the whole loss the teacher's, the student learns what the labels, which are wrong, do not say."""
    teacher = zoo.train(options(bright, tmp_path / "first", epochs=20, flip=False, crop=0))
    assert teacher["test_accuracy"] > 0.9
    checkpoint = tmp_path / "first" / "model.pt"
    from hwgen.zoo.export import ExportOptions, export

    export(ExportOptions("tiny", tmp_path / "teacher.onnx", checkpoint, image_size=24))
    images, labels = bright_images()
    wrong = tmp_path / "wrong.npz"
    np.savez(wrong, images=images, labels=np.random.default_rng(0).permutation(labels))
    normalized = {"mean": tuple(teacher["mean"]), "std": tuple(teacher["std"])}
    for kind in ({"teacher": f"tiny:{checkpoint}"}, {"teacher_onnx": tmp_path / "teacher.onnx"}):
        given = options(
            wrong, tmp_path / next(iter(kind)), **normalized, **kind, test=bright, distillation=1.0, epochs=20
        )
        assert zoo.train(given)["test_accuracy"] > 0.7, kind


def test_the_shared_model_can_teach(shared_model: Callable[[str], Path]) -> None:
    from hwgen.zoo.teacher import onnx_teacher

    path = shared_model("efficientvit_b0_cifar10_64_fp32.onnx")
    logits = onnx_teacher(path, 10, 3)(torch.zeros(3, 3, 32, 32))
    assert logits.shape == (3, 10) and torch.equal(logits[0], logits[2])
    with pytest.raises(UserError, match="knows 10 classes, the data have 4"):
        onnx_teacher(path, 4, 3)


def test_start_from_a_checkpoint(bright: Path, tmp_path: Path) -> None:
    """All but the last layer comes from the checkpoint, where that has other classes."""
    torch.manual_seed(3)
    before = zoo.build("tiny", 9)
    torch.save(before.state_dict(), tmp_path / "w.pth")
    zoo.train(options(bright, tmp_path / "run", checkpoint=tmp_path / "w.pth", epochs=1, learning_rate=1e-9))
    after = torch.load(tmp_path / "run" / "model.pt", weights_only=True)["state_dict"]
    for key, value in before.state_dict().items():
        if "running" not in key and "tracked" not in key and not key.startswith("head.classifier.4."):
            assert torch.allclose(value, after[key], atol=1e-6), key
    assert after["head.classifier.4.weight"].shape[0] == CLASSES


def test_a_run_does_not_change_the_process(bright: Path, tmp_path: Path) -> None:
    torch.set_num_threads(2)
    try:
        zoo.train(options(bright, tmp_path / "run", epochs=1, threads=1))
        assert torch.get_num_threads() == 2 and not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.set_num_threads(1)


def test_a_run_is_not_mixed_up(bright: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    zoo.train(options(bright, run, epochs=1))
    with pytest.raises(UserError, match=r"is there already. Add --resume"):
        zoo.train(options(bright, run, epochs=1))
    with pytest.raises(UserError, match="epochs was 1, is 2"):
        zoo.train(options(bright, run, epochs=2, resume=True))
    with pytest.raises(UserError, match="holds no run to resume"):
        zoo.train(options(bright, tmp_path / "none", resume=True))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="It holds something else"):
        zoo.train(options(bright, tmp_path / "full"))
    images, labels = bright_images(seed=1)
    np.savez(bright, images=images, labels=labels)
    with pytest.raises(UserError, match="has changed since"):
        zoo.train(options(bright, run, epochs=1, resume=True))
    (run / "state.pt").write_bytes((run / "state.pt").read_bytes()[:5000])
    with pytest.raises(UserError, match="no checkpoint of tensors"):
        zoo.train(options(bright, run, epochs=1, resume=True))


def test_a_loss_that_is_not_finite(bright: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        training.functional, "cross_entropy", lambda *a, **k: torch.tensor(math.nan, requires_grad=True)
    )
    with pytest.raises(UserError, match=r"the loss is nan in epoch 1\. Lower --lr"):
        zoo.train(options(bright, tmp_path / "run"))


def test_a_write_that_fails_keeps_the_last_epoch(bright: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, saved = tmp_path / "run", torch.save
    calls = []

    def failing(what: Any, path: Path) -> None:
        calls.append(path)
        saved(what, path)
        if len(calls) == 4:  # state.pt of the second epoch
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", failing)
    with pytest.raises(UserError, match="No space left"):
        zoo.train(options(bright, run))
    monkeypatch.undo()
    assert not list(run.glob("*.new"))
    zoo.train(options(bright, run, resume=True))
    zoo.train(options(bright, tmp_path / "whole"))
    assert same(content(run), content(tmp_path / "whole"))


# Command line


def test_train_command(hwgen: Command, bright: Path, tmp_path: Path) -> None:
    arguments = ["zoo", "train", "tiny", "--data", bright, "--test", bright, "--size", 16, "--batch", 16, "--epochs", 2]
    ran = hwgen(*arguments, "-o", tmp_path / "run", "--threads", 1, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["classes"] == CLASSES and len(ran.json["epochs"]) == 2
    ran = hwgen(*arguments, "-o", tmp_path / "run", "--threads", 1, "--resume")
    assert ran.code == 0 and "hwgen zoo export tiny --checkpoint" in ran.out and "--mean 0." in ran.out
    model = tmp_path / "run" / "model.pt"
    ran = hwgen("zoo", "export", "tiny", "--checkpoint", model, "-o", tmp_path / "m.onnx", "--json")
    assert ran.code == 0 and ran.json["image_size"] == 16 and ran.json["mean"], ran.err


def test_ctrl_c(hwgen: Command, bright: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["zoo", "train", "tiny", "--data", bright, "--size", 16, "--batch", 16, "--epochs", 3, "--threads", 1]
    count, original = iter(range(6)), training.augment

    def augment(*given: Any) -> Any:
        if next(count, None) is None:
            raise KeyboardInterrupt
        return original(*given)

    monkeypatch.setattr(training, "augment", augment)
    ran = hwgen(*arguments, "-o", tmp_path / "run")
    assert ran.code == 130 and "Run the same command again with --resume" in ran.err
    monkeypatch.undo()
    assert hwgen(*arguments, "-o", tmp_path / "run", "--resume").code == 0
    assert hwgen(*arguments, "-o", tmp_path / "whole").code == 0
    assert same(content(tmp_path / "run"), content(tmp_path / "whole"))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--epochs", "0"], "--epochs 0 is not possible"),
        (["--optimizer", "lion"], "Use one of: adamw, sgd"),
        (["--distillation", "1.5"], "--distillation 1.5"),
        (["--batch", "128"], "64 training images make no batch of 128"),
        (["--mean", "0.5"], "--mean and --std belong together"),
        (["--mean", "0.5", "--std", "0.5"], "--mean has 1 values, the model 3 channels"),
        (["--size", "20"], "Give --size or --channels"),
        (["--teacher", "b0"], "is not NAME:CHECKPOINT"),
        (["--teacher", "b0:none.pt"], "cannot read none.pt"),
        (["--teacher", "b0:x.pt", "--teacher-onnx", "x.onnx"], "Give one"),
        (["--teacher-onnx", "none.onnx"], "none.onnx does not exist"),
        (["--teacher-onnx", "bright.npz"], "cannot load the teacher"),
        (["--test", "none.npz"], "none.npz does not exist"),
        (["--checkpoint", "none.pt"], "cannot read none.pt"),
    ],
)
def test_wrong_training(
    hwgen: Command, bright: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], text: str
) -> None:
    monkeypatch.chdir(bright.parent)
    given = ["--data", bright, "--size", 16, "--batch", 16, *arguments]
    ran = hwgen("zoo", "train", "tiny", "-o", "run", *given)
    assert ran.code == 2 and text in ran.err and "Traceback" not in ran.err
    assert not (bright.parent / "run").exists()
