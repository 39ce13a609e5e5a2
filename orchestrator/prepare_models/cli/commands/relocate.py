"""``prepare-models relocate``."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...running import child
from .. import printing
from ..options import add, share

EXAMPLE = (
    "example:\n  prepare-models relocate ~/models --deploy-dir /workspaces/isaac_ros-dev/models\n\n"
    "isaac_ros.yaml, isaac_ros.launch.py and deepstream.txt are rewritten; config.pbtxt stays as it is.\n\n"
    "exit status: 0 all are written, 1 a model has no record, or its files can't be written"
)


def add_arguments(relocate: argparse.ArgumentParser) -> None:
    """Add what ``relocate`` takes."""
    add(relocate, "models_dir", "Triton model repository", Path, metavar="MODELS_DIR")
    share(relocate, "--deploy-dir", "where it is")
    share(relocate, "--json", "outcome")


def main(arguments: argparse.Namespace) -> int:
    """Write the companions of engines for another place."""
    place = ["--deploy-dir", arguments.deploy_dir] if arguments.deploy_dir else []
    document = child.ask("relocate", *place, "--", str(arguments.models_dir.absolute()))
    return printing.of_models(arguments, document, arguments.models_dir, lambda model: model["files"])
