# SPDX-License-Identifier: Apache-2.0
"""EfficientViT-B.

Cai et al., EfficientViT: Multi-Scale Linear Attention for High-Resolution Dense Prediction, ICCV 2023.

Modules are named so that the state dict has timm's keys (``efficientvit_b0`` to ``efficientvit_b3``): what is trained
here loads there, too. Sizes are those of the authors' published models; ``tiny`` is hwgen's own, for images of 28 or 32
pixels a side.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from hwgen.errors import UserError

EPSILON = 1e-5
"""Added to the attention's normalizer, as timm does; MIT's code adds 1e-15."""


@dataclass(frozen=True)
class Stage:
    """One stage: a block that changes width and resolution, then blocks that keep both."""

    width: int
    """Channels of its output."""
    depth: int
    """MBConv in all; with attention: attention blocks behind the first MBConv."""
    attention: bool = False
    stride: int = 2
    expand: int = 4
    """Channels inside each MBConv, as a multiple of those of its input."""


@dataclass(frozen=True)
class Architecture:
    """What distinguishes one network from another; raises ValueError for sizes that make none."""

    stem: tuple[int, int]
    """Width of the stem, and depthwise-separable blocks in it; its convolution has stride 2."""
    stages: tuple[Stage, ...]
    head_dim: int
    """Channels of q, of k and of v in one head of the attention."""
    head_widths: tuple[int, int]
    """Channels of the last convolution and of the hidden fully connected layer."""
    image_size: int
    """Height and width in pixels of the images that it is meant for; others work."""

    def __post_init__(self) -> None:
        sizes = [*self.stem, *self.head_widths, self.head_dim, self.image_size]
        sizes += [n for s in self.stages for n in (s.width, s.depth, s.stride, s.expand)]
        if min(sizes) < 1 or not self.stages:
            raise ValueError(f"every size of an architecture is at least 1, and there is a stage: {self}")
        for stage in self.stages:
            if stage.attention and stage.width % self.head_dim:
                raise ValueError(f"{stage} has attention, but its width is no multiple of {self.head_dim}")


def _published(
    widths: tuple[int, ...], depths: tuple[int, ...], head_dim: int, head_widths: tuple[int, int]
) -> Architecture:
    """A B model: a stem, two stages of MBConv, two with attention; 224 pixels."""
    stages = tuple(Stage(w, d, i >= 2) for i, (w, d) in enumerate(zip(widths[1:], depths[1:], strict=True)))
    return Architecture((widths[0], depths[0]), stages, head_dim, head_widths, 224)


ARCHITECTURES = {
    "tiny": Architecture((16, 1), (Stage(24, 1, stride=1), Stage(48, 1, True), Stage(96, 1, True)), 16, (256, 256), 32),
    "b0": _published((8, 16, 32, 64, 128), (1, 2, 2, 2, 2), 16, (1024, 1280)),
    "b1": _published((16, 32, 64, 128, 256), (1, 2, 3, 3, 4), 16, (1536, 1600)),
    "b2": _published((24, 48, 96, 192, 384), (1, 3, 4, 4, 6), 32, (2304, 2560)),
    "b3": _published((32, 64, 128, 256, 512), (1, 4, 6, 6, 9), 32, (2304, 2560)),
}
"""By name. timm's names (``efficientvit_b0``) are understood as well."""


def architecture(name: str) -> Architecture:
    """The architecture of that name; raises UserError."""
    found = ARCHITECTURES.get(name.lower().removeprefix("efficientvit_"))
    if found is None:
        raise UserError(f"the zoo has no model {name}. It has: {', '.join(ARCHITECTURES)}.")
    return found


def build(name: str, classes: int = 1000, channels: int = 3) -> EfficientViT:
    """The network of that name with random weights: (N, channels, H, W) float to (N, classes) logits.

    Raises UserError for an unknown name, and where classes or channels is below 1.
    """
    sizes = architecture(name)
    for what, value in (("classes", classes), ("input channels", channels)):
        if value < 1:
            raise UserError(f"{value} {what} make no network. Give 1 or more.")
    return EfficientViT(sizes, classes, channels)


def chain(**layers: nn.Module) -> nn.Sequential:
    """nn.Sequential with names, which become state dict keys and names of ONNX nodes."""
    return nn.Sequential(OrderedDict(layers))


def conv(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, norm: bool = True, act: bool = False
) -> nn.Sequential:
    """Convolution, BatchNorm (without it: a bias), and HardSwish where ``act`` is set."""
    layers = chain(conv=nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=not norm))
    if norm:
        layers.add_module("norm", nn.BatchNorm2d(outputs))
    if act:
        layers.add_module("act", nn.Hardswish())
    return layers


def separable(channels: int) -> nn.Sequential:
    """DSConv: depthwise 3 x 3, then pointwise."""
    return chain(depth_conv=conv(channels, channels, 3, groups=channels, act=True), point_conv=conv(channels, channels))


def inverted(inputs: int, outputs: int, stride: int, expand: int, norm: bool = True) -> nn.Sequential:
    """MBConv: pointwise to ``expand`` times the channels, depthwise 3 x 3, pointwise to ``outputs``.

    Without ``norm`` the first two have a bias in the place of BatchNorm, as in the stages with attention.
    """
    middle = inputs * expand
    return chain(
        inverted_conv=conv(inputs, middle, norm=norm, act=True),
        depth_conv=conv(middle, middle, 3, stride, groups=middle, norm=norm, act=True),
        point_conv=conv(middle, outputs),
    )


class Residual(nn.Module):  # type: ignore[misc]
    """x + main(x)."""

    def __init__(self, main: nn.Module) -> None:
        super().__init__()
        self.main = main

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x) + x


class LinearAttention(nn.Module):  # type: ignore[misc]
    """Multi-scale ReLU linear attention (LiteMLA): (N, C, H, W) to the same shape, C a multiple of ``head_dim``.

    relu(q) (relu(k)^T v) / (relu(q) (relu(k)^T 1) + epsilon), for heads of two scales: q, k, v as they are, and behind
    a 5 x 5 depthwise convolution followed by a pointwise one within each q, k or v.
    """

    def __init__(self, channels: int, head_dim: int) -> None:
        super().__init__()
        wide = 3 * channels
        self.head_dim = head_dim
        self.epsilon = EPSILON
        self.qkv = chain(conv=nn.Conv2d(channels, wide, 1, bias=False))
        self.aggreg = nn.ModuleList(
            [
                nn.Sequential(
                    nn.Conv2d(wide, wide, 5, padding=2, groups=wide, bias=False),
                    nn.Conv2d(wide, wide, 1, groups=wide // head_dim, bias=False),
                )
            ]
        )
        self.proj = conv(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        n, _, height, width = x.shape
        qkv = self.qkv(x)
        scales = torch.cat([qkv, *(scale(qkv) for scale in self.aggreg)], dim=1)
        tokens = scales.reshape(n, -1, 3 * self.head_dim, height * width).transpose(-1, -2)
        q = functional.relu(tokens[..., : self.head_dim])
        k = functional.relu(tokens[..., self.head_dim : 2 * self.head_dim])
        # A column of ones beside v makes the last column of q (k^T v) the normalizer.
        v = functional.pad(tokens[..., 2 * self.head_dim : 3 * self.head_dim], (0, 1), value=1.0)
        sums = q @ (k.transpose(-1, -2) @ v)
        heads = sums[..., :-1] / (sums[..., -1:] + self.epsilon)
        mixed: Tensor = self.proj(heads.transpose(-1, -2).reshape(n, -1, height, width))
        return mixed


def _stage(inputs: int, stage: Stage, head_dim: int) -> nn.Sequential:
    width, expand = stage.width, stage.expand
    blocks = [chain(main=inverted(inputs, width, stage.stride, expand, norm=not stage.attention))]
    if stage.attention:
        blocks += [
            chain(
                context_module=Residual(LinearAttention(width, head_dim)),
                local_module=Residual(inverted(width, width, 1, expand, norm=False)),
            )
            for _ in range(stage.depth)
        ]
    else:
        blocks += [Residual(inverted(width, width, 1, expand)) for _ in range(stage.depth - 1)]
    return chain(blocks=nn.Sequential(*blocks))


class EfficientViT(nn.Module):  # type: ignore[misc]
    """The network: (N, channels, H, W) float, normalized, to (N, classes) logits."""

    def __init__(self, sizes: Architecture, classes: int = 1000, channels: int = 3) -> None:
        super().__init__()
        self.sizes, self.classes, self.channels = sizes, classes, channels
        width, depth = sizes.stem
        self.stem = chain(in_conv=conv(channels, width, 3, 2, act=True))
        for i in range(depth):
            self.stem.add_module(f"res{i}", Residual(separable(width)))
        self.stages = nn.Sequential()
        for stage in sizes.stages:
            self.stages.append(_stage(width, stage, sizes.head_dim))
            width = stage.width
        features, hidden = sizes.head_widths
        self.head = chain(
            in_conv=conv(width, features, act=True),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classifier=nn.Sequential(
                nn.Linear(features, hidden, bias=False),
                nn.LayerNorm(hidden),
                nn.Hardswish(),
                nn.Identity(),  # the others' dropout: it keeps the number of the next layer
                nn.Linear(hidden, classes),
            ),
        )

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.stages(self.stem(images)))
        return logits

    def parameter_count(self) -> int:
        """Trainable values."""
        return sum(p.numel() for p in self.parameters())
