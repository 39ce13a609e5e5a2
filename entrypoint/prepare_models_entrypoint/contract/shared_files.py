"""A file at a second place: cloned, linked or copied."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

from .files import PARTIAL, PathLike, partial_file, sync

_FICLONE = 0x40049409
_PIECE = 1 << 20


def share_file(source: PathLike, target: PathLike, *, link: bool) -> None:
    """Put a file at a second place, without copying its bytes if the file system can do so.

    Args:
        source: the file; a link is followed.
        target: the other place; an existing file is replaced atomically.
        link: whether a hard link is acceptable: a write to one place then changes the other.
    """
    source, target = os.path.realpath(str(source)), Path(target)
    with partial_file(target) as (stream, partial):
        with open(source, "rb") as original:
            if not _cloned(original.fileno(), stream.fileno()):
                if link and _linked(source, partial):
                    os.replace(str(partial), str(target))
                    return
                shutil.copyfileobj(original, stream, _PIECE)
                sync(stream)
        os.replace(str(partial), str(target))


def _cloned(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def _linked(source: str, partial: Path) -> bool:
    """Replace an empty file with a hard link, and return whether the file system could do so."""
    link = partial.with_suffix(f".link{PARTIAL}")
    try:
        os.link(source, str(link))
    except OSError:  # another file system, or one without links
        return False
    os.replace(str(link), str(partial))
    return True
