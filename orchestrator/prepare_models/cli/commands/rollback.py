"""``prepare-models rollback``."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from ... import api
from ...errors import EXIT_OK
from .. import printing
from ..options import add, add_target_dir, positive, share

EXAMPLE = (
    "example:\n  prepare-models rollback peoplesemsegnet --models-dir /var/lib/models --why 'misses cyclists'\n\n"
    "exit status: 0 the earlier version is current, 1 there is none, 2 usage error"
)


def add_arguments(rollback: argparse.ArgumentParser) -> None:
    """Add what ``rollback`` takes."""
    add(rollback, "name", "model to take back", "NAME")
    add_target_dir(rollback, what="its models directory")
    add(rollback, "--to", "version to go to (default: the one before)", positive)
    add(rollback, "--why", "reason, for the ledger", "TEXT", default="")
    add(rollback, "--device", "name of this machine in the ledger (default: its host name)", "NAME")
    share(rollback, "--json")


def main(arguments: argparse.Namespace) -> int:
    """Roll a model back, and print the version that is current now."""
    done = api.rollback(
        arguments.name, models_dir=arguments.models_dir, to=arguments.to, device=arguments.device, why=arguments.why
    )
    text = f"{done.name}: version {done.version} is current again, in place of {done.before}"
    printing.result(arguments, asdict(done), text)
    return EXIT_OK
