# SPDX-License-Identifier: Apache-2.0
"""Time of hwgen itself: a build, and a frame of each simulation, in seconds.

python bench/speed.py MODEL ... [--board zcu102] [--frames 3] [--rtl-frames 16] [--json FILE]

``reference``: the NumPy machine alone. ``csim``: the emitted C++, compiled before. ``rtl``: cycles a frame, in the
steady state, by simulated cycles a second on one core. Each step runs once; on a shared machine repeat it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from hwgen import pipeline, simulation
from hwgen.artifact import read_build
from hwgen.backends.reference.program import execute


def measure(model: Path, board: str, frames: int, rtl_frames: int) -> dict[str, Any]:
    """Seconds of each step for one model."""
    with tempfile.TemporaryDirectory() as folder:
        build = Path(folder) / "build"
        start = time.perf_counter()
        pipeline.build(pipeline.BuildOptions(model=model, board=board, output=build))
        result: dict[str, Any] = {"model": model.stem, "build": time.perf_counter() - start}
        program = read_build(build).program
        size = int(program.header["input_words"]) * 16
        inputs = np.random.default_rng(0).integers(0, 256, frames * size, np.uint8).tobytes()
        start = time.perf_counter()
        execute(program, inputs, frames)
        result["reference"] = (time.perf_counter() - start) / frames
        csim = simulation.simulate(build, "csim", frames=frames)
        result["csim"], result["csim_compile"] = csim["run_seconds"] / frames, csim["compile_seconds"]
        exact = csim["exact"]
        if rtl_frames:
            rtl = simulation.simulate(build, "rtl", frames=rtl_frames)
            cycles = rtl["cycles"]["interval"] or rtl["cycles"]["latency"]
            result["rtl"] = cycles / rtl["simulated_cycles_per_second"]
            result["rtl_compile"] = rtl["compile_seconds"]
            exact = exact and rtl["exact"]
        if not exact:
            sys.exit(f"{model}: a simulation differs from the reference")
    return {key: round(value, 3) if isinstance(value, float) else value for key, value in result.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL")
    parser.add_argument("--board", default="zcu102")
    parser.add_argument("--frames", type=int, default=3, help="of reference and csim")
    parser.add_argument("--rtl-frames", type=int, default=16, help="0: no RTL simulation")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    results = []
    for model in arguments.models:
        results.append(measure(model, arguments.board, arguments.frames, arguments.rtl_frames))
        print(json.dumps(results[-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
