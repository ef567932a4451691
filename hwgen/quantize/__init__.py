# SPDX-License-Identifier: Apache-2.0
"""``hwgen quantize``: a float ONNX model and some images -> a QDQ ONNX model that the machine computes in integers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from hwgen import __version__, pipeline
from hwgen.artifact import plain, replacing_files, write_json
from hwgen.errors import ModelError, UserError
from hwgen.frontend.onnx_file import OnnxGraph
from hwgen.quantize import calibration, choose, keep, precision, weights
from hwgen.quantize.emit import Layer, emit
from hwgen.quantize.equalize import Scaling, equalize
from hwgen.quantize.evaluation import Labelled, open_labelled
from hwgen.quantize.float_model import read_float
from hwgen.quantize.images import Images, Preprocessing, open_images
from hwgen.quantize.moments import Moments, measure
from hwgen.quantize.placement import Placement, Site, Weights, place
from hwgen.quantize.precision import ACTIVATION_BITS, WEIGHT_BITS, Precision
from hwgen.quantize.ranges import METHODS, Grid, Histogram, decibels
from hwgen.quantize.weights import Bits

Progress = Callable[[str, int, int], None]
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
    precision: Path | None = None
    """File with the bits of single layers and tensors; the others have ``weight_bits`` and ``activation_bits``."""
    evaluation: Path | None = None
    """Labelled images on which the result is compared with the float model."""
    evaluation_images: int = 5000
    """At most so many of them."""
    keep_within: float | None = None
    """Points of top-1 that the result may lose against the float model; layers get more bits until it holds."""

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
        check_choice("--method", self.method, ALL_METHODS)
        check_choice("--weights", self.weight_bits, WEIGHT_BITS)
        check_choice("--activations", self.activation_bits, ACTIVATION_BITS)
        check_counts(self.images, self.evaluation_images)
        if not 1 <= self.steps <= STEPS_MAX:
            raise UserError(f"--steps {self.steps} is not possible. Give 1 to {STEPS_MAX}; 200 to 2000 are sensible.")
        if self.seed is not None and not 0 <= self.seed < 1 << 63:
            raise UserError(f"--seed {self.seed} is not possible. Give a number from 0 on.")
        if self.keep_within is not None:
            check_points("--keep-float-accuracy-within", self.keep_within)
            if self.evaluation is None:
                raise UserError("--keep-float-accuracy-within needs labelled images. Add --eval DATA.")
        if self.output.suffix.lower() != ".onnx":
            raise UserError(f"{self.output} is not the name of an .onnx file. Add -o NAME.onnx.")
        if not self.output.resolve().parent.is_dir() or self.output.is_dir():
            raise UserError(f"cannot write {self.output}: no such folder, or it is one. Choose another path.")
        inputs = self.model, self.calibration, self.evaluation, self.precision, self.preprocessing.config
        check_targets((self.output, self.report), inputs)


def check_targets(targets: Sequence[Path], inputs: Sequence[Path | None]) -> None:
    """Raises UserError where a file to write is one of those that are read."""
    read = {p.resolve() for p in inputs if p is not None}
    for target in targets:
        if target.resolve() in read:
            raise UserError(f"{target} would be written, but it is an input, too. Choose another path for the result.")


def check_choice(name: str, value: Any, allowed: Sequence[Any]) -> None:
    """Raises UserError for an option's value that is none of ``allowed``."""
    if value not in allowed:
        raise UserError(f"{name} {value} is not possible. Use one of: {', '.join(map(str, allowed))}.")


def check_counts(images: int, evaluation_images: int) -> None:
    """Raises UserError for a number of images that is out of its range."""
    if not 1 <= images <= IMAGES_MAX:
        raise UserError(f"--images {images} is not possible. Give 1 to {IMAGES_MAX}; 32 or more are sensible.")
    if evaluation_images < 1:
        raise UserError(f"--eval-images {evaluation_images} is not possible. Give 1 or more; 500 or more are sensible.")


def check_points(name: str, points: float) -> None:
    """Raises UserError for a loss of accuracy that is none."""
    if not 0 <= points <= 100:
        raise UserError(f"{name} {points} is not possible. Give points of accuracy, 0 to 100, such as 0.5.")


def quantize(options: QuantizeOptions, progress: Progress = pipeline.silent) -> dict[str, Any]:
    """Quantize, check and write the model and its report, both or neither; returns the report.

    Raises UserError (ModelError for the model) for whatever is the user's to mend.
    """
    options.check()
    learn = _reconstruct() if options.method == "reconstruct" else None
    progress("reading the model", 0, 0)
    source = read_float(options.model)
    placement = place(source)
    bits = precision.uniform(source, placement, options.weight_bits, options.activation_bits)
    if options.precision is not None:
        bits = precision.resolve(options.precision, source, placement, bits)
    images = open_images(options.calibration, image_shape(source), options.preprocessing)
    images = images.first(options.images) if options.seed is None else images.drawn(options.images, options.seed)
    data = None
    if options.evaluation is not None:
        data = open_evaluation(options.evaluation, source, options.preprocessing, options.evaluation_images)
    calibrated = calibrate(source, placement, images, options.ranges, options.activation_bits, progress)

    def finish(made: Quantized) -> Quantized:
        return made if learn is None else calibrated.learned(made, learn, options.steps, options.seed or 0, progress)

    made, accuracy = calibrated.quantized(bits, progress), None
    if data is None:
        made = finish(made)
    else:
        made, accuracy = keep.within(calibrated, made, data, options.keep_within, finish, progress)
    report = {
        "model": options.model.name,
        "hwgen": __version__,
        "method": options.method,
        "weight_bits": options.weight_bits,
        "activation_bits": options.activation_bits,
        "precision": None if options.precision is None else options.precision.name,
        "bits": made.precision.summary(calibrated.source, calibrated.placement),
        "calibration_images": images.count,
        "tensors": _tensor_report(made.sites, made.grids, calibrated.histograms),
        "weights": [
            _weight_report(layer, made.moments.get(name), made.precision.weights[name])
            for name, layer in made.layers.items()
        ],
        "activations": made.choices,
        "blocks": [asdict(block) for block in made.blocks],
        "equalized": [{"tensor": s.edge, "factor": s.factor} for s in calibrated.scalings],
        "accuracy": accuracy,
    }
    with replacing_files([options.report, options.output]) as (report_path, model_path):
        model_path.write_bytes(made.model.SerializeToString(deterministic=True))
        progress("checking the result", 0, 0)
        report["coverage"] = _verify(model_path)
        report["output"] = _compare(calibrated.exact, made.model, images, progress)
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


def image_shape(source: OnnxGraph) -> tuple[int, int, int]:
    """(C, H, W) that the model sees."""
    shape = source.shapes[source.input]
    return shape[1], shape[2], shape[3]


def open_evaluation(path: Path, source: OnnxGraph, preprocessing: Preprocessing, limit: int) -> Labelled:
    """At most ``limit`` labelled images for the model. Raises UserError where they do not fit it."""
    data = open_labelled(path, image_shape(source), preprocessing)
    data.check(int(np.prod(source.shapes[source.output])))
    return data.spread(limit)


@dataclass(frozen=True, eq=False)
class Quantized:
    """A float model in one precision."""

    precision: Precision
    model: onnx.ModelProto
    sites: dict[str, Site]
    grids: dict[str, Grid]
    layers: dict[str, Layer]
    """By node name"""
    moments: dict[str, Moments]
    """By node name; empty where the method does not need them"""
    choices: list[choose.Choice]
    blocks: Sequence[Any] = ()
    """What ``reconstruct`` made of each block (hwgen.quantize.reconstruct.Reconstruction)"""


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A float model that was observed on images, to be quantized in any precision. What was made once is kept, so that
    a precision that differs in one layer costs that layer."""

    exact: OnnxGraph
    """The model as it was given"""
    source: OnnxGraph
    """The same function with equal ranges where tensors share a grid"""
    placement: Placement
    scalings: tuple[Scaling, ...]
    images: Images
    histograms: dict[str, Histogram]
    method: str
    """How ranges are chosen"""
    _grids: dict[int, dict[str, Grid]] = field(default_factory=dict)
    _choices: dict[tuple[str, Grid, Grid], choose.Choice] = field(default_factory=dict)
    _moments: dict[tuple[str, Grid], Moments] = field(default_factory=dict)
    _layers: dict[tuple[str, Bits, Grid], Layer] = field(default_factory=dict)

    def quantized(self, bits: Precision, progress: Progress) -> Quantized:
        """The QDQ model, and all that is known about it."""
        grids = {edge: self._grids_of(count)[edge] for edge, count in bits.activations.items()}
        choices = self._choices_of(grids, progress)
        sites = choose.with_choices(self.placement, choices)
        weighted = self.placement.weighted
        keys = {w.node.name: (w.node.name, bits.weights[w.node.name], grids[w.x]) for w in weighted}
        missing = [w for w in weighted if keys[w.node.name] not in self._layers]
        seen = self._moments_of(missing, grids, progress)
        for name, layer in _weights(self.source, missing, bits.weights, grids, seen, progress):
            self._layers[keys[name]] = layer
        layers = {name: self._layers[key] for name, key in keys.items()}
        moments = {w.node.name: self._moments[w.node.name, grids[w.x]] for w in weighted if self._moments}
        model = self._emit(sites, grids, layers, self.method, bits)
        return Quantized(bits, model, sites, grids, layers, moments, choices)

    def learned(
        self, made: Quantized, learn: Callable[..., Any], steps: int, seed: int, progress: Progress
    ) -> Quantized:
        """``made`` with what ``learn`` (hwgen.quantize.reconstruct.reconstruct) makes of its grids and layers."""
        grids, layers, blocks = learn(
            self.source, self.placement, list(made.sites), made.grids, made.layers, self.images, steps, seed, progress
        )
        model = self._emit(made.sites, grids, layers, "reconstruct", made.precision)
        return replace(made, model=model, grids=grids, layers=layers, blocks=blocks)

    def _emit(
        self,
        sites: Mapping[str, Site],
        grids: Mapping[str, Grid],
        layers: Mapping[str, Layer],
        method: str,
        bits: Precision,
    ) -> onnx.ModelProto:
        properties = {"version": __version__, "method": method, **bits.summary(self.source, self.placement)}
        return emit(self.source, sites, grids, layers, {f"hwgen.{name}": text for name, text in properties.items()})

    def _grids_of(self, bits: int) -> dict[str, Grid]:
        """Of every edge, as if all had ``bits``."""
        if bits not in self._grids:
            self._grids[bits] = choose.grids(self.placement, self.histograms, self.source.input, self.method, bits)
        return self._grids[bits]

    def _choices_of(self, grids: Mapping[str, Grid], progress: Progress) -> list[choose.Choice]:
        result = []
        for index, activation in enumerate(self.placement.activations):
            before, after = activation.before, activation.after
            key = before, grids[before], grids[after]
            if key not in self._choices:
                progress("placing quantizers", index, len(self.placement.activations))
                function = calibration.function_of(self.source, activation.nodes, before, after)
                histogram = self.histograms[before]
                self._choices[key] = choose.choose(activation, function, histogram, grids[before], grids[after])
            result.append(self._choices[key])
        return result

    def _moments_of(
        self, entries: Sequence[Weights], grids: Mapping[str, Grid], progress: Progress
    ) -> dict[str, Moments]:
        """Of what ``entries`` read on their grids; empty where the method does not need them."""
        if self.method != "mse":
            return {}
        missing = [w for w in entries if (w.node.name, grids[w.x]) not in self._moments]
        if missing:
            some = self.images.first(MOMENT_IMAGES)
            for name, moments in measure(self.source, missing, grids, some, progress).items():
                x = next(w.x for w in missing if w.node.name == name)
                self._moments[name, grids[x]] = moments
        return {w.node.name: self._moments[w.node.name, grids[w.x]] for w in entries}


def calibrate(
    source: OnnxGraph, placement: Placement, images: Images, method: str, activation_bits: int, progress: Progress
) -> Calibrated:
    """Observe the float model on ``images``. Ranges are made equal for ``activation_bits``."""
    exact = source
    scalings: tuple[Scaling, ...] = ()
    if method == "mse":
        source, scalings = equalize(source, placement, images, method, activation_bits, progress)
        placement = place(source)
    histograms = _observe(source, placement, images, progress)
    return Calibrated(exact, source, placement, scalings, images, histograms, method)


def _observe(source: OnnxGraph, placement: Placement, images: Images, progress: Progress) -> dict[str, Histogram]:
    """Histograms of every site and of what stands in front of an activation; a group has common ends."""
    edges = list(dict.fromkeys([*placement.sites, *(a.before for a in placement.activations)]))
    ends = calibration.extremes(source, edges, images, progress)
    for group in placement.groups:
        both = min(ends[e][0] for e in group), max(ends[e][1] for e in group)
        ends.update(dict.fromkeys(group, both))
    return calibration.histograms(source, {e: ends[e] for e in edges}, images, progress)


def _weights(
    source: OnnxGraph,
    entries: Sequence[Weights],
    weight_bits: Mapping[str, Bits],
    grids: Mapping[str, Grid],
    moments: Mapping[str, Moments],
    progress: Progress,
) -> Iterator[tuple[str, Layer]]:
    """By node name. With ``moments`` the error of the layer's output is made small, else that of the weights."""
    for index, entry in enumerate(entries):
        progress("quantizing weights", index, len(entries))
        name, real, bias = entry.node.name, _real_weight(source, entry), _real_bias(source, entry)
        bits, unit, seen = weight_bits[name], grids[entry.x].scale, moments.get(name)
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


def _weight_report(layer: Layer, seen: Moments | None, bits: Bits) -> dict[str, Any]:
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
