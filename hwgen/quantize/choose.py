# SPDX-License-Identifier: Apache-2.0
"""Grids of all sites, and for each activation: one quantizer behind it, or one on either side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen import numerics as nx
from hwgen.quantize.placement import Activation, Placement, Site
from hwgen.quantize.ranges import METHODS, Grid, Histogram, decibels

EDGE_BITS = 8
"""The network's input and output always have 8 bits: images are bytes, and logits are compared with each other."""
MARGIN = 4.0
"""The accumulator may exceed the values seen; the 12-bit intermediate is measured over so much more."""

Function = Callable[[Any], npt.NDArray[Any]]


@dataclass(frozen=True)
class Choice:
    """What was chosen for an activation, and the signal-to-noise ratio in dB of both ways."""

    node: str
    before: str
    after: str
    between: bool
    """A quantizer stands between the convolution and the activation."""
    sqnr_fused_db: float | None
    sqnr_between_db: float | None


def grids(
    placement: Placement, histograms: Mapping[str, Histogram], input: str, method: str, bits: int
) -> dict[str, Grid]:
    """A grid for each observed edge; edges of one group share theirs, made from their histograms together."""
    choose = METHODS[method]
    result = {
        edge: choose(h, EDGE_BITS if edge in (input, placement.output) else bits) for edge, h in histograms.items()
    }
    for group in placement.groups:
        first = histograms[group[0]]
        counts = np.sum([histograms[edge].counts for edge in group], axis=0)
        result.update(dict.fromkeys(group, choose(Histogram(first.low, first.high, counts), bits)))
    return result


def choose(activation: Activation, function: Function, histogram: Histogram, before: Grid, after: Grid) -> Choice:
    """Compare both placements on the histogram in front of the activation; the lower error wins, fused where equal."""
    values, counts = histogram.centers, histogram.counts
    exact = np.asarray(function(values), np.float64)
    signal = float(counts @ exact**2)

    def noise(real: npt.NDArray[np.float64]) -> float:
        return float(counts @ (exact - real) ** 2)

    between = noise(after.round_trip(function(before.round_trip(values))))
    fused = noise(_through_intermediate(values, function, histogram, after))
    return Choice(
        activation.nodes[-1].name,
        activation.before,
        activation.after,
        between < fused,
        decibels(signal, fused),
        decibels(signal, between),
    )


def _through_intermediate(
    values: npt.NDArray[np.float64], function: Function, histogram: Histogram, after: Grid
) -> npt.NDArray[np.float64]:
    """What the machine makes of ``values`` with a 12-bit intermediate and a table of 4,096 entries."""
    reach = MARGIN * max(abs(histogram.low), abs(histogram.high), 1e-6)
    step, zero = nx.intermediate_range(
        lambda x: np.clip(function(x), *after.range), after.scale, after.zero_point, -reach, reach
    )
    limit = 1 << (nx.MID_BITS - 1)
    codes = np.clip(np.rint(values / step) + zero, -limit, limit - 1)
    return after.round_trip(function((codes - zero) * step))


def with_choices(placement: Placement, choices: list[Choice]) -> dict[str, Site]:
    """The sites, with those that were chosen between a convolution and its activation."""
    chosen = {c.before for c in choices if c.between}
    between = {a.before: Site(a.before, a.kind) for a in placement.activations if a.before in chosen}
    return {**placement.sites, **between}
