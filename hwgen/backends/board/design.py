# SPDX-License-Identifier: Apache-2.0
"""The block design around the accelerator, described once: the Tcl for Vivado and the .hwh both come from it.

    PS --clock 0--> clk_wiz_0 --clk_out1--> everything else
    PS --reset----> clk_wiz_0, proc_sys_reset_0 --peripheral_aresetn--> everything else
    PS --control port--> axi_control (SmartConnect) --> hwgen_top_0, axi_intc_0
    PS <--memory ports-- m_axi_gmem_w0 .. w3, m_axi_gmem_io: directly where protocol and width are the same and nobody
                         shares the port, else through a SmartConnect of that port
    PS <--interrupt-- axi_intc_0 <-- hwgen_top_0: PYNQ knows interrupts behind this controller only

:mod:`hwgen.backends.board.catalog` says what pins and buses each IP has, :mod:`hwgen.backends.board.rules` checks.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwgen import runtime
from hwgen.backends.board.catalog import DDR_STEP, FAMILIES, Family
from hwgen.board import Board
from hwgen.errors import BoardError, Problem

IPS = {"rtl": runtime.RTL_IP, "hls": runtime.HLS_IP}
"""Vendor, library, name and version of the accelerator's IP."""

TOP, WIZARD, RESET, INTERRUPTS, CONTROL = "hwgen_top_0", "clk_wiz_0", "proc_sys_reset_0", "axi_intc_0", "axi_control"
PL_CLOCK_MHZ = 100
"""Clock 0 of the processing system, which every PS clock tree can make; the wizard makes the accelerator's of it."""
INTERRUPT_BYTES = 0x1_0000


@dataclass(frozen=True)
class Cell:
    """An IP of the block design. ``config`` holds its properties (CONFIG.x) that are not left to Vivado."""

    name: str
    vlnv: str
    config: dict[str, str]


@dataclass(frozen=True)
class Range:
    """Where a master bus sees (a block of) a slave bus; buses as "cell/bus", base and size in bytes."""

    master: str
    slave: str
    block: str
    base: int
    size: int


@dataclass(frozen=True)
class Design:
    """Cells and how they are connected; pins as "cell/pin", buses as "cell/bus"."""

    cells: tuple[Cell, ...]
    links: tuple[tuple[str, str], ...]
    """AXI connections: master bus, slave bus."""
    wires: tuple[tuple[str, tuple[str, ...]], ...]
    """Driving pin, pins that it drives."""
    ranges: tuple[Range, ...]
    unused: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    """Master bus, slave bus, blocks of the slave that the master must not see: Vivado asks for a word on each."""


def family_of(board: Board) -> Family | None:
    """The processing system of the board's part; None where hwgen describes no block design for it."""
    return next((family for family in FAMILIES if board.part.startswith(family.parts)), None)


def block_design(board: Board, *, config_hash: int, ip: str = "rtl", clock_mhz: float | None = None) -> Design | None:
    """The block design of a machine on a board; None for a part whose processing system is not described.

    ``ip`` is a key of IPS, ``clock_mhz`` the accelerator's clock (default: the board's). Raises BoardError for ports
    that the processing system does not have, for a control address outside its port's window, and for a memory that it
    cannot have.
    """
    family = family_of(board)
    if family is None:
        return None
    _check(board, family)
    clock = board.clock_mhz if clock_mhz is None else clock_mhz
    ps = family.cell
    shared: dict[str, list[str]] = {}
    for port in board.ports:
        shared.setdefault(port.slave, []).append(port.name)
    bridged = [slave for slave, names in shared.items() if len(names) > 1 or not family.direct]

    cells = [
        Cell(ps, family.vlnv, _ps_config(board, family)),
        Cell(
            WIZARD,
            "xilinx.com:ip:clk_wiz:6.0",
            {
                "PRIM_SOURCE": "No_buffer",
                "RESET_TYPE": "ACTIVE_LOW",
                "RESET_PORT": "resetn",
                "CLKOUT1_REQUESTED_OUT_FREQ": f"{clock:.3f}",
            },
        ),
        Cell(RESET, "xilinx.com:ip:proc_sys_reset:5.0", {}),
        Cell(TOP, IPS[ip], _rtl_config(config_hash, family) if ip == "rtl" else {}),
        Cell(INTERRUPTS, "xilinx.com:ip:axi_intc:4.1", {"C_IRQ_CONNECTION": "1"}),
        _smartconnect(CONTROL, masters=1, slaves=2),
    ]
    links = [(f"{ps}/{board.control_port}", f"{CONTROL}/S00_AXI")]
    slaves = [f"{TOP}/s_axi_control", f"{INTERRUPTS}/s_axi"]
    links += [(f"{CONTROL}/M{i:02}_AXI", slave) for i, slave in enumerate(slaves)]
    for slave, names in shared.items():
        target = f"{ps}/{slave}"
        masters = [f"{TOP}/m_axi_{name}" for name in names]
        if slave not in bridged:
            links.append((masters[0], target))
            continue
        bridge = bridge_of(slave)
        cells.append(_smartconnect(bridge, masters=len(masters), slaves=1))
        links += [(master, f"{bridge}/S{i:02}_AXI") for i, master in enumerate(masters)]
        links.append((f"{bridge}/M00_AXI", target))

    bridges = [CONTROL, *(bridge_of(slave) for slave in bridged)]
    ps_clocks = [family.control[board.control_port].clock, *(family.memory[slave].clock for slave in shared)]
    clocked = [
        f"{RESET}/slowest_sync_clk", f"{TOP}/ap_clk", f"{INTERRUPTS}/s_axi_aclk", *(f"{b}/aclk" for b in bridges),
        *(f"{ps}/{pin}" for pin in ps_clocks),
    ]  # fmt: skip
    resettable = [f"{TOP}/ap_rst_n", f"{INTERRUPTS}/s_axi_aresetn", *(f"{b}/aresetn" for b in bridges)]
    wires = [
        (f"{ps}/{family.clock}", (f"{WIZARD}/clk_in1",)),
        (f"{ps}/{family.reset}", (f"{WIZARD}/resetn", f"{RESET}/ext_reset_in")),
        (f"{WIZARD}/clk_out1", tuple(clocked)),
        (f"{WIZARD}/locked", (f"{RESET}/dcm_locked",)),
        (f"{RESET}/peripheral_aresetn", tuple(resettable)),
        (f"{TOP}/interrupt", (f"{INTERRUPTS}/intr",)),
        (f"{INTERRUPTS}/irq", (f"{ps}/{family.interrupt}",)),
    ]
    unused = [(f"{TOP}/m_axi_{p.name}", f"{ps}/{p.slave}", tuple(family.unused_blocks(p.slave))) for p in board.ports]
    return Design(
        tuple(cells), tuple(links), tuple(wires), _ranges(board, family), tuple(entry for entry in unused if entry[2])
    )


def bridge_of(slave: str) -> str:
    """Name of the SmartConnect in front of a memory port."""
    return f"axi_{slave.removeprefix('S_AXI_').lower()}"


def interrupt_base(board: Board) -> int:
    """Address of the interrupt controller: behind the accelerator's registers, aligned to its own size."""
    end = board.control_base + board.control_bytes
    return -(-end // INTERRUPT_BYTES) * INTERRUPT_BYTES


def _rtl_config(config_hash: int, family: Family) -> dict[str, str]:
    """CONFIG_HASH is for the runtime; AXI3 has bursts of at most 16 beats."""
    return {"CONFIG_HASH": f"0x{config_hash:08x}", "MAX_BURST": "16" if family.protocol == "AXI3" else "64"}


def _smartconnect(name: str, *, masters: int, slaves: int) -> Cell:
    config = {"NUM_SI": str(masters), "NUM_MI": str(slaves), "NUM_CLKS": "1"}
    return Cell(name, "xilinx.com:ip:smartconnect:1.0", config)


def _ps_config(board: Board, family: Family) -> dict[str, str]:
    """Ports, clock and interrupt; DDR and pins come from the board's preset."""
    config = dict(family.config)
    for name, control in family.control.items():
        config[control.enable] = "1" if name == board.control_port else "0"
        if name == board.control_port and control.width:
            config[control.width] = "32"
    used = {port.slave for port in board.ports}
    for name, memory in family.memory.items():
        config[memory.enable] = "1" if name in used else "0"
        if name in used:
            config[memory.width] = str(family.memory_bits)
    return config


def _ranges(board: Board, family: Family) -> tuple[Range, ...]:
    control = f"{family.cell}/{board.control_port}"
    ranges = [
        Range(control, f"{TOP}/s_axi_control", "Reg", board.control_base, board.control_bytes),
        Range(control, f"{INTERRUPTS}/s_axi", "Reg", interrupt_base(board), INTERRUPT_BYTES),
    ]
    for port in board.ports:
        for block, (base, size) in family.memory_blocks(port.slave, board.ddr_bytes).items():
            ranges.append(Range(f"{TOP}/m_axi_{port.name}", f"{family.cell}/{port.slave}", block, base, size))
    return tuple(ranges)


def _check(board: Board, family: Family) -> None:
    problems = []
    for port in board.ports:
        if port.slave not in family.memory:
            known = ", ".join(family.memory)
            reason = f"{family.title} has no port {port.slave!r}"
            problems.append(Problem(f"ports.{port.name}.slave", "", reason, f"Use one of {known}."))
    if board.control_port not in family.control:
        known = ", ".join(family.control)
        reason = f"{family.title} has no port {board.control_port!r}"
        problems.append(Problem("control.port", "", reason, f"Use one of {known}."))
    else:
        windows = family.control[board.control_port].windows
        end = interrupt_base(board) + INTERRUPT_BYTES
        if not any(base <= board.control_base and end <= base + size for base, size in windows):
            seen = ", ".join(f"0x{base:x} to 0x{base + size - 1:x}" for base, size in windows)
            reason = f"0x{board.control_base:x} to 0x{end - 1:x} (registers, interrupt controller) is outside its port"
            problems.append(Problem("control.base", "", reason, f"{board.control_port} reaches {seen}."))
        if board.control_bytes & (board.control_bytes - 1) or board.control_base % board.control_bytes:
            reason = f"{board.control_bytes} bytes at 0x{board.control_base:x} are no aligned power of two"
            problems.append(Problem("control.bytes", "", reason, "Use a power of two, and a multiple of it as base."))
    problems += _memory_problems(board, family)
    if problems:
        raise BoardError(f"no block design can be made for board {board.name}:", problems)


def _memory_problems(board: Board, family: Family) -> list[Problem]:
    size, step = board.ddr_bytes, DDR_STEP >> 20
    if size > family.ddr_bytes or size % DDR_STEP:
        reason = f"{size} bytes: {family.title} has at most {family.ddr_bytes >> 20} MiB, in multiples of {step} MiB"
        return [Problem("ddr.bytes", "", reason, "State the size of the memory in bytes: 4 GiB are 4294967296.")]
    if not board.board_part and size > family.preset_bytes:
        reason = (
            f"{size} bytes, but there is no vivado.board_part: without board files Vivado leaves {family.title} at its "
            f"defaults, which have no memory above {family.preset_bytes >> 20} MiB"
        )
        hint = f"Name the board's files (vivado.board_part), or state at most {family.preset_bytes} bytes."
        return [Problem("ddr.bytes", "", reason, hint)]
    return []
