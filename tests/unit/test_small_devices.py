"""What a Jetson's files say of its memory and its speed, with texts as public notes show them of an Orin Nano."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from prepare_models.machine.facts import power_of
from tests.command import COMMAND

FILES = {
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.7, GCID: 42132812, BOARD: generic, EABI: aarch64\n",
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
    "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005-super\0nvidia,p3767-0005\0nvidia,tegra234\0",
    "proc/meminfo": "MemTotal:        7802384 kB\nMemFree:          374564 kB\nSwapTotal:       3901184 kB\n",
    "var/lib/nvpmodel/status": "pmode:0002",
    "etc/nvpmodel.conf": "# < POWER_MODEL ID=id_num NAME=mode_name >\n\n"
    "< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n\n< POWER_MODEL ID=1 NAME=25W >\n\n"
    "< POWER_MODEL ID=2 NAME=MAXN_SUPER >\nGPU MAX_FREQ -1\n\n< PM_CONFIG DEFAULT=0 >\n",
    **{
        f"sys/devices/system/cpu/cpu{n}/cpufreq/scaling_m{end}_freq": "1728000\n"
        for n in (0, 4)
        for end in ("in", "ax")
    },
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "47187\n",
    "sys/class/thermal/thermal_zone2/type": "cv0-thermal\n",  # its temperature can't be read while it sleeps
    "sys/class/thermal/thermal_zone8/type": "tj-thermal\n",
    "sys/class/thermal/thermal_zone8/temp": "46812\n",
}
SWAPS = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
ZRAM = "".join(f"/dev/zram{n}                              partition\t650196\t\t0\t\t5\n" for n in range(6))
FILE = "/swapfile                               file\t\t8388604\t\t0\t\t-2\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def findings(root: Path) -> dict[str, Any]:
    command = [COMMAND, "doctor", "--root", str(root), "--arch", "aarch64", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}


def test_doctor_knows_what_a_small_jetson_lacks(root: Path) -> None:
    (root / "proc/swaps").write_text(SWAPS + ZRAM)
    found = findings(root)
    assert found["memory"]["status"] == "warn", "swap in zram is memory itself"
    assert found["memory"]["message"].startswith("8.0 GB, 0 B of swap on disks")
    assert found["memory"]["fix"].startswith("sudo fallocate -l 8G /swapfile && ")
    assert found["power"]["message"] == "nvpmodel mode MAXN_SUPER, clocks fixed, cpu-thermal 47 °C"
    (root / "proc/swaps").write_text(SWAPS + ZRAM + FILE)
    assert findings(root)["memory"] == {
        **found["memory"],
        "status": "ok",
        "message": "8.0 GB, 8.6 GB of swap on disks",
        "fix": "",
    }


def test_what_can_not_be_read_is_left_out(root: Path) -> None:
    assert power_of(root) == {
        "mode": "MAXN_SUPER", "clocks_fixed": True, "celsius": {"cpu-thermal": 47.187, "tj-thermal": 46.812},
    }  # fmt: skip
    (root / "sys/devices/system/cpu/cpu4/cpufreq/scaling_min_freq").write_text("729600\n")
    (root / "etc/nvpmodel.conf").unlink()
    assert power_of(root) == {
        "mode": "2", "clocks_fixed": False, "celsius": {"cpu-thermal": 47.187, "tj-thermal": 46.812},
    }  # fmt: skip
    (root / "var/lib/nvpmodel/status").unlink()
    assert power_of(root) is None
