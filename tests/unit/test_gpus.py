"""GPUs through NVML: NVIDIA's own bindings, on a library that stands in for the driver's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")

ASK = (
    "import dataclasses, json; from prepare_models.machine import gpus; answer = gpus.ask();"
    "print(json.dumps([[dataclasses.asdict(gpu) for gpu in answer.gpus], answer.reason, answer.fix]))"
)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nvml")
    source = Path(__file__).parents[1] / "doubles" / "nvml.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(folder / "libnvidia-ml.so.1"), str(source)], check=True)
    return folder


def asked(path: Path, **variables: str) -> tuple[list[dict[str, Any]], str, str]:
    environment = {**os.environ, "LD_LIBRARY_PATH": str(path), "PATH": "/nowhere", **variables}
    done = subprocess.run([sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=True)
    found: tuple[list[dict[str, Any]], str, str] = json.loads(done.stdout)
    return found


def test_gpus_are_those_that_the_driver_lists(library: Path) -> None:
    gpus, reason, _ = asked(library, NVML_COUNT="2")
    assert gpus == [
        {"index": 0, "uuid": "GPU-0", "name": "NVIDIA GB10", "driver": "580.95.05", "compute_capability": "12.1"},
        {"index": 1, "uuid": "GPU-1", "name": "NVIDIA T4", "driver": "580.95.05", "compute_capability": "7.5"},
    ]
    assert reason == ""


def test_a_capability_that_is_not_told_is_unknown(library: Path) -> None:
    assert asked(library, NVML_COUNT="1", NVML_NO_CAPABILITY="1")[0][0]["compute_capability"] == ""


@pytest.mark.parametrize(
    ("status", "fix"), [("18", "restart the machine"), ("9", "modprobe nvidia"), ("4", "give this user access")]
)
def test_a_driver_that_fails_comes_with_its_fix(library: Path, status: str, fix: str) -> None:
    gpus, reason, told = asked(library, NVML_INIT=status)
    assert gpus == []
    assert f"status {status}" in reason
    assert fix in told


def test_one_gpu_that_fell_off_the_bus_does_not_hide_the_others(library: Path) -> None:
    gpus, reason, fix = asked(library, NVML_COUNT="2", NVML_HANDLE_1="15")
    assert [gpu["index"] for gpu in gpus] == [0]
    assert reason.startswith("GPU 1: NVML ends with status 15")
    assert "Xid" in fix


def test_without_the_library_nvidia_smi_is_asked(tmp_path: Path) -> None:
    gpus, reason, fix = asked(tmp_path)
    assert gpus == []
    assert reason == "nvidia-smi is not installed: no NVIDIA driver"
    assert fix == "install the NVIDIA driver"
