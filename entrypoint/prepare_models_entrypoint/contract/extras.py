"""The command that installs an extra of this tool from where the tool itself came from."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Optional
from urllib.parse import unquote, urlsplit

_PACKAGES = Path(__file__).parents[2]
_IN_AN_IMAGE = Path("/opt/prepare-models/entrypoint")  # where Dockerfiles put this package


def install(extra: str) -> str:
    """Return the command that installs an extra into this Python, from the clone if the tool came from one.

    A container no longer exists by then, so inside one the text says where to work instead.
    """
    if _PACKAGES == _IN_AN_IMAGE:
        return f"use --executor local, with prepare-models[{extra}] installed there: the images leave it out"
    clone = _clone()
    wanted = f"prepare-models[{extra}]" if clone is None else f"{clone}[{extra}]"
    return shlex.join([sys.executable, "-m", "pip", "install", wanted])


def _clone() -> Optional[Path]:
    """Return the clone that this runs in or was installed from; None if deleted, or if installed from an index."""
    places = [_PACKAGES.parent]
    for record in _PACKAGES.glob("prepare_models-*.dist-info/direct_url.json"):
        try:
            url = urlsplit(str(json.loads(record.read_text(encoding="utf-8"))["url"]))
        except (OSError, ValueError, LookupError, TypeError):
            continue
        places += [Path(unquote(url.path))] if url.scheme == "file" else []
    return next((place for place in places if _is_clone(place)), None)


def _is_clone(place: Path) -> bool:
    return (place / "pyproject.toml").is_file() and (place / "orchestrator/prepare_models").is_dir()
