# SPDX-License-Identifier: Apache-2.0
"""The passes: ``Graph -> Graph``, in this order, each followed by the verifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hwgen.ir import Graph
from hwgen.passes.align import align_groups
from hwgen.passes.fuse import fuse_residuals, fuse_tables
from hwgen.passes.image import fold_space_to_depth, normalize_image
from hwgen.passes.verify import verify

Pass = Callable[[Graph], Graph]

PASSES: tuple[Pass, ...] = (fuse_tables, fuse_residuals, align_groups, fold_space_to_depth)


def run(graph: Graph, mean: Sequence[float] | None = None, std: Sequence[float] | None = None) -> Graph:
    """The kernel graph. With ``mean`` and ``std`` (per channel, of images in [0, 1]) the input takes uint8 images.

    Raises UserError where mean and std do not fit the model or groups fit no engine, InternalError where a pass breaks
    the graph.
    """
    verify(graph)
    for rewrite in PASSES:
        graph = rewrite(graph)
        verify(graph)
    if mean is not None or std is not None:
        graph = normalize_image(graph, mean, std)
        verify(graph)
    return graph
