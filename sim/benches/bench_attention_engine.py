# SPDX-License-Identifier: Apache-2.0
"""attention_engine.sv against the Program reference: random heads, sizes and codes, both modes.

Operands reach their bounds: all codes at an end of their range, zero points at both ends, sums K^T V, numerators and
denominators as large as docs/program-format.md allows, normalizers that are 0.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cocotb
import numpy as np
from engine import Command, Engine
from stream import SEED, TRANSACTIONS

from hwgen import ir
from hwgen.kernels.linear_attention import DIGITS_MARGIN, divide_bits, sum_bits
from hwgen.plan import layout
from hwgen.plan.program import LANES, Config, Flag, Opcode, instruction
from random_programs import case

ANY = {"attention_quantized": 1, "attention_divide_bits": 62}
"""Fields of a machine for any attention, as the cases of random_programs are."""


def codes(rng: np.random.Generator, shape: tuple[int, ...], zero: int, largest: bool) -> Any:
    """Any codes, or the ends of their range, or few above the zero point (normalizers of 0). ``largest``: lanes at one
    end of their range."""
    if largest:
        return np.broadcast_to(rng.choice(np.array([-128, 127, 127], np.int8), shape[-1:]), shape)
    style = rng.integers(6)
    if style == 0:
        return np.full(shape, rng.choice([-128, 127]), np.int8)
    if style == 1:
        return rng.choice(np.array([-128, 127], np.int8), shape)
    found = rng.integers(-128, 128, shape, np.int8)
    if style == 2:
        found = np.where(rng.random(shape) < 0.97, np.minimum(found, zero), found).astype(np.int8)
    return found


def exact(rng: np.random.Generator, zero: int, dim: int, pixels: int, bits: int) -> ir.Divide:
    """A division of exact sums whose numerators and denominators stay below ``2^bits``."""
    relu, value = 127 - zero, max(127 - zero, 128 + zero)
    numerator = max(1, dim * relu * relu * pixels * value)
    normalizer = max(1, dim * relu * relu * pixels)
    most = bits - numerator.bit_length()
    shift = int(rng.choice([0, most, rng.integers(most + 1), rng.integers(min(most, 20) + 1)]))
    limit = min((1 << 31) - 1, ((1 << bits) - 1) // normalizer)
    near = int((1 << shift) * float(rng.choice([0.05, 1.0, 1.0 + rng.random(), 40.0])))
    multiplier = int(np.clip(int(rng.choice([near, near, near, limit, rng.integers(1, limit + 1)])), 1, limit))
    room = (1 << bits) - 1 - normalizer * multiplier
    epsilon = min(room, int(rng.choice([0, 0, 1, multiplier, rng.integers(1 << 40), room])))
    return ir.Divide(multiplier, shift, epsilon, int(rng.integers(-128, 128)))


def edges(rng: np.random.Generator, dim: int, pixels: int, bits: int) -> tuple[ir.Divide, ir.QuantizedAttention]:
    """Tables and factors for which codes spread, and some for which they do not."""

    def table() -> Any:
        found = rng.integers(-128, 128, 256, np.int8)
        return np.full(256, rng.choice([-128, 127]), np.int8) if rng.random() < 0.1 else found

    def requant(size: int) -> tuple[int, int, int]:
        multiplier = int(rng.choice([1 << 16, rng.integers(1 << 16, 1 << 17), (1 << 17) - 1]))
        shift = 16 + size.bit_length() - 8 + int(rng.integers(-3, 5))
        return multiplier, int(np.clip(shift, 0, 47)), int(rng.integers(-128, 128))

    zeros = [int(z) for z in rng.choice([-128, 127, *rng.integers(-128, 128, 4)], 4)]
    d_table = table()
    if rng.random() < 0.5:
        d_table = np.where(rng.random(256) < 0.3, zeros[3], d_table).astype(np.int8)
    spec = ir.QuantizedAttention(
        table(), table(), table(), d_table, zeros[0], zeros[1], zeros[2], int(rng.integers(-128, 128)),
        requant(pixels * 100 * int(rng.integers(1, 100))), requant(dim * 100 * int(rng.integers(1, 100))), zeros[3],
    )  # fmt: skip
    shift = int(rng.choice([0, bits - 8, rng.integers(bits - 7), min(16 + rng.integers(10), bits - 8)]))
    near = int((1 << shift) * float(rng.choice([0.01, 1.0, rng.random()])))
    return ir.Divide(int(np.clip(near, 1, (1 << 31) - 1)), shift, 0, int(rng.integers(-128, 128))), spec


def most_pixels(config: Config, zero: int, quantized: bool) -> int:
    """Pixels whose sums K^T V have at most ``attention_bits`` bits, for any codes and tables."""
    largest = 255 * 128 if quantized else max((127 - zero) * max(127 - zero, 128 + zero), 1)
    return ((1 << config.attention_bits - 1) - 1 - (0 if quantized else DIGITS_MARGIN)) // largest


def command(bench: Engine, rng: np.random.Generator, row: int, largest: bool = False) -> tuple[Command, int, int]:
    """A command whose blob is at ring row ``row``, its operands in the memories; groups of a head; the row behind the
    blob. ``largest``: as many pixels as the sums and a pad hold."""
    config, slot = bench.config, int(rng.integers(bench.config.slots))
    dim = int(rng.choice([LANES, config.head_dim]))
    groups, heads = dim // LANES, int(rng.integers(1, 5 if dim == LANES else 3))
    height, width = int(rng.integers(1, 13)), int(rng.integers(1, 18))
    if rng.random() < 0.3:
        height, width = 1, int(rng.integers(1, 5))
    zero = int(rng.choice([-128, -128, -79, 0] if largest else [-128, 0, 127, *rng.integers(-128, 128, 2)]))
    short = config.attention_divide_bits < 40  # exact sums need more
    quantized = bool(config.attention_quantized and (short or rng.random() < 0.4))
    most = most_pixels(config, zero, quantized)
    if largest:
        groups, heads = dim // LANES, 1
        height, width = 1, min(LANES * (config.pad_depth // (3 * groups)), most)
    height = min(height, most // width)
    pixels = height * width
    plane = -(-pixels // LANES)
    while 3 * groups * heads * plane > config.pad_depth:
        heads -= 1
    x_plane = plane + int(rng.integers(3)) * (3 * groups * heads * (plane + 2) <= config.pad_depth)
    y_plane = plane + int(rng.integers(3))
    y_group0 = int(rng.integers(3))
    if (y_group0 + groups * heads) * y_plane > config.pad_depth:
        y_plane, y_group0 = plane, 0
    x_pad, y_pad = (int(p) for p in rng.permutation(config.pads)[:2])
    x_base = int(rng.integers(config.pad_depth - 3 * groups * heads * x_plane + 1))
    y_base = int(rng.integers(config.pad_depth - (y_group0 + groups * heads) * y_plane + 1))
    bits = config.attention_divide_bits
    divide, spec = edges(rng, dim, pixels, bits) if quantized else (exact(rng, zero, dim, pixels, bits), None)
    q, k, v = (int(o) * dim for o in rng.permutation(3))
    op = ir.Attention("op", ("x",), "y", dim, q, k, v, divide, spec)
    assert sum_bits(op, zero, pixels) <= config.attention_bits and divide_bits(op, zero, pixels) <= bits
    blob = layout.attention_rows(op, zero)
    bench.ring[row : row + len(blob)] = blob
    pad = bench.machines[slot].pads[x_pad]
    for group in range(3 * groups * heads):
        base = x_base + group * x_plane
        pad[base : base + plane] = codes(rng, (plane, LANES, LANES), zero, largest)
    record = instruction(
        Opcode.ATTENTION, flags=int(Flag.QUANTIZED) if quantized else 0, w_row=row, x_pad=x_pad, x_base=x_base,
        x_plane=x_plane, x_width=width, x_ring=height, x_groups=3 * groups * heads, x_cols=width, x_height=height,
        y_pad=y_pad, y_base=y_base, y_plane=y_plane, y_width=width, y_ring=height, y_rows=height, y_cols=width,
        y_height=height, y_group0=y_group0, y_groups=groups * heads,
    )  # fmt: skip
    return Command(record, slot), groups, row + len(blob)


def cycles(given: Command, groups: int, digits: int) -> int:
    """What the header of attention_engine.sv promises where the ring does not stall."""
    i = given.record
    pixels, units = int(i["y_rows"]) * int(i["y_cols"]), int(i["y_groups"])
    quantized = bool(int(i["flags"]) & Flag.QUANTIZED)
    prepare, wait = (192 * groups, 32 + digits) if quantized else (16 * digits * groups, 28)
    first, second = groups * (pixels + pixels % 2 + 15), digits * groups * pixels
    start = (419 if quantized else 106) + digits * groups + prepare
    return start + units * first + (units - 1) * max(second, prepare + wait) + second


@cocotb.test()
async def equals_reference(dut: Any) -> None:
    rng = np.random.default_rng(SEED)
    bench = Engine(dut, rng)
    await bench.start()
    for n in range(TRANSACTIONS):
        bench.stall = float(rng.choice([0.0, 0.3, 0.8]))
        bench.idle = float(rng.choice([0.0, 0.5, 0.95]))
        if n % 4 == 0 and bench.config == replace(bench.config, **ANY):
            await bench.run_case(case(Opcode.ATTENTION, int(rng.integers(1 << 30)), bench.config), [Opcode.ATTENTION])
            continue
        commands, limits, row = [], [], int(rng.integers(8))
        for _ in range(1 if n % 16 == 1 else int(rng.integers(1, 4))):
            given, groups, row = command(bench, rng, row + int(rng.integers(3)), n % 16 == 1)
            commands.append(given)
            limits.append(cycles(given, groups, bench.config.attention_digits))
        await bench.run(commands)
        for given, limit in zip(commands, limits, strict=True):
            late = f"{bench.describe(given)}: {given.cycles} cycles, not {limit}"
            assert bench.stall > 0 or limit - 10 < given.cycles <= limit, late
