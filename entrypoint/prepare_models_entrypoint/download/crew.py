"""Many small files keep a processor busy with Python, which uses one alone: they are shared out to processes."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import traceback
from typing import Callable, List, NoReturn, Sequence, TypeVar

from ..events import Events
from ..processes import die_with_parent

T = TypeVar("T")

_WORTH_A_PROCESS = 32  # files
_MOST = 4
_READ = 1 << 16
_GOOD, _BAD, _BROKEN = 0, 1, 70  # exit statuses of a helper


def size_for(files: int) -> int:
    """Return how many processes are worth starting for so many files."""
    return max(1, min(len(os.sched_getaffinity(0)), files // _WORTH_A_PROCESS, _MOST))


def share_out(items: Sequence[T], workers: int, work: Callable[[List[T], Events], bool], events: Events) -> bool:
    """Do the work in this process and copies of it; return whether all went well.

    Each takes every n-th item. What the copies tell comes out of this process, which must not have threads yet.
    """
    helpers = [_Helper(list(items[first::workers]), work) for first in range(1, workers)]
    relays = [threading.Thread(target=helper.relay, args=(events,), name="relay") for helper in helpers]
    for relay in relays:
        relay.start()
    good = work(list(items[::workers]), events)
    for relay in relays:
        relay.join()
    return all([good, *(helper.went_well() for helper in helpers)])


class _Helper:
    def __init__(self, items: List[T], work: Callable[[List[T], Events], bool]) -> None:
        self._reader, writer = os.pipe()
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._reader)
            _help(lambda: work(items, Events(os.fdopen(writer, "w", buffering=1, encoding="utf-8"))), parent)
        os.close(writer)

    def relay(self, events: Events) -> None:
        """Pass on whole lines until the process ends."""
        rest = b""
        with contextlib.closing(os.fdopen(self._reader, "rb", buffering=0)) as stream:
            for read in iter(lambda: stream.read(_READ), b""):
                lines, newline, rest = (rest + read).rpartition(b"\n")
                events.relay((lines + newline).decode("utf-8"))

    def went_well(self) -> bool:
        """Wait for the end of the process and return what its work returned.

        Raises:
            RuntimeError: it ended before it was done.
        """
        status = os.waitpid(self._pid, 0)[1]
        if status not in (_GOOD << 8, _BAD << 8):
            raise RuntimeError(f"a process that fetches ended with status {status}")
        return status == _GOOD << 8


def _help(work: Callable[[], bool], parent: int) -> NoReturn:
    status = _BROKEN
    try:
        die_with_parent(parent)
        status = _GOOD if work() else _BAD
    except BaseException:  # noqa: BLE001  # the copy of the parent's stack must not run on
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)
