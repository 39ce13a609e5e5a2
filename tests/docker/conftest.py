"""A Docker daemon of the tests' own, the image built on it, and a look at what the daemon was asked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.command import COMMAND, Workplace

ROOT = Path(__file__).parents[2]
CI = ROOT / ".ci"
BASE = "prepare-models-base:amd64"
OURS: dict[str, Any] = {"label": "io.prepare-models.owner"}


class Daemon:
    """A dockerd that the tests may stop and start as they like."""

    def __init__(self, folder: Path, root: Path | None = None) -> None:
        self.folder = folder
        self._environment = {**os.environ, **({"DOCKERD_ROOT": str(root)} if root else {})}
        self.host = self.control("start")
        self.client = docker.DockerClient(self.host)

    def control(self, action: str) -> str:
        """Call the script that starts and stops it."""
        command = [str(CI / "docker_daemon.sh"), action, str(self.folder)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=self._environment)
        return done.stdout.strip()

    def load_base(self, arch: str) -> str:
        """Make a base image from Debian's packages."""
        tag = f"prepare-models-base:{arch}"
        root, archive = self.folder / "root.tar", self.folder / "image.tar"
        subprocess.run([CI / "base_image.sh", arch, root], check=True)
        subprocess.run([sys.executable, CI / "load_archive.py", root, tag, arch, archive], check=True)
        with archive.open("rb") as stream:
            self.client.images.load(stream)
        root.unlink()
        archive.unlink()
        return tag

    def ours(self) -> list[Any]:
        """Return this tool's containers, running or not."""
        found: list[Any] = self.client.containers.list(all=True, filters=OURS, ignore_removed=True)
        return found

    def wait_for_container(self) -> Any:
        """Return the next container of this tool that converts, once its build process works."""
        for _ in range(600):
            for container in self.client.containers.list(filters=OURS, ignore_removed=True):
                if "prepare-build" in str(top(container)):
                    return container
            time.sleep(0.05)
        raise AssertionError("no container came to build anything")


def top(container: Any) -> Any:
    try:
        return container.top(ps_args="-eo pid,comm")
    except docker.errors.APIError:  # it has ended meanwhile
        return ""


class Witness:
    """Inspects every container of this tool at the moment of its creation."""

    def __init__(self, daemon: Daemon) -> None:
        self._client = docker.DockerClient(daemon.host)
        self.on_seen: list[Callable[[dict[str, Any]], None]] = []
        self._events = self._client.events(decode=True, filters={"event": "create", **OURS})
        self.seen: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        try:
            for event in self._events:
                seen = self._client.api.inspect_container(event["id"])
                for notice in self.on_seen:
                    notice(seen)
                self.seen.append(seen)
        except (OSError, ValueError, AttributeError):  # closed
            return

    def close(self) -> None:
        self._events.close()
        self._thread.join(5)
        self._client.close()


@pytest.fixture(scope="session")
def daemon() -> Iterator[Daemon]:
    kept = os.environ.get("PREPARE_MODELS_TEST_DAEMON")
    folder = Path(kept or tempfile.mkdtemp(prefix="pm-docker-"))
    started = Daemon(folder)
    try:
        yield started
    finally:
        started.client.close()
        if not kept:
            started.control("stop")
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def newer_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of Docker Engine and Compose as Debian's next release has them."""
    folder = tmp_path_factory.mktemp("newer")
    subprocess.run([CI / "newer_engine.sh", folder], check=True)
    return folder / "root"


@pytest.fixture(scope="session")
def newer(newer_root: Path, daemon: Daemon, image: str) -> Iterator[Daemon]:
    """A daemon that knows CDI, with the base image."""
    folder = Path(tempfile.mkdtemp(prefix="pm-newer-"))
    started = Daemon(folder, newer_root)
    try:
        started.client.images.load(b"".join(daemon.client.images.get(BASE).save(named=BASE)))
        yield started
    finally:
        started.client.close()
        started.control("stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def image(daemon: Daemon) -> str:
    """The image for CPU-only machines, built by the command."""
    if not daemon.client.images.list(BASE):
        daemon.load_base("amd64")
    build = [COMMAND, "image", "build", "--platform", "rtx", "--base-image", BASE, "--network", "host", "--json", "-q"]
    subprocess.run(build, check=True, stdout=subprocess.PIPE, env={**os.environ, "DOCKER_HOST": daemon.host})
    (tag,) = [
        tag
        for image in daemon.client.images.list(filters={"label": "io.prepare-models.platform=rtx"})
        for tag in image.tags
    ]
    return str(tag)


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch, daemon: Daemon) -> None:
    monkeypatch.setenv("DOCKER_HOST", daemon.host)


class DockerPlace(Workplace):
    """A workplace whose runs are in containers."""

    def command(self, *arguments: str) -> list[str]:
        local = super().command(*arguments)
        local[local.index("local")] = "docker"
        return local

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a run and don't wait for its end. Ctrl-C reaches it also where this process was told to ignore it."""
        return subprocess.Popen(
            ["env", "--default-signal=INT", *self.command("--json", *arguments)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment(), cwd=self.folder,
        )  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, image: str) -> DockerPlace:
    return DockerPlace(tmp_path)


@pytest.fixture
def witness(daemon: Daemon) -> Iterator[Witness]:
    witness = Witness(daemon)
    yield witness
    witness.close()


@pytest.fixture
def nothing_left(daemon: Daemon) -> Callable[[], None]:
    """A check that no container of this tool exists."""

    def check() -> None:
        assert [container.name for container in daemon.ours()] == []

    return check
