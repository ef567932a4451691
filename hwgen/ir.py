# SPDX-License-Identifier: Apache-2.0
"""The intermediate representation: one screen of frozen dataclasses.

The frontend makes a :class:`Graph` of integer operators; passes rewrite it (``Graph -> Graph``) until every operator is
a *kernel*: something that one engine executes in one go. Shapes are ``(C, H, W)``, batch 1. All codes are int8 (uint8
models are shifted by 128 in the frontend). Arithmetic is defined in :mod:`hwgen.numerics`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Union

import numpy as np
import numpy.typing as npt

Shape = tuple[int, int, int]
Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Quant:
    """``real = scale * (code - zero_point)``; int8 codes, float32 scale."""

    scale: float
    zero_point: int


@dataclass(frozen=True)
class Tensor:
    """An int8 activation. ``onnx`` names the QuantizeLinear output it equals; ``channels`` the slice of it, if any."""

    name: str
    shape: Shape
    quant: Quant
    onnx: str = ""
    channels: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class Requant:
    """Accumulator -> code, per output channel: ``requantize(acc, multiplier[c], shift[c], zero_point, bits)``."""

    multiplier: npt.NDArray[np.int32]
    shift: npt.NDArray[np.int32]
    zero_point: int
    bits: int = 8
    """8, or 12 where a 4,096-entry table follows."""


@dataclass(frozen=True)
class AddSpec:
    """Residual add: ``add_requantize(own, residual, ma, mb, constant, shift, zero_point)``."""

    ma: int
    mb: int
    constant: int
    shift: int
    zero_point: int


Table = npt.NDArray[np.int8]
"""256 entries (index = int8 code + 128) or 4,096 entries (index = 12-bit code + 2048)."""


@dataclass(frozen=True, eq=False)
class Input:
    """The model's input. ``block`` 2 means space-to-depth: pixel (y, x) channel c is stored at pixel (y//2, x//2),
    channel ``((y % 2) * 2 + x % 2) * C + c``. ``table`` (C, 256) maps uint8 image bytes to codes, if normalization is
    done on the chip; without it the input already holds codes."""

    name: str
    y: str
    image: Shape
    """(C, H, W) of the image, before space-to-depth."""
    block: int = 1
    table: npt.NDArray[np.int8] | None = None
    source: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Conv:
    """Convolution with its epilogue: accumulate, requantize, table, residual add. Padding holds the zero point."""

    name: str
    x: str
    y: str
    weight: npt.NDArray[np.int8]
    """(O, I / groups, kh, kw)"""
    bias: npt.NDArray[np.int64]
    """(O,) in units of scale_x * scale_w; ``acc = bias + sum w * (x - zero_point_x)``."""
    requant: Requant
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    """top, left, bottom, right"""
    groups: int = 1
    table: Table | None = None
    residual: str | None = None
    add: AddSpec | None = None
    source: tuple[str, ...] = ()

    @property
    def depthwise(self) -> bool:
        return self.groups > 1 and self.weight.shape[1] == 1 and self.groups == self.weight.shape[0]


@dataclass(frozen=True, eq=False)
class Linear:
    """Fully connected: ``x`` is (I, 1, 1), ``y`` is (O, 1, 1), ``weight`` (O, I). Epilogue as in Conv, no residual."""

    name: str
    x: str
    y: str
    weight: npt.NDArray[np.int8]
    bias: npt.NDArray[np.int64]
    requant: Requant
    table: Table | None = None
    source: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Eltwise:
    """Pointwise: a 256-entry table of ``x``, or a residual add of ``x`` and ``residual``, or the add, then a table."""

    name: str
    x: str
    y: str
    table: Table | None = None
    residual: str | None = None
    add: AddSpec | None = None
    source: tuple[str, ...] = ()


@dataclass(frozen=True)
class Divide:
    """``code = divide_round(n << shift, d * multiplier + epsilon) + zero_point``; multiplier / 2^shift = scale_d *
    scale_y / scale_n, so that the quotient is in output steps."""

    multiplier: int
    shift: int
    epsilon: int
    zero_point: int


@dataclass(frozen=True, eq=False)
class QuantizedAttention:
    """The second mode: every edge of the attention is an int8 code.

    ``q = q_table[x]``, ``k = k_table[x]``, ``v = v_table[x]``; ``kv[c, e] = requant_kv(sum_p (k-zk)(v-zv))`` with an
    extra column whose v is ``ones``; ``n[p, e] = requant_n(sum_c (q-zq)(kv-z_kv))``; ``d = d_table[n[p, last]]``; the
    output is ``(n - zn) / (d - zd)`` by ``divide`` (epsilon 0), where n/0 gives 127 for n > 0 and -128 for n <= 0."""

    q_table: Table
    k_table: Table
    v_table: Table
    d_table: Table
    q_zero: int
    k_zero: int
    v_zero: int
    ones: int
    """Code of the constant column, in the domain of ``v_table``'s results."""
    requant_kv: tuple[int, int, int]
    """multiplier, shift, zero point"""
    requant_n: tuple[int, int, int]
    d_zero: int
    kv_onnx: str = ""
    """Name of the QuantizeLinear output that holds K^T V's codes."""
    n_onnx: str = ""
    """The same for numerators and normalizer."""


@dataclass(frozen=True, eq=False)
class Attention:
    """ReLU linear attention over tensors of shape (heads * 3 * head_dim, H, W), heads of all ``xs`` one after another.

    In head h of a tensor, channels ``h*3*head_dim + {q,k,v}_offset`` hold Q, K, V. All ``xs`` share one quantization
    with zero point z. Fused mode (``quantized is None``), exact: ``q = max(x_q - z, 0)``, ``k = max(x_k - z, 0)``,
    ``v = x_v - z``, ``kv = sum_p k v``, ``ksum = sum_p k``, ``n = q kv``, ``d = q ksum``, output by ``divide``; where
    ``d * multiplier + epsilon == 0`` the output is the zero point."""

    name: str
    xs: tuple[str, ...]
    y: str
    head_dim: int
    q_offset: int
    k_offset: int
    v_offset: int
    divide: Divide
    quantized: QuantizedAttention | None = None
    source: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Pool:
    """Global average pool: ``requantize(sum_p (x - zero_point_x), multiplier, shift, zero_point)``; it includes 1/P."""

    name: str
    x: str
    y: str
    multiplier: int
    shift: int
    zero_point: int
    source: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class LayerNorm:
    """LayerNormalization over the N channels of a (N, 1, 1) tensor; the arithmetic is in
    :func:`hwgen.kernels.mlp.layer_norm`."""

    name: str
    x: str
    y: str
    gamma: npt.NDArray[np.int32]
    """(N,) signed 18 bit"""
    beta: npt.NDArray[np.int64]
    """(N,) signed, |beta| < 2^45, in units of 2^-shift output steps"""
    shift: int
    epsilon: int
    """added to N * sum(x^2) - sum(x)^2"""
    zero_point: int
    table: Table | None = None
    source: tuple[str, ...] = ()


Op = Union[Input, Conv, Linear, Eltwise, Attention, Pool, LayerNorm]
"""``source`` names the ONNX nodes that an operator was made from."""


def family(op: Op) -> str:
    """The partition: conv, linear_attention or mlp. The input goes with the conv kernels that it feeds."""
    if isinstance(op, Attention):
        return "linear_attention"
    return "mlp" if isinstance(op, (Linear, Pool, LayerNorm)) else "conv"


def macs(op: Op, tensors: Mapping[str, Tensor]) -> int:
    """Multiply-accumulates of one frame as the operator defines them: no padding lanes, but zero weights included."""
    if isinstance(op, Conv):
        _, height, width = tensors[op.y].shape
        return op.weight.size * height * width
    if isinstance(op, Linear):
        return op.weight.size
    if isinstance(op, Attention):
        channels, height, width = tensors[op.y].shape
        return 2 * channels * height * width * (op.head_dim + 1)
    return 0


def reads(op: Op) -> tuple[str, ...]:
    """Names of the tensors an operator reads."""
    if isinstance(op, Input):
        return ()
    if isinstance(op, Attention):
        return op.xs
    residual = getattr(op, "residual", None)
    return (op.x, residual) if residual else (op.x,)


@dataclass(frozen=True)
class Graph:
    """Operators in topological order; ``ops[0]`` is the Input."""

    name: str
    tensors: dict[str, Tensor]
    ops: tuple[Op, ...]
    output: str
    input_quant: Quant = field(default_factory=lambda: Quant(1.0, 0))
    output_onnx: str = ""
    """Name of the model's float output; ``tensors[output]`` holds its codes."""
    concats: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """ONNX edges that are the concatenation of several tensors (a Concat costs nothing, so it is no operator)."""

    @property
    def input(self) -> Input:
        op = self.ops[0]
        assert isinstance(op, Input)
        return op

    def consumers(self, tensor: str) -> tuple[Op, ...]:
        return tuple(op for op in self.ops if tensor in reads(op))

    def with_ops(self, ops: tuple[Op, ...], tensors: dict[str, Tensor] | None = None) -> Graph:
        """The graph with other operators; tensors that nothing touches any more are dropped."""
        pool = self.tensors if tensors is None else tensors
        live = {op.y for op in ops}
        return replace(self, ops=ops, tensors={n: t for n, t in pool.items() if n in live})
