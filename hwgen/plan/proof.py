# SPDX-License-Identifier: Apache-2.0
"""The proof that a finished Program is right about memory: it runs on every build and knows nothing of the planner.

It plays the instructions on a shadow of every memory. A pad word's shadow is the identity of the activation word that
lies there (tensor, group, row, column: the word's place in the trace buffer, plus one), a ring row's is the blob that
was loaded and the row in it. Each instruction must then find exactly the words that its operator reads, written by the
right kernel and not yet overwritten; it must write each word of its output once, inside the memory, and no two operands
may share the read port of a pad. In the end every tensor is complete, and every blob that was used holds the constants
of the groups that used it. Addresses follow docs/program-format.md; everything else is derived from the graph.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from hwgen import ir
from hwgen.errors import InternalError
from hwgen.kernels.linear_attention import divide_bits, sum_bits
from hwgen.numerics import ADD_MULTIPLIER_BITS
from hwgen.plan import layout
from hwgen.plan.assemble import config_hash
from hwgen.plan.order import Access, prove_order
from hwgen.plan.program import (
    BANKS,
    INSTRUCTION,
    LANES,
    MAGIC,
    ROW_BYTES,
    VECTOR,
    VERSION,
    WORD_BYTES,
    Config,
    Flag,
    Opcode,
    Program,
    Queue,
    queues,
)

Ints = npt.NDArray[np.int64]
Span = tuple[int, int]


def prove(program: Program, graph: ir.Graph) -> None:
    """Raises InternalError, naming the instruction, where the Program breaks one of the rules above."""
    _Proof(program, graph).run()


class _Tensor:
    """Shape in words, and the identity of the tensor's first word."""

    def __init__(self, name: str, shape: ir.Shape, first: int) -> None:
        self.name = name
        self.channels, self.height, self.width = shape
        self.groups = -(-self.channels // LANES)
        self.first = first
        self.words = self.groups * self.height * self.width


class _Frame:
    """The memories of a frame in flight, holding identities."""

    def __init__(self, config: Config, words: int) -> None:
        self.written = np.zeros(words + 1, bool)
        self.pads = np.zeros((config.pads, config.pad_depth * BANKS), np.int64)
        self.vectors = np.zeros(config.vector_words, np.int64)
        self.stored = False

    def memory(self, pad: int) -> Ints:
        found: Ints = self.vectors if pad == VECTOR else self.pads[pad]
        return found


class _Proof:
    def __init__(self, program: Program, graph: ir.Graph) -> None:
        self.program, self.graph, self.config = program, graph, program.config
        self.tensors: dict[str, _Tensor] = {}
        at = 0
        for op in graph.ops:
            self.tensors[op.y] = _Tensor(op.y, graph.tensors[op.y].shape, at)
            at += self.tensors[op.y].words
        self.frames = [_Frame(self.config, at) for _ in range(self.config.slots)]
        self.frame = self.frames[0]  # of the instruction
        rows = self.config.ring_rows + self.config.head_rows
        self.ring = np.full((rows, 2), -1, np.int64)  # number of the load, row in its blob
        self.accesses: list[Access] = []
        self.tables: dict[
            tuple[int, int], npt.NDArray[np.int8]
        ] = {}  # that a queue's engine holds, by slots that exist
        self.loads: list[tuple[int, int, int, int]] = []  # kernel, DDR row, rows and slots of each load
        self.uses: dict[tuple[Any, ...], str] = {}
        self.where = "header"

    def fail(self, reason: str) -> NoReturn:
        raise InternalError(f"proof of the Program: {self.where}: {reason}")

    def require(self, condition: bool, reason: str) -> None:
        if not condition:
            self.fail(reason)

    def equal(self, i: SimpleNamespace, **expected: int) -> None:
        for name, value in expected.items():
            if getattr(i, name) != value:
                self.fail(f"{name} is {getattr(i, name)}, expected {value}")

    def run(self) -> None:
        self._header()
        outputs = self.config.mlp_outputs
        self.require(outputs in (2, 4, 8), f"mlp_outputs is {outputs}, expected 2, 4 or 8")
        names = INSTRUCTION.names or ()
        known = {int(o) for o in Opcode}
        for number, code in enumerate(self.program.instructions["opcode"].tolist()):
            self.require(code in known, f"instruction {number} has opcode {code}")
        found = queues(self.program.instructions, self.config)
        self._queues(found)
        for number, record in enumerate(self.program.instructions):
            i = SimpleNamespace(**dict(zip(names, record.tolist(), strict=True)))
            opcode = Opcode(i.opcode)
            self.require(i.kernel < len(self.graph.ops), f"instruction {number} names kernel {i.kernel}")
            op = self.graph.ops[i.kernel]
            self.where = f"instruction {number} ({opcode.name}, kernel {i.kernel} {op.name})"
            slot = self._slot(i, opcode)
            self.frame = self.frames[slot]
            self.access = Access(int(found[number]), self.where, tuple(map(int, i.waits)), i.wait_mask, slot)
            self.accesses.append(self.access)
            self.opcode = opcode
            if opcode is Opcode.LOAD_WEIGHTS:
                self._load_weights(i)
            elif opcode is Opcode.STORE:
                self._store(i)
            else:
                self.require(opcode is _opcode(op), f"a {type(op).__name__} kernel runs as {opcode.name}")
                self._kernel(i, op)
        self.where = "end"
        for slot, frame in enumerate(self.frames):
            self.require(frame.stored, f"nothing stores the output of slot {slot}")
            for tensor in self.tensors.values():
                missing = tensor.words - int(frame.written[tensor.first + 1 : tensor.first + 1 + tensor.words].sum())
                self.require(missing == 0, f"{missing} words of {tensor.name} in slot {slot} are never written")
        self._constants()
        try:
            prove_order(self.accesses, self.config)
        except InternalError as error:
            raise InternalError(f"proof of the Program: {error}") from error

    def _slot(self, i: SimpleNamespace, opcode: Opcode) -> int:
        """The slot of an instruction; of LOAD_WEIGHTS the first of those that it serves."""
        slots = [s for s in range(8) if i.slots >> s & 1]
        fits = bool(slots) and slots[-1] < self.config.slots
        self.require(fits and (len(slots) == 1 or opcode is Opcode.LOAD_WEIGHTS), f"slots {i.slots:#b}")
        if opcode is not Opcode.LOAD_WEIGHTS:
            self.require(not self.frames[slots[0]].stored, "an instruction follows the store of its frame")
        return slots[0]

    def _queues(self, found: Ints) -> None:
        """The sequential order can be followed from queue to queue."""
        header, following = self.program.header, self.program.instructions["next_queue"]
        counts = np.bincount(found, minlength=len(Queue))
        self.require(np.array_equal(header["queue_counts"], counts), f"queue_counts are not {counts.tolist()}")
        first = int(found[0]) if len(found) else 0
        self.require(int(header["first_queue"]) == first, f"first_queue is not {first}")
        wrong = np.flatnonzero(following != np.roll(found, -1))
        self.require(not len(wrong), f"next_queue of instruction {int(wrong[0]) if len(wrong) else 0} is wrong")

    def _header(self) -> None:
        header, program = self.program.header, self.program
        image = self.graph.input.image
        expected = {
            "magic": MAGIC,
            "version": VERSION,
            "instructions": len(program.instructions),
            "weight_bytes": len(program.weights),
            "input_words": image[1] * _row_words(self.graph.input),
            "output_words": self.tensors[self.graph.output].words,
            "trace_words": sum(t.words for t in self.tensors.values()),
            "config_hash": config_hash(self.config),
        }
        for name, value in expected.items():
            self.require(int(header[name]) == value, f"{name} is {int(header[name])}, expected {value}")

    # ----------------------------------------------------------------------------------------------------------------
    # memories

    def _address(
        self, pad: int, base: int, plane: int, ring: int, width: int, slot: int, groups: Span, rows: int, cols: int
    ) -> Ints:
        """Pad words of a rectangle, (groups, rows, cols): word row ``p // 16`` and bank ``p % 16`` are one number."""
        if pad == VECTOR:
            return self._vector_address(base, plane, ring, width, slot, groups, rows, cols)
        self.access.body = True
        self.require(pad < self.config.pads, f"pad {pad} of {self.config.pads}")
        self.require(0 <= slot < ring and rows <= ring, f"{rows} rows from slot {slot} in a ring of {ring}")
        slots = slot + np.arange(rows)
        slots[slots >= ring] -= ring
        pixels = slots[:, None] * width + np.arange(cols)
        last = int(pixels.max())
        self.require(last < ring * width and last < plane * BANKS, f"pixel {last} lies outside its plane")
        planes = (base + np.arange(*groups) * plane) * BANKS
        address: Ints = planes[:, None, None] + pixels
        highest = int(address.max())
        self.require(
            highest < self.config.pad_depth * BANKS, f"word row {highest // BANKS} of a pad of {self.config.pad_depth}"
        )
        return address

    def _vector_address(
        self, base: int, plane: int, ring: int, width: int, slot: int, groups: Span, rows: int, cols: int
    ) -> Ints:
        """Words of the vector memory, (groups, 1, 1)."""
        pixel = (plane, ring, width, slot, rows, cols) == (1, 1, 1, 0, 1, 1)
        self.require(pixel, "a tensor of the vector memory is not one pixel: plane, slot")
        last = base + groups[1]
        self.require(last <= self.config.vector_words, f"word {last - 1} of {self.config.vector_words} vector words")
        return base + np.arange(*groups)[:, None, None]

    def _identity(self, tensor: _Tensor, groups: Span, row: int, rows: int, cols: int) -> Ints:
        """Identities of a rectangle of a tensor; a flattened one runs on into the next rows."""
        self.require(groups[0] < groups[1] <= tensor.groups, f"groups {groups} of {tensor.name} ({tensor.groups})")
        end = (row + rows - 1) * tensor.width + cols
        self.require(rows > 0 and cols > 0, "an empty rectangle")
        self.require(end <= tensor.height * tensor.width, f"rows from {row} of {tensor.name} ({tensor.height})")
        plane = tensor.height * tensor.width
        inside = (row + np.arange(rows))[:, None] * tensor.width + np.arange(cols)
        identity: Ints = tensor.first + 1 + np.arange(*groups)[:, None, None] * plane + inside
        return identity

    def _read(self, pad: int, address: Ints, identity: Ints, tensor: _Tensor) -> None:
        if pad == VECTOR:
            reader = self.opcode in (Opcode.LINEAR, Opcode.LAYER_NORM, Opcode.STORE)
            self.require(reader, f"reads {tensor.name} in the vector memory, which its engine does not reach")
            self.access.vector_reads.append(_span(address))
        found = self.frame.memory(pad)[address]
        wrong = found != identity
        if wrong.any():
            place = tuple(int(v) for v in np.argwhere(wrong)[0])
            self.fail(
                f"reads {tensor.name} at pad {pad}, word {int(address[place])}, and finds "
                f"{self._name(int(found[place]))}; {int(wrong.sum())} of {wrong.size} words are wrong"
            )

    def _name(self, identity: int) -> str:
        if identity == 0:
            return "a word that nobody wrote"
        for tensor in self.tensors.values():
            if tensor.first < identity <= tensor.first + tensor.words:
                word = identity - 1 - tensor.first
                row, column = divmod(word % (tensor.height * tensor.width), tensor.width)
                return f"{tensor.name} group {word // (tensor.height * tensor.width)} row {row} column {column}"
        return f"identity {identity}"

    def _write(self, pad: int, address: Ints, identity: Ints) -> None:
        self.require(not self.frame.written[identity].any(), "writes words of its output twice")
        self.frame.written[identity] = True
        if pad == VECTOR:
            writer = self.opcode in (Opcode.POOL, Opcode.LINEAR, Opcode.LAYER_NORM)
            self.require(writer, "writes to the vector memory (a pad that its engine does not reach)")
            self.access.vector_writes.append(_span(address))
        self.frame.memory(pad)[address] = identity

    def _load_weights(self, i: SimpleNamespace) -> None:
        end = i.w_row + i.w_rows
        limit = self.config.ring_rows if i.w_row < self.config.ring_rows else len(self.ring)
        self.require(i.w_rows > 0 and end <= limit, f"ring rows {i.w_row}..{end} of {limit}")
        self.access.ring_writes.append((i.w_row, end))
        stored = len(self.program.weights)
        self.require((i.ddr + i.w_rows) * ROW_BYTES <= stored, f"rows {i.ddr}..{i.ddr + i.w_rows} of weights.bin")
        self.ring[i.w_row : end, 0] = len(self.loads)
        self.ring[i.w_row : end, 1] = np.arange(i.w_rows)
        self.loads.append((i.kernel, i.ddr, i.w_rows, i.slots))

    def _use(self, kernel: int, what: str, row: int, count: int, *shape: int) -> None:
        """Ring rows that the kernel reads: all of one load, in order. What they hold is compared at the end."""
        head = self.opcode in (Opcode.POOL, Opcode.LINEAR, Opcode.LAYER_NORM)
        low, high = (self.config.ring_rows, len(self.ring)) if head else (0, self.config.ring_rows)
        self.require(low <= row and row + count <= high, f"{what} in ring rows {row}..{row + count} of {low}..{high}")
        self.access.ring_reads.append((row, row + count))
        found = self.ring[row : row + count]
        load, first = int(found[0, 0]), int(found[0, 1])
        whole = load >= 0 and bool((found[:, 0] == load).all() and (found[:, 1] == first + np.arange(count)).all())
        self.require(whole, f"{what} in ring rows {row}..{row + count} are not (or no longer) one loaded blob")
        owner, ddr, rows, slots = self.loads[load]
        served = slots >> self.access.slot & 1
        self.require(
            bool(served), f"{what} in ring rows {row}..{row + count} were not loaded for slot {self.access.slot}"
        )
        self.require(owner == kernel, f"{what} in ring rows {row}..{row + count} were loaded for kernel {owner}")
        self.uses.setdefault((kernel, what, ddr, rows, first, count, *shape), self.where)

    # ----------------------------------------------------------------------------------------------------------------
    # instructions

    def _store(self, i: SimpleNamespace) -> None:
        out = self.tensors[self.graph.output]
        self.equal(i, x_groups=out.groups, x_height=out.height, x_width=out.width, x_cols=out.width, x_slot=0, ddr=0)
        self.equal(i, x_first=0)
        groups = (0, out.groups)
        address = self._address(i.x_pad, i.x_base, i.x_plane, i.x_ring, i.x_width, 0, groups, out.height, out.width)
        self._read(i.x_pad, address, self._identity(out, groups, 0, out.height, out.width), out)
        self.frame.stored = True

    def _kernel(self, i: SimpleNamespace, op: ir.Op) -> None:
        y = self.tensors[op.y]
        self.equal(i, y_width=y.width, y_height=y.height, trace=y.first)
        self._fields(i, op)
        flat = i.y_cols != y.width
        groups = (i.y_group0, i.y_group0 + i.y_groups)
        reads: list[tuple[int, Ints, Ints]] = []
        if not isinstance(op, ir.Input):
            reads.append(self._operand_x(i, op, groups, flat))
            if i.flags & Flag.ADD:
                reads.append(self._operand_r(i, op, groups))
                self.require(i.x_pad != i.r_pad, f"x and the residual share the read port of pad {i.x_pad}")
        self._weights(i, op)
        identity = self._identity(y, groups, i.y_row0, i.y_rows, i.y_cols)
        address = self._address(i.y_pad, i.y_base, i.y_plane, i.y_ring, i.y_width, i.y_slot, groups, i.y_rows, i.y_cols)
        self._write(i.y_pad, address, identity)
        for pad, read, expected in reads:
            if pad == i.y_pad:
                self.require(bool((self.frame.memory(pad)[read] == expected).all()), "writes words that it still reads")

    def _operand_x(self, i: SimpleNamespace, op: ir.Op, groups: Span, flat: bool) -> tuple[int, Ints, Ints]:
        assert not isinstance(op, ir.Input)
        x = self._source(i, op)
        self.equal(i, x_width=x.width, x_height=x.height, x_groups=x.groups)
        row, rows, cols = 0, x.height, x.width
        wanted = (0, x.groups)
        if isinstance(op, (ir.Conv, ir.Eltwise)):
            row, rows = i.y_row0, i.y_rows
            wanted = groups
            if flat:
                self.equal(i, x_cols=i.y_cols, y_rows=1)
                cols = i.y_cols
                plain = isinstance(op, ir.Eltwise) or (
                    op.weight.shape[2:] == (1, 1) and op.stride == (1, 1) and not any(op.pads)
                )
                self.require(plain and x.width == i.y_width, "rows are joined though the kernel is not pointwise")
            else:
                self.equal(i, x_cols=x.width)
            if isinstance(op, ir.Conv):
                top, height = op.pads[0], op.weight.shape[2]
                row = max(i.y_row0 * op.stride[0] - top, 0)
                end = min((i.y_row0 + i.y_rows - 1) * op.stride[0] - top + height, x.height)
                rows = end - row
                self.require(rows > 0, "the window lies in the padding only")
                if not op.depthwise:
                    ci, per = i.ci_groups, i.og_per_group
                    wanted = (groups[0] // per * ci, ((groups[1] - 1) // per + 1) * ci) if per else (0, ci)
            self.equal(i, x_first=row)
        elif isinstance(op, ir.Pool):
            wanted = groups
            self.equal(i, x_slot=0, x_first=0)
        else:
            self.equal(i, x_slot=0, x_first=0, x_cols=x.width)
        identity = self._identity(x, wanted, row, rows, cols)
        address = self._address(i.x_pad, i.x_base, i.x_plane, i.x_ring, i.x_width, i.x_slot, wanted, rows, cols)
        self._read(i.x_pad, address, identity, x)
        return i.x_pad, address, identity

    def _source(self, i: SimpleNamespace, op: ir.Op) -> _Tensor:
        """The tensor an instruction reads; for an attention, by the groups that it writes."""
        if not isinstance(op, ir.Attention):
            assert not isinstance(op, ir.Input)
            return self.tensors[op.x]
        at = 0
        for name in op.xs:
            if at == i.y_group0:
                self.equal(i, y_groups=self.tensors[name].groups // 3)
                return self.tensors[name]
            at += self.tensors[name].groups // 3
        self.fail(f"no input of the attention makes groups from {i.y_group0}")

    def _operand_r(self, i: SimpleNamespace, op: ir.Op, groups: Span) -> tuple[int, Ints, Ints]:
        assert isinstance(op, (ir.Conv, ir.Eltwise)) and op.residual is not None
        r = self.tensors[op.residual]
        self.require(r.width == i.y_width and r.height == i.y_height, f"residual {r.name} has another shape")
        identity = self._identity(r, groups, i.y_row0, i.y_rows, i.y_cols)
        address = self._address(i.r_pad, i.r_base, i.r_plane, i.r_ring, i.y_width, i.r_slot, groups, i.y_rows, i.y_cols)
        self._read(i.r_pad, address, identity, r)
        return i.r_pad, address, identity

    def _weights(self, i: SimpleNamespace, op: ir.Op) -> None:
        """The constants an instruction reads from the ring."""
        shape = (i.y_group0, i.y_groups)
        if isinstance(op, ir.Input):
            if op.table is not None:
                self._use(i.kernel, "table", i.t_row, 2 * op.image[0])
            self._retain(i, op.table)
            return
        table = getattr(op, "table", None)
        if table is not None:
            self._use(i.kernel, "table", i.t_row, len(table) // ROW_BYTES)
        self._retain(i, table)
        if isinstance(op, ir.Conv) and op.depthwise:
            taps = op.weight.shape[2] * op.weight.shape[3]
            self._use(i.kernel, "weights", i.w_row, i.y_groups * (1 + -(-taps // 8)), *shape)
        elif isinstance(op, ir.Conv):
            tile = self._mode(i, op)
            taps = op.weight.shape[2] * op.weight.shape[3]
            tiles = -(-i.y_groups // tile)
            self._use(i.kernel, "weights", i.w_row, tiles * tile * (1 + 2 * taps * i.ci_groups), *shape, tile)
        elif isinstance(op, ir.Linear):
            self._use(i.kernel, "weights", i.w_row, i.y_groups * (1 + 2 * i.ci_groups), *shape)
        elif isinstance(op, ir.LayerNorm):
            self._use(i.kernel, "weights", i.w_row, 1 + -(-len(op.gamma) // LANES))
        elif isinstance(op, ir.Attention):
            self._use(i.kernel, "weights", i.w_row, 1 if op.quantized is None else 9)
        elif isinstance(op, ir.Pool):
            self._use(i.kernel, "weights", i.w_row, 1)

    def _retain(self, i: SimpleNamespace, table: npt.NDArray[np.int8] | None) -> None:
        """RETAIN promises that the engine holds the table, also where frames of later slots do not exist."""
        queue, slot = self.access.queue, self.access.slot
        for last in range(slot, self.config.slots):
            if i.flags & Flag.RETAIN:
                held = self.tables.get((queue, last))
                same = table is not None and held is not None and np.array_equal(held, table)
                self.require(same, "flags say RETAIN, but the engine does not hold this table")
            if table is not None:
                self.tables[queue, last] = table

    def _mode(self, i: SimpleNamespace, op: ir.Conv) -> int:
        pixels = 1 << i.mode
        self.require(pixels <= self.config.blocks, f"mode {i.mode} on {self.config.blocks} blocks")
        self.require(op.stride[1] * pixels <= BANKS, f"mode {i.mode} with stride {op.stride[1]} meets one bank twice")
        tile: int = self.config.blocks // pixels
        if i.og_per_group and tile > 1:
            aligned = i.og_per_group % tile == 0 and i.y_group0 % tile == 0
            self.require(aligned, f"a tile of {tile} groups spans input groups")
        return tile

    def _fields(self, i: SimpleNamespace, op: ir.Op) -> None:
        """Constants of the operator, and limits of the machine."""
        config = self.config
        flags = 0
        if isinstance(op, ir.Input):
            channels, height, width = op.image
            flags = int(Flag.IMAGE) if op.table is not None else 0
            words = _row_words(op)
            self.equal(i, channels=channels, block=op.block, x_width=width, y_group0=0, y_groups=1)
            self.equal(i, ddr=i.y_row0 * op.block * words)
            self.require((i.y_row0 + i.y_rows) * op.block <= height, "reads past the image")
            self.require(words * WORD_BYTES <= config.image_row_bytes, f"image rows of {words * WORD_BYTES} bytes")
        elif getattr(op, "table", None) is not None:
            flags |= int(Flag.TABLE)
        if isinstance(op, (ir.Conv, ir.Linear)):
            flags |= int(Flag.PACKED) if int(op.weight.min()) > -128 else 0
            if op.requant.bits == 12:
                flags |= int(Flag.WIDE)
            self.equal(i, x_zero=self.graph.tensors[op.x].quant.zero_point, y_zero=op.requant.zero_point)
        if isinstance(op, ir.Conv):
            height, width = op.weight.shape[2:]
            self.equal(i, kernel_h=height, kernel_w=width, stride_h=op.stride[0], stride_w=op.stride[1])
            self.equal(i, pad_top=op.pads[0], pad_left=op.pads[1])
            if op.depthwise:
                x_width = self.tensors[op.x].width
                self.require(x_width <= config.line_words, f"input width {x_width} exceeds a line buffer")
            else:
                ci, per = layout.group_structure(op)
                self.equal(i, ci_groups=ci, og_per_group=per)
                self.require(max(height, width) <= config.kernel_max, f"window {height}x{width}")
        if isinstance(op, (ir.Conv, ir.Eltwise)) and op.add is not None:
            flags |= int(Flag.ADD)
            self.equal(i, add_ma=op.add.ma, add_mb=op.add.mb, add_constant=op.add.constant)
            widest = max(i.add_ma, i.add_mb)
            self.require(widest < 1 << ADD_MULTIPLIER_BITS, f"residual multiplier {widest} is too wide for the engines")
            self.equal(i, add_shift=op.add.shift, add_zero=op.add.zero_point)
        if isinstance(op, (ir.Linear, ir.LayerNorm)):
            length = max(self.tensors[op.x].channels, self.tensors[op.y].channels)
            self.require(length <= config.mlp_channels, f"a vector of {length} channels")
        if isinstance(op, ir.Linear):
            self.equal(i, ci_groups=self.tensors[op.x].groups)
        if isinstance(op, ir.LayerNorm):
            self.equal(i, channels=len(op.gamma))
        if isinstance(op, ir.Pool):
            self.equal(i, y_zero=op.zero_point)
        if isinstance(op, ir.Attention):
            flags |= int(Flag.QUANTIZED) if op.quantized is not None else 0
            y = self.tensors[op.y]
            self.equal(i, y_row0=0, y_rows=y.height, y_cols=y.width, y_slot=0)
            self.require(op.head_dim <= config.head_dim, f"heads of {op.head_dim}")
            zero = self.graph.tensors[op.xs[0]].quant.zero_point
            bits, divide = (f(op, zero, y.height * y.width) for f in (sum_bits, divide_bits))
            inside = bits <= config.attention_bits and divide <= config.attention_divide_bits
            limits = f"{config.attention_bits} and {config.attention_divide_bits}"
            self.require(inside, f"sums of {bits} bits, quotients of {divide} bits on a machine of {limits}")
            able = op.quantized is None or bool(config.attention_quantized)
            self.require(able, "attention with every edge quantized on a machine without")
        self.equal(i, flags=flags | (i.flags & Flag.RETAIN))
        if isinstance(op, ir.Conv):
            shifts = op.requant.shift
            low, high = int(shifts.min()), int(shifts.max())
            inside = config.shift_low <= low and high <= config.shift_high
            self.require(inside, f"shifts {low} to {high} on a machine of {config.shift_low} to {config.shift_high}")
        if isinstance(op, (ir.Conv, ir.Eltwise)) and op.add is not None:
            inside = config.add_shift_low <= op.add.shift <= config.add_shift_high
            self.require(inside, f"add_shift {op.add.shift} on a machine of other shifts")
        self.require(bool(config.engines >> self.access.queue & 1), "its queue has no engine")

    # ----------------------------------------------------------------------------------------------------------------
    # constants

    def _constants(self) -> None:
        """Every blob that was used holds the constants of the groups that used it."""
        for (kernel, what, ddr, rows, first, count, *shape), where in self.uses.items():
            self.where = where
            data = self.program.weights[ddr * ROW_BYTES : (ddr + rows) * ROW_BYTES]
            found = layout.unstripe(data, rows)[first : first + count]
            expected = self._rows(self.graph.ops[kernel], what, shape)
            self.require(np.array_equal(found, expected), f"weights.bin holds other {what} for these groups")

    def _rows(self, op: ir.Op, what: str, shape: list[int]) -> npt.NDArray[np.uint8]:
        if isinstance(op, ir.Input):
            assert op.table is not None
            return layout.input_table_rows(op.table)
        if what == "table":
            table = getattr(op, "table", None)
            assert table is not None
            return layout.table_rows(table)
        assert not isinstance(op, ir.Eltwise)
        source = self.graph.tensors[op.xs[0] if isinstance(op, ir.Attention) else op.x]
        zero = source.quant.zero_point
        if isinstance(op, ir.Conv):
            if op.depthwise:
                return layout.depthwise_rows(op, zero, shape[0], shape[1])
            return layout.convolution_rows(op, zero, shape[2], shape[0], shape[1])
        if isinstance(op, ir.Linear):
            return layout.linear_rows(op, zero, shape[0], shape[1])
        if isinstance(op, ir.LayerNorm):
            return layout.layer_norm_rows(op, zero)
        if isinstance(op, ir.Attention):
            return layout.attention_rows(op, zero)
        return layout.pool_rows(op, math.prod(source.shape[1:]), zero)


def _opcode(op: ir.Op) -> Opcode:
    if isinstance(op, ir.Conv):
        return Opcode.DEPTHWISE if op.depthwise else Opcode.CONV
    return {
        ir.Input: Opcode.LOAD_INPUT,
        ir.Eltwise: Opcode.ELTWISE,
        ir.Attention: Opcode.ATTENTION,
        ir.Pool: Opcode.POOL,
        ir.Linear: Opcode.LINEAR,
        ir.LayerNorm: Opcode.LAYER_NORM,
    }[type(op)]


def _span(address: Ints) -> Span:
    return int(address.min()), int(address.max()) + 1


def _row_words(op: ir.Input) -> int:
    return -(-op.image[0] * op.image[2] // WORD_BYTES)
