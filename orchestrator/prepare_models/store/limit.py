"""The user's limit for the size of the cache."""

from __future__ import annotations

import os

from prepare_models_entrypoint.contract import sizes

from ..errors import UsageError
from ..support.paths import cache_dir
from .contents import Cache, chosen

VARIABLE = "PREPARE_MODELS_CACHE_LIMIT"


def limit() -> int | None:
    """Return the user's limit for the cache in bytes, or None without a limit.

    Raises:
        UsageError: the variable is not a size.
    """
    text = os.environ.get(VARIABLE)
    if not text:
        return None
    most = int(text) if text.isdecimal() and text.isascii() else sizes.size_of(text)
    if most is None:
        expected = f"{VARIABLE}: expected {sizes.EXPECTED}, found {text!r}"
        raise UsageError(expected, hint=f"{VARIABLE}={sizes.meant(text) or '20GiB'}, for example")
    return most


def keep_within_limit() -> None:
    """Prune the cache down to the user's limit, if there is one."""
    most = limit()
    if most is not None:
        cache = Cache(cache_dir())
        cache.prune(chosen(cache.items(), max_bytes=most))
