"""``prepare-models schema``."""

from __future__ import annotations

import argparse
import importlib.resources

from ...errors import EXIT_OK
from ...reports import text

EXAMPLE = "example:\n  prepare-models schema manifest > models.schema.json"


def add_arguments(schema: argparse.ArgumentParser) -> None:
    """Add what ``schema`` takes."""
    schema.add_argument("document", choices=("manifest", "report"))


def main(arguments: argparse.Namespace) -> int:
    """Print the JSON Schema of a document."""
    file = importlib.resources.files("prepare_models") / "schemas" / f"{arguments.document}.schema.json"
    text.write(file.read_text(encoding="utf-8").rstrip())
    return EXIT_OK
