from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from prepare_models.docker.address import is_local, is_valid
from prepare_models.docker.container import Containers
from prepare_models.docker.daemon import Daemon, container_user
from prepare_models.errors import HostError


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("http+docker://localhost", True),  # what the SDK calls a Unix socket
        ("http+docker://ssh", False),
        ("https://127.0.0.1:2376", True),
        ("http://localhost:2375", True),
        ("https://[::1]:2376", True),
        ("https://10.0.0.7:2376", False),
        ("https://builder.example:2376", False),
    ],
)
def test_only_an_engine_on_this_machine_sees_its_files(address: str, local: bool) -> None:
    assert is_local(address) is local


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("unix:///var/run/docker.sock", True),
        ("tcp://127.0.0.1:2375", True),
        ("tcp://[::1]:2376", True),
        ("https://builder.example:2376", True),
        ("127.0.0.1:2375", True),
        ("ssh://somebody@builder.example", True),
        ("unix://", False),
        ("tcp://builder.example", False),
        ("tcp://builder.example:99999", False),
        ("tcp://[", False),
        ("tcp://user:s3cr3t@builder.example:2375", False),
        ("npipe:////./pipe/docker_engine", False),
        ("fd://", False),
        ("nonsense", False),
    ],
)
def test_only_an_address_is_asked(text: str, fits: bool) -> None:
    assert is_valid(text) is fits


def test_a_context_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONTEXT", "gone")
    with pytest.raises(HostError, match="DOCKER_CONTEXT names no context") as caught:
        Containers()
    assert caught.value.code == "docker-unreachable"


def test_a_password_in_an_address_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://user:s3cr3t@builder.example:2375")
    with pytest.raises(HostError, match="DOCKER_HOST is not an address") as caught:
        Containers()
    assert "s3cr3t" not in "\n".join(map(str, caught.value.shown()))


def test_root_of_a_rootless_engine_is_the_caller() -> None:
    engine = Daemon("26.1.5", (1, 45))
    assert container_user(engine) == f"{os.getuid()}:{os.getgid()}"
    assert container_user(dataclasses.replace(engine, rootless=True)) == "0:0"
