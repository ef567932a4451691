# SPDX-License-Identifier: Apache-2.0
"""vector_memory.sv against an array: both read ports and writes at random, and words outside."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge
from engine import CONFIG, VECTOR_LATENCY
from stream import SEED, TRANSACTIONS, clock, pack

from hwgen.plan.program import LANES


@cocotb.test()
async def equals_array(dut: Any) -> None:
    rng = np.random.default_rng(SEED)
    words, slot_bits = CONFIG.vector_words, max(1, (CONFIG.slots - 1).bit_length())
    memory = np.zeros((CONFIG.slots, words, LANES), np.int8)
    clock(dut)
    dut.read_valid.value = 0
    dut.write_valid.value = 0
    dut.reset.value = 1
    for _ in range(4):
        await FallingEdge(dut.clk)
    dut.reset.value = 0
    expected: list[tuple[int, int, bytes]] = []  # cycle, port, word
    due, seen, filled = 0, 0, CONFIG.slots * words
    for cycle in range(filled + TRANSACTIONS):
        quiet = cycle >= filled + TRANSACTIONS - 8
        slot, word = (
            divmod(cycle, words) if cycle < filled else (int(rng.integers(CONFIG.slots)), int(rng.integers(words)))
        )
        write = not quiet and (cycle < filled or rng.random() < 0.7)
        outside = cycle > filled and rng.random() < 0.01
        data = rng.integers(-128, 128, LANES, np.int8)
        reads = [not quiet and cycle > filled and rng.random() < 0.8 for _ in range(2)]
        slots = [int(rng.integers(CONFIG.slots)) for _ in range(2)]
        places = [int(rng.choice([rng.integers(words), words - 1, 0])) for _ in range(2)]
        reads = [r and not (write and (s, p) == (slot, word)) for r, s, p in zip(reads, slots, places, strict=True)]
        beyond = [rng.random() < 0.005 for _ in range(2)]
        dut.write_valid.value = int(write)
        dut.write_slot.value = slot
        dut.write_word.value = int(rng.choice([words, 65535])) if outside else word
        dut.write_data.value = int.from_bytes(data.tobytes(), "little")
        dut.read_valid.value = pack(reads, 1)
        dut.read_slot.value = pack(slots, slot_bits)
        dut.read_word.value = pack([words if b else p for b, p in zip(beyond, places, strict=True)], 16)
        for port in range(2):
            if reads[port] and not beyond[port]:
                expected.append((cycle + VECTOR_LATENCY, port, memory[slots[port], places[port]].tobytes()))
        if write and not outside:
            memory[slot, word] = data
        due += bool((write and outside) or any(r and b for r, b in zip(reads, beyond, strict=True)))
        await FallingEdge(dut.clk)  # the middle of cycle + 1
        seen += int(dut.error_address.value)
        while expected and expected[0][0] == cycle + 1:
            _, port, want = expected.pop(0)
            got = dut.read_data.value.to_unsigned() >> 128 * port & ((1 << 128) - 1)
            assert got.to_bytes(16, "little") == want, f"wrong word at port {port} in cycle {cycle}"
    assert not expected and due == seen and due > 0, f"{seen} errors for {due} cycles with words outside"
