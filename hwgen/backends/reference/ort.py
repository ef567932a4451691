# SPDX-License-Identifier: Apache-2.0
"""Compare the direct reference with ONNX Runtime: operator by operator on cut-out subgraphs, and the whole network.

An operator ends at its quantizer: a convolution and the activation behind it are two where the model quantizes
between them. Operator by operator both get the same int8 inputs (the reference's), ONNX Runtime with all optimizations
disabled: what differs is only rounding. Over the whole network such differences propagate, so there only statistics
make sense.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from hwgen import numerics as nx
from hwgen.backends.reference import direct
from hwgen.errors import InternalError, UserError
from hwgen.frontend.coverage import cone, producers
from hwgen.frontend.onnx_file import OnnxGraph
from hwgen.frontend.quantizers import code_type
from hwgen.ir import Attention, Graph, Input, Op, QuantizedAttention
from hwgen.kernels import linear_attention

SHARE_MIN = 0.999
"""Promised share of equal codes, operator by operator."""
SHARE_MIN_INTERMEDIATE = 0.98
"""The same behind the 12-bit intermediate."""

Codes = npt.NDArray[np.int8]


@dataclass
class Tally:
    """Differences of one operator (or of the network's output) over all frames, in steps of the output code."""

    promised: float = 0.0
    """Least share of equal codes for :attr:`kept`; never more than one step apart."""
    count: int = 0
    equal: int = 0
    max_step: int = 0

    def add(self, ours: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> None:
        step = np.abs(ours.astype(np.int32) - theirs.astype(np.int32))
        self.count += step.size
        self.equal += int((step == 0).sum())
        self.max_step = max(self.max_step, int(step.max(initial=0)))

    @property
    def share(self) -> float:
        return self.equal / max(self.count, 1)

    @property
    def kept(self) -> bool:
        """Whether the promise holds."""
        return self.share >= self.promised and self.max_step <= 1


@dataclass
class Comparison:
    """The result of :func:`compare`."""

    ops: dict[str, Tally] = field(default_factory=dict)
    output: Tally = field(default_factory=Tally)
    top1: int = 0
    frames: int = 0
    outputs: list[Codes] = field(default_factory=list)
    """The reference's output of every frame, (C, H, W)."""

    @property
    def failing(self) -> tuple[str, ...]:
        """Operators that differ more than promised."""
        return tuple(name for name, tally in self.ops.items() if not tally.kept)


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError("this level needs ONNX Runtime. Install it with: pip install 'hwgen[ort]'") from error
    return onnxruntime


@contextmanager
def _clear_errors() -> Iterator[None]:
    """ONNX Runtime's refusals as UserError: hwgen is more lenient with some malformed shapes."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        raise UserError(f"ONNX Runtime does not run this model: {error}. Check the model.") from error


def session(model: onnx.ModelProto | bytes) -> Any:
    """An ONNX Runtime session on the CPU without graph optimizations."""
    ort = _runtime()
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    data = model if isinstance(model, bytes) else model.SerializeToString()
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


class Cutouts:
    """One small ONNX model per operator, from its input codes to its output codes."""

    def __init__(self, graph: Graph, onnx_graph: OnnxGraph) -> None:
        self.graph, self.onnx = graph, onnx_graph
        self._initializers = {i.name: i for i in onnx_graph.model.graph.initializer}
        self._makers = producers(onnx_graph)
        self._sessions: dict[str, Any] = {}

    def _elem_type(self, edge: str) -> int:
        """int8 or uint8, from the QuantizeLinear that writes ``edge``."""
        node = self._makers[edge]
        while node.op != "QuantizeLinear":  # reshapes of codes
            node = self._makers[node.inputs[0]]
        zero = node.inputs[2] if len(node.inputs) > 2 else ""
        dtype = self.onnx.constants[zero].dtype if zero else np.dtype(code_type(node))
        return int(onnx.helper.np_dtype_to_tensor_dtype(dtype))

    def _build(self, target: str, stops: set[str]) -> Any:
        nodes, reached = cone(self._makers, target, stops - {target})
        names = {n.name for n in nodes}
        protos = [p for p in self.onnx.model.graph.node if p.name in names]
        needed = {i for p in protos for i in p.input}

        def info(edge: str) -> onnx.ValueInfoProto:
            return onnx.helper.make_tensor_value_info(edge, self._elem_type(edge), self.onnx.shapes[edge])

        proto = onnx.helper.make_graph(
            protos,
            "kernel",
            [info(e) for e in reached],
            [info(target)],
            [self._initializers[i] for i in sorted(needed) if i in self._initializers],
        )
        opsets = [o for o in self.onnx.model.opset_import if o.domain in ("", "ai.onnx")]
        model = onnx.helper.make_model(proto, opset_imports=opsets, ir_version=self.onnx.model.ir_version)
        return session(model)

    def _evaluate(self, target: str, edges: Mapping[str, Codes]) -> Codes:
        """ONNX Runtime's codes on edge ``target``, given the codes on the edges where its subgraph begins."""
        if target not in self._sessions:
            self._sessions[target] = self._build(target, set(edges))
        run = self._sessions[target]
        feeds = {}
        for i in run.get_inputs():
            codes = edges[i.name].reshape(self.onnx.shapes[i.name])
            unsigned = self._elem_type(i.name) == onnx.TensorProto.UINT8
            feeds[i.name] = (codes.astype(np.int16) + 128).astype(np.uint8) if unsigned else codes
        with _clear_errors():
            result = np.asarray(run.run(None, feeds)[0])
        return (result.astype(np.int16) - 128).astype(np.int8) if result.dtype == np.uint8 else result

    def edges(self, values: Mapping[str, Codes]) -> dict[str, Codes]:
        """Codes of the reference on every ONNX edge that equals a tensor or a concatenation of tensors."""
        known = {t.onnx: values[n] for n, t in self.graph.tensors.items() if t.channels is None}
        return known | {e: np.concatenate([values[p] for p in parts]) for e, parts in self.graph.concats.items()}

    def steps(
        self, op: Op, values: Mapping[str, Codes], edges: Mapping[str, Codes]
    ) -> Iterator[tuple[str, Codes, Codes]]:
        """``(name, ours, ONNX Runtime's)`` for each quantizer of one operator, both from the reference's inputs."""
        tensor = self.graph.tensors[op.y]
        if isinstance(op, Attention) and op.quantized is not None:
            inner = self._inner(op, op.quantized, values)
            edges = dict(edges)
            for name, codes in inner.items():
                shape = self.onnx.shapes[name]
                swapped = codes.shape[1:] != shape[-2:]
                edges[name] = np.ascontiguousarray(codes.transpose(0, 2, 1)) if swapped else codes
            for name in inner:
                rest = {e: c for e, c in edges.items() if e != name}
                yield f"{op.name}:{name}", edges[name].ravel(), self._evaluate(name, rest).ravel()
        rest = {e: c for e, c in edges.items() if e != tensor.onnx}
        result = self._evaluate(tensor.onnx, rest)
        if tensor.channels is not None:
            first, end = tensor.channels
            result = result.reshape(-1, *tensor.shape[1:])[first:end]
        yield op.name, values[op.y], result.reshape(tensor.shape)

    def _inner(self, op: Attention, spec: QuantizedAttention, values: Mapping[str, Codes]) -> dict[str, Codes]:
        """The quantized edges inside an attention: K^T V, then numerators with normalizer; all heads."""
        kv, n = [], []
        for x in op.xs:
            q, k, v = (linear_attention.heads(values[x], op, o) for o in (op.q_offset, op.k_offset, op.v_offset))
            kv.append(linear_attention.quantized_kv(k, v, op))
            n.append(linear_attention.quantized_product(q, kv[-1], op))
        return {spec.kv_onnx: np.concatenate(kv), spec.n_onnx: np.concatenate(n)}


def compare(
    lowered: Graph,
    kernels: Graph,
    onnx_graph: OnnxGraph,
    inputs: npt.NDArray[np.float32],
    progress: Callable[[str], None] | None = None,
    each: bool = True,
) -> Comparison:
    """Compare on ``inputs`` (N, C, H, W), the model's float input. ``each=False`` looks at the output only.

    ``lowered`` is the frontend's graph, in which every quantizer of the model is still a tensor; ``kernels`` what the
    passes made of it, whose tensors must be the same (InternalError if not).
    Raises UserError where ONNX Runtime is not installed or does not take the model.
    """
    with _clear_errors():
        whole = session(onnx_graph.model)
    cutouts = Cutouts(lowered, onnx_graph)
    result = Comparison(frames=len(inputs))
    quant, out = lowered.input_quant, lowered.tensors[lowered.output]
    kernels = _on_codes(kernels)
    for frame, x in enumerate(inputs):
        if progress:
            progress(f"frame {frame + 1}/{len(inputs)}")
        image = nx.quantize(x, quant.scale, quant.zero_point)
        values = direct.run(kernels, image)
        if each:
            steps = direct.run(lowered, image)
            if any(not np.array_equal(values[n], steps[n]) for n in values if n in steps and n != kernels.input.y):
                raise InternalError("the passes changed a tensor of the model")
            edges = cutouts.edges(steps)
            for op in lowered.ops[1:]:
                for name, ours, theirs in cutouts.steps(op, steps, edges):
                    wide = getattr(getattr(op, "requant", None), "bits", 8) == nx.MID_BITS
                    tally = result.ops.setdefault(name, Tally(SHARE_MIN_INTERMEDIATE if wide else SHARE_MIN))
                    tally.add(ours, theirs)
        with _clear_errors():
            theirs = np.asarray(whole.run(None, {onnx_graph.input: x[None].astype(np.float32)})[0])
        ours = values[lowered.output]
        result.output.add(ours.ravel(), nx.quantize(theirs, out.quant.scale, out.quant.zero_point).ravel())
        result.top1 += int(ours.argmax() == theirs.argmax())
        result.outputs.append(ours)
    return result


def _on_codes(graph: Graph) -> Graph:
    """The graph with its input taking codes, whatever the loader does with images."""
    ops = tuple(replace(o, table=None) if isinstance(o, Input) else o for o in graph.ops)
    return graph.with_ops(ops)
