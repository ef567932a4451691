# SPDX-License-Identifier: Apache-2.0
"""residual_add.sv against hwgen.numerics.add_requantize."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
from stream import SEED, TRANSACTIONS, compare, pack, reset, unpack

from hwgen import numerics as nx


@cocotb.test()
async def equals_numerics(dut: Any) -> None:
    rng = np.random.default_rng(SEED)
    lanes, count = int(dut.LANES.value), TRANSACTIONS
    bits = int(dut.M.value)
    assert bits == nx.ADD_MULTIPLIER_BITS
    limit = 1 << (bits + 8)
    rows, expected = [], np.empty((count, lanes), np.int64)
    for i in range(count):
        a, b = rng.integers(-128, 128, (2, lanes))
        if rng.random() < 0.2:
            a, b = rng.choice([-128, 127, 0], (2, lanes))
        zero = int(rng.integers(-128, 128))
        kind = rng.random()
        if kind < 0.6:  # as the compiler makes them
            scales = np.exp(rng.normal(size=3))
            ma, mb, constant, shift = nx.add_constants(
                scales[0], int(rng.integers(-128, 128)), scales[1], int(rng.integers(-128, 128)), scales[2]
            )
        elif kind < 0.8:  # ties: halves and quarters
            ma, mb = (int(m) for m in rng.choice([1 << 18, 1 << 19, 3 << 17], 2))
            constant, shift = int(rng.integers(-256, 256)) << 17, int(rng.integers(18, 21))
        elif kind < 0.9:  # small numbers: every bit of the sum counts
            ma, mb = (int(m) for m in rng.integers(0, 4, 2))
            constant, shift = int(rng.integers(-100, 100)), int(rng.integers(0, 4))
        else:  # anything the ports take
            ma, mb = (int(m) for m in rng.integers(0, 1 << bits, 2))
            constant, shift = int(rng.integers(-limit, limit)), int(rng.integers(0, nx.SHIFT_MAX + 1))
            if rng.random() < 0.3:
                ma, mb, constant = (1 << bits) - 1, (1 << bits) - 1, int(rng.choice([-limit, limit - 1]))
                shift = int(rng.choice([0, 22, 23, 47]))
        shift = min(max(shift, int(dut.LOW.value)), int(dut.HIGH.value))
        rows.append(
            {
                "a": pack(a, 8),
                "b": pack(b, 8),
                "ma": ma,
                "mb": mb,
                "constant": pack(constant, bits + 9),
                "shift": shift,
                "zero_point": pack(zero, 8),
            }
        )
        expected[i] = nx.add_requantize(a, b, ma, mb, constant, shift, zero)
    await reset(dut)
    await compare(dut, rows, expected, lambda: unpack(int(dut.code.value), 8, lanes), rng)
