# SPDX-License-Identifier: Apache-2.0
"""ONNX file -> Graph of integer operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hwgen.errors import ModelError, Problem
from hwgen.frontend.context import Lowering
from hwgen.frontend.coverage import Coverage, cover, parameter_count, with_sources
from hwgen.frontend.lower import lower
from hwgen.frontend.onnx_file import OnnxGraph, read
from hwgen.frontend.values import Poison, Unsupported
from hwgen.ir import Graph, Input, Op, Tensor, macs, reads


@dataclass(frozen=True)
class Frontend:
    """What the frontend made of a file: the graph where all of it is mapped, else the problems."""

    onnx: OnnxGraph
    graph: Graph | None
    ops: tuple[Op, ...]
    tensors: dict[str, Tensor]
    problems: tuple[Problem, ...]

    def coverage(self, kernels: Graph | None = None) -> Coverage:
        """Node by node: which kernel it went to, or why not. ``kernels`` is the graph after the passes, if any."""
        ops, tensors = (kernels.ops, kernels.tensors) if kernels else (self.ops, self.tensors)
        total = sum(macs(op, self.tensors) for op in self.ops)
        parameters = sum(parameter_count(op) for op in self.ops)
        return cover(self.onnx, ops, tensors, self.problems, total, parameters)

    def require(self) -> Graph:
        """The graph; raises ModelError with every problem where the model is not mapped completely."""
        if self.graph is None:
            count = len(self.problems)
            raise ModelError(f"the model cannot be mapped; {count} problem{'s' * (count != 1)}:", self.problems)
        return self.graph


def load(path: Path) -> Frontend:
    """Read and lower an ONNX file. Raises ModelError where it cannot even be read."""
    onnx = read(path)
    low = lower(onnx)
    problems = list(low.problems)
    if problems and not any(n.op in ("QuantizeLinear", "DequantizeLinear") for n in onnx.nodes):
        hint = "Quantize it first with hwgen quantize, or another quantizer that writes QDQ"
        problems.insert(0, Problem(path.name, "model", "is not quantized at all", hint))
    live: Tensor | None = None
    value = low.values.get(onnx.output)
    if not isinstance(value, Poison):
        try:
            output = low.materialize(value, "value") if value is not None else None
        except Unsupported as problem:
            problems.append(Problem(onnx.output, "output", problem.reason, problem.hint))
            output = None
        if output is not None and not problems:
            live = output
    ops = with_sources(onnx, low.ops, low.tensors)
    graph = None if live is None else _graph(low, ops, live)
    return Frontend(onnx, graph, ops, dict(low.tensors), tuple(problems))


def _graph(low: Lowering, lowered: Sequence[Op], output: Tensor) -> Graph:
    """The operators that the output needs."""
    onnx = low.onnx
    live: set[str] = {output.name}
    kept: list[Op] = []
    for op in reversed(lowered):
        if op.y in live or isinstance(op, Input):
            kept.append(op)
            live.update(reads(op))
    ops = tuple(reversed(kept))
    first = low.tensors[ops[0].y]
    graph = Graph(onnx.name, low.tensors, ops, output.name, first.quant, onnx.output, dict(low.concats))
    return graph.with_ops(ops)
