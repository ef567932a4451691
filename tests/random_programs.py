# SPDX-License-Identifier: Apache-2.0
"""Small random Programs for engine tests, one kernel in every slot, with the expected output from naive arithmetic.

``case(opcode, seed, config)`` is deterministic. The expected tensors are computed here with loops over windows, integer
division and :class:`fractions.Fraction`, on the IR operator: nothing is shared with the machines but the blob
encoders of :mod:`hwgen.plan.layout`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen import ir
from hwgen.plan import layout
from hwgen.plan.assemble import config_hash
from hwgen.plan.program import (
    HEADER,
    INSTRUCTION,
    LANES,
    MAGIC,
    ROW_BYTES,
    VECTOR,
    VERSION,
    Config,
    Flag,
    Opcode,
    Program,
    instruction,
)
from hwgen.plan.waits import synchronize

Codes = npt.NDArray[np.int8]
Ints = npt.NDArray[np.int64]

SMALL = Config(
    blocks=4,
    acc_groups=8,
    pads=3,
    pad_depth=256,
    vector_words=64,
    ring_rows=1024,
    head_rows=256,
    line_words=64,
    mlp_channels=256,
    image_row_bytes=512,
)
"""A machine that a test compiles and runs quickly."""


@dataclass(frozen=True)
class Case:
    """A Program, the input of one frame and what the kernel must compute for it, in any slot."""

    name: str
    program: Program
    inputs: bytes
    expected: Codes
    """(C, H, W); STORE writes it at word 0 of the output buffer, and it is the traced tensor at ``trace``."""
    trace: int
    """Word offset of the kernel's own output in the trace buffer."""

    def among(self, place: int, frames: int) -> bytes:
        """The input of ``frames`` frames: this one is number ``place``, the others are random bytes."""
        rng = np.random.default_rng([place, frames])
        return b"".join(self.inputs if f == place else rng.bytes(len(self.inputs)) for f in range(frames))


def grouped(frame: Sequence[np.void], config: Config, rng: np.random.Generator) -> npt.NDArray[Any]:
    """The instructions of a frame for every slot of a group, in a random order that leaves each frame's result alone.

    Slots go in random parties, one after the other. Frames of a party share each LOAD_WEIGHTS: all have done what comes
    before it, and what they do up to the next one is mixed.
    """
    records = np.array(frame, INSTRUCTION)
    loads = [*np.flatnonzero(records["opcode"] == Opcode.LOAD_WEIGHTS).tolist(), len(records)]
    cuts = np.flatnonzero(rng.integers(2, size=config.slots - 1)) + 1
    order: list[tuple[int, int]] = []  # number in the frame, slots
    for party in np.split(rng.permutation(config.slots), cuts):
        start = 0
        for load in loads:
            following = dict.fromkeys(party.tolist(), start)
            for slot in rng.permutation(np.repeat(party, load - start)).tolist():
                order.append((following[slot], 1 << slot))
                following[slot] += 1
            if load < len(records):
                order.append((load, sum(1 << slot for slot in following)))
            start = load + 1
    group: npt.NDArray[Any] = records[[number for number, _ in order]]
    group["slots"] = [slots for _, slots in order]
    return group


# --------------------------------------------------------------------------------------------------------------------
# Naive arithmetic


def rounded(value: npt.ArrayLike, shift: npt.ArrayLike) -> Ints:
    """value / 2^shift to nearest even, by integer division."""
    unit = np.left_shift(np.int64(1), np.asarray(shift, np.int64))
    quotient, rest = np.divmod(np.asarray(value, np.int64), unit)
    return quotient + np.where(2 * rest == unit, quotient % 2, 2 * rest > unit)


def requantized(acc: Ints, multiplier: npt.ArrayLike, shift: npt.ArrayLike, zero: int, bits: int = 8) -> Ints:
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    return np.minimum(np.maximum(rounded(acc * np.asarray(multiplier, np.int64), shift) + zero, low), high)


def looked_up(table: ir.Table, codes: npt.NDArray[Any]) -> Ints:
    return np.array([table[int(c) + len(table) // 2] for c in codes.ravel()], np.int64).reshape(codes.shape)


def added(own: npt.NDArray[Any], residual: Codes, add: ir.AddSpec) -> Ints:
    total = own.astype(np.int64) * add.ma + residual.astype(np.int64) * add.mb + add.constant
    return requantized(total, 1, add.shift, add.zero_point)


def convolved(x: Codes, op: ir.Conv, x_zero: int) -> Ints:
    """Accumulators of a convolution, (O, H', W'): bias + sum w * (x - zero point), window by window."""
    outputs, per_group, kh, kw = op.weight.shape
    top, left, bottom, right = op.pads
    units = np.pad(x.astype(np.int64) - x_zero, ((0, 0), (top, bottom), (left, right)))
    height, width = (units.shape[1] - kh) // op.stride[0] + 1, (units.shape[2] - kw) // op.stride[1] + 1
    weight = op.weight.astype(np.int64).reshape(op.groups, outputs // op.groups, per_group, kh, kw)
    acc = np.empty((outputs, height, width), np.int64)
    for oy in range(height):
        for ox in range(width):
            window = units[:, oy * op.stride[0] :, ox * op.stride[1] :][:, :kh, :kw]
            window = window.reshape(op.groups, per_group, kh, kw)
            acc[:, oy, ox] = np.einsum("goikl,gikl->go", weight, window).ravel() + op.bias
    return acc


def finished(acc: Ints, op: ir.Conv | ir.Linear, residual: Codes | None = None) -> Ints:
    """The epilogue of accumulators (O, H, W)."""
    requant = op.requant
    multiplier, shift = requant.multiplier[:, None, None], requant.shift[:, None, None]
    codes = requantized(acc, multiplier, shift, requant.zero_point, requant.bits)
    if op.table is not None:
        codes = looked_up(op.table, codes)
    if residual is not None and isinstance(op, ir.Conv) and op.add is not None:
        codes = added(codes, residual, op.add)
    return codes


def divided(numerator: int, denominator: int, zero: int) -> int:
    """Rounding division to int8; Python's round of a Fraction is to nearest even."""
    return max(-128, min(127, round(Fraction(numerator, denominator)) + zero))


def attended(x: Codes, op: ir.Attention, z: int) -> Ints:
    """(heads * 3 * head_dim, H, W) to (heads * head_dim, H, W), pixel by pixel."""
    dim, mode, divide = op.head_dim, op.quantized, op.divide
    height, width = x.shape[1:]
    out = []
    for head in x.reshape(-1, 3 * dim, height * width).astype(np.int64):
        q, k, v = (head[o : o + dim] for o in (op.q_offset, op.k_offset, op.v_offset))
        if mode is None:
            q, k, v = np.maximum(q - z, 0), np.maximum(k - z, 0), v - z
            v = np.concatenate([v, np.ones((1, v.shape[1]), np.int64)])
            numerators = np.einsum("cp,ce->ep", q, np.einsum("cp,ep->ce", k, v))
        else:
            q, k = looked_up(mode.q_table, q) - mode.q_zero, looked_up(mode.k_table, k) - mode.k_zero
            v = np.concatenate([looked_up(mode.v_table, v), np.full((1, v.shape[1]), mode.ones)]) - mode.v_zero
            kv = requantized(np.einsum("cp,ep->ce", k, v), *mode.requant_kv) - mode.requant_kv[2]
            codes = requantized(np.einsum("cp,ce->ep", q, kv), *mode.requant_n)
            numerators = codes - mode.requant_n[2]
            numerators[-1] = looked_up(mode.d_table, codes[-1]) - mode.d_zero
        y = np.empty((dim, height * width), np.int64)
        for e in range(dim):
            for p, (n, d) in enumerate(zip(numerators[e].tolist(), numerators[-1].tolist(), strict=True)):
                scaled = d * divide.multiplier + divide.epsilon
                if scaled != 0:
                    y[e, p] = divided(n << divide.shift, scaled, divide.zero_point)
                elif mode is None:
                    y[e, p] = divide.zero_point
                else:
                    y[e, p] = 127 if n > 0 else -128
        out.append(y)
    return np.concatenate(out).reshape(-1, height, width)


def normalized(x: Codes, op: ir.LayerNorm, x_zero: int) -> Ints:
    """Layer norm of a vector with Python integers: a floored root of 26 bits and a floored reciprocal."""
    u = [int(c) - x_zero for c in x.ravel()]
    total = sum(u)
    variance, quarters = len(u) * sum(a * a for a in u) - total * total + op.epsilon, 0
    while variance >= 1 << 52:
        variance, quarters = variance // 4, quarters + 1
    while variance < 1 << 50:
        variance, quarters = variance * 4, quarters - 1
    reciprocal = Fraction((1 << 49) // math.isqrt(variance), 1 << 49) / Fraction(2) ** quarters
    codes = []
    for a, gamma, beta in zip(u, op.gamma.tolist(), op.beta.tolist(), strict=True):
        x_hat = round((len(u) * a - total) * reciprocal * 2**18)
        codes.append(max(-128, min(127, round(Fraction(x_hat * gamma + beta, 1 << op.shift)) + op.zero_point)))
    y = np.array(codes, np.int64).reshape(-1, 1, 1)
    return y if op.table is None else looked_up(op.table, y)


# --------------------------------------------------------------------------------------------------------------------
# Building a Program


class NoRoom(Exception):
    """The shapes that were drawn do not fit the machine."""


@dataclass(frozen=True)
class Place:
    """A tensor in a pad, where row r lies in slot r % ring, or in the vector memory."""

    shape: ir.Shape
    pad: int
    base: int
    ring: int
    trace: int

    @property
    def groups(self) -> int:
        return layout.channel_groups(self.shape[0])

    @property
    def plane(self) -> int:
        return layout.plane_rows(self.ring, self.shape[2])

    def x(self, first: int) -> dict[str, int]:
        """Fields of operand x whose first existing row is ``first``."""
        fields = {"x_pad": self.pad, "x_base": self.base, "x_plane": self.plane, "x_width": self.shape[2]}
        fields |= {"x_ring": self.ring, "x_groups": self.groups, "x_cols": self.shape[2], "x_height": self.shape[1]}
        return fields | {"x_first": first, "x_slot": first % self.ring}

    def r(self, row: int) -> dict[str, int]:
        fields = {"r_pad": self.pad, "r_base": self.base, "r_plane": self.plane, "r_ring": self.ring}
        return fields | {"r_slot": row % self.ring}

    def y(self, row: int, rows: int, group0: int = 0, groups: int | None = None) -> dict[str, int]:
        """Fields of operand y for a rectangle of whole rows."""
        fields = {"y_pad": self.pad, "y_base": self.base, "y_plane": self.plane, "y_width": self.shape[2]}
        fields |= {"y_ring": self.ring, "y_slot": row % self.ring, "y_row0": row, "y_rows": rows}
        fields |= {"y_cols": self.shape[2], "y_height": self.shape[1], "trace": self.trace}
        return fields | {"y_group0": group0, "y_groups": self.groups - group0 if groups is None else groups}

    def wraps(self, row: int, rows: int) -> bool:
        return row % self.ring + rows > self.ring


@dataclass
class Builder:
    """Collects the instructions of a frame, weights and the input frame of one Program."""

    config: Config
    rng: np.random.Generator
    instructions: list[np.void] = field(default_factory=list)
    weights: bytearray = field(default_factory=bytearray)
    frame: bytearray = field(default_factory=bytearray)
    trace_words: int = 0
    used: dict[int, int] = field(default_factory=dict)
    """Word rows taken in each pad; words of the vector memory."""

    def below(self, limit: int) -> int:
        return int(self.rng.integers(limit))

    def emit(self, opcode: Opcode, **fields: int) -> None:
        self.instructions.append(instruction(opcode, **fields))

    def place(self, shape: ir.Shape, ring: int | None = None, avoid: Sequence[int] = ()) -> Place:
        """Room for a tensor in a random pad that is not in ``avoid``."""
        ring = shape[1] if ring is None else ring
        need = layout.channel_groups(shape[0]) * layout.plane_rows(ring, shape[2])
        for pad in self.rng.permutation(self.config.pads).tolist():
            base = self.used.get(pad, 0)
            if pad in avoid or base + need > self.config.pad_depth:
                continue
            base += self.below(min(self.config.pad_depth - base - need, 9) + 1)
            self.used[pad] = base + need
            trace = self.trace_words
            self.trace_words += layout.channel_groups(shape[0]) * shape[1] * shape[2]
            return Place(shape, pad, base, ring, trace)
        raise NoRoom(f"no pad has room for {shape}")

    def vector(self, channels: int) -> Place:
        """Room for a tensor of one pixel in the vector memory."""
        need, base = layout.channel_groups(channels), self.used.get(VECTOR, 0)
        if base + need > self.config.vector_words:
            raise NoRoom(f"no room for a vector of {channels} channels")
        base += self.below(min(self.config.vector_words - base - need, 9) + 1)
        self.used[VECTOR] = base + need
        trace = self.trace_words
        self.trace_words += need
        return Place((channels, 1, 1), VECTOR, base, 1, trace)

    def pixel(self, channels: int) -> Place:
        """Room for a tensor of one pixel that the MLP engine writes: a pad, or the vector memory."""
        return self.vector(channels) if self.below(2) else self.place((channels, 1, 1))

    def load_pixel(self, codes: Codes) -> Place:
        """A tensor of one pixel that the MLP engine reads: in a pad, or (by a pool that changes nothing) in the vector
        memory."""
        source = self.load_tensor(codes)
        if self.below(2):
            return source
        place = self.vector(codes.shape[0])
        row = self.load_blobs([self.blob(layout.pool_rows(ir.Pool("copy", "x", "y", 1 << 16, 16, 0), 1, 0))], True)[0]
        self.emit(Opcode.POOL, w_row=row, **source.x(0), **place.y(0, 1))
        return place

    def load_blobs(self, blobs: Sequence[tuple[int, int]], head: bool = False) -> list[int]:
        """LOAD_WEIGHTS of (ddr, rows) blobs to a random place of a ring; their ring rows."""
        total = sum(rows for _, rows in blobs)
        first, size = (self.config.ring_rows, self.config.head_rows) if head else (0, self.config.ring_rows)
        if total > size:
            raise NoRoom(f"{total} rows of a ring of {size}")
        row, places = first + self.below(size - total + 1), []
        for ddr, rows in blobs:
            self.emit(Opcode.LOAD_WEIGHTS, ddr=ddr, w_row=row, w_rows=rows)
            places.append(row)
            row += rows
        return places

    def blob(self, rows: layout.Rows) -> tuple[int, int]:
        """A blob in weights.bin: (ddr, rows)."""
        place = len(self.weights) // ROW_BYTES, len(rows)
        self.weights += layout.stripe(rows)
        return place

    def source(self, codes: Codes) -> tuple[Codes, list[int]]:
        """Put a tensor (C, H, W) in the input frame, one 16-channel image for each channel group; the lanes beyond C
        are random. Returns the images' word offsets."""
        groups = layout.channel_groups(codes.shape[0])
        lanes = self.rng.integers(-128, 128, (groups * LANES, *codes.shape[1:]), np.int8)
        lanes[: codes.shape[0]] = codes
        offsets = []
        for image in lanes.reshape(groups, LANES, *codes.shape[1:]):
            offsets.append(len(self.frame) // LANES)
            self.frame += layout.pack_input(np.ascontiguousarray(image.transpose(1, 2, 0)))
        return codes, offsets

    def load_rows(self, place: Place, offsets: list[int], row: int, stop: int) -> None:
        """LOAD_INPUT of rows ``row .. stop`` of every channel group."""
        for group, offset in enumerate(offsets):
            if stop > row:
                fields = place.y(row, stop - row, group, 1)
                width = place.shape[2]
                self.emit(Opcode.LOAD_INPUT, channels=LANES, block=1, ddr=offset + row * width, x_width=width, **fields)

    def load_tensor(self, codes: Codes) -> Place:
        """A whole tensor in a pad."""
        _, offsets = self.source(codes)
        place = self.place((codes.shape[0], codes.shape[1], codes.shape[2]))
        self.load_rows(place, offsets, 0, codes.shape[1])
        return place

    def case(self, name: str, y: Place, stored: Place, expected: npt.NDArray[Any]) -> Case:
        """STORE the last tensor and close the Program."""
        self.emit(Opcode.STORE, **stored.x(0), ddr=0)
        for kernel, record in enumerate(self.instructions):
            record["kernel"] = kernel
        header = np.zeros(1, HEADER)
        group = grouped(self.instructions, self.config, self.rng)
        values = {"magic": MAGIC, "version": VERSION, "instructions": len(group)}
        values |= {"weight_bytes": len(self.weights), "input_words": len(self.frame) // LANES}
        values |= {"output_words": stored.groups * stored.shape[1] * stored.shape[2], "trace_words": self.trace_words}
        values |= {"config_hash": config_hash(self.config)}
        for key, value in values.items():
            header[key] = value
        weights = bytes(self.weights)
        records = synchronize(group, self.config, weights)
        program = Program(self.config, header[0], records, weights).linked()
        codes = expected.astype(np.int8)
        assert np.array_equal(codes, expected) and codes.shape == y.shape
        return Case(name, program, bytes(self.frame), codes, y.trace)


# --------------------------------------------------------------------------------------------------------------------
# Random operators


def _codes(b: Builder, shape: Sequence[int]) -> Codes:
    """Random codes; now and then extreme ones."""
    style = b.below(6)
    if style == 0:
        return np.full(shape, (-128, 127)[b.below(2)], np.int8)
    if style == 1:
        return b.rng.choice(np.array([-128, 127], np.int8), tuple(shape))
    return b.rng.integers(-128, 128, tuple(shape), np.int8)


def _weights(b: Builder, shape: Sequence[int]) -> Codes:
    """Random weights; half of them without -128, so that PACKED is set; some extreme."""
    style = b.below(8)
    if style == 0:
        return np.full(shape, (-128, -127, 127)[b.below(3)], np.int8)
    if style == 1:
        return b.rng.choice(np.array([-127, 127], np.int8), tuple(shape))
    if style < 5:
        return b.rng.integers(-127, 128, tuple(shape), np.int8)
    weight = b.rng.integers(-128, 128, tuple(shape), np.int8)
    weight.flat[b.below(weight.size)] = -128
    return weight


def _requant(b: Builder, weight: Codes, bits: int) -> ir.Requant:
    """Ratios for which codes spread; multipliers of 2^16 and 3 * 2^15 make ties frequent."""
    outputs, size = len(weight), weight.size // len(weight)
    spread = 60.0 * np.sqrt(float(np.square(weight, dtype=np.float64).mean()) * size) + 1.0
    bias = int(math.log2(spread)) - (bits - 1) + 16 + b.below(5) - 2
    shift = np.clip(bias + b.rng.integers(-1, 2, outputs), 1, 47)
    multiplier = b.rng.integers(1 << 16, 1 << 17, outputs)
    multiplier[b.rng.random(outputs) < 0.3] = 1 << 16
    multiplier[b.rng.random(outputs) < 0.1] = 3 << 15
    limit = 2500 if bits == 12 else 128
    zero = int(b.rng.integers(-limit, limit))
    return ir.Requant(multiplier.astype(np.int32), shift.astype(np.int32), zero, bits)


def _table(b: Builder, entries: int) -> ir.Table:
    return b.rng.integers(-128, 128, entries, np.int8)


def _add(b: Builder) -> ir.AddSpec:
    shift = 17 + b.below(7)
    ma, mb = _size(b, 1 << 19, (1 << 20) - 1), _size(b, 1, (1 << 20) - 1)
    if b.below(2):
        ma, mb = mb, ma
    if b.below(3) == 0:
        ma = mb = min(1 << (shift - 1), 1 << 19)  # ties
    zero_a, zero_b, zero = (int(z) for z in b.rng.integers(-128, 128, 3))
    return ir.AddSpec(ma, mb, -(ma * zero_a + mb * zero_b), shift, zero)


def _bounded(weight: Codes, bias: Ints, x_zero: int) -> bool:
    flat = weight.reshape(len(weight), -1).astype(np.int64)
    init = bias - x_zero * flat.sum(axis=1)
    return int((np.abs(init) + 128 * np.abs(flat).sum(axis=1)).max()) < 1 << 26


def _epilogue_choice(b: Builder) -> tuple[int, ir.Table | None]:
    """Bits of the requantization, and the table behind it."""
    style = b.below(3)
    return (12, _table(b, 4096)) if style == 2 else (8, _table(b, 256) if style else None)


def _epilogue_fields(op: ir.Conv | ir.Linear) -> dict[str, int]:
    flags = Flag.PACKED if layout.is_packed(op.weight) else Flag(0)
    flags |= Flag.TABLE if op.table is not None else Flag(0)
    flags |= Flag.WIDE if op.requant.bits == 12 else Flag(0)
    return {"flags": int(flags), "y_zero": op.requant.zero_point}


def _add_fields(add: ir.AddSpec) -> dict[str, int]:
    fields = {"add_ma": add.ma, "add_mb": add.mb, "add_constant": add.constant, "add_shift": add.shift}
    return fields | {"add_zero": add.zero_point}


def _chunks(b: Builder, groups: int, step: int = 1) -> list[tuple[int, int]]:
    """Output groups in one chunk or several, cut at multiples of ``step``."""
    if b.below(2):
        return [(0, groups)]
    cuts = [g for g in range(step, groups, step) if b.below(2)]
    return list(zip([0, *cuts], np.diff([0, *cuts, groups]).tolist(), strict=True))


def _size(b: Builder, low: int, high: int) -> int:
    return low + b.below(high - low + 1)


Encoder = Callable[[int, int], layout.Rows]
"""Blob of output groups (group0, groups)."""


@dataclass
class Spatial:
    """A kernel that works row by row: what is common to CONV, DEPTHWISE and ELTWISE."""

    opcode: Opcode
    x: Codes
    shape: ir.Shape
    """of y"""
    fields: dict[str, int]
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int] = (0, 0)
    chunks: Sequence[tuple[int, int]] = ()
    encoder: Encoder | None = None
    table: ir.Table | None = None
    residual: Codes | None = None

    def rows_needed(self, row: int, stop: int) -> tuple[int, int]:
        """Input rows that output rows ``row .. stop`` read."""
        first = max(row * self.stride[0] - self.pads[0], 0)
        return first, min((stop - 1) * self.stride[0] - self.pads[0] + self.kernel[0], self.x.shape[1])

    def build(self, b: Builder) -> tuple[Place, Place]:
        """Instructions for the whole tensor, in row tiles; y, and the tensor to store."""
        height = self.shape[1]
        tile = height if b.below(3) == 0 else _size(b, 1, height)
        tiles = [(row, min(row + tile, height)) for row in range(0, height, tile)]
        spans = [self.rows_needed(*t) for t in tiles]
        least = (
            max(1, *(stop - first for first, stop in spans)) if len(spans) > 1 else max(1, spans[0][1] - spans[0][0])
        )
        x_ring = min(least + b.below(3), self.x.shape[1])
        y_ring = height if b.below(3) == 0 else min(tile + b.below(3), height)
        x = b.place((self.x.shape[0], self.x.shape[1], self.x.shape[2]), x_ring)
        r = b.place(self.shape, min(tile + b.below(2), height), avoid=[x.pad]) if self.residual is not None else None
        y = b.place(self.shape, y_ring)
        stored = y if y_ring == height else b.place(self.shape)
        _, x_offsets = b.source(self.x)
        r_offsets = b.source(self.residual)[1] if self.residual is not None else []
        blobs = [b.blob(self.encoder(*chunk)) for chunk in self.chunks] if self.encoder else []
        tables = [b.blob(layout.table_rows(self.table))] if self.table is not None else []
        resident = sum(rows for _, rows in tables + blobs) <= b.config.ring_rows and b.below(3) > 0
        at = b.load_blobs(tables + blobs) if resident else []
        loaded = 0
        for (row, stop), (first, last) in zip(tiles, spans, strict=True):
            b.load_rows(x, x_offsets, max(loaded, first), last)
            loaded = max(loaded, last)
            if r is not None:
                b.load_rows(r, r_offsets, row, stop)
            for index, (group0, groups) in enumerate(self.chunks):
                if not resident:
                    at = b.load_blobs(tables + blobs[index : index + 1])
                fields = x.x(max(row * self.stride[0] - self.pads[0], 0)) | y.y(row, stop - row, group0, groups)
                fields |= r.r(row) if r is not None else {}
                fields |= {"t_row": at[0]} if tables else {}
                if blobs:
                    fields["w_row"] = at[len(tables) + (index if resident else 0)]
                fields |= {"kernel_h": self.kernel[0], "kernel_w": self.kernel[1]}
                fields |= {"stride_h": self.stride[0], "stride_w": self.stride[1]}
                fields |= {"pad_top": self.pads[0], "pad_left": self.pads[1]} | self.fields
                self._flatten(b, fields, [p for p in (x, y, r) if p is not None], row, stop - row)
                b.emit(self.opcode, **fields)
            if stored is not y:
                copy = y.x(row) | stored.y(row, stop - row)
                copy |= {"kernel_h": 1, "kernel_w": 1, "stride_h": 1, "stride_w": 1}
                b.emit(Opcode.ELTWISE, **copy)
        return y, stored

    def _flatten(self, b: Builder, fields: dict[str, int], places: list[Place], row: int, rows: int) -> None:
        """Make one long row of the tile, where that is allowed, every other time."""
        plain = self.kernel == (1, 1) and self.stride == (1, 1) and self.pads == (0, 0)
        plain = plain and self.x.shape[1:] == self.shape[1:] and self.opcode != Opcode.DEPTHWISE
        if plain and not any(p.wraps(row, rows) for p in places) and b.below(2):
            fields |= {"y_rows": 1, "y_cols": rows * self.shape[2], "x_cols": rows * self.shape[2]}


def _window(b: Builder, largest: int) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int]]:
    """Kernel, stride, pads (top, left, bottom, right); half of all windows are square and padded as usual."""
    if b.below(4) == 0:
        return (1, 1), (1, 1), (0, 0, 0, 0)
    sizes = [k for k in (1, 2, 3, 3, 5, 5, 7) if k <= largest]
    kh, kw = (sizes[b.below(len(sizes))] for _ in range(2))
    stride = 1 + b.below(2)
    if b.below(2):
        return (kh, kh), (stride, stride), (kh // 2,) * 4
    pads = (b.below(kh), b.below(kw), b.below(kh), b.below(kw))
    return (kh, kw), (1 + b.below(2), stride), pads


def _spatial_size(b: Builder, kernel: tuple[int, int], limit: int) -> tuple[int, int]:
    width = min(limit, b.config.image_row_bytes // LANES)
    return _size(b, kernel[0], max(kernel[0], 11)), _size(b, kernel[1], max(kernel[1], width))


def _convolution(b: Builder, depthwise: bool) -> Case:
    kernel, stride, pads = _window(b, min(b.config.kernel_max, 5 if depthwise else 7))
    height, width = _spatial_size(b, kernel, 14)
    groups = 1
    if depthwise:
        inputs = outputs = groups = _size(b, 2, 50)
    elif b.below(4) == 0:
        groups = _size(b, 2, 3)
        inputs, outputs = groups * LANES * _size(b, 1, 2), groups * LANES * _size(b, 1, 2)
        share = outputs // groups // LANES
        if not _pixels(b, stride[1], share):  # the array has no mapping for it
            stride = stride[0], 1
        if not _pixels(b, stride[1], share):
            groups = 1
    else:
        inputs, outputs = _size(b, 1, 40), _size(b, 1, 70)
    mode, tile_groups = (0, 1) if depthwise else _mode(b, stride[1], outputs // groups // LANES if groups > 1 else 0)
    if not depthwise:  # one tile fits the ring
        most = ((b.config.ring_rows - 32) // tile_groups - 1) // (2 * kernel[0] * kernel[1])
        if most < 1:
            raise NoRoom(f"a window of {kernel}")
        inputs = min(inputs, most * LANES * groups)
    weight = _weights(b, (outputs, inputs // groups, *kernel))
    x_zero = (-128, 0, 127, _size(b, -128, 127))[b.below(4)]
    bias = b.rng.integers(-(1 << 14), 1 << 14, outputs, np.int64)
    if b.below(2):
        bias += x_zero * weight.reshape(outputs, -1).sum(axis=1, dtype=np.int64)  # keeps init small
    while not _bounded(weight, bias, x_zero):
        weight, bias = (weight // 2).astype(np.int8), bias // 2
    bits, table = _epilogue_choice(b)
    out_h = (height + pads[0] + pads[2] - kernel[0]) // stride[0] + 1
    out_w = (width + pads[1] + pads[3] - kernel[1]) // stride[1] + 1
    shape = (outputs, out_h, out_w)
    add = _add(b) if not depthwise and b.below(3) == 0 else None
    requant = _requant(b, weight, bits)
    residual = _codes(b, shape) if add else None
    op = ir.Conv("op", "x", "y", weight, bias, requant, stride, pads, groups, table, "r" if add else None, add)
    x = _codes(b, (inputs, height, width))
    fields = _epilogue_fields(op) | {"x_zero": x_zero} | (_add_fields(add) if add else {})
    fields["flags"] |= int(Flag.ADD) if add else 0
    y_groups = layout.channel_groups(outputs)

    def encode_depthwise(group0: int, count: int) -> layout.Rows:
        return layout.depthwise_rows(op, x_zero, group0, count)

    def encode(group0: int, count: int) -> layout.Rows:
        return layout.convolution_rows(op, x_zero, tile_groups, group0, count)

    if depthwise:
        chunks, encoder, opcode = _chunks(b, y_groups), encode_depthwise, Opcode.DEPTHWISE
    else:
        ci_groups, og_per_group = layout.group_structure(op)
        fields |= {"mode": mode, "ci_groups": ci_groups, "og_per_group": og_per_group}
        tile_rows = layout.convolution_row_count(kernel[0] * kernel[1], ci_groups, tile_groups)
        chunks, encoder, opcode = _chunks(b, y_groups, tile_groups), encode, Opcode.CONV
        room = (b.config.ring_rows - 32) // tile_rows * tile_groups  # groups of a chunk that the ring can hold
        if any(count > room for _, count in chunks):
            chunks = [(g, min(room, y_groups - g)) for g in range(0, y_groups, room)]
    y, stored = Spatial(
        opcode, x, shape, fields, kernel, stride, (pads[0], pads[1]), chunks, encoder, table, residual
    ).build(b)
    name = f"{'depthwise' if depthwise else 'conv'} {weight.shape} stride {stride} pads {pads} groups {groups}"
    return b.case(name, y, stored, finished(convolved(x, op, x_zero), op, residual))


def _pixels(b: Builder, stride: int, og_per_group: int) -> list[int]:
    """Pixels of a cycle that the planner may choose: their words lie in different banks, and the channel groups of a
    tile read the same inputs."""
    blocks = b.config.blocks
    sizes = [p for p in (1, 2, 4, 8, 16) if min(4, blocks) <= p <= blocks and p * stride <= 16]
    return [p for p in sizes if not og_per_group or og_per_group % (blocks // p) == 0]


def _mode(b: Builder, stride: int, og_per_group: int) -> tuple[int, int]:
    """Mode (log2 of the pixels) and the channel groups of a tile, as the planner may choose them."""
    pixels = _pixels(b, stride, og_per_group)
    choice = pixels[b.below(len(pixels))]
    return choice.bit_length() - 1, b.config.blocks // choice


def _eltwise(b: Builder) -> Case:
    shape = (_size(b, 1, 50), _size(b, 1, 11), _size(b, 1, min(14, b.config.image_row_bytes // LANES)))
    style = b.below(4)  # copy, table, add, add and table
    add, table = _add(b) if style & 2 else None, _table(b, 256) if style & 1 else None
    x, residual = _codes(b, shape), _codes(b, shape) if add else None
    flags = (Flag.ADD if add else Flag(0)) | (Flag.TABLE if table is not None else Flag(0))
    fields = {"flags": int(flags)} | (_add_fields(add) if add else {})
    kernel = Spatial(
        Opcode.ELTWISE,
        x,
        shape,
        fields,
        chunks=_chunks(b, layout.channel_groups(shape[0])),
        table=table,
        residual=residual,
    )
    y, stored = kernel.build(b)
    expected = x.astype(np.int64) if residual is None or add is None else added(x, residual, add)
    return b.case(f"eltwise {style} {shape}", y, stored, expected if table is None else looked_up(table, expected))


def _load_input(b: Builder) -> Case:
    block = 1 + b.below(2)
    channels = _size(b, 1, LANES // (block * block))
    limit = min(24, b.config.image_row_bytes // (channels * block))
    height, width = _size(b, 1, 9), _size(b, 1, limit)  # of the tensor
    image = b.rng.integers(0, 256, (height * block, width * block, channels), np.uint8)
    tables = b.rng.integers(-128, 128, (channels, 256), np.int8) if b.below(2) else None
    frame = layout.pack_input(image if tables is not None else image.view(np.int8))
    b.frame += bytes(LANES * b.below(4)) + frame
    start, stride = (len(b.frame) - len(frame)) // LANES, len(frame) // LANES // (height * block)
    shape = (channels * block * block, height, width)
    tile = _size(b, 1, height)
    y = b.place(shape, min(tile + b.below(3), height))
    stored = b.place(shape)
    t_row = b.load_blobs([b.blob(layout.input_table_rows(tables))])[0] if tables is not None else 0
    for row in range(0, height, tile):
        rows = min(tile, height - row)
        fields = y.y(row, rows) | {"flags": int(Flag.IMAGE) if tables is not None else 0, "t_row": t_row}
        fields |= {"channels": channels, "block": block, "ddr": start + row * block * stride, "x_width": width * block}
        b.emit(Opcode.LOAD_INPUT, **fields)
        copy = y.x(row) | stored.y(row, rows)
        b.emit(Opcode.ELTWISE, **copy, kernel_h=1, kernel_w=1, stride_h=1, stride_w=1)
    expected = np.empty(shape, np.int64)
    for (iy, ix, c), byte in np.ndenumerate(image):
        code = int(tables[c, byte]) if tables is not None else int(byte) - 256 * (int(byte) > 127)
        expected[(iy % block * block + ix % block) * channels + c, iy // block, ix // block] = code
    return b.case(f"load_input {image.shape} block {block} image {tables is not None}", y, stored, expected)


def _attention(b: Builder) -> Case:
    dim = (16, 32)[b.below(2)] if b.config.head_dim >= 32 else 16
    heads, height, width = _size(b, 1, 3 if dim == 16 else 1), _size(b, 1, 6), _size(b, 1, 7)
    q_offset, k_offset, v_offset = (int(o) * dim for o in b.rng.permutation(3))
    x = _codes(b, (heads * 3 * dim, height, width))
    z = (-128, 0, 127, _size(b, -128, 127))[b.below(4)]
    shift = b.below(17)
    zero = int(b.rng.integers(-128, 128))
    quantized = None
    if b.below(2):
        tables = [_table(b, 256) for _ in range(4)]
        zeros = [int(c) for c in b.rng.integers(-128, 128, 6)]
        if b.below(2):  # relu: nothing below the zero point
            tables[:2] = [np.maximum(t, np.int8(c)) for t, c in zip(tables[:2], zeros[:2], strict=True)]
        d_zero = zeros[3] if b.below(2) else -128
        tables[3] = np.maximum(tables[3], np.int8(d_zero))  # a normalizer is never negative, but often zero
        requants = [(_size(b, 1 << 16, (1 << 17) - 1), 21 + b.below(8), zeros[4 + j]) for j in range(2)]
        quantized = ir.QuantizedAttention(
            tables[0], tables[1], tables[2], tables[3], zeros[0], zeros[1], zeros[2], _size(b, -128, 127),
            requants[0], requants[1], d_zero,
        )  # fmt: skip
        shift, epsilon = 20 + b.below(5), 0
        multiplier = _size(b, 1 << 16, (1 << 17) - 1)
    else:
        epsilon = (0, 1, _size(b, 0, 1 << (shift + 4)))[b.below(3)]
        multiplier = max(1, int((1 << shift) * (0.2 + abs(z) / 64 + b.rng.random())))
        style = b.below(3)
        if style == 0:
            multiplier = 1 << shift  # ties
        elif style == 1:
            multiplier, shift = _size(b, 1 << 16, (1 << 17) - 1), 16 + b.below(4)
    divide = ir.Divide(multiplier, shift, epsilon, zero)
    op = ir.Attention("op", ("x",), "y", dim, q_offset, k_offset, v_offset, divide, quantized)
    place, y = b.load_tensor(x), b.place((heads * dim, height, width))
    w_row = b.load_blobs([b.blob(layout.attention_rows(op, z))])[0]
    flags = int(Flag.QUANTIZED) if quantized else 0
    b.emit(Opcode.ATTENTION, flags=flags, w_row=w_row, **place.x(0), **y.y(0, height))
    return b.case(f"attention {x.shape} heads of {dim} quantized {bool(quantized)}", y, y, attended(x, op, z))


def largest_attention(config: Config) -> Case:
    """All codes 127 for a zero point of -128: every sum is as large as 1,100 pixels and heads of 32 make it."""
    b = Builder(config, np.random.default_rng(0))
    x = np.full((96, 22, 50), 127, np.int8)
    op = ir.Attention("op", ("x",), "y", 32, 0, 32, 64, ir.Divide(3, 0, 1, -128))
    place, y = b.load_tensor(x), b.place((32, 22, 50))
    w_row = b.load_blobs([b.blob(layout.attention_rows(op, -128))])[0]
    b.emit(Opcode.ATTENTION, w_row=w_row, **place.x(0), **y.y(0, 22))
    return b.case("largest attention", y, y, attended(x, op, -128))


def _pool(b: Builder) -> Case:
    channels, height, width = _size(b, 1, 60), _size(b, 1, 8), _size(b, 1, 8)
    x = _codes(b, (channels, height, width))
    x_zero, y_zero = (int(z) for z in b.rng.integers(-128, 128, 2))
    pixels = height * width
    shift = 16 + int(math.log2(pixels)) + b.below(3)
    multiplier = 1 << 16 if b.below(2) else _size(b, 1 << 16, (1 << 17) - 1)
    op = ir.Pool("op", "x", "y", multiplier, shift, y_zero)
    place, y = b.load_tensor(x), b.pixel(channels)
    w_row = b.load_blobs([b.blob(layout.pool_rows(op, pixels, x_zero))], True)[0]
    for group0, groups in _chunks(b, y.groups):
        b.emit(Opcode.POOL, w_row=w_row, x_zero=x_zero, y_zero=y_zero, **place.x(0), **y.y(0, 1, group0, groups))
    total = (x.astype(np.int64) - x_zero).sum(axis=(1, 2)).reshape(-1, 1, 1)
    return b.case(f"pool {x.shape}", y, y, requantized(total, multiplier, shift, y_zero))


def _linear(b: Builder) -> Case:
    inputs, outputs = _size(b, 1, min(150, b.config.mlp_channels)), _size(b, 1, min(100, b.config.mlp_channels))
    weight = _weights(b, (outputs, inputs))
    x, x_zero = _codes(b, (inputs, 1, 1)), int(b.rng.integers(-128, 128))
    bits, table = _epilogue_choice(b)
    bias = b.rng.integers(-(1 << 14), 1 << 14, outputs, np.int64)
    op = ir.Linear("op", "x", "y", weight, bias, _requant(b, weight, bits), table)
    place, y = b.load_pixel(x), b.pixel(outputs)
    tables = [b.blob(layout.table_rows(table))] if table is not None else []
    fields = _epilogue_fields(op) | {"x_zero": x_zero, "ci_groups": place.groups} | place.x(0)
    for group0, groups in _chunks(b, y.groups):
        at = b.load_blobs([*tables, b.blob(layout.linear_rows(op, x_zero, group0, groups))], True)
        b.emit(Opcode.LINEAR, w_row=at[-1], t_row=at[0] if tables else 0, **fields, **y.y(0, 1, group0, groups))
    acc = (weight.astype(np.int64) @ (x.ravel().astype(np.int64) - x_zero) + bias).reshape(-1, 1, 1)
    return b.case(f"linear {weight.shape} bits {bits}", y, y, finished(acc, op))


def _layer_norm(b: Builder) -> Case:
    count = _size(b, 1, min(180, b.config.mlp_channels))
    x, x_zero = _codes(b, (count, 1, 1)), int(b.rng.integers(-128, 128))
    gamma = b.rng.integers(-(1 << 17), 1 << 17, count, np.int32)
    shift = 27 + b.below(4)
    beta = b.rng.integers(-(1 << 41), 1 << 41, count, np.int64) >> b.below(12)
    table = _table(b, 256) if b.below(2) else None
    epsilon = (1, _size(b, 1, 100_000))[b.below(2)]
    op = ir.LayerNorm("op", "x", "y", gamma, beta, shift, epsilon, int(b.rng.integers(-128, 128)), table)
    place, y = b.load_pixel(x), b.pixel(count)
    tables = [b.blob(layout.table_rows(table))] if table is not None else []
    at = b.load_blobs([*tables, b.blob(layout.layer_norm_rows(op, x_zero))], True)
    flags = int(Flag.TABLE) if tables else 0
    fields = {"flags": flags, "channels": count, "x_zero": x_zero, "y_zero": op.zero_point}
    b.emit(Opcode.LAYER_NORM, w_row=at[-1], t_row=at[0] if tables else 0, **fields, **place.x(0), **y.y(0, 1))
    return b.case(f"layer_norm {count}", y, y, normalized(x, op, x_zero))


_KINDS: dict[Opcode, Callable[[Builder], Case]] = {
    Opcode.LOAD_INPUT: _load_input,
    Opcode.CONV: lambda b: _convolution(b, False),
    Opcode.DEPTHWISE: lambda b: _convolution(b, True),
    Opcode.ELTWISE: _eltwise,
    Opcode.ATTENTION: _attention,
    Opcode.POOL: _pool,
    Opcode.LINEAR: _linear,
    Opcode.LAYER_NORM: _layer_norm,
}
OPCODES = tuple(_KINDS)
"""Opcodes that :func:`case` takes; LOAD_WEIGHTS and STORE are part of the cases of the others."""


def case(opcode: Opcode, seed: int, config: Config = SMALL) -> Case:
    """A random one-kernel Program for ``config``: the first that is drawn with this seed and fits."""
    for attempt in range(1000):
        try:
            return _KINDS[opcode](Builder(config, np.random.default_rng([int(opcode), seed, attempt])))
        except NoRoom:
            continue
    raise AssertionError(f"no random {opcode.name} fits {config}")
