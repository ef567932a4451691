# SPDX-License-Identifier: Apache-2.0
"""Parts of the planner: schedule, allocation, weight chunks, cost model, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwgen import ir
from hwgen.errors import FitError, InternalError
from hwgen.plan import Options, cost, layout, plan
from hwgen.plan.allocate import Life, place
from hwgen.plan.assemble import Blobs, blob_rows
from hwgen.plan.kernel import Kernel, describe
from hwgen.plan.lower import choose_weights, cut, cut_rows, draft, lower, modes, run_cycles, tile_rows, work
from hwgen.plan.program import Config, Queue
from hwgen.plan.refuse import refuse
from hwgen.plan.schedule import Segment, last_readers, pieces, play
from plan_boards import LARGE, PYNQ_Z2, SMALL
from random_graphs import Builder, efficientvit, random_graph

# --------------------------------------------------------------------------------------------------------------------
# schedule


def chain(seed: int) -> tuple[tuple[Kernel, ...], str]:
    graph = random_graph(seed, blocks=5, attention=False, head=False)
    return describe(graph), graph.output


def lost_rows(kernels: tuple[Kernel, ...], segment: Segment, rings: dict[str, int], last: dict[str, int]) -> int:
    """Plays the steps on sets of rows with these rings and counts reads that find nothing."""
    held: dict[str, dict[int, int]] = {k.y: {} for k in kernels}
    lost = 0
    for step in play(kernels, segment, last).steps:
        k = kernels[step.kernel]
        rows = range(*k.input_rows(step.row0, step.row0 + step.rows))
        wanted = [(x, r) for x in k.xs for r in rows]
        wanted += [(k.residual, r) for r in range(step.row0, step.row0 + step.rows)] if k.residual else []
        for name, row in wanted:
            lost += held[name].get(row % rings[name]) != row
        for row in range(step.row0, step.row0 + step.rows):
            held[k.y][row % rings[k.y]] = row
    return lost


@pytest.mark.parametrize("seed", range(12))
def test_rings_hold_what_is_read(seed: int) -> None:
    kernels, output = chain(seed)
    last = last_readers(kernels, output)
    for rows in (1, 2, 3, 5):
        segment = Segment(0, len(kernels), rows)
        tiling = play(kernels, segment, last)
        assert lost_rows(kernels, segment, tiling.rings, last) == 0
        made = [0] * len(kernels)
        for step in tiling.steps:
            assert step.row0 == made[step.kernel] and step.rows > 0
            made[step.kernel] += step.rows
        assert made == [k.height for k in kernels], "every tensor is complete, each row made once"


def test_rings_are_no_larger_than_needed() -> None:
    builder = Builder(1, (3, 40, 40))
    builder.mbconv(24, 2, 5, 1, 0)
    builder.mbconv(24, 2, 3, 2, 0)
    kernels = describe(builder.graph())
    last = last_readers(kernels, builder.x)
    segment = Segment(0, len(kernels), 1)
    rings = play(kernels, segment, last).rings
    assert max(rings[k.y] for k in kernels[:-1]) <= 9
    shrunk = 0
    for k in kernels[:-1]:
        smaller = rings | {k.y: rings[k.y] - 1}
        if rings[k.y] > 1:
            assert lost_rows(kernels, segment, smaller, last) > 0, k.y
            shrunk += 1
    assert shrunk >= 4


def test_tensors_used_outside_a_segment_stay_whole() -> None:
    builder = Builder(1, (3, 16, 16))
    start = builder.conv(16)
    builder.depthwise(3)
    middle = builder.conv(16)
    builder.eltwise(False, start)
    kernels = describe(builder.graph())
    rings = play(kernels, Segment(0, 4, 2), last_readers(kernels, builder.x)).rings
    assert rings[start] == 16 and rings[middle] == 16
    assert rings[kernels[2].y] < 16


def test_pieces_are_cut_where_a_ring_wraps() -> None:
    builder = Builder(1, (3, 20, 10))
    builder.conv(16)
    kernel = describe(builder.graph())[1]
    step = play((kernel,), Segment(0, 1, 20), {kernel.y: 9}).steps[0]
    step = replace(step, row0=3, rows=9)
    heights = dict.fromkeys((kernel.xs[0], kernel.y), 20)
    assert pieces(kernel, step, {}, heights) == [(3, 9, True)]
    assert pieces(kernel, step, {kernel.y: 5}, heights) == [(3, 2, True), (5, 5, True), (10, 2, True)]
    wide = replace(kernel, shape=(16, 20, 9000))
    assert [p[1] for p in pieces(wide, step, {}, heights)] == [7, 2], "at most 65,535 pixels a row"


# --------------------------------------------------------------------------------------------------------------------
# allocation


def test_random_allocations_are_legal() -> None:
    random = np.random.default_rng(0)
    placed_some = refused_some = False
    for _ in range(60):
        lives = []
        for i in range(int(random.integers(3, 25))):
            start = int(random.integers(0, 30))
            apart = frozenset({f"t{i - 1}"}) if i and random.random() < 0.4 else frozenset()
            lives.append(Life(f"t{i}", int(random.integers(1, 40)), start, start + int(random.integers(0, 9)), apart))
        places = place(lives, 3, 60)
        if places is None:
            refused_some = True
            continue
        placed_some = True
        for i, a in enumerate(lives):
            pad, base = places[a.name]
            assert 0 <= pad < 3 and base >= 0 and base + a.size <= 60
            for b in lives[:i]:
                other = places[b.name]
                together = a.start <= b.end and b.start <= a.end
                if pad == other[0] and together:
                    assert base + a.size <= other[1] or other[1] + b.size <= base
                if b.name in a.apart:
                    assert pad != other[0]
    assert placed_some and refused_some


def test_allocation_fails_where_nothing_fits() -> None:
    assert place([Life("a", 61, 0, 1)], 4, 60) is None
    assert place([Life("a", 6, 0, 1), Life("b", 6, 0, 1, frozenset({"a"}))], 1, 60) is None


# --------------------------------------------------------------------------------------------------------------------
# weights and modes


def conv_kernel(inputs: int, outputs: int, window: int = 1, size: int = 14, **more: int) -> Kernel:
    builder = Builder(1, (3, size, size))
    builder.conv(inputs)
    builder.conv(outputs, window, **more)  # type: ignore[arg-type]
    return describe(builder.graph())[2]


def test_modes_respect_banks_and_groups() -> None:
    dense = conv_kernel(96, 96)
    assert modes(dense, 16) == [2, 3, 4] and modes(dense, 4) == [2] and modes(dense, 1) == [0]
    assert modes(conv_kernel(96, 96, 3, stride=2), 16) == [2, 3]
    assert modes(conv_kernel(96, 96, groups=6), 16) == [4], "one input group each: one output group a tile"
    assert modes(conv_kernel(96, 96, groups=3), 16) == [3, 4], "two output groups share their input"


def test_chunks_cover_all_groups_once() -> None:
    for kernel in (conv_kernel(96, 340), conv_kernel(64, 64, 3), conv_kernel(160, 160, 5, groups=160)):
        for ring in (64, 100, 333, 4096):
            for tile in (1, 2, 4):
                weights = cut(kernel, tile, 0, ring)
                if tile_rows(kernel, tile) > ring:
                    assert weights is None
                    continue
                assert weights is not None
                group = 0
                for chunk in weights.chunks:
                    assert chunk.group0 == group and chunk.group0 % tile == 0
                    assert chunk.rows == -(-chunk.groups // tile) * tile_rows(kernel, tile)
                    assert chunk.rows <= max(ring // 2, tile_rows(kernel, tile))
                    group += chunk.groups
                assert group == kernel.groups


def test_blobs_are_encoded_once() -> None:
    kernel, blobs = conv_kernel(64, 96), Blobs()
    weights = cut(kernel, 2, 1, 64)
    assert weights is not None and len(weights.chunks) > 1
    for tile in (2, 1, 2):
        for chunk in weights.chunks:
            found = blobs.encoded(kernel, chunk, tile)
            assert found == layout.stripe(blob_rows(kernel, chunk.group0, chunk.groups, tile))
            assert blobs.encoded(kernel, chunk, tile) is found
    chunk = weights.chunks[-1]
    with pytest.raises(InternalError, match=f"blob has {chunk.rows} rows, planned {chunk.rows + 1}"):
        Blobs().encoded(kernel, replace(chunk, rows=chunk.rows + 1), 2)


def test_mode_with_the_fewest_cycles() -> None:
    for size in (5, 7, 14, 28):
        for kernel in (conv_kernel(128, 256, size=size), conv_kernel(16, 16, size=size), conv_kernel(48, 64, 3, size)):
            chosen = choose_weights(kernel, ((size, kernel.pointwise, 1),), Config(), 64.0)
            assert chosen is not None
            totals = {}
            for mode in modes(kernel, 16):
                weights = cut(kernel, 16 >> mode, mode, 4096)
                assert weights is not None
                run = sum(run_cycles(kernel, Config(), mode, c.groups, size, kernel.pointwise) for c in weights.chunks)
                totals[mode] = run + sum(cost.load_cycles(c.rows, 64.0) for c in weights.chunks)
            assert totals[chosen.mode] == min(totals.values())


def test_a_draft_takes_what_its_actions_take() -> None:
    """Segments with kernels that stay in the ring, with kernels that are loaded again, and with an attention."""
    seen = set()
    for seed in range(12):
        graph = random_graph(seed, blocks=4, head=False)
        kernels, last = describe(graph), last_readers(describe(graph), graph.output)
        heights = {k.y: k.height for k in kernels}
        whole = [Segment(k.index, k.index + 1, k.height) for k in kernels]
        tiled = [Segment(0, n, 2) for n in range(2, 6) if all(k.tileable for k in kernels[:n])]
        for segment in (*whole, *tiled):
            rectangles = cut_rows(kernels, play(kernels, segment, last), heights)
            for ring in (96, 200, 4096):
                config = Config(ring_rows=ring)
                found = {i: work(kernels[i], shapes, config, 64.0) for i, shapes in rectangles.shapes.items()}
                works = {i: w for i, w in found.items() if w is not None}
                if len(works) == len(found):
                    drafted = draft(rectangles, works, ring)
                    lowered = lower(kernels, drafted, config, 64.0)
                    assert lowered.cycles == drafted.cycles == sum(a.cycles for a in lowered.actions)
                    seen.add(("resident", len(drafted.resident) > 0, len(works) > len(drafted.resident)))
                    seen.add(kernels[segment.start].kind)
    assert seen >= {("resident", True, False), ("resident", True, True), ("resident", False, True), "attention"}


# --------------------------------------------------------------------------------------------------------------------
# cost


def test_conv_cycles_by_hand() -> None:
    # 14x14x64 -> 128, 1x1: 16 blocks as T = 4, TP = 4: 2 tiles, 49 groups of 4 pixels = runs of 32 and 17
    overhead = 4 + cost.DRAIN + 2 * (8 + 3 * cost.DRAIN)
    runs = sum(4 * size + size * 4 for size in (32, 17))
    assert cost.conv_cycles(16, 4, 32, 2, True, 4, 8, 1, 196, 0, False) == 2 * (overhead + runs) + cost.DECODE
    # unpacked weights are visited twice, a 12-bit table costs 1,024 cycles
    unpacked = sum(8 * size + size * 4 for size in (32, 17))
    table = 1024 + cost.DRAIN
    expected = 2 * (overhead + unpacked) + table + cost.DECODE
    assert cost.conv_cycles(16, 4, 32, 2, False, 4, 8, 1, 196, 32, False) == expected
    # one pixel: the weight load of 8 cycles is what counts
    one = 4 + 8 + 80 + 4 + 4 * cost.DRAIN + cost.DECODE
    assert cost.conv_cycles(16, 4, 32, 2, True, 10, 4, 1, 1, 0, False) == one


def test_a_wider_epilogue_saves_cycles() -> None:
    # 16 pixels x 1 output group: 4, 2, and with a residual 16 cycles for the epilogue of a pixel group
    wide, narrow, add = (
        cost.conv_cycles(16, words, 32, 4, True, 4, 1, 1, 160, 0, add)
        for words, add in ((8, False), (4, False), (8, True))
    )
    assert (narrow - wide, add - wide) == (10 * 2, 10 * 14)


def test_other_cycles_by_hand() -> None:
    # 7x7, 5x5 window: three passes, one access a row
    depthwise = 25 + 5 * 1 + 7 * 3 * max(2, 1 + 4) + 3 * cost.DRAIN
    assert cost.depthwise_cycles(3, 7, 7, (5, 5), (1, 1), 0) == 3 * depthwise + cost.DECODE
    assert [cost.depthwise_passes(k) for k in ((3, 3), (1, 2), (1, 5), (2, 4), (3, 5), (4, 4), (5, 1))] == [
        1, 1, 1, 2, 2, 3, 3,
    ]  # fmt: skip
    assert cost.eltwise_cycles(3, 2, 7, 2) == 42 + 64 + 2 * cost.DRAIN + cost.DECODE
    assert cost.load_cycles(128, 64.0) == 256 + 60 + cost.DRAIN + cost.DECODE
    assert cost.load_cycles(129, 32.0) == 516 + 2 * (60 + cost.DRAIN) + cost.DECODE
    assert cost.input_cycles(10, 2, 42, 112, 0) == 10 * (84 + 60 + 112 + 2 * cost.DRAIN) + cost.DECODE
    head = 2 + 4 * 49 + 16 * 5 + 1 + 4 * 50 + 3 * cost.DRAIN
    assert cost.attention_cycles(3, 1, 49, False) == 3 * head + cost.DECODE
    assert cost.pool_cycles(2, 49) == 2 * (13 + 16 + 2 * cost.DRAIN) + cost.DECODE
    assert cost.linear_cycles(2, 10, 0) == 2 * (81 + 16 + 2 * cost.DRAIN) + cost.DECODE
    assert cost.layer_norm_cycles(10, 0) == 320 + 26 + 25 + 4 * cost.DRAIN + cost.DECODE


def test_resources_grow_with_the_machine() -> None:
    base = Config()
    used = cost.resources(base)
    assert used["dsp"] == 2048 + 64 + 64 + 7 + 8 + 4 + 3 + 34 + 2
    tables = 32 + 32 + 8 + 1
    assert used["bram36"] == 2 * 8 * 64 + 135 + 2 * 4 + tables + 8 + 8 + 12, (
        "pads of two slots, vectors for two readers"
    )
    assert cost.resources(replace(base, wide_tables=0))["bram36"] == used["bram36"] - tables // 2
    for change in ({"pads": 9}, {"pad_depth": 1025}, {"ring_rows": 4097}, {"epilogue_words": 8}):
        assert cost.resources(replace(base, **change))["bram36"] > used["bram36"], change  # type: ignore[arg-type]
    for change in ({"line_words": 2048}, {"epilogue_words": 8}, {"head_dim": 32}, {"acc_groups": 64}, {"pads": 9}):
        assert cost.resources(replace(base, **change))["lut"] > used["lut"], change  # type: ignore[arg-type]
    assert cost.resources(replace(base, epilogue_words=8))["dsp"] == used["dsp"] + 64
    assert cost.resources(replace(base, blocks=8))["dsp"] == used["dsp"] - 1024
    assert cost.resources(replace(base, blocks=8))["lut"] < used["lut"]


def test_search_trades_the_epilogue() -> None:
    """Where DSPs and LUTs are plenty the wide epilogue wins, otherwise the narrow one is what fits."""
    graph = efficientvit(64, (16, 32, 64, 128), (1, 2, 2, 2), (256, 272, 50))
    rich = replace(LARGE, limits={name: 2 * count for name, count in LARGE.limits.items()})
    wide, narrow = plan(graph, rich, options=Options(blocks=16)), plan(graph, LARGE, options=Options(blocks=16))
    assert (wide.program.config.epilogue_words, narrow.program.config.epilogue_words) == (8, 4)
    assert wide.performance["latency_cycles"] < narrow.performance["latency_cycles"]


def test_what_the_systemverilog_needs_is_limited_too() -> None:
    """DSPs go to the wider epilogue first, and the MLP engine gets what is left."""
    graph = efficientvit(64, (16, 32, 64, 128), (1, 2, 2, 2), (256, 272, 50))
    chosen = {}
    for dsp in (2268, 2282, 2314):
        limits = LARGE.limits | {"dsp": dsp, "lut": 220_000}
        config = plan(graph, replace(LARGE, limits=limits), options=Options(requantize_words=8)).program.config
        used = cost.rtl_resources(config)
        assert all(used[name] <= limits[name] for name in used)
        chosen[dsp] = config.mlp_outputs
    assert chosen == {2268: 2, 2282: 4, 2314: 8}


def test_resources_of_the_systemverilog_grow_with_the_machine() -> None:
    base = Config(mlp_outputs=2, pads=3, ring_rows=8192)
    used = cost.rtl_resources(base)
    assert used["dsp"] == 128 * 16 + 64 + 64 + 16 + 10
    changes = {
        "blocks": (8, -1024),
        "requantize_words": (8, 64),
        "residual_words": (4, 0),
        "slots": (3, 0),
        "mlp_outputs": (4, 16),
        "engines": (Config.engines & ~(1 << Queue.DEPTHWISE), -65),
    }
    for name, (value, dsp) in changes.items():
        changed = cost.rtl_resources(replace(base, **{name: value}))  # type: ignore[arg-type]
        assert changed["dsp"] - used["dsp"] == dsp, name
        assert (changed["lut"] > used["lut"]) == (name not in ("blocks", "engines")), name


def test_larger_boards_are_not_slower() -> None:
    graph = efficientvit(64, (16, 32, 64, 128), (1, 2, 2, 2), (256, 272, 50))
    small, large = plan(graph, SMALL), plan(graph, LARGE)
    assert small.program.config.blocks < large.program.config.blocks
    assert large.performance["latency_cycles"] < 0.8 * small.performance["latency_cycles"]


# --------------------------------------------------------------------------------------------------------------------
# refusals


def problem(graph: ir.Graph, board: object = LARGE, **options: int) -> str:
    with pytest.raises(FitError) as caught:
        plan(graph, board, options=Options(**options))  # type: ignore[arg-type]
    assert caught.value.problems, "a reason"
    assert all(p.hint for p in caught.value.problems), "a way out"
    return str(caught.value)


def test_refuses_a_board_that_is_too_small() -> None:
    text = problem(random_graph(1), PYNQ_Z2)
    assert "DSP" in text and "BRAM36" in text and "limit is 198" in text and "larger board" in text


def test_refuses_activations_that_do_not_fit() -> None:
    builder = Builder(1, (3, 320, 320))
    for _ in range(3):
        builder.conv(2048, 3, groups=1) if not builder.ops[1:] else builder.depthwise(3)
    text = problem(builder.graph())
    assert "KiB of on-chip memory" in text and "820 BRAM36" in text and "smaller input image" in text
    assert builder.ops[-1].name in text


def test_refuses_tensors_that_do_not_pack() -> None:
    """Enough memory in total, but not for these tensors at the same time."""
    text = problem(efficientvit(), replace(SMALL, limits=SMALL.limits | {"bram36": 170}))
    assert "do not fit together" in text and "170 BRAM36" in text and "(attention)" in text


def test_refuses_weights_that_do_not_fit() -> None:
    builder = Builder(1, (3, 8, 8))
    builder.conv(1024)
    builder.conv(16, 7)
    assert "bytes of the weight ring" in problem(builder.graph(), LARGE, ring_rows=2048)


def test_refuses_what_the_engines_cannot_do() -> None:
    builder = Builder(1, (3, 40, 40))
    builder.conv(16, 9)
    builder.depthwise(7)
    builder.depthwise(3, 3)
    builder.conv(16, 1, pads=(0, 0, 1, 0))
    builder.pool()
    builder.linear(5000)
    text = problem(builder.graph())
    for part in ("window 9x9", "window 7x7", "depthwise stride of 3", "padding (0, 0, 1, 0)", "vector of 5,000"):
        assert part in text, "all problems at once"


def test_refuses_long_image_rows_and_many_channels() -> None:
    assert "image row of 18,000 bytes" in problem(Builder(1, (3, 4, 6000)).graph())
    assert "5 image channels" in problem(Builder(1, (5, 8, 8), 2).graph())


def test_refuses_attention_that_overflows() -> None:
    builder = Builder(1, (3, 100, 100))
    builder.conv(16)
    builder.attention(1, False, scales=0)
    assert "sum K^T V" in problem(builder.graph())
    builder = Builder(1, (3, 8, 8))
    builder.conv(16)
    builder.attention(1, False, 48, 0)
    assert "head dimension 48" in problem(builder.graph())


def test_refuses_a_residual_that_is_its_input() -> None:
    builder = Builder(1, (3, 8, 8))
    start = builder.conv(16)
    builder.conv(16, residual=start)
    assert "own input" in problem(builder.graph())


def test_accepts_what_is_within_the_limits() -> None:
    refuse(describe(random_graph(2)))


def test_rejects_a_bad_clock_and_batch() -> None:
    for more in ({"clock_mhz": 0.0}, {"clock_mhz": -1.0}, {"batch": 0}):
        with pytest.raises(FitError, match="positive"):
            plan(random_graph(2), LARGE, **more)  # type: ignore[arg-type]
