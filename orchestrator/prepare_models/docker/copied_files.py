"""Files for containers whose engine doesn't see this machine's: sent before the start, fetched after the end.

They are in anonymous volumes, which are removed with the container, at the same paths as with binds.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from prepare_models_entrypoint.contract.files import PARTIAL, atomic_file
from prepare_models_entrypoint.contract.values import Value

from ..errors import ContainerError, InterruptedRunError
from .tar_streams import END, Pieces, header, padding

OnSent = Callable[[int, int], object]

_CHUNK = 1 << 20
# A volume hides the container's own files: at these paths, and anywhere below the others.
_TAKEN = {f"/{name}" for name in ("", "tmp", "run", "var", "opt")}
_SYSTEM = tuple(f"/{name}" for name in ("bin", "dev", "etc", "lib", "lib64", "proc", "sbin", "sys", "usr"))


class Bind(Value):
    """A path of this machine that the container sees."""

    source: Path
    target: str
    read_only: bool = True


def volumes(binds: Sequence[Bind]) -> tuple[str, ...]:
    """Return the directories that become volumes of the container; none of them is inside another.

    A volume itself belongs to root, so a directory that the container writes to is an entry within one.

    Raises:
        ContainerError: a bind is in a directory that the container itself needs.
    """
    chosen: list[PurePosixPath] = []
    places = [(path if bind is None else path.parent, path, bind) for path, bind in _plain(binds).items()]
    for place, path, bind in sorted(places, key=lambda item: len(item[0].parts)):
        if str(place) in _TAKEN or f"/{place.parts[1]}" in _SYSTEM:
            if bind is None:
                continue
            raise ContainerError(
                "docker-remote",
                f"{path} can't be sent to an engine on another machine: {place} is the container's own",
                hint="move it into a directory of yours, then run again",
            )
        if not any(each == place or each in place.parents for each in chosen):
            chosen.append(place)
    return tuple(map(str, chosen))


def archives(
    binds: Sequence[Bind], user: str, stopped: Callable[[], bool], on_sent: OnSent
) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield each volume with the archive that fills it: read-only paths complete, writable ones as empty directories.

    ``user``: ``uid:gid`` of the owner. ``stopped``: asked now and then; if it returns true, an archive ends with
    ``InterruptedRunError``. ``on_sent``: called with how many bytes of files are sent, and of how many.
    """
    plain = _plain(binds)
    sources = [bind.source for bind in binds if bind.read_only]
    files = [file for source in sources for file in (source.rglob("*") if source.is_dir() else (source,))]
    sending = _Sending(user, stopped, on_sent, sum(file.stat().st_size for file in files if file.is_file()))
    for volume in volumes(binds):
        here = {path: bind for path, bind in plain.items() if PurePosixPath(volume) in path.parents}
        yield volume, sending.packed(here, PurePosixPath(volume))


def unpack(pieces: Iterable[bytes], place: Path) -> None:
    """Write the files of a directory's archive below ``place``; links and devices are skipped.

    Raises:
        ContainerError: the archive is cut short.
    """
    try:
        with tarfile.open(fileobj=io.BufferedReader(Pieces(pieces), _CHUNK), mode="r|") as archive:
            for member in archive:
                _unpack(archive, member, place)
    except tarfile.TarError as error:
        raise ContainerError(
            "docker-remote", f"the engine sent an incomplete archive: {error}", hint="run again"
        ) from None


def _unpack(archive: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
    inner = PurePosixPath(member.name).parts[1:]  # the first part is the directory's own name
    if not member.isfile() or not inner or ".." in inner or inner[-1].endswith(PARTIAL):
        return
    target = place.joinpath(*inner)
    target.parent.mkdir(parents=True, exist_ok=True)
    content = archive.extractfile(member)
    with atomic_file(target, mode=member.mode & 0o777) as stream:
        shutil.copyfileobj(content or io.BytesIO(), stream, _CHUNK)


def _plain(binds: Sequence[Bind]) -> dict[PurePosixPath, Bind | None]:
    """Return what has to be sent by path without ``..``, and the directories on the way (None)."""
    found: dict[PurePosixPath, Bind | None] = {}
    for bind in binds:
        parts = PurePosixPath(bind.target).parts
        for index, part in enumerate(parts):
            if part == "..":
                through = PurePosixPath(os.path.normpath(PurePosixPath(*parts[:index])))
                found.setdefault(through, None)
        found[PurePosixPath(os.path.normpath(bind.target))] = bind
    return found


class _Sending:
    """Archives being sent to a container engine."""

    def __init__(self, user: str, stopped: Callable[[], bool], on_sent: OnSent, total: int) -> None:
        uid, gid = map(int, user.split(":"))
        self._owner = uid, gid
        self._stopped, self._on_sent, self._total, self._sent = stopped, on_sent, total, 0

    def packed(self, wanted: dict[PurePosixPath, Bind | None], volume: PurePosixPath) -> Iterator[bytes]:
        made = {PurePosixPath()}
        for path, bind in wanted.items():
            inner = path.relative_to(volume)
            for folder in (*reversed(inner.parents), *([inner] if bind is None else [])):
                if folder not in made:
                    yield header(str(folder), None, owner=self._owner)
                    made.add(folder)
            if bind is not None:
                try:
                    yield from self._entries(bind.source, inner, content=bind.read_only)
                except OSError as error:  # which, raised within the SDK, would look like a network error
                    what = f"{error.filename or bind.source} can't be read: {error.strerror}"
                    raise ContainerError("docker-remote", what, hint="check its permissions, then run again") from None
        yield END

    def _entries(self, path: Path, name: PurePosixPath, *, content: bool) -> Iterator[bytes]:
        """Yield a file, or a directory with its contents. Deeper links to directories are skipped."""
        if path.is_dir():
            yield header(str(name), None, owner=self._owner)
            for child in sorted(path.iterdir()) if content else ():
                if not (child.is_symlink() and child.is_dir()):
                    yield from self._entries(child, name / child.name, content=True)
        elif path.is_file():
            yield from self._file(path, name)

    def _file(self, path: Path, name: PurePosixPath) -> Iterator[bytes]:
        with path.open("rb", buffering=0) as stream:
            status = os.fstat(stream.fileno())
            mode, mtime = status.st_mode & 0o777, int(status.st_mtime)
            yield header(str(name), status.st_size, mode, owner=self._owner, mtime=mtime)
            left = status.st_size
            while left and (piece := stream.read(min(left, _CHUNK))):
                if self._stopped():
                    raise InterruptedRunError("the run was stopped")
                left -= len(piece)
                yield piece
                self._sent += len(piece)
                self._on_sent(self._sent, self._total)
            if left:
                raise ContainerError("docker-remote", f"{path} became shorter while it was sent", hint="run again")
            yield padding(status.st_size)
