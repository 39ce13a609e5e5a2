"""The forms of a report that are files: HTML, Markdown, JUnit XML."""

from __future__ import annotations

import importlib
from pathlib import Path

from prepare_models_entrypoint.contract.files import write_atomic, write_own

from ..errors import HostError
from . import documents

FORMS = ("html", "markdown", "junit")  # a module each


def render(form: str, run: documents.Run) -> str:
    """Return the report of a run in a form.

    Raises:
        HostError: what draws it is not installed.
    """
    rendered: str = importlib.import_module(f"{__package__}.{form}").render(run)
    return rendered


def save(file: Path, rendered: str, *, own: bool = False) -> None:
    """Write a rendered report. ``own``: in a models directory, where no link is followed.

    Raises:
        HostError: the file can't be written.
    """
    try:
        (write_own if own else write_atomic)(file, rendered.encode("utf-8"))
    except OSError as error:
        raise HostError(f"{file} can't be written: {error.strerror}", hint="free space or give write access") from None
