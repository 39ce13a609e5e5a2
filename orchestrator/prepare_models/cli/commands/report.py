"""``prepare-models report``."""

from __future__ import annotations

import argparse
from pathlib import Path

from prepare_models_entrypoint.contract.report import EDITED

from ...errors import EXIT_DIFFERENT, EXIT_OK, UsageError
from ...reports import difference, documents, text
from .. import printing
from ..options import add, add_table, command

EXAMPLE = (
    "example:\n  prepare-models report "
    "render models/report.json --format html -o report.html\n  prepare-models report diff before.json after.json"
)


def add_arguments(report: argparse.ArgumentParser) -> None:
    """Add what ``report`` takes."""
    actions = report.add_subparsers(dest="action", metavar="ACTION", required=True)
    example = "models/report.json --format markdown"
    render = command(actions, "render", "write a report as HTML, Markdown or JUnit XML", example)
    add(render, "report", "report.json, or the directory that has it", Path, metavar="REPORT")
    add(render, "--format", "format", documents.FORMS, required=True)
    add(render, "-o --output", "file to write (default: standard output)", Path)
    diff = command(
        actions, "diff", "show what differs between two reports: engines, inputs and outputs, precision, times",
        "orin.json thor.json --json",
        more="exit status: 0 no difference but times and the environment, 1 results differ, 2 usage error",
    )  # fmt: skip
    add(diff, "a", "report.json, or the directory that has it", Path, metavar="A")
    add(diff, "b", "report to compare it with", Path, metavar="B")
    add_table(diff, "changes")


def main(arguments: argparse.Namespace) -> int:
    """Render a report, or compare two.

    Raises:
        UsageError: there is no report, or it contains something that no run writes.
    """
    try:
        if arguments.action == "diff":
            changes = difference.compare(documents.load(arguments.a), documents.load(arguments.b))
            printing.result(arguments, {"changes": changes}, difference.render(changes))
            return EXIT_DIFFERENT if any(change["counts"] for change in changes) else EXIT_OK
        rendered = documents.render(arguments.format, documents.load(arguments.report))
    except (*EDITED, ArithmeticError) as error:  # deep inside what the schema leaves open
        line = f"a report was edited, or is damaged: {type(error).__name__}: {error}"
        raise UsageError(line, hint="give a report.json as run wrote it") from None

    if arguments.output is None:
        text.write(rendered.rstrip("\n"))
    else:
        documents.save(arguments.output, rendered)
    return EXIT_OK
