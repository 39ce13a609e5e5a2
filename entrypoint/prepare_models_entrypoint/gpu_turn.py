"""One process at a time on a GPU: builders choose kernels by timings, which other work would distort."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
from pathlib import Path
from typing import Callable, Iterator, Optional

from .contract.files import PathLike

WAITING = "wait for the GPU"
# Builds of untrusted models may change this directory, so links are not followed and pipes don't block.
_OPEN = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextlib.contextmanager
def held(directory: Optional[PathLike], on_wait: Callable[[], None]) -> Iterator[None]:
    """Lock the first GPU that this process sees while the block runs, against all processes that share ``directory``.

    Call it in a child process, as it starts the driver. Without a directory or a GPU, nothing is locked.

    Args:
        directory: contains one lock file per GPU.
        on_wait: called before waiting for another process.
    """
    gpu = _uuid() if directory is not None else None
    if directory is None or gpu is None:
        yield
        return
    Path(directory).mkdir(parents=True, exist_ok=True)
    # open only for reading: the file may be another user's, in a cache shared by a group
    lock = os.open(Path(directory) / f"gpu-{gpu}.lock", _OPEN, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _uuid() -> Optional[str]:
    """Return the GPU's id in hexadecimal digits: its index changes with CUDA_VISIBLE_DEVICES and in containers."""
    with contextlib.suppress(OSError, AttributeError):
        cuda = ctypes.CDLL("libcuda.so.1")
        device, uuid = ctypes.c_int(), ctypes.create_string_buffer(16)
        found = cuda.cuInit(0) == 0 and cuda.cuDeviceGet(ctypes.byref(device), 0) == 0
        return uuid.raw.hex() if found and cuda.cuDeviceGetUuid(uuid, device) == 0 else None
    return None
