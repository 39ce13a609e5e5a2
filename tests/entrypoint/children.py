"""Real child processes for the tests: started with the package on their path, watched and killed."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any, Callable

import prepare_models_entrypoint

ROOT = Path(prepare_models_entrypoint.__file__).resolve().parent.parent
# Seconds after which a child is killed in the tests of crash safety: spread over a few rounds of its work.
MOMENTS = (0.0, 0.001, 0.003, 0.005, 0.008, 0.011, 0.015, 0.02, 0.027, 0.035)


def environment(**extra: str) -> dict[str, str]:
    """Return this process's environment with the package and these tests importable."""
    return {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT.parent}", **extra}


def start(code: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start Python on ``code``; its standard output is read line by line."""
    argv = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment(), **options)


def first_line(child: subprocess.Popen[str]) -> str:
    """Wait for the first line that a child prints."""
    assert child.stdout is not None
    return child.stdout.readline().rstrip("\n")


def kill(child: subprocess.Popen[str]) -> None:
    """Kill a child in the way that leaves it no chance, and reap it."""
    child.kill()
    child.communicate()


def kill_at(moment: float, code: str, *arguments: object) -> None:
    """Start a child, let it say that it works, and kill it ``moment`` seconds later."""
    child = start(code, *arguments)
    first_line(child)
    time.sleep(moment)
    kill(child)


def alive(pid: int) -> bool:
    """Tell whether a process still runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def eventually(condition: Callable[[], bool], *, within_s: float = 20.0) -> bool:
    """Wait until ``condition`` holds, at most ``within_s`` seconds."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
