# SPDX-License-Identifier: Apache-2.0
"""Checks that every DATAFLOW region is canonical (UG1399, "Canonical Forms").

Vitis accepts less than it simulates: sequential C++ gives right results for a region with feedback or two producers,
and the hardware hangs or is serialised. Which way data goes is read off the callee: what it does with the parameter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hwgen.backends.hls.cpp import (
    Design,
    Finding,
    Function,
    Node,
    Variable,
    line_of,
    parse,
    root_identifier,
    text,
    walk,
)

READ, WRITE, UNKNOWN = "read", "write", "unknown"
_IGNORED = ("comment", "preproc_call", "static_assert_declaration", "alias_declaration", "type_definition", *"{};")
_READ_METHODS = ("read", "read_nb")
_WRITE_METHODS = ("write", "write_nb")
_STATUS_METHODS = ("empty", "full", "size", "capacity")
_COPIES = ("memcpy", "memmove", "memset")
_COMPUTATIONS = (
    "binary_expression",
    "unary_expression",
    "conditional_expression",
    "assignment_expression",
    "update_expression",
)

Key = tuple[str, int, str]
"""Identity of a channel: file, offset of the declaration, and the element or member, such as ``[1]``."""


def check_dataflow(files: Sequence[Path]) -> list[Finding]:
    """All findings in the DATAFLOW regions of the files, which are taken as one design; sorted, empty if all is well.

    Raises UserError if the C++ parser is not installed.
    """
    design, findings = parse(files)
    for source in design.sources:
        for node in walk(source.root):
            if node.type == "preproc_call" and _is_dataflow(node):
                body = node.parent
                if body.type == "compound_statement":  # check_pragmas reports another place
                    findings += [Finding(source.path, n, m) for n, m in _region(design, body)]
    return sorted(set(findings))


def _is_dataflow(node: Node) -> bool:
    words = text(node.child_by_field_name("argument")).split("//")[0].split()
    return [w.lower() for w in words[:2]] == ["hls", "dataflow"]


@dataclass
class _Channel:
    """What the processes of a region do with one variable; processes are numbered in the order of the text."""

    name: str
    variable: Variable
    line: int
    scalar: bool
    readers: list[int] = field(default_factory=list)
    writers: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class _Process:
    name: str
    line: int
    function: Function | None
    call: Node


def _region(design: Design, body: Node) -> Iterator[tuple[int, str]]:
    outer = body.parent
    if outer.type in ("for_statement", "while_statement", "do_statement", "for_range_loop"):
        yield from _loop_form(design, outer)
    calls: list[Node] = []
    whole = True  # every statement was understood; else what is never read or written is not known
    for child in body.children:
        if child.type in _IGNORED:
            continue
        if child.type == "declaration":
            problems = list(_declaration(design, child))
            whole = whole and not problems
            yield from problems
        elif child.type == "expression_statement" and _is_call(child):
            calls.append(child.named_children[0])
        elif child.type == "expression_statement":
            whole = False
            yield line_of(child), "only declarations and calls may stand in a DATAFLOW region; this is a computation"
        else:
            whole = False
            what = child.type.replace("_statement", "").replace("_", " ")
            yield line_of(child), f"only declarations and calls may stand in a DATAFLOW region, no '{what}'"
    processes: list[_Process] = []
    channels: dict[Key, _Channel] = {}
    for call in calls:
        process, messages = _process(design, call, len(processes), channels, body)
        yield from messages
        whole = whole and process.function is not None and not any("is not known" in m for _, m in messages)
        processes.append(process)
    for line, message in _channel_rules(design, body, processes, channels):
        if whole or not re.search(" never |by no process", message):
            yield line, message
    yield from _shared_state(design, processes)


def _is_call(statement: Node) -> bool:
    children = [c for c in statement.named_children if c.type != "comment"]
    if len(children) != 1 or children[0].type != "call_expression":
        return False
    callee = children[0].child_by_field_name("function")
    return callee.type in ("identifier", "qualified_identifier", "template_function")


def _loop_form(design: Design, loop: Node) -> Iterator[tuple[int, str]]:
    """``for (int i = 0; i < bound; ++i)`` with a constant or scalar parameter as the bound, and nothing else."""
    message = "a DATAFLOW loop must have the form for (int i = 0; i < bound; ++i), bound a constant or a parameter"
    if loop.type != "for_statement":
        yield line_of(loop), message
        return
    initializer, condition = loop.child_by_field_name("initializer"), loop.child_by_field_name("condition")
    update = loop.child_by_field_name("update")
    start = re.fullmatch(r"[\w:<>\s]+?\s*\b(\w+)\s*=\s*0\s*;?", text(initializer))
    counter = start.group(1) if start is not None else ""
    steps = (f"++{counter}", f"{counter}++", f"{counter}+=1")
    if start is None or re.sub(r"\s", "", text(update)) not in steps or condition is None:
        yield line_of(loop), message
        return
    left, right = condition.child_by_field_name("left"), condition.child_by_field_name("right")
    if text(left) != counter or text(condition.child_by_field_name("operator")) != "<":
        yield line_of(loop), message
        return
    bound = design.lookup(loop, text(right)) if right.type == "identifier" else None
    fixed = bound is not None and (bound.kind != "local" or bound.constant)
    if not fixed and design.evaluate(right) is None and not _is_constant(design, right):
        yield line_of(loop), message


def _is_constant(design: Design, node: Node) -> bool:
    """Whether an expression uses nothing but literals, constants and template parameters."""
    for name in walk(node):
        if name.type == "identifier":
            found = design.lookup(name, text(name))
            if found is None or not (found.constexpr or found.kind == "template" or design.known(found)):
                return False
        elif name.type in ("call_expression", "field_expression") and design.evaluate(name) is None:
            return False
    return True


def _declaration(design: Design, node: Node) -> Iterator[tuple[int, str]]:
    stream = re.search(r"\bstream", text(node.child_by_field_name("type"))) is not None
    constants = [text(c) for c in node.children if c.type == "type_qualifier"]
    if any(text(c) == "static" for c in node.children) and not constants:
        names = [v for v in design.declared_in(node.parent, node.end_byte) if v.line == line_of(node)]
        if not all(design.is_stream(v) for v in names):
            yield (
                line_of(node),
                "a static in a DATAFLOW region is treated like a local variable; only streams may be static",
            )
    for declarator in node.children_by_field_name("declarator"):
        value = declarator.child_by_field_name("value") if declarator.type == "init_declarator" else None
        if value is None or stream:
            continue  # a stream's initialiser is its name
        if not _is_constant(design, value):
            yield line_of(node), "a declaration in a DATAFLOW region must not compute: put it into a process"


# --- what a call does with its arguments ---------------------------------------------------------------------


def _process(
    design: Design, call: Node, number: int, channels: dict[Key, _Channel], body: Node
) -> tuple[_Process, list[tuple[int, str]]]:
    messages: list[tuple[int, str]] = []
    callee = call.child_by_field_name("function")
    name = _called_name(callee)
    arguments = [c for c in call.child_by_field_name("arguments").named_children if c.type != "comment"]
    function = _definition(design, name, len(arguments))
    process = _Process(name, line_of(call), function, call)
    if function is None:
        messages.append((line_of(call), f"'{name}' has no definition here, so its dataflow is not known"))
        return process, messages
    if function.returns != "void":
        messages.append((line_of(call), f"process '{name}' must return void"))
    for parameter, argument in zip(function.parameters, arguments, strict=False):
        if any(n.type == "call_expression" for n in walk(argument)) and not _is_constant(design, argument):
            messages.append((line_of(argument), f"argument '{text(argument)}' calls a function: make it a process"))
            continue
        if argument.type in _COMPUTATIONS and not _is_constant(design, argument):
            messages.append((line_of(argument), f"argument '{text(argument)}' computes: put it into a process"))
        identifier = root_identifier(argument)
        variable = design.lookup(argument, text(identifier)) if identifier is not None else None
        if variable is None or variable.kind in ("template", "macro", "enumerator"):
            continue
        constant = variable.constexpr or (variable.constant and variable.value is not None)
        if constant and (design.resolve(variable)[1] == 0 or _inside(variable, body)):
            continue
        if variable.kind == "global" or (variable.kind == "local" and not _belongs(variable, body)):
            where = "use a parameter or declare it inside"
            messages.append(
                (line_of(argument), f"'{variable.name}' comes from outside of the DATAFLOW region: {where}")
            )
        uses = usage(design, function, parameter)
        key = (*variable.key, _element(argument))
        scalar = design.resolve(variable)[1] == 0 and not design.is_stream(variable)
        label = variable.name + key[2]
        channel = channels.setdefault(key, _Channel(label, variable, variable.line, scalar))
        if UNKNOWN in uses:
            message = (
                f"what '{name}' does with '{variable.name}' is not known: a function it calls has no definition here"
            )
            messages.append((line_of(call), message))
        if READ in uses:
            channel.readers.append(number)
        if WRITE in uses:
            channel.writers.append(number)
    return process, messages


def _belongs(variable: Variable, body: Node) -> bool:
    """Whether a local variable is declared in the region, or is the counter of its loop."""
    return _inside(variable, body) or _inside(variable, body.parent.child_by_field_name("initializer") or body)


def _called_name(callee: Node) -> str:
    return text(callee).split("<")[0].split("::")[-1].strip()


def _definition(design: Design, name: str, arguments: int) -> Function | None:
    candidates = [f for f in design.functions.get(name, []) if not f.owner]
    fitting = [f for f in candidates if len(f.parameters) >= arguments]
    exact = [f for f in fitting if len(f.parameters) == arguments]
    return (exact or fitting or [None])[0]  # type: ignore[list-item]


def _element(argument: Node) -> str:
    """``[1]`` or ``.member`` behind the variable, so that elements of an array of streams are separate channels."""
    node, parts = argument, []
    while node.type in ("subscript_expression", "field_expression"):
        if node.type == "field_expression":
            parts.append("." + text(node.child_by_field_name("field")))
        else:
            parts.append(text(node.child_by_field_name("indices")))
        node = node.child_by_field_name("argument")
    return "".join(reversed(parts))


def usage(design: Design, function: Function, parameter: Variable) -> frozenset[str]:
    """Whether a function reads or writes what the parameter refers to; UNKNOWN where it is passed to an unknown one."""
    return _usage(design, function, parameter, frozenset())


def _usage(design: Design, function: Function, parameter: Variable, active: frozenset[object]) -> frozenset[str]:
    cached = design._cache.get(("usage", function.key, parameter.key))
    if cached is not None:
        return cached  # type: ignore[no-any-return]
    step = (function.key, parameter.key)
    if step in active:
        return frozenset()
    uses: set[str] = set()
    shared = parameter.reference or design.resolve(parameter)[1] > 0
    names = {parameter.key}
    for node in walk(function.body):
        if node.type != "identifier":
            continue
        variable = design.lookup(node, text(node))
        if variable is None or variable.key not in names:
            continue
        alias = _bound_alias(design, node)
        if alias is not None:
            names.add(alias.key)
            continue
        uses |= _use(design, node, active | {step})
    if not shared or (parameter.constant and not design.is_stream(parameter)):
        uses = {READ} if uses & {READ, UNKNOWN} else set()
    result = frozenset(uses)
    if not active:
        design._cache[("usage", function.key, parameter.key)] = result
    return result


def _bound_alias(design: Design, node: Node) -> Variable | None:
    """The local reference or pointer that a declaration binds to this variable, such as ``T& r = a[i];``."""
    outer = node
    while outer.parent is not None and outer.parent.type in (
        "subscript_expression",
        "field_expression",
        "pointer_expression",
        "parenthesized_expression",
        "binary_expression",
    ):
        if outer.parent.type == "subscript_expression" and outer.parent.child_by_field_name("argument") != outer:
            return None  # an index
        outer = outer.parent
    declarator = outer.parent
    if declarator is None or declarator.type != "init_declarator" or declarator.child_by_field_name("value") != outer:
        return None
    inner = declarator.child_by_field_name("declarator")
    if not any(n.type in ("reference_declarator", "pointer_declarator") for n in walk(inner)):
        return None
    name = next(n for n in walk(inner) if n.type == "identifier")
    # look from behind the declaration, where the name is visible
    visible = design.declared_in(_block(node), declarator.end_byte)
    return next((v for v in visible if v.name == text(name)), None)


def _block(node: Node) -> Node:
    while node.type != "compound_statement":
        node = node.parent
    return node


def _use(design: Design, node: Node, active: frozenset[object]) -> set[str]:
    """What is done at one place where the variable is named."""
    outer = node
    while True:
        parent = outer.parent
        kind = parent.type
        if kind in ("subscript_expression", "pointer_expression", "field_expression"):
            if parent.child_by_field_name("argument") != outer:
                return {READ}  # an index
            outer = parent
        elif kind == "parenthesized_expression":
            outer = parent
        elif kind == "call_expression" and parent.child_by_field_name("function") == outer:
            method = text(outer.child_by_field_name("field")) if outer.type == "field_expression" else ""
            if method in _READ_METHODS:
                return {READ}
            if method in _WRITE_METHODS:
                return {WRITE}
            if method in _STATUS_METHODS:
                return set()
            if method == "set":
                return {READ, WRITE}
            outer = parent  # range(), bit() and the like: what is done with the result counts
        else:
            break
    parent = outer.parent
    kind = parent.type
    if kind == "assignment_expression" and parent.child_by_field_name("left") == outer:
        return {WRITE} if text(parent.child_by_field_name("operator")) == "=" else {READ, WRITE}
    if kind == "update_expression":
        return {READ, WRITE}
    if kind == "binary_expression" and text(parent.child_by_field_name("operator")) in ("<<", ">>"):
        if _is_stream(design, outer):
            return {WRITE} if text(parent.child_by_field_name("operator")) == "<<" else {READ}
        left = parent.child_by_field_name("left")
        if left != outer and text(parent.child_by_field_name("operator")) == ">>" and _is_stream(design, left):
            return {WRITE}  # stream >> variable
        return {READ}
    if kind == "binary_expression" and parent.parent.type == "argument_list" and outer.type == "identifier":
        found = design.lookup(outer, text(outer))
        if found is not None and design.resolve(found)[1] > 0:
            return _passed(design, parent, active)  # pointer plus offset
        return {READ}
    if kind == "argument_list":
        return _passed(design, outer, active)
    return {READ}


def _is_stream(design: Design, node: Node) -> bool:
    identifier = root_identifier(node)
    found = design.lookup(identifier, text(identifier)) if identifier is not None else None
    return found is not None and design.is_stream(found)


def _passed(design: Design, argument: Node, active: frozenset[object]) -> set[str]:
    """What the called function does with the argument."""
    call = argument.parent.parent
    if call is None or call.type != "call_expression":
        return {READ}  # constructor
    arguments = [c for c in call.child_by_field_name("arguments").named_children if c.type != "comment"]
    position = next(i for i, a in enumerate(arguments) if a == argument)
    callee = call.child_by_field_name("function")
    if callee.type == "field_expression":
        return {WRITE} if text(callee.child_by_field_name("field")) in _READ_METHODS else {READ}  # s.read(x)
    name = _called_name(callee)
    if name in _COPIES:
        return {WRITE} if position == 0 else {READ}
    function = _definition(design, name, len(arguments))
    if function is None or position >= len(function.parameters):
        identifier = root_identifier(argument)
        found = design.lookup(argument, text(identifier)) if identifier is not None else None
        indices = text(argument).count("[")
        whole = found is not None and (design.is_stream(found) or design.resolve(found)[1] > indices)
        return {UNKNOWN} if whole else {READ}  # a value: a cast, or a function of a library
    return set(_usage(design, function, function.parameters[position], active))


# --- rules ---------------------------------------------------------------------------------------------------


def _channel_rules(
    design: Design, body: Node, processes: list[_Process], channels: dict[Key, _Channel]
) -> Iterator[tuple[int, str]]:
    _spread_whole_arrays(channels)
    for channel in channels.values():
        readers, writers = sorted(set(channel.readers)), sorted(set(channel.writers))
        local = channel.variable.kind == "local" and _inside(channel.variable, body)
        what = "stream" if design.is_stream(channel.variable) else "scalar" if channel.scalar else "array"

        def names(numbers: list[int]) -> str:
            return ", ".join(f"'{processes[n].name}'" for n in numbers)

        if len(writers) > 1:
            line = processes[writers[1]].line
            yield line, f"{what} '{channel.name}' is written by {names(writers)}: one producer only"
            continue
        writer = writers[0] if writers else None
        both = [n for n in readers if n == writer]
        others = [n for n in readers if n != writer]
        if both and design.is_stream(channel.variable):
            yield processes[both[0]].line, f"stream '{channel.name}' is read and written by {names(both)}"
            continue
        if len(others) > 1 and not channel.scalar:
            yield processes[others[1]].line, f"{what} '{channel.name}' is read by {names(others)}: one consumer only"
            continue
        if not local:
            if others and writer is not None:
                line = processes[max(others[0], writer)].line
                yield line, f"{what} '{channel.name}' from outside is shared by {names(sorted([writer, *others]))}"
            continue
        early = [n for n in others if writer is not None and n < writer]
        if early:
            yield processes[early[0]].line, f"feedback: '{channel.name}' is read by {names(early)} before it is written"
        elif writer is None and not (channel.scalar and channel.variable.value is not None):
            line = processes[others[0]].line if others else channel.line
            yield line, f"{what} '{channel.name}' is read but never written"
        elif not others and not channel.scalar:
            yield channel.line, f"{what} '{channel.name}' is written but never read"
    yield from _unused(design, body, channels)
    yield from _bypasses(processes, channels)


def _inside(variable: Variable, body: Node) -> bool:
    return bool(body.start_byte <= variable.offset < body.end_byte)


def _spread_whole_arrays(channels: dict[Key, _Channel]) -> None:
    """An array that is passed whole here and by element there: the whole counts for each element."""
    for key, channel in list(channels.items()):
        parts = [c for k, c in channels.items() if k[:2] == key[:2] and k[2] != key[2] and k[2].startswith(key[2])]
        for part in parts:
            part.readers += channel.readers
            part.writers += channel.writers
        if parts:
            del channels[key]


def _unused(design: Design, body: Node, channels: dict[Key, _Channel]) -> Iterator[tuple[int, str]]:
    touched = {key[:2] for key in channels}
    for variable in design.declared_in(body, body.end_byte):
        channel = design.is_stream(variable) or design.resolve(variable)[1] > 0
        if channel and variable.key not in touched and not variable.constant:
            yield variable.line, f"'{variable.name}' is used by no process"


def _bypasses(processes: list[_Process], channels: dict[Key, _Channel]) -> Iterator[tuple[int, str]]:
    """A channel from A to C beside a path A -> B -> C: with PIPOs or short FIFOs it stalls or hangs."""
    edges: dict[int, set[int]] = {}
    hops: list[tuple[int, int, _Channel]] = []
    for channel in channels.values():
        if channel.scalar or len(set(channel.writers)) != 1:
            continue
        writer = channel.writers[0]
        for reader in set(channel.readers) - {writer}:
            if reader > writer:
                edges.setdefault(writer, set()).add(reader)
                hops.append((writer, reader, channel))

    def reaches(start: int, end: int) -> bool:
        return start == end or any(reaches(following, end) for following in edges.get(start, ()))

    for writer, reader, channel in hops:
        between = [n for n in edges[writer] if n != reader and reaches(n, reader)]
        if between:
            middle = processes[between[0]].name
            yield processes[reader].line, f"bypass: '{channel.name}' goes around process '{middle}'; pass it through"


def _shared_state(design: Design, processes: list[_Process]) -> Iterator[tuple[int, str]]:
    """Static and global variables that two processes touch, at least one of them without passing it as an argument."""
    owners: dict[object, tuple[_Process, bool]] = {}
    for process in processes:
        if process.function is None:
            continue
        touched: dict[object, bool] = {}  # (variable, instance) -> touched inside
        for node in walk(process.call.child_by_field_name("arguments")):
            for key in _global_keys(design, node):
                touched[key, ""] = False
        for key, function in _state(design, process.function, frozenset()):
            # a local static of a template exists once for each instance, which the call's text tells apart
            instances = function == process.function.key and process.function.template_parameters
            touched[key, text(process.call.child_by_field_name("function")) if instances else ""] = True
        for place, inside in touched.items():
            owner, owner_inside = owners.setdefault(place, (process, inside))
            if owner is not process and (inside or owner_inside):
                name = _name_at(design, place[0])  # type: ignore[index]
                yield process.line, f"static or global '{name}' is touched by '{owner.name}' and '{process.name}'"


def _global_keys(design: Design, node: Node) -> list[tuple[str, int]]:
    if node.type != "identifier":
        return []
    found = design.lookup(node, text(node))
    return [found.key] if found is not None and found.kind == "global" and not found.constant else []


def _state(
    design: Design, function: Function, active: frozenset[object]
) -> set[tuple[tuple[str, int], tuple[str, int] | None]]:
    """(variable, function it is local to or None) of all mutable statics and globals that a function touches."""
    if function.key in active:
        return set()
    found: set[tuple[tuple[str, int], tuple[str, int] | None]] = set()
    for node in walk(function.body):
        if node.type == "identifier":
            variable = design.lookup(node, text(node))
            if variable is None or variable.constant or variable.constexpr:
                continue
            if variable.kind == "global":
                found.add((variable.key, None))
            elif variable.kind == "local" and variable.static:
                found.add((variable.key, function.key))
        elif node.type == "call_expression":
            callee = node.child_by_field_name("function")
            if callee.type != "field_expression":
                count = len([c for c in node.child_by_field_name("arguments").named_children if c.type != "comment"])
                inner = _definition(design, _called_name(callee), count)
                if inner is not None:
                    found |= _state(design, inner, active | {function.key})
    return found


def _name_at(design: Design, key: tuple[str, int]) -> str:
    for source in design.sources:
        if str(source.path) == key[0]:
            return text(source.root.descendant_for_byte_range(key[1], key[1] + 1))
    return "?"


def regions(files: Sequence[Path]) -> list[tuple[Path, int, str]]:
    """(file, line, function) of every DATAFLOW region, so that a test can tell 'no findings' from 'nothing found'."""
    design, _ = parse(files)
    found = []
    for source in design.sources:
        for node in walk(source.root):
            if node.type == "preproc_call" and _is_dataflow(node):
                function = design.function_at(node)
                found.append((source.path, line_of(node), function.name if function else ""))
    return found
