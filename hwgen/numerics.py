# SPDX-License-Identifier: Apache-2.0
"""The integer arithmetic of hwgen, written once.

Every machine (direct reference, Program reference, HLS C++, later RTL) computes exactly these functions. Nothing here
is approximate: where a float appears it is a *compile-time* float that ends as an integer constant or a table.

Rules (docs/integer-semantics.md explains them):

* rounding is to nearest, ties to even, always;
* a scale ratio is a 17-bit multiplier and a right shift;
* the output zero point is added after rounding, then the code saturates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]
Int8 = npt.NDArray[np.int8]
Float32 = npt.NDArray[np.float32]

MULTIPLIER_BITS = 17
"""An accumulator times such a multiplier is one DSP."""
ADD_MULTIPLIER_BITS = 20
"""Of the residual add. Its operands are 8-bit codes, and with 17 bits frequent pairs of codes may fall on the wrong
side of a tie: a measured add then differed from float in 0.13 % of its values."""
SHIFT_MAX = 47
ACCUMULATOR_LIMIT = 1 << 26
"""A convolution's accumulator must be proven to stay strictly inside +-2^26."""
QUOTIENT_LIMIT = 511
"""The divider delivers 9 quotient bits; larger quotients saturate every int8 code for every zero point."""


class ScaleRatioError(ValueError):
    """A ratio of scales that no multiplier and right shift can express."""


def shift_round(value: npt.ArrayLike, shift: npt.ArrayLike) -> Int64:
    """``value / 2**shift`` rounded to nearest, ties to even. ``shift`` >= 0; both broadcast; int64 throughout."""
    value = np.asarray(value, np.int64)
    shift = np.asarray(shift, np.int64)
    floor = value >> shift
    remainder = value - (floor << shift)
    double = remainder << 1
    unit = np.int64(1) << shift
    up = (double > unit) | ((double == unit) & ((floor & 1) == 1))
    rounded: Int64 = floor + up
    return rounded


def divide_round(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> Int64:
    """``numerator / denominator`` rounded to nearest, ties to even, clipped to +-QUOTIENT_LIMIT.

    ``denominator`` must be > 0 (callers decide what n/0 means); int64; ``2 * denominator`` must not overflow.
    """
    numerator = np.asarray(numerator, np.int64)
    denominator = np.asarray(denominator, np.int64)
    floor = numerator // denominator
    remainder = numerator - floor * denominator
    double = remainder << 1
    up = (double > denominator) | ((double == denominator) & ((floor & 1) == 1))
    clipped: Int64 = np.clip(floor + up, -QUOTIENT_LIMIT, QUOTIENT_LIMIT)
    return clipped


def saturate(value: npt.ArrayLike, bits: int = 8) -> npt.NDArray[Any]:
    """Clip to a signed ``bits``-bit code: int8 for 8 bits, else int16."""
    limit = 1 << (bits - 1)
    return np.clip(value, -limit, limit - 1).astype(np.int8 if bits == 8 else np.int16)


def requantize(
    acc: npt.ArrayLike, multiplier: npt.ArrayLike, shift: npt.ArrayLike, zero_point: int, bits: int = 8
) -> npt.NDArray[Any]:
    """``saturate(shift_round(acc * multiplier, shift) + zero_point, bits)``; |acc| <= 2^31, multiplier < 2^17.

    Computed in float64, which is exact here and several times faster than int64: the product has at most 48 bits,
    scaling by a power of two is exact, and ``rint`` rounds ties to even. A test compares it with the integers.
    """
    factor = np.ldexp(np.asarray(multiplier, np.float64), -np.asarray(shift, np.int64))
    scaled = np.asarray(acc, np.float64) * factor
    return saturate(np.rint(scaled) + zero_point, bits)


def quantize_multiplier(ratio: float, bits: int = MULTIPLIER_BITS) -> tuple[int, int]:
    """A positive real ``ratio`` as ``(multiplier, shift)`` with ``multiplier / 2**shift ~ ratio``.

    The multiplier has exactly ``bits`` bits unless the ratio is so small that the shift is at its limit (then every
    accumulator rounds to zero anyway). Raises ScaleRatioError for ratios not finite, not positive, or too large.
    """
    if not math.isfinite(ratio) or ratio <= 0.0:
        raise ScaleRatioError(f"scale ratio {ratio} is not a positive finite number")
    _, exponent = math.frexp(ratio)  # ratio = f * 2**exponent, 0.5 <= f < 1
    shift = min(bits - exponent, SHIFT_MAX)
    multiplier = round(math.ldexp(ratio, shift)) if shift >= 0 else 0
    if multiplier == 1 << bits:  # rounding carried into the next power of two
        multiplier >>= 1
        shift -= 1
    if shift < 0:
        raise ScaleRatioError(f"scale ratio {ratio} needs more than {bits} integer bits")
    return multiplier, shift


def quantize_multipliers(ratios: npt.ArrayLike) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """:func:`quantize_multiplier` over a vector: int32 multipliers and shifts."""
    pairs = [quantize_multiplier(float(r)) for r in np.asarray(ratios, np.float64).ravel()]
    return np.array([m for m, _ in pairs], np.int32), np.array([s for _, s in pairs], np.int32)


def add_constants(
    scale_a: float, zero_a: int, scale_b: float, zero_b: int, scale_y: float
) -> tuple[int, int, int, int]:
    """Fixed-point constants ``(ma, mb, constant, shift)`` of a residual add; see :func:`add_requantize`.

    Both operands share one shift; the larger multiplier has ADD_MULTIPLIER_BITS bits.
    """
    ra, rb = scale_a / scale_y, scale_b / scale_y
    _, shift = quantize_multiplier(max(ra, rb), ADD_MULTIPLIER_BITS)
    ma, mb = round(math.ldexp(ra, shift)), round(math.ldexp(rb, shift))
    return ma, mb, -(ma * zero_a + mb * zero_b), shift


def add_requantize(
    a: npt.ArrayLike, b: npt.ArrayLike, ma: int, mb: int, constant: int, shift: int, zero_point: int
) -> Int8:
    """Residual add of two int8 tensors: ``saturate(shift_round(ma*a + mb*b + constant, shift) + zero_point)``.

    In float64 like :func:`requantize`: every intermediate is an integer below 2^31.
    """
    total = np.asarray(a, np.float64) * ma + np.asarray(b, np.float64) * mb + float(constant)
    return saturate(np.rint(np.ldexp(total, -shift)) + zero_point)


# --------------------------------------------------------------------------------------------------------------------
# Compile-time float functions. They follow ONNX Runtime's float32 kernels step by step, so that a table equals them.


def dequantize(codes: npt.ArrayLike, scale: float, zero_point: int) -> Float32:
    """ONNX DequantizeLinear in float32."""
    units = (np.asarray(codes, np.int32) - np.int32(zero_point)).astype(np.float32)
    with np.errstate(over="ignore"):
        real: Float32 = units * np.float32(scale)
    return real


def quantize(values: npt.ArrayLike, scale: float, zero_point: int) -> Int8:
    """ONNX QuantizeLinear to int8 in float32; NaN becomes -128 and infinities saturate, as ONNX Runtime on x86 does."""
    with np.errstate(all="ignore"):
        scaled = np.rint(np.asarray(values, np.float32) / np.float32(scale)).astype(np.float64) + zero_point
    scaled = np.where(np.isnan(scaled), -128.0, scaled)
    return np.clip(scaled, -128, 127).astype(np.int8)


ALL_CODES: Int8 = np.arange(-128, 128, dtype=np.int8)
"""Every int8 code, in the order of a 256-entry table (index = code + 128)."""

MID_BITS = 12
ALL_MID: npt.NDArray[np.int16] = np.arange(-2048, 2048, dtype=np.int16)
"""Every 12-bit intermediate code, in the order of a 4,096-entry table (index = code + 2048)."""


def lookup(table: Int8, codes: npt.ArrayLike) -> Int8:
    """Apply a 256- or 4,096-entry table to signed codes."""
    entries: Int8 = np.take(table, np.asarray(codes, np.int16) + np.int16(len(table) // 2))
    return entries


Pointwise = Callable[[Any], Any]
"""A float32 -> float32 function of one variable, vectorised."""


def intermediate_range(
    function: Pointwise, scale: float, zero_point: int, low: float, high: float
) -> tuple[float, int]:
    """Scale and zero point of the 12-bit intermediate in front of ``function``.

    ``low``/``high`` bound the real accumulator. The range is narrowed to where the quantized function still changes:
    outside, the table's end entries are right for every input. Returns (scale, zero point of the 12-bit code).
    """
    grid = np.linspace(low, high, 1 << 16, dtype=np.float32)
    codes = quantize(function(grid), scale, zero_point).astype(np.int32)
    change = np.flatnonzero(np.diff(codes))
    if len(change) == 0:
        lo, hi = low, high
    else:
        lo, hi = float(grid[change[0]]), float(grid[min(change[-1] + 1, len(grid) - 1)])
        margin = (hi - lo) / 2048.0
        lo, hi = max(low, lo - margin), min(high, hi + margin)
    step = max(hi - lo, 1e-30) / 4095.0
    return step, -2048 - round(lo / step)
