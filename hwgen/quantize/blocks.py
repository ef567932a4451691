# SPDX-License-Identifier: Apache-2.0
"""Blocks of a network that are reconstructed together: one quantized edge leads in, one out."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from hwgen.frontend.onnx_file import OnnxGraph, OnnxNode

LAYERS = 3
"""Layers with nothing around them are taken together up to so many: an inverted bottleneck."""


@dataclass(frozen=True)
class Block:
    """Nodes in order, the edge that they read and the edge that is read behind them."""

    nodes: tuple[OnnxNode, ...]
    x: str
    y: str


@dataclass(frozen=True)
class _Piece:
    """What lies between two edges that everything passes. ``branches``: several edges live inside."""

    nodes: tuple[OnnxNode, ...]
    y: str
    branches: bool
    layers: int


def blocks_of(source: OnnxGraph, sites: Collection[str], layers: Collection[str]) -> list[Block]:
    """The network in blocks, in order. ``layers``: names of the nodes with weights.

    A residual connection or an attention is never cut. Chains are cut so that no block has more than LAYERS layers.
    """
    blocks: list[Block] = []
    held: list[_Piece] = []
    for piece in _pieces(source, sites, layers):
        count = sum(p.layers for p in held) + piece.layers
        if piece.layers and held and (held[0].branches or piece.branches or count > LAYERS):
            blocks.append(_join(held, blocks[-1].y if blocks else source.input))
            held = []
        held.append(piece)
    return [*blocks, _join(held, blocks[-1].y if blocks else source.input)]


def _join(pieces: list[_Piece], x: str) -> Block:
    return Block(tuple(n for p in pieces for n in p.nodes), x, pieces[-1].y)


def _pieces(source: OnnxGraph, sites: Collection[str], layers: Collection[str]) -> Iterator[_Piece]:
    last = {edge: index for index, node in enumerate(source.nodes) for edge in node.inputs}
    last[source.output] = len(source.nodes)
    live, active, branches = {source.input}, {source.input}, False
    nodes: list[OnnxNode] = []
    for index, node in enumerate(source.nodes):
        nodes.append(node)
        if active.isdisjoint(node.inputs):
            continue  # computed from constants
        active.update(node.outputs)
        live = {edge for edge in live.union(node.outputs) if last.get(edge, -1) > index}
        branches |= len(live) > 1
        if len(live) == 1 and not live.isdisjoint(sites):
            yield _Piece(tuple(nodes), next(iter(live)), branches, sum(n.name in layers for n in nodes))
            nodes, branches = [], False
