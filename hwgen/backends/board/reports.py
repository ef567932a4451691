# SPDX-License-Identifier: Apache-2.0
"""Reads Vivado's reports of a bitstream into the build's report.json, and brings the bitstream to deploy/.

Builds carry this file as vivado/collect_reports.py, so it imports the standard library only:

    python3 collect_reports.py rtl|hls
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RESOURCES = {
    "CLB LUTs": "lut",
    "Slice LUTs": "lut",
    "CLB Registers": "ff",
    "Slice Registers": "ff",
    "Block RAM Tile": "bram36",
    "URAM": "uram",
    "DSPs": "dsp",
}
"""Rows of report_utilization (UltraScale+ and 7 series) and their names here."""


def read_reports(folder: Path) -> dict[str, Any]:
    """Figures of utilization.rpt, timing.rpt and power.rpt; raises ValueError for what is missing."""
    texts = {}
    for name in ("utilization", "timing", "power"):
        try:
            texts[name] = (folder / f"{name}.rpt").read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise ValueError(f"cannot read {folder / name}.rpt: {error.strerror or error}") from error
    return {
        "resources": utilization(texts["utilization"]),
        "timing": timing(texts["timing"]),
        "power_watts": power(texts["power"]),
    }


def _rows(text: str) -> list[list[str]]:
    """Cells of the lines that are rows of a table."""
    return [[cell.strip() for cell in line.strip("| \r").split("|")] for line in text.splitlines() if line[:1] == "|"]


def utilization(text: str) -> dict[str, dict[str, float]]:
    """``{"lut": {"used", "available"}, ...}`` of report_utilization; raises ValueError where LUTs are missing."""
    found: dict[str, dict[str, float]] = {}
    header: list[str] = []
    for row in _rows(text):
        if "Used" in row and "Available" in row:
            header = row
            continue
        name = RESOURCES.get(row[0].rstrip("*"))
        if name is None or name in found or len(row) != len(header):
            continue
        cells = dict(zip(header, row, strict=True))
        found[name] = {"used": float(cells["Used"]), "available": float(cells["Available"])}
    if "lut" not in found:
        raise ValueError("report_utilization lists no LUTs")
    return found


def timing(text: str) -> dict[str, Any]:
    """Slacks of report_timing_summary in ns and whether all are met; raises ValueError where they are missing."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if "WNS(ns)" in line and "WHS(ns)" in line and number + 2 < len(lines):
            values = lines[number + 2].split()
            try:
                setup, setup_total, hold = float(values[0]), float(values[1]), float(values[4])
                pulse = float(values[8])
            except (IndexError, ValueError):
                break
            met = min(setup, hold, pulse) >= 0
            return {"wns_ns": setup, "tns_ns": setup_total, "whs_ns": hold, "wpws_ns": pulse, "met": met}
    raise ValueError("report_timing_summary has no Design Timing Summary")


def power(text: str) -> float | None:
    """Total on-chip power in watts, without activity of the nets (report_power's own assumption); None: not stated."""
    for row in _rows(text):
        if row[0].startswith("Total On-Chip Power") and len(row) > 1:
            try:
                return float(row[1])
            except ValueError:
                return None
    return None


def collect(build: Path, ip: str) -> dict[str, Any]:
    """Put what Vivado reported of ``build/vivado/ip`` into report.json, as ``bitstream``; copy hwgen.hwh and hwgen.bit
    to ``build/deploy`` if the timing is met.

    Returns the entry. Raises ValueError where reports or files are missing, OSError where files cannot be written;
    report.json and deploy/ are then as before.
    """
    folder = build / "vivado" / ip
    figures = read_reports(folder)
    files = [folder / "hwgen.hwh", folder / "hwgen.bit"]
    for file in files:
        if not file.is_file():
            raise ValueError(f"{file} is missing")
    manifest = json.loads((build / "manifest.json").read_text(encoding="utf-8"))
    try:
        clock_mhz = float(manifest["options"]["clock_mhz"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{build / 'manifest.json'} does not state options.clock_mhz") from error
    entry = {
        "ran": True,
        "tool": "vivado",
        "source": "reported",
        "ip": ip,
        "clock_mhz": clock_mhz,
        **figures,
    }
    slack = figures["timing"]
    if slack["met"]:
        return add_entry(build, entry, files)
    entry["message"] = (
        f"timing is not met at {clock_mhz:g} MHz: slack {slack['wns_ns']:g} ns for setup, "
        f"{slack['whs_ns']:g} ns for hold. The bitstream stays in vivado/{ip}; build with a lower --clock."
    )
    return add_entry(build, entry)


def add_entry(build: Path, entry: dict[str, Any], files: Sequence[Path] = ()) -> dict[str, Any]:
    """Write ``entry`` into report.json as ``bitstream`` and copy ``files`` to deploy/, all or none; the last file is
    the bitstream itself.

    Returns the entry with ``deployed``: the form whose bitstream is in deploy/ now, rtl or hls; None: there is none
    that was reported. Where that is of an earlier run, ``message`` says so. Raises OSError or ValueError.
    """
    path, target = build / "report.json", build / "deploy"
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if files:
        entry = {**entry, "deployed": entry["ip"]}
    else:
        earlier = report.get("bitstream", {}).get("deployed") if (target / "hwgen.bit").is_file() else None
        entry = {**entry, "deployed": earlier}
        if earlier:
            kept = f"deploy/ still holds the bitstream of an earlier run, from {earlier}/."
            entry["message"] = f"{entry['message'].rstrip('.')}. {kept}"
    report["bitstream"] = entry
    places = [*(target / file.name for file in files), path]
    written = [place.with_name(f"{place.name}.new") for place in places]
    try:
        for file, new in zip(files, written[:-1], strict=True):
            shutil.copyfile(file, new)
        written[-1].write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        if files:
            (target / files[-1].name).unlink(missing_ok=True)  # at no time a bitstream beside another one's .hwh
        for new, place in zip(written, places, strict=True):
            os.replace(new, place)
    finally:
        for new in written:
            new.unlink(missing_ok=True)
    return entry


def main(arguments: list[str]) -> int:
    """0: done; 1: timing is not met; 2: reports are missing."""
    if len(arguments) != 1 or arguments[0] not in ("rtl", "hls"):
        print("usage: collect_reports.py rtl|hls", file=sys.stderr)
        return 2
    try:
        entry = collect(Path(__file__).resolve().parent.parent, arguments[0])
    except (OSError, ValueError) as error:
        print(f"collect_reports.py: {error}", file=sys.stderr)
        return 2
    used = ", ".join(f"{name.upper()} {row['used']:g}" for name, row in entry["resources"].items())
    print(entry.get("message") or f"timing met at {entry['clock_mhz']:g} MHz; hwgen.bit is in deploy/")
    print(f"reported: {used}; worst slack {entry['timing']['wns_ns']:g} ns")
    return 1 if "message" in entry else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
