# SPDX-License-Identifier: Apache-2.0
"""code_table.sv against indexing: short and long tables, reloads of single rows, codes while rows are loaded."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, ReadOnly
from stream import SEED, TRANSACTIONS, check, clock, pack, unpack

LATENCY = 2
SETTLE = 2
"""Cycles after load_ready until codes see the row."""


@cocotb.test()
async def equals_indexing(dut: Any) -> None:
    rng = np.random.default_rng(SEED)
    lanes, long = int(dut.LANES.value), int(dut.WIDE.value)
    table = np.zeros(4096, np.int64)
    clock(dut)
    dut.load_valid.value = 0
    for _ in range(3):
        await FallingEdge(dut.clk)

    expected: list[list[int] | None] = []
    got: list[list[int]] = []
    rows = list(range(32 if long else 2))  # still to load
    held, since, lookups = 0, 0, 0
    """Cycles that this row has been offered, cycles since the last offer, codes that were looked up."""
    while lookups < TRANSACTIONS:
        if not rows and rng.random() < 0.01:
            rows = list(range(32 if long and rng.random() < 0.3 else 2))
            if rng.random() < 0.5:
                rows = [int(rng.integers(32 if long else 2))]
        loading = bool(rows)
        if loading and held == 0:
            entries = rng.integers(-128, 128, 128)
            dut.load_row.value = rows[0]
            dut.load_data.value = pack(entries, 8)
            table[128 * rows[0] :][:128] = entries
        elif not loading:  # these pins hold anything
            dut.load_row.value = int(rng.integers(32))
            dut.load_data.value = pack(rng.integers(-128, 128, 128), 8)
        dut.load_valid.value = int(loading)
        held, since = (held + 1, 0) if loading else (0, since + 1)
        settled = since >= SETTLE
        enable, wide = int(rng.random() < 0.9), int(rng.integers(0, 2)) if long else 0
        half = 2048 if wide else 128
        codes = rng.integers(-half, half, lanes)
        codes = np.where(rng.random(lanes) < 0.1, rng.choice([-half, half - 1, -1, 0], lanes), codes)
        dut.enable.value, dut.wide.value, dut.code.value = enable, wide, pack(codes, 12)
        if enable:
            expected.append([int(table[c + half]) for c in codes] if settled else None)
        else:
            expected.append([(int(c) + 128) % 256 - 128 for c in codes])
        lookups += settled
        await ReadOnly()
        if len(expected) > LATENCY:
            got.append(unpack(int(dut.y.value), 8, lanes))
        if loading:
            assert dut.load_ready.value == (held == 32), "a row takes 32 cycles"
            if held == 32:
                rows, held = rows[1:], 0
        await FallingEdge(dut.clk)
    pairs = [(g, e) for g, e in zip(got, expected, strict=False) if e is not None]
    check(np.array([g for g, _ in pairs]), np.array([e for _, e in pairs]))
