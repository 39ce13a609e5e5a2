"""``prepare-models check``."""

from __future__ import annotations

import argparse
import contextlib
import os
import threading
from pathlib import Path

from prepare_models_entrypoint.contract.job import JobKind
from prepare_models_entrypoint.contract.report import FAILED, ModelReport
from prepare_models_entrypoint.contract.source import Source

from ...errors import EXIT_MODEL_FAILED, EXIT_OK
from ...lock.pins import load
from ...manifest.model import ModelSpec
from ...planning import planner
from ...reports import text
from ...running.threads import for_each
from .. import building, printing
from ..options import add, add_executor, add_table

EXAMPLE = "example:\n  prepare-models check models.yaml"
_AT_ONCE = 4  # a small one mostly waits for processes to start
_LARGE = 256 << 20  # bytes; of larger models, one is checked at a time because of its memory


def add_arguments(check: argparse.ArgumentParser) -> None:
    """Add what ``check`` takes."""
    add(check, "manifest", "models.yaml", Path, metavar="MANIFEST")
    add(check, "names", "models to check (default: all)", "NAME", nargs="*")
    add_executor(check)
    add_table(check, "reports")


def main(arguments: argparse.Namespace) -> int:
    """Check the models of a manifest without building them."""
    specs = planner.select(load(arguments.manifest)[0], arguments.names)
    executor, large = building.executor(arguments), threading.Lock()
    found: dict[str, ModelReport] = {}

    def check(spec: ModelSpec) -> None:
        with large if _is_large(spec) else contextlib.nullcontext():
            found[spec.name] = executor.ask(JobKind.CHECK, spec)

    for_each(specs, check, min(_AT_ONCE, os.cpu_count() or 1), halt=lambda _: executor.stop())
    reports = [found[spec.name] for spec in specs]
    printing.result(arguments, {"models": reports}, *text.checks(reports, wide=arguments.wide))
    return EXIT_MODEL_FAILED if any(report["status"] == FAILED for report in reports) else EXIT_OK


def _is_large(spec: ModelSpec) -> bool:
    """Return whether a model is large, or may be: before it is fetched, its size is unknown."""
    path = Source.of(spec.source).path
    try:
        return path is None or path.stat().st_size > _LARGE
    except OSError:
        return False  # the check says what is wrong with it
