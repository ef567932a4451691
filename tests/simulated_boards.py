# SPDX-License-Identifier: Apache-2.0
"""A build on a simulated board, and what the direct reference expects of it. Needs pynq."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pynq.interrupt
import pytest

from hwgen import numerics as nx
from hwgen import simulation
from hwgen.artifact import read_build
from hwgen.backends.reference import direct
from hwgen.runtime import Accelerator, _in_interrupt_loop
from hwgen.runtime_devices import ReferenceDevice, SimulatedDevice


class Opened:
    """A build on a simulated device, its expectations, and accelerators that are closed at the end."""

    def __init__(self, build: Path, folder: Path, device: Any = None) -> None:
        self.build, self.folder = build, folder
        self.device: Any = ReferenceDevice(build) if device is None else device
        _, self.graph = simulation._graphs(read_build(build))
        self.stack = ExitStack()

    def net(self, **options: Any) -> Accelerator:
        options.setdefault("device", self.device)
        return self.stack.enter_context(Accelerator(self.folder, **options))

    def frames(self, count: int, seed: int = 0) -> np.ndarray[Any, Any]:
        """What the accelerator takes: uint8 (N, H, W, C) or int8 (N, C, H, W)."""
        rng, (c, h, w) = np.random.default_rng(seed), self.graph.input.image
        if self.graph.input.table is not None:
            return rng.integers(0, 256, (count, h, w, c), np.uint8)
        return rng.integers(-128, 128, (count, c, h, w)).astype(np.int8)

    def tensors(self, frame: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
        """Every tensor of one frame by the direct reference, which knows no Program."""
        return direct.run(self.graph, frame.transpose(2, 0, 1) if frame.dtype == np.uint8 else frame)

    def logits(self, frames: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        quant = self.graph.tensors[self.graph.output].quant
        codes = [self.tensors(frame)[self.graph.output].reshape(-1) for frame in frames]
        return nx.dequantize(np.stack(codes), quant.scale, quant.zero_point)


def until(happened: Callable[[], object], seconds: float = 60) -> None:
    """Wait for an event; fails after the time, which a busy computer does not use up."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


@contextmanager
def wired(device: SimulatedDevice) -> Iterator[None]:
    """PYNQ finds the device's UIO file where it looks for that of an interrupt of the processor, in /proc/interrupts.

    All else of PYNQ's interrupts is its own: Interrupt, the driver of the controller, UioController.
    """
    controllers = pynq.interrupt._InterruptController

    def forget() -> None:
        controllers._controllers.clear()
        controllers._uio_devices.clear()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pynq.interrupt, "get_uio_irq", lambda number: device.uio.path)
        yield
    _in_interrupt_loop(forget)
