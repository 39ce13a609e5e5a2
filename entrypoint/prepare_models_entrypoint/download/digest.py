"""The sha256 of a fetched file, which for a local one need not be there before it is asked for."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Optional

from ..contract.files import sha256_file


class FileDigest:
    """A digest that is known, or that of a file: read by a thread from ``start`` on, or else when it is asked for."""

    def __init__(self, known: str = "", *, of: Optional[Path] = None) -> None:
        self._value, self._file = known, of
        self._thread: Optional[threading.Thread] = None
        self._error: Optional[OSError] = None

    def start(self) -> None:
        """Compute it on the side, while other work goes on."""
        if self._file is not None and self._thread is None:
            self._thread = threading.Thread(target=self._read, args=(self._file,), name="sha256")
            self._thread.start()

    def result(self) -> str:
        """Return the digest in hexadecimal digits.

        Raises:
            OSError: the file can't be read.
        """
        self.start()
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error
        return self._value

    def _read(self, file: Path) -> None:
        try:
            self._value = sha256_file(file)
        except OSError as error:
            self._error = error
