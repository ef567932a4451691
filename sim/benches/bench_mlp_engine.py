# SPDX-License-Identifier: Apache-2.0
"""mlp_engine.sv against the Program reference: random Programs, random instructions at the bounds, and cycles."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cocotb
import numpy as np
import numpy.typing as npt
from engine import Command, Engine
from stream import SEED, TRANSACTIONS

from hwgen.kernels.mlp import NORM_FRACTION, norm_reciprocal
from hwgen.plan.layout import plane_rows
from hwgen.plan.program import LANES, ROW_BYTES, VECTOR, Flag, Opcode, instruction
from random_programs import case

OPCODES = (Opcode.POOL, Opcode.LINEAR, Opcode.LAYER_NORM)
Ints = npt.NDArray[np.int64]


class Full(Exception):
    """A memory has no more room in this batch."""


@dataclass
class Batch:
    """Commands with operands at random places of the bench's memories; nothing is used twice."""

    bench: Engine
    commands: list[Command] = field(default_factory=list)
    used: dict[int, int] = field(default_factory=dict)
    table: tuple[int, bool] | None = None
    """Row of the table that the engine holds, and whether it is a wide one."""

    def __post_init__(self) -> None:
        self.rng = self.bench.rng
        self.ring_next = self.bench.config.ring_rows
        self.bench.ring[:] = self.rng.integers(0, 256, self.bench.ring.shape, np.uint8)

    def below(self, limit: int) -> int:
        return int(self.rng.integers(limit))

    def rows(self, data: npt.NDArray[Any]) -> int:
        """Puts ring rows into the head ring; their first row."""
        rows = np.ascontiguousarray(data).view(np.uint8).reshape(-1, ROW_BYTES)
        if self.ring_next + len(rows) > len(self.bench.ring):
            raise Full
        self.bench.ring[self.ring_next : self.ring_next + len(rows)] = rows
        self.ring_next += len(rows)
        return self.ring_next - len(rows)

    def take(self, pad: int, need: int) -> int:
        """``need`` word rows of a pad, or words of the vector memory."""
        config = self.bench.config
        base = self.used.get(pad, 0) + self.below(3)
        if base + need > (config.vector_words if pad == VECTOR else config.pad_depth):
            raise Full
        self.used[pad] = base + need
        return base

    def pixel(self, name: str, groups: int, vector: bool, avoid: int = -1) -> dict[str, int]:
        """Fields of an operand of one pixel, in a pad or in the vector memory."""
        pads = [p for p in range(self.bench.config.pads) if p != avoid]
        pad = VECTOR if vector else int(self.rng.choice(pads))
        ring = 1 if vector or self.below(2) else 1 + self.below(24)
        plane = plane_rows(ring, 1) + (0 if vector else self.below(2))
        fields = {"pad": pad, "base": self.take(pad, groups * plane), "plane": plane, "width": 1, "ring": ring}
        fields["slot"] = self.below(ring)
        return {f"{name}_{key}": value for key, value in fields.items()}

    def codes(self, fields: dict[str, int], groups: int, codes: npt.NDArray[Any]) -> None:
        """Puts words (groups, 16) of operand x, one pixel, into every slot's memory; slot 1 has them negated."""
        for slot, machine in enumerate(self.bench.machines):
            words = codes if slot == 0 else ~codes
            for group in range(groups):
                row = fields["x_base"] + group * fields["x_plane"]
                if fields["x_pad"] == VECTOR:
                    machine.vectors[row] = words[group]
                else:
                    bank = fields["x_slot"] % LANES
                    machine.pads[fields["x_pad"], row + fields["x_slot"] // LANES, bank] = words[group]

    def some_codes(self, shape: tuple[int, ...]) -> npt.NDArray[np.int8]:
        style = self.below(6)
        if style == 0:
            return np.full(shape, (-128, 127)[self.below(2)], np.int8)
        if style == 1:
            return self.rng.choice(np.array([-128, 127], np.int8), shape)
        if style == 2:  # one channel far from the others
            codes = np.full(shape, self.below(3) - 1, np.int8)
            codes.flat[self.below(codes.size)] = (-128, 127)[self.below(2)]
            return codes
        return self.rng.integers(-128, 128, shape, np.int8)

    def give(self, opcode: Opcode, table: bool, wide: bool, **fields: int) -> None:
        """The instruction for every slot, with a new table, or the one that the engine holds."""
        flags, retain = 0, False
        if table:
            flags = int(Flag.TABLE) | (int(Flag.WIDE) if wide else 0)
            retain = self.table is not None and self.table[1] == wide and self.below(3) > 0
            if self.table is None or not retain:
                self.table = self.rows(self.rng.integers(0, 256, (32 if wide else 2, ROW_BYTES), np.uint8)), wide
            fields["t_row"] = self.table[0]
        slots = [s for s in range(self.bench.config.slots) if s == 0 or self.below(4)]
        for index, slot in enumerate(slots):
            record = instruction(opcode, flags=flags, **fields)
            self.commands.append(Command(record, slot, retain=table and (retain or index > 0)))

    # ----------------------------------------------------------------------------------------------------------------

    def pool(self, pixels: int | None = None) -> None:
        groups = 1 + self.below(6)
        height, width = 1 + self.below(9), 1 + self.below(9)
        if self.below(3) == 0:  # the sums are there long before the lanes have passed
            groups, height, width = 20, 1 + self.below(4), 1 + self.below(4)
        if pixels is not None:
            groups, height, width = (1 if pixels > LANES else 20), 1 + self.below(4), pixels // 4
        plane = plane_rows(height, width)
        pad = self.below(self.bench.config.pads)
        base = self.take(pad, groups * plane)
        for machine in self.bench.machines:
            machine.pads[pad, base : base + groups * plane] = self.some_codes((groups * plane, LANES, LANES))
        group0 = self.below(groups if groups < 20 else 2)
        fields = {"x_pad": pad, "x_base": base, "x_plane": plane, "x_width": width, "x_ring": height}
        fields |= {"x_groups": groups, "x_height": height, "x_cols": width}
        fields |= self.pixel("y", groups, bool(self.below(2)), pad)
        fields |= {"y_group0": group0, "y_groups": groups - group0 - self.below(min(groups - group0, 4))}
        shift = 16 + int(height * width).bit_length() + self.below(4) - 2
        words = np.zeros(ROW_BYTES // 4, np.int64)
        words[:3] = self.rng.integers(-(1 << 14), 1 << 14), self.rng.integers(1 << 17), shift
        words[3:] = self.rng.integers(1 << 32, size=len(words) - 3)
        row = self.rows(words.astype(np.uint32))
        self.give(Opcode.POOL, False, False, w_row=row, y_zero=self.below(256) - 128, **fields, y_rows=1, y_cols=1)

    def linear(self, ci: int | None = None, groups: int | None = None) -> None:
        ci = 1 + self.below(12) if ci is None else ci
        groups = 1 + self.below(5) if groups is None else groups
        weight = self.rng.integers(-128, 128, (groups, ci * LANES, LANES), np.int8)
        if self.below(4) == 0:
            weight[:] = (-128, 127)[self.below(2)]
        x = self.some_codes((ci, LANES))
        room = (1 << 26) - 1 - ci * LANES * (1 << 14)
        init = self.rng.integers(-room, room, (groups, LANES))
        init[self.rng.random(init.shape) < 0.2] = room
        init[self.rng.random(init.shape) < 0.7] >>= 12
        multiplier = self.rng.integers(1 << 17, size=init.shape)
        multiplier[self.rng.random(init.shape) < 0.3] = 1 << 16
        shift = self.rng.integers(24, 36, init.shape)
        shift[self.rng.random(init.shape) < 0.2] = (0, 47)[self.below(2)]
        words = (init & 0xFFFFFFFF) | multiplier << 32 | shift << 49 | self.rng.integers(1 << 9, size=init.shape) << 55
        parameters = words.astype(np.uint64).view(np.uint8).reshape(groups, 1, ROW_BYTES)
        blob = np.concatenate([parameters, weight.view(np.uint8).reshape(groups, 2 * ci, ROW_BYTES)], axis=1)
        w_row = self.rows(blob)
        fields = self.pixel("x", ci, bool(self.below(2)))
        group0 = self.below(3)
        fields |= self.pixel("y", groups + group0, bool(self.below(2)), fields["x_pad"])
        self.codes(fields, ci, x)
        wide = bool(self.below(3) == 0)
        zero = self.below(6000) - 3000 if wide else self.below(256) - 128
        fields |= {"x_groups": ci, "ci_groups": ci, "y_group0": group0, "y_groups": groups, "y_zero": zero}
        self.give(Opcode.LINEAR, wide or bool(self.below(2)), wide, w_row=w_row, **fields, y_rows=1, y_cols=1)

    def layer_norm(self, count: int | None = None, even: bool = False) -> None:
        count = 1 + self.below(200) if count is None else count
        groups = -(-count // LANES)
        style = self.below(2 if even else 4)
        epsilon = (1, 1 + self.below(100_000), 1 << self.below(63), (1 << 63) - 1)[style]
        shift = (27 + self.below(6), self.below(63), 48 + self.below(15))[max(self.below(6) - 3, 0)]
        zero = self.below(256) - 128
        x = self.some_codes((groups * LANES,))
        if even:  # products with many zeros below the rounding
            x[::2] = self.rng.integers(-48, 49, len(x) // 2) & ~1
            x[1::2] = -x[::2]
            if self.below(2):  # the root is a power of two, so that some normalized values are exact halves
                u = x[:count].astype(np.int64)
                variance = count * int((u * u).sum()) - int(u.sum()) ** 2
                epsilon = (1 << 2 * (20 + self.below(3))) - variance
        gamma = self.rng.integers(-(1 << 17), 1 << 17, count)
        gamma[self.rng.random(count) < 0.1] = (-(1 << 17), (1 << 17) - 1)[self.below(2)]
        if not even and self.below(2):
            beta = self.rng.integers(-(1 << 45), 1 << 45, count) >> self.rng.integers(0, 40, count)
            beta[self.rng.random(count) < 0.1] = (-(1 << 45), (1 << 45) - 1)[self.below(2)]
        else:  # takes away what slot 0 normalizes to, so that its last bit is seen
            u = x[:count].astype(np.int64)
            total = int(u.sum())
            reciprocal, fraction = norm_reciprocal(count, total, int((u * u).sum()), epsilon)
            shift = 10 + self.below(8)
            beta = self.rng.integers(-64 << shift, 64 << shift, count)
            beta -= (((count * u - total) * reciprocal) >> (fraction - NORM_FRACTION)) * gamma
        head = np.zeros(ROW_BYTES // 4, np.int64)
        head[:6] = count, self.below(256) - 128, shift, zero, epsilon & 0xFFFFFFFF, epsilon >> 32
        words = np.zeros(groups * LANES, np.int64)
        words[:count] = (gamma & 0x3FFFF) | beta << 18
        blob = np.concatenate([(head & 0xFFFFFFFF).astype("<u4").view(np.uint8), words.view(np.uint8)])
        w_row = self.rows(blob)
        fields = self.pixel("x", groups, bool(self.below(2)))
        fields |= self.pixel("y", groups, bool(self.below(2)), fields["x_pad"])
        self.codes(fields, groups, x.reshape(groups, LANES))
        fields |= {"x_groups": groups, "y_groups": groups, "channels": count, "y_zero": self.below(256) - 128}
        self.give(Opcode.LAYER_NORM, not even and bool(self.below(2)), False, w_row=w_row, **fields, y_rows=1, y_cols=1)


def placed(bench: Engine, kind: str, *sizes: int) -> Batch:
    """A batch of one instruction with these sizes; places are drawn again until pads and vector memory have room."""
    while True:
        batch = Batch(bench)
        try:
            getattr(batch, kind)(*sizes)
        except Full:
            continue
        return batch


async def started(dut: Any) -> Engine:
    bench = Engine(dut, np.random.default_rng(SEED), head=True)
    await bench.start()
    return bench


@cocotb.test()
async def random_programs_equal_reference(dut: Any) -> None:
    bench = await started(dut)
    for _ in range(TRANSACTIONS // 3):
        for opcode in OPCODES:
            bench.stall = float(bench.rng.choice([0.0, 0.3, 0.9]))
            bench.idle = float(bench.rng.choice([0.0, 0.5]))
            await bench.run_case(case(opcode, bench.rng.integers(1 << 30).item(), bench.config), OPCODES)


@cocotb.test()
async def mixed_commands_equal_reference(dut: Any) -> None:
    bench = await started(dut)
    for _ in range(TRANSACTIONS // 3):
        batch = Batch(bench)
        while len(batch.commands) < 12:
            try:
                kind = batch.below(4)
                (batch.pool, batch.linear, batch.layer_norm, lambda b=batch: b.layer_norm(even=True))[kind]()
            except Full:
                break
        bench.stall = float(bench.rng.choice([0.0, 0.0, 0.3, 0.8]))
        bench.idle = float(bench.rng.choice([0.0, 0.0, 0.5]))
        await bench.run(batch.commands)


@cocotb.test()
async def largest_commands(dut: Any) -> None:
    bench = await started(dut)
    for count, even in ((4096, True), (4096, False), (4095, False), (1, False)):
        await bench.run(placed(bench, "layer_norm", count, even).commands)
    # All codes -128: the sum of squares is 2^26.
    batch = placed(bench, "layer_norm", 4096)
    record = batch.commands[0].record
    for machine in bench.machines:
        if record["x_pad"] == VECTOR:
            machine.vectors[:] = -128
        else:
            machine.pads[record["x_pad"]] = -128
    await bench.run(batch.commands)
    for pixels in (3000, 1024, 8):
        await bench.run(placed(bench, "pool", pixels).commands)
    for ci in (150, 77):
        await bench.run(placed(bench, "linear", ci, 1).commands)


@cocotb.test()
async def cycles(dut: Any) -> None:
    """At full speed: 16 / mlp_outputs cycles for 16 x 16 weights, nothing between groups but the row of the parameters
    where every cycle takes a row."""
    bench = await started(dut)
    steps, row = 16 // bench.config.mlp_outputs, int(bench.config.mlp_outputs == 8)
    for ci, groups in ((40, 3), (20, 7), (9, 15), (6, 20), (2, 50), (1, 60)):
        batch = placed(bench, "linear", ci, groups)
        for command in batch.commands:
            command.record["flags"] = 0
            command.record["y_zero"] = 0
        if ci == 20:  # the second one holds the table already
            batch.commands = [Command(batch.commands[0].record.copy(), 0, retain) for retain in (False, True)]
            for command in batch.commands:
                command.record["flags"] = int(Flag.TABLE)
                command.record["t_row"] = bench.config.ring_rows
        await bench.run(batch.commands)
        for command in batch.commands:
            limit = groups * max(steps * ci + row, 17) + 55
            if ci == 20 and not command.retain:
                limit += 64
            assert command.cycles <= limit, f"LINEAR ci {ci} groups {groups}: {command.cycles} cycles, limit {limit}"
    for pixels in (8, 32, 512, 512, 512):
        command = placed(bench, "pool", pixels).commands[0]
        await bench.run([command])
        pool = command.record
        windows = -(-int(pool["x_height"]) * int(pool["x_cols"]) // 4)
        limit = int(pool["y_groups"]) * max(steps * windows, 17) + 60
        limit += int(pool["y_group0"]).bit_length() + int(pool["x_cols"]).bit_length()
        assert command.cycles <= limit, f"POOL of {windows} windows: {command.cycles} cycles, limit {limit}"
    for count in (400, 400, 400, 4096, 1):
        command = placed(bench, "layer_norm", count).commands[0]
        command.record["flags"] = 0
        await bench.run([command])
        limit = (steps + 17) * -(-count // LANES) + 200
        assert command.cycles <= limit, f"LAYER_NORM of {count}: {command.cycles} cycles, limit {limit}"
