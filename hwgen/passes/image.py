# SPDX-License-Identifier: Apache-2.0
"""The input: space-to-depth for a strided stem, and normalization of uint8 images by table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hwgen import numerics as nx
from hwgen.errors import Problem, UserError
from hwgen.ir import Conv, Graph, Op

LANES = 16
BLOCK = 2


def _axis(kernel: int, before: int, size: int, output: int) -> tuple[int, int, int, int]:
    """One axis of the rewritten window: (kernel, pad before, pad after, offset of the first tap in the new window)."""
    pad = -(-before // BLOCK)
    offset = BLOCK * pad - before
    new = (kernel - 1 + offset) // BLOCK + 1
    return new, pad, output - size // BLOCK - pad + new - 1, offset


def fold_space_to_depth(graph: Graph) -> Graph:
    """Turn a stride-2 stem on few channels into a stride-1 convolution on 2x2 blocks.

    The loader stores each 2x2 block of pixels as one pixel of four times the channels; the window's taps move to their
    place in the block, other taps are zero. Padding stays exact, because a padded block holds only padded pixels.
    """
    image = graph.input
    consumers = graph.consumers(image.y)
    channels, height, width = image.image
    if len(consumers) != 1 or image.y == graph.output or image.block != 1:
        return graph
    conv = consumers[0]
    fits = channels * BLOCK**2 <= LANES and height % BLOCK == 0 and width % BLOCK == 0
    if not (isinstance(conv, Conv) and fits and conv.stride == (2, 2) and conv.groups == 1):
        return graph
    if conv.residual == image.y:
        return graph
    outputs, _, kh, kw = conv.weight.shape
    _, out_h, out_w = graph.tensors[conv.y].shape
    nh, top, bottom, dy = _axis(kh, conv.pads[0], height, out_h)
    nw, left, right, dx = _axis(kw, conv.pads[1], width, out_w)
    if min(bottom, right) < 0:
        return graph
    taps = np.zeros((outputs, channels, nh * BLOCK, nw * BLOCK), np.int8)
    taps[:, :, dy : dy + kh, dx : dx + kw] = conv.weight
    blocks = taps.reshape(outputs, channels, nh, BLOCK, nw, BLOCK).transpose(0, 3, 5, 1, 2, 4)
    weight = np.ascontiguousarray(blocks.reshape(outputs, channels * BLOCK**2, nh, nw))
    stem = replace(conv, weight=weight, stride=(1, 1), pads=(top, left, bottom, right))
    ops: tuple[Op, ...] = tuple(
        replace(image, block=BLOCK) if o is image else stem if o is conv else o for o in graph.ops
    )
    tensors = dict(graph.tensors)
    shape = (channels * BLOCK**2, height // BLOCK, width // BLOCK)
    tensors[image.y] = replace(tensors[image.y], shape=shape)
    return graph.with_ops(ops, tensors)


def normalize_image(graph: Graph, mean: Sequence[float] | None, std: Sequence[float] | None) -> Graph:
    """Let the loader take uint8 images: ``quantize((byte / 255 - mean[c]) / std[c])`` by one table per channel.

    Raises UserError where mean or std is missing, not finite, or has another number of channels.
    """
    image = graph.input
    channels = image.image[0]
    problems = []
    for name, values in (("mean", mean), ("std", std)):
        if values is None:
            problems.append(Problem(name, "", "is missing", "Give --mean and --std together"))
        elif len(values) != channels:
            reason = f"has {len(values)} values, the model's input {channels} channels"
            problems.append(Problem(name, "", reason, f"Give {channels} numbers, separated by commas"))
        elif not np.isfinite(values).all() or (name == "std" and min(values) <= 0):
            problems.append(Problem(name, "", f"is {list(values)}", "Give finite numbers; std must be positive"))
    if problems or mean is None or std is None:
        raise UserError("the image normalization cannot be used:", problems)
    pixels = np.arange(256, dtype=np.float32) / np.float32(255)
    quant = graph.input_quant
    table = np.stack(
        [
            nx.quantize((pixels - np.float32(m)) / np.float32(s), quant.scale, quant.zero_point)
            for m, s in zip(mean, std, strict=True)
        ]
    )
    return graph.with_ops(tuple(replace(o, table=table) if o is image else o for o in graph.ops))
