"""What systemd hears of a run: what it does now, and that it is alive (sd_notify, in the protocol's own few lines)."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time

from prepare_models_entrypoint.contract.event import PROGRESS, Event
from prepare_models_entrypoint.contract.report import ModelReport

from ..planning.planned import PlannedModel
from ..running.progress import Observer, amount
from ..support.page import one_line

SOCKET = "NOTIFY_SOCKET"
# A run without a sign of life for so long is ended by systemd. A oneshot unit has no WatchdogSec= before it is done, so
# each sign extends its TimeoutStartSec=, which the template takes from here.
SILENCE_S = 1800
_EVERY_S = 1.0  # most datagrams that progress makes
_LONGEST = 200  # characters of a status line


class Notifier(Observer):
    """Tells the service manager what a run does; without one it keeps silent. May be called from several threads."""

    def __init__(self) -> None:
        address = os.environ.get(SOCKET, "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address  # @: an abstract socket
        self._guard = threading.Lock()
        self._last = 0.0

    def planned(self, model: PlannedModel) -> None:
        """Say what will be done for a model."""
        self.alive(f"{model.spec.name}: {model.told()}")

    def waiting(self, name: str, owner: str) -> None:
        """Say who works on a model."""
        self.alive(f"{name}: waiting for {owner}")

    def phase(self, name: str | None, phase: str) -> None:
        """Say what is done now."""
        self.alive(phase if name is None else f"{name}: {phase}")

    def event(self, event: Event) -> None:
        """Pass on progress, which comes often, now and then."""
        with self._guard:
            now = time.monotonic()
            if now - self._last < _EVERY_S:
                return
            self._last = now
        how_far = f", {amount(event)}" if event.kind == PROGRESS else ""
        self.alive(f"{event.model or 'bundle'}: {event.stage}{how_far}")

    def finished(self, report: ModelReport) -> None:
        """Say what became of a model."""
        self.alive(f"{report['name']}: {report['status']}")

    def alive(self, status: str) -> None:
        """Say what goes on, and that it does."""
        text = one_line(status)[:_LONGEST]
        self._send(f"STATUS={text}", "WATCHDOG=1", f"EXTEND_TIMEOUT_USEC={SILENCE_S * 1_000_000}")

    def ended(self, status: str, *, good: bool) -> None:
        """Say how the run ended, and whether all is as it should be."""
        self._send(*(["READY=1"] if good else []), f"STATUS={one_line(status)[:_LONGEST]}", "STOPPING=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto("\n".join(lines).encode(), self._address)
