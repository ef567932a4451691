# SPDX-License-Identifier: Apache-2.0
"""Where quantizers stand, so that the frontend maps the result whole and in integers.

Convolutions, matrix products, residual adds, pooling and LayerNormalization read int8 codes: each of their operands
is a *site*. What stands between an operator and the site behind it (activations, bias adds) is a function of one
variable, which the machine tabulates. Inside ReLU linear attention there is no site between Q, K, V and the quotient:
the machine computes that stretch exactly. Q, K and V share one grid, because their Concat is one tensor.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from hwgen.errors import ModelError, Problem
from hwgen.frontend import attention
from hwgen.frontend.onnx_file import OnnxGraph, OnnxNode
from hwgen.frontend.pointwise import BINARY

UNARY = ("Relu", "Clip", "HardSigmoid", "HardSwish", "Sigmoid", "Tanh", "Gelu", "LeakyRelu", "Identity")
CLAMPS = ("Relu", "Clip", "Identity")
"""These commute with a quantizer: none is needed in front of them."""
KEEP_ORDER = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
REARRANGE = (*KEEP_ORDER, "Transpose", "Slice", "Split", "Pad")
WITH_TABLE = ("conv", "linear")
"""Operators behind which an activation needs no quantizer: a 12-bit intermediate and a table."""


@dataclass(frozen=True)
class Site:
    """An edge that is quantized. ``kind``: the operator that computes it (input, conv, linear, add, pool, layernorm,
    attention), or ``activation`` where a function stands in between."""

    edge: str
    kind: str


@dataclass(frozen=True)
class Activation:
    """A convolution or matrix product and the float function behind it: one quantizer at ``after``, or two."""

    before: str
    after: str
    nodes: tuple[OnnxNode, ...]
    """The nodes of the function, in order."""
    kind: str
    """conv or linear"""


@dataclass(frozen=True)
class Weights:
    """A convolution or matrix product: its input edge, the names of its constants, and the output channels' axis."""

    node: OnnxNode
    x: str
    weight: str
    bias: str | None
    axis: int


@dataclass(frozen=True)
class Placement:
    """Sites by edge; activations where both placements are possible; edges that share a grid; weighted nodes."""

    sites: dict[str, Site]
    activations: tuple[Activation, ...]
    groups: tuple[tuple[str, ...], ...]
    weighted: tuple[Weights, ...]
    output: str
    """The site whose codes leave the network."""


@dataclass(frozen=True)
class _Origin:
    """What an edge holds: functions of the results of operators (``roots``), perhaps rearranged."""

    roots: tuple[str, ...]
    leaves: tuple[str, ...]
    """The last edges before elements are rearranged."""
    view: str
    """The edge where the arrangement was made: edges with equal roots and view hold the same elements."""
    before: str
    """The edge in front of the first function that is no clamp."""
    ordered: bool = True
    rearranged: bool = False
    function: bool = False
    """A function that is no clamp stands behind the root."""
    late: bool = False
    """A function stands behind a rearrangement."""


@dataclass
class _Walk:
    onnx: OnnxGraph
    origins: dict[str, _Origin] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    sites: dict[str, Site] = field(default_factory=dict)
    candidates: dict[str, list[str]] = field(default_factory=dict)
    """Edge before an activation -> sites behind it"""
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Product of two activations -> the leaves that it depends on"""
    weighted: list[Weights] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def root(self, edge: str, kind: str) -> None:
        self.kinds[edge] = kind
        self.origins[edge] = _Origin((edge,), (edge,), edge, edge)

    def function(self, node: OnnxNode, source: _Origin, clamp: bool) -> None:
        edge = node.outputs[0]
        first = not clamp and not source.function
        self.origins[edge] = replace(
            source,
            leaves=source.leaves if source.rearranged else (edge,),
            before=node.inputs[0] if first and node.inputs[0] in self.origins else source.before,
            function=source.function or not clamp,
            late=source.late or source.rearranged,
        )

    def demand(self, edge: str) -> str | None:
        """``edge`` is read as codes: put a site there, or before the reshapes in front of it; returns the site."""
        origin = self.origins.get(edge)
        if origin is None:  # a constant operand, which the frontend explains
            return None
        kinds = {self.kinds[r] for r in origin.roots}
        if "product" in kinds:
            reason = "holds the product of two activations outside of an attention"
            root = next(r for r in origin.roots if self.kinds[r] == "product")
            name = next(n.name for n in self.onnx.nodes if root in n.outputs)
            self.problems.append(Problem(name, "MatMul", reason, attention.HINT))
        plain = origin.ordered and not origin.late and len(origin.leaves) == 1
        target = origin.leaves[0] if plain else edge
        if not plain and kinds != {"attention"}:
            for leaf in origin.leaves:
                self.demand(leaf)
        kind = "activation" if origin.function or len(kinds) > 1 else next(iter(kinds))
        self.sites.setdefault(target, Site(target, kind))
        if origin.function:
            if kinds <= set(WITH_TABLE) and plain:
                behind = self.candidates.setdefault(origin.before, [])
                behind += [target] if target not in behind else []
            else:
                self.demand(origin.before)
        return target

    def visit(self, node: OnnxNode) -> None:
        active = [i for i in node.inputs if i in self.origins]
        out = node.outputs[0]
        if not active:
            return  # computed from constants; the frontend explains it where it matters
        first = self.origins[active[0]]
        if node.op == "Conv" or (node.op in ("Gemm", "MatMul") and len(active) == 1):
            self._weighted(node)
        elif node.op == "MatMul":
            self._product(node, active)
        elif node.op in ("GlobalAveragePool", "ReduceMean", "LayerNormalization"):
            self.demand(active[0])
            self.root(out, "layernorm" if node.op == "LayerNormalization" else "pool")
        elif node.op in UNARY:
            self.function(node, first, node.op in CLAMPS)
        elif node.op in BINARY:
            self._binary(node, active)
        elif node.op == "Concat":
            self._concat(node, active)
        elif node.op in REARRANGE:
            kept = node.op in KEEP_ORDER
            self.origins[out] = replace(first, view=out, ordered=first.ordered and kept, rearranged=True)
        else:  # every supported operator has its case
            raise AssertionError(node.op)

    def _weighted(self, node: OnnxNode) -> None:
        weight = node.inputs[1]
        array = self.onnx.constants.get(weight)
        if array is None or node.inputs[0] not in self.origins:
            reason = "its weight is not an initializer, or its left operand is a constant"
            self.problems.append(Problem(node.name, node.op, reason, "Export the model with constant folding"))
        elif array.dtype.name != "float32":
            reason = f"its weight is {array.dtype.name}"
            self.problems.append(Problem(node.name, node.op, reason, "Export the model in float32"))
        elif not self._one_frame(node, array.shape):
            reason = f"its weight {array.shape} belongs to no 2-dimensional convolution and no product of one row"
            self.problems.append(Problem(node.name, node.op, reason, "Write it as a 1x1 convolution"))
        else:
            x = self.demand(node.inputs[0])
            assert x is not None
            bias = node.inputs[2] if len(node.inputs) > 2 and node.inputs[2] else None
            rows = node.op == "Conv" or (node.op == "Gemm" and bool(node.attributes.get("transB", 0)))
            self.weighted.append(Weights(node, x, weight, bias, 0 if rows else array.ndim - 1))
        self.root(node.outputs[0], "conv" if node.op == "Conv" else "linear")

    def _one_frame(self, node: OnnxNode, weight: tuple[int, ...]) -> bool:
        if node.op == "Conv":
            return len(weight) == 4
        transposed = node.op == "Gemm" and bool(node.attributes.get("transB", 0))
        return len(weight) == 2 and math.prod(self.onnx.shapes[node.inputs[0]]) == weight[1 if transposed else 0]

    def _product(self, node: OnnxNode, active: list[str]) -> None:
        """Part of an attention: its operands are codes, functions of codes, or another product."""
        leaves: list[str] = []
        for edge in active:
            origin = self.origins[edge]
            for root in origin.roots:
                leaves += self.groups.get(root, ())
            if all(self.kinds[r] != "product" for r in origin.roots):
                for leaf in origin.leaves:
                    site = self.demand(leaf)
                    leaves += [site] if site is not None else []
        self.root(node.outputs[0], "product")
        self.groups[node.outputs[0]] = tuple(dict.fromkeys(leaves))

    def _binary(self, node: OnnxNode, active: list[str]) -> None:
        out, first = node.outputs[0], self.origins[active[0]]
        if len(active) == 1:
            constant = next((self.onnx.constants.get(i) for i in node.inputs if i not in self.origins), None)
            if constant is not None and constant.size > 1:
                self._bias(node, active[0])
            else:
                self.function(node, first, node.op in ("Min", "Max"))
            return
        second = self.origins[active[1]]
        if (first.roots, first.view) == (second.roots, second.view):
            joined = replace(first, before=first.view, function=True)  # the last edge that both surely depend on
            self.function(node, joined, clamp=False)
        elif node.op == "Div":
            self.root(out, "attention")
        elif node.op == "Add":
            for edge in active:
                self.demand(edge)
            self.root(out, "add")
        else:
            reason, hint = "combines two different activations", "Only residual additions are mapped"
            self.problems.append(Problem(node.name, node.op, reason, hint))
            self.root(out, "add")

    def _bias(self, node: OnnxNode, edge: str) -> None:
        """A vector added behind a convolution or matrix product belongs to its accumulator."""
        origin = self.origins[edge]
        kinds = {self.kinds[r] for r in origin.roots}
        if node.op != "Add" or origin.function or origin.rearranged or not kinds <= set(WITH_TABLE):
            reason, hint = "combines an activation with a constant array", "Fold it into the convolution"
            self.problems.append(Problem(node.name, node.op, reason, hint))
        self.root(node.outputs[0], next(iter(kinds)))

    def _concat(self, node: OnnxNode, active: list[str]) -> None:
        parts = [self.origins[i] for i in active]
        roots = tuple(r for p in parts for r in p.roots)
        leaves = tuple(leaf for p in parts for leaf in p.leaves)
        out = node.outputs[0]
        function = any(p.function for p in parts)
        self.origins[out] = _Origin(roots, leaves, out, out, False, True, function, any(p.late for p in parts))

    def activations(self) -> Iterable[Activation]:
        makers = {o: n for n in self.onnx.nodes for o in n.outputs}
        for before, behind in self.candidates.items():
            kind = self.kinds[self.origins[before].roots[0]]
            if before in self.sites or len(behind) > 1:  # else the convolution would be computed for each
                self.sites.setdefault(before, Site(before, kind))
                continue
            yield Activation(before, behind[0], _between(makers, before, behind[0]), kind)


def _between(makers: dict[str, OnnxNode], before: str, after: str) -> tuple[OnnxNode, ...]:
    """The nodes that compute ``after`` from ``before``, in order."""
    found: dict[str, OnnxNode] = {}

    def back(edge: str) -> None:
        node = makers.get(edge)
        if edge == before or node is None or node.name in found:
            return
        for i in node.inputs:
            back(i)
        found[node.name] = node

    back(after)
    return tuple(found.values())


def place(onnx: OnnxGraph) -> Placement:
    """Find the sites of a float model. Raises ModelError with every problem."""
    walk = _Walk(onnx)
    walk.root(onnx.input, "input")
    for node in onnx.nodes:
        walk.visit(node)
    output = walk.demand(onnx.output)
    if walk.problems:
        raise ModelError("the model cannot be quantized:", walk.problems)
    if output is None or not walk.weighted:
        raise ModelError("the model has no convolution or matrix product between its input and its output.")
    activations = tuple(walk.activations())
    return Placement(walk.sites, activations, _joined(walk.groups.values()), tuple(walk.weighted), output)


def _joined(groups: Iterable[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """Groups that share an edge are one."""
    result: list[tuple[str, ...]] = []
    for group in groups:
        touching = [g for g in result if set(g) & set(group)]
        merged = tuple(dict.fromkeys(edge for g in [*touching, group] for edge in g))
        result = [g for g in result if g not in touching] + [merged]
    return tuple(g for g in result if len(g) > 1)
