"""The one way out to a terminal: names and messages of strangers stay text, and never become its commands."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prepare_models_entrypoint.contract.report import ErrorInfo

# Control characters (not line breaks and tabs), line separators, marks of the direction of writing, half characters.
_COMMANDS = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"


def printable(text: str) -> str:
    r"""Return a text with what a terminal would obey, or couldn't show, as escapes such as ``\x1b``."""
    return re.sub(_COMMANDS, lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def one_line(text: str) -> str:
    r"""Return a text as ``printable`` does, with ``\n`` and ``\t`` as escapes: a line of a log, a cell of a table."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def say(text: str) -> None:
    """Write a message to standard error."""
    sys.stderr.write(printable(text) + "\n")


def say_error(error: ErrorInfo) -> None:
    """Write an error of the entrypoint to standard error."""
    say(f"prepare-models: {error['message']} [{error['code']}]\n  -> {error['hint']}")
