"""Sources that are not on this machine: fetched in a container that has a network and no GPU."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import networks
from tests.docker.conftest import DockerPlace, Witness
from tests.entrypoint.model_server import Answer, ModelServer
from tests.simulators import web
from tests.simulators.ngc import LEGACY_KEY, NgcSimulator

SECRETS = "/run/prepare-models/secrets"


@pytest.fixture
def place_outside_tmp(image: str) -> Iterator[DockerPlace]:
    """A workplace where a container's read-only root shows: its /tmp can be written, everything else can't."""
    with tempfile.TemporaryDirectory(prefix="pm-", dir="/var/tmp") as folder:
        yield DockerPlace(Path(folder))


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
    written = json.loads((place.models_dir / "net/report.json").read_text(encoding="utf-8"))
    assert written["stages"] == done.model("net")["stages"]
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


def test_key_and_ca_reach_ngc_and_the_key_nobody_else(
    place: DockerPlace, witness: Witness, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = networks.conv(place.folder / "served.onnx").read_bytes()
    place.write({"name": "net", "source": "ngc://acme/own:1/net.onnx"})
    handed: list[os.stat_result] = []

    def look_at_the_secrets(seen: dict[str, Any]) -> None:
        handed.extend(os.stat(mount["Source"]) for mount in seen["Mounts"] if mount["Destination"] == SECRETS)

    witness.on_seen.append(look_at_the_secrets)
    context, ca = web.certificate(tmp_path_factory.mktemp("ca"))
    with NgcSimulator(context) as ngc:
        ngc.publish("acme/own", "1", {"net.onnx": model}, guest=False)
        way = {"NGC_CLI_API_URL": ngc.url, "NGC_CLI_AUTH_URL": ngc.url, "NO_PROXY": "127.0.0.1"}
        done = place.run("-v", **way, NGC_API_KEY=LEGACY_KEY, REQUESTS_CA_BUNDLE=str(ca))
        assert done.status == 0, done.stdout
        assert len(ngc.fetched) == 1
        assert ngc.leaks == []
    assert [(status.st_mode & 0o777, status.st_uid) for status in handed] == [(0o400, os.getuid())]
    files = b"".join(path.read_bytes() for path in place.folder.rglob("*") if path.is_file())
    told = json.dumps(witness.seen) + done.stdout + done.stderr + files.decode("utf-8", "replace")
    assert LEGACY_KEY not in told
    assert "of-the.simulator" not in told, "the token that the key was exchanged for"
    fetch, convert = witness.seen[-2:]
    assert SECRETS not in {mount["Destination"] for mount in convert["Mounts"]}
    (bundle,) = [mount for mount in fetch["Mounts"] if mount["Source"] == str(ca)]
    assert bundle["RW"] is False
    assert not [name for name in convert["Config"]["Env"] if name.startswith(("NO_PROXY", "REQUESTS_CA_BUNDLE"))]


def test_downloads_go_through_the_proxy(place: DockerPlace) -> None:
    model = networks.conv(place.folder / "served.onnx").read_bytes()
    url = "http://models.invalid/net.onnx"
    place.write({"name": "net", "source": url, "sha256": hashlib.sha256(model).hexdigest()})
    with web.Server(lambda _: web.Answer(model)) as proxy:
        done = place.call(
            "check", "models.yaml", "--executor", "docker", "--json", http_proxy=proxy.url, no_proxy="", NO_PROXY=""
        )
    assert done.status == 0, done.stdout + done.stderr
    assert {request.target for request in proxy.requests} == {url}
    (checked,) = json.loads(done.stdout)["models"]
    assert (checked["status"], [stage["name"] for stage in checked["stages"]]) == ("checked", ["fetch", "check"])


def test_next_model_is_fetched_in_a_container_while_one_is_built(
    place: DockerPlace, heavy: Path, witness: Witness
) -> None:
    model = networks.conv(place.folder / "served.onnx").read_bytes()
    with web.Server(lambda _: web.Answer(model)) as server:
        pinned = hashlib.sha256(model).hexdigest()
        place.write(
            {"name": "first", "source": str(heavy)},
            {"name": "second", "source": f"{server.url}/model.onnx", "sha256": pinned},
        )
        done = place.run()
    assert done.status == 0, done.stderr
    assert len(server.requests) == 1
    (ahead,) = [seen for seen in witness.seen if seen["Config"]["Cmd"][0] == "fetch"]
    assert ahead["HostConfig"]["NetworkMode"] == "host"
    assert "NVIDIA_VISIBLE_DEVICES=void" in ahead["Config"]["Env"]
    fetched_at = max(path.stat().st_mtime for path in place.cache_dir.glob("downloads/blobs/*"))
    assert fetched_at < (place.models_dir / "first/report.json").stat().st_mtime
