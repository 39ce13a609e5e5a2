"""Signals that end a command: they become an exception, so that what is open is closed."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

from ..errors import InterruptedRunError


def interrupted(number: int, frame: object) -> None:
    """Raise what a signal means; to be given to ``signal.signal``."""
    del frame
    raise InterruptedRunError(f"stopped by {signal.Signals(number).name}")


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and a terminal that hangs up end what goes on as Ctrl-C does, unless somebody else sees to them."""
    numbers = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, interrupted)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
