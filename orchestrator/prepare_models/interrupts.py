"""Signals that end a command: they become an exception, so that what is open is closed."""

from __future__ import annotations

import signal

from .errors import InterruptedRunError


def interrupted(number: int, frame: object) -> None:
    """Raise what a signal means; to be given to ``signal.signal``."""
    del frame
    raise InterruptedRunError(f"stopped by {signal.Signals(number).name}")
