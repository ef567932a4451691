# SPDX-License-Identifier: Apache-2.0
"""Writes the SystemVerilog project of one Program's machine.

All modules are copied as they lie in ``templates/rtl``; only ``config_pkg.sv`` is rendered.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from hwgen.backends.rtl.package import render_package
from hwgen.plan.program import Program
from hwgen.resources import folder

TOP = "hwgen_top"
VITIS_VERILOG = Path("hls") / "project" / "solution" / "syn" / "verilog"
"""Where run_hls.tcl leaves the Verilog of the C++."""
DUTS = ("hwgen", "vitis")
PACKAGE = "config_pkg.sv"


def emit(program: Program, directory: Path) -> None:
    """Write ``directory/rtl`` (modules and package) and ``directory/sim`` (testbench and makefile).

    Deterministic. Raises FileExistsError if one of the folders exists.
    """
    source = folder("templates") / "rtl"
    target = directory / "rtl"
    target.mkdir()
    for file in sorted(source.glob("*.sv")):
        shutil.copyfile(file, target / file.name)
    (target / PACKAGE).write_text(render_package(program.config), encoding="utf-8", newline="\n")
    bench = directory / "sim"
    bench.mkdir()
    for name in ("testbench.cpp", "server.hpp", "Makefile"):
        shutil.copyfile(source / "sim" / name, bench / name)


def sources(directory: Path, dut: str = "hwgen") -> list[Path]:
    """The SystemVerilog files of a build, the package first; for ``dut`` "vitis" what Vitis HLS exported instead."""
    if dut == "vitis":
        return sorted(file for file in (directory / VITIS_VERILOG).glob("*.*v") if file.suffix in (".v", ".sv"))
    files = sorted((directory / "rtl").glob("*.sv"))
    return sorted(files, key=lambda file: (file.name != PACKAGE, file.name))


def rtl_hash(directory: Path, dut: str = "hwgen") -> str:
    """SHA-256 over names and contents of :func:`sources`: what was simulated is what was counted."""
    digest = hashlib.sha256()
    for file in sources(directory, dut):
        digest.update(f"{file.name}\0{file.stat().st_size}\0".encode() + file.read_bytes())
    return digest.hexdigest()
