"""Where the tool keeps its own files, and the layout of a models directory."""

from __future__ import annotations

import contextlib
import contextvars
import errno
import hashlib
import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..errors import HostError, UsageError

if TYPE_CHECKING:
    from prepare_models_entrypoint.contract.report import Origin

CACHE_VARIABLE = "PREPARE_MODELS_CACHE_DIR"
STATE_VARIABLE = "PREPARE_MODELS_STATE_DIR"
KEYS_VARIABLE = "PREPARE_MODELS_TRUSTED_KEYS"


class Use(NamedTuple):
    """What a directory is for, and the option or variable that names another one; both for messages."""

    what: str
    chosen_by: str


MODELS = Use("models directory", "--models-dir DIR")
_CACHE = Use("cache directory", f"the variable {CACHE_VARIABLE}")


def cache_dir() -> Path:
    """Return the cache directory: PREPARE_MODELS_CACHE_DIR, else ``prepare-models`` under the XDG cache directory.

    Raises:
        HostError: none is set, and this user has no home directory.
    """
    return _place(CACHE_VARIABLE, "XDG_CACHE_HOME", "~/.cache", "prepare-models", "the cache")


def state_dir() -> Path:
    """Return the directory for what outlives the cache: PREPARE_MODELS_STATE_DIR, else under the XDG state directory.

    Raises:
        HostError: none is set, and this user has no home directory.
    """
    return _place(STATE_VARIABLE, "XDG_STATE_HOME", "~/.local/state", "prepare-models", "the state")


def keys_file() -> Path:
    """Return the list of trusted keys: PREPARE_MODELS_TRUSTED_KEYS, else under the XDG configuration directory.

    Raises:
        HostError: none is set, and this user has no home directory.
    """
    return _place(KEYS_VARIABLE, "XDG_CONFIG_HOME", "~/.config", "prepare-models/trusted-keys.json", "trusted keys")


def _place(variable: str, xdg: str, otherwise: str, name: str, what: str) -> Path:
    chosen = os.environ.get(variable)
    if chosen:
        return Path(chosen).absolute()
    base = os.environ.get(xdg) or os.path.expanduser(otherwise)
    if base.startswith("~"):
        raise HostError(f"this user has no home directory for {what}", hint=f"name one with the variable {variable}")
    return Path(base).absolute() / name


# Per call, not per process: another thread may run another manifest. Threads that a call starts inherit it with its
# context.
_scope: contextvars.ContextVar[tuple[Origin, Path] | None] = contextvars.ContextVar("scope", default=None)


@contextlib.contextmanager
def own_scope() -> Iterator[None]:
    """At the end of the block, leave the scope that it entered."""
    before = _scope.set(_scope.get())
    try:
        yield
    finally:
        _scope.reset(before)


def enter_scope(bundle: Origin, folder: Path) -> None:
    """Keep what this call fetches and builds in a separate folder: a bundle's contents serve only that bundle.

    Locks on models directories and facts about this machine stay in the cache directory, where all runs find them.
    Every engine of this call has the bundle, and who signed it, in its report.
    """
    _scope.set((bundle, folder))


def origin() -> Origin | None:
    """Return the bundle whose scope this call is in, or None."""
    scope = _scope.get()
    return scope[0] if scope else None


def contents_dir() -> Path:
    """Return the directory of engines, downloads, timing caches and the digests of files: the scope's, or the cache."""
    scope = _scope.get()
    return scope[1] if scope else cache_dir()


def make_cache() -> Path:
    """Create the cache directory, which only this user may write, and return it.

    Raises:
        HostError: it can't be created or written, or others could write to it.
    """
    cache = make(cache_dir(), _CACHE)
    refuse_others(cache, f"{cache} can't be trusted as the cache directory", _CACHE.chosen_by)
    return cache


def refuse_others(path: Path, refusal: str, chosen_by: str = "--trusted-keys FILE") -> None:
    """Refuse a path that anyone but this user and root may replace.

    Raises:
        HostError: others may; ``refusal`` begins the message, ``chosen_by`` is how the user sets another path.
    """
    real = path.resolve()
    for place in dict.fromkeys((path, *path.parents, real, *real.parents)):
        problem = _open_to_others(place)
        if problem:
            raise HostError(f"{refusal}: {problem[0]}", hint=f"{problem[1]}; or choose another with {chosen_by}")


def _open_to_others(place: Path) -> tuple[str, str] | None:
    """Return who else may replace a directory's contents, and how to end that, or None.

    A directory with the setgid bit is shared with its group on purpose; in one with the sticky bit, others can't touch
    what isn't theirs.
    """
    link, status = place.lstat(), place.stat()
    path, mode = shlex.quote(str(place)), status.st_mode
    if link.st_uid not in (os.geteuid(), 0):  # for a link: its owner may point it elsewhere
        return f"{place} belongs to another user (uid {link.st_uid})", f"sudo chown -h {os.geteuid()} {path}"
    if status.st_uid not in (os.geteuid(), 0):
        return f"{place} belongs to another user (uid {status.st_uid})", f"sudo chown {os.geteuid()} {path}"
    if mode & stat.S_ISVTX:
        return None
    if mode & stat.S_IWOTH:
        return f"everybody may write {place}", f"chmod o-w {path}"
    if mode & stat.S_IWGRP and not mode & stat.S_ISGID and status.st_gid not in (os.getegid(), 0):
        return f"the group {status.st_gid} may write {place}", f"chmod g-w {path} (or g+s, if it is shared on purpose)"
    return None


def make(directory: Path, use: Use) -> Path:
    """Create a directory and return it as an absolute path.

    Raises:
        HostError: it can't be created, or no report can name it.
    """
    named_in_utf8(refuse_file(directory, use))
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise unusable(directory, use, error.strerror) from None
    return directory.absolute()


def named_in_utf8(directory: Path) -> Path:
    """Return the absolute path of a directory.

    Raises:
        HostError: its path is not UTF-8, as reports, locks and records require.
    """
    place = directory.absolute()
    try:
        str(place).encode("utf-8")
    except UnicodeEncodeError:
        hint = "rename the directory that has these bytes in its name, or work in another one"
        raise HostError(f"the path {place} is not UTF-8, and no report or record can name it", hint=hint) from None
    return place


def refuse_other_bytes(text: str) -> None:
    """Refuse a name that the user gave and that no manifest or report can contain.

    Raises:
        UsageError: it is not UTF-8.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError(f"{text!a} is not UTF-8", hint="give the file another name, or set LC_ALL=C.UTF-8") from None


def writable(directory: Path) -> bool:
    """Return whether files can be created in a directory."""
    return os.access(directory, os.W_OK | os.X_OK)


def refuse_file(directory: Path, use: Use) -> Path:
    """Return the absolute path of a directory that exists or could be created; a file in its place is refused.

    Raises:
        HostError: there is a file, or the path can't be written into a report.
    """
    try:
        str(directory).encode("utf-8")
    except UnicodeEncodeError:
        raise unusable(directory, use, "it is not UTF-8") from None
    file = next((place for place in (directory, *directory.parents) if os.path.isfile(place)), None)
    if file is not None:
        raise unusable(directory, use, f"{file} is a file")
    return directory.absolute()


def unusable(directory: Path, use: Use, why: str | None = None) -> HostError:
    """Return the error for a directory: it can't be written, or ``why``."""
    text = why or os.strerror(errno.EACCES)
    return HostError(f"{directory} can't be used as {use.what}: {text}", hint=f"choose another with {use.chosen_by}")


def first_time(notice: str) -> bool:
    """Return whether this user has not seen ``notice`` yet, and remember that it has now been shown."""
    marker = cache_dir() / "notices" / hashlib.sha256(notice.encode("utf-8")).hexdigest()[:32]
    try:
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError:
        return True
    return True
