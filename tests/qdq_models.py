# SPDX-License-Identifier: Apache-2.0
"""Small random QDQ models, written node by node, in the variants that quantizers and optimizers produce."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


@dataclass
class Model:
    """Builds one QDQ graph; edges are names. ``unsigned``: uint8 activations."""

    rng: np.random.Generator
    unsigned: bool = False
    opset: int = 17
    nodes: list[Any] = field(default_factory=list)
    initializers: list[Any] = field(default_factory=list)
    scales: dict[str, float] = field(default_factory=dict)
    zeros: dict[str, int] = field(default_factory=dict)
    count: int = 0

    def name(self, stem: str) -> str:
        self.count += 1
        return f"{stem}_{self.count}"

    def const(self, array: Any, stem: str = "c") -> str:
        name = self.name(stem)
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        out = self.name(op.lower())
        self.nodes.append(helper.make_node(op, list(inputs), [out], name=self.name(op), **attributes))
        return out

    def quantize(self, x: str, scale: float | None = None, zero: int | None = None) -> str:
        """Q and DQ on an edge; returns the float edge behind them."""
        scale = float(self.rng.uniform(0.02, 0.1)) if scale is None else scale
        zero = int(self.rng.integers(-40, 40)) if zero is None else zero
        point = np.uint8(zero + 128) if self.unsigned else np.int8(zero)
        s, z = self.const(np.float32(scale)), self.const(point)
        out = self.node("DequantizeLinear", self.node("QuantizeLinear", x, s, z), s, z)
        self.scales[out], self.zeros[out] = scale, zero
        return out

    def weight(self, shape: tuple[int, ...], axis: int = 0, *, per_tensor: bool = False) -> tuple[str, np.ndarray]:
        """A DequantizeLinear of random int8 weights; returns (edge, scale per channel of ``axis``)."""
        w = self.rng.integers(-127, 128, shape).astype(np.int8)
        n = shape[axis]
        scale = self.rng.uniform(0.001, 0.004, 1 if per_tensor else n).astype(np.float32)
        s = self.const(scale.reshape(()) if per_tensor else scale)
        z = self.const(np.zeros((() if per_tensor else n), np.int8))
        kw = {} if per_tensor else {"axis": axis - len(shape) if self.rng.random() < 0.5 else axis}
        return self.node("DequantizeLinear", self.const(w, "w"), s, z, **kw), np.broadcast_to(scale, (n,))

    def bias(self, x: str, scale: np.ndarray, n: int) -> str:
        unit = (np.float32(self.scales[x]) * scale).astype(np.float32)
        b = self.const(self.rng.integers(-3000, 3000, n).astype(np.int32), "b")
        return self.node("DequantizeLinear", b, self.const(unit), self.const(np.zeros(n, np.int32)), axis=0)

    def conv(
        self, x: str, cin: int, cout: int, k: int = 1, stride: int = 1, groups: int = 1, pads: Any = None,
        bias: bool = True, **kw: Any,
    ) -> str:  # fmt: skip
        w, scale = self.weight((cout, cin // groups, k, k), **kw)
        inputs = [x, w] + ([self.bias(x, scale, cout)] if bias else [])
        pads = [k // 2] * 4 if pads is None else pads
        return self.node("Conv", *inputs, strides=[stride] * 2, pads=pads, group=groups, kernel_shape=[k, k])

    def hard_swish(self, x: str, quantized: bool = True) -> str:
        """HardSigmoid times x; with a quantizer on the gate where ``quantized``."""
        gate = self.node("HardSigmoid", x, alpha=1 / 6, beta=0.5)
        if quantized:
            gate = self.quantize(gate, 1 / 255, -128)
        return self.node("Mul", x, gate)

    def attention(
        self, x: str, heads: int, dim: int, side: int, form: str = "fused", variant: int = 0, split: bool = False
    ) -> str:
        """ReLU linear attention on a float edge (1, heads*3*dim, side, side); ``variant`` moves the layout."""
        p = side * side
        axis3 = self.const(np.array([3 if variant % 2 == 0 else 2], np.int64))
        x = self.node("Reshape", x, self.const(np.array([1, heads, 3 * dim, p], np.int64)))
        if variant % 2 == 0:
            x = self.node("Transpose", x, perm=[0, 1, 3, 2])
        parts = []
        if split:
            axis = 3 if variant % 2 == 0 else 2
            parts = [self.name("split") for _ in range(3)]
            sizes = self.const(np.array([dim] * 3, np.int64))
            self.nodes.append(helper.make_node("Split", [x, sizes], parts, name=self.name("Split"), axis=axis - 4))
            parts = parts if variant % 2 == 0 else [self.node("Transpose", p, perm=[0, 1, 3, 2]) for p in parts]
        for i in range(0 if split else 3):
            bounds = [self.const(np.array([v], np.int64)) for v in (i * dim, (i + 1) * dim)]
            part = self.node("Slice", x, *bounds, axis3)
            parts.append(part if variant % 2 == 0 else self.node("Transpose", part, perm=[0, 1, 3, 2]))
        order = [(0, 1, 2), (1, 0, 2), (2, 1, 0)][variant % 3]
        q, k, v = (parts[i] for i in order)
        q, k = self.node("Relu", q), self.node("Relu", k)
        every = form == "every"
        if every:
            q, k = self.quantize(q, 0.0317, -128), self.quantize(k, 0.0293, -128)
        one = self.const(np.float32(1))
        v = self.node("Pad", v, self.const(np.array([0] * 7 + [1], np.int64)), one)
        v = self.quantize(v, 0.0531, 0) if every else v
        if variant // 2 % 2 == 0:
            kv = self.node("MatMul", self.node("Transpose", k, perm=[0, 1, 3, 2]), v)
            kv = self.quantize(kv, 0.6137, 5) if every else kv
            out = self.node("MatMul", q, kv)
        else:
            vk = self.node("MatMul", self.node("Transpose", v, perm=[0, 1, 3, 2]), k)
            vk = self.quantize(vk, 0.6137, 5) if every else vk
            out = self.node(
                "Transpose", self.node("MatMul", vk, self.node("Transpose", q, perm=[0, 1, 3, 2])), perm=[0, 1, 3, 2]
            )
        out = self.quantize(out, 4.0371, 30) if every else out
        last = self.const(np.array([3], np.int64))
        ends = [self.const(np.array([v], np.int64)) for v in (0, -1, 1 << 62)]
        n, d = self.node("Slice", out, ends[0], ends[1], last), self.node("Slice", out, ends[1], ends[2], last)
        d = self.node("Add", d, self.const(np.float32(1e-5)))
        d = self.quantize(d, 3.1171, -128) if every else d
        y = self.node("Transpose", self.node("Div", n, d), perm=[0, 1, 3, 2])
        return self.node("Reshape", y, self.const(np.array([1, heads * dim, side, side], np.int64)))

    def finish(self, x: str, shape: tuple[int, ...], batch: Any = 1) -> onnx.ModelProto:
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, *shape[1:]])
        out = helper.make_tensor_value_info(x, TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "net", [image], [out], self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        return onnx.shape_inference.infer_shapes(model)


def small_vit(
    seed: int, form: str = "fused", variant: int = 0, unsigned: bool = False, side: int = 12, **kw: Any
) -> onnx.ModelProto:
    """Stem, MBConv with residual, multi-scale attention, pool, LayerNorm head. ``form``: fused, every or act."""
    m = Model(np.random.default_rng(seed), unsigned, **kw)
    act = form != "act"

    def swish(x: str) -> str:
        return m.quantize(m.hard_swish(m.quantize(x) if act else x, act))

    x = m.quantize("image", 0.02, 3)
    x = swish(m.conv(x, 3, 16, 3, 2))
    h = (side + 1) // 2
    y = swish(m.conv(x, 16, 40))
    y = swish(m.conv(y, 40, 40, 3, groups=40))
    y = m.quantize(m.conv(y, 40, 16))
    x = m.quantize(m.node("Add", y, x))
    qkv = m.quantize(m.conv(x, 16, 96, bias=False))
    agg = m.quantize(m.conv(qkv, 96, 96, 5, groups=96, bias=False))
    agg = m.quantize(m.conv(agg, 96, 96, groups=6, bias=False))
    same = (m.scales[qkv], m.zeros[qkv]) if seed % 2 else (None, None)
    both = m.quantize(m.node("Concat", qkv, agg, axis=1), *same)
    y = m.quantize(m.attention(both, 4, 16, h, "every" if form == "every" else "fused", variant), 0.02113, 4)
    y = m.quantize(m.conv(y, 64, 16))
    x = m.quantize(m.node("Add", x, y))
    x = m.quantize(m.node("GlobalAveragePool", x))
    x = m.node("Flatten", x, axis=1)
    w, _ = m.weight((16, 24), 1)
    x = m.quantize(m.node("MatMul", x, w))
    gamma = m.const(m.rng.uniform(0.5, 1.5, 24).astype(np.float32))
    beta = m.const(m.rng.uniform(-1, 1, 24).astype(np.float32))
    x = m.quantize(m.node("LayerNormalization", x, gamma, beta, axis=-1, epsilon=1e-5))
    x = m.quantize(m.hard_swish(x))
    w, scale = m.weight((10, 24))
    x = m.quantize(m.node("Gemm", x, w, m.bias(x, scale, 10), transB=1), 0.05, 0)
    return m.finish(x, (1, 3, side, side))


def small_cnn(seed: int, side: int = 12) -> onnx.ModelProto:
    """Stem, pointwise convolution, pool, classifier: its machine is small, so its RTL compiles in a minute."""
    m = Model(np.random.default_rng(seed))
    x = m.quantize("image", 0.02, 3)
    x = m.quantize(m.conv(x, 3, 16, 3, 2))
    x = m.quantize(m.conv(x, 16, 32))
    x = m.quantize(m.node("Flatten", m.node("GlobalAveragePool", x), axis=1))
    w, scale = m.weight((10, 32))
    x = m.quantize(m.node("Gemm", x, w, m.bias(x, scale, 10), transB=1), 0.05, 0)
    return m.finish(x, (1, 3, side, side))


def save(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save(model, str(path))
    return path
