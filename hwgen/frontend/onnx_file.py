# SPDX-License-Identifier: Apache-2.0
"""Read an ONNX file that nobody vouches for: checks first, then clean-up by onnxscript, then a plain view of it.

Nothing here runs anything from the model; constant folding is limited to small shape arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir
import onnx_ir.passes.common as common_passes
from onnx import AttributeProto, ModelProto, TensorProto, numpy_helper
from onnxscript import optimizer

from hwgen.errors import ModelError, Problem

OPSETS = range(13, 22)
FILE_BYTES_MAX = 1 << 31
ELEMENTS_MAX = 1 << 27
"""No activation of a model this compiler can place is larger; a shape beyond it is a mistake or an attack."""

_FOLDABLE = {
    "Add", "Cast", "Concat", "Constant", "Div", "Gather", "Identity", "Mul", "Neg",
    "Reshape", "Shape", "Slice", "Squeeze", "Sub", "Transpose", "Unsqueeze",
}  # fmt: skip
"""Operators whose result cannot be much larger than their inputs; others are never evaluated while reading."""
FILLED_MAX = 1024
"""ConstantOfShape is evaluated up to so many elements: PyTorch's exporter writes the amounts of a Pad with one."""
FILL_ELEMENTS_MAX = 1 << 20
"""onnx's shape inference holds the values of a ConstantOfShape in memory; a model with a larger one is refused."""

NOT_ONNX = "Give hwgen an ONNX file as ONNX Runtime's or another quantizer writes it."


@dataclass(frozen=True)
class OnnxNode:
    """One node after clean-up. ``name`` is unique; it need not be the name in the file."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class OnnxGraph:
    """A checked, cleaned model: static shapes, constants lifted, dead nodes gone, topological order."""

    name: str
    nodes: tuple[OnnxNode, ...]
    constants: dict[str, npt.NDArray[Any]]
    shapes: dict[str, tuple[int, ...]]
    input: str
    output: str
    folded: tuple[tuple[str, str], ...]
    """(name, op) of the nodes that clean-up removed"""
    model: ModelProto
    """The cleaned model, for cutting out subgraphs."""


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    def of_graph(graph: onnx.GraphProto) -> Iterator[TensorProto]:
        yield from graph.initializer
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.type == AttributeProto.TENSOR:
                    yield attribute.t
                elif attribute.type == AttributeProto.GRAPH:
                    yield from of_graph(attribute.g)

    yield from of_graph(model.graph)


def _load_external(model: ModelProto, folder: Path) -> None:
    """Load external tensors, after checking that each file lies in the model's own folder and exists."""
    root = folder.resolve()
    problems: dict[str, Problem] = {}
    total = 0
    for tensor in _tensors(model):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        entries = {e.key: e.value for e in tensor.external_data}
        location = entries.get("location", "")
        target = (root / location).resolve()
        if not location or Path(location).is_absolute() or root not in target.parents:
            hint = "Move the data file beside the model and save it again"
            problems[location] = Problem(repr(location), "", "lies outside the model's folder", hint)
        elif not target.is_file():
            problems[location] = Problem(repr(location), "", "is missing", "Copy the data file beside the model")
        else:
            length = entries.get("length", "")
            total += int(length) if length.isdecimal() else target.stat().st_size
    if problems:
        raise ModelError("the model's external data cannot be used:", problems.values())
    if total > FILE_BYTES_MAX:
        raise ModelError(f"the model's external data has {total} bytes; hwgen reads up to {FILE_BYTES_MAX}. {NOT_ONNX}")
    try:
        onnx.load_external_data_for_model(model, str(root))
    except Exception as error:
        raise ModelError(f"the model's external data cannot be read: {error}. Save the model again.") from error


def read_proto(path: Path) -> ModelProto:
    """The parsed and checked file with all data embedded.

    Raises ModelError for a missing, truncated or foreign file, unusable external data, and unsupported opsets.
    """
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise ModelError(f"{path} is not a file. {NOT_ONNX}")
        if size > FILE_BYTES_MAX:
            raise ModelError(f"{path} has {size} bytes; hwgen reads up to {FILE_BYTES_MAX}. {NOT_ONNX}")
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}. Check the path.") from error
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as error:
        raise ModelError(f"{path} is not an ONNX file, or it is truncated. {NOT_ONNX}") from error
    if not model.graph.node or not model.graph.output:
        raise ModelError(f"{path} holds no ONNX graph; it may be truncated or another kind of file. {NOT_ONNX}")
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset not in OPSETS:
        raise ModelError(
            f"{path} uses ONNX opset {opset}; hwgen reads {OPSETS[0]} to {OPSETS[-1]}. "
            f"Export it again with opset_version=17, or convert it with onnx.version_converter."
        )
    _load_external(model, path.parent)
    return model


def _fix_batch(model: ModelProto) -> None:
    """Set a dynamic batch dimension to 1; every other dynamic dimension is an error."""
    constants = {i.name for i in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in constants]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        raise ModelError(
            f"the model has {len(inputs)} inputs and {len(model.graph.output)} outputs; hwgen maps one image input to "
            f"one output. Cut the model with onnx.utils.extract_model."
        )
    problems = []
    shape = inputs[0].type.tensor_type.shape
    for axis, dim in enumerate(shape.dim):
        if axis == 0 and not (dim.HasField("dim_value") and dim.dim_value > 0):
            dim.dim_value = 1
        elif not dim.HasField("dim_value") or dim.dim_value <= 0:
            label = dim.dim_param or "unknown"
            hint = "Fix it, for instance with onnxruntime.tools.make_dynamic_shape_fixed"
            problems.append(Problem(inputs[0].name, "input", f"dimension {axis} is dynamic ({label})", hint))
    if inputs[0].type.tensor_type.elem_type != TensorProto.FLOAT:
        hint = "Export the model with a float32 input that a QuantizeLinear reads"
        problems.append(Problem(inputs[0].name, "input", "is not float32", hint))
    dims = [d.dim_value for d in shape.dim]
    if not problems and (len(dims) != 4 or dims[0] != 1):
        reason = f"shape is {dims}, not (1, channels, height, width)"
        problems.append(Problem(inputs[0].name, "input", reason, "Export the model with batch 1 and an image input"))
    if not problems and int(np.prod(dims, dtype=np.float64)) > ELEMENTS_MAX:
        problems.append(Problem(inputs[0].name, "input", f"shape {dims} is too large", "Use a smaller image"))
    if problems:
        raise ModelError("the model's input cannot be mapped:", problems)
    # Stale shapes of a dynamic export would contradict the fixed batch.
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")


def _name_nodes(model: ModelProto) -> None:
    """Give every node a unique name, so that problems and coverage can point at it."""
    taken: set[str] = set()
    for index, node in enumerate(model.graph.node):
        name = node.name or f"{node.op_type}_{index}"
        while name in taken:
            name = f"{name}_{index}"
        taken.add(name)
        node.name = name


def _fills(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Every ConstantOfShape, also those in subgraphs."""
    for node in nodes:
        if node.op_type == "ConstantOfShape":
            yield node
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from _fills(attribute.g.node)


def _refuse_large_fills(model: ModelProto) -> None:
    """Raises ModelError where a ConstantOfShape is large, or lies in a subgraph.

    Sizes can be computed, so they are inferred: each in the part of the model that depends on no ConstantOfShape whose
    size is not known yet.
    """
    nodes = model.graph.node
    pending = [n.name for n in nodes if n.op_type == "ConstantOfShape"]
    problems = [
        Problem(n.name, n.op_type, "holds a ConstantOfShape in a subgraph", "Export the model without control flow")
        for n in nodes
        if n.op_type != "ConstantOfShape" and any(_fills([n]))
    ]
    while pending and not problems:
        part = ModelProto()
        part.CopyFrom(model)
        del part.graph.node[:], part.graph.output[:], part.graph.value_info[:]
        unknown: set[str] = set()
        for node in nodes:
            if unknown.isdisjoint(node.input):
                part.graph.node.append(node)
            if node.name in pending or not unknown.isdisjoint(node.input):
                unknown.update(node.output)
        inferred = onnx.shape_inference.infer_shapes(part, data_prop=True)
        shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in inferred.graph.value_info}
        seen = [n for n in part.graph.node if n.name in pending]
        problems += [
            Problem(n.name, n.op_type, f"makes a tensor of {shapes[n.output[0]]}", "Export with constant folding")
            for n in seen
            if math.prod(shapes.get(n.output[0], [])) > FILL_ELEMENTS_MAX
        ]
        pending = [name for name in pending if name not in {n.name for n in seen}]
    if problems:
        raise ModelError("the model holds tensors that are too large to look at:", problems)


def _should_fold(node: onnx_ir.Node) -> bool | None:
    """None: by the size of its inputs. onnxscript asks only where these are constants."""
    if node.domain not in ("", "ai.onnx"):
        return False
    if node.op_type == "ConstantOfShape":
        shape = node.inputs[0].const_value if node.inputs and node.inputs[0] is not None else None
        dims = [] if shape is None or shape.size > 8 else shape.numpy().reshape(-1).tolist()
        return bool(dims) and min(dims) >= 0 and math.prod(dims) <= FILLED_MAX
    return None if node.op_type in _FOLDABLE else False


def read(path: Path) -> OnnxGraph:
    """Read, check and clean an ONNX file. Raises ModelError with every problem found at that stage."""
    return clean(read_proto(path), path)


def clean(model: ModelProto, path: Path) -> OnnxGraph:
    """Check and clean a parsed model; ``path`` is for messages. Raises ModelError as :func:`read` does."""
    try:
        onnx.checker.check_model(model)
        _name_nodes(model)
        _fix_batch(model)
        before = [(n.name, n.op_type) for n in model.graph.node]
        _refuse_large_fills(model)
        # Folding follows Shape operators, so it needs the shapes that the fixed batch gives.
        clean = onnx_ir.serde.deserialize_model(onnx.shape_inference.infer_shapes(model, data_prop=True))
        optimizer.fold_constants(
            clean,
            onnx_shape_inference=False,
            input_size_limit=1024,
            output_size_limit=1 << 20,
            should_fold=_should_fold,
        )
        common_passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(clean)
        # Quantizers may write a pair of QuantizeLinear and DequantizeLinear for each reader of an edge.
        common_passes.DeduplicateInitializersPass()(clean)
        common_passes.CommonSubexpressionEliminationPass()(clean)
        common_passes.RemoveUnusedNodesPass()(clean)
        common_passes.TopologicalSortPass()(clean)
        model = onnx_ir.serde.serialize_model(clean)
        _refuse_large_fills(model)  # folding may have computed a size
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except ModelError:
        raise
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"{path} is not a valid ONNX model: {first}. {NOT_ONNX}") from error
    kept = {n.name for n in model.graph.node}
    try:
        return _plain(model, tuple((n, o) for n, o in before if n not in kept))
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} holds a malformed tensor or attribute: {error}. {NOT_ONNX}") from error


def _plain(model: ModelProto, folded: tuple[tuple[str, str], ...]) -> OnnxGraph:
    constants = {i.name: np.asarray(numpy_helper.to_array(i)) for i in model.graph.initializer}
    shapes = {n: tuple(int(d) for d in a.shape) for n, a in constants.items()}
    for value in [*model.graph.input, *model.graph.value_info, *model.graph.output]:
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims):
            shapes[value.name] = tuple(d.dim_value for d in dims)
    nodes = tuple(
        OnnxNode(
            n.name,
            n.op_type if n.domain in ("", "ai.onnx") else f"{n.domain}.{n.op_type}",
            tuple(n.input),
            tuple(n.output),
            {a.name: _attribute(a) for a in n.attribute},
        )
        for n in model.graph.node
    )
    nodes = tuple(part for node in nodes for part in _as_slices(node, constants, shapes))
    names = {i.name for i in model.graph.initializer}
    inputs = [i.name for i in model.graph.input if i.name not in names]
    return OnnxGraph(model.graph.name, nodes, constants, shapes, inputs[0], model.graph.output[0].name, folded, model)


def _as_slices(
    node: OnnxNode, constants: dict[str, npt.NDArray[Any]], shapes: dict[str, tuple[int, ...]]
) -> Iterator[OnnxNode]:
    """A Split as one Slice for each output (their bounds become constants); any other node as it is."""
    source = shapes.get(node.inputs[0]) if node.inputs else None
    if node.op != "Split" or source is None or any(o and o not in shapes for o in node.outputs):
        yield node
        return
    axis, start = int(node.attributes.get("axis", 0)) % len(source), 0
    for part, output in enumerate(node.outputs):
        stop = start + shapes[output][axis]
        bounds = []
        for what, number in (("start", start), ("stop", stop), ("axis", axis)):
            bounds.append(f"{node.name}/{part}/{what}")
            constants[bounds[-1]] = np.array([number], np.int64)
        yield OnnxNode(node.name, "Slice", (node.inputs[0], *bounds), (output,), {})
        start = stop


def _attribute(attribute: AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
