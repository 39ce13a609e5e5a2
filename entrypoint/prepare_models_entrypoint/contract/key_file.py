"""Files that hold one secret, as editors write them: with a byte order mark, CRLF, a line break at the end."""

from __future__ import annotations

from pathlib import Path

from .files import read_small


def read(file: Path) -> str:
    """Return the one line of text in a file, without white space around it; empty where the file holds none.

    Raises:
        OSError: it can't be read, or is not a small regular file.
        ValueError: it holds something else than one line of text; the message says what, and nothing of the content.
    """
    try:
        text = read_small(file).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 1:
        raise ValueError(f"has {len(lines)} lines of text and must have one")
    return lines[0] if lines else ""
