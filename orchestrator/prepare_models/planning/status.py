"""Which engines of a models directory are valid on this machine. Only the records are read; nothing is loaded."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from prepare_models_entrypoint.contract import backends, companions
from prepare_models_entrypoint.contract.backends import PRODUCTS
from prepare_models_entrypoint.contract.external_errors import ExternalDataError
from prepare_models_entrypoint.contract.identity import build_key
from prepare_models_entrypoint.contract.job import ModelJob
from prepare_models_entrypoint.contract.report import EDITED, ModelReport, read_record
from prepare_models_entrypoint.contract.source import Source
from prepare_models_entrypoint.contract.values import Value

from ..machine.facts import Machine
from ..machine.platforms import version
from ..manifest.model import ModelSpec
from ..support.file_digests import Digests
from .planner import PLAN

VALID, STALE, UNCHECKED = STATES = ("valid", "stale", "unchecked")
# The newest TensorRT that loads version-compatible engines of each, by the runtime that they carry; from the guides of
# 10.16 and 11.1 on version compatibility. Without it, the lean runtime 10.16.1 refused an engine of 8.6 on an H200.
_NEWEST_LOADER = {8: 10, 9: 10, 10: 11}
_LATER = "12.0"  # TensorRT-RTX engines for this compute capability run on later ones, too


class Here(Value):
    """What this machine is. ``versions``: those of the TensorRT modules and libraries found, by backend."""

    machine: Machine
    system: str
    versions: Mapping[str, str]

    def capabilities(self) -> list[tuple[str, str]]:
        """Return name and compute capability of each GPU."""
        if self.machine.gpus:
            return [(gpu.name, gpu.compute_capability) for gpu in self.machine.gpus]
        return [(self.machine.model, capability) for capability in self.machine.capabilities]


class Verdict(Value):
    """One engine: valid, stale (``reasons``) or ``unchecked`` (what could not be compared here, and why)."""

    name: str
    reasons: Sequence[str] = ()
    unchecked: Sequence[str] = ()
    record: ModelReport | None = field(default=None, repr=False)

    @property
    def state(self) -> str:
        """Return the verdict in a word."""
        return STALE if self.reasons else UNCHECKED if self.unchecked else VALID

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        engine = self.record["engine"] if self.record else None
        return {
            "name": self.name,
            "state": self.state,
            "reasons": list(self.reasons),
            "unchecked": list(self.unchecked),
            "build_key": self.record["build_key"] if self.record else None,
            "engine": {"bytes": engine["bytes"], "sha256": engine["sha256"]} if engine else None,
        }


def here(machine: Machine) -> Here:
    """Describe this machine, with or without TensorRT."""
    versions = {found["name"]: found["version"] for found in backends.installed()}
    library = backends.library_version()
    if library is not None:
        versions.setdefault(backends.FULL, library)
    return Here(machine, sys.platform, versions)


def verdicts(models_dir: Path, now: Here, digests: Digests) -> list[Verdict]:
    """Check every engine in a models directory, ordered by name."""
    folders = sorted(plan.parent.parent for plan in models_dir.glob(f"*/{PLAN}"))
    return [_judge(folder, now, digests) for folder in folders]


def _judge(folder: Path, now: Here, digests: Digests) -> Verdict:
    record = read_record(folder)
    if record is None or record["identity"] is None or record["engine"] is None:
        return Verdict(folder.name, ["the engine has no record of what it was made from"])
    try:
        reasons = [*_of_files(folder, record, digests), *_of_sources(record, digests)]
        unfit, unchecked = _of_machine(record, now)
    except EDITED:
        return Verdict(folder.name, ["the record of the engine is damaged"])
    return Verdict(folder.name, reasons + unfit, unchecked, record)


def _of_files(folder: Path, record: ModelReport, digests: Digests) -> Iterator[str]:
    engine, plan = record["engine"], folder / PLAN
    if build_key(record["identity"] or {}) != record["build_key"]:
        yield "the record of the engine was changed"
    if engine is not None and (plan.stat().st_size != engine["bytes"] or digests.of(plan) != engine["sha256"]):
        yield "the engine has changed since it was built"
    for name in companions.ALWAYS:
        if not (folder / name).exists():
            yield f"{name} is missing"


def _of_sources(record: ModelReport, digests: Digests) -> Iterator[str]:
    """Compare local sources that still exist; an engine doesn't need them."""
    identity = record["identity"] or {}
    for material in record["materials"]:
        path = Source.of(material["source"]).path
        if path is None or not path.is_file():
            continue
        if (found := digests.of(path)) != material["sha256"]:
            yield _changed(material["role"].replace("_", " "), material["sha256"], found)
        elif material["role"] == "model":
            with contextlib.suppress(ExternalDataError):
                if (weights := digests.weights_of(path)) != identity.get("weights_sha256"):
                    yield _changed("external weights", identity.get("weights_sha256") or "none", weights or "none")
    for plugin in map(Path, record["plugins"]):
        if plugin.is_file() and (found := digests.of(plugin)) not in identity.get("plugins_sha256", ()):
            yield f"plugin {plugin.name} -> {found[:12]}"


def _changed(what: str, old: str, new: str) -> str:
    return f"{what} sha256 {old[:12]} -> {new[:12]}"


def _of_machine(record: ModelReport, now: Here) -> tuple[list[str], list[str]]:
    """Return why the engine can't run here, and what could not be compared."""
    identity = record["identity"] or {}
    reasons = [
        f"{label} {identity.get(name)} -> {found}"
        for name, label, found in (
            ("machine", "architecture", now.machine.arch),
            ("system", "operating system", now.system),
        )
        if identity.get(name) != found
    ]
    unfit, unchecked = _of_tensorrt(identity, now)
    reasons += unfit
    gpus = now.capabilities()
    if not gpus:
        return reasons, [*unchecked, f"GPU: {now.machine.gpu_reason or 'none is seen here'}"]
    misfits = [_misfit(record, now, name, capability) for name, capability in gpus]
    return reasons + ([str(misfits[0])] if all(misfits) else []), unchecked


def _of_tensorrt(identity: Mapping[str, Any], now: Here) -> tuple[list[str], list[str]]:
    """Return why no TensorRT here loads the engine, and what could not be checked."""
    name, built, builder = identity["backend"] or "", identity["backend_version"], identity["builder"]
    product = f"{PRODUCTS.get(name, 'TensorRT')} {built}"
    if found := now.versions.get(name):
        return ([] if _loads(built, found, builder) else [f"{product} -> {found}"]), []
    lean = [each for each in now.versions if name == backends.FULL and backends.loads_compatible_alone(each)]
    if not lean:
        return [], [f"{product}: none is installed here"]
    text = f"{PRODUCTS[lean[0]]} {now.versions[lean[0]]}"
    if not builder.get("version_compatible"):
        return [f"{product} -> {text}, which loads only version-compatible engines"], []
    return ([] if _loads(built, now.versions[lean[0]], builder) else [f"{product} -> {text}"]), []


def _loads(built: str, found: str, builder: Mapping[str, object]) -> bool:
    """Return whether a TensorRT loads an engine: if it is the same, or a later one that the engine was built for."""
    one, other = version(built), version(found)
    shared = min(len(one), len(other))
    if builder.get("version_compatible"):
        newest = one[0] if builder.get("exclude_lean_runtime") else _NEWEST_LOADER.get(one[0], one[0])
        return one[:shared] <= other[:shared] and other[0] <= newest
    return one[:shared] == other[:shared]


def _misfit(record: ModelReport, now: Here, name: str, capability: str) -> str | None:
    """Return why the engine is not for a GPU of this machine, or None."""
    listed = record["engine"]["header"].get("compute_capabilities") if record["engine"] else None
    if listed is not None:
        later = _LATER in listed and version(capability) > version(_LATER)
        fits = capability in listed or later
        return None if fits else f"compute capabilities {' '.join(listed)} -> {capability} ({name})"
    built = record["runtime"]["gpu"] if record["runtime"] else None
    if built is None:
        return "the record does not name the GPU that the engine was built on"
    identity = record["identity"] or {}
    level = identity["builder"].get("hardware_compatibility", "none")
    if level == "ampere+":
        fits = version(capability) >= (8, 0) and now.machine.l4t is None
        return None if fits else f"compute capability 8.0 and later -> {capability} ({name})"
    if capability != built["compute_capability"]:
        return f"compute capability {built['compute_capability']} -> {capability} ({name})"
    if level == "same-compute-capability":
        return None
    board = record["runtime"].get("board") if record["runtime"] else None
    if board and board != now.machine.board:
        return f"module {board} -> {now.machine.board or 'none'}"
    return f"GPU {built['name']} -> {name}" if now.machine.gpus and name != built["name"] else None


def records(models_dir: Path) -> dict[str, ModelReport]:
    """Return the records of the engines in a models directory by model name, sorted."""
    found = {folder.name: read_record(folder) for folder in sorted(models_dir.iterdir()) if folder.is_dir()}
    return {name: record for name, record in found.items() if record is not None and record["engine"] is not None}


def spec_of(record: ModelReport) -> ModelSpec:
    """Return the manifest entry that an engine was built from; keys and passwords are missing in records."""
    identity = record["identity"] or {}
    sources = {material["role"]: material for material in record["materials"]}
    model, cache, verification = sources["model"], sources.get("calibration_cache"), record["verification"]
    job = ModelJob.from_dict(
        {
            "name": record["name"],
            "source": model["source"],
            "output_dir": "",
            "deploy_dir": "",
            "sha256": model["sha256"],
            "precision": identity["precision"],
            "calibration_cache": cache["source"] if cache else None,
            "inputs": identity["inputs"],
            "builder": identity["builder"],
            "converter": record["converter"],
            **{key: value for key, value in identity["conversion"].items() if key != "samples"},
            "calibration": None,
            "verify": verification["settings"] if verification else None,
        }
    )
    return ModelSpec(**job.shared(), name=job.name, source=job.source, line=0)
