# SPDX-License-Identifier: Apache-2.0
"""Runs an accelerator of hwgen on a board, from Python, by PYNQ.

    from hwgen.runtime import Accelerator      # on the board: from hwgen_runtime import Accelerator
    with Accelerator("deploy/") as net:        # loads the overlay, checks hashes and versions, uploads weights once
        logits = net(images)                   # uint8 (N, H, W, 3), or int8 or float (N, C, H, W); any N

This file needs Python 3.10, numpy (1.x or 2.x) and pynq, nothing of the compiler. ``hwgen build`` copies it as
``hwgen_runtime.py`` into the folder ``deploy/``. docs/runtime.md is the manual, docs/machine.md the register map.

Threads: every method of an Accelerator may be called by any thread. One thread of its own uses the registers and the
buffers; it takes what is submitted in order, fills the next input buffer while the machine runs, and starts the machine
again before it reads the results of the last start.
"""

from __future__ import annotations

import asyncio
import atexit
import hashlib
import json
import queue
import threading
import time
import warnings
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures import wait as wait_for
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

try:
    import pynq
except ImportError as error:  # the message comes when a device is needed
    pynq = None
    _NO_PYNQ: ImportError | None = error
else:
    _NO_PYNQ = None

__all__ = [
    "Accelerator",
    "AcceleratorError",
    "AcceleratorTimeout",
    "DeployError",
    "Handle",
    "HwgenDriver",
    "InputError",
    "MachineError",
    "MemoryExhausted",
    "OverlayError",
    "Profile",
    "image_files",
    "read_deploy",
]

FORMAT = "hwgen deploy"
FORMAT_VERSION = 1
PROGRAM_VERSION = 3
PROGRAM_MAGIC = 0x4E475748
WORD_BYTES = 16
LANES = 16

RTL_IP = "hwgen:rtl:hwgen_top:1.0"
HLS_IP = "xilinx.com:hls:hwgen_top:1.0"

# Registers (docs/machine.md); pointers are 64 bit, low half first
CONTROL = 0x00
POINTERS = {
    "program": 0x10,
    "weights0": 0x1C,
    "weights1": 0x28,
    "weights2": 0x34,
    "weights3": 0x40,
    "input": 0x4C,
    "output": 0x58,
    "trace": 0x64,
}
GLOBAL_INTERRUPT = 0x04
INTERRUPT_ENABLE = 0x08
INTERRUPT_STATUS = 0x0C
FRAMES = 0x70
TRACE_ENABLE = 0x78
ERROR = 0x100
CYCLES = 0x104
FRAMES_DONE = 0x108
COUNTERS = 0x110
START, DONE, IDLE = 1, 2, 4

QUEUES = ("weights", "head", "input", "array", "depthwise", "eltwise", "attention", "mlp", "store")
ERRORS = {
    0: "the header of the Program is not for this machine",
    1: "an opcode is unknown to its queue",
    2: "an address lies outside a pad, the vector memory or a ring",
    3: "an address lies outside the weights, a frame or the Program",
    4: "a read of the memory failed",
    5: "a write to the memory failed",
    6: "nothing moved any more",
}

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".webp")
SLEEP_SECONDS = 50e-6
"""Shortest sleep between two looks at the control register."""
INTERRUPT_SECONDS = 0.1
"""Longest wait for an interrupt until the control register is looked at."""
LOST_INTERRUPTS = 3
"""So many starts in a row that ended without an interrupt, and polling takes over."""
LOOK_SECONDS = 1e-3
"""Longest sleep after which the next images are looked for, while a start surely still runs."""


class AcceleratorError(RuntimeError):
    """Whatever goes wrong here; the subclasses say what."""


class DeployError(AcceleratorError):
    """The deploy folder is incomplete, altered, or from another version."""


class OverlayError(AcceleratorError):
    """The bitstream cannot be loaded or is not of this build."""


class InputError(AcceleratorError):
    """Images of the wrong shape or type."""


class MemoryExhausted(AcceleratorError):
    """No contiguous memory (CMA) is left."""


class MachineError(AcceleratorError):
    """The machine has set error bits."""


class AcceleratorTimeout(AcceleratorError):
    """The machine, or a result, did not come in time."""


def error_text(bits: int) -> str:
    """The error register in words; "none" where it is 0."""
    return "; ".join(text for bit, text in ERRORS.items() if bits >> bit & 1) or "none"


# --------------------------------------------------------------------------------------------------------------------
# The deploy folder


@dataclass(frozen=True)
class Deploy:
    """A checked deploy folder: deploy.json and the two files that the machine reads."""

    folder: Path
    description: dict[str, Any]
    program: bytes
    weights: bytes

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W)"""
        channels, height, width = self.description["input"]["shape"]
        return int(channels), int(height), int(width)

    @property
    def takes_images(self) -> bool:
        """Whether the accelerator takes uint8 images; else int8 codes."""
        return bool(self.description["input"]["format"] == "uint8")

    @property
    def row_bytes(self) -> int:
        """Bytes of an image row in the input buffer."""
        channels, _, width = self.input_shape
        return -(-width * channels // WORD_BYTES) * WORD_BYTES

    def words(self, buffer: str) -> int:
        """16-byte words of a frame in the buffer "input", "output" or "trace"."""
        return int(self.description["frame"][f"{buffer}_words"])


def read_deploy(folder: str | Path) -> Deploy:
    """Read and check a folder that ``hwgen build`` wrote; raises DeployError."""
    folder = Path(folder)
    again = "Copy the deploy folder of the build again, as a whole."
    try:
        description = json.loads((folder / "deploy.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise DeployError(f"{folder} is no deploy folder: deploy.json: {error.strerror or error}. {again}") from error
    except ValueError as error:
        raise DeployError(f"{folder / 'deploy.json'} is damaged ({error}). {again}") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise DeployError(f"{folder / 'deploy.json'} was not written by hwgen build. {again}")
    if description.get("format_version") != FORMAT_VERSION:
        raise DeployError(
            f"{folder} has format version {description.get('format_version')}; this runtime reads {FORMAT_VERSION}. "
            "Use the hwgen_runtime.py of the same folder."
        )
    try:
        program, weights = (_checked_file(folder, description["files"][name], name) for name in _FILES)
        deploy = Deploy(folder, description, program, weights)
        _check_program(deploy)
        if deploy.words("input") * WORD_BYTES != deploy.input_shape[1] * deploy.row_bytes:
            raise ValueError(f"a frame of {deploy.words('input')} words is not an image {deploy.input_shape}")
    except (KeyError, TypeError, ValueError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise DeployError(f"{folder / 'deploy.json'} is damaged ({reason}). {again}") from error
    return deploy


_FILES = ("program.bin", "weights.bin")


def _checked_file(folder: Path, stated: dict[str, Any], name: str) -> bytes:
    try:
        data = (folder / name).read_bytes()
    except OSError as error:
        raise DeployError(
            f"cannot read {folder / name}: {error.strerror or error}. Copy the deploy folder of the build again."
        ) from error
    if len(data) != stated["bytes"] or hashlib.sha256(data).hexdigest() != stated["sha256"]:
        raise DeployError(
            f"{folder / name} is stale: it is not the file that deploy.json was written with ({len(data)} bytes, "
            f"{stated['bytes']} expected). Copy program.bin, weights.bin and deploy.json of one build together."
        )
    return data


def _check_program(deploy: Deploy) -> None:
    header = np.frombuffer(deploy.program[:32], "<u4")
    if len(header) != 8 or int(header[0]) != PROGRAM_MAGIC:
        raise DeployError(f"{deploy.folder / 'program.bin'} is no Program. Copy the deploy folder again.")
    if int(header[1]) != PROGRAM_VERSION:
        raise DeployError(
            f"{deploy.folder / 'program.bin'} has Program version {int(header[1])}; this runtime knows "
            f"{PROGRAM_VERSION}. Use the hwgen_runtime.py of the same folder."
        )
    if int(header[7]) != deploy.description["machine"]["config_hash"] or int(header[3]) != len(deploy.weights):
        raise DeployError(
            f"program.bin, weights.bin and deploy.json in {deploy.folder} are not of one build. "
            "Copy the deploy folder of the build again, as a whole."
        )


# --------------------------------------------------------------------------------------------------------------------
# The IP

_DefaultIP: Any = object if pynq is None else pynq.DefaultIP


class HwgenDriver(_DefaultIP):  # type: ignore[misc]  # pynq has no types
    """Registers of one accelerator. PYNQ binds it by itself to the IP of an overlay."""

    bindto = [RTL_IP, HLS_IP]  # noqa: RUF012  # PYNQ wants it so

    def __init__(self, description: dict[str, Any]) -> None:
        super().__init__(description)
        self.has_counters = description["type"].rpartition(":")[0] == RTL_IP.rpartition(":")[0]
        """The HLS machine decodes 7 address bits: a look at 0x100 would read, and clear, the control register."""
        self._done = False

    def renew_interrupt(self) -> _Interrupt | None:
        """Enable the interrupt and wait by it; None where PYNQ has none. After each load of the bitstream.

        PYNQ makes an attribute ``interrupt`` where the .hwh shows the pin behind an AXI interrupt controller; it is
        None where the kernel has no UIO device for that.
        """
        if getattr(self, "interrupt", None) is None:
            return None
        try:
            made = type(self.interrupt)(self._interrupts["interrupt"]["fullpath"])
        except ValueError:  # no UIO device any more
            return None
        self.write(INTERRUPT_ENABLE, 1)  # on done
        self.write(GLOBAL_INTERRUPT, 1)
        self.clear_interrupt()
        return _Interrupt(made)

    def clear_interrupt(self) -> None:
        """Lower the interrupt, if it is up."""
        status = int(self.read(INTERRUPT_STATUS))
        if status:
            self.write(INTERRUPT_STATUS, status)  # toggles

    def point(self, name: str, address: int) -> None:
        """Write one of POINTERS; holds for the next start."""
        self.write(POINTERS[name], int(address) & 0xFFFFFFFF)
        self.write(POINTERS[name] + 4, int(address) >> 32)

    def start(self, frames: int, trace: bool = False) -> None:
        """Start the machine; raises AcceleratorTimeout where it still runs."""
        if not self.idle():
            raise AcceleratorTimeout(
                f"the accelerator still runs what was started before. {self.status()} "
                "Call recover() to load the bitstream again."
            )
        self.write(FRAMES, int(frames))
        self.write(TRACE_ENABLE, int(trace))
        self._done = False
        self.write(CONTROL, START)

    def _control(self) -> int:
        """The control register; a read clears its done bit, which is kept here."""
        value = int(self.read(CONTROL))
        if value & DONE:
            self._done = True
        return value

    def done(self) -> bool:
        """Whether the last start has ended."""
        return self._done or bool(self._control() & DONE)

    def idle(self) -> bool:
        """Whether a start would be taken."""
        return bool(self._control() & IDLE)

    def error(self) -> int:
        """Error bits of the last start; 0 where the machine has no such register."""
        return int(self.read(ERROR)) if self.has_counters else 0

    def counters(self) -> dict[str, Any] | None:
        """``cycles``, ``frames`` and each queue's ``busy`` and ``waiting`` cycles; None where there are no counters."""
        if not self.has_counters:
            return None
        queues = {
            name: {"busy": int(self.read(COUNTERS + 8 * q)), "waiting": int(self.read(COUNTERS + 8 * q + 4))}
            for q, name in enumerate(QUEUES)
        }
        return {"cycles": int(self.read(CYCLES)), "frames": int(self.read(FRAMES_DONE)), "queues": queues}

    def status(self) -> str:
        """Registers in words, for messages."""
        control = self._control()
        names = {0: "start", 1: "done", 2: "idle", 3: "ready", 7: "auto_restart", 9: "interrupt"}
        shown = ", ".join(name for bit, name in names.items() if control >> bit & 1) or "no bit set"
        text = f"Control register 0x{control:x} ({shown})"
        counters = self.counters()
        if counters is None:
            return f"{text}; error bits and counters are not available (HLS machine)."
        error = self.error()
        queues = ", ".join(f"{name} {c['busy']}/{c['waiting']}" for name, c in counters["queues"].items())
        return (
            f"{text}; error register 0x{error:x} ({error_text(error)}); {counters['cycles']} cycles since the start, "
            f"{counters['frames']} frames done; busy/waiting cycles: {queues}."
        )


_loops: list[asyncio.AbstractEventLoop] = []
_making_loop = threading.Lock()


def _interrupt_loop() -> asyncio.AbstractEventLoop:
    """An event loop in a thread of its own, one a process: PYNQ's interrupts belong to the loop they were made in."""
    with _making_loop:
        if not _loops:
            _loops.append(asyncio.new_event_loop())
            threading.Thread(target=_loops[0].run_forever, name="hwgen interrupts", daemon=True).start()
        return _loops[0]


def _in_interrupt_loop(function: Callable[[], Any]) -> Any:
    """Call a function there, and wait."""

    async def called() -> Any:
        return function()

    return asyncio.run_coroutine_threadsafe(called(), _interrupt_loop()).result()


class _Interrupt:
    """Waits, in a thread, for an interrupt of PYNQ or for :meth:`wake`."""

    def __init__(self, made: Any) -> None:
        self._made = made
        self._event = threading.Event()
        self._watch: Future[None] | None = None

    def wait(self, seconds: float) -> bool:
        """Until the interrupt or a wake, or the end of the time: then False."""
        if self._watch is None or self._watch.done():
            self._watch = asyncio.run_coroutine_threadsafe(self._watched(), _interrupt_loop())
        woken = self._event.wait(seconds)
        self._event.clear()
        return woken

    async def _watched(self) -> None:
        await self._made.wait()
        self._event.set()

    def wake(self) -> None:
        """End a wait. May be called by any thread."""
        self._event.set()

    def cancel(self) -> None:
        """Wait no more."""
        if self._watch is not None:
            self._watch.cancel()


@dataclass(frozen=True)
class Profile:
    """What the last start took. ``str()`` of it is a table."""

    frames: int
    seconds: float
    """Seen by Python: from the start to the look that found it done."""
    clock_mhz: float
    """The clock that the build is for; the seconds of the counters rest on it."""
    cycles: int | None
    """None: not available (the HLS machine and some simulated devices count nothing)."""
    queues: dict[str, dict[str, int]] | None
    """For each queue cycles in which its engine was busy, and in which its next command waited for others."""

    @property
    def frames_per_second(self) -> float | None:
        """From cycles and clock; None where there are no counters."""
        return None if not self.cycles else self.frames * self.clock_mhz * 1e6 / self.cycles

    def __str__(self) -> str:
        head = f"{self.frames} frames in {self.seconds * 1e3:.3f} ms as Python saw it"
        if self.cycles is None or self.queues is None:
            return f"{head}; cycle counters: not available"
        rate = f"{self.cycles} cycles, {self.frames_per_second:.1f} frames/s at {self.clock_mhz:g} MHz"
        rows = [f"{name:<10} {c['busy']:>12} {c['waiting']:>12}" for name, c in self.queues.items()]
        return "\n".join([f"{head}; {rate}", f"{'queue':<10} {'busy':>12} {'waiting':>12}", *rows])


def image_files(path: str | Path) -> list[Path]:
    """The images of a folder in the order of their names, or the file itself; raises InputError for an empty folder."""
    path = Path(path)
    if not path.is_dir():
        return [path]
    found = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_ENDINGS)
    if not found:
        raise InputError(f"{path} holds no images ({', '.join(IMAGE_ENDINGS)}).")
    return found


def _read_image(file: Path, channels: int, height: int, width: int) -> np.ndarray[Any, Any]:
    """One image file as uint8 (height, width[, channels]), by Pillow or OpenCV; raises InputError."""
    pillow: Any = None
    try:
        import PIL.Image

        pillow = PIL.Image
    except ImportError:
        pass
    if pillow is not None:
        try:
            with pillow.open(file) as opened:
                image = opened.convert("RGB" if channels == 3 else "L")
                return np.asarray(image.resize((width, height), pillow.BILINEAR), np.uint8)
        except Exception as error:  # Pillow's formats raise others than OSError too
            raise InputError(f"{file} is no image that Pillow reads ({error}).") from error
    try:
        import cv2
    except ImportError as error:
        raise InputError("image files need Pillow or OpenCV: pip install pillow. Or give arrays.") from error
    read = cv2.imread(str(file), cv2.IMREAD_COLOR if channels == 3 else cv2.IMREAD_GRAYSCALE)
    if read is None:
        raise InputError(f"{file} is no image that OpenCV reads.")
    resized = cv2.resize(read, (width, height), interpolation=cv2.INTER_LINEAR)
    pixels: np.ndarray[Any, Any] = resized[..., ::-1] if channels == 3 else resized
    return pixels


# --------------------------------------------------------------------------------------------------------------------
# The accelerator


@dataclass
class _Job:
    """Images of one submit, and what became of them."""

    images: np.ndarray[Any, Any]
    """Channels last, (N, H, W, C): uint8, int8 or float32"""
    future: Future[Any]
    result: np.ndarray[Any, Any]
    trace: dict[str, Any] | None = None
    """The tensor to dump, instead of the output; one frame a start."""
    taken: int = 0
    finished: int = 0
    running: bool = False
    """With a trace: the machine may write it, or the worker read it."""
    abandoned: bool = False
    """With a trace: nobody waits any more, and no frame of it may be started."""


@dataclass
class _Batch:
    """Frames of one start."""

    job: _Job
    first: int
    frames: int
    set: int = 0
    """Which of the two input and output buffers."""
    started: float = 0.0
    download: int = 0
    """Which load of the bitstream it runs on."""


class Handle:
    """Images on their way; also awaitable in asyncio."""

    def __init__(self, future: Future[Any], describe: Any) -> None:
        self._future = future
        self._describe = describe

    def done(self) -> bool:
        """Whether :meth:`result` would return, or raise, at once."""
        return self._future.done()

    def result(self, timeout: float | None = None) -> Any:
        """The result. Raises AcceleratorTimeout after ``timeout`` seconds (the images stay on their way), and whatever
        went wrong with the images."""
        try:
            return self._future.result(timeout)
        except FutureTimeout:
            if self._future.done():  # the error of the images themselves
                raise
            raise AcceleratorTimeout(f"no result within {timeout:g} s. {self._describe()}") from None

    def __await__(self) -> Generator[Any, None, Any]:
        return asyncio.wrap_future(self._future).__await__()


@dataclass
class _Buffers:
    """Everything in contiguous memory."""

    allocated: dict[int, Any] = field(default_factory=dict)
    """By id: a buffer is an array, which has no order and no hash."""
    program: Any = None
    weights: Any = None
    input: list[Any] = field(default_factory=list)
    output: list[Any] = field(default_factory=list)


class Accelerator:
    """A loaded accelerator. Close it, or use it in a ``with`` block: contiguous memory is scarce.

    Args:
        folder: the deploy folder, with hwgen.bit and hwgen.hwh.
        device: a ``pynq.Device``; None is the board's own.
        batch: frames of one start; two input and two output buffers hold so many.
        timeout: seconds that one start may take.
        download: False expects that the bitstream is loaded already.
        check: run one frame at once, to see that the bitstream executes this Program.

    Raises DeployError, OverlayError, MemoryExhausted.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        device: Any = None,
        batch: int = 16,
        timeout: float = 10.0,
        download: bool = True,
        check: bool = True,
    ) -> None:
        if batch < 1 or timeout <= 0:
            raise ValueError(f"batch {batch} and timeout {timeout} must be above 0")
        if pynq is None:
            raise OverlayError(
                f"pynq cannot be imported ({_NO_PYNQ}). On the board run this in PYNQ's own Python; elsewhere only "
                "simulated devices can be used: pip install 'hwgen[board]' in an environment of its own."
            ) from _NO_PYNQ
        self._deploy = read_deploy(folder)
        slots = int(self._deploy.description["machine"]["slots"])
        self._batch = -(-batch // slots) * slots
        self._timeout = timeout
        self._table = self._dequantization()
        self._closed = self._freed = False
        self._profile: Profile | None = None
        self._frame_seconds = 0.0
        self._downloads = 0
        self._buffers = _Buffers()
        self._pixels: list[np.ndarray[Any, Any]] = []
        """The input buffers as images, without the padding of their rows; views."""
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._job: _Job | None = None
        self._gate = threading.Lock()
        """Held while the queue or ``_closed`` changes, for a moment only."""
        self._memory = threading.Lock()
        """Held while contiguous memory is taken or given back."""
        self._dumping = threading.Lock()
        """Held by a dump: one at a time, and nothing is freed under it."""
        self._lock = threading.RLock()
        """Held while the machine is used, as long as a start takes."""
        self._overlay, self.driver = self._load(device, download)
        self._interrupt: _Interrupt | None = None
        self._lost = 0
        """Starts in a row that ended without an interrupt."""
        try:
            self._renew_interrupt()
            self._allocate_all()
            if check:
                self._check_machine()
        except BaseException:  # Ctrl-C too, while the first frame runs
            self._end()
            raise
        self._worker = threading.Thread(target=self._serve, name="hwgen accelerator", daemon=True)
        self._worker.start()
        atexit.register(self.close)

    # What it is

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        return self._deploy.input_shape

    @property
    def batch(self) -> int:
        """Frames of one start: what was asked for, rounded up to whole groups of frames in flight."""
        return self._batch

    @property
    def waits_for(self) -> str:
        """How the end of a start is noticed: "interrupt" or "polling"."""
        return "polling" if self._interrupt is None else "interrupt"

    @property
    def classes(self) -> list[str] | None:
        """Class names, where the build knows them."""
        names = self._deploy.description.get("classes")
        return None if names is None else list(names)

    @property
    def tensors(self) -> list[str]:
        """Tensors that leave a kernel: what :meth:`dump` knows."""
        return [t["name"] for t in self._deploy.description["tensors"]]

    # Running

    def __call__(self, images: Any) -> np.ndarray[Any, Any]:
        """Run images and wait; see :meth:`submit`."""
        result: np.ndarray[Any, Any] = self.submit(images).result()
        return result

    def submit(self, images: Any) -> Handle:
        """Put images in the queue; the handle's result is float32, the model's output with N images.

        ``images``: uint8 (N, H, W, C) where the build takes images, int8 codes (N, C, H, W) where it takes codes, or
        the model's own floats (N, C, H, W), which are rounded to what the accelerator takes. They must not be changed
        until the result is there. Raises InputError.
        """
        prepared = self._prepare(images)
        shape = (len(prepared), *self._deploy.description["output"]["model_shape"][1:])
        return self._enqueue(_Job(prepared, Future(), np.zeros(shape, np.float32)))

    def dump(self, tensor: str, images: Any) -> np.ndarray[Any, Any]:
        """The int8 codes (N, C, H, W) of a tensor that leaves a kernel (one of :attr:`tensors`), for bring-up.

        One frame is started at a time. Raises InputError, MemoryExhausted.
        """
        found = [t for t in self._deploy.description["tensors"] if t["name"] == tensor]
        if not found:
            raise InputError(f"no tensor {tensor!r} leaves a kernel. There are: {', '.join(self.tensors)}.")
        prepared = self._prepare(images)
        job = _Job(prepared, Future(), np.zeros((len(prepared), *found[0]["shape"]), np.int8))
        with self._dumping:
            self._open()
            buffer = self._allocate((self._deploy.words("trace"), LANES), np.int8, "the trace of one frame")
            job.trace = {"offset": int(found[0]["trace"]), "buffer": buffer}
            try:
                result: np.ndarray[Any, Any] = self._enqueue(job).result()
            except BaseException:  # Ctrl-C too, while the frame runs or is queued
                self._abandon(job)
                if not job.running:  # else close() frees it
                    self._release(buffer)
                raise
            self._release(buffer)
            return result

    def load(self, files: str | Path | Sequence[str | Path]) -> np.ndarray[Any, Any]:
        """Image files, or all of a folder in the order of their names, as uint8 (N, H, W, C), resized (bilinear).

        Needs Pillow or OpenCV. Raises InputError.
        """
        if isinstance(files, (str, Path)):
            files = image_files(files)
        channels, height, width = self.input_shape
        if channels not in (1, 3):
            raise InputError(f"the model takes {channels} channels; files hold 1 or 3. Give arrays.")
        if not len(files):
            raise InputError("there are no image files to load.")
        images = [_read_image(Path(file), channels, height, width) for file in files]
        return np.stack(images).reshape(len(images), height, width, channels)

    def top(self, logits: Any, k: int = 5) -> list[list[tuple[str | int, float]]]:
        """For each image the ``k`` largest logits, as (class name or index, logit), the largest first."""
        values = np.asarray(logits)
        if values.ndim != 2 or k < 1:
            raise InputError(f"top takes logits of shape (N, classes) and k above 0, not {values.shape} and {k}")
        order = np.argsort(-values, axis=1, kind="stable")[:, :k]
        names: Sequence[str | int] = self.classes or range(values.shape[1])
        return [[(names[int(i)], float(row[i])) for i in best] for row, best in zip(values, order, strict=True)]

    def profile(self) -> Profile:
        """What the last start took. Raises AcceleratorError where nothing ran yet."""
        if self._profile is None:
            raise AcceleratorError("nothing ran yet. Run images first.")
        return self._profile

    # Ending

    def recover(self) -> None:
        """Load the bitstream again, which stops and resets the machine; for use after AcceleratorTimeout.

        Images that run at that moment fail with AcceleratorError; those that are queued run afterwards. Raises
        OverlayError.
        """
        with self._lock:
            self._open()
            self._download()

    def close(self) -> None:
        """Stop and free all contiguous memory. What runs or is queued fails with AcceleratorError.

        May be called again, also after it raised OverlayError: the machine could not be stopped, its memory is kept.
        """
        with self._gate:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
                if (interrupt := self._interrupt) is not None:
                    interrupt.wake()
        if threading.current_thread() is not self._worker:
            self._worker.join()
        with self._dumping, self._lock:
            if not self._freed:
                self._end()
                self._freed = True
                atexit.unregister(self.close)

    def __enter__(self) -> Accelerator:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # Loading

    def _load(self, device: Any, download: bool) -> tuple[Any, HwgenDriver]:
        bitstream, handoff = (self._deploy.folder / f"hwgen.{ending}" for ending in ("bit", "hwh"))
        for file in (bitstream, handoff):
            if not file.is_file():
                raise OverlayError(
                    f"{file} is missing. Put hwgen.bit and the hwgen.hwh that Vivado wrote with it into "
                    f"{self._deploy.folder}."
                )
        try:
            overlay = pynq.Overlay(str(bitstream.resolve()), download=download, device=device)
        except Exception as error:
            raise OverlayError(f"PYNQ cannot load {bitstream}: {error}. Check board, .hwh and permissions.") from error
        known = {vlnv.rpartition(":")[0] for vlnv in HwgenDriver.bindto}
        found = [n for n, ip in overlay.ip_dict.items() if (ip.get("type") or "").rpartition(":")[0] in known]
        if len(found) != 1:
            listed = ", ".join(f"{name} ({ip.get('type')})" for name, ip in overlay.ip_dict.items()) or "none"
            raise OverlayError(
                f"{bitstream} holds {len(found)} accelerators of hwgen, not one (its IP: {listed}). "
                "Use the bitstream and .hwh of this build."
            )
        description = overlay.ip_dict[found[0]]
        config = description.get("parameters", {}).get("CONFIG_HASH", "")
        stated = int(self._deploy.description["machine"]["config_hash"])
        possible = _parameter_values(str(config))
        if possible and stated not in possible:  # what cannot be read is left to the first frame
            raise OverlayError(
                f"{bitstream} is another machine (configuration {config}, the Program needs 0x{stated:08x}). "
                "Use the bitstream of this build."
            )
        if "interrupt" not in description.get("interrupts", {}):
            return overlay, self._driver(overlay, found[0])
        try:
            return overlay, _in_interrupt_loop(lambda: self._driver(overlay, found[0]))
        except (OSError, RuntimeError):  # no access to the UIO device
            return overlay, HwgenDriver({**description, "device": overlay.device, "interrupts": {}})

    @staticmethod
    def _driver(overlay: Any, name: str) -> HwgenDriver:
        driver: Any = overlay
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Interrupt .* not created")  # waits_for says so
            for part in name.split("/"):
                driver = getattr(driver, part)
            if not isinstance(driver, HwgenDriver):  # another copy of this file has bound its own
                driver = HwgenDriver(overlay.ip_dict[name])
        assert isinstance(driver, HwgenDriver)
        return driver

    def _renew_interrupt(self) -> None:
        if self._interrupt is not None:
            self._interrupt.cancel()
        self._interrupt = None
        if getattr(self.driver, "interrupt", None) is not None:
            self._interrupt = _in_interrupt_loop(self.driver.renew_interrupt)
        self._lost = 0

    def _download(self) -> None:
        try:
            self._overlay.download()
        except Exception as error:
            raise OverlayError(f"PYNQ cannot load the bitstream again: {error}. Restart the board.") from error
        if not self.driver.idle():
            raise OverlayError(
                f"the accelerator is not idle after its bitstream was loaded again. {self.driver.status()} "
                "Restart the board."
            )
        self._downloads += 1
        self._renew_interrupt()
        if self._buffers.weights is not None:  # else it is not open yet
            self._point_constants()

    def _stop(self) -> None:
        """Load the bitstream again if the machine runs: it must not write into memory that is about to be freed.

        Raises OverlayError where that fails; not for a simulated device that has ended and writes nothing.
        """
        try:
            if not self.driver.idle():
                self._download()
        except Exception as error:
            if not getattr(self._overlay.device, "ended", False):
                raise OverlayError(
                    f"the accelerator could not be stopped ({error}). Its memory is kept, because it may still write "
                    "there. close() tries again; else restart the board."
                ) from error

    def _end(self) -> None:
        """Stop the machine, then free all."""
        if self._interrupt is not None:
            self._interrupt.cancel()
        self._stop()
        self._free()

    def _abandon(self, job: _Job) -> None:
        """Start no more frames of a dump; returns when none runs."""
        job.abandoned = True  # before the look at running; _begin does both the other way round
        if job.running:
            if (interrupt := self._interrupt) is not None:
                interrupt.wake()
            wait_for([job.future])

    def _allocate(self, shape: tuple[int, ...], dtype: Any, what: str) -> Any:
        count = int(np.prod(shape)) * np.dtype(dtype).itemsize
        try:
            with self._memory:
                buffer = pynq.allocate(shape, dtype, target=self._overlay.device, cacheable=1)
                self._buffers.allocated[id(buffer)] = buffer
        except (RuntimeError, MemoryError, OSError) as error:
            raise MemoryExhausted(
                f"no {count:,} bytes of contiguous memory for {what} ({error}). Close other accelerators, use a "
                "smaller batch=, or give the kernel more with cma= in the boot arguments."
            ) from error
        np.asarray(buffer)[...] = 0
        buffer.flush()  # no dirty cache line is left that could go over what the machine writes
        return buffer

    def _release(self, buffer: Any) -> None:
        with self._memory:
            if self._buffers.allocated.pop(id(buffer), None) is not None:
                buffer.freebuffer()

    def _free(self) -> None:
        self._pixels.clear()
        for buffer in list(self._buffers.allocated.values()):
            self._release(buffer)
        self._buffers = _Buffers()

    def _allocate_all(self) -> None:
        self._buffers.program = self._upload(self._deploy.program, "the Program")
        self._buffers.weights = self._upload(self._deploy.weights, "the weights")
        channels, height, width = self.input_shape
        for _ in range(2):
            shape = (self._batch, height, self._deploy.row_bytes)
            self._buffers.input.append(self._allocate(shape, np.uint8, "input images"))
            words = self._deploy.words("output")
            self._buffers.output.append(self._allocate((self._batch, words, LANES), np.int8, "results"))
        self._pixels += [
            np.asarray(buffer)[:, :, : width * channels].reshape(self._batch, height, width, channels)
            for buffer in self._buffers.input
        ]
        self._point_constants()

    def _upload(self, data: bytes, what: str) -> Any:
        buffer = self._allocate((max(len(data), WORD_BYTES),), np.uint8, what)
        np.asarray(buffer)[: len(data)] = np.frombuffer(data, np.uint8)
        buffer.flush()
        return buffer

    def _point_constants(self) -> None:
        self.driver.point("program", self._buffers.program.device_address)
        for port in range(4):  # each port reads its stripes of the same file
            self.driver.point(f"weights{port}", self._buffers.weights.device_address)
        self.driver.point("trace", 0)

    def _check_machine(self) -> None:
        """One frame of zeros: a machine of another configuration writes nothing, whatever lay in the output buffer."""
        output = self._buffers.output[0]
        for pattern in (0x5A, 0x25):
            np.asarray(output)[0] = pattern
            output.flush()
            batch = _Batch(_Job(np.zeros(0), Future(), np.zeros(0)), 0, 1)
            self._start(batch)
            self._poll(batch, lambda: None)
            error = self.driver.error()
            if error & 1:
                raise OverlayError(f"{error_text(error)}. Use the bitstream of this build.")
            if error:
                raise MachineError(f"the first frame: {error_text(error)} (error register 0x{error:x}).")
            output.invalidate()
            if (np.asarray(output)[0] != pattern).any():
                return
        raise OverlayError("the accelerator executes nothing of this Program. Use the bitstream of this build.")

    # Images and results

    def _dequantization(self) -> np.ndarray[Any, Any]:
        """The float of each code, as ONNX's DequantizeLinear gives it; index = code as uint8."""
        quant = self._deploy.description["output"]["quant"]
        codes = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.int32)
        units = (codes - np.int32(quant["zero_point"])).astype(np.float32)
        table: np.ndarray[Any, Any] = units * np.float32(quant["scale"])
        return table

    def _prepare(self, images: Any) -> np.ndarray[Any, Any]:
        """Check images; channels last, not copied. Raises InputError."""
        array = np.asarray(images)
        channels, height, width = self.input_shape
        last, first = (height, width, channels), (channels, height, width)
        whole = "uint8 images" if self._deploy.takes_images else "int8 codes"
        expected = last if self._deploy.takes_images else first
        takes = f"This build takes {whole} of shape (N, {', '.join(map(str, expected))})"
        takes += f", or the model's floats (N, {', '.join(map(str, first))})."
        if array.dtype == np.uint8 and not self._deploy.takes_images:
            raise InputError(f"uint8 images for a build without normalization. {takes} Or build with --mean and --std.")
        if array.dtype.kind == "f":
            shape = first
        elif array.dtype == (np.uint8 if self._deploy.takes_images else np.int8):
            shape = expected
        else:
            raise InputError(f"images of type {array.dtype}. {takes}")
        if array.ndim == 3 and array.shape == shape:
            raise InputError(f"one image of shape {array.shape}: write images[None]. {takes}")
        if array.ndim != 4 or array.shape[1:] != shape:
            raise InputError(f"images of shape {array.shape}. {takes}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError("the images hold NaN or infinity.")
        return array if shape is last else array.transpose(0, 2, 3, 1)

    def _encode(self, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The bytes of some images, (n, H, W, C) uint8; floats are rounded to the nearest image or code."""
        if images.dtype.kind != "f":
            return images.view(np.uint8)
        floats = images.astype(np.float32)
        described = self._deploy.description["input"]
        if self._deploy.takes_images:
            mean, std = (np.array(described[key], np.float32) for key in ("mean", "std"))
            pixels: np.ndarray[Any, Any] = np.clip(np.rint((floats * std + mean) * 255), 0, 255).astype(np.uint8)
            return pixels
        quant = described["quant"]
        scaled = np.rint(floats / np.float32(quant["scale"])).astype(np.float64) + quant["zero_point"]
        codes: np.ndarray[Any, Any] = np.clip(scaled, -128, 127).astype(np.int8).view(np.uint8)
        return codes

    def _codes(self, words: np.ndarray[Any, Any], shape: Sequence[int]) -> np.ndarray[Any, Any]:
        """int8 (n, C, H, W) from words (n, words, 16) in the order [group][row][column]."""
        channels, height, width = shape
        groups = -(-channels // LANES)
        tensor = words.reshape(len(words), groups, height, width, LANES).transpose(0, 1, 4, 2, 3)
        codes: np.ndarray[Any, Any] = tensor.reshape(len(words), groups * LANES, height, width)[:, :channels]
        return codes

    # The thread that uses the machine

    def _enqueue(self, job: _Job) -> Handle:
        with self._gate:  # so that nothing comes behind the end of the queue
            self._open()
            if len(job.images):
                self._jobs.put(job)
                if (interrupt := self._interrupt) is not None:
                    interrupt.wake()  # so that they are packed while the machine runs
            else:
                job.future.set_result(job.result)
        return Handle(job.future, self.driver.status)

    def _open(self) -> None:
        if self._closed:
            raise AcceleratorError("the accelerator is closed. Open it again with Accelerator(folder).")

    def _serve(self) -> None:
        current: _Batch | None = None
        while True:
            if current is None:
                current = self._begin(self._take(wait=True))
                if current is None and self._closed:
                    break
                continue
            current = self._turn(current)
        while True:
            job = self._job
            if job is None:
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    return
            self._job = None
            if job is not None:
                self._fail(job, _stopped())

    def _turn(self, current: _Batch) -> _Batch | None:
        """Wait for a running batch, with the next one packed meanwhile and started before results are read."""
        following: list[_Batch] = []

        def pack_next() -> None:
            if not following and current.job.trace is None:  # a trace is read before its buffer is written again
                batch = self._take(wait=False)
                if batch is not None and self._pack(batch, current.set ^ 1):
                    following.append(batch)

        with self._lock:
            started: _Batch | None = None
            try:
                if current.download != self._downloads:
                    raise AcceleratorError("the bitstream was loaded again while these images ran. Run them again.")
                seconds = self._poll(current, pack_next)
                self._measure(current.frames, seconds)
                pack_next()
                error = self.driver.error()
                if following:
                    started, following = self._begin(following[0], packed=True), []
                if error:
                    raise MachineError(f"{error_text(error)} (error register 0x{error:x}).")
                self._collect(current)
                current.job.running = False
            except Exception as failure:
                self._fail_running(current.job, failure)
                if following:
                    started = self._begin(following[0], packed=True)
            return started

    def _take(self, *, wait: bool) -> _Batch | None:
        """The next frames, of the job in progress or of the next one; None where there are none or it is closed."""
        while not self._closed:
            job = self._job
            if job is None:
                try:
                    job = self._jobs.get(block=wait)
                except queue.Empty:
                    return None
                if job is None:
                    return None
            self._job = None
            if job.abandoned:
                self._fail(job, _stopped())
            if job.future.done():
                continue  # an earlier batch failed, or nobody wants it any more
            if not (job.taken or job.future.set_running_or_notify_cancel()):
                continue
            count = 1 if job.trace is not None else self._batch
            batch = _Batch(job, job.taken, min(count, len(job.images) - job.taken))
            job.taken += batch.frames
            if job.taken < len(job.images):
                self._job = job
            return batch
        return None

    def _pack(self, batch: _Batch, buffers: int) -> bool:
        """Fill an input buffer; False where that fails, the images then have failed."""
        batch.set = buffers
        try:
            frames = self._encode(batch.job.images[batch.first : batch.first + batch.frames])
            self._pixels[batch.set][: batch.frames] = frames
            self._buffers.input[batch.set][: batch.frames].flush()
        except Exception as failure:
            self._fail(batch.job, failure)
            return False
        return True

    def _begin(self, batch: _Batch | None, *, packed: bool = False) -> _Batch | None:
        """Start a batch; None where it could not be started, its images then have failed."""
        if batch is None:
            return None
        job = batch.job
        with self._lock:
            try:
                if job.future.done() or not (packed or self._pack(batch, 0)):
                    return None
                job.running = True  # before the look at abandoned; _abandon does both the other way round
                if self._closed or job.abandoned:
                    raise _stopped()
                self._start(batch)
                return batch
            except Exception as failure:
                job.running = False
                self._fail(job, failure)
                return None

    def _start(self, batch: _Batch) -> None:
        self.driver.point("input", self._buffers.input[batch.set].device_address)
        self.driver.point("output", self._buffers.output[batch.set].device_address)
        trace = batch.job.trace
        if trace is not None:
            self.driver.point("trace", trace["buffer"].device_address)
        batch.started, batch.download = time.monotonic(), self._downloads
        self.driver.start(batch.frames, trace is not None)

    def _poll(self, batch: _Batch, meanwhile: Callable[[], None]) -> float:
        """Wait for the end of a start, and call ``meanwhile`` before each look; returns seconds. Raises
        AcceleratorTimeout, and AcceleratorError where the accelerator is closed or the images are abandoned: the
        machine then still runs.

        By the interrupt where there is one. Else by sleeps, which are longer during most of what the frames took
        before, and then grow from SLEEP_SECONDS.
        """

        def go_on() -> None:
            if self._closed or batch.job.abandoned:
                raise _stopped()
            meanwhile()

        go_on()
        interrupt, started = self._interrupt, batch.started
        early = started + min(0.8 * batch.frames * self._frame_seconds, self._timeout)
        while interrupt is None and (left := early - time.monotonic()) > SLEEP_SECONDS:
            time.sleep(min(left, LOOK_SECONDS))
            go_on()
        step, woken = SLEEP_SECONDS, True
        while not self.driver.done():
            passed = time.monotonic() - started
            if passed > self._timeout:
                raise AcceleratorTimeout(
                    f"the accelerator did not finish {batch.frames} frames within {self._timeout:g} s. "
                    f"{self.driver.status()} If it runs but slowly, raise timeout=; else check that its clock runs, "
                    "and call recover() to load the bitstream again."
                )
            go_on()
            if interrupt is not None:
                woken = interrupt.wait(min(INTERRUPT_SECONDS, self._timeout))
            else:
                time.sleep(step)
                step = min(1.25 * step, max(SLEEP_SECONDS, 0.01 * passed))
        seconds = time.monotonic() - started
        if interrupt is not None:
            self._lost = 0 if woken else self._lost + 1
            self.driver.clear_interrupt()
            if self._lost == LOST_INTERRUPTS:  # they do not arrive
                interrupt.cancel()
                self._interrupt = None
        return seconds

    def _measure(self, frames: int, seconds: float) -> None:
        fresh = seconds / frames
        self._frame_seconds = fresh if not self._frame_seconds else min(self._frame_seconds * 1.1, fresh)
        counters = self.driver.counters()
        counted = counters is not None and counters["cycles"] > 0
        self._profile = Profile(
            frames,
            seconds,
            float(self._deploy.description["clock_mhz"]),
            counters["cycles"] if counted and counters else None,
            counters["queues"] if counted and counters else None,
        )

    def _collect(self, batch: _Batch) -> None:
        job = batch.job
        place = slice(batch.first, batch.first + batch.frames)
        if job.trace is not None:
            buffer = job.trace["buffer"]
            buffer.invalidate()
            channels, height, width = job.result.shape[1:]
            words = -(-channels // LANES) * height * width
            traced = np.asarray(buffer)[None, job.trace["offset"] : job.trace["offset"] + words]
            job.result[place] = self._codes(traced, job.result.shape[1:])
        else:
            buffer = self._buffers.output[batch.set][: batch.frames]
            buffer.invalidate()
            codes = self._codes(np.asarray(buffer), self._deploy.description["output"]["shape"])
            floats = self._table[np.ascontiguousarray(codes).view(np.uint8)]
            job.result[place] = floats.reshape(job.result[place].shape)
        job.finished += batch.frames
        if job.finished == len(job.images):
            with suppress(InvalidStateError):  # it has failed meanwhile
                job.future.set_result(job.result)

    def _fail(self, job: _Job, failure: Exception) -> None:
        with suppress(InvalidStateError):  # it has failed before, or was cancelled
            job.future.set_exception(failure)

    def _fail_running(self, job: _Job, failure: Exception) -> None:
        """The start did not end well. A trace is freed when its images fail, so the machine is stopped before."""
        if job.trace is not None:
            try:
                self._stop()
                job.running = False
            except OverlayError as error:
                failure = error
        self._fail(job, failure)


def _stopped() -> AcceleratorError:
    return AcceleratorError("the accelerator was closed, or a dump interrupted, before these images were done.")


def _parameter_values(text: str) -> set[int]:
    """The numbers that an integer parameter in a .hwh may mean; none where it is no number that we know.

    Vivado writes 0x00c0ffee, 00c0ffee or 12648430, as the parameter's format is, or the bits as "0b..." in quotes.
    0b12cdef may also be eight digits of the second.
    """
    text = text.strip().strip('"').lower()
    values = set()
    for base in {"0x": (16,), "0b": (2, 16)}.get(text[:2], (10, 16)):
        with suppress(ValueError):
            values.add(int(text, base) & 0xFFFFFFFF)  # an integer of Vivado may have a sign
    return values
