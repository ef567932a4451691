# SPDX-License-Identifier: Apache-2.0
"""Top-1 accuracy of quantized models: of recipes over calibration seeds, or of models that are quantized already.

    python bench/accuracy.py --quantize FLOAT.onnx --calib TRAIN --data TEST.npz --mean M --std S --json OUT.json
    python bench/accuracy.py MODEL.onnx [MODEL.onnx ...] --data TEST.npz --mean M --std S [--json OUT.json]

The first form quantizes the float model by each of --recipes, once for each of --seeds, which draw --calibration-images
of the images in --calib. The result is measured in ONNX Runtime with its graph optimizations disabled; by hwgen's
integer reference, too, for the recipes that --reference names. Each result is added to OUT.json at once, and what is
there already is not measured again. The table goes to stdout. Recipes:

    minmax-w8a8, percentile-, mse-, reconstruct-   hwgen quantize, weights of 8, 6 or 4 bits, activations of 8 or 6
    ort-minmax, ort-percentile                     ONNX Runtime's static quantization: every edge, int8, per channel
    nncf, nncf-transformer                         NNCF's default, and for transformers (pip install nncf)
    quark-xint8                                    AMD Quark's XINT8 (pip install amd-quark)
    every-edge-w8a8, easyquant-, ptq4vit-, fqvit-, repqvit-     baselines.py: simulated in float by PyTorch

The second form measures quantized models by both, with the seconds a frame of the reference. Test data are what
`hwgen quantize --eval` takes. Needs `pip install 'hwgen[ort]'`.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import onnx

from hwgen import frontend, passes
from hwgen import numerics as nx
from hwgen.arrays import replacing
from hwgen.backends.reference import direct
from hwgen.errors import UserError
from hwgen.frontend.onnx_file import OnnxGraph, read
from hwgen.quantize import QuantizeOptions, calibration, quantize
from hwgen.quantize.evaluation import open_labelled
from hwgen.quantize.images import Images, Preprocessing, open_images

BITS = ("w8a8", "w6a6", "w4a8")
METHODS = ("minmax", "percentile", "mse", "reconstruct")
RECIPES = ("ort-minmax", "ort-percentile", *(f"{m}-{b}" for m in METHODS[:3] for b in BITS))
SIMULATED = tuple(
    f"{s}{o}" for s in ("every-edge", "easyquant", "ptq4vit", "fqvit", "repqvit") for o in ("", "-operands")
)

BATCH = 50
CHECKED = 4
"""So many images are computed alone, too; their outputs must be equal."""

Float32 = npt.NDArray[np.float32]
Classes = npt.NDArray[np.int64]
Result = dict[str, Any]


class Test:
    """Test images (N, C, H, W) as the model sees them, and their labels (N,)."""

    __test__ = False  # for pytest

    def __init__(self, path: Path, count: int, shape: Sequence[int], how: Preprocessing) -> None:
        """The first ``count`` of ``path``; ``shape``: (C, H, W). Raises UserError."""
        every = open_labelled(path, (shape[0], shape[1], shape[2]), how)
        count = min(count, every.images.count)
        self.images: Float32 = np.stack([every.images.image(i) for i in range(count)])
        self.labels: Classes = every.labels[:count]

    def top1(self, classes: Classes) -> float:
        return float((classes == self.labels).mean())


def session(model: onnx.ModelProto, batch: int = 1) -> Any:
    """ONNX Runtime without graph optimizations, on one thread, for ``batch`` images at once.

    Raises UserError where a Reshape would not keep the images of a batch apart.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if batch > 1:
        model = _for_batches(model, batch)
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _for_batches(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """The first dimension of input and output is ``batch``; a Reshape takes its first from what it reads."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    constants = {i.name: i for i in graph.initializer}
    constants |= {n.output[0]: n.attribute[0].t for n in graph.node if n.op_type == "Constant"}
    for name in {n.input[1] for n in graph.node if n.op_type == "Reshape"}:
        shape = onnx.numpy_helper.to_array(constants[name]).copy() if name in constants else np.zeros(0)
        if not len(shape) or shape[0] not in (0, 1):
            raise UserError(f"the Reshape to {name} does not keep the images of a batch apart.")
        shape[0] = 0
        constants[name].CopyFrom(onnx.numpy_helper.from_array(shape, name))
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    del graph.value_info[:]
    return result


def decide(model: onnx.ModelProto, images: Float32) -> Classes:
    """The class that ONNX Runtime gives each image, in batches where they give what single images give."""
    alone = session(model)
    name = alone.get_inputs()[0].name
    whole = len(images) // BATCH * BATCH
    found = []
    if whole:
        try:
            together = session(model, BATCH)
            first = np.concatenate([alone.run(None, {name: image[None]})[0] for image in images[:CHECKED]])
            same = np.array_equal(first, together.run(None, {name: images[:BATCH]})[0][:CHECKED])
        except UserError:
            same = False
        if same:
            parts = np.split(images[:whole], whole // BATCH)
            found = [together.run(None, {name: part})[0].argmax(1) for part in parts]
    rest = images[whole if found else 0 :]
    found += [alone.run(None, {name: image[None]})[0].argmax(1) for image in rest]
    return np.concatenate(found)


def decide_in_integers(front: frontend.Frontend, images: Float32) -> tuple[Classes, float]:
    """The class that hwgen's integer reference gives each image, and its seconds a frame."""
    graph = passes.run(front.require())
    quant = graph.input_quant
    classes, seconds = [], 0.0
    for image in images:
        codes = nx.quantize(image, quant.scale, quant.zero_point)
        start = time.perf_counter()
        classes.append(int(direct.run(graph, codes)[graph.output].argmax()))
        seconds += time.perf_counter() - start
    return np.array(classes), seconds / len(images)


def measure(model: Path, data: Path, count: int, how: Preprocessing) -> Result:
    """Accuracy of a quantized model by both, their agreement, and the reference's seconds a frame."""
    front = frontend.load(model)
    coverage = front.coverage()
    test = Test(data, count, front.onnx.shapes[front.onnx.input][1:], how)
    ours, seconds = decide_in_integers(front, test.images)
    theirs = decide(front.onnx.model, test.images)
    return {
        "model": model.name,
        "images": len(test.labels),
        "nodes": coverage.nodes,
        "nodes_mapped": coverage.mapped,
        "hwgen_top1": test.top1(ours),
        "onnxruntime_top1": test.top1(theirs),
        "top1_agreement": float((ours == theirs).mean()),
        "reference_seconds_per_frame": seconds,
    }


class Record:
    """Results in a JSON file, by recipe and seed; written anew, as a whole, after each."""

    def __init__(self, path: Path | None, settings: Mapping[str, Any]) -> None:
        """Raises UserError where the file holds results of other settings."""
        self.path, self.settings, self.results = path, dict(settings), list[Result]()
        if path is None or not path.exists():
            return
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            before, self.results = found["settings"], found["results"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} holds no results of this script. Choose another file.") from error
        differ = [k for k in {**before, **self.settings} if before.get(k) != self.settings.get(k)]
        if differ:
            raise UserError(f"{path} holds results of other settings ({', '.join(differ)}). Choose another file.")

    def has(self, recipe: str, seed: int | None) -> bool:
        return any((r["recipe"], r["seed"]) == (recipe, seed) for r in self.results)

    def add(self, result: Result) -> None:
        self.results.append(result)
        if self.path is not None:
            with replacing(self.path) as temporary:
                text = json.dumps({"settings": self.settings, "results": self.results}, indent=2)
                temporary.write_text(text + "\n", encoding="utf-8")


def spread(values: Sequence[float]) -> tuple[float, float | None, float, float]:
    """Mean, standard deviation of a sample (None for one value), least and largest."""
    array = np.array(values)
    return float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else None, min(values), max(values)


def table(results: Sequence[Result]) -> str:
    """Markdown: one row a recipe and measure; top-1 in percent, mean and sample standard deviation over seeds."""
    exact = next((r["top1"] for r in results if r["recipe"] == "float"), None)
    rows = ["| recipe | measured by | seeds | top-1 | range | against float | same decision as float |"]
    rows.append("|---|---|--:|--:|--:|--:|--:|")
    for recipe in sorted({r["recipe"] for r in results}, key=_row):
        runs = [r for r in results if r["recipe"] == recipe]
        for key, same, measured_by in (
            ("top1", "float_agreement", runs[0]["measured_by"]),
            ("hwgen_top1", "hwgen_float_agreement", "hwgen's integer reference"),
        ):
            some = [r for r in runs if key in r]
            if not some:
                continue
            mean, deviation, low, high = spread([100 * r[key] for r in some])
            value = f"{mean:.2f}" if deviation is None else f"{mean:.2f} ± {deviation:.2f}"
            ends = "" if len(some) == 1 else f"{low:.2f} to {high:.2f}"
            against = "" if exact is None or recipe == "float" else f"{mean - 100 * exact:+.2f}"
            agreed = "" if recipe == "float" else f"{100 * np.mean([r[same] for r in some]):.1f} %"
            count = "" if recipe == "float" else str(len(some))
            rows.append(f"| {recipe} | {measured_by} | {count} | {value} | {ends} | {against} | {agreed} |")
    return "\n".join(rows)


def _row(recipe: str) -> tuple[int, int, int, int, str]:
    """Where a recipe stands in the table: by kind, then by bits, then as in the lists above."""
    if recipe == "float":
        return 0, 0, 0, 0, recipe
    method, weights, activations = parse(recipe)
    kinds = METHODS, tuple(LIBRARIES), SIMULATED
    kind = next(i for i, kind in enumerate(kinds) if method in kind)
    return 1 + kind, -activations, -weights, kinds[kind].index(method), recipe


def parse(recipe: str) -> tuple[str, int, int]:
    """Method, bits of the weights and of the activations. Raises UserError for a recipe that does not exist."""
    method, _, bits = recipe.rpartition("-w")
    weights, _, activations = bits.partition("a")
    if recipe in LIBRARIES:
        return recipe, 8, 8
    if method in (*METHODS, *SIMULATED) and weights.isdecimal() and activations.isdecimal():
        return method, int(weights), int(activations)
    known = ", ".join([*LIBRARIES, *(f"{m}-wNaN" for m in (*METHODS, *SIMULATED))])
    raise UserError(f"there is no recipe {recipe}. Use: {known}.")


def _reader(model: Path, images: Images) -> Any:
    """Calibration data as ONNX Runtime and Quark want them."""
    from onnxruntime import quantization

    name, chosen = read(model).input, iter(images)

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Any] | None:
            image = next(chosen, None)
            return None if image is None else {name: image[None]}

    return Reader()


def with_onnxruntime(percentile: bool) -> Callable[[Path, Path, Images], None]:
    """ONNX Runtime's static quantization as its documentation recommends it: QDQ, int8, weights per channel."""

    def make(model: Path, output: Path, images: Images) -> None:
        from onnxruntime import quantization

        kind = quantization.QuantType.QInt8
        methods = quantization.CalibrationMethod
        quantization.quantize_static(
            model,
            output,
            _reader(model, images),
            per_channel=True,
            weight_type=kind,
            activation_type=kind,
            calibrate_method=methods.Percentile if percentile else methods.MinMax,
        )

    return make


def with_quark(model: Path, output: Path, images: Images) -> None:
    """AMD Quark's XINT8: powers of two as scales, the default for its accelerators."""
    try:
        from quark.onnx import ModelQuantizer
        from quark.onnx.quantization.config import Config, get_default_config
    except ImportError as error:
        raise UserError("the recipe needs AMD Quark. Install it: pip install amd-quark.") from error
    config = Config(global_quant_config=get_default_config("XINT8"))
    reader, before = _reader(model, images), Path.cwd()
    paths = str(model.resolve()), str(output.resolve())
    os.chdir(output.parent)  # it leaves a table in the current folder
    try:
        ModelQuantizer(config).quantize_model(*paths, reader)
    finally:
        os.chdir(before)


def with_nncf(transformer: bool) -> Callable[[Path, Path, Images], None]:
    """NNCF's post-training quantization of ONNX models with its defaults (preset MIXED for transformers)."""

    def make(model: Path, output: Path, images: Images) -> None:
        try:
            import nncf
        except ImportError as error:
            raise UserError("the recipe needs NNCF. Install it: pip install nncf.") from error
        proto = onnx.load(model)
        name = proto.graph.input[0].name
        kind = {"model_type": nncf.ModelType.TRANSFORMER, "preset": nncf.QuantizationPreset.MIXED}
        data = nncf.Dataset(list(images), lambda image: {name: image[None]})
        result = nncf.quantize(proto, data, subset_size=images.count, **(kind if transformer else {}))
        onnx.save(result, output)

    return make


LIBRARIES = {
    "ort-minmax": with_onnxruntime(percentile=False),
    "ort-percentile": with_onnxruntime(percentile=True),
    "quark-xint8": with_quark,
    "nncf": with_nncf(transformer=False),
    "nncf-transformer": with_nncf(transformer=True),
}


@contextmanager
def remembered(known: dict[str, Any]) -> Iterator[None]:
    """``hwgen quantize`` looks up what it would observe again: the same float model, edges and images.

    ``known``: what was observed with one set of images.
    """

    def once(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(source: OnnxGraph, edges: Any, images: Images, progress: Any) -> Any:
            model = hashlib.sha256(source.model.SerializeToString(deterministic=True)).hexdigest()
            key = repr((function.__name__, model, images.count, edges))
            if key not in known:
                known[key] = function(source, edges, images, progress)
            return copy.copy(known[key])

        return call

    with (
        mock.patch.object(calibration, "extremes", once(calibration.extremes)),
        mock.patch.object(calibration, "histograms", once(calibration.histograms)),
    ):
        yield


class Bench:
    """One float model, its calibration and its test images."""

    def __init__(self, options: argparse.Namespace, how: Preprocessing) -> None:
        self.model, self.calib, self.how = options.quantize, options.calib, how
        self.onnx: OnnxGraph = read(self.model)
        self.shape = self.onnx.shapes[self.onnx.input][1:]
        self.count = options.calibration_images
        self.test = Test(options.data, options.images, self.shape, how)
        self.observed: dict[int, dict[str, Any]] = {}
        self.exact: Classes = decide(self.onnx.model, self.test.images)

    def settings(self) -> dict[str, Any]:
        """What results must share to stand in one table."""
        return {
            "model": self.model.name,
            "sha256": hashlib.sha256(self.model.read_bytes()).hexdigest(),
            "test_images": len(self.test.labels),
            "test_sha256": hashlib.sha256(self.test.labels.tobytes() + self.test.images.tobytes()).hexdigest(),
            "calibration": self.calib.name,
            "calibration_images": self.count,
            "mean": list(self.how.mean or ()),
            "std": list(self.how.std or ()),
        }

    def drawn(self, seed: int) -> Images:
        """The calibration images of a seed; the same that ``hwgen quantize --seed`` draws."""
        every = open_images(self.calib, (self.shape[0], self.shape[1], self.shape[2]), self.how)
        return every.drawn(self.count, seed)

    def float(self) -> Result:
        top1 = self.test.top1(self.exact)
        return {"recipe": "float", "seed": None, "measured_by": "ONNX Runtime", "top1": top1}

    def run(self, recipe: str, seed: int, reference: bool) -> Result:
        """Quantize and measure."""
        method, weights, activations = parse(recipe)
        result: Result = {"recipe": recipe, "seed": seed}
        if method in SIMULATED:
            import baselines

            network = baselines.quantize(self.model, np.stack(list(self.drawn(seed))), method, weights, activations)
            result.update(measured_by="simulation in float")
            classes = network.classes(self.test.images)
            return {**result, **self._scores("", classes)}
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "quantized.onnx"
            if method in LIBRARIES:
                LIBRARIES[method](self.model, output, self.drawn(seed))
            else:
                options = QuantizeOptions(
                    self.model, self.calib, output, method, weights, activations, self.how, self.count, seed
                )
                with remembered(self.observed.setdefault(seed, {})):
                    quantize(options)
            result.update(measured_by="ONNX Runtime")
            classes = decide(onnx.load(output), self.test.images)
            result.update(self._scores("", classes))
            if reference:
                ours, _ = decide_in_integers(frontend.load(output), self.test.images)
                result.update(self._scores("hwgen_", ours), top1_agreement=float((ours == classes).mean()))
        return result

    def _scores(self, prefix: str, classes: Classes) -> Result:
        agreement = float((classes == self.exact).mean())
        return {f"{prefix}top1": self.test.top1(classes), f"{prefix}float_agreement": agreement}


def compare(options: argparse.Namespace, how: Preprocessing) -> Iterator[Result]:
    """The float model and each recipe with each seed; what the JSON file holds already is left out."""
    for recipe in (*options.recipes, *options.reference):
        parse(recipe)
    bench = Bench(options, how)
    record = Record(options.json, bench.settings())
    if not record.has("float", None):
        record.add(bench.float())
    todo = [(r, s) for s in options.seeds for r in options.recipes if not record.has(r, s)]
    for index, (recipe, seed) in enumerate(todo):
        print(f"[{index + 1}/{len(todo)}] {recipe}, seed {seed}", file=sys.stderr, flush=True)
        record.add(bench.run(recipe, seed, recipe in options.reference))
        print(json.dumps(record.results[-1]), file=sys.stderr, flush=True)
    yield from record.results


def numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--quantize", type=Path, metavar="FLOAT.onnx")
    parser.add_argument("--calib", type=Path)
    parser.add_argument("--calibration-images", type=int, default=512)
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES))
    parser.add_argument("--reference", nargs="+", default=[], metavar="RECIPE")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--mean", required=True, type=numbers)
    parser.add_argument("--std", required=True, type=numbers)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    if bool(options.models) == bool(options.quantize):
        parser.error("name quantized models, or a float model with --quantize")
    if options.quantize and not options.calib:
        parser.error("--quantize needs --calib")
    how = Preprocessing(options.mean, options.std)
    try:
        if options.quantize:
            text = table(list(compare(options, how)))
            print(text)
            if options.markdown:
                options.markdown.write_text(text + "\n", encoding="utf-8")
            return
        results = []
        for model in options.models:
            results.append(measure(model, options.data, options.images, how))
            print(json.dumps(results[-1], indent=2), flush=True)
        if options.json:
            options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    except UserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
