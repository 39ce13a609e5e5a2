"""Secrets for containers: in-memory files that only this user can read, which exist while a container runs."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from ..errors import KeyUnavailableError
from ..support.paths import contents_dir


@contextlib.contextmanager
def secret_file(content: str | None, name: str) -> Iterator[Path | None]:
    """Yield a file with a secret, in memory if the system has such files. ``name``: name of the secret."""
    if content is None:
        yield None
        return
    file = _directory() / f"{os.getpid()}-{threading.get_ident()}-{name}"
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(content)
        yield file
    finally:
        file.unlink(missing_ok=True)


def sweep() -> None:
    """Remove the secrets of processes that were killed."""
    for file in _directory().iterdir():
        pid = file.name.partition("-")[0]
        if not Path("/proc", pid).exists():
            file.unlink(missing_ok=True)


def _directory() -> Path:
    user = os.environ.get("XDG_RUNTIME_DIR") or "/dev/shm"  # noqa: S108  # a private directory in it
    base = Path(user) if os.access(user, os.W_OK) else contents_dir()
    directory = base / f"prepare-models-keys-{os.getuid()}"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = directory.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise KeyUnavailableError(f"{directory} is open to other users", hint="remove it, then run again")
    return directory
