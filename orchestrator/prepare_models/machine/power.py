"""How fast a Jetson may run: power mode, clocks, temperatures. Reads files that other machines don't have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypedDict

_MODE = r"(?m)^<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)"


class Power(TypedDict):
    """What slows a Jetson down.

    mode: of nvpmodel, by its name or number. clocks_fixed: whether the clocks of all CPUs are held, as jetson_clocks
    does it; None if unknown. celsius: temperatures by the names of the zones.
    """

    mode: str
    clocks_fixed: bool | None
    celsius: dict[str, float]


def probe(root: Path = Path("/")) -> Power | None:
    """Return the state of the Jetson whose files are below ``root``; None of a machine without power modes."""
    from .facts import read  # here, as reports need nothing but the type

    chosen = re.search(r"pmode:0*(\d+)", read(root / "var/lib/nvpmodel/status"))
    if chosen is None:
        return None
    modes: dict[str, str] = dict(re.findall(_MODE, read(root / "etc/nvpmodel.conf")))
    number: str = chosen[1]
    clocks = [
        read(cpu / "scaling_min_freq") == read(cpu / "scaling_max_freq")
        for cpu in root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq")
    ]
    zones = {read(zone / "type").strip(): read(zone / "temp").strip() for zone in _zones(root)}
    celsius = {name: int(text) / 1000 for name, text in zones.items() if name and re.fullmatch(r"-?\d+", text)}
    return Power(mode=modes.get(number, number), clocks_fixed=all(clocks) if clocks else None, celsius=celsius)


def _zones(root: Path) -> list[Path]:
    return sorted(root.glob("sys/class/thermal/thermal_zone*"), key=lambda zone: (len(zone.name), zone.name))
