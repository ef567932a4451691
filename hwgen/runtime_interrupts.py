# SPDX-License-Identifier: Apache-2.0
"""The way of an interrupt on a simulated board: AXI interrupt controller, then a UIO device.

PYNQ's own classes are at both ends: it programs the controller over registers, and reads and writes the UIO device's
file. Here that file is a pseudo-terminal, which too can be waited for, read and written four bytes at a time.
"""

from __future__ import annotations

import os
import select
import struct
import threading
import tty
import weakref
from collections.abc import Callable


class UioDevice:
    """A UIO device's file, ``path``. Writing to it enables the interrupt, which then makes it readable once."""

    def __init__(self) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self._lock = threading.Lock()
        self._level = self._enabled = False
        self.count = 0
        """Interrupts so far."""
        stop, self._stop = os.pipe()
        thread = threading.Thread(target=_serve, args=(weakref.ref(self), self._master, stop), daemon=True)
        thread.start()
        self.close = weakref.finalize(self, _close, thread, self._stop, (self._master, self._slave, stop))
        """Who still waits for the file then sees its end. May be called again."""

    def set(self, level: bool) -> None:
        """The interrupt line."""
        with self._lock:
            self._level = level
            self._look()

    def enable(self) -> None:
        """What a write to the file does."""
        with self._lock:
            self._enabled = True
            self._look()

    def _look(self) -> None:
        if self._level and self._enabled:
            self._enabled = False  # the kernel's driver disables it until the next write
            self.count += 1
            os.write(self._master, struct.pack("=I", self.count))


def _serve(device: weakref.ref[UioDevice], master: int, stop: int) -> None:
    while True:
        ready, _, _ = select.select([master, stop], [], [])
        found = device()
        if stop in ready or found is None:
            return
        os.read(master, 4)
        found.enable()
        del found


def _close(thread: threading.Thread, stop: int, handles: tuple[int, ...]) -> None:
    os.close(stop)  # the other end becomes readable
    if thread is not threading.current_thread():
        thread.join()
    for handle in handles:
        os.close(handle)


class InterruptController:
    """An AXI INTC (PG099) with one level-sensitive input, as far as PYNQ uses it."""

    _ISR, _IPR, _IER, _IAR, _SIE, _CIE, _MER = 0x00, 0x04, 0x08, 0x0C, 0x10, 0x14, 0x1C

    def __init__(self, base: int, size: int, output: Callable[[bool], None]) -> None:
        """``output`` is called with the level of the controller's own interrupt."""
        self.base, self.size = base, size
        self._output = output
        self._lock = threading.Lock()
        self._level = False
        self._status = self._enabled = self._master = 0

    def set(self, level: bool) -> None:
        """The accelerator's interrupt pin."""
        with self._lock:
            self._level = level
            self._update()

    def read(self, offset: int) -> int:
        values = {
            self._ISR: self._status,
            self._IPR: self._status & self._enabled,
            self._IER: self._enabled,
            self._MER: self._master,
        }
        return values.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        with self._lock:
            if offset == self._IER:
                self._enabled = value
            elif offset == self._SIE:
                self._enabled |= value
            elif offset == self._CIE:
                self._enabled &= ~value
            elif offset == self._IAR:
                self._status &= ~value
            elif offset == self._MER:
                self._master = value
            self._update()

    def _update(self) -> None:
        self._status |= int(self._level)
        self._output(bool(self._master & 1 and self._status & self._enabled))
