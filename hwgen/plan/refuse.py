# SPDX-License-Identifier: Apache-2.0
"""Limits of the machine that no search can lift; all of a model's problems at once."""

from __future__ import annotations

from collections.abc import Sequence

from hwgen import ir
from hwgen.errors import FitError, Problem
from hwgen.kernels.mlp import NORM_CHANNELS_MAX
from hwgen.plan.kernel import Kernel
from hwgen.plan.program import LANES, Config

FIELD_MAX = 0xFFFF
DEPTHWISE_WINDOW = 5
IMAGE_ROW_BYTES = 16384
VECTOR_MAX = 4096
HEAD_DIMS = (16, 32)


def refuse(kernels: Sequence[Kernel]) -> None:
    """Raises FitError with one Problem for each limit that a kernel exceeds."""
    problems = [problem for kernel in kernels for problem in _problems(kernel)]
    if problems:
        raise FitError("The model exceeds what the machine can do:", problems)


def _problems(k: Kernel) -> list[Problem]:
    found: list[Problem] = []

    def say(reason: str, hint: str) -> None:
        found.append(Problem(k.op.name, k.kind, reason, hint))

    for what, size in zip(("channels", "rows", "columns"), k.shape, strict=True):
        if size > FIELD_MAX:
            say(f"its output has {size:,} {what}, the limit of a Program field is {FIELD_MAX:,}", "Use a smaller input")
    if isinstance(k.op, ir.Conv):
        limit = DEPTHWISE_WINDOW if k.kind == "depthwise" else Config.kernel_max
        if max(k.window) > limit:
            say(
                f"window {k.window[0]}x{k.window[1]} exceeds the limit of {limit}x{limit}",
                "Split the window into smaller convolutions",
            )
        if k.kind == "depthwise" and max(k.stride) > 2:
            say(f"a depthwise stride of {max(k.stride)} has no mapping", "Use stride 1 or 2")
        if k.kind == "conv" and max(k.stride) > 4:
            say(f"stride {max(k.stride)} exceeds the limit of 4", "Use several convolutions with smaller strides")
        if any(pad >= side for pad, side in zip(k.pads, (*k.window, *k.window), strict=True)):
            say(f"padding {k.pads} is not smaller than the window {k.window}", "Use less padding")
    if k.residual is not None and k.residual == k.xs[0]:
        say("its residual is its own input, which needs two read ports on one pad", "Put an identity kernel in between")
    if k.kind in ("linear", "layer_norm"):
        limit = NORM_CHANNELS_MAX if k.kind == "layer_norm" else VECTOR_MAX
        size = max(k.x_shape[0], k.shape[0])
        if size > limit:
            say(f"a vector of {size:,} channels exceeds the limit of {limit:,}", "Use fewer features in the head")
        if k.x_shape[1:] != (1, 1):
            say(f"its input has {k.x_shape[1]}x{k.x_shape[2]} pixels, not one", "Pool before the head")
    if isinstance(k.op, ir.Attention):
        if k.op.head_dim not in HEAD_DIMS:
            say(f"head dimension {k.op.head_dim} is not one of {HEAD_DIMS}", "Use heads of 16 or 32 channels")
        elif k.x_shape[0] % (3 * k.op.head_dim) or any(
            offset % LANES for offset in (k.op.q_offset, k.op.k_offset, k.op.v_offset)
        ):
            say(f"{k.x_shape[0]} channels are not whole heads of {k.op.head_dim}", "Use 3 x head_dim channels a head")
        for what, size, limit in _attention_sums(k, k.op):
            if size >= limit:
                say(
                    f"its {what} may reach {size:.1e} at {k.height}x{k.width} pixels, the engine holds {limit:.1e}",
                    "Use a smaller input image",
                )
    if isinstance(k.op, ir.Input):
        channels, height, width = k.op.image
        row = channels * width
        if row > IMAGE_ROW_BYTES:
            say(f"an image row of {row:,} bytes exceeds the limit of {IMAGE_ROW_BYTES:,}", "Use a smaller image")
        if channels * k.op.block**2 > LANES:
            say(f"{channels} image channels exceed the limit of {LANES // k.op.block**2}", "Use fewer channels")
        if height % k.op.block or width % k.op.block:
            say(f"{height}x{width} pixels cannot be cut into blocks of {k.op.block}", "Use an even image size")
    return found


def _attention_sums(k: Kernel, op: ir.Attention) -> list[tuple[str, int, int]]:
    """Largest absolute value of each sum of an attention, and what the engine's registers hold."""
    pixels = k.height * k.width
    if op.quantized is not None:
        return [("sum K^T V", 255 * 255 * pixels, 1 << 31)]
    relu, value = 127 - k.x_zero, max(127 - k.x_zero, 128 + k.x_zero)
    kv = pixels * relu * value
    numerator = op.head_dim * relu * kv << op.divide.shift
    denominator = op.head_dim * relu * relu * pixels * op.divide.multiplier + op.divide.epsilon
    return [("sum K^T V", kv, 1 << 27), ("scaled numerator", numerator, 1 << 62), ("denominator", denominator, 1 << 62)]
