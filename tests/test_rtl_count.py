# SPDX-License-Identifier: Apache-2.0
"""hwgen count: resources, depth and the cut at parts, on designs small enough to count by hand."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from hwgen.backends.rtl import synthesize as cut
from hwgen.backends.rtl.count import Count, depth, of_cells, summarize
from hwgen.errors import InternalError

pytest.importorskip("pyosys", reason="needs pip install 'hwgen[rtl]'")

PART = """
module vector_memory #(parameter int unsigned WIDTH = 8, parameter int unsigned STAGES = 1) (
  input wire logic clk, input wire logic enable, input wire logic [WIDTH-1:0] d, output var logic [WIDTH-1:0] q);
  var logic [STAGES-1:0][WIDTH-1:0] stage;
  always_ff @(posedge clk) if (enable) stage <= (STAGES * WIDTH)'({stage, d});
  assign q = ~stage[STAGES-1];
endmodule
"""
TOP = """
module top (input wire logic clk, input wire logic [1:0] enable, input wire logic [31:0] d,
  output var logic [31:0] q);
  vector_memory #(.WIDTH(8), .STAGES(1)) u_0 (.clk, .enable(enable[0]), .d(d[7:0]), .q(q[7:0]));
  vector_memory #(.WIDTH(8), .STAGES(1)) u_1 (.clk, .enable(enable[1]), .d(d[15:8]), .q(q[15:8]));
  wire logic [7:0] half;
  vector_memory #(.WIDTH(8), .STAGES(1)) u_2 (.clk, .enable(enable[0]), .d(d[23:16]), .q(half));
  assign q[19:16] = half[3:0];
  vector_memory #(.WIDTH(8), .STAGES(1)) u_3 (.clk, .enable(1'b1), .d(d[31:24]), .q(q[31:24]));
  assign q[23:20] = '0;
endmodule
"""


def synthesized(tmp_path: Path, top: str) -> cut.Netlist:
    files = []
    for name, text in (("vector_memory", PART), ("top", top)):
        files.append(tmp_path / f"{name}.sv")
        files[-1].write_text(text, encoding="utf-8")
    (tmp_path / "work").mkdir()
    return cut.synthesize(files, "top", tmp_path / "work")


def test_counts_each_use(tmp_path: Path) -> None:
    """Two alike, one of which half is read, one that is always enabled."""
    count = summarize(synthesized(tmp_path, TOP))
    assert count["resources"]["ff"] == 8 + 8 + 4 + 8
    assert count["resources"]["lut"] == 8 + 8 + 4 + 8  # the inverters
    assert count["levels"] == 1
    assert not count["unknown_cells"]
    (row,) = (row for row in count["modules"] if row["module"] == "vector_memory")
    assert row["instances"] == 4
    assert row["total"]["ff"] == 28


def test_the_cut_changes_no_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_cut = summarize(synthesized(tmp_path, TOP))["resources"]
    monkeypatch.setattr(cut, "PARTS", ("none",))
    (tmp_path / "flat").mkdir()
    flat = summarize(synthesized(tmp_path / "flat", TOP))["resources"]
    assert {k: with_cut[k] for k in ("ff", "dsp", "bram36", "lut_memory")} == {
        k: flat[k] for k in ("ff", "dsp", "bram36", "lut_memory")
    }


def test_parts_of_different_widths_are_refused(tmp_path: Path) -> None:
    """A black box has the ports of one of them; without the check the others would be counted with too few bits."""
    top = TOP.replace(
        "#(.WIDTH(8), .STAGES(1)) u_3 (.clk, .enable(1'b1), .d(d[31:24])",
        "#(.WIDTH(12), .STAGES(1)) u_3 (.clk, .enable(1'b1), .d(d[31:20])",
    ).replace(".q(q[31:24]));\n  assign q[23:20] = '0;", ".q(q[31:20]));")
    assert top.count("12") == 1
    with pytest.raises(InternalError, match=r"vector_memory .* cannot be one of PARTS"):
        synthesized(tmp_path, top)


def test_cells() -> None:
    kinds = {"LUT6": 3, "INV": 1, "RAM64M8": 1, "SRL16E": 2, "FDRE": 5, "DSP48E2": 1, "RAMB18E2": 1, "CARRY4": 3}
    assert of_cells(kinds) == Count(3 + 1 + 8 + 2, 8 + 2, 5, 1, 0.5, 1.5)
    assert of_cells({"MYSTERY": 1}).unknown == ("MYSTERY",)


def cell(kind: str, inputs: list[int], output: int) -> dict[str, object]:
    return {
        "type": kind,
        "port_directions": {"I": "input", "O": "output"},
        "connections": {"I": inputs, "O": [output]},
    }


def test_depth() -> None:
    cells = {"a": cell("LUT6", [1, 2], 10), "b": cell("CARRY4", [10], 11), "c": cell("LUT2", [11, 3], 12)}
    cells["r"] = cell("FDRE", [12], 13)
    cells["d"] = cell("LUT3", [13], 14)
    assert Counter(c["type"] for c in cells.values())["FDRE"] == 1
    assert depth({"cells": cells}) == (2, 1)
    cells["a"] = cell("LUT6", [1, 12], 10)
    with pytest.raises(InternalError, match="combinational loop"):
        depth({"cells": cells})
