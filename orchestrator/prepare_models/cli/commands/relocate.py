"""``prepare-models relocate``."""

from __future__ import annotations

import argparse

from ...running import child
from .. import printing
from ..options import add_deploy_dir, add_json, add_models_dir

EXAMPLE = (
    "example:\n  prepare-models relocate ~/models --deploy-dir /workspaces/isaac_ros-dev/models\n\n"
    "isaac_ros.yaml, isaac_ros.launch.py and deepstream.txt are rewritten; config.pbtxt stays as it is.\n\n"
    "exit status: 0 all are written, 1 a model has no record, or its files can't be written"
)


def add_arguments(relocate: argparse.ArgumentParser) -> None:
    """Add what ``relocate`` takes."""
    add_models_dir(relocate)
    add_deploy_dir(relocate, "where it is")
    add_json(relocate, "outcome")


def main(arguments: argparse.Namespace) -> int:
    """Write the companions of engines for another place."""
    place = ["--deploy-dir", arguments.deploy_dir] if arguments.deploy_dir else []
    document = child.ask("relocate", *place, "--", str(arguments.models_dir.absolute()))
    return printing.of_models(arguments, document, arguments.models_dir, lambda model: model["files"])
