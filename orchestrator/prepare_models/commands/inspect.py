"""``prepare-models inspect``."""

from __future__ import annotations

import argparse
import json
import sys

from ..errors import EXIT_MODEL_FAILED, EXIT_OK
from ..executors.local import LocalExecutor
from ..views import text


def main(arguments: argparse.Namespace) -> int:
    """Print what a model file is."""
    document = LocalExecutor().inspect(arguments.file, arguments.key_file)
    error = document["error"]
    if arguments.json:
        text.write(json.dumps(document, indent=2))
    elif isinstance(error, dict):
        sys.stderr.write(f"prepare-models: {error['message']} [{error['code']}]\n  -> {error['hint']}\n")
    else:
        text.write(text.inspection(document))
    return EXIT_MODEL_FAILED if error else EXIT_OK
