"""One runner of jobs for all executors: which steps a model needs, how their reports are combined, what failures mean.

An executor says what builds there, and has the transports that take steps to an entrypoint.
"""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from prepare_models_entrypoint.contract.environment import RuntimeInfo
from prepare_models_entrypoint.contract.event import CLOSED, MODEL_FINISHED, OPENED, Event
from prepare_models_entrypoint.contract.fetch import FetchJob
from prepare_models_entrypoint.contract.identity import device_class
from prepare_models_entrypoint.contract.job import JobKind
from prepare_models_entrypoint.contract.report import BUILT, FAILED, ErrorInfo, ModelReport

from ..errors import InterruptedRunError
from ..running.connection import ConnectionSpec
from ..running.prefetch import Fetcher
from .work import OnEvent, Outcome, Step, Work, failed

if TYPE_CHECKING:
    from ..manifest.model import ModelSpec


class Transport(Protocol):
    """Takes steps to an entrypoint. Several threads may call it at once."""

    def carry(self, step: Step, on_event: OnEvent) -> Outcome | None:
        """Run a step and leave its report and its log in the step's folder. Return None if ``stop`` ended it."""

    def deliver(self, step: Step, report: ModelReport) -> ErrorInfo | None:
        """Move what was built to its place on this machine, unless it is there; return the error, if any."""
        del step, report
        return None


class Downloader(Transport, Protocol):
    """A transport to a place that can fetch sources."""

    def fetcher(self, job: FetchJob, connection: ConnectionSpec) -> Fetcher:
        """Return a fetcher of a job's sources ahead of their turn."""


class Executor(ABC):
    """Where models are built, and the one runner of jobs there. Several threads may call it at once.

    Connections are made only when needed. name: in the table. builds_here: whether sources come to this machine, and
    its disks are those that builds fill.
    """

    name: str
    builds_here = True

    @abstractmethod
    def describe(self) -> RuntimeInfo:
        """Return the backend and GPU that engines would be built with."""

    @abstractmethod
    def locked_as(self) -> tuple[str, Mapping[str, str]]:
        """Return the name and facts of what builds in a lock."""

    @abstractmethod
    def building(self) -> Transport:
        """Return the transport to what builds, checks and verifies."""

    @abstractmethod
    def fetching(self) -> Downloader:
        """Return the transport to what fetches; the same object as ``building`` if one process can do both."""

    @abstractmethod
    def stop(self) -> None:
        """End everything that runs, from another thread; later steps end at once."""

    def serves(self, devices: Collection[str]) -> Collection[str]:
        """Return for which of these device classes engines are built here.

        Raises:
            HostError: one should be and is not.
        """
        del devices
        return [device_class(self.describe()) or ""]

    def of(self, device: str) -> Executor:
        """Return what builds for a device class: this, unless it has several."""
        del device
        return self

    def by_device(self, specs: Iterable[ModelSpec]) -> dict[str, Executor]:
        """Return what builds for each device class of some models, in the order in which they name them."""
        return {device: self.of(device) for device in dict.fromkeys(spec.device for spec in specs)}

    def at_once(self, jobs: int) -> int:
        """Return how many models are worked on at once, where the user wants ``jobs``."""
        return jobs

    def fetcher(self, job: FetchJob, connection: ConnectionSpec) -> Fetcher:
        """Return a fetcher of a job's sources ahead of their turn."""
        return self.fetching().fetcher(job, connection)

    def ask(
        self, kind: JobKind, spec: ModelSpec, output_dir: Path | None = None, *, offline: bool = False
    ) -> ModelReport:
        """Check, verify or rewrite one model, outside of a run.

        ``output_dir``: the directory of the engine that is verified, or where the graph is written. ``offline``:
        whether all sources are local, so nothing is fetched.
        """
        with tempfile.TemporaryDirectory(prefix=f"prepare-models-{kind.value}-") as folder:
            place = (output_dir or Path(folder, "unused")).absolute()
            return self.run(Work(kind, spec, place, Path(folder), kind.value, offline=offline))

    def run(self, work: Work) -> ModelReport:
        """Do the work on one model and return its report.

        Raises:
            InterruptedRunError: ``stop`` was called.
        """
        building, fetching = self.building(), self.fetching()
        if building is fetching or work.offline or not work.remote:
            return self._step(building, Step(work, work.kind, fetch=not work.offline), work.on_event)

        def on_event(event: Event) -> None:
            if event.kind not in (OPENED, MODEL_FINISHED, CLOSED):  # the model begins and ends once
                work.on_event(event)

        fetched = self._step(fetching, Step(work, JobKind.FETCH, fetch=True), on_event)
        if fetched["status"] == FAILED:
            return fetched
        work = work.pinned(fetched)
        step = Step(work, work.kind, fetch=False, done=fetched["stages"])
        report = self._step(building, step, work.on_event)
        report["licences"] = sorted({*report["licences"], *fetched["licences"]})
        return report if report["stages"] else {**report, "stages": fetched["stages"]}

    def _step(self, transport: Transport, step: Step, on_event: OnEvent) -> ModelReport:
        outcome = transport.carry(step, on_event)
        if outcome is None:
            raise InterruptedRunError("the run was stopped")
        report = step.report()
        if report is None:
            report = failed(step.work.spec, outcome.without_report(step.tail()))
            return {**report, "log": step.keep_log(outcome.what)}
        error = report["error"]
        if error is not None:
            report["error"] = {**error, "hint": outcome.hint_for(error)}
        if report["status"] == BUILT:
            problem = transport.deliver(step, report)
            if problem is not None:
                return {**report, "status": FAILED, "engine": None, "error": problem}
        return report
