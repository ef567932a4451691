# SPDX-License-Identifier: Apache-2.0
"""requantize.sv against hwgen.numerics.requantize."""

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
    shape = (count, lanes)
    limit = nx.ACCUMULATOR_LIMIT
    acc = rng.integers(-limit + 1, limit, shape) >> rng.integers(0, 26, shape)
    acc = np.where(rng.random(shape) < 0.1, rng.choice([limit - 1, 1 - limit, 0, 1, -1], shape), acc)
    multiplier = rng.integers(1 << 16, 1 << 17, shape)
    multiplier = np.where(rng.random(shape) < 0.1, rng.choice([0, 1, (1 << 17) - 1, 1 << 16], shape), multiplier)
    # Most results have 0 to 14 bits: around the saturation. The others are any.
    size = np.ceil(np.log2(np.abs(acc * multiplier) + 1)).astype(np.int64)
    shift = np.clip(size - rng.integers(0, 15, shape), 0, nx.SHIFT_MAX)
    shift = np.where(rng.random(shape) < 0.2, rng.integers(0, nx.SHIFT_MAX + 1, shape), shift)
    shift = np.where(rng.random(shape) < 0.05, rng.choice([0, nx.SHIFT_MAX], shape), shift)
    # Ties, (2 k + 1) 2^a times 2^16 shifted by a + 17, and products that one bit below moves away from the tie.
    tie = rng.random(shape) < 0.2
    twos = rng.integers(0, 24, shape)
    odd = 2 * rng.integers(-2100, 2100, shape) + 1
    odd = np.where(twos < 14, odd, np.sign(odd) * (np.abs(odd) % 3 | 1))
    moved = np.where(rng.random(shape) < 0.5, 1 << rng.integers(0, twos + 1), 0) * (twos > 0)
    acc = np.where(tie, (odd << twos) + np.where(moved >> twos, 0, moved), acc)
    multiplier, shift = np.where(tie, 1 << 16, multiplier), np.where(tie, twos + 17, shift)
    # Large products whose lower bits look like a small one.
    hollow = rng.random(shape) < 0.03
    acc = np.where(hollow, rng.integers(-511, 512, shape) << 17, acc)
    multiplier, shift = np.where(hollow, 1 << 16, multiplier), np.where(hollow, rng.integers(0, 16, shape), shift)
    shift = np.clip(shift, int(dut.LOW.value), int(dut.HIGH.value))
    zero = np.where(rng.random(count) < 0.8, rng.integers(-128, 128, count), rng.integers(-(1 << 15), 1 << 15, count))
    wide = rng.integers(0, 2, count)
    zero = np.where((wide == 1) & (rng.random(count) < 0.3), rng.integers(-4096, 2048, count), zero)

    rows, expected = [], np.empty(shape, np.int64)
    for i in range(count):
        rows.append(
            {
                "acc": pack(acc[i], 27),
                "multiplier": pack(multiplier[i], 17),
                "shift": pack(shift[i], 6),
                "zero_point": pack(zero[i], 16),
                "wide": int(wide[i]),
            }
        )
        expected[i] = nx.requantize(acc[i], multiplier[i], shift[i], int(zero[i]), 12 if wide[i] else 8)
    await reset(dut)
    await compare(dut, rows, expected, lambda: unpack(int(dut.code.value), 12, lanes), rng)
