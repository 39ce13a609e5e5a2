"""The one way out to a terminal: names and messages of strangers stay text, and never become its commands."""

from __future__ import annotations

import os
import re
import sys
from typing import TextIO

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


def is_live(stream: TextIO) -> bool:
    """Return whether lines of a stream can be drawn again: a terminal that a person looks at, and no log of a CI."""
    return stream.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")


def has_colours(stream: TextIO) -> bool:
    """Return whether a stream shows colours, and nobody turned them off (https://no-color.org)."""
    return stream.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")
