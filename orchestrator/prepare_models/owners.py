"""Whose container is it: labels that tell the leftovers of a killed run from the work of a living one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

LABEL = "io.prepare-models"


def owner_labels(extra: Mapping[str, str]) -> dict[str, str]:
    """Return the labels by which a later run tells a living owner from a dead one."""
    return {f"{LABEL}.host": _host(), f"{LABEL}.owner": _process(os.getpid()), **extra}


def owner_lives(labels: Mapping[str, str]) -> bool:
    """Tell whether the process that started a container may still run. On other hosts this can't be known: it may."""
    if labels.get(f"{LABEL}.host") != _host():
        return True
    pid, _, _ = labels.get(f"{LABEL}.owner", "").partition("@")
    return pid.isdigit() and _process(int(pid)) == labels[f"{LABEL}.owner"]


def _host() -> str:
    """Name the set of processes in which a process id means something."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot}/{os.readlink('/proc/self/ns/pid')}"


def _process(pid: int) -> str:
    """Name a process so that a later one with the same id is another."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return f"{pid}@{fields[19]}"
