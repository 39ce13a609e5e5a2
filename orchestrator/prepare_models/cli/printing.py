"""How commands print: results as JSON or for people, and the errors of single models and files."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import EXIT_MODEL_FAILED, EXIT_OK
from ..reports import text
from ..support.page import Part, Table, of_error, one_line, show

if TYPE_CHECKING:
    from prepare_models_entrypoint.contract.report import ErrorInfo

    from ..running.child import Answer


def result(arguments: argparse.Namespace, document: object, *parts: Part, quiet: bool = False) -> None:
    """Print a result: its document with ``--json``, else its parts for people, unless ``quiet``."""
    if arguments.json:
        text.write(json.dumps(document, indent=2))
    elif parts and not quiet:
        show(*parts, wide=getattr(arguments, "wide", False))


def verdicts(checked: Iterable[tuple[tuple[str, ...], str]]) -> Table:
    """Return a table of checks, each with its verdict first. With them, what to do about it; empty where nothing is."""
    rows: list[Sequence[str]] = []
    for cells, fix in checked:
        rows.append(cells)
        rows += [(*("" for _ in cells[1:]), f"-> {fix}")] if fix else []
    return Table((), rows, 0)


def failure(error: ErrorInfo, about: str) -> None:
    """Print what went wrong with a model or file. ``about``: which one, if the error names no stage."""
    show(of_error(error, about), stream=sys.stderr)


def of_models(
    arguments: argparse.Namespace, document: Answer, place: Path, made: Callable[[Answer], Sequence[str]]
) -> int:
    """Print what the entrypoint did with the models of a directory, and return the exit status.

    ``document``: ``models`` and ``error``, as the entrypoint answered. ``place``: the directory, which an error of the
    whole is about. ``made``: returns what was written for one model.
    """
    bad = [each for each in (document, *document["models"]) if each["error"]]
    for each in bad if not arguments.json else ():
        failure(each["error"], each.get("name", str(place)))
    good = [model for model in document["models"] if not model["error"]]
    result(arguments, document, *(f"{one_line(model['name'])}: {', '.join(made(model))}" for model in good))
    return EXIT_MODEL_FAILED if bad else EXIT_OK
