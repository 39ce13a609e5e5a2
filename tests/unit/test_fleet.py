"""``doctor --root`` over machines as people have them, each with the advice that is right for it."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from prepare_models.machine import platforms
from prepare_models.machine.facts import Machine
from tests.command import COMMAND

ORIN = "nvidia,p3737-0000+p3701-0005\0nvidia,p3701-0005\0nvidia,tegra234\0"
NANO = "nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234\0"
THOR = "nvidia,p4071-0000+p3834-0008\0nvidia,p3834-0008\0nvidia,tegra264\0"
XAVIER = "nvidia,p2822-0000+p2888-0004\0nvidia,p2888-0004\0nvidia,tegra194\0"
TREE, RELEASE, SMI = "proc/device-tree/compatible", "etc/nv_tegra_release", "usr/bin/nvidia-smi"
WSL = "usr/lib/wsl/lib/nvidia-smi"


def release(major: int, revision: str) -> str:
    return f"# R{major} (release), REVISION: {revision}, GCID: 1, BOARD: generic, EABI: aarch64, DATE: x\n"


def package(version: str) -> str:
    return f"Package: nvidia-l4t-core\nStatus: install ok installed\nVersion: {version}-20250107174145\n\n"


def cards(*rows: str) -> str:
    return "\n".join(f"echo '{number}, GPU-{number}, {row}'" for number, row in enumerate(rows))


@dataclass(frozen=True)
class Case:
    """files below the root; expects: for findings, (name, status, part of the message or fix)."""

    arch: str
    files: dict[str, str]
    expects: tuple[tuple[str, str, str], ...]


JETSONS = {
    "AGX Orin, JetPack 6.2.1": Case(
        "aarch64", {RELEASE: release(36, "4.7"), TREE: ORIN},
        (("machine", "ok", "L4T 36.4.7"), ("JetPack", "ok", "JetPack 6.2.1: TensorRT 10.3.0"),
         ("JetPack", "ok", "with DLA"), ("platform", "ok", "jetpack6:"), ("CDI", "warn", "--mode=csv")),
    ),
    "Orin Nano, JetPack 7.2, with its TensorRT": Case(
        "aarch64", {RELEASE: release(39, "2.0"), TREE: NANO},
        (("JetPack", "ok", "TensorRT 10.16.2"), ("JetPack", "ok", "without DLA"), ("platform", "ok", "jetpack7.2:"),
         ("known faults", "warn", "SM 87 is not supported")),
    ),
    "AGX Orin, JetPack 7.2, whose DLA only TensorRT 11.4.1 uses": Case(
        "aarch64", {RELEASE: release(39, "2.1"), TREE: ORIN},
        (("JetPack", "ok", "JetPack 7.2.1"), ("JetPack", "ok", "without DLA; which TensorRT 11.4.1 has")),
    ),
    "Thor, JetPack 7.1": Case(
        "aarch64", {RELEASE: release(38, "4.0"), TREE: THOR},
        (("machine", "ok", "tegra264"), ("JetPack", "ok", "JetPack 7.1: TensorRT 10.13.3"),
         ("JetPack", "ok", "without DLA"), ("platform", "ok", "jetpack7:")),
    ),
    "Xavier, JetPack 5.1.2": Case(
        "aarch64", {RELEASE: release(35, "4.1"), TREE: XAVIER},
        (("JetPack", "ok", "JetPack 5.1.2: TensorRT 8.5.2"), ("platform", "ok", "jetpack5:")),
    ),
    "JetPack 5.0.1, a preview": Case(
        "aarch64", {RELEASE: release(34, "1.1"), TREE: ORIN},
        (("JetPack", "ok", "JetPack 5.0.1: TensorRT 8.4.0"), ("platform", "fail", "upgrade to JetPack 5.0.2")),
    ),
    "JetPack 4": Case(
        "aarch64", {RELEASE: release(32, "7.5"), TREE: XAVIER}, (("platform", "fail", "Python 3.6"),)
    ),
    "Yocto: a device tree and nothing else": Case(
        "aarch64", {TREE: ORIN},
        (("machine", "warn", "tegra234"), ("machine", "warn", "name its --platform"),
         ("platform", "fail", "--platform NAME")),
    ),
    "Nix: a device tree at its other place": Case(
        "aarch64", {"sys/firmware/devicetree/base/compatible": THOR}, (("platform", "fail", "tegra264"),)
    ),
    "balena: the package list alone": Case(
        "aarch64", {"var/lib/dpkg/status": package("36.4.3"), TREE: NANO},
        (("machine", "ok", "L4T 36.4.3"), ("platform", "ok", "jetpack6:")),
    ),
    "a release line without (release)": Case(
        "aarch64", {RELEASE: "\nR36, REVISION: 5.0\n", TREE: ORIN}, (("JetPack", "ok", "JetPack 6.2.2"),)
    ),
    "a release that is not known yet": Case(
        "aarch64", {RELEASE: release(41, "0.0"), TREE: THOR},
        (("JetPack", "ok", "belongs to no known JetPack"), ("platform", "fail", "--platform")),
    ),
    "a Jetson's container, whose nvidia-smi answers": Case(
        "aarch64", {TREE: ORIN, SMI: cards("Orin (nvgpu), 540.4.0, [N/A]")},
        (("machine", "warn", "tegra234"), ("platform", "fail", "names its L4T release")),
    ),
}  # fmt: skip
OTHERS = {
    "no GPU": Case(
        "x86_64", {}, (("machine", "warn", "nvidia-smi is not installed"), ("platform", "ok", "rtx: no GPU here"))
    ),
    "a workstation": Case(
        "x86_64", {SMI: cards("NVIDIA RTX 4090, 580.95.05, 8.9")},
        (("machine", "ok", "compute capability 8.9"), ("platform", "ok", "x86_64-trt10.13"),
         ("CDI", "warn", "nvidia-ctk")),
    ),
    "an older driver": Case(
        "x86_64", {SMI: cards("NVIDIA RTX 4090, 550.54.15, 8.9")}, (("platform", "ok", "x86_64-trt10.3"),)
    ),
    "a capability that the driver does not tell": Case(
        "x86_64", {SMI: cards("Tesla V100, 580.95.05, [N/A]")},
        (("machine", "ok", "compute capability unknown"), ("platform", "ok", "x86_64-trt10.13")),
    ),
    "two unlike GPUs": Case(
        "x86_64", {SMI: cards("NVIDIA L4, 580.95.05, 8.9", "GTX 1080, 580.95.05, 6.1")},
        (("machine", "warn", "different GPUs (8.9, 6.1)"), ("machine", "warn", "--gpu NUMBER"),
         ("platform", "ok", "x86_64-trt10.3")),
    ),
    "two like GPUs": Case(
        "x86_64", {SMI: cards("NVIDIA L4, 580.95.05, 8.9", "NVIDIA L4, 580.95.05, 8.9")},
        (("platform", "ok", "x86_64-trt10.13"),),
    ),
    "WSL2 without its PATH": Case(
        "x86_64", {WSL: cards("NVIDIA RTX 4090, 581.42, 8.9")}, (("machine", "ok", "driver 581.42"),)
    ),
    "GB10": Case(
        "aarch64", {SMI: cards("NVIDIA GB10, 580.95.05, 12.1")},
        (("platform", "ok", "rtx:"), ("platform", "ok", "--image IMAGE")),
    ),
    "GH200": Case(
        "aarch64", {SMI: cards("NVIDIA GH200 480GB, 580.95.05, 9.0")},
        (("platform", "fail", "compute capability 9.0"), ("platform", "fail", "NVIDIA's tensorrt:25.09-py3 or later")),
    ),
    "a driver that was updated under its module": Case(
        "x86_64", {SMI: "echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18"},
        (("machine", "warn", "restart the machine"),),
    ),
    "a module that is not loaded": Case(
        "x86_64", {SMI: 'echo "NVIDIA-SMI has failed because it couldn\'t communicate with the NVIDIA driver"; exit 9'},
        (("machine", "warn", "modprobe nvidia"),),
    ),
    "a GPU that fell off the bus": Case(
        "x86_64", {SMI: "echo 'Unable to determine the device handle for GPU 0000:01:00.0: Unknown Error'; exit 1"},
        (("machine", "warn", "Xid"),),
    ),
}  # fmt: skip
CASES = {**JETSONS, **OTHERS}


def examined(root: Path, case: Case) -> list[dict[str, Any]]:
    for name, text in case.files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!/bin/sh\n{text}\n" if name.endswith("nvidia-smi") else text)
        file.chmod(0o755)
    command = [COMMAND, "doctor", "--json", "--root", str(root), "--arch", case.arch]
    environment = {**os.environ, "DOCKER_HOST": "unix:///none"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr  # there is no engine
    found: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
    return found


@pytest.mark.parametrize("name", CASES)
def test_a_machine_gets_the_advice_that_is_right_for_it(tmp_path: Path, name: str) -> None:
    findings = examined(tmp_path, CASES[name])
    for wanted, status, part in CASES[name].expects:
        told = [each for each in findings if each["name"] == wanted]
        assert any(each["status"] == status and part in each["message"] + each["fix"] for each in told), told
    if name in JETSONS:
        assert not [each for each in findings if each["message"].startswith("rtx:")], "whose engines can't run there"


def test_twenty_machines_are_among_them() -> None:
    assert len(CASES) >= 20


def test_releases_follow_each_other() -> None:
    rows = [row for row in platforms.releases() if row.l4t]
    bounds = [tuple(map(int, text.split("."))) for row in rows for text in row.l4t]
    assert bounds == sorted(bounds)
    assert (rows[0].jetpack, platforms.releases()[-1].jetpack) == ("5.0", "7.2.2")


@pytest.mark.parametrize(
    ("board", "tensorrt", "uses"),
    [
        ("p3701-0005", "10.3.0", True),
        ("p3701-0005", "10.8.0", False),
        ("p3701-0005", "11.3.0", False),
        ("p3701-0005", "11.4.1", True),
        ("p3767-0000", "11.4.1", False),
        ("p3767-0005", "10.3.0", False),
        ("p3834-0008", "11.4.1", False),
        ("", "10.3.0", None),
    ],
)
def test_dla_is_data(board: str, tensorrt: str, uses: bool | None) -> None:
    assert platforms.has_dla(board, tensorrt) is uses


def test_a_machine_without_release_has_no_jetpack() -> None:
    assert platforms.about_jetpack(Machine(arch="aarch64", soc="tegra234")) == "unknown release"
