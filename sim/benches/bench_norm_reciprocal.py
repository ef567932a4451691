# SPDX-License-Identifier: Apache-2.0
"""norm_reciprocal.sv against hwgen.kernels.mlp.norm_reciprocal."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
from stream import SEED, TRANSACTIONS, compare, reset

from hwgen.kernels import mlp


@cocotb.test()
async def equals_numerics(dut: Any) -> None:
    rng = np.random.default_rng(SEED)
    bits = int(dut.VARIANCE_BITS.value)
    rows, expected = [], np.empty((TRANSACTIONS, 2), np.int64)
    for i in range(TRANSACTIONS):
        length = int(rng.integers(1, bits + 1))
        variance = (1 << (length - 1)) + (int(rng.integers(0, 1 << (length - 1))) if length > 1 else 0)
        kind = rng.random()
        if kind < 0.2:  # powers of two, all ones, and around squares
            variance = 1 << (length - 1) if kind < 0.1 else (1 << length) - 1
        elif kind < 0.4:
            root = int(rng.integers(1, 1 << (bits // 2)))
            variance = min(max(root * root + int(rng.integers(-1, 2)), 1), (1 << bits) - 1)
        rows.append({"variance": variance})
        expected[i] = mlp.norm_reciprocal(1, 0, variance, 0)
    await reset(dut)
    await compare(dut, rows, expected, lambda: [int(dut.reciprocal.value), int(dut.shift.value)], rng)
