"""What a worker reports about itself when it joins a farm, and whether a client can use it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, TypedDict

from prepare_models_entrypoint.contract.environment import RuntimeInfo

from ..errors import FarmError

# What may differ between workers whose engines are the same.
_OWN = ("python", "gpu_reason", "others")


class Introduction(TypedDict):
    """What a worker says. device: its class. tool, distributed: versions of this package and of Dask's."""

    device: str
    tool: str
    distributed: str
    runtime: RuntimeInfo


class Member(NamedTuple):
    """A worker of a farm."""

    name: str
    said: Introduction


def refuse_absent(devices: Iterable[str], members: Collection[Member]) -> None:
    """Refuse device classes that no worker has.

    Raises:
        FarmError: there are some; it names those that are there.
    """
    there = sorted({member.said["device"] for member in members})
    missing = sorted(set(devices) - set(there))
    if missing:
        message = f"no worker of {', '.join(missing)}; the farm has {', '.join(there) or 'none at all'}"
        hint = "start one on a machine of that class: prepare-models worker --scheduler ADDRESS"
        raise FarmError("farm-target-absent", message, hint=hint)


def refuse_versions(members: Iterable[Member], ours: Mapping[str, str], scheduler: str) -> None:
    """Refuse workers and a scheduler with another version of this tool or of distributed.

    Raises:
        FarmError: there are some; the message names them with their versions.
    """
    others = [] if scheduler == ours["distributed"] else [f"the scheduler has distributed {scheduler}"]
    others += [
        f"{member.name} has {package} {theirs}"
        for member in members
        for package, theirs in (("prepare-models", member.said["tool"]), ("distributed", member.said["distributed"]))
        if theirs != ours[package]
    ]
    if others:
        here = ", ".join(f"{package} {version}" for package, version in ours.items())
        raise FarmError("farm-versions-differ", f"{'; '.join(others)}; this machine has {here}")


def runtime_of(device: str, members: Sequence[Member]) -> RuntimeInfo:
    """Return what all workers of a class build with.

    Raises:
        FarmError: there is none, or two would build different engines.
    """
    first, *others = [member for member in members if member.said["device"] == device]
    for other in others:
        ours, theirs = _facts(first.said["runtime"]), _facts(other.said["runtime"])
        fields = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
        if fields:
            message = "; ".join(f"{name}: {ours.get(name)} and {theirs.get(name)}" for name in fields)
            raise FarmError(
                "farm-workers-differ",
                f"{first.name} and {other.name}, both of {device}, would build different engines: {message}",
            )
    return first.said["runtime"]


def _facts(runtime: RuntimeInfo) -> dict[str, object]:
    gpu = runtime["gpu"]
    facts = {name: value for name, value in runtime.items() if name not in _OWN}
    return {**facts, "gpu": gpu and (gpu["name"], gpu["compute_capability"])}
