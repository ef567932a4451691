# SPDX-License-Identifier: Apache-2.0
"""The C++ header's field table against the Python one, which is the definition."""

from __future__ import annotations

import re

import numpy as np
import pytest

from hwgen.plan import program
from hwgen.resources import folder

HEADER_FILE = folder("templates") / "hls" / "include" / "instruction.hpp"
UNUSED = ("waits", "wait_mask", "next_queue", "first_queue")
"""Waits are looked at in the record itself; the sequential order is for machines without overlap."""


def python_fields(dtype: np.dtype) -> dict[str, tuple[int, int, bool]]:
    """Name -> (byte offset, bits, signed), without what is reserved; each element of an array on its own."""
    found = {}
    for name in dtype.names or ():
        if not name.startswith(("reserved", "spare")) and name not in UNUSED:
            kind, offset = dtype.fields[name][:2]
            size = kind.base.itemsize
            for index in range(kind.itemsize // size):
                key = f"{name}[{index}]" if kind.shape else name
                found[key] = (offset + index * size, size * 8, kind.base.kind == "i")
    return found


def cpp_fields(text: str, struct: str, variable: str) -> dict[str, tuple[int, int, bool]]:
    """The same from the struct's declarations and its decode function."""
    body = re.search(rf"struct {struct} {{(.*?)}};", text, re.S)
    assert body is not None
    types = {}
    for kind, bits, name, array in re.findall(r"ap_(u?int)<(\d+)> (\w+)(\[QUEUES\])?;", body[1]):
        names = [f"{name}[{index}]" for index in range(len(program.Queue))] if array else [name]
        types |= dict.fromkeys(names, (kind, int(bits)))
    decoded = re.findall(rf"{variable}\.([\w\[\]]+) = field<(\d+), (\d+)>\(record\);", text)
    assert sorted(n for n, _, _ in decoded) == sorted(types)
    assert all(int(bits) == types[name][1] for name, _, bits in decoded)
    return {name: (int(offset), int(bits), types[name][0] == "int") for name, offset, bits in decoded}


def constants(text: str, prefix: str) -> dict[str, int]:
    return {n: int(v) for n, v in re.findall(rf"constexpr int {prefix}_(\w+) = (\d+);", text)}


def offsets(text: str) -> dict[str, int]:
    return {n.lower(): int(v) for n, v in re.findall(r"constexpr int BYTE_(\w+) = (\d+);", text)}


def differences(text: str) -> list[str]:
    """Everything in which the header is not the Python definition."""
    pairs = {
        "instruction": (cpp_fields(text, "Instruction", "ins"), python_fields(program.INSTRUCTION)),
        "header": (cpp_fields(text, "Header", "header"), python_fields(program.HEADER)),
        "opcodes": (constants(text, "OP"), {o.name: o.value for o in program.Opcode}),
        "queues": (constants(text, "QUEUE"), {q.name: q.value for q in program.Queue}),
        "offsets": (offsets(text), {n: program.INSTRUCTION.fields[n][1] for n in offsets(text)}),
        "flags": (constants(text, "FLAG"), {f.name: f.value for f in program.Flag}),
        "magic": (re.findall(r"unsigned MAGIC = (\w+);", text), [f"0x{program.MAGIC:08X}"]),
        "version": (re.findall(r"unsigned VERSION = (\d+);", text), [str(program.VERSION)]),
    }
    return [name for name, (cpp, python) in pairs.items() if cpp != python]


def test_header_is_the_definition() -> None:
    text = HEADER_FILE.read_text()
    assert len(cpp_fields(text, "Instruction", "ins")) > 40
    assert differences(text) == []


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("ins.y_cols = field<40, 16>", "ins.y_cols = field<42, 16>", "instruction"),
        ("ap_int<8> x_zero;", "ap_uint<8> x_zero;", "instruction"),
        ("header.input_words = field<16, 32>", "header.input_words = field<20, 32>", "header"),
        ("OP_POOL = 7", "OP_POOL = 8", "opcodes"),
        ("FLAG_ADD = 8", "FLAG_ADD = 16", "flags"),
        ("QUEUE_MLP = 7", "QUEUE_MLP = 6", "queues"),
        ("BYTE_WAITS = 104", "BYTE_WAITS = 106", "offsets"),
        ("header.queue_counts[3] = field<48, 32>", "header.queue_counts[3] = field<44, 32>", "header"),
        ("MAGIC = 0x4E", "MAGIC = 0x4F", "magic"),
    ],
)
def test_a_changed_header_is_found(old: str, new: str, where: str) -> None:
    text = HEADER_FILE.read_text()
    assert text.count(old) == 1
    assert differences(text.replace(old, new)) == [where]


def test_sizes_shared_with_the_format() -> None:
    text = (HEADER_FILE.parent / "types.hpp").read_text()
    assert re.findall(r"constexpr int QUEUES = (\d+);", text) == [str(len(program.Queue))]
    for name in ("LANES", "BANKS", "WEIGHT_PORTS", "VECTOR"):
        assert re.findall(rf"constexpr int {name} = (\d+);", text) == [str(getattr(program, name))]
    assert re.findall(r"RECORD_WORDS = (\d+);", text) == [str(program.INSTRUCTION_BYTES // program.WORD_BYTES)]
    assert re.findall(r"ROW_CHUNKS = (\d+);", text) == [str(program.ROW_BYTES // 8)]
