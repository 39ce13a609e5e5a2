"""Signals that end a command: they become an exception, so that everything is cleaned up."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

from ..errors import InterruptedRunError


def interrupted(number: int, frame: object) -> None:
    """Raise the exception for a signal; a handler for ``signal.signal``."""
    del frame
    raise InterruptedRunError(f"stopped by {signal.Signals(number).name}")


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Make SIGTERM and SIGHUP end the block as Ctrl-C does, unless they already have handlers."""
    numbers = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, interrupted)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
