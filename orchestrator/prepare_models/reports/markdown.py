"""A summary in Markdown, for pull requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from prepare_models_entrypoint.contract.report import Binding, ModelReport

from ..support.page import printable
from . import documents
from .text import shape

_MARKS = {documents.READY: "✅", documents.CARE: "⚠️", documents.NO: "❌", documents.OPEN: "⏭️"}
_HEAD = ("", "model", "status", "precision", "verified", "inputs", "outputs", "size", "seconds")

_LONGEST = 65_536  # characters in a comment on GitHub; GitLab allows more
_SPARE = 500  # for the sentence about what is omitted, and the lines between
_LONGEST_NOTE = 2_000
_LISTED = 8  # models per warning


def render(run: documents.Run) -> str:
    """Return the report of a run as Markdown, short enough for a comment: good models are omitted first."""
    models: list[ModelReport] = run["models"]
    counts = ", ".join(f"{count} {status}" for status, count in run["summary"].items() if count)
    head, foot = f"### prepare-models: {_plain(counts) or 'nothing to do'}", _environment(run)
    notes = list(_notes(models))
    whole = _joined(head, _table(_HEAD, map(_row, models)), notes, foot)
    if len(whole) <= _LONGEST:
        return whole
    by_need = sorted(models, key=lambda model: documents.VERDICTS.index(documents.verdict(model)))
    room = _LONGEST - len(head) - len(foot) - _SPARE
    cut = (note if len(note) <= _LONGEST_NOTE else f"{note[:_LONGEST_NOTE].rstrip(chr(92))} …" for note in notes)
    shown = _fitting(cut, room // 2)
    short = [(*row[:5], *row[7:]) for row in map(_row, by_need)]  # without inputs and outputs
    rows = _fitting(_table((*_HEAD[:5], *_HEAD[7:]), short), room - sum(map(len, shown)))
    left = len(models) - len(rows) + 2  # the head of the table is two lines
    rest = [f"{len(notes) - len(shown)} more messages"] if len(notes) > len(shown) else []
    rest += [f"{left} more models"] if left else []
    missing = f"Inputs and outputs{''.join(f', {each}' for each in rest)} are in report.json."
    return _joined(head, rows, [*shown, missing], foot)


def _joined(head: str, table: Iterable[str], notes: Iterable[str], foot: str) -> str:
    return "\n\n".join([head, "\n".join(table), *notes, foot]).rstrip() + "\n"


def _fitting(parts: Iterable[str], room: int) -> list[str]:
    """Return the first parts that fit into a number of characters."""
    found: list[str] = []
    for part in parts:
        room -= len(part) + 2
        if room < 0:
            break
        found.append(part)
    return found


def _row(model: ModelReport) -> tuple[str, ...]:
    engine, seconds = model["engine"], documents.seconds(model)
    return (
        _MARKS[documents.verdict(model)],
        _code(model["name"]),
        _plain(model["status"]),
        _plain(model["precision_proof"]["delivered"] or "-"),
        _plain(documents.verified(model)),
        *(", ".join(_binding(b) for b in model["io"] if b["mode"] == mode) or "-" for mode in ("input", "output")),
        documents.size(engine["bytes"] if engine else None),
        "-" if seconds is None else f"{seconds:.1f}",
    )


def _binding(binding: Binding) -> str:
    return f"{_code(binding['name'])} {_plain(binding['dtype'])} {shape(binding['shape'])}"


def _table(head: Sequence[str], rows: Iterable[tuple[str, ...]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *rows)]


def _notes(models: Iterable[ModelReport]) -> Iterator[str]:
    """Yield errors, model by model, then warnings, each once with its models."""
    about: dict[tuple[str, str, str], list[str]] = {}
    for model in models:
        error, name = model["error"], _code(model["name"])
        if error is not None:
            yield _note(f"{name} failed", error["code"], error["message"], error["hint"])
        for warning in model["warnings"]:
            about.setdefault((warning["code"], warning["message"], warning["hint"]), []).append(name)
    for warning_of, names in about.items():
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        yield _note(", ".join(names[:_LISTED]) + more, *warning_of)


def _note(about: str, code: str, message: str, hint: str) -> str:
    return f"**{about}**: {_code(code)} {_plain(message)}" + (f"\n  → {_plain(hint)}" if hint else "")


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
    """Return a text escaped so that it contains no markup or HTML."""
    escaped = _flat(text).replace("&", "&amp;").replace("<", "&lt;")
    for sign in "\\`*_[]|#":
        escaped = escaped.replace(sign, f"\\{sign}")
    return escaped


def _flat(text: str) -> str:
    return printable(" ".join(text.split()))
