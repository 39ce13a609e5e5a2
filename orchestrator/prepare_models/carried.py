"""Files for a container whose engine does not see this machine's: sent before it starts, brought back after its end.

They lie in volumes without names, which belong to the container and go with it, at the same paths as with binds.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from prepare_models_entrypoint.contract.files import PARTIAL, atomic_file

from .errors import HostError
from .tar_streams import END, Pieces, padding

_CHUNK = 1 << 20
# Directories that a container has of its own: a volume there would hide what it runs on.
_NAMES = "bin dev etc lib lib64 opt proc run sbin sys tmp usr usr/bin usr/lib usr/lib64 var"
_TAKEN = {"/", *(f"/{name}" for name in _NAMES.split())}


@dataclass(frozen=True)
class Bind:
    """A path of this machine that the container sees.

    content: whether what is there goes along where it has to be sent; None for what is read-only.
    """

    source: Path
    target: str
    read_only: bool = True
    content: bool | None = None

    @property
    def is_sent(self) -> bool:
        """Tell whether the content goes along."""
        return self.read_only if self.content is None else self.content


def volumes(binds: Sequence[Bind]) -> tuple[str, ...]:
    """Return the directories for which the container gets volumes; none of them lies in another.

    The engine makes a volume the property of root, so a directory that the container writes to is an entry of one.

    Raises:
        HostError: something lies directly in a directory that the container has of its own.
    """
    chosen: list[PurePosixPath] = []
    for bind in sorted(binds, key=lambda bind: len(PurePosixPath(bind.target).parts)):
        parent = PurePosixPath(bind.target).parent
        if str(parent) in _TAKEN:
            raise _error(f"{bind.target} lies in {parent} itself, where the container has files of its own")
        if not any(each == parent or each in parent.parents for each in chosen):
            chosen.append(parent)
    return tuple(map(str, chosen))


def archives(binds: Sequence[Bind], user: str, stopped: Callable[[], bool]) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield each volume with the archive that fills it.

    Args:
        binds: what goes there.
        user: ``uid:gid`` of the owner.
        stopped: asked now and then; where it says yes, an archive ends with ``InterruptedError``.
    """
    for volume in volumes(binds):
        here = [bind for bind in binds if PurePosixPath(volume) in PurePosixPath(bind.target).parents]
        yield volume, _packed(here, volume, _Owner(user), stopped)


def unpack(pieces: Iterable[bytes], place: Path) -> None:
    """Write the files of a directory's archive below ``place``; links and devices are left out."""
    with tarfile.open(fileobj=io.BufferedReader(Pieces(pieces), _CHUNK), mode="r|") as archive:
        for member in archive:
            inner = PurePosixPath(member.name).parts[1:]  # the first is the directory's own name
            if not member.isfile() or not inner or ".." in inner or inner[-1].endswith(PARTIAL):
                continue
            target = place.joinpath(*inner)
            target.parent.mkdir(parents=True, exist_ok=True)
            content = archive.extractfile(member)
            with atomic_file(target, mode=member.mode & 0o777) as stream:
                shutil.copyfileobj(content or io.BytesIO(), stream, _CHUNK)


class _Owner:
    def __init__(self, user: str) -> None:
        self.uid, self.gid = map(int, user.split(":"))

    def header(self, name: PurePosixPath, mode: int, *, size: int | None = None, mtime: float = 0) -> bytes:
        """Return the header of a file, or of a directory, which has no size."""
        entry = tarfile.TarInfo(str(name))
        entry.uid, entry.gid, entry.mode, entry.mtime = self.uid, self.gid, mode, int(mtime)
        entry.type, entry.size = (tarfile.DIRTYPE, 0) if size is None else (tarfile.REGTYPE, size)
        return entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _packed(binds: Sequence[Bind], volume: str, owner: _Owner, stopped: Callable[[], bool]) -> Iterator[bytes]:
    made: set[PurePosixPath] = {PurePosixPath()}
    for bind in binds:
        inner = PurePosixPath(bind.target).relative_to(volume)
        for folder in reversed(inner.parents):
            if folder not in made:
                yield owner.header(folder, 0o755)
                made.add(folder)
        for piece in _entries(bind.source, inner, owner, content=bind.is_sent):
            if stopped():
                raise InterruptedError
            yield piece
    yield END


def _entries(path: Path, name: PurePosixPath, owner: _Owner, *, content: bool) -> Iterator[bytes]:
    """Yield a file, or a directory with what is in it; links are followed."""
    if path.is_dir():
        yield owner.header(name, 0o755)
        for child in sorted(path.iterdir()) if content else ():
            yield from _entries(child, name / child.name, owner, content=True)
    elif path.is_file():
        with path.open("rb", buffering=0) as stream:
            status = os.fstat(stream.fileno())
            yield owner.header(name, status.st_mode & 0o777, size=status.st_size, mtime=status.st_mtime)
            left = status.st_size
            while left and (piece := stream.read(min(left, _CHUNK))):
                left -= len(piece)
                yield piece
            if left:
                raise _error(f"{path} became shorter while it was sent")
            yield padding(status.st_size)


def _error(message: str) -> HostError:
    error = HostError(f"{message}; the engine is on another machine", hint="move it into a directory, then run again")
    error.code = "docker-remote"
    return error
