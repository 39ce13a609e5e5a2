"""Machines on which the tool can't do its work, and what they are told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import networks
from tests.command import Workplace

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with the tool and its base dependencies, and no TensorRT."""
    folder = tmp_path_factory.mktemp("bare")
    uv = str(Path(sys.executable).parent / "uv")
    subprocess.run([uv, "venv", "-q", "-p", sys.executable, str(folder)], check=True)
    python = folder / "bin" / "python"
    subprocess.run([uv, "pip", "install", "-q", "-p", str(python), str(ROOT)], check=True)
    return python


def run_bare(bare: Path, place: Workplace, *arguments: str, **variables: str) -> list[str]:
    """Run with the bare interpreter, which fails, and return what it says."""
    networks.conv(place.folder / "good.onnx")
    place.write({"name": "good", "source": "good.onnx"})
    command = ["-m", "prepare_models", "run", str(place.manifest), "--models-dir", str(place.models_dir), *arguments]
    done = subprocess.run(
        [str(bare), *command], capture_output=True, text=True, check=False, env=place.environment(**variables)
    )
    assert done.returncode == 3
    assert done.stdout == ""
    assert not place.models_dir.exists()
    return done.stderr.strip().splitlines()


def test_without_a_backend_run_says_the_command_that_fixes_it(bare: Path, place: Workplace) -> None:
    error, hint = run_bare(bare, place, "--executor", "local")
    assert error.startswith("error [environment] prepare-models: no TensorRT to build engines with")
    assert hint.strip() == f"-> run: {bare} -m pip install '{ROOT}[local]'"


def test_without_backend_and_engine_run_says_both_remedies(bare: Path, place: Workplace) -> None:
    error, hint = run_bare(bare, place, DOCKER_HOST=f"unix://{place.folder}/none.sock")
    assert error.startswith("error [environment] prepare-models: neither containers nor this Python can build engines")
    assert "systemctl start docker" in hint
    assert f"{bare} -m pip install '{ROOT}[local]'" in hint


def test_a_cache_directory_that_cannot_be_made_is_told(place: Workplace) -> None:
    networks.conv(place.folder / "good.onnx")
    place.write({"name": "good", "source": "good.onnx"})
    (place.folder / "file").write_text("", encoding="utf-8")
    result = place.run(PREPARE_MODELS_CACHE_DIR=str(place.folder / "file" / "cache"))
    assert result.status == 3
    assert "PREPARE_MODELS_CACHE_DIR" in result.stderr
    assert "Traceback" not in result.stderr


def test_reading_an_onnx_file_takes_one_small_extra(bare: Path, place: Workplace) -> None:
    networks.conv(place.folder / "net.onnx")

    def inspect() -> subprocess.CompletedProcess[str]:
        command = [str(bare), "-m", "prepare_models", "inspect", "net.onnx"]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=place.folder, env=place.environment()
        )

    refused = inspect()
    assert refused.returncode == 1
    assert "error [module-missing] net.onnx, inspect: reading ONNX needs onnx, which is not installed" in refused.stderr
    assert refused.stderr.rstrip().endswith(f"-> {bare} -m pip install '{ROOT}[inspect]'")
    uv = str(Path(sys.executable).parent / "uv")
    subprocess.run([uv, "pip", "install", "-q", "-p", str(bare), f"{ROOT}[inspect]"], check=True)
    followed = inspect()
    assert followed.returncode == 0, followed.stderr
    assert "==== ONNX Model ====" in followed.stdout
