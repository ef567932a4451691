# SPDX-License-Identifier: Apache-2.0
"""Builds models, simulates their RTL cycle by cycle and counts it: frames/s, GOPS, GOPS/DSP, and where cycles go.

python bench/rtl.py MODEL ... [--frames 16] [--latency 60] [--bandwidth 64] [--no-count] [--json FILE] [--markdown FILE]

Every frame is compared with the integer reference; a difference ends the bench with exit code 1. Layers: busy cycles of
the engine (command taken to command done) a frame, from the timeline of the last run, so two frames that overlap in an
engine both count.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import defaultdict, deque
from pathlib import Path
from typing import Any

import numpy as np

from hwgen import counting, pipeline, simulation
from hwgen.artifact import read_build
from hwgen.backends.rtl.simulate import Memory, Run, run_rtl
from hwgen.plan import network, timing
from hwgen.plan.program import Queue

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ANCHORS = (
    ("EfficientViT-FPGA (arXiv 2403.20230), B1 without head, 1,024 DSP", "about 750", "780", "0.76"),
    ("Trio-ViT (arXiv 2405.03882), B1 without head and memory, 2,048 multipliers", "799", "-", "-"),
)
"""Published on the ZCU102 at 200 MHz: frames/s, GOPS, GOPS/DSP."""


def layers(build: Path, timeline: Path, frames: int) -> list[dict[str, Any]]:
    """Busy cycles a frame of every kernel, most first; for convolutions the share of the array's products used."""
    manifest = read_build(build).manifest
    names = [q.name.lower() for q in Queue]
    running: dict[int, deque[tuple[int, int]]] = defaultdict(deque)
    busy: dict[tuple[int, int], int] = defaultdict(int)
    free_at: dict[int, int] = defaultdict(int)
    for line in timeline.read_text(encoding="utf-8").splitlines():
        cycle, queue, kernel, _, event = line.split()
        if event == "issue":
            running[int(queue)].append((int(kernel), int(cycle)))
        else:
            which, since = running[int(queue)].popleft()
            start = max(since, free_at[int(queue)])  # an engine takes the next command while the last one drains
            free_at[int(queue)] = int(cycle)
            busy[int(queue), which] += int(cycle) - start
    multipliers = manifest["program"]["config"]["blocks"] * 256
    rows = []
    for (queue, kernel), cycles in busy.items():
        k = manifest["kernels"][kernel]
        row = {"engine": names[queue], "kernel": k["name"], "shape": k["shape"], "cycles": round(cycles / frames, 1)}
        if queue == Queue.ARRAY:
            row["utilization"] = round(k["macs"] * frames / (multipliers * cycles), 3)
        rows.append(row)
    return sorted(rows, key=lambda r: -float(str(r["cycles"])))


def engines(build: Path, sim: dict[str, Any]) -> list[dict[str, Any]]:
    """Busy cycles a frame of every engine: the C++ by trip counts, the SystemVerilog by its model and as measured."""
    program = read_build(build).program
    slots = program.config.slots
    frames, skip = 8 * slots, 2 * slots  # whole groups
    hls, rtl = network.simulate(program, frames), timing.simulate(program, frames)
    rows = [
        {
            "engine": q.name.lower(),
            "hls": hls.busy[q] // frames,
            "modelled": rtl.busy[q] // frames,
            "measured": round(sim["cycles"]["per_engine"][q.name.lower()]),
        }
        for q in Queue
    ]
    interval = {
        "hls": round(hls.interval(skip)),
        "modelled": round(rtl.interval(skip)),
        "measured": sim["cycles"]["interval"],
    }
    return [*rows, {"engine": "interval", **interval}]


def measure(model: Path, frames: int, memory: Memory, count: bool) -> dict[str, Any]:
    """One model: the figures of ``hwgen build``, ``hwgen sim --level rtl`` and ``hwgen count``."""
    with tempfile.TemporaryDirectory() as folder:
        build, timeline = Path(folder) / "build", Path(folder) / "timeline.txt"
        report = pipeline.build(
            pipeline.BuildOptions(model=model, board="zcu102", output=build, **_normalization(model))
        )
        sim = simulation.simulate(build, "rtl", frames=frames, memory=memory)
        done = read_build(build)
        size = int(done.manifest["program"]["input_words"]) * 16
        inputs = np.random.default_rng(0).integers(0, 256, frames * size, np.uint8).tobytes()
        program = done.program
        run_rtl(build, program.to_bytes(), program.weights, inputs, [Run(frames)], memory=memory, timeline=timeline)
        result = {
            "model": model.stem,
            "exact": sim["exact"],
            "frames": frames,
            "machine": report["tiles"]["machine"],
            "modelled": report["performance"]["rtl"],
            "macs": sum(k["macs"] for k in done.manifest["kernels"]),
            "sim": {k: v for k, v in sim.items() if k not in ("first_mismatches", "fault")},
            "engines": engines(build, sim),
            "layers": layers(build, timeline, frames),
        }
        if sim["frames_per_second"]:
            result["gops"] = round(2e-9 * float(result["macs"]) * sim["frames_per_second"], 1)
        if count:
            result["count"] = counting.count(build)
            if "gops" in result:
                result["gops_per_dsp"] = round(result["gops"] / result["count"]["resources"]["dsp"]["used"], 3)
    return result


def _normalization(model: Path) -> dict[str, Any]:
    """Images for models of three channels; the Fashion example has its own."""
    return {} if "fashion" in model.stem else {"mean": MEAN, "std": STD}


def _with_error(measured: float | None, modelled: float) -> str:
    """Cycles, and how far the model is from them."""
    return f"{measured:,.0f} ({100 * (modelled / measured - 1):+.1f} %)" if measured else "-"


def markdown(results: list[dict[str, Any]]) -> str:
    """Tables for docs/performance.md."""
    lines = [
        "| model | exact | latency, cycles (model) | interval, cycles (model) | frames/s | GOPS | GOPS/DSP | "
        "bytes a frame | LUT | FF | DSP | BRAM36 |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for r in results:
        cycles, used = r["sim"]["cycles"], r.get("count", {}).get("resources", {})
        counts = [f"{used[k]['used']:,.0f}" if used else "-" for k in ("lut", "ff", "dsp", "bram36")]
        latency, interval = (_with_error(cycles[k], r["modelled"][f"{k}_cycles"]) for k in ("latency", "interval"))
        rate = r["sim"]["frames_per_second"]
        figures = [latency, interval, f"{rate:,.1f}" if rate else "-", str(r.get("gops", "-"))]
        figures += [str(r.get("gops_per_dsp", "-")), f"{r['sim']['bytes_per_frame']:,}", *counts]
        lines.append(f"| {r['model']} | {'yes' if r['exact'] else 'NO'} | {' | '.join(figures)} |")
    for name, rate, gops, per_dsp in ANCHORS:
        lines.append(f"| {name} | - | - | - | {rate} | {gops} | {per_dsp} | - | - | - | - | - |")
    for r in results:
        lines += ["", f"{r['model']}: busy cycles a frame", ""]
        lines += ["| engine | HLS, estimated | SystemVerilog, modelled | measured |", "|---|--:|--:|--:|"]
        lines += [f"| {e['engine']} | {e['hls']:,} | {e['modelled']:,} | {e['measured']:,.0f} |" for e in r["engines"]]
    for r in results:
        lines += ["", f"{r['model']}: the 20 kernels with most cycles", ""]
        lines += ["| engine | kernel | output | cycles a frame | array used |", "|---|---|---|--:|--:|"]
        for row in r["layers"][:20]:
            used = f"{100 * row['utilization']:.0f} %" if "utilization" in row else "-"
            shape = " x ".join(map(str, row["shape"]))
            lines.append(f"| {row['engine']} | {row['kernel']} | {shape} | {row['cycles']:,.0f} | {used} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure each model and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--latency", type=int, default=Memory().latency)
    parser.add_argument("--bandwidth", type=int, default=Memory().bandwidth)
    parser.add_argument("--no-count", action="store_true", help="without Yosys")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    memory = Memory(options.latency, options.bandwidth)
    results = [measure(model, options.frames, memory, not options.no_count) for model in options.models]
    text = markdown(results)
    print(text)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")
    return 0 if all(r["exact"] for r in results) else 1


if __name__ == "__main__":
    sys.exit(main())
