"""Times as documents have them."""

from __future__ import annotations

import datetime as dt


def timestamp(seconds: float | None = None) -> str:
    """Return a time in ISO 8601, UTC, with milliseconds. ``seconds``: since the epoch; None means now."""
    now = dt.datetime.now(dt.timezone.utc)
    then = now if seconds is None else dt.datetime.fromtimestamp(seconds, dt.timezone.utc)
    return then.isoformat(timespec="milliseconds")
