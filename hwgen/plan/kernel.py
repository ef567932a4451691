# SPDX-License-Identifier: Apache-2.0
"""What the planner knows about each kernel: shapes, windows, weight structure. Derived once from the graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hwgen import ir
from hwgen.errors import InternalError
from hwgen.plan import layout
from hwgen.plan.program import LANES

TILEABLE = ("input", "conv", "depthwise", "eltwise")
"""Kinds that can run on some rows of their input; the others need all of it."""
HEAD = ("pool", "linear", "layer_norm")
"""Kinds that the MLP engine runs."""


@dataclass(frozen=True)
class Kernel:
    """One operator with everything that decides its cost and its memory. Shapes are (C, H, W)."""

    index: int
    op: ir.Op
    kind: str
    xs: tuple[str, ...]
    residual: str | None
    y: str
    shape: ir.Shape
    x_shape: ir.Shape
    x_zero: int = 0
    window: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    ci_groups: int = 0
    og_per_group: int = 0
    packed: bool = True
    table: int = 0
    """Ring rows of the table: 0, 2 or 32 (input: 2 for each image channel)."""

    @property
    def groups(self) -> int:
        return -(-self.shape[0] // LANES)

    @property
    def height(self) -> int:
        return self.shape[1]

    @property
    def width(self) -> int:
        return self.shape[2]

    @property
    def tileable(self) -> bool:
        return self.kind in TILEABLE

    @property
    def head(self) -> bool:
        """Runs on the MLP engine, with constants from its own ring."""
        return self.kind in HEAD

    @property
    def pointwise(self) -> bool:
        """Output pixel p reads input pixel p only, so rows may be joined to one long row."""
        plain = self.window == (1, 1) and self.stride == (1, 1) and self.pads == (0, 0, 0, 0)
        return self.kind == "eltwise" or (self.kind == "conv" and plain)

    @property
    def taps(self) -> int:
        return self.window[0] * self.window[1]

    def input_rows(self, row0: int, row1: int) -> tuple[int, int]:
        """Rows ``[first, end)`` of ``x`` that exist and that output rows ``[row0, row1)`` read."""
        top = self.pads[0]
        first = max(row0 * self.stride[0] - top, 0)
        end = min((row1 - 1) * self.stride[0] - top + self.window[0], self.x_shape[1])
        return first, max(end, 0)


def describe(graph: ir.Graph) -> tuple[Kernel, ...]:
    """One :class:`Kernel` for each operator, in order. Raises InternalError for an operator that is not a kernel."""
    return tuple(_kernel(graph, i, op) for i, op in enumerate(graph.ops))


def vectors(kernels: Sequence[Kernel]) -> frozenset[str]:
    """Tensors that live in the vector memory: the MLP engine makes them, and nobody but it and the store reads them."""
    made = {k.y for k in kernels if k.head}
    for k in kernels:
        if k.kind not in ("linear", "layer_norm"):
            made.difference_update((*k.xs, k.residual))
    return frozenset(made)


def _kernel(graph: ir.Graph, index: int, op: ir.Op) -> Kernel:
    shape = graph.tensors[op.y].shape
    if isinstance(op, ir.Input):
        rows = 2 * op.image[0] if op.table is not None else 0
        return Kernel(index, op, "input", (), None, op.y, shape, op.image, table=rows)
    xs = op.xs if isinstance(op, ir.Attention) else (op.x,)
    source = graph.tensors[xs[0]]
    table = getattr(op, "table", None)
    rows = 0 if table is None else len(table) // 128
    zero, x_shape = source.quant.zero_point, source.shape
    if isinstance(op, ir.Conv):
        window = (int(op.weight.shape[2]), int(op.weight.shape[3]))
        packed = layout.is_packed(op.weight)
        kind = "depthwise" if op.depthwise else "conv"
        if op.depthwise and op.residual is not None:
            raise InternalError(f"kernel {op.name}: a depthwise convolution has no residual add")
        ci, per = (1, 1) if op.depthwise else layout.group_structure(op)
        return Kernel(
            index, op, kind, xs, op.residual, op.y, shape, x_shape, zero,
            window, op.stride, op.pads, ci, per, packed, rows,
        )  # fmt: skip
    if isinstance(op, ir.Eltwise):
        return Kernel(index, op, "eltwise", xs, op.residual, op.y, shape, x_shape, zero, table=rows)
    if isinstance(op, ir.Linear):
        ci = -(-x_shape[0] // LANES)
        packed = layout.is_packed(op.weight)
        return Kernel(
            index, op, "linear", xs, None, op.y, shape, x_shape, zero, ci_groups=ci, packed=packed, table=rows
        )
    if isinstance(op, ir.Attention):
        return Kernel(index, op, "attention", xs, None, op.y, shape, x_shape, zero)
    kind = "pool" if isinstance(op, ir.Pool) else "layer_norm"
    return Kernel(index, op, kind, xs, None, op.y, shape, x_shape, zero, table=rows)
