"""A Docker daemon of the tests' own, the image built on it, and a look at what the daemon was asked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker
import pytest

from tests import networks
from tests.command import COMMAND, Workplace

ROOT = Path(__file__).parents[2]
CI = ROOT / ".ci"
BASE = "prepare-models-base:amd64"
CALLER = 12345  # an ordinary user's id
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
        root, archive = self.folder / f"{arch}-root.tar", self.folder / f"{arch}-image.tar"
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
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests come last whose fixtures are made ahead, and allow the first ones the time that images take."""
    order = [*_AHEAD, "restart"]
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(900))
    items.sort(key=lambda item: max((order.index(n) + 1 for n in _fixtures(item) if n in order), default=0))


def _fixtures(item: pytest.Item) -> list[str]:
    return list(getattr(item, "fixturenames", ()))


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


def _unpack_newer(daemon: Daemon) -> Path:
    folder = daemon.folder / "newer"
    if not folder.is_dir():
        subprocess.run([CI / "newer_engine.sh", folder], check=True)
    return folder / "root"


def _build_arm64(daemon: Daemon) -> str:
    subprocess.run([CI / "emulate_arm64.sh"], check=True)
    base, name = "prepare-models-base:arm64", "prepare-models:test-arm64"
    if not daemon.client.images.list(base):
        daemon.load_base("arm64")
    build = [COMMAND, "image", "build", "--platform", "rtx", "--arch", "aarch64", "--base-image", base, "--tag", name]
    environment = {**os.environ, "DOCKER_HOST": daemon.host}
    subprocess.run([*build, "--network", "host", "-q", "--json"], check=True, stdout=subprocess.PIPE, env=environment)
    return name


# What takes long and little of this process: made while other tests run.
_AHEAD: dict[str, Callable[[Daemon], Any]] = {"newer_root": _unpack_newer, "arm64": _build_arm64}


@pytest.fixture(scope="session", autouse=True)
def ahead(daemon: Daemon, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Any]]]:
    """The preparations that this session's tests need, under way."""
    wanted = {name for item in request.session.items for name in _fixtures(item)}
    with ThreadPoolExecutor(1) as pool:
        yield {name: pool.submit(make, daemon) for name, make in _AHEAD.items() if name in wanted}


@pytest.fixture(scope="session")
def newer_root(ahead: dict[str, Future[Any]]) -> Path:
    """The programs of Docker Engine and Compose as Debian's next release has them."""
    root: Path = ahead["newer_root"].result()
    return root


@pytest.fixture(scope="session")
def arm64(ahead: dict[str, Future[Any]]) -> str:
    """The rtx image for arm64, and a kernel that runs it."""
    name: str = ahead["arm64"].result()
    return name


@pytest.fixture
def restart(daemon: Daemon, ahead: dict[str, Future[Any]]) -> Callable[[], str]:
    """Restarts the daemon, once nothing is made on it any more."""
    for made in ahead.values():
        made.exception()
    return lambda: daemon.control("restart")


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
    environment = {**os.environ, "DOCKER_HOST": daemon.host}
    built = subprocess.run(build, check=True, stdout=subprocess.PIPE, env=environment)
    return str(json.loads(built.stdout)["images"][0]["image"])


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch, daemon: Daemon) -> None:
    monkeypatch.setenv("DOCKER_HOST", daemon.host)


@pytest.fixture(scope="session")
def described(daemon: Daemon, image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The part of a cache in which the tool keeps what an image said of itself."""
    folder = tmp_path_factory.mktemp("described")
    (folder / "models.yaml").write_text("version: 1\nmodels: [{name: net, source: /absent.onnx}]\n")
    environment = {**os.environ, "DOCKER_HOST": daemon.host, "PREPARE_MODELS_CACHE_DIR": str(folder)}
    plan = [COMMAND, "plan", str(folder / "models.yaml"), "--executor", "docker"]
    subprocess.run(plan, check=True, stdout=subprocess.DEVNULL, env=environment)
    return folder / "environments"


@pytest.fixture(scope="session")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose build takes seconds."""
    return networks.heavy(tmp_path_factory.mktemp("heavy") / "model.onnx", layers=150)


class DockerPlace(Workplace):
    """A workplace whose runs are in containers."""

    def command(self, *arguments: str) -> list[str]:
        local = super().command(*arguments)
        local[local.index("local")] = "docker"
        return local

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start a run and don't wait for its end. Ctrl-C reaches it also where this process was told to ignore it."""
        command = ["env", "--default-signal=INT", *self.command("--json", *arguments)]
        pipe, environment = subprocess.PIPE, self.environment(**variables)
        return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment, cwd=self.folder)


@pytest.fixture
def place(tmp_path: Path, described: Path) -> DockerPlace:
    place = DockerPlace(tmp_path)
    shutil.copytree(described, place.cache_dir / "environments")
    return place


@pytest.fixture
def ready(place: DockerPlace) -> DockerPlace:
    """A workplace with one small model, ``net``."""
    networks.conv(place.folder / "model.onnx")
    place.write({"name": "net", "source": "model.onnx"})
    return place


@pytest.fixture
def open_place(image: str) -> Iterator[DockerPlace]:
    """A workplace of another user, with one small model and nothing known of the image."""
    with tempfile.TemporaryDirectory(prefix="pm-open-") as folder:
        place = DockerPlace(Path(folder))
        networks.conv(place.folder / "model.onnx")
        place.write({"name": "net", "source": "model.onnx"})
        for path in (place.folder, *place.folder.iterdir()):
            os.chown(path, CALLER, CALLER)
        yield place


def run_as_caller(
    place: DockerPlace, *arguments: str, groups: tuple[int, ...] = (CALLER,), umask: int = -1, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run as an ordinary user, who may belong to groups beside its own."""
    # The interpreter may lie in a home that is closed to others: reading is allowed, the rest is as for any user.
    caller = ["setpriv", f"--reuid={CALLER}", f"--regid={CALLER}", f"--groups={','.join(map(str, groups))}"]
    caller += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    environment = place.environment(
        HOME="/nonexistent", PREPARE_MODELS_CACHE_DIR=str(place.cache_dir), XDG_RUNTIME_DIR="", **variables
    )
    command = [*caller, *place.command(*arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, umask=umask)


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
