# SPDX-License-Identifier: Apache-2.0
"""Run the float model over the calibration images with ONNX Runtime and look at its edges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from hwgen.errors import ModelError, Problem, UserError
from hwgen.frontend.onnx_file import OnnxGraph, OnnxNode
from hwgen.quantize.images import Images
from hwgen.quantize.ranges import BINS, Histogram

Array = npt.NDArray[Any]
Progress = Callable[[str, int, int], None]
SMALL_INPUT = 3 * 128 * 128
"""Elements below which one thread is used: handing out work would cost more than it gives."""


def session(model: onnx.ModelProto) -> Any:
    """An ONNX Runtime session with its usual optimizations, but without its integer kernels in the place of quantizers
    and what is between them: so it gives what the operators give one by one, and is faster for one image.

    UserError without ONNX Runtime, ModelError if it refuses the model.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError("hwgen quantize needs ONNX Runtime. Install it: pip install 'hwgen[ort]'.") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    dims = [d.dim_value for i in model.graph.input for d in i.type.tensor_type.shape.dim]
    if prod(max(d, 1) for d in dims) < SMALL_INPUT:
        options.intra_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has no common base class for its errors
        raise _cannot_run(error) from error


def _cannot_run(error: Exception) -> ModelError:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ModelError(f"ONNX Runtime cannot run the model: {first}. Check it with onnx.checker.")


def run(model: onnx.ModelProto, input: str, images: Images, say: Callable[[int], None]) -> Iterator[list[Array]]:
    """The model's outputs, image by image; each a list in the order of the outputs."""
    net = session(model)
    for index, image in enumerate(images):
        say(index)
        try:
            outputs = net.run(None, {input: image[None]})
        except Exception as error:
            raise _cannot_run(error) from error
        yield outputs


def edges_of(
    source: OnnxGraph, edges: Sequence[str], images: Images, say: Callable[[int], None]
) -> Iterator[dict[str, Array]]:
    """What the float model computes on ``edges`` (its input may be one of them), image by image."""
    inside = [e for e in edges if e != source.input]
    if not inside:
        yield from ({source.input: image[None]} for image in images)
        return
    model = onnx.ModelProto()
    model.CopyFrom(source.model)
    del model.graph.output[:]
    model.graph.output.extend(helper.make_tensor_value_info(e, TensorProto.FLOAT, source.shapes.get(e)) for e in inside)
    for values, image in zip(run(model, source.input, images, say), images, strict=True):
        yield {**dict(zip(inside, values, strict=True)), source.input: image[None]}


def extremes(
    source: OnnxGraph, edges: Sequence[str], images: Images, progress: Progress
) -> dict[str, tuple[float, float]]:
    """Least and largest value of each edge. Raises ModelError where a value is not finite."""
    result = dict.fromkeys(edges, (np.inf, -np.inf))
    what = "calibration 1 of 2: ranges"
    for values in edges_of(source, edges, images, lambda i: progress(what, i, images.count)):
        for edge, (low, high) in result.items():
            # NumPy's minimum, unlike Python's min, keeps a NaN
            result[edge] = float(np.minimum(low, values[edge].min())), float(np.maximum(high, values[edge].max()))
    problems = [
        Problem(edge, "", "has values that are not finite", "Check the model's weights and the preprocessing")
        for edge, ends in result.items()
        if not np.isfinite(ends).all()
    ]
    if problems:
        raise ModelError("the float model cannot be calibrated on these images:", problems)
    return result


def histograms(
    source: OnnxGraph, ends: dict[str, tuple[float, float]], images: Images, progress: Progress
) -> dict[str, Histogram]:
    """A histogram of each edge over the ends given."""
    counts = {edge: np.zeros(BINS, np.float64) for edge in ends}
    what = "calibration 2 of 2: histograms"
    for values in edges_of(source, list(ends), images, lambda i: progress(what, i, images.count)):
        for edge, (low, high) in ends.items():
            counts[edge] += count(values[edge], low, high)
    return {edge: Histogram(*ends[edge], counts[edge]) for edge in ends}


def count(value: Array, low: float, high: float) -> npt.NDArray[np.int64]:
    """How many elements lie in each of BINS equal bins over [low, high]; what lies outside is in the outermost."""
    factor = np.float32(BINS / (high - low)) if high > low else np.float32(0)
    index = ((value.reshape(-1) - np.float32(low)) * factor).astype(np.int32)
    return np.bincount(np.clip(index, 0, BINS - 1), minlength=BINS)


def function_of(source: OnnxGraph, nodes: Iterable[OnnxNode], before: str, after: str) -> Callable[[Any], Array]:
    """The float function of one variable that ``nodes`` compute, run by ONNX Runtime."""
    names = {n.name for n in nodes}
    chosen = [n for n in source.model.graph.node if n.name in names]
    needed = {i for n in chosen for i in n.input}
    graph = helper.make_graph(
        chosen,
        "function",
        [helper.make_tensor_value_info(before, TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info(after, TensorProto.FLOAT, ["n"])],
        [i for i in source.model.graph.initializer if i.name in needed],
    )
    model = helper.make_model(graph, opset_imports=source.model.opset_import, ir_version=source.model.ir_version)
    net = session(model)

    def call(values: Any) -> Array:
        result: Array = net.run(None, {before: np.asarray(values, np.float32)})[0]
        return result

    return call
