# SPDX-License-Identifier: Apache-2.0
"""What synthesizable C++ must not use, and compiling the emitted sources with the compilers that are installed.

Only what Vitis compiles is judged: code behind ``#ifndef __SYNTHESIS__`` belongs to the simulation.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hwgen.backends.hls.cpp import Design, Finding, Function, Node, line_of, parse, text, walk
from hwgen.errors import UserError

# Everything that Vitis HLS supplies or that holds only types, limits and traits.
SYSTEM_HEADERS = frozenset(
    (
        "ap_int.h",
        "ap_axi_sdata.h",
        "hls_stream.h",
        "hls_streamofblocks.h",
        "hls_task.h",
        "cstddef",
        "cstdint",
        "stddef.h",
        "stdint.h",
        "climits",
        "limits",
        "limits.h",
        "type_traits",
    )
)
_ALLOCATIONS = frozenset(("malloc", "calloc", "realloc", "free", "alloca", "aligned_alloc"))
_CONTAINERS = frozenset(
    (
        "array",
        "basic_string",
        "bitset",
        "deque",
        "forward_list",
        "function",
        "initializer_list",
        "list",
        "map",
        "multimap",
        "multiset",
        "optional",
        "pair",
        "priority_queue",
        "queue",
        "set",
        "shared_ptr",
        "stack",
        "string",
        "string_view",
        "tuple",
        "unique_ptr",
        "unordered_map",
        "unordered_multimap",
        "unordered_multiset",
        "unordered_set",
        "valarray",
        "variant",
        "vector",
        "weak_ptr",
    )
)
_OUTPUT = frozenset(("printf", "fprintf", "puts", "putchar", "cout", "cerr", "clog", "endl", "abort", "exit"))
_FLOATS = frozenset(("float", "double", "long double", "half", "float_t", "double_t"))
_TYPES = ("primitive_type", "sized_type_specifier", "type_identifier")
_WORDS = {
    "new_expression": "no dynamic memory: new",
    "delete_expression": "no dynamic memory: delete",
    "virtual": "no virtual functions",
    "virtual_function_specifier": "no virtual functions",
    "throw_statement": "no exceptions: throw",
    "try_statement": "no exceptions: try",
    "goto_statement": "no goto",
}


def check_style(files: Sequence[Path]) -> list[Finding]:
    """Dynamic memory, recursion, virtual functions, std containers, exceptions, output and floating point; sorted.

    Raises UserError if the C++ parser is not installed.
    """
    design, findings = parse(files)
    for source in design.sources:
        for node in walk(source.root):
            for message in _node(node):
                findings.append(Finding(source.path, line_of(node), message))
    findings += _recursion(design)
    return sorted(set(findings))


def synthesizable_files(directory: Path) -> list[Path]:
    """The C++ files of an emitted ``hls`` folder (or of ``templates/hls``) that Vitis synthesizes; sorted."""
    files = [p for suffix in ("*.h", "*.hpp", "*.cpp") for p in directory.rglob(suffix)]
    simulated = [p for p in files if "sim" in p.relative_to(directory).parts or p.stem.startswith(("testbench", "tb_"))]
    return sorted(set(files) - set(simulated))


def _node(node: Node) -> Iterator[str]:
    kind = node.type
    if kind in _WORDS and (node.is_named or kind == "virtual"):
        yield _WORDS[kind]
    elif kind == "preproc_include":
        written = text(node.child_by_field_name("path"))
        if written.startswith("<") and written.strip("<>") not in SYSTEM_HEADERS:
            yield f"#include {written} is not for synthesis; there is {', '.join(sorted(SYSTEM_HEADERS))}"
        elif written.startswith('"') and written.strip('"') in _CONTAINERS:
            yield f"#include {written} is not for synthesis"
    elif (kind in _TYPES and text(node) in _FLOATS) or (kind == "number_literal" and _is_float(text(node))):
        yield f"no floating point: {text(node)}"
    elif kind == "using_declaration" and re.match(r"using\s+namespace\s+std\b", text(node)):
        yield "no using namespace std: std names must show"
    elif kind == "qualified_identifier" and text(node.child_by_field_name("scope")) == "std":
        name = re.split(r"[<:\s]", text(node.child_by_field_name("name")))[0]
        if name in _CONTAINERS:
            yield f"no std containers or owners: std::{name}"
        elif name in _OUTPUT or name in _ALLOCATIONS:
            yield f"not for synthesis: std::{name}"
    elif kind == "call_expression":
        name = text(node.child_by_field_name("function"))
        if name in _ALLOCATIONS:
            yield f"no dynamic memory: {name}"
        elif name in _OUTPUT:
            yield f"not for synthesis: {name}"


def _is_float(literal: str) -> bool:
    digits = literal.replace("'", "").lower()
    if digits.startswith("0x"):
        return "p" in digits
    return not digits.startswith("0b") and re.search(r"[.e]", digits) is not None


def _recursion(design: Design) -> list[Finding]:
    """Functions that reach themselves; a template that calls itself with other arguments ends at compile time."""
    functions = {f.key: f for group in design.functions.values() for f in group}
    calls = {key: [g.key for g in _called(design, f)] for key, f in functions.items()}
    findings = []
    reported: set[tuple[str, int]] = set()
    for key, function in functions.items():
        path = [] if key in reported else _path_back(calls, key)
        if path:
            reported.update(path)
            names = " -> ".join([function.name, *(functions[k].name for k in path)])
            findings.append(Finding(function.file, function.line, f"no recursion: {names}"))
    return findings


def _path_back(calls: dict[tuple[str, int], list[tuple[str, int]]], start: tuple[str, int]) -> list[tuple[str, int]]:
    paths = [[target] for target in calls[start]]
    seen: set[tuple[str, int]] = set()
    while paths:
        path = paths.pop(0)
        if path[-1] == start:
            return path
        if path[-1] not in seen:
            seen.add(path[-1])
            paths += [[*path, following] for following in calls[path[-1]]]
    return []


def _called(design: Design, function: Function) -> Iterator[Function]:
    for node in walk(function.body):
        if node.type == "call_expression":
            for other in design.called(node, function.owner):
                if other.key != function.key or not _other_instance(node.child_by_field_name("function"), function):
                    yield other


def _other_instance(callee: Node, function: Function) -> bool:
    arguments = next((n for n in walk(callee) if n.type == "template_argument_list"), None)
    if arguments is None:
        return False
    own = "<" + ",".join(function.template_parameters) + ">"
    return bool(function.template_parameters) and re.sub(r"\s", "", text(arguments)) != own


# --- compilers -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CompileResult:
    """Outcome of one compiler on all sources and, each alone, all headers."""

    compiler: str
    compiled: tuple[Path, ...]
    """Files that were compiled."""
    errors: tuple[tuple[Path, str], ...]
    """(file, compiler's messages) of those that failed."""

    @property
    def ok(self) -> bool:
        return not self.errors


FLAGS = ("-std=c++14", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-Wno-unused-label", "-fsyntax-only")
"""HLS pragmas are unknown to g++, and loop labels are for the reports of Vitis; every other warning is an error."""


def installed_compilers() -> list[str]:
    """Of g++ and clang++, those on PATH."""
    return [name for name in ("g++", "clang++") if shutil.which(name) is not None]


def compile_check(
    directory: Path, compiler: str, include: Sequence[Path], *, system: Sequence[Path] = (), headers: bool = True
) -> CompileResult:
    """Compiles each ``*.cpp`` under ``directory`` and, with ``headers``, each header alone, without making an object.

    ``include`` are the design's own folders, ``system`` those of others (``ap_int.h``), whose warnings do not count.
    A header alone shows that it includes what it uses. Raises UserError if the compiler is missing or no file is found.
    """
    found = shutil.which(compiler)
    if found is None:
        raise UserError(f"The compiler {compiler} is not on PATH. Install it, or name another with CXX.")
    patterns = ("*.cpp", "*.hpp", "*.h") if headers else ("*.cpp",)
    sources = sorted(path for pattern in patterns for path in directory.rglob(pattern))
    if not sources:
        raise UserError(f"{directory} holds no C++ file. Run hwgen build first.")
    paths = [f"-I{p}" for p in include] + [f for p in system for f in ("-isystem", str(p))]
    errors = []
    for source in sources:
        # A header goes in as an include, so that it must stand alone and '#pragma once' is no warning.
        code = f'#include "{source.resolve()}"\n'
        command = [found, *FLAGS, *paths, "-x", "c++", "-"]
        done = subprocess.run(command, input=code, capture_output=True, text=True, cwd=directory, check=False)
        if done.returncode != 0:
            errors.append((source, done.stderr.strip()))
    return CompileResult(compiler, tuple(sources), tuple(errors))
