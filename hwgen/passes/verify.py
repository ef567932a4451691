# SPDX-License-Identifier: Apache-2.0
"""The verifier: what must hold of every graph, between all passes. A violation is a bug of hwgen."""

from __future__ import annotations

import math

import numpy as np

from hwgen import numerics as nx
from hwgen.errors import InternalError
from hwgen.ir import Attention, Conv, Eltwise, Graph, Input, LayerNorm, Linear, Op, Pool, Requant, Shape, Tensor, reads
from hwgen.kernels.conv import accumulator_bound, output_size


def _check(condition: bool, op: Op | None, what: str) -> None:
    if not condition:
        raise InternalError(f"graph verifier: {getattr(op, 'name', 'graph')}: {what}")


def verify(graph: Graph) -> None:
    """Raises InternalError at the first broken invariant: order, shapes, widths, constants."""
    _check(bool(graph.ops) and isinstance(graph.ops[0], Input), None, "the first operator is not the input")
    written: set[str] = set()
    _check(len({op.name for op in graph.ops}) == len(graph.ops), None, "two operators have one name")
    for op in graph.ops:
        for name in (*reads(op), op.y):
            _check(name in graph.tensors, op, f"tensor {name!r} is not declared")
        for name in reads(op):
            _check(name in written, op, f"reads {name!r} before it is written")
        _check(op.y not in written, op, f"writes {op.y!r} a second time")
        _check(op is graph.ops[0] or not isinstance(op, Input), op, "is a second input")
        written.add(op.y)
        _verify_op(op, graph.tensors)
    _check(graph.output in written, None, "the output is not written")
    _check(set(graph.tensors) == written, None, "a declared tensor is not written")
    for name, tensor in graph.tensors.items():
        _check(min(tensor.shape) > 0, None, f"{name!r} has shape {tensor.shape}")
        q = tensor.quant
        _check(-128 <= q.zero_point <= 127 and q.scale > 0 and math.isfinite(q.scale), None, f"{name!r}: {q}")


def _expected_shape(op: Op, tensors: dict[str, Tensor]) -> Shape:
    if isinstance(op, Input):
        c, h, w = op.image
        return c * op.block**2, h // op.block, w // op.block
    if isinstance(op, Attention):
        shapes = [tensors[x].shape for x in op.xs]
        return sum(s[0] for s in shapes) // 3, shapes[0][1], shapes[0][2]
    x = tensors[op.x].shape
    if isinstance(op, Conv):
        top, left, bottom, right = op.pads
        rows = output_size(x[1], op.weight.shape[2], op.stride[0], top, bottom)
        return len(op.weight), rows, output_size(x[2], op.weight.shape[3], op.stride[1], left, right)
    if isinstance(op, Linear):
        return len(op.weight), 1, 1
    return (x[0], 1, 1) if isinstance(op, Pool) else x


def _verify_requant(op: Op, requant: Requant, outputs: int, table: object) -> None:
    _check(requant.multiplier.shape == requant.shift.shape == (outputs,), op, "requantization is not per channel")
    _check(bool((requant.multiplier >= 0).all() and (requant.multiplier < 1 << 17).all()), op, "multiplier too wide")
    _check(bool((requant.shift >= 0).all() and (requant.shift <= nx.SHIFT_MAX).all()), op, "shift out of range")
    size = None if table is None else len(np.asarray(table))
    _check(size == 4096 if requant.bits == 12 else size in (None, 256), op, "table does not fit the code width")
    _check(requant.bits in (8, 12) and -(1 << 15) <= requant.zero_point < 1 << 15, op, "zero point out of range")


def _verify_op(op: Op, tensors: dict[str, Tensor]) -> None:
    _check(_expected_shape(op, tensors) == tensors[op.y].shape, op, f"writes shape {tensors[op.y].shape}")
    if isinstance(op, (Conv, Linear)):
        x = tensors[op.x]
        _check(op.weight.dtype == np.int8 and op.bias.shape == (len(op.weight),), op, "weight or bias malformed")
        _verify_requant(op, op.requant, len(op.weight), op.table)
        bound = accumulator_bound(op.weight, op.bias, x.quant.zero_point)
        _check(bound < nx.ACCUMULATOR_LIMIT, op, f"accumulator may reach {bound}")
    if isinstance(op, Conv):
        _check(op.weight.shape[1] * op.groups == tensors[op.x].shape[0], op, "input channels do not match")
        _check(len(op.weight) % op.groups == 0, op, "output channels do not match the groups")
    if isinstance(op, Linear):
        _check((op.weight.shape[1], 1, 1) == tensors[op.x].shape, op, "input channels do not match")
    if isinstance(op, (Conv, Eltwise)):
        _check((op.residual is None) == (op.add is None), op, "residual and its constants do not go together")
        if op.residual is not None and op.add is not None:
            _check(tensors[op.residual].shape == tensors[op.y].shape, op, "residual has another shape")
            limit = 1 << nx.ADD_MULTIPLIER_BITS
            _check(min(op.add.ma, op.add.mb) >= 0, op, "residual multiplier negative")
            _check(max(op.add.ma, op.add.mb) < limit, op, "residual multiplier too wide")
    if isinstance(op, Eltwise):
        _check(op.table is not None or op.add is not None, op, "does nothing")
        _check(op.table is None or len(op.table) == 256, op, "table malformed")
    if isinstance(op, Attention):
        offsets = sorted((op.q_offset, op.k_offset, op.v_offset))
        _check(offsets == [0, op.head_dim, 2 * op.head_dim], op, "Q, K, V overlap")
        _check(len({tensors[x].quant for x in op.xs}) == 1, op, "operands have different scales")
        _check(all(tensors[x].shape[0] % (3 * op.head_dim) == 0 for x in op.xs), op, "a head is split")
    if isinstance(op, LayerNorm):
        channels = tensors[op.x].shape[0]
        _check(op.gamma.shape == op.beta.shape == (channels,), op, "gamma or beta malformed")
        _check(bool((np.abs(op.gamma) < 1 << 17).all() and (np.abs(op.beta) < 1 << 45).all()), op, "constant too wide")
        _check(op.epsilon >= 1, op, "epsilon is not positive")
