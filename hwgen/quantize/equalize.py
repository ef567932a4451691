# SPDX-License-Identifier: Apache-2.0
"""Bring the tensors that an attention concatenates to one range, so that their common grid fits each of them.

In ReLU linear attention the factor of a head's Q, K and V leaves the quotient as the factor of V alone, and the 1x1
convolution behind it can take that back. So a convolution in front of the Concat may be scaled freely: its weights by
c, those of the projection's inputs by 1/c. The float function changes only in the epsilon of the normalizer, which
is checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from hwgen.frontend.onnx_file import OnnxGraph, OnnxNode, clean
from hwgen.quantize import calibration
from hwgen.quantize.images import Images
from hwgen.quantize.placement import Placement, Weights
from hwgen.quantize.ranges import METHODS

IMAGES = 32
TOLERANCE = 1e-2
"""Largest change of the float output, as a share of its largest value."""


@dataclass(frozen=True)
class Scaling:
    """Output ``edge`` of a convolution times ``factor``, the projections' inputs ``first`` to ``last`` by 1 / it."""

    edge: str
    factor: float
    convolution: str
    projections: tuple[str, ...]
    first: int
    last: int


def equalize(
    source: OnnxGraph,
    placement: Placement,
    images: Images,
    method: str,
    bits: int,
    progress: calibration.Progress,
) -> tuple[OnnxGraph, tuple[Scaling, ...]]:
    """The float model with the ranges made equal, and what was scaled; the model as it was where nothing can be.

    Cross-layer equalization as in Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction,
    ICCV 2019, across a linear attention.
    """
    scalings = tuple(_scalings(source, placement, images.first(IMAGES), method, bits, progress))
    if not scalings:
        return source, ()
    changed = clean(_scaled(source, scalings), Path(source.name))
    return (changed, scalings) if _same_function(source, changed, images.first(4)) else (source, ())


def _scalings(
    source: OnnxGraph,
    placement: Placement,
    images: Images,
    method: str,
    bits: int,
    progress: calibration.Progress,
) -> Sequence[Scaling]:
    edges = [e for group in placement.groups for e in group]
    if not edges:
        return []
    found: list[Scaling] = []
    ends = calibration.extremes(source, edges, images, progress)
    histograms = calibration.histograms(source, ends, images, progress)
    width = {e: float(np.subtract(*METHODS[method](h, bits).range[::-1])) for e, h in histograms.items()}
    makers = {w.node.outputs[0]: w for w in placement.weighted}
    readers = _readers(source)
    for group in placement.groups:
        concat = next((n for n in readers.get(group[0], ()) if n.op == "Concat"), None)
        if concat is None or set(concat.inputs) != set(group):
            continue
        projections = _projections(source, placement, readers, concat)
        fixed = [e for e in group if e not in makers or [n.op for n in readers[e]] != ["Concat"]]
        reference = max((width[e] for e in fixed), default=max(width[e] for e in group))
        start = 0
        for edge in concat.inputs:
            stop = start + source.shapes[edge][1]
            factor = float(np.float32(reference / max(width[edge], 1e-30)))
            if projections and edge not in fixed and 1e-3 < factor < 1e3 and start % 3 == stop % 3 == 0:
                name, behind = makers[edge].node.name, tuple(p.node.name for p in projections)
                found.append(Scaling(edge, factor, name, behind, start // 3, stop // 3))
            start = stop
    return found


def _readers(source: OnnxGraph) -> dict[str, list[OnnxNode]]:
    readers: dict[str, list[OnnxNode]] = {}
    for node in source.nodes:
        for edge in dict.fromkeys(node.inputs):
            readers.setdefault(edge, []).append(node)
    return readers


def _projections(
    source: OnnxGraph, placement: Placement, readers: dict[str, list[OnnxNode]], concat: OnnxNode
) -> list[Weights]:
    """The 1x1 convolutions that alone read the one attention behind ``concat``; empty where it is otherwise."""
    weighted = {w.node.name: w for w in placement.weighted}
    pending, seen, attentions = [concat.outputs[0]], set(), []
    while pending:
        edge = pending.pop()
        if edge in seen:
            continue
        seen.add(edge)
        if edge in placement.sites and placement.sites[edge].kind == "attention":
            attentions.append(edge)
        else:
            pending += [o for n in readers.get(edge, ()) for o in n.outputs if n.name not in weighted]
    if len(attentions) != 1:
        return []
    found = [weighted.get(n.name) for n in readers.get(attentions[0], ())]
    channels = source.shapes[concat.outputs[0]][1] // 3
    usable = [w for w in found if w is not None and source.constants[w.weight].shape[1:] == (channels, 1, 1)]
    return usable if len(usable) == len(found) else []


def _scaled(source: OnnxGraph, scalings: Sequence[Scaling]) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.CopyFrom(source.model)
    nodes = {n.name: n for n in model.graph.node}
    constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}

    def replace(name: str, index: int, factor: npt.NDArray[np.float32]) -> None:
        """Multiply an input of a node, which may share its initializer with others."""
        node = nodes[name]
        old = node.input[index]
        new = f"{old}/equalized_{len(constants)}"
        constants[new] = constants[old] * factor
        node.input[index] = new
        model.graph.initializer.append(numpy_helper.from_array(constants[new], new))

    for s in scalings:
        conv = nodes[s.convolution]
        for index in range(1, len(conv.input)):
            if conv.input[index]:
                replace(s.convolution, index, np.float32(s.factor))
        for name in s.projections:
            channels = constants[nodes[name].input[1]].shape[1]
            inverse = np.ones((1, channels, 1, 1), np.float32)
            inverse[:, s.first : s.last] = np.float32(1 / s.factor)
            replace(name, 1, inverse)
    return model


def _same_function(source: OnnxGraph, changed: OnnxGraph, images: Images) -> bool:
    before = calibration.run(source.model, source.input, images, lambda i: None)
    after = calibration.run(changed.model, changed.input, images, lambda i: None)
    return all(np.abs(a - b).max() <= TOLERANCE * np.abs(a).max() for (a,), (b,) in zip(before, after, strict=True))
