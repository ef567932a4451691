# SPDX-License-Identifier: Apache-2.0
"""What a build puts into deploy/, and the runtime as a file of its own. Needs no pynq."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from hwgen import pipeline, runtime
from hwgen.artifact import read_build
from hwgen.backends.board import IPS, render_hwh
from hwgen.backends.board.hwh import registers
from hwgen.backends.rtl import simulate as rtl
from hwgen.board import board_names, load_board
from hwgen.numerics import ALL_CODES, dequantize
from hwgen.plan.program import LANES, MAGIC, VERSION, WORD_BYTES, Queue

ROOT = Path(__file__).resolve().parent.parent


def test_the_folder_is_complete(tiny_image_build: Path) -> None:
    deploy = tiny_image_build / "deploy"
    assert {p.name for p in deploy.iterdir()} == {
        "deploy.json",
        "program.bin",
        "weights.bin",
        "hwgen_runtime.py",
        "hwgen.hwh",
    }
    for name in ("program.bin", "weights.bin"):
        assert (deploy / name).read_bytes() == (tiny_image_build / name).read_bytes()
    assert (deploy / "hwgen_runtime.py").read_bytes() == Path(str(runtime.__file__)).read_bytes()
    read = runtime.read_deploy(deploy)
    assert read.takes_images
    assert read.input_shape == (3, 12, 12)
    assert read.row_bytes == 48
    manifest = json.loads((tiny_image_build / "manifest.json").read_text())
    assert [t["trace"] for t in read.description["tensors"]] == [t["trace"] for t in manifest["tensors"]]
    assert read.description["output"]["quant"] == manifest["output"]["quant"]
    header = read_build(tiny_image_build).program.header
    assert read.description["machine"]["config_hash"] == header["config_hash"]
    assert read.words("output") == header["output_words"]


def test_the_same_input_gives_the_same_bytes(tiny_model: Path, tmp_path: Path) -> None:
    digests = []
    for name in ("a", "b"):
        pipeline.build(pipeline.BuildOptions(tiny_model, "zcu102", tmp_path / name, clock_mhz=150))
        files = sorted((tmp_path / name / "deploy").iterdir())
        digests.append([(f.name, hashlib.sha256(f.read_bytes()).hexdigest()) for f in files])
    assert digests[0] == digests[1]
    assert json.loads((tmp_path / "a" / "deploy" / "deploy.json").read_text())["clock_mhz"] == 150
    assert 'NAME="CLKOUT1_REQUESTED_OUT_FREQ" VALUE="150.000"' in (tmp_path / "a/deploy/hwgen.hwh").read_text()


# --------------------------------------------------------------------------------------------------------------------
# What the runtime repeats, because it may import nothing of the compiler


def test_the_runtime_repeats_the_machine() -> None:
    assert (runtime.PROGRAM_MAGIC, runtime.PROGRAM_VERSION) == (MAGIC, VERSION)
    assert (runtime.WORD_BYTES, runtime.LANES) == (WORD_BYTES, LANES)
    assert [queue.name.lower() for queue in Queue] == list(runtime.QUEUES)
    assert runtime.ERRORS == rtl.ERRORS
    assert all(runtime.error_text(bits) == (rtl.error_text(bits) or "none") for bits in range(128))


def test_register_map_is_that_of_the_documents_and_the_rtl() -> None:
    text = (ROOT / "docs" / "machine.md").read_text(encoding="utf-8")
    control = text[text.index("## Control") :]
    for name, offset in {**runtime.POINTERS, "frames": runtime.FRAMES, "trace_enable": runtime.TRACE_ENABLE}.items():
        assert re.search(rf"0x{offset:02x} {name}\b", control), name
    for name, offset in {"error": runtime.ERROR, "cycles": runtime.CYCLES, "frames done": runtime.FRAMES_DONE}.items():
        assert re.search(rf"0x{offset:x} {name}", control), name
    assert f"from 0x{runtime.COUNTERS:x} for each queue busy cycles and waiting cycles" in re.sub(r"\s+", " ", control)
    source = (ROOT / "templates" / "rtl" / "control.sv").read_text(encoding="utf-8")
    found = {name: int(value, 16) for name, value in re.findall(r"(\w+) = (?:Word')?\(?'h([0-9a-f]+) / 4\)?;", source)}
    expected = {"Frames": runtime.FRAMES, "Trace": runtime.TRACE_ENABLE, "Error": runtime.ERROR}
    expected |= {"Cycles": runtime.CYCLES, "FramesDone": runtime.FRAMES_DONE, "Counter": runtime.COUNTERS}
    assert {name: found[name] for name in expected} == expected
    assert found["Pointer"] == min(runtime.POINTERS.values())
    assert sorted(runtime.POINTERS.values()) == [found["Pointer"] + 12 * i for i in range(8)]


def test_the_runtime_dequantizes_and_quantizes_as_the_compiler_does(tiny_build: Path) -> None:
    described = json.loads((tiny_build / "deploy" / "deploy.json").read_text())
    quant = described["output"]["quant"]
    net = object.__new__(runtime.Accelerator)
    net._deploy = runtime.read_deploy(tiny_build / "deploy")
    table = net._dequantization()
    assert np.array_equal(table[ALL_CODES.view(np.uint8)], dequantize(ALL_CODES, quant["scale"], quant["zero_point"]))


# --------------------------------------------------------------------------------------------------------------------
# A file of its own


def test_the_runtime_imports_numpy_and_pynq_only() -> None:
    tree = ast.parse(Path(str(runtime.__file__)).read_text(encoding="utf-8"), feature_version=(3, 10))
    found = {n.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for n in _names(node)}
    found |= {(node.module or "").split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    image_files = {"PIL", "cv2"}  # where they are, inside a function
    assert found - set(sys.stdlib_module_names) == {"numpy", "pynq"} | image_files


def _names(node: ast.Import) -> list[str]:
    return [alias.name for alias in node.names]


def test_without_pynq_the_import_works_and_a_device_does_not(tiny_build: Path) -> None:
    """In the deploy folder itself, with nothing of hwgen on the path."""
    script = (
        "import sys; sys.modules['pynq'] = None; sys.path.insert(0, '.')\n"
        "import hwgen_runtime as r\n"
        "assert 'hwgen' not in sys.modules\n"
        "assert r.read_deploy('.').input_shape == (3, 12, 12)\n"
        "try: r.Accelerator('.')\n"
        "except r.OverlayError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tiny_build / "deploy", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "pynq cannot be imported" in done.stdout


def test_hwgen_run_without_pynq_says_what_to_install(tiny_build: Path, hwgen: Any, tmp_path: Path) -> None:
    if importlib.util.find_spec("pynq") is not None:
        pytest.skip("pynq is installed")
    np.save(tmp_path / "x.npy", np.zeros((1, 3, 12, 12), np.int8))
    for device in ("reference", "pynq"):
        done = hwgen("run", tiny_build, tmp_path / "x.npy", "--device", device)
        assert done.code == 2
        assert "pip install 'hwgen[board]'" in done.err


# --------------------------------------------------------------------------------------------------------------------
# The handoff file


def test_handoff_wires_every_port() -> None:
    board = load_board("zcu102")
    text = render_hwh(board, config_hash=0xC0FFEE)
    assert text is not None
    modules = {m.get("INSTANCE"): m for m in ElementTree.fromstring(text).iter("MODULE")}
    top, ps = modules["hwgen_top_0"], modules["zynq_ultra_ps_e_0"]
    ranges = [r for r in top.iter("MEMRANGE") if r.get("MEMTYPE") == "MEMORY"]
    assert {(r.get("MASTERBUSINTERFACE"), r.get("SLAVEBUSINTERFACE")) for r in ranges} == {
        (f"m_axi_{port.name}", port.slave) for port in board.ports
    }
    highest = max(int(r.get("HIGHVALUE") or "0", 16) for r in ranges)
    assert highest == 0x8_7FFF_FFFF  # 4 GiB: half of them from 0x8_0000_0000 on
    buses = {b.get("NAME"): b for b in ps.iter("BUSINTERFACE")}
    for port in board.ports:
        mine = next(b for b in top.iter("BUSINTERFACE") if b.get("NAME") == f"m_axi_{port.name}")
        theirs = buses[port.slave]
        assert mine.get("BUSNAME") == theirs.get("BUSNAME")
        assert mine.get("DATAWIDTH") == theirs.get("DATAWIDTH") == "128"
    control = {r.get("INSTANCE"): (r.get("BASEVALUE"), r.get("HIGHVALUE")) for r in ps.iter("MEMRANGE")}
    assert control == {"hwgen_top_0": ("0xA0000000", "0xA000FFFF"), "axi_intc_0": ("0xA0010000", "0xA001FFFF")}
    assert 'NAME="CONFIG_HASH" VALUE="0x00c0ffee"' in text
    ports = {(m, p.get("NAME")): p for m, module in modules.items() for p in module.iter("PORT")}
    for (module, name), port in ports.items():  # each wire is known at both ends, driven at one
        for end in port.iter("CONNECTION"):
            other = ports[end.get("INSTANCE"), end.get("PORT")]
            assert (module, name) in [(c.get("INSTANCE"), c.get("PORT")) for c in other.iter("CONNECTION")]
            assert {port.get("DIR"), other.get("DIR")} == {"I", "O"}


@pytest.mark.parametrize("ip", sorted(IPS))
def test_registers_do_not_overlap(ip: str) -> None:
    offsets = [register.offset for register in registers(ip)]
    assert sorted(set(offsets)) == offsets
    assert all(offset % 4 == 0 for offset in offsets)
    assert (max(offsets) < 0x80) == (ip == "hls")


@pytest.mark.parametrize("ip", sorted(IPS))
@pytest.mark.parametrize("name", board_names())
def test_pynq_reads_the_handoff_of_each_board(name: str, ip: str, tmp_path: Path) -> None:
    pytest.importorskip("pynqmetadata", reason="pynq is not installed (make test-board)")
    from pynqmetadata.frontends import Metadata
    from pynqmetadata.views.runtime.runtime_metadata_parser import RuntimeMetadataParser

    board = load_board(name)
    text = render_hwh(board, config_hash=1, ip=ip)
    assert text is not None
    (tmp_path / "hwgen.hwh").write_text(text)
    parser = RuntimeMetadataParser(Metadata(input=tmp_path / "hwgen.hwh"))
    top = parser.ip_dict["hwgen_top_0"]
    assert (top["type"], top["phys_addr"], top["addr_range"]) == (IPS[ip], board.control_base, board.control_bytes)
    assert top["interrupts"]["interrupt"]["controller"] == "axi_intc_0"
    assert parser.ip_dict["axi_intc_0"]["phys_addr"] == board.control_base + board.control_bytes
    irq = 61 if name == "pynq-z2" else 121  # IRQ_F2P[0], pl_ps_irq0[0]
    assert parser.interrupt_controllers["axi_intc_0"]["raw_irq"] == irq
    clock = parser.clock_dict[0]
    assert (clock["enable"], clock["divisor0"] * clock["divisor1"]) == (1, 10 if name == "pynq-z2" else 15)


def test_boards_of_other_families_get_no_handoff() -> None:
    board = replace(load_board("zcu102"), part="xcvc1902-vsva2197-2MP-e-S")
    assert render_hwh(board, config_hash=1) is None
