"""The stream of events to the orchestrator."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import Optional, TextIO

from .confinement import withhold
from .contract.event import Event


class Events:
    """Writes events as JSON lines. If the reader disappears, the work continues."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._seq = 0
        self._guard = threading.Lock()

    @classmethod
    def on_stdout(cls) -> Events:
        """Reserve standard output for events: from now on, anything else printed there goes to standard error."""
        stream = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
        withhold(stream.fileno())  # or a model could report on others
        os.dup2(2, 1)
        return cls(stream)

    def emit(self, kind: str, *, model: Optional[str] = None, stage: Optional[str] = None, **data: object) -> None:
        """Write one event."""
        with self._guard, contextlib.suppress(OSError):
            line = Event(seq=self._seq, time=time.time(), kind=kind, model=model, stage=stage, data=data).to_line()
            self._seq += 1
            self._stream.write(line)
