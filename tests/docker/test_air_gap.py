"""A bundle crosses the air gap and the architecture: made on x86_64 for arm64, whose engine never saw a registry."""

from __future__ import annotations

import json
import subprocess

from tests import networks
from tests.command import COMMAND
from tests.docker.conftest import Daemon, DockerPlace


def test_a_bundle_made_here_runs_there(place: DockerPlace, daemon: Daemon, arm64: str) -> None:
    """It is used in a network namespace without interfaces, by an engine that lost the image."""
    networks.conv(place.folder / "model.onnx")
    place.write({"name": "net", "source": "model.onnx"})
    platform, bundle = f"rtx={arm64}", str(place.folder / "site.bundle")
    assert place.call("lock", str(place.manifest), "--platform", platform).status == 0
    made = place.call(
        "bundle", "create", str(place.manifest), "-o", bundle, "--platform", platform, "--no-wheels", "--json"
    )
    assert made.status == 0, made.stderr
    (image,) = json.loads(made.stdout)["images"]
    assert (image["machine"], image["id"]) == ("aarch64", daemon.client.images.get(arm64).id)
    daemon.client.images.remove(arm64, force=True)
    assert not [found for found in daemon.client.images.list() if found.id == image["id"]]
    run = [COMMAND, "run", "--bundle", bundle, "--executor", "docker", "--json", "--models-dir", "closed"]
    done = subprocess.run(
        ["unshare", "--net", *run], capture_output=True, text=True, cwd=place.folder, check=False,
        env=place.environment(PREPARE_MODELS_CACHE_DIR=str(place.folder / "closed-cache")),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (model,) = json.loads(done.stdout)["models"]
    assert (model["status"], model["runtime"]["machine"]) == ("built", "aarch64")
    assert daemon.client.images.get(arm64).id == image["id"]
