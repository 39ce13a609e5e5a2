"""The digest of bytes, as a value: known, or not yet known and why."""

from __future__ import annotations

from enum import Enum
from typing import Mapping, Union


class Pending(Enum):
    """Why a digest is not known yet. It never is in a report or a record."""

    NOT_FETCHED = "not fetched yet"
    NOT_READ = "not read yet"
    ARCHIVE_CHANGED = "in an archive that changed"


Digest = Union[str, Pending]  # a sha256 in 64 hexadecimal digits, or why there is none


def is_known(fields: Mapping[str, object]) -> bool:
    """Return whether an identity is whole: not empty, and no digest in it is pending."""
    return bool(fields) and not any(isinstance(value, Pending) for value in fields.values())
