"""``prepare-models gather``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ...errors import EXIT_MODEL_FAILED, EXIT_OK
from ...reports import text
from ...running import child
from ...support.page import of_error, show
from ...support.terminal import one_line
from ..options import add_json

EXAMPLE = (
    "example:\n  prepare-models gather orin/models workstation/models --output repository\n\n"
    "Each directory is what run wrote on one machine. Triton loads the engine of the GPU that it finds.\n\n"
    "exit status: 0 all are written, 1 a model has no engine for a known GPU, or engines that differ"
)


def add_arguments(gather: argparse.ArgumentParser) -> None:
    """Add what ``gather`` takes."""
    gather.add_argument("models_dirs", nargs="+", type=Path, metavar="MODELS_DIR", help="one for each kind of GPU")
    gather.add_argument("--output", type=Path, required=True, metavar="DIR", help="the repository that is written")
    add_json(gather, "outcome")


def main(arguments: argparse.Namespace) -> int:
    """Write one Triton repository of engines built on several GPUs."""
    places = [str(path.absolute()) for path in (arguments.output, *arguments.models_dirs)]
    document = child.ask("gather", "--", *places)
    failed = [model for model in (document, *document["models"]) if model["error"]]
    if arguments.json:
        text.write(json.dumps(document, indent=2))
        return EXIT_MODEL_FAILED if failed else EXIT_OK
    for model in failed:
        show(of_error(model["error"], model.get("name", str(arguments.output))), stream=sys.stderr)
    for model in document["models"]:
        if not model["error"]:
            engines = ", ".join(f"{capability} {file}" for capability, file in model["engines"].items())
            show(f"{one_line(model['name'])}: {engines}")
    return EXIT_MODEL_FAILED if failed else EXIT_OK
