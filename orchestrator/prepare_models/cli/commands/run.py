"""``prepare-models run``."""

from __future__ import annotations

import argparse

from ... import api
from ...reports import text
from .. import building
from ..building import add_building, add_sharing, observer, reports, sharing
from ..options import add, add_selection, positive

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
    add_sharing(run)
    add(run, "--jobs", "models to work on at once (default 1)", positive, default=1)
    ending = run.add_mutually_exclusive_group()
    ending.add_argument(
        "--keep-going",
        dest="fail_fast",
        action="store_const",
        const=False,
        help="continue with the other models after a failure (default)",
    )
    ending.add_argument("--fail-fast", action="store_const", const=True, help="start no further model after a failure")
    add(run, "--attach", "on a farm: take what is built or under way, and start nothing")
    run.add_argument(
        "--dry-run", dest="command", action="store_const", const="plan", default=argparse.SUPPRESS,
        help="only print what would be done, like plan",
    )  # fmt: skip


def main(arguments: argparse.Namespace) -> int:
    """Prepare the models and print the summary."""
    with observer(arguments) as listener:
        report = api.run(
            building.given(arguments),
            **building.call(arguments),
            sharing=sharing(arguments),
            jobs=arguments.jobs,
            fail_fast=bool(arguments.fail_fast),
            timeout_s=arguments.timeout,
            accept_eula=arguments.accept_eula,
            reports=reports(arguments),
            observer=listener,
        )
    return building.ended(report, arguments, text.summary(report.document, wide=arguments.wide))
