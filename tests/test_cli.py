# SPDX-License-Identifier: Apache-2.0
"""The command line itself: help, version, bugs, interrupts, boards, doctor, and the wheel."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

import hwgen as package
from conftest import ROOT, Ran
from hwgen import doctor, pipeline
from hwgen.cli import with_default_fault
from hwgen.resources import folder

Hwgen = Callable[..., Ran]
COMMANDS = ("quantize", "sensitivity", "build", "inspect", "sim", "boards", "doctor")


def test_version(hwgen: Hwgen) -> None:
    assert hwgen("--version").out.strip() == f"hwgen {package.__version__}"


@pytest.mark.parametrize("command", COMMANDS)
def test_help(hwgen: Hwgen, command: str) -> None:
    ran = hwgen(command, "--help")
    assert ran.code == 0
    for option in ("--json", "--quiet", "--verbose"):
        assert option in ran.out


def test_help_of_the_zoo(hwgen: Hwgen) -> None:
    assert all(command in hwgen("zoo", "--help").out for command in ("export", "train"))
    for command in ("export", "train"):
        ran = hwgen("zoo", command, "--help")
        assert ran.code == 0 and all(option in ran.out for option in ("--json", "--quiet", "--verbose", "--checkpoint"))


def test_the_zoo_without_torch(hwgen: Hwgen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.startswith("hwgen.zoo")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    ran = hwgen("zoo", "export", "tiny", "-o", tmp_path / "m.onnx")
    assert ran.code == 2 and "pip install 'hwgen[quant]'" in ran.err and "Traceback" not in ran.err


def test_nothing_but_the_zoo_and_reconstruct_imports_torch() -> None:
    theirs = ("hwgen.quantize.reconstruct", "hwgen.quantize.torch_graph")
    modules = [
        ".".join(p.relative_to(ROOT).with_suffix("").parts)
        for p in (ROOT / "hwgen").rglob("*.py")
        if "zoo" not in p.parts and p.stem not in ("__main__", "__init__")
    ]
    code = (
        "import importlib, sys\n"
        "sys.modules['torch'] = None\n"
        f"for name in {[m for m in modules if m not in theirs]}:\n"
        "    try:\n"
        "        importlib.import_module(name)\n"
        "    except ModuleNotFoundError as error:\n"
        "        assert error.name not in (None, 'torch'), name  # others may be missing: pynq\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_no_arguments_show_the_commands(hwgen: Hwgen) -> None:
    ran = hwgen()
    assert all(command in ran.out + ran.err for command in COMMANDS)


def test_a_bug_says_so(hwgen: Hwgen, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(options: object, progress: object) -> None:
        raise ZeroDivisionError("an invariant")

    monkeypatch.setattr(pipeline, "build", broken)
    arguments = ["build", tiny_model, "--board", "zcu102", "-o", tmp_path / "out"]
    ran = hwgen(*arguments)
    assert ran.code == 70 and ran.out == ""
    assert "this is a bug of hwgen" in ran.err and "an invariant" in ran.err and "report" in ran.err
    assert "Traceback" not in ran.err and "-v" in ran.err
    assert "Traceback" in hwgen(*arguments, "-v").err


def test_boards(hwgen: Hwgen) -> None:
    entries = hwgen("boards", "--json").json
    assert [e["name"] for e in entries] == ["kv260", "pynq-z2", "zcu102"]
    assert "xczu9eg-ffvb1156-2-e" in hwgen("boards").out
    assert "UG1182" in hwgen("boards", "-v").out
    assert hwgen("boards", "-q").out == ""


def test_doctor(hwgen: Hwgen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "vitis_hls"
    tool.write_text("#!/bin/sh\necho 'Vitis HLS v2023.2 (64-bit)'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    entries = {e["name"]: e for e in json.loads(hwgen("doctor", "--json").out)}
    assert entries["vitis_hls"]["found"] and entries["vitis_hls"]["version"] == "2023.2"
    names = {"g++", "clang++", "vitis_hls", "vitis-run", "v++", "verilator", "pyosys", "ap_int headers", "onnxruntime"}
    assert names <= set(entries)
    assert all(e["purpose"] and e["get"] for e in entries.values())


def test_doctor_misses_a_needed_tool(hwgen: Hwgen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ran = hwgen("doctor")
    assert ran.code == 2 and "apt install g++" in ran.out


def test_doctor_survives_a_tool_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "pyosys"
    tool.write_text("#!/bin/sh\nexec sleep 60\n")
    tool.chmod(0o755)
    monkeypatch.setattr(doctor, "VERSION_SECONDS", 0.2)
    assert doctor._version(str(tool), ("--version",)) == ""


def test_fault_value_is_optional() -> None:
    assert with_default_fault(["sim", "d", "--inject-fault", "--json"])[2] == "--inject-fault=weights"
    assert with_default_fault(["sim", "d", "--inject-fault"])[2] == "--inject-fault=weights"
    assert with_default_fault(["sim", "--inject-fault", "table", "d"]) == ["sim", "--inject-fault", "table", "d"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_leaves_nothing(tiny_model: Path, tmp_path: Path, number: signal.Signals) -> None:
    script = tmp_path / "slow.py"
    script.write_text(
        "import signal, sys, time\n"
        "from hwgen import cli, pipeline\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it\n"
        "def emit(program, directory, **options):\n"
        "    print('emitting', flush=True)\n"
        "    time.sleep(600)\n"
        "pipeline.hls.emit = emit\n"
        "sys.exit(cli.main(sys.argv[1:]))\n"
    )
    command = [
        sys.executable,
        str(script),
        "build",
        str(tiny_model),
        "--board",
        "zcu102",
        "-o",
        str(tmp_path / "o" / "p"),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None and child.stderr is not None
        assert child.stdout.readline() == "emitting\n"
        child.send_signal(number)
        assert child.wait(timeout=120) == 128 + number
        errors = child.stderr.read()
    assert "Traceback" not in errors
    if number == signal.SIGINT:
        assert "interrupted" in errors
    assert [p.name for p in tmp_path.iterdir()] == ["slow.py"]


def test_data_folders_are_found() -> None:
    assert (folder("boards") / "zcu102" / "board.toml").is_file()
    assert (folder("templates") / "hls").is_dir()


@pytest.mark.parametrize("target", ["venv", "board-venv"])
@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exec true", None),
        ("exit 1", "needs Python 3.10"),
        ('[ "$1" = -c ] || { echo "ensurepip is not available"; exit 1; }', "apt install python3-venv"),
    ],
)
def test_make_explains_a_python_that_will_not_do(tmp_path: Path, target: str, script: str, words: str | None) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    done = subprocess.run(
        ["make", target, f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert not any(tmp_path.glob(".venv*/.installed"))
    if words is not None:
        assert words in done.stderr and not (tmp_path / ".venv").exists() and not (tmp_path / ".venv-board").exists()


@pytest.mark.slow
def test_wheel_in_an_empty_environment(tiny_model: Path, tmp_path: Path) -> None:
    """Build a wheel, install it alone, run it from another folder: data must come along."""
    source = tmp_path / "source"
    ignore = shutil.ignore_patterns(".git", ".venv", "build", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, source, ignore=ignore)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(tmp_path / "dist"), str(source)], check=True)
    shutil.rmtree(source)
    (wheel,) = (tmp_path / "dist").glob("hwgen-*.whl")
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    constraints = str(ROOT / "constraints.txt")
    pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "-c", constraints, str(wheel)], check=True)
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    (tmp_path / "elsewhere").mkdir()

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(tmp_path / "env" / "bin" / "hwgen"), *arguments]
        return subprocess.run(
            command, cwd=tmp_path / "elsewhere", env=environment, capture_output=True, text=True, check=False
        )

    boards = run("boards", "--json")
    assert boards.returncode == 0 and json.loads(boards.stdout)[-1]["name"] == "zcu102", boards.stderr
    built = run("build", str(tiny_model), "--board", "zcu102", "-o", "b")
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "elsewhere" / "b" / "hls" / "include").is_dir()
    assert run("sim", "b").returncode == 0
    headers = run("sim", "b", "--level", "csim")  # the extras are not installed here
    assert headers.returncode == 2 and "hwgen[sim]" in headers.stderr
    runtime = run("sim", "b", "--level", "onnxruntime")
    assert runtime.returncode == 2 and "hwgen[ort]" in runtime.stderr


def test_start_is_quick() -> None:
    """Help must not wait for ONNX and NumPy."""
    code = (
        "import sys; from hwgen import cli; sys.exit(any(m in sys.modules for m in ('onnx', 'numpy', 'onnxruntime')))"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert done.returncode == 0
    assert time.perf_counter() - start < 20


def test_version_is_in_the_changelog() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## \[Unreleased\]", text, re.MULTILINE)
