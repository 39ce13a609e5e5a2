"""The download store: every content once, by its sha256, for all models and runs of this user.

    files/<sha256>/blob         the bytes, read-only
    files/<sha256>/record.json  size, time and boot at which they were verified; what is small is hashed each time
    files/<sha256>/as/<name>    links to the blob under the names of its sources
    sources.txt                 which content each source had
    parts/<key>.part            unfinished downloads
    parts/<key>.at              under which other key a download goes on
    lock                        one process at a time for each download

A small file costs two inodes, its own and its directory: creating them is most of its price.

Nothing is synced to the disk: a record holds for one boot of the machine. After another boot, which may follow a power
cut, the bytes are hashed once more before they are trusted.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable, ContextManager, Dict, Iterator, Optional

from ..contract import downloads
from ..contract.files import sha256_file
from .locks import held
from .records import read_json, write_json
from .sources import sources_of

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_WORTH_A_RECORD = 1 << 16  # what is smaller is hashed sooner than a record of it is read


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
        self._locks = root / "lock"
        self._sources = sources_of(root / "sources.txt")

    def find(self, sha256: str, name: str) -> Optional[Stored]:
        """Return a content if it is here and still what was verified."""
        folder = self._folder(sha256)
        blob = f"{folder}/blob"
        try:
            status = os.stat(blob)
        except OSError:
            return None
        recorded = status.st_size >= _WORTH_A_RECORD
        if not recorded or read_json(Path(folder, "record.json")) != _seen(status):
            if sha256_file(blob) != sha256:
                os.unlink(blob)  # somebody wrote into it, or a power cut took its end
                return None
            if recorded:
                with contextlib.suppress(OSError):  # a store that can only be read is hashed each time
                    self._record(folder, status)
        with contextlib.suppress(OSError):
            os.utime(f"{folder}/record.json" if recorded else folder)  # used now
        return Stored(Path(blob), name, status.st_size, sha256)

    def adopt(self, part: Path, sha256: str, name: str) -> Stored:
        """Take a verified part into the store."""
        folder, source = self._folder(sha256), str(part)
        blob = f"{folder}/blob"
        os.chmod(source, 0o444)
        status = os.stat(source)
        try:
            os.mkdir(folder)
        except FileNotFoundError:
            os.makedirs(folder, exist_ok=True)
        except FileExistsError:
            pass
        os.replace(source, blob)
        if status.st_size >= _WORTH_A_RECORD:
            self._record(folder, status)
        return Stored(Path(blob), name, status.st_size, sha256)

    def _record(self, folder: str, status: os.stat_result) -> None:
        write_json(Path(folder, "record.json"), _seen(status), unfinished_in=self.parts)

    def recall(self, key: str) -> Optional[Dict[str, Any]]:
        """Return what is known of a source that was fetched before: sha256, mark, who promised it, and when."""
        return self._sources.recall(key)

    def remember(self, key: str, known: Dict[str, Any]) -> None:
        """Note which content a source had."""
        self._sources.remember(key, known)

    def lock(
        self, key: str, on_wait: Callable[[], None] = lambda: None, *, shared: bool = False
    ) -> ContextManager[None]:
        """Hold the lock of a download; ``on_wait`` is called now and then while another process has it."""
        return held(self._locks, key, on_wait, shared=shared)

    @contextlib.contextmanager
    def pointing(self, key: str, other: str) -> Iterator[None]:
        """Tell those who wait for the lock ``key``, which this process holds, that the work is under another key."""
        write_json(self.parts / f"{key}.at", {"at": other})
        try:
            yield
        finally:
            with contextlib.suppress(FileNotFoundError):
                (self.parts / f"{key}.at").unlink()

    def pointed(self, key: str) -> str:
        """Return the key under which the holder of the lock ``key`` works."""
        return str(read_json(self.parts / f"{key}.at").get("at") or key)

    def _folder(self, sha256: str) -> str:
        return str(downloads.folder(self.root, sha256))


@lru_cache(maxsize=None)
def store_of(cache_dir: Path) -> Store:
    """Return this process's store in a cache directory."""
    return Store(cache_dir / "downloads")


def key_of(text: str) -> str:
    """Return a file name for any text."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:40]


def _seen(status: os.stat_result) -> Dict[str, Any]:
    return {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns, "boot": _boot()}


@lru_cache(maxsize=None)
def _boot() -> str:
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""
