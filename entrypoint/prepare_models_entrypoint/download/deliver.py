"""Putting a verified file in its place in a directory of the user, without a second copy if the file system can."""

from __future__ import annotations

import contextlib
import os
from functools import lru_cache
from pathlib import Path

from ..contract.files import remove_partials
from ..contract.shared_files import share_file
from .content_store import Store, key_of
from .disk_space import FOR_OUTPUT, check_room


def deliver(source: Path, directory: Path, name: str, store: Store, *, stored: bool) -> Path:
    """Place a file under its final name; an existing file is replaced atomically. Returns its path.

    Args:
        source: verified file.
        directory: receives it.
        name: its final name.
        store: provides the lock that keeps other processes from tidying meanwhile.
        stored: whether the file is in the store, so that a hard link to it surprises nobody.

    Raises:
        FetchError: the directory's disk has no room for a copy.
    """
    target = directory / name
    with store.lock(_lock_of(directory), shared=True):
        if stored and not source.is_symlink() and _linked(source, target):
            return target
        with contextlib.suppress(FileNotFoundError):
            if os.path.samefile(str(source), str(target)):
                return target
        status = source.stat()
        if not stored or status.st_dev != directory.stat().st_dev:
            check_room(directory, status.st_size, what=name, hint=FOR_OUTPUT)
        share_file(source, target, link=stored)
    return target


def tidy(directory: Path, store: Store) -> None:
    """Remove what a killed process left in a directory."""
    with store.lock(_lock_of(directory)):
        remove_partials(directory)


@lru_cache(maxsize=None)
def _lock_of(directory: Path) -> str:
    return key_of(f"deliver {directory.resolve()}")


def _linked(source: Path, target: Path) -> bool:
    """Link an unused name to the file, if the file system can, and return whether it could."""
    try:
        os.link(str(source), str(target))
    except OSError:
        return False
    return True
