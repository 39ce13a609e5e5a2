"""Small files of the store, never synced: a lost or broken JSON document only costs repeated work.

Locks between threads and processes are ranges of one file, so that a lock needs no file of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import struct
import time
from pathlib import Path
from typing import Callable, Dict, Iterator, Optional, TypeVar

from ..contract.files import PathLike, partial_file

T = TypeVar("T")

_SET = 37  # F_OFD_SETLK, which Python has from 3.9 on: the lock belongs to the descriptor, not to the process
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
_POLL_S = 0.05


def in_directory(file: PathLike, work: Callable[[], T]) -> T:
    """Return what ``work`` returns; if that fails for want of the file's directory, create it and try again."""
    try:
        return work()
    except FileNotFoundError:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        return work()


def read_json(file: Path) -> Dict[str, object]:
    """Return the object in a file, or an empty one if it is missing or broken."""
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def write_json(file: Path, document: Dict[str, object], *, unfinished_in: Optional[Path] = None) -> None:
    """Write an object; a reader sees the old or the new file.

    Args:
        file: the target.
        document: the object.
        unfinished_in: directory for the unfinished file, which a killed process leaves there; None: that of ``file``.
    """
    target = (unfinished_in or file.parent) / file.name
    target.parent.mkdir(parents=True, exist_ok=True)
    with partial_file(target) as (stream, partial):
        stream.write(json.dumps(document).encode("utf-8"))
        stream.flush()
        os.replace(str(partial), str(file))


@contextlib.contextmanager
def held(file: Path, key: str, on_wait: Callable[[], None], *, shared: bool) -> Iterator[None]:
    """Hold the lock of a key (hexadecimal digits); ``on_wait`` is called now and then while another holder has it."""
    kind = fcntl.F_RDLCK if shared else fcntl.F_WRLCK
    wanted = struct.pack("hhqqi", kind, os.SEEK_SET, int(key[:15], 16), 1, 0)
    descriptor = in_directory(file, lambda: os.open(str(file), _FLAGS, 0o644))
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
