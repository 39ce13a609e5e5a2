"""Versions of TensorRT and compute capabilities as numbers."""

from __future__ import annotations

import re
from typing import Tuple

Version = Tuple[int, ...]


def version_of(text: str) -> Version:
    """Return a version such as 10.3.0, or a compute capability, as numbers, ignoring words in it."""
    return tuple(map(int, re.findall(r"\d+", text)))
