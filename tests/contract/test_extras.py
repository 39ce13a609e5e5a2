"""The command that installs an extra works as it stands: from the clone that the tool came from, else from an index."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "entrypoint/prepare_models_entrypoint"


def hint(packages: Path) -> str:
    code = "from prepare_models_entrypoint.contract import extras; print(extras.install('verify'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=str(packages))
    return done.stdout.strip()


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    shutil.copytree(str(PACKAGE), str(tmp_path / "lib/site/prepare_models_entrypoint"))
    return tmp_path / "lib/site"


def test_from_an_index(packages: Path) -> None:
    assert hint(packages) == f"{sys.executable} -m pip install 'prepare-models[verify]'"


def test_from_the_clone_that_it_was_installed_from(packages: Path, tmp_path: Path) -> None:
    clone = tmp_path / "my clone"
    (clone / "orchestrator/prepare_models").mkdir(parents=True)
    (clone / "pyproject.toml").write_text("")
    record = packages / "prepare_models-1.dist-info/direct_url.json"
    record.parent.mkdir()
    record.write_text(json.dumps({"url": clone.as_uri(), "dir_info": {}}))
    assert hint(packages) == f"{sys.executable} -m pip install '{clone}[verify]'"
    shutil.rmtree(str(clone))
    assert hint(packages) == f"{sys.executable} -m pip install 'prepare-models[verify]'", "the clone is gone"
    for damaged in ("{", "[]", '{"url": 7}', '{"url": "https://example.com/x.whl"}'):
        record.write_text(damaged)
        assert hint(packages) == f"{sys.executable} -m pip install 'prepare-models[verify]'"


def test_in_a_clone() -> None:
    root = PACKAGE.parents[1]
    assert hint(PACKAGE.parent) == f"{sys.executable} -m pip install '{root}[verify]'"
