# SPDX-License-Identifier: Apache-2.0
"""Design rules of a block design, and the comparison of two of them. Needs no Tcl: every build is checked.

Vivado validates a block design, too, but not where there is none, and it does not know what the runtime expects.
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations

from hwgen.backends.board.catalog import Bus, Interface, Pin, interface
from hwgen.backends.board.design import Design, Range, family_of
from hwgen.board import Board

PAGE = 4096


def check(design: Design, board: Board) -> list[str]:
    """Everything that is wrong with a block design, one sentence each; empty where nothing is.

    Each input that must be driven has one driver of its kind, each bus one partner of its width, protocol and clock,
    each slave an address range, ranges do not overlap and lie in their port's window, and every memory port shows the
    whole DDR.
    """
    return _Checker(design, board).problems()


def compare(found: Design, expected: Design) -> list[str]:
    """In what two block designs differ; properties that only ``expected`` has are not missed, nor versions of IPs of
    the catalog of Vivado."""
    problems: list[str] = []

    def differ(what: str, here: set[str], there: set[str]) -> None:
        problems.extend(f"{what} {text}: missing" for text in sorted(there - here))
        problems.extend(f"{what} {text}: not expected" for text in sorted(here - there))

    differ("cell", {_kind(c.name, c.vlnv) for c in found.cells}, {_kind(c.name, c.vlnv) for c in expected.cells})
    differ("connection", {" - ".join(link) for link in found.links}, {" - ".join(link) for link in expected.links})
    pairs = [{f"{driver} - {load}" for driver, loads in d.wires for load in loads} for d in (found, expected)]
    differ("wire", *pairs)
    differ("address range", {_text(r) for r in found.ranges}, {_text(r) for r in expected.ranges})
    stated = {cell.name: cell.config for cell in expected.cells}
    for cell in found.cells:
        for key, value in cell.config.items():
            other = stated.get(cell.name, {}).get(key)
            if other != value:
                problems.append(f"property {key} of {cell.name}: {value}, expected {other}")
    return problems


def _kind(name: str, vlnv: str) -> str:
    vendor, library, *_ = vlnv.split(":")
    return f"{name} ({vlnv if (vendor, library) != ('xilinx.com', 'ip') else ':'.join(vlnv.split(':')[:3])})"


def _text(r: Range) -> str:
    return f"{r.master} -> {r.slave}/{r.block} 0x{r.base:x} to 0x{r.base + r.size - 1:x}"


class _Checker:
    def __init__(self, design: Design, board: Board) -> None:
        self.design = design
        self.board = board
        self.found: list[str] = []
        self.cells: dict[str, Interface] = {}
        for cell in design.cells:
            known = interface(cell.vlnv, cell.config)
            if known is None:
                self.found.append(f"{cell.name}: {cell.vlnv} is not in the catalog")
            elif cell.name in self.cells:
                self.found.append(f"{cell.name}: two cells have this name")
            else:
                self.cells[cell.name] = known
        self.driver: dict[str, str] = {}
        """Driven pin -> its driver"""
        self.partner: dict[str, str] = {}
        """Bus -> the bus at the other end"""

    def problems(self) -> list[str]:
        self._wires()
        self._links()
        self._clocks_of_links()
        self._resets()
        self._ranges()
        return self.found

    def _pin(self, path: str) -> Pin | None:
        cell, _, name = path.partition("/")
        return self.cells[cell].pins.get(name) if cell in self.cells else None

    def _bus(self, path: str) -> Bus | None:
        cell, _, name = path.partition("/")
        return self.cells[cell].buses.get(name) if cell in self.cells else None

    def _exists(self, path: str, kind: str) -> None:
        if (self._pin if kind == "pin" else self._bus)(path) is None:
            self.found.append(f"{path}: there is no such {kind}")

    def _wires(self) -> None:
        for source, loads in self.design.wires:
            self._exists(source, "pin")
            pin = self._pin(source)
            if pin is not None and not pin.output:
                self.found.append(f"{source}: an input drives a wire")
            for load in loads:
                self._exists(load, "pin")
                other = self._pin(load)
                if load in self.driver:
                    self.found.append(f"{load}: driven by {self.driver[load]} and by {source}")
                self.driver[load] = source
                if other is not None and other.output:
                    self.found.append(f"{load}: an output is driven by {source}")
                if pin is not None and other is not None and pin.kind != other.kind:
                    self.found.append(f"{load}: {other.kind} is driven by {source}, which is {pin.kind}")
        for cell, known in self.cells.items():
            for pin in known.pins.values():
                path = f"{cell}/{pin.name}"
                if not pin.output and pin.required and path not in self.driver:
                    self.found.append(f"{path}: {pin.kind} is not driven")
                if pin.output and pin.kind == "intr" and not any(s == path and t for s, t in self.design.wires):
                    self.found.append(f"{path}: the interrupt goes nowhere")

    def _links(self) -> None:
        for master, slave in self.design.links:
            ends = self._bus(master), self._bus(slave)
            for path, bus, role in zip((master, slave), ends, (True, False), strict=True):
                self._exists(path, "bus")
                if bus is not None and bus.master != role:
                    self.found.append(
                        f"{path}: a {'master' if bus.master else 'slave'} at the wrong end of a connection"
                    )
                if path in self.partner:
                    self.found.append(f"{path}: connected twice")
            self.partner[master], self.partner[slave] = slave, master
            here, there = ends
            if here is None or there is None:
                continue
            if None not in (here.bits, there.bits) and here.bits != there.bits:
                self.found.append(f"{master} has {here.bits} bit, {slave} {there.bits}")
            if here.protocol and there.protocol and here.protocol != there.protocol:
                self.found.append(f"{master} is {here.protocol}, {slave} {there.protocol}")
        for cell, known in self.cells.items():
            for name in known.buses:
                if f"{cell}/{name}" not in self.partner:
                    self.found.append(f"{cell}/{name}: the bus is not connected")

    def _clock_of(self, cell: str, pin: str) -> str | None:
        """The output that drives a clock pin of a cell."""
        return self.driver.get(f"{cell}/{pin}")

    def _clocks_of_links(self) -> None:
        for master, slave in self.design.links:
            clocks = []
            for path in (master, slave):
                bus = self._bus(path)
                clocks.append(None if bus is None else self._clock_of(path.partition("/")[0], bus.clock))
            if None not in clocks and clocks[0] != clocks[1]:
                self.found.append(f"{master} runs with {clocks[0]}, {slave} with {clocks[1]}")

    def _resets(self) -> None:
        """A reset that is synchronous to a clock comes from a source that is synchronous to the same."""
        for cell, known in self.cells.items():
            for pin in known.pins.values():
                source = self.driver.get(f"{cell}/{pin.name}")
                if pin.output or not pin.clock or source is None:
                    continue
                driving = self._pin(source)
                if driving is None:
                    continue
                mine = self._clock_of(cell, pin.clock)
                theirs = self._clock_of(source.partition("/")[0], driving.clock)
                if not driving.clock or mine != theirs:
                    self.found.append(f"{cell}/{pin.name}: the reset {source} is not synchronous to {mine}")

    def _targets(self, master: str) -> set[str]:
        """Slaves with addresses that a master bus reaches, through any SmartConnect."""
        reached: set[str] = set()
        waiting, seen = [master], set()
        while waiting:
            path = waiting.pop()
            slave = self.partner.get(path)
            if path in seen or slave is None:
                continue
            seen.add(path)
            bus = self._bus(slave)
            if bus is None:
                continue
            if bus.blocks:
                reached.add(slave)
            else:
                cell = slave.partition("/")[0]
                waiting += [f"{cell}/{other.name}" for other in self.cells[cell].buses.values() if other.master]
        return reached

    def _ranges(self) -> None:
        for r in self.design.ranges:
            self._exists(r.master, "bus")
            master = self._bus(r.master)
            if master is not None and not master.space:
                self.found.append(f"{r.master}: has no address space")
            if r.slave not in self._targets(r.master):
                self.found.append(f"{_text(r)}: the slave is not wired to this master")
            if r.size < PAGE or r.size & (r.size - 1) or r.base % r.size:
                self.found.append(f"{_text(r)}: not a power of two of at least {PAGE} bytes, aligned to its size")
        for one, two in combinations(self.design.ranges, 2):
            if one.master == two.master and one.base < two.base + two.size and two.base < one.base + one.size:
                self.found.append(f"{_text(one)} overlaps {_text(two)}")
        seen = Counter((r.master, r.slave) for r in self.design.ranges)
        for cell, known in self.cells.items():
            for bus in known.buses.values():
                if bus.master and bus.space:
                    path = f"{cell}/{bus.name}"
                    self.found += [
                        f"{path}: {slave} has no address"
                        for slave in sorted(self._targets(path))
                        if not seen[path, slave]
                    ]
        self._ports_of_the_system()

    def _ports_of_the_system(self) -> None:
        """Windows of the control port; every memory port shows its accelerator's bus the whole DDR."""
        family = family_of(self.board)
        if family is None:
            return
        for r in self.design.ranges:
            cell, _, name = r.master.partition("/")
            if cell == family.cell and name in family.control:
                windows = family.control[name].windows
                if not any(base <= r.base and r.base + r.size <= base + size for base, size in windows):
                    self.found.append(f"{_text(r)}: outside what the port reaches")
            cell, _, name = r.slave.partition("/")
            if cell == family.cell and name in family.memory:
                blocks = family.memory_blocks(name, self.board.ddr_bytes)
                if blocks.get(r.block) != (r.base, r.size):
                    self.found.append(f"{_text(r)}: not where this block of the DDR lies")
                shown = {
                    other.block for other in self.design.ranges if (other.master, other.slave) == (r.master, r.slave)
                }
                missing = sorted(set(blocks) - shown)
                if missing and r.block == min(shown):
                    self.found.append(f"{r.master}: does not see {', '.join(missing)} of {r.slave}")
