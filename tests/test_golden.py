# SPDX-License-Identifier: Apache-2.0
"""The rendered files of the HLS project, for one machine, as reviewed in tests/golden/ (``make golden`` rewrites)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hwgen.backends import hls
from hwgen.plan.program import HEADER, INSTRUCTION, MAGIC, VERSION, Config, Program

RENDERED = ("config.hpp", "run_hls.tcl", "hls_config.cfg", "src/top.cpp")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The HLS project of the default machine, with a Program of no instructions."""
    header = np.zeros((), HEADER)
    header["magic"], header["version"] = MAGIC, VERSION
    program = Program(Config(), header[()], np.zeros(0, INSTRUCTION), b"")
    hls.emit(program, tmp_path, part="xczu9eg-ffvb1156-2-e", clock_mhz=200.0, name="golden")
    return tmp_path / "hls"


@pytest.mark.parametrize("name", RENDERED)
def test_golden(project: Path, golden: Callable[[str, str], None], name: str) -> None:
    golden(f"hls/{name}", (project / name).read_text(encoding="utf-8"))


def test_golden_comparison_can_fail(golden: Callable[[str, str], None], pytestconfig: pytest.Config) -> None:
    if pytestconfig.getoption("--update-golden"):
        pytest.skip("would write the wrong text")
    with pytest.raises(AssertionError, match="make golden"):
        golden("hls/config.hpp", "something else")
    with pytest.raises(AssertionError, match="is missing"):
        golden("hls/absent.hpp", "")
