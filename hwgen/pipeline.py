# SPDX-License-Identifier: Apache-2.0
"""The stages one after the other: frontend, passes, plan, backends. docs/contracts.md specifies what is returned."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hwgen import __version__, frontend, ir, passes, plan
from hwgen.artifact import FORMAT, FORMAT_VERSION, check_target, plain, replacing, write_json
from hwgen.backends import board as on_board
from hwgen.backends import hls, rtl
from hwgen.board import Board, load_board
from hwgen.classes import classes_of_metadata, read_classes
from hwgen.errors import FitError, Problem
from hwgen.frontend.coverage import Coverage
from hwgen.frontend.onnx_file import OnnxGraph, read_proto

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is (0: unknown)."""


def silent(what: str, done: int, total: int) -> None:
    """A Progress that shows nothing."""


@dataclass(frozen=True)
class BuildOptions:
    """What ``hwgen build`` was asked for."""

    model: Path
    board: str
    output: Path
    batch: int = 1
    clock_mhz: float | None = None
    """None: the board's."""
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    """With mean and std the accelerator takes uint8 images: ``(byte / 255 - mean) / std`` is what the model sees."""
    synth: bool = False
    classes: Path | None = None
    """Text file with a name for each logit; None: what the model's metadata says, if anything."""
    bitstream: bool = False
    target_fps: float | None = None
    """None: as fast as the board allows; else the smallest machine that is modelled to be so fast."""


def coverage_report(coverage: Coverage) -> dict[str, Any]:
    """The contract of ``hwgen inspect --json``."""
    families = {name: int(coverage.kernels.get(name, 0)) for name in ("conv", "linear_attention", "mlp")}
    return {
        "nodes": coverage.nodes,
        "mapped": coverage.mapped,
        "unsupported": [asdict(problem) for problem in coverage.unsupported],
        "kernels": families,
        "macs": coverage.macs,
        "parameters": coverage.parameters,
    }


def cover(model: Path) -> Coverage:
    """Node by node what hwgen maps; raises ModelError for a file that cannot be read."""
    loaded = frontend.load(model)
    return loaded.coverage(None if loaded.graph is None else passes.run(loaded.graph))


def build(options: BuildOptions, progress: Progress = silent) -> dict[str, Any]:
    """Write the build folder and return its report (the contents of report.json).

    Raises ModelError, BoardError, FitError or UserError before anything is written; afterwards the folder is complete.
    """
    target = options.output.resolve()
    check_target(target)
    board = load_board(options.board)
    on_board.block_design(board, config_hash=0)  # ports that the part does not have are said before all else
    progress("reading the model", 0, 0)
    loaded = frontend.load(options.model)
    graph = passes.run(loaded.require(), options.mean, options.std)
    classes = _classes(options, loaded.onnx, graph)
    progress("planning", 0, 0)
    clock_mhz = board.clock_mhz if options.clock_mhz is None else options.clock_mhz
    unsupported = _unsupported(board)
    try:
        planned = plan.plan(
            graph,
            board,
            batch=options.batch,
            clock_mhz=clock_mhz,
            target_fps=options.target_fps,
            progress=lambda line: progress(f"planning: {line}", 0, 0),
        )
    except FitError as error:
        if not unsupported:
            raise
        raise FitError(error.message, (*unsupported, *error.problems)) from error
    if unsupported:
        raise FitError("No machine can be built for this board:", unsupported)
    report = _report(options, board, graph, planned)
    with replacing(target) as folder:
        progress("writing", 0, 0)
        (folder / "program.bin").write_bytes(planned.program.to_bytes())
        (folder / "weights.bin").write_bytes(planned.program.weights)
        (folder / "model.onnx").write_bytes(self_contained(options.model))
        manifest = _manifest(options, board, loaded.onnx, graph, planned, classes)
        write_json(folder / "manifest.json", manifest)
        write_json(folder / "report.json", report)
        hls.emit(planned.program, folder, part=board.part, clock_mhz=clock_mhz, name=project_name(options.model))
        rtl.emit(planned.program, folder)
        rtl.write_vectors(folder / "sim" / "vectors", graph, planned.program)
        on_board.emit(planned.program, manifest, board, folder)
    if options.synth:
        progress("synthesizing", 0, 0)
        report = _synthesize(target, report)
    if options.bitstream:
        progress("making the bitstream", 0, 0)
        report = {**report, "bitstream": on_board.run_vivado(target)}
    return plain(report)  # type: ignore[no-any-return]


def _unsupported(board: Board) -> list[Problem]:
    """What of the part itself keeps a machine from being built, however small the model."""
    if board.dsp_kind == "DSP48E2":
        return []
    reason = (
        f"{board.part} has {board.dsp_kind} multipliers; this version's SystemVerilog instantiates DSP48E2, and its "
        "C++ packs two products for the 27 bits of one"
    )
    return [Problem(f"board {board.name}", "", reason, "Use a board with a Zynq UltraScale+, such as zcu102")]


def self_contained(model: Path) -> bytes:
    """The model as one file, external data embedded, so that a simulation can read it again."""
    data: bytes = read_proto(model).SerializeToString(deterministic=True)
    return data


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def project_name(model: Path) -> str:
    """The model's file name as an identifier that every tool accepts."""
    name = re.sub(r"[^A-Za-z0-9_]+", "_", model.stem).strip("_")[:64]
    return name if name[:1].isalpha() else f"model_{name}".rstrip("_")


def _synthesize(target: Path, report: dict[str, Any]) -> dict[str, Any]:
    """Run Vitis HLS if it is there; what it reports joins report.json, whose own figures stay estimates."""
    from hwgen.backends.hls import synth

    report = {**report, "synthesis": synth.run_synthesis(target)}
    temporary = target / "report.json.new"
    write_json(temporary, report)
    os.replace(temporary, target / "report.json")
    return report


def _report(options: BuildOptions, board: Board, graph: ir.Graph, planned: plan.Plan) -> dict[str, Any]:
    families = Counter(k.family for k in planned.kernels if k.kind != "input")
    return {
        "model": project_name(options.model),
        "board": board.name,
        "part": board.part,
        "kernels": {name: families.get(name, 0) for name in ("conv", "linear_attention", "mlp")},
        "tiles": planned.tiles,
        "resources": planned.resources,
        "performance": planned.performance,
        "bytes": {"program": len(planned.program.to_bytes()), "weights": len(planned.program.weights)},
    }


def _classes(options: BuildOptions, onnx: OnnxGraph, graph: ir.Graph) -> tuple[str, ...] | None:
    """A name for each logit, where somebody gave them. Raises UserError for a file that does not fit."""
    channels, height, width = graph.tensors[graph.output].shape
    count = channels if height == width == 1 else None
    if options.classes is not None:
        return read_classes(options.classes, count)
    return classes_of_metadata({entry.key: entry.value for entry in onnx.model.metadata_props}, count)


def _manifest(
    options: BuildOptions,
    board: Board,
    onnx: OnnxGraph,
    graph: ir.Graph,
    planned: plan.Plan,
    classes: tuple[str, ...] | None,
) -> dict[str, Any]:
    """What a runtime or a simulation needs to know; no time, no path, so that the same input gives the same bytes."""
    header = planned.program.header
    words = ("input_words", "output_words", "trace_words")
    trace = {k.output: k.trace for k in planned.kernels}
    output = graph.tensors[graph.output]
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "hwgen": __version__,
        "model": {"name": project_name(options.model), "sha256": _digest(options.model.read_bytes())},
        "board": board.to_dict(),
        "options": {
            "batch": options.batch,
            "clock_mhz": board.clock_mhz if options.clock_mhz is None else options.clock_mhz,
            "mean": options.mean,
            "std": options.std,
            "target_fps": options.target_fps,
        },
        "program": {
            "config": planned.program.config,
            "instructions": int(header["instructions"]),
            **{name: int(header[name]) for name in words},
            "sha256": _digest(planned.program.to_bytes()),
            "weights_sha256": _digest(planned.program.weights),
        },
        "input": {
            "shape": graph.input.image,
            "quant": graph.input_quant,
            "format": "int8 codes, HWC" if graph.input.table is None else "uint8 image, HWC",
        },
        "output": {
            "tensor": output.name,
            "onnx": graph.output_onnx,
            "shape": output.shape,
            "model_shape": onnx.shapes[onnx.output],
            "quant": output.quant,
        },
        "classes": classes,
        "kernels": planned.kernels,
        "tensors": [
            {"name": t.name, "shape": t.shape, "quant": t.quant, "onnx": t.onnx, "trace": trace.get(t.name)}
            for t in (graph.tensors[op.y] for op in graph.ops)
        ],
    }
