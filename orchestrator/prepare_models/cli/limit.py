"""The size that the user allows the cache."""

from __future__ import annotations

import argparse
import os

from ..errors import UsageError
from ..store.contents import Cache, chosen
from ..support.paths import cache_dir
from .options import size

VARIABLE = "PREPARE_MODELS_CACHE_LIMIT"


def limit() -> int | None:
    """Return the bytes that the user allows the cache, None without a limit.

    Raises:
        UsageError: the variable holds no size.
    """
    text = os.environ.get(VARIABLE)
    try:
        return size(text) if text else None
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"{VARIABLE}: {error}", hint=f"{VARIABLE}=20GiB, for example") from None


def keep_within_limit() -> None:
    """Prune the cache down to the size that the user allows it, if there is one."""
    most = limit()
    if most is not None:
        cache = Cache(cache_dir())
        cache.prune(chosen(cache.items(), max_bytes=most))
