# SPDX-License-Identifier: Apache-2.0
"""The arithmetic against exact rationals and against float64."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from hwgen import numerics as nx
from hwgen.kernels import mlp


def exact_round(value: Fraction) -> int:
    """Python's own round-half-even on a rational: independent of the code under test."""
    return round(value)


def test_shift_round_equals_rationals() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.integers(-(2**46), 2**46, 500), np.arange(-70, 70)])
    for shift in (0, 1, 2, 3, 5, 17, 40, 47):
        expected = [exact_round(Fraction(int(v), 1 << shift)) for v in values]
        assert np.array_equal(nx.shift_round(values, shift), expected)


def test_requantize_in_float_equals_integers() -> None:
    """The fast form must equal shift_round bit for bit, ties and extremes included."""
    rng = np.random.default_rng(2)
    acc = np.concatenate([rng.integers(-(2**31), 2**31, 50_000), np.arange(-3000, 3000), [2**31 - 1, -(2**31), 0]])
    multiplier = rng.integers(0, 1 << 17, acc.size)
    multiplier[:6000] = 1 << 16  # many exact ties
    shift = rng.integers(0, nx.SHIFT_MAX + 1, acc.size)
    for bits, limit in ((8, 128), (12, 2048)):
        expected = np.clip(nx.shift_round(acc * multiplier, shift) - 5, -limit, limit - 1)
        assert np.array_equal(nx.requantize(acc, multiplier, shift, -5, bits), expected)
    truncated = np.clip(((acc * multiplier) >> shift) - 5, -128, 127)
    assert not np.array_equal(nx.requantize(acc, multiplier, shift, -5), truncated), "the test data has no rounding"


def test_zero_point_is_added_after_rounding() -> None:
    assert nx.requantize(np.array([1, 3]), 1 << 16, 17, 1).tolist() == [1, 3]  # 0.5 -> 0, 1.5 -> 2, then + 1


def test_divide_round_equals_rationals() -> None:
    rng = np.random.default_rng(3)
    numerator = np.concatenate([rng.integers(-(2**50), 2**50, 400), rng.integers(-500, 500, 2000)])
    denominator = np.concatenate([rng.integers(2**40, 2**52, 400), rng.integers(1, 40, 2000)])
    expected = [
        max(-511, min(511, round(Fraction(int(n), int(d))))) for n, d in zip(numerator, denominator, strict=True)
    ]
    assert np.array_equal(nx.divide_round(numerator, denominator), expected)


@pytest.mark.parametrize("seed", range(3))
def test_quantize_multiplier_keeps_17_bits(seed: int) -> None:
    for ratio in 10.0 ** np.random.default_rng(seed).uniform(-8, 3, 200):
        multiplier, shift = nx.quantize_multiplier(ratio)
        assert 1 << 16 <= multiplier < 1 << 17 and 0 <= shift <= nx.SHIFT_MAX
        assert abs(multiplier / 2.0**shift / ratio - 1) <= 2.0**-17


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("nan"), float("inf"), 2.0**18])
def test_quantize_multiplier_refuses(ratio: float) -> None:
    with pytest.raises(nx.ScaleRatioError, match="scale ratio"):
        nx.quantize_multiplier(ratio)


def test_add_equals_float_within_one_step() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.integers(-128, 128, (2, 100_000))
    constants = nx.add_constants(0.031, 7, 0.052, -11, 0.047)
    ours = nx.add_requantize(a, b, *constants, 5)
    real = nx.dequantize(a, 0.031, 7) + nx.dequantize(b, 0.052, -11)
    step = np.abs(ours.astype(int) - nx.quantize(real, 0.047, 5))
    assert step.max() <= 1 and (step == 0).mean() > 0.9999
    ma, mb, constant, shift = constants
    exact = np.clip(nx.shift_round(a * ma + b * mb + constant, shift) + 5, -128, 127)
    assert np.array_equal(ours, exact)


def test_quantize_of_nan_and_infinity() -> None:
    codes = nx.quantize(np.array([np.nan, np.inf, -np.inf], np.float32), 0.1, 3)
    assert codes.tolist() == [-128, 127, -128]


def test_intermediate_covers_where_the_function_changes() -> None:
    def swish(x: np.ndarray) -> np.ndarray:
        return x * np.clip(x / 6 + 0.5, 0, 1)

    step, zero = nx.intermediate_range(swish, 0.05, -120, -500.0, 900.0)
    low, high = (-2048 - zero) * step, (2047 - zero) * step
    assert low < -2.5 and high > 246.5 * 0.05 and high - low < 20
    for x in (-500.0, low, high, 900.0):
        inside = np.clip(x, low, high)
        assert nx.quantize(swish(np.float32(x)), 0.05, -120) == nx.quantize(swish(np.float32(inside)), 0.05, -120)


@pytest.mark.parametrize("count", [1, 2, 17, 1600, 4096])
def test_layer_norm_error_bound(count: int) -> None:
    """The normalized value stays within the stated bound of float64."""
    rng = np.random.default_rng(count)
    worst = 0.0
    for spread in (0, 1, 3, 60, 128):
        codes = rng.integers(-spread, spread + 1, count).clip(-128, 127)
        codes[0] = 127 if spread > 3 else codes[0]
        u = codes.astype(np.int64) - 9
        total, squares = int(u.sum()), int((u * u).sum())
        epsilon = int(rng.integers(1, 5000))
        reciprocal, scale = mlp.norm_reciprocal(count, total, squares, epsilon)
        t = count * u - total
        x_hat = nx.shift_round(t * np.int64(reciprocal), scale - mlp.NORM_FRACTION) / 2.0**mlp.NORM_FRACTION
        real = t / np.sqrt(float(count * squares - total * total + epsilon))
        worst = max(worst, float(np.abs(x_hat - real).max()))
        assert np.abs(x_hat).max() < 64.01
    assert worst < 2.0**-15.8


def test_layer_norm_of_a_constant_is_its_bias() -> None:
    codes = np.full(64, 17)
    beta = np.full(64, 5 << 20)
    out = mlp.layer_norm(codes, 3, np.full(64, 1000), beta, 20, 1, -2)
    assert (out == 3).all()
