"""The known name that a misspelled one was meant to be."""

from __future__ import annotations

from typing import Iterable, List


def near(name: str, known: Iterable[str], cutoff: float = 0.6) -> List[str]:
    """Return at most three known names similar to a name, the nearest first. ``cutoff``: least similarity, 0 to 1."""
    import difflib  # imported here, as most runs don't need it

    return difflib.get_close_matches(name, list(known), 3, cutoff)
