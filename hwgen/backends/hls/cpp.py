# SPDX-License-Identifier: Apache-2.0
"""A read-only view of HLS C++ for the static checks: syntax tree, declarations in scope, constant expressions.

tree-sitter does the parsing (an optional dependency, in the ``dev`` extra). It is not a compiler: no overload
resolution, no instantiation. What this module adds is what a pragma check needs: which names are visible at a place,
how many dimensions they have, and what a constant expression comes to. All files of one design are one :class:`Design`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from hwgen.errors import UserError

Node: TypeAlias = Any
"""``tree_sitter.Node``; Any, because the package is optional."""


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that is wrong with the emitted C++."""

    file: Path
    line: int
    """Counted from 1."""
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


@dataclass(frozen=True)
class Variable:
    """A declared name: variable, parameter, template parameter, field, enumerator or object macro."""

    name: str
    kind: str
    """``local``, ``parameter``, ``template``, ``global``, ``field``, ``macro`` or ``enumerator``."""
    file: Path
    offset: int
    """Byte offset of the declarator: with the file, the identity of the variable."""
    line: int
    type: str
    """Type as written, without the declarator."""
    sizes: tuple[Node | None, ...] = ()
    """One entry for each array dimension; None where the size is not written (``a[]``)."""
    pointers: int = 0
    reference: bool = False
    constant: bool = False
    """The object (for a pointer or an array: what it points to) cannot be written through this name."""
    constexpr: bool = False
    static: bool = False
    value: Node | None = None

    @property
    def key(self) -> tuple[str, int]:
        return (str(self.file), self.offset)

    @property
    def dimensions(self) -> int:
        return len(self.sizes) + self.pointers


@dataclass(frozen=True)
class Function:
    """A function with a body."""

    name: str
    file: Path
    line: int
    node: Node
    body: Node
    parameters: tuple[Variable, ...]
    template_parameters: tuple[str, ...]
    returns: str
    owner: str
    """Struct that it is a member of, or empty."""

    @property
    def key(self) -> tuple[str, int]:
        return (str(self.file), int(self.node.start_byte))


@dataclass(frozen=True)
class Source:
    """One parsed file, as Vitis sees it: what only the simulation compiles is blanked out."""

    path: Path
    root: Node


@dataclass
class Design:
    """All files of one design; names at file scope are visible in every file."""

    sources: tuple[Source, ...]
    _cache: dict[Any, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def functions(self) -> dict[str, list[Function]]:
        table: dict[str, list[Function]] = {}
        for source in self.sources:
            for node in walk(source.root):
                if node.type == "function_definition" and node.child_by_field_name("body") is not None:
                    function = _function(source.path, node)
                    if function is not None:
                        table.setdefault(function.name, []).append(function)
        return table

    @cached_property
    def structs(self) -> dict[str, dict[str, Variable]]:
        """Fields of every struct and class, by its name."""
        table: dict[str, dict[str, Variable]] = {}
        for source in self.sources:
            for node in walk(source.root):
                if node.type in ("struct_specifier", "class_specifier", "union_specifier"):
                    name, body = node.child_by_field_name("name"), node.child_by_field_name("body")
                    if name is not None and body is not None:
                        fields = table.setdefault(text(name).split("<")[0], {})
                        for variable in _declared(source.path, body, None, "field"):
                            fields[variable.name] = variable
        return table

    @cached_property
    def aliases(self) -> dict[str, tuple[str, int]]:
        """Type aliases: name -> (type as written, array dimensions it adds)."""
        table: dict[str, tuple[str, int]] = {}
        for source in self.sources:
            for node in walk(source.root):
                if node.type == "alias_declaration":
                    declarator = node.child_by_field_name("type")
                    count = sum(1 for n in walk(declarator) if n.type == "abstract_array_declarator")
                    base = declarator.child_by_field_name("type")
                    table[text(node.child_by_field_name("name"))] = (text(base), count)
                elif node.type == "type_definition":
                    for declarator in node.children_by_field_name("declarator"):
                        shape = _declarator(declarator)
                        if shape is not None:
                            table[shape.name] = (text(node.child_by_field_name("type")), len(shape.sizes))
        return table

    @cached_property
    def globals(self) -> dict[str, Variable]:
        """Names at file and namespace scope, object macros and enumerators."""
        table: dict[str, Variable] = {}
        for source in self.sources:
            for node in walk(source.root):
                if node.type in ("preproc_def", "enumerator"):
                    name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
                    kind = "macro" if node.type == "preproc_def" else "enumerator"
                    table[text(name)] = Variable(
                        text(name), kind, source.path, node.start_byte, line_of(node), "", value=value, constexpr=True
                    )
                elif node.type == "translation_unit":
                    for variable in _declared(source.path, node, None, "global"):
                        table[variable.name] = variable
        return table

    def function_at(self, node: Node) -> Function | None:
        """The function whose body the node stands in."""
        outer = enclosing_function(node)
        if outer is None:
            return None
        return next((f for group in self.functions.values() for f in group if f.node.id == outer.id), None)

    def path_of(self, node: Node) -> Path:
        while node.parent is not None:
            node = node.parent
        return next(s.path for s in self.sources if s.root.id == node.id)

    def lookup(self, node: Node, name: str) -> Variable | None:
        """The declaration of ``name`` that is visible at ``node``, or None. Declarations behind it do not count."""
        path = self.path_of(node)
        before = node.start_byte
        outer: Node | None = node.parent
        while outer is not None:
            if outer.type == "translation_unit":
                break
            for variable in reversed(list(self._scope(path, outer, before))):
                if variable.name == name:
                    return variable
            outer = outer.parent
        found = self.globals.get(name)
        if found is not None and found.file == path and found.offset >= before:
            return None
        return found

    def declared_in(self, block: Node, before: int) -> tuple[Variable, ...]:
        """The variables that a block declares in front of a byte offset."""
        return self._scope(self.path_of(block), block, before)

    def _scope(self, path: Path, node: Node, before: int) -> tuple[Variable, ...]:
        """What the node itself declares for its inside, as far as it stands before ``before``."""
        key = (str(path), node.id)
        if key not in self._cache:
            self._cache[key] = tuple(_opened(path, node))
        return tuple(v for v in self._cache[key] if v.offset < before)

    def resolve(self, variable: Variable) -> tuple[str, int]:
        """(type with aliases resolved, number of dimensions including those of aliases and one for each pointer)."""
        name, count = variable.type, variable.dimensions
        for _ in range(16):
            alias = self.aliases.get(name.split("::")[-1])
            if alias is None:
                break
            name, count = alias[0], count + alias[1]
        return name, count

    def is_stream(self, variable: Variable) -> bool:
        return re.search(r"\bstream(_of_blocks)?\s*<", self.resolve(variable)[0]) is not None

    def called(self, call: Node, owner: str = "") -> list[Function]:
        """The functions that a call may mean, by name and number of arguments; ``owner``: the caller's struct."""
        callee = call.child_by_field_name("function")
        member = callee.type == "field_expression"
        name = unqualified(callee.child_by_field_name("field") if member else callee)
        count = len(arguments_of(call))
        found = []
        for function in self.functions.get(name, []):
            needed = [p for p in function.parameters if p.value is None]
            if not len(needed) <= count <= len(function.parameters):
                continue
            if function.owner != owner if not member and function.owner else member and not function.owner:
                continue  # obj.f() calls a member, f() a free function or a member of the same struct
            found.append(function)
        return found

    def evaluate(self, node: Node | None, env: Mapping[str, int] | None = None, depth: int = 0) -> int | None:
        """Value of an integer constant expression, None where it is not known (template parameters, calls)."""
        if node is None or depth > 64:
            return None
        env = env or {}
        kind = node.type

        def inner(child: Node | None) -> int | None:
            return self.evaluate(child, env, depth + 1)

        if kind == "number_literal":
            return _integer(text(node))
        if kind in ("true", "false"):
            return int(kind == "true")
        if kind in ("parenthesized_expression", "condition_clause", "argument_list", "initializer_list"):
            return inner(node.named_children[0]) if len(node.named_children) == 1 else None
        if kind == "cast_expression":
            return inner(node.child_by_field_name("value"))
        if kind in ("identifier", "qualified_identifier", "field_identifier"):
            name = text(node).split("::")[-1]
            if name in env:
                return env[name]
            return self.constant_value(self._find(node, name), depth)
        if kind == "unary_expression":
            value = inner(node.child_by_field_name("argument"))
            return None if value is None else _unary(text(node.child_by_field_name("operator")), value)
        if kind == "binary_expression":
            left, right = inner(node.child_by_field_name("left")), inner(node.child_by_field_name("right"))
            if left is None or right is None:
                return None
            return _binary(text(node.child_by_field_name("operator")), left, right)
        if kind == "conditional_expression":
            condition = inner(node.child_by_field_name("condition"))
            if condition is None:
                return None
            return inner(node.child_by_field_name("consequence" if condition else "alternative"))
        if kind == "call_expression":
            return self._call(node, env, depth)
        return None

    def constant_value(self, variable: Variable | None, depth: int = 0) -> int | None:
        if variable is None or variable.value is None or not (variable.constexpr or variable.constant):
            return None
        if variable.kind == "macro":
            return self.evaluate(expression(text(variable.value)), None, depth + 1)
        return self.evaluate(variable.value, None, depth + 1)

    def known(self, variable: Variable) -> bool:
        """Whether the variable is a constant with a value that can be evaluated."""
        return self.constant_value(variable) is not None

    def _find(self, node: Node, name: str) -> Variable | None:
        root = node
        while root.parent is not None:
            root = root.parent
        if any(s.root.id == root.id for s in self.sources):
            found = self.lookup(node, name)
        else:  # an expression out of a pragma: its caller resolved local names already
            found = self.globals.get(name)
        if found is None:
            found = next((fields[name] for fields in self.structs.values() if name in fields), None)
        return found

    def _call(self, node: Node, env: Mapping[str, int], depth: int) -> int | None:
        function = node.child_by_field_name("function")
        arguments = [c for c in node.child_by_field_name("arguments").named_children if c.type != "comment"]
        if function.type == "template_function" and text(function).startswith("static_cast"):
            return self.evaluate(arguments[0], env, depth + 1)
        candidates = self.functions.get(text(function).split("::")[-1], [])
        if len(candidates) != 1 or len(candidates[0].parameters) != len(arguments):
            return None
        body = [c for c in candidates[0].body.named_children if c.type not in ("comment", "static_assert_declaration")]
        if len(body) != 1 or body[0].type != "return_statement":
            return None
        values = [self.evaluate(a, env, depth + 1) for a in arguments]
        if any(v is None for v in values):
            return None
        names = [p.name for p in candidates[0].parameters]
        return self.evaluate(body[0].named_children[0], dict(zip(names, values, strict=True)), depth + 1)  # type: ignore[arg-type]


def parse(files: Sequence[Path]) -> tuple[Design, list[Finding]]:
    """Parses the files; a place that tree-sitter cannot read is a finding, for nothing behind it would be checked."""
    sources, findings = [], []
    for path in files:
        data = _unambiguous(synthesis_view(path.read_text(encoding="utf-8"))).encode()
        root = _parser().parse(data).root_node
        sources.append(Source(path, root))
        if root.has_error:
            for node in walk(root):
                if node.type == "ERROR" or node.is_missing:
                    what = f"'{node.type}' is missing" if node.is_missing else f"near '{text(node)[:40].strip()}'"
                    findings.append(Finding(path, line_of(node), f"cannot be parsed: {what}"))
                    break
    return Design(tuple(sources)), findings


_DECLARED = re.compile(r"\bhls::(?:task|(?:read|write)_lock\s*<[^;(){}]*>)\s+\w+\s*(\()")


def _unambiguous(code: str) -> str:
    """Writes what the parser would misread in another way, with every place kept.

    ``hls_thread_local`` is a macro of Vitis for a storage class. ``hls::task t(f, s)`` reads like the declaration of a
    function; ``hls::task t{f, s}`` does not.
    """
    code = re.sub(r"\bhls_thread_local\b", "thread_local    ", code)
    letters = list(code)
    for match in _DECLARED.finditer(code):
        depth = 0
        for index in range(match.start(1), len(letters)):
            depth += (letters[index] == "(") - (letters[index] == ")")
            if depth == 0:
                letters[match.start(1)], letters[index] = "{", "}"
                break
    return "".join(letters)


def expression(code: str) -> Node | None:
    """Parses one expression; None if it is none."""
    tree = _parser().parse(f"auto _ = ({code});".encode())
    if tree.root_node.has_error or tree.root_node.named_child_count != 1:
        return None
    value = tree.root_node.named_children[0].child_by_field_name("declarator").child_by_field_name("value")
    return value if value is not None and value.type == "parenthesized_expression" else None


_CONDITION = re.compile(r"^\s*#\s*(ifdef|ifndef|if|elif|else|endif)\b(.*)$")


def synthesis_view(code: str) -> str:
    """Blanks what ``__SYNTHESIS__`` (defined by Vitis HLS) switches off, keeping every line's number.

    Only conditions that name nothing but ``__SYNTHESIS__`` are decided; other conditionals stay, with all branches.
    """
    lines = code.split("\n")
    stack: list[tuple[bool, bool, bool]] = []  # (decided here, this branch is compiled, an earlier branch was)
    for index, line in enumerate(lines):
        match = _CONDITION.match(line)
        blank = any(decided and not live for decided, live, _ in stack)
        if match is not None:
            word, rest = match.group(1), match.group(2).split("//")[0].strip()
            if word in ("if", "ifdef", "ifndef"):
                condition = _synthesis_condition(word, rest)
                stack.append((condition is not None, bool(condition), bool(condition)))
                blank = blank or condition is not None
            elif stack and stack[-1][0]:
                blank = True
                if word == "endif":
                    stack.pop()
                elif word == "else":
                    stack[-1] = (True, not stack[-1][2], True)
                else:
                    live = not stack[-1][2] and _synthesis_condition("if", rest) is not False
                    stack[-1] = (True, live, stack[-1][2] or live)
            elif stack and word == "endif":
                stack.pop()
        if blank:
            lines[index] = ""
    return "\n".join(lines)


def _synthesis_condition(word: str, rest: str) -> bool | None:
    if word in ("ifdef", "ifndef"):
        return (word == "ifdef") if rest == "__SYNTHESIS__" else None
    match = re.fullmatch(r"(!?)\s*defined\s*(?:\(\s*__SYNTHESIS__\s*\)|__SYNTHESIS__)", rest)
    return None if match is None else match.group(1) == ""


# --- tree helpers --------------------------------------------------------------------------------------------


def text(node: Node | None) -> str:
    return "" if node is None else node.text.decode()


def line_of(node: Node) -> int:
    return int(node.start_point[0]) + 1


def walk(node: Node) -> Iterator[Node]:
    """The node and all below it, in the order of the text."""
    stack = [node]
    while stack:
        current = stack.pop()
        yield current
        stack.extend(reversed(current.children))


def unqualified(name: Node) -> str:
    """``f`` of ``f``, ``a::f``, ``a::f<b::N>``."""
    return text(name).split("<")[0].split("::")[-1].strip()


def arguments_of(call: Node) -> list[Node]:
    return [c for c in call.child_by_field_name("arguments").named_children if c.type != "comment"]


def ancestors(node: Node) -> Iterator[Node]:
    while node.parent is not None:
        node = node.parent
        yield node


def enclosing_function(node: Node) -> Node | None:
    """The innermost function definition (or lambda) around the node."""
    return next((n for n in ancestors(node) if n.type in ("function_definition", "lambda_expression")), None)


def root_identifier(node: Node | None) -> Node | None:
    """``a`` of ``a``, ``a[i][j]``, ``a.f[i]``, ``*a``, ``(a + 3)``, ``a.range(h, l)``; None if there is none."""
    while node is not None:
        if node.type in ("identifier", "this"):
            return node
        if node.type in ("subscript_expression", "field_expression", "pointer_expression"):
            node = node.child_by_field_name("argument")
        elif node.type == "parenthesized_expression" and node.named_child_count == 1:
            node = node.named_children[0]
        elif node.type == "call_expression" and node.child_by_field_name("function").type == "field_expression":
            node = node.child_by_field_name("function")
        elif node.type == "cast_expression":
            node = node.child_by_field_name("value")
        elif node.type == "binary_expression" and text(node.child_by_field_name("operator")) in "+-":
            node = node.child_by_field_name("left")  # pointer plus offset
        else:
            return None
    return None


_TRANSPARENT = ("preproc_if", "preproc_ifdef", "preproc_else", "preproc_elif", "labeled_statement")
_NAMESPACES = ("linkage_specification", "namespace_definition", "declaration_list", "template_declaration")


def _parser() -> Any:
    try:
        import tree_sitter
        import tree_sitter_cpp
    except ImportError as error:
        raise UserError(
            f"The static check of HLS C++ needs a package that is missing ({error.name}). Run: pip install 'hwgen[dev]'"
        ) from error
    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_cpp.language()))


@dataclass
class _Shape:
    name: str = ""
    offset: int = 0
    sizes: list[Node | None] = field(default_factory=list)
    pointers: int = 0
    reference: bool = False
    value: Node | None = None


def _declarator(node: Node | None) -> _Shape | None:
    """Name, dimensions and initial value of a declarator; ``T x(v)``, which reads like a function, is a variable."""
    shape = _Shape()
    while node is not None:
        kind = node.type
        if kind in ("identifier", "field_identifier", "type_identifier"):
            shape.name, shape.offset = text(node), node.start_byte
            shape.sizes.reverse()  # the innermost declarator is the first dimension
            return shape
        if kind == "init_declarator":
            shape.value = node.child_by_field_name("value")
        elif kind == "array_declarator":
            shape.sizes.append(node.child_by_field_name("size"))
        elif kind == "pointer_declarator":
            shape.pointers += 1
        elif kind == "reference_declarator":
            shape.reference = True
        inner = node.child_by_field_name("declarator")
        if inner is None:
            names = [c for c in node.named_children if c.type.endswith(("declarator", "identifier"))]
            inner = names[0] if names else None
        node = inner
    return None


def _variables(path: Path, node: Node, kind: str) -> Iterator[Variable]:
    """The variables of one declaration, parameter or field declaration."""
    kind_of_type = node.child_by_field_name("type")
    words = [text(c) for c in node.children if c.type in ("type_qualifier", "storage_class_specifier")]
    declarators = node.children_by_field_name("declarator")
    default = node.child_by_field_name("default_value")
    for declarator in declarators:
        if kind in ("global", "field") and any(n.type == "function_declarator" for n in _spine(declarator)):
            continue  # a prototype
        shape = _declarator(declarator)
        if shape is None:
            continue
        yield Variable(
            name=shape.name,
            kind=kind,
            file=path,
            offset=shape.offset,
            line=line_of(node),
            type=text(kind_of_type),
            sizes=tuple(shape.sizes),
            pointers=shape.pointers,
            reference=shape.reference,
            constant="const" in words or "constexpr" in words,
            constexpr="constexpr" in words,
            static="static" in words,
            value=shape.value if shape.value is not None else default,
        )


def _spine(node: Node | None) -> Iterator[Node]:
    while node is not None:
        yield node
        node = node.child_by_field_name("declarator")


def _declared(path: Path, block: Node, before: int | None, kind: str) -> Iterator[Variable]:
    """Variables declared directly in a block, through preprocessor conditionals, labels and namespaces."""
    for child in block.children:
        if before is not None and child.start_byte >= before:
            return
        if child.type in ("declaration", "field_declaration"):
            yield from _variables(path, child, kind)
        elif child.type in _TRANSPARENT or (kind == "global" and child.type in _NAMESPACES):
            yield from _declared(path, child, before, kind)


def _opened(path: Path, node: Node) -> Iterator[Variable]:
    """What a node declares for the code inside it."""
    if node.type in ("compound_statement", "case_statement", *_TRANSPARENT[:4]):
        yield from _declared(path, node, None, "local")
    elif node.type == "field_declaration_list":
        # a member function sees all fields, also those behind it
        for variable in _declared(path, node, None, "field"):
            yield Variable(**{**variable.__dict__, "offset": node.start_byte})
    elif node.type == "for_statement":
        initializer = node.child_by_field_name("initializer")
        if initializer is not None and initializer.type == "declaration":
            yield from _variables(path, initializer, "local")
    elif node.type == "for_range_loop":
        yield from _variables(path, node, "local")
    elif node.type == "template_declaration":
        for parameter in node.child_by_field_name("parameters").named_children:
            for name in _template_names(parameter):
                yield Variable(name, "template", path, parameter.start_byte, line_of(parameter), "")
    elif node.type in ("function_definition", "lambda_expression"):
        declarator = _function_declarator(node.child_by_field_name("declarator"))
        if declarator is not None:
            yield from _parameters(path, declarator)


def _template_names(parameter: Node) -> list[str]:
    names = [n for n in walk(parameter) if n.type in ("identifier", "type_identifier")]
    if parameter.type in ("type_parameter_declaration", "optional_type_parameter_declaration"):
        return [text(names[0])] if names else []
    shape = _declarator(parameter.child_by_field_name("declarator"))
    return [shape.name] if shape is not None else []


def _function_declarator(node: Node | None) -> Node | None:
    while node is not None and node.type not in ("function_declarator", "abstract_function_declarator"):
        inner = node.child_by_field_name("declarator")
        if inner is None and node.type == "reference_declarator" and node.named_children:
            inner = node.named_children[-1]
        node = inner
    return node


def _parameters(path: Path, declarator: Node) -> Iterator[Variable]:
    for parameter in declarator.child_by_field_name("parameters").named_children:
        if parameter.type in ("parameter_declaration", "optional_parameter_declaration"):
            found = list(_variables(path, parameter, "parameter"))
            if found:
                yield found[0]
            elif text(parameter) != "void":  # unnamed: keeps the positions right
                written = text(parameter.child_by_field_name("type"))
                yield Variable("", "parameter", path, parameter.start_byte, line_of(parameter), written)


def _function(path: Path, node: Node) -> Function | None:
    declarator = _function_declarator(node.child_by_field_name("declarator"))
    if declarator is None:
        return None
    name = text(declarator.child_by_field_name("declarator"))
    owner = next((n for n in ancestors(node) if n.type in ("struct_specifier", "class_specifier")), None)
    template = node.parent if node.parent is not None and node.parent.type == "template_declaration" else None
    listed = template.child_by_field_name("parameters").named_children if template is not None else []
    names = [n for p in listed for n in _template_names(p)]
    return Function(
        name=name.split("::")[-1].split("<")[0],
        file=path,
        line=line_of(node),
        node=node,
        body=node.child_by_field_name("body"),
        parameters=tuple(_parameters(path, declarator)),
        template_parameters=tuple(names),
        returns=text(node.child_by_field_name("type")),
        owner=text(owner.child_by_field_name("name")) if owner is not None else "",
    )


def _integer(literal: str) -> int | None:
    digits = literal.replace("'", "").rstrip("uUlL")
    try:
        if re.fullmatch(r"0[0-7]+", digits):
            return int(digits, 8)
        return int(digits, 0)
    except ValueError:
        return None


def _unary(operator: str, value: int) -> int | None:
    return {"-": -value, "+": value, "!": int(not value), "~": ~value}.get(operator)


def _binary(operator: str, left: int, right: int) -> int | None:
    if operator in ("/", "%"):
        if right == 0:
            return None
        quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)  # C++ rounds toward zero
        return quotient if operator == "/" else left - quotient * right
    if operator in ("<<", ">>"):
        if not 0 <= right < 64:
            return None
        return left << right if operator == "<<" else left >> right
    simple = {
        "+": left + right,
        "-": left - right,
        "*": left * right,
        "&": left & right,
        "|": left | right,
        "^": left ^ right,
        "==": int(left == right),
        "!=": int(left != right),
        "<": int(left < right),
        ">": int(left > right),
        "<=": int(left <= right),
        ">=": int(left >= right),
        "&&": int(bool(left) and bool(right)),
        "||": int(bool(left) or bool(right)),
    }
    return simple.get(operator)
