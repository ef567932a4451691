# SPDX-License-Identifier: Apache-2.0
"""Runs the Tcl of a build against tests/vivado_stub.tcl, and reads the block design that it recorded."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hwgen.backends.board.catalog import interface
from hwgen.backends.board.design import Cell, Design, Range

STUB = Path(__file__).with_name("vivado_stub.tcl")

_TKINTER = (
    "import sys, tkinter; t = tkinter.Tcl(); t.call('set', 'argv', tuple(sys.argv[2:])); "
    "t.call('set', 'argc', len(sys.argv) - 2); t.call('source', sys.argv[1])"
)


def interpreter() -> list[str]:
    """Command line of a Tcl interpreter: tclsh, or Python's own. Skips the test where there is neither; the rules of
    the block design are proven without (test_the_rules_find_a_fault_in_a_design)."""
    tclsh = next((path for name in ("tclsh", "tclsh8.6", "tclsh9.0") if (path := shutil.which(name))), None)
    if tclsh is not None:
        return [tclsh]
    if importlib.util.find_spec("_tkinter") is not None:
        return [sys.executable, "-c", _TKINTER]
    pytest.skip(
        "no Tcl interpreter, neither tclsh nor tkinter: not proven that the scripts run, nor that the block design "
        "that they make keeps the rules and agrees with the .hwh (apt install tcl)"
    )


@dataclass(frozen=True)
class Recorded:
    """What a script did."""

    lines: list[list[str]]
    """Records, the kind first"""

    def of(self, kind: str) -> list[list[str]]:
        return [line[1:] for line in self.lines if line[0] == kind]

    @property
    def design(self) -> Design:
        """The block design; an address space or segment that no cell has keeps its name."""
        config: dict[str, dict[str, str]] = {name: {} for name, _ in self.of("cell")}
        for owner, name, value in self.of("property"):
            if owner in config:
                config[owner][name.removeprefix("CONFIG.")] = value
        cells = tuple(Cell(name, vlnv, config[name]) for name, vlnv in self.of("cell"))
        spaces, segments = {}, {}
        for cell in cells:
            known = interface(cell.vlnv, cell.config)
            for bus in known.buses.values() if known is not None else ():
                if bus.space:
                    spaces[f"{cell.name}/{bus.space}"] = f"{cell.name}/{bus.name}"
                if bus.blocks:
                    segments[f"{cell.name}/{bus.blocks}"] = f"{cell.name}/{bus.name}"
        ranges = []
        for space, segment, base, size in self.of("range"):
            owner, _, block = segment.rpartition("/")
            master, slave = spaces.get(space, space), segments.get(owner, owner)
            ranges.append(Range(master, slave, block, int(base, 0), int(size, 0)))
        links = tuple((master, slave) for master, slave in self.of("link"))
        return Design(cells, links, tuple((w[0], tuple(w[1:])) for w in self.of("wire")), tuple(ranges))


def run(script: Path, record: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Source a script with the stub's commands."""
    command = [*interpreter(), str(STUB), str(record), str(script), *arguments]
    return subprocess.run(command, cwd=script.parent, capture_output=True, text=True, check=False, timeout=60)


def read(record: Path) -> Recorded:
    """The record of a run."""
    return Recorded([words(line) for line in record.read_text(encoding="utf-8").splitlines()])


def words(line: str) -> list[str]:
    """Elements of a Tcl list without substitutions, as ``puts $list`` writes it."""
    found, at = [], 0
    while at < len(line):
        if line[at] == " ":
            at += 1
            continue
        end = at
        if line[at] == "{":
            depth = 0
            while True:
                depth += {"{": 1, "}": -1}.get(line[end], 0)
                end += 1
                if depth == 0:
                    break
            found.append(line[at + 1 : end - 1])
        else:
            while end < len(line) and line[end] != " ":
                end += 1
            found.append(line[at:end].replace("\\", ""))
        at = end
    return found


def fake_vivado(folder: Path, record: Path) -> Path:
    """A program ``vivado`` in ``folder`` that takes the options of the real one and runs the stub."""
    lines: list[Any] = [
        "#!/bin/sh",
        'while [ "$1" != "-source" ]; do shift; done',
        f'exec {" ".join(_quoted(word) for word in interpreter())} {_quoted(STUB)} {_quoted(record)} "$2" "$4"',
    ]
    program = folder / "vivado"
    program.write_text("\n".join(lines) + "\n", encoding="utf-8")
    program.chmod(0o755)
    return program


def _quoted(word: object) -> str:
    return "'" + str(word).replace("'", "'\\''") + "'"
