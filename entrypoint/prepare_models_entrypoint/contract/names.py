"""Names from outside, such as those of tensors: whether one may stand in a line of a file, and which one was meant."""

from __future__ import annotations

from typing import Iterable, List

from .codec import ContractError


def is_printable(name: str) -> bool:
    """Tell whether a name has no control characters, line breaks or lone surrogates: it adds no line to a file."""
    return name.isprintable()


def check_printable(name: str, what: str) -> str:
    """Return a name that may stand in a line of a file.

    Raises:
        ContractError: it has a character that would end the line, or steer a terminal.
    """
    if not is_printable(name):
        told = name.encode("unicode_escape").decode("ascii")
        raise ContractError(f"{what} {told} has control characters")
    return name


def near(name: str, known: Iterable[str], cutoff: float = 0.6) -> List[str]:
    """Return at most three known names that are like a name, the nearest first. ``cutoff``: how alike, from 0 to 1."""
    import difflib  # here, as most runs need it for nothing

    return difflib.get_close_matches(name, list(known), 3, cutoff)
