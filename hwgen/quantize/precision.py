# SPDX-License-Identifier: Apache-2.0
"""How many bits each layer's weights and each tensor have, and the file that says so (``--precision``)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, PlainValidator, ValidationError

from hwgen.board import validation_problems
from hwgen.errors import Problem, UserError
from hwgen.frontend.onnx_file import OnnxGraph
from hwgen.quantize.choose import EDGE_BITS
from hwgen.quantize.placement import Placement
from hwgen.quantize.weights import Bits

WEIGHT_BITS = (8, 6, 4)
ACTIVATION_BITS = (8, 6)
FULL = 8


@dataclass(frozen=True)
class Precision:
    """Bits of every layer's weights, by node name, and of every tensor that may be quantized, by edge."""

    weights: Mapping[str, Bits]
    activations: Mapping[str, int]

    def summary(self, source: OnnxGraph, placement: Placement) -> dict[str, str]:
        """``weights`` and ``activations`` in words, without the network's ends: one figure where all have the same."""
        inside = [self.activations[e] for e in placement.sites if e not in (source.input, placement.output)]
        return {"weights": _summary(self.weights.values()), "activations": _summary(inside)}


def _summary(bits: Iterable[Bits]) -> str:
    counts = Counter(str(b) if isinstance(b, int) else "several" for b in bits)
    if len(counts) <= 1:
        return "".join(counts)
    return ", ".join(f"{name} ({count})" for name, count in sorted(counts.items()))


@dataclass(frozen=True)
class Part:
    """What can change its bits alone: a layer's weights, or the tensors that share a grid."""

    kind: str
    """weights or activations"""
    name: str
    """The node, or the first of the tensors."""
    members: tuple[str, ...]
    """Keys of ``Precision.weights`` or ``Precision.activations``."""
    elements: int
    """Weights, or activations of a frame."""

    def bits(self, precision: Precision) -> int:
        """The least of its bits."""
        found: Mapping[str, Bits] = precision.weights if self.kind == "weights" else precision.activations
        every = [found[name] for name in self.members]
        return min(b if isinstance(b, int) else min(b) for b in every)


def parts_of(source: OnnxGraph, placement: Placement) -> list[Part]:
    """Every layer's weights, then every tensor but the network's input and output, in the order of the network."""
    result = [
        Part("weights", w.node.name, (w.node.name,), int(source.constants[w.weight].size)) for w in placement.weighted
    ]
    before = {a.after: a.before for a in placement.activations}
    groups = {edge: group for group in placement.groups for edge in group}
    done: set[str] = {source.input, placement.output}
    for edge in placement.sites:
        if edge in done:
            continue
        tensors = groups.get(edge, (edge,))
        done.update(tensors)
        members = (*tensors, *(before[t] for t in tensors if t in before))
        result.append(Part("activations", edge, members, sum(prod(source.shapes[t]) for t in tensors)))
    return result


def with_bits(precision: Precision, parts: Iterable[Part], bits: Mapping[str, int]) -> Precision:
    """``precision`` with ``bits`` (by kind) at ``parts``."""
    weights, activations = dict(precision.weights), dict(precision.activations)
    for part in parts:
        if part.kind == "weights":
            weights.update(dict.fromkeys(part.members, bits["weights"]))
        else:
            activations.update(dict.fromkeys(part.members, bits["activations"]))
    return Precision(weights, activations)


def uniform(source: OnnxGraph, placement: Placement, weights: int, activations: int) -> Precision:
    """The same bits everywhere; the network's input and output always have 8."""
    edges = [*placement.sites, *(a.before for a in placement.activations)]
    ends = (source.input, placement.output)
    return Precision(
        {w.node.name: weights for w in placement.weighted},
        {e: EDGE_BITS if e in ends else activations for e in edges},
    )


def _weight_bits(value: Any) -> Bits:
    given = value if isinstance(value, list) else [value]
    if not given or any(type(v) is not int or v not in WEIGHT_BITS for v in given):
        raise ValueError(f"is {json.dumps(value)[:60]}, not 8, 6 or 4, or a list of them, one for each output channel")
    return tuple(value) if isinstance(value, list) else given[0]


def _activation_bits(value: Any) -> int:
    if type(value) is not int or value not in ACTIVATION_BITS:
        raise ValueError(f"is {json.dumps(value)[:60]}, not 8 or 6")
    return int(value)


class PrecisionFile(BaseModel):
    """The content of the file. What is not named has the bits of --weights and --activations."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights: dict[str, Annotated[Any, PlainValidator(_weight_bits)]] = {}
    activations: dict[str, Annotated[Any, PlainValidator(_activation_bits)]] = {}


def read_precision(path: Path) -> PrecisionFile:
    """Raises UserError for a file that is missing, no JSON, or wrong in any field (all of them)."""
    try:
        data = json.loads(path.read_bytes(), object_pairs_hook=_without_repeats)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}. Check the path.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path} is no precision file: {error}. Write JSON such as "
            '{"weights": {"NODE": 4}, "activations": {"TENSOR": 6}}.'
        ) from error
    try:
        return PrecisionFile.model_validate(data)
    except ValidationError as error:
        raise UserError(f"{path} is not right:", validation_problems(error)) from error


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    repeated = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    if repeated:
        raise ValueError(f"it names {repeated[0]} twice")
    return dict(pairs)


def resolve(path: Path, source: OnnxGraph, placement: Placement, default: Precision) -> Precision:
    """The bits that the file gives, over ``default``.

    A quantizer between a convolution and its activation has the bits of the tensor behind, where it is not named
    itself. Raises UserError with every name that the model does not have, lists that do not fit their layer, other bits
    than 8 at the network's ends, and tensors of one grid that disagree.
    """
    given = read_precision(path)
    weights, activations = {**default.weights, **given.weights}, {**default.activations, **given.activations}
    for a in placement.activations:
        if a.after in given.activations and a.before not in given.activations:
            activations[a.before] = activations[a.after]
    problems = [
        *_unknown(given.weights, default.weights, "weights", "convolution or matrix product"),
        *_unknown(given.activations, default.activations, "activations", "quantized tensor"),
    ]
    for entry in placement.weighted:
        bits, outputs = weights[entry.node.name], source.constants[entry.weight].shape[entry.axis]
        if not isinstance(bits, int) and len(bits) != outputs:
            reason = f"has {len(bits)} bit widths, the layer {outputs} output channels"
            problems.append(Problem(entry.node.name, "weights", reason, "Give one for each, or a single number"))
    for end in dict.fromkeys((source.input, placement.output)):
        if activations[end] != EDGE_BITS:
            reason = f"the network's input and output always have {EDGE_BITS} bits"
            problems.append(Problem(end, "activations", reason, "Remove it"))
    for group in placement.groups:
        if len({activations[e] for e in group}) > 1:
            found = ", ".join(f"{e} {activations[e]}" for e in group)
            reason = f"these tensors share one grid, but have different bits: {found}"
            problems.append(Problem(group[0], "activations", reason, "Give all of them the same"))
    if problems:
        raise UserError(f"{path} does not fit the model:", problems)
    return Precision(weights, activations)


def _unknown(given: Iterable[str], known: Iterable[str], kind: str, what: str) -> list[Problem]:
    hint = "Take the names from the report (.json) of an earlier hwgen quantize"
    return [Problem(name, kind, f"the model has no {what} of this name", hint) for name in given if name not in known]


def as_file(precision: Precision, source: OnnxGraph, placement: Placement) -> dict[str, Any]:
    """What :func:`resolve` reads back as ``precision``: every layer and tensor but the network's ends."""
    after = {a.before: a.after for a in placement.activations}
    ends = (source.input, placement.output)
    activations = {
        edge: bits
        for edge, bits in precision.activations.items()
        if edge not in ends and (edge not in after or bits != precision.activations[after[edge]])
    }
    return {"weights": dict(precision.weights), "activations": activations}
