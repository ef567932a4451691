# SPDX-License-Identifier: Apache-2.0
"""Static checks of the HLS C++: the emitted files have no finding, and each kind of mistake is found."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from hwgen.backends.hls import emit
from hwgen.backends.hls.cpp import Finding, parse, synthesis_view, text, walk
from hwgen.backends.hls.dataflow import check_dataflow, regions
from hwgen.backends.hls.pragmas import check_pragmas, table
from hwgen.backends.hls.style import check_style, compile_check, installed_compilers, synthesizable_files
from hwgen.errors import UserError
from hwgen.plan.program import HEADER, INSTRUCTION, Config, Program

CHECKS = {"pragma": check_pragmas, "dataflow": check_dataflow, "style": check_style}

# A design without mistakes that uses most of what the checks know.
VALID = """
#include <ap_int.h>
#include <hls_stream.h>
#include "config.hpp"
#define DEPTH 64
namespace hw {
constexpr int LANES = 1 << 4;
constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }
typedef ap_uint<128> Word;
using Row = Word[LANES];
struct Config { static constexpr int PORTS = 4; };
struct Pair { Word low; Word high[2]; };
static Word pads[2][LANES][DEPTH];

template <int PORT>
void reader(const Word* memory, hls::stream<Word>& out, int rows) {
  for (int i = 0; i < rows; ++i) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=ceil_div(DEPTH, 4) avg=8
#pragma HLS PIPELINE II = 1 style=flp
    out << memory[i];
  }
}

void halve(hls::stream<Word>& in, hls::stream<Word>& out, int rows) {
  for (int i = 0; i < rows; ++i) {
#pragma HLS pipeline II=1
    Word value;
    in.read(value);
    Word& alias = value;
    alias = alias >> 1;
    out.write(value);
  }
}

void writer(hls::stream<Word>& in, Word ring[DEPTH][LANES], int rows) {
#pragma HLS inline off
rows:
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < LANES; ++j) {
#pragma HLS UNROLL factor=LANES/4 skip_exit_check
      ring[i % DEPTH][j] = in.read();
    }
  }
}

void load(const Word* memory, Word ring[DEPTH][LANES], int rows) {
#pragma HLS DATAFLOW
#pragma HLS STABLE variable=rows
  const int unused = LANES / 2;
  hls::stream<Word> raw("raw");
#pragma HLS STREAM variable=raw depth=DEPTH/2 type=fifo
#pragma HLS bind_storage variable=raw type=fifo impl=srl
  hls::stream<Word> halved("halved");
#pragma HLS STREAM variable = halved depth = (DEPTH + 1) \\
    type = fifo
  reader<Config::PORTS>(memory, raw, rows);
  halve(raw, halved, rows);
  writer(halved, ring, rows);
}

void fill(Word a[4], int n) {
  for (int i = 0; i < 4; ++i) a[i] = n;
}
void drain(const Word a[4], Word* out) {
  for (int i = 0; i < 4; ++i) out[i] = a[i];
}
void frames(Word* out, int count) {
  for (int f = 0; f < count; ++f) {
#pragma HLS DATAFLOW
    Word buffer[4];
#pragma HLS array_partition variable=buffer complete
    fill(buffer, f);
    drain(buffer, out);
  }
}

template <typename CONFIG>
void scaled(int a[8]) {
  for (int i = 0; i < 8; ++i) {
#pragma HLS PIPELINE II=CONFIG::factor*CONFIG::inner::count
    a[i] = a[i] * 2;
  }
}

template <typename T, int N>
T sum(const T (&x)[N]) {
#pragma HLS inline recursive
#pragma HLS array_partition variable=x cyclic factor=N/2 dim=1
  T total = 0;
  for (int i = 0; i < N; i++) {
#pragma HLS unroll
#pragma HLS dependence variable=total type=inter direction=RAW distance=2 dependent=true
    total += x[i];
  }
  return total;
}

void engine(Pair pair, ap_int<8> taps[3][LANES], int n) {
#pragma HLS allocation function instances=halve limit=1
#pragma HLS allocation function instances=reader<Config::PORTS> limit=1
#pragma HLS allocation operation instances=mul limit=LANES
#pragma HLS array_partition variable=pair.high
#pragma HLS array_reshape variable=taps block factor=2 dim=2
#pragma HLS disaggregate variable=pair
#pragma HLS function_instantiate variable=n
#pragma HLS latency min=2 max=10
  static ap_uint<4> state;
#pragma HLS reset variable=state off
  Row row;
#pragma HLS array_partition variable=row complete dim=1
  ap_int<32> product;
#pragma HLS bind_op variable=product op=mul impl=dsp latency=3
  while (n > 0) {
#pragma HLS loop_tripcount max=100
#pragma HLS loop_flatten off
    product = taps[0][n] * taps[1][n];
    if (n > 2) {
#pragma HLS occurrence cycle=4
      row[0] = product;
    }
    --n;
  }
  state = state + 1;
}
}  // namespace hw
extern "C" void top(const hw::Word* memory, hw::Word* out, int rows) {
#pragma HLS INTERFACE m_axi port=memory bundle=gmem0 offset=slave depth=hw::LANES*4 max_read_burst_length=64 \\
    num_read_outstanding=8 latency=32
#pragma HLS INTERFACE mode=m_axi port=out bundle=gmem1 offset=slave max_write_burst_length=16  // a comment
#pragma HLS INTERFACE s_axilite port=rows bundle=control
#pragma HLS INTERFACE s_axilite port=return bundle=control
#pragma HLS INTERFACE ap_ctrl_chain port=return
  using namespace hw;
#pragma HLS ARRAY_PARTITION variable=pads complete dim=1
#pragma HLS ARRAY_PARTITION variable=pads type=cyclic factor=4 dim=2
#pragma HLS BIND_STORAGE variable=pads type=ram_s2p impl=bram latency=2
  static Word ring[DEPTH][LANES];
  load(memory, ring, rows);
  frames(out, rows);
  out[0] = pads[0][0][rows] + ring[0][0];
}
#ifndef __SYNTHESIS__
#include <vector>
static std::vector<double> samples;
#endif
"""

FUNCTION = "#include <ap_int.h>\nconstexpr int N = 4;\nvoid f(int a[N][8], const int* p, int n) {\n%s\n}\n"
LOOP = FUNCTION % "  for (int i = 0; i < n; ++i) {\n%s\n    a[0][0] = i;\n  }"

# (name, code with '//!' on the line of the finding, part of the message)
PRAGMA_MISTAKES = [
    ("misspelt kind", LOOP % "#pragma HLS PIPELNE II=1 //!", "unknown pragma HLS pipelne"),
    ("misspelt family", LOOP % "#pragma HSL PIPELINE II=1 //!", "unknown pragma 'HSL'"),
    ("no kind", FUNCTION % "#pragma HLS //!", "without a kind"),
    ("unknown option", LOOP % "#pragma HLS PIPELINE II=1 depth=3 //!", "no option 'depth'"),
    ("unknown word", LOOP % "#pragma HLS UNROLL complete_all //!", "no word 'complete_all'"),
    ("option twice", LOOP % "#pragma HLS PIPELINE II=1 II=2 //!", "given twice"),
    ("option without value", LOOP % "#pragma HLS UNROLL factor= //!", "no value"),
    ("flag with value", FUNCTION % "#pragma HLS INLINE off=1 //!", "takes no value"),
    ("missing option", FUNCTION % "#pragma HLS ARRAY_PARTITION complete //!", "option 'variable' is missing"),
    ("missing max", LOOP % "#pragma HLS LOOP_TRIPCOUNT min=1 //!", "option 'max' is missing"),
    ("unknown variable", FUNCTION % "#pragma HLS ARRAY_PARTITION variable=b //!", "'b' is not in scope"),
    ("declared later", FUNCTION % "#pragma HLS ARRAY_PARTITION variable=b //!\n  int b[3];", "'b' is not in scope"),
    (
        "declared in an inner block",
        FUNCTION % "  if (n) {\n    int b[3];\n  }\n#pragma HLS ARRAY_PARTITION variable=b //!",
        "'b' is not in scope",
    ),
    (
        "variable of another function",
        "void g() { int b[3]; }\nvoid f() {\n#pragma HLS ARRAY_PARTITION variable=b //!\n}",
        "'b' is not in scope",
    ),
    (
        "loop counter after its loop",
        LOOP % "" + "#pragma HLS STABLE variable=i //!",
        "must stand directly in a function",
    ),
    (
        "counter out of scope",
        FUNCTION % "  for (int i = 0; i < n; ++i) {}\n#pragma HLS STABLE variable=i //!",
        "'i' is not in scope",
    ),
    (
        "no such member",
        "struct S { int low[2]; };\nvoid f(S s) {\n#pragma HLS ARRAY_PARTITION variable=s.high //!\n}",
        "no member 'high'",
    ),
    ("port is not a parameter", FUNCTION % "  int* q;\n#pragma HLS INTERFACE m_axi port=q //!", "not a parameter of f"),
    ("port is a number", FUNCTION % "#pragma HLS INTERFACE m_axi port=n //!", "neither a pointer nor an array"),
    ("mode missing", FUNCTION % "#pragma HLS INTERFACE port=p //!", "option 'mode' is missing"),
    (
        "option of another mode",
        FUNCTION % "#pragma HLS INTERFACE s_axilite port=n max_read_burst_length=4 //!",
        "mode s_",
    ),
    ("burst too long", FUNCTION % "#pragma HLS INTERFACE m_axi port=p max_read_burst_length=512 //!", "more than 256"),
    (
        "burst not a power",
        FUNCTION % "#pragma HLS INTERFACE m_axi port=p max_read_burst_length=N*3 //!",
        "power of two",
    ),
    ("offset", FUNCTION % "#pragma HLS INTERFACE m_axi port=p offset=master //!", "offset=master is not one of"),
    ("control on a port", FUNCTION % "#pragma HLS INTERFACE ap_ctrl_hs port=p //!", "belongs to port=return"),
    ("return as memory", FUNCTION % "#pragma HLS INTERFACE m_axi port=return //!", "control protocol"),
    ("dim too large", FUNCTION % "#pragma HLS ARRAY_PARTITION variable=a complete dim=3 //!", "dim=3"),
    ("dim negative", FUNCTION % "#pragma HLS ARRAY_PARTITION variable=a complete dim=-1 //!", "less than 0"),
    ("not an array", FUNCTION % "#pragma HLS ARRAY_PARTITION variable=n complete //!", "'n' is not an array"),
    ("factor missing", FUNCTION % "#pragma HLS ARRAY_PARTITION variable=a cyclic //!", "cyclic needs a factor"),
    ("factor with complete", FUNCTION % "#pragma HLS ARRAY_PARTITION variable=a complete factor=2 //!", "no factor"),
    ("factor 0", FUNCTION % "#pragma HLS ARRAY_PARTITION variable=a block factor=N-4 //!", "(= 0) is less than 1"),
    ("factor too large", FUNCTION % "#pragma HLS ARRAY_PARTITION variable=a cyclic factor=N*3 dim=2 //!", "8 elements"),
    ("factor not constant", FUNCTION % "#pragma HLS ARRAY_PARTITION variable=a cyclic factor=n //!", "not a constant"),
    ("factor out of scope", FUNCTION % "#pragma HLS ARRAY_PARTITION variable=a cyclic factor=M //!", "not in scope"),
    ("factor decimal", LOOP % "#pragma HLS UNROLL factor=1.5 //!", "not an integer"),
    ("type", FUNCTION % "#pragma HLS ARRAY_PARTITION variable=a type=diagonal //!", "type=diagonal is not one of"),
    ("pipeline at file scope", "#pragma HLS PIPELINE //!\nvoid f() {}", "not in file scope"),
    (
        "pipeline in a conditional",
        FUNCTION % "  if (n) {\n#pragma HLS PIPELINE //!\n  }",
        "not in a block of a function",
    ),
    ("unroll in a function", FUNCTION % "#pragma HLS UNROLL //!", "directly in a loop body"),
    (
        "tripcount in a conditional",
        LOOP % "if (i) {\n#pragma HLS LOOP_TRIPCOUNT max=3 //!\n}",
        "directly in a loop body",
    ),
    ("inline in a loop", LOOP % "#pragma HLS INLINE //!", "inline must stand"),
    ("II 0", LOOP % "#pragma HLS PIPELINE II=0 //!", "less than 1"),
    ("rewind in a function", FUNCTION % "#pragma HLS PIPELINE rewind //!", "rewind is for loops"),
    ("style", LOOP % "#pragma HLS PIPELINE style=fast //!", "style=fast is not one of"),
    ("pipeline and dataflow", FUNCTION % "#pragma HLS DATAFLOW\n#pragma HLS PIPELINE //!", "cannot both apply"),
    (
        "storage type",
        FUNCTION % "  int b[9];\n#pragma HLS BIND_STORAGE variable=b type=ram_3p //!",
        "ram_3p is not one of",
    ),
    (
        "storage pair",
        FUNCTION % "  int b[9];\n#pragma HLS BIND_STORAGE variable=b type=ram_t2p impl=lutram //!",
        "ram_t2p",
    ),
    (
        "storage latency",
        FUNCTION % "  int b[9];\n#pragma HLS BIND_STORAGE variable=b type=ram_2p impl=bram latency=4 //!",
        "not in 1 to 3",
    ),
    ("storage of a number", FUNCTION % "#pragma HLS BIND_STORAGE variable=n type=ram_2p //!", "neither an array"),
    ("operation", FUNCTION % "#pragma HLS BIND_OP variable=n op=mull //!", "op=mull is not one of"),
    ("operation's latency", FUNCTION % "#pragma HLS BIND_OP variable=n op=mul impl=dsp latency=9 //!", "not in 0 to 4"),
    ("unknown function", FUNCTION % "#pragma HLS ALLOCATION function instances=g limit=1 //!", "no function 'g'"),
    ("unknown operation", FUNCTION % "#pragma HLS ALLOCATION operation instances=mac limit=1 //!", "not an operation"),
    ("stream of a number", FUNCTION % "#pragma HLS STREAM variable=n depth=4 //!", "neither an array nor a stream"),
    ("stream depth", FUNCTION % "  int b[4];\n#pragma HLS STREAM variable=b depth=0 //!", "less than 1"),
    ("dependence of nothing", LOOP % "#pragma HLS DEPENDENCE type=inter dependent=false //!", "a variable or a class"),
    (
        "distance of no dependence",
        LOOP % "#pragma HLS DEPENDENCE variable=a distance=2 dependent=false //!",
        "distance",
    ),
    ("dependence left open", LOOP % "#pragma HLS DEPENDENCE variable=a inter //!", "write dependent="),
    ("min above max", LOOP % "#pragma HLS LOOP_TRIPCOUNT min=N*2 max=N //!", "min=8 is more than max=4"),
    ("reset of a local", FUNCTION % "  int s;\n#pragma HLS RESET variable=s //!", "neither static nor global"),
    ("aggregate of a number", FUNCTION % "#pragma HLS AGGREGATE variable=n //!", "not a struct"),
    ("instantiate a local", FUNCTION % "  int s;\n#pragma HLS FUNCTION_INSTANTIATE variable=s //!", "not a parameter"),
    (
        "twice on a dimension",
        FUNCTION
        % "#pragma HLS ARRAY_PARTITION variable=a\n#pragma HLS ARRAY_RESHAPE variable=a cyclic factor=2 dim=1 //!",
        "'a' has one already, in line 4",
    ),
    (
        "interface twice",
        FUNCTION % "#pragma HLS INTERFACE m_axi port=p\n#pragma HLS INTERFACE mode=m_axi port=p bundle=b //!",
        "'p' has one already",
    ),
    ("_Pragma", FUNCTION % '  _Pragma("HLS INLINE"); //!', "_Pragma is not checked"),
    ("continued line", FUNCTION % "#pragma HLS INTERFACE m_axi \\\n  port=q //", "'q' is not a parameter"),
    ("broken C++", FUNCTION % "  int b[3; //!", "cannot be parsed"),
]

PROCESSES = """#include <hls_stream.h>
typedef hls::stream<int> Stream;
static int counter;
static int table[4];
static const int rom[4] = {1, 2, 3, 4};
void make(Stream& out) { for (int i = 0; i < 4; ++i) out.write(i); }
void pass(Stream& in, Stream& out) { for (int i = 0; i < 4; ++i) out << in.read(); }
void two(Stream& a, Stream& b) { a.write(1); b.write(2); }
void join(Stream& a, Stream& b, int* out) { int x; a >> x; out[0] = x + b.read(); }
void sink(Stream& in, int* out) { out[0] = in.read(); }
void fill(int a[4]) { for (int i = 0; i < 4; ++i) { int& r = a[i]; r = i; } }
void fill_through(int a[4]) { fill(a); }
void show(const int a[4], int* out) { out[0] = a[1]; }
void loop_back(Stream& s) { s.write(s.read()); }
void count(Stream& out) { out.write(counter); ++counter; }
void count_too(Stream& in, int* out) { counter = in.read(); out[0] = 1; }
void bump() { static int calls; ++calls; }
void keep(Stream& out) { bump(); out.write(1); }
void keep_too(Stream& in, int* out) { bump(); out[0] = in.read(); }
void store(Stream& in, int t[4]) { t[0] = in.read(); }
void feed_table(Stream& out) { out.write(table[1]); }
int value(Stream& in) { return in.read(); }
void declared_only(Stream& in);
void wrapper(Stream& in) { declared_only(in); }
void region(int* out, int* other, const int* in, int n, Stream& port) {
#pragma HLS DATAFLOW
%s
}
"""
DATAFLOW_MISTAKES = [
    ("two producers", "Stream s;\nmake(s);\nmake(s); //!\nsink(s, out);", "one producer only"),
    ("two consumers", "Stream s;\nmake(s);\nsink(s, out);\nstore(s, other); //!", "one consumer only"),
    ("feedback", "Stream s, t;\npass(t, s); //!\npass(s, t);\n", "feedback: 't'"),
    ("read before written", "int a[4];\nshow(a, out); //!\nfill(a);", "feedback: 'a'"),
    ("self loop", "Stream s;\nloop_back(s); //!", "read and written by 'loop_back'"),
    ("never written", "Stream s;\nsink(s, out); //!", "never written"),
    ("never read", "Stream s; //!\nmake(s);", "never read"),
    ("unused stream", "Stream s; //!", "used by no process"),
    (
        "bypass",
        "Stream s, t, u;\ntwo(s, t);\npass(t, u);\njoin(s, u, out); //!",
        "bypass: 's' goes around process 'pass'",
    ),
    ("two producers of an array", "int a[4];\nfill_through(a);\nfill(a); //!\nshow(a, out);", "one producer only"),
    ("conditional", "Stream s;\nif (n) { make(s); } //!\nsink(s, out);", "no 'if'"),
    ("loop", "Stream s;\nfor (int i = 0; i < 2; ++i) make(s); //!\nsink(s, out);", "no 'for'"),
    ("return", "Stream s;\nmake(s);\nsink(s, out);\nreturn; //!", "no 'return'"),
    ("assignment", "Stream s;\nmake(s);\nn = 3; //!\nsink(s, out);", "a computation"),
    ("result used", "Stream s;\nmake(s);\nint x = value(s); //!", "must not compute"),
    ("computed local", "const int m = n + 1; //!\nStream s;\nmake(s);\nsink(s, out);", "must not compute"),
    ("computed argument", "Stream s;\nmake(s);\nsink(s, out + n); //!", "computes"),
    ("process with a result", "Stream s;\nmake(s);\nvalue(s); //!", "must return void"),
    ("unknown callee", "Stream s;\nmake(s);\ndeclared_only(s); //!", "no definition"),
    (
        "shared global",
        "Stream s;\ncount(s);\ncount_too(s, out); //!",
        "'counter' is touched by 'count' and 'count_too'",
    ),
    ("shared static", "Stream s;\nkeep(s);\nkeep_too(s, out); //!", "'calls' is touched by 'keep' and 'keep_too'"),
    ("global as argument", "Stream s;\nmake(s);\nstore(s, table); //!", "comes from outside"),
    ("constant from outside", "show(rom, out); //!", "comes from outside"),
    ("static array", "static int a[4]; //!\nfill(a);\nshow(a, out);", "treated like a local"),
    (
        "port read twice",
        "show(in, out);\nshow(in, other); //!",
        "one consumer",
    ),
    ("port shared", "pass(port, port); //!", "read and written"),
]
STYLE_MISTAKES = [
    ("recursion", "int f(int n) { return n ? f(n - 1) : 0; } //!", "no recursion: f -> f"),
    (
        "mutual recursion",
        "int g(int n);\nint f(int n) { return g(n); } //!\nint g(int n) { return f(n); }",
        "f -> g -> f",
    ),
    ("vector", "#include <vector> //!\n", "#include <vector>"),
    ("std::vector", "void f() {\n  std::vector<int> v; //!\n}", "std::vector"),
    ("std::array", "std::array<int, 3> v; //!", "std::array"),
    ("namespace std", "using namespace std; //!", "using namespace std"),
    ("float", "void f(float x) {} //!", "no floating point: float"),
    ("double", "void f() {\n  double x; //!\n}", "no floating point: double"),
    ("float literal", "int f() {\n  return 3 * 1.5; //!\n}", "no floating point: 1.5"),
    ("exponent", "int f() {\n  return 1e3; //!\n}", "no floating point: 1e3"),
    ("new", "void f() {\n  int* p = new int[3]; //!\n}", "no dynamic memory: new"),
    ("delete", "void f(int* p) {\n  delete p; //!\n}", "no dynamic memory: delete"),
    ("malloc", "void f() {\n  void* p = malloc(3); //!\n}", "no dynamic memory: malloc"),
    ("virtual", "struct S {\n  virtual void f() {} //!\n};", "no virtual"),
    ("pure virtual", "struct S {\n  virtual void f() = 0; //!\n};", "no virtual"),
    ("throw", "void f() {\n  throw 3; //!\n}", "no exceptions"),
    ("printf", 'void f() {\n  printf("x"); //!\n}', "not for synthesis: printf"),
    ("iostream", "#include <iostream> //!\n", "#include <iostream>"),
    ("float behind an else", "#ifndef __SYNTHESIS__\nint a;\n#else\nfloat b; //!\n#endif", "no floating point"),
]
MISTAKES = [
    *(("pragma", *case) for case in PRAGMA_MISTAKES),
    *(("dataflow", name, PROCESSES % code, message) for name, code, message in DATAFLOW_MISTAKES),
    *(("style", *case) for case in STYLE_MISTAKES),
]


def _write(folder: Path, code: str) -> Path:
    path = folder / "design.cpp"
    path.write_text(code, encoding="utf-8")
    return path


def _all(files: list[Path]) -> list[Finding]:
    return [finding for check in CHECKS.values() for finding in check(files)]


@pytest.mark.parametrize(("check", "name", "code", "message"), MISTAKES, ids=[f"{c}: {n}" for c, n, *_ in MISTAKES])
def test_mistake_is_found(tmp_path: Path, check: str, name: str, code: str, message: str) -> None:
    findings = CHECKS[check]([_write(tmp_path, code)])
    matching = [f for f in findings if message in f.message]
    assert matching, f"not found: {message}; found: {[str(f) for f in findings]}"
    marked = [n for n, line in enumerate(code.split("\n"), 1) if "//!" in line]
    if marked:
        assert [f.line for f in matching] == marked
    assert len(findings) == len(matching), [str(f) for f in findings]


def test_pragma_of_a_loop_without_braces_is_found(tmp_path: Path) -> None:
    path = _write(tmp_path, FUNCTION % "  for (int i = 0; i < n; ++i)\n#pragma HLS UNROLL\n    a[0][0] = i;")
    assert [f.line for f in check_pragmas([path])] == [4, 5]


def test_valid_design_has_no_finding(tmp_path: Path) -> None:
    path = _write(tmp_path, VALID)
    assert _all([path]) == []
    assert [name for _, _, name in regions([path])] == ["load", "frames"]


VALID_REGIONS = [
    "Stream s;\nmake(s);\nsink(s, out);",
    "int a[4];\nfill_through(a);\nshow(a, out);",
    "const int a[4] = {1, 2, 3, 4};\nshow(a, out);",
    "Stream s, t;\ntwo(s, t);\njoin(s, t, out);",
    'static Stream s;\nStream t("t");\nmake(s);\npass(s, t);\nsink(t, out);',
    "Stream s[2];\ntwo(s[0], s[1]);\njoin(s[0], s[1], out);",
    'Stream s;\nint a[4];\nkeep(s);\nfill(a);\nstatic_assert(sizeof(int) == 4, "32");\nstore(s, out);\nshow(a, other);',
]


@pytest.mark.parametrize("code", VALID_REGIONS)
def test_valid_region_has_no_finding(tmp_path: Path, code: str) -> None:
    path = _write(tmp_path, PROCESSES % code)
    assert check_dataflow([path]) == []
    assert check_pragmas([path]) == []
    assert len(regions([path])) == 1


@pytest.mark.parametrize(
    ("header", "good"),
    [
        ("for (int i = 0; i < n; ++i)", True),
        ("for (int i = 0; i < 8; i++)", True),
        ("for (int i = 0; i < n; i += 2)", False),
        ("for (int i = 1; i < n; ++i)", False),
        ("for (int i = n; i > 0; --i)", False),
        ("for (int i = 0; i < n * n; ++i)", False),
        ("while (n)", False),
    ],
)
def test_form_of_a_dataflow_loop(tmp_path: Path, header: str, good: bool) -> None:
    helpers = PROCESSES.partition("void region")[0]
    calls = "#pragma HLS DATAFLOW\nStream s;\nmake(s);\nsink(s, out);\n"
    body = f"void region(int* out, int n) {{\n{header} {{\n{calls}}}\n}}\n"
    findings = check_dataflow([_write(tmp_path, helpers + body)])
    assert [f.message.partition(" must")[0] for f in findings] == ([] if good else ["a DATAFLOW loop"])


def test_names_of_another_file_are_in_scope(tmp_path: Path) -> None:
    header = tmp_path / "memory.hpp"
    header.write_text("#pragma once\nconstexpr int BANKS = 16;\nstatic int pads[8][BANKS];\n")
    source = tmp_path / "top.cpp"
    code = (
        '#include "memory.hpp"\nvoid top() {\n#pragma HLS array_partition variable=pads cyclic factor=BANKS dim=2\n}\n'
    )
    source.write_text(code)
    assert check_pragmas([header, source]) == []
    assert [f.line for f in check_pragmas([source])] == [3, 3]
    source.write_text(code.replace("factor=BANKS", "factor=BANKS*2"))
    assert ["more than the 16 elements" in f.message for f in check_pragmas([header, source])] == [True]


def test_simulation_branches_are_blanked_and_lines_kept() -> None:
    code = "a\n#ifndef __SYNTHESIS__\nb\n#ifdef X\nc\n#else\nd\n#endif\n#else\ne\n#endif\n#ifdef X\nf\n#endif\ng"
    assert synthesis_view(code).split("\n") == ["a", *[""] * 8, "e", "", "#ifdef X", "f", "#endif", "g"]
    assert synthesis_view("#if defined(__SYNTHESIS__)\na\n#elif Y\nb\n#endif").split("\n") == ["", "a", "", "", ""]


def test_every_pragma_of_the_table_is_described() -> None:
    kinds = {k: v for k, v in table().items() if "where" in v}
    wanted = (
        "aggregate alias allocation array_partition array_reshape bind_op bind_storage cache dataflow dependence "
        "disaggregate expression_balance function_instantiate inline interface latency loop_flatten loop_merge "
        "loop_tripcount occurrence performance pipeline protocol reset stable stream top unroll"
    )
    assert set(wanted.split()) <= set(kinds)
    forms = {o["form"] for spec in kinds.values() for o in spec["options"].values()}
    assert forms <= {"flag", "choice", "identifier", "number", "integer", "variable", "parameter", "instances"}
    assert all(set(spec["where"]) <= {"function", "loop", "region", "file"} for spec in kinds.values())


# --- the emitted files ---------------------------------------------------------------------------------------

CONFIGS = {
    "default": Config(),
    "small": Config(blocks=4, acc_groups=8, pads=4, pad_depth=128, ring_rows=512, mlp_channels=64, image_row_bytes=64),
    "wide heads": Config(blocks=8, head_dim=32, slots=1),
}


def _emit(folder: Path, config: Config) -> Path:
    header = np.zeros(1, HEADER)[0]
    emit(Program(config, header, np.zeros(0, INSTRUCTION), b""), folder, part="part", clock_mhz=200.0, name="design")
    return folder / "hls"


@pytest.fixture(scope="module", params=CONFIGS)
def emitted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _emit(tmp_path_factory.mktemp("emitted"), CONFIGS[request.param])


def test_synthesizable_files(emitted: Path) -> None:
    names = {str(path.relative_to(emitted)) for path in synthesizable_files(emitted)}
    assert {"config.hpp", "src/top.cpp", "include/conv.hpp"} <= names
    assert not {"src/testbench.cpp", "sim/hls_stream.h"} & names


@pytest.mark.parametrize("check", CHECKS)
def test_emitted_files_have_no_finding(emitted: Path, check: str) -> None:
    assert [str(f) for f in CHECKS[check](synthesizable_files(emitted))] == []


def test_every_pragma_line_is_seen(emitted: Path) -> None:
    """What the parser passes over would not be checked: as many pragmas in the trees as in the text."""
    total = 0
    for path in synthesizable_files(emitted):
        lines = synthesis_view(path.read_text(encoding="utf-8")).split("\n")
        written = sum(re.match(r"\s*#\s*pragma\s+HLS\b", line) is not None for line in lines)
        design, _ = parse([path])
        nodes = [n for n in walk(design.sources[0].root) if n.type == "preproc_call"]
        assert len([n for n in nodes if text(n.child_by_field_name("argument")).startswith("HLS")]) == written, path
        total += written
    assert total > 100


def test_the_weight_loader_is_a_dataflow_region(emitted: Path) -> None:
    assert "load_chunk" in [name for _, _, name in regions(synthesizable_files(emitted))]


@pytest.mark.parametrize(
    ("check", "file", "pattern", "replacement"),
    [
        ("pragma", "include/weights.hpp", "PIPELINE II = 1", "PIPELINE III = 1"),
        ("pragma", "include/weights.hpp", r"variable = first\b", "variable = frist"),
        ("pragma", "src/top.cpp", "variable = pads complete dim = 2", "variable = pads complete dim = 4"),
        ("pragma", "src/top.cpp", "port = frames", "port = frame"),
        ("pragma", "src/top.cpp", "impl = bram", "impl = ram"),
        ("dataflow", "include/weights.hpp", r"(read_port<1>\(\w+), beats1", r"\1, beats0"),
        ("dataflow", "include/weights.hpp", r"  (read_port<2>.*?;)", r"  if (row > 0) \1"),
        ("style", "include/weights.hpp", r"namespace hwgen \{", "namespace hwgen {\nstatic float scale;"),
        ("style", "src/top.cpp", '#include "machine.hpp"', '#include "machine.hpp"\n#include <vector>'),
    ],
)
def test_a_mistake_in_an_emitted_file_is_found(
    tmp_path: Path, check: str, file: str, pattern: str, replacement: str
) -> None:
    """The positive tests could pass because nothing is looked at."""
    folder = _emit(tmp_path, Config())
    path = folder / file
    changed, count = re.subn(pattern, replacement, path.read_text(encoding="utf-8"), count=1)
    assert count == 1
    before = {str(f) for f in CHECKS[check](synthesizable_files(folder))}
    path.write_text(changed, encoding="utf-8")
    assert {str(f) for f in CHECKS[check](synthesizable_files(folder)) if f.file == path} - before


# --- compilers -----------------------------------------------------------------------------------------------


def _ap_types() -> Path:
    spec = importlib.util.find_spec("hls4ml")
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "templates" / "vivado" / "ap_types"


def _includes(folder: Path) -> list[Path]:
    return [folder, folder / "include", folder / "sim"]


@pytest.mark.parametrize("compiler", installed_compilers())
def test_emitted_files_compile_without_a_warning(tmp_path: Path, compiler: str) -> None:
    folder = _emit(tmp_path, Config())
    result = compile_check(folder, compiler, _includes(folder), system=[_ap_types()], headers=False)
    assert len(result.compiled) >= 2
    assert result.errors == ()


@pytest.mark.slow
@pytest.mark.parametrize("compiler", installed_compilers())
@pytest.mark.parametrize(("config", "headers"), [("default", True), ("small", False), ("wide heads", False)])
def test_other_machines_and_lone_headers_compile(tmp_path: Path, compiler: str, config: str, headers: bool) -> None:
    folder = _emit(tmp_path, CONFIGS[config])
    result = compile_check(folder, compiler, _includes(folder), system=[_ap_types()], headers=headers)
    assert result.errors == ()


@pytest.mark.parametrize("compiler", installed_compilers())
def test_compile_check_finds_a_warning(tmp_path: Path, compiler: str) -> None:
    good = tmp_path / "good.hpp"
    good.write_text(
        "#pragma once\n#include <cstdint>\ninline int8_t f(int8_t x) {\n#pragma HLS INLINE\n  return x;\n}\n"
    )
    bad = tmp_path / "bad.cpp"
    bad.write_text('#include "good.hpp"\nint g(int unused) { return 0; }\n')
    result = compile_check(tmp_path, compiler, [tmp_path])
    assert result.compiled == (bad, good)
    assert [path for path, _ in result.errors] == [bad]
    assert "unused" in result.errors[0][1]
    assert compile_check(tmp_path, compiler, [tmp_path], headers=False).compiled == (bad,)


def test_compile_check_needs_a_compiler_and_a_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not on PATH"):
        compile_check(tmp_path, "no-such-compiler", [])
    if shutil.which("g++"):
        with pytest.raises(UserError, match=r"no C\+\+ file"):
            compile_check(tmp_path, "g++", [])
