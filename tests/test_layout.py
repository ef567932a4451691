# SPDX-License-Identifier: Apache-2.0
"""Blobs and buffers byte by byte, against docs/program-format.md read literally."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hwgen import ir
from hwgen.errors import InternalError
from hwgen.plan import layout


def bits(row: Any, low: int, count: int, *, signed: bool = False) -> int:
    """Bits of a little-endian run of bytes."""
    value = int.from_bytes(bytes(row), "little") >> low & ((1 << count) - 1)
    return value - (1 << count) if signed and value >> (count - 1) else value


def requant(outputs: int, rng: np.random.Generator) -> ir.Requant:
    multiplier = rng.integers(0, 1 << 17, outputs).astype(np.int32)
    shift = rng.integers(0, 48, outputs).astype(np.int32)
    multiplier[0], shift[0] = (1 << 17) - 1, 47
    return ir.Requant(multiplier, shift, 3)


def conv(outputs: int, inputs: int, kernel: tuple[int, int], groups: int = 1, seed: int = 0) -> ir.Conv:
    rng = np.random.default_rng(seed)
    weight = rng.integers(-128, 128, (outputs, inputs // groups, *kernel), np.int8)
    bias = rng.integers(-(1 << 20), 1 << 20, outputs, np.int64)
    return ir.Conv("op", "x", "y", weight, bias, requant(outputs, rng), groups=groups)


def check_parameters(row: Any, op: ir.Conv | ir.Linear, x_zero: int, group: int) -> None:
    for lane in range(16):
        word, channel = row[8 * lane : 8 * lane + 8], group * 16 + lane
        if channel >= len(op.weight):
            assert not word.any()
            continue
        init = int(op.bias[channel]) - x_zero * int(op.weight[channel].astype(int).sum())
        assert bits(word, 0, 32, signed=True) == init
        assert bits(word, 32, 17) == op.requant.multiplier[channel]
        assert bits(word, 49, 6) == op.requant.shift[channel]
        assert bits(word, 55, 9) == 0


@pytest.mark.parametrize(
    ("outputs", "inputs", "kernel", "groups", "tile", "group0", "count"),
    [
        (40, 20, (3, 2), 1, 2, 0, 3),
        (70, 5, (1, 1), 1, 4, 1, 4),
        (16, 33, (1, 5), 1, 1, 0, 1),
        (96, 64, (3, 3), 2, 1, 2, 3),
    ],
)
def test_convolution_blob(
    outputs: int, inputs: int, kernel: tuple[int, int], groups: int, tile: int, group0: int, count: int
) -> None:
    op, x_zero = conv(outputs, inputs, kernel, groups), -7
    rows = layout.convolution_rows(op, x_zero, tile, group0, count)
    per_group, (kh, kw) = inputs // groups, kernel
    ci_groups = layout.channel_groups(per_group)
    assert layout.group_structure(op) == (ci_groups, 0 if groups == 1 else outputs // groups // 16)
    position = 0
    for first in range(group0, group0 + count, tile):
        inside = [g for g in range(first, first + tile) if g < group0 + count]
        for t in range(tile):
            if first + t in inside:
                check_parameters(rows[position], op, x_zero, first + t)
            else:
                assert not rows[position].any()
            position += 1
        for ky in range(kh):
            for kx in range(kw):
                for ci in range(ci_groups):
                    for t in range(tile):
                        block = rows[position : position + 2].ravel().view(np.int8).reshape(16, 16)
                        position += 2
                        for (o, i), code in np.ndenumerate(block):
                            channel, source = (first + t) * 16 + o, ci * 16 + i
                            real = first + t in inside and channel < outputs and source < per_group
                            assert code == (op.weight[channel, source, ky, kx] if real else 0)
    assert position == len(rows)
    assert len(rows) == -(-count // tile) * layout.convolution_row_count(kh * kw, ci_groups, tile)


def test_linear_blob_is_a_convolution_with_one_group_tiles() -> None:
    source = conv(50, 40, (1, 1))
    op = ir.Linear("op", "x", "y", source.weight[:, :, 0, 0], source.bias, source.requant)
    assert np.array_equal(layout.linear_rows(op, 9, 1, 3), layout.convolution_rows(source, 9, 1, 1, 3))


@pytest.mark.parametrize(("kernel", "rows"), [((3, 3), 3), ((5, 5), 5), ((2, 4), 2), ((1, 1), 2)])
def test_depthwise_blob(kernel: tuple[int, int], rows: int) -> None:
    op = conv(37, 37, kernel, 37)
    blob = layout.depthwise_rows(op, 5, 1, 2)
    assert blob.shape == (2 * rows, 128)
    for index, group in enumerate((1, 2)):
        check_parameters(blob[index * rows], op, 5, group)
        taps = blob[index * rows + 1 : (index + 1) * rows].ravel().view(np.int8).reshape(-1, 16)
        for (tap, lane), code in np.ndenumerate(taps):
            real = tap < kernel[0] * kernel[1] and group * 16 + lane < 37
            assert code == (op.weight[group * 16 + lane, 0, tap // kernel[1], tap % kernel[1]] if real else 0)


def test_parameters_decode_to_what_was_encoded() -> None:
    op = conv(40, 20, (3, 3))
    decoded = layout.decode_parameters(layout.convolution_rows(op, -128, 3, 0, 3)[:3])
    assert np.array_equal(decoded.init[:40], layout.init_values(op, -128))
    assert np.array_equal(decoded.multiplier[:40], op.requant.multiplier)
    assert np.array_equal(decoded.shift[:40], op.requant.shift)
    assert not any(p[40:].any() for p in decoded)


def test_init_makes_the_zero_point_vanish() -> None:
    op = conv(8, 6, (3, 3))
    x = np.random.default_rng(1).integers(-128, 128, (6, 3, 3))
    direct = op.bias + np.einsum("oikl,ikl->o", op.weight.astype(np.int64), x - 11)
    assert np.array_equal(layout.init_values(op, 11) + np.einsum("oikl,ikl->o", op.weight.astype(np.int64), x), direct)


def test_pool_and_layer_norm_blobs() -> None:
    pool = layout.pool_rows(ir.Pool("p", "x", "y", 70_000, 23, 4), 49, 100)
    assert layout.decode_words(pool[0]).tolist() == [-4900, 70_000, 23] + [0] * 29
    rng = np.random.default_rng(2)
    gamma = rng.integers(-(1 << 17), 1 << 17, 20, np.int32)
    beta = rng.integers(-(1 << 45), 1 << 45, 20, np.int64)
    rows = layout.layer_norm_rows(ir.LayerNorm("n", "x", "y", gamma, beta, 30, (5 << 32) + 7, -9), -128)
    assert rows.shape == (3, 128)
    assert layout.decode_words(rows[0])[:6].tolist() == [20, -128, 30, -9, 7, 5]
    assert layout.decode_long(layout.decode_words(rows[0]), 4) == (5 << 32) + 7
    for lane, word in enumerate(rows[1:].reshape(32, 8)):
        expected = (gamma[lane], beta[lane]) if lane < 20 else (0, 0)
        assert (bits(word, 0, 18, signed=True), bits(word, 18, 46, signed=True)) == expected


def attention(**changes: Any) -> ir.Attention:
    tables = [np.random.default_rng(t).integers(-128, 128, 256, np.int8) for t in range(4)]
    mode = ir.QuantizedAttention(*tables, -1, -2, -3, 13, (70_000, 20, -4), (80_000, 21, -5), -6)  # type: ignore[arg-type]
    op = ir.Attention("a", ("x",), "y", 32, 64, 0, 32, ir.Divide(9, 8, (1 << 40) + 6, -7), mode)
    return replace(op, **changes)


def test_attention_blob() -> None:
    op = attention()
    rows = layout.attention_rows(op, -8)
    words = [2, 4, 0, 2, -8, 9, 8, -7, 6, 1 << 8, 13, -1, -2, -3, 70_000, 20, -4, 80_000, 21, -5, -6]
    assert layout.decode_words(rows[0])[:21].tolist() == words
    assert op.quantized is not None
    tables = (op.quantized.q_table, op.quantized.k_table, op.quantized.v_table, op.quantized.d_table)
    assert np.array_equal(rows[1:].ravel().view(np.int8), np.concatenate(tables))
    fused = layout.attention_rows(attention(quantized=None), -8)
    assert fused.shape == (1, 128) and layout.decode_words(fused[0])[:10].tolist() == words[:10]


def test_tables() -> None:
    table = np.arange(4096).astype(np.int8)
    assert layout.table_rows(table).shape == (32, 128)
    assert np.array_equal(layout.table_rows(table).ravel().view(np.int8), table)
    images = np.random.default_rng(0).integers(-128, 128, (3, 256), np.int8)
    rows = layout.input_table_rows(images)
    assert rows.shape == (6, 128) and rows[4, 5] == np.uint8(images[2, 5].astype(np.uint8))


def test_stripes() -> None:
    rows = np.random.default_rng(0).integers(0, 256, (7, 128), np.uint8)
    data = layout.stripe(rows)
    for port in range(4):
        for row in range(7):
            start = port * 7 * 32 + row * 32
            assert data[start : start + 32] == rows[row, 32 * port : 32 * port + 32].tobytes()
    assert np.array_equal(layout.unstripe(data, 7), rows)


def test_input_frame_and_output_tensor() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 7, 3), np.uint8)
    data = layout.pack_input(image)
    assert len(data) == 3 * 32
    for y in range(3):
        assert data[y * 32 : y * 32 + 21] == image[y].tobytes() and data[y * 32 + 21 : y * 32 + 32] == bytes(11)
    assert layout.pack_input(image.view(np.int8)) == data
    words = np.random.default_rng(1).integers(-128, 128, (2, 3, 5, 16), np.int8)
    tensor = layout.unpack_output(words.tobytes(), (20, 3, 5))
    assert tensor.shape == (20, 3, 5)
    assert all(tensor[c, y, x] == words[c // 16, y, x, c % 16] for c, y, x in np.ndindex(20, 3, 5))


def test_sizes() -> None:
    assert [layout.channel_groups(c) for c in (1, 16, 17)] == [1, 1, 2]
    assert [layout.plane_rows(*p) for p in ((1, 1), (4, 4), (3, 7))] == [1, 1, 2]
    assert layout.is_packed(np.array([-127, 127], np.int8)) and not layout.is_packed(np.array([0, -128], np.int8))


def big(op: ir.Conv, **changes: Any) -> ir.Conv:
    return replace(op, requant=replace(op.requant, **{k: np.full(len(op.weight), v) for k, v in changes.items()}))


NORM = ir.LayerNorm("n", "x", "y", np.ones(4, np.int32), np.ones(4, np.int64), 20, 1, 0)
POOL = ir.Pool("p", "x", "y", 1, 1, 0)
DENSE = conv(20, 20, (1, 1))
MODE = attention().quantized
assert MODE is not None

WRONG = {
    "no channels": lambda: layout.channel_groups(0),
    "no rows": lambda: layout.plane_rows(0, 4),
    "unaligned groups": lambda: layout.group_structure(conv(16, 16, (1, 1), 2)),
    "uneven groups": lambda: layout.group_structure(replace(conv(33, 32, (1, 1)), groups=2)),
    "zero point": lambda: layout.convolution_rows(DENSE, 128, 1, 0, 1),
    "group range": lambda: layout.convolution_rows(DENSE, 0, 1, 1, 2),
    "no groups": lambda: layout.convolution_rows(DENSE, 0, 1, 0, 0),
    "no tile": lambda: layout.convolution_rows(DENSE, 0, 0, 0, 1),
    "weight type": lambda: layout.convolution_rows(replace(DENSE, weight=DENSE.weight.astype(np.int16)), 0, 1, 0, 1),
    "bias size": lambda: layout.convolution_rows(replace(DENSE, bias=DENSE.bias[:1]), 0, 1, 0, 1),
    "init": lambda: layout.convolution_rows(replace(DENSE, bias=DENSE.bias + (1 << 32)), 0, 1, 0, 1),
    "multiplier": lambda: layout.convolution_rows(big(DENSE, multiplier=1 << 17), 0, 1, 0, 1),
    "negative multiplier": lambda: layout.convolution_rows(big(DENSE, multiplier=-1), 0, 1, 0, 1),
    "shift": lambda: layout.convolution_rows(big(DENSE, shift=48), 0, 1, 0, 1),
    "float multiplier": lambda: layout.convolution_rows(big(DENSE, multiplier=1.5), 0, 1, 0, 1),
    "not depthwise": lambda: layout.depthwise_rows(DENSE, 0, 0, 1),
    "linear rank": lambda: layout.linear_rows(replace(DENSE), 0, 0, 1),  # type: ignore[arg-type]
    "pool multiplier": lambda: layout.pool_rows(replace(POOL, multiplier=1 << 17), 4, 0),
    "pool shift": lambda: layout.pool_rows(replace(POOL, shift=48), 4, 0),
    "pool pixels": lambda: layout.pool_rows(POOL, 0, 0),
    "gamma": lambda: layout.layer_norm_rows(replace(NORM, gamma=np.full(4, 1 << 17, np.int32)), 0),
    "beta": lambda: layout.layer_norm_rows(replace(NORM, beta=np.full(4, 1 << 45)), 0),
    "beta size": lambda: layout.layer_norm_rows(replace(NORM, beta=np.ones(3, np.int64)), 0),
    "epsilon": lambda: layout.layer_norm_rows(replace(NORM, epsilon=0), 0),
    "norm zero": lambda: layout.layer_norm_rows(replace(NORM, zero_point=128), 0),
    "head size": lambda: layout.attention_rows(attention(head_dim=24), 0),
    "head offsets": lambda: layout.attention_rows(attention(q_offset=0), 0),
    "divide": lambda: layout.attention_rows(attention(divide=ir.Divide(1 << 31, 1, 0, 0)), 0),
    "divide epsilon": lambda: layout.attention_rows(attention(divide=ir.Divide(1, 1, -1, 0)), 0),
    "attention table": lambda: layout.attention_rows(attention(quantized=replace(MODE, q_table=MODE.q_table[:9])), 0),
    "attention code": lambda: layout.attention_rows(attention(quantized=replace(MODE, ones=128)), 0),
    "table size": lambda: layout.table_rows(np.zeros(255, np.int8)),
    "table type": lambda: layout.table_rows(np.zeros(256, np.int16)),  # type: ignore[arg-type]
    "image table": lambda: layout.input_table_rows(np.zeros((3, 255), np.int8)),
    "rows": lambda: layout.stripe(np.zeros((2, 64), np.uint8)),
    "stripes": lambda: layout.unstripe(bytes(100), 1),
    "input type": lambda: layout.pack_input(np.zeros((2, 2, 3), np.float32)),
    "input rank": lambda: layout.pack_input(np.zeros((2, 2), np.int8)),
    "output size": lambda: layout.unpack_output(bytes(15), (1, 1, 1)),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_raises(name: str) -> None:
    with pytest.raises(InternalError):
        WRONG[name]()
