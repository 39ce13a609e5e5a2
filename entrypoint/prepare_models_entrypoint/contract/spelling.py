"""Which known name a misspelled one was meant to be."""

from __future__ import annotations

from typing import Iterable, List


def near(name: str, known: Iterable[str], cutoff: float = 0.6) -> List[str]:
    """Return at most three known names that are like a name, the nearest first. ``cutoff``: how alike, from 0 to 1."""
    import difflib  # here, as most runs need it for nothing

    return difflib.get_close_matches(name, list(known), 3, cutoff)
