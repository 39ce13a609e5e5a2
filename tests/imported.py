"""Runs of ``prepare-models`` in processes that are copies of one which has imported it: that takes a third off each.

Every run is a process of its own, with its own environment, working directory, umask and streams, as a shell starts it.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# What Python, the loader of libraries and the C library read when a process starts: a copy does not see a change.
_AT_START = re.compile(r"PYTHON.*|LD_.*|LC_.*|LANG|LANGUAGE|TZ|MALLOC_.*|COV.*")
_COMMANDS = ("bundle", "check", "lint", "lock", "plan", "run", "status")
_IMPORTED = (
    *(f"prepare_models.cli.commands.{name}" for name in _COMMANDS), "prepare_models.cli.parser",
    "prepare_models.bundle.create", "prepare_models.running.runner", "securesystemslib.dsse", "ssl",
)  # fmt: skip
_MOST = 1 << 18  # bytes of a request
_PR_SET_PDEATHSIG = 1
SERVERS: set[int] = set()  # ids of this process's children that last as long as it does


class Imported:
    """A process that has imported the command, and whose copies become the runs."""

    def __init__(self) -> None:
        self._guard, self._at_start = threading.Lock(), _at_start(os.environ)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())], pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL, cwd=Path(__file__).parents[1],
        )  # fmt: skip
        theirs.close()
        SERVERS.add(self._process.pid)

    def can(self, environment: Mapping[str, str]) -> bool:
        """Return whether a copy is what a new process with these variables would be."""
        return _at_start(environment) == self._at_start

    def run(self, argv: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> tuple[int, bytes, bytes]:
        """Return exit status, standard output and standard error of a run; several threads may call this."""
        mask = os.umask(0)
        os.umask(mask)
        request = {"argv": list(argv), "cwd": str(cwd), "environment": dict(environment), "umask": mask}
        pipes = [os.pipe() for _ in range(3)]
        with self._guard:
            socket.send_fds(self._socket, [json.dumps(request).encode()], [writer for _, writer in pipes])
        for _, writer in pipes:
            os.close(writer)
        out, err, status = (open(reader, "rb") for reader, _ in pipes)  # noqa: SIM115  # closed below
        with out, err, status:
            told: list[bytes] = []
            listener = threading.Thread(target=lambda: told.append(err.read()))
            listener.start()
            printed = out.read()
            listener.join()
            return int(status.read()), printed, told[0]


@functools.cache
def imported() -> Imported:
    """Return this process's one, which ends with it."""
    return Imported()


def _at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if _AT_START.fullmatch(name)}


def _serve(connection: socket.socket) -> dict[str, Any] | None:
    """Return the request in the process that is to become the run, None in this one when nobody asks any more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # whoever waits for a run ends unnoticed
    while True:
        data, descriptors, _, _ = socket.recv_fds(connection, _MOST, 3)
        if not data:
            return None
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            run = os.fork()
            if run == 0:
                return {**json.loads(data), "streams": descriptors[:2]}
            for descriptor in descriptors[:2]:
                os.close(descriptor)
            _, status = os.waitpid(run, 0)
            os.write(descriptors[2], str(os.waitstatus_to_exitcode(status)).encode("ascii"))
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)


def _become(request: dict[str, Any]) -> None:
    """Take working directory, standard streams and variables of a run."""
    for target, descriptor in enumerate(request["streams"], 1):
        os.dup2(descriptor, target)
    os.closerange(3, 256)
    os.chdir(request["cwd"])
    os.umask(request["umask"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = request["argv"]


if __name__ == "__main__":
    from prepare_models.__main__ import main

    for name in _IMPORTED:
        with contextlib.suppress(ImportError):  # of an extra that is not installed
            importlib.import_module(name)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if (asked := _serve(socket.socket(fileno=int(sys.argv[1])))) is not None:
        _become(asked)
        sys.exit(main())
