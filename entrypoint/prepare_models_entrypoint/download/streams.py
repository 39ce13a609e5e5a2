"""The files that this process is fetching at the same time, which share a connection and a disk."""

from __future__ import annotations

import contextlib
import threading
from typing import Callable, Dict, Iterator

_CONNECTIONS = 5  # for all files together; that many files use the full bandwidth without ranges


class Streams:
    """All of them, each with a function that returns how many bytes it still takes on the disk."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._needs: Dict[object, Callable[[], int]] = {}

    @contextlib.contextmanager
    def one(self) -> Iterator[object]:
        """Count one more, which is yielded, while the block runs."""
        stream = object()
        with self._guard:
            self._needs[stream] = lambda: 0
        try:
            yield stream
        finally:
            with self._guard:
                del self._needs[stream]

    def spare(self) -> int:
        """Return how many further connections one file may have."""
        return _CONNECTIONS - len(self._needs)

    def admit(self, stream: object, need: Callable[[], int], check: Callable[[int], None]) -> None:
        """Admit the bytes of a stream if ``check`` finds disk space for them besides what the others still need."""
        with self._guard:
            self._needs[stream] = lambda: 0
            check(need() + sum(other() for other in self._needs.values()))
            self._needs[stream] = need
