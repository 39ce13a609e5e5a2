"""Small JSON files: complete or absent, never synced; a lost or broken one only costs repeated work."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Dict, Optional

from ..contract.files import partial_file


def read_json(file: Path) -> Dict[str, object]:
    """Return the object in a file, or an empty one if it is missing or broken."""
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def write_json(file: Path, document: Dict[str, object], *, unfinished_in: Optional[Path] = None) -> None:
    """Write an object; a reader sees the old or the new file.

    Args:
        file: the target.
        document: the object.
        unfinished_in: directory for the unfinished file, which a killed process leaves there; None: that of ``file``.
    """
    target = (unfinished_in or file.parent) / file.name
    target.parent.mkdir(parents=True, exist_ok=True)
    with partial_file(target) as (stream, partial):
        stream.write(json.dumps(document).encode("utf-8"))
        stream.flush()
        os.replace(str(partial), str(file))
