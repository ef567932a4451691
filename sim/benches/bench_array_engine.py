# SPDX-License-Identifier: Apache-2.0
"""array_engine.sv against the Program reference: random convolutions, extreme values, and the cycles of long ones."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
from engine import Engine
from random_programs import case
from stream import SEED, TRANSACTIONS

from hwgen.plan.program import Opcode


@cocotb.test()
async def equals_reference(dut: Any) -> None:
    rng = np.random.default_rng(SEED)
    bench = Engine(dut, rng)
    await bench.start()
    for _ in range(TRANSACTIONS):
        bench.stall = float(rng.choice([0.0, 0.3, 0.8]))
        bench.idle = float(rng.choice([0.0, 0.5, 0.95]))
        await bench.run_case(case(Opcode.CONV, int(rng.integers(1 << 30)), bench.config), [Opcode.CONV])
