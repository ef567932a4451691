# SPDX-License-Identifier: Apache-2.0
"""Actions and addresses to a Program: instruction fields, weight blobs, header."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen import ir
from hwgen.errors import InternalError
from hwgen.plan import layout
from hwgen.plan.allocate import Life, Place
from hwgen.plan.interleave import Region, Step, interleave
from hwgen.plan.kernel import Kernel, vectors
from hwgen.plan.lower import Action, Chunk, Lowered
from hwgen.plan.program import (
    HEADER,
    INSTRUCTION,
    MAGIC,
    ROW_BYTES,
    VERSION,
    WORD_BYTES,
    Config,
    Flag,
    Opcode,
    Program,
    Queue,
    instruction,
    queues,
)
from hwgen.plan.schedule import last_readers
from hwgen.plan.timing import cycles
from hwgen.plan.waits import synchronize, touches_pads

OPCODES = {
    "input": Opcode.LOAD_INPUT,
    "conv": Opcode.CONV,
    "depthwise": Opcode.DEPTHWISE,
    "eltwise": Opcode.ELTWISE,
    "attention": Opcode.ATTENTION,
    "pool": Opcode.POOL,
    "linear": Opcode.LINEAR,
    "layer_norm": Opcode.LAYER_NORM,
}


@dataclass(frozen=True)
class Home:
    """Where a tensor lives: fields of an operand."""

    pad: int
    base: int
    plane: int
    ring: int
    width: int
    groups: int
    height: int


def lives(kernels: Sequence[Kernel], lowered: Sequence[Lowered], output: str) -> list[Life]:
    """Live range of every tensor of the pads in actions; the store is the last action."""
    elsewhere = vectors(kernels)
    rings = all_rings(lowered)
    last = last_readers(kernels, output)
    first_at: dict[int, int] = {}
    last_at: dict[int, int] = {}
    position = 0
    for segment in lowered:
        for action in segment.actions:
            if not action.load:
                first_at.setdefault(action.kernel, position)
                last_at[action.kernel] = position
            position += 1
    last_at[len(kernels)] = position
    apart: dict[str, set[str]] = {k.y: set() for k in kernels}
    for k in kernels:
        if k.residual and k.residual != k.xs[0]:
            apart[k.xs[0]].add(k.residual)
            apart[k.residual].add(k.xs[0])
    return [
        Life(
            k.y,
            k.groups * layout.plane_rows(rings[k.y], k.width),
            first_at[k.index],
            last_at[last[k.y]],
            frozenset(apart[k.y]),
        )
        for k in kernels
        if k.y not in elsewhere
    ]


def vector_lives(kernels: Sequence[Kernel], output: str) -> list[Life]:
    """Live range of every tensor of the vector memory, in kernels, which stand alone there."""
    inside, last = vectors(kernels), last_readers(kernels, output)
    return [Life(k.y, k.groups, k.index, last[k.y]) for k in kernels if k.y in inside]


def all_rings(lowered: Sequence[Lowered]) -> dict[str, int]:
    """Rows that the pads keep of each tensor."""
    return {name: ring for segment in lowered for name, ring in segment.tiling.rings.items()}


def trace_offsets(kernels: Sequence[Kernel]) -> dict[str, int]:
    """Word offset of every kernel's output in the trace buffer, in kernel order."""
    offsets, at = {}, 0
    for k in kernels:
        offsets[k.y] = at
        at += k.groups * k.height * k.width
    return offsets


def assemble(
    graph: ir.Graph,
    kernels: Sequence[Kernel],
    lowered: Sequence[Lowered],
    places: dict[str, Place],
    config: Config,
    blobs: Blobs,
    orders: int = 1,
) -> Program:
    """The Program. ``places`` has a pad for each tensor, VECTOR for those of the vector memory; ``blobs`` are of these
    kernels. Of ``orders`` orders of the frames the best is taken.

    Raises InternalError for a field that does not fit; the checks before should have refused it.
    """
    rings = all_rings(lowered)
    homes = {
        k.y: Home(*places[k.y], layout.plane_rows(rings[k.y], k.width), rings[k.y], k.width, k.groups, k.height)
        for k in kernels
    }
    frame = _Frame(graph, kernels, homes, config, blobs)
    for segment in lowered:
        frame.enter(segment)
        for action in segment.actions:
            frame.add(segment, action)
    frame.store(homes[graph.output])
    steps = frame.steps()
    turns = interleave(steps, frame.regions, config.slots, config.ring_rows, config.head_rows, orders)
    body = frame.array()[[turn.step for turn in turns]]
    body["slots"] = [turn.slots for turn in turns]
    rows: dict[int, int] = {}
    w_row, t_row, kernel = (body[name].tolist() for name in ("w_row", "t_row", "kernel"))
    for at, turn in enumerate(turns):
        if turn.row >= 0:
            rows[turn.step] = w_row[at] = turn.row
        elif (table := frame.table_at[turn.step]) is not None:
            (load,) = steps[turn.step].loads
            w_row[at] = rows[load] if table else 0
            t_row[at] = rows[load] + table if kernels[kernel[at]].table else 0
    body["w_row"], body["t_row"] = w_row, t_row
    weights_bytes = b"".join(frame.data)
    body = synchronize(body, config, weights_bytes)
    header = _header(graph, kernels, config, len(body), len(weights_bytes))
    return Program(config, header, body, weights_bytes).linked()


def config_hash(config: Config) -> int:
    """CRC-32 of the machine's parameters, in the order of the fields."""
    return zlib.crc32(",".join(str(v) for v in astuple(config)).encode())


def image_row_words(op: ir.Input) -> int:
    """16-byte words of one image row in the input buffer."""
    return -(-op.image[0] * op.image[2] // WORD_BYTES)


def _header(
    graph: ir.Graph, kernels: Sequence[Kernel], config: Config, instructions: int, weight_bytes: int
) -> npt.NDArray[Any]:
    header = np.zeros((), HEADER)
    header["magic"], header["version"] = MAGIC, VERSION
    header["instructions"], header["weight_bytes"] = instructions, weight_bytes
    header["input_words"] = graph.input.image[1] * image_row_words(graph.input)
    words = {k.y: k.groups * k.height * k.width for k in kernels}
    header["output_words"], header["trace_words"] = words[graph.output], sum(words.values())
    header["config_hash"] = config_hash(config)
    return header


class _Frame:
    """The instructions of one frame, without slots and ring rows, and weights.bin: each blob is stored once."""

    def __init__(
        self, graph: ir.Graph, kernels: Sequence[Kernel], homes: dict[str, Home], config: Config, blobs: Blobs
    ) -> None:
        self.graph, self.kernels, self.homes, self.config, self.blobs = graph, kernels, homes, config, blobs
        self.trace = trace_offsets(kernels)
        self.records: list[Any] = []
        self.table_at: list[int | None] = []
        """For each record with a blob, the row of its table there: 0 if the blob is a table only"""
        self.data: list[bytes] = []
        self.regions: list[Region] = []
        self._ddr: dict[tuple[int, int, int], int] = {}
        self._size = 0
        self._loads: dict[tuple[int, int], int] = {}  # the load that last brought a kernel's chunk
        self._links: list[tuple[tuple[int, ...], int]] = []  # loads that a record reads; region of a load

    def enter(self, segment: Lowered) -> None:
        """A segment begins."""
        self._loads.clear()
        if segment.resident_rows:
            streamed = {a.kernel for a in segment.actions if a.load and not a.resident}
            beside = max((c.rows for index in streamed for c in segment.weights[index].chunks), default=0)
            self.regions.append(Region(segment.resident_rows, beside))

    def add(self, segment: Lowered, action: Action) -> None:
        """The instruction of an action."""
        kernel, weights = self.kernels[action.kernel], segment.weights[action.kernel]
        chunk, key = weights.chunks[action.chunk], (action.kernel, action.chunk)
        if action.load:
            ddr = self._ddr_row((*key, weights.mode), chunk)
            self._loads[key] = len(self.records)
            # the queue follows from the ring; the row itself comes with the turn
            first = self.config.ring_rows if kernel.head else 0
            record = instruction(Opcode.LOAD_WEIGHTS, kernel=kernel.index, w_row=first, w_rows=chunk.rows, ddr=ddr)
            self._append(record, None, (), len(self.regions) - 1 if action.resident else -1)
            return
        fields = kernel_fields(kernel) | {"mode": weights.mode}
        fields |= _output(
            kernel, self.homes[kernel.y], self.trace[kernel.y], chunk, action.row0, action.rows, action.flat
        )
        fields |= _inputs(kernel, self.homes, action.row0, action.flat, action.part)
        if kernel.kind == "attention":
            fields |= attention_part(self.graph, kernel, action.part)
        if isinstance(kernel.op, ir.Input):
            fields["ddr"] = action.row0 * kernel.op.block * image_row_words(kernel.op)
        record = instruction(OPCODES[kernel.kind], kernel=kernel.index, **fields)
        self._append(record, chunk.table if chunk.rows else None, (self._loads[key],) if chunk.rows else ())

    def store(self, end: Home) -> None:
        """The last instruction."""
        record = instruction(
            Opcode.STORE,
            kernel=next(k.index for k in self.kernels if k.y == self.graph.output),
            x_pad=end.pad,
            x_base=end.base,
            x_plane=end.plane,
            x_width=end.width,
            x_ring=end.ring,
            x_groups=end.groups,
            x_cols=end.width,
            x_height=end.height,
        )
        self._append(record, None, ())

    def array(self) -> npt.NDArray[Any]:
        return np.array(self.records, INSTRUCTION)

    def steps(self) -> list[Step]:
        """What the interleaver needs to know of each record."""
        records = self.array()
        found = queues(records, self.config)
        result = []
        for record, queue, (loads, region) in zip(records, found.tolist(), self._links, strict=True):
            i = dict(zip(INSTRUCTION.names or (), record.tolist(), strict=True))
            rows = i["w_rows"] if i["opcode"] == Opcode.LOAD_WEIGHTS else 0
            result.append(Step(Queue(queue), cycles(record, self.config), touches_pads(i), rows, loads, region))
        return result

    def _append(self, record: Any, table: int | None, loads: tuple[int, ...], region: int = -1) -> None:
        self.records.append(record)
        self.table_at.append(table)
        self._links.append((loads, region))

    def _ddr_row(self, key: tuple[int, int, int], chunk: Chunk) -> int:
        """DDR row of a chunk, by kernel, number and mode; its blob joins weights.bin the first time."""
        if key not in self._ddr:
            kernel, _, mode = key
            self._ddr[key] = self._size
            self.data.append(self.blobs.encoded(self.kernels[kernel], chunk, self.config.blocks >> mode))
            self._size += chunk.rows
        return self._ddr[key]


class Blobs:
    """Blobs of a graph's kernels as they lie in weights.bin. Machines that are compared cut many kernels in the same
    way, so each blob is encoded once for all of them."""

    def __init__(self) -> None:
        self._encoded: dict[tuple[int, int, int, int], bytes] = {}

    def encoded(self, kernel: Kernel, chunk: Chunk, tile: int) -> bytes:
        """The blob of a chunk with output tiles of ``tile`` channel groups. Raises InternalError if it does not have
        the rows that were planned."""
        key = kernel.index, chunk.group0, chunk.groups, tile
        if key not in self._encoded:
            rows = blob_rows(kernel, chunk.group0, chunk.groups, tile)
            if len(rows) != chunk.rows:
                raise InternalError(f"{kernel.op.name}: blob has {len(rows)} rows, planned {chunk.rows}")
            self._encoded[key] = layout.stripe(rows)
        return self._encoded[key]


def blob_rows(kernel: Kernel, group0: int, groups: int, tile: int) -> npt.NDArray[np.uint8]:
    """The constants of some output groups of a kernel, table last: uint8 (rows, 128)."""
    op, zero = kernel.op, kernel.x_zero
    parts: list[npt.NDArray[np.uint8]] = []
    if isinstance(op, ir.Input):
        parts = [layout.input_table_rows(op.table)] if op.table is not None else []
    elif isinstance(op, ir.Conv):
        if kernel.kind == "depthwise":
            parts.append(layout.depthwise_rows(op, zero, group0, groups))
        else:
            parts.append(layout.convolution_rows(op, zero, tile, group0, groups))
    elif isinstance(op, ir.Linear):
        parts.append(layout.linear_rows(op, zero, group0, groups))
    elif isinstance(op, ir.Pool):
        parts.append(layout.pool_rows(op, kernel.x_shape[1] * kernel.x_shape[2], zero))
    elif isinstance(op, ir.LayerNorm):
        parts.append(layout.layer_norm_rows(op, zero))
    elif isinstance(op, ir.Attention):
        parts.append(layout.attention_rows(op, zero))
    table = None if isinstance(op, ir.Input) else getattr(op, "table", None)
    if table is not None:
        parts.append(layout.table_rows(table))
    return np.concatenate(parts) if parts else np.zeros((0, ROW_BYTES), np.uint8)


def kernel_fields(kernel: Kernel) -> dict[str, int]:
    """Fields that are the same in all of a kernel's instructions."""
    op = kernel.op
    flags = 0
    fields: dict[str, int] = {}
    if kernel.table:
        flags |= int(Flag.IMAGE) if kernel.kind == "input" else int(Flag.TABLE)
    if isinstance(op, (ir.Conv, ir.Linear)):
        flags |= int(Flag.PACKED) if kernel.packed else 0
        flags |= int(Flag.WIDE) if op.requant.bits == 12 else 0
        fields |= {"y_zero": op.requant.zero_point, "ci_groups": kernel.ci_groups}
        fields["og_per_group"] = kernel.og_per_group
    if isinstance(op, (ir.Conv, ir.Eltwise)) and op.add is not None:
        flags |= int(Flag.ADD)
        fields |= {"add_ma": op.add.ma, "add_mb": op.add.mb, "add_constant": op.add.constant}
        fields |= {"add_shift": op.add.shift, "add_zero": op.add.zero_point}
    if isinstance(op, (ir.Pool, ir.LayerNorm)):
        fields["y_zero"] = op.zero_point
    if isinstance(op, ir.LayerNorm):
        fields["channels"] = kernel.shape[0]
    if isinstance(op, ir.Attention):
        flags |= int(Flag.QUANTIZED) if op.quantized is not None else 0
        fields["y_zero"] = op.divide.zero_point
    if isinstance(op, ir.Input):
        fields |= {"channels": op.image[0], "block": op.block, "x_width": op.image[2], "x_height": op.image[1]}
        fields["x_cols"] = op.image[2]
    fields |= {"kernel_h": kernel.window[0], "kernel_w": kernel.window[1], "x_zero": kernel.x_zero}
    fields |= {"stride_h": kernel.stride[0], "stride_w": kernel.stride[1]}
    fields |= {"pad_top": kernel.pads[0], "pad_left": kernel.pads[1], "flags": flags}
    return fields


def _output(kernel: Kernel, home: Home, trace: int, chunk: Chunk, row0: int, rows: int, flat: bool) -> dict[str, int]:
    return {
        "y_pad": home.pad,
        "y_base": home.base,
        "y_plane": home.plane,
        "y_width": home.width,
        "y_ring": home.ring,
        "y_groups": chunk.groups,
        "y_group0": chunk.group0,
        "y_row0": row0,
        "y_rows": 1 if flat else rows,
        "y_cols": rows * home.width if flat else home.width,
        "y_slot": row0 % home.ring,
        "y_height": kernel.height,
        "trace": trace,
    } | ({"x_cols": rows * home.width} if flat else {})


def _inputs(kernel: Kernel, homes: dict[str, Home], row0: int, flat: bool, part: int) -> dict[str, int]:
    if not kernel.xs:
        return {}
    home = homes[kernel.xs[part]]
    first = kernel.input_rows(row0, row0 + 1)[0] if kernel.tileable else 0
    fields = {
        "x_pad": home.pad,
        "x_base": home.base,
        "x_plane": home.plane,
        "x_width": home.width,
        "x_ring": home.ring,
        "x_groups": home.groups,
        "x_height": home.height,
        "x_first": first,
        "x_slot": first % home.ring,
    } | ({} if flat else {"x_cols": home.width})
    if kernel.residual:
        residual = homes[kernel.residual]
        fields |= {"r_pad": residual.pad, "r_base": residual.base, "r_plane": residual.plane}
        fields |= {"r_ring": residual.ring, "r_slot": row0 % residual.ring}
    return fields


def attention_part(graph: ir.Graph, kernel: Kernel, part: int) -> dict[str, int]:
    """Output groups that input ``part`` of an attention makes: a third of its own."""
    groups = [layout.channel_groups(graph.tensors[x].shape[0]) // 3 for x in kernel.xs]
    return {"y_group0": sum(groups[:part]), "y_groups": groups[part]}
