# SPDX-License-Identifier: Apache-2.0
"""Choose which parts of a network get fewer bits: guided by what each one alone does to the output.

All parts start from one base setting. The order is that of noise for each bit saved; a step is kept when the accuracy,
measured with all the steps before it, holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hwgen.quantize.precision import Part

MISSES = 3
"""Single parts that may break the target before the search ends: with more, luck on the images would decide."""


@dataclass(frozen=True)
class Impact:
    """What fewer bits at one part alone do."""

    part: Part
    noise: float
    """Noise of the output, relative to its energy, above that of the base setting; at least 0."""
    saved: int
    """Bits, of the weights or of a frame's activations."""


def by_sensitivity(impacts: Sequence[Impact]) -> list[Part]:
    """Least noise for each bit saved first; among equals the largest first."""
    return [i.part for i in sorted(impacts, key=lambda i: (i.noise / i.saved, -i.saved))]


def lower(order: Sequence[Part], holds: Callable[[list[Part]], bool], progress: Callable[[int], None]) -> list[Part]:
    """The parts of ``order`` that can be lowered together while ``holds`` is true.

    First all at once, then by halves of what is left, down to single parts; a single part that does not hold is left
    out, and after MISSES of them the search ends.
    """
    chosen: list[Part] = []
    pending, step, misses = list(order), len(order), 0
    while pending and misses < MISSES:
        progress(len(order) - len(pending))
        step = min(step, len(pending))
        if holds([*chosen, *pending[:step]]):
            chosen, pending = [*chosen, *pending[:step]], pending[step:]
        elif step > 1:
            step //= 2
        else:
            pending, misses = pending[1:], misses + 1
    return chosen


def raised(order: Sequence[Part], holds: Callable[[list[Part]], bool], progress: Callable[[int], None]) -> list[Part]:
    """The fewest leading parts of ``order`` with which ``holds`` is true, by bisection.

    All of them must hold. Where one more part can make it worse, fewer might do; what is returned was measured.
    """
    fails, works = 0, len(order)
    while works - fails > 1:
        progress(len(order) - (works - fails))
        middle = (fails + works) // 2
        if holds(list(order[:middle])):
            works = middle
        else:
            fails = middle
    return list(order[:works])


def for_size(order: Sequence[Part], saved: Mapping[Part, int], needed: int) -> list[Part]:
    """The leading parts of ``order`` that save ``needed`` bits, without those that turn out not to be needed."""
    chosen: list[Part] = []
    total = 0
    for part in order:
        if total >= needed:
            break
        chosen.append(part)
        total += saved[part]
    for part in reversed(chosen[:]):
        if total - saved[part] >= needed:
            chosen.remove(part)
            total -= saved[part]
    return chosen
