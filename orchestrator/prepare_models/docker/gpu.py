"""How a container gets its GPU: decided from what the daemon offers and what the machine is, without any queries."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import field

from prepare_models_entrypoint.contract.values import Value

from ..errors import HostError, UsageError
from ..machine import gpus
from ..machine.facts import CDI_DIRECTORIES, CDI_KIND, Machine
from ..machine.platforms import Platform
from .daemon import CDI_BY_DEFAULT_API, Daemon

NONE = gpus.NONE
CDI = "cdi"
DEVICE_REQUEST = "device-request"
RUNTIME = "runtime"

NVIDIA_RUNTIME = "nvidia"
CAPABILITIES = "compute,utility"
_CDI_API = (1, 44)
DEVICE_REQUEST_API = (1, 40)
_WANTED = r"none|all|(gpu|mig)?\d+(:\d+)?|(GPU|MIG)-[\w/-]+"  # gpu0, 0:1: names in CDI specifications


class Access(Value):
    """The way to the GPU, the devices (``all``, an index or a UUID), and why this way."""

    way: str
    devices: tuple[str, ...] = ()
    reason: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


# An image may request all GPUs by its own environment, and a daemon's default runtime may grant them.
WITHOUT = Access(NONE, reason="not asked for", environment={"NVIDIA_VISIBLE_DEVICES": "void"})


def wanted(given: str | None, platform: Platform) -> str:
    """Return the GPUs that a container of an image gets. ``given``: the user's choice; None for the default."""
    if given is not None:
        return given
    return NONE if platform.builds_without_gpu else "all"


def choose(daemon: Daemon, machine: Machine, wanted: str = "all") -> Access:
    """Return the way to the GPUs in ``wanted``: ``none``, ``all``, an index or a UUID.

    Raises:
        UsageError: this is not the name of a GPU.
        HostError: this container engine has no access to a GPU; the hint says what to install.
    """
    if not re.fullmatch(_WANTED, wanted):
        raise UsageError(
            f"--gpu {wanted} does not name a GPU", hint="write none, all, a number or a UUID of: nvidia-smi -L"
        )
    if wanted == NONE:
        return WITHOUT
    release = tuple(int(part) for part in daemon.version.split(".")[:2] if part.isdigit())
    if daemon.podman and release < (5, 4):
        raise HostError(
            f"Podman {daemon.version} silently drops GPU requests of its Docker-compatible API",
            hint="use Podman 5.4 or later with a CDI specification, or Docker",
        )
    if machine.jetson:
        return _on_jetson(daemon, machine, wanted)
    cdi, name = offered_cdi(daemon, machine), "Podman" if daemon.podman else "Engine"
    if cdi:
        return _cdi(cdi, wanted, f"{name} {daemon.version} knows {', '.join(cdi)}")
    if daemon.podman:
        raise HostError(
            "Podman gives GPUs through CDI only, and there is no specification",
            hint="run: sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",
        )
    if daemon.api >= DEVICE_REQUEST_API:
        return Access(DEVICE_REQUEST, (wanted,), f"Engine {daemon.version} lists no CDI device: NVIDIA's prestart hook")
    raise HostError(
        f"Engine {daemon.version} has no access to a GPU",
        hint="install Docker 19.03 or later and NVIDIA's Container Toolkit",
    )


def for_each(daemon: Daemon, machine: Machine, wanted: str) -> tuple[Access, ...]:
    """Return a separate way to each GPU, so that no two builds share one; a single one if GPUs can't be distinguished.

    Raises:
        HostError: as in ``choose``.
    """
    access = choose(daemon, machine, wanted)
    if wanted == "all" and len(machine.gpus) > 1:
        for names in ([card.uuid for card in machine.gpus], [str(card.index) for card in machine.gpus]):
            with contextlib.suppress(HostError):  # a CDI specification names devices by either or both
                return tuple(choose(daemon, machine, name) for name in names)
    return (access,)


def offered_cdi(daemon: Daemon, machine: Machine) -> tuple[str, ...]:
    """Return the GPU devices that the container engine resolves through CDI."""
    if daemon.cdi_devices or daemon.api >= CDI_BY_DEFAULT_API:
        return tuple(device for device in daemon.cdi_devices if device.startswith(f"{CDI_KIND}="))
    looks_there = daemon.api >= _CDI_API and bool({*daemon.cdi_spec_dirs} & {*CDI_DIRECTORIES})
    return machine.cdi if daemon.podman or looks_there else ()


def _on_jetson(daemon: Daemon, machine: Machine, wanted: str) -> Access:
    if wanted not in ("all", "0"):
        raise HostError(f"a Jetson has one GPU, --gpu {wanted} names another", hint="use --gpu all")
    if NVIDIA_RUNTIME in daemon.runtimes and not daemon.podman:
        # An integrated GPU needs the driver's libraries of every kind, which is what `all` means there.
        environment = {"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "all"}
        return Access(RUNTIME, ("all",), "a Jetson's GPU comes through the runtime nvidia", environment)
    cdi = offered_cdi(daemon, machine)
    if cdi:
        return _cdi(cdi, "all", "the runtime nvidia is not registered, but a CDI specification exists")
    raise HostError(
        "the engine has neither the runtime nvidia nor a CDI device for this Jetson's GPU",
        hint="run: sudo apt-get install nvidia-container-toolkit && sudo nvidia-ctk runtime configure --runtime=docker "
        "&& sudo systemctl restart docker",
    )


def _cdi(offered: tuple[str, ...], wanted: str, reason: str) -> Access:
    device = f"{CDI_KIND}={wanted}"
    if device not in offered:
        raise HostError(
            f"no CDI device {device}; the specifications have {', '.join(offered)}",
            hint="choose one of them with --gpu, or run: sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",
        )
    return Access(CDI, (device,), reason)
