"""The download store: every content once, by its sha256, for all models and runs of this user.

    files/<sha256>/blob         the bytes, read-only
    files/<sha256>/record.json  size, time and boot at which they were verified
    files/<sha256>/as/<name>    links to the blob under the names of its sources
    sources/<key>.json          which content a source had
    parts/<key>.part            unfinished downloads
    locks/<key>.lock            one process at a time for each download

Nothing is synced to the disk: a record holds for one boot of the machine. After another boot, which may follow a power
cut, the bytes are hashed once more before they are trusted.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Optional

from ..contract import downloads
from ..contract.files import sha256_file
from .records import read_json, write_json

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_POLL_S = 0.05
_LOCK = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC


@dataclass(frozen=True)
class Stored:
    """Verified bytes in the store. ``blob`` is the file, ``name`` that of its source."""

    blob: Path
    name: str
    bytes: int
    sha256: str

    @property
    def path(self) -> Path:
        """Return a link to the file that ends in the source's name: formats are told by the ending."""
        link = self.blob.parent / "as" / self.name
        if not link.is_symlink():
            link.parent.mkdir(exist_ok=True)
            with contextlib.suppress(FileExistsError):
                link.symlink_to(Path("..") / "blob")
        return link


class Store:
    """The store under a directory. All methods are safe in several threads and processes at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.parts = root / "parts"

    def find(self, sha256: str, name: str) -> Optional[Stored]:
        """Return a content if it is here and still what was verified."""
        folder = self._folder(sha256)
        blob = folder / "blob"
        try:
            status = blob.stat()
        except OSError:
            return None
        seen = {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns, "boot": _boot()}
        if read_json(folder / "record.json") != seen:
            if sha256_file(blob) != sha256:
                blob.unlink()  # somebody wrote into it, or a power cut took its end
                return None
            with contextlib.suppress(OSError):  # a store that can only be read is hashed each time
                write_json(folder / "record.json", seen)
        with contextlib.suppress(OSError):
            os.utime(str(folder / "record.json"))  # used now
        return Stored(blob, name, status.st_size, sha256)

    def adopt(self, part: Path, sha256: str, name: str) -> Stored:
        """Take a verified part into the store."""
        folder = self._folder(sha256)
        blob = folder / "blob"
        part.chmod(0o444)
        status = part.stat()
        seen = {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns, "boot": _boot()}
        try:
            os.mkdir(str(folder))
        except FileNotFoundError:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            pass
        os.replace(str(part), str(blob))
        write_json(folder / "record.json", seen)
        return Stored(blob, name, status.st_size, sha256)

    def recall(self, key: str) -> Optional[Dict[str, Any]]:
        """Return what is known of a source that was fetched before: sha256, name, validator."""
        known = read_json(self.root / "sources" / f"{key}.json")
        return known if isinstance(known.get("sha256"), str) else None

    def remember(self, key: str, known: Dict[str, Any]) -> None:
        """Note which content a source had."""
        write_json(self.root / "sources" / f"{key}.json", known)

    @contextlib.contextmanager
    def lock(self, key: str, on_wait: Callable[[], None] = lambda: None, *, shared: bool = False) -> Iterator[None]:
        """Hold the lock of a download; ``on_wait`` is called now and then while another process has it."""
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        descriptor = self._lock_file(key)
        try:
            while True:
                try:
                    fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    on_wait()
                    time.sleep(_POLL_S)
            yield
        finally:
            os.close(descriptor)

    def point(self, key: str, other: str) -> None:
        """Tell those who wait for the lock ``key``, which this process holds, that the work is under another key."""
        (self.root / "locks" / f"{key}.lock").write_text(json.dumps({"at": other}), encoding="utf-8")

    def pointed(self, key: str) -> str:
        """Return the key under which the holder of the lock ``key`` works."""
        return str(read_json(self.root / "locks" / f"{key}.lock").get("at") or key)

    def _lock_file(self, key: str) -> int:
        path = f"{self.root}/locks/{key}.lock"
        try:
            return os.open(path, _LOCK, 0o644)
        except FileNotFoundError:
            (self.root / "locks").mkdir(parents=True, exist_ok=True)
            return os.open(path, _LOCK, 0o644)

    def _folder(self, sha256: str) -> Path:
        return downloads.folder(self.root, sha256)


def key_of(text: str) -> str:
    """Return a file name for any text."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:40]


@lru_cache(maxsize=None)
def _boot() -> str:
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""
