# SPDX-License-Identifier: Apache-2.0
"""Pad allocation: tensors with live ranges go to (pad, word row) without overlap, operands of one kernel apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Life:
    """A tensor: word rows, first action that writes it, last that reads it, tensors it may not share a pad with."""

    name: str
    size: int
    start: int
    end: int
    apart: frozenset[str] = frozenset()


Place = tuple[int, int]
"""Pad and base word row."""

ORDERS: tuple[Callable[[Life], Any], ...] = (
    lambda t: (-t.size, t.start, t.name),
    lambda t: (t.start, -t.size, t.name),
    lambda t: (-t.size * (t.end - t.start + 1), t.start, t.name),
    lambda t: (-(t.end - t.start), -t.size, t.start, t.name),
)


def place(tensors: Sequence[Life], pads: int, depth: int) -> dict[str, Place] | None:
    """A legal placement, or None when no greedy order finds one."""
    for order in ORDERS:
        placed = _greedy(sorted(tensors, key=order), pads, depth)
        if placed is not None:
            return placed
    return None


def _greedy(tensors: Sequence[Life], pads: int, depth: int) -> dict[str, Place] | None:
    placed: dict[str, Place] = {}
    inside: list[list[tuple[int, Life]]] = [[] for _ in range(pads)]
    for tensor in tensors:
        forbidden = {placed[name][0] for name in tensor.apart if name in placed}
        forbidden |= {pad for pad in range(pads) for _, other in inside[pad] if tensor.name in other.apart}
        best: Place | None = None
        for pad in range(pads):
            if pad in forbidden:
                continue
            base = _lowest(tensor, inside[pad], depth)
            if base is not None and (best is None or base < best[1]):
                best = (pad, base)
        if best is None:
            return None
        placed[tensor.name] = best
        inside[best[0]].append((best[1], tensor))
    return placed


def _lowest(tensor: Life, others: Sequence[tuple[int, Life]], depth: int) -> int | None:
    """Lowest base where the tensor overlaps nobody that lives at the same time."""
    busy = sorted((base, base + o.size) for base, o in others if o.start <= tensor.end and tensor.start <= o.end)
    base = 0
    for low, high in busy:
        if base + tensor.size <= low:
            break
        base = max(base, high)
    return base if base + tensor.size <= depth else None
