"""Bundles: everything that a run needs in one file, for a machine without a network.

An unpacked one has a folder under the cache directory, and next to it a lock that its users share:

<first digits of the index's sha256>/      files of models and images, the manifest
<the same>/cache/                          engines, downloads and timing caches only for this bundle
<the same>/origin.json                     the bundle, and who signed it
<the same>.lock                            held by runs that use the folder
.unpacked.*.spool.prepare-models-partial/  a bundle being unpacked; its process locks the folder itself
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path

from prepare_models_entrypoint.contract.files import PARTIAL, open_regular

from ..running.writer_lock import locked_now

BEGINNING = "index-"  # of the name of its first member, and so of the whole file
FOLDER = "bundles"
ORIGIN = "origin.json"
SCOPE = "cache"
_NAME = "[0-9a-f]{16}"


def share(folder: Path) -> int:
    """Return a descriptor that keeps a folder from being removed (``alone``) until it is closed or the run ends."""
    lock = os.open(_lock_of(folder), os.O_RDWR | os.O_CREAT, 0o666)
    fcntl.flock(lock, fcntl.LOCK_SH)
    folder.mkdir(exist_ok=True)
    os.utime(folder)  # marks it as used now
    return lock


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Lock a folder that nobody uses.

    Raises:
        OSError: somebody uses it.
    """
    with locked_now(_lock_of(folder) if is_whole(folder) else folder):
        yield


def folders(root: Path) -> list[Path]:
    """Return the folders of all bundles, including those left by killed processes."""
    return [folder for folder in root.glob("*") if folder.is_dir() and (is_whole(folder) or PARTIAL in folder.name)]


def is_whole(folder: Path) -> bool:
    """Return whether a folder is that of a completely verified bundle."""
    return re.fullmatch(_NAME, folder.name) is not None


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def is_bundle(file: Path) -> bool:
    """Return whether a file begins like a bundle, as no manifest does."""
    try:
        with open_regular(file) as stream:
            return stream.read(len(BEGINNING)) == BEGINNING.encode("ascii")
    except OSError:
        return False
