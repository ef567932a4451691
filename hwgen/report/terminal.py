# SPDX-License-Identifier: Apache-2.0
"""Rich tables of the reports. Each function takes the data that ``--json`` prints and returns something to print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

UNITS = {"lut": "LUT", "ff": "FF", "dsp": "DSP", "bram36": "BRAM36", "uram": "URAM"}


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], right: Sequence[int] = ()) -> Table:
    """A plain table; columns whose index is in ``right`` are right-aligned. Cells are text, never markup."""
    result = Table(title=title or None, title_justify="left", title_style="bold", header_style="bold", box=None)
    for index, column in enumerate(columns):
        result.add_column(column, justify="right" if index in right else "left", overflow="fold")
    for row in rows:
        result.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    return result


def _by_kernel(rows: Sequence[tuple[str, str, str, str]]) -> Iterable[tuple[str, str, str]]:
    """(kernel, number of nodes, "Conv, 2 QuantizeLinear, ...") in the order of the model."""
    groups: dict[str, Counter[str]] = {}
    for _, op, kernel, _ in rows:
        if kernel:
            groups.setdefault(kernel, Counter())[op] += 1
    for kernel, ops in groups.items():
        quantizers = ("QuantizeLinear", "DequantizeLinear")
        names = sorted(ops, key=lambda op: (op in quantizers, op))
        yield kernel, str(ops.total()), ", ".join(f"{ops[op]} {op}" if ops[op] > 1 else op for op in names)


def inspection(
    model: str, report: dict[str, Any], rows: Sequence[tuple[str, str, str, str]], *, every_node: bool
) -> RenderableType:
    """Coverage of a model: kernels or, with ``every_node``, nodes; what is not mapped; totals.

    ``rows`` are (node, operator, kernel, reason).
    """
    parts: list[RenderableType] = []
    if not every_node:
        parts += [table("Kernels", ("kernel", "nodes", "operators"), _by_kernel(rows), right=(1,)), ""]
    else:
        cells = ((node, op, kernel or Text("not mapped", style="red"), reason) for node, op, kernel, reason in rows)
        parts += [table("Nodes", ("node", "operator", "kernel", "remark"), cells), ""]
    if report["unsupported"]:
        cells = ((p["name"], p["op"], p["reason"], p["hint"]) for p in report["unsupported"])
        parts += [table("Not mapped", ("node", "operator", "reason", "what to do"), cells), ""]
    mapped, nodes = report["mapped"], report["nodes"]
    style = "green" if mapped == nodes and not report["unsupported"] else "red"
    parts.append(Text(f"{model}: {mapped} of {nodes} nodes mapped", style=style))
    kernels = ", ".join(f"{count} {name}" for name, count in report["kernels"].items())
    parts.append(Text(f"kernels: {kernels}; {report['macs']:,} MAC a frame; {report['parameters']:,} parameters"))
    return Group(*parts)


def build(directory: str, report: dict[str, Any]) -> RenderableType:
    """Resources and performance of a build, each figure with its source."""
    rows = []
    for name, use in report["resources"].items():
        available, limit = use["available"], use["limit"]
        share = f"{100 * use['used'] / available:.1f} %" if available else "-"
        rtl = "-" if use["rtl"] is None else f"{use['rtl']:,}"
        cpp = Text(
            f"{'≥ ' if use['at_least'] else ''}{use['used']:,} = {share}", "yellow" if use["used"] > limit else ""
        )
        rows.append((UNITS.get(name, name), rtl, cpp, f"{limit:,}", f"{available:,}", use["source"]))
    p = report["performance"]
    hertz = p["clock_mhz"] * 1e6
    speed = [
        (
            machine,
            f"{q['latency_cycles']:,} cycles = {1e3 * q['latency_cycles'] / hertz:.3f} ms",
            f"{q['interval_cycles']:,} cycles",
            f"{q['frames_per_second']:,.1f} frames/s",
            q["source"],
        )
        for machine, q in (("SystemVerilog", p["rtl"]), ("HLS C++", p))
    ]
    kernels = ", ".join(f"{count} {name}" for name, count in report["kernels"].items())
    size = report["bytes"]
    parts: list[RenderableType] = [
        table(
            f"{report['model']} on {report['board']} ({report['part']})",
            ("resource", "SystemVerilog", "HLS C++", "planning limit", "available", "source"),
            rows,
            right=(1, 2, 3, 4),
        ),
        "",
        table("Performance", ("machine", "latency", "interval", "throughput", "source"), speed, right=(1, 2, 3)),
        "",
        Text(f"clock {p['clock_mhz']:g} MHz, batch {p['batch']}"),
        Text(f"{kernels} kernels; program {size['program']:,} bytes, weights {size['weights']:,} bytes"),
    ]
    for names, what in (
        ([n for n, use in report["resources"].items() if use["used"] > use["available"]], "does not fit the part"),
        ([n for n, use in report["resources"].items() if use["used"] > use["limit"]], "is above the planning limit"),
    ):
        if names:
            units = ", ".join(UNITS.get(name, name) for name in names)
            hint = "build from rtl/, or give --target-fps for a smaller machine"
            parts.append(Text(f"the HLS form {what} ({units}, estimated): {hint}", "yellow"))
            break
    if any(use["source"] == "estimated" for use in report["resources"].values()):
        parts.append(
            Text("estimated: no synthesis has run; ≥: parts are not counted; modelled: hwgen sim --level rtl measures")
        )
    if "synthesis" in report:
        parts.append(Text(f"synthesis: {report['synthesis'].get('message', 'see report.json')}"))
    if "bitstream" in report:
        parts.append(Text(f"bitstream: {report['bitstream'].get('message', 'in deploy/; figures in report.json')}"))
    parts.append(Text(f"written to {directory}", style="green"))
    return Group(*parts)


def plan_details(report: dict[str, Any]) -> RenderableType:
    """Tiles and the machine that the search chose."""
    rows = [(key, value) for key, value in report["tiles"].items() if not isinstance(value, (list, dict))]
    for key, value in report["tiles"].items():
        if isinstance(value, dict):
            rows += [(f"{key}.{name}", v) for name, v in value.items() if not isinstance(v, (list, dict))]
    return table("Plan", ("parameter", "value"), rows)


def simulation(report: dict[str, Any], *, verbose: bool = False) -> RenderableType:
    """The verdict, and where values differ."""
    if report["level"] == "onnxruntime":
        return onnxruntime(report, every_op=verbose)
    parts: list[RenderableType] = []
    if "fault" in report:
        f = report["fault"]
        parts.append(Text(f"fault: bit {f['bit']} of byte {f['byte']} of {f['file']} ({f['what']})", style="yellow"))
        parts.append(Text(f"first visible at the output of {f['kernel']}", style="yellow"))
    if report["first_mismatches"]:
        rows = [
            (
                m["kernel"],
                m["frame"],
                tuple(m["index"]),
                m["expected"],
                m["found"],
                f"{m['count']:,} of {m['values']:,}",
            )
            for m in report["first_mismatches"]
        ]
        columns = ("kernel", "frame", "first (c, y, x)", "expected", "found", "differ")
        parts += [table("Mismatches", columns, rows, right=(1, 3, 4, 5)), ""]
    frames = f"{report['frames']} frame{'s' * (report['frames'] != 1)}"
    if report["exact"]:
        verdict = f"{report['level']}: exact: {report['compared']:,} tensors, {report['values']:,} values, {frames}"
    else:
        verdict = f"{report['level']}: {report['mismatches']:,} of {report['compared']:,} tensors differ, {frames}"
    parts += [Text(f"machine error: {text}", style="red") for text in report.get("errors", ())]
    parts.append(Text(f"{verdict}, {report['wall_seconds']:.1f} s", style="green" if report["exact"] else "red"))
    if "cycles" in report:
        parts += ["", measured(report)]
    return Group(*parts)


def measured(report: dict[str, Any]) -> RenderableType:
    """Cycles of the RTL simulation."""
    cycles, clock = report["cycles"], report["clock_mhz"]
    latency = cycles["latency"]
    rows = [("latency, one frame alone", f"{latency:,} cycles = {latency / clock / 1e3:.3f} ms")]
    if cycles["interval"]:
        rows.append(("interval", f"{cycles['interval']:,.0f} cycles = {report['frames_per_second']:,.1f} frames/s"))
    else:
        rows.append(("interval", "not measured: it takes at least 12 frames"))
    rows.append(("memory traffic", f"{report['bytes_per_frame']:,} bytes a frame"))
    stalls = cycles["stalls"]
    for engine, busy in cycles["per_engine"].items():
        if busy:
            rows.append((engine, f"{busy:,.0f} cycles a frame busy, {stalls[engine]:,.0f} waiting for others"))
    return table(f"Measured at {clock:g} MHz", ("", "value"), rows)


def counted(report: dict[str, Any], *, every_module: bool = False) -> RenderableType:
    """What Yosys counted, and the modules that need the most."""

    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:,.0f}"

    rows = []
    for name, use in report["resources"].items():
        verdict = "-" if use["fits"] is None else Text("yes", "green") if use["fits"] else Text("no", style="red")
        share = f"{100 * use['used'] / use['available']:.1f} %" if use["available"] else "-"
        figures = (number(use[key]) for key in ("used", "available"))
        rest = (number(use[key]) for key in ("limit", "estimated"))
        rows.append((UNITS.get(name, name), *figures, share, *rest, verdict))
    columns = ("resource", "counted", "available", "share", "planning limit", "estimated", "fits")
    modules = report["modules"] if every_module else report["modules"][:16]
    cells = (
        (m["module"], m["instances"], *(number(m["total"][key]) for key in ("lut", "ff", "dsp", "bram36")), m["levels"])
        for m in modules
    )
    heads = ("module", "instances", "LUT", "FF", "DSP", "BRAM36", "LUT levels")
    return Group(
        table(f"Counted: {report['tool']}", columns, rows, right=(1, 2, 3, 4, 5)),
        "",
        table("Modules, with what is inside", heads, cells, right=(1, 2, 3, 4, 5, 6)),
        "",
        Text(f"{report['seconds']:.0f} s; RTL {report['rtl_hash'][:16]}"),
    )


def ran(report: dict[str, Any]) -> RenderableType:
    """The best classes of the first images, and how long all took."""
    rows = [(entry["image"], *(f"{c['class']} {c['logit']:.3f}" for c in entry["classes"])) for entry in report["top"]]
    columns = ("image", *(str(place + 1) for place in range(max((len(row) - 1 for row in rows), default=0))))
    text = f"{report['frames']} images on device {report['device']} in {report['run_seconds']:.3f} s"
    cycles = "" if report["cycles"] is None else f"; the last start took {report['cycles']:,} cycles"
    return Group(table("Best classes", columns, rows), "", Text(text + cycles))


def onnxruntime(report: dict[str, Any], *, every_op: bool) -> RenderableType:
    """Agreement with ONNX Runtime: per operator (all, or those that break the promise), then the whole network."""
    parts: list[RenderableType] = []
    rows = [
        (o["name"], f"{100 * o['equal_share']:.4f} %", o["max_step"], f"{100 * o['promised_share']:g} %", o["values"])
        for o in report["ops"]
        if every_op or not o["kept"]
    ]
    if rows:
        columns = ("operator", "equal codes", "largest step", "promised", "values")
        parts += [
            table("Per operator, same inputs" if every_op else "Broken promises", columns, rows, right=(1, 2, 3, 4)),
            "",
        ]
    kept = report["compared"] - report["mismatches"]
    verdict = f"{kept} of {report['compared']} operators agree as promised, never more than one step apart"
    parts.append(Text(verdict, style="green" if not report["mismatches"] else "red"))
    parts.append(
        Text(
            f"whole network: {100 * report['equal_share']:.3f} % of output codes equal, at most "
            f"{report['max_step']} steps apart, top-1 agreement {100 * report['top1_agreement']:.1f} %, "
            f"{report['frames']} frames, {report['wall_seconds']:.1f} s"
        )
    )
    return Group(*parts)


def boards(entries: Sequence[dict[str, Any]]) -> RenderableType:
    """One line a board."""
    rows = [
        (
            b["name"],
            b["part"],
            f"{b['clock_mhz']:g}",
            *(f"{b['resources'][key]:,}" for key in UNITS),
            f"{b['ddr_bytes_per_second'] / 1e9:.1f}",
        )
        for b in entries
    ]
    columns = ("board", "part", "MHz", *UNITS.values(), "DDR GB/s")
    return table("Boards", columns, rows, right=tuple(range(2, len(columns))))


def doctor(entries: Sequence[dict[str, Any]]) -> RenderableType:
    """One line a tool: there or not, version, purpose, how to get it."""
    rows = [
        (
            Text("yes", style="green") if e["found"] else Text("no", style="red" if e["needed"] else "yellow"),
            e["name"],
            e["version"] or "-",
            e["purpose"],
            "" if e["found"] else e["get"],
        )
        for e in entries
    ]
    return table("Tools", ("here", "tool", "version", "what for", "how to get it"), rows)


def _db(value: float | None) -> str:
    return "exact" if value is None else f"{value:.1f}"


def _bits(bits: int | list[int]) -> str:
    return str(bits) if isinstance(bits, int) else " and ".join(map(str, sorted(set(bits))))


def _accuracy(found: dict[str, Any] | None) -> Iterable[RenderableType]:
    if found is None:
        return
    yield Text(
        f"top-1 on {found['images']} images: {100 * found['top1']:.2f} %, float model "
        f"{100 * found['float_top1']:.2f} % (by {found['measured_by']})"
    )
    if found["raised"]:
        before = f"{100 * found['top1_before_raising']:.2f} %"
        rows = [(r["kind"], r["name"], r["from"], r["to"]) for r in found["raised"]]
        yield ""
        yield table(f"Raised, because top-1 was {before}", ("kind", "name", "from", "to"), rows, right=(2, 3))
        yield ""


def sensitivity(report: dict[str, Any], *, every_layer: bool) -> RenderableType:
    """What ``hwgen sensitivity`` measured: the most sensitive layers, or all of them, and what was chosen."""
    layers = report["layers"] if every_layer else report["layers"][:20]
    rows = [
        (n, i["name"], i["kind"], i["bits"], _db(i["sqnr_db"]), f"{100 * i['top1']:.2f}", f"{i['loss_points']:+.2f}")
        for n, i in enumerate(layers, 1)
    ]
    columns = ("", "layer", "what", "bits", "SQNR dB", "top-1 %", "below float")
    whole = [("float", "", f"{100 * report['float_top1']:.2f}", "", "")]
    for name, key in (("8 bits everywhere", "all_8"), ("fewer bits everywhere", "all_lower"), ("chosen", "choice")):
        if found := report[key]:
            loss, size = f"{found['loss_points']:+.2f}", f"{100 * found['size']:.1f}"
            whole.append((name, _db(found["sqnr_db"]), f"{100 * found['top1']:.2f}", loss, size))
    shown = "all" if len(layers) == len(report["layers"]) else f"{len(layers)} of {len(report['layers'])}"
    parts: list[RenderableType] = [
        table(f"One layer at a time, most sensitive first ({shown})", columns, rows, right=(0, 3, 4, 5, 6)),
        "",
        table(
            f"Whole network, {report['evaluation_images']} images",
            ("", "SQNR dB", "top-1 %", "below float", "bits of the weights, % of 8"),
            whole,
            right=(1, 2, 3, 4),
        ),
    ]
    if choice := report["choice"]:
        bits = choice["bits"]
        text = f"chosen bits (how many layers): weights {bits['weights']}; activations {bits['activations']}"
        parts += ["", Text(f"{text}; {choice['combinations_measured']} combinations measured", style="green")]
    return Group(*parts)


def quantized(output: str, report: dict[str, Any], *, every_tensor: bool) -> RenderableType:
    """What ``hwgen quantize`` made: tensors and weights with the largest error, or all of them."""
    tensors = sorted(report["tensors"], key=lambda t: t["sqnr_db"] or 1e9)
    weights = sorted(report["weights"], key=lambda t: t["sqnr_db"] or 1e9)
    shown = None if every_tensor else 5
    ranges = [
        (t["tensor"], t["kind"], t["bits"], f"{t['range'][0]:.4g} to {t['range'][1]:.4g}", _db(t["sqnr_db"]))
        for t in tensors[:shown]
    ]
    parts: list[RenderableType] = [
        table("Activations, largest error first", ("tensor", "kind", "bits", "range", "SQNR dB"), ranges, right=(2, 4)),
        "",
        table(
            "Weights, largest error first",
            ("node", "bits", "SQNR dB"),
            [(w["node"], _bits(w["bits"]), _db(w["sqnr_db"])) for w in weights[:shown]],
            right=(1, 2),
        ),
        "",
    ]
    between = sum(a["between"] for a in report["activations"])
    count, out = len(report["activations"]), report["output"]
    parts.append(
        Text(
            f"{count - between} of {count} convolutions with activation have one quantizer, {between} another one in "
            "between"
        )
    )
    parts.append(
        Text(
            f"output on {report['calibration_images']} calibration images: SQNR {_db(out['sqnr_db'])} dB, same best "
            f"class as the float model {100 * out['top1_agreement']:.1f} % (by {out['measured_by']})"
        )
    )
    parts += _accuracy(report["accuracy"])
    mapped = report["coverage"]
    parts.append(Text(f"{output}: {mapped['mapped']} of {mapped['nodes']} nodes mapped", style="green"))
    return Group(*parts)


def exported(report: dict[str, Any]) -> RenderableType:
    """What ``hwgen zoo export`` wrote."""
    weights = {"random": "random weights", "timm": "weights by timm's names", "mit": "weights by MIT's names"}
    size, channels = report["image_size"], report["channels"]
    lines = [
        f"{report['output']}: {report['model']}, {report['parameters']:,} parameters, {weights[report['weights']]}",
        f"image (1, {channels}, {size}, {size}), logits (1, {report['classes']})",
    ]
    if report["mean"] and report["std"]:
        lines.append(f"normalized with {_normalization(report)}")
    return Text("\n".join(lines))


def trained(report: dict[str, Any]) -> RenderableType:
    """The epochs of ``hwgen zoo train``, and what to do next."""
    rows = [
        (
            e["epoch"],
            f"{e['loss']:.4f}",
            f"{100 * e['train_accuracy']:.2f} %",
            "-" if e["test_accuracy"] is None else f"{100 * e['test_accuracy']:.2f} %",
            f"{e['learning_rate']:.2e}",
            f"{e['seconds']:.1f}",
        )
        for e in report["epochs"]
    ]
    columns = ("epoch", "loss", "training", "test", "learning rate", "seconds")
    return Group(
        table(f"{report['model']}, {report['parameters']:,} parameters", columns, rows, right=range(6)),
        "",
        Text(f"hwgen zoo export {report['model']} --checkpoint {report['run']}/model.pt -o FLOAT.onnx"),
        Text(f"hwgen quantize FLOAT.onnx --calib IMAGES {_normalization(report)} -o OUT.onnx"),
    )


def _normalization(report: dict[str, Any]) -> str:
    return " ".join(f"--{key} {','.join(f'{v:g}' for v in report[key])}" for key in ("mean", "std"))
