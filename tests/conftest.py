# SPDX-License-Identifier: Apache-2.0
"""Fixtures of all tests: the command line in this process, a small model and its build, golden files."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hwgen import cli, pipeline
from qdq_models import save, small_cnn, small_vit

ROOT = Path(__file__).resolve().parent.parent
MEAN, STD = (0.5, 0.45, 0.4), (0.25, 0.25, 0.3)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden/ instead of comparing")


@pytest.fixture(scope="session")
def shared_model() -> Callable[[str], Path]:
    """Path of a large model that is not in this repository: in $HWGEN_MODELS, or ../shared/models. Skips without it."""
    folder = Path(os.environ.get("HWGEN_MODELS") or ROOT.parent / "shared" / "models")

    def find(name: str) -> Path:
        if not (folder / name).is_file():
            pytest.skip(f"{name} is not in {folder}; set HWGEN_MODELS to the folder that holds it")
        return folder / name

    return find


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def hwgen(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """``hwgen("build", model, ...)`` in this process; every argument becomes a string."""

    def run(*arguments: object) -> Ran:
        capfd.readouterr()
        code = cli.main([str(a) for a in arguments])
        out, err = capfd.readouterr()
        return Ran(code, out, err)

    return run


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random QDQ network with every kind of kernel; image (1, 3, 12, 12), 10 classes."""
    return save(small_vit(0), tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="session")
def _built(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("builds")
    small = {"target_fps": 1.0}  # one frame in flight, so that a batch may have any size
    pipeline.build(pipeline.BuildOptions(tiny_model, "zcu102", folder / "codes", **small))
    pipeline.build(pipeline.BuildOptions(tiny_model, "zcu102", folder / "image", mean=MEAN, std=STD, **small))
    return folder


@pytest.fixture
def tiny_build(_built: Path, tmp_path: Path) -> Path:
    """A build of the small model that takes int8 codes; a copy of one's own."""
    return Path(shutil.copytree(_built / "codes", tmp_path / "codes"))


@pytest.fixture
def tiny_image_build(_built: Path, tmp_path: Path) -> Path:
    """A build of the small model that takes uint8 images; a copy of one's own."""
    return Path(shutil.copytree(_built / "image", tmp_path / "image"))


@pytest.fixture(scope="session")
def rtl_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine without attention, depthwise and eltwise engine: compiled in about a minute, once."""
    folder = tmp_path_factory.mktemp("rtl")
    model = save(small_cnn(0), folder / "cnn.onnx")
    pipeline.build(pipeline.BuildOptions(model, "zcu102", folder / "build", mean=MEAN, std=STD, target_fps=1.0))
    return folder / "build"


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """``golden("name/file", text)`` compares with the reviewed file, or rewrites it with ``--update-golden``."""

    def check(name: str, text: str) -> None:
        path = ROOT / "tests" / "golden" / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.is_file(), f"{path} is missing; run make golden and review it"
        assert text == path.read_text(encoding="utf-8"), f"{name} changed; run make golden and review the difference"

    return check
