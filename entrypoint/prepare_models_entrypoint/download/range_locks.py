"""Locks between threads and processes: ranges of one file, so that a lock needs no file of its own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import time
from pathlib import Path
from typing import Callable, Iterator

_SET = 37  # F_OFD_SETLK, which Python has from 3.9 on: the lock belongs to the descriptor, not to the process
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
_POLL_S = 0.05


@contextlib.contextmanager
def held(file: Path, key: str, on_wait: Callable[[], None], *, shared: bool) -> Iterator[None]:
    """Hold the lock of a key (hexadecimal digits); ``on_wait`` is called now and then while another holder has it."""
    kind = fcntl.F_RDLCK if shared else fcntl.F_WRLCK
    wanted = struct.pack("hhqqi", kind, os.SEEK_SET, int(key[:15], 16), 1, 0)
    descriptor = _opened(file)
    try:
        while True:
            try:
                fcntl.fcntl(descriptor, _SET, wanted)
                break
            except (BlockingIOError, PermissionError):
                on_wait()
                time.sleep(_POLL_S)
        yield
    finally:
        os.close(descriptor)


def _opened(file: Path) -> int:
    try:
        return os.open(str(file), _FLAGS, 0o644)
    except FileNotFoundError:
        file.parent.mkdir(parents=True, exist_ok=True)
        return os.open(str(file), _FLAGS, 0o644)
