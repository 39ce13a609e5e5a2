"""Three diagnoses: this machine, a Jetson's files, a daemon that does not run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.command import Result
from tests.docker.conftest import DockerPlace


def findings(result: Result) -> dict[str, Any]:
    return {finding["name"]: finding for finding in json.loads(result.stdout)["findings"]}


def jetson(root: Path) -> Path:
    files = {
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.7, GCID: 42132812, BOARD: generic, EABI: aarch64\n",
        "proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0",
        "proc/device-tree/compatible": "nvidia,p3701-0005\0nvidia,tegra234\0",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_machine_without_gpu_but_with_daemon_and_image(place: DockerPlace) -> None:
    done = place.call("doctor", "--json")
    found = findings(done)
    assert found["engine"]["status"] == "ok"
    assert found["image"]["status"] == "ok"
    assert found["platform"]["message"].startswith("rtx: no GPU here")
    assert found["machine"]["status"] == "warn"
    assert done.status == 0


def test_daemon_that_does_not_run(place: DockerPlace, tmp_path: Path) -> None:
    done = place.call("doctor", "--json", DOCKER_HOST=f"unix://{tmp_path}/none.sock")
    engine = findings(done)["engine"]
    assert engine["status"] == "warn"
    assert "docker-unreachable" in engine["message"]
    assert "systemctl start docker" in engine["fix"]
    assert findings(done)["executor"]["message"] == "auto takes local: this Python"
    assert done.status == 0
    wanted = place.call("doctor", "--json", "--platform", "rtx", DOCKER_HOST=f"unix://{tmp_path}/none.sock")
    assert findings(wanted)["engine"]["status"] == "fail"
    assert wanted.status == 1


def test_jetson_whose_engine_has_the_runtime(place: DockerPlace, tmp_path: Path) -> None:
    done = place.call("doctor", "--json", "--root", str(jetson(tmp_path / "root")), "--arch", "aarch64")
    found = findings(done)
    assert "Jetson AGX Orin" in found["machine"]["message"]
    assert "L4T 36.4.7" in found["machine"]["message"]
    assert found["platform"]["message"].startswith("jetpack6:")
    assert found["L4T against image"]["status"] == "ok"
    assert found["GPU access"]["message"].startswith("runtime:")
    assert found["CDI"]["status"] == "warn"
    assert "--mode=csv" in found["CDI"]["fix"]


def test_platform_that_does_not_fit_fails(place: DockerPlace, tmp_path: Path) -> None:
    root = str(jetson(tmp_path / "root"))
    done = place.call("doctor", "--json", "--root", root, "--arch", "aarch64", "--platform", "jetpack5")
    finding = findings(done)["L4T against image"]
    assert finding["status"] == "fail"
    assert "this machine runs L4T 36.4.7" in finding["message"]
    assert done.status == 1


def test_text_shows_the_fix_under_its_finding(place: DockerPlace, tmp_path: Path) -> None:
    done = place.call("doctor", DOCKER_HOST=f"unix://{tmp_path}/none.sock")
    lines = done.stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("warn  engine"))
    assert lines[at + 1].strip().startswith("-> install Docker or start it")


def test_directory_that_is_none_fails(place: DockerPlace) -> None:
    (place.folder / "file").touch()
    found = findings(place.call("doctor", "--json", "--models-dir", "file/models"))
    assert found["models directory"]["status"] == "fail"


def test_ca_file_that_is_missing_fails(place: DockerPlace) -> None:
    found = findings(place.call("doctor", "--json", REQUESTS_CA_BUNDLE="/nonexistent.pem", SSL_CERT_FILE=""))
    assert found["CA of REQUESTS_CA_BUNDLE"]["status"] == "fail"
