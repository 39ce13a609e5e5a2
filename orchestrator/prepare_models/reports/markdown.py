"""A summary in Markdown, for pull requests."""

from __future__ import annotations

from collections.abc import Iterable

from prepare_models_entrypoint.contract.report import Binding, ModelReport

from ..support.terminal import printable
from . import documents
from .text import shape

_MARKS = {documents.READY: "✅", documents.CARE: "⚠️", documents.NO: "❌", documents.OPEN: "⏭️"}
_HEAD = ("", "model", "status", "precision", "verified", "inputs", "outputs", "size", "seconds")


def render(run: documents.Run) -> str:
    """Return the report of a run as Markdown."""
    models: list[ModelReport] = run["models"]
    counts = ", ".join(f"{count} {status}" for status, count in run["summary"].items() if count)
    lines = [f"### prepare-models: {counts or 'nothing to do'}", "", *_table(map(_row, models))]
    for model in models:
        lines += _notes(model)
    return "\n".join([*lines, "", _environment(run)]).rstrip() + "\n"


def _row(model: ModelReport) -> tuple[str, ...]:
    engine, seconds = model["engine"], documents.seconds(model)
    return (
        _MARKS[documents.verdict(model)],
        _code(model["name"]),
        model["status"],
        model["precision_proof"]["delivered"] or "-",
        documents.verified(model),
        *(", ".join(_binding(b) for b in model["io"] if b["mode"] == mode) or "-" for mode in ("input", "output")),
        documents.size(engine["bytes"] if engine else None),
        "-" if seconds is None else f"{seconds:.1f}",
    )


def _binding(binding: Binding) -> str:
    return f"{_code(binding['name'])} {binding['dtype']} {shape(binding['shape'])}"


def _table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (_HEAD, ("---",) * len(_HEAD), *rows)]


def _notes(model: ModelReport) -> list[str]:
    lines: list[str] = []
    error = model["error"]
    if error is not None:
        lines += ["", f"**{_code(model['name'])} failed**: {_code(error['code'])} {_plain(error['message'])}"]
        lines += [f"  → {_plain(error['hint'])}"] if error["hint"] else []
    for warning in model["warnings"]:
        lines += ["", f"**{_code(model['name'])}**: {_code(warning['code'])} {_plain(warning['message'])}"]
        lines += [f"  → {_plain(warning['hint'])}"] if warning["hint"] else []
    return lines


def _environment(run: documents.Run) -> str:
    runtime = run["runtime"]
    backend, gpu = (runtime["backend"], runtime["gpu"]) if runtime else (None, None)
    parts = [
        f"prepare-models {run['tool']['version']}".strip(),
        f"{backend['name']} {backend['version']}" if backend else "",
        gpu["name"] if gpu else "no GPU",
        str(run["started_at"]),
    ]
    return f"<sub>{_plain(', '.join(part for part in parts if part))}</sub>"


def _code(text: str) -> str:
    return "`" + _flat(text).replace("`", "'").replace("|", "\\|") + "`"


def _plain(text: str) -> str:
    """Return a text that starts no markup and no HTML of its own."""
    escaped = _flat(text).replace("&", "&amp;").replace("<", "&lt;")
    for sign in "\\`*_[]|#":
        escaped = escaped.replace(sign, f"\\{sign}")
    return escaped


def _flat(text: str) -> str:
    return printable(" ".join(text.split()))
