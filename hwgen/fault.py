# SPDX-License-Identifier: Apache-2.0
"""Fault injection: one flipped bit in what the simulated machine loads, to see that the comparison notices.

A bit that changes nothing (an unused lane, a weight that a rounding swallows) would prove nothing, so candidates are
drawn with a seed until the Program reference, with the same flip, gives another kernel output without refusing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hwgen.errors import InternalError, UserError
from hwgen.numerics import ADD_MULTIPLIER_BITS
from hwgen.plan.layout import convolution_row_count
from hwgen.plan.program import HEADER, INSTRUCTION, ROW_BYTES, WEIGHT_PORTS, Flag, Opcode, Program, program_from_bytes

KINDS = ("weights", "program", "table")
ATTEMPTS = 200

# Fields that change where a machine reads and writes and what it computes, and how many of their bits it looks at.
# The others shape its loops: a flip there may leave what the hardware is built for (bank conflicts, endless loops),
# so a machine may stop instead of differing.
_FIELDS = {
    **dict.fromkeys(("x_base", "r_base", "y_base", "x_slot", "r_slot", "y_slot", "w_row", "t_row"), 16),
    **dict.fromkeys(("pad_top", "pad_left", "x_zero", "add_zero"), 8),
    **dict.fromkeys(("add_ma", "add_mb"), ADD_MULTIPLIER_BITS),
    **dict.fromkeys(("y_zero", "add_constant"), 8),
    "ddr": 32,
}


@dataclass(frozen=True)
class Fault:
    """Where a bit was flipped, and the first kernel whose output it changes in the Program reference."""

    kind: str
    file: str
    byte: int
    bit: int
    what: str
    kernel: str


def inject(
    program: Program, kind: str, seed: int, first_difference: Callable[[Program], str | None]
) -> tuple[Program, Fault]:
    """The Program with one flipped bit.

    ``first_difference`` runs a Program and names the first kernel with another output (None: no difference); it may
    raise where the Program became impossible, and then another bit is tried. Raises UserError if none is found.
    """
    if kind not in KINDS:
        raise UserError(f"there is no fault {kind!r}. Use one of: {', '.join(KINDS)}.")
    rng = np.random.default_rng(seed)
    draw = {"weights": _draw_data, "table": _draw_data, "program": _draw_instruction}[kind]
    for _ in range(ATTEMPTS):
        candidate = draw(program, kind, rng)
        if candidate is None:
            raise UserError(f"this Program has no {kind} to flip a bit in. Use --inject-fault weights.")
        file, byte, bit, what = candidate
        try:
            flipped = flip(program, file, byte, bit)
            kernel = first_difference(flipped)
        except (InternalError, ArithmeticError, LookupError, ValueError):
            continue  # the machine would refuse or fault: not the silent error that the comparison has to find
        if kernel is not None:
            return flipped, Fault(kind, file, byte, bit, what, kernel)
    raise UserError(f"no bit of {kind} out of {ATTEMPTS} changes an output. Try another --seed or more varied input.")


def flip(program: Program, file: str, byte: int, bit: int) -> Program:
    """The Program with one bit of ``weights.bin`` or ``program.bin`` flipped."""
    data = bytearray(program.weights if file == "weights.bin" else program.to_bytes())
    data[byte] ^= 1 << bit
    if file == "weights.bin":
        return replace(program, weights=bytes(data))
    return program_from_bytes(bytes(data), program.weights, program.config)


def _draw_instruction(program: Program, kind: str, rng: np.random.Generator) -> tuple[str, int, int, str]:
    index = int(rng.integers(len(program.instructions)))
    name = tuple(_FIELDS)[int(rng.integers(len(_FIELDS)))]
    assert INSTRUCTION.fields is not None
    byte, bit = divmod(int(rng.integers(_FIELDS[name])), 8)
    place = int(program.positions()[index])
    position = HEADER.itemsize + place * INSTRUCTION.itemsize + INSTRUCTION.fields[name][1] + byte
    opcode = Opcode(int(program.instructions[index]["opcode"])).name
    return "program.bin", position, bit, f"field {name} of instruction {index}, {opcode}"


def _draw_data(program: Program, kind: str, rng: np.random.Generator) -> tuple[str, int, int, str] | None:
    loads, kinds = classify_rows(program)
    rows = np.flatnonzero(kinds == kind)
    if not len(rows):
        return None
    data = np.frombuffer(program.weights, np.uint8)
    for _ in range(10_000):
        load, row = loads[int(rng.choice(rows))]
        column = int(rng.integers(ROW_BYTES))
        byte = byte_of(program, load, row, column)
        bit = int(rng.integers(8))
        # bytes of zero are mostly padding; and no fault makes a weight -128, which a packed pair cannot hold
        if data[byte] != 0 and data[byte] ^ (1 << bit) != 0x80:
            return "weights.bin", byte, bit, f"ring row {row} of the blob of instruction {load}, byte {column}"
    return None


def byte_of(program: Program, load: int, row: int, column: int) -> int:
    """Position in weights.bin of a byte of a ring row of LOAD_WEIGHTS instruction ``load`` (striped over the ports)."""
    record = program.instructions[load]
    stripe = ROW_BYTES // WEIGHT_PORTS
    port, within = divmod(column, stripe)
    return int(record["ddr"]) * ROW_BYTES + (port * int(record["w_rows"]) + row) * stripe + within


def classify_rows(program: Program) -> tuple[list[tuple[int, int]], npt.NDArray[np.str_]]:
    """Every loaded ring row as (LOAD_WEIGHTS instruction, row of its blob), and what it holds.

    "weights" and "table" rows are found by walking the instructions that use them. Others hold parameters (initial
    values, multipliers, shifts), whose upper bits machines of different word lengths need not see; no fault goes there.
    """
    loads: list[tuple[int, int]] = []
    kinds: dict[int, str] = {}
    ring = np.full(program.config.ring_rows + program.config.head_rows, -1, np.int64)

    def mark(first: int, rows: npt.NDArray[np.int64], kind: str) -> None:
        kinds.update((int(r), kind) for r in ring[(first + rows) % len(ring)] if r >= 0)

    for index, record in enumerate(program.instructions):
        opcode, flags = int(record["opcode"]), int(record["flags"])
        if opcode == Opcode.LOAD_WEIGHTS:
            count = int(record["w_rows"])
            ring[(int(record["w_row"]) + np.arange(count)) % len(ring)] = len(loads) + np.arange(count)
            loads += [(index, row) for row in range(count)]
            continue
        if flags & (Flag.TABLE | Flag.IMAGE):
            rows = 2 * int(record["channels"]) if flags & Flag.IMAGE else 32 if flags & Flag.WIDE else 2
            mark(int(record["t_row"]), np.arange(rows), "table")
        if opcode in (Opcode.CONV, Opcode.DEPTHWISE, Opcode.LINEAR):
            mark(int(record["w_row"]), _weight_rows(program, record), "weights")
    return loads, np.array([kinds.get(row, "parameters") for row in range(len(loads))])


def _weight_rows(program: Program, record: np.void) -> npt.NDArray[np.int64]:
    """Rows of a blob that hold weights: each tile of groups has its parameter rows first (docs/program-format.md)."""
    groups, taps = int(record["y_groups"]), int(record["kernel_h"]) * int(record["kernel_w"])
    if record["opcode"] == Opcode.DEPTHWISE:
        tile, parameters, rows = 1, 1, 1 + -(-taps // 8)
    else:
        conv = record["opcode"] == Opcode.CONV
        tile = parameters = program.config.blocks >> int(record["mode"]) if conv else 1
        rows = convolution_row_count(taps if conv else 1, int(record["ci_groups"]), tile)
    inside = np.arange(-(-groups // tile) * rows)
    return inside[inside % rows >= parameters]
