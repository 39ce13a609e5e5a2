"""``prepare-models report``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from prepare_models_entrypoint.contract.files import write_atomic

from ...errors import EXIT_DIFFERENT, EXIT_OK, HostError
from ...reports import difference, documents, html, junit, markdown, text

FORMS: dict[str, Callable[[documents.Run], str]] = {
    "html": html.render,
    "markdown": markdown.render,
    "junit": junit.render,
}


def main(arguments: argparse.Namespace) -> int:
    """Render a report, or tell two apart."""
    if arguments.action == "diff":
        changes = difference.compare(documents.load(arguments.a), documents.load(arguments.b))
        text.write(json.dumps({"changes": changes}, indent=2) if arguments.json else difference.render(changes))
        return EXIT_DIFFERENT if any(change["counts"] for change in changes) else EXIT_OK
    rendered = FORMS[arguments.format](documents.load(arguments.report))
    if arguments.output is None:
        text.write(rendered.rstrip("\n"))
    else:
        save(arguments.output, rendered)
    return EXIT_OK


def save(file: Path, rendered: str) -> None:
    """Write a rendered report.

    Raises:
        HostError: the file can't be written.
    """
    try:
        write_atomic(file, rendered.encode("utf-8"))
    except OSError as error:
        raise HostError(f"{file} can't be written: {error.strerror}", hint="free space or give write access") from None
