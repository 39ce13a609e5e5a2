"""Engines are built on a farm: a task for each model and device class, and the engine comes from the shared store."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from prepare_models_entrypoint.contract.environment import RuntimeInfo
from prepare_models_entrypoint.contract.fetch import FetchJob
from prepare_models_entrypoint.contract.files import sha256_file
from prepare_models_entrypoint.contract.job import JobKind
from prepare_models_entrypoint.contract.report import BUILT, RESTORED, ModelReport
from prepare_models_entrypoint.contract.source import Source

from .. import __version__
from ..errors import FarmError, UsageError
from ..farm import member, tasks
from ..farm.cluster import Cluster, Want, version
from ..manifest.model import ModelSpec
from ..options import ContainerOptions
from ..planning.planned import BUILD, PlannedModel
from ..running.connection import ConnectionSpec
from ..running.prefetch import Fetcher
from ..running.publishing import Publisher
from ..store import restore
from ..store.local import Turn, open_store
from ..store.shared import SharedStore
from . import FARM
from .executor import Downloader, Executor
from .work import Lines, OnEvent, Outcome, Step, Work

_AT_ONCE = 128


class Farm(Executor):
    """All machines of a farm."""

    name = FARM
    builds_here = False

    def __init__(self, options: ContainerOptions) -> None:
        """Connect to the scheduler.

        Raises:
            UsageError: options are missing, or are those of containers. FarmError: nobody answers, or versions differ.
        """
        if options.given:
            raise UsageError(
                "--platform, --image, --gpu and --memory are for containers, and a farm's workers have their own",
                hint="give them to prepare-models worker",
            )
        if options.farm.store is None:
            raise UsageError("a farm needs a store that its workers and this machine share", hint="give --store URL")
        self._farm, self._shared = options.farm, SharedStore(options.farm.store)
        self._cluster = Cluster(options.farm)
        member.refuse_versions(
            self._cluster.members(), {"prepare-models": __version__, "distributed": version()}, self._cluster.version()
        )

    def at_once(self, jobs: int) -> int:
        """Return how many models are handed over at once, however few this machine would work on."""
        return max(jobs, _AT_ONCE)

    def serves(self, devices: Collection[str]) -> Collection[str]:
        """Return these device classes, all of which have workers."""
        member.refuse_absent(devices, self._cluster.members())
        return devices

    def of(self, device: str) -> _Class:
        """Return the workers of one device class; of the only one, where the manifest names none."""
        there = sorted({each.said["device"] for each in self._cluster.members()})
        if not device and len(there) != 1:
            message = f"the farm has {', '.join(there)}" if there else "the farm has no workers"
            raise FarmError("farm-target-absent", f"the manifest names no targets, and {message}")
        return _Class(device or there[0], self._cluster, self._shared, attach=self._farm.attach)

    def describe(self) -> RuntimeInfo:
        """Return what the only device class builds with."""
        return self.of("").describe()

    def locked_as(self) -> tuple[str, Mapping[str, str]]:
        """Refuse: a lock knows what one machine builds with.

        Raises:
            UsageError: always.
        """
        raise UsageError("a farm can't be held to a lock", hint="leave out --locked; pin sources with sha256:")

    def building(self) -> _Class:
        """Return the only device class."""
        return self.of("")

    def fetching(self) -> _Class:
        """Return the only device class."""
        return self.of("")

    def stop(self) -> None:
        """Cancel what this run waits for."""
        self._cluster.stop()


class _Class(Executor, Downloader):
    """The workers of one device class: the executor, and the transport of all steps."""

    name = FARM

    def __init__(self, device: str, cluster: Cluster, shared: SharedStore, *, attach: bool) -> None:
        self._device, self._cluster, self._shared, self._attach = device, cluster, shared, attach

    def describe(self) -> RuntimeInfo:
        """Return what all workers of the class build with."""
        found = self._cluster.members()
        member.refuse_absent([self._device], found)
        return member.runtime_of(self._device, found)

    def locked_as(self) -> tuple[str, Mapping[str, str]]:
        """Return the class's name."""
        return self._device, {}

    def building(self) -> _Class:
        """Return this."""
        return self

    def fetching(self) -> _Class:
        """Return this: a worker fetches and builds."""
        return self

    def fetcher(self, job: FetchJob, connection: ConnectionSpec) -> Fetcher:
        """Refuse: workers fetch for themselves.

        Raises:
            UsageError: always.
        """
        del job, connection
        raise UsageError("a farm's workers fetch, and nothing is fetched ahead")

    def carry(self, step: Step, on_event: OnEvent) -> Outcome | None:
        """Have a worker do all that a model takes, and bring its engine to its place here."""
        work = step.work
        if step.kind is not JobKind.RUN or work.offline:
            raise UsageError(
                "a farm builds the engines of a manifest and does nothing else", hint="give --executor local or docker"
            )
        spec = _sendable(work.spec)
        key = _task(self._device, spec, force=work.force)
        if self._attach and not self._cluster.knows(key):
            raise FarmError("farm-not-under-way", f"no engine of {spec.label} is being built")
        lines = Lines(on_event)
        report: ModelReport | None = self._cluster.perform(
            tasks.build, tasks.Order(key, spec, work.timeout_s, work.force), Want(key, self._device, -spec.line),
            lambda line: lines.feed(line.encode("utf-8")),
        )  # fmt: skip
        if report is None:
            return None
        if report["status"] in (BUILT, RESTORED):
            report = self._brought(work, report)
        step.out.mkdir(parents=True, exist_ok=True)
        (step.out / "report.json").write_text(json.dumps({"models": [report]}), encoding="utf-8")
        return Outcome("worker", 0)

    def stop(self) -> None:
        """Cancel what this run waits for."""
        self._cluster.stop()

    def _brought(self, work: Work, report: ModelReport) -> ModelReport:
        """Bring an engine here and return the report of its build, with the places of this machine."""
        key, store = report["build_key"] or "", open_store()
        if work.build_key not in (None, key):
            message = (
                "the worker built another engine than was planned here: the paths of the manifest are other files there"
            )
            raise FarmError("farm-engine-differs", message)
        turn = store.turn(key, work.output_dir, on_wait=lambda _: None, stopped=lambda: self._cluster.stopped)
        planned = PlannedModel(work.spec, work.output_dir, BUILD, "", turn=key)
        with contextlib.nullcontext() if key == work.build_key else turn, Publisher() as publisher:
            digest = report["engine"]["sha256"] if report["engine"] else ""
            came = self._shared.pull(key, store, locked={key: digest}, stopped=lambda: self._cluster.stopped)
            if came is None:
                message = f"a worker built the engine {key[:16]}, and {self._shared.url} does not have it"
                raise FarmError("farm-engine-absent", message)
            # Its digest came over the farm's own connection, so it counts as built here, signed or not.
            store.put({**came.record, "origin": None}, came.files)
            entry = restore.find(store, planned, Turn(waited=False, last_place=None))
            if entry is None:
                raise FarmError("farm-engine-differs", f"the engine {key[:16]} is not what the manifest asks for")
            found = restore.restore(entry, planned, publisher)
        return {**found, "status": report["status"], "stages": report["stages"]} if found["error"] is None else found


def _sendable(spec: ModelSpec) -> ModelSpec:
    """Return a model as it may be sent: without secrets, and with the digest of a file that should be on workers, too.

    Raises:
        UsageError: the key of the model is in the manifest.
    """
    if spec.key is not None and spec.key.literal is not None:
        hint = "write key: {env: NAME}, and set that variable where the workers start"
        raise UsageError(f"{spec.name}: a key in the manifest is not sent to a farm", hint=hint)
    path = Source.of(spec.source).path
    if path is None or spec.sha256 is not None or not path.is_file():
        return spec
    return replace(spec, sha256=sha256_file(path))


def _task(device: str, spec: ModelSpec, *, force: bool) -> str:
    """Return the name of a task. Equal ones are one task, whoever wants it.

    Dask takes the beginning of a name for the kind of task, and learns how long each kind takes. If every task were a
    kind of its own, a worker that has just begun a build would get the next one, too, while another is nearly free.
    """
    wanted = [__version__, device, force, spec.job(Path()).to_dict()]
    digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode("ascii")).hexdigest()
    return f"build-{digest[:32]}-{spec.name}"
