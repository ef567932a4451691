# SPDX-License-Identifier: Apache-2.0
"""Histograms of activations, and the three ways to choose the range that a quantizer covers.

A grid is affine: ``real = scale * (code - zero_point)``, codes from ``low`` to ``high``. Every range includes zero, so
that padding, Relu and the code of zero are exact (a zero point outside the codes would overflow).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

BINS = 8192
"""32 bins a code at 8 bits: the error within a bin is 0.1 % of a code's own rounding error."""
PERCENTILE = 99.99
"""Share of the values, in percent, that the percentile method covers."""


@dataclass(frozen=True)
class Grid:
    """The codes of one tensor: ``real = scale * (code - zero_point)``, ``low <= code <= high``."""

    scale: float
    zero_point: int
    low: int
    high: int

    @property
    def range(self) -> tuple[float, float]:
        """The least and the largest real value."""
        return self.scale * (self.low - self.zero_point), self.scale * (self.high - self.zero_point)

    def round_trip(self, values: Any) -> Float64:
        """Quantized and dequantized."""
        codes = np.clip(np.rint(np.asarray(values, np.float64) / self.scale) + self.zero_point, self.low, self.high)
        real: Float64 = (codes - self.zero_point) * self.scale
        return real


def grid_of(low: float, high: float, bits: int) -> Grid:
    """The grid of ``2**bits`` codes over [low, high], widened to include zero; the scale is a float32."""
    low, high = min(low, 0.0), max(high, 0.0)
    least, most = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    scale = float(np.float32((high - low) / (most - least)))
    if not scale > np.finfo(np.float32).tiny:  # a tensor of zeros
        return Grid(1.0, 0, least, most)
    zero_point = min(max(round(least - low / scale), least), most)
    return Grid(scale, zero_point, least, most)


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of an activation's values in BINS equal bins over [low, high]."""

    low: float
    high: float
    counts: Float64

    @property
    def centers(self) -> Float64:
        """The middle of each bin; that of zero stands for zero itself, which padding and Relu make frequent."""
        width = (self.high - self.low) / len(self.counts)
        centers: Float64 = self.low + (np.arange(len(self.counts), dtype=np.float64) + 0.5) * width
        if width > 0 and self.low <= 0 <= self.high:
            centers[min(int(-self.low / width), len(centers) - 1)] = 0.0
        return centers

    def signal(self) -> float:
        """Sum of the squares."""
        return float(self.counts @ self.centers**2)

    def noise(self, grid: Grid) -> float:
        """Sum of the squared errors of ``grid``."""
        centers = self.centers
        return float(self.counts @ (centers - grid.round_trip(centers)) ** 2)


def decibels(signal: float, noise: float) -> float | None:
    """Signal-to-quantization-noise ratio in dB; None where there is no noise or no signal."""
    return 10 * math.log10(signal / noise) if signal > 0 and noise > 0 else None


def minmax(histogram: Histogram, bits: int) -> Grid:
    """From the least to the largest value seen.

    Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, CVPR
    2018.
    """
    return grid_of(histogram.low, histogram.high, bits)


def percentile(histogram: Histogram, bits: int) -> Grid:
    """The values without the outermost (100 - PERCENTILE) %, half of them at each end.

    Wu et al., Integer Quantization for Deep Learning Inference: Principles and Empirical Evaluation, arXiv 2004.09602;
    there of the magnitudes, here of each side, because the grid is affine.
    """
    share = np.cumsum(histogram.counts) / max(histogram.counts.sum(), 1)
    tail = (1 - PERCENTILE / 100) / 2
    edges = np.linspace(histogram.low, histogram.high, len(share) + 1)
    first = min(int(np.searchsorted(share, tail, side="right")), len(share) - 1)
    last = min(int(np.searchsorted(share, 1 - tail)), len(share) - 1)
    return grid_of(float(edges[first]), float(edges[last + 1]), bits)


def mse(histogram: Histogram, bits: int) -> Grid:
    """The range with the least mean squared error, searched from coarse to fine, both ends together, then each alone.

    Choukroun et al., Low-bit Quantization of Neural Networks for Efficient Inference, ICCV Workshops 2019 (there for
    symmetric grids).
    """
    low, high = min(histogram.low, 0.0), max(histogram.high, 0.0)
    centers, counts = histogram.centers, histogram.counts
    used = counts > 0
    centers, counts = centers[used], counts[used]

    def noise(ends: tuple[float, float]) -> float:
        return float(counts @ (centers - grid_of(low * ends[0], high * ends[1], bits).round_trip(centers)) ** 2)

    best = min(((f, f) for f in np.linspace(1.0, 0.1, 37).tolist()), key=noise)
    for width in (0.3, 0.1, 0.03, 0.01):
        steps = (1 + width * np.linspace(-1, 1, 13)).tolist()
        best = min(((min(best[0] * s, 1.0), best[1]) for s in steps), key=noise)
        best = min(((best[0], min(best[1] * s, 1.0)) for s in steps), key=noise)
    return grid_of(low * best[0], high * best[1], bits)


METHODS: dict[str, Callable[[Histogram, int], Grid]] = {"minmax": minmax, "percentile": percentile, "mse": mse}
