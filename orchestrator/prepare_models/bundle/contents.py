"""The contents of a new bundle: each once, with its digests, and compressed if zstd makes it smaller."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import zstandard

from prepare_models_entrypoint.contract import sizes
from prepare_models_entrypoint.contract.files import NO_ROOM, PARTIAL, chunks, partial_of, replace, sync

from ..docker.tar_streams import END, Pieces, header, padding
from ..errors import BundleError, HostError, NoRoomError
from ..running.writer_lock import locked_now
from .archive import index_name, member
from .index import MOST_UNPACKED, BundledImage, Content, ImageFile, Index

if TYPE_CHECKING:
    from ..docker.container import Containers
    from ..docker.daemon import Image
    from ..machine.platforms import Platform


_LEVEL = 3
_WORTH = 0.95
_SPARE = 64 << 20

OnBytes = Callable[[int, int], None]


class Contents:
    """Collects files.

    spool: directory for what has to be kept until it is written. base: contents of the bundles that this one is made on
    top of, by their sha256. on_bytes: called with the bytes that were measured.
    """

    def __init__(
        self, spool: Path, base: Mapping[str, Content], on_bytes: Callable[[int], None] = lambda _: None
    ) -> None:
        self._spool, self._base, self._on_bytes = spool, base, on_bytes
        self._files: dict[str, tuple[Content, Path]] = {}

    @property
    def index(self) -> tuple[Content, ...]:
        """Return everything that was added, in the order in which it is written."""
        return tuple(content for _, (content, _) in sorted(self._files.items()))

    def add(self, file: Path, sha256: str | None = None, *, as_it_is: bool = False) -> str:
        """Add a file, which must stay unchanged until ``write`` is done, and return its sha256.

        ``as_it_is``: store it uncompressed, for readers without zstd.

        Raises:
            BundleError: it has another digest than ``sha256``.
        """
        if sha256 is not None and sha256 in self._files:
            return sha256
        try:
            content, stored = self._measured(file, worth=0.0 if as_it_is else _WORTH)
        except OSError as error:
            if error.errno in NO_ROOM:  # where it is kept until it is written
                raise
            raise HostError(f"{file} can't be read: {error.strerror}", hint="give read access to it") from None
        if sha256 not in (None, content.sha256):
            raise BundleError(
                "bundle-changed", f"{file} has sha256 {content.sha256}, expected {sha256}",
                hint="lock again what was meant to change: prepare-models lock",
            )  # fmt: skip
        self._files.setdefault(content.sha256, (content, stored))
        return content.sha256

    def add_bytes(self, data: bytes) -> str:
        """Add bytes and return their sha256."""
        return self.add_stream([data])

    def add_stream(self, chunks: Iterable[bytes]) -> str:
        """Add bytes as they come and return their sha256."""
        handle, name = tempfile.mkstemp(dir=self._spool)
        with os.fdopen(handle, "wb") as stream:
            for chunk in chunks:
                stream.write(chunk)
        return self.add(Path(name))

    def write(self, index: Index, target: Path, on_bytes: OnBytes) -> None:
        """Write the whole bundle, which gets its name when all of it is on the disk.

        ``on_bytes``: called with how many bytes of its contents are written, and of how many.
        """
        here = [content for content in index.contents if not content.base]
        total, done = sum(content.stored_bytes for content in here), 0
        with partial_of(target) as (stream, partial, final):
            stream.write(member(index_name(index.digest), index.to_bytes()))
            for content in here:
                stream.write(header(content.name, content.stored_bytes))
                for chunk in self._stored(content):
                    stream.write(chunk)
                    done += len(chunk)
                    on_bytes(done, total)
                stream.write(padding(content.stored_bytes))
            stream.write(END)
            sync(stream)
            replace(partial, final)

    def _stored(self, content: Content) -> Iterator[bytes]:
        """Yield a member's bytes, as they were measured."""
        file = self._files[content.sha256][1]
        digest, left = hashlib.sha256(), content.stored_bytes
        for chunk in _chunks(file):
            digest.update(chunk)
            left -= len(chunk)
            if left >= 0:
                yield chunk
        if left or digest.hexdigest() != content.stored_sha256:
            raise BundleError("bundle-changed", f"{file} changed while it was written", hint="run again")

    def _measured(self, file: Path, *, worth: float) -> tuple[Content, Path]:
        """Return a content and the file with its stored bytes. ``worth``: share of its size that zstd has to beat."""
        squeeze = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=False).compressobj()
        plain, packed, size, stored = hashlib.sha256(), hashlib.sha256(), 0, 0
        handle, name = tempfile.mkstemp(dir=self._spool)
        with os.fdopen(handle, "wb") as stream:

            def put(piece: bytes) -> int:
                packed.update(piece)
                stream.write(piece)
                return len(piece)

            for chunk in _chunks(file):
                plain.update(chunk)
                size += len(chunk)
                self._on_bytes(len(chunk))
                stored += put(squeeze.compress(chunk))
            stored += put(squeeze.flush())
        digest = plain.hexdigest()
        if digest in self._base:
            Path(name).unlink()
            return dataclasses.replace(self._base[digest], base=True), file
        if stored < size * worth and size <= MOST_UNPACKED * stored:
            if file.parent == self._spool:
                file.unlink()
            return Content(digest, size, packed.hexdigest(), stored, zstd=True), Path(name)
        Path(name).unlink()
        return Content(digest, size, digest, size), file


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb", buffering=0) as stream:
        yield from chunks(stream)


@contextlib.contextmanager
def spool(target: Path) -> Iterator[Path]:
    """Yield an empty directory next to ``target``; those left by killed processes are removed."""
    for left in target.parent.glob(f".{target.name}.*.spool{PARTIAL}"):
        with contextlib.suppress(OSError), locked_now(left):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=f".spool{PARTIAL}", dir=target.parent))
    try:
        with locked_now(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_room(folder: Path, size_bytes: int, verb: str, *, hint: str) -> None:
    """Raise NoRoomError unless the disk of a spool has room for some bytes and a reserve.

    ``verb``: what the bundle does with them, for the message.
    """
    needed, free = size_bytes + _SPARE, shutil.disk_usage(folder).free
    if needed > free:
        text = f"the bundle {verb} {sizes.readable(needed)}, {folder.parent} has {sizes.readable(free)}"
        raise NoRoomError(text, hint=hint)


_CHUNK = 1 << 20


def add_image(containers: Containers, row: Platform, reference: str, image: Image, contents: Contents) -> BundledImage:
    """Export an image from the container engine into the contents of a bundle."""
    files: list[ImageFile] = []
    saved = io.BufferedReader(Pieces(containers.save(reference)), _CHUNK)
    with tarfile.open(fileobj=saved, mode="r|", bufsize=_CHUNK) as archive:
        for entry in archive:
            name = entry.name.removeprefix("./")
            if entry.isreg():
                stream = cast("IO[bytes]", archive.extractfile(entry))
                digest = contents.add_stream(chunks(stream))
                files.append(ImageFile(name, sha256=digest))
            elif entry.issym():
                files.append(ImageFile(name, link=entry.linkname))
            else:
                files.append(ImageFile(name))
    files.sort(key=lambda file: file.path)
    return BundledImage(row.name, image.machine, reference, image.id, tuple(files))


def image_archive(image: BundledImage, path_of: Callable[[str], Path]) -> Iterator[bytes]:
    """Yield the archive of an image for the container engine to load. ``path_of``: returns the path of a digest."""
    for file in image.files:
        place = path_of(file.sha256) if file.sha256 is not None else None
        yield header(file.path, place.stat().st_size if place is not None else None, link=file.link)
        if place is not None:
            with place.open("rb") as stream:
                yield from chunks(stream)
            yield padding(place.stat().st_size)
    yield END
