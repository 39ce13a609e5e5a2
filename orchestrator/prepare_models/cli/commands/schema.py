"""``prepare-models schema``."""

from __future__ import annotations

import argparse
import json

from ...errors import EXIT_OK
from ...manifest.schema import manifest_schema
from ...reports import text
from ...reports.schema import report_schema, status_schema

_SCHEMAS = {"manifest": manifest_schema, "report": report_schema, "status": status_schema}
EXAMPLE = "example:\n  prepare-models schema manifest > models.schema.json"


def add_arguments(schema: argparse.ArgumentParser) -> None:
    """Add what ``schema`` takes."""
    schema.add_argument("document", choices=sorted(_SCHEMAS))


def main(arguments: argparse.Namespace) -> int:
    """Print the JSON Schema of a document."""
    text.write(json.dumps(_SCHEMAS[arguments.document](), indent=2))
    return EXIT_OK
