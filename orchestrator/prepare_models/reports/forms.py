"""The forms of a report that are files: HTML, Markdown, JUnit XML."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from prepare_models_entrypoint.contract.files import write_atomic

from ..errors import HostError
from . import documents, html, junit, markdown

FORMS: dict[str, Callable[[documents.Run], str]] = {
    "html": html.render,
    "markdown": markdown.render,
    "junit": junit.render,
}


def save(file: Path, rendered: str) -> None:
    """Write a rendered report.

    Raises:
        HostError: the file can't be written.
    """
    try:
        write_atomic(file, rendered.encode("utf-8"))
    except OSError as error:
        raise HostError(f"{file} can't be written: {error.strerror}", hint="free space or give write access") from None
