from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from prepare_models.machine import facts, platforms
from prepare_models.machine.facts import probe
from prepare_models.machine.gpus import Gpu

ORIN = "# R36 (release), REVISION: 4.7, GCID: 42132812, BOARD: generic, EABI: aarch64, DATE: Thu Sep 18 2025\n"


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def smi(root: Path, script: str) -> Path:
    """A double of nvidia-smi: a shell script."""
    put(root, {"usr/bin/nvidia-smi": f"#!/bin/sh\n{script}\n"})
    (root / "usr/bin/nvidia-smi").chmod(0o755)
    return root


def test_jetson_is_told_by_its_release_file_and_device_tree(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "etc/nv_tegra_release": ORIN,
            "proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0",
            "proc/device-tree/compatible": "nvidia,p3737-0000+p3701-0005\0nvidia,p3701-0005\0nvidia,tegra234\0",
        },
    )
    found = probe(tmp_path, arch="aarch64")
    assert found.l4t == (36, 4, 7)
    assert found.model == "NVIDIA Jetson AGX Orin Developer Kit"
    assert (found.soc, found.capabilities) == ("tegra234", ("8.7",))
    assert found.gpus == ()


@pytest.mark.parametrize(
    ("line", "release"),
    [
        ("# R35 (release), REVISION: 4.1, GCID: 1, BOARD: t186ref, EABI: aarch64, DATE: x", (35, 4, 1)),
        ("# R32 (release), REVISION: 7.5, GCID: 1", (32, 7, 5)),
        ("# R39 (release), REVISION: 2, GCID: 1", (39, 2, 0)),
    ],
)
def test_release_line(tmp_path: Path, line: str, release: tuple[int, ...]) -> None:
    assert probe(put(tmp_path, {"etc/nv_tegra_release": line})).l4t == release


def test_release_without_its_file_comes_from_the_package_list(tmp_path: Path) -> None:
    status = (
        "Package: bash\nStatus: install ok installed\nVersion: 5.1\n\n"
        "Package: nvidia-l4t-core\nStatus: install ok installed\nVersion: 36.4.3-20250107174145\n\n"
    )
    assert probe(put(tmp_path, {"var/lib/dpkg/status": status})).l4t == (36, 4, 3)


def test_gpus_are_those_that_nvidia_smi_lists(tmp_path: Path) -> None:
    smi(
        tmp_path,
        "echo '0, GPU-aaa, NVIDIA RTX 4000 Ada, 550.54.15, 8.9'; echo '1, GPU-bbb, Tesla T4, 550.54.15, 7.5'",
    )
    found = probe(tmp_path, arch="x86_64")
    assert found.gpus == (
        Gpu(0, "GPU-aaa", "NVIDIA RTX 4000 Ada", "550.54.15", "8.9"),
        Gpu(1, "GPU-bbb", "Tesla T4", "550.54.15", "7.5"),
    )
    assert found.capabilities == ("8.9", "7.5")


def test_driver_that_does_not_tell_the_capability_is_a_driver(tmp_path: Path) -> None:
    smi(
        tmp_path,
        """case "$1" in *compute_cap*) echo 'Field "compute_cap" is not a valid field to query.'; exit 2;; esac
        echo '0, GPU-aaa, NVIDIA RTX A4000, 470.57.02'""",
    )
    assert probe(tmp_path, arch="x86_64").gpus == (Gpu(0, "GPU-aaa", "NVIDIA RTX A4000", "470.57.02", ""),)


def test_container_toolkit_is_told_by_its_hook(tmp_path: Path) -> None:
    assert not probe(tmp_path).toolkit
    assert probe(put(tmp_path, {"usr/bin/nvidia-container-runtime-hook": ""})).toolkit


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'NVIDIA-SMI has failed because it could not communicate with the driver'; exit 9", "ends with status 9"),
        ("exit 0", "lists no GPU"),
    ],
)
def test_reason_for_no_gpu(tmp_path: Path, script: str, reason: str) -> None:
    found = probe(smi(tmp_path, script))
    assert found.gpus == ()
    assert reason in found.gpu_reason


def test_another_root_is_not_asked_through_this_machines_programs(tmp_path: Path) -> None:
    assert probe(tmp_path).gpu_reason == "nvidia-smi is not installed: no NVIDIA driver"


def test_specification_of_another_kind_is_no_gpu(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "etc/cdi/nvidia-pva.yaml": "cdiVersion: 0.5.0\nkind: nvidia.com/pva\ndevices: [{name: '0'}, {name: all}]\n",
            "etc/cdi/broken.yaml": "kind: [",
            "etc/cdi/odd.yaml": "kind: nvidia.com/gpu\ndevices: [all, {names: all}, 7]\n",
            "etc/cdi/odder.yaml": "kind: nvidia.com/gpu\ndevices: 7\n",
            "etc/cdi/notes.txt": "kind: nvidia.com/gpu",
        },
    )
    assert probe(tmp_path).cdi == ()


def test_devices_of_all_specifications(tmp_path: Path) -> None:
    gpu = {"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": [{"name": "0"}, {"name": "all"}]}
    put(tmp_path, {"etc/cdi/nvidia.json": json.dumps(gpu), "var/run/cdi/nvidia.yaml": json.dumps(gpu)})
    assert probe(tmp_path).cdi == ("nvidia.com/gpu=0", "nvidia.com/gpu=all")


def test_group_of_a_device_that_is_closed_to_others(tmp_path: Path) -> None:
    put(tmp_path, {"dev/nvhost-gpu": "", "dev/nvmap": ""})
    os.chmod(tmp_path / "dev/nvhost-gpu", 0o660)
    os.chmod(tmp_path / "dev/nvmap", 0o666)
    group = (tmp_path / "dev/nvhost-gpu").stat().st_gid
    assert probe(tmp_path).device_groups == ((group,) if group else ())


def test_this_machine_has_memory() -> None:
    assert facts.probe().memory_bytes > 1 << 20


ORIN_TREE = {
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano\0",
    "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0003\0nvidia,tegra234\0",
}


@pytest.mark.parametrize(
    "text", ["R36, REVISION: 4.3", "\n\n# R36 (release), REVISION: 4.3, GCID: 1", "# R36 REVISION: 4.3"]
)
def test_release_line_in_the_forms_of_other_distributions(tmp_path: Path, text: str) -> None:
    assert probe(put(tmp_path, {"etc/nv_tegra_release": text})).l4t == (36, 4, 3)


def test_a_jetson_without_release_file_is_one_by_its_device_tree(tmp_path: Path) -> None:
    smi(put(tmp_path, ORIN_TREE), "echo '0, GPU-aaa, Orin (nvgpu), 540.4.0, [N/A]'")
    found = probe(tmp_path, arch="aarch64")
    assert (found.jetson, found.l4t, found.capabilities, found.gpus) == (True, None, ("8.7",), ())


def test_wsl_has_nvidia_smi_elsewhere(tmp_path: Path) -> None:
    put(tmp_path, {"usr/lib/wsl/lib/nvidia-smi": "#!/bin/sh\necho '0, GPU-aaa, NVIDIA RTX 4090, 560.94, 8.9'\n"})
    (tmp_path / "usr/lib/wsl/lib/nvidia-smi").chmod(0o755)
    assert [gpu.compute_capability for gpu in probe(tmp_path, arch="x86_64").gpus] == ["8.9"]


def test_a_capability_that_is_not_one_is_unknown(tmp_path: Path) -> None:
    found = probe(smi(tmp_path, "echo '0, GPU-aaa, Tesla V100, 580.95.05, [N/A]'"), arch="x86_64")
    assert found.gpus[0].compute_capability == ""
    assert platforms.pick(found).platform.name == "x86_64-trt10.13"


@pytest.mark.parametrize(
    ("said", "fix"),
    [
        ("Failed to initialize NVML: Driver/library version mismatch", "restart the machine"),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", "modprobe nvidia"),
        ("No devices were found", "lspci"),
        ("Unable to determine the device handle for GPU 0000:01:00.0: Unknown Error", "Xid"),
    ],
)
def test_a_driver_that_fails_comes_with_its_fix(tmp_path: Path, said: str, fix: str) -> None:
    assert fix in probe(smi(tmp_path, f'echo "{said}"; exit 9'), arch="x86_64").gpu_fix
