"""Where containers run: which daemon DOCKER_HOST, a context or the default names, and whether to contact it.

Only the environment and Docker's configuration file are read here. No daemon is contacted.
"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from urllib.parse import urlsplit

_DEFAULT = "/var/run/docker.sock"


def may_answer() -> bool:
    """Return whether a daemon may answer: without an address or a socket, the Docker SDK isn't even loaded."""
    runtime_dir = os.environ.get("XDG_RUNTIME_DIR", "")
    sockets = [Path(_DEFAULT), *([Path(runtime_dir, "docker.sock")] if runtime_dir else [])]
    return bool(os.environ.get("DOCKER_HOST")) or _has_context() or any(path.exists() for path in sockets)


def socket_path() -> str | None:
    """Return the Unix socket on which the daemon listens; None if it is reached in another way."""
    if any(os.environ.get(name) for name in ("DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")):
        return None
    host = os.environ.get("DOCKER_HOST")
    if host:
        return host.removeprefix("unix://") if host.startswith("unix:///") else None
    return None if _has_context() else _DEFAULT


def is_here() -> bool:
    """Return whether the daemon is known, without contacting it, to see this machine's files."""
    return socket_path() is not None or is_local(os.environ.get("DOCKER_HOST", ""))


def is_local(base_url: str) -> bool:
    """Return whether an address is on this machine, and nobody else reaches it; so a daemon there sees its files.

    The SDK's own address for a Unix socket has no real host.
    """
    parts = urlsplit(base_url)
    if parts.scheme == "http+docker":
        return parts.hostname != "ssh"
    if parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def is_valid(text: str) -> bool:
    """Return whether a DOCKER_HOST has a valid form."""
    if text.startswith(("unix://", "http+unix://")):
        return not text.endswith("//")
    try:
        parts = urlsplit(text if "://" in text else f"tcp://{text}")
        named = bool(parts.hostname) and (parts.port is not None or parts.scheme == "ssh")
    except ValueError:
        return False
    known = parts.scheme in ("tcp", "http", "https", "ssh")
    return known and named and (parts.username is None or parts.scheme == "ssh")


def _has_context() -> bool:
    """Return whether a context of Docker's command line chooses the daemon."""
    if os.environ.get("DOCKER_CONTEXT"):
        return True
    folder = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    try:
        return "currentContext" in Path(folder, "config.json").read_text(encoding="utf-8")
    except OSError:
        return False
