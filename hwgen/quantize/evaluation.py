# SPDX-License-Identifier: Apache-2.0
"""Labelled images, and how well a model does on them: best class and noise of its output, by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from hwgen.errors import UserError
from hwgen.frontend.onnx_file import OnnxGraph
from hwgen.quantize import calibration
from hwgen.quantize.images import Images, Preprocessing, open_images, spread

Progress = Callable[[str, int, int], None]
GIVE = "Give a folder with one subfolder of images for each class, or a .npz file with label (N integers)"


@dataclass(frozen=True, eq=False)
class Labelled:
    """Images and the index of each one's class."""

    images: Images
    labels: npt.NDArray[np.int64]

    def spread(self, limit: int) -> Labelled:
        """At most ``limit`` of them, evenly spread."""
        return Labelled(self.images.first(limit), self.labels[spread(self.images.count, limit)])

    def check(self, classes: int) -> None:
        """Raises UserError for a label that is none of ``classes``."""
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= classes:
            raise UserError(
                f"the images have classes {low} to {high}, the model has {classes} outputs. Give images of its classes."
            )


def open_labelled(path: Path, shape: tuple[int, int, int], preprocessing: Preprocessing) -> Labelled:
    """Labelled images for a model that sees ``shape`` (C, H, W).

    A .npz file as :func:`open_images` reads it, with ``label`` (N integers); or a folder with a subfolder for each
    class, whose index is its place in the order of the names. Raises UserError for anything else.
    """
    if path.is_dir():
        return _from_folders(path, shape, preprocessing)
    if path.exists() and path.suffix.lower() != ".npz":
        raise UserError(f"{path} has no labels. {GIVE}.")
    images = open_images(path, shape, preprocessing)
    with np.load(path, allow_pickle=False) as loaded:
        if "label" not in loaded.files:
            raise UserError(f"{path} has no array named label. {GIVE}.")
        try:
            labels = loaded["label"]
        except Exception as error:  # for a damaged file NumPy raises whatever zipfile and others do
            raise UserError(f"cannot read label of {path} ({error}). {GIVE}.") from error
    if labels.dtype.kind not in "iu" or labels.shape != (images.count,):
        raise UserError(
            f"{path} has {images.count} images, but its label is {labels.dtype} {labels.shape}. "
            "Give one integer for each image."
        )
    return Labelled(images, labels.astype(np.int64))


def _from_folders(path: Path, shape: tuple[int, int, int], preprocessing: Preprocessing) -> Labelled:
    folders = sorted(p for p in path.iterdir() if p.is_dir())
    if not folders:
        raise UserError(f"{path} has no subfolders. {GIVE}.")
    classes = [open_images(folder, shape, preprocessing) for folder in folders]
    places = list(chain.from_iterable(((c, i) for i in range(images.count)) for c, images in enumerate(classes)))
    every = Images(len(places), lambda i: classes[places[i][0]].image(places[i][1]))
    return Labelled(every, np.array([label for label, _ in places], np.int64))


def top1(model: onnx.ModelProto, input: str, data: Labelled, say: Callable[[int], None]) -> float:
    """Share of the images whose class is the model's best one."""
    best = [int(y.argmax()) for y, *_ in calibration.run(model, input, data.images, say)]
    return float((np.array(best) == data.labels).mean())


@dataclass(frozen=True)
class Measured:
    """Of one model: the share of labelled images whose class is the best one; the energy of the output's error over the
    energy of the float output, which needs no labels."""

    top1: float
    noise: float


class Meter:
    """Measures quantized models against one float model: ``data`` for the best class, ``some`` images for the noise."""

    def __init__(self, source: OnnxGraph, some: Images, data: Labelled, progress: Progress) -> None:
        self.some, self.data, self._input = some, data, source.input
        self._exact = [y.astype(np.float64) for (y,) in calibration.run(source.model, self._input, some, _quiet)]
        what = "accuracy of the float model"
        self.float_top1 = top1(source.model, self._input, data, lambda i: progress(what, i, data.images.count))

    def measure(self, model: onnx.ModelProto, say: Callable[[int], None] | None = None) -> Measured:
        """Both figures, in one session."""
        some, count = self.some, self.some.count
        both = Images(
            count + self.data.images.count, lambda i: some.image(i) if i < count else self.data.images.image(i - count)
        )
        outputs = [y for (y,) in calibration.run(model, self._input, both, say or _quiet)]
        best = np.array([int(y.argmax()) for y in outputs[count:]])
        return Measured(float((best == self.data.labels).mean()), self._noise(outputs[:count]))

    def noise(self, model: onnx.ModelProto) -> float:
        """The noise alone."""
        return self._noise([y for (y,) in calibration.run(model, self._input, self.some, _quiet)])

    def loss(self, top1: float) -> float:
        """Points (of 100) below the float model."""
        return 100 * (self.float_top1 - top1)

    def _noise(self, outputs: list[npt.NDArray[Any]]) -> float:
        signal = sum(float((exact**2).sum()) for exact in self._exact)
        error = sum(float(((exact - y) ** 2).sum()) for exact, y in zip(self._exact, outputs, strict=True))
        return error / signal if signal > 0 else 0.0


def _quiet(index: int) -> None:
    return
