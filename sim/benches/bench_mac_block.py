# SPDX-License-Identifier: Apache-2.0
"""mac_block.sv (and dsp_mac2.sv in it) against matrix products in NumPy: packed and unpacked tiles, stalls, bubbles."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, ReadOnly
from stream import SEED, TRANSACTIONS, check, pack, reset, unpack

FIELD_BITS = 19


@cocotb.test()
async def equals_numpy(dut: Any) -> None:
    rng = np.random.default_rng(SEED)
    pairs, depth = int(dut.PAIRS.value), int(dut.DEPTH.value)

    # The schedule in cycles with `advance`. Tile k is swapped in with its first x; the next tile's operands come pair
    # by pair, at any time from that cycle on.
    cycles = TRANSACTIONS + 200
    tail = cycles + depth
    load = np.zeros((tail, pairs, depth), np.int64)
    weight = rng.integers(-(1 << 26), 1 << 26, (tail, pairs, depth))
    x = rng.integers(-128, 128, (cycles, depth))
    valid, swap, packed = np.zeros(cycles, np.int64), np.zeros(cycles, np.int64), rng.integers(0, 2, cycles)
    expected = []
    start, first = 0, pairs  # loads of the first tile come before its swap
    while True:
        period = int(rng.choice([pairs, pairs + 1, 8, 30]))
        if first + period > TRANSACTIONS:
            break
        is_packed = bool(rng.random() < 0.7)
        low = -127 if is_packed else -128
        w = rng.integers(low, 128, (2, pairs, depth))
        kind = rng.random()
        if kind < 0.4:
            w = rng.choice([low, 127], (2, pairs, depth)) if kind < 0.2 else np.full((2, pairs, depth), low)
        operand = (w[1] << FIELD_BITS) + w[0] if is_packed else w[0]
        when = rng.permutation(np.arange(start, first))[:pairs]
        for p in range(pairs):
            for i in range(depth):
                load[when[p] + i, p, i] = 1
                weight[when[p] + i, p, i] = operand[p, i]
        swap[first] = 1
        for t in range(first, first + period):
            if rng.random() < 0.2:
                x[t] = rng.choice([-128, 127]) if rng.random() < 0.7 else rng.choice([-128, 127], depth)
            if t > first and rng.random() < 0.2:
                continue  # a bubble
            valid[t], packed[t] = 1, int(is_packed)
            even, odd = w[0] @ x[t], w[1] @ x[t] if is_packed else w[0] @ x[t]
            expected.append(np.concatenate([even, odd]))
        start, first = first, first + period

    await reset(dut)
    outputs = []
    t = 0
    while t < cycles:
        await FallingEdge(dut.clk)
        stall = t > cycles // 3 and rng.random() < 0.4
        # While it stalls nothing may be taken: the pins show another cycle.
        s = int(rng.integers(cycles)) if stall else t
        dut.advance.value = int(not stall)
        dut.load.value = pack(load[s], 1)
        dut.weight.value = pack(weight[s], 27)
        dut.x.value = pack(x[s], 8)
        dut.in_valid.value, dut.swap.value, dut.packed_sum.value = int(valid[s]), int(swap[s]), int(packed[s])
        await ReadOnly()
        if not stall:
            if dut.out_valid.value == 1:
                outputs.append(unpack(int(dut.even.value), 20, pairs) + unpack(int(dut.odd.value), 20, pairs))
            t += 1
    assert len(outputs) == len(expected), f"{len(outputs)} outputs for {len(expected)} inputs"
    check(np.asarray(outputs), np.asarray(expected))
