"""``prepare-models check``."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from prepare_models_entrypoint.contract.report import FAILED, ModelReport

from .. import lock, manifest, plan
from ..errors import EXIT_MODEL_FAILED, EXIT_OK, HostError
from ..executors.local import LocalExecutor
from ..views import text


def main(arguments: argparse.Namespace) -> int:
    """Judge the models of a manifest without building them."""
    specs = plan.select(lock.load(arguments.manifest)[0], arguments.names)
    executor = LocalExecutor()
    why_not = executor.unavailable()
    if why_not is not None:
        raise HostError(f"no TensorRT to check models with: {why_not}", hint=f"run: {executor.fix()}")
    reports = [_check(executor, spec) for spec in specs]
    text.write(json.dumps({"models": reports}, indent=2) if arguments.json else text.checks(reports))
    return EXIT_MODEL_FAILED if any(report["status"] == FAILED for report in reports) else EXIT_OK


def _check(executor: LocalExecutor, spec: manifest.ModelSpec) -> ModelReport:
    with tempfile.TemporaryDirectory(prefix="prepare-models-check-") as folder:
        return executor.check(spec, Path(folder))
