"""What is to blame for an error, and how many of those have to go, by runs with a part of them at a time."""

from __future__ import annotations

import math
from typing import Callable, Dict, List, Sequence, Tuple

import numpy as np


def alone(names: Sequence[str], runs: int, moved: Callable[[Sequence[str]], float]) -> Dict[str, float]:
    """Return the error that each name causes alone.

    Where that takes too long, it is tried with its neighbours, and the groups that cause most are halved.

    Args:
        names: in an order in which neighbours belong together.
        runs: how many there may be; at least two are.
        moved: the error of a group.
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
    """Return how many of the errors, from the first on, have to go for the others to add up to what is tolerable."""
    squares = np.cumsum(np.square(errors[::-1]))
    return len(errors) - int(np.searchsorted(squares, tolerable**2, side="right"))


def fewest(low: int, most: int, is_enough: Callable[[int], bool]) -> int:
    """Return the smallest number above ``low`` that is enough, ``most`` where none below it is."""
    step, high = 1, low + 1
    while high < most and not is_enough(high):
        step *= 2
        low, high = high, high + step
    high = min(high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high
