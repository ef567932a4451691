# SPDX-License-Identifier: Apache-2.0
"""Search for the machine and the schedule: array size, epilogue, pads, ring, segments, row tiles, array modes.

The board's limits bound the machines. For each one, a shortest path over the kernels picks the segments: kernels run
one by one where memory allows, and in row tiles where not. The greedy allocator has the last word; when it fails, the
path is searched again with less memory. Memories that are within 3 % of the fewest estimated cycles of the C++, arrays,
frames in flight and epilogues are compared by the cycle model of the SystemVerilog.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

from hwgen import ir
from hwgen.errors import FitError, Problem
from hwgen.kernels.linear_attention import DIVIDE_BITS_MIN, SUM_BITS_MIN, divide_bits, sum_bits
from hwgen.plan import cost, layout
from hwgen.plan.allocate import Place, place
from hwgen.plan.assemble import lives, vector_lives
from hwgen.plan.kernel import HEAD, Kernel, vectors
from hwgen.plan.lower import Draft, Lowered, Rectangles, Shapes, Work, cut_rows, draft, lower, modes, tile_rows, work
from hwgen.plan.program import BANKS, LANES, ROW_BYTES, VECTOR, WORD_BYTES, Config, Queue
from hwgen.plan.schedule import Segment, Tiling, last_readers, play

BLOCKS = (16, 8, 4)
SLOTS = (3, 2, 1)
EPILOGUES = (8, 4)
PADS = (8, 6, 5, 4, 3, 2)
DEPTHS = (512, 1024, 1536, 2048, 3072, 4096, 6144, 8192)
RINGS = (512, 1024, 2048, 4096, 8192)
VECTOR_WORDS = 64
HEAD_ROWS = 512
"""Least sizes: they cost no more BRAM than smaller ones."""
WIDE_ROWS = 4096 // ROW_BYTES
MLP_OUTPUTS = (8, 4, 2)
OPTIONAL_ENGINES = {
    Queue.DEPTHWISE: ("depthwise",),
    Queue.ELTWISE: ("eltwise",),
    Queue.ATTENTION: ("attention",),
    Queue.MLP: HEAD,
}
"""Engines that a machine may lack, and the kinds of kernels that need them."""
RING_AHEAD, RING_STEP = 10_240, 512
"""Rows of the ring from which more would not help the SystemVerilog to load ahead, and the steps to try below."""
SEGMENT_MAX = 14
"""Kernels of a tiled segment."""
TOLERANCE = 1.01
"""Machines within 1 % of the fewest cycles count as equally fast."""
NEAR = 1.03
"""Memories within 3 % of the fewest cycles of the C++ are compared by the cycle model of the SystemVerilog."""
MEMORY_SHARES = (1.0, 0.9, 0.8, 0.65, 0.5)
"""Shares of the pads that the path may fill; the smaller ones leave slack to a greedy allocator that failed."""
WORD_ROW_BYTES = BANKS * WORD_BYTES

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """Parameters that a caller fixes instead of searching them; for tests and for later, calibrated searches."""

    blocks: int | None = None
    acc_groups: int = 32
    pads: int | None = None
    pad_depth: int | None = None
    ring_rows: int | None = None
    segments: tuple[Segment, ...] | None = None
    """The whole schedule."""
    epilogue_words: int | None = None
    requantize_words: int | None = None
    slots: int | None = None
    head_rows: int | None = None
    vector_words: int | None = None


@dataclass(frozen=True)
class Design:
    """A machine and a schedule that fit."""

    config: Config
    lowered: tuple[Lowered, ...]
    places: dict[str, Place]
    cycles: int
    resources: dict[str, int]
    machines: int = 1
    """Machines that the search looked at."""


def base_config(kernels: Sequence[Kernel], output: str, options: Options) -> Config:
    """The parameters that follow from the model alone."""
    line = vector = image = WORD_BYTES
    head, bits, divide, quantized = 16, SUM_BITS_MIN, DIVIDE_BITS_MIN, False
    part = max((tile_rows(k, 1) + k.table for k in kernels if k.head), default=1)
    words = VECTOR_WORDS
    while place(vector_lives(kernels, output), 1, words) is None:
        words *= 2
    for k in kernels:
        if k.kind == "depthwise":
            step = 4 * k.stride[1]
            line = max(line, -(-(k.x_shape[2] + k.pads[1] + k.pads[3]) // step) * step)
        if k.kind in ("linear", "layer_norm"):
            vector = max(vector, k.x_shape[0], k.shape[0])
        if isinstance(k.op, ir.Input):
            image = k.op.image[0] * k.op.image[2]
        if isinstance(k.op, ir.Attention):
            head = max(head, k.op.head_dim)
            bits = max(bits, sum_bits(k.op, k.x_zero, k.height * k.width))
            divide = max(divide, divide_bits(k.op, k.x_zero, k.height * k.width))
            quantized |= k.op.quantized is not None
    up = [-(-v // 16) * 16 for v in (line, vector, image)]
    shifts = [s for k in kernels if isinstance(k.op, ir.Conv) for s in k.op.requant.shift.tolist()]
    adds = [k.op.add.shift for k in kernels if isinstance(k.op, ir.Conv | ir.Eltwise) and k.op.add is not None]
    adds += [0 for k in kernels if isinstance(k.op, ir.Eltwise) and k.op.add is None]  # the adder passes codes
    kinds = {k.kind for k in kernels}
    unused = [queue for queue, users in OPTIONAL_ENGINES.items() if not kinds & set(users)]
    return Config(
        line_words=up[0],
        mlp_channels=up[1],
        image_row_bytes=up[2],
        head_dim=head,
        attention_bits=bits,
        attention_divide_bits=divide,
        attention_quantized=int(quantized),
        acc_groups=options.acc_groups,
        vector_words=options.vector_words or words,
        head_rows=options.head_rows or max(HEAD_ROWS, 1 << (2 * part - 1).bit_length()),
        wide_tables=int(any(k.table == WIDE_ROWS for k in kernels if k.kind != "input")),
        shift_low=min(shifts, default=0),
        shift_high=max(shifts, default=0),
        add_shift_low=min(adds, default=0),
        add_shift_high=max(adds, default=0),
        engines=Config.engines & ~sum(1 << queue for queue in unused),
    )


Memory = tuple[int, int]
"""Word rows that the pads may fill, and those of one pad."""


class _Planner:
    """Everything that does not change with the machine, and caches of what changes little."""

    def __init__(self, kernels: Sequence[Kernel], output: str, ddr_rate: float) -> None:
        self.kernels = kernels
        self.output = output
        self.ddr_rate = ddr_rate
        self.last = last_readers(kernels, output)
        self.vectors = vectors(kernels)
        self.vector_lives = vector_lives(kernels, output)
        self.heights = {k.y: k.height for k in kernels}
        self.whole = {k.y: self.size(k, k.height) for k in kernels}
        self.across = [
            sum(self.whole[k.y] for k in kernels[:start] if self.last[k.y] >= start) for start in range(len(kernels))
        ]
        self.largest_across = [
            max((self.whole[k.y] for k in kernels[:start] if self.last[k.y] >= start), default=0)
            for start in range(len(kernels))
        ]
        self._plays: dict[Segment, tuple[Tiling, int, int]] = {}
        self._rectangles: dict[Segment, Rectangles] = {}
        self._works: dict[tuple[int, Shapes, tuple[int, ...]], Work | None] = {}
        self._drafts: dict[tuple[Segment, tuple[int, ...]], Draft | None] = {}
        self._lowered: dict[tuple[Segment, tuple[int, ...]], Lowered] = {}
        self._alone: dict[Memory, list[bool]] = {}
        self._candidates: dict[tuple[int, Memory], list[Segment]] = {}

    def size(self, kernel: Kernel, ring: int) -> int:
        """Word rows of the pads."""
        return 0 if kernel.y in self.vectors else kernel.groups * layout.plane_rows(ring, kernel.width)

    def play(self, segment: Segment) -> tuple[Tiling, int, int]:
        """The played segment, word rows that live in it, and the largest tensor of these."""
        if segment not in self._plays:
            tiling = play(self.kernels, segment, self.last)
            sizes = [self.size(k, tiling.rings[k.y]) for k in self.kernels[segment.start : segment.end]]
            total = sum(sizes) + self.across[segment.start]
            self._plays[segment] = tiling, total, max(*sizes, self.largest_across[segment.start])
        return self._plays[segment]

    def draft(self, segment: Segment, config: Config) -> Draft | None:
        """None where a kernel's constants cannot pass through the ring."""
        key = segment, _relevant(config)
        if key not in self._drafts:
            if segment not in self._rectangles:
                self._rectangles[segment] = cut_rows(self.kernels, self.play(segment)[0], self.heights)
            rectangles = self._rectangles[segment]
            found = {index: self.work(index, shapes, config) for index, shapes in rectangles.shapes.items()}
            works = {index: one for index, one in found.items() if one is not None}
            whole = len(works) == len(found)
            self._drafts[key] = draft(rectangles, works, config.ring_rows) if whole else None
        return self._drafts[key]

    def work(self, index: int, shapes: Shapes, config: Config) -> Work | None:
        """Of a kernel in all segments that cut it in the same shapes."""
        key = index, shapes, _relevant(config)
        if key not in self._works:
            self._works[key] = work(self.kernels[index], shapes, config, self.ddr_rate)
        return self._works[key]

    def lower(self, segment: Segment, config: Config) -> Lowered | None:
        key = segment, _relevant(config)
        if key not in self._lowered:
            drafted = self.draft(segment, config)
            if drafted is None:
                return None
            self._lowered[key] = lower(self.kernels, drafted, config, self.ddr_rate)
        return self._lowered[key]

    def fits(self, segment: Segment, memory: Memory) -> bool:
        _, words, largest = self.play(segment)
        return words <= memory[0] and largest <= memory[1]

    def single(self, index: int) -> Segment:
        return Segment(index, index + 1, self.kernels[index].height)

    def path(self, config: Config, share: float) -> tuple[list[Segment] | None, int]:
        """Segments with the fewest cycles in this memory; also the furthest kernel that a path reaches."""
        count = len(self.kernels)
        memory = int(config.pads * config.pad_depth * share), config.pad_depth
        best: list[tuple[int, Segment | None] | None] = [None] * (count + 1)  # cycles so far, last segment
        best[0] = 0, None
        reached = 0
        for start in range(count):
            here = best[start]
            if here is None:
                continue
            reached = start
            for segment in self.candidates(start, memory):
                drafted = self.draft(segment, config)
                if drafted is None:
                    continue
                new = here[0] + drafted.cycles
                old = best[segment.end]
                if old is None or new < old[0]:
                    best[segment.end] = new, segment
        if best[count] is None:
            return None, reached
        chain: list[Segment] = []
        at = count
        while at > 0:
            step = best[at]
            assert step is not None and step[1] is not None
            chain.append(step[1])
            at = step[1].start
        return chain[::-1], count

    def candidates(self, start: int, memory: Memory) -> list[Segment]:
        """Segments from ``start`` that fit: the kernel alone; tiled ones only around a kernel that does not fit alone,
        each with the largest tile that fits (fewer steps are fewer cycles)."""
        key = start, memory
        if key not in self._candidates:
            if memory not in self._alone:
                self._alone[memory] = [self.fits(self.single(i), memory) for i in range(len(self.kernels))]
            self._candidates[key] = list(self._find_candidates(start, self._alone[memory], memory))
        return self._candidates[key]

    def _find_candidates(self, start: int, alone: Sequence[bool], memory: Memory) -> Iterator[Segment]:
        if alone[start]:
            yield self.single(start)
        for end in range(start + 1, min(start + SEGMENT_MAX, len(alone)) + 1):
            if not self.kernels[end - 1].tileable:
                break
            if all(alone[start:end]) or end == start + 1:
                continue
            for rows in tile_heights(self.kernels[end - 1].height):
                segment = Segment(start, end, rows)
                if self.fits(segment, memory):
                    yield segment
                    break

    def design(self, config: Config, segments: Sequence[Segment] | None) -> tuple[Design | None, int]:
        """A design for this machine, or None and the kernel where it fails."""
        reached = 0
        for share in MEMORY_SHARES:
            chosen = segments
            if chosen is None:
                chosen, reached = self.path(config, share)
            if chosen is None:
                break
            lowered = [s for s in (self.lower(segment, config) for segment in chosen) if s is not None]
            if len(lowered) < len(chosen):
                break
            places = place(lives(self.kernels, lowered, self.output), config.pads, config.pad_depth)
            words = place(self.vector_lives, 1, config.vector_words)
            if places is not None and words is not None:
                places |= {name: (VECTOR, base) for name, (_, base) in words.items()}
                cycles = sum(s.cycles for s in lowered) + cost.store_cycles(self._output_words())
                return Design(config, tuple(lowered), places, cycles, cost.resources(config)), reached
            if segments is not None:
                break
        return None, reached

    def _output_words(self) -> int:
        end = next(k for k in self.kernels if k.y == self.output)
        return end.groups * end.height * end.width


def tile_heights(height: int) -> list[int]:
    """Rows a step to try, from large to small."""
    sizes = {-(-height // parts) for parts in (2, 3, 4, 6, 8, 12, 16, 24, 32)} | {4, 3, 2, 1}
    return sorted((s for s in sizes if s < height or height == 1), reverse=True)


def machines(base: Config, options: Options, limits: dict[str, int], blocks: int, slots: int) -> list[Config]:
    """Every machine with this array and these frames in flight that the limits allow, the fewest BRAM36 first; each
    with the widest MLP engine and the widest epilogue of the C++ that fit."""
    result = []
    for words, ring, pads, depth in product(
        [options.requantize_words] if options.requantize_words else EPILOGUES,
        [options.ring_rows] if options.ring_rows else RINGS,
        [options.pads] if options.pads else PADS,
        [options.pad_depth] if options.pad_depth else DEPTHS,
    ):
        sizes = {"requantize_words": words, "pads": pads, "pad_depth": depth, "ring_rows": ring}
        for outputs, epilogue in product(
            MLP_OUTPUTS, [options.epilogue_words] if options.epilogue_words else EPILOGUES
        ):
            config = replace(base, blocks=blocks, slots=slots, mlp_outputs=outputs, epilogue_words=epilogue, **sizes)
            used = needed(config)
            widened = epilogue > min(EPILOGUES) and not options.epilogue_words
            if _inside(used, limits) and not (widened and cost.resource(config, "lut") > limits["lut"]):
                result.append((used["bram36"], *_size(config), config))
                break
    return [config for *_, config in sorted(result, key=lambda entry: entry[:-1])]


def needed(config: Config) -> dict[str, int]:
    """What a machine takes of the board, estimated: DSP and BRAM36 of the larger form, LUT of the SystemVerilog.

    The LUTs of the C++ are no reason to refuse a machine: they are a budget that no tool has confirmed, and
    ``hwgen count`` has confirmed those of the SystemVerilog.
    """
    rtl = cost.rtl_resources(config)
    return {name: max(cost.resource(config, name), rtl[name]) for name in ("dsp", "bram36")} | {"lut": rtl["lut"]}


def _inside(used: dict[str, int], limits: dict[str, int]) -> bool:
    return all(count <= limits[name] for name, count in used.items())


def _relevant(config: Config) -> tuple[int, ...]:
    """What of a machine the weights and cycles of a segment depend on."""
    return config.blocks, config.epilogue_words, config.requantize_words, config.acc_groups, config.ring_rows


def _size(config: Config) -> tuple[int, int, int, int]:
    return config.pads, config.pad_depth, config.ring_rows, config.requantize_words


def search(
    kernels: Sequence[Kernel],
    output: str,
    limits: dict[str, int],
    ddr_rate: float,
    options: Options,
    interval: Callable[[Design], float],
    target: float | None = None,
    progress: Progress | None = None,
) -> Design:
    """The best design within ``limits`` (counts of dsp, bram36, lut, ff). Raises FitError when there is none.

    ``interval`` gives a design's cycles a frame in the SystemVerilog. With ``target``, such cycles, the smallest design
    that needs no more; else the fastest with the largest array that fits, and where only one frame in flight fits
    beside it, with the next smaller ones, too.
    """
    base = base_config(kernels, output, options)
    planner = _Planner(kernels, output, ddr_rate)
    arrays = [options.blocks] if options.blocks else list(BLOCKS)
    flights = [options.slots] if options.slots else list(SLOTS)
    shapes = [
        shape for shape in product(arrays, flights) if all(k.kind != "conv" or modes(k, shape[0]) for k in kernels)
    ]
    problems: list[Problem] = []
    best: tuple[float, Design] | None = None
    looked, overlap = 0, flights[0] == 1
    for shape in shapes if target is None else reversed(shapes):
        candidates = machines(base, options, limits, *shape)
        for words in sorted({config.requantize_words for config in candidates}):
            mine = [config for config in candidates if config.requantize_words == words]
            designs, tried = _memories(planner, mine, options, progress)
            looked += tried
            small = target is not None
            for variant in (v for d in designs for v in _rings(planner, d, limits, options, smallest=small)):
                cycles = interval(variant)
                if progress is not None:
                    progress(f"{_machine(variant.config)}: {round(cycles):,} cycles a frame")
                if best is None or cycles * TOLERANCE < best[0]:
                    best = cycles, variant
                if target is not None and cycles <= target:
                    return replace(variant, machines=looked)
            overlap |= bool(designs) and shape[1] > 1
        more = shape[1] > 2 and shape[1] != flights[-1]  # three frames in flight leave less memory to each than two
        if best is not None and target is None and not more and (overlap or shape == shapes[-1]):
            return replace(best[1], machines=looked)
        if candidates and not problems and shape[1] == flights[-1]:
            problems = _why_not(planner, candidates, limits, options)
    if target is not None and best is not None:
        reason = (
            f"the fastest machine needs {round(best[0]):,} cycles a frame (modelled), {best[0] / target:.1f} times the "
            f"target's {int(target):,}"
        )
        slow = Problem("machine", "", reason, "Give a lower --target-fps, a higher --clock, or a larger board")
        raise FitError("The model does not reach the target on this board:", [slow])
    raise FitError("The model does not fit the board:", problems or _no_machine(base, options, limits, kernels))


def _memories(
    planner: _Planner, candidates: Sequence[Config], options: Options, progress: Progress | None
) -> tuple[list[Design], int]:
    """Of machines that differ in their memories, smallest first, those with nearly the fewest cycles of the C++: for
    each number and depth of pads the one with the fewest BRAM. Also how many were looked at."""
    found: list[Design] = []
    dead: list[Config] = []  # machines without a design, or slow: smaller ones are no better
    fewest = looked = 0
    for config in reversed(candidates):
        if any(_within(config, d) for d in dead):
            continue
        looked += 1
        design, _ = planner.design(config, options.segments)
        if design is None:
            dead.append(config)
            continue
        fewest = min(fewest or design.cycles, design.cycles)
        if design.cycles > fewest * NEAR:
            dead.append(config)
        found.append(design)
        if progress is not None:
            progress(_machine(config))
    near = [d for d in found if d.cycles <= fewest * NEAR]
    near.sort(key=lambda d: (needed(d.config)["bram36"], d.cycles, d.config.pads, d.config.pad_depth))
    first: dict[tuple[int, int], Design] = {}
    for design in near:
        first.setdefault((design.config.pads, design.config.pad_depth), design)
    return list(first.values()), looked


def _machine(config: Config) -> str:
    return f"{config.blocks} blocks, {config.slots} x {config.pads} pads x {config.pad_depth}"


def _rings(
    planner: _Planner, design: Design, limits: dict[str, int], options: Options, smallest: bool
) -> Iterator[Design]:
    """The design with a larger ring; before that, with ``smallest``, as it is."""
    larger = _load_ahead(planner, design, limits, options)
    if smallest or larger is design:
        yield design
    if larger is not design:
        yield larger


def _load_ahead(planner: _Planner, best: Design, limits: dict[str, int], options: Options) -> Design:
    """The same machine with a larger ring, where the limits leave room: weights can then be loaded further ahead. Not
    larger than all weights of a frame."""
    rows = sum(a.rows for s in best.lowered for a in (s.weights[a.kernel].chunks[a.chunk] for a in s.actions if a.load))
    for ring in () if options.ring_rows else range(RING_AHEAD, best.config.ring_rows, -RING_STEP):
        config = replace(best.config, ring_rows=ring)
        if ring < 2 * rows and _inside(needed(config), limits):
            design, _ = planner.design(config, options.segments)
            if design is not None and design.cycles <= best.cycles:
                return design
    return best


def _within(small: Config, large: Config) -> bool:
    """``small`` has no more of any memory than ``large``, and no wider an epilogue."""
    return all(a <= b for a, b in zip(_size(small), _size(large), strict=True))


def _no_machine(base: Config, options: Options, limits: dict[str, int], kernels: Sequence[Kernel]) -> list[Problem]:
    """Not even the smallest machine fits: what it lacks."""
    arrays = [options.blocks] if options.blocks else list(BLOCKS)
    able = [b for b in arrays if all(modes(k, b) for k in kernels if k.kind == "conv")]
    if not able:
        stuck = next(k for k in kernels if k.kind == "conv" and not modes(k, arrays[-1]))
        return [
            Problem(
                stuck.op.name,
                stuck.kind,
                f"stride {stuck.stride[1]} in groups of {stuck.og_per_group * 16} channels has no mapping on the array",
                "Use a stride of at most 4, or dense convolutions",
            )
        ]
    smallest = replace(
        base,
        blocks=able[-1],
        slots=options.slots or SLOTS[-1],
        epilogue_words=options.epilogue_words or EPILOGUES[-1],
        requantize_words=options.requantize_words or EPILOGUES[-1],
        mlp_outputs=MLP_OUTPUTS[-1],
        pads=options.pads or PADS[-1],
        pad_depth=options.pad_depth or DEPTHS[0],
        ring_rows=options.ring_rows or RINGS[0],
    )
    used = needed(smallest)
    return [
        Problem(
            "machine",
            "",
            f"the smallest machine needs {used[name]:,} {name.upper()} (estimated), the limit is {limits[name]:,}",
            "Use a larger board",
        )
        for name in used
        if used[name] > limits[name]
    ]


def _why_not(
    planner: _Planner, candidates: Sequence[Config], limits: dict[str, int], options: Options
) -> list[Problem]:
    """What does not fit, for the machine with the most pad memory, or whose ring is largest."""
    kernels = planner.kernels
    ring = max(c.ring_rows for c in candidates)
    problems = _head_problems(planner, candidates[0])
    for k in kernels:
        tile = (
            min((candidates[0].blocks >> m for m in modes(k, candidates[0].blocks)), default=1)
            if k.kind == "conv"
            else 1
        )
        need = tile_rows(k, tile) + k.table
        if need > ring and not k.head:
            problems.append(
                Problem(
                    k.op.name,
                    k.kind,
                    f"the weights of one output tile need {need * ROW_BYTES:,} bytes of the weight ring (BRAM36), "
                    f"the limit is {ring * ROW_BYTES:,}",
                    "Use fewer input channels or a smaller window, or a larger board",
                )
            )
    if problems:
        return problems
    roomy = max(candidates, key=lambda c: (c.pads * c.pad_depth, c.pad_depth, c.ring_rows))
    total = roomy.pads * roomy.pad_depth
    for k in kernels:
        need, largest = _least(planner, k.index)
        deepest = max(c.pad_depth for c in candidates)
        if need > total or largest > deepest:
            what, amount, limit = ("", need, total) if need > total else (" in one pad", largest, deepest)
            problems.append(
                Problem(
                    k.op.name,
                    k.kind,
                    f"its activations need {amount * WORD_ROW_BYTES // 1024:,} KiB of on-chip memory{what}, even in "
                    f"tiles of one row; {limit * WORD_ROW_BYTES // 1024:,} KiB fit the limit of {limits['bram36']:,} "
                    f"BRAM36",
                    "Use a larger board, a smaller input image, or fewer channels in this stage",
                )
            )
    if problems:
        return problems
    _, reached = planner.design(roomy, options.segments)
    peak = max(range(len(kernels)), key=lambda i: planner.play(planner.single(i))[1])
    stuck = kernels[reached if reached < len(kernels) else peak]
    return [
        Problem(
            stuck.op.name,
            stuck.kind,
            f"activations, weights and tiles do not fit together: {total * WORD_ROW_BYTES // 1024:,} KiB of pads and "
            f"{ring * ROW_BYTES // 1024:,} KiB of ring are the most within {limits['bram36']:,} BRAM36",
            "Use a larger board, or a smaller input image",
        )
    ]


def _head_problems(planner: _Planner, config: Config) -> list[Problem]:
    """What the MLP engine's memories cannot hold; their sizes follow from the model unless an option fixes them."""
    problems = []
    for k in planner.kernels:
        need = tile_rows(k, 1) + k.table
        if k.head and need > config.head_rows:
            reason = (
                f"the weights of one output group need {need * ROW_BYTES:,} bytes of the MLP engine's ring, "
                f"the limit is {config.head_rows * ROW_BYTES:,}"
            )
            problems.append(Problem(k.op.name, k.kind, reason, "Use fewer input channels, or a larger ring"))
    if not problems and place(planner.vector_lives, 1, config.vector_words) is None:
        widest = max((k for k in planner.kernels if k.y in planner.vectors), key=lambda k: k.groups)
        reason = (
            f"its vectors do not fit the vector memory with those that live at the same time: "
            f"{widest.groups * LANES:,} channels, {config.vector_words * LANES:,} in all"
        )
        problems.append(Problem(widest.op.name, widest.kind, reason, "Use a larger vector memory, or fewer features"))
    return problems


def _least(planner: _Planner, index: int) -> tuple[int, int]:
    """Least word rows with which kernel ``index`` can run at all, and its largest tensor then."""
    single = planner.play(planner.single(index))
    best = (single[1], single[2])
    for start in range(max(0, index - SEGMENT_MAX + 1), index + 1):
        for end in range(max(index + 1, start + 2), min(start + SEGMENT_MAX, len(planner.kernels)) + 1):
            if not all(k.tileable for k in planner.kernels[start:end]):
                break
            _, words, largest = planner.play(Segment(start, end, 1))
            best = min(best, (words, largest))
    return best
