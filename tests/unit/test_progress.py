"""What a person reads while a build goes on."""

from __future__ import annotations

import pytest
import structlog
from structlog.testing import capture_logs

from prepare_models.running.progress import Lines
from prepare_models_entrypoint.contract import event as events
from prepare_models_entrypoint.contract.event import Event


def told(phase: str, done: int, total: int) -> list[tuple[str, str]]:
    """Return level and text of what is logged, details for developers aside."""
    data = {"phase": phase, "done": done, "total": total}
    with capture_logs() as logged:
        Lines(structlog.get_logger()).event(Event(0, 0.0, events.PROGRESS, "net", "convert", data))
    return [(line["log_level"], line["event"]) for line in logged if line["log_level"] != "debug"]


def test_a_build_in_which_nothing_moves_is_told_with_its_end() -> None:
    text = "no progress for 300 s; the build is stopped 21600 s after it began"
    assert told(events.SILENT, 300, 21600) == [("warning", text)]


@pytest.mark.parametrize(("done", "lines"), [(59, []), (60, [("info", "still building: 60 s, about 90 s last time")])])
def test_the_time_of_a_build_is_told_every_minute(done: int, lines: list[tuple[str, str]]) -> None:
    assert told(events.ELAPSED, done, 90) == lines
