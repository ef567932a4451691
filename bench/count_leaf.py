# SPDX-License-Identifier: Apache-2.0
"""Counts the arithmetic modules of templates/rtl with Yosys (synth_xilinx -family xcup): LUT, FF, DSP48E2, depth.

    python bench/count_leaf.py [--only NAME ...] [--json OUT.json] [--markdown OUT.md]

The counts are of Yosys' technology mapping, not of Vivado's. What differs: Yosys maps no register into a DSP48E2 (the
operand, product and output registers of requantize stand in the FF column, and cost nothing in Vivado), writes CARRY4
where the device has CARRY8 (half as many), and never shares a LUT6_2. Needs `pip install 'hwgen[rtl]'`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hwgen.backends.rtl.count import depth, of_cells
from hwgen.backends.rtl.synthesize import SYNTHESIZE, yosys

RTL = Path(__file__).resolve().parent.parent / "templates" / "rtl"

BEHAVIOURAL = """
module behavioural_multiply #(parameter WIDTH = 8) (input [WIDTH-1:0] x, input [7:0] w, output [WIDTH+7:0] product);
  assign product = $signed(x) * $signed(w);
endmodule
"""
"""What Yosys makes of a plain `*` without DSPs, to compare with booth_multiply."""


@dataclass(frozen=True)
class Case:
    """One count: a module with parameters, and how many ``unit`` it holds."""

    name: str
    top: str
    parameters: dict[str, int]
    units: int
    unit: str
    options: str = ""
    notes: dict[str, int] = field(default_factory=dict)
    """``dsp_registers``: flip-flops that are registers of a DSP48E2 in Vivado."""


CASES = (
    Case("multiply 8x8, plain *", "behavioural_multiply", {}, 1, "multiplier", "-nodsp"),
    Case("multiply 8x8", "booth_multiply", {"WIDTH": 8}, 1, "multiplier"),
    Case("multiply 17x8", "booth_multiply", {"WIDTH": 17}, 1, "multiplier"),
    Case("depthwise_mac", "depthwise_mac", {"LANES": 4}, 4 * 9, "MAC"),
    Case("shift_round", "shift_round", {"LANES": 16, "WIDTH": 44}, 16, "lane"),
    Case("requantize", "requantize", {"LANES": 16}, 16, "lane", notes={"dsp_registers": 27 + 17 + 44 + 44}),
    Case("residual_add", "residual_add", {"LANES": 16}, 16, "lane"),
    Case("divide_round 60/52", "divide_round", {"NUMERATOR_BITS": 60, "DENOMINATOR_BITS": 52}, 1, "divider"),
    Case("divide_round 49/40", "divide_round", {"NUMERATOR_BITS": 49, "DENOMINATOR_BITS": 40}, 1, "divider"),
    Case("dsp_mac2", "dsp_mac2", {"DEPTH": 16}, 16, "MAC pair"),
    Case("mac_block", "mac_block", {"PAIRS": 8, "DEPTH": 16}, 8 * 16, "MAC pair"),
    Case("norm_reciprocal", "norm_reciprocal", {}, 1, "unit"),
)


def count(case: Case) -> dict[str, Any]:
    """Synthesizes ``case`` and returns its counts, per module and per unit. Raises InternalError if Yosys fails."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for source in RTL.glob("*.sv"):
            if "config_pkg::" not in source.read_text(encoding="utf-8"):  # engines need a machine's sizes
                shutil.copy(source, work)
        (work / "behavioural_multiply.sv").write_text(BEHAVIOURAL, encoding="utf-8")
        parameters = "".join(f" -chparam {name} {value}" for name, value in case.parameters.items())
        script = [
            f"read_verilog -sv -defer {' '.join(sorted(p.name for p in work.glob('*.sv')))}",
            f"hierarchy -top {case.top}{parameters}",
            f"{SYNTHESIZE} -flatten {case.options}",
            "write_json netlist.json",
        ]
        yosys(script, work)
        design = json.loads((work / "netlist.json").read_text(encoding="utf-8"))
    module = next(m for m in design["modules"].values() if int(m["attributes"].get("top", "0"), 2))
    kinds = Counter(cell["type"] for cell in module["cells"].values())
    counted = of_cells(kinds)
    luts, carries = depth(module)
    result = {
        "lut": counted.lut,
        "lut_memory": counted.lut_memory,
        "ff": counted.ff,
        "ff_in_dsp": case.notes.get("dsp_registers", 0) * case.units,
        "dsp48e2": counted.dsp,
        "carry8": counted.carry8,
        "levels_lut": luts,
        "levels_carry4": carries,
    }
    return {
        "name": case.name,
        "top": case.top,
        "parameters": case.parameters,
        "unit": case.unit,
        "units": case.units,
        **result,
        "lut_per_unit": round(result["lut"] / case.units, 1),
        "ff_per_unit": round((result["ff"] - result["ff_in_dsp"]) / case.units, 1),
        "other_cells": list(counted.unknown),
        "source": "counted",
        "seconds": round(time.perf_counter() - start, 1),
    }


def table(results: list[dict[str, Any]]) -> str:
    """Markdown; FF without those that are registers of a DSP in Vivado."""
    lines = [
        "| module | parameters | LUT | FF | DSP | CARRY8 | LUT levels | unit | LUT/unit | FF/unit |",
        "|---|---|--:|--:|--:|--:|--:|---|--:|--:|",
    ]
    for r in results:
        parameters = ", ".join(f"{k}={v}" for k, v in r["parameters"].items())
        lines.append(
            f"| {r['name']} | {parameters} | {r['lut']} | {r['ff'] - r['ff_in_dsp']} | {r['dsp48e2']} | "
            f"{-(-r['carry8'] // 1):.0f} | {r['levels_lut']} | {r['units']} {r['unit']} | {r['lut_per_unit']} | "
            f"{r['ff_per_unit']} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="modules to count (all)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    results = []
    for case in CASES:
        if options.only and case.top not in options.only and case.name not in options.only:
            continue
        results.append(count(case))
        print(f"{case.name}: {results[-1]['lut']} LUT, {results[-1]['seconds']} s", file=sys.stderr, flush=True)
    text = table(results)
    print(text)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
