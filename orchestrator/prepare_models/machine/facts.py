"""What this machine is: architecture, Jetson release, NVIDIA GPUs, CDI devices. Reads files; changes nothing.

Every probe looks below a root directory, so that a test can pass another machine's files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypedDict

from prepare_models_entrypoint.contract.environment import board_of
from prepare_models_entrypoint.contract.values import Value

from . import gpus
from .gpus import Gpu

CDI_KIND = "nvidia.com/gpu"
CDI_DIRECTORIES = ("/etc/cdi", "/var/run/cdi")

_L4T_RELEASE = re.compile(
    r"^#?\s*R(?P<major>\d+)\b[^\n]*?\bREVISION:\s*(?P<minor>\d+)(?:\.(?P<patch>\d+))?", re.MULTILINE | re.IGNORECASE
)
_L4T_PACKAGE = r"(?m)^Package: nvidia-l4t-core\n(?:.+\n)*?Version: (\d+)\.(\d+)(?:\.(\d+))?"
_SOC_CAPABILITY = {"tegra210": "5.3", "tegra186": "6.2", "tegra194": "7.2", "tegra234": "8.7", "tegra264": "11.0"}
_DEVICE_NODES = ("nvhost-ctrl", "nvhost-gpu", "nvmap", "nvidia0", "nvidiactl", "dri/card0", "dri/renderD128")
_HOOK = "nvidia-container-runtime-hook"
_PROGRAMS = ("usr/bin", "usr/local/bin", "usr/sbin", "usr/local/sbin")
Version = tuple[int, ...]


class Machine(Value):
    """A machine.

    arch: x86_64 or aarch64. l4t: release of Jetson Linux such as (36, 4, 7); None if not a Jetson.
    model: the device tree's name of the board; soc: such as tegra234.
    gpus: discrete GPUs; gpu_reason: why there are none, or one is missing; gpu_fix: what to do about it.
    cdi: devices such as nvidia.com/gpu=all.
    board: module of a Jetson, such as p3767-0000.
    swap_bytes: on disks; swap in zram is memory itself and does not count.
    device_groups: numeric groups that own the GPU's device nodes where others may not open them.
    toolkit: whether NVIDIA's Container Toolkit is where engines look for it.
    """

    arch: str
    l4t: Version | None = None
    model: str = ""
    soc: str = ""
    gpus: tuple[Gpu, ...] = ()
    gpu_reason: str = ""
    gpu_fix: str = ""
    cdi: tuple[str, ...] = ()
    device_groups: tuple[int, ...] = ()
    memory_bytes: int = 0
    swap_bytes: int = 0
    board: str = ""
    toolkit: bool = False

    @property
    def jetson(self) -> bool:
        """Return whether this is a Jetson, by its release, or by its device tree if no file names the release."""
        return self.l4t is not None or bool(self.soc)

    @property
    def capabilities(self) -> tuple[str, ...]:
        """Return the known compute capabilities of all GPUs, each once."""
        found = [gpu.compute_capability for gpu in self.gpus] or [_SOC_CAPABILITY.get(self.soc, "")]
        return tuple(dict.fromkeys(filter(None, found)))


def probe(
    root: Path = Path("/"), *, arch: str | None = None, ask_gpus: Callable[[Path], gpus.Answer] = gpus.ask
) -> Machine:
    """Describe the machine whose files are below ``root``."""
    l4t, compatible = _l4t(root), _device_tree(root, "compatible")
    names = [name.removeprefix("nvidia,") for name in compatible.split("\0")]
    soc = next((name for name in names if name in _SOC_CAPABILITY), "")
    memory = re.search(r"^MemTotal:\s+(\d+) kB", read(root / "proc/meminfo"), re.MULTILINE)
    swaps = [line.split() for line in read(root / "proc/swaps").splitlines()[1:]]
    driver = gpus.Answer((), "a Jetson has no discrete GPU") if l4t or soc else ask_gpus(root)
    return Machine(
        arch=arch or os.uname().machine,
        l4t=l4t,
        model=_device_tree(root, "model"),
        soc=soc,
        gpus=driver.gpus,
        gpu_reason=driver.reason,
        gpu_fix=driver.fix,
        cdi=cdi_devices([root / directory.lstrip("/") for directory in CDI_DIRECTORIES]),
        device_groups=_device_groups(root),
        memory_bytes=int(memory[1]) * 1024 if memory else 0,
        swap_bytes=sum(
            int(row[2]) * 1024 for row in swaps if len(row) > 2 and row[2].isdigit() and "zram" not in row[0]
        ),
        board=board_of(compatible) or "",
        toolkit=any((root / directory / _HOOK).exists() for directory in _PROGRAMS),
    )


def cdi_devices(directories: list[Path]) -> tuple[str, ...]:
    """Return the GPU devices of all CDI specifications, sorted. Specifications of other kinds are not GPUs."""
    names: set[str] = set()
    for directory in directories:
        for file in sorted(directory.glob("*")):
            if file.suffix in (".json", ".yaml", ".yml"):
                names.update(f"{CDI_KIND}={name}" for name in _spec_devices(file))
    return tuple(sorted(names))


def _spec_devices(file: Path) -> Iterator[str]:
    import yaml

    try:
        spec: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return
    devices = spec.get("devices") if isinstance(spec, dict) and spec.get("kind") == CDI_KIND else None
    for device in devices if isinstance(devices, list) else ():
        if isinstance(device, dict) and device.get("name") is not None:
            yield str(device["name"])


def _l4t(root: Path) -> Version | None:
    match = _L4T_RELEASE.search(read(root / "etc/nv_tegra_release"))
    if match:
        return tuple(int(part or 0) for part in match.group("major", "minor", "patch"))
    package = re.search(_L4T_PACKAGE, read(root / "var/lib/dpkg/status"))
    return tuple(int(part or 0) for part in package.groups()) if package else None


def _device_tree(root: Path, name: str) -> str:
    for base in ("proc/device-tree", "sys/firmware/devicetree/base"):
        text = read(root / base / name)
        if text:
            return text.rstrip("\0").strip()
    return ""


def _device_groups(root: Path) -> tuple[int, ...]:
    """Return the groups of device nodes that only they may open, as on Jetson (0660, group video)."""
    groups: set[int] = set()
    for name in _DEVICE_NODES:
        try:
            status = (root / "dev" / name).stat()
        except OSError:
            continue
        if not status.st_mode & 0o006 and status.st_gid:
            groups.add(status.st_gid)
    return tuple(sorted(groups))


def read(path: Path) -> str:
    """Return the text of a file of the system, or an empty one."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


_MODE = r"(?m)^<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)"


class Power(TypedDict):
    """What slows a Jetson down.

    mode: of nvpmodel, by its name or number. clocks_fixed: whether the clocks of all CPUs are held, as jetson_clocks
    does it; None if unknown. celsius: temperatures by the names of the zones.
    """

    mode: str
    clocks_fixed: bool | None
    celsius: dict[str, float]


def power_of(root: Path = Path("/")) -> Power | None:
    """Return the state of the Jetson whose files are below ``root``; None of a machine without power modes."""
    chosen = re.search(r"pmode:0*(\d+)", read(root / "var/lib/nvpmodel/status"))
    if chosen is None:
        return None
    modes: dict[str, str] = dict(re.findall(_MODE, read(root / "etc/nvpmodel.conf")))
    number: str = chosen[1]
    clocks = [
        read(cpu / "scaling_min_freq") == read(cpu / "scaling_max_freq")
        for cpu in root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq")
    ]
    places = sorted(root.glob("sys/class/thermal/thermal_zone*"), key=lambda zone: (len(zone.name), zone.name))
    zones = {read(zone / "type").strip(): read(zone / "temp").strip() for zone in places}
    celsius = {name: int(text) / 1000 for name, text in zones.items() if name and re.fullmatch(r"-?\d+", text)}
    return Power(mode=modes.get(number, number), clocks_fixed=all(clocks) if clocks else None, celsius=celsius)
