"""Archives as container engines send and accept them: tar streams that are never in memory as a whole."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable

_BLOCK = tarfile.BLOCKSIZE
END = bytes(2 * _BLOCK)


def padding(size: int) -> bytes:
    """Return the bytes that pad a member of ``size`` bytes to whole blocks."""
    return bytes(-size % _BLOCK)


def header(
    name: str,
    size: int | None,
    mode: int = 0o644,
    *,
    link: str | None = None,
    owner: tuple[int, int] = (0, 0),
    mtime: int = 0,
) -> bytes:
    """Return the header of a member; sizes beyond 8 GiB, and long names, take extra blocks, as in POSIX.

    ``size``: of a file, in bytes; None for a directory or a link. ``mode``: permissions of a file. ``link``: what a
    symbolic link names. ``owner``: user and group. ``mtime``: seconds since the epoch.
    """
    entry = tarfile.TarInfo(name)
    entry.mode, (entry.uid, entry.gid), entry.mtime = mode, owner, mtime
    if link is not None:
        entry.type, entry.linkname = tarfile.SYMTYPE, link
    elif size is None:
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
    else:
        entry.size = size
    return entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


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
