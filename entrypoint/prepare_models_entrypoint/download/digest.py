"""The sha256 of a fetched file; that of a local file need not be computed before it is used."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Iterable, Optional

from ..contract.files import sha256_file


class FileDigest:
    """A known digest, or that of a file: computed by a thread after ``start``, or else when needed."""

    def __init__(self, known: str = "", *, of: Optional[Path] = None) -> None:
        self._value, self._file = known, of
        self._thread: Optional[threading.Thread] = None
        self._error: Optional[OSError] = None

    def start(self) -> None:
        """Compute it in the background."""
        if self._file is not None and self._thread is None:
            self._thread = threading.Thread(target=self._read, args=(self._file,), name="sha256")
            self._thread.start()

    def result(self) -> str:
        """Return the digest in hexadecimal digits.

        Raises:
            OSError: the file can't be read.
        """
        self.start()
        self.wait()
        if self._error is not None:
            raise self._error
        return self._value

    def wait(self) -> None:
        """Wait until the thread has ended, if any was started."""
        if self._thread is not None:
            self._thread.join()

    def _read(self, file: Path) -> None:
        try:
            self._value = sha256_file(file)
        except OSError as error:
            self._error = error


def wait_for(digests: Iterable[FileDigest]) -> None:
    """Wait until the threads of digests have ended."""
    for digest in digests:
        digest.wait()
