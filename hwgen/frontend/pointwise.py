# SPDX-License-Identifier: Apache-2.0
"""Activations and element-wise operators: functions of one variable, residual additions, biases."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from hwgen.frontend.context import Inputs, Lowering
from hwgen.frontend.onnx_file import OnnxNode
from hwgen.frontend.values import (
    IDENTITY,
    Codes,
    Constant,
    Function,
    Real,
    Root,
    Unsupported,
    Value,
)
from hwgen.frontend.weighted import Weighted, bias_units, weighted_root


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


def unary(low: Lowering, node: OnnxNode, inputs: Inputs, shape: tuple[int, ...]) -> Value:
    """A one-input activation."""
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


BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Min": np.minimum,
    "Max": np.maximum,
}


def binary(low: Lowering, node: OnnxNode, inputs: Inputs, shape: tuple[int, ...]) -> Value:
    """Add, Sub, Mul, Div, Min, Max: of one activation with itself or a constant, a residual Add, or a quotient."""
    if len(inputs) != 2 or any(isinstance(i, Codes) for i in inputs):
        raise Unsupported("has operands that are not two float edges", "Use the QDQ format")
    a, b = inputs
    function = BINARY[node.op]
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
        function = BINARY[node.op]
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
            extra = bias_units(Constant(along[:, 0]), outputs, record.x.quant.scale * record.weight_scale)
            return weighted_root(low, node, root.kind, replace(record, bias=record.bias + extra), shape)
    raise Unsupported("combines an activation with a constant array", "Fold it into the convolution before quantizing")
