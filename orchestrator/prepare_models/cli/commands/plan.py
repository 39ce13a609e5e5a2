"""``prepare-models plan``, and ``run --dry-run``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from prepare_models_entrypoint.contract import known_faults
from prepare_models_entrypoint.contract.environment import RuntimeInfo
from prepare_models_entrypoint.contract.report import WarningInfo

from ...errors import EXIT_OK
from ...planning import planner as plan
from ...reports import text
from ...store import open_store
from ...support import paths
from ...support.file_digests import open_digests
from ...support.page import show
from .. import selection
from ..options import add_output, add_selection, add_wide

EXAMPLE = "example:\n  prepare-models plan models.yaml --json"


def add_arguments(plan: argparse.ArgumentParser) -> None:
    """Add what ``plan`` takes."""
    add_selection(plan)
    add_output(plan)
    add_wide(plan)


def main(arguments: argparse.Namespace) -> int:
    """Print what would be done for each model, and why. Changes nothing."""
    _, specs, executor = selection.chosen(arguments)
    runtime = executor.describe()
    models_dir = paths.refuse_file(arguments.models_dir, purpose="models directory", chosen_by="--models-dir DIR")
    digests = open_digests()
    planner = plan.Planner(models_dir, runtime, open_store(digests), digests, arguments.force)
    planned = [planner.plan(spec) for spec in specs]
    digests.save()
    warnings = _warnings(planned, runtime)
    if arguments.json:
        models = [_row(model, runtime) for model in planned]
        document = {"executor": executor.name, "runtime": runtime, "models": models, "warnings": warnings}
        text.write(json.dumps(document, indent=2))
    else:
        table = text.plan(_cells(model, runtime) for model in planned)
        show(table, *text.warnings(warnings, executor.name), wide=arguments.wide)
    return EXIT_OK


def _warnings(planned: Sequence[plan.PlannedModel], runtime: RuntimeInfo) -> list[WarningInfo]:
    """Return what is known against the TensorRT of the builds to come, each once."""
    builds = [model.spec for model in planned if model.action in (plan.BUILD, plan.REBUILD)]
    found = [each for spec in builds for each in known_faults.of_build(spec.job(Path()), runtime)]
    return list({each["message"]: each for each in found}.values())


def _row(model: plan.PlannedModel, runtime: RuntimeInfo) -> dict[str, object]:
    choice = plan.converter(model.spec, runtime)
    return {
        "name": model.spec.name,
        "action": model.action,
        "reason": model.reason,
        "changes": list(model.changes),
        "converter": choice.converter,
        "converter_reason": choice.reason,
    }


def _cells(model: plan.PlannedModel, runtime: RuntimeInfo) -> tuple[str, str, str]:
    choice = plan.converter(model.spec, runtime)
    return model.spec.name, model.told(), f"{choice.converter or 'none'} ({choice.reason})"
