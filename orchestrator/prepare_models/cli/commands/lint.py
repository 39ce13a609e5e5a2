"""``prepare-models lint``."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...errors import EXIT_MODEL_FAILED, EXIT_OK
from ...reports import inspection
from ...running import inspecting
from .. import printing
from ..options import add, share

EXAMPLE = "example:\n  prepare-models lint models\n\nexit status: 0 no findings, 1 findings"


def add_arguments(lint: argparse.ArgumentParser) -> None:
    """Add what ``lint`` takes."""
    add(lint, "models_dir", "Triton model repository", Path, metavar="MODELS_DIR")
    share(lint, "--consumer", "those that a model's record names, else all; DeepStream if the model has its file")
    share(lint, "--json", "findings")


def main(arguments: argparse.Namespace) -> int:
    """Check a models directory against the rules of its consumers."""
    document = inspecting.lint(arguments.models_dir, arguments.consumer)
    error, models = document["error"], document["models"]
    if error is not None and not arguments.json:
        printing.failure(error, str(arguments.models_dir))
    else:
        found = [part for model in models for part in inspection.findings(model)]
        judges = ", ".join(dict.fromkeys(name for model in models for name in model["consumers"]))
        printing.result(arguments, document, *found, *([] if arguments.consumer else [f"judged for {judges}"]))
    return EXIT_MODEL_FAILED if error or any(model["warnings"] for model in models) else EXIT_OK
