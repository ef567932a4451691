# SPDX-License-Identifier: Apache-2.0
"""Fuse pointwise operators into the kernel that feeds them."""

from __future__ import annotations

from dataclasses import replace

from hwgen import numerics as nx
from hwgen.ir import AddSpec, Conv, Eltwise, Graph, LayerNorm, Linear, Op, Table


def _with_table(op: Op, table: Table) -> Op | None:
    """``op`` followed by ``table``, or None where its engine has no table behind its last step."""
    if isinstance(op, Conv) and op.add is not None:
        return None
    if isinstance(op, (Conv, Linear, LayerNorm, Eltwise)):
        return replace(op, table=table if op.table is None else nx.lookup(table, op.table))
    return None


def fuse_tables(graph: Graph) -> Graph:
    """Fold a table into its producer, where nothing else reads the tensor in between."""
    ops: list[Op] = []
    position: dict[str, int] = {}
    for op in graph.ops:
        if isinstance(op, Eltwise) and op.add is None and op.table is not None and op.x in position:
            alone = len(graph.consumers(op.x)) == 1 and op.x != graph.output
            producer = ops[position[op.x]]
            fused = _with_table(producer, op.table) if alone else None
            if fused is not None:
                index = position.pop(op.x)
                ops[index] = replace(fused, y=op.y, source=fused.source + op.source)
                position[op.y] = index
                continue
        position[op.y] = len(ops)
        ops.append(op)
    return graph.with_ops(tuple(ops))


def _fuse_add(graph: Graph, add: Eltwise, producers: dict[str, Op]) -> tuple[Conv, Conv] | None:
    """The convolution with ``add`` in its epilogue, and the operator that it replaces beside ``add``."""
    assert add.add is not None and add.residual is not None
    spec = add.add
    swapped = AddSpec(spec.mb, spec.ma, spec.constant, spec.shift, spec.zero_point)
    for own, other, constants in ((add.x, add.residual, spec), (add.residual, add.x, swapped)):
        conv = producers.get(own)
        if not isinstance(conv, Conv) or conv.depthwise or conv.add is not None:
            continue
        if other in (own, conv.x):  # a pad is read once an instruction: the residual must be another tensor
            continue
        if len(graph.consumers(own)) == 1 and own != graph.output:
            source = conv.source + add.source
            return replace(conv, y=add.y, residual=other, add=constants, source=source), conv
    return None


def fuse_residuals(graph: Graph) -> Graph:
    """Fold a residual add into the convolution that feeds it; the convolution moves to the add's place in the order."""
    ops: list[Op] = list(graph.ops)
    producers = {op.y: op for op in ops}
    for op in graph.ops:
        if not isinstance(op, Eltwise) or op.add is None or op.table is not None:
            continue
        fused = _fuse_add(graph, op, producers)
        if fused is None:
            continue
        conv, old = fused
        ops = [conv if o is op else o for o in ops if o is not old]
        producers[op.y] = conv
    return graph.with_ops(tuple(ops))
