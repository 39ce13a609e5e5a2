"""Private directories for intermediate files. They may contain a decrypted model, so every run removes leftovers."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Iterator

from .files import remove_partials

_LOCK = "in-use"


@contextlib.contextmanager
def work_dir(cache_dir: Path) -> Iterator[Path]:
    """Yield a directory that only this user can read, and remove it afterwards, along with those of dead processes."""
    parent = cache_dir / "work"
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _gate(parent):
        _sweep(parent)
        directory = Path(tempfile.mkdtemp(dir=str(parent)))
        in_use = os.open(str(directory / _LOCK), os.O_WRONLY | os.O_CREAT, 0o600)
        fcntl.flock(in_use, fcntl.LOCK_EX)
    try:
        yield directory
    finally:
        shutil.rmtree(str(directory), ignore_errors=True)
        os.close(in_use)


def sweep(cache_dir: Path) -> None:
    """Remove what dead processes left in a cache directory: work directories and unfinished files."""
    for folder in (*cache_dir.glob("*/"), *(cache_dir / "downloads" / name for name in ("parts", "blobs"))):
        remove_partials(folder)
    parent = cache_dir / "work"
    if parent.is_dir():
        with _gate(parent):
            _sweep(parent)


@contextlib.contextmanager
def _gate(parent: Path) -> Iterator[None]:
    """Let one process at a time through: a directory that was just created is not locked yet."""
    with open(str(parent / ".lock"), "w", encoding="ascii") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        yield


def _sweep(parent: Path) -> None:
    for directory in parent.iterdir():
        if not directory.is_dir():
            continue
        with contextlib.suppress(OSError), open(str(directory / _LOCK), "a", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(str(directory), ignore_errors=True)
