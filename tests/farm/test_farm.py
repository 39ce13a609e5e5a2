"""What a farm promises: every pair of model and target ends in its class, built once or failed with a code."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import networks
from tests.command import COMMAND
from tests.farm.processes import Farm, Line, Process, farm
from tests.farm.store_server import BUCKET, S3, s3

PAIRS = int(os.environ.get("PREPARE_MODELS_FARM_PAIRS", "8"))
RTX = "portable/rtx1.7"  # what workers find here; the other class is one by name


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with s3() as started:
        yield started


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, server: S3) -> Iterator[Farm]:
    with farm(tmp_path_factory.mktemp("farm"), server.url, **server.variables) as started:
        for name in ("a1", "a2"):
            started.worker(name)
        for name in ("b1", "b2"):
            started.worker(name, "--target", "dev-b")
        started.ready()
        yield started


def models(site: Farm) -> list[dict[str, Any]]:
    """Return networks that differ, so that each pair has an engine of its own, half of them for each target."""
    found = []
    for index in range(PAIRS):
        networks.conv(site.folder / f"net{index}.onnx", seed=index)
        found.append({"name": f"net{index}", "source": f"net{index}.onnx", "targets": ["ab"[index % 2]]})
    return found


def events(process: Process) -> list[dict[str, Any]]:
    lines = process.text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def placed(process: Process) -> dict[str, str]:
    """Return the worker that each model was given to, the last one where there were several."""
    found = [each for each in events(process) if str(each.get("phase", "")).startswith("on ")]
    return {each["model"]: each["phase"].removeprefix("on ") for each in found}


def test_pairs_are_built_once_in_their_classes_whatever_breaks(site: Farm, server: S3) -> None:
    site.manifest(*models(site), targets={"a": RTX, "b": "dev-b"})

    server.busy = True
    run = site.run("busy", "net0")
    assert run.wait() == 1
    error = site.report("busy")["a/net0"]["error"]
    assert (error["code"], "Service Unavailable" in error["message"]) == ("shared-store-unreachable", True), error
    server.busy = False

    line = Line(int(site.address.rpartition(":")[2]))
    run = site.run("main", address=line.address)
    run.until(lambda _: sum(each.get("stage") == "convert" for each in events(run)) >= 1)
    line.break_()
    run.until(lambda _: any(name.startswith("a/") and name != "a/net0" for name in placed(run)))
    victim = next(worker for name, worker in placed(run).items() if name.startswith("a/") and name != "a/net0")
    site.workers[victim].kill()
    assert run.wait() == 0, run.text()
    line.close()

    report = site.report("main")
    assert len(report) == PAIRS
    assert {model["status"] for model in report.values()} <= {"built", "restored"}
    for name, model in report.items():
        plan = site.folder / "models-main" / name / "1" / "model.plan"
        assert Path(model["engine"]["path"]) == plan
        assert plan.stat().st_size == model["engine"]["bytes"]
        (builder,) = site.built(name) if PAIRS == len(report) else [""]
        assert builder.startswith(name[0]), (name, builder)


def test_a_half_written_object_is_refused_and_named(site: Farm, server: S3) -> None:
    record = site.report("main")["b/net1"]
    place = f"{BUCKET}/site/objects/{record['engine']['sha256']}"
    files = server.files()
    whole = files.cat(place)
    files.pipe(place, whole[: len(whole) // 2])
    assert site.run("half", "net1", "net3").wait() == 1
    report = site.report("half")
    assert report["b/net1"]["error"]["code"] == "shared-engine-damaged"
    assert report["b/net3"]["status"] in ("built", "restored")
    files.pipe(place, whole)


def test_one_manifest_gives_equal_engines_on_a_farm_and_on_one_machine(site: Farm) -> None:
    local = site.start(
        "local", COMMAND, "run", "models.yaml", "net0", "net1", "--models-dir", "models-local", "--executor", "local",
        "--report", "local.json",
    )  # fmt: skip
    assert local.wait() == 0, local.text()
    report = site.report("local")
    assert report["b/net1"]["status"] == "skipped"
    assert "dev-b is not the device class" in report["b/net1"]["reason"]
    assert report["a/net0"]["engine"]["sha256"] == site.report("main")["a/net0"]["engine"]["sha256"]
    files = {path.name for path in (site.folder / "models-local/a/net0").iterdir()}
    assert files == {path.name for path in (site.folder / "models-main/a/net0").iterdir()}


def test_the_client_may_stop_or_go_away_and_come_back(site: Farm) -> None:
    networks.heavy(site.folder / "heavy.onnx", layers=30)
    site.manifest({"name": "heavy", "source": "heavy.onnx"}, targets={"b": "dev-b"})

    nothing = site.run("early", "--attach")
    assert nothing.wait() == 1
    assert site.report("early")["b/heavy"]["error"]["code"] == "farm-not-under-way"

    stopped = site.run("stopped")
    stopped.until(lambda _: placed(stopped) != {})
    stopped.kill(signal.SIGINT)
    assert stopped.wait() == 130
    assert site.built("b/heavy") == []

    gone = site.run("gone")
    gone.until(lambda _: any(each.get("stage") == "convert" for each in events(gone)))
    gone.kill()
    back = site.run("back", "--attach")
    assert back.wait() == 0, back.text()
    assert site.report("back")["b/heavy"]["status"] == "built"
    assert len(site.built("b/heavy")) == 1
    assert any(each.get("stage") == "convert" for each in events(back))


def test_what_cannot_be_built_is_refused_at_once(site: Farm) -> None:
    networks.conv(site.folder / "net.onnx")
    site.manifest({"name": "net", "source": "net.onnx"}, targets={"orin": "sm_87/trt10.3", "b": "dev-b"})
    absent = site.run("absent")
    assert absent.wait() == 3
    assert "farm-target-absent" in absent.text()
    assert f"no worker of sm_87/trt10.3; the farm has dev-b, {RTX}" in absent.text()

    secret = {"name": "net", "source": "net.onnx", "key": "tlt_encode"}
    site.manifest(secret, targets={"b": "dev-b"})
    assert site.run("secret").wait() == 1
    assert "is not sent to a farm" in site.report("secret")["b/net"]["error"]["message"]

    beyond = site.run("beyond", address="tcp://192.0.2.1:8786")
    assert beyond.wait() == 2
    assert "leaves this machine without TLS" in beyond.text()

    older = "import prepare_models as p; p.__version__ = '0.0.1'; from prepare_models.__main__ import main; main()"
    old = site.start(
        "old", os.fspath(Path(COMMAND).parent / "python"), "-c", older, "worker", "--executor", "local",
        "--scheduler", site.address, "--store", site.store, "--name", "old", "--target", "dev-c",
    )  # fmt: skip
    old.until(lambda text: " builds for " in text)
    differs = site.run("differs")
    assert differs.wait() == 3
    assert "old has prepare-models 0.0.1; this machine has prepare-models " in differs.text()
    old.kill(signal.SIGTERM)
    assert old.wait() == 0


def test_a_scheduler_that_is_gone_ends_the_run_with_a_code(site: Farm) -> None:
    networks.heavy(site.folder / "last.onnx", layers=20)
    site.manifest({"name": "last", "source": "last.onnx"}, targets={"b": "dev-b"})
    run = site.run("orphan")
    run.until(lambda _: placed(run) != {})
    site.scheduler.kill()
    assert run.wait() == 1
    assert site.report("orphan")["b/last"]["error"]["code"] == "farm-lost"
    assert site.workers["b1"].wait() == 3
    assert "farm-lost" in site.workers["b1"].text()
