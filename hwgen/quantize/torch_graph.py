# SPDX-License-Identifier: Apache-2.0
"""Compute a float ONNX graph in PyTorch, part by part, for many images at once, with gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hwgen.errors import ModelError, Problem
from hwgen.frontend.onnx_file import OnnxGraph, OnnxNode
from hwgen.frontend.weighted import pads_of
from hwgen.quantize.placement import KEEP_ORDER

WeightOf = Callable[[OnnxNode], tuple[Tensor, Tensor | None] | None]
"""The weight and the bias, in the node's own layout, that take the place of a node's constants; None: the constants."""
AtEdge = Callable[[str, Tensor], Tensor]
"""What readers of an edge see instead of the value computed."""

UNARY: dict[str, Callable[[Tensor, dict[str, Any]], Tensor]] = {
    "Identity": lambda x, a: x,
    "Relu": lambda x, a: functional.relu(x),
    "HardSigmoid": lambda x, a: (float(a.get("alpha", 0.2)) * x + float(a.get("beta", 0.5))).clamp(0, 1),
    "HardSwish": lambda x, a: functional.hardswish(x),
    "Sigmoid": lambda x, a: torch.sigmoid(x),
    "Tanh": lambda x, a: torch.tanh(x),
    "Gelu": lambda x, a: functional.gelu(x, approximate=a.get("approximate", "none")),
    "LeakyRelu": lambda x, a: functional.leaky_relu(x, float(a.get("alpha", 0.01))),
}
BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "Div": torch.div,
    "Min": torch.minimum,
    "Max": torch.maximum,
    "Pow": torch.pow,
    "MatMul": torch.matmul,
}


class TorchGraph:
    """A float model whose first dimension is the batch on every edge."""

    def __init__(self, source: OnnxGraph) -> None:
        """Raises ModelError with every node that would mix the images of a batch."""
        self.source = source
        self.constants = {
            name: torch.from_numpy(np.array(array, np.float32))
            for name, array in source.constants.items()
            if array.dtype.kind == "f"
        }
        made = {source.input}
        problems = []
        for node in source.nodes:
            if made.isdisjoint(node.inputs):
                continue
            made.update(node.outputs)
            mixes = any(source.shapes[o][:1] != (1,) for o in node.outputs if o)
            if mixes or (node.op == "Transpose" and list(node.attributes.get("perm", ()))[:1] != [0]):
                hint = "Keep the batch as the first dimension, or use --method mse"
                problems.append(Problem(node.name, node.op, "moves the batch dimension", hint))
        if problems:
            raise ModelError("the model cannot be reconstructed block by block:", problems)

    def run(
        self,
        nodes: Iterable[OnnxNode],
        values: Mapping[str, Tensor],
        weight_of: WeightOf = lambda node: None,
        at_edge: AtEdge = lambda edge, x: x,
    ) -> dict[str, Tensor]:
        """The values of all edges that ``nodes`` write, from those given."""
        known = dict(values)
        for node in nodes:
            for edge, value in zip(node.outputs, self._node(node, known, weight_of(node)), strict=False):
                known[edge] = at_edge(edge, value)
        return known

    def _node(
        self, node: OnnxNode, known: Mapping[str, Tensor], weight: tuple[Tensor, Tensor | None] | None
    ) -> tuple[Tensor, ...]:
        a, shape = node.attributes, self.source.shapes.get(node.outputs[0], ())
        x: list[Any] = [known[i] if i in known else self.constants.get(i) for i in node.inputs]
        first = x[0]
        if weight is not None:
            x = [first, *weight]
        if node.op == "Conv":
            return (self._conv(node, first, x),)
        if node.op == "Gemm":
            w = x[1] if a.get("transB", 0) else x[1].T
            bias = None if len(x) < 3 or x[2] is None else float(a.get("beta", 1.0)) * x[2]
            return (functional.linear(float(a.get("alpha", 1.0)) * first, w, bias),)
        if node.op in UNARY:
            return (UNARY[node.op](first, a),)
        if node.op in BINARY:
            result = first
            for other in x[1:]:
                result = BINARY[node.op](result, other) if other is not None else result
            return (result,)
        if node.op in KEEP_ORDER:
            batch = next(v for i, v in zip(node.inputs, x, strict=True) if i in known).shape[0]
            return (first.reshape(batch, *shape[1:]),)
        return self._other(node, x, shape)

    def _conv(self, node: OnnxNode, first: Tensor, x: list[Any]) -> Tensor:
        a, weight = node.attributes, x[1]
        stride = [int(s) for s in a.get("strides", [1, 1])]
        top, left, bottom, right = pads_of(a, tuple(first.shape[2:]), tuple(weight.shape[2:]), stride)
        bias = x[2] if len(x) > 2 else None
        group = int(a.get("group", 1))
        if (top, left) == (bottom, right):
            return functional.conv2d(first, weight, bias, stride, (top, left), groups=group)
        return functional.conv2d(functional.pad(first, (left, right, top, bottom)), weight, bias, stride, groups=group)

    def _other(self, node: OnnxNode, x: list[Any], shape: tuple[int, ...]) -> tuple[Tensor, ...]:
        a, first = node.attributes, x[0]
        fixed: list[Any] = [self.source.constants.get(i) for i in node.inputs]
        if node.op == "Clip":
            ends = [None if v is None else float(np.asarray(v)) for v in (*fixed[1:], None, None)][:2]
            return (first if ends == [None, None] else first.clamp(*ends),)
        if node.op == "Concat":
            return (torch.cat(x, int(a["axis"])),)
        if node.op == "Transpose":
            return (first.permute(*a["perm"]),)
        if node.op == "Split":
            sizes = [self.source.shapes[o][int(a.get("axis", 0))] for o in node.outputs]
            return tuple(first.split(sizes, int(a.get("axis", 0))))
        if node.op == "Slice":
            lists: list[Any] = [None if v is None else v.tolist() for v in [*fixed[1:], None, None][:4]]
            starts, stops, axes, steps = lists
            index = [slice(None)] * first.ndim
            for n, (start, stop) in enumerate(zip(starts, stops, strict=True)):
                index[axes[n] if axes else n] = slice(start, stop, steps[n] if steps else 1)
            return (first[tuple(index)],)
        if node.op == "Pad":
            amounts = fixed[1].tolist()
            half = len(amounts) // 2
            pads = [n for axis in reversed(range(half)) for n in (amounts[axis], amounts[half + axis])]
            value = 0.0 if len(fixed) < 3 or fixed[2] is None else float(fixed[2])
            return (functional.pad(first, pads, value=value),)
        if node.op in ("GlobalAveragePool", "ReduceMean"):
            axes = a.get("axes", fixed[1].tolist() if len(fixed) > 1 and fixed[1] is not None else None)
            axes = list(range(2, first.ndim)) if node.op == "GlobalAveragePool" else axes
            return (first.mean(dim=axes).reshape(first.shape[0], *shape[1:]),)
        if node.op == "LayerNormalization":
            axis = int(a.get("axis", -1)) % first.ndim
            bias = x[2] if len(x) > 2 else None
            return (functional.layer_norm(first, first.shape[axis:], x[1], bias, float(a.get("epsilon", 1e-5))),)
        raise AssertionError(node.op)  # read_float lets no other operator pass
