"""Small JSON files: whole or absent, never synced; a lost or broken one only costs work that is done once more."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Dict

from ..contract.files import PARTIAL


def read_json(file: Path) -> Dict[str, Any]:
    """Return the object in a file, or an empty one where it is missing or broken."""
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def write_json(file: Path, document: Dict[str, Any]) -> None:
    """Write an object; a reader sees the old or the new file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}.{time.monotonic_ns()}{PARTIAL}")
    partial.write_text(json.dumps(document), encoding="utf-8")
    os.replace(str(partial), str(file))
