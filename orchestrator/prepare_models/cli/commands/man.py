"""``prepare-models man``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

from ... import __version__
from ...errors import EXIT_OK
from ...reports import text
from ..parser import parser

_USAGE = "usage: "
EXAMPLE = "example:\n  prepare-models man > ~/.local/share/man/man1/prepare-models.1\n  prepare-models man | man -l -"


def add_arguments(man: argparse.ArgumentParser) -> None:
    """Add nothing: ``man`` takes no arguments."""
    del man


def main(arguments: argparse.Namespace) -> int:
    """Print the manual page of all commands, made from their parsers."""
    del arguments
    root = parser()
    summary = _roff(root.description or "")
    lines = [f'.TH PREPARE\\-MODELS 1 "" "prepare\\-models {__version__}" "User Commands"', ".SH NAME"]
    lines += [
        f"prepare\\-models \\- {summary[0].lower()}{summary[1:].rstrip('.')}",
        ".SH SYNOPSIS",
        *_verbatim(_usage(root)),
    ]
    text.write("\n".join([*lines, ".SH DESCRIPTION", summary, *_options(root), ".SH COMMANDS", *_commands(root)]))
    return EXIT_OK


def _commands(command: argparse.ArgumentParser) -> Iterator[str]:
    for action in command._actions:  # noqa: SLF001  # argparse has no other way to them
        for inner in action.choices.values() if isinstance(action, argparse._SubParsersAction) else ():  # noqa: SLF001
            yield f".SS {_roff(inner.prog)}"
            yield from (_roff(inner.description or ""), ".PP", *_verbatim(_usage(inner)), *_options(inner))
            yield from (".PP", *_verbatim(inner.epilog or ""))
            yield from _commands(inner)


def _options(command: argparse.ArgumentParser) -> Iterator[str]:
    make = argparse.HelpFormatter(command.prog, width=10_000)
    for action in command._actions:  # noqa: SLF001
        if action.help and not isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            yield from (".TP", f"\\fB{_roff(make._format_action_invocation(action))}\\fR")  # noqa: SLF001
            yield _roff(make._expand_help(action))  # noqa: SLF001


def _usage(command: argparse.ArgumentParser) -> str:
    return command.format_usage().removeprefix(_USAGE).replace("\n" + " " * len(_USAGE), "\n")


def _verbatim(block: str) -> list[str]:
    return [".nf", *map(_roff, block.rstrip().splitlines()), ".fi"]


def _roff(line: str) -> str:
    """Return a line escaped so that roff prints it literally."""
    plain = line.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^(?=[.'])", r"\\&", plain)
