# SPDX-License-Identifier: Apache-2.0
"""The conv kernels: convolution of every kind and the pointwise operators, on integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen import numerics as nx
from hwgen.ir import AddSpec, Conv, Requant, Table

Codes = npt.NDArray[np.int8]


def output_size(size: int, kernel: int, stride: int, before: int, after: int) -> int:
    """Output rows (or columns) of a convolution."""
    return (size + before + after - kernel) // stride + 1


def accumulator_bound(weight: npt.NDArray[np.int8], bias: npt.NDArray[np.int64], zero_point: int) -> int:
    """A proven bound on every partial sum of every output channel: |init| + 128 sum |w|."""
    flat = weight.reshape(weight.shape[0], -1).astype(np.int64)
    init = bias - zero_point * flat.sum(axis=1)
    return int((np.abs(init) + 128 * np.abs(flat).sum(axis=1)).max(initial=0))


def accumulate(x: Codes, op: Conv, zero_point: int) -> npt.NDArray[Any]:
    """``bias + sum w * (x - zero_point)``: x (C, H, W) -> (O, H', W').

    Computed as ``init + sum w * x`` with the zero point folded into ``init``, so that the proven bound covers every
    partial sum. They run in floating point BLAS, which is exact below it: float32 under 2^24, else float64.
    """
    dtype = np.float32 if accumulator_bound(op.weight, op.bias, zero_point) < 1 << 24 else np.float64
    (kh, kw), (sh, sw), (top, left, bottom, right) = op.weight.shape[2:], op.stride, op.pads
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right)), constant_values=zero_point).astype(dtype)
    height = (padded.shape[1] - kh) // sh + 1
    width = (padded.shape[2] - kw) // sw + 1
    out_channels, per_group = op.weight.shape[:2]
    weight = op.weight.astype(dtype)
    init = op.bias - zero_point * op.weight.reshape(out_channels, -1).sum(axis=1, dtype=np.int64)
    acc: npt.NDArray[Any] = np.broadcast_to(init.astype(dtype)[:, None, None], (out_channels, height, width)).copy()
    for ky in range(kh):
        for kx in range(kw):
            tap = padded[:, ky : ky + (height - 1) * sh + 1 : sh, kx : kx + (width - 1) * sw + 1 : sw]
            w = weight[:, :, ky, kx]
            if op.depthwise:
                acc += tap * w[:, 0, None, None]
            else:
                grouped = np.ascontiguousarray(tap).reshape(op.groups, per_group, height * width)
                product = w.reshape(op.groups, -1, per_group) @ grouped
                acc += product.reshape(out_channels, height, width)
    return acc


def epilogue(
    acc: npt.NDArray[Any],
    requant: Requant,
    table: Table | None,
    residual: Codes | None = None,
    add: AddSpec | None = None,
) -> Codes:
    """Requantize, table, residual add; ``acc`` is (O, ...)."""
    column = (-1,) + (1,) * (acc.ndim - 1)
    codes = nx.requantize(
        acc, requant.multiplier.reshape(column), requant.shift.reshape(column), requant.zero_point, requant.bits
    )
    if table is not None:
        codes = nx.lookup(table, codes)
    return pointwise(codes, None, residual, add)


def pointwise(x: Codes, table: Table | None, residual: Codes | None, add: AddSpec | None) -> Codes:
    """The Eltwise kernel: residual add, then table."""
    codes = x
    if add is not None and residual is not None:
        codes = nx.add_requantize(codes, residual, add.ma, add.mb, add.constant, add.shift, add.zero_point)
    return codes if table is None else nx.lookup(table, codes)
