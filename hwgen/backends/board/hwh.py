# SPDX-License-Identifier: Apache-2.0
"""The hardware handoff file (.hwh) of the block design, as far as PYNQ reads it.

Vivado writes one with every bitstream, and that one counts on a board. This one is for simulated devices, and says what
the design has to look like: the accelerator with its registers and address, the processing system with its clock and
ports, the clock wizard.

    zynq_ultra_ps_e_0 --pl_clk0--> clk_wiz_0 --clk_out1--> hwgen_top_0
       M_AXI_HPM0_FPD ----------------------------------> s_axi_control
       S_AXI_HPn_FPD, S_AXI_HPC0_FPD <------------------ m_axi_gmem_w0 .. w3, m_axi_gmem_io
       pl_ps_irq0 <-------------------------------------- interrupt
"""

from __future__ import annotations

from typing import NamedTuple
from xml.etree import ElementTree

from hwgen import runtime
from hwgen.board import Board

IPS = {"rtl": runtime.RTL_IP, "hls": runtime.HLS_IP}
"""Vendor, library, name and version of the accelerator's IP."""

TOP, PS, WIZARD = "hwgen_top_0", "zynq_ultra_ps_e_0", "clk_wiz_0"
PL_CLOCK_MHZ = 100
"""pl_clk0, which every PS clock tree can make; the wizard makes the accelerator's clock of it."""
PL_DIVISOR = 15
"""1,500 MHz IOPLL / 15"""
_PS_SLAVES = {
    "S_AXI_HPC0_FPD": 0,
    "S_AXI_HPC1_FPD": 1,
    "S_AXI_HP0_FPD": 2,
    "S_AXI_HP1_FPD": 3,
    "S_AXI_HP2_FPD": 4,
    "S_AXI_HP3_FPD": 5,
}
"""Number of each slave port in the names of the processing system's parameters."""
_AXI = "xilinx.com:interface:aximm:1.0"


class _Register(NamedTuple):
    name: str
    offset: int
    access: str
    text: str


class _Clock(NamedTuple):
    """A clock or interrupt wire."""

    source: tuple[str, str]
    target: tuple[str, str]
    kind: str
    mhz: float = 0.0


def render_hwh(board: Board, *, config_hash: int, ip: str = "rtl", clock_mhz: float | None = None) -> str | None:
    """The .hwh as text; None for a board whose processing system is not that of a Zynq UltraScale+.

    ``ip`` is a key of IPS. Deterministic.
    """
    if not board.part.startswith(("xczu", "xck26")):
        return None
    clock = board.clock_mhz if clock_mhz is None else clock_mhz
    root = ElementTree.Element("EDKSYSTEM", EDWVERSION="1.2", TIMESTAMP="", VIVADOVERSION="")
    ElementTree.SubElement(root, "SYSTEMINFO", ARCH="zynquplus", DEVICE=board.part.split("-")[0], NAME="hwgen")
    ElementTree.SubElement(root, "EXTERNALPORTS")
    ElementTree.SubElement(root, "EXTERNALINTERFACES")
    modules = ElementTree.SubElement(root, "MODULES")
    wires = [
        _Clock((PS, "pl_clk0"), (WIZARD, "clk_in1"), "clk", PL_CLOCK_MHZ),
        _Clock((WIZARD, "clk_out1"), (TOP, "ap_clk"), "clk", clock),
        _Clock((TOP, "interrupt"), (PS, "pl_ps_irq0"), "INTERRUPT"),
    ]
    _accelerator(modules, board, ip, config_hash, wires)
    wizard = _module(modules, WIZARD, "xilinx.com:ip:clk_wiz:6.0", {"CLKOUT1_REQUESTED_OUT_FREQ": f"{clock:.3f}"})
    _ports(wizard, WIZARD, wires)
    _processing_system(modules, board, wires)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8" standalone="no" ?>\n' + ElementTree.tostring(root, "unicode") + "\n"


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


def _accelerator(modules: ElementTree.Element, board: Board, ip: str, config_hash: int, wires: list[_Clock]) -> None:
    parameters = {"C_S_AXI_CONTROL_ADDR_WIDTH": "12" if ip == "rtl" else "7"}
    if ip == "rtl":
        parameters["CONFIG_HASH"] = f"0x{config_hash:08x}"
    module = _module(modules, TOP, IPS[ip], parameters)
    blocks = ElementTree.Element("ADDRESSBLOCKS")
    module.insert(0, blocks)
    span = str(board.control_bytes)
    block = ElementTree.SubElement(
        blocks, "ADDRESSBLOCK", ACCESS="read-write", INTERFACE="s_axi_control", NAME="Reg", RANGE=span, USAGE="register"
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
    _ports(module, TOP, wires)
    buses = ElementTree.SubElement(module, "BUSINTERFACES")
    _bus(buses, "s_axi_control", "SLAVE", "control", 32)
    memory = ElementTree.SubElement(module, "MEMORYMAP")
    for port in board.ports:
        _bus(buses, f"m_axi_{port.name}", "MASTER", port.name, port.bits)
        _range(memory, "DDR_LOW", 0, min(board.ddr_bytes, 0x8000_0000), PS, f"m_axi_{port.name}", port.slave, "MEMORY")


def _processing_system(modules: ElementTree.Element, board: Board, wires: list[_Clock]) -> None:
    parameters = {"PSU__USE__M_AXI_GP0": "1", "C_MAXIGP0_DATA_WIDTH": "128"}
    for port in board.ports:
        number = _PS_SLAVES.get(port.slave)
        if number is not None:
            parameters[f"PSU__USE__S_AXI_GP{number}"] = "1"
            parameters[f"C_SAXIGP{number}_DATA_WIDTH"] = str(port.bits)
    for clock in range(4):
        tree = f"PSU__CRL_APB__PL{clock}_REF_CTRL__"
        parameters[f"PSU__FPGA_PL{clock}_ENABLE"] = "1" if clock == 0 else "0"
        parameters[f"{tree}DIVISOR0"] = str(PL_DIVISOR)
        parameters[f"{tree}DIVISOR1"] = "1"
        parameters[f"{tree}SRCSEL"] = "IOPLL"
        parameters[f"{tree}ACT_FREQMHZ"] = str(PL_CLOCK_MHZ)
    module = _module(modules, PS, "xilinx.com:ip:zynq_ultra_ps_e:3.5", parameters, is_pl=False)
    _ports(module, PS, wires)
    buses = ElementTree.SubElement(module, "BUSINTERFACES")
    _bus(buses, board.control_port, "MASTER", "control", 32)
    for port in board.ports:
        _bus(buses, port.slave, "SLAVE", port.name, port.bits)
    memory = ElementTree.SubElement(module, "MEMORYMAP")
    _range(memory, "Reg", board.control_base, board.control_bytes, TOP, board.control_port, "s_axi_control", "REGISTER")


def _module(
    modules: ElementTree.Element, name: str, vlnv: str, parameters: dict[str, str], *, is_pl: bool = True
) -> ElementTree.Element:
    _, _, kind, version = vlnv.split(":")
    module = ElementTree.SubElement(
        modules,
        "MODULE",
        FULLNAME=f"/{name}",
        HWVERSION=version,
        INSTANCE=name,
        IPTYPE="PERIPHERAL",
        IS_ENABLE="1",
        MODCLASS="PERIPHERAL",
        MODTYPE=kind,
        VLNV=vlnv,
    )
    if not is_pl:
        module.set("IS_PL", "FALSE")
    listed = ElementTree.SubElement(module, "PARAMETERS")
    for key, value in parameters.items():
        ElementTree.SubElement(listed, "PARAMETER", NAME=key, VALUE=value)
    return module


def _ports(module: ElementTree.Element, name: str, wires: list[_Clock]) -> None:
    listed = ElementTree.SubElement(module, "PORTS")
    for wire in wires:
        for (here, port), (there, other), direction in (
            (wire.source, wire.target, "O"),
            (wire.target, wire.source, "I"),
        ):
            if here != name:
                continue
            signal = f"{wire.source[0]}_{wire.source[1]}"
            element = ElementTree.SubElement(listed, "PORT", DIR=direction, NAME=port, SIGIS=wire.kind, SIGNAME=signal)
            if wire.mhz:
                element.set("CLKFREQUENCY", str(round(wire.mhz * 1e6)))
            connections = ElementTree.SubElement(element, "CONNECTIONS")
            ElementTree.SubElement(connections, "CONNECTION", INSTANCE=there, PORT=other)


def _bus(buses: ElementTree.Element, name: str, kind: str, net: str, bits: int) -> None:
    bus = ElementTree.SubElement(
        buses, "BUSINTERFACE", BUSNAME=f"hwgen_{net}", DATAWIDTH=str(bits), NAME=name, TYPE=kind, VLNV=_AXI
    )
    ElementTree.SubElement(bus, "PARAMETER", NAME="DATA_WIDTH", VALUE=str(bits))
    ElementTree.SubElement(bus, "PORTMAPS")


def _range(
    memory: ElementTree.Element, block: str, base: int, size: int, instance: str, master: str, slave: str, kind: str
) -> None:
    ElementTree.SubElement(
        memory,
        "MEMRANGE",
        ADDRESSBLOCK=block,
        BASENAME="C_BASEADDR",
        BASEVALUE=f"0x{base:08X}",
        HIGHNAME="C_HIGHADDR",
        HIGHVALUE=f"0x{base + size - 1:08X}",
        INSTANCE=instance,
        IS_DATA="TRUE",
        IS_INSTRUCTION="FALSE",
        MASTERBUSINTERFACE=master,
        MEMTYPE=kind,
        SLAVEBUSINTERFACE=slave,
    )
