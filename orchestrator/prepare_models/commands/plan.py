"""``prepare-models plan``, and ``run --dry-run``."""

from __future__ import annotations

import argparse
import json

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
        models = [{"name": model.spec.name, "action": model.action, "reason": model.reason} for model in planned]
        text.write(json.dumps({"executor": executor.name, "runtime": runtime, "models": models}, indent=2))
    else:
        text.write(text.plan((model.spec.name, model.action, model.reason) for model in planned))
    return EXIT_OK


def container_options(arguments: argparse.Namespace) -> executors.ContainerOptions:
    """Return what the command line says about containers."""
    return executors.ContainerOptions(
        platform=arguments.platform, image=arguments.image, gpu=arguments.gpu, memory_bytes=arguments.memory
    )
