"""Who owns a container: labels that distinguish the leftovers of a killed run from the work of a live one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

LABEL = "io.prepare-models"


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
    try:
        identity = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except OSError:
        identity = ""
    return hashlib.sha256(f"{identity} {os.uname().nodename}".encode()).hexdigest()[:16]


def _host() -> str:
    """Return a name of the process namespace in which process ids are valid."""
    return f"{_boot()}/{os.readlink('/proc/self/ns/pid')}"


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _process(pid: int) -> str:
    """Return a name of a process that differs from that of a later one with the same id."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return f"{pid}@{fields[19]}"
