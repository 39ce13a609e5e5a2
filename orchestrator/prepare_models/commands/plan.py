"""``prepare-models plan``, and ``run --dry-run``."""

from __future__ import annotations

import argparse
import json

from prepare_models_entrypoint.contract.report import RuntimeInfo

from .. import executors, manifest, plan
from ..errors import EXIT_OK
from ..views import text


def main(arguments: argparse.Namespace) -> int:
    """Print what would be done for each model, and why. Changes nothing."""
    specs = plan.select(manifest.load(arguments.manifest), arguments.names)
    executor = executors.pick(arguments.executor, container_options(arguments))
    runtime = executor.describe()
    models_dir = arguments.models_dir.absolute()
    planned = [plan.make(spec, models_dir=models_dir, runtime=runtime, force=arguments.force) for spec in specs]
    if arguments.json:
        models = [_row(model, runtime) for model in planned]
        text.write(json.dumps({"executor": executor.name, "runtime": runtime, "models": models}, indent=2))
    else:
        text.write(text.plan(_cells(_row(model, runtime)) for model in planned))
    return EXIT_OK


def _row(model: plan.PlannedModel, runtime: RuntimeInfo) -> dict[str, str | None]:
    choice = plan.converter(model.spec, runtime)
    return {
        "name": model.spec.name,
        "action": model.action,
        "reason": model.reason,
        "converter": choice.converter,
        "converter_reason": choice.reason,
    }


def _cells(row: dict[str, str | None]) -> tuple[str, str, str, str]:
    converter = f"{row['converter'] or 'none'} ({row['converter_reason']})"
    return row["name"] or "", row["action"] or "", row["reason"] or "", converter


def container_options(arguments: argparse.Namespace) -> executors.ContainerOptions:
    """Return what the command line says about containers."""
    return executors.ContainerOptions(
        platform=arguments.platform, image=arguments.image, gpu=arguments.gpu, memory_bytes=arguments.memory
    )
