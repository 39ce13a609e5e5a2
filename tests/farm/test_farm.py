"""What a farm promises: every pair of model and target ends in its class, built once or failed with a code."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import distributed
import pytest

import prepare_models
from prepare_models import errors
from prepare_models.farm.cluster import Cluster, Want
from prepare_models.options import ContainerOptions, FarmOptions
from tests import networks
from tests.cable import Cable
from tests.command import COMMAND
from tests.farm.processes import Farm, Process, farm
from tests.farm.store_server import BUCKET, S3, s3

PAIRS = int(os.environ.get("PREPARE_MODELS_FARM_PAIRS", "8"))  # 40 takes minutes
LARGE = PAIRS > 8  # with a real S3 server, whose clients take a second of each process to import
RTX = "portable/rtx1.7"  # what workers find here; the other class is one by name


@pytest.fixture(scope="module")
def server() -> Iterator[S3 | None]:
    with s3() if LARGE else contextlib.nullcontext() as started:
        yield started


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, server: S3 | None) -> Iterator[Farm]:
    folder = tmp_path_factory.mktemp("farm")
    url, variables = (server.url, server.variables) if server else (f"file://{folder}/store", {})
    with patch.dict(os.environ, variables), farm(folder, url) as started:
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
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


def placed(process: Process) -> dict[str, str]:
    """Return the worker that each model was given to, the last one where there were several."""
    found = [each for each in events(process) if str(each.get("phase", "")).startswith("on ")]
    return {each["model"]: each["phase"].removeprefix("on ") for each in found}


def api(site: Farm, **farm_: Any) -> prepare_models.RunReport:
    options = FarmOptions(**{"scheduler": site.address, "store": site.store, **farm_})
    return prepare_models.run(
        site.folder / "models.yaml", models_dir=site.folder / "models-api", executor="dask",
        containers=ContainerOptions(farm=options),
    )  # fmt: skip


def test_pairs_are_built_once_in_their_classes_whatever_breaks(site: Farm) -> None:
    site.manifest(*models(site), targets={"a": RTX, "b": "dev-b"})
    with Cable("127.0.0.1", int(site.address.rpartition(":")[2])) as line:
        run = site.run("main", address=f"tcp://127.0.0.1:{line.port}")
        run.until(lambda _: any(each.get("stage") == "convert" for each in events(run)))
        line.break_()
        first = next(name for name in placed(run) if name.startswith("a/"))
        run.until(lambda _: any(name.startswith("a/") and name != first for name in placed(run)))
        victim = next(worker for name, worker in placed(run).items() if name.startswith("a/") and name != first)
        site.workers[victim].kill()
        ended = next(worker for name, worker in placed(run).items() if name.startswith("b/"))
        site.workers[ended].kill(signal.SIGTERM)
        assert run.wait() == 0, run.text()
        assert site.workers[ended].wait() == 0

    report = site.report("main")
    assert list(report) == [f"{'ab'[index % 2]}/net{index}" for index in range(PAIRS)]
    odd: list[str] = []
    for name, model in report.items():
        assert model["status"] == "built"
        plan = site.folder / "models-main" / name / "1" / "model.plan"
        assert (Path(model["engine"]["path"]), plan.stat().st_size) == (plan, model["engine"]["bytes"])
        builders = site.built(name)
        assert all(builder.startswith(name[0]) for builder in builders), (name, builders)
        lived = [builder for builder in builders if builder not in (victim, ended)]
        assert len(lived) <= 1, (name, builders)
        assert len({*builders}) == len(builders), (name, builders)
        odd += [name] if len(builders) != 1 else []
    # An ended worker may have built what is built again; a killed one may not have logged what it built.
    assert len(odd) <= 3, odd
    again = site.run("main")
    assert again.wait() == 0
    assert {model["status"] for model in site.report("main").values()} == {"up-to-date"}


def test_a_client_comes_back_however_much_is_told_meanwhile(site: Farm) -> None:
    """Events that reach a returning client before the scheduler's greeting made it wait for ever."""
    with (
        Cable("127.0.0.1", int(site.address.rpartition(":")[2])) as line,
        distributed.Client(site.address, set_as_default=False) as teller,
    ):
        farm = Cluster(FarmOptions(scheduler=f"tcp://127.0.0.1:{line.port}"))
        ended = threading.Event()

        def talk() -> None:
            while not ended.wait(0.0005):
                teller.log_event("prepare-models", ("another", "line"))

        talking = threading.Thread(target=talk)
        talking.start()
        try:
            for number in range(10):
                want = Want(f"abs-{number}", RTX, 0)
                assert farm.perform(abs, -number, want, lambda _: None) == number
                line.break_()
        finally:
            ended.set()
            talking.join()
            farm.stop()


def test_a_half_written_object_and_a_busy_store_are_named(site: Farm, server: S3 | None) -> None:
    digest = site.report("main")["b/net1"]["engine"]["sha256"]
    objects = site.folder / "store" / "objects" / digest
    place, files = f"{BUCKET}/site/objects/{digest}", server.files() if server else None
    whole = files.cat(place) if files else objects.read_bytes()
    half = whole[: len(whole) // 2]
    _ = files.pipe(place, half) if files else objects.write_bytes(half)
    site.manifest({"name": "net1", "source": "net1.onnx"}, targets={"b": "dev-b"})
    report = api(site)
    assert report.failed[0]["error"] is not None
    assert report.failed[0]["error"]["code"] == "shared-engine-damaged"
    _ = files.pipe(place, whole) if files else objects.write_bytes(whole)

    if server is not None:
        server.refuse(1000)
    else:
        (site.folder / "store").rename(site.folder / "away")
        (site.folder / "store").write_text("no directory")
    report = api(site)
    assert report.failed[0]["error"] is not None
    assert report.failed[0]["error"]["code"] == "shared-store-unreachable"
    if server is not None:
        server.refuse(0)
    else:
        (site.folder / "store").unlink()
        (site.folder / "away").rename(site.folder / "store")
    assert api(site).models["b/net1"]["status"] in ("built", "restored")


def test_one_manifest_gives_equal_engines_on_a_farm_and_on_one_machine(site: Farm) -> None:
    site.manifest(*models(site), targets={"a": RTX, "b": "dev-b"})
    report = prepare_models.run(
        site.folder / "models.yaml", models=["net0", "net1"], models_dir=site.folder / "models-local", executor="local"
    )
    here, elsewhere = report.document["models"]
    assert (here["name"], here["status"]) == ("a/net0", "built")
    assert here["engine"] is not None
    assert here["engine"]["sha256"] == site.report("main")["a/net0"]["engine"]["sha256"]
    assert (elsewhere["name"], elsewhere["status"]) == ("b/net1", "skipped")
    assert elsewhere["reason"] == "dev-b is not the device class that engines are built for here"
    files = {path.name for path in (site.folder / "models-local/a/net0").iterdir()}
    assert files == {path.name for path in (site.folder / "models-main/a/net0").iterdir()}


def test_the_client_may_stop_or_go_away_and_come_back(site: Farm) -> None:
    networks.heavy(site.folder / "heavy.onnx", layers=30)
    site.manifest({"name": "heavy", "source": "heavy.onnx"}, targets={"b": "dev-b"})
    nothing = api(site, attach=True)
    assert nothing.failed[0]["error"] is not None
    assert nothing.failed[0]["error"]["code"] == "farm-not-under-way"

    stopped = site.run("stopped")
    stopped.until(lambda _: placed(stopped) != {})
    stopped.kill(signal.SIGINT)
    assert stopped.wait() == 130
    assert site.built("b/heavy") == []

    gone = site.run("gone")
    gone.until(lambda _: placed(gone) != {})
    gone.kill()
    assert api(site, attach=True).models["b/heavy"]["status"] == "built"
    assert len(site.built("b/heavy")) == 1


def test_what_cannot_be_built_is_refused_at_once(site: Farm) -> None:
    networks.conv(site.folder / "net.onnx")
    site.manifest({"name": "net", "source": "net.onnx"}, targets={"orin": "sm_87/trt10.3", "b": "dev-b"})
    with pytest.raises(errors.FarmError, match=f"no worker of sm_87/trt10.3; the farm has dev-b, {RTX}"):
        api(site)
    with pytest.raises(errors.UsageError, match="leaves this machine without TLS"):
        api(site, scheduler="tcp://192.0.2.1:8786")
    site.manifest({"name": "net", "source": "net.onnx", "key": "secret"}, targets={"b": "dev-b"})
    error = api(site).failed[0]["error"]
    assert error is not None
    assert "a key in the manifest is not sent to a farm" in error["message"]

    older = "import prepare_models as p; p.__version__ = '0.0.1'; from prepare_models.__main__ import main; main()"
    old = site.start(
        "old", os.fspath(Path(COMMAND).parent / "python"), "-c", older, "worker", "--executor", "local",
        "--scheduler", site.address, "--store", site.store, "--name", "old", "--target", "dev-c",
    )  # fmt: skip
    old.until(lambda text: " builds for " in text)
    with pytest.raises(errors.FarmError, match=r"old has prepare-models 0\.0\.1; this machine has prepare-models "):
        api(site)
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
    worker = site.workers[placed(run)["b/last"]]
    assert worker.wait() == 3
    assert "farm-lost" in worker.text()


def test_members_know_each_other_by_certificates(tmp_path: Path) -> None:
    names = "-subj /CN=farm -addext subjectAltName=IP:127.0.0.1"
    for name in ("ca", "stranger"):
        command = f"openssl req -x509 -newkey ed25519 -nodes -days 2 {names} -keyout {name}-key.pem -out {name}.pem"
        subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    member = {"tls_ca": tmp_path / "ca.pem", "tls_cert": tmp_path / "ca.pem", "tls_key": tmp_path / "ca-key.pem"}
    stranger = {"tls_cert": tmp_path / "stranger.pem", "tls_key": tmp_path / "stranger-key.pem"}
    options = [word for part, file in member.items() for word in (f"--{part.replace('_', '-')}", str(file))]
    scheduler_options = [word.replace("--tls-ca", "--tls-ca-file") for word in options]
    with farm(tmp_path, f"file://{tmp_path}/store", scheduler=("--protocol", "tls", *scheduler_options)) as site:
        site.worker("w", *options)
        site.ready()
        networks.conv(tmp_path / "net.onnx")
        site.manifest({"name": "net", "source": "net.onnx"})
        assert api(site, **member).models["net"]["status"] == "built"
        with pytest.raises(errors.FarmError) as refused:
            api(site, **{**member, **stranger})
        assert refused.value.code == "farm-unreachable"
