"""``prepare-models rewrite``."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from prepare_models_entrypoint.contract.companions import GRAPH, GRAPH_WEIGHTS
from prepare_models_entrypoint.contract.files import take
from prepare_models_entrypoint.contract.job import JobKind
from prepare_models_entrypoint.contract.report import FAILED, ModelReport

from ...errors import EXIT_MODEL_FAILED, EXIT_OK, UsageError
from ...executors.executor import Executor
from ...lock.pins import load
from ...manifest.model import ModelSpec
from ...planning import planner
from ...reports import text
from ...support.page import of_warning, show
from .. import building, printing
from ..options import add, add_executor, share

EXAMPLE = "example:\n  prepare-models rewrite models.yaml peoplesemsegnet -o peoplesemsegnet.onnx"


def add_arguments(rewrite: argparse.ArgumentParser) -> None:
    """Add what ``rewrite`` takes."""
    add(rewrite, "manifest", "models.yaml", Path, metavar="MANIFEST")
    add(rewrite, "name", "model to write the graph of", "NAME")
    add(rewrite, "-o --output", ".onnx to write", Path, required=True)
    add_executor(rewrite)
    share(rewrite, "--json", "report")


def main(arguments: argparse.Namespace) -> int:
    """Write the graph that an engine of the manifest is built from."""
    (spec,) = planner.select(load(arguments.manifest)[0], [arguments.name])
    output = arguments.output.absolute()
    if output.suffix.lower() != ".onnx" or not output.parent.is_dir() or output.is_dir():
        raise UsageError(
            f"{arguments.output} can't be written", hint="give a file that ends with .onnx, in a folder that exists"
        )
    executor = building.executor(arguments)
    report = _rewritten(executor, spec, output)
    if report["status"] == FAILED:
        printing.result(arguments, report, *text.checks([report]))
        return EXIT_MODEL_FAILED
    for warning in report["warnings"] if not arguments.json else ():
        show(of_warning(warning, report["name"]), stream=sys.stderr)
    precision = report["precision_proof"]
    line = f"{output}: onnx, {output.stat().st_size} bytes, {precision['requested']}: {precision['how']}"
    printing.result(arguments, report, line)
    return EXIT_OK


def _rewritten(executor: Executor, spec: ModelSpec, output: Path) -> ModelReport:
    """Write the graph next to its target, then rename it, so that it is complete or absent."""
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as place:
        made = Path(place, "graph")
        made.mkdir()
        report = executor.ask(JobKind.REWRITE, spec, made)
        if report["status"] == FAILED:
            return report
        weights = made / GRAPH_WEIGHTS
        if os.path.lexists(weights):
            beside = output.parent / GRAPH_WEIGHTS
            if beside.exists():
                raise UsageError(
                    f"{beside} exists, and this graph's weights need a file of that name",
                    hint="remove it, or write into another folder",
                )
            take(weights, beside)
        take(made / GRAPH, output)
    return report
