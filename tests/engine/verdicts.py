"""``python -m tests.engine.verdicts FILE...``: what the parser tells of each model, as a whole and by its structure.

Prints a JSON list for each file: the verdict on the whole, that of a check, and whether the check left the weights
where they are. Each comes from a process of its own, as parsers crash on some models.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from prepare_models_entrypoint.convert import backend
from prepare_models_entrypoint.errors import StageError


def of(files: list[Path]) -> list[Any]:
    """Return the lines for these files."""
    command = [sys.executable, "-m", "tests.engine.verdicts", *map(str, files)]
    told = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return [json.loads(line) for line in told.stdout.splitlines()]


def verdict(model: str, *, check_only: bool) -> Any:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            network = backend.Network(model, strongly_typed=True, check_only=check_only)
            told: Any = [network.bindings(), network.details()["layers"], network.precisions()]
            is_mapped = network.weights is not None
        except StageError as error:
            told, is_mapped = [error.code, error.message], False
        with os.fdopen(writer, "w") as answer:
            json.dump([told, is_mapped], answer)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    _, status = os.waitpid(child, 0)
    return json.loads(text) if status == 0 else [f"died: {status}", False]


def main() -> None:
    for model in sys.argv[1:]:
        (whole, _), (checked, is_mapped) = (verdict(model, check_only=check_only) for check_only in (False, True))
        sys.stdout.write(json.dumps([whole, checked, is_mapped]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
