"""The file formats of a report: JSON, HTML, Markdown, JUnit XML."""

from __future__ import annotations

import importlib
from pathlib import Path

from prepare_models_entrypoint.contract.files import write_atomic, write_own

from ..errors import UsageError
from ..support.os_errors import unwritable
from . import documents

JSON = "json"
HTML, _, _ = FORMS = ("html", "markdown", "junit")  # one module each


def check(form: str) -> None:
    """Refuse a format that can't be written here.

    Raises:
        UsageError: it is unknown.
        HostError: the package that draws it is not installed.
    """
    if form not in (JSON, *FORMS):
        raise UsageError(f"a report has no form {form!r}", hint=f"one of {', '.join((JSON, *FORMS))}")
    if form == HTML:
        from . import html

        html.check()


def render(form: str, run: documents.Run) -> str:
    """Return the report of a run in a format.

    Raises:
        HostError: the package that draws it is not installed.
    """
    if form == JSON:
        return documents.to_json(run)
    rendered: str = importlib.import_module(f"{__package__}.{form}").render(run)
    return rendered


def save(file: Path, rendered: str, *, own: bool = False) -> None:
    """Write a rendered report. ``own``: whether it is in a models directory, where no link is followed.

    Raises:
        HostError: the file can't be written.
    """
    try:
        (write_own if own else write_atomic)(file, rendered.encode("utf-8"))
    except OSError as error:
        raise unwritable(file, error, "give write access") from None
