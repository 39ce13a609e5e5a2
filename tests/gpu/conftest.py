"""These tests need a GPU and a TensorRT that builds for it: ``make test SESSIONS=gpu``."""

from __future__ import annotations

from pathlib import Path

import pytest

from prepare_models_entrypoint.contract import runtime
from prepare_models_entrypoint.contract.environment import RuntimeInfo
from tests.command import Workplace

NO_GPU = 3


def pytest_sessionstart() -> None:
    here = runtime.probe()
    if here["gpu"] is None:
        pytest.exit(f"these tests need a GPU: {here['gpu_reason']}", returncode=NO_GPU)
    if here["backend"] is None:
        pytest.exit("these tests need TensorRT in this Python, which the import of tensorrt finds", returncode=NO_GPU)


@pytest.fixture(scope="session")
def here() -> RuntimeInfo:
    """What builds engines here."""
    return runtime.probe()


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A place that the tests of a module share, as a builder of TensorRT 8 takes ten seconds to start."""
    return Workplace(tmp_path_factory.mktemp("workshop"))
