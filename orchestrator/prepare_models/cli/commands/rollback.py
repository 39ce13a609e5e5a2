"""``prepare-models rollback``."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from ... import api
from ...errors import EXIT_OK
from .. import printing
from ..options import add_json, add_target_dir, positive

EXAMPLE = (
    "example:\n  prepare-models rollback peoplesemsegnet --models-dir /var/lib/models --why 'misses cyclists'\n\n"
    "exit status: 0 the earlier version is current, 1 there is none, 2 usage error"
)


def add_arguments(rollback: argparse.ArgumentParser) -> None:
    """Add what ``rollback`` takes."""
    rollback.add_argument("name", metavar="NAME", help="model to take back")
    add_target_dir(rollback, what="its models directory")
    rollback.add_argument("--to", type=positive, metavar="N", help="version to go to (default: the one before)")
    rollback.add_argument("--why", default="", metavar="TEXT", help="reason, for the ledger")
    rollback.add_argument(
        "--device", metavar="NAME", help="name of this machine in the ledger (default: its host name)"
    )
    add_json(rollback)


def main(arguments: argparse.Namespace) -> int:
    """Roll a model back, and print the version that is current now."""
    done = api.rollback(
        arguments.name, models_dir=arguments.models_dir, to=arguments.to, device=arguments.device, why=arguments.why
    )
    told = f"{done.name}: version {done.version} is current again, in place of {done.before}"
    printing.result(arguments, asdict(done), told)
    return EXIT_OK
