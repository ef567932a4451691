# SPDX-License-Identifier: Apache-2.0
"""Runs Vitis HLS where it is installed, and reads its csynth report."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from hwgen.errors import UserError

RESOURCES = {"LUT": "lut", "FF": "ff", "DSP": "dsp", "DSP48E": "dsp", "BRAM_18K": "bram18", "URAM": "uram"}
"""Names in csynth.xml (DSP48E before 2020.1) and here. Vitis HLS counts half block RAMs of 18 Kibit."""
CYCLES = {
    "Best-caseLatency": "latency_cycles_best",
    "Average-caseLatency": "latency_cycles_average",
    "Worst-caseLatency": "latency_cycles_worst",
    "Interval-min": "interval_cycles_min",
    "Interval-max": "interval_cycles_max",
}
MISSING = (
    "no Vitis HLS found: none of vitis_hls, vitis-run, v++ is on the PATH. Source settings64.sh of your Vitis "
    "installation and build again; everything else of hwgen works without it."
)


def find_tool() -> tuple[str, list[str]] | None:
    """Name and command line (to be run in the project's folder) of the HLS tool on the PATH, or None."""
    config = ["--mode", "hls", "--config", "hls_config.cfg", "--work_dir", "project"]
    for name, arguments in (
        ("vitis_hls", ["-f", "run_hls.tcl"]),  # up to 2023.2
        ("v++", ["-c", *config]),  # from 2024.1
        ("vitis-run", ["--mode", "hls", "--tcl", "run_hls.tcl"]),
    ):
        path = shutil.which(name)
        if path is not None and (name != "v++" or shutil.which("vitis-run") is not None):
            return name, [path, *arguments]
    return None


def _number(text: str | None) -> int | float | None:
    """A figure of the report; None for ``undef`` and what is missing."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return int(value) if value.is_integer() else value


def parse_report(path: Path) -> dict[str, Any]:
    """``csynth.xml`` as ``{"tool_version", "part", "clock_ns", "estimated_clock_ns", "cycles", "resources"}``.

    ``cycles`` holds what Vitis knows of latency and interval (None where it says ``undef``, as for loops whose count is
    in the Program); ``resources`` holds for each kind ``used`` and ``available``. Raises UserError if it is not such a
    report.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise UserError(f"cannot read the synthesis report {path}: {error}. Run the synthesis again.") from error
    used, available = root.find("AreaEstimates/Resources"), root.find("AreaEstimates/AvailableResources")
    if used is None or available is None:
        raise UserError(f"{path} is not a csynth report: it has no AreaEstimates. Run the synthesis again.")
    resources = {}
    for tag, name in RESOURCES.items():
        count = _number(used.findtext(tag))
        if count is not None:
            resources[name] = {"used": count, "available": _number(available.findtext(tag))}
    latency = "PerformanceEstimates/SummaryOfOverallLatency/"
    return {
        "tool_version": root.findtext("ReportVersion/Version"),
        "part": root.findtext("UserAssignments/Part"),
        "clock_ns": _number(root.findtext("UserAssignments/TargetClockPeriod")),
        "estimated_clock_ns": _number(
            root.findtext("PerformanceEstimates/SummaryOfTimingAnalysis/EstimatedClockPeriod")
        ),
        "cycles": {name: _number(root.findtext(latency + tag)) for tag, name in CYCLES.items()},
        "resources": resources,
    }


def find_report(hls: Path) -> Path | None:
    """The top function's report below a tool's project folder; None if there is none."""
    found = sorted((hls / "project").rglob("csynth.xml")) + sorted((hls / "project").rglob("hwgen_top_csynth.xml"))
    return found[0] if found else None


def run_synthesis(build_dir: Path, *, timeout_seconds: float | None = None) -> dict[str, Any]:
    """Synthesize ``build_dir/hls`` with the Vitis HLS that is found.

    Returns ``{"ran": True, "tool", "source": "reported", ...}`` with the figures of :func:`parse_report`, or
    ``{"ran": False, "message"}`` where there is no tool, it fails, or it takes longer than ``timeout_seconds``: no
    error of the build, whose other results stand. The tool's output is in ``build_dir/hls/synthesis.log``.
    """
    tool = find_tool()
    if tool is None:
        return {"ran": False, "message": MISSING}
    name, command = tool
    hls = build_dir / "hls"
    log = hls / "synthesis.log"
    shutil.rmtree(hls / "project", ignore_errors=True)  # an old report must not pass for a new one
    with log.open("wb") as stream:
        try:
            done = subprocess.run(
                command, cwd=hls, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
                timeout=timeout_seconds, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return {"ran": False, "tool": name, "message": f"{name} took longer than {timeout_seconds} seconds"}
        except OSError as error:
            return {"ran": False, "tool": name, "message": f"{name} cannot be run: {error.strerror}"}
    report = find_report(hls)
    if done.returncode != 0 or report is None:
        reason = f"ended with code {done.returncode}" if done.returncode else "wrote no csynth.xml"
        return {"ran": False, "tool": name, "message": f"{name} {reason}; see hls/synthesis.log in the build folder"}
    try:
        return {"ran": True, "tool": name, "source": "reported", **parse_report(report)}
    except UserError as error:
        return {"ran": False, "tool": name, "message": str(error)}
