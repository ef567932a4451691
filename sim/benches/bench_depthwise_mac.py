# SPDX-License-Identifier: Apache-2.0
"""depthwise_mac.sv against a sum of products in NumPy."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
from stream import SEED, TRANSACTIONS, compare, pack, reset, unpack


@cocotb.test()
async def equals_numpy(dut: Any) -> None:
    rng = np.random.default_rng(SEED)
    lanes, taps = int(dut.LANES.value), int(dut.TAPS.value)
    codes = np.arange(-128, 128)
    extremes = np.array([-128, 127, -127, 0, 1, -1])

    def draw() -> Any:
        kind = rng.random()
        if kind < 0.1:
            return np.full((taps, lanes), rng.choice([-128, 127]))
        return rng.choice(extremes if kind < 0.4 else codes, (taps, lanes))

    weights = np.zeros((taps, lanes), np.int64)
    rows, expected = [], np.empty((TRANSACTIONS, lanes), np.int64)
    for i in range(TRANSACTIONS):
        x, new = draw(), draw()
        load = np.ones(taps, bool) if i == 0 else rng.random(taps) < rng.choice([0.0, 0.0, 0.3, 1.0])
        weights = np.where(load[:, None], new, weights)
        rows.append({"x": pack(x, 8), "weight": pack(new, 8), "load": pack(load, 1)})
        expected[i] = (weights * x).sum(axis=0)

    await reset(dut)
    await compare(dut, rows, expected, lambda: unpack(int(dut.sum.value), 20, lanes), rng, strobes=["load"])
