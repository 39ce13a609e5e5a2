"""One writer for each model directory, across processes."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import HostError
from .paths import CACHE_VARIABLE, cache_dir

_POLL_S = 0.1


@dataclass(frozen=True)
class Held:
    """A lock that is held. ``control_dir`` is an empty private directory that belongs to the holder."""

    descriptor: int
    control_dir: Path


@dataclass(frozen=True)
class Waited:
    """A lock that is held; whether somebody else had it first; and what its last owner said of itself."""

    descriptor: int
    waited: bool
    last_owner: str


@contextlib.contextmanager
def flocked(file: Path, owner: str, *, on_wait: Callable[[str], None], stopped: Callable[[], bool]) -> Iterator[Waited]:
    """Hold the lock of a file, whose content names its last owner. It ends with the process, however that ends.

    Raises:
        InterruptedError: ``stopped`` became true while waiting.

    Args:
        file: the lock file.
        owner: what the file says of this process.
        on_wait: called once with the owner's words when somebody else holds the lock.
        stopped: asked while waiting; True gives up.
    """
    with file.open("a+", encoding="utf-8") as stream:
        waited = False
        while not _try_lock(stream.fileno()):
            if not waited:
                stream.seek(0)
                on_wait(stream.read().strip() or "unknown")
                waited = True
            if stopped():
                raise InterruptedError
            time.sleep(_POLL_S)
        stream.seek(0)
        last = stream.read().strip()
        stream.seek(0)
        stream.truncate()
        stream.write(owner)
        stream.flush()
        yield Waited(stream.fileno(), waited, last)


@contextlib.contextmanager
def model_lock(output_dir: Path, *, on_wait: Callable[[str], None], stopped: Callable[[], bool]) -> Iterator[Held]:
    """Hold the lock of a model directory.

    A child that inherits the descriptor keeps the lock for as long as it lives, also when this process is killed.

    Raises:
        InterruptedError: ``stopped`` became true while waiting.
        HostError: the cache directory can't be used.

    Args:
        output_dir: the model directory.
        on_wait: called once with the owner's process id when somebody else holds the lock.
        stopped: asked while waiting; True gives up.
    """
    folder = _folder()
    name = hashlib.sha256(str(output_dir.absolute()).encode("utf-8")).hexdigest()[:32]
    with flocked(folder / f"{name}.lock", str(os.getpid()), on_wait=on_wait, stopped=stopped) as lock:
        control = folder / name
        shutil.rmtree(control, ignore_errors=True)  # of a holder that was killed
        control.mkdir(mode=0o700)
        try:
            yield Held(lock.descriptor, control)
        finally:
            shutil.rmtree(control, ignore_errors=True)


def _folder() -> Path:
    folder = cache_dir() / "locks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HostError(
            f"{cache_dir()} can't be used as cache directory: {error.strerror}",
            hint=f"choose another with {CACHE_VARIABLE}=DIR",
        ) from None
    return folder


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
