"""The image for arm64, run under emulation: the entrypoint, its contract, a download, and a real engine at the end."""

from __future__ import annotations

import hashlib
import json

from tests import networks
from tests.docker.conftest import Daemon, DockerPlace
from tests.simulators.web import Answer, Server


def test_entrypoint_describes_itself(daemon: Daemon, arm64: str) -> None:
    answer = json.loads(daemon.client.containers.run(arm64, ["describe"], network_mode="none", remove=True))
    assert answer["machine"] == "aarch64"
    assert answer["contract"] == 1
    assert answer["backend"]["name"] == "tensorrt_rtx"
    assert daemon.client.images.get(arm64).attrs["Architecture"] == "arm64"


def test_run_fetches_and_builds_an_engine(place: DockerPlace, arm64: str) -> None:
    content = networks.conv(place.folder / "served.onnx").read_bytes()
    with Server(lambda _: Answer(content, ranged=True)) as server:
        pinned = hashlib.sha256(content).hexdigest()
        place.write({"name": "net", "source": f"{server.url}/model.onnx", "sha256": pinned})
        done = place.run("--image", arm64)
    assert done.status == 0, done.stderr
    model = done.model("net")
    assert [stage["name"] for stage in model["stages"]] == ["fetch", "convert", "inspect"]
    assert model["status"] == "built"
    assert model["runtime"]["machine"] == "aarch64"
    assert model["engine"]["header"]["format"] == "tensorrt_rtx"
