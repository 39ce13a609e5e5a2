"""``prepare-models run``."""

from __future__ import annotations

import argparse
from contextlib import AbstractContextManager
from pathlib import Path

from ... import api
from ...errors import EXIT_MODEL_FAILED, EXIT_OK
from ...reports import forms, text
from ...reports.run_report import RunReport
from ...running import progress
from ...running.progress import Observer
from .. import selection
from ..options import add_output, add_selection, positive, seconds
from ..trusting import signatures

EXAMPLE = """\
example:
  prepare-models run
  prepare-models run models.yaml --models-dir ~/models
  prepare-models run models.yaml peoplesemsegnet --force --json > report.json

exit status: 0 all models good, 1 a model failed, 2 usage or manifest error,
3 this machine can't do it, 70 a bug, 130 interrupted
"""


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
        help="a failure stops nothing else (default)",
    )
    ending.add_argument("--fail-fast", action="store_const", const=True, help="start no further model after a failure")
    run.add_argument(
        "--dry-run", dest="command", action="store_const", const="plan", default=argparse.SUPPRESS,
        help="only print what would be done, like plan",
    )  # fmt: skip


def add_building(command: argparse.ArgumentParser) -> None:
    """Add how engines are built and reported, whatever chose the models."""
    command.add_argument("--report", type=Path, metavar="FILE", help="write the run's report to FILE, too")
    for form in forms.FORMS:
        command.add_argument(f"--report-{form}", type=Path, metavar="FILE", help=f"write it as {form}, too")
    command.add_argument(
        "--timeout",
        type=seconds,
        metavar="SECONDS",
        help="longest time for the conversion of one model (default 6 hours)",
    )
    command.add_argument("--accept-eula", action="store_true", help="accept the terms of models that have some")
    add_output(command)


def main(arguments: argparse.Namespace) -> int:
    """Prepare the models and print the summary."""
    with observer(arguments) as hears:
        report = api.run(
            selection.given(arguments),
            models=arguments.names,
            models_dir=arguments.models_dir,
            executor=arguments.executor,
            containers=selection.containers(arguments),
            delivery=selection.delivery(arguments),
            locked=arguments.locked,
            signatures=signatures(arguments),
            jobs=arguments.jobs,
            fail_fast=bool(arguments.fail_fast),
            force=arguments.force,
            timeout_s=arguments.timeout,
            accept_eula=arguments.accept_eula,
            reports=reports(arguments),
            observer=hears,
        )
    text.write(report.render().rstrip() if arguments.json else text.summary(report.document))
    return status(report)


def status(report: RunReport) -> int:
    """Return the exit status of a run."""
    return EXIT_OK if report.ok else EXIT_MODEL_FAILED


def observer(arguments: argparse.Namespace) -> AbstractContextManager[Observer]:
    """Return what shows a run while it goes on."""
    return progress.observer(quiet=arguments.quiet, log_format=arguments.log_format, verbose=arguments.verbose)


def reports(arguments: argparse.Namespace) -> dict[str, Path]:
    """Return the files that the command line wants the report in, by their forms."""
    named = {forms.JSON: arguments.report, **{form: getattr(arguments, f"report_{form}") for form in forms.FORMS}}
    return {form: file for form, file in named.items() if file is not None}
