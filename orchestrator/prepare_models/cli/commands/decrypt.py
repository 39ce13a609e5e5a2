"""``prepare-models decrypt``."""

from __future__ import annotations

import argparse
import json
import sys

from ...errors import EXIT_MODEL_FAILED, EXIT_OK
from ...executors.local import LocalExecutor
from ...reports import text


def main(arguments: argparse.Namespace) -> int:
    """Write the ONNX model that an .etlt holds."""
    document = LocalExecutor().decrypt(arguments.file, arguments.key_file, arguments.output)
    error = document["error"]
    if arguments.json:
        text.write(json.dumps(document, indent=2))
    elif isinstance(error, dict):
        sys.stderr.write(f"prepare-models: {error['message']} [{error['code']}]\n  -> {error['hint']}\n")
    else:
        text.write(f"{document['output']}: onnx, {document['bytes']} bytes, sha256 {document['sha256']}")
    return EXIT_MODEL_FAILED if error else EXIT_OK
