# SPDX-License-Identifier: Apache-2.0
"""Read the float model: checks that it is one, and folds what a quantizer must not see."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from onnx import ModelProto
from onnxscript import rewriter
from onnxscript.rewriter.rules.common import (
    fuse_batchnorm_into_conv_rule,
    fuse_batchnorm_into_conv_transpose_rule,
    fuse_batchnorm_into_gemm_rule,
)

from hwgen.errors import ModelError, Problem
from hwgen.frontend.lower import HANDLERS, operator_hint
from hwgen.frontend.onnx_file import OnnxGraph, clean, read_proto

BATCH_NORM_RULES = (
    fuse_batchnorm_into_conv_rule,
    fuse_batchnorm_into_conv_transpose_rule,
    fuse_batchnorm_into_gemm_rule,
)
QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
SUPPORTED = frozenset(HANDLERS) - set(QUANTIZERS) | {"Split"}


def read_float(path: Path) -> OnnxGraph:
    """The cleaned float model, BatchNormalization folded into the convolution or Gemm before it.

    Raises ModelError for a file that is no ONNX model, a model that is quantized already, weights that are not finite,
    and operators that hwgen does not map (all of them).
    """
    proto = read_proto(path)
    _refuse_quantized(path, proto)
    if any(n.op_type == "BatchNormalization" for n in proto.graph.node):
        proto = rewriter.rewrite(proto, pattern_rewrite_rules=list(BATCH_NORM_RULES))
    onnx = clean(proto, path)
    problems = [*_unknown_operators(onnx), *_bad_constants(onnx)]
    if problems:
        raise ModelError(f"{path} cannot be quantized:", problems)
    return onnx


def _refuse_quantized(path: Path, model: ModelProto) -> None:
    for node in model.graph.node:
        name = node.op_type
        if name in (*QUANTIZERS, "Quant", "DynamicQuantizeLinear") or name.startswith("QLinear") or "Integer" in name:
            raise ModelError(
                f"{path} is quantized already (it has a {name}). Give the float model; hwgen build takes this one as "
                "it is."
            )


def _unknown_operators(onnx: OnnxGraph) -> Iterator[Problem]:
    for node in onnx.nodes:
        if node.op not in SUPPORTED:
            yield Problem(node.name, node.op, "this operator is not supported", operator_hint(node.op))


def _bad_constants(onnx: OnnxGraph) -> Iterator[Problem]:
    readers = {name: node for node in onnx.nodes for name in node.inputs}
    for name, array in onnx.constants.items():
        if array.dtype.kind != "f" or np.isfinite(array).all() or name not in readers:
            continue
        if readers[name].op == "Clip":  # bounds may be infinite
            continue
        count = int((~np.isfinite(array)).sum())
        reason = f"its {name} has {count} values that are NaN or infinite"
        yield Problem(readers[name].name, readers[name].op, reason, "Check the training or the export")
