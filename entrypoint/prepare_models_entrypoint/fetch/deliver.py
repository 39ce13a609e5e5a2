"""Giving a verified file its place in a directory of the user, without a second copy where the file system can."""

from __future__ import annotations

import os
from pathlib import Path

from ..contract.files import remove_partials, share_file
from .store import Store, key_of


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
        share_file(source, target, link=stored)
    return target


def tidy(directory: Path, store: Store) -> None:
    """Remove what a killed process left in a directory."""
    with store.lock(_lock_of(directory)):
        remove_partials(directory)


def _lock_of(directory: Path) -> str:
    return key_of(f"deliver {directory.resolve()}")
