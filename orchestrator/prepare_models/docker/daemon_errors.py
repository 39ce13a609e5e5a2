"""Messages of container engines, their GPU hooks and registries, and what they mean: ``daemon_errors.json``.

The first row with every part in the text counts. An unknown message is kept as it is, with its origin.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from ..errors import ContainerError


class Row(NamedTuple):
    """parts: texts that all have to occur; code: error code; meaning: what it means; fix: what to do."""

    parts: list[str]
    code: str
    meaning: str
    fix: str


_FILE = Path(__file__).with_suffix(".json")
ROWS = [Row(**row) for row in json.loads(_FILE.read_text(encoding="utf-8"))]
TOOLKIT = next(row.fix for row in ROWS if row.code == "toolkit-missing")


def explain(text: str) -> ContainerError:
    """Return the error for a container engine's message, which stays part of the error's message."""
    words = " ".join(text.split())[:600]
    for row in ROWS:
        if all(part in text for part in row.parts):
            return ContainerError(row.code, f"{row.meaning} ({words})", hint=row.fix)
    return ContainerError("docker-refused", f"the container engine refused: {words}")


def lost(text: str) -> ContainerError:
    """Return the error for a container engine that no longer answers."""
    words = " ".join(text.split())[:300]
    return ContainerError("docker-lost", f"the container engine went away in the middle of the work ({words})")
