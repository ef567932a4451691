# SPDX-License-Identifier: Apache-2.0
"""A frame of random input and what the integer reference makes of it: a build can be simulated without hwgen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from hwgen import ir
from hwgen.backends.reference import direct
from hwgen.errors import InternalError
from hwgen.plan.layout import channel_groups, pack_input
from hwgen.plan.program import LANES, Program

SEED = 0

Codes = npt.NDArray[np.int8]


def write_vectors(directory: Path, graph: ir.Graph, program: Program) -> None:
    """Write input.bin, output.bin, trace.bin and tensors.txt: a line ``buffer word channels pixels`` for each tensor.

    The expectation comes from the graph, not from the Program. ``directory`` must not exist.
    """
    directory.mkdir()
    kind = np.int8 if graph.input.table is None else np.uint8
    limits = np.iinfo(kind)
    image = np.random.default_rng(SEED).integers(limits.min, limits.max, graph.input.image, kind, endpoint=True)
    tensors = direct.run(graph, image)
    lines, words, offset = [], [], 0
    for op in graph.ops:
        codes = tensors[op.y]
        lines.append(_line("trace", offset, codes.shape))
        words.append(_words(codes))
        offset += len(words[-1])
    if offset != int(program.header["trace_words"]):
        raise InternalError(f"the tensors have {offset} words, the Program's trace {program.header['trace_words']}")
    lines.append(_line("output", 0, tensors[graph.output].shape))
    (directory / "input.bin").write_bytes(pack_input(np.ascontiguousarray(image.transpose(1, 2, 0))))
    (directory / "trace.bin").write_bytes(b"".join(w.tobytes() for w in words))
    (directory / "output.bin").write_bytes(_words(tensors[graph.output]).tobytes())
    (directory / "tensors.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _line(buffer: str, offset: int, shape: tuple[int, ...]) -> str:
    return f"{buffer} {offset} {shape[0]} {shape[1] * shape[2]}"


def _words(codes: Codes) -> Codes:
    """Codes (C, H, W) as words of 16 channels in the order [group][row][column]: int8 (words, 16)."""
    channels, height, width = codes.shape
    groups = channel_groups(channels)
    padded = np.zeros((groups * LANES, height, width), np.int8)
    padded[:channels] = codes
    return np.ascontiguousarray(padded.reshape(groups, LANES, height, width).transpose(0, 2, 3, 1)).reshape(-1, LANES)
