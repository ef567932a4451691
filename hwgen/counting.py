# SPDX-License-Identifier: Apache-2.0
"""``hwgen count``: what the emitted SystemVerilog needs, beside the estimate and the board's limits."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hwgen.artifact import plain, read_build, write_json
from hwgen.backends.rtl.count import count_build
from hwgen.errors import UserError

Progress = Callable[[str, int, int], None]


def count(directory: Path, progress: Progress = lambda what, done, total: None) -> dict[str, Any]:
    """Count the build in ``directory``, add the result to its report.json and return it.

    ``resources`` has for each kind what was counted, the board's number, the planning limit and the estimate (None
    where there is none). Raises UserError for a folder that is no build, or where Yosys is missing.
    """
    build = read_build(directory)
    try:
        report = json.loads((directory / "report.json").read_bytes())
        estimates = report["resources"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"cannot read {directory / 'report.json'} ({error}). Run hwgen build again.") from error
    counted = count_build(directory, lambda done, total: progress("counting with Yosys", done, total))
    board = build.manifest["board"]
    resources = {}
    for name, used in counted["resources"].items():
        limit = board["limits"].get(name)
        resources[name] = {
            "used": used,
            "available": board["resources"].get(name),
            "limit": limit,
            "fits": None if limit is None else used <= limit,
            "estimated": estimates.get(name, {}).get("used"),
            "source": "counted",
        }
    counted["resources"] = resources
    report["counted"] = plain(counted)
    temporary = directory / "report.json.new"
    write_json(temporary, report)
    os.replace(temporary, directory / "report.json")
    return report["counted"]  # type: ignore[no-any-return]
