"""The events of a run for a program, one at a time, whichever threads they come from."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from prepare_models_entrypoint.contract.event import CLOSED, MODEL_FINISHED, OPENED, Event
from prepare_models_entrypoint.contract.report import ModelReport, WarningInfo

from ..planning.planned import PlannedModel
from .progress import Observer

OnEvent = Callable[[Event], None]

PLANNED = "planned"  # data: action and reason, as in a plan
WAITING = "waiting"  # data: the process that works on the model
WARNING = "warning"  # data: a WarningInfo
PHASE = "phase"  # of a provisioning; data: phase, one of ``provisioning.status_document.PHASES``
FINISHED = "finished"  # data: the ModelReport
_FRAME = (OPENED, CLOSED, MODEL_FINISHED)  # about one process of the entrypoint; a model may need several


class Events(Observer):
    """Passes everything on as consecutively numbered events, one after the other."""

    def __init__(self, on_event: OnEvent) -> None:
        self._on_event = on_event
        self._guard = threading.Lock()
        self._count = 0

    def planned(self, model: PlannedModel) -> None:
        """Pass on."""
        self._emit(PLANNED, model.spec.label, {"action": model.action, "reason": model.reason})

    def waiting(self, name: str, owner: str) -> None:
        """Pass on."""
        self._emit(WAITING, name, {"process": owner})

    def event(self, event: Event) -> None:
        """Pass on events that are not about a process of the entrypoint."""
        if event.kind not in _FRAME:
            self._pass_on(event)

    def warned(self, warning: WarningInfo) -> None:
        """Pass on."""
        self._emit(WARNING, None, warning)

    def phase(self, name: str | None, phase: str) -> None:
        """Pass on."""
        self._emit(PHASE, name, {"phase": phase})

    def finished(self, report: ModelReport) -> None:
        """Pass on."""
        self._emit(FINISHED, report["name"], report)

    def _emit(self, kind: str, model: str | None, data: Mapping[str, Any]) -> None:
        self._pass_on(Event(0, time.time(), kind, model, None, data))

    def _pass_on(self, event: Event) -> None:
        with self._guard:
            self._count += 1
            self._on_event(event._replace(seq=self._count - 1))
