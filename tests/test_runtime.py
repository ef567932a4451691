# SPDX-License-Identifier: Apache-2.0
"""The runtime with the real pynq, on simulated devices. Skipped where pynq is not installed (docs/runtime.md)."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import pytest

pytest.importorskip("pynq", reason="pynq is not installed (pip install 'hwgen[board]', in an environment of its own)")

import psutil
import pynq

from hwgen import pipeline, simulation
from hwgen.backends.board import render_hwh
from hwgen.backends.hls.csim import ap_int_include, find_compiler
from hwgen.board import load_board
from hwgen.errors import UserError
from hwgen.runtime import (
    Accelerator,
    AcceleratorError,
    AcceleratorTimeout,
    DeployError,
    InputError,
    MachineError,
    MemoryExhausted,
    OverlayError,
    _Job,
    _read_image,
    read_deploy,
)
from hwgen.runtime_devices import Control, CsimDevice, Outcome, ReferenceDevice, Registers, SimulatedBuffer, deployed
from simulated_boards import Opened, until

ROOT = Path(__file__).resolve().parent.parent
FASHION = ROOT / "examples" / "fashion"


@pytest.fixture
def opened() -> Iterator[Callable[[Path], Opened]]:
    with ExitStack() as stack:

        def make(build: Path) -> Opened:
            result = Opened(build, stack.enter_context(deployed(build)))
            stack.enter_context(result.stack)
            return result

        yield make


@pytest.fixture
def codes(opened: Callable[[Path], Opened], tiny_build: Path) -> Opened:
    return opened(tiny_build)


@pytest.fixture
def image(opened: Callable[[Path], Opened], tiny_image_build: Path) -> Opened:
    return opened(tiny_image_build)


# --------------------------------------------------------------------------------------------------------------------
# Results


@pytest.mark.parametrize("count", [1, 4, 7, 11])
def test_any_number_of_frames_is_exact(codes: Opened, image: Opened, count: int) -> None:
    for case in (codes, image):
        frames = case.frames(count)
        logits = case.net(batch=4)(frames)
        assert logits.dtype == np.float32
        assert np.array_equal(logits, case.logits(frames))
    assert codes.device.starts == 1 + -(-count // 4)  # the first one is the check of the bitstream


def test_buffers_above_four_gigabytes(codes: Opened) -> None:
    """The ZCU102 has memory from 0x8_0000_0000 on."""
    net = codes.net(device=ReferenceDevice(codes.build, memory_base=0x8_0000_0000))
    assert np.array_equal(net(codes.frames(2)), codes.logits(codes.frames(2)))
    assert net.dump(net.tensors[0], codes.frames(1)).any()


def test_no_frames(codes: Opened) -> None:
    assert codes.net()(codes.frames(0)).shape == (0, 10)


@pytest.mark.parametrize("kind", ["codes", "image"])
def test_floats_are_what_hwgen_sim_takes(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> None:
    case: Opened = request.getfixturevalue(kind)
    floats = np.random.default_rng(3).normal(size=(3, *case.graph.input.image)).astype(np.float32)
    np.save(tmp_path / "x.npy", floats)
    simulation.simulate(case.build, "reference", input=tmp_path / "x.npy", output=tmp_path / "y.npy")
    assert np.array_equal(case.net()(floats), np.load(tmp_path / "y.npy"))


def test_fashion_example_is_exact(opened: Callable[[Path], Opened], tmp_path: Path) -> None:
    """The README's lines with a trained network: logits, classes and accuracy."""
    pipeline.build(
        pipeline.BuildOptions(
            FASHION / "fashion_vit.onnx", "zcu102", tmp_path / "fashion", mean=(0.2860,), std=(0.3530,)
        )
    )
    case = opened(tmp_path / "fashion")
    with np.load(FASHION / "images.npz") as data:
        images, labels = data["images"][:20], data["labels"][:20]
    net = case.net(batch=8)
    logits = net(images)
    assert np.array_equal(logits, case.logits(images))
    best = [ranked[0][0] for ranked in net.top(logits, 1)]
    assert np.array_equal(best, logits.argmax(1))
    assert (np.array(best) == labels).mean() >= 0.8


def test_a_missing_flush_would_be_seen(codes: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulated memory has a cache: without flush the machine sees old images, without invalidate the host does."""
    frames = codes.frames(2)
    net = codes.net()
    expected = codes.logits(frames)
    assert np.array_equal(net(frames), expected)
    for method in ("flush", "invalidate"):
        with monkeypatch.context() as patch:
            patch.setattr(SimulatedBuffer, method, lambda self: None)
            assert not np.array_equal(net(frames[::-1]), expected[::-1])
        assert np.array_equal(net(frames), expected)


def test_image_files_are_read_and_resized(image: Opened, tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    frames = image.frames(2)
    for index, frame in enumerate(frames):
        pillow.fromarray(frame).save(tmp_path / f"{index}.png")
    net = image.net()
    assert np.array_equal(net.load(tmp_path), frames)
    assert np.array_equal(net.load([tmp_path / "1.png", tmp_path / "0.png"]), frames[::-1])
    pillow.fromarray(np.full((30, 50, 3), 7, np.uint8)).save(tmp_path / "2.png")
    assert np.array_equal(net.load(tmp_path / "2.png"), np.full((1, 12, 12, 3), 7, np.uint8))
    (tmp_path / "3.png").write_text("no image")
    with pytest.raises(InputError, match=r"3.png is no image"):
        net.load(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no images"):
        net.load(tmp_path / "empty")
    with pytest.raises(InputError, match="no image files"):
        net.load([])


def test_image_files_are_read_by_opencv(image: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Pillow is missing. A file that has the model's size gives its own pixels, in the order RGB."""
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed (pip install opencv-python-headless)")
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    frames = image.frames(2)
    for index, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / f"{index}.png"), frame[..., ::-1])
    net = image.net()
    assert np.array_equal(net.load(tmp_path), frames)
    assert np.array_equal(net(net.load(tmp_path)), image.logits(frames))
    cv2.imwrite(str(tmp_path / "2.png"), np.full((30, 50, 3), 7, np.uint8))
    assert np.array_equal(net.load(tmp_path / "2.png"), np.full((1, 12, 12, 3), 7, np.uint8))
    assert _read_image(tmp_path / "0.png", 1, 12, 12).shape == (12, 12)
    (tmp_path / "3.png").write_text("no image")
    with pytest.raises(InputError, match=r"3.png is no image that OpenCV reads"):
        net.load(tmp_path)
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(InputError, match="need Pillow or OpenCV"):
        net.load(tmp_path)


def test_top_names_classes(codes: Opened) -> None:
    path = codes.folder / "deploy.json"
    description = json.loads(path.read_text())
    path.write_text(json.dumps(description | {"classes": [f"class {i}" for i in range(10)]}))
    net = codes.net()
    ranked = net.top(np.array([[0, 3, 1, 2, 0, 0, 0, 0, 0, 9.0]]), 3)
    assert ranked == [[("class 9", 9.0), ("class 1", 3.0), ("class 3", 2.0)]]
    with pytest.raises(InputError, match=r"\(3,\)"):
        net.top(np.zeros(3))


# --------------------------------------------------------------------------------------------------------------------
# Asynchronous use


def test_submitted_images_come_back_in_order(codes: Opened) -> None:
    net = codes.net(batch=2)
    parts = [codes.frames(count, seed=count) for count in (3, 1, 5, 2)]
    handles = [net.submit(part) for part in parts]
    for handle, part in reversed(list(zip(handles, parts, strict=True))):
        assert np.array_equal(handle.result(30), codes.logits(part))
        assert handle.done()


def test_the_next_images_are_packed_while_the_machine_runs(codes: Opened) -> None:
    """The input of start k + 1 is flushed before start k is done, and its buffers are others."""
    events: list[str] = []

    class Watched(ReferenceDevice):
        def execute(self, registers: Registers) -> Outcome:
            events.append(f"start {registers.addresses['input']:x} {registers.addresses['output']:x}")
            return super().execute(registers)

        def flush(self, block: Any, *rest: Any) -> None:
            control = self._control
            runs = control is not None and control.running and time.monotonic() < control.ready_at
            events.append(f"flush {'running' if runs else 'idle'}")
            super().flush(block, *rest)

    device = Watched(codes.build, delay=1.0)
    net = codes.net(device=device, batch=2, check=False)
    events.clear()
    assert np.array_equal(net(codes.frames(4)), codes.logits(codes.frames(4)))
    assert [event for event in events if event.startswith("flush")] == ["flush idle", "flush running"]
    starts = [event.split()[1:] for event in events if event.startswith("start")]
    assert len(starts) == 2
    assert not set(starts[0]) & set(starts[1])


def test_threads_share_an_accelerator(codes: Opened) -> None:
    net = codes.net(batch=2)
    parts = [codes.frames(3, seed=seed) for seed in range(6)]
    found: dict[int, Any] = {}
    threads = [threading.Thread(target=lambda i=i: found.update({i: net(parts[i])})) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert all(np.array_equal(found[i], codes.logits(parts[i])) for i in range(6))


def test_a_handle_can_be_awaited(codes: Opened) -> None:
    net = codes.net()
    frames = codes.frames(2)

    async def classify() -> Any:
        return await asyncio.gather(net.submit(frames), net.submit(frames[:1]))

    both, one = asyncio.run(classify())
    assert np.array_equal(both, codes.logits(frames))
    assert np.array_equal(one, both[:1])


def test_closing_fails_what_is_queued(codes: Opened) -> None:
    device = ReferenceDevice(codes.build, delay=0.2)
    net = codes.net(device=device, batch=1, check=False)
    handle = net.submit(codes.frames(50))
    until(lambda: device.starts == 1)
    net.close()
    net.close()
    with pytest.raises(AcceleratorError, match="closed"):
        handle.result(30)
    with pytest.raises(AcceleratorError, match="closed"):
        net(codes.frames(1))
    assert device.allocated_bytes == 0


# --------------------------------------------------------------------------------------------------------------------
# Memory


def test_a_thousand_starts_leak_nothing(codes: Opened) -> None:
    frames = codes.frames(8)
    expected = codes.logits(frames)
    net = codes.net(batch=1)
    before = codes.device.allocations, codes.device.allocated_bytes
    threads = threading.active_count()
    this = psutil.Process()
    for start in range(1000):
        result = net(frames[start % 8 : start % 8 + 1])
        assert start % 100 or np.array_equal(result, expected[start % 8 : start % 8 + 1])
        if start == 200:
            gc.collect()
            files, resident = this.num_fds(), this.memory_info().rss
    gc.collect()
    assert this.num_fds() == files
    assert this.memory_info().rss - resident < 1 << 20
    assert codes.device.starts == 1001
    assert (codes.device.allocations, codes.device.allocated_bytes) == before
    assert threading.active_count() == threads
    net.dump(net.tensors[0], frames[:1])
    assert codes.device.allocated_bytes == before[1]
    net.close()
    assert codes.device.allocated_bytes == 0


def test_exhausted_memory_is_one_message_and_leaves_nothing(codes: Opened) -> None:
    needed = codes.net().batch and codes.device.allocated_bytes
    for limit in (1000, needed - 1):
        device = ReferenceDevice(codes.build, memory_bytes=limit)
        with pytest.raises(MemoryExhausted, match=r"contiguous memory.*cma="):
            Accelerator(codes.folder, device=device)
        assert device.allocated_bytes == 0
    device = ReferenceDevice(codes.build, memory_bytes=needed)
    net = codes.net(device=device)
    with pytest.raises(MemoryExhausted, match="trace"):
        net.dump(net.tensors[0], codes.frames(1))
    assert np.array_equal(net(codes.frames(1)), codes.logits(codes.frames(1)))


# --------------------------------------------------------------------------------------------------------------------
# A machine that fails


def test_a_hung_machine_times_out_and_the_process_goes_on(codes: Opened) -> None:
    net = codes.net(timeout=0.2, batch=2)
    frames = codes.frames(5)
    codes.device.hang = True
    with pytest.raises(AcceleratorTimeout) as caught:
        net(frames)
    message = str(caught.value)
    assert "2 frames within 0.2 s" in message
    assert "Control register 0x1 (start)" in message
    assert "error register 0x0 (none)" in message
    assert "recover()" in message
    with pytest.raises(AcceleratorTimeout, match="still runs"):
        net(frames)
    net.recover()
    assert codes.device.downloads == 2
    assert np.array_equal(net(frames), codes.logits(frames))


def test_a_hung_machine_is_stopped_before_its_memory_is_freed(codes: Opened) -> None:
    net = codes.net(timeout=0.1)
    codes.device.hang = True
    with pytest.raises(AcceleratorTimeout):
        net.dump(net.tensors[0], codes.frames(1))
    assert codes.device.downloads == 2
    codes.device.hang = True
    with pytest.raises(AcceleratorTimeout):
        net(codes.frames(1))
    net.close()
    assert codes.device.downloads == 3
    assert codes.device.allocated_bytes == 0
    codes.device.hang = False
    again = codes.net()
    assert np.array_equal(again(codes.frames(1)), codes.logits(codes.frames(1)))


def interrupted(after: Callable[[], bool], call: Callable[[], Any]) -> None:
    """Ctrl-C in ``call`` as soon as ``after`` is true."""
    main = threading.get_ident()

    def press() -> None:
        until(after)
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        call()
    thread.join()


def freed_while_running(device: Any, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each buffer that is given back from now on, whether the machine ran."""
    seen: list[bool] = []
    release = device.release

    def watched(block: Any) -> None:
        seen.append(device._control.running)
        release(block)

    monkeypatch.setattr(device, "release", watched)
    return seen


def test_ctrl_c_in_a_dump_stops_the_machine_before_its_memory_is_freed(
    codes: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = codes.net(timeout=60)
    freed = freed_while_running(codes.device, monkeypatch)
    codes.device.hang = True
    interrupted(lambda: codes.device.starts == 2, lambda: net.dump(net.tensors[0], codes.frames(2)))
    assert freed == [False]
    assert codes.device.downloads == 2
    assert np.array_equal(net(codes.frames(3)), codes.logits(codes.frames(3)))
    assert codes.device.starts == 2 + 1  # the second frame of the dump was not started


def test_ctrl_c_in_a_dump_that_is_queued(codes: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is never started; what runs before it goes on."""
    device = ReferenceDevice(codes.build, delay=1.0)
    net = codes.net(device=device, check=False)
    freed = freed_while_running(device, monkeypatch)
    first = net.submit(codes.frames(2))
    until(lambda: device.starts == 1)
    queued, enqueue = threading.Event(), net._enqueue

    def watched(job: Any) -> Any:
        handle = enqueue(job)
        queued.set()
        return handle

    with monkeypatch.context() as patch:
        patch.setattr(net, "_enqueue", watched)
        interrupted(queued.is_set, lambda: net.dump(net.tensors[0], codes.frames(1)))
    assert freed == [True]
    assert np.array_equal(first.result(30), codes.logits(codes.frames(2)))
    assert np.array_equal(net(codes.frames(1)), codes.logits(codes.frames(1)))
    assert (device.starts, device.downloads) == (2, 1)


def test_ctrl_c_in_the_first_frame_stops_the_machine(codes: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hung(ReferenceDevice):
        def download(self, *arguments: Any) -> None:
            super().download(*arguments)
            self.hang = self.downloads == 1

    device = Hung(codes.build)
    freed = freed_while_running(device, monkeypatch)
    interrupted(lambda: device.starts == 1, lambda: codes.net(device=device, timeout=60))
    assert freed == [False] * 6
    assert device.downloads == 2


def test_close_does_not_wait_for_a_machine_that_hangs(codes: Opened) -> None:
    net = codes.net(timeout=600)
    net(codes.frames(1))
    codes.device.hang = True
    handle, queued = net.submit(codes.frames(1)), net.submit(codes.frames(1))
    until(lambda: codes.device.starts == 3)
    start = time.monotonic()
    net.close()
    assert time.monotonic() - start < 60
    for failed in (handle, queued):
        with pytest.raises(AcceleratorError, match="closed"):
            failed.result(0)
    assert codes.device.allocated_bytes == 0


def test_a_machine_that_cannot_be_stopped_keeps_its_memory(codes: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    net = codes.net(timeout=0.1)
    before = codes.device.allocated_bytes
    codes.device.hang = True

    def fails(*arguments: Any) -> None:
        raise OSError("no such device")

    with monkeypatch.context() as patch:
        patch.setattr(codes.device, "download", fails)
        with pytest.raises(OverlayError, match=r"could not be stopped .*no such device.* memory is kept"):
            net.dump(net.tensors[0], codes.frames(1))
        kept = codes.device.allocated_bytes
        assert kept > before
        with pytest.raises(OverlayError, match=r"could not be stopped .*close\(\) tries again"):
            net.close()
        assert codes.device.allocated_bytes == kept
    net.close()
    assert codes.device.allocated_bytes == 0


def test_a_cancelled_wait_does_not_end_the_worker(codes: Opened) -> None:
    """Its future is done before the worker gets to it, or just then."""
    device = ReferenceDevice(codes.build, delay=0.2)
    net = codes.net(device=device, check=False)
    first, second = net.submit(codes.frames(1)), net.submit(codes.frames(1))
    assert second._future.cancel()
    net._fail(_Job(codes.frames(1), second._future, np.zeros(1)), AcceleratorError("too late"))
    assert np.array_equal(first.result(30), codes.logits(codes.frames(1)))
    assert np.array_equal(net(codes.frames(2)), codes.logits(codes.frames(2)))


def test_images_that_run_while_the_bitstream_is_loaded_again_fail(
    codes: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = codes.net(batch=1, timeout=30)
    collect = net._collect

    def reload(batch: Any) -> None:  # the next frame runs already
        collect(batch)
        net.recover()

    with monkeypatch.context() as patch:
        patch.setattr(net, "_collect", reload)
        with pytest.raises(AcceleratorError, match="loaded again while these images ran"):
            net(codes.frames(2))
    assert np.array_equal(net(codes.frames(2)), codes.logits(codes.frames(2)))


def test_a_result_that_is_not_there_yet(codes: Opened) -> None:
    device = ReferenceDevice(codes.build, delay=0.4)
    net = codes.net(device=device, check=False)
    handle = net.submit(codes.frames(1))
    with pytest.raises(AcceleratorTimeout, match=r"within 0.1 s.*Control register"):
        handle.result(0.1)
    assert np.array_equal(handle.result(30), codes.logits(codes.frames(1)))


def test_a_look_at_the_status_does_not_hide_the_end(codes: Opened) -> None:
    """The machine clears done when the control register is read, whoever reads it."""
    net = codes.net()
    net.driver.start(1)
    assert "(done, idle, ready)" in net.driver.status()
    assert "(idle)" in net.driver.status()
    assert net.driver.done()


def test_error_bits_are_named_and_the_next_frame_is_right(codes: Opened) -> None:
    class Failing(ReferenceDevice):
        bits = 0

        def execute(self, registers: Registers) -> Outcome:
            bits, self.bits = self.bits, 0
            return Outcome(bits) if bits else super().execute(registers)

    device = Failing(codes.build)
    net = codes.net(device=device)
    device.bits = 1 << 4 | 1 << 6
    with pytest.raises(
        MachineError, match=r"read of the memory failed; nothing moved any more \(error register 0x50\)"
    ):
        net(codes.frames(1))
    assert np.array_equal(net(codes.frames(1)), codes.logits(codes.frames(1)))


def test_freed_memory_answers_with_an_error(codes: Opened) -> None:
    net = codes.net()
    codes.device.release(net._buffers.weights.bo)
    with pytest.raises(MachineError, match="a read of the memory failed"):
        net(codes.frames(1))
    codes.device.blocks[net._buffers.weights.bo.base] = net._buffers.weights.bo


# --------------------------------------------------------------------------------------------------------------------
# Bring-up


@pytest.mark.parametrize("kind", ["codes", "image"])
def test_every_tensor_can_be_dumped(request: pytest.FixtureRequest, kind: str) -> None:
    case: Opened = request.getfixturevalue(kind)
    net = case.net()
    frames = case.frames(2)
    expected = [case.tensors(frame) for frame in frames]
    assert net.tensors == [op.y for op in case.graph.ops]
    for name in net.tensors:
        found = net.dump(name, frames)
        assert found.dtype == np.int8
        assert np.array_equal(found, np.stack([tensors[name] for tensors in expected])), name
    with pytest.raises(InputError, match="no tensor 'nothing'"):
        net.dump("nothing", frames)


def test_profile_reads_the_counters(codes: Opened) -> None:
    net = codes.net()
    with pytest.raises(AcceleratorError, match="nothing ran"):
        net.profile()
    net(codes.frames(3))
    assert net.profile().frames == 3
    assert net.profile().cycles is None
    assert "not available" in str(net.profile())

    class Counting(ReferenceDevice):
        def execute(self, registers: Registers) -> Outcome:
            return super().execute(registers)._replace(cycles=200_000, busy=(1, 2, 3, 150_000), waiting=(0, 0, 0, 7))

    net = codes.net(device=Counting(codes.build))
    net(codes.frames(4))
    profile = net.profile()
    assert (profile.frames, profile.cycles, profile.frames_per_second) == (4, 200_000, 4000.0)
    assert profile.queues is not None
    assert profile.queues["array"] == {"busy": 150_000, "waiting": 7}
    assert "4000.0 frames/s at 200 MHz" in str(profile)


def test_the_emitted_cpp_gives_the_same(
    tiny_build: Path, opened: Callable[[Path], Opened], hwgen: Any, tmp_path: Path
) -> None:
    """Behind the HLS machine's registers; also from the command line."""
    case = opened(tiny_build)
    try:
        find_compiler(), ap_int_include()
    except UserError as missing:
        pytest.skip(str(missing))
    _hls(case)
    net = case.net(device=CsimDevice(tiny_build), batch=2, timeout=600)
    assert np.array_equal(net(case.frames(3)), case.logits(case.frames(3)))
    name = net.tensors[-2]
    assert np.array_equal(net.dump(name, case.frames(1))[0], case.tensors(case.frames(1)[0])[name])
    np.save(tmp_path / "x.npy", case.frames(3))
    done = hwgen("run", tiny_build, tmp_path / "x.npy", "--device", "csim", "--output", tmp_path / "y.npy", "--json")
    assert done.code == 0, done.err
    assert done.json["device"] == "csim" and done.json["frames"] == 3
    assert np.array_equal(np.load(tmp_path / "y.npy"), case.logits(case.frames(3)))


def test_what_is_left_open_is_closed_at_the_end(codes: Opened) -> None:
    """The machine must not write into memory that the end of the process has freed."""
    script = f"""
from pathlib import Path
from hwgen.runtime import Accelerator
from hwgen.runtime_devices import ReferenceDevice
device = ReferenceDevice(Path({str(codes.build)!r}))
device.release = lambda block: print("freed", device._control.running)
net = Accelerator({str(codes.folder)!r}, device=device)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stdout.split() == ["freed", "False"] * 6, done.stderr


def _hls(case: Opened) -> None:
    text = render_hwh(load_board("zcu102"), config_hash=0, ip="hls")
    assert text is not None
    (case.folder / "hwgen.hwh").write_text(text)


def test_the_hls_machine_has_no_registers_above_its_own(codes: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading 0x100 there would read, and clear, the control register."""
    _hls(codes)
    offsets: set[int] = set()
    original = Control.read
    monkeypatch.setattr(Control, "read", lambda self, offset: offsets.add(offset) or original(self, offset))
    net = codes.net(timeout=0.2)
    assert np.array_equal(net(codes.frames(3)), codes.logits(codes.frames(3)))
    assert "not available" in str(net.profile())
    codes.device.hang = True
    with pytest.raises(AcceleratorTimeout, match=r"counters are not available \(HLS machine\)"):
        net(codes.frames(1))
    assert max(offsets) < 0x80


# --------------------------------------------------------------------------------------------------------------------
# What a user may do wrong


def test_stale_files_are_refused(codes: Opened) -> None:
    for name in ("weights.bin", "program.bin"):
        path = codes.folder / name
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(DeployError, match=f"{name} is stale"):
            codes.net()
        path.unlink()
        with pytest.raises(DeployError, match=f"cannot read .*{name}"):
            codes.net()
        path.write_bytes(data)
    assert codes.device.downloads == 0
    assert np.array_equal(codes.net()(codes.frames(1)), codes.logits(codes.frames(1)))


def test_versions_are_checked(codes: Opened) -> None:
    path = codes.folder / "deploy.json"
    description = json.loads(path.read_text())
    for change, message in (
        ({"format_version": 99}, "format version 99"),
        ({"format": "something"}, "not written by hwgen"),
        ({"machine": {"config_hash": 1, "slots": 1}}, "not of one build"),
        ({"frame": {}}, "damaged"),
    ):
        path.write_text(json.dumps(description | change))
        with pytest.raises(DeployError, match=message):
            read_deploy(codes.folder)
    path.write_text("{")
    with pytest.raises(DeployError, match="damaged"):
        read_deploy(codes.folder)
    with pytest.raises(DeployError, match="no deploy folder"):
        read_deploy(codes.folder / "nowhere")


@pytest.mark.parametrize("name", ["hwgen.bit", "hwgen.hwh"])
def test_missing_overlay_files_are_named(codes: Opened, name: str) -> None:
    (codes.folder / name).unlink()
    with pytest.raises(OverlayError, match=f"{name} is missing"):
        codes.net()


def test_an_overlay_without_the_accelerator(codes: Opened) -> None:
    path = codes.folder / "hwgen.hwh"
    path.write_text(path.read_text().replace("hwgen:rtl:hwgen_top:1.0", "xilinx.com:ip:axi_dma:7.1"))
    with pytest.raises(OverlayError, match=r"holds 0 accelerators.*hwgen_top_0 \(xilinx.com:ip:axi_dma:7.1\)"):
        codes.net()


def test_an_unreadable_hwh(codes: Opened) -> None:
    (codes.folder / "hwgen.hwh").write_text("<EDKSYSTEM>")
    with pytest.raises(OverlayError, match="PYNQ cannot load"):
        codes.net()


@pytest.mark.parametrize("kind", ["stated", "rtl", "hls"])
def test_the_bitstream_of_another_build(codes: Opened, kind: str) -> None:
    """Told by the .hwh, by the RTL's error register, or by the HLS machine's silence."""
    device: Any = codes.device
    if kind == "stated":
        text = render_hwh(load_board("zcu102"), config_hash=12345)
        assert text is not None
        (codes.folder / "hwgen.hwh").write_text(text)
    else:

        class Other(ReferenceDevice):
            def execute(self, registers: Registers) -> Outcome:
                return Outcome(1)

        device = Other(codes.build)
        if kind == "hls":
            _hls(codes)
    with pytest.raises(OverlayError, match="bitstream of this build"):
        codes.net(device=device)
    assert device.allocated_bytes == 0


@pytest.mark.parametrize("form", ["0x{:08x}", "{:08x}", "{:08X}", "{}", '"0b{:032b}"', "0b{:b}"])
def test_the_configuration_as_vivado_may_write_it(codes: Opened, form: str) -> None:
    path = codes.folder / "hwgen.hwh"
    text = path.read_text()
    stated = int(read_deploy(codes.folder).description["machine"]["config_hash"])
    assert f'VALUE="0x{stated:08x}"' in text

    def write(value: str) -> None:
        path.write_text(text.replace(f'VALUE="0x{stated:08x}"', f'VALUE="{escape(value, {chr(34): "&quot;"})}"'))

    write(form.format(stated))
    codes.net(check=False)
    write(form.format(stated ^ 1))
    with pytest.raises(OverlayError, match="is another machine"):
        codes.net(check=False)


def test_a_configuration_that_cannot_be_read_is_left_to_the_first_frame(codes: Opened) -> None:
    path = codes.folder / "hwgen.hwh"
    stated = int(read_deploy(codes.folder).description["machine"]["config_hash"])
    path.write_text(path.read_text().replace(f"0x{stated:08x}", "unknown"))
    assert np.array_equal(codes.net()(codes.frames(1)), codes.logits(codes.frames(1)))

    class Other(ReferenceDevice):
        def execute(self, registers: Registers) -> Outcome:
            return Outcome(1)

    with pytest.raises(OverlayError, match="is not for this machine"):
        codes.net(device=Other(codes.build))


@pytest.mark.parametrize("ip", ["rtl", "hls"])
def test_a_simulated_board_has_a_handoff_file_of_its_own(tiny_build: Path, ip: str) -> None:
    """Beside a bitstream lies Vivado's, perhaps of the other machine."""
    path = tiny_build / "deploy" / "hwgen.hwh"
    made = path.read_text()
    other = render_hwh(load_board("zcu102"), config_hash=1, ip={"rtl": "hls", "hls": "rtl"}[ip])
    assert other is not None
    path.write_text(other)
    with deployed(tiny_build, ip) as folder:
        found = (folder / "hwgen.hwh").read_text()
    if ip == "rtl":
        assert found == made
    else:
        assert "xilinx.com:hls:hwgen_top" in found and "hwgen:rtl:hwgen_top" not in found
    assert path.read_text() == other


def test_wrong_images_get_one_message(codes: Opened, image: Opened) -> None:
    net, pixels = codes.net(), image.net()
    for target, wrong, message in (
        (net, np.zeros((2, 12, 12, 3), np.uint8), r"without normalization.*--mean"),
        (net, np.zeros((2, 3, 12, 11), np.int8), r"shape \(2, 3, 12, 11\).*\(N, 3, 12, 12\)"),
        (net, np.zeros((3, 12, 12), np.int8), r"images\[None\]"),
        (net, np.zeros((2, 3, 12, 12), np.int32), "type int32"),
        (net, np.full((1, 3, 12, 12), np.nan, np.float32), "NaN"),
        (net, ["a", "b"], "type <U1"),
        (pixels, np.zeros((2, 3, 12, 12), np.uint8), r"shape \(2, 3, 12, 12\).*uint8 images of shape \(N, 12, 12, 3\)"),
        (pixels, np.zeros((2, 12, 12, 3), np.int8), "type int8"),
        (pixels, np.zeros((2, 12, 12, 3), np.float32), r"shape \(2, 12, 12, 3\)"),
    ):
        with pytest.raises(InputError, match=message):
            target(wrong)
    assert np.array_equal(net(codes.frames(1)), codes.logits(codes.frames(1)))
    with pytest.raises(ValueError, match="batch 0"):
        codes.net(batch=0)


# --------------------------------------------------------------------------------------------------------------------
# hwgen run


def test_hwgen_run(image: Opened, hwgen: Any, tmp_path: Path) -> None:
    frames = image.frames(12)
    np.save(tmp_path / "x.npy", frames)
    done = hwgen("run", image.build, tmp_path / "x.npy", "--output", tmp_path / "y.npy", "--top", 2, "--json")
    assert done.code == 0, done.err
    expected = image.logits(frames)
    assert np.array_equal(np.load(tmp_path / "y.npy"), expected)
    report = done.json
    assert (report["device"], report["frames"], report["shape"]) == ("reference", 12, [12, 10])
    assert len(report["top"]) == 10
    assert report["top"][3]["image"] == "3"
    assert [c["class"] for c in report["top"][3]["classes"]] == np.argsort(-expected[3], kind="stable")[:2].tolist()
    assert "Best classes" in hwgen("run", image.build, tmp_path / "x.npy").out


def test_hwgen_run_says_what_is_wrong(image: Opened, hwgen: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 5, 5, 3), np.uint8))
    (tmp_path / "y.npy").write_text("nothing")
    np.save(tmp_path / "single.npy", np.uint8(3))
    (tmp_path / "archive.npy").write_bytes(b"PK\x03\x04")
    with (tmp_path / "huge.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": (1 << 45, 12, 12, 3)}
        )
    for arguments, message in (
        ((image.build, tmp_path / "x.npy"), "images of shape (1, 5, 5, 3)"),
        ((image.build, tmp_path / "y.npy"), "cannot read"),
        ((image.build, tmp_path / "z.npy"), "does not exist"),
        ((image.build, tmp_path), "holds no images"),
        ((image.build, tmp_path / "x.npy", "--device", "gpu"), "there is no device 'gpu'"),
        ((image.build, tmp_path / "x.npy", "--device", "pynq"), "hwgen.bit is missing"),
        ((image.build, tmp_path / "single.npy"), "holds a single value"),
        ((image.build, tmp_path / "archive.npy"), "as a NumPy array file"),
        ((image.build, tmp_path / "huge.npy"), "huge.npy"),
        ((image.build, tmp_path / "x.npy", "--output", tmp_path), "it is a folder"),
        ((tmp_path, tmp_path / "x.npy"), "not a build folder"),
        ((image.build, tmp_path / "x.npy", "--output", tmp_path / "no" / "y.npy"), "its folder does not exist"),
    ):
        done = hwgen("run", *arguments)
        assert done.code == 2, done.err
        assert message in done.err and "Traceback" not in done.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_hwgen_run(image: Opened, tmp_path: Path, number: signal.Signals) -> None:
    """Also while a start runs that would take half an hour."""
    np.save(tmp_path / "x.npy", np.zeros((50_000, 12, 12, 3), np.uint8))
    script = tmp_path / "slow.py"
    script.write_text(
        "import signal, sys\n"
        "from hwgen import cli, runtime_devices\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it\n"
        "run = runtime_devices.ReferenceDevice.run\n"
        "def told(*arguments):\n"
        "    print('running', flush=True)\n"
        "    return run(*arguments)\n"
        "runtime_devices.ReferenceDevice.run = told\n"
        "sys.exit(cli.main(sys.argv[1:]))\n"
    )
    (tmp_path / "temporary").mkdir()
    command = [sys.executable, str(script), "run", str(image.build), str(tmp_path / "x.npy"), "--batch", "50000"]
    command += ["--output", str(tmp_path / "y.npy")]
    values = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "temporary")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=values) as child:
        assert child.stdout is not None and child.stderr is not None
        assert child.stdout.readline() == "running\n"
        child.send_signal(number)
        try:
            code = child.wait(timeout=120)
        finally:
            child.kill()
        errors = child.stderr.read()
    assert code == 128 + number
    assert "Traceback" not in errors
    assert not list(tmp_path.glob("y.npy*")) and not list((tmp_path / "temporary").iterdir())


# --------------------------------------------------------------------------------------------------------------------
# The overlay


def test_pynq_reads_the_handoff_file(codes: Opened) -> None:
    """The real Overlay: address, registers, driver, interrupt and clocks."""
    overlay = pynq.Overlay(str(codes.folder / "hwgen.bit"), device=codes.device)
    top = overlay.ip_dict["hwgen_top_0"]
    assert (top["phys_addr"], top["addr_range"]) == (0xA000_0000, 0x1_0000)
    assert type(overlay.hwgen_top_0).__name__ == "HwgenDriver"
    offsets = {name: register["address_offset"] for name, register in top["registers"].items()}
    assert offsets["CTRL"] == 0x00
    assert [offsets[f"{name}_1"] for name in ("program", "weights0", "weights3", "input", "output", "trace")] == [
        0x10,
        0x1C,
        0x40,
        0x4C,
        0x58,
        0x64,
    ]
    assert (offsets["frames"], offsets["trace_enable"], offsets["error"]) == (0x70, 0x78, 0x100)
    assert offsets["store_waiting"] == 0x110 + 8 * 8 + 4
    interrupt = overlay.interrupt_pins["hwgen_top_0/interrupt"]
    assert (interrupt["controller"], interrupt["index"]) == ("axi_intc_0", 0)
    assert overlay.interrupt_controllers["axi_intc_0"]["raw_irq"] == 121  # pl_ps_irq0[0]
    assert overlay.ip_dict["axi_intc_0"]["phys_addr"] == 0xA001_0000
    assert overlay.clock_dict[0]["enable"] == 1
    assert pynq.Clocks.fclk0_mhz == pytest.approx(100, rel=1e-3)
    blocks = overlay.parser.md.blocks
    assert {"hwgen_top_0", "zynq_ultra_ps_e_0", "clk_wiz_0", "axi_intc_0"} < set(blocks)
    assert "pl_ps_irq0" in blocks["zynq_ultra_ps_e_0"].ports
