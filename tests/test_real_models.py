# SPDX-License-Identifier: Apache-2.0
"""The promises on real EfficientViT models: exact in both machines, close to ONNX Runtime. Skipped without them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]

B1 = ("b1_224_ort_s8_fused", "b1_224_ort_s8", "b1_224_ort_s8_fusedact")
B0 = ("b0_224_ort_s8", "b0_cifar10_64_ort_s8_fused", "b0_cifar10_64_ort_s8", "b0_cifar10_64_ort_s8_fusedact")


def build(hwgen: Command, shared_model: Callable[[str], Path], name: str, folder: Path) -> Path:
    ran = hwgen("build", shared_model(f"efficientvit_{name}.onnx"), "--board", "zcu102", "-o", folder, "-q")
    assert ran.code == 0, ran.err
    return folder


@pytest.mark.parametrize("name", [*B1, *B0])
def test_program_is_exact(hwgen: Command, shared_model: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    """The Program, executed from its bytes, equals the kernel graph on every tensor."""
    folder = build(hwgen, shared_model, name, tmp_path / "build")
    report = hwgen("sim", folder, "--json").json
    assert report["exact"] and report["compared"] == (87 if "b1" in name else 60)


@pytest.mark.parametrize("name", [B1[0], B0[3]])
def test_emitted_cpp_is_exact(hwgen: Command, shared_model: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    """The C++ equals it too, and no longer does with one bit flipped in what it loads."""
    folder = build(hwgen, shared_model, name, tmp_path / "build")
    report = hwgen("sim", folder, "--level", "csim", "--json")
    assert report.code == 0 and report.json["exact"]
    for kind in ("weights", "table", "program"):
        flipped = hwgen("sim", folder, "--level", "csim", "--inject-fault", kind, "--json")
        assert flipped.code == 1 and flipped.json["mismatches"] > 0, kind


@pytest.mark.parametrize("name", [B1[0], B0[2], B0[3]])
def test_each_operator_is_close_to_onnxruntime(
    hwgen: Command, shared_model: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    folder = build(hwgen, shared_model, name, tmp_path / "build")
    frames = 4 if "224" in name else 12  # a share of 99.9 % needs some thousand values
    ran = hwgen("sim", folder, "--level", "onnxruntime", "--frames", frames, "--json")
    report = ran.json
    assert ran.code == 0 and report["compared"] > 70
    assert all(op["max_step"] <= 1 and op["equal_share"] >= op["promised_share"] >= 0.98 for op in report["ops"])
