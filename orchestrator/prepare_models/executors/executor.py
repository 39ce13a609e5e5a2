"""One runner of jobs for all executors: which steps a model needs, how their reports are combined, what failures mean.

An executor has an ``Environment``, which says what builds there and has the transports that take steps to an
entrypoint.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from prepare_models_entrypoint.contract.environment import RuntimeInfo
from prepare_models_entrypoint.contract.event import CLOSED, MODEL_FINISHED, OPENED
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


class Environment(Protocol):
    """Where models are built. Connections are made only when needed."""

    def describe(self) -> RuntimeInfo:
        """Return the backend and GPU that engines would be built with."""

    def locked_as(self) -> tuple[str, Mapping[str, str]]:
        """Return the name and facts of this environment in a lock."""

    def building(self) -> Transport:
        """Return the transport to what builds, checks and verifies."""

    def fetching(self) -> Downloader:
        """Return the transport to what fetches; the same object as ``building`` if one process can do both."""

    def stop(self) -> None:
        """End everything that runs, from another thread; later steps end at once."""


@runtime_checkable
class Several(Protocol):
    """What an environment has besides, if its machines are of several device classes.

    at_once: models that are handed over at once, however few this machine would work on.
    """

    at_once: int

    def serves(self, devices: Collection[str]) -> Collection[str]:
        """Return which of these device classes are there. Raises a HostError where one should be and is not."""

    def of(self, device: str) -> Environment:
        """Return the machines of one device class."""


class Executor:
    """Runs jobs in an environment, one model at a time; several threads may call it at once."""

    _several: Several | None = None

    def __init__(self, name: str, environment: Environment) -> None:
        self.name = name
        self._environment = environment
        if isinstance(environment, Several):
            self._several = environment

    def describe(self) -> RuntimeInfo:
        """Return the backend and GPU that engines would be built with."""
        return self._environment.describe()

    def locked_as(self) -> tuple[str, Mapping[str, str]]:
        """Return the name and facts of the environment in a lock."""
        return self._environment.locked_as()

    def serves(self, devices: Collection[str]) -> Collection[str]:
        """Return for which of these device classes engines are built here."""
        return self._several.serves(devices) if self._several else [device_class(self.describe()) or ""]

    def of(self, device: str) -> Executor:
        """Return what builds for a device class: this, unless it has several."""
        return Executor(self.name, self._several.of(device)) if self._several else self

    def by_device(self, specs: Iterable[ModelSpec]) -> dict[str, Executor]:
        """Return what builds for each device class of some models, in the order in which they name them."""
        return {device: self.of(device) for device in dict.fromkeys(spec.device for spec in specs)}

    @property
    def builds_here(self) -> bool:
        """Return whether sources come to this machine, and its disks are those that builds fill."""
        return self._several is None

    def at_once(self, jobs: int) -> int:
        """Return how many models are worked on at once, where the user wants ``jobs``."""
        return max(jobs, self._several.at_once) if self._several else jobs

    def fetcher(self, job: FetchJob, connection: ConnectionSpec) -> Fetcher:
        """Return a fetcher of a job's sources ahead of their turn."""
        return self._environment.fetching().fetcher(job, connection)

    def stop(self) -> None:
        """End everything that runs, from another thread."""
        self._environment.stop()

    def check(self, spec: ModelSpec, folder: Path) -> ModelReport:
        """Check one model without building it. ``folder``: an empty private directory."""
        return self.run(Work(JobKind.CHECK, spec, folder / "unused", folder, "check"))

    def verify(self, spec: ModelSpec, output_dir: Path, folder: Path, *, offline: bool = False) -> ModelReport:
        """Compare the engine in a model's directory with its source model.

        ``folder``: an empty private directory. ``offline``: whether all sources are local, so nothing is fetched.
        """
        return self.run(Work(JobKind.VERIFY, spec, output_dir.absolute(), folder, "verify", offline=offline))

    def rewrite(self, spec: ModelSpec, output_dir: Path, folder: Path) -> ModelReport:
        """Write the graph that an engine would be built from. ``folder``: an empty private directory."""
        return self.run(Work(JobKind.REWRITE, spec, output_dir.absolute(), folder, "rewrite"))

    def run(self, work: Work) -> ModelReport:
        """Do the work on one model and return its report.

        Raises:
            InterruptedRunError: ``stop`` was called.
        """
        building, fetching = self._environment.building(), self._environment.fetching()
        if building is fetching or work.offline or not work.remote:
            return self._step(building, Step(work, work.kind, fetch=not work.offline), work.on_event)
        fetched = self._step(fetching, Step(work, JobKind.FETCH, fetch=True), _without_frame(work.on_event))
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


def _without_frame(on_event: OnEvent) -> OnEvent:
    """Drop the events of a fetch-only process about the model's beginning and end."""
    return lambda event: None if event.kind in (OPENED, MODEL_FINISHED, CLOSED) else on_event(event)
