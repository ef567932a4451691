# SPDX-License-Identifier: Apache-2.0
"""Counts what the emitted SystemVerilog needs, with Yosys (``synth_xilinx -family xcup``).

The counts are of Yosys' technology mapping, not of Vivado's. What differs: Yosys maps few registers into a DSP48E2, so
operand and product registers stand among the flip-flops; it writes CARRY4, of which two make a CARRY8; it never shares
a LUT between two functions (LUT6_2); it optimizes each module by itself, apart from constant and unused ports.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwgen.backends.rtl.emit import TOP, rtl_hash, sources
from hwgen.backends.rtl.synthesize import is_library, synthesize
from hwgen.errors import InternalError, UserError
from hwgen.resources import folder as folder_of

Progress = Callable[[int, int], None]
PRIMITIVE = "dsp48e2_ports.sv"

LUT_RAM = {
    "RAM16X1S": 1,
    "RAM32X1S": 1,
    "RAM64X1S": 1,
    "RAM128X1S": 2,
    "RAM256X1S": 4,
    "RAM512X1S": 8,
    "RAM32X1D": 2,
    "RAM64X1D": 2,
    "RAM128X1D": 4,
    "RAM256X1D": 8,
    "RAM32M": 4,
    "RAM64M": 4,
    "RAM32M16": 8,
    "RAM64M8": 8,
}
"""LUTs of the distributed memories (UG974)."""

LUT = re.compile(r"LUT[1-6]$|INV$")
SHIFT_REGISTER = re.compile(r"SRL")
FLIP_FLOP = re.compile(r"FD[RSCP]E(_1)?$|LD[CP]E$")
FREE = re.compile(r"MUXF[789]$|CARRY[48]$|VCC$|GND$|BUFG$|\$scopeinfo$")
THROUGH = re.compile(r"LUT[1-6]$|INV$|CARRY[48]$|MUXF[789]$")
RESOURCES = ("lut", "ff", "dsp", "bram36", "carry8")


@dataclass(frozen=True)
class Count:
    """Resources of one module, or of a whole design. ``bram36`` counts a RAMB18 as a half."""

    lut: int = 0
    lut_memory: int = 0
    """LUTs used as memory or shift register, part of ``lut``"""
    ff: int = 0
    dsp: int = 0
    bram36: float = 0
    carry8: float = 0
    unknown: tuple[str, ...] = ()
    """types of cells that are none of these"""

    def __add__(self, other: Count) -> Count:
        return self.plus(other, 1)

    def plus(self, other: Count, times: int) -> Count:
        """This and ``times`` others."""
        return Count(
            self.lut + times * other.lut,
            self.lut_memory + times * other.lut_memory,
            self.ff + times * other.ff,
            self.dsp + times * other.dsp,
            self.bram36 + times * other.bram36,
            self.carry8 + times * other.carry8,
            tuple(sorted({*self.unknown, *other.unknown})),
        )


def of_cells(kinds: Mapping[str, int]) -> Count:
    """The resources of cells of the Xilinx library, by type."""
    memory = sum(LUT_RAM[k] * n for k, n in kinds.items() if k in LUT_RAM)
    memory += sum(n for k, n in kinds.items() if SHIFT_REGISTER.match(k))
    known = {"DSP48E2", "RAMB36E2", "RAMB18E2", *LUT_RAM}
    patterns = (LUT, SHIFT_REGISTER, FLIP_FLOP, FREE)
    return Count(
        lut=memory + sum(n for k, n in kinds.items() if LUT.match(k)),
        lut_memory=memory,
        ff=sum(n for k, n in kinds.items() if FLIP_FLOP.match(k)),
        dsp=kinds.get("DSP48E2", 0),
        bram36=kinds.get("RAMB36E2", 0) + kinds.get("RAMB18E2", 0) / 2,
        carry8=kinds.get("CARRY4", 0) / 2 + kinds.get("CARRY8", 0),
        unknown=tuple(sorted(k for k in kinds if k not in known and not any(p.match(k) for p in patterns))),
    )


def depth(netlist: Mapping[str, Any]) -> tuple[int, int]:
    """(LUTs, CARRY4s) on the path with the most LUTs between registers, DSPs and ports. InternalError on a loop."""
    drivers: dict[Any, str] = {}
    inputs: dict[str, list[Any]] = {}
    for name, cell in netlist["cells"].items():
        if not THROUGH.match(cell["type"]):
            continue
        directions = cell["port_directions"]
        inputs[name] = [
            bit for port, bits in cell["connections"].items() if directions[port] == "input" for bit in bits
        ]
        for port, bits in cell["connections"].items():
            if directions[port] == "output":
                drivers.update(dict.fromkeys(bits, name))
    levels: dict[str, tuple[int, int]] = {}
    for root in inputs:
        stack = [root]
        while stack:
            name = stack[-1]
            if name in levels:
                stack.pop()
                continue
            before = {drivers[bit] for bit in inputs[name] if bit in drivers}
            todo = [b for b in before if b not in levels]
            if todo:
                if len(stack) > len(inputs):
                    raise InternalError("the netlist has a combinational loop")
                stack += todo
                continue
            luts, carries = max((levels[b] for b in before), default=(0, 0))
            kind = netlist["cells"][name]["type"]
            levels[name] = (luts + bool(LUT.match(kind)), carries + kind.startswith("CARRY"))
    return max(levels.values(), default=(0, 0))


def count_build(directory: Path, progress: Progress = lambda done, total: None) -> dict[str, Any]:
    """Synthesize the machine of a build folder: totals, and every module with its instances.

    ``levels`` is the deepest logic between registers within a module, in LUTs; ``total`` is of all instances together
    and includes the modules inside.
    """
    files = sources(directory)
    if not files:
        raise UserError(f"{directory} holds no RTL project. Give a folder that hwgen build wrote.")
    start = time.perf_counter()
    digest = rtl_hash(directory)
    with tempfile.TemporaryDirectory(prefix="hwgen-count-") as name:
        folder = Path(name)
        primitive = folder_of("templates") / "rtl" / "sim" / PRIMITIVE
        design = synthesize([primitive, *files], TOP, folder, progress)
    return {
        "source": "counted",
        "tool": "Yosys, synth_xilinx -family xcup",
        "rtl_hash": digest,
        "seconds": round(time.perf_counter() - start, 1),
    } | summarize(design)


def summarize(design: Mapping[str, Any]) -> dict[str, Any]:
    """Totals and modules of a netlist in Yosys' JSON form."""
    modules = {name: m for name, m in design.items() if not is_library(m)}
    top = next(name for name, m in modules.items() if int(str(m["attributes"].get("top", "0")), 2))
    cells = {name: Counter(c["type"] for c in m["cells"].values()) for name, m in modules.items()}
    totals: dict[str, Count] = {}

    def total(name: str) -> Count:
        if name not in totals:
            result = of_cells({k: n for k, n in cells[name].items() if k not in modules})
            for kind, number in cells[name].items():
                if kind in modules:
                    result = result.plus(total(kind), number)
            totals[name] = result
        return totals[name]

    instances = Counter({top: 1})
    for name in _from_top(top, cells, modules):
        for kind, number in cells[name].items():
            if kind in modules:
                instances[kind] += number * instances[name]
    whole = total(top)
    groups: dict[str, list[str]] = {}
    for name in instances:
        groups.setdefault(_plain(name), []).append(name)
    rows: list[dict[str, Any]] = []
    for module, names in groups.items():
        together = Count()
        for name in names:
            together = together.plus(total(name), instances[name])
        rows.append(
            {
                "module": module,
                "instances": sum(instances[name] for name in names),
                "levels": max(depth(modules[name])[0] for name in names),
                "total": {key: getattr(together, key) for key in RESOURCES},
            }
        )
    return {
        "resources": {key: getattr(whole, key) for key in (*RESOURCES, "lut_memory")},
        "unknown_cells": list(whole.unknown),
        "levels": max(row["levels"] for row in rows),
        "modules": sorted(rows, key=lambda row: (-row["total"]["lut"], row["module"])),
    }


def _from_top(top: str, cells: Mapping[str, Counter[str]], modules: Mapping[str, Any]) -> list[str]:
    """Modules under ``top``, each before those that it instantiates."""
    order: list[str] = []
    done: set[str] = set()

    def visit(name: str) -> None:
        if name in done:
            return
        done.add(name)
        for kind in cells[name]:
            if kind in modules:
                visit(kind)
        order.append(name)

    visit(top)
    return order[::-1]


def _plain(name: str) -> str:
    """The module's name without what Yosys adds: parameters in front, or the place of an instance behind."""
    match = re.match(r"\$paramod(?:\$[0-9a-f]+)?\\([^\\]+)", name)
    return match.group(1) if match else name.lstrip("\\").partition("$")[0]
