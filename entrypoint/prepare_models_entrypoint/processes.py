"""Child processes that never outlive their parent, and what their end means."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Callable, Iterator, List, Optional, Sequence

_PR_SET_PDEATHSIG = 1
_TAIL_BYTES = 4096


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when ``parent``, a process id, ends in whatever way."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the request took effect
        os._exit(1)


@dataclass(frozen=True)
class Ended:
    """How a child ended. ``signal`` is set when one killed it; ``peak_rss_bytes`` is its own and not its children's."""

    exit_code: int
    signal: Optional[signal.Signals]
    timed_out: bool
    peak_rss_bytes: int


def supervise(
    argv: List[str], *, log: Path, on_line: Callable[[bytes], None], timeout_s: Optional[float],
    inherited: Sequence[int] = (),
) -> Ended:  # fmt: skip
    """Run ``argv`` plus the number of a file descriptor on which it reports line by line; wait for its end.

    Args:
        argv: the program and its arguments.
        log: file that receives standard output and standard error.
        on_line: called with each reported line.
        timeout_s: seconds until the child and all of its descendants are killed.
        inherited: further descriptors that the child keeps open.
    """
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as lines, open(str(log), "ab") as output:
        try:
            child = subprocess.Popen(
                [*argv, str(writer)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                pass_fds=(writer, *inherited),
            )  # fmt: skip
        finally:
            os.close(writer)
        return _attend(child, lines, on_line, timeout_s)


def _attend(
    child: "subprocess.Popen[bytes]", lines: BinaryIO, on_line: Callable[[bytes], None], timeout_s: Optional[float]
) -> Ended:
    try:
        with _deadline(child.pid, timeout_s) as expired:
            for line in lines:
                on_line(line)
            # It is reaped once the deadline is off: until then its number can't become another process's.
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    except BaseException:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        raise
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    killer = signal.Signals(-child.returncode) if child.returncode < 0 else None
    timed_out = expired.is_set() and killer == signal.SIGKILL
    return Ended(child.returncode, killer, timed_out, usage.ru_maxrss * 1024)


@contextlib.contextmanager
def _deadline(group: int, timeout_s: Optional[float]) -> Iterator[threading.Event]:
    """Kill a process group unless the block ends in time; the event tells that time ran out."""
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        os.killpg(group, signal.SIGKILL)

    timer = threading.Timer(timeout_s, expire) if timeout_s else None
    if timer:
        timer.start()
    try:
        yield expired
    finally:
        if timer:
            timer.cancel()
            timer.join()


def tail(log: Path, lines: int) -> str:
    """Return the last lines of a log, or an empty text."""
    try:
        with open(str(log), "rb") as stream:
            stream.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.strip().splitlines()[-lines:])
