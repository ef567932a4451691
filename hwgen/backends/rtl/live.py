# SPDX-License-Identifier: Apache-2.0
"""The Verilated machine as a process that goes on running: registers over AXI4-Lite, shared memory behind its ports.

The same binary as for ``hwgen sim --level rtl``; the protocol is in ``templates/rtl/sim/server.hpp``.
"""

from __future__ import annotations

import queue
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from hwgen.backends.rtl.simulate import Memory, compile_rtl
from hwgen.errors import InternalError, UserError

PAGE_BYTES = 4096


class LiveMachine:
    """One machine, after reset. Its clock runs between requests from a start until the machine is seen idle.

    Every method may be called by any thread, and raises InternalError where the simulation has ended, for example
    because the machine violates AXI. Raises UserError for what is missing on this computer.

    The process is in a session of its own, so that a terminal's Ctrl-C does not reach it; it ends with its standard
    input, that is with this process at the latest.
    """

    def __init__(
        self,
        build_dir: Path,
        memory: Memory | None = None,
        *,
        interrupt: Callable[[bool], None] = lambda level: None,
    ) -> None:
        """``interrupt`` is called with the level of that pin when it changes, by a thread that must not be kept.

        Compiles the machine where that was not done.
        """
        if not (build_dir / "sim" / "server.hpp").is_file():
            raise UserError(f"{build_dir} was made by an older hwgen. Run hwgen build again.")
        self.binary, self.compile_seconds = compile_rtl(build_dir)
        self._folder = tempfile.TemporaryDirectory(prefix="hwgen-live-")
        self._errors = Path(self._folder.name) / "stderr.txt"
        self._lock = threading.Lock()
        self._silent = False
        self._mapped = 0
        with self._errors.open("wb") as errors:
            self._child = subprocess.Popen(
                [str(self.binary), "--serve", *(memory or Memory()).options()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,
                start_new_session=True,
            )
        assert self._child.stdin is not None and self._child.stdout is not None
        self._requests = self._child.stdin
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        reader = threading.Thread(target=_listen, args=(self._child.stdout, self._answers, interrupt), daemon=True)
        reader.start()
        self.close = weakref.finalize(self, _end, self._child, reader, self._folder)
        """Ends the process; may be called again."""

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._child.pid

    @property
    def ended(self) -> bool:
        """Whether the process has ended: it writes nothing any more."""
        return self._silent or self._child.poll() is not None

    def read(self, offset: int) -> int:
        """A register."""
        return int(self._ask(f"read {offset}"))

    def write(self, offset: int, value: int) -> None:
        """A register; 32 bits."""
        self._ask(f"write {offset} {value & 0xFFFFFFFF}")

    def reset(self) -> None:
        """As after the bitstream is loaded; the clock runs again."""
        self._ask("reset")
        self.clock(True)

    def clock(self, runs: bool) -> None:
        """False stops clock and memory; a register access still makes its few cycles, or nobody could look."""
        self._ask(f"clock {int(runs)}")

    def map(self, base: int, size: int) -> npt.NDArray[np.uint8]:
        """Memory of whole pages from address ``base`` on, at least ``size`` bytes, of undefined contents."""
        pages = -(-max(size, 1) // PAGE_BYTES) * PAGE_BYTES
        with self._lock:
            self._mapped += 1
            file = Path(self._folder.name) / f"memory.{self._mapped}"
        shared: npt.NDArray[np.uint8] = np.memmap(file, np.uint8, "w+", shape=(pages,))
        self._ask(f"map {base} {pages} {file}")
        file.unlink()  # both have it
        return shared

    def unmap(self, base: int) -> None:
        """Afterwards nothing answers at these addresses; where the simulation has ended, nothing does already."""
        with suppress(InternalError):
            self._ask(f"unmap {base}")

    def _ask(self, request: str) -> str:
        answer = ""
        with self._lock:
            try:
                if not self._silent:
                    self._requests.write(request.encode() + b"\n")
                    answer = self._answers.get()
            except (OSError, ValueError):  # the process has ended, or close() was called
                pass
            except BaseException:  # Ctrl-C: the answer still comes, and the next one who asks would take it for his
                self._child.kill()
                self._silent = True
                raise
            self._silent = not answer
        if not answer:
            told = self._errors.read_text(errors="replace")[-2000:].strip() if self._errors.is_file() else "closed"
            raise InternalError(f"the RTL simulation has ended ({request!r}): {told}")
        return answer


def _listen(output: IO[bytes], answers: queue.SimpleQueue[str], interrupt: Callable[[bool], None]) -> None:
    """Sort what the process says: answers, and the interrupt. An empty answer is the end."""
    with output:
        for line in output:
            text = line.decode().strip()
            if text.startswith("interrupt "):
                interrupt(text.endswith("1"))
            else:
                answers.put(text)
    answers.put("")


def _end(child: subprocess.Popen[bytes], reader: threading.Thread, folder: tempfile.TemporaryDirectory[str]) -> None:
    child.kill()
    child.wait()
    if child.stdin is not None:
        child.stdin.close()
    if threading.current_thread() is not reader:
        reader.join()
    folder.cleanup()
