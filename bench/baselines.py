# SPDX-License-Identifier: Apache-2.0
"""Published post-training quantization schemes in plain form, simulated in float: what hwgen's placement is up against.

All schemes quantize the same tensors: every operand of a convolution, matrix product, quotient, residual add, pooling,
LayerNormalization and activation function, also inside the attention, and every weight. With "-operands" behind the
scheme's name only operands of convolutions and matrix products are quantized; the papers, FQ-ViT's apart, leave the
others float. Weights are symmetric, one scale an output channel. Biases, and sums inside an operator, stay float.

    every-edge  activations affine, from the least to the largest value; no scheme, for comparison
    easyquant   Wu et al., EasyQuant: Post-training Quantization via Scale Optimization, arXiv 2006.16669
    ptq4vit     Yuan et al., PTQ4ViT: Post-training Quantization for Vision Transformers with Twin Uniform Quantization,
                ECCV 2022
    fqvit       Lin et al., FQ-ViT: Post-Training Quantization for Fully Quantized Vision Transformer, IJCAI 2022
    repqvit     Li et al., RepQ-ViT: Scale Reparameterization for Post-Training Quantization of Vision Transformers,
                ICCV 2023

The last three are made for LayerNorm and softmax; ReLU linear attention has no softmax and no attention map, and
EfficientViT one LayerNorm, in its head. Each rule is carried over to the nearest thing:

    softmax's output, small values with a long tail   the quotient's divisors
    GELU's output, a short negative side              HardSwish's output
    LayerNorm's input, the residual stream            LayerNorm's input and the outputs of residual adds (FQ-ViT)
    LayerNorm's output, read by linear layers only    also of a convolution, whose batch norm has the affine factors,
                                                      where only convolutions read it (RepQ-ViT)

FQ-ViT's integer exponential has no counterpart. LayerNorm's output passes a HardSwish in EfficientViT, so RepQ-ViT's
scales of its channels cannot be moved into the layer behind; they are simulated as they are.
A quotient by a divisor that was rounded to zero saturates. Needs PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from hwgen.frontend.onnx_file import OnnxGraph, OnnxNode
from hwgen.quantize.float_model import read_float
from hwgen.quantize.torch_graph import TorchGraph

PRODUCTS = ("Conv", "Gemm", "MatMul")
FUNCTIONS = ("HardSwish", "HardSigmoid", "Sigmoid", "Tanh", "Gelu", "LeakyRelu")
OTHERS = ("Div", "Add", "GlobalAveragePool", "ReduceMean", "LayerNormalization", *FUNCTIONS)
"""These read quantized values; what else there is only moves values, clamps them, or adds a constant."""
BATCH = 100
SEARCH_IMAGES = 32
CANDIDATES = 40
ROUNDS = 2
EASYQUANT = 0.5, 2.0
PTQ4VIT = 0.03, 1.2
"""Ends of the search, against the scale that the largest magnitude needs. PTQ4ViT's begins at 0."""
SHIFTS = range(1, 9)
"""Powers of two between the steps of a divisor's twin quantizer that are tried."""
FACTOR_MAX = 3
"""Largest exponent of FQ-ViT's power-of-two factor."""
MAP_BITS = 4
"""Of FQ-ViT's logarithmic codes."""
PERCENTILES = (1.0, 0.9999, 0.999)
SORTED_VALUES = 1 << 20
LARGEST = 1e30

Quantizer = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Uniform:
    """``scale * (code - zero_point)``, both broadcast to the tensor."""

    scale: Tensor
    zero_point: Tensor
    low: int
    high: int

    def __call__(self, x: Tensor) -> Tensor:
        codes = ((x / self.scale).round() + self.zero_point).clamp(self.low, self.high)
        return (codes - self.zero_point) * self.scale


@dataclass(frozen=True)
class TwinUniform:
    """Two ranges of half the codes each, steps ``fine`` and ``fine * 2**shift``.

    ``by_sign``: negative values have the fine step, the others the coarse one. Else values below the fine range's end
    have the fine step, those above the coarse one; there are no negative values.
    """

    fine: float
    shift: int
    bits: int
    by_sign: bool

    def __call__(self, x: Tensor) -> Tensor:
        most = 2 ** (self.bits - 1) - 1
        coarse = self.fine * 2**self.shift
        above = (x / coarse).round().clamp(0, most) * coarse
        if self.by_sign:
            below = (x / self.fine).round().clamp(-most - 1, 0) * self.fine
            return torch.where(x < 0, below, above)
        below = (x / self.fine).round().clamp(0, most) * self.fine
        return torch.where(x < (most + 1) * self.fine, below, above)


@dataclass(frozen=True)
class Logarithmic:
    """``scale * 2**(-code / steps)``: ``steps`` codes an octave, 1 or 2 (the base is 2 or its root)."""

    scale: float
    bits: int
    steps: int

    def __call__(self, x: Tensor) -> Tensor:
        codes = (-self.steps * torch.log2((x / self.scale).clamp(min=1e-38))).round().clamp(0, 2**self.bits - 1)
        return self.scale * torch.exp2(-codes / self.steps)


def affine(low: Tensor | float, high: Tensor | float, bits: int) -> Uniform:
    """All codes over [low, high], widened to include zero."""
    low, high = torch.as_tensor(low).clamp(max=0), torch.as_tensor(high).clamp(min=0)
    scale = ((high - low) / (2**bits - 1)).clamp(min=1e-12)
    return Uniform(scale, (-low / scale).round().clamp(0, 2**bits - 1), 0, 2**bits - 1)


def symmetric(largest: Tensor | float, bits: int) -> Uniform:
    """Zero point 0; as many codes on either side."""
    most = 2 ** (bits - 1) - 1
    scale = (torch.as_tensor(largest) / most).clamp(min=1e-12)
    return Uniform(scale, torch.zeros(()), -most, most)


def twin_by_sign(least: float, scale: float, bits: int) -> TwinUniform:
    """Step ``scale`` for positive values; for negative ones the finest, by a power of two, that covers ``least``."""
    needed = max(-least, 1e-12) / 2 ** (bits - 1)
    shift = max(0, int(np.floor(np.log2(scale / needed))))
    return TwinUniform(scale / 2**shift, shift, bits, True)


def power_of_two_factors(x: Tensor, bits: int) -> Uniform:
    """One scale for the tensor (N, C, ...), times a power of two for each channel, the best of them."""
    whole = affine(x.min(), x.max(), bits)
    choices = [replace(whole, scale=whole.scale / 2 ** (FACTOR_MAX - e)) for e in range(FACTOR_MAX + 1)]
    others = [d for d in range(x.ndim) if d != 1]
    errors = torch.stack([((choice(x) - x) ** 2).sum(others) for choice in choices])
    exponents = errors.argmin(0).reshape(-1, *[1] * (x.ndim - 2))
    return replace(whole, scale=whole.scale / 2**FACTOR_MAX * 2.0**exponents)


def _ends(x: Tensor) -> tuple[Tensor, Tensor]:
    """Least and largest value of each channel of (N, C, ...), broadcast."""
    others = [d for d in range(x.ndim) if d != 1]
    return x.amin(others, keepdim=True)[0], x.amax(others, keepdim=True)[0]


def _by_percentile(x: Tensor, bits: int) -> Uniform:
    """The affine range with the least squared error among some that leave out few values; of some of the values."""
    x = x.reshape(-1)[:: max(1, x.numel() // SORTED_VALUES)]
    ordered = x.sort().values
    found = []
    for share in PERCENTILES:
        last = round((len(ordered) - 1) * share)
        found.append(affine(ordered[len(ordered) - 1 - last], ordered[last], bits))
    return min(found, key=lambda q: float(((q(x) - x) ** 2).sum()))


def cosine_error(x: Tensor, exact: Tensor, _: Tensor) -> float:
    """How far the directions are apart, 0 to 2."""
    return 1 - float(functional.cosine_similarity(x.reshape(-1), exact.reshape(-1), dim=0))


def hessian_error(x: Tensor, exact: Tensor, gradient: Tensor) -> float:
    """The squared error, each element by the square of the loss's gradient."""
    return float(((x - exact) ** 2 * gradient**2).sum())


@dataclass
class Network:
    """A float network with quantizers at edges, and weights that are quantized already."""

    graph: TorchGraph
    edges: dict[str, Quantizer]
    weights: dict[str, Tensor]
    """By the node's name, in its layout."""

    def at_edge(self, edge: str, x: Tensor) -> Tensor:
        if edge not in self.edges:
            return x
        return self.edges[edge](torch.nan_to_num(x, nan=0.0, posinf=LARGEST, neginf=-LARGEST))

    def weight_of(self, node: OnnxNode) -> tuple[Tensor, Tensor | None] | None:
        if node.name not in self.weights:
            return None
        return self.weights[node.name], _bias(self.graph, node)

    def logits(self, images: Tensor) -> Tensor:
        source = self.graph.source
        start = {source.input: self.at_edge(source.input, images)}
        return self.graph.run(source.nodes, start, self.weight_of, self.at_edge)[source.output]

    def classes(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """The class of each image (N, C, H, W)."""
        with torch.no_grad():
            parts = [self.logits(part).argmax(1) for part in torch.from_numpy(images).split(BATCH)]
        result: npt.NDArray[np.int64] = torch.cat(parts).numpy()
        return result


def _bias(graph: TorchGraph, node: OnnxNode) -> Tensor | None:
    return graph.constants.get(node.inputs[2]) if len(node.inputs) > 2 else None


def operands(source: OnnxGraph, everywhere: bool) -> dict[str, dict[str, OnnxNode]]:
    """The edges to quantize, and the nodes, by name, that read them."""
    made = {source.input}
    found: dict[str, dict[str, OnnxNode]] = {}
    for node in source.nodes:
        active = [i for i in node.inputs if i in made]
        if not active:
            continue
        made.update(node.outputs)
        wanted = node.op in PRODUCTS or (everywhere and node.op in OTHERS)
        if wanted and not (node.op == "Add" and len(active) < 2):
            for edge in dict.fromkeys(active):
                found.setdefault(edge, {})[node.name] = node
    return found


def _axis(node: OnnxNode) -> int:
    """Of the weight's output channels."""
    rows = node.op == "Conv" or (node.op == "Gemm" and bool(node.attributes.get("transB", 0)))
    return 0 if rows else 1


@dataclass
class Scheme:
    """One float network, what calibration saw of it, and the quantizers chosen so far."""

    graph: TorchGraph
    bits: int
    weight_bits: int
    readers: dict[str, dict[str, OnnxNode]]
    values: dict[str, Tensor]
    """Calibration values (N, ...) of every edge to quantize."""

    def __post_init__(self) -> None:
        source = self.graph.source
        self.makers = {o: n for n in source.nodes for o in n.outputs}
        self.divisors = {n.inputs[1] for n in source.nodes if n.op == "Div" and n.inputs[1] in self.readers}
        self.weighted = {n.name: n for n in source.nodes if n.op in PRODUCTS and n.inputs[1] in self.graph.constants}
        self.ends = {edge: (float(x.min()), float(x.max())) for edge, x in self.values.items()}

    def largest(self, edge: str) -> float:
        """Magnitude."""
        return max(-self.ends[edge][0], self.ends[edge][1])

    def weight(self, node: OnnxNode) -> Tensor:
        return self.graph.constants[node.inputs[1]]

    def rounded(self, node: OnnxNode, factor: float = 1.0, inputs: Tensor | None = None) -> Tensor:
        """The node's weight on its grid. ``inputs``: factors that the weight takes over, in its shape."""
        weight = self.weight(node) if inputs is None else self.weight(node) * inputs
        others = [d for d in range(weight.ndim) if d != _axis(node)]
        result = symmetric(weight.abs().amax(others, keepdim=True) * factor, self.weight_bits)(weight)
        return result if inputs is None else result / inputs

    def network(self, edges: Mapping[str, Quantizer], weights: Mapping[str, Tensor] | None = None) -> Network:
        if weights is None:
            weights = {name: self.rounded(node) for name, node in self.weighted.items()}
        return Network(self.graph, dict(edges), dict(weights))

    def minmax(self) -> dict[str, Quantizer]:
        return {edge: affine(*ends, self.bits) for edge, ends in self.ends.items()}


def every_edge(scheme: Scheme, images: Tensor) -> Network:
    return scheme.network(scheme.minmax())


def fqvit(scheme: Scheme, images: Tensor) -> Network:
    """Power-of-two factors and 4-bit logarithms where they have a counterpart, least to largest value elsewhere."""
    edges = scheme.minmax()
    for edge, nodes in scheme.readers.items():
        x, maker = scheme.values[edge], scheme.makers.get(edge)
        residual = maker is not None and maker.op == "Add" and all(i in scheme.makers for i in maker.inputs)
        if residual or any(n.op == "LayerNormalization" for n in nodes.values()):
            edges[edge] = power_of_two_factors(x, scheme.bits)
    for edge in scheme.divisors:
        edges[edge] = Logarithmic(scheme.ends[edge][1], MAP_BITS, 1)
    return scheme.network(edges)


def repqvit(scheme: Scheme, images: Tensor) -> Network:
    """Channel-wise grids where the layer behind can take them over, logarithms to the root of two."""
    edges: dict[str, Quantizer] = {edge: _by_percentile(x, scheme.bits) for edge, x in scheme.values.items()}
    weights = {name: scheme.rounded(node) for name, node in scheme.weighted.items()}
    consumers: dict[str, list[OnnxNode]] = {}
    for node in scheme.graph.source.nodes:
        for edge in node.inputs:
            consumers.setdefault(edge, []).append(node)
    for edge, x in scheme.values.items():
        maker = scheme.makers.get(edge)
        if maker is None or maker.op not in ("LayerNormalization", "Conv"):
            continue
        absorbed = all(n.name in scheme.weighted for n in consumers[edge])
        if maker.op == "LayerNormalization" or absorbed:
            grid = affine(*_ends(x), scheme.bits)
            edges[edge] = grid
            factors = (grid.scale / grid.scale.mean()).reshape(-1)
            for node in consumers[edge] if absorbed else ():
                weights[node.name] = scheme.rounded(node, inputs=_of_inputs(scheme.weight(node), node, factors))
    for edge in scheme.divisors:
        edges[edge] = Logarithmic(scheme.ends[edge][1], scheme.bits, 2)
    return scheme.network(edges, weights)


def _of_inputs(weight: Tensor, node: OnnxNode, factors: Tensor) -> Tensor:
    """A factor for each input channel, in the shape of the weight."""
    if node.op != "Conv":
        return factors.reshape((1, -1) if _axis(node) == 0 else (-1, 1)).expand_as(weight)
    per_group, groups = weight.shape[1], int(node.attributes.get("group", 1))
    rows = factors.reshape(groups, per_group).repeat_interleave(len(weight) // groups, 0)
    return rows.reshape(len(weight), per_group, 1, 1).expand_as(weight)


def easyquant(scheme: Scheme, images: Tensor) -> Network:
    """Scales of weights and activations in turn, so that each output's direction stays."""

    def grids(edge: str, factor: float) -> list[Quantizer]:
        return [symmetric(scheme.largest(edge) * factor, scheme.bits)]

    return _Search(scheme, images, cosine_error, EASYQUANT, grids).run()


def ptq4vit(scheme: Scheme, images: Tensor) -> Network:
    """Twin uniform quantizers behind HardSwish and for divisors; scales by the error that the loss sees."""
    codes = 2 ** (scheme.bits - 1) - 1

    def grids(edge: str, factor: float) -> list[Quantizer]:
        maker = scheme.makers.get(edge)
        largest = max(scheme.largest(edge) * factor, 1e-12)
        if edge in scheme.divisors:
            return [TwinUniform(largest / codes / 2**shift, shift, scheme.bits, False) for shift in SHIFTS]
        if maker is not None and maker.op in ("HardSwish", "Gelu"):
            return [twin_by_sign(scheme.ends[edge][0], largest / codes, scheme.bits)]
        return [symmetric(largest, scheme.bits)]

    return _Search(scheme, images, hessian_error, PTQ4VIT, grids).run()


class _Search:
    """Scales node by node, the best of some for each operand and weight in turn.

    The first reader of an edge decides: a product by the error of its output, another operator by that of the edge.
    """

    def __init__(
        self,
        scheme: Scheme,
        images: Tensor,
        error: Callable[[Tensor, Tensor, Tensor], float],
        ends: tuple[float, float],
        grids: Callable[[str, float], list[Quantizer]],
    ) -> None:
        """``grids``: the quantizers to try for an edge and a factor, between ``ends``, of its largest magnitude."""
        self.scheme, self.error, self.grids = scheme, error, grids
        self.factors = np.linspace(*ends, CANDIDATES).tolist()
        self.exact, self.gradients = _gradients(scheme.graph, images)
        self.edges: dict[str, Quantizer] = {}
        self.weights: dict[str, Tensor] = {}

    def run(self) -> Network:
        with torch.no_grad():
            for node in self.scheme.graph.source.nodes:
                self.node(node)
        return self.scheme.network(self.edges, self.weights)

    def node(self, node: OnnxNode) -> None:
        read = [e for e in dict.fromkeys(node.inputs) if node.name in self.scheme.readers.get(e, ())]
        mine = {e: [q for f in self.factors for q in self.grids(e, f)] for e in read if e not in self.edges}
        if node.op not in PRODUCTS:
            for e, choices in mine.items():
                self.edges[e] = self._best(choices, lambda q, e=e: self._error(e, q(self.exact[e])))  # type: ignore[misc]
            return
        start = {e: symmetric(self.scheme.largest(e), self.scheme.bits) for e in mine}
        values = {e: ({**start, **self.edges}[e])(self.exact[e]) for e in read}
        weighted = node.name in self.scheme.weighted
        weight = self.scheme.rounded(node) if weighted else None
        for _ in range(ROUNDS if weighted or len(mine) > 1 else 1):
            for e, choices in mine.items():
                others = {name: x for name, x in values.items() if name != e}
                self.edges[e] = self._best(
                    choices,
                    lambda q, e=e, w=weight, o=others: self._loss(node, w, {**o, e: q(self.exact[e])}),  # type: ignore[misc]
                )
                values[e] = self.edges[e](self.exact[e])
            if weighted:
                tried = [self.scheme.rounded(node, factor) for factor in self.factors]
                weight = self._best(tried, lambda w: self._loss(node, w, values))
        if weight is not None:
            self.weights[node.name] = weight

    @staticmethod
    def _best(choices: Sequence[Any], loss: Callable[[Any], float]) -> Any:
        return min(choices, key=loss)

    def _loss(self, node: OnnxNode, weight: Tensor | None, values: Mapping[str, Tensor]) -> float:
        graph, out = self.scheme.graph, node.outputs[0]
        pair = None if weight is None else (weight, _bias(graph, node))
        return self._error(out, graph.run([node], values, lambda _: pair)[out])

    def _error(self, edge: str, x: Tensor) -> float:
        return self.error(x, self.exact[edge], self.gradients[edge])


def _gradients(graph: TorchGraph, images: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The value of every edge, and there the gradient of the cross-entropy with classes as the float network draws
    them."""
    source = graph.source
    values = graph.run(source.nodes, {source.input: images.clone().requires_grad_()})
    logits = values[source.output]
    random = torch.Generator().manual_seed(0)
    classes = torch.multinomial(logits.detach().softmax(1), 1, generator=random)[:, 0]
    names = [name for name, value in values.items() if value.requires_grad]
    loss = functional.cross_entropy(logits, classes, reduction="sum")
    found = torch.autograd.grad(loss, [values[n] for n in names], allow_unused=True)
    gradients = {n: torch.zeros_like(values[n]) if g is None else g for n, g in zip(names, found, strict=True)}
    return {n: values[n].detach() for n in names}, gradients


SCHEMES: dict[str, Callable[[Scheme, Tensor], Network]] = {
    "every-edge": every_edge,
    "easyquant": easyquant,
    "ptq4vit": ptq4vit,
    "fqvit": fqvit,
    "repqvit": repqvit,
}
OPERANDS = "-operands"


def quantize(
    model: Path, images: npt.NDArray[np.float32], method: str, weight_bits: int, activation_bits: int
) -> Network:
    """``model`` quantized by a scheme of SCHEMES, calibrated on ``images`` (N, C, H, W)."""
    torch.set_num_threads(1)
    graph = TorchGraph(read_float(model))
    everywhere = not method.endswith(OPERANDS)
    x = torch.from_numpy(images)
    readers = operands(graph.source, everywhere)
    scheme = Scheme(graph, activation_bits, weight_bits, readers, _observe(graph, x, list(readers)))
    return SCHEMES[method.removesuffix(OPERANDS)](scheme, x[:SEARCH_IMAGES])


def _observe(graph: TorchGraph, images: Tensor, edges: Sequence[str]) -> dict[str, Tensor]:
    parts: dict[str, list[Any]] = {edge: [] for edge in edges}
    with torch.no_grad():
        for part in images.split(BATCH):
            values = graph.run(graph.source.nodes, {graph.source.input: part})
            for edge in edges:
                parts[edge].append(values[edge])
    return {edge: torch.cat(found) for edge, found in parts.items()}
