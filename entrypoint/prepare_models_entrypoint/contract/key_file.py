"""Files with one secret, as editors write them: with a byte order mark, CRLF, a trailing line break."""

from __future__ import annotations

from pathlib import Path

from .files import read_small


def read(file: Path) -> str:
    """Return the one line of text in a file, without surrounding white space; empty if the file is blank.

    Raises:
        OSError: it can't be read, or is not a small regular file.
        ValueError: it is anything but one line of text; the message says why without quoting the content.
    """
    try:
        text = read_small(file).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 1:
        raise ValueError(f"has {len(lines)} lines of text and must have one")
    return lines[0] if lines else ""
