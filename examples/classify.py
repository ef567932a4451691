# SPDX-License-Identifier: Apache-2.0
"""Classify the images of a folder, or what a camera sees, with an accelerator of hwgen.

    python classify.py deploy/ --folder images/           # on the board, with Pillow or OpenCV
    python classify.py deploy/ --camera 0                 # with OpenCV; Ctrl-C ends it
    python classify.py build/fashion --folder images/ --simulate rtl     # without a board: a build folder

Frames of a camera are submitted as they come and their results read as they are ready, so that the accelerator works
while the next frame is captured. Prints a line an image: its name or number, and the best classes with their logits.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np


def open_accelerator(folder: Path, simulate: str | None) -> AbstractContextManager[Any]:
    """The board's accelerator, by the runtime in its deploy folder; or that of a build on a simulated board."""
    if simulate is not None:
        from hwgen.runtime_devices import simulated

        return simulated(folder, simulate)
    sys.path.insert(0, str(folder))
    from hwgen_runtime import Accelerator

    return Accelerator(folder)


def capture(source: str, shape: tuple[int, int, int]) -> Iterator[np.ndarray]:
    """Frames of a camera (its number) or of a video file as uint8 (H, W, C), resized."""
    import cv2

    channels, height, width = shape
    camera = cv2.VideoCapture(int(source) if source.isdecimal() else source)
    if not camera.isOpened():
        sys.exit(f"classify: OpenCV cannot open camera {source}")
    colours = cv2.COLOR_BGR2RGB if channels == 3 else cv2.COLOR_BGR2GRAY
    try:
        while (taken := camera.read())[0]:
            frame = cv2.resize(taken[1], (width, height), interpolation=cv2.INTER_AREA)
            yield cv2.cvtColor(frame, colours).reshape(height, width, channels)
    finally:
        camera.release()


def show(name: object, ranked: list[tuple[str | int, float]]) -> None:
    print(f"{name}: " + ", ".join(f"{label} {logit:.3f}" for label, logit in ranked), flush=True)


def classify_folder(net: Any, folder: Path, top: int) -> int:
    """A line for each image of the folder; returns how many."""
    files = sorted(file for file in folder.iterdir() if file.is_file())
    for file, ranked in zip(files, net.top(net(net.load(files)), top), strict=True):
        show(file.name, ranked)
    return len(files)


def classify_camera(net: Any, source: str, top: int, limit: int | None) -> int:
    """A line for each frame; returns how many. At most two batches are on their way: older frames are of no use."""
    pending: deque[Any] = deque()
    count = done = 0
    frames = capture(source, net.input_shape)
    try:
        for frame in frames:
            pending.append(net.submit(frame[None]))
            count += 1
            while pending and (pending[0].done() or len(pending) > 2 * net.batch or count == limit):
                show(done, net.top(pending.popleft().result(), top)[0])
                done += 1
            if count == limit:
                break
    except KeyboardInterrupt:
        pass
    finally:
        frames.close()
    for handle in pending:
        show(done, net.top(handle.result(), top)[0])
        done += 1
    return done


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("deploy", type=Path, help="deploy folder of a build; with --simulate the build folder")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--folder", type=Path, help="folder of image files")
    source.add_argument("--camera", metavar="N|FILE", help="number of a camera, or a video file")
    parser.add_argument("--frames", type=int, metavar="N", help="of the camera; default: until Ctrl-C")
    parser.add_argument("--top", type=int, default=3, metavar="K", help="classes to show (%(default)s)")
    parser.add_argument("--simulate", choices=("reference", "csim", "rtl"), help="without a board")
    arguments = parser.parse_args()
    if arguments.folder is not None and not arguments.folder.is_dir():
        parser.error(f"{arguments.folder} is no folder")
    refusals: tuple[type[Exception], ...] = (RuntimeError,)  # of the runtime
    if arguments.simulate is not None:
        from hwgen.errors import UserError

        refusals = (RuntimeError, UserError)
    try:
        return run(arguments)
    except refusals as error:
        print(f"classify: {error}", file=sys.stderr)
        return 2


def run(arguments: argparse.Namespace) -> int:
    """Open, classify, and say how fast it was; returns the exit code."""
    with open_accelerator(arguments.deploy, arguments.simulate) as net:
        start = time.perf_counter()
        if arguments.folder is not None:
            count = classify_folder(net, arguments.folder, arguments.top)
        else:
            count = classify_camera(net, arguments.camera, arguments.top, arguments.frames)
        seconds = time.perf_counter() - start
        print(f"{count} images in {seconds:.2f} s, {count / seconds:.1f} images/s, reading and resizing included")
        if count:
            print(net.profile())
    return 0


if __name__ == "__main__":
    sys.exit(main())
