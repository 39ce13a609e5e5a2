"""A whole run, from the first checks to its report, for both the command line and the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from prepare_models_entrypoint.contract.values import Value
from prepare_models_entrypoint.contract.workspace import sweep

from ..manifest import licences
from ..reports import documents
from ..store.local import open_store
from ..support import paths
from ..support.file_digests import open_digests
from . import writer_lock
from .prefetch import fetching_ahead
from .progress import Observer
from .runner import Run
from .sharing import Sharing

if TYPE_CHECKING:
    from ..store.local import Store
    from .selection import Chosen
    from .supply import Supply

_PURPOSE, _CHOSEN_BY = "models directory", "--models-dir DIR"


class Settings(Value):
    """How engines are built and what is written about it.

    jobs: models to prepare at the same time. fail_fast: whether to start no more models after a failure.
    force: whether to build engines that are up to date, too. timeout_s: seconds for the conversion of one model.
    reports: files for the run's report by form, next to the one in the models directory.
    sharing: shared store that engines come from and go to.
    """

    models_dir: Path
    jobs: int = 1
    fail_fast: bool = False
    force: bool = False
    timeout_s: float | None = None
    accept_eula: bool = False
    reports: Mapping[str, Path] = field(default_factory=dict)
    sharing: Sharing | None = None


def get_ready(settings: Settings) -> None:
    """Check for what would stop a run at its end, and remove what killed runs left.

    Raises:
        HostError: the cache can't be used, or a report can't be drawn.
    """
    for form in settings.reports:
        documents.check(form)  # before hours of building
    sweep(paths.make_cache())
    writer_lock.sweep()


def perform(chosen: Chosen, settings: Settings, observer: Observer, *, started: float) -> documents.Run:
    """Prepare models, write the reports, even of an interrupted run, and return the run's report.

    Args:
        chosen: models, and the executor that works on them.
        settings: how to build and report.
        observer: called with the progress.
        started: seconds since the epoch.

    Raises:
        HostError: the models directory or a report can't be written.
        InterruptedRunError: a signal stopped the run.
    """
    models_dir = paths.make(settings.models_dir, purpose=_PURPOSE, chosen_by=_CHOSEN_BY)
    specs, offline = chosen.specs, chosen.offline
    accepted = offline or licences.accepted(flag=settings.accept_eula)  # of a bundle: when it was made
    pulls = (
        settings.sharing is not None and not settings.sharing.pushes
    )  # and needs no sources but those it builds from
    later = [] if offline or pulls else [spec for spec in specs[settings.jobs :] if accepted or not spec.eula]
    digests = open_digests()
    store = open_store(digests)
    store.sweep()
    supply = _supply(settings, store)
    run = Run(
        manifest=chosen.manifest,
        specs=specs,
        models_dir=models_dir,
        executor=chosen.executor,
        store=store,
        digests=digests,
        jobs=settings.jobs,
        fail_fast=settings.fail_fast,
        force=settings.force,
        timeout_s=settings.timeout_s,
        accept_eula=accepted,
        offline=offline,
        supply=supply,
        observer=observer,
        elsewhere=chosen.elsewhere,
    )
    if not paths.writable(models_dir) and not run.up_to_date():
        raise paths.unusable(models_dir, purpose=_PURPOSE, chosen_by=_CHOSEN_BY)
    try:
        with fetching_ahead(later, chosen.executor.fetcher, models_dir=models_dir, force=settings.force):
            run.models()
    finally:
        report = run.report(started)
        _write(report, models_dir, settings.reports)
    if report["summary"]["built"]:
        from ..store.contents import keep_within_limit

        keep_within_limit()
    return report


def _supply(settings: Settings, store: Store) -> Supply | None:
    if settings.sharing is None:
        return None
    from .supply import Supply  # imported here, as most runs have no shared store

    return Supply(settings.sharing, store, replace=settings.force)


def _write(report: documents.Run, models_dir: Path, others: Mapping[str, Path]) -> None:
    if paths.writable(models_dir):
        documents.save(models_dir / "report.json", documents.render(documents.JSON, report), own=True)
    for form, target in others.items():
        documents.save(target, documents.render(form, report))
