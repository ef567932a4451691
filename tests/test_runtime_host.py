# SPDX-License-Identifier: Apache-2.0
"""bench/host.py, on a small network. Skipped where pynq is not installed (docs/runtime.md)."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pynq", reason="pynq is not installed (pip install 'hwgen[board]', in an environment of its own)")

from hwgen.runtime import Accelerator

SCRIPT = Path(__file__).resolve().parent.parent / "bench" / "host.py"


def test_the_figures(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "host.json"
    monkeypatch.setattr(sys, "argv", ["host.py", str(tiny_model), "--batch", "3", "6", "--json", str(path)])
    runpy.run_path(str(SCRIPT))["main"]()
    small, large = json.loads(path.read_text())
    for result in (small, large):
        assert result["model"] == tiny_model.stem and result["frame_bytes"] == 12 * 12 * 3
        assert 0 < result["cpu_us"] < 1e5
        assert result["peak_bytes_a_frame"] >= 10 * 4  # the result itself
        assert result["blocks_more_a_frame"] < 1
        assert result["blocks_left"] < 20 * result["batch"]  # frames of a call: less than one each
        assert result["a53"]["us_a_frame"] > 0
    assert (small["batch"], large["batch"]) == (3, 6)
    assert small["register_accesses_a_start"] == large["register_accesses_a_start"] > 8


def test_memory_that_piles_up_is_seen(tiny_image_build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    collect = Accelerator._collect

    def leaking(self: Accelerator, batch: Any) -> None:
        collect(self, batch)
        kept.extend(bytearray(100) for _ in range(batch.frames))

    monkeypatch.setattr(Accelerator, "_collect", leaking)
    result = runpy.run_path(str(SCRIPT))["measure"](tiny_image_build, 2)
    assert result["blocks_more_a_frame"] >= 1 and result["blocks_left"] >= 40
