# SPDX-License-Identifier: Apache-2.0
"""Byte layouts of everything the machines read and write: weight blobs, input frames, output and trace tensors.

docs/program-format.md says what each blob means; this file is the encoder, and the decoders that the Program reference
needs. A blob is an array of *ring rows*: uint8 of shape (rows, 128). Every function raises InternalError where a value
does not fit: the frontend and the passes have already refused such models with a message for the user.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hwgen import ir
from hwgen.errors import InternalError
from hwgen.numerics import MULTIPLIER_BITS, SHIFT_MAX
from hwgen.plan.program import LANES, ROW_BYTES, WEIGHT_PORTS, WORD_BYTES

Rows = npt.NDArray[np.uint8]
"""Ring rows, (rows, 128)."""

SHIFT_BITS = 6
GAMMA_BITS = 18
BETA_BITS = 46
TABLE_ENTRIES = (256, 4096)
TAP_ROWS = 8
"""Taps of 16 depthwise weights in one ring row."""
TILE_ROWS = 2
"""Ring rows of one 16 x 16 weight tile."""


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise InternalError(message)


def _fits(name: str, values: npt.ArrayLike, bits: int, *, signed: bool = True) -> npt.NDArray[np.int64]:
    """``values`` as int64; raises InternalError if one does not fit ``bits``."""
    array = np.asarray(values)
    _check(array.dtype.kind in "iu", f"{name} is {array.dtype}, not an integer array")
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    if array.size:
        smallest, largest = int(array.min()), int(array.max())
        _check(low <= smallest and largest <= high, f"{name}: {smallest}..{largest} does not fit {low}..{high}")
    return array.astype(np.int64)


# --------------------------------------------------------------------------------------------------------------------
# Sizes


def channel_groups(channels: int) -> int:
    """Groups of 16 channels: pad words of one pixel."""
    _check(channels > 0, f"{channels} channels")
    return -(-channels // LANES)


def plane_rows(ring: int, width: int) -> int:
    """Word rows of one channel group of a tensor that keeps ``ring`` rows of ``width`` pixels."""
    _check(ring > 0 and width > 0, f"a plane of {ring} rows of {width} pixels")
    return -(-ring * width // LANES)


def group_structure(op: ir.Conv) -> tuple[int, int]:
    """``(ci_groups, og_per_group)`` of a convolution that is not depthwise; og_per_group is 0 for a dense one."""
    outputs, inputs = op.weight.shape[:2]
    if op.groups == 1:
        return channel_groups(inputs), 0
    _check(outputs % op.groups == 0, f"{op.name}: {outputs} output channels in {op.groups} groups")
    share = outputs // op.groups
    aligned = inputs % LANES == 0 and share % LANES == 0
    _check(aligned, f"{op.name}: groups of {inputs} inputs and {share} outputs are not aligned to {LANES} channels")
    return inputs // LANES, share // LANES


def is_packed(weight: npt.NDArray[np.int8]) -> bool:
    """Whether two weights can share a DSP: none is -128."""
    return bool(weight.size == 0 or int(weight.min()) > -128)


# --------------------------------------------------------------------------------------------------------------------
# Weight blobs


def init_values(op: ir.Conv | ir.Linear, x_zero: int, channels: slice = slice(None)) -> ir.Array:
    """Initial accumulators ``bias - x_zero * sum(w)`` over the whole window of some output channels, int64 (O,)."""
    _fits(f"{op.name}: input zero point", x_zero, 8)
    weight = op.weight.reshape(op.weight.shape[0], -1)[channels]
    init: ir.Array = np.asarray(op.bias, np.int64)[channels] - np.int64(x_zero) * weight.sum(axis=1, dtype=np.int64)
    return init


def _slice(op: ir.Conv | ir.Linear, group0: int, groups: int) -> slice:
    """The output channels of some channel groups."""
    outputs = op.weight.shape[0]
    inside = group0 >= 0 and groups > 0 and group0 + groups <= channel_groups(outputs)
    _check(inside, f"{op.name}: channel groups {group0}..{group0 + groups} of {outputs} channels")
    return slice(group0 * LANES, min((group0 + groups) * LANES, outputs))


def _parameters(op: ir.Conv | ir.Linear, x_zero: int, channels: slice, rows: int) -> Rows:
    """Parameter rows: init, multiplier and shift of 16 channels each, zero beyond the last channel."""
    outputs = op.weight.shape[0]
    values = (("bias", op.bias), ("multiplier", op.requant.multiplier), ("shift", op.requant.shift))
    for name, value in values:
        _check(np.shape(value) == (outputs,), f"{op.name}: {name} has shape {np.shape(value)}, not ({outputs},)")
    init = _fits(f"{op.name}: init", init_values(op, x_zero, channels), 32)
    multiplier = _fits(f"{op.name}: multiplier", op.requant.multiplier, MULTIPLIER_BITS, signed=False)[channels]
    shift = _fits(f"{op.name}: shift", op.requant.shift, SHIFT_BITS, signed=False)[channels]
    _check(int(shift.max(initial=0)) <= SHIFT_MAX, f"{op.name}: shift {shift.max()} is above {SHIFT_MAX}")
    words = np.zeros(rows * LANES, "<i8")
    words[: len(init)] = (init & 0xFFFFFFFF) | multiplier << 32 | shift << (32 + MULTIPLIER_BITS)
    return words.view(np.uint8).reshape(rows, ROW_BYTES)


def convolution_row_count(taps: int, ci_groups: int, tile_groups: int) -> int:
    """Ring rows of one output tile of ``tile_groups`` channel groups: parameters and weights."""
    return tile_groups * (1 + TILE_ROWS * taps * ci_groups)


def _tiles(
    op: ir.Conv | ir.Linear, weight: npt.NDArray[np.int8], x_zero: int, *, tile_groups: int, group0: int, groups: int
) -> Rows:
    """Output tiles of a dense or aligned grouped product; ``weight`` is (O, I / groups, kh, kw)."""
    _check(weight.dtype == np.int8 and weight.ndim == 4, f"{op.name}: weight is {weight.dtype} {weight.shape}")
    _check(tile_groups > 0, f"{op.name}: a tile of {tile_groups} channel groups")
    channels = _slice(op, group0, groups)
    _, inputs, kernel_h, kernel_w = weight.shape
    taps, ci_groups, tiles = kernel_h * kernel_w, channel_groups(inputs), -(-groups // tile_groups)
    padded = np.zeros((tiles * tile_groups * LANES, ci_groups * LANES, taps), np.int8)
    part = weight[channels]
    padded[: len(part), :inputs] = part.reshape(len(part), inputs, taps)
    blocks = padded.reshape(tiles, tile_groups, LANES, ci_groups, LANES, taps)  # tile, t, o, ci, i, tap
    body = np.ascontiguousarray(blocks.transpose(0, 5, 3, 1, 2, 4)).view(np.uint8)  # tile, tap, ci, t, o, i
    head = _parameters(op, x_zero, channels, tiles * tile_groups).reshape(tiles, tile_groups, ROW_BYTES)
    return np.concatenate([head, body.reshape(tiles, -1, ROW_BYTES)], axis=1).reshape(-1, ROW_BYTES)


def convolution_rows(op: ir.Conv, x_zero: int, tile_groups: int, group0: int, groups: int) -> Rows:
    """Blob of a CONV that computes ``groups`` output channel groups from ``group0``, in tiles of ``tile_groups``."""
    group_structure(op)
    return _tiles(op, op.weight, x_zero, tile_groups=tile_groups, group0=group0, groups=groups)


def linear_rows(op: ir.Linear, x_zero: int, group0: int, groups: int) -> Rows:
    """Blob of a LINEAR: tiles of one channel group and a 1x1 window."""
    _check(op.weight.ndim == 2, f"{op.name}: weight has shape {op.weight.shape}")
    return _tiles(op, op.weight[:, :, None, None], x_zero, tile_groups=1, group0=group0, groups=groups)


def depthwise_rows(op: ir.Conv, x_zero: int, group0: int, groups: int) -> Rows:
    """Blob of a DEPTHWISE: for each channel group one row of parameters, then 8 taps a row."""
    weight = op.weight
    single = weight.dtype == np.int8 and weight.ndim == 4 and weight.shape[1] == 1 and op.groups == len(weight)
    _check(single, f"{op.name}: weight {weight.dtype} {weight.shape} in {op.groups} groups is not depthwise")
    channels = _slice(op, group0, groups)
    taps = weight.shape[2] * weight.shape[3]
    tap_rows = -(-taps // TAP_ROWS)
    padded = np.zeros((groups * LANES, tap_rows * TAP_ROWS), np.int8)
    part = weight[channels].reshape(-1, taps)
    padded[: len(part), :taps] = part
    body = np.ascontiguousarray(padded.reshape(groups, LANES, -1).transpose(0, 2, 1)).view(np.uint8)
    head = _parameters(op, x_zero, channels, groups)[:, None, :]
    return np.concatenate([head, body.reshape(groups, tap_rows, ROW_BYTES)], axis=1).reshape(-1, ROW_BYTES)


def _words32(name: str, values: dict[int, int]) -> Rows:
    """One ring row of 32-bit words; each value must fit 32 bits, signed or unsigned."""
    row = np.zeros(ROW_BYTES // 4, "<u4")
    for index, value in values.items():
        _check(-(1 << 31) <= value < 1 << 32, f"{name}: word {index} = {value} does not fit 32 bits")
        row[index] = value & 0xFFFFFFFF
    return row.view(np.uint8).reshape(1, ROW_BYTES)


def _halves(name: str, value: int) -> tuple[int, int]:
    """Low and high word of an unsigned value of at most 63 bits (the machines hold it as a signed 64-bit number)."""
    _check(0 <= value < 1 << 63, f"{name}: epsilon {value} does not fit 63 bits")
    return value & 0xFFFFFFFF, value >> 32


def pool_rows(op: ir.Pool, pixels: int, x_zero: int) -> Rows:
    """Blob of a POOL over ``pixels`` pixels."""
    _fits(f"{op.name}: multiplier", op.multiplier, MULTIPLIER_BITS, signed=False)
    _check(0 <= op.shift <= SHIFT_MAX, f"{op.name}: shift {op.shift}")
    _check(pixels > 0, f"{op.name}: {pixels} pixels")
    return _words32(op.name, {0: -pixels * x_zero, 1: op.multiplier, 2: op.shift})


def layer_norm_rows(op: ir.LayerNorm, x_zero: int) -> Rows:
    """Blob of a LAYER_NORM: one row of scalars, then gamma and beta of 16 channels a row."""
    count = len(op.gamma)
    _check(count > 0 and np.shape(op.beta) == (count,), f"{op.name}: gamma {np.shape(op.gamma)}, beta {op.beta.shape}")
    _check(0 <= op.shift < 63, f"{op.name}: shift {op.shift}")
    _check(op.epsilon > 0, f"{op.name}: epsilon {op.epsilon}; a constant input would divide by zero")
    _fits(f"{op.name}: zero points", np.array([x_zero, op.zero_point]), 8)
    gamma = _fits(f"{op.name}: gamma", op.gamma, GAMMA_BITS)
    beta = _fits(f"{op.name}: beta", op.beta, BETA_BITS)
    low, high = _halves(op.name, op.epsilon)
    head = _words32(op.name, {0: count, 1: x_zero, 2: op.shift, 3: op.zero_point, 4: low, 5: high})
    words = np.zeros(channel_groups(count) * LANES, "<i8")
    words[:count] = (gamma & ((1 << GAMMA_BITS) - 1)) | beta << GAMMA_BITS
    return np.concatenate([head, words.view(np.uint8).reshape(-1, ROW_BYTES)])


def attention_rows(op: ir.Attention, x_zero: int) -> Rows:
    """Blob of an ATTENTION: one row of scalars and, where every edge is quantized, its four tables."""
    name, divide, mode = op.name, op.divide, op.quantized
    offsets = (op.q_offset, op.k_offset, op.v_offset)
    _check(op.head_dim > 0, f"{name}: head_dim {op.head_dim}")
    for value in (op.head_dim, *offsets):
        _check(value % LANES == 0, f"{name}: {value} is not a multiple of {LANES} channels")
    _check(sorted(offsets) == [0, op.head_dim, 2 * op.head_dim], f"{name}: Q, K, V at channels {offsets} of a head")
    _fits(f"{name}: zero points", np.array([x_zero, divide.zero_point]), 8)
    _check(0 < divide.multiplier < 1 << 31, f"{name}: divide multiplier {divide.multiplier}")
    _check(0 <= divide.shift < 63, f"{name}: divide shift {divide.shift}")
    low, high = _halves(name, divide.epsilon)
    words = [op.head_dim // LANES, *(o // LANES for o in offsets), x_zero]
    words += [divide.multiplier, divide.shift, divide.zero_point, low, high]
    tables: list[Rows] = []
    if mode is not None:
        zeros = np.array([mode.ones, mode.q_zero, mode.k_zero, mode.v_zero, mode.d_zero])
        _fits(f"{name}: codes", zeros, 8)
        for multiplier, shift, zero in (mode.requant_kv, mode.requant_n):
            _fits(f"{name}: multiplier", multiplier, MULTIPLIER_BITS, signed=False)
            _check(0 <= shift <= SHIFT_MAX, f"{name}: shift {shift}")
            _fits(f"{name}: zero point", zero, 8)
        words += [mode.ones, mode.q_zero, mode.k_zero, mode.v_zero, *mode.requant_kv, *mode.requant_n, mode.d_zero]
        for table in (mode.q_table, mode.k_table, mode.v_table, mode.d_table):
            _check(len(table) == 256, f"{name}: a table of {len(table)} entries")
            tables.append(table_rows(table))
    return np.concatenate([_words32(name, dict(enumerate(words))), *tables])


def table_rows(table: ir.Table) -> Rows:
    """Blob of a 256- or 4,096-entry table."""
    entries = np.asarray(table)
    _check(entries.dtype == np.int8 and entries.ndim == 1, f"a table of {entries.dtype} {entries.shape}")
    _check(len(entries) in TABLE_ENTRIES, f"a table of {len(entries)} entries")
    return np.ascontiguousarray(entries).view(np.uint8).reshape(-1, ROW_BYTES)


def input_table_rows(table: npt.NDArray[np.int8]) -> Rows:
    """Blob of the image tables, int8 (C, 256): entry i is the code of byte i."""
    entries = np.asarray(table)
    right = entries.dtype == np.int8 and entries.ndim == 2 and entries.shape[1] == 256
    _check(right, f"image tables of {entries.dtype} {entries.shape}, not int8 (C, 256)")
    return np.ascontiguousarray(entries).view(np.uint8).reshape(-1, ROW_BYTES)


# --------------------------------------------------------------------------------------------------------------------
# What the Program reference reads back


class Parameters(NamedTuple):
    """Epilogue parameters of consecutive output channels, int64 (channels,)."""

    init: ir.Array
    multiplier: ir.Array
    shift: ir.Array


def decode_parameters(rows: Rows) -> Parameters:
    """Parameter rows, 16 channels each."""
    words = np.ascontiguousarray(rows).view("<i8").ravel()
    multiplier = words >> 32 & ((1 << MULTIPLIER_BITS) - 1)
    shift = words >> (32 + MULTIPLIER_BITS) & ((1 << SHIFT_BITS) - 1)
    return Parameters(words.astype(np.int32).astype(np.int64), multiplier, shift)


def decode_words(row: Rows) -> npt.NDArray[np.int32]:
    """One ring row as 32 signed words."""
    return np.ascontiguousarray(row).view("<i4").ravel()


def decode_long(words: npt.NDArray[np.int32], index: int) -> int:
    """A 64-bit number in two words, low word first."""
    return (int(words[index]) & 0xFFFFFFFF) | int(words[index + 1]) << 32


# --------------------------------------------------------------------------------------------------------------------
# DDR


def stripe(rows: Rows) -> bytes:
    """A blob as it lies in weights.bin: port j's 32 bytes of every row, one port after the other."""
    _check(rows.dtype == np.uint8 and rows.ndim == 2 and rows.shape[1] == ROW_BYTES, f"ring rows {rows.shape}")
    return np.ascontiguousarray(rows.reshape(len(rows), WEIGHT_PORTS, -1).transpose(1, 0, 2)).tobytes()


def unstripe(data: bytes, rows: int) -> Rows:
    """The inverse of :func:`stripe`: uint8 (rows, 128)."""
    _check(len(data) == rows * ROW_BYTES, f"{len(data)} bytes are not {rows} ring rows")
    ports = np.frombuffer(data, np.uint8).reshape(WEIGHT_PORTS, rows, -1)
    return np.ascontiguousarray(ports.transpose(1, 0, 2)).reshape(rows, ROW_BYTES)


def pack_input(codes: npt.NDArray[Any]) -> bytes:
    """One frame of the input buffer from int8 codes or uint8 image bytes (H, W, C)."""
    _check(codes.dtype in (np.int8, np.uint8), f"input of {codes.dtype}, not int8 or uint8")
    _check(codes.ndim == 3 and codes.size > 0, f"input of shape {codes.shape}, not (H, W, C)")
    height, width, channels = codes.shape
    padded = np.zeros((height, -(-width * channels // WORD_BYTES) * WORD_BYTES), np.uint8)
    padded[:, : width * channels] = np.ascontiguousarray(codes).view(np.uint8).reshape(height, -1)
    return padded.tobytes()


def unpack_output(data: bytes | memoryview, shape: ir.Shape) -> npt.NDArray[np.int8]:
    """int8 (C, H, W) from words in the order [group][row][column]: the output buffer or a tensor of the trace."""
    channels, height, width = shape
    groups = channel_groups(channels)
    expected = groups * height * width * WORD_BYTES
    _check(len(data) == expected, f"{len(data)} bytes are not a tensor of shape {shape}, {expected} bytes")
    words = np.frombuffer(data, np.int8).reshape(groups, height, width, LANES)
    return np.ascontiguousarray(words.transpose(0, 3, 1, 2).reshape(groups * LANES, height, width)[:channels])
