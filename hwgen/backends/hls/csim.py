# SPDX-License-Identifier: Apache-2.0
"""C simulation: compiles the emitted HLS C++ with a C++ compiler and runs whole frames through its AXI-level top."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hwgen.errors import InternalError, UserError

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, instructions done, instructions in all); 0, 0 where there is no measure."""

STANDARD = "-std=c++14"
WARNINGS = (
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unknown-pragmas",  # #pragma HLS
    "-Wno-unused-label",  # names of loops in Vitis reports
)
GNU_WARNINGS = ("-Wno-uninitialized", "-Wno-maybe-uninitialized")
"""The ap_int constructors mask a member before they set it; g++ reports that at our call after inlining."""
OPTIMIZED = ("-O2",)
SANITIZED = (
    "-O0",  # twice as quick to compile as -O1, and these runs are short
    "-g1",
    "-fsanitize=address,undefined",
    "-fno-sanitize=shift-base",  # the ap_int headers shift negative numbers left, as C++20 defines it
    "-fno-sanitize-recover=all",
)
_ERRORS = {
    2: "could not read or write a buffer",
    3: "refused the Program",
    4: "left a memory",
    5: "would hang",
    6: "left entries in a stream",
    7: "is not one writer and one reader a stream",
}


@dataclass(frozen=True)
class CsimResult:
    """Output and trace buffers of all frames, and the seconds it took (0 to compile if the binary was cached)."""

    output: bytes
    trace: bytes
    compile_seconds: float
    run_seconds: float


def ap_int_include() -> Path:
    """Folder of ``ap_int.h``: of Vitis HLS if XILINX_HLS is set, else of the Python package hls4ml.

    Raises UserError if there is neither.
    """
    vitis = os.environ.get("XILINX_HLS")
    if vitis:
        include = Path(vitis) / "include"
        if (include / "ap_int.h").is_file():
            return include
        raise UserError(f"XILINX_HLS is {vitis}, but there is no include/ap_int.h in it. Correct it or unset it.")
    found = importlib.util.find_spec("hls4ml")  # looks for the package without importing it
    for place in (found.submodule_search_locations or ()) if found is not None else ():
        include = Path(place) / "templates" / "vivado" / "ap_types"
        if (include / "ap_int.h").is_file():
            return include
    raise UserError("the C simulation needs the ap_int headers. Install them with: pip install 'hwgen[sim]'")


def find_compiler() -> str:
    """The C++ compiler: $CXX, else g++. Raises UserError if it is not there."""
    name = os.environ.get("CXX") or "g++"
    path = shutil.which(name)
    if path is None:
        hint = "Correct CXX or unset it." if os.environ.get("CXX") else "Install it (Debian, Ubuntu: apt install g++)."
        raise UserError(f"the C simulation needs a C++ compiler, and {name} is not on the PATH. {hint}")
    return path


def compile_flags(compiler_version: str, *, sanitize: bool = False) -> list[str]:
    """Compiler flags without include paths, for a compiler whose ``--version`` says ``compiler_version``."""
    gnu = () if "clang" in compiler_version.lower() else GNU_WARNINGS
    return [STANDARD, *(SANITIZED if sanitize else OPTIMIZED), *WARNINGS, *gnu]


def _version(compiler: str) -> str:
    done = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UserError(f"{compiler} --version fails. Set CXX to a C++ compiler that works.")
    return done.stdout


def _sources(hls: Path) -> list[Path]:
    files = [hls / "config.hpp", *(hls / "include").iterdir(), *(hls / "sim").iterdir(), *(hls / "src").iterdir()]
    return sorted(files)


def compile_csim(build_dir: Path, *, sanitize: bool = False) -> tuple[Path, float]:
    """The simulation's binary in ``build_dir/sim-cache`` and the seconds it took to compile it (0: it was there).

    It is keyed by compiler, flags and sources, and appears under its name only when it is complete. Raises UserError
    for what is missing on this computer, InternalError if the emitted sources do not compile.
    """
    hls = build_dir / "hls"
    if not (hls / "config.hpp").is_file():
        raise UserError(f"{build_dir} holds no HLS project. Give a folder that hwgen build wrote.")
    compiler, include = find_compiler(), ap_int_include()
    version = _version(compiler)
    flags = compile_flags(version, sanitize=sanitize)
    digest = hashlib.sha256("\0".join([compiler, version, str(include), *flags]).encode())
    for file in _sources(hls):
        digest.update(f"\0{file.relative_to(hls)}\0".encode() + file.read_bytes())
    cache = build_dir / "sim-cache"
    binary = cache / f"csim-{digest.hexdigest()[:24]}"
    if binary.is_file():
        return binary, 0.0
    try:
        cache.mkdir(exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix="compile-", dir=cache))
    except OSError as error:
        raise UserError(f"cannot write to {cache}: {error.strerror}. Make it writable or copy the build.") from error
    start = time.perf_counter()
    try:
        units = [str(hls / "src" / name) for name in ("top.cpp", "testbench.cpp")]
        paths = [f"-I{hls}", f"-I{hls / 'include'}", f"-I{hls / 'sim'}", "-isystem", str(include)]
        command = [compiler, *flags, *paths, *units, "-o", str(temporary / "csim")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise InternalError(f"the emitted C++ does not compile with {compiler}:\n{done.stderr[:4000]}")
        os.replace(temporary / "csim", binary)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return binary, time.perf_counter() - start


@contextmanager
def _running(command: list[str], stderr: Path) -> Iterator[subprocess.Popen[str]]:
    """A child that never outlives the block."""
    with stderr.open("wb") as errors:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            yield child
        finally:
            if child.poll() is None:
                child.kill()
            child.communicate()


def _report(line: str, progress: Progress) -> None:
    """``frames 1-2/3 instruction 120/800`` as progress over all groups of frames."""
    _, group, _, instruction = line.split()
    frames, count = group.split("/")
    first, last = frames.split("-")
    done, total = instruction.split("/")
    which = f"frame {first}" if first == last else f"frames {first} to {last}"
    progress(f"simulating {which} of {count}", int(done), int(total))


def run_csim(
    build_dir: Path,
    program: bytes,
    weights: bytes,
    inputs: bytes,
    frames: int,
    *,
    trace: bool,
    sanitize: bool = False,
    order: int = 0,
    progress: Progress | None = None,
) -> CsimResult:
    """Run ``frames`` frames of a Program on the machine whose project lies in ``build_dir/hls``.

    ``program``, ``weights`` and ``inputs`` are the buffers as on the board: program.bin, weights.bin, and the input
    frames one after another. So are ``output`` and ``trace`` of the result, zero where nothing was written; the trace
    is empty without ``trace``. ``sanitize`` compiles with AddressSanitizer and UndefinedBehaviorSanitizer. With an
    ``order`` other than 0 the tasks of the machine run in a random order, that one: results must not depend on it.

    Raises UserError where a tool is missing, InternalError where the machine stops.
    """
    if progress is not None:
        progress("compiling the machine", 0, 0)
    binary, compile_seconds = compile_csim(build_dir, sanitize=sanitize)
    with tempfile.TemporaryDirectory(prefix="hwgen-csim-") as name:
        folder = Path(name)
        for file, data in (("program.bin", program), ("weights.bin", weights), ("input.bin", inputs)):
            (folder / file).write_bytes(data)
        names = ("program.bin", "weights.bin", "input.bin", "output.bin", "trace.bin")
        command = [str(binary), *(str(folder / n) for n in names), str(frames), str(int(trace))]
        command += ["0" if progress is None else "1", str(order)]
        start = time.perf_counter()
        with _running(command, folder / "stderr.txt") as child:
            assert child.stdout is not None
            for line in child.stdout:
                if progress is not None:
                    _report(line, progress)
            code = child.wait()
        run_seconds = time.perf_counter() - start
        if code != 0:
            message = (folder / "stderr.txt").read_text(errors="replace")[-20000:].strip()
            raise InternalError(f"the simulated machine {_ERRORS.get(code, f'ended with code {code}')}: {message}")
        output, traced = (folder / "output.bin").read_bytes(), (folder / "trace.bin").read_bytes()
    return CsimResult(output, traced, compile_seconds, run_seconds)
