# SPDX-License-Identifier: Apache-2.0
"""Plan: from the kernel graph and a board to a Program with its machine, and what both are estimated to take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from hwgen import ir
from hwgen.errors import FitError, Problem
from hwgen.plan import cost, network, timing
from hwgen.plan.assemble import Blobs, assemble, trace_offsets
from hwgen.plan.kernel import Kernel, describe
from hwgen.plan.program import Config, Program
from hwgen.plan.proof import prove
from hwgen.plan.refuse import refuse
from hwgen.plan.schedule import Segment
from hwgen.plan.search import Design, Options, search

__all__ = ["KernelPlan", "Options", "Plan", "Segment", "plan"]


class BoardLike(Protocol):
    """What the planner reads of a board; resources and limits count lut, ff, dsp, bram36."""

    @property
    def name(self) -> str: ...
    @property
    def clock_mhz(self) -> float: ...
    @property
    def resources(self) -> Any: ...
    @property
    def limits(self) -> Any: ...
    @property
    def ddr_bytes_per_second(self) -> float: ...


ORDERS, FINAL_ORDERS = 8, 160
"""Orders of the frames that are tried for each machine, and for the one that was chosen."""
MODELLED_GROUPS = 8
"""Groups of frames of the cycle model's run; the first two fill the machine."""


@dataclass(frozen=True)
class KernelPlan:
    """One kernel as the plan runs it."""

    index: int
    name: str
    family: str
    """conv, linear_attention or mlp"""
    kind: str
    output: str
    """tensor that leaves it"""
    shape: ir.Shape
    trace: int
    """word offset of the output in a frame's trace buffer"""
    tile_rows: int
    """output rows of the largest tile; the height where it is not tiled"""
    mode: int
    """CONV: log2 of the array's pixels"""
    instructions: int
    cycles: int
    """estimated, weight loads included"""
    macs: int
    nodes: tuple[str, ...]
    """source ONNX nodes"""


@dataclass(frozen=True)
class Plan:
    """A Program that fits the board, and the estimates."""

    program: Program
    kernels: tuple[KernelPlan, ...]
    resources: dict[str, dict[str, Any]]
    performance: dict[str, Any]
    tiles: dict[str, Any]
    """machine, segments and a summary of the search"""


def plan(
    graph: ir.Graph,
    board: BoardLike,
    *,
    batch: int = 1,
    clock_mhz: float | None = None,
    target_fps: float | None = None,
    progress: Callable[[str], None] | None = None,
    options: Options | None = None,
) -> Plan:
    """Plan a kernel graph for a board. Deterministic.

    The fastest machine that the limits allow; with ``target_fps`` the smallest one whose SystemVerilog reaches so many
    frames a second by the cycle model. ``progress`` gets a line of text now and then; ``options`` fixes parameters that
    are searched otherwise. Raises FitError, with all problems found, when the model does not fit or is too slow;
    InternalError when the finished Program breaks an invariant (the proof runs on every build).
    """
    clock = float(board.clock_mhz if clock_mhz is None else clock_mhz)
    for value, what in (
        (clock, f"clock {clock} MHz"),
        (batch, f"batch {batch}"),
        (target_fps, f"target {target_fps} frames/s"),
    ):
        if value is not None and value <= 0:
            raise FitError(f"{what} is not positive. Give a positive number")
    kernels = describe(graph)
    refuse(kernels)
    limits = {name: int(board.limits[name]) for name in ("dsp", "bram36", "lut", "ff")}
    rate = board.ddr_bytes_per_second / (clock * 1e6)
    blobs = Blobs()
    made: dict[Config, tuple[Program, float]] = {}

    def interval(design: Design, orders: int = ORDERS) -> float:
        program = assemble(graph, kernels, design.lowered, design.places, design.config, blobs, orders)
        slots = design.config.slots
        cycles = timing.simulate(program, MODELLED_GROUPS * slots).interval(2 * slots)
        if design.config not in made or cycles < made[design.config][1]:
            made[design.config] = program, cycles
        return cycles

    target = clock * 1e6 / target_fps if target_fps else None
    design = search(kernels, graph.output, limits, rate, options or Options(), interval, target, progress)
    interval(design, FINAL_ORDERS)
    program, cycles = made[design.config]
    _check_program(program)
    prove(program, graph)
    return Plan(
        program,
        _kernel_plans(graph, kernels, design),
        _resources(design, board, limits),
        {
            **_timed(network.simulate, program, clock),
            "clock_mhz": clock,
            "batch": batch,
            "source": "estimated",
            "rtl": {**_timed(timing.simulate, program, clock, cycles), "source": "modelled"},
        },
        _tiles(kernels, design),
    )


def _resources(design: Design, board: BoardLike, limits: dict[str, int]) -> dict[str, dict[str, Any]]:
    """Of the HLS machine (``used``) and of the one in SystemVerilog (``rtl``; no estimate of its registers)."""
    rtl = cost.rtl_resources(design.config)
    return {
        name: {
            "used": used,
            "rtl": rtl.get(name),
            "available": int(board.resources[name]),
            "limit": limits[name],
            "source": "estimated",
            "at_least": name in cost.LOWER_BOUNDS,
        }
        for name, used in design.resources.items()
    }


def _timed(
    simulate: Callable[[Program, int], timing.Timeline],
    program: Program,
    clock_mhz: float,
    interval: float | None = None,
) -> dict[str, Any]:
    """Latency and steady state of a machine by its cycle model, behind the memory that `hwgen sim` assumes."""
    if interval is None:
        slots = program.config.slots
        interval = simulate(program, MODELLED_GROUPS * slots).interval(2 * slots)
    return {
        "latency_cycles": simulate(program, 1).done[0],
        "interval_cycles": round(interval),
        "frames_per_second": round(clock_mhz * 1e6 / interval, 3),
    }


def _check_program(program: Program) -> None:
    words = int(program.header["trace_words"])
    if words >= 1 << 28 or len(program.weights) >= 1 << 32:
        problem = Problem("program", "", f"{words:,} trace words exceed 4 GiB", "Use a smaller input image")
        raise FitError("The model exceeds what the Program format holds:", [problem])


def _kernel_plans(graph: ir.Graph, kernels: tuple[Kernel, ...], design: Design) -> tuple[KernelPlan, ...]:
    trace = trace_offsets(kernels)
    result = []
    for segment in design.lowered:
        inside = segment.tiling.segment
        for k in kernels[inside.start : inside.end]:
            actions = [a for a in segment.actions if a.kernel == k.index]
            result.append(
                KernelPlan(
                    k.index,
                    k.op.name,
                    ir.family(k.op),
                    k.kind,
                    k.y,
                    k.shape,
                    trace[k.y],
                    max(s.rows for s in segment.tiling.steps if s.kernel == k.index),
                    segment.weights[k.index].mode,
                    len(actions),
                    sum(a.cycles for a in actions),
                    ir.macs(k.op, graph.tensors),
                    k.op.source,
                )
            )
    return tuple(result)


def _tiles(kernels: tuple[Kernel, ...], design: Design) -> dict[str, Any]:
    return {
        "machine": asdict(design.config),
        "machines_searched": design.machines,
        "tiled_segments": [
            {
                "first": kernels[s.tiling.segment.start].op.name,
                "last": kernels[s.tiling.segment.end - 1].op.name,
                "rows": s.tiling.segment.rows,
                "rings": dict(sorted(s.tiling.rings.items())),
            }
            for s in design.lowered
            if s.tiling.segment.end - s.tiling.segment.start > 1
        ],
    }
