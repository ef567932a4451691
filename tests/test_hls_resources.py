# SPDX-License-Identifier: Apache-2.0
"""The planner's resource table and cycle model against the C++ headers that they describe."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from hwgen.backends.hls.cpp import Design, Node, enclosing_function, parse, text, walk
from hwgen.plan import cost
from hwgen.resources import folder

HLS = folder("templates") / "hls"
FILES = [*sorted((HLS / "include").glob("*.hpp")), HLS / "src" / "top.cpp"]
COUNTED = {"bind_op": ("dsp", "fabric"), "bind_storage": ("bram", "lutram")}
Bound = tuple[str, str]
"""(``file: function.variable``, implementation)"""


def pragmas(files: list[Path]) -> Iterator[tuple[Path, Design, Node, dict[str, str]]]:
    """Every ``#pragma HLS`` with its options; the kind is the option ``""``."""
    design, _ = parse(files)
    for source in design.sources:
        for node in walk(source.root):
            code = text(node.child_by_field_name("argument")) if node.type == "preproc_call" else ""
            if code.startswith("HLS "):
                options = dict(re.findall(r"(\w+)\s*=\s*([\w.]+)", code))
                yield source.path, design, node, options | {"": code.split()[1].lower()}


def bound(files: list[Path]) -> Counter[Bound]:
    """What the C++ binds to DSPs, LUTs or a kind of memory."""
    found: Counter[Bound] = Counter()
    for path, design, node, options in pragmas(files):
        if options[""] in COUNTED:
            assert options["impl"] in COUNTED[options[""]], options
            assert options.get("op", "mul") == "mul"
            function = design.function_at(node)
            assert function is not None and enclosing_function(node) is not None
            found[(f"{path.name}: {function.name}.{options['variable']}", options["impl"])] += 1
    return found


def table() -> set[Bound]:
    return {(p.source, p.where) for p in cost.PARTS if re.fullmatch(r"\w+\.[hc]pp: \w+\.[\w.]+", p.source)}


def test_every_multiplier_and_memory_of_the_table_is_in_the_cpp() -> None:
    found = bound(FILES)
    assert len(found) > 30
    assert set(found.values()) == {1}, "a name stands for one product of its function"
    assert set(found) == table()


@pytest.mark.parametrize("impl", ["dsp", "fabric"])
def test_a_new_multiplier_is_found(tmp_path: Path, impl: str) -> None:
    changed = []
    for file in FILES:
        code = file.read_text(encoding="utf-8")
        if file.name == "eltwise.hpp":
            line = "    const int plane = ins.y_group0.to_int() + group;\n"
            assert code.count(line) == 1
            more = "    const int squared = plane * plane;\n"
            pragma = f"#pragma HLS BIND_OP variable = squared op = mul impl = {impl}\n"
            code = code.replace(line, line + more + pragma)
        changed.append(tmp_path / file.name)
        changed[-1].write_text(code, encoding="utf-8")
    assert set(bound(changed)) - table() == {("eltwise.hpp: eltwise_issue.squared", impl)}


def products(code: str) -> list[str]:
    """Lines that multiply two values, neither a number nor a constant (whose names are in capitals)."""
    code = re.sub(r"//[^\n]*|static_assert\(.*?;|HWGEN_CHECK\(.*?;", "", code, flags=re.S)
    lines = []
    for line in code.split("\n"):
        for left, right in re.findall(r"([\w.]+|[)\]]) \* (\(?[\w.]+)", line):
            if not any(re.fullmatch(r"\(?(\d+u?|[A-Z][A-Z0-9_]+)", side) for side in (left, right)):
                lines.append(line.strip())
    return lines


def test_no_product_without_a_name() -> None:
    """A product that no BIND_OP names would be the tool's choice: DSP or LUTs."""
    unnamed = []
    for path in FILES:
        code = path.read_text(encoding="utf-8")
        names = set(re.findall(r"BIND_OP variable = (\w+)", code))
        for line in products(code):
            target = re.search(r"(\w+) = ", line)
            simulation = "PairProduct" in line or line.startswith("return operand * x")  # bound where it is used
            if not simulation and (target is None or target[1] not in names):
                unnamed.append(f"{path.name}: {line}")
    assert unnamed == []
    assert products("  const int a = b * c;\n") and not products("  x = 2 * y + LANES * z;\n")


def index_products(codes: dict[str, str]) -> dict[str, int]:
    """Multipliers of ``index_product`` in each header: calls, and those of inlined helpers each time they are called."""
    bodies = {
        match[1]: match[2]
        for code in codes.values()
        for match in re.finditer(r"^inline [\w<>]+ (\w+)\(.*?^{(.*?)^}", code.replace(") {\n", ")\n{\n"), re.S | re.M)
    }
    helpers = {
        name: body for name, body in bodies.items() if "#pragma HLS INLINE\n" in body and name != "index_product"
    }

    def count(body: str) -> int:
        calls = re.findall(r"\b(\w+)\(", body)
        return sum(1 if name == "index_product" else count(helpers[name]) if name in helpers else 0 for name in calls)

    whole = {stem: re.findall(r"^inline [\w<>]+ (\w+)\(", code, re.M) for stem, code in codes.items()}
    found = {
        stem: sum(count(bodies[name]) for name in names if name in bodies and name not in helpers)
        for stem, names in whole.items()
    }
    return {stem: number for stem, number in found.items() if number and stem != "memory"}


def test_index_products_are_counted() -> None:
    codes = {path.stem: path.read_text(encoding="utf-8") for path in FILES}
    assert index_products(codes) == cost.INDEX_PRODUCTS
    more = codes | {
        "store": codes["store"].replace("int base = ins.x_base;", "int base = index_product(1, ins.x_base);")
    }
    assert index_products(more)["store"] == cost.INDEX_PRODUCTS["store"] + 1


def _code(stem: str) -> str:
    return (HLS / "include" / f"{stem}.hpp").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("header", "name", "value"),
    [
        ("weights", "CHUNK_ROWS", cost.LOAD_ROWS),
        ("conv", "ACC_DISTANCE", cost.ACC_DISTANCE),
        ("conv", "ADD_WORDS", cost.ADD_WORDS),
        ("depthwise", "DW_LINE_DISTANCE", cost.ACC_DISTANCE),
        ("types", "DW_PIXELS", cost.DW_PIXELS),
        ("types", "POOL_PIXELS", cost.POOL_PIXELS),
        ("depthwise", "DW_TAPS", cost.DW_TAPS),
        ("depthwise", "DW_NARROW", cost.DW_NARROW),
        ("depthwise", "DW_KERNEL_MAX", cost.DW_KERNEL_MAX),
        ("depthwise", "DW_LINES", cost.DW_LINES),
        ("depthwise", "DW_QUADS", cost.DW_QUADS),
        ("eltwise", "ELTWISE_WORDS", cost.ELTWISE_WORDS),
        ("attention", "PLANES", cost.PLANES),
        ("attention", "PREPARED", cost.PREPARED),
        ("attention", "KV_PARTS", cost.KV_PARTS),
        ("mlp", "LINEAR_ROWS", cost.LINEAR_ROWS),
        ("mlp", "ROOT_BITS", cost.ROOT_BITS),
        ("mlp", "RECIPROCAL_BITS", cost.RECIPROCAL_BITS),
    ],
)
def test_constants_are_those_of_the_cpp(header: str, name: str, value: int) -> None:
    assert re.findall(rf"constexpr int {name} = (\d+);", _code(header)) == [str(value)]


def test_loops_that_the_cycle_model_names_exist() -> None:
    labels = {label for path in FILES for label in re.findall(r"^\s*(\w+):$", path.read_text("utf-8"), re.M)}
    functions = {name for path in FILES for name in re.findall(r"\b(\w+)\(", path.read_text("utf-8"))}
    document = "".join(str(getattr(cost, n).__doc__) for n in dir(cost) if n.endswith("_cycles"))
    named = set(re.findall(r"``((?:\w+_)\w+)``", document)) - {"kernel_h"}
    assert len(named) > 15
    assert named <= labels | functions
