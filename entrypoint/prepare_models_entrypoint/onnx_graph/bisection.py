"""Which candidates cause an error, and how many of them have to go, found by runs with some of them at a time."""

from __future__ import annotations

import math
from typing import Callable, Dict, List, Sequence, Tuple

import numpy as np


def alone(names: Sequence[str], runs: int, moved: Callable[[Sequence[str]], float]) -> Dict[str, float]:
    """Return the error that each name causes on its own.

    If that takes too long, names are tried together with their neighbours, and the groups with the largest errors are
    halved.

    Args:
        names: ordered so that neighbours belong together.
        runs: how many runs there may be; there are at least two.
        moved: returns the error of a group.
    """
    size = 1 if runs >= len(names) else math.ceil(2 * len(names) / max(2, runs))
    groups = [names[start : start + size] for start in range(0, len(names), size)]
    found: List[Tuple[float, Sequence[str]]] = [(moved(group), group) for group in groups]
    for _ in range((runs - len(groups)) // 2):
        together = [pair for pair in found if len(pair[1]) > 1]
        if not together:
            break
        worst = max(together)
        found.remove(worst)
        middle = len(worst[1]) // 2
        found += [(moved(half), half) for half in (worst[1][:middle], worst[1][middle:])]
    return {name: by / math.sqrt(len(group)) for by, group in found for name in group}


def expected(errors: Sequence[float], tolerable: float) -> int:
    """Return how many errors, from the first on, have to be removed for the rest to add up to at most ``tolerable``."""
    squares = np.cumsum(np.square(errors[::-1]))
    return len(errors) - int(np.searchsorted(squares, tolerable**2, side="right"))


def fewest(low: int, most: int, is_enough: Callable[[int], bool], *, goes_on: Callable[[], bool] = lambda: True) -> int:
    """Return the smallest number above ``low`` that is enough; ``most`` if no smaller one is.

    ``goes_on``: whether to look for smaller ones than the first that is enough.
    """
    step, high = 1, low + 1
    while high < most and not is_enough(high):
        step *= 2
        low, high = high, high + step
    high = min(high, most)
    while high - low > 1 and goes_on():
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high
