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


def test_quantized_here_it_is_exact_and_keeps_its_decisions(
    hwgen: Command, shared_model: Callable[[str], Path], tmp_path: Path
) -> None:
    """hwgen quantize on a trained float model; the figures of docs/accuracy.md need more images than this."""
    source = shared_model("efficientvit_b0_cifar10_64_fp32.onnx")
    data = source.parent.parent / "data" / "cifar10_train.npz"
    if not data.is_file():
        pytest.skip(f"{data} is missing")
    out = tmp_path / "out.onnx"
    image = ("--mean", "0.4914,0.4822,0.4465", "--std", "0.247,0.2435,0.2616", "--images", 32)
    ran = hwgen("quantize", source, "--calib", data, "-o", out, *image, "--json")
    assert ran.code == 0, ran.err
    report = ran.json
    assert report["coverage"]["mapped"] == report["coverage"]["nodes"]
    assert report["output"]["top1_agreement"] >= 0.9 and report["output"]["sqnr_db"] > 20
    folder = tmp_path / "build"
    assert hwgen("build", out, "--board", "zcu102", "-o", folder, "-q").code == 0
    assert hwgen("sim", folder, "--json").json["exact"]


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
