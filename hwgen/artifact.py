# SPDX-License-Identifier: Apache-2.0
"""The build folder: written whole or not at all, recognised by its manifest, read back for simulation."""

from __future__ import annotations

import dataclasses
import enum
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hwgen.errors import InternalError, UserError
from hwgen.plan.program import Config, Program, program_from_bytes

FORMAT = "hwgen build"
FORMAT_VERSION = 2
CONTENT = (
    *("manifest.json", "report.json", "program.bin", "weights.bin", "model.onnx"),
    *("hls", "rtl", "sim", "sim-cache", "deploy", "vivado"),
)
"""What a build folder may hold; anything else in it is the user's and keeps hwgen from replacing the folder."""


def plain(value: Any) -> Any:
    """Dataclasses, enums, paths and NumPy values as what JSON knows."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise InternalError(f"a {type(value).__name__} has no place in a JSON file")


def write_json(path: Path, value: Any) -> None:
    """Plain, readable, the same bytes for the same value; NaN and infinity are refused."""
    path.write_text(json.dumps(plain(value), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def is_build(directory: Path) -> bool:
    """Whether an earlier ``hwgen build`` made this folder (of any format version)."""
    try:
        manifest = json.loads((directory / "manifest.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.get("format") == FORMAT


def check_target(target: Path) -> None:
    """Raises UserError unless a build may be put at ``target``: absent, empty, or an earlier build and nothing else."""
    try:
        if not target.exists() and not target.is_symlink():
            ancestor = next(p for p in target.parents if p.exists())
            if not ancestor.is_dir():
                raise UserError(f"cannot write {target}: {ancestor} is not a folder. Choose another folder with -o.")
            if not _writable(ancestor):
                raise UserError(f"cannot write {target}: {ancestor} is read-only. Choose another folder with -o.")
            return
        if not target.is_dir():
            raise UserError(f"{target} is a file, not a folder. Choose another folder with -o.")
        names = sorted(p.name for p in target.iterdir())
    except OSError as error:
        raise _cannot_write(target, error) from error
    foreign = [n for n in names if n not in CONTENT] if is_build(target) else names
    if foreign:
        shown = ", ".join(foreign[:5]) + (", ..." if len(foreign) > 5 else "")
        raise UserError(
            f"{target} holds other things than an earlier build ({shown}), which hwgen will not delete. "
            "Choose an empty or new folder with -o, or move them away."
        )
    if not _writable(target.parent):
        raise UserError(f"cannot replace {target}: {target.parent} is read-only. Choose another folder with -o.")


def _writable(folder: Path) -> bool:
    return os.access(folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids)


def _cannot_write(target: Path, error: OSError) -> UserError:
    hint = "Free some space or choose" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "Choose"
    return UserError(f"cannot write {target}: {error.strerror or error}. {hint} another folder with -o.")


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A new folder beside ``target`` that takes its place when the block ends, and leaves no trace when it raises.

    An earlier build at ``target`` stays untouched until then. Raises UserError where the file system refuses.
    """
    target = target.resolve()
    check_target(target)
    made: list[Path] = []
    temporary: Path | None = None
    try:
        temporary, made = _make_temporary(target)
        yield temporary
        check_target(target)  # somebody may have put things there in the meantime
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)
        _swap(temporary, target)
    except BaseException as error:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        for folder in reversed(made):
            try:
                folder.rmdir()
            except OSError:  # somebody else has put something there
                break
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _cannot_write(target, error) from error
        raise


def _make_temporary(target: Path) -> tuple[Path, list[Path]]:
    """An empty folder beside ``target``, and the parents made for it; raises UserError."""
    made: list[Path] = []
    try:
        made = _make_parents(target.parent)
        return Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent)), made
    except OSError as error:
        for folder in reversed(made):
            folder.rmdir()
        raise _cannot_write(target, error) from error


def _make_parents(folder: Path) -> list[Path]:
    """Create ``folder`` and its parents; returns those that were missing, outermost first."""
    missing = [p for p in (folder, *folder.parents) if not p.exists()][::-1]
    made: list[Path] = []
    try:
        for path in missing:
            path.mkdir(exist_ok=True)
            made.append(path)
    except OSError:
        for path in reversed(made):
            path.rmdir()
        raise
    return made


def _swap(new: Path, target: Path) -> None:
    """Move ``new`` to ``target``; what was there goes only after that, and comes back if the move fails."""
    old = target.with_name(f"{new.name}.old")
    try:
        if not target.exists():
            new.rename(target)
            return
        target.rename(old)
        try:
            new.rename(target)
        except BaseException:
            old.rename(target)
            raise
    except OSError as error:
        raise _cannot_write(target, error) from error
    shutil.rmtree(old, ignore_errors=True)


@dataclass(frozen=True)
class Build:
    """A build folder read back."""

    directory: Path
    manifest: dict[str, Any]
    program: Program

    @property
    def altered(self) -> bool:
        """Whether program.bin or weights.bin is not what hwgen wrote."""
        stated = self.manifest["program"]
        found = (hashlib.sha256(data).hexdigest() for data in (self.program.to_bytes(), self.program.weights))
        return tuple(found) != (stated["sha256"], stated["weights_sha256"])


def read_build(directory: Path) -> Build:
    """Raises UserError if the folder is not a build, comes from another format version, or is damaged."""
    if not is_build(directory):
        raise UserError(f"{directory} is not a build folder. Run hwgen build MODEL --board BOARD -o {directory} first.")
    again = f"Run hwgen build again with -o {directory}."
    try:
        manifest = json.loads((directory / "manifest.json").read_bytes())
        if manifest.get("format_version") != FORMAT_VERSION:
            found = manifest.get("format_version")
            raise UserError(f"{directory} has format version {found}; this hwgen reads {FORMAT_VERSION}. {again}")
        config = Config(**manifest["program"]["config"])
        program = program_from_bytes(
            (directory / "program.bin").read_bytes(), (directory / "weights.bin").read_bytes(), config
        )
    except OSError as error:
        raise UserError(f"cannot read {error.filename or directory}: {error.strerror or error}. {again}") from error
    except (InternalError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{directory} is damaged ({error}). {again}") from error
    return Build(directory, manifest, program)


@contextmanager
def replacing_files(targets: Sequence[Path]) -> Iterator[list[Path]]:
    """A new path for each file of ``targets``, in a hidden folder beside it; when the block ends, what was written
    takes their place. Nothing is left where it raises. UserError where a folder cannot be written."""
    with ExitStack() as stack:
        written = []
        for target in targets:
            folder = target.resolve().parent
            try:
                name = stack.enter_context(tempfile.TemporaryDirectory(dir=folder, prefix=".hwgen-"))
            except OSError as error:
                raise UserError(
                    f"cannot write into {folder}: {error.strerror or error}. Choose another path."
                ) from error
            written.append(Path(name) / target.name)
        yield written
        for new, target in zip(written, targets, strict=True):
            os.replace(new, target)
