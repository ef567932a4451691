# SPDX-License-Identifier: Apache-2.0
"""The cycle model of the HLS network: instructions by hand, and whole Programs beside the SystemVerilog's model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwgen.errors import InternalError
from hwgen.plan import cost, network, plan, timing
from hwgen.plan.network import LEAD
from hwgen.plan.program import Config, Flag, Opcode, instruction
from plan_boards import LARGE
from random_graphs import efficientvit

CONFIG = Config(blocks=16, acc_groups=32)


def main(opcode: Opcode, config: Config = CONFIG, **fields: int) -> int:
    """Cycles of the engine."""
    found = network.cycles(instruction(opcode, slots=1, **fields), config)
    assert (found.lead, found.tail) == (LEAD, cost.DRAIN)
    return found.main


def test_conv_by_hand() -> None:
    # 14x14x64 -> 64, 1x1, T = 4 groups, TP = 4: runs of 32 and 17 pixel groups, 4 steps each
    fields = {"mode": 2, "kernel_h": 1, "kernel_w": 1, "ci_groups": 4, "y_groups": 4, "y_rows": 1, "y_cols": 196}
    first = 4 + cost.DRAIN + 8 + 4 * 32 + 2 * cost.DRAIN
    second = first + 8 + 4 * 17 + 2 * cost.DRAIN
    finished = max(first + 32 * 4 + cost.DRAIN, second) + 17 * 4 + cost.DRAIN
    assert main(Opcode.CONV, flags=Flag.PACKED, **fields) == finished
    # one word a cycle with a residual: the epilogue is what takes the time, and the second run waits for nothing
    slow = first + 32 * 16 + cost.DRAIN + 17 * 16 + cost.DRAIN
    assert main(Opcode.CONV, flags=Flag.PACKED | Flag.ADD, **fields) == slow
    # unpacked weights are visited twice
    assert main(Opcode.CONV, **fields) > finished


def test_a_third_run_waits_for_a_block_of_accumulators() -> None:
    fields = {"mode": 4, "kernel_h": 1, "kernel_w": 1, "ci_groups": 1, "y_groups": 1, "y_rows": 1}
    runs = [main(Opcode.CONV, flags=Flag.PACKED, y_cols=512 * n, **fields) for n in (2, 3, 4)]
    each = 32 * 4 + cost.DRAIN  # of the epilogue; the array takes 32 + 2 + 48
    assert [b - a for a, b in zip(runs, runs[1:], strict=False)] == [each, each]


def test_others_by_hand() -> None:
    table = 64 + cost.DRAIN
    assert main(Opcode.ELTWISE, y_groups=3, y_rows=2, y_cols=7) == 42
    assert main(Opcode.ELTWISE, y_groups=3, y_rows=2, y_cols=7, flags=Flag.TABLE) == 42 + table
    assert main(Opcode.ELTWISE, y_groups=3, y_rows=2, y_cols=7, flags=Flag.TABLE | Flag.RETAIN) == 42
    window = {"kernel_h": 5, "kernel_w": 5, "stride_h": 1, "stride_w": 1, "y_groups": 3, "y_rows": 7, "y_cols": 7}
    assert main(Opcode.DEPTHWISE, **window) == 3 * (25 + 5 + 7 * 3 * 5 + 3 * cost.DRAIN)
    assert main(Opcode.LOAD_WEIGHTS, w_rows=100) == 200
    assert main(Opcode.STORE, x_groups=2, x_height=1, x_cols=1) == 2 + cost.DDR_LATENCY
    rows = {"y_rows": 10, "y_cols": 112, "x_width": 224, "channels": 3, "block": 2}
    assert main(Opcode.LOAD_INPUT, **rows) == 10 * (84 + 112 + 2 * cost.DRAIN) + cost.DDR_LATENCY
    heads = {"x_groups": 9, "y_rows": 7, "y_cols": 7}
    assert main(Opcode.ATTENTION, **heads) == cost.attention_cycles(3, 1, 49, False) - cost.DECODE
    assert main(Opcode.ATTENTION, replace(CONFIG, head_dim=32), x_groups=18, y_rows=7, y_cols=7) == (
        cost.attention_cycles(3, 2, 49, False) - cost.DECODE
    )


def test_an_unknown_opcode_is_a_bug() -> None:
    record = np.array(instruction(Opcode.CONV, slots=1))
    record["opcode"] = 77
    with pytest.raises(InternalError, match="opcode 77"):
        network.cycles(record[()], CONFIG)


def test_frames_overlap() -> None:
    """A frame takes less than one alone, and no less than the engine that is busy longest."""
    program = plan(efficientvit(), LARGE).program
    alone, played = network.simulate(program, 1).done[0], network.simulate(program, 16)
    interval = played.interval()
    assert 0.9 * max(played.busy) / 16 <= interval < alone
    assert timing.simulate(program, 16).interval() < interval
