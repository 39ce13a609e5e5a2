"""``prepare-models run``."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

from prepare_models_entrypoint.contract.workspace import sweep

from ...errors import EXIT_MODEL_FAILED, EXIT_OK
from ...executors.executor import Executor
from ...manifest import licences
from ...manifest.model import Manifest, ModelSpec
from ...reports import documents, forms, html, text
from ...running import progress, writer_lock
from ...running.prefetch import fetching_ahead
from ...running.runner import Run
from ...store import open_store
from ...support import paths
from ...support.file_digests import open_digests
from .. import selection
from ..limit import keep_within_limit
from ..options import add_output, add_selection, positive, seconds

EXAMPLE = """\
example:
  prepare-models run
  prepare-models run models.yaml --models-dir ~/models
  prepare-models run models.yaml peoplesemsegnet --force --json > report.json

exit status: 0 all models good, 1 a model failed, 2 usage or manifest error,
3 this machine can't do it, 70 a bug, 130 interrupted
"""


_PURPOSE, _CHOSEN_BY = "models directory", "--models-dir DIR"


def add_arguments(run: argparse.ArgumentParser) -> None:
    """Add what ``run`` takes."""
    add_selection(run)
    add_building(run)
    run.add_argument("--jobs", type=positive, default=1, metavar="N", help="models to work on at once (default 1)")
    ending = run.add_mutually_exclusive_group()
    ending.add_argument(
        "--keep-going",
        dest="fail_fast",
        action="store_const",
        const=False,
        help="continue with the other models after a failure (default)",
    )
    ending.add_argument("--fail-fast", action="store_const", const=True, help="start no further model after a failure")
    run.add_argument(
        "--dry-run", dest="command", action="store_const", const="plan", default=argparse.SUPPRESS,
        help="only print what would be done, like plan",
    )  # fmt: skip


def add_building(command: argparse.ArgumentParser) -> None:
    """Add how engines are built and reported, whatever chose the models."""
    command.add_argument("--report", type=Path, metavar="FILE", help="also write the run's report to FILE")
    for form in forms.FORMS:
        command.add_argument(f"--report-{form}", type=Path, metavar="FILE", help=f"also write it as {form}")
    command.add_argument(
        "--timeout",
        type=seconds,
        metavar="SECONDS",
        help="longest time for the conversion of one model (default 6 hours)",
    )
    command.add_argument("--accept-eula", action="store_true", help="accept the terms of use of the models")
    add_output(command)


def main(arguments: argparse.Namespace) -> int:
    """Prepare the models, write the reports, print the summary."""
    started = time.time()
    get_ready(arguments)
    report = perform(arguments, *selection.chosen(arguments), started=started)
    text.write(document_of(report) if arguments.json else text.summary(report))
    return status(report)


def status(report: documents.Run) -> int:
    """Return the exit status of a run."""
    return EXIT_MODEL_FAILED if report["summary"]["failed"] else EXIT_OK


def get_ready(arguments: argparse.Namespace) -> None:
    """Find out what would stop a run at its end, and sweep what killed runs left."""
    if arguments.report_html is not None:
        html.check()  # before hours of building
    sweep(paths.make_cache())
    writer_lock.sweep()


def perform(
    arguments: argparse.Namespace, loaded: Manifest, specs: Sequence[ModelSpec], executor: Executor, *, started: float
) -> documents.Run:
    """Prepare models, write the reports and return the run's. ``started``: seconds since the epoch."""
    models_dir = paths.make(arguments.models_dir, purpose=_PURPOSE, chosen_by=_CHOSEN_BY)
    offline = arguments.bundle is not None
    accepted = offline or licences.accepted(flag=arguments.accept_eula)  # of a bundle: when it was made
    later = [] if offline else [spec for spec in specs[arguments.jobs :] if accepted or not spec.eula]
    digests = open_digests()
    store = open_store(digests)
    store.sweep()
    with progress.observer(
        quiet=arguments.quiet, log_format=arguments.log_format, verbose=arguments.verbose
    ) as observer:
        run = Run(
            manifest=loaded,
            specs=specs,
            models_dir=models_dir,
            executor=executor,
            store=store,
            digests=digests,
            jobs=arguments.jobs,
            fail_fast=bool(arguments.fail_fast),
            force=arguments.force,
            timeout_s=arguments.timeout,
            accept_eula=accepted,
            offline=offline,
            observer=observer,
        )
        if not paths.writable(models_dir) and not run.up_to_date():
            raise paths.unusable(models_dir, purpose=_PURPOSE, chosen_by=_CHOSEN_BY)
        try:
            with fetching_ahead(later, executor.fetcher, models_dir=models_dir, force=arguments.force):
                run.models()
        finally:
            report = run.report(started)
            _write(report, models_dir, arguments)
    if report["summary"]["built"]:
        keep_within_limit()
    return report


def document_of(report: documents.Run) -> str:
    """Return a report as JSON, each model on a line of its own: indented, two thousand of them take 20 s to write."""
    head = json.dumps({**report, "models": []}, indent=2)
    models = ",\n    ".join(map(json.dumps, report["models"]))
    return f"{head.removesuffix('[]' + chr(10) + '}')}[\n    {models}\n  ]\n}}"


def _write(report: documents.Run, models_dir: Path, arguments: argparse.Namespace) -> None:
    document = document_of(report)
    own = models_dir / "report.json" if paths.writable(models_dir) else None
    for target in filter(None, (own, arguments.report)):
        forms.save(target, document + "\n")
    for form in forms.FORMS:
        target = getattr(arguments, f"report_{form}")
        if target is not None:
            forms.save(target, forms.render(form, report))
