# SPDX-License-Identifier: Apache-2.0
"""Array files of a user: damaged ones are refused with one message, and nothing is half written."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest

from hwgen.arrays import check_writable, load_array, save_array
from hwgen.errors import UserError


def header(text: str) -> bytes:
    """A .npy file of version 1 with this header and no data."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode("latin1")


def huge(shape: tuple[int, ...]) -> bytes:
    return header(f"{{'descr': '|i1', 'fortran_order': False, 'shape': {shape}}}\n")


def single() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.float32(3))
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no array",
        b"PK\x03\x04 but no archive",
        single(),
        huge((1 << 50, 3)),
        huge((1 << 62, 1 << 62)),
        huge((1 << 70,)),
        huge((4, 3)),
        header("{'descr': '|i1', (\n"),
        header("'''\n"),
    ],
)
def test_damaged_files_get_one_message(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"x\.npy .*Give another\.$"):
        load_array(path, "Give another.")


def test_an_archive_of_arrays_and_a_missing_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    with pytest.raises(UserError, match="several arrays"):
        load_array(tmp_path / "x.npz", "")
    with pytest.raises(UserError, match="No such file"):
        load_array(tmp_path / "y.npy", "")


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    (tmp_path / "link.npy").symlink_to(tmp_path / "y.npy")
    for name in ("x.npy", "x.npy", "other", "link.npy"):
        check_writable(tmp_path / name)
        save_array(tmp_path / name, array)
        assert np.array_equal(load_array(tmp_path / name, ""), array)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link.npy", "other", "x.npy", "y.npy"]
    assert (tmp_path / "link.npy").is_symlink()
    save_array(Path("/dev/null"), array)
    assert not Path("/dev/null").is_file()


def test_nothing_is_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "y.npy"
    path.write_bytes(b"as before")

    def full(file: io.BufferedWriter, array: np.ndarray) -> None:
        file.write(b"some")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(UserError, match="No space left"):
        save_array(path, np.zeros(3))
    assert path.read_bytes() == b"as before"
    assert [p.name for p in tmp_path.iterdir()] == ["y.npy"]


def test_what_cannot_be_written_is_said_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="its folder does not exist"):
        check_writable(tmp_path / "no" / "y.npy")
    with pytest.raises(UserError, match="it is a folder"):
        check_writable(tmp_path)
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(UserError, match="no permission"):
        check_writable(tmp_path / "y.npy")
