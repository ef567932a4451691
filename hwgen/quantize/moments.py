# SPDX-License-Identifier: Apache-2.0
"""First and second moments of what each convolution and matrix product reads, over calibration images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.frontend.onnx_file import OnnxGraph
from hwgen.frontend.weighted import pads_of
from hwgen.quantize import calibration
from hwgen.quantize.images import Images
from hwgen.quantize.placement import Weights
from hwgen.quantize.ranges import Grid

Array = npt.NDArray[Any]


@dataclass(eq=False)
class Moments:
    """Of a layer's inputs in each group, ``inputs`` = weights of an output channel: ``second`` is (groups, inputs,
    inputs), the mean of x x^T with x as the machine reads it (quantized); ``mean`` and ``quantized_mean`` are
    (groups, inputs)."""

    second: Array
    mean: Array
    quantized_mean: Array


def measure(
    source: OnnxGraph,
    weighted: Sequence[Weights],
    grids: Mapping[str, Grid],
    images: Images,
    progress: calibration.Progress,
) -> dict[str, Moments]:
    """Moments by node name, from the float model's activations, padding included."""
    edges = list(dict.fromkeys(w.x for w in weighted))
    totals: dict[str, Moments] = {}
    counts: dict[str, int] = {}
    for seen in calibration.edges_of(source, edges, images, lambda i: progress("layer inputs", i, images.count)):
        coded = {e: grids[e].round_trip(seen[e]).astype(np.float32) for e in edges}
        for entry in weighted:
            exact, codes = patches(source, entry, seen[entry.x]), patches(source, entry, coded[entry.x])
            name, size = entry.node.name, codes.shape[-1]
            second = (codes @ codes.transpose(0, 2, 1)).astype(np.float64)
            mean, quantized = exact.sum(axis=-1, dtype=np.float64), codes.sum(axis=-1, dtype=np.float64)
            if name in totals:
                total = totals[name]
                total.second += second
                total.mean += mean
                total.quantized_mean += quantized
            else:
                totals[name] = Moments(second, mean, quantized)
            counts[name] = counts.get(name, 0) + size
    for name, total in totals.items():
        total.second /= counts[name]
        total.mean /= counts[name]
        total.quantized_mean /= counts[name]
    return totals


def patches(source: OnnxGraph, entry: Weights, x: Array) -> Array:
    """(groups, inputs, positions): what each output position's weights are multiplied with, in the weights' order."""
    node = entry.node
    if node.op != "Conv":
        return x.reshape(1, -1, 1)
    kernel = source.constants[entry.weight].shape[2:]
    stride = [int(s) for s in node.attributes.get("strides", [1, 1])]
    groups = int(node.attributes.get("group", 1))
    top, left, bottom, right = pads_of(node.attributes, x.shape[2:], kernel, stride)
    padded = np.pad(x[0], ((0, 0), (top, bottom), (left, right)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(1, 2))
    windows = windows[:, :: stride[0], :: stride[1]]  # (C, OH, OW, kh, kw)
    channels, height, width = windows.shape[:3]
    rows = windows.transpose(0, 3, 4, 1, 2).reshape(groups, channels // groups * kernel[0] * kernel[1], height * width)
    return np.ascontiguousarray(rows)
