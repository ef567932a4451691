# SPDX-License-Identifier: Apache-2.0
"""``hwgen quantize``: a float ONNX model and some images -> a QDQ ONNX model that the machine computes in integers."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from hwgen import __version__, pipeline
from hwgen.artifact import plain, write_json
from hwgen.errors import ModelError, UserError
from hwgen.frontend.onnx_file import OnnxGraph
from hwgen.quantize import calibration, choose, weights
from hwgen.quantize.emit import Layer, emit
from hwgen.quantize.equalize import Scaling, equalize
from hwgen.quantize.float_model import read_float
from hwgen.quantize.images import Images, Preprocessing, open_images
from hwgen.quantize.moments import Moments, measure
from hwgen.quantize.placement import Placement, Weights, place
from hwgen.quantize.ranges import METHODS, Grid, Histogram, decibels

Progress = Callable[[str, int, int], None]
WEIGHT_BITS = (8, 6, 4)
ACTIVATION_BITS = (8, 6)
ALL_METHODS = (*METHODS, "reconstruct")
IMAGES_MAX = 1024
STEPS_MAX = 100_000
MOMENT_IMAGES = 128
"""Second moments need fewer images than ranges: each has many positions."""

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class QuantizeOptions:
    """What ``hwgen quantize`` was asked for."""

    model: Path
    calibration: Path
    output: Path
    method: str = "mse"
    weight_bits: int = 8
    activation_bits: int = 8
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    images: int = 512
    """At most so many calibration images are used, evenly spread over those given."""
    seed: int | None = None
    """Of a random choice of the images instead, and of what ``reconstruct`` draws."""
    steps: int = 400
    """Of ``reconstruct``, for each block."""

    @property
    def report(self) -> Path:
        """The .json file beside the output."""
        return self.output.with_suffix(".json")

    @property
    def ranges(self) -> str:
        """How the range of each tensor is chosen."""
        return "mse" if self.method == "reconstruct" else self.method

    def check(self) -> None:
        """Raises UserError for an option that is out of its range."""
        for name, value, allowed in (
            ("--method", self.method, ALL_METHODS),
            ("--weights", self.weight_bits, WEIGHT_BITS),
            ("--activations", self.activation_bits, ACTIVATION_BITS),
        ):
            if value not in allowed:
                raise UserError(f"{name} {value} is not possible. Use one of: {', '.join(map(str, allowed))}.")
        if not 1 <= self.images <= IMAGES_MAX:
            raise UserError(f"--images {self.images} is not possible. Give 1 to {IMAGES_MAX}; 32 or more are sensible.")
        if not 1 <= self.steps <= STEPS_MAX:
            raise UserError(f"--steps {self.steps} is not possible. Give 1 to {STEPS_MAX}; 200 to 2000 are sensible.")
        if self.seed is not None and not 0 <= self.seed < 1 << 63:
            raise UserError(f"--seed {self.seed} is not possible. Give a number from 0 on.")
        if self.output.suffix.lower() != ".onnx":
            raise UserError(f"{self.output} is not the name of an .onnx file. Add -o NAME.onnx.")
        if not self.output.resolve().parent.is_dir() or self.output.is_dir():
            raise UserError(f"cannot write {self.output}: no such folder, or it is one. Choose another path.")
        if self.output.resolve() == self.model.resolve():
            raise UserError(f"{self.output} is the float model itself. Choose another path for the result.")


def quantize(options: QuantizeOptions, progress: Progress = pipeline.silent) -> dict[str, Any]:
    """Quantize, check and write the model and its report, both or neither; returns the report.

    Raises UserError (ModelError for the model) for whatever is the user's to mend.
    """
    options.check()
    learn = _reconstruct() if options.method == "reconstruct" else None
    progress("reading the model", 0, 0)
    source = read_float(options.model)
    placement = place(source)
    shape = source.shapes[source.input]
    images = open_images(options.calibration, (shape[1], shape[2], shape[3]), options.preprocessing)
    images = images.first(options.images) if options.seed is None else images.drawn(options.images, options.seed)
    exact = source
    scalings: tuple[Scaling, ...] = ()
    if options.ranges == "mse":
        source, scalings = equalize(source, placement, images, options.ranges, options.activation_bits, progress)
        placement = place(source)
    histograms = _observe(source, placement, images, progress)
    grids = choose.grids(placement, histograms, source.input, options.ranges, options.activation_bits)
    choices = _choices(source, placement, histograms, grids, progress)
    sites = choose.with_choices(placement, choices)
    moments = {}
    if options.ranges == "mse":
        some = images.first(MOMENT_IMAGES)
        moments = measure(source, placement.weighted, grids, some, progress)
    layers = dict(_weights(source, placement, grids, moments, options, progress))
    blocks: list[Any] = []
    if learn is not None:
        steps, seed = options.steps, options.seed or 0
        grids, layers, blocks = learn(source, placement, list(sites), grids, layers, images, steps, seed, progress)
    bits = {"weights": str(options.weight_bits), "activations": str(options.activation_bits)}
    metadata = {
        f"hwgen.{name}": text for name, text in {"version": __version__, "method": options.method, **bits}.items()
    }
    model = emit(source, sites, grids, layers, metadata)
    report = {
        "model": options.model.name,
        "hwgen": __version__,
        "method": options.method,
        "weight_bits": options.weight_bits,
        "activation_bits": options.activation_bits,
        "calibration_images": images.count,
        "tensors": _tensor_report(sites, grids, histograms),
        "weights": [_weight_report(layer, moments.get(name), options.weight_bits) for name, layer in layers.items()],
        "activations": choices,
        "blocks": [asdict(block) for block in blocks],
        "equalized": [{"tensor": s.edge, "factor": s.factor} for s in scalings],
    }
    with _writing(options) as (model_path, report_path):
        model_path.write_bytes(model.SerializeToString(deterministic=True))
        progress("checking the result", 0, 0)
        report["coverage"] = _verify(model_path)
        report["output"] = _compare(exact, model, images, progress)
        write_json(report_path, report)
    return plain(report)  # type: ignore[no-any-return]


def _reconstruct() -> Callable[..., Any]:
    """PyTorch is needed for this method only. Raises UserError without it."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise UserError("--method reconstruct needs PyTorch. Install it: pip install 'hwgen[quant]'.") from error
    from hwgen.quantize.reconstruct import reconstruct

    return reconstruct


def _observe(source: OnnxGraph, placement: Placement, images: Images, progress: Progress) -> dict[str, Histogram]:
    """Histograms of every site and of what stands in front of an activation; a group has common ends."""
    edges = list(dict.fromkeys([*placement.sites, *(a.before for a in placement.activations)]))
    ends = calibration.extremes(source, edges, images, progress)
    for group in placement.groups:
        both = min(ends[e][0] for e in group), max(ends[e][1] for e in group)
        ends.update(dict.fromkeys(group, both))
    return calibration.histograms(source, {e: ends[e] for e in edges}, images, progress)


def _choices(
    source: OnnxGraph,
    placement: Placement,
    histograms: Mapping[str, Histogram],
    grids: Mapping[str, Grid],
    progress: Progress,
) -> list[choose.Choice]:
    result = []
    for index, activation in enumerate(placement.activations):
        progress("placing quantizers", index, len(placement.activations))
        before, after = activation.before, activation.after
        function = calibration.function_of(source, activation.nodes, before, after)
        result.append(choose.choose(activation, function, histograms[before], grids[before], grids[after]))
    return result


def _weights(
    source: OnnxGraph,
    placement: Placement,
    grids: Mapping[str, Grid],
    moments: Mapping[str, Moments],
    options: QuantizeOptions,
    progress: Progress,
) -> Iterator[tuple[str, Layer]]:
    """By node name. With ``moments`` the error of the layer's output is made small, else that of the weights."""
    bits = options.weight_bits
    for index, entry in enumerate(placement.weighted):
        progress("quantizing weights", index, len(placement.weighted))
        name, real, bias = entry.node.name, _real_weight(source, entry), _real_bias(source, entry)
        unit, seen = grids[entry.x].scale, moments.get(entry.node.name)
        if seen is None:
            scale = weights.usable_scale(weights.absmax_scale(real, bits), bias, unit)
            yield name, Layer(entry, real, weights.round_weights(real, scale, bits), bias, bits)
            continue
        scale = weights.usable_scale(weights.mse_scale(real, bits, _importance(real, seen)), bias, unit)
        quantized = weights.compensate(real, scale, bits, seen.second)
        if entry.node.op != "MatMul":  # which has no bias
            bias = weights.corrected_bias(real, quantized, bias, seen.mean, seen.quantized_mean)
        yield name, Layer(entry, real, quantized, bias, bits)


def _importance(weight: Float64, seen: Moments) -> Float64:
    """The mean square of each weight's input, in the weight's shape."""
    energy = np.einsum("gii->gi", seen.second)
    return np.repeat(energy, len(weight) // len(energy), axis=0).reshape(weight.shape)


def _real_weight(source: OnnxGraph, entry: Weights) -> np.ndarray[Any, Any]:
    """(outputs, ...) float64."""
    array = source.constants[entry.weight].astype(np.float64)
    return array if entry.axis == 0 else np.ascontiguousarray(array.T)


def _real_bias(source: OnnxGraph, entry: Weights) -> np.ndarray[Any, Any] | None:
    """(outputs,) float64, or None where there is none."""
    if entry.bias is None:
        return None
    array = source.constants.get(entry.bias)
    outputs = source.constants[entry.weight].shape[entry.axis]
    if array is None or array.size not in (1, outputs):
        raise ModelError(f"{entry.node.name} ({entry.node.op}): its bias is not a constant vector. Export it as one.")
    return np.broadcast_to(array.astype(np.float64).reshape(-1), (outputs,))


def _tensor_report(
    sites: Mapping[str, Any], grids: Mapping[str, Grid], histograms: Mapping[str, Histogram]
) -> list[dict[str, Any]]:
    rows = []
    for edge, site in sites.items():
        grid, histogram = grids[edge], histograms[edge]
        rows.append(
            {
                "tensor": edge,
                "kind": site.kind,
                "bits": (grid.high - grid.low + 1).bit_length() - 1,
                "granularity": "per tensor",
                "scheme": "affine",
                "observed": (histogram.low, histogram.high),
                "range": grid.range,
                "scale": grid.scale,
                "zero_point": grid.zero_point,
                "sqnr_db": decibels(histogram.signal(), histogram.noise(grid)),
            }
        )
    return rows


def _weight_report(layer: Layer, seen: Moments | None, bits: int) -> dict[str, Any]:
    real, error = layer.real, layer.real - layer.quantized.real()
    return {
        "node": layer.weights.node.name,
        "tensor": layer.weights.weight,
        "bits": bits,
        "granularity": "per output channel",
        "scheme": "symmetric",
        "range": (float(real.min()), float(real.max())),
        "scale": layer.quantized.scale,
        "zero_point": 0,
        "sqnr_db": decibels(float((real**2).sum()), float((error**2).sum())),
        "output_sqnr_db": None if seen is None else decibels(_energy(real, seen), _energy(error, seen)),
    }


def _energy(weight: Float64, seen: Moments) -> float:
    """The mean square of the products' sum, over output channels."""
    groups, inputs = seen.second.shape[:2]
    flat = weight.reshape(groups, -1, inputs)
    return float(np.einsum("goi,gij,goj->", flat, seen.second, flat, optimize=True))


def _verify(path: Path) -> dict[str, int]:
    """The frontend must map every node; raises ModelError with what it does not."""
    coverage = pipeline.cover(path)
    if coverage.unsupported or coverage.mapped != coverage.nodes:
        raise ModelError("the quantized model cannot be mapped whole; nothing was written:", coverage.unsupported)
    return {"nodes": coverage.nodes, "mapped": coverage.mapped}


def _compare(source: OnnxGraph, model: onnx.ModelProto, images: Images, progress: Progress) -> dict[str, Any]:
    """The quantized network's output beside the float network's, by ONNX Runtime on the calibration images."""
    signal = noise = 0.0
    same = 0
    what = "comparing with the float model"
    ours = calibration.run(model, source.input, images, lambda i: progress(what, i, images.count))
    theirs = calibration.run(source.model, source.input, images, lambda i: None)
    for (y,), (exact,) in zip(ours, theirs, strict=True):
        signal += float((exact.astype(np.float64) ** 2).sum())
        noise += float(((exact.astype(np.float64) - y) ** 2).sum())
        same += int(y.argmax() == exact.argmax())
    return {"sqnr_db": decibels(signal, noise), "top1_agreement": same / images.count, "measured_by": "ONNX Runtime"}


@contextmanager
def _writing(options: QuantizeOptions) -> Iterator[tuple[Path, Path]]:
    """Temporary names for the model and its report; both get their own when all went well."""
    folder = options.output.resolve().parent
    try:
        temporary = tempfile.TemporaryDirectory(dir=folder, prefix=".hwgen-quantize-")
    except OSError as error:
        raise UserError(f"cannot write into {folder}: {error.strerror or error}. Choose another path.") from error
    with temporary as name:
        pairs = [(Path(name) / p.name, p) for p in (options.output, options.report)]
        yield pairs[0][0], pairs[1][0]
        for new, target in reversed(pairs):
            os.replace(new, target)
