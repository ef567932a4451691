# SPDX-License-Identifier: Apache-2.0
"""Top-1 accuracy of hwgen's integer reference beside ONNX Runtime on the same quantized models and images.

    python bench/accuracy_cifar10.py MODEL.onnx [MODEL.onnx ...] --data cifar10_test.npz [--images 1000] [--json OUT]

The data file holds JPEG bytes (`jpeg`, concatenated), `offset` (N + 1) and `label`. ONNX Runtime runs with its graph
optimizations disabled. Needs `pip install 'hwgen[ort]'`.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from hwgen import frontend, passes
from hwgen import numerics as nx
from hwgen.backends.reference import direct, ort

MEAN = np.array([0.4914, 0.4822, 0.4465], np.float32)
STD = np.array([0.247, 0.2435, 0.2616], np.float32)


def images(path: Path, count: int, side: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Decoded, resized (bilinear), normalized: (N, 3, side, side) float32, and labels."""
    data = np.load(path)
    jpeg, offset = data["jpeg"].tobytes(), data["offset"]
    out = []
    for start, stop in pairwise(offset[: count + 1]):
        image = Image.open(io.BytesIO(jpeg[int(start) : int(stop)])).convert("RGB")
        pixels = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR), np.float32) / 255
        out.append(((pixels - MEAN) / STD).transpose(2, 0, 1))
    return np.stack(out).astype(np.float32), data["label"][:count].astype(np.int64)


def measure(model: Path, data: Path, count: int) -> dict[str, Any]:
    """Accuracy of both, agreement, and seconds a frame of the reference."""
    front = frontend.load(model)
    graph = passes.run(front.require())
    x, labels = images(data, count, graph.input.image[1])
    runtime = ort.session(front.onnx.model)
    quant = graph.input_quant
    ours, theirs, seconds = [], [], 0.0
    for image in x:
        codes = nx.quantize(image, quant.scale, quant.zero_point)
        start = time.perf_counter()
        values = direct.run(graph, codes)
        seconds += time.perf_counter() - start
        ours.append(int(values[graph.output].argmax()))
        theirs.append(int(np.asarray(runtime.run(None, {front.onnx.input: image[None]})[0]).argmax()))
    mine, other = np.array(ours), np.array(theirs)
    return {
        "model": model.name,
        "images": count,
        "hwgen_top1": float((mine == labels).mean()),
        "onnxruntime_top1": float((other == labels).mean()),
        "top1_agreement": float((mine == other).mean()),
        "reference_seconds_per_frame": seconds / count,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = [measure(m, options.data, options.images) for m in options.models]
    text = json.dumps(results, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
