"""``prepare-models inspect``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ...errors import EXIT_MODEL_FAILED, EXIT_OK
from ...reports import inspection, text
from ...running import inspecting
from ...support.page import show
from .. import printing
from ..options import add_output
from . import view

EXAMPLE = (
    "example:\n  prepare-models inspect models/peoplesemsegnet/1/model.plan\n"
    "  prepare-models inspect models --json\n\nexit status: 0 all files were read, 1 one could not be"
)


def add_arguments(inspect: argparse.ArgumentParser) -> None:
    """Add what ``inspect`` takes."""
    inspect.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help=".onnx, .etlt, .plan, .engine or a models directory"
    )
    inspect.add_argument("--layers", action="store_true", help="list the layers")
    inspect.add_argument("--weights", action="store_true", help="list the weights of an ONNX model")
    inspect.add_argument("--view", action="store_true", help="show the graph of an .onnx in Netron, too")
    inspect.add_argument("--key-file", type=Path, metavar="FILE", help="file that holds the key of an .etlt")
    add_output(inspect)


def main(arguments: argparse.Namespace) -> int:
    """Print what model files are."""
    if arguments.view:
        view.check(arguments.files)
    documents = inspecting.inspect(
        arguments.files, layers=arguments.layers, weights=arguments.weights, key_file=arguments.key_file
    )
    if arguments.json:
        text.write(json.dumps(documents[0] if len(documents) == 1 else {"files": documents}, indent=2))
    else:
        _print(documents, arguments)
    failed = any(each["error"] for document in documents for each in (document, *document.get("models", ())))
    if arguments.view and not failed:
        view.serve(arguments.files[0])
    return EXIT_MODEL_FAILED if failed else EXIT_OK


def _print(documents: list[inspection.Document], arguments: argparse.Namespace) -> None:
    parts = []
    for document in documents:
        error = document["error"]
        if error is None:
            parts.append(inspection.render(document, layers=arguments.layers, weights=arguments.weights))
        else:
            printing.failure(error, document["file"])
    if parts:
        show("\n\n".join(parts), wide=arguments.wide)
