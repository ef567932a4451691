# SPDX-License-Identifier: Apache-2.0
"""Boards and comparisons for the planner's tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwgen import ir
from hwgen.backends.reference import direct
from hwgen.backends.reference.program import execute
from hwgen.plan import Plan, layout
from hwgen.plan.program import WORD_BYTES


@dataclass(frozen=True)
class TestBoard:
    """The fields of a board that the planner reads."""

    __test__ = False

    name: str
    clock_mhz: float
    resources: dict[str, int]
    limits: dict[str, int]
    ddr_bytes_per_second: float


def board(name: str, dsp: int, bram36: int, lut: int) -> TestBoard:
    """Planning limits as counts; the part has 11 % more."""
    limits = {"dsp": dsp, "bram36": bram36, "lut": lut, "ff": 2 * lut}
    return TestBoard(name, 200.0, {k: v * 10 // 9 for k, v in limits.items()}, limits, 12.8e9)


LARGE = board("large", 2268, 820, 191_856)
SMALL = board("small", 740, 200, 190_000)
"""Room for four blocks and the least memory."""
PYNQ_Z2 = board("pynq-z2", 198, 126, 37_240)


def differences(graph: ir.Graph, planned: Plan, images: list[npt.NDArray[np.int8]]) -> list[str]:
    """Runs the Program on some frames and compares every traced tensor, and the output, with the direct reference."""
    program = planned.program
    data = b"".join(layout.pack_input(np.ascontiguousarray(image.transpose(1, 2, 0))) for image in images)
    result = execute(program, data, len(images))
    trace = int(program.header["trace_words"]) * WORD_BYTES
    output = int(program.header["output_words"]) * WORD_BYTES
    assert len(result.trace) == trace * len(images)
    wrong = []
    for frame, image in enumerate(images):
        expected = direct.run(graph, image)
        for k in planned.kernels:
            start = frame * trace + k.trace * WORD_BYTES
            size = -(-k.shape[0] // 16) * k.shape[1] * k.shape[2] * WORD_BYTES
            got = layout.unpack_output(result.trace[start : start + size], k.shape)
            if not np.array_equal(got, expected[k.output]):
                wrong.append(f"frame {frame}, kernel {k.index} {k.name} {k.shape}")
        stored = layout.unpack_output(
            result.output[frame * output : (frame + 1) * output], graph.tensors[graph.output].shape
        )
        if not np.array_equal(stored, expected[graph.output]):
            wrong.append(f"frame {frame}, output")
    return wrong
