"""Supervised children: how they end is known, and none outlives its parent or its time."""

from __future__ import annotations

import json
import os
import signal
import sys
import textwrap
import time
from pathlib import Path
from typing import Callable

import pytest

from prepare_models_entrypoint.processes import Ended, Silence, supervise, supervise_fork, supervise_forks, tail

from .children import alive, eventually, first_line, kill, start

MIB = 1 << 20


def run(code: str, log: Path, *, timeout_s: float | None = 60) -> tuple[Ended, list[bytes]]:
    lines: list[bytes] = []
    argv = [sys.executable, "-c", textwrap.dedent(code)]
    return supervise(argv, log=log, on_line=lines.append, timeout_s=timeout_s), lines


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "child.log"


@pytest.mark.parametrize("status", [0, 1, 3, 255])
def test_the_exit_code_is_the_childs(log: Path, status: int) -> None:
    ended, _ = run(f"raise SystemExit({status})", log)
    assert (ended.exit_code, ended.signal, ended.timed_out) == (status, None, False)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGABRT])
def test_a_signal_that_killed_the_child_is_named(log: Path, number: signal.Signals) -> None:
    ended, _ = run(f"import os; os.kill(os.getpid(), {int(number)})", log)
    assert (ended.exit_code, ended.signal, ended.timed_out) == (-number, number, False)


def test_progress_comes_line_by_line_and_the_rest_goes_to_the_log(log: Path) -> None:
    code = """
        import os, sys
        print("said"); sys.stdout.flush()
        sys.stderr.write("complained\\n"); sys.stderr.flush()
        os.write(int(sys.argv[1]), b"one\\ntwo\\n")
        assert sys.stdin.read() == ""
    """
    ended, lines = run(code, log)
    assert ended.exit_code == 0
    assert lines == [b"one\n", b"two\n"]
    assert log.read_text() == "said\ncomplained\n"


def pipes() -> set[str]:
    links = map(os.path.realpath, Path("/proc/self/fd").iterdir())
    return {name for name in map(os.path.basename, links) if name.startswith("pipe:")}


def test_works_that_run_together_have_no_pipe_but_their_own(log: Path) -> None:
    lines: list[bytes] = []
    before = pipes()

    def tell(descriptor: int) -> int:
        os.write(descriptor, f"{len(pipes() - before)}\n".encode())
        return 0

    supervise_forks([tell, tell, tell], log=log, on_line=lines.append, timeout_s=60)
    assert lines == [b"1\n"] * 3


def test_the_peak_memory_is_the_childs(log: Path) -> None:
    # Linux counts what this process had when it forked as the child's own, so the difference has to be a large one.
    small, _ = run("pass", log)
    large, _ = run(f"b'x' * {500 * MIB}", log)
    assert small.peak_rss_bytes < 400 * MIB < 500 * MIB < large.peak_rss_bytes


def run_fork(work: Callable[[int], int], log: Path, *, timeout_s: float | None = 60) -> tuple[Ended, list[bytes]]:
    lines: list[bytes] = []
    return supervise_fork(work, log=log, on_line=lines.append, timeout_s=timeout_s), lines


def test_a_fork_reports_lines_and_a_status_and_prints_into_the_log(log: Path) -> None:
    def work(events: int) -> int:
        os.write(events, b"one\ntwo\n")
        os.write(1, b"said\n")
        os.write(2, b"complained\n")
        return 3

    ended, lines = run_fork(work, log)
    assert (ended.exit_code, ended.signal, lines) == (3, None, [b"one\n", b"two\n"])
    assert log.read_text() == "said\ncomplained\n"


def test_a_fork_that_raises_ends_there_with_its_traceback_in_the_log(log: Path) -> None:
    def work(_: int) -> int:
        raise KeyError("missing")

    ended, _ = run_fork(work, log)
    assert ended.exit_code == 1
    assert "KeyError: 'missing'" in log.read_text()


def test_a_fork_that_is_killed_or_takes_too_long_is_told_apart(log: Path) -> None:
    def die(_: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    def linger(_: int) -> int:
        time.sleep(60)
        return 0

    killed, _ = run_fork(die, log)
    late, _ = run_fork(linger, log, timeout_s=0.5)
    assert (killed.signal, killed.timed_out) == (signal.SIGKILL, False)
    assert (late.signal, late.timed_out) == (signal.SIGKILL, True)


def test_a_timeout_kills_the_child_and_what_it_started(log: Path) -> None:
    code = """
        import os, subprocess, sys, time
        grandchild = subprocess.Popen(["sleep", "60"])
        os.write(int(sys.argv[1]), b"%d\\n" % grandchild.pid)
        time.sleep(60)
    """
    ended, lines = run(code, log, timeout_s=1)
    assert (ended.signal, ended.timed_out) == (signal.SIGKILL, True)
    assert eventually(lambda: not alive(int(lines[0])))


def test_a_child_that_ended_by_itself_did_not_time_out_though_its_own_child_held_the_pipe(log: Path) -> None:
    code = """
        import subprocess, sys
        subprocess.Popen(["sleep", "60"], pass_fds=[int(sys.argv[1])], start_new_session=True)
    """
    ended, _ = run(code, log, timeout_s=0.5)
    assert (ended.exit_code, ended.signal, ended.timed_out) == (0, None, False)


def test_nothing_that_a_child_started_outlives_it(log: Path) -> None:
    other = start("import time; time.sleep(60)")  # a child of this process that is somebody else's business
    code = """
        import os, subprocess, sys
        inner = "import subprocess; print(subprocess.Popen(['sleep', '60'], stdout=-3, start_new_session=True).pid)"
        found = subprocess.run([sys.executable, "-c", inner], stdout=subprocess.PIPE, start_new_session=True).stdout
        os.write(int(sys.argv[1]), found)
    """
    ended, lines = run(code, log)
    assert (ended.exit_code, alive(int(lines[0])), other.poll()) == (0, False, None)
    kill(other)


def test_children_that_end_at_the_very_timeout_end_in_order(log: Path) -> None:
    for _ in range(10):
        ended, _lines = run("import time; time.sleep(0.02)", log, timeout_s=0.05)
        assert ended.timed_out == (ended.signal == signal.SIGKILL)


def test_an_error_in_the_reader_kills_the_child(log: Path) -> None:
    code = """
        import os, sys, time
        os.write(int(sys.argv[1]), b"%d\\n" % os.getpid())
        time.sleep(60)
    """
    with pytest.raises(json.JSONDecodeError) as caught:
        supervise(
            [sys.executable, "-c", textwrap.dedent(code)],
            log=log,
            on_line=lambda line: json.loads(b"not json " + line),
            timeout_s=None,
        )
    assert not alive(int(caught.value.doc.split()[-1]))


def test_a_program_that_does_not_exist_is_an_os_error(log: Path) -> None:
    with pytest.raises(FileNotFoundError):
        supervise(["/no/such/program"], log=log, on_line=lambda _: None, timeout_s=None)


def test_the_child_dies_with_its_parent(tmp_path: Path) -> None:
    code = """
        import sys
        from pathlib import Path
        from prepare_models_entrypoint.processes import supervise
        child = '''if True:
            import os, sys, time
            from prepare_models_entrypoint.processes import die_with_parent
            die_with_parent(os.getppid())
            os.write(int(sys.argv[1]), b"%d" % os.getpid() + bytes([10]))
            time.sleep(60)
        '''
        supervise([sys.executable, "-c", child], log=Path(sys.argv[1]), timeout_s=None,
                  on_line=lambda line: print(int(line), flush=True))
    """
    parent = start(code, tmp_path / "log")
    child = int(first_line(parent))
    assert alive(child)
    kill(parent)
    assert eventually(lambda: not alive(child))


def test_a_child_whose_parent_is_gone_already_ends_at_once() -> None:
    code = """
        from prepare_models_entrypoint.processes import die_with_parent
        die_with_parent(1 << 22)
        print("still here")
    """
    child = start(code)
    assert child.communicate(timeout=60)[0] == ""
    assert child.returncode == 1


def test_the_tail_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(10_000)))
    assert tail(log, 2) == "line 9998\nline 9999"
    assert tail(tmp_path / "absent", 2) == ""


def test_silence_is_told_until_a_line_breaks_it(log: Path) -> None:
    lines: list[bytes] = []
    silences: list[float] = []
    reader, writer = os.pipe()

    def child(events: int) -> int:
        os.write(events, b"one\ntw")
        os.read(reader, 1)
        os.write(events, b"o\nthree")
        return 0

    def hear(silent_s: float) -> None:
        silences.append(silent_s)
        if len(silences) == 3:
            os.write(writer, b".")

    (ended,) = supervise_forks([child], log=log, on_line=lines.append, timeout_s=60, silence=Silence(0.05, hear))
    os.close(reader)
    os.close(writer)
    assert ended.exit_code == 0
    assert lines == [b"one\n", b"two\n", b"three"]
    assert len(silences) >= 3


def test_works_report_together_and_each_has_its_own_end(log: Path) -> None:
    def dies(events: int) -> int:
        os.write(events, b"one\n")
        os.kill(os.getpid(), signal.SIGSEGV)
        return 0

    def outlives_it(events: int) -> int:
        time.sleep(0.2)
        os.write(events, b"two\n")
        return 3

    lines: list[bytes] = []
    first, second = supervise_forks([dies, outlives_it], log=log, on_line=lines.append, timeout_s=60)
    assert lines == [b"one\n", b"two\n"]
    assert (first.signal, second.exit_code, second.signal) == (signal.SIGSEGV, 3, None)


def test_the_failure_of_another_work_than_the_first_ends_all(log: Path) -> None:
    def sleeps(events: int) -> int:
        time.sleep(60)
        return events

    def dies(events: int) -> int:
        os.kill(os.getpid(), signal.SIGSEGV)
        return events

    first, second = supervise_forks([sleeps, dies], log=log, on_line=lambda _: None, timeout_s=30)
    assert (first.signal, first.timed_out, second.signal) == (signal.SIGKILL, False, signal.SIGSEGV)


def test_works_that_can_not_all_start_leave_none_behind(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fork = os.fork
    started: list[int] = []

    def fork_once() -> int:
        if started:
            raise BlockingIOError("no more processes")
        started.append(fork())
        return started[0]

    def sleeps(events: int) -> int:
        time.sleep(60)
        return events

    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(os, "fork", fork_once)
    with pytest.raises(BlockingIOError, match="no more processes"):
        supervise_forks([sleeps, sleeps], log=log, on_line=lambda _: None, timeout_s=60)
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("sleeper", [0, 1])
def test_a_line_that_is_refused_ends_all_works(log: Path, sleeper: int) -> None:
    def sleeps(events: int) -> int:
        os.write(events, f"{os.getpid()}\n".encode())
        time.sleep(60)
        return 0

    def talks(events: int) -> int:
        time.sleep(0.2)
        os.write(events, b"no\n")
        return 0

    pids: list[int] = []

    def on_line(line: bytes) -> None:
        if line == b"no\n":
            raise ValueError("refused")
        pids.append(int(line))

    works = [talks, talks]
    works[sleeper] = sleeps
    with pytest.raises(ValueError, match="refused"):
        supervise_forks(works, log=log, on_line=on_line, timeout_s=60)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
