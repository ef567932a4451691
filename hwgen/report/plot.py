# SPDX-License-Identifier: Apache-2.0
"""Figures of reports, by matplotlib, which is needed for nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hwgen.errors import UserError

ENDINGS = (".svg", ".png", ".pdf")
STYLE = {"svg.hashsalt": "hwgen", "font.size": 7, "axes.spines.top": False, "axes.spines.right": False}
COLORS = {"weights": "tab:blue", "activations": "tab:orange"}
LETTERS = 60
"""Longer names are cut at the left: the end says which layer it is."""


def check(path: Path) -> None:
    """Raises UserError for an ending that is not known, and without matplotlib."""
    if path.suffix.lower() not in ENDINGS:
        raise UserError(f"{path} is not the name of a figure. Use one of: {', '.join(ENDINGS)}.")
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise UserError("--plot needs matplotlib. Install it: pip install 'hwgen[plot]'.") from error


def sensitivity(report: dict[str, Any], path: Path) -> None:
    """Of ``hwgen sensitivity``: SQNR of the output and loss of top-1 for each layer, most sensitive on top."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    layers = report["layers"][::-1]
    names = [n if len(n) <= LETTERS else f"...{n[-LETTERS:]}" for n in (layer["name"] for layer in layers)]
    colors = [COLORS[layer["kind"]] for layer in layers]
    places = range(len(layers))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 1.2 + 0.16 * len(layers)), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        left.barh(places, [layer["sqnr_db"] or 0.0 for layer in layers], color=colors)
        left.set_yticks(places, names)
        left.set_ylim(-0.7, len(layers) - 0.3)
        left.set_xlabel("SQNR of the output, dB (lower: more sensitive)")
        right.barh(places, [layer["loss_points"] for layer in layers], color=colors)
        right.set_xlabel(f"top-1 below float, points, {report['evaluation_images']} images")
        for axes, value in ((left, report["all_8"]["sqnr_db"]), (right, report["all_8"]["loss_points"])):
            if value is not None:
                axes.axvline(value, color="black", linewidth=0.8, linestyle=":", label="8 bits everywhere")
        kinds = report["lower_bits"]
        handles = [Patch(color=COLORS[kind], label=f"{kind}: {kinds[kind]} bits") for kind in kinds]
        lines, _ = right.get_legend_handles_labels()
        right.legend(handles=[*handles, *lines], loc="lower right", frameon=False)
        figure.suptitle(f"{report['model']}: one layer at a time with fewer bits, the rest 8")
        figure.savefig(path, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)
