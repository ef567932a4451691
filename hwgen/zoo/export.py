# SPDX-License-Identifier: Apache-2.0
"""ONNX export: a float model that ``hwgen quantize`` takes."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch

from hwgen.arrays import check_writable, replacing
from hwgen.errors import UserError
from hwgen.zoo.checkpoint import read_checkpoint
from hwgen.zoo.efficientvit import EfficientViT, architecture, build

OPSET = 17
SMALLEST, LARGEST = 8, 4096
REPEATED = r"\b(\w+)\.(?=\1\.\d)"


@dataclass(frozen=True)
class ExportOptions:
    """What ``hwgen zoo export`` was asked for."""

    name: str
    output: Path
    checkpoint: Path | None = None
    """None: random weights, from seed 0."""
    classes: int | None = None
    """This and the following: None is what the checkpoint has, else 1000, 3 and the architecture's size."""
    channels: int | None = None
    image_size: int | None = None


def export(options: ExportOptions) -> dict[str, Any]:
    """Write the model that the options name and return a report; raises UserError.

    ``{"model", "output", "weights": "timm", "mit" or "random", "parameters", "classes", "channels", "image_size",
    "mean", "std": of a checkpoint that says so, else null}``.
    """
    sizes = architecture(options.name)
    if options.output.suffix.lower() != ".onnx":
        raise UserError(f"{options.output} is not the name of an .onnx file. Add -o NAME.onnx.")
    found = None if options.checkpoint is None else read_checkpoint(options.checkpoint)
    classes = options.classes or (found.classes if found else None) or 1000
    channels = options.channels or (found.channels if found else None) or 3
    size = options.image_size or (found.image_size if found else None) or sizes.image_size
    torch.manual_seed(0)
    model = build(options.name, classes, channels)
    if found is not None:
        found.load_into(model)
    export_onnx(model, options.output, size, found.class_names if found else None)
    return {
        "model": options.name,
        "output": str(options.output),
        "weights": found.dialect if found else "random",
        "parameters": model.parameter_count(),
        "classes": classes,
        "channels": channels,
        "image_size": size,
        "mean": list(found.mean) if found and found.mean else None,
        "std": list(found.std) if found and found.std else None,
    }


def export_onnx(
    model: EfficientViT, path: Path, image_size: int | None = None, class_names: Sequence[str] | None = None
) -> None:
    """Write ``model`` in eval mode: ``image`` (1, C, H, W) float32 to ``logits`` (1, classes), opset 17.

    Batch norms are folded into the convolutions; nodes are named as the modules. The file is written whole or not at
    all. ``class_names`` go to its metadata, where ``hwgen build`` finds them. Raises UserError for an image size that
    is too small or large, and for a path that cannot be written.
    """
    size = model.sizes.image_size if image_size is None else image_size
    if not SMALLEST <= size <= LARGEST:
        raise UserError(f"images of {size} pixels a side are not possible. Give {SMALLEST} to {LARGEST}.")
    check_writable(path)
    training = model.training
    model.eval()
    # Contiguous: the exporter takes the memory format of the weights for real transposes otherwise.
    model.to(memory_format=torch.contiguous_format)
    try:
        with replacing(path) as written, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter announces its own successor at length
            torch.onnx.export(
                model,
                (torch.zeros(1, model.channels, size, size),),
                str(written),
                input_names=["image"],
                output_names=["logits"],
                opset_version=OPSET,
                dynamo=False,
            )
            proto = onnx.load(written)
            _name_weights(proto)
            if class_names:
                onnx.helper.set_model_props(proto, {"classes": json.dumps(list(class_names))})
            onnx.checker.check_model(proto, full_check=True)
            onnx.save(proto, written)
    finally:
        model.train(training)


def _name_weights(proto: onnx.ModelProto) -> None:
    """Folded weights are numbered by the exporter (onnx::Conv_729); here they get their module's name, in place."""
    names = {tensor.name for tensor in proto.graph.initializer}
    renamed: dict[str, str] = {}
    for node in proto.graph.node:
        for place, role in ((1, "weight"), (2, "bias")):
            if place < len(node.input) and node.input[place].startswith("onnx::") and node.input[place] in names:
                module = node.name.rpartition("/")[0].strip("/").replace("/", ".")
                # "stages.stages.0": the exporter repeats the name of a list in front of its members' numbers
                renamed[node.input[place]] = f"{re.sub(REPEATED, '', module)}.{role}"
    for tensor in proto.graph.initializer:
        tensor.name = renamed.get(tensor.name, tensor.name)
    for node in proto.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
