# SPDX-License-Identifier: Apache-2.0
"""Walk a cleaned ONNX graph once and emit integer operators.

Every node is handled by one small function that turns the values of its inputs into the values of its outputs
(:mod:`hwgen.frontend.values`). Integer operators appear where QuantizeLinear rounds the result of a real operator.
A node that cannot be handled becomes a Problem and poisons what depends on it; the walk goes on, so that all problems
of a model are reported at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from hwgen import numerics as nx
from hwgen.errors import Problem
from hwgen.frontend import attention
from hwgen.frontend.onnx_file import ELEMENTS_MAX, OnnxGraph, OnnxNode
from hwgen.frontend.values import (
    IDENTITY,
    SOURCES_MAX,
    Codes,
    Constant,
    Function,
    Poison,
    Real,
    Root,
    Unsupported,
    Value,
    is_identity,
    positions,
    table_of,
)
from hwgen.ir import AddSpec, Conv, Eltwise, Input, LayerNorm, Linear, Op, Pool, Quant, Requant, Shape, Tensor
from hwgen.kernels.conv import accumulator_bound, output_size
from hwgen.kernels.mlp import NORM_CHANNELS_MAX, NORM_FRACTION

REPORT = "If ONNX Runtime runs the model, please report this"
QUANTIZE_BOTH = "Quantize its inputs and its output (QuantizeLinear, DequantizeLinear)"


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

    # ------------------------------------------------------------------------------------------------ emitting

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

    # ------------------------------------------------------------------------------------------------ walking

    def run(self) -> None:
        """Handle every node; afterwards ``problems`` holds what could not be mapped."""
        shape = self.onnx.shapes[self.onnx.input]
        root = Root(self.onnx.input, "input", shape)
        self.values[self.onnx.input] = Real((root,), (IDENTITY,), shape)
        for name, array in self.onnx.constants.items():
            self.values[name] = Constant(array)
        last_reader = {i: node for node in self.onnx.nodes for i in node.inputs}
        for node in self.onnx.nodes:
            self._visit(node)
            for i in set(node.inputs) - {"", self.onnx.output}:
                if last_reader[i] is node:
                    self.values.pop(i, None)  # index arrays are large; only what is still read stays

    def _visit(self, node: OnnxNode) -> None:
        inputs = [self.values.get(i) if i else None for i in node.inputs]
        poison = next((v for v in inputs if isinstance(v, Poison)), None)
        try:
            if poison is not None:
                result: Value = poison
            elif any(i and v is None for i, v in zip(node.inputs, inputs, strict=True)):
                raise Unsupported("reads an edge that nothing writes", "Check the model with onnx.checker")
            else:
                handler = HANDLERS.get(node.op)
                if handler is None:
                    raise Unsupported("this operator is not supported", _operator_hint(node.op))
                if any(node.outputs[1:]):
                    raise Unsupported("has a second output that is used", "Use its first output only")
                shape = self.onnx.shapes.get(node.outputs[0])
                if shape is None:
                    raise Unsupported("its output shape cannot be inferred", "Run onnx.shape_inference on the model")
                if math.prod(shape) > ELEMENTS_MAX or any(d <= 0 for d in shape):
                    raise Unsupported(f"its output shape {shape} is not usable", "Use a smaller input")
                with np.errstate(all="ignore"):  # float32 functions overflow quietly, as in ONNX Runtime
                    result = handler(self, node, inputs, shape)
                if isinstance(result, (Real, Codes)) and result.shape != shape:
                    raise Unsupported(f"broadcasts {result.shape} to {shape}", "Give its operands the same shape")
        except Unsupported as problem:
            self.problems.append(Problem(node.name, node.op, problem.reason, problem.hint))
            result = Poison(node.name)
        except nx.ScaleRatioError as error:
            hint = "The scales around this node are too far apart; quantize the model again"
            self.problems.append(Problem(node.name, node.op, str(error), hint))
            result = Poison(node.name)
        except (ValueError, LookupError, TypeError, ArithmeticError, AttributeError) as error:
            reason = f"hwgen cannot interpret this node ({type(error).__name__}: {error})"
            self.problems.append(Problem(node.name, node.op, reason, REPORT))
            result = Poison(node.name)
        for output in node.outputs:
            self.values[output] = result


def _operator_hint(op: str) -> str:
    if op.startswith("QLinear") or op.endswith("Integer"):
        return "This is the QOperator format; quantize with quant_format=QuantFormat.QDQ"
    if "." in op:
        return "Save the model with standard ONNX operators (disable the writer's contrib operators)"
    hints = {
        "Softmax": "Softmax attention is not mapped; use a model with linear attention",
        "BatchNormalization": "Fold batch norms into the convolutions before quantizing",
        "MaxPool": "Only global average pooling is mapped",
        "AveragePool": "Only global average pooling is mapped",
    }
    return hints.get(op, "See the table of supported operators in the README")


Inputs = Sequence[Any]
"""Values of a node's inputs; None for an optional input that is not given."""
Handler = Callable[[Lowering, OnnxNode, Inputs, tuple[int, ...]], Value]


# ------------------------------------------------------------------------------------------------ Q and DQ


def _scale_and_zero(inputs: Inputs, default: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], str]:
    """Scale, zero point, and its type; without a zero point it is 0 of the type ``default``."""
    scale_value, zero_value = inputs[1], inputs[2] if len(inputs) > 2 else None
    if not isinstance(scale_value, Constant) or (zero_value is not None and not isinstance(zero_value, Constant)):
        raise Unsupported("its scale or zero point is computed at run time", "Use static quantization")
    scale = np.asarray(scale_value.value, np.float32)
    zero = np.zeros((), np.dtype(default)) if zero_value is None else np.asarray(zero_value.value)
    if scale.ndim > 1 or zero.ndim > 1:
        raise Unsupported(f"its scale or zero point has {max(scale.ndim, zero.ndim)} dimensions", "Use one or none")
    if not np.isfinite(scale).all() or (scale <= 0).any():
        bad = scale[~(np.isfinite(scale) & (scale > 0))].ravel()[0]
        raise Unsupported(f"a scale is {bad}", "Every scale must be positive and finite; quantize the model again")
    return scale, zero.astype(np.int64), str(zero.dtype)


def _activation_quant(inputs: Inputs, default: str) -> tuple[Quant, bool]:
    """The quantization in int8 codes, and whether the model's codes are uint8."""
    scale, zero, dtype = _scale_and_zero(inputs, default)
    if scale.size != 1 or zero.size != 1:
        raise Unsupported("activations are quantized per channel", "Use per-tensor activation quantization")
    if dtype not in ("int8", "uint8"):
        raise Unsupported(f"activations are {dtype}", "Quantize activations to int8 or uint8")
    unsigned = dtype == "uint8"
    return Quant(float(scale.reshape(-1)[0]), int(zero.reshape(-1)[0]) - 128 * unsigned), unsigned


def code_type(node: OnnxNode) -> str:
    """Type of a QuantizeLinear's codes where it has no zero point: ``output_dtype`` (from opset 21), else uint8."""
    chosen = int(node.attributes.get("output_dtype", 0))
    return TensorProto.DataType.Name(chosen).lower() if chosen else "uint8"


def _quantize(low: Lowering, node: OnnxNode, inputs: Inputs, shape: tuple[int, ...]) -> Value:
    value = inputs[0]
    if isinstance(value, Constant):
        scale, zero, dtype = _scale_and_zero(inputs, code_type(node))
        axis = int(node.attributes.get("axis", 1)) % max(value.value.ndim, 1)
        info = np.iinfo(dtype)
        codes = np.rint(value.value / _along(scale, axis, value.value.ndim)) + _along(zero, axis, value.value.ndim)
        return Constant(np.clip(codes, info.min, info.max).astype(dtype))
    quant, unsigned = _activation_quant(inputs, code_type(node))
    name = node.outputs[0]
    if not isinstance(value, Real):
        raise Unsupported("its input is already quantized", "Remove the repeated QuantizeLinear")
    if len(value.sources) == 1 and value.root.quant is None:
        codes = _round(low, value, quant, name)
    elif value.index is None and len(value.sources) > 1:
        codes = _concatenated(low, value, quant, name)
    else:
        codes = Codes(name, value, quant)
    return replace(codes, unsigned=unsigned)


def _concatenated(low: Lowering, value: Real, quant: Quant, name: str) -> Codes:
    """A Concat that is quantized: rescale each part that needs it, keep both roundings."""
    roots, start = [], 0
    for root, function in zip(value.sources, value.functions, strict=True):
        if root.quant is None or root.tensor is None:
            raise Unsupported("concatenates something that is not quantized", QUANTIZE_BOTH)
        channels = root.shape[0] if len(root.shape) == 3 else root.shape[1]
        table = table_of(function, root.quant, quant)
        if is_identity(table) and root.quant == quant:
            roots.append(root)
        else:
            source = low.tensors[root.tensor]
            part = f"{name}[{start}:{start + channels}]"
            out = low.tensor(part, source.shape, quant, name, (start, start + channels))
            low.emit(Eltwise(part, source.name, out.name, table=table))
            roots.append(out)
        start += channels
    low.concats[name] = tuple(r.tensor for r in roots if r.tensor is not None)
    real = replace(value, sources=tuple(roots), functions=(IDENTITY,) * len(roots), quant=quant)
    return Codes(name, real, quant)


def _dequantize(low: Lowering, node: OnnxNode, inputs: Inputs, shape: tuple[int, ...]) -> Value:
    value = inputs[0]
    if isinstance(value, Constant):
        return _dequantize_constant(node, value, inputs)
    if not isinstance(value, Codes):
        raise Unsupported("its input is not the output of a QuantizeLinear", "Use the QDQ format")
    quant, _ = _activation_quant(inputs, "uint8" if value.unsigned else "int8")
    if quant != value.quant:
        # Codes keep their numbers under another scale: legal ONNX, but no quantizer writes it.
        raise Unsupported("its scale or zero point differs from the QuantizeLinear before it", "Quantize again")
    return value.dequantized()


def _along(vector: npt.NDArray[Any], axis: int, ndim: int) -> npt.NDArray[Any]:
    if vector.size == 1:
        return vector.reshape(())
    return vector.reshape([-1 if a == axis else 1 for a in range(ndim)])


def _dequantize_constant(node: OnnxNode, value: Constant, inputs: Inputs) -> Constant:
    if int(node.attributes.get("block_size", 0)):
        raise Unsupported("its constant is quantized in blocks", "Quantize per tensor or per channel")
    scale, zero, _ = _scale_and_zero(inputs, value.value.dtype.name)
    codes = value.value
    if codes.dtype.name not in ("int8", "uint8", "int32"):
        raise Unsupported(f"its constant is {codes.dtype.name}", "Weights must be int8, biases int32")
    axis = int(node.attributes.get("axis", 1))
    axis = axis % codes.ndim if codes.ndim else 0
    for name, vector in (("scale", scale), ("zero point", zero)):
        if vector.size != 1 and (codes.ndim == 0 or vector.size != codes.shape[axis]):
            raise Unsupported(f"its {name} has {vector.size} values for axis {axis}", "Check the axis attribute")
    signed = codes.astype(np.int64)
    if codes.dtype == np.uint8:
        signed, zero = signed - 128, zero - 128
    real = (signed - _along(zero, axis, codes.ndim)).astype(np.float32) * _along(scale, axis, codes.ndim)
    return Constant(real, signed, scale, zero, axis)


# ------------------------------------------------------------------------------------------------ weighted operators


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


def _bias(value: Any, outputs: int, unit: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The bias in units of the accumulator; exact where it was stored as int32 with scale_x * scale_w."""
    if value is None:
        return np.zeros(outputs, np.int64)
    if not isinstance(value, Constant):
        raise Unsupported("its bias is not a constant", "Make the bias an initializer")
    if value.codes is None:
        real = np.asarray(value.value, np.float64)
    else:  # not through float32, which cannot hold every int32
        units = value.codes - _along(value.zero_point, value.axis, value.codes.ndim)
        real = units * _along(value.scale, value.axis, value.codes.ndim).astype(np.float64)
    if real.size not in (1, outputs) or not np.isfinite(real).all():
        raise Unsupported(f"its bias has shape {real.shape} or values that are not finite", "Check the bias")
    codes = np.rint(np.broadcast_to(real.reshape(-1), (outputs,)) / unit)
    if np.abs(codes).max(initial=0) >= 2**31:
        raise Unsupported("its bias does not fit 32 bits in units of scale_x * scale_w", "Quantize again")
    return codes.astype(np.int64)


def _weighted_root(low: Lowering, node: OnnxNode, kind: str, record: Weighted, shape: tuple[int, ...]) -> Value:
    bound = accumulator_bound(record.weight, record.bias, record.x.quant.zero_point)
    if bound >= nx.ACCUMULATOR_LIMIT:
        reason = f"its accumulator may reach {bound}; the array guarantees values below {nx.ACCUMULATOR_LIMIT}"
        raise Unsupported(reason, "Use fewer input channels or smaller weights in this layer")
    return Real((Root(node.name, kind, shape, record=record),), (IDENTITY,), shape)


def _conv(low: Lowering, node: OnnxNode, inputs: Inputs, shape: tuple[int, ...]) -> Value:
    if len(shape) != 4:
        raise Unsupported(
            f"is a {len(shape) - 2}-dimensional convolution", "Only 2-dimensional convolutions are mapped"
        )
    x = low.image(inputs[0])
    weight, scale = _weights(inputs[1], 0)
    bias = _bias(inputs[2] if len(inputs) > 2 else None, len(weight), x.quant.scale * scale)
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
    pads = _pads(a, x.shape[1:], kernel, stride)
    if any(p >= k for p, k in zip(pads, (*kernel, *kernel), strict=True)) or min(pads) < 0:
        raise Unsupported(f"pads {pads} are not smaller than the window", "Reduce the padding")
    record = Weighted(x, weight, scale, bias, (stride[0], stride[1]), pads, groups)
    if shape != (1, *record.shape):
        raise Unsupported(f"its attributes give {shape}, its weights {(1, *record.shape)}", "Check kernel_shape")
    return _weighted_root(low, node, "conv", record, shape)


def _pads(
    attributes: dict[str, Any], size: Sequence[int], kernel: Sequence[int], stride: Sequence[int]
) -> tuple[int, int, int, int]:
    """(top, left, bottom, right)"""
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


def _linear(low: Lowering, node: OnnxNode, inputs: Inputs, shape: tuple[int, ...]) -> Value:
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
    bias = _bias(inputs[2] if len(inputs) > 2 else None, len(weight), x.quant.scale * scale)
    if x.shape[1:] != (1, 1):  # a flattened feature map: a convolution as large as the map
        if max(x.shape[1:]) > 7:
            raise Unsupported(f"flattens a map of {x.shape[1:]} pixels", "Pool the map before it is flattened")
        record = Weighted(x, weight.reshape(len(weight), *x.shape), scale, bias)
        return _weighted_root(low, node, "conv", record, shape)
    return _weighted_root(low, node, "linear", Weighted(x, weight, scale, bias), shape)


def _matmul(low: Lowering, node: OnnxNode, inputs: Inputs, shape: tuple[int, ...]) -> Value:
    if isinstance(inputs[1], Constant):
        return _linear(low, node, inputs, shape)
    if not all(isinstance(i, Real) for i in inputs):
        raise Unsupported("multiplies quantized codes", "Use the QDQ format")
    return Real((Root(node.name, "matmul", shape, record=tuple(inputs)),), (IDENTITY,), shape)


# ------------------------------------------------------------------------------------------------ pointwise


def _hard_sigmoid(x: Any, alpha: float, beta: float) -> Any:
    return np.maximum(np.float32(0), np.minimum(np.float32(1), np.float32(alpha) * x + np.float32(beta)))


def _erf(x: Any) -> Any:
    return np.vectorize(math.erf, otypes=[np.float32])(x)


def _sigmoid(x: Any) -> Any:
    with np.errstate(over="ignore"):
        return (1 / (1 + np.exp(-np.asarray(x, np.float32)))).astype(np.float32)


def _pointwise(node: OnnxNode, inputs: Inputs) -> Function:
    """The float32 function of a one-input activation."""
    a = node.attributes
    if node.op == "Relu":
        return Function(lambda x: np.maximum(x, np.float32(0)), (0.0, np.inf))
    if node.op == "Identity":
        return IDENTITY
    if node.op == "HardSigmoid":
        alpha, beta = float(a.get("alpha", 0.2)), float(a.get("beta", 0.5))
        return Function(lambda x: _hard_sigmoid(x, alpha, beta))
    if node.op == "HardSwish":
        return Function(lambda x: x * _hard_sigmoid(x, 1 / 6, 0.5))
    if node.op == "Sigmoid":
        return Function(_sigmoid)
    if node.op == "Tanh":
        return Function(np.tanh)
    if node.op == "Gelu":
        if a.get("approximate", "none") != "none":
            return Function(lambda x: 0.5 * x * (1 + np.tanh(np.float32(0.7978845608) * (x + 0.044715 * x**3))))
        return Function(lambda x: 0.5 * x * (1 + _erf(x * np.float32(math.sqrt(0.5)))))
    if node.op == "LeakyRelu":
        slope = np.float32(a.get("alpha", 0.01))
        return Function(lambda x: np.where(x < 0, slope * x, x))
    assert node.op == "Clip"
    bounds = []
    for i, default in ((1, -np.inf), (2, np.inf)):
        bound = inputs[i] if len(inputs) > i else None
        if bound is not None and not isinstance(bound, Constant):
            raise Unsupported("its bounds are computed at run time", "Make them constants")
        bounds.append(default if bound is None else float(np.asarray(bound.value).reshape(-1)[0]))
    low, high = bounds
    if math.isnan(low) or math.isnan(high):
        raise Unsupported("a bound is NaN", "Give finite bounds")
    return Function(lambda x: np.clip(x, np.float32(low), np.float32(high)), (low, high))


def _unary(low: Lowering, node: OnnxNode, inputs: Inputs, shape: tuple[int, ...]) -> Value:
    value = inputs[0]
    function = _pointwise(node, inputs)
    if isinstance(value, Codes):
        raise Unsupported("works on quantized codes", "Use the QDQ format")
    if isinstance(value, Constant):
        return Constant(np.asarray(function.call(np.asarray(value.value, np.float32))))
    assert isinstance(value, Real)
    return value if function.identity else value.apply(function)


def _same_elements(a: Real, b: Real) -> bool:
    if a.sources != b.sources or a.shape != b.shape:
        return False
    return (a.index is None and b.index is None) or np.array_equal(a.full_index(), b.full_index())


_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Min": np.minimum,
    "Max": np.maximum,
}


def _binary(low: Lowering, node: OnnxNode, inputs: Inputs, shape: tuple[int, ...]) -> Value:
    if len(inputs) != 2 or any(isinstance(i, Codes) for i in inputs):
        raise Unsupported("has operands that are not two float edges", "Use the QDQ format")
    a, b = inputs
    function = _BINARY[node.op]
    if isinstance(a, Constant) and isinstance(b, Constant):
        return Constant(np.asarray(function(a.value, b.value)))
    if isinstance(a, Constant) or isinstance(b, Constant):
        return _with_constant(low, node, a, b, shape)
    assert isinstance(a, Real) and isinstance(b, Real)
    if _same_elements(a, b):

        def combined(f: Function, g: Function) -> Function:
            return Function(lambda x: function(f.call(x), g.call(x)), None, f.size + g.size + 1)

        functions = tuple(combined(f, g) for f, g in zip(a.functions, b.functions, strict=True))
        pad = None if a.pad is None or b.pad is None else float(function(np.float32(a.pad), np.float32(b.pad)))
        return replace(a, functions=functions, pad=pad, quant=None, codes=None)
    if node.op == "Div":
        return Real((Root(node.name, "div", shape, record=(a, b)),), (IDENTITY,), shape)
    if node.op == "Add":
        first, second = low.materialize(a, "first operand"), low.materialize(b, "second operand")
        if first.shape != second.shape or a.shape != b.shape:
            raise Unsupported(f"adds shapes {a.shape} and {b.shape}", "Broadcast additions are not mapped")
        return Real((Root(node.name, "add", shape, record=(first, second)),), (IDENTITY,), shape)
    raise Unsupported("combines two different activations", "Only residual additions are mapped")


def _with_constant(low: Lowering, node: OnnxNode, a: Any, b: Any, shape: tuple[int, ...]) -> Value:
    """Real (op) constant: one number is pointwise; a vector can only be a bias."""
    constant, value = (a, b) if isinstance(a, Constant) else (b, a)
    assert isinstance(value, Real)
    array = np.asarray(constant.value, np.float32)
    if array.size == 1:
        number = array.reshape(())[()]
        function = _BINARY[node.op]
        if isinstance(a, Constant):
            return value.apply(Function(lambda x: function(number, x)))
        clamps = {"Max": (float(number), np.inf), "Min": (-np.inf, float(number))}
        return value.apply(Function(lambda x: function(x, number), clamps.get(node.op)))
    root = value.root if value.index is None else None
    if node.op == "Add" and root is not None and root.kind in ("linear", "conv") and value.functions[0].identity:
        record: Weighted = root.record
        outputs = len(record.weight)
        trailing = math.prod(shape[1:]) // outputs  # elements that share a bias
        along = np.broadcast_to(array, shape).reshape(outputs, trailing) if shape == value.shape else None
        if along is not None and array.size == outputs and (along == along[:, :1]).all():
            extra = _bias(Constant(along[:, 0]), outputs, record.x.quant.scale * record.weight_scale)
            return _weighted_root(low, node, root.kind, replace(record, bias=record.bias + extra), shape)
    raise Unsupported("combines an activation with a constant array", "Fold it into the convolution before quantizing")


# ------------------------------------------------------------------------------------------------ layout


def _layout(low: Lowering, node: OnnxNode, inputs: Inputs, shape: tuple[int, ...]) -> Value:
    """Reshape, Flatten, Squeeze, Unsqueeze, Transpose, Slice: apply the operator to element positions."""
    value = inputs[0]
    if isinstance(value, Codes):
        real = _layout(low, node, [value.real, *inputs[1:]], shape)
        assert isinstance(real, Real)
        return replace(value, real=real)
    if isinstance(value, Constant):
        raise Unsupported("rearranges a constant", "Fold constants before quantizing")
    assert isinstance(value, Real)
    if node.op in ("Reshape", "Flatten", "Squeeze", "Unsqueeze"):
        if math.prod(shape) != math.prod(value.shape):
            raise Unsupported("changes the number of elements", "Check the model with onnx.checker")
        index = None if value.index is None else value.index.reshape(shape)
        return replace(value, shape=shape, index=index)
    if node.op == "Transpose":
        perm = node.attributes.get("perm", list(range(len(value.shape)))[::-1])
        return value.viewed(positions(value.shape).transpose([int(p) for p in perm]))
    return value.viewed(positions(value.shape)[_slices(inputs[1:], value.shape)])


def _slices(operands: Inputs, shape: tuple[int, ...]) -> tuple[slice, ...]:
    if not all(o is None or isinstance(o, Constant) for o in operands):
        raise Unsupported("its bounds are computed at run time", "Make them constants")
    lists = [None if o is None else [int(v) for v in np.asarray(o.value).reshape(-1)] for o in operands]
    lists += [None] * (4 - len(lists))
    starts, ends, axes, steps = lists[:4]
    assert starts is not None and ends is not None
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    result = [slice(None)] * len(shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step < 1:
            raise Unsupported(f"slices with step {step}", "Only forward slices are mapped")
        result[axis % len(shape)] = slice(start, min(end, shape[axis]), step)
    return tuple(result)


def _concat(low: Lowering, node: OnnxNode, inputs: Inputs, shape: tuple[int, ...]) -> Value:
    if not all(isinstance(i, Real) for i in inputs):
        raise Unsupported("concatenates constants or codes", "Use the QDQ format")
    if any(i.pad is not None for i in inputs):
        raise Unsupported("concatenates something padded", "Pad the result of the Concat")
    if sum(len(i.sources) for i in inputs) > SOURCES_MAX:
        raise Unsupported(f"concatenates more than {SOURCES_MAX} tensors", "Use fewer of them")
    axis = int(node.attributes["axis"]) % len(shape)
    pieces, offset = [], 0
    for value in inputs:
        pieces.append(value.full_index() + offset)
        offset += sum(math.prod(s.shape) for s in value.sources)
    index = np.concatenate(pieces, axis=axis)
    implicit = np.array_equal(index.reshape(-1), np.arange(offset))
    sources = tuple(s for v in inputs for s in v.sources)
    functions = tuple(f for v in inputs for f in v.functions)
    return Real(sources, functions, shape, None if implicit else index)


def _pad(low: Lowering, node: OnnxNode, inputs: Inputs, shape: tuple[int, ...]) -> Value:
    value = inputs[0]
    if (
        not isinstance(value, Real)
        or not isinstance(inputs[1], Constant)
        or node.attributes.get("mode") in ("edge", "reflect", "wrap")
    ):
        raise Unsupported("is not a constant padding of an activation", "Use mode 'constant'")
    fill = inputs[2] if len(inputs) > 2 else None
    if fill is not None and not isinstance(fill, Constant):
        raise Unsupported("its fill value is computed at run time", "Make it a constant")
    amounts = np.asarray(inputs[1].value).reshape(2, -1)
    if len(inputs) > 3 and inputs[3] is not None:  # from opset 18
        if not isinstance(inputs[3], Constant):
            raise Unsupported("its axes are computed at run time", "Make them constants")
        some, amounts = amounts, np.zeros((2, len(value.shape)), np.int64)
        amounts[:, np.asarray(inputs[3].value).reshape(-1)] = some
    if amounts.min() < 0:
        raise Unsupported("crops by negative padding", "Use Slice")
    constant = 0.0 if fill is None else float(np.asarray(fill.value).reshape(()))
    if value.pad is not None and value.pad != constant:
        raise Unsupported("pads twice with different values", "Pad once")
    index = np.pad(value.full_index(), tuple(map(tuple, amounts.T)), constant_values=-1)
    return replace(value, shape=tuple(index.shape), index=index, pad=constant, quant=None, codes=None)


# ------------------------------------------------------------------------------------------------ head


def _pool(low: Lowering, node: OnnxNode, inputs: Inputs, shape: tuple[int, ...]) -> Value:
    x = low.image(inputs[0])
    if node.op == "ReduceMean":
        axes = node.attributes.get("axes")
        if axes is None and len(inputs) > 1 and isinstance(inputs[1], Constant):
            axes = np.asarray(inputs[1].value).reshape(-1).tolist()
        if sorted(int(a) % 4 for a in axes or []) != [2, 3]:
            raise Unsupported(f"averages over axes {axes}", "Only the mean over height and width is mapped")
    return Real((Root(node.name, "pool", shape, record=x),), (IDENTITY,), shape)


def _layer_norm(low: Lowering, node: OnnxNode, inputs: Inputs, shape: tuple[int, ...]) -> Value:
    x = low.materialize(inputs[0])
    if int(node.attributes.get("axis", -1)) % len(shape) != len(shape) - 1 or (shape[-1], 1, 1) != x.shape:
        raise Unsupported("normalizes something other than one vector", "Only the head's LayerNormalization is mapped")
    if x.shape[0] > NORM_CHANNELS_MAX:
        raise Unsupported(f"normalizes {x.shape[0]} channels", f"Up to {NORM_CHANNELS_MAX} channels are mapped")
    if not all(i is None or isinstance(i, Constant) for i in inputs[1:]):
        raise Unsupported("its scale or bias is not a constant", "Make them initializers")
    gamma = np.broadcast_to(np.asarray(inputs[1].value, np.float64), shape).reshape(-1)
    beta = 0.0 if len(inputs) < 3 or inputs[2] is None else inputs[2].value
    beta = np.broadcast_to(np.asarray(beta, np.float64), shape).reshape(-1)
    record = (x, gamma, beta, float(node.attributes.get("epsilon", 1e-5)))
    return Real((Root(node.name, "layernorm", shape, record=record),), (IDENTITY,), shape)


# ------------------------------------------------------------------------------------------------ rounding a root


def _clamp_table(function: Function, quant: Quant) -> npt.NDArray[np.int8] | None:
    """A clamp in front of a quantizer is a clamp of its codes."""
    if function.identity:
        return None
    assert function.clamp is not None
    low, high = nx.quantize(np.array(function.clamp, np.float32), quant.scale, quant.zero_point)
    table = np.clip(nx.ALL_CODES, low, high)
    return None if is_identity(table) else table


def _round(low: Lowering, value: Real, quant: Quant, name: str) -> Codes:
    """QuantizeLinear of an operator's exact result: emit the operator."""
    root, function = value.root, value.functions[0]
    if root.kind in ("matmul", "div"):
        if root.kind == "div":
            return Codes(name, _attention(low, value, quant, name), quant)
        if math.prod(value.shape) != math.prod(root.shape) or not function.identity:
            raise Unsupported("changes a product of two activations before it is quantized", attention.HINT)
        virtual = Root(name, "matmul", root.shape, quant, None, root.record)
        return Codes(name, Real((virtual,), (IDENTITY,), value.shape, value.index, quant=quant), quant)
    if value.index is not None:
        raise Unsupported("is rearranged before it is quantized", "Quantize the operator's output directly")
    ratio = 1.0 / quant.scale
    out: Root
    if root.kind == "input":
        if not function.identity:
            raise Unsupported("works on the float input before it is quantized", "Quantize the input first")
        if any(isinstance(op, Input) for op in low.ops):
            raise Unsupported("quantizes the model's input a second time, differently", "Quantize the input once")
        shape = (root.shape[1], root.shape[2], root.shape[3])
        out = low.tensor(name, shape, quant, name)
        low.ops.insert(0, Input(name, out.name, shape))
    elif root.kind in ("conv", "linear"):
        out = _round_weighted(low, root, function, quant, name)
    elif function.clamp is None:
        raise Unsupported("is followed by a float activation without a quantizer in between", QUANTIZE_BOTH)
    elif root.kind == "add":
        a, b = root.record
        ma, mb, constant, shift = nx.add_constants(
            a.quant.scale, a.quant.zero_point, b.quant.scale, b.quant.zero_point, quant.scale
        )
        out = low.tensor(name, a.shape, quant, name)
        spec = AddSpec(ma, mb, constant, shift, quant.zero_point)
        low.emit(Eltwise(root.name, a.name, out.name, _clamp_table(function, quant), b.name, spec))
    elif root.kind == "pool":
        x = root.record
        multiplier, shift = nx.quantize_multiplier(x.quant.scale * ratio / (x.shape[1] * x.shape[2]))
        if _clamp_table(function, quant) is not None:
            raise Unsupported("is followed by a clamp", "Quantize between them")
        out = low.tensor(name, (x.shape[0], 1, 1), quant, name)
        low.emit(Pool(root.name, x.name, out.name, multiplier, shift, quant.zero_point))
    else:
        out = _round_layer_norm(low, root, function, quant, name)
    return Codes(name, Real((out,), (IDENTITY,), value.shape, quant=quant), quant)


def _round_weighted(low: Lowering, root: Root, function: Function, quant: Quant, name: str) -> Root:
    record: Weighted = root.record
    unit = record.x.quant.scale * record.weight_scale
    outputs = len(record.weight)
    if function.clamp is not None:
        multiplier, shift = nx.quantize_multipliers(unit / quant.scale)
        requant = Requant(multiplier, shift, quant.zero_point)
        table = _clamp_table(function, quant)
    else:
        flat = record.weight.reshape(outputs, -1).astype(np.int64)
        x_zero = record.x.quant.zero_point
        positive, negative = np.maximum(flat, 0).sum(axis=1), np.minimum(flat, 0).sum(axis=1)
        top = (record.bias + positive * (127 - x_zero) + negative * (-128 - x_zero)) * unit
        bottom = (record.bias + positive * (-128 - x_zero) + negative * (127 - x_zero)) * unit
        step, zero = nx.intermediate_range(
            function.call, quant.scale, quant.zero_point, float(bottom.min()), float(top.max())
        )
        multiplier, shift = nx.quantize_multipliers(unit / step)
        requant = Requant(multiplier, shift, zero, bits=nx.MID_BITS)
        levels = ((nx.ALL_MID.astype(np.float64) - zero) * step).astype(np.float32)
        table = nx.quantize(function.call(levels), quant.scale, quant.zero_point)
        if not -(1 << 15) <= zero < 1 << 15 or np.abs(np.diff(table.astype(np.int32))).max() > 1:
            raise Unsupported("is a float activation too steep for 12 bits in front of it", QUANTIZE_BOTH)
    x, out = record.x, low.tensor(name, record.shape, quant, name)
    if root.kind == "linear":
        low.emit(Linear(root.name, x.name, out.name, record.weight, record.bias, requant, table))
        return out
    low.emit(
        Conv(
            root.name,
            x.name,
            out.name,
            record.weight,
            record.bias,
            requant,
            record.stride,
            record.pads,
            record.groups,
            table,
        )
    )
    return out


def _round_layer_norm(low: Lowering, root: Root, function: Function, quant: Quant, name: str) -> Root:
    x, gamma, beta, epsilon = root.record
    count = x.shape[0]
    gain, offset = gamma / quant.scale, beta / quant.scale
    _, shift = nx.quantize_multiplier(max(float(np.abs(gain).max()), 2.0**-20))
    multiplier = np.rint(np.ldexp(gain, shift))
    constant = np.rint(np.ldexp(offset, shift + NORM_FRACTION))
    if np.abs(constant).max(initial=0) >= 2**45:
        raise Unsupported("its bias is too large for its scale", "Quantize again")
    variance = max(round(epsilon * count * count / x.quant.scale**2), 1)
    if variance >= 2**45:
        raise Unsupported("its epsilon outweighs every variance", "Check the input's scale")
    out = low.tensor(name, x.shape, quant, name)
    low.emit(
        LayerNorm(
            root.name,
            x.name,
            out.name,
            multiplier.astype(np.int32),
            constant.astype(np.int64),
            shift + NORM_FRACTION,
            variance,
            quant.zero_point,
            _clamp_table(function, quant),
        )
    )
    return out


def _attention(low: Lowering, value: Real, quant: Quant, name: str) -> Real:
    """QuantizeLinear of a quotient: it must be a linear attention."""
    op, xs, shape = attention.match(value, quant)
    tensors = tuple(low.tensors[x] for x in xs)
    out = low.tensor(name, shape, quant, name)
    low.emit(replace(op, xs=tuple(t.name for t in tensors), y=out.name))
    return Real((out,), (IDENTITY,), value.shape, quant=quant)


HANDLERS: dict[str, Handler] = {
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "Conv": _conv,
    "Gemm": _linear,
    "MatMul": _matmul,
    **dict.fromkeys(
        ("Relu", "Clip", "HardSigmoid", "HardSwish", "Sigmoid", "Tanh", "Gelu", "LeakyRelu", "Identity"), _unary
    ),
    **dict.fromkeys(_BINARY, _binary),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice"), _layout),
    "Concat": _concat,
    "Pad": _pad,
    "GlobalAveragePool": _pool,
    "ReduceMean": _pool,
    "LayerNormalization": _layer_norm,
}
