"""Does an engine run on this machine? Answered from its header and record, in a sentence that names both sides."""

from __future__ import annotations

from typing import Optional, TypedDict

from ..contract.backends import PRODUCTS, loader, loads_compatible_alone
from ..contract.environment import BackendInfo, RuntimeInfo
from ..contract.report import ModelReport
from .header import Header


class RunsHere(TypedDict):
    """``runs_here``: True, False, or None if this machine can't tell. ``told``: the reason, in a sentence."""

    runs_here: Optional[bool]
    told: str


def judge(header: Header, record: Optional[ModelReport], runtime: RuntimeInfo) -> RunsHere:
    """Compare what an engine was built by and for with this machine, before it is loaded.

    Args:
        header: of the plan.
        record: the report that was written with it, if there is one.
        runtime: backend and GPU of this environment.
    """
    module = loader(runtime, header["format"])
    text = f"{_built(header, record)}; {_here(runtime, module or runtime['backend'])}"
    if runtime["gpu"] is None or not (module or runtime["backend"]):
        return RunsHere(runs_here=None, told=text)
    if module is None or (loads_compatible_alone(module["name"]) and _compatible(record) is False):
        return RunsHere(runs_here=False, told=text)
    wanted, found = _target(header, record), runtime["gpu"]["compute_capability"]
    if wanted is not None and not _covers(header, wanted, found):
        return RunsHere(runs_here=False, told=text)
    if loads_compatible_alone(module["name"]) and not _compatible(record):
        return RunsHere(runs_here=None, told=text)
    return RunsHere(runs_here=_same_version(header, module["version"]), told=text)


def _built(header: Header, record: Optional[ModelReport]) -> str:
    target = _target(header, record)
    by = f"built by {PRODUCTS[header['format']]} {header['version']}"
    if target is None:
        return f"{by} for a GPU that neither the plan nor a record next to it names"
    later = " and later" if header.get("and_later") else ""
    return f"{by} for {', '.join(sm(capability) for capability in target)}{later}"


def _compatible(record: Optional[ModelReport]) -> Optional[bool]:
    """Return whether an engine was built version compatible; None if no record says so."""
    identity = record.get("identity") if record is not None else None
    builder = identity.get("builder") if isinstance(identity, dict) else None
    return builder.get("version_compatible") is True if isinstance(builder, dict) else None


def _here(runtime: RuntimeInfo, backend: Optional[BackendInfo]) -> str:
    gpu = runtime["gpu"]
    device = f"has {sm(gpu['compute_capability'])}" if gpu else f"has no GPU ({runtime['gpu_reason']})"
    module = f"{PRODUCTS[backend['name']]} {backend['version']}" if backend else "no TensorRT"
    alone = (
        ", which loads only version-compatible engines" if backend and loads_compatible_alone(backend["name"]) else ""
    )
    return f"this machine {device} and {module}{alone}"


def sm(capability: str) -> str:
    """Return a compute capability as NVIDIA's tools write it: 8.7 is sm_87."""
    return f"sm_{capability.replace('.', '')}"


def _target(header: Header, record: Optional[ModelReport]) -> "Optional[list[str]]":
    if header.get("compute_capabilities"):
        return list(header["compute_capabilities"])
    built_in = record["runtime"] if record is not None else None
    gpu = built_in["gpu"] if built_in is not None else None
    return [gpu["compute_capability"]] if gpu else None


def _covers(header: Header, wanted: "list[str]", found: str) -> bool:
    number = _number(found)
    later = bool(header.get("and_later")) and number > max(_number(each) for each in wanted)
    return found in wanted or later


def _number(capability: str) -> "tuple[int, ...]":
    return tuple(int(part) for part in capability.split(".") if part.isdigit())


def _same_version(header: Header, version: str) -> Optional[bool]:
    """Return whether the versions are the same; others may load if the engine was built version compatible."""
    built, here = (tuple(text.split("."))[:3] for text in (header["version"], version))
    return True if built == here else None


def explain(header: Header, record: Optional[ModelReport], runtime: RuntimeInfo, reason: str) -> str:
    """Return why an engine did not load, with both sides and the runtime's own message."""
    return f"{judge(header, record, runtime)['told']}. The runtime says: {reason}"
