# SPDX-License-Identifier: Apache-2.0
"""Walk a cleaned ONNX graph once and emit integer operators.

Every node is handled by one small function that turns the values of its inputs into the values of its outputs
(:mod:`hwgen.frontend.values`). Integer operators appear where QuantizeLinear rounds the result of a real operator.
A node that cannot be handled becomes a Problem and poisons what depends on it; the walk goes on, so that all problems
of a model are reported at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from hwgen import numerics as nx
from hwgen.errors import Problem
from hwgen.frontend.context import Inputs, Lowering
from hwgen.frontend.head import layer_norm, pool
from hwgen.frontend.layout import concatenate, pad, rearrange
from hwgen.frontend.onnx_file import ELEMENTS_MAX, OnnxGraph, OnnxNode
from hwgen.frontend.pointwise import BINARY, binary, unary
from hwgen.frontend.quantizers import dequantize_linear, quantize_linear
from hwgen.frontend.values import (
    IDENTITY,
    Codes,
    Constant,
    Poison,
    Real,
    Root,
    Unsupported,
    Value,
)
from hwgen.frontend.weighted import convolution, fully_connected, matrix_product

REPORT = "If ONNX Runtime runs the model, please report this"

Handler = Callable[[Lowering, OnnxNode, Inputs, tuple[int, ...]], Value]

HANDLERS: dict[str, Handler] = {
    "QuantizeLinear": quantize_linear,
    "DequantizeLinear": dequantize_linear,
    "Conv": convolution,
    "Gemm": fully_connected,
    "MatMul": matrix_product,
    **dict.fromkeys(
        ("Relu", "Clip", "HardSigmoid", "HardSwish", "Sigmoid", "Tanh", "Gelu", "LeakyRelu", "Identity"), unary
    ),
    **dict.fromkeys(BINARY, binary),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice"), rearrange),
    "Concat": concatenate,
    "Pad": pad,
    "GlobalAveragePool": pool,
    "ReduceMean": pool,
    "LayerNormalization": layer_norm,
}


def lower(onnx: OnnxGraph) -> Lowering:
    """Handle every node; afterwards ``problems`` holds what could not be mapped."""
    low = Lowering(onnx)
    shape = low.onnx.shapes[low.onnx.input]
    root = Root(low.onnx.input, "input", shape)
    low.values[low.onnx.input] = Real((root,), (IDENTITY,), shape)
    for name, array in low.onnx.constants.items():
        low.values[name] = Constant(array)
    last_reader = {i: node for node in low.onnx.nodes for i in node.inputs}
    for node in low.onnx.nodes:
        _visit(low, node)
        for i in set(node.inputs) - {"", low.onnx.output}:
            if last_reader[i] is node:
                low.values.pop(i, None)  # index arrays are large; only what is still read stays
    return low


def _visit(low: Lowering, node: OnnxNode) -> None:
    inputs = [low.values.get(i) if i else None for i in node.inputs]
    poison = next((v for v in inputs if isinstance(v, Poison)), None)
    try:
        if poison is not None:
            result: Value = poison
        elif any(i and v is None for i, v in zip(node.inputs, inputs, strict=True)):
            raise Unsupported("reads an edge that nothing writes", "Check the model with onnx.checker")
        else:
            handler = HANDLERS.get(node.op)
            if handler is None:
                raise Unsupported("this operator is not supported", operator_hint(node.op))
            if any(node.outputs[1:]):
                raise Unsupported("has a second output that is used", "Use its first output only")
            shape = low.onnx.shapes.get(node.outputs[0])
            if shape is None:
                raise Unsupported("its output shape cannot be inferred", "Run onnx.shape_inference on the model")
            if math.prod(shape) > ELEMENTS_MAX or any(d <= 0 for d in shape):
                raise Unsupported(f"its output shape {shape} is not usable", "Use a smaller input")
            with np.errstate(all="ignore"):  # float32 functions overflow quietly, as in ONNX Runtime
                result = handler(low, node, inputs, shape)
            if isinstance(result, (Real, Codes)) and result.shape != shape:
                raise Unsupported(f"broadcasts {result.shape} to {shape}", "Give its operands the same shape")
    except Unsupported as problem:
        low.problems.append(Problem(node.name, node.op, problem.reason, problem.hint))
        result = Poison(node.name)
    except nx.ScaleRatioError as error:
        hint = "The scales around this node are too far apart; quantize the model again"
        low.problems.append(Problem(node.name, node.op, str(error), hint))
        result = Poison(node.name)
    except (ValueError, LookupError, TypeError, ArithmeticError, AttributeError) as error:
        reason = f"hwgen cannot interpret this node ({type(error).__name__}: {error})"
        low.problems.append(Problem(node.name, node.op, reason, REPORT))
        result = Poison(node.name)
    for output in node.outputs:
        low.values[output] = result


def operator_hint(op: str) -> str:
    """What to do about a node whose operator is not supported."""
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
