"""``prepare-models gather``."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...running import child
from .. import printing
from ..options import add, share

EXAMPLE = (
    "example:\n  prepare-models gather orin/models workstation/models --output repository\n\n"
    "Each directory is what run wrote on one machine. Triton loads the engine of the GPU that it finds.\n\n"
    "exit status: 0 all are written, 1 a model has no engine for a known GPU, or engines that differ"
)


def add_arguments(gather: argparse.ArgumentParser) -> None:
    """Add what ``gather`` takes."""
    add(gather, "models_dirs", "one for each kind of GPU", Path, nargs="+", metavar="MODELS_DIR")
    add(gather, "--output", "the repository that is written", Path, required=True, metavar="DIR")
    share(gather, "--json", "outcome")


def main(arguments: argparse.Namespace) -> int:
    """Write one Triton repository of engines built on several GPUs."""
    places = [str(path.absolute()) for path in (arguments.output, *arguments.models_dirs)]
    document = child.ask("gather", "--", *places)
    return printing.of_models(
        arguments, document, arguments.output, lambda model: [" ".join(each) for each in model["engines"].items()]
    )
