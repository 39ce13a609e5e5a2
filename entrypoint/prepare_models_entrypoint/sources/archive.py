"""Members of archives. Only the bytes of one plain file are read out; no name in an archive ever becomes a path."""

from __future__ import annotations

import contextlib
import lzma
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Callable, Iterator, List, Tuple

from ..contract.source import Member
from ..download.content_store import Store, key_of
from ..download.disk_space import FOR_CACHE, check_room
from ..download.part import Part
from ..download.transfer import mismatch
from ..errors import FetchError

if TYPE_CHECKING:
    from typing import Optional

    from ..download.fetch import Fetched

_CHUNK = 1 << 20
_LARGEST = 64 << 30
_SHOWN = 12
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, NotImplementedError)


def fetch_member(
    archive: "Callable[[], Fetched]", member: Member, *, sha256: "Optional[str]", store: Store
) -> "Fetched":
    """Return a file of an archive. With a pinned digest the archive is not asked for when the file is here already.

    Args:
        archive: fetches the archive.
        member: which file of it.
        sha256: pinned digest of the file, not of the archive.
        store: receives the file.

    Raises:
        FetchError: the archive can't be had or read, has no such plain file, or has other bytes.
    """
    from ..download.digest import Digest
    from ..download.fetch import Fetched

    name = member.path.rpartition("/")[2]
    present = store.find(sha256, name) if sha256 else None
    if present is not None:
        return Fetched(present.path, present.bytes, Digest(present.sha256), True, promised="manifest")
    outer = archive()
    key = key_of(f"{outer.digest.result()}!{member.path}")
    known = store.recall(key)
    stored = store.find(known["sha256"], name) if known else None
    with store.lock(key) if stored is None else contextlib.nullcontext():
        known = store.recall(key)
        stored = store.find(known["sha256"], name) if known else None
        if stored is None:
            part_path = store.parts / f"{key}.part"
            with Part.opened(part_path, resume_without_validator=False) as part:
                _copy(outer.path, member.path, part)
                stored = store.adopt(part_path, part.sha256(), name)
            store.remember(key, {"source": member.path, "sha256": stored.sha256})
    if sha256 and stored.sha256 != sha256:
        raise mismatch(f"{member.path} of {outer.path.name}", expected=sha256, found=stored.sha256)
    promised = "manifest" if sha256 else outer.promised
    return Fetched(
        stored.path, stored.bytes, Digest(stored.sha256), sha256 is not None, outer.fresh, promised, outer.licence
    )


def _copy(archive: Path, path: str, part: Part) -> None:
    try:
        opened = _zip_member if archive.name.lower().endswith(".zip") else _tar_member
        with opened(archive, path) as (stream, size):
            if size > _LARGEST:
                raise _invalid(archive, f"{path} unpacks to {size / 1e6:.0f} MB, which no model has")
            check_room(part.path.parent, size, what=path, hint=FOR_CACHE)
            for chunk in iter(lambda: stream.read(_CHUNK), b""):
                if part.size + len(chunk) > size:
                    raise _invalid(archive, f"{path} is larger than the archive says")
                part.append(chunk)
            if part.size != size:
                raise _invalid(archive, f"{path} ends early")
    except _BROKEN as error:
        raise _invalid(archive, f"{type(error).__name__}: {error}") from None


@contextlib.contextmanager
def _tar_member(archive: Path, path: str) -> "Iterator[Tuple[IO[bytes], int]]":
    names: List[str] = []
    with tarfile.open(str(archive), "r|*") as tar:  # a stream: one pass, whatever the compression
        for info in tar:
            if _normal(info.name) == path:
                stream = tar.extractfile(info) if info.isreg() else None
                if stream is None:
                    raise _invalid(archive, f"{path} is no plain file but a link, directory or device")
                yield stream, info.size
                return
            if info.isreg():
                names.append(_normal(info.name))
    raise _missing(archive, path, names)


@contextlib.contextmanager
def _zip_member(archive: Path, path: str) -> "Iterator[Tuple[IO[bytes], int]]":
    with zipfile.ZipFile(str(archive)) as pack:
        infos = {_normal(info.filename): info for info in pack.infolist() if not info.is_dir()}
        info = infos.get(path)
        if info is None:
            raise _missing(archive, path, list(infos))
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise _invalid(archive, f"{path} is no plain file but a link, directory or device")
        if info.flag_bits & 1:
            raise _invalid(archive, f"{path} is encrypted")
        with pack.open(info) as stream:
            yield stream, info.file_size


def _normal(name: str) -> str:
    return name[2:] if name.startswith("./") else name


def _invalid(archive: Path, what: str) -> FetchError:
    return FetchError("archive-invalid", f"{archive.name}: {what}", hint="look into the archive: tar -tvf, unzip -l")


def _missing(archive: Path, path: str, names: List[str]) -> FetchError:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    found = ", ".join(names[:_SHOWN]) + more
    return FetchError(
        "source-not-found",
        f"{archive.name} has no {path}; it has {found or 'no files'}",
        hint="write the path behind the ! as the archive has it",
    )
