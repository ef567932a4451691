# SPDX-License-Identifier: Apache-2.0
"""What pins and buses the IPs of the block design have, as far as it connects them.

Written down from the product guides: PG201 and UG1085 (Zynq UltraScale+ PS), UG585 (Zynq-7000 PS), PG247
(SmartConnect), PG065 (clocking wizard), PG164 (processor system reset), PG099 (AXI interrupt controller). The
accelerator's own interface is checked against the emitted Verilog and C++ (tests/test_vivado.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hwgen.board import PORTS

DDR_LOW_BYTES = 0x8000_0000
"""Zynq UltraScale+: memory below 2 GiB, the rest begins at DDR_HIGH_BASE (UG1085, system address map)."""
DDR_HIGH_BASE, DDR_HIGH_BYTES = 0x8_0000_0000, 0x8_0000_0000
DDR_STEP = 1 << 20
"""Memory comes in multiples of this."""


@dataclass(frozen=True)
class Pin:
    """A pin. ``kind``: clk, rst (active high), rst_n (active low), intr or status."""

    name: str
    output: bool
    kind: str
    clock: str = ""
    """Of a reset: the pin of the clock it must be synchronous to; empty where it may come at any time."""
    required: bool = True
    """Whether an input must be driven."""


@dataclass(frozen=True)
class Bus:
    """An AXI bus."""

    name: str
    master: bool
    protocol: str
    """AXI4, AXI3, AXI4LITE; empty where the IP takes that of the other end"""
    bits: int | None
    """Data width; None where the IP takes that of the other end"""
    clock: str
    """Pin of its clock"""
    space: str = ""
    """Of a master that has addresses: name of its address space in Vivado"""
    blocks: str = ""
    """Of a slave: what stands before the name of its address blocks in Vivado"""


@dataclass(frozen=True)
class Interface:
    """Pins and buses of a cell."""

    pins: dict[str, Pin]
    buses: dict[str, Bus]


@dataclass(frozen=True)
class ControlPort:
    """A master port of a processing system; ``enable`` and ``width`` are its properties (no width: 32 bit)."""

    enable: str
    width: str
    clock: str
    windows: tuple[tuple[int, int], ...]
    """Base and size of what it reaches"""
    enabled: bool = False
    """Where the property is not set"""


@dataclass(frozen=True)
class MemoryPort:
    """A slave port of a processing system that leads to the DDR."""

    enable: str
    width: str
    clock: str
    space: str
    """What stands before the name of its address blocks in Vivado"""
    block: str
    """Prefix of its address blocks"""
    built_width: str = ""
    """Another name of the width in the .hwh; PYNQ sets the port's width by it"""


@dataclass(frozen=True)
class Family:
    """A processing system."""

    title: str
    parts: tuple[str, ...]
    """How the names of its parts begin"""
    architecture: str
    """ARCH in the .hwh"""
    cell: str
    vlnv: str
    clock: str
    reset: str
    interrupt: str
    ddr_bytes: int
    """The largest memory"""
    preset_bytes: int
    """The largest memory without a preset of the board, as far as it is known"""
    protocol: str
    """Of control and memory ports"""
    memory_bits: int
    direct: bool
    """Whether the accelerator's AXI4 ports can be wired to memory ports without a SmartConnect"""
    control: Mapping[str, ControlPort]
    memory: Mapping[str, MemoryPort]
    config: dict[str, str]
    """Properties of every design: clock 0, reset, interrupt"""
    derived: dict[str, str]
    """Parameters that Vivado derives and PYNQ reads in the .hwh: divisors of clock 0"""
    external: str = ""
    """What apply_bd_automation must lead to pins"""
    unused: tuple[str, ...] = ()
    """What else its memory ports may lead to; named as the blocks of the memory are"""

    def memory_blocks(self, slave: str, ddr_bytes: int) -> dict[str, tuple[int, int]]:
        """Address blocks of a memory port: name -> base, size.

        Vivado takes powers of two only, so a size is the next one: 8 GiB of memory, of which 6 GiB lie high, are seen
        through 8 GiB there. Nothing is placed behind the end of the memory.
        """
        prefix = self.memory[slave].block
        if self.architecture == "zynq":
            return {f"{prefix}_DDR_LOWOCM": (0, _power_of_two(ddr_bytes))}
        blocks = {f"{prefix}_DDR_LOW": (0, _power_of_two(min(ddr_bytes, DDR_LOW_BYTES)))}
        if ddr_bytes > DDR_LOW_BYTES:
            blocks[f"{prefix}_DDR_HIGH"] = (DDR_HIGH_BASE, _power_of_two(ddr_bytes - DDR_LOW_BYTES))
        return blocks

    def unused_blocks(self, slave: str) -> list[str]:
        """Address blocks of a memory port that are not the memory; some exist with some boards only."""
        return [f"{self.memory[slave].block}_{name}" for name in self.unused]


def _power_of_two(size: int) -> int:
    """The smallest that is not smaller."""
    return 1 << (size - 1).bit_length()


def _ultrascale_memory() -> dict[str, MemoryPort]:
    numbers = {"HPC0": 0, "HPC1": 1, "HP0": 2, "HP1": 3, "HP2": 4, "HP3": 5}
    return {
        f"S_AXI_{name}_FPD": MemoryPort(
            f"PSU__USE__S_AXI_GP{number}",
            f"PSU__SAXIGP{number}__DATA_WIDTH",
            f"saxi{name.lower()}_fpd_aclk",
            f"SAXIGP{number}",
            name,
            f"C_SAXIGP{number}_DATA_WIDTH",
        )
        for name, number in numbers.items()
    }


_TREE = "PSU__CRL_APB__PL{}_REF_CTRL__"
ULTRASCALE = Family(
    title="the processing system of a Zynq UltraScale+",
    parts=("xczu", "xck26", "xck24"),
    architecture="zynquplus",
    cell="zynq_ultra_ps_e_0",
    vlnv="xilinx.com:ip:zynq_ultra_ps_e:3.5",
    clock="pl_clk0",
    reset="pl_resetn0",
    interrupt="pl_ps_irq0",
    ddr_bytes=DDR_LOW_BYTES + DDR_HIGH_BYTES,
    preset_bytes=DDR_LOW_BYTES,
    unused=("LPS_OCM", "QSPI", "PCIE_LOW", "PCIE_HIGH1", "PCIE_HIGH2"),
    protocol="AXI4",
    memory_bits=128,
    direct=True,
    control={
        "M_AXI_HPM0_FPD": ControlPort(
            "PSU__USE__M_AXI_GP0", "PSU__MAXIGP0__DATA_WIDTH", "maxihpm0_fpd_aclk",
            ((0xA000_0000, 1 << 28), (0x4_0000_0000, 1 << 32), (0x10_0000_0000, 224 << 30)), enabled=True,
        ),
        "M_AXI_HPM1_FPD": ControlPort(
            "PSU__USE__M_AXI_GP1", "PSU__MAXIGP1__DATA_WIDTH", "maxihpm1_fpd_aclk",
            ((0xB000_0000, 1 << 28), (0x5_0000_0000, 1 << 32), (0x48_0000_0000, 224 << 30)), enabled=True,
        ),
        "M_AXI_HPM0_LPD": ControlPort(
            "PSU__USE__M_AXI_GP2", "PSU__MAXIGP2__DATA_WIDTH", "maxihpm0_lpd_aclk", ((0x8000_0000, 512 << 20),),
        ),
    },
    memory=_ultrascale_memory(),
    config={
        "PSU__USE__IRQ0": "1",
        "PSU__USE__FABRIC__RST": "1",
        "PSU__FPGA_PL0_ENABLE": "1",
        "PSU__FPGA_PL1_ENABLE": "0",
        "PSU__FPGA_PL2_ENABLE": "0",
        "PSU__FPGA_PL3_ENABLE": "0",
        f"{_TREE.format(0)}SRCSEL": "IOPLL",
        f"{_TREE.format(0)}FREQMHZ": "100",
    },
    derived={
        f"{_TREE.format(0)}DIVISOR0": "15",  # 1,500 MHz IOPLL / 15
        f"{_TREE.format(0)}ACT_FREQMHZ": "100",
        **{f"{_TREE.format(clock)}DIVISOR0": "15" for clock in (1, 2, 3)},
        **{f"{_TREE.format(clock)}DIVISOR1": "1" for clock in range(4)},
        **{f"{_TREE.format(clock)}SRCSEL": "IOPLL" for clock in (1, 2, 3)},
    },
)  # fmt: skip
ZYNQ = Family(
    title="the processing system of a Zynq-7000",
    parts=("xc7z",),
    architecture="zynq",
    cell="processing_system7_0",
    vlnv="xilinx.com:ip:processing_system7:5.5",
    clock="FCLK_CLK0",
    reset="FCLK_RESET0_N",
    interrupt="IRQ_F2P",
    ddr_bytes=1 << 30,
    preset_bytes=1 << 30,
    protocol="AXI3",
    memory_bits=64,
    direct=False,
    control={
        "M_AXI_GP0": ControlPort("PCW_USE_M_AXI_GP0", "", "M_AXI_GP0_ACLK", ((0x4000_0000, 1 << 30),), enabled=True),
        "M_AXI_GP1": ControlPort("PCW_USE_M_AXI_GP1", "", "M_AXI_GP1_ACLK", ((0x8000_0000, 1 << 30),)),
    },
    memory={
        f"S_AXI_HP{n}": MemoryPort(
            f"PCW_USE_S_AXI_HP{n}", f"PCW_S_AXI_HP{n}_DATA_WIDTH", f"S_AXI_HP{n}_ACLK", f"S_AXI_HP{n}", f"HP{n}"
        )
        for n in range(4)
    },
    config={
        "PCW_USE_FABRIC_INTERRUPT": "1",
        "PCW_IRQ_F2P_INTR": "1",
        "PCW_EN_RST0_PORT": "1",
        "PCW_EN_CLK0_PORT": "1",
        "PCW_EN_CLK1_PORT": "0",
        "PCW_EN_CLK2_PORT": "0",
        "PCW_EN_CLK3_PORT": "0",
        "PCW_FPGA0_PERIPHERAL_FREQMHZ": "100",
    },
    derived={
        "PCW_FCLK0_PERIPHERAL_DIVISOR0": "5",  # 1,000 MHz IO PLL / 5 / 2
        "PCW_FCLK0_PERIPHERAL_DIVISOR1": "2",
        **{f"PCW_FCLK{n}_PERIPHERAL_DIVISOR{d}": "1" for n in (1, 2, 3) for d in (0, 1)},
        **{f"PCW_FCLK{n}_PERIPHERAL_CLKSRC": "IO PLL" for n in range(4)},
        "PCW_FPGA_FCLK0_ENABLE": "1",
        **{f"PCW_FPGA_FCLK{n}_ENABLE": "0" for n in (1, 2, 3)},
    },
    external="FIXED_IO, DDR",
)
FAMILIES = (ULTRASCALE, ZYNQ)


def interface(vlnv: str, config: Mapping[str, str]) -> Interface | None:
    """Pins and buses of an IP with these properties; None for one that the block design does not use."""
    _, library, name, *_ = vlnv.split(":")
    family = next((f for f in FAMILIES if f.vlnv.split(":")[2] == name), None)
    if family is not None:
        return _processing_system(family, config)
    if name == "hwgen_top" and library in ("rtl", "hls"):
        return _accelerator()
    make = {
        "smartconnect": _smartconnect,
        "clk_wiz": _clocking_wizard,
        "proc_sys_reset": _system_reset,
        "axi_intc": _interrupt_controller,
    }.get(name)
    return make(config) if make is not None else None


def _interface(pins: list[Pin], buses: list[Bus] | None = None) -> Interface:
    return Interface({pin.name: pin for pin in pins}, {bus.name: bus for bus in buses or []})


def _accelerator() -> Interface:
    pins = [
        Pin("ap_clk", False, "clk"),
        Pin("ap_rst_n", False, "rst_n", clock="ap_clk"),
        Pin("interrupt", True, "intr"),
    ]
    buses = [Bus("s_axi_control", False, "AXI4LITE", 32, "ap_clk", blocks="s_axi_control")]
    buses += [Bus(f"m_axi_{port}", True, "AXI4", 128, "ap_clk", space=f"Data_m_axi_{port}") for port in PORTS]
    return _interface(pins, buses)


def _processing_system(family: Family, config: Mapping[str, str]) -> Interface:
    """The ports that ``config`` enables."""
    pins = [
        Pin(family.clock, True, "clk"),
        Pin(family.reset, True, "rst_n"),
        Pin(family.interrupt, False, "intr"),
    ]
    buses = []
    for name, control in family.control.items():
        if config.get(control.enable, "1" if control.enabled else "0") == "1":
            bits = int(config.get(control.width, "128")) if control.width else 32
            buses.append(Bus(name, True, family.protocol, bits, control.clock, space="Data"))
            pins.append(Pin(control.clock, False, "clk"))
    for name, memory in family.memory.items():
        if config.get(memory.enable, "0") == "1":
            bits = int(config.get(memory.width, str(family.memory_bits)))
            buses.append(Bus(name, False, family.protocol, bits, memory.clock, blocks=memory.space))
            pins.append(Pin(memory.clock, False, "clk"))
    return _interface(pins, buses)


def _smartconnect(config: Mapping[str, str]) -> Interface:
    pins = [Pin("aclk", False, "clk"), Pin("aresetn", False, "rst_n", clock="aclk")]
    pins += [Pin(f"aclk{n}", False, "clk") for n in range(1, int(config.get("NUM_CLKS", "1")))]
    buses = [Bus(f"S{n:02}_AXI", False, "", None, "aclk") for n in range(int(config.get("NUM_SI", "2")))]
    buses += [Bus(f"M{n:02}_AXI", True, "", None, "aclk") for n in range(int(config.get("NUM_MI", "1")))]
    return _interface(pins, buses)


def _clocking_wizard(config: Mapping[str, str]) -> Interface:
    low = config.get("RESET_TYPE") == "ACTIVE_LOW"
    reset = Pin("resetn", False, "rst_n") if low else Pin("reset", False, "rst")
    return _interface(
        [Pin("clk_in1", False, "clk"), reset, Pin("clk_out1", True, "clk"), Pin("locked", True, "status")]
    )


def _system_reset(config: Mapping[str, str]) -> Interface:
    clock = "slowest_sync_clk"
    return _interface(
        [
            Pin(clock, False, "clk"),
            Pin("ext_reset_in", False, "rst" if config.get("C_EXT_RESET_HIGH") == "1" else "rst_n"),
            Pin("aux_reset_in", False, "rst_n", required=False),
            Pin("mb_debug_sys_rst", False, "rst", required=False),
            Pin("dcm_locked", False, "status"),
            *(Pin(name, True, "rst", clock) for name in ("mb_reset", "bus_struct_reset", "peripheral_reset")),
            *(Pin(name, True, "rst_n", clock) for name in ("interconnect_aresetn", "peripheral_aresetn")),
        ]
    )


def _interrupt_controller(config: Mapping[str, str]) -> Interface:
    pins = [
        Pin("s_axi_aclk", False, "clk"),
        Pin("s_axi_aresetn", False, "rst_n", clock="s_axi_aclk"),
        Pin("intr", False, "intr"),
        Pin("irq", True, "intr"),
    ]
    return _interface(pins, [Bus("s_axi", False, "AXI4LITE", 32, "s_axi_aclk", blocks="S_AXI")])
