# SPDX-License-Identifier: Apache-2.0
"""divide_round.sv against hwgen.numerics.divide_round, and against Python integers for other quotient widths."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
from stream import SEED, TRANSACTIONS, compare, pack, reset, unpack

from hwgen import numerics as nx


@cocotb.test()
async def equals_numerics(dut: Any) -> None:
    rng = np.random.default_rng(SEED)
    n_bits, d_bits, q_bits = (
        int(getattr(dut, p).value) for p in ("NUMERATOR_BITS", "DENOMINATOR_BITS", "QUOTIENT_BITS")
    )
    limit = 1 << q_bits
    rows, expected = [], np.empty((TRANSACTIONS, 1), np.int64)
    for i in range(TRANSACTIONS):
        d = max(int(rng.integers(0, 1 << d_bits)) >> int(rng.integers(0, d_bits)), 1)
        if rng.random() < 0.05:
            d = int(rng.choice([1, 2, 3, (1 << d_bits) - 1, (1 << d_bits) - 2, 1 << (d_bits - 1)]))
        q = int(rng.integers(-limit - 3, limit + 4))
        kind = rng.random()
        if kind < 0.3:  # a tie, or next to one
            n = q * d + d // 2 + int(rng.integers(-1, 2))
        elif kind < 0.4:
            n = q * d
        elif kind < 0.9:
            n = q * d + int(rng.integers(0, d))
        else:
            n = int(rng.choice([-(1 << (n_bits - 1)), (1 << (n_bits - 1)) - 1, 0, 1, -1]))
        n = min(max(n, -(1 << (n_bits - 1))), (1 << (n_bits - 1)) - 1)
        rows.append({"numerator": pack(n, n_bits), "denominator": d})
        # numerics clips at 9 bits; a narrower divider clips the same quotient earlier.
        expected[i] = np.clip(nx.divide_round(n, d), 1 - limit, limit - 1)
    assert limit - 1 <= nx.QUOTIENT_LIMIT
    await reset(dut)
    await compare(dut, rows, expected, lambda: unpack(int(dut.quotient.value), q_bits + 1, 1), rng)
