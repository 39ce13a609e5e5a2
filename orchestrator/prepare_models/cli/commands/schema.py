"""``prepare-models schema``."""

from __future__ import annotations

import argparse
import json

from ...errors import EXIT_OK
from ...manifest.schema import manifest_schema
from ...reports import text
from ...reports.schema import report_schema

EXAMPLE = "example:\n  prepare-models schema manifest > models.schema.json"


def add_arguments(schema: argparse.ArgumentParser) -> None:
    """Add what ``schema`` takes."""
    schema.add_argument("document", choices=("manifest", "report"))


def main(arguments: argparse.Namespace) -> int:
    """Print the JSON Schema of a document."""
    schema = manifest_schema() if arguments.document == "manifest" else report_schema()
    text.write(json.dumps(schema, indent=2))
    return EXIT_OK
