"""The operating system's errors in words, with what to do about them."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from prepare_models_entrypoint.contract.error_codes import LIMITS

from ..errors import HostError, NoRoomError, PrepareModelsError

_DENIED = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.EISDIR, errno.ENOTDIR,
    errno.EBUSY, errno.ETXTBSY, errno.ENOLCK, errno.EOPNOTSUPP,
)  # fmt: skip


def with_its_fix(error: PrepareModelsError) -> PrepareModelsError:
    """Return the error, or one with a fix if it comes from a limit of the system rather than from a file."""
    cause = error.__context__
    if isinstance(cause, OSError) and cause.errno in LIMITS:
        return HostError(error.message, hint=LIMITS[cause.errno].fix)
    return error


@contextlib.contextmanager
def writing(file: Path, hint: str) -> Iterator[None]:
    """Raise why a file can't be written: its disk is full, or what the system says, with the hint for that."""
    from prepare_models_entrypoint.contract.files import PARTIAL

    try:
        yield
    except OSError as error:
        named = file if error.filename is None or PARTIAL in str(error.filename) else error.filename
        reason = HostError(f"{named} can't be written: {error.strerror}", hint=hint)
        raise (full(error, file) or reason) from None


def full(error: OSError, file: Path | None = None) -> NoRoomError | None:
    """Return that a disk is full, or None if this error says something else. ``file``: what was written, if unknown."""
    from prepare_models_entrypoint.contract.files import NO_ROOM, no_room

    if error.errno not in NO_ROOM:
        return None
    return NoRoomError(no_room(error.filename or file), hint="free disk space there, then run again")


@contextlib.contextmanager
def in_words() -> Iterator[None]:
    """Raise what the system refuses as an error that says what to do; what may be our bug stays as it is."""
    try:
        yield
    except (OSError, MemoryError) as error:
        known = of_this_machine(error)
        if known is None:
            raise
        raise known from error


def of_this_machine(error: Exception) -> HostError | None:
    """Return an error that nothing handled as a shortcoming of this machine, or None if it may be our bug."""
    if isinstance(error, MemoryError):
        error = OSError(errno.ENOMEM, "")
    if not isinstance(error, OSError):
        return None
    if error.errno in LIMITS:
        what, fix, _ = LIMITS[error.errno]
        return HostError(f"{what}: {error.filename}" if error.filename else what, hint=fix)
    if (no_space := full(error)) is not None:
        return no_space
    if error.errno in _DENIED and error.filename is not None:
        return HostError(f"{error.filename!s}: {error.strerror}", hint="check the path and its permissions")
    try:
        os.getcwd()
    except OSError:
        return HostError("the current directory no longer exists", hint="change to one that exists, then run again")
    return None
