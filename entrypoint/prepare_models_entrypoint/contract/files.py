"""Files that are complete or absent: written next to their target, synced, renamed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import threading
from pathlib import Path
from typing import IO, BinaryIO, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Tuple, Union

PathLike = Union[str, Path]

# Passes the caller's umask, in octal, into containers, which would otherwise have the container engine's.
UMASK_VARIABLE = "PREPARE_MODELS_UMASK"
# Every unfinished file has this in its name, so that a later run can recognize and remove it.
PARTIAL = ".prepare-models-partial"
_CHUNK = 1 << 20
_FICLONE = 0x40049409
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)  # errno of a full disk or an exhausted quota
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextlib.contextmanager
def naming(path: PathLike) -> Iterator[None]:
    """Add the file's name to an error about a full disk: a write knows only its descriptor."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM and error.filename is None:
            error.filename = str(path)
        raise


def no_room(path: object) -> str:
    """Return a sentence that a file doesn't fit on its disk, and which disk that is. ``path``: None if unknown."""
    if path is None:
        return "no room left to write the output"
    place = os.path.realpath(os.fsdecode(path) if isinstance(path, bytes) else str(path))
    while not os.path.ismount(place):
        place = os.path.dirname(place)
    return f"no room left to write {path}: the disk at {place} is full"


@contextlib.contextmanager
def atomic_file(target: PathLike, *, mode: int = 0o644) -> Iterator[BinaryIO]:
    """Open a temporary file next to ``target`` that replaces it if the block succeeds and is removed otherwise.

    A device or a pipe is written to directly: /dev/null and /dev/stdout stay what they are.
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
    """Open a partial file next to the file that ``target`` resolves to, which is yielded last.

    Partial files of the same target left by processes that died are removed first.
    """
    if _is_special(target):
        raise _no_regular_file(target)
    final = Path(os.path.realpath(str(target)))
    remove_partials(final.parent, of=final.name)
    with partial_file(final, mode=mode) as (stream, partial):
        yield stream, partial, final


@contextlib.contextmanager
def partial_file(target: PathLike, *, mode: int = 0o644) -> Iterator[Tuple[BinaryIO, Path]]:
    """Open a temporary file next to ``target``; remove it after the block unless the block renamed it.

    It stays locked while this process has it open, so ``remove_partials`` can tell it from those of dead processes.
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
    """Remove a partial file and free its space at once: Landlock's rules keep a removed file alive for a moment."""
    if is_plain(partial):  # otherwise, another file shares the bytes, or a link leads to one
        with contextlib.suppress(OSError):
            os.truncate(str(partial), 0)
    partial.unlink()


def write_atomic(target: PathLike, data: bytes) -> None:
    """Write ``data`` to ``target``, which is either the old or the new file at every moment."""
    with atomic_file(target) as stream:
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
    with unfinished(directory, contents) as partials:
        sync_all(partials.values())
        for name, partial in partials.items():
            os.replace(str(partial), os.path.join(str(directory), name))
    sync_directory(directory)


@contextlib.contextmanager
def unfinished(directory: PathLike, contents: Mapping[str, bytes]) -> Iterator[Dict[str, Path]]:
    """Write partial files, and yield them by their final names; those not renamed in the block are removed after it."""
    partials = {}
    with contextlib.ExitStack() as stack:
        for name, data in contents.items():
            remove_partials(directory, of=name)
            stream, partials[name] = stack.enter_context(partial_file(Path(directory, name)))
            stream.write(data)
            stream.flush()
        yield partials


def sync_all(files: Iterable[PathLike] = (), *, directories: Iterable[PathLike] = ()) -> None:
    """Flush files and directories to the disk, all at once: most of the time of each is a wait that they share."""
    errors: List[OSError] = []

    def flush(work: Callable[[PathLike], None], path: PathLike) -> None:
        try:
            work(path)
        except OSError as error:
            errors.append(error)

    wanted = [*((sync_file, path) for path in files), *((sync_directory, path) for path in directories)]
    threads = [threading.Thread(target=flush, args=each, name="sync") for each in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def take(made: PathLike, target: PathLike) -> None:
    """Move a file to ``target`` that a process made which may have been taken over.

    Raises:
        OSError: it isn't a regular file there: a link would lead out of that process's confinement.
    """
    if not is_plain(made):
        raise OSError(errno.EINVAL, "not a regular file", str(made))
    shutil.move(str(made), str(target))


def is_plain(made: PathLike) -> bool:
    """Return whether a path is a regular file with no other name, rather than a link to one."""
    status = os.lstat(str(made))
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1


def sync(stream: BinaryIO) -> None:
    """Flush what was written to the disk."""
    stream.flush()
    os.fsync(stream.fileno())


def sync_file(path: PathLike) -> None:
    """Flush to the disk what another process wrote to a file; a link is not followed."""
    with naming(path), open_regular(path, follow=False) as stream:
        os.fsync(stream.fileno())


def replace(partial: PathLike, target: PathLike) -> None:
    """Rename ``partial`` to ``target``, durably.

    Raises:
        FileExistsError: ``target`` is a device or a pipe, which can't be replaced.
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
    """Flush the entries of a directory to the disk."""
    descriptor = os.open(str(directory), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_partials(directory: PathLike, *, of: Optional[str] = None) -> None:
    """Remove unfinished files that dead processes left in ``directory``.

    On a file system without locks a live writer can't be detected: the caller ensures that there is none.

    ``of``: remove only leftovers of the file with this name; without locks they stay, as others may be writing it.
    """
    beginning, names = "." if of is None else f".{of}.", []
    with contextlib.suppress(OSError):
        names = os.listdir(directory)  # called for each model of a run; Path.glob takes five times as long
    for leftover in (Path(directory, name) for name in names if name.startswith(beginning) and name.endswith(PARTIAL)):
        with contextlib.suppress(OSError):  # somebody is writing it, has removed it, or it isn't ours: leave it
            descriptor = _opened(leftover)
            try:
                if _lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB) or of is None:
                    leftover.unlink()
            finally:
                os.close(descriptor)


def _opened(leftover: Path) -> int:
    flags = os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(str(leftover), os.O_RDWR | flags)  # NFS grants exclusive locks only on files open for writing
    except PermissionError:
        return os.open(str(leftover), os.O_RDONLY | flags)  # a link to a file that is read-only


def share_file(source: PathLike, target: PathLike, *, link: bool) -> None:
    """Put a file at a second place, without copying its bytes if the file system can do so.

    Args:
        source: the file; a link is followed.
        target: the other place; an existing file is replaced atomically.
        link: whether a hard link is acceptable: a write to one place then changes the other.
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
    """Replace an empty file with a hard link, and return whether the file system could do so."""
    link = partial.with_name(f".link{partial.name}")
    try:
        os.link(source, str(link))
    except OSError:  # another file system, or one without links
        return False
    os.replace(str(link), str(partial))
    return True


SMALL = 1 << 20
TOO_LARGE = errno.EOVERFLOW  # not EFBIG, by which the system says that a file would exceed `ulimit -f`
_PIECE = 1 << 16


def read_small(path: Path, *, largest: int = SMALL, follow: bool = True) -> bytes:
    """Return the content of a file that a user names: a key, a manifest, a lock. Never blocks, whatever the path is.

    Args:
        path: a regular file, or a link to one; pipes and devices are refused before anything is read.
        largest: in bytes.
        follow: whether to follow a link. One that a confined process may have made leads out of its confinement.

    Raises:
        OSError: it isn't a regular file, is too large, or can't be read.
    """
    descriptor, parts, left = _regular(path, follow=follow), [], largest + 1
    try:
        while left > 0 and (part := os.read(descriptor, min(left, _PIECE))):
            parts.append(part)
            left -= len(part)
    finally:
        os.close(descriptor)
    if left <= 0:
        raise OSError(TOO_LARGE, f"more than {largest} bytes", str(path))
    return b"".join(parts)


def read_line(file: Path) -> str:
    """Return the one line of text in a file with a secret, without surrounding white space; empty if it is blank.

    Editors write a byte order mark, CRLF and a trailing line break, which are no part of it.

    Raises:
        OSError: it can't be read, or is not a small regular file.
        ValueError: it is anything but one line of text; the message says why without quoting the content.
    """
    try:
        text = read_small(file).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 1:
        raise ValueError(f"has {len(lines)} lines of text and must have one")
    return lines[0] if lines else ""


def open_regular(path: PathLike, *, follow: bool = True) -> BinaryIO:
    """Open a regular file, or a link to one unless ``follow`` is False. Never blocks, whatever the path is.

    Raises:
        OSError: it is a pipe, a device or a directory, or can't be opened.
    """
    return os.fdopen(_regular(path, follow=follow), "rb")


def _regular(path: PathLike, *, follow: bool) -> int:
    links = 0 if follow else os.O_NOFOLLOW
    try:
        descriptor = os.open(str(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | links)
    except OSError as error:
        if error.errno != errno.ENXIO:  # a socket
            raise
        raise OSError(errno.EINVAL, "not a regular file", str(path)) from None
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "not a regular file", str(path))


def chunks(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield what is left of a stream, in pieces of at most a mebibyte."""
    return iter(lambda: stream.read(_CHUNK), b"")


def sha256_file(path: PathLike, stopped: Callable[[], bool] = lambda: False) -> str:
    """Return the sha256 of a regular file in hexadecimal digits.

    Raises:
        OSError: it isn't a regular file, or can't be read.
        InterruptedError: ``stopped``, which is called now and then, returned true.
    """
    digest = hashlib.sha256()
    with open_regular(path) as stream:
        for chunk in chunks(stream):
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
