# SPDX-License-Identifier: Apache-2.0
"""eltwise_engine.sv against the Program reference: results, stray writes and cycles."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
from engine import CONFIG, Command, Engine
from stream import SEED, TRANSACTIONS

from hwgen import numerics as nx
from hwgen.plan.program import Flag, Opcode, instruction
from random_programs import case


def cycles(command: Command) -> int:
    """From taken to done, without a table to load."""
    i = command.record
    return 12 + int(i["y_groups"]) * int(i["y_rows"]) * -(-int(i["y_cols"]) // CONFIG.residual_words) + 19


def check_cycles(bench: Engine, commands: list[Command]) -> None:
    for command in commands:
        if command.retain or not int(command.record["flags"]) & Flag.TABLE:
            assert command.cycles == cycles(command), f"{bench.describe(command)}: not {cycles(command)} cycles"


def random_command(rng: np.random.Generator, retained: Any) -> Command:
    """Anything that fits the pads, on whatever they hold; ``retained`` is a command whose table may stay."""

    def below(limit: int) -> int:
        return int(rng.integers(limit))

    rows, columns = 1 + below(5), 1 + below(20)
    width = columns + below(4)
    groups, group0 = 1 + below(3), below(3)
    fields: dict[str, int] = {"y_groups": groups, "y_group0": group0, "y_rows": rows, "y_cols": columns}
    fields |= {"y_width": width, "x_width": width, "x_groups": group0 + groups, "x_cols": columns}
    for name, pad in zip("xry", rng.permutation(CONFIG.pads).tolist(), strict=False):
        ring = rows + below(3)
        plane = -(-ring * width // 16) + below(2)
        fields |= {f"{name}_pad": pad, f"{name}_ring": ring, f"{name}_plane": plane, f"{name}_slot": below(ring)}
        fields[f"{name}_base"] = below(CONFIG.pad_depth - (group0 + groups) * plane + 1)
    row = below(1000)
    fields |= {"y_row0": row, "x_first": row, "x_height": row + rows, "t_row": below(CONFIG.ring_rows - 1)}
    flags = (Flag.ADD if below(2) else Flag(0)) | (Flag.TABLE if below(3) else Flag(0))
    retain = retained is not None and below(3) == 0
    if retain:
        fields["t_row"] = int(retained.record["t_row"])
    if flags & Flag.ADD:
        multipliers = [int(m) for m in rng.integers(0, 1 << nx.ADD_MULTIPLIER_BITS, 2)]
        limit = 128 * sum(multipliers)
        fields |= {"add_ma": multipliers[0], "add_mb": multipliers[1], "add_shift": below(24)}
        fields["add_zero"], fields["add_constant"] = below(256) - 128, below(2 * limit + 1) - limit
    return Command(instruction(Opcode.ELTWISE, flags=int(flags), **fields), below(CONFIG.slots), retain=retain)


@cocotb.test()
async def equals_reference(dut: Any) -> None:
    """Kernels of random Programs, and random commands back to back."""
    rng = np.random.default_rng(SEED)
    bench = Engine(dut, rng)
    await bench.start()
    holder: Command | None = None  # whose table the engine has
    for n in range(TRANSACTIONS):
        bench.stall = float(rng.choice([0.0, 0.3, 0.8]))
        bench.idle = float(rng.choice([0.0, 0.5, 0.95]))
        if n % 2:
            program = case(Opcode.ELTWISE, int(rng.integers(1 << 30)), bench.config)
            commands = await bench.run_case(program, [Opcode.ELTWISE])
            holder = None
        else:
            commands = []
            for _ in range(6):
                commands.append(random_command(rng, holder))
                if int(commands[-1].record["flags"]) & Flag.TABLE and not commands[-1].retain:
                    holder = commands[-1]
            await bench.run(commands)
        check_cycles(bench, commands)
