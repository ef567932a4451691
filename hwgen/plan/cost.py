# SPDX-License-Identifier: Apache-2.0
"""Analytic model of cycles and resources. Everything here is *estimated*; nothing was measured on a tool.

Cycles count one instruction after the other (format version 1 has no overlap) and follow the loops of the HLS machine,
with an initiation interval of one. T = output groups of a tile, TP = pixels of a pixel group, ci = input groups, taps =
window size, P = pixels of a channel group, E = words that the epilogue finishes in a cycle. docs/plan.md repeats the
formulas with their sources.
"""

from __future__ import annotations

from functools import lru_cache

from hwgen.plan.program import LANES, ROW_BYTES, WEIGHT_PORTS, WORD_BYTES, Config

DECODE = 40
"""Cycles to fetch and decode an instruction."""
DRAIN = 24
"""Cycles to fill and drain one pipelined loop."""
DDR_LATENCY = 60
"""Cycles from a request to the first beat."""
LOAD_ROWS = 128
"""Ring rows that LOAD_WEIGHTS requests at once."""
ACC_DISTANCE = 4
"""Least cycles between two updates of an accumulator."""
DEPTHWISE_PIXELS = 4
DEPTHWISE_TAPS = 9
"""Taps the depthwise engine does in one pass."""
READ_PIXELS = 16
"""Pixels the depthwise and pooling engines read in a cycle."""
TABLE_CYCLES = 32
"""Cycles to copy one ring row of a table, four entries a cycle."""


def epilogue_words(blocks: int) -> int:
    """E: words requantized in a cycle."""
    return 8 if blocks >= 8 else 4


@lru_cache(maxsize=1 << 16)
def conv_cycles(
    blocks: int, acc_groups: int, mode: int, packed: bool, reads: int, groups: int, rows: int, cols: int, table: int
) -> int:
    """CONV. ``reads`` = taps * ci, ``table`` ring rows of a table. Each of ``ceil(groups / T)`` output tiles takes
    T cycles for parameters, and for each run of G <= acc_groups pixel groups ``2 T + reads * visits * max(G, 2 T, 4)``
    (visits = 2 where weights are not packed; the next weights, 2 T ring rows, load meanwhile), ``G * T * max(TP / E,
    1)`` for the epilogue, and two pipelines to drain.
    """
    pixels = 1 << mode
    tile = blocks // pixels
    pixel_groups = rows * -(-cols // pixels)
    visits = 1 if packed else 2
    finish = tile * max(pixels // epilogue_words(blocks), 1)

    def run(size: int) -> int:
        period = max(size, 2 * tile, ACC_DISTANCE)
        return 2 * tile + reads * visits * period + size * finish + 2 * DRAIN

    full, rest = divmod(pixel_groups, acc_groups)
    each = tile + full * run(acc_groups) + (run(rest) if rest else 0)
    return -(-groups // tile) * each + table * TABLE_CYCLES + DECODE


def depthwise_cycles(
    groups: int, rows: int, cols: int, kernel: tuple[int, int], stride: tuple[int, int], table: int
) -> int:
    """DEPTHWISE. Each group: 5 for weights, ``kernel_h * C`` to fill the lines (C = pad accesses of a row of input),
    then ``rows * ceil(taps / 9) * max(ceil(cols / 4), stride_h * C + 4)``."""
    passes = -(-kernel[0] * kernel[1] // DEPTHWISE_TAPS)
    accesses = -(-((cols - 1) * stride[1] + kernel[1]) // READ_PIXELS)
    period = max(-(-cols // DEPTHWISE_PIXELS), stride[0] * accesses + ACC_DISTANCE)
    each = 5 + kernel[0] * accesses + rows * passes * period + 2 * DRAIN
    return groups * each + table * TABLE_CYCLES + DECODE


def eltwise_cycles(blocks: int, groups: int, rows: int, cols: int, table: int) -> int:
    """ELTWISE: E words a cycle."""
    return groups * rows * -(-cols // epilogue_words(blocks)) + table * TABLE_CYCLES + DRAIN + DECODE


def input_cycles(rows: int, words: int, width: int, tables: int) -> int:
    """LOAD_INPUT: for each output row ``words`` cycles to read and ``width`` to write; 16 cycles a row of tables."""
    return rows * (words + width + DDR_LATENCY + DRAIN) + tables * 16 + DECODE


def load_cycles(rows: int, ddr_bytes_per_cycle: float) -> int:
    """LOAD_WEIGHTS: 4 ports of 16 bytes a cycle or what the DDR gives, and the latency of every 128 rows."""
    rate = min(float(WEIGHT_PORTS * WORD_BYTES), ddr_bytes_per_cycle)
    return int(rows * ROW_BYTES / rate + 0.999) + -(-rows // LOAD_ROWS) * DDR_LATENCY + DECODE


def attention_cycles(heads: int, dims: int, pixels: int, quantized: bool) -> int:
    """ATTENTION, ``dims`` = head_dim / 16. Each head: ``dims^2 * P`` for K^T V, ``16 dims * (4 dims + 1)`` to split
    it in digit planes, ``dims * P`` for Q (K^T V) and the division; 256 for tables where every edge is quantized."""
    kv = dims * dims * (pixels + DRAIN)
    split = LANES * dims * (4 * dims + 1) + DRAIN
    quotient = dims * (pixels + 2 * DRAIN)
    return heads * (kv + split + quotient) + (256 if quantized else 0) + DECODE


def pool_cycles(groups: int, pixels: int) -> int:
    """POOL: 16 pixels a cycle."""
    return groups * (-(-pixels // READ_PIXELS) + DRAIN) + DECODE


def linear_cycles(groups: int, ci_groups: int, table: int) -> int:
    """LINEAR: 32 weights a cycle, 8 cycles for a 16 x 16 tile."""
    return groups * (8 * ci_groups + 1 + DRAIN) + table * TABLE_CYCLES + DECODE


def layer_norm_cycles(groups: int, table: int) -> int:
    """LAYER_NORM: a word a cycle for the sums, 60 for root and reciprocal, 4 a word to normalize."""
    return 5 * groups + 60 + 2 * DRAIN + table * TABLE_CYCLES + DECODE


def store_cycles(words: int) -> int:
    """STORE: one word a cycle."""
    return words + DDR_LATENCY + DECODE


def resources(config: Config) -> dict[str, int]:
    """Estimated DSP, BRAM36, LUT and FF of the machine.

    * DSP: 128 a block (16 x 16 MACs, two in a DSP); 16 E for the requantizers, which the engines share because they run
      one after the other; MLP engine 16 (32 MACs, two in a DSP); 8 for LayerNorm and pooling.
    * BRAM36: a pad is 16 banks of 128 bit = 2 * ceil(depth / 512) each; the ring 1,024 bit = 15 * ceil(rows / 512);
      tables of 4,096 entries, one BRAM for two lanes = 8 E; line buffers are LUTRAM up to 64 accesses, above it
      8 lines x 4 x 8; 20 for AXI bursts and weight streams.
    * LUT: accumulators and separation 25 k and pad multiplexers 18 k (8 pads) at 16 blocks, requantizers 220 a lane,
      depthwise multipliers 47 k, K^T V 19 k, dividers 6 k, the rest 15 k, and 500 a block; LUTRAM line buffers 7 k.
    * FF: 1.3 a LUT.
    """
    blocks, words = config.blocks, epilogue_words(config.blocks)
    accesses = -(-config.line_words // READ_PIXELS) + 1
    in_lutram = accesses <= 64
    bram = config.pads * 16 * 2 * -(-config.pad_depth // 512)
    bram += 15 * -(-config.ring_rows // 512) + words * LANES // 2 + 20
    bram += 0 if in_lutram else 8 * 4 * 8 * -(-accesses // 512)
    lut = 25_000 * blocks // 16 + 220 * words * LANES + 18_000 * config.pads // 8
    lut += 47_000 + 19_000 + 6_000 + 15_000 + 500 * blocks + (7_000 if in_lutram else 2_000)
    return {"dsp": 128 * blocks + 16 * words + 24, "bram36": bram, "lut": lut, "ff": lut * 13 // 10}
