"""The image for arm64, run under emulation: the entrypoint, its contract, and a real engine at the end."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator

import pytest

from tests import networks
from tests.command import COMMAND
from tests.docker.conftest import CI, Daemon, DockerPlace

BASE = "prepare-models-base:arm64"
NAME = "prepare-models-arm64:test"


@pytest.fixture(scope="module")
def arm64(daemon: Daemon, image: str) -> Iterator[str]:
    """The rtx image, built for arm64 and given a name of its own."""
    subprocess.run([CI / "emulate_arm64.sh"], check=True)
    if not daemon.client.images.list(BASE):
        daemon.load_base("arm64")
    native = daemon.client.images.get(image)
    build = [COMMAND, "image", "build", "--platform", "rtx", "--arch", "aarch64", "--base-image", BASE]
    environment = {**os.environ, "DOCKER_HOST": daemon.host}
    subprocess.run([*build, "--network", "host", "-q", "--json"], check=True, stdout=subprocess.PIPE, env=environment)
    daemon.client.images.get(image).tag(*NAME.split(":"))
    native.tag(*image.split(":"))
    yield NAME
    daemon.client.images.remove(NAME)


def test_entrypoint_describes_itself(daemon: Daemon, arm64: str) -> None:
    answer = json.loads(daemon.client.containers.run(arm64, ["describe"], network_mode="none", remove=True))
    assert answer["machine"] == "aarch64"
    assert answer["contract"] == 1
    assert answer["backend"]["name"] == "tensorrt_rtx"
    assert daemon.client.images.get(arm64).attrs["Architecture"] == "arm64"


def test_run_builds_an_engine(place: DockerPlace, arm64: str) -> None:
    networks.conv(place.folder / "model.onnx")
    place.write({"name": "net", "source": "model.onnx"})
    done = place.run("--image", arm64)
    assert done.status == 0, done.stderr
    model = done.model("net")
    assert model["status"] == "built"
    assert model["runtime"]["machine"] == "aarch64"
    assert model["engine"]["header"]["format"] == "tensorrt_rtx"
