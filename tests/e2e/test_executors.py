"""A further executor through the public seam, as a cluster's would be.

Its transport takes a step's job to another folder, has the real entrypoint work there, and brings back what it left.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from prepare_models.errors import InterruptedRunError
from prepare_models.executors.executor import Executor
from prepare_models.executors.local import LocalPython
from prepare_models.executors.work import Lines, OnEvent, Outcome, Step, Work
from prepare_models.manifest.load import load
from prepare_models.running import child
from prepare_models_entrypoint.contract.environment import RuntimeInfo
from prepare_models_entrypoint.contract.event import Event
from prepare_models_entrypoint.contract.job import JobKind
from prepare_models_entrypoint.contract.report import ErrorInfo, ModelReport
from tests import networks
from tests.command import Workplace


class Elsewhere(Executor):
    """The executor and its transport for building. What is fetched is fetched here."""

    name = "elsewhere"

    def __init__(self, folder: Path) -> None:
        self._folder, self._here = folder, LocalPython()
        self.argv: list[str] | None = None  # takes the place of the entrypoint's
        self.lost: ErrorInfo | None = None
        self.stopped = False

    def describe(self) -> RuntimeInfo:
        return self._here.describe()

    def locked_as(self) -> tuple[str, Mapping[str, str]]:
        return "elsewhere", {}

    def building(self) -> Elsewhere:
        return self

    def fetching(self) -> LocalPython:
        return self._here

    def carry(self, step: Step, on_event: OnEvent) -> Outcome | None:
        step.write(key_file=None, secrets_file=None)
        there = self._folder / "there"
        shutil.copytree(step.job, there)
        argv = self.argv or child.argv("run", str(there / "job.json"), str(there))
        with step.log.open("wb") as log:
            done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=log, check=False)
        Lines(on_event).feed(done.stdout)
        if (there / "report.json").exists():
            shutil.copy(there / "report.json", step.out)
        return None if self.stopped else Outcome("task", done.returncode)

    def deliver(self, step: Step, report: ModelReport) -> ErrorInfo | None:
        return self.lost

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def elsewhere(tmp_path: Path) -> Elsewhere:
    return Elsewhere(tmp_path)


@pytest.fixture(autouse=True)
def _cache(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREPARE_MODELS_CACHE_DIR", str(place.cache_dir))


def work(place: Workplace, source: str, events: list[Event] | None = None) -> Work:
    spec = load(place.write({"name": "net", "source": source})).models[0]
    folder = place.folder / "private"
    folder.mkdir()
    on_event = events.append if events is not None else lambda _: None
    return Work(JobKind.RUN, spec, place.models_dir / "net", folder, "r", on_event=on_event)


def test_a_step_that_fetches_here_and_one_that_builds_there_make_one_report(
    place: Workplace, elsewhere: Elsewhere
) -> None:
    with zipfile.ZipFile(place.folder / "pack.zip", "w") as pack:
        pack.write(networks.conv(place.folder / "net.onnx"), "net.onnx")
    events: list[Event] = []
    report = elsewhere.run(work(place, "pack.zip!net.onnx", events))
    assert report["status"] == "built", report["error"]
    assert [stage["name"] for stage in report["stages"]] == ["fetch", "convert", "inspect"]
    assert (place.models_dir / "net" / "1" / "model.plan").is_file()
    assert [event.kind for event in events if event.kind == "model-finished"] == ["model-finished"]
    started = [event.stage for event in events if event.kind == "stage-started"]
    assert started == ["fetch", "convert", "inspect"]


def test_what_is_here_takes_one_step(place: Workplace, elsewhere: Elsewhere) -> None:
    networks.conv(place.folder / "net.onnx")
    report = elsewhere.run(work(place, "net.onnx"))
    assert [stage["name"] for stage in report["stages"]] == ["fetch", "convert", "inspect"]


def test_a_fetch_that_fails_ends_the_model_before_anything_is_carried(place: Workplace, elsewhere: Elsewhere) -> None:
    (place.folder / "pack.zip").write_bytes(b"no archive")
    elsewhere.argv = ["false"]
    report = elsewhere.run(work(place, "pack.zip!net.onnx"))
    assert report["error"] is not None
    assert report["error"]["stage"] == "fetch"


def test_an_entrypoint_that_leaves_no_report_fails_its_model_with_its_last_lines(
    place: Workplace, elsewhere: Elsewhere
) -> None:
    networks.conv(place.folder / "net.onnx")
    elsewhere.argv = [sys.executable, "-c", "import sys; sys.exit('out of luck')"]
    report = elsewhere.run(work(place, "net.onnx"))
    error = report["error"]
    assert error is not None
    assert (report["status"], error["code"], error["retryable"]) == ("failed", "entrypoint-failed", True)
    assert "the task ended with status 1 and without a report" in error["message"]
    assert "out of luck" in error["message"]
    assert report["log"] is not None
    assert "out of luck" in Path(report["log"]).read_text()


def test_an_engine_that_does_not_arrive_is_no_engine(place: Workplace, elsewhere: Elsewhere) -> None:
    networks.conv(place.folder / "net.onnx")
    elsewhere.lost = ErrorInfo(code="lost", stage="inspect", message="m", hint="h", retryable=True)
    report = elsewhere.run(work(place, "net.onnx"))
    assert (report["status"], report["engine"], report["error"]) == ("failed", None, elsewhere.lost)


def test_what_was_stopped_is_an_interruption_and_no_failure(place: Workplace, elsewhere: Elsewhere) -> None:
    networks.conv(place.folder / "net.onnx")
    elsewhere.stop()
    with pytest.raises(InterruptedRunError):
        elsewhere.run(work(place, "net.onnx"))
