"""The entrypoint as the orchestrator starts it: a job file in, events on standard output, a report in a file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

import pytest

from prepare_models_entrypoint.contract import event
from prepare_models_entrypoint.contract.event import Event
from prepare_models_entrypoint.contract.job import Job, ModelJob

from .children import environment
from .model_server import Answer, ModelServer

ARGV = [sys.executable, "-m", "prepare_models_entrypoint"]


class Place:
    """The folders of one run."""

    def __init__(self, root: Path) -> None:
        self.root, self.control, self.cache, self.models = (root, root / "control", root / "cache", root / "models")
        self.control.mkdir()
        self.models.mkdir()

    def model(self, name: str, source: str, **more: Any) -> ModelJob:
        output_dir = str(self.models / name)
        return ModelJob(name=name, source=source, output_dir=output_dir, deploy_dir=output_dir, **more)

    def write(self, *models: ModelJob, **changes: Any) -> Path:
        raw = Job(run_id="run1", models=models, cache_dir=str(self.cache)).to_dict()
        path = self.control / "job.json"
        path.write_text(json.dumps({**raw, **changes}))
        return path

    def run(self, job: Path) -> "subprocess.CompletedProcess[str]":
        argv = [*ARGV, "run", str(job), str(self.control)]
        return subprocess.run(argv, capture_output=True, text=True, env=environment(), timeout=60, check=False)

    def report(self) -> Dict[str, Any]:
        document: Dict[str, Any] = json.loads((self.control / "report.json").read_text())
        return document

    def leftovers(self) -> List[str]:
        """Return what lies in the models directory or among the work directories."""
        found = [*self.models.iterdir(), *self.cache.glob("work/*/*"), *self.root.rglob("*partial*")]
        return sorted(str(path.relative_to(self.root)) for path in found)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def errors(report: Dict[str, Any]) -> Dict[str, str]:
    return {model["name"]: model["error"]["code"] for model in report["models"]}


def test_a_missing_source_fails_its_model_and_is_reported(place: Place) -> None:
    done = place.run(place.write(place.model("net", "/no/such/model.onnx")))
    assert done.returncode == 1
    report = place.report()
    assert (report["schema_version"], report["run_id"]) == (1, "run1")
    (model,) = report["models"]
    assert (model["name"], model["status"]) == ("net", "failed")
    assert model["error"]["code"] == "source-not-found"
    assert model["error"]["stage"] == "fetch"
    assert "/no/such/model.onnx" in model["error"]["message"]
    assert place.leftovers() == []
    assert done.stderr == ""


def test_standard_output_is_events_alone_in_order(place: Place) -> None:
    done = place.run(place.write(place.model("a", "/no/a.onnx"), place.model("b", "/no/b.onnx")))
    told = [Event.from_line(line) for line in done.stdout.splitlines()]
    assert [each.seq for each in told] == list(range(len(told)))
    assert [(each.kind, each.model, each.stage) for each in told] == [
        (event.OPENED, None, None),
        (event.STAGE_STARTED, "a", "fetch"),
        (event.STAGE_FINISHED, "a", "fetch"),
        (event.MODEL_FINISHED, "a", None),
        (event.STAGE_STARTED, "b", "fetch"),
        (event.STAGE_FINISHED, "b", "fetch"),
        (event.MODEL_FINISHED, "b", None),
        (event.CLOSED, None, None),
    ]
    assert told[0].data["backend"] is None
    assert told[-1].data["failed"] == ["a", "b"]
    assert sorted(each.time for each in told) == [each.time for each in told]


def test_without_a_backend_the_model_fails_with_the_command_that_helps(place: Place) -> None:
    (place.root / "net.onnx").write_bytes(b"\x08\x07\x12")
    done = place.run(place.write(place.model("net", str(place.root / "net.onnx"))))
    assert done.returncode == 1
    assert errors(place.report()) == {"net": "backend-missing"}
    assert "[local]" in place.report()["models"][0]["error"]["hint"]
    assert place.leftovers() == []


def test_one_models_failure_is_not_the_others(place: Place) -> None:
    (place.root / "net.onnx").write_bytes(b"\x08\x07\x12")
    (place.models / "blocked").write_text("a file, not a directory")
    good = str(place.root / "net.onnx")
    job = place.write(place.model("a", "/no"), place.model("blocked", good), place.model("c", good))
    assert place.run(job).returncode == 1
    assert errors(place.report()) == {
        "a": "source-not-found",
        "blocked": "output-not-writable",
        "c": "backend-missing",
    }


def test_a_bug_of_ours_in_one_model_does_not_take_the_others_along(place: Place) -> None:
    (place.root / "net.onnx").write_bytes(b"\x08\x07\x12")
    good = str(place.root / "net.onnx")
    names = ("a\0", "b\0")  # no path can hold this, and no manifest: nothing here is prepared for it
    done = place.run(place.write(*(place.model(name, good) for name in names)))
    assert done.returncode == 1
    assert errors(place.report()) == dict.fromkeys(names, "internal")
    assert "Traceback" in done.stderr
    assert Event.from_line(done.stdout.splitlines()[-1]).kind == event.CLOSED


def test_a_job_without_the_fetch_stage_takes_what_is_there(place: Place) -> None:
    (place.root / "net.onnx").write_bytes(b"\x08\x07\x12")
    models = (place.model("a", "https://127.0.0.1:9/net.onnx"), place.model("b", str(place.root / "net.onnx")))
    assert place.run(place.write(*models, stages=["convert", "inspect"])).returncode == 1
    assert errors(place.report()) == {"a": "source-not-found", "b": "backend-missing"}


def test_a_job_without_models_is_done(place: Place) -> None:
    assert place.run(place.write()).returncode == 0
    assert place.report()["models"] == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ("[]", "expected an object"),
        ('"job"', "expected an object"),
        ("{}", "no contract version"),
        ('{"contract": 2}', "contract version 2, this side uses version 1"),
        ('{"contract": 1, "stages": ["fetch"], "run_id": "r", "cache_dir": "/", "extra": 1}', "extra"),
        ('{"contract": 1, "stages": ["fly"], "run_id": "r", "cache_dir": "/"}', "fly"),
        ('{"contract": 1, "stages": ["fetch"], "run_id": "r", "cache_dir": "/", "models": [1]}', "expected dict"),
        ('{"contract": 1, "stages": ["fetch"], "run_id": "r", "cache_dir": "/", "models": [{}]}', "missing"),
    ],
)
def test_a_broken_job_is_refused_in_one_line(place: Place, text: str, told: str) -> None:
    job = place.control / "job.json"
    job.write_text(text)
    done = place.run(job)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert str(job) in done.stderr
    assert told in done.stderr
    assert not (place.control / "report.json").exists()


def test_shapes_that_are_no_range_are_refused_in_one_line(place: Place) -> None:
    raw = place.model("net", "/no").to_dict()
    for shapes in (3, [1, 3], "1x3"):
        done = place.run(place.write(models=[{**raw, "inputs": {"x": shapes}}]))
        assert (done.returncode, done.stdout) == (2, "")
        assert "inputs" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_an_absent_job_is_refused_in_one_line(place: Place) -> None:
    done = place.run(place.root / "absent.json")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


def test_describe_prints_the_environment(place: Place) -> None:
    done = subprocess.run([*ARGV, "describe"], capture_output=True, text=True, env=environment(), check=True)
    document = json.loads(done.stdout)
    assert document["contract"] == 1
    assert document["backend"] is None
    assert document["python"] == ".".join(map(str, sys.version_info[:3]))
    assert (document["gpu"] is None) == bool(document["gpu_reason"])


def test_inspect_prints_what_a_file_is(place: Place) -> None:
    (place.root / "m.etlt").write_bytes(bytes(64))
    argv = [*ARGV, "inspect", str(place.root / "m.etlt")]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment(), check=True)
    (answer,) = json.loads(done.stdout)["files"]
    assert answer["payload"] == "onnx"


def test_sigterm_ends_the_work_and_leaves_nothing(place: Place) -> None:
    with ModelServer() as server:
        url = server.serve("/model.onnx", Answer(bytes(3 << 20), stall=True))
        argv = [*ARGV, "run", str(place.write(place.model("net", url))), str(place.control)]
        with subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(NO_PROXY="127.0.0.1")
        ) as child:
            assert child.stdout is not None
            for line in child.stdout:
                if Event.from_line(line).kind == event.PROGRESS:
                    break
            child.send_signal(signal.SIGTERM)
            _, complaints = child.communicate(timeout=60)
    assert child.returncode == 143
    assert complaints == ""
    assert place.leftovers() == []
    assert not (place.control / "report.json").exists()


def test_a_reader_that_went_away_does_not_stop_the_work(place: Place) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    argv = [*ARGV, "run", str(place.write(place.model("net", "/no"))), str(place.control)]
    done = subprocess.run(argv, stdout=writer, stderr=subprocess.PIPE, env=environment(), timeout=60, check=False)
    os.close(writer)
    assert done.returncode == 1
    assert errors(place.report()) == {"net": "source-not-found"}


def test_onnx_runtime_tells_its_maker_nothing_of_models() -> None:
    """From 1.29 on it sends names and digests of models, unless it finds this variable when it is loaded."""
    program = (
        "import os, sys; from prepare_models_entrypoint.__main__ import main; main(['describe']);"
        "sys.exit(os.environ['ORT_DISABLE_TELEMETRY'] != '1')"
    )
    subprocess.run(
        [sys.executable, "-c", program], check=True, env=environment(), stdout=subprocess.DEVNULL, timeout=60
    )
