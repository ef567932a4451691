# SPDX-License-Identifier: Apache-2.0
"""Cycle-accurate simulation: Verilator compiles the emitted SystemVerilog, frames run through its AXI ports."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hwgen.backends.hls.csim import _running, find_compiler
from hwgen.backends.rtl import verilator
from hwgen.backends.rtl.emit import DUTS, TOP, VITIS_VERILOG, rtl_hash, sources
from hwgen.errors import InternalError, UserError
from hwgen.runtime import ERRORS

Progress = Callable[[str, int, int], None]

__all__ = ["DUTS", "Memory", "RtlResult", "Run", "compile_rtl", "error_text", "run_rtl"]

LATENCY = 60
"""Cycles from a request to the first beat."""
BANDWIDTH = 64
"""Bytes a cycle over all ports together."""
CPP_FLAGS = ("-O2",)
VERILATE = (
    "--cc",
    "--exe",
    "-O3",
    "--x-assign",
    "fast",
    "--x-initial",
    "unique",  # memories and registers start random (testbench.cpp)
    "--no-timing",
    "--assert",
    "-Wno-fatal",
    "-Wno-lint",
    "--output-split",
    "8000",
)


@dataclass(frozen=True)
class Memory:
    """The memory behind the AXI ports."""

    latency: int = LATENCY
    bandwidth: int = BANDWIDTH
    stall_percent: int = 0
    seed: int = 1

    def options(self) -> list[str]:
        """Of the testbench."""
        options = {"latency": self.latency, "bandwidth": self.bandwidth, "stall": self.stall_percent, "seed": self.seed}
        return [word for name, value in options.items() for word in (f"--{name}", str(value))]


@dataclass(frozen=True)
class Run:
    """One start of the machine. ``options`` are further keys of the testbench's --run."""

    frames: int
    trace: bool = False
    program: bytes | None = None
    weights: bytes | None = None
    options: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What one start left: buffers, and the testbench's measurements (keys as in result.json)."""

    output: bytes
    trace: bytes
    measured: dict[str, Any]


@dataclass(frozen=True)
class RtlResult:
    """Outcomes of all runs, and the seconds it took (0 to compile where the model was cached)."""

    outcomes: tuple[Outcome, ...]
    cycles: int
    compile_seconds: float
    run_seconds: float
    rtl_hash: str


def compile_rtl(build_dir: Path, *, waves: bool = False, dut: str = "hwgen") -> tuple[Path, float]:
    """The Verilated model in ``build_dir/sim-cache`` and the seconds it took to compile it (0: it was there).

    Keyed by sources, testbench, Verilator, compiler and flags. Raises UserError for what is missing on this computer,
    InternalError if the emitted sources do not compile.
    """
    testbench = build_dir / "sim" / "testbench.cpp"
    if not testbench.is_file() or not sources(build_dir):
        raise UserError(f"{build_dir} holds no RTL project. Give a folder that hwgen build wrote.")
    if not sources(build_dir, dut):
        raise UserError(f"{build_dir / VITIS_VERILOG} holds no Verilog. Run hwgen build --synth where Vitis HLS is.")
    command, values, version = verilator.find()
    compiler = find_compiler()
    make = shutil.which("make")
    if make is None:
        raise UserError("the RTL simulation needs make. Install it (Debian, Ubuntu: apt install make).")
    flags = [*VERILATE, *(("--trace",) if waves else ()), "--top-module", TOP]
    if dut == "vitis":
        flags += ["-CFLAGS", "-DHWGEN_PORTS_ONLY"]  # the testbench sees ports and the registers that both machines have
    key = [version, compiler, *flags, *CPP_FLAGS, rtl_hash(build_dir, dut)]
    own = b"".join(file.read_bytes() for file in (testbench, testbench.with_name("server.hpp")) if file.is_file())
    digest = hashlib.sha256("\0".join(key).encode() + own).hexdigest()[:24]
    cache = build_dir / "sim-cache"
    binary = cache / f"rtl-{digest}"
    if binary.is_file():
        return binary, 0.0
    start = time.perf_counter()
    try:
        cache.mkdir(exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix="verilate-", dir=cache))
    except OSError as error:
        raise UserError(f"cannot write to {cache}: {error.strerror}. Make it writable or copy the build.") from error
    try:
        files = [str(file.resolve()) for file in [*sources(build_dir, dut), testbench]]
        _call([*command, *flags, "-Mdir", str(temporary), "-o", "machine", *files], values, "Verilator")
        fast, slow = f"OPT_FAST={' '.join(CPP_FLAGS)}", "OPT_SLOW=-O0"
        jobs = f"-j{os.cpu_count() or 1}"
        variables = [*verilator.MAKE_VARIABLES, fast, slow, f"OPT_GLOBAL={' '.join(CPP_FLAGS)}", f"CXX={compiler}"]
        _call([make, "-C", str(temporary), "-f", f"V{TOP}.mk", jobs, *variables], values, "the C++ compiler")
        os.replace(temporary / "machine", binary)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return binary, time.perf_counter() - start


def _call(command: Sequence[str], values: dict[str, str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, env=values)
    if done.returncode != 0:
        raise InternalError(f"{what} refuses the emitted RTL:\n{(done.stderr or done.stdout)[-4000:]}")


def run_rtl(
    build_dir: Path,
    program: bytes,
    weights: bytes,
    inputs: bytes,
    runs: Sequence[Run],
    *,
    memory: Memory | None = None,
    waves: Path | None = None,
    timeline: Path | None = None,
    dut: str = "hwgen",
    progress: Progress = lambda what, done, total: None,
) -> RtlResult:
    """Start the machine of ``build_dir/rtl`` once for each of ``runs``, one after the other, without reset.

    ``program``, ``weights`` and ``inputs`` are buffers as on the board; a Run may bring its own Program or weights.
    ``waves`` is the file of a VCD dump, ``timeline`` of a line "cycle queue kernel slot issue|done" for each command of
    the last run. ``dut`` "vitis" takes the Verilog that Vitis HLS made of the C++ (it has no counters and no error
    register: busy and waiting are empty, error is 0). Raises UserError where a tool is missing, InternalError where the
    machine violates AXI or never finishes. Error bits of the machine are in the measurements, not raised.
    """
    memory = memory or Memory()
    progress("compiling the RTL", 0, 0)
    digest = rtl_hash(build_dir, dut)
    binary, compile_seconds = compile_rtl(build_dir, waves=waves is not None, dut=dut)
    with tempfile.TemporaryDirectory(prefix="hwgen-rtl-") as name:
        folder = Path(name)
        command = [str(binary), "--out", str(folder)]
        for option, data in (("program", program), ("weights", weights), ("input", inputs)):
            (folder / f"{option}.bin").write_bytes(data)
            command += [f"--{option}", str(folder / f"{option}.bin")]
        for number, run in enumerate(runs):
            command += ["--run", _specification(folder, number, run)]
        command += [*memory.options(), "--progress"]
        if waves is not None:
            command += ["--waves", str(waves.resolve())]
        if timeline is not None:
            command += ["--timeline", str(timeline.resolve())]
        start = time.perf_counter()
        frames = sum(run.frames for run in runs)
        with _running(command, folder / "stderr.txt") as child:
            assert child.stdout is not None
            for line in child.stdout:
                words = line.split()
                if words[:1] == ["progress"]:
                    progress(f"simulating, cycle {int(words[1]):,}", int(words[2]), frames)
            code = child.wait()
        run_seconds = time.perf_counter() - start
        if code != 0:
            message = (folder / "stderr.txt").read_text(errors="replace")[-2000:].strip()
            raise InternalError(f"the RTL simulation ended with code {code}: {message}")
        result = json.loads((folder / "result.json").read_text())
        outcomes = tuple(
            Outcome((folder / f"output.{k}.bin").read_bytes(), (folder / f"trace.{k}.bin").read_bytes(), measured)
            for k, measured in enumerate(result["runs"])
        )
    return RtlResult(outcomes, int(result["cycles"]), compile_seconds, run_seconds, digest)


def _specification(folder: Path, number: int, run: Run) -> str:
    parts = {"frames": str(run.frames), "trace": str(int(run.trace))}
    for option, data in (("program", run.program), ("weights", run.weights)):
        if data is not None:
            path = folder / f"{option}.{number}.bin"
            path.write_bytes(data)
            parts[option] = str(path)
    parts |= {name: str(value) for name, value in run.options.items()}
    return ",".join(f"{name}={value}" for name, value in parts.items())


def error_text(bits: int) -> str:
    """The error register in words; empty where it is 0."""
    return "; ".join(text for bit, text in ERRORS.items() if bits >> bit & 1)
