# SPDX-License-Identifier: Apache-2.0
"""The two forms of dsp_mac2.sv against each other: any operand, any order of load, swap and stall, every cycle."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, ReadOnly
from stream import SEED, TRANSACTIONS, pack, reset


@cocotb.test()
async def forms_are_equal(dut: Any) -> None:
    rng = np.random.default_rng(SEED)
    depth = int(dut.DEPTH.value)
    await reset(dut)
    different_values = set()
    warm = depth + 8  # load, swap and flush once: before that the registers hold what they started with
    for t in range(TRANSACTIONS):
        await FallingEdge(dut.clk)
        flush = t < warm
        dut.advance.value = int(flush or rng.random() < 0.7)
        dut.load.value = pack(np.ones(depth) if flush else rng.random(depth) < 0.4, 1)
        dut.swap.value = pack(np.ones(depth) if flush else rng.random(depth) < 0.4, 1)
        dut.weight.value = pack(rng.integers(-(1 << 26), 1 << 26, depth), 27)
        dut.low.value = pack(rng.integers(-128, 128, depth), 8)
        dut.x.value = pack(rng.integers(-128, 128, depth), 8)
        dut.packed_sum.value = int(rng.integers(2))
        await ReadOnly()
        if t > warm:
            word = int(dut.outputs.value)
            behavioural, primitive = word & ((1 << 40) - 1), word >> 40
            assert behavioural == primitive, f"cycle {t}: {behavioural:010x} behavioural, {primitive:010x} primitive"
            different_values.add(behavioural)
    assert len(different_values) > TRANSACTIONS // 2, "the outputs hardly change: the bench drives nothing"
