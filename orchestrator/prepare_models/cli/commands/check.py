"""``prepare-models check``."""

from __future__ import annotations

import argparse
from pathlib import Path

from prepare_models_entrypoint.contract.report import FAILED

from ...errors import EXIT_MODEL_FAILED, EXIT_OK
from ...lock.pins import load
from ...planning import planner
from ...reports import text
from ...running.checking import check_all
from .. import printing, selection
from ..options import add_executor, add_table

EXAMPLE = "example:\n  prepare-models check models.yaml"


def add_arguments(check: argparse.ArgumentParser) -> None:
    """Add what ``check`` takes."""
    check.add_argument("manifest", type=Path, metavar="MANIFEST", help="models.yaml")
    check.add_argument("names", nargs="*", metavar="NAME", help="models to check (default: all)")
    add_executor(check)
    add_table(check, "reports")


def main(arguments: argparse.Namespace) -> int:
    """Check the models of a manifest without building them."""
    specs = planner.select(load(arguments.manifest)[0], arguments.names)
    reports = check_all(specs, selection.executor(arguments))
    printing.result(arguments, {"models": reports}, *text.checks(reports, wide=arguments.wide))
    return EXIT_MODEL_FAILED if any(report["status"] == FAILED for report in reports) else EXIT_OK
