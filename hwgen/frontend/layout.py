# SPDX-License-Identifier: Apache-2.0
"""Operators that only rearrange elements: they change views and compute nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from hwgen.frontend.context import Inputs, Lowering
from hwgen.frontend.onnx_file import OnnxNode
from hwgen.frontend.values import (
    SOURCES_MAX,
    Codes,
    Constant,
    Real,
    Unsupported,
    Value,
    positions,
)


def rearrange(low: Lowering, node: OnnxNode, inputs: Inputs, shape: tuple[int, ...]) -> Value:
    """Reshape, Flatten, Squeeze, Unsqueeze, Transpose, Slice: apply the operator to element positions."""
    value = inputs[0]
    if isinstance(value, Codes):
        real = rearrange(low, node, [value.real, *inputs[1:]], shape)
        assert isinstance(real, Real)
        return replace(value, real=real)
    if isinstance(value, Constant):
        raise Unsupported("rearranges a constant", "Fold constants before quantizing")
    assert isinstance(value, Real)
    if node.op in ("Reshape", "Flatten", "Squeeze", "Unsqueeze"):
        if math.prod(shape) != math.prod(value.shape):
            raise Unsupported("changes the number of elements", "Check the model with onnx.checker")
        index = None if value.index is None else value.index.reshape(shape)
        return replace(value, shape=shape, index=index)
    if node.op == "Transpose":
        perm = node.attributes.get("perm", list(range(len(value.shape)))[::-1])
        return value.viewed(positions(value.shape).transpose([int(p) for p in perm]))
    return value.viewed(positions(value.shape)[_slices(inputs[1:], value.shape)])


def _slices(operands: Inputs, shape: tuple[int, ...]) -> tuple[slice, ...]:
    if not all(o is None or isinstance(o, Constant) for o in operands):
        raise Unsupported("its bounds are computed at run time", "Make them constants")
    lists = [None if o is None else [int(v) for v in np.asarray(o.value).reshape(-1)] for o in operands]
    lists += [None] * (4 - len(lists))
    starts, ends, axes, steps = lists[:4]
    assert starts is not None and ends is not None
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    result = [slice(None)] * len(shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step < 1:
            raise Unsupported(f"slices with step {step}", "Only forward slices are mapped")
        result[axis % len(shape)] = slice(start, min(end, shape[axis]), step)
    return tuple(result)


def concatenate(low: Lowering, node: OnnxNode, inputs: Inputs, shape: tuple[int, ...]) -> Value:
    """Concat: the sources one after the other."""
    if not all(isinstance(i, Real) for i in inputs):
        raise Unsupported("concatenates constants or codes", "Use the QDQ format")
    if any(i.pad is not None for i in inputs):
        raise Unsupported("concatenates something padded", "Pad the result of the Concat")
    if sum(len(i.sources) for i in inputs) > SOURCES_MAX:
        raise Unsupported(f"concatenates more than {SOURCES_MAX} tensors", "Use fewer of them")
    axis = int(node.attributes["axis"]) % len(shape)
    pieces, offset = [], 0
    for value in inputs:
        pieces.append(value.full_index() + offset)
        offset += sum(math.prod(s.shape) for s in value.sources)
    index = np.concatenate(pieces, axis=axis)
    implicit = np.array_equal(index.reshape(-1), np.arange(offset))
    sources = tuple(s for v in inputs for s in v.sources)
    functions = tuple(f for v in inputs for f in v.functions)
    return Real(sources, functions, shape, None if implicit else index)


def pad(low: Lowering, node: OnnxNode, inputs: Inputs, shape: tuple[int, ...]) -> Value:
    """Pad with a constant, as in front of K^T V."""
    value = inputs[0]
    if (
        not isinstance(value, Real)
        or not isinstance(inputs[1], Constant)
        or node.attributes.get("mode") in ("edge", "reflect", "wrap")
    ):
        raise Unsupported("is not a constant padding of an activation", "Use mode 'constant'")
    fill = inputs[2] if len(inputs) > 2 else None
    if fill is not None and not isinstance(fill, Constant):
        raise Unsupported("its fill value is computed at run time", "Make it a constant")
    amounts = np.asarray(inputs[1].value).reshape(2, -1)
    if len(inputs) > 3 and inputs[3] is not None:  # from opset 18
        if not isinstance(inputs[3], Constant):
            raise Unsupported("its axes are computed at run time", "Make them constants")
        some, amounts = amounts, np.zeros((2, len(value.shape)), np.int64)
        amounts[:, np.asarray(inputs[3].value).reshape(-1)] = some
    if amounts.min() < 0:
        raise Unsupported("crops by negative padding", "Use Slice")
    constant = 0.0 if fill is None else float(np.asarray(fill.value).reshape(()))
    if value.pad is not None and value.pad != constant:
        raise Unsupported("pads twice with different values", "Pad once")
    index = np.pad(value.full_index(), tuple(map(tuple, amounts.T)), constant_values=-1)
    return replace(value, shape=tuple(index.shape), index=index, pad=constant, quant=None, codes=None)
