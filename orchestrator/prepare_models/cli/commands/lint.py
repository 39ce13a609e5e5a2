"""``prepare-models lint``."""

from __future__ import annotations

import argparse
import json
import sys

from ...errors import EXIT_MODEL_FAILED, EXIT_OK
from ...executors.local import LocalExecutor
from ...reports import inspection, text


def main(arguments: argparse.Namespace) -> int:
    """Check a models directory against the rules of those who run its engines."""
    document = LocalExecutor().lint(arguments.models_dir, arguments.consumer)
    error, models = document["error"], document["models"]
    if arguments.json:
        text.write(json.dumps(document, indent=2))
    elif error is not None:
        line = f"{error['message']} [{error['code']}]\n  -> {error['hint']}"
        sys.stderr.write(f"prepare-models: {text.safe(line)}\n")
    else:
        lines = [inspection.findings(model) for model in models]
        text.write("\n".join(lines if arguments.consumer else [*lines, inspection.judged_for(models)]))
    return EXIT_MODEL_FAILED if error or any(model["warnings"] for model in models) else EXIT_OK
