# SPDX-License-Identifier: Apache-2.0
"""Proves the structure of the task network: one producer and one consumer of every stream, and no other shared state.

Vitis accepts less than it simulates, and a network with two readers of a stream or with a task that waits where it must
not hangs in hardware (UG1399, "Tasks and Dataflow"). Which way data goes is read off the functions: what each does
with its parameter, through all functions that it calls.

A process whose function is pipelined as a whole serves several others, so it must never wait for one of them. It may
read only directly under a test ``if (... && !s.empty())``, one entry a test. It may write only under ``!s.full()``, or
to a stream whose ``size()`` it asks for, or where a comment that begins with ``Room:`` says why there is room.
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
    ancestors,
    arguments_of,
    line_of,
    parse,
    text,
    unqualified,
    walk,
)
from hwgen.backends.hls.pragmas import place, pragma_of

READ, WRITE, EMPTY, FULL, SIZE, UNKNOWN = "read", "write", "empty", "full", "size", "unknown"
_METHODS = {
    "read": READ,
    "read_nb": READ,
    "write": WRITE,
    "write_nb": WRITE,
    "empty": EMPTY,
    "full": FULL,
    "size": SIZE,
}
_NEVER_WAIT = ("read_nb", "write_nb", "empty", "full", "size")
_LOOPS = ("for_statement", "while_statement", "do_statement", "for_range_loop")
_IGNORED = ("comment", "preproc_call", "static_assert_declaration", "alias_declaration", "type_definition", *"{};")
_SCALARS = ("number_literal", "true", "false", "char_literal")

Key = tuple[str, int]
"""Identity of a variable or a function: file and offset."""


@dataclass(frozen=True)
class Access:
    """A place where a function reaches a stream or a memory through one of its parameters."""

    kind: str
    file: Path
    line: int
    waits: bool = False
    """It can block: nothing there shows that the stream has an entry, or room."""


@dataclass(frozen=True)
class Region:
    """One DATAFLOW region, so that a test can tell 'no findings' from 'nothing found'."""

    file: Path
    line: int
    function: str
    processes: tuple[str, ...]
    """Control-driven processes, in the order of the text."""
    tasks: tuple[str, ...]
    never_wait: tuple[str, ...]
    """Those tasks that are checked to never block."""
    streams: tuple[str, ...]


def check_dataflow(files: Sequence[Path]) -> list[Finding]:
    """All findings in the task networks of the files, which are taken as one design; sorted, empty if all is well.

    Raises UserError if the C++ parser is not installed.
    """
    design, findings = parse(files)
    networks = list(_networks(design))
    for network in networks:
        findings += network.check()
    findings += _outside(design, [network.body for network in networks])
    return sorted(set(findings))


def regions(files: Sequence[Path]) -> list[Region]:
    """The DATAFLOW regions of the files and what was found in each."""
    design, _ = parse(files)
    found = []
    for network in _networks(design):
        network.check()
        found.append(
            Region(
                network.path,
                network.line,
                network.function.name if network.function is not None else "",
                tuple(p.name for p in network.processes if not p.task),
                tuple(p.name for p in network.processes if p.task),
                tuple(p.name for p in network.processes if p.never_waits),
                tuple(c.variable.name for c in network.channels.values()),
            )
        )
    return found


def _networks(design: Design) -> Iterator[_Network]:
    for source in design.sources:
        for node in walk(source.root):
            pragma = pragma_of(node)
            if pragma is not None and pragma.kind == "dataflow" and place(node) != "file":
                yield _Network(design, source.path, node)


def _outside(design: Design, bodies: list[Node]) -> Iterator[Finding]:
    """Streams and tasks that are not declared in a DATAFLOW region, and structs with state of their own."""
    inside = {body.id for body in bodies}
    for source in design.sources:
        for node in walk(source.root):
            if node.type not in ("declaration", "field_declaration") or node.parent.id in inside:
                continue
            shape = _declared_kind(design, node)
            reference = any(n.type == "reference_declarator" for n in walk(node))
            prototype = any(n.type == "function_declarator" for n in walk(node))
            if reference or prototype:
                continue
            words = {text(c) for c in node.children}
            if shape:
                yield Finding(source.path, line_of(node), f"a {shape} must be declared in a DATAFLOW region")
            elif node.type == "field_declaration" and "static" in words and not words & {"const", "constexpr"}:
                yield Finding(source.path, line_of(node), "a static of a struct is shared: make it one of a function")


def _declared_kind(design: Design, declaration: Node) -> str:
    """``stream``, ``task`` or empty."""
    written = text(declaration.child_by_field_name("type"))
    resolved, _ = design.resolve(Variable("", "local", Path(), 0, 0, written))
    if re.fullmatch(r"(const\s+)?(hls\s*::\s*)?task", resolved):
        return "task"
    return "stream" if re.match(r"(const\s+)?(hls\s*::\s*)?stream(_of_blocks)?\s*<", resolved) else ""


# --- the network ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Process:
    name: str
    line: int
    task: bool
    function: Function | None
    instance: str
    """The function as written, with its template arguments: another instance has other statics."""
    position: int
    never_waits: bool


@dataclass
class _Channel:
    """A stream, and the accesses of each process."""

    variable: Variable
    uses: list[tuple[_Process, frozenset[Access]]] = field(default_factory=list)

    def by(self, *kinds: str) -> list[_Process]:
        return [p for p, accesses in self.uses if any(a.kind in kinds for a in accesses)]


@dataclass
class _Network:
    design: Design
    path: Path
    pragma: Node
    processes: list[_Process] = field(default_factory=list)
    channels: dict[Key, _Channel] = field(default_factory=dict)
    bundles: dict[str, str] = field(default_factory=dict)
    """Of each m_axi port."""
    stable: set[str] = field(default_factory=set)
    memory_uses: list[tuple[_Process, str, frozenset[Access]]] = field(default_factory=list)
    """Process, bundle, and what it does there."""
    findings: list[Finding] = field(default_factory=list)
    whole: bool = True
    """Every process was understood; else it is not known what is never read or written."""

    @property
    def body(self) -> Node:
        return self.pragma.parent

    @property
    def line(self) -> int:
        return line_of(self.pragma)

    @property
    def function(self) -> Function | None:
        return self.design.function_at(self.pragma)

    def check(self) -> list[Finding]:
        if place(self.pragma) != "function":
            self._report(self.line, "a network of tasks must be a whole function, not a loop or a block")
        self._ports()
        for child in self.body.children:
            if child.type == "declaration":
                self._declaration(child)
            elif child.type == "expression_statement" and _is_call(child):
                call = next(c for c in child.named_children if c.type == "call_expression")
                self._process("", call.child_by_field_name("function"), arguments_of(call), call)
            elif child.type not in _IGNORED:
                self.whole = False
                what = child.type.replace("_statement", "").replace("_", " ")
                what = "computation" if what == "expression" else f"'{what}'"
                message = f"only declarations of streams and tasks and calls may stand in a DATAFLOW region, no {what}"
                self._report(line_of(child), message)
        ordered = True
        for channel in self.channels.values():
            self._ends(channel)
            self._status(channel)
            ordered = self._order(channel) and ordered
            self._waiting(channel)
            self._depth(channel.variable)
        if ordered:
            self._cycles()
        self._bundles()
        self._state()
        return self.findings

    def _report(self, line: int, message: str, path: Path | None = None) -> None:
        self.findings.append(Finding(path or self.path, line, message))

    def _ports(self) -> None:
        """Bundles of the m_axi ports, and what is stable."""
        for node in self.body.children:
            pragma = pragma_of(node)
            if pragma is None:
                continue
            if pragma.kind == "stable":
                self.stable.add(pragma.get("variable") or "")
            elif pragma.kind == "stream":
                self._report(line_of(node), "the depth of a stream stands in its type, not in a pragma")
            elif pragma.kind == "interface":
                words = {name.lower() for name, value in pragma.options if value is None}
                if pragma.get("mode") == "m_axi" or "m_axi" in words:
                    self.bundles[pragma.get("port") or ""] = pragma.get("bundle") or "gmem"

    # --- what stands in the region ---

    def _declaration(self, node: Node) -> None:
        kind = _declared_kind(self.design, node)
        if not kind:
            self.whole = False
            self._report(line_of(node), "only streams and tasks may be declared in a DATAFLOW region")
            return
        if not any(text(c) == "thread_local" for c in node.children if c.type == "storage_class_specifier"):
            self._report(line_of(node), f"a {kind} must be hls_thread_local: it lives from one start to the next")
        if kind == "stream":
            for variable in self.design.declared_in(self.body, node.end_byte):
                if variable.offset >= node.start_byte:
                    self.channels[variable.key] = _Channel(variable)
                    if variable.dimensions:
                        self.whole = False
                        self._report(variable.line, f"'{variable.name}' is an array: declare each stream by itself")
            return
        for declarator in node.children_by_field_name("declarator"):
            value = declarator.child_by_field_name("value") if declarator.type == "init_declarator" else None
            given = [c for c in value.named_children if c.type != "comment"] if value is not None else []
            if not given:
                self.whole = False
                self._report(line_of(node), f"task '{text(declarator)}' has no function in its declaration")
                continue
            self._process(text(declarator.child_by_field_name("declarator")), given[0], given[1:], node)

    def _process(self, task: str, callee: Node, arguments: list[Node], node: Node) -> None:
        name, line = task or unqualified(callee), line_of(node)
        called = [f for f in self.design.functions.get(unqualified(callee), []) if not f.owner]
        found = [f for f in called if len(f.parameters) == len(arguments)]
        function = found[0] if len(found) == 1 else None
        never_waits = bool(task) and function is not None and _is_pipelined(function)
        instance = re.sub(r"\s", "", text(callee))
        process = _Process(name, line, bool(task), function, instance, len(self.processes), never_waits)
        self.processes.append(process)
        if function is None:
            self.whole = False
            count = f"{len(found)} definitions" if found else "no definition"
            message = f"'{text(callee)}' has {count} with {len(arguments)} parameters, so its dataflow is not known"
            self._report(line, message)
            return
        if function.returns != "void":
            self._report(line, f"process '{name}' must return void")
        for parameter, argument in zip(function.parameters, arguments, strict=True):
            self._argument(process, function, parameter, argument)

    def _argument(self, process: _Process, function: Function, parameter: Variable, argument: Node) -> None:
        variable = self.design.lookup(argument, text(argument)) if argument.type == "identifier" else None
        line = line_of(argument)
        if variable is not None and variable.key in self.channels:
            accesses = _accesses(self.design, function, parameter, frozenset())
            self.channels[variable.key].uses.append((process, accesses))
            self._known(process, variable, accesses)
        elif variable is not None and variable.name in self.bundles and variable.kind == "parameter":
            if process.task and variable.name not in self.stable:
                self._report(line, f"port '{variable.name}' of a task needs #pragma HLS STABLE")
            accesses = _accesses(self.design, function, parameter, frozenset())
            self.memory_uses.append((process, self.bundles[variable.name], accesses))
            self._known(process, variable, accesses)
        elif process.task:
            what = "streams of this region and m_axi ports only"
            self._report(line, f"argument '{text(argument)}' of task '{process.name}': {what}")
        elif not self._is_scalar(variable, argument):
            what = "streams of this region, ports and values only"
            self._report(line, f"argument '{text(argument)}' of process '{process.name}': {what}")
        elif parameter.reference and not parameter.constant:
            self._report(line, f"process '{process.name}' takes '{text(argument)}' by reference: pass a value")

    def _is_scalar(self, variable: Variable | None, argument: Node) -> bool:
        if variable is None:
            return argument.type in _SCALARS or self.design.evaluate(argument) is not None
        constant = variable.constexpr or self.design.known(variable)
        own = variable.kind == "parameter" and not variable.reference
        return (constant or own) and self.design.resolve(variable)[1] == 0

    def _known(self, process: _Process, variable: Variable, accesses: frozenset[Access]) -> None:
        for access in sorted((a for a in accesses if a.kind == UNKNOWN), key=lambda a: (str(a.file), a.line)):
            self.whole = False
            message = f"what '{process.name}' does with '{variable.name}' here is not known"
            self._report(access.line, message, access.file)

    # --- rules of a stream ---

    def _ends(self, channel: _Channel) -> None:
        readers, writers, name = channel.by(READ), channel.by(WRITE), channel.variable.name
        line = channel.variable.line
        for ends, verb, role in ((writers, "written", "producer"), (readers, "read", "consumer")):
            if len(ends) > 1:
                message = f"stream '{name}' is {verb} by {_names(ends)}: one {role} only"
                self._report(ends[1].line, message)
        if len(readers) == 1 and readers == writers:
            self._report(readers[0].line, f"stream '{name}' is read and written by {_names(readers)}")
        if not self.whole:
            return
        if not channel.uses:
            self._report(line, f"stream '{name}' is used by no process")
        elif not writers:
            self._report(line, f"stream '{name}' is never written")
        elif not readers:
            self._report(line, f"stream '{name}' is never read")

    def _status(self, channel: _Channel) -> None:
        readers, writers = channel.by(READ), channel.by(WRITE)
        for kind, owners, role in (
            (EMPTY, readers, "reads"),
            (FULL, writers, "writes"),
            (SIZE, readers + writers, "uses"),
        ):
            for process in channel.by(kind):
                if process not in owners and (owners or self.whole):
                    message = (
                        f"'{process.name}' asks for {kind}() of '{channel.variable.name}', which another one {role}"
                    )
                    self._report(process.line, message)

    def _order(self, channel: _Channel) -> bool:
        """A control-driven process stands before the readers of what it writes, behind the writers of what it reads."""
        ordered = True
        for writer in channel.by(WRITE):
            for reader in channel.by(READ):
                if reader.position < writer.position and not (reader.task and writer.task):
                    name = channel.variable.name
                    message = f"'{reader.name}' reads '{name}' and stands before '{writer.name}', which writes it"
                    self._report(writer.line, message)
                    ordered = False
        return ordered

    def _waiting(self, channel: _Channel) -> None:
        for process, accesses in channel.uses:
            if not process.never_waits:
                continue
            asks = any(a.kind == SIZE for a in accesses)
            for access in accesses:
                if not access.waits or (access.kind == WRITE and asks):
                    continue
                test = "!empty()" if access.kind == READ else "!full(), size() or a comment 'Room:'"
                what = f"'{process.name}' must never wait, and '{channel.variable.name}' is {_past(access.kind)} here"
                self._report(access.line, f"{what} without {test}", access.file)

    def _depth(self, variable: Variable) -> None:
        """The depth is a named constant, and a comment at its declaration says why it is as it is."""
        arguments = _template_arguments(self.design.resolve(variable)[0])
        if len(arguments) < 2:
            self._report(variable.line, f"stream '{variable.name}' has no depth: it needs a named constant")
            return
        depth = arguments[1].split("::")[-1].strip()
        constant = self.design.globals.get(depth)
        if not re.fullmatch(r"[A-Za-z_]\w*", depth) or constant is None or not constant.constexpr:
            self._report(variable.line, f"depth {arguments[1]} of '{variable.name}' is not a named constant")
        elif not _has_comment(self.design, constant):
            message = f"depth '{constant.name}' of a stream needs a comment that justifies it, behind it or above it"
            self._report(constant.line, message, constant.file)

    # --- rules of the whole network ---

    def _cycles(self) -> None:
        """Tasks may feed back, a process that ends may not be part of a cycle."""
        after: dict[int, set[int]] = {}
        for channel in self.channels.values():
            for writer in channel.by(WRITE):
                after.setdefault(writer.position, set()).update(r.position for r in channel.by(READ) if r != writer)
        for process in self.processes:
            if process.task:
                continue
            reached: set[int] = set()
            pending = list(after.get(process.position, ()))
            while pending:
                position = pending.pop()
                if position not in reached:
                    reached.add(position)
                    pending += after.get(position, ())
            if process.position in reached:
                self._report(process.line, f"feedback through '{process.name}': only tasks may feed back")

    def _bundles(self) -> None:
        """One process reads a bundle and one writes it: there is one channel of each direction."""
        users: dict[tuple[str, str], list[_Process]] = {}
        for process, bundle, accesses in self.memory_uses:
            for kind in {a.kind for a in accesses} & {READ, WRITE}:
                users.setdefault((bundle, kind), [])
                if process not in users[bundle, kind]:
                    users[bundle, kind].append(process)
        for (bundle, kind), processes in users.items():
            if len(processes) > 1:
                message = f"bundle '{bundle}' is {_past(kind)} by {_names(processes)}: one process only"
                self._report(processes[1].line, message)

    def _state(self) -> None:
        """A static belongs to one process, and nothing at file scope changes."""
        owners: dict[tuple[Key, str], _Process] = {}
        mutable = {v.name for v in self.design.globals.values() if v.kind == "global" and not v.constant}
        for process in self.processes:
            if process.function is None:
                continue
            for function, instance in _reached(self.design, process.function, process.instance).items():
                for variable in _statics(self.design, function):
                    where = instance if function.template_parameters else ""
                    owner = owners.setdefault((variable.key, where), process)
                    if owner is not process:
                        message = f"static '{variable.name}' is shared by '{owner.name}' and '{process.name}'"
                        self._report(process.line, message)
                for node in walk(function.body) if mutable else ():
                    if node.type == "identifier" and text(node) in mutable:
                        found = self.design.lookup(node, text(node))
                        if found is not None and found.kind == "global":
                            message = (
                                f"'{process.name}' uses '{found.name}' of file scope: make it a static of one function"
                            )
                            self._report(line_of(node), message, function.file)


def _is_call(statement: Node) -> bool:
    children = [c for c in statement.named_children if c.type != "comment"]
    if len(children) != 1 or children[0].type != "call_expression":
        return False
    callee = children[0].child_by_field_name("function")
    return callee.type in ("identifier", "qualified_identifier", "template_function")


def _is_pipelined(function: Function) -> bool:
    """Whether the body as a whole is a pipeline."""
    for node in function.body.children:
        pragma = pragma_of(node)
        if pragma is not None and pragma.kind == "pipeline":
            return all(name.lower() != "off" for name, _ in pragma.options)
    return False


def _names(processes: Sequence[_Process]) -> str:
    return " and ".join(f"'{p.name}'" for p in processes)


def _past(kind: str) -> str:
    return "read" if kind == READ else "written"


def _template_arguments(written: str) -> list[str]:
    """``["A<B>", "N"]`` of ``hls::stream<A<B>, N>``."""
    inner = written.partition("<")[2].rpartition(">")[0]
    parts, depth = [""], 0
    for letter in inner:
        depth += (letter in "<(") - (letter in ">)")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [p.strip() for p in parts]


def _has_comment(design: Design, constant: Variable) -> bool:
    """Whether a comment stands behind the declaration, or directly above it as a line of its own."""
    root = next(s.root for s in design.sources if s.path == constant.file)
    name = root.descendant_for_byte_range(constant.offset, constant.offset)
    declaration = next(n for n in ancestors(name) if n.type == "declaration")
    behind, above = declaration.next_sibling, declaration.prev_sibling
    if behind is not None and behind.type == "comment" and behind.start_point[0] == declaration.end_point[0]:
        return True
    return (
        above is not None
        and above.type == "comment"
        and above.end_point[0] == declaration.start_point[0] - 1
        and above.start_point[1] == declaration.start_point[1]
    )


# --- what a function does with its parameter -----------------------------------------------------------------


def _accesses(design: Design, function: Function, parameter: Variable, active: frozenset[object]) -> frozenset[Access]:
    """All accesses to what a parameter refers to, in the function and in those it passes it to."""
    key = ("accesses", function.key, parameter.key)
    if key in active:
        return frozenset()  # check_style reports recursion
    if key not in design._cache:
        found: set[Access] = set()
        for node in walk(function.body):
            if node.type == "identifier" and text(node) == parameter.name:
                variable = design.lookup(node, parameter.name)
                if variable is not None and variable.key == parameter.key:
                    use = _stream_use if design.is_stream(parameter) else _memory_use
                    found |= use(design, function, node, active | {key})
        design._cache[key] = frozenset(found)
    return design._cache[key]  # type: ignore[no-any-return]


def _stream_use(design: Design, function: Function, node: Node, active: frozenset[object]) -> set[Access]:
    parent = node.parent
    outer = parent.parent

    def access(kind: str, waits: bool = False) -> set[Access]:
        return {Access(kind, function.file, line_of(node), waits)}

    if parent.type == "field_expression" and outer.type == "call_expression":
        method = text(parent.child_by_field_name("field"))
        kind = _METHODS.get(method, UNKNOWN)
        if outer.child_by_field_name("function") != parent or kind == UNKNOWN:
            return access(UNKNOWN)
        return access(kind, method not in _NEVER_WAIT and not _is_sure(node, kind))
    if parent.type == "initializer_list" and outer.type == "init_declarator":
        lock = re.match(r"(?:hls\s*::\s*)?(read|write)_lock\s*<", text(outer.parent.child_by_field_name("type")))
        if lock is not None:
            return access(lock.group(1), not _is_sure(node, lock.group(1)))
    if parent.type == "argument_list" and outer.type == "call_expression":
        position = arguments_of(outer).index(node)
        called = design.called(outer, function.owner)
        if called:
            passed = [f.parameters[position] for f in called]
            if all(design.is_stream(p) and p.reference for p in passed):
                return set().union(*(_accesses(design, f, p, active) for f, p in zip(called, passed, strict=True)))
    return access(UNKNOWN)


def _memory_use(design: Design, function: Function, node: Node, active: frozenset[object]) -> set[Access]:
    def access(*kinds: str) -> set[Access]:
        return {Access(kind, function.file, line_of(node)) for kind in kinds}

    outer = node
    while True:
        parent = outer.parent
        element = parent.type in ("subscript_expression", "field_expression") or (
            parent.type == "pointer_expression" and text(parent).startswith("*")
        )
        if element and parent.child_by_field_name("argument") == outer:
            outer = parent
        elif parent.type == "call_expression" and parent.child_by_field_name("function") == outer:
            outer = parent  # range() and the like: what is done with the result counts
        else:
            break
    if parent.type == "argument_list" and parent.parent.type == "call_expression":
        position = arguments_of(parent.parent).index(outer)
        called = design.called(parent.parent, function.owner)
        passed = [f.parameters[position] for f in called]
        if outer is not node:  # an element
            return access(UNKNOWN if any(p.reference and not p.constant for p in passed) else READ)
        if called and all(design.resolve(p)[1] > 0 for p in passed):
            return set().union(*(_accesses(design, f, p, active) for f, p in zip(called, passed, strict=True)))
        return access(UNKNOWN)
    if outer is node:
        return access(UNKNOWN)  # the pointer itself: copied, moved
    if parent.type == "assignment_expression" and parent.child_by_field_name("left") == outer:
        return access(WRITE) if text(parent.child_by_field_name("operator")) == "=" else access(READ, WRITE)
    if parent.type == "update_expression":
        return access(READ, WRITE)
    if parent.type == "pointer_expression" or _binds(parent):
        return access(UNKNOWN)
    return access(READ)


def _binds(parent: Node) -> bool:
    """Whether a declaration gives an element another name: ``T& r = a[i];``."""
    return parent.type == "init_declarator" and any(
        n.type in ("reference_declarator", "pointer_declarator") for n in walk(parent.child_by_field_name("declarator"))
    )


# --- accesses that never wait --------------------------------------------------------------------------------


def _is_sure(node: Node, kind: str) -> bool:
    """Whether an access stands directly under a test of its stream, with no other access and no loop between."""
    name = text(node)
    if kind == WRITE and _has_reason(node):
        return True
    wanted = "empty" if kind == READ else "full"
    inner = node
    for outer in ancestors(node):
        if outer.type in (*_LOOPS, "function_definition", "lambda_expression"):
            return False
        if (
            outer.type == "if_statement"
            and outer.child_by_field_name("consequence") == inner
            and f"!{name}.{wanted}()" in _conjuncts(outer.child_by_field_name("condition"))
        ):
            others = [n for n in walk(inner) if n.type == "identifier" and text(n) == name and n != node]
            return all(_is_status(n) or _exclude(n, node) for n in others)
        inner = outer
    return False


def _conjuncts(condition: Node) -> list[str]:
    """The parts of ``a && b && c``, without spaces."""
    if condition.type in ("condition_clause", "parenthesized_expression"):
        inner = [c for c in condition.named_children if c.type != "comment"]
        return _conjuncts(inner[0]) if len(inner) == 1 else []
    if condition.type == "binary_expression" and text(condition.child_by_field_name("operator")) == "&&":
        return [p for side in ("left", "right") for p in _conjuncts(condition.child_by_field_name(side))]
    return [re.sub(r"\s", "", text(condition))]


def _is_status(node: Node) -> bool:
    method = text(node.parent.child_by_field_name("field")) if node.parent.type == "field_expression" else ""
    return method in ("empty", "full", "size")


def _exclude(a: Node, b: Node) -> bool:
    """Whether two places lie in different branches of one ``if``."""
    path = {n.id: below.id for below, n in zip((b, *ancestors(b)), ancestors(b), strict=False)}
    below = a
    for node in ancestors(a):
        if node.id in path:
            branches = [node.child_by_field_name(n) for n in ("consequence", "alternative")]
            ids = {n.id for n in branches if n is not None}
            return node.type == "if_statement" and below.id in ids and path[node.id] in ids
        below = node
    return False


def _has_reason(node: Node) -> bool:
    """A comment ``Room: ...`` behind the statement or directly above it."""
    statement = next((n for n in ancestors(node) if n.type in ("expression_statement", "declaration")), None)
    if statement is None:
        return False
    behind, above = statement.next_sibling, statement.prev_sibling
    while above is not None and above.type == "comment" and above.end_point[0] == statement.start_point[0] - 1:
        if _is_reason(above):
            return True
        statement, above = above, above.prev_sibling
    return (
        behind is not None
        and behind.type == "comment"
        and behind.start_point[0] == statement.end_point[0]
        and _is_reason(behind)
    )


def _is_reason(comment: Node) -> bool:
    return re.match(r"//\s*Room: \S", text(comment)) is not None


# --- state ---------------------------------------------------------------------------------------------------


def _reached(design: Design, function: Function, instance: str) -> dict[Function, str]:
    """The function and all that it calls, each with its name as written (the template arguments are in it)."""
    found = {function: instance}
    pending = [function]
    while pending:
        current = pending.pop()
        for node in walk(current.body):
            if node.type == "call_expression":
                for called in design.called(node, current.owner):
                    if called not in found:
                        found[called] = re.sub(r"\s", "", text(node.child_by_field_name("function")))
                        pending.append(called)
    return found


def _statics(design: Design, function: Function) -> Iterator[Variable]:
    for node in walk(function.body):
        if node.type == "declaration" and any(text(c) in ("static", "thread_local") for c in node.children):
            block = node.parent
            for variable in design.declared_in(block, node.end_byte):
                if variable.offset >= node.start_byte and not variable.constant:
                    yield variable
