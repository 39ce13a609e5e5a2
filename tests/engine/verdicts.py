"""``python -m tests.engine.verdicts [--build] FILE...``: what the parser tells of a model, whole and by its structure.

Prints a JSON list for each file: the verdict on the whole, that on the structure, whether the weights were left where
they are, and the memory in bytes, without pages of files, that the one and the other took. Each comes from a process
of its own, as parsers crash on some models. ``--build`` adds the digest of the engine to the verdicts.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from prepare_models_entrypoint.converters import backend
from prepare_models_entrypoint.errors import StageError


def of(files: list[Path], *options: str) -> list[Any]:
    """Return the lines for these files."""
    command = [sys.executable, "-m", "tests.engine.verdicts", *options, *map(str, files)]
    told = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return [json.loads(line) for line in told.stdout.splitlines()]


def verdict(model: str, *, in_place: bool, build: bool) -> Any:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            network = backend.Network(Path(model), Path(model), strongly_typed=True, in_place=in_place)
            told: Any = [network.bindings(), network.details()["layers"], network.precisions()]
            told += [digest(network)] if build else []
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


def digest(network: backend.Network) -> str:
    config = network.builder.create_builder_config()
    return hashlib.sha256(network.builder.build_serialized_network(network.definition, config)).hexdigest()


def anonymous() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def main() -> None:
    build = sys.argv[1] == "--build"
    for model in sys.argv[1 + build :]:
        whole, _, memory = verdict(model, in_place=False, build=build)
        checked, is_mapped, check_memory = verdict(model, in_place=True, build=build)
        sys.stdout.write(json.dumps([whole, checked, is_mapped, memory, check_memory]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
