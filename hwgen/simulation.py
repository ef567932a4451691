# SPDX-License-Identifier: Apache-2.0
"""``hwgen sim``: run a machine on frames and compare every tensor that leaves a kernel with the direct reference.

The expectation comes from the model (frontend, passes, direct reference); the machine sees only the build folder's
``program.bin`` and ``weights.bin``. The two meet nowhere but in ``array_equal``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen import fault, frontend, passes
from hwgen import numerics as nx
from hwgen.arrays import check_writable, load_array, save_array
from hwgen.artifact import Build, plain, read_build
from hwgen.backends.reference import direct
from hwgen.backends.reference import program as machine
from hwgen.backends.rtl import simulate as rtl
from hwgen.errors import InternalError, UserError
from hwgen.ir import Graph
from hwgen.plan.layout import pack_input, unpack_output
from hwgen.plan.program import WORD_BYTES, Program, Queue

LEVELS = ("reference", "csim", "rtl", "onnxruntime")
LISTED_MISMATCHES = 20
"""How many mismatches a report spells out; all are counted."""
TRACED_FRAMES = 2
"""RTL: frames of which every tensor is compared; of the others, the output."""
INTERVAL_FRAMES = 12
"""RTL: fewer frames give no interval."""
WARM_UP = 4
"""RTL: least results before the interval is measured. Frames of a group end together, so whole groups are measured."""

Codes = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float32]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Stimulus:
    """Input frames. ``floats`` (N, C, H, W) is what the model sees; ``images`` (N, C, H, W) what the machine gets."""

    floats: Floats
    images: npt.NDArray[np.int8] | npt.NDArray[np.uint8]

    def packed(self, frame: int) -> bytes:
        """One frame of the accelerator's input buffer."""
        return pack_input(np.ascontiguousarray(self.images[frame].transpose(1, 2, 0)))


@dataclass(frozen=True)
class Mismatch:
    """A tensor that differs: where first, both values, how many of how many."""

    kernel: str
    tensor: str
    frame: int
    index: tuple[int, int, int]
    """(channel, row, column)"""
    expected: int
    found: int
    count: int
    values: int


def simulate(
    directory: Path,
    level: str,
    *,
    frames: int | None = None,
    seed: int = 0,
    input: Path | None = None,
    output: Path | None = None,
    inject_fault: str | None = None,
    memory: rtl.Memory | None = None,
    waves: Path | None = None,
    dut: str = "hwgen",
    progress: Progress = lambda what, done, total: None,
) -> dict[str, Any]:
    """Run ``frames`` frames and return the contract of ``hwgen sim --json``; ``exit_code`` is the command's.

    ``level`` is one of LEVELS, ``inject_fault`` one of :data:`hwgen.fault.KINDS`. ``memory`` and ``waves`` (a VCD file)
    belong to level rtl, as ``dut``: whose Verilog is simulated, hwgen's or what Vitis HLS exported ("vitis"). Raises
    UserError.
    """
    started = time.perf_counter()
    if level not in LEVELS:
        raise UserError(f"there is no level {level!r}. Use one of: {', '.join(LEVELS)}.")
    if inject_fault is not None and level == "onnxruntime":
        raise UserError("level onnxruntime runs no machine that a fault could go into. Use reference, csim or rtl.")
    if dut not in rtl.DUTS:
        raise UserError(f"there is no dut {dut!r}. Use one of: {', '.join(rtl.DUTS)}.")
    if level != "rtl" and (memory is not None or waves is not None or dut != "hwgen"):
        raise UserError("memory latency, bandwidth, waves and dut belong to the RTL simulation. Add --level rtl.")
    if output is not None:
        check_writable(output)
    progress("reading the build", 0, 0)
    build = read_build(directory)
    loaded, graph = _graphs(build)
    stimulus = _stimulus(build, graph, frames, seed, input)
    if level == "onnxruntime":
        report, results = _against_onnxruntime(loaded, graph, stimulus, progress)
    else:
        try:
            report, results = _against_reference(
                build,
                graph,
                stimulus,
                level=level,
                seed=seed,
                inject_fault=inject_fault,
                memory=memory,
                waves=waves,
                dut=dut,
                progress=progress,
            )
        except InternalError as error:
            if not build.altered:
                raise
            raise UserError(
                f"program.bin or weights.bin in {directory} was altered after the build, and the machine refuses it "
                f"({error}). Run hwgen build again."
            ) from error
    if output is not None:
        _save_output(build, graph, results, output)
    report["wall_seconds"] = round(time.perf_counter() - started, 3)
    return plain(report)  # type: ignore[no-any-return]


def _graphs(build: Build) -> tuple[frontend.Frontend, Graph]:
    """The model as the frontend reads it, and its kernel graph, from the build folder's copy."""
    options = build.manifest["options"]
    loaded = frontend.load(build.directory / "model.onnx")
    mean, std = options["mean"], options["std"]
    kernels = passes.run(loaded.require(), tuple(mean) if mean else None, tuple(std) if std else None)
    return loaded, kernels


# --------------------------------------------------------------------------------------------------------------------
# Input and output


def _stimulus(build: Build, graph: Graph, frames: int | None, seed: int, path: Path | None) -> Stimulus:
    shape = graph.input.image
    if path is not None:
        floats = _load_floats(path, shape)
        if frames is not None and frames > len(floats):
            raise UserError(f"{path} holds {len(floats)} frames, not {frames}. Ask for at most {len(floats)}.")
        return encode(build, graph, floats[:frames])
    count = 1 if frames is None else frames
    rng = np.random.default_rng(seed)
    if graph.input.table is not None:
        # smooth patches under noise: closer to a picture than noise alone, so that all layers see varied values
        images = np.clip(128 + 110 * _patches(rng, (count, *shape)), 0, 255).astype(np.uint8)
        return Stimulus(_normalize(build, images), images)
    quant = graph.input_quant
    middle, half = -0.5 - quant.zero_point, 160.0  # a little beyond the codes, so that saturation happens too
    floats = np.float32(quant.scale) * (middle + half * _patches(rng, (count, *shape))).astype(np.float32)
    return encode(build, graph, floats)


def _patches(rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """(N, C, H, W) values, mostly in -1 .. 1: a coarse random pattern plus noise."""
    n, c, h, w = shape
    coarse = rng.normal(size=(n, c, 8, 8))
    rows, columns = np.arange(h) * 8 // h, np.arange(w) * 8 // w
    field: npt.NDArray[np.float64] = 0.45 * coarse[:, :, rows][:, :, :, columns] + 0.25 * rng.normal(size=shape)
    return field


def _load_floats(path: Path, shape: tuple[int, int, int]) -> Floats:
    expected = f"(N, {', '.join(map(str, shape))})"
    hint = f"Save a float array of shape {expected} with numpy.save."
    values = load_array(path, hint)
    if values.ndim != 4 or values.shape[1:] != shape or len(values) == 0:
        raise UserError(f"{path} has shape {values.shape}, the model takes {expected}. {hint}")
    if values.dtype.kind not in "fiu":
        raise UserError(f"{path} holds {values.dtype}, not numbers. {hint}")
    floats = values.astype(np.float32)
    if not np.isfinite(floats).all():
        raise UserError(f"{path} holds NaN or infinity. Give finite values only.")
    return floats


def _normalize(build: Build, images: npt.NDArray[np.uint8]) -> Floats:
    mean, std = _mean_std(build)
    floats: Floats = ((images.astype(np.float32) / np.float32(255) - mean) / std).astype(np.float32)
    return floats


def _mean_std(build: Build) -> tuple[Floats, Floats]:
    options = build.manifest["options"]
    mean, std = (np.array(options[key], np.float32).reshape(-1, 1, 1) for key in ("mean", "std"))
    return mean, std


def encode(build: Build, graph: Graph, floats: Floats) -> Stimulus:
    """The model's float input as the accelerator takes it: int8 codes, or the nearest uint8 image."""
    if graph.input.table is None:
        return Stimulus(floats, nx.quantize(floats, graph.input_quant.scale, graph.input_quant.zero_point))
    mean, std = _mean_std(build)
    images = np.clip(np.rint((floats * std + mean) * 255), 0, 255).astype(np.uint8)
    return Stimulus(_normalize(build, images), images)


def _save_output(build: Build, graph: Graph, codes: Codes, path: Path) -> None:
    quant = graph.tensors[graph.output].quant
    floats = nx.dequantize(codes, quant.scale, quant.zero_point)
    shape = tuple(build.manifest["output"]["model_shape"][1:])
    save_array(path, floats.reshape(len(floats), *shape))


# --------------------------------------------------------------------------------------------------------------------
# Machines


def compare(
    tensors: Iterable[tuple[str, str]], frame: int, expected: dict[str, Codes], found: dict[str, Codes]
) -> list[Mismatch]:
    """The (kernel, tensor) pairs whose codes differ. Exact: ``array_equal``, nothing else."""
    result = []
    for kernel, tensor in tensors:
        want, got = expected[tensor], found[tensor]
        if np.array_equal(want, got):
            continue
        where = np.argwhere(want != got)
        first = tuple(int(i) for i in where[0])
        result.append(
            Mismatch(kernel, tensor, frame, first, int(want[first]), int(got[first]), len(where), want.size)  # type: ignore[arg-type]
        )
    return result


def _against_reference(
    build: Build,
    graph: Graph,
    stimulus: Stimulus,
    *,
    level: str,
    seed: int,
    inject_fault: str | None,
    memory: rtl.Memory | None,
    waves: Path | None,
    dut: str,
    progress: Progress,
) -> tuple[dict[str, Any], Codes]:
    frames = len(stimulus.images)
    program = build.program
    injected = None
    if inject_fault is not None:
        progress("choosing a fault", 0, 0)
        expected = direct.run(graph, stimulus.images[0])
        program, injected = fault.inject(
            program, inject_fault, seed, lambda p: _differs(build, graph, expected, _one_frame(p, stimulus.packed(0)))
        )
    pairs = [(_kernel_name(build, name), name) for name in _trace_tensors(build, graph)]
    pairs.append(("output buffer", _OUTPUT))
    whole: Frames | None = None
    measured: dict[str, Any] = {}
    if level == "csim":
        whole = _run_csim(build, program, stimulus, progress)
    elif level == "rtl":
        whole, measured = _run_rtl(build, program, stimulus, memory, waves, dut, injected is None, progress)
    outputs, mismatches, values, compared = [], [], 0, 0
    for frame in range(frames):
        progress("comparing" if whole else "simulating", frame, frames)
        raw = whole.frame(frame) if whole else _one_frame(program, stimulus.packed(frame))
        found = _unpack(build, graph, raw)
        here = [pair for pair in pairs if pair[1] in found]
        expected = direct.run(graph, stimulus.images[frame])
        expected[_OUTPUT] = expected[graph.output]
        mismatches += compare(here, frame, expected, found)
        if whole is not None and whole.untraced:
            again = {_OUTPUT: unpack_output(whole.untraced_frame(frame), graph.tensors[graph.output].shape)}
            mismatches += compare([("output buffer", _OUTPUT)], frame, expected, again)
            compared += 1
        compared += len(here)
        values += sum(expected[name].size for _, name in here)
        outputs.append(found[_OUTPUT])
    progress("comparing", frames, frames)
    wrong = bool(mismatches) or bool(measured.get("errors"))
    report: dict[str, Any] = {
        "level": level,
        "frames": frames,
        "compared": compared,
        "mismatches": len(mismatches),
        "exact": not wrong,
        "values": values,
        "first_mismatches": mismatches[:LISTED_MISMATCHES],
        "exit_code": 1 if wrong else 0,
    }
    if injected is not None:
        report["fault"] = injected
    if whole is not None:
        report["compile_seconds"] = round(whole.compile_seconds, 3)
        report["run_seconds"] = round(whole.run_seconds, 3)
    return report | measured, np.stack(outputs)


_OUTPUT = "output buffer"
"""Key of what STORE wrote; no tensor of a graph is called so."""


@dataclass(frozen=True)
class Raw:
    """What a machine left in DDR for one frame."""

    output: memoryview
    trace: memoryview | None
    """None: this frame was not traced."""


@dataclass(frozen=True)
class Frames:
    """What a machine left in DDR for all frames, one after the other."""

    output: bytes
    trace: bytes
    count: int
    compile_seconds: float
    run_seconds: float
    traced: int
    """Frames in ``trace``, the first ones."""
    untraced: bytes = b""
    """Output of a second run, without the trace; empty where there was none."""

    def frame(self, index: int) -> Raw:
        trace = _cut(self.trace, index, self.traced) if index < self.traced else None
        return Raw(_cut(self.output, index, self.count), trace)

    def untraced_frame(self, index: int) -> memoryview:
        return _cut(self.untraced, index, self.count)


def _cut(data: bytes, index: int, count: int) -> memoryview:
    size = len(data) // count
    return memoryview(data)[index * size : (index + 1) * size]


def _one_frame(program: Program, packed: bytes) -> Raw:
    result = machine.execute(program, packed, 1, trace=True)
    return Raw(memoryview(result.output), memoryview(result.trace))


def _run_csim(build: Build, program: Program, stimulus: Stimulus, progress: Progress) -> Frames:
    from hwgen.backends.hls.csim import run_csim  # needs a compiler and headers only here

    count = len(stimulus.images)
    inputs = b"".join(stimulus.packed(frame) for frame in range(count))
    result = run_csim(
        build.directory, program.to_bytes(), program.weights, inputs, count, trace=True, progress=progress
    )
    return Frames(result.output, result.trace, count, result.compile_seconds, result.run_seconds, count)


def _run_rtl(
    build: Build,
    program: Program,
    stimulus: Stimulus,
    memory: rtl.Memory | None,
    waves: Path | None,
    dut: str,
    measure: bool,
    progress: Progress,
) -> tuple[Frames, dict[str, Any]]:
    """Frames and measurements. Traced frames first; then, with ``measure``, one frame alone and all of them, untraced:
    tracing takes time of the machine's own memory port."""
    count = len(stimulus.images)
    inputs = b"".join(stimulus.packed(frame) for frame in range(count))
    traced = min(count, TRACED_FRAMES) if measure else count
    runs = [rtl.Run(traced, trace=True)]
    if measure:
        runs += [rtl.Run(1)] + [rtl.Run(count)] * (count > 1)
    result = rtl.run_rtl(
        build.directory,
        program.to_bytes(),
        program.weights,
        inputs,
        runs,
        memory=memory,
        waves=waves,
        dut=dut,
        progress=progress,
    )
    first, last = result.outcomes[0], result.outcomes[-1]
    untraced = last.output if measure else b""
    output = first.output if traced == count else untraced
    timing = (result.compile_seconds, result.run_seconds)
    frames = Frames(output, first.trace, count, *timing, traced, untraced)
    errors = [rtl.error_text(outcome.measured["error"]) for outcome in result.outcomes]
    measured: dict[str, Any] = {"rtl_hash": result.rtl_hash, "errors": sorted({text for text in errors if text})}
    measured["simulated_cycles_per_second"] = round(result.cycles / result.run_seconds, 1)
    if measure:
        clock = float(build.manifest["options"]["clock_mhz"])
        slots = int(build.manifest["program"]["config"]["slots"])
        measured |= _performance(result.outcomes[1].measured, last.measured, count, slots, clock)
    return frames, measured


def steady_interval(times: Sequence[int], slots: int) -> float | None:
    """Cycles a frame between the ends of whole groups, from when each result was complete; None for few frames."""
    first = -(-WARM_UP // slots) * slots
    last = len(times) - len(times) % slots
    if len(times) < INTERVAL_FRAMES or last <= first:
        return None
    return (times[last - 1] - times[first - 1]) / (last - first)


def _performance(
    alone: dict[str, Any], steady: dict[str, Any], frames: int, slots: int, clock_mhz: float
) -> dict[str, Any]:
    """Cycles and bytes from the runs of one frame and of all frames (docs/contracts.md)."""
    interval = steady_interval(steady["result_cycles"], slots)
    queues = [queue.name.lower() for queue in Queue]
    total = sum(steady["read_bytes"]) + steady["write_bytes"]
    counted = bool(steady["busy"])  # Verilog of Vitis HLS has no counters
    stalls = dict(zip(queues, steady["waiting"], strict=counted))
    if counted:
        stalls |= dict(zip(("array_weights", "array_epilogue", "depthwise_weights"), steady["stalls"], strict=True))
    return {
        "cycles": {
            "latency": alone["result_cycles"][0],
            "interval": interval,
            "per_engine": {q: round(busy / frames, 1) for q, busy in zip(queues, steady["busy"], strict=counted)},
            "stalls": {name: round(cycles / frames, 1) for name, cycles in stalls.items()},
        },
        "bytes_per_frame": round(total / frames),
        "frames_per_second": None if not interval else round(clock_mhz * 1e6 / interval, 2),
        "clock_mhz": clock_mhz,
    }


def _trace_tensors(build: Build, graph: Graph) -> dict[str, int]:
    """Tensor -> word offset in the trace; every operator of the graph must be there."""
    offsets = {t["name"]: t["trace"] for t in build.manifest["tensors"]}
    missing = [op.y for op in graph.ops if offsets.get(op.y) is None]
    if missing:
        raise UserError(
            f"{build.directory} does not trace {', '.join(missing[:3])}: another version of hwgen made it. "
            "Run hwgen build again."
        )
    return {op.y: int(offsets[op.y]) for op in graph.ops}


def _kernel_name(build: Build, tensor: str) -> str:
    return next((k["name"] for k in build.manifest["kernels"] if k["output"] == tensor), tensor)


def _unpack(build: Build, graph: Graph, raw: Raw) -> dict[str, Codes]:
    found = {}
    for name, offset in _trace_tensors(build, graph).items() if raw.trace is not None else ():
        assert raw.trace is not None
        c, h, w = graph.tensors[name].shape
        words = -(-c // 16) * h * w
        found[name] = unpack_output(raw.trace[offset * WORD_BYTES : (offset + words) * WORD_BYTES], (c, h, w))
    found[_OUTPUT] = unpack_output(raw.output, graph.tensors[graph.output].shape)
    return found


def _differs(build: Build, graph: Graph, expected: dict[str, Codes], raw: Raw) -> str | None:
    """The first kernel, in the order of execution, whose output differs.

    None also where one tensor alone differs: then the fault may have moved its trace and nothing else.
    """
    found = _unpack(build, graph, raw)
    wrong = [op.y for op in graph.ops if not np.array_equal(expected[op.y], found[op.y])]
    if not np.array_equal(expected[graph.output], found[_OUTPUT]):
        wrong.append(_OUTPUT)
    return _kernel_name(build, wrong[0]) if len(wrong) > 1 else None


def _against_onnxruntime(
    loaded: frontend.Frontend, graph: Graph, stimulus: Stimulus, progress: Progress
) -> tuple[dict[str, Any], Codes]:
    """Equal shares for the whole network and for every quantized step on cut-out subgraphs."""
    from hwgen.backends.reference import ort  # onnxruntime is an extra

    def show(line: str) -> None:
        progress(f"ONNX Runtime: {line}", 0, 0)

    result = ort.compare(loaded.require(), graph, loaded.onnx, stimulus.floats, show)
    failing = result.failing
    report = {
        "level": "onnxruntime",
        "frames": result.frames,
        "compared": len(result.ops),
        "mismatches": len(failing),
        "exact": result.output.share == 1.0,
        "equal_share": result.output.share,
        "max_step": result.output.max_step,
        "top1_agreement": result.top1 / max(result.frames, 1),
        "ops": [
            {
                "name": name,
                "equal_share": tally.share,
                "max_step": tally.max_step,
                "values": tally.count,
                "promised_share": tally.promised,
                "kept": tally.kept,
            }
            for name, tally in result.ops.items()
        ],
        "exit_code": 1 if failing else 0,
    }
    return report, np.stack(result.outputs)
