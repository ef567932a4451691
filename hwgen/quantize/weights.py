# SPDX-License-Identifier: Apache-2.0
"""Weights: int8 tensors, symmetric, one scale for each output channel, in 8, 6 or 4 bits' worth of codes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Bits = int | tuple[int, ...]
"""Bits of a layer's weights: of all, or of each output channel (row)."""

BIAS_LIMIT = 1 << 24
"""A bias in units of the accumulator stays below this; the machine's accumulator has 2^26 for bias and products."""
DAMPING = 0.01
"""Added to the diagonal of a second moment, as a share of its mean, so that it can be inverted."""
FRACTIONS = np.linspace(1.0, 0.3, 71)


@dataclass(frozen=True, eq=False)
class QuantizedWeight:
    """``codes`` (int8, output channel first) times ``scale`` (float32, one for each output channel)."""

    codes: npt.NDArray[np.int8]
    scale: npt.NDArray[np.float32]

    def real(self) -> Float64:
        """(outputs, ...) as the integer machine multiplies."""
        scale = self.scale.astype(np.float64).reshape(-1, *[1] * (self.codes.ndim - 1))
        result: Float64 = self.codes * scale
        return result


def limits(bits: Bits, outputs: int) -> Float64:
    """(outputs,): the largest code of each output channel. The least is its negative, so that -128 never occurs and two
    weights share a DSP."""
    each = np.broadcast_to(np.asarray(bits, np.int64), (outputs,))
    return ((1 << (each - 1)) - 1).astype(np.float64)


def absmax_scale(weight: Float64, bits: Bits) -> Float64:
    """The scale at which each output channel's largest weight is the largest code.

    Krishnamoorthi, Quantizing deep convolutional networks for efficient inference: A whitepaper, arXiv 1806.08342.
    """
    flat = np.abs(weight.reshape(len(weight), -1))
    scale: Float64 = flat.max(axis=1) / limits(bits, len(weight))
    return scale


def mse_scale(weight: Float64, bits: Bits, importance: Float64 | None = None) -> Float64:
    """The scale with the least squared error in each output channel, searched below the largest weight.

    With ``importance`` (broadcast to ``weight``) errors count by the mean square of the input that they are multiplied
    with. Choukroun et al., ICCV Workshops 2019, for weights.
    """
    flat = weight.reshape(len(weight), -1)
    factor = np.ones_like(flat) if importance is None else np.broadcast_to(importance, weight.shape).reshape(flat.shape)
    limit, largest = limits(bits, len(weight))[:, None], absmax_scale(weight, bits)
    best: Float64 = largest.copy()
    least = np.full(len(flat), np.inf)
    for fraction in FRACTIONS:
        scale = np.maximum(largest * fraction, np.finfo(np.float32).tiny)[:, None]
        codes = np.clip(np.rint(flat / scale), -limit, limit)
        error = (factor * (flat - codes * scale) ** 2).sum(axis=1)
        better = (error < least) & (largest > 0)
        best[better], least[better] = scale[better, 0], error[better]
    return best


def usable_scale(scale: Float64, bias: Float64 | None, input_scale: float) -> npt.NDArray[np.float32]:
    """Scales as float32: a channel of zeros takes the largest of the others; one is raised where it is so small that
    its bias would overflow the accumulator."""
    largest = float(scale.max())
    result = np.where(scale > 0, scale, largest if largest > 0 else 1.0)
    if bias is not None:
        result = np.maximum(result, np.abs(bias) / (input_scale * BIAS_LIMIT))
    usable: npt.NDArray[np.float32] = result.astype(np.float32)
    return usable


def round_weights(weight: Float64, scale: npt.NDArray[np.float32], bits: Bits) -> QuantizedWeight:
    """To nearest."""
    row = -1, *[1] * (weight.ndim - 1)
    limit = limits(bits, len(weight)).reshape(row)
    units = weight / scale.astype(np.float64).reshape(row)
    return QuantizedWeight(np.clip(np.rint(units), -limit, limit).astype(np.int8), scale)


def compensate(weight: Float64, scale: npt.NDArray[np.float32], bits: Bits, second: Float64) -> QuantizedWeight:
    """Round one input after the other and let the inputs that are still to come make up for each error.

    ``second``: (groups, inputs, inputs), the second moment of what the weights are multiplied with. What falls is the
    squared error of the layer's output. Inputs with the most energy are rounded first.

    Frantar et al., GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers, ICLR 2023; the
    rule is Hassibi and Stork's Optimal Brain Surgeon (1993).
    """
    groups, inputs = second.shape[:2]
    limit = limits(bits, len(weight)).reshape(groups, -1)
    left = weight.reshape(groups, -1, inputs).copy()
    step = scale.astype(np.float64).reshape(groups, -1)
    energy = np.einsum("gii->gi", second)
    damped = second + np.eye(inputs) * np.maximum(DAMPING * energy.mean(axis=1), 1e-12)[:, None, None]
    order = np.argsort(-energy, axis=1, kind="stable")
    rows = np.arange(groups)[:, None, None]
    permuted = damped[rows, order[:, :, None], order[:, None, :]]
    left = np.take_along_axis(left, order[:, None, :], axis=2)
    # Row i of the upper factor of the inverse holds how the error of input i spreads over the inputs after it
    spread = np.linalg.cholesky(np.linalg.inv(permuted)).transpose(0, 2, 1)
    codes = np.empty_like(left)
    for i in range(inputs):
        codes[:, :, i] = np.clip(np.rint(left[:, :, i] / step), -limit, limit)
        error = (left[:, :, i] - codes[:, :, i] * step) / spread[:, i, i, None]
        left[:, :, i + 1 :] -= error[:, :, None] * spread[:, None, i, i + 1 :]
    back = np.argsort(order, axis=1)
    codes = np.take_along_axis(codes, back[:, None, :], axis=2)
    return QuantizedWeight(codes.reshape(weight.shape).astype(np.int8), scale)


def corrected_bias(
    weight: Float64, quantized: QuantizedWeight, bias: Float64 | None, mean: Float64, quantized_mean: Float64
) -> Float64:
    """The bias (outputs,) at which the layer's mean output is the float layer's. Means are (groups, inputs).

    Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019; here with the means
    of calibration images, and of inputs that are quantized themselves.
    """
    groups, inputs = mean.shape
    exact = np.einsum("goi,gi->go", weight.reshape(groups, -1, inputs), mean)
    ours = np.einsum("goi,gi->go", quantized.real().reshape(groups, -1, inputs), quantized_mean)
    result: Float64 = (exact - ours).reshape(-1) + (0.0 if bias is None else bias)
    return result
