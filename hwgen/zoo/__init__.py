# SPDX-License-Identifier: Apache-2.0
"""Float models in PyTorch to start from: EfficientViT-B0 to B3 and a tiny one; checkpoints, ONNX export, training.

Nothing else of hwgen imports this package: hwgen does without PyTorch. Needs ``pip install 'hwgen[quant]'``.
"""

from __future__ import annotations

from hwgen.errors import UserError

try:
    import torch as torch
except ImportError as error:
    raise UserError("the model zoo needs PyTorch. Install it: pip install 'hwgen[quant]'.") from error

from hwgen.zoo.checkpoint import load_checkpoint
from hwgen.zoo.efficientvit import ARCHITECTURES, Architecture, EfficientViT, Stage, build
from hwgen.zoo.export import export_onnx
from hwgen.zoo.training import TrainOptions, train

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "EfficientViT",
    "Stage",
    "TrainOptions",
    "build",
    "export_onnx",
    "load_checkpoint",
    "train",
]
