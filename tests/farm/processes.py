"""A farm of real processes on this machine: Dask's scheduler, workers, and clients."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.command import COMMAND

BIN = Path(sys.executable).parent
_PATIENCE_S = 120.0
_SHOWN = 8000  # characters of a log


class Process:
    """A process whose output goes to a file. ``together``: the processes of its farm."""

    def __init__(
        self, argv: Sequence[str], log: Path, environment: dict[str, str], folder: Path, together: list[Process]
    ) -> None:
        self.log, self._together = log, together
        with log.open("wb") as stream:
            self._process = subprocess.Popen(
                list(argv), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=environment, cwd=folder
            )
        self.pid = self._process.pid

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def until(self, seen: Callable[[str], bool]) -> str:
        """Wait until the output is as wanted, and return it."""
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            text = self.text()
            if seen(text):
                return text
            assert self._process.poll() is None, text
            time.sleep(0.02)
        raise AssertionError(self.text())

    def kill(self, number: int = signal.SIGKILL) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        try:
            return self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(self._hung()) from None

    def _hung(self) -> str:
        """End all processes of the farm, and return what they printed, with what their threads were at."""
        for each in self._together:
            each.kill(signal.SIGABRT)
        for each in self._together:
            with contextlib.suppress(subprocess.TimeoutExpired):
                each._process.wait(5)
        return "\n".join(f"--- {each.log.name}\n{each.text()[-_SHOWN:]}" for each in self._together)

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


class Farm:
    """A scheduler and workers, each with a cache of its own."""

    def __init__(self, folder: Path, store: str, scheduler: Sequence[str] = ()) -> None:
        self.folder, self.store = folder, store
        self.all: list[Process] = []
        self.workers: dict[str, Process] = {}
        self.scheduler, self.address = self._scheduler(scheduler)

    def environment(self, name: str, **variables: str) -> dict[str, str]:
        cache = str(self.folder / f"cache-{name}")
        quiet = {"DASK_LOGGING__DISTRIBUTED": "error", "PYTHONFAULTHANDLER": "1"}
        return {**os.environ, **quiet, "PREPARE_MODELS_CACHE_DIR": cache, **variables}

    def start(self, name: str, *argv: str, **variables: str) -> Process:
        log = self.folder / f"{name}.log"
        process = Process(argv, log, self.environment(name, **variables), self.folder, self.all)
        self.all.append(process)
        return process

    def _scheduler(self, arguments: Sequence[str]) -> tuple[Process, str]:
        file = self.folder / "scheduler.json"
        started = self.start(
            "scheduler", str(BIN / "dask"), "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
            "--scheduler-file", str(file), *arguments,
        )  # fmt: skip
        started.until(lambda _: file.exists() and file.stat().st_size > 0)
        return started, json.loads(file.read_text(encoding="utf-8"))["address"]

    def worker(self, name: str, *arguments: str, **variables: str) -> None:
        """Start a worker; ``ready`` waits for it."""
        self.workers[name] = self.start(
            name, COMMAND, "worker", "--executor", "local", "--scheduler", self.address, "--store", self.store,
            "--name", name, *arguments, **variables,
        )  # fmt: skip

    def ready(self) -> None:
        for worker in self.workers.values():
            worker.until(lambda text: " builds for " in text)

    def manifest(self, *models: dict[str, Any], **top: Any) -> Path:
        file = self.folder / "models.yaml"
        file.write_text(yaml.safe_dump({"version": 1, **top, "models": list(models)}), encoding="utf-8")
        return file

    def run(self, client: str, *arguments: str, address: str | None = None) -> Process:
        """Start a run whose events go to the log as JSON lines, and its report into ``report.json``."""
        return self.start(
            client, COMMAND, "run", "models.yaml", "--models-dir", f"models-{client}", "--store", self.store,
            "--executor", "dask", "--scheduler", address or self.address, "--report", f"{client}.json",
            "-v", "--log-format", "json", *arguments,
        )  # fmt: skip

    def report(self, client: str) -> dict[str, dict[str, Any]]:
        """Return the reports of a client's models by their names."""
        document = json.loads((self.folder / f"{client}.json").read_text(encoding="utf-8"))
        return {model["name"]: model for model in document["models"]}

    def built(self, model: str) -> list[str]:
        """Return the workers that built a model to its end, once for each time."""
        return [
            name
            for name, worker in self.workers.items()
            for line in worker.text().splitlines()
            if "convert done" in line and f"model={model} " in line
        ]

    def end(self) -> None:
        for process in self.all:
            process.end()


@contextlib.contextmanager
def farm(folder: Path, store: str, scheduler: Sequence[str] = ()) -> Iterator[Farm]:
    """Yield a farm without workers, and end all that belongs to it."""
    started = Farm(folder, store, scheduler)
    try:
        yield started
    finally:
        started.end()
