# SPDX-License-Identifier: Apache-2.0
"""``hwgen sensitivity``: what fewer bits at one layer do to the network, and the guided choice of each layer's bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hwgen import __version__, pipeline
from hwgen.arrays import check_writable
from hwgen.artifact import plain, replacing_files, write_json
from hwgen.errors import UserError
from hwgen.quantize import (
    Calibrated,
    calibrate,
    check_choice,
    check_counts,
    check_points,
    check_targets,
    image_shape,
    open_evaluation,
    search,
)
from hwgen.quantize.evaluation import Measured, Meter
from hwgen.quantize.float_model import read_float
from hwgen.quantize.images import Preprocessing, open_images
from hwgen.quantize.keep import NOISE_IMAGES
from hwgen.quantize.placement import place
from hwgen.quantize.precision import (
    ACTIVATION_BITS,
    FULL,
    WEIGHT_BITS,
    Part,
    Precision,
    as_file,
    parts_of,
    uniform,
    with_bits,
)
from hwgen.quantize.ranges import METHODS, decibels
from hwgen.report import plot

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class SensitivityOptions:
    """What ``hwgen sensitivity`` was asked for."""

    model: Path
    calibration: Path
    evaluation: Path
    weight_bits: int | None = 4
    """Bits of the one layer's weights; None: weights are not measured."""
    activation_bits: int | None = None
    """Bits of the one tensor; None: tensors are not measured."""
    method: str = "mse"
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    images: int = 512
    evaluation_images: int = 500
    output: Path | None = None
    plot: Path | None = None
    target_loss: float | None = None
    """Points of top-1 that the chosen precision may lose against the float model."""
    target_size: float | None = None
    """Bits of the chosen precision's weights, as a share of 8 bits everywhere."""
    precision_out: Path | None = None

    @property
    def lower(self) -> dict[str, int]:
        """The lower bits by kind of part."""
        bits = {"weights": self.weight_bits, "activations": self.activation_bits}
        return {kind: count for kind, count in bits.items() if count is not None}

    @property
    def files(self) -> list[Path]:
        """What will be written."""
        return [p for p in (self.output, self.plot, self.precision_out) if p is not None]

    def check(self) -> None:
        """Raises UserError for options that are out of range or do not fit together."""
        check_choice("--method", self.method, tuple(METHODS))
        check_choice("--weights", self.weight_bits, (None, *(b for b in WEIGHT_BITS if b < FULL)))
        check_choice("--activations", self.activation_bits, (None, *(b for b in ACTIVATION_BITS if b < FULL)))
        check_counts(self.images, self.evaluation_images)
        if self.target_loss is not None and self.target_size is not None:
            raise UserError("--target-accuracy-loss and --target-size exclude each other. Give one of them.")
        if self.target_loss is not None:
            check_points("--target-accuracy-loss", self.target_loss)
        if self.target_size is not None:
            self._check_size(self.target_size)
        if self.precision_out is not None and self.target_loss is None and self.target_size is None:
            raise UserError("--precision-out needs a target. Add --target-accuracy-loss or --target-size.")
        if self.plot is not None:
            plot.check(self.plot)
        for path in self.files:
            check_writable(path)
        check_targets(self.files, (self.model, self.calibration, self.evaluation, self.preprocessing.config))
        if len({p.resolve() for p in self.files}) < len(self.files):
            raise UserError("-o, --plot and --precision-out must be different files.")

    def _check_size(self, share: float) -> None:
        if self.weight_bits is None:
            raise UserError("--target-size is about the weights, which --activations leaves at 8 bits. Add --weights.")
        if not self.weight_bits / FULL <= share < 1:
            raise UserError(
                f"--target-size {share:g} is not possible: with {self.weight_bits} bits everywhere it is "
                f"{self.weight_bits / FULL:g}. Give that or more, below 1, or fewer --weights."
            )


@dataclass
class _Study:
    """Models of any precision of one network, and what was measured of them."""

    calibrated: Calibrated
    meter: Meter
    base: Precision
    lower: Mapping[str, int]
    measured: dict[tuple[Part, ...], Measured] = field(default_factory=dict)

    def precision(self, parts: list[Part]) -> Precision:
        return with_bits(self.base, parts, self.lower)

    def measure(self, parts: list[Part], progress: Progress = pipeline.silent) -> Measured:
        """With ``parts`` at the lower bits and the rest at 8."""
        key = tuple(sorted(parts, key=lambda p: (p.kind, p.name)))
        if key not in self.measured:
            model = self.calibrated.quantized(self.precision(parts), progress).model
            self.measured[key] = self.meter.measure(model)
        return self.measured[key]

    def size(self, precision: Precision) -> float:
        """Bits of the weights as a share of 8 bits everywhere."""
        bits = total = 0.0
        for entry in self.calibrated.placement.weighted:
            elements = self.calibrated.source.constants[entry.weight].size
            bits += elements * float(np.mean(precision.weights[entry.node.name]))
            total += elements * FULL
        return bits / total

    def figures(self, parts: list[Part]) -> dict[str, Any]:
        """What was measured, for the report."""
        found = self.measure(parts)
        return {
            "top1": found.top1,
            "loss_points": self.meter.loss(found.top1),
            "sqnr_db": decibels(1.0, found.noise),
            "size": self.size(self.precision(parts)),
        }


def sensitivity(options: SensitivityOptions, progress: Progress = pipeline.silent) -> dict[str, Any]:
    """Measure every layer alone, choose a precision where a target is given, write the files; returns the report.

    Raises UserError (ModelError for the model) for whatever is the user's to mend; then nothing is written.
    """
    options.check()
    progress("reading the model", 0, 0)
    source = read_float(options.model)
    placement = place(source)
    images = open_images(options.calibration, image_shape(source), options.preprocessing).first(options.images)
    data = open_evaluation(options.evaluation, source, options.preprocessing, options.evaluation_images)
    calibrated = calibrate(source, placement, images, options.method, FULL, progress)
    source, placement = calibrated.source, calibrated.placement
    meter = Meter(calibrated.exact, images.first(NOISE_IMAGES), data, progress)
    study = _Study(calibrated, meter, uniform(source, placement, FULL, FULL), options.lower)
    base = study.measure([], progress)
    if options.target_loss is not None:
        _check_reachable(study, options.target_loss)
    parts = [p for p in parts_of(source, placement) if p.kind in options.lower]
    study.measure(parts, progress)
    impacts = []
    for index, part in enumerate(parts):
        progress("measuring one layer after the other", index, len(parts))
        noise = max(study.measure([part]).noise - base.noise, 0.0)
        impacts.append(search.Impact(part, noise, part.elements * (FULL - options.lower[part.kind])))
    report = {
        "model": options.model.name,
        "hwgen": __version__,
        "method": options.method,
        "lower_bits": options.lower,
        "calibration_images": images.count,
        "sqnr_images": meter.some.count,
        "evaluation_images": data.images.count,
        "measured_by": "ONNX Runtime",
        "float_top1": meter.float_top1,
        "all_8": study.figures([]),
        "all_lower": study.figures(parts),
        "layers": [
            {
                "kind": i.part.kind,
                "name": i.part.name,
                "members": i.part.members,
                "elements": i.part.elements,
                "bits": options.lower[i.part.kind],
                "bits_saved": i.saved,
                "added_noise": i.noise,
                **study.figures([i.part]),
            }
            for i in sorted(impacts, key=lambda i: -i.noise)
        ],
        "choice": None,
    }
    precision = None
    if options.target_loss is not None or options.target_size is not None:
        chosen = _choose(study, impacts, options, progress)
        precision = study.precision(chosen)
        report["choice"] = {
            "target_loss_points": options.target_loss,
            "target_size": options.target_size,
            **study.figures(chosen),
            "bits": precision.summary(source, placement),
            "lowered": [{"kind": p.kind, "name": p.name, "bits": options.lower[p.kind]} for p in chosen],
            "combinations_measured": len(study.measured) - len(parts),
        }
    result: dict[str, Any] = plain(report)
    _write(options, result, None if precision is None else as_file(precision, source, placement))
    return result


def _check_reachable(study: _Study, points: float) -> None:
    top1 = study.measure([]).top1
    if study.meter.loss(top1) > points + 1e-9:
        raise UserError(
            f"with 8 bits everywhere the model has {100 * top1:.2f} % top-1, the float model "
            f"{100 * study.meter.float_top1:.2f} %: {study.meter.loss(top1):.2f} points less, allowed are {points:g}. "
            "Nothing was written. Give more --images, or a larger --target-accuracy-loss."
        )


def _choose(study: _Study, impacts: list[search.Impact], options: SensitivityOptions, progress: Progress) -> list[Part]:
    """The parts that get the lower bits; the combination was measured."""
    if options.target_loss is not None:
        points = options.target_loss
        order = search.by_sensitivity(impacts)

        def holds(parts: list[Part]) -> bool:
            return study.meter.loss(study.measure(parts).top1) <= points + 1e-9

        return search.lower(order, holds, lambda done: progress("lowering step by step", done, len(order)))
    weights = [i for i in impacts if i.part.kind == "weights"]
    total = sum(i.part.elements for i in weights) * FULL
    assert options.target_size is not None
    needed = int(np.ceil(total * (1 - options.target_size) - 1e-9))
    saved = {i.part: i.saved for i in weights}
    orders = search.by_sensitivity(weights), [i.part for i in sorted(weights, key=lambda i: i.noise)]
    candidates = [search.for_size(order, saved, needed) for order in orders]
    progress("comparing combinations", 0, 0)
    return max(candidates, key=lambda parts: (study.measure(parts).top1, -study.measure(parts).noise))


def _write(options: SensitivityOptions, report: dict[str, Any], precision: dict[str, Any] | None) -> None:
    with replacing_files(options.files) as paths:
        for target, path in zip(options.files, paths, strict=True):
            if target == options.output:
                write_json(path, report)
            elif target == options.plot:
                plot.sensitivity(report, path)
            else:
                write_json(path, precision)
