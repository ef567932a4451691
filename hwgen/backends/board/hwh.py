# SPDX-License-Identifier: Apache-2.0
"""The hardware handoff file (.hwh) of the block design, as far as PYNQ reads it.

Vivado writes one with every bitstream, and that one counts on a board. This one is for simulated devices; it is
rendered from the same description as the Tcl (:mod:`hwgen.backends.board.design`), and read back to compare the two.
"""

from __future__ import annotations

from typing import NamedTuple
from xml.etree import ElementTree

from hwgen import runtime
from hwgen.backends.board.catalog import Family, interface
from hwgen.backends.board.design import PL_CLOCK_MHZ, TOP, WIZARD, Cell, Design, Range, block_design, family_of
from hwgen.board import Board

_AXI = "xilinx.com:interface:aximm:1.0"
_SIGNALS = {"clk": "clk", "rst": "rst", "rst_n": "rst", "intr": "INTERRUPT"}
"""Kind of a pin -> SIGIS"""


class _Register(NamedTuple):
    name: str
    offset: int
    access: str
    text: str


def render_hwh(board: Board, *, config_hash: int, ip: str = "rtl", clock_mhz: float | None = None) -> str | None:
    """The .hwh as text; None for a board whose processing system hwgen does not know.

    ``ip`` is a key of :data:`hwgen.backends.board.design.IPS`. Deterministic. Raises BoardError as
    :func:`hwgen.backends.board.design.block_design` does.
    """
    design = block_design(board, config_hash=config_hash, ip=ip, clock_mhz=clock_mhz)
    family = family_of(board)
    if design is None or family is None:
        return None
    root = ElementTree.Element("EDKSYSTEM", EDWVERSION="1.2", TIMESTAMP="", VIVADOVERSION="")
    device = board.part.split("-")[0]
    ElementTree.SubElement(root, "SYSTEMINFO", ARCH=family.architecture, DEVICE=device, NAME="hwgen")
    ElementTree.SubElement(root, "EXTERNALPORTS")
    ElementTree.SubElement(root, "EXTERNALINTERFACES")
    modules = ElementTree.SubElement(root, "MODULES")
    for cell in design.cells:
        module = _module(modules, cell, family, ip)
        if cell.name == TOP:
            _register_map(module, board.control_bytes, ip)
        _ports(module, cell, design, family)
        _buses(module, cell, design)
        _memory_map(module, cell, design)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8" standalone="no" ?>\n' + ElementTree.tostring(root, "unicode") + "\n"


def read_hwh(text: str) -> Design:
    """The block design in a .hwh that :func:`render_hwh` wrote: what its elements say, not how they came about."""
    cells, ranges = [], []
    drives: dict[str, list[str]] = {}
    nets: dict[str, dict[str, str]] = {}
    for module in ElementTree.fromstring(text).iter("MODULE"):
        name = module.get("INSTANCE", "")
        config = {p.get("NAME", ""): p.get("VALUE", "") for p in module.findall("PARAMETERS/PARAMETER")}
        cells.append(Cell(name, module.get("VLNV", ""), config))
        for port in module.findall("PORTS/PORT"):
            if port.get("DIR") == "I":
                for end in port.iter("CONNECTION"):
                    source = f"{end.get('INSTANCE')}/{end.get('PORT')}"
                    drives.setdefault(source, []).append(f"{name}/{port.get('NAME')}")
        for bus in module.findall("BUSINTERFACES/BUSINTERFACE"):
            nets.setdefault(bus.get("BUSNAME", ""), {})[bus.get("TYPE", "")] = f"{name}/{bus.get('NAME')}"
        for r in module.findall("MEMORYMAP/MEMRANGE"):
            base, high = (int(r.get(key, "0"), 16) for key in ("BASEVALUE", "HIGHVALUE"))
            slave = f"{r.get('INSTANCE')}/{r.get('SLAVEBUSINTERFACE')}"
            master = f"{name}/{r.get('MASTERBUSINTERFACE')}"
            ranges.append(Range(master, slave, r.get("ADDRESSBLOCK", ""), base, high - base + 1))
    links = [(ends.get("MASTER", "nothing"), ends.get("SLAVE", "nothing")) for ends in nets.values()]
    wires = tuple((source, tuple(loads)) for source, loads in drives.items())
    return Design(tuple(cells), tuple(links), wires, tuple(ranges))


def registers(ip: str) -> list[_Register]:
    """The accelerator's registers as Vitis HLS names them, and what only the RTL has."""
    found = [
        _Register("CTRL", runtime.CONTROL, "read-write", "ap_start, ap_done, ap_idle, ap_ready, auto_restart"),
        _Register("GIER", 0x04, "read-write", "Global interrupt enable"),
        _Register("IP_IER", 0x08, "read-write", "Interrupt enable: done, ready"),
        _Register("IP_ISR", 0x0C, "read-write", "Interrupt status: done, ready"),
    ]
    for name, offset in runtime.POINTERS.items():
        found += [
            _Register(f"{name}_1", offset, "read-write", f"Address of {name}, bits 31 to 0"),
            _Register(f"{name}_2", offset + 4, "read-write", f"Address of {name}, bits 63 to 32"),
        ]
    found += [
        _Register("frames", runtime.FRAMES, "read-write", "Frames of a start"),
        _Register("trace_enable", runtime.TRACE_ENABLE, "read-write", "1: copy every tensor to the trace buffer"),
    ]
    if ip == "hls":
        return found
    found += [
        _Register("error", runtime.ERROR, "read-only", "Error bits"),
        _Register("cycles", runtime.CYCLES, "read-only", "Cycles since the start"),
        _Register("frames_done", runtime.FRAMES_DONE, "read-only", "Frames done since the start"),
    ]
    for number, queue in enumerate(runtime.QUEUES):
        at = runtime.COUNTERS + 8 * number
        found += [
            _Register(f"{queue}_busy", at, "read-only", f"Cycles in which the engine of queue {queue} was busy"),
            _Register(f"{queue}_waiting", at + 4, "read-only", f"Cycles in which queue {queue} waited for others"),
        ]
    return found


def _module(modules: ElementTree.Element, cell: Cell, family: Family, ip: str) -> ElementTree.Element:
    _, _, kind, version = cell.vlnv.split(":")
    module = ElementTree.SubElement(
        modules,
        "MODULE",
        FULLNAME=f"/{cell.name}",
        HWVERSION=version,
        INSTANCE=cell.name,
        IPTYPE="PERIPHERAL",
        IS_ENABLE="1",
        MODCLASS="PERIPHERAL",
        MODTYPE=kind,
        VLNV=cell.vlnv,
    )
    parameters = dict(cell.config)
    if cell.name == family.cell:
        module.set("IS_PL", "FALSE")
        parameters |= family.derived
        for port in family.memory.values():
            if port.built_width and port.width in cell.config:
                parameters[port.built_width] = cell.config[port.width]
        for control in family.control.values():
            if control.width in cell.config:
                parameters[_built(control.width)] = cell.config[control.width]
    if cell.name == TOP:
        parameters["C_S_AXI_CONTROL_ADDR_WIDTH"] = "12" if ip == "rtl" else "7"
    listed = ElementTree.SubElement(module, "PARAMETERS")
    for key, value in parameters.items():
        ElementTree.SubElement(listed, "PARAMETER", NAME=key, VALUE=value)
    return module


def _built(width: str) -> str:
    """PSU__MAXIGP0__DATA_WIDTH as PYNQ looks for it: C_MAXIGP0_DATA_WIDTH."""
    return "C_" + width.removeprefix("PSU__").replace("__", "_")


def _register_map(module: ElementTree.Element, size: int, ip: str) -> None:
    blocks = ElementTree.Element("ADDRESSBLOCKS")
    module.insert(0, blocks)
    block = ElementTree.SubElement(
        blocks,
        "ADDRESSBLOCK",
        ACCESS="read-write",
        INTERFACE="s_axi_control",
        NAME="Reg",
        RANGE=str(size),
        USAGE="register",
    )
    listed = ElementTree.SubElement(block, "REGISTERS")
    for register in registers(ip):
        element = ElementTree.SubElement(listed, "REGISTER", NAME=register.name)
        values = {
            "DESCRIPTION": register.text,
            "ADDRESS_OFFSET": hex(register.offset),
            "SIZE": "32",
            "ACCESS": register.access,
            "IS_ENABLED": "true",
            "RESET_VALUE": "0x0",
        }
        for name, value in values.items():
            ElementTree.SubElement(element, "PROPERTY", NAME=name, VALUE=value)
        ElementTree.SubElement(element, "FIELDS")


def _ports(module: ElementTree.Element, cell: Cell, design: Design, family: Family) -> None:
    """Connected pins: an output lists what it drives, an input its driver."""
    known = interface(cell.vlnv, cell.config)
    pins = {} if known is None else known.pins
    clocks = {f"{family.cell}/{family.clock}": float(PL_CLOCK_MHZ)}
    wizard = next(c for c in design.cells if c.name == WIZARD)
    clocks[f"{WIZARD}/clk_out1"] = float(wizard.config["CLKOUT1_REQUESTED_OUT_FREQ"])
    listed = ElementTree.SubElement(module, "PORTS")
    for source, loads in design.wires:
        for path, others in ((source, loads), *((load, (source,)) for load in loads)):
            owner, _, name = path.partition("/")
            if owner != cell.name:
                continue
            signal = source.replace("/", "_")
            element = ElementTree.SubElement(listed, "PORT", DIR="O" if path == source else "I", NAME=name)
            kind = _SIGNALS.get(pins[name].kind)
            if kind is not None:
                element.set("SIGIS", kind)
            element.set("SIGNAME", signal)
            if source in clocks:
                element.set("CLKFREQUENCY", str(round(clocks[source] * 1e6)))
            connections = ElementTree.SubElement(element, "CONNECTIONS")
            for other in others:
                there, _, port = other.partition("/")
                ElementTree.SubElement(connections, "CONNECTION", INSTANCE=there, PORT=port)


def _buses(module: ElementTree.Element, cell: Cell, design: Design) -> None:
    known = interface(cell.vlnv, cell.config)
    listed = ElementTree.SubElement(module, "BUSINTERFACES")
    for master, slave in design.links:
        for path, other, kind in ((master, slave, "MASTER"), (slave, master, "SLAVE")):
            owner, _, name = path.partition("/")
            if owner != cell.name or known is None:
                continue
            bits = known.buses[name].bits or _bits(other, design)
            net = master.replace("/", "_")
            bus = ElementTree.SubElement(
                listed, "BUSINTERFACE", BUSNAME=net, DATAWIDTH=str(bits), NAME=name, TYPE=kind, VLNV=_AXI
            )
            ElementTree.SubElement(bus, "PARAMETER", NAME="DATA_WIDTH", VALUE=str(bits))
            ElementTree.SubElement(bus, "PORTMAPS")


def _bits(path: str, design: Design) -> int:
    """Data width of a bus that has one of its own."""
    owner, _, name = path.partition("/")
    cell = next(c for c in design.cells if c.name == owner)
    known = interface(cell.vlnv, cell.config)
    return (known.buses[name].bits or 0) if known is not None else 0


def _memory_map(module: ElementTree.Element, cell: Cell, design: Design) -> None:
    memory = ElementTree.SubElement(module, "MEMORYMAP")
    for r in design.ranges:
        owner, _, master = r.master.partition("/")
        if owner != cell.name:
            continue
        instance, _, slave = r.slave.partition("/")
        ElementTree.SubElement(
            memory,
            "MEMRANGE",
            ADDRESSBLOCK=r.block,
            BASENAME="C_BASEADDR",
            BASEVALUE=f"0x{r.base:08X}",
            HIGHNAME="C_HIGHADDR",
            HIGHVALUE=f"0x{r.base + r.size - 1:08X}",
            INSTANCE=instance,
            IS_DATA="TRUE",
            IS_INSTRUCTION="FALSE",
            MASTERBUSINTERFACE=master,
            MEMTYPE="REGISTER" if r.block == "Reg" else "MEMORY",
            SLAVEBUSINTERFACE=slave,
        )
