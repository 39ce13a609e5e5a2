"""``prepare-models run``."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from prepare_models_entrypoint.contract.workspace import sweep

from ...errors import EXIT_MODEL_FAILED, EXIT_OK
from ...manifest import licences
from ...reports import html, text
from ...running import progress
from ...running.prefetch import fetching_ahead
from ...running.runner import Run
from ...store import open_store
from ...support import paths
from ...support.file_digests import open_digests
from . import plan as plan_command
from . import report as report_command
from .cache import keep_within_limit


def main(arguments: argparse.Namespace) -> int:
    """Prepare the models, write the reports, print the summary."""
    if arguments.dry_run:
        return plan_command.main(arguments)
    started = time.time()
    if arguments.report_html is not None:
        html.check()  # before hours of building
    cache = paths.make(paths.cache_dir(), purpose="cache directory", chosen_by=f"the variable {paths.CACHE_VARIABLE}")
    sweep(cache)
    loaded, specs, executor = plan_command.prepare(arguments)
    models_dir = paths.make(arguments.models_dir, purpose="models directory", chosen_by="--models-dir DIR")
    offline = arguments.bundle is not None
    accepted = offline or licences.accepted(flag=arguments.accept_eula)  # of a bundle: when it was made
    later = [] if offline else [spec for spec in specs[arguments.jobs :] if accepted or not spec.eula]
    digests = open_digests()
    with progress.observer(
        quiet=arguments.quiet, log_format=arguments.log_format, verbose=arguments.verbose
    ) as observer:
        run = Run(
            manifest=loaded,
            specs=specs,
            models_dir=models_dir,
            executor=executor,
            store=open_store(digests),
            digests=digests,
            jobs=arguments.jobs,
            fail_fast=bool(arguments.fail_fast),
            force=arguments.force,
            timeout_s=arguments.timeout,
            accept_eula=accepted,
            offline=offline,
            observer=observer,
        )
        try:
            with fetching_ahead(later, executor.fetcher, models_dir=models_dir, force=arguments.force):
                run.models()
        finally:
            report = run.report(started)
            document = _document(report)
            _write(report, document, models_dir, arguments)
    if report["summary"]["built"]:
        keep_within_limit()
    text.write(document if arguments.json else text.summary(report))
    return EXIT_MODEL_FAILED if report["summary"]["failed"] else EXIT_OK


def _document(report: dict[str, Any]) -> str:
    """Return a report as JSON, each model on a line of its own: indented, two thousand of them take 20 s to write."""
    head = json.dumps({**report, "models": []}, indent=2)
    models = ",\n    ".join(map(json.dumps, report["models"]))
    return f"{head.removesuffix('[]' + chr(10) + '}')}[\n    {models}\n  ]\n}}"


def _write(report: dict[str, Any], document: str, models_dir: Path, arguments: argparse.Namespace) -> None:
    for target in filter(None, (models_dir / "report.json", arguments.report)):
        report_command.save(target, document + "\n")
    for form, render in report_command.FORMS.items():
        target = getattr(arguments, f"report_{form}")
        if target is not None:
            report_command.save(target, render(report))
