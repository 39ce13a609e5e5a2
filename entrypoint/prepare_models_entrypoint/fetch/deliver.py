"""Giving a verified file its place in a directory of the user, without a second copy where the file system can."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import uuid
from pathlib import Path

from ..contract.files import PARTIAL, partial_file, remove_partials
from .store import Store, key_of

_FICLONE = 0x40049409


def deliver(source: Path, directory: Path, name: str, store: Store, *, stored: bool) -> Path:
    """Place a file under its final name; whatever had the name is replaced in one step.

    Args:
        source: verified file; a link is followed.
        directory: receives it.
        name: its final name.
        store: gives the lock that keeps a process that tidies away.
        stored: whether the file is one of the store, so that a hard link to it is no surprise to anybody.
    """
    source, target = source.resolve(), directory / name
    if target.exists() and os.path.samefile(str(source), str(target)):
        return target
    with store.lock(_lock_of(directory), shared=True):
        if stored and _linked(source, target):
            return target
        with partial_file(target) as (stream, partial), open(str(source), "rb") as original:
            if not _cloned(original.fileno(), stream.fileno()):
                shutil.copyfileobj(original, stream, 1 << 20)
            stream.flush()
            os.replace(str(partial), str(target))
    return target


def tidy(directory: Path, store: Store) -> None:
    """Remove what a killed process left in a directory."""
    with store.lock(_lock_of(directory)):
        remove_partials(directory)


def _lock_of(directory: Path) -> str:
    return key_of(f"deliver {directory.resolve()}")


def _linked(source: Path, target: Path) -> bool:
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}{PARTIAL}")
    try:
        os.link(str(source), str(partial))
    except OSError:  # another file system, or one without links
        return False
    os.replace(str(partial), str(target))
    with contextlib.suppress(FileNotFoundError):
        partial.unlink()  # the kernel renames nothing where both names are one file already
    return True


def _cloned(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True
