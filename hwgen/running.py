# SPDX-License-Identifier: Apache-2.0
"""``hwgen run``: images through the runtime, on a simulated device or on a board. docs/contracts.md has the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hwgen.arrays import check_writable, load_array, save_array
from hwgen.errors import UserError
from hwgen.runtime import Accelerator, AcceleratorError, image_files

DEVICES = ("reference", "csim", "rtl", "pynq")
"""``pynq`` is a board's own device; the others are simulated."""
LISTED_IMAGES = 10
"""Images whose best classes a report lists."""

Progress = Callable[[str, int, int], None]


def run(
    directory: Path,
    input: Path,
    device: str = "reference",
    *,
    output: Path | None = None,
    batch: int = 16,
    top: int = 5,
    progress: Progress = lambda what, done, total: None,
) -> dict[str, Any]:
    """Run an image file, a folder of images or a .npy file; returns the contract of ``hwgen run --json``.

    ``directory`` is a build folder; for device pynq also a deploy folder. ``output`` receives the logits, float32, as a
    .npy file. Raises UserError, also for whatever the runtime refuses.
    """
    if device not in DEVICES:
        raise UserError(f"there is no device {device!r}. Use one of: {', '.join(DEVICES)}.")
    if not input.exists():
        raise UserError(f"{input} does not exist. Give an image file, a folder of images, or a .npy file.")
    if output is not None:
        check_writable(output)
    try:
        first = "; compiles the SystemVerilog the first time" if device == "rtl" else ""
        progress(f"opening the accelerator{first}", 0, 0)
        with _opened(directory, device, batch) as net:
            images, names = _images(net, input)
            progress(f"running {len(images)} images", 0, 0)
            start = time.perf_counter()
            logits = net(images)
            seconds = time.perf_counter() - start
            profile = net.profile() if len(images) else None
            best = net.top(logits[:LISTED_IMAGES], top) if logits.ndim == 2 else []
    except AcceleratorError as error:
        raise UserError(str(error)) from error
    if output is not None:
        save_array(output, logits)
    return {
        "device": device,
        "frames": len(images),
        "shape": list(logits.shape),
        "run_seconds": round(seconds, 6),
        "cycles": None if profile is None else profile.cycles,
        "top": [
            {"image": name, "classes": [{"class": label, "logit": value} for label, value in ranked]}
            for name, ranked in zip(names, best, strict=False)
        ],
    }


@contextmanager
def _opened(directory: Path, device: str, batch: int) -> Iterator[Accelerator]:
    if device == "pynq":
        folder = directory / "deploy" if (directory / "deploy").is_dir() else directory
        with Accelerator(folder, batch=batch) as net:
            yield net
        return
    try:
        from hwgen import runtime_devices
    except ImportError as error:
        raise UserError(
            f"device {device} needs pynq ({error}), which wants numpy below 2. Install it into an environment of its "
            "own: pip install 'hwgen[board]'."
        ) from error
    with runtime_devices.simulated(directory, device, batch=batch) as net:
        yield net


def _images(net: Accelerator, input: Path) -> tuple[Any, list[str]]:
    """What to submit, and a name for each image."""
    if input.suffix.lower() != ".npy":
        files = image_files(input)
        return net.load(files), [file.name for file in files]
    images = load_array(input, "Save one array of images with numpy.save.")
    return images, [str(i) for i in range(len(images))]
