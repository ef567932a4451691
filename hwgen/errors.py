# SPDX-License-Identifier: Apache-2.0
"""What hwgen raises. A :class:`UserError` is the user's to mend and ends the command with exit code 2."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with an input: where, what, and what to do about it."""

    name: str
    """ONNX node or tensor, kernel, board field or file."""
    op: str
    """ONNX operator or kind of the thing; may be empty."""
    reason: str
    hint: str

    def __str__(self) -> str:
        where = f"{self.name} ({self.op})" if self.op else self.name
        return f"{where}: {self.reason}. {self.hint}"


class UserError(Exception):
    """One clear message that says what to do; all problems found, not the first."""

    def __init__(self, message: str, problems: Iterable[Problem] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join([self.message, *(f"  - {p}" for p in self.problems)])


class ModelError(UserError):
    """The model file cannot be read, or holds something that hwgen does not map."""


class FitError(UserError):
    """The model does not fit the board: resource, need, limit, kernel and a way out."""


class BoardError(UserError):
    """A board description is missing or wrong."""


class InternalError(Exception):
    """A bug of hwgen: an invariant that should have been proven does not hold."""
