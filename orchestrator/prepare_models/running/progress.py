"""The progress of a run for people: a live display on a terminal, lines elsewhere."""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from prepare_models_entrypoint.contract import event as events
from prepare_models_entrypoint.contract.event import CLOSED, MODEL_FINISHED, OPENED, Event
from prepare_models_entrypoint.contract.report import UP_TO_DATE, ModelReport

from ..errors import SharedStoreError
from ..support.page import display, is_live, one_line
from ..support.paths import first_time

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID
    from structlog.typing import EventDict, FilteringBoundLogger, Processor

    from ..planning.planned import PlannedModel

OnEvent = Callable[[Event], None]

PLANNED = "planned"  # data: action and reason, as in a plan
WAITING = "waiting"  # data: the process that works on the model
PHASE = "phase"  # of a provisioning; data: phase, one of ``provisioning.status_document.PHASES``
FINISHED = "finished"  # data: the ModelReport

_FRAME = (OPENED, CLOSED, MODEL_FINISHED)  # about one process of the entrypoint; a model may need several
_HEARTBEAT_S = 60


class Observer:
    """Is called with what a run does. This one does nothing."""

    def planned(self, model: PlannedModel) -> None:
        """Handle what will be done for a model."""
        self._hand_on(lambda other: other.planned(model))

    def waiting(self, name: str, owner: str) -> None:
        """Handle that another process works on the model."""
        self._hand_on(lambda other: other.waiting(name, owner))

    def event(self, event: Event) -> None:
        """Handle an event of the entrypoint."""
        self._hand_on(lambda other: other.event(event))

    def finished(self, report: ModelReport) -> None:
        """Handle the report of a finished model."""
        self._hand_on(lambda other: other.finished(report))

    def phase(self, name: str | None, phase: str) -> None:
        """Handle a provisioning's current phase, of one model or of all."""
        self._hand_on(lambda other: other.phase(name, phase))

    def _hand_on(self, call: Callable[[Observer], None]) -> None:
        """Handle what no method of a subclass does. ``call``: repeats it for another observer."""


class Several(Observer):
    """Passes everything on to several observers."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def _hand_on(self, call: Callable[[Observer], None]) -> None:
        """Make the call for each."""
        for each in self._observers:
            call(each)


class Lines(Observer):
    """Logs one line for each thing that matters."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log

    def planned(self, model: PlannedModel) -> None:
        """Log what will be done and why."""
        self._log.info(model.told(), model=model.spec.label)

    def waiting(self, name: str, owner: str) -> None:
        """Log which process works on the model."""
        self._log.info("waiting for another run", model=name, process=owner)

    def phase(self, name: str | None, phase: str) -> None:
        """Log the phase."""
        self._log.info(phase, **({} if name is None else {"model": name}))

    def event(self, event: Event) -> None:
        """Log the ends of stages; phases and other events only with details."""
        if event.kind == events.STAGE_FINISHED:
            seconds = round(float(event.data.get("seconds", 0.0)), 2)
            self._log.info(f"{event.stage} {event.data.get('status')}", model=event.model, seconds=seconds)
        elif event.data.get("phase") == events.ELAPSED and event.data.get("done", 0) % _HEARTBEAT_S == 0:
            self._log.info(f"still building: {amount(event)}", model=event.model, stage=event.stage)
        elif event.data.get("phase") == events.SILENT:
            self._log.warning(amount(event), model=event.model, stage=event.stage)
        else:
            self._log.debug(event.kind, model=event.model, stage=event.stage, **event.data)

    def finished(self, report: ModelReport) -> None:
        """Log the result. Errors and warnings are shown once, at the end of the run."""
        error = report["error"]
        if error is not None:
            self._log.error(report["status"], model=report["name"], stage=error["stage"], code=error["code"])
        for warning in report["warnings"]:
            if warning["code"] in SharedStoreError.CODES:
                self._log.warning("shared store", model=report["name"], code=warning["code"])
        for page in report["licences"] if report["stages"] else ():
            if first_time(f"licence {page}"):
                self._log.info("terms of use", model=report["name"], page=page)


class _Live(Lines):
    """Shows a line for each active model, with stage, phase, bytes or steps, and elapsed time."""

    def __init__(self, log: FilteringBoundLogger, progress: Progress) -> None:
        super().__init__(log)
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def planned(self, model: PlannedModel) -> None:
        """Show the model unless there is nothing to do."""
        if model.record is None:
            self._tasks[model.spec.label] = self._progress.add_task(model.spec.label, total=None, stage="start")

    def event(self, event: Event) -> None:
        if event.model is None and event.kind == events.PROGRESS and "" not in self._tasks:
            self._tasks[""] = self._progress.add_task(event.stage or "", total=None, stage="start")
        task = self._tasks.get(event.model or "")
        if task is None:
            return
        if event.kind == events.STAGE_STARTED:
            self._progress.update(task, stage=event.stage, total=None, completed=0)
        elif event.kind == events.STAGE_FINISHED:  # the stage's bar ends with it
            self._progress.update(task, stage=f"{event.stage} {event.data.get('status')}", total=None, completed=0)
        elif event.data.get("phase") == events.SILENT:
            super().event(event)
        elif event.kind == events.PROGRESS:
            total = event.data.get("total") or None
            done = event.data.get("done", 0) if total else 0
            self._progress.update(task, stage=f"{event.stage}: {amount(event)}", total=total, completed=done)

    def finished(self, report: ModelReport) -> None:
        """Remove the model's line, and print its result above the display."""
        task = self._tasks.pop(report["name"], None)
        if task is not None:
            self._progress.remove_task(task)
        if report["error"] is None and task is not None:
            self._log.info(report["status"], model=report["name"])
        super().finished(report)


class _Background(Observer):
    """Passes everything on to an observer in a separate thread, so that its imports and output don't delay the work.

    Models that are up to date are not reported unless ``everything`` is: if all are, nothing is imported.
    """

    def __init__(self, make: Callable[[], AbstractContextManager[Observer]], *, everything: bool = False) -> None:
        self._everything = everything
        self._calls: queue.SimpleQueue[Callable[[Observer], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, args=(make,), name="progress")

    def __enter__(self) -> _Background:  # noqa: PYI034  # Self came with Python 3.11
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._calls.put(None)
        self._thread.join()

    def _hand_on(self, call: Callable[[Observer], None]) -> None:
        self._calls.put(call)

    def planned(self, model: PlannedModel) -> None:
        if self._everything or model.record is None:
            super().planned(model)

    def finished(self, report: ModelReport) -> None:
        if self._everything or report["status"] != UP_TO_DATE:
            super().finished(report)

    def _serve(self, make: Callable[[], AbstractContextManager[Observer]]) -> None:
        first = self._calls.get()  # by now the run's own imports are done
        if first is None:
            return
        with make() as observer:
            call: Callable[[Observer], None] | None = first
            while call is not None:
                call(observer)
                call = self._calls.get()


def observer(*, quiet: bool, log_format: str, verbose: int) -> AbstractContextManager[Observer]:
    """Return the right observer: a silent one, a live display on a terminal, or lines."""

    @contextlib.contextmanager
    def make() -> Iterator[Observer]:
        if log_format == "text" and is_live(sys.stderr):
            with display() as progress:  # which makes standard error print above the bars
                yield _Live(_logger(log_format, verbose), progress)
        else:
            yield Lines(_logger(log_format, verbose))

    return contextlib.nullcontext(Observer()) if quiet else _Background(make, everything=verbose > 0)


def amount(event: Event) -> str:
    """Return how far a step is, for people."""
    phase, done, total = (event.data.get(key) for key in ("phase", "done", "total"))
    if phase in ("download", "send", "verify") and isinstance(done, int):
        whole = f" of {total / 1e6:.1f}" if isinstance(total, int) and total else ""
        return f"{done / 1e6:.1f}{whole} MB"
    if phase == events.ELAPSED:
        return f"{done} s, about {total} s last time" if total else f"{done} s"
    if phase == events.SILENT:
        return f"no progress for {done} s; the build is stopped {total} s after it began"
    return str(phase)


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
            self._on_event(replace(event, seq=self._count - 1))


def _logger(log_format: str, verbose: int) -> FilteringBoundLogger:
    """Set up structlog for this process: text for people, JSON lines for machines, on standard error."""
    import logging

    import structlog

    renderer: Processor = structlog.processors.JSONRenderer()
    if log_format == "text":
        renderer = structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0, pad_level=False)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso" if log_format == "json" else "%H:%M:%S"),
            _as_text,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if verbose else logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logger: FilteringBoundLogger = structlog.get_logger()
    return logger


def _as_text(_: object, __: str, event: EventDict) -> EventDict:
    """Keep untrusted names from adding lines to the log or moving the cursor."""
    return {name: one_line(value) if isinstance(value, str) else value for name, value in event.items()}
