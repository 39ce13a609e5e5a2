"""The download store: each content once, by its sha256, for all models and runs of this user.

    blobs/<sha256>         the bytes, read-only
    records/<sha256>.json  size, time and boot at which they were verified; small files are hashed each time
    names/<sha256>/<name>  links to the blob under the names of its sources
    sources.txt            which content each source had
    parts/<key>.part       unfinished downloads
    parts/<key>.at         the other key under which a download continues
    lock                   one process at a time for each download

A small file costs only its own inode: creating more would be most of its cost.

Nothing is synced to the disk: a record is valid for one boot of the machine. After another boot, which may follow a
power cut, the bytes are hashed again before they are trusted.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from functools import lru_cache
from pathlib import Path
from typing import Callable, ContextManager, Dict, Iterator, NamedTuple, Optional

from ..contract import downloads
from ..contract.files import sha256_file
from .history import Sources
from .small_files import held, in_directory, read_json, write_json

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_WORTH_A_RECORD = 1 << 16  # hashing a smaller file is faster than reading a record of it


class Stored(NamedTuple):
    """Verified bytes in the store. ``blob``: the file. ``name``: that of its source."""

    blob: Path
    name: str
    bytes: int
    sha256: str

    @property
    def path(self) -> Path:
        """Return a link to the file that ends in the source's name: formats are recognized by the suffix."""
        link = downloads.names(self.blob.parent.parent, self.sha256) / self.name
        if not link.is_symlink():
            link.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                link.symlink_to(Path("..", "..", self.blob.parent.name, self.blob.name))
        return link


class Store:
    """The store under a directory. All methods are safe in several threads and processes at once.

    sources: which content each source had.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.parts = root / "parts"
        self._locks = root / "lock"
        self.sources = Sources(root / "sources.txt")

    def find(self, sha256: str, name: str) -> Optional[Stored]:
        """Return content if it exists and is still what was verified."""
        blob = downloads.blob(self.root, sha256)
        try:
            status = os.stat(str(blob))
        except OSError:
            return None
        recorded = status.st_size >= _WORTH_A_RECORD
        record = downloads.record(self.root, sha256)
        if not recorded or read_json(record) != _seen(status):
            if sha256_file(blob) != sha256:
                blob.unlink()  # somebody wrote to it, or a power cut truncated it
                return None
            if recorded:
                with contextlib.suppress(OSError):  # in a read-only store, it is hashed each time
                    self._record(record, status)
        with contextlib.suppress(OSError):  # used now
            if recorded:
                os.utime(str(record))
            else:
                _mark_used(blob, status)
        return Stored(blob, name, status.st_size, sha256)

    def adopt(self, part: Path, sha256: str, name: str) -> Stored:
        """Take a verified part into the store."""
        blob, source = downloads.blob(self.root, sha256), str(part)
        os.chmod(source, 0o444)
        status = os.stat(source)
        in_directory(blob, lambda: os.replace(source, str(blob)))
        if status.st_size >= _WORTH_A_RECORD:
            self._record(downloads.record(self.root, sha256), status)
        else:
            _mark_used(blob, status)  # the part may be old
        return Stored(blob, name, status.st_size, sha256)

    def _record(self, record: Path, status: os.stat_result) -> None:
        record.parent.mkdir(exist_ok=True)
        write_json(record, _seen(status), unfinished_in=self.parts)

    def lock(
        self, key: str, on_wait: Callable[[], None] = lambda: None, *, shared: bool = False
    ) -> ContextManager[None]:
        """Hold the lock of a download; ``on_wait`` is called now and then while another process has it."""
        return held(self._locks, key, on_wait, shared=shared)

    @contextlib.contextmanager
    def pointing(self, key: str, other: str) -> Iterator[None]:
        """Tell processes waiting for the lock ``key``, which this process holds, that the work is under another key."""
        write_json(self.parts / f"{key}.at", {"at": other})
        try:
            yield
        finally:
            with contextlib.suppress(FileNotFoundError):
                (self.parts / f"{key}.at").unlink()

    def pointed(self, key: str) -> str:
        """Return the key under which the holder of the lock ``key`` works."""
        return str(read_json(self.parts / f"{key}.at").get("at") or key)


@lru_cache(maxsize=None)
def store_of(cache_dir: Path) -> Store:
    """Return this process's store in a cache directory."""
    return Store(cache_dir / "downloads")


def key_of(text: str) -> str:
    """Return a file name for any text."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:40]


def _mark_used(blob: Path, status: os.stat_result) -> None:
    """Set only the access time: other directories may have hard links to the file."""
    os.utime(str(blob), ns=(time.time_ns(), status.st_mtime_ns))


def _seen(status: os.stat_result) -> Dict[str, object]:
    return {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns, "boot": _boot()}


@lru_cache(maxsize=None)
def _boot() -> str:
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""
