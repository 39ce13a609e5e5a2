"""``prepare-models decrypt``."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...errors import EXIT_MODEL_FAILED, EXIT_OK
from ...running import child
from .. import printing
from ..options import add, share

EXAMPLE = "example:\n  prepare-models decrypt model.etlt --key-file key.txt -o model.onnx"


def add_arguments(decrypt: argparse.ArgumentParser) -> None:
    """Add what ``decrypt`` takes."""
    add(decrypt, "file", ".etlt", Path)
    add(decrypt, "--key-file", "file that holds the key", Path, required=True)
    add(decrypt, "-o --output", ".onnx to write, readable only by you", Path, required=True)
    share(decrypt, "--json")


def main(arguments: argparse.Namespace) -> int:
    """Write the ONNX model in an .etlt."""
    places = ("--key-file", str(arguments.key_file), "--output", str(arguments.output))
    document = child.ask("decrypt", str(arguments.file), *places)
    error = document["error"]
    if error is not None and not arguments.json:
        printing.failure(error, str(arguments.file))
    lines = [] if error else [f"{document['output']}: onnx, {document['bytes']} bytes, sha256 {document['sha256']}"]
    printing.result(arguments, document, *lines)
    return EXIT_MODEL_FAILED if error else EXIT_OK
