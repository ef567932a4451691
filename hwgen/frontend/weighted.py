# SPDX-License-Identifier: Apache-2.0
"""Convolutions and matrix products, up to their quantizer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen import numerics as nx
from hwgen.frontend import attention
from hwgen.frontend.context import Inputs, Lowering
from hwgen.frontend.onnx_file import OnnxNode
from hwgen.frontend.values import (
    IDENTITY,
    Constant,
    Real,
    Root,
    Unsupported,
    Value,
    along,
)
from hwgen.ir import Shape, Tensor
from hwgen.kernels.conv import accumulator_bound, output_size


@dataclass(frozen=True, eq=False)
class Weighted:
    """A convolution or matrix product before its quantizer."""

    x: Tensor
    weight: npt.NDArray[np.int8]
    weight_scale: npt.NDArray[np.float64]
    bias: npt.NDArray[np.int64]
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1

    @property
    def shape(self) -> Shape:
        """(O, H, W) of the result."""
        if self.weight.ndim == 2:
            return len(self.weight), 1, 1
        (kh, kw), (top, left, bottom, right) = self.weight.shape[2:], self.pads
        rows = output_size(self.x.shape[1], kh, self.stride[0], top, bottom)
        return len(self.weight), rows, output_size(self.x.shape[2], kw, self.stride[1], left, right)


def _weights(value: Any, axis: int, name: str = "weight") -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float64]]:
    """int8 weights and their scale per output channel; ``axis`` is the output channel's."""
    if isinstance(value, Real):
        raise Unsupported(f"its {name} is an activation", attention.HINT)
    if not isinstance(value, Constant) or value.codes is None:
        raise Unsupported(f"its {name} is not quantized", "Quantize weights to int8 (this may be a float model)")
    if np.any(value.zero_point != 0):
        raise Unsupported(f"its {name} has a zero point other than 0", "Quantize weights symmetrically")
    if value.codes.min(initial=0) < -128 or value.codes.max(initial=0) > 127:
        raise Unsupported(f"its {name} is wider than 8 bits", "Quantize weights to int8")
    outputs = value.codes.shape[axis]
    scale = value.scale.astype(np.float64).reshape(-1)
    if scale.size != 1 and value.axis != axis % value.codes.ndim:
        raise Unsupported(f"its {name} is quantized along axis {value.axis}", "Use per-output-channel scales")
    return value.codes.astype(np.int8), np.broadcast_to(scale, (outputs,))


def bias_units(value: Any, outputs: int, unit: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The bias in units of the accumulator; exact where it was stored as int32 with scale_x * scale_w."""
    if value is None:
        return np.zeros(outputs, np.int64)
    if not isinstance(value, Constant):
        raise Unsupported("its bias is not a constant", "Make the bias an initializer")
    if value.codes is None:
        real = np.asarray(value.value, np.float64)
    else:  # not through float32, which cannot hold every int32
        units = value.codes - along(value.zero_point, value.axis, value.codes.ndim)
        real = units * along(value.scale, value.axis, value.codes.ndim).astype(np.float64)
    if real.size not in (1, outputs) or not np.isfinite(real).all():
        raise Unsupported(f"its bias has shape {real.shape} or values that are not finite", "Check the bias")
    codes = np.rint(np.broadcast_to(real.reshape(-1), (outputs,)) / unit)
    if np.abs(codes).max(initial=0) >= 2**31:
        raise Unsupported("its bias does not fit 32 bits in units of scale_x * scale_w", "Quantize again")
    return codes.astype(np.int64)


def weighted_root(low: Lowering, node: OnnxNode, kind: str, record: Weighted, shape: tuple[int, ...]) -> Value:
    bound = accumulator_bound(record.weight, record.bias, record.x.quant.zero_point)
    if bound >= nx.ACCUMULATOR_LIMIT:
        reason = f"its accumulator may reach {bound}; the array guarantees values below {nx.ACCUMULATOR_LIMIT}"
        raise Unsupported(reason, "Use fewer input channels or smaller weights in this layer")
    return Real((Root(node.name, kind, shape, record=record),), (IDENTITY,), shape)


def convolution(low: Lowering, node: OnnxNode, inputs: Inputs, shape: tuple[int, ...]) -> Value:
    """Conv with constant int8 weights."""
    if len(shape) != 4:
        raise Unsupported(
            f"is a {len(shape) - 2}-dimensional convolution", "Only 2-dimensional convolutions are mapped"
        )
    x = low.image(inputs[0])
    weight, scale = _weights(inputs[1], 0)
    bias = bias_units(inputs[2] if len(inputs) > 2 else None, len(weight), x.quant.scale * scale)
    a = node.attributes
    kernel = weight.shape[2:]
    if any(d != 1 for d in a.get("dilations", [1, 1])):
        raise Unsupported(f"dilations are {list(a['dilations'])}", "Only dilation 1 is mapped")
    stride = tuple(int(s) for s in a.get("strides", [1, 1]))
    groups = int(a.get("group", 1))
    if weight.shape[1] * groups != x.shape[0] or len(weight) % groups:
        raise Unsupported("channels and groups do not match", "Check the model with onnx.checker")
    if max(kernel) > 7 or max(stride) > 4:
        raise Unsupported(f"window {kernel} or stride {stride} is too large", "Windows up to 7x7, strides up to 4")
    pads = pads_of(a, x.shape[1:], kernel, stride)
    if any(p >= k for p, k in zip(pads, (*kernel, *kernel), strict=True)) or min(pads) < 0:
        raise Unsupported(f"pads {pads} are not smaller than the window", "Reduce the padding")
    record = Weighted(x, weight, scale, bias, (stride[0], stride[1]), pads, groups)
    if shape != (1, *record.shape):
        raise Unsupported(f"its attributes give {shape}, its weights {(1, *record.shape)}", "Check kernel_shape")
    return weighted_root(low, node, "conv", record, shape)


def pads_of(
    attributes: dict[str, Any], size: Sequence[int], kernel: Sequence[int], stride: Sequence[int]
) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of a convolution; ``size``, ``kernel`` and ``stride`` are (height, width)."""
    auto = attributes.get("auto_pad", "NOTSET")
    if auto == "VALID":
        return 0, 0, 0, 0
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        total = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(size, kernel, stride, strict=True)]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        before, after = (small, large) if auto == "SAME_UPPER" else (large, small)
        return before[0], before[1], after[0], after[1]
    pads = [int(p) for p in attributes.get("pads", [0, 0, 0, 0])]
    return pads[0], pads[1], pads[2], pads[3]


def fully_connected(low: Lowering, node: OnnxNode, inputs: Inputs, shape: tuple[int, ...]) -> Value:
    """Gemm, or MatMul with a constant: one row times a matrix."""
    a = node.attributes
    transposed = node.op == "Gemm" and bool(a.get("transB", 0))
    if isinstance(inputs[0], Constant):
        raise Unsupported("its left operand is a constant", "Only activation x weight products are mapped")
    if node.op == "Gemm" and (a.get("alpha", 1.0) != 1.0 or a.get("beta", 1.0) != 1.0 or a.get("transA", 0)):
        raise Unsupported("alpha, beta or transA are used", "Fold them into the weights")
    x = low.materialize(inputs[0])
    weight, scale = _weights(inputs[1], 0 if transposed else 1)
    if weight.ndim != 2:
        raise Unsupported(f"its weight has {weight.ndim} dimensions", "Only matrices are mapped")
    weight = weight if transposed else np.ascontiguousarray(weight.T)
    if math.prod(shape) != len(weight) or weight.shape[1] != math.prod(x.shape):
        raise Unsupported("is applied to more than one row", "Write it as a 1x1 convolution")
    bias = bias_units(inputs[2] if len(inputs) > 2 else None, len(weight), x.quant.scale * scale)
    if x.shape[1:] != (1, 1):  # a flattened feature map: a convolution as large as the map
        if max(x.shape[1:]) > 7:
            raise Unsupported(f"flattens a map of {x.shape[1:]} pixels", "Pool the map before it is flattened")
        record = Weighted(x, weight.reshape(len(weight), *x.shape), scale, bias)
        return weighted_root(low, node, "conv", record, shape)
    return weighted_root(low, node, "linear", Weighted(x, weight, scale, bias), shape)


def matrix_product(low: Lowering, node: OnnxNode, inputs: Inputs, shape: tuple[int, ...]) -> Value:
    """MatMul: with a constant a fully connected layer, with two activations part of an attention."""
    if isinstance(inputs[1], Constant):
        return fully_connected(low, node, inputs, shape)
    if not all(isinstance(i, Real) for i in inputs):
        raise Unsupported("multiplies quantized codes", "Use the QDQ format")
    return Real((Root(node.name, "matmul", shape, record=tuple(inputs)),), (IDENTITY,), shape)
