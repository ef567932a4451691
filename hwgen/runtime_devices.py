# SPDX-License-Identifier: Apache-2.0
"""Simulated boards: PYNQ devices on which the runtime, PYNQ's Overlay and the emitted .hwh run unchanged.

A device is PYNQ's own extension point: it allocates memory, reads and writes registers, and loads bitstreams. Memory
is kept twice, as the host sees it through its cache and as the machine sees it; flush and invalidate copy, so a missing
one shows. Behind the registers is the Verilated SystemVerilog; or a model of docs/machine.md, "Control", and behind
that a function that executes frames: the NumPy Program reference, or the emitted C++.

Needs pynq; no board.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pynq.buffer import PynqBuffer
from pynq.pl_server.device import Device
from pynqmetadata.frontends import Metadata
from pynqmetadata.views.runtime.runtime_metadata_parser import RuntimeMetadataParser

from hwgen import runtime
from hwgen.artifact import read_build
from hwgen.backends.board import render_hwh
from hwgen.backends.hls.csim import run_csim
from hwgen.backends.reference import program as reference
from hwgen.backends.rtl.live import LiveMachine
from hwgen.backends.rtl.simulate import Memory
from hwgen.board import board_from_dict
from hwgen.errors import InternalError, UserError
from hwgen.plan.program import HEADER, INSTRUCTION_BYTES, MAGIC, VERSION, WORD_BYTES, Config, program_from_bytes
from hwgen.runtime_interrupts import InterruptController, UioDevice

MEMORY_BASE = 0x1000_0000
MEMORY_BYTES = 512 << 20
PAGE_BYTES = 4096
HLS_REGISTER_BYTES = 0x80
"""A Vitis HLS block decodes no more address bits than its registers need; higher addresses alias."""

# Clocks of the processing system, so that PYNQ can set the clock of the logic (UG1087: CRL_APB, CRF_APB)
_PLL = 90 << 8 | 1 << 16
"""33.333 MHz x 90 / 2"""
_CLOCK_REGISTERS = {0xFF5E0020: _PLL, 0xFF5E0030: _PLL, 0xFD1A0020: _PLL, 0xFD1A002C: _PLL, 0xFD1A0038: _PLL}


@dataclass
class Block:
    """A piece of simulated memory."""

    base: int
    host: npt.NDArray[np.uint8]
    """What the processor sees."""
    device: npt.NDArray[np.uint8]
    """What the machine sees."""


class SimulatedBuffer(PynqBuffer):  # type: ignore[misc]  # pynq has no types
    """A PynqBuffer whose memory belongs to a SimulatedDevice."""

    def freebuffer(self) -> None:
        """Give the memory back; views and freed buffers have none."""
        owner = self.__dict__.pop("memory", None)
        if owner is not None:
            owner.release(self.bo)


class Registers(NamedTuple):
    """What a start of the machine was given."""

    addresses: dict[str, int]
    frames: int
    trace: bool


class Outcome(NamedTuple):
    """What a start leaves in the registers above 0x100; machines that count nothing leave zeros."""

    error: int = 0
    cycles: int = 0
    busy: tuple[int, ...] = ()
    """Cycles of each queue, in the order of :data:`hwgen.runtime.QUEUES`."""
    waiting: tuple[int, ...] = ()


class SimulatedDevice(Device):  # type: ignore[misc]
    """A board with one accelerator. ``execute`` makes it a machine.

    Args:
        build: a build folder with ``deploy/``.
        memory_bytes: contiguous memory of the board, from address ``memory_base``.
        delay: seconds after which a start is done.

    ``hang`` = True stops the machine's clock: starts are never done. Loading the bitstream resets the machine.
    """

    ip = "rtl"
    """Whose registers it has: a key of :data:`hwgen.backends.board.IPS`."""
    name = "hwgen simulated"
    arch = "aarch64"

    def __init__(
        self,
        build: Path,
        *,
        memory_bytes: int = MEMORY_BYTES,
        memory_base: int = MEMORY_BASE,
        delay: float = 0.0,
    ) -> None:
        super().__init__(f"hwgen-{id(self):x}")
        self.capabilities = {"REGISTER_RW": True}
        self.build = build
        self.memory_bytes = memory_bytes
        self.delay = delay
        self.hang = False
        self.stopping = False
        self.blocks: dict[int, Block] = {}
        self.allocations = 0
        self.downloads = 0
        self.starts = 0
        self._top = memory_base
        self._control: Control | Port | None = None
        self._controller: InterruptController | None = None
        self._uio: UioDevice | None = None
        self._lock = threading.RLock()
        """Held while a register of a modelled machine is read or written."""
        self._registers = dict(_CLOCK_REGISTERS)

    # What a kind of machine brings

    def execute(self, registers: Registers) -> Outcome:
        """Run frames on the simulated memory (:meth:`memory`)."""
        raise NotImplementedError

    def _configure(self, base: int, size: int, hls: bool) -> Control | Port:
        """The machine's registers, after reset."""
        return Control(self, base, size, hls)

    def _device_memory(self, base: int, size: int) -> npt.NDArray[np.uint8]:
        """``size`` bytes as the machine sees them, of any contents."""
        return np.empty(size, np.uint8)

    @property
    def uio(self) -> UioDevice:
        """Where the interrupts of the block design arrive, behind its interrupt controller; made when asked for."""
        if self._uio is None:
            self._uio = UioDevice()
        return self._uio

    def _set_uio(self, level: bool) -> None:
        if self._uio is not None:
            self._uio.set(level)

    def interrupt(self, level: bool) -> None:
        """The accelerator's interrupt pin changes. May be called by any thread."""
        if self._controller is not None:
            self._controller.set(level)

    @property
    def ended(self) -> bool:
        """Whether the machine is gone, so that it writes nothing any more. The runtime looks at it."""
        return False

    def stop(self) -> None:
        """A start that runs, and every later one, ends soon and without its results."""
        self.stopping = True

    def close(self) -> None:
        """End what the device started."""
        if self._uio is not None:
            self._uio.close()

    # Bitstream

    def get_bitfile_metadata(self, bitfile_name: str, partial: bool = False) -> Any:
        """The .hwh beside the bitstream, as PYNQ's own devices read it."""
        return RuntimeMetadataParser(Metadata(input=Path(bitfile_name).with_suffix(".hwh")))

    def download(self, bitstream: Any, parser: Any = None) -> None:
        """Load a bitstream: the machine is as after reset."""
        Device.active_device = self
        self.hang = False
        self.downloads += 1
        self._control = self._controller = None
        for description in parser.ip_dict.values():
            if "hwgen_top" in (description["type"] or ""):
                hls = description["type"].startswith("xilinx.com:hls:")
                self._control = self._configure(description["phys_addr"], description["addr_range"], hls)
            elif ":axi_intc:" in (description["type"] or ""):
                self._controller = InterruptController(
                    description["phys_addr"], description["addr_range"], self._set_uio
                )
        self.post_download(bitstream, parser, self.name)

    # Registers

    def read_registers(self, address: int, length: int) -> bytes:
        """``length`` bytes, a multiple of 4."""
        words = [self._read(a) for a in range(address, address + length, 4)]
        return np.array(words, "<u4").tobytes()

    def write_registers(self, address: int, data: bytes) -> None:
        """Words of 4 bytes."""
        for index, value in enumerate(np.frombuffer(data, "<u4").tolist()):
            self._write(address + 4 * index, value)

    def _read(self, address: int) -> int:
        for block in (self._control, self._controller):
            if block is not None and 0 <= address - block.base < block.size:
                return block.read(address - block.base)
        return self._registers.get(address, 0)

    def _write(self, address: int, value: int) -> None:
        for block in (self._control, self._controller):
            if block is not None and 0 <= address - block.base < block.size:
                block.write(address - block.base, value)
                return
        self._registers[address] = value

    # Memory

    @property
    def default_memory(self) -> SimulatedDevice:
        """The device itself; it has one memory."""
        return self

    @property
    def allocated_bytes(self) -> int:
        """Contiguous memory in use."""
        return sum(len(block.host) for block in self.blocks.values())

    def allocate(self, shape: Any, dtype: Any, **options: Any) -> SimulatedBuffer:
        """A buffer of random contents; raises RuntimeError where the memory is exhausted, as XRT does."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if self.allocated_bytes + size > self.memory_bytes:
            raise RuntimeError("Allocate failed: Cannot allocate memory")
        rng = np.random.default_rng(self.allocations)
        block = Block(self._top, np.empty(size, np.uint8), self._device_memory(self._top, size))
        for seen in (block.host, block.device):
            seen[:] = rng.integers(0, 256, size, np.uint8)
        self._top += -(-max(size, 1) // PAGE_BYTES) * PAGE_BYTES
        self.allocations += 1
        self.blocks[block.base] = block
        buffer = SimulatedBuffer(
            shape, dtype, buffer=block.host, device=self, device_address=block.base, bo=block, coherent=False
        )
        buffer.memory = self
        return buffer

    def release(self, block: Block) -> None:
        """Take a block back; afterwards nothing at its addresses answers."""
        del self.blocks[block.base]

    def flush(self, block: Block, offset: int, pointer: int, size: int) -> None:
        """What the host wrote becomes visible to the machine."""
        block.device[offset : offset + size] = block.host[offset : offset + size]

    def invalidate(self, block: Block, offset: int, pointer: int, size: int) -> None:
        """What the machine wrote becomes visible to the host."""
        block.host[offset : offset + size] = block.device[offset : offset + size]

    def memory(self, address: int, size: int) -> npt.NDArray[np.uint8]:
        """Bytes as the machine sees them; raises IndexError where no buffer holds all of them (DECERR)."""
        for block in self.blocks.values():
            start = address - block.base
            if start >= 0 and start + size <= len(block.device):
                return block.device[start : start + size]
        raise IndexError(f"{size} bytes at 0x{address:x} are in no buffer")


@dataclass
class Control:
    """The AXI4-Lite registers of one accelerator (docs/machine.md, templates/rtl/control.sv)."""

    device: SimulatedDevice
    base: int
    size: int
    hls: bool
    words: dict[int, int] = field(default_factory=dict)
    outcome: Outcome = field(default_factory=Outcome)
    frames_done: int = 0
    running: bool = False
    done: bool = False
    ready_at: float = 0.0
    status: int = 0
    """Of the interrupt: done."""

    def _advance(self) -> None:
        if self.running and not self.device.hang and time.monotonic() >= self.ready_at:
            self.running, self.done = False, True
            self.status |= self.words.get(runtime.INTERRUPT_ENABLE, 0) & 1
        self.device.interrupt(bool(self.words.get(runtime.GLOBAL_INTERRUPT, 0) & self.status))

    def _tick(self) -> None:
        """Time has passed of which no register access told."""
        with self.device._lock:
            self._advance()

    def read(self, offset: int) -> int:
        """A register; reading the control register clears done."""
        with self.device._lock:
            return self._read(offset)

    def _read(self, offset: int) -> int:
        self._advance()
        if self.hls:
            offset %= HLS_REGISTER_BYTES
        if offset == runtime.CONTROL:
            value = int(self.running) | self.done << 1 | (not self.running) << 2 | self.done << 3  # ready as done
            self.done = False
            return value
        if offset == runtime.INTERRUPT_STATUS:
            return self.status
        return self.words.get(offset, 0) if self.hls else self._counters().get(offset, self.words.get(offset, 0))

    def _counters(self) -> dict[int, int]:
        values = {
            runtime.ERROR: self.outcome.error,
            runtime.CYCLES: self.outcome.cycles,
            runtime.FRAMES_DONE: self.frames_done,
        }
        for shift, counts in ((0, self.outcome.busy), (4, self.outcome.waiting)):
            values |= {runtime.COUNTERS + 8 * q + shift: count for q, count in enumerate(counts)}
        return values

    def write(self, offset: int, value: int) -> None:
        """Pointers and frames hold for the next start; a start while it runs changes nothing."""
        with self.device._lock:
            self._write(offset, value)
            self._advance()

    def _write(self, offset: int, value: int) -> None:
        self._advance()
        if self.hls:
            offset %= HLS_REGISTER_BYTES
        if offset == runtime.INTERRUPT_STATUS:
            self.status ^= value & 1
            return
        if offset != runtime.CONTROL:
            self.words[offset] = value
            return
        if value & runtime.START and not self.running:
            self.running, self.outcome, self.frames_done = True, Outcome(), 0
            self.device.starts += 1
            if self.device.hang:
                return
            registers = self._registers()
            self.outcome = self.device.execute(registers)
            self.frames_done = 0 if self.outcome.error & 1 else registers.frames
            self.ready_at = time.monotonic() + self.device.delay
            if self.device.delay and self.words.get(runtime.GLOBAL_INTERRUPT, 0):
                later = threading.Timer(self.device.delay, self._tick)
                later.daemon = True
                later.start()

    def _registers(self) -> Registers:
        pointers = {
            name: self.words.get(offset, 0) | self.words.get(offset + 4, 0) << 32
            for name, offset in runtime.POINTERS.items()
        }
        trace = bool(self.words.get(runtime.TRACE_ENABLE, 0))
        return Registers(pointers, self.words.get(runtime.FRAMES, 0), trace)


class ProgramDevice(SimulatedDevice):
    """A machine that executes a Program on whole buffers: :meth:`run`."""

    def __init__(self, build: Path, **options: Any) -> None:
        super().__init__(build, **options)
        read = read_build(build)
        self.config: Config = read.program.config
        self.config_hash = int(read.program.header["config_hash"])
        self.message = ""
        """What the machine said about the last start that failed."""

    def run(
        self, program: bytes, weights: bytes, inputs: bytes, frames: int, trace: bool
    ) -> tuple[bytes, bytes, Outcome]:
        """Output and trace buffer of all frames (no trace: empty); raises InternalError for a wrong Program."""
        raise NotImplementedError

    def _go_on(self, *progress: object) -> None:
        if self.stopping:
            raise InternalError("the device was stopped")

    def execute(self, registers: Registers) -> Outcome:
        try:
            self._go_on()
            return self._execute(registers)
        except IndexError as error:
            self.message = str(error)
            return Outcome(1 << 4)
        except InternalError as error:
            self.message = str(error)
            return Outcome(1 << 3)

    def _execute(self, registers: Registers) -> Outcome:
        at, frames = registers.addresses, registers.frames
        header = self.memory(at["program"], INSTRUCTION_BYTES).view(HEADER)[0]
        if header["magic"] != MAGIC or header["version"] != VERSION or header["config_hash"] != self.config_hash:
            return Outcome(1)
        program = self.memory(at["program"], (1 + int(header["instructions"])) * INSTRUCTION_BYTES).tobytes()
        size = int(header["weight_bytes"])
        weights = [self.memory(at[f"weights{port}"], size).tobytes() for port in range(4)]
        if len(set(weights)) != 1:
            raise InternalError("the four weight pointers lead to different bytes")
        inputs = self.memory(at["input"], frames * int(header["input_words"]) * WORD_BYTES).tobytes()
        output, trace, outcome = self.run(program, weights[0], inputs, frames, registers.trace)
        for name, data in (("output", output), ("trace", trace)):
            if data:
                self.memory(at[name], len(data))[:] = np.frombuffer(data, np.uint8)
        return outcome


class ReferenceDevice(ProgramDevice):
    """The machine is the NumPy Program reference; it counts nothing."""

    def run(
        self, program: bytes, weights: bytes, inputs: bytes, frames: int, trace: bool
    ) -> tuple[bytes, bytes, Outcome]:
        decoded = program_from_bytes(program, weights, self.config)
        result = reference.execute(decoded, inputs, frames, trace=trace, progress=self._go_on)
        return result.output, result.trace, Outcome()


class CsimDevice(ProgramDevice):
    """The machine is the emitted C++, compiled once; a start is a run of it. The IP is that of Vitis HLS."""

    ip = "hls"

    def run(
        self, program: bytes, weights: bytes, inputs: bytes, frames: int, trace: bool
    ) -> tuple[bytes, bytes, Outcome]:
        result = run_csim(self.build, program, weights, inputs, frames, trace=trace, progress=self._go_on)
        return result.output, result.trace if trace else b"", Outcome()


@dataclass
class Port:
    """The AXI4-Lite port of a machine that runs by itself."""

    device: RtlDevice
    base: int
    size: int

    def read(self, offset: int) -> int:
        return self.device.machine.read(offset)

    def write(self, offset: int, value: int) -> None:
        if offset == runtime.CONTROL and value & runtime.START:
            self.device.starts += 1
        self.device.machine.write(offset, value)


class RtlDevice(SimulatedDevice):
    """The machine is the emitted SystemVerilog, compiled with Verilator once; registers go over its AXI4-Lite pins.

    Its clock runs, as fast as this computer simulates, from a start until the driver has seen the machine idle; host
    and machine then run side by side. ``hang`` = True stops clock and memory but for register accesses: a processor
    whose access is never answered would stand still itself. Close it, or let it go: it is a process.
    """

    def __init__(self, build: Path, *, memory: Memory | None = None, **options: Any) -> None:
        """``memory`` is the model of the memory behind the AXI ports. Compiles, which takes minutes the first time."""
        read_build(build)  # what is no build is said first
        self._hang = False
        this = weakref.ref(self)  # so that the machine does not keep its device

        def changed(level: bool) -> None:
            device = this()
            if device is not None:
                device.interrupt(level)

        self.machine = LiveMachine(build, memory, interrupt=changed)
        super().__init__(build, **options)

    @property
    def hang(self) -> bool:
        return self._hang

    @hang.setter
    def hang(self, value: bool) -> None:
        self._hang = value
        self.machine.clock(not value)

    @property
    def ended(self) -> bool:
        return self.machine.ended

    def close(self) -> None:
        """End the simulation."""
        self.machine.close()
        super().close()

    def release(self, block: Block) -> None:
        super().release(block)
        self.machine.unmap(block.base)

    def _configure(self, base: int, size: int, hls: bool) -> Port:
        self.machine.reset()
        return Port(self, base, size)

    def _device_memory(self, base: int, size: int) -> npt.NDArray[np.uint8]:
        return self.machine.map(base, size)[:size]


DEVICES: dict[str, type[SimulatedDevice]] = {"reference": ReferenceDevice, "csim": CsimDevice, "rtl": RtlDevice}


@contextmanager
def simulated(build: str | Path, device: str = "rtl", *, batch: int = 16) -> Iterator[runtime.Accelerator]:
    """An Accelerator on a simulated board; ``device`` is a key of DEVICES.

    A simulated start takes as long as it takes, so there is no time-out. Raises UserError for a folder that is no build
    and for missing tools, and what Accelerator raises.
    """
    board = DEVICES[device](Path(build))
    try:
        with (
            deployed(board.build, board.ip) as folder,
            runtime.Accelerator(folder, device=board, batch=batch, timeout=24 * 3600, check=False) as net,
        ):
            try:
                yield net
            except BaseException:  # above all Ctrl-C: a start may take hours
                board.stop()
                raise
    finally:
        board.close()


@contextmanager
def deployed(build: Path, ip: str = "rtl") -> Iterator[Path]:
    """A copy of the build's deploy folder with an empty hwgen.bit: nothing but a board reads the bitstream.

    The .hwh is hwgen's own, for the IP ``ip``: beside a bitstream lies Vivado's, which may be of the other machine.

    Raises UserError where the build has no deploy folder.
    """
    source = build / "deploy"
    if not source.is_dir():
        raise UserError(f"{build} has no deploy folder: an older hwgen made it. Run hwgen build again.")
    with tempfile.TemporaryDirectory(prefix="hwgen-deploy-") as name:
        folder = Path(name) / "deploy"
        shutil.copytree(source, folder)
        (folder / "hwgen.bit").touch()
        made = read_build(build)
        options = {
            "config_hash": int(made.program.header["config_hash"]),
            "clock_mhz": made.manifest["options"]["clock_mhz"],
        }
        handoff = render_hwh(board_from_dict(made.manifest["board"]), ip=ip, **options)
        if handoff is not None:
            (folder / "hwgen.hwh").write_text(handoff, encoding="utf-8")
        yield folder
