# SPDX-License-Identifier: Apache-2.0
"""The direct reference: the kernel graph on whole tensors. It knows nothing of tiles, addresses or the Program."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hwgen import numerics as nx
from hwgen.ir import Attention, Conv, Eltwise, Graph, Input, LayerNorm, Linear, Op, Pool
from hwgen.kernels import conv, linear_attention, mlp

Codes = npt.NDArray[np.int8]


def run(graph: Graph, image: npt.NDArray[np.int8] | npt.NDArray[np.uint8]) -> dict[str, Codes]:
    """Every tensor of the kernel graph, (C, H, W) int8, for one frame.

    ``image`` is (C, H, W) as in ``graph.input.image``: int8 codes, or uint8 where the input has tables.
    """
    values: dict[str, Codes] = {}
    for op in graph.ops:
        values[op.y] = load(op, image) if isinstance(op, Input) else compute(graph, op, values)
    return values


def load(op: Input, image: npt.NDArray[np.int8] | npt.NDArray[np.uint8]) -> Codes:
    """Tables and space-to-depth of the input."""
    codes = image if op.table is None else np.stack([t[c] for t, c in zip(op.table, image, strict=True)])
    codes = codes.astype(np.int8)
    if op.block == 1:
        return codes
    c, h, w = codes.shape
    blocks = codes.reshape(c, h // op.block, op.block, w // op.block, op.block)
    return np.ascontiguousarray(blocks.transpose(2, 4, 0, 1, 3)).reshape(-1, h // op.block, w // op.block)


def compute(graph: Graph, op: Op, values: dict[str, Codes]) -> Codes:
    """One kernel, given the tensors it reads."""
    if isinstance(op, Attention):
        zero = graph.tensors[op.xs[0]].quant.zero_point
        return np.concatenate([linear_attention.attend(values[x], op, zero) for x in op.xs])
    assert not isinstance(op, Input)
    x, zero = values[op.x], graph.tensors[op.x].quant.zero_point
    if isinstance(op, Conv):
        residual = values[op.residual] if op.residual else None
        return conv.epilogue(conv.accumulate(x, op, zero), op.requant, op.table, residual, op.add)
    if isinstance(op, Linear):
        units = x.reshape(-1).astype(np.float64) - zero
        acc = op.weight.astype(np.float64) @ units + op.bias
        return conv.epilogue(acc, op.requant, op.table).reshape(-1, 1, 1)
    if isinstance(op, Eltwise):
        return conv.pointwise(x, op.table, values[op.residual] if op.residual else None, op.add)
    if isinstance(op, Pool):
        acc = x.reshape(len(x), -1).sum(axis=1, dtype=np.int64) - x.shape[1] * x.shape[2] * zero
        return nx.requantize(acc, op.multiplier, op.shift, op.zero_point).reshape(-1, 1, 1)
    assert isinstance(op, LayerNorm)
    codes: Codes = mlp.layer_norm(x.reshape(-1), zero, op.gamma, op.beta, op.shift, op.epsilon, op.zero_point)
    return (codes if op.table is None else nx.lookup(op.table, codes)).reshape(-1, 1, 1)
