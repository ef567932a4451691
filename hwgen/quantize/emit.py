# SPDX-License-Identifier: Apache-2.0
"""Write the QDQ model: the float model with quantizers at the sites and integer weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, helper, numpy_helper

from hwgen.frontend.onnx_file import OnnxGraph
from hwgen.quantize.placement import Site, Weights
from hwgen.quantize.ranges import Grid
from hwgen.quantize.weights import Bits, QuantizedWeight

NARROW_AFTER = ("attention", "pool")
"""Operators whose result the machine cannot clamp while it rounds: fewer than 8 bits take a second quantizer."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A convolution or matrix product: ``real`` weights (outputs, ...), what replaces them with how many bits, the real
    bias if any."""

    weights: Weights
    real: npt.NDArray[np.float64]
    quantized: QuantizedWeight
    bias: npt.NDArray[np.float64] | None
    bits: Bits


@dataclass
class _Writer:
    """The nodes and constants of the new graph; names are unique."""

    nodes: list[NodeProto]
    constants: dict[str, onnx.TensorProto]
    taken: set[str]

    def name(self, stem: str) -> str:
        unique, n = stem, 1
        while unique in self.taken:
            unique, n = f"{stem}_{n}", n + 1
        self.taken.add(unique)
        return unique

    def constant(self, stem: str, array: np.ndarray) -> str:
        name = self.name(stem)
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], name=self.name(f"{output}/{op}"), **attributes))
        return output

    def pair(self, edge: str, grid: Grid, output: str | None = None) -> str:
        """QuantizeLinear and DequantizeLinear behind ``edge``; returns the edge behind them."""
        scale = self.constant(f"{edge}_scale", np.array(grid.scale, np.float32))
        zero = self.constant(f"{edge}_zero_point", np.array(grid.zero_point, np.int8))
        codes = self.node("QuantizeLinear", [edge, scale, zero], self.name(f"{edge}_quantized"))
        return self.node("DequantizeLinear", [codes, scale, zero], output or self.name(f"{edge}_dequantized"))

    def clip(self, edge: str, grid: Grid) -> str:
        """Clamp to the grid's range, where it has fewer codes than int8."""
        bounds = [self.constant(f"{edge}_bound", np.array(b, np.float32)) for b in grid.range]
        return self.node("Clip", [edge, *bounds], self.name(f"{edge}_clipped"))

    def quantizer(self, edge: str, grid: Grid, kind: str, output: str | None) -> str:
        if (grid.low, grid.high) == (-128, 127):
            return self.pair(edge, grid, output)
        if kind in NARROW_AFTER:
            edge = self.pair(edge, grid)
        return self.pair(self.clip(edge, grid), grid, output)

    def weight(self, weights: Weights, value: QuantizedWeight) -> str:
        codes = value.codes if weights.axis == 0 else np.ascontiguousarray(value.codes.T)
        name = weights.weight
        inputs = [
            self.constant(f"{name}_quantized", codes),
            self.constant(f"{name}_scale", value.scale),
            self.constant(f"{name}_zero_point", np.zeros(len(value.scale), np.int8)),
        ]
        return self.node("DequantizeLinear", inputs, self.name(f"{name}_dequantized"), axis=weights.axis)

    def bias(self, weights: Weights, value: np.ndarray, unit: np.ndarray) -> str:
        """int32 in units of the accumulator; float64 ``value``, float32 ``unit``, one for each output channel."""
        name = weights.bias or f"{weights.node.outputs[0]}_bias"
        inputs = [
            self.constant(f"{name}_quantized", np.rint(value / unit.astype(np.float64)).astype(np.int32)),
            self.constant(f"{name}_scale", unit),
            self.constant(f"{name}_zero_point", np.zeros(len(unit), np.int32)),
        ]
        return self.node("DequantizeLinear", inputs, self.name(f"{name}_dequantized"), axis=0)


def emit(
    source: OnnxGraph,
    sites: Mapping[str, Site],
    grids: Mapping[str, Grid],
    layers: Mapping[str, Layer],
    metadata: Mapping[str, str],
) -> onnx.ModelProto:
    """The quantized model: opset, input, output and names of the float model, whose nodes all stay.

    ``layers`` by node name.
    """
    model = onnx.ModelProto()
    model.CopyFrom(source.model)
    graph = model.graph
    taken = {e for n in graph.node for e in [*n.input, *n.output]} | {n.name for n in graph.node}
    writer = _Writer([], {i.name: i for i in graph.initializer}, taken)
    renamed: dict[str, str] = {}

    def quantize(edge: str) -> None:
        if edge in sites:
            final = edge == source.output
            raw = writer.nodes[-1].output[0] if final else edge
            renamed[edge] = writer.quantizer(raw, grids[edge], sites[edge].kind, edge if final else None)

    quantize(source.input)
    for old in graph.node:
        node = NodeProto()
        node.CopyFrom(old)
        layer = layers.get(node.name)
        for i, edge in enumerate(old.input):
            node.input[i] = renamed.get(edge, edge)
        if layer is not None:
            node.input[1] = writer.weight(layer.weights, layer.quantized)
            if layer.bias is not None:
                unit = np.float32(grids[layer.weights.x].scale) * layer.quantized.scale
                del node.input[2:]
                node.input.append(writer.bias(layer.weights, layer.bias, unit.astype(np.float32)))
        for i, edge in enumerate(old.output):
            if edge == source.output and edge in sites:
                node.output[i] = writer.name(f"{edge}_float")
        writer.nodes.append(node)
        for edge in old.output:
            quantize(edge)
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(writer.nodes)
    used = {i for n in graph.node for i in n.input}
    graph.initializer.extend(c for name, c in writer.constants.items() if name in used)
    model.producer_name = "hwgen quantize"
    helper.set_model_props(model, dict(metadata))
    return model
