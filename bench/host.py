# SPDX-License-Identifier: Apache-2.0
"""What the runtime costs on the host: CPU time, register accesses and memory a frame, on a machine of no latency.

python bench/host.py MODEL ... [--board zcu102] [--batch 2 4 16] [--a53-factor 10] [--a53-copy 1e9] [--json FILE]

Needs pynq (make board-venv, then .venv-board/bin/python). A simulated device ends each start at once and computes
nothing, so all time is the driver's and the device's; what the device takes (registers, flush, invalidate) is measured
and taken off. Images are random uint8. Each figure is the best of some repetitions.

Memory is what tracemalloc sees: Python's and NumPy's own, not the device's. ``peak_bytes_a_frame`` is the most that a
call holds at once, its result included. ``blocks_more_a_frame`` is how many more blocks are live at the last start of a
call than at its second. ``blocks_left`` stay when its result is gone. Blocks that come and go between these looks are
not counted; they are in the peak.

The processor of a Zynq UltraScale+ is an A53 at 1.2 GHz. How many times slower than this machine it runs Python
(``--a53-factor``) and how many bytes a second it copies (``--a53-copy``) are ASSUMPTIONS, no measurements; ``a53``
holds what follows from them, without register accesses and cache maintenance.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hwgen import pipeline
from hwgen.frontend.onnx_file import read
from hwgen.runtime import Accelerator
from hwgen.runtime_devices import Outcome, Registers, SimulatedDevice, deployed

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
REPEATS = 5
STARTS = 20
"""In one repetition."""


class InstantDevice(SimulatedDevice):
    """Every start is done when it is looked at; memory is not copied. Counts what the driver asks of it."""

    def __init__(self, build: Path) -> None:
        super().__init__(build)
        self.accesses = 0
        self.seconds = 0.0
        self.started: Callable[[], None] = lambda: None
        """Called at each start."""

    def execute(self, registers: Registers) -> Outcome:
        self.started()
        return Outcome()

    def flush(self, *arguments: Any) -> None:
        pass

    def invalidate(self, *arguments: Any) -> None:
        pass

    def read_registers(self, address: int, length: int) -> bytes:
        start = time.thread_time()
        try:
            return super().read_registers(address, length)
        finally:
            self.accesses += 1
            self.seconds += time.thread_time() - start

    def write_registers(self, address: int, data: bytes) -> None:
        start = time.thread_time()
        super().write_registers(address, data)
        self.accesses += 1
        self.seconds += time.thread_time() - start


def measure(build: Path, batch: int) -> dict[str, Any]:
    """One build and batch size; times in microseconds a frame."""
    device = InstantDevice(build)
    with deployed(build) as folder, Accelerator(folder, device=device, batch=batch, check=False) as net:
        channels, height, width = net.input_shape
        frames = STARTS * net.batch
        images = np.random.default_rng(0).integers(0, 256, (frames, height, width, channels), np.uint8)
        net(images)
        best, taken, accesses, wall = min(_repetition(net, device, images) for _ in range(REPEATS))
        start = time.process_time()
        for _ in range(REPEATS):
            net._pixels[0][: net.batch] = images[: net.batch]
        copying = (time.process_time() - start) / REPEATS / net.batch
        peak, more, left = _memory(net, device, images)
    return {
        "batch": net.batch,
        "frame_bytes": height * width * channels,
        "cpu_us": round((best - taken) / frames * 1e6, 2),
        "of_which_copying_us": round(copying * 1e6, 2),
        "wall_us": round(wall / frames * 1e6, 2),
        "device_us": round(taken / frames * 1e6, 2),
        "register_accesses_a_start": accesses / STARTS,
        "peak_bytes_a_frame": round(peak / frames),
        "blocks_more_a_frame": round(more / frames, 2),
        "blocks_left": left,
    }


def _repetition(net: Accelerator, device: InstantDevice, images: Any) -> tuple[float, float, int, float]:
    """CPU seconds of the process and of the device, register accesses, seconds on the clock."""
    before, counted, taken, clock = time.process_time(), device.accesses, device.seconds, time.perf_counter()
    net(images)
    wall = time.perf_counter() - clock
    return time.process_time() - before, device.seconds - taken, device.accesses - counted, wall


def _memory(net: Accelerator, device: InstantDevice, images: Any) -> tuple[int, int, int]:
    """Most bytes allocated at once during a call, its result included; blocks that it gathers from its second start to
    its last; blocks left when the result is gone."""
    net(images)
    tracemalloc.start()
    try:
        net(images)
        blocks = _blocks()
        tracemalloc.reset_peak()
        start, _ = tracemalloc.get_traced_memory()
        net(images)
        _, peak = tracemalloc.get_traced_memory()
        left = _blocks() - blocks
        first, live = device.starts, {2: 0, STARTS: 0}

        def look() -> None:
            if device.starts - first in live:
                live[device.starts - first] = _blocks()

        device.started = look
        net(images)
        return peak - start, live[STARTS] - live[2], left
    finally:
        device.started = lambda: None
        tracemalloc.stop()


def _blocks() -> int:
    """Blocks that are allocated now, but for those of tracemalloc itself."""
    gc.collect()
    own = tracemalloc.Filter(False, tracemalloc.__file__)
    return sum(entry.count for entry in tracemalloc.take_snapshot().filter_traces((own,)).statistics("filename"))


def on_a53(result: dict[str, Any], factor: float, copy: float, target: float) -> dict[str, Any]:
    """What follows if the board's processor is ``factor`` times slower and copies ``copy`` bytes/s.

    ``target``: frames/s of the accelerator, to keep up with.
    """
    python = (result["cpu_us"] - result["of_which_copying_us"]) * factor
    microseconds = python + result["frame_bytes"] / copy * 1e6
    return {
        "assumed_factor": factor,
        "assumed_copy_bytes_per_second": copy,
        "us_a_frame": round(microseconds, 1),
        "frames_per_second_of_one_core": round(1e6 / microseconds),
        "share_of_one_core": round(microseconds * target / 1e6, 3),
        "at_frames_per_second": target,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL")
    parser.add_argument("--board", default="zcu102")
    parser.add_argument("--batch", type=int, nargs="+", default=[2, 4, 16], metavar="N")
    parser.add_argument("--a53-factor", type=float, default=10.0, help="assumed (%(default)s)")
    parser.add_argument("--a53-copy", type=float, default=1e9, help="bytes/s, assumed (%(default)g)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    results = []
    for model in arguments.models:
        with tempfile.TemporaryDirectory() as folder:
            build = Path(folder) / "build"
            onnx = read(model)
            channels = onnx.shapes[onnx.input][1]
            mean, std = MEAN[:channels], STD[:channels]
            report = pipeline.build(pipeline.BuildOptions(model, arguments.board, build, mean=mean, std=std))
            target = round(report["performance"]["rtl"]["frames_per_second"])
            for batch in arguments.batch:
                result = {"model": model.stem, **measure(build, batch)}
                result["a53"] = on_a53(result, arguments.a53_factor, arguments.a53_copy, target)
                results.append(result)
                print(json.dumps(result), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
