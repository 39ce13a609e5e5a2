"""``prepare-models lint``."""

from __future__ import annotations

import argparse
import json
import sys

from ...errors import EXIT_MODEL_FAILED, EXIT_OK
from ...reports import inspection, text
from ...running import inspecting
from ...support.page import of_error, show
from ..options import add_consumer, add_json, add_models_dir

EXAMPLE = "example:\n  prepare-models lint models\n\nexit status: 0 no findings, 1 findings"


def add_arguments(lint: argparse.ArgumentParser) -> None:
    """Add what ``lint`` takes."""
    add_models_dir(lint)
    add_consumer(lint, "those that a model's record names, else all; DeepStream if the model has its file")
    add_json(lint, "findings")


def main(arguments: argparse.Namespace) -> int:
    """Check a models directory against the rules of its consumers."""
    document = inspecting.lint(arguments.models_dir, arguments.consumer)
    error, models = document["error"], document["models"]
    if arguments.json:
        text.write(json.dumps(document, indent=2))
    elif error is not None:
        show(of_error(error, str(arguments.models_dir)), stream=sys.stderr)
    else:
        found = [part for model in models for part in inspection.findings(model)]
        show(*found, *([] if arguments.consumer else [inspection.judged_for(models)]))
    return EXIT_MODEL_FAILED if error or any(model["warnings"] for model in models) else EXIT_OK
