"""Images: built from an installed wheel as well as from a checkout, small, labelled, carried on a disk."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from prepare_models.machine import platforms
from tests.docker.conftest import BASE, ROOT, Daemon, DockerPlace
from tests.simulators import web


def test_labels_say_version_revision_contract_and_platform(place: DockerPlace, daemon: Daemon, image: str) -> None:
    labels = daemon.client.images.get(image).labels
    assert labels["io.prepare-models.contract"] == "1"
    assert labels["io.prepare-models.platform"] == "rtx"
    assert labels["org.opencontainers.image.version"] in image
    assert len(labels["org.opencontainers.image.revision"]) in (40, len("unknown"))
    assert daemon.client.images.get(image).attrs["Config"]["User"] == "1000:1000"


def test_list_tells_name_platform_and_size(place: DockerPlace, image: str) -> None:
    rows = {row["image"]: row for row in json.loads(place.call("image", "list", "--json").stdout)["images"]}
    assert (rows[image]["platform"], rows[image]["contract"]) == ("rtx", "1")
    assert rows[image]["bytes"] > 10**8


@pytest.mark.parametrize("platform", ["rtx", "x86_64-trt10.13", "jetpack6"])
def test_a_build_asks_the_own_index_whose_certificate_the_own_authority_makes_good(
    place: DockerPlace, daemon: Daemon, tmp_path: Path, platform: str
) -> None:
    asked: list[str] = []

    def decide(request: web.Request) -> web.Answer:
        asked.append(request.target)
        return web.Answer(status=404)

    base = os.environ.get("PREPARE_MODELS_TEST_BASE", BASE)
    build = ("image", "build", "--platform", platform, "--base-image", base, "--network", "host", "--tag", "own:index")
    tls, ca = web.certificate(tmp_path)
    with web.Server(decide, tls) as server:
        chosen = ("--index-url", f"{server.url}/simple", "--build-arg", "PIP_RETRIES=0")
        assert place.call(*build, *chosen).status == 3
        assert asked == [], "nobody trusts it"
        refused = place.call(*build, *chosen, "--ca", str(ca))
        assert refused.status == 3
        assert asked, refused.stderr
        assert all(path.startswith("/simple/") for path in asked)
        assert "error [image-build-failed]" in refused.stderr


def test_rtx_image_adds_little_beside_tensorrt(daemon: Daemon, image: str) -> None:
    """What is not TensorRT-RTX: the entrypoint and its pinned dependencies."""
    du = ["-sb", "--exclude=tensorrt_rtx*", "/opt/prepare-models"]
    told = daemon.client.containers.run(image, du, entrypoint="du", network_mode="none", remove=True)
    assert int(told.split()[0]) < 150 * 10**6


@contextlib.contextmanager
def nvidia_flavour(place: DockerPlace, daemon: Daemon, platform: str, *options: str) -> Iterator[str]:
    """Yield an image, which adds little to its base.

    Its own base lies in a registry that asks for an account; a Debian base stands in for it.
    """
    build = ("image", "build", "--platform", platform, "--base-image", BASE, "--network", "host", "--json", *options)
    done = place.call(*build)
    assert done.status == 0, done.stderr
    (row,) = json.loads(done.stdout)["images"]
    try:
        assert row["bytes"] - daemon.client.images.get(BASE).attrs["Size"] < 150 * 10**6
        answer = daemon.client.containers.run(
            row["image"], ["describe"], network_mode="none", read_only=True, remove=True
        )
        assert json.loads(answer)["backend"] is None  # the real base brings it
        yield row["image"]
    finally:
        daemon.client.images.remove(row["image"])


def run_python(daemon: Daemon, image: str, code: str) -> None:
    daemon.client.containers.run(image, ["-c", code], entrypoint="python3", network_mode="none", remove=True)


VERIFIES = "from prepare_models_entrypoint.verify import runners, worker; import onnx, onnxruntime, polygraphy, PIL"


@pytest.mark.parametrize("platform", ["x86_64-trt8.6", "jetpack5"])
def test_images_of_tensorrt_8_carry_its_converter(place: DockerPlace, daemon: Daemon, platform: str) -> None:
    (place.folder / "double").write_text("#!/bin/sh\necho the converter of $0\n")
    with nvidia_flavour(place, daemon, platform, "--tao-converter", "double") as image:
        run_python(daemon, image, VERIFIES)
        converter = ["/opt/nvidia/tao/tao-converter"]
        told = daemon.client.containers.run(image, entrypoint=converter, network_mode="none", remove=True)
        assert told == b"the converter of /opt/nvidia/tao/tao-converter\n"


def test_an_image_of_tensorrt_11_can_rewrite_networks(place: DockerPlace, daemon: Daemon) -> None:
    with nvidia_flavour(place, daemon, "x86_64-trt11") as image:
        run_python(daemon, image, VERIFIES)
        run_python(
            daemon,
            image,
            "from prepare_models_entrypoint.onnx_graph import quantize, retype",
        )


def test_wheel_builds_the_same_image(place: DockerPlace, daemon: Daemon, image: str, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "--out-dir", str(tmp_path)], cwd=ROOT, check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
        packed = [name for name in archive.namelist() if name.startswith("prepare_models/dockerfiles")]
    assert packed
    assert not [name for name in packed if name.endswith(".py")]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "prepare_models", "image", "build", "--platform", "rtx", "--base-image", BASE,
         "--network", "host", "--json", "-q"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(installed)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["images"]
    assert row["image"] == image
    assert row["revision"] == "unknown"


def test_image_travels_in_a_file(place: DockerPlace, daemon: Daemon, image: str) -> None:
    assert "[disk-full]" in place.call("image", "save", "--platform", "rtx", "--output", "/dev/full").stderr
    saved = place.call("image", "save", "--platform", "rtx", "--output", "image.tar")
    assert saved.status == 0, saved.stderr
    before = daemon.client.images.get(image)
    for tag in before.tags:
        daemon.client.images.remove(tag)
    assert f'"{image}"' not in place.call("image", "list", "--json").stdout
    loaded = place.call("image", "load", "image.tar")
    assert loaded.status == 0, loaded.stderr
    assert daemon.client.images.get(image).id == before.id


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """The address of Debian's registry, on this machine and without accounts."""
    subprocess.run(["apt-get", "download", "-qq", "docker-registry"], cwd=tmp_path, check=True, capture_output=True)
    (package,) = tmp_path.glob("docker-registry_*.deb")
    subprocess.run(["dpkg", "-x", str(package), str(tmp_path / "root")], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "data")}},
        "http": {"addr": address},
    }
    (tmp_path / "config.yml").write_text(json.dumps(config))
    command = [str(tmp_path / "root/usr/bin/docker-registry"), "serve", str(tmp_path / "config.yml")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for(address)
        yield address
        process.kill()


def wait_for(address: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{address}/v2/"):
            return
        time.sleep(0.05)
    raise AssertionError(f"no registry at {address}")


def test_image_is_pulled_from_a_registry(place: DockerPlace, daemon: Daemon, registry: str) -> None:
    name = platforms.named("jetpack7").image
    stored = f"{registry}/team/{name}"
    daemon.client.images.get(BASE).tag(stored)  # any image will do for a pull
    daemon.client.api.push(stored)
    daemon.client.images.remove(stored)
    pull = ("image", "pull", "--registry", f"{registry}/team", "--json", "--platform")
    absent = place.call(*pull, "jetpack6")
    assert absent.status == 3
    assert "the registry has no image of that name" in absent.stderr
    done = place.call(*pull, "jetpack7")
    assert done.status == 0, done.stderr
    assert daemon.client.images.get(name).id == daemon.client.images.get(BASE).id
    for tag in (name, stored):
        daemon.client.images.remove(tag)


def test_damaged_archive_is_explained(place: DockerPlace) -> None:
    (place.folder / "bad.tar").write_bytes(os.urandom(4096))
    done = place.call("image", "load", "bad.tar")
    assert done.status == 3
    assert "damaged" in done.stderr


def test_failing_build_tells_the_builders_words(place: DockerPlace) -> None:
    done = place.call("image", "build", "--platform", "rtx", "--base-image", "absent.invalid/base:1")
    assert done.status == 3
    assert "absent.invalid" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["save"], "--output FILE"),
        (["load"], "image load FILE"),
        (["load", "absent.tar"], "absent.tar is not a file"),
        (["build", "--platform", "nosuch"], "unknown platform nosuch"),
        (["pull"], "--registry PREFIX"),
        (["build", "--platform", "rtx", "--tao-converter", __file__], "last published for TensorRT 8"),
    ],
)
def test_what_is_missing_on_the_command_line_is_told(place: DockerPlace, arguments: list[str], told: str) -> None:
    done = place.call("image", *arguments)
    assert done.status == 2
    assert told in done.stderr
