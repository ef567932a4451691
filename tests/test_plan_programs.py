# SPDX-License-Identifier: Apache-2.0
"""Planned Programs, executed, equal the direct reference on every tensor that leaves a kernel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwgen import ir
from hwgen.errors import FitError
from hwgen.plan import Options, Plan, Segment, network, plan, timing
from hwgen.plan.kernel import describe
from plan_boards import LARGE, SMALL, TestBoard, differences
from random_graphs import Builder, efficientvit, random_graph, random_image


@pytest.mark.parametrize("board", [LARGE, SMALL], ids=lambda b: b.name)
@pytest.mark.parametrize("seed", range(10))
def test_random_graphs(seed: int, board: TestBoard) -> None:
    graph = random_graph(seed)
    planned = plan(graph, board)
    images = [random_image(graph, seed), random_image(graph, seed + 100)]
    assert differences(graph, planned, images) == []
    assert all(r["rtl"] <= r["limit"] for name, r in planned.resources.items() if name != "ff")
    assert all(planned.resources[name]["used"] <= planned.resources[name]["limit"] for name in ("dsp", "bram36"))


@pytest.mark.parametrize("seed", range(60, 64))
def test_graphs_without_a_head(seed: int) -> None:
    """The output is a whole feature map."""
    graph = random_graph(seed, head=False, attention=seed % 2 == 0)
    assert differences(graph, plan(graph, LARGE), [random_image(graph, seed)]) == []


def smallest(graph: ir.Graph, options: Options) -> Plan | None:
    """The plan with the shallowest pads that still works, so that many kernels are tiled and rings wrap."""
    best = None
    for depth in (400, 200, 120, 90, 70, 50, 40, 30, 24, 18, 12):
        try:
            best = plan(graph, LARGE, options=replace(options, pad_depth=depth))
        except FitError:
            break
    return best


@pytest.mark.parametrize("seed", range(20, 32))
def test_shallow_pads_and_small_rings(seed: int) -> None:
    graph = random_graph(seed, blocks=4)
    ring = (140, 300, 2048)[seed % 3]
    planned = smallest(graph, Options(blocks=(16, 8, 4)[seed // 3 % 3], pads=2 + seed % 2, ring_rows=ring))
    if planned is None:
        pytest.skip("its largest weight tile exceeds this ring")
    assert differences(graph, planned, [random_image(graph, seed)]) == []


def random_segments(graph: ir.Graph, seed: int) -> tuple[Segment, ...]:
    random = np.random.default_rng(seed)
    kernels = describe(graph)
    segments, start = [], 0
    while start < len(kernels):
        end = start + 1
        while end < len(kernels) and kernels[start].tileable and kernels[end].tileable and random.random() < 0.75:
            end += 1
        height = kernels[end - 1].height
        segments.append(Segment(start, end, int(random.integers(1, height + 1)) if kernels[start].tileable else height))
        start = end
    return tuple(segments)


@pytest.mark.parametrize("seed", range(40, 56))
def test_any_segments_and_tiles(seed: int) -> None:
    """Segments that no search would choose: across strides, residuals, branches, in tiles of any height."""
    graph = random_graph(seed, blocks=5, attention=seed % 2 == 0)
    options = Options(
        blocks=(16, 8, 4)[seed % 3],
        pads=3,
        pad_depth=4096,
        ring_rows=(400, 1200)[seed % 2],
        acc_groups=(4, 32)[seed // 2 % 2],
        segments=random_segments(graph, seed),
    )
    limits = {name: 100 * count for name, count in LARGE.limits.items()}
    planned = plan(graph, replace(LARGE, limits=limits), options=options)
    assert differences(graph, planned, [random_image(graph, seed)]) == []


def test_tiles_wrap_and_weights_stream() -> None:
    """The cases above really contain what they are for."""
    builder = Builder(3, (3, 21, 19))
    builder.conv(48, 3)
    for _ in range(2):
        builder.mbconv(48, 3, 5, 1, 256)
    graph = builder.graph()
    limits = {name: 100 * count for name, count in LARGE.limits.items()}
    options = Options(4, 32, 3, 4096, 100, (Segment(0, len(graph.ops), 2),))
    planned = plan(graph, replace(LARGE, limits=limits), options=options)
    records = planned.program.instructions
    assert any(r["y_slot"] < r["y_row0"] for r in records), "a ring wraps"
    loads = [int(r["ddr"]) for r in records if r["opcode"] == 1]
    assert len(loads) > len(set(loads)), "weights are loaded again in later steps"
    assert any(r["y_group0"] > 0 for r in records if r["opcode"] in (3, 4)), "weights come in chunks"
    assert any(r["y_cols"] > r["y_width"] for r in records), "rows are joined"
    assert differences(graph, planned, [random_image(graph, 1)]) == []


def test_same_input_same_bytes() -> None:
    first, second = (plan(random_graph(3), LARGE) for _ in range(2))
    assert first.program.to_bytes() == second.program.to_bytes()
    assert first.program.weights == second.program.weights
    assert first.kernels == second.kernels and first.tiles == second.tiles


def test_plan_reports() -> None:
    graph = random_graph(5)
    planned = plan(graph, LARGE, batch=4, clock_mhz=100.0)
    performance = planned.performance
    assert performance["latency_cycles"] == network.simulate(planned.program, 1).done[0]
    assert performance["rtl"]["latency_cycles"] == timing.simulate(planned.program, 1).done[0]
    assert performance["frames_per_second"] == pytest.approx(100e6 / performance["interval_cycles"], abs=1e-3)
    assert (performance["batch"], performance["clock_mhz"], performance["source"]) == (4, 100.0, "estimated")
    assert len(planned.kernels) == len(graph.ops)
    assert [k.output for k in planned.kernels] == [op.y for op in graph.ops]
    assert planned.kernels[1].nodes == graph.ops[1].source
    assert {k.family for k in planned.kernels} == {"conv", "linear_attention", "mlp"}


def test_smallest_machine_for_a_target() -> None:
    """Half the speed of the fastest needs fewer blocks; a machine a size smaller does not reach it."""
    graph = efficientvit(96, (16, 32, 64, 128), (1, 2, 2, 2), (256, 272, 50), 4096)
    fastest = plan(graph, LARGE)
    best = fastest.performance["rtl"]["frames_per_second"]
    half = plan(graph, LARGE, target_fps=best / 2)
    assert best / 2 <= half.performance["rtl"]["frames_per_second"] < best
    blocks, slots = half.program.config.blocks, half.program.config.slots
    assert blocks < fastest.program.config.blocks
    assert half.resources["dsp"]["used"] < fastest.resources["dsp"]["used"]
    assert (blocks, slots) != (4, 1), "there is a smaller one to compare with"
    smaller = Options(blocks=blocks, slots=1) if slots > 1 else Options(blocks=blocks // 2, slots=2)
    assert plan(graph, LARGE, options=smaller).performance["rtl"]["frames_per_second"] < best / 2
    with pytest.raises(FitError, match=r"1\.2 times the target's") as refused:
        plan(graph, LARGE, target_fps=best * 1.2)
    assert refused.value.problems


def test_a_smaller_array_where_the_largest_has_room_for_one_frame_only() -> None:
    graph = efficientvit(96, (16, 32, 64, 128), (1, 2, 2, 2), (256, 272, 50), 4096)
    alone = plan(graph, LARGE, options=Options(blocks=16, slots=1, requantize_words=4))
    small = replace(LARGE, limits={**LARGE.limits, "lut": alone.resources["lut"]["rtl"] + 500})
    with pytest.raises(FitError):
        plan(graph, small, options=Options(blocks=16, slots=2))
    found = plan(graph, small)
    assert found.program.config.blocks < 16 and found.program.config.slots > 1
    assert found.performance["rtl"]["interval_cycles"] < alone.performance["rtl"]["interval_cycles"]
    assert plan(graph, small, options=Options(slots=1)).program.config.blocks == 16  # as asked for


def test_less_ddr_takes_longer() -> None:
    graph = random_graph(5)
    fast, slow = plan(graph, LARGE), plan(graph, replace(LARGE, ddr_bytes_per_second=1e9))
    assert sum(k.cycles for k in slow.kernels) > 1.3 * sum(k.cycles for k in fast.kernels)


def test_small_efficientvit() -> None:
    """Stages of 64 and 128 channels with attention; the board's memory forces row tiles."""
    graph = efficientvit(96, (16, 32, 64, 128), (1, 2, 2, 2), (256, 272, 50), 4096)
    planned = plan(graph, SMALL)
    assert planned.tiles["tiled_segments"]
    assert differences(graph, planned, [random_image(graph, 1)]) == []


@pytest.mark.slow
def test_efficientvit_b1() -> None:
    graph = efficientvit()
    planned = plan(graph, LARGE)
    assert planned.program.config.blocks == 16
    assert planned.performance["latency_cycles"] < 1_100_000
    assert differences(graph, planned, [random_image(graph, 1)]) == []
