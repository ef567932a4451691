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
#include <hls_streamofblocks.h>
#include <hls_task.h>
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

// Words between two processes: one in work, one behind it.
constexpr int AHEAD = 2;
constexpr int TWO = 2;  // blocks: one is filled, one is used
typedef Word Block[LANES][DEPTH];

void begin(int rows, hls::stream<int, AHEAD>& counts) { counts.write(rows); }
void end(hls::stream<int, AHEAD>& done) { done.read(); }

template <int PORT>
void reader(const Word* memory, hls::stream<int, AHEAD>& counts, hls::stream<Word, AHEAD>& out) {
  const int rows = counts.read();
  for (int i = 0; i < rows; ++i) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=ceil_div(DEPTH, 4) avg=8
#pragma HLS PIPELINE II = 1 style=flp
    out.write(memory[i]);
  }
}

bool take(hls::stream<Word, AHEAD>& in, Word& value) {
#pragma HLS inline
  bool taken = false;
  if (!in.empty()) {
    value = in.read();
    taken = true;
  }
  return taken;
}

void halve(hls::stream<Word, AHEAD>& in, hls::stream<Word, AHEAD>& back, hls::stream<Word, AHEAD>& out) {
#pragma HLS pipeline II=1
  static Word last[2][LANES][DEPTH];
#pragma HLS array_partition variable=last complete dim=1
#pragma HLS array_partition variable=last cyclic factor=4 dim=3
#pragma HLS bind_storage variable=last type=ram_s2p impl=bram
#pragma HLS dependence variable=last type=inter dependent=false
#pragma HLS reset variable=last off
  Word value;
  if (out.size() < AHEAD && take(in, value)) {
    for (int i = 0; i < LANES; ++i) {
#pragma HLS UNROLL
      last[0][i][value] = last[1][i][0];
    }
    out.write(value >> 1);
  }
  if (!back.empty()) {
    last[1][0][0] = back.read();
  }
}

void blocks(hls::stream<Word, AHEAD>& in, hls::stream<Word, AHEAD>& back, hls::stream_of_blocks<Block, TWO>& out) {
rows:
  for (int i = 0; i < DEPTH; ++i) {
    hls::write_lock<Block> block(out);
    for (int j = 0; j < LANES; ++j) {
#pragma HLS UNROLL factor=LANES/4 skip_exit_check
      block[j][i] = in.read();
    }
  }
  back.write(1);
}

void writer(Word* memory, hls::stream_of_blocks<Block, TWO>& in, hls::stream<int, AHEAD>& done) {
  hls::read_lock<Block> block(in);
  memory[0] = block[0][0];
  done.write(1);
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
  Word spare[DEPTH];
#pragma HLS STREAM variable=spare depth=DEPTH/2 type=fifo
#pragma HLS ARRAY_PARTITION variable=pads complete dim=1
#pragma HLS ARRAY_PARTITION variable=pads type=cyclic factor=4 dim=2
#pragma HLS BIND_STORAGE variable=pads type=ram_s2p impl=bram latency=2
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
#pragma HLS STABLE variable=memory
#pragma HLS STABLE variable=out
#pragma HLS DATAFLOW
  hls_thread_local hls::stream<int, hw::AHEAD> counts("counts");
  hls_thread_local hls::stream<hw::Word, hw::AHEAD> raw("raw"), halved("halved");
#pragma HLS bind_storage variable=raw type=fifo impl=srl
  hls_thread_local hls::stream<hw::Word, hw::AHEAD> back("back");
  hls_thread_local hls::stream_of_blocks<hw::Block, hw::TWO> blocks("blocks");
#pragma HLS ARRAY_PARTITION variable=blocks complete dim=1
#pragma HLS BIND_STORAGE variable=blocks type=ram_s2p impl=lutram
  hls_thread_local hls::stream<int, hw::AHEAD> done("done");
  hw::begin(rows, counts);
  hls_thread_local hls::task writer(hw::writer, out, blocks, done);
  hls_thread_local hls::task reader(hw::reader<hw::Config::PORTS>, memory, counts, raw);
  hls_thread_local hls::task halve(hw::halve, raw, back, halved);
  hls_thread_local hls::task collect(hw::blocks, halved, back, blocks);
  hw::end(done);
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
        LOOP % "" + "#pragma HLS ARRAY_PARTITION variable=i //!",
        "must stand directly in a function",
    ),
    (
        "counter out of scope",
        FUNCTION % "  for (int i = 0; i < n; ++i) {}\n#pragma HLS ARRAY_PARTITION variable=i //!",
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
    ("stable", FUNCTION % "#pragma HLS STABLE variable=p //!", "in a DATAFLOW region"),
    (
        "loop of a pipelined function",
        FUNCTION % "#pragma HLS PIPELINE //!\n  for (int i = 0; i < n; ++i) a[0][0] = i;",
        "the loop in line 5 cannot be unrolled",
    ),
    (
        "endless loop of a pipelined function",
        FUNCTION % "#pragma HLS PIPELINE //!\n  while (n) {}",
        "the loop in line 5 cannot be unrolled",
    ),
    (
        "pipeline in a pipeline",
        FUNCTION % "#pragma HLS PIPELINE //!\n  for (int i = 0; i < N; ++i) {\n#pragma HLS PIPELINE\n  }",
        "line 5 has a pipeline of its own",
    ),
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
    (
        "storage of a stream",
        "void f(hls::stream<int>& s) {\n#pragma HLS BIND_STORAGE variable=s type=ram_2p impl=bram //!\n}",
        "'s' is a fifo",
    ),
    (
        "dim of a block",
        "typedef int B[4][8];\nvoid f(hls::stream_of_blocks<B, 2>& s) {\n"
        "#pragma HLS ARRAY_PARTITION variable=s complete dim=3 //!\n}",
        "dimensions of 's' (2)",
    ),
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

# Functions and the body of a region go in. Bundle a: in, more, out; bundle b: other; loose is not stable.
NETWORK = """#include <hls_task.h>
typedef int Block[8];
constexpr int D = 2;  // one in work, one behind it
// One is filled, one is used.
constexpr int TWO = 2;
constexpr int BARE = 2;
constexpr int LONG = 2;  // a comment
                         // of two lines
constexpr int UNDER = 2;
typedef hls::stream<int, D> Stream;
typedef hls::stream_of_blocks<Block, TWO> Blocks;
static int counter;
static const int rom[4] = {1, 2, 3, 4};
void begin(int n, Stream& out) { out.write(n); }
void end(Stream& in) { in.read(); }
void move(Stream& in, Stream& out) { out.write(in.read()); }
void pass(Stream& in, Stream& out) { move(in, out); }
void two(Stream& in, Stream& out, Stream& other) { other.write(1); move(in, out); }
void join(Stream& a, Stream& b, Stream& out) { out.write(a.read() + b.read()); }
void fill(Stream& in, Blocks& out) { hls::write_lock<Block> block(out); block[0] = in.read(); }
void drain(Blocks& in, Stream& out) { hls::read_lock<Block> block(in); out.write(block[0]); }
void fetch(const int* memory, Stream& in, Stream& out) { out.write(memory[in.read()]); }
void store(int* memory, Stream& in, Stream& out) { memory[0] = in.read(); out.write(1); }
%s
void top(const int* in, const int* more, int* out, int* other, const int* loose, const int* plain, int n, int& m) {
#pragma HLS INTERFACE m_axi port=in bundle=a
#pragma HLS INTERFACE m_axi port=more bundle=a
#pragma HLS INTERFACE m_axi port=out bundle=a
#pragma HLS INTERFACE m_axi port=other bundle=b
#pragma HLS INTERFACE m_axi port=loose bundle=c
#pragma HLS STABLE variable=in
#pragma HLS STABLE variable=more
#pragma HLS STABLE variable=out
#pragma HLS STABLE variable=other
#pragma HLS STABLE variable=plain
#pragma HLS DATAFLOW
%s
}
"""


def _streams(names: str) -> str:
    return "".join(f"hls_thread_local Stream {name};\n" for name in names.split())


def _tasks(*written: str) -> str:
    return "".join(f"hls_thread_local hls::task task{n}({t});\n" for n, t in enumerate(written))


A_B = _streams("a b") + "begin(n, a);\n%s\nend(b);"
"""A region that needs a task from a to b."""
PASS = A_B % _tasks("pass, a, b")
STEP = "void step(Stream& in, Stream& out) {\n#pragma HLS PIPELINE II=1\n%s\n}"
STEPS = A_B % _tasks("step, a, b")


def _marked(*tasks: str) -> str:
    """Tasks, the last of which is where the finding is."""
    return _tasks(*tasks).rstrip("\n") + " //!"


# (name, functions, region, part of the message)
NETWORK_MISTAKES = [
    (
        "two producers",
        "",
        _streams("a b c") + "begin(n, a);\nbegin(n, c);\n" + _marked("pass, a, b", "pass, c, b") + "\nend(b);",
        "'b' is written by 'task0' and 'task1': one producer only",
    ),
    (
        "two consumers",
        "",
        _streams("a b c") + "begin(n, a);\n" + _marked("pass, a, b", "pass, a, c") + "\nend(b);\nend(c);",
        "'a' is read by 'task0' and 'task1': one consumer only",
    ),
    ("self loop", "", _streams("a") + _marked("pass, a, a"), "read and written by 'task0'"),
    ("never written", "", "hls_thread_local Stream a; //!\nend(a);", "never written"),
    ("never read", "", "hls_thread_local Stream a; //!\nbegin(n, a);", "never read"),
    ("unused stream", "", PASS + "hls_thread_local Stream c; //!", "used by no process"),
    (
        "empty asked by another",
        "void look(Stream& a, Stream& in, Stream& out) { if (!a.empty()) move(in, out); }",
        _streams("a b c d") + "begin(n, a);\nbegin(n, c);\n" + _tasks("pass, a, b") + "hls_thread_local "
        "hls::task looks(look, b, c, d); //!\nend(b);\nend(d);",
        "asks for empty() of 'b'",
    ),
    (
        "full asked by the reader",
        "void look(Stream& in, Stream& out) { if (!in.full()) move(in, out); }",
        A_B % _marked("look, a, b"),
        "asks for full() of 'a'",
    ),
    (
        "size asked by another",
        "void look(Stream& a, Stream& in, Stream& out) { if (a.size() == 1) move(in, out); }",
        _streams("a b c d") + "begin(n, a);\nbegin(n, c);\n" + _tasks("pass, a, b") + "hls_thread_local "
        "hls::task looks(look, b, c, d); //!\nend(b);\nend(d);",
        "asks for size() of 'b'",
    ),
    ("local stream", "", PASS.replace("hls_thread_local Stream a;", "Stream a; //!"), "must be hls_thread_local"),
    ("static stream", "", PASS.replace("hls_thread_local Stream a;", "static Stream a; //!"), "hls_thread_local"),
    (
        "local task",
        "",
        PASS.replace("hls_thread_local hls::task task0(pass, a, b);", "hls::task t(pass, a, b); //!"),
        "must be hls_thread_local",
    ),
    ("array of streams", "", PASS + "hls_thread_local Stream c[2]; //!", "declare each stream by itself"),
    ("array", "", PASS + "int c[4]; //!", "only streams and tasks may be declared"),
    ("variable", "", PASS + "const int c = n + 1; //!", "only streams and tasks may be declared"),
    ("conditional", "", PASS.replace("end(b);", "if (n) end(b); //!"), "no 'if'"),
    ("loop", "", PASS.replace("end(b);", "for (int i = 0; i < 2; ++i) end(b); //!"), "no 'for'"),
    ("return", "", PASS + "return; //!", "no 'return'"),
    ("assignment", "", PASS + "n = 3; //!", "no computation"),
    (
        "function with a result",
        "int last(Stream& in) { return in.read(); }",
        PASS.replace("end(b);", "last(b); //!"),
        "must return void",
    ),
    ("no definition", "void pass2(Stream& in, Stream& out);", A_B % _marked("pass2, a, b"), "has no definition"),
    ("wrong number", "", A_B % _marked("pass, a, b, n"), "no definition with 3 parameters"),
    ("overloads", "void pass(Stream& in, Blocks& out) {}", A_B % _marked("pass, a, b"), "has 2 definitions"),
    ("task without a function", "", PASS + "hls_thread_local hls::task later; //!", "has no function"),
    (
        "helper without a definition",
        "void helper(Stream& in);\nvoid f(Stream& in, Stream& out) {\n  out.write(1);\n  helper(in); //!\n}",
        A_B % _tasks("f, a, b"),
        "does with 'a' here is not known",
    ),
    (
        "unknown method",
        "void f(Stream& in, Stream& out) {\n  out.write(1);\n  in.peek(); //!\n}",
        A_B % _tasks("f, a, b"),
        "does with 'a' here is not known",
    ),
    (
        "stream with two names",
        "void f(Stream& in, Stream& out) {\n  out.write(1);\n  Stream& same = in; //!\n  same.read();\n}",
        A_B % _tasks("f, a, b"),
        "does with 'a' here is not known",
    ),
    (
        "number to a task",
        "void f(int n, Stream& in, Stream& out) { move(in, out); }",
        A_B % _marked("f, 3, a, b"),
        "streams of this region and m_axi ports only",
    ),
    (
        "scalar port to a task",
        "void f(int n, Stream& in, Stream& out) { move(in, out); }",
        A_B % _marked("f, n, a, b"),
        "streams of this region and m_axi ports only",
    ),
    ("constant array to a task", "", A_B % _marked("fetch, rom, a, b"), "and m_axi ports only"),
    ("port that is no m_axi", "", A_B % _marked("fetch, plain, a, b"), "and m_axi ports only"),
    ("port with an offset", "", A_B % _marked("fetch, in + 1, a, b"), "and m_axi ports only"),
    ("port that is not stable", "", A_B % _marked("fetch, loose, a, b"), "needs #pragma HLS STABLE"),
    (
        "scalar by reference",
        "void first(int& n, Stream& out) { out.write(n); }",
        PASS.replace("begin(n, a);", "first(n, a); //!"),
        "by reference",
    ),
    (
        "array to a process",
        "void first(const int* n, Stream& out) { out.write(n[0]); }",
        PASS.replace("begin(n, a);", "first(rom, a); //!"),
        "ports and values only",
    ),
    (
        "a bundle read by two",
        "",
        _streams("a b c") + "begin(n, a);\n" + _marked("fetch, in, a, b", "fetch, more, b, c") + "\nend(c);",
        "bundle 'a' is read by 'task0' and 'task1'",
    ),
    (
        "a bundle written by two",
        "",
        _streams("a b c") + "begin(n, a);\n" + _marked("store, other, a, b", "store, other, b, c") + "\nend(c);",
        "bundle 'b' is written by",
    ),
    (
        "a bundle read in passing",
        "void add(int* memory, Stream& in, Stream& out) { memory[0] += in.read(); out.write(1); }",
        _streams("a b c") + "begin(n, a);\n" + _marked("fetch, in, a, b", "add, out, b, c") + "\nend(c);",
        "bundle 'a' is read by",
    ),
    (
        "a bundle written in a helper",
        "void put(int* to, int v) { to[0] = v; }\n"
        "void keep(int* memory, Stream& in, Stream& out) { put(memory, in.read()); out.write(1); }",
        _streams("a b c") + "begin(n, a);\n" + _marked("store, other, a, b", "keep, other, b, c") + "\nend(c);",
        "bundle 'b' is written by",
    ),
    (
        "pointer that is copied",
        "void f(const int* memory, Stream& in, Stream& out) {\n  const int* p = memory; //!\n  move(in, out);\n}",
        A_B % _tasks("f, in, a, b"),
        "does with 'in' here is not known",
    ),
    (
        "end before its task",
        "",
        _streams("a b") + "begin(n, a);\nend(b);\n" + _marked("pass, a, b"),
        "'end' reads 'b' and stands before 'task0'",
    ),
    (
        "begin behind its task",
        "",
        _streams("a b") + _tasks("pass, a, b") + "begin(n, a); //!\nend(b);",
        "'task0' reads 'a' and stands before 'begin'",
    ),
    ("feedback of processes", "", _streams("a b") + "pass(a, b);\npass(b, a); //!", "stands before 'pass'"),
    (
        "feedback through a process",
        "",
        _streams("a b c") + _tasks("pass, b, c") + "pass(c, a); //!\nhls_thread_local hls::task last(pass, a, b);",
        "feedback through 'pass'",
    ),
    (
        "two tasks of a function with state",
        "void f(Stream& in, Stream& out) { static int n; move(in, out); }",
        _streams("a b c") + "begin(n, a);\n" + _marked("f, a, b", "f, b, c") + "\nend(c);",
        "static 'n' is shared by 'task0' and 'task1'",
    ),
    (
        "state in a common helper",
        "void h() { static int n[4]; }\ntemplate <int N>\nvoid f(Stream& in, Stream& out) { h(); move(in, out); }",
        _streams("a b c") + "begin(n, a);\n" + _marked("f<0>, a, b", "f<1>, b, c") + "\nend(c);",
        "static 'n' is shared by",
    ),
    (
        "state at file scope",
        "void f(Stream& in, Stream& out) {\n  ++counter; //!\n  move(in, out);\n}",
        A_B % _tasks("f, a, b"),
        "'counter' of file scope",
    ),
    ("stream in a function", "void f() {\n  Stream s; //!\n}", PASS, "must be declared in a DATAFLOW region"),
    ("stream in a struct", "struct S {\n  Stream s; //!\n};", PASS, "must be declared in a DATAFLOW region"),
    (
        "task in a function",
        "void f(Stream& a, Stream& b) {\n  hls_thread_local hls::task t(pass, a, b); //!\n}",
        PASS,
        "must be declared in a DATAFLOW region",
    ),
    ("static of a struct", "struct S {\n  static int n; //!\n};", PASS, "a static of a struct is shared"),
    ("stream at file scope", "static Stream s; //!", PASS, "must be declared in a DATAFLOW region"),
    ("literal depth", "", PASS.replace("Stream a;", "hls::stream<int, 2> a; //!"), "is not a named constant"),
    ("computed depth", "", PASS.replace("Stream a;", "hls::stream<int, D + 1> a; //!"), "is not a named constant"),
    ("no depth", "", PASS.replace("Stream a;", "hls::stream<int> a; //!"), "has no depth"),
    (
        "depth without a comment",
        "constexpr int MINE = 2;",
        PASS.replace("Stream a;", "hls::stream<int, MINE> a;"),
        "depth 'MINE' of a stream needs a comment",
    ),
    ("depth that is bare", "", PASS.replace("Stream a;", "hls::stream<int, BARE> a;"), "depth 'BARE'"),
    ("depth under the comment of another", "", PASS.replace("Stream a;", "hls::stream<int, UNDER> a;"), "'UNDER'"),
    ("depth in a pragma", "", PASS + "#pragma HLS STREAM variable=a depth=4 //!", "not in a pragma"),
    ("read that waits", STEP % "if (!out.full()) {\n  out.write(in.read()); //!\n}", STEPS, "is read here without"),
    (
        "two reads for a test",
        STEP % "if (!in.empty()) {\n  in.read(); //!\n  in.read(); //!\n}\nif (!out.full()) out.write(1);",
        STEPS,
        "is read here without",
    ),
    (
        "loop of reads for a test",
        STEP % "if (!in.empty()) {\n  for (int i = 0; i < 2; ++i) in.read(); //!\n}\nif (!out.full()) out.write(1);",
        STEPS,
        "is read here without",
    ),
    (
        "test of another stream",
        "void step(Stream& in, Stream& other, Stream& out) {\n#pragma HLS PIPELINE\n"
        "  if (!out.full() && !other.empty()) {\n    out.write(in.read()); //!\n  }\n"
        "  if (!other.empty()) other.read();\n}",
        _streams("a b c") + "begin(n, a);\nbegin(n, c);\n" + _tasks("step, a, c, b") + "end(b);",
        "'a' is read here without",
    ),
    (
        "one of two tests",
        STEP % "if (!in.empty() || in.size() == 1) {\n  in.read(); //!\n}\nif (!out.full()) out.write(1);",
        STEPS,
        "is read here without",
    ),
    (
        "the other branch",
        STEP % "if (!in.empty()) {\n} else {\n  in.read(); //!\n}\nif (!out.full()) out.write(1);",
        STEPS,
        "is read here without",
    ),
    (
        "read in a helper",
        "void h(Stream& in) {\n  in.read(); //!\n}\n" + STEP % "if (!in.empty()) h(in);\n"
        "if (!out.full()) out.write(1);",
        STEPS,
        "is read here without",
    ),
    ("write that waits", STEP % "if (!in.empty()) {\n  out.write(in.read()); //!\n}", STEPS, "is written here without"),
    (
        "two writes for a test",
        STEP % "if (!in.empty()) in.read();\nif (!out.full()) {\n  out.write(1); //!\n  out.write(2); //!\n}",
        STEPS,
        "is written here without",
    ),
    ("write with an empty reason", STEP % "if (!in.empty()) in.read();\nout.write(1);  // Room:", STEPS, "is written"),
    (
        "lock that waits",
        "void step(Stream& in, Blocks& out) {\n#pragma HLS PIPELINE\n  if (!in.empty()) in.read();\n"
        "  hls::write_lock<Block> block(out); //!\n}",
        _streams("a b")
        + "hls_thread_local Blocks c;\nbegin(n, a);\n"
        + _tasks("step, a, c", "drain, c, b")
        + "end(b);",
        "is written here without",
    ),
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
    *(
        ("dataflow", name, NETWORK % (functions, region), message)
        for name, functions, region, message in NETWORK_MISTAKES
    ),
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
    (region,) = regions([path])
    assert (region.function, region.processes) == ("top", ("begin", "end"))
    assert region.tasks == ("writer", "reader", "halve", "collect")
    assert region.never_wait == ("halve",)
    assert region.streams == ("counts", "raw", "halved", "back", "blocks", "done")


# (functions, region, tasks that never wait)
VALID_NETWORKS = [
    ("", PASS, 0),
    ("", "// A comment.\n" + PASS + '\nstatic_assert(D == 2, "two");', 0),
    ("", PASS.replace("begin(n, a)", "begin(3, a)"), 0),
    ("", PASS.replace("begin(n, a)", "begin(D + 1, a)"), 0),
    ("", PASS.replace("Stream a;", 'hls::stream<int, LONG> a("a");'), 0),
    ("", _streams("a b c d") + "begin(n, a);\n" + _tasks("join, a, d, b", "two, b, c, d") + "end(c);", 0),  # feedback
    (
        "",
        _streams("a b")
        + "hls_thread_local Blocks c;\nbegin(n, a);\n"
        + _tasks("drain, c, b", "fill, a, c")
        + "end(b);",
        0,
    ),
    ("", _streams("a b c") + "begin(n, a);\n" + _tasks("fetch, in, a, b", "store, out, b, c") + "end(c);", 0),
    (
        "",
        _streams("a b c d")
        + "begin(n, a);\n"
        + _tasks("fetch, in, a, b", "store, out, b, c", "store, other, c, d")
        + "end(d);",
        0,
    ),
    (
        "void first(const int* memory, Stream& out) { out.write(memory[0]); }",
        PASS.replace("begin(n, a);", "first(loose, a);"),
        0,
    ),
    (
        "template <int N>\nvoid f(Stream& in, Stream& out) { static int n; move(in, out); }",
        _streams("a b c") + "begin(n, a);\n" + _tasks("f<0>, a, b", "f<1>, b, c") + "end(c);",
        0,
    ),
    ("", _streams("a b c") + "begin(n, a);\n" + _tasks("pass, a, b", "pass, b, c") + "end(c);", 0),  # without state
    (STEP % "if (!in.empty() && !out.full()) {\n  out.write(in.read());\n}", STEPS, 1),
    (
        STEP % "if (in.size() == 1 && (!in.empty())) {\n  if (counter2()) in.read(); else in.read();\n}\n"
        "if (out.size() < D) {\n  out.write(1);\n  out.write(2);\n}",
        STEPS,
        1,
    ),
    (STEP % "if (!in.empty()) in.read();\nout.write(1);  // Room: as many as come in", STEPS, 1),
    (STEP % "if (!in.empty()) in.read();\n// Room: as many as\n// come in\nout.write(1);", STEPS, 1),
    (STEP % "int v = 0;\nin.read_nb(v);\nout.write_nb(v);", STEPS, 1),
    ("void step(Stream& in, Stream& out) {\n#pragma HLS PIPELINE off\nmove(in, out);\n}", STEPS, 0),
]


@pytest.mark.parametrize(("functions", "region", "never_wait"), VALID_NETWORKS)
def test_valid_network_has_no_finding(tmp_path: Path, functions: str, region: str, never_wait: int) -> None:
    path = _write(tmp_path, NETWORK % (functions, region))
    assert check_dataflow([path]) == []
    assert check_pragmas([path]) == []
    (found,) = regions([path])
    assert found.tasks
    assert len(found.never_wait) == never_wait


def test_a_network_in_a_loop_is_found(tmp_path: Path) -> None:
    code = NETWORK % ("", PASS)
    code = code.replace("#pragma HLS DATAFLOW", "for (int i = 0; i < n; ++i) {\n#pragma HLS DATAFLOW") + "}\n"
    messages = [f.message for f in check_dataflow([_write(tmp_path, code)])]
    assert messages == ["a network of tasks must be a whole function, not a loop or a block"]


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


def test_tasks_and_locks_are_read_as_variables_and_places_are_kept(tmp_path: Path) -> None:
    code = "void f() {\n  hls_thread_local hls::task t(g<h(1)>, s); hls::read_lock<B> b(s);\n  int after;\n}"
    design, findings = parse([_write(tmp_path, code)])
    declared = [n for n in walk(design.sources[0].root) if n.type == "init_declarator"]
    assert findings == []
    assert [text(n) for n in declared] == ["t{g<h(1)>, s}", "b{s}"]
    assert design.sources[0].root.end_byte == len(code)


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


def test_the_network_is_seen(emitted: Path) -> None:
    (network,) = regions(synthesizable_files(emitted))
    code = (emitted / "src/top.cpp").read_text(encoding="utf-8")
    assert network.function == "hwgen_top"
    assert network.processes == ("begin", "end")
    assert len(network.tasks) == code.count("hls_thread_local hls::task ") > 20
    assert len(network.streams) == len(re.findall("hls_thread_local hls::stream", code)) > 80
    assert set(network.never_wait) == {"dispatch", "weight_ring", "head_ring", "activations"}


EMITTED_MISTAKES = [
    ("pragma", "include/weights.hpp", "PIPELINE II = 1", "PIPELINE III = 1", "no option 'III'"),
    ("pragma", "include/weights.hpp", r"variable = first\b", "variable = frist", "not in scope"),
    ("pragma", "include/memory.hpp", "variable = pads complete dim = 3", "variable = pads complete dim = 5", "dim=5"),
    ("pragma", "include/memory.hpp", "DEPENDENCE variable = pads", "DEPENDENCE variable = pad", "not in scope"),
    ("pragma", "include/memory.hpp", r"(?s)(activation_slots:.*?)s < SLOTS", r"\1s < array_x.slot", "be unrolled"),
    ("pragma", "src/top.cpp", "port = frames", "port = frame", "not a parameter"),
    ("pragma", "src/top.cpp", "STABLE variable = trace", "STABLE variable = tracer", "not in scope"),
    ("pragma", "src/top.cpp", "array_sums complete dim = 3", "array_sums complete dim = 4", "dim=4"),
    ("pragma", "include/ring.hpp", "impl = bram", "impl = ram", "impl=ram is not one of"),
    ("dataflow", "src/top.cpp", "residual_words, array_writes", "eltwise_words, array_writes", "one consumer"),
    ("dataflow", "src/top.cpp", "mlp_rows, mlp_writes", "mlp_rows, eltwise_writes", "one producer"),
    ("dataflow", "src/top.cpp", r"\n.*hls::task conv_address\([^;]*;", "", "'array_targets' is never written"),
    ("dataflow", "src/top.cpp", "read_port<3>, weights3", "read_port<3>, weights2", "bundle 'gmem_w2' is read by"),
    ("dataflow", "src/top.cpp", "read_port<3>, weights3", "read_port<3>, frames", "m_axi ports only"),
    ("dataflow", "src/top.cpp", "hwgen::STARTS> runs", "1> runs", "not a named constant"),
    ("dataflow", "src/top.cpp", ", hwgen::STARTS> runs", "> runs", "has no depth"),
    ("dataflow", "src/top.cpp", "hls_thread_local (.* runs)", r"\1", "must be hls_thread_local"),
    ("dataflow", "src/top.cpp", r"(?s)(  hwgen::begin.*?;\n)(.*)(  hwgen::end)", r"\2\1\3", "stands before 'begin'"),
    ("dataflow", "src/top.cpp", r"  hwgen::end", "  if (frames != 0) hwgen::end", "no 'if'"),
    ("dataflow", "src/top.cpp", "#pragma HLS STABLE variable = trace\n", "", "needs #pragma HLS STABLE"),
    ("dataflow", "include/memory.hpp", "(int REQUESTS = 4;) *//.*", r"\1", "needs a comment"),
    (
        "dataflow",
        "include/memory.hpp",
        r"requests.read_nb\(request\);",
        "(request = requests.read(), true);",
        "is read here without",
    ),
    (
        "dataflow",
        "include/memory.hpp",
        r"writes.read_nb\(request\)",
        "(request = writes.read(), true)",
        "is read here without",
    ),
    ("dataflow", "include/memory.hpp", r"static_cast<int>\(answers.size\(\)\).*IN_FLIGHT && ", "", "is written here"),
    ("dataflow", "include/memory.hpp", "  // Room:.*", "", "is written here without"),
    ("dataflow", "include/memory.hpp", r"  Word record\[", "  static Word record[", "static 'record' is shared by"),
    (
        "dataflow",
        "include/ring.hpp",
        r"writes.read_nb\(write\)",
        "(write = writes.read(), true)",
        "is read here without",
    ),
    ("dataflow", "include/ring.hpp", r"rows\.write\(row\)", "rows.read()", "one consumer"),
    ("dataflow", "include/dispatch.hpp", r" && !commands.full\(\)", "", "is written here without !full()"),
    ("dataflow", "include/dispatch.hpp", r" && !records.empty\(\)", "", "is read here without !empty()"),
    ("dataflow", "include/store.hpp", r"(output\[.*?\]) =", r"\1 |=", "bundle 'gmem_io' is read by"),
    (
        "dataflow",
        "include/mlp.hpp",
        r"(inline void mlp_compute[^{]*\{\n)(  static TableWord tables.*\n)",
        r"\2\1",
        "'tables' of file scope",
    ),
    ("style", "include/weights.hpp", r"namespace hwgen \{", "namespace hwgen {\nstatic float scale;", "floating point"),
    ("style", "src/top.cpp", '#include "store.hpp"', '#include "store.hpp"\n#include <vector>', "<vector>"),
]


@pytest.mark.parametrize(("check", "file", "pattern", "replacement", "message"), EMITTED_MISTAKES)
def test_a_mistake_in_an_emitted_file_is_found(
    tmp_path: Path, check: str, file: str, pattern: str, replacement: str, message: str
) -> None:
    """The positive tests could pass because nothing is looked at."""
    folder = _emit(tmp_path, Config())
    path = folder / file
    changed, count = re.subn(pattern, replacement, path.read_text(encoding="utf-8"), count=1)
    assert count == 1
    path.write_text(changed, encoding="utf-8")
    found = [str(f) for f in CHECKS[check](synthesizable_files(folder))]
    assert any(message in f for f in found), found


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
