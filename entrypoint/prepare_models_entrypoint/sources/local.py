"""Sources on the local disk. They are read in place, without copying."""

from __future__ import annotations

import os
from pathlib import Path

from ..contract.other_formats import pointer
from ..contract.source import NO_FILE_HINT, no_file
from ..errors import FetchError


def check(path: Path) -> Path:
    """Return the path of a local source, which must be a readable, non-empty file."""
    problem = no_file(path)
    if problem is not None:
        raise FetchError("source-not-found", problem, hint=NO_FILE_HINT)
    if not os.access(str(path), os.R_OK):
        raise FetchError("source-unreadable", f"{path} can't be read by this user", hint="give this user read access")
    if path.stat().st_size == 0:
        raise FetchError("source-not-a-model", f"{path} is empty", hint="export or download the model again")
    with open(str(path), "rb") as stream:
        head = stream.read(64)
        text = path.suffix.lower() in (".json", ".html", ".xml")
        if not text and head.lstrip()[:1] in (b"<", b"{"):  # models and calibration caches never begin like this
            raise FetchError(
                "source-not-a-model",
                f"{path} begins like a web page or a JSON answer",
                hint="a download may have saved an error page under the model's name; download it again",
            )
    return path


def refuse_pointer(path: Path, label: str) -> None:
    """Refuse a file that is only a pointer, in a repository whose large files were not fetched.

    Args:
        path: the file, wherever it came from, even if its digest is pinned.
        label: its name in the message.
    """
    with open(str(path), "rb", buffering=0) as stream:
        known = pointer(stream.read(64))
    if known is not None:
        raise FetchError("source-not-a-model", f"{label} is {known.what}", hint=known.hint)
