# SPDX-License-Identifier: Apache-2.0
"""The Program: what every machine executes. Format version 3; docs/program-format.md explains it field by field.

``program.bin`` is one 128-byte header and then 128-byte instructions, little endian, queue by queue. ``weights.bin`` is
a sequence of blobs of 128-byte *ring rows*; a LOAD_WEIGHTS instruction copies one blob into the weight ring. The field
tables below are the only definition: encoder, decoder, the reference, the emitted SystemVerilog package and a test of
the C++ header all use them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum, IntFlag
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.errors import InternalError

MAGIC = 0x4E475748  # "HWGN"
VERSION = 3
INSTRUCTION_BYTES = 128
ROW_BYTES = 128
"""One row of the weight ring."""
WORD_BYTES = 16
"""One pad word: 16 channels of one pixel; also one beat of an AXI port."""
LANES = 16
"""Channels in a pad word."""
BANKS = 16
"""Banks of a pad: pixel p of a plane lies in bank p % 16."""
WEIGHT_PORTS = 4
VECTOR = 15
"""Pad number of the vector memory: word ``base + group`` holds 16 channels of a tensor of one pixel."""


class Opcode(IntEnum):
    """One opcode per engine function."""

    LOAD_WEIGHTS = 1
    LOAD_INPUT = 2
    CONV = 3
    DEPTHWISE = 4
    ELTWISE = 5
    ATTENTION = 6
    POOL = 7
    LINEAR = 8
    LAYER_NORM = 9
    STORE = 10


class Queue(IntEnum):
    """Command queues, one for each engine; each runs its instructions in order."""

    WEIGHTS = 0
    """LOAD_WEIGHTS into the ring of the array, depthwise, elementwise and attention engines and the input loader."""
    HEAD = 1
    """LOAD_WEIGHTS into the MLP engine's own ring (rows from ``ring_rows`` on)."""
    INPUT = 2
    ARRAY = 3
    DEPTHWISE = 4
    ELTWISE = 5
    ATTENTION = 6
    MLP = 7
    """POOL, LINEAR and LAYER_NORM."""
    STORE = 8


QUEUE_OF = {
    Opcode.LOAD_INPUT: Queue.INPUT,
    Opcode.CONV: Queue.ARRAY,
    Opcode.DEPTHWISE: Queue.DEPTHWISE,
    Opcode.ELTWISE: Queue.ELTWISE,
    Opcode.ATTENTION: Queue.ATTENTION,
    Opcode.POOL: Queue.MLP,
    Opcode.LINEAR: Queue.MLP,
    Opcode.LAYER_NORM: Queue.MLP,
    Opcode.STORE: Queue.STORE,
}
"""LOAD_WEIGHTS goes to WEIGHTS or HEAD by its ring row."""


class Flag(IntFlag):
    """Bits of the ``flags`` field."""

    PACKED = 1
    """Two weights share a DSP; clear where a weight is -128 (then the array visits each weight tile twice)."""
    TABLE = 2
    """A table follows the requantization: 256 entries, or 4,096 with WIDE."""
    WIDE = 4
    """Requantize to 12 bits; a 4,096-entry table follows (TABLE is set too)."""
    ADD = 8
    """Residual add with operand r, after the table (Eltwise: before the table)."""
    IMAGE = 16
    """LOAD_INPUT: bytes are uint8 and go through per-channel tables."""
    QUANTIZED = 32
    """ATTENTION: every edge is quantized."""
    RETAIN = 64
    """The engine still holds this table: its instruction before this one has the same, whichever frames exist."""


HEADER = np.dtype(
    [
        ("magic", "<u4"),
        ("version", "<u4"),
        ("instructions", "<u4"),
        ("weight_bytes", "<u4"),
        ("input_words", "<u4"),  # 16-byte words of one frame in the input buffer
        ("output_words", "<u4"),  # ... in the output buffer
        ("trace_words", "<u4"),  # ... in the trace buffer
        ("config_hash", "<u4"),  # CRC-32 of the machine configuration this Program was planned for
        ("first_queue", "<u4"),  # queue of the first instruction in sequential order
        ("queue_counts", "<u4", len(Queue)),  # instructions of each queue, in the order of program.bin
        ("reserved", "<u4", 14),
    ]
)

INSTRUCTION = np.dtype(
    [
        ("opcode", "u1"),
        ("flags", "u1"),
        ("kernel", "<u2"),  # index of the kernel in manifest.json, for traces and errors
        # pads of the operands
        ("x_pad", "u1"),
        ("r_pad", "u1"),
        ("y_pad", "u1"),
        ("mode", "u1"),  # CONV: log2 of the pixels TP; output sub-tiles are blocks / TP
        # operand x: first word row in the pad, word rows of one channel group, pixels a row, rows kept, channel groups
        ("x_base", "<u2"),
        ("x_plane", "<u2"),
        ("x_width", "<u2"),
        ("x_ring", "<u2"),
        ("x_groups", "<u2"),
        # operand r (residual): same width as y
        ("r_base", "<u2"),
        ("r_plane", "<u2"),
        ("r_ring", "<u2"),
        # operand y
        ("y_base", "<u2"),
        ("y_plane", "<u2"),
        ("y_width", "<u2"),
        ("y_ring", "<u2"),
        ("y_groups", "<u2"),  # channel groups this instruction writes
        ("y_group0", "<u2"),  # the first of them
        ("y_row0", "<u2"),  # first output row
        ("y_rows", "<u2"),  # output rows
        ("y_cols", "<u2"),  # output columns of each row (flattened 1x1: all pixels of the tile, y_rows = 1)
        ("x_cols", "<u2"),  # input columns that exist (flattened: as y_cols)
        ("x_height", "<u2"),  # input rows that exist
        ("x_slot", "<u2"),  # ring slot of input row x_first
        ("x_first", "<u2"),  # first input row that exists for this tile: max(y_row0 * stride_h - pad_top, 0)
        ("y_slot", "<u2"),  # ring slot of row y_row0
        ("r_slot", "<u2"),  # ring slot of row y_row0 in r
        # window
        ("kernel_h", "u1"),
        ("kernel_w", "u1"),
        ("stride_h", "u1"),
        ("stride_w", "u1"),
        ("pad_top", "u1"),
        ("pad_left", "u1"),
        ("x_zero", "i1"),
        ("slots", "u1"),  # bit s: for the frame in slot s; one bit, but LOAD_WEIGHTS: all frames that use the rows
        # weight ring and DDR
        ("w_row", "<u2"),  # ring row of this instruction's blob (LOAD_WEIGHTS: destination)
        ("t_row", "<u2"),  # ring row of its table
        ("w_rows", "<u2"),  # LOAD_WEIGHTS: rows to copy
        ("ci_groups", "<u2"),  # CONV, LINEAR: input groups that one output group sums over
        ("og_per_group", "<u2"),  # CONV: output groups that share their input groups; 0: dense
        ("add_shift", "u1"),
        ("add_zero", "i1"),
        ("channels", "<u2"),  # LOAD_INPUT: channels of the image; LAYER_NORM: N
        ("ddr", "<u4"),  # LOAD_WEIGHTS: byte offset / 128; LOAD_INPUT, STORE: word offset in the frame
        ("add_ma", "<u4"),
        ("add_mb", "<u4"),
        ("add_constant", "<i4"),
        ("trace", "<u4"),  # word offset of y in the frame's trace buffer; layout [group][row][column]
        ("y_height", "<u2"),  # rows of the whole tensor y, for the trace layout
        ("block", "u1"),  # LOAD_INPUT: 2 = space to depth
        ("reserved", "u1"),
        ("y_zero", "<i2"),  # zero point of the requantization; 12-bit codes (WIDE) need the second byte
        ("reserved1", "<u2"),
        # synchronisation
        ("waits", "<i2", len(Queue)),  # completed instructions of each queue, counted from this group's first
        ("wait_mask", "<u2"),  # bit q: waits[q] holds
        ("next_queue", "u1"),  # queue of the next instruction in sequential order; of the last one: first_queue
        ("spare", "u1", 3),
    ]
)

if INSTRUCTION.itemsize != INSTRUCTION_BYTES or HEADER.itemsize != INSTRUCTION_BYTES:
    raise InternalError(f"instruction is {INSTRUCTION.itemsize} bytes, header {HEADER.itemsize}, expected 128")


_LIMITS = {name: np.iinfo(INSTRUCTION[name].base) for name in INSTRUCTION.names or ()}
_RANGES = {name: (limits.min, limits.max) for name, limits in _LIMITS.items()}
"""Least and largest value of each field."""


def instruction(opcode: Opcode, **fields: Any) -> Any:
    """One instruction record; raises InternalError for a value that does not fit its field."""
    record = np.zeros((), INSTRUCTION)
    record["opcode"] = int(opcode)
    for name, value in fields.items():
        least, most = _RANGES[name]
        low, high = (value, value) if isinstance(value, int) else (int(np.min(value)), int(np.max(value)))
        if not least <= low <= high <= most:
            raise InternalError(f"{opcode.name}.{name} = {value} does not fit {INSTRUCTION[name]}")
        record[name] = value
    return record[()]


@dataclass(frozen=True)
class Config:
    """The machine's parameters; together with the Program all that a backend needs. Rendered as ``config.hpp``."""

    blocks: int = 16
    """Array blocks of 16 output channels x 16 input channels x 1 pixel (128 DSP each); a power of two."""
    acc_groups: int = 32
    """Pixel groups of partial sums the array keeps."""
    epilogue_words: int = 4
    """HLS: words of 16 lanes that CONV's epilogue requantizes in a cycle: 4 or 8."""
    requantize_words: int = 4
    """RTL: the same."""
    residual_words: int = 2
    """RTL: words of 16 lanes to which a residual is added in a cycle: 1, 2 or 4."""
    slots: int = 2
    """Frames in flight, each with its own pads and vector memory: a group. The Program describes one group."""
    pads: int = 8
    """Pads of a slot."""
    pad_depth: int = 1024
    """Word rows of a pad; a pad is 16 banks x pad_depth x 128 bit."""
    vector_words: int = 512
    """16-byte words of a slot's vector memory."""
    ring_rows: int = 4096
    """128-byte rows of the weight ring."""
    head_rows: int = 512
    """128-byte rows of the MLP engine's ring; its rows are numbered from ring_rows on."""
    wide_tables: int = 1
    """1: engines hold tables of 4,096 entries, 0: of 256."""
    line_words: int = 512
    """DW engine: words of one line-buffer row (input width rounded up to a step of 4 x stride)."""
    shift_low: int = 0
    """RTL: smallest shift in the parameter rows of CONV and DEPTHWISE."""
    shift_high: int = 47
    """RTL: the largest; each factor of two in ``shift_high - shift_low + 1`` costs 18 to 33 LUTs a requantized lane."""
    add_shift_low: int = 0
    """RTL: smallest ``add_shift`` of an instruction."""
    add_shift_high: int = 47
    engines: int = 0x1FF
    """RTL: bit q is set if queue q has an engine. Those of DEPTHWISE, ELTWISE, ATTENTION and MLP may be left out."""
    kernel_max: int = 7
    """Largest window side of the array; the DW engine takes up to 5."""
    mlp_channels: int = 4096
    """Longest vector of the MLP engine."""
    mlp_outputs: int = 8
    """RTL: outputs that the MLP engine multiplies with 16 inputs each in a cycle: 2, 4 or 8."""
    head_dim: int = 16
    """Largest head of the linear-attention engine: 16 or 32."""
    attention_bits: int = 29
    """RTL: bits of the largest sum K^T V, 20 to 32 (:func:`hwgen.kernels.linear_attention.sum_bits`). The engine
    multiplies Q with 8 of them a cycle."""
    attention_divide_bits: int = 62
    """RTL: bits of the largest scaled numerator and denominator, 32 to 62 (``divide_bits`` there)."""
    attention_quantized: int = 1
    """RTL: 0 leaves out what only an ATTENTION with QUANTIZED needs: tables and requantization."""
    image_row_bytes: int = 1024
    """Longest row of the input image in bytes, rounded up to 16."""

    @property
    def attention_digits(self) -> int:
        """RTL: digits of a sum K^T V; a pixel of 16 channels takes as many cycles."""
        return 3 if self.attention_bits <= 24 else 4


def queues(instructions: npt.NDArray[Any], config: Config) -> npt.NDArray[np.int64]:
    """The queue of each instruction; raises InternalError for an unknown opcode."""
    known = np.full(256, -1, np.int64)
    for opcode, queue in QUEUE_OF.items():
        known[opcode] = queue
    opcodes = instructions["opcode"]
    head = instructions["w_row"] >= config.ring_rows
    loads = np.where(head, int(Queue.HEAD), int(Queue.WEIGHTS))
    found = np.where(opcodes == Opcode.LOAD_WEIGHTS, loads, known[opcodes])
    if (found < 0).any():
        raise InternalError(f"instruction {int(np.argmin(found))} has opcode {opcodes[np.argmin(found)]}")
    return found


def queue_of(record: Any, config: Config) -> Queue:
    """The queue of one instruction."""
    return Queue(int(queues(np.array([record], INSTRUCTION), config)[0]))


@dataclass(frozen=True)
class Program:
    """Header, instructions, weights and the machine they are for."""

    config: Config
    header: npt.NDArray[Any]
    instructions: npt.NDArray[Any]
    """In sequential order; program.bin holds them queue by queue."""
    weights: bytes

    def positions(self) -> npt.NDArray[np.int64]:
        """Where each instruction lies in program.bin, counted in instructions behind the header."""
        order = np.argsort(queues(self.instructions, self.config), kind="stable")
        positions = np.empty(len(order), np.int64)
        positions[order] = np.arange(len(order))
        return positions

    def linked(self) -> Program:
        """The same with ``queue_counts``, ``first_queue`` and ``next_queue`` as the sequential order wants them."""
        header, records = self.header.copy(), self.instructions.copy()
        found = queues(records, self.config)
        header["queue_counts"] = np.bincount(found, minlength=len(Queue))
        header["first_queue"] = found[0] if len(found) else 0
        records["next_queue"] = np.roll(found, -1)  # behind the last one the next frame begins
        return replace(self, header=header[()], instructions=records)

    def to_bytes(self) -> bytes:
        """``program.bin``."""
        linked = self.linked()
        body = np.empty_like(linked.instructions)
        body[self.positions()] = linked.instructions
        return linked.header.tobytes() + body.tobytes()


def program_from_bytes(program: bytes, weights: bytes, config: Config) -> Program:
    """Decode ``program.bin``; raises InternalError where magic, version, length or order are wrong."""
    header = np.frombuffer(program[:INSTRUCTION_BYTES], HEADER)
    if len(header) != 1 or int(header[0]["magic"]) != MAGIC or int(header[0]["version"]) != VERSION:
        raise InternalError("program.bin is not a hwgen Program of this version")
    body = program[INSTRUCTION_BYTES:]
    if len(body) != int(header[0]["instructions"]) * INSTRUCTION_BYTES:
        raise InternalError("program.bin is truncated")
    stored = np.frombuffer(body, INSTRUCTION)
    return Program(config, header[0], stored[_sequential(header[0], stored, config)], weights)


def _sequential(header: npt.NDArray[Any], stored: npt.NDArray[Any], config: Config) -> list[int]:
    """Positions in program.bin in sequential order."""
    counts = header["queue_counts"].tolist()
    whole = sum(counts) == len(stored)
    if not whole or not np.array_equal(queues(stored, config), np.repeat(np.arange(len(Queue)), counts)):
        raise InternalError("program.bin does not hold its instructions queue by queue")
    starts = [sum(counts[:q]) for q in range(len(counts))]
    done = [0] * len(counts)
    following = stored["next_queue"].tolist()
    queue = int(header["first_queue"])
    order: list[int] = []
    for _ in range(len(stored)):
        if queue >= len(counts) or done[queue] == counts[queue]:
            raise InternalError(f"instruction {len(order)} of program.bin would come from queue {queue}")
        order.append(starts[queue] + done[queue])
        done[queue] += 1
        queue = following[order[-1]]
    return order
