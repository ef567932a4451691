# SPDX-License-Identifier: Apache-2.0
"""weight_ring.sv: data in order and in time, turns of the readers, writes beside reads, addresses outside."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, ReadOnly
from stream import SEED, TRANSACTIONS, clock, pack

from hwgen.plan.program import ROW_BYTES

LATENCY = 4
PORTS = 4


@cocotb.test()
async def serves_readers(dut: Any) -> None:
    rng = np.random.default_rng(SEED)
    readers, rows, first = (int(getattr(dut, n).value) for n in ("READERS", "ROWS", "FIRST_ROW"))
    memory = rng.integers(0, 256, (rows, PORTS, ROW_BYTES // PORTS), np.uint8)
    clock(dut)
    dut.ring_valid.value = 0
    dut.write_valid.value = 0
    dut.reset.value = 1
    for _ in range(8):
        await FallingEdge(dut.clk)
    dut.reset.value = 0
    for row in range(rows):
        dut.write_valid.value = 15
        dut.write_row.value = pack([first + row] * PORTS, 16)
        dut.write_data.value = int.from_bytes(memory[row].tobytes(), "little")
        await FallingEdge(dut.clk)
    dut.write_valid.value = 0
    await FallingEdge(dut.clk)

    def row_outside() -> int:
        wrapped = first + (1 << (rows - 1).bit_length()) + int(rng.integers(rows))  # same address bits as a row inside
        return int(rng.choice([first + rows, wrapped, 65535] + ([first - 1, 0] if first else [])))

    waiting: list[int | None] = [None] * readers  # row that each reader asks for
    expected: list[tuple[int, int, bytes | None]] = []  # cycle, reader, data
    since = [0] * readers  # grants of others than reader 0 since it waits
    streak, errors_due, errors_seen, granted = 0, 0, 0, [0] * readers
    for cycle in range(TRANSACTIONS):
        await FallingEdge(dut.clk)
        busy = (1.0, 0.9, 0.5, 0.1)[cycle // 300 % 4]
        quiet = cycle > TRANSACTIONS - 20
        for i in range(readers):
            if waiting[i] is None and rng.random() < busy and not quiet:
                outside = rng.random() < 0.002
                waiting[i] = row_outside() if outside else first + int(rng.integers(rows))
                since[i] = 0
        # Two clients of one row, or a write to a row that may be read now, would be undefined.
        valid = [row is not None for row in waiting]
        asked = [row if row is not None else int(rng.integers(1 << 16)) for row in waiting]
        dut.ring_valid.value = pack(valid, 1)
        dut.ring_row.value = pack(asked, 16)
        writes = [rng.random() < busy and not quiet for _ in range(PORTS)]
        places = [first + int(rng.integers(rows)) for _ in range(PORTS)]
        writes = [w and p not in waiting for w, p in zip(writes, places, strict=True)]
        for j in range(PORTS):
            if writes[j] and rng.random() < 0.002:
                places[j] = row_outside()
        data = rng.integers(0, 256, (PORTS, ROW_BYTES // PORTS), np.uint8)
        dut.write_valid.value = pack(writes, 1)
        dut.write_row.value = pack(places, 16)
        dut.write_data.value = int.from_bytes(data.tobytes(), "little")
        await ReadOnly()

        got = dut.ring_data_valid.value.to_unsigned()
        if expected and expected[0][0] == cycle:
            _, reader, row_data = expected.pop(0)
            assert got == 1 << reader, f"data for readers {got:b} instead of reader {reader}"
            found = dut.ring_data.value.to_unsigned().to_bytes(ROW_BYTES, "little")
            assert row_data is None or found == row_data, f"wrong data for reader {reader}"
        else:
            assert got == 0, f"data for readers {got:b}, which nobody expects"
        errors_seen += int(dut.error_address.value)

        ready = dut.ring_ready.value.to_unsigned()
        taken = [i for i in range(readers) if valid[i] and ready >> i & 1]
        others = any(valid[1:])
        assert len(taken) == int(any(valid)), f"readers {taken} are served, {valid} wait"
        bad = False
        if taken:
            reader = taken[0]
            row = waiting[reader]
            assert row is not None
            inside = first <= row < first + rows
            bad = not inside
            expected.append((cycle + LATENCY, reader, memory[row - first].tobytes() if inside else None))
            waiting[reader] = None
            granted[reader] += 1
            if reader:
                assert not valid[0] or streak == 3, f"reader 0 yields after {streak} cycles"
                streak = 0
                for i in range(1, readers):
                    since[i] += valid[i] and i != reader
                    assert since[i] <= readers - 2, f"reader {i} waits for {since[i]} others"
            elif others:
                streak += 1
                assert streak <= 3, "reader 0 never yields"
        for j in range(PORTS):
            inside = first <= places[j] < first + rows
            if writes[j] and inside:
                memory[places[j] - first, j] = data[j]
            bad |= bool(writes[j]) and not inside
        errors_due += bad
    assert not expected and not any(row is not None for row in waiting)
    assert errors_seen == errors_due, f"{errors_seen} errors for {errors_due} cycles with rows outside"
    assert errors_due and min(granted) > TRANSACTIONS // 40
