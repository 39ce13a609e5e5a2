"""What container engines, their GPU hooks and registries say, and what it means: ``daemon_errors.json``.

The first row counts of which every part is in the text. What is
not known keeps its own words, in a message that says who spoke.
"""

from __future__ import annotations

import importlib.resources
import json
from typing import NamedTuple

from ..errors import ContainerError


class Row(NamedTuple):
    """parts: what all have to be in the text; code: the error's; meaning: what it means; fix: what to do."""

    parts: tuple[str, ...]
    code: str
    meaning: str
    fix: str


def _read() -> tuple[Row, ...]:
    file = importlib.resources.files(__package__ or "prepare_models.docker") / "daemon_errors.json"
    rows = json.loads(file.read_text(encoding="utf-8"))
    return tuple(Row(tuple(row["parts"]), row["code"], row["meaning"], row["fix"]) for row in rows)


ROWS = _read()
TOOLKIT = next(row.fix for row in ROWS if row.code == "toolkit-missing")


def explain(text: str) -> ContainerError:
    """Return the error for what an engine said; its own words stay in the message."""
    words = " ".join(text.split())[:600]
    for row in ROWS:
        if all(part in text for part in row.parts):
            return ContainerError(row.code, f"{row.meaning} ({words})", hint=row.fix)
    return ContainerError(
        "docker-refused", f"the container engine refused: {words}", hint="see its log: journalctl -u docker"
    )


def lost(text: str) -> ContainerError:
    """Return the error for an engine that answered before and does not any more."""
    words = " ".join(text.split())[:300]
    return ContainerError(
        "docker-lost",
        f"the container engine went away in the middle of the work ({words})",
        hint="check that it is running (docker info), then run again: finished work is kept",
    )
