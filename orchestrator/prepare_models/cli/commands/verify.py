"""``prepare-models verify``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from prepare_models_entrypoint.contract.job import JobKind
from prepare_models_entrypoint.contract.report import FAILED

from ...errors import EXIT_MODEL_FAILED, EXIT_OK, UsageError
from ...manifest.load import load
from ...manifest.model import ModelSpec
from ...planning import planner, status
from ...reports import text
from .. import building, printing
from ..options import add, add_executor, add_table, add_target_dir

EXAMPLE = (
    "example:\n  prepare-models verify models.yaml\n  prepare-models verify ~/models peoplesemsegnet --json\n\n"
    "exit status: 0 every engine was compared and is good, 1 one is not, or was not compared, 2 usage or manifest error"
)


def add_arguments(verify: argparse.ArgumentParser) -> None:
    """Add what ``verify`` takes."""
    add(verify, "target", "models.yaml, or the models directory that run wrote", Path, metavar="MANIFEST|MODELS_DIR")
    add(verify, "names", "models to verify (default: all)", "NAME", nargs="*")
    add_target_dir(verify, what="of a manifest")
    add_executor(verify)
    add_table(verify, "reports")


def main(arguments: argparse.Namespace) -> int:
    """Compare the engines of a manifest or of a models directory with their source models."""
    specs, models_dir = _subjects(arguments)
    executor = building.executor(arguments, builds=False)
    reports = [executor.ask(JobKind.VERIFY, spec, models_dir / spec.name) for spec in specs]
    printing.result(arguments, {"models": reports}, *text.verifications(reports))
    verdicts = [report["verification"] and report["verification"]["verdict"] for report in reports]
    unsure = any(verdict in (None, "not-compared") for verdict in verdicts)
    return EXIT_MODEL_FAILED if unsure or any(report["status"] == FAILED for report in reports) else EXIT_OK


def _subjects(arguments: argparse.Namespace) -> tuple[Sequence[ModelSpec], Path]:
    if not arguments.target.is_dir():
        return planner.select(load(arguments.target), arguments.names), arguments.models_dir.absolute()
    models_dir = arguments.target.absolute()
    records = status.records(models_dir)
    unknown = [name for name in arguments.names if name not in records]
    if unknown or not records:
        raise UsageError(
            f"{models_dir} has no engine of {', '.join(unknown) or 'any model'} with its report",
            hint=f"it has: {', '.join(records) or 'none'}",
        )
    wanted = [record for name, record in records.items() if not arguments.names or name in arguments.names]
    return [status.spec_of(record) for record in wanted], models_dir
