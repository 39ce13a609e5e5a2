"""What changed between two reports: two runs, or the same manifest on two machines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypedDict

from prepare_models_entrypoint.contract.report import ModelReport

from ..support.page import Part, Table
from . import documents
from .text import shape


class Change(TypedDict):
    """A fact that differs. ``counts``: whether it makes two results different; times never do."""

    model: str
    what: str
    a: object
    b: object
    counts: bool


def compare(first: documents.Run, second: documents.Run) -> list[Change]:
    """Return the changes from one report to another: the environment's first, then model by model.

    Two reports of a single model each are compared whatever the models' names.
    """
    changes = _changes("", _environment(first), _environment(second), counts=False)
    for name, old, new in _pairs(first["models"], second["models"]):
        if old is None or new is None:
            changes.append(Change(model=name, what="model", a=_there(old), b=_there(new), counts=True))
            continue
        changes += _changes(name, _facts(old), _facts(new), counts=True)
        changes += _changes(name, _times(old), _times(new), counts=False)
    return changes


def _pairs(
    first: Sequence[ModelReport], second: Sequence[ModelReport]
) -> Iterator[tuple[str, ModelReport | None, ModelReport | None]]:
    if len(first) == len(second) == 1:
        (old,), (new,) = first, second
        yield " -> ".join(dict.fromkeys([old["name"], new["name"]])), old, new
        return
    before, after = ({model["name"]: model for model in models} for models in (first, second))
    for name in dict.fromkeys([*before, *after]):
        yield name, before.get(name), after.get(name)


def render(changes: list[Change]) -> Part:
    """Return the changes as a table."""
    if not changes:
        return "no difference"
    rows = [(change["model"] or "(run)", change["what"], _text(change["a"]), _text(change["b"])) for change in changes]
    return Table(("MODEL", "WHAT", "A", "B"), rows)


def _there(model: ModelReport | None) -> str:
    return "absent" if model is None else model["status"]


def _environment(run: documents.Run) -> dict[str, object]:
    runtime = run["runtime"]
    backend, gpu = (runtime["backend"], runtime["gpu"]) if runtime else (None, None)
    return {
        "tool": run["tool"]["version"],
        "executor": run["executor"],
        "backend": f"{backend['name']} {backend['version']}" if backend else None,
        "gpu": gpu["name"] if gpu else None,
        "driver": gpu["driver"] if gpu else None,
        "seconds": run["seconds"],
    }


def _facts(model: ModelReport) -> dict[str, object]:
    engine, error, verification = model["engine"], model["error"], model["verification"]
    header: Mapping[str, object] = engine["header"] if engine else {}
    facts: dict[str, object] = {
        "verdict": documents.verdict(model),
        "error": error["code"] if error else None,
        "warnings": ", ".join(sorted({warning["code"] for warning in model["warnings"]})) or None,
        "engine sha256": engine["sha256"] if engine else None,
        "engine bytes": engine["bytes"] if engine else None,
        **{f"engine {key}": header[key] for key in ("format", "version", "compute_capabilities") if key in header},
        "target": (model["identity"] or {}).get("target"),
        "precision requested": model["precision_proof"]["requested"],
        "precision delivered": model["precision_proof"]["delivered"],
        "precision layers": model["precision_proof"]["layers"] or None,
        "converter": model["converter"],
        "verification": verification["verdict"] if verification else None,
    }
    for index, binding in enumerate(model["io"]):
        facts[f"{binding['mode']} {index} {binding['name']}"] = f"{binding['dtype']} {shape(binding['shape'])}"
    for output in verification["outputs"] if verification else ():
        facts |= {f"{output['name']} {key}": output[key] for key in ("max_abs", "cosine", "argmax")}
    return facts


def _times(model: ModelReport) -> dict[str, object]:
    latency = model["verification"]["latency"] if model["verification"] else None
    times: dict[str, object] = {f"{stage['name']} seconds": stage["seconds"] for stage in model["stages"]}
    return {**times, **({"median ms": latency["median_ms"], "p99 ms": latency["p99_ms"]} if latency else {})}


def _changes(model: str, old: Mapping[str, object], new: Mapping[str, object], *, counts: bool) -> list[Change]:
    return [
        Change(model=model, what=what, a=old.get(what), b=new.get(what), counts=counts)
        for what in dict.fromkeys([*old, *new])
        if old.get(what) != new.get(what)
    ]


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{count} {name}" for name, count in value.items())
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text[:12] if len(text) == 64 else text
