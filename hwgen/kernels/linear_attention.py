# SPDX-License-Identifier: Apache-2.0
"""The linear-attention kernel: relu(Q) (relu(K)^T V) / normalizer on integers, in both modes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hwgen import numerics as nx
from hwgen.ir import Attention, QuantizedAttention

Codes = npt.NDArray[np.int8]

SUM_BITS_MIN = 20
"""A sum K^T V has at least these bits in hardware: those of 16 products q x digit."""
DIVIDE_BITS_MIN = 32
DIGITS_MARGIN = 0x8080
"""Three digits of -128 to 127 hold values below 2^23 less this."""


def sum_bits(op: Attention, zero_point: int, pixels: int) -> int:
    """Bits, with the sign, of the largest sum K^T V that this attention can reach over ``pixels`` pixels, as the
    hardware needs them (``Config.attention_bits``): of exact sums, which it splits into digits; of sums of k times the
    code of v, where they are requantized."""
    if op.quantized is None:
        relu, value = 127 - zero_point, max(127 - zero_point, 128 + zero_point)
        largest = pixels * relu * value + DIGITS_MARGIN
    else:
        keys = op.quantized.k_table.astype(np.int64) - op.quantized.k_zero
        largest = pixels * int(np.abs(keys).max()) * 128
    return max(largest.bit_length() + 1, SUM_BITS_MIN)


def divide_bits(op: Attention, zero_point: int, pixels: int) -> int:
    """Bits of the largest scaled numerator and of the largest denominator over ``pixels`` pixels
    (``Config.attention_divide_bits``)."""
    n = d = 255
    if op.quantized is None:
        relu, value = 127 - zero_point, max(127 - zero_point, 128 + zero_point)
        n, d = op.head_dim * relu * relu * value * pixels, op.head_dim * relu * relu * pixels
    largest = max(n << op.divide.shift, d * op.divide.multiplier + op.divide.epsilon)
    return max(largest.bit_length(), DIVIDE_BITS_MIN)


def heads(x: Codes, op: Attention, offset: int) -> Codes:
    """Q, K or V of all heads of one tensor: (3*d*h, H, W) -> (h, d, P)."""
    stacked = x.reshape(-1, 3 * op.head_dim, x.shape[1] * x.shape[2])
    return stacked[:, offset : offset + op.head_dim]


def _matmul(a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Integer product through float64 BLAS; exact because the planner proves every sum below 2^53."""
    product: npt.NDArray[np.float64] = a.astype(np.float64) @ b.astype(np.float64)
    return product.astype(np.int64)


def attend(x: Codes, op: Attention, zero_point: int) -> Codes:
    """One tensor (3*d*h, H, W) -> (d*h, H, W)."""
    q, k, v = (heads(x, op, o) for o in (op.q_offset, op.k_offset, op.v_offset))
    out = _quantized(q, k, v, op) if op.quantized else _fused(q, k, v, op, zero_point)
    return out.reshape(-1, *x.shape[1:])


def _fused(q: Codes, k: Codes, v: Codes, op: Attention, zero_point: int) -> Codes:
    """Exact up to the one rounding division."""
    relu_q = np.maximum(q.astype(np.int64) - zero_point, 0)
    relu_k = np.maximum(k.astype(np.int64) - zero_point, 0)
    values = v.astype(np.int64) - zero_point
    kv = _matmul(values, relu_k.transpose(0, 2, 1))  # (h, d_v, d_k)
    numerator = _matmul(kv, relu_q)  # (h, d_v, P)
    normalizer = _matmul(relu_k.sum(axis=2)[:, None, :], relu_q)  # (h, 1, P)
    denominator = normalizer * op.divide.multiplier + op.divide.epsilon
    quotient = nx.divide_round(numerator << op.divide.shift, np.maximum(denominator, 1))
    quotient = np.where(denominator == 0, 0, quotient)
    return nx.saturate(quotient + op.divide.zero_point)


def _quantized(q: Codes, k: Codes, v: Codes, op: Attention) -> Codes:
    kv = quantized_kv(k, v, op)
    return quantized_quotient(quantized_product(q, kv, op), op)


def _spec(op: Attention) -> QuantizedAttention:
    assert op.quantized is not None
    return op.quantized


def quantized_kv(k: Codes, v: Codes, op: Attention) -> Codes:
    """Codes of V^T K with the row of ones: (h, d, P) twice -> (h, d + 1, d)."""
    spec = _spec(op)
    k_units = nx.lookup(spec.k_table, k).astype(np.int64) - spec.k_zero
    v_codes = nx.lookup(spec.v_table, v)
    ones = np.full((v_codes.shape[0], 1, v_codes.shape[2]), spec.ones, np.int8)
    v_units = np.concatenate([v_codes, ones], axis=1).astype(np.int64) - spec.v_zero
    return nx.requantize(_matmul(v_units, k_units.transpose(0, 2, 1)), *spec.requant_kv)


def quantized_product(q: Codes, kv: Codes, op: Attention) -> Codes:
    """Codes of numerators and, last, normalizers: (h, d, P), (h, d + 1, d) -> (h, d + 1, P)."""
    spec = _spec(op)
    q_units = nx.lookup(spec.q_table, q).astype(np.int64) - spec.q_zero
    return nx.requantize(_matmul(kv.astype(np.int64) - spec.requant_kv[2], q_units), *spec.requant_n)


def quantized_quotient(n: Codes, op: Attention) -> Codes:
    """The division of codes: (h, d + 1, P) -> (h, d, P). n/0 is 127 for n > 0, else -128."""
    spec = _spec(op)
    numerator = n[:, :-1].astype(np.int64) - spec.requant_n[2]
    denominator = nx.lookup(spec.d_table, n[:, -1:]).astype(np.int64) - spec.d_zero
    sign = np.where(denominator < 0, -1, 1)
    scaled = np.maximum(np.abs(denominator) * op.divide.multiplier, 1)
    quotient = nx.divide_round((numerator * sign) << op.divide.shift, scaled) + op.divide.zero_point
    by_zero = np.where(numerator > 0, 127, -128)
    return nx.saturate(np.where(denominator == 0, by_zero, quotient))
