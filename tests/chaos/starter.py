"""Starts ``prepare-models`` many times, from a process that has imported it: that halves the time of a run.

Every run is a process of its own whose parent becomes the one that reaps orphans, as it is of whatever a run leaves.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.imported import SERVERS


class Started:
    """A run. ``returncode``: as ``subprocess`` has it, None while it runs."""

    def __init__(self, pid: int, told: Path) -> None:
        self.pid, self._told = pid, told
        self.returncode: int | None = None

    def poll(self, *, options: int = os.WNOHANG) -> int | None:
        """Return how it ended, None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self) -> int | None:
        """Wait for its end and return that."""
        return self.poll(options=0)

    def told(self) -> str:
        """Wait for its end and return what it wrote to standard error."""
        self.wait()
        return self._told.read_text(errors="replace")


class Starter:
    """Starts runs, with a library preloaded whose ``chaos_begin`` reads the variables of each."""

    def __init__(self, library: Path, folder: Path) -> None:
        ours, theirs = socket.socketpair()
        self._folder, self._count = folder, 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno()), str(library)], pass_fds=[theirs.fileno()],
            env={**os.environ, "LD_PRELOAD": str(library)}, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        theirs.close()
        self._stream = ours.makefile("rw")
        ours.close()

    def start(self, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> Started:
        """Start a run."""
        self._count += 1
        told = self._folder / f"told.{self._count % 100}"
        request = {"argv": list(arguments), "cwd": str(cwd), "told": str(told), "environment": dict(environment)}
        print(json.dumps(request), file=self._stream, flush=True)
        return Started(int(self._stream.readline()), told)

    def wait_for_orphans(self) -> None:
        """Wait for the processes whose parent ended before them: they are this one's children then."""
        while others := [pid for pid in children(os.getpid()) if pid not in (self._process.pid, *SERVERS)]:
            for pid in others:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)

    def close(self) -> None:
        """End what starts them."""
        self._stream.close()
        self._process.wait()


def children(pid: int) -> list[int]:
    """Return the processes that a process started, or took over."""
    found = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in Path(f"/proc/{pid}/task").glob("*/children"):
            found += [int(child) for child in thread.read_text().split()]
    return found


def _serve(connection: socket.socket) -> dict[str, Any] | None:
    """Return the request in the process that is to become the run, None in this one when nobody asks any more."""
    with connection, connection.makefile("rw") as stream:
        while line := stream.readline():
            inner, outer = os.pipe()
            if os.fork() == 0:
                pid = os.fork()
                if pid == 0:
                    return dict(json.loads(line))
                os.write(outer, str(pid).encode("ascii"))
                os._exit(0)
            os.wait()  # from now on the run is a child of the one that asked
            print(os.read(inner, 32).decode("ascii"), file=stream, flush=True)
            os.close(inner)
            os.close(outer)
    return None


def _become(request: dict[str, Any], library: str) -> None:
    """Take working directory, standard streams and variables of a run."""
    os.closerange(3, 64)
    os.chdir(request["cwd"])
    null = os.open(os.devnull, os.O_RDWR)
    told = os.open(request["told"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for number, descriptor in enumerate((null, null, told)):
        os.dup2(descriptor, number)
    os.environ.clear()
    os.environ.update(request["environment"])
    ctypes.CDLL(library).chaos_begin()


if __name__ == "__main__":
    from prepare_models.__main__ import main
    from prepare_models.cli.commands import run  # noqa: F401  # so that no run has to import it

    if (request := _serve(socket.socket(fileno=int(sys.argv[1])))) is not None:
        _become(request, sys.argv[2])
        sys.exit(main(request["argv"]))
