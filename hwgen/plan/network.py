# SPDX-License-Identifier: Apache-2.0
"""Cycles of the HLS machine, a network of tasks: *estimated* from initiation intervals of one and trip counts.

What one instruction takes follows the loops under templates/hls/include (:mod:`hwgen.plan.cost` names them); queues and
waits are played as those of the SystemVerilog are (:func:`hwgen.plan.timing.play`). No synthesis has shown that Vitis
reaches an interval of one, nor how deep its pipelines are: ``cost.DRAIN`` cycles a loop are assumed.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hwgen.plan import cost, timing
from hwgen.plan.program import LANES, Config, Flag, Opcode, Program
from hwgen.plan.timing import Cycles, Timeline

LEAD = 60
"""From the wait to the first cycle of the engine: 8 words of the instruction to each of two or three tasks, sizes that
are multiplied a bit a cycle, and the first answer of a memory."""


def cycles(record: Any, config: Config) -> Cycles:
    """What one instruction takes. Raises InternalError for an unknown opcode."""
    return Cycles(LEAD, timing.by_opcode(_CYCLES, record, config), cost.DRAIN)


def simulate(program: Program, frames: int) -> Timeline:
    """Play ``frames`` frames. Raises InternalError if the waits can never be met."""
    return timing.simulate(program, frames, cycles)


def _table(i: SimpleNamespace) -> int:
    """``load_table``."""
    return cost.table_cycles(timing.table_rows(i))


def _conv(i: SimpleNamespace, config: Config) -> int:
    """``conv_compute`` fills one of two blocks of accumulators while ``conv_finish`` empties the other."""
    tile, pixels = config.blocks >> i.mode, 1 << i.mode
    steps = i.kernel_h * i.kernel_w * i.ci_groups * (1 if i.flags & Flag.PACKED else 2)
    chunks = -(-pixels // (cost.ADD_WORDS if i.flags & Flag.ADD else min(pixels, config.epilogue_words)))
    whole, rest = divmod(i.y_rows * -(-i.y_cols // pixels), config.acc_groups)
    runs = [config.acc_groups] * whole + [rest] * (rest > 0)
    computed, finished = 0, _table(i)
    free = [0, 0]  # when a block can be filled again
    turn = 0
    for _ in range(0, i.y_groups, tile):
        computed += tile + cost.DRAIN
        finished += tile + cost.DRAIN
        for n in runs:
            run = 2 * tile + steps * max(n, 2 * tile, cost.ACC_DISTANCE) + 2 * cost.DRAIN
            computed = max(computed, free[turn]) + run
            finished = max(finished, computed) + n * tile * chunks + cost.DRAIN
            free[turn] = finished
            turn ^= 1
    return finished


def _depthwise(i: SimpleNamespace, config: Config) -> int:
    kernel, stride = (i.kernel_h, i.kernel_w), (i.stride_h, i.stride_w)
    return cost.depthwise_cycles(i.y_groups, i.y_rows, i.y_cols, kernel, stride, 0) - cost.DECODE + _table(i)


def _eltwise(i: SimpleNamespace, config: Config) -> int:
    return cost.eltwise_cycles(i.y_groups, i.y_rows, i.y_cols, 0) - cost.DRAIN - cost.DECODE + _table(i)


def _attention(i: SimpleNamespace, config: Config) -> int:
    """Heads of a model have one size, which is not in the instruction: that of the machine."""
    dims = config.head_dim // LANES
    pixels, quantized = i.y_rows * i.y_cols, bool(i.flags & Flag.QUANTIZED)
    return cost.attention_cycles(i.x_groups // (3 * dims), dims, pixels, quantized) - cost.DECODE


def _input(i: SimpleNamespace, config: Config) -> int:
    """The burst of the next row is read while this one is written; the first one waits for the memory."""
    tables = i.channels if i.flags & Flag.IMAGE and not i.flags & Flag.RETAIN else 0
    words = -(-i.x_width * i.channels // 16)
    rows = cost.input_cycles(i.y_rows, i.block, words, i.y_cols, tables) - cost.DECODE
    return rows - int(i.y_rows - 1) * cost.DDR_LATENCY


def _pool(i: SimpleNamespace, config: Config) -> int:
    return cost.pool_cycles(i.y_groups, i.x_height * i.x_cols) - cost.DECODE


def _linear(i: SimpleNamespace, config: Config) -> int:
    return cost.linear_cycles(i.y_groups, i.ci_groups, 0) - cost.DECODE + _table(i)


def _layer_norm(i: SimpleNamespace, config: Config) -> int:
    return cost.layer_norm_cycles(i.y_groups, 0) - cost.DECODE + _table(i)


def _store(i: SimpleNamespace, config: Config) -> int:
    return int(i.x_groups * i.x_height * i.x_cols + cost.DDR_LATENCY)


def _load(i: SimpleNamespace, config: Config) -> int:
    return 2 * int(i.w_rows)


_CYCLES = {
    Opcode.CONV: _conv,
    Opcode.DEPTHWISE: _depthwise,
    Opcode.ELTWISE: _eltwise,
    Opcode.ATTENTION: _attention,
    Opcode.LOAD_INPUT: _input,
    Opcode.POOL: _pool,
    Opcode.LINEAR: _linear,
    Opcode.LAYER_NORM: _layer_norm,
    Opcode.STORE: _store,
    Opcode.LOAD_WEIGHTS: _load,
}
