"""Child processes that never outlive their parent, and what their exit means."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import (
    BinaryIO,
    Callable,
    Iterable,
    Iterator,
    List,
    NamedTuple,
    NoReturn,
    Optional,
    Sequence,
    Set,
    Tuple,
    Type,
    TypeVar,
)

from .contract import schema
from .contract.codec import ContractError
from .contract.files import open_regular, read_small

T = TypeVar("T")

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_AGAIN_S = 0.05
_PR_SET_NAME = 15
_TAIL_BYTES = 4096
_PIECE_BYTES = 65536
_LONGEST_LINE = 1 << 20
# A confined process may have put a link or a pipe in place of the next one's log.
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK


def die_with_parent(parent: int) -> None:
    """Make the kernel kill this process when ``parent``, a process id, ends for any reason."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent ended before the request took effect
        os._exit(1)


def go_first() -> None:
    """Have the kernel take this process, and what it starts, before any other when memory runs out."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:
        score.write("1000")


def show_as(name: str) -> None:
    """Name this process in ``ps`` and ``top``; only 15 characters are kept."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode("ascii"))


class Ended(NamedTuple):
    """How a child ended. ``signal`` is set if one killed it. ``peak_rss_bytes``: its own, without its children's.

    nonsense: what is wrong with a line that it reported, and for which it was killed.
    """

    exit_code: int
    signal: Optional[signal.Signals]
    timed_out: bool
    peak_rss_bytes: int
    nonsense: Optional[str] = None


class Silence(NamedTuple):
    """A callback, called with the seconds since the last line each time that ``every_s`` more have passed."""

    every_s: Optional[float] = None
    call: Callable[[float], None] = lambda _: None

    def lines(self, *pipes: BinaryIO) -> Iterator[bytes]:
        """Yield the lines of all pipes as they come.

        Raises:
            ContractError: one is longer than any that this package writes.
        """
        poll, heard, rests = select.poll(), time.monotonic(), {pipe.fileno(): b"" for pipe in pipes}
        for descriptor in rests:
            poll.register(descriptor, select.POLLIN)
        while rests:
            ready = poll.poll(None if self.every_s is None else self.every_s * 1000)
            if not ready:
                self.call(time.monotonic() - heard)
            for descriptor, _ in ready:
                piece, heard = os.read(descriptor, _PIECE_BYTES), time.monotonic()
                *whole, rest = (rests.pop(descriptor) + piece).split(b"\n")
                yield from (line + b"\n" for line in whole)
                if len(rest) > _LONGEST_LINE:
                    raise ContractError(f"a line of more than {_LONGEST_LINE} bytes")
                if piece:
                    rests[descriptor] = rest
                    continue
                poll.unregister(descriptor)
                if rest:
                    yield rest


_ALL_SILENT = Silence()


def supervise(argv: List[str], *, log: Path, on_line: Callable[[bytes], None], timeout_s: Optional[float]) -> Ended:
    """Run ``argv`` plus the number of a file descriptor on which it reports line by line; wait until it ends.

    Args:
        argv: the program and its arguments.
        log: file that receives standard output and standard error.
        on_line: called with each reported line; raises a ContractError for one that only a hostile model can have
        written.
        timeout_s: seconds after which the child and all its descendants are killed.
    """
    reader, writer = os.pipe()
    strays = Strays()
    with os.fdopen(reader, "rb") as lines, os.fdopen(os.open(str(log), _APPEND, 0o644), "ab") as output:
        try:
            child = subprocess.Popen(
                [*argv, str(writer)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                pass_fds=(writer,),
            )  # fmt: skip
        finally:
            os.close(writer)
        child.returncode = -signal.SIGKILL  # reaped here, so Popen should not wait for it again
        (ended,) = _attend([child.pid], _ALL_SILENT.lines(lines), on_line, timeout_s, strays)
        child.returncode = ended.exit_code
        return ended


def supervise_fork(
    work: Callable[[int], int], *, log: Path, on_line: Callable[[bytes], None], timeout_s: Optional[float]
) -> Ended:
    """Like ``supervise``, for a function of this package: its process is a fork of this one.

    This process must not have other threads when it is called. ``work`` gets the descriptor and returns the status.
    """
    return supervise_forks([work], log=log, on_line=on_line, timeout_s=timeout_s)[0]


def supervise_forks(
    works: Sequence[Callable[[int], int]], *, log: Optional[Path], on_line: Callable[[bytes], None],
    timeout_s: Optional[float],
    silence: Silence = _ALL_SILENT, on_start: Callable[[], object] = lambda: None,
) -> List[Ended]:  # fmt: skip
    """Do several works at once, each as ``supervise_fork`` does it; if another than the first fails, all are ended.

    Args:
        works: each gets a descriptor of its own.
        log: receives the output of all; None: where that of this process goes.
        on_line: called with each line. What it raises ends all and is raised.
        timeout_s: seconds until all are killed.
        silence: called while no lines come.
        on_start: called once when all have started.
    """
    strays = Strays()
    children: List[int] = []
    with contextlib.ExitStack() as stack:
        pipes: List[BinaryIO] = []
        try:
            for work in works:
                child, pipe = _forked(work, log, children[0] if children else 0, pipes)
                children.append(child)
                pipes.append(stack.enter_context(pipe))
        except BaseException:
            _end(children, strays)
            raise
        return _attend(children, silence.lines(*pipes), on_line, timeout_s, strays, on_start=on_start)


def _forked(
    work: Callable[[int], int], log: Optional[Path], group: int, others: Sequence[BinaryIO]
) -> Tuple[int, BinaryIO]:
    """Start a work, and return its process id and what it reports.

    ``group``: process group to join; 0: a new one. ``others``: what other works report, which this one must not read.
    """
    reader, writer = os.pipe()
    with contextlib.ExitStack() as stack:
        pipe = stack.enter_context(os.fdopen(reader, "rb"))
        try:
            child = os.fork()
            if child == 0:
                _serve(work, writer, log, group, [pipe, *others])
        finally:
            os.close(writer)
        with contextlib.suppress(OSError):
            os.setpgid(child, group)  # the child does the same, whichever is first
        stack.pop_all()
    return child, pipe


def _serve(
    work: Callable[[int], int], writer: int, log: Optional[Path], group: int, pipes: Sequence[BinaryIO]
) -> NoReturn:
    """Do a forked child's work and end the process, whatever happens."""
    status = 1
    try:
        for pipe in pipes:
            pipe.close()
        with contextlib.suppress(OSError):
            os.setpgid(0, group)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        for target in (0, 1, 2) if log is not None else (0,):
            descriptor = os.open(str(log), _APPEND, 0o644) if target else os.open(os.devnull, os.O_RDONLY)
            os.dup2(descriptor, target)
            os.close(descriptor)
        status = work(writer)
    except BaseException:  # noqa: BLE001  # the copy of the parent's stack must not run on
        os.write(2, traceback.format_exc().encode("utf-8", "replace"))
    finally:
        sys.stderr.flush()
        os._exit(status)


class Strays:
    """Processes left behind by children that this process starts from now on, in any session.

    Otherwise, what a model started would outlive its build, and keep running next to the next process.
    """

    def __init__(self) -> None:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)  # orphans become children of this process
        self._others = self._children()

    def kill(self) -> List[int]:
        """Kill those whose parents have ended, and return their ids."""
        found = self._children() - self._others
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return sorted(found)

    def end(self) -> None:
        """Kill them, and the processes that they leave behind."""
        while killed := self.kill():
            for pid in killed:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)

    @staticmethod
    def _children() -> Set[int]:
        found: Set[int] = set()
        for thread in Path("/proc/self/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found.update(map(int, thread.read_text(encoding="ascii").split()))
        return found


def _attend(
    children: Sequence[int], lines: Iterable[bytes], on_line: Callable[[bytes], None], timeout_s: Optional[float],
    strays: Strays, *, on_start: Callable[[], object] = lambda: None,
) -> List[Ended]:  # fmt: skip
    group, nonsense = children[0], None
    watchers = [threading.Thread(target=_watch, args=(child, group)) for child in children[1:]]
    try:
        with _deadline(group, timeout_s, strays) as expired:
            for watcher in watchers:
                watcher.start()
            on_start()
            try:
                for line in lines:
                    on_line(line)
            except ContractError as error:
                nonsense = str(error)
                os.killpg(group, signal.SIGKILL)
            # They are reaped after the deadline is cancelled: until then no other process can have their ids.
            for child in children:
                os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    except BaseException:
        _end(children, strays, watchers)
        raise
    for watcher in watchers:
        watcher.join()
    ended = [_ended(child, nonsense, expired=expired.is_set()) for child in children]
    strays.end()
    return ended


def _watch(child: int, group: int) -> None:
    """Wait for a child, which another thread reaps, and kill its group if it failed."""
    ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    if ended is not None and ended.si_status:
        os.killpg(group, signal.SIGKILL)


def _end(children: Sequence[int], strays: Strays, watchers: Sequence[threading.Thread] = ()) -> None:
    """Kill children, which are one process group, and what they left behind."""
    if children:
        os.killpg(children[0], signal.SIGKILL)
    for watcher in watchers:
        if watcher.ident is not None:
            watcher.join()
    for child in children:
        os.waitpid(child, 0)
    strays.end()


def _ended(child: int, nonsense: Optional[str], *, expired: bool) -> Ended:
    _, status, usage = os.wait4(child, 0)
    exit_code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    killer = signal.Signals(-exit_code) if exit_code < 0 else None
    return Ended(exit_code, killer, expired and killer == signal.SIGKILL, usage.ru_maxrss * 1024, nonsense)


@contextlib.contextmanager
def _deadline(group: int, timeout_s: Optional[float], strays: Strays) -> Iterator[threading.Event]:
    """Kill a process group, and what left it, unless the block ends in time; the event is set if time ran out."""
    expired, ended = threading.Event(), threading.Event()

    def expire() -> None:
        expired.set()
        os.killpg(group, signal.SIGKILL)
        while not ended.wait(_AGAIN_S):  # another process holds the pipe
            strays.kill()

    timer = threading.Timer(timeout_s, expire) if timeout_s else None
    if timer:
        timer.start()
    try:
        yield expired
    finally:
        ended.set()
        if timer:
            timer.cancel()
            timer.join()


def answer_of(file: Path, kind: Type[T]) -> Optional[T]:
    """Return what a confined process wrote to a file; None if of another type: a model may have taken over.

    Links are not followed and pipes don't block: a link would lead out of the confinement.
    """
    try:
        found = schema.loads(read_small(file, largest=schema.LARGEST_DOCUMENT, follow=False))
        return schema.read(kind, found, file.name)
    except (OSError, ContractError):
        return None


def tail(log: Path, lines: int) -> str:
    """Return the last lines of a log, or an empty text."""
    try:
        with open_regular(log, follow=False) as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - _TAIL_BYTES))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.strip().splitlines()[-lines:])
