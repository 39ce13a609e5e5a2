"""Disk space, checked before bytes come, for all files together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Optional

from ..errors import FetchError

SPARE = 16 << 20  # bytes beyond those of the file, for what is written next to it
FOR_OUTPUT = "free disk space there, or choose another --output directory"
FOR_CACHE = "free disk space there, or set PREPARE_MODELS_CACHE_DIR to a disk with room"


def check_room(directory: Path, size: int, *, what: str, hint: str) -> None:
    """Refuse what doesn't fit on the disk of a directory.

    Raises:
        FetchError: fewer than ``size`` bytes are free.
    """
    status = os.statvfs(str(directory))
    free = status.f_bavail * status.f_frsize
    if size > free:
        message = f"{what} needs {_readable(size)}, {directory} has room for {_readable(free)}"
        raise FetchError("disk-full", message, hint=hint)


def _readable(size: int) -> str:
    return f"{size / 1e6:.0f} MB" if size >= 10**6 else f"{size / 1e3:.0f} kB"


def check_both(cache: Path, output: Optional[Path], left: int, size: int, *, what: str) -> None:
    """Refuse files of ``size`` bytes, ``left`` of them still to come, that don't fit in the cache or as copies.

    Raises:
        FetchError: one of the disks is too full.
    """
    check_room(cache, left + SPARE, what=what, hint=FOR_CACHE)
    if output is not None and output.stat().st_dev != cache.stat().st_dev:
        check_room(output, size, what=what, hint=FOR_OUTPUT)
