"""One writer per model directory, across processes."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from prepare_models_entrypoint.contract.files import NO_ROOM
from prepare_models_entrypoint.contract.values import Value

from ..errors import HostError
from ..support.paths import CACHE_VARIABLE, cache_dir

OnWait = Callable[[str], None]
Stopped = Callable[[], bool]

_POLL_S = 0.1
_LONGEST = 1 << 16  # bytes that an owner writes about itself


class Held:
    """A lock that is held."""

    def __init__(self, descriptor: int, folder: Path) -> None:
        self.descriptor = descriptor
        self._folder = folder

    @functools.cached_property
    def control_dir(self) -> Path:
        """Return a private directory of the holder; it is created, empty, on first use."""
        shutil.rmtree(self._folder, ignore_errors=True)  # left by a killed holder
        self._folder.mkdir(mode=0o700)
        return self._folder

    def release(self) -> None:
        """Remove the directory."""
        if "control_dir" in self.__dict__:
            shutil.rmtree(self._folder, ignore_errors=True)


class Waited(Value):
    """A lock that is held, whether another process had it first, and what its last owner wrote about itself."""

    descriptor: int
    waited: bool
    last_owner: str

    def note(self, owner: str) -> None:
        """Write what this process says about itself."""
        # Truncated after writing: a file truncated to nothing first would be flushed to the disk on closing.
        os.ftruncate(self.descriptor, os.pwrite(self.descriptor, os.fsencode(owner), 0))


@contextlib.contextmanager
def flocked(
    file: Path, owner: str, *, on_wait: OnWait = lambda _: None, stopped: Stopped = lambda: False
) -> Iterator[Waited]:
    """Hold the lock of a file, whose content names its last owner. It is released when the process ends.

    ``owner``: what to write about this process. ``on_wait``: called once, with what the owner wrote, if another process
    holds the lock. ``stopped``: called while waiting; returning True gives up.

    Raises:
        InterruptedError: ``stopped`` became true while waiting.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        waited = False
        while not _try_lock(descriptor):
            if not waited:
                on_wait(_owner(descriptor) or "unknown")
                waited = True
            if stopped():
                raise InterruptedError
            time.sleep(_POLL_S)
        lock = Waited(descriptor, waited, _owner(descriptor))
        try:
            lock.note(owner)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(file)) from None  # errors of a write don't name the file
        yield lock
    finally:
        os.close(descriptor)


def _owner(descriptor: int) -> str:
    """Return what the last owner of a lock wrote: a process id, or a path."""
    return os.fsdecode(os.pread(descriptor, _LONGEST, 0)).strip()


@contextlib.contextmanager
def locked_now(path: Path) -> Iterator[None]:
    """Hold the lock of an existing file or directory, without waiting.

    Raises:
        OSError: another process has it, or the path doesn't exist.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def model_lock(
    output_dir: Path, *, on_wait: OnWait = lambda _: None, stopped: Stopped = lambda: False
) -> Iterator[Held]:
    """Hold the lock of a model directory. ``on_wait``, ``stopped``: as in ``flocked``.

    A child that inherits the descriptor keeps the lock while it lives, even if this process is killed.

    Raises:
        InterruptedError: ``stopped`` became true while waiting.
        HostError: the cache directory can't be used.
    """
    folder = _folder()
    name = hashlib.sha256(os.fsencode(output_dir.absolute())).hexdigest()[:32]
    with flocked(folder / f"{name}.lock", str(os.getpid()), on_wait=on_wait, stopped=stopped) as lock:
        held = Held(lock.descriptor, folder / name)
        try:
            yield held
        finally:
            held.release()


def sweep() -> None:
    """Remove the private directories of killed holders, whatever model they worked on."""
    for folder in _folder().glob("*/"):
        with contextlib.suppress(OSError), locked_now(folder.with_name(f"{folder.name}.lock")):
            shutil.rmtree(folder, ignore_errors=True)


def _folder() -> Path:
    folder = cache_dir() / "locks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise
        raise HostError(
            f"{cache_dir()} can't be used as the cache directory: {error.strerror}",
            hint=f"choose another with {CACHE_VARIABLE}=DIR",
        ) from None
    return folder


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
