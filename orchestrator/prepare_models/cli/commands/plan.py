"""``prepare-models plan``, and ``run --dry-run``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from prepare_models_entrypoint.contract.environment import RuntimeInfo

from ... import lock
from ...errors import EXIT_OK, UsageError
from ...executors import choice
from ...executors.executor import Executor
from ...executors.options import ContainerOptions
from ...manifest.model import Manifest, ModelSpec
from ...planning import planner as plan
from ...reports import text
from ...store import open_store
from ...support.file_digests import open_digests
from ..options import add_output, add_selection
from ..trusting import trusted

EXAMPLE = "example:\n  prepare-models plan models.yaml --json"


def add_arguments(plan: argparse.ArgumentParser) -> None:
    """Add what ``plan`` takes."""
    add_selection(plan)
    add_output(plan)


def main(arguments: argparse.Namespace) -> int:
    """Print what would be done for each model, and why. Changes nothing."""
    _, specs, executor = prepare(arguments)
    runtime = executor.describe()
    models_dir = arguments.models_dir.absolute()
    digests = open_digests()
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


def prepare(arguments: argparse.Namespace) -> tuple[Manifest, Sequence[ModelSpec], Executor]:
    """Return manifest, chosen models and executor, from the files of the user or from a bundle, held to the lock."""
    held_to: lock.Lock | None
    if arguments.bundle is not None:
        from .bundle import opened

        loaded, held_to, options = opened(arguments, container_options(arguments))
    else:
        options = container_options(arguments)
        if arguments.require_signed and not arguments.locked:
            raise UsageError(
                "--require-signed needs --locked or --bundle", hint="give --locked: the lock is what is signed"
            )
        loaded, known = lock.load(arguments.manifest, locked=arguments.locked, keys=trusted(arguments))
        held_to = known if arguments.locked else None
    specs = plan.with_tensor_names(plan.select(loaded, arguments.names), dict(arguments.tensor_names))
    specs = plan.with_deployment(specs, arguments.deploy_dir, arguments.consumer)
    executor = choice.pick(arguments.executor, options)
    if held_to is not None:
        lock.refuse(lock.drift_of_platform(held_to, *executor.locked_as()), arguments.manifest)
    return loaded, specs, executor


def container_options(arguments: argparse.Namespace) -> ContainerOptions:
    """Return what the command line says about containers."""
    return ContainerOptions(
        platform=arguments.platform, image=arguments.image, gpu=arguments.gpu, memory_bytes=arguments.memory
    )
