"""Engines are built by this Python: the entrypoint is a child process in its own session."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence

from prepare_models_entrypoint.contract import runtime
from prepare_models_entrypoint.contract.environment import RuntimeInfo
from prepare_models_entrypoint.contract.fetch import FetchJob
from prepare_models_entrypoint.contract.launch import NICE_VARIABLE

from ..lock import document as locks
from ..machine.environments import machine_facts, remembered
from ..options import ContainerOptions
from ..running import child
from ..running.connection import ConnectionSpec
from ..running.fetch_process import Fetching
from .executor import Downloader, Executor
from .work import Lines, OnEvent, Outcome, Step

_TERM_GRACE_S = 5.0
_ENDED_ITSELF = (0, 1, 2)


class LocalPython(Executor, Downloader):
    """This Python: the executor, and the transport of all steps."""

    name = "local"

    def __init__(self, options: ContainerOptions | None = None) -> None:
        self._nice = {NICE_VARIABLE: "1"} if options is not None and options.nice else {}
        self._children: set[subprocess.Popen[bytes]] = set()
        self._guard = threading.Lock()
        self._stopped = False

    def describe(self) -> RuntimeInfo:
        """Return backend and GPU. The GPU is probed in a child: this process never loads the CUDA driver."""
        info = runtime.probe(gpu=False)
        if info["backend"] is not None and info["backend"]["name"] == "tensorrt_rtx":
            return info
        known_by = [sys.executable, info, *machine_facts()]
        return remembered(known_by, lambda: _with_gpu(info), lasting=lambda found: found["gpu"] is not None)

    def locked_as(self) -> tuple[str, Mapping[str, str]]:
        """Return this Python's name and facts in a lock."""
        return locks.facts_of_python(self.describe())

    def building(self) -> LocalPython:
        """Return this."""
        return self

    def fetching(self) -> LocalPython:
        """Return this: one process fetches and builds."""
        return self

    def carry(self, step: Step, on_event: OnEvent) -> Outcome | None:
        """Run a step in a child process, which inherits the model's lock and the secrets."""
        spec = step.work.spec
        with (
            child.secret_file(spec.key.read() if spec.key else None) as key,
            child.secret_file(spec.network.secrets()) as secrets,
        ):
            step.write(key_file=child.path_of(key), secrets_file=child.path_of(secrets))
            inherited = [given for given in (step.work.lock, key, secrets) if given is not None]
            status = self._run(step, inherited, Lines(on_event))
        if status is None or (self._stopped and status not in _ENDED_ITSELF):
            return None
        return Outcome("entrypoint", status)

    def fetcher(self, job: FetchJob, connection: ConnectionSpec) -> Fetching:
        """Return a child process that fetches a job's sources."""
        return Fetching(job, connection, on_result=lambda _: None)

    def stop(self) -> None:
        """Ask every child to end, and kill those that don't."""
        with self._guard:
            self._stopped = True
            children = list(self._children)
        for process in children:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process in children:
            try:
                process.wait(_TERM_GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()

    def _run(self, step: Step, inherited: Sequence[int], lines: Lines) -> int | None:
        argv = child.argv("run", str(step.job / "job.json"), str(step.out), "--parent", str(os.getpid()))
        with step.log.open("wb") as log:
            with self._guard:
                if self._stopped:
                    return None
                process = subprocess.Popen(
                    argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                    env={**child.environment(), **self._nice}, pass_fds=tuple(inherited), start_new_session=True,
                )  # fmt: skip
                self._children.add(process)
            try:
                for line in process.stdout or ():
                    lines.feed(line)
                return process.wait()
            finally:
                process.kill()
                process.wait()
                if process.stdout:
                    process.stdout.close()
                with self._guard:
                    self._children.discard(process)


def _with_gpu(info: RuntimeInfo) -> RuntimeInfo:
    answer = child.ask("describe")
    return {**info, "backend": answer["backend"], "gpu": answer["gpu"], "gpu_reason": answer["gpu_reason"]}
