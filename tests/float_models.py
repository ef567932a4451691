# SPDX-License-Identifier: Apache-2.0
"""Small float models: the random QDQ networks of the other tests with their quantizers taken out."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from qdq_models import small_vit


def without_quantizers(model: onnx.ModelProto) -> onnx.ModelProto:
    """Activations float, weights and biases dequantized initializers."""
    arrays = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    renamed: dict[str, str] = {}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        inputs = [renamed.get(i, i) for i in node.input]
        if node.op_type == "QuantizeLinear" or (node.op_type == "DequantizeLinear" and inputs[0] not in arrays):
            renamed[node.output[0]] = inputs[0]
        elif node.op_type == "DequantizeLinear":
            codes, scale = arrays[inputs[0]].astype(np.float32), arrays[inputs[1]]
            axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
            shape = [-1 if a == axis % codes.ndim else 1 for a in range(codes.ndim)]
            arrays[node.output[0]] = (codes * (scale.reshape(shape) if scale.size > 1 else scale)).astype(np.float32)
        else:
            del node.input[:]
            node.input.extend(inputs)
            nodes.append(node)
    last = nodes[-1].output[0]
    used = {i for n in nodes for i in n.input}
    graph = helper.make_graph(
        nodes,
        "net",
        list(model.graph.input),
        [helper.make_tensor_value_info(last, onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(a, n) for n, a in arrays.items() if n in used],
    )
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=8)


def float_vit(seed: int = 0, **kw: Any) -> onnx.ModelProto:
    """Stem, MBConv with residual, attention, pool, LayerNorm head in float; image (1, 3, side, side), 10 classes."""
    return onnx.shape_inference.infer_shapes(without_quantizers(small_vit(seed, **kw)))


def one_conv(
    weight: Any, *, after: list[onnx.NodeProto] | None = None, constants: dict[str, Any] | None = None, out: str = "y"
) -> onnx.ModelProto:
    """``image`` (1, 3, 8, 8) -> Conv with ``weight`` -> "y" -> ``after`` -> ``out``."""
    weight = np.asarray(weight, np.float32)
    pads = [weight.shape[2] // 2] * 4
    nodes = [helper.make_node("Conv", ["image", "w"], ["y"], name="conv", pads=pads), *(after or [])]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info(out, onnx.TensorProto.FLOAT, [None] * 4)],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in {"w": weight, **(constants or {})}.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
