# SPDX-License-Identifier: Apache-2.0
"""Which ONNX node went into which operator, found by walking back from each operator's output."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hwgen.errors import Problem
from hwgen.frontend.onnx_file import OnnxGraph, OnnxNode
from hwgen.ir import Conv, Input, LayerNorm, Linear, Op, Tensor, family


@dataclass(frozen=True)
class Coverage:
    """What of a model is mapped. ``rows``: (node, operator, kernel or '', reason or '')."""

    nodes: int
    mapped: int
    unsupported: tuple[Problem, ...]
    kernels: dict[str, int]
    macs: int
    parameters: int
    rows: tuple[tuple[str, str, str, str], ...]


def producers(graph: OnnxGraph) -> dict[str, OnnxNode]:
    """Edge name -> the node that writes it."""
    return {o: n for n in graph.nodes for o in n.outputs if o}


def cone(makers: dict[str, OnnxNode], target: str, stops: Iterable[str]) -> tuple[list[OnnxNode], list[str]]:
    """Nodes between ``target`` and the edges ``stops`` (or constants), and the stops that were reached."""
    stop, seen, reached, nodes = set(stops), {target}, [], []
    pending = [target]
    while pending:
        edge = pending.pop()
        node = makers.get(edge)
        if node is None:
            continue
        nodes.append(node)
        for i in node.inputs:
            if i and i not in seen:
                seen.add(i)
                if i in stop:
                    reached.append(i)
                else:
                    pending.append(i)
    return nodes, reached


def with_sources(onnx: OnnxGraph, ops: Sequence[Op], tensors: dict[str, Tensor]) -> tuple[Op, ...]:
    """The operators, each with the names of the ONNX nodes it was made from: those its output needs."""
    makers = producers(onnx)
    stops = {t.onnx for t in tensors.values()} | {onnx.input}
    result = []
    for op in ops:
        target = tensors[op.y].onnx
        nodes = cone(makers, target, stops - {target})[0]
        result.append(replace(op, source=tuple(n.name for n in nodes)))
    return tuple(result)


def parameter_count(op: Op) -> int:
    """Weights and biases that the model stores for one operator."""
    if isinstance(op, (Conv, Linear)):
        return int(op.weight.size + np.count_nonzero(op.bias))
    return 2 * len(op.gamma) if isinstance(op, LayerNorm) else 0


def cover(
    onnx: OnnxGraph,
    ops: Sequence[Op],
    tensors: dict[str, Tensor],
    problems: Sequence[Problem],
    model_macs: int,
    parameters: int,
) -> Coverage:
    """Assign every ONNX node to the kernel that was made from it. Nodes that clean-up removed count as mapped."""
    owner: dict[str, str] = {}
    for op in ops:
        for node in op.source:
            owner.setdefault(node, op.name)
    if not problems:
        for left in cone(producers(onnx), onnx.output, {t.onnx for t in tensors.values()})[0]:
            owner.setdefault(left.name, "output")
    reasons = {p.name: p.reason for p in problems}
    rows = [(n.name, n.op_type, owner.get(n.name, ""), reasons.get(n.name, "")) for n in onnx.model.graph.node]
    rows = [(n, o, k, r or ("" if k else "connected to a node that is not mapped")) for n, o, k, r in rows]
    rows += [(n, o, "folded away", "") for n, o in onnx.folded]
    kernels = {"conv": 0, "linear_attention": 0, "mlp": 0}
    for op in ops:
        if not isinstance(op, Input):
            kernels[family(op)] += 1
    mapped = sum(1 for _, _, kernel, _ in rows if kernel)
    return Coverage(len(rows), mapped, tuple(problems), kernels, model_macs, parameters, tuple(rows))
