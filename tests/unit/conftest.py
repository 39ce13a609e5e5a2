"""The orchestrator without network; its files are real."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from prepare_models.errors import ManifestError
from prepare_models.manifest.load import load
from prepare_models.manifest.model import Manifest
from prepare_models.support.paths import own_scope

Load = Callable[[str], Manifest]
Refusals = Callable[[str], list[str]]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    class LocalSocket(socket.socket):
        def __init__(self, family: int = -1, *arguments: Any, **options: Any) -> None:
            if family in (-1, socket.AF_INET, socket.AF_INET6):
                raise AssertionError("a unit test opens a network socket")
            super().__init__(family, *arguments, **options)

    monkeypatch.setattr(socket, "socket", LocalSocket)


@pytest.fixture(autouse=True)
def no_scope() -> Iterator[None]:
    """Leave the scope of a bundle that a test unpacked."""
    with own_scope():
        yield


@pytest.fixture
def load_text(tmp_path: Path) -> Load:
    """Load a manifest from its text."""

    def load_it(text: str) -> Manifest:
        file = tmp_path / "models.yaml"
        file.write_text(text, encoding="utf-8")
        return load(file)

    return load_it


@pytest.fixture
def refusals(load_text: Load, tmp_path: Path) -> Refusals:
    """Load a manifest that has problems and return them, each as ``line: path: message``."""

    def refuse(text: str) -> list[str]:
        with pytest.raises(ManifestError) as caught:
            load_text(text)
        prefix = f"{tmp_path}/models.yaml:"
        lines = caught.value.message.splitlines()
        assert all(line.startswith(prefix) for line in lines), lines
        return [line[len(prefix) :] for line in lines]

    return refuse
