# SPDX-License-Identifier: Apache-2.0
"""``make bench``: seconds and peak memory of build, reference and csim, measured on this machine, one process each.

python -m bench [MODEL ...]      default: the Fashion-MNIST example
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from hwgen.report.terminal import table

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "fashion" / "fashion_vit.onnx"
FRAMES = 4


def measure(*arguments: str) -> tuple[float, dict[str, Any]]:
    """Seconds of one hwgen command, start-up included, and its report. Raises SystemExit where it fails."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "hwgen", *arguments, "--json"], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"hwgen {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
    return time.perf_counter() - start, json.loads(done.stdout)


def main(models: list[Path]) -> None:
    """Measure each model and print one line for each."""
    rows = []
    for model in models:
        with tempfile.TemporaryDirectory() as folder:
            build = str(Path(folder) / "build")
            seconds, report = measure("build", str(model), "--board", "zcu102", "-o", build)
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # MiB, of the largest child so far
            _, one = measure("sim", build)
            _, many = measure("sim", build, "--frames", str(1 + FRAMES))
            _, csim = measure("sim", build, "--level", "csim", "--frames", str(FRAMES))
        frame = (many["wall_seconds"] - one["wall_seconds"]) / FRAMES
        cycles = report["performance"]["latency_cycles"]
        rows.append(
            (
                model.stem,
                f"{seconds:.1f}",
                f"{peak:.0f}",
                f"{frame:.2f}",
                f"{csim['compile_seconds']:.1f}",
                f"{csim['run_seconds'] / FRAMES:.2f}",
                f"{cycles:,} ({report['performance']['source']})",
            )
        )
    columns = ("model", "build s", "MiB", "reference s/frame", "csim compile s", "csim s/frame", "cycles a frame")
    console = Console(highlight=False)
    console.print(table("Measured on this machine", columns, rows, right=tuple(range(1, len(columns)))))


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]] or [EXAMPLE])
