"""What a plan file is: its header, the record next to it, and the engine itself if a GPU can load it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Dict, List, Optional

from ..contract import report, runtime
from ..contract.backends import PRODUCTS, loader, loads_compatible_alone
from ..contract.environment import BackendInfo, RuntimeInfo
from ..contract.files import sha256_file
from ..contract.report import Binding, ModelReport, ProfileShapes
from ..contract.versions import version_of
from .built_plan import load_engine, partly_unknown
from .header import Header, read_header
from .isolated import Document

_RECORDED = ("name", "io", "profiles", "details", "precision_proof", "tensor_names", "source")


def describe(file: Path, *, layers: bool, here: Optional[RuntimeInfo] = None) -> Document:
    """Return what is known about a plan. ``here``: the environment; probed if not given.

    Raises:
        InspectError: the file is not a plan, or is shorter than it declares.
    """
    header = read_header(file)
    record = read_record(file)
    here = here or runtime.probe()
    document: Document = {"format": "plan", "header": header, **judge(header, record, here)}
    known: Dict[str, object] = {**record} if record is not None else {}
    document.update({key: known.get(key) for key in _RECORDED}, warnings=known.get("warnings", []), note=None)
    module = loader(here, header["format"])
    if here["gpu"] is not None and module is not None:
        _load(file, document, module["name"])
    if document["io"] is None:
        document["note"] = (
            "a plan reveals its bindings only on a GPU that can load it, "
            "and no report.json of this engine is next to it"
        )
    details = document["details"]
    document["layer_count"] = len(details["layers"]) if details else None
    if details and not layers:
        document["details"] = {key: value for key, value in details.items() if key != "layers"}
    return document


def read_record(plan: Path) -> Optional[ModelReport]:
    """Return the report that was written with this engine: next to it, or one directory up."""
    for folder in (plan.absolute().parent, plan.absolute().parent.parent):
        try:
            record = report.read_record(folder)
            if record is not None and record["engine"] and record["engine"].get("sha256") == sha256_file(plan):
                return record
        except OSError:
            continue
    return None


def _load(file: Path, document: Document, module: str) -> None:
    """Load the engine in a separate process and take from it everything that it reports."""
    with tempfile.TemporaryDirectory(prefix="prepare-models-inspect-") as private:
        answer, _ = load_engine(file, Path(private), model=None, module=module)
    if answer["why_not"] is not None:
        document["runs_here"] = False
        document["told"] += f". The runtime says: {answer['why_not']}"
        return
    document["warnings"] = [*document["warnings"], *partly_unknown(answer)]
    document.update(runs_here=True, io=answer["io"], details=answer["details"], profiles=_profiles(answer["io"]))


def _profiles(io: List[Binding]) -> List[Dict[str, ProfileShapes]]:
    inputs = [binding for binding in io if binding["mode"] == "input"]
    count = max((len(binding["profiles"]) for binding in inputs), default=0)
    return [{binding["name"]: binding["profiles"][index] for binding in inputs} for index in range(count)]


def judge(header: Header, record: Optional[ModelReport], runtime: RuntimeInfo) -> Document:
    """Compare what an engine was built by and for with this machine, before it is loaded.

    ``record``: the report that was written with it, if there is one.

    Returns:
        ``runs_here``: True, False, or None if this machine can't tell. ``told``: the reason, in a sentence.
    """
    module = loader(runtime, header["format"])
    text = f"{_built(header, record)}; {_here(runtime, module or runtime['backend'])}"
    return {"runs_here": _runs(header, record, runtime, module), "told": text}


def _runs(
    header: Header, record: Optional[ModelReport], runtime: RuntimeInfo, module: Optional[BackendInfo]
) -> Optional[bool]:
    if runtime["gpu"] is None or not (module or runtime["backend"]):
        return None
    if module is None:
        return False
    compatible = _compatible(record) if loads_compatible_alone(module["name"]) else True
    wanted, found = _target(header, record), runtime["gpu"]["compute_capability"]
    later = bool(header.get("and_later")) and version_of(found) > max(map(version_of, wanted or [found]))
    if compatible is False or (wanted is not None and not (found in wanted or later)):
        return False
    built, own = (tuple(version.split("."))[:3] for version in (header["version"], module["version"]))
    return True if compatible and built == own else None  # others load a version-compatible engine


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
