# SPDX-License-Identifier: Apache-2.0
"""Find ReLU linear attention by dataflow.

By the time a quotient is quantized, every edge behind it knows which element of which tensor it holds
(:mod:`hwgen.frontend.values`). So the matcher asks what the numbers are, not which nodes or names produced them: is
each output element sum_c q[p, c] sum_t k[t, c] v[t, e] over the same with v = 1, for Q, K and V in consecutive channel
blocks of each head? Transposes, slices and reshapes may stand anywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen import numerics as nx
from hwgen.frontend.values import Function, Index, Real, Root, Unsupported, is_identity, table_of
from hwgen.ir import Attention, Divide, Quant, QuantizedAttention, Shape

HINT = "Products of activations are mapped only inside ReLU linear attention, as in EfficientViT"
PRODUCTS_MAX = 1 << 26
"""Index pairs the matcher is willing to look at."""


def _require(condition: Any, reason: str) -> None:
    if not condition:
        raise Unsupported(reason, HINT)


@dataclass(frozen=True, eq=False)
class Product:
    """A MatMul in canonical orientation: element (b, row, col) = sum_k left[b, row, k] * right[b, col, k].

    ``left`` is the operand named by the caller (Q or V), ``right`` the other; ``where`` maps the MatMul's flat output
    positions to (b, row, col).
    """

    left: Index
    right: Index
    rows: Index
    cols: Index
    batch: Index


def _three(index: Index) -> Index:
    return index.reshape(-1, *index.shape[-2:])


def _orient(root: Root, left: Real, right: Real, swapped: bool) -> Product:
    """``swapped``: the MatMul is right^T-first, that is left is its second operand."""
    shape = (math.prod(root.shape[:-2]), *root.shape[-2:])
    _require(left.shape[:-2] == right.shape[:-2] == root.shape[:-2], "its operands are broadcast")
    li, ri = _three(left.full_index()), _three(right.full_index())
    _require(li.size * shape[-1] <= PRODUCTS_MAX and ri.size * shape[-2] <= PRODUCTS_MAX, "it is too large")
    batch, first, second = np.indices(shape)
    if swapped:  # (right @ left): rows of the output belong to right
        return Product(li.transpose(0, 2, 1), ri, second.ravel(), first.ravel(), batch.ravel())
    return Product(li, ri.transpose(0, 2, 1), first.ravel(), second.ravel(), batch.ravel())


def _tensor_sources(value: Real) -> bool:
    return all(s.tensor is not None for s in value.sources)


def _product_root(value: Real) -> bool:
    return len(value.sources) == 1 and value.sources[0].kind == "matmul" and value.sources[0].tensor is None


@dataclass(frozen=True, eq=False)
class Operands:
    """The real edges of one attention, before anything is checked about their arrangement."""

    numerator: Real
    denominator: Real
    product: Root
    q: Real
    kv: Real
    inner: Root
    k: Real
    v: Real


def _operands(div: Root) -> Operands:
    numerator, denominator = div.record
    _require(_product_root(numerator) and _product_root(denominator), "is a division that is no attention")
    product = numerator.sources[0]
    _require(denominator.sources[0] is product, "divides by something that is not its own normalizer")
    a, b = product.record
    q, kv = (a, b) if _tensor_sources(a) else (b, a)
    _require(_tensor_sources(q) and _product_root(kv), "is not a product of Q with K^T V")
    inner = kv.sources[0]
    c, d = inner.record
    v, k = (d, c) if d.pad is not None else (c, d)
    _require(v.pad is not None, "V has no column of ones for the normalizer")
    _require(all(r.pad is None for r in (numerator, denominator, q, kv, k)), "something other than V is padded")
    _require(_tensor_sources(k) and _tensor_sources(v), "K or V is not a quantized tensor")
    _require(q.sources == k.sources == v.sources, "Q, K and V come from different tensors")
    return Operands(numerator, denominator, product, q, kv, inner, k, v)


def _geometry(value: Real, o: Operands, pixels: int) -> tuple[int, int, int, int]:
    """(head_dim, q_offset, k_offset, v_offset) after proving that every output element is the attention's.

    Raises Unsupported where an element is anything else.
    """
    outer = _orient(o.product, o.q, o.kv, swapped=o.product.record[0] is not o.q)
    inner = _orient(o.inner, o.v, o.k, swapped=o.inner.record[0] is not o.v)
    # Output element -> (batch, pixel row, column) of the outer product, for numerator and denominator.
    div_shape = value.sources[0].shape
    chosen = value.full_index().reshape(-1)
    num = np.broadcast_to(o.numerator.full_index(), div_shape).reshape(-1)[chosen].reshape(-1, pixels)
    den = np.broadcast_to(o.denominator.full_index(), div_shape).reshape(-1)[chosen].reshape(-1, pixels)
    _require(chosen.min() >= 0 and num.min() >= 0 and den.min() >= 0, "its result is padded")
    batch, row, col = outer.batch[num], outer.rows[num], outer.cols[num]
    _require((batch == batch[:, :1]).all() and (col == col[:, :1]).all(), "an output channel mixes heads")
    same = (outer.batch[den] == batch).all() and (outer.rows[den] == row).all()
    den_col = outer.cols[den]
    _require(same and (den_col == den_col[:, :1]).all(), "a pixel is divided by another pixel's normalizer")
    batch, col, den_col = batch[:, 0], col[:, 0], den_col[:, 0]
    # Q: element (b, row, c) of the outer product's left operand -> (channel, pixel) of the source tensors.
    q_channel, q_pixel = np.divmod(outer.left, pixels)
    _require((q_channel == q_channel[:, :1]).all(), "Q's channels change from pixel to pixel")
    _require((q_pixel == q_pixel[:1, :, :1]).all(), "Q's pixels change from channel to channel")
    _require((q_pixel[0, row, 0] == np.arange(pixels)).all(), "output pixels are not Q's pixels")
    q_channel = q_channel[:, 0]  # (b, c)
    # K^T V entries that each (b, column, c) of the outer product reads -> (batch, v row, k row) of the inner product.
    entry = outer.right
    kv_batch, kv_v, kv_k = inner.batch[entry], inner.rows[entry], inner.cols[entry]
    k_channel, k_pixel = np.divmod(inner.right, pixels)
    v_channel, v_pixel = np.divmod(inner.left, pixels)
    ones = inner.left < 0
    _require((k_channel == k_channel[:, :, :1]).all(), "K's channels change from pixel to pixel")
    order = k_pixel[:1, :1]
    _require((k_pixel == order).all() and (np.sort(order.ravel()) == np.arange(pixels)).all(), "K skips pixels")
    _require((ones.all(axis=2) == ones.any(axis=2)).all(), "V mixes ones and values")
    _require((v_pixel == order)[~ones].all(), "K and V are summed over different pixels")
    # For every output channel: which K channels (in Q's order) and which V channel it uses.
    rows_b, rows_v, rows_k = kv_batch[batch, col], kv_v[batch, col], kv_k[batch, col]  # (channels, c)
    den_b, den_v, den_k = kv_batch[batch, den_col], kv_v[batch, den_col], kv_k[batch, den_col]
    _require(ones[den_b, den_v].all(), "the normalizer is not a sum over K")
    used_k = k_channel[rows_b, rows_k, 0]
    _require((used_k == k_channel[den_b, den_k, 0]).all(), "numerator and normalizer use different channels")
    _require(not ones[rows_b, rows_v].any(), "the numerator uses the column of ones")
    used_v = v_channel[rows_b, rows_v, 0]
    _require((used_v == used_v[:, :1]).all(), "a K^T V column mixes V channels")
    used_q, used_v = q_channel[batch], used_v[:, 0]
    dim = used_q.shape[1]
    channels = len(batch)
    _require(channels % dim == 0, "output channels are not whole heads")
    head = np.arange(channels) // dim
    base = head * 3 * dim
    sort = np.argsort(used_q, axis=1)
    q_sorted = np.take_along_axis(used_q, sort, axis=1) - base[:, None]
    k_sorted = np.take_along_axis(used_k, sort, axis=1) - base[:, None]
    v_offset = used_v - base - np.arange(channels) % dim
    q_off, k_off, v_off = int(q_sorted[0, 0]), int(k_sorted[0, 0]), int(v_offset[0])
    arranged = (q_sorted == q_off + np.arange(dim)).all() and (k_sorted == k_off + np.arange(dim)).all()
    arranged = arranged and (v_offset == v_off).all() and sorted((q_off, k_off, v_off)) == [0, dim, 2 * dim]
    _require(arranged, "Q, K and V of a head are not three consecutive channel blocks")
    return dim, q_off, k_off, v_off


def match(value: Real, quant: Quant) -> tuple[Attention, Shape]:
    """The attention behind a quotient that is about to be quantized to ``quant``.

    Returns the operator (its ``y`` still empty) and its output shape (C, H, W). Raises Unsupported with the first
    property that does not hold.
    """
    div = value.root
    _require(value.functions[0].identity, "is followed by a float activation")
    o = _operands(div)
    names = tuple(s.tensor for s in o.q.sources if s.tensor is not None)
    shapes = [s.shape[-3:] for s in o.q.sources]
    _, height, width = shapes[0]
    _require(all(s[1:] == (height, width) for s in shapes), "Q, K, V come from maps of different size")
    quants = {s.quant for s in o.q.sources}
    _require(len(quants) == 1, "the concatenated tensors have different scales")
    source = next(iter(quants))
    assert source is not None
    dim, q_off, k_off, v_off = _geometry(value, o, height * width)
    if dim not in (16, 32):
        raise Unsupported(f"its heads have {dim} channels", "Heads of 16 or 32 channels are mapped")
    _require(all(s[0] % (3 * dim) == 0 for s in shapes), "a head is split over two tensors")
    tables = o.product.quant is not None or o.inner.quant is not None
    divide, spec = (_quantized if tables else _fused)(o, source, quant, dim, height * width)
    op = Attention(div.name, names, "", dim, q_off, k_off, v_off, divide, spec)
    total = sum(s[0] for s in shapes) // 3
    _require(math.prod(value.shape) == total * height * width, "it leaves heads out")
    return op, (total, height, width)


def _one_table(value: Real, source: Quant, target: Quant, what: str) -> npt.NDArray[np.int8]:
    tables = [table_of(f, source, target) for f in value.functions]
    _require(all(np.array_equal(tables[0], t) for t in tables), f"{what} differs between the concatenated tensors")
    return tables[0]


def _levels(function: Function, source: Quant) -> npt.NDArray[np.float32]:
    result: npt.NDArray[np.float32] = function.call(nx.dequantize(nx.ALL_CODES, source.scale, source.zero_point))
    return result


def _fused(o: Operands, source: Quant, quant: Quant, dim: int, pixels: int) -> tuple[Divide, None]:
    """Float between Q/DQ: relu, two products, epsilon, division. Exact on integers up to the last rounding."""
    levels = nx.dequantize(nx.ALL_CODES, source.scale, source.zero_point)
    rectified = np.maximum(levels, np.float32(0))
    for value, what, expected in ((o.q, "Q", rectified), (o.k, "K", rectified), (o.v, "V", levels)):
        for function in value.functions:
            _require(np.array_equal(_levels(function, source), expected), f"{what} is not the expected function")
    _require(o.v.pad == 1.0, "the normalizer's column is not 1")
    _require(o.kv.functions[0].identity and o.numerator.functions[0].identity, "a product is changed in between")
    epsilon = float(o.denominator.functions[0].call(np.float32(0)))
    probe = np.array([epsilon, 1.0, 7.5, 1e4], np.float32)  # at epsilon an addition differs from a maximum
    shifted = o.denominator.functions[0].call(probe)
    same = np.allclose(shifted, probe + np.float32(epsilon), rtol=1e-5, atol=0)
    _require(same and math.isfinite(epsilon) and epsilon >= 0, "the normalizer is changed")
    multiplier, shift = nx.quantize_multiplier(quant.scale / source.scale)
    unit = quant.scale / source.scale / source.scale**2
    divide = Divide(multiplier, shift, round(math.ldexp(epsilon * unit, shift)), quant.zero_point)
    largest = 255 * 255 * pixels * 255 * dim  # |numerator|, |normalizer| <= largest
    _require(largest.bit_length() + shift <= 62, "its numerator needs more than 62 bits")
    bound = (255 * pixels * 255 * dim * multiplier + divide.epsilon).bit_length()
    _require(bound <= 62, "its normalizer needs more than 62 bits")
    return divide, None


def _quantized(o: Operands, source: Quant, quant: Quant, dim: int, pixels: int) -> tuple[Divide, QuantizedAttention]:
    """Every edge quantized."""
    kv, n = o.inner.quant, o.product.quant
    quants = [o.q.quant, o.k.quant, o.v.quant, kv, n, o.denominator.quant]
    if any(q is None for q in quants):
        raise Unsupported("only some of the attention's edges are quantized", "Quantize all of them, or none")
    qq, qk, qv, kv, n, qd = (q for q in quants if q is not None)
    _require(is_identity(table_of(o.kv.functions[0], kv, kv)) and o.kv.quant == kv, "K^T V is quantized twice")
    _require(
        is_identity(table_of(o.numerator.functions[0], n, n)) and o.numerator.quant == n,
        "the numerator is quantized twice",
    )
    assert o.v.pad is not None
    spec = QuantizedAttention(
        _one_table(o.q, source, qq, "Q"),
        _one_table(o.k, source, qk, "K"),
        _one_table(o.v, source, qv, "V"),
        table_of(o.denominator.functions[0], n, qd),
        qq.zero_point,
        qk.zero_point,
        qv.zero_point,
        int(nx.quantize(np.float32(o.v.pad), qv.scale, qv.zero_point)),
        (*nx.quantize_multiplier(qk.scale * qv.scale / kv.scale), kv.zero_point),
        (*nx.quantize_multiplier(qq.scale * kv.scale / n.scale), n.zero_point),
        qd.zero_point,
        o.inner.name,
        o.product.name,
    )
    multiplier, shift = nx.quantize_multiplier(qd.scale * quant.scale / n.scale)
    return Divide(multiplier, shift, 0, quant.zero_point), spec
