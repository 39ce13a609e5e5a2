"""What commands show of reports: tables and messages."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from prepare_models_entrypoint.contract import sizes

from ..errors import SharedStoreError
from ..support.page import Message, Part, Table, of_error, printable

if TYPE_CHECKING:
    from prepare_models_entrypoint.contract.comparison import ScaleFit
    from prepare_models_entrypoint.contract.report import Binding, ModelReport

    from .documents import Run

_FEW = 2  # inputs or outputs that a table lists by name; of more, it gives their number
_NAMED = 3  # models that a message lists by name; of more, it gives their number


def summary(report: Run, *, wide: bool = False) -> list[Part]:
    """Return what a run prints at the end: a row for each model, then messages. ``wide``: all names, however long."""
    models = report["models"]
    counts = ", ".join(f"{count} {status}" for status, count in report["summary"].items() if count)
    head: list[Part] = [_fitting(lambda most: _models(models, most), wide=wide), ""]
    return [*head, f"{counts or 'no models'} in {report['seconds']:.1f} s", *messages(models), *_paths(report)]


def converted(report: Run) -> list[Part]:
    """Return the result of a single model: status, bindings, delivered precision, and the engine's path."""
    (model,) = report["models"]
    parts: list[Part] = [f"{model['name']}: {model['status']} in {report['seconds']:.1f} s"]
    if model["engine"]:
        rows = [(f"  {b['mode']}", b["name"], b["dtype"], shape(b["shape"])) for b in model["io"]]
        how = model["precision_proof"]["how"]
        parts += [Table((), rows), f"  precision  {_precision(model)}" + (f" ({how})" if how else "")]
    return [*parts, *messages([model], of_records=True), *_paths(report)]


def messages(models: Sequence[ModelReport], *, of_records: bool = False) -> list[Part]:
    """Return warnings and errors of models, each once. ``of_records``: also those of records that were there."""
    parts: list[Part] = []
    by_message: dict[tuple[str, str, str], list[str]] = {}
    for model in models:
        for warning in model["warnings"]:
            if not (model["stages"] or of_records or warning["code"] in SharedStoreError.CODES):
                continue
            by_message.setdefault((warning["code"], warning["message"], warning["hint"]), []).append(model["name"])
    for (code, message, hint), names in by_message.items():
        about = ", ".join(names) if len(names) <= _NAMED else f"{len(names)} models"
        parts += ["", Message("warning", code, about, message, hint)]
    for model in models:
        if model["error"] is not None:
            parts += ["", of_error(model["error"], model["name"])]
            parts += [f"  build log: {model['log']}"] if model["log"] else []
    return parts


def _fitting(make: Callable[[int], Table], *, wide: bool) -> Table:
    """Return a table with as many names of inputs and outputs as fit. ``make``: makes it with a number of names."""
    full = make(sys.maxsize if wide else _FEW)
    return full if wide or full.fits() else make(0)


def _models(models: Sequence[ModelReport], most: int) -> Table:
    timed = any(_latency(model) for model in models)
    head = ("MODEL", "STATUS", "PRECISION", "INPUTS", "OUTPUTS", "SIZE", "SECONDS", *(["LATENCY"] if timed else []))
    return Table(head, [(*_row(model, most), *([_latency(model) or "-"] if timed else [])) for model in models], 1)


def _row(model: ModelReport, most: int) -> tuple[str, ...]:
    engine = model["engine"]
    return (
        model["name"],
        model["status"],
        _precision(model),
        _names(model["io"], "input", most),
        _names(model["io"], "output", most),
        sizes.readable(engine["bytes"]) if engine else "-",
        f"{sum(stage['seconds'] for stage in model['stages']):.1f}" if model["stages"] else "-",
    )


def _precision(model: ModelReport) -> str:
    """Return the delivered precision, with its share of the compute layers if known and not all."""
    proof = model["precision_proof"]
    if not proof["delivered"]:
        return f"{proof['requested']}, unproven" if model["engine"] else "-"
    share = proof["layers_share"].get(proof["requested"], 1.0)
    return proof["delivered"] + (f", {100 * share:.0f} %" if share < 1.0 else "")


def _latency(model: ModelReport) -> str:
    latency = model["verification"]["latency"] if model["verification"] else None
    return f"{latency['median_ms']:.3g} ms" if latency else ""


def _names(bindings: Iterable[Binding], mode: str, most: int) -> str:
    found = [f"{b['name']} {shape(b['shape'])}" for b in bindings if b["mode"] == mode]
    if len(found) > most:
        return f"{len(found)} {mode}{'s' if len(found) > 1 else ''}"
    return ", ".join(found) or "-"


def _paths(report: Run) -> list[Part]:
    engines = [model["engine"]["path"] for model in report["models"] if model["engine"]]
    parts: list[Part] = ["", *(f"engine  {path}" for path in engines[:_NAMED])]
    parts += [f"... and {len(engines) - _NAMED} more in {report['models_dir']}"] if len(engines) > _NAMED else []
    return [*parts, f"report  {report['models_dir']}/report.json"]


def plan(rows: Sequence[tuple[str, str, str, str]], *, wide: bool = False) -> Table:
    """Return the table of what would be done: model, action and its reason, converter and its reason."""
    head = ("MODEL", "STATE", "CONVERTER")
    full = Table(head, [(name, state, f"{converter} ({why})") for name, state, converter, why in rows])
    return full if wide or full.fits() else Table(head, [row[:3] for row in rows])


def checks(reports: Sequence[ModelReport], *, wide: bool = False) -> list[Part]:
    """Return a check's findings: a row for each model, then warnings and errors with their hints."""

    def table(most: int) -> Table:
        rows = [
            (r["name"], r["status"], r["converter"], _names(r["io"], "input", most), _names(r["io"], "output", most))
            for r in reports
        ]
        return Table(("MODEL", "STATUS", "CONVERTER", "INPUTS", "OUTPUTS"), rows, 1)

    return [_fitting(table, wide=wide), *messages(reports, of_records=True)]


def verifications(reports: Sequence[ModelReport]) -> list[Part]:
    """Return the results of verifications: a row for each output, then what was compared with what."""
    rows = [row for report in reports for row in _compared(report)]
    lines: list[Part] = [Table(("MODEL", "VERDICT", "OUTPUT", "MAX ABS", "MAX OF RANGE", "COSINE", "ARGMAX"), rows, 1)]
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
    return [*lines, *messages(reports)]


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
    """Return a metric with its significant digits."""
    return "-" if value is None else f"{value:.6g}"


def shape(dims: Sequence[int]) -> str:
    """Return dimensions as 1x3x544x960; a scalar as ()."""
    return "x".join(str(size) for size in dims) or "()"


def write(text: str) -> None:
    """Write a document to standard output, with control characters and unencodable ones as escapes."""
    name = sys.stdout.encoding or "utf-8"
    sys.stdout.write(printable(text).encode(name, "backslashreplace").decode(name) + "\n")
