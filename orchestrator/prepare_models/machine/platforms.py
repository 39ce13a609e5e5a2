"""Which image fits a machine. The table is data: ``platforms.json``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from prepare_models_entrypoint.contract.values import Value

from .. import __version__
from ..errors import HostError, UsageError
from .facts import Machine, Version

REPOSITORY = "prepare-models"


class Platform(Value):
    """A row of the table.

    l4t: first and last release of Jetson Linux that the image runs on; empty for other machines.
    min_driver: oldest NVIDIA driver; min_compute: lowest compute capability. Empty: no requirement.
    runs_on: compute capabilities on which its engines run, with + for that and all later ones; empty: min_compute
    decides. confirmed: whether base image and versions come from a published source rather than inference.
    base_digest: ``sha256:`` and the digest of the base image that its tag referred to when it was pinned.
    by_name: whether it is used only by name: on most machines, Isaac ROS and Triton have an older TensorRT.
    """

    name: str
    dockerfile: str
    arch: tuple[str, ...]
    base_image: str
    python: str
    cuda: str
    tensorrt: str
    min_driver: str
    min_compute: str
    l4t: tuple[str, ...]
    jetpack: str
    confirmed: bool
    by_name: bool = False
    runs_on: tuple[str, ...] = ()
    base_digest: str = ""

    @property
    def base(self) -> str:
        """Return the base image, by digest if known."""
        return f"{self.base_image}@{self.base_digest}" if self.base_digest else self.base_image

    @property
    def image(self) -> str:
        """Return the name of the image that this version of the tool builds."""
        return f"{REPOSITORY}:{__version__}-{self.name}"

    @property
    def builds_without_gpu(self) -> bool:
        """Return whether engines are built ahead of time, for GPUs that need not be in this machine."""
        return self.name == "rtx"


class Choice(Value):
    """A platform, and a sentence on why it was chosen."""

    platform: Platform
    reason: str


def table() -> tuple[Platform, ...]:
    """Return every platform."""
    file = Path(__file__).with_name("platforms.json")
    rows = json.loads(file.read_text(encoding="utf-8"))
    lists = ("arch", "l4t", "runs_on")
    found = [Platform(**{**row, **{name: tuple(row.get(name, ())) for name in lists}}) for row in rows]
    return with_digests(found, json.loads(file.with_name("base_digests.json").read_text(encoding="utf-8")))


def with_digests(rows: Iterable[Platform], digests: Mapping[str, str | None]) -> tuple[Platform, ...]:
    """Return platforms with their base images pinned, if their digests are known."""
    return tuple(replace(row, base_digest=digests.get(row.base_image) or "") for row in rows)


def named(name: str) -> Platform:
    """Return the platform with that name."""
    rows = {row.name: row for row in table()}
    if name not in rows:
        raise UsageError(f"unknown platform {name}", hint=f"one of {', '.join(rows)}")
    return rows[name]


def with_image(text: str) -> tuple[Platform, str]:
    """Return a platform and the name of its image: its own, or that of ``PLATFORM=IMAGE``."""
    name, _, image = text.partition("=")
    row = named(name)
    return row, image or row.image


def of(name: str | None, machine: Machine) -> Platform:
    """Return the platform that the user names, else the one that fits the machine."""
    return named(name) if name else pick(machine).platform


def pick(machine: Machine) -> Choice:
    """Return the platform that fits the machine.

    Raises:
        HostError: the machine is a Jetson with a release for which there is no image, or has an unknown architecture.
    """
    if machine.jetson:
        return _for_jetson(machine)
    rows = [row for row in table() if machine.arch in row.arch and not row.l4t]
    if not rows:
        raise HostError(f"no image for {machine.arch} machines", hint="use --executor local with TensorRT installed")
    if machine.gpus:
        chosen = [row for row in rows if not (row.builds_without_gpu or row.by_name)]
        fitting = [row for row in chosen if unsuitable(row, machine) is None]
        if fitting:
            gpu = machine.gpus[0]
            return Choice(
                fitting[-1],
                f"{gpu.name}, driver {gpu.driver}: the newest image for it has TensorRT {fitting[-1].tensorrt}",
            )
        return _without_tensorrt(rows[0], machine)
    return Choice(rows[0], f"no GPU here ({machine.gpu_reason}): engines are built ahead of time with TensorRT-RTX")


def unsuitable(platform: Platform, machine: Machine) -> str | None:
    """Return why an image can't work on a machine, or None."""
    if machine.arch not in platform.arch:
        return f"the image is for {' and '.join(platform.arch)}, this machine is {machine.arch}"
    if platform.l4t:
        if machine.l4t is None and machine.jetson:
            return None  # its release is unknown, so trust the user
        if machine.l4t is None:
            return f"the image is for Jetson (JetPack {platform.jetpack}), this machine is not one"
        low, high = (version(text) for text in platform.l4t)
        if not low <= machine.l4t <= high:
            return f"the image is for JetPack {platform.jetpack}, this machine runs L4T {dotted(machine.l4t)}"
    if platform.min_driver and machine.gpus and version(machine.gpus[0].driver) < version(platform.min_driver):
        return f"the image needs driver {platform.min_driver} or later, this machine has {machine.gpus[0].driver}"
    for capability in machine.capabilities:
        if platform.min_compute and version(capability) < version(platform.min_compute):
            return f"the image needs compute capability {platform.min_compute} or higher, a GPU here has {capability}"
        least = next((version(text) for text in platform.runs_on if text.endswith("+")), None)
        later = least is not None and version(capability) >= least
        if platform.runs_on and capability not in platform.runs_on and not later:
            return f"engines of {platform.tensorrt} don't run on compute capability {capability}"
    return None


def _without_tensorrt(ahead: Platform, machine: Machine) -> Choice:
    """Return TensorRT-RTX if its engines run on a GPU that no image with full TensorRT supports.

    Raises:
        HostError: they don't.
    """
    gpu = machine.gpus[0]
    what = f"no TensorRT image serves {gpu.name} (compute capability {gpu.compute_capability or 'unknown'})"
    what += f" with driver {gpu.driver} on {machine.arch}"
    own = "give an image of your own: --platform NAME --image IMAGE; on Arm, from NVIDIA's tensorrt:25.09-py3 or later"
    if unsuitable(ahead, machine) is None:
        advice = f"; for engines that Isaac ROS and Triton load, {own}" if machine.arch == "aarch64" else ""
        return Choice(ahead, what + advice)
    raise HostError(what, hint=own if machine.arch == "aarch64" else f"update the driver, or {own}")


def _for_jetson(machine: Machine) -> Choice:
    rows, release = [row for row in table() if row.l4t], machine.l4t
    if release is None:
        raise HostError(
            f"this is a Jetson ({machine.soc}), but nothing here names its L4T release",
            hint="name the platform: --platform NAME, "
            + ", ".join(f"{row.name} for JetPack {row.jetpack}" for row in rows if row.confirmed),
        )
    for row in rows:
        if unsuitable(row, machine) is None:
            return Choice(row, f"{machine.model or 'a Jetson'}, L4T {dotted(release)}: JetPack {row.jetpack}")
    if release[0] == 34:
        hint = "L4T 34 is a preview of JetPack 5.0; upgrade to JetPack 5.0.2 or later"
    elif release[0] < 34:
        hint = "JetPack 4 has Python 3.6, which the entrypoint does not run on; upgrade to JetPack 5 or later"
    else:
        hint = "choose an image yourself with --platform, and please report this release"
    raise HostError(f"no image for L4T {dotted(release)} on {machine.arch}", hint=hint)


def version(text: str) -> Version:
    """Return a dotted version as numbers."""
    return tuple(int(part) for part in re.findall(r"\d+", text))


def dotted(numbers: Version) -> str:
    """Return a version as text."""
    return ".".join(map(str, numbers))


class JetPack(Value):
    """One release.

    l4t: first and last Jetson Linux; empty if unknown. newer: a TensorRT that it supports besides its own.
    """

    jetpack: str
    l4t: tuple[str, ...]
    python: str
    cuda: str
    tensorrt: str
    newer: str = ""


def releases() -> tuple[JetPack, ...]:
    """Return every release, oldest first."""
    return tuple(JetPack(**{**row, "l4t": tuple(row["l4t"])}) for row in _jetpacks()["releases"])


def has_dla(board: str, tensorrt: str) -> bool | None:
    """Return whether a TensorRT builds for the DLA of a module; None for an unknown module."""
    if not board:
        return None
    wanted = version(tensorrt)
    return any(
        version(first) <= wanted
        and (not last or wanted <= version(last))  # empty: all later ones, too
        and any(board == module or board.startswith(f"{module}-") for module in row["modules"])
        for row in _jetpacks()["dla"]
        for first, last in (row["tensorrt"],)
    )


def about_jetpack(machine: Machine) -> str:
    """Return what is known about a Jetson's release and its DLA, as a sentence."""
    if machine.l4t is None:
        return "unknown release"
    known = [row for row in releases() if row.l4t]
    found = next((row for row in known if version(row.l4t[0]) <= machine.l4t <= version(row.l4t[1])), None)
    if found is None:
        return f"L4T {dotted(machine.l4t)} belongs to no known JetPack"
    parts = [f"JetPack {found.jetpack}: TensorRT {found.tensorrt}, CUDA {found.cuda}, Python {found.python}"]
    newest = releases()[-1]
    if found.jetpack.startswith("7.2"):
        parts.append(f"TensorRT {newest.newer} from JetPack {newest.jetpack} on")
    uses = has_dla(machine.board, found.tensorrt)
    if uses is not None:
        parts.append("with DLA" if uses else "without DLA")
    if not uses and newest.newer and found.jetpack.startswith("7.2") and has_dla(machine.board, newest.newer):
        parts.append(f"which TensorRT {newest.newer} has")
    return "; ".join(parts)


@lru_cache(maxsize=1)
def _jetpacks() -> dict[str, list[Any]]:
    file = Path(__file__).with_name("jetpacks.json")
    document: dict[str, list[Any]] = json.loads(file.read_text(encoding="utf-8"))
    return document
