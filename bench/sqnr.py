# SPDX-License-Identifier: Apache-2.0
"""Signal-to-quantization-noise ratio of each kernel's output, hwgen's integer reference against the float network.

    python bench/sqnr.py [--model b1] [--methods minmax mse] [--bits w8a8] [--images 16] [--frames 4] [--worst 10]

The network has random weights. Its batch norms are calibrated on random images, else activations would die away from
layer to layer and nothing could be told from the ratio. Needs `pip install 'hwgen[quant]'`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accuracy import parse
from torch import nn
from torch.nn import functional

from hwgen import frontend, passes, zoo
from hwgen import numerics as nx
from hwgen.backends.reference import direct
from hwgen.ir import Input
from hwgen.quantize import QuantizeOptions, calibration, quantize
from hwgen.quantize.equalize import equalize
from hwgen.quantize.float_model import read_float
from hwgen.quantize.images import Images, Preprocessing, open_images
from hwgen.quantize.placement import place
from hwgen.quantize.ranges import decibels

COARSE = 8


def random_images(count: int, channels: int, size: int, seed: int) -> torch.Tensor:
    """(N, C, H, W) with mean 0: patches of 8 pixels, smoothed, and noise on every pixel."""
    random = torch.Generator().manual_seed(seed)
    patches = torch.randn(count, channels, -(-size // COARSE), -(-size // COARSE), generator=random)
    smooth = functional.interpolate(patches, size=(size, size), mode="bilinear")
    return smooth + 0.3 * torch.randn(count, channels, size, size, generator=random)


def lively(name: str, images: torch.Tensor) -> zoo.EfficientViT:
    """Random weights; each batch norm has the mean and the variance that the images give it."""
    torch.manual_seed(0)
    model = zoo.build(name, 1000, images.shape[1])
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all batches; here there is one
    model.train()
    with torch.no_grad():
        model(images)
    return model.eval()


def ratios(model: Path, quantized: Path, images: Images, calib: Images, method: str, bits: int) -> dict[str, Any]:
    """SQNR in dB of each kernel's output by its tensor's name, over ``images``; ``calib`` are the quantization's."""
    source = read_float(model)
    if method not in ("minmax", "percentile"):  # the float network that these compare with has other scales
        source, _ = equalize(source, place(source), calib, "mse", bits, lambda *a: None)
    front = frontend.load(quantized)
    graph = passes.run(front.require())
    tensors = {op.y: graph.tensors[op.y] for op in graph.ops if not isinstance(op, Input)}
    edges = {name: t.onnx.removesuffix("_quantized") for name, t in tensors.items()}
    edges = {name: source.output if e == f"{source.output}_float" else e for name, e in edges.items()}
    known = {edge for node in source.nodes for edge in node.outputs}
    found = {name: edge for name, edge in edges.items() if edge in known}
    sums = {name: np.zeros(2) for name in found}
    exact = calibration.edges_of(source, list(dict.fromkeys(found.values())), images, lambda i: None)
    for image, floats in zip(images, exact, strict=True):
        quant = graph.input_quant
        values = direct.run(graph, nx.quantize(image, quant.scale, quant.zero_point))
        for name, edge in found.items():
            tensor = tensors[name]
            real = floats[edge].astype(np.float64)
            if tensor.channels is not None:
                real = real[:, tensor.channels[0] : tensor.channels[1]]
            ours = (values[name].astype(np.float64) - tensor.quant.zero_point) * tensor.quant.scale
            real = real.reshape(ours.shape)
            sums[name] += (real**2).sum(), ((real - ours) ** 2).sum()
    return {
        "kernels": len(tensors),
        "compared": len(found),
        "sqnr_db": {found[name]: decibels(*pair) for name, pair in sums.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="b1")
    parser.add_argument("--size", type=int, help="pixels a side; default: the model's")
    parser.add_argument("--methods", nargs="+", default=["minmax", "mse"])
    parser.add_argument("--bits", default="w8a8")
    parser.add_argument("--images", type=int, default=16, help="for batch norms and calibration")
    parser.add_argument("--frames", type=int, default=4, help="other images, to measure on")
    parser.add_argument("--worst", type=int, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    size = options.size or zoo.ARCHITECTURES[options.model].image_size
    calibrating = random_images(options.images, 3, size, 0)
    measured = random_images(options.frames, 3, size, 1).numpy()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        zoo.export_onnx(lively(options.model, calibrating), folder / "float.onnx", size)
        np.save(folder / "calib.npy", calibrating.numpy())
        how = Preprocessing()
        calib = open_images(folder / "calib.npy", (3, size, size), how).first(options.images)
        for method in options.methods:
            _, weights, activations = parse(f"{method}-{options.bits}")
            paths = folder / "float.onnx", folder / "calib.npy", folder / f"{method}.onnx"
            quantize(QuantizeOptions(*paths, method, weights, activations, how, options.images))
            images = Images(len(measured), lambda i: measured[i])
            results[method] = ratios(paths[0], paths[2], images, calib, method, activations)
            every = results[method]["sqnr_db"]
            print(
                f"\n{method}, {options.bits}: {results[method]['compared']} of {results[method]['kernels']} kernels;",
                end="",
            )
            print(f" median {np.median([r for r in every.values() if r is not None]):.1f} dB\n")
            print("| tensor | SQNR, dB |\n|---|--:|")
            for edge, ratio in sorted(every.items(), key=lambda e: (e[1] is None, e[1]))[: options.worst]:
                print(f"| {edge} | {'exact' if ratio is None else format(ratio, '.1f')} |")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
