"""Small JSON files: whole or absent, never synced; a lost or broken one only costs work that is done once more."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Dict

from ..contract.files import PARTIAL

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def read_json(file: Path) -> Dict[str, Any]:
    """Return the object in a file, or an empty one where it is missing or broken."""
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def write_json(file: Path, document: Dict[str, Any]) -> None:
    """Write an object; a reader sees the old or the new file."""
    folder, name = os.path.split(str(file))
    partial = f"{folder}/.{name}.{os.getpid()}.{time.monotonic_ns()}{PARTIAL}"
    try:
        descriptor = os.open(partial, _NEW, 0o644)
    except FileNotFoundError:
        os.makedirs(folder, exist_ok=True)
        descriptor = os.open(partial, _NEW, 0o644)
    with open(descriptor, "wb", buffering=0) as stream:
        stream.write(json.dumps(document).encode("utf-8"))
    os.replace(partial, str(file))
