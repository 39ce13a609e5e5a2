"""Which content each source had when it was fetched: a line per fetch in one file; the last one for a source counts."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from pathlib import Path
from typing import Dict, Optional, TypedDict

from ..contract import schema
from ..contract.codec import ContractError
from ..contract.files import partial_file
from .small_files import in_directory

_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
_OUTDATED = 1000  # obsolete lines, after which the file is rewritten


class FetchRecord(TypedDict):
    """What a source had. ``mark``: by which its server recognizes the content. ``promised``: who gave the digest.

    ``at``: when it was fetched, in epoch seconds; None for a file in an archive.
    """

    source: str
    sha256: str
    mark: Optional[str]
    promised: Optional[str]
    at: Optional[float]


class Sources:
    """The file, to which other processes append, too. A lost or broken line only costs repeated work."""

    def __init__(self, file: Path) -> None:
        self._file = str(file)
        self._guard = threading.Lock()
        self._lines: Dict[str, bytes] = {}
        self._read = self._count = self._inode = 0

    def recall(self, key: str) -> Optional[FetchRecord]:
        """Return the last record of a source."""
        with self._guard:
            with contextlib.suppress(FileNotFoundError):
                self._read_on()
            line = self._lines.get(key)
        with contextlib.suppress(ContractError):
            return None if line is None else schema.read(FetchRecord, schema.loads(line), self._file)
        return None

    def remember(self, key: str, known: FetchRecord) -> None:
        """Record which content a source had."""
        line = f"{key} {json.dumps(known)}\n".encode()
        descriptor = in_directory(self._file, lambda: os.open(self._file, _APPEND, 0o644))
        try:
            os.write(descriptor, line)  # in one write, so that lines of several processes never mix
        finally:
            os.close(descriptor)

    def _read_on(self) -> None:
        with open(self._file, "rb") as stream:
            status = os.fstat(stream.fileno())
            if status.st_ino != self._inode or status.st_size < self._read:
                self._lines, self._read, self._count, self._inode = {}, 0, 0, status.st_ino
            if status.st_size == self._read:
                return
            stream.seek(self._read)
            text = stream.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            key, _, known = line.partition(b" ")
            self._lines[key.decode("ascii", "replace")] = known
            self._count += 1
        if self._count > len(self._lines) + _OUTDATED:
            self._rewrite()

    def _rewrite(self) -> None:
        """Rewrite the file with the lines that count; what another process appends at that moment is lost."""
        with contextlib.suppress(OSError), partial_file(self._file) as (stream, partial):  # a store may be read-only
            stream.writelines(b"%s %s\n" % (key.encode(), line) for key, line in self._lines.items())
            stream.flush()
            os.replace(str(partial), self._file)
