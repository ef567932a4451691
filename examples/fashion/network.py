# SPDX-License-Identifier: Apache-2.0
"""A small EfficientViT-style network for 28 x 28 grey images, in PyTorch. About 78,000 parameters.

The structure is that of EfficientViT-B: convolution stem, depthwise-separable and inverted-residual blocks, ReLU linear
attention over two scales, and a head with LayerNorm. Only the sizes are small: feature maps of 14 x 14 and 7 x 7.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

HEAD_DIM = 16


def chain(**layers: nn.Module) -> nn.Sequential:
    """nn.Sequential with names, which become the names of the ONNX nodes."""
    return nn.Sequential(OrderedDict(layers))


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = False) -> nn.Sequential:
    """Convolution and batch norm, which the export folds into one Conv; then HardSwish where `act` is set."""
    layers = chain(
        conv=nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        norm=nn.BatchNorm2d(outputs),
    )
    if act:
        layers.add_module("act", nn.Hardswish())
    return layers


def separable(channels: int) -> nn.Sequential:
    """Depthwise 3 x 3, then pointwise: the block behind the stem."""
    return chain(depth=conv(channels, channels, 3, groups=channels, act=True), point=conv(channels, channels, 1))


def inverted(inputs: int, outputs: int, stride: int = 1, expand: int = 4) -> nn.Sequential:
    """MBConv: pointwise to `expand` times the channels, depthwise 3 x 3, pointwise to `outputs`."""
    middle = inputs * expand
    return chain(
        expand=conv(inputs, middle, 1, act=True),
        depth=conv(middle, middle, 3, stride, groups=middle, act=True),
        project=conv(middle, outputs, 1),
    )


class Residual(nn.Module):  # type: ignore[misc, unused-ignore]
    """x + main(x)."""

    def __init__(self, main: nn.Module) -> None:
        super().__init__()
        self.main = main

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x) + x


class LinearAttention(nn.Module):  # type: ignore[misc, unused-ignore]
    """Multi-scale ReLU linear attention: (N, C, H, W) to the same shape, C a multiple of HEAD_DIM.

    Each head has the channels q, k, v, in that order. The second scale is the first one's q, k, v behind a 5 x 5
    depthwise convolution and a pointwise one within each q, k or v.
    """

    def __init__(self, channels: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.epsilon = epsilon
        wide, groups = 3 * channels, 3 * channels // HEAD_DIM
        self.qkv = nn.Conv2d(channels, wide, 1, bias=False)
        self.scale = chain(
            depth=nn.Conv2d(wide, wide, 5, padding=2, groups=wide, bias=False),
            point=nn.Conv2d(wide, wide, 1, groups=groups, bias=False),
        )
        self.project = conv(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        qkv = self.qkv(x)
        qkv = torch.cat([qkv, self.scale(qkv)], dim=1)
        tokens = qkv.reshape(n, -1, 3 * HEAD_DIM, h * w).transpose(-1, -2)
        q = functional.relu(tokens[..., :HEAD_DIM])
        k = functional.relu(tokens[..., HEAD_DIM : 2 * HEAD_DIM])
        # A column of ones next to v makes the last column of q (k^T v) the normalizer.
        v = functional.pad(tokens[..., 2 * HEAD_DIM : 3 * HEAD_DIM], (0, 1), value=1.0)
        out = q @ (k.transpose(-1, -2) @ v)
        out = out[..., :-1] / (out[..., -1:] + self.epsilon)
        mixed: Tensor = self.project(out.transpose(-1, -2).reshape(n, -1, h, w))
        return mixed


def attention_block(channels: int) -> nn.Sequential:
    """What EfficientViT repeats: attention for context, then MBConv for locality, both residual."""
    return chain(context=Residual(LinearAttention(channels)), local=Residual(inverted(channels, channels)))


def build(classes: int = 10) -> nn.Sequential:
    """The network: (N, 1, 28, 28) float, normalized, to (N, classes) logits."""
    return chain(
        stem=chain(conv=conv(1, 16, 3, stride=2, act=True), block=Residual(separable(16))),
        stage1=chain(block=Residual(inverted(16, 16)), attention=attention_block(16)),
        stage2=chain(down=inverted(16, 48, stride=2), attention=attention_block(48)),
        head=chain(
            conv=conv(48, 128, 1, act=True),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            hidden=nn.Linear(128, 128, bias=False),
            norm=nn.LayerNorm(128),
            act=nn.Hardswish(),
            classifier=nn.Linear(128, classes),
        ),
    )
