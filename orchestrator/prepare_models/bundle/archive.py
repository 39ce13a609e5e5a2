"""The form of a bundle on the disk: a plain tar whose every byte follows from the index.

    index-<sha256 of the index>.json
    content/<sha256>[.zst]            in the order of the index
    two empty blocks

When a bundle is read, headers and padding are computed from the index and compared, and the members' bytes are hashed,
so a flipped byte is found anywhere. Any tar program unpacks a bundle.
"""

from __future__ import annotations

import contextlib
import hashlib
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, BinaryIO, cast

import zstandard

from prepare_models_entrypoint.contract import schema

from ..docker.tar_streams import END, header, padding
from ..errors import BundleError, HostError
from . import BEGINNING
from .index import Content, Index, parse

_BLOCK = tarfile.BLOCKSIZE
_CHUNK = 1 << 20

OnBytes = Callable[[int], None]
Sink = Callable[[bytes], object]


def index_name(digest: str) -> str:
    """Return the name of the first member."""
    return f"{BEGINNING}{digest}.json"


def member(name: str, content: bytes) -> bytes:
    """Return a whole member."""
    return header(name, len(content)) + content + padding(len(content))


class Reader:
    """Reads a bundle from beginning to end, and trusts nothing.

    Raises:
        BundleError: ``bundle-damaged`` at the first byte that differs from the index, or if bytes are missing.
    """

    def __init__(self, stream: BinaryIO, on_bytes: OnBytes = lambda _: None) -> None:
        self._stream, self._on_bytes = stream, on_bytes
        self.index_bytes = self._read_index()
        self.index: Index = parse(self.index_bytes)

    def walk(self, sink_of: Callable[[Content], Sink | None]) -> Iterator[Content]:
        """Yield each content of this bundle after its bytes are verified.

        ``sink_of``: returns what receives a content's bytes as they come, before verification; None to drop them.
        """
        for content in self.index.contents:
            if not content.base:
                self._member(content, sink_of(content))
                yield content
        self._expect(END, "its end")
        if self._stream.read(1):
            raise damaged("there is data after its end")

    def _read_index(self) -> bytes:
        first = self._exactly(_BLOCK, "its first header")
        try:
            size = tarfile.TarInfo.frombuf(first, "utf-8", "strict").size
        except (tarfile.HeaderError, UnicodeDecodeError) as error:
            raise damaged(f"it does not start like a bundle: {error}") from None
        if not 0 < size <= schema.LARGEST_DOCUMENT:
            raise damaged(f"its index claims {size} bytes")
        data = self._exactly(size, "its index")
        if first != header(index_name(hashlib.sha256(data).hexdigest()), size):
            raise damaged("its index is not the one that the first header names")
        self._expect(padding(size), "the padding of its index")
        return data

    def _member(self, content: Content, sink: Sink | None) -> None:
        self._expect(header(content.name, content.stored_bytes), f"the header of {content.name}")
        stored = _Stored(self._exactly, content)
        plain, size = hashlib.sha256(), 0
        for chunk in stored.unpacked():
            plain.update(chunk)
            size += len(chunk)
            if size > content.bytes:
                raise damaged(f"{content.name} unpacks to more than {content.bytes} bytes")
            if sink is not None:
                sink(chunk)
        if (stored.digest(), plain.hexdigest(), size) != (content.stored_sha256, content.sha256, content.bytes):
            raise damaged(f"{content.name} differs from what the index says")
        self._expect(padding(content.stored_bytes), f"the padding of {content.name}")

    def _expect(self, wanted: bytes, what: str) -> None:
        if self._exactly(len(wanted), what) != wanted:
            raise damaged(f"{what} has changed since it was written")

    def _exactly(self, size: int, what: str) -> bytes:
        parts: list[bytes] = []
        left = size
        while left:
            try:
                part = self._stream.read(left)
            except OSError as error:
                raise _unreadable("the bundle", error) from None
            if not part:
                raise damaged(f"it ends within {what}; is a part missing?")
            parts.append(part)
            left -= len(part)
        self._on_bytes(size)
        return b"".join(parts)


class _Stored:
    """The bytes of a member, hashed as they are read; unpacked in pieces, however small they are compressed."""

    def __init__(self, exactly: Callable[[int, str], bytes], content: Content) -> None:
        self._exactly, self._content = exactly, content
        self._left, self._digest = content.stored_bytes, hashlib.sha256()

    def read(self, size: int) -> bytes:
        """Return the next bytes; empty at the member's end."""
        data = self._exactly(min(size, self._left), self._content.name)
        self._left -= len(data)
        self._digest.update(data)
        return data

    def unpacked(self) -> Iterator[bytes]:
        """Yield the content."""
        source = zstandard.ZstdDecompressor().stream_reader(cast("IO[bytes]", self)) if self._content.zstd else self
        try:
            yield from iter(lambda: source.read(_CHUNK), b"")
        except zstandard.ZstdError as error:
            raise damaged(f"{self._content.name} can't be unpacked: {error}") from None

    def digest(self) -> str:
        """Return the sha256 of all stored bytes, including any after the end of the zstd data."""
        while self.read(_CHUNK):
            pass
        return self._digest.hexdigest()


@contextlib.contextmanager
def opened(bundle: Path) -> Iterator[BinaryIO]:
    """Yield the bytes of a bundle, which may be a pipe.

    Raises:
        BundleError: it doesn't exist. HostError: it can't be read.
    """
    if not (bundle.is_file() or bundle.is_fifo()):
        if bundle.is_dir():
            raise BundleError("bundle-missing", f"{bundle} is a directory, not a bundle", hint="give the bundle's file")
        what = "is not a file or a pipe" if bundle.exists() else "doesn't exist"
        raise BundleError(
            "bundle-missing", f"{bundle} {what}", hint=f"check the path; parts of it: cat {bundle}.?? > {bundle}"
        )
    try:
        stream = bundle.open("rb", buffering=_CHUNK)
    except OSError as error:
        raise _unreadable(str(bundle), error) from None
    with stream:
        yield stream


def _unreadable(what: str, error: OSError) -> HostError:
    return HostError(f"{what} can't be read: {error.strerror}", hint="check the medium and its permissions")


def damaged(what: str) -> BundleError:
    """Return the error for bytes that differ from those written."""
    return BundleError("bundle-damaged", f"the bundle is damaged: {what}", hint="copy it again, or create it again")
