"""``prepare-models plan``, and ``run --dry-run``."""

from __future__ import annotations

import argparse
import json
from typing import Any

from prepare_models_entrypoint.contract.report import RuntimeInfo

from .. import executors, lock, plan
from ..digests import Digests
from ..errors import EXIT_OK
from ..paths import cache_dir
from ..store import open_store
from ..views import text


def main(arguments: argparse.Namespace) -> int:
    """Print what would be done for each model, and why. Changes nothing."""
    loaded, known = lock.load(arguments.manifest, locked=arguments.locked)
    specs = plan.select(loaded, arguments.names)
    executor = executors.pick(arguments.executor, container_options(arguments))
    if known is not None and arguments.locked:
        lock.refuse(lock.drift_of_platform(known, *executor.locked_as()), arguments.manifest)
    runtime = executor.describe()
    models_dir = arguments.models_dir.absolute()
    digests = Digests(cache_dir() / "digests.json")
    planner = plan.Planner(models_dir, runtime, open_store(digests), digests, arguments.force)
    planned = [planner.plan(spec) for spec in specs]
    digests.save()
    if arguments.json:
        models = [_row(model, runtime) for model in planned]
        text.write(json.dumps({"executor": executor.name, "runtime": runtime, "models": models}, indent=2))
    else:
        text.write(text.plan(_cells(model, runtime) for model in planned))
    return EXIT_OK


def _row(model: plan.PlannedModel, runtime: RuntimeInfo) -> dict[str, Any]:
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


def container_options(arguments: argparse.Namespace) -> executors.ContainerOptions:
    """Return what the command line says about containers."""
    return executors.ContainerOptions(
        platform=arguments.platform, image=arguments.image, gpu=arguments.gpu, memory_bytes=arguments.memory
    )
