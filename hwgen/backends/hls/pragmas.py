# SPDX-License-Identifier: Apache-2.0
"""Checks every ``#pragma HLS`` of the emitted C++ without Vitis, which would ignore many mistakes with a warning.

``pragmas.toml`` holds what UG1399 allows: kinds, options, values, places. Here is what needs the program around the
pragma: names in scope, dimensions, constants, and rules that tie two options together.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hwgen.backends.hls.cpp import (
    Design,
    Finding,
    Node,
    Source,
    Variable,
    ancestors,
    enclosing_function,
    expression,
    line_of,
    parse,
    text,
    walk,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_FAMILIES = ("HLS", "once", "GCC", "clang", "STDC")
_LOOPS = ("for_statement", "for_range_loop", "while_statement", "do_statement")
_CONDITIONALS = ("preproc_if", "preproc_ifdef", "preproc_else", "preproc_elif")
_PATH = re.compile(r"\*?(?P<root>[A-Za-z_]\w*)(?P<rest>((\.|->)\w+|\[[^\]]*\])*)")


@dataclass(frozen=True)
class Pragma:
    """One ``#pragma HLS``: kind in lower case, options in the order written; the value of a bare word is None."""

    node: Node
    kind: str
    options: tuple[tuple[str, str | None], ...]

    def get(self, name: str) -> str | None:
        return next((v for k, v in self.options if k.lower() == name.lower()), None)


@cache
def table() -> dict[str, Any]:
    """The pragma table of UG1399; see the head of ``pragmas.toml`` for its form."""
    entries: dict[str, Any] = tomllib.loads(Path(__file__).with_name("pragmas.toml").read_text(encoding="utf-8"))
    return entries


def check_pragmas(files: Sequence[Path]) -> list[Finding]:
    """All findings in the pragmas of the files, which are taken as one design; sorted, empty if all is well.

    Raises UserError if the C++ parser is not installed.
    """
    design, findings = parse(files)
    for source in design.sources:
        for node in walk(source.root):
            for message in _messages(design, node):
                findings.append(Finding(source.path, line_of(node), message))
        findings += _repeated(design, source)
    return sorted(set(findings))


def _messages(design: Design, node: Node) -> Iterator[str]:
    if node.type == "call_expression" and text(node.child_by_field_name("function")) == "_Pragma":
        yield "_Pragma is not checked: write #pragma HLS"
    elif node.type in ("preproc_def", "preproc_function_def") and "_Pragma" in text(node):
        yield "a pragma inside a macro is not checked: write #pragma HLS where it belongs"
    elif node.type == "preproc_call" and re.fullmatch(r"#\s*pragma", text(node.children[0])):
        code = _without_comments(text(node.child_by_field_name("argument")))
        family = code.split()[0] if code.split() else ""
        if family not in _FAMILIES:
            yield f"unknown pragma '{family}': expected #pragma HLS"
        elif family == "HLS":
            try:
                pragma = parse_pragma(node, code)
            except ValueError as error:
                yield str(error)
                return
            yield from _check(design, pragma)


_EXCLUSIVE = {
    "array_partition": "layout",
    "array_reshape": "layout",
    "bind_storage": "storage",
    "stream": "stream",
    "interface": "interface",
}
"""Kinds that can apply once to a variable (layouts: to a dimension, interfaces: to a port and mode), by group."""


def _repeated(design: Design, source: Source) -> Iterator[Finding]:
    """Two pragmas that say something about the same thing, of which Vitis takes one."""
    lines: dict[tuple[object, ...], int] = {}
    for node in walk(source.root):
        pragma = pragma_of(node)
        if pragma is None:
            continue
        name = pragma.get("variable") or pragma.get("port")
        group = _EXCLUSIVE.get(pragma.kind)
        if group is None or name is None:
            continue
        variable, _ = _resolve(design, pragma, name)
        function = design.function_at(node)
        what: str | None = ""
        if group == "layout":
            what = pragma.get("dim") or "1"
        elif group == "interface":
            modes = table()["interface"]["mode_options"]
            what = pragma.get("mode") or next((k for k, _ in pragma.options if k.lower() in modes), "")
        key = (function.key if function else None, group, name, variable.key if variable else None, what)
        if key in lines:
            yield Finding(source.path, line_of(node), f"{pragma.kind}: '{name}' has one already, in line {lines[key]}")
        lines.setdefault(key, line_of(node))


# --- syntax --------------------------------------------------------------------------------------------------


def _without_comments(code: str) -> str:
    code = code.replace("\\\r\n", " ").replace("\\\n", " ")
    return re.sub(r"/\*.*?\*/", " ", code.split("//")[0]).strip()


_TOKEN = re.compile(r"\s*(->|<<|>>|==|!=|<=|>=|&&|\|\||::|[A-Za-z_]\w*|\d[\w.']*|[-+*/%&|^~!<>?:.,()\[\]=])")


def parse_pragma(node: Node, code: str) -> Pragma:
    """Splits ``HLS kind [word | name=value]...``; a value is one expression. Raises ValueError with what is wrong."""
    tokens: list[str] = []
    position = 0
    while position < len(code):
        match = _TOKEN.match(code, position)
        if match is None:
            raise ValueError(f"pragma cannot be read at '{code[position:][:20]}'")
        tokens.append(match.group(1))
        position = match.end()
        while position < len(code) and code[position].isspace():
            position += 1
    if len(tokens) < 2:
        raise ValueError("pragma without a kind")
    options: list[tuple[str, str | None]] = []
    index = 2
    while index < len(tokens):
        name = tokens[index]
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise ValueError(f"pragma cannot be read at '{name}': expected the name of an option")
        index += 1
        value: str | None = None
        if index < len(tokens) and tokens[index] == "=":
            index, value = _value(tokens, index + 1, "([<" if name.lower() == "instances" else "([")
            if not value:
                raise ValueError(f"option '{name}' has no value")
        options.append((name, value))
    return Pragma(node, tokens[1].lower(), tuple(options))


def pragma_of(node: Node) -> Pragma | None:
    """The HLS pragma of a node; None if it is none, or one that cannot be read, which check_pragmas reports."""
    code = _without_comments(text(node.child_by_field_name("argument"))) if node.type == "preproc_call" else ""
    if not code.startswith("HLS "):
        return None
    try:
        return parse_pragma(node, code)
    except ValueError:
        return None


def _value(tokens: list[str], index: int, brackets: str) -> tuple[int, str]:
    """The value that starts at a token: operands joined by operators; ends where a new operand would follow."""
    parts: list[str] = []
    closing = {"([": ")]", "([<": ")]>"}[brackets]
    depth = 0
    operand = False  # the last token ends an operand
    while index < len(tokens):
        token = tokens[index]
        is_operand = re.match(r"\w", token) is not None
        if depth == 0 and (token == "=" or (operand and is_operand)):
            break
        depth += (token in brackets) - (token in closing)
        operand = is_operand or token in closing
        parts.append(token)
        index += 1
    if depth != 0:
        raise ValueError(f"unbalanced parentheses in '{''.join(parts)}'")
    return index, "".join(parts)


# --- one pragma ----------------------------------------------------------------------------------------------


def place(node: Node) -> str:
    """``function``, ``loop``, ``region`` (another block of a function) or ``file``."""
    parent = node.parent
    while parent is not None and parent.type in _CONDITIONALS:
        parent = parent.parent
    if parent is None or enclosing_function(node) is None:
        return "file"
    outer = parent.parent
    if parent.type == "compound_statement" and outer is not None:
        if outer.type in ("function_definition", "lambda_expression"):
            return "function"
        if outer.type in _LOOPS:
            return "loop"
    return "region"


def _check(design: Design, pragma: Pragma) -> Iterator[str]:
    spec = table().get(pragma.kind)
    if spec is None or "where" not in spec:
        yield f"unknown pragma HLS {pragma.kind}"
        return
    where = place(pragma.node)
    if where not in spec["where"]:
        wanted = {"function": "a function body", "loop": "a loop body", "region": "a block of a function"}
        names = " or ".join(wanted[w] for w in spec["where"])
        yield f"{pragma.kind} must stand directly in {names}, not in {wanted.get(where, 'file scope')}"
        if where == "file":
            return
    values: dict[str, str] = {}
    options = dict(spec["options"])
    if "mode_options" in spec:
        written = [(k, v) for k, v in pragma.options if k.lower() in spec["mode_options"] or k.lower() == "mode"]
        for name, value in written:
            options |= spec["mode_options"].get((value or name).lower(), {})
    by_name = {name.lower(): name for name in options}
    bare = {v: n for n, o in options.items() if o["form"] == "choice" and o.get("bare") for v in o["values"]}
    for written_name, written_value in pragma.options:
        if written_value is None and written_name.lower() in bare and written_name.lower() not in by_name:
            name, value = bare[written_name.lower()], written_name.lower()
        elif written_name.lower() in by_name:
            name, value = by_name[written_name.lower()], written_value or ""
        else:
            what = "option" if written_value is not None else "word"
            extra = f" with mode {_mode(values)}" if "mode_options" in spec and _mode(values) else ""
            yield f"{pragma.kind} has no {what} '{written_name}'{extra}"
            continue
        if name in values:
            yield f"{pragma.kind}: option '{name}' is given twice"
        if options[name]["form"] == "flag" and written_value is not None:
            yield f"{pragma.kind}: '{name}' takes no value"
        elif options[name]["form"] != "flag" and not value:
            yield f"{pragma.kind}: option '{name}' needs a value"
            continue
        values[name] = value
    for name, option in options.items():
        if option.get("required") and name not in values:
            yield f"{pragma.kind}: option '{name}' is missing"
    for name, value in values.items():
        for item in _items(value) if options[name].get("list") else [value]:
            yield from _FORMS[options[name]["form"]](design, pragma, name, item, options[name])
    yield from _rules(design, pragma, spec, values)


def _items(value: str) -> list[str]:
    """The parts of a list; commas inside of template arguments do not separate."""
    return re.split(r",(?![^<>]*>)", value)


def _mode(values: dict[str, str]) -> str:
    return values.get("mode", "")


# --- values --------------------------------------------------------------------------------------------------


def _flag(design: Design, pragma: Pragma, name: str, value: str, option: dict[str, Any]) -> Iterator[str]:
    return iter(())


def _choice(design: Design, pragma: Pragma, name: str, value: str, option: dict[str, Any]) -> Iterator[str]:
    if value.lower() not in option["values"]:
        yield f"{pragma.kind}: {name}={value} is not one of {', '.join(option['values'])}"


def _identifier(design: Design, pragma: Pragma, name: str, value: str, option: dict[str, Any]) -> Iterator[str]:
    if not re.fullmatch(r"[A-Za-z_]\w*", value):
        yield f"{pragma.kind}: {name}={value} is not a name"


def _number(design: Design, pragma: Pragma, name: str, value: str, option: dict[str, Any]) -> Iterator[str]:
    if not re.fullmatch(r"\d+(\.\d+)?([eE]-?\d+)?", value):
        yield from _integer(design, pragma, name, value, option)


def _integer(design: Design, pragma: Pragma, name: str, value: str, option: dict[str, Any]) -> Iterator[str]:
    node = expression(value)
    if node is None:
        yield f"{pragma.kind}: {name}={value} is not an expression"
        return
    constants: dict[str, int] = {}
    for written in _names(node):
        scope, _, identifier = written.rpartition("::")
        if scope and _is_template(design, pragma, scope):
            continue  # a member of a template parameter: known at instantiation
        found = design.lookup(pragma.node, identifier) or design._find(node, identifier)
        if found is None:
            if identifier not in design.functions:
                yield f"{pragma.kind}: '{identifier}' in {name}={value} is not in scope"
                return
            continue
        known = design.constant_value(found)
        if known is not None:
            constants[identifier] = known
        elif found.kind not in ("template", "macro", "enumerator") and not found.constexpr:
            yield f"{pragma.kind}: '{identifier}' in {name}={value} is not a constant"
            return
    result = design.evaluate(node, constants)
    if result is None:
        if re.fullmatch(r"[-\d.]+", value):
            yield f"{pragma.kind}: {name}={value} is not an integer"
        return
    shown = value if value == str(result) else f"{value} (= {result})"
    if result < option.get("min", result):
        yield f"{pragma.kind}: {name}={shown} is less than {option['min']}"
    elif result > option.get("max", result):
        yield f"{pragma.kind}: {name}={shown} is more than {option['max']}"
    elif option.get("power_of_two") and result & (result - 1):
        yield f"{pragma.kind}: {name}={shown} is not a power of two"


def _names(node: Node) -> Iterator[str]:
    """Names that an expression uses, with their scopes as written."""
    if node.type in ("qualified_identifier", "identifier"):
        yield text(node)
    else:
        for child in node.named_children:
            yield from _names(child)


def _is_template(design: Design, pragma: Pragma, scope: str) -> bool:
    """Whether a scope such as ``T`` or ``T::inner`` belongs to a template parameter."""
    found = design.lookup(pragma.node, scope.partition("::")[0]) if scope else None
    return found is not None and found.kind == "template"


def _variable(design: Design, pragma: Pragma, name: str, value: str, option: dict[str, Any]) -> Iterator[str]:
    match = _PATH.fullmatch(value)
    if match is None:
        yield f"{pragma.kind}: {name}={value} is not a variable"
        return
    _, problem = _resolve(design, pragma, value)
    if problem:
        yield f"{pragma.kind}: {problem}"


def _resolve(design: Design, pragma: Pragma, value: str) -> tuple[Variable | None, str]:
    """The variable that ``a``, ``a.b`` or ``a[i].b`` names, or what is wrong. (None, "") where a type is not known."""
    match = _PATH.fullmatch(value)
    if match is None:
        return None, f"'{value}' is not a variable"
    rest = re.sub(r"\[[^\]]*\]", "", match["rest"])
    fields = [f for f in re.split(r"\.|->", rest) if f]
    variable: Variable | None
    if match["root"] == "this":
        owner = next((n for n in ancestors(pragma.node) if n.type in ("struct_specifier", "class_specifier")), None)
        members = design.structs.get(text(owner.child_by_field_name("name")), {}) if owner is not None else {}
        variable = members.get(fields[0]) if fields else None
        if variable is None:
            return None, f"'{value}' is not in scope"
        fields = fields[1:]
    else:
        variable = design.lookup(pragma.node, match["root"])
        if variable is None:
            return None, f"'{match['root']}' is not in scope"
        if variable.kind in ("template", "macro", "enumerator"):
            return None, f"'{match['root']}' is not a variable"
    for member in fields:
        struct = design.resolve(variable)[0].split("::")[-1].split("<")[0]
        if struct not in design.structs:
            return None, ""  # a template parameter or a type of a library
        if member not in design.structs[struct]:
            return None, f"struct {struct} has no member '{member}'"
        variable = design.structs[struct][member]
    return variable, ""


def _parameter(design: Design, pragma: Pragma, name: str, value: str, option: dict[str, Any]) -> Iterator[str]:
    if option.get("or_return") and value == "return":
        return
    function = design.function_at(pragma.node)
    match = _PATH.fullmatch(value)
    if function is None or match is None or all(p.name != match["root"] for p in function.parameters):
        of = f" of {function.name}" if function is not None else ""
        yield f"{pragma.kind}: '{value}' is not a parameter{of}"


def _instances(design: Design, pragma: Pragma, name: str, value: str, option: dict[str, Any]) -> Iterator[str]:
    operation = any("operation" in ((v or k).lower()) for k, v in pragma.options if k.lower() in ("type", "operation"))
    if operation:
        if value.lower() not in table()["operations"]["names"]:
            yield f"{pragma.kind}: '{value}' is not an operation"
    elif value.partition("<")[0].rpartition("::")[2] not in design.functions:
        yield f"{pragma.kind}: there is no function '{value}'"


_Form = Callable[[Design, Pragma, str, str, dict[str, Any]], Iterator[str]]
_FORMS: dict[str, _Form] = {
    "flag": _flag,
    "choice": _choice,
    "identifier": _identifier,
    "number": _number,
    "integer": _integer,
    "variable": _variable,
    "parameter": _parameter,
    "instances": _instances,
}


# --- rules that tie options together -------------------------------------------------------------------------


def _rules(design: Design, pragma: Pragma, spec: dict[str, Any], values: dict[str, str]) -> Iterator[str]:
    variable = None
    if "variable" in values:
        variable, _ = _resolve(design, pragma, values["variable"])
        # An index picks an element: it takes that many dimensions off.
        indices = values["variable"].count("[")
        if variable is not None and "needs" in spec:
            yield from _needs(design, pragma, spec["needs"], variable, indices)
    if "pairs" in spec:
        yield from _pairs(design, pragma, spec["pairs"], values)
    rule = _KIND_RULES.get(pragma.kind)
    if rule is not None:
        yield from rule(design, pragma, values, variable)


def _shape(design: Design, variable: Variable) -> tuple[str, int]:
    """(type, dimensions); those of a stream of blocks are those of its block, which its pragmas are for."""
    kind, dimensions = design.resolve(variable)
    block = re.match(r"(?:hls::)?stream_of_blocks<\s*([\w:]+)", kind)
    return (
        (kind, dimensions + design.aliases.get(block[1].split("::")[-1], ("", 0))[1]) if block else (kind, dimensions)
    )


def _needs(design: Design, pragma: Pragma, needs: str, variable: Variable, indices: int) -> Iterator[str]:
    kind, dimensions = _shape(design, variable)
    dimensions -= indices
    scalar = re.fullmatch(r"(ap_u?int\s*<.*>|bool|char|short|int|long|unsigned.*|signed.*|u?int\d+_t|size_t)", kind)
    if needs == "array" and dimensions < 1:
        if not (scalar is None and variable.type == "auto"):
            yield f"{pragma.kind}: '{variable.name}' is not an array"
    elif needs == "stream_or_array" and dimensions < 1 and scalar is not None:
        yield f"{pragma.kind}: '{variable.name}' is neither an array nor a stream"
    elif needs == "struct" and scalar is not None:
        yield f"{pragma.kind}: '{variable.name}' is not a struct"
    elif needs == "static" and not variable.static and variable.kind != "global":
        yield f"{pragma.kind}: '{variable.name}' is neither static nor global"
    elif needs == "parameter" and variable.kind != "parameter":
        yield f"{pragma.kind}: '{variable.name}' is not a parameter"


def _constant(design: Design, pragma: Pragma, value: str | None) -> int | None:
    node = expression(value) if value else None
    if node is None:
        return None
    last = {n.rpartition("::")[2] for n in _names(node) if not _is_template(design, pragma, n.rpartition("::")[0])}
    known = {n: design.constant_value(design.lookup(pragma.node, n)) for n in last}
    return design.evaluate(node, {n: v for n, v in known.items() if v is not None})


def _pairs(design: Design, pragma: Pragma, pairs: dict[str, Any], values: dict[str, str]) -> Iterator[str]:
    first = values.get("type", values.get("op", "")).lower()
    implementation = values.get("impl", "").lower()
    if first not in pairs or not implementation:
        return
    if implementation not in pairs[first]:
        yield f"{pragma.kind}: {first} cannot be implemented as {implementation}; there is {', '.join(pairs[first])}"
        return
    least, most = pairs[first][implementation]
    latency = _constant(design, pragma, values.get("latency"))
    if latency is not None and latency != -1 and not least <= latency <= most:
        yield f"{pragma.kind}: latency {latency} of {first} as {implementation} is not in {least} to {most}"


def _partition(design: Design, pragma: Pragma, values: dict[str, str], variable: Variable | None) -> Iterator[str]:
    kind = values.get("type", "complete").lower()
    if kind in ("block", "cyclic") and "factor" not in values:
        yield f"{pragma.kind}: {kind} needs a factor"
    if kind == "complete" and "factor" in values:
        yield f"{pragma.kind}: complete takes no factor"
    if variable is None:
        return
    indices = values["variable"].count("[")
    dimensions = _shape(design, variable)[1] - indices
    dim = _constant(design, pragma, values.get("dim", "1"))
    if dim is None or dimensions < 1:
        return
    if dim > dimensions:
        yield f"{pragma.kind}: dim={dim} is more than the dimensions of '{variable.name}' ({dimensions})"
        return
    factor = _constant(design, pragma, values.get("factor"))
    position = dim - 1 + indices
    if factor is not None and dim > 0 and position < len(variable.sizes) and not variable.pointers:
        size = design.evaluate(variable.sizes[position])
        if size is not None and factor > size:
            yield f"{pragma.kind}: factor={factor} is more than the {size} elements of dimension {dim}"


def _storage(design: Design, pragma: Pragma, values: dict[str, str], variable: Variable | None) -> Iterator[str]:
    stream = variable is not None and re.match(r"(?:hls::)?stream<", design.resolve(variable)[0])
    if variable is not None and stream and values.get("type", "").lower() not in ("", "fifo"):
        yield f"bind_storage: stream '{variable.name}' is a fifo"


def _interface(design: Design, pragma: Pragma, values: dict[str, str], variable: Variable | None) -> Iterator[str]:
    mode, port = values.get("mode", "").lower(), values.get("port", "")
    function = design.function_at(pragma.node)
    if mode.startswith("ap_ctrl") and port and port != "return":
        yield f"interface: {mode} belongs to port=return"
    if port == "return" and mode and not mode.startswith(("ap_ctrl", "s_axilite")):
        yield f"interface: port=return takes a control protocol or s_axilite, not {mode}"
    found = next((p for p in function.parameters if p.name == port), None) if function is not None else None
    if found is None:
        return
    dimensions = design.resolve(found)[1]
    if mode == "m_axi" and not dimensions and not found.reference:
        yield f"interface: m_axi port '{port}' is neither a pointer nor an array"
    if mode in ("ap_memory", "bram") and not dimensions:
        yield f"interface: {mode} port '{port}' is not an array"


def _dependence(design: Design, pragma: Pragma, values: dict[str, str], variable: Variable | None) -> Iterator[str]:
    if ("variable" in values) == ("class" in values):
        yield "dependence: give either a variable or a class"
    if "dependent" not in values:
        yield "dependence: write dependent=true or dependent=false; the default differs between versions"
    elif "distance" in values and values["dependent"].lower() != "true":
        yield "dependence: distance has a meaning only with dependent=true"
    if "distance" in values and values.get("type", "inter").lower() != "inter":
        yield "dependence: distance has a meaning only between iterations (inter)"


def _least_most(design: Design, pragma: Pragma, values: dict[str, str], variable: Variable | None) -> Iterator[str]:
    least, most = _constant(design, pragma, values.get("min")), _constant(design, pragma, values.get("max"))
    average = _constant(design, pragma, values.get("avg"))
    if least is not None and most is not None and least > most:
        yield f"{pragma.kind}: min={least} is more than max={most}"
    elif average is not None and most is not None and not (least or 0) <= average <= most:
        yield f"{pragma.kind}: avg={average} is not between min and max"
    if not values:
        yield f"{pragma.kind}: neither min nor max is given"


def _pipeline(design: Design, pragma: Pragma, values: dict[str, str], variable: Variable | None) -> Iterator[str]:
    if "off" in values and len(values) > 1:
        yield "pipeline: off goes with no other option"
    if "rewind" in values and place(pragma.node) != "loop":
        yield "pipeline: rewind is for loops"
    if "off" not in values:
        if any(p.kind == "dataflow" for p in _beside(pragma)):
            yield "pipeline and dataflow cannot both apply to one body"
        if place(pragma.node) == "function":
            yield from _unrolled(design, pragma)


def _beside(pragma: Pragma) -> Iterator[Pragma]:
    """The other pragmas of the same block."""
    for node in pragma.node.parent.children:
        other = pragma_of(node)
        if other is not None and node.start_byte != pragma.node.start_byte:
            yield other


def _unrolled(design: Design, pragma: Pragma) -> Iterator[str]:
    """The loops of a pipelined function are unrolled, so their bounds must be constants."""
    for loop in walk(pragma.node.parent):
        if loop.type not in _LOOPS or enclosing_function(loop) != enclosing_function(pragma.node):
            continue
        if any(p is not None and p.kind == "pipeline" for p in map(pragma_of, _children(loop))):
            yield f"pipeline: the loop in line {line_of(loop)} has a pipeline of its own in a pipelined function"
        condition = loop.child_by_field_name("condition")
        bound = condition.child_by_field_name("right") if condition is not None else None
        if loop.type != "for_statement" or bound is None or not _is_constant(design, bound):
            yield f"pipeline: the loop in line {line_of(loop)} cannot be unrolled: its bound is not a constant"


def _children(loop: Node) -> list[Node]:
    body = loop.child_by_field_name("body")
    return list(body.children) if body is not None else []


def _is_constant(design: Design, bound: Node) -> bool:
    """Whether an expression uses nothing but literals, constants and template parameters."""
    for node in walk(bound):
        if node.type == "identifier":
            found = design.lookup(node, text(node))
            if found is None or not (found.constexpr or found.kind == "template" or design.known(found)):
                return False
        elif node.type in ("call_expression", "field_expression") and design.evaluate(node) is None:
            return False
    return True


def _stable(design: Design, pragma: Pragma, values: dict[str, str], variable: Variable | None) -> Iterator[str]:
    if all(p.kind != "dataflow" for p in _beside(pragma)):
        yield "stable must stand in a DATAFLOW region"


def _inline(design: Design, pragma: Pragma, values: dict[str, str], variable: Variable | None) -> Iterator[str]:
    if "off" in values and "recursive" in values:
        yield "inline: off and recursive exclude each other"


def _performance(design: Design, pragma: Pragma, values: dict[str, str], variable: Variable | None) -> Iterator[str]:
    if not {"target_ti", "target_tl"} & set(values):
        yield "performance: neither target_ti nor target_tl is given"


_Rule = Callable[[Design, Pragma, dict[str, str], "Variable | None"], Iterator[str]]
_KIND_RULES: dict[str, _Rule] = {
    "array_partition": _partition,
    "array_reshape": _partition,
    "bind_storage": _storage,
    "interface": _interface,
    "dependence": _dependence,
    "latency": _least_most,
    "loop_tripcount": _least_most,
    "pipeline": _pipeline,
    "stable": _stable,
    "inline": _inline,
    "performance": _performance,
}
