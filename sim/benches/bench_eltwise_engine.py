# SPDX-License-Identifier: Apache-2.0
"""eltwise_engine.sv against the Program reference: random instructions, each for both slots."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
from engine import Engine
from stream import SEED, TRANSACTIONS

from hwgen.plan.program import Opcode
from random_programs import case


@cocotb.test()
async def equals_reference(dut: Any) -> None:
    rng = np.random.default_rng(SEED)
    bench = Engine(dut, rng)
    await bench.start()
    for _ in range(TRANSACTIONS):
        bench.stall = float(rng.choice([0.0, 0.3, 0.8]))
        bench.idle = float(rng.choice([0.0, 0.5, 0.95]))
        await bench.run_case(case(Opcode.ELTWISE, int(rng.integers(1 << 30)), bench.config), [Opcode.ELTWISE])
