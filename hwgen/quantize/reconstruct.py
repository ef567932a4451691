# SPDX-License-Identifier: Apache-2.0
"""Block reconstruction: rounding of weights, biases and activations' scales learned, so that each block's output stays.

Blocks are taken in order. A block reads what the quantized blocks before it make of the calibration images, and learns
to give what the float network gives; what does not make the error smaller is not kept. Li et al., BRECQ: Pushing the
Limit of Post-Training Quantization by Block Reconstruction, ICLR 2021. Errors count by the Fisher information of the
block's output, as Q-HyViT weights its blocks. Needs PyTorch, which nothing else in hwgen imports.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hwgen.frontend.onnx_file import OnnxGraph, OnnxNode
from hwgen.quantize.blocks import Block, blocks_of
from hwgen.quantize.emit import Layer
from hwgen.quantize.images import Images
from hwgen.quantize.placement import Placement
from hwgen.quantize.ranges import Grid, decibels
from hwgen.quantize.torch_graph import TorchGraph
from hwgen.quantize.weights import BIAS_LIMIT, QuantizedWeight, limits

Progress = Callable[[str, int, int], None]

BATCH_VALUES = 1 << 23
"""Images of a step: at most BATCH, fewer where the widest tensor of the block would have more values than this."""
BATCH = 32
KEPT_VALUES = 1 << 26
"""Values of one tensor over all images (256 MiB); with larger tensors fewer images are used."""
DROP = 0.5
"""Share of the channels that stay float while a block learns; Wei et al., QDrop, ICLR 2022."""
WARM = 0.2
"""Share of the steps before weights are pushed to whole codes."""
PUSH = 0.3
"""That push on a weight, against the error of the whole block before learning."""
SHARPNESS = 20.0, 2.0
"""Exponent of the push at its start and at the end."""
STRETCH = -0.1, 1.1
"""The sigmoid between two codes is stretched, so that it reaches both."""
RATES = {"rounding": 3e-2, "bias": 5e-3, "scale": 5e-3}
"""Adam's step sizes. Biases are in the unit of the tensor, scales relative."""
FISHER_IMAGES = 256
LEAST_WEIGHT = 0.01
"""Of a channel's error, against the mean channel's."""


@dataclass(frozen=True)
class Reconstruction:
    """What became of a block: errors against the float network in dB, before and after learning, and which was kept."""

    tensor: str
    layers: int
    sqnr_before_db: float | None
    sqnr_after_db: float | None
    kept: bool


class _FakeQuantize(torch.autograd.Function):  # type: ignore[misc]
    """Quantize and dequantize. Gradients pass where the value is not clamped, and reach the scale as in Esser et al.,
    Learned Step Size Quantization (LSQ), ICLR 2020. ``keep``: where the value stays float (broadcast), or None."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, low: int, high: int, keep: Tensor | None) -> Tensor:
        units = x / scale
        codes = units.round().clamp_(low, high)
        ctx.save_for_backward(units, codes, keep)
        result = codes * scale
        return result if keep is None else torch.where(keep, x, result)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gradient = gradients[0]
        units, codes, keep = ctx.saved_tensors
        inside = (units - codes).abs_() <= 0.5
        quantized = gradient if keep is None else torch.where(keep, 0, gradient)
        through = quantized * inside
        of_scale = (quantized * codes).sum() - (through * units).sum()
        return through if keep is None else torch.where(keep, gradient, through), of_scale, None, None, None


class _Quantizer:
    """The grid of a tensor, its scale learned; the zero point stays, so that zero stays exact."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.exponent = torch.zeros((), requires_grad=True)

    def __call__(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        g = self.grid
        ends = g.low - g.zero_point, g.high - g.zero_point
        result: Tensor = _FakeQuantize.apply(x, self.scale(), *ends, keep)
        return result

    def scale(self) -> Tensor:
        return self.grid.scale * torch.exp(self.exponent)

    def learned(self) -> Grid:
        return replace(self.grid, scale=float(self.scale().detach()))


class _Rounding:
    """Each weight's choice between the code below and the one above, learned as a number between 0 and 1.

    Nagel et al., Up or Down? Adaptive Rounding for Post-Training Quantization (AdaRound), ICML 2020. Starts halfway
    between the real weight and the code that it has, which makes up for other weights' errors.
    """

    def __init__(self, layer: Layer) -> None:
        self.layer, scale = layer, layer.quantized.scale
        self.limit = _float32(limits(layer.bits, len(scale)))[:, None]
        units = layer.real.reshape(len(scale), -1) / scale.astype(np.float64)[:, None]
        self.scale = torch.from_numpy(scale.copy())[:, None]
        codes = layer.quantized.codes.reshape(units.shape).astype(np.float64)
        below = np.where(codes > units, codes - 1, codes)
        self.below = _float32(below)
        low, high = STRETCH
        start = (codes - below + np.clip(units - below, 0, 1)) / 2
        share = (_float32(start) - low) / (high - low)
        self.choice = torch.logit(share).requires_grad_()
        self.bias = None if layer.bias is None else _float32(layer.bias).requires_grad_()

    def up(self) -> Tensor:
        low, high = STRETCH
        return (torch.sigmoid(self.choice) * (high - low) + low).clamp(0, 1)

    def undecided(self, sharpness: float) -> Tensor:
        """How many weights are between two codes; one in the middle counts as 1."""
        return (1 - (2 * self.up() - 1).abs().pow(sharpness)).sum()

    def between(self) -> tuple[Tensor, Tensor | None]:
        return _weight(self.layer, (self.below + self.up()).clamp(-self.limit, self.limit) * self.scale), self.bias

    def learned(self) -> Layer:
        codes = (self.below + (self.choice >= 0)).clamp(-self.limit, self.limit).reshape(self.layer.real.shape)
        bias = None if self.bias is None else self.bias.detach().numpy().astype(np.float64)
        quantized = QuantizedWeight(codes.to(torch.int8).numpy(), self.layer.quantized.scale)
        return replace(self.layer, quantized=quantized, bias=bias)


def _float32(array: Any) -> Tensor:
    return torch.from_numpy(np.array(array, np.float32))


def _weight(layer: Layer, rows: Tensor) -> Tensor:
    """(outputs, inputs) in the layout of the node."""
    weight = rows.reshape(layer.real.shape)
    return weight if layer.weights.axis == 0 else weight.T


def _constants(layer: Layer) -> tuple[Tensor, Tensor | None]:
    """What the machine multiplies with and adds."""
    return _weight(layer, _float32(layer.quantized.real())), None if layer.bias is None else _float32(layer.bias)


@dataclass
class _Learner:
    """The network, float and quantized, and the random numbers."""

    graph: TorchGraph
    sites: frozenset[str]
    shared: dict[str, tuple[str, ...]]
    """Edges that share a grid, by each of them."""
    grids: dict[str, Grid]
    layers: dict[str, Layer]
    steps: int
    random: torch.Generator

    def block(self, block: Block, fisher: Tensor, x: Tensor, exact: Tensor) -> tuple[Tensor, Tensor, Reconstruction]:
        """The quantized and the float block's output for ``x`` and ``exact`` (N, ...), and what was learned."""
        target = self._map(block, lambda part: self.graph.run(block.nodes, {block.x: part})[block.y], exact)
        edges = [edge for node in block.nodes for edge in node.outputs if edge in self.sites]
        alike = {edge: self.shared.get(edge, (edge,)) for edge in edges}
        by_grid = {group: _Quantizer(self.grids[group[0]]) for group in alike.values()}
        quantizers = {edge: by_grid[group] for edge, group in alike.items()}
        learnable = [edge for edge, group in alike.items() if set(group) <= set(edges)]
        roundings = {n.name: _Rounding(self.layers[n.name]) for n in block.nodes if n.name in self.layers}
        layers = {name: self.layers[name] for name in roundings}
        energy = float((fisher * target**2).mean())

        def error(y: Tensor, wanted: Tensor) -> Tensor:
            return (fisher * (y - wanted) ** 2).mean()

        before = self._output(block, quantizers, layers, x)
        noise = float(error(before, target))
        kept = after = None
        if noise > 0 and energy > 0 and (roundings or learnable):
            self._learn(block, quantizers, learnable, roundings, (x, exact, target), lambda a, b: error(a, b) / noise)
            layers = {name: rounding.learned() for name, rounding in roundings.items()}
            grids = {edge: quantizers[edge].learned() for edge in learnable}
            after = self._output(block, quantizers, layers, x)
            if float(error(after, target)) < noise and self._fits({**self.grids, **grids}, layers):
                kept = after
                self.grids.update(grids)
                self.layers.update(layers)
        done = Reconstruction(
            block.y,
            len(roundings),
            decibels(energy, noise),
            None if after is None else decibels(energy, float(error(after, target))),
            kept is not None,
        )
        return before if kept is None else kept, target, done

    def _learn(
        self,
        block: Block,
        quantizers: Mapping[str, _Quantizer],
        learnable: Sequence[str],
        roundings: Mapping[str, _Rounding],
        images: tuple[Tensor, Tensor, Tensor],
        error: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        x, exact, target = images
        scales = list({id(q): q.exponent for q in (quantizers[edge] for edge in learnable)}.values())
        parameters = {
            "rounding": [r.choice for r in roundings.values()],
            "bias": [r.bias for r in roundings.values() if r.bias is not None],
            "scale": scales,
        }
        adam = torch.optim.Adam([{"params": p, "lr": RATES[name]} for name, p in parameters.items() if p])
        batch = self._batch(block, BATCH)
        for step in range(self.steps):
            chosen = torch.randint(len(x), (batch,), generator=self.random)
            inputs = torch.where(self._dropped(x[chosen]), exact[chosen], x[chosen])
            y = self._run(block, quantizers, lambda name: roundings[name].between(), inputs, drop=True)
            loss = error(y, target[chosen])
            past = (step / self.steps - WARM) / (1 - WARM)
            if past > 0:
                sharpness = SHARPNESS[0] + (SHARPNESS[1] - SHARPNESS[0]) * past
                for rounding in roundings.values():
                    loss = loss + PUSH * rounding.undecided(sharpness)
            adam.zero_grad()
            loss.backward()
            adam.step()

    def _output(
        self, block: Block, quantizers: Mapping[str, _Quantizer], layers: Mapping[str, Layer], x: Tensor
    ) -> Tensor:
        constants = {name: _constants(layer) for name, layer in layers.items()}
        return self._map(block, lambda part: self._run(block, quantizers, constants.__getitem__, part), x)

    def _run(
        self,
        block: Block,
        quantizers: Mapping[str, _Quantizer],
        constants: Callable[[str], tuple[Tensor, Tensor | None]],
        x: Tensor,
        drop: bool = False,
    ) -> Tensor:
        def at_edge(edge: str, value: Tensor) -> Tensor:
            if edge not in quantizers:
                return value
            return quantizers[edge](value, self._dropped(value) if drop and edge != block.y else None)

        def weight_of(node: OnnxNode) -> tuple[Tensor, Tensor | None] | None:
            return constants(node.name) if node.name in self.layers else None

        return self.graph.run(block.nodes, {block.x: x}, weight_of, at_edge)[block.y]

    def _dropped(self, x: Tensor) -> Tensor:
        return torch.rand((*x.shape[:2], *[1] * (x.ndim - 2)), generator=self.random) < DROP

    def _map(self, block: Block, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([function(part) for part in torch.split(x, self._batch(block, 4 * BATCH))])

    def _batch(self, block: Block, most: int) -> int:
        widest = max(_values(self.graph.source, edge) for node in block.nodes for edge in node.outputs)
        return max(1, min(most, BATCH_VALUES // widest))

    def _fits(self, grids: Mapping[str, Grid], layers: Mapping[str, Layer]) -> bool:
        """Biases still fit the machine's accumulator."""
        units = [(la.bias, grids[la.weights.x].scale * la.quantized.scale) for la in layers.values()]
        return all(bias is None or float(np.abs(bias / unit).max()) <= 1.25 * BIAS_LIMIT for bias, unit in units)


def _values(source: OnnxGraph, edge: str) -> int:
    return int(np.prod(source.shapes.get(edge, (1,)), dtype=np.int64))


def reconstruct(
    source: OnnxGraph,
    placement: Placement,
    sites: Sequence[str],
    grids: Mapping[str, Grid],
    layers: Mapping[str, Layer],
    images: Images,
    steps: int,
    seed: int,
    progress: Progress,
) -> tuple[dict[str, Grid], dict[str, Layer], list[Reconstruction]]:
    """Better grids of ``sites`` and layers (by node name), learned in ``steps`` steps a block; what became of each.

    Raises ModelError where the batch is not the first dimension of every edge.
    """
    graph = TorchGraph(source)
    blocks = blocks_of(source, sites, layers)
    widest = max(_values(source, edge) for edge in [source.input, *(b.y for b in blocks)])
    exact = torch.from_numpy(np.stack(list(images.first(max(1, KEPT_VALUES // widest)))))
    shared = {edge: group for group in placement.groups for edge in group}
    random = torch.Generator().manual_seed(seed)
    fisher = _fisher(graph, [b.y for b in blocks], exact[:FISHER_IMAGES], random)
    learner = _Learner(graph, frozenset(sites), shared, dict(grids), dict(layers), steps, random)
    with torch.no_grad():
        x = _Quantizer(grids[source.input])(exact)
    result = []
    for index, block in enumerate(blocks):
        progress("reconstructing blocks", index, len(blocks))
        x, exact, done = learner.block(block, fisher[block.y], x, exact)
        result.append(done)
    return learner.grids, learner.layers, result


def _fisher(graph: TorchGraph, edges: Sequence[str], images: Tensor, random: torch.Generator) -> dict[str, Tensor]:
    """How much the loss depends on each channel of ``edges``, broadcast to the edge, 1 in the mean.

    The mean square of the gradient of the cross-entropy, with classes drawn from what the float network gives: the
    diagonal of the Fisher information, which is the Hessian of the Kullback-Leibler divergence from the float network.
    """
    source = graph.source
    totals: dict[str, Tensor] = {}
    for part in torch.split(images, max(1, min(BATCH, BATCH_VALUES // _values(source, source.input)))):
        seen: dict[str, Tensor] = {}

        def keep(edge: str, value: Tensor, seen: dict[str, Tensor] = seen) -> Tensor:
            if edge in edges:
                seen[edge] = value
                value.retain_grad()
            return value

        y = graph.run(source.nodes, {source.input: part.clone().requires_grad_()}, at_edge=keep)[source.output]
        logits = y.reshape(len(part), -1)
        drawn = torch.multinomial(torch.softmax(logits.detach(), 1), 1, generator=random)
        functional.cross_entropy(logits, drawn[:, 0], reduction="sum").backward()
        for edge, value in seen.items():
            assert value.grad is not None
            square = value.grad.square().sum(dim=0)
            channels = square.mean(dim=list(range(1, square.ndim)), keepdim=True) if square.ndim > 1 else square
            totals[edge] = totals.get(edge, torch.zeros(())) + channels
    return {edge: _weights_of(total) for edge, total in totals.items()}


def _weights_of(total: Tensor) -> Tensor:
    mean = total.mean()
    return torch.ones_like(total) if not mean > 0 else (total / mean).clamp(min=LEAST_WEIGHT)
