"""``prepare-models status``."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...errors import EXIT_MODEL_FAILED, EXIT_OK, UsageError
from ...machine.environments import this_machine
from ...planning import status
from ...support.file_digests import open_digests
from ...support.page import Table
from .. import printing
from ..options import add, add_table

EXAMPLE = (
    "example:\n  prepare-models status ~/models --json\n\nNeither TensorRT nor a GPU is needed: what can't be"
    " compared here is shown as unchecked.\n\nexit status: 0 no engine is stale, 1 one is, or there is none,"
    " 2 usage error"
)


def add_arguments(status: argparse.ArgumentParser) -> None:
    """Add what ``status`` takes."""
    add(status, "models_dir", "Triton model repository", Path, metavar="MODELS_DIR")
    add(status, "--strict", "count unchecked engines as stale")
    add_table(status)


def main(arguments: argparse.Namespace) -> int:
    """Print which engines are valid here; the exit status says whether there are any and all are valid."""
    models_dir = arguments.models_dir.absolute()
    if not models_dir.is_dir():
        raise UsageError(f"{models_dir} is not a directory", hint="give the models directory of a run")
    digests = open_digests()
    now = status.here(this_machine())
    found = status.verdicts(models_dir, now, digests)
    digests.save()
    counts = {state: sum(verdict.state == state for verdict in found) for state in status.STATES}
    models = [verdict.to_dict() for verdict in found]
    here = {"machine": now.machine.arch, "system": now.system, "gpus": now.capabilities(), "backends": now.versions}
    document = {"models_dir": str(models_dir), "here": here, "summary": counts, "models": models}
    rows = [(v.name, v.state, "; ".join([*v.reasons, *v.unchecked])) for v in found]
    line = ", ".join(f"{count} {state}" for state, count in counts.items())
    printing.result(arguments, document, Table(("MODEL", "STATE", "WHY"), rows, 1), "", line)
    bad = counts[status.STALE] + (counts[status.UNCHECKED] if arguments.strict else 0)
    return EXIT_MODEL_FAILED if bad or not found else EXIT_OK
