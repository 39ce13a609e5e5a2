"""Provisioning: missing engines are built separately, checked and switched to, one model after the other."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from prepare_models_entrypoint.contract import companions
from prepare_models_entrypoint.contract.files import write_atomic
from prepare_models_entrypoint.contract.job import JobKind
from prepare_models_entrypoint.contract.report import ModelReport, WarningInfo, read_record
from prepare_models_entrypoint.contract.shared_files import share_file
from prepare_models_entrypoint.contract.values import Value
from prepare_models_entrypoint.contract.workspace import work_dir

from ..errors import InterruptedRunError, PrepareModelsError, ReleaseError, UsageError
from ..options import RunSettings
from ..planning import plan as plans
from ..planning.planned import PlannedModel
from ..planning.planner import PLAN
from ..running import inspecting, runner
from ..running.progress import Observer
from ..running.publishing import Publisher
from ..running.selection import Chosen
from ..running.writer_lock import model_lock
from ..store import restore
from ..store.local import Entry, open_store
from ..support import paths
from ..support.file_digests import open_digests
from ..support.os_errors import full, in_words
from . import ledger
from . import status_document as status
from .health import Health
from .ledger import Ledger
from .releases import Releases, fingerprint, refuse_damage
from .status_document import Rollback
from .status_file import StatusFile, note_rollback

_FAR_OFF = "verification-failed"


class Settings(Value):
    """How models are provisioned.

    run: how their engines are built. device: name of this machine. keep: releases of each model that stay, at least 1.
    health: what judges a version once it is current.
    """

    run: RunSettings
    device: str
    keep: int = 2
    health: Health | None = None


def perform(
    choose: Callable[[], Chosen], manifest: str, settings: Settings, observer: Observer
) -> status.ProvisionStatus:
    """Provision models and return the status, which is also written to disk, even on failure.

    ``choose``: returns the models, and the executor that works on them. ``manifest``: path of the manifest or bundle.

    Raises:
        PrepareModelsError: the whole provisioning was stopped; the status has the error, too.
    """
    models_dir = paths.make(settings.run.models_dir, paths.MODELS)
    if not paths.writable(models_dir):
        raise paths.unusable(models_dir, paths.MODELS)
    with (
        model_lock(models_dir, on_wait=lambda owner: observer.waiting(models_dir.name, owner)),
        work_dir(paths.make_cache()) as aside,
    ):
        status_file = StatusFile(models_dir, settings.device, manifest, observer)
        try:
            with in_words(), Publisher() as publisher:
                chosen = choose()
                # A device serves the engines of one target, each under the name of its model.
                specs = {spec.name: replace(spec, target="") for spec in chosen.specs}
                chosen = chosen._replace(specs=list(specs.values()), elsewhere=())
                status_file.begin(chosen.manifest, [spec.name for spec in chosen.specs])
                _Provisioning(chosen, settings, models_dir, aside / "models", status_file, publisher, observer).all()
        except PrepareModelsError as error:
            status_file.stop(error)
            raise
        except KeyboardInterrupt:
            status_file.stop(InterruptedRunError("interrupted"))
            raise
        status_file.end()
    return status_file.document


class _Provisioning(Value):
    chosen: Chosen
    settings: Settings
    models_dir: Path
    staging: Path
    status_file: StatusFile
    publisher: Publisher
    observer: Observer

    def all(self) -> None:
        noted = self._ledger.versions()
        for spec in self.chosen.specs:
            self._mend(spec.name, noted.get(spec.name))
        specs = [spec for spec in self.chosen.specs if not self.status_file.is_settled(spec.name)]
        planned, _ = plans.planned(specs, self.chosen.executor, self.models_dir, force=self.settings.run.force)
        wanted = [model for model in planned if self._is_wanted(model)]
        for model in self._judged(self._run(wanted)) if wanted else ():
            with self._guarded(model.spec.name, status.SWITCH):
                self._deliver(model)

    def _mend(self, name: str, noted: int | None) -> None:
        """Finish what a killed process began, before anything is planned. ``noted``: its version in the ledger."""
        releases = self._releases(name)
        if not releases.root.exists():
            return
        with self._lock(releases):
            releases.mend()
            current = releases.current
            if current is None:
                return
            if noted != current:  # unless a rollback has noted it since
                noted = self._ledger.versions().get(name)
            if noted != current:
                self._ledger.note(ledger.FOUND, releases, noted, "an earlier switch was interrupted")
            if releases.notes.trial == current:
                with self._guarded(name, status.HEALTH):
                    self._try_out(releases, current)

    def _is_wanted(self, model: PlannedModel) -> bool:
        """Return whether a model has to be run. An engine that ``run`` built in place becomes the first release."""
        name, releases = model.spec.name, self._releases(model.spec.name)
        if model.record is None:
            return not (model.turn_is_key and self._is_held(model, model.turn))
        if releases.current is not None:
            self.status_file.settle(name, status.UP_TO_DATE, model.reason)
            return False
        with self._guarded(name, status.SWITCH), self._lock(releases):
            self._adopt(releases)
            self.status_file.settle(name, status.UP_TO_DATE, model.reason)
        return False

    def _is_held(self, model: PlannedModel, build_key: str) -> bool:
        rejected = self._releases(model.spec.name).rejected(fingerprint(build_key, model.spec.deployed()))
        if rejected is None or self.settings.run.force:
            return False
        error = ReleaseError("release-rejected", f"version {rejected.release} was taken back: {rejected.why}")
        self.status_file.settle(model.spec.name, status.ROLLED_BACK, error.message, error.info(status.PLAN))
        return True

    def _run(self, models: Sequence[PlannedModel]) -> list[PlannedModel]:
        """Run models in a separate directory, and return those that have engines."""
        self._bring(models)
        self.status_file.phase([model.spec.name for model in models], status.RUN)
        aside = replace(self.settings.run, models_dir=self.staging)
        runner.get_ready(aside)
        chosen = self.chosen._replace(specs=[model.spec for model in models])
        report = runner.perform(chosen, aside, self.observer, started=time.time())
        for each in report["models"]:
            self.status_file.ran(each)
        failed = {each["name"] for each in report["models"] if each["engine"] is None}
        return [model for model in models if model.spec.name not in failed]

    def _bring(self, models: Sequence[PlannedModel]) -> None:
        """Put engines that are already here, in a release or in place, and are wanted again where the run finds them.

        Not into the store: it serves other directories, too, and a record here may be a stranger's.
        """
        store = open_store(open_digests())
        for model in models:
            releases, staged = self._releases(model.spec.name), self.staging / model.spec.name
            folders = (releases.folder, *map(releases.path, releases.numbers()))
            for folder in folders if not store.has(model.turn) else ():
                entry = restore.found_in(folder, model.turn, store)
                if entry is not None:
                    with contextlib.suppress(OSError):  # such as a full disk: the run says what it needs
                        (staged / PLAN).parent.mkdir(parents=True)
                        for file in entry.files.values():
                            share_file(file, staged / file.relative_to(folder), link=True)
                        write_atomic(staged / companions.REPORT, json.dumps(entry.record).encode("ascii"))
                    break

    def _judged(self, models: Sequence[PlannedModel]) -> Iterator[PlannedModel]:
        """Yield the models whose engines pass verification, and the rules of the named consumers."""
        compared = []
        for model in models:
            with self._guarded(model.spec.name, status.VERIFY):
                self._verify(model)
                compared.append(model)
        findings = self._findings([model.spec.name for model in compared if model.spec.deployment.consumers])
        for model in compared:
            warnings = findings.get(model.spec.name)
            if not warnings:
                yield model
                continue
            message = "; ".join(f"{each['message']} [{each['code']}]" for each in warnings)
            error = ReleaseError("lint-findings", message, hint=warnings[0]["hint"])
            self.status_file.fail(model.spec.name, error.info(status.LINT))

    def _findings(self, names: Sequence[str]) -> dict[str, tuple[WarningInfo, ...]]:
        """Return what consumers object to in models that were run aside."""
        if not names:
            return {}
        self.status_file.phase(names, status.LINT)
        found = inspecting.lint_report(inspecting.lint(self.staging))
        return {model.name: model.warnings for model in found.models if model.name in names}

    def _verify(self, model: PlannedModel) -> None:
        """Compare an engine with its source, unless its run did. If impossible, that is an error only with verify:."""
        record = read_record(self.staging / model.spec.name)
        if record is not None and record["verification"] is not None:
            return
        place, offline = self.staging / model.spec.name, self.chosen.offline
        error = self.chosen.executor.ask(JobKind.VERIFY, model.spec, place, offline=offline)["error"]
        if error is not None and error["code"] == _FAR_OFF:
            raise ReleaseError(error["code"], error["message"], hint=error["hint"])

    def _deliver(self, model: PlannedModel) -> None:
        """Make a release of what was built separately, switch to it, and keep it if it is healthy."""
        releases, staged = self._releases(model.spec.name), self.staging / model.spec.name
        record = read_record(staged)
        if record is None or self._is_held(model, record["build_key"] or ""):
            return
        with self._lock(releases):
            if releases.current is None and read_record(releases.folder) is not None:  # which run built in place
                with contextlib.suppress(ReleaseError):  # without a good engine, nothing is lost
                    self._adopt(releases)
            before = releases.current
            entry = Entry(record["build_key"] or "", restore.files_in(staged), record, 0, 0.0)
            report = ModelReport(**{**restore.as_of(entry, model), "status": record["status"]})
            number = releases.add(report, entry.files, self.publisher)
            if self.settings.health is not None:
                releases.note(replace(releases.notes, trial=number))
            releases.switch(number)
            self._ledger.note(ledger.SWITCHED, releases, before, model.told())
            self.status_file.settle(model.spec.name, status.SWITCHED, model.told())
            self._try_out(releases, number)

    def _adopt(self, releases: Releases) -> None:
        record = read_record(releases.folder)
        if record is not None:
            number = releases.add(record, restore.files_in(releases.folder), self.publisher)
            releases.keep_signature(number)
            releases.switch(number)
            self._ledger.note(ledger.ADOPTED, releases, None, "run built it in place")

    def _try_out(self, releases: Releases, number: int) -> None:
        """Have the health command judge the current version; without one, it is good."""
        name, health = releases.folder.name, self.settings.health
        if health is not None:
            self.status_file.phase([name], status.HEALTH)
        problem = health.problem(self.models_dir, name, number) if health is not None else None
        if problem is None:
            releases.accept(number)
            releases.prune(self.settings.keep)
            if health is not None:
                self.status_file.settle(name, status.SWITCHED, "the health command found it good")
            return
        error = ReleaseError("health-failed", problem).info(status.HEALTH)
        if releases.previous is None:
            self.status_file.fail(name, {**error, "message": f"{problem}; there is no earlier version"})
            return
        take_back(releases, releases.previous, problem)
        self._ledger.note(ledger.ROLLED_BACK, releases, number, problem)
        self.status_file.settle(name, status.ROLLED_BACK, problem, error)

    @contextlib.contextmanager
    def _guarded(self, name: str, phase: str) -> Iterator[None]:
        """Make an error a failure of only its model."""
        self.status_file.phase([name], phase)
        try:
            yield
        except InterruptedRunError:
            raise
        except PrepareModelsError as error:
            self.status_file.fail(name, error.info(phase))
        except OSError as error:
            no_room = full(error, self.models_dir)
            if no_room is None:
                raise
            self.status_file.fail(name, no_room.info(phase))

    def _releases(self, name: str) -> Releases:
        return Releases(self.models_dir / name)

    @property
    def _ledger(self) -> Ledger:
        return Ledger(self.models_dir, self.settings.device)

    def _lock(self, releases: Releases) -> AbstractContextManager[object]:
        return model_lock(releases.folder, on_wait=lambda owner: self.observer.waiting(releases.folder.name, owner))


def take_back(releases: Releases, target: int, why: str) -> None:
    """Go to another release; where it is an earlier one, nothing returns by itself to the one that is current now.

    Raises:
        ReleaseError: its engine is not the one in its record.
    """
    digests = open_digests()
    refuse_damage(releases.path(target), digests.of(releases.path(target) / PLAN))
    digests.save()
    current = releases.current
    if current is not None and target < current:
        releases.reject(current, why)
    releases.switch(target)


def roll_back(name: str, models_dir: Path, device: str, *, to: int | None, why: str) -> Rollback:
    """Make an earlier version of a model current; provisioning does not undo that by itself.

    ``to``: version to go to; None means the one before. ``device``: name of this machine. ``why``: for the ledger.

    Raises:
        UsageError: the model was not provisioned, or doesn't have the version.
        ReleaseError: there is no earlier version, or it is damaged.
    """
    releases = Releases(models_dir / name)
    if os.sep in name or releases.current is None:
        text = f"{models_dir} has no provisioned model {name}"
        raise UsageError(text, hint="name a model that prepare-models provision manages, and its --models-dir")
    with model_lock(releases.folder):
        releases.mend()
        before, target = releases.current or 0, releases.previous if to is None else to
        if to == before:  # as after a rollback that was killed
            return Rollback(name, before, before)
        if target is None:
            kept = ", ".join(map(str, releases.numbers()))
            raise ReleaseError("rollback-impossible", f"{name} serves version {before}; kept are {kept}")
        if target not in releases.numbers():
            kept = ", ".join(map(str, releases.numbers()))
            raise UsageError(f"{name} has no version {target}", hint=f"kept are {kept}")
        releases.accept(target)
        take_back(releases, target, why)
        Ledger(models_dir, device).note(ledger.ROLLED_BACK, releases, before, why)
        note_rollback(models_dir, name, why, held=target < before)
    return Rollback(name, target, before)
