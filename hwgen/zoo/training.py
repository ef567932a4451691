# SPDX-License-Identifier: Apache-2.0
"""Training on small data sets, with or without a teacher; each epoch ends with a checkpoint to resume from.

A run folder holds ``settings.json`` (what the run was asked for), ``state.pt`` (all that the next epoch needs),
``model.pt`` (the weights) and ``metrics.jsonl`` (one line an epoch). All are replaced as a whole. An interrupted run
that is resumed gives the bits of one that was not, on the same machine with the same number of threads.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from hwgen.arrays import replacing
from hwgen.artifact import write_json
from hwgen.errors import UserError
from hwgen.pipeline import Progress, silent
from hwgen.zoo import data
from hwgen.zoo.checkpoint import read_checkpoint, read_file
from hwgen.zoo.data import LabelledImages
from hwgen.zoo.efficientvit import EfficientViT, architecture, build
from hwgen.zoo.teacher import Teacher, onnx_teacher, zoo_teacher

OPTIMIZERS = {"adamw": (2e-3, 0.05), "sgd": (0.1, 5e-4)}
"""Default learning rate (for batches of 128) and weight decay."""
WARM_UP = 0.05
"""Share of all steps in which the learning rate rises to its full value."""
FINAL = 0.01
"""The learning rate at the end, as a share of its full value."""
GRADIENT_NORM = 5.0
"""Gradients are scaled down to this norm: a small attention normalizer makes large ones."""
EVALUATION_BATCH = 256
SETTINGS, STATE, MODEL, METRICS = "settings.json", "state.pt", "model.pt", "metrics.jsonl"


@dataclass(frozen=True)
class TrainOptions:
    """What ``hwgen zoo train`` was asked for."""

    name: str
    data: Path
    output: Path
    test: Path | None = None
    checkpoint: Path | None = None
    """Weights to start from; a last layer for other classes starts at random. None: all do."""
    epochs: int = 10
    batch: int = 128
    optimizer: str = "adamw"
    learning_rate: float | None = None
    """None: the optimizer's default times batch / 128."""
    weight_decay: float | None = None
    label_smoothing: float = 0.1
    ema: float = 0.0
    """Decay of the moving average of the weights, which is then what is tested and kept; 0: none."""
    crop: int = 4
    """Images are shifted by up to so many pixels of 32."""
    flip: bool = True
    """Mirror images, left to right, with even odds."""
    image_size: int | None = None
    channels: int = 3
    images: int | None = None
    """Train on at most so many."""
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    """None: of the training images."""
    teacher: str | None = None
    teacher_onnx: Path | None = None
    temperature: float = 2.0
    distillation: float = 0.5
    """Share of the teacher's part in the loss, 0 to 1."""
    seed: int = 0
    threads: int | None = None
    resume: bool = False

    def check(self) -> None:
        """Raises UserError for an option that is out of its range."""
        architecture(self.name)
        if self.optimizer not in OPTIMIZERS:
            raise UserError(f"--optimizer {self.optimizer} is not possible. Use one of: {', '.join(OPTIMIZERS)}.")
        limits = (
            ("--epochs", self.epochs, 1, 100_000),
            ("--batch", self.batch, 2, 65_536),
            ("--lr", self.learning_rate, 1e-9, 100.0),
            ("--weight-decay", self.weight_decay, 0.0, 10.0),
            ("--label-smoothing", self.label_smoothing, 0.0, 0.9),
            ("--ema", self.ema, 0.0, 0.99999),
            ("--crop", self.crop, 0, 16),
            ("--size", self.image_size, 8, 1024),
            ("--channels", self.channels, 1, 64),
            ("--images", self.images, 2, 1 << 31),
            ("--temperature", self.temperature, 0.1, 100.0),
            ("--distillation", self.distillation, 0.0, 1.0),
            ("--seed", self.seed, 0, (1 << 31) - 1),
            ("--threads", self.threads, 1, 1024),
        )
        for option, value, low, high in limits:
            if value is not None and not low <= value <= high:
                raise UserError(f"{option} {value} is not possible. Give {low} to {high}.")
        if self.teacher is not None and self.teacher_onnx is not None:
            raise UserError("--teacher and --teacher-onnx are both given. Give one.")
        if (self.mean is None) != (self.std is None):
            raise UserError("--mean and --std belong together: give both or neither.")
        for what, values in (("--mean", self.mean), ("--std", self.std)):
            if values is not None and (len(values) != self.channels or not np.isfinite(values).all()):
                raise UserError(
                    f"{what} has {len(values)} values, the model {self.channels} channels. Give one a channel."
                )
        if self.std is not None and min(self.std) <= 0:
            raise UserError(f"--std {self.std} is not usable. Give numbers above 0.")


def train(options: TrainOptions, progress: Progress = silent) -> dict[str, Any]:
    """Train, or go on where the run in ``options.output`` ended, and return its report.

    ``{"model", "run", "parameters", "classes", "image_size", "mean", "std", "epochs": [metrics of each],
    "test_accuracy": of the last or null}``. Raises UserError for whatever is the user's to mend; KeyboardInterrupt,
    with a message how to resume, on Ctrl-C.
    """
    options.check()
    _check_folder(options)
    try:
        with _deterministic(options.threads):
            run = _Run(options, progress)
            if options.resume:
                run.restore()
            else:
                _make_folder(options)
            while run.epoch < options.epochs:
                run.advance()
                run.save()
    except KeyboardInterrupt:
        if not (options.output / SETTINGS).is_file():
            raise
        raise KeyboardInterrupt(
            f"interrupted; {options.output} holds all finished epochs. Run the same command again with --resume."
        ) from None
    return run.report()


@contextmanager
def _deterministic(threads: int | None) -> Iterator[None]:
    """The same operations in the same order each time; the settings of the process come back afterwards."""
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,
        torch.get_num_threads(),
    )
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # a check for others' bugs, and slow
    torch.set_num_threads(threads or before[2])
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.utils.deterministic.fill_uninitialized_memory = before[1]
        torch.set_num_threads(before[2])


def _settings(options: TrainOptions) -> dict[str, Any]:
    """What must be the same in a resumed run."""
    fields = dataclasses.asdict(options)
    kept = {k: str(v) if isinstance(v, Path) else v for k, v in fields.items() if k not in ("output", "resume")}
    return {**kept, "torch": torch.__version__}


def _check_folder(options: TrainOptions) -> None:
    """Raises UserError unless the run folder is new, or that of the run to resume."""
    folder, stated = options.output, options.output / SETTINGS
    if not options.resume:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            more = "Add --resume to go on with it" if stated.is_file() else "It holds something else"
            raise UserError(f"{folder} is there already. {more}, or choose another folder.")
        return
    if not stated.is_file():
        raise UserError(f"{folder} holds no run to resume. Leave out --resume.")
    try:
        before = json.loads(stated.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {stated}: {error}. Start again in another folder.") from error
    now = json.loads(json.dumps(_settings(options)))
    changed = [k for k in now if k not in before or before[k] != now[k]]
    if changed:
        texts = ", ".join(f"{k} was {before.get(k)}, is {now[k]}" for k in changed)
        raise UserError(f"{folder} was started with other settings: {texts}. Give the same, or another folder.")


def _make_folder(options: TrainOptions) -> None:
    try:
        options.output.mkdir(parents=True, exist_ok=True)
        write_json(options.output / SETTINGS, _settings(options))
    except OSError as error:
        raise UserError(
            f"cannot write into {options.output}: {error.strerror or error}. Choose another folder."
        ) from error


class _Run:
    """The state of a run: network, optimizer, average, random numbers, metrics of the epochs so far."""

    def __init__(self, options: TrainOptions, progress: Progress) -> None:
        self.options, self.progress = options, progress
        self.size = options.image_size or architecture(options.name).image_size
        shape = (options.channels, self.size, self.size)
        self.images = data.load(options.data, shape, options.images, progress)
        self.test = None if options.test is None else data.load(options.test, shape, None, progress)
        self.classes = self._classes()
        if len(self.images) < options.batch:
            raise UserError(f"{len(self.images)} training images make no batch of {options.batch}. Give --batch.")
        mean, std = (options.mean, options.std) if options.mean and options.std else self.images.statistics()
        self.mean, self.std = mean, std
        self.teacher = self._teacher()
        torch.manual_seed(options.seed)
        self.random = torch.Generator().manual_seed(options.seed)
        self.model = build(options.name, self.classes, options.channels)
        if options.checkpoint is not None:
            read_checkpoint(options.checkpoint).load_into(self.model, to_train=True)
        self.model.to(memory_format=torch.channels_last)
        self.average = _average(self.model, options.ema)
        self.steps = len(self.images) // options.batch
        self.full_rate, decay = OPTIMIZERS[options.optimizer]
        self.full_rate = options.learning_rate or self.full_rate * options.batch / 128
        decay = decay if options.weight_decay is None else options.weight_decay
        groups = _parameter_groups(self.model, decay)
        if options.optimizer == "sgd":
            self.optimizer = torch.optim.SGD(groups, self.full_rate, momentum=0.9, nesterov=True)
        else:
            self.optimizer = torch.optim.AdamW(groups, self.full_rate)
        self.epoch = 0
        self.history: list[dict[str, Any]] = []
        self.hash = self.images.sha256()

    def _classes(self) -> int:
        classes = self.images.classes
        if classes < 2:
            raise UserError(f"{self.options.data} has {classes} class. Training needs 2 or more.")
        if self.test is not None:
            if self.images.names and self.test.names and self.images.names != self.test.names:
                raise UserError(f"the classes of {self.options.data} and {self.options.test} differ. Give the same.")
            if int(self.test.labels.max()) >= classes:
                raise UserError(f"{self.options.test} has label {self.test.labels.max()}, training {classes} classes.")
        return classes

    def _teacher(self) -> Teacher | None:
        options = self.options
        if options.teacher is not None:
            return zoo_teacher(options.teacher, self.classes, options.channels, self.size)
        if options.teacher_onnx is not None:
            return onnx_teacher(options.teacher_onnx, self.classes, options.channels)
        return None

    # State

    def restore(self) -> None:
        """Go on where state.pt ends, if it is there; raises UserError where it does not fit."""
        path = self.options.output / STATE
        if not path.is_file():
            return
        state = read_file(path)
        if state.get("data_sha256") != self.hash:
            raise UserError(f"{self.options.data} has changed since {path} was written. Start again in another folder.")
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.average is not None:
                self.average.load_state_dict(state["average"])
            self.random.set_state(state["random"])
            torch.set_rng_state(state["torch_random"])
            self.epoch, self.history = state["epoch"], state["history"]
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            raise UserError(f"{path} is damaged ({error}). Start again in another folder.") from error

    def save(self) -> None:
        """Write the results, then the state: a state is never newer than they are."""
        folder = self.options.output
        model = {
            "state_dict": {k: v.contiguous() for k, v in self.trained().state_dict().items()},
            "name": self.options.name,
            "classes": self.classes,
            "channels": self.options.channels,
            "image_size": self.size,
            "mean": list(self.mean),
            "std": list(self.std),
            "class_names": None if self.images.names is None else list(self.images.names),
            "epochs": self.epoch,
        }
        state = {
            "model": self.model.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": self.random.get_state(),
            "torch_random": torch.get_rng_state(),
            "epoch": self.epoch,
            "history": self.history,
            "data_sha256": self.hash,
        }
        with replacing(folder / MODEL) as written:
            torch.save(model, written)
        with replacing(folder / METRICS) as written:
            written.write_text("".join(json.dumps(line) + "\n" for line in self.history), encoding="utf-8")
        with replacing(folder / STATE) as written:
            torch.save(state, written)

    def trained(self) -> EfficientViT:
        """The network whose weights count: the average, if there is one."""
        return self.model if self.average is None else self.average.module

    def report(self) -> dict[str, Any]:
        """What ``train`` returns."""
        return {
            "model": self.options.name,
            "run": str(self.options.output),
            "parameters": self.model.parameter_count(),
            "classes": self.classes,
            "image_size": self.size,
            "mean": list(self.mean),
            "std": list(self.std),
            "epochs": self.history,
            "test_accuracy": self.history[-1]["test_accuracy"],
        }

    # One epoch

    def advance(self) -> None:
        """One epoch, and its line of metrics."""
        options, start = self.options, time.perf_counter()
        self.model.train()
        losses, right = [], 0
        for step, (x, labels) in enumerate(self._batches()):
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rate(self.epoch * self.steps + step)
            logits = self.model(x)
            loss = functional.cross_entropy(logits, labels, label_smoothing=options.label_smoothing)
            if self.teacher is not None:
                soft = distillation_loss(logits, self.teacher(x), options.temperature)
                loss = (1 - options.distillation) * loss + options.distillation * soft
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                raise UserError(
                    f"the loss is {losses[-1]} in epoch {self.epoch + 1}. Lower --lr; --resume cannot help."
                )
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_NORM)
            self.optimizer.step()
            if self.average is not None:
                self.average.update_parameters(self.model)
            right += int((logits.argmax(1) == labels).sum())
            self.progress(f"epoch {self.epoch + 1} of {options.epochs}", step + 1, self.steps)
        self.epoch += 1
        self.history.append(
            {
                "epoch": self.epoch,
                "loss": float(np.mean(losses)),
                "train_accuracy": right / (self.steps * options.batch),
                "test_accuracy": None if self.test is None else self.accuracy(self.test),
                "learning_rate": self.optimizer.param_groups[0]["lr"],
                "seconds": round(time.perf_counter() - start, 3),
            }
        )

    def learning_rate(self, step: int) -> float:
        """Of one step, from 0: a linear rise, then half a cosine (Loshchilov and Hutter, ICLR 2017)."""
        total = self.options.epochs * self.steps
        rise = max(1, round(WARM_UP * total))
        if step < rise:
            return self.full_rate * (step + 1) / rise
        done = (step - rise) / max(1, total - rise)
        return self.full_rate * (FINAL + (1 - FINAL) * 0.5 * (1 + math.cos(math.pi * done)))

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Augmented, normalized images (N, C, H, W) and labels of one epoch; the last part of a batch is left out."""
        images, labels = torch.from_numpy(self.images.images), torch.from_numpy(self.images.labels)
        order = torch.randperm(len(labels), generator=self.random)
        shift = round(self.options.crop * self.size / 32)
        for step in range(self.steps):
            index = order[step * self.options.batch : (step + 1) * self.options.batch]
            yield self.normalize(augment(images[index], shift, self.options.flip, self.random)), labels[index]

    def normalize(self, images: Tensor) -> Tensor:
        """uint8 (N, H, W, C) to what the network sees, (N, C, H, W)."""
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        return ((images.float() / 255 - mean) / std).permute(0, 3, 1, 2)

    def accuracy(self, labelled: LabelledImages) -> float:
        """Share of right classes, 0 to 1."""
        model = self.trained().eval()
        right = 0
        with torch.no_grad():
            for first in range(0, len(labelled), EVALUATION_BATCH):
                part = slice(first, first + EVALUATION_BATCH)
                found = model(self.normalize(torch.from_numpy(labelled.images[part]))).argmax(1)
                right += int((found == torch.from_numpy(labelled.labels[part])).sum())
                self.progress(f"testing epoch {self.epoch} of {self.options.epochs}", first, len(labelled))
        return right / len(labelled)


def distillation_loss(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(teacher / T), softmax(logits / T)), mean of the batch (Hinton et al., arXiv 1503.02531)."""
    soft = functional.log_softmax(teacher / temperature, 1)
    found = functional.log_softmax(logits / temperature, 1)
    return functional.kl_div(found, soft, reduction="batchmean", log_target=True) * temperature**2


def augment(images: Tensor, shift: int, flip: bool, random: torch.Generator) -> Tensor:
    """(N, H, W, C) bytes, each moved by up to ``shift`` pixels (its edge repeated) and mirrored with even odds."""
    count, height, width, _ = images.shape
    down, right = torch.randint(-shift, shift + 1, (2, count, 1), generator=random)
    rows = (torch.arange(height) + down).clamp(0, height - 1)
    columns = (torch.arange(width) + right).clamp(0, width - 1)
    if flip:
        mirrored = torch.rand(count, 1, generator=random) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    return images[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


def _parameter_groups(model: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weight decay for weights only: norms and biases have none."""
    wide = [p for p in model.parameters() if p.ndim > 1]
    return [
        {"params": wide, "weight_decay": decay},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _average(model: EfficientViT, decay: float) -> AveragedModel | None:
    if not decay:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
