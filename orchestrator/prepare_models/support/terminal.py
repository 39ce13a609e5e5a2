"""The only way to print to a terminal: untrusted names and messages stay text, and never become control sequences."""

from __future__ import annotations

import os
import re
import sys
from typing import TextIO

# Control characters (not line breaks and tabs), line separators, direction marks, surrogates.
_COMMANDS = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"


def printable(text: str) -> str:
    r"""Return a text with control characters, and what a terminal can't show, as escapes such as ``\x1b``."""
    return re.sub(_COMMANDS, lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def one_line(text: str) -> str:
    r"""Return a text like ``printable``, with line breaks and tabs as escapes, too: for log lines and table cells."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def say(text: str) -> None:
    """Print a message to standard error."""
    sys.stderr.write(printable(text) + "\n")


def is_live(stream: TextIO) -> bool:
    """Return whether lines of a stream can be redrawn: it is a terminal, and not a CI log."""
    return stream.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")


def has_colours(stream: TextIO) -> bool:
    """Return whether a stream shows colours, and they are not turned off (https://no-color.org)."""
    return stream.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")
