"""Images: built from an installed wheel as well as from a checkout, small, labelled, carried on a disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.docker.conftest import BASE, ROOT, Daemon, DockerPlace


def test_labels_say_version_revision_contract_and_platform(place: DockerPlace, daemon: Daemon, image: str) -> None:
    labels = daemon.client.images.get(image).labels
    assert labels["io.prepare-models.contract"] == "1"
    assert labels["io.prepare-models.platform"] == "rtx"
    assert labels["org.opencontainers.image.version"] in image
    assert len(labels["org.opencontainers.image.revision"]) in (40, len("unknown"))
    assert daemon.client.images.get(image).attrs["Config"]["User"] == "1000:1000"


def test_list_tells_name_platform_and_size(place: DockerPlace, image: str) -> None:
    (row,) = json.loads(place.call("image", "list", "--json").stdout)["images"]
    assert (row["image"], row["platform"], row["contract"]) == (image, "rtx", "1")
    assert row["bytes"] > 10**8


@pytest.mark.parametrize("platform", ["x86_64-trt10.13", "jetpack6"])
def test_nvidia_flavours_add_little_to_their_base(place: DockerPlace, daemon: Daemon, platform: str) -> None:
    """Their own base lies in a registry that asks for an account; a Debian base stands in for it."""
    done = place.call("image", "build", "--platform", platform, "--base-image", BASE, "--network", "host", "--json")
    assert done.status == 0, done.stderr
    (row,) = json.loads(done.stdout)["images"]
    base = daemon.client.images.get(BASE).attrs["Size"]
    try:
        assert row["bytes"] - base < 150 * 10**6
        answer = daemon.client.containers.run(
            row["image"], ["describe"], network_mode="none", read_only=True, remove=True
        )
        assert json.loads(answer)["backend"] is None  # the real base brings it
    finally:
        daemon.client.images.remove(row["image"])


def test_wheel_builds_the_same_image(place: DockerPlace, daemon: Daemon, image: str, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "--out-dir", str(tmp_path)], cwd=ROOT, check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
        assert not [
            name for name in archive.namelist() if name.startswith("prepare_models/docker") and name.endswith(".py")
        ]
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
    saved = place.call("image", "save", "--platform", "rtx", "--output", "image.tar")
    assert saved.status == 0, saved.stderr
    before = daemon.client.images.get(image)
    for tag in before.tags:
        daemon.client.images.remove(tag)
    assert place.call("image", "list", "--json").stdout.count('"platform"') == 0
    loaded = place.call("image", "load", "image.tar")
    assert loaded.status == 0, loaded.stderr
    assert daemon.client.images.get(image).id == before.id


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
        (["load", "absent.tar"], "absent.tar is no file"),
        (["build", "--platform", "nosuch"], "unknown platform nosuch"),
        (["pull"], "--registry PREFIX"),
    ],
)
def test_what_is_missing_on_the_command_line_is_told(place: DockerPlace, arguments: list[str], told: str) -> None:
    done = place.call("image", *arguments)
    assert done.status == 2
    assert told in done.stderr
