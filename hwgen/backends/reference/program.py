# SPDX-License-Identifier: Apache-2.0
"""The Program reference: a machine in NumPy that executes program.bin as docs/program-format.md says.

It decodes instructions, addresses and weight blobs only and never sees the IR, so it exercises tiling, memory map and
schedule. It runs group after group in sequential order; waits mean nothing to it. Pads, vector memories and weight
rings start with random bytes: a read of something nobody wrote shows up as a difference. An address outside a memory
raises InternalError with the instruction's name; nothing wraps silently.

Inside, a rectangle of a tensor is an array (groups, rows, columns, 16 lanes).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hwgen import numerics as nx
from hwgen.errors import InternalError
from hwgen.kernels.mlp import layer_norm
from hwgen.plan.layout import (
    BETA_BITS,
    GAMMA_BITS,
    TAP_ROWS,
    Parameters,
    Rows,
    convolution_row_count,
    decode_long,
    decode_parameters,
    decode_words,
    unstripe,
)
from hwgen.plan.program import INSTRUCTION, LANES, ROW_BYTES, VECTOR, WORD_BYTES, Config, Flag, Opcode, Program

Codes = npt.NDArray[np.int8]
Progress = Callable[[int, int], None]
"""Called with (instructions done, instructions in all); those that are skipped count as done."""

_WORD = np.dtype((np.void, WORD_BYTES))
_SAFE = 1 << 62
_VECTOR_READERS = (Opcode.LINEAR, Opcode.LAYER_NORM, Opcode.STORE)
_VECTOR_WRITERS = (Opcode.POOL, Opcode.LINEAR, Opcode.LAYER_NORM)


class ExecutionResult(NamedTuple):
    """The output and trace buffers, all frames; the trace is empty when tracing is off."""

    output: bytes
    trace: bytes


class Operand(NamedTuple):
    """Where an instruction finds a tensor: row ``first`` lies in ring slot ``slot``."""

    name: str
    pad: int
    base: int
    plane: int
    width: int
    ring: int
    slot: int
    first: int


@dataclass
class Machine:
    """The memories that a frame's instructions reach, and the instruction in progress for messages.

    Machines of several slots share ``ring`` and ``decoded``.
    """

    config: Config
    pads: Codes
    """(PADS, depth, 16 banks, 16 lanes) of one slot"""
    vectors: Codes
    """(vector_words, 16 lanes) of one slot"""
    ring: Rows
    """(ring_rows + head_rows, 128)"""
    weights: bytes
    frame_input: npt.NDArray[np.uint8]
    """Bytes of the current frame."""
    frame_output: Codes
    """(output_words, 16) of the current frame."""
    frame_trace: Codes | None
    """(trace_words, 16) of the current frame."""
    where: str = ""
    opcode: int = 0
    decoded: dict[tuple[int, ...], Tiles] = field(default_factory=dict)
    """Weight tiles already unpacked, by (ring row, tiles, groups of a tile, taps, input groups); dropped when the ring
    is written."""

    def require(self, condition: bool, message: str) -> None:
        if not condition:
            raise InternalError(f"{self.where}: {message}")

    def rows(self, row: int, count: int) -> Rows:
        """``count`` ring rows from ``row``."""
        end, first = row + count, self.config.ring_rows
        limit = first if row < first else len(self.ring)
        self.require(end <= limit, f"ring rows {row}..{end} of a weight ring that ends at row {limit}")
        head = self.opcode in _VECTOR_WRITERS
        wrong = self.opcode != Opcode.LOAD_WEIGHTS and head != (row >= first)
        self.require(not wrong, f"ring rows {row}..{end} belong to another engine; the MLP engine's begin at {first}")
        return self.ring[row:end]

    def table(self, row: int, entries: int) -> nx.Int8:
        return self.rows(row, entries // ROW_BYTES).reshape(-1).view(np.int8)

    def addresses(
        self, operand: Operand, groups: range, rows: range, columns: range
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
        """The pad as words of 16 lanes, and the word indices (groups, rows, columns) of a rectangle.

        Word row ``base + g * plane + p // 16`` and bank ``p % 16`` are one linear word index, 16 words a row.
        """
        what = f"operand {operand.name}"
        if operand.pad == VECTOR:
            return self.vector(operand, groups, rows, columns)
        self.require(operand.pad < len(self.pads), f"{what} is in pad {operand.pad} of {len(self.pads)}")
        slots = operand.slot + np.arange(rows.start, rows.stop, dtype=np.int64) - operand.first
        slots -= np.where(slots >= operand.ring, operand.ring, 0)
        inside = bool((slots >= 0).all() and (slots < operand.ring).all())
        self.require(inside, f"{what}: rows {rows.start}..{rows.stop} are not in a ring of {operand.ring} rows")
        pixels = slots[:, None] * operand.width + np.arange(columns.start, columns.stop)
        last = int(pixels.max(initial=0))
        self.require(
            last < operand.ring * operand.width and last // LANES < operand.plane,
            f"{what}: pixel {last} of a plane of {operand.ring} x {operand.width} pixels, {operand.plane} word rows",
        )
        starts = operand.base + np.arange(groups.start, groups.stop, dtype=np.int64) * operand.plane
        index = starts[:, None, None] * LANES + pixels
        depth = self.pads.shape[1]
        top = int(index.max(initial=0)) // LANES
        self.require(top < depth, f"{what}: word row {top} of a pad of {depth} word rows")
        return self.pads[operand.pad].reshape(-1, LANES).view(_WORD)[:, 0], index

    def vector(
        self, operand: Operand, groups: range, rows: range, columns: range
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
        """The vector memory, and the word indices (groups, 1, 1) of a tensor of one pixel."""
        what, limit = f"operand {operand.name}", len(self.vectors)
        engines = _VECTOR_WRITERS if operand.name == "y" else _VECTOR_READERS
        self.require(self.opcode in engines, f"{what} is in the vector memory, which this engine does not reach")
        pixel = (operand.plane, operand.ring, operand.width, operand.slot) == (1, 1, 1, 0)
        pixel = pixel and rows == range(operand.first, operand.first + 1) and columns == range(1)
        self.require(pixel, f"{what} in the vector memory is not one pixel")
        index = operand.base + np.arange(groups.start, groups.stop, dtype=np.int64)
        top = int(index.max(initial=0))
        self.require(top < limit, f"{what}: word {top} of a vector memory of {limit} words")
        return self.vectors.view(_WORD)[:, 0], index[:, None, None]

    def read(self, operand: Operand, groups: range, rows: range, columns: range) -> Codes:
        """A rectangle, (groups, rows, columns, 16)."""
        words, index = self.addresses(operand, groups, rows, columns)
        return words[index].view(np.int8).reshape(*index.shape, LANES)

    def write(self, i: SimpleNamespace, codes: npt.NDArray[Any]) -> None:
        """The rectangle of y that instruction ``i`` computes; also to the trace."""
        codes = np.ascontiguousarray(codes, np.int8)
        groups = range(i.y_group0, i.y_group0 + i.y_groups)
        rows, columns = range(i.y_row0, i.y_row0 + i.y_rows), range(i.y_cols)
        operand = Operand("y", i.y_pad, i.y_base, i.y_plane, i.y_width, i.y_ring, i.y_slot, i.y_row0)
        words, index = self.addresses(operand, groups, rows, columns)
        self.require(codes.shape == (*index.shape, LANES), f"result {codes.shape} for a rectangle {index.shape}")
        words[index] = codes.view(_WORD)[..., 0]
        if self.frame_trace is None:
            return
        place = np.array(groups)[:, None, None] * i.y_height + np.array(rows)[:, None]
        place = i.trace + place * i.y_width + np.array(columns)
        size = len(self.frame_trace)
        self.require(int(place.max(initial=0)) < size, f"trace word {place.max()} of {size}")
        self.frame_trace[place] = codes


class Tiles(NamedTuple):
    """Unpacked weight tiles of a CONV or LINEAR."""

    parameters: Parameters
    weight: npt.NDArray[Any]
    """(taps, ci_groups * 16, channels), float32 where every sum is exact in it, else float64."""
    lowest: int
    """The smallest weight."""


def _operand_x(i: SimpleNamespace) -> Operand:
    return Operand("x", i.x_pad, i.x_base, i.x_plane, i.x_width, i.x_ring, i.x_slot, i.x_first)


def _output_groups(i: SimpleNamespace) -> range:
    return range(i.y_group0, i.y_group0 + i.y_groups)


def _window(m: Machine, i: SimpleNamespace, groups: range) -> Codes:
    """All input pixels that the output rectangle's windows touch, ``x_zero`` where outside the input.

    (groups, (y_rows - 1) * stride_h + kernel_h, (y_cols - 1) * stride_w + kernel_w, 16)
    """
    m.require(groups.stop <= i.x_groups, f"reads channel group {groups.stop - 1} of {i.x_groups}")
    m.require(min(i.kernel_h, i.kernel_w, i.stride_h, i.stride_w) > 0, "window or stride is 0")
    top, left = i.y_row0 * i.stride_h - i.pad_top, -i.pad_left
    height, width = (i.y_rows - 1) * i.stride_h + i.kernel_h, (i.y_cols - 1) * i.stride_w + i.kernel_w
    rows = range(max(top, 0), min(top + height, i.x_height))
    columns = range(max(left, 0), min(left + width, i.x_cols))
    if len(rows) == height and len(columns) == width:
        return m.read(_operand_x(i), groups, rows, columns)
    window = np.full((len(groups), height, width, LANES), i.x_zero, np.int8)
    if rows and columns:
        inside = m.read(_operand_x(i), groups, rows, columns)
        window[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = inside
    return window


def _taps(i: SimpleNamespace) -> Iterator[tuple[slice, slice]]:
    """For each tap the rows and columns of the window that it multiplies."""
    for ky in range(i.kernel_h):
        for kx in range(i.kernel_w):
            rows = slice(ky, ky + (i.y_rows - 1) * i.stride_h + 1, i.stride_h)
            yield rows, slice(kx, kx + (i.y_cols - 1) * i.stride_w + 1, i.stride_w)


def _tiles(m: Machine, i: SimpleNamespace, tile_groups: int, taps: int) -> Tiles:
    """Decode all output tiles of a CONV or LINEAR blob."""
    tiles = -(-i.y_groups // tile_groups)
    count = convolution_row_count(taps, i.ci_groups, tile_groups)
    key = (i.w_row, tiles, tile_groups, taps, i.ci_groups)
    if key not in m.decoded:
        blob = m.rows(i.w_row, tiles * count).reshape(tiles, count, ROW_BYTES)
        parameters = decode_parameters(blob[:, :tile_groups])
        packed = np.ascontiguousarray(blob[:, tile_groups:]).view(np.int8)
        packed = packed.reshape(tiles, taps, i.ci_groups, tile_groups, LANES, LANES)  # tile, tap, ci, t, o, i
        weight = packed.transpose(1, 2, 5, 0, 3, 4).astype(np.float32)  # tap, ci, i, tile, t, o
        weight = weight.reshape(taps, i.ci_groups * LANES, -1)
        bound = 128 * int(np.abs(weight).sum(axis=(0, 1), dtype=np.float64).max(initial=0))
        if bound >= 1 << 24:  # a float32 sum of integers is exact below 2^24
            weight = weight.astype(np.float64)
        m.decoded[key] = Tiles(parameters, weight, int(packed.min()))
    tile = m.decoded[key]
    m.require(not i.flags & Flag.PACKED or tile.lowest > -128, "PACKED is set, but a weight is -128")
    return tile


def _channels(parameters: Parameters, groups: int) -> Parameters:
    """Parameters of the first groups, shaped to broadcast over (groups, rows, columns, 16)."""
    return Parameters(*(p[: groups * LANES].reshape(groups, 1, 1, LANES) for p in parameters))


def _epilogue(m: Machine, i: SimpleNamespace, acc: npt.NDArray[Any], parameters: Parameters) -> npt.NDArray[Any]:
    """Accumulators without init, (groups, rows, columns, 16), to codes."""
    init, multiplier, shift = parameters
    acc = acc.astype(np.float64)  # exact, and what requantize computes with
    acc += init
    largest = int(max(acc.max(initial=0), -acc.min(initial=0)))
    m.require(largest < nx.ACCUMULATOR_LIMIT, f"accumulator {largest} is not below {nx.ACCUMULATOR_LIMIT}")
    wide = bool(i.flags & Flag.WIDE)
    m.require(not wide or bool(i.flags & Flag.TABLE), "WIDE without TABLE")
    codes: npt.NDArray[Any] = nx.requantize(acc, multiplier, shift, i.y_zero, nx.MID_BITS if wide else 8)
    if i.flags & Flag.TABLE:
        codes = nx.lookup(m.table(i.t_row, 4096 if wide else 256), codes)
    return _add(m, i, codes) if i.flags & Flag.ADD else codes


def _add(m: Machine, i: SimpleNamespace, codes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Residual add of r's rectangle."""
    operand = Operand("r", i.r_pad, i.r_base, i.r_plane, i.y_width, i.r_ring, i.r_slot, i.y_row0)
    residual = m.read(operand, _output_groups(i), range(i.y_row0, i.y_row0 + i.y_rows), range(i.y_cols))
    return nx.add_requantize(codes, residual, i.add_ma, i.add_mb, i.add_constant, i.add_shift, i.add_zero)


# --------------------------------------------------------------------------------------------------------------------
# One function for each opcode


def _load_weights(m: Machine, i: SimpleNamespace) -> None:
    start, size = i.ddr * ROW_BYTES, i.w_rows * ROW_BYTES
    m.require(start + size <= len(m.weights), f"bytes {start}..{start + size} of {len(m.weights)} bytes of weights")
    m.rows(i.w_row, i.w_rows)[:] = unstripe(m.weights[start : start + size], i.w_rows)
    m.decoded.clear()


def _load_input(m: Machine, i: SimpleNamespace) -> None:
    block, channels = i.block, i.channels
    m.require(block in (1, 2), f"block {block}")
    m.require(0 < channels * block * block <= LANES, f"{channels} channels in blocks of {block}")
    m.require(i.y_groups == 1, f"{i.y_groups} channel groups")
    m.require(i.y_cols * block <= i.x_width, f"{i.y_cols} columns of an image {i.x_width} pixels wide")
    stride = -(-i.x_width * channels // WORD_BYTES) * WORD_BYTES
    start, size = i.ddr * WORD_BYTES, i.y_rows * block * stride
    limit = len(m.frame_input)
    m.require(start + size <= limit, f"bytes {start}..{start + size} of a frame of {limit} bytes")
    rows = m.frame_input[start : start + size].reshape(i.y_rows * block, stride)[:, : i.x_width * channels]
    pixels = rows.reshape(len(rows), i.x_width, channels)[:, : i.y_cols * block]
    if i.flags & Flag.IMAGE:
        tables = m.table(i.t_row, 256 * channels).reshape(channels, 256)
        codes = np.stack([tables[c][pixels[..., c]] for c in range(channels)], axis=-1)
    else:
        codes = pixels.view(np.int8) if pixels.flags.c_contiguous else np.ascontiguousarray(pixels).view(np.int8)
    blocks = codes.reshape(i.y_rows, block, i.y_cols, block, channels).transpose(0, 2, 1, 3, 4)
    lanes = np.zeros((1, i.y_rows, i.y_cols, LANES), np.int8)
    lanes[0, :, :, : channels * block * block] = blocks.reshape(i.y_rows, i.y_cols, -1)
    m.write(i, lanes)


def _conv(m: Machine, i: SimpleNamespace) -> None:
    tile_groups = m.config.blocks >> i.mode
    m.require(tile_groups > 0, f"mode {i.mode} needs {1 << i.mode} pixels of {m.config.blocks} blocks")
    tiles = _tiles(m, i, tile_groups, i.kernel_h * i.kernel_w)
    acc = np.empty((i.y_groups, i.y_rows, i.y_cols, LANES), tiles.weight.dtype)
    groups, done = _output_groups(i), 0
    while done < i.y_groups:  # output groups that share their input groups, all of them in a dense convolution
        share, first, count = i.og_per_group, 0, i.y_groups
        if share:
            first = (groups.start + done) // share * i.ci_groups
            count = min(share - (groups.start + done) % share, i.y_groups - done)
        window = _window(m, i, range(first, first + i.ci_groups))
        weight = tiles.weight[:, :, done * LANES : (done + count) * LANES]
        part = np.zeros((i.y_rows * i.y_cols, count * LANES), acc.dtype)
        for tap, (rows, columns) in zip(weight, _taps(i), strict=True):
            x = window[:, rows, columns].transpose(1, 2, 0, 3).astype(acc.dtype)
            part += x.reshape(len(part), -1) @ tap
        acc[done : done + count] = part.reshape(i.y_rows, i.y_cols, count, LANES).transpose(2, 0, 1, 3)
        done += count
    m.write(i, _epilogue(m, i, acc, _channels(tiles.parameters, i.y_groups)))


def _linear(m: Machine, i: SimpleNamespace) -> None:
    m.require((i.y_rows, i.y_cols) == (1, 1), f"{i.y_rows} x {i.y_cols} pixels")
    m.require(not i.flags & Flag.ADD, "LINEAR has no residual")
    m.require(i.ci_groups <= i.x_groups, f"reads channel group {i.ci_groups - 1} of {i.x_groups}")
    tiles = _tiles(m, i, 1, 1)
    x = m.read(_operand_x(i), range(i.ci_groups), range(i.x_first, i.x_first + 1), range(1))
    acc = x.reshape(1, -1).astype(tiles.weight.dtype) @ tiles.weight[0]
    m.write(i, _epilogue(m, i, acc.reshape(i.y_groups, 1, 1, LANES), _channels(tiles.parameters, i.y_groups)))


def _depthwise(m: Machine, i: SimpleNamespace) -> None:
    m.require(not i.flags & Flag.ADD, "DEPTHWISE has no residual")
    taps = i.kernel_h * i.kernel_w
    tap_rows = -(-taps // TAP_ROWS)
    blob = m.rows(i.w_row, i.y_groups * (1 + tap_rows)).reshape(i.y_groups, 1 + tap_rows, ROW_BYTES)
    weight = np.ascontiguousarray(blob[:, 1:]).view(np.int8).reshape(i.y_groups, -1, LANES).astype(np.int32)
    window = _window(m, i, _output_groups(i)).astype(np.int32)
    acc = np.zeros((i.y_groups, i.y_rows, i.y_cols, LANES), np.int32)
    for tap, (rows, columns) in enumerate(_taps(i)):
        acc += window[:, rows, columns] * weight[:, tap, None, None]
    m.write(i, _epilogue(m, i, acc, _channels(decode_parameters(blob[:, 0]), i.y_groups)))


def _eltwise(m: Machine, i: SimpleNamespace) -> None:
    groups = _output_groups(i)
    m.require(groups.stop <= i.x_groups, f"reads channel group {groups.stop - 1} of {i.x_groups}")
    rows = range(i.y_row0, i.y_row0 + i.y_rows)
    m.require(rows.stop <= i.x_height and i.y_cols <= i.x_cols, "reads beyond the input's rows or columns")
    codes: npt.NDArray[Any] = m.read(_operand_x(i), groups, rows, range(i.y_cols))
    if i.flags & Flag.ADD:
        codes = _add(m, i, codes)
    if i.flags & Flag.TABLE:
        codes = nx.lookup(m.table(i.t_row, 256), codes)
    m.write(i, codes)


def _pool(m: Machine, i: SimpleNamespace) -> None:
    groups = _output_groups(i)
    m.require(groups.stop <= i.x_groups, f"reads channel group {groups.stop - 1} of {i.x_groups}")
    m.require((i.y_rows, i.y_cols) == (1, 1), f"{i.y_rows} x {i.y_cols} pixels")
    words = decode_words(m.rows(i.w_row, 1))
    x = m.read(_operand_x(i), groups, range(i.x_first, i.x_first + i.x_height), range(i.x_cols))
    acc = x.sum(axis=(1, 2), dtype=np.int64) + int(words[0])
    m.write(i, nx.requantize(acc, int(words[1]), int(words[2]), i.y_zero)[:, None, None])


def _layer_norm(m: Machine, i: SimpleNamespace) -> None:
    groups = -(-i.channels // LANES)
    m.require(groups <= i.x_groups, f"{i.channels} channels of {i.x_groups} groups")
    m.require(_output_groups(i) == range(groups), f"writes groups {_output_groups(i)} of {groups}")
    rows = m.rows(i.w_row, 1 + groups)
    words = decode_words(rows[0])
    count, x_zero, shift, y_zero = (int(w) for w in words[:4])
    m.require(count == i.channels, f"{i.channels} channels, but the blob has {count}")
    values = np.ascontiguousarray(rows[1:]).view("<i8").ravel()[:count]
    gamma = values << (64 - GAMMA_BITS) >> (64 - GAMMA_BITS)
    beta = values >> (64 - BETA_BITS)
    x = m.read(_operand_x(i), range(groups), range(i.x_first, i.x_first + 1), range(1)).ravel()[:count]
    codes = np.full(groups * LANES, y_zero, np.int64)  # gamma and beta of the lanes beyond are 0
    codes[:count] = layer_norm(x, x_zero, gamma, beta, shift, decode_long(words, 4), y_zero)
    if i.flags & Flag.TABLE:
        codes = nx.lookup(m.table(i.t_row, 256), codes).astype(np.int64)
    m.write(i, codes.reshape(groups, 1, 1, LANES))


Heads = tuple[Codes, Codes, Codes]
"""Q, K and V, (heads, pixels, head_dim) each."""


class AttentionWords(NamedTuple):
    """The scalars of an ATTENTION blob, in the blob's order."""

    d: int
    q_offset: int
    k_offset: int
    v_offset: int
    zero: int
    multiplier: int
    shift: int
    divide_zero: int
    epsilon_low: int
    epsilon_high: int
    ones: int
    q_zero: int
    k_zero: int
    v_zero: int
    kv_multiplier: int
    kv_shift: int
    kv_zero: int
    n_multiplier: int
    n_shift: int
    n_zero: int
    d_zero: int


def _attention(m: Machine, i: SimpleNamespace) -> None:
    words = decode_words(m.rows(i.w_row, 1))
    a = AttentionWords(*words[: len(AttentionWords._fields)].tolist())
    m.require(a.d > 0 and i.x_groups % (3 * a.d) == 0, f"{i.x_groups} channel groups, heads of 3 x {a.d}")
    m.require(i.y_groups * 3 == i.x_groups, f"{i.x_groups} groups in, {i.y_groups} groups out")
    offsets = a.q_offset, a.k_offset, a.v_offset
    inside = all(0 <= offset <= 2 * a.d for offset in offsets)
    m.require(inside, f"Q, K and V at groups {offsets} of heads of 3 x {a.d}")
    heads, pixels = i.x_groups // (3 * a.d), i.y_rows * i.y_cols
    rows = range(i.y_row0, i.y_row0 + i.y_rows)
    x = m.read(_operand_x(i), range(i.x_groups), rows, range(i.y_cols))
    x = x.reshape(heads, 3 * a.d, pixels, LANES)
    q, k, v = (x[:, o : o + a.d].transpose(0, 2, 1, 3).reshape(heads, pixels, a.d * LANES) for o in offsets)
    if i.flags & Flag.QUANTIZED:
        codes = _quantized_heads(m, a, (q, k, v), m.rows(i.w_row + 1, 8))
    else:
        codes = _fused_heads(m, a, (q, k, v))
    y = codes.reshape(heads, pixels, a.d, LANES).transpose(0, 2, 1, 3)
    m.write(i, y.reshape(i.y_groups, i.y_rows, i.y_cols, LANES))


def _product(a: nx.Int64, b: nx.Int64) -> nx.Int64:
    """Integer matrix product; float64 is exact for these sums, which stay below 2^53 for any image that fits."""
    product: npt.NDArray[np.float64] = a.astype(np.float64) @ b.astype(np.float64)
    return product.astype(np.int64)


def _fused_heads(m: Machine, a: AttentionWords, heads: Heads) -> npt.NDArray[Any]:
    """Exact up to the one division."""
    q, k, v = heads
    epsilon = (a.epsilon_low & 0xFFFFFFFF) | a.epsilon_high << 32
    q_units = np.maximum(q.astype(np.int64) - a.zero, 0)
    k_units = np.maximum(k.astype(np.int64) - a.zero, 0)
    v_units = v.astype(np.int64) - a.zero
    kv = _product(k_units.transpose(0, 2, 1), v_units)
    numerator = _product(q_units, kv)
    normalizer = _product(q_units, k_units.sum(axis=1)[:, :, None])
    largest = int(np.abs(numerator).max()) << a.shift, int(normalizer.max()) * a.multiplier + epsilon
    m.require(max(largest) < _SAFE, f"attention operands {largest} need more than 63 bits")
    denominator = normalizer * a.multiplier + epsilon
    quotient = nx.divide_round(numerator << a.shift, np.where(denominator == 0, 1, denominator))
    return nx.saturate(np.where(denominator == 0, 0, quotient) + a.divide_zero)


def _quantized_heads(m: Machine, a: AttentionWords, heads: Heads, rows: Rows) -> npt.NDArray[Any]:
    """Every edge an int8 code; ``rows`` are the four tables."""
    q, k, v = heads
    q_table, k_table, v_table, d_table = rows.reshape(4, 256).view(np.int8)
    q_units = nx.lookup(q_table, q).astype(np.int64) - a.q_zero
    k_units = nx.lookup(k_table, k).astype(np.int64) - a.k_zero
    v_codes = nx.lookup(v_table, v).astype(np.int64)
    column = np.full((*v_codes.shape[:2], 1), a.ones, np.int64)
    v_units = np.concatenate([v_codes, column], axis=2) - a.v_zero
    kv = nx.requantize(_product(k_units.transpose(0, 2, 1), v_units), a.kv_multiplier, a.kv_shift, a.kv_zero)
    kv_units = kv.astype(np.int64) - a.kv_zero
    n = nx.requantize(_product(q_units, kv_units), a.n_multiplier, a.n_shift, a.n_zero)
    numerator = n[:, :, :-1].astype(np.int64) - a.n_zero
    denominator = nx.lookup(d_table, n[:, :, -1:]).astype(np.int64) - a.d_zero
    largest = int(np.abs(numerator).max()) << a.shift, int(np.abs(denominator).max()) * a.multiplier
    m.require(max(largest) < _SAFE, f"attention operands {largest} need more than 63 bits")
    numerator_up = np.where(denominator < 0, -numerator, numerator) << a.shift
    scaled = np.abs(denominator) * a.multiplier
    quotient = nx.divide_round(numerator_up, np.where(scaled == 0, 1, scaled)) + a.divide_zero
    by_zero = np.where(numerator > 0, 127, -128)
    return np.where(scaled == 0, by_zero, nx.saturate(quotient))


def _store(m: Machine, i: SimpleNamespace) -> None:
    rows = range(i.x_first, i.x_first + i.x_height)
    words = m.read(_operand_x(i), range(i.x_groups), rows, range(i.x_cols)).reshape(-1, LANES)
    limit = len(m.frame_output)
    m.require(i.ddr + len(words) <= limit, f"words {i.ddr}..{i.ddr + len(words)} of an output of {limit} words")
    m.frame_output[i.ddr : i.ddr + len(words)] = words


EXECUTE: dict[int, Callable[[Machine, SimpleNamespace], None]] = {
    Opcode.LOAD_WEIGHTS: _load_weights,
    Opcode.LOAD_INPUT: _load_input,
    Opcode.CONV: _conv,
    Opcode.DEPTHWISE: _depthwise,
    Opcode.ELTWISE: _eltwise,
    Opcode.ATTENTION: _attention,
    Opcode.POOL: _pool,
    Opcode.LINEAR: _linear,
    Opcode.LAYER_NORM: _layer_norm,
    Opcode.STORE: _store,
}

# --------------------------------------------------------------------------------------------------------------------


def execute(
    program: Program,
    inputs: bytes | npt.NDArray[Any],
    frames: int,
    *,
    trace: bool = True,
    progress: Progress | None = None,
) -> ExecutionResult:
    """Run ``frames`` frames of a Program, in groups; the last group may have fewer frames than slots.

    ``inputs`` is the input buffer: ``frames * input_words * 16`` bytes. Returns the output and trace buffers, zero
    where the Program writes nothing. Raises InternalError, naming the instruction, for whatever a machine could not do.
    """
    config, header = program.config, program.header
    data = np.frombuffer(np.ascontiguousarray(inputs).tobytes() if isinstance(inputs, np.ndarray) else inputs, np.uint8)
    input_bytes = int(header["input_words"]) * WORD_BYTES
    if frames < 1 or len(data) != frames * input_bytes:
        raise InternalError(f"{len(data)} bytes of input are not {frames} frames of {input_bytes} bytes")
    if len(program.weights) != int(header["weight_bytes"]):
        raise InternalError(f"{len(program.weights)} bytes of weights, the header says {header['weight_bytes']}")
    if len(program.instructions) != int(header["instructions"]):
        raise InternalError(f"{len(program.instructions)} instructions, the header says {header['instructions']}")
    output = np.zeros((frames, int(header["output_words"]), LANES), np.int8)
    traced = np.zeros((frames, int(header["trace_words"]) if trace else 0, LANES), np.int8)
    machines = _machines(program)
    decoded = [_decode(record) for record in program.instructions]
    done, groups = 0, range(0, frames, config.slots)
    for first in groups:
        running = machines[: frames - first]
        for slot, machine in enumerate(running):
            frame = first + slot
            machine.frame_input = data[frame * input_bytes : (frame + 1) * input_bytes]
            machine.frame_output = output[frame]
            machine.frame_trace = traced[frame] if trace else None
        for index, i in enumerate(decoded):
            _step(machines, len(running), i, first, index)
            done += 1
            if progress is not None:
                progress(done, len(groups) * len(decoded))
    return ExecutionResult(output.tobytes(), traced.tobytes())


def _machines(program: Program) -> list[Machine]:
    """One for each slot, with random memories."""
    config, noise = program.config, np.random.default_rng(0)
    ring = noise.integers(0, 256, (config.ring_rows + config.head_rows, ROW_BYTES), np.uint8)
    pads = noise.integers(0, 256, (config.slots, config.pads, config.pad_depth, LANES, LANES), np.uint8).view(np.int8)
    vectors = noise.integers(0, 256, (config.slots, config.vector_words, LANES), np.uint8).view(np.int8)
    decoded: dict[tuple[int, ...], Tiles] = {}
    nothing = np.zeros((0, LANES), np.int8)
    return [
        Machine(
            config=config,
            pads=pads[slot],
            vectors=vectors[slot],
            ring=ring,
            weights=program.weights,
            frame_input=np.zeros(0, np.uint8),
            frame_output=nothing,
            frame_trace=None,
            decoded=decoded,
        )
        for slot in range(config.slots)
    ]


def _step(machines: Sequence[Machine], running: int, i: SimpleNamespace, first: int, index: int) -> None:
    """One instruction of the group that begins with frame ``first`` and has ``running`` frames."""
    slots = [slot for slot in range(8) if i.slots >> slot & 1]
    slot = slots[0] if slots else 0
    machine = machines[min(slot, len(machines) - 1)]
    machine.where = f"frame {first + slot}, instruction {index} ({_name(i.opcode)}, kernel {i.kernel})"
    machine.opcode = i.opcode
    machine.require(i.opcode in EXECUTE, "unknown opcode")
    machine.require(bool(slots), "is for no slot")
    machine.require(slots[-1] < len(machines), f"is for slot {slots[-1]} of {len(machines)}")
    machine.require(i.opcode == Opcode.LOAD_WEIGHTS or len(slots) == 1, f"is for slots {slots}, an engine takes one")
    if slot >= running:
        return
    if i.opcode not in (Opcode.LOAD_WEIGHTS, Opcode.STORE):
        machine.require(min(i.y_groups, i.y_rows, i.y_cols) > 0, "writes an empty rectangle")
    EXECUTE[i.opcode](machine, i)


def _decode(record: Any) -> SimpleNamespace:
    """An instruction record with plain integers as attributes."""
    return SimpleNamespace(**dict(zip(INSTRUCTION.names or (), record.tolist(), strict=True)))


def _name(opcode: int) -> str:
    return Opcode(opcode).name if opcode in EXECUTE else f"opcode {opcode}"
