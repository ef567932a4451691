# SPDX-License-Identifier: Apache-2.0
"""Labelled images for training: all in memory as bytes, so for small data sets."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.errors import UserError
from hwgen.pipeline import Progress, silent
from hwgen.quantize.images import check_decodable, decode, jpeg_parts
from hwgen.runtime import InputError, image_files

BYTES_MAX = 1 << 33
GIVE = (
    "Give a folder with a subfolder of images for each class, or a .npz file with labels and either images "
    "(uint8 (N, H, W, C)) or JPEG bytes (jpeg, offset)"
)


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images uint8 (N, H, W, C), labels int64 (N,) from 0, and what the classes are called, if the data say so."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    names: tuple[str, ...] | None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.names) if self.names else int(self.labels.max()) + 1

    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel, of bytes / 255, rounded to four digits."""
        channels = range(self.images.shape[-1])
        bins = np.zeros((len(channels), 256))
        for first in range(0, len(self), 256):  # in parts: bincount makes integers of 64 bit
            part = self.images[first : first + 256]
            bins += [np.bincount(part[..., c].reshape(-1), minlength=256) for c in channels]
        level, share = np.arange(256) / 255, bins / bins[0].sum()
        mean = (share @ level).tolist()
        std = [float(np.sqrt(s @ (level - m) ** 2)) for s, m in zip(share, mean, strict=True)]
        return tuple(round(m, 4) for m in mean), tuple(max(round(s, 4), 1e-4) for s in std)

    def sha256(self) -> str:
        """Of images and labels."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()


def load(
    path: Path, shape: tuple[int, int, int], limit: int | None = None, progress: Progress = silent
) -> LabelledImages:
    """The images of ``path`` for a model that sees ``shape`` (C, H, W); the first ``limit`` of a .npz file.

    Raises UserError where there is none, where one is unreadable, and where labels do not fit.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist. {GIVE}.")
    if path.is_dir():
        return _from_folder(path, shape, limit, progress)
    if path.suffix.lower() == ".npz":
        return _from_arrays(path, shape, limit, progress)
    raise UserError(f"{path} is neither a folder nor a .npz file. {GIVE}.")


def _from_folder(path: Path, shape: tuple[int, int, int], limit: int | None, progress: Progress) -> LabelledImages:
    folders = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not folders:
        raise UserError(f"{path} has no subfolders. {GIVE}.")
    files: list[tuple[Path, int]] = []
    for label, folder in enumerate(folders):
        try:
            files += [(file, label) for file in image_files(folder)]
        except InputError as error:
            raise UserError(f"{error} Remove the folder, or put images there.") from error
    if limit is not None and limit < len(files):  # evenly spread, so that each class has its share
        files = [files[i * len(files) // limit] for i in range(limit)]
    images = _decoded(len(files), lambda i: files[i][0], lambda i: str(files[i][0]), shape, progress)
    return LabelledImages(images, np.array([label for _, label in files], np.int64), tuple(f.name for f in folders))


def _from_arrays(path: Path, shape: tuple[int, int, int], limit: int | None, progress: Progress) -> LabelledImages:
    try:
        with np.load(path, allow_pickle=False) as loaded:
            arrays = {n: loaded[n] for n in loaded.files}
    except Exception as error:  # for a damaged file numpy raises whatever zipfile and others do
        raise UserError(f"cannot read {path} as NumPy arrays ({error}). {GIVE}.") from error
    labels = arrays.get("labels", arrays.get("label"))
    if labels is None or labels.ndim != 1 or labels.dtype.kind not in "iu" or not labels.size:
        raise UserError(f"{path} has no labels: whole numbers (N,) called labels or label. {GIVE}.")
    if int(labels.min()) < 0:
        raise UserError(f"{path} has a label below 0. Number the classes from 0.")
    names = arrays.get("classes")
    names = None if names is None or names.ndim != 1 else tuple(str(n) for n in names)
    if names is not None and int(labels.max()) >= len(names):
        raise UserError(f"{path} has label {labels.max()}, but names only {len(names)} classes. Number them from 0.")
    count = len(labels) if limit is None else min(len(labels), limit)
    if {"jpeg", "offset"} <= set(arrays):
        parts = jpeg_parts(path, arrays["jpeg"], arrays["offset"])
        found, size = len(parts), min(count, len(parts))
        images = _decoded(size, lambda i: io.BytesIO(parts[i]), lambda i: f"image {i} of {path}", shape, progress)
    elif "images" in arrays:
        images, found = _checked(path, arrays["images"], shape), len(arrays["images"])
    else:
        raise UserError(f"{path} holds {', '.join(arrays)}. {GIVE}.")
    if found != len(labels):
        raise UserError(f"{path} holds {found} images and {len(labels)} labels. Save one label for each image.")
    return LabelledImages(images[:count], labels[:count].astype(np.int64), names)


def _checked(path: Path, images: npt.NDArray[Any], shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    channels, height, width = shape
    images = images[..., None] if images.ndim == 3 and channels == 1 else images
    if images.dtype != np.uint8 or images.shape[1:] != (height, width, channels):
        raise UserError(
            f"{path} holds {images.dtype} {images.shape}; the model needs uint8 (N, {height}, {width}, {channels}). "
            "Give --size or --channels, or resize the images."
        )
    return images


def _decoded(
    count: int,
    source: Callable[[int], Any],
    name: Callable[[int], str],
    shape: tuple[int, int, int],
    progress: Progress,
) -> npt.NDArray[np.uint8]:
    channels, height, width = shape
    check_decodable(channels)
    if count * height * width * channels > BYTES_MAX:
        raise UserError(
            f"{count} images of {height} x {width} x {channels} bytes do not fit the {BYTES_MAX >> 30} GiB that "
            "training keeps in memory. Give fewer (--images), or a smaller --size."
        )
    images = np.empty((count, height, width, channels), np.uint8)
    for i in range(count):
        images[i] = decode(source(i), name(i), shape)
        if i % 512 == 0:
            progress("decoding images", i, count)
    return images
