# SPDX-License-Identifier: Apache-2.0
"""Pooling and LayerNormalization, up to their quantizer."""

from __future__ import annotations

import numpy as np

from hwgen.frontend.context import Inputs, Lowering
from hwgen.frontend.onnx_file import OnnxNode
from hwgen.frontend.values import (
    IDENTITY,
    Constant,
    Real,
    Root,
    Unsupported,
    Value,
)
from hwgen.kernels.mlp import NORM_CHANNELS_MAX


def pool(low: Lowering, node: OnnxNode, inputs: Inputs, shape: tuple[int, ...]) -> Value:
    """GlobalAveragePool, or ReduceMean over height and width."""
    x = low.image(inputs[0])
    if node.op == "ReduceMean":
        axes = node.attributes.get("axes")
        if axes is None and len(inputs) > 1 and isinstance(inputs[1], Constant):
            axes = np.asarray(inputs[1].value).reshape(-1).tolist()
        if sorted(int(a) % 4 for a in axes or []) != [2, 3]:
            raise Unsupported(f"averages over axes {axes}", "Only the mean over height and width is mapped")
    return Real((Root(node.name, "pool", shape, record=x),), (IDENTITY,), shape)


def layer_norm(low: Lowering, node: OnnxNode, inputs: Inputs, shape: tuple[int, ...]) -> Value:
    """LayerNormalization of one vector."""
    x = low.materialize(inputs[0])
    if int(node.attributes.get("axis", -1)) % len(shape) != len(shape) - 1 or (shape[-1], 1, 1) != x.shape:
        raise Unsupported("normalizes something other than one vector", "Only the head's LayerNormalization is mapped")
    if x.shape[0] > NORM_CHANNELS_MAX:
        raise Unsupported(f"normalizes {x.shape[0]} channels", f"Up to {NORM_CHANNELS_MAX} channels are mapped")
    if not all(i is None or isinstance(i, Constant) for i in inputs[1:]):
        raise Unsupported("its scale or bias is not a constant", "Make them initializers")
    gamma = np.broadcast_to(np.asarray(inputs[1].value, np.float64), shape).reshape(-1)
    beta = 0.0 if len(inputs) < 3 or inputs[2] is None else inputs[2].value
    beta = np.broadcast_to(np.asarray(beta, np.float64), shape).reshape(-1)
    record = (x, gamma, beta, float(node.attributes.get("epsilon", 1e-5)))
    return Real((Root(node.name, "layernorm", shape, record=record),), (IDENTITY,), shape)
