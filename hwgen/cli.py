# SPDX-License-Identifier: Apache-2.0
"""The command line. Exit codes: 0 done, 1 a comparison differs, 2 the user's to mend, 70 a bug of hwgen, 130 Ctrl-C.

With ``--json`` the report, and nothing else, goes to standard output; all messages go to standard error.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from hwgen import __version__
from hwgen.errors import UserError

EXIT_MISMATCH = 1
EXIT_USER = 2
EXIT_BUG = 70  # EX_SOFTWARE of sysexits.h
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it

# Before NumPy is loaded: the products here are small, and threads of BLAS cost more than they give.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

app = typer.Typer(
    name="hwgen",
    help="Compile a quantized ONNX hybrid Vision Transformer to a bit-exact FPGA accelerator.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

F = TypeVar("F", bound=Callable[..., Any])

Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more; with a bug of hwgen, show the traceback.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
Json = Annotated[
    bool, typer.Option("--json", help="Print the report as JSON on standard output, and nothing else there.")
]
Calibration = Annotated[
    Path,
    typer.Option(
        "--calib",
        metavar="PATH",
        help="Calibration images: a folder of images, or .npy or .npz with float (N, C, H, W) or uint8 (N, H, W, C); "
        ".npz may also hold JPEG bytes (jpeg, offset).",
        show_default=False,
    ),
]
Method = Annotated[str, typer.Option(metavar="minmax|percentile|mse", help="How the range of each tensor is chosen.")]
Mean = Annotated[
    str | None,
    typer.Option(metavar="A,B,C", help="For image bytes: the model sees (byte / 255 - mean) / std; one a channel."),
]
Std = Annotated[str | None, typer.Option(metavar="A,B,C", help="See --mean.")]
Resize = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Resize images so that the shorter side has N pixels and cut out the middle. Default: resize to the "
        "model's height and width.",
    ),
]
TimmConfig = Annotated[
    Path | None,
    typer.Option(
        "--timm-config",
        metavar="FILE",
        help="config.json of a timm model: mean, std, crop_pct and interpolation come from it, where --mean, --std and "
        "--resize are not given.",
    ),
]
CalibrationImages = Annotated[int, typer.Option("--images", metavar="N", help="Use at most so many, evenly spread.")]
EVALUATION = (
    "a folder with one subfolder of images for each class (in the order of the names), or .npz as for --calib with "
    "label (N integers)."
)


def errors() -> Console:
    """The console for messages; made anew so that a redirected standard error is honoured."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def guarded(command: F) -> F:
    """Turn exceptions into one clear message and the exit code."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        code = 0
        try:
            command(*args, **kwargs)
            return
        except UserError as error:
            errors().print(f"hwgen: {error}", style="red", markup=False)
            code = EXIT_USER
        except KeyboardInterrupt as stop:
            said = str(stop) or "interrupted; nothing was left behind"
            errors().print(f"hwgen: {said}", style="yellow", markup=False)
            code = EXIT_INTERRUPTED
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except Exception as error:
            _report_bug(error, verbose=bool(kwargs.get("verbose")))
            code = EXIT_BUG
        raise typer.Exit(code)

    return run  # type: ignore[return-value]


def _report_bug(error: Exception, *, verbose: bool) -> None:
    console = errors()
    if verbose:
        console.print("".join(traceback.format_exception(error)), markup=False)
    lines = str(error).splitlines() or [""]
    console.print(f"hwgen: this is a bug of hwgen ({type(error).__name__}: {lines[0]})", style="red", markup=False)
    more = "" if verbose else " Run the command again with -v for the traceback, and"
    please = "Please" if verbose else "please"
    console.print(
        f"hwgen:{more} {please} report it with the command, the model if you may, and hwgen {__version__}.",
        markup=False,
    )


@contextmanager
def showing_progress(enabled: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A progress line on a terminal: the step, the time of the whole command, the time left for the step."""
    console = errors()
    text = TextColumn("{task.description}", markup=False)
    columns = (SpinnerColumn(), text, BarColumn(), TimeElapsedColumn(), TimeRemainingColumn(compact=True))
    with Progress(*columns, console=console, transient=True, disable=not (enabled and console.is_terminal)) as bar:
        task = bar.add_task("", total=None)
        begun = bar.tasks[0].start_time

        def update(what: str, done: int, total: int) -> None:
            if what != bar.tasks[0].description:
                bar.reset(task, description=what)  # else the speed of the step before would count
                bar.tasks[0].start_time = begun
            bar.update(task, completed=done, total=total or None)

        yield update


def reports() -> Console:
    """The console for reports; where it is no terminal, wide enough that tables need not fold."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=160)


def emit(report: Any, human: Callable[[], RenderableType], *, as_json: bool, quiet: bool) -> None:
    """The report: JSON on standard output, or what a person reads, or nothing with ``quiet``."""
    if as_json:
        sys.stdout.write(json.dumps(report, indent=1, allow_nan=False) + "\n")
    elif not quiet:
        reports().print(human())


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"hwgen {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    signal.signal(signal.SIGTERM, _terminate)


def _terminate(number: int, frame: object) -> None:
    """SIGTERM unwinds the stack, so that temporary folders go."""
    raise SystemExit(128 + number)


@app.command()
@guarded
def build(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="Quantized ONNX file (QDQ, opset 13 to 21).")
    ] = None,
    board: Annotated[
        str | None,
        typer.Option("--board", metavar="B", help="Name of a board (see hwgen boards) or path of a board.toml."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Folder to write; it must be new, empty or an earlier build, which is then replaced.",
        ),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(metavar="N", help="Frames that one start of the accelerator processes. Default 1.")
    ] = None,
    clock: Annotated[float | None, typer.Option(metavar="MHZ", help="Clock in MHz. Default: the board's.")] = None,
    mean: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C",
            help="With --std: the accelerator takes uint8 images, and the model sees (byte / 255 - mean) / std. "
            "One value a channel.",
        ),
    ] = None,
    std: Annotated[str | None, typer.Option(metavar="A,B,C", help="See --mean.")] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Text file with the name of each class, one a line, for the runtime. Default: what the model's "
            "metadata says, if anything.",
        ),
    ] = None,
    target_fps: Annotated[
        float | None,
        typer.Option(
            "--target-fps",
            metavar="N",
            help="Build the smallest machine whose SystemVerilog is modelled to reach N frames a second. "
            "Default: the fastest one.",
        ),
    ] = None,
    synth: Annotated[
        bool | None,
        typer.Option(
            "--synth", help="Also run Vitis HLS, if it is installed, and put what it reports into report.json."
        ),
    ] = None,
    bitstream: Annotated[
        bool | None,
        typer.Option(
            "--bitstream",
            help="Also make the bitstream of the SystemVerilog, if Vivado is installed (hours). What Vivado reports "
            "goes into report.json, the bitstream into deploy/.",
        ),
    ] = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Compile MODEL for a board and write the build folder.

    Writes manifest.json, report.json, program.bin, weights.bin, model.onnx, the Vitis HLS project hls/, the
    SystemVerilog rtl/ and its simulation sim/, the scripts for a bitstream vivado/, and what a board needs deploy/; all
    or nothing. Options may also stand in hwgen.toml in the current folder; the command line wins. Exit code 2 if the
    model is not mapped completely or does not fit the board.
    """
    from hwgen import pipeline, settings
    from hwgen.report import terminal

    given = {
        "model": model,
        "board": board,
        "output": output,
        "batch": batch,
        "clock": clock,
        "mean": settings.numbers(mean, "--mean"),
        "std": settings.numbers(std, "--std"),
        "classes": classes,
        "synth": synth,
        "bitstream": bitstream,
        "target_fps": target_fps,
    }
    options = settings.resolve(given, Path.cwd())
    with showing_progress(not quiet) as progress:
        report = pipeline.build(options, progress)
    emit(report, lambda: terminal.build(str(options.output), report), as_json=as_json, quiet=quiet)
    if verbose and not as_json and not quiet:
        reports().print(terminal.plan_details(report))


@app.command()
@guarded
def quantize(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="Float ONNX file, opset 13 to 21.", show_default=False)
    ],
    calib: Calibration,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT.onnx", help="QDQ model to write.", show_default=False)
    ],
    method: Annotated[
        str,
        typer.Option(
            metavar="minmax|percentile|mse|reconstruct", help="How ranges and weights are chosen; docs/quantize.md."
        ),
    ] = "mse",
    weights: Annotated[int, typer.Option(metavar="8|6|4", help="Bits of the weights (stored as int8).")] = 8,
    activations: Annotated[int, typer.Option(metavar="8|6", help="Bits of the activations (stored as int8).")] = 8,
    mean: Mean = None,
    std: Std = None,
    resize: Resize = None,
    timm: TimmConfig = None,
    images: CalibrationImages = 512,
    precision: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help='JSON with the bits of single layers and tensors: {"weights": {NODE: 4}, "activations": {TENSOR: 6}}. '
            "The others have --weights and --activations. hwgen sensitivity writes such files.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Draw the images at random, with this seed.", show_default=False)
    ] = None,
    steps: Annotated[int, typer.Option(metavar="N", help="Steps a block of --method reconstruct.")] = 400,
    keep_within: Annotated[
        float | None,
        typer.Option(
            "--keep-float-accuracy-within",
            metavar="POINTS",
            help="With --eval: where the top-1 is more than POINTS (of 100) below the float model's, give the most "
            "sensitive layers 8 bits until it is not. Exit code 2, nothing written, where 8 bits everywhere lose more.",
        ),
    ] = None,
    evaluation: Annotated[
        Path | None, typer.Option("--eval", metavar="DATA", help=f"Compare top-1 with the float model on: {EVALUATION}")
    ] = None,
    eval_images: Annotated[
        int, typer.Option("--eval-images", metavar="N", help="Use at most so many of --eval, evenly spread.")
    ] = 5000,
    verbose: Verbose = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Quantize the float MODEL to a QDQ ONNX file that hwgen maps whole, in integers, and ONNX Runtime runs.

    Writes OUT.onnx and OUT.json (ranges, scales, errors and what was chosen), both or neither.
    """
    from hwgen import settings
    from hwgen.quantize import QuantizeOptions, timm_config
    from hwgen.quantize import quantize as run_quantize
    from hwgen.report import terminal

    how = timm_config.preprocessing(timm, settings.numbers(mean, "--mean"), settings.numbers(std, "--std"), resize)
    options = QuantizeOptions(
        model,
        calib,
        output,
        method,
        weights,
        activations,
        how,
        images,
        seed=seed,
        steps=steps,
        precision=precision,
        evaluation=evaluation,
        evaluation_images=eval_images,
        keep_within=keep_within,
    )
    with showing_progress(not quiet) as progress:
        report = run_quantize(options, progress)
    emit(report, lambda: terminal.quantized(str(output), report, every_tensor=verbose), as_json=as_json, quiet=quiet)


@app.command()
@guarded
def sensitivity(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="Float ONNX file, opset 13 to 21.", show_default=False)
    ],
    calib: Calibration,
    evaluation: Annotated[
        Path,
        typer.Option(
            "--eval",
            metavar="DATA",
            help=f"Labelled images, others than those on which the result will be judged: {EVALUATION}",
            show_default=False,
        ),
    ],
    weights: Annotated[
        int | None,
        typer.Option(metavar="4|6", help="Bits of one layer's weights at a time. Default: 4 without --activations."),
    ] = None,
    activations: Annotated[
        int | None, typer.Option(metavar="6", help="Bits of one tensor at a time. Default: tensors are not measured.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.json", help="Write the report here.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="Draw the report: .svg, .png or .pdf; needs hwgen\\[plot].")
    ] = None,
    target_accuracy_loss: Annotated[
        float | None,
        typer.Option(
            metavar="POINTS",
            help="Choose a precision: lower the least sensitive layers as long as the top-1 is at most POINTS (of 100) "
            "below the float model's.",
        ),
    ] = None,
    target_size: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Choose a precision: lower the weights of the least sensitive layers until all weights together have "
            "SHARE of the bits that they have at 8 (0.6: 4.8 bits on average).",
        ),
    ] = None,
    precision_out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="Write the chosen precision here, for hwgen quantize --precision."),
    ] = None,
    method: Method = "mse",
    mean: Mean = None,
    std: Std = None,
    resize: Resize = None,
    timm: TimmConfig = None,
    images: CalibrationImages = 512,
    eval_images: Annotated[
        int, typer.Option("--eval-images", metavar="N", help="Use at most so many of --eval, evenly spread.")
    ] = 500,
    verbose: Verbose = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure how sensitive each layer of the float MODEL is to fewer bits, and choose the bits of each layer.

    One layer at a time has --weights (or one tensor --activations) bits, everything else 8: top-1 on --eval, and SQNR
    of the output on calibration images. With a target, the guided choice of each layer's precision; the combination
    chosen is measured, too. Files are written all or none. With -v all layers are listed.
    """
    from hwgen import settings
    from hwgen.quantize import timm_config
    from hwgen.quantize.sensitivity import SensitivityOptions
    from hwgen.quantize.sensitivity import sensitivity as run_sensitivity
    from hwgen.report import terminal

    how = timm_config.preprocessing(timm, settings.numbers(mean, "--mean"), settings.numbers(std, "--std"), resize)
    options = SensitivityOptions(
        model,
        calib,
        evaluation,
        4 if weights is None and activations is None else weights,
        activations,
        method,
        how,
        images,
        eval_images,
        output,
        plot,
        target_accuracy_loss,
        target_size,
        precision_out,
    )
    with showing_progress(not quiet) as progress:
        report = run_sensitivity(options, progress)
    emit(report, lambda: terminal.sensitivity(report, every_layer=verbose), as_json=as_json, quiet=quiet)


@app.command()
@guarded
def inspect(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="ONNX file.", show_default=False)],
    verbose: Verbose = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Show which kernel each node of MODEL goes to, or why not and what to do.

    Lists the kernels and what went into each; with -v every node. Exit code 0 if every node is mapped, else 2.
    """
    from hwgen import pipeline
    from hwgen.report import terminal

    with showing_progress(not quiet) as progress:
        progress("reading the model", 0, 0)
        coverage = pipeline.cover(model)
    report = pipeline.coverage_report(coverage)

    def show() -> RenderableType:
        return terminal.inspection(str(model), report, coverage.rows, every_node=verbose)

    emit(report, show, as_json=as_json, quiet=quiet)
    if report["unsupported"] or report["mapped"] != report["nodes"]:
        raise typer.Exit(EXIT_USER)


@app.command()
@guarded
def sim(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Build folder.", show_default=False)],
    level: Annotated[
        str,
        typer.Option(
            metavar="reference|csim|rtl|onnxruntime",
            help="reference: the NumPy machine executes the Program. csim: the emitted C++ does, compiled with g++. "
            "rtl: the emitted SystemVerilog does, cycle by cycle, compiled with Verilator. "
            "onnxruntime: compare the integer reference with ONNX Runtime instead.",
        ),
    ] = "reference",
    frames: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Frames. Default: 1, or all of --input.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="S", help="Seed of the random input and of the fault.")] = 0,
    input: Annotated[
        Path | None,
        typer.Option("--input", metavar="X.npy", help="The model's float input, (N, C, H, W). Default: random."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="Y.npy", help="Write the float output here, batch first.")
    ] = None,
    inject_fault: Annotated[
        str | None,
        typer.Option(
            "--inject-fault",
            metavar="[weights|program|table]",
            help="Flip one bit in what the machine loads (default: weights), to see that the comparison finds it.",
        ),
    ] = None,
    memory_latency: Annotated[
        int | None,
        typer.Option(min=0, max=100_000, metavar="CYCLES", help="RTL: from a request to its first beat. Default 60."),
    ] = None,
    memory_bandwidth: Annotated[
        int | None,
        typer.Option(
            min=1, max=4096, metavar="BYTES", help="RTL: bytes a cycle over all memory ports together. Default 64."
        ),
    ] = None,
    waves: Annotated[
        Path | None, typer.Option("--waves", metavar="FILE.vcd", help="RTL: write all signals here (large).")
    ] = None,
    dut: Annotated[
        str,
        typer.Option(
            metavar="hwgen|vitis",
            help="RTL: whose Verilog is simulated, hwgen's or what Vitis HLS made of the C++ (hwgen build --synth).",
        ),
    ] = "hwgen",
    verbose: Verbose = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Simulate a build and compare every tensor that leaves a kernel with the integer reference, bit for bit.

    Exit code 0 if all are equal, 1 if any differs, 2 for wrong input.
    """
    from hwgen import simulation
    from hwgen.backends.rtl.simulate import Memory
    from hwgen.report import terminal

    given = {"latency": memory_latency, "bandwidth": memory_bandwidth}
    chosen = {name: value for name, value in given.items() if value is not None}
    with showing_progress(not quiet) as progress:
        report = simulation.simulate(
            directory,
            level,
            frames=frames,
            seed=seed,
            input=input,
            output=output,
            inject_fault=inject_fault,
            memory=Memory(**chosen) if chosen else None,
            waves=waves,
            dut=dut,
            progress=progress,
        )
    emit(report, lambda: terminal.simulation(report, verbose=verbose), as_json=as_json, quiet=quiet)
    if report["exit_code"]:
        raise typer.Exit(report["exit_code"])


@app.command()
@guarded
def run(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Build folder.", show_default=False)],
    input: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="Image file, folder of images, or .npy: uint8 (N, H, W, C), int8 or float (N, C, H, W).",
            show_default=False,
        ),
    ],
    device: Annotated[
        str,
        typer.Option(
            metavar="reference|csim|rtl|pynq",
            help="pynq: this board. The others are simulated boards; the machine on them is the NumPy reference, the "
            "emitted C++, or the emitted SystemVerilog cycle by cycle. They too need pynq.",
        ),
    ] = "reference",
    output: Annotated[
        Path | None, typer.Option("--output", metavar="Y.npy", help="Write the logits here, float32, batch first.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, metavar="N", help="Frames of one start.")] = 16,
    top: Annotated[int, typer.Option(min=1, metavar="K", help="Classes to list for each image.")] = 5,
    verbose: Verbose = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run images through the runtime, as on a board, and show the best classes.

    Every device gives the same logits, bit for bit.
    """
    from hwgen import running
    from hwgen.report import terminal

    with showing_progress(not quiet) as progress:
        report = running.run(directory, input, device, output=output, batch=batch, top=top, progress=progress)
    emit(report, lambda: terminal.ran(report), as_json=as_json, quiet=quiet)


@app.command()
@guarded
def count(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Build folder.", show_default=False)],
    verbose: Verbose = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Count what the SystemVerilog of a build needs, with Yosys, and put it into report.json.

    LUT, FF, DSP48E2, BRAM36 and CARRY8, in total and for each module, beside the estimate and the board's limits. Takes
    minutes. Exit code 0 also where the count is above a limit: the report says so.
    """
    from hwgen import counting
    from hwgen.report import terminal

    with showing_progress(not quiet) as progress:
        report = counting.count(directory, progress)
    emit(report, lambda: terminal.counted(report, every_module=verbose), as_json=as_json, quiet=quiet)


@app.command()
@guarded
def boards(verbose: Verbose = False, quiet: Quiet = False, as_json: Json = False) -> None:
    """List the boards that come with hwgen. With -v also where the figures come from."""
    from hwgen.board import board_names, load_board
    from hwgen.report import terminal

    entries = [load_board(name).to_dict() for name in board_names()]
    emit(entries, lambda: terminal.boards(entries), as_json=as_json, quiet=quiet)
    if verbose and not as_json and not quiet:
        rows = [(b["name"], section, source) for b in entries for section, source in b["sources"].items()]
        reports().print(terminal.table("Sources", ("board", "section", "source"), rows))


@app.command()
@guarded
def doctor(verbose: Verbose = False, quiet: Quiet = False, as_json: Json = False) -> None:
    """Show which tools are here, what each is for and how to get it. Exit code 2 if a needed one is missing."""
    from hwgen.doctor import examine
    from hwgen.report import terminal

    entries = examine()
    emit(entries, lambda: terminal.doctor(entries), as_json=as_json, quiet=quiet)
    if verbose and not as_json and not quiet:
        rows = [(e["name"], e["path"]) for e in entries if e["found"]]
        reports().print(terminal.table("Paths", ("tool", "path"), rows))
    if any(e["needed"] and not e["found"] for e in entries):
        raise typer.Exit(EXIT_USER)


zoo = typer.Typer(
    name="zoo",
    help="Float models to start from, in PyTorch: EfficientViT b0 to b3, and tiny for images of about 32 pixels.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(zoo)

ZooName = Annotated[str, typer.Argument(metavar="tiny|b0|b1|b2|b3", help="Model.", show_default=False)]


@zoo.command("export")
@guarded
def zoo_export(
    name: ZooName,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT.onnx", help="ONNX model to write.", show_default=False)
    ],
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Weights: model.pt of hwgen zoo train, or a checkpoint of timm (.safetensors, .pth, .bin) or MIT "
            "(.pt). Default: random.",
        ),
    ] = None,
    classes: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Classes. Default: the checkpoint's, else 1000.")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Height and width of the images in pixels. Default: what the checkpoint was trained at here, else 224 "
            "(tiny: 32).",
        ),
    ] = None,
    channels: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Channels of the images. Default: the checkpoint's, else 3.")
    ] = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write a float model as ONNX, for hwgen quantize.

    Batch norms are folded; batch 1, opset 17.
    """
    from hwgen.report import terminal
    from hwgen.zoo.export import ExportOptions, export

    with showing_progress(not quiet) as progress:
        progress("exporting", 0, 0)
        report = export(ExportOptions(name, output, checkpoint, classes, channels, size))
    emit(report, lambda: terminal.exported(report), as_json=as_json, quiet=quiet)


@zoo.command("train")
@guarded
def zoo_train(
    name: ZooName,
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            metavar="PATH",
            help="Training images: a folder with a subfolder for each class, or .npz with labels and either images "
            "(uint8 (N, H, W, C)) or JPEG bytes (jpeg, offset).",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="RUN", help="Folder of the run.", show_default=False)
    ],
    test: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Test images, to measure on after each epoch.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in RUN after its last epoch.")] = False,
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Weights to start from, as in hwgen zoo export. Default: random."),
    ] = None,
    epochs: Annotated[int, typer.Option(metavar="N", help="Passes over the training images.")] = 10,
    batch: Annotated[int, typer.Option(metavar="N", help="Images of one step.")] = 128,
    optimizer: Annotated[
        str, typer.Option(metavar="adamw|sgd", help="Optimizer; its rate falls as a cosine.")
    ] = "adamw",
    lr: Annotated[
        float | None,
        typer.Option(metavar="X", help="Learning rate. Default: 0.002 (adamw) or 0.1 (sgd), times batch / 128."),
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option(metavar="X", help="Weight decay. Default: 0.05 (adamw) or 0.0005 (sgd).")
    ] = None,
    label_smoothing: Annotated[float, typer.Option(metavar="X", help="Label smoothing.")] = 0.1,
    ema: Annotated[
        float, typer.Option(metavar="X", help="Keep a moving average of the weights with this decay, such as 0.999.")
    ] = 0.0,
    crop: Annotated[int, typer.Option(metavar="N", help="Shift images by up to N pixels of 32.")] = 4,
    flip: Annotated[bool, typer.Option("--flip/--no-flip", help="Mirror images, left to right.")] = True,
    size: Annotated[
        int | None, typer.Option(metavar="N", help="Height and width in pixels. Default: 224 (tiny: 32).")
    ] = None,
    channels: Annotated[int, typer.Option(metavar="N", help="Channels of the images.")] = 3,
    images: Annotated[int | None, typer.Option(metavar="N", help="Train on the first N images. Default: all.")] = None,
    mean: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C",
            help="The model sees (byte / 255 - mean) / std; one value a channel. Default: of the training images.",
        ),
    ] = None,
    std: Annotated[str | None, typer.Option(metavar="A,B,C", help="See --mean.")] = None,
    teacher: Annotated[
        str | None,
        typer.Option(metavar="NAME:FILE", help="Learn also from this model of the zoo with this checkpoint."),
    ] = None,
    teacher_onnx: Annotated[
        Path | None,
        typer.Option(
            "--teacher-onnx",
            metavar="FILE",
            help="Learn also from this classifier, run by ONNX Runtime. It sees the same images, normalized alike, "
            "resized to its own size.",
        ),
    ] = None,
    temperature: Annotated[float, typer.Option(metavar="T", help="Of the distillation.")] = 2.0,
    distillation: Annotated[float, typer.Option(metavar="X", help="Share of the teacher in the loss, 0 to 1.")] = 0.5,
    seed: Annotated[int, typer.Option(metavar="S", help="Of weights, order and augmentation.")] = 0,
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="CPU threads. Another number gives other roundings.")
    ] = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train a model on labelled images, on the CPU.

    RUN receives model.pt (weights, for hwgen zoo export), metrics.jsonl (a line an epoch), settings.json and state.pt
    (for --resume), after every epoch. A run that is interrupted and resumed ends with the same bits as one that is not.
    """
    from hwgen import settings
    from hwgen.report import terminal
    from hwgen.zoo.training import TrainOptions, train

    options = TrainOptions(
        name,
        data,
        output,
        test=test,
        checkpoint=checkpoint,
        epochs=epochs,
        batch=batch,
        optimizer=optimizer,
        learning_rate=lr,
        weight_decay=weight_decay,
        label_smoothing=label_smoothing,
        ema=ema,
        crop=crop,
        flip=flip,
        image_size=size,
        channels=channels,
        images=images,
        mean=settings.numbers(mean, "--mean"),
        std=settings.numbers(std, "--std"),
        teacher=teacher,
        teacher_onnx=teacher_onnx,
        temperature=temperature,
        distillation=distillation,
        seed=seed,
        threads=threads,
        resume=resume,
    )
    with showing_progress(not quiet) as progress:
        report = train(options, progress)
    emit(report, lambda: terminal.trained(report), as_json=as_json, quiet=quiet)


def with_default_fault(arguments: list[str]) -> list[str]:
    """``--inject-fault`` alone means weights: the value is optional, which the option parser does not know."""
    result = []
    for index, argument in enumerate(arguments):
        result.append(argument)
        following = arguments[index + 1] if index + 1 < len(arguments) else "-"
        if argument == "--inject-fault" and following not in ("weights", "program", "table"):
            result[-1] = "--inject-fault=weights"
    return result


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    try:
        app(args=with_default_fault(sys.argv[1:] if arguments is None else arguments), prog_name="hwgen")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1 if stop.code else 0
    except KeyboardInterrupt:
        errors().print("hwgen: interrupted", style="yellow")
        return EXIT_INTERRUPTED
    return 0
