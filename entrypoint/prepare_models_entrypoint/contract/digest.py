"""The digest of bytes: known, or not yet known and why."""

from __future__ import annotations

import hashlib
import re
from enum import Enum
from typing import Iterable, Mapping, Optional, Union


class Pending(Enum):
    """Why a digest is not known yet. Reports and records never contain one."""

    NOT_FETCHED = "not fetched yet"
    NOT_READ = "not read yet"
    ARCHIVE_CHANGED = "in an archive that changed"


SHA256 = "[0-9a-f]{64}"
Digest = Union[str, Pending]  # a sha256 in 64 hexadecimal digits, or why it is not known


def is_sha256(text: str) -> bool:
    """Return whether a text is a sha256 as this tool writes it, in small hexadecimal digits."""
    return re.fullmatch(SHA256, text) is not None


def combined(digests: Iterable[str]) -> Optional[str]:
    """Return the digest for the digests of several files, in their order; None without any."""
    text = "".join(digests)
    return hashlib.sha256(text.encode("ascii")).hexdigest() if text else None


def is_known(fields: Mapping[str, object]) -> bool:
    """Return whether an identity is complete: not empty, and with no digest pending."""
    return bool(fields) and not any(isinstance(value, Pending) for value in fields.values())
