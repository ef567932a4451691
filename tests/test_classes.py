# SPDX-License-Identifier: Apache-2.0
"""Names of the classes: from a file or the model's metadata into manifest.json and deploy.json."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from hwgen.classes import classes_of_metadata, read_classes
from hwgen.errors import UserError
from qdq_models import save, small_cnn

NAMES = [f"class {i}" for i in range(10)]


def stated(build: Path) -> Any:
    deploy, manifest = (json.loads((build / name).read_text()) for name in ("deploy/deploy.json", "manifest.json"))
    assert deploy["classes"] == manifest["classes"]
    return deploy["classes"]


def test_names_reach_the_board(hwgen: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_cnn(0)
    save(model, tmp_path / "plain.onnx")
    onnx.helper.set_model_props(model, {"names": str(dict(enumerate(NAMES)))})
    save(model, tmp_path / "named.onnx")
    others = [name.upper() for name in NAMES]
    (tmp_path / "classes.txt").write_text("\n".join(others) + "\n\n", encoding="utf-8")
    build = ["--board", "zcu102", "--target-fps", 1, "-o", tmp_path / "b", "-q"]
    for name, options, expected in (
        ("plain.onnx", [], None),
        ("named.onnx", [], NAMES),
        ("named.onnx", ["--classes", tmp_path / "classes.txt"], others),
    ):
        ran = hwgen("build", tmp_path / name, *build, *options)
        assert ran.code == 0, ran.err
        assert stated(tmp_path / "b") == expected
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hwgen.toml").write_text('classes = "classes.txt"\n')
    assert hwgen("build", tmp_path / "plain.onnx", *build).code == 0
    assert stated(tmp_path / "b") == others
    (tmp_path / "classes.txt").write_text("one\ntwo\n")
    ran = hwgen("build", tmp_path / "plain.onnx", *build[:-2], tmp_path / "new")
    assert ran.code == 2 and "names 2 classes; the model has 10 logits" in ran.err
    assert not (tmp_path / "new").exists()


def test_wrong_files_are_one_message(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    with pytest.raises(UserError, match="cannot read the classes"):
        read_classes(path, 2)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="no UTF-8"):
        read_classes(path, 2)
    path.write_bytes("\ufeffé\r\nb\r\n".encode())
    assert read_classes(path, 2) == ("é", "b")
    with pytest.raises(UserError, match="names 2 classes; the model has 3 logits"):
        read_classes(path, 3)
    with pytest.raises(UserError, match="no vector of logits"):
        read_classes(path, None)
    path.write_text("a\n\nb\n")
    with pytest.raises(UserError, match="no name in line 2"):
        read_classes(path, 3)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ('["a", "b"]', ("a", "b")),
        ('{"1": "b", "0": "a"}', ("a", "b")),
        ("{0: 'a', 1: 'b'}", ("a", "b")),
        ("['a', 'b', 'c']", None),  # too many
        ("{0: 'a', 2: 'b'}", None),
        ("[1, 2]", None),
        ("a, b", None),
        ("__import__('os')", None),
        ("(" * 10000, None),
        ("", None),
    ],
)
def test_metadata_of_exporters(value: str, found: tuple[str, ...] | None) -> None:
    assert classes_of_metadata({"names": value, "author": "x"}, 2) == found
    assert classes_of_metadata({"labels": value}, 2) == found
