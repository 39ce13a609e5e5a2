"""Digests of files, remembered by the file's state like in git's index; and of fetched sources.

A state is size, mtime, ctime, inode and device. The kernel sets ctime itself, so a file that is written to changes its
state, except within one tick of the file system's clock: a file changed that shortly before it was read is not
remembered. Someone who can set back the machine's clock can deceive this, but gains nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from prepare_models_entrypoint.contract import external_data
from prepare_models_entrypoint.contract.digest import combined
from prepare_models_entrypoint.contract.files import sha256_file

from .paths import contents_dir

State = list[int]
T = TypeVar("T")

_LOCATIONS = "external_data"  # external data of a model, by the model's state
_FINE_TICK_NS = 50_000_000  # kernels tick at 100 Hz or more
_COARSE_TICK_NS = 2_000_000_000  # for file systems with a resolution of one or two seconds


class Digests:
    """Known digests of files and sources. Safe in several threads; processes merge theirs in ``save``.

    file: where they are stored; None keeps them in memory.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._guard = threading.Lock()
        self._dirty = False
        self._stop = threading.Event()
        self._known: dict[str, dict[str, Any]] = {"sha256": {}, _LOCATIONS: {}, "sources": {}}
        self.reload()

    def of(self, path: Path) -> str:
        """Return the sha256 of a file.

        Raises:
            InterruptedError: ``stop`` was called.
            OSError: it can't be read.
        """
        return self._remembered("sha256", path, lambda file: sha256_file(file, self._stop.is_set))

    def knows(self, path: Path) -> bool:
        """Return whether the sha256 of a file is known without reading it."""
        return self._recalled("sha256", str(path)) is not None

    def stop(self) -> None:
        """Stop reading files."""
        self._stop.set()

    def weights_of(self, model: Path) -> str | None:
        """Return the digest of a model's external data, or None without any. The data itself is checked each time.

        Raises:
            ExternalDataError, OSError: see ``weights_files``.
        """
        return combined(map(self.of, self.weights_files(model)))

    def weights_files(self, model: Path) -> tuple[Path, ...]:
        """Return the files with a model's external data.

        Raises:
            ExternalDataError: one is missing or outside the allowed directories, or the model's structure can't be
            read. OSError: the model can't be read.
        """
        return external_data.files(model, self.locations(model))

    def locations(self, model: Path) -> tuple[str, ...]:
        """Return a model's names of the files with its external data.

        Raises:
            UnreadableError: the model's structure can't be read.
            OSError: the model can't be read.
        """
        return tuple(self._remembered(_LOCATIONS, model, lambda path: list(external_data.locations(path))))

    def of_source(self, source_id: str, *, since: float = 0.0) -> str | None:
        """Return the digest that a source had when fetched, if that was not before ``since`` (epoch seconds)."""
        digest, at = self._known["sources"].get(source_id, (None, 0.0))
        return digest if at > since else None

    def note_source(self, source_id: str, digest: str, *, since: float = 0.0) -> None:
        """Remember the digest of a fetched source, unless it is known from after ``since`` (epoch seconds)."""
        if self.of_source(source_id, since=since) == digest:
            return
        with self._guard:
            self._known["sources"][source_id] = [digest, time.time()]
            self._dirty = True

    def reload(self) -> None:
        """Load what other processes have stored."""
        if self._file is None:
            return
        with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
            found = json.loads(self._file.read_text(encoding="utf-8"))
            with self._guard:
                for kind, known in self._known.items():
                    read = {name: each for name, each in found.get(kind, {}).items() if _is_sound(kind, each)}
                    known.update({**read, **known})

    def save(self) -> None:
        """Add new digests to the file, and drop those of deleted files; failures to do so are ignored."""
        if self._file is None or not self._dirty:
            return
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with open(f"{self._file}.lock", "w", encoding="ascii") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self.reload()
                with self._guard:
                    for kind in ("sha256", _LOCATIONS):
                        self._known[kind] = {p: known for p, known in self._known[kind].items() if os.path.exists(p)}
                    text = json.dumps(self._known)
                    self._dirty = False
                # Not synced: losing it only costs reading again, and an incomplete file counts as lost.
                partial = Path(f"{self._file}.new")
                partial.write_text(text, encoding="utf-8")
                partial.replace(self._file)

    def _remembered(self, kind: str, path: Path, find_out: Callable[[Path], T]) -> T:
        recalled = self._recalled(kind, str(path))
        if recalled is not None:
            found: T = recalled[1]
            return found
        learn = self.watch(path, kind)
        value = find_out(path)
        learn(value)
        return value

    def _recalled(self, kind: str, path: str) -> list[Any] | None:
        """Return what is known of a file in its present state. The path is resolved only if unknown as given."""
        known, state = self._known[kind], _state(path)
        for name in (path, None):
            found: list[Any] | None = known.get(name or os.path.realpath(path))
            if found is not None and found[0] == state:
                return found
        return None

    def watch(self, path: Path, kind: str = "sha256") -> Callable[[object], None]:
        """Return a function to call with a file's sha256 that other code computes by reading the file from now on."""
        name = os.path.realpath(path)
        before, now = _state(name), time.time_ns()

        def learn(value: object) -> None:
            known = [before, value]
            tick = _FINE_TICK_NS if before[2] % 1_000_000_000 else _COARSE_TICK_NS
            if _state(name) == before and now - max(before[1], before[2]) > tick:
                with self._guard:
                    self._dirty |= self._known[kind].get(name) != known
                    self._known[kind][name] = known

        return learn


def open_digests() -> Digests:
    """Return the digests known on this machine, stored under the cache directory."""
    return Digests(contents_dir() / "digests.json")


def _is_sound(kind: str, entry: object) -> bool:
    """Return whether an entry of the file has the form that this module gives it: the file may be damaged."""
    match kind, entry:
        case "sources", [str(), int() | float()]:
            return True
        case "sha256", [list(), str()]:
            return True
        case "external_data", [list(), list(names)]:
            return all(isinstance(name, str) for name in names)
    return False


def _state(path: str) -> State:
    status = os.stat(path)
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev]
