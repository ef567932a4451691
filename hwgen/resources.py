# SPDX-License-Identifier: Apache-2.0
"""Where the data folders lie: inside the package when installed from a wheel, beside it in a checkout."""

from __future__ import annotations

from pathlib import Path

from hwgen.errors import InternalError

_PACKAGE = Path(__file__).resolve().parent


def folder(name: str) -> Path:
    """The folder ``templates`` or ``boards``; raises InternalError if the installation lacks it."""
    for candidate in (_PACKAGE / "_data" / name, _PACKAGE.parent / name):
        if candidate.is_dir():
            return candidate
    raise InternalError(f"this installation of hwgen has no folder {name!r}; install it again")
