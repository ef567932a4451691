# SPDX-License-Identifier: Apache-2.0
"""Top-1 accuracy of hwgen's integer reference beside ONNX Runtime on the same quantized models and images.

    python bench/accuracy_cifar10.py MODEL.onnx [MODEL.onnx ...] --data cifar10_test.npz [--images 1000] [--json OUT]
    python bench/accuracy_cifar10.py --quantize FLOAT.onnx --calib cifar10_train.npz --data cifar10_test.npz

With --quantize the models are made first, by `hwgen quantize` in each of --recipes (METHOD-wWEIGHTSaACTIVATIONS, or
ort: ONNX Runtime's own default), and the float model is measured, too. The data files hold JPEG bytes (`jpeg`,
concatenated), `offset` (N + 1) and `label`. Quantized models run in ONNX Runtime with its graph optimizations disabled.
Needs `pip install 'hwgen[ort]'`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hwgen import frontend, passes
from hwgen import numerics as nx
from hwgen.backends.reference import direct, ort
from hwgen.frontend.onnx_file import read
from hwgen.quantize import QuantizeOptions, quantize
from hwgen.quantize.evaluation import Labelled, open_labelled, top1
from hwgen.quantize.images import Images, Preprocessing, open_images

CIFAR10 = Preprocessing(mean=(0.4914, 0.4822, 0.4465), std=(0.247, 0.2435, 0.2616))
RECIPES = ("ort", "minmax-w8a8", "percentile-w8a8", "mse-w8a8", "mse-w4a8", "mse-w6a6")
CALIBRATION_IMAGES = 512


def images(path: Path, count: int, shape: tuple[int, ...]) -> Labelled:
    """The first ``count`` images for a model that sees ``shape`` (C, H, W), and their labels."""
    every = open_labelled(path, (shape[0], shape[1], shape[2]), CIFAR10)
    return Labelled(Images(min(count, every.images.count), every.images.image), every.labels[:count])


def measure(model: Path, data: Path, count: int) -> dict[str, Any]:
    """Accuracy of both, agreement, and seconds a frame of the reference, which computes in integers only."""
    front = frontend.load(model)
    coverage = front.coverage()
    graph = passes.run(front.require())
    given = images(data, count, graph.input.image)
    labels = given.labels
    runtime = ort.session(front.onnx.model)
    quant = graph.input_quant
    ours, theirs, seconds = [], [], 0.0
    for image in given.images:
        codes = nx.quantize(image, quant.scale, quant.zero_point)
        start = time.perf_counter()
        values = direct.run(graph, codes)
        seconds += time.perf_counter() - start
        ours.append(int(values[graph.output].argmax()))
        theirs.append(int(np.asarray(runtime.run(None, {front.onnx.input: image[None]})[0]).argmax()))
    mine, other = np.array(ours), np.array(theirs)
    return {
        "model": model.name,
        "images": len(labels),
        "nodes": coverage.nodes,
        "nodes_mapped": coverage.mapped,
        "hwgen_top1": float((mine == labels).mean()),
        "onnxruntime_top1": float((other == labels).mean()),
        "top1_agreement": float((mine == other).mean()),
        "reference_seconds_per_frame": seconds / len(labels),
    }


def measure_float(model: Path, data: Path, count: int) -> dict[str, Any]:
    """Accuracy of a float model in ONNX Runtime."""
    onnx = read(model)
    given = images(data, count, onnx.shapes[onnx.input][1:])
    share = top1(onnx.model, onnx.input, given, lambda i: None)
    return {"model": model.name, "images": given.images.count, "float_top1": share}


def quantize_as(recipe: str, model: Path, calib: Path, output: Path) -> dict[str, Any]:
    """Quantize ``model`` to ``output``; seconds, and what the quantizer says of the output."""
    start = time.perf_counter()
    report: dict[str, Any] = {}
    if recipe == "ort":
        _onnxruntime_default(model, calib, output)
    else:
        method, _, bits = recipe.partition("-w")
        weights, _, activations = bits.partition("a")
        options = QuantizeOptions(
            model, calib, output, method, int(weights), int(activations), CIFAR10, CALIBRATION_IMAGES
        )
        report = quantize(options)["output"]
    return {"recipe": recipe, "quantize_seconds": round(time.perf_counter() - start, 1), "output": report}


def _onnxruntime_default(model: Path, calib: Path, output: Path) -> None:
    """ONNX Runtime's static quantization as its documentation recommends it: QDQ, int8, per channel, MinMax."""
    from onnxruntime import quantization

    onnx = read(model)
    shape = onnx.shapes[onnx.input]
    chosen = iter(open_images(calib, (shape[1], shape[2], shape[3]), CIFAR10).first(CALIBRATION_IMAGES))

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Any] | None:
            image = next(chosen, None)
            return None if image is None else {onnx.input: image[None]}

    kind = quantization.QuantType.QInt8
    quantization.quantize_static(model, output, Reader(), per_channel=True, weight_type=kind, activation_type=kind)


def compare(model: Path, calib: Path, data: Path, count: int, recipes: list[str]) -> Iterator[dict[str, Any]]:
    """The float model and each recipe, one after the other."""
    yield measure_float(model, data, count)
    with tempfile.TemporaryDirectory() as folder:
        for recipe in recipes:
            output = Path(folder) / f"{recipe}.onnx"
            made = quantize_as(recipe, model, calib, output)
            yield {**made, **measure(output, data, count)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--quantize", type=Path, metavar="FLOAT.onnx")
    parser.add_argument("--calib", type=Path)
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES))
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not options.models and not options.quantize:
        parser.error("name quantized models, or a float model with --quantize")
    if options.quantize and not options.calib:
        parser.error("--quantize needs --calib")
    results = []
    for model in options.models:
        results.append(measure(model, options.data, options.images))
        print(json.dumps(results[-1], indent=2), flush=True)
    if options.quantize:
        for result in compare(options.quantize, options.calib, options.data, options.images, options.recipes):
            results.append(result)
            print(json.dumps(result, indent=2), flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
