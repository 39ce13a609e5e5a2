"""Tables for a terminal or a log file."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..support.terminal import one_line, printable

if TYPE_CHECKING:
    from prepare_models_entrypoint.contract.comparison import ScaleFit
    from prepare_models_entrypoint.contract.report import Binding, ModelReport, WarningInfo

    from .documents import Run


def summary(report: Run) -> str:
    """Return the table that ends a run: a row for each model, then the errors with their hints."""
    rows = [_row(model) for model in report["models"]]
    text = table(("MODEL", "STATUS", "PRECISION", "INPUTS", "OUTPUTS", "SIZE", "SECONDS"), rows)
    counts = ", ".join(f"{count} {status}" for status, count in report["summary"].items() if count)
    parts = [text, "", f"{counts} in {report['seconds']:.1f} s"]
    parts += _errors(report["models"])
    parts += _paths(report)
    return "\n".join(parts)


def converted(report: Run) -> str:
    """Return what became of a single model: status, bindings, delivered precision, and where the engine is."""
    (model,) = report["models"]
    lines = [f"{model['name']}: {model['status']} in {report['seconds']:.1f} s"]
    if model["engine"]:
        rows = [(b["mode"], b["name"], b["dtype"], shape(b["shape"])) for b in model["io"]]
        lines += [f"  {line}" for line in columns(rows)]
        how = model["precision_proof"]["how"]
        lines.append(f"  precision  {_precision(model)}" + (f" ({how})" if how else ""))
    for warning in model["warnings"]:
        lines += [f"  warning [{warning['code']}]: {warning['message']}", f"    -> {warning['hint']}"]
    return "\n".join([*lines, *_errors(report["models"]), *_paths(report)])


def _row(model: ModelReport) -> tuple[str, ...]:
    engine = model["engine"]
    return (
        model["name"],
        model["status"],
        _precision(model),
        _names(model["io"], "input"),
        _names(model["io"], "output"),
        f"{engine['bytes'] / 1e6:.1f} MB" if engine else "-",
        f"{sum(stage['seconds'] for stage in model['stages']):.1f}" if model["stages"] else "-",
    )


def _precision(model: ModelReport) -> str:
    proof = model["precision_proof"]
    return proof["delivered"] or (f"{proof['requested']}, unproven" if model["engine"] else "-")


def _names(bindings: Iterable[Binding], mode: str) -> str:
    return ", ".join(f"{b['name']} {shape(b['shape'])}" for b in bindings if b["mode"] == mode) or "-"


def _errors(models: Iterable[ModelReport]) -> list[str]:
    lines: list[str] = []
    for model in models:
        error = model["error"]
        if error is not None:
            lines += ["", f"{model['name']}: {error['stage'] or 'run'} failed [{error['code']}]: {error['message']}"]
            lines += [f"  -> {error['hint']}"] if error["hint"] else []
            lines += [f"  build log: {model['log']}"] if model["log"] else []
    return lines


def _paths(report: Run) -> list[str]:
    engines = [f"engine  {model['engine']['path']}" for model in report["models"] if model["engine"]]
    return ["", *engines, f"report  {report['models_dir']}/report.json"]


def plan(rows: Iterable[tuple[str, str, str]]) -> str:
    """Return the table of what would be done: model, action with its reason, converter."""
    return table(("MODEL", "STATE", "CONVERTER"), list(rows))


def warnings(found: Iterable[WarningInfo]) -> list[str]:
    """Return lines for warnings that are of no model in particular."""
    lines: list[str] = []
    for warning in found:
        lines += ["", f"warning [{warning['code']}]: {warning['message']}", f"  -> {warning['hint']}"]
    return lines


def checks(reports: Sequence[ModelReport]) -> str:
    """Return what a check found: a row for each model, then warnings and errors with their hints."""
    rows = [
        (r["name"], r["status"], r["converter"], _names(r["io"], "input"), _names(r["io"], "output")) for r in reports
    ]
    lines = [table(("MODEL", "STATUS", "CONVERTER", "INPUTS", "OUTPUTS"), rows)]
    for report in reports:
        for warning in report["warnings"]:
            lines += ["", f"{report['name']}: warning [{warning['code']}]: {warning['message']}"]
            lines.append(f"  -> {warning['hint']}")
    return "\n".join([*lines, *_errors(reports)])


def verifications(reports: Sequence[ModelReport]) -> str:
    """Return what verifications found: a row for each output, then what was compared with what."""
    rows = [row for report in reports for row in _compared(report)]
    lines = [table(("MODEL", "VERDICT", "OUTPUT", "MAX ABS", "MAX OF RANGE", "COSINE", "ARGMAX"), rows)]
    for report in reports:
        verification = report["verification"]
        if verification is None:
            continue
        lines += ["", f"{report['name']}: {verification['statement']}"]
        if verification["scales"] is not None:
            lines.append(f"  {scale_fit(verification['scales'])}")
        latency = verification["latency"]
        if latency is not None:
            lines.append(
                f"  median {latency['median_ms']:.3f} ms, p99 {latency['p99_ms']:.3f} ms, "
                f"{latency['throughput_per_s']:.1f} executions/s"
            )
        elif verification["candidate"] is not None:
            lines.append(f"  latency: not measured, {verification['latency_absent']}")
    return "\n".join([*lines, *_errors(reports)])


def _compared(report: ModelReport) -> list[tuple[str, ...]]:
    verification = report["verification"]
    if verification is None:
        return [(report["name"], "error", *["-"] * 5)]
    numbers = [
        (o["name"], *(number(value) for value in (o["max_abs"], o["max_of_range"], o["cosine"], o["argmax"])))
        for o in verification["outputs"]
    ]
    return [(report["name"], verification["verdict"], *row) for row in numbers or [("-",) * 5]]


def scale_fit(scales: ScaleFit) -> str:
    """Return how the scales of a calibration cache fit the samples, as a sentence."""
    if scales["problem"] is None:
        median, tensors = scales["median_room"], scales["tensors"]
        return f"scales hold {median:.3g} times what the samples reach (median of {tensors} tensors)"
    return scales["problem"] if scales["judged"] else f"{scales['problem']}; not judged by these samples"


def number(value: float | None) -> str:
    """Return a metric with the digits that matter."""
    return "-" if value is None else f"{value:.6g}"


def shape(dims: Sequence[int]) -> str:
    """Return dimensions as 1x3x544x960; a scalar as ()."""
    return "x".join(str(size) for size in dims) or "()"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return left-aligned columns, two spaces apart."""
    return "\n".join(columns([head, *rows]))


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of left-aligned columns, two spaces apart."""
    cells = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]


def write(text: str) -> None:
    """Write a result to standard output; what the terminal would obey, or its encoding can't hold, as escapes."""
    name = sys.stdout.encoding or "utf-8"
    sys.stdout.write(printable(text).encode(name, "backslashreplace").decode(name) + "\n")
