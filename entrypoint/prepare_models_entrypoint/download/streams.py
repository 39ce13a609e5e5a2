"""The files that this process is fetching at the same time, which share a connection and a disk."""

from __future__ import annotations

import contextlib
import threading
from typing import Callable, Iterator, List

_CONNECTIONS = 5  # for all files together; that many files use the full bandwidth without ranges


class Stream:
    """One of them. ``need`` returns how many bytes it still takes on the disk."""

    def __init__(self) -> None:
        self.need: Callable[[], int] = lambda: 0


class Streams:
    """All of them."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._all: List[Stream] = []

    @contextlib.contextmanager
    def one(self) -> Iterator[Stream]:
        """Count one more while the block runs."""
        stream = Stream()
        with self._guard:
            self._all.append(stream)
        try:
            yield stream
        finally:
            with self._guard:
                self._all.remove(stream)

    def spare(self) -> int:
        """Return how many further connections one file may have."""
        return _CONNECTIONS - len(self._all)

    def admit(self, stream: Stream, need: Callable[[], int], check: Callable[[int], None]) -> None:
        """Admit the bytes of a stream if ``check`` finds disk space for them besides what the others still need."""
        with self._guard:
            stream.need = lambda: 0
            check(need() + sum(other.need() for other in self._all))
            stream.need = need
