"""Directories of unpacked wheels, each with one version of one module: ``nox -s bindings`` installs them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .stand_ins import Bindings, prepared

FOLDER = Path(os.environ.get("TENSORRT_BINDINGS", "/nowhere"))
ALL = sorted(FOLDER.iterdir()) if FOLDER.is_dir() else []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test with every version of the modules that build, of those that load alone, or of the doubled one."""
    for name, prefix in (("bindings", "tensorrt-"), ("loader", "tensorrt_"), ("doubled", "tensorrt-10.3.")):
        if name in metafunc.fixturenames:
            found = [each for each in ALL if each.name.startswith(prefix)]
            each_alone = [pytest.param(each, id=each.name, marks=pytest.mark.xdist_group(each.name)) for each in found]
            metafunc.parametrize(name, each_alone, indirect=True, scope="session")


@pytest.fixture(scope="session")
def bindings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bindings:
    wheels: Path = request.param
    return prepared(wheels, tmp_path_factory.mktemp(wheels.name))


loader = doubled = bindings  # by their names, pytest gives each its own modules
