"""A whole run, from the first checks to its report, for both the command line and the API."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from prepare_models_entrypoint.contract.workspace import sweep

from ..options import RunSettings
from ..reports import documents
from ..support import paths
from . import writer_lock
from .prefetch import fetching_ahead
from .progress import Observer
from .runner import Run

if TYPE_CHECKING:
    from .selection import Chosen

_PURPOSE, _CHOSEN_BY = "models directory", "--models-dir DIR"


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
    models_dir = paths.make(settings.models_dir, purpose=_PURPOSE, chosen_by=_CHOSEN_BY)
    run = Run(chosen, settings, observer)
    # Who only takes engines from a shared store needs no sources but those it builds from.
    pulls = settings.sharing is not None and not settings.sharing.pushes
    later = [] if chosen.offline or pulls else chosen.specs[settings.jobs :]
    later = [spec for spec in later if run.accepts_terms or not spec.eula]
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


def _write(report: documents.Run, models_dir: Path, others: Mapping[str, Path]) -> None:
    if paths.writable(models_dir):
        documents.save(models_dir / "report.json", documents.render(documents.JSON, report), own=True)
    for form, target in others.items():
        documents.save(target, documents.render(form, report))
