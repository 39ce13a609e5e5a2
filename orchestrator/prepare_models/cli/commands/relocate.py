"""``prepare-models relocate``."""

from __future__ import annotations

import argparse
import json
import sys

from ...errors import EXIT_MODEL_FAILED, EXIT_OK
from ...executors.local import LocalExecutor
from ...reports import inspection, text


def main(arguments: argparse.Namespace) -> int:
    """Write the companions of engines for another place."""
    document = LocalExecutor().relocate(arguments.models_dir.absolute(), arguments.deploy_dir)
    failed = [model for model in (document, *document["models"]) if model["error"]]
    if arguments.json:
        text.write(json.dumps(document, indent=2))
        return EXIT_MODEL_FAILED if failed else EXIT_OK
    for model in failed:
        error = model["error"]
        line = f"{error['message']} [{error['code']}]\n  -> {error['hint']}"
        sys.stderr.write(f"prepare-models: {text.safe(line)}\n")
    done = [model for model in document["models"] if not model["error"]]
    lines = [f"{inspection.printable(model['name'])}: {', '.join(model['files'])}" for model in done]
    if lines:
        text.write("\n".join(lines))
    return EXIT_MODEL_FAILED if failed else EXIT_OK
