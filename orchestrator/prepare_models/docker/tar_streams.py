"""Archives as container engines send and accept them: tar streams that are never in memory as a whole."""

from __future__ import annotations

import io
from collections.abc import Iterable

_BLOCK = 512
END = bytes(2 * _BLOCK)


def padding(size: int) -> bytes:
    """Return the bytes that pad a member of ``size`` bytes to whole blocks."""
    return bytes(-size % _BLOCK)


class Pieces(io.RawIOBase):
    """A file of bytes that come in pieces."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces, self._rest = iter(pieces), memoryview(b"")

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # its buffer is typed as any buffer
        """Read into a buffer; return the number of bytes."""
        if not self._rest:
            self._rest = memoryview(next(self._pieces, b""))
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count
