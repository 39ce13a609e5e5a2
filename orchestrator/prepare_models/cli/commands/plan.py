"""``prepare-models plan``, and ``run --dry-run``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from prepare_models_entrypoint.contract.environment import RuntimeInfo

from ...errors import EXIT_OK
from ...executors.executor import Executor
from ...manifest.model import ModelSpec
from ...planning import foresight
from ...planning import planner as plan
from ...reports import text
from ...store import open_store
from ...support import paths
from ...support.file_digests import open_digests
from ...support.page import Message, show
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
    found, runtime = planned(specs, executor, arguments.models_dir, force=arguments.force)
    of_models, of_run = foresight.of_models(found), foresight.of_run(found, runtime)
    if arguments.json:
        models = [_row(model, runtime, of_models) for model in found]
        warnings = [{"code": each.code, "message": each.message, "hint": each.hint} for each in of_run]
        document = {"executor": executor.name, "runtime": runtime, "models": models, "warnings": warnings}
        text.write(json.dumps(document, indent=2))
    else:
        table = text.plan([_cells(model, runtime) for model in found], wide=arguments.wide)
        show(table, *(part for each in (*of_run, *of_models) for part in ("", each)), wide=arguments.wide)
    return EXIT_OK


def planned(
    specs: Sequence[ModelSpec], executor: Executor, models_dir: Path, *, force: bool = False
) -> tuple[list[plan.PlannedModel], RuntimeInfo]:
    """Return what would be done for each model, and the runtime that would do it."""
    runtime = executor.describe()
    directory = paths.refuse_file(models_dir, purpose="models directory", chosen_by="--models-dir DIR")
    digests = open_digests()
    planner = plan.Planner(directory, runtime, open_store(digests), digests, force)
    found = [planner.plan(spec) for spec in specs]
    digests.save()
    return found, runtime


def _row(model: plan.PlannedModel, runtime: RuntimeInfo, foreseen: Sequence[Message]) -> dict[str, object]:
    choice = plan.converter(model.spec, runtime)
    return {
        "name": model.spec.name,
        "action": model.action,
        "reason": model.reason,
        "changes": list(model.changes),
        "converter": choice.converter,
        "converter_reason": choice.reason,
        "problems": [
            {"kind": each.kind, "code": each.code, "message": each.message, "hint": each.hint}
            for each in foreseen
            if each.about == model.spec.name
        ],
    }


def _cells(model: plan.PlannedModel, runtime: RuntimeInfo) -> tuple[str, str, str, str]:
    choice = plan.converter(model.spec, runtime)
    return model.spec.name, model.told(), choice.converter or "none", choice.reason
