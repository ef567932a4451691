# SPDX-License-Identifier: Apache-2.0
"""Keep the float model's accuracy: give the most sensitive parts 8 bits until the loss is small enough."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hwgen.errors import UserError
from hwgen.quantize.evaluation import Labelled, Meter, Progress, top1
from hwgen.quantize.precision import FULL, Part, Precision, parts_of, with_bits
from hwgen.quantize.search import Impact, by_sensitivity, raised

if TYPE_CHECKING:
    from hwgen.quantize import Calibrated, Quantized

NOISE_IMAGES = 32
"""Calibration images on which the noise of the output is measured."""
RAISED = {"weights": FULL, "activations": FULL}


def within(
    calibrated: Calibrated,
    made: Quantized,
    data: Labelled,
    points: float | None,
    finish: Callable[[Quantized], Quantized],
    progress: Progress,
) -> tuple[Quantized, dict[str, Any]]:
    """``made``, or what it becomes when its most sensitive parts get 8 bits, so that its top-1 on ``data`` is at most
    ``points`` (of 100) below the float model's; and the figures. Without ``points`` they are measured only.

    ``finish`` improves a model slowly. It comes first where nothing is raised; parts are then chosen without it, and it
    comes last, if its result holds, too. Raises UserError where 8 bits everywhere do not reach it.
    """
    meter = Meter(calibrated.exact, calibrated.images.first(NOISE_IMAGES), data, progress)

    def accuracy(model: Quantized, what: str = "accuracy") -> float:
        return top1(model.model, calibrated.source.input, data, lambda i: progress(what, i, data.images.count))

    def holds(found: float) -> bool:
        return points is None or meter.loss(found) <= points + 1e-9

    def with_raised(parts: list[Part]) -> Quantized:
        return calibrated.quantized(with_bits(made.precision, parts, RAISED), lambda *a: None)

    def enough(parts: list[Part]) -> bool:
        return holds(accuracy(with_raised(parts), f"accuracy with {len(parts)} parts raised to 8 bits"))

    start, chosen = made.precision, []
    result = finish(made)
    reached = before = accuracy(result)
    if points is not None and not holds(before):
        parts = [p for p in parts_of(calibrated.source, calibrated.placement) if p.bits(start) < FULL]
        if parts:
            reached = accuracy(with_raised(parts), f"accuracy with {len(parts)} parts raised to 8 bits")
        if not holds(reached):
            raise UserError(_missed(meter, reached, points))
        order = by_sensitivity(_gains(calibrated, meter, start, parts, progress))[::-1]
        chosen = raised(order, enough, lambda i: None)
        plain = with_raised(chosen)
        result = finish(plain)
        reached = accuracy(result)
        if not holds(reached):
            result, reached = plain, accuracy(plain)
    return result, {
        "images": data.images.count,
        "float_top1": meter.float_top1,
        "top1": reached,
        "allowed_loss_points": points,
        "top1_before_raising": before,
        "raised": [{"kind": p.kind, "name": p.name, "from": p.bits(start), "to": FULL} for p in chosen],
        "measured_by": "ONNX Runtime",
    }


def _gains(
    calibrated: Calibrated, meter: Meter, start: Precision, parts: list[Part], progress: Progress
) -> list[Impact]:
    """How much noise each part's lower bits make: what is gone when it alone has 8."""
    noise = meter.noise(calibrated.quantized(start, lambda *a: None).model)
    result = []
    for index, part in enumerate(parts):
        progress("how sensitive each layer is", index, len(parts))
        model = calibrated.quantized(with_bits(start, [part], RAISED), lambda *a: None).model
        less = max(noise - meter.noise(model), 0.0)
        result.append(Impact(part, less, part.elements * (FULL - part.bits(start))))
    return result


def _missed(meter: Meter, reached: float, points: float) -> str:
    return (
        f"the quantized model has {100 * reached:.2f} % top-1 with 8 bits everywhere, the float model "
        f"{100 * meter.float_top1:.2f} %: {meter.loss(reached):.2f} points less, allowed are {points:g}. Nothing was "
        "written. Give more --images for calibration, of the kind that the model was trained on, or allow more."
    )
