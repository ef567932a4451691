# SPDX-License-Identifier: Apache-2.0
"""QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from hwgen.frontend.context import Inputs, Lowering
from hwgen.frontend.onnx_file import OnnxNode
from hwgen.frontend.rounding import round_result
from hwgen.frontend.values import (
    IDENTITY,
    QUANTIZE_BOTH,
    Codes,
    Constant,
    Real,
    Unsupported,
    Value,
    along,
    is_identity,
    table_of,
)
from hwgen.ir import Eltwise, Quant


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


def quantize_linear(low: Lowering, node: OnnxNode, inputs: Inputs, shape: tuple[int, ...]) -> Value:
    """QuantizeLinear: codes of an activation, a rounded constant, or the place where an operator is emitted."""
    value = inputs[0]
    if isinstance(value, Constant):
        scale, zero, dtype = _scale_and_zero(inputs, code_type(node))
        axis = int(node.attributes.get("axis", 1)) % max(value.value.ndim, 1)
        info = np.iinfo(dtype)
        codes = np.rint(value.value / along(scale, axis, value.value.ndim)) + along(zero, axis, value.value.ndim)
        return Constant(np.clip(codes, info.min, info.max).astype(dtype))
    quant, unsigned = _activation_quant(inputs, code_type(node))
    name = node.outputs[0]
    if not isinstance(value, Real):
        raise Unsupported("its input is already quantized", "Remove the repeated QuantizeLinear")
    if len(value.sources) == 1 and value.root.quant is None:
        codes = round_result(low, value, quant, name)
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


def dequantize_linear(low: Lowering, node: OnnxNode, inputs: Inputs, shape: tuple[int, ...]) -> Value:
    """DequantizeLinear of codes, or of constant weights and biases."""
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
    real = (signed - along(zero, axis, codes.ndim)).astype(np.float32) * along(scale, axis, codes.ndim)
    return Constant(real, signed, scale, zero, axis)
