# SPDX-License-Identifier: Apache-2.0
"""What the handlers of ONNX nodes share: values of edges, emitted operators, problems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hwgen.errors import Problem
from hwgen.frontend import attention
from hwgen.frontend.onnx_file import OnnxGraph
from hwgen.frontend.values import (
    QUANTIZE_BOTH,
    Real,
    Root,
    Unsupported,
    Value,
    is_identity,
    table_of,
)
from hwgen.ir import Eltwise, Op, Quant, Shape, Tensor

Inputs = Sequence[Any]
"""Values of a node's inputs; None for an optional input that is not given."""


@dataclass
class Lowering:
    """The walk's state: values of edges, and what has been emitted."""

    onnx: OnnxGraph
    values: dict[str, Value] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    concats: dict[str, tuple[str, ...]] = field(default_factory=dict)
    materialized: dict[str, str] = field(default_factory=dict)
    """QuantizeLinear output -> the tensor that a table made of it"""

    def tensor(self, name: str, shape: Shape, quant: Quant, onnx: str, channels: tuple[int, int] | None = None) -> Root:
        """Declare an int8 tensor and return its root."""
        unique, n = name, 1
        while unique in self.tensors:
            unique, n = f"{name}_{n}", n + 1
        self.tensors[unique] = Tensor(unique, shape, quant, onnx, channels)
        return Root(unique, "codes", shape, quant, unique)

    def emit(self, op: Op) -> None:
        """Append an operator; a convolution that is quantized twice becomes two operators with two names."""
        unique, n = op.name, 1
        while unique in self.names:
            unique, n = f"{op.name}_{n}", n + 1
        self.names.add(unique)
        self.ops.append(replace(op, name=unique))

    def materialize(self, value: Value, what: str = "input") -> Tensor:
        """The int8 tensor behind a float edge, in its root's element order; emits a table where codes change."""
        if not isinstance(value, Real) or value.quant is None or value.codes is None:
            raise Unsupported(f"its {what} is not quantized", QUANTIZE_BOTH)
        codes = value.codes
        if value.index is not None:
            hint = "Only reshapes that keep the order of elements may stand here"
            raise Unsupported(f"its {what} is sliced, transposed or padded", hint)
        root = value.root
        if root.tensor is None or root.quant is None:
            if root.kind == "matmul":
                raise Unsupported("reads the product of two activations", attention.HINT)
            raise Unsupported(f"its {what} has no quantizer", QUANTIZE_BOTH)
        table = table_of(codes.real.functions[0], root.quant, codes.quant)
        if is_identity(table) and root.quant == codes.quant:
            return self.tensors[root.tensor]
        done = self.materialized.get(codes.name)
        if done is None:
            source = self.tensors[root.tensor]
            out = self.tensor(codes.name, source.shape, codes.quant, codes.name)
            self.emit(Eltwise(codes.name, source.name, out.name, table=table))
            self.materialized[codes.name] = done = out.name
        return self.tensors[done]

    def image(self, value: Value) -> Tensor:
        """:meth:`materialize` for operators that look at rows and columns: no reshape may stand in between."""
        tensor = self.materialize(value)
        assert isinstance(value, Real)
        if value.shape != (1, *tensor.shape):
            hint = "Only fully connected layers and linear attention can follow a reshape"
            raise Unsupported(f"reads {tensor.shape} reshaped to {value.shape}", hint)
        return tensor
