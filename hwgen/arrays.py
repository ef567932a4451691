# SPDX-License-Identifier: Apache-2.0
"""NumPy array files (.npy) of a user, and files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.errors import UserError


def load_array(path: Path, hint: str) -> npt.NDArray[Any]:
    """One array of at least one dimension; raises UserError, whose message ends with ``hint``."""
    try:
        array = np.load(path, allow_pickle=False)
    except MemoryError as error:
        raise UserError(f"{path} says that it holds more than the memory ({error}). {hint}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}. Check the path.") from error
    except Exception as error:  # for a damaged file numpy raises whatever zipfile, tokenize and others do
        raise UserError(f"cannot read {path} as a NumPy array file ({error}). {hint}") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise UserError(f"{path} holds several arrays. {hint}")
    if not array.ndim:
        raise UserError(f"{path} holds a single value of type {array.dtype}, not an array. {hint}")
    return array


def check_writable(path: Path) -> None:
    """Raise UserError where :func:`replacing` could not write: best said before hours of work."""
    folder, reason = path.resolve().parent, ""
    if not folder.is_dir():
        reason = "its folder does not exist. Create it or choose another path"
    elif path.is_dir():
        reason = "it is a folder. Give a path in it"
    elif not os.access(path if _special(path) else folder, os.W_OK):
        reason = "no permission. Choose another path"
    if reason:
        raise UserError(f"cannot write {path}: {reason}.")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of ``path`` when all went well and is removed otherwise.

    Raises UserError where the file system refuses.
    """
    target = path.resolve()  # a link stays one
    written = target if _special(target) else target.with_name(f"{target.name}.new")
    try:
        try:
            yield written
            if written != target:
                os.replace(written, target)
        except BaseException:
            if written != target:
                written.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}. Choose another path.") from error


def save_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write the whole file or nothing, in the place of what was there before. Raises UserError."""
    with replacing(path) as written, written.open("wb") as file:
        np.save(file, array)


def _special(path: Path) -> bool:
    """A device or a pipe, such as /dev/stdout: it is not replaced."""
    return path.exists() and not path.is_file()
