# SPDX-License-Identifier: Apache-2.0
"""Analytic model of cycles and resources of the HLS machine. Everything here is *estimated*: no tool has measured it.

Cycles are those of one instruction alone and follow the loops under templates/hls/include, named in each function, with
an initiation interval of one. T = output groups of a tile, TP =
pixels of a pixel group, E = words that CONV's epilogue finishes in a cycle, P = pixels of a channel group. docs/plan.md
repeats the formulas and the resource table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from hwgen.plan.program import LANES, ROW_BYTES, WEIGHT_PORTS, WORD_BYTES, Config, Queue

# --------------------------------------------------------------------------------------------------------------------
# Assumptions

LOWER_BOUNDS = frozenset(("lut", "ff"))
"""Resources whose estimate is known to leave parts out (docs/plan.md): the true figure is at least this."""
DDR_LATENCY = 60
"""Cycles from a request to the first beat."""
DECODE = DDR_LATENCY + 20
"""Cycles to fetch an instruction (a burst of 8 words) and decode it."""
DRAIN = 24
"""Cycles to fill and drain one pipelined loop."""

# --------------------------------------------------------------------------------------------------------------------
# What the C++ fixes; a test compares these with the headers

LOAD_ROWS = 128
"""CHUNK_ROWS: ring rows that LOAD_WEIGHTS requests at once."""
ACC_DISTANCE = 4
"""Least cycles between two updates of an accumulator, and from the last fill of a line to its first use."""
DW_PIXELS = 4
DW_TAPS = 9
"""Multipliers of one output value of the depthwise engine: taps of a pass."""
DW_NARROW, DW_KERNEL_MAX = 3, 5
"""Windows up to the first are one pass; larger ones count as the second in columns."""
DW_LINES, DW_QUADS = 8, 4
ADD_WORDS = 1
"""Words a cycle where CONV adds a residual."""
ELTWISE_WORDS = 1
KV_PARTS = 4
"""Cycles a pixel takes in K^T V."""
PLANES = 4
"""Digits of K^T V, one a cycle."""
PREPARED = 4
"""Columns of K^T V that are split in digits in a cycle."""
LINEAR_ROWS = 2
POOL_PIXELS = 4
ROOT_BITS, RECIPROCAL_BITS = 26, 25
READ_PIXELS = 16
"""Pixels that a window reads in a cycle."""
TABLE_ROW_CYCLES = 32
"""Cycles to copy one ring row of a table, four entries a cycle."""


def table_cycles(rows: int) -> int:
    """``load_table``: a word of four entries a cycle."""
    return rows * TABLE_ROW_CYCLES + DRAIN if rows else 0


@lru_cache(maxsize=1 << 16)
def conv_cycles(
    blocks: int,
    epilogue_words: int,
    acc_groups: int,
    mode: int,
    packed: bool,
    reads: int,
    groups: int,
    rows: int,
    cols: int,
    table: int,
    add: bool,
) -> int:
    """``conv_compute``. ``reads`` = taps * input groups, ``table`` ring rows of a table, ``add`` with a residual.

    Each of ``ceil(groups / T)`` output tiles: T (``conv_parameters``), and for each run of G <= acc_groups pixel
    groups 2 T (``accumulate_first_operands``), ``reads * visits * max(G, 2 T, 4)`` (``accumulate_cycles``; visits = 2
    where weights are not packed), ``G * T * max(TP / E, 1)`` (``finish_cycles``; one word a cycle with a residual).
    Runs overlap (:mod:`hwgen.plan.network`), which this leaves out: it ranks tiles and modes.
    """
    pixels = 1 << mode
    tile = blocks // pixels
    columns = -(-cols // pixels)
    finish = tile * max(pixels // (ADD_WORDS if add else epilogue_words), 1)
    visits = 1 if packed else 2

    def run(size: int) -> int:
        period = max(size, 2 * tile, ACC_DISTANCE)
        return 2 * tile + reads * visits * period + size * finish + 3 * DRAIN

    full, rest = divmod(rows * columns, acc_groups)
    each = tile + DRAIN + full * run(acc_groups) + (run(rest) if rest else 0)
    return -(-groups // tile) * each + table_cycles(table) + DECODE


def depthwise_passes(kernel: tuple[int, int]) -> int:
    """Passes of nine taps over a window."""
    if max(kernel) <= DW_NARROW:
        return 1
    return -(-kernel[0] * DW_KERNEL_MAX // DW_TAPS)


def depthwise_cycles(
    groups: int, rows: int, cols: int, kernel: tuple[int, int], stride: tuple[int, int], table: int
) -> int:
    """``depthwise_compute``. Each group: a cycle a tap (``depthwise_weights``), ``kernel_h * C``
    (``depthwise_first_rows``;
    C = pad accesses of a row of input), ``rows * passes * max(ceil(cols / 4), stride_h * C + 4)``
    (``depthwise_cycles``)."""
    accesses = -(-((cols - 1) * stride[1] + kernel[1]) // READ_PIXELS)
    period = max(-(-cols // DW_PIXELS), stride[0] * accesses + ACC_DISTANCE)
    each = kernel[0] * kernel[1] + kernel[0] * accesses + rows * depthwise_passes(kernel) * period + 3 * DRAIN
    return groups * each + table_cycles(table) + DECODE


def eltwise_cycles(groups: int, rows: int, cols: int, table: int) -> int:
    """``eltwise_cycles``: a word a cycle."""
    return groups * rows * -(-cols // ELTWISE_WORDS) + table_cycles(table) + DRAIN + DECODE


def input_cycles(rows: int, block: int, words: int, width: int, channels: int) -> int:
    """``input_load``: for each output row one burst of ``block`` image rows of ``words`` words
    (``load_input_words``), then ``width`` pixels (``load_input_pixels``). ``channels`` with tables, else 0: 16 lanes,
    32 cycles each."""
    each = block * words + DDR_LATENCY + width + 2 * DRAIN
    tables = LANES + DRAIN + channels * (32 + DRAIN) if channels else 0
    return rows * each + tables + DECODE


def load_cycles(rows: int, ddr_bytes_per_cycle: float) -> int:
    """``load_chunks``: 4 ports of 16 bytes a cycle or what the DDR gives; each 128 rows wait for the DDR and
    drain."""
    rate = min(float(WEIGHT_PORTS * WORD_BYTES), ddr_bytes_per_cycle)
    return int(rows * ROW_BYTES / rate + 0.999) + -(-rows // LOAD_ROWS) * (DDR_LATENCY + DRAIN) + DECODE


def attention_cycles(heads: int, dims: int, pixels: int, quantized: bool) -> int:
    """``attention_compute``, ``dims`` = head_dim / 16. Each head: ``dims^2`` times the first words of K and V and 4
    cycles a pixel (``kv_pixels``), ``16 dims * (4 dims + 1)`` to split KV in digits (``prepare_parts``), ``dims`` times
    the first words of Q and ``4 dims`` cycles a pixel and for the last quotients (``q_digits``). 256 for the tables of
    the quantized mode."""
    kv = dims * dims * (2 + KV_PARTS * pixels + DRAIN)
    split = LANES * dims * (LANES * dims // PREPARED + 1) + DRAIN
    quotient = dims * (dims + (pixels + 1) * PLANES * dims + DRAIN)
    return heads * (kv + split + quotient) + (256 + DRAIN if quantized else 0) + DECODE


def pool_cycles(groups: int, pixels: int) -> int:
    """``compute_pool``: 4 pixels a cycle (``pool_pixels``), then one channel a cycle (``pool_requantize``)."""
    return groups * (-(-pixels // POOL_PIXELS) + LANES + 2 * DRAIN) + DECODE


def linear_cycles(groups: int, ci_groups: int, table: int) -> int:
    """``compute_linear``: 32 weights a cycle, 8 cycles for a 16 x 16 tile (``linear_weights``), then one channel a
    cycle (``linear_finish``)."""
    return groups * (LANES // LINEAR_ROWS * ci_groups + LANES + 1 + 2 * DRAIN) + table_cycles(table) + DECODE


def layer_norm_cycles(groups: int, table: int) -> int:
    """``compute_layer_norm``: a channel a cycle for the sums (``norm_sums``), a bit a cycle for the root and the
    reciprocal, a channel a cycle to normalize (``norm_lanes``)."""
    root = ROOT_BITS + RECIPROCAL_BITS + 2 * DRAIN
    return 2 * (LANES * groups + DRAIN) + root + table_cycles(table) + DECODE


def store_cycles(words: int) -> int:
    """``store_write``: a word a cycle, one burst after the other."""
    return words + DRAIN + DDR_LATENCY + DECODE


# --------------------------------------------------------------------------------------------------------------------
# Resources

Count = Callable[[Config], float]


@dataclass(frozen=True)
class Part:
    """``count(config)`` times one thing in the C++, each ``each`` DSP, BRAM36 or LUT (FF for registers)."""

    engine: str
    source: str
    """Header: what it counts. For a multiplier or a memory ``file: function.variable``, as its pragma names it."""
    where: str
    """``dsp``, ``fabric`` (multiplier in LUTs), ``bram``, ``lutram``, ``logic`` (LUTs), ``register`` (FF)"""
    width: str
    count: Count
    each: Count


def _n(value: float) -> Count:
    return lambda config: value


def multiplier_luts(a: int, b: int) -> float:
    """Assumption: an 8 x 8 product in LUTs takes 75, its addition to a sum included (19 k for 256 of them); other
    widths in proportion to a * b."""
    return 75 * a * b / 64


def lutram_luts(bits: int, depth: int, reads: int = 1) -> float:
    """RAM32M16 holds 32 x 14 bits in 8 LUTs with one read and one write port, RAM64M8 64 x 7 bits."""
    return reads * bits * (8 / 14 if depth <= 32 else 8 / 7 * -(-depth // 64))


def line_depth(config: Config) -> int:
    """DW_LINE_DEPTH."""
    return (config.line_words + 2 * READ_PIXELS - 1) // READ_PIXELS


def bram36(bits: int, depth: int) -> float:
    """BRAM36 as a simple dual-port memory of 512 x 72."""
    return -(-bits // 72) * -(-depth // 512)


INDEX_PRODUCTS = {
    "conv": 10,
    "depthwise": 4,
    "eltwise": 6,
    "attention": 3,
    "mlp": 6,
    "loader": 2,
    "store": 3,
}
"""Products of two sizes (memory.hpp: index_product) by header, each call of an inlined function counted."""


def mux_luts(inputs: int) -> float:
    """LUTs of a multiplexer for one bit: a LUT6 chooses one of four, two with a MUXF7 one of eight."""
    return 0.5 if inputs == 2 else float(max(0, -(-inputs // 4) if inputs > 1 else 0))


def _mul(engine: str, source: str, a: int, b: int, count: Count, dsp: int = 0) -> Part:
    """A multiplier in ``dsp`` DSPs, or in LUTs where that is 0."""
    return Part(engine, source, "dsp" if dsp else "fabric", f"{a}x{b}", count, _n(dsp or multiplier_luts(a, b)))


def _digit_luts(config: Config) -> float:
    """8 bits of 4 planes of (head_dim / 16)^2 places; a LUT chooses one of four, four and MUXF7, F8 one of 16."""
    return 8.0 * (config.head_dim // LANES) ** 2


def _row_luts(config: Config) -> float:
    """32 bits of head_dim channels."""
    return 32 * config.head_dim / 4


def _total(config: Config, *where: str) -> float:
    return sum(p.count(config) * p.each(config) for p in _parts(where))


@lru_cache
def _parts(where: tuple[str, ...]) -> tuple[Part, ...]:
    return tuple(p for p in PARTS if p.where in where)


def _luts(config: Config) -> float:
    return _total(config, "fabric", "logic")


def _operands(config: Config) -> float:
    return 128 * config.blocks


def _requantize_lanes(config: Config) -> float:
    return LANES * (config.epilogue_words + DW_PIXELS)


def _table_bram(config: Config) -> float:
    """4,096 or 256 entries with two read ports: a BRAM36 or a BRAM18."""
    return 1.0 if config.wide_tables else 0.5


def _slots(config: Config) -> float:
    return config.slots


def _slot_words(config: Config) -> float:
    return 16 * config.slots


def _sum_luts(config: Config) -> float:
    """A lane of the words that the epilogue finishes in a cycle: of one of two blocks, each of all array blocks."""
    return config.epilogue_words * 32 * (0.5 + mux_luts(config.blocks))


def _write_luts(config: Config) -> float:
    """Writers of several words: array and depthwise engine."""
    return 128 * (mux_luts(config.epilogue_words) + mux_luts(DW_PIXELS))


PARTS: tuple[Part, ...] = (
    # DSP: two int8 products in one DSP; a requantizer is one 27 x 18 product.
    _mul("conv", "conv.hpp: multiply_accumulate.product", 27, 8, _operands, 1),
    _mul("conv", "arithmetic.hpp: scale.product", 27, 18, lambda c: LANES * c.epilogue_words, 1),
    _mul("depthwise", "arithmetic.hpp: scale.product", 27, 18, _n(LANES * DW_PIXELS), 1),
    _mul("attention", "arithmetic.hpp: scale.product", 27, 18, _n(LANES // PLANES + 1), 1),
    _mul("attention", "attention.hpp: prepare_planes.scaled_sum", 32, 18, _n(PREPARED), 2),
    _mul("attention", "attention.hpp: make_denominator.scaled_down", 41, 32, _n(1), 4),
    _mul("mlp", "arithmetic.hpp: scale.product", 27, 18, _n(2), 1),  # pool, linear
    _mul("mlp", "mlp.hpp: compute_layer_norm.product", 26, 24, _n(1), 2),
    _mul("mlp", "mlp.hpp: compute_layer_norm.weighted", 26, 18, _n(1), 1),
    *(_mul(e, "memory.hpp: index_product.index", 16, 16, _n(n), 1) for e, n in INDEX_PRODUCTS.items()),
    _mul("store", "store.hpp: issue_trace.offset", 28, 16, _n(1), 2),
    # Multipliers in LUTs.
    _mul("conv", "arithmetic.hpp: add_requantize.own", 20, 8, _n(LANES * ADD_WORDS)),
    _mul("conv", "arithmetic.hpp: add_requantize.other", 20, 8, _n(LANES * ADD_WORDS)),
    _mul("eltwise", "arithmetic.hpp: add_requantize.own", 20, 8, _n(LANES * ELTWISE_WORDS)),
    _mul("eltwise", "arithmetic.hpp: add_requantize.other", 20, 8, _n(LANES * ELTWISE_WORDS)),
    _mul("depthwise", "depthwise.hpp: depthwise_compute.product", 8, 8, _n(LANES * DW_PIXELS * DW_TAPS)),
    _mul("depthwise", "depthwise.hpp: depthwise_shape.taps", 3, 3, _n(2)),
    _mul("attention", "attention.hpp: accumulate_kv.product", 9, 9, _n(LANES * LANES // KV_PARTS)),
    _mul("attention", "attention.hpp: prepare_planes.weighted", 32, 9, _n(1)),
    _mul("attention", "attention.hpp: prepare_planes.offset", 28, 8, _n(PREPARED)),
    _mul("attention", "attention.hpp: dot_plane.product", 8, 8, _n(LANES * (LANES + 1))),
    _mul("mlp", "mlp.hpp: compute_linear.product", 8, 8, _n(LANES * LINEAR_ROWS)),
    _mul("mlp", "mlp.hpp: compute_layer_norm.square", 9, 9, _n(1)),
    _mul("mlp", "mlp.hpp: compute_layer_norm.above", 28, 13, _n(1)),
    _mul("mlp", "mlp.hpp: compute_layer_norm.below", 22, 22, _n(1)),
    _mul("mlp", "mlp.hpp: compute_layer_norm.part", 13, 9, _n(1)),
    # BRAM36.
    Part(
        "memory",
        "memory.hpp: activations.pads",
        "bram",
        "128",
        lambda c: c.slots * c.pads * 16,
        lambda c: bram36(128, c.pad_depth),
    ),
    Part(
        "memory",
        "memory.hpp: activations.vectors",
        "bram",
        "128",
        _n(2),
        lambda c: bram36(128, c.slots * c.vector_words),
    ),
    Part("weights", "ring.hpp: weight_ring.ring", "bram", "1024", _n(1), lambda c: bram36(1024, c.ring_rows)),
    Part("weights", "ring.hpp: head_ring.rows", "bram", "1024", _n(1), lambda c: bram36(1024, c.head_rows)),
    Part("conv", "conv.hpp: conv_finish.tables", "bram", "32", lambda c: c.epilogue_words * LANES // 2, _table_bram),
    Part("depthwise", "depthwise.hpp: depthwise_compute.tables", "bram", "32", _n(DW_PIXELS * LANES // 2), _table_bram),
    Part("eltwise", "eltwise.hpp: eltwise_compute.tables", "bram", "32", _n(LANES // 2), _table_bram),
    Part("mlp", "mlp.hpp: mlp_compute.tables", "bram", "32", _n(1), _table_bram),
    Part(
        "loader",
        "loader.hpp: input_load.lines",
        "bram",
        "128",
        _n(2),
        lambda c: 4 * -(-(c.image_row_bytes // 16 + 1) // 1024),  # two reads a cycle: true dual port, 36 bits a BRAM
    ),
    *(
        Part("weights", f"top.cpp: hwgen_top.beats{port}", "bram", "128", _n(1), _n(bram36(128, 256)))
        for port in range(WEIGHT_PORTS)
    ),
    Part("top", "AXI: burst buffers of 5 masters (assumption)", "bram", "128", _n(6), _n(2)),
    # LUT RAM.
    Part(
        "conv",
        "top.cpp: hwgen_top.array_sums",
        "lutram",
        "32",
        lambda c: 2 * c.blocks * LANES,
        lambda c: lutram_luts(32, c.acc_groups),
    ),
    Part(
        "depthwise",
        "depthwise.hpp: depthwise_compute.line",
        "lutram",
        "512",
        _n(DW_LINES * DW_QUADS),
        lambda c: lutram_luts(512, line_depth(c)),
    ),
    *(
        Part(
            "attention",
            f"attention.hpp: attention_compute.tables.{t}",
            "lutram",
            "32",
            _n(n),
            _n(lutram_luts(32, 64, 2)),
        )
        for t, n in (("q", 8), ("k", 8), ("v", 8), ("d", 1))
    ),
    Part("dispatch", "dispatch.hpp: dispatch.issued", "lutram", "128", _n(9), _n(lutram_luts(128, 32))),
    Part("loader", "loader.hpp: input_load.tables", "lutram", "64", _n(LANES), _n(lutram_luts(64, 32))),
    *(
        Part("streams", f"top.cpp: hwgen_top.{e}_words", "lutram", str(128 * n), _n(1), _n(lutram_luts(128 * n, 16)))
        for e, n in (("array", 16), ("depthwise", 16), ("attention", 16), ("mlp", POOL_PIXELS))
    ),
    *(
        Part("streams", f"top.cpp: hwgen_top.{e}_rows", "lutram", "1024", _n(1), _n(lutram_luts(1024, 16)))
        for e in ("array", "depthwise", "eltwise", "attention", "input", "mlp")
    ),
    Part("streams", "top.cpp: hwgen_top.array_passed", "lutram", "1024", _n(1), _n(lutram_luts(1024, 32))),
    # Logic that the arithmetic needs.
    Part("conv", "multiply_accumulate: split, 0 or old, 2 sums", "logic", "32", lambda c: 8 * c.blocks, _n(106)),
    Part("conv", "multiply_accumulate, strided: pixel of a block", "logic", "128", lambda c: c.blocks, _n(256)),
    Part("conv", "pack_row: a pair of weights", "logic", "27", _n(64), _n(27)),
    Part("conv, depthwise", "scale, finish_lane: shift, round, clip", "logic", "48", _requantize_lanes, _n(175)),
    Part("attention, mlp", "scale and shift_round, single lanes", "logic", "64", _n(13), _n(220)),
    Part("conv, eltwise", "add_requantize: shift, round, clip", "logic", "48", _n(LANES * 2), _n(175)),
    Part("depthwise", "tap_pixel: one of up to 8, pixel 0 of 4", "logic", "8", _n(LANES * DW_TAPS), _n(3 * 16 + 8)),
    Part("attention", "divide_round: 9 compare and subtract, clip", "logic", "64", _n(LANES // PLANES), _n(1050)),
    Part("attention", "dot_plane: digit of a column", "logic", "8", _n(LANES * (LANES + 1)), _digit_luts),
    Part("attention", "prepare_planes: row, column of KV", "logic", "32", lambda c: c.head_dim + 1, _row_luts),
    # The memory's network, a bit of each word, and streams of 16 entries or fewer: a LUT a bit.
    Part(
        "memory", "read_slot: pad of a bank, or fill", "logic", "128", _slot_words, lambda c: 128 * mux_luts(c.pads + 1)
    ),
    Part("memory", "rotate: four stages of two", "logic", "128", _slot_words, _n(128 * 2 * mux_luts(4))),
    Part(
        "memory", "read_slot: bank and pad of a residual", "logic", "128", _slots, lambda c: 128 * mux_luts(16 * c.pads)
    ),
    Part("memory", "answer: slot", "logic", "128", _n(3 * 16 + POOL_PIXELS + 4), lambda c: 128 * mux_luts(c.slots)),
    Part("memory", "take_write: word of a bank", "logic", "128", _n(16), _write_luts),
    Part("memory", "choose_write: engine", "logic", "128", _slot_words, _n(128 * mux_luts(6))),
    Part("streams", "instructions: records and commands", "logic", "128", _n(9 + 9 + 9), _n(128)),
    Part("streams", "writes: words and window", "logic", "", _n(1), lambda c: 128.0 * (c.epilogue_words + 8) + 6 * 60),
    Part("streams", "windows, rows to the rings, others", "logic", "", _n(1), _n(11 * 64 + 2 * 1041 + 7 * 128 + 760)),
    Part("dispatch", "step_queue: a wait", "logic", "16", _n(81), _n(48)),
    Part("dispatch", "step_queue: word to send, groups before, offsets", "logic", "", _n(9), _n(256 + 81 + 250)),
    Part("conv", "conv_finish: pixel group of a word, block of sums", "logic", "32", _n(LANES), _sum_luts),
    Part("conv", "conv_finish: parameters of a group", "logic", "55", _n(LANES), lambda c: 55 * mux_luts(c.blocks)),
    Part("conv", "conv_finish: initial value", "logic", "32", lambda c: c.epilogue_words * LANES, _n(32)),
    Part("conv", "conv_compute: block of sums", "logic", "32", lambda c: c.blocks * LANES, _n(32 * 0.5)),
    # Allowances: budgets, not counted from the C++.
    Part("all", "AXI, decoding, loops, head (allowance)", "logic", "", _n(1), _n(15_000)),
    # Registers: arrays that are partitioned completely.
    Part("conv", "accumulate: shadow (active lies in the DSPs' A registers)", "register", "27", _operands, _n(27)),
    Part(
        "conv",
        "conv_finish: init, multiplier, shift",
        "register",
        "55",
        lambda c: LANES * c.blocks,
        _n(55),
    ),
    Part("depthwise", "depthwise_compute: window, weights", "register", "8", _n(LANES * (5 * 12 + 27)), _n(8)),
    Part("depthwise", "depthwise_compute: acc", "register", "32", _n(LANES * DW_PIXELS), _n(32)),
    Part("attention", "accumulate_kv: words of 16 pixels", "register", "128", _n(4 * 16), _n(128)),
    Part("attention", "accumulate_kv: tile, extra", "register", "32", _n(LANES * (LANES + 1)), _n(32)),
    Part("attention", "multiply_q: words of 16 pixels", "register", "128", lambda c: 2 * c.head_dim, _n(128)),
    Part(
        "attention", "attention_compute: kv, planes", "register", "64", lambda c: c.head_dim * (c.head_dim + 1), _n(64)
    ),
    Part("dispatch", "step_queue: record, groups before", "register", "128", _n(9), _n(8 * 128 + 9 * 16)),
    Part("all", "pipelines: 0.7 a LUT of arithmetic (assumption)", "register", "", _luts, _n(0.7)),
)
"""Everything that is counted. A test compares the multipliers and memories with the pragmas of the C++."""


RESOURCES = {"dsp": ("dsp",), "bram36": ("bram",), "lut": ("fabric", "logic", "lutram"), "ff": ("register",)}
"""Where the parts lie of which a resource is the sum."""


def resource(config: Config, name: str) -> int:
    """Estimated DSP, BRAM36, LUT or FF of the machine: the sum of its :data:`PARTS`."""
    return round(_total(config, *RESOURCES[name]))


def resources(config: Config) -> dict[str, int]:
    """All of them."""
    return {name: resource(config, name) for name in RESOURCES}


def _has(config: Config, queue: Queue) -> bool:
    """Whether the machine in SystemVerilog has the engine of a queue."""
    return bool(config.engines >> queue & 1)


def rtl_resources(config: Config) -> dict[str, int]:
    """Estimated DSP, BRAM36 and LUT of the machine in SystemVerilog: what templates/rtl has, in LUTs that ``hwgen
    count`` gave for each part of a machine of 16 blocks and 2 slots; pads from a count of 3 slots of 2."""
    dsp = 128 * config.blocks + LANES * config.requantize_words + 3
    dsp += (LANES * DW_PIXELS + 1) * _has(config, Queue.DEPTHWISE) + 4 * _has(config, Queue.ATTENTION)
    dsp += (2 + 8 * config.mlp_outputs) * _has(config, Queue.MLP)
    lut = RTL_LUT["rest"] + RTL_LUT["array"] + config.blocks * RTL_LUT["block"]
    lut += config.requantize_words * RTL_LUT["requantize word"] + config.residual_words * RTL_LUT["residual word"]
    lut += config.slots * (RTL_LUT["slot"] + config.pads * RTL_LUT["pad"])
    lut += config.mlp_outputs * RTL_LUT["MLP output"] * _has(config, Queue.MLP)
    optional = Queue.DEPTHWISE, Queue.ELTWISE, Queue.ATTENTION, Queue.MLP
    lut += sum(RTL_LUT[queue.name] for queue in optional if _has(config, queue))
    return {"dsp": dsp, "bram36": rtl_bram36(config), "lut": lut}


RTL_LUT = {
    "rest": 22_100,
    "array": 2_400,
    "block": 1_740,
    "requantize word": 3_400,
    "residual word": 3_800,
    "slot": 8_200,
    "pad": 1_050,
    "MLP output": 110,
    "DEPTHWISE": 50_200,
    "ELTWISE": 14_100,
    "ATTENTION": 28_800,
    "MLP": 5_300,
}
"""LUTs of the parts of the SystemVerilog: those of B1's machine, and what one more block, word, slot or output adds.
"requantize word" is a quarter of the step from 4 to 8 words, pads included; "array" makes the sum that of the count.
More than 3 pads, larger heads and wide tables cost more than this says."""


def rtl_bram36(config: Config) -> int:
    """Estimated BRAM36 of the machine in SystemVerilog: what templates/rtl keeps in block RAM (``pad_slot``,
    ``weight_ring``, ``vector_memory``, ``code_table``, ``input_loader``), with the pads and vectors of all slots."""
    pads = config.slots * config.pads * 16 * bram36(128, config.pad_depth)
    rings = 4 * (bram36(256, config.ring_rows) + bram36(256, config.head_rows))
    vectors = 2 * bram36(128, config.slots * config.vector_words)  # a copy for each of two readers
    words = {Queue.ARRAY: config.requantize_words, Queue.DEPTHWISE: DW_PIXELS, Queue.ELTWISE: config.residual_words}
    lanes = sum(LANES * n for queue, n in words.items() if _has(config, queue))
    tables = lanes // 2 + _has(config, Queue.MLP)  # two lanes share a table
    image = 2 * bram36(128, 512)
    return round(pads + rings + vectors + tables + image)
