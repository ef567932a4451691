# SPDX-License-Identifier: Apache-2.0
"""Board files: the ZCU102's figures, a user's own file, and a message for every wrong field."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwgen.board import RESOURCES, board_from_dict, board_names, load_board
from hwgen.errors import BoardError
from hwgen.resources import folder

ZCU102 = (folder("boards") / "zcu102" / "board.toml").read_text(encoding="utf-8")


def changed(tmp_path: Path, old: str, new: str) -> Path:
    """The ZCU102's file with one change."""
    assert ZCU102.count(old) == 1, old
    path = tmp_path / "board.toml"
    path.write_text(ZCU102.replace(old, new), encoding="utf-8")
    return path


def problems(path: Path) -> dict[str, str]:
    with pytest.raises(BoardError) as caught:
        load_board(path)
    assert str(path) in str(caught.value)
    return {p.name: p.reason for p in caught.value.problems}


def test_zcu102() -> None:
    board = load_board("zcu102")
    assert board.part == "xczu9eg-ffvb1156-2-e"
    assert board.resources == {"lut": 274_080, "ff": 548_160, "dsp": 2_520, "bram36": 912, "uram": 0}
    assert board.limits == {"lut": 191_856, "ff": 274_080, "dsp": 2_268, "bram36": 820, "uram": 0}
    assert board.clock_mhz == 200
    assert board.ddr_bytes_per_second == 12.8e9
    assert board.control_base == 0xA000_0000
    assert {p.bits for p in board.ports} == {128} and len(board.ports) == 5
    assert all(board.sources.values())


def test_every_board_of_the_package_loads() -> None:
    assert "zcu102" in board_names()
    for name in board_names():
        board = load_board(name)
        assert board.name == name and set(board.resources) == set(RESOURCES)


def test_round_trip_through_the_manifest() -> None:
    board = load_board("zcu102")
    assert board_from_dict(board.to_dict()) == board


def test_own_file_and_folder(tmp_path: Path) -> None:
    path = changed(tmp_path, 'name = "zcu102"', 'name = "mine"')
    assert load_board(path) == load_board(tmp_path)
    assert load_board(str(path)).name == "mine"


def test_planning_section_is_optional(tmp_path: Path) -> None:
    start, end = ZCU102.index("[planning]"), ZCU102.index("[clock]")
    path = tmp_path / "board.toml"
    path.write_text(ZCU102[:start] + ZCU102[end:], encoding="utf-8")
    assert load_board(path).limits == load_board("zcu102").limits


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("lut = 274_080", "lut = -1", "resources.lut"),
        ("lut = 274_080", 'lut = "many"', "resources.lut"),
        ("dsp = 2_520\n", "", "resources.dsp"),
        ("dsp = 2_520", "dps = 2_520", "resources.dps"),
        ("dsp = 2_520", "dsp = 2_520.5", "resources.dsp"),
        ("lut = 0.70", "lut = 1.7", "planning.lut"),
        ("mhz = 200.0", "mhz = nan", "clock.mhz"),
        ("mhz = 200.0", "mhz = 2000", "clock.mhz"),
        ("bits = 64", "bits = 65", "ddr.bits"),
        ("peak_bytes_per_second = 17.064e9", "peak_bytes_per_second = inf", "ddr.peak_bytes_per_second"),
        ("usable_bytes_per_second = 12.8e9", "usable_bytes_per_second = 12.8e10", "ddr"),
        ('name = "gmem_w3"', 'name = "gmem_w2"', "file"),
        ('name = "gmem_w3"', 'name = "gmem_x"', "ports.3.name"),
        ('part = "xczu9eg-ffvb1156-2-e"', 'part = "x; rm -rf ~"', "board.part"),
        ('name = "zcu102"', 'name = "../evil"', "board.name"),
        ('dsp = "DSP48E2"', 'dsp = "DSP58"', "board.dsp"),
        ("base = 0xA000_0000", "base = true", "control.base"),
        ("[control]", "[controls]", "controls"),
    ],
)
def test_every_wrong_field_is_named(tmp_path: Path, old: str, new: str, field: str) -> None:
    found = problems(changed(tmp_path, old, new))
    assert found.get(field)


def test_all_problems_at_once(tmp_path: Path) -> None:
    path = tmp_path / "board.toml"
    path.write_text(ZCU102.replace("bram36 = 912", "bram36 = 0").replace("mhz = 200.0", "mhz = 0"), encoding="utf-8")
    assert set(problems(path)) == {"resources.bram36", "clock.mhz"}


@pytest.mark.parametrize("content", [b"[board", b"\xff\xfe\x00", b"\x00" * 50])
def test_not_toml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "board.toml"
    path.write_bytes(content)
    with pytest.raises(BoardError, match="not"):
        load_board(path)


def test_unknown_board_lists_those_that_exist() -> None:
    with pytest.raises(BoardError, match="zcu102"):
        load_board("zcu201")
    with pytest.raises(BoardError, match="no board file"):
        load_board("nowhere/board.toml")
