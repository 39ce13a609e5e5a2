"""The file that a user attaches to a bug report: where the code failed, and nothing about the data."""

from __future__ import annotations

import platform
import sys
import tempfile
import traceback
from pathlib import Path

from .. import __version__


def write(error: BaseException) -> Path:
    """Write the report and return its path.

    It contains types and code locations, not messages, arguments or values: those may contain keys, URLs or model
    names.
    """
    lines = [f"prepare-models {__version__}", f"Python {platform.python_version()} on {platform.platform()}", ""]
    current: BaseException | None = error
    while current is not None:
        lines.append(f"{type(current).__module__}.{type(current).__qualname__}")
        frames = traceback.extract_tb(current.__traceback__)
        lines += [f"  {_module(frame.filename)}:{frame.lineno} in {frame.name}: {frame.line}" for frame in frames]
        current = current.__cause__ or current.__context__
    with tempfile.NamedTemporaryFile(
        "w", prefix="prepare-models-bug-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        file.write("\n".join(lines) + "\n")
    return Path(file.name)


def _module(filename: str) -> str:
    """Return a path relative to sys.path, so that no home directory is reported."""
    for root in sorted(filter(None, sys.path), key=len, reverse=True):
        if filename.startswith(root):
            return filename[len(root) :].lstrip("/")
    return Path(filename).name
