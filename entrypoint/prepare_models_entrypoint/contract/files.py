"""Files that are whole or absent: written next to their target, synced, renamed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import BinaryIO, Callable, Iterator, Mapping, Optional, Tuple, Union

PathLike = Union[str, Path]

# Carries the caller's umask into containers, which otherwise have the engine's; in octal digits.
UMASK_VARIABLE = "PREPARE_MODELS_UMASK"
# Every unfinished file carries this in its name, so that a later run can tell and remove it.
PARTIAL = ".prepare-models-partial"
_CHUNK = 1 << 20
_FICLONE = 0x40049409
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)  # errno of a disk, or of a user's share of it, that is full
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextlib.contextmanager
def naming(path: PathLike) -> Iterator[None]:
    """Have an error for a full disk name the file that was written: a write knows only its descriptor."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM and error.filename is None:
            error.filename = str(path)
        raise


def no_room(path: object) -> str:
    """Say that there was no room for a file, and on which disk. ``path``: None where unknown."""
    if path is None:
        return "no room left to write the output"
    place = os.path.realpath(os.fsdecode(path) if isinstance(path, bytes) else str(path))
    while not os.path.ismount(place):
        place = os.path.dirname(place)
    return f"no room left to write {path}: the disk at {place} is full"


@contextlib.contextmanager
def atomic_file(target: PathLike, *, mode: int = 0o644) -> Iterator[BinaryIO]:
    """Open a temporary file next to ``target`` that takes its place when the block ends well and vanishes otherwise.

    A device or a pipe is written as it is: /dev/null and /dev/stdout stay what they are.
    """
    if _is_special(target):
        with naming(target), open(str(target), "wb") as stream:
            yield stream
        return
    with partial_of(target, mode=mode) as (stream, partial, final):
        yield stream
        sync(stream)
        replace(partial, final)


@contextlib.contextmanager
def partial_of(target: PathLike, *, mode: int = 0o644) -> Iterator[Tuple[BinaryIO, Path, Path]]:
    """Open a partial file next to what ``target`` leads to, which is yielded last; links are followed.

    What processes which died left of the same file is removed first.
    """
    if _is_special(target):
        raise _no_regular_file(target)
    final = Path(os.path.realpath(str(target)))
    remove_partials(final.parent, of=final.name)
    with partial_file(final, mode=mode) as (stream, partial):
        yield stream, partial, final


@contextlib.contextmanager
def partial_file(target: PathLike, *, mode: int = 0o644) -> Iterator[Tuple[BinaryIO, Path]]:
    """Open a temporary file next to ``target``; remove it after the block unless it was renamed meanwhile.

    It is locked for as long as this process has it open: so ``remove_partials`` tells it from those of dead processes.
    """
    descriptor, partial = _locked_partial(Path(target))
    try:
        with naming(target), os.fdopen(descriptor, "wb") as stream:
            os.fchmod(descriptor, mode & ~_umask())
            yield stream, partial
    finally:
        with contextlib.suppress(FileNotFoundError):
            _discard(partial)


def _discard(partial: Path) -> None:
    """Remove a partial file and give its room back at once: Landlock's rules hold on to a removed file for a moment."""
    if partial.lstat().st_nlink == 1:  # otherwise, the bytes are another file's, too
        with contextlib.suppress(OSError):
            os.truncate(str(partial), 0)
    partial.unlink()


def write_atomic(target: PathLike, data: bytes, *, mode: int = 0o644) -> None:
    """Write ``data`` to ``target``, which is either the old or the new file at every moment."""
    with atomic_file(target, mode=mode) as stream:
        stream.write(data)


def pass_on(target: PathLike, data: bytes, *, mode: int = 0o600) -> None:
    """Write what only another process of this run reads: whole or absent, and not worth a wait for the disk."""
    with partial_file(target, mode=mode) as (stream, partial):
        stream.write(data)
        stream.flush()
        os.replace(str(partial), str(target))


def write_own(target: PathLike, data: bytes) -> None:
    """Write a file of a directory that is the tool's: a link or a pipe that is there is replaced, not followed."""
    write_all_own(Path(target).parent, {Path(target).name: data})


def write_all_own(directory: PathLike, contents: Mapping[str, bytes]) -> None:
    """Write files as ``write_own`` does, given by their names; all are on the disk when it returns."""
    for name, data in contents.items():
        place = Path(directory, name)
        remove_partials(directory, of=name)
        with partial_file(place) as (stream, partial):
            stream.write(data)
            sync(stream)
            os.replace(str(partial), str(place))
    sync_directory(directory)


def sync(stream: BinaryIO) -> None:
    """Bring what was written to the disk."""
    stream.flush()
    os.fsync(stream.fileno())


def replace(partial: PathLike, target: PathLike) -> None:
    """Rename ``partial`` to ``target`` and make the renaming last.

    Raises:
        FileExistsError: a device or a pipe is there, which a file can't take the place of.
    """
    if _is_special(target):
        raise _no_regular_file(target)
    os.replace(str(partial), str(target))
    sync_directory(Path(target).parent)


def _no_regular_file(path: PathLike) -> FileExistsError:
    return FileExistsError(errno.EEXIST, "Not a regular file", str(path))


def _is_special(path: PathLike) -> bool:
    try:
        mode = os.stat(str(path)).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def sync_directory(directory: PathLike) -> None:
    """Bring the entries of a directory to the disk."""
    descriptor = os.open(str(directory), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_partials(directory: PathLike, *, of: Optional[str] = None) -> None:
    """Remove the unfinished files that processes which died left in ``directory``.

    Where the file system has no locks nothing says whether a writer lives: the caller sees to it that none does.

    Args:
        directory: where they are.
        of: the name of the only file whose leftovers go; without locks they stay, as others may be writing it.
    """
    beginning, names = "." if of is None else f".{of}.", []
    with contextlib.suppress(OSError):
        names = os.listdir(directory)  # a run looks here for each model: Path.glob takes five times as long
    for leftover in (Path(directory, name) for name in names if name.startswith(beginning) and name.endswith(PARTIAL)):
        with contextlib.suppress(OSError):  # somebody writes it, has removed it, or it is not a file of ours: it stays
            descriptor = _opened(leftover)
            try:
                if _lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB) or of is None:
                    leftover.unlink()
            finally:
                os.close(descriptor)


def _opened(leftover: Path) -> int:
    flags = os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(str(leftover), os.O_RDWR | flags)  # NFS locks for one writer only what is open for writing
    except PermissionError:
        return os.open(str(leftover), os.O_RDONLY | flags)  # a link to a file that is read-only


def share_file(source: PathLike, target: PathLike, *, link: bool) -> None:
    """Give a file a second place, without a second copy of its bytes where the file system can.

    Args:
        source: the file; a link is followed.
        target: another place; what is there is replaced in one step.
        link: whether a hard link will do, through which a write to one place is seen in the other.
    """
    source, target = os.path.realpath(str(source)), Path(target)
    with partial_file(target) as (stream, partial):
        with open(source, "rb") as original:
            if not _cloned(original.fileno(), stream.fileno()):
                if link and _linked(source, partial):
                    os.replace(str(partial), str(target))
                    return
                shutil.copyfileobj(original, stream, _CHUNK)
                sync(stream)
        os.replace(str(partial), str(target))


def _cloned(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def _linked(source: str, partial: Path) -> bool:
    """Put a hard link in the place of an empty file, which stays where the file system has none."""
    link = partial.with_name(f".link{partial.name}")
    try:
        os.link(source, str(link))
    except OSError:  # another file system, or one without links
        return False
    os.replace(str(link), str(partial))
    return True


SMALL = 1 << 20


def read_small(path: Path, *, largest: int = SMALL, follow: bool = True) -> bytes:
    """Return the content of a file that a user names: a key, a manifest, a lock. Never waits, whatever the path is.

    Args:
        path: a regular file, or a link to one; pipes and devices are refused before anything is read.
        largest: in bytes.
        follow: whether a link is followed. Where a confined process may have made it, it leads past its confinement.

    Raises:
        OSError: it isn't a regular file, is too large, or can't be read.
    """
    with open_regular(path, follow=follow) as stream:
        size = os.fstat(stream.fileno()).st_size
        data = stream.read(min(size, largest) + 1)  # room for the largest would be made for each
        if len(data) > size:  # it grows
            data += stream.read(largest)
    if len(data) > largest:
        raise OSError(errno.EFBIG, f"more than {largest} bytes", str(path))
    return data


def open_regular(path: PathLike, *, follow: bool = True) -> BinaryIO:
    """Open a regular file, or a link to one unless ``follow`` is False. Never waits, whatever the path is.

    Raises:
        OSError: it is a pipe, a device or a directory, or can't be opened.
    """
    links = 0 if follow else os.O_NOFOLLOW
    descriptor = os.open(str(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | links)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "not a regular file", str(path))


def sha256_file(path: PathLike, stopped: Callable[[], bool] = lambda: False) -> str:
    """Return the sha256 of a regular file in hexadecimal digits.

    Raises:
        OSError: it is none, or can't be read.
        InterruptedError: ``stopped``, which is asked now and then, said yes.
    """
    digest = hashlib.sha256()
    with open_regular(path) as stream:
        for chunk in iter(lambda: stream.read(_CHUNK), b""):
            digest.update(chunk)
            if stopped():
                raise InterruptedError(f"{path} was being read")
    return digest.hexdigest()


def _locked_partial(target: Path) -> Tuple[int, Path]:
    while True:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=PARTIAL, dir=str(target.parent))
        _lock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor, Path(name)
        os.close(descriptor)  # somebody removed it as a leftover before it was locked


def _lock(descriptor: int, kind: int) -> bool:
    """Lock a file; return whether its file system has locks."""
    try:
        fcntl.flock(descriptor, kind)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
