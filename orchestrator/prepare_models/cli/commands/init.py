"""``prepare-models init``."""

from __future__ import annotations

import argparse
from pathlib import Path

from prepare_models_entrypoint.contract.files import write_atomic

from ... import catalog
from ...catalog import starter
from ...errors import EXIT_OK, HostError, UsageError
from ...reports.text import write

_EXAMPLE = "peoplesemsegnet-shuffleseg-onnx"

EXAMPLE = "example:\n  prepare-models init peoplesemsegnet-shuffleseg-onnx bi3d-featnet-2.0.0 -o models.yaml"


def add_arguments(init: argparse.ArgumentParser) -> None:
    """Add what ``init`` takes."""
    init.add_argument("names", nargs="*", metavar="NAME", help="models of the catalog (default: one as an example)")
    init.add_argument(
        "-o", "--output", type=Path, default=Path("models.yaml"), metavar="FILE", help="default: models.yaml"
    )
    init.add_argument("--force", action="store_true", help="replace the file")


def main(arguments: argparse.Namespace) -> int:
    """Write a manifest with models of the catalog, to be changed by hand."""
    chosen = [catalog.find(name) for name in dict.fromkeys(arguments.names or [_EXAMPLE])]
    target = arguments.output
    if target.exists() and not arguments.force:
        raise UsageError(f"{target} is there already", hint="choose another with --output FILE, or give --force")
    try:
        write_atomic(target, starter.manifest(chosen).encode("utf-8"))
    except OSError as error:
        raise HostError(f"{target} can't be written: {error.strerror}", hint="choose another with --output") from None
    write(f"{target}: {', '.join(entry.name for entry in chosen)}\nnext: prepare-models plan {target}")
    return EXIT_OK
