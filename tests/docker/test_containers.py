"""What a run in containers gives, and what the daemon was asked for it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests import networks
from tests.command import Workplace
from tests.docker.conftest import ROOT, Daemon, DockerPlace, Witness
from tests.entrypoint.model_server import Answer, ModelServer

CALLER = 12345


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_container_builds_the_same_engine_as_this_python(place: DockerPlace, nothing_left: Callable[[], None]) -> None:
    quickstart = str(ROOT / "examples/quickstart/models.yaml")
    for executor in ("docker", "local"):
        done = place.call("run", quickstart, "--executor", executor, "--models-dir", executor)
        assert done.status == 0, done.stderr
    plans = [path.relative_to(place.folder / "local") for path in (place.folder / "local").rglob("model.plan")]
    assert len(plans) == 2
    for plan in plans:
        assert sha256(place.folder / "docker" / plan) == sha256(place.folder / "local" / plan)
    nothing_left()


def test_engine_of_a_container_is_up_to_date_for_either_executor(place: DockerPlace) -> None:
    networks.conv(place.folder / "model.onnx")
    place.write({"name": "net", "source": "model.onnx"})
    assert place.run().model("net")["status"] == "built"
    assert place.run().model("net")["status"] == "up-to-date"
    again = place.call("run", "models.yaml", "--models-dir", "models", "--executor", "local", "--json")
    assert again.model("net")["status"] == "up-to-date"


def test_auto_takes_containers_where_the_image_is_there(place: DockerPlace) -> None:
    networks.conv(place.folder / "model.onnx")
    place.write({"name": "net", "source": "model.onnx"})
    done = place.call("run", "models.yaml", "--models-dir", "models", "--json")
    assert done.report["executor"] == "docker"


def test_auto_takes_this_python_where_the_image_is_not(tmp_path: Path, daemon: Daemon) -> None:
    place = Workplace(tmp_path)
    networks.conv(place.folder / "model.onnx")
    place.write({"name": "net", "source": "model.onnx"})
    away = str(tmp_path / "no-daemon.sock")
    done = place.call("run", "models.yaml", "--models-dir", "models", "--json", DOCKER_HOST=f"unix://{away}")
    assert done.status == 0, done.stderr
    assert done.report["executor"] == "local"


@pytest.fixture
def open_place(image: str) -> Iterator[DockerPlace]:
    """A workplace that another user than this one can reach."""
    with tempfile.TemporaryDirectory(prefix="pm-open-") as folder:
        yield DockerPlace(Path(folder))


@pytest.fixture
def place_outside_tmp(image: str) -> Iterator[DockerPlace]:
    """A workplace where a container's read-only root shows: its /tmp can be written, everything else can't."""
    with tempfile.TemporaryDirectory(prefix="pm-", dir="/var/tmp") as folder:
        yield DockerPlace(Path(folder))


def test_files_belong_to_the_caller(open_place: DockerPlace, daemon: Daemon, witness: Witness) -> None:
    place = open_place
    networks.conv(place.folder / "model.onnx")
    place.write({"name": "net", "source": "model.onnx"})
    for path in (place.folder, *place.folder.iterdir()):
        os.chown(path, CALLER, CALLER)
    socket_group = (daemon.folder / "docker.sock").stat().st_gid
    # The interpreter may lie in a home that is closed to others: reading is allowed, the rest is as for any user.
    caller = ["setpriv", f"--reuid={CALLER}", f"--regid={CALLER}", f"--groups={socket_group}"]
    caller += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    done = subprocess.run(
        [*caller, *place.command()],
        env=place.environment(HOME="/nonexistent", PREPARE_MODELS_CACHE_DIR=str(place.cache_dir)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = [place.models_dir, *place.models_dir.rglob("*"), *place.cache_dir.rglob("*")]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(CALLER, CALLER)}
    assert [seen["Config"]["User"] for seen in witness.seen] == [f"{CALLER}:{CALLER}"] * 2  # describe, then run


def test_container_that_converts_has_nothing_but_what_it_needs(place: DockerPlace, witness: Witness) -> None:
    networks.conv(place.folder / "model.onnx")
    place.write({"name": "net", "source": "model.onnx"})
    assert place.run().status == 0
    seen = witness.seen[-1]
    host = seen["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert host["NetworkMode"] == "none"
    assert host["ReadonlyRootfs"] is True
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["Privileged"] is False
    assert host["PidsLimit"] == 4096
    assert host["Memory"] > 0
    assert not host["Binds"]
    assert not host["Devices"]
    mounts = {mount["Destination"]: mount["RW"] for mount in seen["Mounts"]}
    assert mounts == {
        "/run/prepare-models/job": False,
        "/run/prepare-models/out": True,
        str(place.folder / "model.onnx"): False,
        str(place.models_dir / "net"): True,
        str(place.cache_dir / "work"): True,
        str(place.cache_dir / "logs"): True,
        str(place.cache_dir / "timing"): True,
    }


def test_download_and_gpu_never_meet_in_one_container(place_outside_tmp: DockerPlace, witness: Witness) -> None:
    place = place_outside_tmp
    model = networks.conv(place.folder / "served.onnx").read_bytes()
    with ModelServer() as server:
        url = server.serve("/model.onnx", Answer(model))
        place.write({"name": "net", "source": url, "sha256": hashlib.sha256(model).hexdigest()})
        done = place.run()
    assert done.status == 0, done.stderr
    assert [stage["name"] for stage in done.model("net")["stages"]] == ["fetch", "convert", "inspect"]
    fetch, convert = witness.seen[-2:]
    assert fetch["HostConfig"]["NetworkMode"] == "host"
    assert "NVIDIA_VISIBLE_DEVICES=void" in fetch["Config"]["Env"]
    assert str(place.models_dir / "net") not in {mount["Destination"] for mount in fetch["Mounts"]}
    assert convert["HostConfig"]["NetworkMode"] == "none"
    downloads = [
        mount["RW"] for mount in convert["Mounts"] if mount["Destination"] == str(place.cache_dir / "downloads")
    ]
    assert downloads == [False]


def test_failed_download_ends_the_model_before_anything_is_built(place: DockerPlace, witness: Witness) -> None:
    with ModelServer() as server:
        place.write({"name": "net", "source": server.url + "/absent.onnx", "sha256": "0" * 64})
        done = place.run()
    assert done.status == 1
    assert done.model("net")["error"]["code"] == "source-not-found"
    assert not place.directories()
    assert {seen["HostConfig"]["NetworkMode"] for seen in witness.seen[-1:]} == {"host"}


def test_key_is_a_file_for_the_caller_alone(place: DockerPlace, witness: Witness) -> None:
    (place.folder / "model.etlt").write_bytes(b"\0\0\0\0" + os.urandom(64))
    place.write({"name": "net", "source": "model.etlt", "key": {"env": "MODEL_KEY"}})
    modes: list[int] = []

    def look_at_the_key(seen: dict[str, Any]) -> None:
        keys = [Path(m["Source"]) for m in seen["Mounts"] if m["Destination"] == "/run/prepare-models/key"]
        modes.extend(key.stat().st_mode & 0o777 for key in keys)

    witness.on_seen.append(look_at_the_key)
    done = place.run(MODEL_KEY="a secret word")
    assert done.model("net")["error"]["code"] in ("etlt-codec-missing", "etlt-key-wrong")
    assert modes == [0o400]
    told = json.dumps(witness.seen) + done.stdout + done.stderr
    assert "a secret word" not in told
    key = next(m for m in witness.seen[-1]["Mounts"] if m["Destination"] == "/run/prepare-models/key")
    assert key["RW"] is False
    assert not Path(key["Source"]).exists()


def test_external_data_of_a_model_comes_along(place: DockerPlace, witness: Witness) -> None:
    model = onnx.load(networks.conv(place.folder / "plain.onnx"))
    onnx.save(model, place.folder / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    (place.folder / "private.txt").write_text("not for the container")
    place.write({"name": "net", "source": "model.onnx"})
    assert place.run().status == 0
    beside = {mount["Source"] for mount in witness.seen[-1]["Mounts"] if Path(mount["Source"]).parent == place.folder}
    assert beside == {str(place.folder / "model.onnx"), str(place.folder / "weights.bin")}


def test_parser_error_in_a_container_reads_as_one_here(place: DockerPlace) -> None:
    networks.unsupported(place.folder / "model.onnx")
    place.write({"name": "net", "source": "model.onnx"})
    error = place.run().model("net")["error"]
    assert error["code"] == "plugin-missing"
    assert "mystery_node" in error["message"]
    assert not place.directories()


def test_progress_is_told_while_the_container_runs(place: DockerPlace) -> None:
    networks.heavy(place.folder / "model.onnx", layers=5)
    place.write({"name": "net", "source": "model.onnx"})
    done = subprocess.run(
        [*place.command("-v", "--log-format", "json")],
        env=place.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    told = [json.loads(line) for line in done.stderr.splitlines()]
    assert {"parse", "build", "write"} <= {line.get("phase") for line in told}
    assert [line["event"] for line in told if line["event"].endswith(" done")] == [
        "fetch done",
        "convert done",
        "inspect done",
    ]


def test_path_with_unusual_characters(place: DockerPlace) -> None:
    odd = place.folder / "a:b, c=d ü"
    odd.mkdir()
    networks.conv(odd / "model.onnx")
    place.write({"name": "net", "source": f"{odd.name}/model.onnx"})
    assert place.run().status == 0


def test_plan_tells_the_executor(place: DockerPlace) -> None:
    networks.conv(place.folder / "model.onnx")
    place.write({"name": "net", "source": "model.onnx"})
    done = place.call("plan", "models.yaml", "--executor", "docker", "--json")
    document = json.loads(done.stdout)
    assert document["executor"] == "docker"
    assert document["runtime"]["backend"]["name"] == "tensorrt_rtx"


def test_random_bytes_are_no_onnx_model(place: DockerPlace) -> None:
    (place.folder / "model.onnx").write_bytes(np.random.default_rng(0).bytes(1000))
    place.write({"name": "net", "source": "model.onnx"})
    assert place.run().model("net")["error"]["stage"] == "convert"
