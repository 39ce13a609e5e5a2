"""An unfinished download on the disk, hashed as it grows, and resumable after the process that began it has ended."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import BinaryIO, Iterator, Optional, Tuple

from .small_files import in_directory, read_json, write_json

_CHUNK = 1 << 20
WORTH_A_NOTE = 1 << 20  # fetching a smaller file again is faster than reading a note of it


class Part:
    """The bytes of a download so far: ``size`` of them. ``validator``: the server's mark of the content.

    ``is_noted``: whether the mark may be in a file next to them.
    """

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self.path = path
        self._stream = stream
        self._digest = hashlib.sha256()
        self._total: Optional[int] = None
        self.is_noted = False
        self.size = 0
        self.validator: Optional[str] = None

    @classmethod
    @contextlib.contextmanager
    def opened(cls, path: Path, *, resume_without_validator: bool) -> Iterator[Part]:
        """Open a part; bytes from an earlier process are continued if their content can be verified later.

        Args:
            path: the file; its server's mark is kept next to it.
            resume_without_validator: whether a known digest will verify it.
        """
        with in_directory(path, lambda: open(path, "a+b", buffering=0)) as stream:
            part = cls(path, stream)  # unbuffered: what was written survives if the process is killed
            part._take_up(resume_without_validator=resume_without_validator)
            try:
                yield part
            except BaseException:
                if part.size == 0:
                    part.discard()
                elif path.exists():  # and was not adopted already
                    part.note()
                raise

    def _take_up(self, *, resume_without_validator: bool) -> None:
        if os.fstat(self._stream.fileno()).st_size == 0:
            return
        for ahead in self.path.parent.glob(f"{self.path.stem}.*.range"):
            ahead.unlink()
        self.is_noted = True
        mark = read_json(_meta(self.path)).get("validator")
        self.validator = mark if isinstance(mark, str) else None
        if self.validator is None and not resume_without_validator:
            self.restart()
            return
        self._stream.seek(0)
        for chunk in iter(lambda: self._stream.read(_CHUNK), b""):
            self._digest.update(chunk)
            self.size += len(chunk)

    def restart(self) -> None:
        """Discard all bytes; the mark is removed first, so that it is never next to other bytes."""
        self.forget_mark()
        self._stream.truncate(0)
        self._digest, self.size, self.validator, self._total = hashlib.sha256(), 0, None, None

    def mark(self, validator: Optional[str], total: Optional[int]) -> None:
        """Store the server's mark of the content, and its size; without a mark, the previous one stays."""
        before = self.validator, self._total
        self.validator, self._total = validator or self.validator, total
        if self.is_noted and before != (self.validator, total):
            self.note()

    def note(self) -> None:
        """Write the mark next to the part, for processes that continue or watch it."""
        self.is_noted = True
        write_json(_meta(self.path), {"validator": self.validator, "total": self._total})

    def append(self, chunk: bytes) -> None:
        """Append the next bytes."""
        if not self.is_noted and self.size + len(chunk) >= WORTH_A_NOTE:
            self.note()  # first: a process that watches a large part then finds its total size
        write_all(self._stream, chunk)
        self._digest.update(chunk)
        self.size += len(chunk)

    def sha256(self) -> str:
        """Return the digest of the bytes so far."""
        return self._digest.hexdigest()

    def range_file(self, start: int) -> Path:
        """Return the file for bytes fetched ahead, from ``start`` on."""
        return self.path.with_suffix(f".{start}.range")

    def discard(self) -> None:
        """Remove the mark and the file."""
        self.forget_mark()
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()

    def forget_mark(self) -> None:
        """Remove the mark."""
        self.is_noted = False
        with contextlib.suppress(FileNotFoundError):
            _meta(self.path).unlink()


def progress_of(path: Path) -> Tuple[int, int]:
    """Return the size so far and the total size in bytes of a part that another process may be writing; 0: unknown."""
    try:
        done = path.stat().st_size
    except OSError:
        return 0, 0
    note = read_json(_meta(path))
    if done >= WORTH_A_NOTE and not note:
        return 0, 0  # it was just completed, and is moving into the store
    total = note.get("total")
    return done, total if isinstance(total, int) else 0


def _meta(path: Path) -> Path:
    return path.with_suffix(".json")


def write_all(stream: BinaryIO, chunk: bytes) -> None:
    """Write bytes to an unbuffered file, which may take them in parts."""
    view = memoryview(chunk)
    while view:
        view = view[stream.write(view) :]
