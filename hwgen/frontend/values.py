# SPDX-License-Identifier: Apache-2.0
"""What an edge of the ONNX graph *is*, while the frontend walks it.

A float edge is a :class:`Real`: a view of one or more roots (which element comes from where) with a function of one
variable on top. Q/DQ pairs, activations, Reshape, Transpose, Slice, Concat and Pad only change the view or the
function, so they vanish unless they matter. A QuantizeLinear edge is a :class:`Codes`: a Real about to be rounded.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Union

import numpy as np
import numpy.typing as npt

from hwgen import numerics as nx
from hwgen.ir import Quant

Index = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]


FUNCTION_MAX = 256
"""Steps of one pointwise function. Real chains have a dozen; without a bound a product of two branches, repeated,
would take exponential time."""
SOURCES_MAX = 256
"""Tensors in one concatenation."""
INDEX_MAX = 1 << 24
"""Elements of a map whose arrangement is followed one by one (attention); 128 MiB of positions."""


QUANTIZE_BOTH = "Quantize its inputs and its output (QuantizeLinear, DequantizeLinear)"
"""The hint where a quantizer is missing."""


class Unsupported(Exception):
    """A node that hwgen does not map: why, and what the user can do."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.reason, self.hint = reason, hint


@dataclass(frozen=True)
class Function:
    """A float32 function of one variable. ``clamp`` is set where it is just a clip to [low, high].

    ``size`` counts its steps; raises Unsupported above FUNCTION_MAX.
    """

    call: Callable[[Any], Any]
    clamp: tuple[float, float] | None = None
    size: int = 1

    def __post_init__(self) -> None:
        if self.size > FUNCTION_MAX:
            raise Unsupported(f"ends a chain of more than {FUNCTION_MAX} pointwise steps", "Shorten the chain")

    def then(self, other: Function) -> Function:
        """``other`` after ``self``."""
        clamp = None
        if self.clamp and other.clamp:
            low = float(np.clip(self.clamp[0], *other.clamp))
            clamp = (low, float(np.clip(self.clamp[1], *other.clamp)))
        return Function(lambda x: other.call(self.call(x)), clamp, self.size + other.size)

    @property
    def identity(self) -> bool:
        return self.clamp == (-np.inf, np.inf)


IDENTITY = Function(lambda x: x, (-np.inf, np.inf), 0)


def positions(shape: tuple[int, ...]) -> Index:
    """Every element's flat position; raises Unsupported above INDEX_MAX elements."""
    size = math.prod(shape)
    if size > INDEX_MAX:
        raise Unsupported(f"rearranges {size} elements", f"Use a smaller input; up to {INDEX_MAX} elements are mapped")
    return np.arange(size, dtype=np.int64).reshape(shape)


@dataclass(frozen=True, eq=False)
class Root:
    """Where values come from: an int8 tensor (``quant`` set), or the exact result of an operator (``quant`` None).

    ``record`` holds the operator's operands. A quantized root without ``tensor`` exists only inside an attention.
    """

    name: str
    kind: str
    """input, conv, linear, add, pool, layernorm, matmul, div or codes"""
    shape: tuple[int, ...]
    quant: Quant | None = None
    tensor: str | None = None
    record: Any = None


@dataclass(frozen=True, eq=False)
class Real:
    """A float edge: element i is ``functions[s](value of source s at index[i])``, or ``pad`` where index is -1.

    ``index`` counts through the sources one after the other, in their flat order; None means all of them, in order.
    ``quant`` is set directly after a DequantizeLinear.
    """

    sources: tuple[Root, ...]
    functions: tuple[Function, ...]
    shape: tuple[int, ...]
    index: Index | None = None
    pad: float | None = None
    quant: Quant | None = None
    codes: Codes | None = None

    @property
    def root(self) -> Root:
        """The only source; raises Unsupported where there are several."""
        if len(self.sources) != 1:
            raise Unsupported("reads a concatenation", "Only a linear attention can follow a Concat")
        return self.sources[0]

    def full_index(self) -> Index:
        """The index array, made where it was implicit."""
        return positions(self.shape) if self.index is None else self.index

    def apply(self, function: Function) -> Real:
        """A pointwise function on every element."""
        pad = None if self.pad is None else float(function.call(np.float32(self.pad)))
        functions = tuple(f.then(function) for f in self.functions)
        return replace(self, functions=functions, pad=pad, quant=None, codes=None)

    def viewed(self, index: Index) -> Real:
        """The same elements in another arrangement; ``index`` holds flat positions of this value."""
        flat = self.full_index().reshape(-1)[index]
        total = sum(math.prod(s.shape) for s in self.sources)
        implicit = flat.size == total and np.array_equal(flat.reshape(-1), np.arange(total))
        return replace(self, shape=tuple(index.shape), index=None if implicit else flat)


@dataclass(frozen=True, eq=False)
class Codes:
    """A QuantizeLinear's output: ``real`` rounded to int8 codes of ``quant``; the model's own are uint8 if
    ``unsigned``."""

    name: str
    real: Real
    quant: Quant
    unsigned: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return self.real.shape

    def dequantized(self) -> Real:
        """The float edge behind the DequantizeLinear."""
        q = self.quant

        def round_trip(x: Any) -> Any:
            return nx.dequantize(nx.quantize(x, q.scale, q.zero_point), q.scale, q.zero_point)

        source = self.real.sources
        if len(source) == 1 and source[0].quant == q and self.real.functions[0].identity:
            return replace(self.real, quant=q, codes=self)
        return replace(self.real.apply(Function(round_trip)), quant=q, codes=self)


@dataclass(frozen=True, eq=False)
class Constant:
    """A constant edge; ``codes`` is set behind a DequantizeLinear of a constant."""

    value: npt.NDArray[Any]
    codes: npt.NDArray[Any] | None = None
    scale: npt.NDArray[np.float32] = field(default_factory=lambda: np.float32(1).reshape(()))
    zero_point: npt.NDArray[np.int64] = field(default_factory=lambda: np.int64(0).reshape(()))
    axis: int = 0


@dataclass(frozen=True)
class Poison:
    """The output of a node that is not mapped; ``cause`` names the first such node upstream."""

    cause: str


Value = Union[Real, Codes, Constant, Poison]


def table_of(function: Function, source: Quant, target: Quant) -> npt.NDArray[np.int8]:
    """256-entry table: code of ``source`` -> code of ``target`` through ``function``."""
    levels = nx.dequantize(nx.ALL_CODES, source.scale, source.zero_point)
    with np.errstate(all="ignore"):
        return nx.quantize(function.call(levels), target.scale, target.zero_point)


def is_identity(table: npt.NDArray[np.int8]) -> bool:
    return np.array_equal(table, nx.ALL_CODES)


def along(vector: npt.NDArray[Any], axis: int, ndim: int) -> npt.NDArray[Any]:
    """A vector of one value per index of ``axis``, shaped to broadcast against ``ndim`` dimensions."""
    if vector.size == 1:
        return vector.reshape(())
    return vector.reshape([-1 if a == axis else 1 for a in range(ndim)])
