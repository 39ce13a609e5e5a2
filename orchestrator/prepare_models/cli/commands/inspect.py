"""``prepare-models inspect``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

from ...errors import EXIT_MODEL_FAILED, EXIT_OK
from ...executors.local import LocalExecutor
from ...reports import inspection, text
from . import view


def main(arguments: argparse.Namespace) -> int:
    """Print what model files are."""
    if arguments.view:
        view.check(arguments.files)
    documents = LocalExecutor().inspect(
        arguments.files, arguments.key_file, layers=arguments.layers, weights=arguments.weights
    )
    if arguments.json:
        text.write(json.dumps(documents[0] if len(documents) == 1 else {"files": documents}, indent=2))
    else:
        _print(documents, arguments)
    failed = any(error for document in documents for error in _errors(document))
    if arguments.view and not failed:
        view.serve(arguments.files[0])
    return EXIT_MODEL_FAILED if failed else EXIT_OK


def _print(documents: list[dict[str, Any]], arguments: argparse.Namespace) -> None:
    told = []
    for document in documents:
        error = document["error"]
        if error is None:
            told.append(inspection.render(document, layers=arguments.layers, weights=arguments.weights))
        else:
            line = f"{error['message']} [{error['code']}]\n  -> {error['hint']}"
            sys.stderr.write(f"prepare-models: {text.safe(line)}\n")
    if told:
        text.write("\n\n".join(told))


def _errors(document: dict[str, Any]) -> Iterator[Any]:
    yield document["error"]
    for model in document.get("models", ()):
        yield model["error"]
