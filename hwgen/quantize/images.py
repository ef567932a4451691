# SPDX-License-Identifier: Apache-2.0
"""Calibration images: from a folder or an array file to what the float model sees, one image at a time."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.errors import UserError
from hwgen.runtime import InputError, image_files

Float32 = npt.NDArray[np.float32]
KEPT_BYTES = 1 << 28
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
"""Pillow's filters, by the names that timm gives them."""
GIVE = "Give a folder of images, or a .npy or .npz file with float (N, C, H, W) or uint8 (N, H, W, C)"


@dataclass(frozen=True)
class Preprocessing:
    """Image bytes -> the model's input: ``(byte / 255 - mean) / std``, one value a channel.

    Images are resized to the model's height and width; with ``resize`` their shorter side to so many pixels, and the
    middle is cut out.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    resize: int | None = None
    crop: float | None = None
    """Instead of ``resize``: the share of the shorter side that is cut out, for a square input."""
    interpolation: str = "bilinear"
    """One of INTERPOLATIONS."""
    input_size: tuple[int, int, int] | None = None
    """(C, H, W) that these figures are meant for, where that is known."""
    config: Path | None = None
    """The file that they come from, if any."""

    def shorter_side(self, height: int, width: int) -> int | None:
        """Pixels of the shorter side after resizing; None: the whole image becomes ``height`` by ``width``."""
        if self.resize is not None or self.crop is None:
            return self.resize
        return math.floor(max(height, width) / self.crop)

    def check(self, shape: tuple[int, int, int]) -> None:
        """Raises UserError for figures that do not fit together or the model, whose input is ``shape`` (C, H, W)."""
        channels, side = shape[0], max(shape[1:])
        if self.input_size not in (None, shape):
            raise UserError(
                f"the --timm-config is for images of {self.input_size}, the model takes {shape}. Give the config of "
                "this model, or --mean, --std and --resize instead."
            )
        if self.resize is None and self.crop is not None and shape[1] != shape[2]:
            raise UserError(
                f"crop_pct of --timm-config is for square images, the model takes {shape[1]} x {shape[2]}. "
                "Add --resize."
            )
        if (self.mean is None) != (self.std is None):
            raise UserError("--mean and --std belong together: give both or neither.")
        for name, values in (("--mean", self.mean), ("--std", self.std)):
            if values is None:
                continue
            if len(values) != channels:
                raise UserError(f"{name} has {len(values)} values, the model {channels} channels. Give one a channel.")
            if not np.isfinite(values).all() or (name == "--std" and min(values) <= 0):
                raise UserError(f"{name} {values} is not usable. Give finite numbers; those of --std above 0.")
        if self.resize is not None and self.resize < side:
            raise UserError(f"--resize {self.resize} is smaller than the model's input ({side}). Give {side} or more.")

    def normalize(self, pixels: npt.NDArray[np.uint8]) -> Float32:
        """(H, W, C) bytes -> (C, H, W) float32."""
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        image: Float32 = ((pixels.astype(np.float32) / np.float32(255) - mean) / std).transpose(2, 0, 1)
        return np.ascontiguousarray(image)


@dataclass(frozen=True)
class Images:
    """``count`` images, each made anew when it is asked for: (C, H, W) float32."""

    count: int
    image: Callable[[int], Float32]

    def __iter__(self) -> Iterator[Float32]:
        return (self.image(i) for i in range(self.count))

    def first(self, limit: int) -> Images:
        """At most ``limit`` of them, evenly spread; small ones are kept in memory, because they are read often."""
        return self._chosen(spread(self.count, limit))

    def drawn(self, limit: int, seed: int) -> Images:
        """As :meth:`first`, but drawn at random."""
        return self._chosen(np.random.default_rng(seed).permutation(self.count)[:limit].tolist())

    def _chosen(self, chosen: Sequence[int]) -> Images:
        image = lru_cache(maxsize=max(1, KEPT_BYTES // self.image(0).nbytes))(self.image)
        return Images(len(chosen), lambda i: image(chosen[i]))


def spread(count: int, limit: int) -> list[int]:
    """Indices of at most ``limit`` of ``count`` images, evenly spread."""
    chosen = min(count, limit)
    return [i * count // chosen for i in range(chosen)]


def open_images(path: Path, shape: tuple[int, int, int], preprocessing: Preprocessing) -> Images:
    """The images of a folder, an image file, a .npy or a .npz file for a model that sees ``shape`` (C, H, W).

    A .npz file holds one array, or JPEG bytes as ``jpeg`` (uint8, concatenated) with ``offset`` (N + 1); ``label``
    beside them is left out. Raises UserError where there is no image, where one is unreadable or has the wrong shape.
    """
    preprocessing.check(shape)
    if not path.exists():
        raise UserError(f"{path} does not exist. {GIVE}.")
    if path.suffix.lower() in (".npy", ".npz"):
        return _from_arrays(path, shape, preprocessing)
    try:
        files = image_files(path)
    except InputError as error:
        raise UserError(f"{error} {GIVE}.") from error
    return _decoded(len(files), lambda i: files[i], lambda i: str(files[i]), shape, preprocessing)


def _from_arrays(path: Path, shape: tuple[int, int, int], preprocessing: Preprocessing) -> Images:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            arrays = {"": loaded}
        else:
            with loaded:
                names = [n for n in loaded.files if n != "label"]
                names = [n for n in names if n in ("jpeg", "offset")] or names
                arrays = {name: loaded[name] for name in names}
    except (OSError, ValueError, EOFError, AttributeError, KeyError) as error:
        raise UserError(f"cannot read {path} as NumPy arrays ({error}). {GIVE}.") from error
    if {"jpeg", "offset"} <= set(arrays):
        return _from_jpeg(path, arrays["jpeg"], arrays["offset"], shape, preprocessing)
    if len(arrays) != 1:
        raise UserError(f"{path} holds {len(arrays)} arrays ({', '.join(arrays)}). Save one array of images.")
    return _from_array(path, next(iter(arrays.values())), shape, preprocessing)


def _from_jpeg(
    path: Path, jpeg: npt.NDArray[Any], offset: npt.NDArray[Any], shape: tuple[int, int, int], how: Preprocessing
) -> Images:
    parts = jpeg_parts(path, jpeg, offset)
    return _decoded(len(parts), lambda i: io.BytesIO(parts[i]), lambda i: f"image {i} of {path}", shape, how)


def _from_array(path: Path, array: npt.NDArray[Any], shape: tuple[int, int, int], how: Preprocessing) -> Images:
    channels, height, width = shape
    if array.size == 0:
        raise UserError(f"{path} holds no images (its shape is {array.shape}). {GIVE}.")
    if array.dtype == np.uint8:
        _need_mean(path, how)
        array = array[..., None] if array.ndim == 3 and channels == 1 else array
        if array.shape[1:] != (height, width, channels):
            raise UserError(
                f"{path} holds uint8 {array.shape}; the model needs (N, {height}, {width}, {channels}). "
                "Resize the images, or give a folder of them."
            )
        return Images(len(array), lambda i: how.normalize(array[i]))
    if array.dtype not in (np.float32, np.float64, np.float16):
        raise UserError(f"{path} holds {array.dtype}. {GIVE}.")
    if how.mean is not None:
        raise UserError(f"{path} holds floats, which are taken as they are. Leave out --mean and --std, or give uint8.")
    if array.shape[1:] != shape:
        raise UserError(f"{path} holds float {array.shape}; the model needs (N, {channels}, {height}, {width}).")
    if not np.isfinite(array).all():
        raise UserError(f"{path} holds values that are not finite. Check how the images were made.")
    return Images(len(array), lambda i: array[i].astype(np.float32))


def _need_mean(path: Path, how: Preprocessing) -> None:
    if how.mean is None:
        raise UserError(
            f"{path} holds image bytes, and how the model wants them normalized is not given. Add --mean and --std, or "
            "--timm-config; the model then sees (byte / 255 - mean) / std."
        )


def _decoded(
    count: int,
    source: Callable[[int], Any],
    name: Callable[[int], str],
    shape: tuple[int, int, int],
    how: Preprocessing,
) -> Images:
    """Image files or their bytes, decoded by Pillow."""
    check_decodable(shape[0])
    _need_mean(Path(name(0)), how)

    def image(i: int) -> Float32:
        return how.normalize(decode(source(i), name(i), shape, how.shorter_side(*shape[1:]), how.interpolation))

    return Images(count, image)


def jpeg_parts(path: Path, jpeg: npt.NDArray[Any], offset: npt.NDArray[Any]) -> list[bytes]:
    """Each image of the concatenated bytes ``jpeg``; ``offset`` (N + 1) has their bounds. Raises UserError."""
    data = jpeg.tobytes()
    bounds = list(pairwise(int(o) for o in offset.reshape(-1)))
    if not bounds or any(not 0 <= a < b <= len(data) for a, b in bounds):
        raise UserError(f"{path} holds no images, or offsets that do not fit its JPEG bytes. {GIVE}.")
    return [data[a:b] for a, b in bounds]


def check_decodable(channels: int) -> None:
    """Raises UserError where Pillow is missing, or where images have not so many channels."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise UserError("decoding images needs Pillow. Install it: pip install 'hwgen[ort]'.") from error
    if channels not in (1, 3):
        raise UserError(f"the model has {channels} channels, images have 1 or 3. Give a .npy file instead.")


def decode(
    source: Any, name: str, shape: tuple[int, int, int], side: int | None = None, interpolation: str = "bilinear"
) -> npt.NDArray[np.uint8]:
    """One image file (path or open file) as bytes (H, W, C) for a model that sees ``shape`` (C, H, W).

    With ``side`` the shorter side is resized to so many pixels and the middle cut out, else the whole image is resized.
    Raises UserError, which calls the image ``name``, where it is none.
    """
    from PIL import Image

    channels, height, width = shape
    filtering = Image.Resampling[interpolation.upper()]
    try:
        with Image.open(source) as opened:
            picture = opened.convert("RGB" if channels == 3 else "L")
            if side is None:
                picture = picture.resize((width, height), filtering)
            else:
                ratio = side / min(picture.size)
                scaled = [max(round(n * ratio), low) for n, low in zip(picture.size, (width, height), strict=True)]
                picture = picture.resize((scaled[0], scaled[1]), filtering)
                left, top = (scaled[0] - width) // 2, (scaled[1] - height) // 2
                picture = picture.crop((left, top, left + width, top + height))
            return np.asarray(picture, np.uint8).reshape(height, width, channels)
    except (OSError, ValueError, SyntaxError) as error:  # Pillow raises SyntaxError for broken PNG
        raise UserError(f"{name} is not an image that Pillow can read ({error}). Remove or replace it.") from error
