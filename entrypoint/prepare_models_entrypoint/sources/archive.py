"""Members of archives. Only the bytes of one regular file are extracted; no name in an archive ever becomes a path."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, Callable, ContextManager, Iterator, List, Optional, Tuple, Union

from ..contract.files import chunks
from ..contract.source import Source
from ..download.content_store import Store, key_of
from ..download.disk_space import FOR_CACHE, check_room
from ..download.history import FetchRecord
from ..download.part import Part
from ..download.transfer import mismatch
from ..errors import FetchError
from .http import safe_name

_Stream = Union[BinaryIO, gzip.GzipFile, bz2.BZ2File, lzma.LZMAFile]

if TYPE_CHECKING:
    from ..download.fetch import Fetched

_LONGEST_CHAIN = 20  # of hard links
_LARGEST = 64 << 30
_SHOWN = 12
_LARGEST_HEADER = 1 << 20  # bytes of a long name or of attributes, which are read into memory
_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
# What the libraries raise for bytes that they do not expect; also OSErrors without a number.
_BROKEN = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, NotImplementedError, ValueError,
    LookupError, OverflowError,
)  # fmt: skip


def fetch_member(archive: "Callable[[], Fetched]", source: Source, *, sha256: Optional[str], store: Store) -> "Fetched":
    """Return a file from an archive. With a pinned digest, the archive isn't fetched if the store has the file.

    Args:
        archive: fetches the archive.
        source: which file in it.
        sha256: pinned digest of the file, not of the archive.
        store: receives the file.

    Raises:
        FetchError: the archive can't be fetched or read, has no such regular file, or has different bytes.
    """
    from ..download.digest import FileDigest
    from ..download.fetch import Fetched

    name = safe_name(source.inner.replace("\\", "/"))
    present = store.find(sha256, name) if sha256 else None
    if present is not None:
        return Fetched(present.path, present.bytes, FileDigest(present.sha256), True, promised="manifest")
    outer = archive()
    key = key_of(f"{outer.digest.result()}!last {normal(source.inner)}")
    known = store.sources.recall(key)
    stored = store.find(known["sha256"], name) if known else None
    with store.lock(key) if stored is None else contextlib.nullcontext():
        known = store.sources.recall(key)
        stored = store.find(known["sha256"], name) if known else None
        if stored is None:
            part_path = store.parts / f"{key}.part"
            with Part.opened(part_path, resume_without_validator=False) as part:
                _copy(outer.path, source.inner, part)
                stored = store.adopt(part_path, part.sha256(), name)
            known = FetchRecord(source=source.inner, sha256=stored.sha256, mark=None, promised=None, at=None)
            store.sources.remember(key, known)
    if sha256 and stored.sha256 != sha256:
        raise mismatch(f"{source.inner} of {outer.path.name}", expected=sha256, found=stored.sha256)
    promised = "manifest" if sha256 else outer.promised
    return Fetched(
        stored.path, stored.bytes, FileDigest(stored.sha256), sha256 is not None, outer.fresh, promised, outer.licence
    )


def _copy(archive: Path, path: str, part: Part) -> None:
    try:
        if archive.name.lower().endswith(".zip"):
            _copy_zip_member(archive, path, part)
        else:
            _copy_tar_member(archive, path, part)
    except EOFError:
        raise _truncated(archive) from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise _invalid(archive, f"{type(error).__name__}: {error}") from None
    except _BROKEN as error:
        raise _invalid(archive, f"{type(error).__name__}: {error}") from None


def _copy_tar_member(archive: Path, path: str, part: Part) -> None:
    """Copy what tar would extract under a name: its last member, or the file that this is a hard link to.

    A hard link leads to the last member with the other name before it, which may be a hard link, too.
    """
    wanted, before = normal(path), None
    for _ in range(1 + _LONGEST_CHAIN):
        found, link = _copy_last(archive, path, wanted, before, part)
        if link is None:
            return
        wanted, before = link, found
    raise _invalid(archive, f"{path} is a link to a link, and so on too many times")


def _copy_last(archive: Path, path: str, wanted: str, before: Optional[int], part: Part) -> Tuple[int, Optional[str]]:
    """Copy the last member named ``wanted``; return its place in the archive and what it is a hard link to.

    ``before``: the place of a hard link to it, after which members don't count; None for ``path`` itself.
    """
    names: List[str] = []
    found: Optional[int] = None
    link: Optional[str] = None
    linked = "" if before is None else f"{path} is a link to {wanted}, which is not"
    with _Tar.opened(archive) as tar:
        for index, info in enumerate(tar.members()):
            if index == before:
                break
            name = normal(info.name)
            if name == wanted:
                found, link = index, normal(info.linkname) if info.islnk() else None
                part.restart()
                if info.isreg():
                    tar.copy(info, part, path)
                elif link is None:
                    unlike = f"{path} is not a regular file but a link, directory or device"
                    raise _invalid(archive, f"{linked} a regular file" if linked else unlike)
            elif info.isreg():
                names.append(name)
        is_whole = tar.is_whole
    if found is None and linked:
        raise _invalid(archive, f"{linked} in the archive before it")
    if found is None:
        raise _missing(archive, path, names) if is_whole else _truncated(archive)
    return found, link


class _Tar:
    """A tar archive, read as one stream; gzip, bzip2 and xz files may consist of several, as their programs allow."""

    def __init__(self, archive: Path, stream: _Stream, tar: tarfile.TarFile) -> None:
        self._archive, self._stream, self._tar = archive, stream, tar

    @classmethod
    @contextlib.contextmanager
    def opened(cls, archive: Path) -> "Iterator[_Tar]":
        """Open an archive.

        Raises:
            TarError: it is not one.
        """
        with contextlib.ExitStack() as stack:
            raw = stack.enter_context(open(str(archive), "rb"))
            stream = stack.enter_context(_decompressed(raw))
            yield cls(archive, stream, stack.enter_context(tarfile.open(fileobj=stream, mode="r|", tarinfo=_Info)))

    @property
    def is_whole(self) -> bool:
        """Return whether the end-of-archive marker was read."""
        return getattr(self._tar, "ended", False)

    def members(self) -> Iterator[tarfile.TarInfo]:
        """Yield the members.

        Raises:
            EOFError: the archive ends within one.
        """
        seen = False
        try:
            for info in self._tar:
                seen = True
                yield info
        except tarfile.ReadError:
            if seen and not self._stream.read(1):
                raise EOFError from None
            raise

    def copy(self, info: tarfile.TarInfo, part: Part, path: str) -> None:
        """Append the bytes of a regular member."""
        stream = self._tar.extractfile(info)
        if stream is not None:
            try:
                _append(self._archive, path, stream, info.size, part)
            except tarfile.ReadError:
                raise EOFError from None


class _Info(tarfile.TarInfo):
    """Records where the end-of-archive marker is read: an archive cut between two members has none."""

    @classmethod
    def frombuf(cls, buf: "Union[bytes, bytearray]", encoding: Optional[str], errors: str) -> "_Info":
        info = super().frombuf(buf, encoding, errors)  # type: ignore[arg-type]  # None is the default
        if info.type in _HEADERS and info.size > _LARGEST_HEADER:
            raise tarfile.TarError(f"a name or attribute has {info.size} bytes")
        return info

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> "_Info":
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # typeshed lacks it
            archive.ended = True  # type: ignore[attr-defined]  # a note for is_whole
            raise


def _decompressed(raw: BinaryIO) -> "ContextManager[_Stream]":
    head = raw.read(6)
    raw.seek(0)
    for beginning, opened in _COMPRESSIONS:
        if head.startswith(beginning):
            return opened(raw)
    return contextlib.nullcontext(raw)


_COMPRESSIONS: "Tuple[Tuple[bytes, Callable[[BinaryIO], ContextManager[_Stream]]], ...]" = (
    (b"\x1f\x8b", lambda raw: gzip.GzipFile(fileobj=raw, mode="rb")),
    (b"BZh", lambda raw: bz2.BZ2File(raw, "rb")),
    (b"\xfd7zXZ\x00", lambda raw: lzma.LZMAFile(raw, "rb")),  # noqa: SIM115  # its caller closes it
)


def _copy_zip_member(archive: Path, path: str, part: Part) -> None:
    try:
        pack = zipfile.ZipFile(str(archive))
    except zipfile.BadZipFile:
        with open(str(archive), "rb") as raw:
            if raw.read(4) == b"PK\x03\x04":
                raise EOFError from None  # its directory is at the end
        raise
    with pack:
        # Windows programs may write backslashes.
        infos = {normal(info.filename.replace("\\", "/")): info for info in pack.infolist() if not info.is_dir()}
        info = infos.get(normal(path.replace("\\", "/")))
        if info is None:
            raise _missing(archive, path, list(infos))
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise _invalid(archive, f"{path} is not a regular file but a link, directory or device")
        if info.flag_bits & 1:
            raise _invalid(archive, f"{path} is encrypted")
        with pack.open(info) as stream:
            _append(archive, path, stream, info.file_size, part)


def _append(archive: Path, path: str, stream: IO[bytes], size: int, part: Part) -> None:
    if size > _LARGEST:
        raise _invalid(archive, f"{path} unpacks to {size / 1e6:.0f} MB, more than any model has")
    check_room(part.path.parent, size, what=path, hint=FOR_CACHE)
    for chunk in chunks(stream):
        if part.size + len(chunk) > size:
            raise _invalid(archive, f"{path} is larger than the archive says")
        part.append(chunk)
    if part.size != size:
        raise EOFError


def normal(name: str) -> str:
    """Return a member's name in the form for comparison: without ``.``, empty parts, leading slash, in Unicode NFC."""
    return unicodedata.normalize("NFC", "/".join(part for part in name.split("/") if part not in ("", ".")))


def _truncated(archive: Path) -> FetchError:
    return FetchError("archive-invalid", f"{archive.name} is truncated: it ends too early", hint="download it again")


def _invalid(archive: Path, what: str) -> FetchError:
    return FetchError("archive-invalid", f"{archive.name}: {what}")


def _missing(archive: Path, path: str, names: List[str]) -> FetchError:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    found = ", ".join(names[:_SHOWN]) + more
    return FetchError(
        "source-not-found",
        f"{archive.name} has no {path}; it has {found or 'no files'}",
        hint="write the path after the ! as the archive has it",
    )
