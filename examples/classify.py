# SPDX-License-Identifier: Apache-2.0
"""Classify the images of a folder, or what a camera sees, with an accelerator of hwgen.

    python classify.py deploy/ --folder images/           # on the board, with Pillow or OpenCV
    python classify.py deploy/ --camera 0                 # with OpenCV; Ctrl-C ends it
    python classify.py build/fashion --folder images/ --simulate rtl     # without a board: a build folder

Frames of a camera are submitted as they come and their results read as they are ready, so that the accelerator works
while the next frame is captured. Prints a line an image: its name or number, and the best classes with their logits.
Exit code 2: something is for you to mend, and the message says what.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np


class Refused(RuntimeError):
    """For the user to mend. So are the RuntimeErrors of the runtime."""


def load(module: str, remedy: str) -> ModuleType:
    """Import a module; raises Refused, which says what to do."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Refused(f"{error}. {remedy}") from error


def load_runtime(deploy: Path, simulate: str | None) -> ModuleType:
    """The runtime in a deploy folder; hwgen's own for a simulated board."""
    if simulate is not None:
        return load("hwgen.runtime", "Without a board install hwgen with pynq: pip install 'hwgen[board]'.")
    if not (deploy / "hwgen_runtime.py").is_file():
        raise Refused(f"{deploy} is no deploy folder. Give the folder deploy/ of a build, or --simulate.")
    sys.path.insert(0, str(deploy))
    return load("hwgen_runtime", "On the board run this in PYNQ's own Python.")


def open_accelerator(runtime: ModuleType, folder: Path, simulate: str | None) -> AbstractContextManager[Any]:
    """The board's accelerator, or that of a build on a simulated board."""
    if simulate is not None:
        devices = load("hwgen.runtime_devices", "A simulated board needs pynq: pip install 'hwgen[board]'.")
        opened: AbstractContextManager[Any] = devices.simulated(folder, simulate)
        return opened
    accelerator: AbstractContextManager[Any] = runtime.Accelerator(folder)
    return accelerator


def capture(cv2: ModuleType, source: str, shape: tuple[int, int, int]) -> Iterator[np.ndarray]:
    """Frames of a camera (its number) or of a video file as uint8 (H, W, C), resized."""
    channels, height, width = shape
    camera = cv2.VideoCapture(int(source) if source.isdecimal() else source)
    if not camera.isOpened():
        raise Refused(f"OpenCV cannot open camera {source}. Give the number of a camera or a video file.")
    colours = cv2.COLOR_BGR2RGB if channels == 3 else cv2.COLOR_BGR2GRAY
    try:
        while (taken := camera.read())[0]:
            frame = cv2.resize(taken[1], (width, height), interpolation=cv2.INTER_AREA)
            yield cv2.cvtColor(frame, colours).reshape(height, width, channels)
    finally:
        camera.release()


def show(name: object, ranked: list[tuple[str | int, float]]) -> None:
    print(f"{name}: " + ", ".join(f"{label} {logit:.3f}" for label, logit in ranked), flush=True)


def classify_folder(net: Any, files: list[Path], top: int) -> int:
    """A line for each image; returns how many."""
    for file, ranked in zip(files, net.top(net(net.load(files)), top), strict=True):
        show(file.name, ranked)
    return len(files)


def classify_camera(net: Any, cv2: ModuleType, source: str, top: int, limit: int | None) -> int:
    """A line for each frame; returns how many. At most two batches are on their way: older frames are of no use."""
    pending: deque[Any] = deque()
    count = done = 0
    frames = capture(cv2, source, net.input_shape)
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
    parser.add_argument("--frames", type=positive, metavar="N", help="of the camera; default: until Ctrl-C")
    parser.add_argument("--top", type=positive, default=3, metavar="K", help="classes to show (%(default)s)")
    parser.add_argument("--simulate", choices=("reference", "csim", "rtl"), help="without a board")
    arguments = parser.parse_args()
    if arguments.folder is not None and not arguments.folder.is_dir():
        parser.error(f"{arguments.folder} is no folder")
    refusals: tuple[type[Exception], ...] = (RuntimeError,)
    try:
        runtime = load_runtime(arguments.deploy, arguments.simulate)
        if arguments.simulate is not None:
            refusals += (load("hwgen.errors", "Install hwgen.").UserError,)
        run(arguments, runtime)
    except refusals as error:
        print(f"classify: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def positive(text: str) -> int:
    """A number above 0, for argparse."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return int(text)


def run(arguments: argparse.Namespace, runtime: ModuleType) -> None:
    """Open, classify, and say how fast it was."""
    files: list[Path] = []
    if arguments.folder is not None:
        files = runtime.image_files(arguments.folder)
    else:
        cv2 = load("cv2", "A camera needs OpenCV: pip install opencv-python-headless.")
    with open_accelerator(runtime, arguments.deploy, arguments.simulate) as net:
        start = time.perf_counter()
        if files:
            count = classify_folder(net, files, arguments.top)
        else:
            count = classify_camera(net, cv2, arguments.camera, arguments.top, arguments.frames)
        seconds = time.perf_counter() - start
        print(f"{count} images in {seconds:.2f} s, {count / seconds:.1f} images/s, reading and resizing included")
        if count:
            print(net.profile())


if __name__ == "__main__":
    sys.exit(main())
