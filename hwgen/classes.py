# SPDX-License-Identifier: Apache-2.0
"""Names of the classes: from a text file, or from what exporters put into the ONNX file's metadata."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

from hwgen.errors import UserError

METADATA_KEYS = ("classes", "class_names", "labels", "names")
"""Keys of ONNX ``metadata_props``; "names" is what Ultralytics writes."""
SHOWN = 3


def read_classes(path: Path, count: int | None) -> tuple[str, ...]:
    """The lines of a UTF-8 text file, one name a line, in the order of the logits.

    ``count`` is the model's number of logits; None where its output is no vector. Raises UserError.
    """
    hint = "Give a text file with one name a line, in the order of the logits."
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UserError(f"cannot read the classes {path}: {error.strerror or error}. {hint}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"the classes {path} are no UTF-8 text. {hint}") from error
    names = [line.strip() for line in lines]
    while names and not names[-1]:
        names.pop()
    empty = [str(number) for number, name in enumerate(names, 1) if not name]
    if empty:
        raise UserError(f"the classes {path} have no name in line {', '.join(empty[:SHOWN])}. {hint}")
    if count is None:
        raise UserError(f"the model's output is no vector of logits, so {path} names nothing. Leave it out.")
    if len(names) != count:
        raise UserError(f"{path} names {len(names)} classes; the model has {count} logits. {hint}")
    return tuple(names)


def classes_of_metadata(metadata: Mapping[str, str], count: int | None) -> tuple[str, ...] | None:
    """Names that the model's file brings, None where there are none, or not ``count`` of them.

    Understood are lists of names, and mappings of index to name, as JSON or as Python prints them.
    """
    for key in METADATA_KEYS:
        try:
            value = ast.literal_eval(metadata.get(key, ""))  # reads JSON of strings and numbers, too
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(value, dict):
            by_index = {str(index): name for index, name in value.items()}
            value = [by_index.get(str(index)) for index in range(len(by_index))]
        if isinstance(value, (list, tuple)) and len(value) == count and all(isinstance(v, str) and v for v in value):
            return tuple(value)
    return None
