# SPDX-License-Identifier: Apache-2.0
"""Small parts of the C++ on their own: arithmetic against hwgen.numerics."""

from __future__ import annotations

import math
import subprocess
from pathlib import Path

import numpy as np

from hwgen import numerics as nx
from hwgen.backends.hls import emit as emit_module
from hwgen.backends.hls.csim import GNU_WARNINGS, STANDARD, WARNINGS, ap_int_include, find_compiler
from hwgen.kernels.mlp import norm_reciprocal

ARITHMETIC = r"""
#include <cstdio>
#include "mlp.hpp"
using namespace hwgen;
int main() {
  char op = 0;
  long long a = 0, b = 0, c = 0;
  while (std::scanf(" %c %lld %lld %lld", &op, &a, &b, &c) == 4) {
    long long result = 0;
    if (op == 'd') {
      result = divide_round(ap_int<64>(a), ap_uint<63>(b)).to_int();
    } else if (op == 'r') {
      result = shift_round<64>(ap_int<64>(a), Shift(b)).to_int64();
    } else if (op == 'q') {
      result = requantize(Accumulator(a), Multiplier(b), Shift(c & 63), ap_int<16>((c >> 6) - 128)).to_int();
    } else if (op == 's') {
      result = integer_sqrt<26>(ap_uint<52>(a)).to_int64();
    } else {
      ap_uint<RECIPROCAL_BITS> reciprocal = 0;
      int shift = 0;
      norm_reciprocal(ap_uint<64>(a), reciprocal, shift);
      result = reciprocal.to_int64() * 64 + shift;
    }
    std::printf("%lld\n", result);
  }
  return 0;
}
"""


def compile_and_run(tmp_path: Path, source: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Compile one file against the templates (with a default configuration) and run it."""
    from random_programs import SMALL, Opcode, case

    emit_module(case(Opcode.POOL, 0, SMALL).program, tmp_path, part="part", clock_mhz=100.0, name="unit")
    hls = tmp_path / "hls"
    file, binary = tmp_path / "unit.cpp", tmp_path / "unit"
    file.write_text(source)
    paths = [f"-I{hls}", f"-I{hls / 'include'}", f"-I{hls / 'sim'}", "-isystem", str(ap_int_include())]
    flags = [STANDARD, "-O1", *WARNINGS, *GNU_WARNINGS]
    subprocess.run([find_compiler(), *flags, *paths, str(file), "-o", str(binary)], check=True)
    return subprocess.run([str(binary)], input=stdin, capture_output=True, text=True, check=False)


def test_arithmetic(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    lines: list[str] = []
    expected: list[int] = []

    def add(op: str, a: int, b: int, c: int, result: int) -> None:
        lines.append(f"{op} {a} {b} {c}")
        expected.append(result)

    for _ in range(3000):
        d = int(rng.integers(1, 1 << int(rng.integers(1, 62))))
        quotient = int(rng.integers(-1100, 1100))  # halves: ties are frequent
        n = quotient * d // 2 + int(rng.integers(-1, 2))
        n = int(np.clip(n, -(1 << 62), 1 << 62))
        add("d", n, d, 0, int(nx.divide_round(n, d)))
    for n, d in ((0, 1), (511, 1), (512, 1), (-512, 1), (1023, 2), (-1023, 2), (1 << 62, 1), (-(1 << 62), 3)):
        add("d", n, d, 0, int(nx.divide_round(n, d)))
    for shift in range(48):
        half = (1 << shift) // 2
        for value in (0, 1, -1, half, -half, 3 * half, (1 << 43) - 1, -(1 << 43)):
            add("r", value, shift, 0, int(nx.shift_round(value, shift)))
    for _ in range(2000):
        acc, multiplier = int(rng.integers(-(1 << 26) + 1, 1 << 26)), int(rng.integers(1 << 17))
        shift, zero = int(rng.integers(48)), int(rng.integers(-128, 128))
        add("q", acc, multiplier, shift + 64 * (zero + 128), int(nx.requantize(acc, multiplier, shift, zero)))
    for value in (0, 1, 2, 3, 4, (1 << 52) - 1, 1 << 50, (1 << 26) ** 2 - 1, ((1 << 26) - 1) ** 2 - 1):
        add("s", value, 0, 0, math.isqrt(value))
    for _ in range(500):
        variance = int(rng.integers(1, 1 << int(rng.integers(1, 52))))
        reciprocal, shift = norm_reciprocal(1, 0, 0, variance)
        add("n", variance, 0, 0, reciprocal * 64 + shift)
    done = compile_and_run(tmp_path, ARITHMETIC, "\n".join(lines))
    found = [int(line) for line in done.stdout.split()]
    assert len(found) == len(expected)
    wrong = [(line, f, e) for line, f, e in zip(lines, found, expected, strict=True) if f != e]
    assert wrong == []
