"""What a person sees of a run while it goes on: a live display on a terminal, lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import structlog

from prepare_models_entrypoint.contract import event as events
from prepare_models_entrypoint.contract.event import Event
from prepare_models_entrypoint.contract.report import FAILED, ModelReport

from .plan import PlannedModel
from .runner import Observer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Lines(Observer):
    """One log line for each thing that matters."""

    def __init__(self) -> None:
        self._log = structlog.get_logger()

    def planned(self, model: PlannedModel) -> None:
        """Say what will be done and why."""
        self._log.info(model.action, model=model.spec.name, reason=model.reason)

    def waiting(self, name: str, owner: str) -> None:
        """Say who works on the model."""
        self._log.info("waiting for another run", model=name, process=owner)

    def event(self, event: Event) -> None:
        """Log the ends of stages; phases and other events in detail only."""
        if event.kind == events.STAGE_FINISHED:
            self._log.info(f"{event.stage} {event.data.get('status')}", model=event.model, seconds=_seconds(event))
        else:
            self._log.debug(event.kind, model=event.model, stage=event.stage, **event.data)

    def finished(self, report: ModelReport) -> None:
        """Log the outcome, and an error with its hint."""
        error = report["error"]
        if report["status"] == FAILED and error is not None:
            self._log.error(
                error["message"], model=report["name"], stage=error["stage"], code=error["code"], hint=error["hint"]
            )
        for warning in report["warnings"] if report["stages"] else ():
            self._log.warning(warning["message"], model=report["name"], code=warning["code"], hint=warning["hint"])


class Live(Lines):
    """A line for each model at work, with stage, phase, bytes or steps, and elapsed time."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._guard = threading.Lock()

    def planned(self, model: PlannedModel) -> None:
        """Show the model unless there is nothing to do."""
        if model.record is None:
            with self._guard:
                self._tasks[model.spec.name] = self._progress.add_task(model.spec.name, total=None, stage="start")

    def event(self, event: Event) -> None:
        """Move the model's line."""
        task = self._tasks.get(event.model or "")
        if task is None:
            return
        if event.kind == events.STAGE_STARTED:
            self._progress.update(task, stage=event.stage, total=None, completed=0)
        elif event.kind == events.PROGRESS:
            self._progress.update(task, stage=f"{event.stage}: {_amount(event)}", **_steps(event))

    def finished(self, report: ModelReport) -> None:
        """Take the model's line away and tell errors and warnings above the display."""
        with self._guard:
            task = self._tasks.pop(report["name"], None)
        if task is not None:
            self._progress.remove_task(task)
        super().finished(report)


@contextlib.contextmanager
def observer(*, quiet: bool, log_format: str) -> Iterator[Observer]:
    """Yield the observer that fits: silence, a live display on a terminal, or lines."""
    if quiet:
        yield Observer()
    elif log_format == "text" and sys.stderr.isatty():
        with _display() as progress:
            yield Live(progress)
    else:
        yield Lines()


def _display() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[stage]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def _seconds(event: Event) -> float:
    return round(float(event.data.get("seconds", 0.0)), 2)


def _amount(event: Event) -> str:
    phase, done, total = (event.data.get(key) for key in ("phase", "done", "total"))
    if phase == "download" and isinstance(done, int):
        whole = f" of {total / 1e6:.1f}" if isinstance(total, int) and total else ""
        return f"{done / 1e6:.1f}{whole} MB"
    return str(phase)


def _steps(event: Event) -> dict[str, Any]:
    total = event.data.get("total") or None
    return {"total": total, "completed": event.data.get("done", 0) if total else 0}
