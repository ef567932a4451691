# SPDX-License-Identifier: Apache-2.0
"""Give every grouped convolution a form that an engine has."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from hwgen.errors import FitError, Problem
from hwgen.ir import Conv, Graph

LANES = 16
DEPTHWISE_WINDOW_MAX = 5
WEIGHTS_MAX = 1 << 26
"""Far more than a frame can stream; merging must not exhaust the memory before the planner says so."""


def _block_diagonal(weight: npt.NDArray[np.int8], groups: int, merge: int) -> npt.NDArray[np.int8]:
    """Merge ``merge`` neighbouring groups into one, with zeros between them."""
    outputs, inputs, kh, kw = weight.shape
    per_group = outputs // groups
    wide = np.zeros((groups // merge, merge, per_group, merge, inputs, kh, kw), np.int8)
    parts = weight.reshape(groups // merge, merge, per_group, inputs, kh, kw)
    for m in range(merge):
        wide[:, m, :, m] = parts[:, m]
    return wide.reshape(outputs, merge * inputs, kh, kw)


def _merge(op: Conv) -> int:
    """How many groups to merge so that inputs and outputs of a group are multiples of 16; all of them if none fit."""
    outputs, inputs = len(op.weight) // op.groups, op.weight.shape[1]
    for merge in range(1, op.groups):
        if op.groups % merge == 0 and merge * inputs % LANES == 0 and merge * outputs % LANES == 0:
            return merge
    return op.groups


def align_groups(graph: Graph) -> Graph:
    """Depthwise convolutions go to their engine; other groups are merged (zeros added) to multiples of 16 channels.

    The results do not change: the added weights are zero. Raises FitError where they would be far too many.
    """
    return graph.with_ops(tuple(_align(op) if isinstance(op, Conv) else op for op in graph.ops))


def _align(op: Conv) -> Conv:
    small = max(op.weight.shape[2:]) <= DEPTHWISE_WINDOW_MAX and max(op.stride) <= 2
    if op.groups == 1 or (op.depthwise and small and op.add is None):
        return op
    merge = _merge(op)
    if merge == 1:
        return op
    size = op.weight.size * merge
    if size > WEIGHTS_MAX:
        reason = f"its {op.groups} groups fit no engine; merged into {op.groups // merge} they have {size} weights"
        hint = "Use a number of channels that is divisible by 16, or windows up to 5x5 in depthwise convolutions"
        raise FitError("a convolution does not fit any board:", [Problem(op.name, "Conv", reason, hint)])
    return replace(op, weight=_block_diagonal(op.weight, op.groups, merge), groups=op.groups // merge)
