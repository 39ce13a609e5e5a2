"""Where the tool keeps its own files, and the layout of a models directory."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

from ..errors import HostError

CACHE_VARIABLE = "PREPARE_MODELS_CACHE_DIR"


def cache_dir() -> Path:
    """Return the cache directory: PREPARE_MODELS_CACHE_DIR, else ``prepare-models`` under the XDG cache directory.

    Raises:
        HostError: none is named, and this user has no home directory.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if base.startswith("~"):
        raise HostError(
            "this user has no home directory for the cache", hint=f"name one with the variable {CACHE_VARIABLE}"
        )
    return Path(base).absolute() / "prepare-models"


def make(directory: Path, *, purpose: str, chosen_by: str) -> Path:
    """Create a directory and return it as an absolute path.

    Args:
        directory: the directory.
        purpose: what it is for, told in the error.
        chosen_by: the option or variable with which the user names another one.

    Raises:
        HostError: it can't be created or written.
    """
    _check_name(directory, purpose, chosen_by)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise HostError(
            f"{directory} can't be used as {purpose}: {error.strerror}", hint=f"choose another with {chosen_by}"
        ) from None
    return directory.absolute()


def _check_name(directory: Path, purpose: str, chosen_by: str) -> None:
    """Refuse a path that neither a report nor a ROS parameter could name."""
    try:
        str(directory).encode("utf-8")
    except UnicodeEncodeError:
        raise HostError(
            f"{str(directory)!r} can't be used as {purpose}: it is no UTF-8", hint=f"choose another with {chosen_by}"
        ) from None


def first_time(notice: str) -> bool:
    """Tell whether this user has not been told ``notice`` yet, and remember that it is told now."""
    marker = cache_dir() / "notices" / hashlib.sha256(notice.encode("utf-8")).hexdigest()[:32]
    try:
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError:
        return True
    return True
