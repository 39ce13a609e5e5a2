"""Names from outside, such as those of tensors: the one place that decides whether a file may contain a name."""

from __future__ import annotations

from .codec import ContractError


def is_printable(name: str) -> bool:
    """Return whether a name has no control characters, line breaks or lone surrogates: it adds no line to a file."""
    return name.isprintable()


def check_printable(name: str, what: str) -> str:
    """Return ``name`` if it may appear in a line of a file.

    Raises:
        ContractError: it has a character that would end the line, or control a terminal.
    """
    if not is_printable(name):
        escaped = name.encode("unicode_escape").decode("ascii")
        raise ContractError(f"{what} {escaped} has control characters")
    return name
