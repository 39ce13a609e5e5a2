"""The docker executor for an engine on another machine: DOCKER_HOST=tcp:// or ssh://, or a context of such an engine.

Sources are fetched here: neither keys nor the sources' network are needed there. What a container needs is sent to it,
and what it made is brought here and published by this machine's own entrypoint.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from prepare_models_entrypoint.contract import downloads
from prepare_models_entrypoint.contract.event import STAGE_FINISHED, STAGE_STARTED, Event
from prepare_models_entrypoint.contract.fetch import FetchJob, FetchResult
from prepare_models_entrypoint.contract.files import sha256_file
from prepare_models_entrypoint.contract.report import (
    BUILT,
    FAILED,
    ErrorInfo,
    ModelReport,
    RuntimeInfo,
    StageResult,
    blank,
)
from prepare_models_entrypoint.contract.runtime import BOARD_VARIABLE
from prepare_models_entrypoint.contract.source import local_path, source_id

from ..docker.container import Containers, Ended
from ..docker.copied_files import Bind
from ..errors import ContainerError, HostError, InterruptedRunError
from ..machine import platforms
from ..machine.facts import Machine
from ..running.connection import NetworkSpec
from ..running.fetch_process import Fetching
from ..store import FILES, PLAN, restore
from . import ContainerOptions
from .docker import CONVERT, DockerExecutor
from .exchange import INSIDE, Control, Work, without_frame

_VIDEO = 44  # Debian's and so Jetson Linux's group of the GPU's device nodes
_MADE = "made"  # in a control directory: what came from the model's directory in the container


class FarExecutor(DockerExecutor):
    """Works on a machine of which only the engine is seen."""

    def __init__(self, options: ContainerOptions, containers: Containers) -> None:
        """Choose image and way to the GPU; the platform has to be named.

        Raises:
            HostError: it is not, the image is missing, or the GPU can't be reached.
        """
        super().__init__(options, containers, _machine(options, containers.engine.arch))
        self._guard = threading.Lock()
        self._told: RuntimeInfo | None = None
        self._fetching: set[Fetching] = set()
        self._stopped = False

    def _described(self) -> RuntimeInfo:
        """Ask the image: what this machine remembers is of its own GPUs."""
        with self._guard:
            if self._told is None:
                self._told = self._describe()
            return self._told

    def fetcher(self, job: FetchJob, network: NetworkSpec) -> Fetching:
        """Return a child process of this machine that fetches a job's sources."""
        return Fetching(job, network, on_result=lambda _: None)

    def stop(self) -> None:
        """End whatever runs, here and there."""
        with self._guard:
            self._stopped = True
            for fetching in self._fetching:
                fetching.stop()
        super().stop()

    def _fetch(self, work: Work) -> tuple[ModelReport, Work]:
        spec, started = work.spec, time.time()
        work.on_event(Event(0, started, STAGE_STARTED, model=spec.name, stage="fetch"))
        results = self._results(work)
        report = blank(spec.name, spec.source, precision=spec.precision, converter=spec.converter)
        failed = [result["error"] for result in results.values() if result["error"] is not None]
        if failed:
            report["status"], report["error"] = FAILED, failed[0]
        report["licences"] = sorted({result["licence"] for result in results.values() if result["licence"]})
        status, seconds = FAILED if failed else "done", round(time.time() - started, 3)
        report["stages"] = [
            StageResult(name="fetch", status=status, started_at=round(started, 3), seconds=seconds, peak_rss_bytes=None)
        ]
        told = {"status": status, "seconds": seconds}
        work.on_event(Event(1, time.time(), STAGE_FINISHED, model=spec.name, stage="fetch", data=told))
        pinned = replace(
            spec,
            sha256=_digest(results, spec.source) or spec.sha256,
            calibration_sha256=_digest(results, spec.calibration_cache) or spec.calibration_sha256,
        )
        return report, replace(work, spec=pinned)

    def _results(self, work: Work) -> dict[str, FetchResult]:
        """Fetch the sources that are not files of this machine; return what became of each, by its ``source_id``."""
        spec = work.spec
        pairs = ((spec.source, spec.sha256), (spec.calibration_cache, spec.calibration_sha256))
        sources = tuple((source, pin) for source, pin in pairs if source is not None and local_path(source) is None)
        job = FetchJob(sources=sources, cache_dir=str(work.cache), revalidate=False)

        on_event = without_frame(lambda event: work.on_event(event._replace(model=spec.name)))
        with Fetching(job, spec.network, on_result=lambda _: None, on_event=on_event) as fetching:
            with self._guard:
                if self._stopped:
                    raise InterruptedRunError("the run was stopped")
                self._fetching.add(fetching)
            try:
                return {result["source_id"]: result for result in fetching.results()}
            except HostError:
                if self._stopped:
                    raise InterruptedRunError("the run was stopped") from None
                raise
            finally:
                with self._guard:
                    self._fetching.discard(fetching)

    def _downloads(self, work: Work) -> list[Bind]:
        digests = filter(None, (work.spec.sha256, work.spec.calibration_sha256))
        blobs = [downloads.blob(work.cache / "downloads", digest) for digest in digests]
        return [Bind(blob, str(blob)) for blob in dict.fromkeys(blobs) if blob.is_file()]

    def _back(self, work: Work, control: Control, stages: tuple[str, ...]) -> dict[str, Path]:
        # No timing caches: other builds write theirs meanwhile, and nobody could merge them.
        made = {str(work.output_dir): control.folder / _MADE} if stages == CONVERT else {}
        return {f"{INSIDE}/out": control.folder / "out", str(work.cache / "logs"): work.cache / "logs", **made}

    def _judge(self, work: Work, control: Control, ended: Ended, timeout_s: float | None) -> ModelReport:
        report = super()._judge(work, control, ended, timeout_s)
        if report["status"] != BUILT:
            return report
        made = control.folder / _MADE
        files = {file.name: file for file in made.rglob("*") if file.is_file() and file.name in FILES}
        trouble = _damage(files, report) or restore.publish(files, report, work.output_dir)
        return report if trouble is None else {**report, "status": FAILED, "engine": None, "error": trouble}


def _damage(files: Mapping[str, Path], report: ModelReport) -> ErrorInfo | None:
    plan, engine = files.get(PLAN), report["engine"]
    if plan is not None and engine is not None and sha256_file(plan) == engine["sha256"]:
        return None
    return ErrorInfo(
        code="docker-lost", stage="inspect", message="the engine file did not come back as it was made",
        hint="run again", retryable=True,
    )  # fmt: skip


def _digest(results: Mapping[str, FetchResult], source: str | None) -> str | None:
    result = results.get(source_id(source)) if source is not None else None
    return result["sha256"] if result is not None else None


def _machine(options: ContainerOptions, arch: str) -> Machine:
    """Return what is known of the engine's machine.

    Raises:
        HostError: nobody said which platform it is.
    """
    if options.platform is None:
        raise ContainerError(
            "docker-remote",
            "the engine that DOCKER_HOST or the Docker context names is on another machine, which can't be looked at",
            hint="say what it is with --platform NAME (see image list), or choose this machine's engine: "
            "docker context use default",
        )
    releases = platforms.named(options.platform).l4t
    if not releases:
        return Machine(arch=arch)
    board = os.environ.get(BOARD_VARIABLE, "")
    if not board:
        raise ContainerError(
            "docker-remote",
            "which module the Jetson is can't be seen from here, and engines are for one",
            hint=f"set {BOARD_VARIABLE} to what prepare-models doctor prints there, such as p3767-0000",
        )
    return Machine(arch=arch, l4t=platforms.version(releases[0]), board=board, device_groups=(_VIDEO,))
