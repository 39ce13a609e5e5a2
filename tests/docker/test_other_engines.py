"""Engines elsewhere than at Docker's own socket: over TLS, by a context, Podman without root."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.docker.conftest import CALLER, CI, Daemon, DockerPlace, run_as_caller
from tests.simulators.web import certificate


def tcp(daemon: Daemon, address: str = "127.0.0.1") -> str:
    return f"tcp://{address}:{(daemon.folder / 'port').read_text().strip()}"


def tls(folder: Path) -> dict[str, str]:
    return {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(folder)}


def test_tcp_with_tls_works_beside_a_ca_bundle_for_downloads(ready: DockerPlace, daemon: Daemon) -> None:
    bundle = str(certificate(ready.folder)[1])
    done = ready.run(DOCKER_HOST=tcp(daemon), REQUESTS_CA_BUNDLE=bundle, **tls(daemon.folder / "tls"))
    assert done.status == 0, done.stderr
    assert done.report["executor"] == "docker"


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A client's certificates, of another authority than the daemon's."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    certificate(folder)
    shutil.copy(folder / "ca.pem", folder / "cert.pem")
    return folder


def test_tls_trouble_is_told_apart(ready: DockerPlace, daemon: Daemon, foreign: Path) -> None:
    def said(**variables: str) -> str:
        done = ready.call("run", "models.yaml", "--executor", "docker", DOCKER_HOST=tcp(daemon), **variables)
        assert done.status == 3
        assert "DOCKER_CERT_PATH=DIR" in done.stderr
        return done.stderr

    assert "the engine requires TLS" in said()
    assert "certificates are missing" in said(**tls(ready.folder))
    assert "not from the authority in ca.pem" in said(**tls(foreign))
    shutil.copy(daemon.folder / "tls/ca.pem", foreign)
    assert "not accept this client's certificate" in said(**tls(foreign))


def test_ssh_without_its_package_says_what_to_install(ready: DockerPlace) -> None:
    (ready.folder / "paramiko.py").write_text("raise ImportError('not installed')")
    done = ready.run(DOCKER_HOST="ssh://nobody@127.0.0.1:1", PYTHONPATH=str(ready.folder))
    assert done.status == 3
    assert "pip install 'prepare-models[ssh]'" in done.stderr


def test_context_is_followed(ready: DockerPlace, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST")
    monkeypatch.setenv("DOCKER_CONFIG", str(ready.folder / "docker"))
    keys = ",".join(f"{name}={daemon.folder}/tls/{name}.pem" for name in ("ca", "cert", "key"))
    for name, endpoint in {"socket": f"host={daemon.host}", "port": f"host={tcp(daemon)},{keys}"}.items():
        subprocess.run(["docker", "context", "create", name, "--docker", endpoint], check=True, capture_output=True)
    subprocess.run(["docker", "context", "use", "socket"], check=True, capture_output=True)
    arguments = ("run", "models.yaml", "--models-dir", "models", "--json")
    assert ready.call(*arguments).report["executor"] == "docker", "--executor auto asks the context, too"
    by_port = ready.call(*arguments, "--force", "--executor", "docker", DOCKER_CONTEXT="port")
    assert by_port.status == 0, by_port.stderr


@pytest.fixture(scope="module")
def podman(daemon: Daemon, image: str) -> Iterator[str]:
    """The address of a Podman that runs as an ordinary user and has the image."""
    folder = Path(tempfile.mkdtemp(prefix="pm-podman-"))
    script = [str(CI / "podman.sh")]
    started = subprocess.run(
        [*script, "start", str(folder), str(CALLER)], check=True, stdout=subprocess.PIPE, text=True
    )
    try:
        client = docker.DockerClient(started.stdout.strip())
        client.images.load(b"".join(daemon.client.images.get(image).save(named=image)))
        client.close()
        yield started.stdout.strip()
    finally:
        subprocess.run([*script, "stop", str(folder)], check=True)
        shutil.rmtree(folder, ignore_errors=True)


def test_podman_without_root_builds_files_of_the_caller(open_place: DockerPlace, podman: str) -> None:
    done = run_as_caller(open_place, DOCKER_HOST=podman)
    assert done.returncode == 0, done.stderr
    made = [open_place.models_dir, *open_place.models_dir.rglob("*")]
    assert open_place.models_dir / "net/1/model.plan" in made
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(CALLER, CALLER)}


def test_podman_that_would_drop_the_request_for_a_gpu_is_refused(ready: DockerPlace, podman: str) -> None:
    done = ready.run("--gpu", "all", DOCKER_HOST=podman)
    assert done.status == 3
    assert "drops GPU requests" in done.stderr
    told = json.loads(ready.call("doctor", "--json", DOCKER_HOST=podman).stdout)["findings"]
    (engine,) = [finding["message"] for finding in told if finding["name"] == "engine"]
    assert "rootless" in engine
