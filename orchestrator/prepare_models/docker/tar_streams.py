"""Archives as engines send and take them: a stream of tar, of which nothing is held in memory."""

from __future__ import annotations

import io
from collections.abc import Iterable

_BLOCK = 512
END = bytes(2 * _BLOCK)


def padding(size: int) -> bytes:
    """Return what fills a member's last block."""
    return bytes(-size % _BLOCK)


class Pieces(io.RawIOBase):
    """Bytes that come in pieces, as a file."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces, self._rest = iter(pieces), memoryview(b"")

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # its buffer is typed as any buffer
        """Read on."""
        if not self._rest:
            self._rest = memoryview(next(self._pieces, b""))
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count
