"""Findings that need no engine, and what is concluded from an engine's word."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from prepare_models.docker.daemon import Daemon
from prepare_models.machine import doctor
from prepare_models.machine.facts import Machine
from prepare_models.machine.gpus import Gpu
from tests.command import COMMAND

CARD = Gpu(0, "GPU-a", "NVIDIA RTX", "580.1", "8.9")


def findings(**variables: str) -> dict[str, dict[str, Any]]:
    """Return what is found where no engine answers and nothing else is set than ``variables``."""
    environment = {**{name: os.environ[name] for name in ("PATH", "HOME")}, "DOCKER_HOST": "unix:///none", **variables}
    done = subprocess.run([COMMAND, "doctor", "--json"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}


@pytest.mark.parametrize("value", ["http://", "http://host:99999", "://x"])
def test_proxy_that_is_no_address_fails(value: str) -> None:
    assert findings(ALL_PROXY=value)["proxy"]["status"] == "fail"


def test_password_of_a_proxy_is_not_told() -> None:
    told = findings(https_proxy="http://user:s3cr3t@proxy.example:3128")
    assert told["proxy"]["status"] == "ok"
    assert "https_proxy" in told["proxy"]["message"]
    assert "s3cr3t" not in json.dumps(told)


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_ca_file_without_a_certificate_fails(variable: str, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate\n")
    finding = findings(**{variable: str(tmp_path / "ca.pem")})[f"CA of {variable}"]
    assert finding["status"] == "fail"
    assert finding["fix"] == f"correct or unset {variable}"


@pytest.mark.parametrize("arguments", [["--root", "/no/such/root"], ["--root", __file__], ["--platform", "nosuch"]])
def test_wrong_arguments_are_usage_errors(arguments: list[str]) -> None:
    done = subprocess.run([COMMAND, "doctor", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "\n  -> " in done.stderr


@pytest.mark.parametrize(
    ("engine", "toolkit", "status"),
    [
        (Daemon("26.1.5", (1, 45)), False, "fail"),
        (Daemon("26.1.5", (1, 45)), True, "ok"),
        (Daemon("20.10", (1, 41), runtimes=frozenset({"nvidia"})), False, "ok"),
        (Daemon("28.5", (1, 51), cdi_devices=("nvidia.com/gpu=all",)), False, "ok"),
    ],
)
def test_toolkit_that_is_missing_is_found_before_a_run_finds_it(engine: Daemon, toolkit: bool, status: str) -> None:
    finding = doctor.gpu_access(engine, Machine(arch="x86_64", gpus=(CARD,), toolkit=toolkit))
    assert finding.status == status
    assert ("Container Toolkit" in finding.fix) is (status == "fail")


def test_what_this_python_lacks_fails_only_where_auto_takes_it() -> None:
    double = Path(__file__).parents[1] / "doubles" / "tensorrt10"
    found = findings(PYTHONPATH=str(double))
    assert found["TensorRT here"]["status"] == "fail"
    assert "tensorrt 10.3.0, which builds on a GPU, and there is none" in found["TensorRT here"]["message"]
    assert found["engine"]["status"] == "warn"
    assert found["executor"]["message"] == "auto takes local: this Python"


def test_doctor_says_what_builds_in_this_python_have() -> None:
    found = findings()
    assert found["TensorRT here"]["message"].startswith("tensorrt_rtx 1.")
    assert found["onnx here"]["status"] == "ok"
    assert found["extras here"]["message"].startswith("installed: calibrate, verify, sanitize")
    assert {".etlt here", "converters here"} <= set(found)


@pytest.mark.parametrize(("arguments", "status", "engine"), [([], 0, "warn"), (["--platform", "rtx"], 1, "fail")])
def test_containers_may_be_missing_unless_they_are_asked_for(arguments: list[str], status: int, engine: str) -> None:
    environment = {**os.environ, "DOCKER_HOST": "unix:///none"}
    command = [COMMAND, "doctor", "--json", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout
    told = {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert told["engine"]["status"] == engine
