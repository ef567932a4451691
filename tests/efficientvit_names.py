# SPDX-License-Identifier: Apache-2.0
"""Names and shapes of the tensors in published EfficientViT-B checkpoints, as timm and as MIT call them.

Written from the authors' definitions (mit-han-lab/efficientvit: backbone.py, cls.py, nn/ops.py) and timm's
(efficientvit_mit.py), not from hwgen's own model: the tests compare the two.
"""

from __future__ import annotations

from collections.abc import Iterator

Row = tuple[str, str, tuple[int, ...]]
"""timm's name, MIT's name, shape."""

SIZES = {
    "b0": ((8, 16, 32, 64, 128), (1, 2, 2, 2, 2), 16, (1024, 1280)),
    "b1": ((16, 32, 64, 128, 256), (1, 2, 3, 3, 4), 16, (1536, 1600)),
    "b2": ((24, 48, 96, 192, 384), (1, 3, 4, 4, 6), 32, (2304, 2560)),
    "b3": ((32, 64, 128, 256, 512), (1, 4, 6, 6, 9), 32, (2304, 2560)),
}
"""Widths and depths of stem and stages, channels of a head, widths of the classifier."""

TIMM_MILLIONS = {"b0": 3.41, "b1": 9.10, "b2": 24.33, "b3": 48.65}
"""Parameters with 1000 classes: timm, results/benchmark-infer-*.csv; MIT's README has 9.1, 24 and 49 M from b1 on."""


def _conv(timm: str, mit: str, shape: tuple[int, ...], norm: bool = True) -> Iterator[Row]:
    """ConvNormAct of timm, ConvLayer of MIT: with BatchNorm, or with a bias instead."""
    names = [("conv.weight", shape)]
    if norm:
        names += [(f"norm.{n}", shape[:1]) for n in ("weight", "bias", "running_mean", "running_var")]
        names += [("norm.num_batches_tracked", ())]
    else:
        names += [("conv.bias", shape[:1])]
    for name, size in names:
        yield f"{timm}.{name}", f"{mit}.{name}", size


def _mbconv(timm: str, mit: str, inputs: int, outputs: int, norm: bool) -> Iterator[Row]:
    middle = 4 * inputs
    yield from _conv(f"{timm}.inverted_conv", f"{mit}.inverted_conv", (middle, inputs, 1, 1), norm)
    yield from _conv(f"{timm}.depth_conv", f"{mit}.depth_conv", (middle, 1, 3, 3), norm)
    yield from _conv(f"{timm}.point_conv", f"{mit}.point_conv", (outputs, middle, 1, 1))


def _attention(timm: str, mit: str, width: int, dim: int) -> Iterator[Row]:
    for name, shape in (
        ("qkv.conv.weight", (3 * width, width, 1, 1)),
        ("aggreg.0.0.weight", (3 * width, 1, 5, 5)),
        ("aggreg.0.1.weight", (3 * width, dim, 1, 1)),
    ):
        yield f"{timm}.{name}", f"{mit}.{name}", shape
    yield from _conv(f"{timm}.proj", f"{mit}.proj", (width, 2 * width, 1, 1))


def published(name: str, classes: int = 1000) -> list[Row]:
    """All tensors of one model."""
    (stem, *widths), (stem_depth, *depths), dim, (features, hidden) = SIZES[name]
    rows = [*_conv("stem.in_conv", "backbone.input_stem.op_list.0", (stem, 3, 3, 3))]
    for i in range(stem_depth):
        timm, mit = f"stem.res{i}.main", f"backbone.input_stem.op_list.{i + 1}.main"
        rows += _conv(f"{timm}.depth_conv", f"{mit}.depth_conv", (stem, 1, 3, 3))
        rows += _conv(f"{timm}.point_conv", f"{mit}.point_conv", (stem, stem, 1, 1))
    inputs = stem
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        attention = stage >= 2
        for block in range(depth + 1 if attention else depth):
            timm, mit = f"stages.{stage}.blocks.{block}", f"backbone.stages.{stage}.op_list.{block}"
            if attention and block:
                rows += _attention(f"{timm}.context_module.main", f"{mit}.context_module.main", width, dim)
                rows += _mbconv(f"{timm}.local_module.main", f"{mit}.local_module.main", width, width, norm=False)
            else:
                rows += _mbconv(f"{timm}.main", f"{mit}.main", inputs, width, norm=not attention)
            inputs = width
    rows += _conv("head.in_conv", "head.op_list.0", (features, inputs, 1, 1))
    return [
        *rows,
        ("head.classifier.0.weight", "head.op_list.2.linear.weight", (hidden, features)),
        ("head.classifier.1.weight", "head.op_list.2.norm.weight", (hidden,)),
        ("head.classifier.1.bias", "head.op_list.2.norm.bias", (hidden,)),
        ("head.classifier.4.weight", "head.op_list.3.linear.weight", (classes, hidden)),
        ("head.classifier.4.bias", "head.op_list.3.linear.bias", (classes,)),
    ]
