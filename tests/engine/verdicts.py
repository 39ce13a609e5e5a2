"""``python -m tests.engine.verdicts FILE...``: what the parser tells of each model, as a whole and by its structure.

Prints a JSON list for each file: the verdict on the whole, that of a check, whether the check left the weights where
they are, and the memory in bytes, without pages of files, that the one and the other took. Each comes from a process
of its own, as parsers crash on some models.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from prepare_models_entrypoint.converters import backend
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
            network = backend.Network(Path(model), Path(model), strongly_typed=True, check_only=check_only)
            told: Any = [network.bindings(), network.details()["layers"], network.precisions()]
            is_mapped = network.weights is not None
        except StageError as error:
            told, is_mapped = [error.code, error.message], False
        with os.fdopen(writer, "w") as answer:
            json.dump([told, is_mapped, anonymous()], answer)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    _, status = os.waitpid(child, 0)
    return json.loads(text) if status == 0 else [f"died: {status}", False, 0]


def anonymous() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def main() -> None:
    for model in sys.argv[1:]:
        whole, _, memory = verdict(model, check_only=False)
        checked, is_mapped, check_memory = verdict(model, check_only=True)
        sys.stdout.write(json.dumps([whole, checked, is_mapped, memory, check_memory]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
