"""Sizes as people write them."""

from __future__ import annotations

import re
from typing import Optional

UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_LARGEST = 1 << 63  # TensorRT's limit
PATTERN = r"[0-9]+(\.[0-9]+)? *[KMG]i?B"
EXPECTED = "a size with its unit, such as 512MiB or 2GiB"


def size_of(text: str) -> Optional[int]:
    """Return a size such as ``512MiB`` or ``1.5 GB`` in bytes; None if it is not one."""
    if not re.fullmatch(PATTERN, text):
        return None
    number = text.rstrip("KMGiB")
    size = float(number) * UNITS[text[len(number) :]]
    return int(size) if size < _LARGEST else None


def readable(size: float) -> str:
    """Return bytes as a person reads them: ``1.2 GB``, ``38.9 MB``, ``1.5 kB``, ``300 B``."""
    for unit, length in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= length:
            return f"{size / length:.1f} {unit}"
    return f"{size:.0f} B"


def meant(text: str) -> Optional[str]:
    """Return the accepted form of a size in another spelling, such as ``2G``, ``512 mib`` or ``1gb``, or None."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) *([kmg])(i?)(b?)", text.strip().lower())
    if match is None:
        return None
    number, letter, binary, byte = match.groups()
    return f"{number}{letter.upper()}{'B' if byte and not binary else 'iB'}"
