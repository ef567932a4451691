# SPDX-License-Identifier: Apache-2.0
"""pads.sv against an array: windows, residuals and writes of every alignment, all slots and clients at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge
from engine import CONFIG, READ_LATENCY, RESIDUAL, WINDOW, WRITE, Codes, struct, write_words
from stream import SEED, TRANSACTIONS, clock

from hwgen.plan.program import LANES

CLIENTS = 2
NEEDED = (16, 3)
"""Words of the window that each reader has."""
SIZE = CONFIG.pad_depth * 16
"""Words of a pad."""


class Expected(NamedTuple):
    """Words that a port must have in a cycle; ``exists`` says which of them mean anything."""

    cycle: int
    port: str
    client: int
    words: Codes
    exists: np.ndarray
    what: str


def join(structs: Sequence[int], bits: int) -> int:
    """Client 0 lowest."""
    word = 0
    for value in reversed(structs):
        word = word << bits | value
    return word


def width(fields: Sequence[tuple[str, int]]) -> int:
    return sum(bits for _, bits in fields)


class Bench:
    def __init__(self, dut: Any, rng: np.random.Generator) -> None:
        self.dut, self.rng = dut, rng
        self.groups = int(dut.GROUPS.value)
        self.slot_bits = max(1, (CONFIG.slots - 1).bit_length())
        self.memory = rng.integers(-128, 128, (CONFIG.slots, CONFIG.pads, SIZE, LANES), np.int8)
        self.queue: list[Expected] = []
        self.cycle = 0
        self.checked = 0

    def below(self, limit: int) -> int:
        return int(self.rng.integers(limit))

    def base(self, start: int, lowest: int) -> int:
        """A plane in whose coordinates word ``start`` is not before pixel ``lowest``."""
        most = (start - lowest) // 16
        return self.below(most + 1) if most >= 0 else 0

    def window(self, slot: int, pad: int, client: int) -> tuple[int, set[int]]:
        """A random window: the request, and the words of the pad that it reads."""
        start = int(self.rng.choice([self.below(SIZE + 15) - 15, -self.below(16), SIZE - 1 - self.below(18)]))
        least, most = max(0, -start), min(16, SIZE - start)
        low, high = (least, most) if self.below(2) else sorted(self.rng.integers(least, most + 1, 2).tolist())
        fill = self.below(256)
        base = self.base(start, -100)
        words = np.full((16, LANES), np.int8(fill - 256 * (fill > 127)))
        words[low:high] = self.memory[slot, pad, start + low : start + high]
        exists = np.arange(16) < NEEDED[client]
        words[~exists] = 0
        what = f"window {client} of slot {slot}, pad {pad}, word {start}, {low} to {high}"
        self.queue.append(Expected(self.cycle + READ_LATENCY, "window_words", client, words, np.ones(16, bool), what))
        fields = {"pad": pad, "base": base, "pixel": start - 16 * base, "low": low, "high": high, "fill": fill}
        return struct(WINDOW, valid=1, **fields), set(range(start + low, start + high))

    def residual(self, slot: int, pad: int, client: int) -> tuple[int, set[int]]:
        count = CONFIG.residual_words
        start = int(self.rng.choice([self.below(SIZE), SIZE - 1 - self.below(6)]))
        base = self.base(start, 0)
        words = np.zeros((count, LANES), np.int8)
        there = self.memory[slot, pad, start : start + count]
        words[: len(there)] = there
        what = f"residual {client} of slot {slot}, pad {pad}, word {start}"
        exists = np.arange(count) < len(there)
        self.queue.append(Expected(self.cycle + READ_LATENCY, "residual_words", client, words, exists, what))
        request = struct(RESIDUAL, valid=1, pad=pad, base=base, pixel=start - 16 * base)
        return request, set(range(start, start + len(there)))

    def write(self, slot: int, reads: dict[int, set[int]]) -> int:
        """A random write to words that nothing reads in this cycle; not valid if there is no such luck."""
        pad, count = self.below(CONFIG.pads), 1 + self.below(write_words())
        start = self.below(SIZE - count + 1)
        if reads and self.below(2):  # near a word that is read
            pad = int(self.rng.choice(list(reads)))
            near = sorted(reads[pad]) or [0]
            start = min(max(near[self.below(len(near))] + self.below(48) - 24, 0), SIZE - count)
        words = self.rng.integers(-128, 128, (write_words(), LANES), np.int8)
        base = self.base(start, 0)
        valid = not (reads.get(pad, set()) & set(range(start, start + count)))
        if valid:
            self.memory[slot, pad, start : start + count] = words[:count]
        head = struct(WRITE, valid=valid, pad=pad, base=base, pixel=start - 16 * base, count=count)
        return head << 128 * write_words() | int.from_bytes(words.tobytes(), "little")

    async def tick(self) -> None:
        await FallingEdge(self.dut.clk)
        self.cycle += 1
        while self.queue and self.queue[0].cycle == self.cycle:
            e = self.queue.pop(0)
            count = len(e.words)
            value = getattr(self.dut, e.port).value.to_unsigned() >> 128 * count * e.client
            got = np.frombuffer((value & ((1 << 128 * count) - 1)).to_bytes(16 * count, "little"), np.int8)
            wrong = np.flatnonzero((got.reshape(count, LANES) != e.words).any(axis=1) & e.exists)
            assert not len(wrong), f"{e.what}: words {wrong.tolist()} of the result differ"
            self.checked += 1

    def drive(
        self, windows: list[int], residuals: list[int], writes: list[int], slots: Sequence[Sequence[int]]
    ) -> None:
        dut = self.dut
        dut.window.value = join(windows, width(WINDOW))
        dut.residual.value = join(residuals, width(RESIDUAL))
        dut.write.value = join(writes, width(WRITE) + 128 * write_words())
        for name, of in zip(("window", "residual", "write"), slots, strict=True):
            getattr(dut, f"{name}_slot").value = join(of, self.slot_bits)

    def quiet(self) -> None:
        self.drive([0] * CLIENTS, [0] * CLIENTS, [0] * CLIENTS, [[0] * CLIENTS] * 3)

    async def start(self) -> None:
        clock(self.dut)
        self.quiet()
        self.dut.reset.value = 1
        for _ in range(12):
            await self.tick()
        self.dut.reset.value = 0
        for slot, pad, start in np.ndindex(CONFIG.slots, CONFIG.pads, SIZE // write_words()):
            words = self.memory[slot, pad, start * write_words() : (start + 1) * write_words()]
            head = struct(WRITE, valid=1, pad=pad, pixel=start * write_words(), count=write_words())
            one = head << 128 * write_words() | int.from_bytes(words.tobytes(), "little")
            self.drive([0] * CLIENTS, [0] * CLIENTS, [one, 0], [[0, 0], [0, 0], [slot, 0]])
            await self.tick()

    async def everything(self) -> None:
        """Reads every word back."""
        for slot, pad, row in np.ndindex(CONFIG.slots, CONFIG.pads, CONFIG.pad_depth):
            words = self.memory[slot, pad, 16 * row : 16 * row + 16].copy()
            what = f"at the end: slot {slot}, pad {pad}, row {row}"
            self.queue.append(Expected(self.cycle + READ_LATENCY, "window_words", 0, words, np.ones(16, bool), what))
            self.drive([struct(WINDOW, valid=1, pad=pad, base=row, high=16), 0], [0, 0], [0, 0], [[slot, 0]] * 3)
            await self.tick()
        self.quiet()
        for _ in range(READ_LATENCY):
            await self.tick()
        assert not self.queue


@cocotb.test()
async def equals_array(dut: Any) -> None:
    """All slots busy at random: every request must have its words, exactly READ_LATENCY cycles later."""
    rng = np.random.default_rng(SEED)
    bench = Bench(dut, rng)
    await bench.start()
    for _ in range(TRANSACTIONS):
        windows, residuals, writes = [[0] * CLIENTS for _ in range(3)]
        slots = [[bench.below(CONFIG.slots) for _ in range(CLIENTS)] for _ in range(3)]
        busy = (1.0, 0.6, 0.05)[bench.cycle // 500 % 3]
        reads: list[dict[int, set[int]]] = [{} for _ in range(CONFIG.slots)]
        for kind, requests in enumerate((windows, residuals, writes)):
            order = rng.permutation(CLIENTS).tolist()
            for slot, client in zip(rng.permutation(CONFIG.slots).tolist(), order, strict=False):
                if rng.random() >= busy:
                    continue
                slots[kind][client] = slot
                pad = bench.below(CONFIG.pads)
                if kind == 0:
                    requests[client], reads[slot][pad] = bench.window(slot, pad, client)
                elif kind == 1:
                    taken = {p % bench.groups for p in reads[slot]}
                    if pad % bench.groups not in taken:
                        requests[client], reads[slot][pad] = bench.residual(slot, pad, client)
                else:
                    requests[client] = bench.write(slot, reads[slot])
        # Requests that are not valid hold anything.
        for requests, fields, below in (
            (windows, WINDOW, 0),
            (residuals, RESIDUAL, 0),
            (writes, WRITE, 128 * write_words()),
        ):
            for client in range(CLIENTS):
                if requests[client] >> (width(fields) - 1 + below) == 0:
                    bits = width(fields) - 1 + below
                    requests[client] |= int.from_bytes(rng.bytes(bits // 8 + 1), "little") & ((1 << bits) - 1)
        bench.drive(windows, residuals, writes, slots)
        await bench.tick()
        assert dut.error_address.value == 0, "error without a reason"
    bench.quiet()
    await bench.everything()
    assert bench.checked > TRANSACTIONS // 2 and dut.error_address.value == 0


@cocotb.test()
async def raises_errors(dut: Any) -> None:
    """Every request outside a pad is seen, no other is, and such a write changes nothing."""
    rng = np.random.default_rng(SEED)
    bench = Bench(dut, rng)
    await bench.start()
    depth, pads = CONFIG.pad_depth, CONFIG.pads
    lines = [
        # kind, fields, error
        ("window", {"base": depth, "high": 16}, True),
        ("window", {"base": depth - 1, "pixel": 1, "high": 15}, False),
        ("window", {"base": depth - 1, "pixel": 1, "high": 16}, True),
        ("window", {"base": depth, "pixel": 5, "low": 4, "high": 4}, False),
        ("window", {"base": 0, "pixel": -3, "low": 3, "high": 16}, False),
        ("window", {"base": 0, "pixel": -3, "low": 2, "high": 16}, True),
        ("window", {"base": 1, "pixel": -19, "low": 2, "high": 3}, True),
        ("window", {"base": 0, "pixel": -16, "low": 15, "high": 16}, True),
        ("window", {"base": 1, "pixel": -16, "low": 15, "high": 16}, False),
        ("window", {"pad": pads, "high": 16}, True),
        ("window", {"pad": 15, "high": 16}, True),
        ("window", {"base": 65535, "high": 16}, True),
        ("window", {"base": 65535, "pixel": 16, "high": 16}, True),
        ("residual", {"base": depth}, True),
        ("residual", {"base": depth - 1, "pixel": 15}, False),
        ("residual", {"base": depth - 1, "pixel": 16}, True),
        ("residual", {"pad": pads}, True),
        ("write", {"base": depth, "count": 1}, True),
        ("write", {"base": depth - 1, "pixel": 15, "count": 2}, True),
        ("write", {"base": depth - 1, "pixel": 16 - 4, "count": 4}, False),
        ("write", {"pad": 0, "base": depth, "count": 4}, True),  # where a group has its next pad
        ("write", {"base": depth + 32768, "count": 4}, True),
        ("write", {"pad": pads, "count": 4}, True),
        ("write", {"pixel": depth * 16, "count": 4}, True),
    ]
    for slot in range(CONFIG.slots):
        for kind, changes, error in lines:
            requests = {"window": [0, 0], "residual": [0, 0], "write": [0, 0]}
            words = {"window": WINDOW, "residual": RESIDUAL, "write": WRITE}
            fields = {"pad": pads - 1} | changes
            request = struct(words[kind], valid=1, **fields)
            if kind == "write":
                request <<= 128 * write_words()
                first, count = fields.get("base", 0) * 16 + fields.get("pixel", 0), fields["count"]
                if fields["pad"] < pads:  # the words inside are written
                    for word in range(first, min(first + count, SIZE)):
                        bench.memory[slot, fields["pad"], word] = 0
            requests[kind][slot % 2] = request
            bench.drive(*requests.values(), [[slot, slot]] * 3)
            await bench.tick()
            bench.quiet()
            seen = 0
            for _ in range(10):
                await bench.tick()
                seen += int(dut.error_address.value)
            assert seen == int(error), f"{kind} {fields} of slot {slot}: error_address for {seen} cycles"
    await bench.everything()
