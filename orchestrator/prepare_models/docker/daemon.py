"""What a container engine reports about itself, its images, and who owns a container: a killed run, or a live one."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from prepare_models_entrypoint.contract.codec import CONTRACT_VERSION
from prepare_models_entrypoint.contract.values import Value

from ..machine.facts import cdi_devices, read
from .address import is_local

if TYPE_CHECKING:
    from docker import DockerClient

LABEL = "io.prepare-models"
CONTRACT_LABEL = f"{LABEL}.contract"

CDI_BY_DEFAULT_API = (1, 50)
_TIMEOUT_S = 5.0
_LARGEST = 16 << 20  # bytes of an answer
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}  # by Go's names of architectures


class Daemon(Value):
    """A container engine's daemon, as it describes itself.

    api: such as (1, 41). cdi_spec_dirs: None if not reported. cdi_devices: those that it discovered itself.
    local: whether it sees this machine's files. docker_root: where it stores images.
    """

    version: str
    api: tuple[int, ...]
    podman: bool = False
    rootless: bool = False
    local: bool = True
    runtimes: frozenset[str] = frozenset()
    cdi_spec_dirs: tuple[str, ...] = ()
    cdi_devices: tuple[str, ...] = ()
    arch: str = "x86_64"
    docker_root: str = ""
    memory_bytes: int = 0


class Image(Value):
    """An image that the container engine has."""

    id: str
    tags: tuple[str, ...]
    labels: Mapping[str, str]
    arch: str
    bytes: int

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> Image:
        """Return the image described by the engine's API."""
        return cls(
            id=attributes["Id"],
            tags=tuple(tag for tag in attributes.get("RepoTags") or () if tag != "<none>:<none>"),
            labels=(attributes.get("Config") or {}).get("Labels") or {},
            arch=attributes.get("Architecture", ""),
            bytes=attributes.get("Size", 0),
        )

    @property
    def machine(self) -> str:
        """Return the architecture that it runs on, by the kernel's name."""
        return MACHINES.get(self.arch, self.arch)

    def unfit(self) -> str | None:
        """Return why this version of the tool can't use the image, or None."""
        found = self.labels.get(CONTRACT_LABEL)
        if found is None:
            return "it carries no contract version, so it is not an image of prepare-models"
        if found != str(CONTRACT_VERSION):
            return f"it uses contract version {found}, this version of the tool uses {CONTRACT_VERSION}"
        return None


def probe(client: DockerClient) -> Daemon:
    """Query the container engine behind the Docker SDK's ``client``."""
    version, info = client.version(), client.info()
    components = {part.get("Name"): part.get("Version", "") for part in version.get("Components") or ()}
    podman = "Podman Engine" in components
    devices = [device["ID"] for device in info.get("DiscoveredDevices") or () if device.get("Source") == "cdi"]
    spec_dirs, local = tuple(info.get("CDISpecDirs") or ()), is_local(client.api.base_url)
    api = tuple(int(part) for part in version["ApiVersion"].split("."))
    if local and api < CDI_BY_DEFAULT_API:  # engines 25.0 to 28.1 report where they look, not what they found
        devices = list(cdi_devices([Path(directory) for directory in spec_dirs]))
    rootless = "name=rootless" in (info.get("SecurityOptions") or ())
    if podman:  # whose Docker-compatible API, at least up to 4.3, doesn't report it
        own = client.api.get(f"{client.api.base_url}/v4.0.0/libpod/info").json()
        rootless = bool(own.get("host", {}).get("security", {}).get("rootless"))
    return Daemon(
        version=components.get("Podman Engine") or version["Version"],
        api=api,
        podman=podman,
        rootless=rootless,
        local=local,
        runtimes=frozenset(info.get("Runtimes") or ()),
        cdi_spec_dirs=spec_dirs,
        cdi_devices=tuple(devices),
        arch=MACHINES.get(info.get("Architecture", ""), info.get("Architecture", "")),
        docker_root=info.get("DockerRootDir", ""),
        memory_bytes=info.get("MemTotal", 0),
    )


def container_user(daemon: Daemon) -> str:
    """Return the caller as ``uid:gid``. For a rootless engine, the container's root is the caller."""
    return "0:0" if daemon.rootless else f"{os.getuid()}:{os.getgid()}"


def container_groups(daemon: Daemon) -> tuple[int, ...]:
    """Return the caller's supplementary groups, which may give access to shared directories.

    Empty for remote daemons, which get copies of files, and rootless ones, which number groups differently.
    """
    known = daemon.local and not daemon.rootless
    return tuple(sorted({*os.getgroups()} - {os.getgid()})) if known else ()


def caller_umask() -> str:
    """Return the umask in octal digits, from /proc: the system call would change it for a moment."""
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("Umask:"):
            return line.partition(":")[2].strip()
    return "0022"


def ask_image(address: str, name: str) -> Image | None:
    """Return an image by its name, or None if the container engine at a Unix socket doesn't have it.

    Only the container engine knows which image a name means: a tag may have been moved. One request is enough, without
    the Docker SDK, which takes longer to load than a run.

    Raises:
        OSError: nobody answers.
        ValueError: the answer is not that of a container engine.
    """
    # HTTP/1.0: the answer is not chunked, and ends with the connection.
    question = f"GET /images/{quote(name, safe='/:@')}/json HTTP/1.0\r\nHost: docker\r\n\r\n"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_TIMEOUT_S)
        connection.connect(address)
        connection.sendall(question.encode("ascii"))
        answer = bytearray()
        while len(answer) < _LARGEST and (piece := connection.recv(1 << 16)):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    if status == [b"404"]:
        return None
    if status != [b"200"]:
        raise ValueError(f"the engine answers {head[:80]!r}")
    try:
        return Image.of(json.loads(body))
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"the engine describes no image: {error!r}") from None


def owner_labels(extra: Mapping[str, str]) -> dict[str, str]:
    """Return the labels by which a later run recognizes whether the owner is still alive."""
    owner = {f"{LABEL}.machine": machine(), f"{LABEL}.host": _host(), f"{LABEL}.owner": _process(os.getpid())}
    return {**owner, **extra}


def owner_lives(labels: Mapping[str, str]) -> bool:
    """Return whether the process that started a container may still run.

    On other machines this is unknown, so it may. On this machine, no process from before the last boot still runs.
    """
    host = labels.get(f"{LABEL}.host", "")
    if host != _host():
        return labels.get(f"{LABEL}.machine") != machine() or host.partition("/")[0] == _boot()
    pid, _, _ = labels.get(f"{LABEL}.owner", "").partition("@")
    return pid.isdigit() and _process(int(pid)) == labels[f"{LABEL}.owner"]


def machine() -> str:
    """Return a name of this machine, unique among those that a container engine may serve."""
    identity = read(Path("/etc/machine-id")).strip()
    return hashlib.sha256(f"{identity} {os.uname().nodename}".encode()).hexdigest()[:16]


def _host() -> str:
    """Return a name of the process namespace in which process ids are valid."""
    return f"{_boot()}/{os.readlink('/proc/self/ns/pid')}"


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _process(pid: int) -> str:
    """Return a name of a process that differs from that of a later one with the same id."""
    fields = read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return f"{pid}@{fields[19]}" if fields else ""
