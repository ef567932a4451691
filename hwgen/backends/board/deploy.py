# SPDX-License-Identifier: Apache-2.0
"""Writes ``deploy/``: all that the runtime needs on a board, but the bitstream; and ``vivado/``, which makes that.

The folder is complete in itself, so that copying it is the installation. docs/runtime.md describes deploy.json.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

from hwgen import __version__, runtime
from hwgen.artifact import write_json
from hwgen.backends.board import vivado
from hwgen.backends.board.hwh import render_hwh
from hwgen.board import Board
from hwgen.plan.program import Program

RUNTIME = "hwgen_runtime.py"


def emit(program: Program, manifest: dict[str, Any], board: Board, directory: Path) -> None:
    """Write ``directory/deploy`` and ``directory/vivado``; ``manifest`` is what manifest.json holds. Deterministic.

    Raises FileExistsError if one of the folders exists.
    """
    target = directory / "deploy"
    target.mkdir()
    files = {"program.bin": program.to_bytes(), "weights.bin": program.weights}
    for name, data in files.items():
        (target / name).write_bytes(data)
    shutil.copyfile(str(runtime.__file__), target / RUNTIME)
    write_json(target / "deploy.json", describe(program, manifest, files))
    config_hash, clock_mhz = int(program.header["config_hash"]), manifest["options"]["clock_mhz"]
    vivado.emit(board, directory, config_hash=config_hash, clock_mhz=clock_mhz)
    handoff = render_hwh(board, config_hash=config_hash, clock_mhz=clock_mhz)
    if handoff is not None:
        (target / "hwgen.hwh").write_text(handoff, encoding="utf-8", newline="\n")


def describe(program: Program, manifest: dict[str, Any], files: dict[str, bytes]) -> dict[str, Any]:
    """deploy.json: what of the manifest a board needs, and the hashes of the files beside it."""
    options, output = manifest["options"], manifest["output"]
    return {
        "format": runtime.FORMAT,
        "format_version": runtime.FORMAT_VERSION,
        "hwgen": __version__,
        "model": manifest["model"],
        "board": manifest["board"]["name"],
        "clock_mhz": options["clock_mhz"],
        "machine": {"config_hash": int(program.header["config_hash"]), "slots": program.config.slots},
        "files": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()
        },
        "frame": {name: int(program.header[name]) for name in ("input_words", "output_words", "trace_words")},
        "input": {
            "shape": manifest["input"]["shape"],
            "format": "int8" if options["mean"] is None else "uint8",
            "quant": manifest["input"]["quant"],
            "mean": options["mean"],
            "std": options["std"],
        },
        "output": {name: output[name] for name in ("tensor", "onnx", "shape", "model_shape", "quant")},
        "classes": manifest["classes"],
        "tensors": [t for t in manifest["tensors"] if t["trace"] is not None],
    }
