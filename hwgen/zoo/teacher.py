# SPDX-License-Identifier: Apache-2.0
"""Teachers for knowledge distillation: a model of the zoo with a checkpoint, or any classifier as ONNX file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hwgen.errors import ModelError, UserError
from hwgen.zoo.checkpoint import read_checkpoint
from hwgen.zoo.efficientvit import build

Teacher = Callable[[Tensor], Tensor]
"""Normalized images (N, C, H, W) to logits (N, classes), without gradient."""


def zoo_teacher(text: str, classes: int, channels: int, image_size: int) -> Teacher:
    """The teacher that ``NAME:CHECKPOINT`` names; images are resized to the size that it was trained at.

    That size is what a model.pt of ``hwgen zoo train`` says, else ``image_size``. Raises UserError.
    """
    name, colon, file = text.partition(":")
    if not colon or not file:
        raise UserError(f"--teacher {text} is not NAME:CHECKPOINT. Give for instance b1:model.pt.")
    model = build(name, classes, channels)
    checkpoint = read_checkpoint(Path(file))
    checkpoint.load_into(model)
    model.eval()
    size = checkpoint.image_size or image_size

    def logits(images: Tensor) -> Tensor:
        with torch.no_grad():
            found: Tensor = model(_resized(images, size, size))
            return found

    return logits


def onnx_teacher(path: Path, classes: int, channels: int) -> Teacher:
    """The classifier in an ONNX file, run by ONNX Runtime; images are resized to its input. Raises UserError."""
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError("a teacher in ONNX needs ONNX Runtime. Install it: pip install 'hwgen[quant]'.") from error
    if not path.is_file():
        raise UserError(f"{path} does not exist. Give an ONNX file with --teacher-onnx.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base
        raise ModelError(f"ONNX Runtime cannot load the teacher {path}: {error}. Export it again.") from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type != "tensor(float)":
        raise ModelError(f"the teacher {path} is no classifier of float images (N, C, H, W). Give one.")
    batch, depth, height, width = inputs[0].shape
    if depth != channels or not isinstance(height, int) or not isinstance(width, int):
        raise ModelError(
            f"the teacher {path} takes {inputs[0].shape}; it must have {channels} channels, a fixed height and width. "
            "Export it so."
        )

    def logits(images: Tensor) -> Tensor:
        x = np.ascontiguousarray(_resized(images, height, width).numpy())
        step = batch if isinstance(batch, int) else len(x)
        parts = [session.run(None, {inputs[0].name: x[i : i + step]})[0] for i in range(0, len(x), step)]
        return torch.from_numpy(np.concatenate(parts).reshape(len(x), -1))

    count = int(logits(torch.zeros(batch if isinstance(batch, int) else 1, channels, height, width)).shape[1])
    if count != classes:
        raise ModelError(f"the teacher {path} knows {count} classes, the data have {classes}. Give one of the same.")
    return logits


def _resized(images: Tensor, height: int, width: int) -> Tensor:
    if images.shape[-2:] == (height, width):
        return images
    return functional.interpolate(images, (height, width), mode="bilinear", antialias=True)
