# SPDX-License-Identifier: Apache-2.0
"""Which ONNX node went into which kernel, found by walking back from each kernel's output."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hwgen.errors import Problem
from hwgen.frontend.onnx_file import OnnxGraph, OnnxNode
from hwgen.ir import Attention, Conv, Input, LayerNorm, Linear, Op, Pool, Tensor


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


def family(op: Op) -> str:
    """The partition: which kernel family executes an operator; the input loader belongs to none."""
    if isinstance(op, Attention):
        return "linear_attention"
    if isinstance(op, (Linear, Pool, LayerNorm)):
        return "mlp"
    return "" if isinstance(op, Input) else "conv"


def macs(op: Op, tensors: dict[str, Tensor]) -> int:
    """Multiply-accumulate operations of one frame as the model defines them (zero weights included)."""
    if isinstance(op, Conv):
        _, height, width = tensors[op.y].shape
        return op.weight.size * height * width
    if isinstance(op, Linear):
        return op.weight.size
    if isinstance(op, Attention):
        channels, height, width = tensors[op.y].shape
        return 2 * channels * height * width * (op.head_dim + 1)
    return 0


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
    """Assign every ONNX node to the kernel whose output needs it. Nodes that clean-up removed count as mapped."""
    makers = producers(onnx)
    stops = {t.onnx for t in tensors.values()} | {onnx.input}
    owner: dict[str, str] = {}
    for op in ops:
        target = tensors[op.y].onnx
        for node in cone(makers, target, stops - {target})[0]:
            owner.setdefault(node.name, op.name)
    for node in cone(makers, onnx.output, stops)[0]:
        if not problems:
            owner.setdefault(node.name, "output")
    reasons = {p.name: p.reason for p in problems}
    rows = [(n.name, n.op_type, owner.get(n.name, ""), reasons.get(n.name, "")) for n in onnx.model.graph.node]
    rows = [(n, o, k, r or ("" if k else "connected to a node that is not mapped")) for n, o, k, r in rows]
    rows += [(n, o, "folded away", "") for n, o in onnx.folded]
    kernels = {"conv": 0, "linear_attention": 0, "mlp": 0}
    for op in ops:
        if family(op):
            kernels[family(op)] += 1
    mapped = sum(1 for _, _, kernel, _ in rows if kernel)
    return Coverage(len(rows), mapped, tuple(problems), kernels, model_macs, parameters, tuple(rows))
