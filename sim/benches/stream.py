# SPDX-License-Identifier: Apache-2.0
"""Drives a module with valid/ready on both sides; random idle cycles in front, random stalls behind.

Pins change at the falling edge and are read after they settled, so that what is read is what the rising edge sees.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from cocotb.clock import Clock
from cocotb.handle import Immediate
from cocotb.triggers import FallingEdge, ReadOnly

SEED = int(os.environ["HWGEN_SEED"])
TRANSACTIONS = int(os.environ["HWGEN_TRANSACTIONS"])

Pins = Mapping[str, int]


def pack(values: npt.ArrayLike, bits: int) -> int:
    """Signed or unsigned values as one packed array, element 0 (of the flattened array) lowest."""
    word = 0
    mask = (1 << bits) - 1
    for value in reversed(np.asarray(values, np.int64).ravel().tolist()):
        word = word << bits | (value & mask)
    return word


def unpack(word: int, bits: int, count: int) -> list[int]:
    """Signed elements of a packed array."""
    values = [(word >> bits * i) & ((1 << bits) - 1) for i in range(count)]
    return [v - (1 << bits) if v >> (bits - 1) else v for v in values]


def clock(dut: Any) -> None:
    """Starts the clock (5 ns), low first: a reset that is set now is high at the first rising edge.

    Without it a check of the design may see random registers and stop the simulation. The clock is random too, so it
    becomes 0 at once, before the model is evaluated."""
    dut.clk.value = Immediate(0)
    Clock(dut.clk, 5, unit="ns").start(start_high=False)


async def reset(dut: Any) -> None:
    """Starts the clock and holds reset for three cycles; afterwards nothing is offered."""
    clock(dut)
    if hasattr(dut, "in_valid"):
        dut.in_valid.value = 0
    dut.reset.value = 1
    for _ in range(3):
        await FallingEdge(dut.clk)
    dut.reset.value = 0


async def exchange(
    dut: Any,
    rows: Sequence[Pins],
    read: Callable[[], list[int]],
    rng: np.random.Generator,
    idle: float,
    stall: float,
    strobes: Sequence[str] = (),
) -> list[list[int]]:
    """Sends ``rows`` and returns as many outputs; fails where one is lost, added or changes while it waits.

    While in_valid is low the data pins hold the data of another row, which must not come through; only ``strobes``,
    pins that act by themselves, are then 0.
    """
    outputs: list[list[int]] = []
    sent = 0
    valid = False
    waiting: list[int] | None = None
    budget = 400 * len(rows) + 1000
    quiet = 0
    while len(outputs) < len(rows) or quiet < 100:  # nothing may follow
        budget -= 1
        assert budget > 0, f"the module hangs after {len(outputs)} of {len(rows)} outputs"
        await FallingEdge(dut.clk)
        valid = valid or (sent < len(rows) and rng.random() >= idle)  # an offer stands until it is taken
        row = rows[sent] if valid else rows[int(rng.integers(len(rows)))]
        for name, value in row.items():
            getattr(dut, name).value = value if valid or name not in strobes else 0
        dut.in_valid.value = int(valid)
        dut.out_ready.value = int(rng.random() >= stall)
        await ReadOnly()
        if valid and dut.in_ready.value == 1:
            sent += 1
            valid = False
        if dut.out_valid.value == 1:
            now = read()
            assert waiting is None or waiting == now, f"output {len(outputs)} changed while it waited"
            waiting = now
            if dut.out_ready.value == 1:
                outputs.append(now)
                waiting = None
        else:
            assert waiting is None, f"output {len(outputs)} was withdrawn"
        if len(outputs) >= len(rows):
            quiet += 1
    assert len(outputs) == len(rows), f"{len(outputs)} outputs for {len(rows)} inputs"
    return outputs


async def compare(
    dut: Any,
    rows: Sequence[Pins],
    expected: npt.NDArray[np.int64],
    read: Callable[[], list[int]],
    rng: np.random.Generator,
    strobes: Sequence[str] = (),
) -> None:
    """Sends ``rows`` in four parts (full speed, idle, stalls, both) and compares every output exactly."""
    outputs: list[list[int]] = []
    parts = np.array_split(np.arange(len(rows)), 4)
    for part, (idle, stall) in zip(parts, [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.4, 0.4)], strict=True):
        outputs += await exchange(dut, [rows[i] for i in part], read, rng, idle, stall, strobes)
    check(np.asarray(outputs, np.int64), expected, rows)


def check(got: npt.NDArray[np.int64], expected: npt.NDArray[np.int64], rows: Sequence[Pins] | None = None) -> None:
    """Fails with the first difference, both values and how many differ."""
    wrong = np.argwhere(got != expected)
    if len(wrong):
        first = tuple(int(i) for i in wrong[0])
        inputs = f"; inputs {dict(rows[first[0]])}" if rows is not None else ""
        raise AssertionError(
            f"{len(wrong)} of {expected.size} values differ, first at {first}: {got[first]}, expected "
            f"{expected[first]}{inputs}"
        )
