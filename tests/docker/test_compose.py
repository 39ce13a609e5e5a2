"""The compose files and the bake file: read by Compose and Buildx themselves, and one of them run."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from prepare_models.docker.container import PIDS_LIMIT, SHM_BYTES, TMP_OPTIONS
from prepare_models.docker.images import DOCKER_ARCH
from prepare_models.executors.site import HOME
from prepare_models.machine import platforms
from prepare_models_entrypoint.contract.codec import CONTRACT_VERSION
from tests import networks
from tests.docker.conftest import ROOT, DockerPlace


def compose(root: Path, *arguments: str, cwd: Path, image: str) -> subprocess.CompletedProcess[str]:
    program = root / "usr/libexec/docker/cli-plugins/docker-compose"
    user = f"{os.getuid()}:{os.getgid()}"
    environment = {**os.environ, "PREPARE_MODELS_IMAGE": image, "PREPARE_MODELS_USER": user}
    return subprocess.run(
        [program, "--project-directory", cwd, *arguments], env=environment, capture_output=True, text=True, check=False
    )


def files(*names: str) -> list[str]:
    return [word for name in names for word in ("-f", str(ROOT / "compose" / name))]


@pytest.mark.parametrize("variant", [(), ("compose.jetson.yaml",), ("compose.airgapped.yaml",)])
def test_compose_reads_the_files(newer_root: Path, variant: tuple[str, ...], tmp_path: Path) -> None:
    done = compose(newer_root, *files("compose.yaml", *variant), "config", "--format", "json", cwd=tmp_path, image="i")
    assert done.returncode == 0, done.stderr
    services: dict[str, Any] = json.loads(done.stdout)["services"]
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["pids_limit"] == PIDS_LIMIT
        assert int(service["shm_size"]) == SHM_BYTES
        assert service["tmpfs"] == [f"/tmp:{TMP_OPTIONS}"]
        assert service["user"] == f"{os.getuid()}:{os.getgid()}"
        assert service["environment"].items() >= HOME.items()
    assert services["fetch"]["environment"]["NVIDIA_VISIBLE_DEVICES"] == "void"
    convert = services["convert"]
    visible = {"compose.jetson.yaml": "all", "compose.airgapped.yaml": "void"}.get(variant[0]) if variant else None
    assert convert["environment"].get("NVIDIA_VISIBLE_DEVICES") == visible
    assert convert["network_mode"] == "none"
    devices = convert.get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices", [])
    if variant:
        assert not devices
    else:
        assert [device["capabilities"] for device in devices] == [["gpu"]]
    assert convert.get("runtime") == ("nvidia" if variant == ("compose.jetson.yaml",) else None)


def test_compose_limits_memory_where_it_is_told_to(
    newer_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREPARE_MODELS_MEMORY", "8g")
    done = compose(newer_root, *files("compose.yaml"), "config", "--format", "json", cwd=tmp_path, image="i")
    for service in json.loads(done.stdout)["services"].values():
        assert (int(service["mem_limit"]), int(service["memswap_limit"])) == (8 << 30, 8 << 30)


def test_compose_run_builds_an_engine(newer_root: Path, place: DockerPlace, image: str) -> None:
    for name in ("job", "out", "cache", "models"):
        (place.folder / name).mkdir(exist_ok=True)
    networks.conv(place.folder / "cache/model.onnx")
    model = {"name": "net", "source": "/cache/model.onnx", "output_dir": "/models/net", "deploy_dir": "/models/net",
             "precision": "fp32", "converter": "auto"}  # fmt: skip
    job = {"contract": 1, "run_id": "compose", "models": [model], "cache_dir": "/cache",
           "stages": ["fetch", "convert", "inspect"]}  # fmt: skip
    (place.folder / "job/job.json").write_text(json.dumps(job))
    variant = files("compose.yaml", "compose.airgapped.yaml")
    done = compose(newer_root, *variant, "run", "--rm", "convert", cwd=place.folder, image=image)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (place.folder / "models/net/1/model.plan").stat().st_size > 0


def test_bake_builds_every_platform_on_its_base(newer_root: Path) -> None:
    buildx = newer_root / "usr/libexec/docker/cli-plugins/docker-buildx"
    printed = subprocess.run(
        [buildx, "bake", "-f", "docker/docker-bake.hcl", "--print"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    targets = json.loads(printed.stdout)["target"].values()
    baked = {
        (each["args"]["PLATFORM"], each["args"]["BASE_IMAGE"], each["dockerfile"], *each["platforms"])
        for each in targets
    }
    assert baked == {
        (row.name, row.base, f"docker/{row.dockerfile}", *(f"linux/{DOCKER_ARCH[arch]}" for arch in row.arch))
        for row in platforms.table()
    }
    assert {each["args"]["CONTRACT"] for each in targets} == {str(CONTRACT_VERSION)}
    assert {each["target"] for each in targets} == {"runtime"}
