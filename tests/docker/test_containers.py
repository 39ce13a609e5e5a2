"""What a run in containers gives, and what the daemon was asked for it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from tests import networks
from tests.docker.conftest import CALLER, ROOT, Daemon, DockerPlace, Witness, run_as_caller


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_container_builds_the_same_engine_as_this_python(place: DockerPlace, nothing_left: Callable[[], None]) -> None:
    quickstart = str(ROOT / "examples/quickstart/models.yaml")
    for executor in ("docker", "local"):
        done = place.call("run", quickstart, "--executor", executor, "--models-dir", executor, "--force", "--json")
        assert {model["status"] for model in done.report["models"]} == {"built"}, done.stderr
    plans = [path.relative_to(place.folder / "local") for path in (place.folder / "local").rglob("model.plan")]
    assert len(plans) == 2
    for plan in plans:
        assert sha256(place.folder / "docker" / plan) == sha256(place.folder / "local" / plan)
    nothing_left()


def test_engine_of_a_container_is_up_to_date_for_either_executor(ready: DockerPlace) -> None:
    assert ready.run().model("net")["status"] == "built"
    assert ready.run().model("net")["status"] == "up-to-date"
    again = ready.call("run", "models.yaml", "--models-dir", "models", "--executor", "local", "--json")
    assert again.model("net")["status"] == "up-to-date"


def test_auto_takes_containers_where_the_image_is_there(ready: DockerPlace) -> None:
    done = ready.call("run", "models.yaml", "--models-dir", "models", "--json")
    assert done.report["executor"] == "docker"


def test_auto_takes_this_python_where_no_engine_answers(ready: DockerPlace) -> None:
    away = f"unix://{ready.folder}/no-daemon.sock"
    done = ready.call("run", "models.yaml", "--models-dir", "models", "--json", DOCKER_HOST=away)
    assert done.status == 0, done.stderr
    assert done.report["executor"] == "local"


def test_files_belong_to_the_caller(open_place: DockerPlace, daemon: Daemon, witness: Witness) -> None:
    place = open_place
    done = run_as_caller(place, groups=(socket_group(daemon),))
    assert done.returncode == 0, done.stderr
    made = [place.models_dir, *place.models_dir.rglob("*"), *place.cache_dir.rglob("*")]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(CALLER, CALLER)}
    assert [seen["Config"]["User"] for seen in witness.seen] == [f"{CALLER}:{CALLER}"] * 2  # describe, then run


def test_files_of_the_callers_groups_are_read_and_written(open_place: DockerPlace, daemon: Daemon) -> None:
    """As on a share on which a group works together."""
    share = 4242
    model = open_place.folder / "model.onnx"
    open_place.models_dir.mkdir()
    for path, mode in ((model, 0o640), (open_place.models_dir, 0o2770)):
        os.chown(path, 0, share)
        path.chmod(mode)
    done = run_as_caller(open_place, groups=(socket_group(daemon), share), umask=0o007)
    assert done.returncode == 0, done.stderr + done.stdout
    made = [path.stat() for path in open_place.models_dir.rglob("*")]
    assert {(status.st_gid, status.st_mode & 0o007) for status in made} == {(share, 0)}


def test_what_a_container_writes_is_for_the_caller_alone_where_its_umask_says_so(
    open_place: DockerPlace, daemon: Daemon
) -> None:
    done = run_as_caller(open_place, groups=(socket_group(daemon),), umask=0o077)
    assert done.returncode == 0, done.stderr
    made = [open_place.models_dir, *open_place.models_dir.rglob("*")]
    assert len(made) > 3
    assert {path.stat().st_mode & 0o077 for path in made} == {0}


def socket_group(daemon: Daemon) -> int:
    """Return the group that may speak with the daemon."""
    return (daemon.folder / "docker.sock").stat().st_gid


def test_container_that_converts_has_nothing_but_what_it_needs(ready: DockerPlace, witness: Witness) -> None:
    assert ready.run().status == 0
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
        str(ready.folder / "model.onnx"): False,
        str(ready.models_dir / "net"): True,
        str(ready.cache_dir / "work"): True,
        str(ready.cache_dir / "logs"): True,
        str(ready.cache_dir / "timing"): True,
    }


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


def test_plan_tells_the_executor(ready: DockerPlace) -> None:
    done = ready.call("plan", "models.yaml", "--executor", "docker", "--json")
    document = json.loads(done.stdout)
    assert document["executor"] == "docker"
    assert document["runtime"]["backend"]["name"] == "tensorrt_rtx"


def test_random_bytes_are_no_onnx_model(place: DockerPlace) -> None:
    (place.folder / "model.onnx").write_bytes(np.random.default_rng(0).bytes(1000))
    place.write({"name": "net", "source": "model.onnx"})
    assert place.run().model("net")["error"]["stage"] == "convert"


def test_check_judges_in_a_container_and_builds_nothing(place: DockerPlace, witness: Witness) -> None:
    networks.conv(place.folder / "model.onnx")
    networks.unsupported(place.folder / "bad.onnx")
    place.write({"name": "good", "source": "model.onnx"}, {"name": "bad", "source": "bad.onnx"})
    done = place.call("check", "models.yaml", "--executor", "docker", "--json")
    good, bad = json.loads(done.stdout)["models"]
    assert (done.status, good["status"], bad["error"]["code"]) == (1, "checked", "plugin-missing")
    assert good["preflight"]["layers"] > 0
    for seen in witness.seen:
        assert seen["HostConfig"]["NetworkMode"] == "none"
        assert not [mount for mount in seen["Mounts"] if mount["RW"] and str(place.cache_dir) not in mount["Source"]
                    and mount["Destination"] != "/run/prepare-models/out"]  # fmt: skip
    assert not place.models_dir.exists()


def test_a_container_compares_what_it_built_and_what_is_there(
    place: DockerPlace, witness: Witness, nothing_left: Callable[[], None]
) -> None:
    networks.conv(place.folder / "model.onnx")
    (place.folder / "pictures").mkdir()
    Image.new("RGB", (20, 10), (255, 0, 0)).save(place.folder / "pictures" / "red.png")
    model = {"name": "net", "source": "model.onnx", "precision": "fp16", "verify": {"images": "pictures"}}
    place.write(model)
    built = place.run().model("net")
    assert (built["status"], built["verification"]["verdict"]) == ("built", "passed"), built["error"]
    before = place.files()
    inside, here = (place.call("verify", "models.yaml", "--executor", name, "--json") for name in ("docker", "local"))
    assert (inside.status, here.status) == (0, 0), inside.stderr
    found = inside.model("net")["verification"]
    assert found["candidate"] == "rewritten-onnx"
    assert found["outputs"][0]["max_abs"] == pytest.approx(
        here.model("net")["verification"]["outputs"][0]["max_abs"], rel=0.1
    )
    assert place.files() == before
    seen = witness.seen[-1]
    assert seen["HostConfig"]["NetworkMode"] == "none"
    mounts = {mount["Destination"]: mount["RW"] for mount in seen["Mounts"]}
    assert mounts[str(place.models_dir / "net")] is False
    place.write({**model, "verify": {"images": "pictures", "thresholds": {"max_abs": 1e-9}}})
    refused = place.call("verify", "models.yaml", "--executor", "docker", "--json")
    assert (refused.status, refused.model("net")["error"]["code"]) == (1, "verification-failed")
    nothing_left()


def test_a_model_that_was_never_built_has_no_engine_in_a_container_either(ready: DockerPlace) -> None:
    done = ready.call("verify", "models.yaml", "--executor", "docker", "--json")
    assert (done.status, done.model("net")["error"]["code"]) == (1, "engine-missing")
    assert not ready.models_dir.exists()
