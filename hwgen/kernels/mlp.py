# SPDX-License-Identifier: Apache-2.0
"""The MLP kernels' own arithmetic: global average pool and LayerNormalization on integers."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from hwgen import numerics as nx

NORM_FRACTION = 18
"""Fraction bits of the normalized value; |x_hat| <= sqrt(N) <= 64, so it fits a signed 25-bit DSP port."""
NORM_CHANNELS_MAX = 4096
ROOT_BITS = 26
RECIPROCAL_SHIFT = 49


def norm_reciprocal(count: int, total: int, squares: int, epsilon: int) -> tuple[int, int]:
    """``(reciprocal, shift)`` with ``reciprocal / 2**shift ~ 1 / sqrt(count*squares - total**2 + epsilon)``.

    The variance is scaled by a power of four into [2^50, 2^52), so its root has 26 bits and the reciprocal 24 or 25.
    Both are floored: the relative error is below 2^-25 + 2^-23.
    """
    variance = count * squares - total * total + epsilon
    half = (2 * ROOT_BITS - variance.bit_length()) // 2  # variance * 4**half has 51 or 52 bits
    scaled = variance << (2 * half) if half >= 0 else variance >> (-2 * half)
    root = math.isqrt(scaled)
    return (1 << RECIPROCAL_SHIFT) // root, RECIPROCAL_SHIFT - half


def layer_norm(
    codes: npt.ArrayLike,
    zero_point_in: int,
    gamma: npt.ArrayLike,
    beta: npt.ArrayLike,
    shift: int,
    epsilon: int,
    zero_point: int,
) -> nx.Int8:
    """LayerNormalization of one vector of N int8 codes to int8 codes.

    With ``u = x - zero_point_in``, ``S = sum u``, ``Q = sum u^2``: ``t = N u - S`` and ``x_hat = t / sqrt(N Q - S^2 +
    epsilon)`` in fixed point with 18 fraction bits, then ``saturate(shift_round(x_hat * gamma + beta, shift) +
    zero_point)``. Error of ``x_hat``: at most 2^-19 + 64 * 2^-22.4 < 2^-15.8 for any N <= 4096.
    """
    u = np.asarray(codes, np.int64) - zero_point_in
    count, total, squares = len(u), int(u.sum()), int((u * u).sum())
    reciprocal, scale = norm_reciprocal(count, total, squares, epsilon)
    x_hat = nx.shift_round((count * u - total) * np.int64(reciprocal), scale - NORM_FRACTION)
    value = nx.shift_round(x_hat * np.asarray(gamma, np.int64) + np.asarray(beta, np.int64), shift)
    return nx.saturate(value + zero_point)
