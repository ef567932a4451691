# SPDX-License-Identifier: Apache-2.0
"""What a build of the Fashion-MNIST example is worth: simulate all 256 images in the reference and some in the C++.

    hwgen build examples/fashion/fashion_vit.onnx --board zcu102 --mean 0.286 --std 0.353 -o build/fashion
    python examples/fashion/demo.py build/fashion

``make demo`` does both. Ends with exit code 1 if any tensor of a simulation differs from the integer reference.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console, Group
from rich.progress import Progress
from rich.text import Text

from hwgen.cli import reports
from hwgen.errors import UserError
from hwgen.report import terminal
from hwgen.simulation import simulate

HERE = Path(__file__).resolve().parent
CSIM_FRAMES = 32


def load_example() -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """How the example was made, its images as the model's float input (N, 1, 28, 28), and their labels."""
    record = json.loads((HERE / "example.json").read_text(encoding="utf-8"))
    with np.load(HERE / "images.npz") as data:
        images, labels = data["images"], data["labels"]
    mean, std = (np.array(record[key], np.float32) for key in ("mean", "std"))
    floats = (images.astype(np.float32) / np.float32(255) - mean) / std
    return record, np.ascontiguousarray(floats.transpose(0, 3, 1, 2), np.float32), labels


def run_onnxruntime(model: Path, floats: np.ndarray) -> np.ndarray:
    """Class scores (N, classes) of the quantized model in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: x[None]})[0] for x in floats])


def accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    """Share of images whose highest score is that of the right class."""
    return float((scores.reshape(len(labels), -1).argmax(axis=1) == labels).mean())


def run(build: Path, csim_frames: int, console: Console) -> int:
    """The demonstration; returns the exit code."""
    record, floats, labels = load_example()
    with tempfile.TemporaryDirectory() as name, Progress(console=console, transient=True) as bar:
        folder, task = Path(name), bar.add_task("", total=None)

        def show(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total or None)

        np.save(folder / "x.npy", floats)
        files = {"input": folder / "x.npy", "output": folder / "y.npy"}
        reference = simulate(build, "reference", **files, progress=show)
        ours = np.load(folder / "y.npy")
        csim = simulate(build, "csim", frames=csim_frames, **files, progress=show)
        emitted = np.load(folder / "y.npy")
        show("ONNX Runtime", 0, 0)
        theirs = run_onnxruntime(build / "model.onnx", floats)
    recorded = record["float"]["accuracy"]["kept"]
    rows = [
        ("float, before quantization", f"{100 * recorded:.2f} %", len(labels), "recorded when the example was made"),
        ("ONNX Runtime, int8", f"{100 * accuracy(theirs, labels):.2f} %", len(labels), "run now"),
        ("hwgen, Program in NumPy", f"{100 * accuracy(ours, labels):.2f} %", len(labels), "run now"),
        (
            "hwgen, emitted C++",
            f"{100 * accuracy(emitted, labels[: len(emitted)]):.2f} %",
            len(emitted),
            "run now, the same values" if np.array_equal(emitted, ours[: len(emitted)]) else "DIFFERS",
        ),
    ]
    report = json.loads((build / "report.json").read_text(encoding="utf-8"))
    console.print(
        Group(
            terminal.build(str(build), report),
            "",
            table_of_accuracy(rows),
            "",
            Text("Every tensor that leaves a kernel, against the integer reference:"),
            terminal.simulation(reference),
            terminal.simulation(csim),
            "",
            next_steps(build),
        )
    )
    return max(reference["exit_code"], csim["exit_code"])


def table_of_accuracy(rows: list[tuple[str, str, int, str]]) -> Any:
    """Accuracy of each implementation."""
    return terminal.table("Accuracy on Fashion-MNIST", ("", "top-1", "images", ""), rows, right=(1, 2))


def next_steps(build: Path) -> Any:
    """What to try now."""
    rows = [
        (f"hwgen sim {build} --level csim --inject-fault", "see that the comparison finds one flipped bit"),
        (f"hwgen sim {build} --level onnxruntime --frames 4", "compare with ONNX Runtime, operator by operator"),
        (f"ls {build}/rtl {build}/hls", "the SystemVerilog and the Vitis HLS project"),
        (f"hwgen count {build}", "count LUT, FF, DSP and BRAM with Yosys"),
        ("hwgen inspect your_model.onnx", "is your own model mapped?"),
    ]
    return terminal.table("What next", ("command (after make: .venv/bin/hwgen)", ""), rows)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path, help="build folder of the example")
    parser.add_argument("--csim-frames", type=int, default=CSIM_FRAMES, help="images to run in the C++ (%(default)s)")
    arguments = parser.parse_args()
    console = reports()
    try:
        return run(arguments.build, arguments.csim_frames, console)
    except UserError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
