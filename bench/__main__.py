# SPDX-License-Identifier: Apache-2.0
"""``make bench``: seconds and peak memory of build, reference and csim, measured on this machine, one process each.

python -m bench [MODEL ...] [--json FILE]      default: the Fashion-MNIST example
"""

from __future__ import annotations

import argparse
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


def measure_model(model: Path) -> dict[str, Any]:
    """Build, reference and csim of one model: seconds, MiB, and the planner's estimate."""
    with tempfile.TemporaryDirectory() as folder:
        build = str(Path(folder) / "build")
        seconds, report = measure("build", str(model), "--board", "zcu102", "-o", build)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # MiB, of the largest child so far
        _, one = measure("sim", build)
        _, many = measure("sim", build, "--frames", str(1 + FRAMES))
        _, csim = measure("sim", build, "--level", "csim", "--frames", str(FRAMES))
    return {
        "model": model.stem,
        "build_seconds": round(seconds, 2),
        "build_peak_mib": round(peak),
        "reference_seconds_per_frame": round((many["wall_seconds"] - one["wall_seconds"]) / FRAMES, 3),
        "csim_compile_seconds": csim["compile_seconds"],
        "csim_seconds_per_frame": round(csim["run_seconds"] / FRAMES, 3),
        "csim_exact": csim["exact"],
        "performance": report["performance"],
        "resources": report["resources"],
    }


def main() -> None:
    """Measure each model, print a line for each, and write all figures as JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path, default=[EXAMPLE])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    options = parser.parse_args()
    results = [measure_model(model) for model in options.models]
    rows = [
        (
            r["model"],
            f"{r['build_seconds']:.1f}",
            f"{r['build_peak_mib']}",
            f"{r['reference_seconds_per_frame']:.2f}",
            f"{r['csim_compile_seconds']:.1f}",
            f"{r['csim_seconds_per_frame']:.2f}",
            f"{r['performance']['latency_cycles']:,} ({r['performance']['source']})",
        )
        for r in results
    ]
    columns = ("model", "build s", "MiB", "reference s/frame", "csim compile s", "csim s/frame", "cycles a frame")
    console = Console(highlight=False)
    console.print(table("Measured on this machine", columns, rows, right=tuple(range(1, len(columns)))))
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
