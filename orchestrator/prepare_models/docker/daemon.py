"""What a container engine says of itself, and what follows from it. Asked through a client that is connected."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from prepare_models_entrypoint.contract.codec import CONTRACT_VERSION

from ..machine.facts import cdi_devices
from .gpu import CDI_BY_DEFAULT_API, Engine
from .owners import LABEL

CONTRACT_LABEL = f"{LABEL}.contract"

_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}  # Podman names them as Go does


@dataclass(frozen=True)
class Image:
    """An image that the engine has."""

    id: str
    tags: tuple[str, ...]
    labels: Mapping[str, str]
    arch: str
    bytes: int

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> Image:
        """Return the image that the engine's API describes."""
        return cls(
            id=attributes["Id"],
            tags=tuple(tag for tag in attributes.get("RepoTags") or () if tag != "<none>:<none>"),
            labels=(attributes.get("Config") or {}).get("Labels") or {},
            arch=attributes.get("Architecture", ""),
            bytes=attributes.get("Size", 0),
        )

    def unfit(self) -> str | None:
        """Say why this version of the tool can't use the image, or return None."""
        found = self.labels.get(CONTRACT_LABEL)
        if found is None:
            return "it carries no contract version, so it is no image of prepare-models"
        if found != str(CONTRACT_VERSION):
            return f"it speaks contract version {found}, this version of the tool speaks {CONTRACT_VERSION}"
        return None


def probe(client: Any) -> Engine:
    """Ask the engine at the other end of the Docker SDK's ``client``."""
    version, info = client.version(), client.info()
    components = {part.get("Name"): part.get("Version", "") for part in version.get("Components") or ()}
    podman = "Podman Engine" in components
    devices = [device["ID"] for device in info.get("DiscoveredDevices") or () if device.get("Source") == "cdi"]
    spec_dirs, local = tuple(info.get("CDISpecDirs") or ()), is_local(client.api.base_url)
    api = tuple(int(part) for part in version["ApiVersion"].split("."))
    if local and api < CDI_BY_DEFAULT_API:  # engines 25.0 to 28.1 tell where they look, not what they found
        devices = list(cdi_devices([Path(directory) for directory in spec_dirs]))
    return Engine(
        version=components.get("Podman Engine") or version["Version"],
        api=api,
        podman=podman,
        rootless=_podman_is_rootless(client) if podman else "name=rootless" in (info.get("SecurityOptions") or ()),
        local=local,
        runtimes=frozenset(info.get("Runtimes") or ()),
        cdi_spec_dirs=spec_dirs,
        cdi_devices=tuple(devices),
        arch=_ARCHITECTURES.get(info.get("Architecture", ""), info.get("Architecture", "")),
        docker_root=info.get("DockerRootDir", ""),
        memory_bytes=info.get("MemTotal", 0),
    )


def _podman_is_rootless(client: Any) -> bool:
    """Ask Podman by its own API: its Docker-compatible one, up to 4.3 at least, does not tell."""
    own: Any = client.api.get(f"{client.api.base_url}/v4.0.0/libpod/info").json()
    return bool(own.get("host", {}).get("security", {}).get("rootless"))


def is_address(text: str) -> bool:
    """Tell whether a DOCKER_HOST is of a form that containers can be asked through."""
    if text.startswith(("unix://", "http+unix://")):
        return not text.endswith("//")
    try:
        parts = urlsplit(text if "://" in text else f"tcp://{text}")
        named = bool(parts.hostname) and (parts.port is not None or parts.scheme == "ssh")
    except ValueError:
        return False
    known = parts.scheme in ("tcp", "http", "https", "ssh")
    return known and named and (parts.username is None or parts.scheme == "ssh")


def is_local(base_url: str) -> bool:
    """Tell whether an engine sees this machine's files. The SDK's own address of a Unix socket has no real host."""
    parts = urlsplit(base_url)
    if parts.scheme == "http+docker":
        return parts.hostname != "ssh"
    if parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def container_user(engine: Engine) -> str:
    """Return the caller as ``uid:gid``. To a rootless engine the container's root is the caller."""
    return "0:0" if engine.rootless else f"{os.getuid()}:{os.getgid()}"
