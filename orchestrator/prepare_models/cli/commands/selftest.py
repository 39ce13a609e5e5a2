"""``prepare-models selftest``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ...errors import EXIT_MODEL_FAILED, EXIT_OK
from ...machine.doctor import OK
from ...reports.documents import save
from ...running import progress
from ...selftest.steps import Selftest, private_words
from .. import building, printing
from ..options import add, add_executor, add_output

EXAMPLE = """\
example:
  prepare-models selftest --executor docker

exit status: 0 no step failed, 1 one did, 3 nothing here can build engines
"""


def add_arguments(selftest: argparse.ArgumentParser) -> None:
    """Add what ``selftest`` takes."""
    text = "file to attach to a bug report, without secrets and personal paths (default: ./selftest.json)"
    add(selftest, "-o --output", text, Path, default=Path("selftest.json"))
    add_executor(selftest)
    add_output(selftest)


def main(arguments: argparse.Namespace) -> int:
    """Run the steps, print a verdict for each, write the file."""
    executor = building.executor(arguments)
    silent = arguments.quiet or arguments.json
    with progress.observer(quiet=silent, log_format=arguments.log_format, verbose=arguments.verbose) as observer:
        test = Selftest(executor, building.containers(arguments), observer)
        private = private_words(test.work)
        outcome = test.run()
    document = outcome.document(private)
    save(arguments.output, document)
    rows = [
        ((step.verdict, step.name, f"{step.seconds:7.1f} s", step.message), "" if step.verdict == OK else step.fix)
        for step in outcome.steps
    ]
    printing.result(arguments, json.loads(document), printing.verdicts(rows), "", f"file  {arguments.output}")
    return EXIT_MODEL_FAILED if outcome.failed else EXIT_OK
