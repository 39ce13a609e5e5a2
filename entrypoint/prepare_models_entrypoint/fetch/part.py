"""An unfinished download on the disk, hashed as it grows, and resumable after the process that began it is gone."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import BinaryIO, Iterator, Optional

from .records import read_json, write_json

_CHUNK = 1 << 20


class Part:
    """The bytes of a download that are here: ``size`` of them; ``validator`` is the server's mark of the content."""

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self.path = path
        self._stream = stream
        self._meta = path.with_suffix(".json")
        self._digest = hashlib.sha256()
        self.size = 0
        self.validator: Optional[str] = None

    @classmethod
    @contextlib.contextmanager
    def opened(cls, path: Path, *, resume_without_validator: bool) -> Iterator[Part]:
        """Open a part; what an earlier process left is taken up if its content can be told to be the same one later.

        Args:
            path: the file; its server's mark is kept beside it.
            resume_without_validator: whether a digest that is known beforehand tells.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(str(path), "a+b", buffering=0) as stream:
            part = cls(path, stream)  # unbuffered: what was written survives a kill
            part._take_up(resume_without_validator=resume_without_validator)
            try:
                yield part
            finally:
                if part.size == 0:
                    part.discard()

    def _take_up(self, *, resume_without_validator: bool) -> None:
        self.validator = read_json(self._meta).get("validator")
        if self.validator is None and not resume_without_validator:
            self.restart()
            return
        self._stream.seek(0)
        for chunk in iter(lambda: self._stream.read(_CHUNK), b""):
            self._digest.update(chunk)
            self.size += len(chunk)

    def restart(self) -> None:
        """Forget all bytes."""
        self._stream.truncate(0)
        self._digest, self.size, self.validator = hashlib.sha256(), 0, None
        with contextlib.suppress(FileNotFoundError):
            self._meta.unlink()

    def mark(self, validator: Optional[str]) -> None:
        """Keep the server's mark of the content that comes."""
        if validator is not None and validator != self.validator:
            write_json(self._meta, {"validator": validator})
            self.validator = validator

    def append(self, chunk: bytes) -> None:
        """Take the next bytes."""
        view = memoryview(chunk)
        while view:
            view = view[self._stream.write(view) :]
        self._digest.update(chunk)
        self.size += len(chunk)

    def sha256(self) -> str:
        """Return the digest of the bytes that are here."""
        return self._digest.hexdigest()

    def discard(self) -> None:
        """Remove the file and its mark."""
        for file in (self.path, self._meta):
            with contextlib.suppress(FileNotFoundError):
                file.unlink()

    def forget_mark(self) -> None:
        """Remove the mark of a part that was renamed."""
        with contextlib.suppress(FileNotFoundError):
            self._meta.unlink()


def free_bytes(directory: Path) -> int:
    """Return how many bytes this user can still write to the disk of a directory."""
    status = os.statvfs(str(directory))
    return status.f_bavail * status.f_frsize
