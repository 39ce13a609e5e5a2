"""Runs the models of a manifest through an executor and assembles the run's report."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from prepare_models_entrypoint.contract import companions
from prepare_models_entrypoint.contract import report as contract
from prepare_models_entrypoint.contract.files import remove_partials
from prepare_models_entrypoint.contract.job import JobKind
from prepare_models_entrypoint.contract.report import Material, ModelReport, WarningInfo, blank
from prepare_models_entrypoint.contract.source import Source
from prepare_models_entrypoint.contract.workspace import sweep

from .. import __version__
from ..errors import InterruptedRunError, NoRoomError, PrepareModelsError, ReleaseError, SourcesError
from ..executors.work import OnEvent, Work, failed
from ..machine.facts import power_of
from ..manifest.model import ModelSpec, require_terms, terms_accepted
from ..options import RunSettings
from ..planning import disk_budget
from ..planning.planned import BUILD, REBUILD, RESTORE, PlannedModel, why_elsewhere
from ..planning.planner import Planner, changed_at, in_archive
from ..reports import documents
from ..reports.documents import timestamp
from ..store import restore
from ..store.local import Entry, Store, Turn, open_store
from ..support import paths
from ..support.file_digests import open_digests
from ..support.os_errors import full
from . import threads, writer_lock
from .fetch_process import fetch_sources
from .prefetch import fetching_ahead
from .progress import Observer
from .publishing import Publisher
from .writer_lock import Held, model_lock

if TYPE_CHECKING:
    from .selection import Chosen
    from .supply import Supply


class Run:
    """One run over the models of a manifest."""

    def __init__(self, chosen: Chosen, settings: RunSettings, observer: Observer) -> None:
        self._chosen, self._settings, self._observer = chosen, settings, observer
        self._specs, self._executor = chosen.specs, chosen.executor
        self._models_dir = settings.models_dir.absolute()
        # Who made a bundle has accepted the terms of what is in it.
        self.accepts_terms = chosen.offline or terms_accepted(flag=settings.accept_eula)
        self._digests = open_digests()
        self._store = open_store(self._digests)
        self._store.sweep()
        self._supply = _supply(settings, self._store)
        self._run_id = os.urandom(6).hex()
        self._stop = threading.Event()
        self._why_skipped = ""
        self._publisher = Publisher()
        self._executors = self._executor.by_device(self._specs)
        self._planners = {
            device: Planner(self._models_dir, each.describe(), self._store, self._digests, settings.force)
            for device, each in self._executors.items()
        }
        self._reports: dict[str, ModelReport] = {}

    def models(self) -> None:
        """Prepare all models; the results are in ``report()``, even after an interruption.

        Raises:
            InterruptedRunError: a signal stopped the run.
        """
        at_once = min(self._executor.at_once(self._settings.jobs), len(self._specs))
        try:
            with self._publisher:
                threads.for_each(self._specs, self._model, at_once, halt=self._end)
        finally:
            self._digests.save()

    def _end(self, error: BaseException) -> None:
        by_user = isinstance(error, KeyboardInterrupt | InterruptedRunError)
        self._halt("interrupted" if by_user else "internal error")
        self._executor.stop()

    def up_to_date(self) -> bool:
        """Return whether every model's engine is already as the manifest asks, so that there is nothing to write."""
        return all(self._plan(spec).record is not None for spec in self._specs)

    def report(self, started: float) -> documents.Run:
        """Return the run's report. ``started``: seconds since the epoch."""
        kernel = os.uname()
        reports = [self._reports.get(spec.label) or _skipped(spec, self._why_skipped) for spec in self._specs]
        reports += [_skipped(spec, why_elsewhere(spec)) for spec in self._chosen.elsewhere]
        built = [report["runtime"] for report in reports if report["runtime"] and report["stages"]]
        counts = {status: sum(report["status"] == status for report in reports) for status in contract.STATUSES}
        return documents.Run(
            schema_version=contract.SCHEMA_VERSION,
            tool={"name": "prepare-models", "version": __version__},
            run_id=self._run_id,
            manifest=str(self._chosen.manifest.path),
            models_dir=str(self._models_dir),
            started_at=timestamp(started),
            seconds=round(time.time() - started, 3),
            host=documents.Host(
                system=f"{kernel.sysname} {kernel.release}",
                machine=kernel.machine,
                python=sys.version.split()[0],
                cpus=os.cpu_count(),
                power=power_of(),
            ),
            executor=self._executor.name,
            # As the entrypoint reported it, or the executor's own description if nothing was built.
            runtime=built[0] if built else next(iter(self._planners.values())).runtime,
            summary=counts,
            models=reports,
        )

    def _model(self, spec: ModelSpec) -> None:
        if self._stop.is_set():
            return
        report = self._guarded(spec)
        if report is None:
            return
        if self._supply is not None:
            report = self._supply.with_warnings(report)
        report = {**report, "name": spec.label}
        # Where all is up to date, there are no builds for which memory is worth the time.
        self._reports[spec.label] = report if report["status"] == contract.UP_TO_DATE else documents.compact(report)
        self._observer.finished(report)
        if report["status"] == contract.FAILED and self._settings.fail_fast:
            self._halt("an earlier model failed (--fail-fast)")

    def _guarded(self, spec: ModelSpec) -> ModelReport | None:
        try:
            report = self._locked(spec)
            if report is not None and self._supply is not None:
                self._supply.hand_on(report, self._stop)
        except (InterruptedError, InterruptedRunError):
            return None
        except PrepareModelsError as error:
            return failed(spec, error.info())
        except OSError as error:
            no_room = full(error, self._models_dir)
            if no_room is None:
                raise
            return failed(spec, no_room.info())
        return report

    def _locked(self, spec: ModelSpec) -> ModelReport | None:
        output_dir = self._models_dir / spec.label
        with model_lock(output_dir, on_wait=self._waiting(spec.label), stopped=self._stop.is_set) as lock:
            for folder in (output_dir, output_dir / "1"):
                remove_partials(folder)  # left by a killed run
            planned = self._plan(spec)
            self._observer.planned(planned)
            if planned.record is not None:
                return {**planned.record, "status": contract.UP_TO_DATE, "reason": planned.reason, "stages": []}
            if companions.is_provisioned(output_dir):
                what = f"{output_dir} has releases of prepare-models provision, and a run would {planned.told()}"
                raise ReleaseError("directory-provisioned", what)
            require_terms([spec], accepted=self.accepts_terms)
            return self._from_store_or_build(planned, lock)

    def _from_store_or_build(self, planned: PlannedModel, lock: Held) -> ModelReport | None:
        spec, place = planned.spec, planned.output_dir
        if self._supply is not None and not self._settings.force and self._executor.builds_here:
            planned = self._with_key(planned)
        with self._store.turn(
            planned.turn, place, on_wait=self._waiting(spec.label), stopped=self._stop.is_set
        ) as turn:
            held = planned.turn
            before = not planned.turn_is_key and turn.last_place not in (None, place)
            if turn.waited or before:  # files that another process fetched or read have digests now
                self._digests.reload()
                planned = self._plan(spec, thorough=True)
            entry = None if self._settings.force else self._found(planned, turn)
            if entry is not None:
                return restore.restore(entry, replace(planned, action=RESTORE), self._publisher)
            if planned.action == RESTORE:  # what is stored is damaged, or not to be trusted
                planned = replace(planned, action=REBUILD if companions.has_engine(place) else BUILD)
            if self._supply is not None:
                self._supply.refuse_build(planned)
            path = Source.of(spec.source).path
            learn = self._digests.watch(path) if path is not None and path.is_file() else None
            scarce = self._scarce(planned) if self._executor.builds_here else []
            began = time.time()
            turn.begin()
            report = self._executors[spec.device].run(self._work(planned, lock))
            report["warnings"] += scarce
            if self._stop.is_set() and report["status"] == contract.FAILED:
                return None
            if report["status"] == contract.BUILT:
                self._learn(report, began, learn)
                self._keep(report, place, held)
        licences = sorted({*report["licences"], *([spec.eula] if spec.eula else [])})
        return {**report, "reason": planned.told(), "licences": licences}

    def _plan(self, spec: ModelSpec, *, thorough: bool = False) -> PlannedModel:
        return self._planners[spec.device].plan(spec, thorough=thorough)

    def _named(self, spec: ModelSpec) -> OnEvent:
        """Return what hears events of a model under its name in this run."""
        if not spec.target:
            return self._observer.event
        return lambda event: self._observer.event(replace(event, model=event.model and spec.label))

    def _scarce(self, planned: PlannedModel) -> list[WarningInfo]:
        """Return which disks probably have too little room for a build.

        Raises:
            NoRoomError: one certainly has.
        """
        problems = [each for disk in disk_budget.of_run([planned], self._digests) if (each := disk.problem())]
        for each in problems:
            if each.kind == "error":
                raise NoRoomError(f"{each.about}: {each.message}", hint=each.hint)
        return [WarningInfo(code=e.code, message=f"{e.about}: {e.message}", hint=e.hint) for e in problems]

    def _found(self, planned: PlannedModel, turn: Turn) -> Entry | None:
        """Return the engine that a model needs from the store here, or from the shared one by way of it."""
        entry = restore.find(self._store, planned, turn)
        if entry is None and self._supply is not None and self._supply.pull(planned, self._stop):
            entry = restore.find(self._store, planned, turn)
        return entry

    def _with_key(self, planned: PlannedModel) -> PlannedModel:
        """Find out the build key of a model whose sources were never fetched or read."""
        if planned.turn_is_key:
            return planned
        spec = planned.spec
        pairs = ((spec.source, spec.sha256), (spec.calibration_cache, spec.calibration_sha256))
        remote = [(spec.network, source, sha256) for source, sha256 in pairs if source and Source.of(source).is_remote]
        with contextlib.suppress(SourcesError):  # the build will tell
            found = fetch_sources(remote, on_event=lambda _: None, offline=self._chosen.offline, pins=spec.pins)
            for result in found.values():
                self._digests.note_source(result["source_id"], result["sha256"] or "")
        return self._plan(spec, thorough=True)

    def _work(self, planned: PlannedModel, lock: Held) -> Work:
        settings, key = self._settings, planned.turn if planned.turn_is_key else None
        return Work(
            JobKind.RUN, planned.spec, planned.output_dir.absolute(), lock.control_dir, self._run_id,
            lock=lock.descriptor, timeout_s=settings.timeout_s, on_event=self._named(planned.spec),
            offline=self._chosen.offline, build_key=key, force=settings.force,
        )  # fmt: skip

    def _learn(self, report: ModelReport, began: float, learn: Callable[[str], None] | None) -> None:
        """Remember the digests of what a build read. ``learn``: called with that of a local model file."""
        for material in report["materials"]:
            source = Source.of(material["source"])
            if source.path is None:
                with contextlib.suppress(OSError):  # an archive may go at any moment
                    self._learn_source(source.outer.path, material, began)
            if learn is not None and material["role"] == "model":
                learn(material["sha256"])
        self._digests.save()

    def _learn_source(self, archive: Path | None, material: Material, began: float) -> None:
        """Remember what a source gave, unless the build may have read the archive that was there before."""
        changed = changed_at(archive)
        if changed >= began:
            return
        self._digests.note_source(material["source_id"], material["sha256"], since=changed)
        name = in_archive(self._digests.of(archive), material["source_id"]) if archive is not None else None
        if name is not None and changed_at(archive) == changed:
            self._digests.note_source(name, material["sha256"])

    def _keep(self, report: ModelReport, place: Path, held: str) -> None:
        """Put an engine into the store, in its turn. ``held``: the turn that this run already holds."""
        key, waiting = report["build_key"] or "", self._waiting(report["name"])
        turn = self._store.turn(key, place, on_wait=waiting, stopped=self._stop.is_set)
        with turn if key != held else contextlib.nullcontext():
            restore.keep(self._store, report, place)

    def _waiting(self, name: str) -> Callable[[str], None]:
        return lambda owner: self._observer.waiting(name, owner)

    def _halt(self, why: str) -> None:
        if not self._stop.is_set():
            self._why_skipped = why
            self._stop.set()
            self._digests.stop()


def _skipped(spec: ModelSpec, why: str) -> ModelReport:
    report = blank(spec.label, spec.source, precision=spec.precision, converter=spec.converter)
    return {**report, "status": contract.SKIPPED, "reason": why}


def _supply(settings: RunSettings, store: Store) -> Supply | None:
    if settings.sharing is None:
        return None
    from .supply import Supply  # imported here, as most runs have no shared store

    return Supply(settings.sharing, store, replace=settings.force)


def get_ready(settings: RunSettings) -> None:
    """Check for what would stop a run at its end, and remove what killed runs left.

    Raises:
        HostError: the cache can't be used, or a report can't be drawn.
    """
    for form in settings.reports:
        documents.check(form)  # before hours of building
    sweep(paths.make_cache())
    writer_lock.sweep()


def perform(chosen: Chosen, settings: RunSettings, observer: Observer, *, started: float) -> documents.Run:
    """Prepare models, write the reports, even of an interrupted run, and return the run's report.

    ``started``: seconds since the epoch.

    Raises:
        HostError: the models directory or a report can't be written.
        InterruptedRunError: a signal stopped the run.
    """
    models_dir = paths.make(settings.models_dir, paths.MODELS)
    run = Run(chosen, settings, observer)
    # Who only takes engines from a shared store needs no sources but those it builds from.
    pulls = settings.sharing is not None and not settings.sharing.pushes
    later = [] if chosen.offline or pulls else chosen.specs[settings.jobs :]
    later = [spec for spec in later if run.accepts_terms or not spec.eula]
    if not paths.writable(models_dir) and not run.up_to_date():
        raise paths.unusable(models_dir, paths.MODELS)
    try:
        with fetching_ahead(later, chosen.executor.fetcher, models_dir=models_dir, force=settings.force):
            run.models()
    finally:
        report = run.report(started)
        if paths.writable(models_dir):
            documents.save(models_dir / "report.json", documents.render(documents.JSON, report), own=True)
        for form, target in settings.reports.items():
            documents.save(target, documents.render(form, report))
    if report["summary"]["built"]:
        from ..store.contents import keep_within_limit

        keep_within_limit()
    return report
