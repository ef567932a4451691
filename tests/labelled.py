# SPDX-License-Identifier: Apache-2.0
"""Labelled images for the small float models: the label is what the float model says, so it is always right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from onnx import numpy_helper

from float_models import float_vit
from qdq_models import save


def run_plainly(model: Path | bytes, x: np.ndarray) -> np.ndarray:
    """ONNX Runtime, operator by operator; (N, classes)."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    given = model if isinstance(model, bytes) else str(model)
    session = onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: image[None]})[0] for image in x]).reshape(len(x), -1)


def classifier(path: Path) -> Path:
    """A float model whose best class depends on the image: the mean of its logits is taken out of the last bias."""
    model = float_vit()
    x = np.random.default_rng(1).normal(0, 1, (200, 3, 12, 12)).astype(np.float32)
    name = model.graph.node[-1].input[2]
    bias = next(i for i in model.graph.initializer if i.name == name)
    mean = run_plainly(model.SerializeToString(), x).mean(axis=0)
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) - mean, name))
    return save(model, path)


def labelled(path: Path, model: Path, count: int = 200, shape: tuple[int, ...] = (3, 12, 12), seed: int = 7) -> Path:
    """.npz with float images and ``label``."""
    x = np.random.default_rng(seed).normal(0, 1, (count, *shape)).astype(np.float32)
    np.savez(path, images=x, label=run_plainly(model, x).argmax(axis=1))
    return path


def accuracy(model: Path, data: Path) -> float:
    """Top-1, computed independently of hwgen."""
    with np.load(data) as arrays:
        return float((run_plainly(model, arrays["images"]).argmax(axis=1) == arrays["label"]).mean())
