# SPDX-License-Identifier: Apache-2.0
"""Seeded random kernel graphs: every kernel kind, odd sizes, residuals, multi-scale attention, extreme weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen import ir
from hwgen import numerics as nx


class Builder:
    """Grows a chain of operators; ``x`` is the name of its end."""

    def __init__(self, seed: int, image: ir.Shape, block: int = 1, tables: bool = False) -> None:
        self.random = np.random.default_rng(seed)
        self.tensors: dict[str, ir.Tensor] = {}
        self.ops: list[ir.Op] = []
        channels, height, width = image
        name = self.tensor((channels * block * block, height // block, width // block))
        table = self.random.integers(-128, 128, (channels, 256)).astype(np.int8) if tables else None
        self.ops.append(ir.Input("input", name, image, block, table, ("image",)))
        self.x = name

    def tensor(self, shape: ir.Shape) -> str:
        name = f"t{len(self.tensors)}"
        self.tensors[name] = ir.Tensor(name, shape, ir.Quant(0.05, int(self.random.integers(-20, 21))))
        return name

    def shape(self, name: str | None = None) -> ir.Shape:
        return self.tensors[name or self.x].shape

    def zero(self, name: str) -> int:
        return self.tensors[name].quant.zero_point

    def requant(self, fan: int, channels: int, zero: int, bits: int) -> ir.Requant:
        ratio = (16 if bits == 12 else 1) / (40.0 * math.sqrt(fan))  # inputs, weights and outputs spread by about 40
        ratios = ratio * self.random.uniform(0.3, 2.0, channels)
        return ir.Requant(*nx.quantize_multipliers(ratios), zero, bits)

    def table(self, entries: int = 256) -> npt.NDArray[np.int8]:
        codes = np.arange(entries) * 256 / entries - 128 + self.random.normal(0, 3, entries)
        return np.clip(np.rint(codes), -128, 127).astype(np.int8)

    def add(self, a: str, b: str, zero: int) -> ir.AddSpec:
        constants = nx.add_constants(
            self.random.uniform(0.2, 1.0), self.zero(a), self.random.uniform(0.2, 1.0), self.zero(b), 1.0
        )
        return ir.AddSpec(*constants, zero)

    def weights(self, shape: tuple[int, ...], extreme: bool) -> npt.NDArray[np.int8]:
        low = -128 if extreme else -127
        weight = np.clip(np.rint(self.random.normal(0, 40, shape)), low, 127).astype(np.int8)
        if extreme:
            weight.flat[0] = -128
        return weight

    def conv(
        self,
        channels: int,
        window: int = 1,
        stride: int = 1,
        groups: int = 1,
        act: int = 0,
        residual: str | None = None,
        x: str | None = None,
        pads: tuple[int, int, int, int] | None = None,
        extreme: bool = False,
    ) -> str:
        """Convolution; ``act``: entries of its table (0, 256, 4096)."""
        x = x or self.x
        inputs, height, width = self.shape(x)
        pads = (window // 2,) * 4 if pads is None else pads
        rows = (height + pads[0] + pads[2] - window) // stride + 1
        cols = (width + pads[1] + pads[3] - window) // stride + 1
        weight = self.weights((channels, inputs // groups, window, window), extreme)
        y = self.tensor((channels, rows, cols))
        bias = self.random.integers(-2000, 2000, channels).astype(np.int64)
        requant = self.requant(weight[0].size, channels, self.zero(y), 12 if act == 4096 else 8)
        add = self.add(y, residual, self.zero(y)) if residual else None
        table = self.table(act) if act else None
        name = f"conv{len(self.ops)}"
        self.ops.append(
            ir.Conv(
                name,
                x,
                y,
                weight,
                bias,
                requant,
                (stride, stride),
                pads,
                groups,
                table,
                residual,
                add,
                (name + "_node",),
            )
        )
        self.x = y
        return y

    def depthwise(self, window: int, stride: int = 1, act: int = 0, x: str | None = None, **more: Any) -> str:
        channels = self.shape(x)[0]
        return self.conv(channels, window, stride, channels, act, x=x, **more)

    def mbconv(self, channels: int, expand: int, window: int, stride: int, act: int, extreme: bool = False) -> str:
        """Expand, depthwise, project; with a residual where the shapes allow it."""
        start = self.x
        self.conv(self.shape()[0] * expand, act=act, extreme=extreme)
        self.depthwise(window, stride, act)
        same = stride == 1 and channels == self.shape(start)[0]
        return self.conv(channels, residual=start if same else None)

    def eltwise(self, table: bool, residual: str | None = None) -> str:
        x = self.x
        y = self.tensor(self.shape())
        add = self.add(x, residual, self.zero(y)) if residual else None
        self.ops.append(ir.Eltwise(f"eltwise{len(self.ops)}", x, y, self.table() if table else None, residual, add))
        self.x = y
        return y

    def attention(self, heads: int, quantized: bool, head_dim: int = 16, scales: int = 1) -> str:
        """Residual multi-scale attention block: qkv, aggregation, attention over all, projection."""
        start = self.x
        channels = self.shape()[0]
        xs = [self.conv(3 * head_dim * heads)]
        for _ in range(scales):
            width = self.shape(xs[0])[0]
            self.depthwise(5, x=xs[0])
            xs.append(self.conv(width, groups=3 * heads))
            self.tensors[xs[-1]] = ir.Tensor(xs[-1], self.shape(), self.tensors[xs[0]].quant)
            last = self.ops[-1]
            assert isinstance(last, ir.Conv)
            self.ops[-1] = ir.Conv(**{**vars(last), "requant": _with_zero(last.requant, self.zero(xs[0]))})
        _, height, width = self.shape(xs[0])
        y = self.tensor((len(xs) * heads * head_dim, height, width))
        spec = self.quantized(height * width, head_dim) if quantized else None
        if quantized:
            divide = ir.Divide(int(self.random.integers(200, 800)), 10, 0, self.zero(y))
        else:
            divide = ir.Divide(int(self.random.integers(100, 800)), 10, int(self.random.integers(0, 5)), self.zero(y))
        offsets = (0, head_dim, 2 * head_dim)
        self.ops.append(ir.Attention(f"attention{len(self.ops)}", tuple(xs), y, head_dim, *offsets, divide, spec))
        self.x = y
        return self.conv(channels, residual=start)

    def quantized(self, pixels: int, head_dim: int) -> ir.QuantizedAttention:
        tables = [self.table() for _ in range(4)]
        zeros = [int(v) for v in self.random.integers(-20, 20, 2)]
        kv = (*nx.quantize_multiplier(1 / (40.0 * math.sqrt(pixels))), int(self.random.integers(-9, 9)))
        n = (*nx.quantize_multiplier(1 / (40.0 * math.sqrt(head_dim))), int(self.random.integers(-9, 9)))
        return ir.QuantizedAttention(
            tables[0],
            tables[1],
            tables[2],
            tables[3],
            zeros[0],
            zeros[1],
            3,
            13,
            kv,
            n,
            int(self.random.integers(-9, 9)),
        )

    def pool(self) -> str:
        x = self.x
        channels, height, width = self.shape()
        y = self.tensor((channels, 1, 1))
        multiplier, shift = nx.quantize_multiplier(1.7 / (height * width))
        self.ops.append(ir.Pool(f"pool{len(self.ops)}", x, y, multiplier, shift, self.zero(y)))
        self.x = y
        return y

    def linear(self, outputs: int, act: int = 0, extreme: bool = False) -> str:
        x = self.x
        inputs = self.shape()[0]
        y = self.tensor((outputs, 1, 1))
        weight = self.weights((outputs, inputs), extreme)
        bias = self.random.integers(-2000, 2000, outputs).astype(np.int64)
        requant = self.requant(inputs, outputs, self.zero(y), 12 if act == 4096 else 8)
        self.ops.append(
            ir.Linear(f"linear{len(self.ops)}", x, y, weight, bias, requant, self.table(act) if act else None)
        )
        self.x = y
        return y

    def layer_norm(self, table: bool) -> str:
        x = self.x
        channels = self.shape()[0]
        y = self.tensor((channels, 1, 1))
        gamma = self.random.integers(-(1 << 17), 1 << 17, channels).astype(np.int32)
        beta = self.random.integers(-(1 << 33), 1 << 33, channels).astype(np.int64)
        epsilon = int(self.random.integers(1, 1000))
        self.ops.append(
            ir.LayerNorm(
                f"norm{len(self.ops)}", x, y, gamma, beta, 30, epsilon, self.zero(y), self.table() if table else None
            )
        )
        self.x = y
        return y

    def graph(self, name: str = "random") -> ir.Graph:
        return ir.Graph(name, self.tensors, tuple(self.ops), self.x)


def _with_zero(requant: ir.Requant, zero: int) -> ir.Requant:
    return ir.Requant(requant.multiplier, requant.shift, zero, requant.bits)


def random_graph(
    seed: int, *, size: tuple[int, int] | None = None, blocks: int = 3, attention: bool = True, head: bool = True
) -> ir.Graph:
    """A small network: stem, ``blocks`` random blocks, attention blocks, head. ``size``: (H, W) of the image."""
    r = np.random.default_rng(1000 + seed)
    block = int(r.integers(1, 3))
    height, width = size or (int(r.integers(9, 30)), int(r.integers(9, 30)))
    height, width = height // block * block, width // block * block
    b = Builder(seed, (int(r.integers(1, 5)), height, width), block, bool(r.integers(2)))
    acts = (0, 256, 4096)

    def act() -> int:
        return int(r.choice(acts))

    channels = int(r.choice((8, 16, 24, 40)))
    if block == 2:
        b.conv(channels, 2, pads=(1, 1, 0, 0), act=act())
    else:
        b.conv(channels, int(r.choice((3, 5, 7))), int(r.integers(1, 3)), act=act(), extreme=bool(r.integers(2)))
    for _ in range(blocks):
        kind = int(r.integers(6))
        start = b.x
        if kind <= 2:
            out = channels if r.integers(2) else int(r.choice((16, 24, 33, 48)))
            stride = int(r.integers(1, 3)) if min(b.shape()[1:]) > 5 else 1
            b.mbconv(out, int(r.integers(1, 5)), int(r.choice((3, 5))), stride, act(), bool(r.integers(2)))
            channels = out
        elif kind == 3:
            b.eltwise(False)  # a copy: the convolution may not read x and residual from one pad
            b.conv(channels, 3, act=act(), residual=start, extreme=bool(r.integers(2)))
        elif kind == 4:
            b.conv(channels, 1, act=act())
            b.eltwise(bool(r.integers(2)), start)
        else:
            b.eltwise(True)
    if attention:
        for number in range(int(r.integers(1, 3))):
            b.attention(
                int(r.integers(1, 3)), (number + seed) % 2 == 1, int(r.choice((16, 16, 32))), int(r.integers(0, 3))
            )
    if head:
        b.conv(int(r.integers(20, 70)), act=act())
        b.pool()
        b.linear(int(r.integers(20, 90)), act(), bool(r.integers(2)))
        b.layer_norm(bool(r.integers(2)))
        b.linear(int(r.integers(3, 40)), extreme=bool(r.integers(2)))
    return b.graph()


def efficientvit(
    size: int = 224,
    widths: tuple[int, ...] = (16, 32, 64, 128, 256),
    depths: tuple[int, ...] = (1, 2, 3, 3, 4),
    head: tuple[int, int, int] = (1536, 1600, 1000),
    act: int = 256,
) -> ir.Graph:
    """The kernels of EfficientViT-B1 (by default) with random weights, the stem on 2x2 blocks of pixels."""
    b = Builder(1, (3, size, size), 2, True)
    b.conv(widths[0], 2, pads=(1, 1, 0, 0), act=act)
    for _ in range(depths[0]):
        start = b.x
        b.depthwise(3, act=act)
        b.conv(widths[0], residual=start)
    for stage in (1, 2):
        b.mbconv(widths[stage], 4, 3, 2, act)
        for _ in range(depths[stage] - 1):
            b.mbconv(widths[stage], 4, 3, 1, act)
    for stage in range(3, len(widths)):
        b.mbconv(widths[stage], 4, 3, 2, act)
        for _ in range(depths[stage]):
            b.attention(widths[stage] // 16, False, scales=1)
            b.mbconv(widths[stage], 4, 3, 1, act)
    b.conv(head[0], act=act)
    b.pool()
    b.linear(head[1])
    b.layer_norm(True)
    b.linear(head[2])
    return b.graph("efficientvit")


def random_image(graph: ir.Graph, seed: int) -> npt.NDArray[Any]:
    """(C, H, W) for :func:`direct.run`: uint8 where the input has tables, else int8 codes."""
    random = np.random.default_rng(seed)
    kind = np.uint8 if graph.input.table is not None else np.int8
    info = np.iinfo(kind)
    return random.integers(info.min, info.max + 1, graph.input.image).astype(kind)
