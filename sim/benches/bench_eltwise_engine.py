# SPDX-License-Identifier: Apache-2.0
"""eltwise_engine.sv against the Program reference: random instructions, each for both slots."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
from engine import CONFIG, Command, Engine
from stream import SEED, TRANSACTIONS

from hwgen.plan.program import Flag, Opcode
from random_programs import case


def cycles(command: Command) -> int:
    """From taken to done, without a table to load."""
    i = command.record
    return 12 + int(i["y_groups"]) * int(i["y_rows"]) * -(-int(i["y_cols"]) // CONFIG.residual_words) + 19


@cocotb.test()
async def equals_reference(dut: Any) -> None:
    rng = np.random.default_rng(SEED)
    bench = Engine(dut, rng)
    await bench.start()
    for _ in range(TRANSACTIONS):
        bench.stall = float(rng.choice([0.0, 0.3, 0.8]))
        bench.idle = float(rng.choice([0.0, 0.5, 0.95]))
        commands = await bench.run_case(
            case(Opcode.ELTWISE, int(rng.integers(1 << 30)), bench.config), [Opcode.ELTWISE]
        )
        for command in commands:
            if command.retain or not int(command.record["flags"]) & Flag.TABLE:
                assert command.cycles == cycles(command), (
                    f"{bench.describe(command)}: {cycles(command)} cycles expected"
                )
